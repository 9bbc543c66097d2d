//! The monitor of a cluster: a task per node that asks, and a coordinator that decides when, keeps
//! score, and publishes what it means.
//!
//! A round is a number that the coordinator raises; each node's task asks once for the newest number it
//! has seen. So all nodes are asked at the same time (the primary a little earlier), and one that hangs
//! skips rounds without holding anybody up.
//!
//! Between two rounds the primary and a standby are asked which transactions they show, when somebody goes
//! from the one to the other and waits for that ([`crate::announced`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, sleep_until};

use crate::announced::{Baseline, Word};
use crate::board::Board;
use crate::citus::{Listing, Said};
use crate::clock;
use crate::control::Control;
use crate::fleet::Fleet;
use crate::node::{Node, NodeId};
use crate::pace::{Inquiries, Pace};
use crate::probe::{Inquiry, Prober};
use crate::roster::{Member, Roster};
use crate::select::MAX_NODES;
use crate::spec::ClusterKind;
use crate::topology::{Role, Standing, Topology};
use crate::tracker::{Failure, Observation};

/// How long after the primary the replicas are asked in a round. One that keeps up has replayed by then
/// what the primary had written when it was asked, and shows it in this round instead of in the next.
const HEAD_START: Duration = Duration::from_millis(1);

/// How old what the primary shows may be for a standby to be held against it: what has been committed since
/// takes it time to tell apart.
const BASELINE_AGE: Duration = Duration::from_millis(20);

/// Outcomes per node that may lie unread before the node's task waits.
const OUTCOMES_PER_NODE: usize = 2;

/// What came of a question.
enum Report {
    Probe(Box<Outcome>),
    Word(NodeId, Word),
}

/// What came of a node's probe.
struct Outcome {
    node: NodeId,
    outcome: Result<Observation, Failure>,
    /// What it has said of itself to Citus.
    said: Option<Said>,
}

/// What the monitor works with.
pub(crate) struct Monitor {
    pub(crate) cluster: String,
    /// What the cluster is made of, and word of every change.
    pub(crate) rosters: watch::Receiver<Arc<Roster>>,
    /// The number of the roster that is heeded.
    pub(crate) heeded: watch::Sender<u64>,
    pub(crate) board: Arc<Board>,
    /// What Citus says of the nodes, once it has been asked.
    pub(crate) listings: watch::Receiver<Option<Arc<Listing>>>,
}

impl Monitor {
    /// Watches for as long as it is let.
    pub(crate) async fn run(mut self) {
        let roster = Arc::clone(&self.rosters.borrow_and_update());
        let nodes: Vec<_> = roster.nodes().cloned().collect();
        let (reports, outcomes) = mpsc::channel(MAX_NODES * OUTCOMES_PER_NODE);
        let mut coordinator = Coordinator {
            fleet: Fleet::new(&roster.spec.kind, &nodes),
            pace: Pace::new(roster.spec.monitor.interval, clock::now()),
            inquiries: Inquiries::new(),
            shown_at: None,
            watches: Watches {
                rounds: watch::Sender::new(Round::default()),
                inquiries: watch::Sender::new(None),
                baseline: watch::Sender::new(None),
                reports,
                tasks: JoinSet::new(),
                by_node: HashMap::new(),
            },
            outcomes,
            wanted: None,
            roster,
            monitor: self,
        };
        coordinator.watch();
        coordinator.run().await;
    }
}

/// The tasks that ask, one per node.
struct Watches {
    rounds: watch::Sender<Round>,
    /// The primary to be asked between two rounds.
    inquiries: watch::Sender<Option<NodeId>>,
    /// What the primary showed last.
    baseline: watch::Sender<Option<Arc<Baseline>>>,
    reports: mpsc::Sender<Report>,
    tasks: JoinSet<()>,
    by_node: HashMap<NodeId, Watch>,
}

/// The task that asks one node, and what it asks over.
struct Watch {
    control: Arc<Control>,
    task: AbortHandle,
}

impl Watches {
    /// Watches the members of a roster and nobody else. Those that are watched the same way go on.
    /// Gives the nodes that cannot be watched, and why.
    fn follow(&mut self, roster: &Roster) -> Vec<Outcome> {
        self.by_node.retain(|_, watch| {
            let same = |member: &Member| Arc::ptr_eq(&member.control, &watch.control);
            let stays = roster.members.iter().any(same);
            if !stays {
                watch.task.abort();
            }
            stays
        });
        while self.tasks.try_join_next().is_some() {}
        let mut failures = Vec::new();
        for Member { node, control } in &roster.members {
            if self.by_node.contains_key(&node.id()) {
                continue;
            }
            match control.probes() {
                Ok(pool) => {
                    let prober = Prober::new(Arc::clone(node), pool, roster.spec.monitor.timeout)
                        .of_citus(roster.spec.kind != ClusterKind::Streaming);
                    let watcher = Watcher {
                        node: Arc::clone(node),
                        prober,
                        is_replica: false,
                        rounds: self.rounds.subscribe(),
                        inquiries: self.inquiries.subscribe(),
                        baseline: self.baseline.subscribe(),
                        reports: self.reports.clone(),
                    };
                    let task = self.tasks.spawn(watcher.run());
                    self.by_node.insert(node.id(), Watch { control: Arc::clone(control), task });
                }
                Err(error) => {
                    let outcome = Err(Failure::Gone(error.to_string()));
                    failures.push(Outcome { node: node.id(), outcome, said: None });
                }
            }
        }
        failures
    }
}

/// A round of questions.
#[derive(Debug, Clone, Default)]
struct Round {
    number: u64,
    /// Who can wait.
    spared: Vec<NodeId>,
}

/// Asks one node, once per round at most, until the coordinator is gone.
struct Watcher {
    node: Arc<Node>,
    prober: Prober,
    is_replica: bool,
    rounds: watch::Receiver<Round>,
    inquiries: watch::Receiver<Option<NodeId>>,
    baseline: watch::Receiver<Option<Arc<Baseline>>>,
    reports: mpsc::Sender<Report>,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let report = tokio::select! {
                biased;
                round = self.rounds.changed() => match round {
                    Ok(()) => self.probe().await,
                    Err(_) => return,
                },
                Ok(()) = self.inquiries.changed() => self.inquire().await,
            };
            if let Some(report) = report
                && self.reports.send(report).await.is_err()
            {
                return;
            }
        }
    }

    async fn probe(&mut self) -> Option<Report> {
        let node = self.node.id();
        if self.rounds.borrow_and_update().spared.contains(&node) {
            return None;
        }
        if self.is_replica {
            sleep(HEAD_START).await;
        }
        let baseline = self.baseline.borrow().clone();
        let outcome = self.prober.probe(baseline.as_deref()).await;
        self.is_replica = outcome.as_ref().is_ok_and(Observation::is_of_replica);
        let said = self.prober.take_said();
        Some(Report::Probe(Box::new(Outcome { node, outcome, said })))
    }

    async fn inquire(&mut self) -> Option<Report> {
        let node = self.node.id();
        let is_primary = *self.inquiries.borrow_and_update() == Some(node);
        let inquiry = if is_primary {
            Inquiry::Shown
        } else {
            let baseline = self.baseline.borrow().clone()?;
            self.node.take_inquiry().then_some(Inquiry::Lead(baseline))?
        };
        match self.prober.ask_for(&inquiry).await {
            Ok(word) => Some(Report::Word(node, word?)),
            Err(failure) => {
                let outcome = Outcome { node, outcome: Err(failure), said: None };
                Some(Report::Probe(Box::new(outcome)))
            }
        }
    }
}

/// Decides when to ask, and draws conclusions.
struct Coordinator {
    monitor: Monitor,
    roster: Arc<Roster>,
    fleet: Fleet,
    pace: Pace,
    inquiries: Inquiries,
    /// When the primary last said what it shows.
    shown_at: Option<Instant>,
    watches: Watches,
    outcomes: mpsc::Receiver<Report>,
    /// The time that every replica is to be fresh as of, for somebody has written before it.
    wanted: Option<Instant>,
}

impl Coordinator {
    async fn run(&mut self) {
        loop {
            let due = self.begin_what_is_due();
            tokio::select! {
                changed = self.monitor.rosters.changed() => match changed {
                    Ok(()) => self.change(),
                    Err(_) => return,
                },
                Ok(()) = self.monitor.listings.changed() => self.heed(),
                () = sleep_until(due.into()) => {}
                Some(report) = self.outcomes.recv() => match report {
                    Report::Probe(outcome) => self.record(*outcome),
                    Report::Word(node, word) => self.hear(node, word),
                },
                () = self.monitor.board.inquired() => self.inquiries.want(),
                () = self.monitor.board.nudged() => self.pace.hurry(),
                () = self.roster.alarm.notified() => {
                    self.pace.hurry();
                    self.publish();
                }
            }
        }
    }

    /// Begins what is due, and gives the time when something is next. The timer, which counts in
    /// milliseconds, would let what is due at once wait for the next one.
    fn begin_what_is_due(&mut self) -> Instant {
        let now = clock::now();
        if self.pace.next() <= now {
            self.begin_round();
        }
        if self.inquiries.next(now).is_some_and(|due| due <= now) {
            self.inquire();
        }
        let round = self.pace.next();
        self.inquiries.next(now).map_or(round, |inquiry| inquiry.min(round))
    }

    fn begin_round(&mut self) {
        let now = clock::now();
        if self.monitor.board.take_nudge() {
            self.wanted = Some(now);
        }
        self.pace.begin_round(now);
        let spared = self.fleet.spared(now);
        self.watches.rounds.send_modify(|round| {
            *round = Round { number: round.number + 1, spared };
        });
    }

    /// Lets the primary, and the standbys that somebody waits for, be asked between two rounds.
    fn inquire(&mut self) {
        let now = clock::now();
        self.inquiries.begin_round(now);
        let is_known = self.shown_at.is_some_and(|at| now < at + BASELINE_AGE);
        self.watches.inquiries.send_replace(if is_known { None } else { self.primary() });
    }

    fn primary(&self) -> Option<NodeId> {
        self.monitor.board.topology().primary().map(|view| view.node.id())
    }

    /// Takes what a node says of the transactions that it shows, and tells those who wait for it.
    fn hear(&mut self, node: NodeId, word: Word) {
        let is_lead = matches!(word, Word::Lead(_));
        let has_helped = self.fleet.hear(node, word);
        if is_lead && !has_helped {
            // Behind the standby: what it showed the primary may well show by now.
            self.watches.inquiries.send_replace(self.primary());
        }
        if !is_lead {
            self.note_baseline();
        }
        if has_helped {
            self.inquiries.has_helped();
        }
        if is_lead || has_helped {
            self.publish();
        }
    }

    /// What the primary shows is what standbys are held against from now on.
    fn note_baseline(&mut self) {
        self.shown_at = Some(clock::now());
        self.watches.baseline.send_replace(self.fleet.baseline());
    }

    /// Heeds a new roster. Of the nodes that stay nothing is forgotten; the new ones are asked at once.
    fn change(&mut self) {
        self.roster = Arc::clone(&self.monitor.rosters.borrow_and_update());
        // First what is said of those that are new.
        self.heed();
        let nodes: Vec<_> = self.roster.nodes().cloned().collect();
        self.fleet.adopt(&nodes);
        self.pace.set_interval(self.roster.spec.monitor.interval);
        self.pace.hurry();
        self.watch();
        self.publish();
        self.monitor.heeded.send_replace(self.roster.number);
    }

    /// Heeds what Citus says of the nodes.
    fn heed(&mut self) {
        let listing = self.monitor.listings.borrow_and_update().clone();
        if let Some(listing) = listing {
            self.fleet.heed(listing);
            self.publish();
        }
    }

    fn watch(&mut self) {
        for failure in self.watches.follow(&self.roster) {
            self.record(failure);
        }
    }

    fn record(&mut self, Outcome { node, outcome, said }: Outcome) {
        // One that was taken out of the cluster meanwhile has nothing to say any more.
        let Some(index) = self.fleet.place(node) else { return };
        if let (Ok(observation), Some(member)) = (&outcome, self.roster.members.get(index)) {
            let allowed = observation.server.connection_limit;
            let configured = self.roster.spec.max_connections;
            member.node.note_version(observation.server.version);
            member.node.admission.set_limit(if configured == 0 { allowed } else { configured });
        }
        let has_shown =
            outcome.as_ref().is_ok_and(|said| matches!(said.word, Some(Word::Shown(_))));
        self.fleet.record(index, outcome, said, clock::now());
        if has_shown {
            self.note_baseline();
        }
        self.publish();
        let is_caught_up = self.wanted.is_none_or(|wanted| self.fleet.all_fresh_as_of(wanted));
        if is_caught_up {
            self.wanted = None;
        }
        if self.fleet.is_uncertain() {
            if !self.pace.is_hurried() {
                self.pace.hurry();
            }
        } else if is_caught_up && !self.monitor.board.is_nudged() {
            // A nudge that came during this round wants another one.
            self.pace.relax();
        }
    }

    fn publish(&mut self) {
        let board = &self.monitor.board;
        let before = board.snapshot();
        let now = self.fleet.draw();
        // Before anybody hears of it.
        for view in &now.nodes {
            view.node.set_fenced(view.role == Role::Fenced);
            view.node.set_standing(view.standing);
        }
        if now.generation != before.generation {
            self.log(&before, &now);
        }
        board.publish(now);
    }

    /// Logs what has changed.
    fn log(&self, before: &Topology, now: &Topology) {
        let cluster = self.monitor.cluster.as_str();
        for view in &before.nodes {
            if now.view(view.node.id()).is_none() {
                tracing::info!(cluster, node = view.node.name(), "node removed");
            }
        }
        for view in &now.nodes {
            let was = before.view(view.node.id());
            let was = was.map(|was| (was.role, was.health, was.standing));
            if was != Some((view.role, view.health, view.standing)) {
                tracing::info!(
                    cluster,
                    node = view.node.name(),
                    role = view.role.as_str(),
                    health = view.health.as_str(),
                    given_up = (view.standing == Standing::Lost).then_some(true),
                    timeline = view.timeline,
                    why = view.why.as_deref(),
                    "node changed"
                );
            }
        }
        let primary = |topology: &Topology| topology.primary().map(|view| view.node.id());
        if primary(before) != primary(now) {
            let name = now.primary().map(|view| view.node.name());
            match name {
                Some(primary) => tracing::info!(cluster, primary, "the primary is"),
                None => tracing::warn!(cluster, "no primary"),
            }
        }
    }
}
