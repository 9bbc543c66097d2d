//! Files that are accepted, and what they mean.

use std::time::Duration;

use super::{CLUSTER, valid};
use crate::config::{
    Address, AuthMethod, Balance, ClusterKind, Config, ConsistencyLevel, ListenTlsMode, Node,
    NodeRole, PoolMode, Reads, ServerTlsMode, Size,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The full shape of the product's description, all at once.
const FULL_SHAPE: &str = r#"
[listen]
address = "127.0.0.1:6432"            # string or list
unix_socket_dir = ""                  # e.g. "/run/pgweir"
max_clients = 10000
drain_timeout = "30s"
tls = { mode = "disable" }            # disable | allow | require ; cert_file, key_file, client_ca_file

[runtime]
workers = 1

[http]
address = "127.0.0.1:6433"

[auth]
method = "passthrough"
allow = []

[clusters.main]
kind = "streaming"
nodes = ["a:5432", { host = "b", port = 5432, weight = 2, role = "auto" }]
tls = { mode = "prefer" }
monitor = { user = "postgres", database = "postgres", interval = "100ms", timeout = "1s" }
max_connections = 0

[databases.app]
cluster = "main"
dbname = "app"

[pool]
mode = "transaction"
size = 20
min_idle = 0
checkout_timeout = "5s"
connect_timeout = "5s"
idle_timeout = "10m"
max_lifetime = "1h"
prepared_statements = 1000

[routing]
reads = "replicas"
transactions = "primary"
balance = "least-busy"
affinity = "statement"
unknown_functions = "primary"
read_functions = []
write_functions = []
self_heal = true

[consistency]
level = "session"
max_staleness = "10s"

[failover]
hold = "30s"

[limits]
query_timeout = "0s"
idle_transaction_timeout = "0s"
client_idle_timeout = "0s"
client_login_timeout = "15s"
max_message = "1GiB"
per_user = 0

[log]
level = "info"
slow_query = "0s"
queries = false
connections = true

[firewall]
block = []
"#;

#[test]
fn the_full_shape_of_the_contract_holds_the_defaults() {
    let config = valid(FULL_SHAPE);
    let node = |host: &str, weight| Node { host: host.into(), weight, ..Node::default() };
    let mut expected = Config::default();
    let main = expected.clusters.get_mut("main").unwrap();
    main.nodes = vec![node("a", 1), node("b", 2)];
    expected.databases = config.databases.clone();
    assert_eq!(config, expected);
    assert_eq!(config.effective("app").unwrap().dbname, "app");
}

#[test]
fn the_smallest_file_serves() {
    let config = valid(
        "[clusters.main]\nnodes = [\"127.0.0.1:5432\", \"127.0.0.1:5433\", \"127.0.0.1:5434\"]\n",
    );
    let ports: Vec<u16> = config.clusters["main"].nodes.iter().map(|node| node.port).collect();
    assert_eq!(ports, [5432, 5433, 5434]);
    let effective = config.effective("whatever").unwrap();
    assert_eq!((effective.cluster_name, effective.dbname), ("main", "whatever"));
    assert_eq!((effective.pool.size, effective.pool.mode), (20, PoolMode::Transaction));
}

#[test]
fn nodes_are_strings_or_tables() {
    let rows = [
        ("\"a:1\"", "a", 1),
        ("\"a\"", "a", 5432),
        ("\"[::1]:5433\"", "::1", 5433),
        ("\"[::1]\"", "::1", 5432),
        ("\"a:${HOME_PORT}\"", "a", 7000),
        ("{ host = \"a\" }", "a", 5432),
        ("{ host = \"[::1]\", port = 7 }", "::1", 7),
        ("{ host = \"::1\", port = \"${HOME_PORT}\" }", "::1", 7000),
    ];
    for (text, host, port) in rows {
        let config = valid(&format!("clusters.main.nodes = [{text}]"));
        let expected = Node { host: host.into(), port, weight: 1, role: NodeRole::Auto };
        assert_eq!(config.clusters["main"].nodes, [expected], "{text}");
    }
    let node = Node { host: "::1".into(), port: 1, ..Node::default() };
    assert_eq!(node.address().to_string(), "[::1]:1");
}

#[test]
fn a_list_may_be_one_value() {
    let config = valid(&format!(
        "[listen]\naddress = [\"a:1\", \"[::]:2\"]\n[auth]\nallow = \"10.1.2.3\"\n{CLUSTER}"
    ));
    let addresses: Vec<String> = config.listen.address.iter().map(Address::to_string).collect();
    assert_eq!(addresses, ["a:1", "[::]:2"]);
    assert_eq!(config.auth.allow, ["10.1.2.3/32".parse().unwrap()]);
}

#[test]
fn zero_and_empty_mean_none() {
    let config = valid(&format!(
        "runtime.workers = 0\nhttp.address = \"\"\nlisten.unix_socket_dir = \"${{EMPTY}}\"\n\
         pool = {{ idle_timeout = 0, max_lifetime = \"0s\" }}\n\
         limits = {{ client_login_timeout = \"0s\", max_message = 0 }}\nfailover.hold = \"0s\"\n{CLUSTER}"
    ));
    assert_eq!(config.runtime.workers, None);
    assert_eq!(config.http.address, None);
    assert_eq!(config.listen.unix_socket_dir, None);
    assert_eq!((config.pool.idle_timeout, config.pool.max_lifetime), (None, None));
    assert_eq!((config.limits.client_login_timeout, config.limits.max_message), (None, None));
    assert_eq!(config.failover.hold, Duration::ZERO);
}

#[test]
fn strings_take_the_environment_and_dollars_escape() {
    let config = valid(&format!(
        "pool.size = \"${{HOME_PORT}}\"\nlisten.address = \"a:${{HOME_PORT}}\"\n{CLUSTER}\
         monitor = {{ user = \"a$$b$c$1${{PASSWORD}}$\", password = \"x${{PASSWORD}}$${{y}}\" }}\n"
    ));
    let monitor = &config.clusters["main"].monitor;
    assert_eq!(config.pool.size, 7000);
    assert_eq!(config.listen.address[0].port, 7000);
    assert_eq!(monitor.user, "a$b$c$1hunter2$");
    assert_eq!(monitor.password.as_ref().unwrap().expose(), "xhunter2${y}");
    assert!(!format!("{:?}", monitor.password).contains("hunter2"));
}

#[test]
fn every_word_that_is_built_is_read() {
    let config = valid(&format!(
        "[auth]\nmethod = \"trust\"\n[pool]\nmode = \"session\"\n[routing]\nreads = \"any\"\n\
         balance = \"round-robin\"\n[consistency]\nlevel = \"eventual\"\nmax_staleness = \"1d\"\n\
         [limits]\nmax_message = \"8MB\"\n{CLUSTER}tls.mode = \"require\"\n"
    ));
    assert_eq!(config.auth.method, AuthMethod::Trust);
    assert_eq!(config.pool.mode, PoolMode::Session);
    assert_eq!((config.routing.reads, config.routing.balance), (Reads::Any, Balance::RoundRobin));
    assert_eq!(config.consistency.level, ConsistencyLevel::Eventual);
    assert_eq!(config.consistency.max_staleness, seconds(86_400));
    assert_eq!(config.limits.max_message, Some(Size(8_000_000)));
    assert_eq!(config.clusters["main"].tls.mode, ServerTlsMode::Require);
    assert_eq!(config.listen.tls.mode, ListenTlsMode::Disable);
}

const LAYERS: &str = r#"
[databases.one]
cluster = "a"
pool.size = 7
routing.balance = "random"
[databases.two]
cluster = "b"
dbname = "second"
consistency = { max_staleness = "1s" }
[databases.three]
cluster = "${EMPTY}b"
pool.mode = "session"
[clusters.a]
nodes = "a"
pool = { min_idle = 2, size = 5 }
[clusters.b]
nodes = "b"
[clusters.c]
nodes = "c"
[pool]
size = 30
idle_timeout = "1m"
[routing]
reads = "any"
[consistency]
level = "eventual"
"#;

#[test]
fn a_databases_settings_lie_over_its_clusters_and_those_over_the_files() {
    let config = valid(LAYERS);
    let rows = [
        // name, cluster, dbname, size, min_idle, mode, balance, staleness
        ("one", "a", "one", 7, 2, PoolMode::Transaction, Balance::Random, 10),
        ("two", "b", "second", 30, 0, PoolMode::Transaction, Balance::LeastBusy, 1),
        ("three", "b", "three", 30, 0, PoolMode::Session, Balance::LeastBusy, 10),
    ];
    for (name, cluster, dbname, size, min_idle, mode, balance, staleness) in rows {
        let it = config.effective(name).unwrap();
        assert_eq!((it.cluster_name, it.dbname), (cluster, dbname), "{name}");
        assert_eq!(it.cluster, &config.clusters[cluster], "{name}");
        assert_eq!(
            (it.pool.size, it.pool.min_idle, it.pool.mode),
            (size, min_idle, mode),
            "{name}"
        );
        assert_eq!(it.pool.idle_timeout, Some(seconds(60)), "{name}");
        assert_eq!((it.routing.reads, it.routing.balance), (Reads::Any, balance), "{name}");
        assert_eq!(it.consistency.level, ConsistencyLevel::Eventual, "{name}");
        assert_eq!(it.consistency.max_staleness, seconds(staleness), "{name}");
    }
    assert_eq!(config.effective("four"), None);
    assert_eq!(config.notes(), ["clusters.c: no database uses it"]);
}

#[test]
fn a_database_may_leave_out_the_only_cluster() {
    let config = valid(&format!("[databases.app]\ndbname = \"b\"\n{CLUSTER}"));
    let it = config.effective("app").unwrap();
    assert_eq!((it.cluster_name, it.dbname), ("main", "b"));
    assert_eq!(config.effective("other"), None);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_harm() {
    valid("\u{feff}[clusters.main]\r\nnodes = [\"a\"]\r\n");
}

#[test]
fn a_citus_cluster_names_its_coordinator_and_where_its_workers_are_reached() {
    let text = "[clusters.main]\nkind = \"citus\"\nnodes = \"a\"\n\
        [clusters.main.rewrite]\n\"worker-1:5432\" = \"127.0.0.1:9701\"\n\"[::1]:5433\" = \"b:1\"\n";
    let config = valid(text);
    let main = &config.clusters["main"];
    assert_eq!(main.kind, ClusterKind::Citus);
    let address = |host: &str, port| Address { host: host.into(), port };
    let mut pairs: Vec<_> =
        main.rewrite.iter().map(|(from, to)| (from.clone(), to.clone())).collect();
    pairs.sort_by_key(|(from, _)| from.port);
    assert_eq!(
        pairs,
        [
            (address("worker-1", 5432), address("127.0.0.1", 9701)),
            (address("::1", 5433), address("b", 1)),
        ]
    );
}
