//! A router that knows what a conversation's `route` lines tell it, and a little SQL of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::verdict::{
    AccessMode, CatalogChange, Effect, Execution, Inspection, Isolation, Manner, Opening,
    OwnQuestion, Pins, Prepared, Router, SessionFacts, Setback, SettingChange, Target, Trace,
    TransactionModes, Verdict,
};

/// Judges by the script, else by the first words of each statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scripted {
    pub(crate) routes: Arc<HashMap<String, Arc<Verdict>>>,
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) unlisted: bool,
    /// Transactions read from replicas until they write.
    pub(crate) splits: bool,
}

impl Router for Scripted {
    fn judge(&mut self, sql: &[u8], _: SessionFacts<'_>) -> Arc<Verdict> {
        let sql = String::from_utf8_lossy(sql);
        match self.routes.get(&*sql) {
            Some(verdict) => verdict.clone(),
            None => Arc::new(by_first_words(&sql)),
        }
    }

    fn target(&mut self, verdict: &Verdict, facts: SessionFacts<'_>) -> Target {
        let stays = match facts.split {
            Some(AccessMode::ReadWrite) => verdict.trace < Trace::Held,
            Some(AccessMode::ReadOnly) => verdict.trace < Trace::Bound,
            None => true,
        };
        if !stays {
            return Target::Primary;
        }
        match (verdict.hint, verdict.begin) {
            (Some(Target::Replica), _) if verdict.suits_replica => Target::Replica,
            (Some(_), _) => Target::Primary,
            (None, Some(modes)) if modes.read_only != Some(true) => Target::Primary,
            (None, Some(modes)) if modes.is_serializable() => Target::Primary,
            (None, _) => verdict.target,
        }
    }

    fn splits(&self, verdict: &Verdict, _: SessionFacts<'_>) -> Option<AccessMode> {
        let modes = verdict.begin.or(verdict.set_transaction)?;
        match modes.read_only {
            _ if modes.is_serializable() || verdict.hint.is_some() => None,
            Some(true) => Some(AccessMode::ReadOnly),
            _ if modes.isolation == Some(Isolation::RepeatableRead) => None,
            _ => self.splits.then_some(AccessMode::ReadWrite),
        }
    }

    fn sent(&mut self, _: &Verdict, _: Target) {}

    fn elsewhere(&mut self, setback: Setback<'_>) -> Option<Target> {
        match setback {
            Setback::Lost => Some(Target::Replica),
            Setback::Conflict | Setback::Refused { .. } => Some(Target::Primary),
            // Of a cluster that shards.
            Setback::Lacking { text, .. } => {
                let is_sharded = text.is_some_and(|text| text.ends_with(b"from shards"));
                is_sharded.then_some(Target::Primary)
            }
        }
    }

    fn schema_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn schema_changed(&mut self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    fn recalls_sequences(&self) -> bool {
        false
    }

    fn has_unlisted_settings(&self) -> bool {
        self.unlisted
    }

    fn custom_settings(&mut self) -> Arc<[Box<str>]> {
        ["app.known".into()].into()
    }

    fn answer(&mut self, question: &OwnQuestion, _: SessionFacts<'_>) -> String {
        match question {
            OwnQuestion::Denied { .. } => String::new(),
            OwnQuestion::Refused { message, .. } => format!("refuse {message}"),
            OwnQuestion::Token { statement, .. } => statement.to_string(),
            OwnQuestion::Show { name } => format!("SELECT 'known' AS \"pgweir.{name}\""),
            OwnQuestion::Route { statement } => format!("SELECT 'route of {statement}'"),
        }
    }
}

/// What a text is when no line says so: each statement by its first words.
pub(crate) fn by_first_words(sql: &str) -> Verdict {
    let statements: Vec<&str> =
        sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()).collect();
    let mut words = vec!["replica".to_owned()];
    for (index, statement) in statements.iter().enumerate() {
        for word in words_of(statement) {
            words.push(format!("{index} {word}"));
        }
    }
    if statements.len() > 1 {
        words.push("with more".to_owned());
        let is_plain = |one: &&str| ["select", "copy"].iter().any(|read| one.starts_with(read));
        if !statements.iter().all(is_plain) {
            words.push("bound".to_owned());
        }
        let (begin, rest) = (statements[0].starts_with("begin"), &statements[1..]);
        if begin && rest.iter().all(is_plain) {
            words.push("begins with more".to_owned());
        }
    }
    verdict(sql, &words).unwrap()
}

/// One statement in the words of a `route` line.
fn words_of(statement: &str) -> Vec<String> {
    let lower = statement.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let modes = |words: &[&str]| words.join(" ");
    match words.as_slice() {
        ["select", call, ..] if call.starts_with("currval") => {
            vec!["primary".to_owned(), "recalls sequences".to_owned()]
        }
        ["select", "where"] => vec!["primary".to_owned()],
        ["select" | "values" | "show" | "table" | "fetch", ..] => Vec::new(),
        ["copy", what, ..] if what.starts_with('(') => Vec::new(),
        ["begin", modes_of @ ..] => vec![format!("begin {}", modes(modes_of))],
        ["start", "transaction", modes_of @ ..] => vec![format!("begin {}", modes(modes_of))],
        ["set", "transaction", "read", "only"] => vec![lower.clone(), "repeatable".to_owned()],
        ["set", "transaction", _, "level", "serializable", ..]
        | ["set", "transaction", "read", "write"] => vec![lower.clone(), "bound".to_owned()],
        ["set", "transaction", ..] => vec![lower.clone(), "held".to_owned()],
        ["set", "local", ..] => vec!["repeatable".to_owned()],
        ["set", name, ..] => vec![format!("set {name} {statement}")],
        ["declare", name, ..] => vec![format!("declare {name}"), "held".to_owned()],
        ["close", name] => vec![format!("close {name}")],
        ["commit" | "rollback", "and", "chain"] => vec!["commit".to_owned(), "bound".to_owned()],
        ["commit" | "end", ..] => vec!["commit".to_owned()],
        ["rollback", "to", .., name] => vec![format!("rollback to {name}")],
        ["rollback" | "abort", ..] => vec!["rollback".to_owned()],
        ["savepoint" | "reset", _] | ["discard", "all"] => vec![lower.clone()],
        ["release", .., name] => vec![format!("release {name}")],
        ["deallocate", "all"] => vec!["forget statements".to_owned()],
        ["deallocate", name] => vec![format!("deallocate {name}")],
        ["prepare", name, "as", ..] => vec![format!("prepare {name} {statement}")],
        ["execute", name] => vec![format!("execute {name}")],
        ["alter", ..] => vec!["write".to_owned(), "changes schema".to_owned()],
        ["do", ..] => vec!["write".to_owned(), "hidden code".to_owned()],
        ["drop", ..] => vec!["write".to_owned(), "released temporary_table".to_owned()],
        ["create", "temp", ..] => vec!["write".to_owned(), "pin temporary_table".to_owned()],
        ["listen", ..] => vec!["primary".to_owned(), "pin listen".to_owned()],
        ["unlisten", "*"] => vec!["unpin listen".to_owned()],
        _ => vec!["write".to_owned()],
    }
}

/// The verdict that a `route` line spells.
///
/// # Errors
/// A word that means nothing.
pub(crate) fn verdict(sql: &str, words: &[String]) -> Result<Verdict, String> {
    let mut verdict = Verdict {
        target: Target::Replica,
        reason: "scripted",
        reason_index: 0,
        is_write: false,
        suits_replica: true,
        controls_transaction: false,
        pins_when_sent: Pins::NONE,
        trace: Trace::None,
        changes_catalog: CatalogChange::None,
        ..Verdict::unknown("scripted")
    };
    let mut effects = Vec::new();
    for word in words {
        let (index, word) = match word.split_once(' ') {
            Some((index, word)) if index.parse::<usize>().is_ok() => {
                (index.parse().unwrap(), word.trim())
            }
            _ => (0, word.trim()),
        };
        if !say(&mut verdict, sql, word) {
            let effect = effect(sql, word).ok_or_else(|| format!("no verdict: {word:?}"))?;
            note(&mut verdict, &effect);
            verdict.only_sets |= matches!(effect, Effect::Setting(_));
            verdict.only_ends |= matches!(effect, Effect::Commit | Effect::Rollback);
            effects.push((index, effect));
        }
    }
    verdict.effects = effects.into();
    verdict.only_ends &= !words.iter().any(|word| word == "with more");
    Ok(verdict)
}

/// Words that say something of the whole text.
fn say(verdict: &mut Verdict, sql: &str, word: &str) -> bool {
    match word {
        "replica" => verdict.target = Target::Replica,
        "primary" => verdict.target = Target::Primary,
        "write" => {
            verdict.target = Target::Primary;
            verdict.is_write = true;
            verdict.suits_replica = false;
        }
        "recalls sequences" => verdict.recalls_sequences = true,
        "lists statements" => verdict.lists_statements = true,
        "changes schema" => verdict.changes_catalog = CatalogChange::Any,
        "bound" => verdict.trace = Trace::Bound,
        "held" => verdict.trace = verdict.trace.max(Trace::Held),
        "repeatable" => verdict.trace = verdict.trace.max(Trace::Repeatable),
        "begins with more" => begins_with_more(verdict),
        "hidden code" => inspection(verdict).of = Pins::INSPECTED,
        "hint replica" => verdict.hint = Some(Target::Replica),
        "hint primary" => verdict.hint = Some(Target::Primary),
        "with more" => goes_on(verdict),
        _ => {
            if let Some(name) = word.strip_prefix("execute ") {
                executes(verdict, name);
                return true;
            } else if let Some(name) = word.strip_prefix("mentions ") {
                verdict.mentions = [name.into()].into();
                return true;
            } else if let Some(name) = word.strip_prefix("asks ") {
                inspection(verdict).settings = [name.into()].into();
                return true;
            } else if let Some(name) = word.strip_prefix("released ") {
                inspection(verdict).released = pins(name).unwrap();
                return true;
            } else if let Some(modes) = word.strip_prefix("begin") {
                begins(verdict, sql, modes);
            } else if let Some(modes) = word.strip_prefix("set transaction") {
                verdict.set_transaction = Some(modes_of(modes));
            } else if let Some(name) = word.strip_prefix("question show ") {
                verdict.question = Some(OwnQuestion::Show { name: name.into() });
                return true;
            } else if word == "denied" {
                let mut error = Vec::new();
                Report::new(Severity::Error, SqlState::INSUFFICIENT_PRIVILEGE, "denied")
                    .encode_error(&mut error);
                verdict.question = Some(OwnQuestion::Denied { error: error.into() });
            } else if word == "question route" {
                let statement = sql.into();
                verdict.question = Some(OwnQuestion::Route { statement });
                return true;
            } else {
                return false;
            }
            verdict.controls_transaction = true;
        }
    }
    true
}

fn inspection(verdict: &mut Verdict) -> &mut Inspection {
    verdict.inspects.get_or_insert_default()
}

fn executes(verdict: &mut Verdict, name: &str) {
    verdict.target = Target::Primary;
    verdict.is_write = true;
    verdict.executes = Some(Execution { name: name.into(), how: Manner::Alone });
    verdict.mentions = [name.into()].into();
    inspection(verdict).of = Pins::INSPECTED;
}

fn modes_of(words: &str) -> TransactionModes {
    let has = |mode: &str| words.contains(mode).then_some(true);
    let isolation = [
        ("read committed", Isolation::ReadCommitted),
        ("repeatable read", Isolation::RepeatableRead),
        ("serializable", Isolation::Serializable),
    ];
    TransactionModes {
        read_only: has("read only").or(has("read write").map(|_| false)),
        isolation: isolation.iter().find(|(name, _)| words.contains(name)).map(|(_, level)| *level),
        deferrable: None,
    }
}

fn begins(verdict: &mut Verdict, sql: &str, modes: &str) {
    verdict.begin = Some(modes_of(modes));
    verdict.only_begins = true;
    verdict.opening = opening(sql, modes_of(modes));
    verdict.trace = Trace::Bound;
}

/// A text is more than one statement.
fn goes_on(verdict: &mut Verdict) {
    verdict.only_begins = false;
    verdict.opening = None;
    verdict.only_sets = false;
    verdict.deallocates = None;
    verdict.executes = None;
    verdict.set_transaction = None;
}

/// And what follows its BEGIN only reads.
fn begins_with_more(verdict: &mut Verdict) {
    let rest = Some(Trace::None);
    let opening =
        |modes: TransactionModes| Opening { tag: "BEGIN", isolation: modes.isolation, rest };
    verdict.opening = verdict.begin.map(opening);
}

fn opening(sql: &str, modes: TransactionModes) -> Option<Opening> {
    let tag = if sql.starts_with("start") { "START TRANSACTION" } else { "BEGIN" };
    let opening = Opening { tag, isolation: modes.isolation, rest: None };
    (!modes.is_serializable()).then_some(opening)
}

fn effect(sql: &str, word: &str) -> Option<Effect> {
    let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
    Some(match (verb, rest) {
        ("set", rest) => {
            let (name, statement) = rest.split_once(' ').unwrap_or((rest, sql));
            Effect::Setting(SettingChange::Set { name: name.into(), statement: statement.into() })
        }
        ("reset", "all") => Effect::Setting(SettingChange::ResetAll),
        ("reset", name) => Effect::Setting(SettingChange::Reset { name: name.into() }),
        ("discard", "all") => Effect::Setting(SettingChange::DiscardAll),
        ("pin", name) => Effect::Pin(pins(name)?),
        ("unpin", name) => Effect::Unpin(pins(name)?),
        ("deallocate", name) => Effect::Deallocate(name.into()),
        ("prepare", rest) => {
            let (name, statement) = rest.split_once(' ')?;
            let (_, body) = statement.split_once(" as ")?;
            let (name, statement) = (name.into(), statement.into());
            let verdict = Arc::new(by_first_words(body));
            Effect::Prepare(Prepared { name, statement, verdict })
        }
        ("forget", "statements") => Effect::ForgetStatements,
        ("forget", "sequences") => Effect::ForgetSequences,
        ("commit", "") => Effect::Commit,
        ("rollback", "") => Effect::Rollback,
        ("rollback", to) => Effect::RollbackTo(to.strip_prefix("to ")?.into()),
        ("savepoint", name) => Effect::Savepoint(name.into()),
        ("release", name) => Effect::Release(name.into()),
        ("declare", name) => Effect::Declare(name.into()),
        ("close", "all") => Effect::CloseCursor(None),
        ("close", name) => Effect::CloseCursor(Some(name.into())),
        _ => return None,
    })
}

fn pins(name: &str) -> Option<Pins> {
    [
        Pins::TEMPORARY,
        Pins::LISTEN,
        Pins::HOLD_CURSOR,
        Pins::ADVISORY_LOCK,
        Pins::LOAD,
        Pins::SETTINGS,
        Pins::SQL_PREPARE,
        Pins::UNINSPECTED,
    ]
    .into_iter()
    .find(|pins| pins.names().eq([name]))
}

/// What the effect makes of the whole text.
fn note(verdict: &mut Verdict, effect: &Effect) {
    let trace = match effect {
        Effect::Setting(SettingChange::DiscardAll) => Trace::Bound,
        Effect::Setting(_) | Effect::Savepoint(_) | Effect::RollbackTo(_) | Effect::Release(_) => {
            Trace::Repeatable
        }
        Effect::Commit | Effect::Rollback | Effect::CloseCursor(_) => Trace::None,
        Effect::Declare(_) => Trace::Held,
        _ => Trace::Bound,
    };
    verdict.trace = verdict.trace.max(trace);
    match effect {
        Effect::Prepare(Prepared { name, .. }) => verdict.mentions = [name.clone()].into(),
        Effect::Deallocate(name) => {
            verdict.deallocates = Some(name.clone());
            verdict.mentions = [name.clone()].into();
        }
        Effect::Pin(pins) => {
            verdict.pins_when_sent = verdict.pins_when_sent.with(pins.surviving_rollback());
            verdict.suits_replica = false;
        }
        Effect::Commit
        | Effect::Rollback
        | Effect::RollbackTo(_)
        | Effect::Savepoint(_)
        | Effect::Release(_) => verdict.controls_transaction = true,
        _ => {}
    }
}
