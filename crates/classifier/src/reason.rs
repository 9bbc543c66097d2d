//! Why a statement has the access it has.

use std::fmt;

/// Why a statement is labelled as it is. The words of [`Reason::as_str`] are few and stable, for
/// metrics; names of functions and relations are for people and stay in [`fmt::Display`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing in it can do harm.
    Harmless,
    /// There is no statement.
    Empty,
    /// It sets or resets what the session carries along.
    SessionSetting,
    /// It begins, ends or shapes a transaction.
    TransactionControl,
    /// It works on a cursor that is open already.
    Cursor,
    /// It drops what the session has prepared.
    Deallocate,

    /// `SHOW` gives the primary's settings.
    Show,
    /// A function that tells one server from another.
    ServerFunction(Box<str>),
    /// A relation that shows one server's own state.
    ServerRelation(Box<str>),
    /// A sequence's counter, which a standby sees ahead of its value.
    SequenceState(Box<str>),
    /// A relation in `pg_temp`.
    TemporaryRelation(Box<str>),
    /// An unlogged table: a standby has no rows of it.
    UnloggedRelation(Box<str>),
    /// A foreign table: another server's rows, or this server's files.
    ForeignRelation(Box<str>),
    /// In a cluster that shards: only the coordinator has it, or has it so.
    CoordinatorOnly(Box<str>),
    /// A function of the user's that changes settings, or leaves other state behind.
    ChangesSession(Box<str>),
    /// It executes what an SQL `PREPARE` has prepared.
    SqlExecute,
    /// It ties the session to its server connection; the word is the pin's.
    Pins(&'static str),
    /// It imports a snapshot, which only the server that exported it has.
    Snapshot,
    /// `COPY … TO` a file or program of the server.
    CopyToServer,

    /// `INSERT`, `UPDATE`, `DELETE` or `MERGE`.
    DataModification(&'static str),
    /// One of these inside `WITH`.
    DataModifyingCte(&'static str),
    /// `FOR UPDATE`, `FOR NO KEY UPDATE`, `FOR SHARE`, `FOR KEY SHARE`.
    RowLock,
    /// `SELECT … INTO`.
    SelectInto,
    /// `COPY … FROM`.
    CopyFrom,
    /// Any other statement that writes; its kind.
    Utility(&'static str),
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`.
    TwoPhase,
    /// A function of PostgreSQL's own that writes, or acts on the server it runs on.
    WriteFunction(Box<str>),
    /// A function that runs SQL which is not in the text.
    RunsText(Box<str>),
    /// A function that is not PostgreSQL's own, and nobody has vouched for it.
    UnknownFunction(Box<str>),
    /// An operator that is not PostgreSQL's own.
    UnknownOperator(Box<str>),
    /// A relation that the database did not have when its catalog was read.
    UnknownRelation(Box<str>),
    /// A type that neither PostgreSQL nor the database had when its catalog was read.
    UnknownType(Box<str>),
    /// Something of the user's, while the database's catalog is not known or has just changed.
    CatalogUnread(Box<str>),
    /// A part of the syntax tree that the classifier does not know.
    UnknownNode,

    /// PostgreSQL's grammar cannot read it; the server will say why.
    Unparsable,
    /// Not UTF-8, or it holds a zero byte.
    NotText,
    /// The client's encoding lets quotes hide inside characters.
    UnsafeEncoding,
    /// Longer than [`crate::lex::MAX_CLASSIFIED_BYTES`].
    TooLong,
    /// Nested too deeply to be parsed safely.
    TooDeep,
}

impl Reason {
    /// Every word that [`Reason::as_str`] can say.
    pub const WORDS: [&'static str; 38] = [
        "harmless",
        "empty",
        "session_setting",
        "transaction_control",
        "cursor",
        "deallocate",
        "show",
        "server_function",
        "server_relation",
        "sequence_state",
        "temporary_relation",
        "unlogged_relation",
        "foreign_relation",
        "coordinator_only",
        "changes_session",
        "sql_execute",
        "pins",
        "snapshot",
        "copy_to_server",
        "data_modification",
        "data_modifying_cte",
        "row_lock",
        "select_into",
        "copy_from",
        "utility",
        "two_phase",
        "write_function",
        "runs_text",
        "unknown_function",
        "unknown_operator",
        "unknown_relation",
        "catalog_unread",
        "unknown_node",
        "unparsable",
        "not_text",
        "unsafe_encoding",
        "too_long",
        "too_deep",
    ];

    /// The place of the word among [`Reason::WORDS`].
    #[must_use]
    pub fn index(&self) -> usize {
        let word = self.as_str();
        Self::WORDS.iter().position(|known| *known == word).unwrap_or_default()
    }

    /// A stable, machine-readable word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Harmless => "harmless",
            Self::Empty => "empty",
            Self::SessionSetting => "session_setting",
            Self::TransactionControl => "transaction_control",
            Self::Cursor => "cursor",
            Self::Deallocate => "deallocate",
            Self::Show => "show",
            Self::ServerFunction(_) => "server_function",
            Self::ServerRelation(_) => "server_relation",
            Self::SequenceState(_) => "sequence_state",
            Self::TemporaryRelation(_) => "temporary_relation",
            Self::UnloggedRelation(_) => "unlogged_relation",
            Self::ForeignRelation(_) => "foreign_relation",
            Self::CoordinatorOnly(_) => "coordinator_only",
            Self::ChangesSession(_) => "changes_session",
            Self::SqlExecute => "sql_execute",
            Self::Pins(_) => "pins",
            Self::Snapshot => "snapshot",
            Self::CopyToServer => "copy_to_server",
            Self::DataModification(_) => "data_modification",
            Self::DataModifyingCte(_) => "data_modifying_cte",
            Self::RowLock => "row_lock",
            Self::SelectInto => "select_into",
            Self::CopyFrom => "copy_from",
            Self::Utility(_) => "utility",
            Self::TwoPhase => "two_phase",
            Self::WriteFunction(_) => "write_function",
            Self::RunsText(_) => "runs_text",
            Self::UnknownFunction(_) => "unknown_function",
            Self::UnknownOperator(_) => "unknown_operator",
            Self::UnknownRelation(_) => "unknown_relation",
            Self::UnknownType(_) => "unknown_type",
            Self::CatalogUnread(_) => "catalog_unread",
            Self::UnknownNode => "unknown_node",
            Self::Unparsable => "unparsable",
            Self::NotText => "not_text",
            Self::UnsafeEncoding => "unsafe_encoding",
            Self::TooLong => "too_long",
            Self::TooDeep => "too_deep",
        }
    }

    /// What the reason is about, where there is something to name.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::ServerFunction(name)
            | Self::ServerRelation(name)
            | Self::SequenceState(name)
            | Self::TemporaryRelation(name)
            | Self::UnloggedRelation(name)
            | Self::ForeignRelation(name)
            | Self::CoordinatorOnly(name)
            | Self::ChangesSession(name)
            | Self::UnknownRelation(name)
            | Self::UnknownType(name)
            | Self::CatalogUnread(name)
            | Self::WriteFunction(name)
            | Self::RunsText(name)
            | Self::UnknownFunction(name)
            | Self::UnknownOperator(name) => Some(name),
            Self::Pins(word)
            | Self::DataModification(word)
            | Self::DataModifyingCte(word)
            | Self::Utility(word) => Some(word),
            _ => None,
        }
    }
}

/// The word, and in brackets what it is about: `unknown_function (audit)`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject() {
            Some(subject) => write!(f, "{} ({subject})", self.as_str()),
            None => f.write_str(self.as_str()),
        }
    }
}
