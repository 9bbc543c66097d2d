//! A snapshot of a database that hides writes wherever it can: every use of its objects is labelled as
//! its row says, and whatever is labelled as a read gets the primary's answer from a hot standby.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]

mod common;

use std::time::Duration;

use common::database;
use pgweir_classifier::{Access, Catalog, Options, UnknownFunctions, classify};
use pgweir_sandbox::Sandbox;

const CATCH_UP: Duration = Duration::from_secs(30);

fn cluster(replicas: usize) -> Sandbox {
    let sandbox = Sandbox::builder().replicas(replicas).start().expect("a cluster");
    sandbox.primary().psql(include_str!("catalog/schema.sql")).expect("the schema");
    sandbox.wait_all_caught_up(CATCH_UP).expect("a standby that follows");
    sandbox
}

fn label(sql: &str, catalog: &Catalog) -> pgweir_classifier::Label {
    classify(sql.as_bytes(), Options::default(), catalog)
}

#[test]
fn uses_of_a_databases_objects_are_labelled_as_they_say() {
    let sandbox = cluster(1);
    let catalog = database::catalog(&sandbox, "postgres", Catalog::builtin());
    let rows = common::rows_of(&common::directory().join("../catalog/rows.sql"));
    let mut failures = Vec::new();
    for row in &rows {
        let label = label(&row.sql, &catalog);
        let got = common::describe(&label);
        if got != row.expected {
            failures.push(format!(
                "{}\n  {}\n  expected {}\n  got      {got}: {}",
                row.place(),
                row.sql,
                row.expected,
                label.reason
            ));
        }
    }
    assert!(failures.is_empty(), "{} rows\n{}", failures.len(), failures.join("\n"));

    // The standby is the judge.
    let reads = rows.iter().filter(|row| label(&row.sql, &catalog).access == Access::Read);
    for row in reads {
        let answers = [sandbox.primary(), sandbox.replica(0)]
            .map(|node| node.psql(&row.sql).unwrap_or_else(|error| panic!("{}: {error}", row.sql)));
        assert_eq!(answers[0], answers[1], "{}", row.sql);
    }
}

/// Settings that code in the database changes, and what it takes to vouch for code.
#[test]
fn code_in_the_database_is_known_by_what_it_sets_and_calls() {
    let sandbox = cluster(0);
    let catalog = database::catalog(&sandbox, "postgres", Catalog::builtin());
    let settings: Vec<&str> = catalog.custom_settings().iter().map(|name| &**name).collect();
    assert_eq!(
        settings,
        ["app.by_trigger", "app.by_view", "app.local", "app.of_function", "app.user"]
    );
    assert!(catalog.has_dynamic_settings(), "runner() may set anything");

    let vouched = database::catalog(
        &sandbox,
        "postgres",
        Catalog::builtin().with_read_functions(["writer"]).with_write_functions(["public.reader"]),
    );
    assert_eq!(label("SELECT * FROM v_v_writer", &vouched).access, Access::Read);
    assert_eq!(label("SELECT wrapper()", &vouched).access, Access::Read);
    assert_eq!(label("SELECT reader(1)", &vouched).access, Access::Write);
    assert_eq!(label("SELECT drawer()", &vouched).access, Access::Write);
}

#[test]
fn until_a_database_is_read_only_postgresqls_own_objects_are_trusted() {
    let sandbox = cluster(0);
    let read = database::catalog(&sandbox, "postgres", Catalog::builtin());
    let custom = read.custom_settings().to_vec();
    let stale = read.clone().with_unread_database();
    assert_eq!(stale.custom_settings(), custom);
    for sql in ["SELECT 1 + 1", "SELECT upper('a')", "SELECT * FROM pg_roles"] {
        assert_eq!(
            label(sql, &stale).reason.as_str(),
            "catalog_unread",
            "{sql}: others may be meant"
        );
    }
    let doubtful = read.with_doubtful_database();
    for sql in ["SELECT 2 * 3", "SELECT 1", "SELECT * FROM pg_class", "VALUES (1)"] {
        assert_eq!(label(sql, &doubtful).reason.as_str(), "catalog_unread", "{sql}");
    }
    assert_eq!(label("BEGIN", &doubtful).access, Access::Neutral);
    let never = Catalog::builtin().with_unread_database();
    assert!(never.has_dynamic_settings());
    for catalog in [stale, never] {
        let rows = [
            ("SELECT 2 * 3, lower('a'), now()", "harmless"),
            ("SELECT * FROM pg_class", "harmless"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "harmless"),
            ("SELECT '1'::int, 'a'::text, 1::numeric(10, 2), NULL::int[]", "harmless"),
            ("SELECT * FROM t", "catalog_unread"),
            ("SELECT reader(1)", "catalog_unread"),
            ("SELECT 1 @@@@ 1", "catalog_unread"),
            ("SELECT 'ok'::mood", "catalog_unread"),
        ];
        for (sql, reason) in rows {
            assert_eq!(label(sql, &catalog).reason.as_str(), reason, "{sql}");
        }
    }
}

#[test]
fn a_reason_names_the_way_to_what_writes() {
    let sandbox = cluster(0);
    let catalog = database::catalog(&sandbox, "postgres", Catalog::builtin());
    let rows = [
        ("SELECT * FROM v_v_writer", "write_function (v_v_writer > v_writer > writer: INSERT)"),
        ("SELECT * FROM parent", "unlogged_relation (parent > child_2)"),
        ("SELECT 1 !@! 1", "write_function (!@! > operator_writer > writer: INSERT)"),
        ("SELECT runner('')", "runs_text (runner: dynamic SQL)"),
        ("SELECT drawer()", "write_function (drawer > nextval)"),
    ];
    for (sql, reason) in rows {
        assert_eq!(label(sql, &catalog).reason.to_string(), reason, "{sql}");
    }
}

#[test]
fn a_risk_that_the_operator_takes_is_not_taken_while_nothing_is_known() {
    let risky = Catalog::builtin().with_unknown_functions(UnknownFunctions::Read);
    for sql in ["SELECT mystery(1)", "SELECT 1 @@@@ 1"] {
        assert_eq!(label(sql, &risky).access, Access::Read, "{sql}");
        let unread = label(sql, &risky.clone().with_unread_database());
        assert_eq!((unread.access, unread.reason.as_str()), (Access::Write, "catalog_unread"));
    }
}
