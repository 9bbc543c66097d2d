//! From an accepted socket to a session: the first packets, encryption, authentication, welcome.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pgweir_pool::{Cluster, Past, PoolSet, Stream};
use pgweir_protocol::auth::{ClientLogin, ClientLoginStep, Credentials};
use pgweir_protocol::error::ProtocolError;
use pgweir_protocol::frame::{HEADER_LENGTH, Header};
use pgweir_protocol::message::{self, TransactionStatus};
use pgweir_protocol::parameters::Parameters;
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::session::{Session, SessionStart};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::startup::{self, Opening, Replication, Startup};
use pgweir_protocol::verdict::Culprit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::account::{Identity, Kind};
use crate::config::{AuthMethod, Effective, ListenTlsMode};
use crate::console::Console;
use crate::gateway::{Clients, Gateway, Place, Signal};
use crate::random;
use crate::route::ClientRouter;
use crate::secrets::Source;
use crate::snapshot::{Policy, Snapshot, max_message, pool_mode, pool_spec};

use super::client::{ClientStart, ClientTask, Ending};
use super::proof::{
    StoredSecret, by_certificate, by_users_file, check_certificate, configured_credentials,
};
use super::replication::{self, Relay};
use super::{console, passthrough, welcome};

/// The largest message of a client that has not been let in, in bytes.
const MAX_LOGIN_MESSAGE: usize = 65_536;

/// How long a client that is being closed may take to read its last bytes.
const GOODBYE: Duration = Duration::from_secs(1);

/// Encryption requests a client may make before its startup packet: GSSAPI, then TLS.
const MAX_ENCRYPTION_REQUESTS: usize = 2;

/// Bytes of a cancel key: what protocol 3.0 has room for, and what 3.2 clients get.
const SHORT_KEY: usize = 4;
const LONG_KEY: usize = 32;

/// Where a client comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    Tcp(IpAddr),
    Unix,
}

/// Why a client was not let in.
#[derive(Debug)]
pub(super) enum Denied {
    /// It is told why.
    Report(Report),
    /// It is told what the server said, a whole frame.
    Verbatim(Vec<u8>),
    /// It is told nothing: it left, or spoke no protocol, or only wanted something cancelled.
    Silently,
}

impl From<io::Error> for Denied {
    fn from(_: io::Error) -> Self {
        Self::Silently
    }
}

impl From<Report> for Denied {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}

impl From<ProtocolError> for Denied {
    fn from(error: ProtocolError) -> Self {
        Self::Report(Report::from(&error))
    }
}

/// Serves a client in a task of its own.
pub(super) fn spawn(stream: Stream, peer: Peer, gateway: &Arc<Gateway>) {
    let gateway = gateway.clone();
    tokio::spawn(async move {
        gateway.metrics.clients_accepted.increment(1);
        let limit = gateway.now().config().limits.client_login_timeout.unwrap_or(Duration::MAX);
        // The login is boxed: it is large, and gone for nearly all of a client's life.
        let admitted = timeout(limit, Box::pin(admit(stream, peer, &gateway))).await;
        let (ending, place) = match admitted {
            Ok(Some(Admitted::Session(task, place))) => (task.serve().await, place),
            Ok(Some(Admitted::Replication(relay, place))) => (relay.serve().await, place),
            Ok(Some(Admitted::Console(console, place))) => {
                (Box::pin(serve_console(*console)).await, place)
            }
            Ok(None) | Err(_) => return,
        };
        note_ending(&gateway, &place, ending);
    });
}

/// What a client that was let in gets.
enum Admitted {
    /// A share of the server connections.
    Session(Box<ClientTask>, Place),
    /// A server connection of its own.
    Replication(Box<Relay>, Place),
    /// No server connection at all.
    Console(Box<Console>, Place),
}

async fn serve_console(console: Console) -> Ending {
    let (ending, mut stream) = console.serve().await;
    say_goodbye(&mut stream).await;
    ending
}

fn note_ending(gateway: &Gateway, place: &Place, ending: Ending) {
    if gateway.now().config().log.connections {
        place.handle.span().in_scope(|| tracing::info!(?ending, "client gone"));
    }
}

/// Lets a client in, or tells it why not.
async fn admit(stream: Stream, peer: Peer, gateway: &Arc<Gateway>) -> Option<Admitted> {
    let (mut stream, opening) = open(stream, peer, gateway).await?;
    let opening = match opening {
        Ok(opening) => opening,
        Err(denied) => {
            deny(&mut stream, denied, gateway).await;
            return None;
        }
    };
    let identity = Identity::new(&stream, &opening, Kind::Shared);
    match let_in(&mut stream, opening, gateway).await {
        Ok((LetIn::Session(start), place)) => {
            let start = ClientStart {
                stream,
                session: start.session,
                pools: start.pools,
                policy: start.policy,
                gateway: gateway.clone(),
                handle: place.handle.clone(),
            };
            Some(Admitted::Session(Box::new(ClientTask::new(start)), place))
        }
        Ok((LetIn::Replication(server), place)) => {
            let relay = Relay::new(stream, *server, place.handle.clone());
            Some(Admitted::Replication(Box::new(relay), place))
        }
        Ok((LetIn::Console, place)) => {
            let console = Console::new(stream, gateway.clone(), place.handle.clone());
            Some(Admitted::Console(Box::new(console), place))
        }
        Err(denied) => {
            if let Denied::Report(report) = &denied {
                let code = report.code.as_str();
                let client = identity.span(None);
                client.in_scope(|| tracing::info!(code, reason = report.message, "client refused"));
            }
            deny(&mut stream, denied, gateway).await;
            None
        }
    }
}

async fn deny(stream: &mut Stream, denied: Denied, gateway: &Gateway) {
    let mut out = Vec::new();
    let errors = &gateway.metrics.errors;
    match denied {
        Denied::Report(mut report) => {
            errors.count(report.code, Culprit::Pgweir);
            report.severity = Severity::Fatal;
            report.encode_error(&mut out);
        }
        Denied::Verbatim(frame) => {
            errors.count(super::refusal::code(&frame), Culprit::Server);
            out = frame;
        }
        Denied::Silently => return,
    }
    gateway.metrics.clients_refused.increment(1);
    let _ = timeout(GOODBYE, stream.write_all(&out)).await;
    say_goodbye(stream).await;
}

/// Lets the peer have what was written before the socket closes.
pub(super) async fn say_goodbye(stream: &mut Stream) {
    let _ = timeout(GOODBYE, stream.shutdown()).await;
}

// ---- the first packets ----

/// Reads packets up to a startup packet; none when the connection is over before that.
async fn open(
    mut stream: Stream,
    peer: Peer,
    gateway: &Arc<Gateway>,
) -> Option<(Stream, Result<Startup, Denied>)> {
    for _ in 0..=MAX_ENCRYPTION_REQUESTS {
        let opening = match read_opening(&mut stream).await {
            Ok(opening) => opening,
            Err(denied) => return Some((stream, Err(denied))),
        };
        match opening {
            Opening::Ssl if !stream.is_encrypted() => {
                stream = answer_ssl_request(stream, gateway).await?;
            }
            Opening::Ssl | Opening::Gss => stream.write_all(b"N").await.ok()?,
            Opening::Cancel { pid, key } => {
                cancel(gateway, pid, &key).await;
                return None;
            }
            Opening::Startup(startup) => {
                let checked = check_peer(&stream, peer, gateway).map(|()| startup);
                return Some((stream, checked));
            }
        }
    }
    None
}

async fn read_opening(stream: &mut Stream) -> Result<Opening, Denied> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet).await?;
    let Ok(Some(length)) = startup::opening_length(&packet) else {
        return Err(Denied::Silently);
    };
    packet.resize(length, 0);
    stream.read_exact(packet.get_mut(4..).unwrap_or_default()).await?;
    Ok(startup::read_opening(&packet)?)
}

/// Answers an SSLRequest, and does the handshake if TLS is to be had.
///
/// Nothing was read ahead: each packet was read to its exact end, so bytes sent in the clear
/// behind the request become part of the handshake, which fails on them.
async fn answer_ssl_request(stream: Stream, gateway: &Gateway) -> Option<Stream> {
    match (gateway.now().tls(), stream) {
        (Some(acceptor), Stream::Tcp(mut tcp)) => {
            tcp.write_all(b"S").await.ok()?;
            match acceptor.accept(tcp).into_fallible().await {
                Ok(tls) => Some(Stream::Tls(Box::new(tls.into()))),
                Err((error, tcp)) => {
                    let peer = tcp.peer_addr().ok();
                    tracing::info!(%error, ?peer, "client refused: no TLS");
                    part(tcp).await;
                    None
                }
            }
        }
        (_, mut stream) => {
            stream.write_all(b"N").await.ok()?;
            Some(stream)
        }
    }
}

/// Lets a client whose handshake has failed read why: by TLS 1.3 it takes its own side for done, and has
/// sent more, upon which the socket would be reset with the alert unread.
async fn part(mut tcp: TcpStream) {
    let parting = async {
        tcp.shutdown().await?;
        let mut rest = [0; 1024];
        let mut left = MAX_LOGIN_MESSAGE;
        while left > 0 {
            match tcp.read(&mut rest).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(GOODBYE, parting).await;
}

fn check_peer(stream: &Stream, peer: Peer, gateway: &Gateway) -> Result<(), Denied> {
    let now = gateway.now();
    let config = now.config();
    let Peer::Tcp(address) = peer else {
        return Ok(());
    };
    if !config.auth.allow.is_empty()
        && !config.auth.allow.iter().any(|range| range.contains(&address.to_canonical()))
    {
        return Err(Report::new(
            Severity::Fatal,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("pgweir: connections from {address} are not allowed"),
        )
        .with_hint("auth.allow lists the addresses that may connect.")
        .into());
    }
    if config.listen.tls.mode == ListenTlsMode::Require && !stream.is_encrypted() {
        return Err(Report::new(
            Severity::Fatal,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "pgweir: connections without TLS are not allowed",
        )
        .with_hint("Connect with sslmode=require.")
        .into());
    }
    check_certificate(stream, config)
}

/// Passes a cancel request on to the server that works for the client, if one does.
///
/// The client's socket stays open until the server has taken the request: a client that waits for
/// it to close knows then that its next statement is safe.
async fn cancel(gateway: &Gateway, pid: i32, key: &[u8]) {
    gateway.metrics.cancel_requests.increment(1);
    let Some(server) = gateway.clients.cancel(pid, key) else {
        return;
    };
    if let Err(error) = server.cancel().await {
        tracing::warn!(%error, node = server.node().name(), "cancel request failed");
    }
}

// ---- who it is, and what it gets ----

/// A client that was let in.
enum LetIn {
    Session(Box<Shared>),
    Replication(Box<replication::Server>),
    Console,
}

/// A client that shares server connections.
struct Shared {
    session: Session<ClientRouter>,
    pools: Arc<PoolSet>,
    policy: Policy,
}

/// What is known of a client before it has said who it is.
pub(super) struct Entrant<'a> {
    /// By what it is let in, from beginning to end.
    pub(super) now: &'a Snapshot,
    pub(super) startup: &'a Startup,
    pub(super) effective: Effective<'a>,
    pub(super) policy: Policy,
}

async fn let_in(
    stream: &mut Stream,
    startup: Startup,
    gateway: &Arc<Gateway>,
) -> Result<(LetIn, Place), Denied> {
    if let Some(negotiation) = startup::negotiate(&startup) {
        stream.write_all(&negotiation).await?;
    }
    let now = gateway.now();
    if console::is_meant(&startup, now.config()) {
        return Ok((LetIn::Console, console::let_in(stream, &startup, &now, gateway).await?));
    }
    let_in_to_servers(stream, startup, &now, gateway).await
}

/// Lets a client in that is to get server connections.
async fn let_in_to_servers(
    stream: &mut Stream,
    startup: Startup,
    now: &Arc<Snapshot>,
    gateway: &Arc<Gateway>,
) -> Result<(LetIn, Place), Denied> {
    let config = now.config();
    let effective = match startup.replication {
        Some(kind) => replication::effective(config, &startup.database, kind),
        None => config.effective(&startup.database),
    };
    let effective = effective.ok_or_else(|| no_such_database(&startup.database))?;
    if gateway.gates.is_disabled(&config.first_name(&startup.database)) {
        return Err(disabled(&startup.database).into());
    }
    let policy = now.policy(&effective).ok_or(Denied::Silently)?;
    let key = cancel_key(&startup);
    let most = config.listen.max_clients;
    let kind = startup.replication.map_or(Kind::Shared, |_| Kind::Replication);
    let identity = Identity::new(stream, &startup, kind);
    let Some(mut place) = Clients::enter(gateway, most, key.clone(), identity) else {
        return Err(too_many_clients(most).into());
    };
    let entrant = Entrant { now, startup: &startup, effective, policy };
    let mut out = Vec::new();
    message::authentication_ok(&mut out);
    let let_in = match startup.replication {
        Some(kind) => {
            let server = replication::open(stream, &entrant, kind, gateway).await?;
            tell_parameters(&server.connection.facts.reported, &mut out);
            LetIn::Replication(Box::new(server))
        }
        None => {
            let shared = share(stream, entrant, &place, &mut out).await?;
            LetIn::Session(Box::new(shared))
        }
    };
    // Only now it is known who it is.
    if !place.count_user(config.limits.per_user) {
        return Err(too_many_of(&startup.user, config.limits.per_user).into());
    }
    message::backend_key_data(place.handle.pid, &key, &mut out);
    message::ready_for_query(TransactionStatus::Idle, &mut out);
    stream.write_all(&out).await?;
    stream.flush().await?;
    place.handle.account.admit();
    // A reload tells those who are in the table; this one was perhaps not, or not at work yet.
    if !Arc::ptr_eq(now, &gateway.now()) {
        place.handle.raise(Signal::Renew);
    }
    if config.log.connections {
        let replication = startup.replication.map(Replication::as_str);
        place.handle.span().in_scope(|| tracing::info!(replication, "client connected"));
    }
    Ok((let_in, place))
}

/// Finds out who the client is and what its session starts with.
async fn share(
    stream: &mut Stream,
    entrant: Entrant<'_>,
    place: &Place,
    out: &mut Vec<u8>,
) -> Result<Shared, Denied> {
    let gateway = &place.gateway;
    let credentials = authenticate(stream, &entrant, gateway).await?;
    let Entrant { now, startup, effective, policy } = entrant;
    let pools = policy
        .cluster
        .pools(effective.dbname, &startup.user, &pool_spec(effective.pool))
        .map_err(|error| refused(&error))?;
    pools.set_credentials(credentials);
    // PAUSE closes its gate first and looks for pools then: one of the two finds these.
    if gateway.gates.is_paused(&now.config().first_name(&startup.database)) {
        pools.pause();
    }
    let settings = welcome::startup_settings(startup);
    let welcome = welcome::reported(gateway, &policy, &pools, settings).await?;
    tell_parameters(&welcome.reported, out);
    let start = SessionStart {
        mode: pool_mode(effective.pool.mode),
        max_message: max_message(now.config()),
        id: place.id,
        pid: place.handle.pid,
        registry: gateway.registry.clone(),
        startup: welcome.settings.clone(),
        reported: welcome.reported.clone(),
    };
    let router = gateway.router(now, &startup.database, &effective).ok_or(Denied::Silently)?;
    let attendance = router.catalog().attend().await;
    // Who comes again sees what it has written before.
    let past = Past::new(pools.last_write());
    let router = ClientRouter::new(router, policy.clone(), past, attendance);
    Ok(Shared { session: Session::new(start, router), pools, policy })
}

fn tell_parameters(parameters: &Parameters, out: &mut Vec<u8>) {
    for (name, value) in parameters.iter() {
        message::parameter_status(name, value, out);
    }
}

fn disabled(name: &str) -> Report {
    let message = format!("pgweir: database \"{name}\" takes no new clients");
    Report::new(Severity::Fatal, SqlState::CANNOT_CONNECT_NOW, message)
        .with_hint("An administrator has disabled it on the console.")
}

fn no_such_database(name: &str) -> Report {
    let message = format!("pgweir: database \"{name}\" is not served here");
    Report::new(Severity::Fatal, SqlState::INVALID_CATALOG_NAME, message)
        .with_hint("[databases] lists the names that are.")
}

pub(super) fn too_many_clients(most: u32) -> Report {
    let message = "pgweir: sorry, too many clients already";
    Report::new(Severity::Fatal, SqlState::TOO_MANY_CONNECTIONS, message)
        .with_detail(format!("listen.max_clients is {most}."))
}

fn too_many_of(user: &str, most: Option<u32>) -> Report {
    let message = format!("pgweir: too many clients of user \"{user}\" already");
    Report::new(Severity::Fatal, SqlState::TOO_MANY_CONNECTIONS, message)
        .with_detail(format!("limits.per_user is {}.", most.unwrap_or_default()))
}

pub(super) fn refused(error: &pgweir_pool::PoolError) -> Denied {
    match super::refusal::of_pool(error) {
        super::refusal::Refused::Report(report) => Denied::Report(report),
        super::refusal::Refused::Verbatim(frame) => {
            Denied::Verbatim(super::refusal::as_fatal(&frame))
        }
    }
}

pub(super) fn cancel_key(startup: &Startup) -> Vec<u8> {
    if startup.minor_spoken() >= 2 {
        random::bytes::<LONG_KEY>().to_vec()
    } else {
        random::bytes::<SHORT_KEY>().to_vec()
    }
}

// ---- authentication ----

/// Finds out who the client is, and what opens server connections in its name.
async fn authenticate(
    stream: &mut Stream,
    entrant: &Entrant<'_>,
    gateway: &Arc<Gateway>,
) -> Result<Credentials, Denied> {
    let Entrant { now, startup: Startup { user, .. }, effective, policy } = entrant;
    match now.config().auth.method {
        AuthMethod::Passthrough => {
            passthrough::authenticate(stream, user, effective.dbname, policy, gateway).await
        }
        _ => own_method(stream, user, now, &policy.cluster, gateway).await,
    }
}

/// Finds out by one of pgweir's own methods who the client is.
pub(super) async fn own_method(
    stream: &mut Stream,
    user: &str,
    now: &Snapshot,
    cluster: &Arc<Cluster>,
    gateway: &Gateway,
) -> Result<Credentials, Denied> {
    let config = now.config();
    let configured = || configured_credentials(config, user);
    match config.auth.method {
        AuthMethod::Trust => Ok(configured().unwrap_or(Credentials::None)),
        AuthMethod::Cert => {
            by_certificate(stream, user, config)?;
            Ok(configured().unwrap_or(Credentials::None))
        }
        AuthMethod::Query => {
            let source = Source::of(config).ok_or(Denied::Silently)?;
            passthrough::first_probe(cluster).await?;
            let stored = StoredSecret { cluster, source: &source, user };
            let proven = stored.verify(stream, gateway).await?;
            Ok(configured().unwrap_or(proven))
        }
        AuthMethod::Passthrough | AuthMethod::ScramSha256 => {
            by_users_file(stream, user, now, gateway).await
        }
    }
}

/// Leads the exchange with the client to its end; returns the keys that it reveals.
pub(super) async fn converse(
    stream: &mut Stream,
    mut login: ClientLogin,
    user: &str,
) -> Result<Option<Credentials>, Denied> {
    let mut out = Vec::new();
    let mut step = login.start(&mut out);
    loop {
        // The last message of an exchange goes out with AuthenticationOk.
        stream.write_all(&out).await?;
        out.clear();
        if let ClientLoginStep::Authenticated { keys } = step {
            return Ok(keys.map(Credentials::Scram));
        }
        let body = read_password(stream).await?;
        step = login.handle(&body, &mut out).map_err(|error| Denied::Report(error.report(user)))?;
    }
}

async fn read_password(stream: &mut Stream) -> Result<Vec<u8>, Denied> {
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head).await?;
    let header = Header::read(&head)?.ok_or(Denied::Silently)?;
    if header.tag == b'X' {
        return Err(Denied::Silently);
    }
    if header.tag != b'p' {
        let expected = "a password message";
        return Err(ProtocolError::UnexpectedMessage { tag: header.tag, expected }.into());
    }
    if header.length > MAX_LOGIN_MESSAGE {
        return Err(ProtocolError::InvalidLength {
            frame: "PasswordMessage",
            length: i64::try_from(header.length - 1).unwrap_or(i64::MAX),
            least: 4,
            most: MAX_LOGIN_MESSAGE,
        }
        .into());
    }
    let mut body = vec![0; header.length - HEADER_LENGTH];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
