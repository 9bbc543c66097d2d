//! What the router says about a text of SQL, in the words the session machine needs.
//!
//! The session machine does not read SQL. It asks a [`Router`] once per text (the answer is shared
//! and cached there) and keeps the [`Verdict`]: where the text may run, and what the session must
//! remember once the server has accepted it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::parameters::Parameters;
use crate::settings::SettingsMap;
use crate::sqlstate::SqlState;

/// Where a statement has to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Proven harmless: a replica may answer.
    Replica,
    /// Only the primary gives the right answer.
    Primary,
}

/// What SQL does to the session's settings once it has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange {
    /// A setting takes a value.
    Set {
        /// The setting's name in lower case.
        name: Box<str>,
        /// The statement that makes it, to be replayed on other servers.
        statement: Arc<str>,
    },
    /// RESET name, or SET name TO DEFAULT.
    Reset {
        /// The setting's name in lower case.
        name: Box<str>,
    },
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL: settings, prepared statements, cursors, temporary tables, locks, LISTEN.
    DiscardAll,
}

/// What the session must do once a statement has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Settings change.
    Setting(SettingChange),
    /// State that cannot be carried binds the client to its server.
    Pin(Pins),
    /// Such state is provably gone.
    Unpin(Pins),
    /// PREPARE name.
    Prepare(Prepared),
    /// DEALLOCATE name.
    Deallocate(Box<str>),
    /// DISCARD SEQUENCES.
    ForgetSequences,
    /// SQL's DEALLOCATE ALL or DISCARD ALL: no prepared statement is left on the server.
    ForgetStatements,
    /// COMMIT, END, PREPARE TRANSACTION (the command tag tells a commit from a rollback).
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint(Box<str>),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(Box<str>),
    /// RELEASE SAVEPOINT.
    Release(Box<str>),
    /// DECLARE: a cursor is open.
    Declare(Box<str>),
    /// CLOSE of one cursor, or of all.
    CloseCursor(Option<Box<str>>),
}

/// A statement that SQL has prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its name, as PostgreSQL folds it.
    pub name: Box<str>,
    /// The PREPARE, to be said again to other servers.
    pub statement: Arc<str>,
    /// The verdict on what EXECUTE runs.
    pub verdict: Arc<Verdict>,
}

/// What a text may have done to its session without saying so: the server has to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// What may bind the client from now on; [`Pins::SETTINGS`] stands for all settings that a server
    /// lists, and the role.
    pub of: Pins,
    /// What may bind it no more: not worth asking where it does not.
    pub released: Pins,
    /// Settings to ask for by their names, in lower case.
    pub settings: Box<[Box<str>]>,
}

/// Something that pgweir itself knows and no server does: `SHOW pgweir.…` and its kin.
///
/// The text is exchanged for a SELECT of the answer, so that the server gives it in whatever form
/// the client's protocol asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnQuestion {
    /// `SHOW pgweir.name`
    Show {
        /// The name after `pgweir.`.
        name: Box<str>,
    },
    /// `SET pgweir.token`: right as far as its text tells.
    Token {
        /// The statement.
        statement: Box<str>,
        /// The position.
        value: Box<str>,
    },
    /// `SET pgweir.name` to something that it cannot be: PostgreSQL would take it, and pgweir not do
    /// it.
    Refused {
        /// What is wrong with it.
        message: Box<str>,
        /// What would be right.
        hint: Box<str>,
    },
    /// A statement that pgweir lets no server run. The text is exchanged for one that every server
    /// refuses, and the server's error for this one: so a transaction fails as PostgreSQL's own do.
    Denied {
        /// A whole ErrorResponse.
        error: Box<[u8]>,
    },
    /// `EXPLAIN (ROUTE) statement`
    Route {
        /// The statement asked about.
        statement: Box<str>,
    },
}

/// What whoever judges texts keeps with a verdict for its own ends; no part of the judgement.
#[derive(Clone, Default)]
pub struct Enclosure(Option<Arc<dyn Any + Send + Sync>>);

impl Enclosure {
    /// Encloses something.
    #[must_use]
    pub fn new<T: Send + Sync + 'static>(what: Arc<T>) -> Self {
        Self(Some(what))
    }

    /// What is enclosed, if it is this.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }

    /// The same, to keep.
    #[must_use]
    pub fn share<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.clone()?.downcast().ok()
    }
}

/// Verdicts are the same whatever is enclosed.
impl PartialEq for Enclosure {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Enclosure {}

impl fmt::Debug for Enclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Enclosure" } else { "None" })
    }
}

/// A judgement on one text, context left out: immutable and shared between clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a text")]
pub struct Verdict {
    /// Where the text has to run when nothing else is known.
    pub target: Target,
    /// Machine-readable reason, from a bounded set.
    pub reason: &'static str,
    /// The reason's place among all there are, for whoever counts them.
    pub reason_index: usize,
    /// Whether the text counts as a write for consistency: everything not proven to be none.
    pub is_write: bool,
    /// No answer to it tells anything of what is stored: settings, transaction control.
    pub shows_nothing: bool,
    /// A read-only server can do it, if the client insists: it is no write and leaves no state.
    pub suits_replica: bool,
    /// The modes of a BEGIN or START TRANSACTION in the text.
    pub begin: Option<TransactionModes>,
    /// BEGIN is all there is: the transaction has done nothing yet.
    pub only_begins: bool,
    /// The end of a transaction is all there is, and no other begins with it.
    pub only_ends: bool,
    /// It opens a transaction that may read from a replica and go on on the primary.
    pub opening: Option<Opening>,
    /// What it leaves behind in its transaction.
    pub trace: Trace,
    /// One SET, RESET or DISCARD is all there is.
    pub only_sets: bool,
    /// SET TRANSACTION as the only statement, with its modes.
    pub set_transaction: Option<TransactionModes>,
    /// Whether any statement controls transactions: what follows in a pipeline must follow it.
    pub controls_transaction: bool,
    /// What must be remembered, with the index of the statement (from 0) that causes it.
    pub effects: Box<[(usize, Effect)]>,
    /// Pins that hold from the moment the text is sent: a failing statement may leave them too.
    pub pins_when_sent: Pins,
    /// The hint at the text's head, if any.
    pub hint: Option<Target>,
    /// It asks what the session has last drawn from a sequence.
    pub recalls_sequences: bool,
    /// It asks what is prepared in the session.
    pub lists_statements: bool,
    /// DEALLOCATE name is all there is.
    pub deallocates: Option<Box<str>>,
    /// EXECUTE name is all there is: what it does is up to the statement of that name.
    pub executes: Option<Execution>,
    /// The prepared statements that the text names.
    pub mentions: Box<[Box<str>]>,
    /// What has to be asked of the server once the text has run.
    pub inspects: Option<Inspection>,
    /// The database that it needs to be free of connections.
    pub vacates: Option<Box<str>>,
    /// What it means for what is known of the database's objects.
    pub changes_catalog: CatalogChange,
    /// Which knowledge of the database's objects it rests on, if on any (0 if on none); see
    /// [`Router::is_outdated`].
    pub generation: u64,
    /// By which of the router's rules it was found; 0 if by none. See [`Router::is_outdated`].
    pub rules: u32,
    /// Tells texts that differ in more than literals from each other; 0 if that is not known.
    pub fingerprint: u64,
    /// A question to pgweir itself.
    pub question: Option<OwnQuestion>,
    /// What the router keeps with it.
    pub enclosed: Enclosure,
}

impl Verdict {
    /// The verdict on a portal that no Bind of this session made: fetching from an SQL cursor.
    #[must_use]
    pub fn nothing_known() -> Self {
        Self {
            target: Target::Primary,
            reason: "cursor",
            is_write: false,
            controls_transaction: false,
            pins_when_sent: Pins::NONE,
            changes_catalog: CatalogChange::None,
            ..Self::unknown("cursor")
        }
    }

    /// Whether prepared statements are dropped: DEALLOCATE ALL, DISCARD ALL.
    #[must_use]
    pub fn forgets_statements(&self) -> bool {
        self.effects.iter().any(|(_, effect)| {
            matches!(effect, Effect::ForgetStatements | Effect::Setting(SettingChange::DiscardAll))
        })
    }

    /// Whether it changes what others may have prepared statements on: tables, types, functions.
    #[must_use]
    pub fn changes_schema(&self) -> bool {
        self.changes_catalog != CatalogChange::None
    }

    /// Whether a transaction is committed.
    #[must_use]
    pub fn commits(&self) -> bool {
        let commit = |(_, effect): &(usize, Effect)| *effect == Effect::Commit;
        self.effects.iter().any(commit)
    }

    /// Whether a transaction is rolled back.
    #[must_use]
    pub fn rolls_back(&self) -> bool {
        self.effects.iter().any(|(_, effect)| *effect == Effect::Rollback)
    }

    /// The verdict on a text nobody looked into: the primary, and a pin, for it may do anything.
    #[must_use]
    pub fn unknown(reason: &'static str) -> Self {
        Self {
            target: Target::Primary,
            reason,
            reason_index: usize::MAX,
            is_write: true,
            shows_nothing: false,
            suits_replica: false,
            begin: None,
            only_begins: false,
            only_ends: false,
            opening: None,
            trace: Trace::Bound,
            only_sets: false,
            set_transaction: None,
            controls_transaction: true,
            effects: Box::default(),
            pins_when_sent: Pins::UNINSPECTED,
            hint: None,
            recalls_sequences: false,
            lists_statements: false,
            deallocates: None,
            executes: None,
            mentions: Box::default(),
            inspects: None,
            vacates: None,
            changes_catalog: CatalogChange::Everything,
            generation: 0,
            rules: 0,
            fingerprint: 0,
            question: None,
            enclosed: Enclosure::default(),
        }
    }

    /// The error for a statement that no server is to run.
    #[must_use]
    pub fn denial(&self) -> Option<&[u8]> {
        match &self.question {
            Some(OwnQuestion::Denied { error }) => Some(error),
            _ => None,
        }
    }

    /// The verdict on what EXECUTE of a statement runs that the text prepares.
    #[must_use]
    pub fn prepares(&self, name: &str) -> Option<&Arc<Self>> {
        self.effects.iter().find_map(|(_, effect)| match effect {
            Effect::Prepare(prepared) if &*prepared.name == name => Some(&prepared.verdict),
            _ => None,
        })
    }

    /// Whether statements prepared in SQL come or go.
    #[must_use]
    pub fn changes_statements(&self) -> bool {
        let changes =
            |effect: &Effect| matches!(effect, Effect::Prepare(_) | Effect::Deallocate(_));
        self.effects.iter().any(|(_, effect)| changes(effect))
    }

    /// Whether prepared statements of any kind come or go.
    #[must_use]
    pub fn changes_any_statement(&self) -> bool {
        self.changes_statements() || self.forgets_statements()
    }

    /// The verdict on an EXECUTE, judged like the statement it runs.
    #[must_use]
    pub fn executing(&self, execution: &Execution, body: &Self) -> Self {
        if body.denial().is_some() {
            return Self { question: body.question.clone(), ..self.clone() };
        }
        match execution.how {
            Manner::Besides => return self.clone(),
            Manner::Planned => return self.planning(body),
            Manner::Alone => {}
        }
        Self {
            hint: self.hint,
            mentions: self.mentions.clone(),
            question: None,
            enclosed: self.enclosed.clone(),
            generation: self.generation.max(body.generation),
            ..body.clone()
        }
    }

    /// The same for an EXPLAIN: a replica plans what a replica may run, and nothing comes of that.
    fn planning(&self, body: &Self) -> Self {
        if body.target != Target::Replica {
            return self.clone();
        }
        Self {
            target: body.target,
            reason: body.reason,
            reason_index: body.reason_index,
            is_write: false,
            suits_replica: true,
            inspects: None,
            generation: self.generation.max(body.generation),
            fingerprint: body.fingerprint,
            ..self.clone()
        }
    }
}

/// What one EXECUTE is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The prepared statement.
    pub name: Box<str>,
    /// What becomes of it.
    pub how: Manner,
}

/// How a statement is executed that was prepared before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// What it does is all that is done.
    Alone,
    /// It is only explained.
    Planned,
    /// What its arguments do decides.
    Besides,
}

/// What a text means for what is known of the database's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogChange {
    /// Nothing.
    None,
    /// Objects of these names come or go, and none besides.
    Named(Box<[Box<str>]>),
    /// Nothing is known for certain any more of the user's objects.
    Any,
    /// Nor of what names of PostgreSQL's own mean.
    Everything,
}

/// What a text leaves behind in its transaction, for the case that this goes on on another server; what
/// is harder to bring there is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// Nothing: a read, or the transaction's end.
    None,
    /// What it leaves again if it is said again, in the same order: SAVEPOINT, SET.
    Repeatable,
    /// What holds the transaction where it is, for as long as it is there: a cursor. Or the level of the
    /// transaction.
    Held,
    /// What is on its server alone, or asks for another. Or nobody knows.
    Bound,
}

/// A transaction's isolation level (manual, 13.2 Transaction Isolation), the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// READ COMMITTED, or READ UNCOMMITTED, which is the same: each statement takes a new snapshot.
    ReadCommitted,
    /// REPEATABLE READ: one snapshot for all statements.
    RepeatableRead,
    /// SERIALIZABLE, which no standby does.
    Serializable,
}

/// What a transaction says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// READ WRITE.
    ReadWrite,
    /// READ ONLY.
    ReadOnly,
}

/// A BEGIN, or START TRANSACTION, that is not SERIALIZABLE: by itself, or with statements behind it that
/// leave its transaction open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The command tag.
    pub tag: &'static str,
    /// The isolation level that it names; where it does not, the session's default has it.
    pub isolation: Option<Isolation>,
    /// What the statements behind it leave in the transaction, if there are any.
    pub rest: Option<Trace>,
}

impl Opening {
    /// Whether it is all there is.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.rest.is_none()
    }
}

/// Why a transaction that has read from a replica goes on on another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It begins to write, or to do what only the primary does.
    Statement,
    /// The replica is lost.
    Lost,
    /// The replica had to cancel it, to go on replaying.
    Conflict,
    /// The replica refuses what was taken for a read.
    Refused,
}

/// The modes of BEGIN, START TRANSACTION and SET TRANSACTION, where given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionModes {
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// ISOLATION LEVEL.
    pub isolation: Option<Isolation>,
    /// DEFERRABLE or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
}

impl TransactionModes {
    /// Whether a standby refuses them.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        self.isolation == Some(Isolation::Serializable)
    }

    /// The BEGIN that gives them.
    #[must_use]
    pub fn begin(&self) -> String {
        let level = self.isolation.map(|level| match level {
            Isolation::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => "ISOLATION LEVEL SERIALIZABLE",
        });
        let access = self.read_only.map(|on| if on { "READ ONLY" } else { "READ WRITE" });
        let wait = self.deferrable.map(|on| if on { "DEFERRABLE" } else { "NOT DEFERRABLE" });
        let modes: Vec<&str> = [level, access, wait].into_iter().flatten().collect();
        format!("BEGIN {}", modes.join(", ")).trim_end().to_owned()
    }
}

/// A set of reasons that bind a client to its server connection.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u16);

impl Pins {
    /// Nothing binds.
    pub const NONE: Self = Self(0);
    /// A temporary table, view, sequence or function.
    pub const TEMPORARY: Self = Self(1);
    /// LISTEN.
    pub const LISTEN: Self = Self(1 << 1);
    /// A cursor WITH HOLD.
    pub const HOLD_CURSOR: Self = Self(1 << 2);
    /// A session-level advisory lock.
    pub const ADVISORY_LOCK: Self = Self(1 << 3);
    /// LOAD.
    pub const LOAD: Self = Self(1 << 4);
    /// A setting changed in a way that cannot be followed.
    pub const SETTINGS: Self = Self(1 << 5);
    /// SQL's PREPARE, of more than can be carried or out of sight.
    pub const SQL_PREPARE: Self = Self(1 << 6);
    /// A text too long, too deep or too strange to look into.
    pub const UNINSPECTED: Self = Self(1 << 7);
    /// A protocol-level statement too large to be prepared again elsewhere.
    pub const LARGE_STATEMENT: Self = Self(1 << 8);
    /// The pool's mode is session.
    pub const SESSION_MODE: Self = Self(1 << 9);
    /// The seed of `random()`.
    pub const RANDOM_SEED: Self = Self(1 << 10);
    /// A value drawn from a sequence that may be asked for.
    pub const SEQUENCE: Self = Self(1 << 11);

    /// What a server can be asked about: everything that code out of sight may have done, but load a
    /// library or seed `random()`.
    pub const INSPECTED: Self = Self(
        Self::TEMPORARY.0
            | Self::LISTEN.0
            | Self::HOLD_CURSOR.0
            | Self::ADVISORY_LOCK.0
            | Self::SETTINGS.0
            | Self::SQL_PREPARE.0,
    );

    const NAMES: [(Self, &'static str); 12] = [
        (Self::TEMPORARY, "temporary_table"),
        (Self::LISTEN, "listen"),
        (Self::HOLD_CURSOR, "hold_cursor"),
        (Self::ADVISORY_LOCK, "advisory_lock"),
        (Self::LOAD, "load"),
        (Self::SETTINGS, "untrackable_setting"),
        (Self::SQL_PREPARE, "sql_prepare"),
        (Self::UNINSPECTED, "uninspected_statement"),
        (Self::LARGE_STATEMENT, "large_statement"),
        (Self::SESSION_MODE, "session_mode"),
        (Self::RANDOM_SEED, "random_seed"),
        (Self::SEQUENCE, "sequence_value"),
    ];

    /// What a rollback leaves: locks, loaded libraries and prepared statements are not undone.
    const SURVIVING_ROLLBACK: Self = Self(
        Self::ADVISORY_LOCK.0
            | Self::LOAD.0
            | Self::SQL_PREPARE.0
            | Self::UNINSPECTED.0
            | Self::LARGE_STATEMENT.0
            | Self::SESSION_MODE.0
            | Self::RANDOM_SEED.0
            | Self::SEQUENCE.0,
    );

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether any of the other set binds.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing binds.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The part that no rollback undoes.
    #[must_use]
    pub const fn surviving_rollback(self) -> Self {
        Self(self.0 & Self::SURVIVING_ROLLBACK.0)
    }

    /// The part that DISCARD ALL leaves: it resets a session and does not end it.
    #[must_use]
    pub const fn surviving_discard(self) -> Self {
        Self(self.0 & Self::SESSION_MODE.0)
    }

    /// The reason of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(pin, _)| *pin)
    }

    /// The machine-readable names of the reasons.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(pin, _)| self.0 & pin.0 != 0).map(|(_, name)| name)
    }

    /// Every reason there may be.
    pub fn all_names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().map(|(_, name)| name)
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// What a router may want to know of the session it judges for.
#[derive(Debug, Clone, Copy)]
pub struct SessionFacts<'a> {
    /// The client's settings.
    pub settings: &'a SettingsMap,
    /// The values last reported to the client: `client_encoding`, `standard_conforming_strings` …
    pub reported: &'a Parameters,
    /// Client encoding and string syntax are UTF8 and standard: texts mean what they mean to most.
    pub is_usual: bool,
    /// It is in a transaction that may leave its replica: what could not follow it from there has to be
    /// done on the primary.
    pub split: Option<AccessMode>,
    /// A transaction is open: what comes next runs where it is.
    pub is_bound: bool,
}

/// Why a read has to run again.
#[derive(Debug, Clone, Copy)]
pub enum Setback<'a> {
    /// Its server is gone.
    Lost,
    /// A standby has cancelled it, to go on replaying.
    Conflict,
    /// A standby refuses it.
    Refused {
        /// How the text was judged, if that is known.
        verdict: Option<&'a Verdict>,
        /// The text itself, if it is at hand.
        text: Option<&'a [u8]>,
    },
    /// A server does not have what it names, or cannot get at it. Servers with catalogs of their own
    /// may differ in that.
    Lacking {
        /// How the text was judged, if that is known and it says something of other servers.
        verdict: Option<&'a Verdict>,
        /// The text itself, if it is at hand.
        text: Option<&'a [u8]>,
    },
}

/// Whose an error is that a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// A server's.
    Server,
    /// pgweir's own.
    Pgweir,
}

/// Whoever reads SQL for the session machine.
pub trait Router {
    /// Judges a text. Total: what cannot be understood gets a verdict for the primary.
    fn judge(&mut self, sql: &[u8], facts: SessionFacts<'_>) -> Arc<Verdict>;

    /// The verdict on a statement that says which types its parameters have, by their numbers. Values of
    /// a type may be checked by code of the user's.
    fn with_types(
        &mut self,
        verdict: Arc<Verdict>,
        _types: &mut dyn Iterator<Item = u32>,
    ) -> Arc<Verdict> {
        verdict
    }

    /// Whether more, or something else, is known by now than when this verdict was given.
    fn is_outdated(&self, _verdict: &Verdict) -> bool {
        false
    }

    /// Where a text runs that starts a new piece of work: the verdict, the client's own wishes
    /// (hints, read-only defaults) and the policy together.
    fn target(&mut self, verdict: &Verdict, facts: SessionFacts<'_>) -> Target;

    /// Whether a transaction that begins like this, by a BEGIN or the SET TRANSACTION READ ONLY behind
    /// one, reads from a replica until something is asked that belongs to the primary; and what it says
    /// of itself.
    fn splits(&self, _verdict: &Verdict, _facts: SessionFacts<'_>) -> Option<AccessMode> {
        None
    }

    /// Such a transaction has come to a replica.
    fn opened_on_replica(&mut self, _access: AccessMode) {}

    /// Such a transaction leaves its replica.
    fn moved(&mut self, _access: AccessMode, _why: Move) {}

    /// A statement is on its way to a server of this role.
    fn sent(&mut self, verdict: &Verdict, on: Target);

    /// Where a read runs again after this; `None` if its client is to hear of it.
    fn elsewhere(&mut self, setback: Setback<'_>) -> Option<Target>;

    /// How often the schema is known to have changed.
    fn schema_epoch(&self) -> u64;

    /// Something that may have changed the schema has committed.
    fn schema_changed(&mut self);

    /// Whether anybody in this database asks what it has drawn from sequences.
    fn recalls_sequences(&self) -> bool;

    /// The custom settings that code in the database is known to make, in lower case.
    fn custom_settings(&mut self) -> Arc<[Box<str>]>;

    /// Whether code in the database may make custom settings of other names.
    fn has_unlisted_settings(&self) -> bool;

    /// The client is told of an error.
    fn told_error(&mut self, _code: SqlState, _culprit: Culprit) {}

    /// The SQL that answers a question to pgweir itself.
    fn answer(&mut self, question: &OwnQuestion, facts: SessionFacts<'_>) -> String;
}
