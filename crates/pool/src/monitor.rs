//! The monitor of a cluster: a task per node that asks, and a coordinator that decides when, keeps
//! score, and publishes what it means.
//!
//! A round is a number that the coordinator raises; each node's task asks once for the newest number it
//! has seen. So all nodes are asked at the same time, and one that hangs skips rounds without holding
//! anybody up.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::board::Board;
use crate::control::{Control, ControlError, Questioner};
use crate::node::Node;
use crate::pace::Pace;
use crate::probe::Prober;
use crate::spec::MonitorSpec;
use crate::topology::{Role, Topology};
use crate::tracker::{Failure, Observation, Tracker};

/// Outcomes per node that may lie unread before the node's task waits.
const OUTCOMES_PER_NODE: usize = 2;

/// What came of a node's probe.
struct Outcome {
    index: usize,
    outcome: Result<Observation, Failure>,
}

/// What the monitor works with.
pub(crate) struct Monitor {
    pub(crate) cluster: String,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) spec: MonitorSpec,
    /// Server connections per node, as configured; 0 is what the node allows.
    pub(crate) max_connections: u32,
    pub(crate) board: Arc<Board>,
    /// Rung when a node is suspected or taken out of service.
    pub(crate) alarm: Arc<Notify>,
}

impl Monitor {
    /// Starts the tasks.
    ///
    /// # Errors
    /// [`ControlError::Unusable`], when the library refuses the settings.
    pub(crate) fn start(
        self,
        controls: &[Control],
        tasks: &mut JoinSet<()>,
    ) -> Result<(), ControlError> {
        let questioner = Questioner {
            user: self.spec.user.clone(),
            password: self.spec.password.clone(),
            database: self.spec.database.clone(),
        };
        let rounds = watch::Sender::new(0_u64);
        let (sender, outcomes) = mpsc::channel(self.nodes.len() * OUTCOMES_PER_NODE);
        for (index, (node, control)) in self.nodes.iter().zip(controls).enumerate() {
            let pool = control.probes(&questioner)?;
            let prober = Prober::new(Arc::clone(node), pool, self.spec.timeout);
            tasks.spawn(watch_node(index, prober, rounds.subscribe(), sender.clone()));
        }
        let coordinator = Coordinator {
            tracker: Tracker::new(&self.nodes),
            pace: Pace::new(self.spec.interval, Instant::now()),
            rounds,
            outcomes,
            wanted: None,
            monitor: self,
        };
        tasks.spawn(coordinator.run());
        Ok(())
    }
}

/// Asks one node, once per round at most, until the coordinator is gone.
async fn watch_node(
    index: usize,
    mut prober: Prober,
    mut rounds: watch::Receiver<u64>,
    outcomes: mpsc::Sender<Outcome>,
) {
    while rounds.changed().await.is_ok() {
        let outcome = prober.probe().await;
        if outcomes.send(Outcome { index, outcome }).await.is_err() {
            return;
        }
    }
}

/// Decides when to ask, and draws conclusions.
struct Coordinator {
    monitor: Monitor,
    tracker: Tracker,
    pace: Pace,
    rounds: watch::Sender<u64>,
    outcomes: mpsc::Receiver<Outcome>,
    /// The time that every replica is to be fresh as of, for somebody has written before it.
    wanted: Option<Instant>,
}

impl Coordinator {
    async fn run(mut self) {
        loop {
            let due = self.pace.next();
            tokio::select! {
                () = sleep_until(due.into()) => self.begin_round(),
                Some(outcome) = self.outcomes.recv() => self.record(outcome),
                () = self.monitor.board.nudged() => self.pace.hurry(),
                () = self.monitor.alarm.notified() => {
                    self.pace.hurry();
                    self.publish();
                }
            }
        }
    }

    fn begin_round(&mut self) {
        let now = Instant::now();
        if self.monitor.board.take_nudge() {
            self.wanted = Some(now);
        }
        self.pace.begin_round(now);
        self.rounds.send_modify(|round| *round += 1);
    }

    fn record(&mut self, Outcome { index, outcome }: Outcome) {
        if let (Ok(observation), Some(node)) = (&outcome, self.monitor.nodes.get(index)) {
            let allowed = observation.server.connection_limit;
            let configured = self.monitor.max_connections;
            node.note_version(observation.server.version);
            node.admission.set_limit(if configured == 0 { allowed } else { configured });
        }
        self.tracker.record(index, outcome);
        self.publish();
        let is_caught_up = self.wanted.is_none_or(|wanted| self.tracker.all_fresh_as_of(wanted));
        if is_caught_up {
            self.wanted = None;
        }
        if self.tracker.is_uncertain() {
            if !self.pace.is_hurried() {
                self.pace.hurry();
            }
        } else if is_caught_up {
            self.pace.relax();
        }
    }

    fn publish(&mut self) {
        let board = &self.monitor.board;
        let before = board.snapshot();
        let now = self.tracker.draw();
        // Before anybody hears of it.
        for view in &now.nodes {
            view.node.set_fenced(view.role == Role::Fenced);
        }
        if now.generation != before.generation {
            self.log(&before, &now);
        }
        board.publish(now);
    }

    /// Logs what has changed.
    fn log(&self, before: &Topology, now: &Topology) {
        let cluster = self.monitor.cluster.as_str();
        for (index, view) in now.nodes.iter().enumerate() {
            let was = before.nodes.get(index).map(|was| (was.role, was.health));
            if was != Some((view.role, view.health)) {
                tracing::info!(
                    cluster,
                    node = view.node.name(),
                    role = view.role.as_str(),
                    health = view.health.as_str(),
                    timeline = view.timeline,
                    why = view.why.as_deref(),
                    "node changed"
                );
            }
        }
        if before.primary != now.primary {
            let name = now.primary().map(|view| view.node.name());
            match name {
                Some(primary) => tracing::info!(cluster, primary, "the primary is"),
                None => tracing::warn!(cluster, "no primary"),
            }
        }
    }
}
