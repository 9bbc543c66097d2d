//! The files that a configuration consists of or names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::string::FromUtf8Error;

use super::fields::Fields;
use super::problem::{Problem, Source};
use super::scope::Scope;
use super::secret::Secret;

/// The longest file, in bytes: the configuration or the users file.
const MAX_FILE: u64 = 4 << 20;

/// The longest password file, in bytes.
const MAX_PASSWORD_FILE: u64 = 4096;

/// What helps most when a file is not found.
const RELATIVE: &str = "a relative path starts at the configuration file";

/// Reads a file of at most so many bytes as UTF-8.
fn read_bounded(file: &Path, limit: u64) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    File::open(file)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it is longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message).into());
    }
    Ok(String::from_utf8(bytes)?)
}

/// Why a file is no text.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not UTF-8")]
    Encoding(#[from] FromUtf8Error),
}

/// Reads a whole configuration or users file.
pub(crate) fn read_file(file: &Path) -> Result<String, Problem> {
    read_bounded(file, MAX_FILE).map_err(|error| match error {
        Unreadable::Io(error) => Problem::at((0, 0), file, format!("cannot be read: {error}")),
        Unreadable::Encoding(error) => {
            let sound = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes().get(..sound).unwrap_or_default());
            let position = Source::new(file, &text).position(sound);
            let suggestion = Some("save it as UTF-8".to_owned());
            Problem { suggestion, ..Problem::at(position, file, "not UTF-8") }
        }
    })
}

impl Fields<'_, '_> {
    /// Notes a problem at a key whose file cannot be opened.
    pub(crate) fn require_readable(&self, key: &str, file: &Path, scope: &mut Scope<'_>) {
        scope.world().note(file);
        let opened = File::open(file).and_then(|file| file.metadata()).and_then(|about| {
            if about.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
        });
        if let Err(error) = opened {
            let message = format!("cannot read {}: {error}", file.display());
            self.report(key, scope, message, RELATIVE);
        }
    }

    /// The password of a section that may name it (`password`) or the file that holds it
    /// (`password_file`, whose last line break is not part of it).
    pub(crate) fn password(
        &self,
        named: Option<Secret>,
        file: Option<&Path>,
        scope: &mut Scope<'_>,
    ) -> Option<Secret> {
        let Some(file) = file else { return named };
        if named.is_some() {
            let message = "there is a password as well";
            self.report("password_file", scope, message, "leave one of them out");
            return named;
        }
        scope.world().note(file);
        match read_bounded(file, MAX_PASSWORD_FILE) {
            Ok(text) => {
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let password = line.strip_suffix('\r').unwrap_or(line);
                if password.is_empty() || password.contains(['\0', '\n']) {
                    let message = format!("{} does not hold one password", file.display());
                    self.report("password_file", scope, message, "one line, nothing else");
                }
                Some(Secret::new(password))
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", file.display());
                self.report("password_file", scope, message, RELATIVE);
                None
            }
        }
    }
}
