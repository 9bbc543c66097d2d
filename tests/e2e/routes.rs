//! SHOW ROUTES, and the routing of one database beside another's.

use pgweir_sandbox::Sandbox;

use crate::harness::{Client, Reply, SOON, Scratch, Setup, Weir, shared, until};

const USERS: &str = "
    [[user]]
    name = \"postgres\"
    admin = true";

fn weir<'a>(sandbox: &'a Sandbox, config: &str) -> Setup<'a> {
    Weir::setup(sandbox)
        .config("auth.method = \"trust\"\nauth.users_file = \"users.toml\"")
        .config(config)
        .file("users.toml", USERS)
}

/// The row of a statement, as `column=value` words.
#[track_caller]
fn row(reply: &Reply, statement: &str) -> Vec<String> {
    let at = reply.columns.iter().position(|name| name == "statement").unwrap();
    let found = reply.rows.iter().filter(|row| row[at].as_deref() == Some(statement));
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "{statement} in {reply:?}");
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    let words = reply.columns.iter().zip(found[0]);
    words.map(|(name, cell)| format!("{name}={}", value(cell))).collect()
}

#[track_caller]
fn expect(row: &[String], words: &[&str]) {
    for word in words {
        assert!(row.iter().any(|found| found == word), "{word} in {row:?}");
    }
}

#[test]
fn show_routes_counts_statements_by_their_form_over_both_protocols() {
    let scratch = Scratch::new("routes");
    scratch.prepare("CREATE TABLE item (id int, name text)");
    let weir = weir(shared(), "firewall.block = \"TRUNCATE item\"").start();
    let mut client = weir.client("postgres", scratch.name());
    for id in 0..3 {
        client.ask(&format!("SELECT name FROM item WHERE id = {id} AND name <> 'a secret'"));
    }
    let reads = "SELECT name FROM item WHERE id = $1::int";
    assert_eq!(client.extended(reads, &["1"]).failure, None);
    client.ask("/* pgweir: primary */ SELECT name FROM item WHERE id = 4 AND name <> 'x'");
    client.ask("INSERT INTO item VALUES (1, 'a secret')");
    client.fail("TRUNCATE item");
    client.fail("SELECT nonsense FROM item");

    let mut console = weir.client("postgres", "pgweir");
    let simple = console.query("SHOW ROUTES");
    let of_text = row(&simple, "select name from item where id = 0 and name <> '?'");
    expect(
        &of_text,
        &[
            "database=routes",
            "class=read",
            "reason=harmless",
            "target=replica",
            "to_replicas=3",
            "to_primary=1",
            "self_heals=0",
            "blocked=0",
        ],
    );
    let nodes = of_text.iter().find_map(|word| word.strip_prefix("nodes=")).unwrap();
    let counts =
        nodes.split(", ").map(|node| node.split_once('=').unwrap().1.parse::<u32>().unwrap());
    assert_eq!(counts.sum::<u32>(), 4, "{nodes}");
    let primary = format!("{}=1", shared().primary().address());
    assert!(nodes.split(", ").any(|node| node == primary), "{nodes}");
    expect(&row(&simple, "select name from item where id = $1::int"), &["to_replicas=1"]);
    expect(
        &row(&simple, "insert into item values (0, '?')"),
        &["class=write", "target=primary", "to_replicas=0", "to_primary=1"],
    );
    expect(&row(&simple, "truncate item"), &["reason=blocked", "target=none", "blocked=1"]);
    let extended = console.extended("SHOW ROUTES", &[]);
    assert_eq!(extended.columns, simple.columns);
    assert_eq!(row(&extended, "truncate item"), row(&simple, "truncate item"),);
    assert!(!format!("{simple:?}").contains("secret"), "{simple:?}");

    // The metric knows the reasons' words alone.
    let metrics = weir.metrics();
    let counted = |labels: &[&str]| metrics.sum("pgweir_route_decisions_total", labels);
    assert_eq!(counted(&["reason=\"data_modification\"", "target=\"primary\""]), 1.0);
    assert!(counted(&["reason=\"harmless\"", "target=\"replica\""]) >= 4.0);
    let series = metrics.count("pgweir_route_decisions_total", &[]);
    assert!(series <= 2 * pgweir_classifier::Reason::WORDS.len(), "{series}");
}

#[test]
fn show_routes_is_bounded() {
    let weir = weir(shared(), "").start();
    let mut client = weir.postgres();
    for number in 0..1100 {
        client.ask(&format!("SELECT 1 AS c{number}"));
    }
    let mut console = weir.client("postgres", "pgweir");
    let shown = console.query("SHOW ROUTES");
    assert_eq!(shown.rows.len(), 1000);
    // What is still in use stays, or comes back.
    client.ask("SELECT 1 AS c0");
    let shown = console.query("SHOW ROUTES");
    assert_eq!(shown.rows.len(), 1000);
    expect(&row(&shown, "select 0 as c0"), &["to_replicas=2"]);
}

/// Two names for one database, the second with keys of its own.
fn two(scratch: &Scratch, keys: &str) -> Weir {
    let config = format!(
        "databases.usual.dbname = \"{name}\"\ndatabases.own.dbname = \"{name}\"\n\
         [databases.own.routing]\n{keys}",
        name = scratch.name()
    );
    Weir::start(shared(), &config)
}

fn runs_on_the_primary(client: &mut Client, sql: &str) -> bool {
    client.query(sql);
    client.last_node() == shared().primary().address()
}

#[test]
fn each_key_of_a_databases_own_routing_holds_for_it_and_for_no_other() {
    let scratch = Scratch::new("own_routing");
    scratch.prepare(
        "CREATE TABLE item (id int);
         CREATE FUNCTION reads() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS
             'BEGIN EXECUTE ''SELECT 1''; RETURN 1; END';
         CREATE FUNCTION in_c(int) RETURNS bytea VOLATILE LANGUAGE c AS
             '$libdir/pgcrypto', 'pg_random_bytes'",
    );
    // The keys, a statement, and whether it runs on the primary: usually, and with these keys.
    let cases = [
        ("reads = \"primary\"", "SELECT * FROM item", [false, true]),
        ("write_functions = [\"reads\"]", "SELECT reads()", [false, true]),
        ("read_functions = [\"writes\"]", "SELECT writes()", [true, false]),
        ("unknown_functions = \"replica\"", "SELECT in_c(8)", [true, false]),
        ("unknown_functions = \"primary\"", "SELECT in_c(8)", [true, true]),
    ];
    for (keys, sql, [usually, here]) in cases {
        let weir = two(&scratch, keys);
        let mut usual = weir.client("postgres", "usual");
        let mut own = weir.client("postgres", "own");
        assert_eq!(runs_on_the_primary(&mut usual, sql), usually, "{sql} without {keys}");
        assert_eq!(runs_on_the_primary(&mut own, sql), here, "{sql} with {keys}");
        assert_eq!(runs_on_the_primary(&mut usual, sql), usually, "{sql} beside {keys}");
    }
}

#[test]
fn a_databases_own_balance_and_reads_spread_over_other_nodes() {
    let scratch = Scratch::new("own_balance");
    let primary = shared().primary().address();
    let weir = two(&scratch, "balance = \"round-robin\"\nreads = \"any\"");
    let mut own = weir.client("postgres", "own");
    let nodes: Vec<String> = (0..6).map(|_| own.where_ran("SELECT 1")).collect();
    for node in shared().nodes() {
        let count = nodes.iter().filter(|&name| *name == node.address()).count();
        assert_eq!(count, 2, "in turn: {nodes:?}");
    }
    let mut usual = weir.client("postgres", "usual");
    for _ in 0..6 {
        assert_ne!(usual.where_ran("SELECT 1"), primary);
    }
}

#[test]
fn a_database_whose_reads_want_replicas_only_is_refused_where_another_is_served_by_the_primary() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let weir = Weir::start(
        &sandbox,
        "databases.usual.dbname = \"postgres\"\ndatabases.own.dbname = \"postgres\"\n\
         databases.own.routing.reads = \"replicas-only\"\nfailover.hold = \"100ms\"",
    );
    let mut own = weir.client("postgres", "own");
    until("a refusal", SOON, || {
        let reply = own.query("SELECT 1");
        match &reply.failure {
            Some(failure) if failure.code() == "57P03" => Ok(()),
            _ => Err(format!("{reply:?}")),
        }
    });
    assert_eq!(weir.client("postgres", "usual").ask("SELECT 1"), "1");
}

#[test]
fn a_database_may_do_without_self_heals_and_they_are_shown_for_another() {
    let scratch = Scratch::new("own_heals");
    scratch.prepare(
        "CREATE TABLE item (id int);
         CREATE FUNCTION note() RETURNS int LANGUAGE sql AS 'INSERT INTO item VALUES (1) RETURNING 1'",
    );
    let config = format!(
        "databases.usual.dbname = \"{name}\"\ndatabases.own.dbname = \"{name}\"\n\
         databases.own.routing.self_heal = false\nrouting.read_functions = \"note\"",
        name = scratch.name()
    );
    let weir = weir(shared(), &config).start();
    assert_eq!(weir.client("postgres", "own").fail("SELECT note()").code(), "25006");
    let mut usual = weir.client("postgres", "usual");
    assert_eq!(usual.ask("SELECT note()"), "1");
    assert_eq!(usual.ask("SELECT note()"), "1");
    let shown = weir.client("postgres", "pgweir").query("SHOW ROUTES");
    let rows = |database: &str| {
        let of = shown.rows.iter().filter(|row| row[0].as_deref() == Some(database));
        Reply { columns: shown.columns.clone(), rows: of.cloned().collect(), ..Reply::default() }
    };
    expect(&row(&rows("own"), "select note()"), &["self_heals=0", "to_replicas=1", "to_primary=0"]);
    expect(&row(&rows("usual"), "select note()"), &["self_heals=1", "to_primary=2"]);
}

#[test]
fn balance_by_latency_serves_reads_from_replicas() {
    let weir = Weir::start(shared(), "routing.balance = \"latency\"");
    let mut client = weir.postgres();
    for _ in 0..6 {
        assert_ne!(client.where_ran("SELECT 1"), shared().primary().address());
    }
}
