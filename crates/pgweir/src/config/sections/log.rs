//! `[log]`

use std::time::Duration;

use crate::config::spec::{available, planned, section, words};

section! {
    /// What is written to stderr.
    pub struct Log {
        /// The least important that is written.
        level: LogLevel = LogLevel::Info => available();
        /// Queries that take at least this long; "0s" = none.
        slow_query: Option<Duration> = None => planned();
        /// Every query with the node that served it.
        queries: bool = false => planned();
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
