//! The normalised form as people may see it.

use super::scan;
use crate::Options;

/// What stands for a text that nobody can tell the literals of.
const UNREADABLE: &str = "(not readable)";

/// The normalised form of a text without any literal of its own, cut at this many bytes: for logs and
/// tables that others read than those who wrote it.
#[must_use]
pub fn shown(sql: &[u8], options: Options, limit: usize) -> String {
    if !options.client_encoding_safe {
        return UNREADABLE.to_owned();
    }
    let Ok(scan) = scan(sql, options.standard_conforming_strings) else {
        return UNREADABLE.to_owned();
    };
    if scan.unreadable {
        return UNREADABLE.to_owned();
    }
    let text = String::from_utf8_lossy(&scan.normalised);
    let text = text.trim_end_matches([' ', ';']);
    let mut masked = masked(text);
    if masked.len() > limit {
        let end = (0..=limit).rev().find(|&end| masked.is_char_boundary(end)).unwrap_or(0);
        masked.truncate(end);
        masked.push('…');
    }
    masked
}

/// The same without the literals that the normalised form keeps because their escapes matter to the
/// grammar.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"']) {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let is_name = tail.starts_with('"');
        let escapes = !is_name && ends_with_marker(&out);
        let end = quoted_end(tail, escapes);
        let (quoted, after) = tail.split_at(end);
        out.push_str(if is_name { quoted } else { "'?'" });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether what comes before a quote says that a backslash takes the next character along.
fn ends_with_marker(before: &str) -> bool {
    let mut last = before.chars().rev();
    let is_marker = last.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e'));
    is_marker && !last.next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
}

/// Where what starts with a quote ends: behind the next one that is not doubled or escaped.
fn quoted_end(text: &str, escapes: bool) -> usize {
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else { return 0 };
    while let Some((at, c)) = characters.next() {
        if c == '\\' && escapes {
            characters.next();
        } else if c == quote {
            let end = at + c.len_utf8();
            if !text.get(end..).is_some_and(|after| after.starts_with(quote)) {
                return end;
            }
            characters.next();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_literal_is_shown() {
        let rows = [
            (
                "SELECT * FROM t WHERE a = 'secret' AND b = 17 ;",
                "select * from t where a = '?' and b = 0",
            ),
            (
                "select E'se\\x63ret\\'s', U&'secret', \"a'b\", 'x'",
                "select E'?', U&'?', \"a'b\", '?'",
            ),
            ("select E'\\x41''secret', 'b'", "select E'?', '?'"),
            ("select 'sec' uescape 'ret'", "select '?' uescape '?'"),
            ("select $$secret$$, $a$secret$a$", "select '?', '?'"),
            ("select 'secret", "(not readable)"),
            ("select 1secret", "(not readable)"),
            ("select \"größe\"", "select \"größe\""),
            ("/* secret */ select a -- secret", "select a"),
        ];
        for (text, expected) in rows {
            assert_eq!(shown(text.as_bytes(), Options::default(), 100), expected, "{text}");
        }
        assert_eq!(shown(b"\xff", Options::default(), 100), "(not readable)");
        let unsafe_encoding = Options { client_encoding_safe: false, ..Options::default() };
        assert_eq!(shown(b"select 1", unsafe_encoding, 100), "(not readable)");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shown("select größe".as_bytes(), Options::default(), 10), "select gr…");
    }
}
