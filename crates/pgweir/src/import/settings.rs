//! Every setting of PgBouncer, and what becomes of it: the one source of what `pgweir import` says and of
//! the tables in docs/migrating.md.
//!
//! The settings are those of PgBouncer 1.18 (Debian 12) up to those that have come since 1.24.

use super::ini::Section;
use super::value::{Written, bytes, count, flag, lifetime, path, prepared, seconds, wait};

/// What becomes of a setting.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// It is this key, its value written so.
    Key(&'static str, fn(&str) -> Written),
    /// It is part of what these keys say.
    Part(&'static str),
    /// It has no counterpart.
    None,
}

/// A setting of PgBouncer.
pub(crate) struct Setting {
    pub(crate) section: Section,
    pub(crate) name: &'static str,
    pub(crate) fate: Fate,
    /// What there is to know about it.
    pub(crate) why: &'static str,
}

impl Setting {
    /// The setting of this name.
    pub(crate) fn find(section: Section, name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.section == section && setting.name == name)
    }
}

const fn global(name: &'static str, fate: Fate, why: &'static str) -> Setting {
    Setting { section: Section::Pgbouncer, name, fate, why }
}

const fn database(name: &'static str, fate: Fate, why: &'static str) -> Setting {
    Setting { section: Section::Databases, name, fate, why }
}

const fn user(name: &'static str, fate: Fate, why: &'static str) -> Setting {
    Setting { section: Section::Users, name, fate, why }
}

const fn peer(name: &'static str) -> Setting {
    let why = "instances of pgweir share nothing";
    Setting { section: Section::Peers, name, fate: Fate::None, why }
}

const STDERR: &str = "the log goes to stderr: journald, Docker and Kubernetes take it from there";
const CARRIED: &str =
    "pgweir knows what a client has set, and carries it or undoes it: nothing is to be reset";
const ROLES: &str = "set it for the role or the database: ALTER ROLE … SET, ALTER DATABASE … SET";
const RESOLVER: &str = "names are resolved by the system, for every connection anew";
const KERNEL: &str = "the system's value is used: sysctl net.ipv4.tcp_*";
const RUSTLS: &str = "rustls: TLS 1.2 and 1.3 with sound ciphers only";
const NO_CLIENT_CERTIFICATE: &str = "pgweir shows servers no certificate of its own";
const PER_NODE: &str =
    "near: clusters.NAME.max_connections bounds each node's connections over all pools";
const PER_USER: &str = "nothing differs by user but what PostgreSQL gives the role";
const DANGER: &str = "as there: a safety net, not a statement_timeout";

/// Every setting, in the order of PgBouncer's manual.
pub(crate) static SETTINGS: &[Setting] = &[
    global("logfile", Fate::None, STDERR),
    global(
        "pidfile",
        Fate::None,
        "pgweir stays in the foreground, as systemd and containers want it",
    ),
    global("listen_addr", Fate::Part("listen.address"), "a list of \"host:port\""),
    global("listen_port", Fate::Part("listen.address"), "a list of \"host:port\""),
    global("unix_socket_dir", Fate::Key("listen.unix_socket_dir", path), ""),
    global(
        "unix_socket_mode",
        Fate::None,
        "0777; whom the directory lets in may connect, and is asked who it is",
    ),
    global("unix_socket_group", Fate::None, "the directory's group decides"),
    global("user", Fate::None, "started as whom it shall run: User= of systemd, USER of an image"),
    global(
        "pool_mode",
        Fate::Part("pool.mode"),
        "PgBouncer's default is session, pgweir's transaction; in session mode a client keeps the server it got first, and reads are not spread",
    ),
    global(
        "max_client_conn",
        Fate::Key("listen.max_clients", count),
        "PgBouncer's default is 100, pgweir's 10000",
    ),
    global(
        "default_pool_size",
        Fate::Key("pool.size", count),
        "per database, user and node; both have 20",
    ),
    global("min_pool_size", Fate::Part("pool.min_idle"), ""),
    global(
        "reserve_pool_size",
        Fate::None,
        "size pools for the worst: a place that is not used costs nothing",
    ),
    global("reserve_pool_timeout", Fate::None, "there is no reserve"),
    global("max_db_connections", Fate::None, PER_NODE),
    global("max_db_client_connections", Fate::None, "near: listen.max_clients, limits.per_user"),
    global(
        "max_user_connections",
        Fate::None,
        "near: ALTER ROLE … CONNECTION LIMIT, and pool.size",
    ),
    global("max_user_client_connections", Fate::Key("limits.per_user", count), ""),
    global(
        "server_round_robin",
        Fate::None,
        "the connection that fits a client's settings is preferred, else the one used last",
    ),
    global("track_extra_parameters", Fate::None, "every setting is tracked"),
    global(
        "ignore_startup_parameters",
        Fate::None,
        "startup parameters are passed on, and follow the client",
    ),
    global(
        "peer_id",
        Fate::None,
        "instances share nothing; a load balancer in front must keep a client's address on one instance for cancel requests",
    ),
    global("disable_pqexec", Fate::None, "near: [firewall] blocks statements by what they are"),
    global(
        "application_name_add_host",
        Fate::None,
        "SHOW CLIENTS has application_name and address side by side",
    ),
    global("conffile", Fate::None, "--config, or PGWEIR_CONFIG"),
    global("service_name", Fate::None, "for Windows"),
    global("job_name", Fate::None, "for Windows"),
    global(
        "stats_period",
        Fate::None,
        "averages are those of the last one to two minutes; /metrics has the counters",
    ),
    global(
        "max_prepared_statements",
        Fate::Key("pool.prepared_statements", prepared),
        "always on; PgBouncer's default is 200, pgweir's 1000",
    ),
    global("scram_iterations", Fate::None, "PostgreSQL's 4096"),
    global(
        "auth_type",
        Fate::Part("auth.method"),
        "trust; cert; md5, plain and scram-sha-256 become \"query\" with an auth_user, \"scram-sha-256\" with a userlist; everything else \"passthrough\": PostgreSQL's own roles and passwords",
    ),
    global(
        "auth_hba_file",
        Fate::None,
        "near: auth.allow, listen.tls.mode; pg_hba.conf sees pgweir's address",
    ),
    global("auth_ident_file", Fate::None, "near: auth.name_map, with * for a part of a name"),
    global(
        "auth_file",
        Fate::Part("auth.users_file"),
        "its users are written to users.toml; not needed with \"passthrough\"",
    ),
    global("auth_user", Fate::Part("auth.query_user"), "its password is that of users_file"),
    global(
        "auth_query",
        Fate::Part("auth.query"),
        "written out where PgBouncer's default is meant; NULL is no password, a password in the clear is none either",
    ),
    global(
        "auth_dbname",
        Fate::Part("auth.query_database"),
        "PgBouncer's default is each client's database, pgweir's the monitor's",
    ),
    global("auth_ldap_options", Fate::None, "there is no LDAP"),
    global("syslog", Fate::None, STDERR),
    global("syslog_ident", Fate::None, STDERR),
    global("syslog_facility", Fate::None, STDERR),
    global("log_connections", Fate::Key("log.connections", flag), "both comings and goings"),
    global("log_disconnections", Fate::Part("log.connections"), "both comings and goings"),
    global(
        "log_pooler_errors",
        Fate::None,
        "refused clients are logged at info; pgweir_errors_total counts by SQLSTATE",
    ),
    global("log_stats", Fate::None, "/metrics, and SHOW STATS"),
    global("verbose", Fate::Part("log.level"), "1 is \"debug\", 2 \"trace\""),
    global("admin_users", Fate::Part("auth.users_file"), "users.toml: admin = true"),
    global("stats_users", Fate::Part("auth.users_file"), "users.toml: admin = \"read-only\""),
    global("server_reset_query", Fate::None, CARRIED),
    global("server_reset_query_always", Fate::None, CARRIED),
    global(
        "server_check_delay",
        Fate::None,
        "the monitor asks each node all the time, and a read whose server is lost runs again elsewhere",
    ),
    global(
        "server_check_query",
        Fate::None,
        "the monitor asks each node all the time, and a read whose server is lost runs again elsewhere",
    ),
    global("server_fast_close", Fate::None, "near: KILL, KILL_CLIENT and RECONNECT on the console"),
    global(
        "server_lifetime",
        Fate::Key("pool.max_lifetime", lifetime),
        "0 means \"used once\" there and \"never closed for its age\" here",
    ),
    global("server_idle_timeout", Fate::Key("pool.idle_timeout", seconds), ""),
    global(
        "server_connect_timeout",
        Fate::Key("pool.connect_timeout", seconds),
        "PgBouncer's default is 15 s, pgweir's 5s",
    ),
    global(
        "server_login_retry",
        Fate::None,
        "a node that refuses is left alone for a growing while, and others serve",
    ),
    global(
        "client_login_timeout",
        Fate::Key("limits.client_login_timeout", seconds),
        "PgBouncer's default is 60 s, pgweir's 15s",
    ),
    global("autodb_idle_timeout", Fate::None, "pools that nobody uses cost nothing"),
    global("pool_idle_timeout", Fate::None, "pools that nobody uses cost nothing"),
    global("dns_max_ttl", Fate::None, RESOLVER),
    global("dns_nxdomain_ttl", Fate::None, RESOLVER),
    global("dns_zone_check_period", Fate::None, RESOLVER),
    global("resolv_conf", Fate::None, RESOLVER),
    global(
        "query_wait_notify",
        Fate::None,
        "a client that waits is told nothing; SHOW CLIENTS tells who waits",
    ),
    global(
        "login_notify_message",
        Fate::None,
        "clients are told nothing that PostgreSQL does not say",
    ),
    global(
        "client_tls_sslmode",
        Fate::Part("listen.tls.mode"),
        "disable, allow, require; verify-ca and verify-full are \"require\" with listen.tls.client_ca_file",
    ),
    global("client_tls_key_file", Fate::Part("listen.tls.key_file"), ""),
    global("client_tls_cert_file", Fate::Part("listen.tls.cert_file"), ""),
    global("client_tls_ca_file", Fate::Part("listen.tls.client_ca_file"), ""),
    global("client_tls_protocols", Fate::None, RUSTLS),
    global("client_tls_ciphers", Fate::None, RUSTLS),
    global("client_tls13_ciphers", Fate::None, RUSTLS),
    global("client_tls_ecdhcurve", Fate::None, RUSTLS),
    global("client_tls_dheparams", Fate::None, RUSTLS),
    global("server_tls_sslmode", Fate::Part("clusters.NAME.tls.mode"), "libpq's words in both"),
    global(
        "server_tls_ca_file",
        Fate::Part("clusters.NAME.tls.ca_file"),
        "must be given to verify",
    ),
    global("server_tls_key_file", Fate::None, NO_CLIENT_CERTIFICATE),
    global("server_tls_cert_file", Fate::None, NO_CLIENT_CERTIFICATE),
    global("server_tls_protocols", Fate::None, RUSTLS),
    global("server_tls_ciphers", Fate::None, RUSTLS),
    global("server_tls13_ciphers", Fate::None, RUSTLS),
    global("query_timeout", Fate::Key("limits.query_timeout", seconds), DANGER),
    global(
        "query_wait_timeout",
        Fate::Key("pool.checkout_timeout", wait),
        "53300, and the client stays; PgBouncer's default is 120 s, pgweir's 5s",
    ),
    global("cancel_wait_timeout", Fate::None, "cancel requests do not queue"),
    global("client_idle_timeout", Fate::Key("limits.client_idle_timeout", seconds), ""),
    global("idle_transaction_timeout", Fate::Key("limits.idle_transaction_timeout", seconds), ""),
    global(
        "transaction_timeout",
        Fate::None,
        "PostgreSQL 17 has transaction_timeout: ALTER ROLE … SET",
    ),
    global(
        "suspend_timeout",
        Fate::None,
        "there is no SUSPEND; a new version is rolled out beside the old one, which drains",
    ),
    global("pkt_buf", Fate::None, "buffers grow and shrink with their clients"),
    global(
        "max_packet_size",
        Fate::Key("limits.max_message", bytes),
        "PgBouncer's default is 2 GiB, pgweir's 1GiB",
    ),
    global("listen_backlog", Fate::None, "1024"),
    global("sbuf_loopcnt", Fate::None, "clients take turns by the runtime's own budget"),
    global("so_reuseport", Fate::None, "near: runtime.workers lets one pgweir use several cores"),
    global("tcp_defer_accept", Fate::None, KERNEL),
    global("tcp_socket_buffer", Fate::None, KERNEL),
    global("tcp_keepalive", Fate::None, KERNEL),
    global("tcp_keepcnt", Fate::None, KERNEL),
    global("tcp_keepidle", Fate::None, KERNEL),
    global("tcp_keepintvl", Fate::None, KERNEL),
    global("tcp_user_timeout", Fate::None, KERNEL),
    database("dbname", Fate::Part("databases.NAME.dbname"), ""),
    database(
        "host",
        Fate::Part("clusters.NAME.nodes"),
        "one cluster for each list of hosts; add the replicas, which pgweir tells apart by asking",
    ),
    database("port", Fate::Part("clusters.NAME.nodes"), ""),
    database("user", Fate::None, "each client's server connections log in as that client's user"),
    database("password", Fate::None, "see user; nothing of it is written"),
    database("auth_user", Fate::Part("auth.query_user"), "one for all databases"),
    database("auth_query", Fate::Part("auth.query"), "one for all databases"),
    database("auth_dbname", Fate::Part("auth.query_database"), "one for all databases"),
    database("pool_size", Fate::Key("pool.size", count), "databases.NAME.pool.size"),
    database("min_pool_size", Fate::Part("databases.NAME.pool.min_idle"), ""),
    database("reserve_pool", Fate::None, "there is no reserve"),
    database("reserve_pool_size", Fate::None, "there is no reserve"),
    database("connect_query", Fate::None, ROLES),
    database("pool_mode", Fate::Part("databases.NAME.pool.mode"), ""),
    database(
        "query_wait_timeout",
        Fate::Key("pool.checkout_timeout", wait),
        "databases.NAME.pool.checkout_timeout",
    ),
    database(
        "load_balance_hosts",
        Fate::None,
        "all nodes serve, each what it may: routing.balance",
    ),
    database("max_db_connections", Fate::None, PER_NODE),
    database("max_db_client_connections", Fate::None, "near: listen.max_clients, limits.per_user"),
    database(
        "server_lifetime",
        Fate::Key("pool.max_lifetime", lifetime),
        "databases.NAME.pool.max_lifetime",
    ),
    database("client_encoding", Fate::None, ROLES),
    database("datestyle", Fate::None, ROLES),
    database("timezone", Fate::None, ROLES),
    database("application_name", Fate::None, ROLES),
    user("pool_size", Fate::None, PER_USER),
    user("reserve_pool_size", Fate::None, PER_USER),
    user("pool_mode", Fate::None, PER_USER),
    user("max_user_connections", Fate::None, "ALTER ROLE … CONNECTION LIMIT"),
    user("query_timeout", Fate::None, "ALTER ROLE … SET statement_timeout"),
    user("query_wait_timeout", Fate::None, PER_USER),
    user(
        "idle_transaction_timeout",
        Fate::None,
        "ALTER ROLE … SET idle_in_transaction_session_timeout",
    ),
    user("transaction_timeout", Fate::None, "ALTER ROLE … SET transaction_timeout (PostgreSQL 17)"),
    user("client_idle_timeout", Fate::None, "ALTER ROLE … SET idle_session_timeout"),
    user("max_user_client_connections", Fate::None, "near: limits.per_user, for every user alike"),
    peer("host"),
    peer("port"),
    peer("pool_size"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_there_once_and_one_without_a_counterpart_says_why() {
        for (at, setting) in SETTINGS.iter().enumerate() {
            let twin = SETTINGS
                .iter()
                .skip(at + 1)
                .find(|other| (other.section, other.name) == (setting.section, setting.name));
            assert!(twin.is_none(), "{}", setting.name);
            let says = !setting.why.is_empty() || !matches!(setting.fate, Fate::None);
            assert!(says, "{}", setting.name);
        }
    }
}
