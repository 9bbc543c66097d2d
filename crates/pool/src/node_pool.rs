//! The pool of one database and user on one node.
//!
//! A stack of idle connections, a queue of waiting clients, and two counts, behind a mutex that is
//! held for a few instructions and never across an await. Taking an idle connection and giving it back
//! touch nothing else. Connections are opened in tasks of their own, which a client that leaves does
//! not abort; a connection that arrives or comes back goes to whoever has waited longest.
//!
//! Either the queue or the stack is empty: what could serve a waiting client never lies idle.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pgweir_protocol::server::{SequenceMemory, ServerFacts};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::admission::{Apart, Permit, Tenant};
use crate::clock;
use crate::dial::{CancelHandle, ConnectError, Fault, ServerConnection};
use crate::lease::{Lease, Slot};
use crate::node::Node;
use crate::select::Fit;
use crate::spec::PoolSpec;
use crate::stream::Stream;

/// Idle connections that are looked at for one with the right settings, from the most recent.
const AFFINITY_DEPTH: usize = 4;
/// Idle connections that are looked at for the client's own, from the most recent.
const HOME_DEPTH: usize = 64;
/// Clients that wait in one pool, at most; the next one is refused at once.
const MAX_WAITERS: usize = 65_536;
/// Pause after the first failure to connect; it doubles with every further one.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
/// Pause between failures to connect, at most.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// By how much of itself a lifetime may be cut short, so that connections which were opened together
/// do not all end together: one part in this many.
const LIFETIME_JITTER: u32 = 10;
/// Terminate (manual: 55.7).
const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// A connection that is being opened.
pub(crate) type Opening =
    Pin<Box<dyn Future<Output = Result<ServerConnection, ConnectError>> + Send>>;

/// Opens connections for one database and user.
pub(crate) trait Opener: Send + Sync {
    /// Opens a connection to a node.
    fn open(&self, node: &Arc<Node>) -> Opening;
}

/// The pool of one database and user on one node.
pub(crate) struct NodePool {
    node: Arc<Node>,
    opener: Arc<dyn Opener>,
    runtime: Handle,
    /// Whether connections may lie idle: not to a database that others are made from.
    keeps_idle: AtomicBool,
    inner: Mutex<Inner>,
    /// Past failures to connect have been forgotten: there is no need to pause.
    relief: Notify,
    counters: Counters,
}

struct Inner {
    limits: Limits,
    idle: Vec<Pooled>,
    /// In the order of their tickets.
    waiters: VecDeque<Waiter>,
    /// Clients that have left the queue since it was last cleared of them.
    departed: usize,
    in_use: u32,
    connecting: u32,
    /// Leased connections that do not count any more.
    apart: u32,
    /// Connections of an earlier era are not used again.
    era: u64,
    /// [`Node::moves`] that have been heeded.
    moves: u32,
    trouble: Option<Trouble>,
    is_closed: bool,
}

/// What a pool's specification says about a node's share of it.
#[derive(Debug, Clone, Copy)]
struct Limits {
    size: u32,
    min_idle: u32,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
}

/// Failures to connect since the last success.
#[derive(Debug, Clone)]
struct Trouble {
    error: Arc<ConnectError>,
    failures: u32,
    until: Instant,
}

/// A connection that is idle, or on its way between two clients.
pub(crate) struct Pooled {
    pub(crate) stream: Stream,
    pub(crate) facts: Box<ServerFacts>,
    pub(crate) cancel: CancelHandle,
    pub(crate) residence: Residence,
    idle_since: Instant,
    settings_mark: u64,
    memory: SequenceMemory,
    last_session: Option<u32>,
}

/// What a connection keeps from lease to lease.
pub(crate) struct Residence {
    era: u64,
    opened_at: Instant,
    /// By how much of itself its lifetime is cut short, in parts of `u32::MAX`.
    cut: u32,
    _permit: Permit,
}

/// A client that waits.
struct Waiter {
    /// Who has a smaller one came earlier, in whichever queue it has been.
    ticket: u64,
    handoff: oneshot::Sender<Handoff>,
}

/// What a waiting client gets.
type Handoff = Result<Pooled, Arc<ConnectError>>;

#[derive(Debug, Default)]
struct Counters {
    waiting: AtomicU32,
    checkouts: AtomicU64,
    waits: AtomicU64,
    waited_micros: AtomicU64,
    connects: AtomicU64,
    connect_failures: AtomicU64,
}

/// The state and the history of the pool of one database and user on one node.
#[derive(Debug, Clone)]
pub struct NodePoolStats {
    /// The node.
    pub node: Arc<Node>,
    /// Connections that the pool may have.
    pub size: u32,
    /// Connections that are leased.
    pub in_use: u32,
    /// Connections that are ready.
    pub idle: u32,
    /// Connections that are being opened, or wait to be.
    pub connecting: u32,
    /// Connections that clients keep beside the pool: [`Lease::set_apart`].
    pub apart: u32,
    /// Clients that wait for a connection.
    pub waiting: u32,
    /// Leases so far.
    pub checkouts: u64,
    /// Leases that a client had to wait for.
    pub waits: u64,
    /// How long they waited, all together.
    pub waited: Duration,
    /// Connections opened so far.
    pub connects: u64,
    /// Failures to open one.
    pub connect_failures: u64,
    /// The last of them, until a connection is opened again.
    pub trouble: Option<Arc<ConnectError>>,
}

/// A connection that waits for somebody to use it.
#[derive(Debug, Clone)]
pub struct IdleServer {
    /// The connection.
    pub server: CancelHandle,
    /// Since when it has been idle.
    pub since: Instant,
}

impl Limits {
    fn new(spec: &PoolSpec) -> Self {
        let unless_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
        Self {
            size: spec.size.max(1),
            min_idle: spec.min_idle.min(spec.size),
            idle_timeout: unless_zero(spec.idle_timeout),
            max_lifetime: unless_zero(spec.max_lifetime),
        }
    }

    /// Whether a connection is older than it may grow.
    fn have_outlived(&self, residence: &Residence, now: Instant) -> bool {
        let age = now.saturating_duration_since(residence.opened_at);
        self.max_lifetime.is_some_and(|lifetime| age >= jittered(lifetime, residence.cut))
    }
}

impl Inner {
    fn idle(&self) -> u32 {
        u32::try_from(self.idle.len()).unwrap_or(u32::MAX)
    }

    fn total(&self) -> u32 {
        self.in_use + self.connecting + self.idle()
    }

    /// Takes an idle connection: of those used last the one that fits best.
    fn pop(&mut self, fit: &Fit) -> Option<Pooled> {
        let recent = self.idle.iter().enumerate().rev().take(HOME_DEPTH).enumerate();
        let candidates = recent
            .filter(|(depth, (_, pooled))| *depth < AFFINITY_DEPTH || pooled.is_home_of(fit))
            .map(|(_, candidate)| candidate);
        let best = candidates.min_by_key(|(_, pooled)| pooled.strangeness(fit))?.0;
        Some(self.idle.remove(best))
    }

    /// Puts a client in the queue, behind those who came earlier.
    fn queue(&mut self, waiter: Waiter) {
        let earlier = self.waiters.iter().rposition(|other| other.ticket <= waiter.ticket);
        self.waiters.insert(earlier.map_or(0, |earlier| earlier + 1), waiter);
    }

    /// Gives a connection to whoever has waited longest, or lets it lie idle.
    fn place(&mut self, mut pooled: Pooled) {
        while let Some(waiter) = self.waiters.pop_front() {
            match waiter.handoff.send(Ok(pooled)) {
                Ok(()) => {
                    self.in_use += 1;
                    return;
                }
                Err(Ok(unclaimed)) => pooled = unclaimed,
                Err(Err(_)) => return,
            }
        }
        self.idle.push(pooled);
    }

    /// A client has left the queue. Its place is cleared away when half of them are such.
    fn depart(&mut self) {
        self.departed += 1;
        if self.departed * 2 > self.waiters.len() {
            self.waiting();
        }
    }

    /// Clears away the places of clients that have left; gives how many still wait.
    fn waiting(&mut self) -> u32 {
        self.waiters.retain(|waiter| !waiter.handoff.is_closed());
        self.departed = 0;
        u32::try_from(self.waiters.len()).unwrap_or(u32::MAX)
    }

    /// How many connections are to be opened now; they count as connecting from here on.
    fn reserve_openings(&mut self, least_idle: u32) -> u32 {
        let room = self.limits.size.saturating_sub(self.total());
        if self.is_closed || room == 0 {
            return 0;
        }
        let wanted = self.waiting().max(least_idle.saturating_sub(self.idle()));
        let missing = wanted.saturating_sub(self.connecting);
        // In trouble one attempt at a time is enough to find out when it is over.
        let cautious = self.trouble.as_ref().map(|_| 1_u32.saturating_sub(self.connecting));
        let openings = missing.min(room).min(cautious.unwrap_or(u32::MAX));
        self.connecting += openings;
        openings
    }

    fn is_wanted(&mut self) -> bool {
        self.waiting() > 0 || self.idle() < self.limits.min_idle
    }

    fn note_failure(&mut self, error: &Arc<ConnectError>, now: Instant) {
        let failures = self.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        let pause = MIN_BACKOFF.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        let until = now + pause.min(MAX_BACKOFF);
        let failures = failures.saturating_add(1);
        self.trouble = Some(Trouble { error: Arc::clone(error), failures, until });
    }
}

impl NodePool {
    pub(crate) fn new(
        node: Arc<Node>,
        opener: Arc<dyn Opener>,
        runtime: Handle,
        spec: &PoolSpec,
        keeps_idle: bool,
    ) -> Arc<Self> {
        let inner = Inner {
            limits: Limits::new(spec),
            idle: Vec::new(),
            waiters: VecDeque::new(),
            departed: 0,
            in_use: 0,
            connecting: 0,
            apart: 0,
            era: 0,
            moves: node.moves(),
            trouble: None,
            is_closed: false,
        };
        let (relief, counters) = (Notify::new(), Counters::default());
        let (inner, keeps_idle) = (Mutex::new(inner), AtomicBool::new(keeps_idle));
        let pool = Arc::new(Self { node, opener, runtime, keeps_idle, inner, relief, counters });
        let tenant: Weak<Self> = Arc::downgrade(&pool);
        pool.node.admission.register(tenant);
        pool
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// An idle connection, if there is one that still lives.
    pub(crate) fn try_checkout(self: &Arc<Self>, fit: &Fit) -> Option<Lease> {
        loop {
            let mut pooled = {
                let mut inner = self.inner();
                let pooled = inner.pop(fit)?;
                inner.in_use += 1;
                pooled
            };
            // Nothing may arrive on an idle connection but its end: the server's farewell, or the
            // close. (A setting that changes is reported before the next ReadyForQuery.)
            if pooled.stream.read_now(&mut [0; 1]).is_pending() {
                return Some(self.lease(pooled));
            }
            drop(pooled);
            self.inner().in_use -= 1;
        }
    }

    fn lease(self: &Arc<Self>, pooled: Pooled) -> Lease {
        self.counters.checkouts.fetch_add(1, Ordering::Relaxed);
        let Pooled { stream, facts, cancel, residence, .. } = pooled;
        let slot = Slot::new(Arc::clone(self), residence);
        Lease { stream, facts: Some(facts), cancel, slot }
    }

    /// Whether a connection could be opened for another client.
    pub(crate) fn has_room(&self) -> bool {
        let inner = self.inner();
        !inner.is_closed && inner.total() < inner.limits.size && inner.waiters.is_empty()
    }

    /// Whether clients wait for a connection.
    pub(crate) fn is_crowded(&self) -> bool {
        !self.inner().waiters.is_empty()
    }

    /// Takes the place in the queue that belongs to a ticket; `None` when it is too long.
    pub(crate) fn enqueue(self: &Arc<Self>, ticket: u64) -> Option<Place> {
        let (sender, handoff) = oneshot::channel();
        let openings = {
            let mut inner = self.inner();
            if inner.waiters.len() >= MAX_WAITERS && inner.waiting() as usize >= MAX_WAITERS {
                return None;
            }
            // In a pool that is closed the queue has ended: the sender is dropped.
            if !inner.is_closed {
                inner.queue(Waiter { ticket, handoff: sender });
            }
            inner.reserve_openings(0)
        };
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        self.open(openings);
        Some(Place { pool: Arc::clone(self), handoff, since: clock::now(), is_over: false })
    }

    /// Takes a connection back from a lease.
    pub(crate) fn take_back(self: &Arc<Self>, pooled: Pooled) {
        self.node.lease_ended();
        let now = pooled.idle_since;
        self.settle(pooled, now);
    }

    /// Decides what becomes of a connection that is no longer in use.
    fn settle(self: &Arc<Self>, pooled: Pooled, now: Instant) {
        let is_starving = self.node.admission.is_starving();
        let is_out_of_patience = is_starving && self.node.admission.is_out_of_patience(now);
        let mut inner = self.inner();
        inner.in_use -= 1;
        let must_close = inner.is_closed
            || pooled.residence.era != inner.era
            || inner.limits.have_outlived(&pooled.residence, now)
            || inner.total() >= inner.limits.size
            || is_out_of_patience
            || ((is_starving || !self.keeps_idle()) && inner.waiting() == 0);
        if !must_close {
            inner.place(pooled);
            return;
        }
        drop(inner);
        pooled.close();
        self.replenish();
    }

    /// A lease was dropped: its connection is gone.
    pub(crate) fn lose(self: &Arc<Self>) {
        self.node.lease_ended();
        self.inner().in_use -= 1;
        self.replenish();
    }

    /// Takes a leased connection out of the count, if the node has room for one that is set apart.
    pub(crate) fn set_apart(self: &Arc<Self>) -> Option<Apart> {
        let apart = self.node.admission.set_apart()?;
        self.node.lease_ended();
        {
            let mut inner = self.inner();
            inner.in_use -= 1;
            inner.apart += 1;
        }
        self.replenish();
        Some(apart)
    }

    /// A connection that was set apart counts as leased again: it is about to be given back.
    pub(crate) fn rejoin(&self) {
        self.node.lease_begun();
        let mut inner = self.inner();
        inner.apart -= 1;
        inner.in_use += 1;
    }

    /// The lease of a connection that was set apart was dropped: the connection is gone.
    pub(crate) fn lose_apart(&self) {
        self.inner().apart -= 1;
    }

    /// Opens connections for those who wait, as far as there is room.
    fn replenish(self: &Arc<Self>) {
        let openings = self.inner().reserve_openings(0);
        self.open(openings);
    }

    fn open(self: &Arc<Self>, openings: u32) {
        for _ in 0..openings {
            let attempt = Attempt { pool: Arc::clone(self), era: 0, is_counted: true };
            self.runtime.spawn(attempt.run());
        }
    }

    /// The pause before the next attempt. A login that was refused is tried again at once when a
    /// client asks for it: the client is owed the server's answer as of now.
    fn pause(&self) -> Option<Duration> {
        let mut inner = self.inner();
        let has_waiters = inner.waiting() > 0;
        let trouble = inner.trouble.as_ref()?;
        if has_waiters && trouble.error.fault() == Fault::Login {
            return None;
        }
        Some(trouble.until.saturating_duration_since(clock::now()))
    }

    fn arrive(&self, connection: ServerConnection, mut permit: Permit, mut attempt: Attempt) {
        permit.connected();
        self.counters.connects.fetch_add(1, Ordering::Relaxed);
        let cancel = connection.cancel_handle();
        let ServerConnection { stream, facts, opened_at, .. } = connection;
        let mut inner = self.inner();
        inner.connecting -= 1;
        attempt.is_counted = false;
        inner.trouble = None;
        let cut = getrandom::u32().unwrap_or_default();
        let residence = Residence { era: attempt.era, opened_at, cut, _permit: permit };
        let pooled = Pooled::new(stream, facts, cancel, residence, clock::now());
        if inner.is_closed || attempt.era != inner.era {
            drop(inner);
            pooled.close();
        } else {
            inner.place(pooled);
        }
    }

    fn fail(&self, error: ConnectError) {
        self.counters.connect_failures.fetch_add(1, Ordering::Relaxed);
        let fault = error.fault();
        tracing::debug!(node = self.node.name(), %error, "no connection");
        if fault == Fault::Node {
            self.node.suspect();
        }
        let error = Arc::new(error);
        let told = {
            let mut inner = self.inner();
            inner.note_failure(&error, clock::now());
            // As long as other connections are in use, one of them will serve those who wait.
            let hopeless = fault == Fault::Login || (fault == Fault::Node && inner.in_use == 0);
            if hopeless { std::mem::take(&mut inner.waiters) } else { VecDeque::new() }
        };
        for waiter in told {
            let _ = waiter.handoff.send(Err(Arc::clone(&error)));
        }
    }

    /// Keeps house: closes what is too old, idle for too long, or dead; keeps the least number of
    /// idle connections ready. A node that is not in use (`is_usable`) keeps nothing.
    pub(crate) fn tend(self: &Arc<Self>, now: Instant, is_usable: bool) {
        let moves = self.node.moves();
        let has_moved = std::mem::replace(&mut self.inner().moves, moves) != moves;
        if has_moved || !is_usable {
            self.renew();
        }
        if !is_usable {
            return;
        }
        let (closed, openings) = {
            let mut inner = self.inner();
            let closed = inner.weed(now);
            let min_idle = inner.limits.min_idle;
            (closed, inner.reserve_openings(min_idle))
        };
        closed.into_iter().for_each(Pooled::close);
        self.open(openings);
    }

    /// Lets no connection that is open now be used again: idle ones are closed, leased ones when
    /// they come back.
    pub(crate) fn renew(&self) {
        let idle = {
            let mut inner = self.inner();
            inner.era += 1;
            std::mem::take(&mut inner.idle)
        };
        idle.into_iter().for_each(Pooled::close);
    }

    /// Takes new limits. Idle connections beyond them are closed at once, leased ones when they come
    /// back.
    pub(crate) fn set_spec(self: &Arc<Self>, spec: &PoolSpec) {
        let surplus = {
            let mut inner = self.inner();
            inner.limits = Limits::new(spec);
            let beyond = inner.total().saturating_sub(inner.limits.size) as usize;
            // The bottom of the stack, where the longest idle lie, comes first.
            let count = beyond.min(inner.idle.len());
            inner.idle.drain(..count).collect::<Vec<_>>()
        };
        surplus.into_iter().for_each(Pooled::close);
        self.replenish();
    }

    fn keeps_idle(&self) -> bool {
        self.keeps_idle.load(Ordering::Relaxed)
    }

    /// Says whether connections may lie idle from now on.
    pub(crate) fn set_keeps_idle(&self, keeps_idle: bool) {
        self.keeps_idle.store(keeps_idle, Ordering::Relaxed);
    }

    /// Forgets past failures to connect, for something has changed.
    pub(crate) fn forget_trouble(&self) {
        self.inner().trouble = None;
        self.relief.notify_waiters();
    }

    /// Closes the pool for good: whoever waits is told by the end of the queue.
    pub(crate) fn close(&self) {
        let waiters = {
            let mut inner = self.inner();
            inner.is_closed = true;
            std::mem::take(&mut inner.waiters)
        };
        drop(waiters);
        self.renew();
    }

    /// Whether nothing is open, being opened, or waited for.
    pub(crate) fn is_empty(&self) -> bool {
        let mut inner = self.inner();
        inner.total() == 0 && inner.apart == 0 && inner.waiting() == 0
    }

    /// The idle connections, the longest idle first.
    pub(crate) fn idle_servers(&self) -> Vec<IdleServer> {
        let inner = self.inner();
        let server = |pooled: &Pooled| IdleServer {
            server: pooled.cancel.clone(),
            since: pooled.idle_since,
        };
        inner.idle.iter().map(server).collect()
    }

    pub(crate) fn stats(&self) -> NodePoolStats {
        let inner = self.inner();
        let counters = &self.counters;
        NodePoolStats {
            node: Arc::clone(&self.node),
            size: inner.limits.size,
            in_use: inner.in_use,
            idle: inner.idle(),
            connecting: inner.connecting,
            apart: inner.apart,
            waiting: counters.waiting.load(Ordering::Relaxed),
            checkouts: counters.checkouts.load(Ordering::Relaxed),
            waits: counters.waits.load(Ordering::Relaxed),
            waited: Duration::from_micros(counters.waited_micros.load(Ordering::Relaxed)),
            connects: counters.connects.load(Ordering::Relaxed),
            connect_failures: counters.connect_failures.load(Ordering::Relaxed),
            trouble: inner.trouble.as_ref().map(|trouble| Arc::clone(&trouble.error)),
        }
    }
}

impl Inner {
    /// Takes out the idle connections that are of no more use.
    fn weed(&mut self, now: Instant) -> Vec<Pooled> {
        let limits = self.limits;
        let mut spare = self.idle.len().saturating_sub(limits.min_idle as usize);
        let mut is_over = |pooled: &mut Pooled| {
            let is_old = limits.have_outlived(&pooled.residence, now);
            if is_old || pooled.stream.read_now(&mut [0; 1]).is_ready() {
                return true;
            }
            // The bottom of the stack, where the longest idle lie, comes first.
            let idle = now.saturating_duration_since(pooled.idle_since);
            let is_spare = spare > 0 && limits.idle_timeout.is_some_and(|timeout| idle >= timeout);
            spare -= usize::from(is_spare);
            is_spare
        };
        self.idle.extract_if(.., |pooled| is_over(pooled)).collect()
    }
}

impl Tenant for NodePool {
    fn idle_since(&self) -> Option<Instant> {
        self.inner().idle.first().map(|pooled| pooled.idle_since)
    }

    fn surrender_idle(&self) {
        let surrendered = {
            let mut inner = self.inner();
            if inner.idle.is_empty() { None } else { Some(inner.idle.remove(0)) }
        };
        if let Some(pooled) = surrendered {
            pooled.close();
        }
    }
}

impl Pooled {
    /// A connection that is idle from now on.
    pub(crate) fn new(
        stream: Stream,
        facts: Box<ServerFacts>,
        cancel: CancelHandle,
        residence: Residence,
        idle_since: Instant,
    ) -> Self {
        let (settings_mark, memory) = (facts.settings_mark(), facts.sequences);
        let last_session = facts.last_session;
        Self { stream, facts, cancel, residence, idle_since, settings_mark, memory, last_session }
    }

    /// Whether the client had it last, or drew from sequences on it.
    fn is_home_of(&self, fit: &Fit) -> bool {
        let drew = |drawer| self.memory == SequenceMemory::Of(drawer);
        (fit.session.is_some() && self.last_session == fit.session) || fit.drawer.is_some_and(drew)
    }

    /// How badly it suits a client. Clients come back to the connection they had last: its caches are
    /// theirs, and whatever of a session PostgreSQL tells nobody of. What a connection remembers of
    /// somebody else's sequences is left to whoever drew from them, as long as there are others.
    fn strangeness(&self, fit: &Fit) -> (u8, u8, bool) {
        let settings = u8::from(fit.settings_mark.is_some_and(|mark| mark != self.settings_mark));
        let memory = match (self.memory, fit.drawer) {
            (SequenceMemory::Of(drawer), Some(client)) if drawer == client => 0,
            (SequenceMemory::Of(_), Some(_)) => 2,
            _ => 1,
        };
        let is_strange = !self.is_home_of(fit);
        if fit.recalls_sequences {
            (memory, settings, is_strange)
        } else {
            (settings, memory, is_strange)
        }
    }

    /// Says goodbye and closes.
    fn close(mut self) {
        self.stream.write_now(&TERMINATE);
    }
}

/// A place in a pool's queue. Leaving it is dropping it.
pub(crate) struct Place {
    pool: Arc<NodePool>,
    handoff: oneshot::Receiver<Handoff>,
    since: Instant,
    is_over: bool,
}

/// Why a place in a queue came to nothing.
#[derive(Debug)]
pub(crate) enum Unserved {
    /// No connection can be opened.
    Failed(Arc<ConnectError>),
    /// The pool was closed.
    Closed,
}

impl Place {
    pub(crate) const fn pool(&self) -> &Arc<NodePool> {
        &self.pool
    }

    /// Waits until it is this client's turn. Can be dropped and called again without losing the place.
    pub(crate) async fn turn(&mut self) -> Result<Lease, Unserved> {
        let handoff = (&mut self.handoff).await;
        self.is_over = true;
        match handoff {
            Ok(Ok(pooled)) => {
                let waited =
                    u64::try_from((clock::now() - self.since).as_micros()).unwrap_or(u64::MAX);
                let counters = &self.pool.counters;
                counters.waits.fetch_add(1, Ordering::Relaxed);
                counters.waited_micros.fetch_add(waited, Ordering::Relaxed);
                Ok(self.pool.lease(pooled))
            }
            Ok(Err(error)) => Err(Unserved::Failed(error)),
            Err(_) => Err(Unserved::Closed),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.counters.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.is_over {
            return;
        }
        self.handoff.close();
        match self.handoff.try_recv() {
            // What was handed over in the meantime goes to the next in line.
            Ok(Ok(pooled)) => self.pool.settle(pooled, clock::now()),
            Ok(Err(_)) => {}
            Err(_) => self.pool.inner().depart(),
        }
    }
}

/// One attempt to open a connection; counted as connecting for as long as it exists.
struct Attempt {
    pool: Arc<NodePool>,
    /// The era in which the connection was begun.
    era: u64,
    is_counted: bool,
}

impl Attempt {
    async fn run(mut self) {
        let pool = Arc::clone(&self.pool);
        let relief = pool.relief.notified();
        if let Some(pause) = pool.pause() {
            let _ = tokio::time::timeout(pause, relief).await;
        }
        let Some(permit) = pool.node.admission.admit().await else {
            return;
        };
        let is_wanted = {
            let mut inner = pool.inner();
            self.era = inner.era;
            inner.is_wanted()
        };
        if !is_wanted {
            return;
        }
        match pool.opener.open(&pool.node).await {
            Ok(connection) => pool.arrive(connection, permit, self),
            Err(error) => {
                drop((permit, self));
                pool.fail(error);
            }
        }
        pool.replenish();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_counted {
            self.pool.inner().connecting -= 1;
        }
    }
}

/// A lifetime, cut short by a share of one part in [`LIFETIME_JITTER`].
fn jittered(lifetime: Duration, cut: u32) -> Duration {
    let most = lifetime / LIFETIME_JITTER;
    lifetime - most.mul_f64(f64::from(cut) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
