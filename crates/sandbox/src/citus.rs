//! A Citus cluster: a coordinator and workers, each a [`Sandbox`] with standbys of its own if wanted.
//!
//! Only where the Citus extension is installed beside PostgreSQL: [`Sandbox::citus_available`].

use std::path::PathBuf;
use std::thread;

use crate::error::SandboxError;
use crate::node::Node;
use crate::ports::HOST;
use crate::sandbox::{Sandbox, SandboxBuilder};

/// Workers of a cluster that does not say how many.
const DEFAULT_WORKERS: usize = 2;

/// What Citus needs of a server (Citus documentation, "Multi-Node Citus"), and what keeps tests short.
const SETTINGS: [(&str, &str); 5] = [
    ("shared_preload_libraries", "citus"),
    ("max_prepared_transactions", "200"),
    // Shards are moved by logical replication.
    ("wal_level", "logical"),
    ("max_connections", "200"),
    ("citus.enable_statistics_collection", "off"),
];

/// A running Citus cluster. Dropping it ends all servers, as with a [`Sandbox`].
#[derive(Debug)]
pub struct CitusCluster {
    coordinator: Sandbox,
    workers: Vec<Sandbox>,
    database: String,
}

/// What a Citus cluster shall be like. Made by [`CitusCluster::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until start()"]
pub struct CitusBuilder {
    workers: usize,
    dir: Option<PathBuf>,
    database: String,
    group: SandboxBuilder,
}

impl Default for CitusBuilder {
    fn default() -> Self {
        let group = Sandbox::builder().replicas(0).own_identity();
        let group =
            SETTINGS.iter().fold(group, |group, (name, value)| group.setting(*name, *value));
        Self { workers: DEFAULT_WORKERS, dir: None, database: "postgres".to_owned(), group }
    }
}

impl CitusBuilder {
    /// The number of workers; 2 unless told.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// Standbys of the coordinator and of each worker; none unless told.
    pub fn replicas(mut self, count: usize) -> Self {
        self.group = self.group.replicas(count);
        self
    }

    /// Keeps the data in this directory, and goes on with it.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Puts temporary data on disk.
    pub fn on_disk(mut self) -> Self {
        self.group = self.group.on_disk();
        self
    }

    /// A line of every server's `postgresql.conf`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.group = self.group.setting(name, value);
        self
    }

    /// The lines of every server's `pg_hba.conf`.
    pub fn hba<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.group = self.group.hba(lines);
        self
    }

    /// The database that is sharded; `postgres` unless told.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = name.into();
        self.group = self.group.database(self.database.clone());
        self
    }

    /// Starts the cluster, and returns when the coordinator knows every worker.
    ///
    /// # Errors
    /// Any [`SandboxError`]; nothing is left running.
    pub fn start(self) -> Result<CitusCluster, SandboxError> {
        if let Some(dir) = &self.dir {
            std::fs::create_dir_all(dir).map_err(SandboxError::file("make directory", dir))?;
        }
        let names = (0..=self.workers).map(|number| match number {
            0 => "coordinator".to_owned(),
            number => format!("worker{number}"),
        });
        let groups: Vec<SandboxBuilder> = names
            .map(|name| match &self.dir {
                Some(dir) => self.group.clone().dir(dir.join(name)),
                None => self.group.clone(),
            })
            .collect();
        let mut started = start_all(groups)?;
        let coordinator = started.remove(0);
        let cluster = CitusCluster { coordinator, workers: started, database: self.database };
        cluster.join()?;
        Ok(cluster)
    }
}

fn start_all(groups: Vec<SandboxBuilder>) -> Result<Vec<Sandbox>, SandboxError> {
    thread::scope(|scope| {
        let starting: Vec<_> =
            groups.into_iter().map(|group| scope.spawn(move || group.start())).collect();
        starting
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

impl CitusCluster {
    /// A coordinator and two workers without standbys, until told otherwise.
    pub fn builder() -> CitusBuilder {
        CitusBuilder::default()
    }

    /// The coordinator and its standbys.
    #[must_use]
    pub fn coordinator(&self) -> &Sandbox {
        &self.coordinator
    }

    /// The workers, each with its standbys.
    #[must_use]
    pub fn workers(&self) -> &[Sandbox] {
        &self.workers
    }

    /// The worker with this number, from 0.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    #[expect(clippy::indexing_slicing, reason = "documented to panic, as indexing does")]
    pub fn worker(&self, index: usize) -> &Sandbox {
        &self.workers[index]
    }

    /// The primaries: the coordinator, then the workers.
    pub fn primaries(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.coordinator).chain(&self.workers).map(Sandbox::primary)
    }

    /// The database that is sharded.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs SQL on the coordinator, in the database that is sharded.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] with PostgreSQL's message.
    pub fn psql(&self, sql: &str) -> Result<String, SandboxError> {
        self.coordinator.primary().psql_in(&self.database, sql)
    }

    /// Starts another worker, of which the coordinator does not know yet: [`Self::add`].
    ///
    /// # Errors
    /// Any [`SandboxError`].
    pub fn spare_worker(&self) -> Result<Sandbox, SandboxError> {
        let worker = CitusBuilder::default().database(&*self.database).group.start()?;
        self.prepare(worker.primary())?;
        Ok(worker)
    }

    /// Tells the coordinator of a worker.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] with PostgreSQL's message.
    pub fn add(&self, worker: &Sandbox) -> Result<(), SandboxError> {
        let port = worker.primary().port();
        self.psql(&format!("SELECT citus_add_node('{HOST}', {port})")).map(drop)
    }

    /// Makes one cluster of the servers. Those of an earlier run may listen elsewhere now: none can ask
    /// another before each has been told.
    fn join(&self) -> Result<(), SandboxError> {
        let ports = || (0..).zip(self.primaries().map(Node::port));
        let moved: String = ports()
            .map(|(group, port)| {
                format!("UPDATE pg_dist_node SET nodeport = {port} WHERE groupid = {group};")
            })
            .collect();
        for node in self.primaries() {
            self.prepare(node)?;
            node.psql_in(&self.database, &moved)?;
        }
        let added: String = ports()
            .map(|(group, port)| match group {
                0 => format!("SELECT citus_set_coordinator_host('{HOST}', {port});"),
                _ => format!("SELECT citus_add_node('{HOST}', {port});"),
            })
            .collect();
        self.psql(&added).map(drop)
    }

    /// Creates the extension, which knows of no other server yet.
    fn prepare(&self, node: &Node) -> Result<(), SandboxError> {
        let sql = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS citus";
        node.psql_in(&self.database, sql).map(drop)
    }
}
