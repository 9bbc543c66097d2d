//! A transaction followed through what is sent and what the server says.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use pgweir_classifier::{Catalog, Defaults, Isolation, Options, Status, Transaction, classify};

/// What a step does: sends a text or brings a status byte.
enum Step {
    Sent(&'static str),
    Ready(u8),
}
use Step::{Ready, Sent};

fn after(steps: &[Step], defaults: Defaults) -> Transaction {
    let mut transaction = Transaction::new();
    for step in steps {
        match step {
            Sent(sql) => {
                let label = classify(sql.as_bytes(), Options::default(), &Catalog::builtin());
                transaction.sent(&label, defaults);
            }
            Ready(byte) => transaction.ready(Status::from_byte(*byte).expect("a status")),
        }
    }
    transaction
}

fn describe(steps: &[Step], defaults: Defaults) -> String {
    let transaction = after(steps, defaults);
    let mode = transaction.mode(defaults);
    let mut words = Vec::new();
    words.push(match (transaction.is_open(), transaction.is_failed(), transaction.is_fresh()) {
        (false, ..) => "idle",
        (true, true, _) => "failed",
        (true, false, true) => "fresh",
        (true, false, false) => "open",
    });
    words.push(if mode.read_only { "ro" } else { "rw" });
    words.push(match mode.isolation {
        Isolation::ReadUncommitted => "uncommitted",
        Isolation::ReadCommitted => "committed",
        Isolation::RepeatableRead => "repeatable",
        Isolation::Serializable => "serializable",
    });
    words.join(" ")
}

/// What is done, and what the transaction is then.
const ROWS: &[(&[Step], &str)] = &[
    (&[], "idle rw committed"),
    (&[Sent("SELECT 1"), Ready(b'I')], "idle rw committed"),
    (&[Sent("BEGIN")], "fresh rw committed"),
    (&[Sent("BEGIN"), Ready(b'T')], "fresh rw committed"),
    (&[Sent("BEGIN"), Ready(b'I')], "idle rw committed"),
    (&[Sent("BEGIN READ ONLY"), Ready(b'T')], "fresh ro committed"),
    (&[Sent("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY")], "fresh ro serializable"),
    (&[Sent("BEGIN; SET TRANSACTION READ ONLY")], "fresh ro committed"),
    (
        &[Sent("BEGIN"), Sent("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")],
        "fresh ro repeatable",
    ),
    (&[Sent("BEGIN"), Sent("SET transaction_read_only = on")], "fresh ro committed"),
    (
        &[Sent("BEGIN"), Sent("SELECT set_config('transaction_read_only', 'on', true)")],
        "open ro committed",
    ),
    (&[Sent("BEGIN"), Sent("SET search_path = x"), Sent("SHOW search_path")], "fresh rw committed"),
    (&[Sent("BEGIN"), Sent("SELECT 1")], "open rw committed"),
    (&[Sent("BEGIN"), Sent("SELECT 1"), Sent("SET TRANSACTION READ ONLY")], "open ro committed"),
    (
        &[Sent("BEGIN READ ONLY"), Sent("SELECT 1"), Sent("SET TRANSACTION READ WRITE")],
        "open ro committed",
    ),
    (&[Sent("BEGIN READ ONLY"), Sent("SET TRANSACTION READ WRITE")], "fresh rw committed"),
    (
        &[Sent("BEGIN"), Sent("SELECT 1"), Sent("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")],
        "open rw committed",
    ),
    (&[Sent("SET TRANSACTION READ ONLY"), Ready(b'I')], "idle rw committed"),
    (&[Sent("BEGIN READ ONLY"), Sent("COMMIT")], "idle rw committed"),
    (&[Sent("BEGIN READ ONLY"), Sent("COMMIT AND CHAIN")], "fresh ro committed"),
    (
        &[Sent("BEGIN READ ONLY"), Sent("SELECT 1"), Sent("ROLLBACK AND CHAIN")],
        "fresh ro committed",
    ),
    (&[Sent("BEGIN"), Sent("SELECT 1; ROLLBACK; BEGIN READ ONLY")], "fresh ro committed"),
    (&[Sent("BEGIN"), Sent("BEGIN READ ONLY")], "fresh ro committed"),
    (&[Sent("BEGIN"), Sent("PREPARE TRANSACTION 'x'")], "idle rw committed"),
    (&[Sent("BEGIN"), Sent("COMMIT PREPARED 'x'"), Ready(b'E')], "failed rw committed"),
    (&[Sent("BEGIN"), Sent("SELECT 1/0"), Ready(b'E')], "failed rw committed"),
    (&[Sent("BEGIN"), Sent("SELECT 1/0"), Ready(b'E'), Sent("ROLLBACK")], "idle rw committed"),
    (
        &[Sent("BEGIN; SAVEPOINT a; SELECT 1/0"), Ready(b'E'), Sent("ROLLBACK TO a")],
        "open rw committed",
    ),
    (&[Sent("BEGIN; SAVEPOINT a; SET TRANSACTION READ ONLY")], "fresh ro committed"),
    (&[Sent("BEGIN; SAVEPOINT a; SET TRANSACTION READ ONLY; ROLLBACK TO a")], "fresh rw committed"),
    (&[Sent("BEGIN; SAVEPOINT a; SET TRANSACTION READ ONLY; RELEASE a")], "fresh rw committed"),
    (
        &[Sent("BEGIN; SAVEPOINT a; SET TRANSACTION READ ONLY; SAVEPOINT b; ROLLBACK TO b")],
        "fresh ro committed",
    ),
    (
        &[Sent("BEGIN; SAVEPOINT a; SAVEPOINT b; SET TRANSACTION READ ONLY; ROLLBACK TO a")],
        "fresh rw committed",
    ),
    (&[Sent("BEGIN; SAVEPOINT a; ROLLBACK TO nothing"), Ready(b'E')], "failed rw committed"),
    (&[Sent("SELEC 1"), Ready(b'T')], "open rw serializable"),
    (
        &[Sent("BEGIN READ ONLY"), Sent("SELEC 1"), Sent("SET TRANSACTION READ WRITE")],
        "open ro committed",
    ),
    (&[Ready(b'E')], "failed rw serializable"),
];

#[test]
fn transactions_are_followed() {
    for (number, (steps, expected)) in ROWS.iter().enumerate() {
        assert_eq!(describe(steps, Defaults::default()), *expected, "row {number}");
    }
}

#[test]
fn transactions_start_from_the_sessions_defaults() {
    let defaults = Defaults { isolation: Isolation::Serializable, read_only: true };
    let rows: &[(&[Step], &str)] = &[
        (&[], "idle ro serializable"),
        (&[Sent("BEGIN")], "fresh ro serializable"),
        (&[Sent("BEGIN READ WRITE")], "fresh rw serializable"),
        (&[Sent("BEGIN ISOLATION LEVEL READ COMMITTED")], "fresh ro committed"),
    ];
    for (number, (steps, expected)) in rows.iter().enumerate() {
        assert_eq!(describe(steps, defaults), *expected, "row {number}");
    }
}

#[test]
fn savepoints_are_bounded_and_doubt_is_read_write() {
    let mut transaction = Transaction::new();
    let mut send = |sql: &str| {
        let label = classify(sql.as_bytes(), Options::default(), &Catalog::builtin());
        transaction.sent(&label, Defaults::default());
        transaction.mode(Defaults::default()).read_only
    };
    send("BEGIN READ ONLY");
    for number in 0..pgweir_classifier::transaction::MAX_SAVEPOINTS + 10 {
        assert!(send(&format!("SAVEPOINT s{number}")));
    }
    assert!(!send("ROLLBACK TO s1"), "what it was at the savepoint is not known for certain");
}
