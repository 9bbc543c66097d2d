//! Pools and server connections, and the databases and users they are for.
//!
//! Server connections belong to a database of a cluster and a user. Names that clients use for the
//! same database share them, and are shown together under the first of these names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use pgweir_pool::{CancelHandle, Cluster, NodePoolStats, PoolSet};

use super::super::table::{Column, Row, Value, boolean, int4, int8, text};
use super::clients::{SOCKET_COLUMNS, name_of_server};
use super::{MICROS, Show, View};
use crate::account::{Kind, micros};
use crate::config::{Admin, CONSOLE_DATABASE, Config, PoolMode};
use crate::gateway::ClientHandle;

// ---- which pool is whose ----

/// A database of a cluster and a user of it.
type PoolKey = (String, String, String);

/// The pools of one database and user, with the clients that use them.
struct Pool {
    cluster: Arc<Cluster>,
    set: Arc<PoolSet>,
    /// As clients ask for it.
    database: String,
    stats: Vec<NodePoolStats>,
    clients: Vec<Arc<ClientHandle>>,
}

impl Pool {
    fn sum(&self, count: impl Fn(&NodePoolStats) -> u32) -> u64 {
        self.stats.iter().map(|stats| u64::from(count(stats))).sum()
    }
}

/// Connections that clients have, in their pool or beside it.
fn at_work(stats: &NodePoolStats) -> u32 {
    stats.in_use + stats.apart
}

/// All pools, in the order of database and user.
fn pools(view: &View<'_>) -> Vec<Pool> {
    let config = view.now.config();
    let mut clients = clients_by_pool(view);
    let mut pools = Vec::new();
    for (name, cluster) in view.now.clusters() {
        for set in cluster.pool_sets() {
            let (dbname, user) = (set.database().to_owned(), set.user().to_owned());
            pools.push(Pool {
                database: config.first_name_of(name, &dbname),
                stats: set.stats(),
                clients: clients.remove(&(name.to_owned(), dbname, user)).unwrap_or_default(),
                cluster: cluster.clone(),
                set,
            });
        }
    }
    pools.sort_by(|one, other| {
        (&one.database, one.set.user()).cmp(&(&other.database, other.set.user()))
    });
    pools
}

fn clients_by_pool(view: &View<'_>) -> BTreeMap<PoolKey, Vec<Arc<ClientHandle>>> {
    let config = view.now.config();
    let mut by_pool: BTreeMap<PoolKey, Vec<Arc<ClientHandle>>> = BTreeMap::new();
    for client in view.gateway.clients.all() {
        let identity = &client.account.identity;
        let effective =
            config.effective(&identity.database).filter(|_| identity.kind == Kind::Shared);
        if let Some(effective) = effective.filter(|_| client.account.is_admitted()) {
            let (cluster, dbname) =
                (effective.cluster_name.to_owned(), effective.dbname.to_owned());
            by_pool.entry((cluster, dbname, identity.user.clone())).or_default().push(client);
        }
    }
    by_pool
}

fn mode(config: &Config, database: &str) -> Option<&'static str> {
    config.effective(database).map(|effective| effective.pool.mode.as_str())
}

// ---- SHOW POOLS ----

pub(super) const POOLS: Show = Show {
    name: "pools",
    about: "server connections and clients by database and user",
    columns: &[
        text("database"),
        text("user"),
        int4("cl_active"),
        int4("cl_waiting"),
        int4("cl_active_cancel_req"),
        int4("cl_waiting_cancel_req"),
        int4("sv_active"),
        int4("sv_active_cancel"),
        int4("sv_being_canceled"),
        int4("sv_idle"),
        int4("sv_used"),
        int4("sv_tested"),
        int4("sv_login"),
        int4("maxwait"),
        int4("maxwait_us"),
        text("pool_mode"),
        text("cluster"),
        int4("pool_size"),
        int4("cl_pinned"),
        boolean("paused"),
        text("trouble"),
    ],
    rows: |view| pools(view).iter().map(|pool| pool_row(view, pool)).collect(),
};

fn pool_row(view: &View<'_>, pool: &Pool) -> Row {
    let accounts = || pool.clients.iter().map(|client| &client.account);
    let longest = accounts().filter_map(|account| account.waits_since()).min();
    let waited = longest.map_or(0, |since| micros(view.clock.since(since)));
    let waiting = accounts().filter(|account| account.waits_since().is_some()).count();
    let pinned = accounts().filter(|account| !account.pins().is_empty()).count();
    let trouble = pool.stats.iter().find_map(|stats| {
        let trouble = stats.trouble.as_ref()?;
        Some(format!("{}: {trouble}", stats.node.name()))
    });
    // Cancel requests do not queue, and nothing is tested or rests before it is used again.
    let never = || Value::from(0_i32);
    vec![
        pool.database.clone().into(),
        pool.set.user().to_owned().into(),
        (pool.clients.len() - waiting).into(),
        waiting.into(),
        never(),
        never(),
        pool.sum(at_work).into(),
        never(),
        never(),
        pool.sum(|stats| stats.idle).into(),
        never(),
        never(),
        pool.sum(|stats| stats.connecting).into(),
        (waited / MICROS).into(),
        (waited % MICROS).into(),
        mode(view.now.config(), &pool.database).map(Value::from).unwrap_or(Value::Null),
        pool.cluster.name().to_owned().into(),
        pool.set.spec().size.into(),
        pinned.into(),
        pool.set.is_paused().into(),
        trouble.into(),
    ]
}

// ---- SHOW SERVERS ----

const SERVERS_OWN: [Column; 5] =
    [text("cluster"), text("node"), text("role"), int4("client_id"), int8("idle_us")];

pub(super) const SERVERS: Show = Show {
    name: "servers",
    about: "server connections, at work and idle",
    columns: &super::joined::<{ SOCKET_COLUMNS.len() + SERVERS_OWN.len() }>(
        &SOCKET_COLUMNS,
        &SERVERS_OWN,
    ),
    rows: |view| servers(view).iter().map(|server| server_row(view, server)).collect(),
};

/// One server connection, and who has it.
pub(super) struct Server {
    cluster: Arc<Cluster>,
    database: String,
    user: String,
    server: CancelHandle,
    client: Option<Arc<ClientHandle>>,
    /// Since when it has been at work, or idle.
    since: Instant,
}

/// All server connections, in the order of their pools, those at work first.
pub(super) fn servers(view: &View<'_>) -> Vec<Server> {
    pools(view).iter().flat_map(servers_of).collect()
}

fn servers_of(pool: &Pool) -> Vec<Server> {
    let server = |server, since, client| Server {
        cluster: pool.cluster.clone(),
        database: pool.database.clone(),
        user: pool.set.user().to_owned(),
        server,
        client,
        since,
    };
    let at_work = pool.clients.iter().filter_map(|client| {
        let (_, since) = client.last_server()?;
        Some(server(client.server()?, since, Some(client.clone())))
    });
    let idle = pool.set.idle_servers();
    let idle = idle.into_iter().map(|idle| server(idle.server, idle.since, None));
    at_work.chain(idle).collect()
}

impl Server {
    /// PgBouncer's columns.
    pub(super) fn socket(&self, view: &View<'_>) -> Row {
        let node = self.server.node();
        let local = self.server.local_address();
        let client = self.client.as_ref().map(|client| client.pid.to_string());
        let application = self.client.as_ref();
        let application = application.map(|client| &client.account.identity.application_name);
        vec![
            "S".into(),
            self.user.clone().into(),
            self.database.clone().into(),
            if self.client.is_some() { "active" } else { "idle" }.into(),
            node.host().to_owned().into(),
            node.port().into(),
            local.map_or_else(|| "unix".to_owned(), |local| local.ip().to_string()).into(),
            local.map_or(0, |local| local.port()).into(),
            view.clock.second(self.server.opened_at()).into(),
            view.clock.second(self.since).into(),
            0_i32.into(),
            0_i32.into(),
            0_i32.into(),
            name_of_server(&self.server).into(),
            client.unwrap_or_default().into(),
            self.server.pid().into(),
            self.server.encryption().unwrap_or_default().to_owned().into(),
            application.cloned().unwrap_or_default().into(),
        ]
    }
}

fn server_row(view: &View<'_>, server: &Server) -> Row {
    let node = server.server.node();
    let topology = server.cluster.topology();
    let role = topology.view(node.id()).map(|known| known.role.as_str());
    let idle = server.client.is_none().then(|| micros(view.clock.since(server.since)));
    let mut row = server.socket(view);
    row.extend([
        server.cluster.name().to_owned().into(),
        node.name().to_owned().into(),
        role.map_or(Value::Null, Value::from),
        server.client.as_ref().map(|client| client.pid).into(),
        idle.into(),
    ]);
    row
}

// ---- SHOW DATABASES ----

pub(super) const DATABASES: Show = Show {
    name: "databases",
    about: "databases by the names that clients ask for, and where they lead",
    columns: &[
        text("name"),
        text("host"),
        int4("port"),
        text("database"),
        text("force_user"),
        int4("pool_size"),
        int4("min_pool_size"),
        int4("reserve_pool"),
        text("pool_mode"),
        int4("max_connections"),
        int4("current_connections"),
        int4("paused"),
        int4("disabled"),
        text("cluster"),
        int4("current_clients"),
    ],
    rows: |view| {
        let pools = pools(view);
        let names = database_names(view);
        names.iter().map(|name| database_row(view, &pools, name)).collect()
    },
};

/// The configured databases, or else those that somebody has asked for; and the console.
pub(super) fn database_names(view: &View<'_>) -> BTreeSet<String> {
    let configured = &view.now.config().databases;
    let mut names: BTreeSet<String> = configured.keys().cloned().collect();
    if names.is_empty() {
        names.extend(pools(view).into_iter().map(|pool| pool.database));
    }
    names.insert(CONSOLE_DATABASE.to_owned());
    names
}

fn database_row(view: &View<'_>, pools: &[Pool], name: &str) -> Row {
    let config = view.now.config();
    let clients = view.gateway.clients.all();
    let effective = config.effective(name).filter(|_| name != CONSOLE_DATABASE);
    let own = pools.iter().filter(|pool| {
        effective.is_some_and(|found| {
            (found.cluster_name, found.dbname) == (pool.cluster.name(), pool.set.database())
        })
    });
    let current = own.map(|pool| pool.sum(|stats| at_work(stats) + stats.idle)).sum::<u64>();
    let cluster = effective
        .and_then(|found| view.now.clusters().find(|(name, _)| *name == found.cluster_name));
    let primary = cluster
        .and_then(|(_, cluster)| cluster.topology().primary().map(|primary| primary.node.clone()));
    let here = |client: &&Arc<ClientHandle>| client.account.identity.database == name;
    let (gates, first) = (&view.gateway.gates, config.first_name(name));
    let limit = effective.map(|found| found.cluster.max_connections.unwrap_or_default());
    vec![
        name.to_owned().into(),
        primary.as_ref().map(|node| node.host().to_owned()).into(),
        primary.as_ref().map(|node| node.port()).into(),
        effective.map_or(CONSOLE_DATABASE, |found| found.dbname).to_owned().into(),
        Value::Null,
        effective.map_or(0, |found| found.pool.size).into(),
        effective.map_or(0, |found| found.pool.min_idle).into(),
        0_i32.into(),
        effective.map_or(PoolMode::Statement, |found| found.pool.mode).as_str().into(),
        limit.unwrap_or_default().into(),
        current.into(),
        i32::from(effective.is_some() && gates.is_paused(&first)).into(),
        i32::from(gates.is_disabled(&first)).into(),
        effective.map(|found| found.cluster_name.to_owned()).into(),
        clients.iter().filter(here).count().into(),
    ]
}

// ---- SHOW USERS, SHOW LISTS ----

pub(super) const USERS: Show = Show {
    name: "users",
    about: "users of the users file and users that are connected",
    columns: &[text("name"), text("pool_mode"), text("admin"), int4("current_clients")],
    rows: |view| {
        let (config, clients) = (view.now.config(), view.gateway.clients.all());
        let row = |name: &String| -> Row {
            let admin = config.users.get(name).map_or(Admin::No, |user| user.admin);
            let own = clients.iter().filter(|client| client.account.identity.user == *name);
            vec![name.clone().into(), Value::Null, rights(admin).into(), own.count().into()]
        };
        user_names(view).iter().map(row).collect()
    },
};

fn rights(admin: Admin) -> &'static str {
    match admin {
        Admin::No => "no",
        Admin::ReadOnly => "read-only",
        Admin::Full => "yes",
    }
}

fn user_names(view: &View<'_>) -> BTreeSet<String> {
    let configured = view.now.config().users.iter().map(|(name, _)| name.to_owned());
    let clients = view.gateway.clients.all();
    let connected = clients.iter().filter(|client| client.account.is_admitted());
    configured.chain(connected.map(|client| client.account.identity.user.clone())).collect()
}

pub(super) const LISTS: Show = Show {
    name: "lists",
    about: "how many there are of what",
    columns: &[text("list"), int4("items")],
    rows: |view| {
        let pools = pools(view);
        let clients = view.gateway.clients.all();
        let in_login = clients.iter().filter(|client| !client.account.is_admitted()).count();
        let most = usize::try_from(view.now.config().listen.max_clients).unwrap_or(usize::MAX);
        let sum = |count: fn(&NodePoolStats) -> u32| {
            pools.iter().map(|pool| pool.sum(count)).sum::<u64>()
        };
        let rows: [(&'static str, Value); 12] = [
            ("databases", database_names(view).len().into()),
            ("users", user_names(view).len().into()),
            ("pools", pools.len().into()),
            ("free_clients", most.saturating_sub(clients.len()).into()),
            ("used_clients", (clients.len() - in_login).into()),
            ("login_clients", in_login.into()),
            ("free_servers", sum(|stats| stats.idle).into()),
            ("used_servers", sum(at_work).into()),
            // Names are resolved by the system.
            ("dns_names", 0_i32.into()),
            ("dns_zones", 0_i32.into()),
            ("dns_queries", 0_i32.into()),
            ("dns_pending", 0_i32.into()),
        ];
        rows.into_iter().map(|(list, items)| vec![list.into(), items]).collect()
    },
};
