//! Prints what labelling costs, in nanoseconds per text, by exact bytes, by normalised form (every text has
//! literals of its own), and without the cache. Of many short rounds the best counts: whatever else the machine
//! does only adds to it.

#![allow(clippy::print_stdout, reason = "a tool for the command line")]

use std::hint::black_box;
use std::time::Instant;

use pgweir_classifier::{Catalog, Label, LabelCache, Options, classify};

/// Memory for the cache, in bytes.
const CAPACITY: usize = 16 << 20;
/// Texts of one shape.
const VARIANTS: usize = 512;
const ROUNDS: usize = 400;

fn main() {
    println!("{:<34} {:<12} {:>10} {:>12}", "", "found by", "cached", "parsed");
    for (name, texts) in shapes() {
        let cache = LabelCache::<Label>::new(CAPACITY);
        let catalog = Catalog::builtin();
        let ask = |text: &String| {
            black_box(cache.get_or_insert_with(
                black_box(text.as_bytes()),
                Options::default(),
                1,
                &catalog,
                |label| label,
            ));
        };
        texts.iter().for_each(ask);
        let before = cache.counters();
        let cached = nanoseconds(&texts, 512, ask);
        let after = cache.counters();
        let found = match (after.misses - before.misses, after.normalised_hits) {
            (0, hits) if hits == before.normalised_hits => "exact bytes",
            (0, _) => "its form",
            _ => "parsing",
        };
        let parsed = nanoseconds(&texts, 4, |text| {
            black_box(classify(text.as_bytes(), Options::default(), &catalog));
        });
        println!("{name:<34} {found:<12} {cached:>7.0} ns {parsed:>9.0} ns");
    }
}

/// Texts as drivers and programs send them, by shape.
fn shapes() -> Vec<(String, Vec<String>)> {
    let prepared = |_| {
        "SELECT \"t0\".\"id\", \"t0\".\"name\", \"t0\".\"created\" FROM \"t\" AS \"t0\" WHERE \"t0\".\"id\" = $1 LIMIT $2"
            .to_owned()
    };
    let simple = |n| format!("SELECT abalance FROM pgbench_accounts WHERE aid = {n}");
    let strings = |n| {
        format!("SELECT id, name FROM users WHERE email = 'user{n}@example.com' AND active = true")
    };
    let joined = |n: usize| {
        let columns: Vec<_> =
            (0..12).map(|at| format!("\"orders\".\"column_{at}\" AS \"o{at}\"")).collect();
        format!(
            "SELECT {} FROM \"orders\" LEFT OUTER JOIN \"customers\" ON \"orders\".\"customer_id\" = \"customers\".\"id\" \
             WHERE \"orders\".\"state\" IN ('open', 'paid', 'n{n}') AND \"orders\".\"created\" > '2024-01-01' \
             AND \"customers\".\"region\" = {n} ORDER BY \"orders\".\"created\" DESC LIMIT 20",
            columns.join(", ")
        )
    };
    let rows = |n: usize| {
        let rows: Vec<_> =
            (0..200).map(|row| format!("({}, 'name {row}', now())", n * 1000 + row)).collect();
        format!("INSERT INTO t (id, name, created) VALUES {}", rows.join(", "))
    };
    let shape = |name: &str, of: &dyn Fn(usize) -> String, variants: usize| {
        let texts: Vec<String> = (0..variants).map(of).collect();
        let bytes = texts.iter().map(String::len).max().unwrap_or_default();
        (format!("{name}, {bytes} bytes"), texts)
    };
    vec![
        shape("prepared", &prepared, 1),
        shape("pgbench -S", &simple, VARIANTS),
        shape("by e-mail", &strings, VARIANTS),
        shape("an ORM's join", &joined, VARIANTS),
        shape("insert of 200 rows", &rows, 32),
    ]
}

/// What an action costs per text, in the best of many rounds.
fn nanoseconds(texts: &[String], times: usize, action: impl Fn(&String)) -> f64 {
    let round = |at: usize| {
        let start = Instant::now();
        texts.iter().cycle().skip(at % texts.len()).take(times).for_each(&action);
        start.elapsed().as_secs_f64() * 1e9
    };
    let best = (0..ROUNDS).map(|at| round(at * times)).fold(f64::INFINITY, f64::min);
    best / f64::from(u32::try_from(times).unwrap_or(1))
}
