//! Nodes that come and go while clients work, on real servers.

use std::time::{Duration, Instant};

use pgweir_pool::{Change, ClusterSpec, Health, PoolError, Want};
use pgweir_sandbox::Sandbox;

use crate::support::{
    DEADLINE, REPLICAS_ONLY, ask, checkout, cluster_spec, eventually, give_back, pool_spec, run,
    start, try_checkout,
};

/// The specification with these nodes of it.
fn of(spec: &ClusterSpec, nodes: &[usize]) -> ClusterSpec {
    let nodes = nodes.iter().map(|&index| spec.nodes[index].clone()).collect();
    ClusterSpec { nodes, ..spec.clone() }
}

fn change(spec: ClusterSpec) -> Change {
    Change::new(spec).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_stay_keep_their_connections_and_those_that_go_lose_them() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let spec = cluster_spec(&sandbox);
    let cluster = start(of(&spec, &[0, 1])).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let pid = "SELECT pg_backend_pid()";
    let on_primary = ask(&set, &Want::primary(), pid).await;
    let mut busy = checkout(&set, &Want::replica()).await;
    assert_eq!(run(&mut busy, "BEGIN").await, Vec::<String>::new());
    let gone = busy.node().clone();

    cluster.change(change(of(&spec, &[2, 0]))).await;
    let names: Vec<_> = cluster.nodes().iter().map(|node| node.name().to_owned()).collect();
    let expected = [2, 0].map(|index| sandbox.node(index).address());
    assert_eq!(names, expected);
    eventually(&cluster, "the new replica serves", |topology| {
        topology.nodes[0].fresh_as_of.is_some()
    })
    .await;
    assert_eq!(ask(&set, &Want::primary(), pid).await, on_primary);
    let lease = try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await.unwrap();
    assert_eq!(lease.node().name(), sandbox.node(2).address());
    give_back(lease);

    // A transaction finishes where it began; behind it the connection is closed.
    assert_eq!(run(&mut busy, "SELECT 1").await, ["1"]);
    run(&mut busy, "COMMIT").await;
    assert_eq!(gone.open_connections(), 1);
    give_back(busy);
    assert_eq!(gone.open_connections(), 0);

    // A node that is back is a new one.
    cluster.change(change(spec)).await;
    eventually(&cluster, "it is back", |topology| topology.nodes[1].fresh_as_of.is_some()).await;
    assert!(cluster.nodes().iter().all(|node| node.id() != gone.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_do_not_notice_that_every_replica_is_replaced() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let spec = cluster_spec(&sandbox);
    let cluster = start(of(&spec, &[0, 1])).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let reader = {
        let set = set.clone();
        tokio::spawn(async move {
            let until = Instant::now() + Duration::from_secs(3);
            let mut reads = 0;
            while Instant::now() < until {
                let lease = try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await;
                let mut lease = lease.map_err(|error| format!("after {reads}: {error:?}"))?;
                run(&mut lease, "SELECT 1").await;
                give_back(lease);
                reads += 1;
                tokio::task::yield_now().await;
            }
            Ok::<_, String>(reads)
        })
    };
    for round in 0.. {
        if reader.is_finished() {
            break;
        }
        cluster.change(change(of(&spec, &[0, 1 + round % 2]))).await;
        eventually(&cluster, "everybody was asked", |topology| topology.known).await;
    }
    assert!(reader.await.unwrap().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_that_does_not_answer_keeps_nobody_waiting() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let spec = cluster_spec(&sandbox);
    let cluster = start(spec.clone()).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let mut more = of(&spec, &[0, 1, 1]);
    // An address to which nothing leads (RFC 5737).
    more.nodes[2].host = "192.0.2.1".to_owned();
    cluster.change(change(more)).await;
    let begun = Instant::now();
    assert_eq!(ask(&set, &Want::primary(), "SELECT 1").await, ["1"]);
    let lease = try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await.unwrap();
    give_back(lease);
    assert!(begun.elapsed() < spec.monitor.timeout, "{:?}", begun.elapsed());
    eventually(&cluster, "it is down", |topology| topology.nodes[2].health == Health::Down).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_were_found_belong_to_the_cluster_besides_the_configured_ones() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let spec = cluster_spec(&sandbox);
    let cluster = start(of(&spec, &[0])).await;
    cluster.set_found(spec.nodes.clone()).await;
    assert_eq!(cluster.nodes().len(), 3);
    // A reload of the configuration keeps them.
    cluster.change(change(of(&spec, &[0, 1]))).await;
    assert_eq!(cluster.nodes().len(), 3);
    cluster.set_found(Vec::new()).await;
    assert_eq!(cluster.nodes().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_node_that_goes_is_served_by_another() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let spec = cluster_spec(&sandbox);
    let cluster = start(of(&spec, &[0, 1])).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(1)).unwrap();
    let busy = checkout(&set, &Want::replica()).await;
    let waiting = {
        let set = set.clone();
        tokio::spawn(async move { try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await })
    };
    let until = Instant::now() + DEADLINE;
    while !set.stats().iter().any(|stats| stats.waiting > 0) {
        assert!(Instant::now() < until);
        tokio::task::yield_now().await;
    }
    cluster.change(change(of(&spec, &[0, 2]))).await;
    let lease = waiting.await.unwrap().unwrap();
    assert_eq!(lease.node().name(), sandbox.node(2).address());
    drop(busy);
    let nobody = ClusterSpec { nodes: Vec::new(), ..spec };
    assert!(Change::new(nobody).is_err());
    cluster.shutdown().await;
    let refused = try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await;
    assert!(matches!(refused, Err(PoolError::ShuttingDown)));
}
