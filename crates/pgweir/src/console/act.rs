//! The commands that change something.
//!
//! Each is done when it returns, but for two that PgBouncer makes wait, too: PAUSE until no server
//! connection is left, WAIT_CLOSE until the old ones are gone. What they wait for is a [`Wait`].

use std::sync::Arc;
use std::time::Instant;

use pgweir_pool::{Node, PoolSet};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;

use super::command::{Action, Change};
use crate::account::Kind;
use crate::gateway::{ClientHandle, Gateway, Signal};

/// Something that a command waits for, of a database or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wait {
    /// No server connection is open.
    Emptied(Option<String>),
    /// No server connection is in use that RECONNECT has called old.
    Renewed(Option<String>),
}

/// Does what an administrator wants; gives what is to be waited for.
///
/// # Errors
/// What is to be done makes no sense.
pub(super) fn act(action: &Action, gateway: &Gateway) -> Result<Option<Wait>, Report> {
    match action {
        Action::Database(change, name) => {
            let name = name.as_deref().map(|name| known(name, gateway)).transpose()?;
            return change_database(*change, name, gateway);
        }
        Action::KillClient(id) => {
            let client = gateway.clients.get(*id).ok_or_else(|| no_such_client(*id))?;
            client.raise(Signal::Kill);
        }
        Action::Drain(name) => nodes(name, gateway)?.iter().for_each(|node| node.drain()),
        Action::Undrain(name) => nodes(name, gateway)?.iter().for_each(|node| node.undrain()),
        // Its turn comes when the answer is out, and these are not done here.
        Action::Shutdown(_) | Action::Reload | Action::Set(..) => {}
    }
    Ok(None)
}

fn change_database(
    change: Change,
    name: Option<String>,
    gateway: &Gateway,
) -> Result<Option<Wait>, Report> {
    let scope = name.as_deref();
    let sets = || pool_sets(scope, gateway);
    match change {
        Change::Pause => {
            if !gateway.gates.pause(scope) {
                return Err(not_so(scope, "paused already"));
            }
            sets().iter().for_each(|set| set.pause());
            return Ok(Some(Wait::Emptied(name)));
        }
        Change::Resume => {
            if !gateway.gates.resume(scope) {
                return Err(not_so(scope, "not paused"));
            }
            resume(gateway);
        }
        Change::Kill => {
            gateway.gates.pause(scope);
            sets().iter().for_each(|set| set.pause());
            clients(scope, gateway).iter().for_each(|client| client.raise(Signal::Kill));
            sets().iter().for_each(|set| set.reconnect());
        }
        Change::Disable => gateway.gates.disable(scope.unwrap_or_default()),
        Change::Enable => gateway.gates.enable(scope.unwrap_or_default()),
        Change::Reconnect => {
            gateway.gates.renew(scope, Instant::now());
            sets().iter().for_each(|set| set.reconnect());
        }
        Change::WaitClose => return Ok(Some(Wait::Renewed(name))),
    }
    Ok(None)
}

/// Resumes every pool that nothing pauses any more.
fn resume(gateway: &Gateway) {
    for (name, set) in named_pool_sets(gateway) {
        if !gateway.gates.is_paused(&name) {
            set.resume();
        }
    }
}

impl Wait {
    /// Whether it is over.
    pub(super) fn is_over(&self, gateway: &Gateway) -> bool {
        match self {
            Self::Emptied(scope) => pool_sets(scope.as_deref(), gateway).iter().all(|set| {
                // What was being opened when the pause began is closed as it arrives.
                set.reconnect();
                let left =
                    |stats: &pgweir_pool::NodePoolStats| stats.in_use + stats.apart + stats.idle;
                set.stats().iter().all(|stats| left(stats) == 0)
            }),
            Self::Renewed(scope) => clients(scope.as_deref(), gateway).iter().all(|client| {
                let name = gateway.now().config().first_name(&client.account.identity.database);
                let server = client.server();
                server.is_none_or(|server| !gateway.gates.is_old(&name, server.opened_at()))
            }),
        }
    }

    /// Nobody waits for it any more. A pause that has not come about is undone, as in PgBouncer.
    pub(super) fn give_up(&self, gateway: &Gateway) {
        if let Self::Emptied(scope) = self
            && gateway.gates.resume(scope.as_deref())
        {
            resume(gateway);
        }
    }
}

// ---- what is meant ----

/// The first name of a database that is served by this one.
fn known(name: &str, gateway: &Gateway) -> Result<String, Report> {
    let now = gateway.now();
    let config = now.config();
    if config.effective(name).is_some() && name != crate::config::CONSOLE_DATABASE {
        return Ok(config.first_name(name));
    }
    let message = format!("pgweir: there is no database \"{name}\"");
    Err(Report::new(Severity::Error, SqlState::INVALID_CATALOG_NAME, message)
        .with_hint("SHOW DATABASES lists them."))
}

/// The pools of a database, or of all.
fn pool_sets(scope: Option<&str>, gateway: &Gateway) -> Vec<Arc<PoolSet>> {
    let named = named_pool_sets(gateway).into_iter();
    named.filter(|(name, _)| scope.is_none_or(|scope| scope == name)).map(|(_, set)| set).collect()
}

/// All pools with the first names of their databases.
fn named_pool_sets(gateway: &Gateway) -> Vec<(String, Arc<PoolSet>)> {
    let mut named = Vec::new();
    let now = gateway.now();
    for (cluster, pools) in now.clusters() {
        for set in pools.pool_sets() {
            named.push((now.config().first_name_of(cluster, set.database()), set));
        }
    }
    named
}

/// The clients of a database, or of all.
fn clients(scope: Option<&str>, gateway: &Gateway) -> Vec<Arc<ClientHandle>> {
    let mut clients = gateway.clients.all();
    let now = gateway.now();
    clients.retain(|client| {
        let identity = &client.account.identity;
        let is_meant = |scope| now.config().first_name(&identity.database) == scope;
        identity.kind != Kind::Console && scope.is_none_or(is_meant)
    });
    clients
}

/// The nodes of this name, of whatever cluster.
fn nodes(name: &str, gateway: &Gateway) -> Result<Vec<Arc<Node>>, Report> {
    let now = gateway.now();
    let all = || now.clusters().flat_map(|(_, cluster)| cluster.nodes());
    let meant: Vec<_> = all().filter(|node| node.name() == name).collect();
    if !meant.is_empty() {
        return Ok(meant);
    }
    let names: Vec<_> = all().map(|node| node.name().to_owned()).collect();
    let message = format!("pgweir: there is no node \"{name}\"");
    Err(Report::new(Severity::Error, SqlState::UNDEFINED_OBJECT, message)
        .with_hint(format!("The nodes are {}.", names.join(", "))))
}

fn no_such_client(id: i32) -> Report {
    let message = format!("pgweir: there is no client {id}");
    Report::new(Severity::Error, SqlState::UNDEFINED_OBJECT, message)
        .with_hint("The column \"id\" of SHOW CLIENTS has their numbers.")
}

fn not_so(scope: Option<&str>, what: &str) -> Report {
    let message = match scope {
        Some(name) => format!("pgweir: database \"{name}\" is {what}"),
        None => format!("pgweir: it is {what}"),
    };
    Report::new(Severity::Error, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}
