//! What a firewall's entry stands for, and what it does not.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use pgweir_classifier::{Fingerprint, Firewall, Options};

fn firewall(entry: &str) -> Firewall {
    let fingerprint = Fingerprint::parse(entry).unwrap_or_else(|error| panic!("{entry}: {error}"));
    Firewall::new([(fingerprint, entry)])
}

fn denies(entry: &str, sql: &str) -> bool {
    firewall(entry).denies(sql.as_bytes(), Options::default()) == Some(entry)
}

#[test]
fn an_entry_stands_for_a_statement_however_it_is_written() {
    let entries = [
        "DELETE FROM accounts WHERE id = $1",
        "DELETE FROM accounts WHERE id = ?",
        "delete from accounts where id = 17",
        "delete from \"accounts\" where id = 'x' ;",
    ];
    let texts = [
        "DELETE FROM accounts WHERE id = 5",
        "delete/* */from\n accounts where id=-5 -- x",
        "Delete From \"accounts\" Where (((\"id\" = 'a')))",
        "DELETE FROM accounts WHERE id = $1",
        "DELETE FROM U&\"\\0061ccounts\" WHERE id = E'\\x41'",
        "DELETE FROM accounts AS a WHERE id = 5",
        "SELECT 1; DELETE FROM accounts WHERE id = 5; SELECT 2",
        "EXPLAIN DELETE FROM accounts WHERE id = 5",
        "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM accounts WHERE id = 5",
        "PREPARE p AS DELETE FROM accounts WHERE id = $1",
        "PREPARE p (int) AS DELETE FROM accounts WHERE id = $1",
        "WITH gone AS (DELETE FROM accounts WHERE id = 5) SELECT 1",
        "EXPLAIN WITH gone AS (DELETE FROM accounts WHERE id = 5) SELECT 1",
    ];
    for entry in entries {
        for text in texts {
            assert!(denies(entry, text), "{entry} denies {text}");
        }
    }
}

#[test]
fn what_only_looks_like_it_is_another_statement() {
    let entry = "DELETE FROM accounts WHERE id = $1";
    for text in [
        "DELETE FROM accounts",
        "DELETE FROM accounts WHERE id > 5",
        "DELETE FROM accounts WHERE other = 5",
        "DELETE FROM accounts_2024 WHERE id = 5",
        "DELETE FROM audit.accounts WHERE id = 5",
        "SELECT 'DELETE FROM accounts WHERE id = 5'",
        "DELETE FROM \"Accounts\" WHERE id = 5",
        "DELETE FROM accounts WHERE id = 5 AND",
        "",
    ] {
        assert!(!denies(entry, text), "{text}");
    }
}

#[test]
fn lists_queries_and_literals_of_any_length_and_kind_are_one_statement() {
    let rows = [
        ("select * from t where a in ($1)", "select * from t where a in (1, 2, 'x')", true),
        ("insert into t values (?, ?)", "insert into t values (1, 'a'), (2, 'b')", true),
        ("select * from t limit ?", "select * from t limit 5", true),
        ("select * from t", "copy (select * from t) to stdout", true),
        ("select * from t", "declare c cursor for select * from t", true),
        ("select * from t", "create table u as select * from t", true),
        ("truncate t", "TRUNCATE TABLE t", true),
        ("truncate t", "TRUNCATE TABLE t, u", false),
        ("select cast($1 as float(24))", "select cast(1 as float(24))", true),
        ("select * from t20 ", "select * from t21", false),
    ];
    for (entry, text, expected) in rows {
        assert_eq!(denies(entry, text), expected, "{entry} and {text}");
    }
}

#[test]
fn a_fingerprint_in_digits_is_an_entry_too() {
    let [fingerprint] = Fingerprint::all(b"delete from t where a = 1", Options::default())[..]
    else {
        panic!("one statement");
    };
    let digits = fingerprint.to_string();
    assert_eq!(digits.len(), 16);
    assert!(denies(&digits, "DELETE FROM t WHERE a = 'x'"));
    assert!(denies(&digits.to_uppercase(), "DELETE FROM t WHERE a = 'x'"));
    assert!(!denies(&digits, "DELETE FROM t WHERE b = 'x'"));
}

#[test]
fn what_is_no_statement_is_no_entry() {
    for entry in ["", "delete frm t", "select 1; select 2", "-- nothing", "select 'x", "12ab"] {
        assert!(Fingerprint::parse(entry).is_err(), "{entry}");
    }
}

#[test]
fn without_standard_strings_a_backslash_hides_nothing() {
    let options = Options { standard_conforming_strings: false, ..Options::default() };
    let firewall = firewall("delete from t where a = $1");
    assert!(firewall.denies(br"delete from t where a = 'x\'; y'", options).is_some());
}
