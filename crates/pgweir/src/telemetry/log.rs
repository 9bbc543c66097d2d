//! The log: one line per event on stderr, as text or as JSON.
//!
//! The level is the configuration's, so it can change while pgweir runs: [`LevelHandle::set`]. It is
//! the level of pgweir's own events; libraries are heard from `warn` on, unless the level is `trace`:
//! their chatter would bury ours.

use std::any::Any;
use std::io;
use std::panic::{self, PanicHookInfo};

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

/// Logs to stderr from now on, for the whole process; panics too, as events.
///
/// # Errors
///
/// When the process logs already.
pub fn install(format: LogFormat, level: LogLevel) -> Result<LevelHandle, SetGlobalDefaultError> {
    let (log, handle) = new(format, level, io::stderr);
    tracing::dispatcher::set_global_default(log)?;
    panic::set_hook(Box::new(panicked));
    Ok(handle)
}

/// Says where the program has a bug. What was being worked on may be in a panic's words, so only those that
/// stand in the source are repeated.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, why = words(panic.payload()), "a bug: please report it");
}

/// The words of a panic, as far as they are the source's own.
fn words(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

/// A writer that keeps each event on one line, whatever a server or a client has put into it. Each is
/// written at once.
#[derive(Debug)]
struct OneLine<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        if text.iter().any(u8::is_ascii_control) {
            let mut line = Vec::with_capacity(event.len() + 16);
            for &byte in text {
                if byte.is_ascii_control() && byte != b'\t' {
                    line.extend(byte.escape_ascii());
                } else {
                    line.push(byte);
                }
            }
            line.extend(event.get(text.len()..).unwrap_or_default());
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A log that writes wherever `writer` says.
pub fn new<W>(format: LogFormat, level: LogLevel, writer: W) -> (Dispatch, LevelHandle)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = fmt::layer().with_writer(OneLine(writer)).with_ansi(false);
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
    fn an_event_is_one_line_whatever_is_in_it() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (captured, log, _handle) = log(format, LogLevel::Info);
            tracing::dispatcher::with_default(&log, || {
                let user = "evil\n2026-01-01 ERROR forged\x1b[31m";
                let client = tracing::error_span!("client", user);
                client.in_scope(|| tracing::info!(target: "pgweir", error = %user, "refused"));
            });
            let text = captured.take();
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && !text.contains('\x1b'), "{text:?}");
        }
    }

    #[test]
    fn a_panics_words_are_shown_if_they_are_the_sources_own() {
        let value = String::from("hunter2");
        let payloads: [(Box<dyn Any + Send>, Option<&str>); 2] =
            [(Box::new("no such state"), Some("no such state")), (Box::new(value), None)];
        for (payload, want) in payloads {
            assert_eq!(words(&*payload), want);
        }
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
