//! What is known of each database's objects, kept true.
//!
//! A keeper per database reads its system catalogs, on the primary where there is one, into a
//! [`Catalog`] that [`DatabaseCatalog::known`] gives to whoever judges SQL. It looks again from time to
//! time whether anything has changed, and reads at once when a statement that defines objects has passed
//! through pgweir. From the moment such a statement is sent until the catalog has been read behind it,
//! nothing of the user's counts as known: doubt goes to the primary. Where the statement may have given
//! names of PostgreSQL's own another meaning, nothing at all does. Databases without clients are let be.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use pgweir_classifier::Catalog;
use pgweir_classifier::catalog::facts::{FINGERPRINT, QUESTIONS, Row};
use pgweir_classifier::catalog::sharding;
use pgweir_pool::{Cluster, ControlError};
use pgweir_protocol::verdict::CatalogChange;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::snapshot::Spread;

/// How long a database may take to answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The same, as the server enforces it, so that no question outlives its asker.
const LIMITS: &str = "SET LOCAL statement_timeout = '15s'; SET LOCAL lock_timeout = '5s'; ";

/// How often it is looked whether a catalog has changed behind pgweir's back.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How long a keeper rests at least between two readings, whatever happens.
const REST: Duration = Duration::from_millis(20);

/// How many times as long as a reading took it rests behind it: under a storm of definitions no more
/// than a third of one of the server's cores is spent on readings.
const REST_FACTOR: u32 = 2;

/// How long it waits after a reading that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a client's login waits for the first reading.
const FIRST_READ: Duration = Duration::from_secs(3);

/// How long one waits that comes behind a change: until that is read, what uses the database's objects
/// goes to the primary.
const LATER_READ: Duration = Duration::from_millis(100);

/// Databases that are kept at the same time; those without clients make room.
pub(crate) const MAX_DATABASES: usize = 1_000;

/// Definitions that pass through pgweir into one database, from any client.
#[derive(Debug, Default)]
struct Changes {
    /// Raised when one is sent, and when it is over, that leaves nothing of the user's certain.
    epoch: AtomicU64,
    /// The last epoch that began with one that leaves nothing certain at all.
    doubtful_epoch: AtomicU64,
    /// Raised when any is over.
    ended: AtomicU64,
    /// Those that are not over.
    running: AtomicUsize,
    /// When the last one was over that was more than an addition.
    last: Mutex<Option<Instant>>,
    wake: Notify,
}

impl Changes {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Called before a statement is sent, and again when its transaction is over.
    fn raise(&self, doubt: Doubt) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        if doubt == Doubt::Everything {
            self.doubtful_epoch.fetch_max(epoch, Ordering::AcqRel);
        }
    }
}

/// A definition under way. What it changes is not known before this is dropped, and the catalog read.
#[derive(Debug)]
pub(crate) struct Change {
    changes: Arc<Changes>,
    doubt: Doubt,
}

/// What is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    /// The object that is added.
    Nothing,
    /// What the user's objects are.
    Objects,
    /// What anything means.
    Everything,
}

impl Change {
    fn doubt(&mut self, doubt: Doubt) {
        if doubt <= self.doubt {
            return;
        }
        if self.doubt == Doubt::Nothing {
            self.changes.running.fetch_add(1, Ordering::AcqRel);
        }
        self.doubt = doubt;
        self.changes.raise(doubt);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let changes = &self.changes;
        changes.ended.fetch_add(1, Ordering::AcqRel);
        if self.doubt > Doubt::Nothing {
            *changes.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            changes.raise(self.doubt);
            changes.running.fetch_sub(1, Ordering::AcqRel);
        }
        changes.wake.notify_waiters();
    }
}

/// A client that uses the database.
#[derive(Debug)]
pub(crate) struct Attendance(Arc<DatabaseCatalog>);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One state of knowledge.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) catalog: Catalog,
    /// No other state of any database has this number.
    pub(crate) generation: u64,
    pub(crate) custom_settings: Arc<[Box<str>]>,
    /// When it was read; none if it was not.
    pub(crate) read_at: Option<Instant>,
    /// A replica has to be as fresh as this to know the objects as they are known here.
    pub(crate) fresh_after: Option<Instant>,
}

/// What was read last, and what is left of it in doubt.
#[derive(Debug)]
struct Reading {
    known: Known,
    /// What holds while nothing is known of the user's objects.
    unread: Known,
    /// What holds while nothing is known at all.
    in_doubt: Known,
    /// The changes that are known.
    epoch: u64,
    ended: u64,
}

/// What is known at a moment.
pub(crate) struct Now {
    reading: Guard<Arc<Reading>>,
    doubt: Doubt,
}

impl Deref for Now {
    type Target = Known;

    fn deref(&self) -> &Known {
        match self.doubt {
            Doubt::Nothing => &self.reading.known,
            Doubt::Objects => &self.reading.unread,
            Doubt::Everything => &self.reading.in_doubt,
        }
    }
}

/// How the last look at a database ended, for those who wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There was none.
    None,
    Done,
    Failed,
}

/// What is known of one database.
pub(crate) struct DatabaseCatalog {
    dbname: Box<str>,
    /// PostgreSQL's own functions and what the operator says of others.
    base: Catalog,
    /// It is the database that Citus shards.
    is_sharded: bool,
    reading: ArcSwap<Reading>,
    changes: Arc<Changes>,
    generations: Arc<AtomicU64>,
    clients: AtomicUsize,
    looks: watch::Sender<Look>,
    failures: AtomicU64,
    /// Why it cannot be read.
    error: Mutex<Option<String>>,
}

/// How much can be said of a database's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// What they are.
    Known,
    /// Nothing, while they are being changed.
    Changing,
    /// Nothing.
    Unread,
}

impl fmt::Debug for DatabaseCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseCatalog").field("dbname", &self.dbname).finish_non_exhaustive()
    }
}

impl DatabaseCatalog {
    /// What is known now.
    pub(crate) fn known(&self) -> Now {
        let reading = self.reading.load();
        let epoch = self.changes.epoch();
        let doubt = if reading.epoch == epoch {
            Doubt::Nothing
        } else if reading.epoch < self.changes.doubtful_epoch.load(Ordering::Acquire) {
            Doubt::Everything
        } else {
            Doubt::Objects
        };
        Now { reading, doubt }
    }

    /// A text is about to be sent; the client's change under way takes it in.
    ///
    /// A new object whose name nothing has that is known takes nothing away from what is known: until
    /// it has been read, it is unknown. One whose name is known may be taken for the other.
    pub(crate) fn define(&self, text: &CatalogChange, change: &mut Option<Change>) {
        let doubt = match text {
            CatalogChange::None => return,
            CatalogChange::Named(names) => self.doubt_about(names),
            CatalogChange::Any => Doubt::Objects,
            CatalogChange::Everything => Doubt::Everything,
        };
        let change = change
            .get_or_insert_with(|| Change { changes: self.changes.clone(), doubt: Doubt::Nothing });
        change.doubt(doubt);
    }

    /// What is not known any more when objects of these names come or go.
    fn doubt_about(&self, names: &[Box<str>]) -> Doubt {
        let known = self.known();
        if names.iter().any(|name| known.catalog.is_own(name)) {
            Doubt::Everything
        } else if !known.catalog.is_read() || names.iter().any(|name| known.catalog.has_name(name))
        {
            Doubt::Objects
        } else {
            Doubt::Nothing
        }
    }

    /// A client comes; the database is kept for as long as it stays. Waits, within bounds, until
    /// everything is known.
    pub(crate) async fn attend(self: &Arc<Self>) -> Attendance {
        self.clients.fetch_add(1, Ordering::AcqRel);
        let attendance = Attendance(self.clone());
        let mut looks = self.looks.subscribe();
        self.changes.wake.notify_waiters();
        let is_served = |look: &Look| {
            let waits = self.changes.running.load(Ordering::Acquire) > 0;
            *look == Look::Failed || (*look == Look::Done && (waits || self.is_current()))
        };
        let is_first = self.reading.load().known.read_at.is_none();
        let patience = if is_first { FIRST_READ } else { LATER_READ };
        let _ = timeout(patience, looks.wait_for(is_served)).await;
        attendance
    }

    /// The same for a client that is here already and cannot wait: what is not known yet is in doubt.
    pub(crate) fn attend_at_once(self: &Arc<Self>) -> Attendance {
        self.clients.fetch_add(1, Ordering::AcqRel);
        self.changes.wake.notify_waiters();
        Attendance(self.clone())
    }

    /// The custom settings that code in the database makes, as far as that was ever known.
    pub(crate) fn custom_settings(&self) -> Arc<[Box<str>]> {
        self.reading.load().known.custom_settings.clone()
    }

    /// How often the catalog could not be read.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether everything is known that is over.
    fn is_current(&self) -> bool {
        let reading = self.reading.load();
        reading.epoch == self.changes.epoch()
            && reading.ended == self.changes.ended.load(Ordering::Acquire)
    }

    /// Why it could not be read the last time.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The database's name on the servers.
    pub(crate) fn dbname(&self) -> &str {
        &self.dbname
    }

    /// Clients that use it.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// How much can be said of its objects.
    pub(crate) fn condition(&self) -> Condition {
        if self.known().catalog.is_read() {
            Condition::Known
        } else if self.changes.running.load(Ordering::Acquire) > 0 {
            Condition::Changing
        } else {
            Condition::Unread
        }
    }

    fn has_clients(&self) -> bool {
        self.clients.load(Ordering::Acquire) > 0
    }

    /// What was read holds for the changes up to an epoch.
    fn publish(&self, catalog: Catalog, (epoch, ended): (u64, u64), fresh_after: Option<Instant>) {
        let read_at = Some(Instant::now());
        let reading = Reading::new(catalog, &self.generations, (epoch, ended));
        let known = Known { read_at, fresh_after, ..reading.known };
        self.reading.store(Arc::new(Reading { known, ..reading }));
    }

    /// Nobody looks any more whether it is still true.
    fn forget(&self) {
        let unread = self.base.clone().with_unread_database();
        self.reading.store(Arc::new(Reading::new(unread, &self.generations, NEVER)));
        self.looks.send_replace(Look::None);
    }
}

/// The changes that are known where nothing was read.
const NEVER: (u64, u64) = (u64::MAX, u64::MAX);

impl Reading {
    fn new(catalog: Catalog, generations: &AtomicU64, (epoch, ended): (u64, u64)) -> Self {
        let known = |catalog: Catalog| Known {
            custom_settings: catalog.custom_settings().into(),
            catalog,
            generation: generations.fetch_add(1, Ordering::Relaxed),
            read_at: None,
            fresh_after: None,
        };
        Self {
            unread: known(catalog.clone().with_unread_database()),
            in_doubt: known(catalog.clone().with_doubtful_database()),
            known: known(catalog),
            epoch,
            ended,
        }
    }
}

/// The databases that are kept, by cluster and name.
#[derive(Debug)]
pub(crate) struct Catalogs {
    changes: Mutex<HashMap<(String, String), Weak<Changes>>>,
    generations: Arc<AtomicU64>,
}

impl Default for Catalogs {
    fn default() -> Self {
        // Zero stands for verdicts that rest on no database's objects.
        Self { changes: Mutex::default(), generations: Arc::new(AtomicU64::new(1)) }
    }
}

impl Catalogs {
    /// Begins to keep a database. Runs inside a tokio runtime.
    pub(crate) fn keep(
        &self,
        cluster: &Arc<Cluster>,
        dbname: &str,
        base: Catalog,
        spread: Spread,
    ) -> Arc<DatabaseCatalog> {
        let is_sharded = spread == Spread::Sharded;
        let base = if is_sharded { base.with_sharding() } else { base };
        let unread = base.clone().with_unread_database();
        let reading = Reading::new(unread, &self.generations, NEVER);
        let kept = Arc::new(DatabaseCatalog {
            dbname: dbname.into(),
            base,
            is_sharded,
            reading: ArcSwap::from_pointee(reading),
            changes: self.changes(cluster.name(), dbname),
            generations: self.generations.clone(),
            clients: AtomicUsize::new(0),
            looks: watch::Sender::new(Look::None),
            failures: AtomicU64::new(0),
            error: Mutex::default(),
        });
        tokio::spawn(keep(Arc::downgrade(&kept), kept.changes.clone(), Arc::downgrade(cluster)));
        kept
    }

    /// What all that judge SQL for one database share.
    fn changes(&self, cluster: &str, dbname: &str) -> Arc<Changes> {
        let mut known = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, changes| changes.strong_count() > 0);
        let key = (cluster.to_owned(), dbname.to_owned());
        if let Some(changes) = known.get(&key).and_then(Weak::upgrade) {
            return changes;
        }
        let changes = Arc::new(Changes::default());
        known.insert(key, Arc::downgrade(&changes));
        changes
    }
}

/// What a keeper has read last.
#[derive(Default)]
struct Memory {
    /// How long the last look took.
    took: Duration,
    fingerprint: Option<String>,
    /// How many changes were over by then.
    ended: u64,
    /// The error that was reported last.
    reported: Option<String>,
}

/// Keeps one database for as long as it is wanted.
async fn keep(kept: Weak<DatabaseCatalog>, changes: Arc<Changes>, cluster: Weak<Cluster>) {
    let mut memory = Memory::default();
    loop {
        let rested = {
            let (Some(kept), Some(cluster)) = (kept.upgrade(), cluster.upgrade()) else { return };
            let woken = changes.wake.notified();
            tokio::pin!(woken);
            // From here on no wake is missed.
            woken.as_mut().enable();
            let pause = turn(&kept, &cluster, &mut memory).await;
            drop((kept, cluster));
            let rested = tokio::time::Instant::now() + REST.max(memory.took * REST_FACTOR);
            let _ = timeout(pause, woken).await;
            rested
        };
        // Who has rested meanwhile reads at once.
        tokio::time::sleep_until(rested).await;
    }
}

/// Looks after the database once; says when to look again, if nothing happens before.
async fn turn(kept: &DatabaseCatalog, cluster: &Cluster, memory: &mut Memory) -> Duration {
    if !kept.has_clients() {
        kept.forget();
        memory.fingerprint = None;
        return LOOK_INTERVAL;
    }
    if kept.changes.running.load(Ordering::Acquire) > 0 {
        // Nothing would be certain.
        kept.looks.send_replace(Look::Done);
        return LOOK_INTERVAL;
    }
    let began = Instant::now();
    let looked = look(kept, cluster, memory).await;
    memory.took = began.elapsed();
    let error = looked.as_ref().err().map(ToString::to_string);
    *kept.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    kept.looks.send_replace(if looked.is_ok() { Look::Done } else { Look::Failed });
    match looked {
        Ok(()) => {
            memory.reported = None;
            if kept.is_current() { LOOK_INTERVAL } else { Duration::ZERO }
        }
        Err(error) => {
            kept.failures.fetch_add(1, Ordering::Relaxed);
            report(kept, cluster, &error, memory);
            RETRY_INTERVAL
        }
    }
}

/// Says once why a catalog cannot be read.
fn report(kept: &DatabaseCatalog, cluster: &Cluster, error: &ControlError, memory: &mut Memory) {
    let text = error.to_string();
    if memory.reported.as_ref() != Some(&text) {
        tracing::warn!(
            cluster = cluster.name(),
            database = &*kept.dbname,
            error = text,
            "the database's catalog cannot be read: what uses its tables and functions goes to the \
             primary until it can"
        );
        memory.reported = Some(text);
    }
}

/// What is asked of a database.
struct Questions {
    facts: String,
    fingerprint: String,
}

/// What to ask: of one that Citus shards, also what every node has. Whatever changes that may have
/// changed the nodes, too.
async fn questions(kept: &DatabaseCatalog, cluster: &Cluster) -> Result<Questions, ControlError> {
    if kept.is_sharded {
        let rows = cluster.ask_apart(&kept.dbname, sharding::IS_SHARDED, READ_TIMEOUT).await?;
        let count = rows.into_iter().flatten().next().flatten();
        if count.is_some_and(|count| count != "0") {
            cluster.relist().await?;
            return Ok(Questions {
                facts: format!("{QUESTIONS}; {}", sharding::QUESTIONS),
                fingerprint: format!("SELECT concat(({FINGERPRINT}), ({}))", sharding::FINGERPRINT),
            });
        }
    }
    Ok(Questions { facts: QUESTIONS.to_owned(), fingerprint: FINGERPRINT.to_owned() })
}

/// Reads the catalog, if it may have changed.
async fn look(
    kept: &DatabaseCatalog,
    cluster: &Cluster,
    memory: &mut Memory,
) -> Result<(), ControlError> {
    let epoch = kept.changes.epoch();
    let began = Instant::now();
    let ended = kept.changes.ended.load(Ordering::Acquire);
    let Questions { facts, fingerprint } = questions(kept, cluster).await?;
    if kept.is_current() && memory.fingerprint.is_some() {
        let rows = cluster.ask_apart(&kept.dbname, &fingerprint, READ_TIMEOUT).await?;
        if rows.into_iter().flatten().next().flatten() == memory.fingerprint {
            return Ok(());
        }
    }
    let question = format!(
        "{LIMITS}{facts}; SELECT 'z', ({fingerprint}), current_setting('server_version_num')"
    );
    let mut rows: Vec<Row> = cluster.ask_apart(&kept.dbname, &question, READ_TIMEOUT).await?;
    let (fingerprint, version) = last_row(&mut rows);
    let base = kept.base.clone().with_server_version(version.unwrap_or_default());
    // A large catalog takes a while to be taken apart; no client waits for that.
    let read = tokio::task::spawn_blocking(move || base.with_database(rows)).await;
    let catalog = read
        .map_err(|error| ControlError::Unusable(error.to_string()))?
        .map_err(|error| ControlError::Unusable(error.to_string()))?;
    tracing::debug!(database = &*kept.dbname, objects = catalog.len(), took = ?began.elapsed(), "catalog read");
    // What nobody has told of, a replica may not know either.
    let is_news = memory.fingerprint.is_some() && ended == memory.ended;
    memory.fingerprint = fingerprint;
    memory.ended = ended;
    let changed = *kept.changes.last.lock().unwrap_or_else(PoisonError::into_inner);
    kept.publish(catalog, (epoch, ended), changed.max(is_news.then_some(began)));
    Ok(())
}

/// Takes the row about the catalog as a whole: its fingerprint and the server's major version.
fn last_row(rows: &mut Vec<Row>) -> (Option<String>, Option<u16>) {
    let Some(row) = rows.pop() else { return (None, None) };
    let mut cells = row.into_iter().skip(1);
    let fingerprint = cells.next().flatten();
    let number: Option<u32> = cells.next().flatten().and_then(|text| text.parse().ok());
    (fingerprint, number.and_then(|number| u16::try_from(number / 10_000).ok()))
}
