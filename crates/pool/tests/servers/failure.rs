//! What happens to clients when servers fail, on real servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_pool::{Checkout, Cluster, Health, PoolError, ReadPolicy, Role, Want};
use pgweir_sandbox::{Sandbox, StopMode};

use crate::support::{
    DEADLINE, POLICY, REPLICAS_ONLY, ask, checkout, cluster_spec, eventually, give_back, pool_spec,
    query, run, start, try_checkout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_primary_is_gone_reads_go_on_and_writes_wait_for_the_promoted_replica() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(5)).unwrap();
    ask(&set, &Want::primary(), "CREATE TABLE written (id bigint)").await;
    sandbox.wait_all_caught_up(DEADLINE).unwrap();
    sandbox.node(0).kill().unwrap();
    let writer_set = set.clone();
    let writer = tokio::spawn(async move {
        let mut lease = checkout(&writer_set, &Want::primary()).await;
        run(&mut lease, "INSERT INTO written VALUES (1)").await;
        lease.node_id().0
    });
    eventually(&cluster, "no primary", |topology| topology.primary.is_none()).await;
    // However long it takes: staleness stands still.
    let max_staleness = Duration::from_millis(200);
    let impatient = ReadPolicy { max_staleness, ..REPLICAS_ONLY };
    let lost = Instant::now();
    while lost.elapsed() < max_staleness * 2 {
        let mut lease = try_checkout(&set, &impatient, &Want::replica()).await.unwrap();
        run(&mut lease, "SELECT 1").await;
        give_back(lease);
    }
    assert!(!writer.is_finished());
    sandbox.node(1).promote().unwrap();
    assert_eq!(writer.await.unwrap(), 1);
}

/// A cluster of three whose node 1 has been promoted after node 0 was killed.
async fn after_a_promotion(sandbox: &Sandbox) -> Arc<Cluster> {
    let cluster = start(cluster_spec(sandbox)).await;
    sandbox.wait_all_caught_up(DEADLINE).unwrap();
    sandbox.node(0).kill().unwrap();
    sandbox.node(1).promote().unwrap();
    eventually(&cluster, "promoted", |topology| topology.primary == Some(1)).await;
    cluster
}

async fn is_fenced(cluster: &Cluster, index: usize) {
    let topology = eventually(cluster, "the old primary is fenced", |topology| {
        let view = &topology.nodes[index];
        (view.role, view.health) == (Role::Fenced, Health::Up)
    })
    .await;
    assert_eq!(topology.primary, Some(1));
    assert!(topology.nodes[index].why.as_deref().unwrap().contains("timeline"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_returns_gets_no_write_and_serves_again_once_it_follows() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let cluster = after_a_promotion(&sandbox).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(5)).unwrap();
    sandbox.follow(sandbox.node(1)).unwrap();
    eventually(&cluster, "the other replica follows", |topology| {
        topology.nodes[2].fresh_as_of.is_some() && topology.nodes[2].timeline == Some(2)
    })
    .await;
    sandbox.node(0).start().unwrap();
    is_fenced(&cluster, 0).await;
    for _ in 0..10 {
        let lease = checkout(&set, &Want::primary()).await;
        assert_eq!(lease.node_id().0, 1);
        give_back(lease);
    }
    // Even if it is the only one left.
    sandbox.node(1).freeze().unwrap();
    eventually(&cluster, "no primary", |topology| topology.primary.is_none()).await;
    assert_eq!(cluster.snapshot().nodes[0].role, Role::Fenced);
    sandbox.node(1).thaw().unwrap();
    sandbox.rejoin(sandbox.node(0)).unwrap();
    eventually(&cluster, "the old primary is a replica", |topology| {
        topology.nodes[0].role == Role::Replica && topology.nodes[0].fresh_as_of.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_follows_a_fenced_primary_serves_nobody() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let cluster = after_a_promotion(&sandbox).await;
    // Node 2 still follows node 0, which goes on writing its old timeline.
    sandbox.node(0).start().unwrap();
    is_fenced(&cluster, 0).await;
    sandbox.node(0).psql("CREATE TABLE lost (id bigint)").unwrap();
    sandbox.node(2).wait_for_answer("SELECT count(*) FROM lost", "0", DEADLINE).unwrap();
    let asked = Instant::now();
    let topology = eventually(&cluster, "asked again", |topology| {
        topology.primary_seen.is_some_and(|seen| seen > asked)
    })
    .await;
    assert_eq!(topology.nodes[2].fresh_as_of, None);
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(5)).unwrap();
    match try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await {
        Err(PoolError::NoReplica { nodes, .. }) => {
            assert!(nodes[2].contains("timeline 1"), "{nodes:?}");
        }
        other => panic!("expected NoReplica, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_costs_its_own_leases_only_and_is_used_again_when_it_returns() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(5)).unwrap();
    for _ in 0..20 {
        ask(&set, &Want::replica(), "SELECT 1").await;
    }
    sandbox.node(1).kill().unwrap();
    // Whoever comes now may be given a connection that has just died, but only while nobody knows.
    let mut failures = 0;
    for _ in 0..200 {
        let mut lease = checkout(&set, &Want::replica()).await;
        match query(&mut lease, "SELECT 1").await {
            Some(answer) => {
                answer.unwrap();
                give_back(lease);
            }
            None => {
                failures += 1;
                lease.node().suspect();
            }
        }
    }
    assert!(failures <= 2, "{failures}");
    eventually(&cluster, "it is down", |topology| topology.nodes[1].health == Health::Down).await;
    let down = cluster.snapshot();
    assert!(down.nodes[1].why.is_some());
    sandbox.node(1).start().unwrap();
    eventually(&cluster, "it is back", |topology| {
        topology.nodes[1].health == Health::Up && topology.nodes[1].fresh_as_of.is_some()
    })
    .await;
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(checkout(&set, &Want::replica()).await);
    }
    assert!(leases.iter().any(|lease| lease.node_id().0 == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_is_left_alone_and_delays_nobody() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let mut spec = cluster_spec(&sandbox);
    spec.monitor.timeout = Duration::from_millis(300);
    let cluster = start(spec).await;
    sandbox.node(2).freeze().unwrap();
    eventually(&cluster, "suspected", |topology| topology.nodes[2].health == Health::Suspect).await;
    // The others are asked as often as ever.
    let now = Instant::now();
    cluster.nudge();
    eventually(&cluster, "the other is fresh", |topology| {
        topology.nodes[1].fresh_as_of.is_some_and(|fresh| fresh >= now)
    })
    .await;
    assert!(now.elapsed() < Duration::from_millis(250), "{:?}", now.elapsed());
    eventually(&cluster, "down", |topology| topology.nodes[2].health == Health::Down).await;
    sandbox.node(2).thaw().unwrap();
    eventually(&cluster, "up again", |topology| topology.nodes[2].health == Health::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_primary_a_write_is_refused_after_its_hold_and_told_why() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(5)).unwrap();
    sandbox.node(0).stop(StopMode::Fast).unwrap();
    eventually(&cluster, "no primary", |topology| topology.primary.is_none()).await;
    let policy = ReadPolicy { hold: Duration::from_millis(300), ..POLICY };
    let begun = Instant::now();
    match try_checkout(&set, &policy, &Want::primary()).await {
        Err(PoolError::NoPrimary { waited, nodes }) => {
            assert!(waited >= policy.hold && begun.elapsed() < Duration::from_secs(5));
            assert_eq!(nodes.len(), 2);
            assert!(nodes[0].contains("refused"), "{nodes:?}");
        }
        other => panic!("expected NoPrimary, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_very_first_clients_wait_until_the_cluster_is_known() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let cluster = pgweir_pool::Cluster::start(cluster_spec(&sandbox)).unwrap();
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(5)).unwrap();
    assert!(matches!(set.checkout(&POLICY, &Want::primary(), Instant::now()), Checkout::Wait(_)));
    let policy = REPLICAS_ONLY;
    assert!(matches!(set.checkout(&policy, &Want::replica(), Instant::now()), Checkout::Wait(_)));
    assert_eq!(ask(&set, &Want::primary(), "SELECT pg_is_in_recovery()").await, ["f"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_refuses_whoever_waits_and_closes_what_is_idle() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(1)).unwrap();
    let mut lease = checkout(&set, &Want::primary()).await;
    let Checkout::Wait(waiting) = set.checkout(&POLICY, &Want::primary(), Instant::now()) else {
        panic!("the pool is full");
    };
    cluster.shutdown().await;
    assert!(matches!(waiting.await, Err(PoolError::ShuttingDown)));
    let refused = try_checkout(&set, &POLICY, &Want::primary()).await;
    assert!(matches!(refused, Err(PoolError::ShuttingDown)));
    let again = cluster.pools("postgres", "other", &pool_spec(1));
    assert!(matches!(again, Err(PoolError::ShuttingDown)));
    // The lease that is out stays as it is.
    run(&mut lease, "SELECT 1").await;
    give_back(lease);
    assert_eq!(cluster.nodes()[0].open_connections(), 0);
}
