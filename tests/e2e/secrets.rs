//! `auth.method = "query"`: secrets that an operator's query reads from the cluster.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use pgweir_sandbox::{Login, Sandbox, hba_for_everyone};

use crate::auth::{self, words};
use crate::harness::{Client, SOON, Setup, Weir, prepare, run, until};

const SHADOW: &str = "SELECT usename, passwd FROM pg_shadow WHERE usename = $1";
const WHO: &str = "SELECT session_user";

/// Logs in with a password by psql, a real libpq, and runs SQL.
fn psql(
    sandbox: &Sandbox,
    port: u16,
    user: &str,
    password: &str,
    sql: &str,
) -> Result<String, String> {
    auth::psql(sandbox, port, user, Some(password), sql)
}

/// Servers that let in the monitor unasked, and ask everybody else for a password.
fn cluster(replicas: usize) -> Sandbox {
    let mut hba = vec![
        "host all postgres 127.0.0.1/32 trust".to_owned(),
        "host replication all 127.0.0.1/32 trust".to_owned(),
    ];
    hba.extend(hba_for_everyone("scram-sha-256"));
    Sandbox::builder()
        .replicas(replicas)
        .hba(hba)
        .role("keeper", "LOGIN PASSWORD 'keys'")
        .role("app", "LOGIN PASSWORD 'apples'")
        .role("we\"ird 'name", "LOGIN PASSWORD 'it''s'")
        .role("bare", "LOGIN")
        .role("nobody", "NOLOGIN PASSWORD 'x'")
        .start()
        .unwrap()
}

/// A pgweir whose secrets come from this query, asked as a role that has nothing but a function.
fn setup<'a>(sandbox: &'a Sandbox, query: &str) -> Setup<'a> {
    setup_as(sandbox, "keeper", query)
}

/// The same, asked as this role.
fn setup_as<'a>(sandbox: &'a Sandbox, role: &str, query: &str) -> Setup<'a> {
    Weir::setup(sandbox)
        .config(&format!("auth.method = \"query\"\nauth.query_user = {role:?}"))
        .config(&format!("auth.query = {query:?}"))
        .config("auth.users_file = \"users.toml\"")
        .file("users.toml", "[[user]]\nname = \"keeper\"\npassword = \"keys\"\n")
}

/// What PgBouncer's manual has operators install.
fn install_function(sandbox: &Sandbox) {
    prepare(
        sandbox,
        "CREATE SCHEMA keeping; GRANT USAGE ON SCHEMA keeping TO keeper; \
         CREATE FUNCTION keeping.look_up(INOUT who text, OUT secret text) RETURNS record \
         LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS \
         $$ BEGIN SELECT usename, passwd INTO who, secret FROM pg_shadow WHERE usename = who; END $$; \
         REVOKE ALL ON FUNCTION keeping.look_up FROM public; \
         GRANT EXECUTE ON FUNCTION keeping.look_up TO keeper; \
         ALTER ROLE keeper SET search_path = keeping",
    );
}

#[test]
fn secrets_are_read_by_a_role_that_may_do_nothing_else() {
    let sandbox = cluster(1);
    install_function(&sandbox);
    // The function is found by the role's own search path.
    let weir = setup(&sandbox, "SELECT * FROM look_up($1)").start();
    let login = |user, password| psql(&sandbox, weir.port(), user, password, WHO);
    for _ in 0..2 {
        assert_eq!(login("app", "apples"), Ok("app".to_owned()));
        assert_eq!(login("we\"ird 'name", "it's"), Ok("we\"ird 'name".to_owned()));
        assert_eq!(login("keeper", "keys"), Ok("keeper".to_owned()));
    }
    // On all servers, with nothing but the key that the client's proof has revealed.
    let moves = "BEGIN READ ONLY; SELECT 1; COMMIT; SELECT 2; SELECT pg_is_in_recovery()";
    assert_eq!(psql(&sandbox, weir.port(), "app", "apples", moves), Ok("1\n2\nf".to_owned()));
    // A replication connection is let in by the same.
    prepare(&sandbox, "ALTER ROLE app REPLICATION");
    let mut replication = sandbox.program("psql");
    let conninfo =
        format!("{} password=apples replication=database", weir.conninfo("app", "postgres"));
    let told = run(replication.args(["-XAtq", "-d", &conninfo, "-c", "IDENTIFY_SYSTEM"]), "", SOON);
    assert!(told.expect_success().ends_with("|postgres\n"));
    // A wrong password, a role that does not exist, has no password, is another's: all alike, and as
    // the server itself says it.
    let direct = sandbox.primary().port();
    for (user, password) in
        [("app", "keys"), ("stranger", "x"), ("bare", "x"), ("' OR true --", "x")]
    {
        let through = words(&login(user, password));
        assert_eq!(through, words(&psql(&sandbox, direct, user, password, WHO)), "{user}");
    }
    // pg_shadow has only who may log in.
    assert!(words(&login("nobody", "x")).contains("password authentication failed"));
    let log = weir.log();
    for secret in ["SCRAM-SHA-256$", "apples", "keys"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_changed_password_counts_at_once() {
    let sandbox = cluster(0);
    let weir = setup_as(&sandbox, "postgres", SHADOW).start();
    let login = |password| psql(&sandbox, weir.port(), "app", password, WHO);
    for (old, new) in [("apples", "pears"), ("pears", "plums"), ("plums", "apples")] {
        assert_eq!(login(old), Ok("app".to_owned()));
        prepare(&sandbox, &format!("ALTER ROLE app PASSWORD '{new}'"));
        assert!(words(&login(old)).contains("password authentication failed"));
        // At the first attempt. Server connections that are idle are the old key's, and as good.
        assert_eq!(login(new), Ok("app".to_owned()));
    }
    prepare(&sandbox, "ALTER ROLE app PASSWORD NULL");
    assert!(words(&login("apples")).contains("password authentication failed"));
}

#[test]
fn md5_hashes_are_secrets_too() {
    let sandbox = Sandbox::builder()
        .replicas(0)
        .hba(["host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 md5"])
        .setting("password_encryption", "md5")
        .role("app", "LOGIN PASSWORD 'apples'")
        .start()
        .unwrap();
    let weir = setup_as(&sandbox, "postgres", SHADOW).start();
    let login = |password| psql(&sandbox, weir.port(), "app", password, WHO);
    assert_eq!(login("apples"), Ok("app".to_owned()));
    let direct = psql(&sandbox, sandbox.primary().port(), "app", "pears", WHO);
    assert_eq!(words(&login("pears")), words(&direct));
    prepare(&sandbox, "ALTER ROLE app PASSWORD 'pears'");
    assert_eq!(login("pears"), Ok("app".to_owned()));
}

#[test]
fn a_query_that_is_no_good_lets_nobody_in_and_tells_strangers_nothing() {
    let sandbox = cluster(0);
    prepare(
        &sandbox,
        "CREATE TABLE secret (name text, secret text); GRANT ALL ON secret TO app; \
         INSERT INTO secret VALUES ('app', 'apples'), ('twice', 'a'), ('twice', 'b')",
    );
    let rows = [
        // No privilege, no table, no syntax.
        ("SELECT usename, passwd FROM pg_shadow WHERE usename = $1", "permission denied for"),
        ("SELECT usename, passwd FROM nowhere WHERE usename = $1", "42P01"),
        ("SELEC passwd WHERE usename = $1", "42601"),
        // An error that repeats the value is not repeated.
        (
            "SELECT ('SCRAM-SHA-256' || '$4096' || $1)::int::text",
            "22P02 (the server's log says more)",
        ),
        // Other rows than one of the user's.
        ("SELECT name, 'x' FROM (VALUES ($1::text), ('b')) AS v (name)", "more than one row"),
        ("SELECT 'postgres', 'md5' || md5($1)", "the row of another user"),
        ("SELECT $1::text, 'a'::text, 'b'::text", "neither a secret nor"),
        ("SELECT 1, $1::text", "error deserializing column 0"),
        // One that never ends is ended, by the server.
        ("SELECT $1::text, pg_sleep(600)::text", "57014"),
        // It only reads.
        ("INSERT INTO secret VALUES ($1, 'x') RETURNING name, secret", "permission denied"),
    ];
    let weir = setup(&sandbox, SHADOW).config("clusters.main.monitor.timeout = \"500ms\"").start();
    let text = fs::read_to_string(weir.config_file()).unwrap();
    for (query, logged) in rows {
        let line = format!("auth.query = {query:?}\n");
        let lines = text.lines().filter(|line| !line.starts_with("auth.query ="));
        let new = lines.fold(line, |text, line| text + line + "\n");
        fs::write(weir.config_file(), new).unwrap();
        let told = until(logged, SOON, || {
            let told = words(&psql(&sandbox, weir.port(), "app", "apples", WHO));
            if weir.log().contains(logged) { Ok(told) } else { Err(weir.log()) }
        });
        let told: Vec<&str> = told.lines().collect();
        let expected = ["FATAL:  pgweir: the role's secret could not be read"];
        assert_eq!(told[..1], expected, "{query}: {told:?}");
        assert!(told[1..].iter().all(|line| line.starts_with("HINT")), "{query}: {told:?}");
    }
    assert!(!weir.log().contains("SCRAM-SHA-256$4096"), "{}", weir.log());
    // None of those that hung is left at it.
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'keeper' AND state = 'active'";
    until("hanging queries to end", SOON, || {
        match sandbox.primary().psql(running).unwrap().as_str() {
            "0" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

#[test]
fn what_is_no_secret_is_nobodys_password() {
    let sandbox = cluster(0);
    // A password in the clear, a secret with a typing error, an empty one.
    let query = "SELECT $1::text, CASE $1 WHEN 'app' THEN 'apples' WHEN 'bare' THEN 'SCRAM-SHA-256$x' ELSE '' END";
    let weir = setup(&sandbox, query).start();
    for (user, password) in [("app", "apples"), ("bare", "SCRAM-SHA-256$x"), ("keeper", "keys")] {
        let told = words(&psql(&sandbox, weir.port(), user, password, WHO));
        assert_eq!(told, format!("FATAL:  password authentication failed for user \"{user}\""));
    }
    assert!(weir.log().contains("neither SCRAM-SHA-256's nor an md5 hash"), "{}", weir.log());
}

#[test]
fn another_query_and_another_role_are_taken_over_by_a_reload() {
    let sandbox = cluster(0);
    install_function(&sandbox);
    prepare(&sandbox, "CREATE ROLE second LOGIN PASSWORD 'doors'; GRANT keeper TO second");
    let weir = setup(&sandbox, "SELECT * FROM keeping.look_up($1)").start();
    assert_eq!(psql(&sandbox, weir.port(), "app", "apples", WHO), Ok("app".to_owned()));
    let text = fs::read_to_string(weir.config_file()).unwrap();
    let file = weir.config_file();
    fs::write(
        file.with_file_name("users.toml"),
        "[[user]]\nname = \"second\"\npassword = \"doors\"\n",
    )
    .unwrap();
    fs::write(&file, text.replace("\"keeper\"", "\"second\"")).unwrap();
    let roles = "SELECT string_agg(DISTINCT usename, ',') FROM pg_stat_activity \
                 WHERE application_name = 'pgweir' AND usename IN ('keeper', 'second')";
    until("the other role", SOON, || {
        assert_eq!(psql(&sandbox, weir.port(), "app", "apples", WHO), Ok("app".to_owned()));
        match sandbox.primary().psql(roles).unwrap().as_str() {
            "second" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

#[test]
fn logins_go_on_without_a_primary() {
    let sandbox = cluster(1);
    install_function(&sandbox);
    sandbox.wait_all_caught_up(SOON).unwrap();
    let weir = setup(&sandbox, "SELECT * FROM keeping.look_up($1)")
        .config("failover.hold = \"1s\"")
        .start();
    let login = || psql(&sandbox, weir.port(), "app", "apples", "SELECT pg_backend_pid() > 0");
    assert_eq!(login(), Ok("t".to_owned()));
    sandbox.primary().kill().unwrap();
    // From the first moment on: whether the monitor knows already makes no difference to the secret.
    let read = "/* pgweir: replica */ SELECT 1";
    let told = psql(&sandbox, weir.port(), "app", "apples", read);
    assert!(
        !told.as_ref().is_err_and(|told| told.contains("secret could not be read")),
        "{told:?}"
    );
    until("a login on the replica", SOON, || {
        psql(&sandbox, weir.port(), "app", "apples", read).map(drop)
    });
    let wrong = psql(&sandbox, weir.port(), "app", "pears", read);
    assert!(words(&wrong).contains("password authentication failed"), "{wrong:?}");
}

/// Logins of a storm: threads, and how many each does at once.
const THREADS: usize = 8;
const EACH: usize = 40;

#[test]
fn a_storm_of_logins_asks_on_two_connections_and_lets_everybody_in() {
    let sandbox = cluster(0);
    install_function(&sandbox);
    prepare(&sandbox, "ALTER ROLE keeper SET log_statement = 'all'");
    let weir = setup(&sandbox, "SELECT * FROM keeping.look_up($1)").start();
    let ended = AtomicBool::new(false);
    let running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'keeper'";
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(sandbox.primary().psql(running).unwrap().parse().unwrap());
            }
            most
        });
        let logins: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| storm(&weir, EACH))).collect();
        let results: Vec<_> = logins.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "{}", weir.log());
        watcher.join().unwrap()
    });
    assert!((1..=2).contains(&most), "{most}");
    // Most of them have shared a question.
    let log = sandbox.primary().log().unwrap();
    let asked = |line: &&str| line.contains("execute") && line.contains("keeping.look_up($1)");
    let questions = log.lines().filter(asked).count();
    assert!((1..THREADS * EACH / 2).contains(&questions), "{questions} questions");
}

/// Logs in so many times at once, with a driver that speaks SCRAM.
fn storm(weir: &Weir, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let conninfo = format!("{} password=apples", weir.conninfo("app", "postgres"));
    runtime.block_on(async {
        let login = || async {
            let (client, connection) =
                tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
        };
        futures_util::future::join_all((0..count).map(|_| login())).await;
    });
}

#[test]
fn an_administrator_without_a_secret_is_verified_by_the_query_too() {
    let sandbox = cluster(0);
    install_function(&sandbox);
    let weir = setup(&sandbox, "SELECT * FROM keeping.look_up($1)")
        .file(
            "users.toml",
            "[[user]]\nname = \"keeper\"\npassword = \"keys\"\n[[user]]\nname = \"app\"\nadmin = true\n",
        )
        .start();
    let show = |password| {
        let login = Login { user: "app", database: "pgweir", password: Some(password) };
        sandbox.psql_at(weir.port(), &login, "SHOW VERSION")
    };
    assert!(show("apples").unwrap().contains("pgweir"));
    assert!(show("pears").is_err());
    let stranger = Client::connect(weir.port(), "stranger", "pgweir", &[]).unwrap_err();
    assert_eq!(stranger.code(), "28000", "{stranger}");
}
