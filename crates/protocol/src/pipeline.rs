//! The replies a server owes.
//!
//! Every message that goes to a server adds what the server will answer to it; every reply is
//! matched against the oldest entry. So the session knows at each moment whose turn it is, which
//! replies answer messages of pgweir's own (and are not the client's to see), and when nothing is
//! owed any more. After an error the server skips everything up to the next Sync, and so does
//! [`Pipeline::skip_to_sync`] (manual, 55.2.3 Extended Query); if that Sync is still to come, so is
//! the end of the skipping.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::prepared::{NamedStatements, ServerStatements, SqlStatements, Statement, UnnamedId};
use crate::settings::SettingsMap;
use crate::verdict::Verdict;

/// A text that the client has said, and how it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: Box<[u8]>,
    pub(crate) verdict: Arc<Verdict>,
}

/// What a Parse on its way to the server is for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The client's, under a name of its own; undone if the server refuses it.
    Named { name: Box<[u8]>, statement: Arc<Statement> },
    /// The client's unnamed statement.
    Unnamed(UnnamedId),
    /// The client's, under a name that is taken: the server will refuse it.
    Taken { name: Box<[u8]>, statement: Arc<Statement> },
    /// The client's, passed verbatim: the server alone knows it.
    Verbatim,
    /// The client's, under a name that SQL has taken: the server will refuse it.
    TakenInSql,
    /// The client's, in whose place one is sent that the server will refuse.
    Denied(Arc<Verdict>),
    /// Ours, so that the server holds what the client prepared elsewhere.
    Carried(Arc<Statement>),
    /// Ours, likewise for the unnamed statement.
    CarriedUnnamed,
    /// Ours, under the client's own name, by which SQL calls the statement.
    Lent { name: Box<[u8]> },
}

/// Why pgweir sends a query of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Bring the server to the client's settings.
    Settings,
    /// Enter the failed state of a transaction whose server was lost.
    Fail,
    /// Leave this server for another one.
    Leave,
    /// Say again what the client has said in its transaction, elsewhere.
    Again,
    /// Ask what isolation level transactions have that name none.
    Isolation,
    /// Forget what other clients have drawn from sequences.
    Sequences,
    /// Bring the server to the statements that the client has prepared in SQL.
    Statements,
    /// Give protocol-level statements the client's names for them, by which SQL is about to call them.
    Lend,
    /// Take these names away again.
    TakeBack,
    /// Ask what state the session is in.
    Inspect,
    /// Ask how far the server is in the write-ahead log.
    Position,
    /// Ask, in the client's pipeline, what a statement's result looks like.
    Check,
}

/// What a Bind is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The shared statement.
    pub(crate) statement: u64,
    /// By which of the client's names: a mark of it, for errors.
    pub(crate) name: u32,
}

impl Bound {
    pub(crate) fn new(statement: u64, name: &[u8]) -> Self {
        Self { statement, name: mark(name) }
    }

    /// Whether this is the client's name that was bound, where it has several for one statement.
    pub(crate) fn is_named(&self, name: &[u8]) -> bool {
        self.name == mark(name)
    }
}

/// FNV-1a: of the few names that a client has for one text, it tells one from another.
fn mark(name: &[u8]) -> u32 {
    let fold = |mark: u32, byte: &u8| (mark ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    name.iter().fold(0x811c_9dc5, fold)
}

impl Errand {
    /// Whether a message of the client's waits for its end. What is done behind the client's work, or
    /// goes out in one write with its message, holds up none.
    pub(crate) const fn is_waited_for(self) -> bool {
        !matches!(self, Self::Sequences | Self::TakeBack | Self::Inspect | Self::Position)
    }
}

/// One message's worth of replies.
#[derive(Debug)]
pub(crate) enum Owed {
    /// A simple query: anything up to ReadyForQuery. Counts the statements completed so far, and
    /// those of pgweir's own that are yet to complete before the client's.
    Query {
        verdict: Arc<Verdict>,
        completed: usize,
        hidden: usize,
        /// What is to be said again where its transaction goes on elsewhere.
        said: Option<Box<Said>>,
    },
    /// A simple query of pgweir's own.
    Errand(Errand),
    /// A function call: FunctionCallResponse and ReadyForQuery.
    FunctionCall,
    /// ParseComplete.
    Parse(Parsed),
    /// BindComplete; which of the statements shared between clients is bound.
    Bind(Option<Bound>),
    /// RowDescription or NoData, after ParameterDescription for a statement.
    Describe(Option<Arc<Statement>>),
    /// The same for pgweir itself: whether the statement is still what clients were told.
    Check(Arc<Statement>),
    /// Rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute {
        verdict: Arc<Verdict>,
        /// What it makes everybody forget: given back if it fails.
        forgotten: Option<Box<Forgotten>>,
        /// The protocol-level statement that it deallocates, by the name it was lent, likewise.
        dropped: Option<(Box<[u8]>, Arc<Statement>)>,
        /// What is to be said again where its transaction goes on elsewhere.
        said: Option<Box<Said>>,
    },
    /// CloseComplete for the client; the statement that is closed, if SQL has prepared it.
    Close(Option<Box<str>>),
    /// CloseComplete for a statement that leaves the server; not the client's to see.
    Evict(Option<Arc<Statement>>),
    /// CloseComplete for a name that was lent, which the client has closed; not the client's to see.
    TakenBack { name: Box<[u8]> },
    /// ParseComplete that pgweir gives when its turn comes: the server holds the statement already.
    Known { name: Box<[u8]> },
    /// CloseComplete that pgweir gives when its turn comes: the statement stays on the server for
    /// others, and is the client's again if the server skips what came with the Close.
    Closed { name: Box<[u8]>, statement: Arc<Statement> },
    /// A reply with this tag to a message of pgweir's own, which says DISCARD SEQUENCES in a pipeline.
    Unseen(u8),
    /// ReadyForQuery.
    Sync,
    /// ReadyForQuery for a Sync of pgweir's own.
    OwnSync,
    /// CopyDone or CopyFail sent before the server asked for data. It is answered by nothing.
    CopyEnd,
}

/// The statements that DEALLOCATE ALL or DISCARD ALL on its way will have dropped, as they were.
#[derive(Debug)]
pub(crate) struct Forgotten {
    pub(crate) client: NamedStatements,
    pub(crate) server: ServerStatements,
    pub(crate) client_sql: SqlStatements,
    pub(crate) server_sql: SettingsMap,
    /// The client's names that statements of the protocol's went by.
    pub(crate) lent: Vec<Box<[u8]>>,
}

/// ParseComplete, as pgweir gives it for a statement the server already holds.
pub(crate) const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
/// CloseComplete, for a statement that stays on the server for others.
pub(crate) const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";

impl Owed {
    /// The shared statement that it is about.
    pub(crate) fn statement_id(&self) -> Option<u64> {
        match self {
            Self::Bind(bound) => bound.map(|bound| bound.statement),
            Self::Describe(statement) => statement.as_ref().map(|statement| statement.id),
            _ => None,
        }
    }

    /// Whether the last of its replies is ReadyForQuery.
    fn ends_with_ready(&self) -> bool {
        matches!(
            self,
            Self::Query { .. } | Self::Errand(_) | Self::FunctionCall | Self::Sync | Self::OwnSync
        )
    }

    /// How the SQL was judged that this is the answer to.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Query { verdict, .. } | Self::Execute { verdict, .. } => Some(verdict),
            _ => None,
        }
    }

    /// The error that takes the place of the server's, where the client's text was not to run.
    pub(crate) fn denial(&self) -> Option<&[u8]> {
        match self {
            Self::Query { verdict, .. } | Self::Parse(Parsed::Denied(verdict)) => verdict.denial(),
            _ => None,
        }
    }
}

/// A prepared statement, as a client's message speaks of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meant<'a> {
    /// By the client's name for it.
    Named(&'a [u8]),
    /// As one that clients share.
    Shared(u64),
    /// The unnamed one.
    Unnamed,
}

impl Meant<'_> {
    /// Whether a message gives this statement, to the client or to the server, or takes it away: were
    /// the message skipped, the statement would be another.
    fn is_changed_by(&self, owed: &Owed) -> bool {
        match (self, owed) {
            (
                Self::Named(name),
                Owed::Known { name: changed }
                | Owed::Closed { name: changed, .. }
                | Owed::Parse(Parsed::Named { name: changed, .. })
                | Owed::Execute { dropped: Some((changed, _)), .. },
            ) => **changed == **name,
            (
                Self::Shared(id),
                Owed::Parse(Parsed::Carried(statement) | Parsed::Named { statement, .. })
                | Owed::Evict(Some(statement)),
            ) => statement.id == *id,
            (
                Self::Unnamed,
                Owed::Parse(Parsed::Unnamed(_) | Parsed::CarriedUnnamed) | Owed::Evict(None),
            ) => true,
            _ => false,
        }
    }
}

/// Replies owed, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    owed: VecDeque<Owed>,
    /// How many of them are ReadyForQuery, or end with it.
    ends: usize,
    /// The server waits for copy data; it ignores Sync and Flush meanwhile.
    copying_in: bool,
    /// The server has met an error and skips everything up to a Sync that is still to come.
    skipping: bool,
}

impl Pipeline {
    pub(crate) fn push(&mut self, owed: Owed) {
        if is_sync(&owed) {
            self.skipping = false;
        }
        self.ends += usize::from(owed.ends_with_ready());
        self.owed.push_back(owed);
    }

    pub(crate) fn head(&mut self) -> Option<&mut Owed> {
        self.owed.front_mut()
    }

    pub(crate) fn pop(&mut self) -> Option<Owed> {
        self.copying_in = false;
        let owed = self.owed.pop_front();
        self.ends -= usize::from(owed.as_ref().is_some_and(Owed::ends_with_ready));
        owed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether a ReadyForQuery will come without anything more from the client.
    pub(crate) fn owes_ready(&self) -> bool {
        let ends =
            |owed: &Owed| matches!(owed, Owed::Query { .. } | Owed::FunctionCall | Owed::Sync);
        !self.copying_in && self.owed.iter().any(ends)
    }

    pub(crate) fn is_copying_in(&self) -> bool {
        self.copying_in
    }

    /// Whether the server skips everything but a Sync.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// What is owed, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Owed> {
        self.owed.iter()
    }

    /// Whether whole pieces of work are on their way, ahead of the one that is being sent.
    pub(crate) fn has_pieces(&self) -> bool {
        self.ends > 0
    }

    /// Whether a statement is what a pipeline sent earlier, and not answered yet, has made of it: an
    /// error there undoes that.
    pub(crate) fn may_undo(&self, statement: Meant<'_>) -> bool {
        if !self.has_pieces() {
            return false;
        }
        let mut is_earlier = false;
        for owed in self.owed.iter().rev() {
            if statement.is_changed_by(owed) {
                return is_earlier;
            }
            is_earlier |= owed.ends_with_ready();
        }
        false
    }

    /// Whether a query of pgweir's own is on its way.
    pub(crate) fn runs_errands(&self) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::Errand(_) | Owed::OwnSync))
    }

    fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.owed.iter().filter_map(|owed| owed.verdict())
    }

    /// Whether something on its way begins or ends a transaction.
    pub(crate) fn controls_transaction(&self) -> bool {
        self.verdicts().any(|verdict| verdict.controls_transaction)
    }

    /// Whether something on its way changes what the session must carry.
    pub(crate) fn has_effects(&self) -> bool {
        self.verdicts().any(|verdict| !verdict.effects.is_empty())
    }

    /// Whether everything on its way is pgweir's own.
    pub(crate) fn is_ours(&self) -> bool {
        self.owed.iter().all(|owed| matches!(owed, Owed::Errand(_) | Owed::OwnSync))
    }

    /// Whether something on its way makes the server drop prepared statements.
    pub(crate) fn forgets_statements(&self) -> bool {
        self.verdicts().any(Verdict::forgets_statements)
    }

    /// Whether something on its way prepares or drops a statement in SQL.
    pub(crate) fn changes_statements(&self) -> bool {
        self.verdicts().any(Verdict::changes_statements)
    }

    /// Whether something on its way counts as a write.
    pub(crate) fn writes(&self) -> bool {
        let calls = |owed: &Owed| matches!(owed, Owed::FunctionCall);
        self.verdicts().any(|verdict| verdict.is_write) || self.owed.iter().any(calls)
    }

    /// The server has asked for copy data: it ignores the Syncs it reads before the data's end.
    /// True if those were all there were: the client will send another.
    pub(crate) fn copy_in_started(&mut self) -> bool {
        self.copying_in = true;
        let mut ignored = false;
        let mut at = 1;
        while let Some(owed) = self.owed.get(at) {
            match owed {
                Owed::Sync => {
                    self.owed.remove(at);
                    self.ends -= 1;
                    ignored = true;
                }
                Owed::CopyEnd => {
                    self.owed.remove(at);
                    self.copying_in = false;
                    break;
                }
                _ => at += 1,
            }
        }
        ignored && !self.owed.iter().any(|owed| matches!(owed, Owed::Sync))
    }

    /// The client has ended its copy data; true when the server was waiting for that.
    pub(crate) fn copy_in_ended(&mut self) -> bool {
        std::mem::take(&mut self.copying_in)
    }

    /// After an error outside a simple query: takes out everything the server will skip.
    pub(crate) fn skip_to_sync(&mut self) -> Vec<Owed> {
        self.copying_in = false;
        let end = self.owed.iter().position(is_sync);
        self.skipping = end.is_none();
        let skipped: Vec<Owed> = self.owed.drain(..end.unwrap_or(self.owed.len())).collect();
        self.ends -= skipped.iter().filter(|owed| owed.ends_with_ready()).count();
        skipped
    }

    /// Takes out everything: the server is gone.
    pub(crate) fn drain(&mut self) -> Vec<Owed> {
        self.copying_in = false;
        self.ends = 0;
        self.owed.drain(..).collect()
    }
}

fn is_sync(owed: &Owed) -> bool {
    matches!(owed, Owed::Sync | Owed::OwnSync)
}
