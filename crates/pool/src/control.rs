//! The control plane: few connections of the monitor role (tokio-postgres, pooled by deadpool), apart
//! from the data plane's. It asks servers how they are, and answers the pooler's own questions:
//! secrets of roles, the catalog. None of its types leave this crate.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::tokio_postgres::error::SqlState;
use deadpool_postgres::tokio_postgres::types::{FromSql, ToSql, Type};
use deadpool_postgres::tokio_postgres::{self as pg, NoTls, Row, SimpleQueryMessage};
use deadpool_postgres::{Connect, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use crate::dial::{ConnectError, Dialer, Encryption};
use crate::node::Node;
use crate::spec::MonitorSpec;
use crate::stream::Stream;

/// Connections per node, database and role that questions may use at the same time.
const CONNECTIONS_PER_QUESTIONER: usize = 2;
/// Pools of such connections per node, at most; beyond that the unused ones are closed.
const MAX_QUESTIONERS_PER_NODE: usize = 64;
/// How the pooler's own connections show in `pg_stat_activity`.
const APPLICATION_NAME: &str = "pgweir";

/// Why a question of the pooler's own was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No node is there to be asked.
    #[error("no server of the cluster answers")]
    Nobody,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server's own error.
    #[error("{code}: {message}")]
    Refused {
        /// Its SQLSTATE.
        code: String,
        /// Its message.
        message: String,
    },
    /// No connection, or it was lost.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing answers at its address: its machine is off, or the network between.
    #[error("{0}")]
    NoWay(String),
    /// The answer is not what was asked for.
    #[error("{0}")]
    Unusable(String),
}

impl ControlError {
    /// Whether another node may know better: this one does not answer, or takes nobody in.
    fn is_the_nodes(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Unreachable(_) | Self::NoWay(_) => true,
            // cannot_connect_now and its like, too_many_connections (manual: appendix A).
            Self::Refused { code, .. } => code.starts_with("57P") || code == "53300",
            Self::Nobody | Self::Unusable(_) => false,
        }
    }

    /// Whether the server let the pooler in but not do this.
    #[must_use]
    pub fn is_insufficient_privilege(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == SqlState::INSUFFICIENT_PRIVILEGE.code())
    }
}

impl From<pg::Error> for ControlError {
    fn from(error: pg::Error) -> Self {
        match error.as_db_error() {
            Some(report) => Self::Refused {
                code: report.code().code().to_owned(),
                message: report.message().to_owned(),
            },
            None if is_no_way(&error) => Self::NoWay(with_causes(&error)),
            None => Self::Unreachable(with_causes(&error)),
        }
    }
}

/// Whether the system says that there is no way to the server, as opposed to a server that says no.
fn is_no_way(error: &pg::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| {
        matches!(cause.kind(), HostUnreachable | NetworkUnreachable | TimedOut)
    })
}

/// An error and what led to it: "error connecting to server: connection refused".
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Who asks, and where.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Questioner {
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) manners: Manners,
}

/// How a questioner's sessions are set up; all of them are read only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Manners {
    /// The pooler's own questions: only `pg_catalog` is searched, whatever the role's settings are.
    Own,
    /// An operator's question: names are searched as the role's settings have it, and the server ends
    /// what takes longer than this, also where nobody waits for it any more.
    Operators {
        /// In milliseconds.
        statement_timeout: u128,
    },
}

impl Manners {
    fn options(self) -> String {
        const READ_ONLY: &str = "-c default_transaction_read_only=on";
        match self {
            // Whatever the role's own settings are: what it reads must be found and be read.
            Self::Own => format!("-c search_path=pg_catalog {READ_ONLY}"),
            Self::Operators { statement_timeout } => {
                format!("-c statement_timeout={statement_timeout} {READ_ONLY}")
            }
        }
    }
}

/// A question and its parameters, of type text or what text is cast to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) sql: &'a str,
    pub(crate) parameters: &'a [&'a str],
}

/// Asks one node after the other until one answers; first those that have not fallen silent.
///
/// # Errors
/// [`ControlError`] of the last.
pub(crate) async fn ask_any(
    nodes: &[Arc<Control>],
    questioner: &Questioner,
    question: Question<'_>,
    timeout: Duration,
) -> Result<Rows, ControlError> {
    let mut failed = ControlError::Nobody;
    let mut nodes: Vec<_> = nodes.iter().collect();
    nodes.sort_by_key(|control| control.node.standing());
    for node in nodes {
        match node.ask(questioner, question, timeout).await {
            Err(error) if error.is_the_nodes() => failed = error,
            answer => return answer,
        }
    }
    Err(failed)
}

/// Cells of the rows that came back.
pub type Rows = Vec<Vec<Option<String>>>;

/// The control plane's connections to one node.
pub(crate) struct Control {
    node: Arc<Node>,
    dialer: Dialer,
    /// Who asks how the node is.
    prober: Questioner,
    questioners: Mutex<HashMap<Questioner, Pool>>,
}

/// A connection for the monitor's probes.
pub(crate) type ProbeConnection = Object;

impl Control {
    pub(crate) fn new(node: Arc<Node>, dialer: Dialer, monitor: &MonitorSpec) -> Self {
        let prober = Questioner {
            user: monitor.user.clone(),
            password: monitor.password.clone(),
            database: monitor.database.clone(),
            manners: Manners::Own,
        };
        Self { node, dialer, prober, questioners: Mutex::new(HashMap::new()) }
    }

    /// A pool of one connection, for probes.
    ///
    /// # Errors
    /// [`ControlError::Unusable`], when the library refuses the settings.
    pub(crate) fn probes(&self) -> Result<Pool, ControlError> {
        self.pool(&self.prober, 1)
    }

    /// Asks, and gives the answer's rows as text.
    ///
    /// # Errors
    /// [`ControlError`].
    pub(crate) async fn ask(
        &self,
        questioner: &Questioner,
        question: Question<'_>,
        timeout: Duration,
    ) -> Result<Rows, ControlError> {
        let pool = self.questioner(questioner)?;
        let connection = tokio::time::timeout(timeout, connect(&pool))
            .await
            .unwrap_or(Err(ControlError::Timeout(timeout)))?;
        let answer = tokio::time::timeout(timeout, answer(&connection, question)).await;
        match answer {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                if connection.is_closed() {
                    discard(connection);
                }
                Err(error)
            }
            Err(_) => {
                discard(connection);
                Err(ControlError::Timeout(timeout))
            }
        }
    }

    /// Closes the connections of whoever asks but the monitor: of roles and passwords, perhaps, that are
    /// no longer configured. Questions under way are answered.
    pub(crate) fn forget_others(&self) {
        let mut questioners = self.questioners.lock().unwrap_or_else(PoisonError::into_inner);
        questioners.retain(|questioner, _| questioner.manners == Manners::Own);
    }

    /// Asks on a connection of its own, which is closed behind the answer: nothing of the pooler's
    /// stays in a database that somebody may want to drop.
    ///
    /// # Errors
    /// [`ControlError`].
    pub(crate) async fn ask_apart(
        &self,
        questioner: &Questioner,
        sql: &str,
        timeout: Duration,
    ) -> Result<Rows, ControlError> {
        let pool = self.pool(questioner, 1)?;
        let asked = async {
            let connection = connect(&pool).await?;
            let rows = answer(&connection, Question { sql, parameters: &[] }).await;
            discard(connection);
            rows
        };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Err(ControlError::Timeout(timeout)))
    }

    fn questioner(&self, questioner: &Questioner) -> Result<Pool, ControlError> {
        let mut questioners = self.questioners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = questioners.get(questioner) {
            return Ok(pool.clone());
        }
        if questioners.len() >= MAX_QUESTIONERS_PER_NODE {
            questioners.clear();
        }
        let pool = self.pool(questioner, CONNECTIONS_PER_QUESTIONER)?;
        questioners.insert(questioner.clone(), pool.clone());
        Ok(pool)
    }

    fn pool(&self, questioner: &Questioner, size: usize) -> Result<Pool, ControlError> {
        let mut config = pg::Config::new();
        config
            .user(&questioner.user)
            .dbname(&questioner.database)
            .application_name(APPLICATION_NAME)
            .options(questioner.manners.options());
        if let Some(password) = &questioner.password {
            config.password(password);
        }
        let transport = Transport { node: Arc::clone(&self.node), dialer: self.dialer.clone() };
        let manager = deadpool_postgres::Manager::from_connect(
            config,
            transport,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        Pool::builder(manager)
            .max_size(size)
            .build()
            .map_err(|error| ControlError::Unusable(error.to_string()))
    }
}

/// A connection from the pool, a new one if need be.
///
/// # Errors
/// [`ControlError`].
pub(crate) async fn connect(pool: &Pool) -> Result<ProbeConnection, ControlError> {
    use deadpool_postgres::PoolError;
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => ControlError::from(error),
        other => ControlError::Unreachable(with_causes(&other)),
    })
}

/// Closes a connection instead of giving it back.
pub(crate) fn discard(connection: ProbeConnection) {
    drop(Object::take(connection));
}

async fn answer(
    connection: &ProbeConnection,
    question: Question<'_>,
) -> Result<Rows, ControlError> {
    if question.parameters.is_empty() {
        let messages = connection.simple_query(question.sql).await?;
        return Ok(messages.iter().filter_map(cells_of_message).collect());
    }
    let parameters: Vec<&(dyn ToSql + Sync)> =
        question.parameters.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
    let rows = connection.query(question.sql, &parameters).await?;
    rows.iter().map(cells_of_row).collect()
}

fn cells_of_message(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    Some((0..row.len()).map(|cell| row.try_get(cell).ok().flatten().map(str::to_owned)).collect())
}

fn cells_of_row(row: &Row) -> Result<Vec<Option<String>>, ControlError> {
    (0..row.len())
        .map(|cell| match row.try_get::<_, Option<Text>>(cell) {
            Ok(text) => Ok(text.map(|Text(text)| text)),
            Err(error) => Err(ControlError::Unusable(with_causes(&error))),
        })
        .collect()
}

/// A value of a type whose binary format is its text.
struct Text(String);

impl<'a> FromSql<'a> for Text {
    fn from_sql(
        kind: &Type,
        bytes: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        <&str>::from_sql(kind, bytes).map(|text| Self(text.to_owned()))
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql>::accepts(kind)
    }
}

/// Connects tokio-postgres through the pooler's own sockets and TLS, so that one set of rules holds
/// for both planes.
struct Transport {
    node: Arc<Node>,
    dialer: Dialer,
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(pg::Client, JoinHandle<()>), pg::Error>> + Send + 'a>>;

impl Connect for Transport {
    fn connect(&self, config: &pg::Config) -> Connecting<'_> {
        let mut config = config.clone();
        // Encryption is settled by the time the library gets the socket.
        config.ssl_mode(pg::config::SslMode::Disable);
        Box::pin(async move {
            let mut attempts = self.dialer.attempts().iter();
            loop {
                let encryption = attempts.next().copied().unwrap_or(Encryption::No);
                let socket = Socket::open(&self.dialer, &self.node, encryption).await;
                let no_tls = matches!(&socket, Socket::Failed(Some(ConnectError::Tls(_))));
                match config.connect_raw(socket, NoTls).await {
                    Ok((client, connection)) => return Ok((client, self.attend(connection))),
                    Err(error) => {
                        let refused =
                            error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
                        if attempts.len() == 0 || !(no_tls || refused) {
                            return Err(error);
                        }
                    }
                }
            }
        })
    }
}

impl Transport {
    /// Drives a connection in a task of its own. When the server ends it, that is the first sign
    /// that something is wrong with the server.
    fn attend(&self, connection: pg::Connection<Socket, pg::tls::NoTlsStream>) -> JoinHandle<()> {
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(node = node.name(), %error, "a connection of the monitor ended");
                node.suspect();
            }
        })
    }
}

/// A socket, or the reason why there is none, reported at the first use: the library makes its errors
/// itself, of what its socket says.
enum Socket {
    Open(Stream),
    Failed(Option<ConnectError>),
}

impl Socket {
    async fn open(dialer: &Dialer, node: &Node, encryption: Encryption) -> Self {
        match dialer.transport(node, encryption).await {
            Ok(stream) => Self::Open(stream),
            Err(error) => Self::Failed(Some(error)),
        }
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut Stream>> {
        match self.get_mut() {
            Self::Open(stream) => Ok(Pin::new(stream)),
            Self::Failed(reason) => Err(match reason.take() {
                Some(ConnectError::Io(error)) => error,
                Some(other) => io::Error::other(other),
                None => io::ErrorKind::NotConnected.into(),
            }),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
