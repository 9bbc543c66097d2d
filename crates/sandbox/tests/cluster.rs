//! Clusters on the machine's real PostgreSQL: made, broken, mended, gone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::{
    CitusCluster, HOST, Login, Node, Sandbox, SandboxError, StopMode, hba_for_everyone,
};

/// Long enough for anything that is going to happen.
const SOON: Duration = Duration::from_secs(30);
/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(300);

fn app(password: Option<&str>) -> Login<'_> {
    Login { user: "app", database: "postgres", password }
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A table with one row, seen on every node.
fn with_table(sandbox: &Sandbox) {
    sandbox.primary().psql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
}

fn rows(node: &Node) -> String {
    node.psql("SELECT string_agg(a::text, ',' ORDER BY a) FROM t").unwrap()
}

/// Backends of this node that run a query with this in it, other than the one that asks.
fn running(text: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE query LIKE '%{text}%' AND pid <> pg_backend_pid() AND state = 'active'"
    )
}

#[test]
fn a_cluster_replicates_and_leaves_nothing_behind() {
    let sandbox = Sandbox::builder().role("app", "LOGIN").database("shop").start().unwrap();
    let names: Vec<&str> = sandbox.nodes().iter().map(Node::name).collect();
    assert_eq!(names, ["node0", "node1", "node2"]);

    let table = "CREATE TABLE t AS SELECT 7 AS a; GRANT ALL ON t TO app";
    sandbox.primary().psql_in("shop", table).unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
    let app = Login { database: "shop", ..app(None) };
    for node in sandbox.nodes() {
        assert_eq!(node.psql_as(&app, "SELECT a, 'x' FROM t").unwrap(), "7|x");
        assert_eq!(node.is_in_recovery().unwrap(), node.index() != 0);
        assert_eq!(node.psql("SHOW cluster_name").unwrap(), node.name());
    }
    let refused = sandbox.replica(0).psql_as(&app, "INSERT INTO t VALUES (8)").unwrap_err();
    assert!(refused.to_string().contains("read-only transaction"), "{refused}");
    // What takes a dynamic shared memory segment must not leave it either.
    let parallel = "SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0;
                    SELECT count(*) FROM pg_class, pg_attribute";
    sandbox.primary().psql(parallel).unwrap();

    let dir = sandbox.dir().to_owned();
    let pids: Vec<u32> = sandbox.nodes().iter().filter_map(Node::pid).collect();
    let ports: Vec<u16> = sandbox.nodes().iter().map(Node::port).collect();
    drop(sandbox);
    assert!(!dir.exists());
    assert_eq!(pids.len(), 3);
    assert!(!pids.into_iter().any(is_alive));
    for port in ports {
        TcpListener::bind((HOST, port)).unwrap();
    }
}

#[test]
fn clusters_started_at_the_same_time_do_not_meet() {
    let clusters: Vec<Sandbox> = thread::scope(|scope| {
        let start = || Sandbox::builder().replicas(1).start().unwrap();
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let nodes = || clusters.iter().flat_map(|cluster| cluster.nodes());
    let ports: BTreeSet<u16> = nodes().map(Node::port).collect();
    let dirs: BTreeSet<&Path> = nodes().map(Node::dir).collect();
    assert_eq!((ports.len(), dirs.len()), (8, 8));
    for (number, cluster) in clusters.iter().enumerate() {
        cluster.primary().psql(&format!("CREATE TABLE its_own AS SELECT {number} AS n")).unwrap();
        cluster.wait_all_caught_up(SOON).unwrap();
        assert_eq!(cluster.replica(0).psql("SELECT n FROM its_own").unwrap(), number.to_string());
    }
}

#[test]
fn a_killed_node_is_gone_at_once_and_recovers_when_started() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    with_table(&sandbox);
    let node = sandbox.primary();
    let pid = node.pid().unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(|| node.psql("SELECT pg_sleep(1000)"));
        node.wait_for_answer(&running("pg_sleep"), "1", SOON).unwrap();
        node.kill().unwrap();
        let error = client.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("server closed the connection unexpectedly"), "{error}");
    });
    assert!(!is_alive(pid));
    assert!(!node.is_running());
    drop(TcpListener::bind((HOST, node.port())).unwrap());
    let error = node.psql("SELECT 1").unwrap_err().to_string();
    assert!(error.contains("node0 (127.0.0.1:"), "{error}");
    node.kill().unwrap();

    node.start().unwrap();
    assert!(matches!(node.start(), Err(SandboxError::AlreadyRunning { .. })));
    assert!(node.log().unwrap().contains("automatic recovery in progress"));
    node.psql("INSERT INTO t VALUES (2)").unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
    assert_eq!(rows(sandbox.replica(0)), "1,2");
}

#[test]
fn each_way_to_stop_is_postgresqls_own() {
    let sandbox = Sandbox::builder().replicas(0).deadline(Duration::from_secs(20)).start().unwrap();
    let node = sandbox.primary();
    for (mode, logged) in [
        (StopMode::Smart, "received smart shutdown request"),
        (StopMode::Fast, "received fast shutdown request"),
        (StopMode::Immediate, "received immediate shutdown request"),
    ] {
        assert!(!node.log().unwrap().contains(logged));
        node.stop(mode).unwrap();
        assert!(node.log().unwrap().contains(logged), "{mode:?}");
        assert_eq!(node.pid(), None);
        node.stop(mode).unwrap();
        node.start().unwrap();
    }
    let before = node.pid();
    node.restart().unwrap();
    assert_ne!(node.pid(), before);
    assert_eq!(node.psql("SELECT 1").unwrap(), "1");
}

#[test]
fn a_smart_stop_waits_for_the_client_that_stays() {
    let deadline = Duration::from_secs(3);
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let impatient = Sandbox::builder().replicas(0).deadline(deadline).start().unwrap();
    drop(sandbox);
    let node = impatient.primary();
    thread::scope(|scope| {
        let client = scope.spawn(|| node.psql("SELECT pg_sleep(1000)"));
        node.wait_for_answer(&running("pg_sleep"), "1", SOON).unwrap();
        let error = node.stop(StopMode::Smart).unwrap_err();
        assert!(matches!(error, SandboxError::Timeout { .. }), "{error}");
        assert!(error.to_string().contains("received smart shutdown request"), "{error}");
        assert!(node.is_running());
        node.stop(StopMode::Fast).unwrap();
        client.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_frozen_node_answers_nobody_until_it_is_thawed() {
    let sandbox = Sandbox::builder().replicas(1).deadline(Duration::from_secs(10)).start().unwrap();
    with_table(&sandbox);
    let replica = sandbox.replica(0);
    replica.freeze().unwrap();
    assert!(replica.is_running());
    let started = Instant::now();
    let unanswered = thread::scope(|scope| {
        let client = scope.spawn(|| replica.psql("SELECT 1"));
        thread::sleep(A_WHILE);
        let unanswered = !client.is_finished();
        replica.thaw().unwrap();
        assert_eq!(client.join().unwrap().unwrap(), "1");
        unanswered
    });
    assert!(unanswered);
    assert!(started.elapsed() >= A_WHILE);

    // Dropping, stopping and killing work on a frozen node too.
    replica.freeze().unwrap();
    replica.kill().unwrap();
    replica.start().unwrap();
    replica.freeze().unwrap();
    let started = Instant::now();
    drop(sandbox);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn roles_swap_and_the_old_primary_returns_as_a_standby() {
    let sandbox = Sandbox::builder().start().unwrap();
    with_table(&sandbox);
    let [old, new, other] = [0, 1, 2].map(|index| sandbox.node(index));
    old.kill().unwrap();
    new.promote().unwrap();
    assert_eq!(sandbox.primary().name(), "node1");
    let replicas: Vec<&str> = sandbox.replicas().map(Node::name).collect();
    assert_eq!(replicas, ["node0", "node2"]);

    sandbox.follow(new).unwrap();
    new.psql("INSERT INTO t VALUES (2)").unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
    assert_eq!(rows(other), "1,2");

    // The old primary comes back unaware, and takes writes of its own: two primaries.
    old.start().unwrap();
    assert!(!old.is_in_recovery().unwrap());
    old.psql("INSERT INTO t VALUES (666)").unwrap();

    sandbox.rejoin(old).unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
    assert!(old.is_in_recovery().unwrap());
    assert_eq!(rows(old), "1,2");
    assert_eq!(old.psql("SELECT timeline_id FROM pg_control_checkpoint()").unwrap(), "2");

    // And back again, without a death this time.
    old.promote().unwrap();
    sandbox.follow(old).unwrap();
    sandbox.rejoin(new).unwrap();
    old.psql("INSERT INTO t VALUES (3)").unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
    assert!(sandbox.nodes().iter().all(|node| rows(node) == "1,2,3"));
}

#[test]
fn replay_is_paused_and_resumed() {
    let sandbox = Sandbox::builder().start().unwrap();
    with_table(&sandbox);
    let (paused, other) = (sandbox.replica(0), sandbox.replica(1));
    paused.pause_replay().unwrap();
    sandbox.primary().psql("INSERT INTO t VALUES (2)").unwrap();
    sandbox.wait_caught_up(other, SOON).unwrap();
    let error = sandbox.wait_caught_up(paused, A_WHILE).unwrap_err();
    assert!(matches!(error, SandboxError::Timeout { .. }), "{error}");
    assert_eq!((rows(paused).as_str(), rows(other).as_str()), ("1", "1,2"));
    paused.resume_replay().unwrap();
    sandbox.wait_caught_up(paused, SOON).unwrap();
    assert_eq!(rows(paused), "1,2");
    assert!(sandbox.primary().pause_replay().is_err());
}

#[test]
fn replay_is_delayed_by_the_time_asked_for() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    with_table(&sandbox);
    let replica = sandbox.replica(0);
    let delay = Duration::from_secs(2);
    replica.delay_replay(delay).unwrap();
    let started = Instant::now();
    sandbox.primary().psql("INSERT INTO t VALUES (2)").unwrap();
    let acknowledged = Instant::now();
    sandbox.wait_caught_up(replica, SOON).unwrap();
    assert_eq!(rows(replica), "1,2");
    assert!(started.elapsed() >= delay, "{:?}", acknowledged.elapsed());

    replica.delay_replay(Duration::from_secs(1000)).unwrap();
    sandbox.primary().psql("INSERT INTO t VALUES (3)").unwrap();
    sandbox.wait_caught_up(replica, A_WHILE).unwrap_err();
    replica.delay_replay(Duration::ZERO).unwrap();
    sandbox.wait_caught_up(replica, SOON).unwrap();
    assert_eq!(rows(replica), "1,2,3");
}

#[test]
fn catching_up_includes_what_nobody_has_flushed() {
    let sandbox =
        Sandbox::builder().replicas(1).setting("wal_writer_delay", "10s").start().unwrap();
    with_table(&sandbox);
    let primary = sandbox.primary();
    for row in 2..12 {
        let insert = format!("SET synchronous_commit = off; INSERT INTO t VALUES ({row})");
        primary.psql(&insert).unwrap();
        sandbox.wait_all_caught_up(Duration::from_secs(5)).unwrap();
        assert_eq!(rows(sandbox.replica(0)), rows(primary));
    }
    // An idle primary at the start of a segment is not ahead of its standby.
    primary.psql("SELECT pg_switch_wal()").unwrap();
    sandbox.wait_all_caught_up(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_synchronous_standby_holds_commits_back_while_it_is_away() {
    let sandbox = Sandbox::builder().replicas(1).synchronous("FIRST 1 (node1)").start().unwrap();
    with_table(&sandbox);
    let (primary, standby) = (sandbox.primary(), sandbox.replica(0));
    let state = "SELECT application_name, sync_state FROM pg_stat_replication";
    primary.wait_for_answer(state, "node1|sync", SOON).unwrap();
    standby.stop(StopMode::Fast).unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(|| primary.psql("INSERT INTO t VALUES (2)"));
        primary.wait_for_answer(&running("INSERT"), "1", SOON).unwrap();
        thread::sleep(A_WHILE);
        assert!(!client.is_finished());
        standby.start().unwrap();
        client.join().unwrap().unwrap();
    });
}

#[test]
fn pg_hba_decides_over_tcp_and_never_shuts_the_sandbox_out() {
    let sandbox = Sandbox::builder()
        .replicas(1)
        .hba(hba_for_everyone("scram-sha-256"))
        .role("app", "LOGIN PASSWORD 'secret'")
        .start()
        .unwrap();
    for node in sandbox.nodes() {
        assert_eq!(node.psql_as(&app(Some("secret")), "SELECT 1").unwrap(), "1");
        for (password, want) in [
            (Some("wrong"), "password authentication failed for user \"app\""),
            (None, "no password supplied"),
        ] {
            let error = node.psql_as(&app(password), "SELECT 1").unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
    let node = sandbox.primary();
    node.set_hba(["host all all 127.0.0.1/32 reject"]).unwrap();
    let error = node.psql_as(&app(Some("secret")), "SELECT 1").unwrap_err().to_string();
    assert!(error.contains("pg_hba.conf rejects connection"), "{error}");
    assert_eq!(node.psql("SELECT 1").unwrap(), "1");

    let error = node.set_hba(["host all all nonsense"]).unwrap_err();
    assert!(matches!(error, SandboxError::Configuration { .. }), "{error}");
    node.set_hba(hba_for_everyone("trust")).unwrap();
    assert_eq!(sandbox.psql_at(node.port(), &app(None), "SELECT 1").unwrap(), "1");
}

#[test]
fn settings_are_in_force_when_set_or_at_the_next_start_or_refused() {
    let sandbox = Sandbox::builder().replicas(0).setting("work_mem", "1MB").start().unwrap();
    let node = sandbox.primary();
    assert_eq!(node.psql("SHOW work_mem").unwrap(), "1MB");
    node.set_config("work_mem", "2MB").unwrap();
    assert_eq!(node.psql("SHOW work_mem").unwrap(), "2MB");

    node.set_config("max_connections", "33").unwrap();
    assert_eq!(node.psql("SHOW max_connections").unwrap(), "100");
    // A setting that waits for a restart does not hold up the others.
    node.set_config("work_mem", "3MB").unwrap();
    node.restart().unwrap();
    let both = "SHOW max_connections; SHOW work_mem";
    assert_eq!(node.psql(both).unwrap(), "33\n3MB");

    for (name, value) in [("work_mem", "lots"), ("no_such_setting", "1"), ("a b", "1")] {
        let error = node.set_config(name, value).unwrap_err();
        assert!(matches!(error, SandboxError::Configuration { .. }), "{name}: {error}");
    }
    node.restart().unwrap();
    assert_eq!(node.psql(both).unwrap(), "33\n3MB");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let error = Sandbox::builder().setting("wal_level", "nonsense").start().unwrap_err();
    assert!(matches!(error, SandboxError::Exited { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("invalid value for parameter \"wal_level\""), "{message}");

    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let port = sandbox.primary().port();
    let error = Sandbox::builder().replicas(0).base_port(port).start().unwrap_err();
    assert!(matches!(error, SandboxError::PortTaken { port: taken, .. } if taken == port));
}

#[test]
fn sql_errors_carry_the_servers_words() {
    let sandbox = Sandbox::builder().replicas(0).superuser("Ann of the 1st").start().unwrap();
    let node = sandbox.primary();
    assert_eq!(node.psql("SELECT current_user").unwrap(), "Ann of the 1st");
    let error = node.psql("SELECT 1;\nSELECT 1/0;\nCREATE TABLE no()").unwrap_err();
    assert!(error.to_string().contains("ERROR:  division by zero"), "{error}");
    assert_eq!(node.psql("SELECT to_regclass('no') IS NULL").unwrap(), "t");
    assert_eq!(node.psql("").unwrap(), "");
    let wide = node.psql("SELECT repeat('x', 1000000)").unwrap();
    assert_eq!(wide.len(), 1_000_000);
}

#[test]
fn a_cluster_has_its_own_identity_on_request() {
    let identity = |sandbox: &Sandbox| {
        let sql = "SELECT system_identifier FROM pg_control_system()";
        let all: BTreeSet<String> =
            sandbox.nodes().iter().map(|node| node.psql(sql).unwrap()).collect();
        assert_eq!(all.len(), 1);
        all
    };
    let own = || Sandbox::builder().replicas(1).own_identity().start().unwrap();
    assert_ne!(identity(&own()), identity(&own()));
}

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("sandbox-test-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_kept_directory_goes_on_where_it_stopped() {
    let dir = Scratch::new("kept");
    let start = |replicas| {
        let builder = Sandbox::builder().dir(&dir.0).replicas(replicas).role("app", "LOGIN");
        builder.database("shop").start()
    };
    let sandbox = start(1).unwrap();
    with_table(&sandbox);
    assert_eq!(sandbox.primary().psql("SHOW fsync").unwrap(), "on");
    let error = start(1).unwrap_err();
    assert!(matches!(error, SandboxError::InUse { .. }), "{error}");
    let runtime = sandbox.socket_dir().to_owned();
    assert_ne!(runtime, sandbox.dir());
    drop(sandbox);
    assert!(!runtime.exists());
    assert!(dir.0.join("node0/PG_VERSION").exists());

    // Same data on other ports, and one standby more.
    let sandbox = start(2).unwrap();
    assert!(sandbox.nodes().iter().all(|node| rows(node) == "1"));
    assert!(!sandbox.node(0).log().unwrap().contains("automatic recovery"));
    sandbox.node(0).kill().unwrap();
    sandbox.node(2).promote().unwrap();
    sandbox.follow(sandbox.node(2)).unwrap();
    sandbox.primary().psql("INSERT INTO t VALUES (2)").unwrap();
    drop(sandbox);

    // The last primary is primary; the one before it, which never learned, is made its standby.
    let sandbox = start(2).unwrap();
    assert_eq!(sandbox.primary().name(), "node2");
    sandbox.wait_all_caught_up(SOON).unwrap();
    assert!(sandbox.nodes().iter().all(|node| rows(node) == "1,2"));
}

#[test]
fn a_directory_of_someone_elses_is_left_alone() {
    let dir = Scratch::new("foreign");
    std::fs::create_dir(&dir.0).unwrap();
    std::fs::write(dir.0.join("thesis.txt"), "years of work").unwrap();
    let error = Sandbox::builder().dir(&dir.0).start().unwrap_err();
    assert!(matches!(error, SandboxError::ForeignDirectory { .. }), "{error}");
    let left: Vec<_> = std::fs::read_dir(&dir.0).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn programs_of_postgresql_run_without_the_callers_environment() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let port = sandbox.primary().port().to_string();
    let pgbench = ["-i", "-q", "-h", HOST, "-p", &port, "-U", "postgres", "postgres"];
    let output = sandbox.program("pgbench").args(pgbench).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sandbox.primary().psql("SELECT count(*) FROM pgbench_accounts").unwrap(), "100000");
    let version = sandbox.primary().psql("SHOW server_version_num").unwrap();
    assert!(version.starts_with(&sandbox.major_version().to_string()), "{version}");
}

#[test]
fn a_file_put_into_a_node_is_the_servers_to_read() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let node = sandbox.primary();
    let path = node.put_file("note", b"hello").unwrap();
    let read = format!("SELECT pg_read_file('{}')", path.display());
    assert_eq!(node.psql(&read).unwrap(), "hello");
}

#[test]
fn a_directory_that_the_servers_user_cannot_reach_is_refused_before_anything_is_made() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = Scratch::new("closed");
    std::fs::DirBuilder::new().mode(0o700).create(&dir.0).unwrap();
    let error = Sandbox::builder().dir(dir.0.join("deep/cluster")).start().unwrap_err();
    assert!(matches!(error, SandboxError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(dir.0.to_str().unwrap()), "{error}");
    assert!(!dir.0.join("deep").exists());
}

#[test]
fn waiting_on_a_frozen_server_keeps_to_the_deadline() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let replica = sandbox.replica(0);
    replica.freeze().unwrap();
    let started = Instant::now();
    let error = sandbox.wait_caught_up(replica, A_WHILE).unwrap_err();
    assert!(matches!(error, SandboxError::Timeout { .. }), "{error}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    replica.kill().unwrap();
    let error = sandbox.wait_caught_up(replica, SOON).unwrap_err();
    assert!(matches!(error, SandboxError::NotRunning { .. }), "{error}");
}

#[test]
fn temporary_data_is_on_disk_on_request() {
    let sandbox = Sandbox::builder().replicas(0).on_disk().start().unwrap();
    assert!(!sandbox.dir().starts_with("/dev/shm"), "{}", sandbox.dir().display());
}

#[test]
fn a_citus_cluster_knows_its_workers_and_goes_on_where_it_was() {
    if !Sandbox::citus_available() {
        eprintln!("SKIPPED: the Citus extension is not installed beside PostgreSQL");
        return;
    }
    let dir = Scratch::new("citus");
    for round in 0..2 {
        let cluster = CitusCluster::builder().dir(&dir.0).database("app").start().unwrap();
        if round == 0 {
            cluster
                .psql("CREATE TABLE t (id int); SELECT create_distributed_table('t', 'id'); INSERT INTO t SELECT generate_series(1, 100)")
                .unwrap();
        }
        let ports: Vec<String> = cluster.primaries().map(|node| node.port().to_string()).collect();
        let listed = cluster.psql("SELECT nodeport FROM pg_dist_node ORDER BY groupid").unwrap();
        assert_eq!(listed.lines().collect::<Vec<_>>(), ports);
        for node in cluster.primaries() {
            assert_eq!(node.psql_in("app", "SELECT count(*) FROM t").unwrap(), "100");
        }
    }
}
