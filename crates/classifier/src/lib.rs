//! Labels SQL text: may it run on a hot standby, must the primary answer, or does it write?
//!
//! The model in one paragraph. A text arrives as bytes. Our own lexer ([`lex`]) looks at it first: it
//! refuses what is too long or too deep for the parser and produces a normalised form, under which the
//! label is cached ([`cache`]). On a miss PostgreSQL's own grammar parses the text and a walk that knows
//! every kind of node asks a [`Catalog`] about every function, operator and relation it meets; the
//! strongest answer is the statement's [`Access`], and the first thing that forced it is its [`Reason`].
//! Whatever the walk does not know is a write. What a session has to remember after the statement
//! (settings, prepared statements, locks) comes out as [`Effect`]s, transaction control as [`Control`],
//! from which [`Transaction`] follows what a client's transaction is.
//!
//! The crate does no I/O and reads no clock. The parser's types do not appear in its interface.

mod builtins;
pub mod cache;
pub mod catalog;
mod classify;
pub mod firewall;
pub mod hidden;
mod hint;
mod label;
pub mod lex;
mod reason;
mod statement;
pub mod transaction;
mod walk;

pub use cache::{CacheCounters, LabelCache};
pub use catalog::{Catalog, UnknownFunctions, Verdict};
pub use classify::{Options, classify};
pub use firewall::{Fingerprint, Firewall};
pub use hint::Hint;
pub use label::{
    Access, Characteristics, Control, Definition, Discard, Effect, Isolation, Label, Local, Pin,
    SetValue, Sharing, StatementLabel, Unpin,
};
pub use lex::{fingerprint, shown};
pub use reason::Reason;
pub use transaction::{Defaults, Mode, Status, Transaction};
