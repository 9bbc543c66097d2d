//! Plays a case to one side and writes down what it answers.

use std::thread;
use std::time::Duration;

use super::notation::Ear;
use super::script::{Case, Turn, Until};
use crate::harness::{Client, Message, Wire};

/// How long a side may be silent where it owes an answer: a case that hits this is wrong, either
/// the case or pgweir.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two pieces, so that they are seldom read as one. Nothing waits for it or depends on it: read
/// as one they have the same answer.
const PIECE_PAUSE: Duration = Duration::from_micros(200);

/// At most so many pieces a turn: a long message is cut into longer ones.
const MOST_PIECES: usize = 200;

/// What a connection says when it ends, in the place of a message.
const CLOSED: &str = "(the connection is closed)";

/// What was waited for in vain.
const SILENCE: &str = "(silence)";

/// The answers to the turns, one list of messages each, and what came after the last.
pub(crate) type Answers = Vec<Vec<String>>;

/// How a case's bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A turn at once.
    Whole,
    /// Byte by byte.
    Bytes,
    /// In two pieces, the first of so many bytes (of a shorter turn, the remainder).
    At(usize),
}

/// Plays a case to PostgreSQL itself, whose own words end the answer to each turn.
///
/// # Errors
/// When an answer that the case waits for does not come: the case is wrong then.
pub(crate) fn to_postgres(
    case: &Case,
    port: u16,
    user: &str,
    database: &str,
) -> Result<Answers, String> {
    let mut side = Side::open(case, port, user, database);
    for turn in &case.turns {
        let answer = side.answer(turn).map_err(|why| format!("{}\n  {why}", case.name))?;
        side.answers.push(answer);
    }
    Ok(side.leave())
}

/// Plays a case to pgweir, which has to say as much as PostgreSQL said; `between` happens after
/// every turn.
pub(crate) fn to_pgweir(
    case: &Case,
    (port, user, database): (u16, &str, &str),
    want: &Answers,
    cut: Cut,
    mut between: impl FnMut(),
) -> Answers {
    let mut side = Side::open(case, port, user, database);
    for (turn, want) in case.turns.iter().zip(want.iter().skip(1)) {
        let answer = side.answer_like(turn, cut, want);
        let is_same = answer == *want;
        side.answers.push(answer);
        if !is_same {
            break;
        }
        between();
    }
    side.leave()
}

/// Whether pgweir is done, if with fewer messages: all its ReadyForQuery are there.
fn is_over(answer: &[String], want: &[String]) -> bool {
    let is_ready = |message: &&String| message.starts_with("ReadyForQuery");
    let count = |messages: &[String]| messages.iter().filter(is_ready).count();
    let hangs_up = want.last().is_some_and(|last| last == CLOSED);
    !hangs_up && answer.last().as_ref().is_some_and(is_ready) && count(answer) >= count(want)
}

/// What PostgreSQL still has to say.
#[derive(Debug, Default)]
struct Owed {
    /// ReadyForQuery.
    ready: usize,
    /// The server waits for a COPY's data, of which the turn has no end.
    copying: bool,
}

impl Owed {
    fn turn(&mut self, turn: &Turn) {
        self.copying = self.copying && turn.until == Until::Usual;
        if turn.until == Until::Nothing {
            return;
        }
        let count = |names: &[&str]| {
            turn.said.iter().filter(|(name, _)| names.contains(&name.as_str())).count()
        };
        self.ready += count(&["Query", "Sync", "FunctionCall"]);
        self.copying = self.copying && count(&["CopyDone", "CopyFail"]) == 0;
    }

    fn wants(&self, turn: &Turn, answer: &[String]) -> bool {
        match &turn.until {
            Until::Usual => self.ready > 0 && !self.copying,
            Until::Message(name) => {
                answer.last().is_none_or(|last| last.split(' ').next() != Some(name))
            }
            Until::Closed => true,
            Until::Nothing => false,
        }
    }

    fn heard(&mut self, turn: &Turn, message: Option<&String>) {
        let Some(message) = message else { return };
        if message.starts_with("ReadyForQuery") {
            self.ready = self.ready.saturating_sub(1);
        }
        let ends = |(name, _): &(String, _)| name == "CopyDone" || name == "CopyFail";
        if message.starts_with("CopyInResponse") && !turn.said.iter().any(ends) {
            self.copying = true;
            // While it copies the server ignores every Sync (manual, 55.2.6 COPY Operations).
            let by_query = turn.said.iter().any(|(name, _)| name == "Query");
            self.ready = usize::from(by_query);
        }
    }
}

/// One side of the comparison.
#[derive(Debug)]
pub(crate) struct Side {
    wire: Wire,
    ear: Ear,
    owed: Owed,
    closed: bool,
    answers: Answers,
}

impl Side {
    pub(crate) fn open(case: &Case, port: u16, user: &str, database: &str) -> Self {
        let startup: Vec<(&str, &str)> =
            case.startup.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let client = Client::connect(port, user, database, &startup)
            .unwrap_or_else(|failure| panic!("{}: not let in: {failure}", case.name));
        // What the login said is the first answer.
        let told = client.parameters.iter().filter(|(name, _)| *name != "in_hot_standby");
        let told = told.map(|(name, value)| format!("{name} = {value}")).collect();
        let answers = vec![told];
        Self {
            wire: client.wire,
            ear: Ear::default(),
            owed: Owed::default(),
            closed: false,
            answers,
        }
    }

    /// PostgreSQL's answer to a turn.
    ///
    /// # Errors
    /// When what would end it does not come.
    pub(crate) fn answer(&mut self, turn: &Turn) -> Result<Vec<String>, String> {
        self.send(turn, Cut::Whole);
        self.owed.turn(turn);
        let mut answer = Vec::new();
        while !self.closed && self.owed.wants(turn, &answer) {
            if self.hear(&mut answer).is_none() {
                return Err(format!("PostgreSQL falls silent at {}\n{answer:#?}", turn.text));
            }
            self.owed.heard(turn, answer.last());
        }
        match &turn.until {
            Until::Message(name) if name == "CopyInResponse" => self.owed.copying = true,
            Until::Message(_) => self.owed = Owed::default(),
            _ => {}
        }
        Ok(answer)
    }

    /// pgweir's answer to a turn, of as many messages as PostgreSQL's.
    pub(crate) fn answer_like(&mut self, turn: &Turn, cut: Cut, want: &[String]) -> Vec<String> {
        self.send(turn, cut);
        let mut answer = Vec::new();
        while answer.len() < want.len() && !self.closed && !is_over(&answer, want) {
            if self.hear(&mut answer).is_none() {
                answer.push(SILENCE.to_owned());
                self.closed = true;
            }
        }
        answer
    }

    fn send(&mut self, turn: &Turn, cut: Cut) {
        let bytes = turn.bytes();
        let pieces: Vec<&[u8]> = match cut {
            _ if bytes.len() < 2 => vec![&bytes],
            Cut::Whole => vec![&bytes],
            Cut::Bytes => bytes.chunks(bytes.len().div_ceil(MOST_PIECES)).collect(),
            Cut::At(at) => <[_; 2]>::from(bytes.split_at(at % bytes.len())).into(),
        };
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            // Who is hung up on learns it when reading.
            let _ = self.wire.send_bytes(piece);
            if at < last && matches!(cut, Cut::At(_)) {
                thread::sleep(PIECE_PAUSE);
            }
        }
    }

    /// Waits for something to be said, which is added if it is anybody's business; none on silence.
    fn hear(&mut self, answer: &mut Vec<String>) -> Option<()> {
        match self.wire.frame_within(PATIENCE) {
            Ok(Some(frame)) => answer.extend(self.ear.hear(&frame)),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return None,
            Ok(None) | Err(_) => {
                self.closed = true;
                answer.push(CLOSED.to_owned());
            }
        }
        Some(())
    }

    /// Takes leave, and hears the rest.
    pub(crate) fn leave(mut self) -> Answers {
        let mut rest = Vec::new();
        if !self.closed {
            let _ = self.wire.send_bytes(&Message::new().terminate().0);
        }
        while !self.closed && self.hear(&mut rest).is_some() {}
        self.answers.push(rest);
        self.answers
    }
}

/// The first turn with different answers: both, side by side.
pub(crate) fn difference(case: &Case, want: &Answers, got: &Answers) -> Option<String> {
    let longest = want.len().max(got.len());
    let none = Vec::new();
    let (at, want, got) = (0..longest)
        .map(|at| (at, want.get(at).unwrap_or(&none), got.get(at).unwrap_or(&none)))
        .find(|(_, want, got)| want != got)?;
    let said = match at.checked_sub(1).map(|turn| case.turns.get(turn)) {
        None => "(the login)",
        Some(None) => "(Terminate)",
        Some(Some(turn)) => &turn.text,
    };
    Some(format!("  at {said}\n{}", side_by_side(want, got)))
}

/// The answers up to the first error, of which only the SQLSTATE counts: what is left to compare
/// where pgweir answers in words of its own.
pub(crate) fn up_to_the_error(answers: &Answers) -> Answers {
    let mut kept = Answers::new();
    for answer in answers {
        let is_end = |words: &String| words.starts_with("ErrorResponse") || words == CLOSED;
        let end = answer.iter().position(is_end);
        kept.push(answer[..end.unwrap_or(answer.len())].to_vec());
        if let Some(error) = end.map(|end| &answer[end]) {
            // Where frames cannot be told apart any more PostgreSQL hangs up without a word.
            let code = error.split(' ').find(|field| field.starts_with("C="));
            kept.last_mut().unwrap().push(format!("an error {}", code.unwrap_or("C=08P01")));
            break;
        }
    }
    kept
}

/// Width of what is expected beside what is got.
const WIDTH: usize = 76;

pub(crate) fn side_by_side(want: &[String], got: &[String]) -> String {
    let mut lines = vec![format!("    {:WIDTH$}   pgweir", "PostgreSQL")];
    for at in 0..want.len().max(got.len()) {
        let (want, got) = (want.get(at), got.get(at));
        let mark = if want == got { ' ' } else { '!' };
        let [want, got] = [want, got].map(|words| chunks(words.map_or("", String::as_str)));
        for line in 0..want.len().max(got.len()) {
            let piece = |words: &[String]| words.get(line).cloned().unwrap_or_default();
            lines.push(format!("  {mark} {:WIDTH$} | {}", piece(&want), piece(&got)));
        }
    }
    lines.join("\n")
}

/// A text in lines that fit.
fn chunks(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().take(8 * WIDTH).collect();
    let lines: Vec<String> = chars.chunks(WIDTH).map(|line| line.iter().collect()).collect();
    if lines.is_empty() { vec![String::new()] } else { lines }
}
