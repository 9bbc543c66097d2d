//! What is known about a cluster at one moment: an immutable snapshot that is swapped as a whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lsn::Lsn;
use crate::node::{Node, NodeId};

/// What a node's whole share of the load is counted in.
pub const FULL_SHARE: u32 = 10;

/// A cluster as the monitor last saw it.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    /// Its nodes, in the order of the configuration.
    pub nodes: Vec<NodeView>,
    /// Where among them the one node is that may be written to, while there is one and it answers.
    pub primary: Option<usize>,
    /// Grows when a node's role or health changes, or it is taken out of service or back; not when
    /// freshness does.
    pub generation: u64,
    /// Whether every node has answered, or failed to, at least once. Before that nobody is primary at
    /// first: the one that has answered might be the one that lost its place. Nodes that are added
    /// later do not undo what is known.
    pub known: bool,
    /// When a primary was last asked with success.
    pub primary_seen: Option<Instant>,
    /// The end of the write-ahead log as of then.
    pub primary_lsn: Option<Lsn>,
    /// The part of the reads that the primary keeps, in parts of [`FULL_SHARE`]: it had all of them
    /// while no replica served, and hands them over little by little.
    pub primary_share: u32,
    /// The primary shows whatever it had flushed by then, and so whatever its standbys had shown: they may
    /// show a commit before it does.
    pub announced_as_of: Option<Instant>,
}

/// One node of a [`Topology`].
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The node itself: its address and its live counters.
    pub node: Arc<Node>,
    /// What it says it is, and whether that is believed.
    pub role: Role,
    /// Whether it answers.
    pub health: Health,
    /// The timeline it writes or replays.
    pub timeline: Option<u32>,
    /// Every commit acknowledged before this is visible there. Of the primary, always: `None`.
    pub fresh_as_of: Option<Instant>,
    /// The primary shows whatever this replica had shown by then.
    pub announced_as_of: Option<Instant>,
    /// It is known to have shown what the primary is not known to show yet.
    pub is_ahead: bool,
    /// How far it has replayed, for a replica.
    pub replay_lsn: Option<Lsn>,
    /// Whatever anybody was shown or promised by a primary that stood here is visible there.
    pub covers: Option<Lsn>,
    /// Its part of its share of the load, in parts of [`FULL_SHARE`]: less than the whole while it
    /// recovers.
    pub share: u32,
    /// What its silence means to those who are at work there.
    pub standing: Standing,
    /// How long its last answer took.
    pub latency: Option<Duration>,
    /// How long its answers take of late, the slow ones above all.
    pub slowness: Option<Duration>,
    /// `server_version_num`, such as 150018.
    pub server_version: Option<i32>,
    /// Why it does not serve, in words: the last error, or whose claim is better.
    pub why: Option<Arc<str>>,
    /// Its place in a Citus cluster.
    pub shard: Option<Arc<Shard>>,
}

/// A node's place in a Citus cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its group: 0 is the coordinator's; a worker and its standbys have one of their own.
    pub group: u32,
    /// Why it cannot answer for the cluster, if it cannot.
    pub barred: Option<Box<str>>,
    /// Something that was acknowledged may be missing on it since its `fresh_as_of`. Otherwise a worker
    /// shows whatever was acknowledged by the time it is asked.
    pub is_in_doubt: bool,
}

/// What a node is, found by asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Never answered.
    #[default]
    Unknown,
    /// The one that is written to.
    Primary,
    /// A standby.
    Replica,
    /// A worker of a Citus cluster: the primary of its own group. It is not written to.
    Worker,
    /// It says that it is a primary, but must not be one: another has the better claim, or the
    /// configuration says so. It serves nobody.
    Fenced,
}

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It answered last time.
    Up,
    /// It is back, and gets its load back little by little.
    Recovering,
    /// Something about it failed a moment ago; it is being asked.
    Suspect,
    /// It answers, and connections to it are lost again and again: it is left alone for a while.
    Ejected,
    /// It does not answer, or has not often enough since it last did not.
    Down,
}

/// What a node's silence means to those who are at work there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// Nothing: it answers, or says no, and connections tell the rest.
    #[default]
    Good,
    /// It has not answered in time: who can go on elsewhere without anybody's noticing does.
    Silent,
    /// It has not answered for long: whatever is under way there is given up.
    Lost,
}

impl Topology {
    /// A node's place among them, if it belongs to the cluster (still).
    #[must_use]
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|view| view.node.id() == node)
    }

    /// What is known of a node, if it belongs to the cluster (still).
    #[must_use]
    pub fn view(&self, node: NodeId) -> Option<&NodeView> {
        self.nodes.iter().find(|view| view.node.id() == node)
    }

    /// Whether it is this node that may be written to.
    #[must_use]
    pub fn is_primary(&self, node: NodeId) -> bool {
        self.primary().is_some_and(|view| view.node.id() == node)
    }

    /// The view of the primary, while there is one.
    #[must_use]
    pub fn primary(&self) -> Option<&NodeView> {
        self.nodes.get(self.primary?)
    }

    /// Whether a replica is known to have shown what the primary does not show (yet).
    #[must_use]
    pub fn is_behind_standbys(&self) -> bool {
        self.nodes.iter().any(|view| view.is_ahead && view.health.serves_reads())
    }

    /// The time that a replica's staleness is counted to.
    ///
    /// That is now, as long as there is a primary. Without one nobody can commit anything that a
    /// replica could miss, so staleness stands still and reads go on: to the moment it was last seen.
    #[must_use]
    pub fn staleness_reference(&self, now: Instant) -> Instant {
        match (self.primary, self.primary_seen) {
            (None, Some(seen)) => seen.min(now),
            _ => now,
        }
    }
}

impl NodeView {
    /// How far behind the node is, at most; `None` when that is not known (or it is no replica).
    #[must_use]
    pub fn staleness(&self, topology: &Topology, now: Instant) -> Option<Duration> {
        let fresh_as_of = self.fresh_as_of?;
        Some(topology.staleness_reference(now).saturating_duration_since(fresh_as_of))
    }
}

impl Role {
    /// As SHOW NODES prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Worker => "worker",
            Self::Fenced => "fenced",
        }
    }
}

impl Health {
    /// As SHOW NODES prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Recovering => "recovering",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }

    /// All there are, for whoever counts them.
    pub const ALL: [Self; 6] =
        [Self::Unknown, Self::Up, Self::Recovering, Self::Suspect, Self::Ejected, Self::Down];

    /// Whether a replica of this health serves.
    #[must_use]
    pub const fn serves_reads(self) -> bool {
        matches!(self, Self::Up | Self::Recovering)
    }
}
