//! Prints what labelling costs, in nanoseconds per text: by exact bytes, by normalised form, and without
//! the cache.

#![allow(clippy::print_stdout, reason = "a tool for the command line")]

use std::hint::black_box;
use std::time::Instant;

use pgweir_classifier::{Catalog, Label, LabelCache, Options, classify};

/// Memory for the cache, in bytes.
const CAPACITY: usize = 16 << 20;

fn main() {
    let prepared = "SELECT \"t0\".\"id\", \"t0\".\"name\", \"t0\".\"created\" FROM \"t\" AS \"t0\" WHERE \"t0\".\"id\" = $1 LIMIT $2";
    let simple = "SELECT abalance FROM pgbench_accounts WHERE aid = ";
    let list: Vec<_> =
        (0..200).map(|number| format!("({number}, 'name {number}', now())")).collect();
    let insert = format!("INSERT INTO t (id, name, created) VALUES {}", list.join(", "));
    println!("{:<28} {:<12} {:>10} {:>12}", "", "found by", "cached", "parsed");
    for (name, text) in [
        ("prepared, 102 bytes", prepared.to_owned()),
        ("pgbench -S, 56 bytes", format!("{simple}123456")),
        ("insert of 200 rows, 6 KB", insert),
    ] {
        let cache = LabelCache::<Label>::new(CAPACITY);
        let catalog = Catalog::builtin();
        let ask = |text: &str| {
            black_box(cache.get_or_insert_with(
                black_box(text.as_bytes()),
                Options::default(),
                1,
                &catalog,
                |label| label,
            ));
        };
        ask(&text);
        // What has no literal is found by its bytes from the second time on, what has one by its form.
        let cached = nanoseconds(100_000, || ask(&text));
        let found =
            if cache.counters().normalised_hits == 0 { "exact bytes" } else { "normalised" };
        let parsed = nanoseconds(200, || {
            black_box(classify(text.as_bytes(), Options::default(), &catalog));
        });
        println!("{name:<28} {found:<12} {cached:>7.0} ns {parsed:>9.0} ns");
    }
}

fn nanoseconds(times: u32, mut action: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        action();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}
