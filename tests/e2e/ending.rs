//! Its end, while everybody is at work; and what a service manager is told of its life.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Client, Failure, Message, SOON, TemporaryDir, Weir, Wire, get, prepare, shared, until,
};

// ---- under load ----

/// Clients of each kind.
const CLIENTS: usize = 8;

/// How a client's statement ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    /// Told that pgweir ends, or hung up on.
    SentAway,
}

/// Sends a statement and waits for what comes of it; anything but an answer or the end is a failure.
fn attempt(client: &mut Client, sql: &str) -> Outcome {
    if client.wire.send_bytes(&Message::new().query(sql).0).is_err() {
        return Outcome::SentAway;
    }
    loop {
        match client.wire.try_frame() {
            Ok(Some(frame)) if frame.tag == b'Z' => return Outcome::Acknowledged,
            Ok(Some(frame)) if frame.tag == b'E' => {
                let failure = Failure::parse(&frame.body);
                assert_eq!((failure.code(), failure.field('S')), ("57P01", "FATAL"), "{failure}");
                return Outcome::SentAway;
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Outcome::SentAway,
        }
    }
}

/// Writes rows one by one until it is sent away; how many were acknowledged.
fn autocommit(port: u16, number: usize, done: &AtomicU64) {
    let mut client = Client::connect(port, "postgres", "postgres", &[]).unwrap();
    for row in 0.. {
        let sql = format!("INSERT INTO drained VALUES ('auto', {number}, {row})");
        if attempt(&mut client, &sql) == Outcome::SentAway {
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Begins, lets the signal come, writes the rest, and commits.
fn transact(port: u16, number: usize, begun: &Barrier, signalled: &AtomicBool) {
    let mut client = Client::connect(port, "postgres", "postgres", &[]).unwrap();
    client.ask("BEGIN");
    client.ask(&format!("INSERT INTO drained VALUES ('transaction', {number}, 0)"));
    begun.wait();
    until("the signal", SOON, || signalled.load(Ordering::Acquire).then_some(()).ok_or("none"));
    for row in 1..20 {
        client.ask(&format!("INSERT INTO drained VALUES ('transaction', {number}, {row})"));
    }
    let reply = client.query("COMMIT");
    assert_eq!((reply.failure, reply.status), (None, 'I'));
    assert!(client.wire.is_closed());
}

#[test]
fn term_under_load_cuts_no_statement_and_loses_no_transaction() {
    prepare(shared(), "CREATE TABLE IF NOT EXISTS drained (kind text, client int, row int)");
    let mut weir = Weir::start(shared(), "listen.drain_timeout = \"60s\"\npool.size = 40");
    let mut idle: Vec<Client> = (0..CLIENTS).map(|_| weir.postgres()).collect();
    let mut sleeper = weir.postgres();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (begun, signalled) =
        (Arc::new(Barrier::new(CLIENTS + 1)), Arc::new(AtomicBool::new(false)));
    let port = weir.port();
    let mut threads = Vec::new();
    for number in 0..CLIENTS {
        let done = acknowledged.clone();
        threads.push(thread::spawn(move || autocommit(port, number, &done)));
        let (begun, signalled) = (begun.clone(), signalled.clone());
        threads.push(thread::spawn(move || transact(port, number, &begun, &signalled)));
    }
    begun.wait();
    until("rows", SOON, || {
        let rows = acknowledged.load(Ordering::Relaxed);
        if rows > 50 { Ok(()) } else { Err(rows) }
    });
    sleeper.wire.send(&Message::new().query("SELECT pg_sleep(1), 'slept'"));
    until("the sleeper's query", SOON, || {
        let running = shared().primary().psql(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%slept%' AND pid <> pg_backend_pid()",
        );
        let elsewhere = shared().replicas().map(|node| {
            node.psql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%slept%' AND pid <> pg_backend_pid()")
        });
        let all: Vec<_> = std::iter::once(running).chain(elsewhere).map(Result::unwrap).collect();
        if all.iter().any(|count| count.trim() != "0") { Ok(()) } else { Err(all) }
    });
    weir.signal(Signal::TERM);
    weir.wait_for_status("/readyz", 503);
    signalled.store(true, Ordering::Release);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let slept = sleeper.reply();
    assert_eq!((slept.failure.clone(), slept.rows[0][1].as_deref()), (None, Some("slept")));
    for client in &mut idle {
        let goodbye = client.wire.frame().map(|frame| Failure::parse(&frame.body)).unwrap();
        assert_eq!(goodbye.code(), "57P01", "{goodbye}");
        assert!(client.wire.is_closed());
    }
    assert_eq!(weir.wait_for_end().code(), Some(0), "{}", weir.log());
    let count = |kind: &str| {
        let sql = format!("SELECT count(*) FROM drained WHERE kind = '{kind}'");
        shared().primary().psql(&sql).unwrap().trim().parse::<u64>().unwrap()
    };
    // What was written was acknowledged, and what was acknowledged is there.
    assert_eq!(count("auto"), acknowledged.load(Ordering::Relaxed));
    assert_eq!(count("transaction"), 20 * CLIENTS as u64);
    shared().primary().psql("DROP TABLE drained").unwrap();
}

#[test]
fn clients_that_never_leave_do_not_hold_up_the_end() {
    let mut weir = Weir::start(shared(), "listen.drain_timeout = \"1s\"");
    let mut in_transaction = weir.postgres();
    in_transaction.ask("BEGIN");
    in_transaction.ask("SELECT 1");
    // One that asks for much and reads nothing of it.
    let mut deaf = weir.postgres();
    deaf.wire
        .send(&Message::new().query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"));
    assert!(deaf.wire.hears_something(SOON));
    // One that is in the middle of a statement, and one that has only just opened its socket.
    let mut running = weir.postgres();
    running.wire.send(&Message::new().query("SELECT pg_sleep(600)"));
    let _silent = Wire::open(weir.port()).unwrap();
    let mut copying = weir.postgres();
    copying.ask("CREATE TEMPORARY TABLE copied (a int)");
    copying.wire.send(&Message::new().query("COPY copied FROM STDIN"));
    let started = Instant::now();
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_for_end().code(), Some(0), "{}", weir.log());
    let took = started.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert!(weir.log().contains("drain_timeout is over"), "{}", weir.log());
}

#[test]
fn a_second_signal_cuts_what_runs_and_is_a_good_end_too() {
    for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::TERM)] {
        let mut weir = Weir::start(shared(), "listen.drain_timeout = \"10m\"");
        let mut running = weir.postgres();
        running.wire.send(&Message::new().query("SELECT pg_sleep(600)"));
        weir.signal(first);
        weir.wait_for_status("/readyz", 503);
        assert_eq!(get(weir.http_port(), "/livez").map(|(status, _)| status), Some(200));
        weir.signal(second);
        assert_eq!(weir.wait_for_end().code(), Some(0));
        assert!(weir.log().contains("a second signal"), "{}", weir.log());
    }
}

// ---- systemd ----

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    _directory: TemporaryDir,
    path: String,
}

impl Manager {
    fn new() -> Self {
        let directory = TemporaryDir::new();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, path: path.display().to_string(), _directory: directory }
    }

    /// The next datagram that holds this line.
    #[track_caller]
    fn hears(&self, line: &str) -> String {
        let mut bytes = [0; 1024];
        loop {
            let count = self.socket.recv(&mut bytes).unwrap_or_else(|_| panic!("no {line}"));
            let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
            if text.lines().any(|heard| heard == line) {
                return text;
            }
        }
    }
}

/// Microseconds of the clock by which a manager tells reloads apart.
fn monotonic_micros() -> u128 {
    // The same clock in Rust's standard library on Linux, whose beginning it does not tell.
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    Duration::from_secs_f64(seconds).as_micros()
}

#[test]
fn a_service_manager_is_told_of_its_life() {
    let manager = Manager::new();
    let mut weir = Weir::setup(shared())
        .variable("NOTIFY_SOCKET", &manager.path)
        .variable("WATCHDOG_USEC", "200000")
        .start();
    let ready = manager.hears("READY=1");
    assert!(ready.contains("\nSTATUS="), "{ready}");
    let _client = weir.postgres();
    until("a status that counts the client", SOON, || {
        let told = manager.hears("WATCHDOG=1");
        if told.contains("STATUS=Serving, 1 clients") { Ok(()) } else { Err(told) }
    });
    weir.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1");
    let told = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let age = monotonic_micros().abs_diff(told.parse().unwrap());
    assert!(age < SOON.as_micros(), "{age} µs from now");
    manager.hears("READY=1");
    weir.signal(Signal::TERM);
    let stopping = manager.hears("STOPPING=1");
    assert!(stopping.contains("STATUS="), "{stopping}");
    assert_eq!(weir.wait_for_end().code(), Some(0));
}

#[test]
fn a_watchdog_meant_for_another_process_is_not_fed() {
    let manager = Manager::new();
    let weir = Weir::setup(shared())
        .variable("NOTIFY_SOCKET", &manager.path)
        .variable("WATCHDOG_USEC", "1000")
        .variable("WATCHDOG_PID", "1")
        .start();
    manager.hears("READY=1");
    let mut client = weir.postgres();
    client.ask("SELECT 1");
    manager.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut bytes = [0; 1024];
    while let Ok(count) = manager.socket.recv(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        assert!(!text.contains("WATCHDOG=1"), "{text}");
    }
}
