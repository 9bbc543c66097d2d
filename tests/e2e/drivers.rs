//! Drivers as applications use them: the programs of `tests/drivers`, each with its driver's own pool,
//! several workers and mixed work, on few server connections that change hands all the time.
//!
//! Every program runs twice, straight at the primary and through pgweir, and must find the same
//! number of right answers both times. `PGWEIR_E2E_FULL=1` (`make drivers`) runs them for long, with
//! every installed version of a driver, and under both levels of consistency.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{SOON, Scratch, Weir, run, shared};

/// Server connections of each pool: fewer than there are workers.
const SERVERS: u32 = 3;

/// Two rounds by six workers take a program about a second.
const SHORT: Amount = Amount { workers: 6, rounds: 2, patience: Duration::from_secs(120) };

const FULL: Amount = Amount { workers: 10, rounds: 150, patience: Duration::from_secs(1800) };

/// How much a program has to do.
struct Amount {
    workers: u32,
    rounds: u32,
    patience: Duration,
}

/// A program of `tests/drivers`.
struct Program {
    /// The test's name, and the database's.
    name: &'static str,
    /// How it is started, by each way that is there.
    ways: Vec<Vec<String>>,
    /// What to install where none is.
    packages: &'static str,
}

/// What a program said of itself in its last line.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// The driver and its version.
    driver: String,
    answers: u64,
}

fn is_full() -> bool {
    env::var_os("PGWEIR_E2E_FULL").is_some()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers")
}

/// Where `scripts/setup` puts what is not a Debian package.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/drivers")
}

/// Told even when the test succeeds: the harness of the standard library keeps what is printed.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this command ends well.
fn works(command: &[&str]) -> bool {
    let mut child = Command::new(command[0]);
    child.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child.status().is_ok_and(|status| status.success())
}

/// The Pythons that have these modules: Debian's, which has apt's packages whatever else is first on
/// the path, and, in full, the one with the newest versions.
fn pythons(modules: &str) -> Vec<String> {
    let newest = installed().join("venv/bin/python").display().to_string();
    let candidates = match is_full() {
        true => vec!["/usr/bin/python3".to_owned(), newest],
        false => vec!["/usr/bin/python3".to_owned(), "python3".to_owned(), newest],
    };
    let import = format!("import {modules}");
    let mut found: Vec<String> =
        candidates.into_iter().filter(|python| works(&[python, "-c", &import])).collect();
    if !is_full() {
        found.truncate(1);
    }
    found
}

fn python(name: &'static str, file: &str, modules: &str, packages: &'static str) -> Program {
    let file = sources().join(file).display().to_string();
    let ways = pythons(modules).into_iter().map(|python| vec![python, file.clone()]).collect();
    Program { name, ways, packages }
}

impl Program {
    /// Runs it in every way, directly and through pgweir.
    fn agrees(self) {
        if self.ways.is_empty() {
            assert!(!is_full(), "{}: not installed: {}", self.name, self.packages);
            return tell(&format!("SKIPPED {}: install {}", self.name, self.packages));
        }
        let levels: &[&str] = if is_full() { &["session", "global"] } else { &["session"] };
        for way in &self.ways {
            for level in levels {
                self.agrees_at(way, level);
            }
        }
    }

    fn agrees_at(&self, way: &[String], level: &str) {
        let started = Instant::now();
        let direct = self.work(way, level, shared().primary().port());
        let took_directly = started.elapsed();
        // Waiting for a server is no error here: the machine may be busy.
        let weir = Weir::start(
            shared(),
            &format!(
                "pool.size = {SERVERS}\npool.checkout_timeout = \"60s\"\nconsistency.level = \"{level}\""
            ),
        );
        let started = Instant::now();
        let through = self.work(way, level, weir.port());
        assert_eq!(through, direct, "answers checked through pgweir and directly");
        let reads = weir.queries(shared(), "read");
        let on_replicas: f64 = reads.iter().skip(1).sum();
        assert!(on_replicas > 0.0, "{}: no read on a replica: {reads:?}", self.name);
        let total = reads.iter().sum::<f64>() + weir.queries(shared(), "write").iter().sum::<f64>();
        tell(&format!(
            "{} ({level}): {} answers directly in {:.1} s and through pgweir in {:.1} s; {total} reads and writes, {on_replicas} of them on replicas",
            through.driver,
            through.answers,
            took_directly.as_secs_f64(),
            started.elapsed().as_secs_f64(),
        ));
    }

    /// Makes its tables and works, in a database of its own.
    fn work(&self, way: &[String], level: &str, port: u16) -> Said {
        let scratch = Scratch::new(self.name);
        self.say(way, level, port, &scratch, "prepare");
        // As after a deployment's migrations: the application starts on what they have made.
        shared().wait_all_caught_up(SOON).unwrap();
        self.say(way, level, port, &scratch, "work")
    }

    fn say(&self, way: &[String], level: &str, port: u16, scratch: &Scratch, what: &str) -> Said {
        let amount = if is_full() { FULL } else { SHORT };
        let mut command = Command::new(&way[0]);
        command
            .args(&way[1..])
            .arg(what)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", scratch.name())
            .env("DRIVERS_WORKERS", amount.workers.to_string())
            .env("DRIVERS_ROUNDS", amount.rounds.to_string())
            .env("DRIVERS_CONSISTENCY", level)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let finished = run(&mut command, "", amount.patience);
        let printed = finished.expect_success();
        let last = printed.lines().last().unwrap_or_default();
        let (driver, rest) = last.split_once(": ").unwrap_or((last, ""));
        let answers = rest.split(' ').next().and_then(|number| number.parse().ok());
        let answers = answers.unwrap_or_else(|| panic!("{}: {printed}", self.name));
        Said { driver: driver.to_owned(), answers }
    }
}

#[test]
fn psycopg_3() {
    let packages = "python3-psycopg python3-psycopg-pool";
    python("driver_psycopg_3", "psycopg3.py", "psycopg, psycopg_pool", packages).agrees();
}

#[test]
fn psycopg_2() {
    python("driver_psycopg_2", "psycopg_2.py", "psycopg2", "python3-psycopg2").agrees();
}

#[test]
fn asyncpg() {
    python("driver_asyncpg", "asyncpg_pool.py", "asyncpg", "python3-asyncpg").agrees();
}
