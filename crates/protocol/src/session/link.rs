//! The session's tie to a server connection: attaching, bringing it up to date, letting go.

use std::collections::VecDeque;

use crate::frame::HEADER_LENGTH;
use crate::message::{self, TransactionStatus};
use crate::outgoing::Outgoing;
use crate::pipeline::{Errand, Owed, Pipeline};
use crate::report::ServerReport;
use crate::server::{SequenceMemory, ServerFacts};
use crate::settings::{IDENTITY, transition, transition_from_anything};
use crate::sqlstate::SqlState;
use crate::verdict::{Pins, Router, Target};

use super::lending::Step;
use super::{Fate, PoolMode, Session};

/// Whether and how the session has a server connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made for each piece of work: no allocation")]
pub(super) enum Link {
    Detached,
    Attached(Attached),
}

/// The session's side of a leased server connection.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) facts: Box<ServerFacts>,
    pub(super) role: Target,
    pub(super) stage: Stage,
    pub(super) pipeline: Pipeline,
    pub(super) status: TransactionStatus,
    /// An error has come since the last ReadyForQuery.
    pub(super) failed: bool,
    pub(super) ran: Ran,
    /// An errand is under way: the client's messages wait for its end.
    pub(super) errand: Option<Errand>,
    /// The error the errand has met, as a whole frame.
    pub(super) errand_error: Option<Vec<u8>>,
    /// What it is being told of the statements that the client has prepared in SQL.
    pub(super) steps: VecDeque<Step>,
    /// Of those statements, what it has refused.
    pub(super) unmade: Vec<Box<str>>,
    /// The client's names that its protocol-level statements go by on this server for now.
    pub(super) lent: Vec<Box<[u8]>>,
    /// Nobody knows any more what is in force on it.
    pub(super) tainted: bool,
    /// The server's last error, the one that ends its connection.
    pub(super) last_words: Option<LastWords>,
}

/// What a server says before it closes its connection.
#[derive(Debug)]
pub(super) struct LastWords {
    pub(super) message: String,
    /// The whole ErrorResponse, for a client whose connection ends with the server's; none if it was only
    /// a notice.
    pub(super) error: Option<Vec<u8>>,
    /// It hangs up for what the client has said.
    pub(super) blames_client: bool,
    /// It goes on with everybody else.
    pub(super) concerns_session: bool,
}

/// What a server ends one session with, and not others.
pub(super) const SESSION_ENDS: [SqlState; 4] = [
    SqlState::PROTOCOL_VIOLATION,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    SqlState::IDLE_SESSION_TIMEOUT,
    SqlState::DATABASE_DROPPED,
];

/// What has been sent since the last transaction's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ran {
    /// Something that counts as a write.
    pub(super) write: bool,
    /// Something that may have changed the schema.
    pub(super) definition: bool,
    /// Something that begins or ends a transaction, or a part of one, since the last ReadyForQuery.
    pub(super) control: bool,
}

/// How far the session is with a server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The message it was asked for has not gone out yet.
    Awaited,
    /// It is at work.
    Serving,
    /// The session moves to another server as soon as nothing is owed.
    Leaving,
}

/// A transaction to take up again on the next server.
#[derive(Debug)]
pub(super) enum Resume {
    /// The failed transaction of a server that was lost.
    Failed,
    /// A pipeline that had run nothing yet.
    Pipeline,
    /// The transaction that has left its replica, or was on no server yet.
    Split,
}

/// Why a server connection comes back, and what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Clean: anybody may have it.
    Reuse,
    /// It holds state of this client, or its own state is not known.
    Discard,
}

/// What a server does for the client at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It waits for the client, or there is no server.
    Nothing,
    /// It runs what is proven to write nothing, in a transaction that has written nothing.
    Reading,
    /// It runs anything else.
    Writing,
}

/// How many connections are given up, one after the other, whose settings cannot be undone.
const MAX_TRIES: u8 = 3;

/// Makes a server's session fail the way the lost one did; what follows gets PostgreSQL's own 25P02.
const FAIL: &str = "BEGIN;DO $$BEGIN RAISE EXCEPTION USING ERRCODE='08006', \
     MESSAGE='pgweir: the server connection of this transaction was lost'; END$$";

impl<R: Router> Session<R> {
    /// The driver has a server connection for the session.
    pub fn attach(&mut self, mut facts: Box<ServerFacts>, role: Target, to_server: &mut Outgoing) {
        facts.last_session = Some(self.id);
        self.track.attach(&facts.in_force);
        if self.mode == PoolMode::Session {
            self.track.pin(Pins::SESSION_MODE);
        }
        self.link = Link::Attached(Attached {
            facts,
            role,
            stage: Stage::Awaited,
            pipeline: Pipeline::default(),
            status: TransactionStatus::Idle,
            failed: false,
            ran: Ran::default(),
            errand: None,
            errand_error: None,
            steps: VecDeque::new(),
            unmade: Vec::new(),
            lent: Vec::new(),
            tainted: false,
            last_words: None,
        });
        if !self.is_between_servers() {
            self.refusal.status = TransactionStatus::Idle;
        }
        self.replay.attached();
        if let Some(Resume::Pipeline) = self.resume {
            // It goes on by itself: its next message is the one that waits.
            self.resume = None;
        }
        self.prepare_server(to_server);
    }

    /// Sends whatever has to happen on the server before the client's next message; true while
    /// that message has to wait for it.
    pub(super) fn prepare_server(&mut self, to_server: &mut Outgoing) -> bool {
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        if attached.is_busy() {
            return true;
        }
        if !attached.pipeline.is_empty() {
            return false;
        }
        let is_unclear = attached.facts.unlisted.is_some_and(|client| client != self.id);
        if (self.track.differs() || is_unclear)
            && !(self.track.is_refused() && self.foresight.only_sets())
            && attached.status != TransactionStatus::Failed
            && !(self.track.is_refused() && matches!(self.resume, Some(Resume::Failed)))
        {
            let now = self.track.now();
            let sql = match is_unclear {
                false => transition(&now.server, &now.client),
                true => transition_from_anything(&now.client),
            };
            attached.run(Errand::Settings, sql.as_bytes(), to_server);
            return true;
        }
        if attached.status == TransactionStatus::Idle
            && !self.track.differs()
            && attached.is_brought(self.statements.sql.texts(), to_server)
        {
            return true;
        }
        if self.asks_isolation(to_server) {
            return true;
        }
        if self.is_between_servers() {
            self.take_up(to_server);
            return true;
        }
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        match self.resume.take() {
            Some(Resume::Failed) => {
                attached.run(Errand::Fail, FAIL.as_bytes(), to_server);
                true
            }
            Some(Resume::Pipeline | Resume::Split) | None => false,
        }
    }

    /// An errand has ended: ReadyForQuery has come for it.
    pub(super) fn errand_ended(&mut self, errand: Errand, to_client: &mut Outgoing) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        attached.errand = None;
        let error = attached.errand_error.take();
        match (errand, error) {
            (Errand::Statements, error) => self.step_taken(error),
            (Errand::Lend | Errand::TakeBack, None) => {}
            (Errand::Lend | Errand::TakeBack, Some(_)) => attached.tainted = true,
            (Errand::Inspect, error) => self.inspected(error.is_some()),
            (Errand::Position, _) => self.whereabouts.answered(),
            (Errand::Settings, None) => {
                self.tries = 0;
                self.track.synchronised();
                attached.facts.unlisted =
                    attached.facts.unlisted.filter(|client| *client == self.id);
                attached.facts.in_force = self.track.now().client.clone();
                if attached.status == TransactionStatus::Idle {
                    self.track.settle();
                }
                // Of a transaction that is taken up, the client has been told more already.
                if !self.is_between_servers() {
                    self.report_differences(to_client);
                }
            }
            (Errand::Leave, None) => {
                attached.stage = Stage::Leaving;
                if attached.status == TransactionStatus::Idle {
                    self.track.rollback();
                }
            }
            (Errand::Again, error) => self.said_again(error, to_client),
            (Errand::Isolation, None) => {
                self.isolation_known();
            }
            (Errand::Sequences, None) => {}
            // The transaction has failed: so does what asks.
            (Errand::Sequences, Some(_)) => attached.facts.sequences = SequenceMemory::Mixed,
            (Errand::Check, None) | (Errand::Fail, _) => {}
            (_, Some(error)) => self.errand_failed(errand, error),
        }
    }

    fn errand_failed(&mut self, errand: Errand, error: Vec<u8>) {
        if errand == Errand::Settings
            && (self.forgets_refused(&error) || self.tries_another(&error))
        {
            return;
        }
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        // The client's message never ran: it gets the errand's error as its answer. Settings are made
        // in one transaction, which has left no trace.
        attached.tainted |= errand != Errand::Settings;
        if attached.stage == Stage::Awaited {
            attached.stage = Stage::Leaving;
        }
        if self.is_between_servers() {
            // What no server takes from it would keep the client from ending its transaction.
            self.split = None;
            self.resume = Some(Resume::Failed);
        }
        self.give_up_resuming(false);
        self.refusal.refuse_next(error);
    }

    /// What the last client has left in force may not be undone by this one (it may have been set on its
    /// behalf by a function with more rights), or not in the statement_timeout that it has left: such a
    /// connection is given up for another.
    fn tries_another(&mut self, error: &[u8]) -> bool {
        let report = ServerReport::parse(error.get(HEADER_LENGTH..).unwrap_or_default());
        let is_cancelled = report.is_some_and(|report| report.code == SqlState::QUERY_CANCELED);
        let now = self.track.now();
        let is_strange = now.server.iter().any(|(name, _)| now.client.get(name).is_none());
        let Link::Attached(attached) = &mut self.link else {
            return false;
        };
        let is_free = matches!(self.resume, None | Some(Resume::Split));
        let can_leave = attached.stage == Stage::Awaited && is_free;
        if !(is_cancelled || is_strange) || !can_leave || self.tries >= MAX_TRIES {
            return false;
        }
        self.tries += 1;
        attached.tainted = true;
        attached.stage = Stage::Leaving;
        true
    }

    /// What was a good value may be none any more: a tablespace is dropped, a library turns out not to
    /// know a custom setting that was made before it was loaded. A direct connection would go on
    /// without; so does this one. Not without its role or user: there the client has to say what it
    /// wants now, and nothing else runs before. True if there was such a setting.
    fn forgets_refused(&mut self, error: &[u8]) -> bool {
        self.track.refused();
        let is_idle = matches!(
            &self.link,
            Link::Attached(attached) if attached.status == TransactionStatus::Idle
        );
        let report = ServerReport::parse(error.get(HEADER_LENGTH..).unwrap_or_default());
        let Some(report) = report.filter(|report| is_idle && is_about_the_value(report.code))
        else {
            return false;
        };
        let made = self.track.now().client.iter().map(|(name, _)| name);
        let is_named =
            |name: &&str| !IDENTITY.contains(name) && names(&report.message.to_lowercase(), name);
        let refused: Vec<Box<str>> = made.filter(is_named).map(Into::into).collect();
        for name in &refused {
            self.track.forget(name);
        }
        !refused.is_empty()
    }

    /// What was to be taken up again on another server cannot be: a transaction has failed then,
    /// and stays so until the client ends it.
    pub(super) fn give_up_resuming(&mut self, in_transaction: bool) {
        if self.fails_between_servers(in_transaction) {
            return;
        }
        let begun = matches!(self.resume, Some(Resume::Failed));
        if in_transaction || begun {
            self.refusal.status = TransactionStatus::Failed;
            self.resume = Some(Resume::Failed);
        } else {
            self.resume = None;
        }
    }

    /// Tells the client what its settings now read like, where that is not what it was told.
    pub(super) fn report_differences(&mut self, to_client: &mut Outgoing) {
        let Link::Attached(attached) = &self.link else {
            return;
        };
        for (name, value) in attached.facts.reported.iter() {
            if !SERVERS_OWN.contains(&name) && self.reported.note(name, value) {
                to_client.own(|out| message::parameter_status(name, value, out));
            }
        }
        self.note_environment();
    }

    /// Leaves this server for the primary: undoes the pipeline begun on it, and the transaction that it is
    /// in.
    pub(super) fn leave(&mut self, to_server: &mut Outgoing) {
        if self.may_move() {
            return self.moves(to_server);
        }
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        to_server.own(message::sync);
        attached.pipeline.push(Owed::OwnSync);
        attached.errand = Some(Errand::Leave);
        self.resume = Some(Resume::Pipeline);
    }

    /// Whether the client is between transactions, with nothing asked and nothing owed.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_served = match &self.link {
            Link::Detached => self.status() == TransactionStatus::Idle,
            Link::Attached(attached) => {
                attached.pipeline.is_empty() && attached.status == TransactionStatus::Idle
            }
        };
        is_served
            && !self.in_pipeline
            && self.resume.is_none()
            && !self.replay.is_again()
            && self.from_client.left == 0
    }

    /// Whether the server has ended this session for a reason that concerns nobody else: it is as well as
    /// it was.
    #[must_use]
    pub fn is_ended_alone(&self) -> bool {
        let Link::Attached(attached) = &self.link else { return false };
        attached.last_words.as_ref().is_some_and(|words| words.concerns_session)
    }

    /// What the server does at this moment, for whoever thinks of disturbing it.
    #[must_use]
    pub fn work(&self) -> Work {
        match &self.link {
            Link::Attached(attached) if !attached.pipeline.is_empty() => {
                if attached.ran.write {
                    Work::Writing
                } else {
                    Work::Reading
                }
            }
            _ => Work::Nothing,
        }
    }

    /// Whether everything that the client has asked for was answered, transaction open or not.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        match &self.link {
            Link::Detached => self.resume.is_none() && !self.replay.is_again(),
            Link::Attached(attached) => {
                attached.stage == Stage::Serving
                    && attached.pipeline.is_empty()
                    && !self.in_pipeline
            }
        }
    }

    /// Whether the server connection is no longer needed: [`Self::detach`] it.
    #[must_use]
    pub fn wants_detach(&self) -> bool {
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        let is_idle = attached.pipeline.is_empty()
            && !attached.pipeline.is_skipping()
            && attached.errand.is_none()
            && attached.status == TransactionStatus::Idle;
        let is_clear =
            self.mode == PoolMode::Session || (self.doubt.is_none() && !attached.has_lent_names());
        is_idle
            && match attached.stage {
                Stage::Awaited => false,
                Stage::Serving => {
                    is_clear
                        && !self.in_pipeline
                        && self.refusal.is_none()
                        && self.track.now().pins.is_empty()
                }
                Stage::Leaving => true,
            }
    }

    /// Hands back the server connection's facts and says whether others may use it.
    pub fn detach(&mut self) -> Option<(Box<ServerFacts>, Disposition)> {
        let Link::Attached(attached) = std::mem::replace(&mut self.link, Link::Detached) else {
            return None;
        };
        self.portals.clear();
        self.fresh_begin.clear();
        self.replay.forget();
        let in_doubt = !std::mem::take(&mut self.doubt).is_none();
        // What is left of a message has no one to go to: late copy data.
        self.from_client.fate = Fate::Drop;
        // Without its Sync, what a pipeline has done is neither committed nor undone.
        let is_open = self.in_pipeline && attached.stage == Stage::Serving;
        let clean = !attached.tainted
            && !attached.has_lent_names()
            && !in_doubt
            && !is_open
            && attached.pipeline.is_empty()
            && !attached.pipeline.is_skipping()
            && attached.status == TransactionStatus::Idle
            && self.from_server.left == 0
            && self.from_client.left == 0
            && self.track.now().pins.without(Pins::SESSION_MODE).is_empty();
        let mut facts = attached.facts;
        let Some(in_force) = Some(&self.track.now().server).filter(|_| clean) else {
            return Some((facts, Disposition::Discard));
        };
        if facts.in_force != *in_force {
            facts.in_force = in_force.clone();
        }
        Some((facts, Disposition::Reuse))
    }
}

impl Attached {
    /// Whether the client's messages have to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.errand.is_some() || self.stage == Stage::Leaving
    }

    /// Notes that a message of the client is on its way, and what the server owes for it.
    pub(super) fn owe(&mut self, owed: Owed) {
        self.stage = Stage::Serving;
        self.pipeline.push(owed);
    }

    pub(super) fn run(&mut self, errand: Errand, sql: &[u8], to_server: &mut Outgoing) {
        to_server.own(|out| message::query(sql, out));
        self.pipeline.push(Owed::Errand(errand));
        self.errand = Some(errand);
        // A simple query drops the unnamed statement.
        self.facts.unnamed = None;
    }
}

/// Errors that a value meets, not whoever sets it.
fn is_about_the_value(code: SqlState) -> bool {
    matches!(
        code,
        SqlState::INVALID_PARAMETER_VALUE | SqlState::UNDEFINED_OBJECT | SqlState::INVALID_NAME
    )
}

/// Whether a message names a setting; PostgreSQL quotes it in every language.
fn names(message: &str, setting: &str) -> bool {
    message.contains(&format!("\"{setting}\""))
}

/// Parameters that say what a server is, not what its client set: they differ between servers, and
/// a client that was told one server's value is not told another's.
pub(super) const SERVERS_OWN: [&str; 4] =
    ["in_hot_standby", "server_version", "server_encoding", "integer_datetimes"];
