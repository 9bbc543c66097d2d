//! `[firewall]`: what is on the list runs nowhere, however it is written and whichever way it comes.

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, Failure, Message, SOON, Scratch, Weir, run, shared};

const BLOCKED: &str = "DELETE FROM precious WHERE id = $1";

fn weir(sandbox: &Sandbox) -> Weir {
    let entries = format!("firewall.block = [\"{BLOCKED}\", \"TRUNCATE precious\"]");
    Weir::start(sandbox, &entries)
}

fn prepared() -> Scratch {
    let scratch = Scratch::new("firewall");
    scratch.prepare("CREATE TABLE precious (id int); INSERT INTO precious VALUES (1), (2)");
    scratch
}

#[track_caller]
fn assert_refused(failure: &Failure, entry: &str) {
    assert_eq!(failure.code(), "42501", "{failure}");
    assert_eq!(failure.message(), "pgweir: the firewall does not let this statement pass");
    assert!(failure.field('D').contains(entry), "{failure}");
    assert!(!failure.field('H').is_empty(), "{failure}");
}

/// What a client may still do that has just been refused something.
#[track_caller]
fn is_well(client: &mut Client) {
    assert_eq!(client.ask("SELECT count(*) FROM precious"), "2");
}

#[test]
fn a_blocked_statement_is_refused_however_it_is_written() {
    let (scratch, weir) = (prepared(), weir(shared()));
    let mut client = weir.client("postgres", scratch.name());
    for sql in [
        "DELETE FROM precious WHERE id = 1",
        "delete /* x */ from\n\"precious\" where (id) = -1 -- y",
        "SELECT 1; DELETE FROM precious WHERE id = 1",
        "EXPLAIN ANALYZE DELETE FROM precious WHERE id = 1",
        "PREPARE p AS DELETE FROM precious WHERE id = $1",
        "WITH d AS (DELETE FROM precious WHERE id = 1) SELECT 1",
    ] {
        let reply = client.query(sql);
        assert_refused(&reply.failure.clone().expect(sql), BLOCKED);
        assert!(reply.rows.is_empty(), "nothing of {sql} has run");
        is_well(&mut client);
    }
    assert_refused(&client.fail("TRUNCATE TABLE precious"), "TRUNCATE precious");
    for sql in ["DELETE FROM precious WHERE id < 0", "SELECT 'DELETE FROM precious WHERE id = 1'"] {
        client.ask(sql);
    }
    assert_eq!(weir.metrics().sum("pgweir_firewall_refusals_total", &[]), 7.0);
}

#[test]
fn the_extended_protocol_is_refused_at_parse() {
    let (scratch, weir) = (Scratch::new("firewall_extended"), weir(shared()));
    scratch.prepare("CREATE TABLE precious (id int); INSERT INTO precious VALUES (1), (2)");
    let mut client = weir.client("postgres", scratch.name());
    for _ in 0..2 {
        let reply = client.extended(BLOCKED, &["1"]);
        assert_refused(&reply.failure.expect("a refusal"), BLOCKED);
        assert_eq!(reply.status, 'I');
        is_well(&mut client);
    }
    // Parse alone is enough, and the name stays free.
    client.wire.send(&Message::new().parse("named", BLOCKED).sync());
    assert_refused(&client.reply().failure.expect("a refusal"), BLOCKED);
    client.wire.send(&Message::new().parse("named", "SELECT 1").sync());
    assert_eq!(client.reply().failure, None);
    is_well(&mut client);
}

#[test]
fn a_transaction_fails_with_it_and_can_be_rolled_back() {
    let (scratch, weir) = (Scratch::new("firewall_transaction"), weir(shared()));
    scratch.prepare("CREATE TABLE precious (id int); INSERT INTO precious VALUES (1), (2)");
    let mut client = weir.client("postgres", scratch.name());
    for extended in [false, true] {
        client.ask("BEGIN");
        client.ask("INSERT INTO precious VALUES (3)");
        client.ask("SAVEPOINT s");
        let reply = if extended {
            client.extended(BLOCKED, &["1"])
        } else {
            client.query("DELETE FROM precious WHERE id = 1")
        };
        assert_refused(&reply.failure.clone().expect("a refusal"), BLOCKED);
        assert_eq!(reply.status, 'E');
        assert_eq!(client.fail("SELECT 1").code(), "25P02");
        client.ask("ROLLBACK TO s");
        assert_eq!(client.ask("SELECT count(*) FROM precious"), "3");
        client.ask("ROLLBACK");
        is_well(&mut client);
    }
}

#[test]
fn explain_route_and_the_command_line_tell() {
    let weir = weir(shared());
    let mut client = weir.postgres();
    let told = client.ask("EXPLAIN (ROUTE) DELETE FROM precious WHERE id = 7");
    assert!(told.contains("target|none"), "{told}");
    assert!(told.contains(&format!("reason|blocked ({BLOCKED})")), "{told}");
    let mut command = Weir::program();
    command.args(["route", "--config"]).arg(weir.config_file());
    let told = run(command.arg("DELETE FROM precious WHERE id = 7"), "", SOON);
    assert!(told.stdout.contains(&format!("-> none: blocked ({BLOCKED})")), "{told:?}");
}
