//! One server of a cluster: its address, and the few counters that live and change at once, outside
//! the snapshots that the monitor publishes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use pgweir_protocol::startup::{NEWEST_MINOR, OLDEST_MINOR};
use tokio::sync::Notify;

use crate::admission::{Admission, Reservation};
use crate::reach::Lookup;
use crate::spec::{NodeSpec, RoleHint};
use crate::topology::Standing;

/// The first version of PostgreSQL that speaks protocol 3.2.
const SPEAKS_NEWEST_MINOR: i32 = 180_000;

/// A node's number. As long as its cluster is there, no other node gets it: nodes come and go, and
/// their places in [`crate::Topology::nodes`] change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One server of a cluster.
pub struct Node {
    id: NodeId,
    host: String,
    port: u16,
    name: Arc<str>,
    weight: AtomicU32,
    /// A [`RoleHint`].
    hint: AtomicU8,
    /// Reads and writes sent to it.
    sent: [AtomicU64; 2],
    in_flight: AtomicU32,
    incarnation: AtomicU32,
    suspicions: AtomicU32,
    suspicions_settled: AtomicU32,
    /// Somebody waits for what a standby says of the transactions that it shows.
    is_inquired: AtomicBool,
    draining: AtomicBool,
    fenced: AtomicBool,
    /// A [`Standing`].
    standing: AtomicU8,
    lost: Notify,
    /// How often its name has come to lead elsewhere.
    moves: AtomicU32,
    /// `server_version_num`, once the server has said.
    version: AtomicI32,
    alarm: Arc<Notify>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) lookup: Lookup,
}

impl Node {
    pub(crate) fn new(id: NodeId, spec: &NodeSpec, alarm: Arc<Notify>) -> Self {
        Self {
            id,
            host: spec.host.clone(),
            port: spec.port,
            name: format!("{}:{}", spec.host, spec.port).into(),
            weight: AtomicU32::new(spec.weight.max(1)),
            hint: AtomicU8::new(spec.role as u8),
            sent: Default::default(),
            in_flight: AtomicU32::new(0),
            incarnation: AtomicU32::new(0),
            suspicions: AtomicU32::new(0),
            suspicions_settled: AtomicU32::new(0),
            is_inquired: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
            standing: AtomicU8::new(Standing::Good as u8),
            lost: Notify::new(),
            moves: AtomicU32::new(0),
            version: AtomicI32::new(0),
            alarm,
            admission: Arc::default(),
            lookup: Lookup::default(),
        }
    }

    /// Its number in the cluster.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// A name, an address, or (beginning with `/`) the directory of a Unix socket.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, for logs, reports and SHOW NODES.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Somebody has read on it, and wants to know whether the primary shows as much.
    pub(crate) fn inquire(&self) {
        self.is_inquired.store(true, Ordering::Release);
    }

    /// Whether somebody wants to know that, who has not been heeded.
    pub(crate) fn take_inquiry(&self) -> bool {
        self.is_inquired.swap(false, Ordering::AcqRel)
    }

    /// Its share of the reads relative to the other nodes, at least 1.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// What it may become.
    #[must_use]
    pub fn hint(&self) -> RoleHint {
        let hint = self.hint.load(Ordering::Relaxed);
        [RoleHint::Primary, RoleHint::Replica]
            .into_iter()
            .find(|known| *known as u8 == hint)
            .unwrap_or_default()
    }

    /// Whether a specification means this node.
    pub(crate) fn is(&self, spec: &NodeSpec) -> bool {
        (self.host.as_str(), self.port) == (spec.host.as_str(), spec.port)
    }

    /// Takes over what a specification says of it that may change.
    pub(crate) fn heed(&self, spec: &NodeSpec) {
        self.weight.store(spec.weight.max(1), Ordering::Relaxed);
        self.hint.store(spec.role as u8, Ordering::Relaxed);
    }

    /// Counts a statement that is on its way to the node.
    pub fn count(&self, is_write: bool) {
        if let Some(count) = self.sent.get(usize::from(is_write)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads and writes sent to it so far.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        self.sent.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Leases of its connections that are out now, over all pools.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections to it that are open or being opened, over all pools.
    #[must_use]
    pub fn open_connections(&self) -> u32 {
        self.admission.open()
    }

    /// How many of those there may be; 0 until the server has said what it allows.
    #[must_use]
    pub fn connection_limit(&self) -> u32 {
        self.admission.limit()
    }

    /// Connections that belong to one client each and to no pool.
    #[must_use]
    pub fn connections_apart(&self) -> u32 {
        self.admission.apart()
    }

    /// The right to open a connection to it outside every pool, for one client alone. None when as
    /// many are set apart as may be ([`crate::SET_APART_SHARE`]), or its connections stay used up
    /// for so long.
    pub async fn reserve(&self, patience: Duration) -> Option<Reservation> {
        self.admission.reserve(patience).await
    }

    /// Grows whenever the server may have restarted. While it stays the same, what this node shows
    /// never runs back.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// Reports that a connection to the node was refused, reset or lost. It is asked at once how it
    /// is, and until it answers, a replica serves nobody. An exhausted pool, an error that the
    /// server reports, and a timeout are no such thing.
    pub fn suspect(&self) {
        self.incarnation.fetch_add(1, Ordering::AcqRel);
        self.suspicions.fetch_add(1, Ordering::AcqRel);
        self.alarm.notify_one();
    }

    /// Whether somebody reported a lost connection since the node last answered.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.suspicions.load(Ordering::Acquire) != self.suspicions_settled.load(Ordering::Acquire)
    }

    /// Takes the node out of service for new leases; running ones finish.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.alarm.notify_one();
    }

    /// Takes the node back into service.
    pub fn undrain(&self) {
        self.draining.store(false, Ordering::Release);
        self.alarm.notify_one();
    }

    /// Whether it is out of service.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether it is a primary that must not be written to, for another has taken its place
    /// ([`crate::Role::Fenced`]): what is written there is lost.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    pub(crate) fn set_fenced(&self, is_fenced: bool) {
        self.fenced.store(is_fenced, Ordering::Release);
    }

    /// What its silence means to those who are at work there.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            0 => Standing::Good,
            1 => Standing::Silent,
            _ => Standing::Lost,
        }
    }

    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
        if standing == Standing::Lost {
            self.lost.notify_waiters();
        }
    }

    /// Waits until the node is given up ([`Standing::Lost`]).
    pub async fn given_up(&self) {
        loop {
            let lost = self.lost.notified();
            tokio::pin!(lost);
            lost.as_mut().enable();
            if self.standing() == Standing::Lost {
                return;
            }
            lost.await;
        }
    }

    /// Asks whether its name leads to another server by now; if so, connections are made anew.
    pub(crate) async fn look_up(&self) {
        if self.lookup.has_moved(&self.host).await {
            tracing::info!(node = self.name(), "its name leads elsewhere: connecting anew");
            self.moved();
        }
    }

    pub(crate) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::AcqRel);
        self.reincarnate();
        self.alarm.notify_one();
    }

    /// How often its name has come to lead elsewhere.
    pub(crate) fn moves(&self) -> u32 {
        self.moves.load(Ordering::Acquire)
    }

    /// Notes the server's version, as `server_version_num` has it.
    pub(crate) fn note_version(&self, version: i32) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// The minor version of protocol 3 to ask the server for: the newest, if it is known to speak it.
    ///
    /// Every server answers a version that is too new for it with an older one, but not everything
    /// that stands in front of servers does; libpq has reasons to ask for 3.0 unless told otherwise.
    /// What 3.2 brings is long cancel keys.
    pub(crate) fn protocol_minor(&self) -> u16 {
        let version = self.version.load(Ordering::Relaxed);
        if version >= SPEAKS_NEWEST_MINOR { NEWEST_MINOR } else { OLDEST_MINOR }
    }

    /// How many suspicions there have been: asked before a probe, and given to
    /// [`Node::settle_suspicions`] when it passed, so that a later suspicion stands.
    pub(crate) fn suspicions(&self) -> u32 {
        self.suspicions.load(Ordering::Acquire)
    }

    pub(crate) fn settle_suspicions(&self, until: u32) {
        self.suspicions_settled.store(until, Ordering::Release);
    }

    /// Notes that the server may have restarted.
    pub(crate) fn reincarnate(&self) {
        self.incarnation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn lease_begun(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lease_ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Node").field("id", &self.id).field("name", &self.name).finish()
    }
}
