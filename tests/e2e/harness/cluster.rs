//! Clusters behind pgweir.

use std::sync::LazyLock;

use pgweir_sandbox::{Node, Sandbox};

use super::{Client, SOON, until};

/// A superuser whose statements the servers log.
pub(crate) const LOGGED: &str = "logged";

/// The cluster of all cases that break nothing. Nothing drops it; the sandbox's watchdog does, when
/// the process ends.
pub(crate) fn shared() -> &'static Sandbox {
    static SHARED: LazyLock<Sandbox> = LazyLock::new(|| {
        // Every case has pools of its own, and as many cases run at once as there are cores.
        let sandbox = Sandbox::builder()
            .setting("max_connections", "500")
            // What one case reads for long must not hold up what another waits for to be replayed.
            .setting("hot_standby_feedback", "on")
            .setting("max_prepared_transactions", "20")
            .role("app", "LOGIN")
            .role(LOGGED, "LOGIN SUPERUSER")
            .start()
            .unwrap();
        prepare(&sandbox, &format!("ALTER ROLE {LOGGED} SET log_statement = 'all'"));
        sandbox
    });
    &SHARED
}

/// Runs SQL on the primary itself, and waits until every replica shows its effect.
#[track_caller]
pub(crate) fn prepare(sandbox: &Sandbox, sql: &str) {
    sandbox.primary().psql(sql).unwrap();
    sandbox.wait_all_caught_up(SOON).unwrap();
}

/// The node that runs a statement with this text in it. Looks often, and starts no program for it: what is
/// looked for may not take long.
#[track_caller]
pub(crate) fn runner_of<'a>(sandbox: &'a Sandbox, text: &str) -> &'a Node {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE state = 'active' AND query LIKE '%{text}%' AND pid <> pg_backend_pid()"
    );
    let running = sandbox.nodes().iter().filter(|node| node.is_running());
    let connect = |node: &'a Node| {
        Some((node, Client::connect(node.port(), "postgres", "postgres", &[]).ok()?))
    };
    let mut nodes: Vec<_> = running.filter_map(connect).collect();
    until(&format!("{text} to run"), SOON, || {
        let runs = |(_, client): &mut (&Node, Client)| client.ask(&sql) != "0";
        nodes.iter_mut().find_map(|node| runs(node).then_some(node.0)).ok_or("it does not")
    })
}

/// Server connections of `user` to `database` on every node, other than psql's and those that pgweir
/// asks its own questions over.
pub(crate) fn servers_of(sandbox: &Sandbox, user: &str, database: &str) -> Vec<usize> {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE usename = '{user}' AND datname = '{database}' AND pid <> pg_backend_pid()
           AND application_name <> 'pgweir'"
    );
    sandbox.nodes().iter().map(|node| node.psql(&sql).unwrap().parse().unwrap()).collect()
}

/// A database of a case's own on the shared cluster, dropped with it.
#[derive(Debug)]
pub(crate) struct Scratch {
    name: &'static str,
}

impl Scratch {
    pub(crate) fn new(name: &'static str) -> Self {
        prepare(shared(), &format!("CREATE DATABASE {name}"));
        Self { name }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs SQL in it on the primary itself, and waits until every replica shows its effect.
    #[track_caller]
    pub(crate) fn prepare(&self, sql: &str) {
        shared().primary().psql_in(self.name, sql).unwrap();
        shared().wait_all_caught_up(SOON).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = shared().primary().psql(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
