//! The console's tables as JSON, for whoever asks over HTTP: one source for both, so that neither lacks
//! what the other has.
//!
//! HTTP asks for no password, so [`OPEN`] has what may be seen without one: nothing of the users file.

use serde_json::{Map, Value as Json, json};

use pgweir_protocol::message::ColumnType;

use crate::gateway::Gateway;

use super::clock::Clock;
use super::show::{Show, TABLES, View};
use super::table::{Column, Value};

/// The tables that are open to who reaches the HTTP side.
pub(crate) const OPEN: [&str; 10] = [
    "nodes",
    "pools",
    "servers",
    "clients",
    "pins",
    "databases",
    "routes",
    "stats",
    "catalog",
    "config",
];

/// Columns whose text is more than text.
const SHAPES: [(&str, &str, Shape); 4] = [
    ("clients", "pins", Shape::List),
    ("routes", "nodes", Shape::Counts),
    ("config", "value", Shape::Toml),
    ("config", "default", Shape::Toml),
];

/// What a text stands for.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Words with commas between them.
    List,
    /// `name=number`, with commas between them.
    Counts,
    /// A value as the configuration file has it.
    Toml,
}

/// A table as HTTP knows it.
pub(crate) struct Listing(&'static Show);

impl Listing {
    /// The open table of this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let is_open = OPEN.contains(&name);
        TABLES.iter().find(|show| is_open && show.name == name).map(Self)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.0.name
    }

    /// What it shows.
    pub(crate) fn about(&self) -> &'static str {
        self.0.about
    }

    /// Its rows as they are now, each an object.
    pub(crate) fn rows(&self, gateway: &Gateway) -> Vec<Json> {
        let view = View { gateway, now: gateway.now(), clock: Clock::read() };
        let rows = (self.0.rows)(&view).into_iter();
        rows.map(|row| self.object(row)).collect()
    }

    fn object(&self, row: Vec<Value>) -> Json {
        let members = self.0.columns.iter().zip(row);
        let member = |(column, value): (&Column, Value)| {
            (column.name.to_owned(), member(self.shape(column), value))
        };
        Json::Object(members.map(member).collect())
    }

    fn shape(&self, column: &Column) -> Option<Shape> {
        let known =
            SHAPES.iter().find(|(table, name, _)| (*table, *name) == (self.0.name, column.name));
        known.map(|(_, _, shape)| *shape)
    }

    /// The JSON Schema of a row.
    pub(crate) fn schema(&self) -> Json {
        let columns = self.0.columns.iter();
        let properties: Map<String, Json> = columns
            .clone()
            .map(|column| (column.name.to_owned(), schema(self.shape(column), column.kind)))
            .collect();
        let names: Vec<&str> = columns.map(|column| column.name).collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": names,
            "additionalProperties": false,
        })
    }
}

fn member(shape: Option<Shape>, value: Value) -> Json {
    match (shape, value) {
        (_, Value::Null) => Json::Null,
        (_, Value::Number(number)) => number.into(),
        (_, Value::Truth(is_so)) => is_so.into(),
        (None, Value::Text(text)) => text.into_owned().into(),
        (Some(shape), Value::Text(text)) => shaped(shape, &text),
    }
}

fn shaped(shape: Shape, text: &str) -> Json {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match shape {
        Shape::List => parts.collect(),
        Shape::Counts => {
            let counts = parts.filter_map(|part| {
                let (name, count) = part.rsplit_once('=')?;
                Some((name.to_owned(), count.parse::<u64>().ok()?.into()))
            });
            Json::Object(counts.collect())
        }
        Shape::Toml => {
            let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
            let value = parsed.ok().and_then(|mut table| table.remove("value"));
            let value = value.and_then(|value| serde_json::to_value(value).ok());
            value.unwrap_or_else(|| text.into())
        }
    }
}

fn schema(shape: Option<Shape>, kind: ColumnType) -> Json {
    match (shape, kind) {
        (Some(Shape::List), _) => json!({ "type": "array", "items": { "type": "string" } }),
        (Some(Shape::Counts), _) => {
            json!({ "type": "object", "additionalProperties": { "type": "integer" } })
        }
        (Some(Shape::Toml), _) => json!({ "description": "As in the file; secrets are masked." }),
        (None, ColumnType::Text) => json!({ "type": ["string", "null"] }),
        (None, ColumnType::Bool) => json!({ "type": ["boolean", "null"] }),
        (None, ColumnType::Int4 | ColumnType::Int8 | ColumnType::Numeric) => {
            json!({ "type": ["integer", "null"] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_open_table_and_every_shaped_column_is_there() {
        for name in OPEN {
            let listing = Listing::find(name).unwrap_or_else(|| panic!("{name}"));
            let shaped = SHAPES.iter().filter(|(table, ..)| *table == name);
            for (_, column, _) in shaped {
                assert!(listing.0.columns.iter().any(|known| known.name == *column), "{column}");
            }
        }
        for name in ["users", "nosuch", "NODES"] {
            assert!(Listing::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn texts_that_are_more_than_text() {
        let rows = [
            (Shape::List, "", json!([])),
            (Shape::List, "listen,load", json!(["listen", "load"])),
            (Shape::Counts, "a:1=3, [::1]:2=0", json!({ "a:1": 3, "[::1]:2": 0 })),
            (Shape::Toml, "\"a\"", json!("a")),
            (Shape::Toml, "[1, 2]", json!([1, 2])),
            (Shape::Toml, "***", json!("***")),
        ];
        for (shape, text, want) in rows {
            assert_eq!(shaped(shape, text), want, "{text}");
        }
    }
}
