//! What is known of each client, for those who look on: who it is, what it did, what binds it.
//!
//! The client's own task writes, with plain loads and stores or, where something rare changes, under
//! a lock of its own; whoever looks pays for the looking.

use std::net::SocketAddr;
use std::ops::{Add, AddAssign};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgweir_pool::Stream;
use pgweir_protocol::startup::Startup;
use pgweir_protocol::verdict::Pins;
use tracing::Span;

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A share of the server connections.
    Shared,
    /// A replication connection of its own.
    Replication,
    /// The console.
    Console,
}

/// Who a client is, as it said and as its socket shows.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) user: String,
    /// As the client asked for it.
    pub(crate) database: String,
    pub(crate) application_name: String,
    /// None for a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// The process at the other end of a Unix socket.
    pub(crate) process: Option<i32>,
    pub(crate) encryption: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) since: Instant,
}

impl Identity {
    /// Who has sent this startup packet.
    pub(crate) fn new(stream: &Stream, startup: &Startup, kind: Kind) -> Self {
        let given = startup.parameters.iter().chain(&startup.options);
        let mut names = given.filter(|(name, _)| name.eq_ignore_ascii_case("application_name"));
        Self {
            user: startup.user.clone(),
            database: startup.database.clone(),
            application_name: names.next().map(|(_, value)| value.clone()).unwrap_or_default(),
            peer: stream.peer_address(),
            local: stream.local_address(),
            process: stream.peer_process(),
            encryption: stream.encryption(),
            kind,
            since: Instant::now(),
        }
    }
}

impl Identity {
    /// Who a line of the log is about: `id` as SHOW CLIENTS has it, once there is one. Made where there is
    /// something to be said: a span that was entered for every step of a client's task would cost more
    /// than the step.
    pub(crate) fn span(&self, id: Option<i32>) -> Span {
        let Self { user, database, peer, .. } = self;
        let peer = peer.map_or_else(|| "local".to_owned(), |peer| peer.to_string());
        // As important as the most important line.
        tracing::error_span!("client", id, user, database, peer)
    }
}

/// A number that one task counts up and anyone reads: no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    /// Counts so many more. Only the owner may.
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    /// Counts the time since then, in microseconds.
    pub(crate) fn add_time(&self, since: Instant, now: Instant) {
        self.add(micros(now.saturating_duration_since(since)));
    }

    /// The owner counted elsewhere.
    pub(crate) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What a client has done so far.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) queries: Tally,
    pub(crate) transactions: Tally,
    /// Bytes from the client.
    pub(crate) received: Tally,
    /// Bytes from servers for the client.
    pub(crate) sent: Tally,
    /// Microseconds from a query's going out to its answer's end.
    pub(crate) query_time: Tally,
    /// Microseconds from a transaction's first query to its end.
    pub(crate) transaction_time: Tally,
    /// Microseconds spent waiting for server connections.
    pub(crate) wait_time: Tally,
}

/// The same as plain numbers, of one client or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) queries: u64,
    pub(crate) transactions: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) query_time: u64,
    pub(crate) transaction_time: u64,
    pub(crate) wait_time: u64,
}

impl Work {
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            queries: self.queries.get(),
            transactions: self.transactions.get(),
            received: self.received.get(),
            sent: self.sent.get(),
            query_time: self.query_time.get(),
            transaction_time: self.transaction_time.get(),
            wait_time: self.wait_time.get(),
        }
    }
}

impl Totals {
    /// Each number of both, together by this rule.
    fn combine(self, other: Self, rule: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            queries: rule(self.queries, other.queries),
            transactions: rule(self.transactions, other.transactions),
            received: rule(self.received, other.received),
            sent: rule(self.sent, other.sent),
            query_time: rule(self.query_time, other.query_time),
            transaction_time: rule(self.transaction_time, other.transaction_time),
            wait_time: rule(self.wait_time, other.wait_time),
        }
    }

    /// What came since then.
    pub(crate) fn since(self, earlier: Self) -> Self {
        self.combine(earlier, u64::saturating_sub)
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, u64::wrapping_add)
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// One reason that binds a client to its server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pinned {
    pub(crate) reason: &'static str,
    pub(crate) since: Instant,
}

/// What others may see of a client.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) identity: Identity,
    pub(crate) work: Work,
    is_admitted: AtomicBool,
    /// Microseconds from `identity.since` to the beginning of its wait for a server, at least 1; 0
    /// while it does not wait.
    waits_from: Tally,
    pins: Mutex<Vec<Pinned>>,
}

impl Account {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            work: Work::default(),
            is_admitted: AtomicBool::new(false),
            waits_from: Tally::default(),
            pins: Mutex::default(),
        }
    }

    /// It has logged in.
    pub(crate) fn admit(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Whether it has logged in.
    pub(crate) fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }

    /// It waits for a server connection from now on.
    pub(crate) fn wait_begins(&self, now: Instant) {
        self.waits_from.set(micros(now.saturating_duration_since(self.identity.since)).max(1));
    }

    /// It waits no longer.
    pub(crate) fn wait_ends(&self, now: Instant) {
        if let Some(since) = self.waits_since() {
            self.work.wait_time.add_time(since, now);
            self.waits_from.set(0);
        }
    }

    /// Since when it has waited for a server connection, if it does.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let from = Duration::from_micros(self.waits_from.get());
        (!from.is_zero()).then(|| self.identity.since + from)
    }

    /// What binds it is this now. Reasons that stay keep their time.
    pub(crate) fn pin(&self, pins: Pins) {
        let mut known = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = |reason| {
            let earlier = known.iter().find(|pinned| pinned.reason == reason);
            earlier.map_or(now, |pinned| pinned.since)
        };
        *known = pins.names().map(|reason| Pinned { reason, since: since(reason) }).collect();
    }

    /// What binds it to its server connection now.
    pub(crate) fn pins(&self) -> Vec<Pinned> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The clock of one client's work; its task owns it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// When the query that is being answered went out.
    asked_at: Option<Instant>,
    /// When the transaction that is open began.
    begun_at: Option<Instant>,
    /// What binds the client, as last told to its [`Account`].
    pins: Pins,
}

impl Meter {
    /// Something of the client's goes to a server. `now` is asked only if it is news.
    pub(crate) fn asked(&mut self, now: impl FnOnce() -> Instant) {
        if self.asked_at.is_none() {
            let now = now();
            self.asked_at = Some(now);
            self.begun_at.get_or_insert(now);
        }
    }

    /// Since when an answer is awaited, if one is.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_running(&self) -> bool {
        self.asked_at.is_some()
    }

    /// All that the client asked for has been answered, and perhaps its transaction is over. Gives
    /// the time, if it was worth asking for.
    pub(crate) fn answered(&mut self, is_over: bool, work: &Work) -> Option<Instant> {
        let asked_at = self.asked_at.take()?;
        let now = Instant::now();
        work.query_time.add_time(asked_at, now);
        if let Some(begun_at) = self.begun_at.take_if(|_| is_over) {
            work.transaction_time.add_time(begun_at, now);
            work.transactions.add(1);
        }
        Some(now)
    }

    /// What binds the client; told on when it has changed.
    pub(crate) fn pinned(&mut self, pins: Pins, account: &Account) {
        if pins != self.pins {
            self.pins = pins;
            account.pin(pins);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::new(Identity {
            user: "app".into(),
            database: "app".into(),
            application_name: String::new(),
            peer: None,
            local: None,
            process: None,
            encryption: None,
            kind: Kind::Shared,
            since: Instant::now(),
        })
    }

    fn reasons(account: &Account) -> Vec<&'static str> {
        account.pins().iter().map(|pinned| pinned.reason).collect()
    }

    #[test]
    fn a_reason_that_stays_keeps_its_time() {
        let (account, mut meter) = (account(), Meter::default());
        meter.pinned(Pins::LISTEN, &account);
        let first = account.pins();
        meter.pinned(Pins::LISTEN.with(Pins::TEMPORARY), &account);
        assert_eq!(reasons(&account), ["temporary_table", "listen"]);
        assert_eq!(account.pins()[1], first[0]);
        meter.pinned(Pins::NONE, &account);
        assert_eq!(reasons(&account), [] as [&str; 0]);
    }

    #[test]
    fn a_wait_counts_once_it_is_over() {
        let account = account();
        let begin = account.identity.since + Duration::from_secs(1);
        account.wait_begins(begin);
        assert_eq!(account.waits_since(), Some(begin));
        assert_eq!(account.work.wait_time.get(), 0);
        account.wait_ends(begin + Duration::from_millis(3));
        account.wait_ends(begin + Duration::from_millis(9));
        assert_eq!((account.waits_since(), account.work.wait_time.get()), (None, 3000));
    }

    #[test]
    fn a_transaction_is_counted_at_its_end_and_not_while_it_is_open() {
        let (work, mut meter) = (Work::default(), Meter::default());
        let start = Instant::now();
        meter.asked(|| start);
        meter.asked(|| unreachable!("it is known since when"));
        meter.answered(false, &work);
        assert_eq!(work.totals().transactions, 0);
        meter.answered(true, &work);
        assert_eq!(work.totals().transactions, 0, "nothing was asked");
        meter.asked(Instant::now);
        meter.answered(true, &work);
        let totals = work.totals();
        assert_eq!(totals.transactions, 1);
        assert!(totals.transaction_time >= totals.query_time, "{totals:?}");
    }
}
