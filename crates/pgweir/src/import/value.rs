//! PgBouncer's values in the words of pgweir's configuration.

use std::time::Duration;

use crate::config::{Size, duration_text};

/// The longest that a client may wait for a server connection.
const LONGEST_WAIT: &str = "\"1d\"";

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// TOML that means the same.
    Same(String),
    /// TOML that means nearly the same, and what differs.
    Near(String, &'static str),
    /// Nothing can be written, and why.
    Not(String),
}

/// A string as TOML; `$` is written so that it stands for itself.
pub(crate) fn string(text: &str) -> String {
    // What would be replaced is escaped; elsewhere a dollar stands for itself.
    let is_replaced = text.contains("$$") || text.contains("${");
    let text = if is_replaced { text.replace('$', "$$") } else { text.to_owned() };
    toml::Value::from(text).to_string()
}

fn wrong(value: &str, expected: &str) -> Written {
    Written::Not(format!("{value:?} is not {expected}"))
}

/// A path or any other text.
pub(crate) fn path(value: &str) -> Written {
    Written::Same(string(value))
}

/// A number.
pub(crate) fn count(value: &str) -> Written {
    match value.parse::<u32>() {
        Ok(number) => Written::Same(number.to_string()),
        Err(_) => wrong(value, "a whole number"),
    }
}

/// Yes or no, in any of PgBouncer's words.
pub(crate) fn is_on(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" | "yes" => Some(true),
        "0" | "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// Yes or no.
pub(crate) fn flag(value: &str) -> Written {
    match is_on(value) {
        Some(is_on) => Written::Same(is_on.to_string()),
        None => wrong(value, "0 or 1"),
    }
}

/// Seconds, perhaps with a fraction.
fn duration(value: &str) -> Option<Duration> {
    let seconds: f64 = value.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn quoted_duration(duration: Duration) -> String {
    // Finer than a microsecond nothing is written.
    format!("\"{}\"", duration_text(duration))
}

/// Seconds; 0 means none on both sides, where it means anything.
pub(crate) fn seconds(value: &str) -> Written {
    match duration(value) {
        Some(duration) => Written::Same(quoted_duration(duration)),
        None => wrong(value, "a number of seconds"),
    }
}

/// How long a connection lives: 0 there means that it is used once.
pub(crate) fn lifetime(value: &str) -> Written {
    match duration(value) {
        Some(Duration::ZERO) => {
            let why = "0 uses each server connection once; here it lives for a second at least";
            Written::Near("\"1s\"".to_owned(), why)
        }
        _ => seconds(value),
    }
}

/// How long a client waits for a server connection: 0 there means for ever.
pub(crate) fn wait(value: &str) -> Written {
    match duration(value) {
        Some(Duration::ZERO) => {
            let why = "0 lets clients wait for ever; here a day is the most";
            Written::Near(LONGEST_WAIT.to_owned(), why)
        }
        _ => seconds(value),
    }
}

/// Prepared statements: 0 there means that they are not looked after.
pub(crate) fn prepared(value: &str) -> Written {
    match value.parse::<u32>() {
        Ok(0) => Written::Not("prepared statements follow their clients always".to_owned()),
        _ => count(value),
    }
}

/// Bytes.
pub(crate) fn bytes(value: &str) -> Written {
    match value.parse::<u64>() {
        Ok(bytes) => Written::Same(format!("\"{}\"", Size(bytes))),
        Err(_) => wrong(value, "a number of bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_file_wants_them() {
        let same = |text: &str| Written::Same(text.to_owned());
        let rows: [(fn(&str) -> Written, &str, Written); 10] = [
            (count, "20", same("20")),
            (flag, "1", same("true")),
            (flag, "off", same("false")),
            (seconds, "3600", same("\"1h\"")),
            (seconds, "0.25", same("\"250ms\"")),
            (seconds, "0", same("\"0s\"")),
            (bytes, "2147483647", same("\"2147483647B\"")),
            (bytes, "1048576", same("\"1MiB\"")),
            (path, "/a$b", same("\"/a$b\"")),
            (path, "/a$$b${c", same("\"/a$$$$b$${c\"")),
        ];
        for (write, value, want) in rows {
            assert_eq!(write(value), want, "{value}");
        }
        assert!(matches!(wait("0"), Written::Near(toml, _) if toml == "\"1d\""));
        assert!(matches!(lifetime("0"), Written::Near(toml, _) if toml == "\"1s\""));
        for (write, value) in
            [(count as fn(&str) -> Written, "-1"), (flag, "2"), (seconds, "soon"), (seconds, "-1")]
        {
            assert!(matches!(write(value), Written::Not(_)), "{value}");
        }
    }
}
