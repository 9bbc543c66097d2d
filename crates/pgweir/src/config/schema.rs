//! The JSON Schema of the configuration, from the keys' one source.
//!
//! It accepts what the parser accepts as far as a schema can tell: the keys, their types, the words
//! and ranges; a feature that is not built yet only at its default.

use serde_json::{Map, Value as Json, json};

use super::fields::NOT_AVAILABLE;
use super::reference::ROOT;
use super::spec::{Availability, Key, Shape, Table};

/// The JSON Schema (draft 2020-12), for editors and pipelines.
#[must_use]
pub fn schema() -> Json {
    let mut schema = of_table(&ROOT);
    if let Json::Object(map) = &mut schema {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        map.insert("$schema".to_owned(), draft.into());
        map.insert("title".to_owned(), "pgweir".into());
        map.insert("description".to_owned(), ROOT.about.concat().trim().into());
    }
    schema
}

/// The schema of one section.
pub(crate) fn of_table(table: &Table) -> Json {
    let keys = || table.keys.iter().filter(|key| !matches!(key.shape, Shape::Reserved));
    let properties: Map<String, Json> =
        keys().map(|key| (key.name.to_owned(), of_key(key))).collect();
    let required: Vec<&str> =
        keys().filter(|key| key.facts.is_required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Json::Object(map), false) = (&mut schema, required.is_empty()) {
        map.insert("required".to_owned(), required.into());
    }
    schema
}

fn of_key(key: &Key) -> Json {
    let mut schema = match &key.shape {
        Shape::Value { schema, is_optional, .. } => of_value(key, schema(), *is_optional),
        Shape::Table(table) => of_table(table),
        Shape::Named { table, .. } => {
            json!({ "type": "object", "additionalProperties": of_table(table) })
        }
        Shape::Reserved => json!(false),
    };
    let Json::Object(map) = &mut schema else {
        return schema;
    };
    let mut why = key.why.concat().trim().to_owned();
    if key.facts.availability != Availability::Available {
        why = format!("{why} ({NOT_AVAILABLE}: only the default)");
    }
    map.insert("description".to_owned(), why.into());
    if let (Shape::Value { .. }, None, Some(default)) =
        (&key.shape, key.facts.example, default(key))
    {
        map.insert("default".to_owned(), default);
    }
    schema
}

fn of_value(key: &Key, mut schema: Json, is_optional: bool) -> Json {
    if key.facts.availability != Availability::Available {
        return match default(key) {
            Some(default) => json!({ "const": default }),
            None => json!(false),
        };
    }
    if let (Some((least, greatest)), Some(integer)) = (key.facts.range, integer_branch(&mut schema))
    {
        integer.insert("minimum".to_owned(), if is_optional { 0 } else { least }.into());
        integer.insert("maximum".to_owned(), greatest.into());
    }
    schema
}

/// The part of a schema that describes a whole number.
fn integer_branch(schema: &mut Json) -> Option<&mut Map<String, Json>> {
    let branches = schema.get_mut("anyOf")?.as_array_mut()?;
    branches
        .iter_mut()
        .filter_map(Json::as_object_mut)
        .find(|branch| branch.get("type").is_some_and(|kind| kind == "integer"))
}

/// The default as JSON.
fn default(key: &Key) -> Option<Json> {
    let toml = (key.default)();
    let value: toml::Value = format!("v = {toml}").parse::<toml::Table>().ok()?.remove("v")?;
    serde_json::to_value(value).ok()
}
