//! `[firewall]`

use crate::config::spec::{planned, section};

section! {
    /// Statements that are refused.
    pub struct Firewall {
        /// Fingerprints, or SQL with placeholders; matched after normalising literals.
        block: Vec<String> = Vec::new() => planned();
    }
}
