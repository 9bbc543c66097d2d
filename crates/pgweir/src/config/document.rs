//! The configuration as a page of documentation, from the keys' one source.

use std::fmt::Write as _;

use super::fields::NOT_AVAILABLE;
use super::reference::ROOT;
use super::spec::{Availability, Facts, Key, Shape, Table};

/// Every section with a table of its keys, for docs/configuration.md.
#[must_use]
pub fn document() -> String {
    let mut text = String::new();
    for key in ROOT.keys {
        match &key.shape {
            Shape::Table(table) => write_section(&mut text, key.name, table),
            Shape::Named { table, .. } => {
                write_section(&mut text, &format!("{}.NAME", key.name), table);
            }
            Shape::Value { .. } | Shape::Reserved => {}
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn write_section(text: &mut String, path: &str, table: &Table) {
    let about: Vec<&str> = table.about.iter().map(|line| line.trim()).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "## `[{path}]`\n\n{}\n", about.join(" "));
    let rows: Vec<&Key> = table.keys.iter().filter(|key| !is_section(key)).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "| key | default | |\n|---|---|---|");
        for key in rows {
            write_row(text, key);
        }
        text.push('\n');
    }
    for key in table.keys {
        match (&key.shape, key.facts.overrides) {
            (Shape::Table(_), Some(section)) => {
                let why = why(key.why, key.facts);
                let name = key.name;
                let _ = writeln!(
                    text,
                    "### `[{path}.{name}]`\n\n{why} The keys are those of \
                     [`[{section}]`](#{section}).\n"
                );
            }
            (Shape::Table(inner), None) => {
                write_section(text, &format!("{path}.{}", key.name), inner);
            }
            _ => {}
        }
    }
}

fn is_section(key: &Key) -> bool {
    matches!(key.shape, Shape::Table(_))
}

fn write_row(text: &mut String, key: &Key) {
    let default = match key.facts.example {
        Some(example) => format!("none; e.g. {}", code(example)),
        None => code(&(key.default)()),
    };
    let mut why = why(key.why, key.facts);
    if let Shape::Value { words, .. } = &key.shape {
        for word in words() {
            let meaning = self::why(word.why, word.facts);
            let _ = write!(why, "<br>`{}`: {meaning}", word.text);
        }
    }
    let _ = writeln!(text, "| `{}` | {default} | {why} |", key.name);
}

/// TOML as a cell of a table shows it.
fn code(toml: &str) -> String {
    format!("`{}`", cell(toml))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn why(lines: &[&str], facts: Facts) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    let note = match facts.availability {
        Availability::Available => String::new(),
        Availability::Planned => format!(" *({NOT_AVAILABLE})*"),
    };
    format!("{}{note}", cell(&lines.join(" ")))
}
