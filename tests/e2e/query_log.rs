//! `log.queries` and `log.slow_query`.

use crate::harness::{SOON, Weir, shared, until};

/// The lines of the log with these words, once there are any.
#[track_caller]
fn lines(log: impl Fn() -> String, words: &[&str]) -> Vec<String> {
    until(&format!("a line with {words:?}"), SOON, || {
        let log = log();
        let found = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        let found: Vec<String> = found.map(str::to_owned).collect();
        if found.is_empty() { Err(log) } else { Ok(found) }
    })
}

#[test]
fn slow_queries_are_logged_without_their_literals_and_others_are_not() {
    let weir = Weir::start(shared(), "log.slow_query = \"300ms\"");
    let mut client = weir.postgres();
    client.ask("SELECT 'a secret', 1");
    client.ask("SELECT pg_sleep(0.4), 'a secret'");
    client.extended("SELECT pg_sleep(0.5)", &[]);
    let found = lines(|| weir.log(), &["slow query", "select pg_sleep(0.0), '?'"]);
    let [line] = &found[..] else { panic!("{found:?}") };
    for word in [
        "class=\"read\"",
        "reason=\"harmless\"",
        "database=\"postgres\"",
        "user=\"postgres\"",
        "client{id=",
        "peer=\"127.0.0.1:",
        "node=\"127.0.0.1:",
        "wait_ms=",
        "duration_ms=",
    ] {
        assert!(line.contains(word), "{word} in {line}");
    }
    lines(|| weir.log(), &["slow query", "statement=\"select pg_sleep(0.0)\""]);
    let log = weir.log();
    assert!(!log.contains("secret") && !log.contains("select '?', 0"), "{log}");
}

#[test]
fn the_wait_for_a_connection_makes_a_query_slow_too() {
    let weir = Weir::start(shared(), "log.slow_query = \"300ms\"\npool.size = 1");
    let (mut first, mut second) = (weir.postgres(), weir.postgres());
    first.ask("BEGIN");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.ask("/* pgweir: primary */ SELECT 'waited'"));
        first.ask("SELECT pg_sleep(0.5)");
        first.ask("COMMIT");
        assert_eq!(waiting.join().unwrap(), "waited");
    });
    let found = lines(|| weir.log(), &["slow query", "statement=\"select '?'\""]);
    let wait = found[0].split("wait_ms=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(wait.parse::<f64>().unwrap() > 200.0, "{found:?}");
}

#[test]
fn every_query_is_logged_with_its_route_if_asked_for() {
    let weir = Weir::start(shared(), "log.queries = true\nfirewall.block = \"TRUNCATE t\"");
    let mut client = weir.postgres();
    let replica = client.where_ran("SELECT 17, 'x'");
    client.extended("SELECT $1::int FOR UPDATE", &["1"]);
    client.fail("TRUNCATE t");
    let found =
        lines(|| weir.log(), &["query", "statement=\"select 0, '?'\"", "reason=\"harmless\""]);
    assert!(found[0].contains(&format!("node=\"{replica}\"")), "{found:?}");
    let primary = format!("node=\"{}\"", shared().primary().address());
    lines(|| weir.log(), &["select $1::int for update", "reason=\"row_lock\"", &primary]);
    lines(|| weir.log(), &["truncate t", "reason=\"blocked\"", "node=\"none\""]);
    assert!(!weir.log().contains("slow query"));
}

#[test]
fn a_line_of_json_has_the_same_fields() {
    let weir = Weir::setup(shared())
        .config("log.queries = true")
        .arguments(&["--log-format", "json"])
        .start();
    weir.postgres().ask("SELECT 17, 'x'");
    let found = lines(|| weir.log(), &["\"query\"", "select 0, '?'"]);
    let line: serde_json::Value = serde_json::from_str(&found[0]).unwrap();
    for (field, want) in [
        ("message", "query"),
        ("statement", "select 0, '?'"),
        ("class", "read"),
        ("reason", "harmless"),
    ] {
        assert_eq!(line[field], want, "{field} in {line}");
    }
    for (field, want) in [("name", "client"), ("database", "postgres"), ("user", "postgres")] {
        assert_eq!(line["span"][field], want, "{field} in {line}");
    }
    assert!(line["span"]["id"].as_i64().unwrap() > 0, "{line}");
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
    assert!(line["wait_ms"].as_f64().unwrap() >= 0.0, "{line}");
}
