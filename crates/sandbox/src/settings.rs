//! The files that configure a server: postgresql.conf and pg_hba.conf.
//!
//! Both are written whole by the sandbox, whenever a setting changes and before every start, so that
//! a data directory says nothing the sandbox does not know.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Settings by name, with values as `SHOW` would print them.
pub(crate) type Settings = BTreeMap<String, String>;

/// What every server of a sandbox is told (manual, chapter 20), before its own and the test's wishes.
const BASE: [(&str, &str); 19] = [
    ("listen_addresses", super::ports::HOST),
    // Replication with a small footprint, and quick to notice changes.
    ("wal_level", "replica"),
    ("max_wal_senders", "10"),
    ("max_replication_slots", "10"),
    ("wal_keep_size", "256MB"),
    ("max_wal_size", "256MB"),
    ("hot_standby", "on"),
    ("hot_standby_feedback", "off"),
    ("wal_retrieve_retry_interval", "100ms"),
    ("wal_receiver_status_interval", "1s"),
    // Many clusters share one machine.
    ("max_connections", "100"),
    ("shared_buffers", "16MB"),
    // Segments of /dev/shm would outlive a killed server, and containers have little of it.
    ("dynamic_shared_memory_type", "mmap"),
    ("unix_socket_permissions", "0700"),
    // The same everywhere, whatever the machine's locale.
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("lc_messages", "C"),
    // The server's standard error is its log file.
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// The settings every server starts from.
pub(crate) fn base() -> Settings {
    BASE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The text of postgresql.conf.
pub(crate) fn render(settings: &Settings) -> String {
    settings.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = {}", quote(value));
        text
    })
}

/// A value in postgresql.conf's quotes, which know backslash escapes (manual, 20.1.2).
fn quote(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n");
    format!("'{escaped}'")
}

/// Whether `name` is one that a configuration file can hold: identifiers joined by dots.
pub(crate) fn is_setting_name(name: &str) -> bool {
    let is_identifier = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    };
    name.split('.').all(is_identifier)
}

/// The text of pg_hba.conf.
///
/// The sandbox's own lines come first: its superuser enters through the Unix socket, which only the
/// servers' user can reach, whatever a test demands of everyone else over TCP.
pub(crate) fn render_hba(superuser: &str, lines: &[String]) -> String {
    let superuser = format!("\"{}\"", superuser.replace('"', "\"\""));
    let mut text = format!(
        "local all {superuser} trust\n\
         local replication {superuser} trust\n"
    );
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Lines of pg_hba.conf that demand `method` of everyone on loopback, physical replication included.
///
/// `method` is any word of the manual's section 21.1, such as `trust`, `scram-sha-256`, `md5`,
/// `password` or `reject`.
#[must_use]
pub fn hba_for_everyone(method: &str) -> Vec<String> {
    ["all", "replication"]
        .map(|database| format!("host {database} all 127.0.0.1/32 {method}"))
        .to_vec()
}

/// A name or a literal in SQL's double quotes.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in SQL's single quotes, as `standard_conforming_strings = on` reads it.
pub(crate) fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_so_that_the_server_reads_them_back() {
        let rows = [
            ("on", "'on'"),
            ("it's", "'it''s'"),
            (r"C:\temp", r"'C:\\temp'"),
            ("two\nlines", r"'two\nlines'"),
            ("", "''"),
        ];
        for (value, want) in rows {
            assert_eq!(quote(value), want, "{value:?}");
        }
    }

    #[test]
    fn only_names_that_cannot_break_the_file_are_setting_names() {
        let rows = [
            ("work_mem", true),
            ("my_ext.some_name", true),
            ("", false),
            ("a.", false),
            ("1st", false),
            ("work_mem = 1\nport", false),
            ("a b", false),
        ];
        for (name, want) in rows {
            assert_eq!(is_setting_name(name), want, "{name:?}");
        }
    }

    #[test]
    fn the_superuser_comes_first_in_pg_hba() {
        let text = render_hba("post\"gres", &hba_for_everyone("scram-sha-256"));
        assert_eq!(
            text,
            "local all \"post\"\"gres\" trust\n\
             local replication \"post\"\"gres\" trust\n\
             host all all 127.0.0.1/32 scram-sha-256\n\
             host replication all 127.0.0.1/32 scram-sha-256\n"
        );
    }
}
