//! A server connection in a client's hands.

use std::sync::Arc;

use pgweir_protocol::server::ServerFacts;

use crate::dial::CancelHandle;
use crate::node::{Node, NodeId};
use crate::node_pool::{NodePool, Pooled, Residence};
use crate::stream::Stream;

/// A server connection in a client's hands. Dropping it closes the connection: only what is given
/// back explicitly, by whoever knows that nothing is owed on it, is used again.
pub struct Lease {
    /// Its socket.
    pub stream: Stream,
    /// What is known about it; with whoever works on the connection, meanwhile.
    pub(crate) facts: Option<Box<ServerFacts>>,
    pub(crate) cancel: CancelHandle,
    /// Behind the socket, so that it is closed by the time its place is free.
    pub(crate) slot: Slot,
}

impl Lease {
    /// The server it leads to.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        self.slot.pool.node()
    }

    /// The server's place in the cluster.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node().id()
    }

    /// [`Node::incarnation`] when the lease began: for [`crate::Seen`].
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.slot.incarnation
    }

    /// What it takes to cancel what runs on it.
    #[must_use]
    pub const fn cancel_handle(&self) -> &CancelHandle {
        &self.cancel
    }

    /// Takes what is known about the connection, for as long as somebody works on it.
    pub fn take_facts(&mut self) -> Option<Box<ServerFacts>> {
        self.facts.take()
    }

    /// Gives the connection back for others to use: idle, with nothing owed and nothing pinned.
    /// `facts` is what is known about it now.
    pub fn give_back(self, facts: Box<ServerFacts>) {
        let Self { stream, cancel, mut slot, .. } = self;
        if let Some(residence) = slot.residence.take() {
            slot.pool.take_back(Pooled::new(stream, facts, cancel, residence));
        }
    }

    /// Gives the connection back as it came.
    pub(crate) fn hand_back(mut self) {
        if let Some(facts) = self.take_facts() {
            self.give_back(facts);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Lease")
            .field("node", &self.node().name())
            .field("pid", &self.cancel.pid())
            .finish_non_exhaustive()
    }
}

/// A leased connection's place in its pool; freed when dropped.
pub(crate) struct Slot {
    pool: Arc<NodePool>,
    residence: Option<Residence>,
    incarnation: u32,
}

impl Slot {
    pub(crate) fn new(pool: Arc<NodePool>, residence: Residence) -> Self {
        pool.node().lease_begun();
        Self { incarnation: pool.node().incarnation(), pool, residence: Some(residence) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.residence.take().is_some() {
            self.pool.lose();
        }
    }
}
