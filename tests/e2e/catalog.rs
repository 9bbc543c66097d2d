//! What is routed by what the database's own objects are, while they change.

use std::time::Duration;

use pgweir_sandbox::{Node, Sandbox};

use crate::harness::{Client, Scratch, Weir, shared, until};

const DEADLINE: Duration = Duration::from_secs(30);

const OBJECTS: &str = "
    CREATE TABLE item (id int PRIMARY KEY, name text);
    INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 10) n;
    CREATE TABLE journal (what text);
    CREATE UNLOGGED TABLE fleeting (id int);
    CREATE FUNCTION reads(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT name FROM item WHERE id = $1';
    CREATE FUNCTION reads_volatile(int) RETURNS text LANGUAGE plpgsql AS
        'BEGIN RETURN (SELECT name FROM item WHERE id = $1); END';
    CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES (''w'') RETURNING 1';
    CREATE FUNCTION hides() RETURNS int STABLE LANGUAGE sql AS 'SELECT writes()';
    CREATE VIEW plain AS SELECT * FROM item;
    CREATE VIEW writing AS SELECT id, writes() FROM item;
    CREATE FUNCTION minus(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 - $2';
    CREATE FUNCTION minus_noting(int, int) RETURNS int LANGUAGE sql AS 'SELECT writes() - $2';
    CREATE OPERATOR -~ (LEFTARG = int, RIGHTARG = int, FUNCTION = minus);
    CREATE OPERATOR -! (LEFTARG = int, RIGHTARG = int, FUNCTION = minus_noting);
    CREATE DOMAIN checked AS int CHECK (writes() = 1);
    CREATE DOMAIN harmless AS int CHECK (VALUE > 0);
    CREATE TABLE guarded (id int);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON guarded USING (writes() = 1);
    CREATE FUNCTION condemned() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'";

/// A statement, whether a replica runs it, and the beginning of its reason.
const CASES: &[(&str, bool, &str)] = &[
    ("SELECT * FROM item", true, "harmless"),
    ("SELECT reads(1)", true, "harmless"),
    ("SELECT reads_volatile(1)", true, "harmless"),
    ("SELECT * FROM plain", true, "harmless"),
    ("SELECT 2 -~ 1", true, "harmless"),
    ("SELECT 1::harmless", true, "harmless"),
    ("SELECT * FROM fleeting", false, "unlogged_relation (fleeting)"),
    ("SELECT writes()", false, "write_function (writes: INSERT)"),
    ("SELECT hides()", false, "write_function (hides > writes: INSERT)"),
    ("SELECT id FROM writing", false, "write_function (writing > writes: INSERT)"),
    ("SELECT 2 -! 1", false, "write_function (-! > minus_noting > writes: INSERT)"),
    ("SELECT 1::checked", false, "write_function (checked > writes: INSERT)"),
    ("SELECT * FROM guarded", false, "write_function (guarded > writes: INSERT)"),
    ("SELECT * FROM nowhere", false, "unknown_relation (nowhere)"),
    ("SELECT condemned()", false, "write_function (condemned)"),
];

fn runs_on_a_replica(client: &mut Client, sql: &str) -> bool {
    let node = client.where_ran(sql);
    node != shared().primary().address()
}

/// What EXPLAIN (ROUTE) says of a fact.
fn told(client: &mut Client, sql: &str, fact: &str) -> String {
    let rows = client.ask(&format!("EXPLAIN (ROUTE) {sql}"));
    let line = rows.lines().find(|line| line.starts_with(&format!("{fact}|")));
    line.map(|line| line[fact.len() + 1..].to_owned()).unwrap_or(rows)
}

#[test]
fn statements_go_where_what_they_use_may_run() {
    let scratch = Scratch::new("catalog_cases");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "[routing]\nwrite_functions = [\"condemned\"]\n");
    let mut client = weir.client("postgres", scratch.name());
    for (sql, on_replica, reason) in CASES {
        assert_eq!(told(&mut client, sql, "reason"), *reason, "{sql}");
        client.query(sql);
        let node = client.last_node();
        let primary = shared().primary();
        assert_eq!(node != primary.address(), *on_replica, "{sql} ran on {node}");
    }
    let lines = primary_journal(scratch.name());
    assert!(lines > 0, "what writes has written");
}

fn primary_journal(database: &str) -> usize {
    let count = shared().primary().psql_in(database, "SELECT count(*) FROM journal");
    count.unwrap().trim().parse().unwrap()
}

/// Whoever defines something, and whoever only uses it: no statement runs by what was known before.
#[test]
fn a_definition_counts_from_the_moment_it_is_made() {
    let scratch = Scratch::new("catalog_changes");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "");
    let mut author = weir.client("postgres", scratch.name());
    let mut user = weir.client("postgres", scratch.name());
    for round in 0..10 {
        author.ask("CREATE OR REPLACE FUNCTION reads(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT hides()::text'");
        assert_eq!(user.ask("SELECT reads(1)"), "1", "round {round}");
        let mut other = weir.client("postgres", scratch.name());
        assert_eq!(other.ask("SELECT reads(1)"), "1", "round {round}");

        author.ask("BEGIN");
        author.ask("CREATE OR REPLACE FUNCTION reads(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT $1::text'");
        assert_eq!(user.ask("SELECT reads(7)"), "1", "round {round}: not committed yet");
        author.ask("COMMIT");
        assert_eq!(user.ask("SELECT reads(7)"), "7", "round {round}");
        until("a replica reads again", DEADLINE, || {
            match runs_on_a_replica(&mut user, "SELECT reads(7)") {
                true => Ok(()),
                false => Err("on the primary"),
            }
        });
    }
    assert_eq!(primary_journal(scratch.name()), 30, "nothing was lost, nothing done twice");
}

/// Prepares a statement and runs it, defines something, and does the rest.
fn prepared_before(
    weir: &Weir,
    database: &str,
    [statement, definition]: [&str; 2],
    rest: impl AsyncFnOnce(tokio_postgres::Client, tokio_postgres::Statement),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let conninfo = weir.conninfo("postgres", database);
        let (client, connection) =
            tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let statement = client.prepare(statement).await.unwrap();
        client.query(&statement, &[]).await.unwrap();
        client.batch_execute(definition).await.unwrap();
        rest(client, statement).await;
    });
}

#[test]
fn statements_prepared_before_a_definition_are_judged_by_it() {
    let scratch = Scratch::new("catalog_prepared");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "");
    let definition = "CREATE OR REPLACE VIEW plain AS SELECT id, name FROM item WHERE writes() = 1";
    let texts = ["SELECT count(*) FROM plain", definition];
    prepared_before(&weir, scratch.name(), texts, async |client, statement| {
        for _ in 0..20 {
            let rows = client.query(&statement, &[]).await.unwrap();
            assert_eq!(rows[0].get::<_, i64>(0), 10);
        }
    });
    assert!(primary_journal(scratch.name()) >= 200);
}

/// Nor does what SQL has prepared.
#[test]
fn what_execute_runs_is_judged_again_behind_a_definition() {
    let scratch = Scratch::new("catalog_execute");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "");
    let mut author = weir.client("postgres", scratch.name());
    let mut user = weir.client("postgres", scratch.name());
    user.ask("PREPARE everything AS SELECT count(*) FROM plain");
    until("a replica reads", DEADLINE, || {
        match runs_on_a_replica(&mut user, "EXECUTE everything") {
            true => Ok(()),
            false => Err("on the primary"),
        }
    });
    author.ask("CREATE OR REPLACE VIEW plain AS SELECT id, name FROM item WHERE writes() = 1");
    for _ in 0..20 {
        assert_eq!(user.ask("EXECUTE everything"), "10");
    }
    assert!(primary_journal(scratch.name()) >= 200);
}

/// What a function has come to do to its session is asked for where it is called by a statement
/// that was prepared before.
#[test]
fn a_prepared_statement_does_to_its_session_what_its_function_does_now() {
    let scratch = Scratch::new("catalog_settings");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "[pool]\nsize = 1\n");
    let definition = "CREATE OR REPLACE FUNCTION reads(int) RETURNS text LANGUAGE sql AS \
                      'SELECT set_config(''work_mem'', ''77kB'', false)'";
    let texts = ["SELECT reads(1)", definition];
    prepared_before(&weir, scratch.name(), texts, async |client, statement| {
        client.query(&statement, &[]).await.unwrap();
        let told = client.query_one("SHOW work_mem", &[]).await.unwrap();
        assert_eq!(told.get::<_, &str>(0), "77kB");
    });
    let mut other = weir.client("postgres", scratch.name());
    assert_ne!(other.ask("SHOW work_mem"), "77kB");
}

/// Nor does what is read while it is not known yet leave anything to others: a view that is new, and one
/// that has become another.
#[test]
fn what_an_unknown_view_does_to_its_session_is_not_passed_on() {
    let scratch = Scratch::new("catalog_unknown_view");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "[pool]\nsize = 1\n");
    let mut author = weir.client("postgres", scratch.name());
    let mut other = weir.client("postgres", scratch.name());
    let body = "SELECT set_config('work_mem', '77kB', false) AS a";
    for definition in [
        format!("CREATE VIEW sets AS {body}"),
        format!("DROP VIEW plain; CREATE VIEW plain AS {body}"),
        format!("CREATE OR REPLACE FUNCTION writes() RETURNS text LANGUAGE sql AS $$ {body} $$"),
    ] {
        author
            .query("DROP VIEW IF EXISTS writing CASCADE; DROP FUNCTION IF EXISTS writes() CASCADE");
        author.ask(&definition);
        for read in ["SELECT * FROM sets", "SELECT a FROM plain", "SELECT writes()"] {
            author.query(read);
            assert_ne!(other.ask("SHOW work_mem"), "77kB", "{definition}; {read}");
        }
        author.ask("RESET ALL");
    }
}

/// Definitions that do not pass through pgweir are found within its period.
#[test]
fn a_definition_made_elsewhere_is_found() {
    let scratch = Scratch::new("catalog_elsewhere");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "");
    let mut client = weir.client("postgres", scratch.name());
    assert_eq!(told(&mut client, "SELECT reads(1)", "class"), "read");
    let define = "CREATE OR REPLACE FUNCTION reads(int) RETURNS text LANGUAGE sql AS 'SELECT writes()::text'";
    shared().primary().psql_in(scratch.name(), define).unwrap();
    until("the new function is known", DEADLINE, || {
        match told(&mut client, "SELECT reads(1)", "class").as_str() {
            "write" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let metrics = weir.metrics();
    let labels = [&*format!("database=\"{}\"", scratch.name())];
    assert!(metrics.sum("pgweir_catalog_objects", &labels) > 0.0);
    assert_eq!(metrics.sum("pgweir_catalog_known", &labels), 1.0);
}

/// Nothing of pgweir's own stays connected to a database.
#[test]
fn a_database_that_nobody_uses_can_be_dropped() {
    let scratch = Scratch::new("catalog_dropped");
    scratch.prepare(OBJECTS);
    let weir = Weir::start(shared(), "");
    let mut client = weir.client("postgres", scratch.name());
    client.ask("SELECT * FROM item");
    let questions = |node: &Node| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'pgweir'",
            scratch.name()
        );
        node.psql(&sql).unwrap()
    };
    let sandbox: &Sandbox = shared();
    until("the keeper lets go", DEADLINE, || match questions(sandbox.primary()).trim() {
        "0" => Ok(()),
        other => Err(other.to_owned()),
    });
}
