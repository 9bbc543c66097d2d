//! Reloads under load: while pgbench works in every query mode, the configuration changes again and again,
//! and every tenth file is broken. No query fails, no connection is lost, and the sums are right.
//!
//! `PGWEIR_E2E_FULL=1` (`make reload`) does a thousand of them instead of some dozens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use pgweir_sandbox::{PortLease, Sandbox};

use crate::harness::{Client, Dice, SOON, Weir, Wire, get, run, until};

/// Clients of each pgbench.
const CLIENTS: u64 = 4;
/// How long one pgbench works, in seconds: dozens of reloads.
const SPELL: &str = "4";
/// One file in so many is broken.
const BROKEN_EVERY: usize = 10;
/// Queries of clients between two reloads, at least.
const WORK: u64 = 50;
/// For one pgbench on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);

const USERS: &str = "[[user]]\nname = \"boss\"\nadmin = true\n";

/// Files that are no configuration, each in its own way.
const BROKEN: [&str; 8] = [
    "pool.size = 0",
    "pool.sise = 5",
    "[pool",
    "pool.size = \"many\"\n",
    "listen.tls.key_file = \"missing.key\"",
    "clusters.main.nodes = []",
    "listen.unix_socket_dir = \"/nowhere/at/all\"",
    "auth.users_file = \"missing.toml\"",
];

fn reloads() -> usize {
    if env::var_os("PGWEIR_E2E_FULL").is_some() { 1_000 } else { 40 }
}

/// One pgbench after the other, until told to stop.
struct Load {
    thread: JoinHandle<Result<(), String>>,
}

impl Load {
    fn start(
        sandbox: &Arc<Sandbox>,
        port: u16,
        arguments: &'static [&'static str],
        is_over: &Arc<AtomicBool>,
        done: &Arc<AtomicU64>,
    ) -> Self {
        let (sandbox, is_over, done) = (sandbox.clone(), is_over.clone(), done.clone());
        let work = move || {
            while !is_over.load(Ordering::Relaxed) {
                let mut pgbench = sandbox.program("pgbench");
                pgbench.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-n"]);
                pgbench.args(["-T", SPELL, "-c", &CLIENTS.to_string()]);
                let finished = run(pgbench.args(arguments).arg("postgres"), "", PATIENCE);
                let is_clean = finished.status.success()
                    && !finished.stderr.contains("ERROR")
                    && !finished.stderr.contains("FATAL")
                    && finished.stdout.contains("number of failed transactions: 0 ");
                if !is_clean {
                    return Err(format!("{arguments:?}: {finished:?}"));
                }
                let processed = finished.stdout.lines().find_map(|line| {
                    line.strip_prefix("number of transactions actually processed: ")
                });
                done.fetch_add(processed.unwrap().trim().parse().unwrap(), Ordering::Relaxed);
            }
            Ok(())
        };
        Self { thread: thread::spawn(work) }
    }
}

/// What is written into the file next.
struct Author {
    dice: Dice,
    sandbox: Arc<Sandbox>,
    usual: String,
    extra: PortLease,
    pairs: Vec<(String, String)>,
}

impl Author {
    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.dice.below(choices.len())]
    }

    /// The primary, under one of its names, and one replica or both, likewise, with weights.
    fn nodes(&mut self) -> String {
        let mut nodes = Vec::new();
        let skipped = self.dice.below(4);
        let sandbox = self.sandbox.clone();
        for node in sandbox.nodes() {
            if node.index() > 0 && node.index() == skipped {
                continue;
            }
            // Another name makes it another node.
            let host = self.one_of(&["127.0.0.1", "127.0.0.1", "localhost"]);
            let weight = 1 + self.dice.below(5);
            nodes.push(format!(
                "{{ host = \"{host}\", port = {}, weight = {weight} }}",
                node.port()
            ));
        }
        if self.dice.below(2) == 0 {
            nodes.reverse();
        }
        format!("[{}]", nodes.join(", "))
    }

    fn good(&mut self) -> BTreeMap<&'static str, String> {
        let quoted = |word: &str| format!("\"{word}\"");
        let mut keys = BTreeMap::new();
        keys.insert("pool.size", (3 + self.dice.below(10)).to_string());
        keys.insert("pool.min_idle", self.dice.below(3).to_string());
        keys.insert("pool.idle_timeout", quoted(self.one_of(&["1s", "10m"])));
        keys.insert("pool.max_lifetime", quoted(self.one_of(&["2s", "1h"])));
        keys.insert("clusters.main.nodes", self.nodes());
        keys.insert("clusters.main.max_connections", self.one_of(&["0", "40", "60"]).to_owned());
        keys.insert("routing.reads", quoted(self.one_of(&["replicas", "any", "primary"])));
        keys.insert(
            "routing.balance",
            quoted(self.one_of(&["least-busy", "round-robin", "random", "latency"])),
        );
        keys.insert("routing.unknown_functions", quoted(self.one_of(&["primary", "replica"])));
        keys.insert("consistency.level", quoted(self.one_of(&["session", "eventual"])));
        keys.insert("listen.max_clients", (100 + self.dice.below(900)).to_string());
        keys.insert("limits.max_message", quoted(self.one_of(&["1MiB", "1GiB"])));
        keys.insert("log.level", quoted(self.one_of(&["info", "warn", "error"])));
        keys.insert("log.slow_query", quoted(self.one_of(&["0s", "10s"])));
        keys.insert("firewall.block", self.one_of(&["[]", "['DROP TABLE nothing']"]).to_owned());
        keys
    }

    fn text(&mut self, own: u16) -> String {
        let extra = match self.dice.below(2) {
            0 => format!(", \"127.0.0.1:{}\"", self.extra.port()),
            _ => String::new(),
        };
        let mut text = format!("listen.address = [\"127.0.0.1:{own}\"{extra}]\n{}", self.usual);
        for (key, value) in self.good() {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }

    fn users(&mut self) -> String {
        let mut users = USERS.to_owned();
        for number in 0..self.dice.below(4) {
            let secret = self.dice.roll();
            let _ = writeln!(users, "[[user]]\nname = \"u{number}\"\npassword = \"{secret}\"");
        }
        users
    }
}

/// What `SHOW CONFIG` has, without when it changed.
fn in_force(boss: &mut Client) -> Vec<(String, String)> {
    let reply = boss.query("SHOW CONFIG");
    let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
    reply.rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

#[test]
fn nobody_notices_reloads() {
    let sandbox = Arc::new(Sandbox::builder().replicas(2).start().unwrap());
    let usual = "http.address = \"HTTP\"\nauth.method = \"trust\"\nauth.users_file = \"users.toml\"\n\
                 log.connections = false\npool.checkout_timeout = \"120s\"\n\
                 clusters.main.monitor.timeout = \"5s\"\n\
                 listen.tls = { mode = \"allow\", cert_file = \"s.crt\", key_file = \"s.key\" }\n";
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let pairs: Vec<_> = (0..3)
        .map(|_| rcgen::generate_simple_self_signed(names.clone()).unwrap())
        .map(|pair| (pair.cert.pem(), pair.signing_key.serialize_pem()))
        .collect();
    let weir = Weir::setup(&sandbox)
        .config(&usual.replacen("http.address = \"HTTP\"\n", "", 1))
        .file("users.toml", USERS)
        .file("s.crt", pairs[0].0.clone())
        .file("s.key", pairs[0].1.clone())
        .start();
    let mut author = Author {
        dice: Dice::new(17),
        sandbox: sandbox.clone(),
        usual: usual.replace("HTTP", &format!("127.0.0.1:{}", weir.http_port())),
        extra: PortLease::any().unwrap(),
        pairs,
    };
    let mut pgbench = sandbox.program("pgbench");
    pgbench.args(["-h", "127.0.0.1", "-p", &weir.port().to_string(), "-U", "postgres"]);
    run(pgbench.args(["-i", "-q", "-s", "4", "postgres"]), "", PATIENCE).expect_success();
    sandbox.wait_all_caught_up(SOON).unwrap();

    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let loads: [&'static [&'static str]; 4] = [
        &["-M", "simple", "-b", "select-only@3", "-b", "tpcb-like@1"],
        &["-M", "extended", "-b", "select-only@3", "-b", "tpcb-like@1"],
        &["-M", "prepared", "-b", "select-only@3", "-b", "tpcb-like@1"],
        // Everybody new at each transaction.
        &["-M", "simple", "-b", "select-only", "-C", "-R", "40"],
    ];
    let start = |arguments| Load::start(&sandbox, weir.port(), arguments, &is_over, &done);
    let loads: Vec<Load> = loads.into_iter().map(start).collect();

    let played = play(&weir, &mut author, &loads);
    is_over.store(true, Ordering::Relaxed);
    for load in loads {
        load.thread.join().unwrap().unwrap_or_else(|what| panic!("{what}"));
    }
    played.report(done.load(Ordering::Relaxed));
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta),
                       (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta),
                       (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta)
                  FROM pgbench_history";
    assert_eq!(sandbox.primary().psql(sums).unwrap(), "t|t|t");
    assert_eq!(get(weir.http_port(), "/readyz").unwrap().0, 200);
}

/// What came of the reloads.
struct Played {
    accepted: Vec<Duration>,
    refused: usize,
}

impl Played {
    fn report(mut self, transactions: u64) {
        self.accepted.sort_unstable();
        let count = self.accepted.len();
        let at = |part: usize| self.accepted[(count * part / 100).min(count - 1)];
        eprintln!(
            "{count} reloads (median {:.1?}, 99th percentile {:.1?}, longest {:.1?}) and {} refused files \
             beside {transactions} transactions: none failed",
            at(50),
            at(99),
            at(100),
            self.refused
        );
    }
}

/// Waits until clients have got on a little.
fn work(boss: &mut Client) {
    let mut count = || -> u64 {
        let reply = boss.query("SHOW STATS_TOTALS");
        let column = reply.columns.iter().position(|name| name == "query_count").unwrap();
        let counts = reply.rows.iter().filter_map(|row| row[column].as_ref());
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    };
    let begun = count();
    until("work between two reloads", SOON, || {
        let done = count() - begun;
        if done >= WORK { Ok(()) } else { Err(done) }
    });
}

/// Reloads again and again; gives how long each took.
fn play(weir: &Weir, author: &mut Author, loads: &[Load]) -> Played {
    let mut boss = weir.client("boss", "pgweir");
    let directory = weir.config_file().parent().unwrap().to_owned();
    let put = |name: &str, text: &str| {
        let other = directory.join("other");
        fs::write(&other, text).unwrap();
        fs::rename(&other, directory.join(name)).unwrap();
    };
    let mut played = Played { accepted: Vec::new(), refused: 0 };
    for round in 0..reloads() {
        if loads.iter().any(|load| load.thread.is_finished()) {
            // What is wrong with it is told by whoever joins it.
            break;
        }
        if round % BROKEN_EVERY == BROKEN_EVERY - 1 {
            let before = in_force(&mut boss);
            let broken = BROKEN[played.refused % BROKEN.len()];
            let text = author.text(weir.port());
            let key = broken.split_once(" =").map_or("", |(key, _)| key);
            let lines = text.lines().filter(|line| key.is_empty() || !line.starts_with(key));
            put("pgweir.toml", &(lines.collect::<Vec<_>>().join("\n") + "\n" + broken + "\n"));
            let failure = boss.fail("RELOAD");
            assert_eq!(failure.code(), "F0000", "{broken}: {failure}");
            assert!(in_force(&mut boss) == before, "{broken} has changed something");
            played.refused += 1;
            continue;
        }
        if round % 7 == 0 {
            // Key and certificate are two files: between them they are no pair, and nothing happens.
            let (certificate, key) = author.pairs[author.dice.below(author.pairs.len())].clone();
            put("s.crt", &certificate);
            put("s.key", &key);
        }
        if round % 3 == 0 {
            put("users.toml", &author.users());
        }
        let text = author.text(weir.port());
        put("pgweir.toml", &text);
        let begun = Instant::now();
        let reply = boss.query("RELOAD");
        assert!(reply.failure.is_none(), "{:?} of\n{text}", reply.failure);
        played.accepted.push(begun.elapsed());
        work(&mut boss);
        // What is said to be listened on is.
        let is_open = Wire::open(author.extra.port()).is_ok();
        assert_eq!(is_open, text.contains(&format!(":{}\"", author.extra.port())));
    }
    played
}
