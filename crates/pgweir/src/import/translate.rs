//! From the lines of a `pgbouncer.ini` to the keys of a `pgweir.toml`.
//!
//! What is written is tried first: each key alone, by pgweir's own reader. One that it refuses (out of
//! range, or of a feature that is not built yet) is noted with the reader's reason and left out, so that
//! the file as a whole is good.

use std::collections::BTreeMap;
use std::path::Path;

use pgweir_protocol::auth::ScramSecret;
use pgweir_protocol::auth::md5::is_md5_hash;

use crate::config::{Config, Secret};

use super::ini::{Entry, Place, Section, pairs};
use super::settings::{Fate, Setting};
use super::value::{Written, count, is_on, string};

/// PgBouncer's own port.
const PORT: &str = "6432";

/// The only cluster, when there is one.
const ONLY_CLUSTER: &str = "main";

/// PgBouncer's defaults where they differ from pgweir's and a client would notice.
const DEFAULTS: [(&str, &str); 5] = [
    ("pool_mode", "session"),
    ("max_client_conn", "100"),
    ("server_connect_timeout", "15"),
    ("query_wait_timeout", "120"),
    ("client_login_timeout", "60"),
];

/// PgBouncer's default of `auth_query`.
const AUTH_QUERY: &str = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1";

/// Something that an operator has to know about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// None for what the file does not say.
    pub(crate) place: Option<Place>,
    /// The setting, with its database or user in front.
    pub(crate) setting: String,
    pub(crate) text: String,
}

/// A key with its value as TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The header of its table, without brackets.
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) value: String,
    /// What is said behind it.
    pub(crate) comment: String,
}

/// A user of the users file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ImportedUser {
    pub(crate) secret: Option<Secret>,
    /// As the users file writes it.
    pub(crate) admin: Option<&'static str>,
}

/// What was made of the files.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Translation {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) users: BTreeMap<String, ImportedUser>,
    pub(crate) notices: Vec<Notice>,
}

/// Where a database leads, as far as pgweir follows.
#[derive(Debug, Clone)]
struct Database<'a> {
    entry: &'a Entry,
    pairs: Vec<(String, String)>,
    /// The cluster's name.
    cluster: String,
}

/// Translates the lines of a `pgbouncer.ini` and the users of its userlist.
pub(crate) fn translate(entries: &[Entry], userlist: Vec<(String, Secret)>) -> Translation {
    let mut work = Work {
        settings: entries
            .iter()
            .filter(|entry| entry.section == Section::Pgbouncer)
            .map(|entry| (entry.key.as_str(), entry))
            .collect(),
        done: Translation::default(),
    };
    work.listen();
    work.clusters_and_databases(entries);
    work.auth(userlist);
    work.globals();
    work.others(entries);
    let line = |notice: &Notice| notice.place.as_ref().map(|place| place.line);
    work.done.notices.sort_by_key(line);
    work.done
}

struct Work<'a> {
    /// The last line of each name counts, as in PgBouncer.
    settings: BTreeMap<&'a str, &'a Entry>,
    done: Translation,
}

impl<'a> Work<'a> {
    fn setting(&self, name: &str) -> Option<&'a str> {
        self.settings.get(name).map(|entry| entry.value.as_str()).filter(|value| !value.is_empty())
    }

    fn note(&mut self, entry: Option<&Entry>, setting: &str, text: impl Into<String>) {
        let place = entry.map(|entry| entry.place.clone());
        self.done.notices.push(Notice { place, setting: setting.to_owned(), text: text.into() });
    }

    fn note_global(&mut self, name: &str, text: impl Into<String>) {
        self.note(self.settings.get(name).copied(), name, text);
    }

    /// Writes a key if pgweir takes it; else notes why not. The whole of `table` is no name of a
    /// cluster's that would have to exist first.
    fn assign(&mut self, origin: Option<&Entry>, setting: &str, new: Assignment) -> bool {
        match refusal(&new) {
            None => {
                self.done.assignments.push(new);
                true
            }
            Some(why) => {
                let Assignment { table, key, .. } = new;
                self.note(origin, setting, format!("{table}.{key} is left out: {why}"));
                false
            }
        }
    }

    fn assign_global(&mut self, name: &str, table: &str, key: &str, value: String) -> bool {
        let origin = self.settings.get(name).copied();
        self.assign(origin, name, assignment(table, key, value))
    }

    // ---- [listen] ----

    fn listen(&mut self) {
        let port = self.setting("listen_port").unwrap_or(PORT);
        let hosts = self.setting("listen_addr").map(|hosts| hosts.split(',').map(str::trim));
        let addresses: Vec<String> = hosts
            .into_iter()
            .flatten()
            .map(|host| match host {
                "*" => format!("0.0.0.0:{port}"),
                host if host.contains(':') => format!("[{host}]:{port}"),
                host => format!("{host}:{port}"),
            })
            .collect();
        if addresses.is_empty() {
            let text = "not set: PgBouncer listens on its Unix socket only, and so does pgweir; give \
                        listen.address for TCP";
            self.note_global("listen_addr", text);
        }
        self.assign_global("listen_addr", "listen", "address", list(&addresses));
        if self.setting("unix_socket_dir").is_none() {
            self.assign_global("unix_socket_dir", "listen", "unix_socket_dir", string("/tmp"));
        }
        self.listen_tls();
    }

    fn listen_tls(&mut self) {
        let mode = self.setting("client_tls_sslmode").unwrap_or("disable");
        let (word, verifies) = match mode {
            "disable" => return,
            _ if self.setting("auth_type") == Some("cert") => ("require", true),
            "allow" | "prefer" => ("allow", false),
            "require" => ("require", false),
            _ => ("require", true),
        };
        let file = |name: &str, key: &str| Some(format!("{key} = {}", string(self.setting(name)?)));
        let mut parts = vec![format!("mode = \"{word}\"")];
        parts.extend(file("client_tls_cert_file", "cert_file"));
        parts.extend(file("client_tls_key_file", "key_file"));
        let authorities = verifies.then(|| file("client_tls_ca_file", "client_ca_file")).flatten();
        if let Some(authorities) = authorities {
            let all = inline(parts.iter().chain([&authorities]));
            if refusal(&assignment("listen", "tls", all.clone())).is_none() {
                self.assign_global("client_tls_sslmode", "listen", "tls", all);
                return;
            }
        }
        self.assign_global("client_tls_sslmode", "listen", "tls", inline(parts.iter()));
        if verifies {
            let text =
                format!("{mode:?} asks clients for certificates; here they are not verified");
            self.note_global("client_tls_sslmode", text);
        }
    }

    // ---- [clusters] and [databases] ----

    fn clusters_and_databases(&mut self, entries: &[Entry]) {
        let mut databases: Vec<Database<'_>> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.section == Section::Databases) {
            match pairs(&entry.value) {
                Some(pairs) => {
                    databases.retain(|earlier| earlier.entry.key != entry.key);
                    databases.push(Database { entry, pairs, cluster: String::new() });
                }
                // The line may hold a password: it is not repeated.
                None => {
                    self.note(Some(entry), &entry.key, "the connection string is not understood")
                }
            }
        }
        self.name_clusters(&mut databases);
        self.drop_fallback(&mut databases);
        for database in &databases {
            self.database(database);
        }
    }

    /// Makes a cluster of each list of hosts.
    fn name_clusters(&mut self, databases: &mut [Database<'_>]) {
        let mut clusters: Vec<(Vec<String>, String)> = Vec::new();
        for database in &*databases {
            let nodes = database.nodes();
            if !clusters.iter().any(|(known, _)| *known == nodes) {
                let name = cluster_name(&nodes, &clusters);
                clusters.push((nodes, name));
            }
        }
        if let [(_, name)] = &mut clusters[..] {
            ONLY_CLUSTER.clone_into(name);
        }
        for database in databases.iter_mut() {
            let nodes = database.nodes();
            if let Some((_, name)) = clusters.iter().find(|(known, _)| *known == nodes) {
                database.cluster.clone_from(name);
            }
        }
        if clusters.is_empty() {
            let text = "there are none: name the servers in clusters.main.nodes";
            self.note(None, "[databases]", text);
            clusters.push((vec!["127.0.0.1:5432".to_owned()], ONLY_CLUSTER.to_owned()));
        }
        for (nodes, name) in clusters {
            self.cluster(&name, &nodes);
        }
    }

    fn cluster(&mut self, name: &str, nodes: &[String]) {
        let table = format!("clusters.{name}");
        let mut written = assignment(&table, "nodes", list(nodes));
        "add the replicas: pgweir finds out which node is what".clone_into(&mut written.comment);
        self.assign(None, "host", written);
        let mode = self.setting("server_tls_sslmode").unwrap_or("prefer");
        if mode != "prefer" {
            let authorities =
                self.setting("server_tls_ca_file").filter(|_| mode.contains("verify"));
            let authorities = authorities.map(|file| format!("ca_file = {}", string(file)));
            let parts = [Some(format!("mode = {}", string(mode))), authorities];
            let tls = inline(parts.iter().flatten());
            self.assign_global("server_tls_sslmode", &table, "tls", tls);
        }
    }

    /// `*` serves every name, as does pgweir without any [databases].
    fn drop_fallback(&mut self, databases: &mut Vec<Database<'_>>) {
        let Some(at) = databases.iter().position(|database| database.entry.key == "*") else {
            return;
        };
        let fallback = databases.remove(at);
        let is_alone = databases.iter().all(|database| database.is_plain(&fallback.cluster));
        if is_alone && fallback.is_plain(&fallback.cluster) {
            databases.clear();
        } else {
            let text = "a fallback beside databases of their own has no counterpart: give each name \
                        that clients ask for a [databases.NAME]";
            self.note(Some(fallback.entry), "*", text);
            if databases.is_empty() {
                self.connection_notes(&fallback);
            }
        }
    }

    fn database(&mut self, database: &Database<'_>) {
        let Database { entry, cluster, .. } = database;
        let table = format!("databases.{}", toml_key(&entry.key));
        let leads = assignment(&table, "cluster", string(cluster));
        if !self.assign(Some(entry), &entry.key, leads) {
            return;
        }
        if let Some(dbname) = database.get("dbname").filter(|dbname| *dbname != entry.key) {
            self.assign(Some(entry), "dbname", assignment(&table, "dbname", string(dbname)));
        }
        let pool = format!("{table}.pool");
        for (name, value) in &database.pairs {
            let setting = Setting::find(Section::Databases, name);
            if let Some(Setting { fate: Fate::Key(key, write), .. }) = setting {
                let key = key.strip_prefix("pool.").unwrap_or(key);
                let label = format!("{}: {name}", entry.key);
                self.write(Some(entry), &label, &pool, key, write(value));
            }
        }
        if let Some(mode) = database.get("pool_mode") {
            self.pool_mode(Some(entry), &format!("{}: pool_mode", entry.key), &pool, mode);
        }
        let size = database.get("pool_size").or(self.setting("default_pool_size"));
        // A smaller pool takes over the least that holds for all, which may be too much for it.
        let usual = database.get("pool_size").and_then(|_| self.setting("min_pool_size"));
        if let Some(least) = database.get("min_pool_size").or(usual) {
            let label = format!("{}: min_pool_size", entry.key);
            self.min_idle(Some(entry), &label, &pool, least, size);
        }
        self.connection_notes(database);
    }

    /// What of a connection string has no counterpart.
    fn connection_notes(&mut self, database: &Database<'_>) {
        let entry = database.entry;
        for (name, value) in &database.pairs {
            let label = format!("{}: {name}", entry.key);
            match Setting::find(Section::Databases, name) {
                Some(Setting { fate: Fate::None, why, .. }) => self.note(Some(entry), &label, *why),
                Some(_) if name == "host" && value.starts_with(['/', '@']) => {
                    let text = "servers are reached over TCP: 127.0.0.1 is written";
                    self.note(Some(entry), &label, text);
                }
                Some(_) if name.starts_with("auth_") => {
                    let text = "one for all: auth.query, auth.query_user, auth.query_database";
                    self.note(Some(entry), &label, text);
                }
                Some(_) => {}
                None => self.note(Some(entry), &label, "not known as a setting of PgBouncer"),
            }
        }
        if database.get("host").is_none() {
            let text = "not given: a Unix socket to PgBouncer; servers are reached over TCP: 127.0.0.1 \
                        is written";
            self.note(Some(entry), &format!("{}: host", entry.key), text);
        }
    }

    // ---- pools ----

    fn pool_mode(&mut self, origin: Option<&Entry>, setting: &str, table: &str, mode: &str) {
        let mut written = assignment(table, "mode", string(mode));
        if mode == "session" {
            let comment = "as in PgBouncer; \"transaction\" is safe here, and lets reads be spread";
            comment.clone_into(&mut written.comment);
        }
        self.assign(origin, setting, written);
    }

    /// PgBouncer lets the least be more than the most; pgweir does not.
    fn min_idle(
        &mut self,
        origin: Option<&Entry>,
        setting: &str,
        table: &str,
        least: &str,
        size: Option<&str>,
    ) {
        let most: u32 = size.and_then(|size| size.parse().ok()).unwrap_or(20);
        let written = match least.parse::<u32>() {
            Ok(number) if number > most => {
                Written::Near(most.to_string(), "more than the pool's size: as many as that")
            }
            _ => count(least),
        };
        self.write(origin, setting, table, "min_idle", written);
    }

    fn write(
        &mut self,
        origin: Option<&Entry>,
        setting: &str,
        table: &str,
        key: &str,
        written: Written,
    ) {
        match written {
            Written::Same(value) => {
                self.assign(origin, setting, assignment(table, key, value));
            }
            Written::Near(value, why) => {
                self.assign(origin, setting, assignment(table, key, value));
                self.note(origin, setting, why);
            }
            Written::Not(why) => self.note(origin, setting, why),
        }
    }

    // ---- [auth] ----

    fn auth(&mut self, userlist: Vec<(String, Secret)>) {
        let method = self.setting("auth_type").unwrap_or("md5");
        let has_list = !userlist.is_empty();
        for (name, secret) in userlist {
            let secret = Some(secret).filter(|secret| !secret.expose().is_empty());
            self.done.users.entry(name).or_default().secret = secret;
        }
        for (list, admin) in [("stats_users", "\"read-only\""), ("admin_users", "true")] {
            for name in self.setting(list).unwrap_or_default().split(',').map(str::trim) {
                if !name.is_empty() {
                    self.done.users.entry(name.to_owned()).or_default().admin = Some(admin);
                }
            }
        }
        let method = match method {
            "trust" => "trust",
            "any" => {
                self.note_global(
                    "auth_type",
                    "\"any\" ignores names; here each user logs in as itself",
                );
                "trust"
            }
            "cert" => self.by_certificate(),
            "md5" | "scram-sha-256" | "plain" if self.setting("auth_user").is_some() => {
                self.by_query()
            }
            "md5" | "scram-sha-256" | "plain" if has_list => "scram-sha-256",
            "md5" | "scram-sha-256" | "plain" => "passthrough",
            other => {
                let text =
                    format!("{other:?} has no counterpart: PostgreSQL's own passwords count");
                self.note_global("auth_type", text);
                "passthrough"
            }
        };
        self.settle_auth(method);
    }

    /// Clients prove themselves by certificates, as far as there is somebody to vouch for those.
    fn by_certificate(&mut self) -> &'static str {
        let has_authority = |done: &Assignment| {
            done.table == "listen" && done.key == "tls" && done.value.contains("client_ca_file")
        };
        if self.done.assignments.iter().any(has_authority) {
            return "cert";
        }
        let text = "give listen.tls a cert_file, a key_file and a client_ca_file that are there, and \
                    auth.method = \"cert\"; so far PostgreSQL's own passwords count";
        self.note_global("auth_type", text);
        "passthrough"
    }

    /// Secrets are read by `auth_query`, as `auth_user`.
    fn by_query(&mut self) -> &'static str {
        let query = string(self.setting("auth_query").unwrap_or(AUTH_QUERY));
        let role = self.setting("auth_user").unwrap_or_default().to_owned();
        if !self.assign_global("auth_query", "auth", "query", query) {
            return "passthrough";
        }
        self.assign_global("auth_user", "auth", "query_user", string(&role));
        if let Some(database) = self.setting("auth_dbname") {
            self.assign_global("auth_dbname", "auth", "query_database", string(database));
        } else {
            let text = "not set: PgBouncer asks in each client's database, pgweir in that of \
                        clusters.NAME.monitor, unless auth.query_database says where";
            self.note_global("auth_dbname", text);
        }
        let own = self.done.users.get_mut(&role);
        let is_hashed = |secret: &mut Secret| {
            let secret = secret.expose();
            is_md5_hash(secret) || ScramSecret::parse(secret).is_ok()
        };
        if own.is_some_and(|own| own.secret.take_if(is_hashed).is_some()) {
            let text = "the userlist has a secret of it, which opens no server: give users.toml its \
                        password";
            self.note_global("auth_user", text);
        }
        let text = "each user is verified by auth.query, those of the userlist too; their passwords there \
                    open servers";
        self.note_global("auth_file", text);
        "query"
    }

    fn settle_auth(&mut self, method: &'static str) {
        if method == "scram-sha-256" {
            self.users_that_know_nothing();
        }
        if method == "passthrough" {
            let text = "PostgreSQL's own roles and passwords count; clusters.NAME.monitor must be \
                        allowed to read pg_authid";
            self.note_global("auth_type", text);
        }
        // Whether it goes with users_file cannot be tried before that is there.
        self.done.assignments.push(assignment("auth", "method", string(method)));
        if !self.done.users.is_empty() {
            self.done.assignments.push(assignment("auth", "users_file", string("users.toml")));
        }
    }

    /// A user without a password could not log in anyway, and is no user of the users file.
    fn users_that_know_nothing(&mut self) {
        let names: Vec<String> = self.done.users.keys().cloned().collect();
        for name in names {
            if self.done.users.get(&name).is_some_and(|user| user.secret.is_none()) {
                self.done.users.remove(&name);
                let text = "left out: it has no password in the userlist";
                self.note(None, &format!("user {name:?}"), text);
            }
        }
    }

    // ---- what is a setting of its own ----

    fn globals(&mut self) {
        let defaults = DEFAULTS.into_iter().filter(|(name, _)| self.setting(name).is_none());
        let defaults: Vec<_> = defaults.collect();
        let given: Vec<_> = self.settings.values().copied().collect();
        for entry in given {
            self.global(entry);
        }
        for (name, value) in defaults {
            self.global_value(None, name, value);
        }
        if let Some(least) = self.setting("min_pool_size") {
            let origin = self.settings.get("min_pool_size").copied();
            self.min_idle(
                origin,
                "min_pool_size",
                "pool",
                least,
                self.setting("default_pool_size"),
            );
        }
        if let Some(level) = self.setting("verbose").filter(|level| *level != "0") {
            let word = if level == "1" { "debug" } else { "trace" };
            self.assign_global("verbose", "log", "level", string(word));
        }
        let is_off = self.setting("log_disconnections").and_then(is_on) == Some(false);
        if is_off && self.setting("log_connections").is_none() {
            self.assign_global("log_disconnections", "log", "connections", "false".to_owned());
        }
    }

    fn global(&mut self, entry: &Entry) {
        match Setting::find(Section::Pgbouncer, &entry.key) {
            None => self.note(Some(entry), &entry.key, "not known as a setting of PgBouncer"),
            // Empty, as the samples have it, is not set.
            Some(_) if entry.value.is_empty() => {}
            Some(Setting { fate: Fate::None, why, .. }) => self.note(Some(entry), &entry.key, *why),
            Some(_) => self.global_value(Some(entry), &entry.key, &entry.value),
        }
    }

    fn global_value(&mut self, origin: Option<&Entry>, name: &str, value: &str) {
        if name == "pool_mode" {
            self.pool_mode(origin, name, "pool", value);
        } else if let Some(Setting { fate: Fate::Key(key, write), .. }) =
            Setting::find(Section::Pgbouncer, name)
        {
            let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
            self.write(origin, name, table, key, write(value));
        }
    }

    /// `[users]` and `[peers]`.
    fn others(&mut self, entries: &[Entry]) {
        for entry in entries {
            if !matches!(entry.section, Section::Users | Section::Peers) {
                continue;
            }
            for (name, _) in pairs(&entry.value).unwrap_or_default() {
                let known = Setting::find(entry.section, &name);
                let why =
                    known.map_or("not known as a setting of PgBouncer", |setting| setting.why);
                let label = format!("{} {}: {name}", entry.section.as_str(), entry.key);
                self.note(Some(entry), &label, why);
            }
        }
    }
}

impl Database<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter().rev();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where its servers are.
    fn nodes(&self) -> Vec<String> {
        let hosts = self.get("host").unwrap_or_default();
        let mut ports = self.get("port").unwrap_or("5432").split(',').map(str::trim).cycle();
        let mut nodes = Vec::new();
        for host in hosts.split(',').map(str::trim) {
            let port = ports.next().unwrap_or("5432");
            let node = match host {
                "" => format!("127.0.0.1:{port}"),
                socket if socket.starts_with(['/', '@']) => format!("127.0.0.1:{port}"),
                host if host.contains(':') => format!("[{host}]:{port}"),
                host => format!("{host}:{port}"),
            };
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        nodes
    }

    /// Whether it says no more than where this cluster is.
    fn is_plain(&self, cluster: &str) -> bool {
        let says_more = |(key, value): &(String, String)| match key.as_str() {
            "host" | "port" => false,
            "dbname" => *value != self.entry.key,
            _ => true,
        };
        self.cluster == cluster && !self.pairs.iter().any(says_more)
    }
}

fn assignment(table: &str, key: &str, value: String) -> Assignment {
    Assignment { table: table.to_owned(), key: key.to_owned(), value, comment: String::new() }
}

/// Why pgweir does not take a key, beside nothing but a cluster for it to hold on to.
fn refusal(new: &Assignment) -> Option<String> {
    let Assignment { table, key, value, .. } = new;
    let cluster = table.strip_prefix("clusters.").and_then(|rest| rest.split('.').next());
    let cluster = cluster.or_else(|| value.strip_prefix('"')?.strip_suffix('"'));
    let cluster = cluster.filter(|_| table.starts_with("clusters.") || key == "cluster");
    let ground = match cluster {
        Some(_) if key == "nodes" => String::new(),
        _ => format!("clusters.{}.nodes = [\"127.0.0.1:5432\"]\n", cluster.unwrap_or(ONLY_CLUSTER)),
    };
    let ground = match key.as_str() {
        // A socket may be all there is to listen on.
        "address" => format!("{ground}listen.unix_socket_dir = \"/tmp\"\n"),
        "min_idle" => format!("{ground}{table}.size = {value}\n"),
        _ => ground,
    };
    let text = format!("{ground}{table}.{key} = {value}\n");
    let problems = Config::parse(&text, Path::new("pgweir.toml"), &|_| None).err()?;
    let first = problems.first()?;
    let suggestion = first.suggestion.as_ref().map(|text| format!(" ({text})"));
    Some(format!("{}{}", first.message, suggestion.unwrap_or_default()))
}

/// A name that no other cluster has, from its first host.
fn cluster_name(nodes: &[String], others: &[(Vec<String>, String)]) -> String {
    let host = nodes.first().and_then(|node| node.rsplit_once(':')).map_or("", |(host, _)| host);
    let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let base: String = host.trim_matches(['[', ']']).chars().map(letters).collect();
    let is_taken = |name: &str| others.iter().any(|(_, other)| other == name);
    let mut name = base.clone();
    let mut number = 2_u32;
    while is_taken(&name) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// A name as a part of a dotted key.
pub(crate) fn toml_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.to_owned();
    }
    // A key is quoted as a basic string; nothing in it is replaced.
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| string(item)).collect();
    format!("[{}]", items.join(", "))
}

fn inline<'a>(parts: impl Iterator<Item = &'a String>) -> String {
    let parts: Vec<&str> = parts.map(String::as_str).collect();
    format!("{{ {} }}", parts.join(", "))
}
