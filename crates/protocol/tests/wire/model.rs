//! A small PostgreSQL: one server connection that answers as the manual's message flow says.
//!
//! It knows a few statements, one settings dictionary, transactions with savepoints, prepared
//! statements, portals, COPY, and what an error skips (55.2 Message Flow). Each row of a `select`
//! shows the settings and temporary tables in force, so that a client that sees another's state, or
//! lacks its own, shows it in its transcript.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use pgweir_protocol::frame::{HEADER_LENGTH, Header, split_cstr};
use pgweir_protocol::verdict::Target;

use crate::notation::{Speaker, encode};

/// Rows of a `select many`.
const MANY: u32 = 3;

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Select(u32),
    /// A read that no standby does.
    Draw,
    /// A read that every server answers in another way.
    Where,
    Insert,
    CopyIn,
    CopyOut,
    TempTable,
    Set(String, String),
    SetLocal(String, String),
    /// pgweir's own question for the isolation level of transactions.
    Isolation,
    Reset(String),
    /// RESET ROLE and its like, which change nothing here.
    Nothing(&'static str),
    Begin {
        read_only: bool,
        tag: &'static str,
    },
    SetReadOnly,
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Release(String),
    DeallocateAll,
    DiscardAll,
    /// pgweir's own question for what the session has done.
    Inspect,
    ParseError,
    ExecuteError,
}

/// What a rollback restores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    settings: BTreeMap<String, String>,
    /// Of those that were set for the transaction, what they were before.
    before: BTreeMap<String, Option<String>>,
    has_temp: bool,
    is_read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Open,
    Failed,
}

#[derive(Debug)]
struct Portal {
    op: Option<Op>,
    rows_left: u32,
}

/// How the server came to wait for copy data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copying {
    /// By a simple query, of which nothing else is left to do.
    Simple,
    Extended,
}

/// An error's SQLSTATE and message.
type Error = (&'static str, String);

/// One server connection.
#[derive(Debug)]
pub(crate) struct Server {
    role: Target,
    /// Settings as they are at the connection's start.
    defaults: BTreeMap<String, String>,
    state: State,
    at_begin: State,
    savepoints: Vec<(String, State)>,
    block: Block,
    /// A transaction is under way, in a block or not.
    started: bool,
    statements: BTreeMap<String, Option<Op>>,
    unnamed: Option<Option<Op>>,
    portals: BTreeMap<String, Portal>,
    skipping: bool,
    copying: Option<Copying>,
    reported: String,
    input: Vec<u8>,
    out: Vec<u8>,
}

impl Server {
    pub(crate) fn new(role: Target, startup: &[(&str, &str)]) -> Self {
        let mut defaults = BTreeMap::from([("timezone".to_owned(), "UTC".to_owned())]);
        defaults
            .extend(startup.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let state = State { settings: defaults.clone(), ..State::default() };
        Self {
            role,
            reported: defaults["timezone"].clone(),
            defaults,
            at_begin: state.clone(),
            state,
            savepoints: Vec::new(),
            block: Block::None,
            started: false,
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            skipping: false,
            copying: None,
            input: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Takes bytes of its client; what it answers is in [`Self::take_replies`].
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        loop {
            let Some(header) = Header::read(&self.input).unwrap() else {
                return;
            };
            if self.input.len() < header.length {
                return;
            }
            let frame: Vec<u8> = self.input.drain(..header.length).collect();
            self.message(header.tag, &frame[HEADER_LENGTH..]);
        }
    }

    pub(crate) fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Nothing is under way: another client may have it.
    pub(crate) fn is_idle(&self) -> bool {
        self.input.is_empty()
            && self.out.is_empty()
            && !self.started
            && !self.skipping
            && self.copying.is_none()
            && self.block == Block::None
    }

    pub(crate) fn has_temp(&self) -> bool {
        self.state.has_temp
    }

    /// Settings that differ from those of a fresh connection.
    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        let differs = |entry: &(&String, &String)| self.defaults.get(entry.0) != Some(entry.1);
        let settings = self.state.settings.iter().filter(differs);
        settings.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(crate) fn statement_count(&self) -> usize {
        self.statements.len()
    }

    fn say(&mut self, words: &str) {
        self.out.extend(encode(Speaker::Server, words).unwrap_or_else(|why| panic!("{why}")));
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        if self.copying.is_some() {
            return self.copy_message(tag, body);
        }
        match tag {
            b'S' => {
                self.skipping = false;
                self.end_pipeline();
            }
            _ if self.skipping => {}
            b'Q' => self.query(body),
            b'F' => self.function_call(),
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                self.started |= tag != b'C';
                if let Err(error) = self.extended(tag, body) {
                    self.fail(&error);
                    self.skipping = true;
                }
            }
            b'H' | b'd' | b'c' | b'f' | b'X' => {}
            other => panic!("a server does not know {:?}", char::from(other)),
        }
    }

    // ---- transactions ----

    /// The end of a simple query or of a pipeline: what no block holds is committed.
    fn end_pipeline(&mut self) {
        if self.block == Block::None {
            self.settle();
        }
        let zone = self.state.settings["timezone"].clone();
        if self.reported != zone {
            self.say(&format!("ParameterStatus TimeZone=\"{zone}\""));
            self.reported = zone;
        }
        let status = match self.block {
            Block::None => "I",
            Block::Open => "T",
            Block::Failed => "E",
        };
        self.say(&format!("ReadyForQuery {status}"));
    }

    /// What was done stays done.
    fn settle(&mut self) {
        self.state.is_read_only = false;
        for (name, before) in std::mem::take(&mut self.state.before) {
            match before {
                Some(value) => self.state.settings.insert(name, value),
                None => self.state.settings.remove(&name),
            };
        }
        self.at_begin = self.state.clone();
        self.end_transaction();
    }

    /// What was done is undone.
    fn undo(&mut self) {
        self.state = self.at_begin.clone();
        self.end_transaction();
    }

    fn end_transaction(&mut self) {
        self.block = Block::None;
        self.started = false;
        self.savepoints.clear();
        self.portals.clear();
    }

    fn fail(&mut self, error: &Error) {
        let (code, message) = error;
        let quoted = message.replace('"', "\\\"");
        self.say(&format!("ErrorResponse ERROR {code} \"{quoted}\""));
        self.portals.clear();
        match self.block {
            Block::None => self.undo(),
            Block::Open | Block::Failed => self.block = Block::Failed,
        }
    }

    fn check_failed(&self, op: Option<&Op>) -> Result<(), Error> {
        let ends = matches!(op, Some(Op::Commit | Op::Rollback | Op::RollbackTo(_)) | None);
        if self.block == Block::Failed && !ends {
            let message = "current transaction is aborted, commands ignored until end of \
                           transaction block";
            return Err(("25P02", message.to_owned()));
        }
        Ok(())
    }

    // ---- simple queries ----

    fn query(&mut self, body: &[u8]) {
        self.started = true;
        self.unnamed = None;
        let sql = String::from_utf8_lossy(split_cstr(body).unwrap().0).into_owned();
        let ops = parse(&sql);
        if ops.is_empty() {
            self.say("EmptyQueryResponse");
            return self.end_pipeline();
        }
        if ops.contains(&Op::ParseError) {
            self.fail(&("42601", "syntax error".to_owned()));
            return self.end_pipeline();
        }
        let several = ops.len() > 1;
        for op in ops {
            let is_copy = op == Op::CopyIn;
            let done = self.check_failed(Some(&op)).and_then(|()| {
                self.describe(&op);
                self.execute(&op, several)
            });
            match done {
                Err(error) => {
                    self.fail(&error);
                    break;
                }
                Ok(()) if is_copy => {
                    assert!(!several, "COPY is a query of its own here");
                    self.copying = Some(Copying::Simple);
                    return;
                }
                Ok(()) => {}
            }
        }
        self.end_pipeline();
    }

    fn describe(&mut self, op: &Op) {
        if let Op::Select(_) | Op::Draw | Op::Where = op {
            self.say("RowDescription v:text");
        }
    }

    fn function_call(&mut self) {
        self.started = true;
        match self.check_failed(Some(&Op::Insert)) {
            Ok(()) => self.say("FunctionCallResponse \"7\""),
            Err(error) => self.fail(&error),
        }
        self.end_pipeline();
    }

    /// Runs a statement to its end; rows and command tag go out.
    fn execute(&mut self, op: &Op, several: bool) -> Result<(), Error> {
        match op {
            Op::Select(rows) => {
                for _ in 0..*rows {
                    self.row();
                }
                self.say(&format!("CommandComplete \"SELECT {rows}\""));
            }
            Op::Inspect => self.inspect(),
            Op::Draw => {
                self.check_writable("draw()")?;
                self.row();
                self.say("CommandComplete \"SELECT 1\"");
            }
            Op::Where => {
                self.say(&format!("DataRow \"{:?}\" | CommandComplete \"SELECT 1\"", self.role));
            }
            Op::Insert => self.write("INSERT", "INSERT 0 1")?,
            Op::TempTable => {
                self.write("CREATE TABLE", "CREATE TABLE")?;
                self.state.has_temp = true;
            }
            Op::CopyIn => {
                self.check_writable("COPY FROM")?;
                self.say("CopyInResponse");
            }
            Op::CopyOut => self
                .say("CopyOutResponse | CopyData \"1\\n\" | CopyDone | CommandComplete \"COPY 1\""),
            Op::Set(name, value) => {
                self.state.before.remove(name);
                self.state.settings.insert(name.clone(), value.clone());
                self.say("CommandComplete \"SET\"");
            }
            Op::SetLocal(name, value) => self.set_local(name, value),
            Op::Isolation => {
                self.say("DataRow \"read committed\" | CommandComplete \"SHOW\"");
            }
            Op::Reset(name) => {
                self.state.before.remove(name);
                match self.defaults.get(name) {
                    Some(value) => self.state.settings.insert(name.clone(), value.clone()),
                    None => self.state.settings.remove(name),
                };
                self.say("CommandComplete \"RESET\"");
            }
            Op::Nothing(tag) => self.say(&format!("CommandComplete \"{tag}\"")),
            Op::ParseError | Op::ExecuteError => {
                return Err(("22012", "division by zero".to_owned()));
            }
            _ => return self.control(op, several),
        }
        Ok(())
    }

    fn set_local(&mut self, name: &str, value: &str) {
        if self.block == Block::None {
            self.say("NoticeResponse WARNING 25P01 \"only in blocks\"");
        } else {
            let before = self.state.settings.insert(name.to_owned(), value.to_owned());
            self.state.before.entry(name.to_owned()).or_insert(before);
        }
        self.say("CommandComplete \"SET\"");
    }

    fn control(&mut self, op: &Op, several: bool) -> Result<(), Error> {
        match op {
            Op::Begin { read_only, tag } => {
                if self.block == Block::Open {
                    self.say("NoticeResponse WARNING 25001 \"already in progress\"");
                }
                self.block = Block::Open;
                self.state.is_read_only |= read_only;
                self.say(&format!("CommandComplete \"{tag}\""));
            }
            Op::SetReadOnly => {
                match self.block {
                    Block::None => self.say("NoticeResponse WARNING 25P01 \"only in blocks\""),
                    _ => self.state.is_read_only = true,
                }
                self.say("CommandComplete \"SET\"");
            }
            Op::Commit | Op::Rollback => self.end_block(*op == Op::Commit),
            Op::Savepoint(name) => {
                self.check_block("SAVEPOINT")?;
                self.savepoints.push((name.clone(), self.state.clone()));
                self.say("CommandComplete \"SAVEPOINT\"");
            }
            Op::RollbackTo(name) => {
                self.check_block("ROLLBACK TO SAVEPOINT")?;
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at + 1);
                self.state = self.savepoints[at].1.clone();
                self.block = Block::Open;
                self.say("CommandComplete \"ROLLBACK\"");
            }
            Op::Release(name) => {
                self.check_block("RELEASE SAVEPOINT")?;
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at);
                self.say("CommandComplete \"RELEASE\"");
            }
            Op::DeallocateAll => {
                self.statements.clear();
                self.say("CommandComplete \"DEALLOCATE ALL\"");
            }
            _ => {
                if several || self.block != Block::None {
                    let message = "DISCARD ALL cannot run inside a transaction block";
                    return Err(("25001", message.to_owned()));
                }
                self.statements.clear();
                self.state.settings = self.defaults.clone();
                self.state.has_temp = false;
                self.say("CommandComplete \"DISCARD ALL\"");
            }
        }
        Ok(())
    }

    fn inspect(&mut self) {
        let is_made = |(name, value): &(&String, &String)| self.defaults.get(*name) != Some(*value);
        let made = self.state.settings.iter().filter(is_made);
        let mut rows: Vec<String> =
            made.map(|(name, value)| format!("\"s\" \"{name}\" \"{value}\"")).collect();
        rows.push("\"s\" \"role\" \"none\"".to_owned());
        if self.state.has_temp {
            rows.push("\"temporary_table\" null null".to_owned());
        }
        for row in &rows {
            self.say(&format!("DataRow {row}"));
        }
        self.say("CommandComplete \"SELECT 1\"");
    }

    fn end_block(&mut self, commits: bool) {
        if self.block == Block::None {
            self.say("NoticeResponse WARNING 25P01 \"there is no transaction in progress\"");
        }
        if commits && self.block != Block::Failed {
            self.settle();
            self.say("CommandComplete \"COMMIT\"");
        } else {
            self.undo();
            self.say("CommandComplete \"ROLLBACK\"");
        }
    }

    fn check_block(&self, what: &str) -> Result<(), Error> {
        match self.block {
            Block::None => Err(("25P01", format!("{what} can only be used in transaction blocks"))),
            _ => Ok(()),
        }
    }

    fn savepoint(&self, name: &str) -> Result<usize, Error> {
        self.savepoints
            .iter()
            .rposition(|(known, _)| known == name)
            .ok_or_else(|| ("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    fn write(&mut self, what: &str, tag: &str) -> Result<(), Error> {
        self.check_writable(what)?;
        self.say(&format!("CommandComplete \"{tag}\""));
        Ok(())
    }

    fn check_writable(&self, what: &str) -> Result<(), Error> {
        if self.role == Target::Replica || self.state.is_read_only {
            return Err(("25006", format!("cannot execute {what} in a read-only transaction")));
        }
        Ok(())
    }

    /// A row shows everything that is this session's.
    fn row(&mut self) {
        let mut shown: Vec<String> =
            self.state.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        shown.extend(self.state.has_temp.then(|| "temp".to_owned()));
        shown.extend(self.state.is_read_only.then(|| "read only".to_owned()));
        self.say(&format!("DataRow \"{}\"", shown.join(",")));
    }

    // ---- COPY ----

    fn copy_message(&mut self, tag: u8, body: &[u8]) {
        let error = match tag {
            b'd' if body.starts_with(b"bad") => "invalid input syntax",
            b'd' | b'S' | b'H' => return,
            b'f' => "COPY from stdin failed",
            b'c' => {
                self.say("CommandComplete \"COPY 1\"");
                if self.copying.take() == Some(Copying::Simple) {
                    self.end_pipeline();
                }
                return;
            }
            other => panic!("{:?} in the middle of COPY", char::from(other)),
        };
        self.fail(&("22P02", error.to_owned()));
        match self.copying.take() {
            Some(Copying::Simple) => self.end_pipeline(),
            _ => self.skipping = true,
        }
    }

    // ---- extended queries ----

    fn extended(&mut self, tag: u8, body: &[u8]) -> Result<(), Error> {
        let (first, rest) = match tag {
            b'D' | b'C' => (String::new(), &body[1..]),
            _ => {
                let (name, rest) = split_cstr(body).unwrap();
                (String::from_utf8_lossy(name).into_owned(), rest)
            }
        };
        let text = |bytes: &[u8]| {
            let (text, _) = split_cstr(bytes).unwrap();
            String::from_utf8_lossy(text).into_owned()
        };
        match tag {
            b'P' => self.parse(first, &text(rest)),
            b'B' => self.bind(first, &text(rest)),
            b'D' => self.describe_named(body[0], &text(rest)),
            b'E' => {
                let rows = u32::from_be_bytes(rest.try_into().unwrap());
                self.execute_portal(&first, rows)
            }
            _ => {
                let name = text(rest);
                match (body[0], &*name) {
                    (b'S', "") => self.unnamed = None,
                    (b'S', name) => drop(self.statements.remove(name)),
                    (_, name) => drop(self.portals.remove(name)),
                }
                self.say("CloseComplete");
                Ok(())
            }
        }
    }

    fn parse(&mut self, name: String, sql: &str) -> Result<(), Error> {
        let is_unnamed = name.is_empty();
        if is_unnamed {
            self.unnamed = None;
        }
        let mut ops = parse(sql);
        if ops.contains(&Op::ParseError) {
            return Err(("42601", "syntax error".to_owned()));
        }
        if ops.len() > 1 {
            return Err(("42601", "several commands in one statement".to_owned()));
        }
        let op = ops.pop();
        self.check_failed(op.as_ref())?;
        match self.statements.entry(name) {
            Entry::Vacant(_) if is_unnamed => self.unnamed = Some(op),
            Entry::Vacant(place) => {
                place.insert(op);
            }
            Entry::Occupied(taken) => {
                let name = taken.key();
                return Err(("42P05", format!("prepared statement \"{name}\" already exists")));
            }
        }
        self.say("ParseComplete");
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Option<Op>, Error> {
        match name {
            "" => self.unnamed.clone().ok_or_else(|| {
                let message = "unnamed prepared statement does not exist";
                ("26000", message.to_owned())
            }),
            name => {
                self.statements.get(name).cloned().ok_or_else(|| {
                    ("26000", format!("prepared statement \"{name}\" does not exist"))
                })
            }
        }
    }

    fn bind(&mut self, portal: String, statement: &str) -> Result<(), Error> {
        let op = self.statement(statement)?;
        self.check_failed(op.as_ref())?;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(("42P03", format!("cursor \"{portal}\" already exists")));
        }
        let rows_left = match op {
            Some(Op::Select(rows)) => rows,
            _ => 0,
        };
        self.portals.insert(portal, Portal { op, rows_left });
        self.say("BindComplete");
        Ok(())
    }

    fn describe_named(&mut self, kind: u8, name: &str) -> Result<(), Error> {
        let op = if kind == b'S' { self.statement(name)? } else { self.portal(name)?.op.clone() };
        // PostgreSQL refuses only to describe rows; but a statement that has to be prepared first,
        // because it was prepared elsewhere, is refused whatever it is.
        self.check_failed(op.as_ref())?;
        if kind == b'S' {
            self.say("ParameterDescription");
        }
        match op {
            Some(Op::Select(_) | Op::Draw | Op::Where) => self.say("RowDescription v:text"),
            _ => self.say("NoData"),
        }
        Ok(())
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal, Error> {
        self.portals
            .get_mut(name)
            .ok_or_else(|| ("34000", format!("portal \"{name}\" does not exist")))
    }

    fn execute_portal(&mut self, name: &str, most: u32) -> Result<(), Error> {
        let portal = self.portal(name)?;
        let Some(op) = portal.op.clone() else {
            self.say("EmptyQueryResponse");
            return Ok(());
        };
        if let Op::Select(_) = op {
            let rows = match most {
                0 => portal.rows_left,
                most => most.min(portal.rows_left),
            };
            portal.rows_left -= rows;
            // A portal that gave as many rows as were asked for does not know of its end yet.
            let suspended = most != 0 && rows == most;
            for _ in 0..rows {
                self.row();
            }
            match suspended {
                true => self.say("PortalSuspended"),
                false => self.say(&format!("CommandComplete \"SELECT {rows}\"")),
            }
            return Ok(());
        }
        self.check_failed(Some(&op))?;
        self.execute(&op, false)?;
        if op == Op::CopyIn {
            self.copying = Some(Copying::Extended);
        }
        Ok(())
    }
}

/// The name and value that a statement sets.
pub(crate) fn setting(statement: &str) -> Option<(String, String)> {
    match parse(statement).pop() {
        Some(Op::Set(name, value)) => Some((name, value)),
        _ => None,
    }
}

/// The statements of a text.
fn parse(sql: &str) -> Vec<Op> {
    if sql.starts_with("BEGIN;DO ") {
        // A transaction is made to fail.
        return vec![Op::Begin { read_only: false, tag: "BEGIN" }, Op::ExecuteError];
    }
    if sql.starts_with("DO ") {
        return vec![Op::ExecuteError];
    }
    sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(parse_one).collect()
}

fn parse_one(statement: &str) -> Op {
    if statement.starts_with("SELECT pg_catalog.set_config(") {
        let words: Vec<&str> = statement.split('\'').collect();
        return Op::Set(words[1].to_owned(), words[3].to_owned());
    }
    if statement.starts_with("SELECT 's',") {
        return Op::Inspect;
    }
    if statement == "SHOW default_transaction_isolation" {
        return Op::Isolation;
    }
    let lower = statement.to_ascii_lowercase().replace('"', "");
    let words: Vec<&str> = lower.split_whitespace().collect();
    match words.as_slice() {
        ["select", "draw"] => Op::Draw,
        ["select", "where"] => Op::Where,
        ["select", "many"] => Op::Select(MANY),
        ["select", "broken"] => Op::ExecuteError,
        ["select", _] => Op::Select(1),
        ["insert", ..] => Op::Insert,
        ["create", "temp", ..] => Op::TempTable,
        ["copy", "t", ..] => Op::CopyIn,
        ["copy", ..] => Op::CopyOut,
        ["begin"] => Op::Begin { read_only: false, tag: "BEGIN" },
        ["start", "transaction"] => Op::Begin { read_only: false, tag: "START TRANSACTION" },
        ["begin", "read", "only"] => Op::Begin { read_only: true, tag: "BEGIN" },
        ["set", "transaction", "read", "only"] => Op::SetReadOnly,
        ["set", "local", name, "to", value] => {
            Op::SetLocal((*name).to_owned(), (*value).to_owned())
        }
        ["set", name, "to", value] => Op::Set((*name).to_owned(), (*value).to_owned()),
        ["reset", "session", "authorization"] | ["reset", "role"] => Op::Nothing("RESET"),
        ["reset", name] => Op::Reset((*name).to_owned()),
        ["commit"] => Op::Commit,
        ["rollback"] => Op::Rollback,
        ["savepoint", name] => Op::Savepoint((*name).to_owned()),
        ["rollback", "to", name] => Op::RollbackTo((*name).to_owned()),
        ["release", name] => Op::Release((*name).to_owned()),
        ["deallocate", "all"] => Op::DeallocateAll,
        ["discard", "all"] => Op::DiscardAll,
        ["discard", "sequences"] => Op::Nothing("DISCARD SEQUENCES"),
        _ => Op::ParseError,
    }
}
