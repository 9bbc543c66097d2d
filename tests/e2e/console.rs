//! The console: who gets in, what it shows, over which protocol.

use std::process::{Command, Stdio};
use std::time::Duration;

use pgweir_sandbox::{PortLease, Sandbox};

use crate::drivers::{is_full, source, tell, works};
use crate::harness::{
    Client, Failure, Finished, Message, Metrics, Reply, SOON, Scratch, Setup, TemporaryDir, Weir,
    Wire, get, run, servers_of, shared, until,
};

/// An administrator, one who may only look, a user like any other.
const USERS: &str = "
    [[user]]
    name = \"boss\"
    admin = true
    [[user]]
    name = \"eye\"
    admin = \"read-only\"
    [[user]]
    name = \"app\"";

fn with_users<'a>(sandbox: &'a Sandbox, config: &str, users: &str) -> Setup<'a> {
    Weir::setup(sandbox)
        .config("auth.users_file = \"users.toml\"")
        .config(config)
        .file("users.toml", users)
}

fn weir(config: &str) -> Weir {
    with_users(shared(), &format!("auth.method = \"trust\"\n{config}"), USERS).start()
}

fn boss(weir: &Weir) -> Client {
    weir.client("boss", "pgweir")
}

fn refused(weir: &Weir, user: &str, database: &str) -> Failure {
    Client::connect(weir.port(), user, database, &[]).expect_err("it was let in")
}

/// The column of this name in every row.
#[track_caller]
fn column(reply: &Reply, name: &str) -> Vec<String> {
    let at = reply.columns.iter().position(|column| column == name);
    let at = at.unwrap_or_else(|| panic!("no column {name} in {:?}", reply.columns));
    reply.rows.iter().map(|row| row[at].clone().unwrap_or_default()).collect()
}

/// The process id that a client was given.
fn pid(client: &Client) -> String {
    i32::from_be_bytes(client.key[..4].try_into().unwrap()).to_string()
}

/// One row of a table, as a look-up by column.
#[track_caller]
fn row_of(
    console: &mut Client,
    sql: &str,
    key: &str,
    value: &str,
) -> impl Fn(&str) -> String + use<> {
    let reply = console.query(sql);
    let at = column(&reply, key).iter().position(|found| found == value);
    let at = at.unwrap_or_else(|| panic!("{sql} has no {key} {value}: {reply:?}"));
    move |name| column(&reply, name)[at].clone()
}

/// Looks up each column of a row.
#[track_caller]
fn expect(row: &impl Fn(&str) -> String, columns: &[(&str, &str)]) {
    for (name, want) in columns {
        assert_eq!(row(name), *want, "{name}");
    }
}

/// The reasons that bind a client, as SHOW PINS has them.
fn pins_of(console: &mut Client, client: &Client) -> Vec<String> {
    let reply = console.query("SHOW PINS");
    assert_eq!(reply.failure, None);
    let ids = column(&reply, "id");
    let reasons = column(&reply, "reason").into_iter().zip(ids);
    let own = pid(client);
    reasons.filter(|(_, id)| *id == own).map(|(reason, _)| reason).collect()
}

#[test]
fn only_those_whom_the_users_file_makes_administrators_are_let_in() {
    let weir = weir("");
    for user in ["app", "postgres", "nobody"] {
        let failure = refused(&weir, user, "pgweir");
        assert_eq!(failure.code(), "28000", "{user}: {failure}");
        assert!(failure.field('H').contains("auth.users_file"), "{failure}");
    }
    for user in ["boss", "eye"] {
        let mut console = weir.client(user, "pgweir");
        assert!(console.ask("SHOW VERSION").starts_with("pgweir "));
        console.leave();
    }
    // To those, PgBouncer's name for it means the same; to all others it is a database.
    assert!(weir.client("boss", "pgbouncer").ask("SHOW VERSION").starts_with("pgweir "));
    assert_eq!(refused(&weir, "postgres", "pgbouncer").code(), "3D000");
}

#[test]
fn a_pin_is_shown_while_it_lasts() {
    let scratch = Scratch::new("console_pins");
    let weir = weir("");
    let (mut console, mut client) = (boss(&weir), weir.client("postgres", scratch.name()));
    let rows = [
        ("CREATE TEMP TABLE t ()", "temporary_table", "DISCARD TEMP"),
        ("SELECT pg_advisory_lock(7)", "advisory_lock", "SELECT pg_advisory_unlock_all()"),
        ("LISTEN news", "listen", "UNLISTEN *"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "hold_cursor", "CLOSE ALL"),
    ];
    for (statement, reason, end) in rows {
        assert_eq!(pins_of(&mut console, &client), [""; 0], "before {statement}");
        client.ask(statement);
        assert_eq!(pins_of(&mut console, &client), [reason], "{statement}");
        let pin = row_of(&mut console, "SHOW PINS", "id", &pid(&client));
        let server = client.ask("SELECT pg_backend_pid()");
        let primary = shared().primary().address();
        let seen = ["user", "database", "node", "server_pid"].map(pin);
        let want = ["postgres", scratch.name(), &primary, &server].map(str::to_owned);
        assert_eq!(seen, want, "{statement}");
        let shown = row_of(&mut console, "SHOW CLIENTS", "id", &pid(&client));
        let seen = ["activity", "pins", "node", "server_pid"].map(shown);
        let want = ["pinned", reason, &primary, &server].map(str::to_owned);
        assert_eq!(seen, want, "{statement}");
        client.ask(end);
        assert_eq!(pins_of(&mut console, &client), [""; 0], "after {end}");
    }
    client.ask("LISTEN news; CREATE TEMP TABLE t ()");
    assert_eq!(pins_of(&mut console, &client), ["temporary_table", "listen"]);
    client.ask("UNLISTEN *");
    assert_eq!(pins_of(&mut console, &client), ["temporary_table"]);
    client.leave();
    until("the client to be gone", SOON, || {
        let pins = console.query("SHOW PINS");
        if pins.rows.is_empty() { Ok(()) } else { Err(pins.rows) }
    });
}

#[test]
fn show_clients_tells_who_does_what() {
    let weir = weir("pool.size = 1");
    let mut console = boss(&weir);
    let named = [("application_name", "holder")];
    let mut holder = Client::connect(weir.port(), "postgres", "postgres", &named).unwrap();
    let mut waiter = weir.client("postgres", "postgres");
    holder.ask("BEGIN");
    let server = holder.ask("SELECT pg_backend_pid()");
    waiter.wire.send(&Message::new().query("SELECT 'waited', txid_current() IS NOT NULL"));
    until("the second client to wait", SOON, || {
        let shown = row_of(&mut console, "SHOW CLIENTS", "id", &pid(&waiter));
        let state = shown("state");
        if state == "waiting" { Ok(()) } else { Err(state) }
    });
    let shown = row_of(&mut console, "SHOW CLIENTS", "id", &pid(&holder));
    let primary = shared().primary().address();
    expect(
        &shown,
        &[
            ("type", "C"),
            ("user", "postgres"),
            ("database", "postgres"),
            ("state", "active"),
            ("addr", "127.0.0.1"),
            ("local_addr", "127.0.0.1"),
            ("local_port", &weir.port().to_string()),
            ("wait", "0"),
            ("application_name", "holder"),
            ("activity", "attached"),
            ("pins", ""),
            ("node", &primary),
            ("server_pid", &server),
            ("last_node", &primary),
            ("queries", "2"),
            ("transactions", "0"),
        ],
    );
    holder.ask("COMMIT");
    assert_eq!(waiter.reply().text(), "waited|t");
    let shown = row_of(&mut console, "SHOW CLIENTS", "id", &pid(&holder));
    let seen = ["activity", "node", "last_node", "queries", "transactions"].map(shown);
    assert_eq!(seen, ["idle", "", &primary, "3", "1"].map(str::to_owned));
}

#[test]
fn the_extended_protocol_prepares_describes_fetches_and_recovers() {
    let weir = weir("");
    let mut console = boss(&weir);
    let version = console.ask("SHOW VERSION");
    assert_eq!(console.extended("SHOW VERSION", &[]).text(), version);
    // Named, described without being run, run twice, in the binary format too.
    let message = Message::new().parse("v", "show version;").describe(b'S', "v").sync();
    console.wire.send(&message);
    let reply = console.reply();
    assert_eq!((reply.columns, reply.rows), (vec!["version".to_owned()], vec![]));
    for _ in 0..2 {
        console.wire.send(&Message::new().bind("", "v", &[]).execute("", 0).sync());
        assert_eq!(console.reply().text(), version);
    }
    // A portal in pieces.
    let _others = [weir.postgres(), weir.postgres()];
    let pieces = Message::new().parse("", "SHOW CLIENTS").bind("p", "", &[]).execute("p", 2);
    console.wire.send(&pieces.execute("p", 2).sync());
    let tags: String =
        console.wire.frames_until(b'Z').iter().map(|frame| char::from(frame.tag)).collect();
    assert_eq!(tags, "12DDsDCZ");
    // An error is answered once; what follows is passed over up to the Sync.
    let wrong = Message::new().parse("", "SELECT 1").bind("", "", &[]).execute("", 0).sync();
    console.wire.send(&wrong);
    let tags: String =
        console.wire.frames_until(b'Z').iter().map(|frame| char::from(frame.tag)).collect();
    assert_eq!(tags, "EZ");
    let rows = [
        (Message::new().parse("v", "SHOW HELP").sync(), "42P05"),
        (Message::new().bind("", "nothing", &[]).sync(), "26000"),
        (Message::new().bind("", "v", &["1"]).sync(), "08P01"),
        (Message::new().execute("nothing", 0).sync(), "34000"),
        (Message::new().parse("", "SHOW HELP; SHOW HELP").sync(), "42601"),
    ];
    for (message, code) in rows {
        console.wire.send(&message);
        let failure = console.reply().failure.unwrap();
        assert_eq!(failure.code(), code, "{failure}");
    }
    console.wire.send(&Message::new().close(b'S', "v").close(b'P', "none").flush().sync());
    assert_eq!(console.reply().failure, None);
    assert_eq!(console.ask("SHOW VERSION"), version);
}

#[test]
fn a_transaction_block_is_kept_for_drivers_that_begin_one() {
    let weir = weir("");
    let mut console = boss(&weir);
    let mut status = |sql: &str| {
        let reply = console.query(sql);
        (reply.status, reply.failure.map_or(String::new(), |failure| failure.code().to_owned()))
    };
    let rows = [
        ("BEGIN", 'T', ""),
        ("SHOW VERSION", 'T', ""),
        ("nonsense", 'E', "42601"),
        ("SHOW VERSION", 'E', "25P02"),
        ("ROLLBACK", 'I', ""),
        ("SET extra_float_digits = 3", 'I', ""),
        ("BEGIN; SHOW VERSION; COMMIT", 'I', ""),
        ("", 'I', ""),
    ];
    for (sql, want, code) in rows {
        assert_eq!(status(sql), (want, code.to_owned()), "{sql}");
    }
}

fn psql(weir: &Weir, script: &str) -> Finished {
    let mut psql: Command = shared().program("psql");
    psql.args(["-XAt", "-v", "VERBOSITY=verbose", "-d", &weir.conninfo("boss", "pgweir")]);
    run(&mut psql, script, SOON)
}

#[test]
fn psql_shows_tables_and_gets_clean_errors_for_what_is_none() {
    let weir = weir("");
    let shown = psql(&weir, "SHOW VERSION;\n\\d\n\\dt\n\\l\nSELECT 1;\nSHOW VERSION;\n");
    let versions: Vec<&str> = shown.stdout.lines().collect();
    assert!(versions.len() == 2 && versions[0].starts_with("pgweir "), "{shown:?}");
    let errors = shown.stderr.matches("ERROR:  42601: pgweir: invalid command").count();
    assert_eq!(errors, 4, "{shown:?}");
    assert!(shown.stderr.contains("SHOW HELP lists"), "{shown:?}");
    let help = psql(&weir, "SHOW HELP;\n");
    assert!(help.stderr.contains("SHOW CLIENTS") && help.stderr.contains("SHOW PINS"), "{help:?}");
}

/// The columns of PgBouncer 1.18's tables, as it names and orders them.
const PGBOUNCERS_COLUMNS: [(&str, &str); 14] = [
    ("CLIENTS", SOCKET),
    ("SERVERS", SOCKET),
    (
        "SOCKETS",
        "type user database state addr port local_addr local_port connect_time request_time wait \
         wait_us close_needed ptr link remote_pid tls application_name recv_pos pkt_pos pkt_remain \
         send_pos send_remain pkt_avail send_avail",
    ),
    (
        "POOLS",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
         sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us \
         pool_mode",
    ),
    (
        "STATS",
        "database total_xact_count total_query_count total_received total_sent total_xact_time \
         total_query_time total_wait_time avg_xact_count avg_query_count avg_recv avg_sent \
         avg_xact_time avg_query_time avg_wait_time",
    ),
    ("STATS_TOTALS", SUMS),
    ("STATS_AVERAGES", SUMS),
    (
        "DATABASES",
        "name host port database force_user pool_size min_pool_size reserve_pool pool_mode \
         max_connections current_connections paused disabled",
    ),
    ("LISTS", "list items"),
    ("CONFIG", "key value default changeable"),
    ("VERSION", "version"),
    ("USERS", "name pool_mode"),
    ("MEM", "name size used free memtotal"),
    // Of 1.20.
    ("STATE", "key value"),
];

const SOCKET: &str = "type user database state addr port local_addr local_port connect_time \
    request_time wait wait_us close_needed ptr link remote_pid tls application_name";

const SUMS: &str =
    "database xact_count query_count bytes_received bytes_sent xact_time query_time wait_time";

#[test]
fn tables_begin_with_pgbouncers_columns() {
    let weir = weir("");
    let mut console = boss(&weir);
    let _client = weir.postgres();
    for (table, want) in PGBOUNCERS_COLUMNS {
        let reply = console.query(&format!("SHOW {table}"));
        assert_eq!(reply.failure, None, "SHOW {table}");
        let want: Vec<&str> = want.split(' ').collect();
        assert_eq!(reply.columns[..want.len()], want, "SHOW {table}");
        assert!(!reply.rows.is_empty(), "SHOW {table}");
        let extended = console.extended(&format!("SHOW {table}"), &[]);
        assert_eq!((extended.failure, &extended.columns), (None, &reply.columns), "SHOW {table}");
    }
}

/// A database `shop`, in session mode, and another.
fn shop(scratch: &Scratch) -> Weir {
    let config = format!(
        "[databases.shop]\ndbname = \"{}\"\npool = {{ size = 3, mode = \"session\" }}\n\
         [databases.other]\ndbname = \"postgres\"",
        scratch.name()
    );
    with_users(shared(), "auth.method = \"trust\"", USERS).config(&config).start()
}

#[test]
fn pools_and_servers_agree_with_what_is_there() {
    let scratch = Scratch::new("console_pools");
    let weir = shop(&scratch);
    let (mut console, mut client) = (boss(&weir), weir.client("postgres", "shop"));
    let server = client.ask("SELECT pg_backend_pid()");
    let pool = row_of(&mut console, "SHOW POOLS", "database", "shop");
    expect(
        &pool,
        &[
            ("user", "postgres"),
            ("cl_active", "1"),
            ("cl_waiting", "0"),
            ("sv_active", "1"),
            ("sv_login", "0"),
            ("maxwait", "0"),
            ("pool_mode", "session"),
            ("cluster", "main"),
            ("pool_size", "3"),
            ("cl_pinned", "1"),
            ("paused", "f"),
        ],
    );
    let primary = shared().primary();
    let shown = row_of(&mut console, "SHOW SERVERS", "remote_pid", &server);
    let (port, id) = (primary.port().to_string(), pid(&client));
    expect(
        &shown,
        &[
            ("type", "S"),
            ("user", "postgres"),
            ("database", "shop"),
            ("state", "active"),
            ("addr", "127.0.0.1"),
            ("port", &*port),
            ("link", &*id),
            ("cluster", "main"),
            ("node", &primary.address()),
            ("role", "primary"),
            ("client_id", &*id),
            ("idle_us", ""),
        ],
    );
    let own = row_of(&mut console, "SHOW CLIENTS", "id", &id);
    assert_eq!(own("link"), shown("ptr"));
    client.leave();
    until("the server connection to be idle", SOON, || {
        let state = row_of(&mut console, "SHOW SERVERS", "remote_pid", &server)("state");
        if state == "idle" { Ok(()) } else { Err(state) }
    });
}

#[test]
fn databases_and_lists_agree_with_what_is_there() {
    let scratch = Scratch::new("console_databases");
    let weir = shop(&scratch);
    let (mut console, mut client) = (boss(&weir), weir.client("postgres", "shop"));
    client.ask("SELECT 1");
    let port = shared().primary().port().to_string();
    let databases = console.query("SHOW DATABASES");
    assert_eq!(column(&databases, "name"), ["other", "pgweir", "shop"]);
    assert_eq!(column(&databases, "database"), ["postgres", "pgweir", scratch.name()]);
    assert_eq!(column(&databases, "port"), [&*port, "", &*port]);
    assert_eq!(column(&databases, "pool_mode"), ["transaction", "statement", "session"]);
    let lists = console.query("SHOW LISTS");
    let lists: Vec<_> = column(&lists, "list").into_iter().zip(column(&lists, "items")).collect();
    let has = |list: &str, items: &str| lists.contains(&(list.to_owned(), items.to_owned()));
    assert!(has("databases", "3") && has("used_clients", "2"), "{lists:?}");
    assert!(has("used_servers", "1") && has("login_clients", "0"), "{lists:?}");
}

#[test]
fn an_idle_server_connection_is_shown_without_a_client() {
    let weir = weir("");
    let (mut console, mut client) = (boss(&weir), weir.postgres());
    let server = client.ask("/* pgweir: primary */ SELECT pg_backend_pid()");
    // It may be asked for its position first.
    until("an idle server connection", SOON, || {
        let shown = row_of(&mut console, "SHOW SERVERS", "remote_pid", &server);
        let state = ["state", "link", "client_id"].map(&shown);
        assert_eq!(shown("idle_us").parse::<u64>().is_ok(), shown("state") == "idle");
        if state == ["idle", "", ""] { Ok(()) } else { Err(state) }
    });
}

#[test]
fn statistics_count_queries_transactions_bytes_and_time_also_of_those_who_left() {
    let scratch = Scratch::new("console_stats");
    let weir = weir("");
    let mut console = boss(&weir);
    let mut client = weir.client("postgres", scratch.name());
    client.ask("SELECT 1");
    client.ask("BEGIN");
    client.ask("SELECT pg_sleep(0.05)");
    client.extended("SELECT 2", &[]);
    client.ask("COMMIT");
    let stats = row_of(&mut console, "SHOW STATS", "database", scratch.name());
    let number = |name: &str| stats(name).parse::<u64>().unwrap();
    assert_eq!((number("total_query_count"), number("total_xact_count")), (5, 2));
    assert_eq!(number("total_requests"), 5);
    assert!(number("total_query_time") >= 50_000, "{}", number("total_query_time"));
    assert!(number("total_xact_time") >= number("total_query_time"));
    assert!(number("total_received") > 60 && number("total_sent") > 60);
    assert!(number("avg_query_time") >= 10_000 && number("avg_xact_time") >= 25_000);
    client.leave();
    until("the client to be gone", SOON, || {
        let clients = console.query("SHOW CLIENTS");
        if clients.rows.len() == 1 { Ok(()) } else { Err(clients.rows) }
    });
    let gone = row_of(&mut console, "SHOW STATS_TOTALS", "database", scratch.name());
    assert_eq!(["query_count", "xact_count"].map(gone), ["5", "2"].map(str::to_owned));
}

#[test]
fn show_catalog_tells_what_is_known_of_a_database() {
    let weir = weir("");
    let scratch = Scratch::new("console_catalog");
    scratch.prepare("CREATE TABLE item (id int)");
    let mut console = boss(&weir);
    let mut client = weir.client("postgres", scratch.name());
    let shown = row_of(&mut console, "SHOW CATALOG", "database", scratch.name());
    assert_eq!(["state", "clients", "failures", "error"].map(&shown), ["known", "1", "0", ""]);
    assert_ne!(shown("objects"), "0");
    client.ask("BEGIN");
    client.ask("ALTER TABLE item ADD name text");
    let shown = row_of(&mut console, "SHOW CATALOG", "database", scratch.name());
    assert_eq!(shown("state"), "changing");
    client.ask("COMMIT");
    until("the change is known", SOON, || {
        match row_of(&mut console, "SHOW CATALOG", "database", scratch.name())("state").as_str() {
            "known" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

#[test]
fn show_nodes_tells_what_each_is_and_why_it_does_not_serve() {
    let weir = weir("routing.reads = \"replicas\"");
    let mut console = boss(&weir);
    let primary = shared().primary().address();
    let shown = row_of(&mut console, "SHOW NODES", "node", &primary);
    let seen = ["cluster", "role", "health", "reads", "writes", "fresh_as_of"].map(&shown);
    assert_eq!(seen, ["main", "primary", "up", "f", "t", ""].map(str::to_owned));
    assert_eq!(shown("why_not"), "the primary is spared reads");
    let replica = shared().replica(0).address();
    let shown = row_of(&mut console, "SHOW NODES", "node", &replica);
    let seen = ["role", "health", "reads", "writes", "why_not", "timeline"].map(&shown);
    assert_eq!(seen, ["replica", "up", "t", "f", "", "1"].map(str::to_owned));
    assert!(shown("fresh_as_of").ends_with(" UTC"), "{}", shown("fresh_as_of"));
    assert!(shown("staleness_us").parse::<u64>().unwrap() < 10_000_000);
}

#[test]
fn show_config_has_the_values_in_force_and_no_secrets() {
    let users = format!("{USERS}\npassword = \"s3cret-of-app\"");
    let config = "auth.method = \"trust\"\npool.size = 7\n\
                  clusters.main.monitor.password = \"s3cret-of-monitor\"\n\
                  clusters.main.pool.min_idle = 1";
    let weir = with_users(shared(), config, &users).start();
    let mut console = boss(&weir);
    let reply = console.query("SHOW CONFIG");
    assert!(!reply.text().contains("s3cret"), "{}", reply.text());
    let value = |key: &str| {
        let row = reply.rows.iter().find(|row| row[0].as_deref() == Some(key));
        let row = row.unwrap_or_else(|| panic!("no {key}"));
        row[1..4].iter().map(|cell| cell.clone().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(value("pool.size"), "7 20 yes");
    assert_eq!(value("auth.method"), "\"trust\" \"passthrough\" yes");
    assert_eq!(value("clusters.main.pool.min_idle"), "1 0 yes");
    assert_eq!(value("clusters.main.monitor.interval"), "\"100ms\" \"100ms\" yes");
    assert_eq!(value("runtime.workers"), "1 1 no");
    assert!(!column(&reply, "key").contains(&"clusters.main.pool.size".to_owned()));
}

#[test]
fn those_who_may_only_look_may_do_nothing_else() {
    let weir = weir("");
    let mut eye = weir.client("eye", "pgweir");
    assert!(eye.query("SHOW CLIENTS").failure.is_none());
    let commands = ["PAUSE", "KILL postgres", "KILL_CLIENT 1", "SHUTDOWN", "DRAIN x", "RECONNECT"];
    for command in commands.into_iter().chain(["RELOAD", "SET pool.size = 1"]) {
        assert_eq!(eye.fail(command).code(), "42501", "{command}");
        assert_eq!(eye.extended(command, &[]).failure.unwrap().code(), "42501", "{command}");
    }
    assert_eq!(boss(&weir).fail("SUSPEND").code(), "0A000");
    assert_eq!(weir.postgres().ask("SELECT 1"), "1");
}

#[test]
fn a_paused_database_waits_for_its_transactions_and_makes_clients_wait() {
    let scratch = Scratch::new("console_pause");
    let weir = weir("");
    let (mut console, mut other) = (boss(&weir), boss(&weir));
    let (mut client, mut late) =
        (weir.client("postgres", scratch.name()), weir.client("postgres", scratch.name()));
    let mut stranger = weir.postgres();
    client.ask("BEGIN");
    client.ask("CREATE TABLE t ()");
    console.wire.send(&Message::new().query(&format!("PAUSE {}", scratch.name())));
    until("the pause to begin", SOON, || {
        let paused = row_of(&mut other, "SHOW POOLS", "database", scratch.name())("paused");
        if paused == "t" { Ok(()) } else { Err(paused) }
    });
    // What has begun goes on; what has not waits; what is not meant is not touched.
    client.ask("SELECT 1");
    late.wire.send(&Message::new().query("SELECT 'late'"));
    stranger.ask("SELECT 1");
    assert!(!console.wire.hears_something(Duration::from_millis(100)), "a transaction is open");
    client.ask("COMMIT");
    assert_eq!(console.reply().commands, ["PAUSE"]);
    assert_eq!(servers_of(shared(), "postgres", scratch.name()), [0; 3]);
    let paused = row_of(&mut console, "SHOW DATABASES", "name", scratch.name());
    assert_eq!(paused("paused"), "1");
    assert_eq!(console.fail(&format!("PAUSE {}", scratch.name())).code(), "55000");
    assert!(!late.wire.hears_something(Duration::from_millis(100)), "it is paused");
    assert_eq!(console.query("RESUME").commands, ["RESUME"]);
    assert_eq!(late.reply().text(), "late");
    assert_eq!(console.fail("RESUME").code(), "55000");
    assert_eq!(console.fail("PAUSE pgweir").code(), "3D000");
}

#[test]
fn a_pause_that_is_given_up_is_undone() {
    let scratch = Scratch::new("console_unpause");
    let weir = weir("");
    let (mut console, mut client) = (boss(&weir), weir.client("postgres", scratch.name()));
    client.ask("BEGIN; SELECT 1");
    console.wire.send(&Message::new().query("PAUSE"));
    let mut other = boss(&weir);
    let state = |console: &mut Client| row_of(console, "SHOW STATE", "key", "paused")("value");
    until("the pause to begin", SOON, || match state(&mut other) {
        paused if paused == "yes" => Ok(()),
        paused => Err(paused),
    });
    let mut cancel = Wire::open(weir.port()).unwrap();
    let request = [&80_877_102_u32.to_be_bytes()[..], &console.key].concat();
    cancel.send(&Message::new().packet(&request));
    let reply = console.reply();
    assert_eq!(reply.failure.unwrap().code(), "57014");
    assert_eq!(state(&mut console), "no");
    client.ask("COMMIT; SELECT 1");
}

#[test]
fn clients_are_ended_one_by_one_and_by_database() {
    let scratch = Scratch::new("console_kill");
    let weir = weir("");
    let mut console = boss(&weir);
    let mut clients = [(); 3].map(|()| weir.client("postgres", scratch.name()));
    let mut stranger = weir.postgres();
    let [first, second, third] = &mut clients;
    assert_eq!(console.query(&format!("KILL_CLIENT {}", pid(first))).commands, ["KILL_CLIENT"]);
    let told = first.wire.frames_until(b'E').pop().unwrap();
    assert_eq!(Failure::parse(&told.body).code(), "57P01");
    assert_eq!(console.fail("KILL_CLIENT 999999").code(), "42704");
    assert_eq!(second.ask("SELECT 1"), "1");
    third.ask("BEGIN; CREATE TEMP TABLE t ()");
    assert_eq!(console.query(&format!("KILL {}", scratch.name())).commands, ["KILL"]);
    for client in [second, third] {
        let told = client.wire.frames_until(b'E').pop().unwrap();
        assert_eq!(Failure::parse(&told.body).code(), "57P01");
        assert!(client.wire.is_closed());
    }
    assert_eq!(stranger.ask("SELECT 1"), "1");
    until("its server connections to be closed", SOON, || {
        let left = servers_of(shared(), "postgres", scratch.name());
        if left == [0; 3] { Ok(()) } else { Err(left) }
    });
    assert_eq!(console.query(&format!("RESUME {}", scratch.name())).failure, None);
    assert_eq!(weir.client("postgres", scratch.name()).ask("SELECT 1"), "1");
}

#[test]
fn a_disabled_database_takes_no_new_clients() {
    let scratch = Scratch::new("console_disable");
    let weir = weir("");
    let (mut console, mut client) = (boss(&weir), weir.client("postgres", scratch.name()));
    assert_eq!(console.query(&format!("DISABLE {}", scratch.name())).commands, ["DISABLE"]);
    let failure = refused(&weir, "postgres", scratch.name());
    assert_eq!(failure.code(), "57P03", "{failure}");
    assert_eq!(client.ask("SELECT 1"), "1");
    let shown = row_of(&mut console, "SHOW DATABASES", "name", scratch.name());
    assert_eq!(shown("disabled"), "1");
    assert_eq!(console.query(&format!("ENABLE {}", scratch.name())).commands, ["ENABLE"]);
    assert_eq!(weir.client("postgres", scratch.name()).ask("SELECT 1"), "1");
}

#[test]
fn server_connections_are_exchanged_and_waited_for() {
    let scratch = Scratch::new("console_reconnect");
    let weir = weir("");
    let (mut console, mut idle) = (boss(&weir), weir.client("postgres", scratch.name()));
    let mut busy = weir.client("postgres", scratch.name());
    busy.ask("BEGIN");
    let old = busy.ask("SELECT pg_backend_pid()");
    idle.ask("/* pgweir: primary */ SELECT 1");
    assert_eq!(console.query("WAIT_CLOSE").commands, ["WAIT_CLOSE"], "nothing is old");
    let one = format!("RECONNECT {}", scratch.name());
    assert_eq!(console.query(&one).commands, ["RECONNECT"]);
    console.wire.send(&Message::new().query(&format!("WAIT_CLOSE {}", scratch.name())));
    assert_eq!(busy.ask("SELECT pg_backend_pid()"), old, "a transaction goes on where it is");
    assert!(!console.wire.hears_something(Duration::from_millis(100)), "an old one is in use");
    busy.ask("COMMIT");
    assert_eq!(console.reply().commands, ["WAIT_CLOSE"]);
    assert_ne!(busy.ask("/* pgweir: primary */ SELECT pg_backend_pid()"), old);
}

#[test]
fn a_drained_node_gets_no_new_work() {
    let weir = weir("");
    let (mut console, mut client) = (boss(&weir), weir.postgres());
    let [drained, other] = [0, 1].map(|at| shared().replica(at).address());
    assert_eq!(console.query(&format!("DRAIN {drained}")).commands, ["DRAIN"]);
    for _ in 0..20 {
        assert_eq!(client.where_ran("SELECT 1"), other);
    }
    let shown = row_of(&mut console, "SHOW NODES", "node", &drained);
    let seen = ["draining", "reads", "why_not"].map(shown);
    assert_eq!(seen, ["t", "f", "draining"].map(str::to_owned));
    assert_eq!(console.query(&format!("UNDRAIN \"{drained}\"")).commands, ["UNDRAIN"]);
    until("it to be used again", SOON, || {
        let node = client.where_ran("SELECT 1");
        if node == drained { Ok(()) } else { Err(node) }
    });
    let failure = console.fail("DRAIN nowhere:1");
    assert!(failure.code() == "42704" && failure.field('H').contains(&drained), "{failure}");
}

#[test]
fn shutdown_ends_it_at_once_or_when_clients_have_left() {
    let mut now = weir("");
    let (mut console, mut client) = (boss(&now), now.postgres());
    client.ask("BEGIN");
    assert_eq!(console.query("SHUTDOWN").commands, ["SHUTDOWN"]);
    assert_eq!(now.wait_for_end().code(), Some(0));

    let mut later = weir("");
    let (mut console, mut client) = (boss(&later), later.postgres());
    client.ask("SELECT 1");
    assert_eq!(console.query("SHUTDOWN WAIT_FOR_CLIENTS").commands, ["SHUTDOWN"]);
    later.wait_for_status("/readyz", 503);
    assert_eq!(client.ask("SELECT 2"), "2");
    until("the doors to be closed", SOON, || match Wire::open(later.port()) {
        Ok(_) => Err("it listens"),
        Err(_) => Ok(()),
    });
    assert!(later.ended().is_none());
    assert_eq!(client.ask("SELECT 3"), "3");
    client.leave();
    assert_eq!(later.wait_for_end().code(), Some(0));
}

/// Whether a case can run that needs this: told when it cannot, and a failure in full.
fn is_installed(case: &str, packages: &str, probe: &mut Command) -> bool {
    let is_there = works(probe);
    assert!(is_there || !is_full(), "{case}: not installed: {packages}");
    if !is_there {
        tell(&format!("SKIPPED {case}: install {packages}"));
    }
    is_there
}

#[test]
fn pythons_drivers_read_every_type_of_column_in_text_and_binary() {
    const PYTHON: &str = "/usr/bin/python3";
    let packages = "python3-psycopg python3-psycopg2 python3-asyncpg";
    let mut probe = Command::new(PYTHON);
    probe.args(["-c", "import psycopg, psycopg2, asyncpg"]);
    if !is_installed("console with python", packages, &mut probe) {
        return;
    }
    let weir = weir("");
    weir.postgres().ask("SELECT 1");
    let mut python = Command::new(PYTHON);
    python
        .arg(source("console.py"))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", weir.port().to_string())
        .env("PGUSER", "boss")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let told = run(&mut python, "", SOON).expect_success();
    assert_eq!(told.lines().count(), 3, "{told}");
}

/// A program that is killed on drop.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn debians_exporter_for_pgbouncer_finds_what_it_looks_for() {
    const EXPORTER: &str = "prometheus-pgbouncer-exporter";
    let mut probe = Command::new(EXPORTER);
    if !is_installed("the exporter for PgBouncer", EXPORTER, probe.arg("--version")) {
        return;
    }
    let weir = weir("");
    let mut client = weir.postgres();
    client.ask("SELECT 1");
    let port = PortLease::any().unwrap();
    let mut exporter = Command::new(EXPORTER);
    exporter
        .args(["--host", "127.0.0.1", "--port", &port.port().to_string()])
        .args(["--pgbouncer-host", "127.0.0.1", "--pgbouncer-user", "eye"])
        .args(["--pgbouncer-port", &weir.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _exporter = Running(exporter.spawn().unwrap());
    let metrics = until("its metrics", SOON, || match get(port.port(), "/metrics") {
        Some((200, body)) => Ok(Metrics::parse(&body)),
        other => Err(other),
    });
    // It knows these, and a column that it misses fails its whole scrape.
    let known = "from prometheus_pgbouncer_exporter import collectors as c\n\
        for one in (c.ListsCollector, c.StatsCollector, c.PoolsCollector, c.DatabasesCollector):\n\
        \x20   for name, _ in one.metrics.values(): print('pgbouncer_' + name)";
    let mut python = Command::new("/usr/bin/python3");
    let known = run(python.args(["-c", known]), "", SOON).expect_success();
    assert!(known.lines().count() >= 20, "{known}");
    for name in known.lines() {
        assert!(metrics.has(name), "{name} in {metrics:?}");
    }
    let of_postgres = |name| metrics.sum(name, &["database=\"postgres\""]);
    assert!(of_postgres("pgbouncer_requests_total") >= 1.0, "{metrics:?}");
    assert!(of_postgres("pgbouncer_sent_bytes_total") > 0.0, "{metrics:?}");
    assert_eq!(of_postgres("pgbouncer_active_clients"), 1.0, "{metrics:?}");
    assert_eq!(of_postgres("pgbouncer_pool_size"), 20.0, "{metrics:?}");
    assert_eq!(metrics.sum("pgbouncer_used_clients", &[]), 2.0, "{metrics:?}");
}

/// Asks the console for its version by psql.
fn version_by_psql(host: &str, port: u16, user: &str, password: &str) -> Result<String, String> {
    let mut psql: Command = shared().program("psql");
    let conninfo = format!("host={host} port={port} user={user} dbname=pgweir");
    psql.args(["-XAtw", "-d", &conninfo, "-c", "SHOW VERSION"]).env("PGPASSWORD", password);
    let finished = run(&mut psql, "", SOON);
    if finished.status.success() { Ok(finished.stdout) } else { Err(finished.stderr) }
}

#[test]
fn a_secret_of_the_users_file_is_asked_for_whatever_the_method() {
    let users = format!("{USERS}\nadmin = true\npassword = \"apples\"");
    for method in ["trust", "passthrough"] {
        let config = format!("auth.method = \"{method}\"");
        let weir = with_users(shared(), &config, &users).start();
        let ask = |password| version_by_psql("127.0.0.1", weir.port(), "app", password);
        assert!(ask("apples").unwrap().starts_with("pgweir "), "{method}");
        let refused = ask("pears").unwrap_err();
        assert!(refused.contains("password authentication failed"), "{method}: {refused}");
        // The servers let this role in unasked, and pgweir does so for them.
        assert_eq!(weir.client("app", "postgres").ask("SELECT 1"), "1", "{method}");
    }
    let secrets = "[[user]]\nname = \"boss\"\npassword = \"plums\"\nadmin = true";
    let weir = with_users(shared(), "auth.method = \"scram-sha-256\"", secrets).start();
    assert!(version_by_psql("127.0.0.1", weir.port(), "boss", "plums").is_ok());
    assert!(version_by_psql("127.0.0.1", weir.port(), "boss", "pears").is_err());
}

#[test]
fn without_a_secret_passthrough_asks_the_cluster_who_an_administrator_is() {
    let users = "[[user]]\nname = \"app\"\nadmin = true\n\
                 [[user]]\nname = \"no_such_role\"\nadmin = true";
    let weir = with_users(shared(), "auth.method = \"passthrough\"", users).start();
    assert!(weir.client("app", "pgweir").ask("SHOW VERSION").starts_with("pgweir "));
    let failure = refused(&weir, "no_such_role", "pgweir");
    assert!(failure.message().contains("role \"no_such_role\" does not exist"), "{failure}");
}

#[test]
fn an_administrator_gets_in_when_all_places_are_taken() {
    let weir = weir("listen.max_clients = 1");
    let _client = weir.postgres();
    assert_eq!(refused(&weir, "postgres", "postgres").code(), "53300");
    let mut consoles = [(); 3].map(|()| boss(&weir));
    assert_eq!(consoles[2].query("SHOW CLIENTS").rows.len(), 4);
    assert_eq!(refused(&weir, "boss", "pgweir").code(), "53300");
}

#[test]
fn the_console_is_reached_by_a_unix_socket_too() {
    let directory = TemporaryDir::new();
    let path = directory.path().display().to_string();
    let weir = weir(&format!("listen.unix_socket_dir = \"{path}\""));
    assert!(version_by_psql(&path, weir.port(), "boss", "").unwrap().starts_with("pgweir "));
    let mut psql: Command = shared().program("psql");
    let conninfo = format!("host={path} port={} user=boss dbname=pgweir", weir.port());
    let shown = run(psql.args(["-XAt", "-d", &conninfo, "-c", "SHOW CLIENTS"]), "", SOON);
    let shown = shown.expect_success();
    let cells: Vec<&str> = shown.trim().split('|').collect();
    assert_eq!(cells[4..8], ["unix", "0", "unix", "0"], "{shown}");
    assert!(cells[15].parse::<u32>().unwrap() > 0, "psql's process: {shown}");
}

#[test]
fn bytes_that_are_no_protocol_end_the_console_alone() {
    let weir = weir("");
    let rows = [
        (Message::new().raw(b'?', b""), "08P01"),
        (Message::new().raw(b'Q', b"SHOW VERSION"), "08P01"),
        (Message::new().raw(b'B', b"\0"), "08P01"),
        (Message::new().query(&"x".repeat(1 << 17)), "08P01"),
    ];
    for (message, code) in rows {
        let mut console = boss(&weir);
        console.wire.send_bytes(&message.0).unwrap_or_default();
        let told = console.wire.frames_until(b'E').pop().unwrap();
        assert_eq!(Failure::parse(&told.body).code(), code);
        assert!(console.wire.is_closed());
    }
    assert!(boss(&weir).ask("SHOW VERSION").starts_with("pgweir "));
}
