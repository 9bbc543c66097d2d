//! The reference configuration: every key, its default and why, from the keys' one source.

use std::fmt::Write as _;

use super::fields::NOT_AVAILABLE;
use super::sections::{
    Auth, Cluster, Consistency, Database, Failover, Firewall, Http, Limits, Listen, Log, Pool,
    Routing, Runtime,
};
use super::spec::{Availability, Facts, Key, Section, Shape, Table, available, planned};

/// The whole file.
pub(crate) static ROOT: Table = Table {
    about: &[" The configuration of pgweir: every key with its default."],
    keys: &[
        part::<Listen>("listen"),
        part::<Runtime>("runtime"),
        part::<Http>("http"),
        part::<Auth>("auth"),
        named::<Cluster>("clusters", "main", available().required()),
        named::<Database>("databases", "app", available()),
        part::<Pool>("pool"),
        part::<Routing>("routing"),
        part::<Consistency>("consistency"),
        part::<Failover>("failover"),
        part::<Limits>("limits"),
        part::<Log>("log"),
        part::<Firewall>("firewall"),
        Key {
            name: "peers",
            why: &[" Other instances of pgweir."],
            facts: planned(),
            shape: Shape::Reserved,
            default: String::new,
        },
    ],
};

const fn part<S: Section>(name: &'static str) -> Key {
    Key {
        name,
        why: S::TABLE.about,
        facts: available(),
        shape: Shape::Table(S::TABLE),
        default: String::new,
    }
}

const fn named<S: Section>(name: &'static str, example: &'static str, facts: Facts) -> Key {
    Key {
        name,
        why: S::TABLE.about,
        facts,
        shape: Shape::Named { table: S::TABLE, example },
        default: String::new,
    }
}

const HEAD: &str = "\
# The configuration of pgweir: every key with its default and one line of why.
# Printed by `pgweir config`. The smallest file that serves has two lines:
#
#   [clusters.main]
#   nodes = [\"127.0.0.1:5432\", \"127.0.0.1:5433\"]
#
# Durations are strings: \"250ms\", \"5s\", \"10m\", \"1h\", \"1d\". Sizes too: \"16KiB\" (1024), \"16kB\" (1000),
# or plain bytes. ${NAME} in a string is the environment variable NAME; $$ is a plain $. Relative
# paths start at this file. Unknown keys are errors.
";

/// The reference configuration. Valid as it stands, and equal to `Config::default()`.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for key in ROOT.keys {
        match &key.shape {
            Shape::Table(table) => write_table(&mut text, key.name, table, ""),
            Shape::Named { table, example } => {
                // Sections that may be missing are shown commented out: by default there is none.
                let margin = if key.facts.is_required { "" } else { "# " };
                write_table(&mut text, &format!("{}.{example}", key.name), table, margin);
            }
            Shape::Value { .. } | Shape::Reserved => {}
        }
    }
    text
}

fn write_table(text: &mut String, path: &str, table: &Table, margin: &str) {
    text.push('\n');
    for line in table.about {
        push_line(text, "", &format!("#{line}"));
    }
    push_line(text, margin, &format!("[{path}]"));
    for key in table.keys {
        if let Shape::Value { words, .. } = &key.shape {
            write_why(text, key);
            for word in words() {
                let why = word.why.concat();
                let note = note(word.facts.availability);
                push_line(
                    text,
                    "",
                    &format!("#   {}:{}{note}", word.text, why.trim_end_matches('.')),
                );
            }
            write_value(text, key, margin);
        }
    }
    for key in table.keys {
        match (&key.shape, key.facts.overrides) {
            (Shape::Table(_), Some(_)) => {
                text.push('\n');
                write_why(text, key);
                push_line(text, "# ", &format!("[{path}.{}]", key.name));
            }
            (Shape::Table(inner), None) => {
                write_table(text, &format!("{path}.{}", key.name), inner, margin);
            }
            _ => {}
        }
    }
}

fn write_why(text: &mut String, key: &Key) {
    let note = note(key.facts.availability);
    let Some((last, first)) = key.why.split_last() else {
        return;
    };
    for line in first {
        push_line(text, "", &format!("#{line}"));
    }
    let last = if note.is_empty() { last } else { last.trim_end_matches('.') };
    push_line(text, "", &format!("#{last}{note}"));
}

fn write_value(text: &mut String, key: &Key, margin: &str) {
    match key.facts.example {
        Some(example) => push_line(text, "# ", &format!("{} = {example}", key.name)),
        None => push_line(text, margin, &format!("{} = {}", key.name, (key.default)())),
    }
}

fn note(availability: Availability) -> String {
    match availability {
        Availability::Available => String::new(),
        Availability::Planned => format!(" ({NOT_AVAILABLE})"),
    }
}

fn push_line(text: &mut String, margin: &str, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{margin}{line}");
}
