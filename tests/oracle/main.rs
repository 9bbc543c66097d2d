//! The routing oracle: statements are run on a hot standby and on its primary, and the standby judges
//! what the classifier says of them. The short form runs with all tests; `make oracle` replays
//! PostgreSQL's own regression suite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a test may fail loudly, and reports"
)]

mod replay;
mod script;

use std::collections::HashMap;
use std::path::Path;

use pgweir_sandbox::Sandbox;

use replay::{Replay, Score};
use script::{Statement, statements};

/// Where the suite is, and its functions in C; see `oracle.py`.
const SUITE: &str = "PGWEIR_ORACLE_SUITE";
const MODULES: &str = "PGWEIR_ORACLE_MODULES";
/// Which of its files are wanted, if not all.
const ONLY: &str = "PGWEIR_ORACLE_ONLY";

/// Scripts that need what a test's server does not have, or that end sessions.
const LEFT_OUT: &[&str] = &["tablespace", "largeobject"];

fn cluster() -> Sandbox {
    // What a commit's acknowledgement means here: the standby shows it.
    Sandbox::builder()
        .replicas(1)
        .setting("synchronous_commit", "remote_apply")
        .setting("max_prepared_transactions", "10")
        .start()
        .unwrap()
}

fn synchronise(sandbox: &Sandbox) {
    let primary = sandbox.primary();
    primary.set_config("synchronous_standby_names", "*").unwrap();
    primary.reload().unwrap();
}

/// A database whose author hides writes wherever PostgreSQL lets one, and uses of its objects.
const SCHEMA: &str = include_str!("../../crates/classifier/tests/catalog/schema.sql");
const ROWS: &str = include_str!("../../crates/classifier/tests/catalog/rows.sql");

/// What may be lost of the reads that a standby could serve, in per cent.
const LEAST_SHARE: f64 = 97.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_agrees_on_what_hides_writes() {
    let sandbox = cluster();
    sandbox.primary().psql(SCHEMA).unwrap();
    sandbox.wait_all_caught_up(std::time::Duration::from_secs(30)).unwrap();
    synchronise(&sandbox);
    let mut score = Score::default();
    for sql in ROWS.split("--;;").filter_map(|row| row.split_once('\n')).map(|(_, sql)| sql.trim())
    {
        // Each in a session of its own.
        let mut replay = Replay::start(&sandbox, "postgres", "").await;
        let statement = Statement { sql: sql.to_owned(), data: None };
        replay.send(&statement, &mut score).await;
    }
    println!("{}", score.report());
    assert_eq!(score.wrong, Vec::<String>::new());
    assert!(score.possible > 40, "{} statements only", score.possible);
}

/// Scripts in the order of the schedule.
fn schedule(suite: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(suite.join("parallel_schedule")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("test:"));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresqls_own_statements_are_judged_by_a_standby() {
    let Ok(suite) = std::env::var(SUITE) else {
        return;
    };
    let suite = Path::new(&suite);
    let only = std::env::var(ONLY).unwrap_or_default();
    let only: Vec<&str> = only.split_whitespace().collect();
    let sandbox = cluster();
    sandbox
        .primary()
        .psql("CREATE DATABASE regression TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        .unwrap();
    sandbox.wait_all_caught_up(std::time::Duration::from_secs(30)).unwrap();
    synchronise(&sandbox);
    let text = |path: &Path| path.display().to_string();
    let environment = HashMap::from([
        ("PG_ABS_SRCDIR", text(suite)),
        ("PG_ABS_BUILDDIR", text(suite)),
        ("PG_LIBDIR", std::env::var(MODULES).unwrap()),
        ("PG_DLSUFFIX", ".so".to_owned()),
    ]);
    let mut score = Score::default();
    for name in schedule(suite) {
        if LEFT_OUT.contains(&&*name)
            || !only.is_empty() && name != "test_setup" && !only.contains(&&*name)
        {
            continue;
        }
        let file = std::fs::read(suite.join(format!("sql/{name}.sql"))).unwrap();
        let file = String::from_utf8_lossy(&file);
        let mut replay = Replay::start(
            &sandbox,
            "regression",
            "-c intervalstyle=postgres_verbose -c timezone=PST8PDT -c datestyle=Postgres,MDY",
        )
        .await;
        let before = (score.possible, score.taken, score.wrong.len());
        for statement in statements(&file, &environment) {
            replay.send(&statement, &mut score).await;
        }
        println!(
            "{name}: {} of {}, {} wrong",
            score.taken - before.1,
            score.possible - before.0,
            score.wrong.len() - before.2
        );
    }
    println!("{}", score.report());
    assert!(!only.is_empty() || score.share() >= LEAST_SHARE, "{:.2} %", score.share());
    assert!(score.wrong.len() * 10_000 < score.statements, "{} wrong replicas", score.wrong.len());
}
