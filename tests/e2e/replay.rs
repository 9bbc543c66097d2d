//! Reads that fail through no fault of their own run again elsewhere, and their clients notice nothing.

use std::process::Command;
use std::thread;
use std::time::Duration;

use pgweir_sandbox::{Node, Sandbox, StopMode};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Message, Reply, SOON, Weir, describe_error, prepare, run, runner_of, until};

/// Takes long enough for its server to be taken away meanwhile.
const LONG_READ: &str = "SELECT count(*), pg_sleep(1.5) FROM item";

/// Long enough for a program to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Seconds that pgbench runs in each query mode.
const BENCH_SECONDS: &str = "3";

fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder().setting("max_standby_streaming_delay", "0").start().unwrap();
    prepare(&sandbox, "CREATE TABLE item (id int PRIMARY KEY)");
    prepare(&sandbox, "INSERT INTO item SELECT generate_series(1, 10)");
    sandbox
}

/// Kills the replica under a long read; the read goes on as if nothing had happened.
fn survives<T: Send>(sandbox: &Sandbox, weir: &Weir, read: impl FnOnce() -> T + Send) -> T {
    weir.wait_for_replicas(2);
    let (answer, killed) = thread::scope(|scope| {
        let reading = scope.spawn(read);
        let killed = runner_of(sandbox, "pg_sleep(1.5)");
        assert_ne!(killed.address(), sandbox.primary().address());
        killed.kill().unwrap();
        (reading.join().unwrap(), killed)
    });
    killed.start().unwrap();
    answer
}

#[track_caller]
fn check_count(reply: &Reply, rows: usize) {
    assert_eq!(reply.failure, None);
    let counts: Vec<_> = reply.rows.iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!((counts, reply.status), (vec!["10".to_owned(); rows], 'I'));
}

fn replays(weir: &Weir, cause: &str) -> f64 {
    weir.metrics().sum("pgweir_replays_total", &[&format!("cause=\"{cause}\"")])
}

#[test]
fn a_read_on_a_killed_replica_is_answered_by_another_node() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();

    check_count(&survives(&sandbox, &weir, || client.query(LONG_READ)), 1);
    assert_eq!(replays(&weir, "lost"), 1.0);

    check_count(&survives(&sandbox, &weir, || client.extended(LONG_READ, &[])), 1);

    // Prepared in this very pipeline, which is sent again from its beginning.
    let pipeline = Message::new()
        .parse("first", "SELECT count(*) FROM item WHERE id < $1::int")
        .describe(b'S', "first")
        .bind("", "first", &["100"])
        .execute("", 0)
        .run(LONG_READ, &[])
        .sync();
    let reply = survives(&sandbox, &weir, || {
        client.wire.send(&pipeline);
        client.reply()
    });
    // The first answer was on its way when its server was killed, and was not out yet.
    check_count(&reply, 2);
    client.wire.send(&Message::new().bind("", "first", &["100"]).execute("", 0).sync());
    check_count(&client.reply(), 1);

    // Prepared before; two pipelines under way.
    let read = Message::new().bind("", "first", &["100"]).execute("", 0).sync();
    let both = read.run(LONG_READ, &[]).sync();
    let replies = survives(&sandbox, &weir, || {
        client.wire.send(&both);
        [client.reply(), client.reply()]
    });
    replies.iter().for_each(|reply| check_count(reply, 1));
}

#[test]
fn drivers_do_not_notice_that_a_replica_is_killed() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let conninfo = weir.conninfo("postgres", "postgres");
    let count = survives(&sandbox, &weir, || read_by_tokio_postgres(&conninfo));
    assert_eq!(count, Ok(10));

    let python = "/usr/bin/python3";
    let imports = Command::new(python).args(["-c", "import psycopg"]).output();
    if !imports.is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED psycopg: install python3-psycopg");
    }
    let program = format!(
        "import psycopg
with psycopg.connect('{conninfo}', autocommit=True) as connection:
    connection.prepare_threshold = 0
    print(connection.execute(\"{LONG_READ}\").fetchone()[0])"
    );
    let mut command = Command::new(python);
    command.args(["-c", &program]);
    let finished = survives(&sandbox, &weir, || run(&mut command, "", PATIENCE));
    assert_eq!(finished.expect_success(), "10\n");
}

fn read_by_tokio_postgres(conninfo: &str) -> Result<i64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connected = tokio_postgres::connect(conninfo, tokio_postgres::NoTls).await;
        let (client, connection) = connected.map_err(|error| describe_error(&error))?;
        let connection = tokio::spawn(connection);
        // Its pg_sleep yields a type that the driver knows no value of.
        let sql = format!("SELECT count FROM ({LONG_READ}) AS slow");
        let row = client.query_one(&sql, &[]).await.map_err(|error| describe_error(&error))?;
        connection.abort();
        Ok(row.get(0))
    })
}

#[test]
fn what_has_begun_to_arrive_or_has_one_snapshot_is_lost_with_its_replica() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "routing.read_functions = [\"slow\"]");
    let mut client = weir.postgres();
    client.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    client.ask("SELECT count(*) FROM item");
    let reply = survives(&sandbox, &weir, || client.query(LONG_READ));
    let failure = reply.failure.expect("an error");
    assert_eq!((failure.code(), reply.status), ("08006", 'E'), "{failure}");
    client.ask("ROLLBACK");
    // A notice is out at once, and part of the answer.
    prepare(
        &sandbox,
        "CREATE FUNCTION slow() RETURNS int STABLE LANGUAGE plpgsql
         AS 'BEGIN RAISE NOTICE ''halfway''; PERFORM pg_sleep(1.5); RETURN 1; END'",
    );
    let reply =
        survives(&sandbox, &weir, || client.query("SELECT slow() /* as long as pg_sleep(1.5) */"));
    let failure = reply.failure.expect("an error");
    assert_eq!((reply.notices.len(), failure.code(), reply.status), (1, "08006", 'I'));
    assert_eq!(client.ask("SELECT count(*) FROM item"), "10");
}

/// Runs pgbench's reads in one query mode while something happens; no client may see an error.
fn bench(sandbox: &Sandbox, weir: &Weir, mode: &str, happens: impl FnOnce() + Send) {
    let mut pgbench = sandbox.program("pgbench");
    pgbench.args(["-h", "127.0.0.1", "-p", &weir.port().to_string(), "-U", "postgres"]);
    pgbench.args(["-n", "-S", "-c", "8", "-T", BENCH_SECONDS, "-M", mode, "postgres"]);
    let finished = thread::scope(|scope| {
        let working = scope.spawn(|| run(&mut pgbench, "", PATIENCE));
        let reads = || weir.queries(sandbox, "read").iter().sum::<f64>();
        let before = reads();
        until("reads", SOON, || if reads() > before + 20.0 { Ok(()) } else { Err(reads()) });
        happens();
        working.join().unwrap()
    });
    assert!(!finished.stderr.contains("ERROR"), "{mode}: {}", finished.stderr);
    let printed = finished.expect_success();
    assert!(printed.contains("number of failed transactions: 0 "), "{mode}: {printed}");
}

/// A server that shuts down smartly takes no new connections, and waits for those that there are.
fn begin_smart_shutdown(node: &Node) {
    let pid = Pid::from_raw(i32::try_from(node.pid().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[test]
fn replicas_that_are_shut_down_or_killed_cost_no_read() {
    let sandbox = cluster();
    let mut pgbench = sandbox.program("pgbench");
    pgbench.args(["-h", "127.0.0.1", "-p", &sandbox.primary().port().to_string()]);
    pgbench.args(["-U", "postgres", "-i", "-q", "postgres"]);
    run(&mut pgbench, "", PATIENCE).expect_success();
    sandbox.wait_all_caught_up(SOON).unwrap();
    let weir = Weir::start(&sandbox, "");
    for mode in ["simple", "extended", "prepared"] {
        let replicas = [sandbox.replica(0), sandbox.replica(1)];
        weir.wait_for_replicas(2);
        bench(&sandbox, &weir, mode, || {
            replicas[0].stop(StopMode::Fast).unwrap();
            replicas[0].start().unwrap();
            weir.wait_for_replicas(2);
            replicas[1].kill().unwrap();
            replicas[1].start().unwrap();
        });
        weir.wait_for_replicas(2);
        bench(&sandbox, &weir, mode, || begin_smart_shutdown(replicas[0]));
        replicas[0].stop(StopMode::Fast).unwrap();
        replicas[0].start().unwrap();
    }
}

#[test]
fn a_read_cancelled_by_a_recovery_conflict_is_answered_by_the_primary() {
    let sandbox = cluster();
    let weir = Weir::start(&sandbox, "");
    let mut client = weir.postgres();
    for (round, by_extended) in [(1.0, false), (2.0, true)] {
        let reply = thread::scope(|scope| {
            let reading = scope.spawn(|| match by_extended {
                true => client.extended(LONG_READ, &[]),
                false => client.query(LONG_READ),
            });
            let replica = runner_of(&sandbox, "pg_sleep(1.5)");
            assert_ne!(replica.address(), sandbox.primary().address());
            sandbox.primary().psql("UPDATE item SET id = id").unwrap();
            sandbox.primary().psql("VACUUM item").unwrap();
            reading.join().unwrap()
        });
        check_count(&reply, 1);
        assert_eq!(replays(&weir, "conflict"), round);
        assert_eq!(client.last_node(), sandbox.primary().address());
    }
}

/// Functions that the operator vouches for, wrongly.
const VOUCHED: &str = "routing.read_functions = [\"draw\", \"note\"]\n";

fn vouched_cluster() -> Sandbox {
    let sandbox = cluster();
    prepare(&sandbox, "CREATE SEQUENCE drawn");
    let draw =
        "CREATE FUNCTION draw(int) RETURNS bigint LANGUAGE sql AS 'SELECT nextval(''drawn'')'";
    prepare(&sandbox, draw);
    let note = "CREATE FUNCTION note(int) RETURNS int LANGUAGE plpgsql
                AS 'BEGIN INSERT INTO item VALUES ($1); RETURN $1; END'";
    prepare(&sandbox, note);
    sandbox
}

#[test]
fn what_a_replica_refuses_the_primary_runs_and_goes_on_running() {
    let sandbox = vouched_cluster();
    let weir = Weir::start(&sandbox, VOUCHED);
    let heals = || weir.metrics().sum("pgweir_self_heals_total", &[]);
    let mut client = weir.postgres();
    assert_eq!(client.ask("SELECT draw(1)"), "1");
    assert_eq!(client.last_node(), sandbox.primary().address());
    assert_eq!(heals(), 1.0);
    // From now on it goes there at once, for whoever asks, whatever the argument is.
    assert_eq!(client.ask("SELECT draw(2)"), "2");
    assert_eq!(weir.postgres().ask("SELECT draw(3)"), "3");
    assert_eq!(heals(), 1.0);
    assert_eq!(sandbox.primary().psql("SELECT last_value FROM drawn").unwrap(), "3");
    let told = client.ask("EXPLAIN (ROUTE) SELECT draw(4)");
    assert!(told.contains("target|primary") && told.contains("reason|self_heal"), "{told}");
    let log = weir.log();
    assert_eq!(log.matches("a replica refuses").count(), 1, "{log}");

    // By the extended protocol, prepared, in a pipeline; it sees its own writes, as no replica does.
    sandbox.replicas().for_each(|replica| replica.pause_replay().unwrap());
    let pipeline = Message::new()
        .parse("noted", "SELECT note($1)")
        .bind("", "noted", &["11"])
        .execute("", 0)
        .sync();
    client.wire.send(&pipeline);
    assert_eq!(client.reply().text(), "11");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "11");
    client.wire.send(&Message::new().bind("", "noted", &["12"]).execute("", 0).sync());
    assert_eq!(client.reply().text(), "12");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "12");
    assert_eq!(heals(), 2.0);
    sandbox.replicas().for_each(|replica| replica.resume_replay().unwrap());
}

#[test]
fn what_a_replica_refuses_is_the_clients_error_in_a_transaction_or_if_so_configured() {
    let sandbox = vouched_cluster();
    let weir = Weir::start(&sandbox, VOUCHED);
    let mut client = weir.postgres();
    client.ask("BEGIN READ ONLY");
    assert_eq!(client.fail("SELECT draw(1)").code(), "25006");
    client.ask("ROLLBACK");
    let strict = Weir::start(&sandbox, &format!("{VOUCHED}routing.self_heal = false"));
    let mut client = strict.postgres();
    for _ in 0..2 {
        let failure = client.fail("SELECT draw(1)");
        assert_eq!(failure.code(), "25006", "{failure}");
    }
    assert_eq!(strict.metrics().sum("pgweir_self_heals_total", &[]), 0.0);
}

/// Each row: what an operator vouches for, how it is called, and what the primary answers.
const REFUSED: [(&str, &str, &str); 4] = [
    ("kept", "SELECT kept()", "3"),
    ("locked", "SELECT locked()", "10"),
    ("pg_current_wal_lsn", "SELECT pg_current_wal_lsn() IS NOT NULL", "t"),
    ("txid_current", "SELECT txid_current() > 0", "t"),
];

#[test]
fn every_way_in_which_a_standby_refuses_is_known() {
    let sandbox = cluster();
    prepare(&sandbox, "CREATE UNLOGGED TABLE cache AS SELECT generate_series(1, 3)");
    prepare(
        &sandbox,
        "CREATE FUNCTION kept() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM cache'",
    );
    prepare(
        &sandbox,
        "CREATE FUNCTION locked() RETURNS bigint LANGUAGE sql
         AS 'SELECT count(*) FROM (SELECT FROM item FOR SHARE) AS held'",
    );
    let vouched: Vec<String> = REFUSED.iter().map(|(name, ..)| format!("{name:?}")).collect();
    let config = format!("routing.read_functions = [{}]", vouched.join(", "));
    let weir = Weir::start(&sandbox, &config);
    let mut heals = 0.0;
    for (name, sql, answer) in REFUSED {
        heals += 1.0;
        // One that has written nothing yet: its reads may run on any replica.
        let mut client = weir.postgres();
        assert_eq!(client.ask(sql), answer, "{name}");
        assert_eq!(client.extended(sql, &[]).text(), answer, "{name}");
        assert_eq!(weir.metrics().sum("pgweir_self_heals_total", &[]), heals, "{name}");
    }
}
