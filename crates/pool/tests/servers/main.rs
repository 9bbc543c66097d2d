//! The pool against real PostgreSQL servers.

mod failure;
mod freshness;
mod login;
mod pools;
mod support;
