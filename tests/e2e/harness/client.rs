//! A small client over [`Wire`]: logs in, runs statements, keeps what the server says beside rows.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;

use super::wire::PROTOCOL_3_0;
use super::{Frame, Message, Wire};

/// An ErrorResponse or NoticeResponse: its fields by their letters (manual, 55.8).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Failure(BTreeMap<char, String>);

impl Failure {
    pub(crate) fn parse(body: &[u8]) -> Self {
        let fields = body.split(|&byte| byte == 0).filter(|field| !field.is_empty());
        let field = |field: &[u8]| {
            let text = String::from_utf8_lossy(&field[1..]).into_owned();
            (char::from(field[0]), text)
        };
        Self(fields.map(field).collect())
    }

    fn closed() -> Self {
        Self(BTreeMap::from([('M', "the connection was closed".to_owned())]))
    }

    pub(crate) fn field(&self, letter: char) -> &str {
        self.0.get(&letter).map_or("", String::as_str)
    }

    /// All of it.
    pub(crate) fn fields(&self) -> &BTreeMap<char, String> {
        &self.0
    }

    pub(crate) fn code(&self) -> &str {
        self.field('C')
    }

    pub(crate) fn message(&self) -> &str {
        self.field('M')
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.field('S'), self.code(), self.message())?;
        for (letter, word) in [('D', "DETAIL"), ('H', "HINT")] {
            if !self.field(letter).is_empty() {
                write!(f, " {word}: {}", self.field(letter))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Everything up to a ReadyForQuery.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// CommandComplete's words.
    pub(crate) commands: Vec<String>,
    pub(crate) failure: Option<Failure>,
    pub(crate) notices: Vec<Failure>,
    /// ParameterStatus, in the order they came.
    pub(crate) parameters: Vec<(String, String)>,
    /// Channel and payload.
    pub(crate) notifications: Vec<(String, String)>,
    /// ReadyForQuery's byte: `I`, `T`, `E`.
    pub(crate) status: char,
}

impl Reply {
    fn take(&mut self, frame: &Frame) {
        let body = &frame.body;
        match frame.tag {
            b'T' => self.columns = columns(body),
            b'D' => self.rows.push(cells(body)),
            b'C' => self.commands.extend(words(body).into_iter().next()),
            b'E' => self.failure = Some(Failure::parse(body)),
            b'N' => self.notices.push(Failure::parse(body)),
            b'S' => self.parameters.push(pair(&words(body))),
            b'A' => self.notifications.push(pair(&words(&body[4..]))),
            b'Z' => self.status = char::from(body[0]),
            _ => {}
        }
    }

    /// The rows as psql -At would print them.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        assert_eq!(self.failure, None);
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_default();
        let row = |row: &Vec<Option<String>>| row.iter().map(cell).collect::<Vec<_>>().join("|");
        self.rows.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

fn words(body: &[u8]) -> Vec<String> {
    let words = body.split(|&byte| byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn pair(words: &[String]) -> (String, String) {
    (words[0].clone(), words[1].clone())
}

fn columns(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == 0).unwrap();
        columns.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        // Table, column, type, its size and modifier, the format.
        rest = &rest[end + 1 + 18..];
    }
    columns
}

fn cells(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = &body[2..];
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_at(4);
        let length = i32::from_be_bytes(length.try_into().unwrap());
        let (cell, after) = after.split_at(usize::try_from(length).unwrap_or(0));
        cells.push((length >= 0).then(|| String::from_utf8_lossy(cell).into_owned()));
        rest = after;
    }
    cells
}

/// A logged-in client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) wire: Wire,
    /// ParameterStatus of the login and since.
    pub(crate) parameters: BTreeMap<String, String>,
    /// BackendKeyData: the process id and the key.
    pub(crate) key: Vec<u8>,
}

impl Client {
    /// Logs in where no password is asked for.
    pub(crate) fn connect(
        port: u16,
        user: &str,
        database: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let mut all = vec![("user", user), ("database", database)];
        all.extend_from_slice(parameters);
        let mut wire = Wire::open(port).unwrap();
        wire.send(&Message::new().startup(PROTOCOL_3_0, &all));
        Self::finish_login(wire)
    }

    /// Reads the answer to a startup packet, up to ReadyForQuery.
    pub(crate) fn finish_login(wire: Wire) -> Result<Self, Failure> {
        let mut client = Self { wire, parameters: BTreeMap::new(), key: Vec::new() };
        loop {
            let Some(frame) = client.wire.frame() else {
                return Err(Failure::closed());
            };
            match frame.tag {
                b'E' => return Err(Failure::parse(&frame.body)),
                b'K' => client.key = frame.body,
                b'S' => client.parameters.extend([pair(&words(&frame.body))]),
                b'Z' => return Ok(client),
                b'R' => assert_eq!(frame.body, [0; 4], "a password is asked for"),
                _ => {}
            }
        }
    }

    /// Runs SQL by the simple protocol; errors are in the reply.
    #[track_caller]
    pub(crate) fn query(&mut self, sql: &str) -> Reply {
        self.wire.send(&Message::new().query(sql));
        self.reply()
    }

    /// Reads up to ReadyForQuery.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let mut reply = Reply::default();
        for frame in self.wire.frames_until(b'Z') {
            reply.take(&frame);
        }
        self.parameters.extend(reply.parameters.iter().cloned());
        reply
    }

    /// Runs SQL that must not fail; the rows as psql -At prints them.
    #[track_caller]
    pub(crate) fn ask(&mut self, sql: &str) -> String {
        let reply = self.query(sql);
        assert_eq!(reply.failure, None, "{sql}");
        reply.text()
    }

    /// Runs SQL that must fail.
    #[track_caller]
    pub(crate) fn fail(&mut self, sql: &str) -> Failure {
        let reply = self.query(sql);
        reply.failure.clone().unwrap_or_else(|| panic!("{sql} did not fail: {reply:?}"))
    }

    /// Runs one statement by the extended protocol.
    #[track_caller]
    pub(crate) fn extended(&mut self, sql: &str, parameters: &[&str]) -> Reply {
        self.wire.send(&Message::new().run(sql, parameters).sync());
        self.reply()
    }

    /// `host:port` of the node that ran the last statement, in pgweir's words.
    #[track_caller]
    pub(crate) fn last_node(&mut self) -> String {
        self.ask("SHOW pgweir.last_node")
    }

    /// Runs SQL that must not fail; where it ran.
    #[track_caller]
    pub(crate) fn where_ran(&mut self, sql: &str) -> String {
        self.ask(sql);
        self.last_node()
    }

    pub(crate) fn leave(mut self) {
        self.wire.send(&Message::new().terminate());
        assert_eq!(self.wire.frame(), None);
    }
}

/// A driver's error with what the server said.
pub(crate) fn describe_error(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}: {}", error.severity(), error.code().code(), error.message()),
        None => {
            error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        }
    }
}
