//! Standbys of the coordinator and of workers: they serve as far as they are fresh.

use std::collections::BTreeSet;
use std::time::Duration;

use pgweir_sandbox::{CitusCluster, HOST};

use super::{is_installed, setup_of, start, wait_for_nodes};
use crate::harness::{SOON, until};

const OBJECTS: &str = "
    CREATE TABLE item (id int PRIMARY KEY, value int);
    SELECT create_distributed_table('item', 'id');
    INSERT INTO item SELECT n, 0 FROM generate_series(1, 100) n;
    CREATE TABLE kind (id int PRIMARY KEY, value int); SELECT create_reference_table('kind');
    INSERT INTO kind VALUES (1, 0);
    CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)";

#[test]
fn standbys_of_every_group_serve_as_far_as_they_are_fresh() {
    if !is_installed("standbys_of_every_group_serve_as_far_as_they_are_fresh") {
        return;
    }
    let cluster = CitusCluster::builder().workers(1).replicas(1).start().unwrap();
    cluster.psql(OBJECTS).unwrap();
    let (worker, standby) = (cluster.worker(0).primary(), cluster.worker(0).replica(0));
    // The coordinator's standby is in the configuration, the worker's in Citus's list.
    let sql = format!(
        "SELECT citus_add_secondary_node('{HOST}', {}, '{HOST}', {}, nodecluster => 'second')",
        standby.port(),
        worker.port()
    );
    cluster.psql(&sql).unwrap();
    let weir = start(setup_of(&cluster, "postgres").config("routing.balance = \"round-robin\""), 3);
    let mut client = weir.postgres();
    let mut nodes = BTreeSet::new();
    until("all three to have answered", SOON, || {
        assert_eq!(client.ask("SELECT sum(value) FROM item"), "0");
        nodes.insert(client.last_node());
        if nodes.len() == 3 { Ok(()) } else { Err(nodes.clone()) }
    });
    // What a client has written it sees, whoever answers.
    standby.delay_replay(Duration::from_secs(3)).unwrap();
    for value in 1..6 {
        client.ask(&format!("UPDATE item SET value = {value}"));
        client.ask(&format!("UPDATE kind SET value = {value}"));
        for _ in 0..6 {
            assert_eq!(client.ask("SELECT max(value) FROM item"), value.to_string());
            assert_eq!(client.ask("SELECT max(value) FROM kind"), value.to_string());
            assert_ne!(client.last_node(), standby.address(), "it is behind");
        }
    }
    standby.delay_replay(Duration::ZERO).unwrap();
    wait_for_nodes(&weir, 3);
    until("it to serve again", SOON, || {
        assert_eq!(client.ask("SELECT max(value) FROM kind"), "5");
        let node = client.last_node();
        if node == standby.address() { Ok(()) } else { Err(node) }
    });
    assert_eq!(client.where_ran("SELECT * FROM notes"), cluster.coordinator().primary().address());
}

/// The coordinator's standby is promoted; Citus is told, as whoever promotes it does.
#[test]
fn a_promoted_standby_of_the_coordinator_is_the_coordinator() {
    if !is_installed("a_promoted_standby_of_the_coordinator_is_the_coordinator") {
        return;
    }
    let cluster = CitusCluster::builder().workers(1).replicas(1).start().unwrap();
    cluster.psql(OBJECTS).unwrap();
    let weir = start(setup_of(&cluster, "postgres"), 2);
    let mut client = weir.postgres();
    client.ask("UPDATE kind SET value = 1");
    let coordinators = cluster.coordinator();
    let successor = coordinators.replica(0);
    coordinators.wait_all_caught_up(SOON).unwrap();
    coordinators.primary().kill().unwrap();
    successor.promote().unwrap();
    successor
        .psql(&format!("SELECT citus_set_coordinator_host('{HOST}', {})", successor.port()))
        .unwrap();
    until("a write to succeed", SOON, || {
        let reply = client.query("UPDATE kind SET value = value + 1");
        reply.failure.map_or(Ok(()), Err)
    });
    assert_eq!(client.last_node(), successor.address());
    assert_eq!(client.ask("SELECT value >= 2 FROM kind"), "t");
    wait_for_nodes(&weir, 1);
    assert_eq!(
        client.where_ran("SELECT count(*) FROM item"),
        cluster.worker(0).primary().address()
    );
}
