//! Encryption towards clients and towards servers, with real certificates.

use pgweir_sandbox::{Node, Sandbox};

use crate::harness::{
    Failure, Finished, Message, SOON, TemporaryDir, Weir, Wire, get, prepare, run, shared, until,
};

/// A certificate for loopback that vouches for itself, and its key, both PEM.
struct Certificate {
    certificate: String,
    key: String,
}

fn certificate() -> Certificate {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    Certificate { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

/// A pgweir in front of the shared cluster that takes TLS in this mode.
fn weir(mode: &str, own: &Certificate) -> Weir {
    Weir::setup(shared())
        .config(&format!("listen.tls.mode = \"{mode}\""))
        .config("listen.tls.cert_file = \"server.crt\"\nlisten.tls.key_file = \"server.key\"")
        .file("server.crt", own.certificate.clone())
        .file("server.key", own.key.clone())
        .start()
}

/// Runs SQL with psql, whose connection is as libpq's words say.
fn psql(weir: &Weir, conninfo: &str, sql: &str) -> Finished {
    let mut psql = shared().program("psql");
    let all =
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres {conninfo}", weir.port());
    run(psql.args(["-XAtq", "-d", &all, "-c", sql]), "", SOON)
}

#[test]
fn a_client_that_wants_tls_gets_it_and_knows_whom_it_talks_to() {
    let own = certificate();
    let weir = weir("allow", &own);
    let directory = TemporaryDir::new();
    let good = directory.write("good.crt", &own.certificate);
    let bad = directory.write("bad.crt", &certificate().certificate);
    for conninfo in [
        "sslmode=require".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=disable".to_owned(),
        "sslmode=require ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version=TLSv1.2"
            .to_owned(),
        format!("sslmode=verify-full sslrootcert={}", good.display()),
    ] {
        assert_eq!(psql(&weir, &conninfo, "SELECT 1").expect_success(), "1\n", "{conninfo}");
    }
    let told = psql(&weir, "sslmode=require", "\\conninfo").expect_success();
    assert!(told.contains("TLSv1.3"), "{told}");
    let strict = format!("sslmode=verify-full sslrootcert={}", bad.display());
    let refused = psql(&weir, &strict, "SELECT 1");
    assert!(refused.stderr.contains("certificate verify failed"), "{refused:?}");
    // A large answer goes through whole.
    let large = psql(&weir, "sslmode=require", "SELECT repeat('x', 10000000)").expect_success();
    assert_eq!(large.len(), 10_000_001);
}

#[test]
fn where_tls_is_required_nobody_enters_without() {
    let weir = weir("require", &certificate());
    assert_eq!(psql(&weir, "sslmode=require", "SELECT 1").expect_success(), "1\n");
    let mut wire = Wire::open(weir.port()).unwrap();
    wire.send(&Message::new().startup(3 << 16, &[("user", "postgres")]));
    let refused = Failure::parse(&wire.frame().unwrap().body);
    assert_eq!((refused.code(), refused.field('S')), ("28000", "FATAL"), "{refused}");
}

#[test]
fn bytes_smuggled_in_before_the_handshake_are_never_taken_for_the_clients() {
    let weir = weir("allow", &certificate());
    let mut wire = Wire::open(weir.port()).unwrap();
    let smuggled = Message::new()
        .packet(&80_877_103_u32.to_be_bytes())
        .startup(3 << 16, &[("user", "postgres"), ("database", "postgres")])
        .query("SELECT 'smuggled'");
    wire.send(&smuggled);
    assert_eq!(wire.byte(), Some(b'S'));
    // The handshake fails on them: whatever comes is a TLS alert (21), then the end.
    let answer = wire.byte();
    assert!(answer.is_none_or(|byte| byte == 21), "{answer:?}");
}

#[test]
fn a_cancel_request_over_tls_cancels() {
    let weir = weir("require", &certificate());
    let mut psql = shared().program("psql");
    let conninfo = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=require",
        weir.port()
    );
    psql.args(["-XAtq", "-d", &conninfo, "-c", "SELECT pg_sleep(600) -- cancel_tls"]);
    let cancelled = crate::psql::interrupt_when(&mut psql, "cancel_tls");
    assert!(cancelled.stderr.contains("canceling statement due to user request"), "{cancelled:?}");
}

// ---- towards servers ----

fn encrypt(node: &Node, own: &Certificate) {
    let certificate = node.put_file("server.crt", own.certificate.as_bytes()).unwrap();
    let key = node.put_file("server.key", own.key.as_bytes()).unwrap();
    node.set_config("ssl_cert_file", &certificate.display().to_string()).unwrap();
    node.set_config("ssl_key_file", &key.display().to_string()).unwrap();
    node.set_config("ssl", "on").unwrap();
}

/// A cluster whose servers have this certificate and take nothing else than TLS, with a password that
/// would go in the clear without it.
fn encrypted_cluster(own: &Certificate) -> Sandbox {
    let sandbox = Sandbox::builder().role("app", "LOGIN PASSWORD 'apples'").start().unwrap();
    for node in sandbox.nodes() {
        encrypt(node, own);
        node.set_hba([
            "host replication all 127.0.0.1/32 trust",
            "hostssl all postgres 127.0.0.1/32 trust",
            "hostssl all app 127.0.0.1/32 password",
        ])
        .unwrap();
    }
    sandbox
}

#[test]
fn servers_are_entered_by_tls_and_verified_as_configured() {
    let own = certificate();
    let sandbox = encrypted_cluster(&own);
    prepare(&sandbox, "CREATE TABLE item (id int)");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        // A file of authorities that nobody would look at is a mistake, and refused.
        let verifies = mode.starts_with("verify");
        let ca_file = if verifies { "clusters.main.tls.ca_file = \"ca.crt\"" } else { "" };
        let weir = Weir::setup(&sandbox)
            .config(&format!("clusters.main.tls.mode = \"{mode}\"\n{ca_file}"))
            .file("ca.crt", own.certificate.clone())
            .start();
        let mut client = weir.postgres();
        for hint in ["primary", "replica"] {
            assert_eq!(client.ask(&format!("/* pgweir: {hint} */ {encrypted}")), "t", "{mode}");
        }
        client.ask("INSERT INTO item VALUES (1)");
    }
}

#[test]
fn a_server_that_proves_nothing_is_not_entered() {
    let sandbox = encrypted_cluster(&certificate());
    let weir = Weir::setup(&sandbox)
        .config("clusters.main.tls.mode = \"verify-full\"\nclusters.main.tls.ca_file = \"ca.crt\"")
        .file("ca.crt", certificate().certificate)
        .without_waiting_for_nodes()
        .start();
    until("the first probes", SOON, || match get(weir.http_port(), "/startupz") {
        Some((200, _)) => Ok(()),
        other => Err(other),
    });
    let (status, body) = get(weir.http_port(), "/readyz").unwrap();
    assert_eq!(status, 503, "{body}");
    let log = weir.log();
    assert!(log.to_lowercase().contains("certificate"), "{log}");
}

#[test]
fn a_cleartext_password_goes_through_tls() {
    let sandbox = encrypted_cluster(&certificate());
    let weir = Weir::setup(&sandbox)
        .config("clusters.main.tls.mode = \"require\"")
        .config("auth.method = \"trust\"\nauth.users_file = \"users.toml\"")
        .file("users.toml", "[[user]]\nname = \"app\"\npassword = \"apples\"\n")
        .start();
    let mut client = weir.client("app", "postgres");
    assert_eq!(client.ask("SELECT current_user"), "app");
}

#[test]
fn a_base_backup_passes_encrypted_on_both_sides() {
    let own = certificate();
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let primary = sandbox.primary();
    encrypt(primary, &own);
    primary
        .set_hba([
            "hostssl all all 127.0.0.1/32 trust",
            "hostssl replication all 127.0.0.1/32 trust",
        ])
        .unwrap();
    primary
        .psql("CREATE TABLE bulk AS SELECT md5(id::text) FROM generate_series(1, 200000) AS id")
        .unwrap();
    let weir = Weir::setup(&sandbox)
        .config("clusters.main.tls.mode = \"require\"\nlisten.tls.mode = \"require\"")
        .config("listen.tls.cert_file = \"server.crt\"\nlisten.tls.key_file = \"server.key\"")
        .file("server.crt", own.certificate)
        .file("server.key", own.key)
        .start();
    let (copy, port) = (sandbox.dir().join("copy"), weir.port().to_string());
    let mut backup = sandbox.program("pg_basebackup");
    backup.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-X", "stream", "-c", "fast"]);
    backup.arg("--no-sync").arg("-D").arg(&copy).env("PGSSLMODE", "require");
    run(&mut backup, "", SOON).expect_success();
    run(sandbox.program("pg_verifybackup").arg(&copy), "", SOON).expect_success();
}
