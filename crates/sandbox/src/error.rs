//! What can go wrong, said so that the reader needs no second look: the fact, the culprit, the last
//! lines of the server's own log where there is one, and what to do about it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many lines of a server's log an error quotes.
const LOG_TAIL_LINES: usize = 20;
/// How much of the log's end is read for that.
const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// Why a sandbox, or one of its nodes, could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// No directory holds all the programs a cluster needs.
    #[error(
        "no PostgreSQL server found: no directory holds {programs}; looked in {looked_in}. \
         Install it (`apt-get install postgresql`) or name its directory in PGWEIR_PG_BINDIR"
    )]
    NotInstalled {
        /// The programs that one directory must hold.
        programs: String,
        /// The directories that were searched, in order.
        looked_in: String,
    },
    /// The server found is older than what the sandbox drives, or does not say its version.
    #[error(
        "PostgreSQL in {} calls itself {version:?}; version {oldest} or newer is needed. \
         Name another one's directory in PGWEIR_PG_BINDIR", bindir.display()
    )]
    UnsuitableVersion {
        /// Where the programs are.
        bindir: PathBuf,
        /// What `postgres --version` printed.
        version: String,
        /// The oldest major version that will do.
        oldest: u32,
    },
    /// The caller is root, PostgreSQL refuses to run as root, and nobody else is there to run it.
    #[error(
        "PostgreSQL refuses to run as root, and neither {candidates} is a user of this machine. \
         Add one (`useradd --system postgres`) or run without root's rights"
    )]
    NoServerUser {
        /// The users that were tried.
        candidates: String,
    },
    /// The servers' user cannot reach the directory.
    #[error(
        "user {user} cannot enter {}, so no server can keep its data in {}. \
         Choose a directory that others may enter, such as one under /tmp",
        at.display(), dir.display()
    )]
    Unreachable {
        /// The user the servers run as.
        user: String,
        /// The directory that was to hold the cluster.
        dir: PathBuf,
        /// The closed directory: `dir` itself or a parent.
        at: PathBuf,
    },
    /// The directory holds something that is not a sandbox of this kind.
    #[error("{} cannot be used for a cluster: {problem}. Choose another directory, or empty it", dir.display())]
    ForeignDirectory {
        /// The directory given.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another living process owns the directory.
    #[error("the cluster in {} belongs to another running process. Stop that one first", dir.display())]
    InUse {
        /// The directory given.
        dir: PathBuf,
    },
    /// A port asked for by number is not free.
    #[error("port {port} on {host} is taken. Free it or choose another")]
    PortTaken {
        /// The loopback address.
        host: &'static str,
        /// The port asked for.
        port: u16,
    },
    /// No port of the range is free.
    #[error("no free port from {first} to {last} on {host}. Are other sandboxes still running?")]
    NoFreePort {
        /// The loopback address.
        host: &'static str,
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program of PostgreSQL (or of the shell) failed or took too long.
    #[error("{program} {outcome}{}", quoted(stderr))]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        outcome: String,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// psql reported an error; `message` is PostgreSQL's own.
    #[error("{node}: psql {outcome}: {message}\nstatement: {sql}")]
    Sql {
        /// The node or address asked.
        node: String,
        /// How psql ended.
        outcome: String,
        /// What psql wrote to its standard error.
        message: String,
        /// The beginning of the SQL.
        sql: String,
    },
    /// A condition did not come true in time.
    #[error("{node}: {condition}: not so after {waited:?}; last seen: {seen}{log}")]
    Timeout {
        /// The node waited for.
        node: String,
        /// What was waited for.
        condition: String,
        /// For how long.
        waited: Duration,
        /// The last thing observed instead.
        seen: String,
        /// The end of the server's log.
        log: LogTail,
    },
    /// A server went away by itself.
    #[error("{node}: the server exited by itself ({status}){log}")]
    Exited {
        /// The node.
        node: String,
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: LogTail,
    },
    /// The operation needs a running server.
    #[error("{node} is not running. Start it first")]
    NotRunning {
        /// The node.
        node: String,
    },
    /// The operation needs a stopped server.
    #[error("{node} is already running. Stop it first")]
    AlreadyRunning {
        /// The node.
        node: String,
    },
    /// PostgreSQL refused a line of its configuration.
    #[error("{node}: configuration refused: {problem}")]
    Configuration {
        /// The node.
        node: String,
        /// PostgreSQL's reason, with the setting's name.
        problem: String,
    },
}

impl SandboxError {
    /// A `map_err` argument for operations on files.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// Program output as further lines of a message; nothing when there was none.
fn quoted(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!(":\n{text}") }
}

/// The last lines of a server's log, quoted under an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTail(String);

impl LogTail {
    /// Reads the end of `file`; an unreadable file is an empty tail, for the error at hand matters more.
    pub(crate) fn of(file: &Path) -> Self {
        let mut bytes = Vec::new();
        let _ = File::open(file).and_then(|mut log| {
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            log.read_to_end(&mut bytes)
        });
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> = text.lines().rev().take(LOG_TAIL_LINES).collect();
        lines.reverse();
        Self(lines.join("\n"))
    }

    /// The quoted lines.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("\n(the server's log is empty)");
        }
        write!(f, "\nthe server's log ends:")?;
        self.0.lines().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}
