//! Nodes are found by asking and followed: added, drained, disabled, removed, moved, while reads run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgweir_sandbox::{CitusCluster, HOST, StopMode};

use super::{is_installed, readers, setup_of, start, wait_for_nodes};
use crate::harness::{SOON, Weir, until};

const OBJECTS: &str = "
    CREATE TABLE item (id int PRIMARY KEY, name text);
    SELECT create_distributed_table('item', 'id', shard_count => 8);
    INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 100) n;
    CREATE TABLE kind (id int PRIMARY KEY); SELECT create_reference_table('kind');
    INSERT INTO kind VALUES (1)";

const READ: &str = "SELECT count(*), sum(id) FROM item";
const ANSWER: &str = "100|5050";

fn cluster(name: &str) -> Option<CitusCluster> {
    if !is_installed(name) {
        return None;
    }
    let cluster = CitusCluster::builder().start().unwrap();
    cluster.psql(OBJECTS).unwrap();
    Some(cluster)
}

/// The nodes that answer, until it is these.
#[track_caller]
fn wait_for_readers(weir: &Weir, expected: &[String]) {
    let mut console = weir.client("postgres", "pgweir");
    until("these nodes to be read from", SOON, || {
        let readers = readers(&mut console);
        let same =
            readers.len() == expected.len() && expected.iter().all(|node| readers.contains(node));
        if same { Ok(()) } else { Err(readers) }
    });
}

#[test]
fn nodes_come_and_go_under_reads() {
    let Some(cluster) = cluster("nodes_come_and_go_under_reads") else { return };
    let spare = cluster.spare_worker().unwrap();
    let weir = start(setup_of(&cluster, "postgres"), 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (weir, stop) = (&weir, &stop);
        let reader = move |prepared: bool| {
            let mut client = weir.postgres();
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let reply = if prepared { client.extended(READ, &[]) } else { client.query(READ) };
                assert_eq!(reply.failure, None, "read {reads}");
                assert_eq!(reply.text(), ANSWER, "read {reads}");
                reads += 1;
            }
            reads
        };
        let reading = [scope.spawn(move || reader(false)), scope.spawn(move || reader(true))];
        let changes = scope.spawn(|| {
            let _stop = StopOnDrop(stop);
            let mut client = weir.postgres();
            let [first, second] = [0, 1].map(|at| cluster.worker(at).primary());
            let (new, port) = (spare.primary().address(), spare.primary().port());
            let all = [first.address(), second.address(), new];
            client.ask(&format!("SELECT citus_add_node('{HOST}', {port})"));
            wait_for_readers(weir, &all);
            until("a read by the new node", SOON, || {
                let node = client.where_ran(READ);
                if node == all[2] { Ok(()) } else { Err(node) }
            });
            // A drained node has no shards, and answers all the same.
            client.ask(&format!(
                "SELECT citus_drain_node('{HOST}', {}, shard_transfer_mode => 'block_writes')",
                second.port()
            ));
            wait_for_readers(weir, &all);
            client.ask(&format!(
                "SELECT citus_disable_node('{HOST}', {}, synchronous => true)",
                second.port()
            ));
            wait_for_readers(weir, &[all[0].clone(), all[2].clone()]);
            client.ask(&format!("SELECT citus_activate_node('{HOST}', {})", second.port()));
            wait_for_readers(weir, &all);
            // Behind pgweir's back.
            cluster
                .psql(&format!("SELECT citus_remove_node('{HOST}', {})", second.port()))
                .unwrap();
            wait_for_readers(weir, &[all[0].clone(), all[2].clone()]);
            until("the node to be gone", SOON, || {
                let nodes = weir.client("postgres", "pgweir").ask("SHOW NODES");
                if nodes.contains(&all[1]) { Err(nodes) } else { Ok(()) }
            });
        });
        changes.join().unwrap();
        for reader in reading {
            assert!(reader.join().unwrap() > 20);
        }
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nodes_that_citus_knows_by_other_names_are_reached_by_theirs() {
    let Some(cluster) = cluster("nodes_that_citus_knows_by_other_names_are_reached_by_theirs")
    else {
        return;
    };
    let [first, second] = [0, 1].map(|at| cluster.worker(at).primary().port());
    // To the servers they are one machine; to pgweir a name that leads nowhere is as good as any.
    let rename = format!(
        "UPDATE pg_dist_node SET nodename = 'localhost' WHERE nodeport IN ({first}, {second});
         SELECT citus_set_coordinator_host('localhost', {})",
        cluster.coordinator().primary().port()
    );
    cluster.psql(&rename).unwrap();
    let config = format!(
        "clusters.main.rewrite = {{ \"localhost:{first}\" = \"{HOST}:{first}\", \"localhost:{second}\" = \"{HOST}:{second}\" }}"
    );
    let weir = start(setup_of(&cluster, "postgres").config(&config), 2);
    let expected = [first, second].map(|port| format!("{HOST}:{port}"));
    wait_for_readers(&weir, &expected);
    let mut client = weir.postgres();
    assert_eq!(client.ask(READ), ANSWER);
    assert!(expected.contains(&client.last_node()));
    let nodes = weir.client("postgres", "pgweir").query("SHOW NODES").rows.len();
    assert_eq!(nodes, 3, "nobody is there twice");
}

#[test]
fn a_worker_that_dies_takes_no_read_with_it_that_others_can_answer() {
    let Some(cluster) = cluster("a_worker_that_dies_takes_no_read_with_it_that_others_can_answer")
    else {
        return;
    };
    let weir = start(setup_of(&cluster, "postgres"), 2);
    let mut client = weir.postgres();
    let worker = cluster.worker(0).primary();
    for _ in 0..4 {
        assert_eq!(client.ask("SELECT count(*) FROM kind"), "1");
    }
    worker.stop(StopMode::Immediate).unwrap();
    for _ in 0..10 {
        assert_eq!(client.ask("SELECT count(*) FROM kind"), "1");
    }
    wait_for_nodes(&weir, 1);
    worker.start().unwrap();
    wait_for_nodes(&weir, 2);
    assert_eq!(client.ask(READ), ANSWER);
}

/// Where a commit has not reached a worker, nobody reads that is to see it.
#[test]
fn what_is_in_doubt_on_a_worker_is_read_elsewhere() {
    let Some(cluster) = cluster("what_is_in_doubt_on_a_worker_is_read_elsewhere") else { return };
    let weir = start(setup_of(&cluster, "postgres"), 2);
    let worker = cluster.worker(0).primary();
    worker
        .psql("SET citus.enable_metadata_sync = off; BEGIN; SET LOCAL citus.enable_ddl_propagation = off; CREATE TABLE lost (id int); PREPARE TRANSACTION 'citus_lost_1'")
        .unwrap();
    let mut client = weir.postgres();
    client.ask("UPDATE kind SET id = 2");
    let elsewhere = cluster.worker(1).primary().address();
    until("the worker in doubt to be left alone", SOON, || {
        client.ask("UPDATE kind SET id = id + 1");
        let nodes: Vec<_> = (0..6).map(|_| client.where_ran("SELECT id FROM kind")).collect();
        if nodes.contains(&worker.address()) { Err(nodes) } else { Ok(()) }
    });
    assert!((0..6).any(|_| client.where_ran("SELECT id FROM kind") == elsewhere));
    worker.psql("ROLLBACK PREPARED 'citus_lost_1'").unwrap();
    until("it to be read again", SOON, || {
        let node = client.where_ran("SELECT id FROM kind");
        if node == worker.address() { Ok(()) } else { Err(node) }
    });
}
