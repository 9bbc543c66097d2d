//! `[firewall]`: what is on the list runs nowhere, however it is written and whichever way it comes.

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, Failure, Message, SOON, Scratch, Weir, run, shared, until};

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
fn an_entry_holds_for_what_was_prepared_before_it() {
    let scratch = Scratch::new("firewall_prepared");
    scratch.prepare("CREATE TABLE precious (id int); INSERT INTO precious VALUES (1), (2)");
    let weir = Weir::start(shared(), "");
    let mut client = weir.client("postgres", scratch.name());
    client.wire.send(&Message::new().parse("named", BLOCKED).sync());
    assert_eq!(client.reply().failure, None);
    client.ask(&format!("PREPARE in_sql(int) AS {BLOCKED}"));
    let bound = || Message::new().bind("", "named", &["0"]).execute("", 0).sync();
    // By the protocol, and by both of SQL's ways to a statement of either kind.
    let executed = ["EXECUTE in_sql(0)", "EXECUTE named(0)"];
    let run_all = |client: &mut Client| -> Vec<Option<Failure>> {
        client.wire.send(&bound());
        let mut failures = vec![client.reply().failure];
        client.wire.send(&Message::new().run(executed[0], &[]).sync());
        failures.push(client.reply().failure);
        failures.extend(executed.map(|sql| client.query(sql).failure));
        failures
    };
    assert_eq!(run_all(&mut client), [None, None, None, None]);

    let text = std::fs::read_to_string(weir.config_file()).unwrap();
    let entry = format!("{text}\nfirewall.block = [\"{BLOCKED}\"]\n");
    std::fs::write(weir.config_file(), entry).unwrap();
    until("the entry", SOON, || {
        client.query(&format!("{BLOCKED} -- again").replace("$1", "0")).failure.ok_or("it runs")
    });
    for failure in run_all(&mut client) {
        assert_refused(&failure.expect("a refusal"), BLOCKED);
        is_well(&mut client);
    }
    // A transaction fails with it; what follows in the pipeline is skipped.
    client.ask("BEGIN");
    client
        .wire
        .send(&Message::new().bind("", "named", &["1"]).execute("", 0).run("SELECT 1", &[]).sync());
    let reply = client.reply();
    assert_refused(&reply.failure.clone().expect("a refusal"), BLOCKED);
    assert_eq!((reply.status, reply.rows.len()), ('E', 0));
    client.ask("ROLLBACK");
    is_well(&mut client);

    // And without the entry it runs again, never having been lost.
    std::fs::write(weir.config_file(), text).unwrap();
    until("no entry", SOON, || {
        client.wire.send(&bound());
        client.reply().failure.map_or(Ok(()), Err)
    });
    assert_eq!(run_all(&mut client), [None, None, None, None]);
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
