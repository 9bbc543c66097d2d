//! What a cluster is made of at one time: its servers, how they are reached and how they are watched.
//!
//! A roster is immutable. A change makes another one, in which everything that stays the same is the
//! same object as before: the node with its counters and connections, the monitor's connections to it.
//! Whoever works by a roster (the monitor, the pools) finds out by that what it need not touch.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::cluster::ClusterError;
use crate::control::Control;
use crate::dial::Dialer;
use crate::node::{Node, NodeId};
use crate::select::MAX_NODES;
use crate::spec::{ClusterSpec, NodeSpec};

/// What a cluster is made of at one time.
pub(crate) struct Roster {
    /// Grows from one roster to the next.
    pub(crate) number: u64,
    pub(crate) spec: ClusterSpec,
    /// Servers that were found by asking, besides those that the specification names.
    pub(crate) found: Vec<NodeSpec>,
    pub(crate) dialer: Dialer,
    pub(crate) members: Vec<Member>,
    /// The number of the next node that is new.
    next_id: u32,
    /// Rung when a node is suspected or taken out of service.
    pub(crate) alarm: Arc<Notify>,
}

/// One server of a cluster.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) control: Arc<Control>,
}

/// A specification that can be taken over: what of it could be wrong has been tried.
pub struct Change {
    pub(crate) spec: ClusterSpec,
    pub(crate) dialer: Dialer,
}

impl Change {
    /// Makes a specification ready. Nothing changes yet, and nobody is asked anything.
    ///
    /// # Errors
    /// [`ClusterError`], when it cannot be used.
    pub fn new(spec: ClusterSpec) -> Result<Self, ClusterError> {
        if spec.nodes.is_empty() {
            return Err(ClusterError::NoNodes);
        }
        if spec.nodes.len() > MAX_NODES {
            return Err(ClusterError::TooManyNodes { found: spec.nodes.len() });
        }
        let dialer = Dialer::new(&spec.tls)?;
        Ok(Self { spec, dialer })
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Change").field("cluster", &self.spec.name).finish_non_exhaustive()
    }
}

impl Roster {
    /// The first roster of a cluster.
    pub(crate) fn first(change: Change) -> Self {
        let Change { spec, dialer } = change;
        let alarm = Arc::new(Notify::new());
        let (members, found) = (Vec::new(), Vec::new());
        Self { number: 0, spec, found, dialer, members, next_id: 0, alarm }.filled(&[])
    }

    /// Whether a change would change nothing.
    pub(crate) fn is_as(&self, change: &Change) -> bool {
        self.spec == change.spec && self.dialer.is_like(&change.dialer)
    }

    /// The roster behind a change of the specification.
    pub(crate) fn changed(&self, change: Change) -> Self {
        let Change { spec, dialer } = change;
        let is_watched_alike = self.spec.monitor == spec.monitor && self.dialer.is_like(&dialer);
        // What stays the same stays the same object.
        let dialer = if self.dialer.is_like(&dialer) { self.dialer.clone() } else { dialer };
        let next = Self { spec, dialer, ..self.successor() };
        if is_watched_alike {
            return next.filled(&self.members);
        }
        let member = |member: &Member| next.member(Arc::clone(&member.node));
        let members: Vec<_> = self.members.iter().map(member).collect();
        next.filled(&members)
    }

    /// The roster behind a change of what was found by asking.
    pub(crate) fn with_found(&self, found: Vec<NodeSpec>) -> Self {
        Self { found, ..self.successor() }.filled(&self.members)
    }

    /// One without members.
    fn successor(&self) -> Self {
        Self {
            number: self.number + 1,
            spec: self.spec.clone(),
            found: self.found.clone(),
            dialer: self.dialer.clone(),
            members: Vec::new(),
            next_id: self.next_id,
            alarm: Arc::clone(&self.alarm),
        }
    }

    /// Takes the members whose nodes are meant still, and makes the others.
    fn filled(mut self, before: &[Member]) -> Self {
        let mut wanted: Vec<NodeSpec> = Vec::new();
        for node in self.spec.nodes.iter().chain(&self.found) {
            let is_known = |other: &NodeSpec| (&other.host, other.port) == (&node.host, node.port);
            if !wanted.iter().any(is_known) && wanted.len() < MAX_NODES {
                wanted.push(node.clone());
            }
        }
        for node in &wanted {
            let member = match before.iter().find(|member| member.node.is(node)) {
                Some(member) => {
                    member.node.heed(node);
                    member.clone()
                }
                None => {
                    let id = NodeId(self.next_id);
                    self.next_id += 1;
                    self.member(Arc::new(Node::new(id, node, Arc::clone(&self.alarm))))
                }
            };
            self.members.push(member);
        }
        self
    }

    fn member(&self, node: Arc<Node>) -> Member {
        let control = Control::new(Arc::clone(&node), self.dialer.clone(), &self.spec.monitor);
        Member { node, control: Arc::new(control) }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.members.iter().map(|member| &member.node)
    }

    /// Whether a node belongs to it.
    pub(crate) fn has(&self, node: &Arc<Node>) -> bool {
        self.nodes().any(|member| Arc::ptr_eq(member, node))
    }
}
