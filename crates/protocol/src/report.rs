//! Reports: what pgweir says to a client when something is wrong, and what a server said.
//!
//! A [`Report`] is pgweir's own ErrorResponse or NoticeResponse: a severity, a SQLSTATE, a message
//! that starts with `pgweir: ` unless PostgreSQL would have said the same in these words, a DETAIL
//! of facts and a HINT of what to do. A [`ServerReport`] is a look into a server's ErrorResponse:
//! the bytes themselves pass to the client untouched, only decisions are taken from the look.
//! Fields: PostgreSQL manual, "Error and Notice Message Fields".

use std::borrow::Cow;
use std::fmt;

use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::message;
pub use crate::sqlstate::SqlState;

/// How bad it is, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The statement failed; the connection lives.
    Error,
    /// The connection ends.
    Fatal,
    /// Every connection of the server ends.
    Panic,
    /// Nothing failed, and something is likely to be wrong.
    Warning,
    /// Nothing failed; worth knowing.
    Notice,
}

impl Severity {
    /// The word on the wire, never localised.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }

    /// Reads the word on the wire. What is not known is an error: of the three that end a
    /// statement it promises least, and a connection that ends is seen to end.
    fn read(word: &[u8]) -> Self {
        match word {
            b"FATAL" => Self::Fatal,
            b"PANIC" => Self::Panic,
            b"WARNING" => Self::Warning,
            b"NOTICE" => Self::Notice,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error or notice of pgweir's own, for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How bad it is.
    pub severity: Severity,
    /// Its SQLSTATE.
    pub code: SqlState,
    /// One line: what is wrong.
    pub message: String,
    /// The facts.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Report {
    /// A report without detail and hint.
    pub fn new(severity: Severity, code: SqlState, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), detail: None, hint: None }
    }

    /// The same with the facts behind it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends it as an ErrorResponse.
    pub fn encode_error(&self, out: &mut Vec<u8>) {
        message::put(&ErrorResponse::new(self.fields()), out);
    }

    /// Appends it as a NoticeResponse.
    pub fn encode_notice(&self, out: &mut Vec<u8>) {
        message::put(&NoticeResponse::new(self.fields()), out);
    }

    /// The fields S, V, C, M, D, H. S may be localised and V may not; pgweir speaks English, so
    /// they are the same word.
    fn fields(&self) -> Vec<(u8, String)> {
        let severity = self.severity.as_str();
        let always =
            [(b'S', severity), (b'V', severity), (b'C', self.code.as_str()), (b'M', &self.message)];
        let sometimes = [(b'D', self.detail.as_deref()), (b'H', self.hint.as_deref())];
        let sometimes = sometimes.into_iter().filter_map(|(tag, text)| Some((tag, text?)));
        always
            .into_iter()
            .chain(sometimes)
            .map(|(tag, text)| (tag, message::until_zero(text).to_owned()))
            .collect()
    }
}

/// A client broke the protocol: the connection cannot go on.
impl From<&ProtocolError> for Report {
    fn from(error: &ProtocolError) -> Self {
        let mut report = Self::new(Severity::Fatal, error.sqlstate(), error.to_string());
        report.detail = error.detail();
        report.hint = error.hint().map(str::to_owned);
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:  {}: {}", self.severity, self.code, self.message)
    }
}

/// What a server's ErrorResponse or NoticeResponse says, borrowed from its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport<'a> {
    /// How bad it is; [`Severity::Error`] when the word is not known.
    pub severity: Severity,
    /// Its SQLSTATE.
    pub code: SqlState,
    /// One line: what is wrong. Text in another encoding than UTF-8 shows as U+FFFD: this is for
    /// logs, the client gets the bytes.
    pub message: Cow<'a, str>,
    /// The facts, if the server gave any.
    pub detail: Option<Cow<'a, str>>,
    /// Advice, if the server gave any.
    pub hint: Option<Cow<'a, str>>,
    /// The C function of the server that raised it (field R), which tells apart errors that share
    /// a SQLSTATE.
    pub routine: Option<&'a [u8]>,
}

impl<'a> ServerReport<'a> {
    /// Reads the body of an ErrorResponse or NoticeResponse. `None` when it is malformed or lacks
    /// a code: a report that says nothing decides nothing.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let fields = Fields::read(body).ok()?;
        Some(Self {
            severity: Severity::read(fields.severity.or(fields.shown_severity)?),
            code: SqlState::parse(fields.code?)?,
            message: String::from_utf8_lossy(fields.message.unwrap_or_default()),
            detail: fields.detail.map(String::from_utf8_lossy),
            hint: fields.hint.map(String::from_utf8_lossy),
            routine: fields.routine,
        })
    }
}

impl fmt::Display for ServerReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:  {}: {}", self.severity, self.code, self.message)
    }
}

/// The fields of a report that are looked at.
#[derive(Default)]
struct Fields<'a> {
    severity: Option<&'a [u8]>,
    shown_severity: Option<&'a [u8]>,
    code: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
    detail: Option<&'a [u8]>,
    hint: Option<&'a [u8]>,
    routine: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new("ErrorResponse", body);
        let mut fields = Self::default();
        loop {
            let place = match cursor.u8()? {
                0 => break,
                b'V' => &mut fields.severity,
                b'S' => &mut fields.shown_severity,
                b'C' => &mut fields.code,
                b'M' => &mut fields.message,
                b'D' => &mut fields.detail,
                b'H' => &mut fields.hint,
                b'R' => &mut fields.routine,
                _ => {
                    cursor.cstr()?;
                    continue;
                }
            };
            *place = Some(cursor.cstr()?);
        }
        cursor.finish()?;
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> Report {
        Report::new(Severity::Fatal, SqlState::CANNOT_CONNECT_NOW, "pgweir: no primary")
            .with_detail("Two nodes were asked.")
            .with_hint("Wait.")
    }

    #[test]
    fn an_error_response_byte_for_byte() {
        let mut out = b"before".to_vec();
        report().encode_error(&mut out);
        let body =
            b"SFATAL\0VFATAL\0C57P03\0Mpgweir: no primary\0DTwo nodes were asked.\0HWait.\0\0";
        let mut expected = b"beforeE\0\0\0\x4c".to_vec();
        expected.extend_from_slice(body);
        assert_eq!(body.len() + 4, 0x4c);
        assert_eq!(out, expected);
    }

    #[test]
    fn a_notice_response_without_detail_and_hint() {
        let mut out = Vec::new();
        Report::new(Severity::Notice, SqlState::WARNING, "pgweir: x").encode_notice(&mut out);
        assert_eq!(out, b"N\0\0\0\x27SNOTICE\0VNOTICE\0C01000\0Mpgweir: x\0\0");
    }

    #[test]
    fn a_zero_byte_in_a_text_ends_that_text_and_no_other() {
        let mut out = Vec::new();
        Report::new(Severity::Error, SqlState::INTERNAL_ERROR, "a\0Cforged").encode_error(&mut out);
        let read = ServerReport::parse(&out[5..]).unwrap();
        assert_eq!((read.code, &*read.message), (SqlState::INTERNAL_ERROR, "a"));
    }

    #[test]
    fn a_servers_report_is_read_back() {
        let mut out = Vec::new();
        report().encode_error(&mut out);
        let read = ServerReport::parse(&out[5..]).unwrap();
        assert_eq!(read.severity, Severity::Fatal);
        assert_eq!(read.code, SqlState::CANNOT_CONNECT_NOW);
        assert_eq!(read.message, "pgweir: no primary");
        assert_eq!(read.detail.as_deref(), Some("Two nodes were asked."));
        assert_eq!(read.hint.as_deref(), Some("Wait."));
        assert_eq!(read.to_string(), "FATAL:  57P03: pgweir: no primary");
    }

    /// Each row: a body, and severity, code and message as read.
    #[test]
    fn bodies_of_error_responses() {
        type Read = (Severity, &'static str, &'static str);
        let rows: &[(&[u8], Option<Read>)] = &[
            (
                b"SFEHLER\0VERROR\0C25006\0Mkann INSERT nicht\0Fx.c\0L1\0RPreventCommand\0\0",
                Some((Severity::Error, "25006", "kann INSERT nicht")),
            ),
            (b"SFATAL\0C57P01\0Mold\0\0", Some((Severity::Fatal, "57P01", "old"))),
            (b"SFEHLER\0C57014\0M\xe4\0\0", Some((Severity::Error, "57014", "\u{fffd}"))),
            (b"SERROR\0C25006\0\0", Some((Severity::Error, "25006", ""))),
            (b"", None),
            (b"\0", None),
            (b"SERROR\0\0", None),
            (b"SERROR\0C2500\0\0", None),
            (b"SERROR\0C25006\0", None),
            (b"SERROR\0C25006", None),
            (b"SERROR\0C25006\0\0more", None),
        ];
        for (body, expected) in rows {
            let got = ServerReport::parse(body);
            let got = got.as_ref().map(|r| (r.severity, r.code.as_str(), &*r.message));
            assert_eq!(got, *expected, "{}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(body: Vec<u8>) {
            let _ = ServerReport::parse(&body);
        }

        #[test]
        fn what_is_encoded_reads_back(message in "[^\0]{0,40}", detail in proptest::option::of("[^\0]{0,20}")) {
            let mut report = Report::new(Severity::Error, SqlState::SYNTAX_ERROR, message);
            report.detail = detail;
            let mut out = Vec::new();
            report.encode_error(&mut out);
            let read = ServerReport::parse(&out[5..]).unwrap();
            prop_assert_eq!(&*read.message, report.message.as_str());
            prop_assert_eq!(read.detail.as_deref(), report.detail.as_deref());
        }
    }
}
