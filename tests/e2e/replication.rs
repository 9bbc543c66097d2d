//! Replication connections through pgweir: PostgreSQL's own programs, and the protocol byte by byte.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use pgweir_sandbox::{Login, PortLease, Sandbox, StopMode, hba_for_everyone};
use rustix::process::Signal;

use crate::harness::{Client, Failure, Message, SOON, Weir, Wire, prepare, resident, run, until};

const PHYSICAL: &[(&str, &str)] = &[("replication", "true")];
const LOGICAL: &[(&str, &str)] = &[("replication", "database")];

/// A primary whose WAL can be decoded. Nothing drops it; the sandbox's watchdog does.
fn cluster() -> &'static Sandbox {
    static CLUSTER: LazyLock<Sandbox> = LazyLock::new(|| logical().start().unwrap());
    &CLUSTER
}

fn logical() -> pgweir_sandbox::SandboxBuilder {
    Sandbox::builder()
        .replicas(1)
        .setting("wal_level", "logical")
        .setting("max_wal_senders", "30")
        .setting("max_replication_slots", "30")
}

/// One of PostgreSQL's programs, told to connect to this pgweir.
fn program(weir: &Weir, name: &str) -> Command {
    let mut command = cluster().program(name);
    let port = weir.port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "--no-password"]);
    command
}

fn replication(weir: &Weir, parameters: &[(&str, &str)]) -> Client {
    Client::connect(weir.port(), "postgres", "postgres", parameters).unwrap()
}

/// Where the primary's WAL ends.
fn position() -> String {
    cluster().primary().psql("SELECT pg_current_wal_insert_lsn()").unwrap()
}

/// A standby made by hand: ended on drop.
struct Standby {
    directory: PathBuf,
    port: PortLease,
}

impl Standby {
    fn start(directory: PathBuf) -> Self {
        let standby = Self { directory, port: PortLease::any().unwrap() };
        let options = format!("-p {}", standby.port.port());
        let log = standby.directory.join("log");
        let mut start = standby.pg_ctl(&["-w", "-o", &options, "start"]);
        start.arg("-l").arg(log);
        let status = start.status().unwrap();
        assert!(status.success(), "{status}");
        standby
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Command {
        let mut pg_ctl = cluster().program("pg_ctl");
        pg_ctl.arg("-D").arg(&self.directory).arg("-s").args(arguments);
        pg_ctl
    }

    fn ask(&self, sql: &str) -> String {
        let login = Login { user: "postgres", database: "postgres", password: None };
        cluster().psql_at(self.port.port(), &login, sql).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.pg_ctl(&["-m", "immediate", "stop"]).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_base_backup_is_taken_and_followed_as_a_standby() {
    let weir = Weir::start(cluster(), "");
    let directory = cluster().dir().join("copy");
    let mut backup = program(&weir, "pg_basebackup");
    backup.arg("-D").arg(&directory).args(["-X", "stream", "-c", "fast", "--no-sync", "-R"]);
    run(&mut backup, "", SOON).expect_success();
    let mut verify = cluster().program("pg_verifybackup");
    run(verify.arg(&directory), "", SOON).expect_success();

    // The copy was told where it came from: from pgweir.
    let standby = Standby::start(directory);
    prepare(cluster(), "CREATE TABLE followed AS SELECT 42 AS answer");
    until("the standby to follow", SOON, || {
        match standby.ask("SELECT answer FROM followed").as_str() {
            "42" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let conninfo = standby.ask("SELECT sender_port FROM pg_stat_wal_receiver");
    assert_eq!(conninfo, weir.port().to_string());
}

#[test]
fn wal_is_received() {
    let weir = Weir::start(cluster(), "");
    let directory = cluster().dir().join("received");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let receive = |arguments: &[&str]| {
        let mut receive = program(&weir, "pg_receivewal");
        receive.arg("-D").arg(&directory).args(["-S", "received"]).args(arguments);
        run(&mut receive, "", SOON).expect_success();
    };
    // WAL is kept from now on, and received from there.
    weir.postgres().ask("SELECT pg_create_physical_replication_slot('received', true)");
    prepare(cluster(), "CREATE TABLE received AS SELECT generate_series(1, 10000) AS id");
    let segment = cluster().primary().psql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    prepare(cluster(), "CREATE TABLE received_too AS SELECT 1 AS id");
    receive(&["--no-loop", "--no-sync", "--endpos", &position()]);
    assert!(directory.join(&segment).exists(), "{segment} in {}", directory.display());
    receive(&["--drop-slot"]);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn changes_are_decoded() {
    let weir = Weir::start(cluster(), "");
    prepare(cluster(), "CREATE TABLE decoded (id int)");
    let decode = |arguments: &[&str]| {
        let mut decode = program(&weir, "pg_recvlogical");
        decode.args(["-d", "postgres", "-S", "decoded"]).args(arguments);
        run(&mut decode, "", SOON).expect_success()
    };
    decode(&["--create-slot", "-P", "test_decoding"]);
    weir.postgres().ask("INSERT INTO decoded VALUES (7), (8)");
    let end = position();
    let changes = decode(&["--start", "--no-loop", "--endpos", &end, "-f", "-"]);
    for change in ["id[integer]:7", "id[integer]:8"] {
        let line = format!("table public.decoded: INSERT: {change}");
        assert!(changes.contains(&line), "{changes}");
    }
    decode(&["--drop-slot"]);
}

#[test]
fn a_subscription_is_fed() {
    let weir = Weir::start(cluster(), "");
    prepare(
        cluster(),
        "CREATE TABLE published (id int PRIMARY KEY);
         INSERT INTO published SELECT generate_series(1, 1000);
         CREATE PUBLICATION everything FOR TABLE published",
    );
    let subscriber = logical().replicas(0).own_identity().start().unwrap();
    let subscriber = subscriber.primary();
    subscriber.psql("CREATE TABLE published (id int PRIMARY KEY)").unwrap();
    let conninfo = weir.conninfo("postgres", "postgres");
    subscriber
        .psql(&format!("CREATE SUBSCRIPTION fed CONNECTION '{conninfo}' PUBLICATION everything"))
        .unwrap();
    // What was there is copied, on connections of their own; what comes is streamed.
    let count = "SELECT count(*) FROM published";
    subscriber.wait_for_answer(count, "1000", SOON).unwrap();
    weir.postgres().ask("INSERT INTO published VALUES (1001)");
    subscriber.wait_for_answer(count, "1001", SOON).unwrap();
    subscriber.psql("DROP SUBSCRIPTION fed").unwrap();
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'fed'";
    assert_eq!(cluster().primary().psql(slots).unwrap(), "0");
}

#[test]
fn commands_and_sql_are_answered_as_by_the_primary() {
    let weir = Weir::start(cluster(), "");
    let direct = |parameters: &[(&str, &str)]| {
        Client::connect(cluster().primary().port(), "postgres", "postgres", parameters).unwrap()
    };
    for word in ["true", "on", "yes", "1", "TRUE"] {
        let parameters = [("replication", word), ("application_name", "relayed")];
        let (mut through, mut direct) = (replication(&weir, &parameters), direct(&parameters));
        assert_eq!(through.parameters, direct.parameters, "{word}");
        let (one, other) = (through.query("IDENTIFY_SYSTEM"), direct.query("IDENTIFY_SYSTEM"));
        assert_eq!(one.columns, other.columns);
        // The third is the position in the WAL.
        assert_eq!((&one.rows[0][..2], &one.rows[0][3]), (&other.rows[0][..2], &other.rows[0][3]));
        // A physical walsender runs no SQL, and says so itself.
        assert_eq!(through.fail("SELECT 1").fields(), direct.fail("SELECT 1").fields());
        through.leave();
    }
    let options = [
        ("replication", "database"),
        ("options", r"-c work_mem=7MB -c application_name=a\ b"),
        ("datestyle", "german, dmy"),
    ];
    let mut client = replication(&weir, &options);
    assert_eq!(client.ask("SELECT current_database()"), "postgres");
    assert_eq!(client.ask("SHOW work_mem"), "7MB");
    assert_eq!(client.ask("SHOW datestyle"), "German, DMY");
    assert_eq!(client.ask("SHOW application_name"), "a b");
    assert_eq!(client.ask("SELECT pg_is_in_recovery()"), "f");
    assert_eq!(client.ask("SELECT usename FROM pg_stat_replication WHERE false"), "");
    // Nothing is shared: what it makes, only it has.
    client.ask("CREATE TEMP TABLE mine (id int)");
    let refused = replication(&weir, &options).fail("SELECT * FROM mine");
    assert_eq!(refused.code(), "42P01");
}

#[test]
fn a_cancel_request_reaches_it() {
    let weir = Weir::start(cluster(), "");
    let mut client = replication(&weir, LOGICAL);
    client.wire.send(&Message::new().query("SELECT pg_sleep(600) /* relayed */"));
    until("it to run", SOON, || {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* relayed %'
                       AND state = 'active' AND pid <> pg_backend_pid()";
        match cluster().primary().psql(running).unwrap().as_str() {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let mut wire = Wire::open(weir.port()).unwrap();
    let body = [&80_877_102_u32.to_be_bytes()[..], &client.key].concat();
    wire.send(&Message::new().packet(&body));
    assert!(wire.is_closed());
    let reply = client.reply();
    assert_eq!((reply.failure.unwrap().code(), reply.status), ("57014", 'I'));
    assert_eq!(client.ask("SELECT 1"), "1");
}

// ---- who may ----

/// Everyone but the monitor is asked for a password, for replication too.
fn asking() -> Sandbox {
    let mut lines = vec!["host all postgres 127.0.0.1/32 trust".to_owned()];
    lines.extend(hba_for_everyone("scram-sha-256"));
    logical()
        .replicas(0)
        .hba(lines)
        .role("copier", "LOGIN REPLICATION PASSWORD 'apples'")
        .role("app", "LOGIN PASSWORD 'oranges'")
        .start()
        .unwrap()
}

/// What psql hears on a replication connection.
fn identify(
    sandbox: &Sandbox,
    port: u16,
    user: &str,
    password: &str,
    kind: &str,
) -> Result<String, String> {
    let mut psql = sandbox.program("psql");
    let conninfo =
        format!("host=127.0.0.1 port={port} user={user} dbname=postgres replication={kind}");
    psql.args(["-XAtqw", "-F", " ", "-d", &conninfo, "-c", "IDENTIFY_SYSTEM"]);
    let finished = run(psql.env("PGPASSWORD", password), "", SOON);
    let error = finished.stderr.trim_end().rsplit("failed: ").next().unwrap_or_default().to_owned();
    let words: Vec<_> = finished.stdout.split_whitespace().collect();
    // Without the position in the WAL.
    if finished.status.success() { Ok([words[0], words[1]].join(" ")) } else { Err(error) }
}

#[test]
fn it_is_authenticated_by_every_method() {
    let sandbox = asking();
    let users = "[[user]]\nname = \"copier\"\npassword = \"apples\"\n\
                 [[user]]\nname = \"app\"\npassword = \"oranges\"\n";
    let file = "auth.users_file = \"users.toml\"";
    let methods = [("passthrough", ""), ("scram-sha-256", file), ("trust", file)];
    let direct = sandbox.primary().port();
    let right = identify(&sandbox, direct, "copier", "apples", "true");
    assert!(right.is_ok(), "{right:?}");
    for (method, config) in methods {
        let weir = Weir::setup(&sandbox)
            .config(&format!("auth.method = \"{method}\"\n{config}"))
            .file("users.toml", users)
            .start();
        for kind in ["true", "database"] {
            let through = |user, password| identify(&sandbox, weir.port(), user, password, kind);
            assert_eq!(through("copier", "apples"), right, "{method} {kind}");
            // Who may not replicate hears so from the server.
            let own = identify(&sandbox, direct, "app", "oranges", kind);
            assert!(own.is_err(), "{own:?}");
            assert_eq!(through("app", "oranges"), own, "{method} {kind}");
            if method != "trust" {
                let refused = through("copier", "pears").unwrap_err();
                assert!(refused.contains("password authentication failed"), "{method} {refused}");
                let stranger = through("stranger", "pears").unwrap_err();
                assert!(stranger.contains("authentication failed"), "{method} {stranger}");
            }
        }
    }
}

#[test]
fn a_physical_connection_needs_no_database_and_a_logical_one_does() {
    let config = "databases.shop.dbname = \"postgres\"";
    let weir = Weir::start(cluster(), config);
    let connect =
        |database, kind| Client::connect(weir.port(), "postgres", database, kind).map(drop);
    assert!(connect("replication", PHYSICAL).is_ok());
    assert!(connect("shop", LOGICAL).is_ok());
    assert_eq!(connect("replication", LOGICAL).unwrap_err().code(), "3D000");
}

// ---- bounds ----

#[test]
fn replication_takes_no_more_than_its_share_of_the_connections() {
    let weir = Weir::start(cluster(), "clusters.main.max_connections = 5");
    let one = replication(&weir, PHYSICAL);
    let _two = replication(&weir, LOGICAL);
    for kind in [PHYSICAL, LOGICAL] {
        let refused = Client::connect(weir.port(), "postgres", "postgres", kind).unwrap_err();
        assert_eq!((refused.code(), refused.field('S')), ("53300", "FATAL"), "{refused}");
        assert!(refused.field('D').contains("2 of them set apart"), "{refused}");
        assert!(!refused.field('H').is_empty(), "{refused}");
    }
    assert_eq!(weir.postgres().ask("SELECT pg_is_in_recovery()"), "f");
    one.leave();
    until("room", SOON, || {
        Client::connect(weir.port(), "postgres", "postgres", PHYSICAL).map(drop)
    });
}

/// What pgweir may take beside what it takes at rest while a backup passes, in bytes.
const ROOM: u64 = 8 << 20;

#[test]
fn a_backup_that_is_read_slowly_takes_no_memory() {
    let weir = Weir::start(cluster(), "");
    prepare(
        cluster(),
        "CREATE TABLE bulk AS SELECT repeat(md5(id::text), 30) AS t FROM generate_series(1, 40000) AS id",
    );
    let mut client = replication(&weir, PHYSICAL);
    let (at_rest, _) = resident(weir.pid());
    client.wire.send(&Message::new().query("BASE_BACKUP (CHECKPOINT 'fast', WAL false)"));
    assert!(client.wire.hears_something(SOON));
    // It must not only be slow, it must have been slow for a while.
    thread::sleep(Duration::from_millis(300));
    let mut bytes = 0;
    loop {
        let (tag, length) = client.wire.head();
        client.wire.skip(length);
        bytes += length;
        if tag == b'Z' {
            break;
        }
    }
    assert!(bytes > 40 << 20, "{bytes} bytes of backup");
    let (_, most) = resident(weir.pid());
    assert!(most < at_rest + ROOM, "{most} bytes at most, {at_rest} at rest");
}

// ---- ends ----

/// Begins to stream WAL from where it ends now.
fn stream(weir: &Weir) -> Client {
    let mut client = replication(weir, PHYSICAL);
    let flushed = cluster().primary().psql("SELECT pg_current_wal_flush_lsn()").unwrap();
    client.wire.send(&Message::new().query(&format!("START_REPLICATION PHYSICAL {flushed}")));
    client.wire.frames_until(b'W');
    client
}

/// The last word that a client hears before its connection is closed.
fn goodbye(client: &mut Client) -> Failure {
    loop {
        match client.wire.frame().expect("a goodbye") {
            frame if frame.tag == b'E' => return Failure::parse(&frame.body),
            _ => {}
        }
    }
}

#[test]
fn a_drain_ends_streams_at_once_and_lets_commands_finish() {
    let mut weir = Weir::start(cluster(), "listen.drain_timeout = \"30s\"");
    let (mut streaming, mut idle) = (stream(&weir), replication(&weir, PHYSICAL));
    let mut working = replication(&weir, LOGICAL);
    working.wire.send(&Message::new().query("SELECT pg_sleep(2), 'done' AS done"));
    weir.signal(Signal::TERM);
    for client in [&mut streaming, &mut idle] {
        let goodbye = goodbye(client);
        assert_eq!((goodbye.code(), goodbye.field('S')), ("57P01", "FATAL"), "{goodbye}");
        assert!(client.wire.is_closed());
    }
    assert_eq!(working.reply().text(), "|done");
    assert_eq!(goodbye(&mut working).code(), "57P01");
    assert!(working.wire.is_closed());
    assert_eq!(weir.wait_for_end().code(), Some(0));
}

#[test]
fn a_drain_ends_commands_when_its_time_is_over() {
    let mut weir = Weir::start(cluster(), "listen.drain_timeout = \"500ms\"");
    let mut working = replication(&weir, LOGICAL);
    working.wire.send(&Message::new().query("SELECT pg_sleep(600)"));
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_for_end().code(), Some(0));
    assert!(working.wire.is_closed());
}

#[test]
fn it_ends_with_the_server_and_is_served_by_the_next_primary() {
    let sandbox = logical().start().unwrap();
    let weir = Weir::start(&sandbox, "");
    let mut client = replication(&weir, LOGICAL);
    let first = client.ask("SHOW port");
    sandbox.primary().stop(StopMode::Immediate).unwrap();
    assert!(client.wire.is_closed());
    sandbox.replica(0).promote().unwrap();
    let port = until("the next primary", SOON, || {
        let mut client = Client::connect(weir.port(), "postgres", "postgres", LOGICAL)?;
        Ok::<_, Failure>(client.ask("SHOW port"))
    });
    assert_eq!(port, sandbox.primary().port().to_string());
    assert_ne!(port, first);
}

#[test]
fn a_client_that_has_closed_its_side_still_hears_the_answer() {
    let weir = Weir::start(cluster(), "");
    let mut client = replication(&weir, LOGICAL);
    client.wire.send(&Message::new().query("SELECT pg_sleep(0.3), 'heard'"));
    client.wire.shut_down_writing();
    assert_eq!(client.reply().text(), "|heard");
    assert!(client.wire.is_closed());
}
