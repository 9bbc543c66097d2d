//! SCRAM's grammar: attributes of one letter with a value, separated by commas.

use thiserror::Error;

/// A message that departs from the grammar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed SCRAM message")]
pub struct Malformed {
    /// Where it does, in PostgreSQL's words.
    pub detail: String,
}

impl Malformed {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}

/// Checks what every message has to be: text, not empty, without a zero byte.
pub(super) fn message(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_empty() {
        return Err(Malformed::new("The message is empty."));
    }
    if bytes.contains(&0) {
        return Err(Malformed::new("Message length does not match input length."));
    }
    std::str::from_utf8(bytes).map_err(|_| Malformed::new("The message is not UTF-8."))
}

/// Reads attributes from front to back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(rest: &'a str) -> Self {
        Self { rest }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Takes a comma.
    pub(super) fn comma(&mut self) -> Result<(), Malformed> {
        match self.rest.strip_prefix(',') {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(Malformed::new(format!(
                "Comma expected, but found character \"{}\".",
                shown(self.rest)
            ))),
        }
    }

    /// The value of the next attribute, which has to be `letter`.
    pub(super) fn value(&mut self, letter: char) -> Result<&'a str, Malformed> {
        let Some(rest) = self.rest.strip_prefix(letter) else {
            return Err(Malformed::new(format!(
                "Expected attribute \"{letter}\" but found \"{}\".",
                shown(self.rest)
            )));
        };
        self.after_letter(letter, rest)
    }

    /// The next attribute, whatever it is.
    pub(super) fn any(&mut self) -> Result<(char, &'a str), Malformed> {
        let mut rest = self.rest.chars();
        match rest.next() {
            None => Err(Malformed::new("Attribute expected, but found end of string.")),
            Some(letter) if letter.is_ascii_alphabetic() => {
                Ok((letter, self.after_letter(letter, rest.as_str())?))
            }
            Some(_) => Err(Malformed::new(format!(
                "Attribute expected, but found invalid character \"{}\".",
                shown(self.rest)
            ))),
        }
    }

    /// The equals sign and the value up to the next comma, which is taken too.
    fn after_letter(&mut self, letter: char, rest: &'a str) -> Result<&'a str, Malformed> {
        let Some(rest) = rest.strip_prefix('=') else {
            return Err(Malformed::new(format!(
                "Expected character \"=\" for attribute \"{letter}\"."
            )));
        };
        let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
        self.rest = rest;
        Ok(value)
    }
}

/// The first character of `text` for an error's detail: itself when it is visible, its first
/// byte's number otherwise.
pub(super) fn shown(text: &str) -> String {
    match text.bytes().next() {
        Some(byte) if byte.is_ascii_graphic() => char::from(byte).to_string(),
        other => format!("0x{:02x}", other.unwrap_or_default()),
    }
}

/// Whether a nonce has no characters but those that it may have (RFC 5802's `printable`).
pub(super) fn is_printable(nonce: &str) -> bool {
    nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
