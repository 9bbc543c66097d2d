//! The messages pgweir itself says, as bytes.
//!
//! What passes between a client and a server is forwarded as it came; these are the messages
//! that have no other author: authentication, errors, the console's answers, and what prepares a
//! server connection for a client. Each function appends one whole frame: type byte, length,
//! body (PostgreSQL manual, "Message Formats"). pgwire builds the bodies of what pgweir says in
//! its own words. The messages that carry a client's bytes (SQL, names of statements and portals)
//! are written here, because those bytes need not be UTF-8 and pgwire's are Rust strings.
//!
//! A text is written up to its first zero byte, should it hold one: the protocol's strings end
//! there, and a forged rest must not become the next field.

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::data::{FieldDescription, NoData, RowDescription};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus as PgwireStatus,
};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, ParameterStatus, Password, SASLInitialResponse, SASLResponse,
    SecretKey,
};

/// The length word in front of every body, in bytes. It counts itself.
pub const LENGTH_WORD: usize = 4;

/// Length of the salt of an md5 challenge, in bytes.
pub const MD5_SALT_LENGTH: usize = 4;

/// The least a cancel key can be, in bytes: what protocol 3.0 always has.
pub const CANCEL_KEY_MIN_LENGTH: usize = 4;

/// The most a cancel key can be, in bytes (protocol 3.2).
pub const CANCEL_KEY_MAX_LENGTH: usize = 256;

/// What ReadyForQuery says of the session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in a transaction block.
    Transaction,
    /// `E`: in a transaction block that has failed.
    Failed,
}

impl TransactionStatus {
    /// Reads the byte of a ReadyForQuery. `None` for bytes the protocol does not know.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Transaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte of a ReadyForQuery.
    #[must_use]
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Transaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// The type of a column in an answer of pgweir's own. Drivers turn text into numbers by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `boolean`
    Bool,
    /// `bigint`
    Int8,
    /// `integer`
    Int4,
    /// `text`
    Text,
    /// `numeric`
    Numeric,
}

impl ColumnType {
    /// Its object identifier, fixed in every server (`pg_type.dat`).
    #[must_use]
    pub fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Int8 => 20,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Numeric => 1700,
        }
    }

    /// Its size in bytes (`pg_type.typlen`), −1 for types of variable length.
    fn size(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int8 => 8,
            Self::Int4 => 4,
            Self::Text | Self::Numeric => -1,
        }
    }
}

/// How a value is written (manual, 55.1.3 "Formats and Format Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// As text.
    #[default]
    Text,
    /// In the type's own binary form.
    Binary,
}

impl Format {
    /// Reads a format code. `None` for codes that the protocol does not know.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    /// The format code.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

// ---- towards a client ----

/// AuthenticationOk: the client is who it says.
pub fn authentication_ok(out: &mut Vec<u8>) {
    put(&Authentication::Ok, out);
}

/// AuthenticationMD5Password with the salt to hash with.
pub fn authentication_md5_password(salt: [u8; MD5_SALT_LENGTH], out: &mut Vec<u8>) {
    put(&Authentication::MD5Password(salt.to_vec()), out);
}

/// AuthenticationSASL with the mechanisms to choose from, the preferred one first.
pub fn authentication_sasl(mechanisms: &[&str], out: &mut Vec<u8>) {
    let mechanisms = mechanisms.iter().map(|name| until_zero(name).to_owned()).collect();
    put(&Authentication::SASL(mechanisms), out);
}

/// AuthenticationSASLContinue with the mechanism's next message.
pub fn authentication_sasl_continue(data: &[u8], out: &mut Vec<u8>) {
    put(&Authentication::SASLContinue(Bytes::copy_from_slice(data)), out);
}

/// AuthenticationSASLFinal with the mechanism's last message.
pub fn authentication_sasl_final(data: &[u8], out: &mut Vec<u8>) {
    put(&Authentication::SASLFinal(Bytes::copy_from_slice(data)), out);
}

/// ParameterStatus: the value of a setting that clients are told about.
pub fn parameter_status(name: &str, value: &str, out: &mut Vec<u8>) {
    let (name, value) = (until_zero(name).to_owned(), until_zero(value).to_owned());
    put(&ParameterStatus::new(name, value), out);
}

/// BackendKeyData: what a cancel request has to show. `key` is
/// [4](CANCEL_KEY_MIN_LENGTH) bytes in protocol 3.0, up to [256](CANCEL_KEY_MAX_LENGTH) from 3.2
/// on; libpq refuses others.
pub fn backend_key_data(process_id: i32, key: &[u8], out: &mut Vec<u8>) {
    debug_assert!(
        (CANCEL_KEY_MIN_LENGTH..=CANCEL_KEY_MAX_LENGTH).contains(&key.len()),
        "a cancel key of {} bytes",
        key.len()
    );
    let key = SecretKey::Bytes(Bytes::copy_from_slice(key));
    put(&BackendKeyData::new(process_id, key), out);
}

/// ReadyForQuery: the next command may come.
pub fn ready_for_query(status: TransactionStatus, out: &mut Vec<u8>) {
    let status = match status {
        TransactionStatus::Idle => PgwireStatus::Idle,
        TransactionStatus::Transaction => PgwireStatus::Transaction,
        TransactionStatus::Failed => PgwireStatus::Error,
    };
    put(&ReadyForQuery::new(status), out);
}

/// CommandComplete with its command tag, for example `SHOW`.
pub fn command_complete(tag: &str, out: &mut Vec<u8>) {
    put(&CommandComplete::new(until_zero(tag).to_owned()), out);
}

/// EmptyQueryResponse: there was nothing to do.
pub fn empty_query_response(out: &mut Vec<u8>) {
    put(&EmptyQueryResponse::new(), out);
}

/// RowDescription: the columns of the rows to come.
pub fn row_description(columns: &[(&str, ColumnType, Format)], out: &mut Vec<u8>) {
    let fields = columns.iter().map(|(name, kind, format)| {
        // No table, no attribute number, no type modifier.
        let (oid, size) = (kind.oid(), kind.size());
        FieldDescription::new(until_zero(name).to_owned(), 0, 0, oid, size, -1, format.code())
    });
    put(&RowDescription::new(fields.collect()), out);
}

/// DataRow of values in the formats that the row's description says, `None` being NULL.
pub fn data_row<T: AsRef<[u8]>>(values: &[Option<T>], out: &mut Vec<u8>) {
    frame(b'D', out, |out| {
        put_count(values.len(), out);
        for value in values.iter().take(usize::from(u16::MAX)) {
            match value {
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    let value = value.as_ref();
                    out.extend_from_slice(&length_word(value.len()));
                    out.extend_from_slice(value);
                }
            }
        }
    });
}

/// ParseComplete: the statement is prepared.
pub fn parse_complete(out: &mut Vec<u8>) {
    put(&ParseComplete::new(), out);
}

/// BindComplete: the portal is made.
pub fn bind_complete(out: &mut Vec<u8>) {
    put(&BindComplete::new(), out);
}

/// CloseComplete: the statement or portal is gone.
pub fn close_complete(out: &mut Vec<u8>) {
    put(&CloseComplete::new(), out);
}

/// PortalSuspended: the portal has more rows than were asked for.
pub fn portal_suspended(out: &mut Vec<u8>) {
    put(&PortalSuspended::new(), out);
}

/// NoData: the statement or portal returns no rows.
pub fn no_data(out: &mut Vec<u8>) {
    put(&NoData::new(), out);
}

/// ParameterDescription with the types of a statement's parameters.
pub fn parameter_description(types: &[u32], out: &mut Vec<u8>) {
    frame(b't', out, |out| put_types(types, out));
}

// ---- towards a server ----

/// PasswordMessage: a cleartext password, or the answer to an md5 challenge.
pub fn password(text: &str, out: &mut Vec<u8>) {
    put(&Password::new(until_zero(text).to_owned()), out);
}

/// SASLInitialResponse: the mechanism chosen and its first message.
pub fn sasl_initial_response(mechanism: &str, data: &[u8], out: &mut Vec<u8>) {
    let data = Some(Bytes::copy_from_slice(data));
    put(&SASLInitialResponse::new(until_zero(mechanism).to_owned(), data), out);
}

/// SASLResponse: the mechanism's next message.
pub fn sasl_response(data: &[u8], out: &mut Vec<u8>) {
    put(&SASLResponse::new(Bytes::copy_from_slice(data)), out);
}

/// Query: a text of one or more statements, to be run at once.
pub fn query(sql: &[u8], out: &mut Vec<u8>) {
    frame(b'Q', out, |out| put_cstr(sql, out));
}

/// Parse: prepares `sql` as the statement `name` (empty: the unnamed one), with the types of the
/// parameters as far as the client fixed them.
pub fn parse(name: &[u8], sql: &[u8], types: &[u32], out: &mut Vec<u8>) {
    frame(b'P', out, |out| {
        put_cstr(name, out);
        put_cstr(sql, out);
        put_types(types, out);
    });
}

/// Describe of the prepared statement `name`.
pub fn describe_statement(name: &[u8], out: &mut Vec<u8>) {
    frame(b'D', out, |out| put_target(b'S', name, out));
}

/// Bind of a portal to the statement of the same name, without parameters, and its Execute.
pub fn bind_and_execute(name: &[u8], out: &mut Vec<u8>) {
    frame(b'B', out, |out| {
        put_cstr(name, out);
        put_cstr(name, out);
        out.extend_from_slice(&[0; 6]);
    });
    frame(b'E', out, |out| {
        put_cstr(name, out);
        out.extend_from_slice(&[0; 4]);
    });
}

/// Close of the prepared statement `name`.
pub fn close_statement(name: &[u8], out: &mut Vec<u8>) {
    frame(b'C', out, |out| put_target(b'S', name, out));
}

/// Close of the portal `name`.
pub fn close_portal(name: &[u8], out: &mut Vec<u8>) {
    frame(b'C', out, |out| put_target(b'P', name, out));
}

/// Flush: send what is ready.
pub fn flush(out: &mut Vec<u8>) {
    frame(b'H', out, |_| {});
}

/// Sync: the end of a pipeline; the server answers ReadyForQuery.
pub fn sync(out: &mut Vec<u8>) {
    frame(b'S', out, |_| {});
}

/// Terminate: the connection ends here.
pub fn terminate(out: &mut Vec<u8>) {
    frame(b'X', out, |_| {});
}

// ---- frames ----

/// Appends a message that pgwire describes. pgwire's bodies can be refused for one reason, a
/// cancel key of a length no key has, and [`backend_key_data`] has asserted that.
pub(crate) fn put<M: Message>(message: &M, out: &mut Vec<u8>) {
    let mut body = BytesMut::with_capacity(message.message_length());
    let encoded = message.encode_body(&mut body);
    debug_assert!(encoded.is_ok(), "pgwire refused a message: {encoded:?}");
    let tag = M::message_type();
    put_frame(tag, out, |out| out.extend_from_slice(&body));
}

/// Appends a frame with the type byte `tag`, its body written by `body`.
fn frame(tag: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame(Some(tag), out, body);
}

/// Appends a packet without a type byte, as the first ones of a connection are.
pub(crate) fn packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame(None, out, body);
}

/// Appends a frame and sets its length once the body is there, so that no message computes its
/// own length.
fn put_frame(tag: Option<u8>, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend(tag);
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_WORD]);
    body(out);
    let length = length_word(out.len() - start);
    if let Some(word) = out.get_mut(start..start + LENGTH_WORD) {
        word.copy_from_slice(&length);
    }
}

/// A length as an `Int32`. What pgweir writes is bounded far below 2 GiB (`limits.max_message`
/// bounds what a client can make it repeat).
fn length_word(length: usize) -> [u8; LENGTH_WORD] {
    i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes()
}

/// Appends a string of the protocol.
pub(crate) fn put_cstr(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().take_while(|byte| **byte != 0));
    out.push(0);
}

/// What of `text` a string of the protocol can hold.
pub(crate) fn until_zero(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

fn put_target(kind: u8, name: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    put_cstr(name, out);
}

fn put_types(types: &[u32], out: &mut Vec<u8>) {
    put_count(types.len(), out);
    for oid in types.iter().take(usize::from(u16::MAX)) {
        out.extend_from_slice(&oid.to_be_bytes());
    }
}

/// Appends a count: an Int16 that PostgreSQL reads as unsigned, so there are at most 65,535.
fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use pgwire::messages::{
        DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
    };
    use proptest::prelude::*;

    use super::*;

    /// Appends one message.
    type Write<'a> = &'a dyn Fn(&mut Vec<u8>);

    /// A message, its bytes, and how pgwire reads them.
    type Row<'a> = (Write<'a>, &'static [u8], &'static str);

    fn context() -> DecodeContext {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        context
    }

    fn check_to_client(rows: &[Row<'_>]) {
        for (write, bytes, expected) in rows {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(out, *bytes, "{expected}");
            let mut rest = BytesMut::from(&out[..]);
            let read = PgWireBackendMessage::decode(&mut rest, &context()).unwrap().unwrap();
            assert_eq!((&*format!("{read:?}"), rest.len()), (*expected, 0));
        }
    }

    #[test]
    fn messages_of_a_login_to_a_client() {
        check_to_client(&[
            (&authentication_ok, b"R\0\0\0\x08\0\0\0\0", "Authentication(Ok)"),
            (
                &|out| authentication_md5_password([1, 2, 3, 4], out),
                b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04",
                "Authentication(MD5Password([1, 2, 3, 4]))",
            ),
            (
                &|out| authentication_sasl(&["A", "B"], out),
                b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0",
                r#"Authentication(SASL(["A", "B"]))"#,
            ),
            (
                &|out| authentication_sasl_continue(b"r=", out),
                b"R\0\0\0\x0a\0\0\0\x0br=",
                r#"Authentication(SASLContinue(b"r="))"#,
            ),
            (
                &|out| authentication_sasl_final(b"v=", out),
                b"R\0\0\0\x0a\0\0\0\x0cv=",
                r#"Authentication(SASLFinal(b"v="))"#,
            ),
            (
                &|out| parameter_status("TimeZone", "UTC", out),
                b"S\0\0\0\x11TimeZone\0UTC\0",
                r#"ParameterStatus(ParameterStatus { name: "TimeZone", value: "UTC" })"#,
            ),
            (
                &|out| backend_key_data(-2, &[1, 2, 3, 4], out),
                b"K\0\0\0\x0c\xff\xff\xff\xfe\x01\x02\x03\x04",
                r#"BackendKeyData(BackendKeyData { pid: -2, secret_key: Bytes(b"\x01\x02\x03\x04") })"#,
            ),
            (
                &|out| ready_for_query(TransactionStatus::Idle, out),
                b"Z\0\0\0\x05I",
                "ReadyForQuery(ReadyForQuery { status: Idle })",
            ),
            (
                &|out| ready_for_query(TransactionStatus::Transaction, out),
                b"Z\0\0\0\x05T",
                "ReadyForQuery(ReadyForQuery { status: Transaction })",
            ),
            (
                &|out| ready_for_query(TransactionStatus::Failed, out),
                b"Z\0\0\0\x05E",
                "ReadyForQuery(ReadyForQuery { status: Error })",
            ),
        ]);
    }

    #[test]
    fn answers_to_a_client() {
        check_to_client(&[
            (
                &|out| command_complete("SHOW", out),
                b"C\0\0\0\x09SHOW\0",
                r#"CommandComplete(CommandComplete { tag: "SHOW" })"#,
            ),
            (&empty_query_response, b"I\0\0\0\x04", "EmptyQueryResponse(EmptyQueryResponse)"),
            (&parse_complete, b"1\0\0\0\x04", "ParseComplete(ParseComplete)"),
            (&bind_complete, b"2\0\0\0\x04", "BindComplete(BindComplete)"),
            (&close_complete, b"3\0\0\0\x04", "CloseComplete(CloseComplete)"),
            (&no_data, b"n\0\0\0\x04", "NoData(NoData)"),
            (
                &|out| parameter_description(&[25, 20], out),
                b"t\0\0\0\x0e\0\x02\0\0\0\x19\0\0\0\x14",
                "ParameterDescription(ParameterDescription { types: [25, 20] })",
            ),
            (&portal_suspended, b"s\0\0\0\x04", "PortalSuspended(PortalSuspended)"),
            (
                &|out| {
                    let number = ("n", ColumnType::Int8, Format::Binary);
                    row_description(&[number, ("t", ColumnType::Text, Format::Text)], out);
                },
                b"T\0\0\0\x2e\0\x02\
                  n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\x01\
                  t\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
                "RowDescription(RowDescription { fields: [\
                 FieldDescription { name: \"n\", table_id: 0, column_id: 0, type_id: 20, \
                 type_size: 8, type_modifier: -1, format_code: 1 }, \
                 FieldDescription { name: \"t\", table_id: 0, column_id: 0, type_id: 25, \
                 type_size: -1, type_modifier: -1, format_code: 0 }] })",
            ),
            (
                &|out| data_row(&[Some("ab"), None, Some("")], out),
                b"D\0\0\0\x14\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0",
                r#"DataRow(DataRow { data: b"\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0", field_count: 3 })"#,
            ),
        ]);
    }

    #[test]
    fn messages_to_a_server() {
        let rows: &[Row<'_>] = &[
            (
                &|out| password("pw", out),
                b"p\0\0\0\x07pw\0",
                r#"PasswordMessageFamily(Raw(b"pw\0"))"#,
            ),
            (
                &|out| sasl_initial_response("M", b"n,,", out),
                b"p\0\0\0\x0dM\0\0\0\0\x03n,,",
                r#"PasswordMessageFamily(Raw(b"M\0\0\0\0\x03n,,"))"#,
            ),
            (
                &|out| sasl_response(b"c=", out),
                b"p\0\0\0\x06c=",
                r#"PasswordMessageFamily(Raw(b"c="))"#,
            ),
            (
                &|out| query(b"SELECT 1", out),
                b"Q\0\0\0\x0dSELECT 1\0",
                r#"Query(Query { query: "SELECT 1" })"#,
            ),
            (
                &|out| parse(b"s", b"SELECT $1", &[23], out),
                b"P\0\0\0\x16s\0SELECT $1\0\0\x01\0\0\0\x17",
                r#"Parse(Parse { name: Some("s"), query: "SELECT $1", type_oids: [23] })"#,
            ),
            (
                &|out| describe_statement(b"s", out),
                b"D\0\0\0\x07Ss\0",
                r#"Describe(Describe { target_type: 83, name: Some("s") })"#,
            ),
            (
                &|out| close_statement(b"s", out),
                b"C\0\0\0\x07Ss\0",
                r#"Close(Close { target_type: 83, name: Some("s") })"#,
            ),
            (
                &|out| close_portal(b"", out),
                b"C\0\0\0\x06P\0",
                "Close(Close { target_type: 80, name: None })",
            ),
            (&flush, b"H\0\0\0\x04", "Flush(Flush)"),
            (&sync, b"S\0\0\0\x04", "Sync(Sync)"),
            (&terminate, b"X\0\0\0\x04", "Terminate(Terminate)"),
        ];
        for (write, bytes, expected) in rows {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(out, *bytes, "{expected}");
            let mut rest = BytesMut::from(&out[..]);
            let read = PgWireFrontendMessage::decode(&mut rest, &context()).unwrap().unwrap();
            assert_eq!((&*format!("{read:?}"), rest.len()), (*expected, 0));
        }
    }

    #[test]
    fn a_string_ends_at_its_first_zero_byte() {
        let mut out = Vec::new();
        parameter_status("a\0b", "c\0d", &mut out);
        query(b"SELECT 1\0DROP", &mut out);
        assert_eq!(out, b"S\0\0\0\x08a\0c\0Q\0\0\0\x0dSELECT 1\0");
    }

    #[test]
    fn transaction_statuses() {
        for byte in 0..=u8::MAX {
            let status = TransactionStatus::from_byte(byte);
            assert_eq!(status.is_some(), b"ITE".contains(&byte), "{byte}");
            assert!(status.is_none_or(|status| status.as_byte() == byte), "{byte}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_client_pass_as_they_are(
            name in "[^\0]{0,9}",
            sql in proptest::collection::vec(1_u8.., 0..40),
            types: Vec<u32>,
        ) {
            let mut out = b"before".to_vec();
            parse(name.as_bytes(), &sql, &types, &mut out);
            let mut body = crate::cursor::Cursor::new("Parse", &out[b"before".len() + 5..]);
            prop_assert_eq!(body.cstr(), Ok(name.as_bytes()));
            prop_assert_eq!(body.cstr(), Ok(&sql[..]));
            prop_assert_eq!(body.u16().map(usize::from), Ok(types.len()));
            for oid in types {
                prop_assert_eq!(body.u32(), Ok(oid));
            }
            prop_assert_eq!(body.finish(), Ok(()));
        }
    }
}
