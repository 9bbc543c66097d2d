//! `pgweir import`: a configuration from PgBouncer's.
//!
//! [`ini`] reads PgBouncer's files, [`settings`] knows every setting of theirs and what becomes of it,
//! [`translate`] turns one into the other, and this module writes it down.

mod ini;
mod settings;
mod translate;
mod value;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use thiserror::Error;

use crate::config::{Config, Problem, Secret};

use ini::Section;
use translate::{Notice, Translation};

/// Tables in the order in which they are written.
const ORDER: [&str; 6] = ["listen", "auth", "clusters", "databases", "pool", "limits"];

/// Only the owner may read the users' secrets.
const USERS_MODE: u32 = 0o600;

/// What everybody may read.
const CONFIG_MODE: u32 = 0o644;

/// What is to be imported, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// PgBouncer's configuration.
    pub ini: PathBuf,
    /// PgBouncer's users; `None` is what its configuration names.
    pub userlist: Option<PathBuf>,
    /// The file to be written; `None` is stdout.
    pub output: Option<PathBuf>,
}

/// Why nothing was imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// A file that is not understood.
    #[error("{0}")]
    Source(Problem),
    /// A file that cannot be written.
    #[error("cannot write {}: {error}", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Stdout or stderr.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Imports: the configuration goes to its file or to `out`, what has no counterpart to `notes`.
///
/// # Errors
/// Files that cannot be read, are not PgBouncer's, or cannot be written: existing ones are not replaced.
pub fn run(
    import: &Import,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<ExitCode, ImportError> {
    let entries = ini::read(&import.ini).map_err(ImportError::Source)?;
    let named = entries.iter().rfind(|entry| {
        (entry.section, entry.key.as_str()) == (Section::Pgbouncer, "auth_file")
            && !entry.value.is_empty()
    });
    let users = match (&import.userlist, named) {
        (Some(file), _) => ini::users(file).map_err(ImportError::Source)?,
        (None, Some(entry)) => named_users(&import.ini, &entry.value, notes)?,
        (None, None) => Vec::new(),
    };
    let translation = translate::translate(&entries, users);
    for notice in &translation.notices {
        writeln!(notes, "{notice}")?;
    }
    let text = render(&translation, &import.ini);
    let users = render_users(&translation);
    match &import.output {
        Some(file) => write_files(file, &text, users.as_deref(), notes),
        None => {
            out.write_all(text.as_bytes())?;
            if let Some(users) = users {
                out.write_all(commented(&users).as_bytes())?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The users of the file that the configuration names, which may be on another machine.
fn named_users(
    ini: &Path,
    named: &str,
    notes: &mut impl Write,
) -> Result<Vec<(String, Secret)>, ImportError> {
    let beside = Path::new(named).file_name().map(|name| ini.with_file_name(name));
    let file =
        [Some(PathBuf::from(named)), beside].into_iter().flatten().find(|file| file.exists());
    match file {
        Some(file) => ini::users(&file).map_err(ImportError::Source),
        None => {
            writeln!(notes, "auth_file: {named} is not here: give it with --userlist")?;
            Ok(Vec::new())
        }
    }
}

fn write_files(
    file: &Path,
    text: &str,
    users: Option<&str>,
    notes: &mut impl Write,
) -> Result<ExitCode, ImportError> {
    if let Some(users) = users {
        write_new(&file.with_file_name("users.toml"), users, USERS_MODE)?;
    }
    write_new(file, text, CONFIG_MODE)?;
    match Config::load(file) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(problems) => {
            for problem in problems {
                writeln!(notes, "{problem}")?;
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Writes a file that is not there yet: what somebody has written by hand is not replaced.
fn write_new(file: &Path, text: &str, mode: u32) -> Result<(), ImportError> {
    let failed = |error| ImportError::Write { file: file.to_owned(), error };
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(file);
    opened.map_err(failed)?.write_all(text.as_bytes()).map_err(failed)
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}:{}: ", place.file.display(), place.line)?;
        }
        write!(f, "{}: {}", self.setting, self.text)
    }
}

/// The configuration as text.
fn render(translation: &Translation, ini: &Path) -> String {
    let mut text = format!(
        "# From {}, by `pgweir import`. `pgweir config` prints every key;\n\
         # docs/migrating.md says what becomes of each setting of PgBouncer.\n",
        ini.display()
    );
    let mut tables: Vec<&str> = Vec::new();
    for assignment in &translation.assignments {
        if !tables.contains(&assignment.table.as_str()) {
            tables.push(&assignment.table);
        }
    }
    // Tables of one kind stay in the order in which they came.
    tables.sort_by_key(|table| {
        let root = table.split('.').next().unwrap_or_default();
        ORDER.iter().position(|name| *name == root).unwrap_or(ORDER.len())
    });
    for table in tables {
        let _ = writeln!(text, "\n[{table}]");
        for assignment in translation.assignments.iter().filter(|new| new.table == table) {
            let comment = match assignment.comment.as_str() {
                "" => String::new(),
                comment => format!(" # {comment}"),
            };
            let _ = writeln!(text, "{} = {}{comment}", assignment.key, assignment.value);
        }
    }
    if !translation.notices.is_empty() {
        text.push_str("\n# What has no counterpart here, or another meaning:\n#\n");
        for notice in &translation.notices {
            let line = notice
                .place
                .as_ref()
                .map_or_else(String::new, |place| format!("line {}: ", place.line));
            let _ = writeln!(text, "# {line}{}: {}", notice.setting, notice.text);
        }
    }
    text
}

/// The users file as text; none without users.
fn render_users(translation: &Translation) -> Option<String> {
    if translation.users.is_empty() {
        return None;
    }
    let mut text =
        "# pgweir's own users: passwords, or SCRAM or md5 secrets as in pg_authid.\n".to_owned();
    for (name, user) in &translation.users {
        let _ = writeln!(text, "\n[[user]]\nname = {}", value::string(name));
        if let Some(secret) = &user.secret {
            let _ = writeln!(text, "password = {}", value::string(secret.expose()));
        }
        if let Some(admin) = user.admin {
            let _ = writeln!(text, "admin = {admin}");
        }
    }
    Some(text)
}

/// The users file below the configuration, for who reads both from stdout.
fn commented(users: &str) -> String {
    let mut text =
        "\n# users.toml, a file of its own beside this one, readable by pgweir alone:\n#\n"
            .to_owned();
    for line in users.lines() {
        let _ = writeln!(text, "# {line}");
    }
    text
}

/// The tables of docs/migrating.md.
#[must_use]
pub fn document() -> String {
    use settings::{Fate, SETTINGS};
    let mut text = String::new();
    for section in [Section::Pgbouncer, Section::Databases, Section::Users, Section::Peers] {
        let _ =
            writeln!(text, "### `[{}]`\n\n| setting | pgweir | |\n|---|---|---|", section.as_str());
        for setting in SETTINGS.iter().filter(|setting| setting.section == section) {
            let key = match setting.fate {
                Fate::Key(key, _) | Fate::Part(key) => format!("`{key}`"),
                Fate::None => "none".to_owned(),
            };
            let _ = writeln!(text, "| `{}` | {key} | {} |", setting.name, setting.why);
        }
        text.push('\n');
    }
    text
}
