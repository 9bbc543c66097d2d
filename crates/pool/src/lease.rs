//! A server connection in a client's hands.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_protocol::server::ServerFacts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::admission::Apart;
use crate::clock;
use crate::dial::CancelHandle;
use crate::node::{Node, NodeId};
use crate::node_pool::{NodePool, Pooled, Residence};
use crate::stream::Stream;

/// How long a statement whose client is gone may keep its place in the pool. What runs for longer goes
/// on, as it would for a client of its own, and is no longer counted.
pub const WIND_DOWN_PATIENCE: Duration = Duration::from_secs(600);
/// Bytes of an answer that nobody reads any more which are read and dropped, at most: a server with more
/// to say than that is left to find out, by its next write, that there is nobody.
const DROPPED_AT_MOST: usize = 16 << 20;
/// Bytes that are dropped at once.
const DROPPED_AT_ONCE: usize = 8 << 10;

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

    /// The server's number in the cluster.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node().id()
    }

    /// [`Node::incarnation`] when the lease began: for [`crate::Seen`].
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.slot.incarnation
    }

    /// Whether other clients wait for a connection of its pool.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.slot.pool.is_crowded()
    }

    /// What it takes to cancel what runs on it.
    #[must_use]
    pub fn cancel_handle(&self) -> &CancelHandle {
        &self.cancel
    }

    /// Takes what is known about the connection, for as long as somebody works on it.
    pub fn take_facts(&mut self) -> Option<Box<ServerFacts>> {
        self.facts.take()
    }

    /// Takes the connection out of its pool, which may then open another in its place, for a client
    /// that keeps it for long and seldom uses it. True if it is; false when as many of the node's
    /// connections are set apart as may be ([`crate::SET_APART_SHARE`]): it keeps its place then, and
    /// this can be asked for again.
    pub fn set_apart(&mut self) -> bool {
        if self.slot.apart.is_none() {
            self.slot.apart = self.slot.pool.set_apart();
        }
        self.slot.apart.is_some()
    }

    /// Gives the connection back for others to use: idle, with nothing owed and nothing pinned.
    /// `facts` is what is known about it now. One that was set apart joins its pool again if there is
    /// room, and is closed otherwise.
    pub fn give_back(self, facts: Box<ServerFacts>) {
        self.give_back_at(facts, clock::now());
    }

    /// The same at a time that is known already: as of then the connection is idle.
    pub fn give_back_at(self, facts: Box<ServerFacts>, now: Instant) {
        let Self { stream, cancel, mut slot, .. } = self;
        if slot.apart.take().is_some() {
            slot.pool.rejoin();
        }
        if let Some(residence) = slot.residence.take() {
            slot.pool.take_back(Pooled::new(stream, facts, cancel, residence, now));
        }
    }

    /// Closes the connection of a client that is gone, and keeps its place until the server has closed
    /// it too: a server notices no end before it has run the statement that it is at, and a pool that
    /// forgot it meanwhile would give the server more to do than its size allows. What the server still
    /// says is read and dropped, so that it gets there. Ends after [`WIND_DOWN_PATIENCE`], and when the
    /// node is given up: nothing more is heard of a dead machine, or across a dead network.
    pub async fn wind_down(mut self) {
        let ended = async {
            self.stream.shutdown().await?;
            let (mut buffer, mut dropped) = (vec![0; DROPPED_AT_ONCE], 0);
            while dropped < DROPPED_AT_MOST {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    count => dropped += count,
                }
            }
            Ok::<_, io::Error>(())
        };
        let node = Arc::clone(self.slot.pool.node());
        // However it ends: behind this there is no connection any more.
        tokio::select! {
            _ = timeout(WIND_DOWN_PATIENCE, ended) => {}
            () = node.given_up() => {}
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
    /// The connection is no longer counted by its pool.
    apart: Option<Apart>,
    incarnation: u32,
}

impl Slot {
    pub(crate) fn new(pool: Arc<NodePool>, residence: Residence) -> Self {
        pool.node().lease_begun();
        let incarnation = pool.node().incarnation();
        Self { pool, residence: Some(residence), apart: None, incarnation }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.residence.take().is_none() {
            return;
        }
        match self.apart.take() {
            Some(_) => self.pool.lose_apart(),
            None => self.pool.lose(),
        }
    }
}
