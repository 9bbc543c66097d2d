//! A running pgweir: the real binary with a configuration, ports and a log of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use pgweir_sandbox::{PortLease, Sandbox};
use rustix::process::{Pid, Signal, kill_process};

use super::{Client, Metrics, SOON, TemporaryDir, get, until};

/// The program under test.
const PGWEIR: &str = env!("CARGO_BIN_EXE_pgweir");

/// Lines of the log that a failed case shows.
const SHOWN_LOG_LINES: usize = 60;

/// Kills its first argument when its standard input ends: when this process does, however.
const WATCHDOG: &str = "while read -r _; do :; done; kill -KILL \"$1\"";

/// What a pgweir shall be started with.
pub(crate) struct Setup<'a> {
    sandbox: &'a Sandbox,
    config: String,
    files: Vec<(&'a str, String)>,
    arguments: &'a [&'a str],
    environment: Vec<(&'a str, String)>,
    readiness: Readiness,
}

#[derive(PartialEq, Eq)]
enum Readiness {
    /// Every node that runs is found, and every replica may serve reads.
    AllNodes,
    /// It answers.
    Alive,
}

/// A running pgweir, killed on drop.
#[derive(Debug)]
pub(crate) struct Weir {
    child: Child,
    watchdog: Child,
    port: PortLease,
    http: PortLease,
    dir: TemporaryDir,
}

impl<'a> Setup<'a> {
    /// Adds lines of configuration: dotted keys, such as `pool.size = 1`. One that the harness would
    /// write itself replaces the harness's.
    pub(crate) fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Puts a file beside the configuration.
    pub(crate) fn file(mut self, name: &'a str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    /// Adds arguments to its command line.
    pub(crate) fn arguments(mut self, arguments: &'a [&'a str]) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn variable(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Does not wait for nodes, but only for an answer on /livez.
    pub(crate) fn without_waiting_for_nodes(mut self) -> Self {
        self.readiness = Readiness::Alive;
        self
    }

    /// Starts it, and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Weir {
        let (port, http) = (PortLease::any().unwrap(), PortLease::any().unwrap());
        let dir = TemporaryDir::new();
        for (name, text) in &self.files {
            dir.write(name, text);
        }
        let config = dir.write("pgweir.toml", &self.render(port.port(), http.port()));
        let log = File::create(dir.path().join("log")).unwrap();
        // The soft limit of open files that a login shell has.
        let child = Command::new("sh")
            .args(["-c", "ulimit -S -n 1024; exec \"$@\"", "sh", PGWEIR, "run", "--config"])
            .arg(&config)
            .args(self.arguments)
            .env_remove("PGWEIR_CONFIG")
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let watchdog = watchdog(child.id());
        let replicas = self.sandbox.replicas().filter(|node| node.is_running()).count();
        let mut weir = Weir { child, watchdog, port, http, dir };
        match self.readiness {
            Readiness::Alive => weir.wait_for_status("/livez", 200),
            Readiness::AllNodes => {
                weir.wait_for_status("/readyz", 200);
                weir.wait_for_replicas(replicas);
            }
        }
        weir
    }

    fn render(&self, port: u16, http: u16) -> String {
        let nodes: Vec<String> =
            self.sandbox.nodes().iter().map(|node| format!("{:?}", node.address())).collect();
        let own = [
            // A failed case shows the log's end; comings and goings would fill it.
            ("log.connections", "false".to_owned()),
            ("listen.address", format!("\"127.0.0.1:{port}\"")),
            ("http.address", format!("\"127.0.0.1:{http}\"")),
            ("clusters.main.nodes", format!("[{}]", nodes.join(", "))),
        ];
        let mut text = String::new();
        for (key, value) in own {
            if !self.config.lines().any(|line| line.trim_start().starts_with(key)) {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text + &self.config
    }
}

fn watchdog(pid: u32) -> Child {
    Command::new("sh")
        .args(["-c", WATCHDOG, "pgweir-e2e-watchdog", &pid.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Weir {
    /// A pgweir in front of all nodes of a cluster, with these lines of configuration.
    #[track_caller]
    pub(crate) fn start(sandbox: &Sandbox, config: &str) -> Self {
        Self::setup(sandbox).config(config).start()
    }

    pub(crate) fn setup(sandbox: &Sandbox) -> Setup<'_> {
        Setup {
            sandbox,
            config: String::new(),
            files: Vec::new(),
            arguments: &[],
            environment: Vec::new(),
            readiness: Readiness::AllNodes,
        }
    }

    /// A command for the program itself.
    pub(crate) fn program() -> Command {
        let mut command = Command::new(PGWEIR);
        command.env_remove("PGWEIR_CONFIG");
        command
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.port()
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.http.port()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("pgweir.toml")
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A client of this user and database.
    #[track_caller]
    pub(crate) fn client(&self, user: &str, database: &str) -> Client {
        Client::connect(self.port(), user, database, &[])
            .unwrap_or_else(|failure| panic!("{user}@{database} is not let in: {failure}"))
    }

    /// A superuser's client in database `postgres`.
    #[track_caller]
    pub(crate) fn postgres(&self) -> Client {
        self.client("postgres", "postgres")
    }

    /// libpq's words for this pgweir.
    pub(crate) fn conninfo(&self, user: &str, database: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname={database}", self.port())
    }

    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        let (status, body) = get(self.http_port(), "/metrics").expect("an answer on /metrics");
        assert_eq!(status, 200, "{body}");
        Metrics::parse(&body)
    }

    /// Waits until this path answers with this status; its end meanwhile is a failure.
    #[track_caller]
    pub(crate) fn wait_for_status(&mut self, path: &str, status: u16) {
        let (port, child) = (self.http.port(), &mut self.child);
        until(&format!("{status} on {path}"), SOON, || match get(port, path) {
            Some((got, _)) if got == status => Ok(()),
            answer => match child.try_wait().unwrap() {
                Some(ended) => panic!("pgweir has ended: {ended}"),
                None => Err(answer),
            },
        });
    }

    /// Waits until so many replicas are up and fresh.
    #[track_caller]
    pub(crate) fn wait_for_replicas(&self, count: usize) {
        until(&format!("{count} replicas"), SOON, || {
            let metrics = self.metrics();
            let up = metrics.sum("pgweir_node_up", &[])
                - metrics.sum("pgweir_node_role", &["role=\"primary\""]);
            let fresh = metrics.count("pgweir_node_staleness_seconds", &[]);
            let known = metrics.count("pgweir_node_role", &["role=\"replica\""]);
            let all = [known, fresh].iter().all(|&number| number >= count);
            if all && up >= as_f64(count) { Ok(()) } else { Err((known, fresh, up)) }
        });
    }

    /// Statements that servers got, by node and class (`read`, `write`).
    pub(crate) fn queries(&self, sandbox: &Sandbox, class: &str) -> Vec<f64> {
        let metrics = self.metrics();
        let class = format!("class=\"{class}\"");
        let of = |node: &pgweir_sandbox::Node| {
            let node = format!("node=\"{}\"", node.address());
            metrics.sum("pgweir_queries_total", &[&class, &node])
        };
        sandbox.nodes().iter().map(of).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        until("pgweir to end", SOON, || self.ended().ok_or("it runs"))
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

impl Drop for Weir {
    fn drop(&mut self) {
        // The watchdog first: an id it is to kill must not have become another process's.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LOG_LINES)..];
            eprintln!("---- pgweir's log, the last lines ----\n{}", shown.join("\n"));
        }
    }
}
