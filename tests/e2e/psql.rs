//! psql as people use it: described tables, files copied, Ctrl-C, the tabulator.

use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Finished, SOON, Scratch, TemporaryDir, Terminal, Weir, run, shared, until};

const TABLES: &str = "
    CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', CHECK (id > 0));
    CREATE INDEX customer_name ON customer (name);
    CREATE VIEW rich AS SELECT * FROM customer;
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
    INSERT INTO customer SELECT n, 'name ' || n FROM generate_series(1, 3) n";

fn psql(port: u16, database: &str) -> Command {
    let mut psql = shared().program("psql");
    let conninfo = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    psql.args(["-X", "-d", &conninfo]);
    psql
}

/// Waits until a server runs what has this mark in it.
fn until_running(mark: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE query LIKE '%{mark}%' AND state = 'active' AND pid <> pg_backend_pid()"
    );
    until("the statement to run", SOON, || {
        let running = |node: &pgweir_sandbox::Node| node.psql(&sql).unwrap() != "0";
        shared().nodes().iter().any(running).then_some(()).ok_or("it does not run")
    });
}

/// Runs psql, and interrupts it as Ctrl-C does once a server runs what has this mark in it.
pub(crate) fn interrupt_when(psql: &mut Command, mark: &str) -> Finished {
    let mut child = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until_running(mark);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = until("psql to end", SOON, || child.try_wait().unwrap().ok_or("it runs"));
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Finished { status, stdout, stderr }
}

#[test]
fn backslash_commands_show_what_they_show_directly() {
    let scratch = Scratch::new("psql_describe");
    scratch.prepare(TABLES);
    let weir = Weir::start(shared(), "");
    let script = "\\d\n\\d customer\n\\d+ rich\n\\di\n\\df twice\n\\dn\n\\du\n\\l postgres\n\\dt+ pg_catalog.pg_class\n\
                  \\sf twice\n\\sv rich\n\\dp\n\\dconfig work_mem\n\\encoding\nTABLE customer;\n\\gdesc\n\
                  SELECT 1 AS one \\gset\n\\echo :one\nSELECT id, name FROM customer \\crosstabview\n";
    let shown = |port| {
        let finished =
            run(psql(port, scratch.name()).args(["-v", "ON_ERROR_STOP=0"]), script, SOON);
        (finished.stdout, finished.stderr)
    };
    let (direct, through) = (shown(shared().primary().port()), shown(weir.port()));
    assert_eq!(direct, through);
    assert!(direct.0.contains("customer_pkey"), "{}", direct.0);
}

#[test]
fn backslash_copy_goes_both_ways() {
    let scratch = Scratch::new("psql_copy");
    scratch.prepare("CREATE TABLE item (id int, name text)");
    let weir = Weir::start(shared(), "");
    let directory = TemporaryDir::new();
    let rows: String = (0..5000).map(|id| format!("{id},name {id}\n")).collect();
    let file = directory.write("items.csv", &rows);
    let script = format!("\\copy item FROM '{}' CSV\n", file.display());
    let loaded = run(&mut psql(weir.port(), scratch.name()), &script, SOON).expect_success();
    assert_eq!(loaded, "COPY 5000\n");
    shared().wait_all_caught_up(SOON).unwrap();
    let script = "\\copy (SELECT * FROM item ORDER BY id) TO STDOUT CSV\n";
    let copied = run(&mut psql(weir.port(), scratch.name()), script, SOON).expect_success();
    assert_eq!(copied, rows);
}

#[test]
fn ctrl_c_cancels_the_statement() {
    let weir = Weir::start(shared(), "");
    let mut sleeping = psql(weir.port(), "postgres");
    sleeping.args(["-c", "SELECT pg_sleep(600) -- psql_ctrl_c"]);
    let cancelled = interrupt_when(&mut sleeping, "psql_ctrl_c");
    let told = "ERROR:  canceling statement due to user request";
    assert!(cancelled.stderr.contains(told), "{cancelled:?}");
}

#[test]
fn an_interactive_session_completes_names_watches_and_is_interrupted() {
    let scratch = Scratch::new("psql_terminal");
    scratch.prepare(TABLES);
    let weir = Weir::start(shared(), "");
    let Some(mut terminal) = Terminal::open(&format!(
        "{} -X -h 127.0.0.1 -p {} -U postgres {} --pset pager=off",
        shared().program("psql").get_program().display(),
        weir.port(),
        scratch.name()
    )) else {
        return;
    };
    terminal.shows("psql_terminal=#");
    // The tabulator asks the server for names.
    terminal.types("SELECT count(*) AS many FROM cust\t");
    terminal.shows("customer");
    terminal.types(";\r");
    terminal.shows("many");
    terminal.types("BEGIN;\r");
    terminal.shows("psql_terminal=*#");
    terminal.types("ROLLBACK;\r");
    terminal.shows("psql_terminal=#");
    // A watch runs again and again, until it is interrupted.
    terminal.types("SELECT 'watched' AS this \\watch 0.1\r");
    terminal.shows("watched");
    terminal.types("");
    terminal.shows("watched");
    terminal.types("\x03");
    terminal.shows("psql_terminal=#");
    terminal.types("SELECT pg_sleep(600), 'psql_terminal_ctrl_c';\r");
    until_running("psql_terminal_ctrl_c");
    terminal.types("\x03");
    terminal.shows("canceling statement due to user request");
    terminal.types("\\q\r");
    assert_eq!(terminal.wait_for_end(SOON).code(), Some(0));
}
