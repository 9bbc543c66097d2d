//! Freshness, measured on real servers.

use std::time::{Duration, Instant};

use crate::support::{
    REPLICAS_ONLY, all_fresh, ask, checkout, cluster_spec, eventually, pool_spec, run, start,
    try_checkout,
};
use pgweir_pool::{Health, Role, Want};
use pgweir_sandbox::Sandbox;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_limits_and_freshness_are_found_by_asking() {
    let sandbox = Sandbox::builder()
        .replicas(2)
        .setting("superuser_reserved_connections", "10")
        .start()
        .unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let topology = cluster.snapshot();
    assert_eq!(topology.primary, Some(0));
    let roles: Vec<_> = topology.nodes.iter().map(|view| view.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Replica, Role::Replica]);
    for view in &topology.nodes {
        assert_eq!((view.health, view.timeline), (Health::Up, Some(1)));
        assert!(view.server_version.unwrap() >= 150_000);
        // 100, less 10 for superusers and 3 for the monitor.
        assert_eq!(view.node.connection_limit(), 87);
        assert_eq!(view.why, None);
    }
}

/// The promise itself, under load: whoever reads from a replica that is fresh as of the
/// acknowledgement of a write finds the write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_fresh_as_of_a_write_shows_it() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    sandbox.primary().psql("CREATE TABLE written (id bigint PRIMARY KEY)").unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(10)).unwrap();
    let writers = (0..4_i64).map(|writer| {
        let (cluster, set) = (cluster.clone(), set.clone());
        tokio::spawn(async move {
            let mut waited = Duration::ZERO;
            for round in 0..50 {
                let id = round * 10 + writer;
                // Every other one is acknowledged before it is flushed.
                let setting = if round % 2 == 0 { "on" } else { "off" };
                let sql = format!(
                    "SET synchronous_commit = {setting}; INSERT INTO written VALUES ({id})"
                );
                ask(&set, &Want::primary(), &sql).await;
                let acknowledged = Instant::now();
                cluster.nudge();
                let want = Want { fresh_after: Some(acknowledged), ..Want::replica() };
                let mut lease = try_checkout(&set, &REPLICAS_ONLY, &want).await.unwrap();
                waited += acknowledged.elapsed();
                let sql = format!("SELECT count(*) FROM written WHERE id = {id}");
                assert_ne!(lease.node_id().0, 0);
                assert_eq!(crate::support::run(&mut lease, &sql).await, ["1"], "round {round}");
                crate::support::give_back(lease);
            }
            waited / 50
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        let waited = writer.await.unwrap();
        // An asynchronous commit takes up to three times wal_writer_delay to reach a replica.
        assert!(waited < Duration::from_millis(700), "{waited:?} on average");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_wins_its_client_back_within_milliseconds() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    sandbox.primary().psql("CREATE TABLE written (id bigint)").unwrap();
    let mut spec = cluster_spec(&sandbox);
    // So rarely that it must be the nudge.
    spec.monitor.interval = Duration::from_secs(5);
    let cluster = start(spec).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let mut waits = Vec::new();
    for id in 0..20 {
        ask(&set, &Want::primary(), &format!("INSERT INTO written VALUES ({id})")).await;
        let acknowledged = Instant::now();
        cluster.nudge();
        eventually(&cluster, "fresh again", |topology| all_fresh(topology, acknowledged)).await;
        waits.push(acknowledged.elapsed());
    }
    waits.sort_unstable();
    assert!(waits[waits.len() / 2] < Duration::from_millis(100), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_replay_is_paused_is_not_fresh_until_it_goes_on() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    sandbox.node(1).pause_replay().unwrap();
    ask(&set, &Want::primary(), "CREATE TABLE written (id bigint)").await;
    let acknowledged = Instant::now();
    cluster.nudge();
    let fresh = |index: usize| {
        move |topology: &pgweir_pool::Topology| {
            topology.nodes[index].fresh_as_of.is_some_and(|fresh| fresh >= acknowledged)
        }
    };
    eventually(&cluster, "the other is fresh", fresh(2)).await;
    assert!(!fresh(1)(&cluster.snapshot()));
    let want = Want { fresh_after: Some(acknowledged), ..Want::replica() };
    for _ in 0..20 {
        let lease = try_checkout(&set, &REPLICAS_ONLY, &want).await.unwrap();
        assert_eq!(lease.node_id().0, 2);
        crate::support::give_back(lease);
    }
    sandbox.node(1).resume_replay().unwrap();
    eventually(&cluster, "both are fresh", fresh(1)).await;
}

/// The position of an idle primary may lie behind a page header that no standby reaches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_primary_at_the_begin_of_a_segment_does_not_look_like_lag() {
    // So slow that waiting for a flush does not help.
    let sandbox = quiet_sandbox("10s");
    let cluster = start(cluster_spec(&sandbox)).await;
    sandbox.primary().psql("SELECT pg_switch_wal()").unwrap();
    let done = Instant::now();
    eventually(&cluster, "fresh", |topology| all_fresh(topology, done)).await;
    assert!(done.elapsed() < Duration::from_secs(5), "{:?}", done.elapsed());
    let position = cluster.snapshot().primary_lsn.unwrap();
    assert_eq!(position.0 % 8192, 40, "or it was not what this is about: {position}");
}

/// What an open transaction has written is not flushed for a long time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_that_has_written_does_not_look_like_lag() {
    let sandbox = quiet_sandbox("200ms");
    sandbox.primary().psql("CREATE TABLE written (id bigint)").unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let mut lease = checkout(&set, &Want::primary()).await;
    run(&mut lease, "BEGIN; INSERT INTO written VALUES (1)").await;
    let done = Instant::now();
    eventually(&cluster, "fresh", |topology| all_fresh(topology, done)).await;
    // Three times wal_writer_delay and a margin.
    assert!(done.elapsed() < Duration::from_secs(5), "{:?}", done.elapsed());
    let sql = "SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()";
    assert_eq!(run(&mut lease, sql).await, ["t"], "or it was not what this is about");
}

/// Servers on which nothing writes by itself.
fn quiet_sandbox(wal_writer_delay: &str) -> Sandbox {
    Sandbox::builder()
        .replicas(1)
        .setting("autovacuum", "off")
        .setting("wal_writer_delay", wal_writer_delay)
        .start()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_needs_few_privileges() {
    let sandbox = Sandbox::builder()
        .replicas(1)
        .role("watcher", "LOGIN IN ROLE pg_monitor")
        .role("nobody", "LOGIN")
        .start()
        .unwrap();
    for user in ["watcher", "nobody"] {
        let mut spec = cluster_spec(&sandbox);
        spec.monitor.user = user.to_owned();
        let cluster = start(spec).await;
        assert_eq!(cluster.snapshot().primary, Some(0), "{user}");
        let refused = cluster.role_secret("watcher").await.unwrap_err();
        assert!(refused.is_insufficient_privilege(), "{refused}");
        cluster.shutdown().await;
    }
}
