//! Clients that vanish while a server works for them: the pool goes on counting what the server does.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Dice, Message, SOON, Scratch, Weir, shared, until};

/// One server connection per pool and node, and none beside it to find out about clients.
const ONE: &str = "pool.size = 1\nauth.method = \"trust\"";

/// Backends of this database on the primary that run something with this mark.
fn running(database: &str, mark: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'
         AND query LIKE '%/* {mark} %' AND state = 'active' AND pid <> pg_backend_pid()"
    );
    shared().primary().psql(&sql).unwrap().parse().unwrap()
}

#[track_caller]
fn wait_until_running(database: &str, mark: &str, want: usize) {
    until(mark, SOON, || match running(database, mark) {
        count if count == want => Ok(()),
        count => Err(count),
    });
}

/// Sends a statement, and goes away without a word once it runs.
fn vanish(mut client: Client, database: &str, sql: &str) {
    client.wire.send(&Message::new().query(&format!("{sql} /* vanish */")));
    wait_until_running(database, "vanish", 1);
}

#[test]
fn a_write_whose_client_is_gone_runs_to_its_end_and_keeps_its_place_until_then() {
    let scratch = Scratch::new("abandon_write");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), &format!("{ONE}\npool.checkout_timeout = \"30s\""));
    let client = || weir.client("postgres", scratch.name());
    let write = "INSERT INTO item SELECT 1 FROM pg_sleep(1)";
    vanish(client(), scratch.name(), write);
    // Whoever is next waits for its end, as if its client were still there.
    let mut next = client();
    assert_eq!(next.ask("/* pgweir: primary */ SELECT count(*) FROM item"), "1");
    // What comes out of it is read by nobody, and holds up nobody.
    let much = |rows: usize| {
        format!(
            "INSERT INTO item SELECT id FROM generate_series(1, {rows}) AS id
             RETURNING repeat('x', 1000) || (SELECT '' FROM pg_sleep(1))"
        )
    };
    vanish(client(), scratch.name(), &much(5000));
    assert_eq!(next.ask("/* pgweir: primary */ SELECT count(*) FROM item"), "5001");
    // Of very much of it the server hears that nobody reads it.
    vanish(client(), scratch.name(), &much(40_000));
    assert_eq!(next.ask("/* pgweir: primary */ SELECT 1"), "1");
}

#[test]
fn a_read_whose_client_is_gone_is_cancelled() {
    let scratch = Scratch::new("abandon_read");
    let weir = Weir::start(shared(), ONE);
    let client = || weir.client("postgres", scratch.name());
    let begun = Instant::now();
    for sleep in [
        "/* pgweir: primary */ SELECT pg_sleep(600)",
        "/* pgweir: primary */ SELECT count(*) FROM generate_series(1, 1000000000000)",
    ] {
        vanish(client(), scratch.name(), sleep);
        let mut next = client();
        assert_eq!(next.ask("/* pgweir: primary */ SELECT 1"), "1");
        assert_eq!(running(scratch.name(), "vanish"), 0);
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn what_waits_for_its_client_ends_with_it() {
    let scratch = Scratch::new("abandon_idle");
    scratch.prepare("CREATE TABLE item (id int)");
    let weir = Weir::start(shared(), ONE);
    let client = || weir.client("postgres", scratch.name());
    let pipeline = Message::new().run("INSERT INTO item VALUES (4)", &[]).flush();
    let copy = Message::new().query("COPY item FROM STDIN");
    // A message of which only the head has come.
    let half = Message(
        Message::new().query(&format!("SELECT '{}'", "x".repeat(200_000))).0[..150_000].to_vec(),
    );
    let rows = [
        ("a transaction", vec![Message::new().query("BEGIN; INSERT INTO item VALUES (1)")], b'Z'),
        ("copy in", vec![copy.clone()], b'G'),
        ("copy in under way", vec![copy, Message::new().copy_data(b"2\n3\n")], b'G'),
        ("a pipeline without end", vec![pipeline], b'C'),
        ("half a message", vec![Message::new().query("BEGIN"), half], b'Z'),
        ("a temporary table", vec![Message::new().query("CREATE TEMP TABLE mine ()")], b'Z'),
    ];
    for (what, messages, last) in rows {
        let mut leaving = client();
        messages.iter().for_each(|message| leaving.wire.send(message));
        leaving.wire.frames_until(last);
        drop(leaving);
        let begun = Instant::now();
        assert_eq!(client().ask("/* pgweir: primary */ SELECT count(*) FROM item"), "0", "{what}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{what}: {:?}", begun.elapsed());
    }
}

/// Server connections per pool and node, clients that come and go, and how often each does.
const SERVERS: usize = 3;
const CLIENTS: usize = 12;
const TURNS: usize = 6;

#[test]
fn a_server_never_has_more_to_do_than_the_pool_allows() {
    let scratch = Scratch::new("abandon_crowd");
    scratch.prepare("CREATE TABLE item (id int)");
    let config =
        format!("pool.size = {SERVERS}\npool.checkout_timeout = \"30s\"\nauth.method = \"trust\"");
    let weir = Weir::start(shared(), &config);
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (weir, database) = (&weir, scratch.name());
                scope.spawn(move || {
                    let mut dice = Dice::new(u64::try_from(number).unwrap());
                    for _ in 0..TURNS {
                        let mut client = weir.client("postgres", database);
                        let sql = match dice.below(2) {
                            0 => "INSERT INTO item SELECT 1 FROM pg_sleep(0.3)",
                            _ => "/* pgweir: primary */ SELECT pg_sleep(20)",
                        };
                        client.wire.send(&Message::new().query(sql));
                        let patience = u64::try_from(dice.below(200)).unwrap();
                        client.wire.hears_something(Duration::from_millis(patience));
                    }
                })
            })
            .collect();
        let open = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()
                AND application_name <> 'pgweir'",
            scratch.name()
        );
        let mut most = 0;
        while crowd.iter().any(|client| !client.is_finished()) {
            let open: usize = shared().primary().psql(&open).unwrap().parse().unwrap();
            assert!(open <= SERVERS, "{open} backends");
            most = most.max(open);
        }
        assert_eq!(most, SERVERS);
    });
    assert_eq!(weir.client("postgres", scratch.name()).ask("SELECT 1"), "1");
}
