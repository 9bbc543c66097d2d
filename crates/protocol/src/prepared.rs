//! Protocol-level prepared statements, shared between clients and servers.
//!
//! A client's statement names are its own. Each distinct text (with its parameter types) gets one
//! [`Statement`] with a name that no client chose; servers prepare it under that name when a
//! client first needs it there, and keep the most recently used ones. Two clients that prepare the
//! same text therefore share one plan per server. The unnamed statement passes as it is, and is
//! parsed again when its client finds itself on a server that holds another.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use hashlink::LruCache;

use crate::settings::SettingsMap;
use crate::verdict::{Prepared, Verdict};

/// The prefix of every name pgweir gives to a statement on a server.
pub const SERVER_NAME_PREFIX: &str = "pgweir_";

/// Statements a client may keep before further ones are left to the server it is on.
pub const MAX_STATEMENTS_PER_CLIENT: usize = 16_384;

/// The length, in bytes, of the texts of all statements that a client may keep; those beyond are left
/// to the server it is on.
pub const MAX_STATEMENT_BYTES_PER_CLIENT: usize = 16 << 20;

/// The most statements prepared in SQL that follow a client; one more binds it to its server.
pub const MAX_SQL_STATEMENTS: usize = 512;

/// The longest PREPARE, in bytes, that is said again to another server.
pub const MAX_SQL_STATEMENT_LENGTH: usize = 64 << 10;

/// Shards of the registry: clients that prepare at the same moment rarely meet.
const REGISTRY_SHARDS: usize = 16;

/// Entries of a shard beyond which those nobody uses any more are removed.
const SHARD_SWEEP_THRESHOLD: usize = 64;

/// One text that is, or can be, prepared on servers.
#[derive(Debug)]
pub struct Statement {
    /// Unique within this process.
    pub id: u64,
    /// Its name on every server.
    pub name: Box<[u8]>,
    /// Parse's body after the name: the query, its terminator and the parameter types.
    pub parse: Arc<[u8]>,
    /// How its text was judged.
    pub verdict: Arc<Verdict>,
    /// The schema's age when it was first prepared.
    epoch: u64,
    /// A server has found that its result is not what it was.
    is_retired: AtomicBool,
    /// What its result looks like, as a client was told.
    described: OnceLock<u64>,
}

impl Statement {
    /// Whether its result may have become another one since it was first prepared.
    #[must_use]
    pub fn may_be_outdated(&self, epoch: u64) -> bool {
        self.epoch != epoch || self.is_retired.load(Ordering::Relaxed)
    }

    /// Its result is not what it was: whoever prepares the text from now on means another statement.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// A server describes its result; false if clients were told otherwise.
    pub fn matches(&self, description: u64) -> bool {
        *self.described.get_or_init(|| description) == description
    }

    /// Whether any client was told what its result looks like.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.described.get().is_some()
    }
}

/// Which text a server's unnamed statement holds: unique per client and Parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnnamedId(pub u64);

impl UnnamedId {
    /// No client's: the server may hold any text, or none.
    pub const UNCERTAIN: Self = Self(u64::MAX);
}

/// A client's unnamed statement.
#[derive(Debug)]
pub struct Unnamed {
    /// Recognises it on a server.
    pub id: UnnamedId,
    /// Parse's body after the empty name.
    pub parse: Vec<u8>,
    /// How its text was judged.
    pub verdict: Arc<Verdict>,
}

/// A client's named statements, by the names it gave them.
#[derive(Debug, Default)]
pub struct NamedStatements {
    by_name: HashMap<Box<[u8]>, Arc<Statement>>,
    /// The length of their texts together.
    bytes: usize,
}

impl NamedStatements {
    /// Whether there is room for one more, with a text of so many bytes.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.by_name.len() < MAX_STATEMENTS_PER_CLIENT
            && self.bytes.saturating_add(bytes) <= MAX_STATEMENT_BYTES_PER_CLIENT
    }

    /// The statement of a name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.by_name.get(name)
    }

    /// Whether a name is taken.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Box<[u8]>, &Arc<Statement>)> {
        self.by_name.iter()
    }

    /// Gives a name to a statement.
    pub fn insert(&mut self, name: Box<[u8]>, statement: Arc<Statement>) {
        self.bytes += statement.parse.len();
        if let Some(former) = self.by_name.insert(name, statement) {
            self.bytes -= former.parse.len();
        }
    }

    /// Takes a name away, with its statement.
    pub fn remove(&mut self, name: &[u8]) -> Option<(Box<[u8]>, Arc<Statement>)> {
        let removed = self.by_name.remove_entry(name)?;
        self.bytes -= removed.1.parse.len();
        Some(removed)
    }
}

/// The statements a client has prepared, by the client's own names.
#[derive(Debug, Default)]
pub struct ClientStatements {
    /// Named statements.
    pub named: NamedStatements,
    /// The unnamed one.
    pub unnamed: Option<Unnamed>,
    /// Those prepared in SQL.
    pub sql: SqlStatements,
}

/// The statements a client has prepared in SQL. Unlike those of the protocol they keep their names,
/// which SQL calls them by; so a server that the client comes to is given exactly these.
#[derive(Debug, Default)]
pub struct SqlStatements {
    texts: SettingsMap,
    verdicts: HashMap<Box<str>, Arc<Verdict>>,
}

impl SqlStatements {
    /// By name, the PREPARE of each.
    #[must_use]
    pub fn texts(&self) -> &SettingsMap {
        &self.texts
    }

    /// The verdict on what EXECUTE of this name runs.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&Arc<Verdict>> {
        self.verdicts.get(name)
    }

    /// Whether a name is taken.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| self.verdicts.contains_key(name))
    }

    /// Notes a statement that was prepared; false when there is no room for it.
    pub fn insert(&mut self, prepared: &Prepared) -> bool {
        let has_room = self.verdicts.len() < MAX_SQL_STATEMENTS
            && prepared.statement.len() <= MAX_SQL_STATEMENT_LENGTH;
        if has_room {
            self.texts = self.texts.with(&prepared.name, prepared.statement.clone());
            self.verdicts.insert(prepared.name.clone(), prepared.verdict.clone());
        }
        has_room
    }

    /// Forgets a statement; true if it was known.
    pub fn remove(&mut self, name: &str) -> bool {
        self.texts = self.texts.without(name);
        self.verdicts.remove(name).is_some()
    }

    /// Takes others in, where a name is free.
    pub fn join(&mut self, others: Self) {
        self.texts = others.texts.joined(&self.texts);
        for (name, verdict) in others.verdicts {
            self.verdicts.entry(name).or_insert(verdict);
        }
    }

    /// Keeps only some of them.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let gone: Vec<Box<str>> =
            self.verdicts.keys().filter(|name| !keep(name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
    }
}

/// The statements a server connection holds, least recently used first.
#[derive(Debug)]
pub struct ServerStatements {
    held: LruCache<u64, Arc<Statement>>,
}

impl ServerStatements {
    /// Room for so many statements; at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { held: LruCache::new(capacity.max(1)) }
    }

    /// Whether the server holds it; if so it becomes the most recently used.
    pub fn touch(&mut self, id: u64) -> bool {
        self.held.get(&id).is_some()
    }

    /// Which statement would have to leave for one that the server does not hold.
    pub(crate) fn leaves_for(&self, id: u64) -> Option<u64> {
        let is_full = self.held.len() >= self.held.capacity() && self.held.peek(&id).is_none();
        self.held.iter().next().map(|(oldest, _)| *oldest).filter(|_| is_full)
    }

    /// Notes that the server is being given a statement; returns the one that has to leave.
    pub fn insert(&mut self, statement: Arc<Statement>) -> Option<Arc<Statement>> {
        let leaves = if self.held.len() >= self.held.capacity() {
            self.held.remove_lru().map(|(_, statement)| statement)
        } else {
            None
        };
        self.held.insert(statement.id, statement);
        leaves
    }

    /// The server turned out not to hold it.
    pub fn remove(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// The server drops them all; returns what it held.
    pub fn take(&mut self) -> Self {
        let empty = Self::new(self.held.capacity());
        std::mem::replace(self, empty)
    }

    /// What the server holds, the least recently used first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Statement>> {
        self.held.iter().map(|(_, statement)| statement)
    }

    /// How many statements the server holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the server holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

type Shard = HashMap<Key, Weak<Statement>>;

/// What makes two texts the same: what the server reads, and how it reads it.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Key {
    environment: Arc<str>,
    parse: Arc<[u8]>,
}

/// All statements that clients of this process have prepared.
#[derive(Debug, Default)]
pub struct StatementRegistry {
    shards: [Mutex<Shard>; REGISTRY_SHARDS],
    hasher: RandomState,
    next: AtomicU64,
}

impl StatementRegistry {
    /// The statement for a text, the same one for everybody who prepares it.
    ///
    /// `environment` names what changes the text's meaning: client encoding, string syntax, and
    /// how dates and intervals read; `epoch` counts the changes of the schema. A statement that may be
    /// outdated is not used again: as on a direct connection, who prepares it now gets it as of now.
    pub fn intern(
        &self,
        environment: &Arc<str>,
        parse: &[u8],
        verdict: &Arc<Verdict>,
        epoch: u64,
    ) -> Arc<Statement> {
        let key = Key { environment: environment.clone(), parse: parse.into() };
        let shard = usize::try_from(self.hasher.hash_one(&key)).unwrap_or(0) % REGISTRY_SHARDS;
        let Some(shard) = self.shards.get(shard) else {
            return self.make(key.parse, verdict, epoch);
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.get(&key).and_then(Weak::upgrade)
            && known.verdict == *verdict
            && !known.may_be_outdated(epoch)
        {
            return known;
        }
        let statement = self.make(key.parse.clone(), verdict, epoch);
        if shard.len() >= SHARD_SWEEP_THRESHOLD && shard.len() == shard.capacity() {
            shard.retain(|_, statement| statement.strong_count() > 0);
        }
        shard.insert(key, Arc::downgrade(&statement));
        statement
    }

    fn make(&self, parse: Arc<[u8]>, verdict: &Arc<Verdict>, epoch: u64) -> Arc<Statement> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{SERVER_NAME_PREFIX}{id:x}").into_bytes().into();
        Arc::new(Statement {
            id,
            name,
            parse,
            verdict: verdict.clone(),
            epoch,
            is_retired: AtomicBool::new(false),
            described: OnceLock::new(),
        })
    }
}
