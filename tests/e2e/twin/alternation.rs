//! Two clients take turns on few server connections, and each hears what it would hear alone: no
//! state of one is ever seen by the other, and none is lost.
//!
//! The oracle is two connections of their own to a twin database that does the same steps in the
//! same order. A step that would make the other client wait for the only connection is not drawn:
//! who is in a transaction, or has made something that binds it to its connection, goes on until
//! it has let go.

use super::grammar::{ASKS, Grammar};
use super::is_full;
use super::play::{Cut, Side, side_by_side};
use super::script::{Case, Turn};
use crate::harness::{Dice, Scratch, Weir, shared};

/// Steps in the short form and in the long one.
const STEPS: (usize, usize) = (700, 34_000);

/// Who holds a connection for this many turns lets it go.
const LONGEST_HOLD: usize = 12;

/// One in so many steps, a client without a transaction leaves and another comes in its place.
const STAY: usize = 60;

/// One in so many, it asks what it has last drawn from a sequence.
const ASK: usize = 40;

/// How many turns a failure shows.
const SHOWN: usize = 30;

const TABLES: &str = "
    CREATE TABLE mine_0 (a int, b text);
    CREATE TABLE mine_1 (a int, b text);
    CREATE SEQUENCE counter;
    CREATE SCHEMA other;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
    GRANT ALL ON counter TO app;
    GRANT ALL ON SCHEMA other TO app";

/// What binds a client to its connection, until a DISCARD ALL of its own.
const BINDING: &[&str] = &["temp", "with hold", "listen", "advisory"];

/// A client of pgweir and its twin that has a server of its own.
struct Pair {
    through: Side,
    direct: Side,
    /// ReadyForQuery's byte.
    status: char,
    is_bound: bool,
    /// It has asked for a value of a sequence: from then on whatever it writes binds it.
    has_asked: bool,
    held: usize,
}

impl Pair {
    fn open(weir: &Weir, [through, direct]: [&str; 2]) -> Self {
        let name = "two clients in turn".to_owned();
        let case = Case { name, startup: Vec::new(), turns: Vec::new() };
        let port = shared().primary().port();
        Self {
            through: Side::open(&case, weir.port(), "postgres", through),
            direct: Side::open(&case, port, "postgres", direct),
            status: 'I',
            is_bound: false,
            has_asked: false,
            held: 0,
        }
    }

    fn holds(&self) -> bool {
        self.status != 'I' || self.is_bound || self.has_asked
    }

    /// The next turn: something, or, after holding a connection for long, what ends that.
    fn draw(&self, dice: &mut Dice, client: usize) -> String {
        if self.status == 'I' && dice.below(ASK) == 0 {
            return ASKS[dice.below(ASKS.len())].to_owned();
        }
        if self.held < LONGEST_HOLD {
            return Grammar { dice, client }.turn();
        }
        let ends = ["Query \"rollback\"", "Query \"commit\"", "Run \"rollback\" | Sync"];
        match self.status {
            'I' => "Query \"discard all\"".to_owned(),
            _ => ends[dice.below(ends.len())].to_owned(),
        }
    }

    /// Says it to both.
    fn step(&mut self, text: &str) -> Result<(), String> {
        let turn = Turn::new(text)?;
        let want = self.direct.answer(&turn)?;
        let got = self.through.answer_like(&turn, Cut::Whole, &want);
        // See ASKS: no value is an answer, another's value is none.
        let is_refused = |words: &String| words.contains("C=55000");
        let may_refuse = ASKS.contains(&text) && got.iter().any(is_refused);
        if want != got && !may_refuse {
            return Err(side_by_side(&want, &got));
        }
        let ready = want.iter().rev().find_map(|words| words.strip_prefix("ReadyForQuery "));
        self.status = ready.and_then(|status| status.chars().next()).unwrap_or(self.status);
        self.has_asked |= text.contains("currval") || text.contains("lastval");
        self.is_bound |= BINDING.iter().any(|word| text.contains(word));
        if text == "Query \"discard all\"" && self.status == 'I' {
            self.is_bound = false;
        }
        self.held = if self.holds() { self.held + 1 } else { 0 };
        Ok(())
    }

    fn leave(self) -> Result<(), String> {
        let want = self.direct.leave();
        let got = self.through.leave();
        if want == got { Ok(()) } else { Err(format!("at the end: {want:?} and {got:?}")) }
    }
}

/// Two clients in turn on `size` connections, for so many steps.
fn alternate(weir: &Weir, databases: [&str; 2], size: usize, seed: u64, steps: usize) {
    let mut dice = Dice::new(seed);
    let mut pairs = vec![Pair::open(weir, databases), Pair::open(weir, databases)];
    let mut said: Vec<String> = Vec::new();
    for step in 0..steps {
        let mut client = dice.below(2);
        // With one connection, who has it goes on.
        if size == 1 && pairs[1 - client].holds() {
            client = 1 - client;
        }
        let stays_long = pairs[client].has_asked && pairs[client].held > LONGEST_HOLD;
        if pairs[client].status == 'I' && (stays_long || dice.below(STAY) == 0) {
            said.push(format!("{client}: (leaves, and another comes)"));
            // First the one, then the other: it may have the only connection.
            let left = pairs.remove(client).leave();
            left.unwrap_or_else(|why| panic!("seed {seed}, step {step}: {why}"));
            pairs.insert(client, Pair::open(weir, databases));
        }
        let text = pairs[client].draw(&mut dice, client);
        said.push(format!("{client}: {text}"));
        if let Err(why) = pairs[client].step(&text) {
            let shown = &said[said.len().saturating_sub(SHOWN)..];
            panic!("{size} connections, seed {seed}, step {step}\n  {}\n{why}", shown.join("\n  "));
        }
    }
}

/// `PGWEIR_TWIN_SEED` takes another course than the usual one.
pub(crate) fn seed() -> u64 {
    std::env::var("PGWEIR_TWIN_SEED").map_or(1, |seed| seed.parse().unwrap())
}

fn play(databases: [&'static str; 2], size: usize) {
    let twins = databases.map(Scratch::new);
    for twin in &twins {
        twin.prepare(TABLES);
    }
    let weir = Weir::start(shared(), &format!("pool.size = {size}"));
    let steps = if is_full() { STEPS.1 } else { STEPS.0 };
    alternate(&weir, databases, size, seed(), steps);
}

#[test]
fn two_clients_on_one_connection_never_meet() {
    play(["turns_one_through", "turns_one_direct"], 1);
}

#[test]
fn two_clients_on_two_connections_never_meet() {
    play(["turns_two_through", "turns_two_direct"], 2);
}

#[test]
fn two_clients_on_three_connections_never_meet() {
    play(["turns_three_through", "turns_three_direct"], 3);
}
