//! The data path: listening, letting clients in, serving each to its end.

mod client;
mod console;
mod listen;
mod login;
mod passthrough;
mod proof;
mod query_log;
mod refusal;
mod replication;
mod welcome;
mod wire;

pub(crate) use client::{CLIENT_TASK_SIZE, Ending};
pub(crate) use listen::{AcceptHttp, Rebuilding};
pub use listen::{ListenError, Listeners, Place};
pub(crate) use passthrough::MAX_QUESTIONS;
pub(crate) use refusal::{cancelled, shutting_down};
