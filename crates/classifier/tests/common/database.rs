//! A catalog read from a real database, as the program reads it.

use pgweir_classifier::Catalog;
use pgweir_classifier::catalog::facts::{QUESTIONS, Row};
use pgweir_sandbox::Sandbox;

/// What stands for NULL in the answers.
const NULL: &str = "\u{1}";

/// Reads the catalog of a database on the primary.
pub(crate) fn catalog(sandbox: &Sandbox, database: &str, base: Catalog) -> Catalog {
    base.with_database(rows(sandbox, database)).expect("a usable catalog")
}

/// The answers to the questions.
pub(crate) fn rows(sandbox: &Sandbox, database: &str) -> Vec<Row> {
    let node = sandbox.primary();
    let output = sandbox
        .program("psql")
        .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"])
        .args([
            "--field-separator-zero",
            "--record-separator-zero",
            "--pset",
            &format!("null={NULL}"),
        ])
        .args(["--username", sandbox.superuser(), "--host", node.host()])
        .args(["--port", &node.port().to_string(), "--command", QUESTIONS, database])
        .env("PGOPTIONS", "-c search_path=pg_catalog")
        .output()
        .expect("psql");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&String::from_utf8(output.stdout).expect("text"))
}

/// Fields and records end with the same byte, so a row is known by its first field's letter.
fn read(text: &str) -> Vec<Row> {
    let mut cells = text.split('\0');
    let mut rows = Vec::new();
    while let Some(kind) = cells.next().filter(|kind| !kind.is_empty()) {
        let width = match kind {
            "f" => 13,
            "b" => 7,
            "n" => 2,
            "x" | "q" | "y" => 3,
            _ => 5,
        };
        let rest = cells.by_ref().take(width - 1);
        let row = std::iter::once(kind).chain(rest);
        rows.push(row.map(|cell| (cell != NULL).then(|| cell.to_owned())).collect());
    }
    rows
}
