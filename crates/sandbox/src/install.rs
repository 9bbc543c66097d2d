//! The PostgreSQL installed on this machine.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::SandboxError;
use crate::run;

/// Names the directory of PostgreSQL's programs and ends the search.
const BINDIR_VARIABLE: &str = "PGWEIR_PG_BINDIR";

/// What one directory must hold to be used.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_basebackup", "psql"];

/// Where distributions keep one directory per major version: parent, and the way down from it.
const VERSIONED: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];

/// Oldest major version driven: `pg_get_wal_replay_pause_state` (14) tells when a pause is in force.
const OLDEST_MAJOR: u32 = 14;

/// How long a program may take to print its version or a path.
const QUESTION_DEADLINE: Duration = Duration::from_secs(20);

/// A directory of PostgreSQL programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    bindir: PathBuf,
    version: String,
    major: u32,
}

impl Installation {
    /// Finds one: `PGWEIR_PG_BINDIR`, what `pg_config` says, the newest of the distribution's, `PATH`.
    pub(crate) fn find() -> Result<Self, SandboxError> {
        let candidates = match env::var_os(BINDIR_VARIABLE) {
            Some(dir) => vec![PathBuf::from(dir)],
            None => candidates(),
        };
        let Some(bindir) = candidates.iter().find(|dir| is_complete(dir)) else {
            let looked_in: Vec<_> = candidates.iter().map(|dir| dir.to_string_lossy()).collect();
            return Err(SandboxError::NotInstalled {
                programs: PROGRAMS.join(", "),
                looked_in: looked_in.join(", "),
            });
        };
        let version = run::run_well(
            Command::new(bindir.join("postgres")).arg("--version"),
            QUESTION_DEADLINE,
        )?;
        match major_version(&version) {
            Some(major) if major >= OLDEST_MAJOR => {
                Ok(Self { bindir: bindir.clone(), version: version.trim().to_owned(), major })
            }
            _ => Err(SandboxError::UnsuitableVersion {
                bindir: bindir.clone(),
                version: version.trim().to_owned(),
                oldest: OLDEST_MAJOR,
            }),
        }
    }

    /// The path of one of PostgreSQL's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }

    /// The full version string, distribution's suffix included.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The major version, such as 15.
    pub(crate) fn major(&self) -> u32 {
        self.major
    }

    /// Whether an extension's control file is installed (manual, 38.17 "Packaging Related Objects
    /// into an Extension").
    pub(crate) fn has_extension(&self, name: &str) -> bool {
        ask_pg_config(&self.bindir.join("pg_config"), "--sharedir").is_some_and(|share| {
            share.join("extension").join(name).with_extension("control").is_file()
        })
    }
}

fn candidates() -> Vec<PathBuf> {
    let told = ask_pg_config(Path::new("pg_config"), "--bindir");
    let path = env::var_os("PATH").unwrap_or_default();
    told.into_iter().chain(distribution_dirs()).chain(env::split_paths(&path)).collect()
}

/// What one option of `pg_config` prints; `None` when the program is missing or does not know.
fn ask_pg_config(program: &Path, option: &str) -> Option<PathBuf> {
    let answer = run::run_well(Command::new(program).arg(option), QUESTION_DEADLINE).ok()?;
    Some(PathBuf::from(answer.trim()))
}

/// `/usr/lib/postgresql/15/bin` (Debian) and `/usr/pgsql-15/bin` (PGDG's RPMs), newest first.
fn distribution_dirs() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = VERSIONED
        .iter()
        .filter_map(|(parent, way)| Some((fs::read_dir(parent).ok()?, way)))
        .flat_map(|(entries, way)| {
            entries.flatten().filter_map(move |entry| {
                let name = entry.file_name();
                Some((versioned_name(&name)?, entry.path().join(way)))
            })
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, dir)| dir).collect()
}

/// The version in a directory name such as `15` or `pgsql-15`.
fn versioned_name(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    name.strip_prefix("pgsql-").unwrap_or(name).parse().ok()
}

fn is_complete(bindir: &Path) -> bool {
    PROGRAMS.iter().all(|program| bindir.join(program).is_file())
}

/// The major version in `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)` or `… 18beta1`.
fn major_version(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        let rows = [
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 17\n", Some(17)),
            ("postgres (PostgreSQL) devel\n", None),
            ("something else 15.1\n", None),
            ("", None),
        ];
        for (printed, want) in rows {
            assert_eq!(major_version(printed), want, "{printed:?}");
        }
    }

    #[test]
    fn versions_in_directory_names_compare_as_numbers() {
        let rows = [("9", Some(9)), ("15", Some(15)), ("pgsql-16", Some(16)), ("local", None)];
        for (name, want) in rows {
            assert_eq!(versioned_name(OsStr::new(name)), want, "{name}");
        }
    }
}
