//! What functions, operators and relations are: the facts that the walk asks for.
//!
//! PostgreSQL's own objects come from tables in this crate (see `builtins`). What an operator vouches
//! for or warns of stands above them. Everything else is unknown, and doubt goes to the primary: an
//! unknown function or operator is a write. An unknown relation is taken for a plain table.

use std::collections::HashSet;

use crate::builtins;

/// The oldest major version of PostgreSQL whose functions are told apart by version.
const BASE_VERSION: u16 = builtins::TABLE_VERSION;

/// What calling a function or reading a relation amounts to, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Harmless on a standby, and the answer is the same.
    Read,
    /// Only the primary's answer is right.
    Primary,
    /// It writes, or acts on the server it runs on.
    Write,
    /// It runs SQL that is given as a value or lives in a table.
    RunsText,
    /// Nobody has said.
    Unknown,
}

/// What to make of a function that neither PostgreSQL nor the operator vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFunctions {
    /// It may write.
    #[default]
    Write,
    /// The operator has decided to take the risk.
    Read,
}

/// An immutable snapshot of what is known about a database's objects.
///
/// Names are as PostgreSQL folds them: lower case, unless they were created in quotes. A name may be
/// given as `name`, which stands for any schema, or as `schema.name`.
#[derive(Debug, Clone)]
pub struct Catalog {
    server_version: u16,
    read_functions: HashSet<Box<str>>,
    write_functions: HashSet<Box<str>>,
    unknown_functions: UnknownFunctions,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Catalog {
    /// PostgreSQL's own objects and nothing else.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            server_version: BASE_VERSION,
            read_functions: HashSet::new(),
            write_functions: HashSet::new(),
            unknown_functions: UnknownFunctions::default(),
        }
    }

    /// Adds the harmless functions that PostgreSQL has gained up to this major version. Without it a
    /// function that is new in the servers' version counts as unknown.
    #[must_use]
    pub fn with_server_version(mut self, major: u16) -> Self {
        self.server_version = major;
        self
    }

    /// Functions the operator vouches for.
    #[must_use]
    pub fn with_read_functions<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.read_functions.extend(names.into_iter().map(Box::from));
        self
    }

    /// Functions the operator knows to write; this beats everything else.
    #[must_use]
    pub fn with_write_functions<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.write_functions.extend(names.into_iter().map(Box::from));
        self
    }

    /// What to make of functions that nobody vouches for.
    #[must_use]
    pub fn with_unknown_functions(mut self, policy: UnknownFunctions) -> Self {
        self.unknown_functions = policy;
        self
    }

    /// What calling this function amounts to, whichever of its overloads is meant.
    #[must_use]
    pub fn function(&self, schema: Option<&str>, name: &str) -> Verdict {
        if !self.write_functions.is_empty() && contains(&self.write_functions, schema, name) {
            return Verdict::Write;
        }
        if !self.read_functions.is_empty() && contains(&self.read_functions, schema, name) {
            return Verdict::Read;
        }
        match (builtins::function(schema, name, self.server_version), self.unknown_functions) {
            (Some(verdict), _) => verdict,
            (None, UnknownFunctions::Write) => Verdict::Unknown,
            (None, UnknownFunctions::Read) => Verdict::Read,
        }
    }

    /// What using this operator amounts to.
    #[must_use]
    pub fn operator(&self, schema: Option<&str>, name: &str) -> Verdict {
        if builtins::is_operator(schema, name) {
            return Verdict::Read;
        }
        match self.unknown_functions {
            UnknownFunctions::Write => Verdict::Unknown,
            UnknownFunctions::Read => Verdict::Read,
        }
    }

    /// What reading this relation amounts to.
    #[must_use]
    pub fn relation(&self, schema: Option<&str>, name: &str) -> Verdict {
        builtins::relation(schema, name).unwrap_or(Verdict::Read)
    }
}

/// True if the set names the function, with its schema or without.
fn contains(names: &HashSet<Box<str>>, schema: Option<&str>, name: &str) -> bool {
    names.contains(name)
        || schema.is_some_and(|schema| names.contains(format!("{schema}.{name}").as_str()))
}
