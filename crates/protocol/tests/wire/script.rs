//! Conversations as files.
//!
//! ```text
//! route  "select f()" -> primary, write        what the router says, where it is not the usual
//! C>     Query "select 1"                      the client says
//!        ! attach replica                      the machine asks its driver for a connection
//!        ! attached s1                         it gets one: `s1` keeps what is known about it
//! >S     Query "select 1"                      the server has to hear
//! S>     CommandComplete "SELECT 1"            the server says
//! >C     CommandComplete "SELECT 1"            the client has to hear
//!        ! detach reuse                        the connection is given back
//! ```
//!
//! What happens to the machine are causes; what it does up to the next cause follows them, in the
//! order server, client, facts. Lines that start with a blank and `|` go on where the last one
//! ended. A second client is spelled `C2>`, `!2`, and so on.

use std::collections::HashMap;
use std::sync::Arc;

use pgweir_protocol::session::PoolMode;
use pgweir_protocol::verdict::{Target, Verdict};

use crate::notation::{self, Listener, Speaker, Word, Words};
use crate::router;

/// Lines longer than this are continued on the next one.
const WIDTH: usize = 100;

/// A whole conversation.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The file's lines up to the first cause.
    head: Vec<String>,
    pub(crate) setup: Setup,
    pub(crate) turns: Vec<Turn>,
    tail: Vec<String>,
}

/// What a conversation presumes.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) mode: PoolMode,
    pub(crate) max_message: usize,
    /// The clients' startup parameters.
    pub(crate) startup: Vec<(String, String)>,
    /// What the clients were told at their start, beyond the usual.
    pub(crate) told: Vec<(String, String)>,
    pub(crate) servers: HashMap<String, ServerSetup>,
    pub(crate) routes: Arc<HashMap<String, Arc<Verdict>>>,
    /// Code in the database makes settings whose names nobody knows.
    pub(crate) has_unlisted_settings: bool,
    /// Transactions read from replicas until they write.
    pub(crate) splits: bool,
}

/// How one of the servers differs from the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerSetup {
    /// How many prepared statements it keeps.
    pub(crate) holds: Option<usize>,
    /// What it reported at its start, beyond the usual.
    pub(crate) reports: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: PoolMode::Transaction,
            max_message: 0x3fff_ffff,
            startup: Vec::new(),
            told: Vec::new(),
            servers: HashMap::new(),
            routes: Arc::default(),
            has_unlisted_settings: false,
            splits: false,
        }
    }
}

/// Something happens to one client's machine, and what has to come of it.
#[derive(Debug)]
pub(crate) struct Turn {
    comments: Vec<String>,
    pub(crate) client: usize,
    pub(crate) cause: Cause,
    pub(crate) expected: Outcome,
}

/// What can happen to a session.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// Its client sends bytes.
    ClientSays(Vec<u8>),
    /// Its server sends bytes.
    ServerSays(Vec<u8>),
    /// It gets a connection: a fresh one, or one with a name, which is remembered.
    Attached { server: Option<String>, role: Option<Target> },
    /// It gets none; the error's code and message.
    Refused { code: String, message: String },
    /// Its connection breaks.
    Lost(String),
    /// Its client is gone.
    Left,
}

/// What comes of a cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    pub(crate) facts: Vec<String>,
}

/// One line, cut into who and what.
#[derive(Clone, Copy)]
enum Line<'a> {
    Said(usize, Speaker, &'a str),
    Heard(usize, Speaker, &'a str),
    Fact(usize, &'a str),
}

impl Script {
    /// Reads a file.
    ///
    /// # Errors
    /// A line that cannot be understood, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        let mut routes = HashMap::new();
        let mut comments = Vec::new();
        for line in logical_lines(text) {
            if line.trim().is_empty() || line.starts_with('#') {
                comments.push(line.trim_end().to_owned());
            } else if let Some(parsed) = read_line(&line) {
                script
                    .conversation_line(parsed, &mut comments)
                    .map_err(|why| format!("{why}\n  in {line}"))?;
            } else {
                script
                    .setup_line(&line, &mut routes)
                    .map_err(|why| format!("{why}\n  in {line}"))?;
                script.head.append(&mut comments);
                script.head.push(line.trim_end().to_owned());
            }
        }
        script.setup.routes = Arc::new(routes);
        script.tail = comments;
        Ok(script)
    }

    fn setup_line(
        &mut self,
        line: &str,
        routes: &mut HashMap<String, Arc<Verdict>>,
    ) -> Result<(), String> {
        if !self.turns.is_empty() {
            return Err("the conversation has begun".to_owned());
        }
        let mut words = Words::new(line);
        match &*words.word()? {
            "route" => {
                let sql = words.word()?;
                let told = words.rest.trim().trim_start_matches("->").trim();
                let told: Vec<String> = told.split(',').map(|word| word.trim().into()).collect();
                let verdict = router::verdict(&sql, &told)?;
                routes.insert(sql, Arc::new(verdict));
            }
            "mode" => {
                self.setup.mode = match &*words.word()? {
                    "session" => PoolMode::Session,
                    "statement" => PoolMode::Statement,
                    _ => PoolMode::Transaction,
                }
            }
            "splits" => self.setup.splits = true,
            "unlisted" => self.setup.has_unlisted_settings = true,
            "max_message" => self.setup.max_message = words.word()?.parse().unwrap(),
            "startup" => self.setup.startup.push(assignment(&mut words)?),
            "told" => self.setup.told.push(assignment(&mut words)?),
            "server" => {
                let server = self.setup.servers.entry(words.word()?).or_default();
                match &*words.word()? {
                    "holds" => server.holds = Some(words.word()?.parse().unwrap()),
                    "reports" => server.reports.push(assignment(&mut words)?),
                    other => return Err(format!("a server has no {other}")),
                }
            }
            other => return Err(format!("no such line: {other}")),
        }
        Ok(())
    }

    fn conversation_line(
        &mut self,
        line: Line<'_>,
        comments: &mut Vec<String>,
    ) -> Result<(), String> {
        let (client, cause) = match line {
            Line::Said(client, Speaker::Client, said) => {
                let bytes = notation::encode(Speaker::Client, said)?;
                (client, Cause::ClientSays(bytes))
            }
            Line::Said(client, Speaker::Server, said) => {
                let bytes = notation::encode(Speaker::Server, said)?;
                (client, Cause::ServerSays(bytes))
            }
            Line::Heard(client, listener, heard) => {
                let last = self.last_turn(client)?;
                match listener {
                    Speaker::Server => {
                        let bytes = notation::encode(Speaker::Client, heard)?;
                        last.expected.to_server.extend(bytes);
                    }
                    Speaker::Client => {
                        let bytes = notation::encode(Speaker::Server, heard)?;
                        last.expected.to_client.extend(bytes);
                    }
                }
                return Ok(());
            }
            Line::Fact(client, fact) => match cause(fact)? {
                Some(cause) => (client, cause),
                None => {
                    self.last_turn(client)?.expected.facts.push(fact.into());
                    return Ok(());
                }
            },
        };
        self.turns.push(Turn {
            comments: std::mem::take(comments),
            client,
            cause,
            expected: Outcome::default(),
        });
        Ok(())
    }

    fn last_turn(&mut self, client: usize) -> Result<&mut Turn, String> {
        self.turns
            .last_mut()
            .filter(|turn| turn.client == client)
            .ok_or_else(|| "nothing has happened to this client".to_owned())
    }

    /// The file as it would be if these outcomes were right.
    pub(crate) fn with_outcomes(&self, outcomes: &[Outcome]) -> String {
        let mut page = Page::default();
        let mut lines = self.head.clone();
        for (turn, outcome) in self.turns.iter().zip(outcomes) {
            lines.extend(turn.comments.iter().cloned());
            page.turn(turn, outcome, &mut lines);
        }
        lines.extend(self.tail.iter().cloned());
        lines.join("\n") + "\n"
    }

    /// The file in its usual spelling.
    pub(crate) fn as_expected(&self) -> String {
        let expected: Vec<Outcome> = self.turns.iter().map(|turn| turn.expected.clone()).collect();
        self.with_outcomes(&expected)
    }
}

fn assignment(words: &mut Words<'_>) -> Result<(String, String), String> {
    let name = words.word()?;
    words.mark('=')?;
    Ok((name, words.word()?))
}

/// Joins lines with those that go on.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') && line.trim_start().starts_with('|') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn read_line(line: &str) -> Option<Line<'_>> {
    let line = line.trim();
    let (mark, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let client = match mark.contains('2') {
        true => 1,
        false => 0,
    };
    match &*mark.replace('2', "") {
        "C>" => Some(Line::Said(client, Speaker::Client, rest)),
        "S>" => Some(Line::Said(client, Speaker::Server, rest)),
        ">S" => Some(Line::Heard(client, Speaker::Server, rest)),
        ">C" => Some(Line::Heard(client, Speaker::Client, rest)),
        "!" => Some(Line::Fact(client, rest.trim())),
        _ => None,
    }
}

/// The cause a fact is, unless it is something that has to follow from one.
fn cause(fact: &str) -> Result<Option<Cause>, String> {
    let mut words = Words::new(fact);
    Ok(Some(match &*words.word()? {
        "attached" => {
            let mut server = words.plain()?;
            let mut role = None;
            if server.as_deref() == Some("as") {
                server = None;
            }
            while let Some(word) = words.plain()? {
                match &*word {
                    "as" => {}
                    "primary" => role = Some(Target::Primary),
                    "replica" => role = Some(Target::Replica),
                    other => return Err(format!("attached how: {other}?")),
                }
            }
            Cause::Attached { server, role }
        }
        "refused" => Cause::Refused { code: words.word()?, message: words.word()? },
        "lost" => Cause::Lost(match words.next()? {
            Some(Word::Quoted(cause)) => cause,
            _ => "it closed the connection".to_owned(),
        }),
        "left" => Cause::Left,
        _ => return Ok(None),
    }))
}

/// Writes a conversation down.
#[derive(Default)]
struct Page {
    listeners: HashMap<(usize, &'static str), Listener>,
}

impl Page {
    fn turn(&mut self, turn: &Turn, outcome: &Outcome, lines: &mut Vec<String>) {
        let client = turn.client;
        match &turn.cause {
            Cause::ClientSays(bytes) => self.said(client, "C>", bytes, lines),
            Cause::ServerSays(bytes) => self.said(client, "S>", bytes, lines),
            Cause::Attached { server, role } => {
                let server = server.iter().map(|server| format!(" {server}"));
                let role = role.iter().map(|role| match role {
                    Target::Primary => " as primary".to_owned(),
                    Target::Replica => " as replica".to_owned(),
                });
                let how: String = server.chain(role).collect();
                fact(client, &format!("attached{how}"), lines);
            }
            Cause::Refused { code, message } => {
                fact(client, &format!("refused {code} {message:?}"), lines);
            }
            Cause::Lost(cause) if cause == "it closed the connection" => {
                fact(client, "lost", lines);
            }
            Cause::Lost(cause) => fact(client, &format!("lost {cause:?}"), lines),
            Cause::Left => fact(client, "left", lines),
        }
        self.said(client, ">S", &outcome.to_server, lines);
        self.said(client, ">C", &outcome.to_client, lines);
        for text in &outcome.facts {
            fact(client, text, lines);
        }
    }

    fn said(&mut self, client: usize, mark: &'static str, bytes: &[u8], lines: &mut Vec<String>) {
        if bytes.is_empty() {
            return;
        }
        let speaker = match mark {
            "C>" | ">S" => Speaker::Client,
            _ => Speaker::Server,
        };
        let listener =
            self.listeners.entry((client, mark)).or_insert_with(|| Listener::new(speaker));
        let mark = match client {
            0 => mark.to_owned(),
            _ => second(mark).to_owned(),
        };
        let mut line = format!("{mark:<6} ");
        for (at, message) in listener.hear(bytes).into_iter().enumerate() {
            if at > 0 && line.len() + 3 + message.len() > WIDTH {
                lines.push(std::mem::replace(&mut line, "       |".to_owned()));
                line.push(' ');
            } else if at > 0 {
                line.push_str(" | ");
            }
            line.push_str(&message);
        }
        lines.push(line);
    }
}

/// The marks of the second client.
fn second(mark: &str) -> &'static str {
    match mark {
        "C>" => "C2>",
        "S>" => "S2>",
        ">C" => ">C2",
        _ => ">S2",
    }
}

fn fact(client: usize, text: &str, lines: &mut Vec<String>) {
    let mark = match client {
        0 => "!",
        _ => "!2",
    };
    lines.push(format!("       {mark} {text}"));
}
