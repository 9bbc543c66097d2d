//! What a statement means for what is known of a database's objects.

use pg_query::protobuf::{
    AlterObjectSchemaStmt, CreateFunctionStmt, CreateStmt, DropStmt, FunctionParameterMode,
    ObjectType, RangeVar, RenameStmt,
};
use pg_query::{Node, NodeEnum};

use crate::walk::qualified;
use crate::{Control, Definition, Effect, Pin, Reason, StatementLabel, builtins};

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

/// And those that can give a meaning of the user's to names and notations of PostgreSQL's own, whatever
/// their own objects are called.
const OF_EVERY_CONSEQUENCE: [&str; 13] = [
    "CREATE",
    "CREATE CAST",
    "CREATE OPERATOR CLASS",
    "CREATE OPERATOR FAMILY",
    "ALTER OPERATOR FAMILY",
    "ALTER OPERATOR",
    "CREATE EXTENSION",
    "ALTER EXTENSION",
    "CREATE SCHEMA",
    "IMPORT FOREIGN SCHEMA",
    "CREATE LANGUAGE",
    "CREATE TRANSFORM",
    "CREATE CONVERSION",
];

/// The persistence of an unlogged relation (`RELPERSISTENCE_UNLOGGED` in `pg_class.h`).
const UNLOGGED: &str = "u";
/// That of a temporary one.
const TEMPORARY: &str = "t";

/// What a statement with this label defines.
pub(super) fn definition(node: &NodeEnum, label: &StatementLabel) -> Definition {
    if label.effects.contains(&Effect::DefinesObjects) || label.control == Control::EndPrepared {
        return Definition::Everything;
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
        NodeEnum::ViewStmt(node) => view(node.view.as_ref()),
        NodeEnum::CreateSeqStmt(node) => relation(node.sequence.as_ref()),
        NodeEnum::SelectStmt(node) if label.reason == Reason::SelectInto => {
            relation(node.into_clause.as_ref().and_then(|into| into.rel.as_ref()))
        }
        NodeEnum::CreateFunctionStmt(node) => function(node),
        NodeEnum::DropStmt(node) => dropped(node),
        NodeEnum::CreateSchemaStmt(node) if node.schema_elts.is_empty() => {
            Definition::Named(Vec::new())
        }
        NodeEnum::CreateDomainStmt(node) => named_type(qualified(&node.domainname).1),
        NodeEnum::CreateEnumStmt(node) => named_type(qualified(&node.type_name).1),
        NodeEnum::CreateRangeStmt(node) => named_type(qualified(&node.type_name).1),
        NodeEnum::CompositeTypeStmt(node) => {
            named_type(node.typevar.as_ref().map_or("", |name| name.relname.as_str()))
        }
        NodeEnum::RenameStmt(node) => renamed(node),
        NodeEnum::AlterObjectSchemaStmt(node) => moved(node),
        _ => by_kind(label),
    }
}

/// A function that can be called with one argument can also be written like a column, which nobody
/// would look for by its name.
fn function(node: &CreateFunctionStmt) -> Definition {
    let modes = |parameter: &Node| match &parameter.node {
        Some(NodeEnum::FunctionParameter(of)) => Some((of.mode(), of.defexpr.is_some())),
        _ => None,
    };
    let (mut fewest, mut most) = (0, 0);
    for (mode, has_default) in node.parameters.iter().filter_map(modes) {
        match mode {
            FunctionParameterMode::FuncParamOut | FunctionParameterMode::FuncParamTable => {}
            _ => {
                most += 1;
                let is_optional = has_default || mode == FunctionParameterMode::FuncParamVariadic;
                fewest += usize::from(!is_optional);
            }
        }
    }
    if !node.is_procedure && fewest <= 1 && most >= 1 {
        return Definition::Everything;
    }
    Definition::Named(vec![qualified(&node.funcname).1.to_owned()])
}

fn named_type(name: &str) -> Definition {
    if builtins::is_type(None, name) { Definition::Everything } else { Definition::Anything }
}

/// Tables and their like, which are known by their names.
fn is_relation(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectSequence
            | ObjectType::ObjectMatview
            | ObjectType::ObjectForeignTable
            | ObjectType::ObjectIndex
    )
}

fn relation_named(name: &str) -> Definition {
    let is_own = builtins::relation(None, name).is_some() || builtins::is_type(None, name);
    if is_own { Definition::Everything } else { Definition::Anything }
}

fn renamed(node: &RenameStmt) -> Definition {
    match node.rename_type() {
        kind if is_relation(kind) => relation_named(&node.newname),
        ObjectType::ObjectColumn
        | ObjectType::ObjectTabconstraint
        | ObjectType::ObjectDomconstraint
        | ObjectType::ObjectPolicy
        | ObjectType::ObjectTrigger
        | ObjectType::ObjectRule => Definition::Anything,
        ObjectType::ObjectRole | ObjectType::ObjectDatabase | ObjectType::ObjectTablespace => {
            Definition::Nothing
        }
        _ => Definition::Everything,
    }
}

fn moved(node: &AlterObjectSchemaStmt) -> Definition {
    match &node.relation {
        Some(name) if is_relation(node.object_type()) => relation_named(&name.relname),
        _ => Definition::Everything,
    }
}

fn by_kind(label: &StatementLabel) -> Definition {
    let kind = match label.reason {
        // What EXPLAIN ANALYZE runs stands in its reason.
        Reason::Utility(kind) => kind,
        _ => label.kind,
    };
    if OF_EVERY_CONSEQUENCE.contains(&kind) {
        return Definition::Everything;
    }
    let defines = DEFINITIONS.iter().any(|word| kind.starts_with(word));
    if defines && !OF_NO_CONSEQUENCE.contains(&kind) {
        Definition::Anything
    } else {
        Definition::Nothing
    }
}

/// A partition belongs to its parent from now on, and who reads that reads it, too: no rows where it is
/// unlogged, and by its own checks and parts.
fn table(node: &CreateStmt) -> Definition {
    let unlogged = node.relation.as_ref().is_some_and(|name| name.relpersistence == UNLOGGED);
    let is_plain = !unlogged && node.table_elts.is_empty() && node.partspec.is_none();
    if !node.inh_relations.is_empty() && !is_plain {
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

/// Who reads a view before it is known may run anything.
fn view(name: Option<&RangeVar>) -> Definition {
    match relation(name) {
        Definition::Named(_) => {
            name.map_or(Definition::Everything, |name| relation_named(&name.relname))
        }
        other => other,
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
