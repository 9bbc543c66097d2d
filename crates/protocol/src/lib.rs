//! PostgreSQL's wire protocol as pure machines: bytes and facts in, actions out.
//!
//! Nothing here does I/O or reads a clock. A stream of bytes is cut into exact frames ([`frame`]);
//! a client's life after its login is one machine ([`session`]) that takes what both sides send
//! and says what goes out and what must happen; logins on either side are machines of their own
//! ([`auth`], [`startup`]). What pgweir itself says is written by [`message`] and [`report`].

pub mod auth;
pub mod course;
pub mod cursor;
pub mod der;
pub mod error;
pub mod frame;
pub mod message;
pub mod outgoing;
pub mod parameters;
mod pipeline;
pub mod prepared;
pub mod report;
pub mod server;
pub mod session;
pub mod settings;
pub mod sqlstate;
pub mod startup;
pub mod verdict;
