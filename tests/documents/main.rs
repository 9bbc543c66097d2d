//! The documents against the program: what is generated is current, what is listed is complete, what is
//! linked is there.
//!
//! `PGWEIR_DOCS=write cargo test -p pgweir --test documents` brings the generated parts up to date.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pgweir_protocol::sqlstate::SqlState;

/// Where this repository's own files are.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn root(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The file's part between its two marks is this text, or is made so.
#[track_caller]
fn holds(path: &str, generated: &str) {
    const BEGIN: &str = "<!-- generated: do not edit -->\n";
    const END: &str = "<!-- end of what is generated -->\n";
    let kept = read(path);
    let (head, rest) = kept.split_once(BEGIN).expect("the first mark");
    let (_, tail) = rest.split_once(END).expect("the second mark");
    let current = format!("{head}{BEGIN}\n{}\n\n{END}{tail}", generated.trim());
    if std::env::var_os("PGWEIR_DOCS").is_some_and(|wish| wish == "write") {
        fs::write(root(path), current).unwrap();
    } else {
        assert!(kept == current, "{path} is not current: see the head of tests/documents/main.rs");
    }
}

#[test]
fn the_configurations_page_is_current() {
    holds("docs/configuration.md", &pgweir::config::document());
}

#[test]
fn the_page_on_migrating_has_every_setting_of_pgbouncers() {
    holds("docs/migrating.md", &pgweir::import::document());
}

/// Every source file of the program, without its tests.
fn sources(directory: &Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            out.push(text.split("#[cfg(test)]").next().unwrap().to_owned());
        }
    }
}

/// Codes that pgweir tells servers' errors by, and never raises.
const RECOGNISED: [&str; 7] = ["25006", "40001", "40P01", "42602", "42P03", "57P04", "XX000"];

#[test]
fn every_sqlstate_that_pgweir_raises_is_explained() {
    let mut texts = Vec::new();
    for part in ["protocol", "classifier", "pool", "pgweir"] {
        sources(&root("crates").join(part).join("src"), &mut texts);
    }
    let names: BTreeSet<&str> = texts
        .iter()
        .flat_map(|text| text.split("SqlState::").skip(1))
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next())
        .filter(|name| name.len() > 2)
        .collect();
    let page = read("docs/troubleshooting.md");
    let headings: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("## `")).collect();
    let mut expected = BTreeSet::new();
    for (code, condition) in SqlState::NAMED {
        let is_used = names.contains(condition.to_uppercase().as_str());
        // A notice, and no error.
        let is_error = !matches!(code.as_str(), "00000" | "01000");
        if is_used && is_error && !RECOGNISED.contains(&code.as_str()) {
            expected.insert(format!("{code}` {condition}"));
        }
    }
    assert_eq!(headings.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    for code in RECOGNISED {
        assert!(page.contains(&format!("`{code}` ")), "{code}");
    }
}

/// Every `.md` file that belongs to the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in ["", "docs", "deploy", "tests"] {
        for entry in fs::read_dir(root(directory)).unwrap().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// The targets of a page's links.
fn links(text: &str) -> BTreeSet<&str> {
    let behind = text.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// What a heading is called in links, by GitHub's rule.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut lost = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") || link.contains(' ') {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&target).unwrap()).contains(anchor));
            if !is_there {
                lost.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
