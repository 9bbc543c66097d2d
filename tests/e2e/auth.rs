//! Who is let in, and as whom pgweir enters the servers.

use std::time::Duration;

use pgweir_sandbox::{Login, Sandbox, SandboxError, hba_for_everyone};

use crate::harness::{Client, SOON, Setup, Weir, prepare, shared, until};

/// Logs in with psql, a real libpq, and runs SQL.
pub(crate) fn psql(
    sandbox: &Sandbox,
    port: u16,
    user: &str,
    password: Option<&str>,
    sql: &str,
) -> Result<String, String> {
    let login = Login { user, database: "postgres", password };
    sandbox.psql_at(port, &login, sql).map_err(|error| match error {
        SandboxError::Sql { message, .. } => message,
        other => other.to_string(),
    })
}

/// What a message says behind the address, which differs between pgweir and a server.
pub(crate) fn words(error: &Result<String, String>) -> String {
    let error = error.as_ref().unwrap_err();
    error.split_once("failed: ").map_or(error.clone(), |(_, words)| words.to_owned())
}

const WHO: &str = "SELECT session_user, current_user";

/// Only the monitor's role is let in unasked.
fn asking(method: &str) -> Vec<String> {
    let mut lines = vec![
        "host all postgres 127.0.0.1/32 trust".to_owned(),
        "host replication all 127.0.0.1/32 trust".to_owned(),
    ];
    lines.extend(hba_for_everyone(method));
    lines
}

fn cluster(method: &str) -> Sandbox {
    Sandbox::builder()
        .hba(asking(method))
        .role("app", "LOGIN PASSWORD 'apples'")
        .role("other", "LOGIN PASSWORD 'oranges'")
        .role("nobody", "NOLOGIN PASSWORD 'x'")
        .role("bare", "LOGIN")
        .start()
        .unwrap()
}

fn users_file(sandbox: &Sandbox, users: &str) -> Weir {
    with_users_file(sandbox, users).start()
}

fn with_users_file<'a>(sandbox: &'a Sandbox, users: &str) -> Setup<'a> {
    Weir::setup(sandbox)
        .config("auth.method = \"scram-sha-256\"\nauth.users_file = \"users.toml\"")
        .file("users.toml", users)
}

#[test]
fn whom_the_server_lets_in_unasked_pgweir_lets_in_unasked() {
    let weir = Weir::start(shared(), "");
    assert_eq!(psql(shared(), weir.port(), "app", None, WHO), Ok("app|app".to_owned()));
    // A role that does not exist is the server's to refuse, in its words.
    let (port, direct) = (weir.port(), shared().primary().port());
    let (through, direct) = (
        psql(shared(), port, "stranger", None, WHO),
        psql(shared(), direct, "stranger", None, WHO),
    );
    assert_eq!(words(&through), words(&direct));
}

#[test]
fn passthrough_verifies_by_the_servers_own_scram_secrets() {
    let sandbox = cluster("scram-sha-256");
    let weir = Weir::start(&sandbox, "");
    let login = |user, password| psql(&sandbox, weir.port(), user, password, WHO);
    for _ in 0..2 {
        assert_eq!(login("app", Some("apples")), Ok("app|app".to_owned()));
        assert_eq!(login("other", Some("oranges")), Ok("other|other".to_owned()));
    }
    // Reads and writes open connections on all nodes with nothing but the client's key.
    let moves = "BEGIN READ ONLY; SELECT 1; COMMIT; SELECT 2; SELECT pg_is_in_recovery()";
    assert_eq!(psql(&sandbox, weir.port(), "app", Some("apples"), moves), Ok("1\n2\nf".to_owned()));

    // A wrong password, a role that does not exist, may not log in, has no password: all alike.
    let direct = sandbox.primary().port();
    for (user, password) in
        [("app", "oranges"), ("stranger", "x"), ("bare", "x"), ("app", ""), ("other", "apples")]
    {
        let (through, direct) = (
            psql(&sandbox, weir.port(), user, Some(password), WHO),
            psql(&sandbox, direct, user, Some(password), WHO),
        );
        assert_eq!(words(&through), words(&direct), "{user} with {password:?}");
    }
    assert!(psql(&sandbox, weir.port(), "app", None, WHO).unwrap_err().contains("no password"));
    let not_permitted = words(&login("nobody", Some("x")));
    assert_eq!(not_permitted, words(&psql(&sandbox, direct, "nobody", Some("x"), WHO)));

    // A changed password counts for whoever comes next.
    prepare(&sandbox, "ALTER ROLE app PASSWORD 'pears'");
    assert_eq!(login("app", Some("pears")), Ok("app|app".to_owned()));
    assert!(words(&login("app", Some("apples"))).contains("password authentication failed"));
    until("new server connections with the new key", SOON, || {
        login("app", Some("pears")).and_then(|_| {
            psql(
                &sandbox,
                weir.port(),
                "app",
                Some("pears"),
                "SELECT 1; SELECT pg_is_in_recovery()",
            )
        })
    });
}

#[test]
fn names_and_passwords_of_any_kind_pass_through() {
    let rows = [
        ("we\"ird", "it's"),
        ("Ümläut name", "pässwörd"),
        ("plain", "\u{2168}\u{a0}a\u{ad}b"),
        ("long", &"x".repeat(500)),
        ("comma,=", ",=n=x,r=y"),
    ];
    let mut builder = Sandbox::builder().hba(asking("scram-sha-256"));
    for (name, password) in rows {
        builder = builder.role(name, format!("LOGIN PASSWORD '{}'", password.replace('\'', "''")));
    }
    let sandbox = builder.start().unwrap();
    let weir = Weir::start(&sandbox, "");
    for (name, password) in rows {
        let who = psql(&sandbox, weir.port(), name, Some(password), "SELECT session_user");
        assert_eq!(who, Ok(name.to_owned()));
        let wrong = psql(&sandbox, weir.port(), name, Some("wrong"), WHO);
        let direct = psql(&sandbox, sandbox.primary().port(), name, Some("wrong"), WHO);
        assert_eq!(words(&wrong), words(&direct));
    }
}

#[test]
fn one_users_proof_opens_nothing_for_another() {
    let sandbox = cluster("scram-sha-256");
    let weir = Weir::start(&sandbox, "");
    prepare(&sandbox, "CREATE TABLE secret (a int); GRANT ALL ON secret TO app");
    let app = psql(&sandbox, weir.port(), "app", Some("apples"), "SELECT count(*) FROM secret");
    assert_eq!(app, Ok("0".to_owned()));
    let other =
        psql(&sandbox, weir.port(), "other", Some("oranges"), "SELECT count(*) FROM secret");
    assert!(other.unwrap_err().contains("permission denied for table secret"));
}

#[test]
fn passthrough_works_where_the_monitor_has_a_password_too() {
    let sandbox = Sandbox::builder()
        .hba(
            ["host replication all 127.0.0.1/32 trust".to_owned()]
                .into_iter()
                .chain(hba_for_everyone("scram-sha-256")),
        )
        .role("watcher", "LOGIN SUPERUSER PASSWORD 'binoculars'")
        .role("app", "LOGIN PASSWORD 'apples'")
        .start()
        .unwrap();
    let weir = Weir::setup(&sandbox)
        .config("clusters.main.monitor.user = \"watcher\"")
        .config("clusters.main.monitor.password_file = \"monitor-password\"")
        .file("monitor-password", "binoculars\n")
        .start();
    assert_eq!(psql(&sandbox, weir.port(), "app", Some("apples"), WHO), Ok("app|app".to_owned()));
    let wrong = psql(&sandbox, weir.port(), "app", Some("bananas"), WHO).unwrap_err();
    assert!(wrong.contains("password authentication failed for user \"app\""), "{wrong}");
}

#[test]
fn passthrough_knows_md5_secrets() {
    let sandbox = Sandbox::builder()
        .hba(asking("md5"))
        .setting("password_encryption", "md5")
        .role("app", "LOGIN PASSWORD 'apples'")
        .start()
        .unwrap();
    let weir = Weir::start(&sandbox, "");
    assert_eq!(psql(&sandbox, weir.port(), "app", Some("apples"), WHO), Ok("app|app".to_owned()));
    assert_eq!(
        words(&psql(&sandbox, weir.port(), "app", Some("pears"), WHO)),
        words(&psql(&sandbox, sandbox.primary().port(), "app", Some("pears"), WHO))
    );
}

#[test]
fn a_users_file_knows_passwords_and_scram_secrets() {
    let sandbox = cluster("scram-sha-256");
    let secret = "SELECT rolpassword FROM pg_authid WHERE rolname = 'other'";
    let secret = sandbox.primary().psql(secret).unwrap();
    let users = format!(
        "[[user]]\nname = \"app\"\npassword = \"apples\"\n\n[[user]]\nname = \"other\"\nscram = \"{secret}\"\n"
    );
    let weir = users_file(&sandbox, &users);
    let login = |user, password| psql(&sandbox, weir.port(), user, Some(password), WHO);
    assert_eq!(login("app", "apples"), Ok("app|app".to_owned()));
    assert_eq!(login("other", "oranges"), Ok("other|other".to_owned()));
    for (user, password) in [("app", "pears"), ("other", "apples"), ("stranger", "x")] {
        let wrong = words(&login(user, password));
        assert_eq!(wrong, format!("FATAL:  password authentication failed for user \"{user}\""));
    }
}

#[test]
fn a_refused_password_has_postgresqls_sqlstate() {
    let sandbox = cluster("scram-sha-256");
    let weir = users_file(&sandbox, "[[user]]\nname = \"app\"\npassword = \"apples\"\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let conninfo = format!("{} password=pears", weir.conninfo("app", "postgres"));
        tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.err().unwrap()
    });
    let refused = refused.as_db_error().unwrap();
    assert_eq!((refused.code().code(), refused.severity()), ("28P01", "FATAL"));
}

#[test]
fn trust_lets_in_and_the_users_file_opens_the_servers() {
    for method in ["scram-sha-256", "md5"] {
        let sandbox = cluster(method);
        let weir = Weir::setup(&sandbox)
            .config("auth.method = \"trust\"\nauth.users_file = \"users.toml\"")
            .file("users.toml", "[[user]]\nname = \"app\"\npassword = \"apples\"\n")
            .start();
        assert_eq!(
            psql(&sandbox, weir.port(), "app", None, WHO),
            Ok("app|app".to_owned()),
            "{method}"
        );
        // Nothing is known of this one: the login ends with a reason.
        let unknown = Client::connect(weir.port(), "other", "postgres", &[]).unwrap_err();
        assert_eq!(unknown.field('S'), "FATAL", "{unknown}");
        assert!(unknown.message().starts_with("pgweir: "), "{unknown}");
    }
}

#[test]
fn md5_servers_are_opened_by_password_and_by_hash() {
    let sandbox = Sandbox::builder()
        .hba(asking("md5"))
        .setting("password_encryption", "md5")
        .role("app", "LOGIN PASSWORD 'apples'")
        .role("other", "LOGIN PASSWORD 'oranges'")
        .start()
        .unwrap();
    let hash = "SELECT rolpassword FROM pg_authid WHERE rolname = 'other'";
    let hash = sandbox.primary().psql(hash).unwrap();
    let users = format!(
        "[[user]]\nname = \"app\"\npassword = \"apples\"\n\n[[user]]\nname = \"other\"\nmd5 = \"{hash}\"\n"
    );
    let weir = users_file(&sandbox, &users);
    let login = |user, password| psql(&sandbox, weir.port(), user, Some(password), WHO);
    assert_eq!(login("app", "apples"), Ok("app|app".to_owned()));
    assert_eq!(login("other", "oranges"), Ok("other|other".to_owned()));
    assert!(words(&login("other", "apples")).contains("password authentication failed"));
}

#[test]
fn no_password_is_sent_in_the_clear() {
    let sandbox = cluster("password");
    let weir = users_file(&sandbox, "[[user]]\nname = \"app\"\npassword = \"apples\"\n");
    let refused = psql(&sandbox, weir.port(), "app", Some("apples"), WHO).unwrap_err();
    assert!(refused.contains("pgweir: "), "{refused}");
    assert!(refused.to_lowercase().contains("tls"), "{refused}");
}

#[test]
fn only_addresses_that_are_allowed_may_connect() {
    let weir = Weir::start(shared(), "auth.allow = [\"10.0.0.0/8\", \"192.168.1.0/24\"]");
    let refused = Client::connect(weir.port(), "postgres", "postgres", &[]).unwrap_err();
    assert_eq!((refused.code(), refused.field('S')), ("28000", "FATAL"), "{refused}");
    let weir = Weir::start(shared(), "auth.allow = [\"10.0.0.0/8\", \"127.0.0.0/8\"]");
    assert_eq!(weir.postgres().ask("SELECT 1"), "1");
}

#[test]
fn what_is_not_served_is_refused_and_says_so() {
    let weir = Weir::start(shared(), "databases.shop.dbname = \"postgres\"");
    let rows: [(&str, &[(&str, &str)], &str); 3] = [
        ("postgres", &[], "3D000"),
        ("pgweir", &[], "28000"),
        ("postgres", &[("replication", "database")], "3D000"),
    ];
    for (database, parameters, code) in rows {
        let refused = Client::connect(weir.port(), "postgres", database, parameters).unwrap_err();
        assert_eq!((refused.code(), refused.field('S')), (code, "FATAL"), "{refused}");
        assert!(refused.message().starts_with("pgweir: "), "{refused}");
    }
    assert_eq!(weir.client("postgres", "shop").ask("SELECT current_database()"), "postgres");
}

#[test]
fn a_client_over_the_unix_socket_is_let_in() {
    let sandbox = shared();
    let directory = crate::harness::TemporaryDir::new();
    let path = directory.path().display();
    let weir = Weir::start(sandbox, &format!("listen.unix_socket_dir = \"{path}\""));
    let socket = directory.path().join(format!(".s.PGSQL.{}", weir.port()));
    until("the socket", SOON, || socket.exists().then_some(()).ok_or("no socket yet"));
    let mut psql = sandbox.program("psql");
    psql.args(["-XAtq", "-h", &path.to_string(), "-p", &weir.port().to_string(), "-U", "postgres"])
        .args(["-d", "postgres", "-c", "SELECT current_user"]);
    let finished = crate::harness::run(&mut psql, "", Duration::from_secs(30));
    assert_eq!(finished.expect_success().trim(), "postgres");
}
