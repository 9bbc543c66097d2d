//! `[failover]`

use std::time::Duration;

use crate::config::spec::{available, section};

section! {
    /// When the primary is gone.
    pub struct Failover {
        /// How long writes wait for a primary before they get 57P03.
        hold: Duration = Duration::from_secs(30) => available().within(0, 3_600_000);
    }
}
