//! Metrics by Prometheus' conventions: what is counted as it happens.
//!
//! Counters are fields, passed to whoever counts. What others keep count of already (pools, freshness,
//! the cache) is read when somebody asks for the metrics ([`super::observe`]). Nothing here is global.

use std::time::{Duration, Instant};

use pgweir_classifier::Reason;
use pgweir_protocol::verdict::{AccessMode, Move, Target, Verdict};

use super::count::{Counter, Histogram};
use super::errors::Errors;
use super::exposition::{Kind, Page};

/// Every metric counted on the request path.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) started: Instant,
    /// Clients accepted.
    pub clients_accepted: Counter,
    /// Clients not let in.
    pub clients_refused: Counter,
    /// Cancel requests received.
    pub cancel_requests: Counter,
    /// Statements that a replica refused and the primary ran.
    pub self_heals: Counter,
    /// Reads run again because their server was lost.
    pub replays_lost: Counter,
    /// Reads run again because a standby had to go on replaying.
    pub replays_conflict: Counter,
    /// Statements that the firewall did not let pass.
    pub firewall_refusals: Counter,
    /// Transactions that read from replicas and may leave them.
    pub(crate) transactions: Transactions,
    /// Errors that clients were told.
    pub errors: Errors,
    /// How long those waited for a server connection that had to.
    pub waits: Histogram,
    /// How long answers took, on replicas and on the primary.
    answers: [Histogram; 2],
    reasons: Vec<[Counter; 2]>,
}

/// Transactions that read from replicas and may go on on the primary, READ WRITE ones and READ ONLY ones.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    read_write: OfAccess,
    read_only: OfAccess,
}

/// Those of one access mode.
#[derive(Debug, Default)]
struct OfAccess {
    split: Counter,
    statement: Counter,
    lost: Counter,
    conflict: Counter,
    refused: Counter,
}

impl Transactions {
    fn of(&self, access: AccessMode) -> &OfAccess {
        match access {
            AccessMode::ReadWrite => &self.read_write,
            AccessMode::ReadOnly => &self.read_only,
        }
    }

    /// One has come to a replica.
    pub(crate) fn split(&self, access: AccessMode) {
        self.of(access).split.increment(1);
    }

    /// One has left its replica.
    pub(crate) fn moved(&self, access: AccessMode, why: Move) {
        let counters = self.of(access);
        let counter = match why {
            Move::Statement => &counters.statement,
            Move::Lost => &counters.lost,
            Move::Conflict => &counters.conflict,
            Move::Refused => &counters.refused,
        };
        counter.increment(1);
    }

    fn put(&self, page: &mut Page) {
        let both = [("read_write", &self.read_write), ("read_only", &self.read_only)];
        let help = "Transactions that came to a replica and can leave it: READ ONLY ones, and READ WRITE ones that are split.";
        let mut split = page.metric(Kind::Counter, "pgweir_transactions_split_total", help);
        for (access, counters) in both {
            split.put(&[("access", access)], counters.split.get());
        }
        let help = "Transactions that left their replica to go on elsewhere, by why.";
        let mut moved = page.metric(Kind::Counter, "pgweir_transactions_moved_total", help);
        for (access, counters) in both {
            let causes = [
                ("statement", &counters.statement),
                ("lost", &counters.lost),
                ("conflict", &counters.conflict),
                ("refused", &counters.refused),
            ];
            for (cause, counter) in causes {
                moved.put(&[("access", access), ("cause", cause)], counter.get());
            }
        }
    }
}

/// All at zero.
impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            clients_accepted: Counter::default(),
            clients_refused: Counter::default(),
            cancel_requests: Counter::default(),
            self_heals: Counter::default(),
            replays_lost: Counter::default(),
            replays_conflict: Counter::default(),
            firewall_refusals: Counter::default(),
            transactions: Transactions::default(),
            errors: Errors::default(),
            waits: Histogram::default(),
            answers: Default::default(),
            reasons: Reason::WORDS.iter().map(|_| Default::default()).collect(),
        }
    }
}

impl Metrics {
    /// A statement is on its way to a server.
    pub(crate) fn sent(&self, verdict: &Verdict, on: Target) {
        let counters = self.reasons.get(verdict.reason_index);
        if let Some(counter) = counters.and_then(|both| both.get(place(on))) {
            counter.increment(1);
        }
    }

    /// An answer is complete.
    pub(crate) fn answered(&self, on: Target, took: Duration) {
        if let Some(histogram) = self.answers.get(place(on)) {
            histogram.record(took);
        }
    }

    /// Writes all of it.
    pub(crate) fn put(&self, page: &mut Page) {
        let plain = [
            ("pgweir_clients_accepted_total", "Connections accepted.", &self.clients_accepted),
            ("pgweir_clients_refused_total", "Clients not let in.", &self.clients_refused),
            ("pgweir_cancel_requests_total", "Cancel requests received.", &self.cancel_requests),
            (
                "pgweir_self_heals_total",
                "Statements that a replica refused and the primary ran.",
                &self.self_heals,
            ),
            (
                "pgweir_firewall_refusals_total",
                "Statements that the firewall did not let pass.",
                &self.firewall_refusals,
            ),
        ];
        for (name, help, counter) in plain {
            page.counter(name, help, counter.get());
        }
        let help = "Reads run again elsewhere, by what has happened to them.";
        let mut replays = page.metric(Kind::Counter, "pgweir_replays_total", help);
        replays.put(&[("cause", "lost")], self.replays_lost.get());
        replays.put(&[("cause", "conflict")], self.replays_conflict.get());
        self.transactions.put(page);
        self.errors.put(page);
        self.put_reasons(page);
        self.put_times(page);
    }

    fn put_reasons(&self, page: &mut Page) {
        let help = "Statements sent to servers, by the reason of their route.";
        let mut decisions = page.metric(Kind::Counter, "pgweir_route_decisions_total", help);
        for (reason, counters) in Reason::WORDS.iter().zip(&self.reasons) {
            for (target, counter) in TARGETS.iter().zip(counters) {
                decisions.put(&[("reason", reason), ("target", target)], counter.get());
            }
        }
    }

    fn put_times(&self, page: &mut Page) {
        let help = "From a query's going out to its answer's end, by the role of its server.";
        let mut answers = page.metric(Kind::Histogram, "pgweir_query_duration_seconds", help);
        for (target, histogram) in TARGETS.iter().zip(&self.answers) {
            histogram.put(&mut answers, &[("role", target)]);
        }
        let help = "How long clients waited for a server connection, of those that had to.";
        let mut waits = page.metric(Kind::Histogram, "pgweir_checkout_wait_seconds", help);
        self.waits.put(&mut waits, &[]);
    }
}

/// In the order of [`place`].
const TARGETS: [&str; 2] = ["replica", "primary"];

fn place(target: Target) -> usize {
    usize::from(target == Target::Primary)
}
