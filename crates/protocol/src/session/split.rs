//! A transaction that reads from a replica until it writes.
//!
//! Such a transaction (READ COMMITTED, and not READ ONLY) has nothing on its replica but what it has
//! SET and its savepoints: each statement takes a new snapshot (manual, 13.2.1 Read Committed Isolation
//! Level). So it can go on elsewhere. What it has said of that is kept in a [`Journal`]. Before the first
//! message that a replica may not have, the replica's transaction is rolled back and its connection given
//! back; on the primary, once its settings are those from before the transaction, the client's BEGIN and
//! the journal are said again, and the message follows. In the same way a transaction goes on whose
//! replica is lost, or has to cancel its read.
//!
//! What could not follow is never left on a replica: a statement that is [`Trace::Bound`], a portal with a
//! name, a setting with parameters go to the primary themselves.
//!
//! A BEGIN that stands alone is answered at once, and said to a server with the first statement behind it,
//! for only that tells which server. A transaction that begins with a write costs nothing more.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{Errand, Owed, Said};
use crate::settings::MAX_SETTINGS;
use crate::verdict::{Effect, Move, Opening, Router, Target, Trace, Verdict};

use super::client::Frame;
use super::inspection::column;
use super::link::{Attached, Link, Resume, Stage};
use super::{Next, PoolMode, Session, Step};

/// The most statements that a transaction on a replica says again elsewhere; with one more it goes to
/// the primary first.
pub const MAX_SAID_AGAIN: usize = 128;

/// The most bytes of them.
pub const MAX_SAID_AGAIN_BYTES: usize = 16 << 10;

/// Takes a snapshot, for a transaction that had one: from then on its isolation level is fixed.
const LOOK: &[u8] = b"SELECT 1";

/// Makes a transaction fail that had failed.
const FAIL: &[u8] = b"DO $$BEGIN RAISE EXCEPTION USING ERRCODE='08006', \
      MESSAGE='pgweir: the transaction had failed on another server'; END$$";

/// Not by a SELECT: a standby refuses that to whom it says SERIALIZABLE.
const ASK_ISOLATION: &[u8] = b"SHOW default_transaction_isolation";

/// A transaction that is on a replica, or on its way to a server.
#[derive(Debug)]
pub(super) struct Split {
    begin: Said,
    journal: Journal,
    standing: Standing,
    /// Where it has to go on at least.
    least: Target,
    view: View,
    /// What a server is being told again.
    steps: VecDeque<Again>,
    /// The first error that it has given.
    error: Option<Vec<u8>>,
}

/// How the transaction stands that is on no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It never was on one.
    Deferred,
    Open,
    Failed,
}

/// What the transaction has seen of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    None,
    /// It has asked, and heard nothing.
    Asked,
    /// It has been shown something, and cannot be shown anything older.
    Shown,
}

/// Something that a server is told again.
#[derive(Debug)]
enum Again {
    Begin,
    Look,
    Said(Arc<Verdict>),
    Fail,
}

/// What sessions have that name no isolation level in BEGIN.
#[derive(Debug)]
pub(super) struct DefaultIsolation {
    /// What the client has said of it.
    setting: Option<Arc<str>>,
    is_read_committed: bool,
}

/// What a transaction has said that leaves something in it, as far as it still holds.
#[derive(Debug, Default)]
struct Journal {
    entries: Vec<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    said: Said,
    /// The savepoint that it makes, until that is released.
    savepoint: Option<Box<str>>,
}

impl Journal {
    fn has_room(&self, count: usize, bytes: usize) -> bool {
        self.entries.len() + count <= MAX_SAID_AGAIN
            && self.bytes.saturating_add(bytes) <= MAX_SAID_AGAIN_BYTES
    }

    /// A statement has succeeded. What a rollback has undone is forgotten; what came before a release
    /// stays as it was said, for not all of it outlives the savepoint: `transaction_read_only` does not.
    fn note(&mut self, said: Said) {
        let control = said.verdict.effects.iter().find_map(|(_, effect)| match effect {
            Effect::Savepoint(_) | Effect::RollbackTo(_) | Effect::Release(_) => {
                Some(effect.clone())
            }
            _ => None,
        });
        match control {
            Some(Effect::Savepoint(name)) => self.push(said, Some(name)),
            Some(Effect::RollbackTo(name)) => {
                if let Some(at) = self.position(&name) {
                    self.truncate(at + 1);
                }
            }
            Some(Effect::Release(name)) => self.release(&name, said),
            _ => self.push(said, None),
        }
    }

    fn release(&mut self, name: &str, said: Said) {
        let Some(at) = self.position(name) else {
            return;
        };
        let inner = self.entries.get_mut(at..).unwrap_or_default();
        if inner.iter().all(|entry| entry.savepoint.is_some()) {
            return self.truncate(at);
        }
        for entry in inner {
            entry.savepoint = None;
        }
        self.push(said, None);
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.savepoint.as_deref() == Some(name))
    }

    fn push(&mut self, said: Said, savepoint: Option<Box<str>>) {
        self.bytes += said.text.len();
        self.entries.push(Entry { said, savepoint });
    }

    fn truncate(&mut self, length: usize) {
        self.entries.truncate(length);
        self.bytes = self.entries.iter().map(|entry| entry.said.text.len()).sum();
    }
}

impl Split {
    fn new(begin: Said, standing: Standing) -> Self {
        Self {
            begin,
            journal: Journal::default(),
            standing,
            least: Target::Replica,
            view: View::None,
            steps: VecDeque::new(),
            error: None,
        }
    }

    fn opening(&self) -> Option<Opening> {
        self.begin.verdict.opening
    }

    /// What a server has to be told, in this order, each in a query of its own.
    fn steps(&self) -> impl Iterator<Item = (&[u8], Again)> {
        let begin = [(&*self.begin.text, Again::Begin)];
        let look = (self.view == View::Shown).then_some((LOOK, Again::Look));
        let said = self.journal.entries.iter().map(|entry| &entry.said);
        let said = said.map(|said| (&*said.text, Again::Said(said.verdict.clone())));
        let fail = (self.standing == Standing::Failed).then_some((FAIL, Again::Fail));
        begin.into_iter().chain(look).chain(said).chain(fail)
    }
}

/// Whether a Bind, behind its names, gives values to parameters; one that cannot be read may.
pub(super) fn has_parameters(values: &[u8]) -> bool {
    let mut cursor = Cursor::new("Bind", values);
    let count = |cursor: &mut Cursor<'_>| {
        let formats = usize::from(cursor.u16().ok()?);
        cursor.bytes(2 * formats).ok()?;
        cursor.u16().ok()
    };
    count(&mut cursor) != Some(0)
}

// ---- how it begins ----

impl<R: Router> Session<R> {
    /// Whether the transaction that is open, or begins with what lies ahead, reads from a replica.
    pub(super) fn is_split(&self) -> bool {
        self.split.is_some() || self.foresight.begins().is_some()
    }

    /// Whether a BEGIN opens such a transaction.
    pub(super) fn splits(&self, verdict: &Verdict) -> bool {
        let Some(opening) = verdict.opening else {
            return false;
        };
        let is_isolated =
            opening.is_read_committed || self.default_is_read_committed() != Some(false);
        is_isolated
            && self.mode == PoolMode::Transaction
            && self.split.is_none()
            && self.status() == TransactionStatus::Idle
            && self.track.now().pins.is_empty()
            && !self.track.is_refused()
            && self.router.splits(verdict, self.facts())
    }

    /// What the default isolation level is, where that is known.
    fn default_is_read_committed(&self) -> Option<bool> {
        let known = self.default_isolation.as_ref()?;
        let is_current = known.setting.as_ref() == self.isolation_setting();
        is_current.then_some(known.is_read_committed)
    }

    fn isolation_setting(&self) -> Option<&Arc<str>> {
        self.track.now().client.get("default_transaction_isolation")
    }

    /// Whether a simple query that found no server is a BEGIN that needs none yet.
    pub(super) fn begins_later(&self) -> bool {
        self.foresight.begins().is_some()
            && matches!(self.link, Link::Detached)
            && self.resume.is_none()
            && !self.in_pipeline
    }

    /// Answers a BEGIN; a server hears of it with the next message.
    pub(super) fn begin_later(
        &mut self,
        frame: Frame<'_>,
        sql: &[u8],
        to_client: &mut Outgoing,
    ) -> Step {
        let opening = self.foresight.begins();
        let (Some(verdict), Some(opening)) = (self.foresight.take(), opening) else {
            return Step::Wait(Next::Reply);
        };
        self.foresight.forget();
        self.statements.unnamed = None;
        let begin = Said { text: sql.into(), verdict };
        self.split = Some(Box::new(Split::new(begin, Standing::Deferred)));
        self.resume = Some(Resume::Split);
        self.refusal.status = TransactionStatus::Transaction;
        to_client.own(|out| {
            message::command_complete(opening.tag, out);
            message::ready_for_query(TransactionStatus::Transaction, out);
        });
        Step::Took(frame.header.length)
    }

    /// An Execute is on its way that runs this text: it may open such a transaction, or be said again in
    /// one.
    pub(super) fn note_executed(&mut self, verdict: &Arc<Verdict>) -> Option<Box<Said>> {
        let text = self.bound_text.take()?;
        let said = Said { text, verdict: verdict.clone() };
        if self.split.is_some() {
            return (verdict.trace == Trace::Repeatable).then(|| Box::new(said));
        }
        let Link::Attached(attached) = &self.link else {
            return None;
        };
        if verdict.opening.is_some()
            && self.foresight.begins().is_some()
            && attached.role == Target::Replica
            && attached.status == TransactionStatus::Idle
        {
            self.split = Some(Box::new(Split::new(said, Standing::Open)));
            self.router.opened_on_replica();
        }
        None
    }

    /// The text of a statement that is bound, if it is worth keeping until its Execute.
    pub(super) fn text_to_keep(
        &self,
        name: &[u8],
        verdict: Option<&Arc<Verdict>>,
    ) -> Option<Box<[u8]>> {
        let verdict = verdict?;
        let is_kept = match &self.split {
            Some(_) => verdict.trace == Trace::Repeatable,
            None => verdict.opening.is_some() && self.foresight.begins().is_some(),
        };
        if !is_kept {
            return None;
        }
        let parse = match name {
            b"" => self.statements.unnamed.as_ref().map(|unnamed| &*unnamed.parse),
            name => self.statements.named.get(name).map(|named| &*named.parse),
        };
        let (text, _) = crate::frame::split_cstr(parse?)?;
        Some(text.into())
    }

    /// A simple query is on its way: what of it is to be said again.
    pub(super) fn said_in_query(
        &self,
        frame: Frame<'_>,
        verdict: &Arc<Verdict>,
    ) -> Option<Box<Said>> {
        if self.split.is_none() || verdict.trace != Trace::Repeatable {
            return None;
        }
        let (text, _) = crate::frame::split_cstr(frame.body()?)?;
        Some(Box::new(Said { text: text.into(), verdict: verdict.clone() }))
    }

    /// It has succeeded.
    pub(super) fn note_said(&mut self, said: Said) {
        if let Some(split) = &mut self.split {
            split.journal.note(said);
        }
    }

    /// A statement is on its way.
    pub(super) fn note_read(&mut self, verdict: &Verdict) {
        if let Some(split) = &mut self.split
            && split.view == View::None
            && verdict.trace == Trace::None
            && !verdict.controls_transaction
        {
            split.view = View::Asked;
        }
    }

    /// A piece of the client's work is answered.
    pub(super) fn split_answered(&mut self, status: TransactionStatus) {
        if let Some(split) = &mut self.split
            && split.view == View::Asked
        {
            split.view = View::Shown;
        }
        if status == TransactionStatus::Idle && !self.is_between_servers() {
            self.split = None;
        }
    }

    /// Whether so many statements more can be said again, the last one of this length.
    pub(super) fn has_room_to_say(&self, count: usize, length: usize) -> bool {
        let new = Journal::default();
        let journal = self.split.as_ref().map_or(&new, |split| &split.journal);
        // A setting for which there is no room would bind the client to its replica.
        let settings = self.track.now().client.len();
        journal.has_room(count, length) && settings + MAX_SAID_AGAIN <= MAX_SETTINGS
    }
}

// ---- how it goes on elsewhere ----

impl<R: Router> Session<R> {
    /// Whether the client's transaction is on a replica, and can leave it.
    pub(super) fn may_move(&self) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        self.split.is_some()
            && attached.role == Target::Replica
            && attached.status != TransactionStatus::Idle
            && attached.stage != Stage::Leaving
            && self.track.now().pins.is_empty()
    }

    /// Sees to it that a piece of work in a transaction on a replica is on the server that may have it.
    pub(super) fn goes_on_here(
        &mut self,
        frame: Frame<'_>,
        to_server: &mut Outgoing,
    ) -> Result<(), Step> {
        if !self.may_move() {
            return Ok(());
        }
        match self.home(frame.input) {
            Ok(Target::Primary) if !self.fails_anywhere() => {
                self.moves(to_server);
                Err(Step::Wait(Next::Reply))
            }
            Ok(_) => Ok(()),
            Err(next) => Err(Step::Wait(next)),
        }
    }

    /// Whether what lies ahead is refused by any server, because the transaction has failed, and it
    /// does not end that.
    pub(super) fn fails_anywhere(&self) -> bool {
        self.status() == TransactionStatus::Failed && !self.foresight.controls()
    }

    /// Where a piece of work runs whose transaction is on no server.
    pub(super) fn home_of_split(&mut self, frame: Frame<'_>) -> Result<Target, Next> {
        let least = self.split.as_ref().map_or(Target::Primary, |split| split.least);
        let home = match least {
            Target::Replica => self.home(frame.input)?,
            Target::Primary => Target::Primary,
        };
        Ok(self.replay.send(home))
    }

    /// The transaction leaves its replica for the primary.
    pub(super) fn moves(&mut self, to_server: &mut Outgoing) {
        let in_pipeline = self.in_pipeline;
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        if in_pipeline {
            to_server.own(message::sync);
            attached.pipeline.push(Owed::OwnSync);
        }
        if attached.has_lent_names() {
            attached.take_names_back(to_server);
        }
        attached.run(Errand::Leave, b"ROLLBACK", to_server);
        attached.stage = Stage::Leaving;
        let status = attached.status;
        self.leaves_server(Target::Primary, status);
        self.router.moved(Move::Statement);
    }

    /// From here on the transaction is on no server.
    fn leaves_server(&mut self, least: Target, status: TransactionStatus) {
        let Some(split) = &mut self.split else {
            return;
        };
        split.least = split.least.max(least);
        split.standing = match status {
            TransactionStatus::Failed => Standing::Failed,
            _ => Standing::Open,
        };
        self.refusal.status = status;
        self.resume = Some(Resume::Split);
    }

    /// A pipeline that was to go on elsewhere has failed first.
    pub(super) fn fails_while_leaving(&mut self) {
        if self.is_between_servers() {
            self.leaves_server(Target::Primary, TransactionStatus::Failed);
        } else {
            self.resume = None;
        }
    }

    /// Whether the transaction is to be taken up on the next server.
    pub(super) fn is_between_servers(&self) -> bool {
        matches!(self.resume, Some(Resume::Split))
    }

    /// The transaction cannot be taken up, and has failed by that; what it had made is there again
    /// behind a rollback to one of its savepoints. False if there is no such transaction.
    pub(super) fn fails_between_servers(&mut self, in_transaction: bool) -> bool {
        let is_between = self.is_between_servers();
        let Some(split) = self.split.as_mut().filter(|_| in_transaction || is_between) else {
            return false;
        };
        if split.view == View::Asked {
            split.view = View::Shown;
        }
        let least = self.least_elsewhere();
        self.leaves_server(least, TransactionStatus::Failed);
        true
    }

    /// Where it may go on that has been shown what its replica had: other replicas may be older.
    fn least_elsewhere(&self) -> Target {
        let has_read = self.split.as_ref().is_some_and(|split| split.view == View::Shown);
        if has_read { Target::Primary } else { Target::Replica }
    }

    /// Work that had failed, or lost its server, is about to run again: in a transaction behind what that
    /// has said before.
    pub(super) fn opens_again(&mut self, least: Target, why: Move) {
        if let Some(split) = &mut self.split
            && split.view == View::Asked
        {
            split.view = View::None;
        }
        let least = least.max(self.least_elsewhere());
        if self.is_between_servers() {
            let status = self.refusal.status;
            let is_deferred =
                self.split.as_ref().is_some_and(|split| split.standing == Standing::Deferred);
            if !is_deferred {
                self.leaves_server(least, status);
            }
            return;
        }
        if self.split.is_none() {
            return;
        }
        match &self.link {
            Link::Attached(attached) if attached.status != TransactionStatus::Idle => {
                let status = attached.status;
                self.leaves_server(least, status);
                self.router.moved(why);
            }
            // Its BEGIN is said again with the rest.
            _ => self.split = None,
        }
    }

    /// The replica of a transaction is lost while that asks nothing of it, or leaves it: true if so.
    pub(super) fn survives_idle_loss(&mut self) -> bool {
        let may_move = self.may_move();
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        if self.is_between_servers() {
            return attached.stage == Stage::Leaving && attached.pipeline.is_ours();
        }
        if !may_move || self.in_pipeline || !attached.pipeline.is_empty() {
            return false;
        }
        let status = attached.status;
        self.leaves_server(self.least_elsewhere(), status);
        self.router.moved(Move::Lost);
        true
    }

    /// Asks the server, once, what isolation level the transaction has that is about to begin there. True
    /// while that is to be waited for.
    pub(super) fn asks_isolation(&mut self, to_server: &mut Outgoing) -> bool {
        let opening = match &self.split {
            Some(split) if self.is_between_servers() => split.opening(),
            Some(_) => None,
            None => self.foresight.begins(),
        };
        if opening.is_none_or(|opening| opening.is_read_committed)
            || self.default_is_read_committed().is_some()
        {
            return false;
        }
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        if attached.role == Target::Primary || attached.status != TransactionStatus::Idle {
            return false;
        }
        attached.run(Errand::Isolation, ASK_ISOLATION, to_server);
        true
    }

    /// The server's answer.
    pub(super) fn note_isolation(&mut self, row: &[u8]) {
        let mut row = Cursor::new("DataRow", row);
        let level = row.i16().ok().and_then(|_| column(&mut row)).flatten();
        let is_read_committed =
            matches!(level.as_deref(), Some("read committed" | "read uncommitted"));
        let setting = self.isolation_setting().cloned();
        self.default_isolation = Some(DefaultIsolation { setting, is_read_committed });
    }

    /// It has answered. What has one snapshot for all its statements cannot change servers.
    pub(super) fn isolation_known(&mut self) {
        if self.default_is_read_committed() == Some(true) {
            return;
        }
        let setting = self.isolation_setting().cloned();
        self.default_isolation = Some(DefaultIsolation { setting, is_read_committed: false });
        if let Some(split) = &mut self.split {
            split.least = Target::Primary;
        }
        self.foresight.forget();
        if let Link::Attached(attached) = &mut self.link {
            attached.stage = Stage::Leaving;
        }
    }

    /// Takes the transaction up on this server.
    pub(super) fn take_up(&mut self, to_server: &mut Outgoing) {
        let (Link::Attached(attached), Some(split)) = (&mut self.link, &mut self.split) else {
            return;
        };
        let mut steps = VecDeque::new();
        for (text, step) in split.steps() {
            attached.run(Errand::Again, text, to_server);
            steps.push_back(step);
        }
        split.steps = steps;
        split.error = None;
    }

    /// The server has been told one thing again.
    pub(super) fn said_again(&mut self, error: Option<Vec<u8>>, to_client: &mut Outgoing) {
        let Some(split) = &mut self.split else {
            return;
        };
        let step = split.steps.pop_front();
        let is_last = split.steps.is_empty();
        match (step, error) {
            (Some(Again::Fail) | None, _) | (Some(Again::Begin | Again::Look), None) => {}
            (Some(_), Some(error)) => {
                split.error.get_or_insert(error);
            }
            (Some(Again::Said(verdict)), None) => self.apply(&verdict, None, b""),
        }
        if is_last {
            self.taken_up(to_client);
        } else if let Link::Attached(attached) = &mut self.link {
            attached.errand = Some(Errand::Again);
        }
    }

    /// The server has been told everything.
    fn taken_up(&mut self, to_client: &mut Outgoing) {
        let (Link::Attached(attached), Some(split)) = (&mut self.link, &mut self.split) else {
            return;
        };
        self.resume = None;
        self.refusal.status = TransactionStatus::Idle;
        let role = attached.role;
        if let Some(error) = split.error.take() {
            return self.not_taken_up(error);
        }
        if split.standing == Standing::Deferred {
            self.router.sent(&split.begin.verdict, role);
            if role == Target::Replica {
                self.router.opened_on_replica();
            }
        }
        split.standing = Standing::Open;
        if role == Target::Primary {
            self.split = None;
        }
        self.report_differences(to_client);
    }

    /// The server refuses something: the client's message gets that for its answer, in a transaction that
    /// has failed.
    fn not_taken_up(&mut self, error: Vec<u8>) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        let is_open = attached.status != TransactionStatus::Idle;
        if is_open {
            attached.stage = Stage::Serving;
        } else {
            attached.tainted = true;
            attached.stage = Stage::Leaving;
        }
        if !is_open || attached.role == Target::Primary {
            self.split = None;
        }
        if !is_open {
            self.give_up_resuming(true);
        }
        self.refusal.refuse_next(error);
    }
}

impl Attached {
    /// Whether work that runs again elsewhere has left a transaction open here.
    pub(super) fn leaves_transaction(&self) -> bool {
        self.stage == Stage::Leaving
            && self.status != TransactionStatus::Idle
            && self.pipeline.is_empty()
            && self.errand.is_none()
            && !self.tainted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        let effect = match text.split_once(' ') {
            Some(("savepoint", name)) => Some(Effect::Savepoint(name.into())),
            Some(("release", name)) => Some(Effect::Release(name.into())),
            Some(("back", name)) => Some(Effect::RollbackTo(name.into())),
            _ => None,
        };
        let effects = effect.into_iter().map(|effect| (0, effect)).collect();
        let verdict = Arc::new(Verdict { effects, ..Verdict::unknown("") });
        Said { text: text.as_bytes().into(), verdict }
    }

    /// What has to be said again once these have succeeded.
    fn again(statements: &str) -> String {
        let mut journal = Journal::default();
        for text in statements.split(", ") {
            journal.note(said(text));
        }
        let texts = journal.entries.iter().map(|entry| String::from_utf8_lossy(&entry.said.text));
        let texts: Vec<_> = texts.collect();
        assert_eq!(journal.bytes, texts.iter().map(|text| text.len()).sum::<usize>());
        texts.join(", ")
    }

    #[test]
    fn what_was_rolled_back_or_came_to_nothing_is_not_said_again() {
        for (statements, expected) in [
            ("set a, savepoint s, set b", "set a, savepoint s, set b"),
            ("savepoint s, set a, back s", "savepoint s"),
            ("savepoint s, savepoint t, set a, back s, back s", "savepoint s"),
            // Of two with one name, the later one is meant.
            ("savepoint s, set a, savepoint s, set b, back s", "savepoint s, set a, savepoint s"),
            ("set a, savepoint s, release s", "set a"),
            ("savepoint s, savepoint t, release s", ""),
            ("savepoint s, savepoint t, release t", "savepoint s"),
            // Not everything outlives a release: PostgreSQL knows what does.
            ("savepoint s, set a, release s", "savepoint s, set a, release s"),
            (
                "savepoint s, set a, release s, savepoint s, set b, back s",
                "savepoint s, set a, release s, savepoint s",
            ),
            ("savepoint r, savepoint s, set a, release s, back r", "savepoint r"),
            (
                "savepoint r, savepoint s, set a, release s, release r",
                "savepoint r, savepoint s, set a, release s, release r",
            ),
        ] {
            assert_eq!(again(statements), expected, "{statements}");
        }
    }

    #[test]
    fn a_journal_is_bounded_in_number_and_length() {
        let mut journal = Journal::default();
        assert!(journal.has_room(MAX_SAID_AGAIN, MAX_SAID_AGAIN_BYTES));
        assert!(!journal.has_room(1, MAX_SAID_AGAIN_BYTES + 1));
        for _ in 0..MAX_SAID_AGAIN {
            assert!(journal.has_room(1, 1));
            journal.note(said("set a"));
        }
        assert!(!journal.has_room(1, 1));
    }

    #[test]
    fn a_bind_tells_whether_it_gives_values() {
        for (values, expected) in [
            (&b"\0\0\0\0\0\0"[..], false),
            (b"\0\x01\0\x01\0\0\0\0", false),
            (b"\0\0\0\x01\0\0\0\x01a\0\0", true),
            (b"\0\x01\0\x01", true),
            (b"", true),
        ] {
            assert_eq!(has_parameters(values), expected, "{values:?}");
        }
    }
}
