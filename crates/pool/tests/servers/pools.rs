//! Pools, queues and bounds, on real servers.

use std::time::{Duration, Instant};

use pgweir_pool::{Checkout, PoolError, PoolSpec, ReadPolicy, Seen, Want};
use pgweir_sandbox::Sandbox;

use crate::support::{
    DEADLINE, POLICY, REPLICAS_ONLY, ask, checkout, cluster_spec, eventually, give_back, pool_spec,
    query, run, start, try_checkout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_too_long_is_told_what_the_pool_looked_like() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let patience = Duration::from_millis(200);
    let spec = PoolSpec { checkout_timeout: patience, ..pool_spec(1) };
    let set = cluster.pools("postgres", sandbox.superuser(), &spec).unwrap();
    let lease = checkout(&set, &Want::primary()).await;
    match try_checkout(&set, &POLICY, &Want::primary()).await {
        Err(PoolError::CheckoutTimeout(congestion)) => {
            assert!(congestion.waited >= patience);
            assert_eq!((congestion.size, congestion.in_use, congestion.waiting), (1, 1, 1));
            assert_eq!(congestion.node.as_deref(), Some(cluster.nodes()[0].name()));
        }
        other => panic!("expected CheckoutTimeout, got {other:?}"),
    }
    // A full pool is not a sick node.
    assert!(!cluster.nodes()[0].is_suspected());
    give_back(lease);
    give_back(checkout(&set, &Want::primary()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_connections_are_all_served() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let set = set.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    ask(&set, &Want::replica(), "SELECT 1").await;
                    ask(&set, &Want::primary(), "SELECT 1").await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let stats = set.stats();
    assert!(stats.iter().all(|stats| stats.connects <= 2 && stats.in_use == 0), "{stats:#?}");
    assert_eq!(stats.iter().map(|stats| stats.checkouts).sum::<u64>(), 2000);
    assert!(stats[1].checkouts > 100 && stats[2].checkouts > 100, "{stats:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_share_what_a_node_allows() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let users: Vec<_> = (0..6).map(|user| format!("user{user}")).collect();
    for user in &users {
        sandbox.primary().psql(&format!("CREATE ROLE {user} LOGIN")).unwrap();
    }
    let mut spec = cluster_spec(&sandbox);
    spec.max_connections = 3;
    let cluster = start(spec).await;
    let clients: Vec<_> = users
        .into_iter()
        .map(|user| {
            let set = cluster.pools("postgres", &user, &pool_spec(3)).unwrap();
            tokio::spawn(async move {
                for _ in 0..30 {
                    assert_eq!(ask(&set, &Want::primary(), "SELECT current_user").await, [&*user]);
                }
            })
        })
        .collect();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'user%'";
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        let open: u32 = sandbox.primary().psql(sql).unwrap().parse().unwrap();
        // A backend that was told to end may still be on its way out.
        assert!(cluster.nodes()[0].open_connections() <= 3);
        assert!(open <= 3 + 3, "{open}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_somebody_terminated_while_idle_is_replaced() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(1)).unwrap();
    let pid = ask(&set, &Want::primary(), "SELECT pg_backend_pid()").await.remove(0);
    sandbox.primary().psql(&format!("SELECT pg_terminate_backend({pid}, 5000)")).unwrap();
    let next = ask(&set, &Want::primary(), "SELECT pg_backend_pid()").await.remove(0);
    assert_ne!(pid, next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminating_the_monitors_sessions_harms_nobody() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(1)).unwrap();
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE application_name = 'pgweir'";
    for _ in 0..5 {
        sandbox.node(0).psql(sql).unwrap();
        sandbox.node(1).psql(sql).unwrap();
        ask(&set, &Want::primary(), "SELECT 1").await;
        ask(&set, &Want::replica(), "SELECT 1").await;
    }
    eventually(&cluster, "all is well", |topology| {
        topology.primary == Some(0) && topology.nodes[1].fresh_as_of.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_statement_is_cancelled() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(1)).unwrap();
    let mut lease = checkout(&set, &Want::primary()).await;
    let handle = lease.cancel_handle().clone();
    let pid = run(&mut lease, "SELECT pg_backend_pid()").await.remove(0);
    assert_eq!(pid, handle.pid().to_string());
    let sleeper = tokio::spawn(async move { query(&mut lease, "SELECT pg_sleep(60)").await });
    let running = format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}");
    sandbox.primary().wait_for_answer(&running, "SELECT pg_sleep(60)", DEADLINE).unwrap();
    handle.cancel().await.unwrap();
    let error = sleeper.await.unwrap().unwrap().unwrap_err();
    assert!(error.starts_with("57014"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_pool_makes_clients_wait_and_a_reconnected_one_begins_anew() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    let pid = ask(&set, &Want::primary(), "SELECT pg_backend_pid()").await;
    set.pause();
    let Checkout::Wait(waiting) = set.checkout(&POLICY, &Want::primary(), Instant::now()) else {
        panic!("it is paused");
    };
    let impatient = ReadPolicy { hold: Duration::from_millis(50), ..POLICY };
    let gave_up = try_checkout(&set, &impatient, &Want::primary()).await;
    assert!(matches!(gave_up, Err(PoolError::CheckoutTimeout(_))), "{gave_up:?}");
    set.resume();
    give_back(waiting.await.unwrap());
    assert_eq!(ask(&set, &Want::primary(), "SELECT pg_backend_pid()").await, pid);
    set.reconnect();
    assert_ne!(ask(&set, &Want::primary(), "SELECT pg_backend_pid()").await, pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_gets_no_new_leases() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(2)).unwrap();
    cluster.nodes()[1].drain();
    let refused = try_checkout(&set, &REPLICAS_ONLY, &Want::replica()).await;
    match refused {
        Err(PoolError::NoReplica { nodes, .. }) => assert!(nodes[1].contains("draining")),
        other => panic!("expected NoReplica, got {other:?}"),
    }
    assert_eq!(checkout(&set, &Want::replica()).await.node_id().0, 0);
    cluster.nodes()[1].undrain();
    assert_eq!(checkout(&set, &Want::replica()).await.node_id().0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn housekeeping_keeps_connections_ready_without_being_asked() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let spec = PoolSpec { min_idle: 3, ..pool_spec(5) };
    let set = cluster.pools("postgres", sandbox.superuser(), &spec).unwrap();
    let until = Instant::now() + DEADLINE;
    while !set.stats().iter().all(|stats| stats.idle == 3) {
        assert!(Instant::now() < until, "{:#?}", set.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(set.checkout(&POLICY, &Want::primary(), Instant::now()), Checkout::Ready(_)));
}

/// Clients that lose patience at the worst of moments, leases that are dropped, servers that are
/// crowded: in the end nothing is lost and nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_however_clients_behave() {
    let sandbox = Sandbox::builder().replicas(1).role("other", "LOGIN").start().unwrap();
    let mut spec = cluster_spec(&sandbox);
    spec.max_connections = 4;
    let cluster = start(spec).await;
    let sets = [sandbox.superuser(), "other"]
        .map(|user| cluster.pools("postgres", user, &pool_spec(3)).unwrap());
    let clients = (0..40_u32).map(|client| {
        let set = sets[client as usize % 2].clone();
        tokio::spawn(async move {
            for round in 0..60 {
                let dice = (client * 7919 + round * 104_729) % 97;
                let want = if dice % 3 == 0 { Want::primary() } else { Want::replica() };
                let patience = Duration::from_micros(u64::from(dice) * 100);
                let attempt = try_checkout(&set, &POLICY, &want);
                let Ok(lease) = tokio::time::timeout(patience, attempt).await else {
                    continue;
                };
                let mut lease = lease.unwrap();
                run(&mut lease, "SELECT 1").await;
                if dice % 10 != 0 {
                    give_back(lease);
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    for set in &sets {
        ask(set, &Want::primary(), "SELECT 1").await;
        ask(set, &Want::replica(), "SELECT 1").await;
    }
    let until = Instant::now() + DEADLINE;
    let is_settled = || {
        sets.iter().flat_map(|set| set.stats()).all(|stats| {
            (stats.in_use, stats.waiting, stats.connecting) == (0, 0, 0) && stats.idle <= 3
        })
    };
    while !is_settled() {
        assert!(Instant::now() < until, "{:#?}", sets.map(|set| set.stats()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (index, node) in cluster.nodes().iter().enumerate() {
        let idle: u32 = sets.iter().map(|set| set.stats()[index].idle).sum();
        assert_eq!((node.in_flight(), node.open_connections()), (0, idle));
        assert!(idle <= 4);
    }
}

/// What a client has read elsewhere must not run back, even where nobody wrote through here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_read_on_one_replica_does_not_read_older_data_on_another() {
    let sandbox = Sandbox::builder().replicas(2).start().unwrap();
    sandbox
        .primary()
        .psql("CREATE TABLE clock (tick bigint); INSERT INTO clock VALUES (0)")
        .unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(4)).unwrap();
    sandbox.node(2).delay_replay(Duration::from_millis(50)).unwrap();
    let (mut last, mut seen) = (0, None);
    let until = Instant::now() + Duration::from_secs(3);
    let writer_set = set.clone();
    let writer = tokio::spawn(async move {
        while Instant::now() < until {
            ask(&writer_set, &Want::primary(), "UPDATE clock SET tick = tick + 1").await;
        }
    });
    while Instant::now() < until {
        let want = Want { seen, ..Want::replica() };
        let mut lease = checkout(&set, &want).await;
        let (node, incarnation) = (lease.node_id(), lease.node().incarnation());
        let tick: i64 = run(&mut lease, "SELECT tick FROM clock").await[0].parse().unwrap();
        seen = Some(Seen {
            node,
            incarnation,
            until: Instant::now(),
            timeline: Some(1),
            position: None,
        });
        give_back(lease);
        assert!(tick >= last, "{tick} after {last}");
        last = tick;
    }
    writer.await.unwrap();
    assert!(last > 0);
}

#[test]
fn one_thread_is_enough() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = start(cluster_spec(&sandbox)).await;
        let set = cluster.pools("postgres", sandbox.superuser(), &pool_spec(1)).unwrap();
        let asks = (0..20).map(|_| {
            let set = set.clone();
            tokio::spawn(async move { ask(&set, &Want::replica(), "SELECT 1").await })
        });
        for ask in asks.collect::<Vec<_>>() {
            assert_eq!(ask.await.unwrap(), ["1"]);
        }
        cluster.shutdown().await;
    });
}
