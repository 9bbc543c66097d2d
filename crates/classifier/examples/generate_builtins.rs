//! Writes the tables in `src/builtins` from the catalog of a running PostgreSQL.
//!
//! ```sh
//! PGHOST=… PGPORT=… cargo run --example generate_builtins -- functions > functions.rs.new
//! ```
//!
//! The argument is the table: `functions`, `fields`, `types`, `operators` or `relations`, in this order,
//! because fields and views are judged with the functions' table. The server is asked through `psql`, which must be in the path.
//!
//! The rule for functions: what is immutable or stable is harmless, what is volatile writes. Below
//! stand the exceptions, each with its reason; those that claim harmlessness are called on a primary
//! and on a hot standby by the tests in `tests/standby.rs`.

#![allow(clippy::print_stdout, reason = "the generated source goes to standard output")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::Command;

use pgweir_classifier::{Access, Catalog, Options, Verdict, classify};

/// Exceptions to the rule by volatility: a name, or a beginning of names with a star; the first match
/// counts.
const EXCEPTIONS: &[(&str, Verdict, &str)] = {
    use Verdict::{Primary, Read, RunsText, Write};
    &[
        // Volatile and harmless: time and chance.
        ("clock_timestamp", Read, "time"),
        ("timeofday", Read, "time"),
        ("random", Read, "chance"),
        ("gen_random_uuid", Read, "chance"),
        ("pg_sleep*", Read, "waits"),
        ("current_query", Read, "the text that was sent"),
        // Volatile and harmless: reads of replicated catalogs.
        ("pg_partition_tree", Read, "reads pg_inherits"),
        ("pg_partition_ancestors", Read, "reads pg_inherits"),
        ("amvalidate", Read, "reads operator classes"),
        // The session's own state, judged by their arguments and carried with the session.
        ("set_config", Read, "SET; see walk::function"),
        ("current_setting", Read, "SHOW; see walk::function"),
        ("setseed", Primary, "the series of random() is on one connection"),
        ("pg_advisory_unlock*", Read, "a held lock pins; without one it only warns"),
        ("pg_advisory_*", Primary, "excludes nobody on another server"),
        ("pg_try_advisory_*", Primary, "excludes nobody on another server"),
        ("currval", Primary, "remembered by one connection"),
        ("lastval", Primary, "remembered by one connection"),
        ("pg_listening_channels", Primary, "remembered by one connection"),
        ("pg_cursor", Primary, "remembered by one connection"),
        ("pg_prepared_statement", Primary, "remembered by one connection"),
        ("pg_export_snapshot", Primary, "can be imported on the same server only"),
        ("cursor_to_xml*", Primary, "works on an open cursor"),
        // Not volatile and yet a write.
        ("txid_current", Write, "assigns a transaction number"),
        ("pg_current_xact_id", Write, "assigns a transaction number"),
        // SQL or relations out of sight.
        ("query_to_xml*", RunsText, "its argument is SQL"),
        ("table_to_xml", RunsText, "reads a relation named by a value"),
        ("table_to_xml_and_xmlschema", RunsText, "reads a relation named by a value"),
        ("schema_to_xml", RunsText, "reads every relation of a schema"),
        ("schema_to_xml_and_xmlschema", RunsText, "reads every relation of a schema"),
        ("database_to_xml", RunsText, "reads every relation"),
        ("database_to_xml_and_xmlschema", RunsText, "reads every relation"),
        ("ts_stat", RunsText, "its argument is SQL"),
        ("ts_rewrite", RunsText, "its argument may be SQL"),
        // Types and tables out of sight, and so their checks and classes of operators.
        ("array_in", RunsText, "its argument is a type"),
        ("domain_in", RunsText, "its argument is a type"),
        ("multirange_in", RunsText, "its argument is a type"),
        ("range_in", RunsText, "its argument is a type"),
        ("record_in", RunsText, "its argument is a type"),
        ("satisfies_hash_partition", RunsText, "its argument is a table"),
        // What statistics say is one server's own. Resetting them acts on it.
        ("pg_stat_reset*", Write, "acts on one server"),
        ("pg_stat_*", Primary, "one server's own"),
        // Positions, transactions and replication.
        ("pg_is_in_recovery", Primary, "tells servers apart"),
        ("pg_is_wal_replay_paused", Primary, "tells servers apart"),
        ("pg_get_wal_*", Primary, "tells servers apart"),
        ("pg_current_wal_*", Primary, "refused by a standby"),
        ("pg_walfile_name*", Primary, "refused by a standby"),
        ("pg_last_*", Primary, "tells servers apart"),
        ("pg_current_snapshot", Primary, "one server's view"),
        ("txid_current_snapshot", Primary, "one server's view"),
        ("pg_xact_status", Primary, "one server's view"),
        ("txid_status", Primary, "one server's view"),
        ("pg_xact_commit_timestamp*", Primary, "depends on track_commit_timestamp"),
        ("pg_get_multixact_members", Primary, "one server's view"),
        ("pg_prepared_xact", Primary, "one server's view"),
        ("pg_sequence_last_value", Primary, "a standby sees it ahead"),
        ("pg_get_replication_slots", Primary, "one server's own"),
        ("pg_replication_origin_oid", Primary, "refused by a standby"),
        ("pg_replication_origin_progress", Primary, "one server's own"),
        ("pg_replication_origin_session_is_setup", Primary, "remembered by one connection"),
        ("pg_replication_origin_session_progress", Primary, "remembered by one connection"),
        ("pg_show_replication_origin_status", Primary, "one server's own"),
        // Processes, locks, memory, build, clock of the server.
        ("pg_backend_pid", Primary, "tells connections apart"),
        ("pg_postmaster_start_time", Primary, "tells servers apart"),
        ("pg_conf_load_time", Primary, "tells servers apart"),
        ("pg_config", Primary, "one server's build"),
        ("pg_jit_available", Primary, "one server's build"),
        ("version", Primary, "minor versions may differ"),
        ("pg_lock_status", Primary, "one server's own"),
        ("pg_blocking_pids", Primary, "one server's own"),
        ("pg_safe_snapshot_blocking_pids", Primary, "one server's own"),
        ("pg_isolation_test_session_is_blocked", Primary, "one server's own"),
        ("pg_notification_queue_usage", Primary, "one server's own"),
        ("pg_get_backend_memory_contexts", Primary, "one server's own"),
        ("pg_get_shmem_allocations", Primary, "one server's own"),
        ("inet_server_*", Primary, "tells servers apart"),
        ("inet_client_*", Primary, "tells connections apart"),
        // Settings and files of the server; what its operating system offers.
        ("pg_show_all_settings", Primary, "one server's settings"),
        ("pg_show_all_file_settings", Primary, "one server's files"),
        ("pg_settings_get_flags", Primary, "one server's settings"),
        ("pg_hba_file_rules", Primary, "one server's files"),
        ("pg_ident_file_mappings", Primary, "one server's files"),
        ("pg_control_*", Primary, "one server's files"),
        ("pg_current_logfile", Primary, "one server's files"),
        ("pg_ls_*", Primary, "one server's files"),
        ("pg_read_*", Primary, "one server's files"),
        ("pg_tablespace_databases", Primary, "one server's files"),
        ("pg_tablespace_location", Primary, "one server's files"),
        ("pg_available_extension*", Primary, "one server's files"),
        ("pg_extension_update_paths", Primary, "one server's files"),
        ("pg_collation_actual_version", Primary, "one server's libraries"),
        ("pg_database_collation_actual_version", Primary, "one server's libraries"),
        // Sizes on disk: free space maps are not replicated exactly.
        ("pg_relation_size", Primary, "one server's files"),
        ("pg_table_size", Primary, "one server's files"),
        ("pg_indexes_size", Primary, "one server's files"),
        ("pg_total_relation_size", Primary, "one server's files"),
        ("pg_database_size", Primary, "one server's files"),
        ("pg_tablespace_size", Primary, "one server's files"),
        // Large objects: a read, but by rule the primary's.
        ("lo_get", Primary, "large objects live on the primary"),
    ]
};

/// Callable functions of PostgreSQL's own schemas, one row per overload. Functions for internal use
/// only cannot be called from SQL. A type's name can be called like a function: it is a cast.
const FUNCTIONS: &str = "
    SELECT n.nspname, p.proname, p.provolatile
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('pg_catalog', 'information_schema')
      AND NOT 'internal'::pg_catalog.regtype = ANY (p.proargtypes)
      AND p.prorettype NOT IN (
          SELECT oid FROM pg_catalog.pg_type
          WHERE typname IN ('internal', 'trigger', 'event_trigger') OR typname ~ '_handler$')
    UNION ALL
    SELECT 'pg_catalog', typname, 'i' FROM pg_catalog.pg_type
    WHERE typnamespace = 'pg_catalog'::pg_catalog.regnamespace
      AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A'
    ORDER BY 1, 2";

/// Operators whose functions are all immutable or stable; PostgreSQL has no others.
const OPERATORS: &str = "
    SELECT o.oprname, o.oprkind, ''
    FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
    WHERE o.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace
    GROUP BY 1, 2
    HAVING pg_catalog.bool_and(p.provolatile <> 'v')
    ORDER BY 1";

const FIELDS: &str = "SELECT DISTINCT proname COLLATE \"C\", '', '' FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind <> 'p'
      AND pronargs - pronargdefaults <= 1 AND (pronargs >= 1 OR provariadic <> 0)
      AND NOT 'internal'::regtype = ANY (proargtypes) ORDER BY 1";

const TYPES: &str = "SELECT DISTINCT typname COLLATE \"C\", '', '' FROM pg_type
    WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype <> 'c'
      AND (typcategory <> 'A' OR typname IN ('int2vector', 'oidvector'))
    ORDER BY 1";

/// Tables and views of PostgreSQL's own schemas, with the views' definitions on one line.
const RELATIONS: &str = "
    SELECT n.nspname, c.relname,
           CASE c.relkind WHEN 'v' THEN
               pg_catalog.regexp_replace(pg_catalog.pg_get_viewdef(c.oid), '\\s+', ' ', 'g')
           ELSE '' END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v')
    ORDER BY 1, 2";

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("functions") => functions(),
        Some("fields") => fields(),
        Some("types") => types(),
        Some("operators") => operators(),
        Some("relations") => relations(),
        _ => Err("usage: generate_builtins functions|fields|types|operators|relations".into()),
    }
}

fn functions() -> Result<(), Box<dyn Error>> {
    let mut tables = BTreeMap::new();
    for [schema, name, volatility] in query(FUNCTIONS)? {
        let verdict = verdict(&name, &volatility);
        let known = tables.entry((schema, name)).or_insert(verdict);
        // The strictest overload decides.
        *known = (*known).max(verdict);
    }
    let select = |schema: &str, verdict: Verdict| {
        let names = tables.iter().filter(|((s, _), v)| s == schema && **v == verdict);
        names.map(|((_, name), _)| name.as_str()).collect::<Vec<_>>()
    };
    head("PostgreSQL's own functions.");
    table(
        "READ",
        "Harmless on a standby, and the answer is the same.",
        &select("pg_catalog", Verdict::Read),
    );
    table(
        "PRIMARY",
        "Only the primary's answer is right.",
        &select("pg_catalog", Verdict::Primary),
    );
    table(
        "WRITE",
        "They write, or act on the server they run on.",
        &select("pg_catalog", Verdict::Write),
    );
    table(
        "RUNS_TEXT",
        "They run SQL, or read relations, that are given as values.",
        &select("pg_catalog", Verdict::RunsText),
    );
    table(
        "INFORMATION_SCHEMA",
        "Those of `information_schema`, all of them harmless.",
        &select("information_schema", Verdict::Read),
    );
    Ok(())
}

fn verdict(name: &str, volatility: &str) -> Verdict {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    match EXCEPTIONS.iter().find(|(pattern, ..)| matches(pattern)) {
        Some((_, verdict, _)) => *verdict,
        None if volatility == "v" => Verdict::Write,
        None => Verdict::Read,
    }
}

/// Functions that can be called as `value.name`, and that are not harmless.
fn fields() -> Result<(), Box<dyn Error>> {
    let catalog = Catalog::builtin();
    let rows = query(FIELDS)?;
    let names: Vec<_> = rows
        .iter()
        .map(|[name, ..]| name.as_str())
        .filter(|name| catalog.function(None, name) != Verdict::Read)
        .collect();
    head("PostgreSQL's own functions of one argument that are not harmless.");
    table("FIELDS", "Names that may be written like a column's: `value.name`.", &names);
    Ok(())
}

fn types() -> Result<(), Box<dyn Error>> {
    let rows = query(TYPES)?;
    let names: Vec<_> = rows.iter().map(|[name, ..]| name.as_str()).collect();
    head("PostgreSQL's own types.");
    table("TYPES", "Names of types; arrays and rows of tables left out.", &names);
    Ok(())
}

fn operators() -> Result<(), Box<dyn Error>> {
    let rows = query(OPERATORS)?;
    let of_kind = |wanted: &str| {
        let rows = rows.iter().filter(|[_, kind, _]| kind == wanted);
        let mut names: Vec<_> = rows.map(|[name, ..]| name.as_str()).collect();
        names.sort_unstable();
        names
    };
    head("PostgreSQL's own operators, none of which writes.");
    table("PREFIX", "Those with one operand, behind them.", &of_kind("l"));
    table("BINARY", "Those with two.", &of_kind("b"));
    Ok(())
}

/// A view is what its definition is: what its functions are, and what the relations are that it names.
/// The latter is repeated until nothing changes.
fn relations() -> Result<(), Box<dyn Error>> {
    let rows = query(RELATIONS)?;
    let known: BTreeSet<String> = rows
        .iter()
        .flat_map(|[schema, name, _]| [name.clone(), format!("{schema}.{name}")])
        .collect();
    let mut primary = BTreeSet::new();
    for [schema, name, definition] in &rows {
        if calls_one_servers_state(definition, &known) {
            primary.extend([name.clone(), format!("{schema}.{name}")]);
        }
    }
    loop {
        let before = primary.len();
        for [schema, name, definition] in &rows {
            if words(definition).any(|word| primary.contains(word)) {
                primary.extend([name.clone(), format!("{schema}.{name}")]);
            }
        }
        if primary.len() == before {
            break;
        }
    }
    let select = |schema: &str| {
        let rows = rows
            .iter()
            .filter(|[s, name, _]| s == schema && !primary.contains(&format!("{s}.{name}")));
        let mut names: Vec<_> = rows.map(|[_, name, _]| name.as_str()).collect();
        names.sort_unstable();
        names
    };
    head("Relations of PostgreSQL's own schemas.");
    table("READ", "Replicated tables, and views that show nothing else.", &select("pg_catalog"));
    table(
        "INFORMATION_SCHEMA",
        "The same for `information_schema`.",
        &select("information_schema"),
    );
    Ok(())
}

/// True if a view's functions show one server's state, whatever its relations are: these are replaced
/// by names that mean nothing.
fn calls_one_servers_state(definition: &str, known: &BTreeSet<String>) -> bool {
    let mut neutral = String::new();
    let mut rest = definition;
    for word in words(definition) {
        let Some((before, after)) = rest.split_once(word) else {
            continue;
        };
        neutral.push_str(before);
        let is_relation = known.contains(word) && !after.starts_with('(');
        neutral.push_str(if is_relation { "some_table" } else { word });
        rest = after;
    }
    neutral.push_str(rest);
    let label = classify(neutral.as_bytes(), Options::default(), &Catalog::builtin());
    label.access > Access::Read
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .filter(|word| !word.is_empty())
}

/// Rows of three columns.
fn query(sql: &str) -> Result<Vec<[String; 3]>, Box<dyn Error>> {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--field-separator=\t"])
        .args(["--set=ON_ERROR_STOP=1", "--command", sql])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let rows = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut columns = line.splitn(3, '\t').map(str::to_owned);
        std::array::from_fn(|_| columns.next().unwrap_or_default())
    });
    Ok(rows.collect())
}

fn head(title: &str) {
    println!(
        "//! {title} Generated by `examples/generate_builtins.rs` from PostgreSQL 15; sorted."
    );
}

fn table(name: &str, documentation: &str, names: &[&str]) {
    println!("\n/// {documentation}");
    println!("#[rustfmt::skip]");
    println!("pub(super) static {name}: &[&str] = &[");
    let mut line = String::new();
    for name in names {
        let item = format!("{name:?},");
        if line.len() + item.len() > 90 {
            println!("    {}", line.trim_end());
            line.clear();
        }
        line.push_str(&item);
        line.push(' ');
    }
    println!("    {}", line.trim_end());
    println!("];");
}
