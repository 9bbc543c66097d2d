//! From a file to a [`Config`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fields::{Fields, NOT_AVAILABLE};
use super::files::read_file;
use super::problem::{Problem, Source};
use super::reference::ROOT;
use super::scope::{Environment, Scope, Step, World};
use super::sections::{AuthMethod, Cluster, Database, ListenTlsMode};
use super::users::UserSecret;
use super::{CONSOLE_DATABASE, Clusters, Config, Databases, Users, overrule, suggest, users};

impl Config {
    /// Reads a file, with this process's environment.
    ///
    /// # Errors
    ///
    /// Every problem, in the order of the text; at least one.
    pub fn load(file: &Path) -> Result<Self, Vec<Problem>> {
        let text = read_file(file).map_err(|problem| vec![problem])?;
        Self::parse(&text, file, &|name| std::env::var(name).ok())
    }

    /// Reads a text as the content of `file`: its problems carry that name, and relative paths start
    /// at its directory. The files that the text names are read.
    ///
    /// # Errors
    ///
    /// Every problem, in the order of the text; at least one.
    pub fn parse(
        text: &str,
        file: &Path,
        environment: Environment<'_>,
    ) -> Result<Self, Vec<Problem>> {
        read_text(text, &[], file, environment, &RefCell::default())
    }
}

/// A configuration, or why there is none, and what it was made from.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or every problem.
    pub result: Result<Config, Vec<Problem>>,
    /// The text; empty if it could not be read.
    pub text: String,
    /// Every file that was looked at, the configuration itself included.
    pub files: BTreeSet<PathBuf>,
}

impl Reading {
    /// Reads a file, with this process's environment.
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        let files = BTreeSet::from([file.to_owned()]);
        match read_file(file) {
            Ok(text) => Self::of_text(text, &[], file),
            Err(problem) => Self { result: Err(vec![problem]), text: String::new(), files },
        }
    }

    /// Reads a text as the content of `file`, some of its keys set to other values (as TOML).
    #[must_use]
    pub fn of_text(text: String, set: &[(String, String)], file: &Path) -> Self {
        let files = RefCell::new(BTreeSet::from([file.to_owned()]));
        let environment = |name: &str| std::env::var(name).ok();
        let result = read_text(&text, set, file, &environment, &files);
        Self { result, text, files: files.into_inner() }
    }
}

fn read_text(
    text: &str,
    set: &[(String, String)],
    file: &Path,
    environment: Environment<'_>,
    files: &RefCell<BTreeSet<PathBuf>>,
) -> Result<Config, Vec<Problem>> {
    let source = Source::new(file, text);
    let directory = file.parent().unwrap_or(Path::new(""));
    let world = World { directory, environment, files };
    let (mut scope, mut tree) = Scope::parse(&source, text, world);
    for (key, value) in set {
        overrule::set(tree.get_mut(), key, value).map_err(|problem| {
            vec![Problem { key: key.clone(), ..Problem::at((0, 0), file, problem) }]
        })?;
    }
    let config = read(tree.get_ref(), &mut scope);
    let problems = scope.into_problems();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn read(tree: &DeTable<'_>, scope: &mut Scope<'_>) -> Config {
    let fields = Fields::new(tree, &ROOT);
    fields.report_unknown(scope);
    if fields.has("peers") {
        fields.report("peers", scope, NOT_AVAILABLE, "leave it out");
    }
    let mut config = Config::default();
    fields.section("listen", &mut config.listen, scope);
    fields.section("runtime", &mut config.runtime, scope);
    fields.section("http", &mut config.http, scope);
    fields.section("auth", &mut config.auth, scope);
    fields.section("pool", &mut config.pool, scope);
    fields.section("routing", &mut config.routing, scope);
    fields.section("consistency", &mut config.consistency, scope);
    fields.section("failover", &mut config.failover, scope);
    fields.section("limits", &mut config.limits, scope);
    fields.section("log", &mut config.log, scope);
    fields.section("firewall", &mut config.firewall, scope);
    config.clusters = read_clusters(&fields, &config, scope);
    config.databases = read_databases(&fields, &config, scope);
    config.users = read_users(&config, scope);
    check(&fields, &config, scope);
    config
}

fn read_clusters(fields: &Fields<'_, '_>, config: &Config, scope: &mut Scope<'_>) -> Clusters {
    let start = |_: &Fields<'_, '_>, _: &mut Scope<'_>| Cluster {
        pool: config.pool.clone(),
        ..Cluster::default()
    };
    let clusters = fields.named("clusters", scope, start, |_, _, _, _| {});
    if clusters.is_empty() && scope.is_sure("clusters") && !scope.is_partial() {
        let suggestion = "for example [clusters.main] with nodes = [\"127.0.0.1:5432\"]";
        fields.report("clusters", scope, "there is no cluster", suggestion);
    }
    clusters
}

fn read_databases(fields: &Fields<'_, '_>, config: &Config, scope: &mut Scope<'_>) -> Databases {
    let start = |fields: &Fields<'_, '_>, scope: &mut Scope<'_>| {
        let cluster = match fields.peek("cluster", scope) {
            Some(name) => config.clusters.get(&name),
            None => config.only_cluster().map(|(_, cluster)| cluster),
        };
        let pool = cluster.map_or(&config.pool, |cluster| &cluster.pool).clone();
        Database {
            pool,
            routing: config.routing.clone(),
            consistency: config.consistency.clone(),
            ..Database::default()
        }
    };
    fields.named("databases", scope, start, |name, database, fields, scope| {
        check_database(name, database, &config.clusters, fields, scope);
    })
}

fn check_database(
    name: &str,
    database: &Database,
    clusters: &Clusters,
    fields: &Fields<'_, '_>,
    scope: &mut Scope<'_>,
) {
    match name {
        "" => scope.report("a database without a name", Some("give it one".into())),
        CONSOLE_DATABASE => {
            let suggestion = "choose another name; dbname is the one on the servers".to_owned();
            scope.report("the name of the console", Some(suggestion));
        }
        "*" => {
            let suggestion = "without any [databases] every name is served".to_owned();
            scope.report(format!("a catch-all is {NOT_AVAILABLE}"), Some(suggestion));
        }
        _ => {}
    }
    if scope.is_partial() {
        return;
    }
    let names = clusters.keys().map(String::as_str);
    match &database.cluster {
        Some(cluster) if !clusters.contains_key(cluster) => {
            let suggestion = suggest::for_name(cluster, names);
            fields.report("cluster", scope, "there is no such cluster", suggestion);
        }
        None if clusters.len() > 1 => {
            let suggestion = format!("cluster = {}", suggest::either(names));
            fields.report("cluster", scope, "there are several clusters", suggestion);
        }
        _ => {}
    }
}

fn read_users(config: &Config, scope: &mut Scope<'_>) -> Users {
    let Some(file) = &config.auth.users_file else {
        return Users::default();
    };
    scope.world().note(file);
    let text = match read_file(file) {
        Ok(text) => text,
        Err(problem) => {
            // One that cannot even be opened is known from [auth].
            if scope.enter(Step::Key("auth"), 0..0, |scope| scope.is_sure("users_file")) {
                scope.adopt(vec![problem]);
            }
            return Users::default();
        }
    };
    let directory = file.parent().unwrap_or(Path::new(""));
    let world = World { directory, ..scope.world() };
    let (users, problems) = users::read(file, &text, world, config.auth.method);
    scope.adopt(problems);
    users
}

/// Looks at values of different sections that do not go together.
fn check(fields: &Fields<'_, '_>, config: &Config, scope: &mut Scope<'_>) {
    let address = config.http.address.as_ref();
    if let Some(address) = address.filter(|address| address.port != 0)
        && config.listen.address.contains(address)
        && scope.is_sure("listen")
        && scope.is_sure("http")
    {
        let message = format!("\"{address}\" is in listen.address too");
        report_in(fields, "http", "address", scope, message, "choose another port");
    }
    check_auth(fields, config, scope);
    let is_ambiguous = config.clusters.len() > 1 && config.databases.is_empty();
    if is_ambiguous && scope.is_sure("databases") && !scope.is_partial() {
        let message = "there are several and no database names its own";
        let suggestion = "for example [databases.app] with cluster = \"main\"";
        fields.report("clusters", scope, message, suggestion);
    }
}

/// What a way of authentication needs of other sections.
fn check_auth(fields: &Fields<'_, '_>, config: &Config, scope: &mut Scope<'_>) {
    if !(scope.is_sure("auth") && scope.is_sure("listen")) || scope.is_partial() {
        return;
    }
    let tls = &config.listen.tls;
    if config.auth.method == AuthMethod::Cert && tls.client_ca_file.is_none() {
        let message = "\"cert\" needs listen.tls.client_ca_file".to_owned();
        let suggestion = "in [listen]: tls = { mode = \"require\", cert_file = …, key_file = …, \
                          client_ca_file = \"clients.crt\" }";
        report_in(fields, "auth", "method", scope, message, suggestion);
    }
    let lets_in_without =
        tls.mode == ListenTlsMode::Allow && config.auth.method != AuthMethod::Cert;
    if lets_in_without && tls.client_ca_file.is_some() {
        let message = "listen.tls.mode \"allow\" lets clients in without TLS, and so without a \
                       certificate of client_ca_file"
            .to_owned();
        report_in(fields, "listen", "tls", scope, message, "mode = \"require\"");
    }
    let query_user = config.auth.query_user.as_deref().and_then(|name| config.users.get(name));
    if config.auth.method == AuthMethod::Query
        && let Some(UserSecret::Scram(_) | UserSecret::Md5(_)) = query_user.map(|user| &user.secret)
    {
        let message = "users_file has a secret of query_user, which opens no server".to_owned();
        let suggestion = "give it its password there";
        report_in(fields, "auth", "query_user", scope, message, suggestion);
    }
}

/// Notes a problem at a key of a section, or at the section when that key is not in the file.
fn report_in(
    fields: &Fields<'_, '_>,
    section: &'static str,
    key: &str,
    scope: &mut Scope<'_>,
    message: String,
    suggestion: &str,
) {
    let Some(value) = fields.get(section) else {
        return;
    };
    let Some(table) = value.get_ref().as_table() else {
        return;
    };
    scope.enter(Step::Key(section), value.span(), |scope| {
        Fields::new(table, &ROOT).report(key, scope, message, suggestion);
    });
}
