//! Reads PgBouncer's own files: `pgbouncer.ini` and `userlist.txt` (pgbouncer(5)).

use std::path::{Path, PathBuf};

use crate::config::{Problem, Secret, read_file};

/// How deep files may include each other: more than this is a circle.
const MAX_INCLUDES: usize = 16;

/// The parts of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// `[pgbouncer]`: the settings.
    Pgbouncer,
    /// `[databases]`: names and where they lead.
    Databases,
    /// `[users]`: what differs for a user.
    Users,
    /// `[peers]`: other PgBouncers.
    Peers,
}

impl Section {
    /// As the file names it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pgbouncer => "pgbouncer",
            Self::Databases => "databases",
            Self::Users => "users",
            Self::Peers => "peers",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::Pgbouncer, Self::Databases, Self::Users, Self::Peers];
        all.into_iter().find(|section| section.as_str() == name)
    }
}

/// Where something is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) section: Section,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Every line that says something, included files in their place.
pub(crate) fn read(file: &Path) -> Result<Vec<Entry>, Problem> {
    let mut reader = Reader { entries: Vec::new(), section: None };
    reader.read(file, 0)?;
    Ok(reader.entries)
}

struct Reader {
    entries: Vec<Entry>,
    section: Option<Section>,
}

impl Reader {
    fn read(&mut self, file: &Path, depth: usize) -> Result<(), Problem> {
        for (at, line) in read_file(file)?.lines().enumerate() {
            let place = Place { file: file.to_owned(), line: at + 1 };
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(included) = line.strip_prefix("%include") {
                if depth >= MAX_INCLUDES {
                    return Err(place.problem("too many files include each other"));
                }
                self.read(&include_path(file, included.trim()), depth + 1)?;
            } else if let Some(name) = line.strip_prefix('[') {
                let name = name.strip_suffix(']').unwrap_or_default();
                let section = Section::named(name)
                    .ok_or_else(|| place.problem(format!("{line:?} is no section of PgBouncer")))?;
                self.section = Some(section);
            } else {
                self.take(line, place)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str, place: Place) -> Result<(), Problem> {
        let Some(section) = self.section else {
            return Err(place.problem("a setting before the first [section]"));
        };
        let (key, value) = name_and_value(line)
            .ok_or_else(|| place.problem("the line is neither \"key = value\" nor a comment"))?;
        self.entries.push(Entry { section, key, value: value.to_owned(), place });
        Ok(())
    }
}

impl Place {
    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::at((self.line, 1), &self.file, message)
    }
}

/// PgBouncer starts a relative path at its working directory; a file that was copied here has its
/// companions beside it.
fn include_path(file: &Path, included: &str) -> PathBuf {
    if Path::new(included).exists() {
        return included.into();
    }
    file.parent().unwrap_or(Path::new("")).join(included)
}

/// The name may be quoted as an SQL identifier.
fn name_and_value(line: &str) -> Option<(String, &str)> {
    if line.starts_with('"') {
        let (name, rest) = quoted(line, '"')?;
        return Some((name, rest.trim_start().strip_prefix('=')?.trim()));
    }
    let (name, value) = line.split_once('=')?;
    Some((name.trim().to_owned(), value.trim())).filter(|(name, _)| !name.is_empty())
}

/// The text between the quotes that it begins with, where a doubled quote stands for itself, and
/// what is behind.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix(quote)?;
    let mut inner = String::new();
    loop {
        let (before, after) = rest.split_once(quote)?;
        inner.push_str(before);
        match after.strip_prefix(quote) {
            Some(after) => {
                inner.push(quote);
                rest = after;
            }
            None => return Some((inner, after)),
        }
    }
}

/// The pairs of a connection string: `host=a port=1 connect_query='SELECT 1'`.
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = if after.starts_with('\'') {
            quoted(after, '\'')?
        } else {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            let (value, after) = after.split_at_checked(end)?;
            (value.to_owned(), after)
        };
        pairs.push((key.trim().to_owned(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// The users of a `userlist.txt`: names and passwords or what stands for them.
pub(crate) fn users(file: &Path) -> Result<Vec<(String, Secret)>, Problem> {
    let mut users = Vec::new();
    for (at, line) in read_file(file)?.lines().enumerate() {
        let place = Place { file: file.to_owned(), line: at + 1 };
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        let user = quoted(line, '"')
            .and_then(|(name, rest)| Some((name, quoted(rest.trim_start(), '"')?.0)));
        // What is in the line may be a password: it is not repeated.
        let (name, secret) =
            user.ok_or_else(|| place.problem("the line is not \"user\" \"password\""))?;
        users.push((name, Secret::new(secret)));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_connection_strings() {
        let rows = [
            ("a = b", Some(("a", "b"))),
            ("a=", Some(("a", ""))),
            ("\"we\"\"ird = db\" = host=x", Some(("we\"ird = db", "host=x"))),
            ("* = host=x", Some(("*", "host=x"))),
            ("= b", None),
            ("nothing", None),
            ("\"open = b", None),
        ];
        for (line, want) in rows {
            let got = name_and_value(line);
            assert_eq!(got.as_ref().map(|(name, value)| (name.as_str(), *value)), want, "{line}");
        }
        let pairs = |text| {
            let pairs = pairs(text)?;
            Some(pairs.into_iter().map(|(key, value)| format!("{key}|{value}")).collect::<Vec<_>>())
        };
        assert_eq!(pairs(""), Some(vec![]));
        let want = ["host|a", "port|1", "connect_query|SELECT 'x' = 1", "user|b"];
        let text = "host=a  port = 1 connect_query='SELECT ''x'' = 1' user=b";
        assert_eq!(pairs(text), Some(want.map(str::to_owned).to_vec()));
        assert_eq!(pairs("host=a 'open"), None);
        assert_eq!(pairs("password='open"), None);
    }
}
