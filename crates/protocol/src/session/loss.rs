//! When there is no server to answer: no connection to be had, or the one there was is lost.
//!
//! The client keeps its connection wherever that is honest. It gets an error in the place of the
//! answer, for a simple query as for a pipeline, and a failed transaction stays failed until the
//! client ends it, as it would on a live server. It loses its connection where more is lost than
//! can be told in an error: state that was pinned, or half of a message already sent.

use std::mem;

use crate::frame::Header;
use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{Errand, Owed};
use crate::report::{Report, Severity};
use crate::sqlstate::SqlState;
use crate::verdict::{Culprit, Pins, Router, Verdict};

use super::client::query_text;
use super::link::{Attached, Link};
use super::position::Whereabouts;
use super::server::undo;
use super::{Fate, MAX_INSPECTED_SQL, Session};

/// What to do when state was lost that no other server can be given.
const FATAL_HINT: &str = "Connect again; what this session had made on the server is gone with it.";

/// An answer that pgweir gives in the server's place.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What ReadyForQuery says while there is no server.
    pub(super) status: TransactionStatus,
    /// The error the next piece of work gets, as a whole frame.
    next: Option<Vec<u8>>,
    /// The pipeline was answered with an error: everything up to its Sync is skipped.
    skipping: bool,
}

impl Default for Refusal {
    fn default() -> Self {
        Self { status: TransactionStatus::Idle, next: None, skipping: false }
    }
}

impl Refusal {
    pub(super) fn refuse_next(&mut self, error: Vec<u8>) {
        self.next = Some(error);
    }

    pub(super) fn skip_to_sync(&mut self) {
        self.skipping = true;
    }

    pub(super) fn is_none(&self) -> bool {
        self.next.is_none() && !self.skipping
    }
}

/// What the loss of a server connection means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It was told; it goes on.
    Survived,
    /// Its connection has to be closed.
    Fatal,
}

impl<R: Router> Session<R> {
    /// No server connection can be had: the work that asked for one gets this error.
    pub fn refuse(&mut self, report: &Report) {
        let mut error = Vec::new();
        report.encode_error(&mut error);
        self.refuse_with(error);
    }

    /// The same with an error frame as some server gave it.
    pub fn refuse_with(&mut self, error: Vec<u8>) {
        self.foresight.forget();
        self.replay.forget();
        self.give_up_resuming(false);
        self.refusal.refuse_next(error);
    }

    /// Whether this is the text that meets the loss of its transaction: it may be the end of that.
    pub(super) fn is_to_be_told_of_loss(&self, header: Header) -> bool {
        header.tag == b'Q'
            && header.length <= MAX_INSPECTED_SQL
            && self.refusal.next.is_some()
            && self.status() == TransactionStatus::Failed
            && self.split.is_none()
    }

    /// Answers a frame that no server will see; true if that was its fate.
    pub(super) fn answer_refused(
        &mut self,
        header: Header,
        input: &[u8],
        to_client: &mut Outgoing,
    ) -> bool {
        let is_to_be_told = self.is_to_be_told_of_loss(header);
        let status = self.status();
        let tag = header.tag;
        if !matches!(
            tag,
            b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' | b'd' | b'c' | b'f'
        ) {
            return false;
        }
        if self.refusal.skipping {
            if tag == b'S' {
                self.refusal.skipping = false;
                self.in_pipeline = false;
                to_client.own(|out| message::ready_for_query(status, out));
            }
            return true;
        }
        if matches!(tag, b'H' | b'd' | b'c' | b'f') {
            return false;
        }
        let Some(error) = self.refusal.next.take() else {
            return false;
        };
        self.foresight.forget();
        if is_to_be_told {
            let text = header.body(input).and_then(|body| query_text(body).ok());
            let verdict = text.map(|sql| self.judge_query(sql));
            if let Some(verdict) = verdict.filter(|verdict| verdict.only_ends) {
                self.refusal.status = TransactionStatus::Idle;
                self.resume = None;
                self.answer_end(&verdict, &error, to_client);
                return true;
            }
        }
        to_client.own(|out| out.extend_from_slice(&error));
        if matches!(tag, b'Q' | b'F' | b'S') {
            self.in_pipeline = false;
            to_client.own(|out| message::ready_for_query(status, out));
        } else {
            self.in_pipeline = true;
            self.refusal.skipping = true;
        }
        true
    }

    /// The server connection is gone. `cause` is what the driver or the server said of it.
    pub fn server_lost(&mut self, cause: &str, to_client: &mut Outgoing) -> Loss {
        if self.survives_loss() {
            return Loss::Survived;
        }
        self.replay.bring_forth(to_client);
        self.replay.forget();
        let Link::Attached(mut attached) = mem::replace(&mut self.link, Link::Detached) else {
            return Loss::Survived;
        };
        let torn = mem::take(&mut self.from_server);
        let told = attached.pipeline.is_skipping();
        let owed = attached.pipeline.drain();
        let mut report = loss_report(&attached, &owed, cause);
        if attached.ran.definition {
            // It may have been committed.
            self.router.schema_changed();
        }
        // Whoever looks for it must not look into the past.
        self.wrote |= may_have_committed(&attached, &owed);
        self.whereabouts = Whereabouts::default();
        // What the last piece of work has done to the session will never be known.
        let asked = owed.iter().any(|owed| matches!(owed, Owed::Errand(Errand::Inspect)));
        let doubtful = !mem::take(&mut self.doubt).is_none() && asked;
        let is_torn = torn.left > 0 && torn.fate == Fate::Forward;
        // A server that cannot follow its client any more (08P01) hangs up on nobody else.
        let is_blamed = attached.last_words.as_ref().is_some_and(|words| words.blames_client);
        if is_torn || doubtful || is_blamed || !self.track.now().pins.is_empty() {
            report.severity = Severity::Fatal;
            report.hint = Some(FATAL_HINT.to_owned());
            if torn.left == 0 {
                self.router.told_error(report.code, Culprit::Pgweir);
                // A direct connection would have heard the same.
                let error = attached.last_words.as_ref().and_then(|words| words.error.as_ref());
                to_client.own(|out| match error {
                    Some(error) => out.extend_from_slice(error),
                    None => report.encode_error(out),
                });
            }
            return Loss::Fatal;
        }
        let in_block = (attached.status != TransactionStatus::Idle
            || self.split.is_some()
            || owed.iter().any(begins_block))
            && !owed.iter().any(ends_block);
        self.track.rollback();
        self.portals.clear();
        self.fresh_begin.clear();
        self.foresight.forget();
        self.from_client.fate = Fate::Drop;
        self.give_up_resuming(in_block);
        let mut error = Vec::new();
        report.encode_error(&mut error);
        if let [Owed::Query { verdict, .. }] = owed.as_slice()
            && verdict.only_ends
        {
            self.router.told_error(report.code, Culprit::Pgweir);
            self.answer_end(verdict, &error, to_client);
            return Loss::Survived;
        }
        if !told {
            self.router.told_error(report.code, Culprit::Pgweir);
        }
        self.answer_owed(owed, told, error, to_client);
        Loss::Survived
    }

    /// Answers the end of a transaction that was lost with its server: a rollback is what has happened.
    fn answer_end(&self, verdict: &Verdict, error: &[u8], to_client: &mut Outgoing) {
        to_client.own(|out| {
            if verdict.rolls_back() {
                message::command_complete("ROLLBACK", out);
            } else {
                out.extend_from_slice(error);
            }
            message::ready_for_query(self.refusal.status, out);
        });
    }

    /// Answers what the server owed; `told` if the client has heard of an error already in the
    /// pipeline that it is sending.
    fn answer_owed(
        &mut self,
        owed: Vec<Owed>,
        mut told: bool,
        error: Vec<u8>,
        to_client: &mut Outgoing,
    ) {
        let status = self.refusal.status;
        let mut waiting = false;
        let mut answered = told;
        for owed in &owed {
            match owed {
                Owed::Errand(errand) => waiting |= errand.is_waited_for(),
                Owed::OwnSync => waiting = true,
                Owed::Evict(_)
                | Owed::TakenBack { .. }
                | Owed::Known { .. }
                | Owed::Closed { .. }
                | Owed::CopyEnd => {}
                Owed::Query { .. } | Owed::FunctionCall | Owed::Sync => {
                    to_client.own(|out| {
                        if !mem::take(&mut told) {
                            out.extend_from_slice(&error);
                        }
                        message::ready_for_query(status, out);
                    });
                    answered = true;
                }
                _ if told => {}
                _ => {
                    to_client.own(|out| out.extend_from_slice(&error));
                    told = true;
                }
            }
        }
        undo(owed, &mut self.statements, None);
        if self.in_pipeline && !waiting {
            if !told {
                to_client.own(|out| out.extend_from_slice(&error));
            }
            self.refusal.skipping = true;
        } else if waiting || status == TransactionStatus::Failed && !answered {
            // Nothing was asked yet, or the question still waits here: it gets the answer.
            self.refusal.refuse_next(error);
        }
    }
}

/// Whether a transaction block is open to the client though the server had not said so. A BEGIN that
/// fails opens none; behind one in a text of several statements the rest may have failed.
fn begins_block(owed: &Owed) -> bool {
    match owed {
        Owed::Errand(Errand::Fail | Errand::Again) => true,
        Owed::Query { verdict, .. } => verdict.begin.is_some() && !verdict.only_begins,
        _ => false,
    }
}

/// Whether the transaction block is over, whatever became of this: the end of one fails only with it.
fn ends_block(owed: &Owed) -> bool {
    owed.verdict().is_some_and(|verdict| verdict.only_ends)
}

/// Whether a commit was under way: nobody knows then what became of it.
fn may_have_committed(attached: &Attached, owed: &[Owed]) -> bool {
    if !attached.ran.write {
        return false;
    }
    owed.iter().any(|owed| match attached.status {
        // Each of these ends an implicit transaction.
        TransactionStatus::Idle => {
            matches!(owed, Owed::Query { .. } | Owed::FunctionCall | Owed::Sync)
        }
        TransactionStatus::Transaction => owed.verdict().is_some_and(Verdict::commits),
        TransactionStatus::Failed => false,
    })
}

fn loss_report(attached: &Attached, owed: &[Owed], cause: &str) -> Report {
    let (code, message, hint) = if may_have_committed(attached, owed) {
        (
            SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
            "pgweir: the server connection was lost while a write was under way; it may or may \
             not have been committed",
            "Look whether the write took effect before sending it again; pgweir has not.",
        )
    } else {
        (
            SqlState::CONNECTION_FAILURE,
            "pgweir: the server connection was lost",
            "Run the transaction again; the connection to pgweir is still good.",
        )
    };
    Report::new(Severity::Error, code, message)
        .with_detail(format!(
            "Server process {}: {}.",
            attached.facts.pid,
            attached.last_words.as_ref().map_or(cause, |words| &words.message)
        ))
        .with_hint(hint)
}

impl<R: Router> Session<R> {
    /// The client is gone or going: hands back the server connection, if there is one.
    pub fn end(&mut self) -> Option<(Box<crate::server::ServerFacts>, super::Disposition)> {
        self.track.unpin(Pins::SESSION_MODE);
        self.detach()
    }
}
