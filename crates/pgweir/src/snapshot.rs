//! What one configuration came to: an immutable snapshot that clients work by.
//!
//! A reload makes another [`Snapshot`], in which whatever stays the same is the same object as before: a
//! cluster with its connections, a database's router with what it knows. Clients take the new one over
//! between two transactions; until then they work by the old one, which is as good as ever.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pgweir_classifier::{Firewall, LabelCache};
use pgweir_pool::{
    Access, Balance, Candidate, Change, Cluster, ClusterError, PoolSpec, ReadPolicy, Reads, Want,
};
use pgweir_protocol::auth::ScramSecret;
use pgweir_protocol::auth::scram::{DEFAULT_ITERATIONS, SALT_LENGTH};
use pgweir_protocol::session::PoolMode;
use pgweir_protocol::verdict::{Target, Verdict};
use tokio_rustls::TlsAcceptor;

use crate::catalogs::{Catalogs, MAX_DATABASES};
use crate::config::{self, Config, ConsistencyLevel, Effective, UserSecret};
use crate::random;
use crate::route::{Router, Shared};
use crate::tls::{self, TlsError};

/// Why a configuration cannot be taken over, though it can be read.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A cluster's servers cannot be reached as it says.
    #[error("clusters.{name}: {error}")]
    Cluster {
        /// Its name.
        name: String,
        /// What is wrong.
        error: ClusterError,
    },
    /// The certificate towards clients.
    #[error("listen.tls: {0}")]
    Tls(#[from] TlsError),
}

impl Unusable {
    /// The key of the configuration that says so.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Cluster { name, .. } => format!("clusters.{}", config::key_text(name)),
            Self::Tls(_) => "listen.tls".to_owned(),
        }
    }
}

/// A configuration that is ready to be taken over: the files that it names have been read, and nothing
/// of it can fail any more.
pub(crate) struct Prepared {
    pub(crate) config: Config,
    pub(crate) changes: BTreeMap<String, Change>,
    tls: Option<TlsAcceptor>,
}

impl Prepared {
    /// Makes a configuration ready. Nothing changes, and nobody is asked anything.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(crate) fn new(config: Config) -> Result<Self, Unusable> {
        let tls = tls::acceptor(&config.listen.tls)?;
        let mut changes = BTreeMap::new();
        for (name, cluster) in &config.clusters {
            let change = Change::new(cluster_spec(name, cluster))
                .map_err(|error| Unusable::Cluster { name: name.clone(), error })?;
            changes.insert(name.clone(), change);
        }
        Ok(Self { config, changes, tls })
    }
}

/// By what texts are judged, in all databases. What was found by other rules is found anew.
pub(crate) struct Rules {
    /// Tells them from others; not 0.
    pub(crate) number: u32,
    pub(crate) firewall: Firewall,
    pub(crate) cache: Arc<LabelCache<Verdict>>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Rules {
    fn new(number: u32, config: &Config) -> Arc<Self> {
        let firewall = config.firewall();
        Arc::new(Self { number, firewall, cache: Router::new_cache() })
    }

    /// Whether two configurations have the same.
    fn are_same(one: &Config, other: &Config) -> bool {
        let judge_alike = |one: &config::Routing, other: &config::Routing| {
            know_alike(one, other) && one.self_heal == other.self_heal
        };
        // A database that is new is judged by rules of its own from the beginning.
        let stay_alike = |name: &String, database: &config::Database| {
            let now = other.databases.get(name);
            now.is_none_or(|now| judge_alike(&database.routing, &now.routing))
        };
        one.firewall == other.firewall
            && judge_alike(&one.routing, &other.routing)
            && one.databases.iter().all(|(name, database)| stay_alike(name, database))
    }
}

/// Whether two sections think alike of functions.
fn know_alike(one: &config::Routing, other: &config::Routing) -> bool {
    (one.unknown_functions, &one.read_functions, &one.write_functions)
        == (other.unknown_functions, &other.read_functions, &other.write_functions)
}

/// What one configuration came to.
pub struct Snapshot {
    config: Config,
    clusters: BTreeMap<String, Arc<Cluster>>,
    secrets: BTreeMap<String, OnceLock<ScramSecret>>,
    tls: Option<TlsAcceptor>,
    rules: Arc<Rules>,
    /// By database as clients name it.
    routers: Mutex<HashMap<String, Arc<Router>>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("clusters", &self.clusters.keys()).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The first one. Begins to watch the clusters; runs inside a tokio runtime.
    pub(crate) fn first(prepared: Prepared) -> Self {
        let Prepared { config, changes, tls } = prepared;
        let begin = |(name, change)| (name, Cluster::begin(change));
        let users = config.users.iter();
        Self {
            clusters: changes.into_iter().map(begin).collect(),
            secrets: users.map(|(name, _)| (name.to_owned(), OnceLock::new())).collect(),
            tls,
            rules: Rules::new(1, &config),
            routers: Mutex::default(),
            config,
        }
    }

    /// The one behind a reload. Clusters that are there already are changed in place, which takes until
    /// their monitors heed it; those that are new begin to be watched.
    pub(crate) async fn next(&self, prepared: Prepared) -> Self {
        let Prepared { config, changes, tls } = prepared;
        let mut clusters = BTreeMap::new();
        for (name, change) in changes {
            let cluster = match self.clusters.get(&name) {
                Some(cluster) if cluster.is_of_kind(&change) => {
                    cluster.change(change).await;
                    cluster.clone()
                }
                _ => Cluster::begin(change),
            };
            clusters.insert(name, cluster);
        }
        let rules = if Rules::are_same(&self.config, &config) {
            self.rules.clone()
        } else {
            Rules::new(self.rules.number.wrapping_add(1).max(1), &config)
        };
        Self {
            secrets: self.secrets_of(&config),
            clusters,
            tls,
            rules,
            routers: Mutex::default(),
            config,
        }
    }

    /// Places for the secrets of a configuration's users. Deriving one takes long enough for not being
    /// done again.
    fn secrets_of(&self, config: &Config) -> BTreeMap<String, OnceLock<ScramSecret>> {
        let place = |(name, user): (&str, &config::User)| {
            let is_same = self.config.users.get(name).is_some_and(|known| known == user);
            let known = self.secrets.get(name).filter(|_| is_same).cloned();
            (name.to_owned(), known.unwrap_or_default())
        };
        config.users.iter().map(place).collect()
    }

    /// The configuration.
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

    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    // ---- who judges SQL ----

    /// Who judges the SQL for a database. Its catalog is kept from now on.
    pub(crate) fn router(
        &self,
        database: &str,
        effective: &Effective<'_>,
        means: &Means<'_>,
    ) -> Option<Arc<Router>> {
        let cluster = self.clusters.get(effective.cluster_name)?;
        let mut routers = self.routers();
        if let Some(router) = routers.get(database) {
            return Some(router.clone());
        }
        if routers.len() >= MAX_DATABASES {
            routers.retain(|_, router| Arc::strong_count(router) > 1);
        }
        let base = crate::route::catalog(effective.routing);
        let spread = Spread::of(effective);
        let catalog = means.catalogs.keep(cluster, effective.dbname, base, spread);
        let shared = Shared { rules: self.rules.clone(), ..means.shared.clone() };
        let self_heal = effective.routing.self_heal;
        let router = Arc::new(Router::new(database.into(), catalog, shared, self_heal));
        routers.insert(database.to_owned(), router.clone());
        Some(router)
    }

    /// Takes the routers of the snapshot before, as far as they are right still; makes the others,
    /// and gives those.
    pub(crate) fn inherit(&self, before: &Self, means: &Means<'_>) -> Vec<Arc<Router>> {
        let mut new = Vec::new();
        for (database, router) in before.all_routers() {
            let Some(effective) = self.config.effective(&database) else { continue };
            let Some(cluster) = self.clusters.get(effective.cluster_name) else { continue };
            let was = before.config.effective(&database);
            let was = was.filter(|was| {
                let then = before.clusters.get(was.cluster_name);
                was.dbname == effective.dbname
                    && Spread::of(was) == Spread::of(&effective)
                    && then.is_some_and(|then| Arc::ptr_eq(then, cluster))
            });
            let router = match was {
                Some(_) if Arc::ptr_eq(&before.rules, &self.rules) => router,
                Some(was) => {
                    let catalog = if know_alike(was.routing, effective.routing) {
                        router.catalog().clone()
                    } else {
                        let base = crate::route::catalog(effective.routing);
                        let spread = Spread::of(&effective);
                        means.catalogs.keep(cluster, effective.dbname, base, spread)
                    };
                    let shared = Shared { rules: self.rules.clone(), ..means.shared.clone() };
                    let self_heal = effective.routing.self_heal;
                    let router = Arc::new(router.successor(catalog, shared, self_heal));
                    new.push(router.clone());
                    router
                }
                None => {
                    new.extend(self.router(&database, &effective, means));
                    continue;
                }
            };
            self.routers().insert(database, router);
        }
        new
    }

    /// All that judge SQL.
    pub(crate) fn all_routers(&self) -> Vec<(String, Arc<Router>)> {
        let routers = self.routers();
        routers.iter().map(|(name, router)| (name.clone(), router.clone())).collect()
    }

    fn routers(&self) -> MutexGuard<'_, HashMap<String, Arc<Router>>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- how reads are served ----

    /// How reads are served, once for every cluster.
    pub(crate) fn policies(&self) -> impl Iterator<Item = Policy> {
        let Config { routing, consistency, .. } = &self.config;
        self.clusters.iter().map(move |(name, cluster)| {
            // Of its own database, where it has one.
            let config = self.config.clusters.get(name);
            let spread = config.map(|config| Spread::over(config, &config.monitor.database));
            let spread = spread.unwrap_or(Spread::Whole);
            Policy { spread, ..self.policy_of(cluster, routing, consistency) }
        })
    }

    /// How the reads of a database are served.
    pub(crate) fn policy(&self, effective: &Effective<'_>) -> Option<Policy> {
        let cluster = self.clusters.get(effective.cluster_name)?;
        let policy = self.policy_of(cluster, effective.routing, effective.consistency);
        Some(Policy { spread: Spread::of(effective), ..policy })
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
            spread: Spread::Whole,
            patience: Patience {
                query: self.config.limits.query_timeout,
                transaction: self.config.limits.idle_transaction_timeout,
                idle: self.config.limits.client_idle_timeout,
            },
            log: Logged { all: self.config.log.queries, slow: self.config.log.slow_query },
            level: consistency.level,
            splits_transactions: routing.transactions == config::TransactionRouting::Split
                && routing.reads != config::Reads::Primary,
            keeps_replica: routing.affinity == config::Affinity::Session,
        }
    }

    // ---- pools ----

    /// Gives the pools that are there the bounds of this configuration. Those of databases that are
    /// served no longer keep nothing open that nobody uses.
    pub(crate) fn tend_pools(&self) {
        for (name, cluster) in &self.clusters {
            for set in cluster.pool_sets() {
                match self.pool_of(name, set.database()) {
                    Some(spec) => set.set_spec(&spec),
                    None => set.retire(),
                }
            }
        }
    }

    /// The bounds of the pools of a database of a cluster, if any name leads there. Where several
    /// do, they share the pools, and the first one's holds.
    fn pool_of(&self, cluster: &str, dbname: &str) -> Option<PoolSpec> {
        let leads_there = |effective: &Effective<'_>| {
            (effective.cluster_name, effective.dbname) == (cluster, dbname)
        };
        let first = self.config.first_name_of(cluster, dbname);
        let effective = self.config.effective(&first).filter(leads_there)?;
        Some(pool_spec(effective.pool))
    }

    // ---- secrets ----

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
}

/// What routers are made with, whatever the configuration.
pub(crate) struct Means<'a> {
    pub(crate) catalogs: &'a Catalogs,
    pub(crate) shared: Shared,
}

/// How the reads of one database are served.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) reads: ReadPolicy,
    pub(crate) spread: Spread,
    /// Whose writes a read is sure to see, where the client does not say.
    pub(crate) level: ConsistencyLevel,
    /// Transactions read from replicas until they write.
    pub(crate) splits_transactions: bool,
    /// Clients keep their replica for as long as it serves them.
    pub(crate) keeps_replica: bool,
    /// How long its clients may take over things.
    pub(crate) patience: Patience,
    /// Which of its statements are logged.
    pub(crate) log: Logged,
}

/// Over which servers of its cluster a database is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// All of them have all of it: standbys of one primary.
    Whole,
    /// It is the one that Citus shards: each has a part, and catalogs of its own.
    Sharded,
    /// It is beside that one: only the coordinator and its standbys have it.
    AtHome,
}

impl Spread {
    pub(crate) fn of(effective: &Effective<'_>) -> Self {
        Self::over(effective.cluster, effective.dbname)
    }

    fn over(cluster: &config::Cluster, dbname: &str) -> Self {
        match cluster.kind {
            config::ClusterKind::Streaming => Self::Whole,
            config::ClusterKind::Citus if cluster.monitor.database == dbname => Self::Sharded,
            config::ClusterKind::Citus => Self::AtHome,
        }
    }
}

/// How long clients may take; none is for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// One query on a server.
    pub(crate) query: Option<Duration>,
    /// Idle inside a transaction.
    pub(crate) transaction: Option<Duration>,
    /// Idle outside.
    pub(crate) idle: Option<Duration>,
}

impl Patience {
    /// Whether it may come to an end.
    pub(crate) fn is_bounded(self) -> bool {
        self.query.is_some() || self.transaction.is_some() || self.idle.is_some()
    }
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

impl Policy {
    /// The nodes as they stand for work that wants this.
    pub(crate) fn candidates(&self, want: &Want, now: Instant) -> Vec<Candidate> {
        pgweir_pool::explain(&self.cluster.topology(), &self.reads, want, now)
    }

    /// What is wanted of a node for work of this kind, nothing else asked.
    pub(crate) fn want(&self, access: Access) -> Want {
        let want = match access {
            Access::Primary => Want::primary(),
            Access::Replica => Want::replica(),
        };
        Want { stays_home: self.spread == Spread::AtHome, ..want }
    }
}

/// A target in the pools' words.
pub(crate) fn reach(target: Target) -> Access {
    match target {
        Target::Primary => Access::Primary,
        Target::Replica => Access::Replica,
    }
}

/// The session machine's word for a pool's mode.
pub(crate) fn pool_mode(mode: config::PoolMode) -> PoolMode {
    match mode {
        config::PoolMode::Session => PoolMode::Session,
        config::PoolMode::Transaction => PoolMode::Transaction,
        config::PoolMode::Statement => PoolMode::Statement,
    }
}

/// The largest message that a client may send, in bytes.
pub(crate) fn max_message(config: &Config) -> usize {
    let bytes = config.limits.max_message.map(|size| size.bytes());
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
}

fn cluster_spec(name: &str, cluster: &config::Cluster) -> pgweir_pool::ClusterSpec {
    use pgweir_pool::{ClusterKind, MonitorSpec, NodeSpec, RoleHint, SslMode, TlsSpec};
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
        kind: match cluster.kind {
            config::ClusterKind::Streaming => ClusterKind::Streaming,
            config::ClusterKind::Citus => ClusterKind::Citus { rewrite: rewrite(&cluster.rewrite) },
        },
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

fn rewrite(rewrite: &config::Rewrite) -> BTreeMap<pgweir_pool::Address, pgweir_pool::Address> {
    let address = |address: &config::Address| pgweir_pool::Address {
        host: address.host.clone(),
        port: address.port,
    };
    rewrite.iter().map(|(advertised, used)| (address(advertised), address(used))).collect()
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
