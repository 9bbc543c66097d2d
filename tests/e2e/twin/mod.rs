//! Twins: the same bytes to PostgreSQL itself and to pgweir, and every message of the answers alike.
//!
//! The cases are files of scripts ([`script`], [`notation`]) under `cases/`. Each is played to the
//! primary, and then in several ways to a pgweir that splits reads over replicas and has so few
//! server connections that they change hands: as it is, byte by byte, cut in two at different
//! bytes, and with another client in between. `PGWEIR_E2E_FULL=1` cuts at every byte.
//!
//! Beside the cases there are random sessions ([`random`]), and two clients that share one server
//! connection and never notice ([`alternation`]).
//!
//! What is masked is said at [`notation::Ear`]; what is known to deviate, in [`known`].

mod alternation;
mod grammar;
mod known;
mod notation;
mod play;
mod random;
mod script;
mod stage;

use std::env;

use known::{BY_CHANCE, KNOWN};
use play::Cut;
use script::Case;
use stage::{Stage, Way};

/// Enough for what a client and one who comes between hold at once.
const CONFIG: &str = "pool.size = 2";

/// Cases with longer turns than this are not cut at every byte.
const LONGEST_CUT_EVERYWHERE: usize = 700;

fn is_full() -> bool {
    env::var_os("PGWEIR_E2E_FULL").is_some()
}

/// The ways to play a case.
fn ways(case: &Case) -> Vec<Way> {
    let longest = case.turns.iter().map(|turn| turn.bytes().len()).max().unwrap_or(0);
    let mut ways = vec![Way::alone(Cut::Whole), Way::disturbed(Cut::Bytes)];
    if is_full() && longest <= LONGEST_CUT_EVERYWHERE {
        ways.push(Way::disturbed(Cut::Whole));
        ways.extend((1..longest).map(|at| Way::alone(Cut::At(at))));
    } else {
        // Anywhere, but for one case always at the same place.
        ways.push(Way::disturbed(Cut::At(1 + case.name.len() * 7 % longest.max(1))));
    }
    ways
}

/// Transactions read from replicas until they write.
const SPLIT: &str = "pool.size = 2\nrouting.transactions = \"split\"";

/// Plays all cases of a file; fails with every difference.
fn play(database: &'static str, config: &str, file: &str) {
    let mut stage = Stage::new(database, config);
    let mut wrong = Vec::new();
    let only = env::var("PGWEIR_TWIN").unwrap_or_default();
    for case in script::cases(file).iter().filter(|case| case.name.contains(&only)) {
        let listed = |list: &'static [(&str, &str)]| list.iter().find(|row| row.0 == case.name);
        match (stage.play(case, &ways(case)), listed(KNOWN)) {
            _ if listed(BY_CHANCE).is_some() => {}
            (Some(difference), None) => wrong.push(difference),
            (None, Some((name, why))) => {
                wrong.push(format!(
                    "{name}: is known to deviate ({why}), and does not: take it off"
                ));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases differ\n\n{}", wrong.len(), wrong.join("\n\n"));
}

macro_rules! files {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let file = include_str!(concat!("cases/", stringify!($name), ".twin"));
                play(concat!("twin_", stringify!($name)), CONFIG, file);
            }
        )*

        /// The same where transactions read from replicas until they write.
        mod split {
            use super::{SPLIT, play};

            $(
                #[test]
                fn $name() {
                    let file = include_str!(concat!("cases/", stringify!($name), ".twin"));
                    play(concat!("twin_split_", stringify!($name)), SPLIT, file);
                }
            )*
        }
    };
}

files! {
    transactions
    pipelines
    statements
    copy
    settings
    hidden
    sessions
    edges
}
