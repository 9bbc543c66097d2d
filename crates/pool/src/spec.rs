//! What an operator may say about a cluster and its pools: plain values without defaults of their
//! own. The configuration decides the defaults and hands these over; nothing here reads a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A cluster, whose roles are to be found out by asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name in the configuration, for logs and reports.
    pub name: String,
    /// How its servers belong together.
    pub kind: ClusterKind,
    /// Its servers, in the order of the configuration.
    pub nodes: Vec<NodeSpec>,
    /// How connections to its servers are encrypted.
    pub tls: TlsSpec,
    /// Who asks the servers how they are, and how often.
    pub monitor: MonitorSpec,
    /// Server connections per node over all pools; 0 is what the node allows, less its reserve.
    pub max_connections: u32,
}

/// How the servers of a cluster belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClusterKind {
    /// A primary and its streaming standbys.
    #[default]
    Streaming,
    /// A Citus coordinator and its workers, each with standbys of its own or without. The workers are
    /// found by asking in the monitor's database.
    Citus {
        /// By the address that Citus gives a node, the one under which it is reached.
        rewrite: BTreeMap<Address, Address>,
    },
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// A name, an address, or (beginning with `/`) the directory of a Unix socket, as libpq's `host`.
    pub host: String,
    /// The port, which names the socket's file too.
    pub port: u16,
    /// Its share of the reads relative to the other nodes; 0 is read as 1.
    pub weight: u32,
    /// What it may become.
    pub role: RoleHint,
}

/// What a node may become. The role itself is always found by asking the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoleHint {
    /// Whatever it says it is.
    #[default]
    Auto,
    /// Serves as a primary or not at all.
    Primary,
    /// Serves as a replica or not at all.
    Replica,
}

/// How connections to a cluster's servers are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSpec {
    /// libpq's `sslmode`.
    pub mode: SslMode,
    /// Certificates (PEM) that a server's certificate must lead to; libpq's `sslrootcert`.
    pub ca_file: Option<PathBuf>,
}

/// libpq's `sslmode` (manual: 34.19.1 "Client Verification of Server Certificates").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt where the server refuses anything else.
    Allow,
    /// Encrypt where the server is able to.
    #[default]
    Prefer,
    /// Always encrypt; with a `ca_file` as [`SslMode::VerifyCa`].
    Require,
    /// Encrypt, and the certificate must lead to the `ca_file`.
    VerifyCa,
    /// Likewise, and the certificate must carry the node's host name.
    VerifyFull,
}

/// How the servers of a cluster are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorSpec {
    /// The role that asks; `pg_monitor` is enough, except for [`crate::Cluster::role_secret`].
    pub user: String,
    /// The database it asks from.
    pub database: String,
    /// Its password, where the servers want one.
    pub password: Option<String>,
    /// Time between two rounds of questions while nothing happens.
    pub interval: Duration,
    /// How long a server may take to answer (to connect, likewise).
    pub timeout: Duration,
}

/// The bounds of the pools of one database and user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Server connections per node, at most; 0 is read as 1.
    pub size: u32,
    /// Idle connections that are kept ready per node.
    pub min_idle: u32,
    /// How long a client waits for a server connection.
    pub checkout_timeout: Duration,
    /// How long opening a server connection may take, login included.
    pub connect_timeout: Duration,
    /// How long a connection may lie idle; zero is for ever.
    pub idle_timeout: Duration,
    /// How old a connection may grow; zero is for ever.
    pub max_lifetime: Duration,
    /// Statements kept prepared per server connection.
    pub prepared_statements: usize,
}

/// Which nodes may serve reads, how they share them, and how long a client waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPolicy {
    /// Which nodes.
    pub reads: Reads,
    /// How they share.
    pub balance: Balance,
    /// A replica that is further behind than this serves nobody.
    pub max_staleness: Duration,
    /// How long a client waits for a node that may serve it, such as a new primary.
    pub hold: Duration,
}

/// Which nodes may serve reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// Replicas; the primary when none is eligible.
    #[default]
    Replicas,
    /// Replicas and nothing else.
    ReplicasOnly,
    /// Replicas and the primary alike.
    Any,
    /// The primary alone.
    Primary,
}

/// How eligible nodes share the reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// The less busy (by weight) of two drawn at random.
    #[default]
    LeastBusy,
    /// In turn, by weight.
    RoundRobin,
    /// By lot, by weight.
    Random,
    /// The quicker (as the monitor's probes see it, times its load) of two drawn at random.
    Latency,
}
