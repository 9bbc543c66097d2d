//! How fresh a replica is, in one number, from one clock.
//!
//! The monitor notes the time `t0`, *then* asks the primary for its position in the write-ahead log:
//! a [`Mark`]. Whatever was acknowledged before `t0` lies before that position; so a replica whose
//! replay has passed it shows every such commit: it is `fresh_as_of` `t0`. No clock of another
//! machine takes part, and an idle primary does not look like lag, because its position stands still
//! and replicas pass each new mark at once.
//!
//! Two things would break the second half of that sentence, and are dealt with here:
//!
//! - The insert position of a primary that has just filled a page lies behind the next page's header,
//!   which replay does not reach before the next record: see [`WalLayout::end_of_last_record`].
//! - Standbys get only what the primary has *flushed*, and not everything it inserts is flushed soon.
//!   What an open transaction has written stays in memory while it does not fill a page, up to the
//!   15 s after which the background writer logs something (`LOG_SNAPSHOT_INTERVAL_MS`). But every
//!   commit acknowledged before `t0` has been flushed by `t0` plus the time the WAL writer takes for
//!   an asynchronous one, three times `wal_writer_delay` (manual: 30.4 "Asynchronous Commit").
//!   Therefore a mark that is older than that is lowered to the flush position seen since: it loses
//!   nothing that anybody was promised.
//!
//! The same in positions instead of times: a replica that has passed a mark shows whatever was visible
//! to anybody when the primary stood where the mark was made, also where the mark has been lowered
//! since. That position is what the replica [covers](Freshness::covers), and what tokens are held against.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::lsn::{Lsn, WalLayout};

/// Marks kept, at most. Older ones are thinned out, which makes an answer older, never wrong.
pub(crate) const MAX_MARKS: usize = 512;
/// `wal_writer_delay`s until an asynchronous commit is flushed, at most (manual: 30.4).
const DELAYS_UNTIL_FLUSHED: u32 = 3;
/// What is granted on top for a WAL writer that is late.
const SETTLE_MARGIN: Duration = Duration::from_millis(200);
/// PostgreSQL's default `wal_writer_delay`.
pub(crate) const DEFAULT_WAL_WRITER_DELAY: Duration = Duration::from_millis(200);

/// "Whatever was acknowledged before `at` lies before `end`, and so does whatever had been acknowledged
/// when the primary stood at `insert`."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    at: Instant,
    /// When the primary's answer had come: it stood at `insert` before this.
    answered_at: Instant,
    end: Lsn,
    insert: Lsn,
}

/// What a primary answered about its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrimaryPosition {
    /// Read before the question was sent.
    pub(crate) asked_at: Instant,
    /// Read when the answer had come.
    pub(crate) answered_at: Instant,
    /// `pg_current_wal_insert_lsn()`.
    pub(crate) insert: Lsn,
    /// `pg_current_wal_flush_lsn()`.
    pub(crate) flush: Lsn,
}

/// The marks of one primary on one timeline.
#[derive(Debug, Clone)]
pub(crate) struct Freshness {
    /// In order of `at`, and of `end`.
    marks: VecDeque<Mark>,
    layout: WalLayout,
    settle: Duration,
}

impl Freshness {
    /// No marks yet, of a primary with these settings.
    #[must_use]
    pub(crate) fn new(layout: WalLayout, wal_writer_delay: Duration) -> Self {
        Self { marks: VecDeque::new(), layout, settle: settle(wal_writer_delay) }
    }

    /// Takes the primary's settings as they are now.
    pub(crate) fn set_layout(&mut self, layout: WalLayout, wal_writer_delay: Duration) {
        self.layout = layout;
        self.settle = settle(wal_writer_delay);
    }

    /// Takes an answer of the primary. Answers come in the order in which they were asked for; one
    /// that comes late is of no use and is dropped.
    pub(crate) fn mark(&mut self, position: PrimaryPosition) {
        let PrimaryPosition { asked_at: at, answered_at, insert, flush } = position;
        if self.marks.back().is_some_and(|last| last.at >= at) {
            return;
        }
        let end = self.layout.end_of_last_record(insert);
        for mark in &mut self.marks {
            // Back before a mark: the primary crashed and lost what was not flushed. What survived
            // ends before its new position.
            mark.end = mark.end.min(end);
            mark.insert = mark.insert.min(insert);
            if at.saturating_duration_since(mark.answered_at) >= self.settle {
                mark.end = mark.end.min(flush);
            }
        }
        self.marks.push_back(Mark { at, answered_at, end, insert });
        self.merge(flush);
        if self.marks.len() > MAX_MARKS {
            self.thin();
        }
    }

    /// The time as of which a replica with this replay position is fresh; `None` when it has passed
    /// no mark that is still known.
    #[must_use]
    pub(crate) fn fresh_as_of(&self, replay: Lsn) -> Option<Instant> {
        self.passed(replay).map(|mark| mark.at)
    }

    /// The position that a replica with this replay position is as good as at: whatever anybody was
    /// shown or promised by a primary that stood there is visible on it.
    #[must_use]
    pub(crate) fn covers(&self, replay: Lsn) -> Lsn {
        self.passed(replay).map_or(replay, |mark| mark.insert.max(replay))
    }

    /// The newest mark that this replay position has passed.
    fn passed(&self, replay: Lsn) -> Option<&Mark> {
        let passed = self.marks.partition_point(|mark| mark.end <= replay);
        self.marks.get(passed.checked_sub(1)?)
    }

    /// The time of the newest mark: when the primary was last asked with success.
    #[must_use]
    pub(crate) fn newest(&self) -> Option<Instant> {
        self.marks.back().map(|mark| mark.at)
    }

    /// Drops marks that a later one stands in for: passed as soon, and worth more. A mark that may
    /// yet be lowered is not such a mark, for it is lowered before its successors are.
    fn merge(&mut self, flush: Lsn) {
        let mut previous: Option<Mark> = None;
        let mut merged = VecDeque::with_capacity(self.marks.len());
        for &mark in &self.marks {
            if let Some(earlier) = previous
                && (earlier.end < mark.end || earlier.end > flush)
            {
                merged.push_back(earlier);
            }
            previous = Some(mark);
        }
        merged.extend(previous);
        self.marks = merged;
    }

    /// Drops every second mark of the older half: the resolution fades with age, and the history
    /// that a bounded number of marks covers grows without bound.
    fn thin(&mut self) {
        let half = self.marks.len() / 2;
        let mut index = 0;
        self.marks.retain(|_| {
            index += 1;
            index > half || index % 2 == 1
        });
    }
}

fn settle(wal_writer_delay: Duration) -> Duration {
    wal_writer_delay.saturating_mul(DELAYS_UNTIL_FLUSHED).saturating_add(SETTLE_MARGIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: u64 = 8192;
    /// Where a tested primary begins: at the end of a page, one before that of a segment.
    const FIRST: u64 = 16 * 1024 * 1024 - PAGE;

    fn fresh() -> Freshness {
        Freshness::new(WalLayout::default(), DEFAULT_WAL_WRITER_DELAY)
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn position(asked_at: Instant, insert: u64, flush: u64) -> PrimaryPosition {
        let (insert, flush) = (Lsn(insert), Lsn(flush));
        PrimaryPosition { asked_at, answered_at: asked_at, insert, flush }
    }

    #[test]
    fn a_replica_is_as_fresh_as_the_newest_mark_it_passed() {
        let start = Instant::now();
        let mut marks = fresh();
        for (at, end) in [(0, 1000), (100, 2000), (200, 3000)] {
            marks.mark(position(start + ms(at), end, end));
        }
        for (replay, expected) in
            [(999, None), (1000, Some(0)), (2999, Some(100)), (9999, Some(200))]
        {
            let expected = expected.map(|at| start + ms(at));
            assert_eq!(marks.fresh_as_of(Lsn(replay)), expected, "replay {replay}");
        }
    }

    #[test]
    fn an_idle_primary_does_not_look_like_lag() {
        let start = Instant::now();
        let mut marks = fresh();
        for at in 0..10_000 {
            marks.mark(position(start + ms(at * 100), 5000, 5000));
        }
        assert_eq!(marks.fresh_as_of(Lsn(5000)), Some(start + ms(999_900)));
        assert_eq!(marks.marks.len(), 1);
    }

    #[test]
    fn an_idle_primary_at_a_page_boundary_does_not_look_like_lag() {
        let start = Instant::now();
        let mut marks = fresh();
        marks.mark(position(start, 7 * PAGE + 24, 7 * PAGE));
        assert_eq!(marks.fresh_as_of(Lsn(7 * PAGE)), Some(start));
        marks.mark(position(start + ms(1), 0x100_0028, 0x100_0000));
        assert_eq!(marks.fresh_as_of(Lsn(0x100_0000)), Some(start + ms(1)));
    }

    #[test]
    fn wal_that_is_never_flushed_holds_a_replica_back_for_the_settling_time_only() {
        let start = Instant::now();
        let mut marks = fresh();
        for at in 0..40 {
            marks.mark(position(start + ms(at * 100), 5100, 5000));
        }
        // Asked at 3.9 s; what was acknowledged by 3.1 s is flushed for certain.
        assert_eq!(marks.fresh_as_of(Lsn(5000)), Some(start + ms(3100)));
    }

    #[test]
    fn what_a_replica_covers_is_where_the_primary_stood_also_once_the_mark_is_lowered() {
        let start = Instant::now();
        let mut marks = fresh();
        marks.mark(position(start, 7 * PAGE + 24, 7 * PAGE));
        for (what, replay, covered) in [
            ("short of it", 7 * PAGE - 8, 7 * PAGE - 8),
            ("a page header in front of it", 7 * PAGE, 7 * PAGE + 24),
            ("beyond it", 9 * PAGE, 9 * PAGE),
        ] {
            assert_eq!(marks.covers(Lsn(replay)), Lsn(covered), "{what}");
        }
        let mut marks = fresh();
        for at in 0..40 {
            marks.mark(position(start + ms(at * 100), 5100, 5000));
        }
        assert_eq!(marks.covers(Lsn(5000)), Lsn(5100));
        assert_eq!(marks.covers(Lsn(4999)), Lsn(4999));
    }

    #[test]
    fn a_mark_whose_answer_was_slow_settles_from_the_answer_on() {
        let start = Instant::now();
        let mut marks = fresh();
        let slow = position(start, 5100, 5000);
        marks.mark(PrimaryPosition { answered_at: start + ms(500), ..slow });
        marks.mark(position(start + ms(1299), 5100, 5000));
        assert_eq!(marks.fresh_as_of(Lsn(5000)), None);
        marks.mark(position(start + ms(1300), 5100, 5000));
        assert_eq!(marks.fresh_as_of(Lsn(5000)), Some(start));
    }

    #[test]
    fn a_mark_is_not_lowered_before_an_asynchronous_commit_is_flushed_for_certain() {
        let start = Instant::now();
        let mut marks = fresh();
        marks.mark(position(start, 5100, 5000));
        marks.mark(position(start + ms(799), 5100, 5000));
        assert_eq!(marks.fresh_as_of(Lsn(5000)), None);
        marks.mark(position(start + ms(800), 5100, 5000));
        assert_eq!(marks.fresh_as_of(Lsn(5000)), Some(start));
    }

    #[test]
    fn a_primary_that_crashed_and_lost_unflushed_wal_does_not_strand_its_marks() {
        let start = Instant::now();
        let mut marks = fresh();
        marks.mark(position(start, 9000, 5000));
        marks.mark(position(start + ms(100), 6000, 6000));
        assert_eq!(marks.fresh_as_of(Lsn(6000)), Some(start + ms(100)));
    }

    #[test]
    fn an_answer_that_comes_late_is_dropped() {
        let start = Instant::now();
        let mut marks = fresh();
        marks.mark(position(start + ms(100), 2000, 2000));
        marks.mark(position(start, 1000, 1000));
        assert_eq!(marks.fresh_as_of(Lsn(1500)), None);
    }

    #[test]
    fn a_replica_far_behind_still_finds_a_mark_near_its_place() {
        let start = Instant::now();
        let mut marks = fresh();
        // Ten minutes of probes every 10 ms, each with new WAL.
        for at in 0..60_000_u64 {
            marks.mark(position(start + ms(at * 10), 100_000 + at * 100, 100_000 + at * 100));
        }
        assert!(marks.marks.len() <= MAX_MARKS);
        let ten_seconds_behind = 100_000 + 59_000 * 100;
        let found = marks.fresh_as_of(Lsn(ten_seconds_behind)).unwrap();
        let truth = start + ms(590_000);
        assert!(found <= truth);
        assert!(truth - found < Duration::from_secs(2), "{:?}", truth - found);
    }

    /// The end of a record that would end here, were it not for the page headers.
    fn record_end(end: u64) -> u64 {
        match end % PAGE {
            within @ 1..=40 => end - within + 48,
            _ => end,
        }
    }

    /// What a primary reports as its insert position behind a record that ends here.
    fn insert_behind(end: u64) -> u64 {
        let layout = WalLayout::default();
        match (end % layout.segment, end % PAGE) {
            (0, _) => end + 40,
            (_, 0) => end + 24,
            _ => end,
        }
    }

    /// One step in a primary's life: time passes, WAL is inserted, some of it flushed; a commit may
    /// be acknowledged, and commits acknowledged long enough ago are flushed.
    #[derive(Debug, Clone)]
    struct Step {
        pause: u64,
        inserted: u64,
        flush_all: bool,
        commit: Option<bool>,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (0..500_u64, 0..20_000_u64, any::<bool>(), any::<Option<bool>>()).prop_map(
            |(pause, inserted, flush_all, commit)| Step {
                pause,
                inserted: if inserted % 5 == 0 { PAGE } else { inserted & !7 },
                flush_all,
                commit,
            },
        );
        proptest::collection::vec(step, 1..700)
    }

    proptest! {
        /// The promise itself: whatever replay position a replica has, every commit acknowledged
        /// before the time that is named for it lies at or before that position; and so does every
        /// commit that a token speaks for which it covers.
        #[test]
        fn every_commit_acknowledged_before_the_named_time_is_visible(
            steps in steps(),
            replays in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        ) {
            let start = Instant::now();
            let (mut now, mut insert, mut flush) = (start, FIRST, FIRST);
            let mut commits: Vec<(Instant, u64)> = Vec::new();
            // Positions that the primary has shown, each with the commits that it had acknowledged.
            let mut tokens: Vec<(u64, usize)> = Vec::new();
            let mut marks = fresh();
            for step in &steps {
                now += ms(step.pause) + Duration::from_nanos(1);
                insert = record_end(insert + step.inserted);
                if step.flush_all {
                    flush = insert;
                }
                if let Some(is_synchronous) = step.commit {
                    insert = record_end(insert + 8);
                    flush = if is_synchronous { insert } else { flush };
                    commits.push((now, insert));
                }
                // The WAL writer's promise about asynchronous commits.
                for (acknowledged, end) in &commits {
                    if now - *acknowledged >= DEFAULT_WAL_WRITER_DELAY * DELAYS_UNTIL_FLUSHED {
                        flush = flush.max(*end);
                    }
                }
                let asked_at = now + Duration::from_nanos(1);
                marks.mark(position(asked_at, insert_behind(insert), flush));
                tokens.push((insert_behind(insert), commits.len()));
                for index in &replays {
                    let replay = FIRST + index.index(usize::try_from(flush - FIRST + 1).unwrap()) as u64;
                    let covered = marks.covers(Lsn(replay));
                    // Both grow: the last token that it covers speaks for the others.
                    let within = tokens.partition_point(|(token, _)| Lsn(*token) <= covered);
                    let promised = within.checked_sub(1).map_or(0, |last| tokens[last].1);
                    let last = promised.checked_sub(1).map_or(0, |last| commits[last].1);
                    prop_assert!(last <= replay);
                    if let Some(fresh_as_of) = marks.fresh_as_of(Lsn(replay)) {
                        for (acknowledged, end) in &commits {
                            prop_assert!(*acknowledged >= fresh_as_of || *end <= replay);
                        }
                    }
                }
            }
            prop_assert!(marks.marks.len() <= MAX_MARKS);
        }

        /// Marks stay in order, so that the search is right; and more replay is never less fresh.
        #[test]
        fn further_replay_is_never_less_fresh(steps in steps(), a: u32, b: u32) {
            let mut now = Instant::now();
            let mut marks = fresh();
            let mut insert = 10_000_u64;
            for step in &steps {
                now += ms(step.pause);
                insert += step.inserted;
                let flush = if step.flush_all { insert } else { insert - step.inserted };
                marks.mark(position(now, insert, flush));
            }
            let ordered = marks.marks.iter().zip(marks.marks.iter().skip(1))
                .all(|(one, next)| one.at < next.at && one.end <= next.end);
            prop_assert!(ordered);
            let (low, high) = (u64::from(a.min(b)), u64::from(a.max(b)));
            prop_assert!(marks.fresh_as_of(Lsn(low)) <= marks.fresh_as_of(Lsn(high)));
        }
    }
}
