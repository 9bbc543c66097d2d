//! Cases as text, many to a file.
//!
//! ```text
//! # A remark.
//! == an error in a pipeline skips to its Sync
//! startup DateStyle "German"                      a parameter of the login
//! Run "select 1/0" | Run "select 1" | Sync        a turn: what is sent at once
//! Query "select 2"
//!      | Query "select 3"                         a line that goes on
//! Parse s "select 4" | Flush
//! until ParseComplete                             what ends the answer to the turn before
//! ```
//!
//! The answer to a turn ends when every Query, Sync and FunctionCall has its ReadyForQuery, or when
//! the server waits for the data of a COPY of which the turn has no end. Where that is not so, the
//! turn is followed by `until` with a message's name, by `until closed` or by `until nothing`.

use super::notation::{Said, encode};

/// A conversation with a name.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Parameters of the login.
    pub(crate) startup: Vec<(String, String)>,
    pub(crate) turns: Vec<Turn>,
}

/// What is said at once, and what ends the answer to it.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) text: String,
    pub(crate) said: Vec<Said>,
    pub(crate) until: Until,
}

/// What ends the answer to a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// All that is owed.
    Usual,
    /// The first message of this name.
    Message(String),
    /// The end of the connection.
    Closed,
    /// Nothing is waited for.
    Nothing,
}

impl Turn {
    /// # Errors
    /// What cannot be understood, in words.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), said: encode(text)?, until: Until::Usual })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.said.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

impl Case {
    /// As it is written in a file.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("== {}", self.name)];
        lines.extend(self.startup.iter().map(|(name, value)| format!("startup {name} {value:?}")));
        for turn in &self.turns {
            lines.push(turn.text.clone());
            match &turn.until {
                Until::Usual => {}
                Until::Message(name) => lines.push(format!("until {name}")),
                Until::Closed => lines.push("until closed".to_owned()),
                Until::Nothing => lines.push("until nothing".to_owned()),
            }
        }
        lines.join("\n")
    }
}

/// The cases of a file.
///
/// # Panics
/// On what cannot be understood.
pub(crate) fn cases(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in logical_lines(file) {
        if let Some(name) = line.strip_prefix("== ") {
            assert!(cases.iter().all(|case| case.name != name), "two cases are called {name:?}");
            cases.push(Case { name: name.to_owned(), startup: Vec::new(), turns: Vec::new() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("{line:?} belongs to no case"));
        add(case, &line).unwrap_or_else(|why| panic!("{}: {why}", case.name));
    }
    cases
}

fn add(case: &mut Case, line: &str) -> Result<(), String> {
    if let Some(until) = line.strip_prefix("until ") {
        let turn = case.turns.last_mut().ok_or("until without a turn")?;
        turn.until = match until {
            "closed" => Until::Closed,
            "nothing" => Until::Nothing,
            name => Until::Message(name.to_owned()),
        };
    } else if let Some(parameter) = line.strip_prefix("startup ") {
        let (name, value) = parameter.split_once(' ').ok_or("a startup parameter has a value")?;
        case.startup.push((name.to_owned(), value.trim_matches('"').to_owned()));
    } else {
        case.turns.push(Turn::new(line)?);
    }
    Ok(())
}

/// Lines without remarks, each with those that continue it.
fn logical_lines(file: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in file.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.trim_end().to_owned()),
        }
    }
    lines
}

#[test]
fn a_case_is_read_and_written_back() {
    let text = "== a case\nstartup DateStyle \"German\"\nParse s \"select 1\" | Flush\nuntil \
                ParseComplete\nQuery \"x\"\n== another\nSync";
    let read = cases(&format!("# a remark\n\n{}", text.replace(" | Flush", "\n   | Flush")));
    let written: Vec<String> = read.iter().map(Case::text).collect();
    assert_eq!(written.join("\n"), text);
}
