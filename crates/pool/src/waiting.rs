//! A client's wait for a server connection: for its turn in a full pool, for a primary, for a replica
//! that is fresh enough. Every one of these has an end.

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use crate::clock;
use crate::dial::Fault;
use crate::error::PoolError;
use crate::lease::Lease;
use crate::node_pool::{Place, Unserved};
use crate::pool_set::{Attempt, PoolSet};
use crate::select::{Access, NoNode, Want};
use crate::spec::{ReadPolicy, Reads};

/// How long a client waits to hear whether the primary shows what it has read on a replica. When nobody can
/// tell by then, the primary serves; when it is known not to, the client waits on.
const ANNOUNCEMENT_PATIENCE: Duration = Duration::from_secs(1);
/// How long a client whose connection could not be opened waits for news of the node before it tries
/// again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A client's wait for a server connection. Dropping it leaves the queue.
#[must_use = "a wait that is dropped leaves the queue"]
pub struct Waiting {
    wait: Pin<Box<dyn Future<Output = Result<Lease, PoolError>> + Send>>,
}

impl Waiting {
    pub(crate) fn new(
        set: Arc<PoolSet>,
        policy: ReadPolicy,
        want: Want,
        ticket: u64,
        place: Option<Place>,
    ) -> Self {
        let wait = Wait::new(set, policy, want, ticket);
        Self { wait: Box::pin(wait.run(place)) }
    }
}

impl Future for Waiting {
    type Output = Result<Lease, PoolError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.wait.as_mut().poll(context)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waiting").finish_non_exhaustive()
    }
}

/// What a wait knows.
struct Wait {
    set: Arc<PoolSet>,
    policy: ReadPolicy,
    want: Want,
    /// When it came, among all who want a connection from these pools.
    ticket: u64,
    begun_at: Instant,
    /// When there must be a node that serves.
    hold_until: Instant,
    /// When it must have been the client's turn; counted from its first place in a queue.
    turn_until: Option<Instant>,
    news: watch::Receiver<()>,
    changes: watch::Receiver<u64>,
}

/// Where a wait goes on.
enum Next {
    /// Has what it waited for.
    Done(Lease),
    /// Looks at the cluster again.
    Look,
    /// Stays in the queue.
    Stay(Place),
}

impl Wait {
    fn new(set: Arc<PoolSet>, policy: ReadPolicy, want: Want, ticket: u64) -> Self {
        let begun_at = clock::now();
        let hold_until = begun_at + policy.hold;
        let (news, changes) = (set.board.news(), set.board.changes());
        Self { set, policy, want, ticket, begun_at, hold_until, turn_until: None, news, changes }
    }

    async fn run(mut self, place: Option<Place>) -> Result<Lease, PoolError> {
        let mut next = place.map_or(Next::Look, Next::Stay);
        loop {
            next = match next {
                Next::Look => {
                    self.resumed().await?;
                    let now = clock::now();
                    let (policy, want) = (&self.policy, &self.want);
                    match self.set.attempt_in_turn(policy, want, now, self.ticket) {
                        Attempt::Nobody(NoNode::NoPrimary) if want.access == Access::Primary => {
                            let attempt = self.line().await?;
                            self.take(attempt)?
                        }
                        Attempt::Nobody(why) => self.news(why).await?,
                        attempt => self.take(attempt)?,
                    }
                }
                Next::Done(lease) => return Ok(lease),
                Next::Stay(place) => match self.turn(place).await? {
                    Ok(lease) => return Ok(lease),
                    Err(next) => next,
                },
            };
        }
    }

    /// Goes on with what an attempt has led to.
    fn take(&self, attempt: Attempt) -> Result<Next, PoolError> {
        match attempt {
            Attempt::Ready(lease) => Ok(self.accept(lease).map_or(Next::Look, Next::Done)),
            Attempt::Queued(place) => Ok(Next::Stay(place)),
            Attempt::Nobody(_) => Ok(Next::Look),
            Attempt::Crowded => Err(self.set.timed_out(None, self.waited())),
        }
    }

    /// A connection that was handed over earlier, if it is still what is wanted; else it goes back.
    fn accept(&self, lease: Lease) -> Option<Lease> {
        if !self.set.is_paused() && self.set.is_wanted(lease.node_id(), &self.want) {
            return Some(lease);
        }
        lease.hand_back();
        None
    }

    /// There is no primary: waits in line until there is.
    async fn line(&mut self) -> Result<Attempt, PoolError> {
        let mut place = self.set.line.join(self.ticket, self.policy, self.want);
        loop {
            let resumed = self.set.resumed.notified();
            if self.set.is_closed() {
                return Err(PoolError::ShuttingDown);
            }
            // What changed before this place was taken went unheard.
            self.set.release_held(clock::now());
            tokio::select! {
                biased;
                attempt = place.turn() => return attempt.ok_or(PoolError::ShuttingDown),
                () = changed(&mut self.changes) => {}
                () = resumed => {}
                () = sleep_until(self.hold_until.into()) => return Err(self.given_up()),
            }
        }
    }

    fn waited(&self) -> Duration {
        clock::now().saturating_duration_since(self.begun_at)
    }

    fn given_up(&self) -> PoolError {
        self.set.no_node(&self.policy, &self.want, clock::now(), self.waited())
    }

    /// Waits while the pools are paused.
    async fn resumed(&self) -> Result<(), PoolError> {
        loop {
            let resumed = self.set.resumed.notified();
            tokio::pin!(resumed);
            resumed.as_mut().enable();
            if self.set.is_closed() {
                return Err(PoolError::ShuttingDown);
            }
            if !self.set.is_paused() {
                return Ok(());
            }
            if timeout_at(self.hold_until.into(), resumed).await.is_err() {
                return Err(self.set.timed_out(None, self.waited()));
            }
        }
    }

    /// No node can serve: waits until the monitor knows more.
    async fn news(&mut self, why: NoNode) -> Result<Next, PoolError> {
        let until = match why {
            NoNode::NoPrimary => self.hold_until,
            NoNode::Shortly => {
                self.set.board.nudge();
                self.want.patience.unwrap_or(self.begun_at)
            }
            NoNode::Unannounced => self.inquire(),
            NoNode::NoReplica { catching_up: true } => {
                self.set.board.nudge();
                let patience = self.set.spec().checkout_timeout;
                (self.begun_at + patience).min(self.hold_until)
            }
            // Right after the start nothing is known yet; otherwise there is nothing to wait for.
            NoNode::NoReplica { catching_up: false } if !self.set.board.topology().known => {
                self.hold_until
            }
            NoNode::NoReplica { catching_up: false } => return Err(self.given_up()),
        };
        // A read may be served as soon as a replica is fresh.
        let closed = self.set.resumed.notified();
        if self.set.is_closed() {
            return Err(PoolError::ShuttingDown);
        }
        tokio::select! {
            news = self.news.changed() => heard(news),
            () = sleep_until(until.into()) => match why {
                // The primary serves it then.
                NoNode::Shortly => Ok(Next::Look),
                NoNode::Unannounced => self.assume_announced(),
                NoNode::NoPrimary | NoNode::NoReplica { .. } => Err(self.given_up()),
            },
            () = closed => Ok(Next::Look),
        }
    }

    /// The primary is not known to show what the client has read on a replica: has both asked. Gives the time
    /// when that is to be known.
    fn inquire(&self) -> Instant {
        let board = &self.set.board;
        let topology = board.topology();
        let there = self.want.seen.and_then(|seen| topology.view(seen.node));
        match there.filter(|view| view.health.serves_reads() && !view.node.is_suspected()) {
            Some(view) if self.want.announced_after.is_none() => board.inquire(&view.node),
            // What others have replayed tells as well, and takes a whole round or two.
            _ => board.nudge(),
        }
        let is_behind = topology.is_behind_standbys();
        let patience =
            if is_behind { self.set.spec().checkout_timeout } else { ANNOUNCEMENT_PATIENCE };
        self.begun_at + patience
    }

    /// Nobody could tell in time whether the primary shows what the client has read on a replica. Where it is
    /// known not to, it does not serve; otherwise such a moment is long over.
    fn assume_announced(&mut self) -> Result<Next, PoolError> {
        if !self.set.board.topology().is_behind_standbys() {
            let (access, seen, announced_after) = (Access::Primary, None, None);
            self.want = Want { access, seen, announced_after, ..self.want };
            return Ok(Next::Look);
        }
        if self.waited() < self.set.spec().checkout_timeout {
            return Ok(Next::Look);
        }
        Err(self.set.unannounced(&self.policy, &self.want, clock::now(), self.waited()))
    }

    /// Waits for the client's turn.
    async fn turn(&mut self, mut place: Place) -> Result<Result<Lease, Next>, PoolError> {
        if !self.set.is_wanted(place.pool().node().id(), &self.want) {
            return Ok(Err(Next::Look));
        }
        let patience = self.set.spec().checkout_timeout;
        let until = *self.turn_until.get_or_insert_with(|| clock::now() + patience);
        tokio::select! {
            biased;
            turn = place.turn() => match turn {
                Ok(lease) => Ok(self.accept(lease).ok_or(Next::Look)),
                Err(unserved) => self.unserved(&place, unserved).await.map(Err),
            },
            () = changed(&mut self.changes) => Ok(Err(Next::Stay(place))),
            () = sleep_until(until.into()) => {
                Err(self.set.timed_out(Some(place.pool()), self.waited()))
            }
        }
    }

    /// No connection could be opened: decides whether that is the client's answer.
    async fn unserved(&mut self, place: &Place, unserved: Unserved) -> Result<Next, PoolError> {
        let Unserved::Failed(error) = unserved else {
            if self.set.is_closed() {
                return Err(PoolError::ShuttingDown);
            }
            // The node has been taken out of the cluster.
            return Ok(Next::Look);
        };
        let node = place.pool().node();
        if error.fault() != Fault::Login {
            if clock::now() >= self.hold_until {
                return Err(self.given_up());
            }
            let pause = clock::now() + RETRY_PAUSE;
            let _ = timeout_at(pause.min(self.hold_until).into(), self.news.changed()).await;
            self.turn_until = None;
            return Ok(Next::Look);
        }
        // A replica may not have heard yet of a role, a password or a database that the primary
        // knows: what counts is the primary's answer.
        let is_primary = self.set.board.topology().is_primary(node.id());
        if self.want.access == Access::Replica
            && !is_primary
            && self.policy.reads != Reads::ReplicasOnly
        {
            self.want.access = Access::Primary;
            return Ok(Next::Look);
        }
        Err(PoolError::Connect { node: node.name().to_owned(), error })
    }
}

fn heard(news: Result<(), watch::error::RecvError>) -> Result<Next, PoolError> {
    news.map(|()| Next::Look).map_err(|_| PoolError::ShuttingDown)
}

/// Waits for a change of roles or health.
async fn changed(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        pending::<()>().await;
    }
}
