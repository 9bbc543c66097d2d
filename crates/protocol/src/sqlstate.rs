//! Every SQLSTATE that pgweir raises or recognises, named once.
//!
//! The names are the condition names of PostgreSQL's manual, appendix A ("PostgreSQL Error
//! Codes"). Which error gets which code is decided where the error becomes a
//! [`Report`](crate::report::Report); no other file spells a code out.

use std::fmt;

/// A SQLSTATE: five characters, digits and upper-case letters, the first two naming the class.
///
/// A server may send codes that have no name here (extensions make up their own), so this is a
/// value, not an enum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlState(pub [u8; 5]);

/// Declares the named codes, with their condition names for the table below.
macro_rules! sqlstates {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $condition:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* #[doc = concat!("\n\nCondition `", $condition, "`.")]
            pub const $name: Self = Self(*$code);)*

            /// Every code named here with its condition name, in the order of the codes.
            pub const NAMED: &'static [(Self, &'static str)] = &[$((Self::$name, $condition)),*];
        }
    };
}

sqlstates! {
    /// 00000: no error.
    SUCCESSFUL_COMPLETION = b"00000", "successful_completion";
    /// 01000: a warning without a code of its own.
    WARNING = b"01000", "warning";
    /// 08000: a connection failed in a way no other code of the class names.
    CONNECTION_EXCEPTION = b"08000", "connection_exception";
    /// 08001: a connection to a server could not be made.
    SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION = b"08001", "sqlclient_unable_to_establish_sqlconnection";
    /// 08003: the connection is not there any more.
    CONNECTION_DOES_NOT_EXIST = b"08003", "connection_does_not_exist";
    /// 08004: the connection was refused on purpose.
    SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION = b"08004", "sqlserver_rejected_establishment_of_sqlconnection";
    /// 08006: an established connection was lost.
    CONNECTION_FAILURE = b"08006", "connection_failure";
    /// 08007: the connection was lost while a COMMIT was under way: nobody knows its outcome.
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007", "transaction_resolution_unknown";
    /// 08P01: bytes that are not the protocol, or a message out of turn.
    PROTOCOL_VIOLATION = b"08P01", "protocol_violation";
    /// 0A000: understood, and not supported.
    FEATURE_NOT_SUPPORTED = b"0A000", "feature_not_supported";
    /// 22021: bytes that are no text in the encoding they claim.
    CHARACTER_NOT_IN_REPERTOIRE = b"22021", "character_not_in_repertoire";
    /// 22023: a value that a setting or function does not take.
    INVALID_PARAMETER_VALUE = b"22023", "invalid_parameter_value";
    /// 25000: a command in a transaction state that does not allow it.
    INVALID_TRANSACTION_STATE = b"25000", "invalid_transaction_state";
    /// 25001: a command that must not run inside a transaction.
    ACTIVE_SQL_TRANSACTION = b"25001", "active_sql_transaction";
    /// 25006: a write in a read-only transaction; what a standby answers to most writes.
    READ_ONLY_SQL_TRANSACTION = b"25006", "read_only_sql_transaction";
    /// 25P01: a command that needs a transaction, outside one.
    NO_ACTIVE_SQL_TRANSACTION = b"25P01", "no_active_sql_transaction";
    /// 25P02: a command in a transaction that has already failed.
    IN_FAILED_SQL_TRANSACTION = b"25P02", "in_failed_sql_transaction";
    /// 25P03: closed by `idle_in_transaction_session_timeout`.
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03", "idle_in_transaction_session_timeout";
    /// 26000: a prepared statement nobody made.
    INVALID_SQL_STATEMENT_NAME = b"26000", "invalid_sql_statement_name";
    /// 28000: this user may not connect this way.
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000", "invalid_authorization_specification";
    /// 28P01: the password is wrong.
    INVALID_PASSWORD = b"28P01", "invalid_password";
    /// 34000: a portal nobody made.
    INVALID_CURSOR_NAME = b"34000", "invalid_cursor_name";
    /// 3D000: a database nobody made.
    INVALID_CATALOG_NAME = b"3D000", "invalid_catalog_name";
    /// 40001: the transaction met another one (or a recovery conflict) and may be tried again.
    SERIALIZATION_FAILURE = b"40001", "serialization_failure";
    /// 40003: nobody knows whether the statement took effect.
    STATEMENT_COMPLETION_UNKNOWN = b"40003", "statement_completion_unknown";
    /// 40P01: two waited for each other; on a standby, replay may have been one of them.
    DEADLOCK_DETECTED = b"40P01", "deadlock_detected";
    /// 42501: not this user's to do.
    INSUFFICIENT_PRIVILEGE = b"42501", "insufficient_privilege";
    /// 42601: text that does not parse.
    SYNTAX_ERROR = b"42601", "syntax_error";
    /// 42602: a name that is none.
    INVALID_NAME = b"42602", "invalid_name";
    /// 42704: an object, or a setting, that does not exist.
    UNDEFINED_OBJECT = b"42704", "undefined_object";
    /// 42883: a function that does not exist.
    UNDEFINED_FUNCTION = b"42883", "undefined_function";
    /// 42P01: a table that does not exist.
    UNDEFINED_TABLE = b"42P01", "undefined_table";
    /// 42P03: a portal of that name exists already.
    DUPLICATE_CURSOR = b"42P03", "duplicate_cursor";
    /// 42P05: a prepared statement of that name exists already.
    DUPLICATE_PREPARED_STATEMENT = b"42P05", "duplicate_prepared_statement";
    /// 53300: no free connection.
    TOO_MANY_CONNECTIONS = b"53300", "too_many_connections";
    /// 53400: a configured limit was reached.
    CONFIGURATION_LIMIT_EXCEEDED = b"53400", "configuration_limit_exceeded";
    /// 54000: larger than the program can take.
    PROGRAM_LIMIT_EXCEEDED = b"54000", "program_limit_exceeded";
    /// 55000: the object is not in the state that this needs.
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000", "object_not_in_prerequisite_state";
    /// 55P02: a setting that cannot be changed now.
    CANT_CHANGE_RUNTIME_PARAM = b"55P02", "cant_change_runtime_param";
    /// 57014: cancelled on request or by a timeout.
    QUERY_CANCELED = b"57014", "query_canceled";
    /// 57P01: closed by an administrator, or by a shutdown.
    ADMIN_SHUTDOWN = b"57P01", "admin_shutdown";
    /// 57P02: the server is restarting after a crash.
    CRASH_SHUTDOWN = b"57P02", "crash_shutdown";
    /// 57P03: not accepting connections or statements now; try again later.
    CANNOT_CONNECT_NOW = b"57P03", "cannot_connect_now";
    /// 57P04: the database was dropped under the connection.
    DATABASE_DROPPED = b"57P04", "database_dropped";
    /// 57P05: closed by `idle_session_timeout`.
    IDLE_SESSION_TIMEOUT = b"57P05", "idle_session_timeout";
    /// 58000: the operating system failed.
    SYSTEM_ERROR = b"58000", "system_error";
    /// F0000: the configuration file is wrong.
    CONFIG_FILE_ERROR = b"F0000", "config_file_error";
    /// XX000: a bug.
    INTERNAL_ERROR = b"XX000", "internal_error";
}

impl SqlState {
    /// Reads a code as a server sends it. `None` unless it is five digits or upper-case letters.
    #[must_use]
    pub fn parse(code: &[u8]) -> Option<Self> {
        let code: [u8; 5] = code.try_into().ok()?;
        code.iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
            .then_some(Self(code))
    }

    /// The five characters as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The field is public, so the bytes may be anything; a code that is no text names nothing.
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }

    /// The two characters of the code's class, for example `08` for connection exceptions.
    #[must_use]
    pub fn class(&self) -> [u8; 2] {
        let [first, second, ..] = self.0;
        [first, second]
    }

    /// The condition name of the manual's appendix A, if this code is one of those named here.
    #[must_use]
    pub fn condition(&self) -> Option<&'static str> {
        Self::NAMED.iter().find_map(|(code, condition)| (code == self).then_some(*condition))
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_code_is_a_code_and_is_named_once() {
        for (code, condition) in SqlState::NAMED {
            assert_eq!(SqlState::parse(&code.0), Some(*code), "{condition}");
            assert_eq!(code.condition(), Some(*condition), "{code} is named twice");
        }
        assert!(SqlState::NAMED.is_sorted());
    }

    #[test]
    fn codes_that_are_none() {
        for bytes in [&b""[..], b"0800", b"080060", b"08p01", b"08 01", b"08P0\xff"] {
            assert_eq!(SqlState::parse(bytes), None, "{bytes:?}");
        }
        assert_eq!(SqlState([0xff; 5]).as_str(), "?????");
    }
}
