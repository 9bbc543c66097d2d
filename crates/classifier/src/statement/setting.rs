//! `SET`, `RESET`, `SHOW` and `set_config`.
//!
//! Settings travel with the session, so setting one asks for no server in particular. Three groups are
//! different: the settings of the transaction (`transaction_read_only` …) are transaction control under
//! another name, `seed` is a state that cannot be carried, and `pgweir.…` is ours to answer.

use pg_query::protobuf::{VariableSetKind, VariableSetStmt, VariableShowStmt};
use pg_query::{Node, NodeEnum};

use super::Judge;
use super::constant::{Constant, constant, parse_bool, quote_identifier, quote_literal};
use crate::{
    Access, Characteristics, Control, Effect, Isolation, Local, Pin, Reason, SetValue,
    StatementLabel,
};

/// The prefix of settings that pgweir answers itself.
const OWN_PREFIX: &str = "pgweir.";

/// What a change of a setting amounts to.
pub(crate) struct Change {
    /// Set if it is `SET TRANSACTION` in another spelling.
    pub(crate) transaction: Option<Characteristics>,
    pub(crate) effects: Vec<Effect>,
}

impl Change {
    fn effect(effect: Effect) -> Self {
        Self { transaction: None, effects: vec![effect] }
    }
}

/// `set_config(name, value, local)` with constant arguments.
pub(crate) fn by_function(name: &str, value: &Constant, local: bool) -> Change {
    let text = value.as_text().unwrap_or_default();
    // Not SET: that takes a list apart that set_config takes as one text.
    let statement = format!(
        "SELECT pg_catalog.set_config({}, {}, false)",
        quote_literal(name),
        quote_literal(&text)
    );
    let first = text.split(',').next().unwrap_or_default().trim().to_owned();
    change(name, SetValue { statement, text: Some(text) }, &first, local)
}

/// What giving a setting a value amounts to. `first` is the first element of its list of values.
fn change(name: &str, value: SetValue, first: &str, local: bool) -> Change {
    let name = name.to_ascii_lowercase();
    if let Some(characteristics) = of_transaction(&name, value.text.as_deref()) {
        return Change { transaction: Some(characteristics), effects: Vec::new() };
    }
    if name == "seed" {
        return Change::effect(Effect::Pin(Pin::RandomSeed));
    }
    let mut change = Change::effect(Effect::Set { name: name.clone(), value, local });
    let first = first.trim_matches('"').to_ascii_lowercase();
    if name == "search_path" && (first == "pg_temp" || first.starts_with("pg_temp_")) {
        // Every table created from now on is temporary.
        change.effects.push(Effect::Pin(Pin::TemporaryObject(None)));
    }
    change
}

/// Whether a setting's value outlives its transaction and can be read back from a server.
pub(crate) fn can_be_asked(name: &str) -> bool {
    !name.eq_ignore_ascii_case("seed") && !is_of_transaction(name)
}

/// Whether a setting describes the running transaction: a server in recovery refuses some of its values.
pub(crate) fn is_of_transaction(name: &str) -> bool {
    of_transaction(&name.to_ascii_lowercase(), None).is_some()
}

/// The settings that describe the running transaction.
fn of_transaction(name: &str, value: Option<&str>) -> Option<Characteristics> {
    let mut characteristics = Characteristics::default();
    match name {
        "transaction_isolation" => characteristics.isolation = value.and_then(Isolation::parse),
        "transaction_read_only" => characteristics.read_only = value.and_then(parse_bool),
        "transaction_deferrable" => characteristics.deferrable = value.and_then(parse_bool),
        _ => return None,
    }
    Some(characteristics)
}

/// Transaction modes as `BEGIN` and `SET TRANSACTION` give them.
pub(super) fn characteristics(options: &[Node]) -> Characteristics {
    let mut characteristics = Characteristics::default();
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            continue;
        };
        let value = option.arg.as_deref().and_then(constant);
        match option.defname.as_str() {
            "transaction_isolation" => {
                characteristics.isolation =
                    value.and_then(|value| Isolation::parse(&value.as_text()?));
            }
            "transaction_read_only" => {
                characteristics.read_only = value.and_then(|value| value.as_bool());
            }
            "transaction_deferrable" => {
                characteristics.deferrable = value.and_then(|value| value.as_bool());
            }
            _ => {}
        }
    }
    characteristics
}

impl Judge<'_> {
    pub(super) fn show(&self, node: &VariableShowStmt) -> StatementLabel {
        let mut label = StatementLabel::new("SHOW", Access::Primary, Reason::Show);
        let name = node.name.to_ascii_lowercase();
        label.local = name.strip_prefix(OWN_PREFIX).map(|name| Local::Show(name.to_owned()));
        label
    }

    pub(super) fn set(&mut self, node: &VariableSetStmt, slice: &str) -> StatementLabel {
        self.literals_matter();
        let name = node.name.to_ascii_lowercase();
        match node.kind() {
            VariableSetKind::VarSetValue => set_value(&name, node, slice),
            VariableSetKind::VarSetMulti => set_multi(&name, node),
            VariableSetKind::VarSetDefault => reset(&name, "SET", node.is_local),
            VariableSetKind::VarReset => reset(&name, "RESET", false),
            VariableSetKind::VarResetAll => {
                let mut label = neutral("RESET");
                label.effect(Effect::ResetAll);
                label
            }
            // SET … FROM CURRENT makes what a transaction set for itself last beyond it.
            VariableSetKind::VarSetCurrent if can_be_asked(&name) => {
                let mut label = neutral("SET");
                label.effect(Effect::AsksSetting(name));
                label
            }
            VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => {
                let mut label = neutral("SET");
                label.effect(Effect::Pin(Pin::UntrackableSettings));
                label
            }
        }
    }
}

fn neutral(kind: &'static str) -> StatementLabel {
    StatementLabel::new(kind, Access::Neutral, Reason::SessionSetting)
}

/// `SET name TO value, …`.
fn set_value(name: &str, node: &VariableSetStmt, slice: &str) -> StatementLabel {
    let mut label = neutral("SET");
    let values: Option<Vec<Constant>> = node.args.iter().map(constant).collect();
    let text = match values.as_deref() {
        Some([only]) => only.as_text(),
        _ => None,
    };
    if let Some(own) = name.strip_prefix(OWN_PREFIX) {
        label.local = text.clone().map(|value| Local::Set {
            name: own.to_owned(),
            value,
            local: node.is_local,
        });
    }
    let first = values.as_ref().and_then(|values| values.first()?.as_text()).unwrap_or_default();
    let Some(statement) = replay(name, values.as_deref(), slice) else {
        label.effect(Effect::Pin(Pin::UntrackableSettings));
        return label;
    };
    let change = change(name, SetValue { statement, text }, &first, node.is_local);
    if let Some(characteristics) = change.transaction {
        set_transaction(characteristics, &mut label);
    }
    for effect in change.effects {
        label.effect(effect);
    }
    label
}

/// The statement to be said to another server. `SET TIME ZONE INTERVAL '…' HOUR TO MINUTE` has no
/// constant that could be written down again: there the client's own words are repeated.
fn replay(name: &str, values: Option<&[Constant]>, slice: &str) -> Option<String> {
    match values {
        Some(values) => {
            let name: Vec<_> = name.split('.').map(quote_identifier).collect();
            let values: Vec<_> = values.iter().map(Constant::to_sql).collect();
            Some(format!("SET {} TO {}", name.join("."), values.join(", ")))
        }
        None if name == "timezone" && !slice.contains('\\') => {
            let local = after_word(slice, "set").and_then(|rest| after_word(rest, "local"));
            Some(match local {
                Some(rest) => format!("SET {rest}"),
                None => slice.to_owned(),
            })
        }
        None => None,
    }
}

/// What follows a word, in any letter case.
fn after_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (head, rest) = text.trim_ascii_start().split_at_checked(word.len())?;
    (head.eq_ignore_ascii_case(word) && rest.starts_with(|c: char| c.is_ascii_whitespace()))
        .then(|| rest.trim_ascii_start())
}

/// `SET TRANSACTION`, in whichever spelling. A standby refuses what it cannot be, even outside of a block.
fn set_transaction(characteristics: Characteristics, label: &mut StatementLabel) {
    let is_refused = characteristics.read_only == Some(false)
        || characteristics.isolation == Some(Isolation::Serializable);
    label.reason = Reason::TransactionControl;
    if is_refused {
        label.access = Access::Primary;
    }
    label.control = Control::SetTransaction(characteristics);
}

/// `SET TRANSACTION …` and `SET SESSION CHARACTERISTICS AS TRANSACTION …`.
fn set_multi(name: &str, node: &VariableSetStmt) -> StatementLabel {
    let mut label = neutral("SET");
    match name {
        "transaction" => set_transaction(characteristics(&node.args), &mut label),
        "transaction snapshot" => {
            label.raise(Access::Primary, Reason::Snapshot);
            label.control = Control::SetTransaction(Characteristics::default());
        }
        "session characteristics" => {
            label.effect(Effect::SetSessionCharacteristics(characteristics(&node.args)));
        }
        _ => label.effect(Effect::Pin(Pin::UntrackableSettings)),
    }
    label
}

/// `RESET name` and `SET name TO DEFAULT`.
fn reset(name: &str, kind: &'static str, local: bool) -> StatementLabel {
    let mut label = neutral(kind);
    if let Some(own) = name.strip_prefix(OWN_PREFIX) {
        label.local = Some(Local::Reset(own.to_owned()));
    }
    if of_transaction(name, None).is_some() {
        // Back to the session's default, which the label cannot know.
        label.raise(Access::Primary, Reason::TransactionControl);
        label.control = Control::SetTransaction(Characteristics::default());
        return label;
    }
    if name == "seed" {
        label.effect(Effect::Pin(Pin::RandomSeed));
        return label;
    }
    label.effect(Effect::Reset { name: name.to_owned(), local });
    label
}
