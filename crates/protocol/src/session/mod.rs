//! One client's life as a machine: bytes and facts in, actions out.
//!
//! The driver owns two sockets at most, the client's and that of the server connection the client
//! has for the moment, and feeds [`Session`] what it reads. The session answers with what goes out
//! on either side and with what must happen before it can go on ([`Next`]): a server connection
//! for some [`Target`], more bytes, the server's reply. It knows no socket, no clock and no SQL;
//! about SQL it asks its [`Router`].
//!
//! A client is attached to a server from the first message of a piece of work (a simple query, or
//! an extended-query pipeline up to its Sync) until nothing is owed, no transaction is open and
//! nothing pins it; then [`Session::detach`] hands the server's facts back. What goes to a server
//! is matched against what it owes ([`crate::pipeline`]); what the client has set is carried along
//! ([`crate::settings`]), and so are its prepared statements ([`crate::prepared`]).

mod client;
mod extended;
mod foresight;
mod inspection;
mod lending;
mod link;
mod loss;
mod outdated;
mod position;
mod replay;
mod sequences;
mod server;
mod split;
mod statements;

use std::sync::Arc;

use crate::frame::MAX_MESSAGE_LENGTH;
use crate::message::TransactionStatus;
use crate::outgoing::Outgoing;
use crate::parameters::Parameters;
use crate::prepared::{ClientStatements, StatementRegistry, UnnamedId};
use crate::report::{Report, Severity};
use crate::server::carried_mark;
use crate::settings::{SettingsMap, SettingsTrack};
use crate::sqlstate::SqlState;
use crate::verdict::{AccessMode, Router, SessionFacts, Target, Verdict};

pub use link::{Disposition, Work};
pub use loss::Loss;
pub use position::Stood;
pub use replay::{MAX_REPLAYED, MAX_REPLAYS, MAX_WITHHELD};
pub use split::{MAX_SAID_AGAIN, MAX_SAID_AGAIN_BYTES};

use foresight::Foresight;
use inspection::Doubt;
use link::Link;
use loss::Refusal;
use position::Whereabouts;
use replay::Replay;
use sequences::Sequences;
use split::{DefaultIsolation, Split};

/// The longest text, in bytes, that is looked into; a longer one goes to the primary unread.
pub const MAX_INSPECTED_SQL: usize = 1 << 20;

/// What a server gets in the place of a statement that it is not to run: a syntax error, which is found
/// before anything else, and says in the server's log what it was.
const DENIED: &str = "pgweir has refused a statement";

/// The most bytes of a pipeline that are looked ahead at to find its home.
pub const MAX_FORESIGHT: usize = 64 << 10;

/// The largest server message, in bytes, that is read whole before it is passed.
pub const MAX_INSPECTED_REPLY: usize = 1 << 20;

/// The longest message of a server that goes to the client only as a whole. Who has half of a longer one
/// when the server is lost cannot be told anything more. As much as PostgreSQL itself sends at a time
/// (`PQ_SEND_BUFFER_SIZE`).
pub const MAX_UNTORN: usize = 8 << 10;

/// The most portals of a client that are told apart; one with more is pinned to its server.
pub const MAX_PORTALS: usize = 1024;

/// The longest name, in bytes, of a portal that is kept.
pub const MAX_PORTAL_NAME: usize = 256;

/// How a client shares server connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// A server connection belongs to the client for one transaction.
    Transaction,
    /// A server connection belongs to the client from its first statement to its end.
    Session,
    /// A server connection belongs to the client for one statement: transactions of several are
    /// refused (`session::statements`).
    Statement,
}

/// What a session is made from.
#[derive(Debug)]
pub struct SessionStart {
    /// How server connections are shared.
    pub mode: PoolMode,
    /// The largest client message, in bytes.
    pub max_message: usize,
    /// Unique among this process's sessions: tells its unnamed statements from others'.
    pub id: u32,
    /// The process id that the client was told.
    pub pid: i32,
    /// The statements of all clients.
    pub registry: Arc<StatementRegistry>,
    /// The client's startup parameters as settings.
    pub startup: SettingsMap,
    /// The parameter values the client was told at its start.
    pub reported: Parameters,
}

/// What the session waits for before it takes more of the client's bytes.
#[derive(Debug)]
pub enum Next {
    /// More bytes: at least so many, counted from the first one not consumed.
    Need(usize),
    /// A server connection.
    Attach(Target),
    /// Something the server owes.
    Reply,
    /// The client has said goodbye.
    Close,
    /// The conversation is over, by the client's doing: it has been told so with this code.
    Fatal(SqlState),
}

/// How much of the input was used, and what comes next.
#[derive(Debug)]
pub struct Taken {
    /// Bytes consumed from the input's start. The rest has to be offered again.
    pub consumed: usize,
    /// What the session waits for.
    pub next: Next,
}

/// The server said something it may not say, or ended the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerBroken {
    /// The tag of the message that was not expected, if it came to that.
    pub tag: u8,
}

/// A frame too large to be held whole, passing in pieces.
#[derive(Debug, Clone, Copy, Default)]
struct Passing {
    left: usize,
    fate: Fate,
}

/// What becomes of the pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Forward,
    Drop,
}

impl Passing {
    /// Takes what it can of the input at `at`; returns how far it got.
    fn take(&mut self, at: usize, end: usize, out: &mut Outgoing) -> usize {
        let take = self.left.min(end - at);
        self.left -= take;
        if self.fate == Fate::Forward {
            out.pass(at..at + take);
        }
        at + take
    }
}

/// One client's session.
#[derive(Debug)]
pub struct Session<R> {
    router: R,
    mode: PoolMode,
    max_message: usize,
    registry: Arc<StatementRegistry>,
    /// What the meaning of the client's texts depends on.
    environment: Arc<str>,
    id: u32,
    pid: i32,
    unnamed_count: u32,
    track: SettingsTrack,
    reported: Parameters,
    /// What the client's startup parameters read like: what RESET returns to.
    at_startup: Parameters,
    statements: ClientStatements,
    portals: Vec<(Box<[u8]>, Arc<Verdict>)>,
    link: Link,
    /// Verdicts on messages that were looked at and not yet taken.
    foresight: Foresight,
    /// An extended-query pipeline has begun and not reached its Sync.
    in_pipeline: bool,
    /// A portal was bound or executed since the pipeline began.
    bound_in_pipeline: bool,
    /// The text of the BEGIN that is all the open transaction has done so far.
    fresh_begin: Vec<u8>,
    /// A transaction to take up again on the next server.
    resume: Option<link::Resume>,
    /// The open transaction may leave its replica.
    split: Option<Box<Split>>,
    /// What the unnamed portal runs, if that may have to be said again.
    bound_text: Option<Box<[u8]>>,
    default_isolation: Option<DefaultIsolation>,
    /// What the client's work may have done to its session without saying so.
    doubt: Doubt,
    sequences: Sequences,
    /// Connections given up since the last that could be brought to the client's settings.
    tries: u8,
    /// The client's statements whose results are not what they were, until it closes them.
    outdated: Vec<u64>,
    refusal: Refusal,
    replay: Replay,
    from_client: Passing,
    from_server: Passing,
    wrote: bool,
    whereabouts: Whereabouts,
}

impl<R: Router> Session<R> {
    /// A session whose client has just been let in.
    #[must_use]
    pub fn new(start: SessionStart, router: R) -> Self {
        let mut session = Self {
            router,
            mode: start.mode,
            max_message: start.max_message.min(MAX_MESSAGE_LENGTH),
            registry: start.registry,
            environment: "".into(),
            id: start.id,
            pid: start.pid,
            unnamed_count: 0,
            at_startup: at_startup(&start.startup, &start.reported),
            track: SettingsTrack::new(start.startup),
            reported: start.reported,
            statements: ClientStatements::default(),
            portals: Vec::new(),
            link: Link::Detached,
            foresight: Foresight::default(),
            in_pipeline: false,
            bound_in_pipeline: false,
            fresh_begin: Vec::new(),
            resume: None,
            split: None,
            bound_text: None,
            default_isolation: None,
            doubt: Doubt::default(),
            sequences: Sequences::of(start.id),
            tries: 0,
            outdated: Vec::new(),
            refusal: Refusal::default(),
            replay: Replay::default(),
            from_client: Passing::default(),
            from_server: Passing::default(),
            wrote: false,
            whereabouts: Whereabouts::default(),
        };
        session.note_environment();
        session
    }

    /// The transaction status the client has last been told, or would be told now.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        match &self.link {
            Link::Attached(attached) if !self.is_between_servers() => attached.status,
            _ => self.refusal.status,
        }
    }

    /// What binds the client to its server connection at this moment.
    #[must_use]
    pub fn pins(&self) -> crate::verdict::Pins {
        self.track.now().pins
    }

    /// The settings the client has made.
    #[must_use]
    pub fn settings(&self) -> &SettingsMap {
        &self.track.now().client
    }

    /// Unique among this process's sessions.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Tells what the client carries with it: a server connection with the same mark has it already.
    #[must_use]
    pub fn carried_mark(&self) -> u64 {
        carried_mark(&self.track.now().client, self.statements.sql.texts())
    }

    /// True once when work that counts as a write is acknowledged, or its fate unknown: before the
    /// client hears of it, which it does by what goes out next.
    pub fn take_wrote(&mut self) -> bool {
        std::mem::take(&mut self.wrote)
    }

    /// Takes over what has changed about how the client is served. One that has a server connection for
    /// as long as it stays keeps it.
    pub fn change(&mut self, mode: PoolMode, max_message: usize) {
        if self.mode != PoolMode::Session || matches!(self.link, Link::Detached) {
            self.mode = mode;
        }
        self.max_message = max_message.min(MAX_MESSAGE_LENGTH);
    }

    /// The router, for what it knows of the client.
    pub fn router(&self) -> &R {
        &self.router
    }

    /// The router, for what the driver knows and the router has to learn.
    pub fn router_mut(&mut self) -> &mut R {
        &mut self.router
    }

    fn judge(&mut self, sql: &[u8]) -> Arc<Verdict> {
        let facts = facts(&self.track, &self.reported, &self.environment, None, &self.link);
        self.router.judge(sql, facts)
    }

    fn target(&mut self, verdict: &Verdict) -> Target {
        if self.mode == PoolMode::Session {
            return Target::Primary;
        }
        let split = self.split_access();
        let facts = facts(&self.track, &self.reported, &self.environment, split, &self.link);
        self.router.target(verdict, facts)
    }

    fn facts(&self) -> SessionFacts<'_> {
        facts(&self.track, &self.reported, &self.environment, self.split_access(), &self.link)
    }

    fn next_unnamed(&mut self) -> UnnamedId {
        self.unnamed_count = self.unnamed_count.wrapping_add(1);
        UnnamedId((u64::from(self.id) << 32) | u64::from(self.unnamed_count))
    }

    /// A text means the same to all clients for whom these read the same: how its bytes are read,
    /// and what its constants become when it is prepared.
    fn note_environment(&mut self) {
        let mut environment = String::with_capacity(64);
        for (name, usual) in ENVIRONMENT {
            environment.push_str(self.reported.get(name).unwrap_or(usual));
            environment.push('/');
        }
        if *environment != *self.environment {
            self.environment = environment.into();
        }
    }
}

/// The parameters that a text's meaning depends on, with their usual values. The search path is
/// none of them: PostgreSQL plans a prepared statement again when that has changed.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", ""),
    ("DateStyle", ""),
    ("IntervalStyle", ""),
];

/// How the environment begins where the bytes of a text are read as nearly everywhere.
const USUAL_BYTES: &str = "UTF8/on/";

/// Of what a client was told at its start, what it has asked for itself.
fn at_startup(startup: &SettingsMap, reported: &Parameters) -> Parameters {
    let asked = |name: &str| startup.get(&name.to_ascii_lowercase()).is_some();
    let told = reported.iter().filter(|(name, _)| asked(name));
    told.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What the router may know, borrowed from the fields it comes from.
fn facts<'a>(
    track: &'a SettingsTrack,
    reported: &'a Parameters,
    environment: &str,
    split: Option<AccessMode>,
    link: &Link,
) -> SessionFacts<'a> {
    let status = match link {
        Link::Attached(attached) => attached.status,
        Link::Detached => TransactionStatus::Idle,
    };
    SessionFacts {
        settings: &track.now().client,
        reported,
        is_usual: environment.starts_with(USUAL_BYTES),
        split,
        is_bound: status != TransactionStatus::Idle,
    }
}

/// Tells the client that it broke the protocol, or asks for what is not to be had; the connection ends
/// with it.
fn fatal(report: impl Into<Report>, to_client: &mut Outgoing) -> Step {
    let mut report: Report = report.into();
    report.severity = Severity::Fatal;
    to_client.own(|out| report.encode_error(out));
    Step::Wait(Next::Fatal(report.code))
}

/// What became of one frame.
#[derive(Debug)]
enum Step {
    /// So many bytes were consumed.
    Took(usize),
    /// Nothing was; wait first.
    Wait(Next),
}
