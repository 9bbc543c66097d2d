//! The console's language: from a text to commands.
//!
//! It is PgBouncer's: a word, perhaps the name of a database, perhaps a semicolon. Words are read
//! without regard to case; names are taken as they stand, in double quotes too. Around that there is
//! what drivers say by themselves: BEGIN and its ends, and the settings they make at their start.

use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;

use serde_json::Value as Json;

use super::show::{self, Show};
use crate::config::is_toml;
use crate::gateway::Shutdown;

/// Commands in one text, at most.
const MAX_COMMANDS: usize = 100;

/// Settings that drivers make at their start and that mean nothing to the console.
const DRIVERS_SETTINGS: [&str; 8] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "timezone",
];

/// PgBouncer's tables that make no sense here.
const PGBOUNCERS_TABLES: [(&str, &str); 6] = [
    ("active_sockets", "SHOW SOCKETS has a column \"state\"."),
    ("dns_hosts", "Names are resolved by the system; pgweir keeps no cache of its own."),
    ("dns_zones", "Names are resolved by the system; pgweir keeps no cache of its own."),
    ("fds", "pgweir does not hand its sockets over to another process."),
    ("peers", "Instances of pgweir do not know each other in this version."),
    ("totals", "SHOW STATS_TOTALS has them."),
];

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// SHOW of a table.
    Show(&'static Show),
    /// SHOW HELP.
    Help,
    /// BEGIN, COMMIT, ROLLBACK: drivers send them. Nothing on the console can be undone.
    Transaction(Transaction),
    /// A driver's SET of something that means nothing here.
    Ignored,
    /// A change, for which an administrator needs all rights.
    Act(Action),
}

/// What changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// A change to a database, or to all.
    Database(Change, Option<String>),
    /// KILL_CLIENT.
    KillClient(i32),
    /// DRAIN of a node.
    Drain(String),
    /// UNDRAIN of a node.
    Undrain(String),
    /// SHUTDOWN.
    Shutdown(Shutdown),
    /// RELOAD.
    Reload,
    /// SET of a key of the configuration, the value in one of these ways, as TOML.
    Set(String, Vec<String>),
}

/// What is changed about a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Pause,
    Resume,
    Kill,
    Disable,
    Enable,
    Reconnect,
    WaitClose,
}

/// The verbs of changes to a database, and whether one may be meant for all of them.
const CHANGES: [(&str, Change, bool); 7] = [
    ("pause", Change::Pause, true),
    ("resume", Change::Resume, true),
    ("kill", Change::Kill, false),
    ("disable", Change::Disable, false),
    ("enable", Change::Enable, false),
    ("reconnect", Change::Reconnect, true),
    ("wait_close", Change::WaitClose, true),
];

/// What SHOW HELP says of the commands that are no SHOW.
pub(super) const USAGE: [(&str, &str); 14] = [
    ("PAUSE [db]", "clients wait; returns when no server connection is left"),
    ("RESUME [db]", "clients go on"),
    ("KILL db", "pauses, and ends its clients at once"),
    ("DISABLE db", "no new clients"),
    ("ENABLE db", "new clients again"),
    ("RECONNECT [db]", "server connections that are open now are not used again"),
    ("WAIT_CLOSE [db]", "returns when those are closed"),
    ("KILL_CLIENT id", "ends one client at once"),
    ("DRAIN node", "no new work for the node; what runs goes on"),
    ("UNDRAIN node", "new work again"),
    ("RELOAD", "reads the configuration again"),
    ("SET key = value", "sets a key of the configuration, until the next reload"),
    ("SHUTDOWN", "ends pgweir at once"),
    ("SHUTDOWN WAIT_FOR_CLIENTS", "no new clients; ends when the last has left"),
];

/// What becomes of the transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    Begin,
    Commit,
    Rollback,
}

impl Command {
    /// The columns of its answer, if that has rows.
    pub(super) fn columns(&self) -> Option<&'static [super::table::Column]> {
        match self {
            Self::Show(show) => Some(show.columns),
            _ => None,
        }
    }

    /// What CommandComplete says.
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Self::Show(_) | Self::Help => "SHOW",
            Self::Transaction(Transaction::Begin) => "BEGIN",
            Self::Transaction(Transaction::Commit) => "COMMIT",
            Self::Transaction(Transaction::Rollback) => "ROLLBACK",
            Self::Ignored => "SET",
            Self::Act(action) => action.tag(),
        }
    }
}

impl Action {
    /// As the log has it: the value of a key may be a secret.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Set(key, _) => format!("Set({key})"),
            other => format!("{other:?}"),
        }
    }

    fn tag(&self) -> &'static str {
        match self {
            Self::Database(Change::Pause, _) => "PAUSE",
            Self::Database(Change::Resume, _) => "RESUME",
            Self::Database(Change::Kill, _) => "KILL",
            Self::Database(Change::Disable, _) => "DISABLE",
            Self::Database(Change::Enable, _) => "ENABLE",
            Self::Database(Change::Reconnect, _) => "RECONNECT",
            Self::Database(Change::WaitClose, _) => "WAIT_CLOSE",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::Drain(_) => "DRAIN",
            Self::Undrain(_) => "UNDRAIN",
            Self::Shutdown(_) => "SHUTDOWN",
            Self::Reload => "RELOAD",
            Self::Set(..) => "SET",
        }
    }
}

/// Reads a text of any number of commands.
///
/// # Errors
/// What is wrong with the first that is none.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, Report> {
    let tokens = tokens(text)?;
    let parts = tokens.split(|token| *token == Token::Symbol(';')).filter(|part| !part.is_empty());
    let commands: Vec<Command> =
        parts.take(MAX_COMMANDS + 1).map(|part| command(part, text)).collect::<Result<_, _>>()?;
    if commands.len() > MAX_COMMANDS {
        let message = format!("pgweir: more than {MAX_COMMANDS} commands in one text");
        return Err(Report::new(Severity::Error, SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    }
    Ok(commands)
}

fn command(tokens: &[Token], text: &str) -> Result<Command, Report> {
    let mut words = Words(tokens);
    let invalid = || invalid(text);
    let verb = words.word().ok_or_else(invalid)?;
    let read = match verb.as_str() {
        "show" => return shown(&mut words, text),
        "begin" => Some(Command::Transaction(Transaction::Begin)),
        "start" if words.accept("transaction") => Some(Command::Transaction(Transaction::Begin)),
        "commit" | "end" => Some(Command::Transaction(Transaction::Commit)),
        "rollback" | "abort" => Some(Command::Transaction(Transaction::Rollback)),
        "set" => return set(&mut words, text),
        "suspend" if words.is_over() => {
            return Err(unsupported(
                "SUSPEND has no equivalent here",
                "PAUSE makes clients wait and closes every server connection.",
            ));
        }
        verb => action(verb, &mut words).map(Command::Act),
    };
    match read {
        // The modes of a transaction say nothing here.
        Some(Command::Transaction(block)) => Ok(Command::Transaction(block)),
        Some(command) if words.is_over() => Ok(command),
        _ => Err(invalid()),
    }
}

fn shown(words: &mut Words<'_>, text: &str) -> Result<Command, Report> {
    let name = words.word().filter(|_| words.is_over()).ok_or_else(|| invalid(text))?;
    if name == "help" {
        return Ok(Command::Help);
    }
    if let Some(show) = show::TABLES.iter().find(|show| show.name == name) {
        return Ok(Command::Show(show));
    }
    if let Some((_, hint)) = PGBOUNCERS_TABLES.iter().find(|(known, _)| *known == name) {
        let what = format!("SHOW {} has no equivalent here", name.to_uppercase());
        return Err(unsupported(&what, hint));
    }
    Err(invalid(text))
}

fn action(verb: &str, words: &mut Words<'_>) -> Option<Action> {
    if let Some((_, change, may_mean_all)) = CHANGES.iter().find(|(known, ..)| *known == verb) {
        let name = words.name();
        return (name.is_some() || *may_mean_all).then_some(Action::Database(*change, name));
    }
    match verb {
        "kill_client" => Some(Action::KillClient(words.name()?.parse().ok()?)),
        "drain" => words.name().map(Action::Drain),
        "undrain" => words.name().map(Action::Undrain),
        "shutdown" if words.accept("wait_for_clients") => {
            Some(Action::Shutdown(Shutdown::WhenClientsHaveLeft))
        }
        "shutdown" => Some(Action::Shutdown(Shutdown::Now)),
        "reload" => Some(Action::Reload),
        _ => None,
    }
}

fn set(words: &mut Words<'_>, text: &str) -> Result<Command, Report> {
    let _ = words.accept("session") || words.accept("local");
    let (key, value) = assignment(words).ok_or_else(|| invalid(text))?;
    if DRIVERS_SETTINGS.contains(&key.to_ascii_lowercase().as_str()) {
        return Ok(Command::Ignored);
    }
    Ok(Command::Act(Action::Set(key, values(value))))
}

/// A key, dotted and perhaps with names in quotes, and the tokens of its value.
fn assignment<'a>(words: &Words<'a>) -> Option<(String, &'a [Token])> {
    let is_between = |token: &Token| match token {
        Token::Bare(word) => word.eq_ignore_ascii_case("to"),
        Token::Symbol(symbol) => *symbol == '=',
        Token::Quoted(_) => false,
    };
    let between = words.0.iter().position(is_between)?;
    let (key, value) = words.0.split_at(between);
    let value = value.get(1..).filter(|value| !value.is_empty())?;
    let part = |token: &Token| match token {
        Token::Bare(word) => Some(word.clone()),
        Token::Quoted(name) => Some(format!("\"{name}\"")),
        Token::Symbol(_) => None,
    };
    let key = key.iter().map(part).collect::<Option<String>>()?;
    (!key.is_empty()).then_some((key, value))
}

/// What a value may mean, as TOML: numbers come in quotes and words without, too.
fn values(tokens: &[Token]) -> Vec<String> {
    let as_text = |text: &str| Json::from(text).to_string();
    let written = |token: &Token| match token {
        Token::Bare(word) => word.clone(),
        Token::Quoted(text) => as_text(text),
        Token::Symbol(symbol) => symbol.to_string(),
    };
    let all = tokens.iter().map(written).collect::<Vec<_>>().join(" ");
    let mut values = match tokens {
        [Token::Quoted(text)] => vec![all, text.clone()],
        [Token::Bare(word)] => vec![all, as_text(word)],
        _ => vec![all],
    };
    if values.iter().any(|value| is_toml(value)) {
        values.retain(|value| is_toml(value));
    }
    values
}

fn unsupported(what: &str, hint: &str) -> Report {
    Report::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, format!("pgweir: {what}"))
        .with_hint(hint)
}

/// The error for a text that is no command.
fn invalid(text: &str) -> Report {
    /// As much of a text as the message repeats, in characters.
    const MOST: usize = 100;
    let mut shown: String = text.trim().chars().take(MOST).collect();
    if shown.len() < text.trim().len() {
        shown.push('…');
    }
    let message = format!("pgweir: invalid command \"{shown}\"");
    Report::new(Severity::Error, SqlState::SYNTAX_ERROR, message)
        .with_hint("SHOW HELP lists the console's commands; this is not a database.")
}

// ---- tokens ----

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word, or a name without quotes.
    Bare(String),
    /// In double quotes a name, in single ones a value.
    Quoted(String),
    Symbol(char),
}

/// What is left of a command.
struct Words<'a>(&'a [Token]);

impl Words<'_> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a word, in lower case.
    fn word(&mut self) -> Option<String> {
        let (Token::Bare(word), rest) = self.0.split_first()? else {
            return None;
        };
        self.0 = rest;
        Some(word.to_ascii_lowercase())
    }

    /// Takes a name, as it stands.
    fn name(&mut self) -> Option<String> {
        let (Token::Bare(name) | Token::Quoted(name), rest) = self.0.split_first()? else {
            return None;
        };
        self.0 = rest;
        Some(name.clone())
    }

    /// Takes this word, if it comes next.
    fn accept(&mut self, wanted: &str) -> bool {
        match self.0.split_first() {
            Some((Token::Bare(word), rest)) if word.eq_ignore_ascii_case(wanted) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Report> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            _ if first.is_whitespace() => rest.trim_start(),
            '-' if rest.starts_with("--") => rest.split_once('\n').map_or("", |(_, rest)| rest),
            '/' if rest.starts_with("/*") => {
                rest.split_once("*/").map(|(_, rest)| rest).ok_or_else(|| invalid(text))?
            }
            '"' | '\'' => {
                let (name, rest) = quoted(rest, first).ok_or_else(|| invalid(text))?;
                tokens.push(Token::Quoted(name));
                rest
            }
            _ if is_bare(first) => {
                let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                let (word, rest) = rest.split_at(end);
                tokens.push(Token::Bare(word.to_owned()));
                rest
            }
            symbol => {
                tokens.push(Token::Symbol(symbol));
                rest.strip_prefix(symbol).unwrap_or_default()
            }
        };
    }
    Ok(tokens)
}

/// What a name may be made of without quotes: databases, and nodes as `host:port`.
fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "_.:-/[]$*@".contains(c)
}

/// Splits a quoted text off the head; a doubled quote stands for one.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix(quote)?;
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once(quote)?;
        name.push_str(part);
        let Some(doubled) = after.strip_prefix(quote) else {
            return Some((name, after));
        };
        name.push(quote);
        rest = doubled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands in a short form, or the SQLSTATE and message of the error.
    fn read(text: &str) -> String {
        match parse(text) {
            Ok(commands) => commands.iter().map(short).collect::<Vec<_>>().join(" | "),
            Err(report) => format!("{} {}", report.code, report.message),
        }
    }

    fn short(command: &Command) -> String {
        match command {
            Command::Show(show) => format!("show {}", show.name),
            Command::Act(action) => format!("{action:?}").to_lowercase(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn texts_and_what_they_mean() {
        let rows = [
            ("SHOW CLIENTS", "show clients"),
            ("show clients;", "show clients"),
            ("  sHoW\n\tPins ; ; ", "show pins"),
            ("/* who */ show -- what\n version", "show version"),
            ("SHOW HELP; SHOW VERSION", "help | show version"),
            ("", ""),
            (" ; -- nothing", ""),
            ("BEGIN", "transaction(begin)"),
            ("begin isolation level read committed", "transaction(begin)"),
            ("START TRANSACTION READ ONLY", "transaction(begin)"),
            ("COMMIT", "transaction(commit)"),
            ("ROLLBACK;", "transaction(rollback)"),
            ("SET extra_float_digits = 3", "ignored"),
            ("SET SESSION application_name TO 'a;b'", "ignored"),
            ("pause", "database(pause, none)"),
            ("PAUSE shop;", "database(pause, some(\"shop\"))"),
            ("RESUME \"a \"\"b\"\" c\"", "database(resume, some(\"a \\\"b\\\" c\"))"),
            ("KILL shop", "database(kill, some(\"shop\"))"),
            (
                "DISABLE shop; ENABLE shop",
                "database(disable, some(\"shop\")) | database(enable, some(\"shop\"))",
            ),
            ("RECONNECT; WAIT_CLOSE", "database(reconnect, none) | database(waitclose, none)"),
            ("KILL_CLIENT 17", "killclient(17)"),
            ("DRAIN 127.0.0.1:5433", "drain(\"127.0.0.1:5433\")"),
            ("UNDRAIN [::1]:5433", "undrain(\"[::1]:5433\")"),
            ("SHUTDOWN", "shutdown(now)"),
            ("shutdown wait_for_clients", "shutdown(whenclientshaveleft)"),
            ("RELOAD;", "reload"),
            ("SET pool.size = 5", r#"set("pool.size", ["5", "\"5\""])"#),
            ("SET pool.size TO '5'", r#"set("pool.size", ["\"5\"", "5"])"#),
            ("set log.level = debug", r#"set("log.level", ["\"debug\""])"#),
            ("SET log.queries = true", r#"set("log.queries", ["true", "\"true\""])"#),
            (
                "SET clusters.\"a b\".nodes = ['a:1', \"b:2\"]",
                r#"set("clusters.\"a b\".nodes", ["[ \"a:1\" , \"b:2\" ]"])"#,
            ),
        ];
        for (text, want) in rows {
            assert_eq!(read(text), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_a_hint() {
        let rows = [
            ("SELECT 1", "42601 pgweir: invalid command \"SELECT 1\""),
            ("SHOW", "42601 pgweir: invalid command \"SHOW\""),
            ("SHOW nothing", "42601 pgweir: invalid command \"SHOW nothing\""),
            ("SHOW CLIENTS now", "42601 pgweir: invalid command \"SHOW CLIENTS now\""),
            ("SHOW \"clients\"", "42601 pgweir: invalid command \"SHOW \"clients\"\""),
            ("SHOW VERSION; FOO", "42601 pgweir: invalid command \"SHOW VERSION; FOO\""),
            ("START", "42601 pgweir: invalid command \"START\""),
            ("SHOW CLIENTS /* open", "42601 pgweir: invalid command \"SHOW CLIENTS /* open\""),
            ("'open", "42601 pgweir: invalid command \"'open\""),
            ("SET pool.size", "42601 pgweir: invalid command \"SET pool.size\""),
            ("SET pool.size =", "42601 pgweir: invalid command \"SET pool.size =\""),
            ("SET = 5", "42601 pgweir: invalid command \"SET = 5\""),
            ("RELOAD it", "42601 pgweir: invalid command \"RELOAD it\""),
            ("KILL", "42601 pgweir: invalid command \"KILL\""),
            ("KILL_CLIENT x", "42601 pgweir: invalid command \"KILL_CLIENT x\""),
            ("PAUSE a b", "42601 pgweir: invalid command \"PAUSE a b\""),
            ("SHUTDOWN NOW", "42601 pgweir: invalid command \"SHUTDOWN NOW\""),
            ("SUSPEND", "0A000 pgweir: SUSPEND has no equivalent here"),
            ("SHOW FDS", "0A000 pgweir: SHOW FDS has no equivalent here"),
            ("show dns_hosts", "0A000 pgweir: SHOW DNS_HOSTS has no equivalent here"),
        ];
        for (text, want) in rows {
            assert_eq!(read(text), want, "{text:?}");
            assert!(parse(text).unwrap_err().hint.is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_not_repeated_whole_and_many_commands_are_too_many() {
        let report = parse(&"ä".repeat(1000)).unwrap_err();
        assert!(report.message.chars().count() < 150, "{}", report.message);
        assert_eq!(parse(&"SHOW HELP;".repeat(101)).unwrap_err().code.as_str(), "54000");
    }

    #[test]
    fn no_text_is_too_strange() {
        proptest::proptest!(|(text: String)| {
            let _ = parse(&text);
        });
    }
}
