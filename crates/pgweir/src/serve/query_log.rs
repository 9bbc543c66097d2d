//! What the log says of queries: `log.queries` of each, `log.slow_query` of those that took long.
//!
//! Statements are shown in their form without literals, as SHOW ROUTES does: a log is read by others than
//! those whose data it would tell.

use std::time::Duration;

use crate::gateway::ClientHandle;
use crate::route::Noted;
use crate::snapshot::Logged;

/// What the log says where nobody has looked into a statement.
const UNKNOWN: &str = "(not looked into)";

/// How long an answer was in coming.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From the statement's going out to its answer's end.
    pub(super) took: Duration,
    /// Before that, waiting for a server connection.
    pub(super) waited: Duration,
}

/// Tells of the statements that an answer was for. Those of one pipeline have their times in common.
pub(super) fn answered(logged: Logged, noted: &[Noted], client: &ClientHandle, times: Times) {
    let is_slow = logged.slow.is_some_and(|slow| times.took + times.waited >= slow);
    if is_slow || logged.all {
        let _client = client.span().entered();
        for one in noted {
            line(is_slow, one, times);
        }
    }
}

fn line(is_slow: bool, noted: &Noted, times: Times) {
    let kind = noted.route.as_ref().map(|route| &route.kind);
    let statement = kind.map_or(UNKNOWN, |kind| &*kind.statement);
    let (class, reason) = kind.map_or(("", ""), |kind| (kind.class, &*kind.reason));
    let node = noted.node.as_ref().map_or("none", |node| node.name());
    let (duration_ms, wait_ms) = (millis(times.took), millis(times.waited));
    // An event's level and message are part of its place in the code.
    macro_rules! event {
        ($level:ident, $message:literal) => {
            tracing::$level!(statement, class, reason, node, duration_ms, wait_ms, $message)
        };
    }
    if is_slow {
        event!(warn, "slow query");
    } else {
        event!(info, "query");
    }
}

/// Milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1e3
}
