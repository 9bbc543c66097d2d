//! From what the servers answer to who they are: roles, health and freshness of a whole cluster.
//! Pure: the monitor brings answers and failures, the tracker keeps score and draws the [`Topology`].
//!
//! Roles come from asking. Of several servers that say they are the primary, the one with the higher
//! timeline wins, for that is the one that was promoted; the others are fenced and get no write. What
//! a server said last stands while it is away: an old primary that returns in the meantime does not
//! get writes that would be lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::announced::{Announced, Baseline, Standby, Word};
use crate::condition::{Condition, SLOW_START, share_over};
use crate::freshness::{Freshness, PrimaryPosition};
use crate::lsn::{Lsn, WalLayout};
use crate::node::{Node, NodeId};
use crate::spec::RoleHint;
use crate::topology::{FULL_SHARE, Health, NodeView, Role, Standing, Topology};

/// Of the replicas that serve, those that are ejected for the connections that are lost to them are at
/// most one in so many: what befalls all of them is no fault of one.
pub(crate) const EJECTED_SHARE: usize = 2;
/// Time in which a slow answer is half forgotten.
const SLOWNESS_HALF_LIFE: Duration = Duration::from_secs(5);

/// A probe that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) answer: Answer,
    /// From the question to the answer.
    pub(crate) latency: Duration,
    pub(crate) server: ServerInfo,
    /// Connections to it were reported lost just before.
    pub(crate) is_troubled: bool,
    /// What it says of the transactions that it shows.
    pub(crate) word: Option<Word>,
}

impl Observation {
    /// When a primary was asked.
    pub(crate) const fn asked_at(&self) -> Option<Instant> {
        match &self.answer {
            Answer::Primary { position, .. } => Some(position.asked_at),
            Answer::Replica { .. } => None,
        }
    }

    /// Whether the server says that it is a replica.
    pub(crate) const fn is_of_replica(&self) -> bool {
        matches!(self.answer, Answer::Replica { .. })
    }
}

/// What a server says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Primary {
        timeline: u32,
        position: PrimaryPosition,
    },
    /// `replay` is absent before the first record, the timeline where the monitor may not see it.
    Replica {
        timeline: Option<u32>,
        replay: Option<Lsn>,
    },
}

/// What seldom changes about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    /// `server_version_num`.
    pub(crate) version: i32,
    /// The system identifier, which a primary shares with its standbys; absent where the monitor may
    /// not see it.
    pub(crate) system: Option<i64>,
    pub(crate) layout: WalLayout,
    pub(crate) wal_writer_delay: Duration,
    /// Connections that roles without privileges may have.
    pub(crate) connection_limit: u32,
}

/// A probe that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Refused, or shutting down, or the monitor is not let in: waiting for more of it is no use.
    Gone(String),
    /// No answer in time, or no way to it.
    Silent(String),
    /// It lives, and has no connection to spare for the question.
    Crowded(String),
}

/// The score of a cluster.
#[derive(Debug)]
pub(crate) struct Tracker {
    nodes: Vec<Record>,
    /// Every node was heard once: those that join later do not undo what was found out.
    is_settled: bool,
    reign: Option<Reign>,
    readers: Readers,
    /// The time of the last news.
    now: Instant,
    generation: u64,
    drawn: Vec<Drawn>,
}

/// What of a node a generation stands for: which it is, its role, its health, what its silence means,
/// whether it is out of service.
type Drawn = (NodeId, Role, Health, Standing, bool);

/// Whether replicas serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// None ever has.
    NotYet,
    /// Some do; how they got the reads back, if none had before.
    Serve(Option<HandOver>),
    /// None does any more, since then: the primary has it all.
    Gone(Instant),
}

/// How the primary gives reads back: for as long as it had them all, at most [`SLOW_START`]. One probe
/// that all replicas have missed leaves no cache cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HandOver {
    since: Instant,
    over: Duration,
}

impl HandOver {
    /// Since when nobody but the primary has served, when that begins again now: what it still kept counts.
    fn interrupted(self, now: Instant) -> Instant {
        let left = self.over.saturating_sub(now.saturating_duration_since(self.since));
        now.checked_sub(left).unwrap_or(now)
    }
}

/// What one node said last.
#[derive(Debug)]
struct Record {
    node: Arc<Node>,
    condition: Condition,
    said: Option<Observation>,
    slowness: Option<Slowness>,
    error: Option<Arc<str>>,
    fresh_as_of: Option<Instant>,
    covers: Option<Lsn>,
    /// What it has shown, as compared with the reigning primary.
    standby: Standby,
}

/// The rule of one primary, and what was written under it. It outlives the primary's health, and its
/// place in the cluster.
#[derive(Debug)]
struct Reign {
    /// `None` when the node has been taken out of the cluster.
    node: Option<usize>,
    timeline: u32,
    system: Option<i64>,
    marks: Freshness,
    position: PrimaryPosition,
    announced: Announced,
}

impl Tracker {
    pub(crate) fn new(nodes: &[Arc<Node>]) -> Self {
        let mut tracker = Self {
            nodes: nodes.iter().map(Record::new).collect(),
            is_settled: false,
            reign: None,
            readers: Readers::NotYet,
            now: Instant::now(),
            generation: 0,
            drawn: Vec::new(),
        };
        // What everybody begins with: the first answer is news then, an only node's too.
        tracker.draw();
        tracker
    }

    /// Takes over a new list of nodes: those that stay keep what is known of them.
    pub(crate) fn adopt(&mut self, nodes: &[Arc<Node>]) {
        let mut before = std::mem::take(&mut self.nodes);
        let reigning = self.reign.as_ref().and_then(|reign| before.get(reign.node?));
        let reigning = reigning.map(|record| record.node.id());
        for node in nodes {
            let known = before.iter().position(|record| Arc::ptr_eq(&record.node, node));
            let record = known.map(|index| before.swap_remove(index));
            self.nodes.push(record.unwrap_or_else(|| Record::new(node)));
        }
        let place = reigning.and_then(|node| self.place(node));
        if let Some(reign) = &mut self.reign {
            reign.node = place;
        }
        // Nobody is left who was heard: as at the start, nobody is believed before all have been.
        self.is_settled &=
            self.nodes.iter().any(|record| record.condition.health() != Health::Unknown);
        if !self.is_settled {
            self.reign = None;
        }
        self.settle();
    }

    /// Whether it tracks these nodes, in this order.
    pub(crate) fn is_of(&self, nodes: &[Arc<Node>]) -> bool {
        let known = self.nodes.iter().map(|record| &record.node);
        known.len() == nodes.len() && known.zip(nodes).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// A node's place.
    pub(crate) fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|record| record.node.id() == node)
    }

    /// Takes what came of a probe of one node, as of now.
    pub(crate) fn record(
        &mut self,
        index: usize,
        outcome: Result<Observation, Failure>,
        now: Instant,
    ) {
        let is_latecomer = self.is_settled;
        let Some(record) = self.nodes.get_mut(index) else {
            return;
        };
        self.now = self.now.max(now);
        let mut word = None;
        match outcome {
            Ok(mut observation) => {
                word = observation.word.take();
                record.pass(observation, is_latecomer, self.now);
            }
            Err(failure) => record.fail(failure, self.now),
        }
        self.settle();
        self.mark(index);
        // A standby said what it shows before it said what it has replayed.
        if let Some(word) = word {
            self.hear(index, word);
        }
        self.measure();
        self.eject(index);
        self.count_readers();
    }

    /// Takes what one node says of the transactions that it shows. Tells whether the primary is now known to
    /// show more of what standbys have shown.
    pub(crate) fn hear(&mut self, index: usize, word: Word) -> bool {
        let Some(record) = self.nodes.get(index) else { return false };
        let (timeline, is_comparable) = (record.timeline(), self.mismatch(record).is_none());
        let Some(reign) = &mut self.reign else { return false };
        match word {
            Word::Shown(shown) if (reign.node, Some(reign.timeline)) == (Some(index), timeline) => {
                let baseline = Baseline { timeline: reign.timeline, shown };
                let standbys = self.nodes.iter_mut().map(|record| &mut record.standby);
                reign.announced.show(baseline, standbys)
            }
            Word::Lead(lead) if is_comparable => {
                let record = self.nodes.get_mut(index);
                record.is_some_and(|record| {
                    reign.announced.lead(&mut record.standby, lead, record.fresh_as_of)
                })
            }
            Word::Shown(_) | Word::Lead(_) => false,
        }
    }

    /// What the reigning primary showed last.
    pub(crate) fn baseline(&self) -> Option<Arc<Baseline>> {
        self.reign.as_ref()?.announced.baseline().cloned()
    }

    /// The nodes that need not be asked in a round that begins now. Those that are down can wait, as
    /// long as there is a primary.
    pub(crate) fn spared(&self, now: Instant) -> Vec<NodeId> {
        if self.reigning().is_none() {
            return Vec::new();
        }
        let spared = self.nodes.iter().filter(|record| !record.condition.is_due(now));
        spared.map(|record| record.node.id()).collect()
    }

    /// Ejects a replica to which connections are lost again and again, if enough others serve.
    fn eject(&mut self, index: usize) {
        let serve = |record: &&Record| record.serves_reads();
        let ejected = |record: &&Record| record.condition.health() == Health::Ejected;
        let ejected = self.nodes.iter().filter(ejected).count();
        let serving = self.nodes.iter().filter(serve).count();
        let has_room = ejected < (serving + ejected) / EJECTED_SHARE;
        let Some(record) = self.nodes.get_mut(index) else {
            return;
        };
        if has_room && record.serves_reads() && record.condition.is_outlier(self.now) {
            let length = record.condition.eject(self.now);
            let why = format!("answers, but connections to it are lost: left alone for {length:?}");
            record.error = Some(Arc::from(why));
        }
    }

    /// Notices when the last replica stops serving, and when the first one does again.
    fn count_readers(&mut self) {
        let serves = self.nodes.iter().any(|record| {
            // One that is slow to answer for a moment has not lost what it has in its caches.
            record.is_replica() && record.serves() && record.fresh_as_of.is_some()
        });
        self.readers = match (self.readers, serves) {
            (Readers::NotYet, true) => Readers::Serve(None),
            (Readers::Gone(from), true) => {
                let over = self.now.saturating_duration_since(from).min(SLOW_START);
                Readers::Serve(Some(HandOver { since: self.now, over }))
            }
            (Readers::Serve(last), false) => {
                Readers::Gone(last.map_or(self.now, |last| last.interrupted(self.now)))
            }
            (readers, _) => readers,
        };
    }

    /// The part of the reads that the primary keeps.
    fn primary_share(&self) -> u32 {
        match self.readers {
            Readers::Serve(Some(HandOver { since, over })) => {
                FULL_SHARE - share_over(since, over, self.now)
            }
            _ => 0,
        }
    }

    /// Decides who reigns, once every node has been heard.
    fn settle(&mut self) {
        self.is_settled |= self.is_known();
        self.enthrone();
    }

    /// Draws the snapshot. Its generation grows when something that matters has changed since.
    pub(crate) fn draw(&mut self) -> Topology {
        let known = self.is_known();
        let primary = self.reigning();
        let nodes: Vec<NodeView> =
            (0..self.nodes.len()).filter_map(|index| self.view(index, primary)).collect();
        let drawn: Vec<Drawn> = nodes.iter().map(Self::stamp).collect();
        if drawn != self.drawn {
            self.generation += 1;
            self.drawn = drawn;
        }
        Topology {
            nodes,
            primary,
            generation: self.generation,
            known,
            primary_seen: self.reign.as_ref().and_then(|reign| reign.marks.newest()),
            primary_lsn: self.reign.as_ref().map(|reign| reign.position.insert),
            primary_share: self.primary_share(),
            announced_as_of: self.reign.as_ref().and_then(|reign| reign.announced.as_of),
        }
    }

    fn stamp(view: &NodeView) -> Drawn {
        (view.node.id(), view.role, view.health, view.standing, view.node.is_draining())
    }

    /// Whether every replica that answers is fresh as of `at`, or there is nothing to wait for.
    pub(crate) fn all_fresh_as_of(&self, at: Instant) -> bool {
        let Some(primary) = self.reigning() else {
            return true;
        };
        self.nodes.iter().enumerate().all(|(index, record)| {
            index == primary
                || !record.condition.health().serves_reads()
                || self.mismatch(record).is_some()
                || record.fresh_as_of.is_some_and(|fresh| fresh >= at)
        })
    }

    /// Whether a node is being watched more closely: it has just failed, or just come back.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.nodes.iter().any(|record| {
            let is_up = record.condition.health().serves_reads();
            record.condition.is_uncertain() || (is_up && record.node.is_suspected())
        })
    }

    fn is_known(&self) -> bool {
        self.nodes.iter().all(|record| record.condition.health() != Health::Unknown)
    }

    /// The reigning primary, while it may be written to.
    fn reigning(&self) -> Option<usize> {
        let reign = self.reign.as_ref().filter(|_| self.is_settled)?;
        let node = reign.node?;
        let record = self.nodes.get(node)?;
        let timeline = record.claim()?;
        let holds = record.serves() && timeline == reign.timeline && !self.is_outdated(record);
        holds.then_some(node)
    }

    /// The highest timeline that a node of the same system is known to be on, or that was written by
    /// one that has been taken out of the cluster. A node that may only be a replica proves nothing
    /// by what it became by accident.
    fn highest_timeline(&self, record: &Record) -> Option<u32> {
        let kin = self.nodes.iter().filter(|other| other.system() == record.system());
        let known = kin
            .filter(|other| other.node.hint() != RoleHint::Replica)
            .filter_map(Record::timeline)
            .max();
        let reign = self.reign.as_ref();
        let written = reign.filter(|reign| Some(reign.system) == record.system());
        known.max(written.map(|reign| reign.timeline))
    }

    fn is_outdated(&self, record: &Record) -> bool {
        record.timeline() < self.highest_timeline(record)
    }

    /// How many nodes are known to be of a system, by what they have said last.
    fn kin(&self, system: i64) -> usize {
        self.nodes.iter().filter(|node| node.system().flatten() == Some(system)).count()
    }

    /// The other system that is the cluster's, where a node belongs to none that could be: that of the
    /// last primary, until it is outnumbered; before there was one, any with more nodes. Whoever wrote to
    /// a stranger in the absence of the primary would find it acknowledged in the wrong database.
    fn stranger_to(&self, record: &Record) -> Option<i64> {
        let system = record.system().flatten()?;
        let own = self.kin(system);
        let reigned = self.reign.as_ref().and_then(|reign| reign.system);
        let others = self.nodes.iter().filter_map(|node| node.system().flatten());
        let mut others = others.filter(|other| *other != system);
        others.find(|other| match reigned {
            Some(reigned) if self.kin(reigned) > 0 => *other == reigned && self.kin(*other) >= own,
            _ => self.kin(*other) > own,
        })
    }

    /// Lets the node with the best claim reign.
    fn enthrone(&mut self) {
        if !self.is_settled {
            return;
        }
        let best = (0..self.nodes.len())
            .filter_map(|index| Some((self.claim(index)?, index)))
            .max_by_key(|&(claim, index)| (claim, std::cmp::Reverse(index)));
        let Some((_, index)) = best else { return };
        let Some(record) = self.nodes.get(index) else {
            return;
        };
        let Some(observation) = &record.said else {
            return;
        };
        let Answer::Primary { timeline, position } = &observation.answer else {
            return;
        };
        let server = &observation.server;
        let continues = self.reign.as_mut().is_some_and(|reign| {
            reign.is_continued(index, *timeline, server.system, position.insert)
        });
        if !continues {
            let system = server.system;
            let mut marks = Freshness::new(server.layout, server.wal_writer_delay);
            marks.mark(*position);
            let (timeline, position) = (*timeline, *position);
            let node = Some(index);
            let announced = Announced::default();
            self.nodes.iter_mut().for_each(|record| record.standby = Standby::default());
            self.reign = Some(Reign { node, timeline, system, marks, position, announced });
        }
    }

    /// How good a node's claim to be the primary is: first how many nodes belong to its system, then
    /// its timeline, then whether it reigns already (so that two equals do not take turns), then its
    /// position. `None` when it has no claim.
    fn claim(&self, index: usize) -> Option<(usize, u32, bool, Lsn)> {
        let record = self.nodes.get(index)?;
        let may_claim = record.serves() && !self.is_outdated(record);
        let timeline = record.claim().filter(|_| may_claim)?;
        if self.stranger_to(record).is_some() {
            return None;
        }
        let Answer::Primary { position, .. } = &record.said.as_ref()?.answer else {
            return None;
        };
        let kin = record.system().flatten().map_or(0, |system| self.kin(system));
        let reigns = self.reign.as_ref().is_some_and(|reign| reign.node == Some(index));
        Some((kin, timeline, reigns, position.insert))
    }

    /// Marks the reigning primary's position, when it is the one that answered.
    fn mark(&mut self, index: usize) {
        let Some(reign) = &mut self.reign else { return };
        let said = self.nodes.get(index).and_then(|record| record.said.as_ref());
        let Some(observation) = said.filter(|_| reign.node == Some(index)) else {
            return;
        };
        if let Answer::Primary { timeline, position } = &observation.answer
            && *timeline == reign.timeline
        {
            let server = &observation.server;
            reign.marks.set_layout(server.layout, server.wal_writer_delay);
            reign.marks.mark(*position);
            reign.position = *position;
        }
    }

    /// Measures every replica against the marks.
    fn measure(&mut self) {
        for index in 0..self.nodes.len() {
            let measured = self.nodes.get(index).and_then(|record| {
                let marks = &self.reign.as_ref()?.marks;
                let replay = record.said.as_ref()?.answer.replay()?;
                let is_comparable = self.mismatch(record).is_none();
                is_comparable.then(|| (marks.fresh_as_of(replay), marks.covers(replay)))
            });
            if let Some(record) = self.nodes.get_mut(index) {
                let fresh_as_of = measured.and_then(|(fresh_as_of, _)| fresh_as_of);
                record.fresh_as_of = fresh_as_of;
                record.covers = measured.map(|(_, covers)| covers);
                if record.is_replica() && fresh_as_of.is_none() {
                    record.condition.keep_waiting(self.now);
                }
            }
        }
    }

    /// Why a replica's position cannot be compared with the primary's; `None` when it can.
    fn mismatch(&self, record: &Record) -> Option<String> {
        let reign = self.reign.as_ref()?;
        if !matches!(record.said.as_ref()?.answer, Answer::Replica { .. }) {
            return None;
        }
        if let (Some(own), Some(primary)) = (record.system().flatten(), reign.system)
            && own != primary
        {
            return Some(is_of_another_cluster(own, primary));
        }
        match record.timeline() {
            None => Some("its timeline is hidden: grant pg_monitor to the monitor role".to_owned()),
            Some(own) if own != reign.timeline => Some(format!(
                "replays timeline {own}, while the primary writes timeline {}",
                reign.timeline
            )),
            Some(_) => None,
        }
    }

    fn view(&self, index: usize, primary: Option<usize>) -> Option<NodeView> {
        let record = self.nodes.get(index)?;
        let (role, objection) = self.role(index, record, primary);
        let health = match record.condition.health() {
            Health::Up | Health::Recovering if record.node.is_suspected() => Health::Suspect,
            health => health,
        };
        let why = record.error.clone().or_else(|| objection.map(Arc::from));
        let said = record.said.as_ref();
        Some(NodeView {
            node: Arc::clone(&record.node),
            role,
            health,
            timeline: record.timeline(),
            fresh_as_of: if role == Role::Replica { record.fresh_as_of } else { None },
            covers: if role == Role::Replica { record.covers } else { None },
            announced_as_of: record.standby.as_of,
            is_ahead: record.standby.is_ahead(),
            replay_lsn: said.and_then(|observation| observation.answer.replay()),
            share: record.condition.share(self.now),
            standing: self.standing(index, record),
            latency: said.map(|observation| observation.latency),
            slowness: record.slowness.map(Slowness::duration),
            server_version: said.map(|observation| observation.server.version),
            why,
            shard: None,
        })
    }

    /// What a node's silence means to those who are at work there. Where nobody answers it is more
    /// likely that pgweir itself is cut off, and there is nowhere to go; a primary has no substitute.
    fn standing(&self, index: usize, record: &Record) -> Standing {
        let answers = |other: &Record| {
            other.condition.answers() && other.condition.standing(self.now) == Standing::Good
        };
        let is_substitutable = self.reign.as_ref().is_none_or(|reign| reign.node != Some(index))
            && self.nodes.iter().any(answers);
        match record.condition.standing(self.now) {
            Standing::Silent if !is_substitutable => Standing::Good,
            standing => standing,
        }
    }

    /// A node's role, and what speaks against its serving in the one that it claims.
    fn role(
        &self,
        index: usize,
        record: &Record,
        primary: Option<usize>,
    ) -> (Role, Option<String>) {
        let Some(said) = &record.said else {
            return (Role::Unknown, None);
        };
        match (&said.answer, record.node.hint()) {
            (Answer::Replica { .. }, RoleHint::Primary) => {
                (Role::Fenced, Some("is a standby, but configured as a primary".to_owned()))
            }
            (Answer::Replica { .. }, _) => (Role::Replica, self.mismatch(record)),
            (Answer::Primary { .. }, RoleHint::Replica) => {
                (Role::Fenced, Some("is a primary, but configured as a replica".to_owned()))
            }
            (Answer::Primary { .. }, _) if primary == Some(index) => (Role::Primary, None),
            (Answer::Primary { timeline, .. }, _) => self.rank(index, record, *timeline),
        }
    }

    /// The role of a node that says it is the primary while it does not serve as one.
    fn rank(&self, index: usize, record: &Record, timeline: u32) -> (Role, Option<String>) {
        if self.is_outdated(record) {
            let highest = self.highest_timeline(record).unwrap_or_default();
            let why = format!("writes timeline {timeline}, but timeline {highest} exists");
            return (Role::Fenced, Some(why));
        }
        if let (Some(own), Some(system)) = (record.system().flatten(), self.stranger_to(record)) {
            return (Role::Fenced, Some(is_of_another_cluster(own, system)));
        }
        match self.reigning().and_then(|reigning| self.nodes.get(reigning)) {
            Some(other) => {
                let why = format!("says that it is the primary, but {} is", other.node.name());
                (Role::Fenced, Some(why))
            }
            None if self.reign.as_ref().is_some_and(|reign| reign.node == Some(index)) => {
                (Role::Primary, None)
            }
            None if self.is_settled && record.serves() => (Role::Fenced, None),
            None => (Role::Primary, None),
        }
    }
}

fn is_of_another_cluster(own: i64, system: i64) -> String {
    format!("belongs to another cluster: system {own}, not {system}")
}

impl Reign {
    /// Whether it is the rule of this node: it was so far, or the node takes the place of one that
    /// was taken out of the cluster, and writes the same log on. Such is a server that is reached at
    /// another address from now on; what is known of its standbys stays true.
    fn is_continued(
        &mut self,
        node: usize,
        timeline: u32,
        system: Option<i64>,
        insert: Lsn,
    ) -> bool {
        if (self.timeline, self.system) != (timeline, system) {
            return false;
        }
        let writes_on = system.is_some() && insert >= self.position.insert;
        if self.node.is_none() && writes_on {
            self.node = Some(node);
        }
        self.node == Some(node)
    }
}

impl Record {
    fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            condition: Condition::new(),
            said: None,
            slowness: None,
            error: None,
            fresh_as_of: None,
            covers: None,
            standby: Standby::default(),
        }
    }

    fn pass(&mut self, observation: Observation, is_latecomer: bool, now: Instant) {
        if self.said.as_ref().is_some_and(|before| observation.answer.runs_back(&before.answer)) {
            self.node.reincarnate();
            self.fresh_as_of = None;
        }
        self.condition.pass(now, observation.is_troubled, is_latecomer);
        self.slowness = Some(Slowness::after(self.slowness, observation.latency, now));
        self.said = Some(observation);
        if !matches!(self.condition.health(), Health::Down | Health::Ejected) {
            self.error = None;
        }
    }

    fn fail(&mut self, failure: Failure, now: Instant) {
        self.condition.fail(now, &failure);
        let (Failure::Gone(error) | Failure::Silent(error) | Failure::Crowded(error)) = failure;
        self.error = Some(Arc::from(error));
        if self.condition.health() == Health::Down {
            self.node.reincarnate();
        }
    }

    /// Whether the node may serve at all.
    const fn serves(&self) -> bool {
        self.condition.answers()
    }

    fn is_replica(&self) -> bool {
        let said = self.said.as_ref().map(|said| &said.answer);
        matches!(said, Some(Answer::Replica { .. })) && self.node.hint() != RoleHint::Primary
    }

    fn serves_reads(&self) -> bool {
        self.is_replica() && self.condition.health().serves_reads()
    }

    fn timeline(&self) -> Option<u32> {
        match &self.said.as_ref()?.answer {
            Answer::Primary { timeline, .. } => Some(*timeline),
            Answer::Replica { timeline, .. } => *timeline,
        }
    }

    fn system(&self) -> Option<Option<i64>> {
        self.said.as_ref().map(|observation| observation.server.system)
    }

    /// Its timeline, when it says that it is a primary and may be one.
    fn claim(&self) -> Option<u32> {
        if self.node.hint() == RoleHint::Replica {
            return None;
        }
        match &self.said.as_ref()?.answer {
            Answer::Primary { timeline, .. } => Some(*timeline),
            Answer::Replica { .. } => None,
        }
    }
}

/// How long a node's answers take: the slowest of late, forgotten by halves ("peak EWMA": one slow
/// answer is believed at once, one quick one is not).
#[derive(Debug, Clone, Copy)]
struct Slowness {
    nanos: f64,
    as_of: Instant,
}

impl Slowness {
    fn after(before: Option<Self>, latency: Duration, now: Instant) -> Self {
        let latency = latency.as_secs_f64() * 1e9;
        let Some(before) = before else {
            return Self { nanos: latency, as_of: now };
        };
        let kept = before.kept(now);
        let mixed = before.nanos.mul_add(kept, latency * (1.0 - kept));
        Self { nanos: latency.max(mixed), as_of: now }
    }

    /// What part of it is not forgotten.
    fn kept(self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.as_of).as_secs_f64();
        (-age / SLOWNESS_HALF_LIFE.as_secs_f64()).exp2()
    }

    fn duration(self) -> Duration {
        Duration::from_secs_f64(self.nanos / 1e9)
    }
}

impl Answer {
    fn replay(&self) -> Option<Lsn> {
        match self {
            Self::Primary { .. } => None,
            Self::Replica { replay, .. } => *replay,
        }
    }

    /// Whether what the server shows may have run back since `before`: it replays less.
    fn runs_back(&self, before: &Self) -> bool {
        match (before, self) {
            (Self::Replica { replay: before, .. }, Self::Replica { replay: now, .. }) => {
                now < before
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::freshness::DEFAULT_WAL_WRITER_DELAY;
    use crate::spec::NodeSpec;

    struct Scene {
        tracker: Tracker,
        now: Instant,
    }

    fn info(system: i64) -> ServerInfo {
        ServerInfo {
            version: 150_018,
            system: Some(system),
            layout: WalLayout::default(),
            wal_writer_delay: DEFAULT_WAL_WRITER_DELAY,
            connection_limit: 97,
        }
    }

    fn node(number: u32, role: RoleHint) -> Arc<Node> {
        let spec = NodeSpec { host: format!("db{number}"), port: 5432, weight: 1, role };
        Arc::new(Node::new(NodeId(number), &spec, Arc::new(Notify::new())))
    }

    impl Scene {
        fn new(hints: &[RoleHint]) -> Self {
            let nodes: Vec<_> =
                (0..).zip(hints).map(|(number, &role)| node(number, role)).collect();
            Self { tracker: Tracker::new(&nodes), now: Instant::now() }
        }

        /// Takes over a list of nodes by their numbers; those that are not there yet are new.
        fn adopt(&mut self, numbers: &[u32]) {
            let known = |number| {
                let place = self.tracker.place(NodeId(number))?;
                Some(Arc::clone(&self.tracker.nodes[place].node))
            };
            let nodes: Vec<_> = numbers
                .iter()
                .map(|&number| known(number).unwrap_or_else(|| node(number, AUTO)))
                .collect();
            self.tracker.adopt(&nodes);
        }

        fn tick(&mut self) -> Instant {
            self.now += Duration::from_millis(100);
            self.now
        }

        fn observe(&mut self, index: usize, answer: Answer, system: i64) {
            let latency = Duration::from_millis(1);
            let server = info(system);
            let observation =
                Observation { answer, latency, server, is_troubled: false, word: None };
            self.tracker.record(index, Ok(observation), self.now);
        }

        fn primary(&mut self, index: usize, timeline: u32, end: u64) -> Instant {
            self.primary_of(index, timeline, end, 7)
        }

        fn primary_of(&mut self, index: usize, timeline: u32, end: u64, system: i64) -> Instant {
            let asked_at = self.tick();
            let (answered_at, insert, flush) = (asked_at, Lsn(end), Lsn(end));
            let position = PrimaryPosition { asked_at, answered_at, insert, flush };
            self.observe(index, Answer::Primary { timeline, position }, system);
            asked_at
        }

        fn replica(&mut self, index: usize, timeline: u32, replay: u64) {
            self.tick();
            let answer = Answer::Replica { timeline: Some(timeline), replay: Some(Lsn(replay)) };
            self.observe(index, answer, 7);
        }

        fn gone(&mut self, index: usize) {
            let failure = Failure::Gone("connection refused".to_owned());
            self.tracker.record(index, Err(failure), self.now);
        }

        fn silent(&mut self, index: usize) {
            let failure = Failure::Silent("no answer within 1s".to_owned());
            self.tracker.record(index, Err(failure), self.now);
        }

        fn roles(&mut self) -> (Option<usize>, Vec<Role>) {
            let topology = self.tracker.draw();
            (topology.primary, topology.nodes.iter().map(|view| view.role).collect())
        }

        fn health(&mut self, index: usize) -> Health {
            self.tracker.draw().nodes[index].health
        }

        fn fresh(&mut self, index: usize) -> Option<Instant> {
            self.tracker.draw().nodes[index].fresh_as_of
        }
    }

    const AUTO: RoleHint = RoleHint::Auto;

    #[test]
    fn nobody_is_primary_before_every_node_was_heard() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        assert_eq!(scene.roles().0, None);
        scene.primary(1, 2, 50);
        assert_eq!(scene.roles(), (Some(1), vec![Role::Fenced, Role::Primary]));
    }

    #[test]
    fn a_node_that_does_not_answer_does_not_keep_the_others_waiting() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.silent(1);
        assert_eq!(scene.roles(), (Some(0), vec![Role::Primary, Role::Unknown]));
    }

    #[test]
    fn a_promotion_moves_the_primary_and_the_old_one_is_fenced_when_it_returns() {
        let mut scene = Scene::new(&[AUTO; 3]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.replica(2, 1, 100);
        assert_eq!(scene.roles().0, Some(0));
        scene.gone(0);
        assert_eq!(scene.roles().0, None);
        scene.primary(1, 2, 100);
        assert_eq!(scene.roles().0, Some(1));
        assert_eq!(scene.fresh(2), None, "it does not follow the new timeline yet");
        scene.primary(0, 1, 900);
        scene.primary(0, 1, 900);
        assert_eq!(scene.roles(), (Some(1), vec![Role::Fenced, Role::Primary, Role::Replica]));
        // The new primary dies; the old one still gets no write.
        scene.gone(1);
        scene.primary(0, 1, 950);
        assert_eq!(scene.roles().0, None);
        // It comes back as a standby of the new one.
        scene.primary(1, 2, 200);
        scene.primary(1, 2, 200);
        scene.replica(0, 2, 200);
        assert_eq!(scene.roles(), (Some(1), vec![Role::Replica, Role::Primary, Role::Replica]));
        assert!(scene.fresh(0).is_some());
    }

    #[test]
    fn two_equal_primaries_do_not_take_turns() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.primary(1, 1, 200);
        assert_eq!(scene.roles().0, Some(1), "at first the position decides");
        scene.primary(0, 1, 300);
        assert_eq!(scene.roles().0, Some(1));
        scene.primary(1, 1, 250);
        assert_eq!(scene.roles(), (Some(1), vec![Role::Fenced, Role::Primary]));
    }

    #[test]
    fn hints_restrict_what_a_node_may_become() {
        let mut scene = Scene::new(&[AUTO, RoleHint::Replica, RoleHint::Primary]);
        scene.primary(0, 1, 100);
        scene.primary(1, 5, 900);
        scene.replica(2, 1, 100);
        let expected = vec![Role::Primary, Role::Fenced, Role::Fenced];
        assert_eq!(scene.roles(), (Some(0), expected), "nor does its timeline fence anybody");
    }

    #[test]
    fn a_stray_server_of_another_system_does_not_reign_when_the_primary_is_gone() {
        let mut scene = Scene::new(&[AUTO; 3]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.primary_of(2, 9, 900, 8);
        assert_eq!(scene.roles(), (Some(0), vec![Role::Primary, Role::Replica, Role::Fenced]));
        scene.gone(0);
        scene.primary_of(2, 9, 950, 8);
        assert_eq!(scene.roles().0, None);
        let topology = scene.tracker.draw();
        let why = topology.nodes[2].why.as_deref().unwrap();
        assert_eq!(why, "belongs to another cluster: system 8, not 7");
        assert_eq!(topology.nodes[1].why, None, "the replica goes on");
        scene.primary(1, 2, 100);
        assert_eq!(scene.roles().0, Some(1));
    }

    #[test]
    fn a_stray_server_does_not_reign_where_replicas_without_a_primary_outnumber_it() {
        let mut scene = Scene::new(&[AUTO; 3]);
        scene.primary_of(0, 9, 900, 8);
        scene.replica(1, 1, 100);
        scene.replica(2, 1, 100);
        assert_eq!(scene.roles().0, None);
    }

    #[test]
    fn a_cluster_that_was_made_anew_is_believed_when_most_nodes_are_of_it() {
        let mut scene = Scene::new(&[AUTO; 3]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.replica(2, 1, 100);
        (0..3).for_each(|index| scene.gone(index));
        scene.primary_of(0, 1, 10, 8);
        assert_eq!(scene.roles().0, None, "two of the old one may come back");
        scene.primary_of(1, 1, 10, 8);
        scene.primary_of(0, 1, 10, 8);
        assert!(scene.roles().0.is_some());
    }

    #[test]
    fn a_stray_server_of_another_system_does_not_win_by_its_timeline() {
        let mut scene = Scene::new(&[AUTO; 3]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.primary_of(2, 9, 900, 8);
        assert_eq!(scene.roles(), (Some(0), vec![Role::Primary, Role::Replica, Role::Fenced]));
    }

    #[test]
    fn freshness_follows_the_marks_and_runs_back_with_the_replay() {
        let mut scene = Scene::new(&[AUTO; 2]);
        let first = scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        assert_eq!(scene.fresh(1), Some(first));
        let second = scene.primary(0, 1, 200);
        assert_eq!(scene.fresh(1), Some(first));
        assert!(!scene.tracker.all_fresh_as_of(second));
        scene.replica(1, 1, 200);
        assert_eq!(scene.fresh(1), Some(second));
        assert!(scene.tracker.all_fresh_as_of(second));
        let incarnation = scene.tracker.nodes[1].node.incarnation();
        scene.replica(1, 1, 150);
        assert_eq!(scene.fresh(1), Some(first));
        assert_ne!(scene.tracker.nodes[1].node.incarnation(), incarnation);
    }

    #[test]
    fn an_answer_in_the_same_round_counts_for_a_mark_that_arrives_behind_it() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 200);
        let mark = scene.primary(0, 1, 200);
        assert_eq!(scene.fresh(1), Some(mark));
    }

    #[test]
    fn freshness_stands_while_the_primary_is_away() {
        let mut scene = Scene::new(&[AUTO; 2]);
        let mark = scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.gone(0);
        scene.replica(1, 1, 100);
        let topology = scene.tracker.draw();
        assert_eq!(topology.primary_seen, Some(mark));
        let much_later = scene.now + Duration::from_secs(60);
        assert_eq!(topology.nodes[1].staleness(&topology, much_later), Some(Duration::ZERO));
    }

    #[test]
    fn a_replica_whose_timeline_is_hidden_is_never_fresh_and_says_why() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.observe(1, Answer::Replica { timeline: None, replay: Some(Lsn(100)) }, 7);
        assert_eq!(scene.fresh(1), None);
        let why = scene.tracker.draw().nodes[1].why.clone().unwrap();
        assert!(why.contains("pg_monitor"), "{why}");
    }

    #[test]
    fn one_slow_answer_is_not_death_and_one_answer_is_not_recovery() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        for expected in [Health::Suspect, Health::Suspect, Health::Down] {
            scene.silent(1);
            assert_eq!(scene.health(1), expected);
        }
        for expected in [Health::Down, Health::Recovering] {
            scene.replica(1, 1, 100);
            assert_eq!(scene.health(1), expected);
        }
        scene.silent(1);
        scene.replica(1, 1, 100);
        assert_eq!(scene.health(1), Health::Recovering);
        scene.gone(1);
        assert_eq!(scene.health(1), Health::Down, "a refusal is final");
    }

    #[test]
    fn silence_is_held_against_a_node_that_others_can_stand_in_for() {
        let mut scene = Scene::new(&[AUTO; 3]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.replica(2, 1, 100);
        let standings = |scene: &mut Scene| {
            let nodes = scene.tracker.draw().nodes;
            nodes.iter().map(|view| view.standing).collect::<Vec<_>>()
        };
        scene.silent(1);
        scene.silent(0);
        let expected = [Standing::Good, Standing::Silent, Standing::Good];
        assert_eq!(standings(&mut scene), expected, "a primary has no substitute");
        scene.silent(2);
        assert_eq!(standings(&mut scene), [Standing::Good; 3], "nobody answers");
        scene.primary(0, 1, 100);
        let expected = [Standing::Good, Standing::Silent, Standing::Silent];
        assert_eq!(standings(&mut scene), expected);
        for _ in 0..13 {
            scene.tick();
            scene.silent(0);
        }
        assert_eq!(standings(&mut scene)[0], Standing::Lost);
    }

    /// Connections to a replica are lost, and it passes its probes.
    fn blip(scene: &mut Scene, index: usize) {
        let answer = Answer::Replica { timeline: Some(1), replay: Some(Lsn(100)) };
        let (latency, server) = (Duration::from_millis(1), info(7));
        let observation = Observation { answer, latency, server, is_troubled: true, word: None };
        scene.tick();
        scene.tracker.record(index, Ok(observation), scene.now);
    }

    #[test]
    fn one_cause_does_not_eject_all_replicas() {
        for (replicas, most) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
            let mut scene = Scene::new(&vec![AUTO; replicas + 1]);
            scene.primary(0, 1, 100);
            (1..=replicas).for_each(|index| scene.replica(index, 1, 100));
            for _ in 0..5 {
                (1..=replicas).for_each(|index| blip(&mut scene, index));
            }
            let nodes = scene.tracker.draw().nodes;
            let ejected = nodes.iter().filter(|view| view.health == Health::Ejected);
            assert_eq!(ejected.clone().count(), most, "of {replicas}");
            assert!(ejected.clone().all(|view| view.why.is_some()));
        }
    }

    #[test]
    fn the_primary_hands_the_reads_over_little_by_little_when_it_had_them_all() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        assert_eq!(scene.tracker.draw().primary_share, 0, "nobody was there before");
        scene.gone(1);
        scene.tracker.draw();
        scene.now += SLOW_START;
        scene.replica(1, 1, 100);
        scene.replica(1, 1, 100);
        let mut kept = vec![scene.tracker.draw().primary_share];
        while kept.last() != Some(&0) {
            (0..10).for_each(|_| scene.replica(1, 1, 100));
            kept.push(scene.tracker.draw().primary_share);
        }
        assert_eq!(kept, [9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn the_primary_hands_the_reads_over_in_no_more_time_than_it_had_them() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.gone(1);
        scene.tracker.draw();
        scene.replica(1, 1, 100);
        scene.replica(1, 1, 100);
        assert!(scene.tracker.draw().primary_share > 0);
        scene.replica(1, 1, 100);
        scene.replica(1, 1, 100);
        assert_eq!(scene.tracker.draw().primary_share, 0, "two probes were missed");
    }

    #[test]
    fn a_slow_answer_is_believed_at_once_and_forgotten_by_halves() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let slow = Slowness::after(Some(Slowness::after(None, ms(1), now)), ms(101), now);
        assert_eq!(slow.duration(), ms(101));
        let later = Slowness::after(Some(slow), ms(1), now + SLOWNESS_HALF_LIFE);
        assert_eq!(later.duration(), ms(51));
    }

    #[test]
    fn the_first_answer_of_an_only_node_is_news() {
        // The board begins with what a tracker draws that has heard nothing.
        let begun_with = Scene::new(&[AUTO]).tracker.draw().generation;
        let mut scene = Scene::new(&[AUTO]);
        scene.primary(0, 1, 100);
        assert_eq!(scene.tracker.draw().generation, begun_with + 1);
    }

    #[test]
    fn the_generation_grows_with_roles_and_health_and_not_with_freshness() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        let generation = scene.tracker.draw().generation;
        scene.primary(0, 1, 200);
        scene.replica(1, 1, 200);
        assert_eq!(scene.tracker.draw().generation, generation);
        scene.silent(1);
        assert_eq!(scene.tracker.draw().generation, generation + 1);
    }

    #[test]
    fn what_is_known_of_a_node_stays_while_others_come_and_go() {
        let mut scene = Scene::new(&[AUTO; 3]);
        let mark = scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.replica(2, 1, 100);
        let generation = scene.tracker.draw().generation;
        scene.adopt(&[3, 2, 0]);
        let roles = vec![Role::Unknown, Role::Replica, Role::Primary];
        assert_eq!(scene.roles(), (Some(2), roles), "a new node does not make anybody wait");
        assert_eq!(scene.fresh(1), Some(mark));
        let topology = scene.tracker.draw();
        assert!(!topology.known);
        assert_eq!(topology.generation, generation + 1);
        scene.replica(0, 1, 100);
        assert_eq!(scene.fresh(0), Some(mark));
        assert!(scene.tracker.draw().known);
    }

    #[test]
    fn a_primary_that_moves_to_another_address_keeps_its_replicas_fresh() {
        let mut scene = Scene::new(&[AUTO; 2]);
        let mark = scene.primary(0, 1, 100);
        scene.replica(1, 1, 100);
        scene.adopt(&[2, 1]);
        assert_eq!(scene.roles().0, None);
        assert_eq!(scene.fresh(1), Some(mark), "reads go on");
        scene.primary(0, 1, 120);
        assert_eq!(scene.roles().0, Some(0));
        assert_eq!(scene.fresh(1), Some(mark));
    }

    #[test]
    fn what_a_node_wrote_that_is_gone_fences_those_that_never_saw_it() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 2, 100);
        scene.primary(1, 1, 900);
        assert_eq!(scene.roles().0, Some(0));
        scene.adopt(&[1, 2]);
        scene.gone(1);
        assert_eq!(scene.roles(), (None, vec![Role::Fenced, Role::Unknown]));
        scene.primary(1, 2, 120);
        scene.primary(1, 2, 120);
        assert_eq!(scene.roles(), (Some(1), vec![Role::Fenced, Role::Primary]));
    }

    #[test]
    fn a_cluster_of_new_nodes_alone_begins_from_the_beginning() {
        let mut scene = Scene::new(&[AUTO; 2]);
        scene.primary(0, 5, 100);
        scene.replica(1, 5, 100);
        scene.adopt(&[2, 3]);
        scene.primary(0, 1, 50);
        assert_eq!(scene.roles().0, None);
        scene.replica(1, 1, 50);
        assert_eq!(scene.roles().0, Some(0));
    }
}
