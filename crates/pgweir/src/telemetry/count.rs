//! What is counted on the request path: an atomic addition each, never a look-up by name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::exposition::{Labels, Samples};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts so many more.
    pub fn increment(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets: microseconds, and the same in seconds as Prometheus has it.
const BUCKETS: [(u64, &str); 16] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
    (60_000_000, "60"),
];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one has no bound.
    counts: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// Something took this long.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < micros);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Writes buckets, sum and count.
    pub(crate) fn put(&self, samples: &mut Samples<'_>, labels: Labels<'_>) {
        let mut so_far = 0;
        let bounds = BUCKETS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            so_far += count.load(Ordering::Relaxed);
            samples.put_part("_bucket", labels, &[("le", bound)], so_far);
        }
        let micros = Duration::from_micros(self.micros.load(Ordering::Relaxed));
        samples.put_part("_sum", labels, &[], micros.as_secs_f64());
        samples.put_part("_count", labels, &[], so_far);
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::{Kind, Page};
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_its_bound() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let mut page = Page::default();
        histogram.put(&mut page.metric(Kind::Histogram, "t_seconds", "T."), &[("on", "x")]);
        let text = page.into_text();
        for line in [
            "t_seconds_bucket{on=\"x\",le=\"0.0001\"} 2",
            "t_seconds_bucket{on=\"x\",le=\"0.00025\"} 3",
            "t_seconds_bucket{on=\"x\",le=\"60\"} 4",
            "t_seconds_bucket{on=\"x\",le=\"+Inf\"} 5",
            "t_seconds_sum{on=\"x\"} 120.000202",
            "t_seconds_count{on=\"x\"} 5",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn the_bounds_are_what_their_texts_say() {
        for (micros, text) in BUCKETS {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!(Duration::try_from_secs_f64(seconds).unwrap().as_micros(), micros.into());
        }
        assert!(BUCKETS.is_sorted());
    }
}
