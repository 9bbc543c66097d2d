//! Every `.wire` file is played as it says, however its bytes are cut.
//!
//! With `PGWEIR_WIRE=write` in the environment the files are written anew with what the machine
//! does; whoever does that reads what has changed.

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use pgweir_protocol::session::{MAX_FORESIGHT, MAX_INSPECTED_SQL};

use crate::rig::Rig;
use crate::script::{Cause, Outcome, Script};

/// Cause bytes up to which every split is tried; of longer ones, both ends and the machine's own
/// bounds.
const SPLIT_EVERYWHERE: usize = 400;

/// Bytes at each end of a longer cause at which it is split.
const SPLIT_ENDS: usize = 12;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wire"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Script {
    let text = std::fs::read_to_string(path).unwrap();
    Script::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", name(path)))
}

/// How a conversation's bytes arrive.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Each cause in one piece.
    Nowhere,
    /// Byte by byte, if the causes are not too long.
    Everywhere,
    /// One cause in two pieces.
    Once { turn: usize, at: usize },
}

fn play(script: &Script, cut: Cut) -> Vec<Outcome> {
    let mut rig = Rig::new(&script.setup);
    let turns = script.turns.iter().enumerate();
    turns
        .map(|(number, turn)| {
            let cuts = match cut {
                Cut::Once { turn, at } if turn == number => vec![at],
                Cut::Everywhere => split_points(length(&turn.cause)),
                _ => Vec::new(),
            };
            let happen = || rig.happen(turn.client, &turn.cause, &cuts);
            // A panic is shown in its place, and the other conversations go on.
            std::panic::catch_unwind(AssertUnwindSafe(happen)).unwrap_or_else(|panic| {
                let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                Outcome { facts: vec![format!("panic {why}")], ..Outcome::default() }
            })
        })
        .collect()
}

fn length(cause: &Cause) -> usize {
    match cause {
        Cause::ClientSays(bytes) | Cause::ServerSays(bytes) => bytes.len(),
        _ => 0,
    }
}

fn split_points(length: usize) -> Vec<usize> {
    if length <= SPLIT_EVERYWHERE {
        return (1..length).collect();
    }
    let bounds = [MAX_FORESIGHT, MAX_INSPECTED_SQL];
    let mut points: Vec<usize> = bounds
        .into_iter()
        .flat_map(|bound| bound - 1..=bound + 1)
        .chain(1..SPLIT_ENDS)
        .chain(length - SPLIT_ENDS..length)
        .filter(|&at| at < length)
        .collect();
    points.sort_unstable();
    points
}

/// Expected and got next to each other, from a little before the first difference on.
fn side_by_side(expected: &str, got: &str) -> String {
    let (expected, got): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), got.lines().collect());
    let length = expected.len().max(got.len());
    let mut shown = String::new();
    let first = (0..length).find(|&line| expected.get(line) != got.get(line)).unwrap_or(0);
    for line in first.saturating_sub(8)..length.min(first + 30) {
        let (left, right) = (
            expected.get(line).copied().unwrap_or_default(),
            got.get(line).copied().unwrap_or_default(),
        );
        let mark = if left == right { ' ' } else { '*' };
        let _ = writeln!(shown, "  {mark} {left:<100} {mark} {right}");
    }
    format!("    {:<100}   got\n{shown}", "expected")
}

#[test]
fn conversations_go_as_written() {
    let files = files();
    assert!(!files.is_empty());
    let mut failures = String::new();
    for path in &files {
        let script = read(path);
        let outcomes = play(&script, Cut::Nowhere);
        let (expected, got) = (script.as_expected(), script.with_outcomes(&outcomes));
        if std::env::var("PGWEIR_WIRE").is_ok_and(|wish| wish == "write") {
            std::fs::write(path, got).unwrap();
        } else if expected != got {
            let _ = writeln!(failures, "{}\n{}", name(path), side_by_side(&expected, &got));
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn conversations_go_the_same_however_their_bytes_are_cut() {
    let mut failures = String::new();
    for path in files() {
        let script = read(&path);
        let expected = play(&script, Cut::Nowhere);
        let mut cuts = vec![Cut::Everywhere];
        for (turn, cause) in script.turns.iter().map(|turn| &turn.cause).enumerate() {
            let points = split_points(length(cause));
            cuts.extend(points.into_iter().map(|at| Cut::Once { turn, at }));
        }
        for cut in cuts {
            let got = play(&script, cut);
            if got != expected {
                let shown =
                    side_by_side(&script.with_outcomes(&expected), &script.with_outcomes(&got));
                let _ = writeln!(failures, "{} cut {cut:?}\n{shown}", name(&path));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
