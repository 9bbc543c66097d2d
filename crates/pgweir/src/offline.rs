//! `pgweir route`: how statements would be routed, and why, without a server.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use pgweir_classifier::{Fingerprint, Options, StatementLabel, classify};
use pgweir_protocol::parameters::Parameters;
use pgweir_protocol::settings::SettingsMap;
use pgweir_protocol::verdict::SessionFacts;
use serde_json::json;

use crate::config::{Config, TransactionRouting};
use crate::route::{NO_TARGET, catalog, target_name, target_of, verdict};

/// Prints the route of each statement and of the whole text.
///
/// # Errors
/// A configuration with problems, each on a line; output that cannot be written.
pub fn run(
    config: Option<&Path>,
    json: bool,
    sql: &str,
    out: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let config = match config {
        Some(file) => Config::load(file).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?,
        None => Config::default(),
    };
    let label = classify(sql.as_bytes(), Options::default(), &catalog(&config.routing));
    let facts = SessionFacts {
        settings: &SettingsMap::default(),
        reported: &Parameters::default(),
        is_bound: false,
        is_usual: true,
        split: None,
    };
    let firewall = config.firewall();
    let entry = firewall.denies(sql.as_bytes(), Options::default());
    let target = match entry {
        Some(_) => NO_TARGET,
        None => {
            let is_split = config.routing.transactions == TransactionRouting::Split;
            target_name(target_of(&verdict(sql.as_bytes(), &label), facts, is_split))
        }
    };
    if json {
        let fingerprints = Fingerprint::all(sql.as_bytes(), Options::default());
        let fingerprints = fingerprints.iter().map(Some).chain(std::iter::repeat(None));
        let statements = label.statements.iter().zip(fingerprints);
        let statements: Vec<_> = statements.map(|(one, known)| as_json(one, sql, known)).collect();
        let report = json!({
            "target": target,
            "blocked": entry,
            "class": label.access.as_str(),
            "reason": label.reason.as_str(),
            "explanation": label.reason.to_string(),
            "parsed": !label.unparsed,
            "statements": statements,
        });
        writeln!(out, "{report:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    for statement in &label.statements {
        let (class, reason) = (statement.access.as_str(), &statement.reason);
        writeln!(out, "{class:8} {reason}: {}", text_of(statement, sql))?;
    }
    match entry {
        Some(entry) => writeln!(out, "-> {target}: blocked ({entry})")?,
        None => writeln!(out, "-> {target}: {}", label.reason)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(
    statement: &StatementLabel,
    sql: &str,
    known: Option<&Fingerprint>,
) -> serde_json::Value {
    json!({
        "statement": text_of(statement, sql),
        "fingerprint": known.map(ToString::to_string),
        "kind": statement.kind,
        "class": statement.access.as_str(),
        "reason": statement.reason.as_str(),
        "explanation": statement.reason.to_string(),
    })
}

fn text_of<'a>(statement: &StatementLabel, sql: &'a str) -> &'a str {
    statement.range.clone().and_then(|range| sql.get(range)).unwrap_or(sql)
}
