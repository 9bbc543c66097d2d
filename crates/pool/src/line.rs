//! Those who wait for a primary, in the order in which they came.
//!
//! When there is one, the first who notices lets all of them have their attempts, one after the other:
//! who has waited longest has the first connection, and the first place in the pool's queue. Whoever
//! comes meanwhile goes behind them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::pool_set::Attempt;
use crate::select::Want;
use crate::spec::ReadPolicy;

/// The line of one database and user.
#[derive(Default)]
pub(crate) struct Line {
    held: Mutex<Tickets>,
    /// How many are in it, readable without a lock.
    length: AtomicUsize,
}

/// Those who wait, by their tickets: smaller ones came earlier.
type Tickets = BTreeMap<u64, Held>;

/// One who waits.
struct Held {
    policy: ReadPolicy,
    want: Want,
    turn: oneshot::Sender<Attempt>,
}

/// A place in a line; left on drop.
pub(crate) struct InLine {
    line: Arc<Line>,
    ticket: u64,
    turn: oneshot::Receiver<Attempt>,
}

impl Line {
    fn held(&self) -> MutexGuard<'_, Tickets> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place that belongs to a ticket.
    pub(crate) fn join(self: &Arc<Self>, ticket: u64, policy: ReadPolicy, want: Want) -> InLine {
        let (sender, turn) = oneshot::channel();
        let mut held = self.held();
        held.insert(ticket, Held { policy, want, turn: sender });
        self.length.store(held.len(), Ordering::Release);
        InLine { line: Arc::clone(self), ticket, turn }
    }

    /// Whether anybody waits. Costs a load.
    pub(crate) fn is_empty(&self) -> bool {
        self.length.load(Ordering::Acquire) == 0
    }

    /// Whether somebody waits who came before.
    pub(crate) fn is_ahead_of(&self, ticket: u64) -> bool {
        !self.is_empty() && self.held().first_key_value().is_some_and(|(&first, _)| first < ticket)
    }

    /// Lets those who wait have their attempts in their order, until one comes to nothing.
    pub(crate) fn release(&self, attempt: impl Fn(&ReadPolicy, &Want, u64) -> Attempt) {
        // Held all the while: two who release at once must not mix up the order.
        let mut tickets = self.held();
        while let Some(first) = tickets.first_entry() {
            let (ticket, held) = (*first.key(), first.get());
            if !held.turn.is_closed() {
                let outcome = attempt(&held.policy, &held.want, ticket);
                if matches!(outcome, Attempt::Nobody(_)) {
                    break;
                }
                if let Err(unclaimed) = first.remove().turn.send(outcome) {
                    unclaimed.hand_back();
                }
            } else {
                first.remove();
            }
        }
        self.length.store(tickets.len(), Ordering::Release);
    }
}

impl InLine {
    /// Waits for the attempt that was made in this one's turn. Can be dropped and called again.
    pub(crate) async fn turn(&mut self) -> Option<Attempt> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.turn.close();
        let mut held = self.line.held();
        held.remove(&self.ticket);
        self.line.length.store(held.len(), Ordering::Release);
        drop(held);
        if let Ok(unclaimed) = self.turn.try_recv() {
            unclaimed.hand_back();
        }
    }
}
