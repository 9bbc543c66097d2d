//! What the client has last drawn from sequences.
//!
//! `currval` and `lastval` answer from what one server connection remembers, and a shared connection
//! remembers what others have drawn. So each connection's facts say whose its memory is
//! ([`crate::server::SequenceMemory`]); where it is not the client's own alone, it goes before the
//! client asks, and PostgreSQL says that there is no value (55000). It never tells another's, nor one
//! that the client has drawn from since, elsewhere.
//!
//! A client that has asked once will ask again. From then on its writes begin with a clean memory, and
//! bind it to their connection until it does something else than to write and to ask.

use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{Errand, Owed};
use crate::report::ServerReport;
use crate::server::{Drawer, SequenceMemory};
use crate::sqlstate::SqlState;
use crate::verdict::{Pins, Router, Verdict};

use super::Session;
use super::extended::put_parse;
use super::link::Link;

/// What to do about a value that is remembered on a connection that others have used since.
const HINT: &str = "The value may have been drawn on a server connection that others have used \
     since. Use INSERT ... RETURNING, or draw and ask in one transaction.";

/// Whether an error comes from `currval` or `lastval` (`sequence.c`): the routine tells it.
fn is_about_drawing(body: &[u8]) -> bool {
    let routines: [&[u8]; 2] = [b"Rcurrval_oid\0\0", b"Rlastval\0\0"];
    routines.iter().any(|routine| body.ends_with(routine))
}

const DISCARD: &str = "DISCARD SEQUENCES";

/// The name of the statement, and of the portal, that say so in a pipeline.
const DISCARD_NAME: &[u8] = b"pgweir_discard_sequences";

/// Says it in a pipeline of the client's, whose unnamed statement and portal stay as they are.
fn discard_in_pipeline(out: &mut Vec<u8>) {
    put_parse(DISCARD_NAME, &[DISCARD.as_bytes(), b"\0\0\0"].concat(), out);
    message::bind_and_execute(DISCARD_NAME, out);
    message::close_portal(DISCARD_NAME, out);
    message::close_statement(DISCARD_NAME, out);
}

/// A client's dealings with sequences.
#[derive(Debug)]
pub(super) struct Sequences {
    drawer: Drawer,
    /// It has written, and any write may draw.
    has_drawn: bool,
    /// It has asked what it has drawn.
    has_asked: bool,
}

impl Sequences {
    pub(super) fn of(session: u32) -> Self {
        Self { drawer: Drawer::new(session), has_drawn: false, has_asked: false }
    }

    /// A hint to go with PostgreSQL's word that no value has been drawn, where one may have been.
    /// The question may have stood in a column's default: the client is known to ask from now on.
    pub(super) fn hint(
        &mut self,
        report: Option<&ServerReport<'_>>,
        body: &[u8],
        memory: SequenceMemory,
    ) -> Option<&'static str> {
        let code = report?.code;
        if code != SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE || !is_about_drawing(body) {
            return None;
        }
        self.has_asked = true;
        let is_lost = memory != SequenceMemory::Of(self.drawer);
        (self.has_drawn && is_lost).then_some(HINT)
    }
}

impl<R: Router> Session<R> {
    /// Whose memory of sequences a server connection should have for the work that lies ahead.
    #[must_use]
    pub fn drawer(&self) -> Drawer {
        self.sequences.drawer
    }

    /// Whether the work that lies ahead may ask for what the client has drawn.
    #[must_use]
    pub fn recalls_sequences(&self) -> bool {
        self.sequences.has_asked || self.foresight.recalls_sequences()
    }

    /// Sees to it, before a text is sent, that the server remembers nothing that this client has not
    /// drawn, if the text asks for it or is to be asked about. The memory goes in the same write.
    pub(super) fn clear_memory(&mut self, verdict: &Verdict, to_server: &mut Outgoing) {
        let asks = verdict.recalls_sequences;
        if asks || (verdict.is_write && self.expects_to_be_asked()) {
            self.forget_others(to_server);
        }
    }

    /// Sees to it that the server remembers nothing that this client has not drawn.
    pub(super) fn forget_others(&mut self, to_server: &mut Outgoing) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        // In a failed transaction nothing runs, unless what is on its way has ended it by then.
        let is_failed = attached.status == TransactionStatus::Failed
            && !attached.pipeline.controls_transaction();
        if is_failed || attached.facts.sequences.suits(self.sequences.drawer) {
            return;
        }
        attached.facts.sequences = SequenceMemory::Empty;
        // As long as nothing of a pipeline runs, ahead of it: what VACUUM and others refuse, and LOCK
        // and others ask for, is to have company in a pipeline (manual, 55.2.4 Pipelining).
        let runs = self.bound_in_pipeline || !attached.pipeline.is_empty();
        if self.in_pipeline && (runs || attached.pipeline.is_skipping()) {
            to_server.own(discard_in_pipeline);
            for tag in [b'1', b'2', b'C', b'3', b'3'] {
                attached.pipeline.push(Owed::Unseen(tag));
            }
        } else {
            to_server.own(|out| message::query(DISCARD.as_bytes(), out));
            attached.pipeline.push(Owed::Errand(Errand::Sequences));
            attached.facts.unnamed = None;
        }
    }

    fn expects_to_be_asked(&self) -> bool {
        self.sequences.has_asked || self.router.recalls_sequences()
    }

    /// A text is on its way.
    pub(super) fn note_sequences(&mut self, verdict: &Verdict) {
        self.sequences.has_asked |= verdict.recalls_sequences;
        if verdict.is_write {
            self.draws();
            if self.sequences.has_asked {
                self.track.pin(Pins::SEQUENCE);
            }
        } else if !verdict.recalls_sequences {
            self.track.unpin(Pins::SEQUENCE);
        }
    }

    /// A write is on its way: any write may draw from a sequence.
    pub(super) fn draws(&mut self) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        if attached.facts.sequences == SequenceMemory::Of(self.sequences.drawer) {
            return;
        }
        if self.sequences.has_drawn {
            // What it has drawn elsewhere is not the last any more.
            self.sequences.drawer = self.sequences.drawer.moved();
        }
        self.sequences.has_drawn = true;
        let memory = attached.facts.sequences.after_write_by(self.sequences.drawer);
        attached.facts.sequences = memory;
    }

    /// The client has had its server forget what was drawn. What it draws behind that, in the same
    /// text or pipeline, is its own.
    pub(super) fn sequences_discarded(&mut self) {
        let drawer = self.sequences.drawer.moved();
        let mut draws_on = false;
        if let Link::Attached(attached) = &mut self.link {
            draws_on = attached.pipeline.writes();
            attached.facts.sequences =
                if draws_on { SequenceMemory::Of(drawer) } else { SequenceMemory::Empty };
        }
        self.sequences.drawer = drawer;
        self.sequences.has_drawn = draws_on;
        self.track.unpin(Pins::SEQUENCE);
    }
}
