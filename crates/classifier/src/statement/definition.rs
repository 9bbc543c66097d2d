//! What a statement means for what is known of a database's objects.

use pg_query::NodeEnum;
use pg_query::protobuf::{CreateStmt, DropStmt, ObjectType, RangeVar};

use crate::walk::qualified;
use crate::{Control, Definition, Effect, Pin, Reason, StatementLabel};

/// How the kinds of statements begin that change what a database's objects are.
const DEFINITIONS: [&str; 4] = ["CREATE", "ALTER", "DROP", "IMPORT FOREIGN SCHEMA"];

/// Among these, those that no judgement depends on.
const OF_NO_CONSEQUENCE: [&str; 23] = [
    "CREATE DATABASE",
    "ALTER DATABASE",
    "DROP DATABASE",
    "CREATE ROLE",
    "ALTER ROLE",
    "DROP ROLE",
    "CREATE TABLESPACE",
    "ALTER TABLESPACE",
    "DROP TABLESPACE",
    "ALTER SYSTEM",
    "ALTER DEFAULT PRIVILEGES",
    "CREATE STATISTICS",
    "ALTER STATISTICS",
    "CREATE PUBLICATION",
    "ALTER PUBLICATION",
    "CREATE SUBSCRIPTION",
    "ALTER SUBSCRIPTION",
    "DROP SUBSCRIPTION",
    "CREATE USER MAPPING",
    "ALTER USER MAPPING",
    "DROP USER MAPPING",
    "CREATE EVENT TRIGGER",
    "ALTER EVENT TRIGGER",
];

/// The persistence of an unlogged relation (`RELPERSISTENCE_UNLOGGED` in `pg_class.h`).
const UNLOGGED: &str = "u";
/// That of a temporary one.
const TEMPORARY: &str = "t";

/// What a statement with this label defines.
pub(super) fn definition(node: &NodeEnum, label: &StatementLabel) -> Definition {
    if label.effects.contains(&Effect::DefinesObjects) || label.control == Control::EndPrepared {
        return Definition::Anything;
    }
    let is_temporary =
        |effect: &Effect| matches!(effect, Effect::Pin(Pin::TemporaryObject(Some(_))));
    if label.effects.iter().any(is_temporary) {
        return Definition::Nothing;
    }
    match node {
        NodeEnum::CreateStmt(node) => table(node),
        NodeEnum::CreateTableAsStmt(node) => {
            relation(node.into.as_ref().and_then(|into| into.rel.as_ref()))
        }
        NodeEnum::ViewStmt(node) => relation(node.view.as_ref()),
        NodeEnum::CreateSeqStmt(node) => relation(node.sequence.as_ref()),
        NodeEnum::SelectStmt(node) if label.reason == Reason::SelectInto => {
            relation(node.into_clause.as_ref().and_then(|into| into.rel.as_ref()))
        }
        NodeEnum::CreateFunctionStmt(node) => {
            Definition::Named(vec![qualified(&node.funcname).1.to_owned()])
        }
        NodeEnum::DropStmt(node) => dropped(node),
        NodeEnum::CreateSchemaStmt(node) if node.schema_elts.is_empty() => {
            Definition::Named(Vec::new())
        }
        _ => by_kind(label),
    }
}

fn by_kind(label: &StatementLabel) -> Definition {
    let kind = match label.reason {
        // What EXPLAIN ANALYZE runs stands in its reason.
        Reason::Utility(kind) => kind,
        _ => label.kind,
    };
    let defines = DEFINITIONS.iter().any(|word| kind.starts_with(word));
    if defines && !OF_NO_CONSEQUENCE.contains(&kind) {
        Definition::Anything
    } else {
        Definition::Nothing
    }
}

/// A partition belongs to its parent from now on, and who reads that reads it, too.
fn table(node: &CreateStmt) -> Definition {
    let unlogged = node.relation.as_ref().is_some_and(|name| name.relpersistence == UNLOGGED);
    if unlogged && !node.inh_relations.is_empty() {
        return Definition::Anything;
    }
    relation(node.relation.as_ref())
}

fn relation(name: Option<&RangeVar>) -> Definition {
    match name {
        // The session's own.
        Some(name) if name.relpersistence == TEMPORARY => Definition::Nothing,
        Some(name) => Definition::Named(vec![name.relname.clone()]),
        None => Definition::Anything,
    }
}

/// What is dropped was known by its name, or was some session's own.
fn dropped(node: &DropStmt) -> Definition {
    let relations = matches!(
        node.remove_type(),
        ObjectType::ObjectTable | ObjectType::ObjectView | ObjectType::ObjectSequence
    );
    let names = node.objects.iter().map(|object| match &object.node {
        Some(NodeEnum::List(parts)) if relations => Some(qualified(&parts.items).1.to_owned()),
        _ => None,
    });
    names.collect::<Option<_>>().map_or(Definition::Anything, Definition::Named)
}
