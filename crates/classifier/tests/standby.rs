//! The oracle: whatever is labelled as a read gets the same answer, or the same error, from a hot
//! standby as from its primary.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod common;

use std::time::Duration;

use pgweir_classifier::{Access, Catalog, Effect, Options, Verdict, classify};
use pgweir_sandbox::{Node, Sandbox};

/// How long a standby may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(30);

/// What stands behind each answer.
const MARK: &str = "=====";

/// Statements per session; all of them are arguments of one `psql`.
const BATCH: usize = 500;

fn cluster() -> Sandbox {
    let sandbox = Sandbox::builder().replicas(1).start().expect("a cluster");
    sandbox.primary().psql(include_str!("standby/schema.sql")).expect("the schema");
    sandbox.wait_all_caught_up(CATCH_UP).expect("a standby that follows");
    sandbox
}

/// Sends each statement as a simple query of its own and returns its rows and errors. The session is
/// reset after each.
fn answers(sandbox: &Sandbox, node: &Node, statements: &[String]) -> Vec<String> {
    statements.chunks(BATCH).flat_map(|batch| batch_answers(sandbox, node, batch)).collect()
}

fn batch_answers(sandbox: &Sandbox, node: &Node, statements: &[String]) -> Vec<String> {
    let mut psql = sandbox.program("psql");
    psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=VERBOSITY=verbose"])
        .args(["--set=SHOW_CONTEXT=never", "--username", sandbox.superuser(), "postgres"])
        .args(["--host", node.host(), "--port", &node.port().to_string()]);
    for statement in statements {
        psql.args(["--command", statement, "--command", "DISCARD ALL"]).args([
            "--command",
            &format!("\\echo {MARK}"),
            "--command",
            &format!("\\warn {MARK}"),
        ]);
    }
    let output = psql.output().expect("psql");
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let (rows, errors): (Vec<_>, Vec<_>) =
        (rows.split(MARK).collect(), errors.split(MARK).collect());
    assert_eq!(rows.len(), statements.len() + 1, "psql answered every statement\n{errors:?}");
    let answers = rows.iter().zip(&errors).take(statements.len());
    answers.map(|(rows, errors)| format!("{}{}", rows.trim(), errors.trim())).collect()
}

/// Asserts that both servers say the same; where the answer varies, that both give one.
fn assert_same(sandbox: &Sandbox, statements: &[(String, bool)]) {
    let texts: Vec<String> = statements.iter().map(|(text, _)| text.clone()).collect();
    let primary = answers(sandbox, sandbox.primary(), &texts);
    let standby = answers(sandbox, sandbox.replica(0), &texts);
    let mut failures = Vec::new();
    for (((text, varies), primary), standby) in statements.iter().zip(&primary).zip(&standby) {
        let error = |answer: &str| answer.contains("ERROR:");
        let same = if *varies { error(primary) == error(standby) } else { primary == standby };
        if !same {
            failures.push(format!("{text}\n  primary: {primary}\n  standby: {standby}"));
        }
    }
    assert!(failures.is_empty(), "{} differ\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn reads_get_the_same_answer_from_a_standby() {
    let sandbox = cluster();
    let reads: Vec<_> = common::rows()
        .into_iter()
        .filter(|row| !row.has("server"))
        .filter(|row| {
            let label = classify(row.sql.as_bytes(), Options::default(), &Catalog::builtin());
            label.access == Access::Read
        })
        .map(|row| (row.sql.clone(), row.has("varies")))
        .collect();
    assert!(reads.len() > 250, "only {} reads", reads.len());
    assert_same(&sandbox, &reads);
}

/// Functions whose answers are different each time, or depend on the time.
const VARYING: &[&str] = &[
    "random",
    "gen_random_uuid",
    "clock_timestamp",
    "timeofday",
    "now",
    "statement_timestamp",
    "transaction_timestamp",
    "current_query",
    "pg_timezone_names",
];

#[test]
fn harmless_functions_give_the_same_answer_on_a_standby() {
    let sandbox = cluster();
    let catalog = Catalog::builtin();
    let calls = sandbox.primary().psql(include_str!("standby/calls.sql")).expect("the functions");
    let reads: Vec<_> = calls
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(name, _)| catalog.function(None, name) == Verdict::Read)
        .map(|(name, call)| (call.to_owned(), VARYING.contains(&name)))
        .collect();
    assert!(reads.len() > 4000, "only {} calls", reads.len());
    assert_same(&sandbox, &reads);
}

/// A setting that is said again on another connection has the value that the client gave it.
#[test]
fn settings_said_again_have_the_same_value() {
    let sandbox = cluster();
    sandbox.primary().psql("CREATE ROLE app; CREATE ROLE \"App\"").expect("the roles");
    let mut said = Vec::new();
    let mut again = Vec::new();
    for row in common::rows() {
        let label = classify(row.sql.as_bytes(), Options::default(), &Catalog::builtin());
        let [only] = label.statements.as_slice() else { continue };
        let [Effect::Set { name, value, local: false }] = only.effects.as_slice() else { continue };
        let first = row.sql.trim_end_matches(';');
        said.push(format!("{first}; SHOW {name}"));
        again.push(format!("{}; SHOW {name}", value.statement));
    }
    assert!(said.len() > 30, "only {} settings", said.len());
    let told = answers(&sandbox, sandbox.primary(), &said);
    let retold = answers(&sandbox, sandbox.primary(), &again);
    for (((said, again), told), retold) in said.iter().zip(&again).zip(&told).zip(&retold) {
        assert!(!told.contains("ERROR:"), "{said}: {told}");
        // What set_config itself answers stands in front.
        let value = told.lines().last();
        assert_eq!(value, retold.lines().last(), "{said}\n{again}");
    }
}
