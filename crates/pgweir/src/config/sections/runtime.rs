//! `[runtime]`

use crate::config::spec::{available, section};

section! {
    /// The process.
    pub struct Runtime {
        /// Threads that serve clients; 0 = the cores granted.
        workers: Option<u32> = Some(1) => available().within(1, 1024);
    }
}
