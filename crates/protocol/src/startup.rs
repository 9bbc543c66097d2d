//! The first packet of a connection, read from a client and written to a server.
//!
//! Before anything else a client sends one packet without a type byte: a request for encryption
//! (after whose answer another first packet follows), a cancel request (after which the
//! connection ends), or the startup packet with the protocol's version, the user, the database
//! and settings. It is read here as PostgreSQL 15 to 18 read it (`ProcessStartupPacket`), with
//! their bounds and their words for what is wrong; PostgreSQL manual, "Start-up", "Message
//! Formats" and "Supported Protocol Versions".

mod switches;

use bytes::Bytes;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{NegotiateProtocolVersion, SecretKey, SslRequest};

use crate::cursor::Cursor;
use crate::error::ProtocolError;
use crate::message::{
    CANCEL_KEY_MAX_LENGTH, CANCEL_KEY_MIN_LENGTH, LENGTH_WORD, packet, put, put_cstr, until_zero,
};

/// The most a first packet can be behind its length word, in bytes (PostgreSQL's
/// `MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_PACKET_LENGTH: usize = 10_000;

/// The most a name of a user or database can be, in bytes (PostgreSQL's `NAMEDATALEN` - 1).
pub const MAX_NAME_LENGTH: usize = 63;

/// The major version of the protocol.
const MAJOR_VERSION: u16 = 3;

/// The minor versions of the protocol that pgweir speaks, oldest first. There is no 3.1: it was
/// skipped because old poolers claimed to speak it.
const MINOR_VERSIONS: [u16; 2] = [OLDEST_MINOR, NEWEST_MINOR];

/// Codes in the place of the version that make a packet something else than a startup packet.
const CANCEL_REQUEST_CODE: u32 = version_word(1234, 5678);
const SSL_REQUEST_CODE: u32 = version_word(1234, 5679);
const GSSENC_REQUEST_CODE: u32 = version_word(1234, 5680);

/// The start of the names of protocol extensions; everything else is a setting.
const EXTENSION_PREFIX: &str = "_pq_.";

/// A first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// SSLRequest: wants TLS; the answer is `S` or `N`.
    Ssl,
    /// GSSENCRequest: wants GSSAPI encryption; the answer is `G` or `N`.
    Gss,
    /// CancelRequest: the statement that runs on another connection is to be cancelled. Nothing
    /// is answered.
    Cancel {
        /// The process identifier that BackendKeyData gave out.
        pid: i32,
        /// The key that BackendKeyData gave out, 4 to 256 bytes.
        key: Vec<u8>,
    },
    /// StartupMessage: a session.
    Startup(Startup),
}

/// What a client asks for in its startup packet.
///
/// PostgreSQL applies [`options`](Self::options) first and [`parameters`](Self::parameters)
/// after them, so that of two values for the same setting the latter wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The minor version of protocol 3 as asked for. What is spoken is
    /// [`minor_spoken`](Self::minor_spoken).
    pub minor: u16,
    /// The user, cut to the length of a name.
    pub user: String,
    /// The database, cut to the length of a name; the user's name when none was given.
    pub database: String,
    /// Settings in the order given: what is left of the packet without what has a field here.
    pub parameters: Vec<(String, String)>,
    /// Settings from the switches in the parameter `options`, in the order given.
    pub options: Vec<(String, String)>,
    /// The parameter `options` itself, for a server of the client's own.
    pub options_text: Option<String>,
    /// Whether, and how, this is a connection for replication.
    pub replication: Option<Replication>,
    /// Names of protocol extensions (`_pq_.…`). pgweir knows none.
    pub unknown_extensions: Vec<String>,
}

/// The two kinds of replication connections (manual, "Streaming Replication Protocol").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replication {
    /// `replication=true`: to no database. [`Startup::database`] then says what the client wrote,
    /// and the server ignores it.
    Physical,
    /// `replication=database`: to the database named.
    Logical,
}

impl Replication {
    /// The value of the startup parameter `replication`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Physical => "true",
            Self::Logical => "database",
        }
    }
}

impl Startup {
    /// The minor version that is spoken with this client: the newest that both speak.
    #[must_use]
    pub fn minor_spoken(&self) -> u16 {
        let spoken = MINOR_VERSIONS.into_iter().rev().find(|minor| *minor <= self.minor);
        spoken.unwrap_or_default()
    }
}

/// The length of the first packet, its length word included, once that word is there.
///
/// # Errors
/// [`ProtocolError::StartupLength`] for a packet too short for a version or longer than
/// [`MAX_STARTUP_PACKET_LENGTH`] allows. PostgreSQL then closes the connection without a word,
/// for who sends such a length is hardly a client.
pub fn opening_length(prefix: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let Some(word) = prefix.first_chunk::<LENGTH_WORD>() else {
        return Ok(None);
    };
    let length = i64::from(i32::from_be_bytes(*word));
    let error = ProtocolError::StartupLength { length };
    let Ok(length) = usize::try_from(length) else {
        return Err(error);
    };
    let bounds = 2 * LENGTH_WORD..=LENGTH_WORD + MAX_STARTUP_PACKET_LENGTH;
    if bounds.contains(&length) { Ok(Some(length)) } else { Err(error) }
}

/// Reads one whole first packet, length word included.
///
/// # Errors
/// A [`ProtocolError`] whose report is what PostgreSQL would have sent: a layout that does not
/// add up, a version other than 3, no user, a `replication` or `options` that PostgreSQL does not
/// understand, or names and values that are not UTF-8.
pub fn read_opening(packet: &[u8]) -> Result<Opening, ProtocolError> {
    let claimed = opening_length(packet)?;
    if claimed != Some(packet.len()) {
        let length = claimed.unwrap_or(packet.len());
        return Err(ProtocolError::StartupLength {
            length: i64::try_from(length).unwrap_or(i64::MAX),
        });
    }
    let mut cursor = Cursor::new("StartupMessage", packet);
    cursor.bytes(LENGTH_WORD)?;
    match cursor.u32()? {
        SSL_REQUEST_CODE => drained(cursor, Opening::Ssl),
        GSSENC_REQUEST_CODE => drained(cursor, Opening::Gss),
        CANCEL_REQUEST_CODE => read_cancel(cursor),
        version => read_startup(version, cursor, packet.len()).map(Opening::Startup),
    }
}

fn drained(cursor: Cursor<'_>, opening: Opening) -> Result<Opening, ProtocolError> {
    cursor.finish()?;
    Ok(opening)
}

fn read_cancel(mut cursor: Cursor<'_>) -> Result<Opening, ProtocolError> {
    let pid = cursor.i32()?;
    let key = cursor.rest();
    if !(CANCEL_KEY_MIN_LENGTH..=CANCEL_KEY_MAX_LENGTH).contains(&key.len()) {
        return Err(ProtocolError::InvalidLength {
            frame: "CancelRequest",
            length: i64::try_from(key.len()).unwrap_or(i64::MAX),
            least: CANCEL_KEY_MIN_LENGTH,
            most: CANCEL_KEY_MAX_LENGTH,
        });
    }
    Ok(Opening::Cancel { pid, key: key.to_vec() })
}

fn read_startup(version: u32, cursor: Cursor<'_>, length: usize) -> Result<Startup, ProtocolError> {
    let [major, minor] = split_version(version);
    if major != MAJOR_VERSION {
        return Err(ProtocolError::UnsupportedVersion { major, minor });
    }
    let mut asked = Asked::default();
    for (name, value) in read_pairs(cursor, length)? {
        asked.take(name, value)?;
    }
    let Some(user) = asked.user.filter(|user| !user.is_empty()) else {
        return Err(ProtocolError::NoUser);
    };
    let database = asked.database.filter(|database| !database.is_empty());
    Ok(Startup {
        minor,
        user: cut_name(user).to_owned(),
        database: cut_name(database.unwrap_or(user)).to_owned(),
        parameters: asked.parameters,
        options: asked.options.map(switches::read).transpose()?.unwrap_or_default(),
        options_text: asked.options.map(str::to_owned),
        replication: asked.replication,
        unknown_extensions: asked.unknown_extensions,
    })
}

/// The packet's contents while it is read; of a name given twice the last one counts.
#[derive(Default)]
struct Asked<'a> {
    user: Option<&'a str>,
    database: Option<&'a str>,
    options: Option<&'a str>,
    replication: Option<Replication>,
    parameters: Vec<(String, String)>,
    unknown_extensions: Vec<String>,
}

impl<'a> Asked<'a> {
    fn take(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), ProtocolError> {
        let name = utf8("a startup parameter's name", name)?;
        match name {
            "user" => self.user = Some(utf8("the startup parameter user", value)?),
            "database" => self.database = Some(utf8("the startup parameter database", value)?),
            "options" => self.options = Some(utf8("the startup parameter options", value)?),
            "replication" => {
                self.replication = read_replication(utf8("the parameter replication", value)?)?;
            }
            // What the extension was to be set to does not matter to who does not know it.
            name if name.starts_with(EXTENSION_PREFIX) => {
                self.unknown_extensions.push(name.to_owned());
            }
            name => {
                let value = utf8("a startup parameter's value", value)?;
                self.parameters.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    }
}

/// A name and a value as they are in the packet.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The names and values of the packet, ended by an empty name that has to be its last byte.
fn read_pairs(mut cursor: Cursor<'_>, length: usize) -> Result<Vec<Pair<'_>>, ProtocolError> {
    let terminator = |_| ProtocolError::StartupTerminator { length };
    let mut pairs = Vec::new();
    loop {
        let name = cursor.cstr().map_err(terminator)?;
        if name.is_empty() {
            break;
        }
        pairs.push((name, cursor.cstr().map_err(terminator)?));
    }
    cursor.finish().map_err(terminator)?;
    Ok(pairs)
}

fn read_replication(value: &str) -> Result<Option<Replication>, ProtocolError> {
    if value == "database" {
        return Ok(Some(Replication::Logical));
    }
    match read_bool(value) {
        Some(true) => Ok(Some(Replication::Physical)),
        Some(false) => Ok(None),
        None => Err(ProtocolError::Replication { value: value.to_owned() }),
    }
}

/// A boolean as PostgreSQL's settings take it (`parse_bool`): `true`, `false`, `yes`, `no`, `on`,
/// `off`, `1`, `0` and whatever starts one of them and no other, in any case.
fn read_bool(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let words = [
        ("true", true, 1),
        ("false", false, 1),
        ("yes", true, 1),
        ("no", false, 1),
        ("on", true, 2),
        ("off", false, 2),
        ("1", true, 1),
        ("0", false, 1),
    ];
    words.into_iter().find_map(|(word, meaning, shortest)| {
        (value.len() >= shortest && word.starts_with(&value)).then_some(meaning)
    })
}

/// A name as long as PostgreSQL has names, cut between characters.
fn cut_name(name: &str) -> &str {
    let (cut, _) = name.split_at(name.floor_char_boundary(MAX_NAME_LENGTH));
    cut
}

fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, ProtocolError> {
    std::str::from_utf8(bytes).map_err(|error| ProtocolError::not_utf8(what, bytes, error))
}

/// The NegotiateProtocolVersion that answers a client which asked for a newer minor version than
/// is spoken, or for protocol extensions; `None` when it gets what it asked for. It goes out
/// before authentication. The newest libpq asks for 3.9999 on purpose to see this answered.
#[must_use]
pub fn negotiate(startup: &Startup) -> Option<Vec<u8>> {
    let minor = startup.minor_spoken();
    if minor == startup.minor && startup.unknown_extensions.is_empty() {
        return None;
    }
    // The manual says "newest minor protocol version"; PostgreSQL sends, and libpq wants, the
    // whole version.
    let version = i32::from(MAJOR_VERSION) << 16 | i32::from(minor);
    let extensions = startup.unknown_extensions.iter().map(|name| until_zero(name).to_owned());
    let mut out = Vec::new();
    put(&NegotiateProtocolVersion::new(version, extensions.collect()), &mut out);
    Some(out)
}

/// The minor version that every server speaks.
pub const OLDEST_MINOR: u16 = 0;

/// The newest minor version that pgweir speaks, and the first with long cancel keys.
pub const NEWEST_MINOR: u16 = 2;

/// A startup packet of protocol 3.`minor` for a server, with further parameters in the order given.
#[must_use]
pub fn encode_startup(
    minor: u16,
    user: &str,
    database: &str,
    parameters: &[(&str, &str)],
) -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, |out| {
        out.extend_from_slice(&version_word(MAJOR_VERSION, minor).to_be_bytes());
        let pairs = [("user", user), ("database", database)];
        for (name, value) in pairs.iter().chain(parameters) {
            put_cstr(name.as_bytes(), out);
            put_cstr(value.as_bytes(), out);
        }
        out.push(0);
    });
    out
}

/// Reads a server's NegotiateProtocolVersion: the minor version it speaks, when it was asked for 3.`asked`
/// and for no extensions.
///
/// # Errors
/// A [`ProtocolError`]: it is malformed, or answers something else. As libpq has it, a server may go
/// back to an older version and nothing else.
pub fn read_negotiation(body: &[u8], asked: u16) -> Result<u16, ProtocolError> {
    const FRAME: &str = "NegotiateProtocolVersion";
    let mut cursor = Cursor::new(FRAME, body);
    let version = cursor.u32()?;
    let extensions = cursor.u32()?;
    let [major, minor] = split_version(version);
    if major != MAJOR_VERSION || minor >= asked {
        return Err(ProtocolError::InvalidValue {
            frame: FRAME,
            field: "version",
            found: format!("{major}.{minor}"),
            expected: "an older version than was asked for",
        });
    }
    if extensions != 0 {
        return Err(ProtocolError::InvalidValue {
            frame: FRAME,
            field: "number of unrecognized options",
            found: extensions.to_string(),
            expected: "none, for none was asked for",
        });
    }
    cursor.finish()?;
    Ok(minor)
}

/// The request for TLS to a server, which answers with one byte: `S` or `N`.
#[must_use]
pub fn encode_ssl_request() -> Vec<u8> {
    let mut out = Vec::new();
    put(&SslRequest::new(), &mut out);
    out
}

/// A cancel request to a server with what its BackendKeyData said.
#[must_use]
pub fn encode_cancel(pid: i32, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let key = SecretKey::Bytes(Bytes::copy_from_slice(key));
    put(&CancelRequest::new(pid, key), &mut out);
    out
}

/// Puts a version, or a code that stands in its place, into the word on the wire.
const fn version_word(major: u16, minor: u16) -> u32 {
    (major as u32) << 16 | minor as u32
}

fn split_version(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use pgwire::messages::startup as wire;
    use pgwire::messages::{DecodeContext, Message, ProtocolVersion};
    use proptest::prelude::*;

    use super::*;
    use crate::report::Report;

    /// A startup packet with this version and these bytes behind it.
    fn startup_packet(major: u16, minor: u16, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet(&mut out, |out| {
            out.extend_from_slice(&version_word(major, minor).to_be_bytes());
            out.extend_from_slice(body);
        });
        out
    }

    fn read(body: &[u8]) -> Result<Startup, ProtocolError> {
        match read_opening(&startup_packet(3, 0, body))? {
            Opening::Startup(startup) => Ok(startup),
            other => panic!("{other:?}"),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_whole_startup_packet() {
        let startup = read(
            b"user\0alice\0database\0shop\0application_name\0a b\0\
              options\0-c geqo=off --search-path=x\0client_encoding\0UTF8\0\
              replication\0off\0_pq_.x\0y\0\0",
        )
        .unwrap();
        let expected = Startup {
            minor: 0,
            user: "alice".to_owned(),
            database: "shop".to_owned(),
            parameters: pairs(&[("application_name", "a b"), ("client_encoding", "UTF8")]),
            options: pairs(&[("geqo", "off"), ("search_path", "x")]),
            options_text: Some("-c geqo=off --search-path=x".to_owned()),
            replication: None,
            unknown_extensions: vec!["_pq_.x".to_owned()],
        };
        assert_eq!(startup, expected);
    }

    /// Each row: a packet's pairs, and the user and the database that are meant.
    #[test]
    fn users_and_databases() {
        let long = "é".repeat(40);
        let cut = "é".repeat(31);
        let long_packet = format!("user\0{long}\0database\0x{long}\0\0");
        let rows: &[(&[u8], &str, &str)] = &[
            (b"user\0a\0\0", "a", "a"),
            (b"user\0a\0database\0\0\0", "a", "a"),
            (b"database\0d\0user\0a\0\0", "a", "d"),
            (b"user\0a\0user\0b\0database\0c\0database\0d\0\0", "b", "d"),
            ("user\0Ü x\0\0".as_bytes(), "Ü x", "Ü x"),
            (long_packet.as_bytes(), &cut, &format!("x{cut}")),
        ];
        for (body, user, database) in rows {
            let startup = read(body).unwrap();
            assert_eq!((&*startup.user, &*startup.database), (*user, *database));
        }
    }

    /// Each row: a packet's pairs, and the SQLSTATE and message of its report.
    #[test]
    fn packets_that_postgresql_refuses() {
        let terminator = "invalid startup packet layout: expected terminator as last byte";
        let no_user = "no PostgreSQL user name specified in startup packet";
        let not_utf8 = "invalid byte sequence for encoding \"UTF8\": 0xff";
        let rows: &[(&[u8], &str, &str)] = &[
            (b"", "08P01", terminator),
            (b"user", "08P01", terminator),
            (b"user\0", "08P01", terminator),
            (b"user\0a", "08P01", terminator),
            (b"user\0a\0", "08P01", terminator),
            (b"user\0a\0\0\0", "08P01", terminator),
            (b"user\0a\0\0x", "08P01", terminator),
            (b"user\0a\0\0database\0b\0\0", "08P01", terminator),
            (b"\0", "28000", no_user),
            (b"user\0\0\0", "28000", no_user),
            (b"database\0d\0\0", "28000", no_user),
            (b"User\0a\0\0", "28000", no_user),
            (b"user\0\xff\0\0", "22021", not_utf8),
            (b"user\0a\0database\0\xff\0\0", "22021", not_utf8),
            (b"user\0a\0x\0\xff\0\0", "22021", not_utf8),
            (b"user\0a\0\xff\0x\0\0", "22021", not_utf8),
            (
                b"user\0a\0replication\0maybe\0\0",
                "22023",
                "invalid value for parameter \"replication\": \"maybe\"",
            ),
            (
                b"user\0a\0options\0-z\0\0",
                "42601",
                "invalid command-line argument for server process: -z",
            ),
            (b"user\0a\0options\0-c x\0\0", "42601", "-c x requires a value"),
        ];
        for (body, code, message) in rows {
            let report = Report::from(&read(body).expect_err(message));
            let shown = String::from_utf8_lossy(body);
            assert_eq!((report.code.as_str(), &*report.message), (*code, *message), "{shown:?}");
        }
    }

    /// Each row: a value of `replication`, and what it means.
    #[test]
    fn replication() {
        let rows = [
            ("database", Ok(Some(Replication::Logical))),
            ("true", Ok(Some(Replication::Physical))),
            ("T", Ok(Some(Replication::Physical))),
            ("YES", Ok(Some(Replication::Physical))),
            ("on", Ok(Some(Replication::Physical))),
            ("1", Ok(Some(Replication::Physical))),
            ("false", Ok(None)),
            ("n", Ok(None)),
            ("of", Ok(None)),
            ("0", Ok(None)),
            ("", Err(())),
            ("o", Err(())),
            ("Database", Err(())),
            ("truely", Err(())),
            ("10", Err(())),
        ];
        for (value, expected) in rows {
            let body = format!("user\0a\0replication\0{value}\0\0");
            let got = read(body.as_bytes()).map(|startup| startup.replication).map_err(|_| ());
            assert_eq!(got, expected, "{value:?}");
        }
    }

    /// Each row: a whole packet, and what it opens.
    #[test]
    fn other_first_packets() {
        let long = [b"\0\0\x01\x0c\x04\xd2\x16\x2e\0\0\0\x07".to_vec(), vec![9; 256]].concat();
        let too_long = [b"\0\0\x01\x0d\x04\xd2\x16\x2e\0\0\0\x07".to_vec(), vec![9; 257]].concat();
        let rows: &[(&[u8], Option<Opening>)] = &[
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Some(Opening::Ssl)),
            (b"\0\0\0\x08\x04\xd2\x16\x30", Some(Opening::Gss)),
            (b"\0\0\0\x09\x04\xd2\x16\x2f\0", None),
            (
                b"\0\0\0\x10\x04\xd2\x16\x2e\xff\xff\xff\xfe\x01\x02\x03\x04",
                Some(Opening::Cancel { pid: -2, key: vec![1, 2, 3, 4] }),
            ),
            (&long, Some(Opening::Cancel { pid: 7, key: vec![9; 256] })),
            (&too_long, None),
            (b"\0\0\0\x0f\x04\xd2\x16\x2e\0\0\0\x07\x01\x02\x03", None),
            (b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\x07", None),
            (b"\0\0\0\x08\x04\xd2\x16\x2e", None),
            // The length says something else than there is.
            (b"\0\0\0\x08\x04\xd2\x16\x2fx", None),
            (b"\0\0\0\x09\x04\xd2\x16\x2f", None),
            (b"\0\0\0", None),
        ];
        for (packet, expected) in rows {
            assert_eq!(read_opening(packet).ok(), *expected, "{packet:?}");
        }
    }

    /// Each row: the start of a connection, and the length of its first packet.
    #[test]
    fn lengths_of_first_packets() {
        let wrong = |length| Err(ProtocolError::StartupLength { length });
        type Row = (&'static [u8], Result<Option<usize>, ProtocolError>);
        let rows: &[Row] = &[
            (b"", Ok(None)),
            (b"\0\0\0", Ok(None)),
            (b"\0\0\0\x08", Ok(Some(8))),
            (b"\0\0\0\x08more", Ok(Some(8))),
            (b"\0\0\x27\x14", Ok(Some(10_004))),
            (b"\0\0\x27\x15", wrong(10_005)),
            (b"\0\0\0\x07", wrong(7)),
            (b"\0\0\0\0", wrong(0)),
            (b"\xff\xff\xff\xff", wrong(-1)),
            (b"GET ", wrong(0x4745_5420)),
            // The start of a TLS handshake.
            (b"\x16\x03\x01\x02", wrong(0x1603_0102)),
        ];
        for (prefix, expected) in rows {
            assert_eq!(opening_length(prefix), *expected, "{prefix:?}");
        }
    }

    /// Each row: a version other than 3, and the message.
    #[test]
    fn other_major_versions_are_refused() {
        for (major, minor) in [(2, 0), (1, 0), (4, 0), (0, 0), (1234, 5681), (0xffff, 0xffff)] {
            let error = read_opening(&startup_packet(major, minor, b"user\0a\0\0")).unwrap_err();
            let report = Report::from(&error);
            assert_eq!(report.code.as_str(), "0A000");
            let asked = format!("unsupported frontend protocol {major}.{minor}");
            assert_eq!(report.message, format!("{asked}: server supports 3.0 to 3.2"));
        }
    }

    /// Each row: the minor version and the extensions asked for, and what is negotiated, as
    /// pgwire reads it.
    #[test]
    fn negotiation() {
        let rows: &[(u16, &[&str], Option<i32>)] = &[
            (0, &[], None),
            (2, &[], None),
            (1, &[], Some(0)),
            (3, &[], Some(2)),
            (9999, &[], Some(2)),
            (0, &["_pq_.a", "_pq_.b"], Some(0)),
            (2, &["_pq_.a"], Some(2)),
            (0xffff, &["_pq_."], Some(2)),
        ];
        for (minor, extensions, expected) in rows {
            let asked: String = extensions.iter().map(|name| format!("{name}\0on\0")).collect();
            let body = format!("user\0a\0{asked}\0");
            let Ok(Opening::Startup(startup)) =
                read_opening(&startup_packet(3, *minor, body.as_bytes()))
            else {
                panic!("3.{minor} {extensions:?}");
            };
            let answer = negotiate(&startup).map(|answer| {
                let mut bytes = BytesMut::from(&answer[..]);
                let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
                wire::NegotiateProtocolVersion::decode(&mut bytes, &context).unwrap().unwrap()
            });
            let expected = expected.map(|newest| {
                let extensions = extensions.iter().map(|name| (*name).to_owned()).collect();
                wire::NegotiateProtocolVersion::new(0x3_0000 + newest, extensions)
            });
            assert_eq!(answer, expected, "3.{minor} {extensions:?}");
        }
    }

    /// Each row: what a server answers to who asked for 3.2 (or 3.0), and the version then spoken.
    #[test]
    fn negotiations_of_servers() {
        let rows: [(u16, &[u8], Option<u16>); 9] = [
            (2, b"\0\x03\0\0\0\0\0\0", Some(0)),
            (2, b"\0\x03\0\x01\0\0\0\0", Some(1)),
            // Nothing older, newer, or of another kind.
            (2, b"\0\x03\0\x02\0\0\0\0", None),
            (2, b"\0\x03\0\x03\0\0\0\0", None),
            (2, b"\0\x02\0\0\0\0\0\0", None),
            (0, b"\0\x03\0\0\0\0\0\0", None),
            // Extensions that nobody asked for, and bytes too few or too many.
            (2, b"\0\x03\0\0\0\0\0\x01_pq_.a\0", None),
            (2, b"\0\x03\0\0\0\0\0", None),
            (2, b"\0\x03\0\0\0\0\0\0\0", None),
        ];
        for (asked, body, spoken) in rows {
            assert_eq!(read_negotiation(body, asked).ok(), spoken, "{asked} {body:?}");
        }
    }

    #[test]
    fn what_is_written_to_servers_byte_for_byte() {
        assert_eq!(
            encode_startup(0, "al", "d", &[("a", "1"), ("b", "")]),
            b"\0\0\0\x23\0\x03\0\0user\0al\0database\0d\0a\x001\0b\0\0\0"
        );
        assert_eq!(encode_startup(2, "a", "", &[])[4..8], *b"\0\x03\0\x02");
        assert_eq!(encode_ssl_request(), b"\0\0\0\x08\x04\xd2\x16\x2f");
        assert_eq!(
            encode_cancel(-2, &[1, 2, 3, 4]),
            b"\0\0\0\x10\x04\xd2\x16\x2e\xff\xff\xff\xfe\x01\x02\x03\x04"
        );
    }

    proptest! {
        #[test]
        fn any_packet_is_read_without_a_panic(packet: Vec<u8>, body: Vec<u8>, minor: u16) {
            let _ = opening_length(&packet);
            let _ = read_opening(&packet);
            let _ = read_opening(&startup_packet(3, minor, &body));
            let _ = read_opening(&startup_packet(1234, 5678, &body));
        }

        #[test]
        fn what_is_written_is_read_back(
            user in "[^\0]{1,15}",
            database in "[^\0]{1,15}",
            value in "[^\0]{0,30}",
        ) {
            let packet = encode_startup(0, &user, &database, &[("DateStyle", &value)]);
            let expected = Startup {
                minor: 0,
                user,
                database,
                parameters: vec![("DateStyle".to_owned(), value)],
                options: vec![],
                options_text: None,
                replication: None,
                unknown_extensions: vec![],
            };
            prop_assert_eq!(read_opening(&packet), Ok(Opening::Startup(expected)));
        }

        #[test]
        fn a_cancel_request_is_read_back(pid: i32, key in proptest::collection::vec(any::<u8>(), 4..=256)) {
            let packet = encode_cancel(pid, &key);
            prop_assert_eq!(read_opening(&packet), Ok(Opening::Cancel { pid, key }));
        }

        #[test]
        fn every_prefix_of_a_packet_is_refused(length in 0_usize..40) {
            let packet = encode_startup(0, "alice", "shop", &[("a", "b")]);
            prop_assume!(length < packet.len());
            prop_assert!(read_opening(&packet[..length]).is_err());
        }
    }
}
