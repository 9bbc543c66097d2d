//! What several replicas are for: where servers are the bottleneck, three serve three times as much as one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, Weir};

/// Each read holds a server connection for so long that what the machine does besides hardly matters.
const READ: &str = "SELECT pg_sleep(0.2)";
/// Server connections per replica.
const POOL_SIZE: usize = 4;
const CLIENTS: usize = 24;
const MEASURED: Duration = Duration::from_secs(4);

/// Reads per second through a pgweir in front of the primary and these replicas.
fn throughput(sandbox: &Sandbox, replicas: usize) -> f64 {
    let nodes: Vec<_> =
        sandbox.nodes()[..=replicas].iter().map(|node| format!("{:?}", node.address())).collect();
    let weir = Weir::setup(sandbox)
        .config(&format!("clusters.main.nodes = [{}]", nodes.join(", ")))
        .config(&format!("pool.size = {POOL_SIZE}"))
        .config("routing.reads = \"replicas-only\"")
        .config("pool.checkout_timeout = \"30s\"")
        .without_waiting_for_nodes()
        .start();
    weir.wait_for_replicas(replicas);
    let (is_counted, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let count = AtomicU64::new(0);
    let work = |mut client: Client| {
        while !is_over.load(Ordering::Relaxed) {
            client.ask(READ);
            if is_counted.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let client = weir.postgres();
            scope.spawn(|| work(client));
        }
        // Until the pools are full.
        thread::sleep(Duration::from_millis(500));
        is_counted.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        thread::sleep(MEASURED);
        let (served, took) = (count.load(Ordering::Relaxed), begun.elapsed());
        is_over.store(true, Ordering::Relaxed);
        f64::from(u32::try_from(served).unwrap()) / took.as_secs_f64()
    })
}

#[test]
fn three_replicas_serve_almost_three_times_what_one_does() {
    let _turn = crate::turn();
    let sandbox = Sandbox::builder().replicas(3).start().unwrap();
    let (one, three) = (throughput(&sandbox, 1), throughput(&sandbox, 3));
    println!("one replica: {one:.0} reads/s, three: {three:.0}, {:.2} times", three / one);
    assert!(three >= 2.8 * one, "{one:.0} reads/s with one, {three:.0} with three");
}
