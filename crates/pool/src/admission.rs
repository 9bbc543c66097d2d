//! How many connections to one server may be open, and how many being opened, over all its pools.
//!
//! Asked only when a connection is opened or closed; leasing one never comes here, except to look at
//! one counter. Requests are served in the order they came. A [`Permit`] is held for as long as the
//! connection is open, and what is dropped is free again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock;

/// Connections to one server that are being opened at the same time, at most: a server forks and
/// authenticates for each, and a herd of them slows the queries that are running.
pub const MAX_CONNECTING_PER_NODE: u32 = 8;
/// How long a pool that has used up a server's connections may go on passing its own from client to
/// client while another pool waits for one. Less would reconnect too often, more is unfair.
pub const STARVATION_PATIENCE: Duration = Duration::from_millis(50);
/// Of a server's connections, those that are set apart (they belong to one client and to no pool, as
/// for replication) are at most one in so many: the others stay with the pools.
pub const SET_APART_SHARE: u32 = 2;

/// The gate in front of one server.
#[derive(Default)]
pub(crate) struct Admission {
    gate: Mutex<Gate>,
    /// How many requests wait because the server's connections are used up, readable without a lock.
    starving: AtomicU32,
    tenants: Mutex<Vec<Weak<dyn Tenant>>>,
}

/// A pool that has connections to the server.
pub(crate) trait Tenant: Send + Sync {
    /// Since when its longest idle connection has been idle; `None` when it has none to spare.
    fn idle_since(&self) -> Option<Instant>;
    /// Closes its longest idle connection.
    fn surrender_idle(&self);
}

#[derive(Default)]
struct Gate {
    limit: u32,
    open: u32,
    connecting: u32,
    apart: u32,
    queue: VecDeque<oneshot::Sender<Permit>>,
    starving_since: Option<Instant>,
}

/// The right to have one connection to a server.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    connecting: bool,
}

/// The right of one connection to be set apart; besides its [`Permit`].
pub(crate) struct Apart {
    admission: Arc<Admission>,
}

/// The right to open one connection outside every pool, and to have it for as long as this is held.
pub struct Reservation {
    permit: Permit,
    _apart: Apart,
}

impl Reservation {
    /// The connection is open.
    pub fn connected(&mut self) {
        self.permit.connected();
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reservation").finish_non_exhaustive()
    }
}

impl Admission {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that are open or being opened.
    pub(crate) fn open(&self) -> u32 {
        self.gate().open
    }

    /// How many there may be.
    pub(crate) fn limit(&self) -> u32 {
        self.gate().limit
    }

    /// Connections that are set apart.
    pub(crate) fn apart(&self) -> u32 {
        self.gate().apart
    }

    /// The right to set one connection apart, if there is room: nobody waits for it.
    pub(crate) fn set_apart(self: &Arc<Self>) -> Option<Apart> {
        let mut gate = self.gate();
        let has_room = gate.apart < gate.limit / SET_APART_SHARE;
        has_room.then(|| {
            gate.apart += 1;
            Apart { admission: Arc::clone(self) }
        })
    }

    /// The right to open a connection outside every pool; none when as many are set apart as may be,
    /// or the server's connections stay used up for so long.
    pub(crate) async fn reserve(self: &Arc<Self>, patience: Duration) -> Option<Reservation> {
        let apart = self.set_apart()?;
        let permit = tokio::time::timeout(patience, self.admit()).await.ok().flatten()?;
        Some(Reservation { permit, _apart: apart })
    }

    /// Whether pools wait for connections that other pools have.
    pub(crate) fn is_starving(&self) -> bool {
        self.starving.load(Ordering::Relaxed) > 0
    }

    /// Whether they have been waiting for longer than a busy pool may let them.
    pub(crate) fn is_out_of_patience(&self, now: Instant) -> bool {
        let since = self.gate().starving_since;
        since.is_some_and(|since| now.saturating_duration_since(since) >= STARVATION_PATIENCE)
    }

    /// Makes a pool known, so that it can be asked to give up what it does not use.
    pub(crate) fn register(&self, tenant: Weak<dyn Tenant>) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        // Only when it would grow, so that many pools do not cost their square.
        if tenants.len() == tenants.capacity() {
            tenants.retain(|tenant| tenant.strong_count() > 0);
        }
        tenants.push(tenant);
    }

    /// Waits for the right to open a connection. While the server's connections are used up, the one
    /// that has been idle for longest, in whichever pool, is closed to make room.
    pub(crate) async fn admit(self: &Arc<Self>) -> Option<Permit> {
        let granted = match self.request() {
            Ok(permit) => return Some(permit),
            Err(granted) => granted,
        };
        if self.is_starving() {
            self.evict();
        }
        granted.await.ok()
    }

    /// A permit, or where it will arrive.
    fn request(self: &Arc<Self>) -> Result<Permit, oneshot::Receiver<Permit>> {
        let mut gate = self.gate();
        if gate.has_room() && gate.queue.is_empty() {
            gate.admit();
            return Ok(self.permit());
        }
        let (sender, granted) = oneshot::channel();
        gate.queue.push_back(sender);
        self.note_starving(&mut gate);
        Err(granted)
    }

    fn evict(&self) {
        let tenants: Vec<_> = {
            let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.iter().filter_map(Weak::upgrade).collect()
        };
        let idle = tenants.iter().filter_map(|tenant| Some((tenant.idle_since()?, tenant)));
        if let Some((_, tenant)) = idle.min_by_key(|(since, _)| *since) {
            tenant.surrender_idle();
        }
    }

    /// Sets how many connections there may be.
    pub(crate) fn set_limit(self: &Arc<Self>, limit: u32) {
        let before = std::mem::replace(&mut self.gate().limit, limit);
        if before != limit {
            self.grant();
        }
    }

    fn permit(self: &Arc<Self>) -> Permit {
        Permit { admission: Arc::clone(self), connecting: true }
    }

    fn note_starving(&self, gate: &mut Gate) {
        self.starving.store(gate.starving(), Ordering::Relaxed);
    }

    /// Serves those who wait, as far as there is room.
    fn grant(self: &Arc<Self>) {
        loop {
            let request = {
                let mut gate = self.gate();
                gate.queue.retain(|request| !request.is_closed());
                let request = if gate.has_room() { gate.queue.pop_front() } else { None };
                if request.is_some() {
                    gate.admit();
                    gate.starving_since = None;
                }
                self.note_starving(&mut gate);
                request
            };
            let Some(request) = request else { return };
            // An asker that has left in this very moment hands its permit back by dropping it.
            let _ = request.send(self.permit());
        }
    }
}

impl Gate {
    const fn is_exhausted(&self) -> bool {
        self.open >= self.limit
    }

    const fn has_room(&self) -> bool {
        !self.is_exhausted() && self.connecting < MAX_CONNECTING_PER_NODE
    }

    const fn admit(&mut self) {
        self.open += 1;
        self.connecting += 1;
    }

    /// Requests whose askers still wait, if what they wait for is a connection to be closed.
    fn starving(&mut self) -> u32 {
        self.queue.retain(|request| !request.is_closed());
        if !self.is_exhausted() || self.queue.is_empty() {
            self.starving_since = None;
            return 0;
        }
        self.starving_since.get_or_insert_with(clock::now);
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }
}

impl Permit {
    /// The connection is open: another may be opened beside it.
    pub(crate) fn connected(&mut self) {
        if std::mem::take(&mut self.connecting) {
            self.admission.gate().connecting -= 1;
            self.admission.grant();
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.admission.gate().apart -= 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut gate = self.admission.gate();
            gate.open -= 1;
            if self.connecting {
                gate.connecting -= 1;
            }
        }
        self.admission.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(limit: u32) -> Arc<Admission> {
        let admission = Arc::new(Admission::default());
        admission.set_limit(limit);
        admission
    }

    fn granted(admission: &Arc<Admission>) -> Permit {
        admission.request().ok().unwrap()
    }

    fn queued(admission: &Arc<Admission>) -> oneshot::Receiver<Permit> {
        admission.request().err().unwrap()
    }

    #[test]
    fn nobody_is_admitted_before_the_server_said_what_it_allows() {
        let admission = gate(0);
        let mut permit = queued(&admission);
        assert!(permit.try_recv().is_err());
        admission.set_limit(1);
        assert!(permit.try_recv().is_ok());
    }

    #[test]
    fn connections_are_bounded_and_requests_served_in_order() {
        let admission = gate(2);
        let mut held = vec![granted(&admission), granted(&admission)];
        let mut first = queued(&admission);
        let mut second = queued(&admission);
        assert!(admission.is_starving());
        held.pop();
        let permit = first.try_recv().unwrap();
        assert!(second.try_recv().is_err());
        drop(permit);
        let _held_too = second.try_recv().unwrap();
        assert_eq!(admission.open(), 2);
        assert!(!admission.is_starving());
    }

    #[test]
    fn openings_at_the_same_time_are_bounded_on_their_own() {
        let admission = gate(100);
        let mut held: Vec<_> = (0..MAX_CONNECTING_PER_NODE).map(|_| granted(&admission)).collect();
        let mut next = queued(&admission);
        assert!(!admission.is_starving());
        held[3].connected();
        assert!(next.try_recv().is_ok());
        assert_eq!(admission.open(), MAX_CONNECTING_PER_NODE);
    }

    #[test]
    fn whoever_left_the_queue_is_passed_over() {
        let admission = gate(1);
        let held = granted(&admission);
        let gone = queued(&admission);
        let mut there = queued(&admission);
        drop(gone);
        drop(held);
        assert!(there.try_recv().is_ok());
    }

    #[test]
    fn a_permit_that_is_never_picked_up_is_not_lost() {
        let admission = gate(1);
        let held = granted(&admission);
        let unread = queued(&admission);
        drop(held);
        assert_eq!(admission.open(), 1);
        drop(unread);
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn a_limit_that_shrinks_is_reached_by_attrition() {
        let admission = gate(3);
        let mut held = vec![granted(&admission), granted(&admission), granted(&admission)];
        admission.set_limit(1);
        let mut next = queued(&admission);
        held.truncate(1);
        assert!(next.try_recv().is_err());
        held.clear();
        assert!(next.try_recv().is_ok());
    }

    #[test]
    fn no_more_than_their_share_of_the_connections_is_set_apart() {
        let admission = gate(5);
        let first = admission.set_apart();
        let _second = admission.set_apart().unwrap();
        assert!(admission.set_apart().is_none());
        drop(first);
        assert!(admission.set_apart().is_some());
        assert_eq!(admission.apart(), 1);
        assert!(gate(1).set_apart().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_counts_as_open_and_waits_no_longer_than_it_is_told() {
        let admission = gate(2);
        let reserved = admission.reserve(Duration::ZERO).await.unwrap();
        let _held = granted(&admission);
        assert_eq!((admission.open(), admission.apart()), (2, 1));
        drop(reserved);
        let _held_too = granted(&admission);
        assert!(admission.reserve(STARVATION_PATIENCE).await.is_none());
        assert_eq!((admission.open(), admission.apart()), (2, 0));
    }

    #[test]
    fn patience_is_counted_from_the_first_who_starves_and_anew_after_each_grant() {
        let admission = gate(1);
        let held = granted(&admission);
        assert!(!admission.is_out_of_patience(Instant::now() + STARVATION_PATIENCE * 2));
        let mut first = queued(&admission);
        let _second = queued(&admission);
        let later = Instant::now() + STARVATION_PATIENCE;
        assert!(admission.is_out_of_patience(later));
        drop(held);
        let _held = first.try_recv().unwrap();
        assert!(!admission.is_out_of_patience(Instant::now()));
        assert!(admission.is_out_of_patience(Instant::now() + STARVATION_PATIENCE));
    }
}
