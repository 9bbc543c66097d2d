//! Reads on a cluster that shards: only what every node has, and answers alike, leaves the coordinator.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use pgweir_classifier::catalog::facts::Row;
use pgweir_classifier::{Access, Catalog, Definition, Label, Options, classify};

/// A database with a distributed, a reference and a local table, as it answers the questions.
const ROWS: &str = "\
r|20001|public|orders|rp
r|20002|public|countries|rp
r|20003|public|notes|rp
r|20004|public|v_orders|vp
r|20005|public|v_notes|vp
r|20006|public|totals|mp
r|20007|public|orders_id_seq|Sp
r|20008|public|v_alone|vp
r|20009|pg_catalog|pg_dist_node|rp
r|20010|pg_catalog|citus_tables|vp
r|20011|public|logged_orders|ru
r|1259|pg_catalog|pg_class|rp
t|21001|public|orders|c
t|21003|public|notes|c
t|21100|public|mood|e
t|21101|public|span|r
o|22001|public|===|b
f|23001|public|f_orders|f|sql|s|0|0|select count(*) from orders||||
f|23002|public|f_notes|f|sql|s|0|0|select count(*) from notes||||
f|23003|public|f_alone|f|sql|s|0|0|select 1||||
f|23004|public|f_classes|f|sql|s|0|0|select count(*) from pg_class||||
f|23005|public|f_distributes|f|plpgsql|v|0|0|begin perform create_distributed_table('t', 'id'); end||||
f|23010|pg_catalog|create_distributed_table|f|c|v|2|2|||||citus
f|23011|pg_catalog|citus_version|f|c|s|0|0|||||citus
f|23012|pg_catalog|citus_move_shard_placement|f|c|v|5|6|||||citus
f|23013|pg_catalog|undistribute_table|f|c|v|1|2|||||citus
f|23020|public|st_area|f|c|i|1|1|||||postgis
f|23021|public|similarity|f|c|i|2|2|||||pg_trgm
e|r|20001|type|21001
e|r|20003|type|21003
e|r|20004|relid|20001
e|r|20005|relid|20003
e|r|20008|relid|20001
e|r|20010|relid|1259
s|r|20001
s|r|20002
s|r|20004
s|r|20011
s|t|21001
s|t|21100
s|p|23001
s|p|23002
s|p|23004
s|p|23005
s|p|23010
s|p|23011
s|p|23012
s|p|23013
s|p|23021";

/// Of functions: the cells that a row has beyond those that are written above it.
const FUNCTION_CELLS: usize = 13;

fn rows() -> Vec<Row> {
    ROWS.lines()
        .map(|line| {
            let cells = line.split('|');
            let mut row: Row = cells.map(|cell| (!cell.is_empty()).then(|| cell.into())).collect();
            match row.first() {
                Some(Some(kind)) if kind == "f" => {
                    // The extension's name is the last cell.
                    let extension = row.pop().flatten();
                    row.resize(FUNCTION_CELLS - 1, None);
                    row.push(extension);
                }
                _ => {}
            }
            row
        })
        .collect()
}

fn sharded() -> Catalog {
    Catalog::builtin().with_sharding().with_database(rows()).expect("usable answers")
}

fn label(sql: &str, catalog: &Catalog) -> Label {
    classify(sql.as_bytes(), Options::default(), catalog)
}

/// A statement, its class, and the reason in full.
const CASES: &[(&str, Access, &str)] = {
    use Access::{Primary, Read, Write};
    &[
        ("SELECT 1", Read, "harmless"),
        ("SELECT now(), random(), upper('a')", Read, "harmless"),
        ("SELECT * FROM orders", Read, "harmless"),
        ("SELECT count(*) FROM public.orders JOIN countries USING (id)", Read, "harmless"),
        ("SELECT * FROM v_orders", Read, "harmless"),
        ("SELECT f_orders()", Read, "harmless"),
        ("COPY (SELECT * FROM orders) TO STDOUT", Read, "harmless"),
        ("SELECT 'sad'::mood, similarity('a', 'b')", Read, "harmless"),
        ("SELECT * FROM notes", Primary, "coordinator_only (notes)"),
        ("SELECT * FROM orders JOIN notes USING (id)", Primary, "coordinator_only (notes)"),
        (
            "SELECT * FROM orders WHERE id IN (SELECT id FROM notes)",
            Primary,
            "coordinator_only (notes)",
        ),
        ("SELECT * FROM v_notes", Primary, "coordinator_only (v_notes)"),
        ("SELECT * FROM v_alone", Primary, "coordinator_only (v_alone)"),
        ("SELECT * FROM totals", Primary, "coordinator_only (totals)"),
        ("SELECT last_value FROM orders_id_seq", Primary, "sequence_state (orders_id_seq)"),
        ("SELECT * FROM logged_orders", Primary, "unlogged_relation (logged_orders)"),
        ("SELECT f_notes()", Primary, "coordinator_only (f_notes > notes)"),
        ("SELECT f_alone()", Primary, "coordinator_only (f_alone)"),
        ("SELECT f_classes()", Primary, "server_relation (f_classes > pg_class)"),
        ("SELECT st_area(1)", Primary, "coordinator_only (st_area)"),
        ("SELECT 1 === 1", Primary, "coordinator_only (===)"),
        ("SELECT '[1,2]'::span", Primary, "coordinator_only (span)"),
        ("SELECT * FROM pg_class", Primary, "server_relation (pg_class)"),
        ("SELECT * FROM pg_catalog.pg_attribute", Primary, "server_relation (pg_attribute)"),
        ("SELECT * FROM information_schema.tables", Primary, "server_relation (tables)"),
        ("SELECT * FROM pg_dist_node", Primary, "coordinator_only (pg_dist_node)"),
        ("SELECT * FROM citus_tables", Primary, "coordinator_only (citus_tables)"),
        ("SELECT citus_version()", Primary, "server_function (citus_version)"),
        ("SELECT 'orders'::regclass", Primary, "server_function (regclass)"),
        ("SELECT to_regclass('orders')", Primary, "server_function (to_regclass)"),
        (
            "SELECT has_table_privilege('orders', 'SELECT')",
            Primary,
            "server_function (has_table_privilege)",
        ),
        ("SELECT pg_get_viewdef(1)", Primary, "server_function (pg_get_viewdef)"),
        ("SELECT current_schema", Primary, "server_function (current_schema)"),
        ("SELECT current_schema()", Primary, "server_function (current_schema)"),
        ("SELECT current_user, current_date", Read, "harmless"),
        ("EXPLAIN SELECT * FROM orders", Primary, "coordinator_only (EXPLAIN)"),
        ("EXPLAIN ANALYZE SELECT * FROM orders", Primary, "coordinator_only (EXPLAIN)"),
        ("SELECT * FROM nowhere", Write, "unknown_relation (nowhere)"),
        ("SELECT * FROM orders FOR UPDATE", Write, "row_lock"),
        ("INSERT INTO orders VALUES (1)", Write, "data_modification (INSERT)"),
        (
            "SELECT create_distributed_table('t', 'id')",
            Write,
            "write_function (create_distributed_table)",
        ),
        (
            "SELECT citus_move_shard_placement(1, 'a', 1, 'b', 1)",
            Write,
            "write_function (citus_move_shard_placement)",
        ),
    ]
};

#[test]
fn reads_leave_the_coordinator_only_for_what_every_node_answers_alike() {
    let catalog = sharded();
    let mut failures = Vec::new();
    for &(sql, access, reason) in CASES {
        let label = label(sql, &catalog);
        let got = (label.access, label.reason.to_string());
        if got != (access, reason.to_owned()) {
            failures.push(format!("{sql}\n  expected {access:?} {reason}\n  got      {got:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_cluster_of_standbys_reads_everywhere() {
    let catalog = Catalog::builtin().with_database(rows()).expect("usable answers");
    for sql in
        ["SELECT * FROM notes", "SELECT * FROM pg_class", "EXPLAIN SELECT 1", "SELECT f_alone()"]
    {
        assert_eq!(label(sql, &catalog).access, Access::Read, "{sql}");
    }
}

/// These are SELECTs, and change what is known of tables as ALTER TABLE does.
#[test]
fn functions_of_citus_that_move_tables_define_objects() {
    let unread = Catalog::builtin().with_sharding().with_unread_database();
    for catalog in [sharded(), unread] {
        for sql in [
            "SELECT create_distributed_table('t', 'id')",
            "SELECT undistribute_table('t')",
            "SELECT 1; SELECT undistribute_table('t')",
        ] {
            let label = label(sql, &catalog);
            let defines =
                label.statements.iter().any(|one| one.definition == Definition::Everything);
            assert!(defines, "{sql} {label:?}");
        }
    }
    let hidden = label("SELECT f_distributes()", &sharded());
    assert!(
        hidden.statements.iter().any(|one| one.definition == Definition::Everything),
        "{hidden:?}"
    );
    let moves = label("SELECT citus_move_shard_placement(1, 'a', 1, 'b', 1)", &sharded());
    assert!(moves.statements.iter().all(|one| one.definition == Definition::Nothing), "{moves:?}");
}
