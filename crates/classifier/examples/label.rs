//! Labels texts: each argument, or the blocks of a row file given on standard input, and prints the
//! file with the heads of its rows filled in.

#![allow(clippy::print_stdout, reason = "a tool for the command line")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Read;

use pgweir_classifier::{Catalog, Options, classify};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    for block in input.split("--;;").skip(1) {
        let (head, sql) = block.split_once('\n').unwrap_or((block, ""));
        let label = classify(
            sql.trim_end().as_bytes(),
            Options::default(),
            &Catalog::builtin(),
        );
        let flags = ["varies", "server"]
            .into_iter()
            .filter(|f| head.split_whitespace().any(|w| w == *f));
        let flags: Vec<_> = flags.collect();
        println!(
            "--;; {}{}{}",
            common::describe(&label),
            if flags.is_empty() { "" } else { " " },
            flags.join(" ")
        );
        println!("{}", sql.trim_end());
    }
    Ok(())
}
