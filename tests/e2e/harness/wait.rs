//! Waiting for conditions.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen, on a slow machine too.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const PACE: Duration = Duration::from_millis(10);

/// Looks again and again until `look` is content, and returns what it found; fails with what was
/// seen last when that takes too long.
#[track_caller]
pub(crate) fn until<T, E: Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= end => {
                panic!("waited {deadline:?} for {what}; last seen: {seen:?}")
            }
            Err(_) => thread::sleep(PACE),
        }
    }
}
