//! When the monitor asks next. Pure: told what happens and when, it names a time.
//!
//! Rounds of questions come at a regular interval. An acknowledged write makes the next one come at
//! once, so that replicas win the client back as soon as they have caught up; while some have not,
//! further rounds follow with growing gaps. All of these draw from a small stock of extra rounds that
//! refills slowly: a flood of writes makes the monitor busier, within a bound.

use std::time::{Duration, Instant};

/// Time between the beginnings of two rounds, at least.
pub(crate) const MIN_PROBE_GAP: Duration = Duration::from_millis(2);
/// Extra rounds that may follow each other at [`MIN_PROBE_GAP`].
pub(crate) const EXTRA_ROUNDS: u32 = 6;
/// Time in which one extra round is granted again: how often rounds come under a flood of writes.
pub(crate) const EXTRA_ROUND_EVERY: Duration = Duration::from_millis(4);

/// The schedule of one cluster's rounds.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    /// When the last round began.
    last_round: Instant,
    /// How soon after it the next extra round is due; `None` while no extra one is wanted.
    gap: Option<Duration>,
    /// Extra rounds in stock, and since when that has been so.
    stock: u32,
    stocked_at: Instant,
}

impl Pace {
    /// The first round is due at once.
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        let interval = interval.max(MIN_PROBE_GAP);
        let last_round = now.checked_sub(interval).unwrap_or(now);
        Self { interval, last_round, gap: None, stock: EXTRA_ROUNDS, stocked_at: now }
    }

    /// Rounds come at another interval from now on.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval.max(MIN_PROBE_GAP);
    }

    /// Something has happened that the next round should tell more about, soon.
    pub(crate) const fn hurry(&mut self) {
        self.gap = Some(MIN_PROBE_GAP);
    }

    /// What the extra rounds were for has been found out.
    pub(crate) const fn relax(&mut self) {
        self.gap = None;
    }

    /// Whether extra rounds are wanted.
    pub(crate) const fn is_hurried(&self) -> bool {
        self.gap.is_some()
    }

    /// When the next round is due.
    pub(crate) fn next(&self) -> Instant {
        let regular = self.last_round + self.interval;
        let Some(gap) = self.gap else { return regular };
        let wanted = self.last_round + gap;
        let granted =
            if self.stock > 0 { wanted } else { wanted.max(self.stocked_at + EXTRA_ROUND_EVERY) };
        granted.min(regular)
    }

    /// A round begins.
    pub(crate) fn begin_round(&mut self, now: Instant) {
        self.restock(now);
        if now < self.last_round + self.interval {
            if self.stock == EXTRA_ROUNDS {
                self.stocked_at = now;
            }
            self.stock = self.stock.saturating_sub(1);
        }
        self.last_round = now;
        self.gap = self.gap.map(|gap| gap * 2).filter(|gap| *gap < self.interval);
    }

    fn restock(&mut self, now: Instant) {
        while self.stock < EXTRA_ROUNDS && now >= self.stocked_at + EXTRA_ROUND_EVERY {
            self.stock += 1;
            self.stocked_at += EXTRA_ROUND_EVERY;
        }
    }
}

/// Time between the beginnings of two rounds of inquiries, at least.
pub(crate) const MIN_INQUIRY_GAP: Duration = Duration::from_micros(500);
/// The same while they find out nothing new.
pub(crate) const MAX_INQUIRY_GAP: Duration = Duration::from_millis(20);

/// The schedule of the questions between two rounds that a client waits for: at once, and as long as that
/// does not help, with growing gaps.
#[derive(Debug)]
pub(crate) struct Inquiries {
    last: Option<Instant>,
    gap: Duration,
    is_wanted: bool,
}

impl Inquiries {
    pub(crate) const fn new() -> Self {
        Self { last: None, gap: MIN_INQUIRY_GAP, is_wanted: false }
    }

    /// Somebody waits for an answer.
    pub(crate) const fn want(&mut self) {
        self.is_wanted = true;
    }

    /// An answer has told somebody what he waited for.
    pub(crate) const fn has_helped(&mut self) {
        self.gap = MIN_INQUIRY_GAP;
    }

    /// When the next round is due, if one is wanted.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.is_wanted.then(|| self.last.map_or(now, |last| last + self.gap))
    }

    /// A round begins.
    pub(crate) fn begin_round(&mut self, now: Instant) {
        (self.last, self.is_wanted) = (Some(now), false);
        self.gap = (self.gap * 2).min(MAX_INQUIRY_GAP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Lets rounds happen as they are due for a while; gives their times since `from`.
    fn rounds(pace: &mut Pace, from: Instant, length: Duration, hurry: bool) -> Vec<Duration> {
        let mut times = Vec::new();
        loop {
            if hurry {
                pace.hurry();
            }
            let due = pace.next().max(from);
            if due > from + length {
                return times;
            }
            pace.begin_round(due);
            times.push(due - from);
        }
    }

    #[test]
    fn the_first_round_is_due_at_once_and_the_others_regularly() {
        let now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        let times = rounds(&mut pace, now, ms(350), false);
        assert_eq!(times, [ms(0), ms(100), ms(200), ms(300)]);
    }

    #[test]
    fn a_nudge_brings_a_round_at_once_and_then_with_growing_gaps() {
        let now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        pace.begin_round(now);
        pace.hurry();
        let from = now + ms(50);
        let times = rounds(&mut pace, from, ms(240), false);
        assert_eq!(times, [ms(0), ms(4), ms(12), ms(28), ms(60), ms(124), ms(224)]);
    }

    #[test]
    fn once_everybody_has_caught_up_the_interval_is_back() {
        let now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        pace.begin_round(now);
        pace.hurry();
        pace.begin_round(now + ms(2));
        pace.relax();
        assert_eq!(pace.next(), now + ms(102));
    }

    #[test]
    fn a_flood_of_nudges_is_bounded() {
        let now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        pace.begin_round(now);
        let times = rounds(&mut pace, now, ms(1000), true);
        assert!(times.len() <= 250 + EXTRA_ROUNDS as usize, "{}", times.len());
        assert!(times.len() >= 240, "{}", times.len());
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= MIN_PROBE_GAP));
        assert_eq!(times[0], MIN_PROBE_GAP);
    }

    #[test]
    fn the_stock_refills_in_quiet_times() {
        let now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        pace.begin_round(now);
        rounds(&mut pace, now, ms(200), true);
        pace.relax();
        let quiet = now + ms(1000);
        pace.begin_round(quiet);
        let times = rounds(&mut pace, quiet, ms(12), true);
        assert_eq!(times.len(), EXTRA_ROUNDS as usize);
    }

    #[test]
    fn inquiries_come_at_once_and_then_with_growing_gaps_until_they_help() {
        let now = Instant::now();
        let mut inquiries = Inquiries::new();
        assert_eq!(inquiries.next(now), None);
        let mut at = now;
        let mut gaps = Vec::new();
        for _ in 0..8 {
            inquiries.want();
            let due = inquiries.next(at).unwrap();
            gaps.push(due - at);
            at = due;
            inquiries.begin_round(at);
            assert_eq!(inquiries.next(at), None, "nobody wants another");
        }
        assert_eq!(gaps, [ms(0), ms(1), ms(2), ms(4), ms(8), ms(16), ms(20), ms(20)]);
        inquiries.has_helped();
        inquiries.want();
        assert_eq!(inquiries.next(at), Some(at + MIN_INQUIRY_GAP));
    }
}
