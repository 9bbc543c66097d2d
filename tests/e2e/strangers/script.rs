//! Sessions as files: `--;; name` opens a session, a line is a message, lines that are indented go on with
//! the one before.
//!
//! A message is a text for the simple protocol, or begins with a backslash:
//! `\run [a|b] SQL` runs once by the extended protocol, with parameters; `\typed TYPE [a] SQL` says what type
//! the parameter has; `\parse NAME SQL` and `\bind NAME [a]` name a statement and run it; `\pipe A \; B`
//! runs several up to one Sync.

use std::fs;
use std::path::Path;

use crate::harness::Message;

/// A session by its name.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) messages: Vec<String>,
}

/// Sessions that build on each other, in one database.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) name: String,
    pub(super) sessions: Vec<Session>,
}

/// All scripts of a directory, by name.
pub(super) fn scripts(directory: &Path) -> Vec<Script> {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "sql")).collect();
    files.sort();
    let script = |path: &std::path::PathBuf| Script {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        sessions: sessions(&fs::read_to_string(path).unwrap()),
    };
    files.iter().map(script).collect()
}

fn sessions(text: &str) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("--;; ") {
            sessions.push(Session { name: name.to_owned(), messages: Vec::new() });
            continue;
        }
        let messages = &mut sessions.last_mut().expect("a line before the first session").messages;
        match messages.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push('\n');
                last.push_str(line);
            }
            _ => messages.push(line.to_owned()),
        }
    }
    // An empty line between two sessions is for the reader.
    for session in &mut sessions {
        if session.messages.last().is_some_and(String::is_empty) {
            session.messages.pop();
        }
    }
    sessions
}

/// How plain texts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Simple,
    Extended,
}

/// The bytes of a message. `type_oid` knows types by their names.
pub(super) fn bytes(text: &str, protocol: Protocol, type_oid: impl FnOnce(&str) -> u32) -> Message {
    let new = Message::new;
    if let Some(rest) = text.strip_prefix("\\run ") {
        let (values, sql) = parameters(rest);
        return new().run(sql, &values).sync();
    }
    if let Some(rest) = text.strip_prefix("\\typed ") {
        let (name, rest) = rest.split_once(' ').unwrap();
        let (values, sql) = parameters(rest);
        let parse = new().parse_typed("", sql, &[type_oid(name)]);
        return parse.bind("", "", &values).describe(b'P', "").execute("", 0).sync();
    }
    if let Some(rest) = text.strip_prefix("\\parse ") {
        let (name, sql) = rest.split_once(' ').unwrap();
        return new().parse(name, sql).sync();
    }
    if let Some(rest) = text.strip_prefix("\\bind ") {
        let (name, rest) = rest.split_once(' ').unwrap();
        let (values, _) = parameters(rest);
        return new().bind("", name, &values).describe(b'P', "").execute("", 0).sync();
    }
    if let Some(rest) = text.strip_prefix("\\pipe ") {
        let pipeline = rest.split("\\;").fold(new(), |pipeline, sql| pipeline.run(sql.trim(), &[]));
        return pipeline.sync();
    }
    match protocol {
        Protocol::Simple => new().query(text),
        Protocol::Extended => new().run(text, &[]).sync(),
    }
}

/// `[a|b] SQL`.
fn parameters(text: &str) -> (Vec<&str>, &str) {
    let (values, sql) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).unwrap();
    let values = if values.is_empty() { Vec::new() } else { values.split('|').collect() };
    (values, sql.trim_start())
}
