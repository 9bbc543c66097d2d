//! The driver of a conversation: it does for sessions what the program does with sockets.
//!
//! Bytes that a session has not used are kept and offered again once what it waits for has
//! happened, exactly as its contract asks for, and never earlier.

use std::collections::HashMap;
use std::sync::Arc;

use pgweir_protocol::outgoing::Outgoing;
use pgweir_protocol::prepared::StatementRegistry;
use pgweir_protocol::report::{Report, Severity, SqlState};
use pgweir_protocol::server::ServerFacts;
use pgweir_protocol::session::{Disposition, Loss, Next, Session, SessionStart};
use pgweir_protocol::settings::{SettingsMap, assignment};
use pgweir_protocol::verdict::Target;

use crate::router::Scripted;
use crate::script::{Cause, Outcome, ServerSetup, Setup};

/// What servers and clients are told at a connection's start.
const USUAL: [(&str, &str); 4] = [
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("server_version", "15.0"),
];

/// Prepared statements a server keeps unless told otherwise.
const HOLDS: usize = 100;

/// The most bytes a session may ask its driver to hold for it.
const MOST_NEEDED: usize = 1 << 20;

/// Clients, their sessions, and the connections they share.
pub(crate) struct Rig<'a> {
    setup: &'a Setup,
    router: Scripted,
    registry: Arc<StatementRegistry>,
    clients: Vec<Client>,
    servers: HashMap<String, Box<ServerFacts>>,
    /// Fresh servers made so far: their process ids count up from 1000.
    made: i32,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Bytes of its client, so many.
    Bytes(usize),
    Connection(Target),
    Reply,
    /// Nothing any more.
    Ended,
}

pub(crate) struct Client {
    session: Session<Scripted>,
    waiting: Waiting,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// The name of the server it is attached to, if it has one.
    server: Option<Option<String>>,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(setup: &'a Setup) -> Self {
        Self {
            setup,
            router: Scripted {
                routes: setup.routes.clone(),
                unlisted: setup.has_unlisted_settings,
                splits: setup.splits,
                ..Scripted::default()
            },
            registry: Arc::default(),
            clients: Vec::new(),
            servers: HashMap::new(),
            made: 0,
        }
    }

    fn client(&mut self, number: usize) -> &mut Client {
        while self.clients.len() <= number {
            let id = u32::try_from(self.clients.len()).unwrap();
            let router = self.router.clone();
            let client = Client::new(id, self.setup, router, self.registry.clone());
            self.clients.push(client);
        }
        &mut self.clients[number]
    }

    /// Lets something happen to a client's session; bytes arrive in pieces that end at `cuts`.
    pub(crate) fn happen(&mut self, number: usize, cause: &Cause, cuts: &[usize]) -> Outcome {
        let mut outcome = Outcome::default();
        match cause {
            Cause::ClientSays(bytes) => {
                for piece in pieces(bytes, cuts) {
                    self.client(number).client_says(piece, &mut outcome);
                    self.keep_servers(number, &mut outcome);
                }
            }
            Cause::ServerSays(bytes) => {
                for piece in pieces(bytes, cuts) {
                    self.client(number).server_says(piece, &mut outcome);
                    self.keep_servers(number, &mut outcome);
                }
            }
            Cause::Attached { server, role } => {
                let facts = self.facts(server.as_deref());
                let client = self.client(number);
                client.attach(server.clone(), facts, *role, &mut outcome);
                self.keep_servers(number, &mut outcome);
            }
            Cause::Refused { code, message } => {
                let code = SqlState::parse(code.as_bytes()).unwrap();
                let report = Report::new(Severity::Error, code, message);
                self.client(number).refuse(&report, &mut outcome);
            }
            Cause::Lost(cause) => self.client(number).lose(cause, &mut outcome),
            Cause::Left => {
                self.client(number).end(&mut outcome);
                self.keep_servers(number, &mut outcome);
            }
        }
        outcome
    }

    /// The facts of a server: of one that was there before, or of a fresh one.
    fn facts(&mut self, name: Option<&str>) -> Box<ServerFacts> {
        if let Some(facts) = name.and_then(|name| self.servers.remove(name)) {
            return facts;
        }
        let usual = ServerSetup::default();
        let setup = name.and_then(|name| self.setup.servers.get(name));
        self.made += 1;
        fresh_facts(1000 + self.made, setup.unwrap_or(&usual))
    }

    /// Gives back a server connection that its client's session is through with, as often as it
    /// then goes on to another one.
    fn keep_servers(&mut self, number: usize, outcome: &mut Outcome) {
        loop {
            let client = self.client(number);
            let Some(facts) = client.let_go(outcome) else {
                return;
            };
            if let Some((name, facts)) = facts {
                self.servers.insert(name, facts);
            }
            self.client(number).go_on(outcome);
        }
    }
}

/// What is known of a server connection that was just made.
/// The process id that clients are told.
const CLIENT_PID: i32 = 77;

pub(crate) fn fresh_facts(pid: i32, setup: &ServerSetup) -> Box<ServerFacts> {
    let reported = usual().chain(setup.reports.iter().cloned());
    Box::new(ServerFacts::new(
        pid,
        vec![1, 2, 3, 4],
        reported.collect(),
        setup.holds.unwrap_or(HOLDS),
    ))
}

fn usual() -> impl Iterator<Item = (String, String)> {
    USUAL.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for &cut in cuts.iter().filter(|&&cut| cut < bytes.len()) {
        pieces.push(&bytes[start..cut]);
        start = cut;
    }
    pieces.push(&bytes[start..]);
    pieces
}

fn collect(out: &Outgoing, input: &[u8], to: &mut Vec<u8>) {
    for slice in out.slices(input) {
        to.extend_from_slice(slice);
    }
}

impl Client {
    pub(crate) fn new(
        id: u32,
        setup: &Setup,
        router: Scripted,
        registry: Arc<StatementRegistry>,
    ) -> Self {
        let startup = setup
            .startup
            .iter()
            .map(|(name, value)| (name.as_str().into(), assignment(name, value)))
            .collect();
        let start = SessionStart {
            mode: setup.mode,
            max_message: setup.max_message,
            id,
            pid: CLIENT_PID,
            registry,
            startup: SettingsMap::new(startup),
            reported: usual().chain(setup.told.iter().cloned()).collect(),
        };
        Self {
            session: Session::new(start, router),
            waiting: Waiting::Bytes(0),
            from_client: Vec::new(),
            from_server: Vec::new(),
            server: None,
        }
    }

    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Bytes of either side that the session has not used.
    pub(crate) fn kept(&self) -> usize {
        self.from_client.len() + self.from_server.len()
    }

    pub(crate) fn client_says(&mut self, bytes: &[u8], outcome: &mut Outcome) {
        self.from_client.extend_from_slice(bytes);
        self.offer_client(outcome);
    }

    pub(crate) fn server_says(&mut self, bytes: &[u8], outcome: &mut Outcome) {
        self.from_server.extend_from_slice(bytes);
        self.offer_server(outcome);
    }

    /// The reasons that bind it to its server.
    pub(crate) fn pins(&self) -> Vec<&'static str> {
        self.session.pins().names().collect()
    }

    /// What it waited for has happened.
    pub(crate) fn go_on(&mut self, outcome: &mut Outcome) {
        if self.waiting == Waiting::Reply {
            self.waiting = Waiting::Bytes(0);
            self.offer_client(outcome);
        }
    }

    pub(crate) fn refuse(&mut self, report: &Report, outcome: &mut Outcome) {
        self.session.refuse(report);
        self.waiting = Waiting::Bytes(0);
        self.offer_client(outcome);
    }

    /// Offers the session what its client has sent, as far as it will have it.
    fn offer_client(&mut self, outcome: &mut Outcome) {
        loop {
            let Waiting::Bytes(need) = self.waiting else {
                return;
            };
            if self.from_client.len() < need {
                return;
            }
            let (mut to_server, mut to_client) = (Outgoing::default(), Outgoing::default());
            let taken = self.session.on_client(&self.from_client, &mut to_server, &mut to_client);
            collect(&to_server, &self.from_client, &mut outcome.to_server);
            collect(&to_client, &self.from_client, &mut outcome.to_client);
            assert!(
                to_server.is_empty() || self.server.is_some(),
                "bytes for a server that is not there"
            );
            self.from_client.drain(..taken.consumed);
            self.waiting = match taken.next {
                Next::Need(need) => {
                    let left = self.from_client.len();
                    assert!(need > left, "{need} bytes are needed and {left} are there");
                    assert!(need <= MOST_NEEDED, "{need} bytes are needed at once");
                    Waiting::Bytes(need)
                }
                Next::Attach(target) => {
                    assert!(self.server.is_none(), "a second connection is asked for");
                    outcome.facts.push(match target {
                        Target::Primary => "attach primary".to_owned(),
                        Target::Replica => "attach replica".to_owned(),
                    });
                    Waiting::Connection(target)
                }
                Next::Reply => Waiting::Reply,
                Next::Close => return self.finish("close", outcome),
                Next::Fatal(_) => return self.finish("fatal", outcome),
            };
            if self.waiting == Waiting::Reply {
                return;
            }
        }
    }

    fn offer_server(&mut self, outcome: &mut Outcome) {
        if self.server.is_none() {
            outcome.facts.push("stray bytes".to_owned());
            self.from_server.clear();
            return;
        }
        let mut to_client = Outgoing::default();
        let taken = self.session.on_server(&self.from_server, &mut to_client);
        collect(&to_client, &self.from_server, &mut outcome.to_client);
        match taken {
            Ok(taken) => {
                self.from_server.drain(..taken.consumed);
                if let Next::Fatal(_) = taken.next {
                    return self.finish("fatal", outcome);
                }
                let left = self.from_server.len();
                assert!(
                    matches!(taken.next, Next::Need(need) if need > left && need <= MOST_NEEDED),
                    "{:?} with {left} bytes there",
                    taken.next
                );
            }
            Err(broken) => {
                let tag = char::from(broken.tag);
                outcome.facts.push(format!("server broken {tag}"));
                self.lose("it broke the protocol", outcome);
                return;
            }
        }
        if self.session.take_wrote() {
            outcome.facts.push("wrote".to_owned());
        }
        let mut to_server = Outgoing::default();
        self.session.follow_up(&mut to_server);
        collect(&to_server, &[], &mut outcome.to_server);
        if !self.is_through() {
            self.go_on(outcome);
        }
    }

    pub(crate) fn attach(
        &mut self,
        server: Option<String>,
        facts: Box<ServerFacts>,
        role: Option<Target>,
        outcome: &mut Outcome,
    ) {
        let Waiting::Connection(target) = self.waiting else {
            outcome.facts.push("nobody has asked for it".to_owned());
            return;
        };
        let mut to_server = Outgoing::default();
        self.server = Some(server);
        self.session.attach(facts, role.unwrap_or(target), &mut to_server);
        collect(&to_server, &[], &mut outcome.to_server);
        self.waiting = Waiting::Bytes(0);
        self.offer_client(outcome);
    }

    fn is_through(&self) -> bool {
        self.server.is_some() && self.session.wants_detach() && self.from_server.is_empty()
    }

    /// Gives the connection back, if the session is through with it.
    pub(crate) fn let_go(
        &mut self,
        outcome: &mut Outcome,
    ) -> Option<Option<(String, Box<ServerFacts>)>> {
        if !self.is_through() {
            return None;
        }
        let name = self.server.take()?;
        let (facts, disposition) = self.session.detach()?;
        outcome.facts.push(detached(disposition));
        self.from_server.clear();
        self.take_back();
        Some(match disposition {
            Disposition::Reuse => name.map(|name| (name, facts)),
            Disposition::Discard => None,
        })
    }

    pub(crate) fn lose(&mut self, cause: &str, outcome: &mut Outcome) {
        self.server = None;
        self.from_server.clear();
        let mut to_client = Outgoing::default();
        let loss = self.session.server_lost(cause, &mut to_client);
        collect(&to_client, &[], &mut outcome.to_client);
        match loss {
            Loss::Survived => {
                self.take_back();
                self.go_on(outcome);
            }
            Loss::Fatal => self.finish("ended", outcome),
        }
    }

    /// What has to run again is offered again, ahead of what came since.
    fn take_back(&mut self) {
        if let Some(mut said) = self.session.take_back() {
            said.append(&mut self.from_client);
            self.from_client = said;
            self.waiting = Waiting::Reply;
        }
    }

    /// The session has come to its end.
    fn finish(&mut self, how: &str, outcome: &mut Outcome) {
        outcome.facts.push(how.to_owned());
        self.end(outcome);
    }

    /// Its client is gone; returns what is known of its server connection, if others may have it.
    pub(crate) fn end(&mut self, outcome: &mut Outcome) -> Option<Box<ServerFacts>> {
        self.waiting = Waiting::Ended;
        let server = self.server.take();
        let (facts, disposition) = self.session.end()?;
        assert!(server.is_some());
        let clean = self.from_server.is_empty() && disposition == Disposition::Reuse;
        let disposition = if clean { disposition } else { Disposition::Discard };
        outcome.facts.push(detached(disposition));
        clean.then_some(facts)
    }
}

fn detached(disposition: Disposition) -> String {
    match disposition {
        Disposition::Reuse => "detach reuse".to_owned(),
        Disposition::Discard => "detach discard".to_owned(),
    }
}
