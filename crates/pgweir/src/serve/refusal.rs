//! What clients are told when they get no server connection, in one place.

use std::time::Duration;

use pgweir_pool::{ConnectError, PoolError};
use pgweir_protocol::frame::{HEADER_LENGTH, put_frame};
use pgweir_protocol::report::{Report, ServerReport, Severity};
use pgweir_protocol::sqlstate::SqlState;

use crate::config::duration_text;

/// An error for a client.
pub(super) enum Refused {
    /// pgweir's own.
    Report(Report),
    /// The server's, as a whole frame, byte for byte.
    Verbatim(Vec<u8>),
}

/// The error that a failed checkout becomes.
pub(super) fn of_pool(error: &PoolError) -> Refused {
    if let PoolError::Connect { error: cause, .. } = error
        && let ConnectError::Refused { body } = &**cause
    {
        let mut frame = Vec::with_capacity(body.len() + 5);
        put_frame(&mut frame, b'E', |out| out.extend_from_slice(&as_error(body)));
        return Refused::Verbatim(frame);
    }
    let (code, hint) = match error {
        PoolError::CheckoutTimeout { .. } => (
            SqlState::TOO_MANY_CONNECTIONS,
            "Raise pool.size or pool.checkout_timeout, or shorten transactions.",
        ),
        PoolError::NoPrimary { .. } => (
            SqlState::CANNOT_CONNECT_NOW,
            "Try again: the primary is found by asking the nodes. failover.hold says how long a \
             write waits for one.",
        ),
        PoolError::NoReplica { .. } => (
            SqlState::CANNOT_CONNECT_NOW,
            "Try again, or set routing.reads = \"replicas\" to let the primary answer.",
        ),
        PoolError::Unannounced { .. } => (
            SqlState::CANNOT_CONNECT_NOW,
            "Commits on the primary seem to wait for a synchronous standby. SET pgweir.consistency = 'eventual' \
             lets this session go back in time.",
        ),
        PoolError::Connect { .. } => (
            SqlState::CONNECTION_FAILURE,
            "Look whether the server runs and takes connections from pgweir's host.",
        ),
        PoolError::TooManyPools { .. } => (
            SqlState::TOO_MANY_CONNECTIONS,
            "Fewer distinct pairs of database and user need fewer pools.",
        ),
        PoolError::ShuttingDown => (SqlState::ADMIN_SHUTDOWN, "Connect to another pgweir."),
    };
    let report = Report::new(Severity::Error, code, format!("pgweir: {error}")).with_hint(hint);
    Refused::Report(match detail(error) {
        Some(detail) => report.with_detail(detail),
        None => report,
    })
}

/// The last word to a client whose database, or user, the configuration has no longer.
pub(super) fn no_longer_served(database: &str) -> Report {
    let message = format!("pgweir: database \"{database}\" is not served any more for this user");
    Report::new(Severity::Fatal, SqlState::ADMIN_SHUTDOWN, message)
        .with_detail("The configuration has been changed: it names one of the two no longer.")
        .with_hint("[databases] lists the names that are served, auth.users_file the users.")
}

/// The facts behind a failed checkout.
fn detail(error: &PoolError) -> Option<String> {
    match error {
        PoolError::CheckoutTimeout(congestion) => {
            let mut detail = format!(
                "Pool of database \"{}\", user \"{}\"{}: size {}, {} in use, {} connecting, {} \
                 waiting; the node has {} of {} connections.",
                congestion.database,
                congestion.user,
                congestion.node.as_ref().map_or(String::new(), |node| format!(" on {node}")),
                congestion.size,
                congestion.in_use,
                congestion.connecting,
                congestion.waiting,
                congestion.node_open,
                congestion.node_limit,
            );
            if let Some(error) = &congestion.last_error {
                detail.push_str(&format!(" The last attempt to connect: {error}."));
            }
            Some(detail)
        }
        PoolError::NoPrimary { nodes, .. }
        | PoolError::NoReplica { nodes, .. }
        | PoolError::Unannounced { nodes, .. } => Some(nodes.join("; ")),
        PoolError::Connect { .. } | PoolError::TooManyPools { .. } | PoolError::ShuttingDown => {
            None
        }
    }
}

/// The code of a server's error, a whole frame.
pub(super) fn code(frame: &[u8]) -> SqlState {
    let body = frame.get(HEADER_LENGTH..).unwrap_or_default();
    ServerReport::parse(body).map_or(SqlState::INTERNAL_ERROR, |report| report.code)
}

/// A server's FATAL as the ERROR it is to a client that stays connected: the severity fields alone
/// differ (manual, 55.8).
fn as_error(body: &[u8]) -> Vec<u8> {
    with_severity(body, b"FATAL\0", b"ERROR\0")
}

fn with_severity(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut fields = Vec::with_capacity(body.len());
    for field in body.split_inclusive(|&byte| byte == 0) {
        match field.split_first() {
            Some((b'S' | b'V', severity)) if severity == from => {
                fields.extend(field.first());
                fields.extend_from_slice(to);
            }
            _ => fields.extend_from_slice(field),
        }
    }
    fields
}

/// A server's ERROR, a whole frame, as the FATAL it is to a client that is not let in.
pub(super) fn as_fatal(frame: &[u8]) -> Vec<u8> {
    let body = frame.get(HEADER_LENGTH..).unwrap_or_default();
    let mut fatal = Vec::with_capacity(frame.len());
    put_frame(&mut fatal, b'E', |out| {
        out.extend_from_slice(&with_severity(body, b"ERROR\0", b"FATAL\0"));
    });
    fatal
}

/// A cancel request met a statement that was still waiting for a server connection.
pub(crate) fn cancelled() -> Report {
    Report::new(
        Severity::Error,
        SqlState::QUERY_CANCELED,
        "canceling statement due to user request",
    )
}

/// The last word to a client that has taken too long.
pub(super) fn out_of_patience(code: SqlState, what: &str, key: &str, limit: Duration) -> Report {
    let message = format!("pgweir: terminating connection due to {what}");
    Report::new(Severity::Fatal, code, message)
        .with_detail(format!("limits.{key} is {}.", duration_text(limit)))
}

/// The connection ends because pgweir does.
pub(crate) fn shutting_down() -> Report {
    Report::new(
        Severity::Fatal,
        SqlState::ADMIN_SHUTDOWN,
        "terminating connection due to administrator command",
    )
}

/// The connection ends because nothing is heard of its server any more.
pub(super) fn silent(node: &str) -> Report {
    let message = format!("pgweir: {node} has not answered for long");
    Report::new(Severity::Fatal, SqlState::CONNECTION_FAILURE, message).with_hint("Connect again.")
}

/// The connection ends because its server must not be the primary any more.
pub(super) fn superseded(node: &str) -> Report {
    let message = format!("pgweir: {node} is no longer the primary");
    Report::new(Severity::Fatal, SqlState::ADMIN_SHUTDOWN, message)
        .with_hint("Connect again, to the new one.")
}
