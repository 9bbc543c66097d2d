//! What is read where: only what every node answers alike leaves the coordinator.

use super::{SHARED, Sharded, coordinator, told};

const OBJECTS: &str = "
    CREATE TABLE notes (id int, note text);
    INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 3) n;
    CREATE TABLE \"user\" (id bigserial PRIMARY KEY, name text, status int);
    SELECT create_distributed_table('\"user\"', 'id', 'hash');
    INSERT INTO \"user\" (name, status) VALUES ('张三', 1), ('李四', 2), ('王五', 1), ('赵六', 2);
    CREATE TABLE city (id int PRIMARY KEY, name text);
    SELECT create_reference_table('city');
    INSERT INTO city VALUES (1, '上海'), (2, '北京');
    CREATE TABLE managed (id int PRIMARY KEY REFERENCES city (id));
    INSERT INTO managed VALUES (1);
    CREATE SCHEMA tenant; SELECT citus_schema_distribute('tenant');
    CREATE TABLE tenant.bill (id int, sum int); INSERT INTO tenant.bill VALUES (1, 10), (2, 20);
    CREATE TABLE part (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE part_20 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    SELECT create_distributed_table('part', 'id'); INSERT INTO part VALUES (1, '2020-05-05');
    CREATE UNLOGGED TABLE fleeting (id int); SELECT create_distributed_table('fleeting', 'id');
    CREATE VIEW users AS SELECT u.name, c.name AS city FROM \"user\" u JOIN city c ON c.id = u.status;
    CREATE VIEW noted AS SELECT * FROM notes;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM \"user\";
    CREATE SEQUENCE plain;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TYPE span AS RANGE (subtype = float8);
    CREATE FUNCTION users_of(int) RETURNS bigint STABLE LANGUAGE plpgsql AS
        'BEGIN RETURN (SELECT count(*) FROM \"user\" WHERE status = $1); END';
    CREATE FUNCTION notes_of() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM notes); END';
    CREATE FUNCTION writes() RETURNS void LANGUAGE sql AS 'INSERT INTO city VALUES (99, ''x'')';
    CREATE FUNCTION same_int(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 = $2';
    CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same_int);
    CREATE EXTENSION citext";

/// A statement, whether a worker runs it, and the reason.
const CASES: &[(&str, bool, &str)] = &[
    ("SELECT 1", true, "harmless"),
    ("SELECT * FROM \"user\" ORDER BY id", true, "harmless"),
    (
        "SELECT u.id, c.name FROM \"user\" u JOIN city c ON c.id = u.status ORDER BY 1",
        true,
        "harmless",
    ),
    ("SELECT * FROM city ORDER BY id", true, "harmless"),
    ("SELECT * FROM managed", true, "harmless"),
    ("SELECT sum(sum) FROM tenant.bill", true, "harmless"),
    ("SELECT * FROM part", true, "harmless"),
    ("SELECT * FROM part_20", true, "harmless"),
    ("SELECT * FROM users ORDER BY name", true, "harmless"),
    ("SELECT users_of(1)", true, "harmless"),
    ("SELECT 'good'::mood, 'a'::citext = 'A'", true, "harmless"),
    ("COPY (SELECT id FROM \"user\" ORDER BY id) TO STDOUT", true, "harmless"),
    ("SELECT * FROM notes ORDER BY id", false, "coordinator_only (notes)"),
    (
        "SELECT n.id FROM notes n JOIN \"user\" u ON u.id = n.id ORDER BY 1",
        false,
        "coordinator_only (notes)",
    ),
    ("SELECT * FROM noted ORDER BY id", false, "coordinator_only (noted)"),
    ("SELECT * FROM totals", false, "coordinator_only (totals)"),
    ("SELECT notes_of()", false, "coordinator_only (notes_of > notes)"),
    ("SELECT last_value FROM plain", false, "sequence_state (plain)"),
    ("SELECT count(*) FROM fleeting", false, "unlogged_relation (fleeting)"),
    ("SELECT '[1,2]'::span", false, "coordinator_only (span)"),
    ("SELECT 1 === 1", false, "coordinator_only (===)"),
    ("SELECT count(*) > 0 FROM pg_class", false, "server_relation (pg_class)"),
    ("SELECT count(*) > 0 FROM information_schema.tables", false, "server_relation (tables)"),
    ("SELECT '\"user\"'::regclass", false, "server_function (regclass)"),
    ("SELECT current_schema", false, "server_function (current_schema)"),
    ("SELECT count(*) FROM pg_dist_node", false, "coordinator_only (pg_dist_node)"),
    ("SELECT count(*) > 0 FROM citus_tables", false, "coordinator_only (citus_tables)"),
    ("SELECT citus_version() <> ''", false, "server_function (citus_version)"),
    ("EXPLAIN SELECT * FROM \"user\"", false, "coordinator_only (EXPLAIN)"),
    ("SELECT pg_is_in_recovery()", false, "server_function (pg_is_in_recovery)"),
    ("SHOW citus.shard_count", false, "show"),
    ("SELECT nextval('plain')", false, "write_function (nextval)"),
    ("SELECT * FROM \"user\" WHERE id = 1 FOR UPDATE", false, "row_lock"),
    ("INSERT INTO city VALUES (3, 'x')", false, "data_modification (INSERT)"),
    ("DELETE FROM city WHERE id = 3", false, "data_modification (DELETE)"),
    ("SELECT writes()", false, "write_function (writes: INSERT)"),
];

#[test]
fn only_what_every_node_answers_alike_leaves_the_coordinator() {
    let Some(database) = Sharded::new("citus_routes", OBJECTS) else { return };
    let weir = database.weir("");
    let mut client = weir.client("postgres", database.name);
    for (sql, on_worker, reason) in CASES {
        assert_eq!(told(&mut client, sql, "reason"), *reason, "{sql}");
        let reply = client.query(sql);
        assert_eq!(reply.failure, None, "{sql}");
        let node = client.last_node();
        assert_eq!(node != coordinator(), *on_worker, "{sql} ran on {node}");
        if !on_worker {
            continue;
        }
        // The nodes are the judges.
        for judge in SHARED.primaries() {
            let answer = judge.psql_in(database.name, sql).unwrap();
            let expected = database.prepare(sql);
            assert_eq!(answer, expected, "{sql} on {}", judge.address());
        }
    }
}

#[test]
fn reads_are_spread_as_the_configuration_says() {
    let Some(database) = Sharded::new("citus_spread", OBJECTS) else { return };
    let shares = |config: &str| {
        let weir = database.weir(config);
        let mut client = weir.client("postgres", database.name);
        for _ in 0..60 {
            client.ask("SELECT count(*) FROM \"user\"");
        }
        let metrics = weir.metrics();
        let share = |node: &pgweir_sandbox::Node| {
            let node = format!("node=\"{}\"", node.address());
            metrics.sum("pgweir_queries_total", &["class=\"read\"", &node])
        };
        SHARED.primaries().map(share).collect::<Vec<_>>()
    };
    let turns = "routing.balance = \"round-robin\"\n";
    assert_eq!(shares(turns), [0.0, 30.0, 30.0]);
    assert_eq!(shares(&format!("{turns}routing.reads = \"any\"")), [20.0; 3]);
    assert_eq!(shares(&format!("{turns}routing.reads = \"primary\"")), [60.0, 0.0, 0.0]);
    let worker = SHARED.worker(0).primary();
    let weighted = format!(
        "{turns}clusters.main.nodes = [\"{}\", {{ host = \"{}\", port = {}, weight = 3 }}]",
        coordinator(),
        worker.host(),
        worker.port()
    );
    assert_eq!(shares(&weighted), [0.0, 45.0, 15.0]);
}

#[test]
fn transactions_stay_on_the_coordinator() {
    let Some(database) = Sharded::new("citus_transactions", OBJECTS) else { return };
    let weir = database.weir("");
    let mut client = weir.client("postgres", database.name);
    for begin in ["BEGIN", "BEGIN READ ONLY", "SET default_transaction_read_only = on; BEGIN"] {
        client.ask(begin);
        client.ask("SELECT count(*) FROM \"user\"");
        assert_eq!(client.ask("SELECT count(*) FROM notes"), "3", "{begin}");
        client.ask("COMMIT");
    }
    client.ask("RESET default_transaction_read_only");
    assert_ne!(client.where_ran("SELECT count(*) FROM \"user\""), coordinator());
}

#[test]
fn prepared_statements_copies_and_pipelines_go_where_they_may() {
    let Some(database) = Sharded::new("citus_protocol", OBJECTS) else { return };
    let weir = database.weir("");
    let mut client = weir.client("postgres", database.name);
    for _ in 0..4 {
        let reply = client.extended("SELECT name FROM \"user\" WHERE id = $1", &["2"]);
        assert_eq!(reply.text(), "李四");
        assert_ne!(client.last_node(), coordinator());
        let reply = client.extended("SELECT note FROM notes WHERE id = $1", &["2"]);
        assert_eq!(reply.text(), "note 2");
        assert_eq!(client.last_node(), coordinator());
    }
    client.ask(
        "PREPARE far AS SELECT count(*) FROM \"user\"; PREPARE near AS SELECT count(*) FROM notes",
    );
    assert_eq!((client.ask("EXECUTE far"), client.ask("EXECUTE near")), ("4".into(), "3".into()));
    client.ask("DEALLOCATE ALL");
    assert_eq!(client.ask("SELECT count(*) FROM \"user\"; SELECT count(*) FROM notes"), "4\n3");
    // COPY into a distributed table.
    let copied = weir.conninfo("postgres", database.name);
    let output = SHARED
        .coordinator()
        .program("psql")
        .args(["-XAtq", "-d", &copied, "-c"])
        .arg("COPY \"user\" (id, name, status) FROM PROGRAM 'echo 100,x,1; echo 101,y,2' WITH (FORMAT csv)")
        .args(["-c", "SELECT count(*) FROM \"user\""])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "6", "{output:?}");
}

#[test]
fn a_database_that_is_not_sharded_is_the_coordinators_alone() {
    let Some(database) = Sharded::new("citus_beside", OBJECTS) else { return };
    let weir = database.weir("");
    SHARED
        .coordinator()
        .primary()
        .psql("DROP TABLE IF EXISTS beside; CREATE TABLE beside AS SELECT 1 AS one")
        .unwrap();
    let mut client = weir.client("postgres", "postgres");
    for sql in ["SELECT 1", "SELECT * FROM beside", "SELECT count(*) > 0 FROM pg_class"] {
        assert_eq!(client.where_ran(sql), coordinator(), "{sql}");
    }
    let nodes = client.ask("EXPLAIN (ROUTE) SELECT 1");
    assert!(nodes.contains("not eligible: the database is the coordinator's alone"), "{nodes}");
    assert!(nodes.contains("coordinator's alone (worker, group "), "{nodes}");
    assert!(nodes.contains("eligible (primary, group 0)"), "{nodes}");
}

/// A write is seen at once on every node, and what was seen stays so.
#[test]
fn a_client_sees_its_own_writes_on_every_node() {
    let Some(database) = Sharded::new("citus_own_writes", OBJECTS) else { return };
    let weir = database.weir("routing.reads = \"any\"\nrouting.balance = \"round-robin\"");
    let mut client = weir.client("postgres", database.name);
    let mut nodes = std::collections::BTreeSet::new();
    for number in 0..40 {
        client.ask(&format!("UPDATE \"user\" SET status = {number}"));
        client.ask(&format!("UPDATE city SET name = '{number}'"));
        for _ in 0..3 {
            let seen = client.ask("SELECT DISTINCT status FROM \"user\"");
            assert_eq!(seen, number.to_string());
            assert_eq!(client.ask("SELECT DISTINCT name FROM city"), number.to_string());
            nodes.insert(client.last_node());
        }
    }
    assert_eq!(nodes.len(), 3, "{nodes:?}");
}

#[test]
fn what_a_worker_lacks_the_coordinator_answers() {
    let Some(database) = Sharded::new("citus_lacks", OBJECTS) else { return };
    let weir = database.weir("");
    let mut client = weir.client("postgres", database.name);
    assert_ne!(client.where_ran("SELECT users_of(1)"), coordinator());
    // Behind pgweir's back, and behind Citus's.
    for worker in SHARED.workers() {
        let sql = "SET citus.enable_ddl_propagation = off; SET citus.enable_metadata_sync = off; DROP FUNCTION users_of(int)";
        worker.primary().psql_in(database.name, sql).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(client.ask("SELECT users_of(1)"), "2");
        assert_eq!(client.extended("SELECT users_of($1::int)", &["1"]).text(), "2");
    }
    assert_eq!(client.last_node(), coordinator());
    assert_eq!(told(&mut client, "SELECT users_of(1)", "reason"), "self_heal");
    assert_eq!(client.fail("SELECT * FROM nowhere").code(), "42P01");
    assert_eq!(client.fail("SELECT 1 / (count(*) - 4) FROM \"user\"").code(), "22012");
    assert!(weir.metrics().sum("pgweir_self_heals_total", &[]) >= 2.0);
}

#[test]
fn a_role_that_only_the_coordinator_has_is_served_there() {
    let Some(database) = Sharded::new("citus_role", OBJECTS) else { return };
    database.prepare(
        "SET citus.enable_create_role_propagation = off; DROP ROLE IF EXISTS citus_alone;
         CREATE ROLE citus_alone LOGIN; GRANT SELECT ON notes TO citus_alone",
    );
    let weir = database.weir("");
    let mut client = weir.client("citus_alone", database.name);
    for _ in 0..4 {
        assert_eq!(client.where_ran("SELECT 1"), coordinator());
        assert_eq!(client.ask("SELECT count(*) FROM notes"), "3");
    }
    drop(client);
    database.prepare("SET citus.enable_create_role_propagation = off; DROP OWNED BY citus_alone; DROP ROLE citus_alone");
}
