//! The session machine in conversation: scripted ones, and random ones against a model of a server.
//!
//! A `.wire` file is one conversation between clients, the machine and servers, in the words of the
//! manual's message formats ([`notation`], [`script`]); its name is what it shows. Each is played
//! as it stands and with its bytes cut in every other way ([`conversations`]). What no list of
//! cases can show, that something holds for all of them, is a law ([`laws`]).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod conversations;
mod laws;
mod limits;
mod model;
mod notation;
mod rig;
mod router;
mod script;
