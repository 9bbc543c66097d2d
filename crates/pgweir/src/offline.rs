//! `pgweir route`: how statements would be routed, and why, without a server.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use pgweir_classifier::{Options, StatementLabel, classify};
use pgweir_protocol::parameters::Parameters;
use pgweir_protocol::settings::SettingsMap;
use pgweir_protocol::verdict::SessionFacts;
use serde_json::json;

use crate::config::Config;
use crate::route::{catalog, target, target_name, verdict};

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
        is_usual: true,
    };
    let target = target_name(target(&verdict(sql.as_bytes(), &label), facts));
    if json {
        let statements: Vec<_> = label.statements.iter().map(|one| as_json(one, sql)).collect();
        let report = json!({
            "target": target,
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
    writeln!(out, "-> {target}: {}", label.reason)?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(statement: &StatementLabel, sql: &str) -> serde_json::Value {
    json!({
        "statement": text_of(statement, sql),
        "kind": statement.kind,
        "class": statement.access.as_str(),
        "reason": statement.reason.as_str(),
        "explanation": statement.reason.to_string(),
    })
}

fn text_of<'a>(statement: &StatementLabel, sql: &'a str) -> &'a str {
    statement.range.clone().and_then(|range| sql.get(range)).unwrap_or(sql)
}
