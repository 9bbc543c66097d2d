//! The extended-query messages: statements follow the client, under names no client chose.

use std::sync::Arc;

use crate::error::ProtocolError;
use crate::frame::{HEADER_LENGTH, put_frame, put_length, split_cstr};
use crate::message;
use crate::outgoing::Outgoing;
use crate::pipeline::{Bound, Meant, Owed, Parsed};
use crate::prepared::{Statement, Unnamed};
use crate::settings::SettingsMap;
use crate::verdict::{Pins, Router, Target, Verdict};

use super::client::Frame;
use super::link::{Attached, Link};
use super::{
    DENIED, Fate, MAX_FORESIGHT, MAX_INSPECTED_SQL, MAX_PORTAL_NAME, MAX_PORTALS, Next, Passing,
    Session, Step, TransactionStatus, facts, fatal,
};

impl<R: Router> Session<R> {
    pub(super) fn extended(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
        to_client: &mut Outgoing,
    ) -> Step {
        let large = matches!(frame.header.tag, b'P' | b'B')
            && frame.header.length > MAX_FORESIGHT.max(frame.input.len());
        if frame.body().is_none() && !(large && frame.input.len() >= MAX_FORESIGHT) {
            let need = if large { MAX_FORESIGHT } else { frame.header.length };
            return Step::Wait(Next::Need(need));
        }
        let closes = frame.header.tag == b'C' && matches!(frame.arrived_body(), [b'S' | b'P', ..]);
        if closes && !self.in_pipeline && matches!(self.link, Link::Detached) {
            self.close_detached(frame.arrived_body(), to_client);
            return Step::Took(frame.header.length);
        }
        if let Err(step) = self.server_for(frame, to_server) {
            return step;
        }
        if !self.in_pipeline {
            self.in_pipeline = true;
            self.bound_in_pipeline = false;
            self.fresh_begin.clear();
        } else if matches!(frame.header.tag, b'B' | b'E')
            && let Err(step) = self.stays(frame, to_server)
        {
            return step;
        }
        let step = match frame.header.tag {
            b'P' => self.parse(frame, to_server),
            b'B' => self.bind(frame, to_server),
            b'D' => self.describe(frame, to_server),
            b'E' => self.execute(frame, to_server),
            _ => self.close(frame, to_server),
        };
        if !self.replay.withholds_head() {
            self.reply_ours(to_client);
        }
        match step {
            Ok(step) => step,
            Err(error) => fatal(&error, to_client),
        }
    }

    /// Whether a message is about a statement that an error in an earlier pipeline, still on its way,
    /// would make another: then it waits for the end of that one. A server sees the error first, too.
    pub(super) fn hangs_on_earlier(&self, attached: &Attached, frame: Frame<'_>) -> bool {
        if !attached.pipeline.has_pieces() {
            return false;
        }
        let body = frame.arrived_body();
        if frame.header.tag == b'E' {
            let portal = split_cstr(body).map_or(body, |(portal, _)| portal);
            return self.verdict_of_portal(portal).changes_any_statement();
        }
        let named = match (frame.header.tag, body) {
            (b'B', _) => split_cstr(body).and_then(|(_, rest)| split_cstr(rest)),
            (b'D' | b'C', [b'S', name @ ..]) => split_cstr(name),
            // One without a name takes the place of any other.
            (b'P', [first, ..]) if *first != 0 => split_cstr(body),
            _ => None,
        };
        let Some((name, _)) = named else {
            return false;
        };
        if name.is_empty() {
            return attached.pipeline.may_undo(Meant::Unnamed);
        }
        let shared = self.statements.named.get(name);
        attached.pipeline.may_undo(Meant::Named(name))
            || shared.is_some_and(|statement| attached.is_unsettled(statement.id))
    }

    fn parse(&mut self, frame: Frame<'_>, to_server: &mut Outgoing) -> Result<Step, ProtocolError> {
        let (name, tail) = cstr(frame, "Parse")?;
        if frame.header.length > MAX_INSPECTED_SQL {
            return Ok(self.parse_verbatim(frame, name, to_server));
        }
        if frame.body().is_none() {
            return Ok(Step::Wait(Next::Need(frame.header.length)));
        }
        if split_cstr(tail).is_none() {
            let left = tail.len();
            return Err(ProtocolError::Unterminated { frame: "Parse", length: left, left });
        }
        let verdict = match self.foresight.take() {
            Some(verdict) => verdict,
            None => self.judge_statement(tail),
        };
        let verdict = self.with_denial(verdict);
        if self.moves_to_primary(&verdict) {
            self.foresight.put_back(verdict);
            self.leave(to_server);
            return Ok(Step::Wait(Next::Reply));
        }
        if verdict.denial().is_some() {
            return Ok(self.parse_denied(frame, name, verdict, to_server));
        }
        if self.is_at_head() && self.makes_now(&verdict, to_server) {
            self.foresight.put_back(verdict);
            return Ok(Step::Wait(Next::Reply));
        }
        // To be analysed, a query takes a snapshot.
        self.note_parsed(&verdict);
        self.clear_memory(&verdict, to_server);
        self.lend_names(&verdict, to_server);
        if let Some(question) = &verdict.question {
            let split = self.split_access();
            let facts = facts(&self.track, &self.reported, &self.environment, split, &self.link);
            let sql = self.router.answer(question, facts);
            let mut tail = sql.into_bytes();
            tail.extend_from_slice(&[0, 0, 0]);
            return Ok(self.parse_statement(frame, name, &tail, verdict, to_server));
        }
        Ok(self.parse_statement(frame, name, tail, verdict, to_server))
    }

    fn parse_statement(
        &mut self,
        frame: Frame<'_>,
        name: &[u8],
        tail: &[u8],
        verdict: Arc<Verdict>,
        to_server: &mut Outgoing,
    ) -> Step {
        if name.is_empty() {
            return self.parse_unnamed(frame, tail, verdict, to_server);
        }
        if self.statements.sql.contains(name)
            && let Link::Attached(attached) = &mut self.link
        {
            attached.owe(Owed::Parse(Parsed::TakenInSql));
            return self.pass_frame(frame, to_server);
        }
        if !self.statements.named.has_room(tail.len()) {
            return self.parse_verbatim(frame, name, to_server);
        }
        let known = self.statements.named.get(name).cloned();
        let Link::Attached(attached) = &mut self.link else {
            return Step::Wait(Next::Reply);
        };
        if let Some(known) = known {
            // The name is taken: the server says so, in its own words and at its own time.
            attached.carry(&known, to_server);
            to_server.own(|out| put_parse(&known.name, tail, out));
            attached.owe(Owed::Parse(Parsed::Taken { name: name.into(), statement: known }));
            return Step::Took(frame.header.length);
        }
        let environment = named_in(&self.environment, &self.track.now().client);
        let epoch = self.router.schema_epoch();
        let statement = self.registry.intern(&environment, tail, &verdict, epoch);
        if attached.is_unsettled(statement.id) {
            self.foresight.put_back(verdict);
            return Step::Wait(Next::Reply);
        }
        let name: Box<[u8]> = name.into();
        self.statements.named.insert(name.clone(), statement.clone());
        if attached.facts.statements.touch(statement.id) {
            if !attached.may_have_failed() {
                attached.owe(Owed::Known { name });
                return Step::Took(frame.header.length);
            }
            // Only the server knows what it refuses in a failed transaction.
            attached.drop_statement(statement.clone(), to_server);
        }
        attached.hold(&statement, to_server);
        to_server.own(|out| put_parse(&statement.name, tail, out));
        attached.owe(Owed::Parse(Parsed::Named { name, statement }));
        Step::Took(frame.header.length)
    }

    fn parse_unnamed(
        &mut self,
        frame: Frame<'_>,
        tail: &[u8],
        verdict: Arc<Verdict>,
        to_server: &mut Outgoing,
    ) -> Step {
        self.replay.replaces_unnamed();
        let id = self.next_unnamed();
        let mut parse = self.statements.unnamed.take().map(|last| last.parse).unwrap_or_default();
        parse.clear();
        parse.extend_from_slice(tail);
        let asked = verdict.question.is_some();
        self.statements.unnamed = Some(Unnamed { id, parse, verdict });
        let Link::Attached(attached) = &mut self.link else {
            return Step::Wait(Next::Reply);
        };
        attached.facts.unnamed = Some(id);
        attached.owe(Owed::Parse(Parsed::Unnamed(id)));
        if asked {
            to_server.own(|out| put_parse(b"", tail, out));
            Step::Took(frame.header.length)
        } else {
            self.pass_frame(frame, to_server)
        }
    }

    /// A statement that no server is to run: the server gets one that it refuses at once.
    fn parse_denied(
        &mut self,
        frame: Frame<'_>,
        name: &[u8],
        verdict: Arc<Verdict>,
        to_server: &mut Outgoing,
    ) -> Step {
        if name.is_empty() {
            // Even a Parse that fails ends the last unnamed statement (`exec_parse_message`).
            self.statements.unnamed = None;
        }
        self.stand_in_for(verdict, to_server);
        Step::Took(frame.header.length)
    }

    /// Has the server refuse a statement in the place of one that it is not to run.
    fn stand_in_for(&mut self, verdict: Arc<Verdict>, to_server: &mut Outgoing) {
        self.note_sent(&verdict);
        if let Link::Attached(attached) = &mut self.link {
            attached.facts.unnamed = None;
            to_server.own(|out| put_parse(b"", &[DENIED.as_bytes(), &[0, 0, 0]].concat(), out));
            attached.owe(Owed::Parse(Parsed::Denied(verdict)));
        }
    }

    /// A statement too large, or one too many, to be kept here: it stays where it is, and the
    /// client with it.
    fn parse_verbatim(&mut self, frame: Frame<'_>, name: &[u8], to_server: &mut Outgoing) -> Step {
        self.forget_statement(name);
        self.track.pin(Pins::LARGE_STATEMENT);
        let Link::Attached(attached) = &mut self.link else {
            return Step::Wait(Next::Reply);
        };
        attached.owe(Owed::Parse(Parsed::Verbatim));
        attached.ran.write = true;
        if name.is_empty() {
            attached.facts.unnamed = None;
        }
        self.pass_frame(frame, to_server)
    }

    /// A pipeline that looked like reads goes on with something else: as long as it has bound
    /// nothing, it can go on at the primary.
    pub(super) fn moves_to_primary(&mut self, verdict: &Verdict) -> bool {
        let opens = verdict.opening.is_some() && self.foresight.begins().is_some();
        self.may_move_to_primary()
            && !opens
            && self.target(verdict) == Target::Primary
            && !self.fails_anywhere()
    }

    pub(super) fn may_move_to_primary(&self) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        attached.role == Target::Replica
            && (attached.status == TransactionStatus::Idle || self.may_move())
            && !self.bound_in_pipeline
            && self.track.now().pins.is_empty()
    }

    fn bind(&mut self, frame: Frame<'_>, to_server: &mut Outgoing) -> Result<Step, ProtocolError> {
        let (portal, rest) = cstr(frame, "Bind")?;
        let Some((name, _)) = split_cstr(rest) else {
            let left = rest.len();
            return Err(ProtocolError::Unterminated { frame: "Bind", length: left, left });
        };
        let named = self.statements.named.get(name).cloned();
        if named.as_ref().is_some_and(|statement| self.checks(statement, to_server)) {
            return Ok(Step::Wait(Next::Reply));
        }
        let verdict = match &named {
            Some(statement) if !self.router.is_outdated(&statement.verdict) => {
                Some(statement.verdict.clone())
            }
            _ => self.verdict_of(name),
        };
        let verdict = verdict.map(|verdict| self.with_denial(verdict));
        if let Some(denied) = verdict.as_ref().filter(|verdict| verdict.denial().is_some()) {
            // It was prepared before that was so.
            self.stand_in_for(denied.clone(), to_server);
            return Ok(self.drop_frame(frame.header, frame.input));
        }
        self.bound_in_pipeline = true;
        self.bound_text = self.text_to_keep(name, verdict.as_ref());
        self.note_named_portal(portal);
        if let Some(verdict) = &verdict {
            self.clear_memory(verdict, to_server);
            self.lend_names(verdict, to_server);
        }
        self.note_portal(portal, verdict);
        let server_name = self.place_statement(named, name, to_server);
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Step::Wait(Next::Reply));
        };
        let bound = server_name.as_ref().map(|statement| Bound::new(statement.id, name));
        attached.owe(Owed::Bind(bound));
        let Some(statement) = server_name else {
            return Ok(self.pass_frame(frame, to_server));
        };
        let names = HEADER_LENGTH + portal.len() + 1 + name.len() + 1;
        let values = frame.header.length - names;
        to_server.own(|out| {
            out.push(b'B');
            put_length(out, values, |out| {
                out.extend_from_slice(portal);
                out.push(0);
                out.extend_from_slice(&statement.name);
                out.push(0);
            });
        });
        let arrived = frame.header.length.min(frame.input.len());
        to_server.pass(frame.at + names..frame.at + arrived);
        self.from_client = Passing { left: frame.header.length - arrived, fate: Fate::Forward };
        Ok(Step::Took(arrived))
    }

    fn describe(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
    ) -> Result<Step, ProtocolError> {
        let (kind, name) = kind_and_name(frame, "Describe")?;
        let mut placed = None;
        if kind == b'S' {
            let named = self.statements.named.get(name).cloned();
            if named.as_ref().is_some_and(|statement| self.checks(statement, to_server)) {
                return Ok(Step::Wait(Next::Reply));
            }
            placed = self.place_statement(named, name, to_server);
        }
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Step::Wait(Next::Reply));
        };
        attached.owe(Owed::Describe(placed.clone()));
        let Some(statement) = placed else {
            return Ok(self.pass_frame(frame, to_server));
        };
        to_server.own(|out| message::describe_statement(&statement.name, out));
        Ok(Step::Took(frame.header.length))
    }

    fn execute(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
    ) -> Result<Step, ProtocolError> {
        let (portal, _) = cstr(frame, "Execute")?;
        let verdict = self.verdict_of_portal(portal);
        self.bound_in_pipeline = true;
        self.lend_names(&verdict, to_server);
        self.show_own_names(&verdict, to_server);
        self.note_sent(&verdict);
        let forgotten =
            if verdict.forgets_statements() { self.forget_named_statements() } else { None };
        let dropped = self.drops(&verdict);
        let said = self.note_executed(&verdict);
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Step::Wait(Next::Reply));
        };
        attached.owe(Owed::Execute { verdict, forgotten, dropped, said });
        Ok(self.pass_frame(frame, to_server))
    }

    fn close(&mut self, frame: Frame<'_>, to_server: &mut Outgoing) -> Result<Step, ProtocolError> {
        let (kind, name) = kind_and_name(frame, "Close")?;
        let carried = match kind {
            b'S' => self.forget_statement(name),
            _ => None,
        };
        if kind != b'S' {
            self.portals.retain(|(portal, _)| **portal != *name);
            self.cursor_closed(Some(name));
        }
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Step::Wait(Next::Reply));
        };
        if let Some(statement) = carried {
            attached.take_name_back(name, to_server);
            let name = name.into();
            attached.owe(Owed::Closed { name, statement });
            return Ok(Step::Took(frame.header.length));
        }
        if kind == b'S' && name.is_empty() {
            attached.facts.unnamed = None;
        }
        let in_sql = kind == b'S' && self.statements.sql.contains(name);
        let closed = in_sql.then(|| String::from_utf8_lossy(name).into());
        attached.owe(Owed::Close(closed));
        Ok(self.pass_frame(frame, to_server))
    }

    /// The verdict on a statement prepared earlier; a new one, if by now more is known of what its
    /// names mean.
    pub(super) fn verdict_of(&mut self, name: &[u8]) -> Option<Arc<Verdict>> {
        let (verdict, parse) = if name.is_empty() {
            let unnamed = self.statements.unnamed.as_ref()?;
            (&unnamed.verdict, &*unnamed.parse)
        } else if let Some(statement) = self.statements.named.get(name) {
            (&statement.verdict, &*statement.parse)
        } else {
            return self.verdict_in_sql(std::str::from_utf8(name).ok()?);
        };
        if verdict.question.is_some() || !self.router.is_outdated(verdict) {
            return Some(verdict.clone());
        }
        let parse = parse.to_vec();
        Some(self.judge_statement(&parse))
    }

    /// The same verdict, unless it is on an EXECUTE of something that no server is to run any more.
    fn with_denial(&mut self, verdict: Arc<Verdict>) -> Arc<Verdict> {
        let Some(execution) = &verdict.executes else {
            return verdict;
        };
        match self.verdict_of(execution.name.as_bytes()) {
            Some(body) if body.denial().is_some() => Arc::new(verdict.executing(execution, &body)),
            _ => verdict,
        }
    }

    /// Judges a statement as Parse gives it: the text, and the types of its parameters.
    pub(super) fn judge_statement(&mut self, statement: &[u8]) -> Arc<Verdict> {
        let (sql, types) = split_cstr(statement).unwrap_or((statement, &[]));
        let verdict = self.judge(sql);
        let types = types.get(2..).unwrap_or_default();
        if types.is_empty() {
            return verdict;
        }
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_be_bytes);
        self.router.with_types(verdict, &mut types.chunks_exact(4).map(number))
    }

    /// The same for a statement that SQL has prepared.
    fn verdict_in_sql(&mut self, name: &str) -> Option<Arc<Verdict>> {
        let verdict = self.statements.sql.verdict(name)?;
        if !self.router.is_outdated(verdict) {
            return Some(verdict.clone());
        }
        let text = self.statements.sql.texts().get(name)?.clone();
        let judged = self.judge(text.as_bytes());
        if judged.denial().is_some() { Some(judged) } else { judged.prepares(name).cloned() }
    }

    fn verdict_of_portal(&self, portal: &[u8]) -> Arc<Verdict> {
        let mut portals = self.portals.iter();
        match portals.find(|(name, _)| **name == *portal) {
            Some((_, verdict)) => verdict.clone(),
            // Bound to a statement that only the server knows, or a cursor that SQL declared.
            None if self.track.now().pins.has(Pins::LARGE_STATEMENT) => {
                Arc::new(Verdict::unknown("large_statement"))
            }
            None => Arc::new(Verdict::nothing_known()),
        }
    }

    /// Keeps what is known of a portal for its Execute. Of a client with more portals than can be
    /// kept anything is to be expected.
    fn note_portal(&mut self, portal: &[u8], verdict: Option<Arc<Verdict>>) {
        self.portals.retain(|(name, _)| **name != *portal);
        let Some(verdict) = verdict else {
            return;
        };
        if self.portals.len() < MAX_PORTALS && portal.len() <= MAX_PORTAL_NAME {
            self.portals.push((portal.into(), verdict));
        } else {
            self.note_sent(&Verdict::unknown("portal"));
        }
    }

    /// Sees to it that the server holds the client's statement; returns it where its name on the
    /// server is another than the client's.
    fn place_statement(
        &mut self,
        named: Option<Arc<Statement>>,
        name: &[u8],
        to_server: &mut Outgoing,
    ) -> Option<Arc<Statement>> {
        let is_withheld = named.as_ref().is_some_and(|named| self.withholds(named, to_server));
        let Link::Attached(attached) = &mut self.link else {
            return None;
        };
        if !name.is_empty() {
            if let Some(statement) = named.as_ref().filter(|_| !is_withheld) {
                attached.carry(statement, to_server);
            }
            return named;
        }
        self.replay.uses_unnamed();
        match &self.statements.unnamed {
            Some(unnamed) if attached.facts.unnamed != Some(unnamed.id) => {
                to_server.own(|out| put_parse(b"", &unnamed.parse, out));
                attached.facts.unnamed = Some(unnamed.id);
                attached.owe(Owed::Parse(Parsed::CarriedUnnamed));
            }
            None if attached.facts.unnamed.is_some() => {
                // What the server holds is another client's.
                to_server.own(|out| message::close_statement(b"", out));
                attached.facts.unnamed = None;
                attached.owe(Owed::Evict(None));
            }
            _ => {}
        }
        None
    }
}

impl Attached {
    /// Whether it is up to pipelines on their way if the server holds a statement, or the one that has
    /// to make room for it.
    fn is_unsettled(&self, id: u64) -> bool {
        let may_undo = |id| self.pipeline.may_undo(Meant::Shared(id));
        self.pipeline.has_pieces()
            && (may_undo(id) || self.facts.statements.leaves_for(id).is_some_and(may_undo))
    }

    /// Whether the server is in a failed transaction, or will be when it reads the next message.
    fn may_have_failed(&self) -> bool {
        match self.status {
            TransactionStatus::Failed => true,
            TransactionStatus::Transaction => self.pipeline.has_pieces(),
            TransactionStatus::Idle => self.pipeline.has_pieces() && self.ran.control,
        }
    }

    /// Prepares a statement on the server unless it holds it already.
    fn carry(&mut self, statement: &Arc<Statement>, to_server: &mut Outgoing) {
        if self.facts.statements.touch(statement.id) {
            return;
        }
        self.hold(statement, to_server);
        to_server.own(|out| put_parse(&statement.name, &statement.parse, out));
        self.owe(Owed::Parse(Parsed::Carried(statement.clone())));
    }

    /// Notes that the server will hold a statement, and has it drop the one that has to leave.
    pub(super) fn hold(&mut self, statement: &Arc<Statement>, to_server: &mut Outgoing) {
        if let Some(leaves) = self.facts.statements.insert(statement.clone()) {
            self.drop_statement(leaves, to_server);
        }
    }

    pub(super) fn drop_statement(&mut self, statement: Arc<Statement>, to_server: &mut Outgoing) {
        self.facts.statements.remove(statement.id);
        to_server.own(|out| message::close_statement(&statement.name, out));
        self.owe(Owed::Evict(Some(statement)));
    }
}

/// What a text means depends on where its names are looked up.
fn named_in(environment: &Arc<str>, settings: &SettingsMap) -> Arc<str> {
    match settings.get("search_path") {
        None => environment.clone(),
        Some(path) => format!("{environment}/{path}").into(),
    }
}

pub(super) fn put_parse(name: &[u8], tail: &[u8], out: &mut Vec<u8>) {
    put_frame(out, b'P', |out| {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(tail);
    });
}

/// The string at the head of a frame's body, and what has arrived after it.
fn cstr<'a>(frame: Frame<'a>, name: &'static str) -> Result<(&'a [u8], &'a [u8]), ProtocolError> {
    let body = frame.arrived_body();
    split_cstr(body).ok_or(ProtocolError::Unterminated {
        frame: name,
        length: frame.header.length - HEADER_LENGTH,
        left: body.len(),
    })
}

fn kind_and_name<'a>(
    frame: Frame<'a>,
    name: &'static str,
) -> Result<(u8, &'a [u8]), ProtocolError> {
    let body = frame.arrived_body();
    let length = body.len();
    let Some((&kind, rest)) = body.split_first() else {
        return Err(ProtocolError::Truncated { frame: name, length, needed: 1, left: 0 });
    };
    match split_cstr(rest) {
        Some((target, [])) => Ok((kind, target)),
        Some((_, more)) => Err(ProtocolError::Trailing { frame: name, length, left: more.len() }),
        None => Err(ProtocolError::Unterminated { frame: name, length, left: rest.len() }),
    }
}
