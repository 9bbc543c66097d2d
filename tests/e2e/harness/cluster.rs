//! Clusters behind pgweir.

use std::sync::LazyLock;

use pgweir_sandbox::Sandbox;

use super::SOON;

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
