//! `[http]`

use crate::config::address::Address;
use crate::config::spec::{available, section};

section! {
    /// Health (/livez /readyz /startupz), /metrics, /api/v1/* and the status page at /.
    pub struct Http {
        /// "host:port"; "" = off.
        address: Option<Address> = Some(Address { host: "127.0.0.1".into(), port: 6433 }) => available();
    }
}
