//! pgweir: a PostgreSQL pooler that sends writes to the primary and reads to the replicas.
//!
//! The way of a query: [`serve`] moves bytes between the sockets and the session machine of
//! `pgweir-protocol`; that asks [`route`] about SQL, which asks `pgweir-classifier`; connections to
//! servers come from `pgweir-pool`. [`gateway`] holds what all clients share, [`run`] starts and
//! ends it all.

mod account;
mod catalogs;
pub mod cli;
pub mod config;
mod console;
pub mod demo;
pub mod gateway;
mod heals;
pub mod http;
pub mod import;
pub mod offline;
mod random;
pub mod reload;
pub mod route;
mod routes;
pub mod run;
mod secrets;
pub mod serve;
pub mod snapshot;
pub mod systemd;
pub mod telemetry;
pub mod tls;
mod watch;
