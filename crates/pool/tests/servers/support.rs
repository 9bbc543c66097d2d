//! What the tests against real servers have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_pool::{
    Balance, Checkout, Cluster, ClusterSpec, Lease, MonitorSpec, NodeSpec, PoolError, PoolSet,
    PoolSpec, ReadPolicy, Reads, RoleHint, SslMode, TlsSpec, Topology, Want,
};
use pgweir_protocol::message;
use pgweir_protocol::report::ServerReport;
use pgweir_sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const POLICY: ReadPolicy = ReadPolicy {
    reads: Reads::Replicas,
    balance: Balance::LeastBusy,
    max_staleness: Duration::from_secs(10),
    hold: Duration::from_secs(20),
};

pub(crate) const REPLICAS_ONLY: ReadPolicy = ReadPolicy { reads: Reads::ReplicasOnly, ..POLICY };

/// What a cluster's configuration says by default, for a sandbox.
pub(crate) fn cluster_spec(sandbox: &Sandbox) -> ClusterSpec {
    let node = |node: &pgweir_sandbox::Node| NodeSpec {
        host: node.host().to_owned(),
        port: node.port(),
        weight: 1,
        role: RoleHint::Auto,
    };
    ClusterSpec {
        name: "main".to_owned(),
        kind: pgweir_pool::ClusterKind::Streaming,
        nodes: sandbox.nodes().iter().map(node).collect(),
        tls: TlsSpec { mode: SslMode::Prefer, ca_file: None },
        monitor: MonitorSpec {
            user: sandbox.superuser().to_owned(),
            database: "postgres".to_owned(),
            password: None,
            interval: Duration::from_millis(100),
            timeout: Duration::from_secs(1),
        },
        max_connections: 0,
    }
}

pub(crate) fn pool_spec(size: u32) -> PoolSpec {
    PoolSpec {
        size,
        min_idle: 0,
        checkout_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(600),
        max_lifetime: Duration::from_secs(3600),
        prepared_statements: 100,
    }
}

/// A cluster whose nodes all serve.
pub(crate) async fn start(spec: ClusterSpec) -> Arc<Cluster> {
    let cluster = Cluster::start(spec).unwrap();
    eventually(&cluster, "everybody serves", |topology| {
        topology.primary.is_some()
            && topology
                .nodes
                .iter()
                .enumerate()
                .all(|(index, view)| Some(index) == topology.primary || view.fresh_as_of.is_some())
    })
    .await;
    cluster
}

/// Waits until the topology is as it should be.
pub(crate) async fn eventually(
    cluster: &Cluster,
    what: &str,
    is_so: impl Fn(&Topology) -> bool,
) -> Arc<Topology> {
    let until = Instant::now() + DEADLINE;
    loop {
        let topology = cluster.snapshot();
        if is_so(&topology) {
            return topology;
        }
        assert!(Instant::now() < until, "{what}: {topology:#?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether every replica is fresh as of a time.
pub(crate) fn all_fresh(topology: &Topology, at: Instant) -> bool {
    topology.nodes.iter().enumerate().all(|(index, view)| {
        Some(index) == topology.primary || view.fresh_as_of.is_some_and(|fresh| fresh >= at)
    })
}

pub(crate) async fn try_checkout(
    set: &Arc<PoolSet>,
    policy: &ReadPolicy,
    want: &Want,
) -> Result<Lease, PoolError> {
    match set.checkout(policy, want, Instant::now()) {
        Checkout::Ready(lease) => Ok(lease),
        Checkout::Wait(waiting) => waiting.await,
        Checkout::Refused(error) => Err(error),
    }
}

pub(crate) async fn checkout(set: &Arc<PoolSet>, want: &Want) -> Lease {
    try_checkout(set, &POLICY, want).await.unwrap()
}

pub(crate) fn give_back(mut lease: Lease) {
    let facts = lease.take_facts().unwrap();
    lease.give_back(facts);
}

/// Runs a statement; gives the first column of its rows, or the error's SQLSTATE and message. `None`
/// when the connection is lost.
pub(crate) async fn query(lease: &mut Lease, sql: &str) -> Option<Result<Vec<String>, String>> {
    let mut out = Vec::new();
    message::query(sql.as_bytes(), &mut out);
    lease.stream.write_all(&out).await.ok()?;
    let (mut rows, mut error) = (Vec::new(), None);
    loop {
        let tag = lease.stream.read_u8().await.ok()?;
        let length = lease.stream.read_u32().await.ok()?;
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        lease.stream.read_exact(&mut body).await.ok()?;
        match tag {
            b'D' => {
                let length = i32::from_be_bytes(body[2..6].try_into().unwrap());
                let cell = usize::try_from(length).map_or(&[][..], |length| &body[6..6 + length]);
                rows.push(String::from_utf8(cell.to_vec()).unwrap());
            }
            b'E' => {
                let report = ServerReport::parse(&body).unwrap();
                error = Some(format!("{}: {}", report.code, report.message));
            }
            b'Z' => return Some(error.map_or(Ok(rows), Err)),
            _ => {}
        }
    }
}

/// Runs a statement that works.
pub(crate) async fn run(lease: &mut Lease, sql: &str) -> Vec<String> {
    query(lease, sql).await.expect("a living connection").unwrap()
}

/// Borrows a connection for one statement that works.
pub(crate) async fn ask(set: &Arc<PoolSet>, want: &Want, sql: &str) -> Vec<String> {
    let mut lease = checkout(set, want).await;
    let rows = run(&mut lease, sql).await;
    give_back(lease);
    rows
}
