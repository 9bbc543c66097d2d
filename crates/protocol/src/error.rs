//! What a peer did that the protocol does not allow, as facts.
//!
//! Each variant says which frame it was, how long it was and what was expected. Where PostgreSQL
//! itself raises the same error, the text is PostgreSQL's, so that a client sees what a direct
//! connection would have shown it; everything else is worded as pgweir's own. One match turns the
//! facts into a SQLSTATE.

use std::str::Utf8Error;

use thiserror::Error;

use crate::sqlstate::SqlState;

/// Bytes that are not PostgreSQL's protocol, or not a part of it that pgweir speaks.
///
/// The culprit is whoever sent the bytes: the client, when it becomes a
/// [`Report`](crate::report::Report) for that client; a server's are wrapped in an error that says so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A field was to be read, and the frame ended before it.
    #[error("pgweir: {frame} message ends too early")]
    Truncated {
        /// The message's name in the manual.
        frame: &'static str,
        /// Length of its body in bytes.
        length: usize,
        /// Bytes the field takes.
        needed: usize,
        /// Bytes there were.
        left: usize,
    },
    /// A string had no terminating zero byte.
    #[error("pgweir: {frame} message holds a string without an end")]
    Unterminated {
        /// The message's name in the manual.
        frame: &'static str,
        /// Length of its body in bytes.
        length: usize,
        /// Bytes from the start of the string to the end of the frame.
        left: usize,
    },
    /// Every field was read, and bytes were left.
    #[error("pgweir: {frame} message is longer than what it holds")]
    Trailing {
        /// The message's name in the manual.
        frame: &'static str,
        /// Length of its body in bytes.
        length: usize,
        /// Bytes left over.
        left: usize,
    },
    /// A length that cannot be.
    #[error("pgweir: invalid length {length} of {frame} message")]
    InvalidLength {
        /// The message's name in the manual.
        frame: &'static str,
        /// The length as sent, in bytes.
        length: i64,
        /// The least length there can be, in bytes.
        least: usize,
        /// The greatest length that is taken, in bytes.
        most: usize,
    },
    /// A field holds a value that it cannot have.
    #[error("pgweir: invalid {field} in {frame} message")]
    InvalidValue {
        /// The message's name in the manual.
        frame: &'static str,
        /// The field's name.
        field: &'static str,
        /// What was found, as text for people.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A message that may not come now, or that does not exist.
    #[error("pgweir: unexpected message type 0x{tag:02X}")]
    UnexpectedMessage {
        /// The message's type byte.
        tag: u8,
        /// What was waited for.
        expected: &'static str,
    },
    /// The first packet's length is out of bounds.
    #[error("invalid length of startup packet")]
    StartupLength {
        /// The length as sent, itself included, in bytes.
        length: i64,
    },
    /// The startup packet's list of names and values does not end where the packet ends.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    StartupTerminator {
        /// Length of the packet, its own length included, in bytes.
        length: usize,
    },
    /// A major version of the protocol other than 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    UnsupportedVersion {
        /// The major version asked for.
        major: u16,
        /// The minor version asked for.
        minor: u16,
    },
    /// The startup packet names no user.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// The startup parameter `replication` has a value that is no boolean and not `database`.
    #[error("invalid value for parameter \"replication\": \"{value}\"")]
    Replication {
        /// The value as sent.
        value: String,
    },
    /// A switch in the startup parameter `options` that a server process does not know.
    #[error("invalid command-line argument for server process: {argument}")]
    OptionsArgument {
        /// The argument complained about.
        argument: String,
    },
    /// `-c` or `--` in the startup parameter `options` without `=`.
    #[error("{switch}{argument} requires a value")]
    OptionsValue {
        /// `-c ` or `--`.
        switch: &'static str,
        /// What followed it.
        argument: String,
    },
    /// Text that is not UTF-8 where pgweir has to understand it.
    #[error("invalid byte sequence for encoding \"UTF8\": {}", HexBytes(bytes))]
    NotUtf8 {
        /// The parameter or message it was in.
        what: &'static str,
        /// The bytes that are no character.
        bytes: Vec<u8>,
    },
    /// Bytes followed a request for encryption without waiting for the answer, so they came in
    /// the clear and may be anybody's.
    #[error("received unencrypted data after {request}")]
    UnencryptedData {
        /// `SSL request` or `GSSAPI encryption request`.
        request: &'static str,
    },
}

impl ProtocolError {
    /// [`NotUtf8`](Self::NotUtf8) for `bytes`, keeping those that are no character, as many as a
    /// report of PostgreSQL would show.
    #[must_use]
    pub fn not_utf8(what: &'static str, bytes: &[u8], error: Utf8Error) -> Self {
        let wrong = bytes.get(error.valid_up_to()..).unwrap_or_default();
        let count = error.error_len().unwrap_or(wrong.len());
        Self::NotUtf8 { what, bytes: wrong.iter().take(count).copied().collect() }
    }

    /// The SQLSTATE that says the same.
    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        match self {
            Self::Truncated { .. }
            | Self::Unterminated { .. }
            | Self::Trailing { .. }
            | Self::InvalidLength { .. }
            | Self::InvalidValue { .. }
            | Self::UnexpectedMessage { .. }
            | Self::StartupLength { .. }
            | Self::StartupTerminator { .. }
            | Self::UnencryptedData { .. } => SqlState::PROTOCOL_VIOLATION,
            Self::UnsupportedVersion { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Self::NoUser => SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            Self::Replication { .. } => SqlState::INVALID_PARAMETER_VALUE,
            Self::OptionsArgument { .. } | Self::OptionsValue { .. } => SqlState::SYNTAX_ERROR,
            Self::NotUtf8 { .. } => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        }
    }

    /// The facts behind the message, for the DETAIL of a report and for logs.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Truncated { length, needed, left, .. } => Some(format!(
                "The body is {length} bytes; a field of {needed} bytes has {left} left."
            )),
            Self::Unterminated { length, left, .. } => {
                Some(format!("The body is {length} bytes; its last {left} hold no zero byte."))
            }
            Self::Trailing { length, left, .. } => {
                Some(format!("The body is {length} bytes; its last {left} belong to no field."))
            }
            Self::InvalidLength { least, most, .. } => {
                Some(format!("A length from {least} to {most} bytes was expected."))
            }
            Self::InvalidValue { found, expected, .. } => {
                Some(format!("Found {found}, expected {expected}."))
            }
            Self::UnexpectedMessage { expected, .. } => Some(format!("Expected {expected}.")),
            Self::StartupLength { length } => Some(format!("The packet claims {length} bytes.")),
            Self::StartupTerminator { length } => Some(format!("The packet is {length} bytes.")),
            Self::NotUtf8 { what, .. } => Some(format!("Found in {what}.")),
            Self::UnencryptedData { .. } => Some(
                "This could be either a client-software bug or evidence of an attempted \
                 man-in-the-middle attack."
                    .to_owned(),
            ),
            Self::UnsupportedVersion { .. }
            | Self::NoUser
            | Self::Replication { .. }
            | Self::OptionsArgument { .. }
            | Self::OptionsValue { .. } => None,
        }
    }

    /// What to do about it, for the HINT of a report.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Replication { .. } => {
                Some("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
            }
            Self::OptionsArgument { .. } => Some("Try \"postgres --help\" for more information."),
            _ => None,
        }
    }
}

/// Bytes as PostgreSQL shows them: `0xc3 0x28`.
struct HexBytes<'a>(&'a [u8]);

impl std::fmt::Display for HexBytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}0x{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, Severity};

    /// Each row: an error, and the report's code, message, detail and hint.
    #[test]
    fn what_a_client_is_told() {
        let rows = [
            (
                ProtocolError::Truncated { frame: "Parse", length: 3, needed: 4, left: 1 },
                "08P01",
                "pgweir: Parse message ends too early",
                Some("The body is 3 bytes; a field of 4 bytes has 1 left."),
                None,
            ),
            (
                ProtocolError::UnexpectedMessage { tag: b'x', expected: "a password" },
                "08P01",
                "pgweir: unexpected message type 0x78",
                Some("Expected a password."),
                None,
            ),
            (
                ProtocolError::UnsupportedVersion { major: 2, minor: 0 },
                "0A000",
                "unsupported frontend protocol 2.0: server supports 3.0 to 3.2",
                None,
                None,
            ),
            (
                ProtocolError::Replication { value: "maybe".to_owned() },
                "22023",
                "invalid value for parameter \"replication\": \"maybe\"",
                None,
                Some("Valid values are: \"false\", 0, \"true\", 1, \"database\"."),
            ),
            (
                ProtocolError::NotUtf8 { what: "user", bytes: vec![0xc3, 0x28] },
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28",
                Some("Found in user."),
                None,
            ),
        ];
        for (error, code, message, detail, hint) in rows {
            let report = Report::from(&error);
            assert_eq!(report.severity, Severity::Fatal, "{error:?}");
            assert_eq!(report.code.as_str(), code, "{error:?}");
            assert_eq!(report.message, message);
            assert_eq!(report.detail.as_deref(), detail, "{error:?}");
            assert_eq!(report.hint.as_deref(), hint, "{error:?}");
        }
    }
}
