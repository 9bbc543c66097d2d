//! A moment that many note and anyone reads, without a lock: the last of all that were noted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The latest moment that was noted, if any was.
#[derive(Debug)]
pub(crate) struct Moment {
    origin: Instant,
    /// Nanoseconds from the origin, counted from one; zero for never. They last for 584 years.
    nanos: AtomicU64,
}

impl Moment {
    /// None yet. What comes before `origin` counts as that.
    pub(crate) const fn new(origin: Instant) -> Self {
        Self { origin, nanos: AtomicU64::new(0) }
    }

    /// Notes one; whoever hears of it later finds this one or a later one.
    pub(crate) fn note(&self, at: Instant) {
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX - 1);
        self.nanos.fetch_max(nanos + 1, Ordering::AcqRel);
    }

    /// The latest.
    pub(crate) fn get(&self) -> Option<Instant> {
        let nanos = self.nanos.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.origin + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_kept_to_the_nanosecond() {
        let origin = Instant::now();
        let moment = Moment::new(origin);
        assert_eq!(moment.get(), None);
        for (noted, expected) in [(0, 0), (7, 7), (3, 7), (1_000_000_001, 1_000_000_001)] {
            moment.note(origin + Duration::from_nanos(noted));
            assert_eq!(moment.get(), Some(origin + Duration::from_nanos(expected)));
        }
    }
}
