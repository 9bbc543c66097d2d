//! The reference configuration, the schema and the shipped files agree with the parser.

use serde_json::{Value as Json, json};

use super::{CLUSTER, parse, shown, valid};
use crate::config::reference::ROOT;
use crate::config::{Config, reference, schema};

const SHIPPED: [(&str, &str); 4] = [
    ("pgweir.toml", include_str!("../../../../../configs/pgweir.toml")),
    ("sidecar.toml", include_str!("../../../../../configs/sidecar.toml")),
    ("streaming.toml", include_str!("../../../../../configs/streaming.toml")),
    ("citus.toml", include_str!("../../../../../configs/citus.toml")),
];

#[test]
fn the_shipped_reference_is_the_printed_one() {
    let (_, shipped) = SHIPPED[0];
    assert!(shipped == reference(), "renew it: pgweir config > configs/pgweir.toml");
}

#[test]
fn the_reference_is_the_default() {
    assert_eq!(valid(&reference()), Config::default());
}

#[test]
fn every_shipped_file_is_valid() {
    for (name, text) in SHIPPED {
        if let Err(problems) = parse(text) {
            panic!("{name}\n{}", shown(&problems));
        }
    }
}

#[test]
fn what_the_reference_shows_commented_out_is_right_too() {
    let uncommented: String = reference()
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let is_name = |name: &str| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
            let is_key = bare.split_once(" = ").is_some_and(|(name, _)| is_name(name));
            let is_toml = bare.starts_with('[') || is_key;
            format!("{}\n", if is_toml { bare } else { line })
        })
        .collect();
    for expected in ["[databases.app.pool]", "\nusers_file = ", "\npassword = ", "\nclient_ca_file"]
    {
        assert!(uncommented.contains(expected), "{expected}");
    }
    let complaints =
        ["not available", "cannot read", "environment variable", "verifies no", "without TLS"];
    for problem in parse(&uncommented).unwrap_err() {
        let is_expected = complaints.iter().any(|part| problem.message.contains(part));
        assert!(is_expected, "{problem}");
    }
}

#[test]
fn every_section_of_the_reference_is_read() {
    for key in ROOT.keys {
        let problems = parse(&format!("{} = 5\n{CLUSTER}", key.name)).unwrap_err();
        assert!(problems.iter().any(|problem| problem.line == 1), "{}", key.name);
    }
}

/// The texts that the schema and the parser must agree on.
const AGREED: [(&str, bool); 17] = [
    ("", true),
    ("pool.size = 5", true),
    ("pool.size = 0", false),
    ("pool.size = \"${HOME_PORT}\"", true),
    ("runtime.workers = 0", true),
    ("pool.sise = 5", false),
    ("pool = 5", false),
    ("pool.mode = \"session\"", true),
    ("pool.mode = \"statement\"", true),
    ("pool.mode = \"other\"", false),
    ("limits.per_user = 0", true),
    ("limits.per_user = 1", true),
    ("routing.self_heal = false", true),
    ("listen.address = [\"a:1\"]", true),
    ("listen.address = 5", false),
    ("peers = {}", false),
    ("databases.app = { cluster = \"main\", pool = { size = 3 } }", true),
];

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema = schema();
    for (name, text) in SHIPPED {
        assert_eq!(fault(&schema, &json_of(text), name), None);
    }
    for (line, is_right) in AGREED {
        let text = format!("{line}\n{CLUSTER}");
        assert_eq!(parse(&text).is_ok(), is_right, "the parser on {line}");
        let fault = fault(&schema, &json_of(&text), "");
        assert_eq!(fault.is_none(), is_right, "the schema on {line}: {fault:?}");
    }
    let missing = fault(&schema, &json!({}), "");
    assert_eq!(missing.as_deref(), Some(": clusters is missing"));
}

fn json_of(text: &str) -> Json {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// Where a value breaks a schema. Knows the keywords that `schema` uses, patterns aside.
fn fault(schema: &Json, value: &Json, path: &str) -> Option<String> {
    let Json::Object(keywords) = schema else {
        return (schema != &Json::Bool(true)).then(|| format!("{path}: not allowed"));
    };
    let is_sound = keywords.iter().all(|(keyword, argument)| match keyword.as_str() {
        "$schema" | "title" | "description" | "default" | "pattern" => true,
        "properties" | "additionalProperties" | "required" | "items" => true,
        "type" => match argument.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64(),
            other => panic!("unknown type {other}"),
        },
        "const" => value == argument,
        "enum" => argument.as_array().unwrap().contains(value),
        "minimum" => value.as_i64() >= argument.as_i64(),
        "maximum" => value.as_i64() <= argument.as_i64(),
        "anyOf" => {
            let mut branches = argument.as_array().unwrap().iter();
            branches.any(|branch| matches(branch, value) && fault(branch, value, path).is_none())
        }
        other => panic!("unknown keyword {other}"),
    });
    if !is_sound {
        return Some(format!("{path}: {value} breaks {schema}"));
    }
    fault_within(keywords, value, path)
}

/// The one pattern that decides between branches: a string from the environment.
fn matches(branch: &Json, value: &Json) -> bool {
    let is_environment =
        branch["pattern"].as_str().is_some_and(|pattern| pattern.starts_with(r"\$\{"));
    !is_environment || value.as_str().is_some_and(|text| text.contains("${"))
}

fn fault_within(
    keywords: &serde_json::Map<String, Json>,
    value: &Json,
    path: &str,
) -> Option<String> {
    let empty = json!({});
    if let Json::Object(members) = value {
        let required = keywords.get("required").and_then(Json::as_array).into_iter().flatten();
        for name in required.filter_map(Json::as_str) {
            if !members.contains_key(name) {
                return Some(format!("{path}: {name} is missing"));
            }
        }
        let properties = keywords.get("properties").unwrap_or(&empty);
        let others = keywords.get("additionalProperties").unwrap_or(&Json::Bool(true));
        return members.iter().find_map(|(name, member)| {
            let schema = properties.get(name).unwrap_or(others);
            fault(schema, member, &format!("{path}.{name}"))
        });
    }
    let items = keywords.get("items")?;
    value.as_array()?.iter().find_map(|item| fault(items, item, &format!("{path}[]")))
}
