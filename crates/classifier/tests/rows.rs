//! Every row of `tests/rows` is labelled as it says, in any spelling that means the same.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod common;

use pgweir_classifier::{Catalog, Options, classify, fingerprint};

fn label(sql: &str) -> String {
    common::describe(&classify(sql.as_bytes(), Options::default(), &Catalog::builtin()))
}

#[test]
fn rows_are_labelled_as_they_say() {
    let rows = common::rows();
    assert!(rows.len() > 500, "only {} rows were found", rows.len());
    let mut failures = Vec::new();
    for row in &rows {
        let got = label(&row.sql);
        if got != row.expected {
            failures.push(format!(
                "{}\n  {}\n  expected {}\n  got      {got}",
                row.place(),
                row.sql,
                row.expected
            ));
        }
    }
    assert!(failures.is_empty(), "{} rows\n{}", failures.len(), failures.join("\n"));
}

/// The normalised form is SQL of its own, and the same SQL as far as a label goes.
#[test]
fn rows_keep_their_label_when_they_are_normalised() {
    for row in common::rows() {
        let normalised = fingerprint(row.sql.as_bytes(), true);
        assert_eq!(fingerprint(normalised.as_bytes(), true), normalised, "{}", row.place());
        if row.expected.contains("exact") || row.expected.contains("hint(") {
            continue;
        }
        assert_eq!(label(&normalised), row.expected, "{}\n{normalised}", row.place());
    }
}
