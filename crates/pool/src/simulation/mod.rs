//! The pool in virtual time, through random histories: what decides is driven without sockets or
//! servers, and what has to hold is checked at every step.
//!
//! [`watching`] is the control plane: servers that lag, hang, die, are promoted, cut off and rejoined,
//! and what the tracker, the pace and the selection make of their answers. [`lending`] is the data
//! plane: clients that come, wait, give up, hold, return and drop connections while roles change and
//! servers refuse.
//!
//! `PROPTEST_CASES` says how many histories; `PGWEIR_SEED` plays one again.

mod lending;
mod watching;

use std::time::Duration;

/// Histories in the short form.
const CASES: u64 = 60;

/// A reproducible source of disorder (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True once in so many times.
    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Milliseconds up to a limit.
    fn ms(&mut self, limit: usize) -> Duration {
        Duration::from_micros(u64::try_from(self.below(limit * 1000 + 1)).unwrap())
    }
}

/// Plays histories; one that fails is named by its seed.
fn histories(what: &str, play: impl Fn(Dice) -> u64 + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seeds: Vec<u64> = match number("PGWEIR_SEED") {
        Some(seed) => vec![seed],
        None => {
            let first = getrandom::u64().unwrap() >> 16;
            (first..)
                .take(usize::try_from(number("PROPTEST_CASES").unwrap_or(CASES)).unwrap())
                .collect()
        }
    };
    let mut steps = 0;
    for &seed in &seeds {
        let played = std::panic::catch_unwind(|| play(Dice(seed)));
        steps += played.unwrap_or_else(|_| panic!("{what}: play it again with PGWEIR_SEED={seed}"));
    }
    println!("{what}: {} histories from seed {}, {steps} checks", seeds.len(), seeds[0]);
}
