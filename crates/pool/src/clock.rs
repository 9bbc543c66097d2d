//! The time, as the runtime has it: where tests stop the runtime's clock, the pools' stands too.

use std::time::Instant;

/// Now.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
