//! Opening a connection to a server: name, socket, encryption, login, until it is ready for queries.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use pgweir_protocol::auth::{Credentials, DerivedKeys, LoginError, LoginStep, Method, ServerLogin};
use pgweir_protocol::cursor::Cursor;
use pgweir_protocol::message::{CANCEL_KEY_MAX_LENGTH, CANCEL_KEY_MIN_LENGTH};
use pgweir_protocol::report::ServerReport;
use pgweir_protocol::server::ServerFacts;
use pgweir_protocol::startup::{OLDEST_MINOR, encode_cancel, encode_ssl_request, encode_startup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::clock;
use crate::node::Node;
use crate::spec::{SslMode, TlsSpec};
use crate::stream::{Stream, tune};
use crate::tls::{TlsError, connector, read_authorities, server_name, tls_server_end_point};

/// Length of a message that a server may send before it is ready, at most, in bytes. Notices and
/// parameters are short; a length beyond this is no PostgreSQL.
const MAX_LOGIN_FRAME: usize = 64 * 1024;
/// Messages that a server may send before it is ready, at most.
const MAX_LOGIN_FRAMES: usize = 1000;
/// Tag and length of a message, in bytes.
const HEADER: usize = 5;
/// How long a cancel request may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// `invalid_authorization_specification`: what `pg_hba.conf` refuses a connection with, which may
/// be due to its being encrypted, or not.
const REFUSED_BY_HBA: &[u8] = b"28000";

/// `feature_not_supported` and `protocol_violation`: what a version of the protocol is refused with.
const REFUSED_VERSION: [&[u8]; 2] = [b"0A000", b"08P01"];

/// Why a connection to a server did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The system's error: refused, unreachable, reset, unknown name.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Encryption failed, or the server does not offer what the configuration demands.
    #[error("TLS: {0}")]
    Tls(String),
    /// It took too long.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The server wants a proof that the credentials cannot give.
    #[error("the server asks for {0}, and there is nothing to answer it with")]
    Asked(Method),
    /// The server wants the password in the clear over an unencrypted connection.
    #[error("the server asks for a cleartext password on a connection without TLS")]
    CleartextRefused,
    /// The server said no.
    #[error("the server refused the login: {}", report_of(.body))]
    Refused {
        /// The body of its ErrorResponse, to be passed on as it is.
        body: Vec<u8>,
    },
    /// What the server sent is not PostgreSQL's protocol, or its proof of itself is wrong.
    #[error("{0}")]
    Protocol(String),
}

/// What an error says about the node: the pool reacts by this, and the driver may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The node cannot be reached or is not accepting connections: another may do better.
    Node,
    /// The node has no room for another connection just now.
    Crowded,
    /// This user or database is not welcome: trying again, or elsewhere, is no use.
    Login,
}

fn report_of(body: &[u8]) -> String {
    ServerReport::parse(body)
        .map_or_else(|| "a malformed ErrorResponse".to_owned(), |report| report.to_string())
}

impl ConnectError {
    /// Who is at fault, by the server's SQLSTATE where it gave one (manual: appendix A).
    #[must_use]
    pub fn fault(&self) -> Fault {
        let body = match self {
            Self::Io(_) | Self::Timeout(_) | Self::Tls(_) | Self::Protocol(_) => {
                return Fault::Node;
            }
            Self::Asked(_) | Self::CleartextRefused => return Fault::Login,
            Self::Refused { body } => body,
        };
        match ServerReport::parse(body).map(|report| report.code.0) {
            // too_many_connections: also a role's or a database's CONNECTION LIMIT.
            Some([b'5', b'3', ..]) => Fault::Crowded,
            // admin_shutdown, crash_shutdown, cannot_connect_now.
            Some([b'5', b'7', b'P', ..]) => Fault::Node,
            _ => Fault::Login,
        }
    }

    /// Whether the other kind of connection, encrypted or not, might be let in.
    fn may_be_about_encryption(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            _ => self.is_refused_with(&[REFUSED_BY_HBA]),
        }
    }

    /// Whether an older version of the protocol might be let in.
    fn may_be_about_version(&self) -> bool {
        self.is_refused_with(&REFUSED_VERSION)
    }

    fn is_refused_with(&self, codes: &[&[u8]]) -> bool {
        let Self::Refused { body } = self else { return false };
        ServerReport::parse(body).is_some_and(|report| codes.contains(&report.code.0.as_slice()))
    }
}

impl From<LoginError> for ConnectError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Asked(method) => Self::Asked(method),
            LoginError::ClearTextRefused => Self::CleartextRefused,
            LoginError::Refused(body) => Self::Refused { body },
            LoginError::Scram(_) | LoginError::Protocol(_) => Self::Protocol(error.to_string()),
        }
    }
}

/// A connection to a server that is logged in and ready for queries.
#[derive(Debug)]
pub struct ServerConnection {
    /// Its socket.
    pub stream: Stream,
    /// What is known about it.
    pub facts: Box<ServerFacts>,
    /// Where it leads.
    pub node: Arc<Node>,
    /// When it was opened.
    pub opened_at: Instant,
    /// Keys that the login derived from a password, for the next login.
    pub derived: Option<DerivedKeys>,
    /// What opened it.
    pub(crate) dialer: Dialer,
}

impl ServerConnection {
    /// What it takes to cancel what runs on it.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(Arc::new(Backend {
            node: Arc::clone(&self.node),
            pid: self.facts.pid,
            key: Arc::clone(&self.facts.key),
            local: self.stream.local_address(),
            encryption: self.stream.encryption(),
            opened_at: self.opened_at,
            dialer: self.dialer.clone(),
        }))
    }
}

/// What it takes to cancel what runs on a server connection, and to tell it from others; it outlives
/// the lease, and copies of it cost next to nothing.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<Backend>);

/// What stays the same about a server connection for as long as it is open.
#[derive(Debug)]
struct Backend {
    node: Arc<Node>,
    pid: i32,
    key: Arc<[u8]>,
    local: Option<SocketAddr>,
    encryption: Option<String>,
    opened_at: Instant,
    dialer: Dialer,
}

impl CancelHandle {
    /// Asks the server to cancel what runs on the connection.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        self.0.dialer.cancel(self).await
    }

    /// The server it leads to.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    /// The backend's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.0.pid
    }

    /// This side's address; a Unix socket has none.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// Protocol and cipher of its TLS, while it has any.
    #[must_use]
    pub fn encryption(&self) -> Option<&str> {
        self.0.encryption.as_deref()
    }

    /// When the connection was opened.
    #[must_use]
    pub fn opened_at(&self) -> Instant {
        self.0.opened_at
    }

    /// Whether both lead to the same connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Who logs in where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) credentials: &'a Credentials,
    pub(crate) known: Option<&'a DerivedKeys>,
    pub(crate) parameters: &'a [(&'a str, &'a str)],
    pub(crate) prepared_statements: usize,
}

/// Whether an attempt is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    No,
    IfOffered,
    Yes,
}

/// Opens connections to the servers of one cluster.
#[derive(Clone)]
pub(crate) struct Dialer {
    mode: SslMode,
    tls: Option<TlsConnector>,
    /// The certificates that it trusts, as they are in their file.
    authorities: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Dialer").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn new(spec: &TlsSpec) -> Result<Self, TlsError> {
        let authorities = read_authorities(spec)?;
        let tls = connector(spec, authorities.as_deref())?;
        Ok(Self { mode: spec.mode, tls, authorities: authorities.map(Arc::from) })
    }

    /// Whether both open the same connections.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.mode, &self.authorities) == (other.mode, &other.authorities)
    }

    /// How to try, in order; libpq's rules (manual: table 34.1).
    pub(crate) const fn attempts(&self) -> &'static [Encryption] {
        match self.mode {
            SslMode::Disable => &[Encryption::No],
            SslMode::Allow => &[Encryption::No, Encryption::Yes],
            SslMode::Prefer => &[Encryption::IfOffered, Encryption::No],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Yes],
        }
    }

    /// Opens a connection and logs in.
    pub(crate) async fn connect(
        &self,
        node: &Arc<Node>,
        login: Login<'_>,
        timeout: Duration,
    ) -> Result<ServerConnection, ConnectError> {
        let attempts = async {
            let mut outcome = Err(ConnectError::Tls("no way to connect is allowed".to_owned()));
            for &encryption in self.attempts() {
                outcome = self.attempt(node, login, encryption).await;
                match &outcome {
                    Err(error) if error.may_be_about_encryption() => {}
                    _ => break,
                }
            }
            outcome
        };
        tokio::time::timeout(timeout, attempts).await.unwrap_or(Err(ConnectError::Timeout(timeout)))
    }

    async fn attempt(
        &self,
        node: &Arc<Node>,
        login: Login<'_>,
        encryption: Encryption,
    ) -> Result<ServerConnection, ConnectError> {
        let minor = node.protocol_minor();
        let stream = self.transport(node, encryption).await?;
        match self.log_in(stream, node, login, minor).await {
            Err(error) if minor > OLDEST_MINOR && error.may_be_about_version() => {
                let stream = self.transport(node, encryption).await?;
                self.log_in(stream, node, login, OLDEST_MINOR).await
            }
            outcome => outcome,
        }
    }

    /// Logs in, and waits until the server is ready.
    async fn log_in(
        &self,
        mut stream: Stream,
        node: &Arc<Node>,
        login: Login<'_>,
        minor: u16,
    ) -> Result<ServerConnection, ConnectError> {
        let startup = encode_startup(minor, login.user, login.database, login.parameters);
        stream.write_all(&startup).await?;
        stream.flush().await?;
        let mut input = BytesMut::new();
        let derived = authenticate(&mut stream, &mut input, login, minor).await?;
        let told = settle(&mut stream, &mut input).await?;
        if !input.is_empty() {
            let reason = "the server sent more behind its first ReadyForQuery".to_owned();
            return Err(ConnectError::Protocol(reason));
        }
        let Told { pid, key, parameters } = told;
        let facts = Box::new(ServerFacts::new(pid, key, parameters, login.prepared_statements));
        let (node, opened_at) = (Arc::clone(node), clock::now());
        let dialer = self.clone();
        Ok(ServerConnection { stream, facts, node, opened_at, derived, dialer })
    }

    /// Opens a socket, encrypted or not, with nothing said on it yet.
    pub(crate) async fn transport(
        &self,
        node: &Node,
        encryption: Encryption,
    ) -> Result<Stream, ConnectError> {
        if node.host().starts_with('/') {
            if encryption == Encryption::Yes {
                let reason = "is not available on a Unix socket".to_owned();
                return Err(ConnectError::Tls(reason));
            }
            let path = format!("{}/.s.PGSQL.{}", node.host(), node.port());
            return Ok(Stream::Unix(UnixStream::connect(path).await?));
        }
        let tcp = node.lookup.connect(node.host(), node.port()).await?;
        tune(&tcp)?;
        match (encryption, &self.tls) {
            (Encryption::No, _) | (Encryption::IfOffered, None) => Ok(Stream::Tcp(tcp)),
            (Encryption::Yes, None) => Err(ConnectError::Tls("is disabled".to_owned())),
            (_, Some(tls)) => encrypt(tcp, tls, node.host(), encryption).await,
        }
    }

    /// Asks the server to cancel what runs on a connection, and waits until it has taken note: it
    /// closes the connection then (manual: 55.2.8 "Canceling Requests in Progress").
    async fn cancel(&self, handle: &CancelHandle) -> Result<(), ConnectError> {
        let request = async {
            let backend = &handle.0;
            let is_encrypted = backend.encryption.is_some();
            let encryption = if is_encrypted { Encryption::Yes } else { Encryption::No };
            let mut stream = self.transport(&backend.node, encryption).await?;
            stream.write_all(&encode_cancel(backend.pid, &backend.key)).await?;
            stream.flush().await?;
            let mut nothing = [0; 1];
            // Closing without reading counts as having taken note, too.
            let _ = stream.read(&mut nothing).await;
            Ok(())
        };
        tokio::time::timeout(CANCEL_TIMEOUT, request)
            .await
            .unwrap_or(Err(ConnectError::Timeout(CANCEL_TIMEOUT)))
    }
}

/// Asks for encryption and shakes hands (manual: 55.2.11 "SSL Session Encryption").
async fn encrypt(
    mut tcp: TcpStream,
    tls: &TlsConnector,
    host: &str,
    encryption: Encryption,
) -> Result<Stream, ConnectError> {
    tcp.write_all(&encode_ssl_request()).await?;
    // Room for one byte more than the answer: whatever is sent behind an 'S' came unencrypted from
    // somebody who wants it taken for encrypted (CVE-2021-23222).
    let mut answer = [0; 2];
    match (tcp.read(&mut answer).await?, answer[0]) {
        (1, b'S') => {
            let name = server_name(host).map_err(ConnectError::Tls)?;
            let stream = tls
                .connect(name, tcp)
                .await
                .map_err(|error| ConnectError::Tls(error.to_string()))?;
            Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
        }
        (1, b'N') if encryption == Encryption::IfOffered => Ok(Stream::Tcp(tcp)),
        (1, b'N') => Err(ConnectError::Tls("the server does not offer it".to_owned())),
        (0, _) => Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into())),
        (1, other) => {
            Err(ConnectError::Protocol(format!("answer 0x{other:02X} to a request for TLS")))
        }
        _ => Err(ConnectError::Protocol(
            "unencrypted bytes behind the answer to a request for TLS".to_owned(),
        )),
    }
}

/// What the server tells between AuthenticationOk and ReadyForQuery.
#[derive(Debug, Default)]
struct Told {
    pid: i32,
    key: Vec<u8>,
    parameters: Vec<(String, String)>,
}

/// Proves the user to the server; gives the keys that this derived from a password.
async fn authenticate(
    stream: &mut Stream,
    input: &mut BytesMut,
    login: Login<'_>,
    minor: u16,
) -> Result<Option<DerivedKeys>, ConnectError> {
    let mut nonce = [0; _];
    getrandom::fill(&mut nonce)
        .map_err(|error| ConnectError::Io(io::Error::other(error.to_string())))?;
    let encrypted = stream.is_encrypted();
    let mut exchange = ServerLogin::new(login.user, login.credentials.clone(), nonce, encrypted)
        .with_certificate_hash(certificate_hash(stream))
        .with_known(login.known.cloned())
        .with_minor(minor);
    let mut output = Vec::new();
    for _ in 0..MAX_LOGIN_FRAMES {
        let (tag, body) = next_frame(stream, input).await?;
        if exchange.handle(tag, &body, &mut output)? == LoginStep::Authenticated {
            return Ok(exchange.derived().cloned());
        }
        if !output.is_empty() {
            stream.write_all(&output).await?;
            stream.flush().await?;
            output.clear();
        }
    }
    Err(ConnectError::Protocol("a login without end".to_owned()))
}

/// Reads what the server tells about the session, up to ReadyForQuery.
async fn settle(stream: &mut Stream, input: &mut BytesMut) -> Result<Told, ConnectError> {
    let malformed = |error: pgweir_protocol::error::ProtocolError| {
        ConnectError::Protocol(format!("from the server: {error}"))
    };
    let mut told = Told::default();
    for _ in 0..MAX_LOGIN_FRAMES {
        let (tag, body) = next_frame(stream, input).await?;
        match tag {
            b'K' => {
                let mut cursor = Cursor::new("BackendKeyData", &body);
                told.pid = cursor.i32().map_err(malformed)?;
                told.key = cursor.rest().to_vec();
                if !(CANCEL_KEY_MIN_LENGTH..=CANCEL_KEY_MAX_LENGTH).contains(&told.key.len()) {
                    let reason = format!("a cancel key of {} bytes", told.key.len());
                    return Err(ConnectError::Protocol(reason));
                }
            }
            b'S' => {
                let mut cursor = Cursor::new("ParameterStatus", &body);
                let name = String::from_utf8_lossy(cursor.cstr().map_err(malformed)?).into_owned();
                let value = String::from_utf8_lossy(cursor.cstr().map_err(malformed)?).into_owned();
                cursor.finish().map_err(malformed)?;
                told.parameters.push((name, value));
            }
            b'Z' => return Ok(told),
            b'E' => {
                return Err(ConnectError::Refused { body: body.to_vec() });
            }
            b'N' => {}
            other => {
                let reason = format!("unexpected message 0x{other:02X} during a login");
                return Err(ConnectError::Protocol(reason));
            }
        }
    }
    Err(ConnectError::Protocol("a login without end".to_owned()))
}

/// The next message: its tag and its body.
async fn next_frame(
    stream: &mut Stream,
    input: &mut BytesMut,
) -> Result<(u8, BytesMut), ConnectError> {
    loop {
        if let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER>() {
            // The length counts itself but not the tag.
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            if !(HEADER - 1..=MAX_LOGIN_FRAME).contains(&length) {
                let reason = format!("message 0x{tag:02X} of {length} bytes during a login");
                return Err(ConnectError::Protocol(reason));
            }
            if input.len() > length {
                let mut frame = input.split_to(length + 1);
                frame.advance(HEADER);
                return Ok((tag, frame));
            }
        }
        if stream.read_buf(input).await? == 0 {
            return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn certificate_hash(stream: &Stream) -> Option<Vec<u8>> {
    let Stream::Tls(tls) = stream else {
        return None;
    };
    let (_, connection) = tls.get_ref();
    tls_server_end_point(connection.peer_certificates()?.first()?)
}
