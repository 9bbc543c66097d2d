//! What all nodes of one sandbox share, and how programs are run on their behalf.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::account::Account;
use crate::error::SandboxError;
use crate::install::Installation;
use crate::place::{Place, home_in};
use crate::ports::HOST;
use crate::run;

/// The search path of programs, after PostgreSQL's own directory.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Variables of the caller's that programs may need to be able to start at all.
const INHERITED: [&str; 1] = ["LD_LIBRARY_PATH"];

/// How much of a statement an error repeats, in characters.
const QUOTED_SQL: usize = 300;

/// Shared by the nodes of a sandbox.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) installation: Installation,
    pub(crate) account: Account,
    pub(crate) place: Place,
    pub(crate) superuser: String,
    /// How long any one operation may take.
    pub(crate) deadline: Duration,
    primary: AtomicUsize,
}

/// Who logs in where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The role.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
    /// Sent if the server asks for one.
    pub password: Option<&'a str>,
}

/// Where psql connects to.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    /// What errors call it.
    pub(crate) name: String,
    pub(crate) door: Door<'a>,
    pub(crate) port: u16,
}

/// How psql gets to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door<'a> {
    /// The Unix socket in the runtime directory.
    Socket(&'a Path),
    /// TCP on the loopback address.
    Tcp,
}

impl Environment {
    pub(crate) fn new(
        installation: Installation,
        account: Account,
        place: Place,
        superuser: String,
        deadline: Duration,
    ) -> Self {
        let primary = AtomicUsize::new(0);
        Self { installation, account, place, superuser, deadline, primary }
    }

    /// The number of the node that is the primary, as far as the sandbox brought it about.
    pub(crate) fn primary(&self) -> usize {
        self.primary.load(Ordering::SeqCst)
    }

    /// Remembers which node is the primary now.
    pub(crate) fn set_primary(&self, index: usize) {
        self.primary.store(index, Ordering::SeqCst);
    }

    /// A command for one of PostgreSQL's programs, with the rights of the servers' user and nothing of
    /// the caller's environment: no `PG…` variable, no password file, no locale changes what it does.
    pub(crate) fn program(&self, name: &str) -> Command {
        self.command(self.installation.program(name))
    }

    /// The same for any program.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let bindir = self.installation.program("");
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", format!("{}:{SYSTEM_PATH}", bindir.display()))
            .env("HOME", home_in(self.place.runtime()))
            .env("LC_ALL", "C")
            // The caller's own directory may be closed to the servers' user.
            .current_dir(self.place.runtime());
        for name in INHERITED {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        self.account.lend_to(&mut command);
        command
    }

    /// Runs `sql` through psql, statement by statement, up to the first error; returns what it printed
    /// without the last newline.
    pub(crate) fn psql(
        &self,
        server: &Server<'_>,
        login: &Login<'_>,
        sql: &str,
        deadline: Duration,
    ) -> Result<String, SandboxError> {
        let mut psql = self.program("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", login.user, "-d", login.database])
            .args(["-p", &server.port.to_string()]);
        match server.door {
            Door::Socket(dir) => psql.arg("-h").arg(dir),
            Door::Tcp => psql.args(["-h", HOST]),
        };
        match login.password {
            Some(password) => psql.env("PGPASSWORD", password),
            None => psql.arg("-w"),
        };
        let refused = |outcome: String, message: &str| SandboxError::Sql {
            node: server.name.clone(),
            outcome,
            message: message.trim_end().to_owned(),
            sql: sql.chars().take(QUOTED_SQL).collect(),
        };
        match run::run(&mut psql, sql, deadline) {
            Ok(finished) if finished.status.success() => {
                let answer = finished.stdout;
                Ok(answer.strip_suffix('\n').unwrap_or(&answer).to_owned())
            }
            Ok(finished) => Err(refused(format!("failed ({})", finished.status), &finished.stderr)),
            Err(SandboxError::Program { outcome, stderr, .. }) => Err(refused(outcome, &stderr)),
            Err(other) => Err(other),
        }
    }
}
