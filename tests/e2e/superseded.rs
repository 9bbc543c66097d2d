//! A primary that goes on running when another has taken its place: whoever works on it has to leave.

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, Failure, Message, SOON, Weir, prepare, until};

fn cluster() -> (Sandbox, Weir) {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int)");
    let weir = Weir::start(&sandbox, "");
    (sandbox, weir)
}

/// Promotes the replica, the old primary running on, and waits until writes go there.
fn supersede(sandbox: &Sandbox, weir: &Weir) {
    let new = sandbox.replica(0);
    new.promote().unwrap();
    let mut client = weir.postgres();
    until("writes on the new primary", SOON, || {
        match client.where_ran("UPDATE item SET id = id") {
            node if node == new.address() => Ok(()),
            node => Err(node),
        }
    });
}

#[test]
fn an_open_transaction_does_not_commit_where_its_work_would_be_lost() {
    let (sandbox, weir) = cluster();
    let old = sandbox.primary();
    let (mut one, mut other) = (weir.postgres(), weir.postgres());
    for client in [&mut one, &mut other] {
        client.ask("BEGIN");
        client.ask("INSERT INTO item VALUES (1)");
    }
    supersede(&sandbox, &weir);
    // Whatever comes next hears of it; and the client goes on, on the new primary.
    let lost = one.fail("COMMIT");
    assert_eq!((lost.code(), lost.field('S')), ("08006", "ERROR"), "{lost}");
    assert!(lost.field('D').contains("another server has become the primary"), "{lost}");
    assert_eq!(other.fail("INSERT INTO item VALUES (2)").code(), "08006");
    assert_eq!(other.fail("SELECT 1").code(), "25P02");
    for client in [&mut one, &mut other] {
        client.ask("ROLLBACK");
        client.ask("INSERT INTO item VALUES (3)");
    }
    assert_eq!(old.psql("SELECT count(*) FROM item").unwrap(), "0");
    assert_eq!(sandbox.primary().psql("SELECT count(*) FROM item").unwrap(), "2");
}

#[test]
fn listeners_are_sent_to_where_notifications_come_from() {
    let (sandbox, weir) = cluster();
    let mut listener = weir.postgres();
    listener.ask("LISTEN something");
    supersede(&sandbox, &weir);
    let frame = listener.wire.frame().expect("a goodbye");
    let lost = Failure::parse(&frame.body);
    assert_eq!((frame.tag, lost.code(), lost.field('S')), (b'E', "08006", "FATAL"), "{lost}");
    assert!(listener.wire.is_closed());
}

#[test]
fn replication_streams_end_and_begin_again_on_the_new_primary() {
    let (sandbox, weir) = cluster();
    let connect = || Client::connect(weir.port(), "postgres", "", &[("replication", "true")]);
    let flushed = "SELECT pg_current_wal_flush_lsn()";
    let mut client = connect().unwrap();
    let position = sandbox.primary().psql(flushed).unwrap();
    client.wire.send(&Message::new().query(&format!("START_REPLICATION PHYSICAL {position}")));
    client.wire.frames_until(b'W');
    supersede(&sandbox, &weir);
    let goodbye = loop {
        match client.wire.frame().expect("a goodbye") {
            frame if frame.tag == b'E' => break Failure::parse(&frame.body),
            _ => {}
        }
    };
    assert_eq!((goodbye.code(), goodbye.field('S')), ("57P01", "FATAL"), "{goodbye}");
    assert!(client.wire.is_closed());
    // The second column is the timeline.
    let identified = connect().unwrap().query("IDENTIFY_SYSTEM");
    assert_eq!(identified.rows[0][1].as_deref(), Some("2"));
}
