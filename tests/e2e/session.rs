//! What a client has said of its session follows it from server to server, and nobody else.

use std::thread;
use std::time::Duration;

use pgweir_sandbox::Node;
use tokio_postgres::NoTls;

use crate::harness::{
    Client, Message, SOON, Scratch, Weir, describe_error, prepare, servers_of, shared, until,
};

/// One server connection per node, for all clients of a database and user.
const ONE: &str = "pool.size = 1";

/// Two clients of a pool of one.
fn two(weir: &Weir, database: &str) -> (Client, Client) {
    (weir.client("postgres", database), weir.client("postgres", database))
}

#[test]
fn search_path_is_each_clients_own_over_one_server_connection() {
    let scratch = Scratch::new("session_search_path");
    scratch.prepare(
        "CREATE SCHEMA red; CREATE TABLE red.paint AS SELECT 'red' AS name;
         CREATE SCHEMA blue; CREATE TABLE blue.paint AS SELECT 'blue' AS name",
    );
    let weir = Weir::start(shared(), ONE);
    let (mut red, mut blue) = two(&weir, scratch.name());
    let mut neither = weir.client("postgres", scratch.name());
    red.ask("SET search_path = red");
    blue.extended("SET search_path TO blue, public", &[]);
    for _ in 0..5 {
        assert_eq!(red.ask("SELECT name FROM paint"), "red");
        assert_eq!(blue.ask("SELECT name FROM paint"), "blue");
        assert_eq!(red.extended("SELECT name FROM paint", &[]).text(), "red");
        assert_eq!(blue.extended("SELECT name FROM paint", &[]).text(), "blue");
        assert_eq!(neither.fail("SELECT name FROM paint").code(), "42P01");
        red.ask("UPDATE paint SET name = 'red'");
        blue.ask("UPDATE paint SET name = 'blue'");
        shared().wait_all_caught_up(SOON).unwrap();
    }
    red.ask("RESET search_path");
    assert_eq!(red.fail("SELECT name FROM paint").code(), "42P01");
    assert_eq!(blue.ask("SELECT name FROM paint"), "blue");
}

#[test]
fn every_kind_of_setting_follows_its_client_to_every_node() {
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, "postgres");
    let rows = [
        ("SET work_mem = '5MB'", "work_mem", "5MB"),
        ("SET TIME ZONE 'Asia/Shanghai'", "timezone", "Asia/Shanghai"),
        ("SET DateStyle = 'German, DMY'", "datestyle", "German, DMY"),
        ("SET NAMES 'LATIN1'", "client_encoding", "LATIN1"),
        ("SET SESSION statement_timeout TO '7s'", "statement_timeout", "7s"),
        ("SELECT set_config('application_name', 'it''s', false)", "application_name", "it's"),
        ("SET my.own = 'x\\y'", "my.own", "x\\y"),
        ("SET extra_float_digits = 0", "extra_float_digits", "0"),
    ];
    let usual: Vec<Option<String>> = rows
        .iter()
        .map(|(_, name, _)| {
            let shown = format!("SELECT current_setting('{name}', true)");
            other.query(&shown).rows[0][0].clone()
        })
        .collect();
    for (statement, ..) in rows {
        one.ask(statement);
    }
    for hint in ["primary", "replica"] {
        for ((_, name, value), usual) in rows.iter().zip(&usual) {
            let shown = format!("/* pgweir: {hint} */ SELECT current_setting('{name}', true)");
            assert_eq!(other.query(&shown).text(), usual.clone().unwrap_or_default(), "{name}");
            assert_eq!(one.ask(&shown), *value, "{name} on the {hint}");
        }
    }
    one.ask("RESET ALL");
    for ((_, name, _), usual) in rows.iter().zip(&usual) {
        let shown = format!("SELECT current_setting('{name}', true)");
        assert_eq!(one.query(&shown).text(), usual.clone().unwrap_or_default(), "{name}");
    }
}

#[test]
fn a_setting_that_is_set_in_halves_is_carried_whole() {
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, "postgres");
    one.ask("SET DateStyle = 'German'");
    one.ask("SET DateStyle = 'YMD'");
    for hint in ["primary", "replica", "primary"] {
        let shown = format!("/* pgweir: {hint} */ SELECT current_setting('DateStyle')");
        assert_eq!((one.ask(&shown), other.ask(&shown)), ("German, YMD".into(), "ISO, MDY".into()));
    }
}

#[test]
fn what_is_set_in_a_transaction_goes_with_it() {
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, "postgres");
    let mut both = |script: &[&str], want: &str| {
        for statement in script {
            one.query(statement);
        }
        // Whoever comes between must neither see nor disturb it.
        assert_eq!(other.ask("SELECT current_setting('work_mem')"), "4MB", "{script:?}");
        for hint in ["primary", "replica"] {
            let shown = format!("/* pgweir: {hint} */ SELECT current_setting('work_mem')");
            assert_eq!(one.ask(&shown), want, "{script:?} on the {hint}");
        }
    };
    both(&["BEGIN", "SET work_mem = '1MB'", "ROLLBACK"], "4MB");
    both(&["BEGIN", "SET LOCAL work_mem = '1MB'", "COMMIT"], "4MB");
    both(&["BEGIN", "SET work_mem = '2MB'", "COMMIT"], "2MB");
    both(&["BEGIN", "SET work_mem = '3MB'", "SELECT 1/0", "COMMIT"], "2MB");
    both(&["BEGIN", "RESET work_mem", "ROLLBACK"], "2MB");
    both(
        &[
            "BEGIN",
            "SET work_mem = '5MB'",
            "SAVEPOINT s",
            "SET work_mem = '6MB'",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        "5MB",
    );
    both(&["BEGIN", "SAVEPOINT s", "SET work_mem = '7MB'", "RELEASE s", "COMMIT"], "7MB");
    both(&["SET work_mem = '8MB'; SELECT 1/0"], "7MB");
    both(&["SET work_mem = '9MB'; SELECT 1"], "9MB");
    both(&["SET work_mem = 'no size'"], "9MB");
    both(&["BEGIN; SET work_mem = '10MB'", "ROLLBACK"], "9MB");
    both(&["BEGIN; RESET ALL; COMMIT"], "4MB");
    both(&["SET work_mem = '2MB'", "DISCARD ALL"], "4MB");
}

#[test]
fn roles_follow_their_client() {
    let scratch = Scratch::new("session_roles");
    scratch.prepare("CREATE ROLE helper NOLOGIN");
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, scratch.name());
    one.ask("SET ROLE helper");
    for hint in ["primary", "replica", "primary"] {
        let who = format!("/* pgweir: {hint} */ SELECT current_user");
        assert_eq!((one.ask(&who), other.ask(&who)), ("helper".to_owned(), "postgres".to_owned()));
    }
    one.ask("RESET ROLE");
    assert_eq!(one.ask("SELECT current_user"), "postgres");
    drop((one, other, weir));
    shared().primary().psql("DROP ROLE helper").unwrap();
}

#[test]
fn startup_parameters_and_options_are_the_clients_defaults() {
    let weir = Weir::start(shared(), ONE);
    let parameters = [
        ("application_name", "first"),
        ("DateStyle", "SQL, DMY"),
        ("options", "-c work_mem=5MB --statement-timeout=9s -c my.own=a\\ b"),
    ];
    let mut one = Client::connect(weir.port(), "postgres", "postgres", &parameters).unwrap();
    let mut other = weir.postgres();
    assert_eq!(one.parameters["application_name"], "first");
    assert_eq!(one.parameters["DateStyle"], "SQL, DMY");
    let all = "SELECT current_setting('application_name'), current_setting('DateStyle'),
                      current_setting('work_mem'), current_setting('statement_timeout'),
                      current_setting('my.own', true)";
    let (own, usual) = ("first|SQL, DMY|5MB|9s|a b", "|ISO, MDY|4MB|0|");
    for hint in ["primary", "replica", "primary", "replica"] {
        let all = format!("/* pgweir: {hint} */ {all}");
        assert_eq!((one.ask(&all), other.ask(&all)), (own.to_owned(), usual.to_owned()));
    }
    // What RESET goes back to is what the client started with.
    one.ask("SET work_mem = '1MB'; SET application_name = 'later'");
    one.ask("RESET ALL");
    assert_eq!((one.ask(all), other.ask(all)), (own.to_owned(), usual.to_owned()));
    one.ask("SET application_name = 'later'");
    one.ask("DISCARD ALL");
    assert_eq!((one.ask(all), other.ask(all)), (own.to_owned(), usual.to_owned()));
}

#[test]
fn a_startup_parameter_that_the_server_refuses_ends_the_login_in_its_words() {
    let weir = Weir::start(shared(), "");
    let rows: [&[(&str, &str)]; 4] = [
        &[("work_mem", "much")],
        &[("no_such_setting", "1")],
        &[("options", "-c no_such_setting=1")],
        &[("client_encoding", "KLINGON")],
    ];
    for parameters in rows {
        let port = shared().primary().port();
        let login = |port| Client::connect(port, "postgres", "postgres", parameters).unwrap_err();
        let (direct, through) = (login(port), login(weir.port()));
        assert_eq!(
            (direct.code(), direct.message(), direct.field('S')),
            (through.code(), through.message(), through.field('S')),
            "{parameters:?}"
        );
    }
}

#[test]
fn changed_parameters_are_reported_to_the_client_that_changed_them() {
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, "postgres");
    let reply = one.query("SET application_name = 'told'");
    assert_eq!(reply.parameters, [("application_name".to_owned(), "told".to_owned())]);
    // The other's statement moves the same server connection back: neither must hear of it.
    assert_eq!(other.query("SELECT pg_is_in_recovery()").parameters, []);
    assert_eq!(one.query("SELECT pg_is_in_recovery()").parameters, []);
    assert_eq!(other.query("SELECT 1").parameters, []);
    assert_eq!(one.query("SELECT 1").parameters, []);
}

// ---- what cannot be carried pins ----

/// Does `pinning` in one client: its own later statement must find the state, another client must
/// get a server connection all the same, and find nothing of it.
fn pins(scratch: &Scratch, pinning: &[&str], own: (&str, &str), others: (&str, &str)) {
    let weir = Weir::start(shared(), "pool.size = 2");
    let (mut one, mut other) = two(&weir, scratch.name());
    for statement in pinning {
        one.ask(statement);
    }
    for _ in 0..3 {
        assert_eq!(other.ask(others.0), others.1, "another client after {pinning:?}");
        assert_eq!(one.ask(own.0), own.1, "after {pinning:?}");
    }
    // Its leaving must take the state along.
    one.leave();
    for _ in 0..3 {
        assert_eq!(other.ask(others.0), others.1, "after the client of {pinning:?} has left");
    }
}

const TEMPORARY_TABLES: &str =
    "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relname = 'session_temporary'";

#[test]
fn temporary_tables_pin_and_are_nobody_elses() {
    let scratch = Scratch::new("session_temporary");
    for statement in [
        "CREATE TEMP TABLE session_temporary AS SELECT 7 AS a",
        "CREATE TEMPORARY TABLE session_temporary (a int); INSERT INTO session_temporary VALUES (7)",
        "SELECT 7 AS a INTO TEMP session_temporary",
        "CREATE TABLE pg_temp.session_temporary AS SELECT 7 AS a",
        "DO $$ BEGIN CREATE TEMP TABLE session_temporary AS SELECT 7 AS a; END $$",
    ] {
        let others = "/* pgweir: primary */ SELECT to_regclass('session_temporary') IS NULL";
        pins(&scratch, &[statement], ("SELECT a FROM session_temporary", "7"), (others, "t"));
        until("the temporary table to be gone", SOON, || {
            let left = shared().primary().psql_in(scratch.name(), TEMPORARY_TABLES).unwrap();
            if left == "0" { Ok(()) } else { Err(left) }
        });
    }
}

#[test]
fn advisory_locks_exclude_and_go_with_their_client() {
    let scratch = Scratch::new("session_advisory");
    let others = "SELECT pg_try_advisory_xact_lock(4711)";
    let own = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid()";
    let weir = Weir::start(shared(), "pool.size = 2");
    let (mut one, mut other) = two(&weir, scratch.name());
    one.ask("SELECT pg_advisory_lock(4711)");
    for _ in 0..3 {
        assert_eq!(other.ask(others), "f");
        assert_eq!(one.ask(own), "1");
    }
    one.leave();
    until("the lock to be free", SOON, || match other.ask(others).as_str() {
        "t" => Ok(()),
        held => Err(held.to_owned()),
    });
}

#[test]
fn cursors_with_hold_outlive_their_transaction() {
    let scratch = Scratch::new("session_cursor");
    let declare = "DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 100)";
    let others = ("/* pgweir: primary */ SELECT count(*) FROM pg_cursors", "0");
    pins(&scratch, &["BEGIN", declare, "COMMIT"], ("MOVE 1 FROM held; SELECT 1", "1"), others);
    let weir = Weir::start(shared(), "pool.size = 2");
    let (mut one, mut other) = two(&weir, scratch.name());
    one.ask(&format!("BEGIN; {declare}; COMMIT"));
    for row in ["1", "2", "3"] {
        assert_eq!(other.fail("FETCH 1 FROM held").code(), "34000");
        assert_eq!(one.ask("FETCH 1 FROM held"), row);
    }
}

#[test]
fn a_listener_hears_notifications_while_it_is_idle() {
    let scratch = Scratch::new("session_listen");
    let weir = Weir::start(shared(), "pool.size = 2");
    let (mut listener, mut notifier) = two(&weir, scratch.name());
    listener.ask("LISTEN bell");
    notifier.ask("NOTIFY bell, 'rung'");
    let frame = listener.wire.frame().unwrap();
    assert_eq!(frame.tag, b'A');
    assert!(frame.body.ends_with(b"bell\0rung\0"), "{frame:?}");
    listener.ask("SELECT pg_notify('bell', 'self')");
    listener.ask("UNLISTEN *");
    notifier.ask("NOTIFY bell, 'unheard'");
    // Whatever had been sent to the listener would be read with this reply.
    let reply = listener.query("SELECT pg_is_in_recovery()");
    assert_eq!(reply.notifications, []);
    assert!(!listener.wire.hears_something(std::time::Duration::from_millis(100)));
}

#[test]
fn sql_prepared_statements_follow_their_client() {
    let scratch = Scratch::new("session_prepare");
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, scratch.name());
    one.ask("PREPARE same AS SELECT 'one'");
    other.ask("PREPARE same(int) AS SELECT 'other' || $1");
    for _ in 0..3 {
        assert_eq!(one.ask("EXECUTE same"), "one");
        assert_eq!(other.ask("EXECUTE same(1)"), "other1");
    }
    assert_eq!(one.ask("SELECT name FROM pg_prepared_statements WHERE from_sql"), "same");
    one.ask("DEALLOCATE same");
    assert_eq!(one.fail("EXECUTE same").code(), "26000");
    assert_eq!(other.ask("EXECUTE same(2)"), "other2");
    // What it executes decides where it runs.
    let primary = shared().primary().name().to_owned();
    one.ask("CREATE TABLE kept (a int)");
    one.ask("PREPARE writes(int) AS INSERT INTO kept VALUES ($1)");
    one.ask("EXECUTE writes(1)");
    assert_eq!(one.ask("SELECT a FROM kept"), "1");
    one.ask("PREPARE everywhere AS SELECT count(*) FROM kept");
    until("a read on a replica", SOON, || {
        assert_eq!(one.ask("EXECUTE everywhere"), "1");
        let node = one.last_node();
        if node == primary { Err(node) } else { Ok(()) }
    });
    one.ask("DEALLOCATE ALL");
    assert_eq!(one.fail("EXECUTE writes(2)").code(), "26000");
}

#[test]
fn a_drawn_value_is_the_clients_own_or_none_at_all() {
    let scratch = Scratch::new("session_sequence");
    scratch.prepare("CREATE SEQUENCE s; CREATE TABLE item (id serial, name text)");
    let weir = Weir::start(shared(), "pool.size = 3");
    let refusals: usize = thread::scope(|scope| {
        let work = || {
            let mut client = weir.client("postgres", scratch.name());
            let mut refused = 0;
            for _ in 0..50 {
                let drawn = client.ask("SELECT nextval('s')");
                let recalled = client.query("SELECT currval('s')");
                match &recalled.failure {
                    None => assert_eq!(recalled.text(), drawn),
                    Some(failure) => {
                        assert_eq!(failure.code(), "55000");
                        assert!(failure.to_string().contains("RETURNING"), "{failure:?}");
                        refused += 1;
                    }
                }
                client.ask("SELECT 1");
                client.ask("BEGIN");
                let drawn = client.ask("INSERT INTO item (name) VALUES ('x') RETURNING id");
                assert_eq!(client.ask("SELECT lastval()"), drawn);
                client.ask("COMMIT");
            }
            refused
        };
        let workers: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(refusals <= 6, "{refusals}: a client is refused the first time at most");
    let mut client = weir.client("postgres", scratch.name());
    client.ask("SELECT nextval('s')");
    client.ask("DISCARD SEQUENCES");
    assert_eq!(client.fail("SELECT currval('s')").code(), "55000");
}

const RUNS_ANYTHING: &str =
    "CREATE FUNCTION f(sql text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE sql; END$$";

#[test]
fn settings_whose_names_no_code_spells_are_nobody_elses() {
    let scratch = Scratch::new("session_unlisted");
    scratch.prepare(RUNS_ANYTHING);
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, scratch.name());
    one.query("DO $$BEGIN PERFORM set_config('app.' || 'tail', 'secret', false); END$$");
    one.ask("DISCARD ALL");
    one.query("SELECT f('SELECT set_config(''app.'' || ''rest'', ''secret'', false)')");
    for name in ["app.tail", "app.rest"] {
        let ask = format!("/* pgweir: primary */ SELECT current_setting('{name}', true)");
        assert_eq!(other.ask(&ask), "", "{name}");
    }
}

#[test]
fn what_code_does_out_of_sight_is_kept_and_leaks_to_nobody() {
    let scratch = Scratch::new("session_hidden");
    scratch.prepare(RUNS_ANYTHING);
    let weir = Weir::start(shared(), "pool.size = 1\npool.checkout_timeout = \"10s\"");
    let (mut one, mut other) = two(&weir, scratch.name());
    let tenant = "SELECT current_setting('app.tenant', true)";
    let rows = [
        ("DO $$BEGIN SET work_mem = '7MB'; END$$", "SHOW work_mem", "7MB", "4MB"),
        ("SELECT f('SET work_mem = ''8MB''')", "SHOW work_mem", "8MB", "4MB"),
        ("SELECT f('SET ROLE pg_monitor')", "SELECT current_user", "pg_monitor", "postgres"),
        ("RESET ROLE", "SELECT current_user", "postgres", "postgres"),
        ("DO $$BEGIN PERFORM set_config('app.tenant', '7', false); END$$", tenant, "7", ""),
        (
            "SELECT set_config('app.tenant', n::text, false) FROM generate_series(1, 3) n",
            tenant,
            "3",
            "",
        ),
        ("SELECT f('RESET ALL')", "SHOW work_mem", "4MB", "4MB"),
    ];
    for (change, ask, own, others) in rows {
        one.query(change);
        for _ in 0..2 {
            assert_eq!(other.ask(ask), others, "{change}");
            assert_eq!(one.ask(ask), own, "{change}");
        }
    }
    // What cannot be carried binds, and lets go when it is gone.
    let rows = [
        ("SELECT f('CREATE TEMP TABLE t (a int)')", "DROP TABLE t"),
        ("CREATE TEMP VIEW v AS SELECT 1", "SELECT f('DROP VIEW v')"),
        ("DO $$BEGIN PERFORM pg_advisory_lock(4713); END$$", "SELECT pg_advisory_unlock(4713)"),
        ("SELECT f('PREPARE hidden AS SELECT 1')", "DEALLOCATE ALL"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE c"),
    ];
    for (pin, release) in rows {
        assert_eq!(one.query(pin).failure, None, "{pin}");
        other.wire.send(&Message::new().query("SELECT pg_is_in_recovery()"));
        one.ask("SELECT 1");
        assert!(!other.wire.hears_something(Duration::from_millis(50)), "{pin}");
        one.query(release);
        assert_eq!(other.reply().failure, None, "{release}");
    }
    // LISTEN binds too, but beside the pool.
    let backend = "/* pgweir: primary */ SELECT pg_backend_pid()";
    let rows = [
        ("SELECT f('LISTEN bell')", "SELECT f('UNLISTEN bell')"),
        ("LISTEN bell", "UNLISTEN bell"),
    ];
    for (pin, release) in rows {
        assert_eq!(one.query(pin).failure, None, "{pin}");
        assert_ne!(other.ask(backend), one.ask(backend), "{pin}");
        one.query(release);
        assert_eq!(other.ask(backend), one.ask(backend), "{release}");
    }
}

/// What a role tries to set and may not is nobody's setting; what it has had set for it by a function
/// with more rights, it can neither set elsewhere nor undo for the next client.
#[test]
fn what_a_client_may_not_set_is_nobody_elses_trouble() {
    let scratch = Scratch::new("session_not_allowed");
    scratch.prepare(
        "CREATE TABLE t AS SELECT 1 AS a;
         GRANT SELECT ON t TO PUBLIC;
         CREATE FUNCTION loud() RETURNS text LANGUAGE sql SECURITY DEFINER
             AS $$SELECT set_config('log_statement', 'all', false)$$",
    );
    let weir = Weir::start(shared(), ONE);
    let client = || weir.client("app", scratch.name());
    let (mut one, mut other) = (client(), client());
    for name in ["log_statement", "session_replication_role", "server_version", "lc_messages"] {
        let sql = format!("SELECT 1 WHERE set_config('{name}', 'x', false) IS NOT NULL");
        assert!(one.query(&sql).failure.is_some(), "{name}");
        for client in [&mut other, &mut one] {
            assert_eq!(client.ask("SELECT a FROM t"), "1", "{name}");
            assert_eq!(client.ask("/* pgweir: primary */ SELECT a FROM t"), "1", "{name}");
        }
    }
    drop(weir);
    let weir = Weir::start(shared(), "pool.size = 2");
    let client = || weir.client("app", scratch.name());
    let (mut one, mut other) = (client(), client());
    assert_eq!(one.ask("SELECT loud()"), "all");
    for _ in 0..3 {
        assert_eq!(one.ask("SELECT current_setting('log_statement'), a FROM t"), "all|1");
        assert_eq!(other.ask("SELECT a FROM t"), "1");
        assert_eq!(other.ask("SELECT current_setting('log_statement'), a FROM t"), "none|1");
        assert_eq!(client().ask("SELECT a FROM t"), "1");
    }
}

#[test]
fn a_released_pin_gives_the_server_connection_back() {
    let weir = Weir::start(shared(), "pool.size = 1\npool.checkout_timeout = \"10s\"");
    let (mut one, mut other) = two(&weir, "postgres");
    let rows = [
        ("LISTEN bell", "UNLISTEN *"),
        ("SELECT pg_advisory_lock(4712)", "SELECT pg_advisory_unlock_all()"),
        ("CREATE TEMP TABLE session_released (a int)", "DISCARD TEMP"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE ALL"),
        ("CREATE TEMP TABLE session_released (a int)", "DISCARD ALL"),
    ];
    for (pin, release) in rows {
        one.ask(pin);
        let mut waiting = Message::new().query("SELECT pg_is_in_recovery()");
        other.wire.send(&std::mem::take(&mut waiting));
        one.ask("SELECT 1");
        one.ask(release);
        assert_eq!(other.reply().text(), "f", "{pin}, {release}");
    }
}

// ---- protocol-level prepared statements ----

#[test]
fn a_statement_whose_table_has_changed_can_be_prepared_again() {
    let scratch = Scratch::new("session_table_changes");
    scratch.prepare("CREATE TABLE thing AS SELECT 1 AS id");
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, scratch.name());
    let text = "/* pgweir: primary */ SELECT * FROM thing";
    let run = || Message::new().parse("s", text).bind("", "s", &[]).execute("", 0).sync();
    one.wire.send(&run());
    assert_eq!(one.reply().text(), "1");
    other.ask("ALTER TABLE thing ADD COLUMN name text DEFAULT 'new'");
    // As on a direct connection, who had it prepared hears of it and prepares it again.
    one.wire.send(&Message::new().bind("", "s", &[]).execute("", 0).sync());
    assert_eq!(one.reply().failure.unwrap().code(), "0A000");
    one.wire.send(&Message::new().close(b'S', "s").sync());
    assert_eq!(one.reply().failure, None);
    one.wire.send(&run());
    assert_eq!(one.reply().text(), "1|new");
    other.wire.send(&run());
    assert_eq!(other.reply().text(), "1|new");
}

#[test]
fn a_statement_whose_table_changes_fails_as_on_a_direct_connection_wherever_it_runs() {
    let scratch = Scratch::new("session_result_changes");
    scratch.prepare("CREATE TABLE thing AS SELECT 1 AS id");
    let weir = Weir::start(shared(), "pool.size = 4\nrouting.reads = \"primary\"");
    let (mut old, mut other) = two(&weir, scratch.name());
    let prepare = || Message::new().parse("s", "SELECT * FROM thing").describe(b'S', "s").sync();
    let run = || Message::new().bind("", "s", &[]).execute("", 0).sync();
    old.wire.send(&prepare());
    assert_eq!(old.reply().columns, ["id"]);
    other.ask("ALTER TABLE thing ADD COLUMN name text DEFAULT 'new'");
    // Others hold connections that know the statement, and such that do not.
    let mut holders = [other, weir.client("postgres", scratch.name())];
    for held in 0..=holders.len() {
        for holder in &mut holders[..held] {
            holder.ask("BEGIN");
        }
        old.wire.send(&run());
        assert_eq!(old.reply().failure.unwrap().code(), "0A000", "{held}");
        let mut new = weir.client("postgres", scratch.name());
        new.wire.send(&prepare());
        assert_eq!(new.reply().columns, ["id", "name"], "{held}");
        new.wire.send(&run());
        assert_eq!(new.reply().text(), "1|new", "{held}");
        for holder in &mut holders[..held] {
            holder.ask("COMMIT");
        }
    }
    old.wire.send(&Message::new().close(b'S', "s").sync());
    assert_eq!(old.reply().failure, None);
    old.wire.send(&prepare());
    assert_eq!(old.reply().columns, ["id", "name"]);
    old.wire.send(&run());
    assert_eq!(old.reply().text(), "1|new");
}

#[test]
fn two_clients_use_the_same_statement_name_for_different_texts_over_one_connection() {
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, "postgres");
    let prepare = |text: &str| Message::new().parse("s", text).describe(b'S', "s").sync();
    one.wire.send(&prepare("SELECT 'one', $1::int"));
    other.wire.send(&prepare("SELECT 'other', $1::text, 3"));
    assert_eq!(one.reply().columns.len(), 2);
    assert_eq!(other.reply().columns.len(), 3);
    let execute = |value: &str| Message::new().bind("", "s", &[value]).execute("", 0).sync();
    for _ in 0..5 {
        one.wire.send(&execute("1"));
        other.wire.send(&execute("2"));
        assert_eq!(one.reply().text(), "one|1");
        assert_eq!(other.reply().text(), "other|2|3");
    }
    // The name is free after Close, and taken before.
    one.wire.send(&Message::new().parse("s", "SELECT 1").sync());
    assert_eq!(one.reply().failure.unwrap().code(), "42P05");
    one.wire.send(&Message::new().close(b'S', "s").parse("s", "SELECT 'new'").sync());
    assert_eq!(one.reply().failure, None);
    one.wire.send(&Message::new().bind("", "s", &[]).execute("", 0).sync());
    assert_eq!(one.reply().text(), "new");
    one.wire.send(&Message::new().bind("", "never", &[]).execute("", 0).sync());
    let missing = one.reply().failure.unwrap();
    assert_eq!(
        (missing.code(), missing.message()),
        ("26000", "prepared statement \"never\" does not exist")
    );
    other.wire.send(&execute("4"));
    assert_eq!(other.reply().text(), "other|4|3");
}

#[test]
fn more_statements_than_a_server_connection_keeps_all_work() {
    let weir = Weir::start(shared(), "pool.size = 1\npool.prepared_statements = 5");
    let mut client = weir.postgres();
    for number in 0..20 {
        let name = format!("s{number}");
        client.wire.send(&Message::new().parse(&name, &format!("SELECT {number}, $1::int")).sync());
        assert_eq!(client.reply().failure, None);
    }
    for round in 0..3 {
        for number in 0..20 {
            let bind = Message::new().bind("", &format!("s{number}"), &["7"]).execute("", 0).sync();
            client.wire.send(&bind);
            assert_eq!(client.reply().text(), format!("{number}|7"), "round {round}");
        }
    }
    // Said so that nobody reads it: who lists statements is shown its own.
    let kept = "/* pgweir: primary */ SELECT (xpath('//count/text()', \
                query_to_xml('SELECT count(*) FROM pg_prepared_statements', true, true, '')))[1]";
    let kept: usize = client.ask(kept).parse().unwrap();
    assert!(kept <= 5, "{kept} statements are kept");
}

#[tokio::test]
async fn drivers_that_prepare_share_one_server_connection() {
    let scratch = Scratch::new("session_driver");
    scratch.prepare("CREATE TABLE item (id int PRIMARY KEY, name text)");
    let weir = Weir::start(shared(), ONE);
    let worker = async |number: i32, conninfo: String| -> Result<i64, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await?;
        tokio::spawn(connection);
        let insert = client.prepare("INSERT INTO item VALUES ($1, $2)").await?;
        let select = client.prepare("SELECT name FROM item WHERE id = $1").await?;
        for step in 0..20 {
            let id = number * 1000 + step;
            client.execute(&insert, &[&id, &format!("item {id}")]).await?;
            let row = client.query_one(&select, &[&id]).await?;
            assert_eq!(row.get::<_, String>(0), format!("item {id}"));
        }
        let count = "SELECT count(*) FROM item WHERE id / 1000 = $1";
        Ok(client.query_one(count, &[&number]).await?.get(0))
    };
    let conninfo = weir.conninfo("postgres", scratch.name());
    let workers: Vec<_> =
        (0..4).map(|number| tokio::spawn(worker(number, conninfo.clone()))).collect();
    for worker in workers {
        let count = worker.await.unwrap().map_err(|error| describe_error(&error));
        assert_eq!(count, Ok(20));
    }
    for (node, servers) in servers_of(shared(), "postgres", scratch.name()).iter().enumerate() {
        assert!(*servers <= 1, "{servers} connections to node {node}");
    }
}

#[test]
fn a_statement_whose_result_changes_is_prepared_anew_by_name() {
    let scratch = Scratch::new("session_altered");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), ONE);
    let (mut one, mut other) = two(&weir, scratch.name());
    let run = Message::new()
        .parse("", "SELECT * FROM item")
        .bind("", "", &[])
        .describe(b'P', "")
        .execute("", 0)
        .sync();
    one.wire.send(&run);
    assert_eq!(one.reply().columns, ["id"]);
    other.ask("ALTER TABLE item ADD COLUMN name text");
    shared().wait_all_caught_up(SOON).unwrap();
    one.wire.send(&run);
    let reply = one.reply();
    assert_eq!((reply.failure, reply.columns), (None, vec!["id".to_owned(), "name".to_owned()]));
}

// ---- session mode ----

#[test]
fn session_mode_keeps_a_server_connection_for_as_long_as_the_client_stays() {
    let scratch = Scratch::new("session_mode");
    let weir = Weir::start(shared(), "pool.mode = \"session\"\npool.size = 2");
    let (mut one, mut other) = two(&weir, scratch.name());
    let pid = "/* pgweir: primary */ SELECT pg_backend_pid()";
    let (first, second) = (one.ask(pid), other.ask(pid));
    assert_ne!(first, second);
    for _ in 0..3 {
        assert_eq!((one.ask(pid), other.ask(pid)), (first.clone(), second.clone()));
    }
    one.ask("CREATE TEMP TABLE session_kept (a int)");
    one.ask("SET work_mem = '5MB'");
    one.leave();
    // The third client gets what the first has left, clean.
    let mut third = weir.client("postgres", scratch.name());
    assert_eq!(third.ask("SELECT to_regclass('session_kept') IS NULL"), "t");
    assert_eq!(third.ask("SHOW work_mem"), "4MB");
}

// ---- transactions ----

#[test]
fn a_transaction_stays_where_it_began_while_others_work() {
    let scratch = Scratch::new("session_transaction");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), "pool.size = 3");
    thread::scope(|scope| {
        for number in 0..6 {
            let (weir, scratch) = (&weir, &scratch);
            scope.spawn(move || {
                let mut client = weir.client("postgres", scratch.name());
                for _ in 0..10 {
                    client.ask("BEGIN");
                    let pid = client.ask("SELECT pg_backend_pid()");
                    client.ask(&format!("INSERT INTO item VALUES ({number})"));
                    assert_eq!(client.ask("SELECT pg_backend_pid()"), pid);
                    client.ask(if number % 2 == 0 { "COMMIT" } else { "ROLLBACK" });
                }
            });
        }
    });
    let count = "SELECT count(*), count(*) FILTER (WHERE id % 2 = 1) FROM item";
    let primary: &Node = shared().primary();
    assert_eq!(primary.psql_in(scratch.name(), count).unwrap(), "30|0");
}

#[test]
fn a_client_that_vanishes_in_a_transaction_leaves_nothing_to_the_next() {
    let scratch = Scratch::new("session_vanished");
    prepare(shared(), "SELECT 1");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), ONE);
    let mut gone = weir.client("postgres", scratch.name());
    gone.ask("BEGIN");
    gone.ask("INSERT INTO item VALUES (1)");
    gone.ask("SET work_mem = '5MB'");
    drop(gone);
    let mut next = weir.client("postgres", scratch.name());
    assert_eq!(
        next.ask("/* pgweir: primary */ SELECT count(*), current_setting('work_mem') FROM item"),
        "0|4MB"
    );
}
