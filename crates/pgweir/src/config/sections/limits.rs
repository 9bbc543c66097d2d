//! `[limits]`

use std::time::Duration;

use crate::config::quantity::Size;
use crate::config::spec::{available, section};

section! {
    /// Bounds on what a client may do; 0 = none, in all of these.
    pub struct Limits {
        /// How long one query may run; then it is cancelled (57014).
        query_timeout: Option<Duration> = None => available();
        /// How long a client may sit idle inside a transaction; then it is ended (25P03).
        idle_transaction_timeout: Option<Duration> = None => available();
        /// How long a client may sit idle outside a transaction; then it is ended (57P05).
        client_idle_timeout: Option<Duration> = None => available();
        /// How long a client may take to log in.
        client_login_timeout: Option<Duration> = Some(Duration::from_secs(15)) => available();
        /// The largest message a client may send.
        max_message: Option<Size> = Some(Size(1 << 30)) => available().within(1024, 2_147_483_647);
        /// Clients at a time per user; one more is refused with 53300.
        per_user: Option<u32> = None => available();
    }
}
