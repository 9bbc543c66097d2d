//! Where the reader is: the file, the key's path, and every problem found so far.
//!
//! The TOML parser gives a tree whose keys and values know their place in the text. Reading walks that
//! tree with one [`Scope`] in hand; a problem never stops the walk, so that one run names them all.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::Fields;
use super::problem::{Problem, Source};
use super::spec::Table;

/// Looks up an environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The outside world that a file may refer to.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    /// Relative paths in the file start here.
    pub(crate) directory: &'a Path,
    pub(crate) environment: Environment<'a>,
    /// The files that were looked at, for whoever waits for them to change.
    pub(crate) files: &'a RefCell<BTreeSet<PathBuf>>,
}

impl World<'_> {
    /// Notes a file that is looked at.
    pub(crate) fn note(&self, file: &Path) {
        self.files.borrow_mut().insert(file.to_owned());
    }
}

/// The walk through one file.
pub(crate) struct Scope<'a> {
    source: &'a Source<'a>,
    world: World<'a>,
    /// The path of the key being read, ready to be shown.
    path: String,
    /// The place of the value being read.
    span: Range<usize>,
    /// The lines with syntax errors. With any, what seems missing in the file may not be.
    broken_lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'a> Scope<'a> {
    /// Parses the text as far as it can be parsed; syntax errors are the first problems.
    pub(crate) fn parse(
        source: &'a Source<'a>,
        text: &'a str,
        world: World<'a>,
    ) -> (Self, Tree<'a>) {
        let (tree, errors) = DeTable::parse_recoverable(text);
        let mut scope = Self {
            source,
            world,
            path: String::new(),
            span: 0..0,
            broken_lines: Vec::new(),
            problems: Vec::new(),
        };
        for error in errors {
            scope.span = error.span().unwrap_or(text.len()..text.len());
            scope.report(error.message().replace('\n', ", "), None);
            scope.broken_lines.extend(scope.problems.last().map(|problem| problem.line));
        }
        scope.span = 0..0;
        (scope, tree)
    }

    /// Whether nothing is wrong so far with a key of the section being read.
    pub(crate) fn is_sure(&self, key: &str) -> bool {
        let mut path = self.path.clone();
        Step::Key(key).append_to(&mut path);
        let is_within = |problem: &Problem| {
            let rest = problem.key.strip_prefix(&path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        !self.problems.iter().any(is_within)
    }

    /// Whether parts of the file are unknown because of syntax errors.
    pub(crate) fn is_partial(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// The directory that relative paths start from, and the environment.
    pub(crate) fn world(&self) -> World<'a> {
        self.world
    }

    /// Whether the whole file is being read rather than a section of it.
    pub(crate) fn is_at_top(&self) -> bool {
        self.path.is_empty()
    }

    /// The place of the value being read.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Looks ahead: what is wrong there is reported in its own turn.
    pub(crate) fn quietly<R>(&mut self, read: impl FnOnce(&mut Self) -> R) -> R {
        let known = self.count();
        let answer = read(self);
        self.problems.truncate(known);
        answer
    }

    /// How many problems there are so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.len()
    }

    /// Gives a suggestion to the problems beyond the first `known` that have none.
    pub(crate) fn suggest_since(&mut self, known: usize, suggestion: impl Fn() -> String) {
        for problem in self.problems.iter_mut().skip(known) {
            problem.suggestion.get_or_insert_with(&suggestion);
        }
    }

    /// Adds problems found in another file.
    pub(crate) fn adopt(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// Every problem: this file's in the order of the text, then those of other files.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        // What else seems wrong with a line that is not TOML is only a consequence.
        let broken = self.broken_lines;
        let is_other = |p: &Problem| p.file != self.source.file();
        problems.retain(|p| p.key.is_empty() || is_other(p) || !broken.contains(&p.line));
        problems.sort_by_key(|p| (is_other(p), p.line, p.column));
        problems.dedup();
        problems
    }

    /// Notes a problem at the value being read.
    pub(crate) fn report(&mut self, message: impl Into<String>, suggestion: Option<String>) {
        let (line, column) = self.source.position(self.span.start);
        self.problems.push(Problem {
            file: self.source.file().to_owned(),
            line,
            column,
            key: self.path.clone(),
            message: message.into(),
            suggestion,
        });
    }

    /// Reads on at a key or element of what is being read.
    pub(crate) fn enter<R>(
        &mut self,
        step: Step<'_>,
        span: Range<usize>,
        read: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let length = self.path.len();
        step.append_to(&mut self.path);
        let outer = std::mem::replace(&mut self.span, span);
        let answer = read(self);
        self.path.truncate(length);
        self.span = outer;
        answer
    }

    /// Reads a table; anything else is a problem.
    pub(crate) fn table(
        &mut self,
        value: &DeValue<'_>,
        known: &'static Table,
        read: impl FnOnce(&Fields<'_, '_>, &mut Self) -> bool,
    ) -> bool {
        match value {
            DeValue::Table(table) => read(&Fields::new(table, known), self),
            other => {
                let path = if self.path.is_empty() { "name" } else { &self.path };
                let suggestion = format!("write [{path}] and its keys below");
                self.report(format!("expected a table, got {}", kind(other)), Some(suggestion));
                false
            }
        }
    }

    /// Replaces `${NAME}` by the environment variable and `$$` by `$`.
    ///
    /// Any other `$` stands for itself, so that SCRAM secrets and `$1` need no escape.
    pub(crate) fn expand(&mut self, raw: &str) -> Option<String> {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let Some((name, after)) = after.split_once('}') else {
                    let suggestion = "write ${NAME}, or $${ for the characters themselves";
                    self.report("a ${ without its }", Some(suggestion.into()));
                    return None;
                };
                text.push_str(&self.variable(name)?);
                rest = after;
            } else {
                text.push('$');
                rest = after;
            }
        }
        text.push_str(rest);
        Some(text)
    }

    fn variable(&mut self, name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['=', '\0']) {
            let suggestion = "write ${NAME}".to_owned();
            self.report(format!("{name:?} cannot name an environment variable"), Some(suggestion));
            return None;
        }
        let value = (self.world.environment)(name);
        if value.is_none() {
            let suggestion = format!("export {name}, or write $${{ for the characters themselves");
            self.report(format!("the environment variable {name} is not set"), Some(suggestion));
        }
        value
    }
}

/// The parsed file.
pub(crate) type Tree<'a> = Spanned<DeTable<'a>>;

/// One step down the path of a key.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// A key of a table.
    Key(&'a str),
    /// An element of a list, from 0.
    Element(usize),
}

impl Step<'_> {
    pub(super) fn append_to(self, path: &mut String) {
        match self {
            Self::Key(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key_text(name));
            }
            Self::Element(index) => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
}

/// A key as TOML writes it: bare where it can be, else quoted.
pub(crate) fn key_text(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// A value's type with its article, for messages.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
