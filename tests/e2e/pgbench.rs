//! pgbench's own work through pgweir: no error, and the sums are right afterwards.
//!
//! `PGWEIR_E2E_FULL=1` runs 20,000 transactions of each kind instead of a few thousand.

use std::env;
use std::time::Duration;

use crate::harness::{SOON, Scratch, TemporaryDir, Weir, run, shared};

const CLIENTS: u32 = 16;
const SCALE: u32 = 4;

/// Long enough for the full runs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);

const MODES: [&str; 3] = ["simple", "extended", "prepared"];

fn transactions_each() -> u32 {
    let is_full = env::var_os("PGWEIR_E2E_FULL").is_some();
    (if is_full { 20_000 } else { 2_000 }) / CLIENTS
}

/// Runs pgbench; returns what it printed.
#[track_caller]
fn pgbench(weir: &Weir, scratch: &Scratch, arguments: &[&str]) -> String {
    let mut pgbench = shared().program("pgbench");
    pgbench.args(["-h", "127.0.0.1", "-p", &weir.port().to_string(), "-U", "postgres"]);
    pgbench.args(arguments).arg(scratch.name());
    let finished = run(&mut pgbench, "", PATIENCE);
    let errors = finished.stderr.contains("ERROR") || finished.stderr.contains("FATAL");
    assert!(!errors, "{}", finished.stderr);
    finished.expect_success()
}

/// So many transactions by 16 clients, all of which succeed.
#[track_caller]
fn transact(weir: &Weir, scratch: &Scratch, each: u32, arguments: &[&str]) {
    let (clients, each_text) = (CLIENTS.to_string(), each.to_string());
    let mut all = vec!["-n", "-c", &clients, "-j", "2", "-t", &each_text];
    all.extend_from_slice(arguments);
    let printed = pgbench(weir, scratch, &all);
    let wanted = format!("actually processed: {0}/{0}", CLIENTS * each);
    assert!(printed.contains(&wanted), "{arguments:?}: {printed}");
    assert!(printed.contains("number of failed transactions: 0 "), "{printed}");
}

fn initialised(name: &'static str, config: &str) -> (Weir, Scratch) {
    let scratch = Scratch::new(name);
    let weir = Weir::start(shared(), config);
    pgbench(&weir, &scratch, &["-i", "-q", "-s", &SCALE.to_string()]);
    shared().wait_all_caught_up(SOON).unwrap();
    (weir, scratch)
}

fn on_primary(scratch: &Scratch, sql: &str) -> String {
    shared().primary().psql_in(scratch.name(), sql).unwrap()
}

#[test]
fn initialising_makes_what_it_makes_directly() {
    let (_weir, scratch) = initialised("pgbench_init", "");
    let counts = "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_tellers),
                         (SELECT count(*) FROM pgbench_branches),
                         (SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conrelid::regclass::text LIKE 'pgbench%')";
    let wanted = format!("{}|{}|{SCALE}|3", SCALE * 100_000, SCALE * 10);
    assert_eq!(on_primary(&scratch, counts), wanted);
}

/// TPC-B in these query modes; every sum must be right afterwards.
fn tpc_b_balances(name: &'static str, config: &str, modes: &[&str]) {
    let (weir, scratch) = initialised(name, config);
    let each = transactions_each();
    for mode in modes {
        transact(&weir, &scratch, each, &["-M", mode]);
    }
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta),
                       (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta),
                       (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta),
                       count(*) FROM pgbench_history";
    let count = u32::try_from(modes.len()).unwrap() * CLIENTS * each;
    assert_eq!(on_primary(&scratch, sums), format!("t|t|t|{count}"));
}

#[test]
fn tpc_b_balances_in_every_query_mode() {
    tpc_b_balances("pgbench_tpcb", "", &MODES);
}

#[test]
fn tpc_b_balances_with_several_threads() {
    tpc_b_balances("pgbench_threads", "runtime.workers = 4", &MODES[2..]);
}

#[test]
fn tpc_b_balances_on_few_server_connections() {
    // Not prepared: a thread of pgbench waits for one client's PREPARE while another of its clients
    // is in a transaction.
    tpc_b_balances("pgbench_few", "pool.size = 3", &MODES[..2]);
}

#[test]
fn tpc_b_balances_with_split_transactions() {
    let split = "routing.transactions = \"split\"";
    tpc_b_balances("pgbench_split", split, &MODES);
    tpc_b_balances("pgbench_split_few", &format!("{split}\npool.size = 3"), &MODES[..1]);
}

/// What applications do most: they begin, read, and write now and then.
#[test]
fn split_transactions_read_on_replicas_and_balance() {
    let (weir, scratch) = initialised("pgbench_mostly", "routing.transactions = \"split\"");
    let directory = TemporaryDir::new();
    let reads = "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n".repeat(4);
    let head = "\\set aid random(1, 100000)\n\\set delta random(-5000, 5000)\nBEGIN;\n";
    let write = "UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
        INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
            VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);\n";
    let reading = directory.write("reading.sql", &format!("{head}{reads}END;\n"));
    let writing = directory.write("writing.sql", &format!("{head}{reads}{write}END;\n"));
    let [reading, writing] =
        [(reading, 9), (writing, 1)].map(|(file, weight)| format!("{}@{weight}", file.display()));
    let before = [weir.queries(shared(), "read"), weir.queries(shared(), "write")];
    for mode in MODES {
        let files = ["-f", &reading, "-f", &writing];
        transact(&weir, &scratch, transactions_each(), &[&["-M", mode][..], &files].concat());
    }
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = coalesce(sum(delta), 0)
                FROM pgbench_history";
    assert_eq!(on_primary(&scratch, sums), "t");
    let after = [weir.queries(shared(), "read"), weir.queries(shared(), "write")];
    let served = |class: usize, node: usize| after[class][node] - before[class][node];
    let on_replicas = served(0, 1) + served(0, 2);
    let all = on_replicas + served(0, 0);
    eprintln!("reads {all}, {:.1} % of them on replicas", 100.0 * on_replicas / all);
    // A read behind a write in its transaction belongs to the primary, and so does one behind a commit
    // that no replica is known to have replayed.
    assert!(on_replicas > 0.2 * all, "{on_replicas} of {all}");
    assert!(served(1, 1) + served(1, 2) < 1.0, "{after:?}");
}

#[test]
fn simple_updates_balance_in_every_query_mode() {
    let (weir, scratch) = initialised("pgbench_update", "");
    let each = transactions_each();
    for mode in MODES {
        transact(&weir, &scratch, each, &["-N", "-M", mode]);
    }
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta), count(*)
                FROM pgbench_history";
    assert_eq!(on_primary(&scratch, sums), format!("t|{}", 3 * CLIENTS * each));
}

#[test]
fn selects_run_on_replicas_in_every_query_mode() {
    let (weir, scratch) = initialised("pgbench_select", "");
    let each = transactions_each();
    for mode in MODES {
        let before = weir.queries(shared(), "read");
        transact(&weir, &scratch, each, &["-S", "-M", mode]);
        let after = weir.queries(shared(), "read");
        let reads: Vec<f64> =
            after.iter().zip(&before).map(|(after, before)| after - before).collect();
        let (all, on_replicas) = (reads.iter().sum::<f64>(), reads[1] + reads[2]);
        eprintln!("{mode}: {reads:?}");
        assert!(all >= f64::from(CLIENTS * each), "{mode}: {reads:?}");
        assert!(on_replicas >= 0.99 * all, "{mode}: {reads:?}");
        assert!(reads[1] > 0.1 * all && reads[2] > 0.1 * all, "{mode}: {reads:?}");
    }
}

#[test]
fn a_connection_per_transaction_works() {
    let (weir, scratch) = initialised("pgbench_connect", "");
    let each = transactions_each() / 4;
    transact(&weir, &scratch, each, &["-C"]);
    transact(&weir, &scratch, each, &["-C", "-S", "-M", "prepared"]);
    let count = on_primary(&scratch, "SELECT count(*) FROM pgbench_history");
    assert_eq!(count, (CLIENTS * each).to_string());
}
