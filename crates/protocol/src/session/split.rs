//! A transaction that reads from a replica and may go on on the primary.
//!
//! Such a transaction has nothing on its replica but what it has SET and its savepoints: under READ
//! COMMITTED each statement takes a new snapshot (manual, 13.2.1 Read Committed Isolation Level). So it
//! can go on elsewhere. What it has said of that is kept in a [`Journal`]. Before the first message that
//! a replica may not have, the replica's transaction is rolled back and its connection given back; on
//! the primary, once its settings are those from before the transaction, the client's BEGIN and the
//! journal are said again, and the message follows. In the same way a transaction goes on whose replica
//! is lost, or has to cancel its read.
//!
//! One that is READ WRITE leaves nothing else on a replica: what could not follow, a cursor, a portal
//! with a name, a setting with parameters, goes to the primary itself. One that is READ ONLY came to
//! read: its cursors and portals stay on its replica, and it with them until they are closed. Under
//! REPEATABLE READ it has one snapshot, and stays where it has been shown something.
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
use crate::verdict::{
    AccessMode, Effect, Isolation, Move, Opening, Router, Target, Trace, Verdict,
};

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
    access: AccessMode,
    /// Its isolation level, as far as that is known. Before it has read, it may change.
    isolation: Option<Isolation>,
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

/// The BEGIN that lies ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    opening: Opening,
    access: AccessMode,
}

impl Beginning {
    pub(super) fn new(opening: Opening, access: AccessMode) -> Self {
        Self { opening, access }
    }
}

impl AccessMode {
    /// Whether a transaction of this level may be on a replica. What has one snapshot for all its
    /// statements cannot leave it to write.
    pub(super) fn suits(self, level: Isolation) -> bool {
        match self {
            Self::ReadWrite => level == Isolation::ReadCommitted,
            Self::ReadOnly => level != Isolation::Serializable,
        }
    }
}

/// What sessions have that name no isolation level in BEGIN.
#[derive(Debug)]
pub(super) struct DefaultIsolation {
    /// What the client has said of it.
    setting: Option<Arc<str>>,
    level: Isolation,
}

/// What a transaction has said that leaves something in it, as far as it still holds.
#[derive(Debug, Default)]
struct Journal {
    entries: Vec<Entry>,
    bytes: usize,
    /// How much of it came before the transaction had read something.
    before_look: Option<usize>,
    /// More holds the transaction than could be noted.
    is_overfull: bool,
}

#[derive(Debug)]
struct Entry {
    what: What,
    /// The savepoint that it makes, until that is released.
    savepoint: Option<Box<str>>,
}

#[derive(Debug)]
enum What {
    /// To be said again.
    Said(Said),
    /// Something that cannot be made elsewhere: the cursor or portal of this name; or whatever stays to
    /// the transaction's end.
    Held(Option<Box<[u8]>>),
}

impl Entry {
    fn said(&self) -> Option<&Said> {
        match &self.what {
            What::Said(said) => Some(said),
            What::Held(_) => None,
        }
    }

    /// What a server has to be told of it.
    fn again(&self) -> Option<(&[u8], Again)> {
        self.said().map(|said| (&*said.text, Again::Said(said.verdict.clone())))
    }
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
            Some(Effect::Savepoint(name)) => self.push(What::Said(said), Some(name)),
            Some(Effect::RollbackTo(name)) => {
                if let Some(at) = self.position(&name) {
                    self.truncate(at + 1);
                }
            }
            Some(Effect::Release(name)) => self.release(&name, said),
            _ => self.push(What::Said(said), None),
        }
    }

    /// Something is about to be there that cannot be made elsewhere.
    fn hold(&mut self, name: Option<&[u8]>) {
        if self.has_room(1, 0) {
            self.push(What::Held(name.map(Into::into)), None);
        } else {
            self.is_overfull = true;
        }
    }

    /// A cursor or portal is closed; all of them, if it has no name.
    fn close(&mut self, name: Option<&[u8]>) {
        let is_closed = |entry: &Entry| match &entry.what {
            What::Held(Some(held)) => name.is_none_or(|name| **held == *name),
            What::Held(None) | What::Said(_) => false,
        };
        let before = self.entries.iter().take(self.before_look.unwrap_or(0));
        let gone = before.filter(|entry| is_closed(entry)).count();
        self.before_look = self.before_look.map(|before| before - gone);
        self.entries.retain(|entry| !is_closed(entry));
    }

    fn holds(&self) -> bool {
        self.is_overfull || self.entries.iter().any(|entry| entry.said().is_none())
    }

    /// The transaction has read something.
    fn look(&mut self) {
        self.before_look.get_or_insert(self.entries.len());
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
        self.push(What::Said(said), None);
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.savepoint.as_deref() == Some(name))
    }

    fn push(&mut self, what: What, savepoint: Option<Box<str>>) {
        self.entries.push(Entry { what, savepoint });
        self.count_bytes();
    }

    fn truncate(&mut self, length: usize) {
        self.entries.truncate(length);
        self.before_look = self.before_look.map(|before| before.min(length));
        self.count_bytes();
    }

    fn count_bytes(&mut self) {
        let said = self.entries.iter().filter_map(Entry::said);
        self.bytes = said.map(|said| said.text.len()).sum();
    }
}

impl Split {
    fn new(begin: Said, access: AccessMode, standing: Standing) -> Self {
        Self {
            begin,
            access,
            isolation: None,
            journal: Journal::default(),
            standing,
            least: Target::Replica,
            view: View::None,
            steps: VecDeque::new(),
            error: None,
        }
    }

    fn of_level(self, isolation: Option<Isolation>) -> Self {
        Self { isolation, ..self }
    }

    /// Whether it can leave its replica for another server.
    fn may_leave(&self) -> bool {
        let has_one_snapshot = self.isolation != Some(Isolation::ReadCommitted);
        !(has_one_snapshot && self.view == View::Shown || self.journal.holds())
    }

    /// Whether a statement like this is to be said again elsewhere.
    fn keeps(verdict: &Verdict) -> bool {
        match verdict.trace {
            Trace::Repeatable => true,
            Trace::Held => verdict.set_transaction.is_some(),
            Trace::None | Trace::Bound => false,
        }
    }

    /// A statement is on its way that may take a snapshot.
    fn note_look(&mut self, verdict: &Verdict) {
        let looks = match verdict.trace {
            Trace::None | Trace::Held | Trace::Bound => true,
            // set_config() is called by a query; READ COMMITTED takes another one for the next.
            Trace::Repeatable => self.isolation == Some(Isolation::RepeatableRead),
        };
        let is_read = looks && !verdict.shows_nothing && !verdict.controls_transaction;
        if self.view == View::None && is_read {
            self.view = View::Asked;
        }
    }

    /// A statement is on its way that may hold the transaction where it is.
    fn note_hold(&mut self, verdict: &Verdict) {
        if verdict.trace == Trace::Held && verdict.set_transaction.is_none() {
            self.hold(declared(verdict));
        }
    }

    /// Something is about to be there that cannot be made elsewhere. A READ WRITE transaction has no such
    /// thing on a replica, but where it fails.
    fn hold(&mut self, name: Option<&[u8]>) {
        if self.access == AccessMode::ReadOnly {
            self.journal.hold(name);
        }
    }

    /// What it has asked for is answered.
    fn shown(&mut self) {
        if self.view == View::Asked {
            self.view = View::Shown;
            self.journal.look();
        }
    }

    /// What a server has to be told, in this order, each in a query of its own.
    fn steps(&self) -> impl Iterator<Item = (&[u8], Again)> {
        let begin = [(&*self.begin.text, Again::Begin)];
        let before = self.journal.before_look.unwrap_or(0).min(self.journal.entries.len());
        let (before, behind) = self.journal.entries.split_at(before);
        let look = (self.view == View::Shown).then_some((LOOK, Again::Look));
        let fail = (self.standing == Standing::Failed).then_some((FAIL, Again::Fail));
        let said = before
            .iter()
            .filter_map(Entry::again)
            .chain(look)
            .chain(behind.iter().filter_map(Entry::again));
        begin.into_iter().chain(said).chain(fail)
    }
}

/// The cursor that a text declares, if that is all that holds its transaction.
fn declared(verdict: &Verdict) -> Option<&[u8]> {
    verdict.effects.iter().find_map(|(_, effect)| match effect {
        Effect::Declare(name) => Some(name.as_bytes()),
        _ => None,
    })
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
    /// What the transaction says of itself that is open, or begins with what lies ahead, if it may leave
    /// its replica.
    pub(super) fn split_access(&self) -> Option<AccessMode> {
        match &self.split {
            Some(split) => Some(split.access),
            None => self.foresight.begins().map(|begins| begins.access),
        }
    }

    /// Whether a BEGIN opens such a transaction.
    pub(super) fn splits(&self, verdict: &Verdict) -> Option<AccessMode> {
        let is_free = self.mode == PoolMode::Transaction
            && self.split.is_none()
            && self.status() == TransactionStatus::Idle
            && self.track.now().pins.is_empty()
            && !self.track.is_refused();
        if is_free { self.router.splits(verdict, self.facts()) } else { None }
    }

    /// The level of a transaction that names this one, or none, as far as that is known.
    pub(super) fn level(&self, named: Option<Isolation>) -> Option<Isolation> {
        named.or_else(|| {
            let known = self.default_isolation.as_ref()?;
            let is_current = known.setting.as_ref() == self.isolation_setting();
            is_current.then_some(known.level)
        })
    }

    fn isolation_setting(&self) -> Option<&Arc<str>> {
        self.track.now().client.get("default_transaction_isolation")
    }

    /// Whether a simple query that found no server is a BEGIN that needs none yet.
    pub(super) fn begins_later(&self) -> bool {
        self.foresight.begins().is_some_and(|begins| begins.opening.is_alone())
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
        let begins = self.foresight.begins();
        let (Some(verdict), Some(begins)) = (self.foresight.take(), begins) else {
            return Step::Wait(Next::Reply);
        };
        self.foresight.forget();
        self.statements.unnamed = None;
        let begin = Said { text: sql.into(), verdict };
        let level = self.level(begins.opening.isolation);
        let split = Split::new(begin, begins.access, Standing::Deferred).of_level(level);
        self.split = Some(Box::new(split));
        self.resume = Some(Resume::Split);
        self.refusal.status = TransactionStatus::Transaction;
        to_client.own(|out| {
            message::command_complete(begins.opening.tag, out);
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
            return Split::keeps(verdict).then(|| Box::new(said));
        }
        self.opens(said);
        None
    }

    /// A simple query is on its way that begins such a transaction and goes on in it.
    pub(super) fn opens_in_text(&mut self, verdict: &Arc<Verdict>) {
        let rest = verdict.opening.and_then(|opening| opening.rest);
        let (Some(modes), Some(rest)) = (verdict.begin, rest) else {
            return;
        };
        let text = modes.begin().into_bytes().into();
        if self.opens(Said { text, verdict: verdict.clone() })
            && let Some(split) = &mut self.split
        {
            split.view = View::Asked;
            if rest > Trace::None {
                split.hold(None);
            }
        }
    }

    /// The BEGIN that was foreseen is on its way to a replica; false if it is none, or goes elsewhere.
    fn opens(&mut self, begin: Said) -> bool {
        let (Some(opening), Some(begins)) = (begin.verdict.opening, self.foresight.begins()) else {
            return false;
        };
        let is_open = matches!(
            &self.link,
            Link::Attached(attached)
                if attached.role == Target::Replica && attached.status == TransactionStatus::Idle
        );
        if is_open {
            let level = self.level(opening.isolation);
            let split = Split::new(begin, begins.access, Standing::Open).of_level(level);
            self.split = Some(Box::new(split));
            self.router.opened_on_replica(begins.access);
        }
        is_open
    }

    /// SET TRANSACTION READ ONLY behind a BEGIN that is all the primary has heard of its transaction: it
    /// begins again on a replica. True if so.
    pub(super) fn begins_again(&mut self, verdict: &Verdict, to_server: &mut Outgoing) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        let Some(modes) = verdict.set_transaction.filter(|_| !self.fresh_begin.is_empty()) else {
            return false;
        };
        let is_free = attached.role == Target::Primary
            && attached.status == TransactionStatus::Transaction
            && attached.pipeline.is_empty()
            && self.track.now().pins.is_empty()
            && self.fresh_begin.len() <= MAX_SAID_AGAIN_BYTES;
        if !is_free || self.router.splits(verdict, self.facts()) != Some(AccessMode::ReadOnly) {
            return false;
        }
        let text = std::mem::take(&mut self.fresh_begin);
        let begin = self.judge(&text);
        let named = modes.isolation.or(begin.begin.and_then(|modes| modes.isolation));
        let begin = Said { text: text.into(), verdict: begin };
        let split = Split::new(begin, AccessMode::ReadOnly, Standing::Open);
        self.split = Some(Box::new(split.of_level(self.level(named))));
        self.router.opened_on_replica(AccessMode::ReadOnly);
        self.rolls_back(to_server);
        self.leaves_server(Target::Replica, TransactionStatus::Transaction);
        true
    }

    /// The text of a statement that is bound, if it is worth keeping until its Execute.
    pub(super) fn text_to_keep(
        &self,
        name: &[u8],
        verdict: Option<&Arc<Verdict>>,
    ) -> Option<Box<[u8]>> {
        let verdict = verdict?;
        let is_kept = match &self.split {
            Some(_) => Split::keeps(verdict),
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
        if self.split.is_none() || !Split::keeps(verdict) {
            return None;
        }
        let (text, _) = crate::frame::split_cstr(frame.body()?)?;
        Some(Box::new(Said { text: text.into(), verdict: verdict.clone() }))
    }

    /// It has succeeded.
    pub(super) fn note_said(&mut self, said: Said) {
        let Some(split) = &mut self.split else {
            return;
        };
        let modes = said.verdict.set_transaction;
        split.isolation = modes.and_then(|modes| modes.isolation).or(split.isolation);
        // One that is READ WRITE has gone to the primary before there is no room.
        let is_kept = split.access == AccessMode::ReadWrite;
        if is_kept || split.journal.has_room(1, said.text.len()) {
            split.journal.note(said);
        } else {
            split.journal.is_overfull = true;
        }
    }

    /// A statement is on its way.
    pub(super) fn note_read(&mut self, verdict: &Verdict) {
        if let Some(split) = &mut self.split {
            split.note_look(verdict);
            split.note_hold(verdict);
        }
    }

    /// A statement is on its way to be prepared.
    pub(super) fn note_parsed(&mut self, verdict: &Verdict) {
        if let Some(split) = &mut self.split {
            split.note_look(verdict);
        }
    }

    /// A portal with a name is on its way.
    pub(super) fn note_named_portal(&mut self, name: &[u8]) {
        if let Some(split) = self.split.as_mut().filter(|_| !name.is_empty()) {
            split.hold(Some(name));
        }
    }

    /// A cursor or portal is closed; all of them, if it has no name.
    pub(super) fn cursor_closed(&mut self, name: Option<&[u8]>) {
        if let Some(split) = &mut self.split {
            split.journal.close(name);
        }
    }

    /// A piece of the client's work is answered.
    pub(super) fn split_answered(&mut self, status: TransactionStatus) {
        let Some(split) = &mut self.split else {
            return;
        };
        split.shown();
        // What has one snapshot stays where that was shown.
        let stays = split.view == View::Shown && split.isolation != Some(Isolation::ReadCommitted);
        let is_over = status == TransactionStatus::Idle || stays;
        if is_over && !self.is_between_servers() {
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
        self.split.as_ref().is_some_and(|split| split.may_leave())
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
        let status = attached.status;
        self.rolls_back(to_server);
        self.leaves_server(Target::Primary, status);
        self.note_move(Move::Statement);
    }

    /// Ends the transaction here, to go on with it elsewhere.
    fn rolls_back(&mut self, to_server: &mut Outgoing) {
        if let Link::Attached(attached) = &mut self.link {
            if attached.has_lent_names() {
                attached.take_names_back(to_server);
            }
            attached.run(Errand::Leave, b"ROLLBACK", to_server);
            attached.stage = Stage::Leaving;
        }
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

    fn note_move(&mut self, why: Move) {
        if let Some(split) = &self.split {
            self.router.moved(split.access, why);
        }
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
        split.shown();
        if !split.may_leave() {
            self.split = None;
            return false;
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
                self.note_move(why);
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
        self.note_move(Move::Lost);
        true
    }

    /// Finds out, once, what isolation level the transaction has that is about to begin on a replica. True
    /// while that is to be waited for.
    pub(super) fn asks_isolation(&mut self, to_server: &mut Outgoing) -> bool {
        let named = match &self.split {
            Some(split) if self.is_between_servers() => split.isolation,
            Some(_) => return false,
            None => match self.foresight.begins() {
                Some(begins) => begins.opening.isolation,
                None => return false,
            },
        };
        if self.level(named).is_some() {
            // A server that was lost since may have told.
            return named.is_none() && self.isolation_known();
        }
        let setting = self.isolation_setting().cloned();
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        if attached.role == Target::Primary || attached.status != TransactionStatus::Idle {
            return false;
        }
        if let Some(level) = attached.facts.isolation.filter(|_| setting.is_none()) {
            self.default_isolation = Some(DefaultIsolation { setting, level });
            return self.isolation_known();
        }
        attached.run(Errand::Isolation, ASK_ISOLATION, to_server);
        true
    }

    /// The server's answer.
    pub(super) fn note_isolation(&mut self, row: &[u8]) {
        let mut row = Cursor::new("DataRow", row);
        let level = row.i16().ok().and_then(|_| column(&mut row)).flatten();
        let level = match level.as_deref() {
            Some("read committed" | "read uncommitted") => Isolation::ReadCommitted,
            Some("repeatable read") => Isolation::RepeatableRead,
            _ => Isolation::Serializable,
        };
        let setting = self.isolation_setting().cloned();
        if let (None, Link::Attached(attached)) = (&setting, &mut self.link) {
            attached.facts.isolation = Some(level);
        }
        self.default_isolation = Some(DefaultIsolation { setting, level });
    }

    /// It has answered. True if the transaction goes to the primary.
    pub(super) fn isolation_known(&mut self) -> bool {
        let level = self.level(None).unwrap_or(Isolation::Serializable);
        if let Some(split) = &mut self.split {
            split.isolation = split.isolation.or(Some(level));
        }
        if self.split_access().is_none_or(|access| access.suits(level)) {
            return false;
        }
        let setting = self.isolation_setting().cloned();
        self.default_isolation = Some(DefaultIsolation { setting, level });
        if let Some(split) = &mut self.split {
            split.least = Target::Primary;
        }
        self.foresight.forget();
        if let Link::Attached(attached) = &mut self.link {
            attached.stage = Stage::Leaving;
        }
        true
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
                self.router.opened_on_replica(split.access);
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
        let said = journal.entries.iter().filter_map(Entry::said);
        let texts = said.map(|said| String::from_utf8_lossy(&said.text));
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
    fn a_cursor_holds_until_it_is_closed_or_rolled_back() {
        for (statements, expected) in [
            ("hold c", true),
            ("hold c, close c", false),
            ("hold c, close d", true),
            ("hold c, hold d, close *", false),
            ("savepoint s, hold c, back s", false),
            ("hold c, savepoint s, hold d, back s", true),
            ("savepoint s, hold c, release s", true),
            ("savepoint s, hold c, release s, close c", false),
            // What has no name stays to the end.
            ("hold *, close *", true),
            ("savepoint s, hold *, back s", false),
        ] {
            let mut journal = Journal::default();
            for text in statements.split(", ") {
                match text.split_once(' ') {
                    Some(("hold", "*")) => journal.hold(None),
                    Some(("hold", name)) => journal.hold(Some(name.as_bytes())),
                    Some(("close", "*")) => journal.close(None),
                    Some(("close", name)) => journal.close(Some(name.as_bytes())),
                    _ => journal.note(said(text)),
                }
            }
            assert_eq!(journal.holds(), expected, "{statements}");
        }
    }

    #[test]
    fn what_was_read_is_read_again_in_its_place() {
        let mut journal = Journal::default();
        journal.note(said("set a"));
        journal.hold(Some(b"c"));
        journal.note(said("savepoint s"));
        journal.look();
        journal.note(said("set b"));
        journal.look();
        assert_eq!(journal.before_look, Some(3));
        journal.close(Some(b"c"));
        assert_eq!(journal.before_look, Some(2));
        journal.note(said("release s"));
        journal.note(said("savepoint t"));
        assert_eq!(journal.before_look, Some(2));
        let mut journal = Journal::default();
        journal.note(said("savepoint s"));
        journal.note(said("savepoint t"));
        journal.look();
        journal.note(said("back s"));
        assert_eq!(journal.before_look, Some(1));
    }

    #[test]
    fn more_than_can_be_noted_holds_for_good() {
        let mut journal = Journal::default();
        for _ in 0..=MAX_SAID_AGAIN {
            journal.hold(Some(b"c"));
        }
        journal.close(None);
        assert!(journal.holds());
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
