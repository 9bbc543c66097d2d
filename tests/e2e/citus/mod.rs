//! A Citus cluster as one endpoint. The cases need the extension beside PostgreSQL; where it is not
//! installed, each says so in one line.

mod answers;
mod changes;
mod nodes;
mod programs;
mod routes;
mod standbys;

use std::sync::{LazyLock, Mutex, PoisonError};

use pgweir_sandbox::{CitusCluster, HOST, Sandbox};

use crate::drivers::tell;
use crate::harness::{Client, SOON, Setup, Weir, until};

/// The cluster of all cases that leave its nodes alone. Nothing drops it; the sandbox's watchdog does.
static SHARED: LazyLock<CitusCluster> =
    LazyLock::new(|| CitusCluster::builder().start().expect("a Citus cluster"));

static TURN: Mutex<()> = Mutex::new(());

/// Whether cases of this name can be played; if not, says why.
fn is_installed(case: &str) -> bool {
    let installed = Sandbox::citus_available();
    if !installed {
        tell(&format!("SKIPPED {case}: the Citus extension is not installed beside PostgreSQL"));
    }
    installed
}

/// A sharded database of a case's own on the shared cluster, dropped with it.
struct Sharded {
    name: &'static str,
}

impl Sharded {
    /// A database with these objects; none where Citus is not installed.
    #[track_caller]
    fn new(name: &'static str, objects: &str) -> Option<Self> {
        if !is_installed(name) {
            return None;
        }
        let cluster = &*SHARED;
        // Adding a node brings roles up to date there, which only one can do at a time.
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        for node in cluster.primaries() {
            node.psql(&format!("CREATE DATABASE {name}")).unwrap();
            node.psql_in(name, "CREATE EXTENSION citus").unwrap();
        }
        let sharded = Self { name };
        for (group, node) in cluster.primaries().enumerate() {
            let function = if group == 0 { "citus_set_coordinator_host" } else { "citus_add_node" };
            sharded.prepare(&format!("SELECT {function}('{HOST}', {})", node.port()));
        }
        sharded.prepare(objects);
        Some(sharded)
    }

    /// Runs SQL on the coordinator itself.
    #[track_caller]
    fn prepare(&self, sql: &str) -> String {
        SHARED.coordinator().primary().psql_in(self.name, sql).unwrap()
    }

    /// A pgweir in front of the coordinator, which has found the workers.
    #[track_caller]
    fn weir(&self, config: &str) -> Weir {
        start(setup_of(&SHARED, self.name).config(config), 2)
    }
}

impl Drop for Sharded {
    fn drop(&mut self) {
        for node in SHARED.primaries() {
            // Citus's own daemon is connected, and comes back as long as the extension is there.
            let _ = node.psql_in(
                self.name,
                "SET citus.enable_ddl_propagation = off; DROP EXTENSION citus CASCADE",
            );
            let _ = node.psql(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// A pgweir to be put in front of the coordinator.
fn setup_of<'a>(cluster: &'a CitusCluster, database: &str) -> Setup<'a> {
    Weir::setup(cluster.coordinator())
        .config("auth.users_file = \"users.toml\"\nclusters.main.kind = \"citus\"")
        .file("users.toml", "[[user]]\nname = \"postgres\"\nadmin = true\n")
        .config(&format!("clusters.main.monitor.database = \"{database}\""))
}

/// Starts it, and waits until so many workers may be read from.
#[track_caller]
fn start(setup: Setup<'_>, workers: usize) -> Weir {
    let weir = setup.start();
    wait_for_nodes(&weir, workers);
    weir
}

/// The nodes other than the coordinator that answer for the cluster.
fn readers(console: &mut Client) -> Vec<String> {
    let nodes = console.query("SHOW NODES");
    let column = |name: &str| nodes.columns.iter().position(|column| column == name).unwrap();
    let cell = |row: &Vec<Option<String>>, name| row[column(name)].clone().unwrap_or_default();
    let is_reader = |row: &&Vec<Option<String>>| {
        let why = cell(row, "why_not");
        let serves = cell(row, "reads") == "t" || why == "not the primary";
        serves && cell(row, "role") != "primary" && cell(row, "health") == "up"
    };
    nodes.rows.iter().filter(is_reader).map(|row| cell(row, "node")).collect()
}

/// Waits until exactly so many do.
#[track_caller]
fn wait_for_nodes(weir: &Weir, count: usize) {
    let mut console = weir.client("postgres", "pgweir");
    until(&format!("{count} nodes that read"), SOON, || {
        let readers = readers(&mut console);
        if readers.len() == count { Ok(()) } else { Err(readers) }
    });
}

/// What EXPLAIN (ROUTE) says of a fact.
fn told(client: &mut Client, sql: &str, fact: &str) -> String {
    let rows = client.ask(&format!("EXPLAIN (ROUTE) {sql}"));
    let line = rows.lines().find(|line| line.starts_with(&format!("{fact}|")));
    line.map(|line| line[fact.len() + 1..].to_owned()).unwrap_or(rows)
}

/// The coordinator's address.
fn coordinator() -> String {
    SHARED.coordinator().primary().address()
}
