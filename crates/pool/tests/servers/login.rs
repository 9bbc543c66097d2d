//! Logging in to real servers, in every way they ask for, encrypted or not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pgweir_pool::{
    Cluster, ConnectError, Fault, Inquiry, PoolError, PoolSet, SslMode, TlsSpec, Want,
};
use pgweir_protocol::auth::{Credentials, Method, ScramKeys, ScramSecret, md5};
use pgweir_protocol::report::ServerReport;
use pgweir_sandbox::{Sandbox, hba_for_everyone};

use crate::support::{
    POLICY, REPLICAS_ONLY, ask, cluster_spec, give_back, pool_spec, start, try_checkout,
};

const PASSWORD: &str = "päss wörd";
const TIMEOUT: Duration = Duration::from_secs(10);

/// The monitor is let in; everybody else has to prove who they are.
fn hba(method: &str) -> Vec<String> {
    let mut lines = vec![
        "local all all trust".to_owned(),
        "host all postgres 127.0.0.1/32 trust".to_owned(),
        "host replication all 127.0.0.1/32 trust".to_owned(),
    ];
    lines.extend(hba_for_everyone(method));
    lines
}

fn sandbox(method: &str, replicas: usize) -> Sandbox {
    Sandbox::builder()
        .replicas(replicas)
        .superuser("postgres")
        .setting("password_encryption", if method == "md5" { "md5" } else { "scram-sha-256" })
        .hba(hba(method))
        .role("app", format!("LOGIN PASSWORD '{PASSWORD}'"))
        .start()
        .unwrap()
}

fn set(cluster: &Cluster, credentials: Credentials) -> Arc<PoolSet> {
    let set = cluster.pools("postgres", "app", &pool_spec(2)).unwrap();
    set.reconnect();
    set.set_credentials(credentials);
    set
}

async fn is_let_in(cluster: &Cluster, credentials: Credentials) -> Result<(), Arc<ConnectError>> {
    let set = set(cluster, credentials);
    match try_checkout(&set, &POLICY, &Want::primary()).await {
        Ok(lease) => {
            give_back(lease);
            Ok(())
        }
        Err(PoolError::Connect { error, .. }) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn sqlstate(error: &ConnectError) -> String {
    let ConnectError::Refused { body } = error else { panic!("{error:?}") };
    ServerReport::parse(body).unwrap().code.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scram_keys_that_a_client_revealed_open_the_servers() {
    let sandbox = sandbox("scram-sha-256", 1);
    let cluster = start(cluster_spec(&sandbox)).await;
    let secret = cluster.role_secret("app").await.unwrap().unwrap();
    let secret = ScramSecret::parse(&secret).unwrap();
    let keys = ScramKeys::derive(PASSWORD, &secret.salt, secret.iterations);
    let set = set(&cluster, Credentials::Scram(keys));
    assert_eq!(ask(&set, &Want::primary(), "SELECT current_user").await, ["app"]);
    assert_eq!(ask(&set, &Want::replica(), "SELECT current_user").await, ["app"]);
    is_let_in(&cluster, Credentials::Password(PASSWORD.to_owned())).await.unwrap();
    let asked = is_let_in(&cluster, Credentials::None).await.unwrap_err();
    assert!(matches!(*asked, ConnectError::Asked(Method::Scram)), "{asked:?}");
    assert_eq!(asked.fault(), Fault::Login);
    let wrong = is_let_in(&cluster, Credentials::Password("wrong".to_owned())).await.unwrap_err();
    assert_eq!(sqlstate(&wrong), "28P01");
    // What comes of a refusal is not remembered.
    is_let_in(&cluster, Credentials::Password(PASSWORD.to_owned())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn md5_hashes_open_the_servers() {
    let sandbox = sandbox("md5", 0);
    let cluster = start(cluster_spec(&sandbox)).await;
    let stored = cluster.role_secret("app").await.unwrap().unwrap();
    assert_eq!(stored, md5::md5_password("app", PASSWORD));
    is_let_in(&cluster, Credentials::Md5(stored)).await.unwrap();
    is_let_in(&cluster, Credentials::Password(PASSWORD.to_owned())).await.unwrap();
    let asked = is_let_in(&cluster, Credentials::None).await.unwrap_err();
    assert!(matches!(*asked, ConnectError::Asked(Method::Md5)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_not_sent_in_the_clear() {
    let sandbox = sandbox("password", 0);
    let cluster = start(cluster_spec(&sandbox)).await;
    let password = Credentials::Password(PASSWORD.to_owned());
    let refused = is_let_in(&cluster, password).await.unwrap_err();
    assert!(matches!(*refused, ConnectError::CleartextRefused), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_roles_are_those_that_a_login_would_be_judged_by() {
    let sandbox = sandbox("scram-sha-256", 0);
    let sql =
        "CREATE ROLE bare LOGIN; CREATE ROLE late LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'";
    sandbox.primary().psql(sql).unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    assert!(cluster.role_secret("app").await.unwrap().unwrap().starts_with("SCRAM-SHA-256$"));
    for role in ["nobody", "bare", "late", "app'; --"] {
        assert_eq!(cluster.role_secret(role).await.unwrap(), None, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_answered_as_text_and_cannot_write() {
    let sandbox = sandbox("trust", 0);
    let cluster = start(cluster_spec(&sandbox)).await;
    let rows = cluster.ask("postgres", "SELECT 1, NULL, 'a' UNION ALL SELECT 2, 'b', NULL", &[]);
    let text = |cell: &str| Some(cell.to_owned());
    let expected = [vec![text("1"), None, text("a")], vec![text("2"), text("b"), None]];
    assert_eq!(rows.await.unwrap(), expected);
    let write = cluster.ask("postgres", "CREATE TABLE public.t ()", &[]).await.unwrap_err();
    assert!(write.to_string().starts_with("25006"), "{write}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_question_is_asked_as_a_role_of_its_own_and_comes_to_an_end() {
    let sandbox = sandbox("trust", 0);
    let cluster = start(cluster_spec(&sandbox)).await;
    let sql = "SELECT usename, current_user FROM pg_user WHERE usename = $1";
    let asks = Inquiry { sql, role: "app", password: None, database: None };
    let rows = cluster.ask_about(&asks, "postgres").await.unwrap();
    let text = |cell: &str| Some(cell.to_owned());
    assert_eq!(rows, [[text("postgres"), text("app")]]);
    assert_eq!(cluster.ask_about(&asks, "it's nobody").await.unwrap(), Vec::<Vec<_>>::new());
    let rows = [
        (Inquiry { database: Some("missing"), ..asks }, "3D000"),
        (Inquiry { role: "nobody", ..asks }, "28000"),
        (Inquiry { sql: "SELECT pg_sleep(600)::text, $1::text", ..asks }, "57014"),
        (Inquiry { sql: "CREATE TABLE t AS SELECT $1::text", ..asks }, "25006"),
        (Inquiry { sql: "SELECT $1::text; SELECT 1", ..asks }, "42601"),
    ];
    for (asks, code) in rows {
        let error = cluster.ask_about(&asks, "app").await.unwrap_err();
        assert!(error.to_string().starts_with(code), "{}: {error}", asks.sql);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_question_is_answered_by_another_node_while_the_primary_does_not() {
    let sandbox = sandbox("trust", 1);
    sandbox.wait_all_caught_up(TIMEOUT).unwrap();
    let cluster = start(cluster_spec(&sandbox)).await;
    let sql = "SELECT pg_is_in_recovery()::text WHERE $1 = 'app'";
    let asks = Inquiry { sql, role: "app", password: None, database: None };
    assert_eq!(cluster.ask_about(&asks, "app").await.unwrap(), [[Some("false".to_owned())]]);
    // The very first question meets the silence, the next ones may know of it.
    sandbox.primary().freeze().unwrap();
    for _ in 0..2 {
        assert_eq!(cluster.ask_about(&asks, "app").await.unwrap(), [[Some("true".to_owned())]]);
    }
    sandbox.primary().thaw().unwrap();
    sandbox.primary().kill().unwrap();
    assert_eq!(cluster.ask_about(&asks, "app").await.unwrap(), [[Some("true".to_owned())]]);
    assert!(cluster.role_secret("app").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_about_a_login_reaches_the_client_as_it_is() {
    let sandbox = sandbox("trust", 1);
    let cluster = start(cluster_spec(&sandbox)).await;
    for (database, user, expected) in [("missing", "app", "3D000"), ("postgres", "nobody", "28000")]
    {
        let set = cluster.pools(database, user, &pool_spec(2)).unwrap();
        for policy in [&POLICY, &REPLICAS_ONLY] {
            match try_checkout(&set, policy, &Want::replica()).await {
                Err(PoolError::Connect { error, node }) => {
                    assert_eq!(sqlstate(&error), expected);
                    // The primary's word counts, unless nobody may ask it.
                    let asked = usize::from(policy == &REPLICAS_ONLY);
                    assert_eq!(node, cluster.nodes()[asked].name());
                }
                other => panic!("expected Connect, got {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_a_replica_does_not_know_yet_is_served_by_the_primary() {
    let sandbox = sandbox("trust", 1);
    let cluster = start(cluster_spec(&sandbox)).await;
    sandbox.node(1).pause_replay().unwrap();
    sandbox.primary().psql("CREATE ROLE novice LOGIN").unwrap();
    let set = cluster.pools("postgres", "novice", &pool_spec(2)).unwrap();
    assert_eq!(ask(&set, &Want::replica(), "SELECT current_user").await, ["novice"]);
}

/// Gives the primary a new certificate for 127.0.0.1 that is its own authority; gives its file.
fn encrypt(sandbox: &Sandbox) -> PathBuf {
    let node = sandbox.primary();
    let directory = sandbox.dir().join(format!("tls-{}", getrandom::u64().unwrap()));
    std::fs::create_dir(&directory).unwrap();
    let (key, certificate) = (directory.join("server.key"), directory.join("server.crt"));
    let made = Command::new("openssl")
        .args(["req", "-new", "-x509", "-nodes", "-newkey", "ec", "-days", "30"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    node.put_file("server.key", &std::fs::read(&key).unwrap()).unwrap();
    node.put_file("server.crt", &std::fs::read(&certificate).unwrap()).unwrap();
    node.set_config("ssl", "on").unwrap();
    node.reload().unwrap();
    certificate
}

async fn connects(
    sandbox: &Sandbox,
    mode: SslMode,
    ca_file: Option<&Path>,
) -> Result<bool, ConnectError> {
    let mut spec = cluster_spec(sandbox);
    spec.tls = TlsSpec { mode, ca_file: ca_file.map(Path::to_owned) };
    let cluster = Cluster::start(spec).unwrap();
    let node = &cluster.nodes()[0];
    let credentials = Credentials::Password(PASSWORD.to_owned());
    let connection = cluster.dial(node, "postgres", "app", &credentials, &[], TIMEOUT).await;
    cluster.shutdown().await;
    connection.map(|connection| connection.stream.is_encrypted())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encryption_follows_the_mode() {
    let sandbox = sandbox("scram-sha-256", 0);
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    for (mode, expected) in [(Disable, false), (Allow, false), (Prefer, false)] {
        assert_eq!(connects(&sandbox, mode, None).await.unwrap(), expected, "{mode:?}");
    }
    let refused = connects(&sandbox, Require, None).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused:?}");

    let certificate = encrypt(&sandbox);
    let stranger = encrypt(&sandbox);
    // The server has the second one now.
    let (known, unknown) = (Some(stranger.as_path()), Some(certificate.as_path()));
    for (mode, ca_file, expected) in [
        (Disable, None, Some(false)),
        (Allow, None, Some(false)),
        (Prefer, None, Some(true)),
        (Require, None, Some(true)),
        (VerifyCa, known, Some(true)),
        (VerifyFull, known, Some(true)),
        (Require, unknown, None),
        (VerifyCa, unknown, None),
        (VerifyFull, unknown, None),
        // As libpq does: what cannot be verified is not used, and nothing else is asked for.
        (Prefer, unknown, Some(false)),
    ] {
        let got = connects(&sandbox, mode, ca_file).await;
        assert_eq!(got.as_ref().ok().copied(), expected, "{mode:?} {ca_file:?}: {got:?}");
    }

    // The name: the same server, by another name than its certificate has.
    let mut spec = cluster_spec(&sandbox);
    spec.nodes[0].host = "localhost".to_owned();
    for (mode, is_fine) in [(VerifyCa, true), (VerifyFull, false)] {
        spec.tls = TlsSpec { mode, ca_file: Some(stranger.clone()) };
        let cluster = Cluster::start(spec.clone()).unwrap();
        let node = &cluster.nodes()[0];
        let credentials = Credentials::Password(PASSWORD.to_owned());
        let got = cluster.dial(node, "postgres", "app", &credentials, &[], TIMEOUT).await;
        assert_eq!(got.is_ok(), is_fine, "{mode:?}: {got:?}");
        cluster.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_insists_gets_what_it_insists_on() {
    let sandbox = sandbox("scram-sha-256", 0);
    encrypt(&sandbox);
    let only = |kind: &str| {
        let line = format!("{kind} all all 127.0.0.1/32 scram-sha-256");
        sandbox.primary().set_hba(["local all all trust".to_owned(), line]).unwrap();
        sandbox.primary().reload().unwrap();
    };
    only("hostssl");
    assert!(connects(&sandbox, SslMode::Allow, None).await.unwrap());
    let refused = connects(&sandbox, SslMode::Disable, None).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "28000");
    only("hostnossl");
    assert!(!connects(&sandbox, SslMode::Prefer, None).await.unwrap());
    let refused = connects(&sandbox, SslMode::Require, None).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "28000");
}

/// Both planes, a pool and a cancel request over TLS, with channel binding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_encrypted() {
    let sandbox = sandbox("scram-sha-256", 0);
    let certificate = encrypt(&sandbox);
    let mut spec = cluster_spec(&sandbox);
    spec.tls = TlsSpec { mode: SslMode::VerifyFull, ca_file: Some(certificate) };
    let cluster = start(spec).await;
    let set = set(&cluster, Credentials::Password(PASSWORD.to_owned()));
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(ask(&set, &Want::primary(), sql).await, ["t"]);
    assert_eq!(cluster.ask("postgres", sql, &[]).await.unwrap()[0][0].as_deref(), Some("t"));
    let lease = try_checkout(&set, &POLICY, &Want::primary()).await.unwrap();
    lease.cancel_handle().cancel().await.unwrap();
    give_back(lease);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_will_do() {
    let sandbox = sandbox("scram-sha-256", 0);
    let mut spec = cluster_spec(&sandbox);
    spec.nodes[0].host = sandbox.socket_dir().display().to_string();
    let cluster = start(spec).await;
    let set = cluster.pools("postgres", "app", &pool_spec(1)).unwrap();
    let sql = "SELECT count(inet_client_addr()) FROM pg_backend_pid()";
    assert_eq!(ask(&set, &Want::primary(), sql).await, ["0"]);
}
