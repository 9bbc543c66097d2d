//! A cluster as a whole: its monitor, its pools, and what can be asked of it directly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pgweir_protocol::auth::Credentials;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::board::Board;
use crate::citus::{Asked, LISTED, Listing};
use crate::clock;
use crate::control::{Control, ControlError, Manners, Question, Questioner, Rows, ask_any};
use crate::dial::{ConnectError, Login, ServerConnection};
use crate::error::PoolError;
use crate::fleet::Fleet;
use crate::monitor::Monitor;
use crate::node::Node;
use crate::pool_set::{Origin, PoolSet};
use crate::roster::{Change, Roster};
use crate::select::MAX_NODES;
use crate::spec::{ClusterKind, ClusterSpec, MonitorSpec, NodeSpec, PoolSpec};
use crate::tls::TlsError;
use crate::topology::Topology;

/// Databases and users with pools of their own, at most, per cluster.
pub const MAX_POOL_SETS: usize = 10_000;
/// How often the pools are kept in order: old connections closed, the least number kept ready.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);
/// How often Citus is asked for its nodes while nothing happens.
const LISTING_INTERVAL: Duration = Duration::from_secs(1);
/// How long it is left alone in between.
const LISTING_REST: Duration = Duration::from_millis(50);
/// Nodes that are asked the same, one after the other, at most.
const MAX_ASKED: usize = 3;
/// Pools that nobody has asked for, and that hold nothing, are forgotten after this.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// Why a cluster cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It has no nodes.
    #[error("a cluster needs at least one node")]
    NoNodes,
    /// It has more nodes than are supported.
    #[error("{found} nodes, more than {MAX_NODES}")]
    TooManyNodes {
        /// How many.
        found: usize,
    },
    /// Its TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A cluster: one primary and its standbys behind one name.
pub struct Cluster {
    name: String,
    /// What it is made of.
    rosters: watch::Sender<Arc<Roster>>,
    /// The number of the roster that the monitor heeds.
    heeded: watch::Receiver<u64>,
    /// What Citus says of its nodes.
    listings: watch::Sender<Option<Arc<Listing>>>,
    /// Rung when that may have changed.
    relist: Arc<Notify>,
    board: Arc<Board>,
    runtime: Handle,
    sets: Mutex<Sets>,
    tasks: Mutex<JoinSet<()>>,
}

/// The pools by database and user.
#[derive(Default)]
struct Sets {
    by_account: HashMap<(String, String), Arc<PoolSet>>,
    is_closed: bool,
}

/// The secret of a role that may log in with one now (manual: 53.8 "pg_authid").
const ROLE_SECRET: &str = "
SELECT CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
  FROM pg_catalog.pg_authid WHERE rolname = $1";
/// The same for a monitor that was granted the view instead (manual: 54.25 "pg_shadow").
const ROLE_SECRET_BY_VIEW: &str = "
SELECT CASE WHEN valuntil < now() THEN NULL ELSE passwd END
  FROM pg_catalog.pg_shadow WHERE usename = $1";

/// A question of an operator's, with one parameter: a user's name.
#[derive(Clone, Copy)]
pub struct Inquiry<'a> {
    /// The question.
    pub sql: &'a str,
    /// The role that asks.
    pub role: &'a str,
    /// Its password, where the servers want one.
    pub password: Option<&'a str>,
    /// Where it asks; the monitor's database, if nothing else is said.
    pub database: Option<&'a str>,
}

impl MonitorSpec {
    fn questioner(&self, database: &str) -> Questioner {
        Questioner {
            user: self.user.clone(),
            password: self.password.clone(),
            database: database.to_owned(),
            manners: Manners::Own,
        }
    }
}

impl Cluster {
    /// Begins to watch a cluster. Must be called inside a tokio runtime, which serves its connections
    /// from then on.
    ///
    /// # Errors
    /// [`ClusterError`], when the specification cannot be used.
    pub fn start(spec: ClusterSpec) -> Result<Arc<Self>, ClusterError> {
        Ok(Self::begin(Change::new(spec)?))
    }

    /// The same for a specification that is known to be usable.
    #[must_use]
    pub fn begin(change: Change) -> Arc<Self> {
        let name = change.spec.name.clone();
        let roster = Arc::new(Roster::first(change));
        let nodes: Vec<_> = roster.nodes().cloned().collect();
        let is_of_citus = roster.spec.kind != ClusterKind::Streaming;
        let board = Arc::new(Board::new(Fleet::new(&roster.spec.kind, &nodes).draw()));
        let listings = watch::Sender::new(None);
        let heeded = watch::Sender::new(roster.number);
        let rosters = watch::Sender::new(roster);
        let cluster = Arc::new(Self {
            heeded: heeded.subscribe(),
            board: Arc::clone(&board),
            runtime: Handle::current(),
            sets: Mutex::default(),
            tasks: Mutex::default(),
            relist: Arc::default(),
            listings: listings.clone(),
            name,
            rosters,
        });
        let rosters = cluster.rosters.subscribe();
        let name = cluster.name.clone();
        let listings = listings.subscribe();
        let monitor = Monitor { cluster: name, rosters, heeded, board, listings };
        cluster.tasks().spawn(monitor.run());
        let housekeeper = keep_house(Arc::downgrade(&cluster), cluster.changes());
        cluster.tasks().spawn(housekeeper);
        if is_of_citus {
            let doubts = Arc::clone(&cluster.relist);
            let lister = keep_list(Arc::downgrade(&cluster), cluster.changes(), doubts);
            cluster.tasks().spawn(lister);
        }
        cluster
    }

    /// Takes over another specification, and returns when the monitor heeds it. Nodes are the same if
    /// host and port are: what is known of them, and their connections, stay. Leases on a node that is
    /// gone stay as they are, and are closed when they come back.
    pub async fn change(&self, change: Change) {
        if !self.roster().is_as(&change) {
            self.replace_roster(|roster| roster.changed(change)).await;
        }
    }

    /// Whether it can take over this change: a streaming cluster does not become one of Citus.
    #[must_use]
    pub fn is_of_kind(&self, change: &Change) -> bool {
        let is_streaming = |spec: &ClusterSpec| spec.kind == ClusterKind::Streaming;
        is_streaming(&self.roster().spec) == is_streaming(&change.spec)
    }

    /// Takes over a list of servers that were found by asking (the workers of a Citus coordinator),
    /// which belong to the cluster besides those of its specification. Returns when the monitor heeds
    /// it.
    pub async fn set_found(&self, found: Vec<NodeSpec>) {
        if self.roster().found != found {
            self.replace_roster(|roster| roster.with_found(found)).await;
        }
    }

    /// Asks Citus anew which nodes there are, and returns when the monitor heeds the answer. Does
    /// nothing to a streaming cluster.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn relist(&self) -> Result<(), ControlError> {
        let roster = self.roster();
        let ClusterKind::Citus { rewrite } = &roster.spec.kind else { return Ok(()) };
        let asked = match self.topology().primary {
            Some(_) => Asked::Coordinator,
            None => Asked::AnotherNode,
        };
        let rows = self.ask(&roster.spec.monitor.database, LISTED, &[]).await?;
        let listing = Listing::read(&rows, rewrite)?;
        let found = listing.found(&roster.spec.nodes, asked);
        self.listings.send_if_modified(|known| {
            let is_news = known.as_deref() != Some(&listing);
            if is_news {
                *known = Some(Arc::new(listing));
            }
            is_news
        });
        self.set_found(found).await;
        Ok(())
    }

    /// Something has passed that may have changed the nodes of a Citus cluster.
    pub fn doubt_list(&self) {
        self.relist.notify_one();
    }

    async fn replace_roster(&self, make: impl FnOnce(&Roster) -> Roster) {
        let number = {
            // Pools that are made meanwhile are made for the old nodes or for the new ones.
            let sets = self.sets();
            let roster = Arc::new(make(&self.roster()));
            for set in sets.by_account.values() {
                // Before anybody is sent there.
                set.follow(&roster);
            }
            let number = roster.number;
            self.rosters.send_replace(roster);
            number
        };
        // It fails when the cluster is being shut down.
        let _ = self.heeded.clone().wait_for(|heeded| *heeded >= number).await;
        self.leave_gone();
    }

    /// Closes the pools of nodes to which nobody is sent any more.
    fn leave_gone(&self) {
        let sets = self.sets();
        let (roster, topology) = (self.roster(), self.snapshot());
        for set in sets.by_account.values() {
            set.leave(&roster, &topology);
        }
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.rosters.borrow())
    }

    /// What it was told to be, last.
    #[must_use]
    pub fn spec(&self) -> ClusterSpec {
        self.roster().spec.clone()
    }

    /// Stops watching, closes idle connections, refuses whoever waits. Leases that are out stay as
    /// they are, and are closed when they come back.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
        let sets = {
            let mut sets = self.sets();
            sets.is_closed = true;
            std::mem::take(&mut sets.by_account)
        };
        for set in sets.values() {
            set.close();
        }
    }

    fn sets(&self) -> MutexGuard<'_, Sets> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its servers now, in the order of the configuration.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.roster().nodes().cloned().collect()
    }

    /// What is known about it now; cheap, for short looks.
    #[must_use]
    pub fn topology(&self) -> arc_swap::Guard<Arc<Topology>> {
        self.board.topology()
    }

    /// What is known about it now, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Topology> {
        self.board.snapshot()
    }

    /// Tells of changes of roles and health, by generation. Whoever holds a lease on a node that is
    /// fenced must not write through it any longer.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.board.changes()
    }

    /// Tells the monitor that a write was acknowledged: somebody may want to read it from a replica
    /// soon. Costs next to nothing.
    pub fn nudge(&self) {
        self.board.nudge();
    }

    /// When a write through this pooler was last acknowledged to anybody.
    #[must_use]
    pub fn last_write(&self) -> Option<Instant> {
        self.board.last_write.get()
    }

    /// The pools of a database and user; they are made when asked for the first time.
    ///
    /// # Errors
    /// [`PoolError::TooManyPools`], [`PoolError::ShuttingDown`].
    pub fn pools(
        &self,
        database: &str,
        user: &str,
        spec: &PoolSpec,
    ) -> Result<Arc<PoolSet>, PoolError> {
        let mut sets = self.sets();
        if sets.is_closed {
            return Err(PoolError::ShuttingDown);
        }
        let account = (database.to_owned(), user.to_owned());
        if let Some(set) = sets.by_account.get(&account) {
            set.touch(clock::now());
            return Ok(Arc::clone(set));
        }
        if sets.by_account.len() >= MAX_POOL_SETS {
            return Err(PoolError::TooManyPools { limit: MAX_POOL_SETS });
        }
        let set = PoolSet::new(&Origin {
            database,
            user,
            spec,
            roster: &self.roster(),
            board: &self.board,
            runtime: &self.runtime,
        });
        sets.by_account.insert(account, Arc::clone(&set));
        Ok(set)
    }

    /// Closes the idle connections to a database, for a statement that wants it to itself: PostgreSQL
    /// gives others five seconds to leave. Those in use close when their clients are through.
    pub fn vacate(&self, database: &str) {
        for set in self.pool_sets().iter().filter(|set| set.database() == database) {
            set.reconnect();
        }
    }

    /// All pools there are now.
    #[must_use]
    pub fn pool_sets(&self) -> Vec<Arc<PoolSet>> {
        self.sets().by_account.values().cloned().collect()
    }

    /// Opens a connection outside every pool, for replication, or to see how a server receives a
    /// user. It counts against nothing but the server's own limit; [`Node::reserve`] does the counting
    /// for a connection that is to stay.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn dial(
        &self,
        node: &Arc<Node>,
        database: &str,
        user: &str,
        credentials: &Credentials,
        parameters: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<ServerConnection, ConnectError> {
        let login =
            Login { database, user, credentials, known: None, parameters, prepared_statements: 0 };
        self.roster().dialer.connect(node, login, timeout).await
    }

    /// The secret that a role logs in with, as `pg_authid` has it: of the primary, or of another node
    /// while there is none. `None` when there is no such role, it has no password, or its password
    /// has expired. Takes a monitor role that is a superuser, or may read `pg_authid` or `pg_shadow`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn role_secret(&self, user: &str) -> Result<Option<String>, ControlError> {
        let monitor = self.roster().spec.monitor.clone();
        let questioner = monitor.questioner(&monitor.database);
        let ask = async |sql| {
            let question = Question { sql, parameters: &[user] };
            ask_any(&self.all_to_ask(), &questioner, question, monitor.timeout).await
        };
        let rows = match ask(ROLE_SECRET).await {
            Err(error) if error.is_insufficient_privilege() => ask(ROLE_SECRET_BY_VIEW).await?,
            answer => answer?,
        };
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Asks a question of the pooler's own as the monitor role, read only, with only `pg_catalog` in
    /// the search path: the primary, or any node while there is none. Gives the rows as text. Without
    /// parameters the question may be any SQL; with some, its columns must be of text-like types.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn ask(
        &self,
        database: &str,
        sql: &str,
        parameters: &[&str],
    ) -> Result<Rows, ControlError> {
        let MonitorSpec { timeout, .. } = self.roster().spec.monitor;
        let questioner = self.roster().spec.monitor.questioner(database);
        let control = self.someone_to_ask().ok_or(ControlError::Nobody)?;
        control.ask(&questioner, Question { sql, parameters }, timeout).await
    }

    /// The same for a question that takes longer, on a connection that is closed behind the answer.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn ask_apart(
        &self,
        database: &str,
        sql: &str,
        timeout: Duration,
    ) -> Result<Rows, ControlError> {
        let questioner = self.roster().spec.monitor.questioner(database);
        let control = self.someone_to_ask().ok_or(ControlError::Nobody)?;
        control.ask_apart(&questioner, sql, timeout).await
    }

    /// Asks a question of an operator's about one user, read only, as the role that it names: the
    /// primary, or another node that answers. The server ends what takes longer than the monitor would
    /// wait.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn ask_about(&self, inquiry: &Inquiry<'_>, user: &str) -> Result<Rows, ControlError> {
        let monitor = self.roster().spec.monitor.clone();
        // The monitor's own role needs to be told its password once.
        let own = monitor.password.as_deref().filter(|_| inquiry.role == monitor.user);
        let questioner = Questioner {
            user: inquiry.role.to_owned(),
            password: inquiry.password.or(own).map(str::to_owned),
            database: inquiry.database.unwrap_or(&monitor.database).to_owned(),
            manners: Manners::Operators { statement_timeout: monitor.timeout.as_millis().max(1) },
        };
        let question = Question { sql: inquiry.sql, parameters: &[user] };
        // The server has its say first, unless it has none.
        ask_any(&self.all_to_ask(), &questioner, question, 2 * monitor.timeout).await
    }

    /// Closes the connections of those who have asked on behalf of an operator.
    pub fn forget_inquiries(&self) {
        self.roster().members.iter().for_each(|member| member.control.forget_others());
    }

    /// The primary, or a node that answers.
    fn someone_to_ask(&self) -> Option<Arc<Control>> {
        self.all_to_ask().into_iter().next()
    }

    /// The primary, if there is one, and then nodes that answer.
    fn all_to_ask(&self) -> Vec<Arc<Control>> {
        let topology = self.topology();
        let answers = |view: &&crate::NodeView| view.health.serves_reads();
        let primary = topology.primary();
        let is_primary = |view: &&crate::NodeView| {
            primary.is_some_and(|primary| Arc::ptr_eq(&primary.node, &view.node))
        };
        let others = topology.nodes.iter().filter(answers).filter(|view| !is_primary(view));
        let roster = self.roster();
        let control = |view: &crate::NodeView| {
            let is_its = |node: &Arc<Node>| Arc::ptr_eq(node, &view.node);
            let member = roster.members.iter().find(|member| is_its(&member.node))?;
            Some(Arc::clone(&member.control))
        };
        primary.into_iter().chain(others).filter_map(control).take(MAX_ASKED).collect()
    }

    /// Forgets the pools that nobody uses; gives the others.
    fn pool_sets_in_use(&self, topology: &Topology, now: Instant) -> Vec<Arc<PoolSet>> {
        let mut sets = self.sets();
        sets.by_account.retain(|_, set| {
            Arc::strong_count(set) > 1 || !set.is_abandoned(topology, now, ABANDONED_AFTER)
        });
        sets.by_account.values().cloned().collect()
    }
}

/// Asks Citus for its nodes at regular times, when a role or a health has changed, and when it is told
/// to, as long as the cluster is there.
async fn keep_list(cluster: Weak<Cluster>, mut changes: watch::Receiver<u64>, doubts: Arc<Notify>) {
    let mut reported = String::new();
    loop {
        let Some(cluster) = cluster.upgrade() else { return };
        if cluster.topology().known {
            let error = cluster.relist().await.err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            if !error.is_empty() && error != reported {
                tracing::warn!(
                    cluster = cluster.name(),
                    database = cluster.spec().monitor.database,
                    error,
                    "Citus cannot be asked for its nodes: those known are kept"
                );
            }
            reported = error;
        }
        drop(cluster);
        tokio::select! {
            _ = tokio::time::timeout(LISTING_INTERVAL, changes.changed()) => {}
            () = doubts.notified() => {}
        }
        tokio::time::sleep(LISTING_REST).await;
    }
}

/// Keeps house at regular times, and when a role or a health has changed, as long as the cluster is
/// there.
async fn keep_house(cluster: Weak<Cluster>, mut changes: watch::Receiver<u64>) {
    loop {
        let has_changed =
            tokio::time::timeout(HOUSEKEEPING_INTERVAL, changes.changed()).await.is_ok();
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        let (topology, now) = (cluster.snapshot(), clock::now());
        cluster.leave_gone();
        let sets = cluster.pool_sets_in_use(&topology, now);
        drop(cluster);
        for set in sets {
            if has_changed {
                set.encourage(&topology);
            }
            set.tend(&topology, now);
            // There may be thousands: let clients be served in between.
            tokio::task::yield_now().await;
        }
    }
}

/// A cluster that nobody has any more closes what lies idle; leases are closed when they come back.
impl Drop for Cluster {
    fn drop(&mut self) {
        for set in self.sets().by_account.values() {
            set.close();
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cluster").field("name", &self.name).finish_non_exhaustive()
    }
}
