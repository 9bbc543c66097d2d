//! One client, from its login to its end: two sockets, one session machine, one task.
//!
//! The task owns the client's socket and, while the session is attached, the leased server's. It
//! moves bytes, and does what the session asks for: lease a server connection, give it back, end.
//! It decides nothing itself.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use pgweir_pool::{
    Checkout, Fit, Lease, NodeId, Past, PoolError, PoolSet, Reads, Standing, Stream, Waiting, Want,
};
use pgweir_protocol::message::TransactionStatus;
use pgweir_protocol::outgoing::Outgoing;
use pgweir_protocol::report::Report;
use pgweir_protocol::session::{Disposition, Loss, Next, Session, Stood, Work};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::verdict::{Culprit, Pins, Target};
use tokio::io::ReadBuf;
use tokio::time::{Sleep, sleep_until};

use crate::account::Meter;
use crate::config::ConsistencyLevel;
use crate::gateway::{ClientHandle, Gateway, Signal};
use crate::route::{ClientRouter, Wishes};
use crate::snapshot::{Policy, Spread, reach};

use super::query_log::{self, Times};
use super::refusal;
use super::wire::{Read, SCRATCH, Wire, scratch};

/// Rounds of work a task does before it lets others have their turn.
const MAX_ROUNDS: usize = 64;

/// What a client's task takes while it has nothing in its buffers, in bytes.
pub(crate) const CLIENT_TASK_SIZE: usize = size_of::<ClientTask>();

/// Why a client's connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client said goodbye, or closed its socket.
    Left,
    /// The client broke the protocol, or insists on what is not to be had.
    Violation,
    /// The server connection was lost together with state that was pinned to it.
    ServerLost,
    /// pgweir is shutting down, or an administrator ended it.
    Shutdown,
    /// It took longer than it may (`[limits]`).
    OutOfPatience,
    /// The socket failed.
    Io(io::ErrorKind),
}

/// What a client's task works with.
pub(super) struct ClientTask {
    stream: Stream,
    wire: Wire,
    session: Session<ClientRouter>,
    server: Option<Server>,
    waiting: Option<(Waiting, Target)>,
    /// The session waits for a reply: the client's bytes are not looked at before it has come.
    is_blocked: bool,
    /// What the client has said before was put in front of its bytes: to be offered again.
    runs_again: bool,
    /// Since when it is idle, if that is bounded.
    idle_since: Instant,
    /// Rings when the client may have taken too long.
    alarm: Option<Pin<Box<Sleep>>>,
    /// When the query began that took too long: the server was told so.
    overdue: Option<Instant>,
    /// The configuration is another one: it is taken over when the client is at rest.
    is_renewed: bool,
    pools: Arc<PoolSet>,
    policy: Policy,
    gateway: Arc<Gateway>,
    handle: Arc<ClientHandle>,
    meter: Meter,
    /// What the server is or was that works for the client, or did last.
    role: Target,
    /// How long the client has waited for a server since its last answer.
    waited: Duration,
    /// What the client has set of its reads.
    wishes: Wishes,
    /// The replica that it had last, where it keeps it.
    replica: Option<NodeId>,
    to_client: Outgoing,
    to_server: Outgoing,
}

/// A leased server connection.
struct Server {
    lease: Lease,
    wire: Wire,
    /// It may be asked how far it is when the client is through with it.
    is_asked: bool,
}

/// What a new client's task is made from.
pub(super) struct ClientStart {
    pub(super) stream: Stream,
    pub(super) session: Session<ClientRouter>,
    pub(super) pools: Arc<PoolSet>,
    pub(super) policy: Policy,
    pub(super) gateway: Arc<Gateway>,
    pub(super) handle: Arc<ClientHandle>,
}

/// For how long a query may go on after its server was told to cancel it.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Something that a client may take for so long.
struct Spell {
    kind: SpellKind,
    since: Instant,
    limit: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SpellKind {
    /// A query runs.
    Query,
    /// A query runs that its server was told to cancel.
    Overdue,
    /// Idle inside a transaction.
    Transaction,
    /// Idle outside.
    Idle,
}

impl Spell {
    fn due(&self) -> Instant {
        let grace = if self.kind == SpellKind::Overdue { CANCEL_GRACE } else { Duration::ZERO };
        self.since + self.limit + grace
    }
}

type Step = Result<bool, Ending>;

impl ClientTask {
    pub(super) fn new(start: ClientStart) -> Self {
        Self {
            wishes: Wishes::read(start.session.settings(), start.policy.level),
            stream: start.stream,
            wire: Wire::default(),
            session: start.session,
            server: None,
            waiting: None,
            is_blocked: false,
            runs_again: false,
            idle_since: Instant::now(),
            alarm: None,
            overdue: None,
            is_renewed: false,
            pools: start.pools,
            policy: start.policy,
            gateway: start.gateway,
            handle: start.handle,
            meter: Meter::default(),
            role: Target::Primary,
            waited: Duration::ZERO,
            replica: None,
            to_client: Outgoing::default(),
            to_server: Outgoing::default(),
        }
    }

    /// Serves the client to its end.
    pub(super) async fn serve(mut self) -> Ending {
        let ending = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.release(Instant::now());
        super::login::say_goodbye(&mut self.stream).await;
        ending
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        match self.rounds(cx).and_then(|()| self.heed_patience(cx)) {
            Ok(()) => Poll::Pending,
            Err(ending) => Poll::Ready(ending),
        }
    }

    /// Works until nothing is left to do, or for as long as it is this task's turn. Signals are
    /// heeded first, and again at the end: the work may have reached a transaction's end.
    fn rounds(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.heed_signals(cx)?;
        self.heed_standing(cx)?;
        for _ in 0..MAX_ROUNDS {
            if !self.round(cx)? {
                self.note_pins();
                return self.heed_signals(cx);
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Does what can be done without waiting; false when nothing could.
    fn round(&mut self, cx: &mut Context<'_>) -> Step {
        let mut progress = self.poll_lease(cx)?;
        if self.runs_again {
            self.resume_client(cx)?;
            progress = true;
        }
        self.wire.flush(&mut self.stream, cx).map_err(|error| ending(&error))?;
        if let Some(server) = &mut self.server
            && let Err(error) = server.wire.flush(&mut server.lease.stream, cx)
        {
            self.lose_server(&error.to_string(), cx)?;
            self.after_server(cx)?;
            progress = true;
        }
        let is_answered = self.read_server(cx)?;
        progress |= self.read_client(cx)?;
        // The client was looked at behind the answer: only what the answer has led to is left.
        let goes_on = self.server.is_some() || self.waiting.is_some() || self.runs_again;
        Ok(progress || (is_answered && goes_on))
    }

    fn heed_signals(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        loop {
            match self.handle.signal(cx) {
                Signal::None => break,
                Signal::Cancel if self.waiting.is_some() => {
                    self.waiting = None;
                    self.handle.account.wait_ends(Instant::now());
                    self.refuse_with(&refusal::cancelled());
                    self.resume_client(cx)?;
                }
                Signal::Cancel => {}
                Signal::Renew => self.is_renewed = true,
                Signal::Drain if !self.is_at_rest() => break,
                Signal::Drain | Signal::Kill => {
                    return self.dismiss(&refusal::shutting_down(), cx);
                }
            }
        }
        if self.is_renewed { self.renew(cx) } else { Ok(()) }
    }

    /// Ends what has taken too long.
    fn heed_patience(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        if !self.policy.patience.is_bounded() {
            self.alarm = None;
            return Ok(());
        }
        while let Some(spell) = self.spell() {
            let due = spell.due();
            if Instant::now() >= due {
                self.overrun(&spell, cx)?;
                continue;
            }
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
            if alarm.deadline() > due.into() {
                alarm.as_mut().reset(due.into());
            }
            if alarm.as_mut().poll(cx).is_pending() {
                break;
            }
            // It rang for an earlier spell.
            alarm.as_mut().reset(due.into());
        }
        Ok(())
    }

    /// What the client is at, if that is bounded. While it waits for a server, `checkout_timeout` and
    /// `hold` do that.
    fn spell(&self) -> Option<Spell> {
        let patience = self.policy.patience;
        let status = self.session.status();
        let (kind, since, limit) = match self.meter.asked_at() {
            _ if self.waiting.is_some() => return None,
            Some(asked_at) if self.overdue == Some(asked_at) => {
                (SpellKind::Overdue, asked_at, patience.query)
            }
            Some(asked_at) => (SpellKind::Query, asked_at, patience.query),
            None if self.session.is_at_rest() => (SpellKind::Idle, self.idle_since, patience.idle),
            None if status != TransactionStatus::Idle => {
                (SpellKind::Transaction, self.idle_since, patience.transaction)
            }
            None => return None,
        };
        limit.map(|limit| Spell { kind, since, limit })
    }

    fn overrun(&mut self, spell: &Spell, cx: &mut Context<'_>) -> Result<(), Ending> {
        let (code, what, key) = match spell.kind {
            SpellKind::Query => {
                self.overdue = Some(spell.since);
                if let Some(server) = self.handle.cancel() {
                    // The answer to the query tells the client.
                    tokio::spawn(async move { server.cancel().await });
                }
                return Ok(());
            }
            SpellKind::Overdue => {
                (SqlState::QUERY_CANCELED, "a query that does not end", "query_timeout")
            }
            SpellKind::Transaction => (
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "idle-in-transaction timeout",
                "idle_transaction_timeout",
            ),
            SpellKind::Idle => {
                (SqlState::IDLE_SESSION_TIMEOUT, "idle-session timeout", "client_idle_timeout")
            }
        };
        let why = refusal::out_of_patience(code, what, key, spell.limit);
        let told = self.dismiss(&why, cx);
        told.map_err(
            |ending| if ending == Ending::Shutdown { Ending::OutOfPatience } else { ending },
        )
    }

    fn is_at_rest(&self) -> bool {
        self.session.is_at_rest() && self.waiting.is_none()
    }

    /// Says a last word.
    fn dismiss(&mut self, why: &Report, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.to_client.clear();
        self.note_error(why.code);
        self.to_client.own(|out| why.encode_error(out));
        self.write_client(&[], cx).map_err(|error| ending(&error))?;
        Err(Ending::Shutdown)
    }

    /// Takes another configuration over, once the client is at rest. A server connection that binds it
    /// stays; what comes next comes from the new pools.
    fn renew(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        if !self.is_at_rest() {
            return Ok(());
        }
        self.is_renewed = false;
        let identity = &self.handle.account.identity;
        let Some(terms) = self.gateway.terms(identity, &self.pools) else {
            let why = refusal::no_longer_served(&identity.database);
            return self.dismiss(&why, cx);
        };
        if !Arc::ptr_eq(&self.policy.cluster, &terms.policy.cluster) {
            // What was read there says nothing of other servers.
            self.session.router_mut().past = Past::new(terms.pools.last_write());
        }
        self.session.change(terms.mode, terms.max_message);
        self.session.router_mut().change(terms.router, terms.policy.clone());
        (self.pools, self.policy) = (terms.pools, terms.policy);
        self.wishes = Wishes::read(self.session.settings(), self.policy.level);
        Ok(())
    }

    /// Leaves a server that is no place to stay.
    fn heed_standing(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let Some(cause) = self.reason_to_leave() else { return Ok(()) };
        let work = self.session.work();
        if let Some(server) = self.part_with_server(cause) {
            // It may be alive, and at work for longer.
            tokio::spawn(abandon(server.lease, self.pools.clone(), work));
        }
        self.tell_of_loss(cause, cx)?;
        self.after_server(cx)
    }

    /// A server that another has replaced as the primary is left: what would be written there is
    /// lost, and nobody notifies there. What it only reads it may finish. One that is silent is left
    /// if the client does not notice, and one that is given up in any case.
    fn reason_to_leave(&self) -> Option<&'static str> {
        let node = self.server.as_ref()?.lease.node();
        if node.is_fenced() && self.session.work() != Work::Reading {
            return Some("another server has become the primary");
        }
        match node.standing() {
            Standing::Good => None,
            Standing::Silent => self.session.may_leave().then_some("it does not answer"),
            Standing::Lost => Some("it has not answered for long"),
        }
    }

    // ---- the client's side ----

    fn read_client(&mut self, cx: &mut Context<'_>) -> Step {
        if !self.may_read_client() {
            return Ok(false);
        }
        let mut scratch = scratch();
        let mut buffer = ReadBuf::uninit(&mut scratch);
        let read = match self.wire.poll_read(&mut self.stream, &mut buffer, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => read.map_err(|error| ending(&error))?,
        };
        if self.policy.patience.idle.is_some() {
            self.idle_since = Instant::now();
        }
        match read {
            Read::End => return Err(Ending::Left),
            // While it waits, its bytes are only taken in, so that its leaving is noticed.
            Read::Scratch if self.waits() => self.wire.keep(buffer.filled(), 0),
            Read::Scratch => {
                let used = self.take_client(buffer.filled(), cx)?;
                let rest = buffer.filled().get(used..).unwrap_or_default();
                self.wire.kept.extend_from_slice(rest);
                self.wire.shrink();
            }
            Read::Kept if self.waits() => {}
            Read::Kept => self.resume_client(cx)?,
        }
        Ok(true)
    }

    fn waits(&self) -> bool {
        self.is_blocked || self.waiting.is_some()
    }

    fn may_read_client(&self) -> bool {
        let is_server_behind = self.server.as_ref().is_some_and(|server| !server.wire.is_flushed());
        let is_full = self.waits() && self.wire.kept.len() >= SCRATCH;
        !is_server_behind && !is_full
    }

    /// Offers the session again what it did not use before.
    fn resume_client(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.is_blocked = false;
        self.runs_again = false;
        if self.wire.kept.len() < self.wire.need {
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.wire.kept);
        let used = self.take_client(&kept, cx)?;
        kept.advance(used);
        if self.wire.kept.is_empty() {
            self.wire.kept = kept;
        } else {
            // What runs again goes ahead of what came since.
            self.wire.kept.extend_from_slice(&kept);
        }
        self.wire.shrink();
        Ok(())
    }

    /// Gives the client's bytes to the session and does what it asks for; returns how many were
    /// used.
    fn take_client(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<usize, Ending> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            self.to_server.clear();
            self.to_client.clear();
            let taken = self.session.on_client(rest, &mut self.to_server, &mut self.to_client);
            if self.server.is_some() && !self.to_server.is_empty() {
                self.meter.asked(Instant::now);
            }
            let sent = self.write_server(rest, cx);
            self.write_client(rest, cx).map_err(|error| ending(&error))?;
            used += taken.consumed;
            self.handle.account.work.received.add(taken.consumed as u64);
            let is_lost = sent.is_err();
            if let Err(error) = sent {
                self.lose_server(&error.to_string(), cx)?;
            }
            if self.runs_again {
                return Ok(used);
            }
            match taken.next {
                Next::Need(need) => {
                    self.wire.need = need;
                    return Ok(used);
                }
                Next::Attach(target) => {
                    if !self.lease(target, cx)? {
                        self.wire.need = 0;
                        return Ok(used);
                    }
                }
                Next::Reply => {
                    self.wire.need = 0;
                    if !is_lost && !self.detach_if_done(None) {
                        self.is_blocked = true;
                        return Ok(used);
                    }
                    if self.runs_again {
                        return Ok(used);
                    }
                }
                Next::Close => return Err(Ending::Left),
                Next::Fatal(code) => {
                    self.note_error(code);
                    return Err(Ending::Violation);
                }
            }
        }
    }

    fn write_client(&mut self, input: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        self.wire.write(&mut self.stream, &self.to_client, input, cx)
    }

    // ---- the server's side ----

    fn write_server(&mut self, input: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        match &mut self.server {
            Some(server) if !self.to_server.is_empty() => {
                server.wire.write(&mut server.lease.stream, &self.to_server, input, cx)
            }
            _ => Ok(()),
        }
    }

    fn read_server(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(server) = self.server.as_mut().filter(|_| self.wire.is_flushed()) else {
            return Ok(false);
        };
        let mut scratch = scratch();
        let mut buffer = ReadBuf::uninit(&mut scratch);
        let read = match server.wire.poll_read(&mut server.lease.stream, &mut buffer, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => read,
        };
        match read {
            Ok(Read::Scratch) => {
                let used = self.take_server(buffer.filled(), cx)?;
                if let Some(server) = &mut self.server {
                    let rest = buffer.filled().get(used..).unwrap_or_default();
                    server.wire.kept.extend_from_slice(rest);
                }
            }
            Ok(Read::Kept) if server.wire.kept.len() < server.wire.need => {}
            Ok(Read::Kept) => {
                let mut kept = std::mem::take(&mut server.wire.kept);
                let used = self.take_server(&kept, cx)?;
                kept.advance(used);
                if let Some(server) = &mut self.server {
                    server.wire.kept = kept;
                }
            }
            Ok(Read::End) => self.lose_server("it closed the connection", cx)?,
            Err(error) => self.lose_server(&error.to_string(), cx)?,
        }
        self.after_server(cx)?;
        Ok(true)
    }

    /// Gives the server's bytes to the session; returns how many were used.
    fn take_server(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<usize, Ending> {
        self.to_client.clear();
        let taken = self.session.on_server(input, &mut self.to_client);
        // Before the answer is out: whoever has it finds the pin, and the write.
        self.note_pins();
        self.note_write();
        self.write_client(input, cx).map_err(|error| ending(&error))?;
        match taken {
            Ok(taken) => {
                match (&mut self.server, taken.next) {
                    (Some(server), Next::Need(need)) => server.wire.need = need,
                    (_, Next::Fatal(code)) => {
                        self.note_error(code);
                        return Err(Ending::Violation);
                    }
                    _ => {}
                }
                self.handle.account.work.sent.add(taken.consumed as u64);
                Ok(taken.consumed)
            }
            Err(broken) => {
                let cause = format!("it sent an unexpected message 0x{:02X}", broken.tag);
                self.lose_server(&cause, cx)?;
                Ok(input.len())
            }
        }
    }

    /// A write is about to be acknowledged, or nobody knows what became of it: later reads have to see
    /// it, whoever is entitled to that.
    fn note_write(&mut self) {
        if self.session.take_wrote() {
            let now = Instant::now();
            self.session.router_mut().past.wrote(now);
            self.pools.wrote(now);
            if let Some(server) = &mut self.server {
                server.is_asked = false;
            }
        }
    }

    /// What the server's bytes may have changed: nothing is owed any more, the client's next message
    /// can go.
    fn after_server(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let answered_at = self.note_answer();
        if self.session.router().awaits_rest() && self.session.is_at_rest() {
            self.session.router_mut().at_rest();
        }
        self.ask_position();
        self.follow_up(cx)?;
        if !self.detach_if_done(answered_at) {
            self.set_listener_apart();
        }
        // Between two pieces of work, also where the next one is here already.
        if self.is_renewed || self.handle.is_signalled() {
            self.heed_signals(cx)?;
        }
        if self.is_blocked || self.runs_again {
            self.resume_client(cx)?;
            // What waited may have been answered without the server.
            self.detach_if_done(None);
        }
        Ok(())
    }

    /// Wants to know how far the server is that the client has read on, now and then: so the client is
    /// free to read elsewhere.
    fn ask_position(&mut self) {
        let Some(server) = self.server.as_mut().filter(|server| server.is_asked) else {
            return;
        };
        if self.session.wants_detach() {
            server.is_asked = false;
            let topology = self.policy.cluster.topology();
            let is_crowded = || server.lease.is_awaited();
            if self.session.router_mut().past.asks(&topology, is_crowded) {
                self.session.ask_position();
            }
        }
    }

    /// Notes what the client has been shown by the server that it leaves.
    fn note_shown(&mut self, now: Instant) {
        let stood = self.session.take_position();
        let past = &mut self.session.router_mut().past;
        let position = match &stood {
            Some(Stood::At(position)) => position.parse().ok(),
            Some(Stood::Unknown) | None => None,
        };
        past.ends(now, position);
        if stood.is_some() && position.is_none() {
            past.gives_up_asking();
        }
    }

    /// Sends what the session has to ask of the server before it lets go of it.
    fn follow_up(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.to_server.clear();
        self.session.follow_up(&mut self.to_server);
        match self.write_server(&[], cx) {
            Ok(()) => Ok(()),
            Err(error) => self.lose_server(&error.to_string(), cx),
        }
    }

    /// Counts what has been answered; gives the time, if something has.
    fn note_answer(&mut self) -> Option<Instant> {
        if !self.meter.is_running() || !self.session.is_answered() {
            return None;
        }
        let work = &self.handle.account.work;
        work.queries.set(self.session.router().sent_count());
        let is_over = self.session.status() == TransactionStatus::Idle;
        let asked_at = self.meter.asked_at();
        let answered_at = self.meter.answered(is_over, work);
        if let (Some(asked_at), Some(answered_at)) = (asked_at, answered_at) {
            self.idle_since = answered_at;
            let took = answered_at.saturating_duration_since(asked_at);
            self.session.router().metrics().answered(self.role, took);
            if self.policy.log.any() {
                self.log_answer(took);
            }
        }
        answered_at
    }

    /// Tells the log of what has been answered.
    fn log_answer(&mut self, took: Duration) {
        let noted = self.session.router_mut().take_noted();
        if noted.is_empty() {
            // An answer to pgweir itself, which made ready for the client's statement.
            return;
        }
        let waited = std::mem::take(&mut self.waited);
        query_log::answered(self.policy.log, &noted, &self.handle, Times { took, waited });
    }

    /// Lets others know what binds the client to its server connection.
    fn note_pins(&mut self) {
        self.meter.pinned(self.session.pins(), &self.handle.account);
    }

    /// Gives the server connection back when the session is through with it.
    fn detach_if_done(&mut self, answered_at: Option<Instant>) -> bool {
        let now = self.note_answer().or(answered_at);
        // One that is left for another may have been told less than it was to be.
        let is_left = self.session.runs_again();
        let is_through =
            |server: &Server| (is_left || server.wire.is_flushed()) && server.wire.kept.is_empty();
        let done = self.session.wants_detach() && self.server.as_ref().is_some_and(is_through);
        if done {
            self.release(now.unwrap_or_else(Instant::now));
            self.note_answer();
            self.take_back();
        }
        done
    }

    /// Puts what has to run again in front of what the client has said since.
    fn take_back(&mut self) {
        let Some(said) = self.session.take_back() else {
            return;
        };
        let received = &self.handle.account.work.received;
        received.set(received.get().saturating_sub(said.len() as u64));
        let since = std::mem::replace(&mut self.wire.kept, BytesMut::from(&*said));
        self.wire.kept.extend_from_slice(&since);
        self.wire.need = 0;
        self.runs_again = true;
    }

    /// A client that listens keeps its connection, idle most of the time, for as long as it likes:
    /// the pool gets another in its place, if the node has room. Where a client keeps its connection
    /// anyway, the pool's size bounds how many do.
    fn set_listener_apart(&mut self) {
        let pins = self.session.pins();
        if pins.has(Pins::LISTEN)
            && !pins.has(Pins::SESSION_MODE)
            && self.session.is_at_rest()
            && let Some(server) = &mut self.server
        {
            server.lease.set_apart();
        }
    }

    fn release(&mut self, now: Instant) {
        let Some(server) = self.server.take() else {
            return;
        };
        self.note_shown(now);
        let cancelled = self.handle.detached();
        let clean = server.wire.is_flushed() && server.wire.kept.is_empty();
        let work = self.session.work();
        match self.session.detach() {
            Some((facts, Disposition::Reuse)) if clean && !cancelled => {
                server.lease.give_back_at(facts, now);
            }
            _ => {
                tokio::spawn(abandon(server.lease, self.pools.clone(), work));
            }
        }
    }

    fn lose_server(&mut self, cause: &str, cx: &mut Context<'_>) -> Result<(), Ending> {
        let is_ended_alone = self.session.is_ended_alone();
        if let Some(server) = self.part_with_server(cause)
            && !is_ended_alone
        {
            server.lease.node().suspect();
        }
        self.tell_of_loss(cause, cx)
    }

    fn part_with_server(&mut self, cause: &str) -> Option<Server> {
        let server = self.server.take()?;
        self.note_shown(Instant::now());
        self.handle.detached();
        let _client = self.handle.span().entered();
        tracing::debug!(node = server.lease.node().name(), cause, "server connection lost");
        Some(server)
    }

    /// The client hears of it, if what it had under way cannot run again elsewhere.
    fn tell_of_loss(&mut self, cause: &str, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.to_client.clear();
        let loss = self.session.server_lost(cause, &mut self.to_client);
        self.note_write();
        self.note_answer();
        self.note_pins();
        self.write_client(&[], cx).map_err(|error| ending(&error))?;
        self.take_back();
        match loss {
            Loss::Survived => Ok(()),
            Loss::Fatal => Err(Ending::ServerLost),
        }
    }

    // ---- leases ----

    /// Leases a server connection; false when that takes time.
    fn lease(&mut self, target: Target, cx: &mut Context<'_>) -> Step {
        let now = Instant::now();
        let want = self.want(target, now);
        match self.pools.checkout(&self.policy.reads, &want, now) {
            Checkout::Ready(lease) => {
                self.attach(lease, now, cx)?;
                Ok(true)
            }
            Checkout::Wait(waiting) => {
                self.handle.account.wait_begins(now);
                self.waiting = Some((waiting, target));
                Ok(false)
            }
            Checkout::Refused(error) => {
                self.refuse(&error);
                Ok(true)
            }
        }
    }

    fn want(&mut self, target: Target, now: Instant) -> Want {
        self.wishes = self.wishes.renewed(self.session.settings(), self.policy.level);
        let fit = Fit {
            settings_mark: Some(self.session.carried_mark()),
            session: Some(self.session.id()),
            drawer: Some(self.session.drawer()),
            recalls_sequences: self.session.recalls_sequences(),
        };
        let prefer = self.replica;
        Want { fit, prefer, ..self.session.router().want(reach(target), self.wishes, now) }
    }

    fn poll_lease(&mut self, cx: &mut Context<'_>) -> Step {
        let Some((waiting, target)) = &mut self.waiting else {
            return Ok(false);
        };
        let target = *target;
        let Poll::Ready(lease) = Pin::new(waiting).poll(cx) else {
            return Ok(false);
        };
        self.waiting = None;
        let now = Instant::now();
        let since = self.handle.account.waits_since();
        let took = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.session.router().metrics().waits.record(took);
        self.waited += took;
        self.handle.account.wait_ends(now);
        if target == Target::Replica {
            self.session.router_mut().past.waited(now, took);
        }
        match lease {
            Ok(lease) => self.attach(lease, now, cx)?,
            Err(error) => {
                self.waited = Duration::ZERO;
                self.refuse(&error);
            }
        }
        self.resume_client(cx)?;
        Ok(true)
    }

    fn attach(
        &mut self,
        mut lease: Lease,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let Some(facts) = lease.take_facts() else {
            self.refuse_with(&refusal::cancelled());
            return Ok(());
        };
        self.handle.attached(lease.cancel_handle(), now);
        self.meter.asked(|| now);
        self.session.router_mut().attached(lease.node());
        let topology = self.policy.cluster.topology();
        let is_primary = topology.is_primary(lease.node_id());
        self.role = if is_primary { Target::Primary } else { Target::Replica };
        self.session.router_mut().past.begins(&topology, lease.node_id(), lease.incarnation());
        drop(topology);
        if self.role == Target::Replica && self.policy.keeps_replica {
            self.replica = Some(lease.node_id());
        }
        let is_asked = self.wishes.level != ConsistencyLevel::Eventual
            && self.policy.reads.reads != Reads::Primary
            && self.policy.spread == Spread::Whole
            && !self.policy.keeps_replica;
        self.server = Some(Server { lease, wire: Wire::default(), is_asked });
        self.to_server.clear();
        self.session.attach(facts, self.role, &mut self.to_server);
        match self.write_server(&[], cx) {
            Ok(()) => Ok(()),
            Err(error) => self.lose_server(&error.to_string(), cx),
        }
    }

    fn refuse(&mut self, error: &PoolError) {
        match refusal::of_pool(error) {
            refusal::Refused::Verbatim(frame) => {
                let code = refusal::code(&frame);
                self.session.router().metrics().errors.count(code, Culprit::Server);
                self.session.refuse_with(frame);
            }
            refusal::Refused::Report(report) => self.refuse_with(&report),
        }
    }

    fn refuse_with(&mut self, report: &Report) {
        self.note_error(report.code);
        self.session.refuse(report);
    }

    /// The client is told of an error of pgweir's own.
    fn note_error(&self, code: SqlState) {
        self.session.router().metrics().errors.count(code, Culprit::Pgweir);
    }
}

/// Closes a server connection that nobody may have again, and that may be at work still: its place is
/// free when the server is.
///
/// A read whose client is gone is of no use to anybody, and is cancelled. Anything else runs to its
/// end, as PostgreSQL has it for a client of its own that goes away (manual, 20.3.2
/// `client_connection_check_interval`, off by default).
///
/// What a write that runs on does its client was not told; but whoever comes after it may well know.
async fn abandon(lease: Lease, pools: Arc<PoolSet>, work: Work) {
    if work == Work::Reading {
        tokio::select! {
            cancelled = lease.cancel_handle().cancel() => if let Err(error) = cancelled {
                let node = lease.node().name();
                tracing::debug!(node, %error, "an abandoned read was not cancelled");
            },
            () = lease.node().given_up() => {}
        }
    }
    lease.wind_down().await;
    if work == Work::Writing {
        pools.wrote(Instant::now());
    }
}

/// How a client ends whose socket fails.
pub(super) fn ending(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ending::Left,
        kind => Ending::Io(kind),
    }
}
