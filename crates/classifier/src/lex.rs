//! A lexer of our own that reads a text once, before the parser does, and never fails.
//!
//! It serves three ends. It writes the *normalised form*: comments gone, white space folded, keywords
//! and names in lower case, string and number literals replaced by one literal of the same kind (`'?'`,
//! `0`, `0.0`, `b'?'`, `x'?'`), everything else byte for byte. It finds the routing hint in front. And it
//! makes the copy that the parser gets, with comments blanked out, because the parser's own lexer takes
//! quadratic time over runs of comment marks.
//!
//! Two texts with the same normalised form must have the same label, so wherever a literal's value
//! could reach the label through the grammar (`UESCAPE`, Unicode and byte escapes) the literal is kept.
//! White space is never added or removed between two tokens except where both ways read the same. The
//! rules are those of the manual's "Lexical Structure" and of PostgreSQL's `scan.l`; what is not one of
//! its tokens passes through unchanged, and the parser refuses it.

mod list;
mod shown;
pub(crate) mod tokens;

use std::ops::Range;

use self::list::{Kind, List};
pub use self::shown::shown;

use crate::{Hint, Reason};

/// Longest text that is classified, in bytes. Longer ones are writes: parsing them would hold up a
/// worker thread for more than tenths of a second.
pub const MAX_CLASSIFIED_BYTES: usize = 1 << 20;

/// Deepest nesting of parentheses and brackets that is given to the parser.
pub const MAX_NESTING: usize = 1000;

/// The normalised form of a text, for people: `SHOW ROUTES` and the firewall's list.
///
/// Normalising a normalised text changes nothing, so a rule may be written as ordinary SQL.
#[must_use]
pub fn fingerprint(sql: &[u8], standard_conforming_strings: bool) -> String {
    let scan = Lexer::new(sql, standard_conforming_strings).run();
    String::from_utf8_lossy(&scan.normalised).into_owned()
}

/// What one pass over a text has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The normalised form; without the hint, which is a comment.
    pub normalised: Vec<u8>,
    /// The routing comment in front of the first token.
    pub hint: Option<Hint>,
    /// True if a literal was replaced or a list shortened: other texts have the same normalised form.
    pub has_literals: bool,
    /// The text with every comment overwritten by spaces, byte positions unchanged; `None` if it has
    /// no comment.
    pub(crate) blanked: Option<Vec<u8>>,
    /// A comment, a literal or a quoted name does not end, or a number runs into a name.
    pub(crate) unreadable: bool,
    /// Deepest nesting of parentheses and brackets.
    nesting: usize,
}

/// Reads a text, if it is one and its length is bounded.
///
/// # Errors
/// [`Reason::TooLong`], [`Reason::NotText`] and [`Reason::TooDeep`]: such a text must neither reach the
/// parser nor share a normalised form with others.
pub fn scan(sql: &[u8], standard_conforming_strings: bool) -> Result<Scan, Reason> {
    if sql.len() > MAX_CLASSIFIED_BYTES {
        return Err(Reason::TooLong);
    }
    if sql.contains(&0) || std::str::from_utf8(sql).is_err() {
        return Err(Reason::NotText);
    }
    let scan = Lexer::new(sql, standard_conforming_strings).run();
    if scan.nesting > MAX_NESTING {
        return Err(Reason::TooDeep);
    }
    Ok(scan)
}

/// Stands for any string literal.
const STRING: &[u8] = b"'?'";
/// Stands for any integer that fits 32 bits; the grammar tells these from all other numbers.
const INTEGER: &[u8] = b"0";
/// Stands for any other number.
const NUMERIC: &[u8] = b"0.0";

/// How a string literal ends and what a backslash means in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// `'…'`: a doubled quote stands for itself.
    Standard,
    /// `E'…'`, and `'…'` without `standard_conforming_strings`: a backslash takes the next byte along.
    Escapes,
    /// `B'…'` and `X'…'`: the first quote ends it.
    Bits,
}

struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    standard_conforming_strings: bool,
    scan: Scan,
    depth: usize,
    /// White space or a comment was read since the last token.
    space: bool,
    /// A token has been read, so comments are no longer in front.
    started: bool,
    /// What the last token means for what follows it.
    last: Last,
    /// The list that is being written, if it may be shortened; not a list within a list.
    list: Option<List>,
}

/// Tokens that what follows depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// `UESCAPE`: the string behind it changes what a name means.
    Uescape,
    /// A string literal: white space alone may lead to its continuation, a block comment may not.
    String,
    /// `VALUES` or `IN`: a parenthesis behind it opens a list.
    List(Kind),
    /// Any other.
    Other,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

const fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier(byte: u8) -> bool {
    IDENTIFIER.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Bytes that a name may go on with: a table, because most of a text's bytes are asked for it.
#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which would refuse it")]
const IDENTIFIER: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = is_identifier_start(byte) || byte.is_ascii_digit() || byte == b'$';
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

impl<'a> Lexer<'a> {
    fn new(sql: &'a [u8], standard_conforming_strings: bool) -> Self {
        let scan = Scan {
            normalised: Vec::with_capacity(sql.len()),
            hint: None,
            has_literals: false,
            blanked: None,
            unreadable: false,
            nesting: 0,
        };
        Self {
            sql,
            at: 0,
            standard_conforming_strings,
            scan,
            depth: 0,
            space: false,
            started: false,
            last: Last::Other,
            list: None,
        }
    }

    fn run(mut self) -> Scan {
        while let Some(&byte) = self.sql.get(self.at) {
            let next = self.peek(1);
            match byte {
                _ if is_space(byte) => {
                    self.at += 1;
                    self.space = true;
                }
                b'-' if next == b'-' => self.line_comment(),
                b'/' if next == b'*' => self.block_comment(),
                _ => {
                    let last = std::mem::replace(&mut self.last, Last::Other);
                    self.before_token(byte, last);
                    self.token(byte, next, last);
                    self.after_token(byte, last);
                    self.started = true;
                }
            }
        }
        self.end_item();
        self.scan
    }

    /// Lists begin at a parenthesis, and end where something else than a comma or a row follows a row,
    /// or where the parenthesis of `IN` closes.
    fn before_token(&mut self, byte: u8, last: Last) {
        if let Some(list) = &self.list
            && list.depth == self.depth
        {
            match (list.kind, byte) {
                (_, b',') => self.end_item(),
                (Kind::Rows, b'(') => {}
                (Kind::Rows, _) | (Kind::Literals, b')') => {
                    self.end_item();
                    self.list = None;
                }
                (Kind::Literals, _) => {}
            }
        }
        if let (Last::List(Kind::Rows), b'(', None) = (last, byte, &self.list) {
            self.list = Some(List::new(Kind::Rows, self.depth));
        }
    }

    /// An item begins behind a comma of its list, and behind the parenthesis that opens `IN`'s.
    fn after_token(&mut self, byte: u8, last: Last) {
        if let Some(list) = &mut self.list
            && byte == b','
            && list.depth == self.depth
        {
            list.begin_item();
        }
        if let (Last::List(Kind::Literals), b'(', None) = (last, byte, &self.list) {
            self.list = Some(List::new(Kind::Literals, self.depth));
        }
    }

    fn end_item(&mut self) {
        if let Some(list) = &mut self.list
            && list.end_item(&mut self.scan.normalised)
        {
            self.scan.has_literals = true;
        }
    }

    /// The byte at a distance from the current one; zero behind the end.
    fn peek(&self, distance: usize) -> u8 {
        self.byte(self.at + distance)
    }

    fn byte(&self, position: usize) -> u8 {
        self.sql.get(position).copied().unwrap_or(0)
    }

    fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.sql.get(from..to.min(self.sql.len())).unwrap_or_default()
    }

    fn token(&mut self, byte: u8, next: u8, last: Last) {
        match byte {
            b'\'' => {
                self.string(self.at, self.plain_quoting(), STRING, last == Last::Uescape);
            }
            b'"' => self.quoted_identifier(self.at),
            b'$' if next.is_ascii_digit() => self.parameter(),
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            b'.' if next.is_ascii_digit() => self.number(),
            b'.' if next == b'.' => self.copy(2),
            _ if is_identifier_start(byte) => self.word(),
            b'(' | b'[' => {
                self.depth += 1;
                self.scan.nesting = self.scan.nesting.max(self.depth);
                self.copy(1);
            }
            b')' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.copy(1);
            }
            _ => self.copy(1),
        }
    }

    /// Writes the space that stands for whatever white space was read.
    fn flush_space(&mut self) {
        if std::mem::take(&mut self.space) && !self.scan.normalised.is_empty() {
            self.scan.normalised.push(b' ');
        }
        if let Some(list) = &mut self.list
            && (list.kind == Kind::Literals || list.depth < self.depth)
        {
            list.token(self.scan.normalised.len());
        }
    }

    /// Copies bytes as they are and steps over them.
    fn copy(&mut self, length: usize) {
        self.flush_space();
        let bytes = self.slice(self.at, self.at + length);
        self.scan.normalised.extend_from_slice(bytes);
        self.at += length;
    }

    /// Writes what stands for a literal, kept apart from a token it would run into.
    fn placeholder(&mut self, placeholder: &[u8]) {
        let last = self.scan.normalised.last().copied().unwrap_or(b' ');
        if is_identifier(last) || matches!(last, b'.' | b'\'') {
            self.space = true;
        }
        self.flush_space();
        self.scan.normalised.extend_from_slice(placeholder);
        self.scan.has_literals = true;
    }

    fn line_comment(&mut self) {
        let start = self.at;
        while self.at < self.sql.len() && !is_newline(self.peek(0)) {
            self.at += 1;
        }
        self.comment(start, self.at, start + 2..self.at);
    }

    fn block_comment(&mut self) {
        let start = self.at;
        self.at += 2;
        let mut depth = 1_usize;
        while depth > 0 && self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        if depth > 0 {
            self.at = start;
            self.unreadable();
            return;
        }
        let inside = start + 2..self.at - 2;
        if self.last == Last::String {
            // Its marks stay, or the parser would join a string behind it to the one in front of it.
            self.comment(inside.start, inside.end, inside);
            self.last = Last::Other;
        } else {
            self.comment(start, self.at, inside);
        }
    }

    /// Blanks a comment out, from `start` to `end`, and looks for a hint inside of it.
    fn comment(&mut self, start: usize, end: usize, inside: Range<usize>) {
        self.space = true;
        if !self.started && self.scan.hint.is_none() {
            self.scan.hint = Hint::parse(self.slice(inside.start, inside.end));
        }
        self.blank(start..end);
    }

    fn blank(&mut self, range: Range<usize>) {
        let blanked = self.scan.blanked.get_or_insert_with(|| self.sql.to_vec());
        if let Some(bytes) = blanked.get_mut(range) {
            bytes.fill(b' ');
        }
    }

    /// A key word or a name, folded to lower case; or the prefix of a literal.
    fn word(&mut self) {
        let rest = self.slice(self.at, self.sql.len());
        let word = rest.split(|byte| !is_identifier(*byte)).next().unwrap_or_default();
        let end = self.at + word.len();
        if let ([prefix], b'\'') = (word, self.byte(end)) {
            match prefix.to_ascii_lowercase() {
                b'e' => return self.string(end, Quoting::Escapes, STRING, false),
                b'b' => return self.string(end, Quoting::Bits, b"b'?'", false),
                b'x' => return self.string(end, Quoting::Bits, b"x'?'", false),
                b'n' => return self.string(end, self.plain_quoting(), b"n'?'", false),
                _ => {}
            }
        }
        if word.eq_ignore_ascii_case(b"u") && self.byte(end) == b'&' {
            match self.byte(end + 1) {
                b'\'' => return self.string(end + 1, Quoting::Standard, STRING, true),
                b'"' => return self.quoted_identifier(end + 1),
                _ => {}
            }
        }
        self.flush_space();
        let written = self.scan.normalised.len();
        self.scan.normalised.extend_from_slice(word);
        self.scan.normalised.get_mut(written..).unwrap_or_default().make_ascii_lowercase();
        self.last = match word.len() {
            2 if word.eq_ignore_ascii_case(b"in") => Last::List(Kind::Literals),
            6 if word.eq_ignore_ascii_case(b"values") => Last::List(Kind::Rows),
            7 if word.eq_ignore_ascii_case(b"uescape") => Last::Uescape,
            _ => Last::Other,
        };
        self.at = end;
    }

    /// What a backslash means in a literal without a prefix.
    fn plain_quoting(&self) -> Quoting {
        if self.standard_conforming_strings { Quoting::Standard } else { Quoting::Escapes }
    }

    /// A string literal whose first quote is at `quote`; the token starts at `self.at`.
    fn string(&mut self, quote: usize, quoting: Quoting, placeholder: &[u8], keep: bool) {
        let start = self.at;
        let mut keep = keep;
        let mut quote = quote;
        let end = loop {
            let Some((end, telling)) = self.string_part(quote + 1, quoting) else {
                self.unreadable();
                return;
            };
            keep |= telling;
            match self.continuation(end) {
                Some(next_quote) => quote = next_quote,
                None => break end,
            }
        };
        if keep {
            self.copy(end - start);
        } else {
            self.placeholder(placeholder);
        }
        self.at = end;
        self.last = Last::String;
    }

    /// Reads from behind an opening quote to behind the closing one. The flag says whether the part
    /// holds escapes that PostgreSQL checks while it lexes.
    fn string_part(&self, from: usize, quoting: Quoting) -> Option<(usize, bool)> {
        let mut at = from;
        let mut telling = false;
        while at < self.sql.len() {
            match self.byte(at) {
                b'\\' if quoting == Quoting::Escapes => {
                    telling |= matches!(self.byte(at + 1), b'u' | b'U' | b'x' | b'0'..=b'7');
                    at += 2;
                }
                b'\'' if quoting != Quoting::Bits && self.byte(at + 1) == b'\'' => at += 2,
                b'\'' => return Some((at + 1, telling)),
                _ => at += 1,
            }
        }
        None
    }

    /// A string literal goes on after white space that holds a newline; comments to the end of a line
    /// may stand in it. Returns the position of the next opening quote.
    fn continuation(&mut self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut newline = false;
        let mut comments = Vec::new();
        loop {
            let byte = self.byte(at);
            if byte == b'-' && self.byte(at + 1) == b'-' {
                let start = at;
                while at < self.sql.len() && !is_newline(self.byte(at)) {
                    at += 1;
                }
                comments.push(start..at);
            } else if is_space(byte) {
                newline |= is_newline(byte);
                at += 1;
            } else {
                break;
            }
        }
        if !newline || self.byte(at) != b'\'' {
            return None;
        }
        for comment in comments {
            self.blank(comment);
        }
        Some(at)
    }

    /// `"…"` with its first quote at `quote`; the token starts at `self.at`.
    fn quoted_identifier(&mut self, quote: usize) {
        let mut at = quote + 1;
        while at < self.sql.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'"', b'"') => at += 2,
                (b'"', _) => break,
                _ => at += 1,
            }
        }
        if at < self.sql.len() {
            self.copy(at + 1 - self.at);
        } else {
            self.unreadable();
        }
    }

    /// The grammar refuses what starts at the current position. The rest stays as it is.
    fn unreadable(&mut self) {
        self.scan.unreadable = true;
        self.copy(self.sql.len() - self.at);
    }

    /// `$1`.
    fn parameter(&mut self) {
        let mut length = 1;
        while self.peek(length).is_ascii_digit() {
            length += 1;
        }
        self.copy(length);
    }

    /// `$tag$ … $tag$`, or a dollar that means nothing.
    fn dollar(&mut self) {
        let mut end = self.at + 1;
        if is_identifier_start(self.byte(end)) {
            while is_identifier(self.byte(end)) && self.byte(end) != b'$' {
                end += 1;
            }
        }
        if self.byte(end) != b'$' {
            return self.copy(1);
        }
        let body = end + 1;
        let tag = self.slice(self.at, body);
        let rest = self.slice(body, self.sql.len());
        match find(rest, tag) {
            Some(length) => {
                self.placeholder(STRING);
                self.at = body + length + tag.len();
            }
            None => self.unreadable(),
        }
    }

    fn number(&mut self) {
        let (end, fits) = self.number_end();
        if is_identifier_start(self.byte(end)) {
            // `1a` was two tokens until PostgreSQL 15; to our grammar it is an error.
            return self.unreadable();
        }
        self.placeholder(if fits { INTEGER } else { NUMERIC });
        self.at = end;
        // Behind `0x1F` a point is a token of its own; behind what stands for it, it would not be.
        self.space = self.byte(end) == b'.' && self.byte(end + 1) != b'.';
    }

    /// Where a number ends, and whether it is an integer of 32 bits.
    fn number_end(&self) -> (usize, bool) {
        let radix = match (self.peek(0), self.peek(1).to_ascii_lowercase()) {
            (b'0', b'x') => 16,
            (b'0', b'o') => 8,
            (b'0', b'b') => 2,
            _ => 10,
        };
        if radix != 10 {
            let (end, fits) = self.digits(self.at + 2, radix);
            if end > self.at + 2 {
                return (end, fits);
            }
        }
        let (mut end, mut fits) = self.digits(self.at, 10);
        if self.byte(end) == b'.' && self.byte(end + 1) != b'.' {
            fits = false;
            end = self.digits(end + 1, 10).0;
        }
        if self.byte(end).eq_ignore_ascii_case(&b'e') {
            let sign = usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
            let (exponent, _) = self.digits(end + 1 + sign, 10);
            if exponent > end + 1 + sign {
                return (exponent, false);
            }
        }
        (end, fits)
    }

    /// Digits with single underscores between them: where they end, and whether their value fits.
    fn digits(&self, from: usize, radix: u32) -> (usize, bool) {
        let mut at = from;
        let mut value = 0_u64;
        loop {
            // An underscore may lead only behind a radix prefix.
            let may_skip = at > from || radix != 10;
            let skip = usize::from(may_skip && self.byte(at) == b'_');
            let Some(digit) = char::from(self.byte(at + skip)).to_digit(radix) else {
                return (at, i32::try_from(value).is_ok());
            };
            value = value.saturating_mul(u64::from(radix)).saturating_add(u64::from(digit));
            at += skip + 1;
        }
    }
}

/// Where `needle` first occurs.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_keep_what_matters_and_drop_what_does_not() {
        let rows = [
            ("  SELECT  1 ;  ", "select 0 ;"),
            ("select 'a', E'b\\'c', N'd', B'1', X'f'", "select '?', '?', n'?', b'?', x'?'"),
            ("select E'\\x41', U&'a', 'b' uescape 'c'", "select E'\\x41', U&'a', '?' uescape 'c'"),
            ("select 1, 1.5, .5, 1., 1e5, 0x1F, 1_000", "select 0, 0.0, 0.0, 0.0, 0.0, 0, 0"),
            ("select 2147483647, 2147483648", "select 0, 0.0"),
            ("select -1, a-1, a - 1", "select -0, a-0, a - 0"),
            ("select a.5, a .5, $1.5", "select a 0.0, a 0.0, $1 0.0"),
            ("select $1,$2::int", "select $1,$2::int"),
            ("select $$a$$, $x$ $$ $x$, a$x$", "select '?', '?', a$x$"),
            ("select 'a' -- c\n 'b'", "select '?'"),
            ("select 'a' 'b'", "select '?' '?'"),
            ("select 'a'$$b$$", "select '?' '?'"),
            ("SELECT \"A b\", a.B /* c */FROM--\nT", "select \"A b\", a.b from t"),
            ("select 1--2", "select 0"),
            ("select 1 */**/ 2", "select 0 * 0"),
            ("select a<>b, a < > b", "select a<>b, a < > b"),
            ("select 'unterminated", "select 'unterminated"),
            ("select /* unterminated", "select /* unterminated"),
            ("select 12ab", "select 12ab"),
            ("select date'2020-01-01', 1 'a'", "select date '?', 0 '?'"),
        ];
        for (text, expected) in rows {
            assert_eq!(fingerprint(text.as_bytes(), true), expected, "{text}");
        }
    }

    #[test]
    fn long_lists_have_one_form() {
        let rows = [
            ("a in (1)", "a in (0)"),
            ("a in (1, 2, 3)", "a in (0)"),
            ("a in (1,2 ,\n3 ) and b", "a in (0 ) and b"),
            ("a in (-1, -2, 'x', 'y', 1)", "a in (-0, '?', 0)"),
            ("a in ($1, $2)", "a in ($1, $2)"),
            ("a in (b, b)", "a in (b, b)"),
            ("a in (select 1, 1, 1)", "a in (select 0, 0)"),
            ("f(1, 2)", "f(0, 0)"),
            ("values (1, 'a'), (2, 'b'), (3, 'c') returning x", "values (0, '?') returning x"),
            ("values(1),(2),(f(3)),(f(4)) ;select 1, 1", "values(0),(f(0)) ;select 0, 0"),
            ("values ($1, 1), ($2, 1)", "values ($1, 0), ($2, 0)"),
            ("values ((1), (2)), ((3), (4)) on conflict", "values ((0), (0)) on conflict"),
            ("select (values (1), (2)), (3), (4)", "select (values (0)), (0), (0)"),
        ];
        for (text, expected) in rows {
            assert_eq!(fingerprint(text.as_bytes(), true), expected, "{text}");
        }
    }

    #[test]
    fn without_standard_strings_a_backslash_takes_a_quote_along() {
        assert_eq!(fingerprint(br"select 'a\'b', 1", true), "select '?'b', 1");
        assert_eq!(fingerprint(br"select 'a\'b', 1", false), "select '?', 0");
    }
}
