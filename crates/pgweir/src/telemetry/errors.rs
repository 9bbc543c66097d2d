//! Errors that clients are told, by SQLSTATE.
//!
//! A function may raise any five characters, so codes that nobody has named are counted by their class,
//! and classes that PostgreSQL does not have together: the number of series is bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::verdict::Culprit;

use super::exposition::{Kind, Page};

/// The classes of PostgreSQL's manual, appendix A.
const CLASSES: [&str; 43] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22", "23",
    "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42",
    "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// What codes of no class of PostgreSQL's are counted as.
const OTHER: &str = "other";

/// Errors of pgweir's own that are shown before they have happened: alerts look for their growth, and a
/// series that begins with its first error has not grown.
const AWAITED: [SqlState; 5] = [
    SqlState::CONNECTION_FAILURE,
    SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
];

/// How many clients were told of which error.
#[derive(Debug)]
pub struct Errors {
    /// By culprit: the server's, pgweir's own.
    counts: [Box<[AtomicU64]>; 2],
}

impl Default for Errors {
    fn default() -> Self {
        let places = SqlState::NAMED.len() + CLASSES.len() + 1;
        let zeros = || (0..places).map(|_| AtomicU64::new(0)).collect();
        Self { counts: [zeros(), zeros()] }
    }
}

impl Errors {
    /// A client is told of an error.
    pub fn count(&self, code: SqlState, culprit: Culprit) {
        let counts = match culprit {
            Culprit::Server => self.counts.first(),
            Culprit::Pgweir => self.counts.last(),
        };
        if let Some(count) = counts.and_then(|counts| counts.get(place(code))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes those that have happened, or are awaited.
    pub(crate) fn put(&self, page: &mut Page) {
        let help =
            "Errors that clients were told, by SQLSTATE or its class, and by whose they are.";
        let mut samples = page.metric(Kind::Counter, "pgweir_errors_total", help);
        let awaited = AWAITED.map(place);
        for (source, counts) in ["server", "pgweir"].into_iter().zip(&self.counts) {
            for (place, count) in counts.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 || (source == "pgweir" && awaited.contains(&place)) {
                    samples.put(&[("sqlstate", &name(place)), ("source", source)], count);
                }
            }
        }
    }
}

fn place(code: SqlState) -> usize {
    if let Ok(named) = SqlState::NAMED.binary_search_by_key(&code, |(code, _)| *code) {
        return named;
    }
    let class = code.class();
    let class = CLASSES.binary_search_by_key(&class.as_slice(), |known| known.as_bytes());
    SqlState::NAMED.len() + class.unwrap_or(CLASSES.len())
}

fn name(place: usize) -> String {
    match SqlState::NAMED.get(place) {
        Some((code, _)) => code.to_string(),
        None => {
            let class = CLASSES.get(place - SqlState::NAMED.len());
            class.map_or_else(|| OTHER.to_owned(), |class| format!("{class}xxx"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_by_name_by_class_or_together() {
        let rows = [
            (*b"53300", "53300"),
            (*b"23505", "23xxx"),
            (*b"ZZ999", "other"),
            (*b"XX000", "XX000"),
            (*b"P0001", "P0xxx"),
            ([0xff; 5], "other"),
        ];
        for (code, want) in rows {
            assert_eq!(name(place(SqlState(code))), want);
        }
        assert!(CLASSES.is_sorted());
    }

    #[test]
    fn what_has_happened_is_shown_and_what_alerts_look_for() {
        let errors = Errors::default();
        errors.count(SqlState::TOO_MANY_CONNECTIONS, Culprit::Pgweir);
        errors.count(SqlState::TOO_MANY_CONNECTIONS, Culprit::Pgweir);
        errors.count(SqlState::QUERY_CANCELED, Culprit::Server);
        let mut page = Page::default();
        errors.put(&mut page);
        let text = page.into_text();
        let is_shown = |line: &&str| !line.starts_with('#') && !line.ends_with(" 0");
        let lines: Vec<&str> = text.lines().filter(is_shown).collect();
        let want = [
            "pgweir_errors_total{sqlstate=\"57014\",source=\"server\"} 1",
            "pgweir_errors_total{sqlstate=\"53300\",source=\"pgweir\"} 2",
        ];
        assert_eq!(lines, want);
        assert!(
            text.contains("pgweir_errors_total{sqlstate=\"57P03\",source=\"pgweir\"} 0"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2 + 1 + AWAITED.len());
    }
}
