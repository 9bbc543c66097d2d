//! The server's messages: each is matched against what is owed, and nearly all pass as they are.

use crate::frame::{HEADER_LENGTH, Header, split_cstr};
use crate::message::TransactionStatus;
use crate::outgoing::Outgoing;
use crate::pipeline::{Owed, Parsed};
use crate::prepared::SERVER_NAME_PREFIX;
use crate::report::{ServerReport, Severity};
use crate::verdict::{Effect, Router, SettingChange, Verdict};

use super::link::{Link, SERVERS_OWN};
use super::{Fate, MAX_INSPECTED_REPLY, Next, Passing, ServerBroken, Session, Taken};

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
        let mut at = 0;
        loop {
            if self.from_server.left > 0 {
                at = self.from_server.take(at, input.len(), to_client);
                if self.from_server.left > 0 {
                    return Ok(Taken {
                        consumed: at,
                        next: Next::Need(1),
                    });
                }
            }
            let rest = input.get(at..).unwrap_or_default();
            let header = match Header::read(rest) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    return Ok(Taken {
                        consumed: at,
                        next: Next::Need(HEADER_LENGTH),
                    });
                }
                Err(_) => {
                    return Err(ServerBroken {
                        tag: rest.first().copied().unwrap_or(0),
                    });
                }
            };
            let arrived = header.length.min(rest.len());
            let whole = arrived == header.length;
            if !whole && is_inspected(header) {
                return Ok(Taken {
                    consumed: at,
                    next: Next::Need(header.length),
                });
            }
            let body = rest.get(HEADER_LENGTH..arrived).unwrap_or_default();
            let fate = self.server_frame(header, body, to_client)?;
            if fate == Fate::Forward {
                to_client.pass(at..at + arrived);
            }
            self.from_server = Passing {
                left: header.length - arrived,
                fate,
            };
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
            b'D' | b'd' => Ok(self.fate_of_data()),
            b'S' => Ok(self.parameter_status(body)),
            b'A' => Ok(Fate::Forward),
            b'N' => Ok(self.fate_of_data()),
            b'E' => Ok(self.error(body, to_client)),
            b'Z' => self.ready(body, to_client),
            b'C' | b'I' | b's' => Ok(self.completed(body, header.tag)),
            _ => self.step_reply(header.tag),
        }
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
            (b'T' | b't' | b'n' | b'G' | b'H' | b'W' | b'c', Some(Owed::Errand(_))) => {
                return Ok(Fate::Drop);
            }
            (b'1', Some(Owed::Parse(Parsed::Carried(_) | Parsed::CarriedUnnamed)))
            | (b'3', Some(Owed::Evict(_))) => Fate::Drop,
            (b'1', Some(Owed::Parse(_)))
            | (b'2', Some(Owed::Bind))
            | (b'3', Some(Owed::Close))
            | (b'T' | b'n', Some(Owed::Describe)) => Fate::Forward,
            (b'G', Some(_)) => {
                pipeline.copy_in_started();
                return Ok(Fate::Forward);
            }
            (b't', Some(Owed::Describe))
            | (b'T' | b'n', Some(Owed::Query { .. } | Owed::Execute(_)))
            | (b'V', Some(Owed::FunctionCall))
            | (b'H' | b'W' | b'c', Some(_)) => return Ok(Fate::Forward),
            _ => return Err(ServerBroken { tag }),
        };
        pipeline.pop();
        Ok(fate)
    }

    /// A statement has completed: its effects hold.
    fn completed(&mut self, body: &[u8], tag: u8) -> Fate {
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        match attached.pipeline.head() {
            Some(Owed::Query { verdict, completed }) => {
                let index = *completed;
                *completed += 1;
                if !verdict.effects.is_empty() {
                    let verdict = verdict.clone();
                    self.apply(&verdict, Some(index), body);
                }
                Fate::Forward
            }
            Some(Owed::Execute(_)) => {
                if let Some(Owed::Execute(verdict)) = attached.pipeline.pop()
                    && tag == b'C'
                    && !verdict.effects.is_empty()
                {
                    self.apply(&verdict, None, body);
                }
                Fate::Forward
            }
            Some(Owed::Errand(_)) => Fate::Drop,
            _ => Fate::Forward,
        }
    }

    fn apply(&mut self, verdict: &Verdict, index: Option<usize>, command_tag: &[u8]) {
        let effects = verdict.effects.iter();
        for (_, effect) in effects.filter(|(at, _)| index.is_none_or(|index| index == *at)) {
            match effect {
                Effect::Setting(change) => {
                    self.track.change(change);
                    if *change == SettingChange::DiscardAll {
                        self.forget_all_statements();
                    }
                }
                Effect::Pin(pins) => self.track.pin(*pins),
                Effect::Unpin(pins) => self.track.unpin(*pins),
                Effect::ForgetStatements => self.forget_all_statements(),
                // COMMIT of a failed transaction answers ROLLBACK.
                Effect::Commit if command_tag.starts_with(b"ROLLBACK") => self.track.rollback(),
                Effect::Commit => self.track.settle(),
                Effect::Rollback => self.track.rollback(),
                Effect::Savepoint(name) => self.track.savepoint(name),
                Effect::RollbackTo(name) => self.track.rollback_to(name),
                Effect::Release(name) => self.track.release(name),
            }
        }
    }

    fn forget_all_statements(&mut self) {
        self.statements.named.clear();
        self.statements.unnamed = None;
        if let Link::Attached(attached) = &mut self.link {
            attached.facts.statements.clear();
            attached.facts.unnamed = None;
        }
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
        self.reported.note(name, value);
        self.note_environment();
        Fate::Forward
    }

    fn error(&mut self, body: &[u8], to_client: &mut Outgoing) -> Fate {
        let Link::Attached(attached) = &mut self.link else {
            return Fate::Drop;
        };
        if let Some(report) = ServerReport::parse(body)
            && matches!(report.severity, Severity::Fatal | Severity::Panic)
        {
            // The server is about to close: what the client is told depends on what it loses.
            attached.last_words = Some(report.message.to_string());
            return Fate::Drop;
        }
        attached.failed = true;
        match attached.pipeline.head() {
            Some(Owed::Errand(_)) => {
                attached.errand_error = Some(whole_error(body));
                Fate::Drop
            }
            Some(Owed::Query { .. } | Owed::FunctionCall) => Fate::Forward,
            Some(Owed::Parse(_) | Owed::Bind | Owed::Describe) if names_ours(body) => {
                let theirs = self.with_client_names(body);
                self.skip_failed();
                to_client.own(|out| out.extend_from_slice(&theirs));
                Fate::Drop
            }
            _ => {
                self.skip_failed();
                Fate::Forward
            }
        }
    }

    /// Undoes what was noted for messages that the server will skip.
    fn skip_failed(&mut self) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        for skipped in attached.pipeline.skip_to_sync() {
            match skipped {
                Owed::Parse(Parsed::Named { name, statement }) => {
                    attached.facts.statements.remove(statement.id);
                    self.statements.named.remove(&name);
                }
                Owed::Parse(Parsed::Carried(statement)) => {
                    attached.facts.statements.remove(statement.id);
                }
                Owed::Parse(Parsed::Unnamed(id)) => {
                    attached.facts.unnamed = None;
                    if self
                        .statements
                        .unnamed
                        .as_ref()
                        .is_some_and(|held| held.id == id)
                    {
                        self.statements.unnamed = None;
                    }
                }
                Owed::Parse(Parsed::CarriedUnnamed) => attached.facts.unnamed = None,
                Owed::Evict(Some(statement)) => {
                    attached.facts.statements.insert(statement);
                }
                _ => {}
            }
        }
    }

    fn ready(&mut self, body: &[u8], to_client: &mut Outgoing) -> Result<Fate, ServerBroken> {
        let broken = ServerBroken { tag: b'Z' };
        let status = body
            .first()
            .copied()
            .and_then(TransactionStatus::from_byte)
            .ok_or(broken)?;
        let Link::Attached(attached) = &mut self.link else {
            return Ok(Fate::Drop);
        };
        let owed = attached.pipeline.pop().ok_or(broken)?;
        let failed = std::mem::take(&mut attached.failed);
        attached.status = status;
        if status == TransactionStatus::Idle && std::mem::take(&mut attached.dirty) {
            self.wrote = true;
        }
        match owed {
            Owed::Query { .. } | Owed::FunctionCall | Owed::Sync => {
                self.transaction_ended(status, failed);
                Ok(Fate::Forward)
            }
            Owed::OwnSync => {
                if failed {
                    // The client knows of the error and expects silence up to its own Sync.
                    self.resume = None;
                    self.refusal.skip_to_sync();
                }
                self.errand_ended(crate::pipeline::Errand::Leave, to_client);
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
        // An implicit transaction ends with its error, and so does one whose COMMIT fails.
        if failed {
            self.track.rollback();
        } else {
            self.track.settle();
        }
        self.portals.clear();
    }

    /// Gives the replies of pgweir's own whose turn has come.
    pub(super) fn reply_ours(&mut self, to_client: &mut Outgoing) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        loop {
            match attached.pipeline.head() {
                Some(Owed::Ours(reply)) => to_client.own(|out| out.extend_from_slice(reply)),
                Some(Owed::CopyEnd) => {}
                _ => return,
            }
            attached.pipeline.pop();
        }
    }

    /// An error that names a statement names it as the client did.
    fn with_client_names(&self, body: &[u8]) -> Vec<u8> {
        let mut text = body.to_vec();
        for (name, statement) in &self.statements.named {
            let quoted = |name: &[u8]| [b"\"", name, b"\""].concat();
            text = replace(&text, &quoted(&statement.name), &quoted(name));
        }
        whole_error(&text)
    }
}

fn is_inspected(header: Header) -> bool {
    header.length <= MAX_INSPECTED_REPLY
        && matches!(
            header.tag,
            b'E' | b'S' | b'Z' | b'C' | b'N' | b'1' | b'2' | b'3'
        )
}

fn whole_error(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_LENGTH + body.len());
    crate::frame::put_frame(&mut frame, b'E', |out| out.extend_from_slice(body));
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
