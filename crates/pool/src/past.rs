//! What a client has written and read so far, as far as a choice of replica has to heed it. Pure: the
//! snapshots and the time are arguments.
//!
//! A read shows at most what its server had by the end of the answer. Where that was the server that is
//! chosen next, it shows no less now. Any other replica has to be known to show as much, and there are
//! two ways to know: it has passed a mark that the primary made after the answer, or its position covers
//! the one that the server of the last read was found at when it was *asked after the answer*. The first
//! costs nothing and takes a probe; a client that reads without a pause never sees one between two reads,
//! and would be tied to its replica by it. So the second is asked for as well, in the client's pauses and
//! from a bounded budget. (What a standby says it has replayed is not that position: it shows a commit a
//! little earlier than it says so.)
//!
//! A standby shows a commit a moment before its primary does. So the primary, too, has to be known to show what
//! a replica has shown, before it serves who has read there: [`Seen::is_announced_by`].
//!
//! Only the last server counts: a replica that may serve after a read on another shows all that this one
//! had shown. Where it did not have to (the client did not care then), the time of that read is kept.

use std::time::{Duration, Instant};

use crate::lsn::Lsn;
use crate::node::NodeId;
use crate::select::{Position, Seen, Want};
use crate::topology::{Health, NodeView, Role, Topology};

/// Reads for which one question about a server's position is granted.
const READS_PER_QUESTION: u16 = 32;
/// Reads for one question while other clients wait for the connection: it would hold them up, but
/// another server may have one free.
const CROWDED_READS_PER_QUESTION: u16 = 8;
/// Questions that a new client may ask in a row, so that few reads are spread as well as many.
const QUESTIONS_IN_STOCK: u16 = 128;
/// How long a read that the primary could serve waits for a replica, at most.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);
/// No node of any cluster.
const NOWHERE: NodeId = NodeId(u32::MAX);
/// How many times as long as it has waited a client does not wait after that.
const REST: u32 = 2;

/// One client's past.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// When its last write was acknowledged.
    written: Option<Instant>,
    /// When it was last shown something that its later reads need not have shown.
    shown: Option<Instant>,
    /// Where it has read last.
    seen: Option<Seen>,
    /// Where it is at work.
    here: Option<Here>,
    /// Reads on account: [`READS_PER_QUESTION`] of them are worth a question.
    credit: u16,
    /// Reads whose connection others waited for.
    crowded: u16,
    /// When it may wait again.
    rested_at: Option<Instant>,
}

/// The server that a client works on.
#[derive(Debug, Clone, Copy)]
struct Here {
    node: NodeId,
    incarnation: u32,
    timeline: Option<u32>,
    is_primary: bool,
    /// Until when the client had been shown things elsewhere that this server need not show.
    missing: Option<Instant>,
    told: Told,
}

/// What a server has told its client so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nobody has said.
    Unknown,
    /// Nothing of what is stored.
    Nothing,
    /// Something.
    Data,
}

impl Past {
    /// The past of a new session: an earlier one of the same user has written until then, which counts
    /// as what it has read, nobody knows where.
    #[must_use]
    pub fn new(written: Option<Instant>) -> Self {
        let (node, incarnation) = (NOWHERE, 0);
        let seen = |until| Seen { node, incarnation, until, timeline: None, position: None };
        Self {
            written: None,
            shown: None,
            seen: written.map(seen),
            here: None,
            credit: QUESTIONS_IN_STOCK * READS_PER_QUESTION,
            crowded: 0,
            rested_at: None,
        }
    }

    /// A write is acknowledged.
    pub fn wrote(&mut self, at: Instant) {
        self.written = self.written.max(Some(at));
    }

    /// When its last write was acknowledged, if it has written.
    #[must_use]
    pub const fn last_write(&self) -> Option<Instant> {
        self.written
    }

    /// The client works on this server from now on.
    pub fn begins(&mut self, topology: &Topology, node: NodeId, incarnation: u32) {
        let view = topology.view(node);
        let is_primary = topology.is_primary(node);
        let is_shown = |seen: Seen| match view {
            Some(view) if is_primary => seen.is_announced_by(topology, view),
            Some(NodeView { fresh_as_of: Some(at), .. }) => {
                view.is_some_and(|view| seen.is_shown_by(topology, view, *at))
            }
            Some(_) | None => false,
        };
        self.here = Some(Here {
            node,
            incarnation,
            timeline: view.and_then(|view| view.timeline),
            is_primary,
            missing: self.seen.filter(|seen| !is_shown(*seen)).map(|seen| seen.until),
            told: Told::Unknown,
        });
    }

    /// The server is sent a statement, whose answer tells something of what is stored or not.
    pub fn asked(&mut self, shows_data: bool) {
        if let Some(here) = &mut self.here {
            match (here.told, shows_data) {
                (_, true) => here.told = Told::Data,
                (Told::Unknown, false) => here.told = Told::Nothing,
                (Told::Nothing | Told::Data, false) => {}
            }
        }
    }

    /// It has left the server: what it was shown there was shown before `until`, and after that, if it
    /// was asked, the server was at this position.
    pub fn ends(&mut self, until: Instant, position: Option<Lsn>) {
        let Some(here) = self.here.take().filter(|here| here.told != Told::Nothing) else {
            return;
        };
        let Here { node, incarnation, timeline, is_primary, missing, told: _ } = here;
        self.shown = self.shown.max(missing);
        let position = position
            .map(|lsn| if is_primary { Position::Inserted(lsn) } else { Position::Received(lsn) });
        self.seen = Some(Seen { node, incarnation, until, timeline, position });
    }

    /// Whether to ask the server, which has answered a read, for its position: it costs as much as a
    /// short query, and sets the client free to go on elsewhere.
    ///
    /// `is_crowded` tells whether others wait for the connection.
    pub fn asks(&mut self, topology: &Topology, is_crowded: impl FnOnce() -> bool) -> bool {
        let stock = QUESTIONS_IN_STOCK * READS_PER_QUESTION;
        let has_told = self.here.is_some_and(|here| here.told != Told::Nothing);
        self.credit = (self.credit + 1).min(stock);
        if self.credit < READS_PER_QUESTION || !has_told {
            return false;
        }
        if is_crowded() {
            self.crowded = self.crowded.wrapping_add(1);
            if !self.crowded.is_multiple_of(CROWDED_READS_PER_QUESTION) {
                return false;
            }
        }
        let here = self.here.map(|here| here.node);
        let has_choice = topology.nodes.iter().any(|view| {
            Some(view.node.id()) != here && (view.role, view.health) == (Role::Replica, Health::Up)
        });
        if has_choice {
            self.credit -= READS_PER_QUESTION;
        }
        has_choice
    }

    /// The server would not tell: it is not asked again.
    pub fn gives_up_asking(&mut self) {
        self.credit = 0;
    }

    /// A read has waited for its connection until now, for so long.
    pub fn waited(&mut self, now: Instant, took: Duration) {
        self.rested_at = now.checked_add(took.saturating_mul(REST));
    }

    /// Adds what this past asks of the primary.
    #[must_use]
    pub fn heeded_by_primary(&self, want: Want) -> Want {
        Want { seen: self.seen, announced_after: self.shown, ..want }
    }

    /// Adds what this past asks of a replica, and of the primary in its place.
    #[must_use]
    pub fn heeded(&self, want: Want, now: Instant) -> Want {
        let is_rested = self.rested_at.is_none_or(|at| now >= at);
        Want {
            fresh_after: want.fresh_after.max(self.written).max(self.shown),
            patience: is_rested.then(|| now + PATIENCE),
            ..self.heeded_by_primary(want)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::sync::Notify;

    use super::*;
    use crate::announced::{Announced, Baseline, Lead, Shown, Standby, Txid};
    use crate::freshness::{DEFAULT_WAL_WRITER_DELAY, Freshness, PrimaryPosition};
    use crate::lsn::WalLayout;
    use crate::node::Node;
    use crate::select::{Dice, NoNode, select};
    use crate::spec::{Balance, NodeSpec, ReadPolicy, Reads, RoleHint};
    use crate::topology::{FULL_SHARE, Standing};

    const POLICY: ReadPolicy = ReadPolicy {
        reads: Reads::Replicas,
        balance: Balance::Random,
        max_staleness: Duration::from_secs(3600),
        hold: Duration::from_secs(30),
    };
    const REPLICAS: usize = 3;
    const RECORD: u64 = 10;
    /// Where the log begins.
    const START: u64 = 100;

    /// Commits by their numbers.
    type Commits = BTreeSet<u64>;

    /// A primary (node 0) and replicas, each with its true position, and what a monitor knows of them.
    struct World {
        now: Instant,
        /// The position up to which the primary has flushed; one record is one commit.
        written: u64,
        /// Commits that it has flushed and does not show yet.
        unannounced: Commits,
        /// What the replicas say that they have replayed.
        replayed: [u64; REPLICAS],
        /// What they show: one record more, perhaps.
        applied: [u64; REPLICAS],
        marks: Freshness,
        announced: Announced,
        standbys: [Standby; REPLICAS],
        topology: Topology,
    }

    impl World {
        fn new() -> Self {
            let view = |index: usize| {
                let role = RoleHint::Auto;
                let spec = NodeSpec { host: format!("db{index}"), port: 5432, weight: 1, role };
                let id = NodeId(u32::try_from(index).unwrap());
                NodeView {
                    node: Arc::new(Node::new(id, &spec, Arc::new(Notify::new()))),
                    role: if index == 0 { Role::Primary } else { Role::Replica },
                    health: Health::Up,
                    timeline: Some(1),
                    fresh_as_of: None,
                    replay_lsn: None,
                    covers: None,
                    announced_as_of: None,
                    is_ahead: false,
                    shard: None,
                    share: FULL_SHARE,
                    standing: Standing::Good,
                    latency: None,
                    slowness: None,
                    server_version: None,
                    why: None,
                }
            };
            let topology = Topology {
                nodes: (0..=REPLICAS).map(view).collect(),
                primary: Some(0),
                known: true,
                ..Topology::default()
            };
            let marks = Freshness::new(WalLayout::default(), DEFAULT_WAL_WRITER_DELAY);
            let replayed = [START; REPLICAS];
            let mut world = Self {
                now: Instant::now(),
                written: START,
                unannounced: Commits::new(),
                replayed,
                applied: replayed,
                marks,
                announced: Announced::default(),
                standbys: Default::default(),
                topology,
            };
            world.probe();
            world
        }

        fn tick(&mut self) -> Instant {
            self.now += Duration::from_micros(1);
            self.now
        }

        /// Asks every server where it is.
        fn probe(&mut self) {
            let asked_at = self.tick();
            let insert = Lsn(self.written);
            let answered_at = asked_at;
            self.marks.mark(PrimaryPosition { asked_at, answered_at, insert, flush: insert });
            self.topology.primary_seen = Some(asked_at);
            self.show();
            (1..=REPLICAS).for_each(|index| self.lead(index));
            for (view, replayed) in self.topology.nodes.iter_mut().skip(1).zip(self.replayed) {
                view.replay_lsn = Some(Lsn(replayed));
                view.fresh_as_of = self.marks.fresh_as_of(Lsn(replayed));
                view.covers = Some(self.marks.covers(Lsn(replayed)));
            }
            self.tick();
        }

        /// The primary says which commits it shows.
        fn show(&mut self) {
            let shown = self.shows(0);
            let xmax = shown.last().map_or(1, |last| last + 1);
            let txid = |commit: u64| Txid::try_from(commit).unwrap();
            let in_progress =
                (1..xmax).filter(|commit| !shown.contains(commit)).map(txid).collect();
            let shown = Shown { xmax: txid(xmax), in_progress };
            let baseline = Baseline { timeline: 1, shown };
            self.announced.show(baseline, self.standbys.iter_mut());
            self.publish();
        }

        /// A replica says which ones it shows besides.
        fn lead(&mut self, index: usize) {
            let asked_at = self.tick();
            let baseline = Arc::clone(self.announced.baseline().unwrap());
            let txids = self.shows(index).into_iter().map(|commit| Txid::try_from(commit).unwrap());
            let txids = txids.filter(|txid| !baseline.shown.shows(*txid)).collect();
            let incarnation = self.topology.nodes[index].node.incarnation();
            let lead = Lead { timeline: 1, incarnation, asked_at, txids };
            let fresh_as_of = self.topology.nodes[index].fresh_as_of;
            self.announced.lead(&mut self.standbys[index - 1], lead, fresh_as_of);
            self.publish();
        }

        fn publish(&mut self) {
            self.topology.announced_as_of = self.announced.as_of;
            for (view, standby) in self.topology.nodes.iter_mut().skip(1).zip(&self.standbys) {
                (view.announced_as_of, view.is_ahead) = (standby.as_of, standby.is_ahead());
            }
        }

        /// A commit is flushed; gives its number.
        fn commit(&mut self) -> u64 {
            self.written += RECORD;
            (self.written - START) / RECORD
        }

        /// What a server shows.
        fn shows(&self, index: usize) -> Commits {
            let upto = index.checked_sub(1).map_or(self.written, |replica| self.applied[replica]);
            let shown = 1..=(upto - START) / RECORD;
            shown.filter(|commit| index > 0 || !self.unannounced.contains(commit)).collect()
        }

        /// A replica replays so much more.
        fn replay(&mut self, replica: usize, records: u64) {
            let to = self.replayed[replica].saturating_add(records * RECORD).min(self.written);
            self.replayed[replica] = to;
            self.applied[replica] = self.applied[replica].max(to);
        }

        /// A client begins to work on a server.
        fn begin(&self, past: &mut Past, index: usize) {
            let node = &self.topology.nodes[index].node;
            past.begins(&self.topology, node.id(), node.incarnation());
        }

        /// A client reads; gives the server, and what it showed.
        fn read(&mut self, past: &mut Past, random: u64, asks: bool) -> (usize, Commits) {
            let want = past.heeded(Want::replica(), self.tick());
            self.read_as(want, past, random, asks).unwrap()
        }

        fn read_as(
            &mut self,
            want: Want,
            past: &mut Past,
            random: u64,
            asks: bool,
        ) -> Result<(usize, Commits), NoNode> {
            let now = self.tick();
            let want = Want { patience: None, ..want };
            let dice = Dice { random, turn: random };
            let index = select(&self.topology, &POLICY, &want, now, dice)?;
            self.begin(past, index);
            let shown = self.shows(index);
            self.tick();
            let asks = asks && past.asks(&self.topology, || false);
            // Every server has received all that is written.
            let received = Lsn(self.written);
            past.ends(self.tick(), asks.then_some(received));
            Ok((index, shown))
        }
    }

    fn nodes(world: &mut World, past: &mut Past, asks: bool) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..60)
            .map(|random| {
                let (index, _) = world.read(past, random, asks);
                index
            })
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    #[test]
    fn who_only_reads_stays_while_nothing_is_known_and_is_free_once_it_is() {
        let mut world = World::new();
        let mut past = Past::new(None);
        assert_eq!(nodes(&mut world, &mut past, false).len(), 1);
        assert_eq!(nodes(&mut world, &mut past, true), [1, 2, 3]);
        // A probe between two reads does the same.
        let (first, _) = world.read(&mut past, 0, false);
        world.probe();
        let mut other = (0..60).map(|random| world.read(&mut past.clone(), random, false).0);
        assert!(other.any(|node| node != first));
    }

    #[test]
    fn settings_and_transaction_control_on_the_primary_bind_nobody_to_it() {
        let mut world = World::new();
        for (what, statements, binds) in [
            ("a BEGIN that is undone", &[false][..], false),
            ("a read in a transaction", &[false, true, false], true),
            ("something of which nobody has said what it is", &[], true),
        ] {
            let mut past = Past::new(None);
            world.begin(&mut past, 0);
            statements.iter().for_each(|shows_data| past.asked(*shows_data));
            past.ends(world.tick(), None);
            assert_eq!(world.read(&mut past, 0, false).0 == 0, binds, "{what}");
        }
    }

    #[test]
    fn an_earlier_sessions_write_binds_until_a_replica_is_known_to_show_it() {
        let mut world = World::new();
        for _ in 0..10 {
            world.commit();
        }
        let all: Commits = (1..=10).collect();
        let mut past = Past::new(Some(world.tick()));
        assert_eq!(world.read(&mut past, 0, false), (0, all.clone()));
        world.replay(0, 10);
        world.probe();
        assert_eq!(world.read(&mut past, 0, false), (1, all));
    }

    #[test]
    fn the_primary_serves_who_has_read_on_a_replica_once_it_shows_as_much() {
        let mut world = World::new();
        let mut past = Past::new(None);
        let commit = world.commit();
        world.unannounced.insert(commit);
        world.replay(0, 1);
        world.begin(&mut past, 1);
        past.ends(world.tick(), None);
        let chosen = |world: &mut World, past: &Past| {
            let want = past.heeded_by_primary(Want::primary());
            let (now, dice) = (world.tick(), Dice { random: 0, turn: 0 });
            select(&world.topology, &POLICY, &want, now, dice)
        };
        assert_eq!(chosen(&mut world, &past), Err(NoNode::Unannounced), "nobody has been asked");
        world.lead(1);
        world.show();
        assert_eq!(chosen(&mut world, &past), Err(NoNode::Unannounced), "it does not show it");
        // Others, who miss nothing, are served.
        assert_eq!(chosen(&mut world, &Past::new(None)), Ok(0));
        world.unannounced.clear();
        assert_eq!(chosen(&mut world, &past), Err(NoNode::Unannounced), "it has not said so");
        world.show();
        assert_eq!(chosen(&mut world, &past), Ok(0));
        // Another read, and nobody is left who could tell.
        past.ends(world.tick(), None);
        world.begin(&mut past, 1);
        past.ends(world.tick(), None);
        assert_eq!(chosen(&mut world, &past), Err(NoNode::Unannounced));
        world.topology.nodes.iter_mut().skip(1).for_each(|view| view.health = Health::Down);
        assert_eq!(chosen(&mut world, &past), Ok(0));
    }

    #[test]
    fn a_replica_that_has_passed_what_another_showed_speaks_for_it() {
        let mut world = World::new();
        let mut past = Past::new(None);
        world.commit();
        world.replay(0, 1);
        world.begin(&mut past, 1);
        past.ends(world.tick(), None);
        world.topology.nodes[1].health = Health::Down;
        let want = past.heeded_by_primary(Want::primary());
        let chosen = |world: &mut World| {
            let (now, dice) = (world.tick(), Dice { random: 0, turn: 0 });
            select(&world.topology, &POLICY, &want, now, dice)
        };
        assert_eq!(chosen(&mut world), Err(NoNode::Unannounced));
        world.replay(1, 1);
        world.probe();
        // It is fresh by now, and asked again it speaks for that.
        world.probe();
        assert_eq!(chosen(&mut world), Ok(0));
    }

    #[test]
    fn questions_come_from_a_stock_and_then_one_in_so_many_reads() {
        let world = World::new();
        let mut past = Past::new(None);
        world.begin(&mut past, 1);
        let asked = |past: &mut Past, world: &World, reads| {
            (0..reads).filter(|_| past.asks(&world.topology, || false)).count()
        };
        let first = asked(&mut past, &world, usize::from(QUESTIONS_IN_STOCK));
        assert_eq!(first, usize::from(QUESTIONS_IN_STOCK));
        let later = asked(&mut past, &world, 3200);
        assert!((100..=105).contains(&later), "{later}");
        past.gives_up_asking();
        assert_eq!(asked(&mut past, &world, usize::from(READS_PER_QUESTION) - 1), 0);
    }

    #[test]
    fn who_holds_up_others_asks_seldom() {
        let world = World::new();
        let mut past = Past::new(None);
        world.begin(&mut past, 1);
        let asked = (0..80).filter(|_| past.asks(&world.topology, || true)).count();
        assert_eq!(asked, 80 / usize::from(CROWDED_READS_PER_QUESTION));
    }

    #[test]
    fn nobody_asks_who_has_no_choice() {
        let mut world = World::new();
        let mut past = Past::new(None);
        world.topology.nodes.truncate(2);
        world.begin(&mut past, 1);
        assert!(!past.asks(&world.topology, || false));
        world.begin(&mut past, 0);
        assert!(past.asks(&world.topology, || false), "there is a replica to go on to");
    }

    #[test]
    fn a_client_that_has_waited_rests_before_it_waits_again() {
        let now = Instant::now();
        let mut past = Past::new(None);
        let patience = |past: &Past, at| past.heeded(Want::replica(), at).patience;
        assert_eq!(patience(&past, now), Some(now + PATIENCE));
        let took = Duration::from_millis(3);
        past.waited(now, took);
        assert_eq!(patience(&past, now + took), None);
        let rested = now + took * REST;
        assert_eq!(patience(&past, rested), Some(rested + PATIENCE));
    }

    /// Something that happens to a cluster or a client.
    #[derive(Debug, Clone)]
    enum Event {
        /// Somebody commits; others see it at once, or later.
        Write {
            is_announced: bool,
        },
        /// The primary shows what it did not show before, from one commit on.
        Announce {
            from: u64,
        },
        /// The client itself writes.
        Own,
        Replay {
            replica: usize,
            records: u64,
        },
        /// It has applied a record, and not said so yet.
        Apply {
            replica: usize,
        },
        Probe,
        Read {
            random: u64,
            asks: bool,
        },
        /// The client goes to the primary.
        ReadOnPrimary {
            asks: bool,
        },
        /// The primary, or a replica, says what it shows.
        Say {
            index: usize,
        },
        /// The client does not care this time.
        Careless {
            random: u64,
        },
        Restart {
            replica: usize,
            loses: u64,
        },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let replica = 0..REPLICAS;
        let event = prop_oneof![
            3 => any::<bool>().prop_map(|is_announced| Event::Write { is_announced }),
            1 => (0..20_u64).prop_map(|from| Event::Announce { from }),
            3 => any::<bool>().prop_map(|asks| Event::ReadOnPrimary { asks }),
            4 => (0..=REPLICAS).prop_map(|index| Event::Say { index }),
            1 => Just(Event::Own),
            4 => (replica.clone(), 0..20_u64).prop_map(|(replica, records)| Event::Replay { replica, records }),
            2 => replica.clone().prop_map(|replica| Event::Apply { replica }),
            2 => Just(Event::Probe),
            8 => (any::<u64>(), any::<bool>()).prop_map(|(random, asks)| Event::Read { random, asks }),
            1 => any::<u64>().prop_map(|random| Event::Careless { random }),
            1 => (replica, 0..30_u64).prop_map(|(replica, loses)| Event::Restart { replica, loses }),
        ];
        proptest::collection::vec(event, 1..300)
    }

    proptest! {
        /// Time never runs back: whatever is written, announced late, replayed, lost by a restart, and asked
        /// or not, a read that heeds the past shows no less than any read before it, nor than the client's
        /// writes.
        #[test]
        fn no_read_shows_less_than_an_earlier_one(events in events()) {
            let mut world = World::new();
            let mut past = Past::new(None);
            let mut least = Commits::new();
            for event in events {
                let mut read = None;
                match event {
                    Event::Write { is_announced } => {
                        let commit = world.commit();
                        if !is_announced {
                            world.unannounced.insert(commit);
                        }
                    }
                    Event::Announce { from } => drop(world.unannounced.split_off(&from)),
                    Event::Own => {
                        least.insert(world.commit());
                        past.wrote(world.tick());
                    }
                    Event::Replay { replica, records } => world.replay(replica, records),
                    Event::Apply { replica } => {
                        let next = world.replayed[replica] + RECORD;
                        let next = next.min(world.written);
                        world.applied[replica] = world.applied[replica].max(next);
                    }
                    Event::Probe => world.probe(),
                    Event::Say { index: 0 } => world.show(),
                    Event::Say { index } => world.lead(index),
                    Event::Read { random, asks } => {
                        let want = past.heeded(Want::replica(), world.tick());
                        read = world.read_as(want, &mut past, random, asks).ok();
                    }
                    Event::ReadOnPrimary { asks } => {
                        let want = past.heeded_by_primary(Want::primary());
                        read = world.read_as(want, &mut past, 0, asks).ok();
                    }
                    Event::Careless { random } => {
                        let read = world.read_as(Want::replica(), &mut past, random, false);
                        least.extend(read.unwrap().1);
                    }
                    Event::Restart { replica, loses } => {
                        let view = &mut world.topology.nodes[replica + 1];
                        view.node.reincarnate();
                        // Until it is probed nobody knows where it is.
                        (view.fresh_as_of, view.covers, view.replay_lsn) = (None, None, None);
                        let left = world.replayed[replica].saturating_sub(loses).max(START);
                        (world.replayed[replica], world.applied[replica]) = (left, left);
                    }
                }
                if let Some((index, shown)) = read {
                    let missing: Vec<_> = least.difference(&shown).collect();
                    prop_assert!(missing.is_empty(), "node {index} does not show {missing:?}");
                    least = shown;
                }
            }
        }
    }
}
