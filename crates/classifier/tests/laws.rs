//! Laws that hold for every text, not only for those that somebody thought of.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod common;

use std::sync::LazyLock;

use pgweir_classifier::{
    Access, Catalog, Label, Options, Reason, Sharing, classify, fingerprint, lex,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn label(sql: &str) -> Label {
    classify(sql.as_bytes(), Options::default(), &Catalog::builtin())
}

/// What must not change when a text is respelled: everything but positions.
fn meaning(sql: &str) -> String {
    common::describe(&label(sql))
}

/// Rows that PostgreSQL's grammar can read, without routing comments.
static READABLE: LazyLock<Vec<String>> = LazyLock::new(|| {
    let rows = common::rows().into_iter().filter(|row| {
        !row.expected.contains("unparsable")
            && !row.expected.contains("hint(")
            && !row.expected.contains("route[")
            // Carried in the client's own words.
            && !row.expected.contains("SET_TIME_ZONE")
    });
    rows.map(|row| row.sql).collect()
});

/// Rows that are one query with a result, and may stand in parentheses.
static QUERIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let rows = READABLE.iter().filter(|sql| {
        let label = label(sql);
        matches!(label.statements.as_slice(), [only] if only.kind == "SELECT")
            && !matches!(label.reason, Reason::SelectInto)
            && !sql.trim_end().ends_with(';')
    });
    rows.cloned().collect()
});

/// Texts with literals replaced, so that what is outside of quotes can be respelled byte by byte.
static PLAIN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let rows = READABLE.iter().map(|sql| fingerprint(sql.as_bytes(), true));
    rows.filter(|sql| {
        !label(sql).unparsed && !sql.contains("e'") && !sql.to_lowercase().contains("u&")
    })
    .collect()
});

/// Those with parentheses.
static PARENTHESISED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let rows = PLAIN.iter().filter(|sql| !opening_parentheses(sql).is_empty());
    rows.cloned().collect()
});

/// Applies a change to each character that is not in quotes.
fn outside_quotes(sql: &str, mut change: impl FnMut(char, &mut String)) -> String {
    let mut respelled = String::new();
    let mut quote = None;
    for character in sql.chars() {
        if quote == Some(character) {
            quote = None;
            respelled.push(character);
        } else if quote.is_some() {
            respelled.push(character);
        } else if matches!(character, '\'' | '"') {
            quote = Some(character);
            respelled.push(character);
        } else {
            change(character, &mut respelled);
        }
    }
    respelled
}

/// Where parentheses open outside of quotes.
fn opening_parentheses(sql: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut quote = None;
    for (at, character) in sql.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => found.push(at),
            _ => {}
        }
    }
    found
}

/// With the word in front of a parenthesis in quotes.
fn quoted_before(sql: &str, open: usize) -> Option<String> {
    let (head, tail) = sql.split_at(open);
    let name = head.trim_end();
    let start = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))? + 1;
    let (before, name) = name.split_at(start);
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_word.then(|| format!("{before}\"{}\"{tail}", name.to_ascii_lowercase()))
}

/// With the parentheses that open at a place doubled.
fn doubled(sql: &str, open: usize) -> Option<String> {
    let mut depth = 0;
    let mut quote = None;
    for (at, character) in sql.char_indices().skip_while(|(at, _)| *at < open) {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let (inner, rest) = (&sql[open..=at], &sql[at + 1..]);
            return Some(format!("{}({inner}){rest}", &sql[..open]));
        }
    }
    None
}

/// Pieces that lexers trip over.
const PIECES: &[&str] = &[
    "SELECT",
    "select",
    "FROM",
    "t",
    "WHERE",
    "1",
    "2.5",
    "1e5",
    ".5",
    "1.",
    "0x1F",
    "1_000",
    "99999999999",
    "'a'",
    "'it''s'",
    "'a\\'",
    "E'a\\'b'",
    "e'\\x41'",
    "N'a'",
    "B'01'",
    "x'ff'",
    "U&'\\0041'",
    "U&\"d\\0061t\"",
    "UESCAPE",
    "'!'",
    "\"a b\"",
    "\"a\"\"b\"",
    "$1",
    "$$a$$",
    "$x$ $$ $x$",
    "a$x$",
    "$",
    "é",
    "--",
    "-- c\n",
    "/*",
    "*/",
    "/* c */",
    "/* /* n */ */",
    "/**/",
    "-",
    "+",
    "*",
    "/",
    "<>",
    "::",
    ":",
    ":=",
    "=>",
    "..",
    ".",
    ",",
    ";",
    "(",
    ")",
    "[",
    "]",
    "@",
    "?",
    "|",
    "\n",
    "\t",
    " ",
    "'",
    "\"",
    "\\",
    "f(",
    "nextval('s')",
    "DELETE",
    "INSERT INTO t VALUES (1)",
    "UPDATE",
    "SET",
    "FOR",
    "IN (1, 2, 3)",
    "VALUES (1), (2)",
    "EXPLAIN",
    "(ANALYZE 'off')",
    "BEGIN",
    "COMMIT",
    "AND",
    "NULL",
    "int",
    "date",
    "interval",
    "\u{0}",
    "/* pgweir: primary */",
];

fn soup() -> impl Strategy<Value = String> {
    let piece = (select(PIECES), select(&["", "", " ", "\n", "/* */"][..]));
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        pieces.into_iter().flat_map(|(piece, between)| [piece, between]).collect()
    })
}

/// At least so many cases; `PROPTEST_CASES` may ask for more.
const CASES: u32 = 3000;

fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(CASES), failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn two_statements_are_as_strong_as_the_stronger(a: Index, b: Index) {
        let rows = &*READABLE;
        let (a, b) = (a.get(rows), b.get(rows));
        let (first, second) = (label(a), label(b));
        let both = label(&format!("{a}\n;\n{b}"));
        prop_assert_eq!(both.access, first.access.max(second.access), "{}; {}", a, b);
        prop_assert_eq!(both.statements.len(), first.statements.len() + second.statements.len());
        let effects = first.effects().chain(second.effects()).count();
        prop_assert_eq!(both.effects().count(), effects);
    }

    #[test]
    fn white_space_and_comments_mean_nothing(
        row: Index,
        spaces in prop::collection::vec(
            select(&[" ", "\n", "\t", "  ", "\r\n", "/**/", "/* ; DELETE FROM t */", " -- '\n", "/* /* */ */"][..]),
            1..20,
        ),
    ) {
        let rows = &*PLAIN;
        let sql = row.get(rows);
        let mut spaces = spaces.iter().cycle();
        let respelled = outside_quotes(sql, |character, out| match character {
            ' ' => out.push_str(spaces.next().expect("a cycle")),
            other => out.push(other),
        });
        prop_assert_eq!(meaning(&respelled), meaning(sql), "{}", respelled);
        prop_assert_eq!(fingerprint(respelled.as_bytes(), true), sql.clone());
    }

    #[test]
    fn letter_case_means_nothing_outside_of_quotes(row: Index, upper in prop::collection::vec(any::<bool>(), 1..20)) {
        let rows = &*PLAIN;
        let sql = row.get(rows);
        let mut upper = upper.iter().cycle();
        let respelled = outside_quotes(sql, |character, out| {
            let upper = upper.next().expect("a cycle");
            out.push(if *upper { character.to_ascii_uppercase() } else { character });
        });
        prop_assert_eq!(meaning(&respelled), meaning(sql), "{}", respelled);
        prop_assert_eq!(fingerprint(respelled.as_bytes(), true), sql.clone());
    }

    #[test]
    fn wrapping_a_query_does_not_weaken_it(row: Index) {
        let rows = &*QUERIES;
        let sql = row.get(rows);
        let access = label(sql).access;
        for wrapped in [
            format!("({sql}\n)"),
            format!("SELECT * FROM ({sql}\n) x"),
            format!("WITH x AS ({sql}\n) SELECT 1"),
            format!("SELECT 1 WHERE EXISTS ({sql}\n)"),
            format!("SELECT 1 UNION ALL ({sql}\n)"),
            format!("COPY ({sql}\n) TO STDOUT"),
            format!("DECLARE c CURSOR FOR {sql}"),
            format!("EXPLAIN ANALYZE {sql}"),
        ] {
            let wrapped_label = label(&wrapped);
            prop_assert!(wrapped_label.access >= access, "{}: {}", wrapped, wrapped_label.reason);
        }
    }

    #[test]
    fn explaining_with_analyze_is_as_strong_as_running(row: Index) {
        let rows = &*READABLE;
        let sql = row.get(rows);
        let plain = label(sql);
        let explained = label(&format!("EXPLAIN ANALYZE {sql}"));
        prop_assert!(explained.access >= plain.access.min(Access::Write), "{}", sql);
    }

    #[test]
    fn neither_quoting_a_name_nor_doubling_parentheses_weakens(row: Index, at: Index) {
        let rows = &*PARENTHESISED;
        let sql = row.get(rows);
        let open = *at.get(&opening_parentheses(sql));
        // Where the grammar has no room for it, PostgreSQL refuses it: a write, as everything unparsable.
        for respelled in [quoted_before(sql, open), doubled(sql, open)].into_iter().flatten() {
            let (before, after) = (label(sql), label(&respelled));
            prop_assert!(after.access >= before.access, "{}: {}", respelled, after.reason);
        }
    }

    #[test]
    fn every_spelling_of_analyze_runs(row: Index, spelling: Index) {
        let spellings = [
            "EXPLAIN ANALYZE", "EXPLAIN ANALYZE VERBOSE", "EXPLAIN (ANALYZE)", "explain (analyse)",
            "EXPLAIN (COSTS off, ANALYZE on)", "EXPLAIN (ANALYZE off, ANALYZE)", "EXPLAIN (ANALYZE 1)",
            "EXPLAIN (ANALYZE 'true', FORMAT json)", "EXPLAIN /* no */ (BUFFERS, \"analyze\" TRUE)",
        ];
        let rows = &*QUERIES;
        let (sql, spelling) = (row.get(rows), spelling.get(&spellings));
        let explained = label(&format!("{spelling} {sql}"));
        prop_assert!(explained.access >= label(sql).access, "{} {}: {}", spelling, sql, explained.reason);
    }

    #[test]
    fn doubt_about_a_database_weakens_nothing(row: Index) {
        let rows = &*READABLE;
        let sql = row.get(rows);
        let known = label(sql).access;
        for catalog in [
            Catalog::builtin().with_unread_database(),
            Catalog::builtin().with_unread_database().with_doubtful_database(),
        ] {
            let doubted = classify(sql.as_bytes(), Options::default(), &catalog);
            prop_assert!(doubted.access >= known.min(Access::Primary), "{}: {}", sql, doubted.reason);
        }
    }

    #[test]
    fn any_bytes_have_a_label(bytes in prop::collection::vec(any::<u8>(), 0..200), standard: bool) {
        let options = Options { standard_conforming_strings: standard, ..Options::default() };
        let label = classify(&bytes, options, &Catalog::builtin());
        if std::str::from_utf8(&bytes).is_err() {
            prop_assert_eq!(label.access, Access::Write);
        }
        let once = fingerprint(&bytes, standard);
        prop_assert_eq!(fingerprint(once.as_bytes(), standard), once);
    }

    #[test]
    fn the_normalised_form_is_the_same_sql(text in soup(), standard: bool) {
        let options = Options { standard_conforming_strings: standard, ..Options::default() };
        let catalog = Catalog::builtin();
        let once = fingerprint(text.as_bytes(), standard);
        prop_assert_eq!(&fingerprint(once.as_bytes(), standard), &once, "normalising is not idempotent");
        let original = classify(text.as_bytes(), options, &catalog);

        let text_at_all = original.reason != Reason::NotText;
        if text_at_all && (original.sharing == Sharing::Normalised || original.unparsed) {
            let normalised = classify(once.as_bytes(), options, &catalog);
            prop_assert_eq!(original.access, normalised.access, "{:?} {:?}", text, once);
            prop_assert_eq!(original.reason.as_str(), normalised.reason.as_str(), "{:?} {:?}", text, once);
            prop_assert_eq!(original.statements.len(), normalised.statements.len());
        }
    }

    #[test]
    fn blanking_comments_keeps_what_postgresql_reads(text in soup()) {
        // The parser reads comments by itself; what it makes of the text must be what it makes of ours.
        let ours = label(&text);
        let theirs = pg_query::parse(&text, 0);
        match theirs {
            Ok(parsed) if !matches!(ours.reason, Reason::NotText) => {
                prop_assert_eq!(parsed.protobuf.stmts.len(), ours.statements.len(), "{:?}", text);
            }
            Ok(_) => {}
            Err(_) => prop_assert!(ours.unparsed, "{:?}", text),
        }
    }

    #[test]
    fn positions_cut_out_each_statement(a: Index, b: Index, c: Index) {
        let rows = &*READABLE;
        let texts = [a.get(rows), b.get(rows), c.get(rows)];
        let text = texts.map(|text| format!(" /* before */ {text} -- after\n")).join(";");
        let labels = label(&text).statements;
        for statement in &labels {
            let range = statement.range.clone().expect("a position");
            let alone = label(&text[range.clone()]);
            prop_assert_eq!(alone.statements.len(), 1, "{:?}", &text[range]);
            prop_assert_eq!(alone.access, statement.access);
            prop_assert_eq!(alone.statements[0].kind, statement.kind);
        }
    }
}

#[test]
fn hostile_sizes_are_refused_without_parsing() {
    let rows: &[(String, &str)] = &[
        (" ".repeat(lex::MAX_CLASSIFIED_BYTES + 1), "too_long"),
        (format!("SELECT {}1{}", "(".repeat(2000), ")".repeat(2000)), "too_deep"),
        (format!("SELECT 1{}", "+1".repeat(200)), "too_deep"),
        (format!("SELECT 1{}", "+1".repeat(200_000)), "too_deep"),
        (format!("SELECT {}1", "- ".repeat(200_000)), "unparsable"),
        (format!("SELECT 1{}", "::int".repeat(100_000)), "too_deep"),
        (format!("SELECT {}true", "NOT ".repeat(100_000)), "unparsable"),
        (format!("SELECT 1{}", " UNION SELECT 1".repeat(20_000)), "too_deep"),
        (format!("{}SELECT 1", "/**/".repeat(200_000)), "harmless"),
        (format!("{}SELECT 1", "/*".repeat(200_000)), "unparsable"),
        (format!("{}{}SELECT 1", "/*".repeat(200_000), "*/".repeat(200_000)), "harmless"),
        (format!("SELECT 1 {}", "/*+".repeat(300_000)), "unparsable"),
        (format!("SELECT {}", "$a".repeat(300_000)), "harmless"),
        ("'".repeat(1_000_000), "unparsable"),
        (";".repeat(1_000_000), "empty"),
    ];
    for (text, expected) in rows {
        let start = std::time::Instant::now();
        let beginning: String = text.chars().take(40).collect();
        assert_eq!(label(text).reason.as_str(), *expected, "{beginning}");
        println!("{beginning} {:?}", start.elapsed());
    }
}

#[test]
fn text_that_is_not_text_is_a_write() {
    let rows: &[(&[u8], &str)] = &[
        (b"SELECT '\xff'", "not_text"),
        (b"SELECT 1\0; DELETE FROM t", "not_text"),
        (b"\0", "not_text"),
    ];
    for (text, expected) in rows {
        let label = classify(text, Options::default(), &Catalog::builtin());
        assert_eq!((label.access, label.reason.as_str()), (Access::Write, *expected), "{text:?}");
    }
    let unsafe_encoding = Options { client_encoding_safe: false, ..Options::default() };
    let label = classify(b"SELECT 1", unsafe_encoding, &Catalog::builtin());
    assert_eq!((label.access, label.reason), (Access::Write, Reason::UnsafeEncoding));
}

#[test]
fn backslashes_count_as_the_session_says() {
    let text = br"SELECT 'a\'; DELETE FROM t; --'";
    let label = |standard_conforming_strings| {
        let options = Options { standard_conforming_strings, ..Options::default() };
        classify(text, options, &Catalog::builtin())
    };
    assert_eq!(label(true).access, Access::Write);
    assert_eq!(label(true).statements.len(), 2);
    assert_eq!(label(false).access, Access::Read);
    assert_eq!(label(false).statements.len(), 1);
}
