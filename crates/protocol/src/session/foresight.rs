//! Looking ahead: where a pipeline belongs is decided by all of it, before any of it is sent.
//!
//! The server shows nothing of a pipeline before its Sync or a Flush, so nobody can wait for an
//! answer earlier, and the session may wait for the rest of it. A pipeline that does not fit into
//! [`MAX_FORESIGHT`](super::MAX_FORESIGHT) goes to the primary, and so does one that asks for its
//! replies by a Flush after it has bound something: what follows may be a write. A Flush before
//! that (a statement is prepared and described) ends the view, not the pipeline: what follows it
//! is looked at before anything is bound.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::frame::{HEADER_LENGTH, Header, split_cstr};
use crate::outgoing::Outgoing;
use crate::verdict::{AccessMode, Router, Target, Trace, Verdict};

use super::client::Frame;
use super::split::{Beginning, MAX_SAID_AGAIN_BYTES, has_parameters};
use super::{MAX_FORESIGHT, MAX_INSPECTED_SQL, Next, Session, Step};

/// Verdicts already given on the messages that lie ahead, in their order.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    verdicts: VecDeque<Arc<Verdict>>,
    /// Among them is one on a new unnamed statement.
    unnamed: bool,
    /// More is run than these verdicts tell: a function call, or a statement prepared earlier that
    /// does more than to change a setting.
    does_more: bool,
    /// All of the pipeline was looked at, up to its end.
    is_complete: bool,
    /// It begins with the BEGIN of a transaction that may leave its replica.
    begins: Option<Beginning>,
    /// Statements judged so far, new ones and earlier ones.
    judged: usize,
    /// Of those, how many control transactions.
    controls: usize,
}

impl Foresight {
    /// The verdict on the next Query or Parse, if it was looked at already.
    pub(super) fn take(&mut self) -> Option<Arc<Verdict>> {
        self.verdicts.pop_front()
    }

    pub(super) fn put_back(&mut self, verdict: Arc<Verdict>) {
        self.verdicts.push_front(verdict);
    }

    /// Whether something ahead asks for what the client has drawn from sequences.
    pub(super) fn recalls_sequences(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.recalls_sequences)
    }

    /// Whether what comes next does nothing but change settings, up to its end.
    pub(super) fn only_sets(&self) -> bool {
        self.is_complete && !self.does_more && self.verdicts.iter().all(|verdict| verdict.only_sets)
    }

    /// Whether what comes next is a BEGIN and nothing else.
    pub(super) fn is_lone_begin(&self) -> bool {
        self.is_complete
            && !self.does_more
            && self.verdicts.len() == 1
            && self.verdicts.front().is_some_and(|verdict| verdict.only_begins)
    }

    /// The BEGIN ahead that opens a transaction that may leave its replica.
    pub(super) fn begins(&self) -> Option<Beginning> {
        self.begins
    }

    /// Whether anything that was looked at controls a transaction.
    pub(super) fn controls(&self) -> bool {
        self.controls > 0
    }

    fn judges(&mut self, verdict: &Verdict) {
        self.judged += 1;
        self.controls += usize::from(verdict.controls_transaction);
    }

    pub(super) fn forget(&mut self) {
        self.begins = None;
        self.judged = 0;
        self.controls = 0;
        self.verdicts.clear();
        self.unnamed = false;
        self.does_more = false;
        self.is_complete = false;
    }
}

/// What one message ahead says about the pipeline's home.
enum Sight {
    Known(Target),
    Neutral,
    /// Bind or Execute: after these a Flush leaves doubt.
    Bound(Target),
    Flush,
    /// The pipeline ends here, or the connection does, for the message is malformed.
    End(Target),
}

impl<R: Router> Session<R> {
    /// Where the work that starts at the input's head has to run.
    pub(super) fn home(&mut self, input: &[u8]) -> Result<Target, Next> {
        self.foresight.forget();
        let mut home = Target::Replica;
        let mut bound = false;
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let header = match Header::read(rest) {
                Ok(Some(header)) => header,
                Ok(None) if at + HEADER_LENGTH > Self::most(at) => return Ok(Target::Primary),
                Ok(None) => return Err(Next::Need(at + HEADER_LENGTH)),
                // What comes before it runs, as it would on a server.
                Err(_) => return Ok(Target::Primary),
            };
            if at + header.length > Self::most(at) {
                return Ok(Target::Primary);
            }
            let Some(body) = header.body(rest) else {
                return Err(Next::Need(at + header.length));
            };
            match self.sight(header.tag, body) {
                Sight::Known(target) => home = home.max(target),
                Sight::Neutral => {}
                Sight::Bound(target) => {
                    bound = true;
                    home = home.max(target);
                }
                Sight::Flush if bound => return Ok(Target::Primary),
                Sight::Flush => return Ok(home),
                Sight::End(target) => {
                    self.foresight.is_complete = true;
                    return Ok(home.max(target));
                }
            }
            if home == Target::Primary {
                return Ok(home);
            }
            at += header.length;
        }
    }

    /// A pipeline that was begun on a replica before a Flush, and seen no further, may turn out to
    /// be the primary's: before it binds anything it can still move there, so the rest of it is
    /// looked at then.
    pub(super) fn stays(&mut self, frame: Frame<'_>, to_server: &mut Outgoing) -> Result<(), Step> {
        if self.foresight.is_complete || !self.may_move_to_primary() {
            return Ok(());
        }
        match self.home(frame.input) {
            Ok(Target::Primary) if !self.fails_anywhere() => {
                self.leave(to_server);
                Err(Step::Wait(Next::Reply))
            }
            Ok(_) => Ok(()),
            Err(next) => Err(Step::Wait(next)),
        }
    }

    /// A lone query of any inspected size is waited for; a pipeline only up to its bound.
    fn most(at: usize) -> usize {
        if at == 0 { MAX_INSPECTED_SQL } else { MAX_FORESIGHT }
    }

    fn sight(&mut self, tag: u8, body: &[u8]) -> Sight {
        match tag {
            b'Q' => Sight::End(self.foresee_query(body)),
            b'P' => match split_cstr(body) {
                Some((name, tail)) => {
                    self.foresight.unnamed |= name.is_empty();
                    Sight::Known(self.foresee(tail))
                }
                None => Sight::End(Target::Primary),
            },
            b'B' => match split_cstr(body).and_then(|(at, rest)| Some((at, split_cstr(rest)?))) {
                Some((portal, (name, values))) => {
                    let home = self.home_of_statement(name, body.len());
                    Sight::Bound(home.max(self.home_of_portal(portal, name, values)))
                }
                None => Sight::End(Target::Primary),
            },
            b'E' => Sight::Bound(Target::Replica),
            b'D' if body.first() == Some(&b'S') => {
                let name = body.get(1..).and_then(split_cstr).map_or(&[][..], |(name, _)| name);
                Sight::Known(self.home_of_statement(name, body.len()))
            }
            b'D' | b'C' => Sight::Neutral,
            b'H' => Sight::Flush,
            b'S' => Sight::End(Target::Replica),
            _ => {
                self.foresight.does_more = true;
                Sight::End(Target::Primary)
            }
        }
    }

    /// Judges a statement that lies ahead and keeps the verdict for when its turn comes.
    fn foresee(&mut self, statement: &[u8]) -> Target {
        let length = split_cstr(statement).map_or(statement, |(sql, _)| sql).len();
        let verdict = self.judge_statement(statement);
        self.foreseen(verdict, length)
    }

    /// The same for a simple query, which runs at once: what it EXECUTEs is known.
    fn foresee_query(&mut self, text: &[u8]) -> Target {
        let sql = split_cstr(text).map_or(text, |(sql, _)| sql);
        let verdict = self.judge_query(sql);
        self.foreseen(verdict, sql.len())
    }

    fn foreseen(&mut self, verdict: Arc<Verdict>, length: usize) -> Target {
        let target = self.target_ahead(&verdict, length);
        self.foresight.verdicts.push_back(verdict);
        target
    }

    /// Where something has to run that takes so many bytes.
    fn target_ahead(&mut self, verdict: &Verdict, length: usize) -> Target {
        let is_first = self.foresight.judged == 0;
        self.foresight.judges(verdict);
        let fits = is_first && length <= MAX_SAID_AGAIN_BYTES;
        if verdict.opening.is_some()
            && let Some(home) = self.home_of_beginning(verdict, fits)
        {
            return home;
        }
        let is_lasting = verdict.trace == Trace::Repeatable && self.split_access().is_some();
        if is_lasting && !self.has_room_to_say(self.foresight.judged, length) {
            return Target::Primary;
        }
        self.target(verdict)
    }

    /// Where a transaction begins that may leave its replica; `fits` if its BEGIN can be said again.
    fn home_of_beginning(&mut self, verdict: &Verdict, fits: bool) -> Option<Target> {
        let opening = verdict.opening?;
        let access = self.splits(verdict)?;
        let level = self.level(opening.isolation);
        if level.is_some_and(|level| !access.suits(level)) {
            return Some(Target::Primary);
        }
        let home = match (opening.is_alone(), access) {
            (true, _) if fits => Target::Replica,
            (false, AccessMode::ReadOnly) if fits => self.target(verdict),
            // What came before it belongs to the transaction.
            (_, AccessMode::ReadWrite) => return Some(Target::Primary),
            (_, AccessMode::ReadOnly) => return None,
        };
        if home == Target::Replica {
            self.foresight.begins = Some(Beginning::new(opening, access));
        }
        Some(home)
    }

    /// In a transaction that may leave its replica: what stays of a portal with a name, and what was set
    /// to the value of a parameter, cannot be made again elsewhere. Portals hold a READ ONLY one.
    fn home_of_portal(&mut self, portal: &[u8], name: &[u8], values: &[u8]) -> Target {
        let Some(access) = self.split_access() else {
            return Target::Replica;
        };
        let earlier = self.verdict_of(name);
        let mut meant = self.foresight.verdicts.iter().chain(&earlier);
        let is_lasting = meant.any(|verdict| verdict.trace == Trace::Repeatable);
        // What SQL has prepared has no text here.
        let has_text = name.is_empty() || !self.statements.sql.contains(name);
        let is_usual = portal.is_empty() || access == AccessMode::ReadOnly && !is_lasting;
        if is_usual && !(is_lasting && (has_parameters(values) || !has_text)) {
            Target::Replica
        } else {
            Target::Primary
        }
    }

    /// A statement prepared earlier; one prepared in this very pipeline has had its say already.
    fn home_of_statement(&mut self, name: &[u8], length: usize) -> Target {
        match self.verdict_of(name) {
            // An unnamed statement may just be replaced in this pipeline, by one already seen.
            Some(_) if name.is_empty() && self.foresight.unnamed => Target::Replica,
            Some(verdict) => {
                self.foresight.does_more |= !verdict.only_sets;
                self.target_ahead(&verdict, length)
            }
            None if self.foresight.verdicts.is_empty() => Target::Primary,
            None => Target::Replica,
        }
    }
}
