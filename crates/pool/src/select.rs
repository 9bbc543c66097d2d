//! Which node serves: eligibility, then balance. Pure but for the nodes' own live counters (leases in
//! flight, suspicions): snapshots, wishes, the time and the dice are arguments.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_protocol::server::Drawer;

use crate::citus::COORDINATOR;
use crate::lsn::Lsn;
use crate::node::{Node, NodeId};
use crate::spec::{Balance, ReadPolicy, Reads};
use crate::topology::{FULL_SHARE, Health, NodeView, Role, Shard, Topology};

/// Nodes of a cluster, at most: as many as fit a set of bits.
pub const MAX_NODES: usize = 64;
/// How far behind the primary a replica may have been when both were asked last, to be waited for by a
/// read that the primary could serve at once.
pub(crate) const NEARLY_CAUGHT_UP: Duration = Duration::from_millis(20);
/// How long ago a write must have been that a replica which keeps up is likely to have replayed by now.
pub(crate) const LIKELY_REPLAYED: Duration = Duration::from_millis(5);
/// Weights are compared in steps of a hundredth of the greatest.
const WEIGHT_STEPS: u64 = 100;

/// What a client needs of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The primary, or whoever may serve a read.
    pub access: Access,
    /// Only the primary's own group has the database: that of the coordinator in a Citus cluster.
    pub stays_home: bool,
    /// A replica must be fresh as of this: the acknowledgement of the client's last write.
    pub fresh_after: Option<Instant>,
    /// What the client has read already; a read elsewhere must not run back behind it.
    pub seen: Option<Seen>,
    /// The primary must show whatever replicas had shown by then.
    pub announced_after: Option<Instant>,
    /// A replica must cover this position: a token from elsewhere.
    pub lsn_at_least: Option<Lsn>,
    /// Until when the read may wait for a replica that is likely to have all this and only has to be
    /// asked, before the primary serves it.
    pub patience: Option<Instant>,
    /// The node to take, if it is eligible: the client's last one, where it keeps it.
    pub prefer: Option<NodeId>,
    /// The connection that suits the client best.
    pub fit: Fit,
}

/// Which of several idle connections a client is best served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// `ServerFacts::settings_mark` of one that needs no change.
    pub settings_mark: Option<u64>,
    /// The session that is to have it: best the connection that it had last.
    pub session: Option<u32>,
    /// Whose memory of sequences it should have; others' is better left to them.
    pub drawer: Option<Drawer>,
    /// That memory is what the client is about to ask for.
    pub recalls_sequences: bool,
}

impl Fit {
    /// Any will do.
    #[must_use]
    pub const fn any() -> Self {
        Self { settings_mark: None, session: None, drawer: None, recalls_sequences: false }
    }
}

/// Where statements go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To the primary.
    Primary,
    /// To whoever may serve a read.
    Replica,
}

/// A read that a client has made: the same server in the same incarnation cannot show less; any other
/// standby must be fresh as of the time, or have passed the position, and a primary must have announced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Where it read.
    pub node: NodeId,
    /// [`Node::incarnation`] at that time.
    pub incarnation: u32,
    /// When its answer was complete.
    pub until: Instant,
    /// The timeline that the server wrote or replayed. Positions of different ones cannot be compared.
    pub timeline: Option<u32>,
    /// Where that server stood when it was asked after the answer, if it was.
    pub position: Option<Position>,
}

/// A position in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Where a primary inserted: it had shown what it had promised, and nothing else.
    Inserted(Lsn),
    /// What a standby had received: it may have shown what nobody was promised yet.
    Received(Lsn),
}

impl Seen {
    /// Whether a replica that is fresh as of this shows all that was read.
    #[must_use]
    pub fn is_shown_by(&self, topology: &Topology, view: &NodeView, fresh_as_of: Instant) -> bool {
        let is_there = (self.node, self.incarnation) == (view.node.id(), view.node.incarnation());
        let has_passed = |position: Position| match position {
            Position::Inserted(lsn) => view.covers >= Some(lsn),
            Position::Received(lsn) => view.replay_lsn >= Some(lsn),
        };
        let is_comparable = self.timeline.is_some() && self.timeline == view.timeline;
        is_there
            || fresh_as_of >= self.until
            || (is_comparable && self.position.is_some_and(has_passed))
            || (topology.primary.is_none() && is_furthest(topology, view))
    }

    /// Whether the primary is known to show all that was read, or nobody can tell.
    ///
    /// A standby that was read shows a commit before the primary does (`announced.rs`). What it had replayed
    /// on another timeline the primary of this one shows since its promotion, or it is lost.
    #[must_use]
    pub fn is_announced_by(&self, topology: &Topology, primary: &NodeView) -> bool {
        if self.node == primary.node.id() || self.timeline != primary.timeline {
            return true;
        }
        let is_there = |view: &&NodeView| view.node.incarnation() == self.incarnation;
        let there = topology.view(self.node).filter(is_there).and_then(|view| view.announced_as_of);
        there.max(topology.announced_as_of) >= Some(self.until) || !has_witness(topology, primary)
    }
}

/// Whether a standby is there that can be asked what it shows.
fn has_witness(topology: &Topology, primary: &NodeView) -> bool {
    topology.nodes.iter().any(|view| {
        view.role == Role::Replica
            && view.health.serves_reads()
            && !view.node.is_suspected()
            && view.timeline == primary.timeline
            && view.shard.is_none()
    })
}

/// Whether no other replica has replayed more. While there is no primary, what only the last one showed
/// can be seen nowhere, and may be lost; so whoever is ahead of the others serves.
fn is_furthest(topology: &Topology, view: &NodeView) -> bool {
    let others = topology.nodes.iter().filter(|other| {
        (other.role, other.health) == (Role::Replica, Health::Up) && other.timeline == view.timeline
    });
    view.replay_lsn >= others.map(|other| other.replay_lsn).max().flatten()
}

impl Want {
    /// The primary.
    #[must_use]
    pub const fn primary() -> Self {
        Self { access: Access::Primary, ..Self::replica() }
    }

    /// Whoever may serve a read, however fresh.
    #[must_use]
    pub const fn replica() -> Self {
        Self {
            access: Access::Replica,
            stays_home: false,
            fresh_after: None,
            seen: None,
            announced_after: None,
            lsn_at_least: None,
            patience: None,
            prefer: None,
            fit: Fit::any(),
        }
    }
}

/// Numbers to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice {
    /// Any number.
    pub random: u64,
    /// How many times this has been asked before.
    pub turn: u64,
}

/// Why no node can serve now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoNode {
    /// There is no primary (yet).
    NoPrimary,
    /// The primary could serve, but the client has patience, and a replica needs but a moment.
    Shortly,
    /// The primary is not known to show what the client has read on a replica.
    Unannounced,
    /// No replica is eligible, and nothing else may serve.
    NoReplica {
        /// Whether one will be by itself: it only has to catch up with this client.
        catching_up: bool,
    },
}

/// A node, and whether it could serve.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The node.
    pub node: Arc<Node>,
    /// Its role, and its group in a Citus cluster.
    pub place: (Role, Option<u32>),
    /// Whether it could, and why not.
    pub eligible: Result<(), Ineligible>,
}

/// Why a node does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ineligible {
    /// An operator took it out of service.
    Draining,
    /// It has not answered yet.
    Unknown,
    /// It does not answer.
    Down(Option<Arc<str>>),
    /// It failed a moment ago.
    Suspect(Option<Arc<str>>),
    /// Connections to it are lost again and again.
    Ejected(Option<Arc<str>>),
    /// It is not the primary.
    NotPrimary,
    /// It is no replica, or no replica of this primary.
    NotReplica(Option<Arc<str>>),
    /// It is a node of Citus that cannot answer for the cluster.
    Barred(Box<str>),
    /// It belongs to a worker of Citus, and the database is not sharded.
    NotHome,
    /// It is the primary, which does not serve reads that replicas can serve.
    Spared,
    /// It is the primary, and not known to show what the client has read on a replica.
    Unannounced,
    /// Nothing is known about its freshness (yet).
    NoFreshness(Option<Arc<str>>),
    /// It is further behind than anyone may be.
    Stale {
        /// How far.
        staleness: Duration,
        /// How far it may be.
        max_staleness: Duration,
    },
    /// It has not replayed what this client wrote or has read, as far as is known.
    BehindClient {
        /// How much older than that it is known to be.
        by: Duration,
    },
    /// It has not replayed what the client's token says.
    BehindToken {
        /// The token.
        token: Lsn,
    },
}

impl fmt::Display for Ineligible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = |words: &str, why: &Option<Arc<str>>| match why {
            Some(why) => format!("{words}: {why}"),
            None => words.to_owned(),
        };
        let text = match self {
            Self::Draining => "draining".to_owned(),
            Self::Unknown => "not asked yet".to_owned(),
            Self::Down(why) => reason("down", why),
            Self::Suspect(why) => reason("suspect", why),
            Self::Ejected(why) => reason("ejected", why),
            Self::NotPrimary => "not the primary".to_owned(),
            Self::NotReplica(why) => reason("not a replica", why),
            Self::Barred(why) => why.to_string(),
            Self::NotHome => "the database is the coordinator's alone".to_owned(),
            Self::Spared => "the primary is spared reads".to_owned(),
            Self::Unannounced => {
                "not known to show yet what this client has read on a replica".to_owned()
            }
            Self::NoFreshness(why) => reason("freshness unknown", why),
            Self::Stale { staleness, max_staleness } => {
                format!("{staleness:.1?} behind, more than max_staleness ({max_staleness:?})")
            }
            Self::BehindClient { by } => {
                format!("not known to be as fresh as this client needs: {by:.1?} older")
            }
            Self::BehindToken { token } => format!("has not replayed {token}"),
        };
        formatter.write_str(&text)
    }
}

/// Chooses the node that serves.
///
/// # Errors
/// [`NoNode`], when none can.
pub fn select(
    topology: &Topology,
    policy: &ReadPolicy,
    want: &Want,
    now: Instant,
    dice: Dice,
) -> Result<usize, NoNode> {
    if want.access == Access::Primary || policy.reads == Reads::Primary {
        return announcing_primary(topology, want);
    }
    let mut candidates = eligible_for_reads(topology, policy, want, now);
    if let Some(primary) = serving_primary(topology).filter(|_| policy.reads == Reads::Any) {
        // Its turn comes, also where it has to be asked first.
        candidates.insert(primary);
    }
    if let Some(preferred) =
        want.prefer.and_then(|node| topology.place(node)).filter(|&index| candidates.has(index))
    {
        let is_primary = topology.primary == Some(preferred);
        return if is_primary { announcing_primary(topology, want) } else { Ok(preferred) };
    }
    if keeps(topology, policy, dice)
        && let Ok(primary) = announcing_primary(topology, want)
    {
        return Ok(primary);
    }
    match balance(topology, candidates, policy.balance, dice) {
        Some(chosen) if topology.primary != Some(chosen) => return Ok(chosen),
        Some(_) => return announcing_primary(topology, want),
        None => {}
    }
    if policy.reads == Reads::ReplicasOnly {
        return Err(NoNode::NoReplica { catching_up: is_catching_up(topology, policy, want, now) });
    }
    if want.patience.is_some_and(|until| now < until) && needs_a_moment(topology, policy, want, now)
    {
        return Err(NoNode::Shortly);
    }
    announcing_primary(topology, want)
}

/// Says of every node whether it could serve, and why not.
#[must_use]
pub fn explain(
    topology: &Topology,
    policy: &ReadPolicy,
    want: &Want,
    now: Instant,
) -> Vec<Candidate> {
    let replicas = eligible_for_reads(topology, policy, want, now);
    let spared = policy.reads == Reads::ReplicasOnly
        || (policy.reads == Reads::Replicas && topology.primary_share == 0 && !replicas.is_empty());
    let judge = |index: usize, view: &NodeView| {
        let wants_primary = want.access == Access::Primary || policy.reads == Reads::Primary;
        if topology.primary == Some(index) {
            in_service(view)?;
            if !wants_primary && spared {
                return Err(Ineligible::Spared);
            }
            // Where it has only not been asked yet, it is as good as eligible.
            let is_behind = topology.is_behind_standbys() && !announces(topology, view, want);
            if is_behind { Err(Ineligible::Unannounced) } else { Ok(()) }
        } else if wants_primary {
            Err(Ineligible::NotPrimary)
        } else {
            fit_for_reads(topology, view, policy, want, now)
        }
    };
    let candidate = |(index, view): (usize, &NodeView)| Candidate {
        node: Arc::clone(&view.node),
        place: (view.role, view.shard.as_ref().map(|shard| shard.group)),
        eligible: judge(index, view),
    };
    topology.nodes.iter().enumerate().map(candidate).collect()
}

/// Every node that can serve a read beside or instead of the one that [`select`] chose.
pub(crate) fn eligible_for_reads(
    topology: &Topology,
    policy: &ReadPolicy,
    want: &Want,
    now: Instant,
) -> NodeSet {
    let mut eligible = NodeSet::default();
    if policy.reads == Reads::Primary {
        // The primary has them all, also while its connections are used up.
        return eligible;
    }
    for (index, view) in topology.nodes.iter().enumerate().take(MAX_NODES) {
        let fits = if topology.primary == Some(index) {
            policy.reads == Reads::Any
                && in_service(view).is_ok()
                && announces(topology, view, want)
        } else {
            fit_for_reads(topology, view, policy, want, now).is_ok()
        };
        if fits {
            eligible.insert(index);
        }
    }
    eligible
}

/// Whether the primary keeps a read that replicas could serve: [`Topology::primary_share`].
fn keeps(topology: &Topology, policy: &ReadPolicy, dice: Dice) -> bool {
    policy.reads == Reads::Replicas
        && dice.random.rotate_left(16) % u64::from(FULL_SHARE) < u64::from(topology.primary_share)
}

fn serving_primary(topology: &Topology) -> Option<usize> {
    topology.primary.filter(|_| topology.primary().is_some_and(|view| !view.node.is_draining()))
}

/// The primary, if it is known to show what the client was shown.
fn announcing_primary(topology: &Topology, want: &Want) -> Result<usize, NoNode> {
    let primary = serving_primary(topology).ok_or(NoNode::NoPrimary)?;
    let view = topology.nodes.get(primary).ok_or(NoNode::NoPrimary)?;
    if announces(topology, view, want) { Ok(primary) } else { Err(NoNode::Unannounced) }
}

fn announces(topology: &Topology, primary: &NodeView, want: &Want) -> bool {
    let is_announced = |at| topology.announced_as_of >= Some(at) || !has_witness(topology, primary);
    want.seen.is_none_or(|seen| seen.is_announced_by(topology, primary))
        && want.announced_after.is_none_or(is_announced)
}

fn in_service(view: &NodeView) -> Result<(), Ineligible> {
    if view.node.is_draining() { Err(Ineligible::Draining) } else { Ok(()) }
}

fn fit_for_reads(
    topology: &Topology,
    view: &NodeView,
    policy: &ReadPolicy,
    want: &Want,
    now: Instant,
) -> Result<(), Ineligible> {
    in_service(view)?;
    match (view.health, view.role) {
        (Health::Unknown, _) => return Err(Ineligible::Unknown),
        (Health::Down, _) => return Err(Ineligible::Down(view.why.clone())),
        (Health::Suspect, _) => return Err(Ineligible::Suspect(view.why.clone())),
        (Health::Ejected, _) => return Err(Ineligible::Ejected(view.why.clone())),
        (Health::Up | Health::Recovering, _) if view.node.is_suspected() => {
            return Err(Ineligible::Suspect(None));
        }
        (Health::Up | Health::Recovering, Role::Replica | Role::Worker) => {}
        (Health::Up | Health::Recovering, _) => {
            return Err(Ineligible::NotReplica(view.why.clone()));
        }
    }
    if let Some(shard) = &view.shard {
        fit_for_citus(shard, want)?;
        if view.role == Role::Worker && !shard.is_in_doubt {
            // It shows whatever has been acknowledged.
            return Ok(());
        }
    }
    let Some(fresh_as_of) = view.fresh_as_of else {
        return Err(Ineligible::NoFreshness(view.why.clone()));
    };
    let max_staleness = policy.max_staleness;
    let staleness = topology.staleness_reference(now).saturating_duration_since(fresh_as_of);
    if staleness > max_staleness {
        return Err(Ineligible::Stale { staleness, max_staleness });
    }
    let is_missing = |seen: &Seen| !seen.is_shown_by(topology, view, fresh_as_of);
    let read_until = want.seen.filter(is_missing).map(|seen| seen.until);
    if let Some(needed) = want.fresh_after.max(read_until)
        && fresh_as_of < needed
    {
        return Err(Ineligible::BehindClient { by: needed.duration_since(fresh_as_of) });
    }
    match want.lsn_at_least {
        Some(token) if view.covers < Some(token) => Err(Ineligible::BehindToken { token }),
        _ => Ok(()),
    }
}

/// Whether a node can answer for a Citus cluster.
fn fit_for_citus(shard: &Shard, want: &Want) -> Result<(), Ineligible> {
    match &shard.barred {
        Some(why) => Err(Ineligible::Barred(why.clone())),
        None if want.stays_home && shard.group != COORDINATOR => Err(Ineligible::NotHome),
        None => Ok(()),
    }
}

/// Whether a replica keeps up so well that it will serve the client as soon as it is asked: what it is
/// not known to show is what the client has read on the primary, or has not written just now.
fn needs_a_moment(topology: &Topology, policy: &ReadPolicy, want: &Want, now: Instant) -> bool {
    let is_new = |at: &Instant| now.saturating_duration_since(*at) < LIKELY_REPLAYED;
    let otherwise = Want { seen: None, fresh_after: want.fresh_after.filter(is_new), ..*want };
    let keeps_up = |view: &NodeView| {
        let behind = topology.primary_seen.zip(view.fresh_as_of);
        behind.is_some_and(|(newest, fresh)| newest.duration_since(fresh) <= NEARLY_CAUGHT_UP)
    };
    topology.nodes.iter().any(|view| {
        keeps_up(view) && fit_for_reads(topology, view, policy, &otherwise, now).is_ok()
    })
}

/// Whether a replica is only not fresh enough for this client.
fn is_catching_up(topology: &Topology, policy: &ReadPolicy, want: &Want, now: Instant) -> bool {
    topology.nodes.iter().any(|view| {
        matches!(
            fit_for_reads(topology, view, policy, want, now),
            Err(Ineligible::BehindClient { .. } | Ineligible::BehindToken { .. })
        )
    })
}

/// A set of nodes of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NodeSet(u64);

impl NodeSet {
    pub(crate) const fn insert(&mut self, index: usize) {
        if index < MAX_NODES {
            self.0 |= 1 << index;
        }
    }

    pub(crate) const fn remove(&mut self, index: usize) {
        if index < MAX_NODES {
            self.0 &= !(1 << index);
        }
    }

    pub(crate) const fn has(self, index: usize) -> bool {
        index < MAX_NODES && self.0 & (1 << index) != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn nodes(self, topology: &Topology) -> impl Iterator<Item = (usize, &NodeView)> {
        topology.nodes.iter().enumerate().filter(move |(index, _)| self.has(*index))
    }
}

/// Chooses one of a set; `None` when it is empty.
pub(crate) fn balance(
    topology: &Topology,
    set: NodeSet,
    balance: Balance,
    dice: Dice,
) -> Option<usize> {
    let set = taking_part(topology, set, dice.random);
    match balance {
        Balance::Random => draw(topology, set, dice.random),
        Balance::RoundRobin => take_turns(topology, set, dice.turn),
        Balance::LeastBusy => better_of_two(topology, set, dice.random, busyness),
        Balance::Latency => better_of_two(topology, set, dice.random, slowness),
    }
}

/// Those of a set whose turn it may be: a node that recovers takes part in so many of ten choices
/// ([`NodeView::share`]), unless nobody else does.
fn taking_part(topology: &Topology, set: NodeSet, random: u64) -> NodeSet {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut rest = set;
    for (index, view) in set.nodes(topology).filter(|(_, view)| view.share < FULL_SHARE) {
        // A number of its own for each node, and apart from those that the choice is made by.
        let salt = u64::try_from(index).unwrap_or_default() + 1;
        let lot = (random ^ salt.wrapping_mul(SPREAD)).wrapping_mul(SPREAD) >> 32;
        if lot % u64::from(FULL_SHARE) >= u64::from(view.share) {
            rest.remove(index);
        }
    }
    if rest.is_empty() { set } else { rest }
}

/// A node's share of the load relative to the others'.
fn weight(view: &NodeView) -> u64 {
    u64::from(view.node.weight())
}

/// Draws a node; its chance is its weight.
fn draw(topology: &Topology, set: NodeSet, random: u64) -> Option<usize> {
    let total: u64 = set.nodes(topology).map(|(_, view)| weight(view)).sum();
    let mut point = random.checked_rem(total)?;
    for (index, view) in set.nodes(topology) {
        match point.checked_sub(weight(view)) {
            Some(rest) => point = rest,
            None => return Some(index),
        }
    }
    None
}

/// Draws two different nodes and takes the one with the lower score, the first on a tie: nearly as
/// good as looking for the best of all, without every client finding the same one (Mitzenmacher, "The
/// Power of Two Choices in Randomized Load Balancing").
fn better_of_two(
    topology: &Topology,
    set: NodeSet,
    random: u64,
    score: impl Fn(&NodeView) -> u64,
) -> Option<usize> {
    let first = draw(topology, set, random)?;
    let mut others = set;
    others.remove(first);
    let Some(second) = draw(topology, others, random.rotate_right(32)) else {
        return Some(first);
    };
    let score_of = |index: usize| topology.nodes.get(index).map(&score);
    Some(if score_of(second) < score_of(first) { second } else { first })
}

/// Leases in flight per weight, in fixed point.
fn busyness(view: &NodeView) -> u64 {
    (u64::from(view.node.in_flight()) << 16) / weight(view)
}

/// The time that an answer takes when as many as are in flight come before it, per weight.
fn slowness(view: &NodeView) -> u64 {
    let slowness = view.slowness.map_or(0, |slowness| slowness.as_nanos());
    let queue = u128::from(view.node.in_flight()) + 1;
    let score = slowness.saturating_mul(queue) / u128::from(weight(view));
    u64::try_from(score).unwrap_or(u64::MAX)
}

/// The node whose turn it is: of a cycle as long as all weights together, in which each node comes as
/// often as its weight says and as evenly as it can.
fn take_turns(topology: &Topology, set: NodeSet, turn: u64) -> Option<usize> {
    let greatest = set.nodes(topology).map(|(_, view)| weight(view)).max()?;
    let share = |view: &NodeView| {
        let weight = weight(view);
        if greatest > WEIGHT_STEPS { (weight * WEIGHT_STEPS / greatest).max(1) } else { weight }
    };
    let cycle: u64 = set.nodes(topology).map(|(_, view)| share(view)).sum();
    let mut taken = [0_u64; MAX_NODES];
    let mut chosen = None;
    for _ in 0..=turn.checked_rem(cycle)? {
        // Next is whoever has gone through the least of its share; compared without fractions.
        let progress = |index: usize| taken.get(index).map_or(0, |taken| 2 * taken + 1);
        let next = set.nodes(topology).min_by(|(one, one_view), (other, other_view)| {
            let one = progress(*one) * share(other_view);
            one.cmp(&(progress(*other) * share(one_view)))
        });
        chosen = next.map(|(index, _)| index);
        if let Some(taken) = chosen.and_then(|index| taken.get_mut(index)) {
            *taken += 1;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::Notify;

    use super::*;
    use crate::spec::{NodeSpec, RoleHint};
    use crate::topology::Standing;

    const POLICY: ReadPolicy = ReadPolicy {
        reads: Reads::Replicas,
        balance: Balance::Random,
        max_staleness: Duration::from_secs(10),
        hold: Duration::from_secs(30),
    };

    fn view(index: usize, weight: u32, role: Role, fresh_as_of: Option<Instant>) -> NodeView {
        let host = format!("db{index}");
        let spec = NodeSpec { host, port: 5432, weight, role: RoleHint::Auto };
        let id = NodeId(u32::try_from(index).unwrap());
        NodeView {
            node: Arc::new(Node::new(id, &spec, Arc::new(Notify::new()))),
            role,
            health: Health::Up,
            timeline: Some(1),
            fresh_as_of,
            replay_lsn: Some(Lsn(1000)),
            covers: Some(Lsn(1024)),
            announced_as_of: None,
            is_ahead: false,
            share: FULL_SHARE,
            standing: Standing::Good,
            latency: Some(Duration::from_millis(1)),
            slowness: Some(Duration::from_millis(1)),
            server_version: Some(150_018),
            why: None,
            shard: None,
        }
    }

    /// A primary (node 0) and replicas of these weights, fresh as of `now`.
    fn cluster(now: Instant, weights: &[u32]) -> Topology {
        let replicas = weights
            .iter()
            .enumerate()
            .map(|(index, &weight)| view(index + 1, weight, Role::Replica, Some(now)));
        let nodes = std::iter::once(view(0, 1, Role::Primary, None)).chain(replicas).collect();
        Topology { nodes, primary: Some(0), generation: 1, known: true, ..Topology::default() }
    }

    fn dice(random: u64) -> Dice {
        Dice { random, turn: random }
    }

    fn chosen(topology: &Topology, policy: &ReadPolicy, want: &Want, now: Instant) -> Vec<usize> {
        let mut chosen: Vec<_> = (0..1000)
            .filter_map(|random| select(topology, policy, want, now, dice(random)).ok())
            .collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    #[test]
    fn each_policy_reads_where_it_says() {
        let now = Instant::now();
        let full = cluster(now, &[1, 1]);
        let lone = cluster(now, &[]);
        let mut headless = cluster(now, &[1, 1]);
        headless.primary = None;
        headless.nodes[0].health = Health::Down;
        for (reads, with_replicas, alone, without_primary) in [
            (Reads::Replicas, vec![1, 2], vec![0], vec![1, 2]),
            (Reads::ReplicasOnly, vec![1, 2], vec![], vec![1, 2]),
            (Reads::Any, vec![0, 1, 2], vec![0], vec![1, 2]),
            (Reads::Primary, vec![0], vec![0], vec![]),
        ] {
            let policy = ReadPolicy { reads, ..POLICY };
            let want = Want::replica();
            assert_eq!(chosen(&full, &policy, &want, now), with_replicas, "{reads:?}");
            assert_eq!(chosen(&lone, &policy, &want, now), alone, "{reads:?} alone");
            assert_eq!(chosen(&headless, &policy, &want, now), without_primary, "{reads:?}");
            assert_eq!(chosen(&full, &policy, &Want::primary(), now), [0], "{reads:?} write");
            assert!(chosen(&headless, &policy, &Want::primary(), now).is_empty());
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Says of a replica that was fresh a second ago, after a change, why it does not serve; nothing
    /// when it does. Selection must agree.
    fn objection(now: Instant, want: Want, change: fn(&mut NodeView)) -> String {
        let mut topology = cluster(now - SECOND, &[1]);
        change(&mut topology.nodes[1]);
        let reads = Reads::ReplicasOnly;
        let policy = ReadPolicy { reads, ..POLICY };
        let eligible = explain(&topology, &policy, &want, now).remove(1).eligible;
        let chosen = chosen(&topology, &policy, &want, now);
        assert_eq!(chosen.is_empty(), eligible.is_err(), "{eligible:?}");
        eligible.err().map_or_else(String::new, |why| why.to_string())
    }

    #[test]
    fn a_replica_that_is_not_well_does_not_serve_and_says_why() {
        let now = Instant::now() + SECOND * 100;
        let why = |change| objection(now, Want::replica(), change);
        let stale =
            |view: &mut NodeView| view.fresh_as_of = view.fresh_as_of.map(|at| at - SECOND * 20);
        for (what, got, expected) in [
            ("well", why(|_| {}), ""),
            ("draining", why(|view| view.node.drain()), "draining"),
            ("down", why(|view| view.health = Health::Down), "down"),
            ("suspect", why(|view| view.health = Health::Suspect), "suspect"),
            ("ejected", why(|view| view.health = Health::Ejected), "ejected"),
            ("recovering", why(|view| view.health = Health::Recovering), ""),
            ("suspected since", why(|view| view.node.suspect()), "suspect"),
            ("new", why(|view| view.health = Health::Unknown), "not asked yet"),
            ("fenced", why(|view| view.role = Role::Fenced), "not a replica"),
            ("unmeasured", why(|view| view.fresh_as_of = None), "freshness unknown"),
            ("stale", why(stale), "21.0s behind, more than max_staleness (10s)"),
        ] {
            assert_eq!(got, expected, "{what}");
        }
    }

    #[test]
    fn a_replica_that_is_behind_its_client_does_not_serve_and_says_why() {
        let now = Instant::now() + SECOND * 100;
        let plain = Want::replica();
        let written = |at| Want { fresh_after: Some(at), ..plain };
        let read = |node, until| {
            let (node, incarnation) = (NodeId(node), 0);
            let (timeline, position) = (Some(1), None);
            Want { seen: Some(Seen { node, incarnation, until, timeline, position }), ..plain }
        };
        let asked = |timeline, position| {
            let (node, incarnation, position) = (NodeId(0), 0, Some(position));
            let timeline = Some(timeline);
            let seen = Seen { node, incarnation, until: now, timeline, position };
            Want { seen: Some(seen), ..plain }
        };
        let (inserted, received) =
            (|lsn| Position::Inserted(Lsn(lsn)), |lsn| Position::Received(Lsn(lsn)));
        let token = |lsn| Want { lsn_at_least: Some(Lsn(lsn)), ..plain };
        let why = |want| objection(now, want, |_| {});
        let restarted = objection(now, read(1, now), |view| view.node.reincarnate());
        let behind = "not known to be as fresh as this client needs: 1.0s older";
        for (what, got, expected) in [
            ("written before", why(written(now - SECOND * 2)), ""),
            ("written just then", why(written(now - SECOND)), ""),
            ("written since", why(written(now)), behind),
            ("read from it", why(read(1, now)), ""),
            ("read from it before a restart", restarted, behind),
            ("read elsewhere since", why(read(0, now)), behind),
            ("read elsewhere before", why(read(0, now - SECOND * 2)), ""),
            ("read on a primary no further", why(asked(1, inserted(1024))), ""),
            ("read on a primary further", why(asked(1, inserted(1025))), behind),
            ("read on another timeline", why(asked(2, inserted(1000))), behind),
            ("read on a standby no further", why(asked(1, received(1000))), ""),
            (
                "read on a standby further, in what nobody was promised",
                why(asked(1, received(1001))),
                behind,
            ),
            ("at the token", why(token(1024)), ""),
            ("behind the token", why(token(1025)), "has not replayed 0/401"),
        ] {
            assert_eq!(got, expected, "{what}");
        }
    }

    #[test]
    fn a_replica_that_only_has_to_catch_up_is_worth_waiting_for() {
        let now = Instant::now();
        let policy = ReadPolicy { reads: Reads::ReplicasOnly, ..POLICY };
        let mut topology = cluster(now, &[1]);
        let want = Want { fresh_after: Some(now + Duration::from_millis(1)), ..Want::replica() };
        let refused = select(&topology, &policy, &want, now, dice(0));
        assert_eq!(refused, Err(NoNode::NoReplica { catching_up: true }));
        topology.nodes[1].health = Health::Down;
        let refused = select(&topology, &policy, &want, now, dice(0));
        assert_eq!(refused, Err(NoNode::NoReplica { catching_up: false }));
    }

    /// A client that has read on the primary until `until`.
    fn seen_on_primary(until: Instant) -> Option<Seen> {
        let (node, timeline) = (NodeId(0), Some(1));
        Some(Seen { node, incarnation: 0, until, timeline, position: None })
    }

    #[test]
    fn a_patient_read_waits_for_a_replica_that_needs_but_a_moment() {
        let now = Instant::now() + SECOND * 100;
        let probed = now - Duration::from_millis(50);
        let mut topology = cluster(probed, &[1]);
        topology.primary_seen = Some(probed);
        let patience = Some(now + Duration::from_millis(1));
        let want = Want { seen: seen_on_primary(now), patience, ..Want::replica() };
        let behind = |by| {
            let mut topology = topology.clone();
            topology.nodes[1].fresh_as_of = Some(probed - by);
            topology
        };
        for (what, topology, want, expected) in [
            ("it needs a moment", &topology, want, Err(NoNode::Shortly)),
            ("no patience left", &topology, Want { patience: Some(now), ..want }, Ok(0)),
            ("none to begin with", &topology, Want { patience: None, ..want }, Ok(0)),
            ("it lacks a new write", &topology, Want { fresh_after: Some(now), ..want }, Ok(0)),
            (
                "it may have replayed the write",
                &topology,
                Want { fresh_after: Some(now - LIKELY_REPLAYED), ..want },
                Err(NoNode::Shortly),
            ),
            ("it is far behind", &behind(NEARLY_CAUGHT_UP * 2), want, Ok(0)),
            ("it is near", &behind(NEARLY_CAUGHT_UP), want, Err(NoNode::Shortly)),
            (
                "it has what was read",
                &topology,
                Want { seen: seen_on_primary(probed), ..want },
                Ok(1),
            ),
        ] {
            assert_eq!(select(topology, &POLICY, &want, now, dice(0)), expected, "{what}");
        }
    }

    #[test]
    fn without_a_primary_the_replica_that_is_ahead_serves_whoever_has_read_on_it() {
        let now = Instant::now();
        let mut topology = cluster(now - SECOND, &[1, 1]);
        topology.nodes[2].replay_lsn = Some(Lsn(1001));
        let want = Want { seen: seen_on_primary(now), ..Want::replica() };
        assert_eq!(chosen(&topology, &POLICY, &want, now), [0]);
        topology.primary = None;
        assert_eq!(chosen(&topology, &POLICY, &want, now), [2]);
        topology.nodes[2].health = Health::Down;
        assert_eq!(chosen(&topology, &POLICY, &want, now), [1]);
    }

    #[test]
    fn staleness_stands_still_without_a_primary() {
        let seen = Instant::now();
        let now = seen + Duration::from_secs(25);
        let mut topology = cluster(seen, &[1]);
        topology.primary_seen = Some(seen);
        let policy = ReadPolicy { reads: Reads::ReplicasOnly, ..POLICY };
        assert!(chosen(&topology, &policy, &Want::replica(), now).is_empty());
        topology.primary = None;
        assert_eq!(chosen(&topology, &policy, &Want::replica(), now), [1]);
    }

    #[test]
    fn the_preferred_node_is_taken_while_it_is_eligible() {
        let now = Instant::now();
        let mut topology = cluster(now, &[1, 1, 1]);
        let want = Want { prefer: Some(NodeId(2)), ..Want::replica() };
        assert_eq!(chosen(&topology, &POLICY, &want, now), [2]);
        topology.nodes[2].health = Health::Down;
        assert_eq!(chosen(&topology, &POLICY, &want, now), [1, 3]);
    }

    #[test]
    fn the_less_busy_of_two_serves() {
        let now = Instant::now();
        let topology = cluster(now, &[1, 1]);
        topology.nodes[1].node.lease_begun();
        let policy = ReadPolicy { balance: Balance::LeastBusy, ..POLICY };
        assert_eq!(chosen(&topology, &policy, &Want::replica(), now), [2]);
        topology.nodes[2].node.lease_begun();
        assert_eq!(chosen(&topology, &policy, &Want::replica(), now), [1, 2]);
    }

    #[test]
    fn the_quicker_of_two_serves() {
        let now = Instant::now();
        let mut topology = cluster(now, &[1, 1]);
        topology.nodes[1].slowness = Some(Duration::from_millis(3));
        let policy = ReadPolicy { balance: Balance::Latency, ..POLICY };
        assert_eq!(chosen(&topology, &policy, &Want::replica(), now), [2]);
        for _ in 0..3 {
            topology.nodes[2].node.lease_begun();
        }
        assert_eq!(chosen(&topology, &policy, &Want::replica(), now), [1]);
    }

    /// How often each node is chosen, of a thousand reads that come one by one.
    fn counts(topology: &Topology, policy: &ReadPolicy) -> Vec<u32> {
        let mut counts = vec![0; topology.nodes.len()];
        let mut random = 7_u64;
        for turn in 0..1000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let dice = Dice { random: random ^ (random >> 29), turn };
            let now = Instant::now();
            counts[select(topology, policy, &Want::replica(), now, dice).unwrap()] += 1;
        }
        counts
    }

    const BALANCES: [Balance; 4] =
        [Balance::LeastBusy, Balance::RoundRobin, Balance::Random, Balance::Latency];

    #[test]
    fn a_node_that_recovers_gets_its_part_of_its_share() {
        let now = Instant::now();
        let mut topology = cluster(now, &[2, 2]);
        for (share, least, most) in [(1, 25, 85), (3, 110, 200), (10, 450, 550)] {
            topology.nodes[2].share = share;
            for balance in BALANCES {
                let policy = ReadPolicy { balance, ..POLICY };
                let counts = counts(&topology, &policy);
                assert_eq!(counts[0], 0);
                assert!((least..=most).contains(&counts[2]), "{balance:?} {share}: {counts:?}");
            }
        }
    }

    #[test]
    fn the_primary_keeps_its_part_while_it_hands_the_reads_over() {
        let now = Instant::now();
        let mut topology = cluster(now, &[1, 1]);
        topology.primary_share = 7;
        for balance in BALANCES {
            let counts = counts(&topology, &ReadPolicy { balance, ..POLICY });
            assert!((640..=760).contains(&counts[0]), "{balance:?}: {counts:?}");
        }
        let strict = ReadPolicy { reads: Reads::ReplicasOnly, ..POLICY };
        assert_eq!(counts(&topology, &strict)[0], 0);
        topology.nodes[0].node.drain();
        assert_eq!(counts(&topology, &POLICY)[0], 0);
    }

    #[test]
    fn turns_are_taken_by_weight_and_evenly() {
        let now = Instant::now();
        for (weights, expected) in [
            (vec![1, 1, 1], vec![1, 2, 3, 1, 2, 3]),
            (vec![2, 1], vec![1, 2, 1, 1, 2, 1]),
            (vec![3, 1], vec![1, 1, 2, 1, 1, 1, 2, 1]),
            (vec![2000, 1000], vec![1, 2, 1, 1, 2, 1]),
        ] {
            let topology = cluster(now, &weights);
            let policy = ReadPolicy { balance: Balance::RoundRobin, ..POLICY };
            let turns: Vec<_> = (0..expected.len() as u64)
                .map(|turn| {
                    let dice = Dice { random: 0, turn };
                    select(&topology, &policy, &Want::replica(), now, dice).unwrap()
                })
                .collect();
            assert_eq!(turns, expected, "{weights:?}");
        }
    }

    proptest! {
        /// Whatever the dice say, what is chosen is eligible; and something is chosen whenever
        /// something is eligible.
        #[test]
        fn only_the_eligible_are_chosen(
            weights in proptest::collection::vec(1..20_u32, 1..6),
            down in proptest::collection::vec(any::<bool>(), 6),
            random: u64,
            turn: u64,
            kind in 0..4_usize,
        ) {
            let now = Instant::now();
            let mut topology = cluster(now, &weights);
            for (view, down) in topology.nodes.iter_mut().skip(1).zip(&down) {
                if *down {
                    view.health = Health::Down;
                }
            }
            let balance =
                [Balance::LeastBusy, Balance::RoundRobin, Balance::Random, Balance::Latency][kind];
            let policy = ReadPolicy { balance, ..POLICY };
            let want = Want::replica();
            let index = select(&topology, &policy, &want, now, Dice { random, turn }).unwrap();
            let candidates = explain(&topology, &policy, &want, now);
            prop_assert_eq!(&candidates[index].eligible, &Ok(()));
        }

        /// Over a whole cycle every node gets exactly its share.
        #[test]
        fn a_cycle_of_turns_is_fair(weights in proptest::collection::vec(1..20_u32, 1..6)) {
            let now = Instant::now();
            let topology = cluster(now, &weights);
            let policy = ReadPolicy { balance: Balance::RoundRobin, ..POLICY };
            let mut counts = vec![0_u32; weights.len()];
            for turn in 0..u64::from(weights.iter().sum::<u32>()) {
                let dice = Dice { random: 0, turn };
                counts[select(&topology, &policy, &Want::replica(), now, dice).unwrap() - 1] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
