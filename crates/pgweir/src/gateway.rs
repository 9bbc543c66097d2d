//! What all clients of one pgweir share: configuration, clusters, caches, counters.
//!
//! A [`Gateway`] is built from a configuration and handed to whoever needs a part of it. Nothing
//! here is global: two gateways live in one process without knowing of each other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use pgweir_classifier::{CacheCounters, Firewall, LabelCache};
use pgweir_pool::{
    Access, Balance, CancelHandle, Candidate, Cluster, ClusterError, Node, PoolSpec, ReadPolicy,
    Reads, Standing, Want,
};
use pgweir_protocol::auth::ScramSecret;
use pgweir_protocol::auth::scram::{DEFAULT_ITERATIONS, SALT_LENGTH};
use pgweir_protocol::parameters::Parameters;
use pgweir_protocol::prepared::StatementRegistry;
use pgweir_protocol::settings::SettingsMap;
use pgweir_protocol::verdict::{Target, Verdict};
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::account::{Account, Identity, Kind, Totals};
use crate::catalogs::{Catalogs, MAX_DATABASES};
use crate::config::{self, Config, ConsistencyLevel, Effective, UserSecret};
use crate::console::gates::Gates;
use crate::console::history::{self, History};
use crate::random;
use crate::route::{Router, Shared};
use crate::routes::{self, Routes};
use crate::serve::MAX_QUESTIONS;
use crate::telemetry::metrics::Metrics;

/// Sets of startup parameters whose answers are remembered.
const WELCOMES: usize = 1024;

/// Databases by whose names the work of clients that are gone is kept, at most.
const MAX_COUNTED_DATABASES: usize = 10_000;

/// Shards of the table of clients: logins rarely meet.
const CLIENT_SHARDS: usize = 16;

/// How far pgweir is in its own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It takes no new clients and closes each at its transaction's end.
    Draining,
    /// It ends now.
    Stopping,
}

/// What an administrator wants of the whole program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It ends at once.
    Now,
    /// It takes no new clients, and ends when the last has left by itself.
    WhenClientsHaveLeft,
}

/// What all clients share.
pub struct Gateway {
    config: Arc<Config>,
    clusters: BTreeMap<String, Arc<Cluster>>,
    secrets: BTreeMap<String, OnceLock<ScramSecret>>,
    /// Protects the salts of users that do not exist.
    pub(crate) process_secret: [u8; 32],
    pub(crate) registry: Arc<StatementRegistry>,
    /// By database as clients name it.
    routers: Mutex<HashMap<String, Arc<Router>>>,
    catalogs: Catalogs,
    labels: Arc<LabelCache<Verdict>>,
    tls: Option<TlsAcceptor>,
    pub(crate) clients: Clients,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) welcomes: Cache<WelcomeKey, Arc<Welcome>>,
    pub(crate) demands: Cache<DemandKey, Demand>,
    /// Turns to ask a server what it demands of a user.
    pub(crate) questions: Semaphore,
    pub(crate) routes: Arc<Routes>,
    firewall: Arc<Firewall>,
    pub(crate) history: History,
    pub(crate) gates: Gates,
    shutdown: watch::Sender<Option<Shutdown>>,
    phase: watch::Sender<Phase>,
}

/// What a welcome depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WelcomeKey {
    pub(crate) cluster: String,
    pub(crate) database: String,
    pub(crate) user: String,
    /// The startup parameters' mark.
    pub(crate) startup: u64,
}

/// The parameter values that a server reports to a client that starts in a certain way.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// The startup parameters as settings.
    pub(crate) asked: SettingsMap,
    /// What a session starts with: clients that start alike share it, so that whether a server has
    /// it in force is seen at a glance.
    pub(crate) settings: SettingsMap,
    pub(crate) reported: Parameters,
    pub(crate) since: Instant,
}

/// Whom a server asks what may depend on all of these (pg_hba.conf).
pub(crate) type DemandKey = (String, String, String);

/// What a server demands of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) asks: Asks,
    pub(crate) since: Instant,
}

/// Whether a server lets a user in unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Nothing,
    Secret,
}

/// How the reads of one database are served.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) reads: ReadPolicy,
    pub(crate) sees_own_writes: bool,
    /// Transactions read from replicas until they write.
    pub(crate) splits_transactions: bool,
    /// Clients keep their replica for as long as it serves them.
    pub(crate) keeps_replica: bool,
    /// Which of its statements are logged.
    pub(crate) log: Logged,
    /// By how much a client's reads may differ in age: the probes' own grain.
    pub(crate) slack: Duration,
}

/// Which statements are logged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged {
    pub(crate) all: bool,
    /// Those that take at least this long.
    pub(crate) slow: Option<Duration>,
}

impl Logged {
    /// Whether any may be.
    pub(crate) fn any(self) -> bool {
        self.all || self.slow.is_some()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("clusters", &self.clusters.keys()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Starts the clusters of a configuration; runs inside a tokio runtime.
    ///
    /// # Errors
    /// A cluster that cannot be started: an unreadable CA file.
    pub fn start(config: Config, tls: Option<TlsAcceptor>) -> Result<Arc<Self>, ClusterError> {
        let mut clusters = BTreeMap::new();
        for (name, cluster) in &config.clusters {
            clusters.insert(name.clone(), Cluster::start(cluster_spec(name, cluster))?);
        }
        let metrics = Arc::new(Metrics::default());
        let names = config.users.iter().map(|(name, _)| (name.to_owned(), OnceLock::new()));
        let gateway = Arc::new(Self {
            secrets: names.collect(),
            process_secret: random::bytes(),
            registry: Arc::default(),
            routers: Mutex::default(),
            catalogs: Catalogs::default(),
            labels: Router::new_cache(),
            tls,
            clients: Clients::default(),
            metrics,
            welcomes: Cache::new(WELCOMES),
            demands: Cache::new(WELCOMES),
            questions: Semaphore::new(MAX_QUESTIONS),
            routes: Arc::new(Routes::new(Instant::now())),
            firewall: Arc::new(config.firewall()),
            history: History::new(Instant::now()),
            gates: Gates::default(),
            shutdown: watch::Sender::new(None),
            phase: watch::Sender::new(Phase::Serving),
            config: Arc::new(config),
            clusters,
        });
        for cluster in gateway.clusters.values() {
            tokio::spawn(watch_standings(Arc::downgrade(&gateway), cluster.changes()));
        }
        tokio::spawn(history::keep(Arc::downgrade(&gateway)));
        tokio::spawn(routes::keep_time(Arc::downgrade(&gateway.routes)));
        Ok(gateway)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The clusters by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&str, &Arc<Cluster>)> {
        self.clusters.iter().map(|(name, cluster)| (name.as_str(), cluster))
    }

    /// What accepts TLS from clients.
    pub(crate) fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// Who judges the SQL for a database. Its catalog is kept from now on.
    pub(crate) fn router(
        &self,
        database: &str,
        effective: &Effective<'_>,
        cluster: &Arc<Cluster>,
    ) -> Arc<Router> {
        let mut routers = lock(&self.routers);
        if let Some(router) = routers.get(database) {
            return router.clone();
        }
        if routers.len() >= MAX_DATABASES {
            routers.retain(|_, router| Arc::strong_count(router) > 1);
        }
        let base = crate::route::catalog(effective.routing);
        let catalog = self.catalogs.keep(cluster, effective.dbname, base);
        let shared = Shared {
            cache: self.labels.clone(),
            metrics: self.metrics.clone(),
            routes: self.routes.clone(),
            firewall: self.firewall.clone(),
        };
        let router =
            Arc::new(Router::new(database.into(), catalog, shared, effective.routing.self_heal));
        routers.insert(database.to_owned(), router.clone());
        router
    }

    /// All that judge SQL.
    pub(crate) fn routers(&self) -> Vec<(String, Arc<Router>)> {
        let routers = lock(&self.routers);
        routers.iter().map(|(name, router)| (name.clone(), router.clone())).collect()
    }

    /// Hits and misses of the cache of verdicts so far.
    pub(crate) fn cache_counters(&self) -> CacheCounters {
        self.labels.counters()
    }

    /// How reads are served, once for every cluster.
    pub(crate) fn policies(&self) -> impl Iterator<Item = Policy> {
        self.clusters
            .values()
            .map(|cluster| self.policy_of(cluster, &self.config.routing, &self.config.consistency))
    }

    /// How the reads of a database are served.
    pub(crate) fn policy(&self, effective: &Effective<'_>) -> Option<Policy> {
        let cluster = self.clusters.get(effective.cluster_name)?;
        Some(self.policy_of(cluster, effective.routing, effective.consistency))
    }

    /// Two probe intervals: one for the replica whose probe comes late, one for its successor's.
    fn slack(&self, cluster: &str) -> Duration {
        let monitor = self.config.clusters.get(cluster).map(|cluster| &cluster.monitor);
        monitor.map_or(Duration::ZERO, |monitor| monitor.interval * 2)
    }

    fn policy_of(
        &self,
        cluster: &Arc<Cluster>,
        routing: &config::Routing,
        consistency: &config::Consistency,
    ) -> Policy {
        Policy {
            cluster: cluster.clone(),
            reads: ReadPolicy {
                reads: reads(routing.reads),
                balance: balance(routing.balance),
                max_staleness: consistency.max_staleness,
                hold: self.config.failover.hold,
            },
            log: Logged { all: self.config.log.queries, slow: self.config.log.slow_query },
            sees_own_writes: consistency.level != ConsistencyLevel::Eventual,
            splits_transactions: routing.transactions == config::TransactionRouting::Split
                && routing.reads != config::Reads::Primary,
            keeps_replica: routing.affinity == config::Affinity::Session,
            slack: self.slack(cluster.name()),
        }
    }

    /// The SCRAM secret of a user in the users file, derived once from a password.
    pub(crate) fn scram_secret(&self, user: &str) -> Option<ScramSecret> {
        let entry = self.config.users.get(user)?;
        let place = self.secrets.get(user)?;
        match &entry.secret {
            UserSecret::None | UserSecret::Md5(_) => None,
            UserSecret::Scram(secret) => ScramSecret::parse(secret.expose()).ok(),
            UserSecret::Password(password) => Some(
                place
                    .get_or_init(|| {
                        let salt: [u8; SALT_LENGTH] = random::bytes();
                        ScramSecret::from_password(password.expose(), &salt, DEFAULT_ITERATIONS)
                    })
                    .clone(),
            ),
        }
    }

    /// How far pgweir is in its own life, and word of every change.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Takes no more clients; those there are close at their transactions' ends.
    pub fn drain(&self) {
        self.close_doors();
        self.clients.signal_all(Signal::Drain);
    }

    /// Asks whoever runs the program to end it.
    pub(crate) fn shut_down(&self, shutdown: Shutdown) {
        self.shutdown.send_replace(Some(shutdown));
    }

    /// Word of an administrator's wish to end the program.
    #[must_use]
    pub fn shutdown_wish(&self) -> watch::Receiver<Option<Shutdown>> {
        self.shutdown.subscribe()
    }

    /// Takes no more clients; those there are stay for as long as they like.
    pub fn close_doors(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Serving;
            if first {
                *phase = Phase::Draining;
            }
            first
        });
    }

    /// Whether every client has left but for those of the console.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        let clients = self.clients.all();
        clients.iter().all(|client| client.account.identity.kind == Kind::Console)
    }

    /// Ends every client now.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
        self.clients.signal_all(Signal::Kill);
    }

    /// Ends the clusters' connections.
    pub async fn shutdown(&self) {
        for cluster in self.clusters.values() {
            cluster.shutdown().await;
        }
    }

    /// Clients connected now.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.count.load(Ordering::Relaxed)
    }
}

impl Policy {
    /// The nodes as they stand for work with this target, nothing else asked.
    pub(crate) fn candidates(&self, target: Target) -> Vec<Candidate> {
        let access = match target {
            Target::Primary => Access::Primary,
            Target::Replica => Access::Replica,
        };
        pgweir_pool::explain(&self.cluster.topology(), &self.reads, &want(access), Instant::now())
    }
}

/// What is wanted of a node for work of this kind, nothing else asked.
pub(crate) fn want(access: Access) -> Want {
    match access {
        Access::Primary => Want::primary(),
        Access::Replica => Want::replica(),
    }
}

/// Wakes the clients of servers that are no place to stay: those that must not be written to any more,
/// where a client may be idle and wait for notifications that nobody will send, and those that do not
/// answer.
async fn watch_standings(gateway: Weak<Gateway>, mut changes: watch::Receiver<u64>) {
    while changes.changed().await.is_ok() {
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.clients.wake_displaced();
    }
}

fn cluster_spec(name: &str, cluster: &config::Cluster) -> pgweir_pool::ClusterSpec {
    use pgweir_pool::{MonitorSpec, NodeSpec, RoleHint, SslMode, TlsSpec};
    let node = |node: &config::Node| NodeSpec {
        host: node.host.clone(),
        port: node.port,
        weight: node.weight,
        role: match node.role {
            config::NodeRole::Auto => RoleHint::Auto,
            config::NodeRole::Primary => RoleHint::Primary,
            config::NodeRole::Replica => RoleHint::Replica,
        },
    };
    let mode = match cluster.tls.mode {
        config::ServerTlsMode::Disable => SslMode::Disable,
        config::ServerTlsMode::Allow => SslMode::Allow,
        config::ServerTlsMode::Prefer => SslMode::Prefer,
        config::ServerTlsMode::Require => SslMode::Require,
        config::ServerTlsMode::VerifyCa => SslMode::VerifyCa,
        config::ServerTlsMode::VerifyFull => SslMode::VerifyFull,
    };
    pgweir_pool::ClusterSpec {
        name: name.to_owned(),
        nodes: cluster.nodes.iter().map(node).collect(),
        tls: TlsSpec { mode, ca_file: cluster.tls.ca_file.clone() },
        monitor: MonitorSpec {
            user: cluster.monitor.user.clone(),
            database: cluster.monitor.database.clone(),
            password: cluster.monitor.password.as_ref().map(|secret| secret.expose().to_owned()),
            interval: cluster.monitor.interval,
            timeout: cluster.monitor.timeout,
        },
        max_connections: cluster.max_connections.unwrap_or_default(),
    }
}

/// The pool crate's view of the pool section.
pub(crate) fn pool_spec(pool: &config::Pool) -> PoolSpec {
    PoolSpec {
        size: pool.size,
        min_idle: pool.min_idle,
        checkout_timeout: pool.checkout_timeout,
        connect_timeout: pool.connect_timeout,
        idle_timeout: pool.idle_timeout.unwrap_or_default(),
        max_lifetime: pool.max_lifetime.unwrap_or_default(),
        prepared_statements: usize::try_from(pool.prepared_statements).unwrap_or(usize::MAX),
    }
}

fn reads(reads: config::Reads) -> Reads {
    match reads {
        config::Reads::Replicas => Reads::Replicas,
        config::Reads::ReplicasOnly => Reads::ReplicasOnly,
        config::Reads::Any => Reads::Any,
        config::Reads::Primary => Reads::Primary,
    }
}

fn balance(balance: config::Balance) -> Balance {
    match balance {
        config::Balance::LeastBusy => Balance::LeastBusy,
        config::Balance::RoundRobin => Balance::RoundRobin,
        config::Balance::Random => Balance::Random,
        config::Balance::Latency => Balance::Latency,
    }
}

// ---- clients ----

/// Something a client's task has to heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Signal {
    None = 0,
    /// A cancel request came while no server worked for the client.
    Cancel = 1,
    /// End at the transaction's end.
    Drain = 2,
    /// End now.
    Kill = 3,
}

/// What others may want of a client: cancel its statement, end it.
#[derive(Debug)]
pub(crate) struct ClientHandle {
    pub(crate) pid: i32,
    pub(crate) account: Account,
    key: Vec<u8>,
    signal: AtomicU8,
    waker: AtomicWaker,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// The server that works for the client, or did last.
    server: Option<CancelHandle>,
    is_attached: bool,
    attached_at: Option<Instant>,
    /// A cancel request was sent to that server: nobody else may have the connection after this
    /// client, for the request might reach it late.
    is_cancelled: bool,
}

impl ClientHandle {
    /// What the client has to heed; its task is woken for the next signal.
    pub(crate) fn signal(&self, cx: &Context<'_>) -> Signal {
        self.waker.register(cx.waker());
        match self.signal.load(Ordering::Acquire) {
            0 => Signal::None,
            1 => {
                let _ = self.signal.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire);
                Signal::Cancel
            }
            2 => Signal::Drain,
            _ => Signal::Kill,
        }
    }

    /// Raises a signal; a stronger one stays.
    pub(crate) fn raise(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// A server works for the client from now on.
    pub(crate) fn attached(&self, server: &CancelHandle, now: Instant) {
        let mut running = lock(&self.running);
        // A client often gets the connection again that it had last.
        if !running.server.as_ref().is_some_and(|last| last.is(server)) {
            running.server = Some(server.clone());
        }
        running.is_attached = true;
        running.attached_at = Some(now);
        running.is_cancelled = false;
    }

    /// No server works for the client any more; true if a cancel request was sent to the last one.
    pub(crate) fn detached(&self) -> bool {
        let mut running = lock(&self.running);
        running.is_attached = false;
        std::mem::take(&mut running.is_cancelled)
    }

    /// Whether its server may be one to leave.
    fn is_displaced(&self) -> bool {
        self.server().is_some_and(|server| {
            server.node().is_fenced() || server.node().standing() != Standing::Good
        })
    }

    /// The server connection that works for the client.
    pub(crate) fn server(&self) -> Option<CancelHandle> {
        let running = lock(&self.running);
        running.server.clone().filter(|_| running.is_attached)
    }

    /// The node that worked for the client last, and since when it does or did.
    pub(crate) fn last_server(&self) -> Option<(Arc<Node>, Instant)> {
        let running = lock(&self.running);
        Some((running.server.as_ref()?.node().clone(), running.attached_at?))
    }

    /// Whom to send a cancel request to; without a server at work, the client itself is told.
    fn cancel(&self) -> Option<CancelHandle> {
        let mut running = lock(&self.running);
        let server = running.server.clone().filter(|_| running.is_attached);
        running.is_cancelled = server.is_some();
        drop(running);
        if server.is_none() {
            self.raise(Signal::Cancel);
        }
        server
    }
}

/// The clients connected now, by the process id they were given.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    shards: [Mutex<HashMap<i32, Arc<ClientHandle>>>; CLIENT_SHARDS],
    count: AtomicUsize,
    next: AtomicU32,
    /// What clients did that are gone, by database.
    departed: Mutex<BTreeMap<String, Totals>>,
}

/// A client's place in the table, given up on drop.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) handle: Arc<ClientHandle>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) id: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let clients = &self.gateway.clients;
        if let Some(shard) = clients.shard(self.handle.pid) {
            lock(shard).remove(&self.handle.pid);
        }
        clients.depart(&self.handle.account);
        clients.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clients {
    /// Takes a place for a new client; none when all are taken.
    pub(crate) fn enter(
        gateway: &Arc<Gateway>,
        most: u32,
        key: Vec<u8>,
        identity: Identity,
    ) -> Option<Place> {
        let clients = &gateway.clients;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if clients.count.fetch_add(1, Ordering::Relaxed) >= most {
            clients.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (id, handle) = clients.register(key, identity);
        Some(Place { handle, gateway: gateway.clone(), id })
    }

    /// Enters a new client under a process id that no other has. Numbers come round again after four
    /// thousand million clients; those of clients that are still here are passed over.
    fn register(&self, key: Vec<u8>, identity: Identity) -> (u32, Arc<ClientHandle>) {
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let pid = process_id(id);
            if let Some(shard) = self.shard(pid)
                && let Entry::Vacant(free) = lock(shard).entry(pid)
            {
                let handle = Arc::new(ClientHandle {
                    pid,
                    account: Account::new(identity),
                    key,
                    signal: AtomicU8::new(0),
                    waker: AtomicWaker::new(),
                    running: Mutex::default(),
                });
                free.insert(handle.clone());
                return (id, handle);
            }
        }
    }

    /// The client with this process id.
    pub(crate) fn get(&self, pid: i32) -> Option<Arc<ClientHandle>> {
        lock(self.shard(pid)?).get(&pid).cloned()
    }

    /// The server that works for the client with this key, if the key is right and there is one.
    pub(crate) fn cancel(&self, pid: i32, key: &[u8]) -> Option<CancelHandle> {
        let client = lock(self.shard(pid)?).get(&pid).cloned()?;
        let is_right = client.key.len() == key.len()
            && client.key.iter().zip(key).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
        if is_right { client.cancel() } else { None }
    }

    fn signal_all(&self, signal: Signal) {
        for client in self.all() {
            client.raise(signal);
        }
    }

    /// Those there are now, in the order of their process ids.
    pub(crate) fn all(&self) -> Vec<Arc<ClientHandle>> {
        let mut all: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_unstable_by_key(|client| client.pid);
        all
    }

    /// Keeps what a client did that is gone.
    fn depart(&self, account: &Account) {
        let totals = account.work.totals();
        if totals == Totals::default() {
            return;
        }
        let mut departed = lock(&self.departed);
        let database = &account.identity.database;
        if let Some(sum) = departed.get_mut(database) {
            *sum += totals;
        } else if departed.len() < MAX_COUNTED_DATABASES {
            departed.insert(database.clone(), totals);
        }
    }

    /// What clients did so far, by database.
    pub(crate) fn totals(&self) -> BTreeMap<String, Totals> {
        // Those that leave meanwhile are counted twice for a moment rather than not at all.
        let here = self.all();
        let mut totals = lock(&self.departed).clone();
        for client in here {
            let account = &client.account;
            if account.is_admitted() {
                *totals.entry(account.identity.database.clone()).or_default() +=
                    account.work.totals();
            }
        }
        totals
    }

    fn wake_displaced(&self) {
        for shard in &self.shards {
            for client in lock(shard).values().filter(|client| client.is_displaced()) {
                client.waker.wake();
            }
        }
    }

    fn shard(&self, pid: i32) -> Option<&Mutex<HashMap<i32, Arc<ClientHandle>>>> {
        self.shards.get(usize::try_from(pid).ok()? % CLIENT_SHARDS)
    }
}

/// The process id of the client with this number: positive, as PostgreSQL's are, and none that a server
/// process could have (Linux gives them up to 2^22), so that a client that says `pg_terminate_backend`
/// of its own terminates nobody else's.
fn process_id(number: u32) -> i32 {
    const FIRST: u32 = 1 << 30;
    i32::try_from(FIRST | (number % FIRST)).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
