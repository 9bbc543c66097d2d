//! Nodes, their roles and freshness, and the server connections that clients share.
//!
//! Two planes that meet in one place. The *control plane* ([`Cluster`] and its monitor) asks every
//! server how it is, over few connections of its own, and puts up a [`Topology`]: who is primary, who
//! answers, as of when each replica is fresh. The *data plane* ([`PoolSet`], [`Lease`]) holds the
//! connections that clients' statements travel on. A checkout reads the topology, [`select`]s a node,
//! and takes an idle connection from that node's pool; whoever cannot be served at once gets a
//! [`Waiting`], which ends by itself.
//!
//! What decides is pure and takes facts and the time as arguments: freshness, the tracker of roles and
//! health, the pace of probes, the selection. What acts is thin.

mod admission;
mod announced;
mod board;
mod citus;
mod clock;
mod cluster;
mod condition;
mod control;
mod dial;
mod error;
mod fleet;
mod freshness;
mod lease;
mod line;
mod lsn;
mod moment;
mod monitor;
mod node;
mod node_pool;
mod pace;
mod past;
mod pool_set;
mod probe;
mod reach;
mod roster;
mod select;
#[cfg(test)]
mod simulation;
mod spec;
mod stream;
mod survey;
mod tls;
mod topology;
mod tracker;
mod waiting;

pub use admission::{MAX_CONNECTING_PER_NODE, Reservation, SET_APART_SHARE, STARVATION_PATIENCE};
pub use cluster::{Cluster, ClusterError, Inquiry, MAX_POOL_SETS};
pub use condition::SLOW_START;
pub use control::{ControlError, Rows};
pub use dial::{CancelHandle, ConnectError, Fault, ServerConnection};
pub use error::{Congestion, PoolError};
pub use lease::{Lease, WIND_DOWN_PATIENCE};
pub use lsn::{Lsn, NotAnLsn};
pub use node::{Node, NodeId};
pub use node_pool::{IdleServer, NodePoolStats};
pub use past::Past;
pub use pool_set::{Checkout, PoolSet};
pub use roster::Change;
pub use select::{
    Access, Candidate, Dice, Fit, Ineligible, MAX_NODES, NoNode, Position, Seen, Want, explain,
    select,
};
pub use spec::{
    Address, Balance, ClusterKind, ClusterSpec, MonitorSpec, NodeSpec, PoolSpec, ReadPolicy, Reads,
    RoleHint, SslMode, TlsSpec,
};
pub use stream::Stream;
pub use tls::{TlsError, read_ca_file, tls_server_end_point};
pub use topology::{FULL_SHARE, Health, NodeView, Role, Shard, Standing, Topology};
pub use waiting::Waiting;
