//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use crate::error::SandboxError;

/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What one look at a condition told.
pub(crate) enum Look<T> {
    /// It holds, with this result.
    Done(T),
    /// Not yet; what was seen instead.
    NotYet(String),
}

/// Least time that a question asked by a look may take, even when the deadline is nearer.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Looks until the condition holds; after `deadline` returns what was last seen as `Err`.
///
/// Each look is told how long it may take. There is one look at least, and one after the deadline has
/// passed, so that a starved thread does not miss what has long come true.
pub(crate) fn until<T>(
    deadline: Duration,
    mut look: impl FnMut(Duration) -> Result<Look<T>, SandboxError>,
) -> Result<Result<T, String>, SandboxError> {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let late = left.is_zero();
        match look(left.max(LEAST_PATIENCE))? {
            Look::Done(result) => return Ok(Ok(result)),
            Look::NotYet(seen) if late => return Ok(Err(seen)),
            Look::NotYet(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}
