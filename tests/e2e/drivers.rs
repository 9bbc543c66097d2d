//! Drivers as applications use them: the programs of `tests/drivers`, each with its driver's own pool,
//! several workers and mixed work, on few server connections that change hands all the time.
//!
//! Every program runs twice, straight at the primary and through pgweir, and must find the same
//! number of right answers both times. `PGWEIR_E2E_FULL=1` (`make drivers`) runs them for long, and
//! with every version of a driver that is installed.

use std::env;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{SOON, Scratch, Weir, run, shared};

/// Server connections of each pool: fewer than there are workers.
const SERVERS: u32 = 3;

/// Two rounds by six workers take a program about a second.
const SHORT: Amount = Amount { workers: 6, rounds: 2, patience: Duration::from_secs(120) };

/// Some two minutes for each program; `DRIVERS_ROUNDS` makes it more.
const FULL: Amount = Amount { workers: 8, rounds: 40, patience: Duration::from_secs(3600) };

/// How long a compiler may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

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
    /// How it is started, once for each version of its driver that is there.
    ways: Vec<Way>,
    /// What to install where there is none.
    packages: &'static str,
}

/// A command, and a variable of its environment.
#[derive(Default)]
struct Way {
    command: Vec<String>,
    environment: Option<(&'static str, String)>,
}

/// What a program said of itself in its last line.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// The driver and its version.
    driver: String,
    answers: u64,
}

pub(crate) fn is_full() -> bool {
    env::var_os("PGWEIR_E2E_FULL").is_some()
}

pub(crate) fn source(file: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers");
    directory.join(file).display().to_string()
}

/// Where `scripts/setup` puts what is not a Debian package.
fn installed(file: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../drivers").join(file).display().to_string()
}

/// Where programs go that are compiled here.
fn compiled(file: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(file).display().to_string()
}

/// Told even when the test succeeds: the harness of the standard library keeps what is printed.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this command ends well.
pub(crate) fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Compiles a program, which must succeed.
#[track_caller]
fn compile(compiler: &str, arguments: &[&str]) {
    run(Command::new(compiler).args(arguments), "", PATIENCE).expect_success();
}

/// The first of these ways, or all of them in full.
fn chosen(ways: impl Iterator<Item = Way>) -> Vec<Way> {
    ways.take(if is_full() { usize::MAX } else { 1 }).collect()
}

/// By each Python that has these modules: Debian's, which has apt's packages whatever else is first
/// on the path, and the one with the newest versions.
fn python(name: &'static str, file: &str, modules: &str, packages: &'static str) -> Program {
    let way = |python| Way { command: vec![python, source(file)], ..Way::default() };
    let pythons = pythons().filter(|python| has_modules(python, modules));
    Program { name, ways: chosen(pythons.map(way)), packages }
}

pub(crate) fn pythons() -> impl Iterator<Item = String> {
    ["/usr/bin/python3".to_owned(), installed("venv/bin/python")].into_iter()
}

pub(crate) fn has_modules(python: &str, modules: &str) -> bool {
    works(Command::new(python).args(["-c", &format!("import {modules}")]))
}

impl Program {
    /// Runs it in every way, directly and through pgweir.
    fn agrees(self) {
        if self.ways.is_empty() {
            assert!(!is_full(), "{}: not installed: {}", self.name, self.packages);
            return tell(&format!("SKIPPED {}: install {}", self.name, self.packages));
        }
        for way in &self.ways {
            self.agrees_by(way);
        }
    }

    fn agrees_by(&self, way: &Way) {
        let started = Instant::now();
        let direct = self.work(way, shared().primary().port());
        let took_directly = started.elapsed();
        for &transactions in self.transactions() {
            let started = Instant::now();
            let (through, reads) = self.through(way, transactions);
            assert_eq!(through, direct, "answers through pgweir and directly, {transactions}");
            tell(&format!(
                "{}: {} answers directly in {:.1} s and through pgweir in {:.1} s, transactions = {transactions:?}; {reads}",
                through.driver,
                through.answers,
                took_directly.as_secs_f64(),
                started.elapsed().as_secs_f64(),
            ));
        }
    }

    /// The ways to route its transactions. The other programs look in a transaction for what another
    /// connection has committed: with consistency.level = "session", the primary alone is sure to show it.
    fn transactions(&self) -> &'static [&'static str] {
        let minds_its_own = ["driver_psycopg_2", "driver_libpq"];
        if minds_its_own.contains(&self.name) { &["primary", "split"] } else { &["primary"] }
    }

    /// Works through pgweir; says where the reads went.
    fn through(&self, way: &Way, transactions: &str) -> (Said, String) {
        // Waiting for a server is no error here: the machine may be busy.
        let weir = Weir::start(
            shared(),
            &format!(
                "pool.size = {SERVERS}\npool.checkout_timeout = \"60s\"\n\
                 routing.transactions = \"{transactions}\""
            ),
        );
        let said = self.work(way, weir.port());
        let reads = weir.queries(shared(), "read");
        let on_replicas: f64 = reads.iter().skip(1).sum();
        assert!(on_replicas > 0.0, "{}: no read on a replica: {reads:?}", self.name);
        let total = reads.iter().sum::<f64>() + weir.queries(shared(), "write").iter().sum::<f64>();
        (said, format!("{total} reads and writes, {on_replicas} of them on replicas"))
    }

    /// Makes its tables and works, in a database of its own.
    fn work(&self, way: &Way, port: u16) -> Said {
        let scratch = Scratch::new(self.name);
        self.say(way, port, &scratch, "prepare");
        // As after a deployment's migrations: the application starts on what they have made.
        shared().wait_all_caught_up(SOON).unwrap();
        self.say(way, port, &scratch, "work")
    }

    fn say(&self, way: &Way, port: u16, scratch: &Scratch, what: &str) -> Said {
        let amount = if is_full() { FULL } else { SHORT };
        let rounds = env::var("DRIVERS_ROUNDS").unwrap_or_else(|_| amount.rounds.to_string());
        let mut command = Command::new(&way.command[0]);
        command
            .args(&way.command[1..])
            .arg(what)
            .envs(way.environment.clone())
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", scratch.name())
            .env("DRIVERS_WORKERS", amount.workers.to_string())
            .env("DRIVERS_ROUNDS", rounds)
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

#[test]
fn sqlalchemy() {
    let packages = "python3-sqlalchemy python3-psycopg2 python3-asyncpg";
    let modules = "sqlalchemy, greenlet, psycopg2, asyncpg";
    python("driver_sqlalchemy", "sqlalchemy_orm.py", modules, packages).agrees();
}

#[test]
fn django() {
    let packages = "python3-django python3-psycopg2";
    python("driver_django", "django_shop.py", "django, psycopg2", packages).agrees();
}

#[test]
fn node_postgres() {
    let modules = ["/usr/share/nodejs".to_owned(), installed("node_modules")];
    let has_modules = |path: &String| {
        let load = "require('pg'); require('pg-cursor')";
        works(Command::new("node").args(["-e", load]).env("NODE_PATH", path))
    };
    let way = |path| Way {
        command: vec!["node".to_owned(), source("node_postgres.js")],
        environment: Some(("NODE_PATH", path)),
    };
    let ways = chosen(modules.into_iter().filter(has_modules).map(way));
    Program { name: "driver_node", ways, packages: "nodejs node-pg" }.agrees();
}

#[test]
fn pgjdbc() {
    let names = ["postgresql", "HikariCP", "slf4j-api", "slf4j-nop"];
    let jars = names.map(|name| format!("/usr/share/java/{name}.jar"));
    let is_there = jars.iter().all(|jar| Path::new(jar).exists())
        && works(Command::new("javac").arg("-version"));
    let way = || {
        let (path, directory) = (jars.join(":"), compiled("jdbc"));
        let jdbc = source("Jdbc.java");
        compile("javac", &["-Xlint:all", "-Werror", "-cp", &path, "-d", &directory, &jdbc]);
        let path = format!("{path}:{directory}");
        // It does not run long enough to gain by being compiled a second time.
        let command = ["java", "-XX:TieredStopAtLevel=1", "-cp", &path, "Jdbc"];
        Way { command: command.map(str::to_owned).to_vec(), ..Way::default() }
    };
    let ways = is_there.then(way).into_iter().collect();
    let packages = "default-jdk-headless libpostgresql-jdbc-java libhikaricp-java libslf4j-java";
    Program { name: "driver_jdbc", ways, packages }.agrees();
}

#[test]
fn libpq() {
    const HEADERS: &str = "/usr/include/postgresql";
    let way = || {
        let (program, include) = (compiled("libpq"), format!("-I{HEADERS}"));
        let source = source("libpq.c");
        compile(
            "cc",
            &["-std=c11", "-Wall", "-Wextra", "-Werror", &include, &source, "-o", &program, "-lpq"],
        );
        Way { command: vec![program], ..Way::default() }
    };
    let is_there = Path::new(HEADERS).join("libpq-fe.h").exists();
    let ways = is_there.then(way).into_iter().collect();
    Program { name: "driver_libpq", ways, packages: "libpq-dev" }.agrees();
}

// ---- only in `make drivers` ----

/// By an interpreter, if it has the driver.
fn interpreted(
    name: &'static str,
    interpreter: &[&str],
    probe: &[&str],
    file: &str,
    packages: &'static str,
) -> Program {
    let way = || {
        let words = interpreter.iter().map(|&word| word.to_owned());
        Way { command: words.chain([source(file)]).collect(), ..Way::default() }
    };
    let is_there = works(Command::new(interpreter[0]).args(probe));
    Program { name, ways: is_there.then(way).into_iter().collect(), packages }
}

#[test]
#[ignore = "make drivers runs it"]
fn dbd_pg() {
    let probe = ["-MDBD::Pg", "-e", "1"];
    interpreted("driver_perl", &["perl"], &probe, "dbd_pg.pl", "libdbd-pg-perl").agrees();
}

#[test]
#[ignore = "make drivers runs it"]
fn pdo() {
    let probe = ["-r", "exit(extension_loaded('pdo_pgsql') ? 0 : 1);"];
    interpreted("driver_php", &["php"], &probe, "pdo_pgsql.php", "php-cli php-pgsql").agrees();
}

#[test]
#[ignore = "make drivers runs it"]
fn ruby_pg() {
    let probe = ["-rpg", "-e", "1"];
    interpreted("driver_ruby", &["ruby"], &probe, "ruby_pg.rb", "ruby-pg").agrees();
}

#[test]
#[ignore = "make drivers runs it"]
fn go() {
    const SOURCES: &str = "/usr/share/gocode";
    let drivers = ["github.com/lib/pq", "github.com/jackc/pgx"];
    let way = || {
        let (program, cache) =
            (compiled("go_drivers"), format!("GOCACHE={}", compiled("go_cache")));
        let (path, source) = (format!("GOPATH={SOURCES}"), source("go_drivers.go"));
        compile("env", &["GO111MODULE=off", &path, &cache, "go", "build", "-o", &program, &source]);
        Way { command: vec![program], ..Way::default() }
    };
    let sources = Path::new(SOURCES).join("src");
    let is_there = drivers.iter().all(|driver| sources.join(driver).exists())
        && works(Command::new("go").arg("version"));
    let packages = "golang-go golang-github-lib-pq-dev golang-github-jackc-pgx-v4-dev";
    Program { name: "driver_go", ways: is_there.then(way).into_iter().collect(), packages }
        .agrees();
}
