//! Moments as text: `2026-11-20 13:02:21 UTC`, as PgBouncer writes them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;

/// What a moment of the monotonic clock is on the calendar, by one reading of both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    wall: SystemTime,
}

impl Clock {
    /// Both clocks as they stand.
    pub(super) fn read() -> Self {
        Self { now: Instant::now(), wall: SystemTime::now() }
    }

    /// The time since then.
    pub(super) fn since(&self, then: Instant) -> Duration {
        self.now.saturating_duration_since(then)
    }

    /// A moment, to the second.
    pub(super) fn second(&self, then: Instant) -> String {
        let (day, second, _) = self.split(then);
        format!("{} {} UTC", date(day), time(second))
    }

    /// A moment of the calendar, to the second.
    pub(super) fn wall_second(&self, then: SystemTime) -> String {
        let age = self.wall.duration_since(then).unwrap_or_default();
        self.second(self.now.checked_sub(age).unwrap_or(self.now))
    }

    /// A moment, to the millisecond.
    pub(super) fn millisecond(&self, then: Instant) -> String {
        let (day, second, millis) = self.split(then);
        format!("{} {}.{millis:03} UTC", date(day), time(second))
    }

    /// The day since 1970, the second of the day, the millisecond of the second.
    fn split(&self, then: Instant) -> (u64, u64, u32) {
        let age = self.since(then);
        let at = self.wall.checked_sub(age).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let at = at.unwrap_or_default();
        (at.as_secs() / SECONDS_PER_DAY, at.as_secs() % SECONDS_PER_DAY, at.subsec_millis())
    }
}

/// `hh:mm:ss`
fn time(second: u64) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day since 1970-01-01, in the proleptic Gregorian calendar (Hinnant, "chrono-
/// Compatible Low-Level Date Algorithms"): years are taken to begin in March, so that the leap day
/// is a year's last.
fn date(day: u64) -> String {
    const DAYS_PER_ERA: u64 = 146_097;
    const FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    let day = day + FROM_MARCH_OF_YEAR_0;
    let (era, of_era) = (day / DAYS_PER_ERA, day % DAYS_PER_ERA);
    let leap_days = of_era / 1_460 - of_era / 36_524 + of_era / 146_096;
    let year = (of_era - leap_days) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    format!("{:04}-{month:02}-{of_month:02}", year + era * 400 + u64::from(is_next_year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_their_dates() {
        let rows = [
            (0, "1970-01-01"),
            (30, "1970-01-31"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (364, "1970-12-31"),
            (365, "1971-01-01"),
            (789, "1972-02-29"),
            (790, "1972-03-01"),
            (11_016, "2000-02-29"),
            (20_777, "2026-11-20"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ];
        for (day, want) in rows {
            assert_eq!(date(day), want, "day {day}");
        }
    }

    #[test]
    fn moments_lie_before_now_by_their_age() {
        let wall = UNIX_EPOCH + Duration::from_millis(1_795_179_741_250);
        let now = Instant::now() + Duration::from_secs(3600);
        let clock = Clock { now, wall };
        assert_eq!(clock.second(now), "2026-11-20 13:02:21 UTC");
        let then = now - Duration::from_millis(61_251);
        assert_eq!(clock.millisecond(then), "2026-11-20 13:01:19.999 UTC");
        assert_eq!(clock.since(then), Duration::from_millis(61_251));
    }
}
