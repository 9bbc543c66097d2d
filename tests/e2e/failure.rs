//! Nodes that die, come back and change places under running clients.

use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::{Node, Sandbox, StopMode};

use crate::harness::{Client, Message, SOON, Weir, prepare, runner_of, until};

fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder().start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int PRIMARY KEY)");
    sandbox
}

/// Waits until this client's reads run on this node.
fn wait_for_reads_on(client: &mut Client, node: &Node) {
    until(&format!("reads on {}", node.name()), SOON, || match client.query("SELECT 1").failure {
        Some(failure) => Err(failure.to_string()),
        None => match client.last_node() {
            ran if ran == node.address() => Ok(()),
            ran => Err(ran),
        },
    });
}

#[test]
fn reads_go_on_while_a_replica_is_killed_and_it_is_used_again() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let victim = sandbox.replica(0);
    let mut clients: Vec<Client> = (0..4).map(|_| weir.postgres()).collect();
    for client in &mut clients {
        wait_for_reads_on(client, victim);
    }
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let (mut reads, mut lost) = (0, Vec::new());
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        let reply = client.query("SELECT count(*) FROM item");
                        match reply.failure {
                            Some(failure) => lost.push(failure),
                            None => assert_eq!(reply.text(), "0"),
                        }
                        reads += 1;
                    }
                    (reads, lost)
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        victim.kill().unwrap();
        thread::sleep(Duration::from_millis(500));
        victim.start().unwrap();
        let mut client = weir.postgres();
        wait_for_reads_on(&mut client, victim);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            let (reads, lost) = reader.join().unwrap();
            assert!(reads > 10 && lost.is_empty(), "{reads} reads, {lost:?}");
        }
    });
}

#[test]
fn a_frozen_replica_costs_a_read_its_turn_and_no_more() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "clusters.main.monitor.timeout = \"500ms\"");
    let frozen = sandbox.replica(0);
    let mut client = weir.postgres();
    wait_for_reads_on(&mut client, frozen);
    frozen.freeze().unwrap();
    until("the frozen node to be down", SOON, || {
        let label = format!("node=\"{}\"", frozen.address());
        match weir.metrics().sum("pgweir_node_up", &[&label]) {
            0.0 => Ok(()),
            up => Err(up),
        }
    });
    let mut other = weir.postgres();
    for _ in 0..20 {
        let started = Instant::now();
        assert_ne!(other.where_ran("SELECT 1"), frozen.address());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    frozen.thaw().unwrap();
    wait_for_reads_on(&mut other, frozen);
}

/// A probe takes at most this long; what follows from a silent server is measured by it.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Beyond what a bound says, for a busy machine.
const GRACE: Duration = Duration::from_secs(4);

fn with_quick_probes(sandbox: &Sandbox) -> Weir {
    Weir::start(sandbox, "clusters.main.monitor.timeout = \"500ms\"")
}

#[test]
fn reads_under_way_on_a_replica_that_hangs_run_again_elsewhere() {
    let sandbox = cluster();
    let weir = with_quick_probes(&sandbox);
    let mut clients: Vec<Client> = (0..6).map(|_| weir.postgres()).collect();
    let (replies, took, frozen) = thread::scope(|scope| {
        let readers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    let reply = client.query("SELECT count(*), pg_sleep(1.25) FROM item");
                    (reply, Instant::now())
                })
            })
            .collect();
        let frozen = runner_of(&sandbox, "pg_sleep(1.25)");
        frozen.freeze().unwrap();
        let begun = Instant::now();
        let done: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        let last = done.iter().map(|(_, at)| *at).max().unwrap();
        let replies: Vec<_> = done.into_iter().map(|(reply, _)| reply).collect();
        (replies, last - begun, frozen)
    });
    for reply in replies {
        assert_eq!(reply.failure, None);
        assert_eq!(reply.rows[0][0].as_deref(), Some("0"));
    }
    assert!(took < PROBE_TIMEOUT + Duration::from_millis(1350) + GRACE, "{took:?}");
    assert!(weir.metrics().sum("pgweir_replays_total", &["cause=\"lost\""]) >= 1.0);
    // What is open there is told when it is down; the place in the pool is free again.
    frozen.thaw().unwrap();
    for client in &mut clients {
        assert_eq!(client.ask("SELECT count(*) FROM item"), "0");
    }
    until("no connection in use", SOON, || {
        match weir.metrics().sum("pgweir_node_in_flight", &[]) {
            0.0 => Ok(()),
            busy => Err(busy),
        }
    });
}

#[test]
fn what_was_open_on_a_server_that_hangs_is_told_and_its_client_goes_on() {
    let sandbox = cluster();
    let weir = with_quick_probes(&sandbox);
    let [mut writer, mut open, mut reader] = [weir.postgres(), weir.postgres(), weir.postgres()];
    // Its snapshot goes with its server.
    reader.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let replica = reader.where_ran("SELECT 1");
    let replica = sandbox.nodes().iter().find(|node| node.address() == replica).unwrap();
    open.ask("BEGIN");
    open.ask("INSERT INTO item VALUES (1)");
    // A connection to send the next write on.
    writer.ask("INSERT INTO item VALUES (4)");
    sandbox.primary().freeze().unwrap();
    replica.freeze().unwrap();
    writer.wire.send(&Message::new().query("INSERT INTO item VALUES (2)"));
    // Nobody knows what became of that one, and it is not run again.
    let lost = writer.reply().failure.expect("an error");
    assert_eq!(lost.code(), "08007", "{lost}");
    for client in [&mut open, &mut reader] {
        let lost = client.fail("SELECT count(*) FROM item");
        assert_eq!((lost.code(), lost.field('S')), ("08006", "ERROR"), "{lost}");
        client.ask("ROLLBACK");
    }
    // The place of what was given up is free, long before the server is back.
    until("no connection in use", SOON, || {
        match weir.metrics().sum("pgweir_node_in_flight", &[]) {
            0.0 => Ok(()),
            busy => Err(busy),
        }
    });
    assert_eq!(reader.ask("SELECT count(*) FROM item WHERE id <> 4"), "0");
    sandbox.primary().thaw().unwrap();
    replica.thaw().unwrap();
    open.ask("INSERT INTO item VALUES (3)");
    // It may have been executed, and not more than once.
    let copies = sandbox.primary().psql("SELECT count(*) FROM item WHERE id = 2").unwrap();
    assert!(["0", "1"].contains(&copies.as_str()), "{copies}");
    assert_eq!(sandbox.primary().psql("SELECT count(*) FROM item WHERE id = 1").unwrap(), "0");
}

#[test]
fn a_client_that_leaves_a_hanging_server_does_not_keep_its_place() {
    let sandbox = cluster();
    let weir = with_quick_probes(&sandbox);
    let mut client = weir.postgres();
    client.wire.send(&Message::new().query("DO 'BEGIN PERFORM pg_sleep(600); END'"));
    let begun = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%'
                 AND state = 'active' AND pid <> pg_backend_pid()";
    sandbox.primary().wait_for_answer(begun, "1", SOON).unwrap();
    drop(client);
    sandbox.primary().freeze().unwrap();
    until("its place to be free", SOON, || {
        match weir.metrics().sum("pgweir_pool_connections", &["state=\"in_use\""]) {
            0.0 => Ok(()),
            busy => Err(busy),
        }
    });
    sandbox.primary().thaw().unwrap();
}

#[test]
fn a_session_that_its_server_ends_alone_says_nothing_about_the_server() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "clusters.main.monitor.timeout = \"20s\"");
    let mut client = weir.postgres();
    client.ask("SET idle_in_transaction_session_timeout = '100ms'");
    client.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let replica = client.where_ran("SELECT 1");
    let replica = sandbox.nodes().iter().find(|node| node.address() == replica).unwrap();
    assert_ne!(replica.index(), sandbox.primary().index());
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    replica.wait_for_answer(idle, "0", SOON).unwrap();
    client.fail("SELECT 1");
    client.ask("ROLLBACK");
    client.ask("SELECT 1");
    let log = weir.log();
    assert!(!log.contains("suspect"), "{log}");
}

#[test]
fn without_replicas_the_primary_reads_unless_told_otherwise() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let strict = Weir::start(
        &sandbox,
        "routing.reads = \"replicas-only\"\npool.checkout_timeout = \"1s\"\nfailover.hold = \"1s\"",
    );
    let (mut client, mut strict_client) = (weir.postgres(), strict.postgres());
    assert_ne!(strict_client.where_ran("SELECT 1"), sandbox.primary().address());
    sandbox.replicas().for_each(|replica| replica.kill().unwrap());
    for _ in 0..20 {
        client.ask("SELECT 1");
    }
    assert_eq!(client.last_node(), sandbox.primary().address());
    let refused = until("a refusal", SOON, || {
        let reply = strict_client.query("SELECT 1");
        reply.failure.clone().filter(|failure| failure.code() == "57P03").ok_or(reply.failure)
    });
    assert!(refused.message().starts_with("pgweir: "), "{refused}");
    assert!(!refused.field('D').is_empty() && !refused.field('H').is_empty(), "{refused}");
    // Writes are not concerned, nor is the client's connection.
    strict_client.ask("INSERT INTO item VALUES (1)");
    sandbox.replica(1).start().unwrap();
    wait_for_reads_on(&mut client, sandbox.replica(1));
    wait_for_reads_on(&mut strict_client, sandbox.replica(1));
}

#[test]
fn a_write_waits_for_the_promotion_and_reads_go_on_meanwhile() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "failover.hold = \"30s\"");
    let mut open = weir.postgres();
    let mut reader = weir.postgres();
    let mut writer = weir.postgres();
    reader.ask("SELECT 1");
    open.ask("BEGIN");
    open.ask("INSERT INTO item VALUES (1)");
    sandbox.primary().kill().unwrap();
    // The open transaction is lost, and its client is not.
    let lost = open.fail("INSERT INTO item VALUES (2)");
    assert!(["08006", "08003", "57P01", "40001"].contains(&lost.code()), "{lost}");
    let reply = open.query("ROLLBACK");
    assert_eq!((reply.failure, reply.status), (None, 'I'));

    writer.wire.send(&Message::new().query("INSERT INTO item VALUES (3)"));
    assert!(!writer.wire.hears_something(Duration::from_millis(300)));
    for _ in 0..20 {
        assert_eq!(reader.ask("SELECT count(*) FROM item"), "0");
    }
    let new = sandbox.replica(0);
    new.promote().unwrap();
    let reply = writer.reply();
    assert_eq!((reply.failure, reply.commands), (None, vec!["INSERT 0 1".to_owned()]));
    assert_eq!(writer.last_node(), new.address());
    assert_eq!(writer.ask("SELECT count(*) FROM item"), "1");
    open.ask("INSERT INTO item VALUES (4)");
}

#[test]
fn without_a_primary_a_write_is_refused_when_the_hold_is_over() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "failover.hold = \"700ms\"");
    let mut client = weir.postgres();
    client.ask("SELECT 1");
    sandbox.primary().stop(StopMode::Fast).unwrap();
    let refused = until("a refusal", SOON, || {
        let started = Instant::now();
        let failure = client.fail("INSERT INTO item VALUES (1)");
        if failure.code() == "57P03" { Ok((failure, started.elapsed())) } else { Err(failure) }
    });
    let (refused, waited) = refused;
    assert!(refused.message().starts_with("pgweir: "), "{refused}");
    assert!(!refused.field('D').is_empty() && !refused.field('H').is_empty(), "{refused}");
    assert!((Duration::from_millis(600)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
    // Reads go on, and new clients are let in.
    assert_eq!(client.ask("SELECT count(*) FROM item"), "0");
    assert_eq!(weir.postgres().ask("SELECT count(*) FROM item"), "0");
    sandbox.primary().start().unwrap();
    until("writes again", SOON, || {
        client.query("INSERT INTO item VALUES (1)").failure.map_or(Ok(()), Err)
    });
}

#[test]
fn roles_that_swap_are_found_and_the_old_primary_gets_no_write() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int PRIMARY KEY)");
    let weir = Weir::start(&sandbox, "failover.hold = \"30s\"");
    let mut client = weir.postgres();
    client.ask("INSERT INTO item VALUES (1)");
    let (old, new) = (sandbox.primary(), sandbox.replica(0));
    sandbox.wait_all_caught_up(SOON).unwrap();
    // Two primaries for a moment: the higher timeline wins, and the other gets no write.
    new.promote().unwrap();
    until("writes on the new primary", SOON, || {
        match client.where_ran("UPDATE item SET id = id") {
            node if node == new.address() => Ok(()),
            node => Err(node),
        }
    });
    for id in 10..30 {
        client.ask(&format!("INSERT INTO item VALUES ({id})"));
        assert_eq!(client.last_node(), new.address());
    }
    assert_eq!(old.psql("SELECT count(*) FROM item WHERE id >= 10").unwrap(), "0");
    sandbox.follow(new).unwrap();
    sandbox.rejoin(old).unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
    let mut reader = weir.postgres();
    wait_for_reads_on(&mut reader, old);
    assert_eq!(reader.ask("SELECT count(*) FROM item"), "21");
}

#[test]
fn it_starts_without_any_server_and_serves_as_they_come() {
    let sandbox = cluster();
    for node in sandbox.nodes() {
        node.stop(StopMode::Fast).unwrap();
    }
    let mut weir = Weir::setup(&sandbox).without_waiting_for_nodes().start();
    weir.wait_for_status("/startupz", 200);
    weir.wait_for_status("/readyz", 503);
    let refused = Client::connect(weir.port(), "postgres", "postgres", &[]).unwrap_err();
    assert_eq!((refused.field('S'), refused.code()), ("FATAL", "57P03"), "{refused}");
    sandbox.primary().start().unwrap();
    weir.wait_for_status("/readyz?role=write", 200);
    let mut client = weir.postgres();
    client.ask("INSERT INTO item VALUES (1)");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "1");
    sandbox.replica(0).start().unwrap();
    wait_for_reads_on(&mut client, sandbox.replica(0));
}
