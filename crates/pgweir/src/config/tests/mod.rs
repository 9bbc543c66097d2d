//! The configuration as a whole: text in, a [`Config`] or problems out.

mod bad;
mod files;
mod good;
mod reference;

use std::path::Path;

use super::{Config, Problem};

/// Reads a text as `f.toml`, with the environment `HOME_PORT=7000`, `PASSWORD=hunter2`, `EMPTY=`.
fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let environment = |name: &str| match name {
        "HOME_PORT" => Some("7000".to_owned()),
        "PASSWORD" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    Config::parse(text, Path::new("f.toml"), &environment)
}

/// The smallest cluster, for texts that are about something else.
const CLUSTER: &str = "[clusters.main]\nnodes = [\"a\"]\n";

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|problems| panic!("{text}\n{}", shown(&problems)))
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}
