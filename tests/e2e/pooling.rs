//! Many clients on few server connections.

use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::Sandbox;
use tokio_postgres::NoTls;

use crate::harness::{
    Client, Dice, Message, SOON, Scratch, Weir, describe_error, prepare, raise_descriptor_limit,
    servers_of, shared, until,
};

/// Clients of the crowd, and server connections per node for them.
const CROWD: usize = 2000;
const SERVERS: usize = 20;
/// Statements each of them sends, now and then.
const TURNS: usize = 4;
/// Files that this takes: sockets here and there, and some.
const DESCRIPTORS: u64 = 6000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_are_served_by_twenty_connections_per_node() {
    if !raise_descriptor_limit(DESCRIPTORS) {
        eprintln!("SKIPPED: this machine allows fewer than {DESCRIPTORS} open files");
        return;
    }
    let scratch = Scratch::new("pooling_crowd");
    scratch.prepare("CREATE TABLE item (client int, turn int)");
    // A machine that is busy with other cases serves as many, and takes longer over it.
    let lines = format!("pool.size = {SERVERS}\npool.checkout_timeout = \"60s\"");
    let weir = Weir::start(shared(), &lines);
    let conninfo = weir.conninfo("app", scratch.name());
    shared().primary().psql_in(scratch.name(), "GRANT ALL ON item TO app").unwrap();
    shared().wait_all_caught_up(SOON).unwrap();

    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(CROWD));
    let member =
        async |number: usize, conninfo: String, gate: std::sync::Arc<tokio::sync::Barrier>| {
            let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await?;
            tokio::spawn(connection);
            // Nobody sends before all are connected.
            gate.wait().await;
            let mut dice = Dice::new(u64::try_from(number).unwrap());
            for turn in 0..TURNS {
                tokio::time::sleep(Duration::from_millis(u64::try_from(dice.below(2000)).unwrap()))
                    .await;
                if turn == 1 {
                    let insert = format!("INSERT INTO item VALUES ({number}, {turn})");
                    client.batch_execute(&insert).await?;
                } else {
                    let sql = format!("SELECT count(*) FROM item WHERE client = {number}");
                    let rows = client.simple_query(&sql).await?;
                    assert!(rows.len() >= 2);
                }
            }
            Ok::<_, tokio_postgres::Error>(())
        };
    let members: Vec<_> = (0..CROWD)
        .map(|number| tokio::spawn(member(number, conninfo.clone(), gate.clone())))
        .collect();
    let mut failures = Vec::new();
    for member in members {
        if let Err(error) = member.await.unwrap() {
            failures.push(describe_error(&error));
        }
    }
    let servers = servers_of(shared(), "app", scratch.name());
    assert!(failures.is_empty(), "{} failed, such as {}", failures.len(), failures[0]);
    // How many reads replicas had is another matter: until the catalog is read, none.
    assert!(servers.iter().all(|&count| count <= SERVERS), "{servers:?}");
    let written = "SELECT count(DISTINCT client) FROM item";
    let written = shared().primary().psql_in(scratch.name(), written).unwrap();
    assert_eq!(written, CROWD.to_string());
}

#[test]
fn waiters_are_served_in_the_order_they_came() {
    let scratch = Scratch::new("pooling_order");
    scratch.prepare("CREATE TABLE item (place serial, client int)");
    let weir = Weir::start(shared(), "pool.size = 1\npool.checkout_timeout = \"30s\"");
    let mut holder = weir.client("postgres", scratch.name());
    holder.ask("BEGIN");
    holder.ask("SELECT 1");
    let waiting = || weir.metrics().sum("pgweir_pool_waiting", &[]);
    let mut clients = Vec::new();
    for number in 0..15 {
        let mut client = weir.client("postgres", scratch.name());
        let insert = format!("INSERT INTO item (client) VALUES ({number})");
        client.wire.send(&Message::new().query(&insert));
        until("one more to wait", SOON, || match waiting() {
            count if count == f64::from(number + 1) => Ok(()),
            count => Err(count),
        });
        clients.push(client);
    }
    holder.ask("COMMIT");
    for client in &mut clients {
        assert_eq!(client.reply().failure, None);
    }
    let order = "SELECT string_agg(client::text, ' ' ORDER BY place) FROM item";
    let order = shared().primary().psql_in(scratch.name(), order).unwrap();
    assert_eq!(order, (0..15).map(|number| number.to_string()).collect::<Vec<_>>().join(" "));
}

#[test]
fn waiting_ends_with_53300_and_the_client_goes_on() {
    let weir = Weir::start(shared(), "pool.size = 1\npool.checkout_timeout = \"300ms\"");
    let mut holder = weir.postgres();
    holder.ask("BEGIN");
    holder.ask("SELECT 1");
    let mut client = weir.postgres();
    let started = Instant::now();
    let refused = client.fail("SELECT pg_is_in_recovery()");
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    assert_eq!((refused.code(), refused.field('S')), ("53300", "ERROR"), "{refused}");
    assert!(refused.message().starts_with("pgweir: "), "{refused}");
    assert!(!refused.field('D').is_empty() && !refused.field('H').is_empty(), "{refused}");
    // The same in the extended protocol: everything up to the Sync is skipped.
    client
        .wire
        .send(&Message::new().run("SELECT pg_is_in_recovery()", &[]).run("SELECT 2", &[]).sync());
    let reply = client.reply();
    assert_eq!((reply.failure.unwrap().code(), reply.rows.len()), ("53300", 0));
    // A full pool is no sick node.
    assert_eq!(weir.metrics().sum("pgweir_node_up", &[]), 3.0);
    holder.ask("COMMIT");
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "f");
}

#[test]
fn a_client_that_stops_waiting_takes_nobodys_turn() {
    let weir = Weir::start(shared(), "pool.size = 1\npool.checkout_timeout = \"30s\"");
    let mut holder = weir.postgres();
    holder.ask("BEGIN");
    holder.ask("SELECT 1");
    let waiting = || weir.metrics().sum("pgweir_pool_waiting", &[]);
    let mut impatient = weir.postgres();
    impatient.wire.send(&Message::new().query("SELECT pg_is_in_recovery()"));
    let wait_for = |wanted: f64| {
        until("waiters", SOON, || match waiting() {
            count if count == wanted => Ok(()),
            count => Err(count),
        });
    };
    wait_for(1.0);
    let mut patient = weir.postgres();
    patient.wire.send(&Message::new().query("SELECT pg_is_in_recovery()"));
    wait_for(2.0);
    drop(impatient);
    wait_for(1.0);
    holder.ask("COMMIT");
    assert_eq!(patient.reply().text(), "f");
}

#[test]
fn one_client_too_many_is_refused_with_53300() {
    let weir = Weir::start(shared(), "listen.max_clients = 2");
    let (first, mut second) = (weir.postgres(), weir.postgres());
    let refused = Client::connect(weir.port(), "postgres", "postgres", &[]).unwrap_err();
    assert_eq!((refused.code(), refused.field('S')), ("53300", "FATAL"), "{refused}");
    assert!(refused.message().contains("too many clients"), "{refused}");
    assert_eq!(second.ask("SELECT 1"), "1");
    first.leave();
    until("a place", SOON, || Client::connect(weir.port(), "postgres", "postgres", &[]).map(drop));
}

#[test]
fn idle_connections_are_closed_and_kept_as_configured() {
    let scratch = Scratch::new("pooling_idle");
    let weir = Weir::start(shared(), "pool.idle_timeout = \"1s\"");
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                let mut client = weir.client("postgres", scratch.name());
                client.ask("BEGIN; SELECT pg_sleep(0.2); COMMIT");
            });
        }
    });
    until("idle connections to be closed", SOON, || {
        let servers = servers_of(shared(), "postgres", scratch.name());
        if servers.iter().all(|&count| count == 0) { Ok(()) } else { Err(servers) }
    });
}

#[test]
fn connections_beyond_what_the_nodes_allow_are_waited_for() {
    let sandbox = Sandbox::builder().replicas(0).setting("max_connections", "12").start().unwrap();
    prepare(
        &sandbox,
        "CREATE ROLE app LOGIN; CREATE TABLE item (id int); GRANT ALL ON item TO app",
    );
    let weir = Weir::start(&sandbox, "pool.size = 50\npool.checkout_timeout = \"20s\"");
    thread::scope(|scope| {
        for number in 0..40 {
            let weir = &weir;
            scope.spawn(move || {
                let mut client = weir.client("app", "postgres");
                client.ask(&format!(
                    "BEGIN; INSERT INTO item VALUES ({number}); SELECT pg_sleep(0.02); COMMIT"
                ));
            });
        }
    });
    assert_eq!(sandbox.primary().psql("SELECT count(*) FROM item").unwrap(), "40");
    let log = sandbox.primary().log().unwrap();
    assert!(!log.contains("too many clients"), "{log}");
}

#[test]
fn old_connections_are_replaced() {
    let scratch = Scratch::new("pooling_lifetime");
    let weir = Weir::start(shared(), "pool.max_lifetime = \"1s\"\npool.size = 1");
    let mut client = weir.client("postgres", scratch.name());
    let mut pid = || client.ask("/* pgweir: primary */ SELECT pg_backend_pid()");
    let first = pid();
    until("another connection", SOON, || match pid() {
        same if same == first => Err(same),
        _ => Ok(()),
    });
}

#[test]
fn idle_connections_are_kept_ready() {
    let scratch = Scratch::new("pooling_min_idle");
    let weir = Weir::start(shared(), "pool.min_idle = 3");
    let mut client = weir.client("postgres", scratch.name());
    client.ask("SELECT 1");
    client.ask("SELECT pg_is_in_recovery()");
    until("idle connections", SOON, || {
        let servers = servers_of(shared(), "postgres", scratch.name());
        if servers.iter().all(|&count| count >= 3) { Ok(()) } else { Err(servers) }
    });
}

/// Server connections a node may get, and backends that may be seen besides while they end.
const LIMIT: usize = 5;
const LEAVING: usize = 3;

#[test]
fn no_node_gets_more_connections_than_the_cluster_may_have() {
    let (one, other) = (Scratch::new("pooling_limit_one"), Scratch::new("pooling_limit_other"));
    let weir = Weir::start(shared(), &format!("clusters.main.max_connections = {LIMIT}"));
    thread::scope(|scope| {
        for number in 0..30 {
            let database = if number % 2 == 0 { one.name() } else { other.name() };
            let weir = &weir;
            scope.spawn(move || {
                let mut client = weir.client("app", database);
                for _ in 0..5 {
                    client.ask("BEGIN; SELECT pg_sleep(0.01); COMMIT");
                }
            });
        }
        let open = "SELECT count(*) FROM pg_stat_activity
                    WHERE usename = 'app' AND datname LIKE 'pooling_limit%'";
        for _ in 0..20 {
            let open: usize = shared().primary().psql(open).unwrap().parse().unwrap();
            assert!(open <= LIMIT + LEAVING, "{open} connections");
        }
    });
}

#[test]
fn a_database_can_be_dropped_renamed_and_copied_although_connections_to_it_are_pooled() {
    let weir = Weir::start(shared(), "pool.size = 2");
    let mut client = weir.postgres();
    let visit = |database: &str| assert_eq!(weir.client("postgres", database).ask("SELECT 1"), "1");
    client.ask("DROP DATABASE IF EXISTS pooling_gone");
    visit("template1");
    client.ask("CREATE DATABASE pooling_made");
    for statement in [
        "CREATE DATABASE pooling_copy TEMPLATE pooling_made",
        "ALTER DATABASE pooling_made RENAME TO pooling_gone",
    ] {
        visit("pooling_made");
        client.ask(statement);
    }
    for database in ["pooling_gone", "pooling_copy"] {
        visit(database);
        client.ask(&format!("DROP DATABASE {database}"));
    }
    // A template is left at once, for those who do not ask through pgweir.
    visit("template1");
    shared().primary().psql("CREATE DATABASE pooling_gone").unwrap();
    shared().primary().psql("DROP DATABASE pooling_gone").unwrap();
}

/// What a client has asked in one go is over when pgweir itself has answered the last of it, too.
#[test]
fn a_client_that_was_answered_without_the_server_keeps_no_connection() {
    const PRIMARY: &str = "SELECT pg_is_in_recovery()";
    let scratch = Scratch::new("pooling_answered");
    scratch.prepare("CREATE TABLE leaving (id int)");
    let weir = Weir::start(shared(), "pool.size = 1");
    let mut client = weir.client("postgres", scratch.name());
    client.ask("PREPARE counted AS SELECT count(*) FROM leaving");
    // Its connection has to be another one, which cannot be given the statement any more.
    let pid = client.ask("SELECT pg_backend_pid()");
    let primary = shared().primary();
    primary.psql_in(scratch.name(), "DROP TABLE leaving").unwrap();
    primary.psql_in(scratch.name(), &format!("SELECT pg_terminate_backend({pid})")).unwrap();
    until("another connection", SOON, || match client.query(PRIMARY).failure {
        None => Ok(()),
        Some(failure) => Err(failure.message().to_owned()),
    });
    client.wire.send(&Message::new().query(PRIMARY).query("EXECUTE counted"));
    assert_eq!(client.reply().text(), "f");
    assert_eq!(client.reply().failure.unwrap().code(), "42P01");
    weir.client("postgres", scratch.name()).ask(PRIMARY);
}
