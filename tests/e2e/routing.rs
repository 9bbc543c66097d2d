//! Which node runs what: asked of the servers' own logs, never of pgweir alone.

use std::collections::BTreeMap;

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, LOGGED, Message, SOON, Scratch, Weir, shared, until};

/// Where a statement ran, by the log of the server that ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ran {
    OnPrimary,
    OnReplica,
}
use Ran::{OnPrimary, OnReplica};

/// What is said before, what is said then, and where that must run.
type Case = (&'static [&'static str], &'static str, Ran);

const TABLES: &str = "
    CREATE TABLE item (id int PRIMARY KEY, name text);
    INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 100) n;
    CREATE SEQUENCE ticket;
    CREATE FUNCTION note(text) RETURNS int LANGUAGE sql VOLATILE
        AS 'INSERT INTO item VALUES ((SELECT max(id) + 1 FROM item), $1) RETURNING id';
    CREATE FUNCTION vouched(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + 1';
    CREATE FUNCTION condemned(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + 1'";

#[rustfmt::skip]
const CASES: &[Case] = &[
    (&[], "SELECT count(*) FROM item", OnReplica),
    (&[], "select name from item where id = 7", OnReplica),
    (&[], "VALUES (1), (2)", OnReplica),
    (&[], "TABLE item", OnReplica),
    (&[], "WITH few AS (SELECT * FROM item) SELECT count(*) FROM few", OnReplica),
    (&[], "SELECT random(), gen_random_uuid(), now(), upper('x')", OnReplica),
    (&[], "EXPLAIN SELECT * FROM item", OnReplica),
    (&[], "EXPLAIN DELETE FROM item", OnReplica),
    (&[], "EXPLAIN ANALYZE SELECT * FROM item", OnReplica),
    (&[], "COPY (SELECT * FROM item) TO STDOUT", OnReplica),
    (&[], "COPY item TO STDOUT", OnReplica),
    (&[], "SELECT 1; SELECT 2", OnReplica),
    (&[], "SELECT 'DELETE FROM item; --'", OnReplica),
    (&[], "SELECT $$it's; INSERT$$", OnReplica),
    (&[], "INSERT INTO item VALUES (1001, 'x')", OnPrimary),
    (&[], "UPDATE item SET name = name WHERE id = 1", OnPrimary),
    (&[], "DELETE FROM item WHERE id = 1001", OnPrimary),
    (&[], "MERGE INTO item USING (VALUES (1)) v(i) ON id = i WHEN MATCHED THEN DO NOTHING", OnPrimary),
    (&[], "TRUNCATE item_of_nobody", OnPrimary),
    (&[], "CREATE TABLE made_here (a int)", OnPrimary),
    (&[], "SELECT * INTO selected_into FROM item", OnPrimary),
    (&[], "CREATE TABLE created_as AS SELECT * FROM item", OnPrimary),
    (&[], "SELECT * FROM item WHERE id = 1 FOR UPDATE", OnPrimary),
    (&[], "SELECT * FROM (SELECT * FROM item WHERE id = 2 FOR SHARE) deep", OnPrimary),
    (&[], "WITH gone AS (DELETE FROM item WHERE id = 1002 RETURNING id) SELECT * FROM gone", OnPrimary),
    (&[], "SELECT count(*) FROM item; DELETE FROM item WHERE id = 1003", OnPrimary),
    (&[], "EXPLAIN ANALYZE DELETE FROM item WHERE id = 1004", OnPrimary),
    (&[], "EXPLAIN (ANALYZE, COSTS off) UPDATE item SET name = name WHERE id = 3", OnPrimary),
    (&[], "COPY (DELETE FROM item WHERE id = 1005 RETURNING id) TO STDOUT", OnPrimary),
    (&[], "SELECT note('a function that nobody vouches for')", OnPrimary),
    (&[], "SELECT id FROM item WHERE id = vouched(1)", OnReplica),
    (&[], "SELECT condemned(1)", OnPrimary),
    (&[], "SELECT nextval('ticket')", OnPrimary),
    (&[], "SELECT setval('ticket', 10)", OnPrimary),
    (&[], "SELECT pg_advisory_xact_lock(42)", OnPrimary),
    (&[], "SELECT pg_notify('channel', 'payload')", OnPrimary),
    (&[], "NOTIFY channel", OnPrimary),
    (&[], "SELECT txid_current() > 0", OnPrimary),
    (&[], "SELECT lo_creat(-1) > 0", OnPrimary),
    (&[], "SELECT pg_is_in_recovery()", OnPrimary),
    (&[], "SELECT pg_current_wal_lsn() IS NULL", OnPrimary),
    (&[], "SELECT count(*) FROM pg_stat_activity", OnPrimary),
    (&[], "SELECT inet_server_port()", OnPrimary),
    (&[], "SHOW cluster_name", OnPrimary),
    (&[], "DO $$ BEGIN PERFORM 1; END $$", OnPrimary),
    (&[], "LOCK TABLE item_of_nobody", OnPrimary),
    (&[], "ANALYZE item", OnPrimary),
    (&[], "SELEC 1", OnPrimary),
    (&[], "SELECT 1 FRO item WHERE", OnPrimary),
    // Transactions.
    (&["BEGIN"], "SELECT count(*) FROM item", OnPrimary),
    (&["START TRANSACTION"], "SELECT 2", OnPrimary),
    (&["BEGIN READ ONLY"], "SELECT count(*) FROM item", OnReplica),
    (&["START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"], "SELECT 3", OnReplica),
    (&["BEGIN", "SET TRANSACTION READ ONLY"], "SELECT count(*) FROM item", OnReplica),
    (&["BEGIN", "SET TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ"], "SELECT 4", OnReplica),
    (&["BEGIN", "SELECT 1", "SET TRANSACTION READ ONLY"], "SELECT 5", OnPrimary),
    (&["BEGIN READ WRITE"], "SELECT 6", OnPrimary),
    (&["BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"], "SELECT count(*) FROM item", OnPrimary),
    (&["BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"], "SELECT 7", OnPrimary),
    (&["BEGIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"], "SELECT 8", OnPrimary),
    (&["SET default_transaction_read_only = on", "BEGIN"], "SELECT count(*) FROM item", OnReplica),
    (&["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "BEGIN"], "SELECT 9", OnReplica),
    (&["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "BEGIN READ WRITE"], "SELECT 10", OnPrimary),
    (&["SET default_transaction_isolation = 'serializable'"], "SELECT count(*) FROM item", OnPrimary),
    (&["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"], "SELECT 11", OnPrimary),
    (&["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", "BEGIN"], "SELECT 12", OnPrimary),
    (&["BEGIN READ ONLY", "SELECT 1", "COMMIT"], "SELECT 13", OnReplica),
    // What the client asks for.
    (&[], "/* pgweir: primary */ SELECT count(*) FROM item", OnPrimary),
    (&[], "/* pgweir: replica */ SELECT pg_is_in_recovery()", OnReplica),
    (&[], "/* pgweir: replica */ DELETE FROM item WHERE id = 1006", OnPrimary),
    (&[], "/* pgweir: replica */ SELECT 14; DELETE FROM item WHERE id = 1007", OnPrimary),
    (&[], "/* pgweir: primary */ SELECT 15; SELECT 16", OnPrimary),
    (&[], "SELECT 17 /* pgweir: primary */", OnReplica),
    (&["SET pgweir.route = 'primary'"], "SELECT count(*) FROM item", OnPrimary),
    (&["SET pgweir.route = 'replica'"], "SELECT pg_is_in_recovery()", OnReplica),
    (&["SET pgweir.route = 'replica'"], "DELETE FROM item WHERE id = 1008", OnPrimary),
    (&["SET pgweir.route = 'primary'", "SET pgweir.route = 'auto'"], "SELECT 18", OnReplica),
    (&["SET pgweir.route = 'primary'", "RESET pgweir.route"], "SELECT 19", OnReplica),
    (&["SET pgweir.route = 'primary'", "RESET ALL"], "SELECT 20", OnReplica),
];

/// How a statement is sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Simple,
    Extended,
}

/// Says it all, the last thing with a mark in a comment behind it.
fn say(weir: &Weir, database: &str, (before, sql, _): &Case, way: Way, mark: &str) {
    let mut client = weir.client(LOGGED, database);
    for statement in *before {
        client.ask(statement);
    }
    // What fails on a server has been logged there all the same.
    match way {
        Way::Simple => client.query(&format!("{sql} -- {mark}")),
        Way::Extended => client.extended(&format!("{sql} -- {mark}"), &[]),
    };
}

/// The nodes in whose log each mark is.
fn where_marks_are(sandbox: &Sandbox, marks: &[String]) -> Vec<Vec<Ran>> {
    let mut found: BTreeMap<&str, Vec<Ran>> = BTreeMap::new();
    for node in sandbox.nodes() {
        let ran = if node.index() == sandbox.primary().index() { OnPrimary } else { OnReplica };
        let log = node.log().unwrap();
        for mark in marks {
            // A statement may be logged twice, as statement and with its error.
            if log.contains(&format!("-- {mark}\n")) {
                found.entry(mark).or_default().push(ran);
            }
        }
    }
    marks.iter().map(|mark| found.remove(mark.as_str()).unwrap_or_default()).collect()
}

/// Runs all cases, and compares.
fn run_cases(scratch: &Scratch, cases: &[Case], way: Way) {
    scratch.prepare(TABLES);
    // The rule is what is looked at, not how soon replicas have caught up with what was written before.
    let config = "routing.read_functions = [\"vouched\"]\nrouting.write_functions = [\"condemned\"]\n\
                  consistency.level = \"eventual\"";
    let weir = Weir::start(shared(), config);
    let mark = |index: usize| format!("{}:{index};", scratch.name());
    let marks: Vec<String> = (0..cases.len()).map(mark).collect();
    for (case, mark) in cases.iter().zip(&marks) {
        say(&weir, scratch.name(), case, way, mark);
    }
    let ran = where_marks_are(shared(), &marks);
    let wrong: Vec<String> = cases
        .iter()
        .zip(ran)
        .filter(|((.., want), got)| got != &[*want])
        .map(|((before, sql, want), got)| {
            format!("{before:?} {sql}\n    want {want:?}, got {got:?}")
        })
        .collect();
    assert!(wrong.is_empty(), "{way:?}:\n{}", wrong.join("\n"));
}

#[test]
fn reads_run_on_replicas_and_everything_else_on_the_primary() {
    run_cases(&Scratch::new("routing_simple"), CASES, Way::Simple);
}

#[test]
fn the_extended_protocol_is_routed_like_the_simple_one() {
    // Several statements in one Parse are an error in PostgreSQL; what a server does with a COPY in
    // the extended protocol is the same as ever.
    let is_single = |(_, sql, _): &&Case| !sql.contains("; ") || sql.contains('\'');
    let cases: Vec<Case> = CASES.iter().filter(is_single).copied().collect();
    run_cases(&Scratch::new("routing_extended"), &cases, Way::Extended);
}

#[test]
fn copy_from_runs_on_the_primary_and_copy_to_on_a_replica() {
    let scratch = Scratch::new("routing_copy");
    scratch.prepare("CREATE TABLE item (id int, name text)");
    let weir = Weir::start(shared(), "");
    let mut client = weir.client("postgres", scratch.name());
    client.wire.send(&Message::new().query("COPY item FROM STDIN"));
    let frames = client.wire.frames_until(b'G');
    assert_eq!(frames.len(), 1);
    client.wire.send(&Message::new().copy_data(b"1\tone\n2\t").copy_data(b"two\n").raw(b'c', &[]));
    let reply = client.reply();
    assert_eq!((reply.failure, reply.commands), (None, vec!["COPY 2".to_owned()]));
    assert_eq!(client.last_node(), shared().primary().address());
    shared().wait_all_caught_up(SOON).unwrap();

    let mut reader = weir.client("postgres", scratch.name());
    reader.wire.send(&Message::new().query("COPY item TO STDOUT"));
    let frames = reader.wire.frames_until(b'Z');
    let data = frames.iter().filter(|frame| frame.tag == b'd').map(|frame| &frame.body[..]);
    assert_eq!(data.collect::<Vec<_>>(), [&b"1\tone\n"[..], b"2\ttwo\n"]);
    assert_ne!(reader.last_node(), shared().primary().address());
}

#[test]
fn a_session_that_defaults_to_read_only_reads_from_replicas_and_may_not_write() {
    let scratch = Scratch::new("routing_read_only");
    scratch.prepare(
        "CREATE TABLE item (id int);
         CREATE ROLE reader LOGIN IN ROLE pg_read_all_data;
         ALTER ROLE reader SET default_transaction_read_only = on",
    );
    let weir = Weir::start(shared(), "");
    let with_option = [("options", "-c default_transaction_read_only=on")];
    let clients = [
        ("a role's default", weir.client("reader", scratch.name())),
        (
            "a startup option",
            Client::connect(weir.port(), "postgres", scratch.name(), &with_option).unwrap(),
        ),
    ];
    for (which, mut client) in clients {
        client.ask("BEGIN");
        client.ask("SELECT count(*) FROM item");
        client.ask("COMMIT");
        assert_ne!(client.last_node(), shared().primary().address(), "{which}");
        let refused = client.fail("INSERT INTO item VALUES (1)");
        assert_eq!(refused.code(), "25006", "{which}: {refused}");
    }
    shared().primary().psql("DROP OWNED BY reader; DROP ROLE reader").unwrap();
}

#[test]
fn a_serializable_default_keeps_plain_reads_on_the_primary_however_it_is_set() {
    let scratch = Scratch::new("routing_serializable");
    scratch.prepare(
        "CREATE ROLE careful LOGIN;
         ALTER ROLE careful SET default_transaction_isolation = 'serializable'",
    );
    let weir = Weir::start(shared(), "");
    let with_option = [("options", "-c default_transaction_isolation=serializable")];
    let with_parameter = [("default_transaction_isolation", "serializable")];
    let mut wrong = Vec::new();
    let clients = [
        ("a startup option", "postgres", &with_option[..]),
        ("a startup parameter", "postgres", &with_parameter[..]),
        ("a role's default", "careful", &[]),
    ];
    for (which, user, parameters) in clients {
        let mut client = Client::connect(weir.port(), user, scratch.name(), parameters).unwrap();
        let reply = client.query("SELECT count(*) FROM pg_class");
        if reply.failure.is_some() || client.last_node() != shared().primary().address() {
            wrong.push((which, reply.failure));
        }
    }
    drop(weir);
    shared().primary().psql("DROP ROLE careful").unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

// ---- what pgweir says of itself ----

#[test]
fn show_and_explain_route_are_answered() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    let primary = shared().primary().address();
    assert_eq!(client.where_ran("/* pgweir: primary */ SELECT 1"), primary);
    // Asking changes nothing.
    assert_eq!(client.last_node(), primary);
    assert_eq!(client.ask("SHOW pgweir.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(client.ask("SHOW pgweir.route"), "auto");
    client.ask("SET pgweir.route = 'primary'");
    assert_eq!(client.ask("SHOW pgweir.route"), "primary");
    client.ask("RESET pgweir.route");

    let explained = client.query("EXPLAIN (ROUTE) SELECT * FROM pg_class");
    let text = explained.text();
    assert!(text.contains("target|replica"), "{text}");
    for node in shared().nodes() {
        assert!(text.contains(&node.address()), "{text}");
    }
    let text = client.ask("EXPLAIN (ROUTE) DELETE FROM no_such_table");
    assert!(text.contains("class|write") && text.contains("target|primary"), "{text}");
    let reply = client.extended("SHOW pgweir.last_node", &[]);
    assert_eq!(reply.columns, ["pgweir.last_node"]);
}

#[test]
fn the_metrics_count_each_statement_once_by_node_and_class() {
    let weir = Weir::start(shared(), "");
    let scratch = Scratch::new("routing_metrics");
    let mut writer = weir.client("postgres", scratch.name());
    writer.ask("CREATE TABLE item (id int)");
    shared().wait_all_caught_up(SOON).unwrap();
    let mut reader = weir.client("postgres", scratch.name());
    until("the table to be known", SOON, || {
        let route = reader.ask("EXPLAIN (ROUTE) SELECT count(*) FROM item");
        if route.contains("target|replica") { Ok(()) } else { Err(route) }
    });
    let before = [weir.queries(shared(), "read"), weir.queries(shared(), "write")];
    for id in 0..10 {
        writer.ask(&format!("INSERT INTO item VALUES ({id})"));
        reader.ask("SELECT count(*) FROM item");
        reader.extended("SELECT count(*) FROM item WHERE id < $1", &["5"]);
    }
    let after = [weir.queries(shared(), "read"), weir.queries(shared(), "write")];
    let grown = |class: usize, node: usize| after[class][node] - before[class][node];
    assert_eq!((grown(0, 0), grown(1, 0)), (0.0, 10.0));
    assert_eq!(grown(0, 1) + grown(0, 2), 20.0);
    assert_eq!(grown(1, 1) + grown(1, 2), 0.0);
}

// ---- how reads are balanced ----

/// Runs so many reads, and counts them by node.
///
/// At the level `eventual`, where nothing but balance decides: what others write on the shared cluster at
/// the same time would keep a client that must not see time run back where it is.
fn spread(config: &str, reads: usize) -> Vec<usize> {
    let weir = &Weir::start(shared(), &format!("consistency.level = \"eventual\"\n{config}"));
    let mut client = weir.postgres();
    let before = weir.queries(shared(), "read");
    (0..reads).for_each(|_| drop(client.ask("SELECT 1")));
    let after = weir.queries(shared(), "read");
    let grown = after.iter().zip(before).map(|(after, before)| (after - before).round());
    grown.map(|count| format!("{count}").parse().unwrap()).collect()
}

/// The shared cluster's nodes, the first replica with this weight.
fn weighted(weight: u32) -> String {
    let [first, second, third] = [0, 1, 2]
        .map(|node| format!("{{ host = \"127.0.0.1\", port = {} ", shared().node(node).port()));
    format!("clusters.main.nodes = [{first}}}, {second}, weight = {weight} }}, {third}}}]")
}

#[test]
fn round_robin_takes_the_replicas_in_turn() {
    let spread = spread("routing.balance = \"round-robin\"", 40);
    assert_eq!((spread[0], spread[1].abs_diff(spread[2]) <= 2), (0, true), "{spread:?}");
}

#[test]
fn round_robin_heeds_weights() {
    let config = format!("routing.balance = \"round-robin\"\n{}", weighted(3));
    let spread = spread(&config, 80);
    assert_eq!((spread[0], (56..=64).contains(&spread[1])), (0, true), "{spread:?}");
}

#[test]
fn random_balance_heeds_weights() {
    let config = format!("routing.balance = \"random\"\n{}", weighted(3));
    let spread = spread(&config, 400);
    // Three quarters of 400, within five standard deviations.
    assert_eq!((spread[0], (257..=343).contains(&spread[1])), (0, true), "{spread:?}");
}

#[test]
fn least_busy_avoids_the_replica_that_works() {
    let weir = Weir::start(shared(), "");
    let mut busy = weir.postgres();
    busy.ask("BEGIN READ ONLY");
    let busy_node = busy.where_ran("SELECT 1");
    let mut client = weir.postgres();
    let nodes: Vec<String> = (0..20).map(|_| client.where_ran("SELECT 1")).collect();
    busy.ask("COMMIT");
    let is_free = |node: &String| *node != busy_node && *node != shared().primary().address();
    assert!(nodes.iter().all(is_free), "{nodes:?} while {busy_node} worked");
}

#[test]
fn an_idle_cluster_uses_both_replicas() {
    let spread = spread("", 100);
    assert!(spread[0] == 0 && spread[1] >= 20 && spread[2] >= 20, "{spread:?}");
}

#[test]
fn the_primary_takes_its_share_or_all_of_the_reads_when_told_to() {
    let any = spread("routing.reads = \"any\"\nrouting.balance = \"random\"", 150);
    assert!(any.iter().all(|&reads| reads >= 20), "{any:?}");
    let primary = spread("routing.reads = \"primary\"", 10);
    assert_eq!(primary, [10, 0, 0]);
}

/// As told, also while all of the primary's connections are in use.
#[test]
fn reads_of_the_primary_wait_for_it() {
    let config = "pool.size = 1\npool.checkout_timeout = \"1s\"\nrouting.reads = \"primary\"";
    let weir = Weir::start(shared(), config);
    let (mut busy, mut client) = (weir.postgres(), weir.postgres());
    busy.ask("BEGIN");
    assert_eq!(client.fail("SELECT 1").code(), "53300");
    busy.ask("COMMIT");
    assert_eq!(client.where_ran("SELECT 1"), shared().primary().address());
}

#[test]
fn a_setting_of_pgweirs_own_is_refused_where_it_would_do_nothing() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.client("postgres", "postgres");
    for statement in [
        "SET pgweir.route = 'nonsense'",
        "SET pgweir.consistency = 'foo'",
        "SET pgweir.token = 'nonsense'",
        "SET pgweir.unheard_of = 'on'",
    ] {
        assert_eq!(client.fail(statement).code(), "22023", "{statement}");
    }
    assert_eq!(client.ask("SHOW pgweir.route"), "auto");
    client.ask("SET pgweir.route = 'primary'");
    assert_eq!(client.ask("SHOW pgweir.route"), "primary");
    client.ask("BEGIN");
    client.ask("SET LOCAL pgweir.route = 'replica'");
    assert_eq!(client.ask("SHOW pgweir.route"), "replica");
    client.ask("COMMIT");
    assert_eq!(client.ask("SHOW pgweir.route"), "primary");
}
