//! A client sees its own writes, whatever the replicas have replayed.

use std::thread;
use std::time::Duration;

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, Message, SOON, Weir, get, prepare, until};

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
        assert_eq!(
            writer.extended("SELECT name FROM item WHERE id = $1::int", &[&id]).text(),
            "new"
        );
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

/// A primary whose commits wait for a synchronous standby that does not come: flushed and shown on the
/// replicas, and not announced on the primary.
fn withhold_commits(sandbox: &Sandbox, is_withheld: bool) {
    let standby = if is_withheld { "nobody" } else { "" };
    let mut direct = direct(sandbox);
    direct.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"));
    direct.ask("SELECT pg_reload_conf()");
    until("the setting to be effective", SOON, || {
        let now = direct.ask("SHOW synchronous_standby_names");
        if now == standby { Ok(()) } else { Err(now) }
    });
}

fn direct(sandbox: &Sandbox) -> Client {
    Client::connect(sandbox.primary().port(), "postgres", "postgres", &[]).unwrap()
}

/// Lets a commit be withheld, and reads it on a replica through this client; then calls the body, and lets
/// the commit go when that says so.
fn with_a_commit_withheld(
    sandbox: &Sandbox,
    clients: &mut [Client],
    body: impl FnOnce(&mut [Client], &dyn Fn()),
) {
    withhold_commits(sandbox, true);
    thread::scope(|scope| {
        let committer = scope.spawn(|| direct(sandbox).ask("INSERT INTO item VALUES (1, 'early')"));
        for client in clients.iter_mut() {
            until("the replicas to show the commit", SOON, || {
                match client.ask("SELECT count(*) FROM item").as_str() {
                    "1" => Ok(()),
                    other => Err(other.to_owned()),
                }
            });
        }
        assert_eq!(direct(sandbox).ask("SELECT count(*) FROM item"), "0", "it is not announced");
        body(clients, &|| withhold_commits(sandbox, false));
        withhold_commits(sandbox, false);
        committer.join().unwrap();
    });
}

#[test]
fn the_primary_serves_who_has_read_on_a_replica_once_it_shows_as_much() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "pool.checkout_timeout = \"60s\"");
    let mut clients: Vec<Client> = (0..5).map(|_| weir.postgres()).collect();
    let shapes = [
        ("a hint", "/* pgweir: primary */ SELECT count(*) FROM item", "1"),
        ("a transaction", "BEGIN; SELECT count(*) FROM item; COMMIT", "1"),
        ("a write", "UPDATE item SET name = 'late' RETURNING id", "1"),
        ("a lock", "SELECT id FROM item FOR KEY SHARE", "1"),
        ("what tells nothing itself", "BEGIN", ""),
    ];
    with_a_commit_withheld(&sandbox, &mut clients, |clients, announce| {
        for (client, (_, sql, _)) in clients.iter_mut().zip(shapes) {
            client.wire.send(&Message::new().query(sql));
        }
        until("all to wait", SOON, || {
            let (_, shown) = get(weir.http_port(), "/api/v1/clients").expect("the API answers");
            let waiting = shown.matches("\"state\":\"waiting\"").count();
            if waiting == shapes.len() { Ok(()) } else { Err(shown) }
        });
        announce();
        for (client, (what, _, expected)) in clients.iter_mut().zip(shapes) {
            assert_eq!(client.reply().text(), expected, "{what}");
        }
        assert_eq!(clients[4].ask("SELECT count(*) FROM item"), "1");
    });
}

#[test]
fn what_the_primary_does_not_show_in_time_is_an_error_and_reads_go_on() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "pool.checkout_timeout = \"1500ms\"");
    let mut clients = [weir.postgres()];
    let mut bystander = weir.postgres();
    with_a_commit_withheld(&sandbox, &mut clients, |clients, _| {
        let client = &mut clients[0];
        let hinted = "/* pgweir: primary */ SELECT count(*) FROM item";
        let refused = client.fail(hinted);
        assert_eq!(refused.code(), "57P03");
        assert!(refused.message().contains("what this session has read on a replica"));
        assert_eq!(client.ask("SELECT count(*) FROM item"), "1", "replicas go on");
        // Who has not been shown it misses nothing.
        assert_eq!(bystander.ask(hinted), "0");
        client.ask("SET pgweir.consistency = 'eventual'");
        assert_eq!(client.ask(hinted), "0");
        client.ask("RESET pgweir.consistency");
        assert_eq!(client.ask("SELECT count(*) FROM item"), "1");
    });
}

/// A write in some shape; each adds one row.
type Shape = (&'static str, fn(&mut Client));

const SHAPES: &[Shape] = &[
    ("several statements", |client| drop(client.ask("SELECT 1; INSERT INTO item DEFAULT VALUES"))),
    ("a commit before an error in the same message", |client| {
        drop(client.fail("BEGIN; INSERT INTO item DEFAULT VALUES; COMMIT; SELECT 1/0"));
    }),
    ("a transaction with a savepoint", |client| {
        client.ask("BEGIN");
        client.ask("SAVEPOINT s");
        client.ask("INSERT INTO item DEFAULT VALUES");
        client.ask("RELEASE s");
        client.ask("COMMIT");
    }),
    ("a data-modifying CTE", |client| {
        client.ask("WITH new AS (INSERT INTO item DEFAULT VALUES RETURNING id) SELECT id FROM new");
    }),
    ("a function", |client| drop(client.ask("SELECT add()"))),
    ("a function in the extended protocol", |client| {
        assert_eq!(client.extended("SELECT add()", &[]).failure, None);
    }),
    ("a procedure that commits", |client| drop(client.ask("CALL add_and_commit()"))),
    ("DO", |client| drop(client.ask("DO $$ BEGIN PERFORM add(); END $$"))),
    ("EXPLAIN ANALYZE", |client| {
        drop(client.ask("EXPLAIN ANALYZE INSERT INTO item DEFAULT VALUES"))
    }),
    ("COPY", |client| {
        let copy = Message::new().query("COPY item (name) FROM STDIN");
        client.wire.send(&copy.copy_data(b"copied\n").raw(b'c', &[]));
        assert_eq!(client.reply().failure, None);
    }),
    ("a fast-path function call", |client| {
        let oid: u32 = client.ask("SELECT 'add'::regproc::oid").parse().unwrap();
        client.wire.send(&Message::new().raw(b'F', &[&oid.to_be_bytes()[..], &[0; 6]].concat()));
        assert_eq!(client.reply().failure, None);
    }),
];

#[test]
fn a_write_in_any_shape_is_seen_by_the_next_read() {
    let sandbox = Sandbox::builder().start().unwrap();
    prepare(
        &sandbox,
        "CREATE TABLE item (id serial, name text);
         CREATE FUNCTION add() RETURNS int LANGUAGE sql
             AS 'INSERT INTO item DEFAULT VALUES RETURNING id';
         CREATE PROCEDURE add_and_commit() LANGUAGE plpgsql
             AS 'BEGIN PERFORM add(); COMMIT; END'",
    );
    let weir = Weir::start(&sandbox, "consistency.max_staleness = \"1h\"");
    pause_all(&sandbox);
    let mut wrong = Vec::new();
    let mut written = 0;
    for (shape, write) in SHAPES {
        // A client whose past is this write alone.
        let mut client = weir.postgres();
        write(&mut client);
        written += 1;
        let seen = client.ask("SELECT count(*) FROM item");
        if seen != written.to_string() {
            wrong.push(format!("{shape}: {seen} of {written} rows"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_read_sent_together_with_a_write_sees_it() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "consistency.max_staleness = \"1h\"");
    pause_all(&sandbox);
    let count = "SELECT count(*) FROM item";
    let insert = |id: u32| format!("INSERT INTO item VALUES ({id}, 'new')");
    let mut client = weir.postgres();
    client.wire.send(&Message::new().query(&insert(1)).query(count));
    assert_eq!(client.reply().failure, None);
    assert_eq!(client.reply().text(), "1");
    let mut client = weir.postgres();
    client.wire.send(&Message::new().run(&insert(2), &[]).sync().run(count, &[]).sync());
    assert_eq!(client.reply().failure, None);
    assert_eq!(client.reply().text(), "2");
    let mut client = weir.postgres();
    client.wire.send(&Message::new().run(&insert(3), &[]).run(count, &[]).sync());
    assert_eq!(client.reply().text(), "3");
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

#[test]
fn a_reader_goes_on_seeing_what_it_has_read_when_a_replica_falls_behind() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut writer = weir.postgres();
    let behind = sandbox.replica(0);
    behind.pause_replay().unwrap();
    writer.ask("INSERT INTO item VALUES (-1, 'not seen by the one that is behind')");
    // Longer than two probes, by which reads may differ in age.
    until("the paused replica is known to be behind", SOON, || {
        let node = format!("node=\"{}\"", behind.address());
        match weir.metrics().sum("pgweir_node_staleness_seconds", &[&node]) {
            staleness if staleness > 0.5 => Ok(()),
            staleness => Err(staleness),
        }
    });
    let mut readers: Vec<Client> = (0..4).map(|_| weir.postgres()).collect();
    let mut last = [0; 4];
    for id in 0..50 {
        writer.ask(&format!("INSERT INTO item VALUES ({id}, 'new')"));
        for (reader, last) in readers.iter_mut().zip(&mut last) {
            let count: u32 = reader.ask("SELECT count(*) FROM item").parse().unwrap();
            assert!(count >= *last, "{last} rows had been read, now {count}");
            *last = count;
        }
    }
    behind.resume_replay().unwrap();
}

// ---- sessions, everybody's writes, tokens ----

const COUNT: &str = "SELECT count(*) FROM item";
const PATIENT: &str = "consistency.max_staleness = \"1h\"";

fn insert(client: &mut Client, id: u32) {
    client.ask(&format!("INSERT INTO item VALUES ({id}, 'new')"));
}

#[test]
fn a_new_session_sees_what_its_user_has_written_before_and_needs_no_more() {
    let sandbox = Sandbox::builder().role("other", "LOGIN").start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int, name text); GRANT ALL ON item TO other");
    let weir = Weir::start(&sandbox, PATIENT);
    pause_all(&sandbox);
    let mut first = weir.postgres();
    insert(&mut first, 1);
    first.leave();
    assert_eq!(weir.postgres().ask(COUNT), "1");
    assert_eq!(weir.postgres().extended(COUNT, &[]).text(), "1");
    // A statement that fails behind a commit.
    let mut second = weir.postgres();
    second.fail("BEGIN; INSERT INTO item VALUES (2); COMMIT; SELECT 1/0");
    assert_eq!(weir.postgres().ask(COUNT), "2");
    // Another user's past is another.
    assert_eq!(weir.client("other", "postgres").ask(COUNT), "0");
    // What is written after the login binds its writer.
    let mut bystander = weir.client("other", "postgres");
    insert(&mut second, 3);
    assert!(!is_primary(&sandbox, &bystander.where_ran(COUNT)));
    resume_all(&sandbox);
    wait_for_replica_reads(&sandbox, &mut weir.postgres(), COUNT);
}

#[test]
fn at_the_global_level_everybodys_writes_are_seen() {
    let sandbox = Sandbox::builder().role("other", "LOGIN").start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int, name text); GRANT ALL ON item TO other");
    let weir = Weir::start(&sandbox, &format!("{PATIENT}\nconsistency.level = \"global\""));
    let (mut writer, mut reader) = (weir.postgres(), weir.client("other", "postgres"));
    assert_eq!(reader.ask("SHOW pgweir.consistency"), "global");
    pause_all(&sandbox);
    for id in 1..20 {
        insert(&mut writer, id);
        assert_eq!(reader.ask(COUNT), id.to_string());
    }
    // A commit is one also where the next transaction has begun by its answer.
    writer.ask("BEGIN; INSERT INTO item VALUES (20); COMMIT; BEGIN");
    assert_eq!(reader.ask(COUNT), "20");
    writer.ask("INSERT INTO item VALUES (21)");
    writer.ask("COMMIT AND CHAIN");
    assert_eq!(reader.ask(COUNT), "21");
    writer.ask("ROLLBACK");
    // One session may give it up, and another one ask for it.
    reader.ask("SET pgweir.consistency = 'eventual'");
    assert_eq!(reader.ask(COUNT), "0");
    reader.ask("RESET pgweir.consistency");
    assert_eq!(reader.ask(COUNT), "21");
    resume_all(&sandbox);
    wait_for_replica_reads(&sandbox, &mut reader, COUNT);
}

#[test]
fn a_token_carries_what_was_written_and_read_to_another_pgweir() {
    let sandbox = Sandbox::builder().role("other", "LOGIN").start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int, name text); GRANT ALL ON item TO other");
    let (here, there) = (Weir::start(&sandbox, PATIENT), Weir::start(&sandbox, PATIENT));
    let (mut writer, mut reader) = (here.postgres(), there.client("other", "postgres"));
    let early = writer.ask("SHOW pgweir.token");
    pause_all(&sandbox);
    insert(&mut writer, 1);
    assert_eq!(reader.ask(COUNT), "0");
    let token = writer.extended("SHOW pgweir.token", &[]).text();
    let set = |token: &str| format!("SET pgweir.token = '{token}'");
    // A transaction whose snapshot was shown cannot leave its server. Another goes to one that has it.
    reader.ask("BEGIN READ ONLY");
    assert_eq!(reader.ask(COUNT), "0");
    reader.ask(&set(&token));
    assert_eq!(reader.ask(COUNT), "1");
    reader.ask("ROLLBACK");
    let mut reader = there.client("other", "postgres");
    reader.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    assert_eq!(reader.ask(COUNT), "0");
    let refused = reader.fail(&set(&token));
    assert_eq!(refused.code(), "55000");
    assert!(!refused.field('H').is_empty(), "{refused}");
    reader.ask("ROLLBACK");
    // One that it has reached may be set there; and a rollback undoes it.
    reader.ask("BEGIN READ ONLY");
    reader.ask(&set(&early));
    reader.ask("ROLLBACK");
    reader.ask("BEGIN");
    reader.ask(&set(&token));
    reader.ask("ROLLBACK");
    assert_eq!(reader.ask("SHOW pgweir.token").split('/').count(), 2);

    let mut reader = there.client("other", "postgres");
    assert_eq!(reader.ask(COUNT), "0");
    assert_eq!(reader.extended(&set(&token), &[]).failure, None);
    assert_eq!(reader.ask(COUNT), "1");
    assert_eq!(reader.extended(COUNT, &[]).text(), "1");
    reader.ask("BEGIN READ ONLY");
    assert_eq!(reader.ask(COUNT), "1");
    reader.ask("COMMIT");
    let why = reader.ask("EXPLAIN (ROUTE) SELECT 1");
    assert!(why.contains("not eligible: "), "{why}");
    resume_all(&sandbox);
    wait_for_replica_reads(&sandbox, &mut reader, COUNT);
    // A token of what is still to come is not reached by replicas that have all there is.
    reader.ask("SET pgweir.token = 'FFFF/0'");
    assert!(is_primary(&sandbox, &reader.where_ran(COUNT)));
    reader.ask("RESET pgweir.token");
    wait_for_replica_reads(&sandbox, &mut reader, COUNT);
    for wrong in ["nonsense", "1", "0/0/0", "0/123456789"] {
        let failure = reader.fail(&set(wrong));
        assert_eq!((failure.code(), failure.field('H').is_empty()), ("22023", false), "{failure}");
    }
}

/// An open transaction's own writes are in memory only, where no standby gets them.
#[test]
fn a_token_taken_beside_an_open_transaction_is_reached_soon() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let (mut open, mut client) = (weir.postgres(), weir.postgres());
    open.ask("BEGIN");
    insert(&mut open, 1);
    let token = client.ask("SHOW pgweir.token");
    client.ask(&format!("SET pgweir.token = '{token}'"));
    wait_for_replica_reads(&sandbox, &mut client, COUNT);
    open.ask("ROLLBACK");
}
