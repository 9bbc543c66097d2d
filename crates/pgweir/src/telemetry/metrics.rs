//! Metrics by Prometheus' conventions.
//!
//! Handles are made once and passed to whoever counts: counting is an atomic addition, never a
//! look-up by name. What others keep count of already (pools, freshness, the cache) is read when
//! the metrics are asked for, off the request path. The recorder is this gateway's own; the
//! process-wide one of the `metrics` crate is not used.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use pgweir_pool::{Cluster, Node};
use pgweir_protocol::verdict::{Target, Verdict};

const METADATA: Metadata<'static> = Metadata::new("pgweir", Level::INFO, Some("pgweir"));

/// Every metric counted on the request path, and the recorder behind them.
pub struct Metrics {
    recorder: PrometheusRecorder,
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
    reasons: Vec<[Counter; 2]>,
    clusters: HashMap<String, Arc<[Served]>>,
}

/// Statements sent to one node, counted here besides: a counter of the recorder cannot be read.
#[derive(Debug)]
pub(crate) struct Served {
    counters: [Counter; 2],
    counts: [AtomicU64; 2],
}

impl Served {
    /// A statement is on its way to the node.
    pub(crate) fn count(&self, is_write: bool) {
        let class = usize::from(is_write);
        if let (Some(counter), Some(count)) = (self.counters.get(class), self.counts.get(class)) {
            counter.increment(1);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads and writes sent to the node so far.
    pub(crate) fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics for these clusters, all at zero.
    #[must_use]
    pub fn new<'a>(clusters: impl Iterator<Item = &'a Arc<Cluster>>) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let counter = |name: &'static str, help: &'static str, labels: Vec<Label>| {
            recorder.describe_counter(KeyName::from(name), Some(Unit::Count), help.into());
            recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
        };
        let by_class = |name, help, key: &'static str, value: String| {
            ["read", "write"].map(|class| {
                let labels = vec![Label::new(key, value.clone()), Label::new("class", class)];
                counter(name, help, labels)
            })
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
        let served = |node: &Arc<Node>| {
            let help = "Statements sent to servers, by node and class.";
            let counters = by_class("pgweir_queries_total", help, "node", node.name().to_owned());
            Served { counters, counts: Default::default() }
        };
        let clusters = clusters
            .map(|cluster| {
                (cluster.name().to_owned(), cluster.nodes().iter().map(served).collect())
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
            reasons,
            clusters,
            handle,
            recorder,
        }
    }

    /// The counters of a cluster's nodes, in the order of the nodes.
    pub(crate) fn served(&self, cluster: &str) -> Arc<[Served]> {
        self.clusters.get(cluster).cloned().unwrap_or_default()
    }

    /// A statement is on its way to a server.
    pub(crate) fn sent(&self, verdict: &Verdict, on: Target) {
        let place = usize::from(on == Target::Primary);
        let counters = self.reasons.get(verdict.reason_index);
        if let Some(counter) = counters.and_then(|both| both.get(place)) {
            counter.increment(1);
        }
    }

    /// A gauge to be set while the metrics are rendered.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.describe_gauge(KeyName::from(name), None, help.into());
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A counter that somebody else keeps, to be set while the metrics are rendered.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.describe_counter(KeyName::from(name), Some(Unit::Count), help.into());
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}
