//! Statements that an operator does not want to run, known by their fingerprint.
//!
//! A fingerprint is libpg_query's: a number made of a statement's parse tree without its literals,
//! parameters and aliases. So neither case, white space, comments, quotes around a name nor the length
//! of a list tells two statements apart, while every name of a table or column does, and so does every
//! condition: `id = 1` and `id = 1 AND true` are two. It is taken of the normalised form
//! ([`crate::lex`]), so that all texts which share a label share this answer as well.

use std::collections::HashMap;

use pg_query::protobuf::{Node, WithClause};
use pg_query::{DeparseOptions, FingerprintOptions, NodeEnum, ParserOptions};

use crate::{Options, lex};

/// Digits of a fingerprint, as it is written.
const HEX_DIGITS: usize = 16;

/// Statements within statements (`EXPLAIN PREPARE …` has two) that are looked into.
const MAX_NESTED: usize = 64;

/// One entry of the list: a statement, or its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Reads an entry: sixteen hexadecimal digits, or one statement with literals or placeholders (`$1`
    /// or `?`) for them.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(entry: &str) -> Result<Self, String> {
        if entry.len() == HEX_DIGITS && entry.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return u64::from_str_radix(entry, 16).map(Self).map_err(|error| error.to_string());
        }
        let scan = lex::scan(entry.as_bytes(), true).map_err(|reason| reason.to_string())?;
        let normalised = String::from_utf8_lossy(&scan.normalised).into_owned();
        let statements = parsed(&normalised)
            .or_else(|error| parsed(&with_parameters(&normalised)).map_err(|_| error))
            .or_else(|error| parsed(entry).map_err(|_| error))
            .map_err(|error| error.to_string())?;
        match statements.as_slice() {
            [only] => Ok(*only),
            [] => Err("it holds no statement".to_owned()),
            several => Err(format!("it holds {} statements", several.len())),
        }
    }

    /// The fingerprint of each statement in a text, in order; none if it cannot be parsed.
    #[must_use]
    pub fn all(sql: &[u8], options: Options) -> Vec<Self> {
        with_tree(sql, options, statements).unwrap_or_default()
    }
}

/// Sixteen hexadecimal digits.
impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A list of statements that are not to run.
#[derive(Debug, Clone, Default)]
pub struct Firewall {
    /// The entries as they were written.
    entries: HashMap<Fingerprint, Box<str>>,
}

impl Firewall {
    /// A firewall with these entries, each with its own words.
    pub fn new<'a>(entries: impl IntoIterator<Item = (Fingerprint, &'a str)>) -> Self {
        let entries = entries.into_iter().map(|(fingerprint, words)| (fingerprint, words.into()));
        Self { entries: entries.collect() }
    }

    /// The entry that a text runs into, by itself or by a statement in it: one of several, what
    /// `EXPLAIN`, `PREPARE`, `DECLARE`, `COPY` or `CREATE TABLE AS` is about, what stands in `WITH`.
    ///
    /// A text that the parser cannot read, no server runs. One that it may not read (longer than
    /// [`lex::MAX_CLASSIFIED_BYTES`], nested too deeply, in an encoding that hides quotes) passes.
    #[must_use]
    pub fn denies(&self, sql: &[u8], options: Options) -> Option<&str> {
        if self.entries.is_empty() {
            return None;
        }
        let found = with_tree(sql, options, |text, tree| {
            let whole = statements(text, tree).into_iter();
            whole.chain(nested(tree)).find_map(|one| self.entries.get(&one))
        });
        found.flatten().map(|words| &**words)
    }
}

/// A parse tree.
type Tree = pg_query::ParseResult;

fn parsed(text: &str) -> Result<Vec<Fingerprint>, pg_query::Error> {
    Ok(statements(text, &pg_query::parse(text, ParserOptions::DEFAULT)?))
}

/// Looks at the parse tree of a text: of its normalised form, or, where the grammar minds a literal's
/// value (`float(0)`), its own.
fn with_tree<T>(sql: &[u8], options: Options, look: impl FnOnce(&str, &Tree) -> T) -> Option<T> {
    if !options.client_encoding_safe {
        return None;
    }
    let scan = lex::scan(sql, options.standard_conforming_strings).ok()?;
    let dialect = if options.standard_conforming_strings {
        ParserOptions::DEFAULT
    } else {
        ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS
    };
    let own = scan.blanked.as_deref().unwrap_or(sql);
    [scan.normalised.as_slice(), own]
        .into_iter()
        .find_map(|text| {
            let text = std::str::from_utf8(text).ok()?;
            Some((text, pg_query::parse(text, dialect).ok()?))
        })
        .map(|(text, tree)| look(text, &tree))
}

fn statements(text: &str, tree: &Tree) -> Vec<Fingerprint> {
    let statement = |raw: &pg_query::protobuf::RawStmt| {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let length = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if length == 0 { text.len() } else { start.saturating_add(length) };
        fingerprint(text.get(start..end)?)
    };
    tree.protobuf.stmts.iter().filter_map(statement).collect()
}

fn fingerprint(statement: &str) -> Option<Fingerprint> {
    // A table is one table: its digits and its schema count, what it is called in passing does not.
    let of_tables = FingerprintOptions::RANGEVAR_PG17_COMPAT | FingerprintOptions::FULL_RELNAME;
    let found = pg_query::fingerprint(statement, ParserOptions::DEFAULT, of_tables).ok()?;
    Some(Fingerprint(found.value))
}

/// The fingerprints of statements within statements.
fn nested(tree: &Tree) -> Vec<Fingerprint> {
    let roots = tree.protobuf.stmts.iter().filter_map(|raw| raw.stmt.as_deref());
    let mut left: Vec<&NodeEnum> = roots.filter_map(|node| node.node.as_ref()).collect();
    let mut found = Vec::new();
    while let Some(node) = left.pop() {
        for inner in within(node) {
            if found.len() >= MAX_NESTED {
                return found;
            }
            let text = inner.deparse(DeparseOptions::default());
            found.extend(text.ok().as_deref().and_then(fingerprint));
            left.push(inner);
        }
    }
    found
}

/// The statements that a statement is about, or holds.
fn within(node: &NodeEnum) -> Vec<&NodeEnum> {
    match node {
        NodeEnum::ExplainStmt(node) => about(node.query.as_deref()),
        NodeEnum::PrepareStmt(node) => about(node.query.as_deref()),
        NodeEnum::DeclareCursorStmt(node) => about(node.query.as_deref()),
        NodeEnum::CreateTableAsStmt(node) => about(node.query.as_deref()),
        NodeEnum::CopyStmt(node) => about(node.query.as_deref()),
        NodeEnum::SelectStmt(node) => of_with(node.with_clause.as_ref()),
        NodeEnum::InsertStmt(node) => of_with(node.with_clause.as_ref()),
        NodeEnum::UpdateStmt(node) => of_with(node.with_clause.as_ref()),
        NodeEnum::DeleteStmt(node) => of_with(node.with_clause.as_ref()),
        NodeEnum::MergeStmt(node) => of_with(node.with_clause.as_ref()),
        _ => Vec::new(),
    }
}

fn about(node: Option<&Node>) -> Vec<&NodeEnum> {
    node.and_then(|node| node.node.as_ref()).into_iter().collect()
}

/// The statement of a `WITH` query.
fn query_of(node: &Node) -> Option<&NodeEnum> {
    match &node.node {
        Some(NodeEnum::CommonTableExpr(table)) => table.ctequery.as_deref()?.node.as_ref(),
        _ => None,
    }
}

fn of_with(clause: Option<&WithClause>) -> Vec<&NodeEnum> {
    let tables = clause.into_iter().flat_map(|clause| &clause.ctes);
    tables.filter_map(query_of).collect()
}

/// A normalised text whose question marks are parameters.
fn with_parameters(normalised: &str) -> String {
    let mut quote = None;
    let mut out = String::with_capacity(normalised.len());
    for c in normalised.chars() {
        match (quote, c) {
            (None, '?') => {
                out.push_str("$1");
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        out.push(c);
    }
    out
}
