//! A client's transaction, followed from outside.
//!
//! Two sources say what it is. The labels of the statements that are sent say it early, before any
//! answer: a pipeline needs that. The status byte of `ReadyForQuery` says it for certain, but late; where
//! the two differ, the byte wins. A transaction whose beginning was not seen is taken for the kind that
//! only the primary serves.
//!
//! Manual: "Message Flow", `SET TRANSACTION`, `SAVEPOINT`.

use crate::{Access, Characteristics, Control, Isolation, Label, Reason, StatementLabel};

/// Savepoints followed per transaction. Behind this many, a rollback to one of them makes the
/// transaction count as read-write.
pub const MAX_SAVEPOINTS: usize = 1024;

/// The session's settings that a transaction starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// `default_transaction_isolation`.
    pub isolation: Isolation,
    /// `default_transaction_read_only`.
    pub read_only: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { isolation: Isolation::ReadCommitted, read_only: false }
    }
}

/// What a transaction is, as far as routing is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Its isolation level.
    pub isolation: Isolation,
    /// True if it cannot write.
    pub read_only: bool,
}

/// The status byte of `ReadyForQuery`. Manual: "Message Formats".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in a transaction block.
    Open,
    /// `E`: in a failed transaction block; statements are refused until it ends.
    Failed,
}

impl Status {
    /// Reads the byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Open),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
}

/// The transaction block of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    block: Option<Block>,
}

/// An open transaction block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    mode: Mode,
    /// A statement has run that fixes the isolation level and forbids a return to read-write.
    queried: bool,
    failed: bool,
    savepoints: Vec<Savepoint>,
    /// Savepoints beyond [`MAX_SAVEPOINTS`] were set.
    lost_savepoints: bool,
}

/// What the end of a subtransaction restores. PostgreSQL restores `transaction_read_only` when a
/// savepoint is released, too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Savepoint {
    name: String,
    read_only: bool,
}

/// The strictest mode: what an unseen transaction is taken for.
const UNSEEN: Mode = Mode { isolation: Isolation::Serializable, read_only: false };

impl Transaction {
    /// A client that has just connected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True in a transaction block, failed or not.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.block.is_some()
    }

    /// True in a transaction block that can only be rolled back.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.failed)
    }

    /// True in a transaction block that has run no query yet: `SET TRANSACTION` may still decide what
    /// it is.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.block.as_ref().is_some_and(|block| !block.queried)
    }

    /// What the transaction is; outside a transaction block, what a single statement runs as.
    #[must_use]
    pub fn mode(&self, defaults: Defaults) -> Mode {
        match &self.block {
            Some(block) => block.mode,
            None => Mode { isolation: defaults.isolation, read_only: defaults.read_only },
        }
    }

    /// A text is on its way to the server, and is expected to succeed.
    pub fn sent(&mut self, label: &Label, defaults: Defaults) {
        if label.unparsed
            && let Some(block) = &mut self.block
        {
            block.queried = true;
        }
        for statement in &label.statements {
            self.statement(statement, defaults);
        }
    }

    /// The server has answered with `ReadyForQuery`.
    pub fn ready(&mut self, status: Status) {
        match status {
            Status::Idle => self.block = None,
            Status::Open | Status::Failed => {
                let block = self.block.get_or_insert_with(Block::unseen);
                block.failed = status == Status::Failed;
            }
        }
    }

    fn statement(&mut self, statement: &StatementLabel, defaults: Defaults) {
        match &statement.control {
            Control::Begin(characteristics) => {
                // Within a block BEGIN is only warned about, and its modes still take effect.
                let block = self.block.get_or_insert_with(|| Block::new(defaults.into()));
                block.shape(*characteristics);
            }
            Control::SetTransaction(characteristics) => {
                // Outside a block it is only warned about.
                if let Some(block) = &mut self.block {
                    block.shape(*characteristics);
                }
            }
            Control::Commit { chain } | Control::Rollback { chain } => self.end(*chain),
            Control::PrepareTransaction => self.block = None,
            Control::Savepoint(name) => self.block_do(|block| block.savepoint(name)),
            Control::Release(name) => self.block_do(|block| block.back_to(name, true)),
            Control::RollbackTo(name) => self.block_do(|block| block.back_to(name, false)),
            Control::None | Control::EndPrepared => {}
        }
        if takes_snapshot(statement) {
            self.block_do(|block| block.queried = true);
        }
    }

    fn block_do(&mut self, action: impl FnOnce(&mut Block)) {
        if let Some(block) = &mut self.block {
            action(block);
        }
    }

    /// A chained transaction starts at once and is what its predecessor was.
    fn end(&mut self, chain: bool) {
        self.block = match self.block.take() {
            Some(block) if chain => Some(Block::new(block.mode)),
            _ => None,
        };
    }
}

impl From<Defaults> for Mode {
    fn from(defaults: Defaults) -> Self {
        Self { isolation: defaults.isolation, read_only: defaults.read_only }
    }
}

/// True for whatever may take a snapshot: everything but settings and transaction control.
fn takes_snapshot(statement: &StatementLabel) -> bool {
    let setting = matches!(statement.kind, "SET" | "RESET" | "SHOW");
    let imports_snapshot = statement.reason == Reason::Snapshot;
    statement.access != Access::Neutral && !setting || imports_snapshot
}

impl Block {
    fn new(mode: Mode) -> Self {
        Self { mode, queried: false, failed: false, savepoints: Vec::new(), lost_savepoints: false }
    }

    fn unseen() -> Self {
        Self { queried: true, ..Self::new(UNSEEN) }
    }

    /// Applies what a statement says about the transaction's modes, as far as PostgreSQL will: the
    /// isolation level is fixed by the first query, read-only can still be had after it.
    fn shape(&mut self, characteristics: Characteristics) {
        if let Some(isolation) = characteristics.isolation
            && !self.queried
        {
            self.mode.isolation = isolation;
        }
        match characteristics.read_only {
            Some(true) => self.mode.read_only = true,
            Some(false) if !self.queried => self.mode.read_only = false,
            _ => {}
        }
    }

    fn savepoint(&mut self, name: &str) {
        if self.savepoints.len() < MAX_SAVEPOINTS {
            let read_only = self.mode.read_only;
            self.savepoints.push(Savepoint { name: name.to_owned(), read_only });
        } else {
            self.lost_savepoints = true;
        }
    }

    /// Ends all subtransactions down to the named one, and that one, too, if it is released.
    fn back_to(&mut self, name: &str, release: bool) {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        match found {
            Some(position) if !self.lost_savepoints => {
                if let Some(savepoint) = self.savepoints.get(position) {
                    self.mode.read_only = savepoint.read_only;
                }
                self.savepoints.truncate(if release { position } else { position + 1 });
                self.failed = false;
            }
            _ => {
                // An error in PostgreSQL, or a savepoint that was not kept.
                self.mode.read_only = self.mode.read_only && !self.lost_savepoints;
                self.failed &= !self.lost_savepoints;
            }
        }
    }
}
