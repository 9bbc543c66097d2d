//! A client sees its own writes, whatever the replicas have replayed.

use std::time::Duration;

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, SOON, Weir, prepare, until};

/// A cluster of its own: these cases stop replicas from replaying.
fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder().start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int PRIMARY KEY, name text)");
    sandbox
}

fn pause_all(sandbox: &Sandbox) {
    sandbox.replicas().for_each(|replica| replica.pause_replay().unwrap());
}

fn resume_all(sandbox: &Sandbox) {
    sandbox.replicas().for_each(|replica| replica.resume_replay().unwrap());
}

fn is_primary(sandbox: &Sandbox, node: &str) -> bool {
    node == sandbox.primary().address()
}

/// Waits until this client's reads run on a replica.
fn wait_for_replica_reads(sandbox: &Sandbox, client: &mut Client, sql: &str) {
    until("reads on replicas", SOON, || match client.where_ran(sql) {
        node if is_primary(sandbox, &node) => Err(node),
        _ => Ok(()),
    });
}

#[test]
fn a_read_after_a_write_sees_it_with_replay_paused_on_every_replica() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut writer = weir.postgres();
    let mut bystander = weir.postgres();
    pause_all(&sandbox);
    let count = "SELECT count(*) FROM item";
    for id in 0..20 {
        writer.ask(&format!("INSERT INTO item VALUES ({id}, 'new')"));
        assert_eq!(writer.ask(count), (id + 1).to_string());
        let id = id.to_string();
        assert_eq!(writer.extended("SELECT name FROM item WHERE id = $1::int", &[&id]).text(), "new");
    }
    assert!(is_primary(&sandbox, &writer.where_ran(count)));
    // In whatever shape the write came, and whatever transaction reads it.
    writer.ask("BEGIN; UPDATE item SET name = 'changed' WHERE id = 1; COMMIT");
    assert_eq!(writer.ask("SELECT name FROM item WHERE id = 1"), "changed");
    writer.extended("UPDATE item SET name = 'again' WHERE id = $1::int RETURNING name", &["1"]);
    writer.ask("BEGIN READ ONLY");
    assert_eq!(writer.ask("SELECT name FROM item WHERE id = 1"), "again");
    writer.ask("COMMIT");
    writer.ask("WITH gone AS (DELETE FROM item WHERE id = 1 RETURNING id) SELECT * FROM gone");
    assert_eq!(writer.ask("SELECT count(*) FROM item WHERE id = 1"), "0");
    // Another client's past is its own.
    let node = bystander.where_ran(count);
    assert!(!is_primary(&sandbox, &node), "{node}");

    resume_all(&sandbox);
    wait_for_replica_reads(&sandbox, &mut writer, count);
    assert_eq!(writer.ask(count), "19");
}

#[test]
fn one_replica_that_has_caught_up_serves_the_writer() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let paused = sandbox.replica(0);
    paused.pause_replay().unwrap();
    let mut client = weir.postgres();
    client.ask("INSERT INTO item VALUES (1, 'one')");
    let count = "SELECT count(*) FROM item";
    wait_for_replica_reads(&sandbox, &mut client, count);
    for _ in 0..50 {
        assert_eq!(client.ask(count), "1");
        assert_ne!(client.last_node(), paused.address());
    }
}

#[test]
fn time_never_runs_back_for_a_client_that_only_reads() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut reader = weir.postgres();
    sandbox.replica(0).pause_replay().unwrap();
    let count = "SELECT count(*) FROM item";
    sandbox.primary().psql("INSERT INTO item VALUES (1, 'one')").unwrap();
    sandbox.wait_caught_up(sandbox.replica(1), SOON).unwrap();
    // From the read that shows the row on, every read must show it.
    until("a read that sees the row", SOON, || match reader.ask(count).as_str() {
        "1" => Ok(()),
        seen => Err(seen.to_owned()),
    });
    let back: Vec<String> =
        (0..50).map(|_| reader.ask(count)).filter(|seen| seen != "1").collect();
    assert!(back.is_empty(), "{} of 50 reads lost the row again", back.len());
}

#[test]
fn the_eventual_level_does_not_wait() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "consistency.level = \"eventual\"");
    let mut client = weir.postgres();
    pause_all(&sandbox);
    client.ask("INSERT INTO item VALUES (1, 'one')");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "0");
    assert!(!is_primary(&sandbox, &client.last_node()));
}

#[test]
fn a_client_may_choose_the_eventual_level_for_itself() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();
    pause_all(&sandbox);
    client.ask("SET pgweir.consistency = 'eventual'");
    client.ask("INSERT INTO item VALUES (1, 'one')");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "0");
    client.ask("RESET pgweir.consistency");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "1");
}

#[test]
fn a_replica_beyond_max_staleness_serves_nobody_until_it_has_caught_up() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "consistency.max_staleness = \"1s\"");
    let mut reader = weir.postgres();
    assert!(!is_primary(&sandbox, &reader.where_ran("SELECT 1")));
    pause_all(&sandbox);
    // An idle primary does not look like lag: there must be something to replay.
    sandbox.primary().psql("INSERT INTO item VALUES (1, 'one')").unwrap();
    until("reads on the primary", SOON, || match reader.where_ran("SELECT 1") {
        node if is_primary(&sandbox, &node) => Ok(()),
        node => Err(node),
    });
    assert_eq!(reader.ask("SELECT count(*) FROM item"), "1");
    resume_all(&sandbox);
    wait_for_replica_reads(&sandbox, &mut reader, "SELECT 1");
}

#[test]
fn an_idle_primary_is_no_reason_to_leave_a_replica() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "consistency.max_staleness = \"1s\"");
    let mut reader = weir.postgres();
    let end = std::time::Instant::now() + Duration::from_secs(3);
    while std::time::Instant::now() < end {
        let node = reader.where_ran("SELECT 1");
        assert!(!is_primary(&sandbox, &node), "{node}");
    }
}
