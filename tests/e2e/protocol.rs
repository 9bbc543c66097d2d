//! Protocol 3 at its corners: what drivers do that psql does not.

use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use crate::harness::{
    Client, Failure, Frame, Message, SOON, Scratch, Weir, Wire, resident, shared, until,
};

const PROTOCOL_3_2: u32 = (3 << 16) | 2;

/// A read that takes longer than any case.
const FOREVER: &str = "SELECT pg_sleep(600)";

fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}

// ---- cancel requests ----

/// Backends that run something with this in it, on all nodes.
fn running(mark: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE query LIKE '%{mark}%' AND state = 'active' AND pid <> pg_backend_pid()"
    );
    let count = |node: &pgweir_sandbox::Node| node.psql(&sql).unwrap().parse::<usize>().unwrap();
    shared().nodes().iter().map(count).sum()
}

fn wait_until_running(mark: &str, want: usize) {
    until("statements to run", SOON, || match running(mark) {
        count if count == want => Ok(()),
        count => Err(count),
    });
}

fn send_cancel(weir: &Weir, key: &[u8]) {
    let mut wire = Wire::open(weir.port()).unwrap();
    let body = [&80_877_102_u32.to_be_bytes()[..], key].concat();
    wire.send(&Message::new().packet(&body));
    assert!(wire.is_closed(), "a cancel request is not answered");
}

#[test]
fn a_cancel_request_reaches_its_own_query_on_whatever_node() {
    let weir = Weir::start(shared(), "");
    let (mut one, mut other) = (weir.postgres(), weir.postgres());
    for hint in ["primary", "replica"] {
        let sleep = format!("/* pgweir: {hint} */ {FOREVER} -- cancel_own");
        one.wire.send(&Message::new().query(&sleep));
        other.wire.send(&Message::new().query(&sleep));
        wait_until_running("cancel_own", 2);
        send_cancel(&weir, &one.key);
        let reply = one.reply();
        let cancelled = reply.failure.unwrap();
        assert_eq!(
            (cancelled.code(), cancelled.message(), reply.status),
            ("57014", "canceling statement due to user request", 'I')
        );
        assert_eq!(running("cancel_own"), 1, "the other client's goes on");
        // A late request must not hit what comes next.
        send_cancel(&weir, &one.key);
        assert_eq!(one.ask("SELECT 1"), "1");
        send_cancel(&weir, &other.key);
        assert_eq!(other.reply().failure.unwrap().code(), "57014");
    }
    // A key that is wrong by one bit does nothing.
    one.wire.send(&Message::new().query(&format!("{FOREVER} -- cancel_wrong")));
    wait_until_running("cancel_wrong", 1);
    let mut wrong = one.key.clone();
    *wrong.last_mut().unwrap() ^= 1;
    send_cancel(&weir, &wrong);
    send_cancel(&weir, &[0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(!one.wire.hears_something(Duration::from_millis(200)));
    send_cancel(&weir, &one.key);
    assert_eq!(one.reply().failure.unwrap().code(), "57014");
}

#[tokio::test]
async fn a_driver_cancels_inside_a_transaction_and_goes_on() {
    let weir = Weir::start(shared(), "");
    let (client, connection) =
        tokio_postgres::connect(&weir.conninfo("postgres", "postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    let token = client.cancel_token();
    client.batch_execute("BEGIN").await.unwrap();
    let sleep = client.simple_query("SELECT pg_sleep(600) -- cancel_driver");
    let cancel = async {
        while tokio::task::spawn_blocking(|| running("cancel_driver")).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleep, cancel);
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");
    let failed = client.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(failed.code().unwrap().code(), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
}

#[test]
fn a_statement_that_waits_for_a_connection_can_be_cancelled() {
    let weir = Weir::start(shared(), "pool.size = 1\npool.checkout_timeout = \"60s\"");
    let mut holder = weir.postgres();
    holder.ask("BEGIN");
    holder.ask("SELECT 1");
    let mut client = weir.postgres();
    client.wire.send(&Message::new().query("SELECT pg_is_in_recovery()"));
    until("it to wait", SOON, || match weir.metrics().sum("pgweir_pool_waiting", &[]) {
        1.0 => Ok(()),
        count => Err(count),
    });
    send_cancel(&weir, &client.key);
    assert_eq!(client.reply().failure.unwrap().code(), "57014");
    holder.ask("COMMIT");
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "f");
}

// ---- the first packets ----

fn login_frames(weir: &Weir, version: u32, parameters: &[(&str, &str)]) -> Vec<Frame> {
    let mut wire = Wire::open(weir.port()).unwrap();
    wire.send(&Message::new().startup(version, parameters));
    wire.frames_until(b'Z')
}

#[test]
fn protocol_versions_and_options_are_negotiated() {
    let weir = Weir::start(shared(), "");
    let usual = [("user", "postgres"), ("database", "postgres")];
    let with_options = [&usual[..], &[("_pq_.one", "1"), ("_pq_.two", "2")]].concat();
    // (asked, options, the answer: newest minor and refused options; bytes of the cancel key)
    type Answer = Option<(u32, &'static [&'static str])>;
    let rows: [(u32, bool, Answer, std::ops::RangeInclusive<usize>); 6] = [
        (0, false, None, 4..=4),
        (2, false, None, 5..=256),
        (9999, false, Some((2, &[])), 5..=256),
        (1, false, Some((0, &[])), 4..=4),
        (0, true, Some((0, &["_pq_.one", "_pq_.two"])), 4..=4),
        (2, true, Some((2, &["_pq_.one", "_pq_.two"])), 5..=256),
    ];
    for (minor, options, want, key) in rows {
        let parameters = if options { &with_options[..] } else { &usual[..] };
        let frames = login_frames(&weir, (3 << 16) | minor, parameters);
        let negotiated = frames.iter().find(|frame| frame.tag == b'v').map(|frame| {
            let (version, rest) = frame.body.split_at(4);
            let names = rest[4..].split(|&byte| byte == 0).filter(|name| !name.is_empty());
            let names: Vec<String> =
                names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            (u32::from_be_bytes(version.try_into().unwrap()) & 0xffff, names)
        });
        let want = want.map(|(version, names)| {
            (version, names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        });
        assert_eq!(negotiated, want, "3.{minor}, options: {options}");
        let length = frames.iter().find(|frame| frame.tag == b'K').unwrap().body.len() - 4;
        assert!(key.contains(&length), "3.{minor}: a key of {length} bytes");
    }
}

#[test]
fn a_long_cancel_key_cancels() {
    let weir = Weir::start(shared(), "");
    let mut wire = Wire::open(weir.port()).unwrap();
    let parameters = [("user", "postgres"), ("database", "postgres")];
    wire.send(&Message::new().startup(PROTOCOL_3_2, &parameters));
    let mut client = Client::finish_login(wire).unwrap();
    client.wire.send(&Message::new().query(&format!("{FOREVER} -- cancel_long")));
    wait_until_running("cancel_long", 1);
    send_cancel(&weir, &client.key);
    assert_eq!(client.reply().failure.unwrap().code(), "57014");
}

#[test]
fn versions_that_nobody_speaks_are_refused() {
    let weir = Weir::start(shared(), "");
    for version in [2 << 16, 4 << 16, 0] {
        let answer = |port| {
            let mut wire = Wire::open(port).unwrap();
            wire.send(&Message::new().startup(version, &[("user", "postgres")]));
            let failure = wire.try_frame().ok().flatten().map(|frame| Failure::parse(&frame.body));
            failure.map(|failure| (failure.code().to_owned(), failure.field('S').to_owned()))
        };
        let wanted = Some(("0A000".to_owned(), "FATAL".to_owned()));
        assert_eq!(answer(weir.port()), wanted, "version {version:#x}");
    }
}

#[test]
fn requests_for_encryption_that_is_not_there_are_answered_with_n() {
    let weir = Weir::start(shared(), "");
    let mut wire = Wire::open(weir.port()).unwrap();
    for code in [80_877_104_u32, 80_877_103] {
        wire.send(&Message::new().packet(&code.to_be_bytes()));
        assert_eq!(wire.byte(), Some(b'N'));
    }
    wire.send(&Message::new().startup(3 << 16, &[("user", "postgres"), ("database", "postgres")]));
    assert_eq!(Client::finish_login(wire).unwrap().ask("SELECT 1"), "1");
}

#[test]
fn the_database_is_the_users_name_unless_told() {
    let weir = Weir::start(shared(), "");
    let mut wire = Wire::open(weir.port()).unwrap();
    wire.send(&Message::new().startup(3 << 16, &[("user", "postgres")]));
    let mut client = Client::finish_login(wire).unwrap();
    assert_eq!(client.ask("SELECT current_database()"), "postgres");
    let login = |port| Client::connect(port, "postgres", "no_such_database", &[]).unwrap_err();
    let (through, direct) = (login(weir.port()), login(shared().primary().port()));
    assert_eq!(
        (through.code(), through.message(), through.field('S')),
        (direct.code(), direct.message(), direct.field('S'))
    );
}

// ---- the extended protocol ----

#[test]
fn a_pipeline_is_answered_in_order_and_errors_skip_to_their_sync() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    let mut message = Message::new();
    for number in 0..200 {
        message = match number % 10 {
            3 => message.run("SELECT 1/0", &[]).run("SELECT 'skipped'", &[]).sync(),
            6 => message.query("SELECT 'simple'"),
            _ => message.run("SELECT $1::int", &[&number.to_string()]).sync(),
        };
    }
    client.wire.send(&message);
    for number in 0..200 {
        let reply = client.reply();
        match number % 10 {
            3 => {
                assert_eq!(reply.failure.unwrap().code(), "22012", "{number}");
                assert!(reply.rows.is_empty());
            }
            6 => assert_eq!(reply.text(), "simple"),
            _ => assert_eq!(reply.text(), number.to_string()),
        }
    }
}

#[test]
fn a_pipeline_without_sync_is_one_transaction_with_one_home() {
    let scratch = Scratch::new("protocol_pipeline");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), "");
    let mut client = weir.client("postgres", scratch.name());
    let insert = "INSERT INTO item VALUES (1)";
    // A read that comes first: what follows is not known yet, and must work all the same.
    let pipeline = Message::new()
        .run("SELECT count(*) FROM item", &[])
        .run(insert, &[])
        .run("SELECT count(*) FROM item", &[])
        .sync();
    client.wire.send(&pipeline);
    let reply = client.reply();
    assert_eq!((reply.failure, reply.rows.len()), (None, 2));
    assert_eq!(reply.rows[1][0].as_deref(), Some("1"));
    client.wire.send(&Message::new().run(insert, &[]).run("SELECT 1/0", &[]).sync());
    assert_eq!(client.reply().failure.unwrap().code(), "22012");
    assert_eq!(client.ask("SELECT count(*) FROM item"), "1", "the insert is rolled back");
}

#[test]
fn flush_brings_replies_before_the_sync() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    client.wire.send(&Message::new().parse("", "SELECT $1::int").describe(b'S', "").flush());
    let frames: Vec<Frame> = (0..3).map(|_| client.wire.frame().unwrap()).collect();
    assert_eq!(tags(&frames), "1tT");
    client.wire.send(&Message::new().bind("", "", &["7"]).execute("", 0).flush());
    let frames: Vec<Frame> = (0..3).map(|_| client.wire.frame().unwrap()).collect();
    assert_eq!(tags(&frames), "2DC");
    client.wire.send(&Message::new().sync());
    assert_eq!(tags(&client.wire.frames_until(b'Z')), "Z");
}

#[test]
fn a_portal_is_read_in_parts() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    let open = Message::new()
        .parse("", "SELECT generate_series(1, 5)")
        .bind("p", "", &[])
        .execute("p", 2)
        .execute("p", 2)
        .close(b'P', "never")
        .execute("p", 0)
        .sync();
    client.wire.send(&open);
    assert_eq!(tags(&client.wire.frames_until(b'Z')), "12DDsDDs3DCZ");
    // Across Syncs, inside a transaction, with flushes between.
    client.ask("BEGIN");
    client.wire.send(
        &Message::new()
            .parse("s", "SELECT generate_series(1, 3)")
            .bind("p", "s", &[])
            .execute("p", 1)
            .sync(),
    );
    assert_eq!(tags(&client.wire.frames_until(b'Z')), "12DsZ");
    client.wire.send(&Message::new().execute("p", 1).sync());
    assert_eq!(tags(&client.wire.frames_until(b'Z')), "DsZ");
    client.ask("COMMIT");
    client.wire.send(&Message::new().execute("p", 1).sync());
    assert_eq!(client.reply().failure.unwrap().code(), "34000");
}

#[test]
fn many_clients_that_pipeline_keep_their_answers_apart() {
    let weir = Weir::start(shared(), "pool.size = 2");
    thread::scope(|scope| {
        for number in 0..8 {
            let weir = &weir;
            scope.spawn(move || {
                let mut client = weir.postgres();
                for round in 0..20 {
                    let own = format!("{number}:{round}");
                    let message = Message::new()
                        .run("SELECT $1::text", &[&own])
                        .sync()
                        .query(&format!("SELECT '{own}'; SELECT pg_is_in_recovery()"))
                        .run("SELECT $1::text", &[&own])
                        .sync();
                    client.wire.send(&message);
                    assert_eq!(client.reply().text(), own);
                    assert_eq!(client.reply().text(), format!("{own}\nf"));
                    assert_eq!(client.reply().text(), own);
                }
            });
        }
    });
}

#[test]
fn a_function_call_is_answered() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    let oid: u32 = client.ask("SELECT 'int4pl'::regproc::oid").parse().unwrap();
    let argument = |number: u32| [4_u32.to_be_bytes(), number.to_be_bytes()].concat();
    let body =
        [&oid.to_be_bytes()[..], &[0, 1, 0, 1], &[0, 2], &argument(40), &argument(2), &[0, 1]]
            .concat();
    client.wire.send(&Message::new().raw(b'F', &body));
    let frames = client.wire.frames_until(b'Z');
    assert_eq!(tags(&frames), "VZ");
    assert_eq!(frames[0].body, argument(42));
    assert_eq!(client.ask("SELECT 1"), "1");
}

// ---- COPY ----

#[test]
fn copy_that_fails_at_either_end_leaves_the_client_in_order() {
    let scratch = Scratch::new("protocol_copy");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), "pool.size = 1");
    let mut client = weir.client("postgres", scratch.name());
    let copy = "COPY item FROM STDIN";
    let begin = |client: &mut Client| {
        client.wire.send(&Message::new().query(copy));
        client.wire.frames_until(b'G');
    };

    begin(&mut client);
    client.wire.send(&Message::new().copy_data(b"1\n").raw(b'f', b"no more\0"));
    let failed = client.reply().failure.unwrap();
    assert_eq!((failed.code(), failed.message()), ("57014", "COPY from stdin failed: no more"));

    // The server gives up; the client notices late, and what it still sends is swallowed.
    begin(&mut client);
    client
        .wire
        .send(&Message::new().copy_data(b"1\n").copy_data(b"not a number\n").copy_data(b"2\n"));
    assert_eq!(client.reply().failure.unwrap().code(), "22P02");
    client.wire.send(&Message::new().copy_data(b"3\n").raw(b'c', &[]).query("SELECT 'after'"));
    assert_eq!(client.reply().text(), "after");

    // Everything at once, as a pipelining driver does.
    client
        .wire
        .send(&Message::new().query(copy).copy_data(b"x\n").raw(b'c', &[]).query("SELECT 'then'"));
    assert_eq!(client.reply().failure.unwrap().code(), "22P02");
    assert_eq!(client.reply().text(), "then");

    // The extended protocol: after an error, everything up to the Sync is swallowed.
    client.wire.send(&Message::new().run(copy, &[]).flush());
    client.wire.frames_until(b'G');
    client
        .wire
        .send(&Message::new().copy_data(b"x\n").raw(b'c', &[]).run("SELECT 'skipped'", &[]).sync());
    let reply = client.reply();
    assert_eq!((reply.failure.unwrap().code(), reply.rows.len()), ("22P02", 0));
    client.wire.send(&Message::new().run(copy, &[]).sync());
    client.wire.frames_until(b'G');
    client.wire.send(&Message::new().copy_data(b"5\n").raw(b'c', &[]).sync());
    let reply = client.reply();
    assert_eq!((reply.failure, reply.commands), (None, vec!["COPY 1".to_owned()]));

    // COPY TO that breaks half-way.
    client.wire.send(
        &Message::new()
            .query("COPY (SELECT 1 / (500 - n) FROM generate_series(1, 1000) n) TO STDOUT"),
    );
    let frames = client.wire.frames_until(b'Z');
    assert!(tags(&frames).starts_with("Hdd") && tags(&frames).ends_with("EZ"));

    // A client that vanishes in the middle takes its rows along.
    begin(&mut client);
    client.wire.send(&Message::new().copy_data(b"7\n"));
    drop(client);
    let mut next = weir.client("postgres", scratch.name());
    assert_eq!(next.ask("/* pgweir: primary */ SELECT string_agg(id::text, ',') FROM item"), "5");
}

// ---- size ----

const MEBIBYTE: usize = 1 << 20;
const LARGE: usize = 64 * MEBIBYTE;

/// What pgweir may take beside what it takes at rest while a large message passes, in bytes.
const ROOM: u64 = 12 << 20;

#[test]
fn large_messages_pass_both_ways_in_bounded_memory() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    client.ask("SELECT 1");
    let (at_rest, _) = resident(weir.pid());

    // One row of 64 MiB.
    client.wire.send(&Message::new().query(&format!("SELECT repeat('x', {LARGE})")));
    let description = client.wire.frame().unwrap();
    assert_eq!(description.tag, b'T');
    let (tag, length) = client.wire.head();
    assert_eq!((tag, length), (b'D', LARGE + 6));
    client.wire.skip(length);
    assert_eq!(tags(&client.wire.frames_until(b'Z')), "CZ");
    let (_, most) = resident(weir.pid());
    assert!(most < at_rest + ROOM, "{most} bytes at most, {at_rest} at rest");

    // One parameter of 64 MiB.
    let parameter = "y".repeat(LARGE);
    client.wire.send(&Message::new().run("SELECT length($1::text)", &[&parameter]).sync());
    assert_eq!(client.reply().text(), LARGE.to_string());
    let (_, most) = resident(weir.pid());
    assert!(most < at_rest + ROOM, "{most} bytes at most, {at_rest} at rest");

    // A COPY of 64 MiB in one message, and the same in many.
    client.ask("CREATE TEMP TABLE large (text text)");
    let chunk = [&b"z".repeat(MEBIBYTE - 1)[..], b"\n"].concat();
    for (messages, data) in [(1, chunk.repeat(64)), (64, chunk)] {
        client.wire.send(&Message::new().query("COPY large FROM STDIN"));
        client.wire.frames_until(b'G');
        let message = Message::new().copy_data(&data);
        (0..messages).for_each(|_| client.wire.send(&message));
        client.wire.send(&Message::new().raw(b'c', &[]));
        let reply = client.reply();
        assert_eq!((reply.failure, reply.commands), (None, vec!["COPY 64".to_owned()]));
    }
    let (_, most) = resident(weir.pid());
    assert!(most < at_rest + ROOM, "{most} bytes at most, {at_rest} at rest");

    // A COPY of 64 MiB, and a client that reads slowly.
    client.wire.send(&Message::new().query(&format!(
        "COPY (SELECT repeat('z', {MEBIBYTE}) FROM generate_series(1, 64)) TO STDOUT"
    )));
    assert!(client.wire.hears_something(SOON));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(tags(&client.wire.frames_until(b'Z')), format!("H{}cCZ", "d".repeat(64)));
    let (_, most) = resident(weir.pid());
    assert!(most < at_rest + ROOM, "{most} bytes at most, {at_rest} at rest");
}

#[test]
fn a_long_statement_runs_and_a_longer_one_than_configured_is_refused() {
    let weir = Weir::start(shared(), "limits.max_message = \"2MiB\"");
    let mut client = weir.postgres();
    let long = format!("SELECT length('{}')", "x".repeat(MEBIBYTE));
    assert_eq!(client.ask(&long), MEBIBYTE.to_string());
    let other = weir.postgres();
    let longer = format!("SELECT length('{}')", "x".repeat(3 * MEBIBYTE));
    // It is refused at its head: the client may find the socket closed while it still sends.
    let _ = client.wire.send_bytes(&Message::new().query(&longer).0);
    let refused = client.wire.try_frame().ok().flatten();
    let refused = refused.map(|frame| Failure::parse(&frame.body));
    let is_right = |refused: &Failure| refused.code() == "08P01" || refused.code() == "54000";
    assert!(refused.as_ref().is_none_or(is_right), "{refused:?}");
    assert!(client.wire.is_closed());
    let mut other = other;
    assert_eq!(other.ask("SELECT 1"), "1");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let weir = Weir::start(shared(), "");
    let mut lazy = weir.postgres();
    lazy.wire
        .send(&Message::new().query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"));
    assert!(lazy.wire.hears_something(SOON));
    let mut client = weir.postgres();
    let started = Instant::now();
    for _ in 0..50 {
        client.ask("SELECT 1");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(tags(&lazy.wire.frames_until(b'Z')).len(), 100_003);
}
