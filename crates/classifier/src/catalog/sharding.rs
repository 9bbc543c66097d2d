//! A cluster that shards (Citus): what is alike on all of its nodes.
//!
//! Every node that has Citus's metadata answers a query on distributed, reference and managed local
//! tables, with the same rows wherever it is asked. Everything else is the coordinator's: a table that
//! Citus does not know does not exist on the workers, or exists there with other rows; the system
//! catalogs of two nodes have other objects under other numbers. What Citus has made on every node it
//! keeps in `pg_dist_partition` and `pg_dist_object` (Citus documentation, "Citus Tables and Views").

use crate::Verdict;

/// What is asked behind [`super::facts::QUESTIONS`] in a database that has Citus.
pub const QUESTIONS: &str = include_str!("sharding.sql");

/// What changes when the answers to [`QUESTIONS`] may have changed, as
/// [`super::facts::FINGERPRINT`] does for the others.
pub const FINGERPRINT: &str = "\
SELECT concat_ws(' ',
    (SELECT concat(count(*), ':', sum(hashint8extended((logicalrelid::oid::int8 << 32) | int8in(xidout(xmin)), 0))) FROM pg_dist_partition),
    (SELECT concat(count(*), ':', sum(hashint8extended((objid::int8 << 32) | int8in(xidout(xmin)), classid::int8))) FROM pg_dist_object))";

/// Whether a database has Citus: one row with one column, of a number.
pub const IS_SHARDED: &str = "SELECT count(*) FROM pg_extension WHERE extname = 'citus'";

/// Functions of PostgreSQL's own that are harmless on a standby, but look into the catalogs of the node
/// they run on; and beginnings of such names, with a star. Sorted.
const OF_CATALOGS: &[&str] = &[
    "amvalidate",
    "col_description",
    "current_schema*",
    "cursor_to_xml*",
    "database_to_xml*",
    "format_type",
    "get_current_ts_config",
    "has_*",
    "obj_description",
    "pg_collation_actual_version",
    "pg_collation_is_visible",
    "pg_column_is_updatable",
    "pg_conversion_is_visible",
    "pg_database_collation_actual_version",
    "pg_describe_object",
    "pg_filenode_relation",
    "pg_function_is_visible",
    "pg_get_*",
    "pg_has_role",
    "pg_identify_object*",
    "pg_index_column_has_property",
    "pg_index_has_property",
    "pg_indexam_has_property",
    "pg_is_other_temp_schema",
    "pg_my_temp_schema",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_partition_ancestors",
    "pg_partition_root",
    "pg_partition_tree",
    "pg_relation_*",
    "pg_sequence_*",
    "pg_statistics_obj_is_visible",
    "pg_table_is_visible",
    "pg_tablespace_*",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_type_is_visible",
    "pg_typeof",
    "query_to_xml*",
    "regclass",
    "regclassin",
    "regclassout",
    "regcollationin",
    "regcollationout",
    "regconfigin",
    "regconfigout",
    "regdictionaryin",
    "regdictionaryout",
    "regnamespacein",
    "regnamespaceout",
    "regoperatorin",
    "regoperatorout",
    "regoperin",
    "regoperout",
    "regprocedurein",
    "regprocedureout",
    "regprocin",
    "regprocout",
    "regrolein",
    "regroleout",
    "regtypein",
    "regtypeout",
    "row_security_active",
    "satisfies_hash_partition",
    "schema_to_xml*",
    "shobj_description",
    "table_to_xml*",
    "to_reg*",
    "ts_debug",
];

/// The types whose values are numbers of objects (manual, 8.19 "Object Identifier Types").
const NUMBERS_OF_OBJECTS: &[&str] = &[
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// Functions of Citus that change what its catalogs say of tables and nodes.
const DEFINERS: &[&str] = &[
    "alter_distributed_table",
    "alter_old_partitions_set_access_method",
    "alter_table_set_access_method",
    "citus_activate_node",
    "citus_add_*",
    "citus_disable_node",
    "citus_drain_node",
    "citus_drop_all_shards",
    "citus_finish_citus_upgrade",
    "citus_internal_*",
    "citus_remove_node",
    "citus_run_local_command",
    "citus_schema_*",
    "citus_set_coordinator_host",
    "citus_set_node_property",
    "citus_unmark_object_distributed",
    "citus_update_node",
    "create_citus_local_table",
    "create_distributed_*",
    "create_reference_table",
    "create_time_partitions",
    "drop_old_time_partitions",
    "master_activate_node",
    "master_add_*",
    "master_disable_node",
    "master_drain_node",
    "master_remove_*",
    "master_run_on_worker",
    "master_set_node_property",
    "master_unmark_object_distributed",
    "master_update_node",
    "remove_local_tables_from_metadata",
    "run_command_on_*",
    "start_metadata_sync_*",
    "stop_metadata_sync_*",
    "undistribute_table",
    "upgrade_to_reference_table",
];

/// What a function of PostgreSQL's own amounts to where every node has catalogs of its own.
pub(super) fn of_own_function(name: &str, verdict: Verdict) -> Verdict {
    if verdict == Verdict::Read && is_among(OF_CATALOGS, name) { Verdict::Primary } else { verdict }
}

/// True for a type of PostgreSQL's own whose values mean something on one node only.
pub(super) fn is_number_of_objects(name: &str) -> bool {
    NUMBERS_OF_OBJECTS.contains(&name)
}

/// True for a function of Citus that changes which tables every node has, or which nodes there are.
pub(super) fn defines(name: &str) -> bool {
    is_among(DEFINERS, name)
}

fn is_among(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *pattern == name,
    })
}
