//! The tables that SHOW prints: each has its columns and one function that draws its rows from
//! snapshots of the running parts.
//!
//! Where PgBouncer has a table of that name, its columns come first, with its names and in its order
//! (those of 1.18, which later versions only add to), so that its tools find what they look for;
//! pgweir's own come after them.

mod about;
mod catalog;
mod clients;
mod nodes;
mod pools;
mod routes;
mod stats;

pub(crate) use about::resident;
pub(crate) use clients::{ACTIVITIES, activity};

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

use super::clock::Clock;
use super::table::{Column, Row};

/// A table that SHOW prints.
pub(crate) struct Show {
    /// Its name, in lower case.
    pub(super) name: &'static str,
    /// What it shows, for SHOW HELP.
    pub(super) about: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) rows: fn(&View<'_>) -> Vec<Row>,
}

/// Every table, in the order of SHOW HELP.
pub(super) static TABLES: [Show; 18] = [
    clients::CLIENTS,
    clients::PINS,
    pools::POOLS,
    pools::SERVERS,
    nodes::NODES,
    routes::ROUTES,
    catalog::CATALOG,
    pools::DATABASES,
    pools::USERS,
    stats::STATS,
    stats::TOTALS,
    stats::AVERAGES,
    pools::LISTS,
    clients::SOCKETS,
    about::CONFIG,
    about::MEM,
    about::STATE,
    about::VERSION,
];

/// Microseconds in a second.
const MICROS: u64 = 1_000_000;

/// Two lists of columns, one after the other.
const fn joined<const N: usize>(first: &[Column], second: &[Column]) -> [Column; N] {
    let mut all = [super::table::text(""); N];
    let (start, rest) = all.split_at_mut(first.len());
    start.copy_from_slice(first);
    rest.copy_from_slice(second);
    all
}

/// What a table is drawn from.
pub(super) struct View<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) now: Arc<Snapshot>,
    pub(super) clock: Clock,
}

impl std::fmt::Debug for Show {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Two are the same if they have the same name.
impl PartialEq for Show {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_every_column_has_one_name() {
        let mut names: Vec<&str> = TABLES.iter().map(|show| show.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for show in &TABLES {
            let mut columns: Vec<&str> = show.columns.iter().map(|column| column.name).collect();
            columns.sort_unstable();
            assert!(columns.windows(2).all(|pair| pair[0] != pair[1]), "{columns:?}");
        }
    }
}
