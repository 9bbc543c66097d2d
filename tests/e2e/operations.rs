//! Running it: health, metrics, signals, and the command line's other verbs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::{PortLease, Sandbox};
use rustix::process::{Pid, Signal, kill_process};

use crate::drivers::tell;
use crate::harness::{
    Client, Message, SOON, TemporaryDir, Terminal, Weir, Wire, get, resident, run, shared, until,
};

/// Where this repository's own files are.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

// ---- HTTP ----

#[test]
fn health_and_metrics_are_served() {
    let weir = Weir::start(shared(), "");
    weir.postgres().ask("SELECT 1");
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/readyz?role=read", 200),
        ("/readyz?role=write", 200),
        ("/startupz", 200),
        ("/", 200),
        ("/no/such/page", 404),
    ] {
        assert_eq!(get(weir.http_port(), path).map(|(status, _)| status), Some(status), "{path}");
    }
    let (_, page) = get(weir.http_port(), "/").unwrap();
    let (_, metrics) = get(weir.http_port(), "/metrics").unwrap();
    for node in shared().nodes() {
        assert!(page.contains(&node.address()), "{page}");
        assert!(metrics.contains(&format!("pgweir_queries_total{{node=\"{}\"", node.address())));
    }
    // Each metric is introduced once, with its type, as scrapers demand.
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert_eq!(metrics.matches(line).count(), 1, "{line}");
    }
    let metrics = weir.metrics();
    assert_eq!(metrics.sum("pgweir_node_role", &["role=\"primary\""]), 1.0);
    assert_eq!(metrics.sum("pgweir_node_role", &["role=\"replica\""]), 2.0);
    assert!(metrics.sum("pgweir_route_decisions_total", &[]) >= 1.0);
    assert!(metrics.sum("pgweir_classifier_cache_lookups_total", &[]) >= 1.0);
    assert_eq!(metrics.sum("pgweir_clients", &[]), 0.0);
}

#[test]
fn texts_that_differ_in_literals_are_parsed_once() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    client.ask("SELECT 0 AS cached");
    let misses =
        || weir.metrics().sum("pgweir_classifier_cache_lookups_total", &["result=\"miss\""]);
    let before = misses();
    for number in 1..200 {
        client.ask(&format!("SELECT {number} AS cached"));
    }
    assert_eq!(misses(), before);
}

// ---- the end ----

#[test]
fn term_drains_and_an_open_transaction_may_finish() {
    let mut weir = Weir::start(shared(), "listen.drain_timeout = \"30s\"");
    let mut idle = weir.postgres();
    let mut working = weir.postgres();
    working.ask("BEGIN");
    working.ask("SELECT 1");
    weir.signal(Signal::TERM);
    let goodbye =
        idle.wire.frame().map(|frame| crate::harness::Failure::parse(&frame.body)).unwrap();
    assert_eq!((goodbye.code(), goodbye.field('S')), ("57P01", "FATAL"), "{goodbye}");
    assert!(idle.wire.is_closed());
    // Not ready at once, and no new clients.
    weir.wait_for_status("/readyz", 503);
    assert_eq!(get(weir.http_port(), "/livez").map(|(status, _)| status), Some(200));
    until("the door to be shut", SOON, || match Wire::open(weir.port()) {
        Err(_) => Ok(()),
        Ok(mut wire) => {
            wire.send(&Message::new().startup(3 << 16, &[("user", "postgres")]));
            match wire.try_frame() {
                Ok(Some(frame)) if frame.tag != b'E' => Err(frame.tag),
                _ => Ok(()),
            }
        }
    });
    assert_eq!(working.ask("SELECT 2"), "2");
    assert_eq!(weir.ended(), None);
    let reply = working.query("COMMIT");
    assert_eq!((reply.failure, reply.status), (None, 'I'));
    assert!(working.wire.is_closed());
    assert_eq!(weir.wait_for_end().code(), Some(0));
}

#[test]
fn a_drain_ends_when_its_time_is_over() {
    let mut weir = Weir::start(shared(), "listen.drain_timeout = \"500ms\"");
    let mut client = weir.postgres();
    client.ask("BEGIN");
    client.ask("SELECT 1");
    let started = Instant::now();
    weir.signal(Signal::INT);
    assert_eq!(weir.wait_for_end().code(), Some(0));
    let took = started.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert!(client.wire.is_closed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut weir = Weir::start(shared(), "listen.drain_timeout = \"10m\"");
    let mut client = weir.postgres();
    client.ask("BEGIN");
    client.ask("SELECT 1");
    weir.signal(Signal::TERM);
    weir.wait_for_status("/readyz", 503);
    assert_eq!(weir.ended(), None);
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_for_end().code(), Some(0));
    assert!(client.wire.is_closed());
}

#[test]
fn the_servers_are_left_clean() {
    let mut weir = Weir::start(shared(), "listen.drain_timeout = \"30s\"");
    let mut client = Client::connect(weir.port(), "app", "postgres", &[]).unwrap();
    client.ask("SELECT 1");
    client.ask("SELECT pg_is_in_recovery()");
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_for_end().code(), Some(0));
    until("no connection to be left", SOON, || {
        let servers = crate::harness::servers_of(shared(), "app", "postgres");
        if servers.iter().sum::<usize>() == 0 { Ok(()) } else { Err(servers) }
    });
}

// ---- at rest ----

/// What pgweir may take of memory at rest, in bytes.
const AT_REST: u64 = 20 << 20;

#[test]
fn it_takes_little_memory_at_rest() {
    let weir = Weir::start(shared(), "");
    let mut client = weir.postgres();
    client.ask("SELECT 1");
    client.leave();
    let (now, most) = resident(weir.pid());
    eprintln!("{} KiB resident at rest, {} KiB at most", now / 1024, most / 1024);
    // A build that is not optimised is no measure.
    if cfg!(not(debug_assertions)) {
        assert!(now < AT_REST, "{now} bytes");
    }
}

#[test]
fn more_clients_than_the_usual_limit_of_open_files_are_taken() {
    let weir = Weir::start(shared(), "");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", weir.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    // A soft limit of 1024 is for programs that use select(2).
    assert_eq!(words[3], words[4], "the soft limit is the hard one: {line}");
}

// ---- the other verbs ----

fn pgweir(arguments: &[&str]) -> Command {
    let mut command = Weir::program();
    command.args(arguments);
    command
}

#[test]
fn check_finds_what_is_wrong_and_where() {
    let directory = TemporaryDir::new();
    let bad =
        directory.write("bad.toml", "[clusters.main]\nnodes = [\"a:5432\"]\n\n[pool]\nsiez = 5\n");
    let finished = run(&mut pgweir(&["check", "--config", bad.to_str().unwrap()]), "", SOON);
    assert_eq!(finished.status.code(), Some(1));
    let said = finished.stdout + &finished.stderr;
    assert!(said.contains("bad.toml:5:1: pool.siez"), "{said}");
    assert!(said.contains("size"), "a suggestion: {said}");
    let weir = Weir::start(shared(), "");
    let good = weir.config_file();
    run(&mut pgweir(&["check", "--config", good.to_str().unwrap()]), "", SOON).expect_success();
    let mut by_environment = pgweir(&["check"]);
    by_environment.env("PGWEIR_CONFIG", &good);
    run(&mut by_environment, "", SOON).expect_success();
}

#[test]
fn the_files_that_come_with_it_are_good() {
    for file in [
        "configs/pgweir.toml",
        "configs/streaming.toml",
        "configs/citus.toml",
        "configs/sidecar.toml",
        "deploy/compose.toml",
    ] {
        let path = Path::new(ROOT).join(file);
        let mut check = pgweir(&["check", "--config", path.to_str().unwrap()]);
        check.env("POSTGRES_PASSWORD", "x").env("PGWEIR_MONITOR_PASSWORD", "x");
        let finished = run(&mut check, "", SOON);
        assert!(finished.status.success(), "{file}: {}{}", finished.stdout, finished.stderr);
    }
}

#[test]
fn config_prints_the_reference_configuration() {
    let printed = run(&mut pgweir(&["config"]), "", SOON).expect_success();
    let kept = std::fs::read_to_string(Path::new(ROOT).join("configs/pgweir.toml")).unwrap();
    assert_eq!(printed, kept);
    let schema = run(&mut pgweir(&["config", "--schema"]), "", SOON).expect_success();
    assert!(schema.contains("\"$schema\""), "{schema}");
    let version = run(&mut pgweir(&["--version"]), "", SOON).expect_success();
    assert_eq!(version, format!("pgweir {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn route_says_where_each_statement_goes_and_why() {
    let text = run(&mut pgweir(&["route", "SELECT 1; DELETE FROM t"]), "", SOON).expect_success();
    assert!(text.contains("primary") && text.contains("write"), "{text}");
    let json = run(&mut pgweir(&["route", "--json", "SELECT * FROM t"]), "", SOON).expect_success();
    assert!(json.trim_start().starts_with(['{', '[']), "{json}");
    assert!(json.contains("\"replica\"") && json.contains("\"reason\""), "{json}");
}

#[test]
fn a_port_that_is_taken_is_a_reason_to_end() {
    let weir = Weir::start(shared(), "");
    let taken = weir.port();
    let directory = TemporaryDir::new();
    let config = format!(
        "listen.address = \"127.0.0.1:{taken}\"\nhttp.address = \"\"\nclusters.main.nodes = [\"127.0.0.1:1\"]\n"
    );
    let config = directory.write("pgweir.toml", &config);
    let finished = run(&mut pgweir(&["run", "--config", config.to_str().unwrap()]), "", SOON);
    assert!(!finished.status.success());
    assert!(finished.stderr.contains(&taken.to_string()), "{}", finished.stderr);
}

// ---- the demo ----

/// A port for the demo, and the next one, which its page is on.
fn two_ports() -> (PortLease, PortLease) {
    loop {
        let port = PortLease::any().unwrap();
        if let Ok(page) = PortLease::exactly(port.port() + 1) {
            return (port, page);
        }
    }
}

#[test]
fn the_demo_shows_its_nodes_on_a_terminal_and_ends_with_ctrl_c() {
    let (port, _page) = two_ports();
    let program = Weir::program().get_program().display().to_string();
    let Some(mut demo) = Terminal::open(&format!("{program} demo --port {}", port.port())) else {
        return;
    };
    demo.shows("Ctrl-C stops everything.");
    demo.shows("reads/s");
    for role in ["primary", "replica"] {
        demo.shows(role);
    }
    let mut client = Client::connect(port.port(), "postgres", "postgres", &[]).unwrap();
    assert_eq!(client.ask("SELECT 1"), "1");
    demo.types("\x03");
    assert_eq!(demo.wait_for_end(Duration::from_secs(60)).code(), Some(0));
}

/// Changes the configuration that the demo names, and asks its console.
fn change_while_it_runs(said: &str, port: u16) {
    let words = |line: &str| line.trim().split(' ').next().map(PathBuf::from);
    let file = said.lines().find(|line| line.contains("pgweir.toml")).and_then(words);
    let file = file.expect("the configuration's name");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[pool]\nsize = 7\n")).unwrap();
    let mut console = Client::connect(port, "postgres", "pgweir", &[]).unwrap();
    until("the change to take effect", SOON, || {
        let settings = console.query("SHOW CONFIG").rows;
        match settings.iter().find(|row| row[0].as_deref() == Some("pool.size")) {
            Some(row) if row[1].as_deref() == Some("7") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn the_demo_serves_until_it_is_interrupted_and_leaves_nothing() {
    let (port, page) = two_ports();
    let directory = TemporaryDir::new();
    let mut demo = pgweir(&["demo", "--port", &port.port().to_string()]);
    demo.env("TMPDIR", directory.path());
    // Servers that run as another user keep their files below it.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let mut child =
        demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let readers = [
        follow(child.stdout.take().unwrap(), said.clone()),
        follow(child.stderr.take().unwrap(), said.clone()),
    ];
    let line = format!("psql -h 127.0.0.1 -p {} ", port.port());
    until("the psql line", SOON, || {
        assert_eq!(child.try_wait().unwrap(), None, "{}", said.lock().unwrap());
        let said = said.lock().unwrap();
        if said.contains(&line) { Ok(()) } else { Err(said.clone()) }
    });
    let mut client =
        until("a login", SOON, || Client::connect(port.port(), "postgres", "postgres", &[]));
    client.ask("CREATE TABLE demo (a int)");
    client.ask("INSERT INTO demo VALUES (7)");
    assert_eq!(client.ask("SELECT a FROM demo"), "7");
    let primary = client.last_node();
    until("reads on a replica", SOON, || {
        match client.where_ran("/* pgweir: replica */ SELECT a FROM demo") {
            node if node == primary => Err(node),
            _ => Ok(()),
        }
    });
    let (status, html) = get(page.port(), "/").unwrap();
    assert_eq!(status, 200, "{html}");
    change_while_it_runs(&said.lock().unwrap(), port.port());
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let ended = until("the demo to end", Duration::from_secs(60), || {
        child.try_wait().unwrap().ok_or("it runs")
    });
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(ended.code(), Some(0), "{}", said.lock().unwrap());
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_of_citus_reads_on_its_workers() {
    if !Sandbox::citus_available() {
        return tell(
            "SKIPPED the_demo_of_citus: the Citus extension is not installed beside PostgreSQL",
        );
    }
    let (port, page) = two_ports();
    let mut demo = pgweir(&["demo", "--citus", "--port", &port.port().to_string()]);
    let mut child = demo.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    // Three servers are made first.
    until("the demo to serve", Duration::from_secs(180), || {
        assert_eq!(child.try_wait().unwrap(), None);
        match get(page.port(), "/readyz") {
            Some((200, _)) => Ok(()),
            other => Err(other),
        }
    });
    let mut client = Client::connect(port.port(), "postgres", "postgres", &[]).unwrap();
    client.ask("CREATE TABLE demo (a int)");
    client.ask("SELECT create_distributed_table('demo', 'a')");
    client.ask("INSERT INTO demo SELECT generate_series(1, 100)");
    let coordinator = client.last_node();
    until("reads on a worker", SOON, || {
        assert_eq!(client.ask("SELECT count(*) FROM demo"), "100");
        match client.last_node() {
            node if node == coordinator => Err(node),
            _ => Ok(()),
        }
    });
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let ended = until("the demo to end", Duration::from_secs(60), || {
        child.try_wait().unwrap().ok_or("it runs")
    });
    assert_eq!(ended.code(), Some(0));
}

fn follow(
    mut pipe: impl std::io::Read + Send + 'static,
    said: Arc<Mutex<String>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    })
}
