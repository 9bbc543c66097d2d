//! The client's messages: what they need before they can go, and how they go.

use std::sync::Arc;

use crate::error::ProtocolError;
use crate::frame::{
    HEADER_LENGTH, Header, MAX_SMALL_MESSAGE_LENGTH, client_message_name, split_cstr,
};
use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{CLOSE_COMPLETE, Owed};
use crate::prepared::Statement;
use crate::verdict::{Inspection, Pins, Router, Target, Verdict};

use super::link::{Link, Resume, Stage};
use super::{DENIED, Fate, MAX_INSPECTED_SQL, Next, Passing, Session, Step, Taken, facts, fatal};

/// Succeeds and fails where the client's DEALLOCATE would, and answers the same.
const DEALLOCATE_NOTHING: &str = "PREPARE pgweir_nothing AS SELECT 1;DEALLOCATE pgweir_nothing";

/// A frame of the client at its place in the input.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) header: Header,
    /// The input from the frame's first byte on; it may hold more, or less, than the frame.
    pub(super) input: &'a [u8],
    /// Where that is in the whole input.
    pub(super) at: usize,
}

impl<'a> Frame<'a> {
    /// The frame's body, if all of it has arrived.
    pub(super) fn body(&self) -> Option<&'a [u8]> {
        self.header.body(self.input)
    }

    /// What has arrived of the frame's body.
    pub(super) fn arrived_body(&self) -> &'a [u8] {
        let end = self.header.length.min(self.input.len());
        self.input.get(HEADER_LENGTH..end).unwrap_or_default()
    }
}

/// The text of a Query.
pub(super) fn query_text(body: &[u8]) -> Result<&[u8], ProtocolError> {
    let (frame, length) = ("Query", body.len());
    match split_cstr(body) {
        Some((sql, [])) => Ok(sql),
        Some((_, rest)) => Err(ProtocolError::Trailing { frame, length, left: rest.len() }),
        None => Err(ProtocolError::Unterminated { frame, length, left: length }),
    }
}

impl<R: Router> Session<R> {
    /// Takes what the client has sent.
    ///
    /// Bytes not consumed have to be offered again, once what [`Taken::next`] names has happened.
    pub fn on_client(
        &mut self,
        input: &[u8],
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Taken {
        let mut at = 0;
        loop {
            if self.from_client.left > 0 {
                at = self.from_client.take(at, input.len(), to_server);
                if self.from_client.left > 0 {
                    return Taken { consumed: at, next: Next::Need(1) };
                }
            }
            match self.client_frame(input, at, to_server, to_client) {
                Step::Took(length) => {
                    let said = input.get(at..at + length).unwrap_or_default();
                    self.replay.note(said, self.from_client.left == 0);
                    at += length;
                }
                Step::Wait(next) => return Taken { consumed: at, next },
            }
        }
    }

    fn client_frame(
        &mut self,
        input: &[u8],
        at: usize,
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Step {
        let rest = input.get(at..).unwrap_or_default();
        let header = match Header::read(rest) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::Wait(Next::Need(HEADER_LENGTH)),
            Err(error) => return self.break_off(&error, to_client),
        };
        if let Err(error) = self.check_length(header) {
            return self.break_off(&error, to_client);
        }
        if self.is_to_be_told_of_loss(header) && header.body(rest).is_none() {
            return Step::Wait(Next::Need(header.length));
        }
        if !self.refusal.is_none() && self.answer_refused(header, rest, to_client) {
            return self.drop_frame(header, rest);
        }
        if self.server_skips(header.tag) {
            self.foresight.forget();
            return self.drop_frame(header, rest);
        }
        let frame = Frame { header, input: rest, at };
        match header.tag {
            b'X' if self.awaits_answers() => Step::Wait(Next::Reply),
            b'X' => Step::Wait(Next::Close),
            b'd' | b'c' | b'f' => self.copy_data(frame, to_server),
            b'Q' => self.query(frame, to_server, to_client),
            b'F' => self.function_call(frame, to_server, to_client),
            b'S' => self.sync(frame, to_server, to_client),
            b'H' => self.flush(frame, to_server, to_client),
            b'P' | b'B' | b'D' | b'E' | b'C' => self.extended(frame, to_server, to_client),
            tag => self.break_off(
                &ProtocolError::UnexpectedMessage { tag, expected: "a message of a client" },
                to_client,
            ),
        }
    }

    /// Whether the server owes what the client has asked for: whoever reads messages in their order
    /// answers it before the conversation ends.
    pub(super) fn awaits_answers(&self) -> bool {
        matches!(&self.link, Link::Attached(attached) if attached.pipeline.owes_ready())
    }

    /// Ends the conversation with a client that cannot be understood.
    fn break_off(&self, error: &ProtocolError, to_client: &mut Outgoing) -> Step {
        if self.awaits_answers() { Step::Wait(Next::Reply) } else { fatal(error, to_client) }
    }

    fn check_length(&self, header: Header) -> Result<(), ProtocolError> {
        let most = match header.tag {
            b'Q' | b'F' | b'P' | b'B' | b'd' => self.max_message,
            _ => MAX_SMALL_MESSAGE_LENGTH,
        };
        if header.length > most + 1 {
            return Err(ProtocolError::InvalidLength {
                frame: client_message_name(header.tag),
                length: i64::try_from(header.length - 1).unwrap_or(i64::MAX),
                least: 4,
                most,
            });
        }
        Ok(())
    }

    /// After an error the server skips what comes before the next Sync, so it need not get it.
    fn server_skips(&self, tag: u8) -> bool {
        matches!(&self.link, Link::Attached(attached) if attached.pipeline.is_skipping())
            && matches!(
                tag,
                b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'd' | b'c' | b'f'
            )
    }

    /// Drops a frame, the part of it that has not arrived included.
    pub(super) fn drop_frame(&mut self, header: Header, rest: &[u8]) -> Step {
        let arrived = header.length.min(rest.len());
        self.from_client = Passing { left: header.length - arrived, fate: Fate::Drop };
        Step::Took(arrived)
    }

    /// Passes a frame; the part of it that has not arrived will pass as it comes.
    pub(super) fn pass_frame(&mut self, frame: Frame<'_>, out: &mut Outgoing) -> Step {
        let arrived = frame.header.length.min(frame.input.len());
        out.pass(frame.at..frame.at + arrived);
        self.from_client = Passing { left: frame.header.length - arrived, fate: Fate::Forward };
        Step::Took(arrived)
    }

    /// Copy data goes to the server that asked for it; when none did, it is late and dropped, as
    /// the server would drop it.
    fn copy_data(&mut self, frame: Frame<'_>, to_server: &mut Outgoing) -> Step {
        let Link::Attached(attached) = &mut self.link else {
            return self.drop_frame(frame.header, frame.input);
        };
        if attached.is_busy() {
            return Step::Wait(Next::Reply);
        }
        let ends = frame.header.tag != b'd';
        if ends && !attached.pipeline.copy_in_ended() && !attached.pipeline.is_empty() {
            attached.pipeline.push(Owed::CopyEnd);
        }
        self.pass_frame(frame, to_server)
    }

    /// Sees to it that there is a server, ready to take this frame.
    pub(super) fn server_for(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
    ) -> Result<(), Step> {
        match &self.link {
            Link::Attached(attached) if attached.is_busy() => Err(Step::Wait(Next::Reply)),
            Link::Attached(attached) if self.hangs_on_earlier(attached, frame) => {
                Err(Step::Wait(Next::Reply))
            }
            // One that goes on elsewhere has made the server ready first.
            Link::Attached(attached) if self.in_pipeline && attached.stage != Stage::Awaited => {
                Ok(())
            }
            _ => {
                self.begin_work(frame, to_server)?;
                if !self.in_pipeline {
                    self.begin_piece();
                }
                Ok(())
            }
        }
    }

    /// Sees to it that a piece of work that begins with this frame has its server.
    fn begin_work(&mut self, frame: Frame<'_>, to_server: &mut Outgoing) -> Result<(), Step> {
        let wait = |next| Err(Step::Wait(next));
        let Link::Attached(attached) = &self.link else {
            return match &self.resume {
                Some(Resume::Failed) => wait(Next::Attach(Target::Replica)),
                Some(Resume::Pipeline) => wait(Next::Attach(Target::Primary)),
                Some(Resume::Split) => wait(match self.home_of_split(frame) {
                    Ok(target) => Next::Attach(target),
                    Err(next) => next,
                }),
                None => match self.home(frame.input) {
                    Ok(target) => wait(Next::Attach(self.replay.send(target))),
                    Err(next) => wait(next),
                },
            };
        };
        let role = attached.role;
        if attached.pipeline.is_empty() {
            // A connection that is done with was not asked for this: it may be the wrong one.
            return if self.wants_detach() || self.prepare_server(to_server) {
                wait(Next::Reply)
            } else {
                self.goes_on_here(frame, to_server)
            };
        }
        let held = attached.status != TransactionStatus::Idle || !self.track.now().pins.is_empty();
        let settled = !attached.pipeline.controls_transaction();
        // Settings that were refused: what comes behind the change of one waits for all of them.
        let clear = !self.track.differs()
            && !attached.pipeline.forgets_statements()
            && !attached.pipeline.changes_statements()
            && (self.track.has_no_startup() || !attached.pipeline.has_effects());
        let stays = match role {
            Target::Primary => clear,
            Target::Replica if held && self.split.is_none() => clear && settled,
            Target::Replica if clear && settled => match self.home(frame.input) {
                Ok(home) => home == Target::Replica && self.foresight.begins().is_none(),
                Err(next) => return wait(next),
            },
            Target::Replica => false,
        };
        if stays { Ok(()) } else { wait(Next::Reply) }
    }

    fn query(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Step {
        if let Err(step) = self.server_for(frame, to_server) {
            return if self.begins_later() { self.begin(frame, to_client) } else { step };
        }
        if frame.header.length > MAX_INSPECTED_SQL {
            return self.send_query(frame, Arc::new(Verdict::unknown("too_long")), to_server);
        }
        let Some(body) = frame.body() else {
            return Step::Wait(Next::Need(frame.header.length));
        };
        let sql = match query_text(body) {
            Ok(sql) => sql,
            Err(error) => return fatal(&error, to_client),
        };
        let verdict = match self.foresight.take() {
            Some(verdict) => verdict,
            None => self.judge_query(sql),
        };
        if self.is_refused_block(&verdict) {
            return self.refuse_block(to_client);
        }
        if self.goes_on_elsewhere(&verdict, to_server) {
            self.foresight.put_back(verdict);
            return Step::Wait(Next::Reply);
        }
        if self.lends_names(&verdict, to_server) || self.makes_now(&verdict, to_server) {
            self.foresight.put_back(verdict);
            return Step::Wait(Next::Reply);
        }
        self.clear_memory(&verdict, to_server);
        self.note_begin(&verdict, sql);
        self.send_query(frame, verdict, to_server)
    }

    fn begin(&mut self, frame: Frame<'_>, to_client: &mut Outgoing) -> Step {
        let Some(body) = frame.body() else {
            return Step::Wait(Next::Need(frame.header.length));
        };
        match query_text(body) {
            Ok(sql) => self.begin_later(frame, sql, to_client),
            Err(error) => fatal(&error, to_client),
        }
    }

    /// Whether a text goes on, on another server, with what was begun on this one: a transaction that
    /// turns out to be READ ONLY, or a pipeline that turns out to be the primary's.
    fn goes_on_elsewhere(&mut self, verdict: &Verdict, to_server: &mut Outgoing) -> bool {
        if verdict.set_transaction.is_some() && self.begins_again(verdict, to_server) {
            return true;
        }
        let moves = self.in_pipeline && self.moves_to_primary(verdict);
        if moves {
            self.leave(to_server);
        }
        moves
    }

    fn note_begin(&mut self, verdict: &Verdict, sql: &[u8]) {
        self.fresh_begin.clear();
        let may_move = verdict.only_begins
            && verdict
                .begin
                .is_some_and(|modes| modes.read_only.is_none() && !modes.is_serializable());
        let begins = matches!(
            &self.link,
            Link::Attached(attached)
                if attached.status == TransactionStatus::Idle && attached.pipeline.is_empty()
        );
        if may_move && begins && !self.in_pipeline {
            self.fresh_begin.extend_from_slice(sql);
        }
    }

    fn send_query(
        &mut self,
        frame: Frame<'_>,
        verdict: Arc<Verdict>,
        to_server: &mut Outgoing,
    ) -> Step {
        self.in_pipeline = false;
        self.opens_in_text(&verdict);
        self.foresight.forget();
        self.statements.unnamed = None;
        self.replay.replaces_unnamed();
        self.note_sent(&verdict);
        let stand_in = self.stands_in(&verdict);
        let said = self.said_in_query(frame, &verdict);
        let Link::Attached(attached) = &mut self.link else {
            return Step::Wait(Next::Reply);
        };
        // A simple query drops the unnamed statement (manual, 55.2.3).
        attached.facts.unnamed = None;
        let hidden = stand_in.as_ref().map_or(0, |(_, hidden)| *hidden);
        attached.owe(Owed::Query { verdict, completed: 0, hidden, said });
        match stand_in {
            Some((sql, _)) => {
                to_server.own(|out| message::query(sql.as_bytes(), out));
                Step::Took(frame.header.length)
            }
            None => self.pass_frame(frame, to_server),
        }
    }

    /// The text that goes to the server in the place of the client's, where it cannot be the
    /// client's own, and how many statements of it are not the client's to hear of.
    fn stands_in(&mut self, verdict: &Verdict) -> Option<(String, usize)> {
        if verdict.denial().is_some() {
            return Some((DENIED.to_owned(), 0));
        }
        if let Some(question) = &verdict.question {
            let split = self.split_access();
            let facts = facts(&self.track, &self.reported, &self.environment, split, &self.link);
            return Some((self.router.answer(question, facts), 0));
        }
        // A statement of the client's that servers hold under another name, and for others too.
        let name = verdict.deallocates.as_ref()?;
        let is_unlent =
            self.statements.named.contains(name.as_bytes()) && !self.is_lent(name.as_bytes());
        let is_carried = is_unlent || self.is_unmade(name);
        is_carried.then(|| (DEALLOCATE_NOTHING.to_owned(), 1))
    }

    /// Notes what holds from the moment a statement is on its way.
    pub(super) fn note_sent(&mut self, verdict: &Verdict) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        attached.ran.write |= verdict.is_write;
        attached.ran.definition |= verdict.changes_schema();
        attached.ran.control |= verdict.controls_transaction;
        let role = attached.role;
        self.note_read(verdict);
        self.note_sequences(verdict);
        if !verdict.pins_when_sent.is_empty() {
            self.track.pin(verdict.pins_when_sent);
        }
        if let Some(inspection) = &verdict.inspects {
            self.doubt.add(inspection);
        }
        self.router.sent(verdict, role);
    }

    fn function_call(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Step {
        if frame.header.length < HEADER_LENGTH + 4 {
            let length = frame.header.length - HEADER_LENGTH;
            let error =
                ProtocolError::Truncated { frame: "FunctionCall", length, needed: 4, left: length };
            return fatal(&error, to_client);
        }
        if let Err(step) = self.server_for(frame, to_server) {
            return step;
        }
        self.foresight.forget();
        self.fresh_begin.clear();
        let Link::Attached(attached) = &mut self.link else {
            return Step::Wait(Next::Reply);
        };
        attached.ran.write = true;
        // Any function, by its number: currval, or one that draws.
        self.forget_others(to_server);
        self.draws();
        if let Link::Attached(attached) = &mut self.link {
            attached.owe(Owed::FunctionCall);
        }
        self.in_pipeline = false;
        self.doubt.add(&Inspection { of: Pins::INSPECTED, ..Inspection::default() });
        self.pass_frame(frame, to_server)
    }

    fn sync(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Step {
        if frame.input.len() < frame.header.length {
            return Step::Wait(Next::Need(frame.header.length));
        }
        let status = self.status();
        let Link::Attached(attached) = &mut self.link else {
            if self.in_pipeline {
                // The pipeline is on its way to another server.
                return self.begin_work(frame, to_server).err().unwrap_or(Step::Wait(Next::Reply));
            }
            to_client.own(|out| message::ready_for_query(status, out));
            return Step::Took(frame.header.length);
        };
        if attached.is_busy() {
            return Step::Wait(Next::Reply);
        }
        if attached.pipeline.is_copying_in() {
            // The server ignores it (manual, 55.2.6 COPY Operations): the pipeline goes on.
            return self.pass_frame(frame, to_server);
        }
        if !self.in_pipeline {
            self.begin_piece();
        }
        self.in_pipeline = false;
        self.bound_in_pipeline = false;
        self.foresight.forget();
        if let Link::Attached(attached) = &mut self.link {
            attached.owe(Owed::Sync);
        }
        self.pass_frame(frame, to_server)
    }

    fn flush(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Step {
        match &self.link {
            Link::Attached(attached) if attached.is_busy() => Step::Wait(Next::Reply),
            Link::Attached(_) => {
                self.show_head(to_client);
                self.pass_frame(frame, to_server)
            }
            Link::Detached => self.drop_frame(frame.header, frame.input),
        }
    }

    /// Close needs no server when there is none: what it closes is kept here.
    pub(super) fn close_detached(&mut self, body: &[u8], to_client: &mut Outgoing) {
        if let Some((b'S', name)) = body.split_first()
            && let Some((name, _)) = split_cstr(name)
            && self.forget_statement(name).is_none()
            && let Ok(name) = std::str::from_utf8(name)
        {
            self.statements.sql.remove(name);
        }
        to_client.own(|out| out.extend_from_slice(CLOSE_COMPLETE));
    }

    /// Forgets a statement; returns it if it is one that follows the client by its name.
    pub(super) fn forget_statement(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        if name.is_empty() {
            self.statements.unnamed = None;
            self.replay.replaces_unnamed();
            None
        } else {
            let (_, statement) = self.statements.named.remove(name)?;
            self.forget_outdated(statement.id);
            Some(statement)
        }
    }
}
