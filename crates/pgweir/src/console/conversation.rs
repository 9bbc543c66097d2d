//! One console client's side of the protocol, simple and extended: messages in, messages and
//! commands to be run out (manual, 55.2.2 "Simple Query", 55.2.3 "Extended Query").
//!
//! It knows no socket and runs nothing itself: a message leads to [`Next::Run`], and what came of
//! the command goes into [`Conversation::answered`].

use std::collections::{HashMap, VecDeque};

use pgweir_protocol::cursor::Cursor;
use pgweir_protocol::error::ProtocolError;
use pgweir_protocol::message::{self, Format, TransactionStatus};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;

use super::command::{Command, Transaction, parse};
use super::table::{self, Row};

/// Prepared statements, and portals, that one client may keep.
const MAX_NAMED: usize = 1000;

/// What a command came to: rows if it has columns, and what is said besides.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) notice: Option<Report>,
}

/// What happens next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The client's next message.
    Message,
    /// This command, and then [`Conversation::answered`].
    Run(Command),
    /// The end: the client said goodbye, or broke the protocol and was told so.
    Close,
}

/// Where a client is in its conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The empty name is that of the unnamed statement.
    statements: HashMap<String, Option<Command>>,
    portals: HashMap<String, Portal>,
    status: TransactionStatus,
    /// After an error, everything up to the next Sync is left unread.
    is_skipping: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Portal {
    command: Option<Command>,
    formats: Vec<Format>,
    /// The rows still to be fetched, once it has been run.
    rows: Option<VecDeque<Row>>,
}

/// What the command that is being run belongs to.
#[derive(Debug)]
enum Running {
    /// A Query with these commands to follow.
    Simple { command: Command, rest: VecDeque<Command> },
    /// An Execute of a portal, of so many rows.
    Portal { name: String, most: usize },
}

impl Conversation {
    pub(super) fn new() -> Self {
        Self {
            statements: HashMap::new(),
            portals: HashMap::new(),
            status: TransactionStatus::Idle,
            is_skipping: false,
            running: None,
        }
    }

    /// Takes one whole message.
    pub(super) fn message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Next {
        match tag {
            b'X' => return Next::Close,
            b'S' => {
                self.sync(out);
                return Next::Message;
            }
            _ if self.is_skipping => return Next::Message,
            _ => {}
        }
        let taken = match tag {
            b'Q' => self.query(body, out),
            b'P' => self.parse(body, out),
            b'B' => self.bind(body, out),
            b'D' => self.describe(body, out),
            b'E' => self.execute(body, out),
            b'C' => self.close(body, out),
            // What comes late of a COPY that never was is passed over (manual, 55.2.6).
            b'H' | b'd' | b'c' | b'f' => Ok(Next::Message),
            b'F' => Err(Refused::Report(unsupported("function calls are not served here"))),
            _ => {
                let expected = "a message of the query protocol";
                Err(Refused::Protocol(ProtocolError::UnexpectedMessage { tag, expected }))
            }
        };
        match taken {
            Ok(next) => next,
            Err(Refused::Report(report)) => {
                self.fail(&report, out);
                self.is_skipping = true;
                Next::Message
            }
            Err(Refused::Protocol(error)) => {
                Report::from(&error).encode_error(out);
                Next::Close
            }
        }
    }

    /// Takes what the command came to that was to be run.
    pub(super) fn answered(&mut self, answer: Result<Answer, Report>, out: &mut Vec<u8>) -> Next {
        match (self.running.take(), answer) {
            (None, _) => Next::Message,
            (Some(Running::Simple { command, rest }), Ok(answer)) => {
                put_notice(&answer, out);
                if let Some(columns) = command.columns() {
                    table::describe(columns, &[], out);
                    for row in &answer.rows {
                        table::put_row(columns, row, &[], out);
                    }
                }
                message::command_complete(command.tag(), out);
                self.next_of(rest, out)
            }
            (Some(Running::Simple { .. }), Err(report)) => {
                self.fail(&report, out);
                message::ready_for_query(self.status, out);
                Next::Message
            }
            (Some(Running::Portal { name, most }), Ok(answer)) => {
                put_notice(&answer, out);
                if let Some(portal) = self.portals.get_mut(&name) {
                    portal.rows = Some(answer.rows.into());
                    portal.fetch(most, out);
                }
                Next::Message
            }
            (Some(Running::Portal { .. }), Err(report)) => {
                self.fail(&report, out);
                self.is_skipping = true;
                Next::Message
            }
        }
    }

    fn fail(&mut self, report: &Report, out: &mut Vec<u8>) {
        report.encode_error(out);
        if self.status == TransactionStatus::Transaction {
            self.status = TransactionStatus::Failed;
        }
    }

    // ---- the simple protocol ----

    fn query(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Refused> {
        let mut cursor = Cursor::new("Query", body);
        let text = cursor.text()?;
        cursor.finish()?;
        self.statements.remove("");
        self.portals.remove("");
        match parse(text) {
            Ok(commands) if commands.is_empty() => {
                message::empty_query_response(out);
                message::ready_for_query(self.status, out);
                Ok(Next::Message)
            }
            Ok(commands) => Ok(self.next_of(commands.into(), out)),
            Err(report) => {
                self.fail(&report, out);
                message::ready_for_query(self.status, out);
                Ok(Next::Message)
            }
        }
    }

    /// The next command of a Query, or its end.
    fn next_of(&mut self, mut commands: VecDeque<Command>, out: &mut Vec<u8>) -> Next {
        while let Some(command) = commands.pop_front() {
            match self.by_itself(&command) {
                Ok(true) => message::command_complete(command.tag(), out),
                Ok(false) => {
                    let running = Running::Simple { command: command.clone(), rest: commands };
                    self.running = Some(running);
                    return Next::Run(command);
                }
                Err(report) => {
                    self.fail(&report, out);
                    break;
                }
            }
        }
        message::ready_for_query(self.status, out);
        Next::Message
    }

    /// Does what needs nobody else: the transaction block. False for all other commands.
    fn by_itself(&mut self, command: &Command) -> Result<bool, Report> {
        let Command::Transaction(block) = command else {
            return match self.status {
                TransactionStatus::Failed => Err(Report::new(
                    Severity::Error,
                    SqlState::IN_FAILED_SQL_TRANSACTION,
                    "current transaction is aborted, commands ignored until end of transaction \
                     block",
                )),
                _ => Ok(*command == Command::Ignored),
            };
        };
        if *block != Transaction::Begin {
            self.status = TransactionStatus::Idle;
        } else if self.status == TransactionStatus::Idle {
            self.status = TransactionStatus::Transaction;
        }
        Ok(true)
    }

    // ---- the extended protocol ----

    fn sync(&mut self, out: &mut Vec<u8>) {
        self.is_skipping = false;
        if self.status == TransactionStatus::Idle {
            self.portals.clear();
        }
        message::ready_for_query(self.status, out);
    }

    fn parse(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Refused> {
        let mut cursor = Cursor::new("Parse", body);
        let (name, text) = (cursor.text()?, cursor.text()?);
        for _ in 0..cursor.u16()? {
            cursor.u32()?;
        }
        cursor.finish()?;
        let mut commands = parse(text)?.into_iter();
        let command = commands.next();
        if commands.next().is_some() {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Report::new(Severity::Error, SqlState::SYNTAX_ERROR, message).into());
        }
        if !name.is_empty() && self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            let code = SqlState::DUPLICATE_PREPARED_STATEMENT;
            return Err(Report::new(Severity::Error, code, message).into());
        }
        bounded(&self.statements)?;
        self.statements.insert(name.to_owned(), command);
        message::parse_complete(out);
        Ok(Next::Message)
    }

    fn bind(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Refused> {
        let mut cursor = Cursor::new("Bind", body);
        let (portal, statement) = (cursor.text()?, cursor.text()?);
        for _ in 0..cursor.u16()? {
            cursor.u16()?;
        }
        let parameters = cursor.u16()?;
        for _ in 0..parameters {
            cursor.value()?;
        }
        let codes = cursor.u16()?;
        let mut formats = Vec::new();
        for _ in 0..codes {
            let code = cursor.i16()?;
            formats.push(Format::from_code(code).ok_or_else(|| unsupported_format(code))?);
        }
        cursor.finish()?;
        let command = self.statement(statement)?.clone();
        if parameters != 0 {
            let message = format!(
                "bind message supplies {parameters} parameters, but prepared statement \
                 \"{statement}\" requires 0"
            );
            return Err(violation(message).into());
        }
        let columns = command.as_ref().and_then(Command::columns).map_or(0, <[_]>::len);
        if formats.len() > 1 && formats.len() != columns {
            let given = formats.len();
            let message =
                format!("bind message has {given} result formats but query has {columns} columns");
            return Err(violation(message).into());
        }
        bounded(&self.portals)?;
        self.portals.insert(portal.to_owned(), Portal { command, formats, rows: None });
        message::bind_complete(out);
        Ok(Next::Message)
    }

    fn describe(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Refused> {
        let (kind, name) = target("Describe", body)?;
        let (command, formats) = if kind == b'S' {
            let command = self.statement(&name)?.clone();
            message::parameter_description(&[], out);
            (command, Vec::new())
        } else {
            let portal = self.portals.get(&name).ok_or_else(|| no_such_portal(&name))?;
            (portal.command.clone(), portal.formats.clone())
        };
        match command.as_ref().and_then(Command::columns) {
            Some(columns) => table::describe(columns, &formats, out),
            None => message::no_data(out),
        }
        Ok(Next::Message)
    }

    fn execute(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Refused> {
        let mut cursor = Cursor::new("Execute", body);
        let (name, most) = (cursor.text()?.to_owned(), cursor.i32()?);
        cursor.finish()?;
        let most = usize::try_from(most).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
        let portal = self.portals.get_mut(&name).ok_or_else(|| no_such_portal(&name))?;
        if portal.rows.is_some() {
            portal.fetch(most, out);
            return Ok(Next::Message);
        }
        let Some(command) = portal.command.clone() else {
            message::empty_query_response(out);
            return Ok(Next::Message);
        };
        if self.by_itself(&command)? {
            message::command_complete(command.tag(), out);
            return Ok(Next::Message);
        }
        self.running = Some(Running::Portal { name, most });
        Ok(Next::Run(command))
    }

    fn close(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Refused> {
        let (kind, name) = target("Close", body)?;
        if kind == b'S' {
            self.statements.remove(&name);
        } else {
            self.portals.remove(&name);
        }
        message::close_complete(out);
        Ok(Next::Message)
    }

    fn statement(&self, name: &str) -> Result<&Option<Command>, Report> {
        self.statements.get(name).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Report::new(Severity::Error, SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }
}

impl Portal {
    /// Sends the next rows, and says whether that was all.
    fn fetch(&mut self, most: usize, out: &mut Vec<u8>) {
        let (Some(command), Some(rows)) = (&self.command, &mut self.rows) else {
            return;
        };
        let columns = command.columns().unwrap_or_default();
        for row in rows.drain(..most.min(rows.len())) {
            table::put_row(columns, &row, &self.formats, out);
        }
        if rows.is_empty() {
            message::command_complete(command.tag(), out);
        } else {
            message::portal_suspended(out);
        }
    }
}

/// Why a message leads nowhere.
enum Refused {
    /// The client is told; the connection goes on.
    Report(Report),
    /// The client's bytes make no sense; the connection ends.
    Protocol(ProtocolError),
}

impl From<Report> for Refused {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}

impl From<ProtocolError> for Refused {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

fn put_notice(answer: &Answer, out: &mut Vec<u8>) {
    if let Some(notice) = &answer.notice {
        notice.encode_notice(out);
    }
}

/// What a Describe or Close means: `S` and a statement's name, `P` and a portal's.
fn target(frame: &'static str, body: &[u8]) -> Result<(u8, String), Refused> {
    let mut cursor = Cursor::new(frame, body);
    let (kind, name) = (cursor.u8()?, cursor.text()?.to_owned());
    cursor.finish()?;
    if kind == b'S' || kind == b'P' {
        return Ok((kind, name));
    }
    Err(violation(format!("invalid {frame} message subtype {kind}")).into())
}

fn bounded<T>(named: &HashMap<String, T>) -> Result<(), Report> {
    if named.len() < MAX_NAMED {
        return Ok(());
    }
    let message = format!("pgweir: more than {MAX_NAMED} prepared statements or portals");
    Err(Report::new(Severity::Error, SqlState::PROGRAM_LIMIT_EXCEEDED, message))
}

fn no_such_portal(name: &str) -> Report {
    let message = format!("portal \"{name}\" does not exist");
    Report::new(Severity::Error, SqlState::INVALID_CURSOR_NAME, message)
}

fn violation(message: impl Into<String>) -> Report {
    Report::new(Severity::Error, SqlState::PROTOCOL_VIOLATION, message)
}

fn unsupported(what: &str) -> Report {
    Report::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, format!("pgweir: {what}"))
}

fn unsupported_format(code: i16) -> Report {
    let message = format!("unsupported format code: {code}");
    Report::new(Severity::Error, SqlState::INVALID_PARAMETER_VALUE, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs everything at once, with as many empty rows as there are columns' names to fill.
    fn talk(messages: &[(u8, Vec<u8>)]) -> (String, bool) {
        let (mut conversation, mut out) = (Conversation::new(), Vec::new());
        for (tag, body) in messages {
            let mut next = conversation.message(*tag, body, &mut out);
            while let Next::Run(command) = next {
                let width = command.columns().map_or(0, <[_]>::len);
                let row = vec![super::super::table::Value::Null; width];
                let rows = if width > 0 { vec![row; 3] } else { Vec::new() };
                let answer = Answer { rows, notice: None };
                next = conversation.answered(Ok(answer), &mut out);
            }
            if next == Next::Close {
                return (tags(&out), true);
            }
        }
        (tags(&out), false)
    }

    /// The tags of whole messages.
    fn tags(mut out: &[u8]) -> String {
        let mut tags = String::new();
        while let Some((&tag, rest)) = out.split_first() {
            tags.push(char::from(tag));
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap());
            out = &rest[usize::try_from(length).unwrap()..];
        }
        tags
    }

    fn strings(strings: &[&str], rest: &[u8]) -> Vec<u8> {
        let strings = strings.iter().flat_map(|text| text.bytes().chain([0]));
        strings.chain(rest.iter().copied()).collect()
    }

    fn query(text: &str) -> (u8, Vec<u8>) {
        (b'Q', strings(&[text], &[]))
    }

    fn parse(name: &str, text: &str) -> (u8, Vec<u8>) {
        (b'P', strings(&[name, text], &[0, 0]))
    }

    fn bind(portal: &str, statement: &str) -> (u8, Vec<u8>) {
        (b'B', strings(&[portal, statement], &[0; 6]))
    }

    fn describe(kind: &str, name: &str) -> (u8, Vec<u8>) {
        (b'D', [kind.as_bytes(), &strings(&[name], &[])].concat())
    }

    fn execute(portal: &str, most: u8) -> (u8, Vec<u8>) {
        (b'E', strings(&[portal], &[0, 0, 0, most]))
    }

    fn sync() -> (u8, Vec<u8>) {
        (b'S', Vec::new())
    }

    #[test]
    fn conversations_and_their_answers() {
        let rows: [(&[(u8, Vec<u8>)], &str); 10] = [
            (&[query("SHOW VERSION")], "TDDDCZ"),
            (&[query("SHOW VERSION; SET timezone = 'x'; SHOW STATE")], "TDDDCCTDDDCZ"),
            (&[query(" ; ")], "IZ"),
            (&[query("BEGIN; nonsense"), query("SHOW VERSION")], "EZTDDDCZ"),
            (&[query("BEGIN"), query("x"), query("SHOW VERSION; ROLLBACK")], "CZEZEZ"),
            (
                &[
                    parse("", "SHOW VERSION"),
                    bind("", ""),
                    describe("P", ""),
                    execute("", 0),
                    sync(),
                ],
                "12TDDDCZ",
            ),
            (
                &[
                    parse("s", "SHOW HELP"),
                    describe("S", "s"),
                    bind("", "s"),
                    execute("", 0),
                    sync(),
                ],
                "1tn2CZ",
            ),
            (
                &[parse("", "SHOW VERSION"), bind("", ""), execute("", 2), execute("", 2), sync()],
                "12DDsDCZ",
            ),
            (&[parse("", ""), bind("", ""), execute("", 0), sync()], "12IZ"),
            // After an error nothing is read before the Sync, and a portal does not outlive it.
            (
                &[
                    parse("", "SHOW VERSION"),
                    bind("p", ""),
                    sync(),
                    execute("p", 0),
                    query("x"),
                    sync(),
                ],
                "12ZEZ",
            ),
        ];
        for (messages, want) in rows {
            assert_eq!(talk(messages), (want.to_owned(), false), "{messages:?}");
        }
    }

    fn message() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let texts = ["SHOW VERSION", "BEGIN", "ROLLBACK", "nonsense", "SHOW PINS; SHOW MEM", ""];
        let names = || prop::sample::select(vec!["", "a"]);
        prop_oneof![
            prop::sample::select(texts.to_vec()).prop_map(query),
            (names(), prop::sample::select(texts.to_vec())).prop_map(|(n, t)| parse(n, t)),
            (names(), names()).prop_map(|(portal, statement)| bind(portal, statement)),
            (prop::sample::select(vec!["S", "P"]), names()).prop_map(|(k, n)| describe(k, n)),
            (names(), 0..3_u8).prop_map(|(portal, most)| execute(portal, most)),
            Just(sync()),
            Just((b'H', Vec::new())),
            (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)),
        ]
    }

    proptest! {
        /// Whatever is said, every message is whole, and ReadyForQuery comes for Query and Sync alone.
        #[test]
        fn ready_for_query_is_said_at_most_once_for_each_query_and_sync(
            messages in proptest::collection::vec(message(), 0..30),
        ) {
            let (tags, _) = talk(&messages);
            let asked = messages.iter().filter(|(tag, _)| matches!(tag, b'Q' | b'S')).count();
            prop_assert!(tags.matches('Z').count() <= asked, "{tags}");
            let syncs = messages.iter().filter(|(tag, _)| *tag == b'S').count();
            let is_whole = !messages.iter().any(|(tag, _)| !b"QPBDESHCdcf".contains(tag));
            if is_whole && tags.matches('Z').count() < syncs {
                prop_assert!(tags.ends_with('E'), "closed: {tags}");
            }
        }
    }
}
