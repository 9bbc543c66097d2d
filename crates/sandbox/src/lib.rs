//! Real PostgreSQL clusters for a demonstration or a test: started in a moment, broken on request,
//! gone without a trace.
//!
//! A [`Sandbox`] is a primary and its streaming standbys, made of the PostgreSQL installed on the
//! machine, on loopback ports that nobody else gets, in a directory of its own. Its [`Node`]s can be
//! killed, frozen, promoted, held back and started again. Dropping it ends the servers and removes the
//! directory; so does the death of the process, by whatever signal. What stays is for the next one: a
//! template of a fresh cluster and the directory of port locks, both under the temporary files.
//!
//! How it is done, in the order of the modules: the installation is found (`install`); as root,
//! everything that touches a server runs as an unprivileged user (`account`); directories (`place`)
//! and ports (`ports`) are taken; a watchdog (`watchdog`) stands by; fresh data directories are
//! copies of one initdb (`template`); a server is a child process with two configuration files
//! (`node`, `settings`), whose process tree is known from `/proc` (`process`). All administration goes
//! through psql over a Unix socket. Everything that takes time waits for a condition, with a deadline
//! (`wait`, `run`). Linux only, because of `/proc`.
//!
//! ```no_run
//! use pgweir_sandbox::Sandbox;
//! use std::time::Duration;
//!
//! let sandbox = Sandbox::builder().replicas(2).database("app").start()?;
//! sandbox.primary().psql_in("app", "CREATE TABLE t AS SELECT 1 AS a")?;
//! sandbox.wait_all_caught_up(Duration::from_secs(10))?;
//! assert_eq!(sandbox.replica(0).psql_in("app", "SELECT a FROM t")?, "1");
//!
//! sandbox.primary().kill()?;
//! sandbox.node(1).promote()?;
//! sandbox.follow(sandbox.node(1))?;
//! sandbox.rejoin(sandbox.node(0))?;
//! # Ok::<(), pgweir_sandbox::SandboxError>(())
//! ```

mod account;
mod citus;
mod environment;
mod error;
mod files;
mod install;
mod node;
mod place;
mod ports;
mod process;
mod replication;
mod run;
mod sandbox;
mod settings;
mod template;
mod wait;
mod watchdog;

pub use citus::{CitusBuilder, CitusCluster};
pub use environment::Login;
pub use error::{LogTail, SandboxError};
pub use node::{Node, StopMode};
pub use ports::{HOST, PortLease};
pub use sandbox::{Sandbox, SandboxBuilder};
pub use settings::hba_for_everyone;
