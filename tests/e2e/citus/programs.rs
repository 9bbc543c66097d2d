//! Programs that used to split reads from writes by hand, without that code.

use std::process::Command;
use std::time::Duration;

use super::{SHARED, Sharded, setup_of, start};
use crate::drivers::{has_modules, pythons, source, tell};
use crate::harness::run;

const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a program straight at the coordinator and through pgweir: it must say the same, and its reads
/// must have been on workers while nothing was written there.
#[track_caller]
fn says_the_same(
    case: &'static str,
    direct: &'static str,
    file: &str,
    modules: &str,
    packages: &str,
) {
    let Some(python) = pythons().find(|python| has_modules(python, modules)) else {
        return tell(&format!("SKIPPED {case}: install {packages}"));
    };
    let (Some(alone), Some(database)) = (Sharded::new(direct, ""), Sharded::new(case, "")) else {
        return;
    };
    let say = |port: u16, database: &str| {
        let mut command = Command::new(&python);
        command
            .arg(source(file))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        run(&mut command, "", PATIENCE).expect_success()
    };
    let expected = say(SHARED.coordinator().primary().port(), alone.name);
    let weir = start(setup_of(&SHARED, database.name), 2);
    let said = say(weir.port(), database.name);
    assert_eq!(said, expected);
    let metrics = weir.metrics();
    let count = |node: &pgweir_sandbox::Node, class: &str| {
        let labels = [format!("node=\"{}\"", node.address()), format!("class=\"{class}\"")];
        metrics.sum("pgweir_queries_total", &[&labels[0], &labels[1]])
    };
    let of = |class| SHARED.primaries().map(|node| count(node, class)).collect::<Vec<_>>();
    let (reads, writes) = (of("read"), of("write"));
    assert!(reads[1] > 10.0 && reads[2] > 10.0, "{reads:?}");
    assert!(writes[0] > 0.0 && writes[1..] == [0.0, 0.0], "{writes:?}");
    tell(&format!(
        "{case}: reads {reads:?} and writes {writes:?} on the coordinator and the workers"
    ));
}

#[test]
fn peewee_without_its_routing_code() {
    says_the_same(
        "citus_peewee",
        "citus_peewee_direct",
        "peewee_users.py",
        // Before, it began a transaction with every read.
        "psycopg2, peewee; assert tuple(map(int, peewee.__version__.split('.')[:2])) >= (3, 16)",
        "peewee 3.16 or later and psycopg2",
    );
}

#[test]
fn sqlalchemys_login_handler() {
    says_the_same(
        "citus_sqlalchemy",
        "citus_sqlalchemy_direct",
        "sqlalchemy_login.py",
        "sqlalchemy, psycopg2",
        "python3-sqlalchemy python3-psycopg2",
    );
}
