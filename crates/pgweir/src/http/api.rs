//! `/api/v1/*`: the console's tables, and what pgweir is and how it does, as JSON; and the OpenAPI
//! document that says so.

use std::ops::Range;

use serde_json::{Map, Value as Json, json};

use crate::console::json::{Listing, OPEN};
use crate::gateway::{Gateway, Phase};

/// Where all of it is.
pub(super) const PREFIX: &str = "/api/v1/";

/// Rows of a table in one answer, unless more are asked for.
const USUAL_ROWS: usize = 1000;

/// Rows of a table in one answer, at most.
const MAX_ROWS: usize = 10_000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// There is no such thing.
    NotFound,
    /// The query makes no sense.
    BadQuery(String),
}

/// Answers a path, of which the prefix is off already.
pub(super) fn answer(name: &str, query: &str, gateway: &Gateway) -> Result<Json, NoAnswer> {
    match name {
        "openapi.json" => Ok(document()),
        "version" => Ok(json!({ "name": "pgweir", "version": env!("CARGO_PKG_VERSION") })),
        "state" => Ok(state(gateway)),
        name => {
            let listing = Listing::find(name).ok_or(NoAnswer::NotFound)?;
            let wanted = window(query)?;
            let rows = listing.rows(gateway);
            let total = rows.len();
            let rows = rows.into_iter().skip(wanted.start).take(wanted.len());
            Ok(json!({ "total": total, listing.name(): rows.collect::<Vec<_>>() }))
        }
    }
}

fn state(gateway: &Gateway) -> Json {
    json!({
        "phase": phase(*gateway.phase().borrow()),
        "paused": gateway.gates.is_all_paused(),
        "clients": gateway.client_count(),
        "uptime_seconds": gateway.metrics.started.elapsed().as_secs(),
    })
}

const PHASES: [&str; 3] = ["serving", "draining", "stopping"];

fn phase(phase: Phase) -> &'static str {
    let [serving, draining, stopping] = PHASES;
    match phase {
        Phase::Serving => serving,
        Phase::Draining => draining,
        Phase::Stopping => stopping,
    }
}

/// Which rows are asked for: `limit` and `offset`.
fn window(query: &str) -> Result<Range<usize>, NoAnswer> {
    let (mut limit, mut offset) = (USUAL_ROWS, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = value.parse().map_err(|_| bad(format!("{name} is a number")));
        match name {
            "limit" => limit = number?,
            "offset" => offset = number?,
            _ => return Err(bad("limit and offset are what may be asked for".to_owned())),
        }
    }
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(bad(format!("limit is from 1 to {MAX_ROWS}")));
    }
    Ok(offset..offset.saturating_add(limit))
}

fn bad(why: String) -> NoAnswer {
    NoAnswer::BadQuery(why)
}

// ---- the document ----

/// The OpenAPI document. Made of what answers, so that it tells the truth.
pub(super) fn document() -> Json {
    let mut paths = Map::new();
    let mut put = |name: &str, about: &str, parameters: Json, schema: Json| {
        let answers = json!({
            "200": { "description": about, "content": { "application/json": { "schema": schema } } },
            "400": { "$ref": "#/components/responses/Error" },
        });
        let get = json!({
            "operationId": name.trim_end_matches(".json"),
            "summary": about,
            "parameters": parameters,
            "responses": answers,
        });
        paths.insert(format!("{PREFIX}{name}"), json!({ "get": get }));
    };
    put("version", "the program and its version", json!([]), version_schema());
    put(
        "state",
        "how far it is in its life, and how many clients it has",
        json!([]),
        state_schema(),
    );
    for listing in OPEN.iter().filter_map(|name| Listing::find(name)) {
        let parameters = json!([
            { "$ref": "#/components/parameters/limit" },
            { "$ref": "#/components/parameters/offset" },
        ]);
        put(listing.name(), listing.about(), parameters, listing_schema(&listing));
    }
    put("openapi.json", "this document", json!([]), json!({ "type": "object" }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pgweir",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a running pgweir is doing, for reading. Columns that PgBouncer has \
                            mean what they mean there.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": components(),
    })
}

fn components() -> Json {
    let error = json!({
        "type": "object",
        "properties": { "error": { "type": "string" } },
        "required": ["error"],
        "additionalProperties": false,
    });
    json!({
        "parameters": {
            "limit": {
                "name": "limit", "in": "query", "description": "Rows in the answer, at most.",
                "schema": { "type": "integer", "minimum": 1, "maximum": MAX_ROWS,
                            "default": USUAL_ROWS },
            },
            "offset": {
                "name": "offset", "in": "query", "description": "Rows to leave out before them.",
                "schema": { "type": "integer", "minimum": 0, "default": 0 },
            },
        },
        "responses": {
            "Error": {
                "description": "The query makes no sense.",
                "content": { "application/json": { "schema": error } },
            },
        },
    })
}

fn version_schema() -> Json {
    object(&json!({ "name": { "type": "string" }, "version": { "type": "string" } }))
}

fn state_schema() -> Json {
    object(&json!({
        "phase": { "enum": PHASES },
        "paused": { "type": "boolean" },
        "clients": { "type": "integer" },
        "uptime_seconds": { "type": "integer" },
    }))
}

fn listing_schema(listing: &Listing) -> Json {
    object(&json!({
        "total": { "type": "integer", "description": "Rows there are, beyond this answer too." },
        listing.name(): { "type": "array", "items": listing.schema() },
    }))
}

/// An object that has all of these, and nothing else.
fn object(properties: &Json) -> Json {
    let names: Vec<String> =
        properties.as_object().into_iter().flat_map(Map::keys).cloned().collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let rows = [
            ("", Some(0..1000)),
            ("limit=5", Some(0..5)),
            ("limit=5&offset=7", Some(7..12)),
            ("offset=18446744073709551615&limit=9", Some(usize::MAX..usize::MAX)),
            ("limit=0", None),
            ("limit=10001", None),
            ("limit=-1", None),
            ("offset=x", None),
            ("user=app", None),
        ];
        for (query, want) in rows {
            assert_eq!(window(query).ok(), want, "{query}");
        }
    }
}
