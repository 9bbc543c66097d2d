//! How one node is: what its probes have found, how its clients' connections fare, and what follows
//! from that. Pure: facts and the time come in.
//!
//! A node goes down at once when it says no, or after several silences; it comes back after several
//! probes that it passes, and then gets its share of the load back little by little, for its caches are
//! cold. A node that answers probes while connections to it are lost again and again is ejected for a
//! time that grows. One that is down is asked again at growing intervals.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::topology::{FULL_SHARE, Health, Standing};
use crate::tracker::Failure;

/// Probes in a row without an answer until a node that was up counts as down. One slow answer is
/// load, not death.
pub(crate) const SILENCES_UNTIL_DOWN: u32 = 3;
/// Time that a node has to be silent until what is under way there is given up: where the system says at
/// once that there is no way to it, three probes take no time at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Probes in a row that a node which was down must pass until it serves again.
pub(crate) const PASSES_UNTIL_UP: u32 = 2;
/// Time in which a node that has come back gets its whole share of the load back.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// Times that connections to a node are lost while it passes its probes, until it is ejected.
pub(crate) const BLIPS_UNTIL_EJECTED: usize = 3;
/// Time in which they have to happen.
pub(crate) const BLIP_WINDOW: Duration = Duration::from_secs(5);
/// How long a node is ejected for the first time; twice as long each time after.
pub(crate) const MIN_EJECTION: Duration = Duration::from_secs(1);
/// How long a node is ejected, at most.
pub(crate) const MAX_EJECTION: Duration = Duration::from_secs(30);
/// Time without an ejection until the earlier ones are forgotten.
const CALM: Duration = Duration::from_secs(60);
/// Pause before a node that is down is asked again; twice as long each time after.
const MIN_REPROBE_PAUSE: Duration = Duration::from_millis(50);
/// Pause before a node that is down is asked again, at most.
pub(crate) const MAX_REPROBE_PAUSE: Duration = Duration::from_secs(1);

/// How one node is.
#[derive(Debug)]
pub(crate) struct Condition {
    state: State,
    /// Probes in a row that nothing was heard of.
    silences: u32,
    /// When the first of them failed.
    silent_since: Option<Instant>,
    /// Failures in a row since it is down.
    failures: u32,
    /// Not to be asked before this, while it is down.
    next_probe: Option<Instant>,
    /// When connections to it were lost although it passed its probes.
    blips: VecDeque<Instant>,
    ejections: u32,
    ejected_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    Unknown,
    Up,
    /// It is back, and gets its load back.
    Recovering {
        since: Instant,
    },
    /// It was silent so many times in a row.
    Suspect {
        silences: u32,
        /// It was recovering, since then.
        recovering: Option<Instant>,
    },
    /// It passes its probes, and connections to it are lost.
    Ejected {
        until: Instant,
    },
    /// It does not answer, or has passed only so many probes since.
    Down {
        passes: u32,
    },
}

impl Condition {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Unknown,
            silences: 0,
            silent_since: None,
            failures: 0,
            next_probe: None,
            blips: VecDeque::new(),
            ejections: 0,
            ejected_at: None,
        }
    }

    pub(crate) const fn health(&self) -> Health {
        match self.state {
            State::Unknown => Health::Unknown,
            State::Up => Health::Up,
            State::Recovering { .. } => Health::Recovering,
            State::Suspect { .. } => Health::Suspect,
            State::Ejected { .. } => Health::Ejected,
            State::Down { .. } => Health::Down,
        }
    }

    /// Whether it may be a primary. A suspect may: load makes servers slow to answer. So may one that
    /// would be ejected as a replica: there is no other primary.
    pub(crate) const fn answers(&self) -> bool {
        !matches!(self.state, State::Unknown | State::Down { .. })
    }

    /// Whether it is between two states: the sooner it is asked again the better.
    pub(crate) const fn is_uncertain(&self) -> bool {
        match self.state {
            State::Suspect { .. } => true,
            State::Down { passes } => passes > 0,
            _ => false,
        }
    }

    /// What its silence means to those who are at work there.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let Some(since) = self.silent_since else { return Standing::Good };
        let is_long = now.saturating_duration_since(since) >= PATIENCE;
        if is_long && self.silences >= SILENCES_UNTIL_DOWN {
            Standing::Lost
        } else {
            Standing::Silent
        }
    }

    /// Its part of its share of the load, in parts of [`FULL_SHARE`].
    pub(crate) fn share(&self, now: Instant) -> u32 {
        match self.state {
            State::Recovering { since } => share_since(since, now),
            _ => FULL_SHARE,
        }
    }

    /// Whether it is to be asked in a round that begins now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next_probe.is_none_or(|next| next <= now)
    }

    /// It has passed a probe. `is_troubled` if connections to it were lost just before; `is_latecomer`
    /// if the others served without it so far.
    pub(crate) fn pass(&mut self, now: Instant, is_troubled: bool, is_latecomer: bool) {
        self.silences = 0;
        self.silent_since = None;
        self.failures = 0;
        self.next_probe = None;
        if is_troubled && matches!(self.state, State::Up | State::Recovering { .. }) {
            self.note_blip(now);
        }
        let recovering = State::Recovering { since: now };
        self.state = match self.state {
            State::Unknown => {
                if is_latecomer {
                    recovering
                } else {
                    State::Up
                }
            }
            State::Suspect { recovering: Some(since), .. } => State::Recovering { since },
            State::Suspect { recovering: None, .. } => State::Up,
            State::Down { passes } if passes + 1 < PASSES_UNTIL_UP => {
                State::Down { passes: passes + 1 }
            }
            State::Down { .. } => recovering,
            State::Ejected { until } if until <= now => recovering,
            State::Recovering { since } if share_since(since, now) == FULL_SHARE => State::Up,
            state => state,
        };
    }

    /// A probe has failed.
    pub(crate) fn fail(&mut self, now: Instant, failure: &Failure) {
        let is_silent = matches!(failure, Failure::Silent(_));
        self.silences = if is_silent { self.silences.saturating_add(1) } else { 0 };
        self.silent_since = is_silent.then(|| self.silent_since.unwrap_or(now));
        let down = State::Down { passes: 0 };
        self.state = match (self.state, failure) {
            // It lives, and has no room for the question.
            (State::Unknown | State::Down { .. }, Failure::Crowded(_)) => down,
            (state, Failure::Crowded(_)) => state,
            (State::Unknown | State::Down { .. }, _) | (_, Failure::Gone(_)) => down,
            (State::Suspect { silences, .. }, _) if silences + 1 >= SILENCES_UNTIL_DOWN => down,
            (State::Suspect { silences, recovering }, _) => {
                State::Suspect { silences: silences + 1, recovering }
            }
            (State::Recovering { since }, _) => {
                State::Suspect { silences: 1, recovering: Some(since) }
            }
            (State::Up | State::Ejected { .. }, _) => {
                State::Suspect { silences: 1, recovering: None }
            }
        };
        if self.state == down {
            let pause = doubled(MIN_REPROBE_PAUSE, self.failures).min(MAX_REPROBE_PAUSE);
            self.next_probe = Some(now + pause);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// It cannot serve yet although it answers: it gets its load back when it can.
    pub(crate) const fn keep_waiting(&mut self, now: Instant) {
        if let State::Recovering { since } = &mut self.state {
            *since = now;
        }
    }

    fn note_blip(&mut self, now: Instant) {
        if self.blips.len() == BLIPS_UNTIL_EJECTED {
            self.blips.pop_front();
        }
        self.blips.push_back(now);
    }

    /// Whether connections to it are lost so often that it should serve nobody for a while.
    pub(crate) fn is_outlier(&self, now: Instant) -> bool {
        let first = self.blips.front().filter(|_| self.blips.len() == BLIPS_UNTIL_EJECTED);
        matches!(self.state, State::Up | State::Recovering { .. })
            && first.is_some_and(|first| now.saturating_duration_since(*first) <= BLIP_WINDOW)
    }

    /// Ejects it; gives for how long.
    pub(crate) fn eject(&mut self, now: Instant) -> Duration {
        let is_calm =
            |at: Instant| now.saturating_duration_since(at) > MAX_EJECTION.saturating_add(CALM);
        if self.ejected_at.is_none_or(is_calm) {
            self.ejections = 0;
        }
        let length = doubled(MIN_EJECTION, self.ejections).min(MAX_EJECTION);
        self.ejections = self.ejections.saturating_add(1);
        self.ejected_at = Some(now);
        self.blips.clear();
        self.state = State::Ejected { until: now + length };
        length
    }
}

/// The part of the load that a node has, so long after it came back.
fn share_since(since: Instant, now: Instant) -> u32 {
    share_over(since, SLOW_START, now)
}

/// The part of the load that nodes have which get it back over such a time.
pub(crate) fn share_over(since: Instant, over: Duration, now: Instant) -> u32 {
    let elapsed = now.saturating_duration_since(since).as_millis();
    let steps = (u128::from(FULL_SHARE) * elapsed).checked_div(over.as_millis());
    let steps = steps.and_then(|steps| u32::try_from(steps).ok()).unwrap_or(FULL_SHARE);
    steps.clamp(1, FULL_SHARE)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Failure {
        Failure::Silent("no answer within 1s".to_owned())
    }

    fn gone() -> Failure {
        Failure::Gone("connection refused".to_owned())
    }

    struct Scene {
        condition: Condition,
        now: Instant,
    }

    impl Scene {
        /// A node that is up.
        fn new() -> Self {
            let mut scene = Self { condition: Condition::new(), now: Instant::now() };
            scene.pass();
            scene
        }

        fn wait(&mut self, milliseconds: u64) {
            self.now += Duration::from_millis(milliseconds);
        }

        fn pass(&mut self) -> Health {
            self.condition.pass(self.now, false, false);
            self.condition.health()
        }

        fn blip(&mut self) {
            self.condition.pass(self.now, true, false);
            if self.condition.is_outlier(self.now) {
                self.condition.eject(self.now);
            }
        }

        fn fail(&mut self, failure: &Failure) -> Health {
            self.condition.fail(self.now, failure);
            self.condition.health()
        }
    }

    #[test]
    fn a_node_that_comes_back_gets_its_load_back_little_by_little() {
        let mut scene = Scene::new();
        assert_eq!(scene.condition.share(scene.now), FULL_SHARE);
        assert_eq!(scene.fail(&gone()), Health::Down);
        assert_eq!(scene.pass(), Health::Down);
        assert_eq!(scene.pass(), Health::Recovering);
        let mut shares = Vec::new();
        while scene.pass() == Health::Recovering {
            shares.push(scene.condition.share(scene.now));
            scene.wait(1000);
        }
        assert_eq!(shares, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(scene.condition.health(), Health::Up);
    }

    #[test]
    fn a_slow_answer_does_not_shorten_the_recovery() {
        let mut scene = Scene::new();
        scene.fail(&gone());
        scene.pass();
        scene.pass();
        scene.wait(5000);
        assert_eq!(scene.fail(&silent()), Health::Suspect);
        assert_eq!(scene.pass(), Health::Recovering);
        assert_eq!(scene.condition.share(scene.now), 5);
        // Nor does the time in which it answers and cannot serve.
        scene.condition.keep_waiting(scene.now);
        assert_eq!(scene.condition.share(scene.now), 1);
    }

    #[test]
    fn who_has_no_room_for_a_question_is_not_sick() {
        let mut scene = Scene::new();
        let crowded = Failure::Crowded("too many clients already".to_owned());
        assert_eq!(scene.fail(&crowded), Health::Up);
        scene.fail(&silent());
        assert_eq!(scene.condition.standing(scene.now), Standing::Silent);
        assert_eq!(scene.fail(&crowded), Health::Suspect);
        assert_eq!(scene.condition.standing(scene.now), Standing::Good);
        let mut new = Condition::new();
        new.fail(scene.now, &crowded);
        assert_eq!(new.health(), Health::Down, "nothing is known of it");
    }

    #[test]
    fn silence_is_told_from_refusal_to_those_who_are_at_work_there() {
        let mut scene = Scene::new();
        scene.fail(&gone());
        assert_eq!(scene.condition.standing(scene.now), Standing::Good);
        for expected in [Standing::Silent, Standing::Silent, Standing::Lost, Standing::Lost] {
            scene.fail(&silent());
            assert_eq!(scene.condition.standing(scene.now), expected);
            scene.wait(500);
        }
        scene.fail(&gone());
        assert_eq!(scene.condition.standing(scene.now), Standing::Good);
        // Three silences that take no time are a network that blinks.
        for _ in 0..3 {
            scene.fail(&silent());
        }
        assert_eq!(scene.condition.standing(scene.now), Standing::Silent);
        scene.wait(1000);
        assert_eq!(scene.condition.standing(scene.now), Standing::Lost);
    }

    #[test]
    fn a_node_that_is_down_is_asked_again_at_growing_intervals() {
        let mut scene = Scene::new();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            scene.fail(&gone());
            let begin = scene.now;
            while !scene.condition.is_due(scene.now) {
                scene.wait(10);
            }
            pauses.push((scene.now - begin).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        scene.pass();
        scene.fail(&gone());
        scene.wait(50);
        assert!(scene.condition.is_due(scene.now));
    }

    #[test]
    fn a_node_whose_connections_are_lost_again_and_again_is_ejected_for_longer_and_longer() {
        let mut scene = Scene::new();
        for _ in 0..10 {
            scene.blip();
            scene.wait(3000);
        }
        assert_eq!(scene.condition.health(), Health::Up, "seldom enough");
        let mut lengths = Vec::new();
        for _ in 0..7 {
            while scene.condition.health() != Health::Ejected {
                scene.blip();
                scene.wait(100);
            }
            let begin = scene.now;
            while scene.pass() == Health::Ejected {
                scene.wait(100);
            }
            assert_eq!(scene.condition.health(), Health::Recovering);
            lengths.push((scene.now - begin).as_secs_f64().round());
        }
        assert_eq!(lengths, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        scene.wait(100_000);
        scene.pass();
        (0..BLIPS_UNTIL_EJECTED).for_each(|_| scene.blip());
        scene.wait(1000);
        assert_eq!(scene.pass(), Health::Recovering, "forgotten");
    }
}
