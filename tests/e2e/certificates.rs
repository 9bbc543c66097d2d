//! Clients that show certificates: who is let in by them, and as whom.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pgweir_sandbox::{Sandbox, hba_for_everyone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use crate::harness::{
    Failure, Finished, Message, SOON, Setup, TemporaryDir, Weir, Wire, run, shared, until,
};

/// `id-at-commonName` (RFC 5280, appendix A).
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        about.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(about, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate: of the name, and whatever else is to be said of it.
    fn sign(&self, name: &str, more: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut about = CertificateParams::default();
        about.distinguished_name = DistinguishedName::new();
        about.distinguished_name.push(DnType::CommonName, name);
        about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        more(&mut about);
        (about.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Clients' certificates and keys as files that libpq reads.
struct Wallet(TemporaryDir);

impl Wallet {
    fn new() -> Self {
        Self(TemporaryDir::new())
    }

    /// libpq's words for showing this one.
    fn put(&self, (certificate, key): (String, String)) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let count = fs::read_dir(self.0.path()).unwrap().count();
        let certificate = self.0.write(&format!("{count}.crt"), &certificate);
        let key: PathBuf = self.0.write(&format!("{count}.key"), &key);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        format!("sslmode=require sslcert={} sslkey={}", certificate.display(), key.display())
    }
}

/// A pgweir that takes certificates of this authority, by which clients are let in unless the lines say
/// something else.
fn setup<'a>(sandbox: &'a Sandbox, authority: &Authority, lines: &str) -> Setup<'a> {
    let (certificate, key) = authority.sign("localhost", |about| {
        about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let method = if lines.contains("auth.method") { "" } else { "auth.method = \"cert\"" };
    Weir::setup(sandbox)
        .config(method)
        .config("listen.tls.cert_file = \"server.crt\"\nlisten.tls.key_file = \"server.key\"")
        .config("listen.tls.client_ca_file = \"clients.crt\"")
        .config(if lines.contains("tls.mode") { "" } else { "listen.tls.mode = \"require\"" })
        .config(lines)
        .file("server.crt", certificate)
        .file("server.key", key)
        .file("clients.crt", authority.pem())
}

/// psql, as whoever runs the cases: keys must be readable by their owners alone.
fn libpq() -> Command {
    Command::new(shared().program("psql").get_program())
}

/// Asks by psql, a real libpq, who it is.
fn psql(weir: &Weir, user: &str, conninfo: &str) -> Finished {
    let mut psql = libpq();
    let user = user.replace('\\', "\\\\").replace('\'', "\\'");
    let all =
        format!("host=127.0.0.1 port={} dbname=postgres user='{user}' {conninfo}", weir.port());
    run(psql.args(["-XAtq", "-d", &all, "-c", "SELECT session_user"]), "", SOON)
}

/// A psql that stays.
struct Session(Child);

impl Session {
    fn begin(weir: &Weir, conninfo: &str) -> Self {
        let all =
            format!("host=127.0.0.1 port={} dbname=postgres user=app {conninfo}", weir.port());
        let mut psql = libpq();
        psql.args(["-XAtq", "-d", &all]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(psql.spawn().unwrap())
    }

    /// The only line of a statement's answer.
    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql};").unwrap();
        let mut line = String::new();
        let mut byte = [0];
        while !line.ends_with('\n') {
            self.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            line.push(char::from(byte[0]));
        }
        line.trim_end().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn is_let_in(weir: &Weir, user: &str, conninfo: &str) {
    assert_eq!(psql(weir, user, conninfo).expect_success().trim_end(), user);
}

/// What a client that is not let in is told.
#[track_caller]
fn refusal(weir: &Weir, user: &str, conninfo: &str) -> String {
    let finished = psql(weir, user, conninfo);
    assert!(!finished.status.success(), "{user} is let in with {conninfo}: {finished:?}");
    finished.stderr
}

#[test]
fn a_certificate_lets_in_as_the_user_that_it_names_and_as_nobody_else() {
    let sandbox =
        Sandbox::builder().role("app", "LOGIN").role("we\"ird 'name", "LOGIN").start().unwrap();
    let (authority, wallet) = (Authority::new("clients"), Wallet::new());
    let weir = setup(&sandbox, &authority, "").start();
    let app = wallet.put(authority.sign("app", |_| {}));
    let weird = wallet.put(authority.sign("we\"ird 'name", |_| {}));
    for _ in 0..2 {
        is_let_in(&weir, "app", &app);
        is_let_in(&weir, "we\"ird 'name", &weird);
    }
    is_let_in(&weir, "app", &format!("{app} ssl_max_protocol_version=TLSv1.2"));
    for user in ["postgres", "App", "app ", "we\"ird 'name", "nobody"] {
        let told = refusal(&weir, user, &app);
        let expected = format!("FATAL:  certificate authentication failed for user \"{user}\"");
        assert!(told.contains(&expected), "{told}");
    }
    // The log says why; a certificate that names two, or none, names nobody.
    let second_name = DnType::CustomDnType(COMMON_NAME.to_vec());
    let two = authority.sign("app", |about| about.distinguished_name.push(second_name, "other"));
    let none = authority.sign("", |about| {
        about.distinguished_name = DistinguishedName::new();
        about.distinguished_name.push(DnType::OrganizationName, "app");
    });
    for (certificate, why) in [
        (authority.sign("other", |_| {}), "does not stand for this user"),
        (two, "more than one common name"),
        (none, "no common name"),
    ] {
        let told = refusal(&weir, "app", &wallet.put(certificate));
        assert!(told.contains("certificate authentication failed for user"), "{told}");
        assert!(weir.log().contains(why), "{}", weir.log());
    }
}

#[test]
fn a_certificate_that_is_not_good_does_not_get_past_the_handshake() {
    let sandbox = Sandbox::builder().role("app", "LOGIN").start().unwrap();
    let (authority, stranger, wallet) =
        (Authority::new("clients"), Authority::new("clients"), Wallet::new());
    let weir = setup(&sandbox, &authority, "").start();
    let long_ago = |about: &mut CertificateParams| {
        about.not_before = date_time_ymd(2001, 1, 1);
        about.not_after = date_time_ymd(2002, 1, 1);
    };
    let not_yet = |about: &mut CertificateParams| about.not_before = date_time_ymd(2999, 1, 1);
    let for_servers = |about: &mut CertificateParams| {
        about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let an_authority = |about: &mut CertificateParams| {
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let rows = [
        ("another authority of the same name", stranger.sign("app", |_| {})),
        ("expired", authority.sign("app", long_ago)),
        ("not valid yet", authority.sign("app", not_yet)),
        ("a server's", authority.sign("app", for_servers)),
        ("an authority's", authority.sign("app", an_authority)),
        ("the server's own", authority.sign("localhost", for_servers)),
    ];
    for (what, certificate) in rows {
        let told = refusal(&weir, "app", &wallet.put(certificate));
        assert!(told.contains("SSL error") && told.contains("alert"), "{what}: {told}");
    }
    // Whoever has a certificate and not its key has nothing.
    let (stolen, _) = authority.sign("app", |_| {});
    let (_, other_key) = authority.sign("app", |_| {});
    assert!(!psql(&weir, "app", &wallet.put((stolen, other_key))).status.success());
    is_let_in(&weir, "app", &wallet.put(authority.sign("app", |_| {})));
    assert!(weir.log().contains("client refused: no TLS"), "{}", weir.log());
}

#[test]
fn nobody_is_let_in_by_a_certificate_that_is_not_shown() {
    let sandbox = Sandbox::builder().role("app", "LOGIN").start().unwrap();
    let authority = Authority::new("clients");
    let directory = TemporaryDir::new();
    let path = directory.path().display().to_string();
    // TLS without, no TLS though it is to be had, and the Unix socket, which has none.
    let lines = format!("listen.tls.mode = \"allow\"\nlisten.unix_socket_dir = \"{path}\"");
    let weir = setup(&sandbox, &authority, &lines).start();
    let socket = format!("sslmode=disable host={path}");
    for conninfo in ["sslmode=require sslcert=none", "sslmode=disable", &socket] {
        let told = refusal(&weir, "app", conninfo);
        assert!(told.contains("FATAL:  connection requires a valid client certificate"), "{told}");
    }
    let mut wire = Wire::open(weir.port()).unwrap();
    wire.send(&Message::new().startup(3 << 16, &[("user", "app"), ("database", "postgres")]));
    let refused = Failure::parse(&wire.frame().unwrap().body);
    assert_eq!((refused.code(), refused.field('S')), ("28000", "FATAL"), "{refused}");
    assert!(wire.is_closed());
    let wallet = Wallet::new();
    is_let_in(&weir, "app", &wallet.put(authority.sign("app", |_| {})));
    let mut check = Weir::program();
    check.args(["check", "--config"]).arg(weir.config_file());
    let told = run(&mut check, "", SOON).expect_success();
    assert!(
        told.contains("note: listen.unix_socket_dir: there are no certificates over it"),
        "{told}"
    );
}

#[test]
fn a_map_says_whom_a_certificate_stands_for() {
    let sandbox =
        Sandbox::builder().role("alice", "LOGIN").role("reports", "LOGIN").start().unwrap();
    let (authority, wallet) = (Authority::new("clients"), Wallet::new());
    let lines =
        "auth.name_map = { \"Alice Smith\" = [\"alice\", \"reports\"], \"*.example.com\" = \"*\" }";
    let weir = setup(&sandbox, &authority, lines).start();
    let smith = wallet.put(authority.sign("Alice Smith", |_| {}));
    is_let_in(&weir, "alice", &smith);
    is_let_in(&weir, "reports", &smith);
    is_let_in(&weir, "reports", &wallet.put(authority.sign("reports.example.com", |_| {})));
    let plain = wallet.put(authority.sign("alice", |_| {}));
    let host = wallet.put(authority.sign("alice.example.com.evil.org", |_| {}));
    for (user, conninfo) in [("postgres", &smith), ("alice", &plain), ("alice", &host)] {
        let told = refusal(&weir, user, conninfo);
        assert!(told.contains("certificate authentication failed"), "{told}");
    }
}

#[test]
fn servers_that_ask_for_a_password_are_opened_with_what_the_users_file_has() {
    let mut hba = vec![
        "host all postgres 127.0.0.1/32 trust".to_owned(),
        "host replication all 127.0.0.1/32 trust".to_owned(),
    ];
    hba.extend(hba_for_everyone("scram-sha-256"));
    let sandbox = Sandbox::builder()
        .hba(hba)
        .role("app", "LOGIN PASSWORD 'apples'")
        .role("other", "LOGIN PASSWORD 'oranges'")
        .start()
        .unwrap();
    let (authority, wallet) = (Authority::new("clients"), Wallet::new());
    let weir = setup(&sandbox, &authority, "auth.users_file = \"users.toml\"")
        .file("users.toml", "[[user]]\nname = \"app\"\npassword = \"apples\"\n[[user]]\nname = \"boss\"\nadmin = true\n")
        .start();
    is_let_in(&weir, "app", &wallet.put(authority.sign("app", |_| {})));
    let other = refusal(&weir, "other", &wallet.put(authority.sign("other", |_| {})));
    assert!(other.contains("pgweir: "), "{other}");
    // An administrator without a password shows a certificate, too.
    let boss = wallet.put(authority.sign("boss", |_| {}));
    let show = |conninfo: &str| {
        let mut psql = libpq();
        let all = format!("host=127.0.0.1 port={} dbname=pgweir user=boss {conninfo}", weir.port());
        run(psql.args(["-XAtq", "-d", &all, "-c", "SHOW VERSION"]), "", SOON)
    };
    assert!(show(&boss).expect_success().contains("pgweir"));
    let wrong = wallet.put(authority.sign("app", |_| {}));
    assert!(show(&wrong).stderr.contains("certificate authentication failed for user \"boss\""));
}

#[test]
fn beside_another_method_a_certificate_is_asked_for_as_well() {
    let sandbox = Sandbox::builder()
        .hba(
            ["host all postgres 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
                .map(str::to_owned)
                .into_iter()
                .chain(hba_for_everyone("scram-sha-256")),
        )
        .role("app", "LOGIN PASSWORD 'apples'")
        .start()
        .unwrap();
    let (authority, wallet) = (Authority::new("clients"), Wallet::new());
    let weir = setup(&sandbox, &authority, "auth.method = \"passthrough\"").start();
    // Whose it is does not matter then (clientcert=verify-ca): the password says who it is.
    let host = wallet.put(authority.sign("some host", |_| {}));
    is_let_in(&weir, "app", &format!("{host} password=apples"));
    let wrong = refusal(&weir, "app", &format!("{host} password=pears"));
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let none = refusal(&weir, "app", "sslmode=require sslcert=none password=apples");
    assert!(none.contains("connection requires a valid client certificate"), "{none}");
}

#[test]
fn another_authority_is_taken_over_while_clients_stay() {
    let sandbox = Sandbox::builder().role("app", "LOGIN").start().unwrap();
    let (old, new, wallet) = (Authority::new("old"), Authority::new("new"), Wallet::new());
    let weir = setup(&sandbox, &old, "").start();
    let (of_old, of_new) =
        (wallet.put(old.sign("app", |_| {})), wallet.put(new.sign("app", |_| {})));
    is_let_in(&weir, "app", &of_old);
    refusal(&weir, "app", &of_new);
    let mut stays = Session::begin(&weir, &of_old);
    assert_eq!(stays.ask("SELECT session_user"), "app");
    let authorities = weir.config_file().with_file_name("clients.crt");
    fs::write(&authorities, new.pem()).unwrap();
    until("the new authority", SOON, || {
        let finished = psql(&weir, "app", &of_new);
        if finished.status.success() { Ok(()) } else { Err(finished.stderr) }
    });
    let told = refusal(&weir, "app", &of_old);
    assert!(told.contains("alert"), "{told}");
    assert_eq!(stays.ask("SELECT 'still ' || session_user"), "still app");
    // A file that holds no authority changes nothing.
    fs::write(&authorities, "no certificate").unwrap();
    until("the refusal", SOON, || {
        let refused = weir.metrics().sum("pgweir_config_file_refused", &[]);
        if refused > 0.5 { Ok(()) } else { Err(refused) }
    });
    is_let_in(&weir, "app", &of_new);
}

/// The server's own words, for the same mistakes.
#[test]
fn refusals_are_worded_as_postgresqls() {
    let sandbox = Sandbox::builder().role("app", "LOGIN").start().unwrap();
    let (authority, wallet) = (Authority::new("clients"), Wallet::new());
    let (certificate, key) = authority.sign("localhost", |about| {
        about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let node = sandbox.primary();
    for (setting, name, text) in [
        ("ssl_cert_file", "server.crt", &certificate),
        ("ssl_key_file", "server.key", &key),
        ("ssl_ca_file", "clients.crt", &authority.pem()),
    ] {
        let file = node.put_file(name, text.as_bytes()).unwrap();
        node.set_config(setting, &file.display().to_string()).unwrap();
    }
    node.set_config("ssl", "on").unwrap();
    node.set_hba(["host all postgres 127.0.0.1/32 trust", "hostssl all all 127.0.0.1/32 cert"])
        .unwrap();
    let weir = setup(shared(), &authority, "").start();
    let other = wallet.put(authority.sign("other", |_| {}));
    for conninfo in [other.as_str(), "sslmode=require sslcert=none"] {
        let through = refusal(&weir, "app", conninfo);
        let mut direct = libpq();
        let all =
            format!("host=127.0.0.1 port={} dbname=postgres user=app {conninfo}", node.port());
        let direct = run(direct.args(["-XAtq", "-d", &all, "-c", "SELECT 1"]), "", SOON).stderr;
        let words =
            |told: &str| told.split_once("FATAL").map(|(_, words)| words.trim_end().to_owned());
        assert_eq!(words(&through), words(&direct), "{conninfo}: {through} {direct}");
        assert!(words(&through).is_some(), "{through}");
    }
}
