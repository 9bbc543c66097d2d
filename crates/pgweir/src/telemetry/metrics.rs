//! Metrics by Prometheus' conventions.
//!
//! Handles are made once and passed to whoever counts: counting is an atomic addition, never a
//! look-up by name. What others keep count of already (pools, freshness, the cache) is read when
//! the metrics are asked for, off the request path. The recorder is this gateway's own; the
//! process-wide one of the `metrics` crate is not used.

use std::fmt;

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use pgweir_protocol::verdict::{Move, Target, Verdict};

const METADATA: Metadata<'static> = Metadata::new("pgweir", Level::INFO, Some("pgweir"));

/// Every metric counted on the request path.
pub struct Metrics {
    handle: PrometheusHandle,
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
    /// Transactions that read from replicas until they write.
    pub(crate) transactions: Transactions,
    reasons: Vec<[Counter; 2]>,
}

/// Transactions that read from replicas until they write.
pub(crate) struct Transactions {
    split: Counter,
    statement: Counter,
    lost: Counter,
    conflict: Counter,
    refused: Counter,
}

impl Transactions {
    fn new(counter: impl Fn(&'static str, &'static str, Vec<Label>) -> Counter) -> Self {
        let moved = |cause: &'static str| {
            let help = "Transactions that left a replica to go on elsewhere, by why.";
            counter("pgweir_transactions_moved_total", help, vec![Label::new("cause", cause)])
        };
        let help = "Transactions that came to a replica, to read there until they write.";
        Self {
            split: counter("pgweir_transactions_split_total", help, Vec::new()),
            statement: moved("statement"),
            lost: moved("lost"),
            conflict: moved("conflict"),
            refused: moved("refused"),
        }
    }

    /// One has come to a replica.
    pub(crate) fn split(&self) {
        self.split.increment(1);
    }

    /// One has left its replica.
    pub(crate) fn moved(&self, why: Move) {
        let counter = match why {
            Move::Statement => &self.statement,
            Move::Lost => &self.lost,
            Move::Conflict => &self.conflict,
            Move::Refused => &self.refused,
        };
        counter.increment(1);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    /// All at zero.
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let counter = |name: &'static str, help: &'static str, labels: Vec<Label>| {
            recorder.describe_counter(KeyName::from(name), Some(Unit::Count), help.into());
            recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
        };
        let reasons = pgweir_classifier::Reason::WORDS
            .iter()
            .map(|reason| {
                let name = "pgweir_route_decisions_total";
                let help = "Statements sent to servers, by the reason of their route.";
                let target = |target| {
                    let labels = vec![Label::new("reason", *reason), Label::new("target", target)];
                    counter(name, help, labels)
                };
                ["replica", "primary"].map(target)
            })
            .collect();
        let plain = |name, help| counter(name, help, Vec::new());
        let replays = |cause: &'static str| {
            let help = "Reads run again elsewhere, by what has happened to them.";
            counter("pgweir_replays_total", help, vec![Label::new("cause", cause)])
        };
        Self {
            clients_accepted: plain("pgweir_clients_accepted_total", "Connections accepted."),
            clients_refused: plain("pgweir_clients_refused_total", "Clients not let in."),
            cancel_requests: plain("pgweir_cancel_requests_total", "Cancel requests received."),
            self_heals: plain(
                "pgweir_self_heals_total",
                "Statements that a replica refused and the primary ran.",
            ),
            replays_lost: replays("lost"),
            replays_conflict: replays("conflict"),
            firewall_refusals: plain(
                "pgweir_firewall_refusals_total",
                "Statements that the firewall did not let pass.",
            ),
            transactions: Transactions::new(counter),
            reasons,
            handle,
        }
    }
}

impl Metrics {
    /// A statement is on its way to a server.
    pub(crate) fn sent(&self, verdict: &Verdict, on: Target) {
        let place = usize::from(on == Target::Primary);
        let counters = self.reasons.get(verdict.reason_index);
        if let Some(counter) = counters.and_then(|both| both.get(place)) {
            counter.increment(1);
        }
    }

    /// Everything, in Prometheus' text format: what is counted here, and what somebody has just
    /// looked up.
    #[must_use]
    pub fn render(&self, observed: &Observed) -> String {
        self.handle.run_upkeep();
        let mut text = self.handle.render();
        text.push_str(&observed.recorder.handle().render());
        text
    }
}

/// What others keep, as it is at one moment. Nothing is left over from an earlier one: a node that is
/// gone has no state.
pub struct Observed {
    recorder: PrometheusRecorder,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

impl Default for Observed {
    /// Nothing yet.
    fn default() -> Self {
        Self { recorder: PrometheusBuilder::new().build_recorder() }
    }
}

impl Observed {
    /// A gauge, to be set.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.describe_gauge(KeyName::from(name), None, help.into());
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A counter, to be brought up to what it has reached.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.describe_counter(KeyName::from(name), Some(Unit::Count), help.into());
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }
}
