//! A whole cluster: building it, changing who is primary, and taking it down.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::account::Account;
use crate::environment::{Door, Environment, Login, Server};
use crate::error::SandboxError;
use crate::install::Installation;
use crate::node::{Node, StopMode};
use crate::place::{Keep, Place, Storage};
use crate::ports::{HOST, PortLease};
use crate::settings::{self, Settings, hba_for_everyone, quote_identifier, quote_literal};
use crate::template::{Identity, Template};
use crate::wait::{self, Look};
use crate::watchdog::Watchdog;

/// How long an operation may take unless the builder says otherwise. Generous, for machines that run
/// many tests on few cores.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// How long servers get to shut down when a sandbox is dropped, before they are killed.
const DROP_PATIENCE: Duration = Duration::from_secs(15);

/// Standbys of a cluster that does not say how many.
const DEFAULT_REPLICAS: usize = 2;

/// A running PostgreSQL cluster: a primary and its streaming standbys.
///
/// Dropping it ends all servers and removes everything, but for the data in a directory that was given
/// to [`SandboxBuilder::dir`]. If the process is killed instead, a watchdog does the same.
#[derive(Debug)]
pub struct Sandbox {
    // The order is that of dropping: the watchdog goes last, and finds nothing left to do.
    nodes: Vec<Node>,
    env: Arc<Environment>,
    _watchdog: Watchdog,
}

/// What a cluster shall be like. Made by [`Sandbox::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until start()"]
pub struct SandboxBuilder {
    dir: Option<PathBuf>,
    replicas: usize,
    base_port: Option<u16>,
    settings: Settings,
    hba: Vec<String>,
    roles: Vec<(String, String)>,
    databases: Vec<String>,
    superuser: String,
    identity: Identity,
    storage: Storage,
    deadline: Duration,
}

impl Default for SandboxBuilder {
    fn default() -> Self {
        Self {
            dir: None,
            replicas: DEFAULT_REPLICAS,
            base_port: None,
            settings: settings::base(),
            hba: hba_for_everyone("trust"),
            roles: Vec::new(),
            databases: Vec::new(),
            superuser: "postgres".to_owned(),
            identity: Identity::Shared,
            storage: Storage::Memory,
            deadline: DEFAULT_DEADLINE,
        }
    }
}

impl SandboxBuilder {
    /// Keeps the data in this directory, and goes on with it if it holds an earlier sandbox's: the last
    /// primary is primary again, standbys are kept, missing ones are made. Without this, the data is
    /// temporary and goes with the sandbox.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Puts temporary data on disk, for more of it than memory should hold. Without this it is in the
    /// directory that `TMPDIR` names, or in memory (`/dev/shm`) if that has room, or in `/tmp`.
    pub fn on_disk(mut self) -> Self {
        self.storage = Storage::Disk;
        self
    }

    /// The number of standbys; 2 unless told.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Node n listens on `first + n`, instead of on any free port.
    pub fn base_port(mut self, first: u16) -> Self {
        self.base_port = Some(first);
        self
    }

    /// A line of every node's `postgresql.conf` (manual, chapter 20).
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Makes commits wait for standbys, in the words of `synchronous_standby_names` (manual, 20.6.2), such
    /// as `FIRST 1 (node1, node2)`.
    pub fn synchronous(self, names: impl Into<String>) -> Self {
        self.setting("synchronous_standby_names", names)
    }

    /// The lines of `pg_hba.conf`, instead of trust for everyone on loopback. The superuser's way in
    /// through the Unix socket stays open. See [`hba_for_everyone`].
    pub fn hba<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.hba = lines.into_iter().map(Into::into).collect();
        self
    }

    /// Creates a role unless it exists; `options` are CREATE ROLE's, such as `LOGIN PASSWORD 'secret'`.
    pub fn role(mut self, name: impl Into<String>, options: impl Into<String>) -> Self {
        self.roles.push((name.into(), options.into()));
        self
    }

    /// Creates a database unless it exists.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.databases.push(name.into());
        self
    }

    /// The superuser's name; `postgres` unless told.
    pub fn superuser(mut self, name: impl Into<String>) -> Self {
        self.superuser = name.into();
        self
    }

    /// Gives the cluster a system identifier of its own, at the cost of an initdb (about a second).
    /// Without this, all sandboxes of a machine have the same one.
    pub fn own_identity(mut self) -> Self {
        self.identity = Identity::Own;
        self
    }

    /// How long the start and any later operation may take; a minute unless told.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the cluster, and returns when all standbys stream from the primary and show its roles
    /// and databases.
    ///
    /// # Errors
    /// Any [`SandboxError`]; nothing is left running.
    pub fn start(self) -> Result<Sandbox, SandboxError> {
        let installation = Installation::find()?;
        let account = Account::for_servers()?;
        let place = match &self.dir {
            Some(dir) => Place::at(dir, &account)?,
            None => Place::temporary(&account, self.storage)?,
        };
        let mut settings = self.settings;
        if place.keep() == Keep::Nothing {
            // Nobody needs this data after a power failure.
            settings.entry("fsync".to_owned()).or_insert_with(|| "off".to_owned());
        }
        let env = Environment::new(installation, account, place, self.superuser, self.deadline);
        let env = Arc::new(env);
        let watchdog = Watchdog::start(env.command("sh"), &env.place)?;
        let nodes = leases(self.base_port, self.replicas + 1)?
            .into_iter()
            .enumerate()
            .map(|(index, port)| {
                Node::new(index, port, Arc::clone(&env), settings.clone(), self.hba.clone())
            })
            .collect();
        let sandbox = Sandbox { nodes, env, _watchdog: watchdog };
        sandbox.start_all(self.identity)?;
        sandbox.create(&self.roles, &self.databases)?;
        Ok(sandbox)
    }
}

impl Sandbox {
    /// A cluster of a primary and two standbys, until told otherwise.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::default()
    }

    /// Whether the PostgreSQL that sandboxes use has the Citus extension installed.
    #[must_use]
    pub fn citus_available() -> bool {
        Installation::find().is_ok_and(|installation| installation.has_extension("citus"))
    }

    /// All nodes, by number. Node 0 is the primary of a new cluster.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this number.
    ///
    /// # Panics
    /// If there is none: the number is the test's, like an index.
    #[must_use]
    #[track_caller]
    #[expect(clippy::indexing_slicing, reason = "documented to panic, as indexing does")]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The node that the sandbox last made primary, running or not.
    #[must_use]
    pub fn primary(&self) -> &Node {
        self.node(self.env.primary())
    }

    /// The nodes other than [`Self::primary`], by number.
    pub fn replicas(&self) -> impl Iterator<Item = &Node> {
        let primary = self.env.primary();
        self.nodes.iter().filter(move |node| node.index() != primary)
    }

    /// The `index`th of [`Self::replicas`]; a promotion changes which one that is.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    #[expect(clippy::expect_used, reason = "documented to panic, as indexing does")]
    pub fn replica(&self, index: usize) -> &Node {
        self.replicas().nth(index).expect("a replica with this number")
    }

    /// The superuser's name.
    #[must_use]
    pub fn superuser(&self) -> &str {
        &self.env.superuser
    }

    /// The directory of the data directories and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.env.place.data()
    }

    /// The directory of the servers' Unix sockets (`.s.PGSQL.<port>`), open to the servers' user only.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.env.place.runtime()
    }

    /// PostgreSQL's major version, such as 15.
    #[must_use]
    pub fn major_version(&self) -> u32 {
        self.env.installation.major()
    }

    /// A command for a program of the same PostgreSQL (`psql`, `pgbench`, `pg_dump`, …), run as the
    /// servers' user, in a directory of its own and without any of the caller's environment, so that no
    /// `PG…` variable or password file changes what it does.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        self.env.program(name)
    }

    /// Runs SQL like [`Node::psql_as`] at any port of `127.0.0.1`, such as a pooler's.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] with the message received.
    pub fn psql_at(&self, port: u16, login: &Login<'_>, sql: &str) -> Result<String, SandboxError> {
        let server = Server { name: format!("{HOST}:{port}"), door: Door::Tcp, port };
        self.env.psql(&server, login, sql, self.env.deadline)
    }

    /// Waits until `standby` shows everything that the primary had written when this was called.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] with how far it came.
    pub fn wait_caught_up(&self, standby: &Node, deadline: Duration) -> Result<(), SandboxError> {
        standby.wait_replayed(self.primary(), deadline)
    }

    /// [`Self::wait_caught_up`] for all replicas that run.
    ///
    /// # Errors
    /// As [`Self::wait_caught_up`].
    pub fn wait_all_caught_up(&self, deadline: Duration) -> Result<(), SandboxError> {
        self.replicas()
            .filter(|node| node.is_running())
            .try_for_each(|node| self.wait_caught_up(node, deadline))
    }

    /// Makes all other nodes standbys of `primary`, usually after [`Node::promote`], and waits until
    /// those that run stream from it. One that runs as a primary is left alone; see [`Self::rejoin`].
    /// Replay must not be paused: a paused standby does not change its upstream.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] with its log when a standby cannot follow, for instance because it has
    /// replayed what the new primary never had.
    pub fn follow(&self, primary: &Node) -> Result<(), SandboxError> {
        self.env.set_primary(primary.index());
        for node in self.replicas() {
            node.set_upstream(primary)?;
        }
        for node in self.replicas().filter(|node| node.is_running()) {
            if node.is_in_recovery()? {
                node.wait_streaming(primary, self.env.deadline)?;
            }
        }
        Ok(())
    }

    /// Makes `node`, running or not, a standby of the primary from a fresh base backup, and waits until
    /// it streams: what an old primary needs, whose history has parted from the new one's, and a standby
    /// that was away for more than `wal_keep_size` of WAL (256 MB).
    ///
    /// # Errors
    /// [`SandboxError::Program`] when the backup fails; otherwise as [`Node::start`].
    pub fn rejoin(&self, node: &Node) -> Result<(), SandboxError> {
        node.put_down(StopMode::Immediate, self.env.deadline);
        node.rebuild_from(self.primary())?;
        node.start()?;
        node.wait_streaming(self.primary(), self.env.deadline)
    }

    /// Starts all nodes, each from the data it has or shall get.
    fn start_all(&self, identity: Identity) -> Result<(), SandboxError> {
        self.await_former_servers()?;
        if self.nodes.iter().all(|node| !node.has_data()) {
            let template = Template::open(&self.env, identity)?;
            on_all(&self.nodes, |node| template.copy_to(&self.env, node.dir()))?;
            for replica in self.replicas() {
                replica.mark_standby()?;
            }
        } else {
            self.env.set_primary(self.last_primary()?.index());
        }
        let primary = self.primary();
        for replica in self.replicas() {
            replica.set_upstream(primary)?;
        }
        let (ready, to_build): (Vec<&Node>, Vec<&Node>) = self
            .nodes
            .iter()
            .partition(|node| node.index() == primary.index() || node.is_marked_standby());
        on_all(&ready, |node| node.start())?;
        on_all(&to_build, |node| node.rebuild_from(primary).and_then(|()| node.start()))?;
        self.replicas().try_for_each(|node| node.wait_streaming(primary, self.env.deadline))
    }

    /// The node of an earlier run that was primary last: of those that would not start as standbys, the
    /// one on the highest timeline.
    fn last_primary(&self) -> Result<&Node, SandboxError> {
        self.nodes
            .iter()
            .filter(|node| node.has_data() && !node.is_marked_standby())
            .max_by_key(|node| node.timeline())
            .ok_or_else(|| SandboxError::ForeignDirectory {
                dir: self.dir().to_owned(),
                problem: "it holds standbys but no primary".to_owned(),
            })
    }

    /// Waits for servers of an owner that was killed: its watchdog is ending them.
    fn await_former_servers(&self) -> Result<(), SandboxError> {
        let gone = wait::until(self.env.deadline, |_| {
            let running = self.nodes.iter().any(Node::has_former_server);
            Ok(if running { Look::NotYet(String::new()) } else { Look::Done(()) })
        })?;
        gone.map_err(|_| SandboxError::InUse { dir: self.dir().to_owned() })
    }

    fn create(&self, roles: &[(String, String)], databases: &[String]) -> Result<(), SandboxError> {
        if roles.is_empty() && databases.is_empty() {
            return Ok(());
        }
        let unless = |catalog: &str, column: &str, name: &str, command: String| {
            let (command, name) = (quote_literal(&command), quote_literal(name));
            format!(
                "SELECT {command} WHERE NOT EXISTS \
                 (SELECT FROM {catalog} WHERE {column} = {name}) \\gexec\n"
            )
        };
        let roles = roles.iter().map(|(name, options)| {
            let command = format!("CREATE ROLE {} {options}", quote_identifier(name));
            unless("pg_roles", "rolname", name, command)
        });
        let databases = databases.iter().map(|name| {
            let command = format!("CREATE DATABASE {}", quote_identifier(name));
            unless("pg_database", "datname", name, command)
        });
        self.primary().psql(&roles.chain(databases).collect::<String>())?;
        self.wait_all_caught_up(self.env.deadline)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        match self.env.place.keep() {
            // The primary first: its clean end is the last thing the standbys receive.
            Keep::Data => {
                self.nodes.iter().for_each(|node| drop(node.thaw()));
                self.primary().put_down(StopMode::Fast, DROP_PATIENCE);
                put_all_down(&self.nodes, StopMode::Fast);
            }
            Keep::Nothing => put_all_down(&self.nodes, StopMode::Immediate),
        }
    }
}

fn put_all_down(nodes: &[Node], mode: StopMode) {
    thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || node.put_down(mode, DROP_PATIENCE));
        }
    });
}

/// Does the same to all nodes at once; returns the first error by order of nodes.
fn on_all<N: Sync>(
    nodes: &[N],
    action: impl Fn(&N) -> Result<(), SandboxError> + Sync,
) -> Result<(), SandboxError> {
    thread::scope(|scope| {
        let running: Vec<_> = nodes.iter().map(|node| scope.spawn(|| action(node))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .fold(Ok(()), Result::and)
    })
}

fn leases(base: Option<u16>, count: usize) -> Result<Vec<PortLease>, SandboxError> {
    match base {
        None => (0..count).map(|_| PortLease::any()).collect(),
        Some(first) => (first..=u16::MAX).take(count).map(PortLease::exactly).collect(),
    }
}
