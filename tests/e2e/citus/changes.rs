//! Tables become distributed and local again, are created and dropped, under reads that never err and
//! never answer differently from the coordinator.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{SHARED, Sharded, coordinator, told};
use crate::harness::{Client, Weir};

const ROUNDS: usize = 2;

/// Reads until told to stop; each answer must be this one. Gives how many there were, and by workers.
fn read_on(
    weir: &Weir,
    database: &str,
    sql: &str,
    expected: &str,
    stop: &AtomicBool,
) -> (usize, usize) {
    let mut client = weir.client("postgres", database);
    let (mut reads, mut on_workers) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let reply = if reads % 2 == 0 { client.query(sql) } else { client.extended(sql, &[]) };
        if let Some(failure) = &reply.failure {
            // What the coordinator's planner meets whose table changes its kind under it; it says so to
            // whoever asks it directly, too.
            let node = client.last_node();
            let said = (failure.code(), node.as_str());
            assert_eq!(said, ("0A000", coordinator().as_str()), "read {reads} of {sql}: {failure}");
            continue;
        }
        assert_eq!(reply.text(), expected, "read {reads} of {sql}");
        reads += 1;
        if reads % 10 == 0 && client.last_node() != coordinator() {
            on_workers += 1;
        }
    }
    (reads, on_workers)
}

#[test]
fn tables_become_distributed_and_local_again_under_reads() {
    let objects = "
        CREATE TABLE item (id int PRIMARY KEY, name text);
        INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 200) n;
        CREATE TABLE still (id int); SELECT create_distributed_table('still', 'id');
        INSERT INTO still SELECT generate_series(1, 50)";
    let Some(database) = Sharded::new("citus_kinds", objects) else { return };
    let weir = database.weir("");
    let stop = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    let item = "SELECT count(*), sum(id), max(name) FROM item";
    let expected = "200|20100|item 99";
    thread::scope(|scope| {
        let readers = [
            scope.spawn(|| read_on(&weir, database.name, item, expected, &stop)),
            scope.spawn(|| read_on(&weir, database.name, item, expected, &stop)),
            scope
                .spawn(|| read_on(&weir, database.name, "SELECT count(*) FROM still", "50", &stop)),
        ];
        let changer = scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            let mut client = weir.client("postgres", database.name);
            for round in 0..ROUNDS {
                client.ask("SELECT create_distributed_table('item', 'id')");
                until_read_by_workers(&mut client, item);
                client.ask("SELECT undistribute_table('item')");
                assert_eq!(client.where_ran(item), coordinator(), "it is local now");
                assert_eq!(told(&mut client, item, "target"), "primary");
                client.ask("SELECT create_reference_table('item')");
                until_read_by_workers(&mut client, item);
                // As somebody else's psql does it.
                database.prepare("SELECT undistribute_table('item')");
                assert_eq!(client.ask(item), expected);
                client.ask(&format!("CREATE TABLE passing_{round} AS SELECT 1 AS one"));
                assert_eq!(client.ask(&format!("SELECT * FROM passing_{round}")), "1");
                client.ask(&format!("SELECT create_distributed_table('passing_{round}', 'one')"));
                assert_eq!(client.ask(&format!("SELECT * FROM passing_{round}")), "1");
                client.ask(&format!("DROP TABLE passing_{round}"));
                assert_eq!(client.fail(&format!("SELECT * FROM passing_{round}")).code(), "42P01");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        changer.join().unwrap();
        for reader in readers {
            let (reads, on_workers) = reader.join().unwrap();
            assert!(reads > 20, "{reads} reads");
            eprintln!("{reads} reads, {on_workers} of a tenth of them on workers");
        }
    });
    assert_eq!(rounds.load(Ordering::Relaxed), ROUNDS);
}

/// Ends the readers however the changer ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads again and again until a worker has answered.
#[track_caller]
fn until_read_by_workers(client: &mut Client, sql: &str) {
    crate::harness::until("a worker to answer", crate::harness::SOON, || {
        let node = client.where_ran(sql);
        if node == coordinator() { Err(node) } else { Ok(()) }
    });
}

/// A table of the same name with other rows on a worker is never read in the place of the coordinator's.
#[test]
fn a_workers_own_table_of_a_local_tables_name_is_never_read() {
    let objects = "CREATE TABLE twin (id int); INSERT INTO twin VALUES (1);
        CREATE FUNCTION twins() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM twin'";
    let Some(database) = Sharded::new("citus_twin", objects) else { return };
    for worker in SHARED.workers() {
        let sql = "SET citus.enable_ddl_propagation = off; CREATE TABLE twin (id int); INSERT INTO twin VALUES (7), (8)";
        worker.primary().psql_in(database.name, sql).unwrap();
    }
    let weir = database.weir("");
    let mut client = weir.client("postgres", database.name);
    for _ in 0..10 {
        assert_eq!(client.ask("SELECT id FROM twin"), "1");
        assert_eq!(client.ask("SELECT twins()"), "1");
        assert_eq!(client.ask("/* pgweir: replica */ SELECT id FROM twin"), "1");
        assert_eq!(client.extended("SELECT id FROM twin", &[]).text(), "1");
    }
}
