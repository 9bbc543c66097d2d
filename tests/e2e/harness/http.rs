//! The HTTP side of pgweir: a GET, and the metrics as numbers.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::SOON;

/// Status and body of one GET; none while nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(SOON)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: pgweir\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// What /metrics said: values by name with labels, as printed.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(lines.map(|line| value(line).unwrap_or_else(|| panic!("metric {line:?}"))).collect())
    }

    /// The sum over all series of this name that have all these labels, each `name="value"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.series(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether there is any series of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.series(name, &[]).next().is_some()
    }

    /// How many series of this name have all these labels and a value above zero.
    pub(crate) fn count(&self, name: &str, labels: &[&str]) -> usize {
        self.series(name, labels).filter(|(_, value)| *value > 0.0).count()
    }

    fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let (own, rest) = series.split_once('{').unwrap_or((series, ""));
            let all = labels.iter().all(|label| rest.contains(label));
            (own == name && all).then_some((series.as_str(), *value))
        })
    }
}
