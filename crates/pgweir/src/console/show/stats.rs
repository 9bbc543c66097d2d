//! What clients have done, by database.

use std::collections::BTreeMap;

use super::super::table::{Column, Row, Value, numeric, text};
use super::{Show, View};
use crate::account::{Totals, micros};

pub(super) const STATS: Show = Show {
    name: "stats",
    about: "totals and averages by database",
    columns: &[
        text("database"),
        numeric("total_xact_count"),
        numeric("total_query_count"),
        numeric("total_received"),
        numeric("total_sent"),
        numeric("total_xact_time"),
        numeric("total_query_time"),
        numeric("total_wait_time"),
        numeric("avg_xact_count"),
        numeric("avg_query_count"),
        numeric("avg_recv"),
        numeric("avg_sent"),
        numeric("avg_xact_time"),
        numeric("avg_query_time"),
        numeric("avg_wait_time"),
        // What PgBouncer called total_query_count before 1.8, for tools from then.
        numeric("total_requests"),
    ],
    rows: |view| {
        let row = |past: Past| {
            let requests = past.totals.queries.into();
            let both = in_order(past.totals).into_iter().chain(in_order(past.averages()));
            std::iter::once(past.database.into())
                .chain(both.map(Value::from))
                .chain([requests])
                .collect()
        };
        pasts(view).map(row).collect()
    },
};

const COLUMNS: &[Column] = &[
    text("database"),
    numeric("xact_count"),
    numeric("query_count"),
    numeric("bytes_received"),
    numeric("bytes_sent"),
    numeric("xact_time"),
    numeric("query_time"),
    numeric("wait_time"),
];

pub(super) const TOTALS: Show = Show {
    name: "stats_totals",
    about: "what clients have done since the start, by database",
    columns: COLUMNS,
    rows: |view| pasts(view).map(|past| row(past.database, past.totals)).collect(),
};

pub(super) const AVERAGES: Show = Show {
    name: "stats_averages",
    about: "the same per second, and times per transaction and query, of the last minute or two",
    columns: COLUMNS,
    rows: |view| {
        pasts(view)
            .map(|past| (past.averages(), past))
            .map(|(averages, past)| row(past.database, averages))
            .collect()
    },
};

fn row(database: String, numbers: Totals) -> Row {
    let numbers = in_order(numbers).into_iter().map(Value::from);
    std::iter::once(database.into()).chain(numbers).collect()
}

/// In the order of PgBouncer's columns.
fn in_order(totals: Totals) -> [u64; 7] {
    [
        totals.transactions,
        totals.queries,
        totals.received,
        totals.sent,
        totals.transaction_time,
        totals.query_time,
        totals.wait_time,
    ]
}

/// What the clients of a database have done, in all and lately.
struct Past {
    database: String,
    totals: Totals,
    lately: Totals,
    /// How long "lately" is, in microseconds.
    period: u64,
}

impl Past {
    /// Counts, bytes and time waited per second; time per transaction and per query.
    fn averages(&self) -> Totals {
        /// Microseconds in a second.
        const SECOND: u128 = 1_000_000;
        let share = |sum: u64, scale: u128, parts: u64| {
            let share = u128::from(sum).saturating_mul(scale).checked_div(u128::from(parts));
            share.and_then(|share| u64::try_from(share).ok()).unwrap_or_default()
        };
        let per_second = |sum| share(sum, SECOND, self.period);
        let Totals { queries, transactions, .. } = self.lately;
        Totals {
            queries: per_second(queries),
            transactions: per_second(transactions),
            received: per_second(self.lately.received),
            sent: per_second(self.lately.sent),
            query_time: share(self.lately.query_time, 1, queries),
            transaction_time: share(self.lately.transaction_time, 1, transactions),
            wait_time: per_second(self.lately.wait_time),
        }
    }
}

fn pasts(view: &View<'_>) -> impl Iterator<Item = Past> {
    let now: BTreeMap<String, Totals> = view.gateway.clients.totals();
    let (since, earlier) = view.gateway.history.base();
    let period = micros(view.clock.since(since));
    now.into_iter().map(move |(database, totals)| {
        let before = earlier.get(&database).copied().unwrap_or_default();
        Past { lately: totals.since(before), database, totals, period }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_per_second_and_times_per_piece_of_work() {
        let lately = Totals {
            queries: 200,
            transactions: 100,
            received: 5_000,
            sent: 10_000,
            query_time: 40_000,
            transaction_time: 70_000,
            wait_time: 30,
        };
        let past = |lately, period| Past {
            database: "app".into(),
            totals: Totals::default(),
            lately,
            period,
        };
        let want = Totals {
            queries: 20,
            transactions: 10,
            received: 500,
            sent: 1_000,
            query_time: 200,
            transaction_time: 700,
            wait_time: 3,
        };
        assert_eq!(past(lately, 10_000_000).averages(), want);
        assert_eq!(past(Totals::default(), 0).averages(), Totals::default());
    }
}
