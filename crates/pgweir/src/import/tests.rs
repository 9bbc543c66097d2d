//! Whole files through the import, and every one taken by pgweir's own reader.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::config::{Admin, AuthMethod, PoolMode, UserSecret};

/// A directory with PgBouncer's files, removed on drop.
struct Desk(PathBuf);

impl Desk {
    fn new(ini: &str, userlist: Option<&str>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgweir-import-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("pgbouncer.ini"), ini).unwrap();
        if let Some(userlist) = userlist {
            fs::write(directory.join("userlist.txt"), userlist).unwrap();
        }
        Self(directory)
    }

    fn import(&self, to_file: bool) -> Import {
        let userlist = self.0.join("userlist.txt");
        Import {
            ini: self.0.join("pgbouncer.ini"),
            userlist: Some(userlist).filter(|file| file.exists()),
            output: to_file.then(|| self.0.join("pgweir.toml")),
        }
    }

    /// Imports; answers the configuration as pgweir reads it, its text, and what was noted.
    fn imported(&self) -> (Config, String, String) {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let code = run(&self.import(true), &mut out, &mut notes).unwrap();
        let notes = String::from_utf8(notes).unwrap();
        assert_eq!(code, ExitCode::SUCCESS, "{notes}");
        let file = self.0.join("pgweir.toml");
        let text = fs::read_to_string(&file).unwrap();
        (Config::load(&file).unwrap_or_else(|problems| panic!("{problems:?}\n{text}")), text, notes)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SHOP: &str = r#"
[databases]
shop = host=db1.example.com port=5433 dbname=shop_production pool_size=30 pool_mode=transaction
small = host=db1.example.com port=5433 pool_size=2
audit = host=db2.example.com user=auditor password=hunter2 connect_query='SELECT 1'
"odd ""name""" = host=db1.example.com port=5433

[users]
batch = pool_mode=session max_user_connections=3

[pgbouncer]
listen_addr = 10.0.0.5, ::1
listen_port = 6000
auth_type = scram-sha-256
admin_users = boss
stats_users = watcher
pool_mode = transaction
max_client_conn = 5000
default_pool_size = 25
min_pool_size = 40
server_lifetime = 1800
server_idle_timeout = 0
query_wait_timeout = 0
client_login_timeout = 7.5
max_prepared_statements = 0
server_reset_query = DISCARD ALL
log_connections = 0
verbose = 1
server_tls_sslmode = require
novelty = 1
"#;

const USERS: &str = "\"boss\" \"SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0$cD5JZQOuLnkLi1bqiYyCpT+FB1NfpPwfPjMtdmWPqOk=:TMCFfWcvMOBtQcZ6XjkE9cbdO/wxGkBQbcFmj2zXdi4=\"\n\
\"app\" \"s3cr\"\"e$t{${x}\"\n\"old\" \"md5cf7c1c1b5d1e1c1b5d1e1c1b5d1e1c1b\"\n\"watcher\" \"\"\n";

#[test]
fn a_file_with_a_bit_of_everything() {
    let desk = Desk::new(SHOP, Some(USERS));
    let (config, text, notes) = desk.imported();
    let listen: Vec<String> = config.listen.address.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["10.0.0.5:6000", "[::1]:6000"]);
    assert_eq!((config.listen.max_clients, config.pool.size, config.pool.min_idle), (5000, 25, 25));
    assert_eq!(config.pool.mode, PoolMode::Transaction);
    let shop = config.effective("shop").unwrap();
    assert_eq!((shop.cluster_name, shop.dbname), ("db1-example-com", "shop_production"));
    assert_eq!(config.effective("small").unwrap().pool.min_idle, 2);
    assert_eq!((shop.pool.size, shop.cluster.nodes[0].port), (30, 5433));
    assert_eq!(config.effective("audit").unwrap().cluster_name, "db2-example-com");
    assert_eq!(config.effective("odd \"name\"").unwrap().cluster_name, "db1-example-com");
    assert!(config.effective("other").is_none());
    assert_eq!(config.clusters["db1-example-com"].tls.mode.as_str(), "require");
    assert_eq!(config.pool.max_lifetime.unwrap().as_secs(), 1800);
    assert_eq!(config.pool.idle_timeout, None);
    assert_eq!(config.pool.checkout_timeout.as_secs(), 86_400);
    assert_eq!(config.limits.client_login_timeout.unwrap().as_millis(), 7500);
    assert!(!config.log.connections);
    assert_eq!(config.log.level.as_str(), "debug");
    for said in [
        "pgbouncer.ini:5: audit: user: each client's",
        "audit: password: ",
        "audit: connect_query: ",
        "users batch: pool_mode: ",
        "server_reset_query: ",
        "max_prepared_statements: prepared statements follow",
        "min_pool_size: more than the pool's size",
        "query_wait_timeout: 0 lets clients wait for ever",
        "novelty: not known as a setting of PgBouncer",
        "user \"watcher\": left out",
    ] {
        assert!(notes.contains(said), "{said} in\n{notes}");
    }
    for place in [&text, &notes] {
        assert!(!place.contains("hunter2") && !place.contains("s3cr"), "{place}");
    }
    users_are_taken_over(&config, &desk);
}

fn users_are_taken_over(config: &Config, desk: &Desk) {
    assert_eq!(config.auth.method, AuthMethod::ScramSha256);
    let of = |name| config.users.get(name).unwrap();
    assert!(matches!(of("boss").secret, UserSecret::Scram(_)));
    assert_eq!(of("boss").admin, Admin::Full);
    assert_eq!(of("app").secret, UserSecret::Password(Secret::new("s3cr\"e$t{${x}")));
    assert!(matches!(of("old").secret, UserSecret::Md5(_)));
    assert!(config.users.get("watcher").is_none());
    use std::os::unix::fs::PermissionsExt as _;
    let users = fs::metadata(desk.0.join("users.toml")).unwrap();
    assert_eq!(users.permissions().mode() & 0o777, 0o600);
}

#[test]
fn debians_own_sample_and_every_sample_of_pgbouncers_manual() {
    let manual = "[databases]\ntemplate1 = host=localhost dbname=template1 auth_user=someuser\n\
        [pgbouncer]\npool_mode = session\nlisten_port = 6432\nlisten_addr = localhost\n\
        auth_type = md5\nauth_file = users.txt\nlogfile = pgbouncer.log\npidfile = pgbouncer.pid\n\
        admin_users = someuser\nstats_users = stat_collector\n";
    let peers = "[databases]\npostgres = host=localhost dbname=postgres\n[peers]\n\
        1 = host=/tmp/pgbouncer1\n2 = host=/tmp/pgbouncer2\n[pgbouncer]\nlisten_addr=127.0.0.1\n\
        auth_file=auth_file.conf\nso_reuseport=1\nunix_socket_dir=/tmp/pgbouncer1\npeer_id=1\n";
    let mut samples = vec![manual.to_owned(), peers.to_owned()];
    for file in ["/etc/pgbouncer/pgbouncer.ini", "/usr/share/doc/pgbouncer/examples/pgbouncer.ini"]
    {
        match fs::read_to_string(file) {
            Ok(sample) => samples.push(sample),
            Err(error) => eprintln!("SKIPPED: Debian's sample {file}: {error}"),
        }
    }
    for sample in samples {
        let (config, text, _) = Desk::new(&sample, None).imported();
        assert_eq!(config.listen.address[0].port, 6432, "{text}");
        assert_eq!(config.pool.mode, PoolMode::Session, "{text}");
        assert_eq!(config.auth.method, AuthMethod::Passthrough, "{text}");
    }
}

/// Debian's sample has every setting in a comment, with a value: as if each were set.
#[test]
fn debians_sample_with_every_comment_made_a_setting() {
    let file = "/usr/share/doc/pgbouncer/examples/pgbouncer.ini";
    let Ok(sample) = fs::read_to_string(file) else {
        eprintln!("SKIPPED: no {file}");
        return;
    };
    let open = |line: &str| match line.strip_prefix(';') {
        Some(rest) if !rest.starts_with(';') && rest.contains(" = ") => rest.trim().to_owned(),
        _ => line.to_owned(),
    };
    let all: Vec<String> = sample.lines().map(open).collect();
    let (config, text, notes) = Desk::new(&all.join("\n"), None).imported();
    assert!(config.databases.contains_key("forcedb"), "{text}");
    assert!(!notes.contains("not known as a setting"), "{notes}");
}

#[test]
fn a_query_for_secrets_is_taken_over() {
    let ini = "[databases]\nshop = host=db auth_user=other\n[pgbouncer]\nlisten_addr = *\nauth_type = md5\n\
        auth_file = userlist.txt\nauth_user = keeper\nauth_dbname = keys\npool_mode = statement\n\
        auth_query = SELECT * FROM look_up($1)\n";
    let desk = Desk::new(ini, Some("\"keeper\" \"hunter2\"\n"));
    let (config, text, notes) = desk.imported();
    let auth = &config.auth;
    assert_eq!(auth.method, AuthMethod::Query, "{text}");
    assert_eq!(auth.query.as_deref(), Some("SELECT * FROM look_up($1)"));
    assert_eq!(auth.query_user.as_deref(), Some("keeper"));
    assert_eq!(auth.query_database.as_deref(), Some("keys"));
    assert!(matches!(config.users.get("keeper").unwrap().secret, UserSecret::Password(_)));
    assert_eq!(config.pool.mode, PoolMode::Statement);
    assert_eq!(config.clusters["main"].monitor.user, "postgres");
    assert!(notes.contains("shop: auth_user: one for all"), "{notes}");

    // Its default, and a secret that opens nothing.
    let ini = "[databases]\n* = host=db\n[pgbouncer]\nlisten_addr = *\nauth_type = scram-sha-256\n\
        auth_file = userlist.txt\nauth_user = keeper\n";
    let desk = Desk::new(ini, Some("\"keeper\" \"md5cf7c1c1b5d1e1c1b5d1e1c1b5d1e1c1b\"\n"));
    let (config, _, notes) = desk.imported();
    assert!(config.auth.query.is_some_and(|query| query.contains("FROM pg_shadow")));
    assert_eq!(config.users.get("keeper").unwrap().secret, UserSecret::None);
    assert!(notes.contains("auth_user: the userlist has a secret"), "{notes}");
    assert!(notes.contains("auth_dbname: not set"), "{notes}");

    // One that asks about nobody cannot be asked.
    let ini = format!("{ini}auth_query = SELECT 1\n");
    let (config, _, notes) = Desk::new(&ini, None).imported();
    assert_eq!(config.auth.method, AuthMethod::Passthrough);
    assert!(notes.contains("auth_query: auth.query is left out"), "{notes}");
}

#[test]
fn certificates_are_taken_over_where_their_files_are() {
    let ini = "[databases]\n* = host=db\n[pgbouncer]\nlisten_addr = *\nauth_type = cert\n\
        client_tls_sslmode = verify-full\nclient_tls_cert_file = own.crt\n\
        client_tls_key_file = own.key\nclient_tls_ca_file = clients.crt\n";
    let (config, _, notes) = Desk::new(ini, None).imported();
    assert_eq!(config.auth.method, AuthMethod::Passthrough);
    assert!(notes.contains("auth_type: give listen.tls a cert_file"), "{notes}");

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let desk = Desk::new("", None);
    let mut ini = ini.to_owned();
    for (name, text) in [
        ("own.crt", made.cert.pem()),
        ("own.key", made.signing_key.serialize_pem()),
        ("clients.crt", made.cert.pem()),
    ] {
        let file = desk.0.join(name);
        fs::write(&file, text).unwrap();
        ini = ini.replace(name, &file.display().to_string());
    }
    let (config, text, _) = Desk::new(&ini, None).imported();
    assert_eq!(config.auth.method, AuthMethod::Cert, "{text}");
    assert_eq!(config.listen.tls.mode.as_str(), "require");
    assert!(config.listen.tls.client_ca_file.is_some());
}

#[test]
fn a_fallback_alone_serves_every_name() {
    let plain = "[databases]\n* = host=db port=5433\n[pgbouncer]\nlisten_addr = *\n";
    let (config, text, _) = Desk::new(plain, None).imported();
    assert!(config.databases.is_empty(), "{text}");
    assert_eq!(config.effective("any").unwrap().cluster.nodes[0].address().to_string(), "db:5433");
    assert_eq!(config.listen.address[0].to_string(), "0.0.0.0:6432");

    let mixed = "[databases]\n* = host=db\nshop = host=db pool_size=3\n[pgbouncer]\n";
    let (config, _, notes) = Desk::new(mixed, None).imported();
    assert!(config.effective("any").is_none());
    assert!(notes.contains("*: a fallback beside databases"), "{notes}");
    assert!(config.listen.address.is_empty(), "a socket only");
}

#[test]
fn what_is_no_file_of_pgbouncers_is_refused_with_its_line() {
    let rows = [
        ("a = b\n", "1:1: a setting before the first [section]"),
        ("[pgbouncer]\nnonsense\n", "2:1: the line is neither"),
        ("[mysql]\n", "1:1: \"[mysql]\" is no section"),
        ("[pgbouncer]\n%include pgbouncer.ini\n", "too many files include each other"),
        ("%include nowhere.ini\n", "nowhere.ini: cannot be read"),
    ];
    for (ini, want) in rows {
        let desk = Desk::new(ini, None);
        let error = run(&desk.import(true), &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains(want), "{want}: {error}");
    }
    let desk = Desk::new("[pgbouncer]\n", Some("app hunter2\n"));
    let error = run(&desk.import(true), &mut Vec::new(), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("userlist.txt:1:1: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let desk = Desk::new(SHOP, Some(USERS));
    desk.imported();
    let before = fs::read_to_string(desk.0.join("users.toml")).unwrap();
    let error = run(&desk.import(true), &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ImportError::Write { .. }), "{error}");
    assert_eq!(fs::read_to_string(desk.0.join("users.toml")).unwrap(), before);
}

#[test]
fn on_stdout_the_users_file_follows_as_a_comment() {
    let desk = Desk::new(SHOP, Some(USERS));
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    run(&desk.import(false), &mut out, &mut notes).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("users_file = \"users.toml\"") && out.contains("# [[user]]"), "{out}");
    assert!(toml::from_str::<toml::Table>(&out).is_ok(), "{out}");
    assert!(!Path::new(&desk.0.join("pgweir.toml")).exists());
}
