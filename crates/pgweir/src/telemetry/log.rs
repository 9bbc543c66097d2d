//! The log: one line per event on stderr, as text or as JSON.
//!
//! The level is the configuration's, so it can change while pgweir runs: [`LevelHandle::set`]. It is
//! the level of pgweir's own events; libraries are heard from `warn` on, unless the level is `trace`:
//! their chatter would bury ours.

use std::io;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogLevel;

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes the level of a running log.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    /// Logs from this level on. Without effect once the log is gone.
    pub fn set(&self, level: LogLevel) {
        // The only error is that the subscriber was dropped: then there is nothing to change.
        let _ = self.0.reload(targets(level));
    }
}

/// Logs to stderr from now on, for the whole process.
///
/// # Errors
///
/// When the process logs already.
pub fn install(format: LogFormat, level: LogLevel) -> Result<LevelHandle, SetGlobalDefaultError> {
    let (log, handle) = new(format, level, io::stderr);
    tracing::dispatcher::set_global_default(log)?;
    Ok(handle)
}

/// A log that writes wherever `writer` says.
pub fn new<W>(format: LogFormat, level: LogLevel, writer: W) -> (Dispatch, LevelHandle)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let log = Registry::default().with(lines);
    (Dispatch::new(log), LevelHandle(handle))
}

fn targets(level: LogLevel) -> Targets {
    let (own, libraries) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    // A target matches by its beginning: `pgweir_pool` and the other crates are meant too.
    Targets::new().with_default(libraries).with_target("pgweir", own)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Captured {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn log(format: LogFormat, level: LogLevel) -> (Captured, Dispatch, LevelHandle) {
        let captured = Captured::default();
        let writer = captured.clone();
        let (log, handle) = new(format, level, move || writer.clone());
        (captured, log, handle)
    }

    #[test]
    fn the_level_bounds_pgweirs_own_events_and_changes_while_it_runs() {
        let (captured, log, handle) = log(LogFormat::Text, LogLevel::Info);
        tracing::dispatcher::with_default(&log, || {
            tracing::info!(target: "pgweir_pool", node = "a:5432", "one");
            tracing::debug!(target: "pgweir::serve", "two");
            tracing::info!(target: "rustls", "three");
            tracing::warn!(target: "rustls", "four");
            let text = captured.take();
            for (word, is_there) in
                [("one", true), ("two", false), ("three", false), ("four", true)]
            {
                assert_eq!(text.contains(word), is_there, "{word} in {text}");
            }
            assert!(text.contains("node=\"a:5432\""), "{text}");

            handle.set(LogLevel::Debug);
            tracing::debug!(target: "pgweir::serve", "two");
            tracing::debug!(target: "rustls", "three");
            let text = captured.take();
            assert!(text.contains("two") && !text.contains("three"), "{text}");

            handle.set(LogLevel::Error);
            tracing::warn!(target: "pgweir", "five");
            assert_eq!(captured.take(), "");
        });
    }

    #[test]
    fn a_json_line_is_an_object_with_the_events_fields() {
        let (captured, log, _handle) = log(LogFormat::Json, LogLevel::Info);
        tracing::dispatcher::with_default(&log, || {
            tracing::info!(target: "pgweir", client = 7, "client connected");
        });
        let line: serde_json::Value = serde_json::from_str(captured.take().trim_end()).unwrap();
        assert_eq!(line["message"], "client connected");
        assert_eq!(line["client"], 7);
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }
}
