//! `[log]`

use std::time::Duration;

use crate::config::spec::{available, section, words};

section! {
    /// What is written to stderr.
    pub struct Log {
        /// The least important that is written.
        level: LogLevel = LogLevel::Info => available();
        /// Queries that take at least this long, the wait for a connection included; "0s" = none.
        slow_query: Option<Duration> = None => available();
        /// Every query, without its literals: where it went, why, and how long it took.
        queries: bool = false => available();
        /// Clients coming and going.
        connections: bool = true => available();
    }
}

words! {
    /// How important a line of the log is.
    pub enum LogLevel {
        /// Something failed.
        Error = "error" => available();
        /// Something needs attention.
        Warn = "warn" => available();
        /// What an operator wants to know.
        Info = "info" => available();
        /// What a developer wants to know.
        Debug = "debug" => available();
        /// Everything.
        Trace = "trace" => available();
    }
}
