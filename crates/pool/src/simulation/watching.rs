//! The control plane against servers that are models: what is promised of writes and reads holds
//! whatever happens to the servers, and when that is over everything is as it was. A primary may show a
//! commit later than its standbys do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Dice, histories};
use crate::announced::{Baseline, Lead, Shown, Txid, Word};
use crate::condition::SLOW_START;
use crate::freshness::{DEFAULT_WAL_WRITER_DELAY, PrimaryPosition};
use crate::lsn::{Lsn, WalLayout};
use crate::node::{Node, NodeId};
use crate::pace::Pace;
use crate::select::{Dice as Lot, NoNode, Seen, Want, select};
use crate::spec::{Balance, NodeSpec, ReadPolicy, Reads, RoleHint};
use crate::topology::{FULL_SHARE, Health, NodeView, Role, Topology};
use crate::tracker::{Answer, EJECTED_SHARE, Failure, Observation, ServerInfo, Tracker};

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(1000);
const MAX_STALENESS: Duration = Duration::from_secs(3);
const CLIENTS: usize = 3;
/// What happens to the servers, in one history.
const EVENTS: usize = 120;
/// Longer than a history.
const NEVER: Duration = Duration::from_secs(1_000_000);
/// Bytes of write-ahead log per record.
const RECORD: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Takes connections, and says nothing.
    Hung,
    Stopped,
}

/// The network to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Cut {
        /// The server has been stopped meanwhile.
        is_unheard: bool,
    },
}

#[derive(Debug, Clone)]
struct Server {
    state: State,
    way: Way,
    is_primary: bool,
    /// It does not replay.
    is_paused: bool,
    timeline: u32,
    /// The commits that it has, in their order; their positions follow from it.
    log: Vec<Entry>,
    /// Those that it does not show yet, as a primary.
    unannounced: Vec<u64>,
}

/// A record of the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    number: u64,
    acknowledged: Instant,
}

impl Server {
    fn end(&self) -> Lsn {
        Lsn(0x0100_1000 + RECORD * u64::try_from(self.log.len()).unwrap())
    }

    /// The commits that it shows.
    fn shown(&self) -> impl Iterator<Item = &Entry> {
        self.log.iter().filter(|entry| !self.unannounced.contains(&entry.number))
    }

    /// What it says of them, over what its primary has said.
    fn word(&self, baseline: Option<&Baseline>, lead: &Lead) -> Option<Word> {
        let txid = |number: u64| Txid::try_from(number).unwrap();
        if self.is_primary {
            let xmax = self.shown().last().map_or(1, |last| txid(last.number) + 1);
            // What promotions have lost is over.
            let in_progress = self.unannounced.iter().map(|number| txid(*number));
            let in_progress = in_progress.filter(|txid| *txid < xmax).collect();
            return Some(Word::Shown(Shown { xmax, in_progress }));
        }
        let baseline = baseline?;
        let txids = self.shown().map(|entry| txid(entry.number));
        let txids = txids.filter(|txid| !baseline.shown.shows(*txid)).collect();
        Some(Word::Lead(Lead { timeline: baseline.timeline, txids, ..*lead }))
    }

    fn summary(&self) -> String {
        let Self { state, way, is_primary, is_paused, timeline, log, unannounced } = self;
        format!(
            "{state:?} way {way:?} primary {is_primary} paused {is_paused} timeline \
             {timeline} unannounced {unannounced:?} log {} {:?}",
            log.len(),
            self.end(),
        )
    }

    fn answers(&self) -> bool {
        self.state == State::Running && self.way == Way::Open
    }

    /// Whether it can go on from what another has written.
    fn may_follow(&self, other: &Self) -> bool {
        other.timeline >= self.timeline && other.log.starts_with(&self.log)
    }
}

/// A question that is under way.
#[derive(Debug, Clone)]
struct Probe {
    asked_at: Instant,
    incarnation: u32,
    baseline: Option<Arc<Baseline>>,
    /// When the server looks at itself.
    seen_at: Instant,
    due: Instant,
    suspicions: u32,
    is_troubled: bool,
    outcome: Option<Said>,
}

/// What it said of itself at that time.
#[derive(Debug, Clone)]
struct Said {
    is_primary: bool,
    timeline: u32,
    end: Lsn,
    word: Option<Word>,
}

#[derive(Debug, Clone, Default)]
struct Client {
    written: Option<Instant>,
    seen: Option<Seen>,
    /// What it was shown last.
    shown: Vec<Entry>,
}

struct World {
    dice: Dice,
    now: Instant,
    servers: Vec<Server>,
    /// What stands for each server while it belongs to the cluster, and did last.
    nodes: Vec<Arc<Node>>,
    /// The servers that belong to the cluster, in the order of the configuration.
    members: Vec<usize>,
    next_id: u32,
    probes: Vec<Option<Probe>>,
    /// What each said last, of what has arrived.
    said: Vec<Option<Said>>,
    tracker: Tracker,
    pace: Pace,
    topology: Topology,
    /// What the last primary has written, as long as it was the primary.
    written: Vec<Entry>,
    clients: [Client; CLIENTS],
    commits: u64,
    checks: u64,
    /// Nothing happens any more.
    is_over: bool,
}

impl World {
    fn new(mut dice: Dice) -> Self {
        let now = Instant::now();
        let count = 2 + dice.below(3);
        let server = |index: usize| Server {
            state: State::Running,
            way: Way::Open,
            is_primary: index == 0,
            is_paused: false,
            timeline: 1,
            log: Vec::new(),
            unannounced: Vec::new(),
        };
        let nodes: Vec<_> = (0_u32..).take(count).map(node).collect();
        let mut tracker = Tracker::new(&nodes);
        Self {
            now,
            servers: (0..count).map(server).collect(),
            probes: vec![None; count],
            said: vec![None; count],
            topology: tracker.draw(),
            tracker,
            next_id: u32::try_from(count).unwrap(),
            members: (0..count).collect(),
            nodes,
            pace: Pace::new(INTERVAL, now),
            written: Vec::new(),
            clients: std::array::from_fn(|_| Client::default()),
            commits: 0,
            checks: 0,
            is_over: false,
            dice,
        }
    }

    fn policy(&mut self) -> ReadPolicy {
        let balance = [Balance::LeastBusy, Balance::RoundRobin, Balance::Random, Balance::Latency]
            [self.dice.below(4)];
        let reads = [Reads::Replicas, Reads::ReplicasOnly, Reads::Any][self.dice.below(3)];
        ReadPolicy { reads, balance, max_staleness: MAX_STALENESS, hold: Duration::from_secs(30) }
    }

    fn lot(&mut self) -> Lot {
        Lot { random: self.dice.roll(), turn: self.dice.roll() >> 40 }
    }

    // ---- the monitor ----

    /// Lets the monitor work up to a time.
    fn watch_until(&mut self, until: Instant) {
        loop {
            let answer = self.probes.iter().flatten().flat_map(|probe| [probe.seen_at, probe.due]);
            let answer = answer.filter(|at| *at > self.now).min();
            let next = answer.map_or(self.pace.next(), |at| at.min(self.pace.next()));
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = self.now.max(until);
        self.settle();
    }

    /// What is due by now happens.
    fn settle(&mut self) {
        if self.dice.one_in(4) {
            self.stream();
        }
        if self.dice.one_in(8) {
            self.announce();
        }
        for index in 0..self.servers.len() {
            self.look(index);
            self.hear(index);
        }
        if self.pace.next() <= self.now {
            self.pace.begin_round(self.now);
            let spared = self.tracker.spared(self.now);
            for index in self.members.clone() {
                let is_spared = spared.contains(&self.nodes[index].id());
                if !is_spared && self.probes[index].is_none() {
                    self.ask(index);
                }
            }
        }
    }

    fn ask(&mut self, index: usize) {
        let (node, server) = (&self.nodes[index], &self.servers[index]);
        let refused = server.state == State::Stopped && server.way == Way::Open;
        let latency = match self.dice.below(20) {
            // Sometimes it takes long, and sometimes too long.
            0 if !self.is_over => self.dice.ms(1500),
            _ => self.dice.ms(5),
        };
        let silent = !refused && !server.answers() || latency >= TIMEOUT;
        let due = self.now + if silent { TIMEOUT } else { latency };
        self.probes[index] = Some(Probe {
            asked_at: self.now,
            incarnation: node.incarnation(),
            baseline: self.tracker.baseline(),
            seen_at: if silent { due } else { self.now + self.dice.ms(1).min(latency) },
            due,
            suspicions: node.suspicions(),
            is_troubled: node.is_suspected(),
            outcome: None,
        });
    }

    /// A server that is asked looks at itself.
    fn look(&mut self, index: usize) {
        let (Some(probe), server) = (&mut self.probes[index], &self.servers[index]) else { return };
        let is_late = probe.due >= probe.asked_at + TIMEOUT;
        if probe.outcome.is_none() && probe.seen_at <= self.now && server.answers() && !is_late {
            let Server { is_primary, timeline, .. } = *server;
            let Probe { asked_at, incarnation, ref baseline, .. } = *probe;
            let lead = Lead { timeline, incarnation, asked_at, txids: Vec::new() };
            let word = server.word(baseline.as_deref(), &lead);
            probe.outcome = Some(Said { is_primary, timeline, end: server.end(), word });
        }
    }

    /// What came of a question arrives.
    fn hear(&mut self, index: usize) {
        let Some(probe) = self.probes[index].take_if(|probe| probe.due <= self.now) else { return };
        let node = Arc::clone(&self.nodes[index]);
        // One that was taken out of the cluster meanwhile has nothing to say any more.
        let Some(place) = self.tracker.place(node.id()) else { return };
        let outcome = match &probe.outcome {
            Some(said) => {
                node.settle_suspicions(probe.suspicions);
                self.said[index] = Some(said.clone());
                Ok(observation(&probe, said.clone()))
            }
            None if probe.due < probe.asked_at + TIMEOUT => Err(Failure::Gone("no".to_owned())),
            None => Err(Failure::Silent("nothing".to_owned())),
        };
        self.tracker.record(place, outcome, self.now);
        self.publish();
        if self.tracker.is_uncertain() {
            if !self.pace.is_hurried() {
                self.pace.hurry();
            }
        } else {
            self.pace.relax();
        }
    }

    fn publish(&mut self) {
        self.topology = self.tracker.draw();
        self.keep_books();
        let nodes = &self.topology.nodes;
        let ejected = nodes.iter().filter(|view| view.health == Health::Ejected).count();
        let up = nodes.iter().filter(|view| view.role == Role::Replica).count();
        assert!(ejected == 0 || ejected < up.max(EJECTED_SHARE), "too many are ejected");
    }

    fn keep_books(&mut self) {
        let primary = self.topology.primary.map(|place| &self.servers[self.members[place]]);
        if let Some(primary) = primary.filter(|primary| primary.is_primary) {
            self.written.clone_from(&primary.log);
        }
    }

    // ---- the servers ----

    /// Standbys take in what the server that they can follow has written, or part of it.
    fn stream(&mut self) {
        for index in 0..self.servers.len() {
            let standby = &self.servers[index];
            let is_at_work = standby.state == State::Running && !standby.is_paused;
            if standby.is_primary || !is_at_work {
                continue;
            }
            let upstream = self.servers.iter().filter(|other| {
                other.is_primary && other.state == State::Running && standby.may_follow(other)
            });
            let Some(upstream) = upstream.max_by_key(|other| other.timeline) else { continue };
            let missing = upstream.log[standby.log.len()..].to_vec();
            let timeline = upstream.timeline;
            let taken = self.dice.below(missing.len() + 1);
            let standby = &mut self.servers[index];
            standby.log.extend_from_slice(&missing[..taken]);
            standby.timeline = timeline;
        }
    }

    /// Primaries show what they have withheld, or part of it.
    fn announce(&mut self) {
        for index in 0..self.servers.len() {
            let kept = self.dice.below(self.servers[index].unannounced.len() + 1);
            self.servers[index].unannounced.truncate(kept);
        }
    }

    /// Something happens to a server.
    fn strike(&mut self) {
        let index = self.dice.below(self.servers.len());
        let newest = self.servers.iter().map(|server| server.timeline).max().unwrap();
        let server = &mut self.servers[index];
        match self.dice.below(13) {
            0 => server.state = State::Hung,
            1 | 2 => self.stop(index),
            3 | 4 => server.state = State::Running,
            5 => {
                let way = server.way;
                let cut = Way::Cut { is_unheard: false };
                server.way = if way == Way::Open { cut } else { Way::Open };
                // What was restarted behind the gap resets the monitor's connection.
                if way == (Way::Cut { is_unheard: true }) {
                    self.report(index);
                }
            }
            6 => server.is_paused = !server.is_paused,
            // Whoever promotes has made sure of the old primary, or not.
            7 if !server.is_primary && server.state == State::Running => {
                server.is_primary = true;
                server.timeline = newest + 1;
                if !self.dice.one_in(3) {
                    for other in (0..self.servers.len()).filter(|other| *other != index) {
                        if self.servers[other].is_primary {
                            self.stop(other);
                        }
                    }
                }
            }
            8 => self.rejoin(index),
            12 => self.reload(),
            // A connection is lost, for whatever reason.
            9 | 10 => self.report(index),
            // This very process did not run.
            _ => self.now += self.dice.ms(4000),
        }
    }

    fn stop(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let is_heard = server.state != State::Stopped && server.way == Way::Open;
        if let Way::Cut { is_unheard } = &mut server.way {
            *is_unheard = true;
        }
        server.state = State::Stopped;
        // Recovery announces what was flushed.
        server.unannounced.clear();
        // What a standby shows after a restart may be older (manual: 27.4).
        if !server.is_primary && self.dice.one_in(2) {
            let kept = self.dice.below(server.log.len() + 1);
            server.log.truncate(kept);
        }
        if is_heard {
            // The monitor's connection ends.
            self.report(index);
        }
    }

    /// The configuration names other servers: some of them, in another order.
    fn reload(&mut self) {
        let mut members: Vec<_> = (0..self.servers.len()).collect();
        members.rotate_left(self.dice.below(self.servers.len()));
        if !self.is_over {
            members.truncate(1 + self.dice.below(self.servers.len()));
        }
        for &index in members.iter().filter(|index| !self.members.contains(index)) {
            self.nodes[index] = node(self.next_id);
            self.next_id += 1;
            self.probes[index] = None;
            self.said[index] = None;
        }
        let nodes: Vec<_> = members.iter().map(|&index| Arc::clone(&self.nodes[index])).collect();
        self.members = members;
        self.tracker.adopt(&nodes);
        self.pace.hurry();
        self.publish();
    }

    fn report(&mut self, index: usize) {
        self.nodes[index].suspect();
        // The next probe finds its connection gone.
        self.nodes[index].reincarnate();
        self.pace.hurry();
        self.publish();
    }

    /// A server is made a standby of the newest primary, as by pg_basebackup.
    fn rejoin(&mut self, index: usize) {
        let primaries = self.servers.iter().filter(|server| server.is_primary);
        let Some(newest) = primaries.max_by_key(|server| server.timeline).cloned() else { return };
        if self.servers[index].is_primary && self.servers[index].timeline == newest.timeline {
            return;
        }
        self.stop(index);
        let server = &mut self.servers[index];
        let way = server.way;
        let (is_primary, is_paused, state) = (false, false, State::Running);
        let unannounced = Vec::new();
        *server = Server { is_primary, is_paused, state, way, unannounced, ..newest };
    }

    // ---- the clients ----

    fn write(&mut self, client: usize) {
        let (policy, lot) = (self.policy(), self.lot());
        let chosen = select(&self.topology, &policy, &Want::primary(), self.now, lot);
        self.checks += 1;
        let Ok(place) = chosen else { return };
        let index = self.members[place];
        self.check_primary(index);
        let server = &mut self.servers[index];
        if server.answers() && server.is_primary {
            self.commits += 1;
            // Some commits wait for a synchronous standby, and are not acknowledged as long.
            let is_withheld = !self.is_over && self.dice.one_in(3);
            let acknowledged = if is_withheld { self.now + NEVER } else { self.now };
            server.log.push(Entry { number: self.commits, acknowledged });
            if is_withheld {
                server.unannounced.push(self.commits);
            } else {
                self.clients[client].written = Some(self.now);
            }
            self.keep_books();
        } else {
            self.lose(index);
        }
    }

    /// A connection to it turns out to be dead.
    fn lose(&mut self, index: usize) {
        if self.servers[index].state == State::Stopped {
            self.report(index);
        }
    }

    /// Nothing that has been heard speaks against its being the primary.
    fn check_primary(&self, index: usize) {
        let said = self.said[index].as_ref().expect("it has said that it is the primary");
        assert!(said.is_primary, "node {index} is known to be a standby");
        let said_by = |&index: &usize| self.said[index].as_ref().map(|said| said.timeline);
        let newest = self.members.iter().filter_map(said_by).max();
        assert_eq!(newest, Some(said.timeline), "node {index} is known to be outdated");
    }

    fn read(&mut self, client: usize) {
        let (policy, lot) = (self.policy(), self.lot());
        let Client { written, seen, .. } = self.clients[client];
        let plain = if self.dice.one_in(3) { Want::primary() } else { Want::replica() };
        let want = Want { fresh_after: written, seen, ..plain };
        let mut chosen = select(&self.topology, &policy, &want, self.now, lot);
        if chosen == Err(NoNode::Unannounced) && self.inquire(seen) {
            chosen = select(&self.topology, &policy, &want, self.now, lot);
        }
        self.checks += 1;
        let Ok(place) = chosen else { return };
        let index = self.members[place];
        if !self.servers[index].answers() {
            return self.lose(index);
        }
        if self.topology.primary != Some(place) {
            let view = &self.topology.nodes[place];
            assert_eq!(view.role, Role::Replica);
            assert!(view.health.serves_reads() && !view.node.is_suspected());
            self.check_freshness(index, written);
            if self.topology.primary.is_some() {
                self.check_freshness(index, self.now.checked_sub(MAX_STALENESS));
            }
        }
        self.check_monotony(client, place);
        let (node, incarnation) = (self.nodes[index].id(), self.nodes[index].incarnation());
        let (timeline, until) = (self.topology.nodes[place].timeline, self.now);
        let client = &mut self.clients[client];
        client.shown = self.servers[index].shown().copied().collect();
        client.seen = Some(Seen { node, incarnation, until, timeline, position: None });
    }

    /// A client waits for what its replica, and then the primary, say; gives whether both do.
    fn inquire(&mut self, seen: Option<Seen>) -> bool {
        let asked_at = self.now;
        let there = seen.and_then(|seen| self.topology.place(seen.node));
        for place in [there, self.topology.primary] {
            let Some(place) = place else { return false };
            let index = self.members[place];
            let (server, incarnation) = (&self.servers[index], self.nodes[index].incarnation());
            let lead = Lead { timeline: 0, incarnation, asked_at, txids: Vec::new() };
            let word = server.word(self.tracker.baseline().as_deref(), &lead);
            let Some(word) = word.filter(|_| server.answers()) else { return false };
            self.tracker.hear(place, word);
        }
        self.publish();
        true
    }

    /// Whatever the client was shown is shown, but for what a promotion has lost. Across a promotion, and
    /// where nobody can be asked, nothing is promised.
    fn check_monotony(&self, client: usize, place: usize) {
        let Client { seen: Some(seen), shown, .. } = &self.clients[client] else { return };
        let Some(primary) = self.topology.primary() else { return };
        let index = self.members[place];
        let is_witness = |view: &NodeView| {
            let serves = view.health.serves_reads() && !view.node.is_suspected();
            serves && view.role == Role::Replica && view.timeline == primary.timeline
        };
        let is_witnessed = self.topology.nodes.iter().any(is_witness);
        let timelines = [primary.timeline, Some(self.servers[index].timeline)];
        if timelines != [seen.timeline; 2] || !is_witnessed {
            return;
        }
        let server = &self.servers[index];
        // Logs are in the order of their numbers.
        let has = |log: &[Entry], entry: &Entry| {
            log.binary_search_by_key(&entry.number, |entry| entry.number).is_ok()
        };
        for entry in shown.iter().filter(|entry| has(&self.written, entry)) {
            assert!(
                has(&server.log, entry) && !server.unannounced.contains(&entry.number),
                "node {index} does not show {entry:?}, shown before, {seen:?}, at {:?}: {:#?}; {:#?}",
                self.now,
                self.topology,
                self.servers.iter().map(Server::summary).collect::<Vec<_>>(),
            );
        }
    }

    /// Everything that was acknowledged by then is shown, but for what a promotion has lost.
    fn check_freshness(&self, index: usize, until: Option<Instant>) {
        let Some(until) = until else { return };
        let shown = &self.servers[index].log;
        let owed = self.written.iter().filter(|entry| entry.acknowledged <= until);
        for entry in owed {
            let is_shown = shown.contains(entry);
            assert!(
                is_shown,
                "node {index} does not show {entry:?}, owed until {until:?}, at {:?}: {:#?}; {:#?}",
                self.now,
                self.topology.view(self.nodes[index].id()),
                self.servers.iter().map(Server::summary).collect::<Vec<_>>(),
            );
        }
    }

    // ---- the end ----

    /// Everything is mended, and some time passes: everybody serves as at the beginning.
    fn recover(&mut self) {
        self.is_over = true;
        self.reload();
        let primaries = (0..self.servers.len()).filter(|&index| self.servers[index].is_primary);
        let newest = primaries.max_by_key(|&index| self.servers[index].timeline).unwrap();
        for server in &mut self.servers {
            (server.way, server.is_paused) = (Way::Open, false);
            server.unannounced.clear();
        }
        for index in 0..self.servers.len() {
            if index != newest {
                self.rejoin(index);
            }
            self.servers[index].state = State::Running;
        }
        // Ejections end, and then recoveries.
        let patience = crate::condition::MAX_EJECTION + SLOW_START * 2;
        let over = self.now + patience;
        while self.now < over {
            self.write(0);
            self.watch_until(self.now + INTERVAL);
        }
        let log = self.servers[newest].log.clone();
        self.servers.iter_mut().for_each(|server| server.log.clone_from(&log));
        self.watch_until(self.now + TIMEOUT * 4);
        let topology = &self.topology;
        assert_eq!(topology.primary.map(|place| self.members[place]), Some(newest));
        assert_eq!(topology.primary_share, 0);
        for (view, &index) in topology.nodes.iter().zip(&self.members) {
            let role = if index == newest { Role::Primary } else { Role::Replica };
            assert_eq!(view.role, role, "node {index}: {view:?}");
            assert_eq!(
                (view.health, view.share),
                (Health::Up, FULL_SHARE),
                "node {index}: {view:?}"
            );
            assert!(index == newest || view.fresh_as_of.is_some(), "node {index}: {view:?}");
        }
    }
}

/// A node of its own for each time that a server joins the cluster.
fn node(id: u32) -> Arc<Node> {
    let (host, role) = ("db".to_owned(), RoleHint::Auto);
    let spec = NodeSpec { host, port: 5432, weight: 1, role };
    Arc::new(Node::new(NodeId(id), &spec, Arc::new(Notify::new())))
}

fn observation(probe: &Probe, said: Said) -> Observation {
    let Said { is_primary, timeline, end, word } = said;
    let answer = if is_primary {
        let position = PrimaryPosition {
            asked_at: probe.asked_at,
            answered_at: probe.asked_at,
            insert: end,
            flush: end,
        };
        Answer::Primary { timeline, position }
    } else {
        Answer::Replica { timeline: Some(timeline), replay: Some(end) }
    };
    let server = ServerInfo {
        version: 150_018,
        system: Some(7),
        layout: WalLayout::default(),
        wal_writer_delay: DEFAULT_WAL_WRITER_DELAY,
        connection_limit: 97,
    };
    let latency = probe.due - probe.asked_at;
    Observation { answer, latency, server, is_troubled: probe.is_troubled, word }
}

fn play(dice: Dice) -> u64 {
    let mut world = World::new(dice);
    world.watch_until(world.now + INTERVAL * 3);
    for _ in 0..EVENTS {
        for _ in 0..1 + world.dice.below(20) {
            let client = world.dice.below(CLIENTS);
            if world.dice.one_in(4) {
                world.write(client)
            } else {
                world.read(client)
            }
            let pause = world.dice.ms(30);
            world.watch_until(world.now + pause);
        }
        let pause = match world.dice.below(6) {
            0 => world.dice.ms(5000),
            _ => world.dice.ms(200),
        };
        world.watch_until(world.now + pause);
        world.strike();
        world.settle();
    }
    world.recover();
    world.checks
}

#[test]
fn no_write_goes_to_who_is_known_not_to_be_primary_and_no_read_is_staler_than_promised() {
    histories("watching", play);
}
