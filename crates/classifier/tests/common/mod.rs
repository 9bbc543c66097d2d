//! Rows of statements and what they must be labelled as.
//!
//! A row file is SQL. A line `--;; access reason token …` opens a row; the lines up to the next one are
//! the statement. Tokens say what else the label holds: control, effects, hint, local answers; `exact` if
//! the label may not be shared by normalised form; and, for the tests on real servers, `varies` if the
//! answer is different each time and `server` if the statement cannot be run there.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod database;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pgweir_classifier::{
    Characteristics, Control, Discard, Effect, Hint, Isolation, Label, Local, Pin, Unpin,
};

/// One statement and what is expected of it.
pub(crate) struct Row {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) expected: String,
    pub(crate) sql: String,
    pub(crate) flags: Vec<String>,
}

/// Words in a row's head that are for the tests on real servers.
const FLAGS: &[&str] = &["varies", "server"];

impl Row {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows")
}

/// All rows of all files, in order.
pub(crate) fn rows() -> Vec<Row> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory())
        .expect("the directory of rows")
        .map(|entry| entry.expect("a file of rows").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    files.iter().flat_map(|file| rows_of(file)).collect()
}

pub(crate) fn rows_of(file: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(file).expect("a file of rows");
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(head) = line.strip_prefix("--;;") {
            let (flags, expected): (Vec<&str>, Vec<&str>) =
                head.split_whitespace().partition(|word| FLAGS.contains(word));
            rows.push(Row {
                file: file.to_owned(),
                line: number + 1,
                expected: expected.join(" "),
                sql: String::new(),
                flags: flags.into_iter().map(str::to_owned).collect(),
            });
        } else if let Some(row) = rows.last_mut() {
            row.sql.push_str(line);
            row.sql.push('\n');
        }
    }
    for row in &mut rows {
        row.sql.truncate(row.sql.trim_end().len());
    }
    rows
}

/// A label in the words of a row's head.
pub(crate) fn describe(label: &Label) -> String {
    let mut words = vec![label.access.as_str().to_owned(), label.reason.as_str().to_owned()];
    match label.hint {
        Some(Hint::Primary) => words.push("hint(primary)".into()),
        Some(Hint::Replica) => words.push("hint(replica)".into()),
        None => {}
    }
    for statement in &label.statements {
        words.extend(control(&statement.control));
        words.extend(statement.effects.iter().map(effect));
        words.extend(statement.local.as_ref().map(local));
    }
    let exact = format!("{:?}", label.sharing) == "Exact";
    if exact && !label.unparsed {
        words.push("exact".into());
    }
    words.join(" ").replace('\n', "\\n")
}

fn characteristics(characteristics: &Characteristics) -> String {
    let mut text = String::new();
    let isolation = characteristics.isolation.map(|isolation| match isolation {
        Isolation::ReadUncommitted => "uncommitted",
        Isolation::ReadCommitted => "committed",
        Isolation::RepeatableRead => "repeatable",
        Isolation::Serializable => "serializable",
    });
    let read_only = characteristics.read_only.map(|yes| if yes { "ro" } else { "rw" });
    let deferrable = characteristics.deferrable.map(|yes| if yes { "deferrable" } else { "not" });
    for word in [isolation, read_only, deferrable].into_iter().flatten() {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{word}").expect("writing to a string");
    }
    text
}

fn control(control: &Control) -> Option<String> {
    Some(match control {
        Control::None => return None,
        Control::Begin(modes) => format!("begin({})", characteristics(modes)),
        Control::SetTransaction(modes) => format!("set_transaction({})", characteristics(modes)),
        Control::Commit { chain } => if *chain { "commit(chain)" } else { "commit" }.into(),
        Control::Rollback { chain } => if *chain { "rollback(chain)" } else { "rollback" }.into(),
        Control::Savepoint(name) => format!("savepoint({name})"),
        Control::Release(name) => format!("release({name})"),
        Control::RollbackTo(name) => format!("rollback_to({name})"),
        Control::PrepareTransaction => "prepare_transaction".into(),
        Control::EndPrepared => "end_prepared".into(),
    })
}

fn effect(effect: &Effect) -> String {
    let all = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".into());
    match effect {
        Effect::Set { name, value, local } => {
            let scope = if *local { "set_local" } else { "set" };
            format!("{scope}({name}:{})", value.statement.replace(' ', "_"))
        }
        Effect::Reset { name, local: true } => format!("reset_local({name})"),
        Effect::Reset { name, local: false } => format!("reset({name})"),
        Effect::ResetAll => "reset_all".into(),
        Effect::SetSessionCharacteristics(modes) => {
            format!("session_characteristics({})", characteristics(modes))
        }
        Effect::RecallsSequence => "recalls_sequence".into(),
        Effect::ListsStatements => "lists_statements".into(),
        Effect::Discard(what) => match what {
            Discard::All => "discard(all)",
            Discard::Plans => "discard(plans)",
            Discard::Sequences => "discard(sequences)",
            Discard::Temporary => "discard(temporary)",
        }
        .into(),
        Effect::Prepare { name, body, .. } => {
            let effects: String =
                body.effects.iter().map(|of| format!(" {}", self::effect(of))).collect();
            format!("prepare({name}:{}{})", body.access.as_str(), effects.replace(' ', "_"))
        }
        Effect::Deallocate(name) => format!("deallocate({})", all(name)),
        Effect::Execute(name) => format!("execute({name})"),
        Effect::Plan(name) => format!("plan({name})"),
        Effect::DeclareCursor(name) => format!("declare({name})"),
        Effect::Pin(pin) => match pin {
            Pin::TemporaryObject(Some(name)) | Pin::Listen(name) | Pin::HoldCursor(name) => {
                format!("pin({}:{name})", pin.as_str())
            }
            _ => format!("pin({})", pin.as_str()),
        },
        Effect::Unpin(unpin) => match unpin {
            Unpin::Unlisten(name) => format!("unlisten({})", all(name)),
            Unpin::CloseCursor(name) => format!("close({})", all(name)),
            Unpin::AdvisoryLock => "advisory_unlock".into(),
            Unpin::AllAdvisoryLocks => "advisory_unlock(*)".into(),
            Unpin::Dropped(name) => format!("dropped({name})"),
        },
        Effect::UsesSequence => "uses_sequence".into(),
        Effect::DefinesObjects => "defines".into(),
        Effect::RanHiddenCode => "hidden_code".into(),
        Effect::NeedsDatabaseAlone(name) => format!("database_alone({name})"),
        Effect::AsksSetting(name) => format!("asks({name})"),
        Effect::SetsLocally => "sets_locally".into(),
    }
}

fn local(local: &Local) -> String {
    match local {
        Local::Show(name) => format!("local_show({name})"),
        Local::Set { name, value, local } => format!("local_set({name}={value},{local})"),
        Local::Reset(name) => format!("local_reset({name})"),
        Local::ExplainRoute { label, .. } => {
            format!("route[{}]", describe(label).replace(' ', ","))
        }
    }
}
