//! The servers: what each is, how fresh, and whether it serves.

use std::time::{Duration, Instant};

use pgweir_pool::{Access, Candidate, FULL_SHARE, NodeView, Role, Topology};

use super::super::table::{Column, Row, Value, boolean, int4, int8, text};
use super::{Show, View};
use crate::account::micros;
use crate::snapshot::Policy;

const COLUMNS: &[Column] = &[
    text("cluster"),
    text("node"),
    text("role"),
    text("health"),
    boolean("reads"),
    boolean("writes"),
    text("why_not"),
    text("fresh_as_of"),
    int8("staleness_us"),
    text("replay_lsn"),
    int4("timeline"),
    boolean("draining"),
    int4("weight"),
    int8("in_flight"),
    int8("connections"),
    int8("max_connections"),
    int8("latency_us"),
    int4("server_version"),
    int4("share_percent"),
    text("last_error"),
    int4("group"),
];

pub(super) const NODES: Show = Show {
    name: "nodes",
    about: "servers: role, health, freshness, and why one does not serve reads",
    columns: COLUMNS,
    rows: |view| view.now.policies().flat_map(|policy| rows(view, &policy)).collect(),
};

fn rows(view: &View<'_>, policy: &Policy) -> Vec<Row> {
    let topology = policy.cluster.snapshot();
    let now = Instant::now();
    let reads = policy.candidates(&policy.want(Access::Replica), now);
    let writes = policy.candidates(&policy.want(Access::Primary), now);
    let both = reads.iter().zip(&writes);
    let nodes = topology.nodes.iter().zip(both);
    let row = |(node, (reads, writes))| row(view, policy, &topology, node, [reads, writes]);
    nodes.map(row).collect()
}

fn row(
    view: &View<'_>,
    policy: &Policy,
    topology: &Topology,
    node: &NodeView,
    [reads, writes]: [&Candidate; 2],
) -> Row {
    let why_not = reads.eligible.as_ref().err().map(ToString::to_string);
    let fresh_as_of: Option<Instant> = node.fresh_as_of.filter(|_| node.role == Role::Replica);
    let staleness = fresh_as_of.and_then(|_| node.staleness(topology, view.clock.now));
    let number = |duration: Option<Duration>| Value::from(duration.map(micros));
    vec![
        policy.cluster.name().to_owned().into(),
        node.node.name().to_owned().into(),
        node.role.as_str().into(),
        node.health.as_str().into(),
        reads.eligible.is_ok().into(),
        writes.eligible.is_ok().into(),
        why_not.into(),
        fresh_as_of.map(|then| view.clock.millisecond(then)).into(),
        number(staleness),
        node.replay_lsn.map(|lsn| lsn.to_string()).into(),
        node.timeline.into(),
        node.node.is_draining().into(),
        node.node.weight().into(),
        node.node.in_flight().into(),
        node.node.open_connections().into(),
        node.node.connection_limit().into(),
        number(node.latency),
        node.server_version.into(),
        (node.share * 100 / FULL_SHARE).into(),
        node.why.as_deref().map(str::to_owned).into(),
        group(node).into(),
    ]
}

/// Its group in a Citus cluster.
fn group(node: &NodeView) -> Option<u32> {
    node.shard.as_ref().map(|shard| shard.group)
}
