//! When there is no server to answer: no connection to be had, or the one there was is lost.
//!
//! The client keeps its connection wherever that is honest. It gets an error in the place of the
//! answer, for a simple query as for a pipeline, and a failed transaction stays failed until the
//! client ends it, as it would on a live server. It loses its connection where more is lost than
//! can be told in an error: state that was pinned, or half of a message already sent.

use std::mem;

use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::Owed;
use crate::report::{Report, Severity};
use crate::sqlstate::SqlState;
use crate::verdict::{Pins, Router};

use super::link::{Attached, Link, Resume};
use super::{Fate, Session};

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
        Self {
            status: TransactionStatus::Idle,
            next: None,
            skipping: false,
        }
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
        self.refusal.refuse_next(error);
    }

    /// Answers a frame that no server will see; true if that was its fate.
    pub(super) fn answer_refused(&mut self, tag: u8, to_client: &mut Outgoing) -> bool {
        let status = self.status();
        if self.refusal.skipping {
            if tag == b'S' {
                self.refusal.skipping = false;
                self.in_pipeline = false;
                to_client.own(|out| message::ready_for_query(status, out));
            }
            return true;
        }
        if !matches!(tag, b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S') {
            return false;
        }
        let Some(error) = self.refusal.next.take() else {
            return false;
        };
        self.foresight.forget();
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
        let Link::Attached(mut attached) = mem::replace(&mut self.link, Link::Detached) else {
            return Loss::Survived;
        };
        let torn = mem::take(&mut self.from_server);
        let owed = attached.pipeline.drain();
        let report = loss_report(&attached, &owed, cause);
        let pins = self.track.now().pins;
        if (torn.left > 0 && torn.fate == Fate::Forward) || !pins.is_empty() {
            let mut report = report;
            report.severity = Severity::Fatal;
            if torn.left == 0 {
                to_client.own(|out| report.encode_error(out));
            }
            return Loss::Fatal;
        }
        let in_block = attached.status != TransactionStatus::Idle || owed.iter().any(begins_block);
        self.track.rollback();
        self.portals.clear();
        self.fresh_begin.clear();
        self.foresight.forget();
        if self.from_client.left > 0 {
            self.from_client.fate = Fate::Drop;
        }
        if in_block {
            self.refusal.status = TransactionStatus::Failed;
            self.resume = Some(Resume::Failed);
        } else {
            self.resume = None;
        }
        let mut error = Vec::new();
        report.encode_error(&mut error);
        self.answer_owed(owed, error, to_client);
        Loss::Survived
    }

    fn answer_owed(&mut self, owed: Vec<Owed>, error: Vec<u8>, to_client: &mut Outgoing) {
        let status = self.refusal.status;
        let mut told = false;
        let mut waiting = false;
        for owed in owed {
            match owed {
                Owed::Errand(_) | Owed::OwnSync => waiting = true,
                Owed::Evict(_) | Owed::Ours(_) | Owed::CopyEnd => {}
                Owed::Query { .. } | Owed::FunctionCall | Owed::Sync => {
                    to_client.own(|out| {
                        if !mem::take(&mut told) {
                            out.extend_from_slice(&error);
                        }
                        message::ready_for_query(status, out);
                    });
                }
                _ if told => {}
                _ => {
                    to_client.own(|out| out.extend_from_slice(&error));
                    told = true;
                }
            }
        }
        if self.in_pipeline && !waiting {
            if !told {
                to_client.own(|out| out.extend_from_slice(&error));
            }
            self.refusal.skipping = true;
        } else if waiting || status == TransactionStatus::Failed && !told {
            // Nothing was asked yet, or the question still waits here: it gets the answer.
            self.refusal.refuse_next(error);
        }
    }
}

fn begins_block(owed: &Owed) -> bool {
    match owed {
        Owed::Query { verdict, .. } | Owed::Execute(verdict) => verdict.begin.is_some(),
        _ => false,
    }
}

fn loss_report(attached: &Attached, owed: &[Owed], cause: &str) -> Report {
    let fate_unknown = owed.iter().any(|owed| match owed {
        Owed::Query { verdict, .. } | Owed::Execute(verdict) => {
            verdict.is_write
                && (attached.status == TransactionStatus::Idle || verdict.controls_transaction)
        }
        Owed::FunctionCall => true,
        _ => false,
    });
    let (code, message, hint) = if fate_unknown {
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
            attached.last_words.as_deref().unwrap_or(cause)
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
