//! Asking a server how far it is in the write-ahead log, when its work for the client is done: whoever has
//! read on it may then read on any server that is known to be as far.
//!
//! A standby's replay position is no answer: a commit is visible there from the moment that its record is
//! applied, and the position moves on after that (`PerformWalRecovery`). What it has received lies behind
//! everything that it can show, as long as it streams; one that is ahead of that is fed from an archive,
//! and nothing is known.

use crate::cursor::Cursor;
use crate::outgoing::Outgoing;
use crate::pipeline::Errand;
use crate::verdict::Router;

use super::Session;
use super::link::Attached;

/// The question, the same for a primary and a standby, which no search path can mislead (manual: 9.27.3
/// "Backup Control Functions", 9.27.4 "Recovery Control Functions").
const QUESTION: &str = "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() \
     THEN pg_catalog.pg_current_wal_insert_lsn() \
     WHEN pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.>=) \
     pg_catalog.pg_last_wal_replay_lsn() THEN pg_catalog.pg_last_wal_receive_lsn() END";

/// Where a server stood when it had answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stood {
    /// At this position, in PostgreSQL's notation.
    At(Box<str>),
    /// It would not tell.
    Unknown,
}

/// How far the question has come.
#[derive(Debug, Default)]
pub(super) enum Whereabouts {
    #[default]
    Unasked,
    /// To be asked when the work is over.
    Wanted,
    /// Under way, with the answer so far.
    Asked(Stood),
    Answered(Stood),
}

impl Whereabouts {
    pub(super) const fn is_wanted(&self) -> bool {
        matches!(self, Self::Wanted)
    }

    pub(super) const fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    pub(super) fn ask(&mut self, attached: &mut Attached, to_server: &mut Outgoing) {
        *self = Self::Asked(Stood::Unknown);
        attached.run(Errand::Position, QUESTION.as_bytes(), to_server);
    }

    /// The row that answers.
    pub(super) fn note_row(&mut self, body: &[u8]) {
        if let Some(position) = position(body) {
            *self = Self::Asked(Stood::At(position));
        }
    }

    /// The question is over.
    pub(super) fn answered(&mut self) {
        if let Self::Asked(stood) = std::mem::take(self) {
            *self = Self::Answered(stood);
        }
    }
}

/// The one column of the answer, in text format; none where it is NULL or no text.
fn position(body: &[u8]) -> Option<Box<str>> {
    let mut row = Cursor::new("DataRow", body);
    let columns = row.i16().ok()?;
    let length = usize::try_from(row.i32().ok()?).ok()?;
    let text = std::str::from_utf8(row.bytes(length).ok()?).ok()?;
    (columns == 1).then(|| text.into())
}

impl<R: Router> Session<R> {
    /// Wants to know how far the server is that the client is about to leave. It is asked by
    /// [`Self::follow_up`].
    pub fn ask_position(&mut self) {
        self.whereabouts = Whereabouts::Wanted;
    }

    /// The answer, once.
    pub fn take_position(&mut self) -> Option<Stood> {
        match std::mem::take(&mut self.whereabouts) {
            Whereabouts::Answered(stood) => Some(stood),
            other => {
                self.whereabouts = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_text_or_unknown() {
        let row = |length: i32, text: &[u8]| [&[0, 1], &length.to_be_bytes()[..], text].concat();
        for (what, body, expected) in [
            ("a position", row(9, b"0/16B3748"), Some("0/16B3748")),
            ("NULL", row(-1, b""), None),
            ("no text", row(1, b"\xff"), None),
            ("cut short", row(9, b"0/1"), None),
            ("no column", vec![0, 0], None),
            ("nothing", vec![], None),
        ] {
            assert_eq!(position(&body).as_deref(), expected, "{what}");
        }
    }
}
