//! The pool against real PostgreSQL servers.

#[cfg(test)]
mod failure;
#[cfg(test)]
mod freshness;
#[cfg(test)]
mod login;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod roster;
#[cfg(test)]
mod support;
