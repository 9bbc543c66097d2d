//! Every other statement writes, or acts on the server it runs on. What is left to say is its kind,
//! and what it means for temporary objects.

use pg_query::protobuf::{DropStmt, LockStmt, ObjectType};
use pg_query::{Node, NodeEnum};

use super::Judge;
use super::constant::constant;
use crate::walk::{is_temporary_schema, qualified};
use crate::{Access, Effect, Pin, Reason, StatementLabel, Unpin};

/// The database that `CREATE DATABASE` copies unless told otherwise.
const DEFAULT_TEMPLATE: &str = "template1";
/// `AccessShareLock` of PostgreSQL's `lockdefs.h`: the lock every `SELECT` takes.
const ACCESS_SHARE_LOCK: i32 = 1;

impl Judge<'_> {
    pub(super) fn utility(&mut self, node: &NodeEnum, slice: &str) -> StatementLabel {
        if let NodeEnum::LockStmt(node) = node {
            return lock(node);
        }
        let kind = object_kind(node)
            .or_else(|| data_kind(node))
            .or_else(|| schema_kind(node))
            .or_else(|| administration_kind(node))
            .or_else(|| foreign_kind(node));
        let Some(kind) = kind else {
            return StatementLabel::new("UNKNOWN", Access::Write, Reason::UnknownNode);
        };
        let mut label = StatementLabel::new(kind, Access::Write, Reason::Utility(kind));
        if let Some(name) = database_alone(node) {
            label.effect(Effect::NeedsDatabaseAlone(name));
        }
        match node {
            NodeEnum::DropStmt(node) => dropped(node, &mut label),
            // A function, type or operator can live in pg_temp as well.
            _ if slice.to_ascii_lowercase().contains("pg_temp") => {
                label.effect(Effect::Pin(Pin::TemporaryObject(None)));
            }
            _ => {}
        }
        label
    }
}

/// `LOCK`. A standby grants the lock of a plain read, and there it means the same.
fn lock(node: &LockStmt) -> StatementLabel {
    if node.mode == ACCESS_SHARE_LOCK {
        return StatementLabel::new("LOCK TABLE", Access::Read, Reason::Harmless);
    }
    StatementLabel::new("LOCK TABLE", Access::Write, Reason::Utility("LOCK TABLE"))
}

/// Which temporary objects a `DROP` may have removed. A temporary relation or type hides any other of its
/// name, so an unqualified name that is pinned is the temporary one; a function has to be qualified.
fn dropped(node: &DropStmt, label: &mut StatementLabel) {
    let may_be_temporary = matches!(
        node.remove_type(),
        ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectSequence
            | ObjectType::ObjectType
            | ObjectType::ObjectDomain
            | ObjectType::ObjectFunction
            | ObjectType::ObjectProcedure
            | ObjectType::ObjectRoutine
            | ObjectType::ObjectAggregate
    );
    if !may_be_temporary {
        return;
    }
    for object in &node.objects {
        let parts = match &object.node {
            Some(NodeEnum::List(parts)) => &parts.items,
            Some(NodeEnum::TypeName(name)) => &name.names,
            Some(NodeEnum::ObjectWithArgs(name)) => &name.objname,
            _ => continue,
        };
        let (schema, name) = qualified(parts);
        if schema.is_none() || is_temporary_schema(schema) {
            label.effect(Effect::Unpin(Unpin::Dropped(name.to_owned())));
        }
    }
}

/// The database that nobody else may be connected to while the statement runs. Manual: `DROP DATABASE`,
/// `ALTER DATABASE` (RENAME, SET TABLESPACE), `CREATE DATABASE` (TEMPLATE).
fn database_alone(node: &NodeEnum) -> Option<String> {
    let option = |options: &[Node], name: &str| {
        options.iter().find_map(|option| match &option.node {
            Some(NodeEnum::DefElem(option)) if option.defname == name => {
                option.arg.as_deref().and_then(constant).and_then(|value| value.as_text())
            }
            _ => None,
        })
    };
    match node {
        NodeEnum::DropdbStmt(node) => Some(node.dbname.clone()),
        NodeEnum::CreatedbStmt(node) => {
            Some(option(&node.options, "template").unwrap_or_else(|| DEFAULT_TEMPLATE.to_owned()))
        }
        NodeEnum::AlterDatabaseStmt(node) => {
            option(&node.options, "tablespace").map(|_| node.dbname.clone())
        }
        NodeEnum::RenameStmt(node) if node.rename_type() == ObjectType::ObjectDatabase => {
            Some(node.subname.clone())
        }
        _ => None,
    }
}

/// Objects of any type.
fn object_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::DropStmt(_) => "DROP",
        NodeEnum::RenameStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::AlterObjectSchemaStmt(_)
        | NodeEnum::AlterObjectDependsStmt(_) => "ALTER",
        NodeEnum::DefineStmt(_) => "CREATE",
        NodeEnum::CommentStmt(_) => "COMMENT",
        NodeEnum::SecLabelStmt(_) => "SECURITY LABEL",
        NodeEnum::GrantStmt(node) => {
            if node.is_grant {
                "GRANT"
            } else {
                "REVOKE"
            }
        }
        NodeEnum::GrantRoleStmt(node) => {
            if node.is_grant {
                "GRANT ROLE"
            } else {
                "REVOKE ROLE"
            }
        }
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES",
        NodeEnum::DropOwnedStmt(_) => "DROP OWNED",
        NodeEnum::ReassignOwnedStmt(_) => "REASSIGN OWNED",
        _ => return None,
    })
}

/// Tables and what belongs to them.
fn data_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::TruncateStmt(_) => "TRUNCATE TABLE",
        NodeEnum::AlterTableStmt(_) => "ALTER TABLE",
        NodeEnum::AlterTableMoveAllStmt(_) => "ALTER TABLE",
        NodeEnum::IndexStmt(_) => "CREATE INDEX",
        NodeEnum::AlterSeqStmt(_) => "ALTER SEQUENCE",
        NodeEnum::RefreshMatViewStmt(_) => "REFRESH MATERIALIZED VIEW",
        NodeEnum::CreateTrigStmt(_) => "CREATE TRIGGER",
        NodeEnum::RuleStmt(_) => "CREATE RULE",
        NodeEnum::CreatePolicyStmt(_) => "CREATE POLICY",
        NodeEnum::AlterPolicyStmt(_) => "ALTER POLICY",
        NodeEnum::CreateStatsStmt(_) => "CREATE STATISTICS",
        NodeEnum::AlterStatsStmt(_) => "ALTER STATISTICS",
        NodeEnum::NotifyStmt(_) => "NOTIFY",
        _ => return None,
    })
}

/// Schemas, types, functions, operators.
fn schema_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateSchemaStmt(_) => "CREATE SCHEMA",
        NodeEnum::CreateFunctionStmt(_) => "CREATE FUNCTION",
        NodeEnum::AlterFunctionStmt(_) => "ALTER FUNCTION",
        NodeEnum::CreatePlangStmt(_) => "CREATE LANGUAGE",
        NodeEnum::CreateDomainStmt(_) => "CREATE DOMAIN",
        NodeEnum::AlterDomainStmt(_) => "ALTER DOMAIN",
        NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CreateRangeStmt(_) => "CREATE TYPE",
        NodeEnum::AlterEnumStmt(_) | NodeEnum::AlterTypeStmt(_) => "ALTER TYPE",
        NodeEnum::AlterCollationStmt(_) => "ALTER COLLATION",
        NodeEnum::CreateCastStmt(_) => "CREATE CAST",
        NodeEnum::CreateTransformStmt(_) => "CREATE TRANSFORM",
        NodeEnum::CreateConversionStmt(_) => "CREATE CONVERSION",
        NodeEnum::CreateOpClassStmt(_) => "CREATE OPERATOR CLASS",
        NodeEnum::CreateOpFamilyStmt(_) => "CREATE OPERATOR FAMILY",
        NodeEnum::AlterOpFamilyStmt(_) => "ALTER OPERATOR FAMILY",
        NodeEnum::AlterOperatorStmt(_) => "ALTER OPERATOR",
        NodeEnum::AlterTsdictionaryStmt(_) => "ALTER TEXT SEARCH DICTIONARY",
        NodeEnum::AlterTsconfigurationStmt(_) => "ALTER TEXT SEARCH CONFIGURATION",
        NodeEnum::CreateAmStmt(_) => "CREATE ACCESS METHOD",
        NodeEnum::CreateEventTrigStmt(_) => "CREATE EVENT TRIGGER",
        NodeEnum::AlterEventTrigStmt(_) => "ALTER EVENT TRIGGER",
        _ => return None,
    })
}

/// Databases, roles and the server.
fn administration_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreatedbStmt(_) => "CREATE DATABASE",
        NodeEnum::DropdbStmt(_) => "DROP DATABASE",
        NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_) => "ALTER DATABASE",
        NodeEnum::CreateRoleStmt(_) => "CREATE ROLE",
        NodeEnum::AlterRoleStmt(_) | NodeEnum::AlterRoleSetStmt(_) => "ALTER ROLE",
        NodeEnum::DropRoleStmt(_) => "DROP ROLE",
        NodeEnum::CreateTableSpaceStmt(_) => "CREATE TABLESPACE",
        NodeEnum::DropTableSpaceStmt(_) => "DROP TABLESPACE",
        NodeEnum::AlterTableSpaceOptionsStmt(_) => "ALTER TABLESPACE",
        NodeEnum::AlterSystemStmt(_) => "ALTER SYSTEM",
        NodeEnum::VacuumStmt(node) => {
            if node.is_vacuumcmd {
                "VACUUM"
            } else {
                "ANALYZE"
            }
        }
        NodeEnum::ClusterStmt(_) => "CLUSTER",
        NodeEnum::ReindexStmt(_) => "REINDEX",
        NodeEnum::CheckPointStmt(_) => "CHECKPOINT",
        NodeEnum::CreateExtensionStmt(_) => "CREATE EXTENSION",
        NodeEnum::AlterExtensionStmt(_) | NodeEnum::AlterExtensionContentsStmt(_) => {
            "ALTER EXTENSION"
        }
        _ => return None,
    })
}

/// Foreign data and logical replication.
fn foreign_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateFdwStmt(_) => "CREATE FOREIGN DATA WRAPPER",
        NodeEnum::AlterFdwStmt(_) => "ALTER FOREIGN DATA WRAPPER",
        NodeEnum::CreateForeignServerStmt(_) => "CREATE SERVER",
        NodeEnum::AlterForeignServerStmt(_) => "ALTER SERVER",
        NodeEnum::CreateForeignTableStmt(_) => "CREATE FOREIGN TABLE",
        NodeEnum::ImportForeignSchemaStmt(_) => "IMPORT FOREIGN SCHEMA",
        NodeEnum::CreateUserMappingStmt(_) => "CREATE USER MAPPING",
        NodeEnum::AlterUserMappingStmt(_) => "ALTER USER MAPPING",
        NodeEnum::DropUserMappingStmt(_) => "DROP USER MAPPING",
        NodeEnum::CreatePublicationStmt(_) => "CREATE PUBLICATION",
        NodeEnum::AlterPublicationStmt(_) => "ALTER PUBLICATION",
        NodeEnum::CreateSubscriptionStmt(_) => "CREATE SUBSCRIPTION",
        NodeEnum::AlterSubscriptionStmt(_) => "ALTER SUBSCRIPTION",
        NodeEnum::DropSubscriptionStmt(_) => "DROP SUBSCRIPTION",
        _ => return None,
    })
}
