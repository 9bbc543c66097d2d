//! Why a client gets no server connection.

use std::sync::Arc;
use std::time::Duration;

use crate::dial::ConnectError;

/// Why a client gets no server connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    /// It waited its time; the pool was busy.
    #[error("no server connection within {:.1?}", .0.waited)]
    CheckoutTimeout(Box<Congestion>),
    /// There is no primary.
    #[error("no primary within {waited:.1?}")]
    NoPrimary {
        /// How long the client waited for one.
        waited: Duration,
        /// Of every node, why it is not the primary: "host:port: reason".
        nodes: Vec<String>,
    },
    /// The primary does not show what the client has read on a replica.
    #[error(
        "the primary does not show within {waited:.1?} what this session has read on a replica"
    )]
    Unannounced {
        /// How long the client waited for that.
        waited: Duration,
        /// Of every node, why it may not serve: "host:port: reason".
        nodes: Vec<String>,
    },
    /// No replica may serve, and nothing else may.
    #[error("no eligible replica within {waited:.1?}")]
    NoReplica {
        /// How long the client waited for one.
        waited: Duration,
        /// Of every node, why it may not serve: "host:port: reason".
        nodes: Vec<String>,
    },
    /// The server does not want this user or this database.
    #[error("{node}: {error}")]
    Connect {
        /// The server, as "host:port".
        node: String,
        /// What it said.
        error: Arc<ConnectError>,
    },
    /// There are pools for as many databases and users as there may be.
    #[error("pools of {limit} databases and users are in use, the most there may be")]
    TooManyPools {
        /// The most there may be.
        limit: usize,
    },
    /// The cluster is being shut down.
    #[error("shutting down")]
    ShuttingDown,
}

/// The state of the pool that a client waited for in vain.
#[derive(Debug, Clone)]
pub struct Congestion {
    /// How long the client waited.
    pub waited: Duration,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The server whose pool it was, as "host:port".
    pub node: Option<String>,
    /// Connections that the pool may have.
    pub size: u32,
    /// Connections that are leased.
    pub in_use: u32,
    /// Connections that are being opened, or wait to be.
    pub connecting: u32,
    /// Clients that wait.
    pub waiting: u32,
    /// Connections that the server may have over all pools, and has.
    pub node_limit: u32,
    /// Connections to the server that are open, over all pools.
    pub node_open: u32,
    /// Why the last attempt to open a connection failed, if it did.
    pub last_error: Option<Arc<ConnectError>>,
}
