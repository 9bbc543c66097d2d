//! Functions of well-known extensions whose declarations do not tell what they do: volatile ones that
//! are harmless, and stable ones that run SQL which they are given. PostgreSQL's contrib modules, by
//! the manual's appendix "Additional Supplied Modules" and their sources, and PostGIS.

use super::names::Traits;
use crate::Verdict;

/// An extension, a function of it (or a beginning of names, with a star), what it amounts to.
const FUNCTIONS: &[(&str, &str, Verdict)] = {
    use Verdict::{Primary, Read, RunsText, Write};
    &[
        // Chance and time.
        ("pgcrypto", "gen_random_bytes", Read),
        ("pgcrypto", "gen_random_uuid", Read),
        ("pgcrypto", "gen_salt", Read),
        ("pgcrypto", "pgp_pub_encrypt*", Read),
        ("pgcrypto", "pgp_sym_encrypt*", Read),
        ("uuid-ossp", "*", Read),
        ("tablefunc", "normal_rand", Read),
        // They run SQL, or read relations, that they are given as text.
        ("tablefunc", "crosstab*", RunsText),
        ("tablefunc", "connectby", RunsText),
        ("xml2", "xpath_table", RunsText),
        ("dblink", "*", Write),
        // It is declared immutable, and switches what the backend takes for valid.
        ("isn", "isn_weak", Primary),
        ("lo", "*", Write),
        // One server's own: its memory, its files, its statistics.
        ("pg_stat_statements", "pg_stat_statements_reset", Write),
        ("pg_stat_statements", "*", Primary),
        ("pg_buffercache", "*", Primary),
        ("pg_freespacemap", "*", Primary),
        ("pg_prewarm", "*", Write),
        ("pg_visibility", "pg_truncate_visibility_map", Write),
        ("pg_visibility", "*", Primary),
        ("pgrowlocks", "*", Primary),
        ("pgstattuple", "*", Primary),
        ("pageinspect", "*", Primary),
        ("pg_walinspect", "*", Primary),
        ("pg_surgery", "*", Write),
        ("amcheck", "*", Primary),
        ("sslinfo", "*", Primary),
        ("adminpack", "*", Write),
        ("postgres_fdw", "postgres_fdw_get_connections", Primary),
        // Citus: what it does for queries, what it says of the cluster, and what it does to it.
        ("citus", "any_value*", Read),
        ("citus", "array_cat_agg", Read),
        ("citus", "cluster_clock_*", Read),
        ("citus", "json_cat_agg", Read),
        ("citus", "jsonb_cat_agg", Read),
        ("citus", "citus_text_send_as_jsonb", Read),
        ("citus", "run_command_on_*", RunsText),
        ("citus", "master_run_on_worker", RunsText),
        ("citus", "citus_run_local_command", RunsText),
        ("citus", "citus_backend_gpid", Primary),
        ("citus", "citus_blocking_pids", Primary),
        ("citus", "citus_calculate_gpid", Primary),
        ("citus", "citus_check_c*", Primary),
        ("citus", "citus_coordinator_nodeid", Primary),
        ("citus", "citus_executor_name", Primary),
        ("citus", "citus_get_active_worker_nodes", Primary),
        ("citus", "citus_is_*", Primary),
        ("citus", "citus_job_list", Primary),
        ("citus", "citus_job_status", Primary),
        ("citus", "citus_local_disk_space_stats", Primary),
        ("citus", "citus_locks", Primary),
        ("citus", "citus_node*", Primary),
        ("citus", "citus_pid_for_gpid", Primary),
        ("citus", "citus_query_stats", Primary),
        ("citus", "citus_rebalance_status", Primary),
        ("citus", "citus_relation_size", Primary),
        ("citus", "citus_remote_connection_stats", Primary),
        ("citus", "citus_server_id", Primary),
        ("citus", "citus_shard_indexes_on_worker", Primary),
        ("citus", "citus_shard_sizes", Primary),
        ("citus", "citus_shards_on_worker", Primary),
        ("citus", "citus_stat_statements_reset", Write),
        ("citus", "citus_stat_tenants_reset", Write),
        ("citus", "citus_stat_tenants_local_reset", Write),
        ("citus", "citus_stat_*", Primary),
        ("citus", "citus_table_*", Primary),
        ("citus", "citus_total_relation_size", Primary),
        ("citus", "citus_version", Primary),
        ("citus", "column_name_to_column", Primary),
        ("citus", "column_to_column_name", Primary),
        ("citus", "distributed_tables_colocated", Primary),
        ("citus", "dump_global_wait_edges", Primary),
        ("citus", "dump_local_wait_edges", Primary),
        ("citus", "find_groupid_for_node", Primary),
        ("citus", "get_*", Primary),
        ("citus", "master_get_active_worker_nodes", Primary),
        ("citus", "master_get_table_ddl_events", Primary),
        ("citus", "relation_is_a_known_shard", Primary),
        ("citus", "role_exists", Primary),
        ("citus", "shard_name", Primary),
        ("citus", "time_partition_range", Primary),
        ("citus", "*", Write),
        ("citus_columnar", "*", Write),
    ]
};

/// Functions that leave state in their libraries, which nobody can ask a server for, nor undo.
const KEEPERS: &[(&str, &str)] = &[("dblink", "dblink_connect*"), ("isn", "isn_weak")];

/// What a function of an extension amounts to, if its declaration does not tell.
pub(crate) fn function(extension: &str, name: &str) -> Option<Verdict> {
    let found =
        FUNCTIONS.iter().find(|(of, pattern, _)| *of == extension && matches(pattern, name));
    found.map(|(.., verdict)| *verdict)
}

/// What it leaves behind in its session besides.
pub(crate) fn traits(extension: &str, name: &str) -> Traits {
    let keeps = |(of, pattern): &(&str, &str)| *of == extension && matches(pattern, name);
    if KEEPERS.iter().any(keeps) { Traits::KEEPS_STATE } else { Traits::NONE }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}
