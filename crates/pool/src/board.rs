//! Where the monitor puts up what it knows, and where those who read it may ask it to hurry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, watch};

use crate::moment::Moment;
use crate::node::Node;
use crate::topology::Topology;

/// The notice board between the monitor and everybody else.
pub(crate) struct Board {
    topology: ArcSwap<Topology>,
    changes: watch::Sender<u64>,
    published: watch::Sender<()>,
    nudge: Notify,
    is_nudged: AtomicBool,
    inquiry: Notify,
    /// When anybody's write was last acknowledged.
    pub(crate) last_write: Moment,
}

impl Board {
    pub(crate) fn new(topology: Topology) -> Self {
        Self {
            changes: watch::Sender::new(topology.generation),
            published: watch::Sender::new(()),
            topology: ArcSwap::from_pointee(topology),
            nudge: Notify::new(),
            is_nudged: AtomicBool::new(false),
            inquiry: Notify::new(),
            last_write: Moment::new(Instant::now()),
        }
    }

    pub(crate) fn topology(&self) -> Guard<Arc<Topology>> {
        self.topology.load()
    }

    pub(crate) fn snapshot(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Puts up a new snapshot.
    pub(crate) fn publish(&self, topology: Topology) {
        let generation = topology.generation;
        self.topology.store(Arc::new(topology));
        self.changes.send_if_modified(|seen| std::mem::replace(seen, generation) != generation);
        self.published.send_replace(());
    }

    /// Tells of changes of roles and health, by generation.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells of every new snapshot.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    /// Asks the monitor for a round as soon as may be. Costs next to nothing while one is due already.
    pub(crate) fn nudge(&self) {
        if !self.is_nudged.swap(true, Ordering::AcqRel) {
            self.nudge.notify_one();
        }
    }

    /// Asks the monitor to find out whether the primary shows all that this standby has shown.
    pub(crate) fn inquire(&self, node: &Node) {
        // Before anybody hears of it.
        node.inquire();
        self.inquiry.notify_one();
    }

    /// Waits for such an inquiry.
    pub(crate) async fn inquired(&self) {
        self.inquiry.notified().await;
    }

    /// Waits for a nudge.
    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Whether somebody waits for a round that has not begun.
    pub(crate) fn is_nudged(&self) -> bool {
        self.is_nudged.load(Ordering::Acquire)
    }

    /// A round begins: whether it answers nudges; those that come from now on want another.
    pub(crate) fn take_nudge(&self) -> bool {
        self.is_nudged.swap(false, Ordering::AcqRel)
    }
}
