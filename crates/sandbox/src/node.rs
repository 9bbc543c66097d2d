//! One server of a sandbox: its life from start to end, and its configuration.
//!
//! The postmaster is a child process of ours, so its end is noticed without asking, and its id cannot
//! become another process's while it is held here. Its state is kept under a lock that is never held
//! while waiting: a node can be killed from one thread while another waits for it to become ready.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use crate::environment::{self, Door, Environment, Login};
use crate::error::{LogTail, SandboxError};
use crate::files;
use crate::ports::{self, HOST, PortLease};
use crate::process::{self, Process};
use crate::settings::{self, Settings};
use crate::wait::{self, Look};

/// The database that administration connects to.
pub(crate) const MAINTENANCE_DATABASE: &str = "postgres";

/// In its data directory, makes a server a standby (manual, 27.2.2).
const STANDBY_SIGNAL: &str = "standby.signal";

/// In its data directory while a server runs (manual, 73.1 "Database File Layout").
const PID_FILE: &str = "postmaster.pid";
/// Line of the pid file with the process id, counted from 0.
const PID_FILE_PROCESS: usize = 0;
/// Line of the pid file with key and id of the shared memory segment, counted from 0.
const PID_FILE_SHARED_MEMORY: usize = 6;
/// Line of the pid file with the server's state, counted from 0.
const PID_FILE_STATUS: usize = 7;
/// The state of a server that takes connections, hot standbys included.
const STATUS_READY: &str = "ready";

/// How a server is asked to stop (manual, 19.5 "Shutting Down the Server").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for all clients to leave.
    Smart,
    /// Disconnects the clients, and shuts down cleanly.
    Fast,
    /// Like a crash: the next start goes through recovery.
    Immediate,
}

impl StopMode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// One server of a [`Sandbox`](crate::Sandbox).
///
/// All methods may be called from several threads. Those that change something return when the change
/// is in force, or with an error after the sandbox's deadline.
#[derive(Debug)]
pub struct Node {
    index: usize,
    name: String,
    dir: PathBuf,
    log: PathBuf,
    port: PortLease,
    env: Arc<Environment>,
    state: Mutex<State>,
}

/// What changes in a node's life.
#[derive(Debug)]
struct State {
    server: Server,
    configuration: Configuration,
}

/// What the files in the data directory say.
#[derive(Debug, Clone)]
struct Configuration {
    settings: Settings,
    hba: Vec<String>,
}

#[derive(Debug)]
enum Server {
    /// Not started yet, or stopped by us.
    Down,
    Up(Child),
    /// Ended without being told to.
    Exited(ExitStatus),
}

impl Node {
    /// A node that is not started, and may have no data directory yet.
    pub(crate) fn new(
        index: usize,
        port: PortLease,
        env: Arc<Environment>,
        mut settings: Settings,
        hba: Vec<String>,
    ) -> Self {
        let name = format!("node{index}");
        let data = env.place.data();
        let (dir, log) = (data.join(&name), data.join(format!("{name}.log")));
        settings.insert("port".to_owned(), port.port().to_string());
        settings.insert("cluster_name".to_owned(), name.clone());
        let configuration = Configuration { settings, hba };
        let state = Mutex::new(State { server: Server::Down, configuration });
        Self { index, name, dir, log, port, env, state }
    }

    /// Its number in the sandbox, from 0; does not change with its role.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// `node0`, `node1`, …: its `cluster_name`, and its `application_name` as a standby.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address it listens on: `127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// The port it listens on, reserved also while it is down.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// `127.0.0.1:20017`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{HOST}:{}", self.port())
    }

    /// Its data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with everything the server logged, over all its starts.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Everything the server logged.
    ///
    /// # Errors
    /// [`SandboxError::File`] when the file cannot be read.
    pub fn log(&self) -> Result<String, SandboxError> {
        let text = fs::read(&self.log).map_err(SandboxError::file("read", &self.log))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The postmaster's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.observe().server {
            Server::Up(child) => Some(child.id()),
            Server::Down | Server::Exited(_) => None,
        }
    }

    /// Whether the postmaster process exists; a frozen one does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Runs SQL as the superuser in database `postgres` over the Unix socket, which `pg_hba.conf` never
    /// closes, and returns what `psql -XAtq` prints (columns separated by `|`, one line per row) without
    /// the last newline. Statements run one by one, up to the first error.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] with PostgreSQL's message.
    pub fn psql(&self, sql: &str) -> Result<String, SandboxError> {
        self.psql_in(MAINTENANCE_DATABASE, sql)
    }

    /// [`Self::psql`] in another database.
    ///
    /// # Errors
    /// As [`Self::psql`].
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String, SandboxError> {
        self.psql_within(self.env.deadline, database, sql)
    }

    /// [`Self::psql`] as any user over TCP, subject to `pg_hba.conf`.
    ///
    /// # Errors
    /// As [`Self::psql`].
    pub fn psql_as(&self, login: &Login<'_>, sql: &str) -> Result<String, SandboxError> {
        let server = environment::Server { name: self.label(), door: Door::Tcp, port: self.port() };
        self.env.psql(&server, login, sql, self.env.deadline)
    }

    /// Waits until `sql`, run as by [`Self::psql`], prints exactly `want`. Errors of the server count as
    /// other answers, for it may be starting.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] with the last answer.
    pub fn wait_for_answer(
        &self,
        sql: &str,
        want: &str,
        deadline: Duration,
    ) -> Result<(), SandboxError> {
        let condition = format!("{sql:?} to answer {want:?}");
        self.wait_for_sql(&condition, deadline, self, sql, |answer| answer == want)
    }

    /// Starts the server and waits until it takes connections.
    ///
    /// # Errors
    /// [`SandboxError::AlreadyRunning`]; [`SandboxError::Exited`] with the end of its log when the server
    /// gives up; [`SandboxError::Timeout`].
    pub fn start(&self) -> Result<(), SandboxError> {
        self.launch()?;
        self.wait_ready(self.env.deadline)
    }

    /// [`Self::stop`] with [`StopMode::Fast`], if it runs, and [`Self::start`].
    ///
    /// # Errors
    /// As those.
    pub fn restart(&self) -> Result<(), SandboxError> {
        self.stop(StopMode::Fast)?;
        self.start()
    }

    /// Asks the server to stop, and waits until it has. Nothing happens to one that does not run.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] when it still runs after the sandbox's deadline; the request stands.
    pub fn stop(&self, mode: StopMode) -> Result<(), SandboxError> {
        let Some(pid) = self.pid() else { return Ok(()) };
        process::signal_pid(pid, mode.signal());
        self.wait(&format!("{mode:?} shutdown"), self.env.deadline, |_| {
            let mut state = self.observe();
            if let Server::Up(_) = state.server {
                return Ok(Look::NotYet("running".to_owned()));
            }
            state.server = Server::Down;
            Ok(Look::Done(()))
        })?;
        self.clear_remains();
        Ok(())
    }

    /// Kills the server with SIGKILL, as the kernel would when memory runs out: the postmaster and
    /// every process below it, at the same moment. Returns when all are gone and the port is free.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] when a process outlives SIGKILL (it waits for a disk).
    pub fn kill(&self) -> Result<(), SandboxError> {
        let Some(postmaster) = self.process() else {
            return Ok(());
        };
        // Stopped first, so that the postmaster sees no child die and starts no other.
        let tree = postmaster.freeze_tree();
        tree.iter().for_each(|process| process.signal(Signal::KILL));
        self.wait("every process gone and the port free", self.env.deadline, |_| {
            let reaped = !self.is_running();
            let left = tree.iter().filter(|process| !process.is_gone()).count();
            if reaped && left == 0 && ports::is_free(self.port()) {
                return Ok(Look::Done(()));
            }
            Ok(Look::NotYet(format!("{left} of {} processes left", tree.len())))
        })?;
        self.observe().server = Server::Down;
        self.clear_remains();
        Ok(())
    }

    /// Stops all processes of the server with SIGSTOP: connections stay open, new ones are taken by the
    /// kernel, and nothing answers.
    ///
    /// # Errors
    /// [`SandboxError::NotRunning`].
    pub fn freeze(&self) -> Result<(), SandboxError> {
        self.running()?.freeze_tree();
        Ok(())
    }

    /// Undoes [`Self::freeze`].
    ///
    /// # Errors
    /// [`SandboxError::NotRunning`].
    pub fn thaw(&self) -> Result<(), SandboxError> {
        let tree = self.running()?.tree();
        // Children first: the postmaster finds them as it left them.
        tree.iter().rev().for_each(|process| process.signal(Signal::CONT));
        Ok(())
    }

    /// Waits until the server takes connections; a standby does once it is consistent.
    ///
    /// # Errors
    /// [`SandboxError::Exited`], [`SandboxError::NotRunning`] or [`SandboxError::Timeout`].
    pub fn wait_ready(&self, deadline: Duration) -> Result<(), SandboxError> {
        self.wait("ready for connections", deadline, |_| {
            match self.observe().server {
                Server::Up(_) => {}
                Server::Down => return Err(SandboxError::NotRunning { node: self.label() }),
                Server::Exited(status) => return Err(self.exited(status)),
            }
            Ok(match self.pid_file_line(PID_FILE_STATUS) {
                Some(status) if status == STATUS_READY => Look::Done(()),
                Some(status) => Look::NotYet(format!("status {status:?}")),
                None => Look::NotYet("no status yet".to_owned()),
            })
        })
    }

    /// Makes the server read its configuration again, and waits until new connections get it.
    ///
    /// # Errors
    /// [`SandboxError::Configuration`] when a line is refused; nothing is read then.
    pub fn reload(&self) -> Result<(), SandboxError> {
        // A changed postmaster setting is no mistake; it waits for the next start.
        let problems = self.psql(
            "SELECT f.name || ': ' || f.error FROM pg_file_settings f LEFT JOIN pg_settings s USING (name)
              WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster'
             UNION ALL
             SELECT 'pg_hba.conf line ' || line_number || ': ' || error FROM pg_hba_file_rules
              WHERE error IS NOT NULL",
        )?;
        if !problems.is_empty() {
            return Err(SandboxError::Configuration { node: self.label(), problem: problems });
        }
        let loaded = "SELECT pg_conf_load_time()";
        let before = self.psql(loaded)?;
        process::signal_pid(self.running_pid()?, Signal::HUP);
        self.wait("configuration reloaded", self.env.deadline, |_| {
            let now = self.psql(loaded)?;
            let seen = || format!("last loaded {now}");
            Ok(if now == before { Look::NotYet(seen()) } else { Look::Done(()) })
        })
    }

    /// Sets a setting in `postgresql.conf`, now if the server runs and the setting allows it, else at
    /// its next start. The node keeps it until it is set anew.
    ///
    /// # Errors
    /// [`SandboxError::Configuration`] when the server refuses it; the old value is back then.
    pub fn set_config(&self, name: &str, value: &str) -> Result<(), SandboxError> {
        if !settings::is_setting_name(name) {
            let problem = format!("{name:?} is not a setting's name");
            return Err(SandboxError::Configuration { node: self.label(), problem });
        }
        self.reconfigure(|configuration| {
            configuration.settings.insert(name.to_owned(), value.to_owned());
        })
    }

    /// Replaces the lines of `pg_hba.conf`, but for the sandbox's own at its head (which let the
    /// superuser in through the Unix socket). See [`hba_for_everyone`](crate::hba_for_everyone).
    ///
    /// # Errors
    /// As [`Self::set_config`].
    pub fn set_hba<L: Into<String>>(
        &self,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<(), SandboxError> {
        let lines = lines.into_iter().map(Into::into).collect();
        self.reconfigure(|configuration| configuration.hba = lines)
    }

    /// Puts a file into the data directory, readable only for the server: certificates, keys.
    ///
    /// # Errors
    /// [`SandboxError::File`].
    pub fn put_file(&self, name: &str, contents: &[u8]) -> Result<PathBuf, SandboxError> {
        let path = self.dir.join(name);
        files::write_private(&path, contents, &self.env.account)?;
        Ok(path)
    }
}

/// What the rest of the crate does with a node.
impl Node {
    pub(crate) fn env(&self) -> &Environment {
        &self.env
    }

    /// Name and address, for messages.
    pub(crate) fn label(&self) -> String {
        format!("{} ({})", self.name, self.address())
    }

    /// Whether its data directory is there.
    pub(crate) fn has_data(&self) -> bool {
        self.dir.join("PG_VERSION").is_file()
    }

    /// Whether it would start as a standby.
    pub(crate) fn is_marked_standby(&self) -> bool {
        self.dir.join(STANDBY_SIGNAL).is_file()
    }

    /// Whether a server that is not ours runs on its data directory, or an unrelated process happens
    /// to have its id and to name this directory.
    pub(crate) fn has_former_server(&self) -> bool {
        let Some(pid) = self.pid_file_line(PID_FILE_PROCESS) else {
            return false;
        };
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == self.dir.as_os_str().as_bytes())
    }

    /// The timeline its data is on (manual, 26.3.5 "Timelines").
    pub(crate) fn timeline(&self) -> u32 {
        let Ok(entries) = fs::read_dir(self.dir.join("pg_wal")) else {
            return 0;
        };
        let histories = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            u32::from_str_radix(name.to_str()?.strip_suffix(".history")?, 16).ok()
        });
        histories.max().unwrap_or(1)
    }

    /// Makes it start as a standby.
    pub(crate) fn mark_standby(&self) -> Result<(), SandboxError> {
        self.put_file(STANDBY_SIGNAL, b"").map(drop)
    }

    /// Names the server it streams from as a standby; in force now if it runs.
    pub(crate) fn set_upstream(&self, upstream: &Self) -> Result<(), SandboxError> {
        let value = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let conninfo = format!(
            "host={} port={} user={} application_name={}",
            value(&self.env.place.runtime().to_string_lossy()),
            upstream.port(),
            value(&self.env.superuser),
            self.name,
        );
        self.set_config("primary_conninfo", &conninfo)
    }

    /// [`Self::psql_in`] with a deadline of its own.
    fn psql_within(
        &self,
        deadline: Duration,
        database: &str,
        sql: &str,
    ) -> Result<String, SandboxError> {
        let server = environment::Server {
            name: self.label(),
            door: Door::Socket(self.env.place.runtime()),
            port: self.port(),
        };
        let user = &self.env.superuser;
        self.env.psql(&server, &Login { user, database, password: None }, sql, deadline)
    }

    /// Waits for a condition on this node that `asked`, it or another, can tell: that `sql` gives an
    /// answer that `holds`. Errors are other answers.
    pub(crate) fn wait_for_sql(
        &self,
        condition: &str,
        deadline: Duration,
        asked: &Self,
        sql: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Result<(), SandboxError> {
        self.wait(condition, deadline, |left| {
            Ok(match asked.psql_within(left, MAINTENANCE_DATABASE, sql) {
                Ok(answer) if holds(&answer) => Look::Done(()),
                Ok(answer) => Look::NotYet(format!("{answer:?}")),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }

    /// A program of PostgreSQL that connects to this node as the superuser.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = self.env.program(name);
        command.arg("-h").arg(self.env.place.runtime()).args([
            "-p",
            &self.port().to_string(),
            "-U",
            &self.env.superuser,
        ]);
        command
    }

    /// Waits for a condition on this node; a timeout carries the end of its log.
    pub(crate) fn wait<T>(
        &self,
        condition: &str,
        deadline: Duration,
        look: impl FnMut(Duration) -> Result<Look<T>, SandboxError>,
    ) -> Result<T, SandboxError> {
        wait::until(deadline, look)?.map_err(|seen| SandboxError::Timeout {
            node: self.label(),
            condition: condition.to_owned(),
            waited: deadline,
            seen,
            log: LogTail::of(&self.log),
        })
    }

    /// Starts the server without waiting for it.
    pub(crate) fn launch(&self) -> Result<(), SandboxError> {
        if self.is_running() {
            return Err(SandboxError::AlreadyRunning { node: self.label() });
        }
        self.clear_remains();
        let mut state = self.lock();
        self.write_configuration(&state.configuration)?;
        let failed = |action| SandboxError::file(action, &self.log);
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(failed("open"))?;
        self.env.account.own(&self.log)?;
        let mut postgres = self.env.program("postgres");
        postgres
            .arg("-D")
            .arg(&self.dir)
            // An argument, not a setting: the watchdog knows the server by it.
            .arg("-k")
            .arg(self.env.place.runtime())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed("open"))?)
            .stderr(log)
            // Out of reach of a Ctrl-C meant for us: servers end when we say so.
            .process_group(0);
        let child = postgres.spawn().map_err(|error| SandboxError::Program {
            program: postgres.get_program().to_string_lossy().into_owned(),
            outcome: format!("cannot be started: {error}"),
            stderr: String::new(),
        })?;
        state.server = Server::Up(child);
        Ok(())
    }

    /// Ends the server whatever state it is in: as asked within `patience`, else by force.
    pub(crate) fn put_down(&self, mode: StopMode, patience: Duration) {
        let Some(pid) = self.pid() else { return };
        process::signal_pid(pid, mode.signal());
        // A frozen server takes the signal only now.
        let _ = self.thaw();
        let ended = wait::until(patience, |_| {
            Ok(if self.is_running() { Look::NotYet(String::new()) } else { Look::Done(()) })
        });
        if !matches!(ended, Ok(Ok(()))) {
            let _ = self.kill();
        }
        self.clear_remains();
    }

    /// Changes the configuration and makes it known; takes the change back if the server refuses it.
    fn reconfigure(&self, change: impl FnOnce(&mut Configuration)) -> Result<(), SandboxError> {
        let before = self.lock().configuration.clone();
        change(&mut self.lock().configuration);
        if !self.is_running() {
            return Ok(());
        }
        self.write_configuration(&self.lock().configuration)?;
        self.reload().inspect_err(|_| {
            self.lock().configuration = before.clone();
            // The refusal is the error to report.
            let _ = self.write_configuration(&before);
        })
    }

    fn write_configuration(&self, configuration: &Configuration) -> Result<(), SandboxError> {
        let files = [
            ("postgresql.conf", settings::render(&configuration.settings)),
            ("pg_hba.conf", settings::render_hba(&self.env.superuser, &configuration.hba)),
        ];
        files.iter().try_for_each(|(name, text)| self.put_file(name, text.as_bytes()).map(drop))
    }

    /// Removes what a server that did not shut down leaves behind. Its process id may be another
    /// process's by the next start, which PostgreSQL would take for a running server; its shared memory
    /// segment (56 bytes, but the machine has few) would stay for ever.
    fn clear_remains(&self) {
        if self.is_running() {
            return;
        }
        let segment = self.pid_file_line(PID_FILE_SHARED_MEMORY);
        if let Some(id) = segment.as_deref().and_then(|line| line.split_ascii_whitespace().nth(1)) {
            // Without ipcrm the segment stays; that is all.
            let _ =
                crate::run::run_well(self.env.command("ipcrm").args(["-m", id]), self.env.deadline);
        }
        let socket = format!(".s.PGSQL.{}", self.port());
        let runtime = self.env.place.runtime();
        for remains in
            [self.dir.join(PID_FILE), runtime.join(&socket), runtime.join(format!("{socket}.lock"))]
        {
            let _ = fs::remove_file(remains);
        }
    }

    fn pid_file_line(&self, number: usize) -> Option<String> {
        let text = fs::read_to_string(self.dir.join(PID_FILE)).ok()?;
        text.lines().nth(number).map(|line| line.trim().to_owned())
    }

    fn running_pid(&self) -> Result<u32, SandboxError> {
        self.pid().ok_or_else(|| SandboxError::NotRunning { node: self.label() })
    }

    fn process(&self) -> Option<Process> {
        self.pid().and_then(Process::find)
    }

    /// The postmaster; an error if it does not run.
    pub(crate) fn running(&self) -> Result<Process, SandboxError> {
        self.process().ok_or_else(|| SandboxError::NotRunning { node: self.label() })
    }

    fn exited(&self, status: ExitStatus) -> SandboxError {
        SandboxError::Exited {
            node: self.label(),
            status: status.to_string(),
            log: LogTail::of(&self.log),
        }
    }

    /// The state, after taking note of a server that has ended.
    fn observe(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if let Server::Up(child) = &mut state.server
            && let Ok(Some(status)) = child.try_wait()
        {
            state.server = Server::Exited(status);
        }
        state
    }

    /// A thread that panicked while it held the lock left nothing half done: see the critical sections.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
