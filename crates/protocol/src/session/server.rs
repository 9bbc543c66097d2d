//! The server's messages: each is matched against what is owed, and nearly all pass as they are.

use std::sync::Arc;

use crate::frame::{HEADER_LENGTH, Header, put_frame, split_cstr};
use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{CLOSE_COMPLETE, Errand, Forgotten, Owed, PARSE_COMPLETE, Parsed};
use crate::prepared::{ClientStatements, SERVER_NAME_PREFIX, SqlStatements, Statement, UnnamedId};
use crate::report::{ServerReport, Severity};
use crate::server::{SequenceMemory, ServerFacts};
use crate::settings::SettingsMap;
use crate::sqlstate::SqlState;
use crate::verdict::{Culprit, Effect, Pins, Router, SettingChange, Verdict};

use super::link::{LastWords, Link, SERVERS_OWN, SESSION_ENDS};
use super::{Fate, MAX_INSPECTED_REPLY, MAX_UNTORN, Next, Passing, ServerBroken, Session, Taken};

impl<R: Router> Session<R> {
    /// Takes what the server has sent. Bytes not consumed have to be offered again, with more.
    ///
    /// # Errors
    /// The server breaks the protocol: its connection cannot be used any further.
    pub fn on_server(
        &mut self,
        input: &[u8],
        to_client: &mut Outgoing,
    ) -> Result<Taken, ServerBroken> {
        self.replay.bring_forth(to_client);
        self.reply_ours(to_client);
        let taken = self.server_frames(input, to_client);
        self.replay.withhold(input, to_client);
        taken
    }

    fn server_frames(
        &mut self,
        input: &[u8],
        to_client: &mut Outgoing,
    ) -> Result<Taken, ServerBroken> {
        let mut at = 0;
        loop {
            if self.is_given_up() {
                return Ok(Taken { consumed: input.len(), next: Next::Need(HEADER_LENGTH) });
            }
            if self.from_server.left > 0 {
                at = self.from_server.take(at, input.len(), to_client);
                if self.from_server.left > 0 {
                    return Ok(Taken { consumed: at, next: Next::Need(1) });
                }
                self.reply_ours(to_client);
            }
            let rest = input.get(at..).unwrap_or_default();
            let header = match Header::read(rest) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    return Ok(Taken { consumed: at, next: Next::Need(HEADER_LENGTH) });
                }
                Err(_) => {
                    return Err(ServerBroken { tag: rest.first().copied().unwrap_or(0) });
                }
            };
            let arrived = header.length.min(rest.len());
            let whole = arrived == header.length;
            let is_looked_at = header.length <= MAX_UNTORN
                || is_inspected(header)
                || self.replay.holds_whole(header);
            if !whole && (is_looked_at || self.is_to_be_read(header)) {
                return Ok(Taken { consumed: at, next: Next::Need(header.length) });
            }
            let body = rest.get(HEADER_LENGTH..arrived).unwrap_or_default();
            let fate = self.server_frame(header, body, to_client)?;
            if header.tag == b'Z' && self.is_in_refused_block() {
                let next = self.break_block(to_client);
                return Ok(Taken { consumed: input.len(), next });
            }
            if fate == Fate::Forward {
                to_client.pass(at..at + arrived);
            }
            if header.tag == b'Z' {
                self.replay.set_mark(to_client);
            } else if fate == Fate::Forward {
                self.replay.passes(header);
            }
            self.from_server = Passing { left: header.length - arrived, fate };
            at += arrived;
            self.reply_ours(to_client);
        }
    }

    /// Decides on one frame. Replaced bytes have gone out already when its fate is to be dropped.
    fn server_frame(
        &mut self,
        header: Header,
        body: &[u8],
        to_client: &mut Outgoing,
    ) -> Result<Fate, ServerBroken> {
        match header.tag {
            b'D' => Ok(self.row(header, body)),
            b'd' => Ok(self.fate_of_data()),
            b'S' => Ok(self.parameter_status(body)),
            b'A' => Ok(self.notification(body, to_client)),
            b'N' => Ok(self.notice(body)),
            b'E' => Ok(self.error(body, to_client)),
            b'Z' => self.ready(body, to_client),
            b'C' | b'I' | b's' => Ok(self.completed(body, header.tag)),
            b'T' | b'n' => {
                self.note_description(body);
                self.step_reply(header.tag)
            }
            _ => self.step_reply(header.tag),
        }
    }

    /// Who listens and notifies itself is told of its own process id, by which drivers know such
    /// notifications (manual: NOTIFY). As long as it listens, nobody else has this server connection.
    fn notification(&self, body: &[u8], to_client: &mut Outgoing) -> Fate {
        let Link::Attached(attached) = &self.link else {
            return Fate::Drop;
        };
        match body.strip_prefix(&attached.facts.pid.to_be_bytes()) {
            None => Fate::Forward,
            Some(rest) => {
                let pid = self.pid.to_be_bytes();
                to_client.own(|out| {
                    put_frame(out, b'A', |out| {
                        out.extend_from_slice(&pid);
                        out.extend_from_slice(rest);
                    });
                });
                Fate::Drop
            }
        }
    }

    /// Frames that are read whole where they answer certain questions.
    fn is_to_be_read(&mut self, header: Header) -> bool {
        match header.tag {
            _ if header.length > MAX_INSPECTED_REPLY => false,
            b'D' => self.is_finding(),
            b'T' => self.awaits_description().is_some(),
            _ => false,
        }
    }

    /// The statement whose description comes next.
    fn awaits_description(&mut self) -> Option<Arc<Statement>> {
        let Link::Attached(attached) = &mut self.link else {
            return None;
        };
        match attached.pipeline.head() {
            Some(Owed::Check(statement) | Owed::Describe(Some(statement))) => {
                Some(statement.clone())
            }
            _ => None,
        }
    }

    fn note_description(&mut self, body: &[u8]) {
        if let Some(statement) = self.awaits_description() {
            self.described(&statement, body);
        }
    }

    /// A row that answers a question of pgweir's own.
    fn is_finding(&mut self) -> bool {
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        matches!(
            attached.pipeline.head(),
            Some(Owed::Errand(Errand::Inspect | Errand::Isolation | Errand::Position))
        )
    }

    /// What was written is acknowledged with the commit, also where the next transaction is open by
    /// the end of the answer: AND CHAIN, or a BEGIN behind it.
    fn note_commit(&mut self) {
        if let Link::Attached(attached) = &mut self.link {
            self.wrote |= attached.ran.write;
            attached.ran.write = attached.pipeline.writes();
        }
    }

    fn row(&mut self, header: Header, body: &[u8]) -> Fate {
        let is_isolation = matches!(
            &self.link,
            Link::Attached(attached) if attached.errand == Some(Errand::Isolation)
        );
        if is_isolation {
            self.note_isolation(body);
        } else if self.is_finding() {
            if self.whereabouts.is_asked() {
                self.whereabouts.note_row(body);
            } else if header.length <= MAX_INSPECTED_REPLY {
                self.doubt.note_row(body);
            } else {
                self.doubt.note_torn();
            }
        }
        self.fate_of_data()
    }

    fn fate_of_data(&mut self) -> Fate {
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        match attached.pipeline.head() {
            Some(Owed::Errand(_)) => Fate::Drop,
            _ => Fate::Forward,
        }
    }

    /// Replies that complete a message without completing a statement.
    fn step_reply(&mut self, tag: u8) -> Result<Fate, ServerBroken> {
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Fate::Drop);
        };
        let pipeline = &mut attached.pipeline;
        let fate = match (tag, pipeline.head()) {
            (
                b'1' | b'3' | b'T' | b't' | b'n' | b'G' | b'H' | b'W' | b'c',
                Some(Owed::Errand(_)),
            ) => {
                return Ok(Fate::Drop);
            }
            (
                b'1',
                Some(Owed::Parse(
                    Parsed::Carried(_) | Parsed::CarriedUnnamed | Parsed::Lent { .. },
                )),
            )
            | (b'3', Some(Owed::Evict(_) | Owed::TakenBack { .. })) => Fate::Drop,
            (_, Some(Owed::Unseen(expected))) if *expected == tag => Fate::Drop,
            (b'3', Some(Owed::Close(closed))) => {
                if let Some(name) = closed.take() {
                    self.statements.sql.remove(&name);
                    attached.facts.sql = attached.facts.sql.without(&name);
                    self.replay.stop();
                }
                Fate::Forward
            }
            (b'1', Some(Owed::Parse(Parsed::TakenInSql))) => {
                // It was free by then: the server alone knows the statement.
                self.track.pin(Pins::LARGE_STATEMENT);
                Fate::Forward
            }
            (b'1', Some(Owed::Parse(_)))
            | (b'2', Some(Owed::Bind(_)))
            | (b'T' | b'n', Some(Owed::Describe(_))) => Fate::Forward,
            (b't', Some(Owed::Check(_))) => return Ok(Fate::Drop),
            (b'T' | b'n', Some(Owed::Check(_))) => {
                attached.errand = None;
                Fate::Drop
            }
            (b'G', Some(head)) => {
                let extended = matches!(head, Owed::Execute { .. });
                if pipeline.copy_in_started() && extended {
                    // The Sync that ended the pipeline counts for nothing.
                    self.in_pipeline = true;
                }
                return Ok(Fate::Forward);
            }
            (b't', Some(Owed::Describe(_)))
            | (b'T' | b'n', Some(Owed::Query { .. } | Owed::Execute { .. }))
            | (b'V', Some(Owed::FunctionCall))
            | (b'H' | b'W' | b'c', Some(_)) => return Ok(Fate::Forward),
            _ => return Err(ServerBroken { tag }),
        };
        self.replay.replied(pipeline.pop());
        Ok(fate)
    }

    /// A statement has completed: its effects hold.
    fn completed(&mut self, body: &[u8], tag: u8) -> Fate {
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        match attached.pipeline.head() {
            Some(Owed::Query { hidden, .. }) if *hidden > 0 => {
                *hidden -= 1;
                Fate::Drop
            }
            Some(Owed::Query { verdict, completed, said, .. }) => {
                let index = *completed;
                *completed += 1;
                let said = said.take();
                if !verdict.effects.is_empty() {
                    let verdict = verdict.clone();
                    self.apply(&verdict, Some(index), body);
                }
                if let Some(said) = said {
                    self.note_said(*said);
                }
                Fate::Forward
            }
            Some(Owed::Execute { .. }) => {
                if let Some(Owed::Execute { verdict, said, .. }) = attached.pipeline.pop()
                    && tag == b'C'
                {
                    if !verdict.effects.is_empty() {
                        self.apply(&verdict, None, body);
                    }
                    if let Some(said) = said {
                        self.note_said(*said);
                    }
                    if verdict.opening.is_some() && self.split.is_some() {
                        self.replay.begins_transaction();
                    }
                }
                Fate::Forward
            }
            Some(Owed::Errand(_)) => Fate::Drop,
            Some(Owed::Unseen(_)) => {
                attached.pipeline.pop();
                Fate::Drop
            }
            _ => Fate::Forward,
        }
    }

    pub(super) fn apply(&mut self, verdict: &Verdict, index: Option<usize>, command_tag: &[u8]) {
        let effects = verdict.effects.iter();
        for (_, effect) in effects.filter(|(at, _)| index.is_none_or(|index| index == *at)) {
            match effect {
                Effect::Setting(change) => {
                    self.track.change(change);
                    if *change == SettingChange::DiscardAll {
                        self.sequences_discarded();
                        self.statements_dropped(index.is_some());
                        // In a pipeline it commits at once, whatever comes behind it.
                        self.track.settle();
                    }
                }
                Effect::Pin(pins) => self.track.pin(*pins),
                Effect::Unpin(pins) => self.track.unpin(*pins),
                Effect::Prepare(prepared) => self.prepared(prepared),
                Effect::Deallocate(name) => self.deallocated(name, index.is_some()),
                Effect::ForgetSequences => self.sequences_discarded(),
                Effect::ForgetStatements => self.statements_dropped(index.is_some()),
                // COMMIT of a failed transaction answers ROLLBACK.
                Effect::Commit if command_tag.starts_with(b"ROLLBACK") => self.track.rollback(),
                Effect::Commit => {
                    self.track.settle();
                    self.note_commit();
                }
                Effect::Rollback => self.track.rollback(),
                Effect::Savepoint(name) => self.track.savepoint(name),
                Effect::RollbackTo(name) => self.track.rollback_to(name),
                Effect::Release(name) => self.track.release(name),
                Effect::Declare(_) => {}
                Effect::CloseCursor(name) => self.cursor_closed(name.as_deref().map(str::as_bytes)),
            }
        }
    }

    /// The server has dropped all statements. In an Execute they were forgotten when it was sent, but
    /// for what SQL has prepared since.
    fn statements_dropped(&mut self, in_query: bool) {
        if in_query {
            self.forget_named_statements();
        }
        self.statements.sql = SqlStatements::default();
        if let Link::Attached(attached) = &mut self.link {
            attached.facts.sql = SettingsMap::default();
            attached.unmade.clear();
        }
    }

    /// All named statements are dropped, the unnamed one is not; returns what there was.
    pub(super) fn forget_named_statements(&mut self) -> Option<Box<Forgotten>> {
        let Link::Attached(attached) = &mut self.link else {
            return None;
        };
        Some(Box::new(Forgotten {
            client: std::mem::take(&mut self.statements.named),
            server: attached.facts.statements.take(),
            client_sql: std::mem::take(&mut self.statements.sql),
            server_sql: std::mem::take(&mut attached.facts.sql),
            lent: std::mem::take(&mut attached.lent),
        }))
    }

    /// After a RESET the server is at its own default, until it is brought back to what the client has
    /// started with: that is what the client has to be told.
    fn awaits_startup(&self, name: &str) -> bool {
        self.at_startup.get(name).is_some() && self.track.awaits_startup(&name.to_ascii_lowercase())
    }

    /// Tells it, where it is not what the client was told last.
    fn report_startup(&mut self, to_client: &mut Outgoing) {
        if self.at_startup.is_empty() || !self.track.differs() {
            return;
        }
        let told = self.at_startup.iter().filter(|(name, _)| self.awaits_startup(name));
        let told: Vec<(String, String)> =
            told.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for (name, value) in told {
            if self.reported.note(&name, &value) {
                to_client.own(|out| message::parameter_status(&name, &value, out));
            }
        }
        self.note_environment();
    }

    fn parameter_status(&mut self, body: &[u8]) -> Fate {
        let Some((name, rest)) = split_cstr(body) else {
            return Fate::Drop;
        };
        let value = split_cstr(rest).map_or(rest, |(value, _)| value);
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            return Fate::Forward;
        };
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        attached.facts.reported.note(name, value);
        if matches!(attached.pipeline.head(), Some(Owed::Errand(_))) || SERVERS_OWN.contains(&name)
        {
            return Fate::Drop;
        }
        if self.awaits_startup(name) {
            return Fate::Drop;
        }
        self.reported.note(name, value);
        self.note_environment();
        Fate::Forward
    }

    /// A server that has to quit at once (it is shut down in immediate mode, or another of its processes
    /// has crashed) says so in a notice. What the client hears depends on what it loses.
    fn notice(&mut self, body: &[u8]) -> Fate {
        let report = ServerReport::parse(body).filter(|report| report.routine == Some(LAST_NOTICE));
        let Some((report, Link::Attached(attached))) = report.zip(Some(&mut self.link)) else {
            return self.fate_of_data();
        };
        attached.last_words = Some(LastWords {
            message: report.message.to_string(),
            error: None,
            blames_client: false,
            concerns_session: false,
        });
        Fate::Drop
    }

    fn error(&mut self, body: &[u8], to_client: &mut Outgoing) -> Fate {
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        let report = ServerReport::parse(body);
        if let Some(report) = &report
            && matches!(report.severity, Severity::Fatal | Severity::Panic)
        {
            // The server is about to close: what the client is told depends on what it loses.
            attached.last_words = Some(LastWords {
                message: report.message.to_string(),
                error: Some(whole_error(body)),
                blames_client: report.code == SqlState::PROTOCOL_VIOLATION,
                concerns_session: SESSION_ENDS.contains(&report.code),
            });
            return Fate::Drop;
        }
        attached.failed = true;
        if self.tells_denial(to_client) || self.survives_error(report.as_ref(), to_client) {
            return Fate::Drop;
        }
        self.note_heard(report.as_ref());
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        let id = attached.pipeline.head().and_then(|owed| owed.statement_id());
        if let Some(frame) = self.outdated_error(id, report.as_ref(), body) {
            self.skip_failed();
            to_client.own(|out| out.extend_from_slice(&frame));
            return Fate::Drop;
        }
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        let hint = self.sequences.hint(report.as_ref(), body, attached.facts.sequences);
        match attached.pipeline.head() {
            Some(Owed::Errand(_)) => {
                attached.errand_error = Some(whole_error(body));
                Fate::Drop
            }
            Some(Owed::Query { .. } | Owed::FunctionCall) => {
                attached.pipeline.copy_in_ended();
                tell(body, hint, to_client)
            }
            Some(head @ (Owed::Parse(_) | Owed::Bind(_) | Owed::Describe(_)))
                if names_ours(body) =>
            {
                let expected = matches!(head, Owed::Parse(Parsed::Taken { .. }));
                if !expected && report.is_some_and(|report| contradicts(report.code)) {
                    attached.tainted = true;
                }
                let theirs = self.skip_failed_and_rename(body);
                to_client.own(|out| out.extend_from_slice(&theirs));
                Fate::Drop
            }
            _ => {
                self.skip_failed();
                tell(body, hint, to_client)
            }
        }
    }

    /// The client hears of an error, unless it came of what pgweir has asked for itself.
    fn note_heard(&mut self, report: Option<&ServerReport<'_>>) {
        let Link::Attached(attached) = &mut self.link else { return };
        let head = attached.pipeline.head();
        if !matches!(head, Some(Owed::Errand(_))) {
            // A lock counts from the moment that it is asked for. Perhaps there is none.
            if let Some(verdict) = head.and_then(|owed| owed.verdict()) {
                self.doubt.release(verdict.pins_when_sent.common(Pins::ADVISORY_LOCK));
            }
            self.replay.heard();
            if let Some(report) = report {
                self.router.told_error(report.code, Culprit::Server);
            }
        }
    }

    /// The error of what stood in for a statement that is not to run: the client gets pgweir's own.
    fn tells_denial(&mut self, to_client: &mut Outgoing) -> bool {
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        let head = attached.pipeline.head();
        let is_query = matches!(head, Some(Owed::Query { .. }));
        let Some(denial) = head.and_then(|owed| owed.denial()) else {
            return false;
        };
        to_client.own(|out| out.extend_from_slice(denial));
        self.replay.heard();
        if !is_query {
            self.skip_failed();
        }
        true
    }

    /// Undoes what was noted for messages that the server will skip.
    pub(super) fn skip_failed(&mut self) {
        if let Link::Attached(attached) = &mut self.link {
            let skipped = attached.pipeline.skip_to_sync();
            attached.undo_lending(&skipped);
            if skipped.iter().any(|owed| matches!(owed, Owed::Check(_))) {
                attached.errand = None;
            }
            undo(skipped, &mut self.statements, Some(&mut attached.facts));
        }
    }

    fn ready(&mut self, body: &[u8], to_client: &mut Outgoing) -> Result<Fate, ServerBroken> {
        let broken = ServerBroken { tag: b'Z' };
        let status = body.first().copied().and_then(TransactionStatus::from_byte).ok_or(broken)?;
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Fate::Drop);
        };
        let owed = attached.pipeline.pop().ok_or(broken)?;
        let failed = std::mem::take(&mut attached.failed);
        attached.status = status;
        attached.ran.control = attached.ran.control && attached.pipeline.controls_transaction();
        let is_ours = matches!(owed, Owed::Errand(_));
        if status == TransactionStatus::Idle && std::mem::take(&mut attached.ran.definition) {
            self.router.schema_changed();
        }
        if status == TransactionStatus::Idle && attached.ran.write && !is_ours {
            self.wrote = true;
            attached.ran.write = attached.pipeline.writes();
        }
        match owed {
            Owed::Query { .. } | Owed::FunctionCall | Owed::Sync => {
                self.transaction_ended(status, failed);
                if self.replay.is_again() {
                    return Ok(Fate::Drop);
                }
                if self.split.is_some() {
                    self.split_answered(status);
                }
                let is_last =
                    matches!(&self.link, Link::Attached(attached) if attached.pipeline.is_empty());
                self.replay.answered(is_last);
                self.report_startup(to_client);
                Ok(Fate::Forward)
            }
            Owed::OwnSync => {
                if failed {
                    // The client knows of the error and expects silence up to its own Sync.
                    self.fails_while_leaving();
                    self.refusal.skip_to_sync();
                }
                self.errand_ended(Errand::Leave, to_client);
                Ok(Fate::Drop)
            }
            Owed::Errand(errand) => {
                self.errand_ended(errand, to_client);
                Ok(Fate::Drop)
            }
            _ => Err(broken),
        }
    }

    fn transaction_ended(&mut self, status: TransactionStatus, failed: bool) {
        if status != TransactionStatus::Idle {
            return;
        }
        // `SET datestyle TO ymd` changes one half of it and keeps the other. After a RESET the server
        // is at its own default, and has yet to be told the client's.
        if self.track.now().server.get("datestyle").is_some()
            && let Some(value) = self.reported.get("DateStyle")
        {
            self.track.restate("datestyle", value);
        }
        // An implicit transaction ends with its error, and so does one whose COMMIT fails.
        if failed {
            self.track.rollback();
        } else {
            self.track.settle();
        }
        // Those of a pipeline that the client is still sending are not bound yet.
        if !self.in_pipeline {
            self.portals.clear();
        }
    }

    /// Gives the replies of pgweir's own whose turn has come.
    pub(super) fn reply_ours(&mut self, to_client: &mut Outgoing) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        if self.from_server.left > 0 {
            return;
        }
        loop {
            let reply = match attached.pipeline.head() {
                Some(Owed::Known { .. }) => PARSE_COMPLETE,
                Some(Owed::Closed { .. }) => CLOSE_COMPLETE,
                Some(Owed::CopyEnd) => &[],
                _ => return,
            };
            to_client.own(|out| out.extend_from_slice(reply));
            self.replay.gave_reply(attached.pipeline.pop());
        }
    }

    /// An error that names a statement names it as the client did when the server met the error.
    fn skip_failed_and_rename(&mut self, body: &[u8]) -> Vec<u8> {
        let head = match &mut self.link {
            Link::Attached(attached) => attached.pipeline.head(),
            Link::Detached => None,
        };
        let named = match head {
            Some(Owed::Parse(Parsed::Taken { name, statement })) => {
                Some((name.clone(), statement.clone()))
            }
            Some(Owed::Bind(Some(bound))) => {
                let meant = self.statements.named.iter().find(|(name, statement)| {
                    statement.id == bound.statement && bound.is_named(name)
                });
                meant.map(|(name, statement)| (name.clone(), statement.clone()))
            }
            _ => None,
        };
        self.skip_failed();
        let mut text = body.to_vec();
        let names = self.statements.named.iter();
        for (name, statement) in named.iter().map(|(name, held)| (name, held)).chain(names) {
            let quoted = |name: &[u8]| [b"\"", name, b"\""].concat();
            text = replace(&text, &quoted(&statement.name), &quoted(name));
        }
        whole_error(&text)
    }
}

/// Undoes, the latest first, what was noted when messages were sent that come to nothing: the
/// client's names, and what its server holds if it is still there.
pub(super) fn undo(
    skipped: Vec<Owed>,
    statements: &mut ClientStatements,
    mut facts: Option<&mut Box<ServerFacts>>,
) {
    for owed in skipped.into_iter().rev() {
        undo_for_client(&owed, statements);
        if let Some(facts) = &mut facts {
            undo_on_server(&owed, facts);
        }
        if let Owed::Execute { forgotten: Some(forgotten), .. } = owed {
            statements.named = forgotten.client;
            statements.sql.join(forgotten.client_sql);
            if let Some(facts) = &mut facts {
                facts.statements = forgotten.server;
                facts.sql = forgotten.server_sql.joined(&facts.sql);
            }
        }
    }
}

fn undo_for_client(owed: &Owed, statements: &mut ClientStatements) {
    match owed {
        Owed::Known { name } | Owed::Parse(Parsed::Named { name, .. }) => {
            statements.named.remove(name);
        }
        Owed::Closed { name, statement }
        | Owed::Execute { dropped: Some((name, statement)), .. } => {
            statements.named.insert(name.clone(), statement.clone());
        }
        Owed::Parse(Parsed::Unnamed(id)) => {
            statements.unnamed.take_if(|held| held.id == *id);
        }
        _ => {}
    }
}

fn undo_on_server(owed: &Owed, facts: &mut ServerFacts) {
    match owed {
        Owed::Parse(Parsed::Carried(statement) | Parsed::Named { statement, .. }) => {
            facts.statements.remove(statement.id);
        }
        Owed::Evict(Some(statement)) => {
            facts.statements.insert(statement.clone());
        }
        Owed::Unseen(_) => facts.sequences = SequenceMemory::Mixed,
        // A Parse that fails leaves no unnamed statement, one that is skipped the former one.
        Owed::Parse(Parsed::Unnamed(_) | Parsed::CarriedUnnamed)
        | Owed::Evict(None)
        | Owed::Query { .. } => facts.unnamed = Some(UnnamedId::UNCERTAIN),
        _ => {}
    }
}

/// The routine of PostgreSQL that quits at once.
const LAST_NOTICE: &[u8] = b"quickdie";

/// Whether the server holds other statements than it is thought to: somebody has dropped one of
/// ours in SQL, by its name.
fn contradicts(code: SqlState) -> bool {
    matches!(code, SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PREPARED_STATEMENT)
}

fn is_inspected(header: Header) -> bool {
    header.length <= MAX_INSPECTED_REPLY
        && matches!(header.tag, b'E' | b'S' | b'Z' | b'C' | b'N' | b'A' | b'1' | b'2' | b'3')
}

/// Passes an error as it is, or with a hint of pgweir's own.
fn tell(body: &[u8], hint: Option<&str>, to_client: &mut Outgoing) -> Fate {
    let Some((hint, (_, fields))) = hint.zip(body.split_last()) else {
        return Fate::Forward;
    };
    let hinted = [fields, b"H", hint.as_bytes(), b"\0\0"].concat();
    to_client.own(|out| out.extend_from_slice(&whole_error(&hinted)));
    Fate::Drop
}

fn whole_error(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_LENGTH + body.len());
    put_frame(&mut frame, b'E', |out| out.extend_from_slice(body));
    frame
}

fn names_ours(body: &[u8]) -> bool {
    let prefix = SERVER_NAME_PREFIX.as_bytes();
    body.windows(prefix.len()).any(|window| window == prefix)
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(from) {
            replaced.extend_from_slice(to);
            rest = after;
        } else if let Some((&first, after)) = rest.split_first() {
            replaced.push(first);
            rest = after;
        }
    }
    replaced
}
