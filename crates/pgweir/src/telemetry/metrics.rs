//! Metrics by Prometheus' conventions.
//!
//! Handles are made once and passed to whoever counts: counting is an atomic addition, never a
//! look-up by name. What others keep count of already (pools, freshness, the cache) is read when
//! the metrics are asked for, off the request path. The recorder is this gateway's own; the
//! process-wide one of the `metrics` crate is not used.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use pgweir_pool::Node;
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
    reasons: HashMap<&'static str, [Counter; 2]>,
    nodes: HashMap<String, Served>,
}

/// Statements sent to one node, counted here besides: a counter of the recorder cannot be read.
#[derive(Debug)]
struct Served {
    counters: [Counter; 2],
    counts: [AtomicU64; 2],
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics for these nodes, all at zero.
    #[must_use]
    pub fn new<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
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
                (*reason, ["replica", "primary"].map(target))
            })
            .collect();
        let nodes = nodes
            .map(|node| {
                let help = "Statements sent to servers, by node and class.";
                let name = node.name().to_owned();
                let counters = by_class("pgweir_queries_total", help, "node", name.clone());
                (
                    name,
                    Served {
                        counters,
                        counts: Default::default(),
                    },
                )
            })
            .collect();
        let plain = |name, help| counter(name, help, Vec::new());
        Self {
            clients_accepted: plain("pgweir_clients_accepted_total", "Connections accepted."),
            clients_refused: plain("pgweir_clients_refused_total", "Clients not let in."),
            cancel_requests: plain("pgweir_cancel_requests_total", "Cancel requests received."),
            reasons,
            nodes,
            handle,
            recorder,
        }
    }

    /// A statement is on its way to a server.
    pub(crate) fn sent(&self, verdict: &Verdict, on: Target, node: Option<&Node>) {
        let place = usize::from(on == Target::Primary);
        if let Some(counter) = self
            .reasons
            .get(verdict.reason)
            .and_then(|both| both.get(place))
        {
            counter.increment(1);
        }
        let class = usize::from(verdict.is_write);
        let Some(served) = node.and_then(|node| self.nodes.get(node.name())) else {
            return;
        };
        if let (Some(counter), Some(count)) = (served.counters.get(class), served.counts.get(class))
        {
            counter.increment(1);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads and writes sent to a node so far.
    #[must_use]
    pub fn served(&self, node: &Node) -> [u64; 2] {
        self.nodes.get(node.name()).map_or([0; 2], |served| {
            served
                .counts
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed))
        })
    }

    /// A gauge to be set while the metrics are rendered.
    #[must_use]
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder
            .describe_gauge(KeyName::from(name), None, help.into());
        self.recorder
            .register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A counter that somebody else keeps, to be set while the metrics are rendered.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder
            .describe_counter(KeyName::from(name), Some(Unit::Count), help.into());
        self.recorder
            .register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}
