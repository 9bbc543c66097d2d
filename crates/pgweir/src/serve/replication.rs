//! Replication connections: passed to the primary on a connection of their own.
//!
//! What travels on one belongs to one client from beginning to end (manual, 55.4 "Streaming
//! Replication Protocol"): so it comes out of no pool, and is relayed unread. Only where the server's
//! messages end is followed, for the last word that pgweir may have to say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pgweir_pool::{
    ConnectError, Fault, Node, Reservation, SET_APART_SHARE, ServerConnection, Standing, Stream,
};
use pgweir_protocol::auth::{Credentials, Method};
use pgweir_protocol::course::Course;
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::startup::Replication;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::timeout;

use crate::config::{AuthMethod, Config, Effective};
use crate::gateway::{ClientHandle, Gateway, Signal};
use crate::secrets::Source;
use crate::snapshot::Policy;

use super::client::{Ending, ending};
use super::login::{Denied, Entrant, own_method, say_goodbye};
use super::proof::StoredSecret;
use super::{passthrough, refusal};

/// Bytes under way in each direction, at most; who sends more waits for who receives.
const BUFFER: usize = 64 << 10;

/// The connection to the primary that a client has for itself.
pub(super) struct Server {
    pub(super) connection: ServerConnection,
    /// Its place among the node's connections.
    pub(super) reservation: Reservation,
}

/// What holds for a replication connection: for a physical one, which has no database, what the only
/// cluster says; with several clusters the name has to be one that is served.
pub(super) fn effective<'a>(
    config: &'a Config,
    database: &'a str,
    kind: Replication,
) -> Option<Effective<'a>> {
    let named = config.effective(database);
    match kind {
        Replication::Physical => named.or_else(|| config.effective_for_all(database)),
        Replication::Logical => named,
    }
}

/// Finds out who the client is, and opens its connection to the primary.
pub(super) async fn open(
    stream: &mut Stream,
    entrant: &Entrant<'_>,
    kind: Replication,
    gateway: &Arc<Gateway>,
) -> Result<Server, Denied> {
    let user = &entrant.startup.user;
    let credentials = match entrant.now.config().auth.method {
        AuthMethod::Passthrough => {
            // pg_hba.conf has lines of its own for replication: the server is asked about this very
            // connection, and if it asks for nothing, has given it.
            let (node, dialled) = dial(entrant, kind, &Credentials::None, gateway).await?;
            match dialled {
                Err(ConnectError::Asked(Method::Scram | Method::Md5)) => {
                    let cluster = &entrant.policy.cluster;
                    let by = StoredSecret { cluster, source: &Source::Catalog, user };
                    by.verify(stream, gateway).await?
                }
                dialled => return dialled.map_err(|error| passthrough::refused(&node, error)),
            }
        }
        _ => own_method(stream, user, entrant.now, &entrant.policy.cluster, gateway).await?,
    };
    let (node, dialled) = dial(entrant, kind, &credentials, gateway).await?;
    dialled.map_err(|error| passthrough::refused(&node, error))
}

/// Opens a connection to the primary as the client would.
async fn dial(
    entrant: &Entrant<'_>,
    kind: Replication,
    credentials: &Credentials,
    gateway: &Gateway,
) -> Result<(Arc<Node>, Result<Server, ConnectError>), Denied> {
    let Entrant { startup, effective, policy, .. } = entrant;
    let node = primary(policy).await.ok_or_else(no_primary)?;
    let Some(mut reservation) = node.reserve(effective.pool.checkout_timeout).await else {
        return Err(no_room(&node).into());
    };
    let options = startup.options_text.iter().map(|options| ("options", options.as_str()));
    let others = startup.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let parameters: Vec<_> =
        [("replication", kind.as_str())].into_iter().chain(options).chain(others).collect();
    // Who has proven nothing yet waits in line with all others that are asked about.
    let _turn = match credentials {
        Credentials::None => Some(gateway.questions.acquire().await.map_err(|_| Denied::Silently)?),
        _ => None,
    };
    let dialled = policy
        .cluster
        .dial(
            &node,
            effective.dbname,
            &startup.user,
            credentials,
            &parameters,
            effective.pool.connect_timeout,
        )
        .await;
    if dialled.as_ref().is_err_and(|error| error.fault() == Fault::Node) {
        node.suspect();
    }
    reservation.connected();
    Ok((node, dialled.map(|connection| Server { connection, reservation })))
}

/// The primary; while there is none, the next one.
async fn primary(policy: &Policy) -> Option<Arc<Node>> {
    let mut changes = policy.cluster.changes();
    let found = async {
        loop {
            changes.mark_unchanged();
            let topology = policy.cluster.snapshot();
            if let Some(view) = topology.primary.and_then(|at| topology.nodes.get(at)) {
                return Some(view.node.clone());
            }
            changes.changed().await.ok()?;
        }
    };
    timeout(passthrough::FIRST_PROBE, found).await.ok().flatten()
}

fn no_primary() -> Report {
    Report::new(Severity::Fatal, SqlState::CANNOT_CONNECT_NOW, "pgweir: there is no primary")
        .with_hint("Replication is served by the primary, which is found by asking the nodes.")
}

fn no_room(node: &Node) -> Report {
    let message = "pgweir: no room for another replication connection";
    Report::new(Severity::Fatal, SqlState::TOO_MANY_CONNECTIONS, message)
        .with_detail(format!(
            "{} has {} of {} connections, {} of them set apart for clients of their own.",
            node.name(),
            node.open_connections(),
            node.connection_limit(),
            node.connections_apart(),
        ))
        .with_hint(format!(
            "One in {SET_APART_SHARE} may be set apart. clusters.*.max_connections says how many \
             there are."
        ))
}

// ---- the relay ----

/// A replication connection at work.
pub(super) struct Relay {
    client: Stream,
    server: Stream,
    to_server: Pipe,
    to_client: Pipe,
    course: Course,
    node: Arc<Node>,
    /// It ends where that leaves nothing half done.
    ending: Option<Report>,
    handle: Arc<ClientHandle>,
    _reservation: Reservation,
}

impl Relay {
    pub(super) fn new(client: Stream, server: Server, handle: Arc<ClientHandle>) -> Self {
        handle.attached(&server.connection.cancel_handle(), Instant::now());
        Self {
            client,
            node: server.connection.node,
            server: server.connection.stream,
            to_server: Pipe::new(),
            to_client: Pipe::new(),
            course: Course::new(),
            ending: None,
            handle,
            _reservation: server.reservation,
        }
    }

    /// Passes bytes both ways until the server has closed, or the client is gone.
    pub(super) async fn serve(mut self) -> Ending {
        let ending = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.handle.detached();
        say_goodbye(&mut self.client).await;
        ending
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        match self.handle.signal(cx) {
            Signal::Kill => return Poll::Ready(self.shut_down(&refusal::shutting_down(), cx)),
            Signal::Drain => self.ending = Some(refusal::shutting_down()),
            // A cancel request is for the server, which always has one here; and to the end of the
            // connection it is served as it began.
            Signal::Cancel | Signal::Renew | Signal::None => {}
        }
        if self.node.standing() == Standing::Lost {
            return Poll::Ready(self.shut_down(&refusal::silent(self.node.name()), cx));
        }
        if self.node.is_fenced() && self.ending.is_none() {
            self.ending = Some(refusal::superseded(self.node.name()));
        }
        if let Poll::Ready(ending) = self.pass_to_server(cx) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(ending) = self.pass_to_client(cx) {
            return Poll::Ready(ending);
        }
        match self.ending.take_if(|_| self.course.may_end()) {
            Some(why) => Poll::Ready(self.shut_down(&why, cx)),
            None => Poll::Pending,
        }
    }

    /// The client's bytes, and then the end of them: it may have closed its side only, and still read.
    fn pass_to_server(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            if self.to_server.is_empty() {
                let _ = Pin::new(&mut self.server).poll_flush(cx);
                match ready!(self.to_server.fill(&mut self.client, cx)) {
                    Ok(Filled::Some) => self.course.asked(),
                    Ok(Filled::Ended) => {
                        let _ = ready!(Pin::new(&mut self.server).poll_shutdown(cx));
                        return Poll::Pending;
                    }
                    Err(error) => return Poll::Ready(ending(&error)),
                }
            }
            let unsent = self.to_server.unsent();
            match ready!(Pin::new(&mut self.server).poll_write(cx, unsent)) {
                Ok(count @ 1..) => self.to_server.advance(count),
                // What the server has said before it closed is yet to be read.
                Ok(0) | Err(_) => return Poll::Pending,
            }
        }
    }

    /// The server's bytes; its end is the client's.
    fn pass_to_client(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            if self.ending.is_some() && self.course.may_end() {
                return Poll::Pending;
            }
            if self.to_client.is_empty() {
                let _ = Pin::new(&mut self.client).poll_flush(cx);
                match ready!(self.to_client.fill(&mut self.server, cx)) {
                    Ok(Filled::Some) => {}
                    Ok(Filled::Ended) | Err(_) => return Poll::Ready(Ending::ServerLost),
                }
            }
            let mut unsent = self.to_client.unsent();
            if self.ending.is_some() {
                let most = self.course.within_message(unsent);
                unsent = unsent.get(..most).unwrap_or_default();
            }
            match ready!(Pin::new(&mut self.client).poll_write(cx, unsent)) {
                Ok(0) => return Poll::Ready(Ending::Left),
                Ok(count) => {
                    self.course.pass(unsent.get(..count).unwrap_or_default());
                    self.to_client.advance(count);
                }
                Err(error) => return Poll::Ready(ending(&error)),
            }
        }
    }

    /// Says why the connection ends, unless that would come to lie inside a message.
    fn shut_down(&mut self, why: &Report, cx: &mut Context<'_>) -> Ending {
        if self.course.is_between_messages() {
            let mut goodbye = Vec::new();
            why.encode_error(&mut goodbye);
            let _ = Pin::new(&mut self.client).poll_write(cx, &goodbye);
        }
        Ending::Shutdown
    }
}

/// One direction: what has been read and not yet written.
struct Pipe {
    buffer: Box<[u8]>,
    begin: usize,
    end: usize,
}

/// What came of a read.
enum Filled {
    Some,
    /// Nothing will come any more.
    Ended,
}

impl Pipe {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into_boxed_slice(), begin: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn unsent(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.begin += count;
    }

    /// Reads once, into the place of what has been written.
    fn fill(&mut self, from: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Filled>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        (self.begin, self.end) = (0, buffer.filled().len());
        Poll::Ready(Ok(if self.is_empty() { Filled::Ended } else { Filled::Some }))
    }
}
