//! The monitor of a cluster: a task per node that asks, and a coordinator that decides when, keeps
//! score, and publishes what it means.
//!
//! A round is a number that the coordinator raises; each node's task asks once for the newest number it
//! has seen. So all nodes are asked at the same time (the primary a little earlier), and one that hangs
//! skips rounds without holding anybody up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, sleep_until};

use crate::board::Board;
use crate::citus::{Listing, Said};
use crate::clock;
use crate::control::Control;
use crate::fleet::Fleet;
use crate::node::NodeId;
use crate::pace::Pace;
use crate::probe::Prober;
use crate::roster::{Member, Roster};
use crate::select::MAX_NODES;
use crate::spec::ClusterKind;
use crate::topology::{Role, Standing, Topology};
use crate::tracker::{Failure, Observation};

/// How long after the primary the replicas are asked in a round. One that keeps up has replayed by then
/// what the primary had written when it was asked, and shows it in this round instead of in the next.
const HEAD_START: Duration = Duration::from_millis(1);

/// Outcomes per node that may lie unread before the node's task waits.
const OUTCOMES_PER_NODE: usize = 2;

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
            watches: Watches {
                rounds: watch::Sender::new(Round::default()),
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
    reports: mpsc::Sender<Outcome>,
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
                    let rounds = self.rounds.subscribe();
                    let reports = self.reports.clone();
                    let task = self.tasks.spawn(watch_node(node.id(), prober, rounds, reports));
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
async fn watch_node(
    node: NodeId,
    mut prober: Prober,
    mut rounds: watch::Receiver<Round>,
    reports: mpsc::Sender<Outcome>,
) {
    let mut is_replica = false;
    while rounds.changed().await.is_ok() {
        if rounds.borrow_and_update().spared.contains(&node) {
            continue;
        }
        if is_replica {
            sleep(HEAD_START).await;
        }
        let outcome = prober.probe().await;
        is_replica = outcome.as_ref().is_ok_and(Observation::is_of_replica);
        let said = prober.take_said();
        if reports.send(Outcome { node, outcome, said }).await.is_err() {
            return;
        }
    }
}

/// Decides when to ask, and draws conclusions.
struct Coordinator {
    monitor: Monitor,
    roster: Arc<Roster>,
    fleet: Fleet,
    pace: Pace,
    watches: Watches,
    outcomes: mpsc::Receiver<Outcome>,
    /// The time that every replica is to be fresh as of, for somebody has written before it.
    wanted: Option<Instant>,
}

impl Coordinator {
    async fn run(&mut self) {
        loop {
            let due = self.pace.next();
            tokio::select! {
                changed = self.monitor.rosters.changed() => match changed {
                    Ok(()) => self.change(),
                    Err(_) => return,
                },
                Ok(()) = self.monitor.listings.changed() => self.heed(),
                () = sleep_until(due.into()) => self.begin_round(),
                Some(outcome) = self.outcomes.recv() => self.record(outcome),
                () = self.monitor.board.nudged() => self.pace.hurry(),
                () = self.roster.alarm.notified() => {
                    self.pace.hurry();
                    self.publish();
                }
            }
        }
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
        self.fleet.record(index, outcome, said, clock::now());
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
