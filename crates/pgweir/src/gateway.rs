//! What all clients of one pgweir share: configuration, clusters, caches, counters.
//!
//! A [`Gateway`] is built from a configuration and handed to whoever needs a part of it. Nothing
//! here is global: two gateways live in one process without knowing of each other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use futures_util::task::AtomicWaker;
use pgweir_classifier::CacheCounters;
use pgweir_pool::{CancelHandle, Node, PoolSet, Standing};
use pgweir_protocol::parameters::Parameters;
use pgweir_protocol::prepared::StatementRegistry;
use pgweir_protocol::session::PoolMode;
use pgweir_protocol::settings::SettingsMap;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::account::{Account, Identity, Kind, Totals};
use crate::catalogs::Catalogs;
use crate::config::{AuthMethod, Config, Effective};
use crate::console::gates::Gates;
use crate::console::history::{self, History};
use crate::random;
use crate::reload::Reloads;
use crate::route::{Router, Shared};
use crate::routes::{self, Routes};
use crate::secrets::Secrets;
use crate::serve::MAX_QUESTIONS;
use crate::snapshot::{
    Means, Policy, Prepared, Snapshot, Unusable, max_message, pool_mode, pool_spec,
};
use crate::telemetry::metrics::Metrics;

/// Sets of startup parameters whose answers are remembered.
const WELCOMES: usize = 1024;

/// Databases by whose names the work of clients that are gone is kept, at most.
const MAX_COUNTED_DATABASES: usize = 10_000;

/// Shards of the table of clients: logins rarely meet.
const CLIENT_SHARDS: usize = 16;

/// How long clients may take to come over to another configuration before what they are to find is
/// let go of, if they have not come.
const TRANSITION: Duration = Duration::from_secs(10);

/// How far pgweir is in its own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It takes no new clients and closes each at its transaction's end.
    Draining,
    /// It ends now.
    Stopping,
}

/// What an administrator wants of the whole program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It ends at once.
    Now,
    /// It takes no new clients, and ends when the last has left by itself.
    WhenClientsHaveLeft,
}

/// What all clients share.
pub struct Gateway {
    now: ArcSwap<Snapshot>,
    /// Protects the salts of users that do not exist.
    pub(crate) process_secret: [u8; 32],
    pub(crate) registry: Arc<StatementRegistry>,
    catalogs: Catalogs,
    pub(crate) clients: Clients,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) welcomes: Cache<WelcomeKey, Arc<Welcome>>,
    pub(crate) demands: Cache<DemandKey, Demand>,
    /// Turns to ask a server what it demands of a user.
    pub(crate) questions: Semaphore,
    pub(crate) secrets: Secrets,
    pub(crate) routes: Arc<Routes>,
    pub(crate) history: History,
    pub(crate) gates: Gates,
    pub(crate) reloads: Reloads,
    shutdown: watch::Sender<Option<Shutdown>>,
    phase: watch::Sender<Phase>,
}

/// How a client is served by the configuration in force.
pub(crate) struct Terms {
    pub(crate) pools: Arc<PoolSet>,
    pub(crate) policy: Policy,
    pub(crate) router: Arc<Router>,
    pub(crate) mode: PoolMode,
    /// The largest message that it may send, in bytes.
    pub(crate) max_message: usize,
}

/// What a welcome depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WelcomeKey {
    pub(crate) cluster: String,
    pub(crate) database: String,
    pub(crate) user: String,
    /// The startup parameters' mark.
    pub(crate) startup: u64,
}

/// The parameter values that a server reports to a client that starts in a certain way.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// The startup parameters as settings.
    pub(crate) asked: SettingsMap,
    /// What a session starts with: clients that start alike share it, so that whether a server has
    /// it in force is seen at a glance.
    pub(crate) settings: SettingsMap,
    pub(crate) reported: Parameters,
    pub(crate) since: Instant,
}

/// Whom a server asks what may depend on all of these (pg_hba.conf).
pub(crate) type DemandKey = (String, String, String);

/// What a server demands of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) asks: Asks,
    pub(crate) since: Instant,
}

/// Whether a server lets a user in unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Nothing,
    Secret,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Starts the clusters of a configuration; runs inside a tokio runtime.
    ///
    /// # Errors
    /// Files that it names cannot be used: certificates.
    pub fn start(config: Config) -> Result<Arc<Self>, Unusable> {
        let now = Snapshot::first(Prepared::new(config)?);
        let gateway = Arc::new(Self {
            now: ArcSwap::from_pointee(now),
            process_secret: random::bytes(),
            registry: Arc::default(),
            catalogs: Catalogs::default(),
            clients: Clients::default(),
            metrics: Arc::default(),
            welcomes: Cache::new(WELCOMES),
            demands: Cache::new(WELCOMES),
            questions: Semaphore::new(MAX_QUESTIONS),
            secrets: Secrets::default(),
            routes: Arc::new(Routes::new(Instant::now())),
            history: History::new(Instant::now()),
            gates: Gates::default(),
            reloads: Reloads::default(),
            shutdown: watch::Sender::new(None),
            phase: watch::Sender::new(Phase::Serving),
        });
        for (_, cluster) in gateway.now().clusters() {
            tokio::spawn(watch_standings(Arc::downgrade(&gateway), cluster.changes()));
        }
        tokio::spawn(history::keep(Arc::downgrade(&gateway)));
        tokio::spawn(routes::keep_time(Arc::downgrade(&gateway.routes)));
        Ok(gateway)
    }

    /// What the configuration in force came to.
    #[must_use]
    pub fn now(&self) -> Arc<Snapshot> {
        self.now.load_full()
    }

    /// Takes over another configuration; nothing of it can fail any more. New clients are served by it
    /// when this returns, those that are there from their next transaction on.
    pub(crate) async fn take_over(self: &Arc<Self>, prepared: Prepared) {
        let before = self.now();
        let next = before.next(prepared).await;
        for (name, cluster) in next.clusters() {
            let stays = |(known, old): (&str, &Arc<_>)| known == name && Arc::ptr_eq(old, cluster);
            if !before.clusters().any(stays) {
                tokio::spawn(watch_standings(Arc::downgrade(self), cluster.changes()));
            }
        }
        let judges = next.inherit(&before, &self.means());
        if !judges.is_empty() {
            // Clients are not to find themselves with somebody who knows nothing yet. It is only
            // forgotten again once they had the time to come over.
            let attending = judges.iter().map(|router| router.catalog().attend());
            let attendances = join_all(attending).await;
            tokio::spawn(async move {
                sleep(TRANSITION).await;
                drop(attendances);
            });
        }
        next.tend_pools();
        // What servers answer may be another one's answer now.
        self.welcomes.clear();
        self.demands.clear();
        before.clusters().for_each(|(_, cluster)| cluster.forget_inquiries());
        self.now.store(Arc::new(next));
        self.clients.signal_all(Signal::Renew);
    }

    /// What holds by now for a client that is here; none if what it works on is served no longer.
    pub(crate) fn terms(&self, identity: &Identity, pools: &PoolSet) -> Option<Terms> {
        let now = self.now();
        let config = now.config();
        let effective = config.effective(&identity.database)?;
        let is_user_known = config.auth.method != AuthMethod::ScramSha256
            || config.users.get(&identity.user).is_some();
        let policy = now.policy(&effective).filter(|_| is_user_known)?;
        let (dbname, spec) = (effective.dbname, pool_spec(effective.pool));
        let renewed = policy.cluster.pools(dbname, pools.user(), &spec).ok()?;
        if !std::ptr::eq(&raw const *renewed, pools) {
            renewed.set_credentials(pools.credentials());
            if self.gates.is_paused(&config.first_name(&identity.database)) {
                renewed.pause();
            }
        }
        let router = now.router(&identity.database, &effective, &self.means())?;
        let mode = pool_mode(effective.pool.mode);
        Some(Terms { pools: renewed, policy, router, mode, max_message: max_message(config) })
    }

    /// Who judges the SQL for a database. Its catalog is kept from now on.
    pub(crate) fn router(
        &self,
        now: &Snapshot,
        database: &str,
        effective: &Effective<'_>,
    ) -> Option<Arc<Router>> {
        now.router(database, effective, &self.means())
    }

    fn means(&self) -> Means<'_> {
        let (metrics, routes) = (self.metrics.clone(), self.routes.clone());
        let shared = Shared { rules: self.now().rules().clone(), metrics, routes };
        Means { catalogs: &self.catalogs, shared }
    }

    /// All that judge SQL.
    pub(crate) fn routers(&self) -> Vec<(String, Arc<Router>)> {
        self.now().all_routers()
    }

    /// Hits and misses of the cache of verdicts so far.
    pub(crate) fn cache_counters(&self) -> CacheCounters {
        self.now().rules().cache.counters()
    }

    /// How far pgweir is in its own life, and word of every change.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Takes no more clients; those there are close at their transactions' ends.
    pub fn drain(&self) {
        self.close_doors();
        self.clients.signal_all(Signal::Drain);
    }

    /// Asks whoever runs the program to end it.
    pub(crate) fn shut_down(&self, shutdown: Shutdown) {
        self.shutdown.send_replace(Some(shutdown));
    }

    /// Word of an administrator's wish to end the program.
    #[must_use]
    pub fn shutdown_wish(&self) -> watch::Receiver<Option<Shutdown>> {
        self.shutdown.subscribe()
    }

    /// Takes no more clients; those there are stay for as long as they like.
    pub fn close_doors(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Serving;
            if first {
                *phase = Phase::Draining;
            }
            first
        });
    }

    /// Whether every client has left but for those of the console.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        let clients = self.clients.all();
        clients.iter().all(|client| client.account.identity.kind == Kind::Console)
    }

    /// Ends every client now.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
        self.clients.signal_all(Signal::Kill);
    }

    /// Ends the clusters' connections.
    pub async fn shutdown(&self) {
        for (_, cluster) in self.now().clusters() {
            cluster.shutdown().await;
        }
    }

    /// Clients connected now.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.count.load(Ordering::Relaxed)
    }
}

/// Wakes the clients of servers that are no place to stay: those that must not be written to any more,
/// where a client may be idle and wait for notifications that nobody will send, and those that do not
/// answer.
async fn watch_standings(gateway: Weak<Gateway>, mut changes: watch::Receiver<u64>) {
    while changes.changed().await.is_ok() {
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.clients.wake_displaced();
    }
}

// ---- clients ----

/// Something a client's task has to heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Signal {
    None = 0,
    /// A cancel request came while no server worked for the client.
    Cancel = 1,
    /// The configuration is another one.
    Renew = 2,
    /// End at the transaction's end.
    Drain = 4,
    /// End now.
    Kill = 8,
}

/// What others may want of a client: cancel its statement, end it.
#[derive(Debug)]
pub(crate) struct ClientHandle {
    pub(crate) pid: i32,
    pub(crate) account: Account,
    key: Vec<u8>,
    /// Those raised, as bits.
    signals: AtomicU8,
    waker: AtomicWaker,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// The server that works for the client, or did last.
    server: Option<CancelHandle>,
    is_attached: bool,
    attached_at: Option<Instant>,
    /// A cancel request was sent to that server: nobody else may have the connection after this
    /// client, for the request might reach it late.
    is_cancelled: bool,
}

impl ClientHandle {
    /// What the client has to heed first; its task is woken for the next signal. What is to be heeded
    /// once is told once.
    pub(crate) fn signal(&self, cx: &Context<'_>) -> Signal {
        self.waker.register(cx.waker());
        let raised = self.signals.load(Ordering::Acquire);
        if raised == 0 {
            return Signal::None;
        }
        let is_raised = |signal: &Signal| raised & *signal as u8 != 0;
        let order = [Signal::Kill, Signal::Cancel, Signal::Renew, Signal::Drain];
        let first = order.into_iter().find(is_raised).unwrap_or(Signal::None);
        if matches!(first, Signal::Cancel | Signal::Renew) {
            self.signals.fetch_and(!(first as u8), Ordering::AcqRel);
        }
        first
    }

    /// Whether there is a signal to heed; whoever waits for one asks [`Self::signal`].
    pub(crate) fn is_signalled(&self) -> bool {
        self.signals.load(Ordering::Acquire) != 0
    }

    /// Who it is, for the log.
    pub(crate) fn span(&self) -> tracing::Span {
        self.account.identity.span(Some(self.pid))
    }

    /// Raises a signal, besides those that are.
    pub(crate) fn raise(&self, signal: Signal) {
        self.signals.fetch_or(signal as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// A server works for the client from now on.
    pub(crate) fn attached(&self, server: &CancelHandle, now: Instant) {
        let mut running = lock(&self.running);
        // A client often gets the connection again that it had last.
        if !running.server.as_ref().is_some_and(|last| last.is(server)) {
            running.server = Some(server.clone());
        }
        running.is_attached = true;
        running.attached_at = Some(now);
        running.is_cancelled = false;
    }

    /// No server works for the client any more; true if a cancel request was sent to the last one.
    pub(crate) fn detached(&self) -> bool {
        let mut running = lock(&self.running);
        running.is_attached = false;
        std::mem::take(&mut running.is_cancelled)
    }

    /// Whether its server may be one to leave.
    fn is_displaced(&self) -> bool {
        self.server().is_some_and(|server| {
            server.node().is_fenced() || server.node().standing() != Standing::Good
        })
    }

    /// The server connection that works for the client.
    pub(crate) fn server(&self) -> Option<CancelHandle> {
        let running = lock(&self.running);
        running.server.clone().filter(|_| running.is_attached)
    }

    /// The node that worked for the client last, and since when it does or did.
    pub(crate) fn last_server(&self) -> Option<(Arc<Node>, Instant)> {
        let running = lock(&self.running);
        Some((running.server.as_ref()?.node().clone(), running.attached_at?))
    }

    /// Whom to send a cancel request to; without a server at work, the client itself is told.
    pub(crate) fn cancel(&self) -> Option<CancelHandle> {
        let mut running = lock(&self.running);
        let server = running.server.clone().filter(|_| running.is_attached);
        running.is_cancelled = server.is_some();
        drop(running);
        if server.is_none() {
            self.raise(Signal::Cancel);
        }
        server
    }
}

/// The clients connected now, by the process id they were given.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    shards: [Mutex<HashMap<i32, Arc<ClientHandle>>>; CLIENT_SHARDS],
    count: AtomicUsize,
    next: AtomicU32,
    /// Those that have been let in, by user.
    by_user: Mutex<HashMap<String, u32>>,
    /// What clients did that are gone, by database.
    departed: Mutex<BTreeMap<String, Totals>>,
}

/// A client's place in the table, given up on drop.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) handle: Arc<ClientHandle>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) id: u32,
    /// It counts among its user's.
    is_counted: bool,
}

impl Place {
    /// Counts the client among its user's, of whom there may be so many; false if there are.
    pub(crate) fn count_user(&mut self, most: Option<u32>) -> bool {
        let mut by_user = lock(&self.gateway.clients.by_user);
        let count = by_user.entry(self.handle.account.identity.user.clone()).or_default();
        if most.is_some_and(|most| *count >= most) {
            return false;
        }
        *count += 1;
        self.is_counted = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let clients = &self.gateway.clients;
        if self.is_counted {
            clients.leave_user(&self.handle.account.identity.user);
        }
        if let Some(shard) = clients.shard(self.handle.pid) {
            lock(shard).remove(&self.handle.pid);
        }
        clients.depart(&self.handle.account);
        clients.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clients {
    /// Takes a place for a new client; none when all are taken.
    pub(crate) fn enter(
        gateway: &Arc<Gateway>,
        most: u32,
        key: Vec<u8>,
        identity: Identity,
    ) -> Option<Place> {
        let clients = &gateway.clients;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if clients.count.fetch_add(1, Ordering::Relaxed) >= most {
            clients.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (id, handle) = clients.register(key, identity);
        Some(Place { handle, gateway: gateway.clone(), id, is_counted: false })
    }

    /// Enters a new client under a process id that no other has. Numbers come round again after four
    /// thousand million clients; those of clients that are still here are passed over.
    fn register(&self, key: Vec<u8>, identity: Identity) -> (u32, Arc<ClientHandle>) {
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let pid = process_id(id);
            if let Some(shard) = self.shard(pid)
                && let Entry::Vacant(free) = lock(shard).entry(pid)
            {
                let handle = Arc::new(ClientHandle {
                    pid,
                    account: Account::new(identity),
                    key,
                    signals: AtomicU8::new(0),
                    waker: AtomicWaker::new(),
                    running: Mutex::default(),
                });
                free.insert(handle.clone());
                return (id, handle);
            }
        }
    }

    /// A client of this user is gone.
    fn leave_user(&self, user: &str) {
        let mut by_user = lock(&self.by_user);
        if let Some(count) = by_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(user);
            }
        }
    }

    /// The client with this process id.
    pub(crate) fn get(&self, pid: i32) -> Option<Arc<ClientHandle>> {
        lock(self.shard(pid)?).get(&pid).cloned()
    }

    /// The server that works for the client with this key, if the key is right and there is one.
    pub(crate) fn cancel(&self, pid: i32, key: &[u8]) -> Option<CancelHandle> {
        let client = lock(self.shard(pid)?).get(&pid).cloned()?;
        let is_right = client.key.len() == key.len()
            && client.key.iter().zip(key).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
        if is_right { client.cancel() } else { None }
    }

    fn signal_all(&self, signal: Signal) {
        for client in self.all() {
            client.raise(signal);
        }
    }

    /// Those there are now, in the order of their process ids.
    pub(crate) fn all(&self) -> Vec<Arc<ClientHandle>> {
        let mut all: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_unstable_by_key(|client| client.pid);
        all
    }

    /// Keeps what a client did that is gone.
    fn depart(&self, account: &Account) {
        let totals = account.work.totals();
        if totals == Totals::default() {
            return;
        }
        let mut departed = lock(&self.departed);
        let database = &account.identity.database;
        if let Some(sum) = departed.get_mut(database) {
            *sum += totals;
        } else if departed.len() < MAX_COUNTED_DATABASES {
            departed.insert(database.clone(), totals);
        }
    }

    /// What clients did so far, by database.
    pub(crate) fn totals(&self) -> BTreeMap<String, Totals> {
        // Those that leave meanwhile are counted twice for a moment rather than not at all.
        let here = self.all();
        let mut totals = lock(&self.departed).clone();
        for client in here {
            let account = &client.account;
            if account.is_admitted() {
                *totals.entry(account.identity.database.clone()).or_default() +=
                    account.work.totals();
            }
        }
        totals
    }

    fn wake_displaced(&self) {
        for shard in &self.shards {
            for client in lock(shard).values().filter(|client| client.is_displaced()) {
                client.waker.wake();
            }
        }
    }

    fn shard(&self, pid: i32) -> Option<&Mutex<HashMap<i32, Arc<ClientHandle>>>> {
        self.shards.get(usize::try_from(pid).ok()? % CLIENT_SHARDS)
    }
}

/// The process id of the client with this number: positive, as PostgreSQL's are, and none that a server
/// process could have (Linux gives them up to 2^22), so that a client that says `pg_terminate_backend`
/// of its own terminates nobody else's.
fn process_id(number: u32) -> i32 {
    const FIRST: u32 = 1 << 30;
    i32::try_from(FIRST | (number % FIRST)).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
