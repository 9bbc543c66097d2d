//! Passthrough: PostgreSQL's own roles and passwords are what counts.
//!
//! Whom the server lets in unasked, pgweir lets in unasked; that is found out by asking the server
//! for a connection as that user, and remembered for a short while. Where the server asks for a
//! secret, the role's stored one is read through the monitor role and the client is verified here;
//! the client key that a SCRAM proof reveals (or the md5 hash itself) opens the server connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_pool::Stream;
use pgweir_pool::{Cluster, ConnectError, Node, NodeView, Role};
use pgweir_protocol::auth::{Credentials, Method};
use pgweir_protocol::frame::put_frame;
use pgweir_protocol::report::{Report, ServerReport, Severity};
use pgweir_protocol::sqlstate::SqlState;
use tokio::time::{sleep, timeout};

use crate::gateway::{Asks, Demand, Gateway};
use crate::secrets::Source;
use crate::snapshot::Policy;

use super::login::Denied;
use super::proof::StoredSecret;

/// How long it is believed that a server lets a user in unasked, or does not.
const DEMAND_LIFETIME: Duration = Duration::from_secs(10);

/// Questions to servers at a time: they are connections beside those of the pools.
pub(crate) const MAX_QUESTIONS: usize = 4;

/// How long a question rests that met a server whose connections are all in use.
const FULL_REST: Duration = Duration::from_millis(20);

/// How long a first client waits for the first probe of any node.
pub(super) const FIRST_PROBE: Duration = Duration::from_secs(5);

/// Verifies the client as its server would.
pub(super) async fn authenticate(
    stream: &mut Stream,
    user: &str,
    dbname: &str,
    policy: &Policy,
    gateway: &Arc<Gateway>,
) -> Result<Credentials, Denied> {
    match demand(user, dbname, policy, gateway).await? {
        Asks::Nothing => Ok(Credentials::None),
        Asks::Secret => {
            let by = StoredSecret { cluster: &policy.cluster, source: &Source::Catalog, user };
            by.verify(stream, gateway).await
        }
    }
}

/// Whether the server asks this user for anything.
async fn demand(
    user: &str,
    dbname: &str,
    policy: &Policy,
    gateway: &Gateway,
) -> Result<Asks, Denied> {
    let key = (policy.cluster.name().to_owned(), dbname.to_owned(), user.to_owned());
    gateway.demands.remove_if(&key, |known| known.since.elapsed() >= DEMAND_LIFETIME);
    // Clients that arrive together ask once.
    let asked = gateway.demands.get_or_insert_async(&key, ask(user, dbname, policy, gateway));
    Ok(asked.await?.asks)
}

/// Asks the server by connecting; while all of its connections are in use, again.
async fn ask(
    user: &str,
    dbname: &str,
    policy: &Policy,
    gateway: &Gateway,
) -> Result<Demand, Denied> {
    let node = some_node(&policy.cluster).await.ok_or_else(no_server)?;
    let now = gateway.now();
    let pool = &now.config().pool;
    let _turn = gateway.questions.acquire().await.map_err(|_| Denied::Silently)?;
    let end = Instant::now() + pool.checkout_timeout;
    let none = Credentials::None;
    loop {
        let asked = policy.cluster.dial(&node, dbname, user, &none, &[], pool.connect_timeout);
        let asks = match asked.await {
            Ok(_) => Asks::Nothing,
            Err(ConnectError::Asked(Method::Scram | Method::Md5)) => Asks::Secret,
            Err(error) if is_full(&error) && Instant::now() < end => {
                sleep(FULL_REST).await;
                continue;
            }
            Err(error) => return Err(refused(&node, error)),
        };
        return Ok(Demand { asks, since: Instant::now() });
    }
}

fn is_full(error: &ConnectError) -> bool {
    let ConnectError::Refused { body } = error else { return false };
    ServerReport::parse(body).is_some_and(|report| report.code == SqlState::TOO_MANY_CONNECTIONS)
}

pub(super) fn refused(node: &Node, error: ConnectError) -> Denied {
    match error {
        ConnectError::Refused { body } => {
            let mut frame = Vec::new();
            put_frame(&mut frame, b'E', |out| out.extend_from_slice(&body));
            Denied::Verbatim(frame)
        }
        ConnectError::Asked(method) => Report::new(
            Severity::Fatal,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "pgweir: the server asks for an authentication that cannot be passed through",
        )
        .with_detail(format!("{} asks for {method:?}.", node.name()))
        .with_hint("Use scram-sha-256 in the server's pg_hba.conf.")
        .into(),
        error => Report::new(
            Severity::Fatal,
            SqlState::CONNECTION_FAILURE,
            format!("pgweir: no connection to {}", node.name()),
        )
        .with_detail(error.to_string())
        .into(),
    }
}

fn no_server() -> Report {
    Report::new(Severity::Fatal, SqlState::CANNOT_CONNECT_NOW, "pgweir: no server answers")
        .with_hint("The log says why of each node; the monitor role must be able to connect.")
}

/// Waits until there is a node to be asked.
pub(super) async fn first_probe(cluster: &Cluster) -> Result<(), Denied> {
    some_node(cluster).await.map(drop).ok_or_else(|| no_server().into())
}

/// The primary, or while there is none any node that answers.
async fn some_node(cluster: &Cluster) -> Option<Arc<Node>> {
    let mut changes = cluster.changes();
    let found = async {
        loop {
            changes.mark_unchanged();
            let topology = cluster.snapshot();
            let primary = topology.primary.and_then(|at| topology.nodes.get(at));
            let is_reader = |view: &&NodeView| matches!(view.role, Role::Replica | Role::Worker);
            let any = || topology.nodes.iter().find(is_reader);
            if let Some(view) = primary.or_else(any) {
                return Some(view.node.clone());
            }
            changes.changed().await.ok()?;
        }
    };
    timeout(FIRST_PROBE, found).await.ok().flatten()
}
