//! The sections of the file, one module each, in the order of the reference configuration.

mod auth;
mod cluster;
mod consistency;
mod database;
mod failover;
mod firewall;
mod http;
mod limits;
mod listen;
mod log;
mod pool;
mod routing;
mod runtime;

pub use auth::{Auth, AuthMethod};
pub use cluster::{Cluster, ClusterKind, Monitor, Node, NodeRole, ServerTls, ServerTlsMode};
pub use consistency::{Consistency, ConsistencyLevel};
pub use database::Database;
pub use failover::Failover;
pub use firewall::{BlockedStatement, Firewall};
pub use http::Http;
pub use limits::Limits;
pub use listen::{Listen, ListenTls, ListenTlsMode};
pub use log::{Log, LogLevel};
pub use pool::{Pool, PoolMode};
pub use routing::{
    Affinity, Balance, FunctionName, Reads, Routing, TransactionRouting, UnknownFunctions,
};
pub use runtime::Runtime;
