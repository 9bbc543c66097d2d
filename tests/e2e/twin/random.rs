//! Random sessions, to PostgreSQL and to pgweir. One that differs is made as short as it can be and
//! printed as a case, with its seed.

use super::alternation::seed;
use super::grammar::Grammar;
use super::play::Cut;
use super::script::{Case, Turn};
use super::stage::{Stage, Way};
use super::{CONFIG, SPLIT, is_full};
use crate::harness::Dice;

/// Sessions in the short form and in the long one.
const SESSIONS: (u64, u64) = (40, 4_000);

/// Turns of a session, at most.
const TURNS: usize = 14;

/// Takes as many turns off as go without the difference, one by one.
fn shortest(stage: &mut Stage, mut case: Case, way: Way, mut difference: String) -> (Case, String) {
    let mut at = case.turns.len();
    while at > 0 {
        at -= 1;
        let mut shorter = case.clone();
        shorter.turns.remove(at);
        if let Some(found) = stage.play(&shorter, &[way]) {
            (case, difference) = (shorter, found);
        }
    }
    (case, difference)
}

#[test]
fn sessions_drawn_at_random() {
    draw("twin_random", CONFIG);
}

#[test]
fn sessions_drawn_at_random_whose_transactions_are_split() {
    draw("twin_random_split", SPLIT);
}

fn draw(database: &'static str, config: &str) {
    let mut stage = Stage::new(database, config);
    let count = if is_full() { SESSIONS.1 } else { SESSIONS.0 };
    for seed in seed()..seed() + count {
        let mut dice = Dice::new(seed);
        let count = 2 + dice.below(TURNS - 1);
        let mut grammar = Grammar { dice: &mut dice, client: 0 };
        let turns = (0..count).map(|_| Turn::new(&grammar.turn()).unwrap()).collect();
        let case = Case { name: format!("seed {seed}"), startup: Vec::new(), turns };
        let ways = [
            Way::disturbed(Cut::Whole),
            Way::alone(Cut::Bytes),
            Way::disturbed(Cut::At(dice.below(90))),
        ];
        for way in ways {
            if let Some(difference) = stage.play(&case, &[way]) {
                let (case, difference) = shortest(&mut stage, case, way, difference);
                panic!("{}\n\n{difference}", case.text());
            }
        }
    }
}
