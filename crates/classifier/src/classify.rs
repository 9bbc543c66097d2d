//! From a text to its label: lexer, parser, one judgement per statement.

use pg_query::ParserOptions;

use crate::label::Sharing;
use crate::lex::{self, Scan};
use crate::statement::Judge;
use crate::{Access, Catalog, Label, Local, Reason, StatementLabel};

/// What a text means depends on these settings of the session that sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The setting of that name: whether a backslash in `'…'` is an ordinary character.
    pub standard_conforming_strings: bool,
    /// False for SJIS, BIG5, GBK, UHC, GB18030 and JOHAB, whose characters may hold the bytes of quotes
    /// and backslashes: such a text is not read at all and goes to the primary.
    pub client_encoding_safe: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { standard_conforming_strings: true, client_encoding_safe: true }
    }
}

/// Labels a text of SQL, which may hold any number of statements. Total: whatever cannot be
/// understood is a write.
#[must_use]
pub fn classify(sql: &[u8], options: Options, catalog: &Catalog) -> Label {
    if !options.client_encoding_safe {
        return Label::opaque(Reason::UnsafeEncoding, None, true);
    }
    match lex::scan(sql, options.standard_conforming_strings) {
        Ok(scan) => classify_scanned(sql, &scan, options, catalog),
        Err(reason) => Label::opaque(reason, None, true),
    }
}

/// The same for a text that the lexer has read already.
pub(crate) fn classify_scanned(
    sql: &[u8],
    scan: &Scan,
    options: Options,
    catalog: &Catalog,
) -> Label {
    let opaque = |reason| Label::opaque(reason, scan.hint, true);
    let Ok(text) = std::str::from_utf8(scan.blanked.as_deref().unwrap_or(sql)) else {
        return opaque(Reason::NotText);
    };
    if let Some(label) = explain_route(sql, text, scan, options, catalog) {
        return label;
    }
    if scan.unreadable {
        // The parser would only find the same, and take quadratic time over comment marks.
        return opaque(Reason::Unparsable);
    }
    let dialect = if options.standard_conforming_strings {
        ParserOptions::DEFAULT
    } else {
        ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS
    };
    let parsed = match pg_query::parse(text, dialect) {
        Ok(parsed) => parsed.protobuf,
        Err(error) => return opaque(reason_of(&error)),
    };
    let mut judge = Judge::new(text, catalog);
    let statements = parsed.stmts.iter().map(|statement| judge.statement(statement)).collect();
    Label::of(statements, scan.hint, judge.sharing())
}

/// Why the parser gave up. The parser's messages are PostgreSQL's, untranslated.
fn reason_of(error: &pg_query::Error) -> Reason {
    match error {
        pg_query::Error::Conversion(_) => Reason::NotText,
        pg_query::Error::Decode(_) => Reason::TooDeep,
        pg_query::Error::Parse(message)
            if message.contains("stack depth limit") || message.contains("nested too deeply") =>
        {
            Reason::TooDeep
        }
        _ => Reason::Unparsable,
    }
}

/// `EXPLAIN (ROUTE) statement`. The explained text is not only what PostgreSQL can explain but any
/// text, so it is found here and not by the grammar.
fn explain_route(
    sql: &[u8],
    text: &str,
    scan: &Scan,
    options: Options,
    catalog: &Catalog,
) -> Option<Label> {
    let inner = after_words(text, &["explain", "(", "route", ")"])?;
    let trimmed =
        inner.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';').trim_start();
    let start = text.len() - inner.trim_start().len();
    let range = start..start + trimmed.len();
    let label = classify(sql.get(range.clone())?, options, catalog);
    let mut statement = StatementLabel::new("EXPLAIN", Access::Neutral, Reason::Harmless);
    statement.range = Some(0..text.len());
    statement.local = Some(Local::ExplainRoute { range, label: Box::new(label) });
    Some(Label::of(vec![statement], scan.hint, Sharing::Exact))
}

/// What follows these words or marks, with any white space between them.
fn after_words<'t>(text: &'t str, words: &[&str]) -> Option<&'t str> {
    words.iter().try_fold(text, |rest, word| {
        let rest = rest.trim_ascii_start();
        let (head, tail) = rest.split_at_checked(word.len())?;
        head.eq_ignore_ascii_case(word).then_some(tail)
    })
}
