//! The pools of one database and user: one per node, and the choice between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pgweir_protocol::auth::{Credentials, DerivedKeys};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::board::Board;
use crate::clock;
use crate::dial::{Dialer, Login};
use crate::error::{Congestion, PoolError};
use crate::lease::Lease;
use crate::line::Line;
use crate::moment::Moment;
use crate::node::{Node, NodeId};
use crate::node_pool::{IdleServer, NodePool, NodePoolStats, Opener, Opening, Place};
use crate::roster::Roster;
use crate::select::{
    Access, Candidate, Dice, NoNode, Want, balance, eligible_for_reads, explain, select,
};
use crate::spec::{PoolSpec, ReadPolicy, Reads};
use crate::topology::{Health, NodeView, Role, Topology};
use crate::waiting::Waiting;

/// The pools of one database and user.
pub struct PoolSet {
    account: Arc<Account>,
    /// One per node, in the order of the nodes.
    pools: ArcSwap<Vec<Arc<NodePool>>>,
    opener: Arc<dyn Opener>,
    runtime: Handle,
    pub(crate) board: Arc<Board>,
    random: AtomicU64,
    turn: AtomicU64,
    /// Numbers for those who ask, in their order.
    tickets: AtomicU64,
    /// Those who wait for a primary.
    pub(crate) line: Arc<Line>,
    is_paused: AtomicBool,
    pub(crate) resumed: Notify,
    is_closed: AtomicBool,
    used_at: Mutex<Instant>,
    /// When a write of this user's in this database was last acknowledged.
    last_write: Moment,
}

/// What a request for a connection led to.
#[derive(Debug)]
#[must_use]
pub enum Checkout {
    /// Here it is.
    Ready(Lease),
    /// It will come.
    Wait(Waiting),
    /// It will not.
    Refused(PoolError),
}

/// What became of one look at the cluster.
pub(crate) enum Attempt {
    Ready(Lease),
    Queued(Place),
    Nobody(NoNode),
    Crowded,
}

impl Attempt {
    /// Nobody wants it any more: its connection goes back.
    pub(crate) fn hand_back(self) {
        if let Self::Ready(lease) = self {
            lease.hand_back();
        }
    }
}

/// Who logs in, where, with what: shared by the pools of all nodes.
struct Account {
    database: String,
    user: String,
    dialer: ArcSwap<Dialer>,
    spec: ArcSwap<PoolSpec>,
    credentials: ArcSwap<Credentials>,
    /// The keys that the last login derived from a password.
    derived: ArcSwap<Option<DerivedKeys>>,
}

impl Account {
    fn new(origin: &Origin<'_>) -> Self {
        Self {
            database: origin.database.to_owned(),
            user: origin.user.to_owned(),
            dialer: ArcSwap::from_pointee(origin.roster.dialer.clone()),
            spec: ArcSwap::from_pointee(origin.spec.clone()),
            credentials: ArcSwap::from_pointee(Credentials::None),
            derived: ArcSwap::from_pointee(None),
        }
    }
}

impl Opener for AccountOpener {
    fn open(&self, node: &Arc<Node>) -> Opening {
        let (account, node) = (Arc::clone(&self.0), Arc::clone(node));
        Box::pin(async move {
            let (spec, credentials) = (account.spec.load_full(), account.credentials.load_full());
            let known = account.derived.load_full();
            let login = Login {
                database: &account.database,
                user: &account.user,
                credentials: &credentials,
                known: known.as_ref().as_ref(),
                parameters: &[],
                prepared_statements: spec.prepared_statements,
            };
            let dialer = account.dialer.load_full();
            let connection = dialer.connect(&node, login, spec.connect_timeout).await?;
            if connection.derived.is_some() && connection.derived != *known {
                account.derived.store(Arc::new(connection.derived.clone()));
            }
            Ok(connection)
        })
    }
}

struct AccountOpener(Arc<Account>);

/// What the pools of one database and user are made for.
pub(crate) struct Origin<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) spec: &'a PoolSpec,
    pub(crate) roster: &'a Roster,
    pub(crate) board: &'a Arc<Board>,
    pub(crate) runtime: &'a Handle,
}

/// How long it is remembered, at most, that a replica has yet to show what was written through pools
/// that nobody uses any more.
const WRITES_REMEMBERED: Duration = Duration::from_secs(3600);

/// Databases that others are made from, which only works while nobody is connected to them.
const TEMPLATES: [&str; 2] = ["template0", "template1"];

impl PoolSet {
    pub(crate) fn new(origin: &Origin<'_>) -> Arc<Self> {
        let account = Arc::new(Account::new(origin));
        let opener = Arc::new(AccountOpener(Arc::clone(&account)));
        Self::with(origin, account, opener)
    }

    /// Pools whose connections come from elsewhere than from servers.
    #[cfg(test)]
    pub(crate) fn opened_by(origin: &Origin<'_>, opener: Arc<dyn Opener>) -> Arc<Self> {
        Self::with(origin, Arc::new(Account::new(origin)), opener)
    }

    fn with(origin: &Origin<'_>, account: Arc<Account>, opener: Arc<dyn Opener>) -> Arc<Self> {
        let set = Self {
            account,
            pools: ArcSwap::default(),
            opener,
            runtime: origin.runtime.clone(),
            board: Arc::clone(origin.board),
            random: AtomicU64::new(getrandom::u64().unwrap_or_default()),
            turn: AtomicU64::new(0),
            tickets: AtomicU64::new(0),
            line: Arc::default(),
            is_paused: AtomicBool::new(false),
            resumed: Notify::new(),
            is_closed: AtomicBool::new(false),
            used_at: Mutex::new(clock::now()),
            last_write: Moment::new(clock::now()),
        };
        set.follow(origin.roster);
        Arc::new(set)
    }

    fn pool(&self, node: &Arc<Node>) -> Arc<NodePool> {
        NodePool::new(
            Arc::clone(node),
            Arc::clone(&self.opener),
            self.runtime.clone(),
            &self.spec(),
            self.keeps_idle(),
        )
    }

    /// Makes pools for the nodes of a roster that have none. Those of nodes that it has no longer stay
    /// as long as somebody may be sent there: [`PoolSet::leave`] closes them.
    pub(crate) fn follow(&self, roster: &Roster) {
        let before = self.pools.load_full();
        let pool_of = |node: &Arc<Node>| {
            before.iter().find(|pool| Arc::ptr_eq(pool.node(), node)).map(Arc::clone)
        };
        let mut pools: Vec<_> =
            roster.nodes().map(|node| pool_of(node).unwrap_or_else(|| self.pool(node))).collect();
        pools.extend(before.iter().filter(|pool| !roster.has(pool.node())).map(Arc::clone));
        self.pools.store(Arc::new(pools));
        if !self.account.dialer.load().is_like(&roster.dialer) {
            self.account.dialer.store(Arc::new(roster.dialer.clone()));
            self.reconnect();
        }
    }

    /// Closes the pools of nodes that belong to the cluster no longer: idle connections at once, those
    /// that are leased when they come back. Whoever waits there looks elsewhere.
    pub(crate) fn leave(&self, roster: &Roster, topology: &Topology) {
        let pools = self.pools.load_full();
        let is_gone = |pool: &&Arc<NodePool>| {
            !roster.has(pool.node()) && topology.view(pool.node().id()).is_none()
        };
        if !pools.iter().any(|pool| is_gone(&pool)) {
            return;
        }
        let kept = pools.iter().filter(|pool| !is_gone(pool)).map(Arc::clone).collect();
        self.pools.store(Arc::new(kept));
        for pool in pools.iter().filter(is_gone) {
            pool.close();
        }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.account.database
    }

    /// The role.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.account.user
    }

    /// The bounds.
    #[must_use]
    pub fn spec(&self) -> Arc<PoolSpec> {
        self.account.spec.load_full()
    }

    /// Sets new bounds. What is over them ends with its lease.
    pub fn set_spec(&self, spec: &PoolSpec) {
        let before = self.account.spec.swap(Arc::new(spec.clone()));
        for pool in self.pools.load().iter() {
            pool.set_keeps_idle(self.keeps_idle());
            if *before != *spec {
                pool.set_spec(spec);
            }
        }
        if before.prepared_statements != spec.prepared_statements {
            // It is a property of a connection from its opening on.
            self.reconnect();
        }
    }

    /// Whether connections may lie idle.
    fn keeps_idle(&self) -> bool {
        !TEMPLATES.contains(&self.database())
    }

    /// What new connections log in with.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::clone(&self.account.credentials.load())
    }

    /// Keeps nothing open any more that nobody uses; whoever asks is served. New bounds end this.
    pub fn retire(&self) {
        self.set_spec(&PoolSpec { min_idle: 0, ..PoolSpec::clone(&self.spec()) });
        for pool in self.pools.load().iter() {
            pool.set_keeps_idle(false);
            pool.renew();
        }
    }

    /// Sets what new connections log in with. Those that are open stay so, as they do in PostgreSQL
    /// when a password changes.
    pub fn set_credentials(&self, credentials: Credentials) {
        if **self.account.credentials.load() == credentials {
            return;
        }
        self.account.credentials.store(Arc::new(credentials));
        self.account.derived.store(Arc::new(None));
        for pool in self.pools.load().iter() {
            pool.forget_trouble();
        }
    }

    /// Tells that a write through these pools is about to be acknowledged: whoever logs in as this user
    /// from now on, or asks for everybody's writes, is to see it. The monitor is asked to look soon.
    pub fn wrote(&self, at: Instant) {
        // The moments first: a probe that the nudge starts must begin after them.
        self.last_write.note(at);
        self.board.last_write.note(at);
        self.board.nudge();
    }

    /// When a write of this user's in this database was last acknowledged.
    #[must_use]
    pub fn last_write(&self) -> Option<Instant> {
        self.last_write.get()
    }

    /// Asks for a connection. The usual answer is one that lay idle, at once.
    pub fn checkout(self: &Arc<Self>, policy: &ReadPolicy, want: &Want, now: Instant) -> Checkout {
        if self.is_closed() {
            return Checkout::Refused(PoolError::ShuttingDown);
        }
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let waiting =
            |place| Checkout::Wait(Waiting::new(Arc::clone(self), *policy, *want, ticket, place));
        if self.is_paused() {
            return waiting(None);
        }
        match self.attempt_in_turn(policy, want, now, ticket) {
            Attempt::Ready(lease) => Checkout::Ready(lease),
            Attempt::Queued(place) => waiting(Some(place)),
            Attempt::Nobody(NoNode::NoReplica { catching_up: false })
                if self.board.topology().known =>
            {
                Checkout::Refused(self.no_node(policy, want, now, Duration::ZERO))
            }
            Attempt::Nobody(NoNode::Unannounced) => {
                // It was the primary's turn.
                let prefer = self.board.topology().primary().map(|view| view.node.id());
                let want = Want { prefer, ..*want };
                Checkout::Wait(Waiting::new(Arc::clone(self), *policy, want, ticket, None))
            }
            Attempt::Nobody(_) => waiting(None),
            Attempt::Crowded => Checkout::Refused(self.timed_out(None, Duration::ZERO)),
        }
    }

    /// The same as [`PoolSet::attempt`], behind those who wait for a primary.
    pub(crate) fn attempt_in_turn(
        &self,
        policy: &ReadPolicy,
        want: &Want,
        now: Instant,
        ticket: u64,
    ) -> Attempt {
        if want.access == Access::Primary && !self.line.is_empty() {
            self.release_held(now);
            if self.line.is_ahead_of(ticket) {
                return Attempt::Nobody(NoNode::NoPrimary);
            }
        }
        self.attempt(policy, want, now, ticket)
    }

    /// Lets those who wait for a primary have their attempts, if there is one.
    pub(crate) fn release_held(&self, now: Instant) {
        if !self.is_paused() && self.board.topology().primary.is_some() {
            self.line.release(|policy, want, ticket| self.attempt(policy, want, now, ticket));
        }
    }

    /// Looks at the cluster once: takes a connection, or the place in a queue that belongs to a ticket.
    pub(crate) fn attempt(
        &self,
        policy: &ReadPolicy,
        want: &Want,
        now: Instant,
        ticket: u64,
    ) -> Attempt {
        let topology = self.board.topology();
        let dice = self.dice(want.prefer.is_none());
        let index = match select(&topology, policy, want, now, dice) {
            Ok(index) => index,
            Err(nobody) => return Attempt::Nobody(nobody),
        };
        let pools = self.pools.load();
        let Some(chosen) = pool_at(&pools, &topology, index) else {
            return Attempt::Nobody(NoNode::NoPrimary);
        };
        if let Some(lease) = chosen.try_checkout(&want.fit) {
            return Attempt::Ready(lease);
        }
        let pool = if want.access == Access::Primary || chosen.has_room() {
            chosen
        } else {
            match Self::elsewhere(&pools, &topology, policy, want, now, dice, index) {
                Elsewhere::Ready(lease) => return Attempt::Ready(lease),
                Elsewhere::Room(pool) => pool,
                Elsewhere::Nothing => chosen,
            }
        };
        pool.enqueue(ticket).map_or(Attempt::Crowded, Attempt::Queued)
    }

    /// Looks for a node that can serve a read sooner than the one that balance chose: one with an
    /// idle connection, or else with room for another.
    fn elsewhere<'p>(
        pools: &'p [Arc<NodePool>],
        topology: &Topology,
        policy: &ReadPolicy,
        want: &Want,
        now: Instant,
        dice: Dice,
        chosen: usize,
    ) -> Elsewhere<'p> {
        let mut others = eligible_for_reads(topology, policy, want, now);
        others.remove(chosen);
        let mut room = Elsewhere::Nothing;
        while let Some(index) = balance(topology, others, policy.balance, dice) {
            others.remove(index);
            let Some(pool) = pool_at(pools, topology, index) else {
                continue;
            };
            if let Some(lease) = pool.try_checkout(&want.fit) {
                return Elsewhere::Ready(lease);
            }
            if matches!(room, Elsewhere::Nothing) && pool.has_room() {
                room = Elsewhere::Room(pool);
            }
        }
        room
    }

    /// Numbers to choose by (splitmix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
    /// Generators").
    ///
    /// Who prefers a node, and so who waits for the primary in its turn, takes no turn.
    fn dice(&self, takes_turn: bool) -> Dice {
        const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let state = self.random.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Dice {
            random: mixed ^ (mixed >> 31),
            turn: self.turn.fetch_add(u64::from(takes_turn), Ordering::Relaxed),
        }
    }

    /// Whether a connection to this node is what is wanted, as far as is known now.
    pub(crate) fn is_wanted(&self, node: NodeId, want: &Want) -> bool {
        let topology = self.board.topology();
        let Some(view) = topology.view(node) else {
            return false;
        };
        let is_primary = topology.is_primary(node);
        match want.access {
            Access::Primary => is_primary,
            Access::Replica => {
                let is_reader = matches!(view.role, Role::Replica | Role::Worker);
                is_primary || (is_reader && view.health.serves_reads())
            }
        }
    }

    /// The report for a client that no node can serve.
    pub(crate) fn no_node(
        &self,
        policy: &ReadPolicy,
        want: &Want,
        now: Instant,
        waited: Duration,
    ) -> PoolError {
        let topology = self.board.topology();
        let nodes = why_not(&topology, policy, want, now);
        if want.access == Access::Replica && policy.reads == Reads::ReplicasOnly {
            PoolError::NoReplica { waited, nodes }
        } else {
            PoolError::NoPrimary { waited, nodes }
        }
    }

    /// The report for a client that has been shown more than the primary shows.
    pub(crate) fn unannounced(
        &self,
        policy: &ReadPolicy,
        want: &Want,
        now: Instant,
        waited: Duration,
    ) -> PoolError {
        let nodes = why_not(&self.board.topology(), policy, want, now);
        PoolError::Unannounced { waited, nodes }
    }

    /// The report for a client whose turn did not come.
    pub(crate) fn timed_out(&self, pool: Option<&NodePool>, waited: Duration) -> PoolError {
        let stats = pool.map(NodePool::stats);
        let stats = stats.as_ref();
        PoolError::CheckoutTimeout(Box::new(Congestion {
            waited,
            database: self.database().to_owned(),
            user: self.user().to_owned(),
            node: stats.map(|stats| stats.node.name().to_owned()),
            size: self.account.spec.load().size,
            in_use: stats.map_or(0, |stats| stats.in_use),
            connecting: stats.map_or(0, |stats| stats.connecting),
            waiting: stats.map_or(0, |stats| stats.waiting),
            node_limit: stats.map_or(0, |stats| stats.node.connection_limit()),
            node_open: stats.map_or(0, |stats| stats.node.open_connections()),
            last_error: stats.and_then(|stats| stats.trouble.clone()),
        }))
    }

    /// Stops handing out connections: clients wait. Those that have one keep it.
    pub fn pause(&self) {
        self.is_paused.store(true, Ordering::Release);
    }

    /// Hands out connections again.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Release);
        self.resumed.notify_waiters();
    }

    /// Whether clients are made to wait.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// Lets every client get a connection that is opened from now on.
    pub fn reconnect(&self) {
        for pool in self.pools.load().iter() {
            pool.renew();
        }
    }

    /// The state and the history of the pools, one per node.
    #[must_use]
    pub fn stats(&self) -> Vec<NodePoolStats> {
        self.pools.load().iter().map(|pool| pool.stats()).collect()
    }

    /// The idle connections of all nodes.
    #[must_use]
    pub fn idle_servers(&self) -> Vec<IdleServer> {
        self.pools.load().iter().flat_map(|pool| pool.idle_servers()).collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Closes the pools for good.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for pool in self.pools.load().iter() {
            pool.close();
        }
        self.resume();
    }

    /// The pools of the nodes that something is known of.
    fn with_views<'t>(
        &self,
        topology: &'t Topology,
    ) -> impl Iterator<Item = (Arc<NodePool>, &'t NodeView)> {
        let pools = self.pools.load_full();
        topology.nodes.iter().enumerate().filter_map(move |(index, view)| {
            Some((Arc::clone(pool_at(&pools, topology, index)?), view))
        })
    }

    /// Keeps house in every pool.
    pub(crate) fn tend(&self, topology: &Topology, now: Instant) {
        // Paused pools keep nothing open: their servers may be about to be restarted.
        let is_paused = self.is_paused();
        for (pool, view) in self.with_views(topology) {
            let is_lost = view.health == Health::Down || view.role == Role::Fenced;
            pool.tend(now, !is_lost && !is_paused && !view.node.is_draining());
        }
    }

    /// The roles or the health of nodes have changed: what failed before may work now.
    pub(crate) fn encourage(&self, topology: &Topology) {
        for (pool, view) in self.with_views(topology) {
            if view.health.serves_reads() {
                pool.forget_trouble();
            }
        }
    }

    /// Notes that somebody asked for the pools.
    pub(crate) fn touch(&self, now: Instant) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Whether nobody asked for the pools for so long, nothing is open in them, and no replica has yet
    /// to show what was written through them.
    pub(crate) fn is_abandoned(&self, topology: &Topology, now: Instant, after: Duration) -> bool {
        let used_at = *self.used_at.lock().unwrap_or_else(PoisonError::into_inner);
        let last_write = self.last_write.get();
        let is_shown =
            |view: &NodeView| view.role != Role::Replica || view.fresh_as_of >= last_write;
        let is_past = |written| now.saturating_duration_since(written) >= WRITES_REMEMBERED;
        now.saturating_duration_since(used_at) >= after
            && self.pools.load().iter().all(|pool| pool.is_empty())
            && (last_write.is_none_or(is_past) || topology.nodes.iter().all(is_shown))
    }
}

/// Of every node, why it does not serve: "host:port: reason".
fn why_not(topology: &Topology, policy: &ReadPolicy, want: &Want, now: Instant) -> Vec<String> {
    let reason = |(candidate, view): (&Candidate, &NodeView)| {
        let why = match (&candidate.eligible, &view.why) {
            (_, Some(why)) => why.to_string(),
            (Err(why), None) => why.to_string(),
            (Ok(()), None) => view.health.as_str().to_owned(),
        };
        format!("{}: {why}", candidate.node.name())
    };
    explain(topology, policy, want, now).iter().zip(&topology.nodes).map(reason).collect()
}

/// The pool of the node at a place of a topology. The pools are in the order of the nodes but for the
/// moment in which some come or go.
fn pool_at<'p>(
    pools: &'p [Arc<NodePool>],
    topology: &Topology,
    index: usize,
) -> Option<&'p Arc<NodePool>> {
    let node = &topology.nodes.get(index)?.node;
    let is_its = |pool: &&Arc<NodePool>| Arc::ptr_eq(pool.node(), node);
    pools.get(index).filter(is_its).or_else(|| pools.iter().find(is_its))
}

/// What another node than the chosen one has to offer.
enum Elsewhere<'a> {
    Ready(Lease),
    Room(&'a Arc<NodePool>),
    Nothing,
}

impl std::fmt::Debug for PoolSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PoolSet")
            .field("database", &self.database())
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}
