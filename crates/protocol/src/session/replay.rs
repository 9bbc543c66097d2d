//! A read that fails through no fault of its own runs again elsewhere, and its client notices nothing.
//!
//! The replica that serves it may die, be shut down, or cancel it because what it reads has to change
//! (manual, 27.4.2 Handling Query Conflicts); or it refuses what only a primary can do, though nothing
//! in the text tells. Outside a transaction, such work has left nothing behind: as long as its client has
//! heard nothing of the answer, all that it said of it is said again to another server, from the first
//! byte on.
//!
//! So, while work runs that is known to be a read, what its client says is kept as it came, and the head
//! of the answer (everything before the first row or command tag) is withheld until more follows. A
//! server sends it no sooner by itself: only a Flush asks for it. What was noted for the work is undone
//! as for a lost server, and once the session is detached, the driver offers the client's bytes again
//! ([`Session::take_back`]), ahead of those that came since.
//!
//! Pieces of work that are under way together run again together, in their order.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::frame::{HEADER_LENGTH, Header, split_cstr};
use crate::message::TransactionStatus;
use crate::outgoing::{Mark, Outgoing};
use crate::pipeline::{Errand, Owed, Parsed};
use crate::report::ServerReport;
use crate::sqlstate::SqlState;
use crate::verdict::{Move, Router, Setback, Target, Verdict};

use super::link::{Attached, Link, Resume, Stage};
use super::server::undo;
use super::{PoolMode, Session};

/// The most bytes of a client that are kept to be said again; a read that takes more gets its error.
pub const MAX_REPLAYED: usize = 64 << 10;

/// The most bytes of an answer's head that are withheld; a longer one goes out, and is final.
pub const MAX_WITHHELD: usize = 64 << 10;

/// How often a read runs again. A statement that makes servers crash must not take all of them along.
pub const MAX_REPLAYS: u32 = 2;

/// The capacity in bytes that an empty buffer may keep: a client at rest costs little.
const KEPT_CAPACITY: usize = 1 << 10;

/// What is known of the work under way, for the case that it has to run again.
#[derive(Debug)]
pub(super) struct Replay {
    state: State,
    /// Where the work that got the server, or waits for one, would run if nothing had happened.
    home: Target,
    /// Where it has to run at least, by what has happened.
    least: Target,
    /// What the client has said since the first piece of work without an answer began.
    said: Vec<u8>,
    /// Where in it the others begin.
    begins: VecDeque<usize>,
    unnamed: UnnamedUse,
    /// The client has asked for its answers by a Flush: nothing is withheld.
    is_prompt: bool,
    /// The next message belongs to the head of the answer, whatever it is.
    extends_head: bool,
    /// The length of the answer's head so far.
    head_length: usize,
    /// What of it came in earlier reads.
    withheld: Vec<u8>,
    /// Where it begins in what goes to the client.
    mark: Mark,
    /// The messages that it answers.
    answered: Vec<Owed>,
    replays: u32,
}

/// How it stands with the work under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is none that could run again.
    Final,
    /// The client has heard nothing of the first answer that it waits for.
    Unheard,
    /// It has heard something.
    Heard,
    /// It runs again, as soon as there is another server.
    Again,
}

/// How the work under way uses the unnamed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnnamedUse {
    No,
    /// That which was there before.
    Former,
    /// One of its own, if any.
    Own,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            state: State::Final,
            home: Target::Primary,
            least: Target::Replica,
            said: Vec::new(),
            begins: VecDeque::new(),
            unnamed: UnnamedUse::No,
            is_prompt: false,
            extends_head: false,
            head_length: 0,
            withheld: Vec::new(),
            mark: Mark::default(),
            answered: Vec::new(),
            replays: 0,
        }
    }
}

impl Replay {
    /// Work asks for a server that would run here; returns where it runs.
    pub(super) fn send(&mut self, home: Target) -> Target {
        self.home = home;
        home.max(self.least)
    }

    /// Work has found a server.
    pub(super) fn attached(&mut self) {
        self.state = State::Final;
        self.least = Target::Replica;
    }

    /// Nothing that is under way can run again.
    pub(super) fn stop(&mut self) {
        self.state = State::Final;
        self.answered.clear();
    }

    /// There is no work.
    pub(super) fn forget(&mut self) {
        if self.state == State::Again && !self.said.is_empty() {
            return;
        }
        self.stop();
        self.home = Target::Primary;
        self.least = Target::Replica;
        self.replays = 0;
        self.clear();
    }

    fn clear(&mut self) {
        self.said.clear();
        for buffer in [&mut self.said, &mut self.withheld] {
            if buffer.is_empty() && buffer.capacity() > KEPT_CAPACITY {
                *buffer = Vec::new();
            }
        }
        self.begins.clear();
        self.unnamed = UnnamedUse::No;
    }

    /// Whether work waits to run again.
    pub(super) fn is_again(&self) -> bool {
        self.state == State::Again
    }

    /// The head of an answer waits for the rest of it.
    pub(super) fn withholds_head(&self) -> bool {
        self.state == State::Unheard && !self.is_prompt
    }

    /// A piece of work begins; `is_begin` if it is a BEGIN alone, which does nothing that could be done
    /// twice, on the primary either.
    fn begin(&mut self, may_run_again: bool, is_begin: bool) {
        self.clear();
        self.next_answer();
        self.is_prompt = false;
        let is_kept = may_run_again && (self.home == Target::Replica || is_begin);
        self.state = if is_kept { State::Unheard } else { State::Final };
    }

    /// Another piece of work follows the first one.
    fn follow(&mut self, is_read: bool) {
        match self.state {
            State::Unheard | State::Heard if is_read => {
                if self.begins.back() != Some(&self.said.len()) {
                    self.begins.push_back(self.said.len());
                }
            }
            _ => self.stop(),
        }
    }

    fn next_answer(&mut self) {
        self.answered.clear();
        self.head_length = 0;
    }

    /// The client has said so much more, which has passed.
    pub(super) fn note(&mut self, said: &[u8], is_whole: bool) {
        if !matches!(self.state, State::Unheard | State::Heard) {
            return;
        }
        if is_whole && self.said.len() + said.len() <= MAX_REPLAYED {
            self.said.extend_from_slice(said);
        } else {
            self.stop();
        }
    }

    /// The client uses the unnamed statement.
    pub(super) fn uses_unnamed(&mut self) {
        if self.unnamed == UnnamedUse::No {
            self.unnamed = UnnamedUse::Former;
        }
    }

    /// The client replaces the unnamed statement: what has used the former one cannot run again.
    pub(super) fn replaces_unnamed(&mut self) {
        match self.unnamed {
            UnnamedUse::Former => self.stop(),
            UnnamedUse::No | UnnamedUse::Own => self.unnamed = UnnamedUse::Own,
        }
    }

    /// A message has its reply.
    pub(super) fn replied(&mut self, owed: Option<Owed>) {
        if self.state == State::Unheard {
            self.answered.extend(owed);
        }
    }

    /// pgweir has given a reply in the server's place.
    pub(super) fn gave_reply(&mut self, owed: Option<Owed>) {
        self.replied(owed);
        if self.is_prompt {
            self.heard();
        }
    }

    /// The client hears something that cannot be taken back.
    pub(super) fn heard(&mut self) {
        if self.state == State::Unheard {
            self.state = State::Heard;
            self.answered.clear();
        }
    }

    /// A message of the server passes to the client.
    pub(super) fn passes(&mut self, header: Header) {
        let is_head = mem::take(&mut self.extends_head) || is_head(header.tag);
        if self.state != State::Unheard {
            return;
        }
        self.head_length = self.head_length.saturating_add(header.length);
        if self.is_prompt || !is_head || self.head_length > MAX_WITHHELD {
            self.heard();
        }
    }

    /// A BEGIN at the head of a pipeline has succeeded: nobody waits for its tag alone, either.
    pub(super) fn begins_transaction(&mut self) {
        self.extends_head = true;
    }

    /// Whether a message has to be there as a whole, because it is withheld.
    pub(super) fn holds_whole(&self, header: Header) -> bool {
        self.withholds_head()
            && is_head(header.tag)
            && self.head_length.saturating_add(header.length) <= MAX_WITHHELD
    }

    /// What goes to the client from here on belongs to the answer that is under way.
    pub(super) fn set_mark(&mut self, to_client: &Outgoing) {
        self.mark = to_client.mark();
    }

    /// A piece of work is answered; `is_last` if no other is under way.
    pub(super) fn answered(&mut self, is_last: bool) {
        self.replays = 0;
        if !matches!(self.state, State::Unheard | State::Heard) {
            return;
        }
        if is_last {
            self.stop();
            self.clear();
            return;
        }
        self.state = State::Unheard;
        self.next_answer();
        let begin = self.begins.pop_front().unwrap_or(self.said.len());
        self.said.drain(..begin);
        self.begins.iter_mut().for_each(|later| *later -= begin);
    }

    /// What was withheld goes ahead of what comes now.
    pub(super) fn bring_forth(&mut self, to_client: &mut Outgoing) {
        self.set_mark(to_client);
        if !self.withheld.is_empty() {
            to_client.own(|out| out.append(&mut self.withheld));
        }
    }

    /// Withholds what has come of an answer, if that is only its head.
    pub(super) fn withhold(&mut self, input: &[u8], to_client: &mut Outgoing) {
        if self.withholds_head() {
            to_client.take_since(self.mark, input, &mut self.withheld);
        }
    }
}

/// Replies that come before anything that a statement does: nobody waits for them alone, but after a
/// Flush.
fn is_head(tag: u8) -> bool {
    matches!(tag, b'1' | b'2' | b'3' | b't' | b'T' | b'n')
}

impl<R: Router> Session<R> {
    /// What the client has said and no server has answered: to be offered again, ahead of everything
    /// that the session has not used yet.
    pub fn take_back(&mut self) -> Option<Vec<u8>> {
        let waits = self.replay.is_again() && matches!(self.link, Link::Detached);
        (waits && !self.replay.said.is_empty()).then(|| mem::take(&mut self.replay.said))
    }

    /// Whether work waits to run again elsewhere: the server connection that it had is of no more use.
    #[must_use]
    pub fn runs_again(&self) -> bool {
        self.replay.is_again()
    }

    /// A piece of work is about to go to the server.
    pub(super) fn begin_piece(&mut self) {
        let Link::Attached(attached) = &self.link else {
            return;
        };
        if !attached.pipeline.is_empty() {
            self.replay.follow(attached.role == Target::Replica);
            return;
        }
        let is_free = attached.stage == Stage::Awaited
            && attached.status == TransactionStatus::Idle
            && self.mode != PoolMode::Session
            && self.track.now().pins.is_empty();
        self.replay.begin(is_free || self.may_move(), self.foresight.is_lone_begin());
    }

    /// The client asks by a Flush for what there is of its answer.
    pub(super) fn show_head(&mut self, to_client: &mut Outgoing) {
        self.replay.is_prompt = true;
        if !self.replay.withheld.is_empty() {
            self.replay.heard();
            self.replay.bring_forth(to_client);
        }
        self.reply_ours(to_client);
    }

    fn may_run_again(&self) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        // A write that was sent to a replica was sent in a transaction that had failed.
        let is_free = attached.status == TransactionStatus::Idle && !attached.ran.write;
        self.replay.state == State::Unheard
            && (is_free || self.may_move())
            && self.from_client.left == 0
            && self.track.now().pins.is_empty()
    }

    /// Whether the server could be left at this moment without the client's noticing: what is under way
    /// there is a read that would run again elsewhere.
    #[must_use]
    pub fn may_leave(&self) -> bool {
        !self.replay.is_again() && self.would_survive_loss()
    }

    fn would_survive_loss(&self) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        let is_blamed = attached.last_words.as_ref().is_some_and(|words| words.blames_client);
        let is_new_or_split = match self.resume {
            None => true,
            // A new primary need not show all that its replica has.
            Some(Resume::Split) => attached.role == Target::Replica,
            Some(_) => false,
        };
        let is_awaited = is_new_or_split && is_awaited(attached);
        let is_hopeless = is_blamed || self.replay.replays >= MAX_REPLAYS;
        !is_hopeless && (is_awaited || self.may_run_again())
    }

    /// The server connection is lost: true if what ran on it runs again elsewhere.
    pub(super) fn survives_loss(&mut self) -> bool {
        if !matches!(self.link, Link::Attached(_)) {
            return false;
        }
        if !self.replay.is_again() && !self.survives_idle_loss() {
            if !self.would_survive_loss() {
                return false;
            }
            let Some(least) = self.router.elsewhere(Setback::Lost) else {
                return false;
            };
            self.opens_again(least, Move::Lost);
            self.undo_pieces();
            self.run_again(least);
        }
        self.link = Link::Detached;
        self.from_server = super::Passing::default();
        self.track.rollback();
        self.doubt = super::Doubt::default();
        true
    }

    /// The server has met an error: true if that is none of the client's, and the work runs again
    /// elsewhere.
    pub(super) fn survives_error(
        &mut self,
        report: Option<&ServerReport<'_>>,
        to_client: &mut Outgoing,
    ) -> bool {
        let Some(failure) = report.and_then(failure) else {
            return false;
        };
        // Nothing is refused twice: the primary runs it.
        if failure == Failure::Conflict && self.replay.replays >= MAX_REPLAYS {
            return false;
        }
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        if attached.role != Target::Replica
            || attached.pipeline.controls_transaction()
            || attached.pipeline.runs_errands()
            || !self.may_run_again()
        {
            return false;
        }
        let verdict = self.failing_verdict();
        let text = verdict.as_ref().and_then(|verdict| self.text_of(verdict)).map(<[u8]>::to_vec);
        let setback = match failure {
            Failure::Conflict => Setback::Conflict,
            Failure::Refusal => {
                Setback::Refused { verdict: verdict.as_deref(), text: text.as_deref() }
            }
            Failure::Lack => {
                Setback::Lacking { verdict: verdict.as_deref(), text: text.as_deref() }
            }
            Failure::Trouble => Setback::Lacking { verdict: None, text: None },
        };
        let Some(least) = self.router.elsewhere(setback) else {
            return false;
        };
        to_client.cut(self.replay.mark);
        self.opens_again(least, failure.into());
        self.leave_failed();
        self.run_again(least);
        true
    }

    /// Leaves the server that has failed: as soon as it has ended the only piece of work there is; else
    /// at once, and for good.
    fn leave_failed(&mut self) {
        let is_over = self.replay.begins.is_empty() && !self.in_pipeline;
        let is_query = match &mut self.link {
            Link::Attached(attached) => {
                attached.stage = Stage::Leaving;
                matches!(attached.pipeline.head(), Some(Owed::Query { .. }))
            }
            Link::Detached => false,
        };
        if !is_over {
            self.undo_pieces();
            if let Link::Attached(attached) = &mut self.link {
                // It is closed with whatever is open on it.
                attached.status = TransactionStatus::Idle;
            }
            self.track.rollback();
            return;
        }
        if !is_query {
            self.skip_failed();
        }
        undo(mem::take(&mut self.replay.answered), &mut self.statements, None);
    }

    /// Undoes what was noted for all that is under way.
    fn undo_pieces(&mut self) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        attached.tainted = true;
        attached.errand = None;
        let mut undone = mem::take(&mut self.replay.answered);
        undone.extend(attached.pipeline.drain());
        undo(undone, &mut self.statements, None);
        self.in_pipeline = false;
        self.bound_in_pipeline = false;
    }

    fn run_again(&mut self, least: Target) {
        self.portals.clear();
        self.fresh_begin.clear();
        self.foresight.forget();
        self.replay.state = State::Again;
        self.replay.least = least;
        self.replay.replays += 1;
        self.replay.withheld.clear();
        self.replay.begins.clear();
    }

    /// Whether whatever the server says from now on is of no use to anybody.
    pub(super) fn is_given_up(&self) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        self.replay.is_again() && attached.tainted && attached.pipeline.is_empty()
    }

    /// The verdict on what the server has failed at.
    fn failing_verdict(&self) -> Option<Arc<Verdict>> {
        let Link::Attached(attached) = &self.link else {
            return None;
        };
        attached.pipeline.iter().find_map(|owed| match owed {
            Owed::Query { verdict, .. } | Owed::Execute { verdict, .. } => Some(verdict.clone()),
            Owed::Parse(Parsed::Named { statement, .. } | Parsed::Carried(statement)) => {
                Some(statement.verdict.clone())
            }
            Owed::Parse(Parsed::Unnamed(_) | Parsed::CarriedUnnamed) => {
                self.statements.unnamed.as_ref().map(|unnamed| unnamed.verdict.clone())
            }
            _ => None,
        })
    }

    /// The text that this is the verdict on, if it is at hand.
    fn text_of(&self, verdict: &Arc<Verdict>) -> Option<&[u8]> {
        let named = self.statements.named.iter().map(|(_, held)| (&held.verdict, &*held.parse));
        let unnamed = self.statements.unnamed.iter().map(|held| (&held.verdict, &*held.parse));
        let mut statements = named.chain(unnamed);
        let prepared = statements.find(|(known, _)| Arc::ptr_eq(known, verdict));
        let text = match (prepared, self.replay.said.first()) {
            (Some((_, parse)), _) => parse,
            (None, Some(b'Q')) => self.replay.said.get(HEADER_LENGTH..)?,
            (None, _) => return None,
        };
        split_cstr(text).map(|(text, _)| text)
    }
}

/// Whether nothing of the client's has gone to the server yet, and nothing was begun for it.
fn is_awaited(attached: &Attached) -> bool {
    attached.stage == Stage::Awaited
        && matches!(
            attached.errand,
            None | Some(
                Errand::Settings
                    | Errand::Statements
                    | Errand::Lend
                    | Errand::Isolation
                    | Errand::Again
            )
        )
}

/// Why a standby has failed at what would succeed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It had to go on replaying (manual, 27.4.2).
    Conflict,
    /// No standby does that (manual, 27.4.1 User's Overview).
    Refusal,
    /// It does not have what the statement names, or does not do it.
    Lack,
    /// It cannot get at something now.
    Trouble,
}

impl From<Failure> for Move {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict => Self::Conflict,
            Failure::Refusal | Failure::Lack | Failure::Trouble => Self::Refused,
        }
    }
}

/// Reads a standby's error. Where another server meets it as well, it is only met twice.
fn failure(report: &ServerReport<'_>) -> Option<Failure> {
    match report.code {
        SqlState::SERIALIZATION_FAILURE | SqlState::DEADLOCK_DETECTED => Some(Failure::Conflict),
        SqlState::READ_ONLY_SQL_TRANSACTION => Some(Failure::Refusal),
        SqlState::FEATURE_NOT_SUPPORTED
        | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
        | SqlState::INTERNAL_ERROR
            if is_about_recovery(report) =>
        {
            Some(Failure::Refusal)
        }
        code => lack(code, report),
    }
}

/// Reads an error that a server may have to itself, if it has catalogs of its own: a worker of Citus.
fn lack(code: SqlState, report: &ServerReport<'_>) -> Option<Failure> {
    match (&code.class(), code) {
        // These are about what the client has prepared.
        (_, SqlState::DUPLICATE_PREPARED_STATEMENT | SqlState::DUPLICATE_CURSOR) => None,
        (b"0A", _) if report.routine == Some(b"RevalidateCachedQuery") => None,
        (b"0A" | b"3F" | b"42", _) => Some(Failure::Lack),
        (b"08" | b"53" | b"55" | b"58" | b"XX", _) => Some(Failure::Trouble),
        _ => None,
    }
}

/// The routines of PostgreSQL that refuse something because it is in recovery, and nothing else under
/// the codes above: serializable transactions, unlogged relations, strong locks, new transaction ids,
/// multixacts, oids and WAL, logical decoding.
const RECOVERY_ROUTINES: [&[u8]; 9] = [
    b"GetSerializableTransactionSnapshot",
    b"get_relation_info",
    b"LockAcquireExtended",
    b"GetNewTransactionId",
    b"GetNewMultiXactId",
    b"GetNewObjectId",
    b"XLogBeginInsert",
    b"XLogInsert",
    b"CheckLogicalDecodingRequirements",
];

/// Whether an error says that the server is in recovery: by the routine, which reads the same in every
/// language; else, as of functions that control WAL or an index, and of extensions, in English.
fn is_about_recovery(report: &ServerReport<'_>) -> bool {
    report.routine.is_some_and(|routine| RECOVERY_ROUTINES.contains(&routine))
        || ["recovery", "hot standby"].iter().any(|words| report.message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors as a standby of PostgreSQL 15 gives them: code, message, routine.
    #[test]
    fn errors_of_a_standby() {
        let (refusal, conflict) = (Some(Failure::Refusal), Some(Failure::Conflict));
        let trouble = Some(Failure::Trouble);
        let rows: &[(&str, &str, &str, Option<Failure>)] = &[
            (
                "25006",
                "cannot execute nextval() in a read-only transaction",
                "PreventCommandIfReadOnly",
                refusal,
            ),
            (
                "25006",
                "cannot execute pg_current_xact_id() during recovery",
                "PreventCommandDuringRecovery",
                refusal,
            ),
            (
                "0A000",
                "cannot access temporary or unlogged relations during recovery",
                "get_relation_info",
                refusal,
            ),
            (
                "0A000",
                "im Hot-Standby-Modus kann nicht …",
                "GetSerializableTransactionSnapshot",
                refusal,
            ),
            ("0A000", "cached plan must not change result type", "RevalidateCachedQuery", None),
            ("55000", "recovery is in progress", "pg_current_wal_lsn", refusal),
            ("55000", "kann Sperrmodus … nicht setzen", "LockAcquireExtended", refusal),
            ("55000", "lastval is not yet defined in this session", "lastval", trouble),
            (
                "XX000",
                "cannot assign TransactionIds during recovery",
                "GetNewTransactionId",
                refusal,
            ),
            ("XX000", "cache lookup failed for type 1", "lookup_type_cache", trouble),
            (
                "40001",
                "canceling statement due to conflict with recovery",
                "ProcessInterrupts",
                conflict,
            ),
            (
                "40P01",
                "canceling statement due to conflict with recovery",
                "CheckRecoveryConflictDeadlock",
                conflict,
            ),
            ("57014", "canceling statement due to user request", "ProcessInterrupts", None),
            ("22012", "division by zero", "int4div", None),
        ];
        are_read_as(rows);
    }

    #[track_caller]
    fn are_read_as(rows: &[(&str, &str, &str, Option<Failure>)]) {
        for (code, message, routine, expected) in rows {
            let body = format!("SERROR\0VERROR\0C{code}\0M{message}\0R{routine}\0\0");
            let report = ServerReport::parse(body.as_bytes()).unwrap();
            assert_eq!(failure(&report), *expected, "{code} {message}");
        }
    }

    /// Errors as a worker of Citus 13 gives them.
    #[test]
    fn errors_of_a_server_with_catalogs_of_its_own() {
        let (lack, trouble) = (Some(Failure::Lack), Some(Failure::Trouble));
        are_read_as(&[
            ("42P01", "relation \"t\" does not exist", "parserOpenTable", lack),
            ("42883", "function f() does not exist", "ParseFuncOrColumn", lack),
            ("3F000", "schema \"s\" does not exist", "get_namespace_oid", lack),
            ("0A000", "direct joins between distributed and local …", "RaiseDeferredError", lack),
            ("42P05", "prepared statement \"s\" already exists", "StorePreparedStatement", None),
            ("08006", "connection to the remote node …", "ReportConnectionError", trouble),
        ]);
    }
}
