//! PostgreSQL's own functions, operators and relations, as tables.
//!
//! The tables are generated from the catalog of [`TABLE_VERSION`]; what later versions have added and
//! is harmless stands in `newer`. A function that is in none of them is not PostgreSQL's own as far as
//! we know, and counts as unknown.

mod fields;
mod functions;
mod newer;
mod operators;
mod relations;
mod types;

use crate::Verdict;
use crate::catalog::names::Traits;

/// The major version that the tables were generated from.
pub(crate) const TABLE_VERSION: u16 = 15;

/// True for a name without a schema, which PostgreSQL looks up in its own schema first, and for one in
/// that schema.
fn is_own_schema(schema: Option<&str>) -> bool {
    schema.is_none_or(|schema| schema == "pg_catalog")
}

/// What calling one of PostgreSQL's own functions amounts to; `None` if it is not one of them.
pub(crate) fn function(schema: Option<&str>, name: &str, server_version: u16) -> Option<Verdict> {
    if schema == Some("information_schema") {
        return contains(functions::INFORMATION_SCHEMA, name).then_some(Verdict::Read);
    }
    if !is_own_schema(schema) {
        return None;
    }
    if contains(functions::READ, name) {
        Some(Verdict::Read)
    } else if contains(functions::PRIMARY, name) {
        Some(Verdict::Primary)
    } else if contains(functions::WRITE, name) {
        Some(Verdict::Write)
    } else if contains(functions::RUNS_TEXT, name) {
        Some(Verdict::RunsText)
    } else {
        is_newer(name, server_version).then_some(Verdict::Read)
    }
}

/// True for a function of one argument that is not harmless: `value.name` may be a call of it.
pub(crate) fn is_field(name: &str) -> bool {
    contains(fields::FIELDS, name)
}

/// True for a type of PostgreSQL's own, an array among them.
pub(crate) fn is_type(schema: Option<&str>, name: &str) -> bool {
    let own = is_own_schema(schema) || schema == Some("information_schema");
    let element = name.strip_prefix('_').unwrap_or(name);
    own && (contains(types::TYPES, name) || contains(types::TYPES, element) || schema.is_some())
}

/// What one of PostgreSQL's own functions leaves behind in its session, or it or a relation asks of it.
pub(crate) fn traits(name: &str) -> Traits {
    match name {
        "set_config" | "setseed" => Traits::SESSION,
        "nextval" | "setval" => Traits::USES_SEQUENCE,
        "currval" | "lastval" => Traits::RECALLS_SEQUENCE,
        "pg_prepared_statement" | "pg_prepared_statements" => Traits::LISTS_STATEMENTS,
        // Locks of the transaction go with it.
        _ if name.contains("advisory") && !name.contains("_xact_") => Traits::SESSION,
        _ => Traits::NONE,
    }
}

fn is_newer(name: &str, server_version: u16) -> bool {
    let found = newer::NEWER.binary_search_by(|(known, _)| known.cmp(&name));
    let since = found.ok().and_then(|position| newer::NEWER.get(position));
    since.is_some_and(|(_, since)| *since <= server_version)
}

/// True for an operator of PostgreSQL's own with so many operands; none of them writes. Where their
/// number cannot be told, for one with two.
pub(crate) fn is_operator(schema: Option<&str>, name: &str, operands: Option<usize>) -> bool {
    let names = if operands == Some(1) { operators::PREFIX } else { operators::BINARY };
    is_own_schema(schema) && contains(names, name)
}

/// What reading a relation of PostgreSQL's own amounts to; `None` if it is not one of them. A name
/// like theirs that the tables do not have is a newer version's view, or an extension's, of the
/// server's state.
pub(crate) fn relation(schema: Option<&str>, name: &str) -> Option<Verdict> {
    let read_or_primary = |read| {
        if read { Verdict::Read } else { Verdict::Primary }
    };
    match schema {
        Some("information_schema") => {
            Some(read_or_primary(contains(relations::INFORMATION_SCHEMA, name)))
        }
        Some("pg_catalog") => Some(read_or_primary(contains(relations::READ, name))),
        None if name.starts_with("pg_") => Some(read_or_primary(contains(relations::READ, name))),
        _ => None,
    }
}

fn contains(table: &[&str], name: &str) -> bool {
    table.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_name_nothing_twice() {
        let tables = [
            functions::READ,
            functions::PRIMARY,
            functions::WRITE,
            functions::RUNS_TEXT,
            functions::INFORMATION_SCHEMA,
            fields::FIELDS,
            types::TYPES,
            operators::PREFIX,
            operators::BINARY,
            relations::READ,
            relations::INFORMATION_SCHEMA,
        ];
        for table in tables {
            assert!(table.is_sorted_by(|a, b| a < b), "{table:?}");
        }
        assert!(newer::NEWER.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn newer_functions_are_not_in_the_older_tables() {
        for (name, since) in newer::NEWER {
            assert!(*since > TABLE_VERSION, "{name}");
            assert_eq!(function(None, name, TABLE_VERSION), None, "{name}");
            assert_eq!(function(None, name, *since), Some(Verdict::Read), "{name}");
        }
    }
}
