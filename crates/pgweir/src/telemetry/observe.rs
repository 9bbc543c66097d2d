//! The part of the metrics that is read off running parts when somebody asks.
//!
//! One metric is one row: its name, what it says, and how to read it off one of the things there are many
//! of (a node, a pool, a database).

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pgweir_pool::{
    Candidate, Cluster, FULL_SHARE, Health, NodePoolStats, NodeView, PoolSet, Role, Topology,
};
use pgweir_protocol::verdict::{Pins, Target};
use rustix::process::{Resource, getrlimit};

use super::exposition::{Kind, Page};
use crate::account::Totals;
use crate::console::{ACTIVITIES, activity};
use crate::gateway::{Gateway, Phase};
use crate::route::Router;
use crate::snapshot::reach;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// Renders the metrics as they are now.
pub(crate) fn observe(gateway: &Gateway) -> String {
    let mut page = Page::default();
    put_program(gateway, &mut page);
    gateway.metrics.put(&mut page);
    put_clients(gateway, &mut page);
    put_table(&NODES, &nodes(gateway), NodeRow::labels, &mut page);
    put_table(&POOLS, &pools(gateway), PoolRow::labels, &mut page);
    put_table(&DATABASES, &databases(gateway), DatabaseRow::labels, &mut page);
    put_table(&CATALOGS, &catalogs(gateway), CatalogRow::labels, &mut page);
    put_cache(gateway, &mut page);
    put_reloads(gateway, &mut page);
    put_process(&mut page);
    page.into_text()
}

/// A metric of things there are many of.
struct Reading<T> {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    /// The label that tells the values of one thing apart; "" where there is one value.
    by: &'static str,
    read: fn(&T) -> Vec<(&'static str, f64)>,
}

/// Whose labels a thing's samples have.
type OwnLabels<'a> = Vec<(&'static str, &'a str)>;

fn put_table<T>(
    readings: &[Reading<T>],
    things: &[T],
    labels: fn(&T) -> OwnLabels<'_>,
    page: &mut Page,
) {
    for reading in readings {
        let mut samples = page.metric(reading.kind, reading.name, reading.help);
        for thing in things {
            let mut labels = labels(thing);
            for (word, value) in (reading.read)(thing) {
                if !reading.by.is_empty() {
                    labels.push((reading.by, word));
                }
                samples.put(&labels, value);
                if !reading.by.is_empty() {
                    labels.pop();
                }
            }
        }
    }
}

const fn gauge<T>(
    name: &'static str,
    help: &'static str,
    by: &'static str,
    read: fn(&T) -> Vec<(&'static str, f64)>,
) -> Reading<T> {
    Reading { kind: Kind::Gauge, name, help, by, read }
}

const fn counter<T>(
    name: &'static str,
    help: &'static str,
    by: &'static str,
    read: fn(&T) -> Vec<(&'static str, f64)>,
) -> Reading<T> {
    Reading { kind: Kind::Counter, name, help, by, read }
}

fn one(value: impl Into<f64>) -> Vec<(&'static str, f64)> {
    vec![("", value.into())]
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Counts beyond 2^53 lose their last digits, as they do in Prometheus itself.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are f64")]
fn number(count: u64) -> f64 {
    count as f64
}

fn count(number: usize) -> f64 {
    self::number(number as u64)
}

// ---- the program ----

fn put_program(gateway: &Gateway, page: &mut Page) {
    let version = env!("CARGO_PKG_VERSION");
    let help = "The program's version; always 1.";
    page.metric(Kind::Gauge, "pgweir_build_info", help).put(&[("version", version)], 1);
    let help = "Whether it takes no new clients and lets go of those it has.";
    let is_serving = *gateway.phase().borrow() == Phase::Serving;
    page.gauge("pgweir_draining", help, u8::from(!is_serving));
    let help = "Since when it has run, in seconds of the Unix epoch.";
    let started = SystemTime::now().checked_sub(gateway.metrics.started.elapsed());
    let since = started.and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    let since = since.map_or(0.0, |since| since.as_secs_f64());
    page.gauge("process_start_time_seconds", help, format!("{since:.3}"));
}

/// What client libraries for Prometheus tell of every process (proc(5)).
fn put_process(page: &mut Page) {
    if let Some(seconds) = cpu_seconds() {
        let help = "User and system time spent, in seconds.";
        page.metric(Kind::Counter, "process_cpu_seconds_total", help).put(&[], seconds);
    }
    if let Some(bytes) = crate::console::resident() {
        page.gauge("process_resident_memory_bytes", "Memory in RAM.", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open file descriptors.", open.count());
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "File descriptors that may be open.", most);
    }
}

/// The fields behind the command's name, which is in parentheses and may hold anything: utime and stime
/// are the 14th and 15th of all.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = stat.rsplit_once(") ")?;
    let mut times = behind.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(number(ticks) / number(rustix::param::clock_ticks_per_second()))
}

// ---- clients ----

fn put_clients(gateway: &Gateway, page: &mut Page) {
    page.gauge("pgweir_clients", "Clients connected.", gateway.client_count());
    let most = gateway.now().config().listen.max_clients;
    page.gauge("pgweir_max_clients", "Clients that may be connected: listen.max_clients.", most);
    let mut activities: BTreeMap<&str, u32> = ACTIVITIES.map(|word| (word, 0)).into();
    let mut pins: BTreeMap<&str, u32> = Pins::all_names().map(|word| (word, 0)).collect();
    for client in gateway.clients.all() {
        *activities.entry(activity(&client, client.server().as_ref())).or_default() += 1;
        for pinned in client.account.pins() {
            *pins.entry(pinned.reason).or_default() += 1;
        }
    }
    let help = "Clients by what they do, as in SHOW CLIENTS.";
    let mut samples = page.metric(Kind::Gauge, "pgweir_clients_by_activity", help);
    for (word, count) in activities {
        samples.put(&[("activity", word)], count);
    }
    let help = "Clients bound to their server connections, by reason; one may have several.";
    let mut samples = page.metric(Kind::Gauge, "pgweir_pins", help);
    for (word, count) in pins {
        samples.put(&[("reason", word)], count);
    }
}

// ---- nodes ----

struct NodeRow {
    cluster: String,
    view: NodeView,
    topology: Arc<Topology>,
    /// Whether it serves reads, and writes.
    serves: [bool; 2],
    now: Instant,
}

impl NodeRow {
    fn labels(&self) -> OwnLabels<'_> {
        vec![("node", self.view.node.name()), ("cluster", self.cluster.as_str())]
    }
}

fn nodes(gateway: &Gateway) -> Vec<NodeRow> {
    let now = Instant::now();
    let mut rows = Vec::new();
    for policy in gateway.now().policies() {
        let topology = policy.cluster.topology();
        let [reads, writes] = [Target::Replica, Target::Primary]
            .map(|on| policy.candidates(&policy.want(reach(on)), now));
        for view in &topology.nodes {
            // Nodes may come and go between one look and the other.
            let is_eligible = |candidates: &[Candidate]| {
                let mut own = candidates.iter().filter(|one| Arc::ptr_eq(&one.node, &view.node));
                own.any(|candidate| candidate.eligible.is_ok())
            };
            rows.push(NodeRow {
                cluster: policy.cluster.name().to_owned(),
                view: view.clone(),
                topology: topology.clone(),
                serves: [is_eligible(&reads), is_eligible(&writes)],
                now,
            });
        }
    }
    rows
}

static NODES: [Reading<NodeRow>; 13] = [
    counter(
        "pgweir_queries_total",
        "Statements sent to servers, by node and class.",
        "class",
        |row| {
            let [reads, writes] = row.view.node.counts().map(number);
            vec![("read", reads), ("write", writes)]
        },
    ),
    gauge("pgweir_node_role", "Whether the node has this role.", "role", |row| {
        let roles = [Role::Primary, Role::Replica, Role::Worker, Role::Fenced];
        roles.map(|role| (role.as_str(), truth(row.view.role == role))).into()
    }),
    gauge(
        "pgweir_node_group",
        "The node's group in its Citus cluster; 0 is the coordinator's.",
        "",
        |row| row.view.shard.as_ref().map_or_else(Vec::new, |shard| one(shard.group)),
    ),
    gauge("pgweir_node_up", "Whether the node answers its probes.", "", |row| {
        one(truth(!matches!(row.view.health, Health::Unknown | Health::Down)))
    }),
    gauge("pgweir_node_health", "Whether the node is in this state of health.", "health", |row| {
        Health::ALL.map(|health| (health.as_str(), truth(row.view.health == health))).into()
    }),
    gauge(
        "pgweir_node_share",
        "The node's part of its share of the load: less than 1 while it recovers.",
        "",
        |row| one(f64::from(row.view.share) / f64::from(FULL_SHARE)),
    ),
    gauge("pgweir_node_serves", "Whether the node is given work of this class.", "class", |row| {
        let [reads, writes] = row.serves.map(truth);
        vec![("read", reads), ("write", writes)]
    }),
    gauge(
        "pgweir_node_staleness_seconds",
        "Seconds since the moment whose commits are all visible on the replica.",
        "",
        |row| {
            let is_replica = row.view.role == Role::Replica;
            let staleness = row.view.staleness(&row.topology, row.now).filter(|_| is_replica);
            staleness.map_or_else(Vec::new, |staleness| one(staleness.as_secs_f64()))
        },
    ),
    gauge("pgweir_node_probe_seconds", "How long the last answer to a probe took.", "", |row| {
        row.view.latency.map_or_else(Vec::new, |latency| one(latency.as_secs_f64()))
    }),
    gauge("pgweir_node_in_flight", "Server connections at work for clients.", "", |row| {
        one(row.view.node.in_flight())
    }),
    gauge(
        "pgweir_node_connections",
        "Server connections, those of all pools together.",
        "",
        |row| one(row.view.node.open_connections()),
    ),
    gauge(
        "pgweir_node_max_connections",
        "Server connections that the node lets pgweir have: max_connections, or its own limit less its reserve.",
        "",
        |row| one(row.view.node.connection_limit()),
    ),
    gauge(
        "pgweir_node_connections_apart",
        "Server connections that belong to one client each, for replication or LISTEN.",
        "",
        |row| one(row.view.node.connections_apart()),
    ),
];

// ---- pools ----

struct PoolRow {
    cluster: String,
    set: Arc<PoolSet>,
    stats: NodePoolStats,
}

impl PoolRow {
    fn labels(&self) -> OwnLabels<'_> {
        vec![
            ("cluster", self.cluster.as_str()),
            ("database", self.set.database()),
            ("user", self.set.user()),
            ("node", self.stats.node.name()),
        ]
    }
}

fn pools(gateway: &Gateway) -> Vec<PoolRow> {
    let of = |(cluster, pools): (&str, &Arc<Cluster>)| {
        let sets = pools.pool_sets().into_iter();
        let row = move |set: Arc<PoolSet>| {
            let stats = set.stats().into_iter();
            stats
                .map(move |stats| PoolRow { cluster: cluster.to_owned(), set: set.clone(), stats })
                .collect::<Vec<_>>()
        };
        sets.flat_map(row).collect::<Vec<_>>()
    };
    gateway.now().clusters().flat_map(of).collect()
}

static POOLS: [Reading<PoolRow>; 9] = [
    gauge("pgweir_pool_size", "Server connections that the pool may have: pool.size.", "", |row| {
        one(row.stats.size)
    }),
    gauge("pgweir_pool_connections", "Server connections by state.", "state", |row| {
        let stats = &row.stats;
        let states = [
            ("in_use", stats.in_use),
            ("idle", stats.idle),
            ("connecting", stats.connecting),
            ("apart", stats.apart),
        ];
        states.map(|(state, count)| (state, f64::from(count))).into()
    }),
    gauge("pgweir_pool_waiting", "Clients waiting for a server connection.", "", |row| {
        one(row.stats.waiting)
    }),
    gauge("pgweir_pool_paused", "Whether an administrator has paused the pool.", "", |row| {
        one(truth(row.set.is_paused()))
    }),
    counter("pgweir_pool_checkouts_total", "Server connections leased to clients.", "", |row| {
        one(number(row.stats.checkouts))
    }),
    counter("pgweir_pool_waits_total", "Leases that a client had to wait for.", "", |row| {
        one(number(row.stats.waits))
    }),
    counter(
        "pgweir_pool_wait_seconds_total",
        "How long clients waited for their leases, all together.",
        "",
        |row| one(row.stats.waited.as_secs_f64()),
    ),
    counter("pgweir_pool_connects_total", "Server connections opened.", "", |row| {
        one(number(row.stats.connects))
    }),
    counter(
        "pgweir_pool_connect_failures_total",
        "Attempts to open a server connection that failed.",
        "",
        |row| one(number(row.stats.connect_failures)),
    ),
];

// ---- databases ----

struct DatabaseRow {
    name: String,
    totals: Totals,
}

impl DatabaseRow {
    fn labels(&self) -> OwnLabels<'_> {
        vec![("database", &self.name)]
    }
}

fn databases(gateway: &Gateway) -> Vec<DatabaseRow> {
    let totals = gateway.clients.totals().into_iter();
    totals.map(|(name, totals)| DatabaseRow { name, totals }).collect()
}

static DATABASES: [Reading<DatabaseRow>; 6] = [
    counter(
        "pgweir_database_transactions_total",
        "Transactions of clients, by the database that they asked for.",
        "",
        |row| one(number(row.totals.transactions)),
    ),
    counter("pgweir_database_queries_total", "Statements of clients.", "", |row| {
        one(number(row.totals.queries))
    }),
    counter(
        "pgweir_database_bytes_total",
        "Bytes from clients (received) and for them (sent).",
        "direction",
        |row| vec![("received", number(row.totals.received)), ("sent", number(row.totals.sent))],
    ),
    counter(
        "pgweir_database_transaction_seconds_total",
        "From each transaction's first query to its end.",
        "",
        |row| one(number(row.totals.transaction_time) / MICROS),
    ),
    counter(
        "pgweir_database_query_seconds_total",
        "From each query's going out to its answer's end.",
        "",
        |row| one(number(row.totals.query_time) / MICROS),
    ),
    counter(
        "pgweir_database_wait_seconds_total",
        "How long clients waited for server connections.",
        "",
        |row| one(number(row.totals.wait_time) / MICROS),
    ),
];

// ---- what is known of SQL and of databases ----

struct CatalogRow {
    database: String,
    router: Arc<Router>,
}

impl CatalogRow {
    fn labels(&self) -> OwnLabels<'_> {
        vec![("database", &self.database)]
    }
}

fn catalogs(gateway: &Gateway) -> Vec<CatalogRow> {
    let routers = gateway.routers().into_iter();
    routers.map(|(database, router)| CatalogRow { database, router }).collect()
}

static CATALOGS: [Reading<CatalogRow>; 3] = [
    gauge(
        "pgweir_catalog_known",
        "Whether what is in the database is known; until it is, doubt goes to the primary.",
        "",
        |row| one(truth(row.router.catalog().known().catalog.is_read())),
    ),
    gauge("pgweir_catalog_objects", "Objects of the database that are known.", "", |row| {
        one(count(row.router.catalog().known().catalog.len()))
    }),
    counter(
        "pgweir_catalog_failures_total",
        "Attempts to read the database's catalog that failed.",
        "",
        |row| one(number(row.router.catalog().failures())),
    ),
];

fn put_reloads(gateway: &Gateway, page: &mut Page) {
    let ledger = gateway.reloads.ledger().clone();
    let help = "Configurations taken over, or refused as a whole.";
    let mut samples = page.metric(Kind::Counter, "pgweir_config_reloads_total", help);
    for (result, value) in [("accepted", ledger.accepted), ("refused", ledger.refused)] {
        samples.put(&[("result", result)], value);
    }
    let help = "When the configuration in force was taken over, in seconds since 1970.";
    let since = ledger.last_success.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = "pgweir_config_last_success_timestamp_seconds";
    page.gauge(name, help, format!("{:.3}", since.as_secs_f64()));
    let help = "Whether the file on disk is refused, and an earlier configuration is in force.";
    page.gauge("pgweir_config_file_refused", help, u8::from(!ledger.problems.is_empty()));
}

fn put_cache(gateway: &Gateway, page: &mut Page) {
    let counters = gateway.cache_counters();
    let help = "Look-ups of verdicts on SQL texts.";
    let name = "pgweir_classifier_cache_lookups_total";
    let mut samples = page.metric(Kind::Counter, name, help);
    let rows = [
        ("exact_hit", counters.exact_hits),
        ("normalised_hit", counters.normalised_hits),
        ("miss", counters.misses),
    ];
    for (result, value) in rows {
        samples.put(&[("result", result)], value);
    }
}
