//! What the classifier says about a text: one [`Label`], made of one [`StatementLabel`] per statement.
//!
//! A label is a value without references into the text, so that it can be cached and shared. It does
//! not depend on the transaction in which the text arrives; [`crate::Transaction`] puts the two together.

use std::ops::Range;

use crate::{Hint, Reason};

/// What a statement needs of the server that runs it, weakest first: the stronger of two is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Asks for no server in particular: settings, transaction control, cursors already open. It runs
    /// wherever the session or its transaction is; on its own any server will do, because the session's
    /// state is carried from server to server.
    Neutral,
    /// Proven harmless on a hot standby, which gives the primary's answer.
    Read,
    /// Changes no data, but only the primary gives the answer a direct connection would give, or the
    /// state it leaves behind (a lock, a pinned session) has to be on the primary.
    Primary,
    /// May change data, or nobody knows that it does not.
    Write,
}

impl Access {
    /// A stable word for metrics and the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Neutral => "neutral",
            Self::Read => "read",
            Self::Primary => "primary",
            Self::Write => "write",
        }
    }
}

/// Everything known about one text, which may hold any number of statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// One label per statement, in order; empty for an empty query and for a text that was not parsed.
    pub statements: Vec<StatementLabel>,
    /// The strongest access of all statements.
    pub access: Access,
    /// Why: the reason of the statement that decided, the first one among equals.
    pub reason: Reason,
    /// The routing comment in front of the first statement.
    pub hint: Option<Hint>,
    /// How far this label may be shared with other texts.
    pub sharing: Sharing,
    /// True if PostgreSQL's grammar, in the version built in here, could not read the text. Another
    /// server version may: a session that sees such a text succeed knows nothing of what it changed.
    pub unparsed: bool,
}

/// With which texts a label may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Every text with the same normalised form has this label.
    Normalised,
    /// The label depends on the values of literals or on positions: only the same bytes have it.
    Exact,
}

impl Label {
    /// The label of a text that was not taken apart: a write for the given reason.
    #[must_use]
    pub(crate) fn opaque(reason: Reason, hint: Option<Hint>, unparsed: bool) -> Self {
        Self {
            statements: Vec::new(),
            access: Access::Write,
            reason,
            hint,
            sharing: Sharing::Exact,
            unparsed,
        }
    }

    /// Puts the statements of one text together.
    #[must_use]
    pub(crate) fn of(
        statements: Vec<StatementLabel>,
        hint: Option<Hint>,
        sharing: Sharing,
    ) -> Self {
        let mut access = Access::Neutral;
        let mut reason = Reason::Empty;
        for statement in &statements {
            if statement.access > access || matches!(reason, Reason::Empty) {
                access = statement.access;
                reason = statement.reason.clone();
            }
        }
        Self { statements, access, reason, hint, sharing, unparsed: false }
    }

    /// What pgweir answers itself, if that is all the text asks for. In a text of several statements
    /// nothing is: PostgreSQL answers (or refuses) such a text as a whole.
    #[must_use]
    pub fn local(&self) -> Option<&Local> {
        match self.statements.as_slice() {
            [only] => only.local.as_ref(),
            _ => None,
        }
    }

    /// True if any statement is judged by what is known of the database's own objects.
    #[must_use]
    pub fn uses_objects(&self) -> bool {
        self.statements.iter().any(|statement| statement.uses_objects)
    }

    /// All effects of all statements, in order.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.statements.iter().flat_map(|statement| &statement.effects)
    }

    /// Forgets what is true of one text only, so that the label can serve all texts of a normal form.
    pub(crate) fn without_spans(mut self) -> Self {
        for statement in &mut self.statements {
            statement.range = None;
        }
        self
    }
}

/// What is known about one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLabel {
    /// What it needs of a server.
    pub access: Access,
    /// Why.
    pub reason: Reason,
    /// What it does to the transaction.
    pub control: Control,
    /// What the session has to remember once the statement has succeeded.
    pub effects: Vec<Effect>,
    /// The kind of statement in the words of PostgreSQL's command tags: `SELECT`, `CREATE TABLE`.
    pub kind: &'static str,
    /// Where the statement stands in the text, in bytes, without its semicolon and the space around it.
    /// `None` in a label that is shared by texts of the same normalised form.
    pub range: Option<Range<usize>>,
    /// It is judged by what is known of the database's own objects.
    pub uses_objects: bool,
    /// What it means for what is known of the database's objects.
    pub definition: Definition,
    /// Set if pgweir answers this statement itself when it stands alone.
    pub local: Option<Local>,
}

impl StatementLabel {
    /// A statement without control and effects.
    pub(crate) fn new(kind: &'static str, access: Access, reason: Reason) -> Self {
        Self {
            access,
            reason,
            control: Control::None,
            effects: Vec::new(),
            kind,
            range: None,
            uses_objects: false,
            definition: Definition::Nothing,
            local: None,
        }
    }

    /// Strengthens the access; the first reason of the strongest access stays.
    pub(crate) fn raise(&mut self, access: Access, reason: Reason) {
        if access > self.access {
            self.access = access;
            self.reason = reason;
        }
    }

    /// Notes an effect. A session that is tied to its server connection has to be able to write
    /// there, so whatever pins needs the primary.
    pub(crate) fn effect(&mut self, effect: Effect) {
        if let Effect::Pin(pin) = &effect {
            self.raise(Access::Primary, Reason::Pins(pin.as_str()));
        }
        self.effects.push(effect);
    }
}

/// What a statement means for what is known of the database's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// What is known stays true.
    Nothing,
    /// Objects of these names come or go, and none besides. If nothing that is known has such a name,
    /// what is known stays true; but there may be more to be known.
    Named(Vec<String>),
    /// What is known of the user's objects may not be true any more.
    Anything,
    /// Nor may names of PostgreSQL's own mean what they did: an operator `=` for numbers, a cast of a text.
    Everything,
}

/// Statements about pgweir itself. See [`Label::local`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// `SHOW pgweir.name`; the name stands here without its prefix.
    Show(String),
    /// `SET pgweir.name = 'value'`.
    Set {
        /// The setting, without its prefix.
        name: String,
        /// The value as text.
        value: String,
        /// `SET LOCAL`: until the end of the transaction.
        local: bool,
    },
    /// `RESET pgweir.name` and `SET pgweir.name TO DEFAULT`.
    Reset(String),
    /// `EXPLAIN (ROUTE) statement`.
    ExplainRoute {
        /// Where the explained text stands in the whole text, in bytes.
        range: Range<usize>,
        /// Its label, judged as a text of its own.
        label: Box<Label>,
    },
}

/// Transaction isolation levels, weakest first. Manual: "Transaction Isolation".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// `READ UNCOMMITTED`, which PostgreSQL runs as `READ COMMITTED`.
    ReadUncommitted,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`: a hot standby refuses it (SQLSTATE 0A000), even read only.
    Serializable,
}

impl Isolation {
    /// Reads a level as `default_transaction_isolation` spells it, in any letter case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            ("read uncommitted", Self::ReadUncommitted),
            ("read committed", Self::ReadCommitted),
            ("repeatable read", Self::RepeatableRead),
            ("serializable", Self::Serializable),
        ]
        .into_iter()
        .find_map(|(name, level)| name.eq_ignore_ascii_case(text).then_some(level))
    }
}

/// Transaction modes as a statement gives them; `None` is what it does not mention.
/// Manual: `SET TRANSACTION`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Characteristics {
    /// `ISOLATION LEVEL …`.
    pub isolation: Option<Isolation>,
    /// `READ ONLY` is `Some(true)`, `READ WRITE` is `Some(false)`.
    pub read_only: Option<bool>,
    /// `DEFERRABLE` is `Some(true)`.
    pub deferrable: Option<bool>,
}

/// What a statement does to the transaction it stands in. Savepoint names are as PostgreSQL folds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Nothing.
    None,
    /// `BEGIN`, `START TRANSACTION`.
    Begin(Characteristics),
    /// `SET TRANSACTION …` and its spellings as settings (`SET transaction_read_only = on`).
    SetTransaction(Characteristics),
    /// `COMMIT`, `END`.
    Commit {
        /// `AND CHAIN`: the next transaction begins at once, with the same characteristics.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `RELEASE SAVEPOINT name`.
    Release(String),
    /// `ROLLBACK TO SAVEPOINT name`.
    RollbackTo(String),
    /// `PREPARE TRANSACTION`: the transaction leaves the session.
    PrepareTransaction,
    /// `COMMIT PREPARED`, `ROLLBACK PREPARED`: another transaction ends, the session's own is untouched.
    EndPrepared,
}

/// What the session must know after a statement has succeeded. Names of settings are in lower case;
/// other names as PostgreSQL folds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A setting has a new value. `SET ROLE` and `SET SESSION AUTHORIZATION` are the settings `role`
    /// and `session_authorization`, `SET NAMES` is `client_encoding`, and so on.
    Set {
        /// The setting.
        name: String,
        /// Its value, ready to be said again to another server.
        value: SetValue,
        /// True if it holds only until the transaction ends.
        local: bool,
    },
    /// A setting is back at its default.
    Reset {
        /// The setting.
        name: String,
        /// True for `SET LOCAL name TO DEFAULT`.
        local: bool,
    },
    /// `RESET ALL`: every setting but `role`, `session_authorization` and those of the transaction.
    ResetAll,
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION …`.
    SetSessionCharacteristics(Characteristics),
    /// `DISCARD …`.
    Discard(Discard),
    /// `PREPARE name`: the statement is there for `EXECUTE`, on this server connection.
    Prepare {
        /// The prepared statement.
        name: String,
        /// The whole PREPARE, to be said again to another server.
        statement: String,
        /// What executing it will need and do.
        body: Box<StatementLabel>,
    },
    /// `DEALLOCATE name`, or `ALL` as `None`; names of the extended protocol included.
    Deallocate(Option<String>),
    /// `EXECUTE name`.
    Execute(String),
    /// `EXPLAIN EXECUTE name`, which does not run it.
    Plan(String),
    /// `DECLARE name`: a cursor that ends with its transaction, at the latest, unless it is pinned too.
    DeclareCursor(String),
    /// The session is tied to its server connection from now on.
    Pin(Pin),
    /// A reason for such a tie may be gone.
    Unpin(Unpin),
    /// `nextval`, `setval`: `currval` and `lastval` will answer on this server connection only. Not a
    /// reason to pin: the price would be every session that inserts a row.
    UsesSequence,
    /// `currval`, `lastval`: the answer is what this session did on this very server connection.
    RecallsSequence,
    /// `pg_prepared_statements`: the answer is what this very server connection has been told to prepare.
    ListsStatements,
    /// Code ran that cannot be seen from here (a function of the user's, `DO`, `CALL`). It may have
    /// changed settings or left locks or temporary tables; nothing says that it did.
    RanHiddenCode,
    /// Code ran whose words create, alter or drop something: what is known of the database's objects may
    /// not be true any more.
    DefinesObjects,
    /// Nobody may be connected to this database: it is dropped, renamed, moved or copied.
    NeedsDatabaseAlone(String),
    /// A setting may have a new value, which only the server knows.
    AsksSetting(String),
    /// Settings may have new values until the transaction ends, and which ones, or which values, cannot
    /// be read off.
    SetsLocally,
}

/// The value of a setting in a form that can be said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetValue {
    /// A complete statement that gives the setting this value in the session: never `LOCAL`, and the
    /// same under either `standard_conforming_strings`. A `SELECT` where only `set_config` will do.
    pub statement: String,
    /// The value as one text, where it is a single constant.
    pub text: Option<String>,
}

/// What `DISCARD` discards. Manual: `DISCARD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// `ALL`: closes cursors, resets role and settings, deallocates, unlistens, releases advisory locks.
    All,
    /// Cached plans; nothing a client can see.
    Plans,
    /// What `currval` and `lastval` remember.
    Sequences,
    /// Every temporary table.
    Temporary,
}

/// Why a session cannot leave its server connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// A temporary table, view, sequence or other object in `pg_temp`; its name where it is known.
    TemporaryObject(Option<String>),
    /// `LISTEN channel`.
    Listen(String),
    /// `DECLARE name CURSOR WITH HOLD`.
    HoldCursor(String),
    /// A session-level advisory lock.
    AdvisoryLock,
    /// `LOAD 'library'`, or a call that leaves state in one.
    Load,
    /// `setseed()` or `SET seed`: `random()` continues a series that only this connection knows.
    RandomSeed,
    /// Settings were changed whose names cannot be read from the text.
    UntrackableSettings,
}

impl Pin {
    /// A stable word for metrics and the console.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TemporaryObject(_) => "temporary_object",
            Self::Listen(_) => "listen",
            Self::HoldCursor(_) => "hold_cursor",
            Self::AdvisoryLock => "advisory_lock",
            Self::Load => "load",
            Self::RandomSeed => "random_seed",
            Self::UntrackableSettings => "untrackable_settings",
        }
    }
}

/// What may end a [`Pin`] of the same kind. `DISCARD` and `DEALLOCATE` are effects of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpin {
    /// `UNLISTEN channel`, or `*` as `None`.
    Unlisten(Option<String>),
    /// `CLOSE name`, or `ALL` as `None`.
    CloseCursor(Option<String>),
    /// `pg_advisory_unlock` and `pg_advisory_unlock_shared`: one lock less, if it was held.
    AdvisoryLock,
    /// `pg_advisory_unlock_all`: none are left.
    AllAdvisoryLocks,
    /// `DROP TABLE name` (or view, or sequence): a temporary object of that name, which hides any
    /// other, is gone.
    Dropped(String),
}
