//! The load: clients that write, read and run transactions without a pause, and keep a ledger of what
//! they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Client, Dice, Failure, Message, Reply, Weir};

/// What a client was told of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// 08007: nobody knows.
    Unknown,
    /// Anything else: it has not happened.
    Failed(String),
}

/// What happened to the clients.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By writer and number.
    pub(crate) fates: Mutex<BTreeMap<(usize, u64), Fate>>,
    pub(crate) reads: AtomicU64,
    pub(crate) failed_reads: Mutex<Vec<String>>,
    /// Reads that did not show what the same client had been acknowledged.
    pub(crate) stale_reads: Mutex<Vec<String>>,
    pub(crate) slowest_read: Mutex<Duration>,
    pub(crate) transactions: AtomicU64,
    pub(crate) lost_transactions: AtomicU64,
    /// When a write was acknowledged last.
    pub(crate) last_write: Mutex<Option<Instant>>,
    longest_without_write: Mutex<Duration>,
    is_over: AtomicBool,
}

impl Ledger {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn note(&self, writer: usize, number: u64, fate: Fate) {
        if fate == Fate::Acknowledged {
            let now = Instant::now();
            let before = self.last_write.lock().unwrap().replace(now);
            let mut longest = self.longest_without_write.lock().unwrap();
            *longest = before.map_or(Duration::ZERO, |before| now - before).max(*longest);
        }
        self.fates.lock().unwrap().insert((writer, number), fate);
    }

    /// The longest time between two acknowledged writes since this was asked last.
    pub(crate) fn take_longest_without_write(&self) -> Duration {
        std::mem::take(&mut *self.longest_without_write.lock().unwrap())
    }

    /// The slowest read since this was asked last.
    pub(crate) fn take_slowest_read(&self) -> Duration {
        std::mem::take(&mut *self.slowest_read.lock().unwrap())
    }
}

/// The clients at work.
pub(crate) struct Load {
    pub(crate) ledger: Arc<Ledger>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(weir: &Weir, writers: usize, readers: usize) -> Self {
        let ledger = Arc::new(Ledger::default());
        let mut clients = Vec::new();
        for number in 0..writers {
            let (client, ledger) = (weir.postgres(), Arc::clone(&ledger));
            clients.push(thread::spawn(move || write(number, client, &ledger)));
        }
        for number in 0..readers {
            let (client, ledger) = (weir.postgres(), Arc::clone(&ledger));
            clients.push(thread::spawn(move || read(number, client, &ledger)));
        }
        let (client, shared) = (weir.postgres(), Arc::clone(&ledger));
        clients.push(thread::spawn(move || transact(writers, client, &shared)));
        Self { ledger, clients }
    }

    /// Ends it; a client whose connection was closed fails here.
    pub(crate) fn end(self) -> Arc<Ledger> {
        self.ledger.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("every client stays connected");
        }
        self.ledger
    }
}

/// Runs a statement in one of the query modes. The prepared one must have been prepared by this name.
fn run(client: &mut Client, mode: usize, name: &str, sql: &str, parameters: &[&str]) -> Reply {
    match mode % 3 {
        0 => client.query(&inlined(sql, parameters)),
        1 => client.extended(sql, parameters),
        _ => {
            let message = Message::new().bind("", name, parameters).execute("", 0).sync();
            client.wire.send(&message);
            client.reply()
        }
    }
}

fn inlined(sql: &str, parameters: &[&str]) -> String {
    let numbered = parameters.iter().enumerate();
    numbered
        .fold(sql.to_owned(), |sql, (index, value)| sql.replace(&format!("${}", index + 1), value))
}

fn prepare(client: &mut Client, name: &str, sql: &str) {
    client.wire.send(&Message::new().parse(name, sql).sync());
    assert_eq!(client.reply().failure, None, "{sql}");
}

fn fate(failure: Option<&Failure>) -> Fate {
    match failure {
        None => Fate::Acknowledged,
        Some(failure) if failure.code() == "08007" => Fate::Unknown,
        Some(failure) => Fate::Failed(failure.to_string()),
    }
}

const INSERT: &str = "INSERT INTO ledger VALUES ($1::int, $2::bigint)";
const NEWEST: &str = "SELECT coalesce(max(number), 0) FROM ledger WHERE writer = $1::int";

/// Writes one row after the other, and looks for it each time.
fn write(writer: usize, mut client: Client, ledger: &Ledger) {
    prepare(&mut client, "insert", INSERT);
    prepare(&mut client, "newest", NEWEST);
    let name = writer.to_string();
    let (mut number, mut acknowledged) = (0, 0);
    while ledger.goes_on() {
        number += 1;
        let mode = usize::try_from(number).unwrap() + writer;
        let reply = run(&mut client, mode, "insert", INSERT, &[&name, &number.to_string()]);
        let fate = fate(reply.failure.as_ref());
        if fate == Fate::Acknowledged {
            acknowledged = number;
        }
        ledger.note(writer, number, fate);
        let reply = timed(ledger, false, || run(&mut client, mode / 3, "newest", NEWEST, &[&name]));
        let newest = reply.failure.is_none().then(|| reply.text().parse::<u64>().unwrap());
        if newest.is_some_and(|newest| newest < acknowledged) {
            let seen = format!("writer {writer} saw {newest:?}, and had written {acknowledged}");
            ledger.stale_reads.lock().unwrap().push(seen);
        }
    }
}

/// Runs a read, which must not fail.
fn timed(ledger: &Ledger, counts: bool, read: impl FnOnce() -> Reply) -> Reply {
    let begun = Instant::now();
    let reply = read();
    if counts {
        let mut slowest = ledger.slowest_read.lock().unwrap();
        *slowest = begun.elapsed().max(*slowest);
    }
    ledger.reads.fetch_add(1, Ordering::Relaxed);
    if let Some(failure) = &reply.failure {
        ledger.failed_reads.lock().unwrap().push(failure.to_string());
    }
    reply
}

const READ: &str = "SELECT count(*) FROM ledger WHERE writer = $1::int";
const SLOW_READ: &str = "SELECT count(*) FROM (SELECT pg_sleep(0.05) WHERE $1::int > -1) AS slept";

/// Reads, quick ones and some that take a while.
fn read(reader: usize, mut client: Client, ledger: &Ledger) {
    prepare(&mut client, "read", READ);
    prepare(&mut client, "slow", SLOW_READ);
    let mut dice = Dice::new(u64::try_from(reader).unwrap());
    while ledger.goes_on() {
        let mode = dice.below(3);
        let (name, sql) = if dice.below(4) == 0 { ("slow", SLOW_READ) } else { ("read", READ) };
        timed(ledger, true, || run(&mut client, mode, name, sql, &["0"]));
        thread::sleep(Duration::from_millis(2));
    }
}

/// What a transaction that came to nothing may have been told: all of it can be tried again.
const RETRYABLE: [&str; 6] = ["08006", "08007", "40001", "40P01", "57P01", "57P03"];

/// Transactions of two rows each.
fn transact(writer: usize, mut client: Client, ledger: &Ledger) {
    let mut number = 0;
    while ledger.goes_on() {
        number += 2;
        let failure = transaction(writer, number, &mut client);
        let fate = fate(failure.as_ref());
        ledger.transactions.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure {
            assert!(RETRYABLE.contains(&failure.code()), "{failure}");
            ledger.lost_transactions.fetch_add(1, Ordering::Relaxed);
            let reply = client.query("ROLLBACK");
            assert_eq!((&reply.failure, reply.status), (&None, 'I'));
        }
        ledger.note(writer, number, fate.clone());
        ledger.note(writer, number + 1, fate);
        thread::sleep(Duration::from_millis(5));
    }
}

/// What its transaction failed with.
fn transaction(writer: usize, number: u64, client: &mut Client) -> Option<Failure> {
    let insert = |number: u64| format!("INSERT INTO ledger VALUES ({writer}, {number})");
    let mut steps = vec!["BEGIN".to_owned(), insert(number)];
    steps.extend([format!("SELECT count(*) FROM ledger WHERE writer = {writer}")]);
    steps.extend([insert(number + 1), "COMMIT".to_owned()]);
    let mut failed = None;
    for step in steps {
        let reply = client.query(&step);
        if reply.failure.is_some() {
            failed = reply.failure;
            break;
        }
        if step == "COMMIT" {
            assert_eq!(reply.commands, ["COMMIT"]);
        }
    }
    failed
}
