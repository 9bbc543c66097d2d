//! The tokens of a text, for whoever reads code that no grammar here covers: bodies of functions.
//!
//! Comments are left out, words are folded to lower case, literals come with their content. A text that
//! does not end its literals has no tokens.

use super::{find, is_identifier, is_identifier_start, is_space};

/// The longest name, in bytes: `NAMEDATALEN` less one.
const MAX_NAME_BYTES: usize = 63;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A key word or a name, in lower case.
    Word(String),
    /// A name in quotes, without them.
    Quoted(String),
    /// A string literal: what it says.
    Literal(String),
    /// A number or a parameter.
    Value,
    /// A run of characters that operators are made of.
    Operator(String),
    /// `( ) [ ] , ; : .` and whatever else there is.
    Mark(char),
}

impl Token {
    /// The name that it may be.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            _ => None,
        }
    }

    /// True for this key word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }

    /// True for this mark.
    pub(crate) fn is_mark(&self, mark: char) -> bool {
        matches!(self, Self::Mark(own) if *own == mark)
    }
}

/// Cuts a text into tokens, under either `standard_conforming_strings`; `None` if it cannot be done.
pub(crate) fn tokens(text: &str, standard_conforming_strings: bool) -> Option<Vec<Token>> {
    let mut cutter = Cutter { text: text.as_bytes(), at: 0, standard_conforming_strings };
    let mut tokens = Vec::new();
    while let Some(&byte) = cutter.text.get(cutter.at) {
        if is_space(byte) {
            cutter.at += 1;
        } else if !cutter.comment()? {
            tokens.push(cutter.token(byte)?);
        }
    }
    Some(tokens)
}

struct Cutter<'a> {
    text: &'a [u8],
    at: usize,
    standard_conforming_strings: bool,
}

impl Cutter<'_> {
    fn peek(&self, distance: usize) -> u8 {
        self.text.get(self.at + distance).copied().unwrap_or(0)
    }

    fn rest(&self, from: usize) -> &[u8] {
        self.text.get(from..).unwrap_or_default()
    }

    fn slice(&self, from: usize, to: usize) -> String {
        String::from_utf8_lossy(self.text.get(from..to).unwrap_or_default()).into_owned()
    }

    /// Steps over a comment, if there is one here.
    fn comment(&mut self) -> Option<bool> {
        match (self.peek(0), self.peek(1)) {
            (b'-', b'-') => {
                let length =
                    self.rest(self.at).iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                self.at = length.map_or(self.text.len(), |length| self.at + length);
            }
            (b'/', b'*') => self.block_comment()?,
            _ => return Some(false),
        }
        Some(true)
    }

    fn block_comment(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => depth += 1,
                (b'*', b'/') => depth -= 1,
                _ if self.at >= self.text.len() => return None,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn token(&mut self, byte: u8) -> Option<Token> {
        match byte {
            b'\'' => self.literal(!self.standard_conforming_strings),
            b'"' => self.quoted(),
            b'$' => self.dollar(),
            b'0'..=b'9' => Some(self.number()),
            b'.' if self.peek(1).is_ascii_digit() => Some(self.number()),
            _ if is_identifier_start(byte) => self.word(),
            _ if is_operator(byte) => Some(self.operator()),
            _ => {
                self.at += 1;
                Some(Token::Mark(char::from(byte)))
            }
        }
    }

    /// A word, or a literal with a prefix. Unicode escapes are not read.
    fn word(&mut self) -> Option<Token> {
        let start = self.at;
        while is_identifier(self.peek(0)) {
            self.at += 1;
        }
        let word = self.slice(start, self.at).to_ascii_lowercase();
        match (word.as_str(), self.peek(0), self.peek(1)) {
            ("e", b'\'', _) => self.literal(true),
            ("n", b'\'', _) => self.literal(!self.standard_conforming_strings),
            ("b" | "x", b'\'', _) => self.literal(false),
            ("u", b'&', b'\'' | b'"') => None,
            _ => Some(Token::Word(kept(word))),
        }
    }

    /// `'…'`; with escapes a backslash takes the next byte along.
    fn literal(&mut self, escapes: bool) -> Option<Token> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\'', b'\'') => self.at += 2,
                (b'\'', _) => break,
                (b'\\', _) if escapes => self.at += 2,
                _ if self.at >= self.text.len() => return None,
                _ => self.at += 1,
            }
        }
        let content = self.slice(start, self.at).replace("''", "'");
        self.at += 1;
        Some(Token::Literal(content))
    }

    fn quoted(&mut self) -> Option<Token> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'"', b'"') => self.at += 2,
                (b'"', _) => break,
                _ if self.at >= self.text.len() => return None,
                _ => self.at += 1,
            }
        }
        let name = self.slice(start, self.at).replace("\"\"", "\"");
        self.at += 1;
        Some(Token::Quoted(kept(name)))
    }

    /// `$1`, or `$tag$ … $tag$`.
    fn dollar(&mut self) -> Option<Token> {
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            return Some(self.number());
        }
        while is_identifier(self.peek(0)) && self.peek(0) != b'$' {
            self.at += 1;
        }
        if self.peek(0) != b'$' {
            return None;
        }
        self.at += 1;
        let tag = self.text.get(start..self.at)?;
        let body = self.at;
        let length = find(self.rest(body), tag)?;
        self.at = body + length + tag.len();
        Some(Token::Literal(self.slice(body, body + length)))
    }

    /// A number. Of two that run into each other nothing depends on which is which; `1..2` is a range.
    fn number(&mut self) -> Token {
        while is_identifier(self.peek(0)) || (self.peek(0) == b'.' && self.peek(1) != b'.') {
            self.at += 1;
        }
        Token::Value
    }

    fn operator(&mut self) -> Token {
        let start = self.at;
        while is_operator(self.peek(0)) {
            let comment = matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*'));
            if comment && self.at > start {
                break;
            }
            self.at += 1;
        }
        Token::Operator(self.slice(start, self.at))
    }
}

/// As much of a name as PostgreSQL keeps (`truncate_identifier`): whole characters.
fn kept(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    name
}

/// The characters of operators. Manual: "Operators" in "Lexical Structure".
fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_as_postgresql_cuts_them() {
        let rows = [
            ("SELECT \"A\"\"b\", x'f'", "w:select q:A\"b m:, l:f"),
            ("a.B(1,$2) -- c\n/* d /* e */ */ :=", "w:a m:. w:b m:( v m:, v m:) m:: o:="),
            ("$x$ $$ $x$ 'it''s' E'a\\'b'", "l: $$  l:it's l:a\\'b"),
            ("1..10 1.5e3 .5", "v m:. v v v"),
            ("a<>-1 --", "w:a o:<>- v"),
            ("a-/* c */b", "w:a o:- w:b"),
            (
                &format!("{} \"{}\"", "a".repeat(64), "ä".repeat(32)),
                &format!("w:{} q:{}", "a".repeat(63), "ä".repeat(31)),
            ),
        ];
        for (text, expected) in rows {
            let told: Vec<String> = tokens(text, true).expect(text).iter().map(tell).collect();
            assert_eq!(told.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_cut() {
        for text in ["'open", "\"open", "/* open", "$x$ open", "U&'a'", "u&\"a\""] {
            assert_eq!(tokens(text, true), None, "{text}");
        }
        assert_eq!(tokens("'a\\'", false), None);
        assert_eq!(tokens("'a\\' 'b", false).map(|tokens| tokens.len()), Some(2));
        assert_eq!(tokens("'a\\'", true).map(|tokens| tokens.len()), Some(1));
    }

    fn tell(token: &Token) -> String {
        match token {
            Token::Word(word) => format!("w:{word}"),
            Token::Quoted(name) => format!("q:{name}"),
            Token::Literal(text) => format!("l:{text}"),
            Token::Value => "v".into(),
            Token::Operator(operator) => format!("o:{operator}"),
            Token::Mark(mark) => format!("m:{mark}"),
        }
    }
}
