//! A page of metrics in Prometheus' text format, version 0.0.4.
//!
//! A page is made for every scrape and shows what is there at that moment: what has gone (a pool, a node)
//! is not on it. All samples of a metric stand together under its one TYPE line, as scrapers demand.

use std::fmt::{Display, Write as _};

/// What scrapers are told that a page is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, up to the process's end.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size, their sum and their number.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The labels of one sample.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page being written.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

/// The samples of one metric.
#[derive(Debug)]
pub(crate) struct Samples<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    /// Begins a metric. All its samples come before the next metric's.
    pub(crate) fn metric(&mut self, kind: Kind, name: &'static str, help: &str) -> Samples<'_> {
        debug_assert!(!self.0.contains(&format!("# TYPE {name} ")), "{name} is there twice");
        debug_assert!(kind != Kind::Counter || name.ends_with("_total"), "{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        Samples { page: &mut self.0, name }
    }

    /// A gauge of one sample.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.metric(Kind::Gauge, name, help).put(&[], value);
    }

    /// A counter of one sample.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.metric(Kind::Counter, name, help).put(&[], value);
    }

    /// The whole page.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    /// Writes a sample.
    pub(crate) fn put(&mut self, labels: Labels<'_>, value: impl Display) {
        self.put_part("", labels, &[], value);
    }

    /// Writes a sample of a part of a metric: a histogram's bucket, its sum, its count.
    pub(crate) fn put_part(
        &mut self,
        part: &str,
        labels: Labels<'_>,
        more: Labels<'_>,
        value: impl Display,
    ) {
        let _ = write!(self.page, "{}{part}", self.name);
        let mut mark = '{';
        for (name, text) in labels.iter().chain(more) {
            let _ = write!(self.page, "{mark}{name}=\"{}\"", escaped(text));
            mark = ',';
        }
        let end = if mark == '{' { "" } else { "}" };
        let _ = writeln!(self.page, "{end} {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_as_scrapers_read_it() {
        let mut page = Page::default();
        page.gauge("pgweir_clients", "Clients.", 3);
        let mut samples = page.metric(Kind::Counter, "pgweir_queries_total", "Statements.");
        samples.put(&[("node", "a:1"), ("class", "read")], 7_u64);
        samples.put(&[("node", "a\"\\\nb"), ("class", "write")], 0_u64);
        page.gauge("pgweir_node_staleness_seconds", "Seconds.", 0.0125);
        let want = "\
# HELP pgweir_clients Clients.
# TYPE pgweir_clients gauge
pgweir_clients 3
# HELP pgweir_queries_total Statements.
# TYPE pgweir_queries_total counter
pgweir_queries_total{node=\"a:1\",class=\"read\"} 7
pgweir_queries_total{node=\"a\\\"\\\\\\nb\",class=\"write\"} 0
# HELP pgweir_node_staleness_seconds Seconds.
# TYPE pgweir_node_staleness_seconds gauge
pgweir_node_staleness_seconds 0.0125
";
        assert_eq!(page.into_text(), want);
    }
}
