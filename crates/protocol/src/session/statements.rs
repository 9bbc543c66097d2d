//! Statement pooling: a server connection is the client's for one statement, which is a transaction of
//! its own.
//!
//! Everything is as in transaction pooling but that a transaction ends with the message it begins in: a
//! simple query's text, or a pipeline up to its Sync, may begin one that it ends itself. One that would
//! stay open ends the connection, as in PgBouncer: a client that went on behind a mere error would have
//! each of its statements committed for itself. A text that does nothing but begin is told so before a
//! server hears of it; where it takes the server to know, ReadyForQuery tells, and the transaction is
//! undone with its server connection.

use crate::message::TransactionStatus;
use crate::outgoing::Outgoing;
use crate::report::{Report, Severity};
use crate::sqlstate::SqlState;
use crate::verdict::{Router, Verdict};

use super::link::Link;
use super::{Next, PoolMode, Session, Step, fatal};

/// What the client is told that wants a transaction of several statements.
fn no_blocks() -> Report {
    let message = "pgweir: transaction blocks are not allowed in statement pooling mode";
    Report::new(Severity::Fatal, SqlState::FEATURE_NOT_SUPPORTED, message)
        .with_detail("pool.mode is \"statement\": each message is a transaction of its own.")
        .with_hint("Use autocommit, or pool.mode = \"transaction\".")
}

impl<R: Router> Session<R> {
    /// Whether a simple query does nothing but open a transaction, where there is to be none.
    pub(super) fn is_refused_block(&self, verdict: &Verdict) -> bool {
        self.mode == PoolMode::Statement
            && verdict.only_begins
            && self.status() == TransactionStatus::Idle
    }

    /// Ends the conversation, behind what the server has yet to answer.
    pub(super) fn refuse_block(&self, to_client: &mut Outgoing) -> Step {
        if self.awaits_answers() { Step::Wait(Next::Reply) } else { fatal(no_blocks(), to_client) }
    }

    /// Whether the client has been left a transaction open, where there is to be none.
    pub(super) fn is_in_refused_block(&self) -> bool {
        self.mode == PoolMode::Statement
            && matches!(
                &self.link,
                Link::Attached(attached) if attached.status != TransactionStatus::Idle
            )
    }

    /// Ends the conversation in the place of a ReadyForQuery.
    pub(super) fn break_block(&mut self, to_client: &mut Outgoing) -> Next {
        self.replay.stop();
        self.replay.bring_forth(to_client);
        let report = no_blocks();
        to_client.own(|out| report.encode_error(out));
        Next::Fatal(report.code)
    }
}
