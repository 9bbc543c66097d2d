//! The program as its users meet it: the real binary, real PostgreSQL clusters, real clients.
//!
//! Every case starts a pgweir of its own ([`harness::Weir`]) in front of a cluster that the sandbox
//! runs: one cluster is shared by all cases that break nothing, the others start their own. Cases
//! wait for conditions with a deadline, use names of their own on the shared cluster, and run side
//! by side in any order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod abandon;
mod attributes;
mod auth;
mod cancel;
mod catalog;
mod certificates;
mod citus;
mod consistency;
mod console;
mod deploy;
mod drivers;
mod ending;
mod failure;
mod firewall;
mod harness;
mod hostile;
mod limits;
mod listen;
mod observe;
mod operations;
mod pairs;
mod pgbench;
mod pooling;
mod protocol;
mod psql;
mod query_log;
mod reload;
mod reload_load;
mod replay;
mod replication;
mod routes;
mod routing;
mod sameness;
mod secrets;
mod session;
mod split;
mod statements;
mod strangers;
mod superseded;
mod tls;
mod twin;
mod versions;
