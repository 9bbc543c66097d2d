//! The cache answers like the classifier, shares what may be shared and nothing else.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod common;

use std::cell::Cell;
use std::sync::Arc;

use pgweir_classifier::{Access, Catalog, Label, LabelCache, Options, cache, classify};

/// Room for everything these tests put in, in bytes.
const ROOMY: usize = 16 << 20;

struct Asked {
    label: Arc<Label>,
    was_made: bool,
}

fn ask_with(cache: &LabelCache, sql: &str, options: Options, generation: u64) -> Asked {
    let made = Cell::new(false);
    let label = cache.get_or_insert_with(
        sql.as_bytes(),
        options,
        generation,
        &Catalog::builtin(),
        |label| {
            made.set(true);
            label
        },
    );
    Asked { label, was_made: made.get() }
}

fn ask(cache: &LabelCache, sql: &str) -> Asked {
    ask_with(cache, sql, Options::default(), 0)
}

#[test]
fn the_cache_says_what_the_classifier_says() {
    let cache = LabelCache::new(ROOMY);
    let rows = common::rows();
    for _ in 0..3 {
        for row in &rows {
            let label = ask(&cache, &row.sql).label;
            assert_eq!(common::describe(&label), row.expected, "{}\n{}", row.place(), row.sql);
        }
    }
    let counters = cache.counters();
    assert!(counters.exact_hits > 0 && counters.normalised_hits > 0, "{counters:?}");
}

#[test]
fn texts_that_differ_in_literals_and_space_share_a_label() {
    let cache = LabelCache::new(ROOMY);
    assert!(ask(&cache, "SELECT * FROM t WHERE id = 1").was_made);
    for same in [
        "SELECT * FROM t WHERE id = 2",
        "select  *\nfrom T where ID = 3",
        "SELECT * FROM t /* comment */ WHERE id = 4 -- five",
    ] {
        assert!(!ask(&cache, same).was_made, "{same}");
    }
    for other in [
        "SELECT * FROM t WHERE id = '1'",
        "SELECT * FROM t WHERE id = 1.5",
        "SELECT * FROM t WHERE id = $1",
        "SELECT * FROM \"T\" WHERE id = 1",
        "SELECT * FROM t WHERE id = -1",
        "/* pgweir: primary */ SELECT * FROM t WHERE id = 1",
        "/* pgweir: replica */ SELECT * FROM t WHERE id = 1",
    ] {
        assert!(ask(&cache, other).was_made, "{other}");
        assert!(!ask(&cache, other).was_made, "{other}");
    }
}

#[test]
fn labels_that_depend_on_literals_are_not_shared() {
    let cache = LabelCache::new(ROOMY);
    let pairs = [
        ("SET a.b = 'c'", "SET a.b = 'd'"),
        ("SELECT set_config('a.b', 'c', false)", "SELECT set_config('a.b', 'd', false)"),
        ("EXPLAIN (ANALYZE 'off') DELETE FROM t", "EXPLAIN (ANALYZE 'on') DELETE FROM t"),
        ("SELECT current_setting('a.b')", "SELECT current_setting('port')"),
        ("DO 'BEGIN END'", "DO 'BEGIN RESET ALL; END'"),
        ("SELEC 1", "SELEC 2"),
        ("SELECT E'\\u0041'", "SELECT E'\\u00'"),
        ("SELECT U&\"a!0041\" UESCAPE '!'", "SELECT U&\"a!0041\" UESCAPE '?'"),
    ];
    for (first, second) in pairs {
        assert!(ask(&cache, first).was_made, "{first}");
        assert!(ask(&cache, second).was_made, "{second}");
        for text in [first, second] {
            let again = ask(&cache, text);
            assert!(!again.was_made, "{text}");
            let fresh = classify(text.as_bytes(), Options::default(), &Catalog::builtin());
            assert_eq!(common::describe(&again.label), common::describe(&fresh), "{text}");
        }
    }
}

#[test]
fn positions_are_missing_from_labels_that_are_shared() {
    let cache = LabelCache::new(ROOMY);
    let shared = ask(&cache, "SELECT 1; SELECT 2").label;
    assert!(shared.statements.iter().all(|statement| statement.range.is_none()));
    let exact = ask(&cache, "SET a.b = 1").label;
    assert!(exact.statements.iter().all(|statement| statement.range.is_some()));
}

#[test]
fn circumstances_are_part_of_the_key() {
    let cache = LabelCache::new(ROOMY);
    let text = r"SELECT 'a\'; DELETE FROM t; --'";
    let escapes = Options { standard_conforming_strings: false, ..Options::default() };
    assert_eq!(ask(&cache, text).label.access, Access::Write);
    assert_eq!(ask_with(&cache, text, escapes, 0).label.access, Access::Read);
    assert_eq!(ask(&cache, text).label.access, Access::Write);
    assert!(ask_with(&cache, text, escapes, 1).was_made, "another generation");
    let unsafe_encoding = Options { client_encoding_safe: false, ..Options::default() };
    assert_eq!(ask_with(&cache, "SELECT 1", unsafe_encoding, 0).label.access, Access::Write);
    assert_eq!(ask(&cache, "SELECT 1").label.access, Access::Read);
    assert_eq!(ask_with(&cache, "SELECT 1", unsafe_encoding, 0).label.access, Access::Write);
}

#[test]
fn text_that_is_not_text_never_borrows_a_label() {
    let cache = LabelCache::<Label>::new(ROOMY);
    assert_eq!(ask(&cache, "SELECT 'a'").label.access, Access::Read);
    let catalog = Catalog::builtin();
    for text in [&b"SELECT '\xff'"[..], b"SELECT '\0'"] {
        let label = cache.get_or_insert_with(text, Options::default(), 0, &catalog, |label| label);
        assert_eq!(label.reason.as_str(), "not_text");
    }
}

#[test]
fn memory_is_bounded() {
    let capacity = 1 << 20;
    let cache = LabelCache::new(capacity);
    for number in 0..20_000 {
        // Different names, so that no form is shared.
        ask(&cache, &format!("SELECT column_{number} FROM t"));
        ask(&cache, &format!("SET a.b_{number} = 1"));
    }
    assert!(cache.len() > 100, "{}", cache.len());
    assert!(cache.len() < capacity / 256, "{}", cache.len());
    let long = format!("SELECT '{}'", "x".repeat(cache::MAX_CACHED_TEXT_BYTES));
    assert!(ask(&cache, &long).was_made);
    assert!(ask(&cache, &long).was_made, "long texts are not kept");
}
