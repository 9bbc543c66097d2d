//! What pgweir tells of itself over HTTP: metrics, the API and its document, readiness, and no secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::harness::{SOON, TemporaryDir, Weir, get, run, shared, until};

/// Where this repository's own files are.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn body(weir: &Weir, path: &str) -> String {
    let (status, body) = get(weir.http_port(), path).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn json(weir: &Weir, path: &str) -> Json {
    serde_json::from_str(&body(weir, path)).unwrap()
}

/// A pgweir that has something to tell of everything.
fn busy() -> Weir {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    client.ask("SELECT 1");
    client.ask("CREATE TEMPORARY TABLE bound (a int)");
    let failure = client.query("SELECT 1/0").failure.unwrap();
    assert_eq!(failure.code(), "22012");
    weir
}

// ---- metrics ----

/// What a scrape introduces: names with their types, help, and the labels of their samples.
fn introduced(scrape: &str) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut metrics: BTreeMap<String, (String, String, BTreeSet<String>)> = BTreeMap::new();
    for line in scrape.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            metrics.entry(name.to_owned()).or_default().1 = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            metrics.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((series, labels)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|part| series.strip_suffix(part))
                .find(|name| metrics.contains_key(*name))
                .unwrap_or(series);
            let names = labels.split("=\"").filter_map(|text| text.rsplit(['{', ',', '"']).next());
            let names = names.filter(|name| !name.is_empty() && !name.contains(' '));
            let entry = metrics.get_mut(name).unwrap_or_else(|| panic!("{line} is not introduced"));
            entry.2.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    metrics
}

#[test]
fn the_page_on_metrics_has_what_a_scrape_has() {
    const BEGIN: &str = "<!-- generated: do not edit -->\n";
    const END: &str = "<!-- end of what is generated -->\n";
    let weir = busy();
    let mut table = "\n| metric | type | labels | |\n|---|---|---|---|\n".to_owned();
    for (name, (kind, help, labels)) in introduced(&body(&weir, "/metrics")) {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }
    let path = Path::new(ROOT).join("docs/metrics.md");
    let kept = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = kept.split_once(BEGIN).expect("the first mark");
    let (_, tail) = rest.split_once(END).expect("the second mark");
    let current = format!("{head}{BEGIN}{table}\n{END}{tail}");
    if std::env::var_os("PGWEIR_DOCS").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, current).unwrap();
    } else {
        assert_eq!(kept, current, "PGWEIR_DOCS=write brings it up to date");
    }
}

#[test]
fn a_scrape_is_what_prometheus_conventions_ask_for() {
    let weir = busy();
    let scrape = body(&weir, "/metrics");
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    for line in scrape.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(seen.insert(name.to_owned()), "{name} is introduced twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
            current = name.to_owned();
        } else if !line.starts_with('#') {
            // All samples of a metric stand together.
            assert!(line.starts_with(&current), "{line} below {current}");
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    let series: Vec<&str> =
        scrape.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    let distinct: BTreeSet<&str> = series.iter().copied().collect();
    assert_eq!(series.len(), distinct.len(), "a series is there twice");
}

#[test]
fn errors_answers_and_pins_are_counted() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    let sum = |name: &str, labels: &[&str]| weir.metrics().sum(name, labels);
    let errors = |code: &str, source: &str| {
        let labels = [format!("sqlstate=\"{code}\""), format!("source=\"{source}\"")];
        sum("pgweir_errors_total", &[&labels[0], &labels[1]])
    };
    client.query("SELECT 1/0");
    client.query("SELECT FROM FROM");
    client.query("SELECT FROM FROM");
    assert_eq!((errors("22xxx", "server"), errors("42601", "server")), (1.0, 2.0));
    let strange = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'ZZ123'; END $$";
    client.query(strange);
    assert_eq!(errors("other", "server"), 1.0);
    let refused = crate::harness::Client::connect(weir.port(), "nobody_here", "postgres", &[]);
    assert!(refused.is_err());
    assert!(
        sum("pgweir_errors_total", &["28000"]) >= 1.0
            || sum("pgweir_errors_total", &["28P01"]) >= 1.0
    );

    let answers =
        |role: &str| sum("pgweir_query_duration_seconds_count", &[&format!("role=\"{role}\"")]);
    let before = [answers("replica"), answers("primary")];
    for _ in 0..5 {
        client.ask("SELECT 1");
    }
    client.ask("CREATE TEMPORARY TABLE counted (a int)");
    let pins = || sum("pgweir_pins", &["reason=\"temporary_table\""]);
    assert_eq!(pins(), 1.0);
    assert_eq!(sum("pgweir_clients_by_activity", &["activity=\"pinned\""]), 1.0);
    let after = [answers("replica"), answers("primary")];
    let both = after[0] + after[1] - before[0] - before[1];
    assert!(both >= 6.0, "{before:?} {after:?}");
    client.ask("DROP TABLE counted");
    until("the pin's end", SOON, || if pins() == 0.0 { Ok(()) } else { Err(pins()) });
    let database = ["database=\"postgres\""];
    assert!(sum("pgweir_database_queries_total", &database) >= 10.0);
    assert!(sum("pgweir_database_bytes_total", &database) > 100.0);
    assert!(sum("pgweir_pool_checkouts_total", &database) >= 5.0);
}

#[test]
fn who_had_to_wait_is_counted_with_its_time() {
    let weir = Weir::start(shared(), "pool.size = 1");
    let mut first = weir.postgres();
    first.ask("BEGIN");
    first.ask("SELECT txid_current()");
    let (port, waiter) = (weir.port(), std::sync::mpsc::sync_channel(1));
    let thread = std::thread::spawn(move || {
        let mut second =
            crate::harness::Client::connect(port, "postgres", "postgres", &[]).unwrap();
        waiter.0.send(()).unwrap();
        second.ask("SELECT txid_current()");
    });
    waiter.1.recv().unwrap();
    until("a client that waits", SOON, || {
        let waiting = weir.metrics().sum("pgweir_pool_waiting", &[]);
        if waiting == 1.0 { Ok(()) } else { Err(waiting) }
    });
    assert_eq!(weir.metrics().sum("pgweir_clients_by_activity", &["activity=\"waiting\""]), 1.0);
    first.ask("COMMIT");
    thread.join().unwrap();
    let metrics = weir.metrics();
    assert!(metrics.sum("pgweir_checkout_wait_seconds_count", &[]) >= 1.0);
    assert!(metrics.sum("pgweir_checkout_wait_seconds_sum", &[]) > 0.0);
    assert!(metrics.sum("pgweir_pool_waits_total", &[]) >= 1.0);
}

// ---- the API ----

#[test]
fn the_api_answers_as_its_document_says() {
    let weir = busy();
    let mut bound = weir.postgres();
    bound.ask("CREATE TEMPORARY TABLE bound (a int)");
    let document = json(&weir, "/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 13, "{:?}", paths.keys());
    for (path, item) in paths {
        let answer = json(&weir, path);
        let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        conforms(&answer, schema, path);
        if let Some(rows) = answer.as_object().unwrap().values().find_map(Json::as_array) {
            assert!(!rows.is_empty(), "{path} shows nothing, and so proves nothing");
        }
    }
    let refused = &document["components"]["responses"]["Error"];
    let schema = &refused["content"]["application/json"]["schema"];
    let (status, body) = get(weir.http_port(), "/api/v1/clients?limit=none").unwrap();
    assert_eq!(status, 400);
    conforms(&serde_json::from_str(&body).unwrap(), schema, "an error");
    for path in ["/api/v1/", "/api/v1/users", "/api/v2/nodes", "/api/v1/nodes/1"] {
        assert_eq!(get(weir.http_port(), path).unwrap().0, 404, "{path}");
    }
}

/// Whether a value is as a JSON Schema says, of the words that the document uses.
#[track_caller]
fn conforms(value: &Json, schema: &Json, at: &str) {
    let schema = schema.as_object().unwrap_or_else(|| panic!("no schema for {at}"));
    for (word, says) in schema {
        match word.as_str() {
            "type" => {
                let types: Vec<&Json> =
                    says.as_array().map_or(vec![says], |all| all.iter().collect());
                let fits = |name: &Json| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                assert!(types.into_iter().any(fits), "{at}: {value} is no {says}");
            }
            "enum" => assert!(says.as_array().unwrap().contains(value), "{at}: {value}"),
            "required" => {
                for name in says.as_array().unwrap() {
                    let name = name.as_str().unwrap();
                    assert!(value.get(name).is_some(), "{at}: {name} is missing in {value}");
                }
            }
            "items" => {
                for element in value.as_array().unwrap() {
                    conforms(element, says, &format!("{at}[]"));
                }
            }
            "properties" | "additionalProperties" => {}
            "description" => {}
            other => panic!("{at}: {other} is not understood"),
        }
    }
    let nothing = serde_json::Map::new();
    let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&nothing);
    for (name, member) in value.as_object().unwrap_or(&nothing) {
        let at = format!("{at}.{name}");
        match (properties.get(name), schema.get("additionalProperties")) {
            (Some(schema), _) => conforms(member, schema, &at),
            (None, Some(Json::Bool(false))) => panic!("{at} is not in the document"),
            (None, Some(schema)) => conforms(member, schema, &at),
            (None, None) => {}
        }
    }
}

#[test]
fn rows_come_in_portions() {
    let weir = Weir::start(shared(), "");
    let _clients: Vec<_> = (0..5).map(|_| weir.postgres()).collect();
    let part = json(&weir, "/api/v1/clients?limit=2&offset=1");
    assert_eq!((part["total"].as_u64(), part["clients"].as_array().unwrap().len()), (Some(5), 2));
    let ids: Vec<i64> = json(&weir, "/api/v1/clients")["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| client["id"].as_i64().unwrap())
        .collect();
    assert_eq!(part["clients"][0]["id"].as_i64(), Some(ids[1]));
    let beyond = json(&weir, "/api/v1/clients?offset=9");
    assert_eq!(beyond["clients"], serde_json::json!([]));
}

// ---- readiness ----

#[test]
fn readiness_tells_reads_from_writes() {
    let only_primary = format!(
        "clusters.main.nodes = [{:?}]\nrouting.reads = \"replicas-only\"",
        shared().primary().address()
    );
    let mut weir = Weir::setup(shared()).config(&only_primary).without_waiting_for_nodes().start();
    weir.wait_for_status("/readyz", 200);
    weir.wait_for_status("/readyz?role=write", 200);
    let (status, why) = get(weir.http_port(), "/readyz?role=read").unwrap();
    assert_eq!((status, why.as_str()), (503, "cluster main: no node for reads\n"));
    assert_eq!(get(weir.http_port(), "/readyz?role=both").unwrap().0, 400);

    let only_replica = format!("clusters.main.nodes = [{:?}]", shared().replica(0).address());
    let mut weir = Weir::setup(shared()).config(&only_replica).without_waiting_for_nodes().start();
    weir.wait_for_status("/startupz", 200);
    let (status, why) = get(weir.http_port(), "/readyz?role=write").unwrap();
    assert_eq!((status, why.as_str()), (503, "cluster main: no primary\n"));
}

// ---- what must not be shown, and what must not be held up ----

#[test]
fn no_secret_is_shown_over_http_or_in_the_log() {
    const SECRETS: [&str; 4] = ["hunter2monitor", "hunter2boss", "hunter2literal", "hunter2file"];
    let users = "[[user]]\nname = \"boss\"\npassword = \"hunter2boss\"\nadmin = true\n\
        [[user]]\nname = \"filed\"\npassword_file = \"filed.secret\"\n";
    let config = "auth.users_file = \"users.toml\"\nlog.level = \"debug\"\nlog.queries = true\n\
        log.slow_query = \"1us\"\nclusters.main.monitor.password = \"hunter2monitor\"";
    let weir = Weir::setup(shared())
        .file("users.toml", users)
        .file("filed.secret", "hunter2file\n")
        .config(config)
        .start();
    let mut client = weir.postgres();
    client.ask("SELECT 'hunter2literal'");
    client.query("SELECT 'hunter2literal' FROM nowhere");
    client.query("INSERT INTO nowhere VALUES ('hunter2literal')");
    client.query("SET my.secret = 'hunter2literal'");
    client.query("DO $$ BEGIN PERFORM 'hunter2literal'; END $$");
    let mut psql: Command = shared().program("psql");
    psql.args(["-XAtw", "-d", &weir.conninfo("boss", "pgweir"), "-c", "SHOW CONFIG"]);
    for table in ["USERS", "CLIENTS", "ROUTES", "NODES", "POOLS", "SERVERS"] {
        psql.args(["-c", &format!("SHOW {table}")]);
    }
    let console = run(psql.env("PGPASSWORD", "hunter2boss"), "", SOON).expect_success();
    assert!(console.contains("clusters.main.monitor.password|") && console.contains("boss|"));
    let mut shown = vec![("the console", console), ("the log", weir.log())];
    let document = json(&weir, "/api/v1/openapi.json");
    for path in document["paths"].as_object().unwrap().keys().map(String::as_str) {
        shown.push(("the API", format!("{path}: {}", body(&weir, path))));
    }
    for path in ["/", "/metrics", "/readyz", "/startupz"] {
        shown.push(("HTTP", body(&weir, path)));
    }
    for (place, text) in shown {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in {place}: {text}");
        }
    }
    let config = json(&weir, "/api/v1/config");
    let rows = config["config"].as_array().unwrap();
    let password = rows.iter().find(|row| row["key"] == "clusters.main.monitor.password").unwrap();
    assert_eq!(password["value"], "***");
    let users = rows.iter().find(|row| row["key"] == "auth.users_file").unwrap();
    assert!(users["value"].as_str().unwrap().ends_with("users.toml"), "{users}");
}

#[test]
fn no_secret_is_repeated_by_check() {
    let directory = TemporaryDir::new();
    let users = "[[user]]\nname = \"a\"\npasswrd = \"hunter2\"\n[[user]]\nname = \"b\"\n\
        scram = \"SCRAM-hunter2\"\n[[user]]\nname = \"c\"\nmd5 = \"hunter2\"\n\
        [[user]]\nname = \"d\"\npassword = [\"hunter2\"]\n";
    directory.write("users.toml", users);
    let config = "auth.users_file = \"users.toml\"\nclusters.main.nodes = [\"a\"]\n\
        clusters.main.monitor = { password = \"${HUNTER}\", timeout = \"${HUNTER}\" }\n";
    let file = directory.write("pgweir.toml", config);
    let mut check = Weir::program();
    check.args(["check", "--config"]).arg(file).env("HUNTER", "hunter2");
    let finished = run(&mut check, "", SOON);
    let said = finished.stdout + &finished.stderr;
    assert_eq!(finished.status.code(), Some(1), "{said}");
    assert!(said.lines().count() >= 5 && !said.contains("hunter2"), "{said}");
}

#[test]
fn http_has_a_thread_of_its_own() {
    let weir = Weir::start(shared(), "");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", weir.pid())).unwrap().flatten();
    let names: Vec<String> =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect();
    assert!(names.iter().any(|name| name.trim() == "pgweir-http"), "{names:?}");
}

#[test]
fn sockets_that_say_nothing_do_not_hold_up_a_probe() {
    let weir = Weir::start(shared(), "");
    let idle: Vec<TcpStream> =
        (0..520).map(|_| TcpStream::connect(("127.0.0.1", weir.http_port())).unwrap()).collect();
    for mut socket in &idle {
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\nHo");
    }
    // At once: the probe's patience is not what the others are hung up on by.
    let started = Instant::now();
    until("an answer beside them", SOON, || {
        get(weir.http_port(), "/livez").filter(|(status, _)| *status == 200).ok_or("none")
    });
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    // They are hung up on, not kept.
    let mut first = &idle[0];
    first.set_read_timeout(Some(SOON)).unwrap();
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).expect("the end");
}
