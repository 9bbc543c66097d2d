//! The configuration: typed at load, or refused.
//!
//! A [`Config`] is one immutable snapshot. It exists only if its whole file was understood: every key
//! known, every value of its type and in its range, nothing that contradicts something else, nothing
//! that this version cannot do. Otherwise there is a list of every [`Problem`] with its place.
//!
//! Each section is declared once, in `sections`, by the macro of `spec`; from there come the
//! parser, the [`reference()`] configuration, the JSON [`schema()`] and the suggestions. `scope` and
//! `fields` walk the parsed file; `load` puts the sections together, in the order in which they depend on each
//! other: `[pool]` is the ground for each cluster's pool, and that for each database's.

mod address;
mod difference;
mod document;
mod fields;
mod files;
mod load;
mod name_map;
mod overrule;
mod problem;
mod quantity;
mod reference;
mod rewrite;
mod schema;
mod scope;
mod secret;
mod sections;
mod spec;
mod suggest;
mod users;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use spec::Section;

pub use address::Address;
pub use difference::Changed;
pub use document::document;
pub(crate) use files::read_file;
pub use load::Reading;
pub use name_map::NameMap;
pub(crate) use overrule::is_toml;
pub use overrule::problem_at;
pub use problem::Problem;
pub use quantity::Size;
pub(crate) use quantity::duration_text;
pub use reference::reference;
pub use rewrite::Rewrite;
pub use schema::schema;
pub(crate) use scope::key_text;
pub use secret::{MASK, Secret};
pub use sections::{
    Affinity, Auth, AuthMethod, Balance, BlockedStatement, Cluster, ClusterKind, Consistency,
    ConsistencyLevel, Database, Failover, Firewall, FunctionName, Http, Limits, Listen, ListenTls,
    ListenTlsMode, Log, LogLevel, Monitor, Node, NodeRole, Pool, PoolMode, Reads, Routing, Runtime,
    ServerTls, ServerTlsMode, TransactionRouting, UnknownFunctions,
};
pub use spec::Listed;
pub use users::{Admin, User, UserSecret, Users};

/// The clusters by their names in the file.
pub type Clusters = BTreeMap<String, Cluster>;

/// The databases by the names that clients ask for.
pub type Databases = BTreeMap<String, Database>;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// The process.
    pub runtime: Runtime,
    /// Health, metrics and the status page.
    pub http: Http,
    /// Who may connect.
    pub auth: Auth,
    /// The users of `auth.users_file`.
    pub users: Users,
    /// The clusters; at least one. A cluster's `pool` is `[pool]` with the cluster's own on top.
    pub clusters: Clusters,
    /// The databases; empty when every name is served by the only cluster. A database's `pool` is its
    /// cluster's with its own on top; `routing` and `consistency` likewise over the file's.
    pub databases: Databases,
    /// Server connections and how clients share them.
    pub pool: Pool,
    /// Which node serves what.
    pub routing: Routing,
    /// How old the answer to a read may be.
    pub consistency: Consistency,
    /// When the primary is gone.
    pub failover: Failover,
    /// Bounds on what a client may do.
    pub limits: Limits,
    /// What is written to stderr.
    pub log: Log,
    /// Statements that are refused.
    pub firewall: Firewall,
}

/// The name of the cluster in the reference configuration.
const REFERENCE_CLUSTER: &str = "main";

/// The virtual database that is the console.
pub const CONSOLE_DATABASE: &str = "pgweir";

/// What [`reference()`] says: one cluster, `main`, whose only node is 127.0.0.1:5432.
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            runtime: Runtime::default(),
            http: Http::default(),
            auth: Auth::default(),
            users: Users::default(),
            clusters: BTreeMap::from([(REFERENCE_CLUSTER.to_owned(), Cluster::default())]),
            databases: BTreeMap::new(),
            pool: Pool::default(),
            routing: Routing::default(),
            consistency: Consistency::default(),
            failover: Failover::default(),
            limits: Limits::default(),
            log: Log::default(),
            firewall: Firewall::default(),
        }
    }
}

/// What holds for the clients of one database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effective<'a> {
    /// The name of the cluster in the file.
    pub cluster_name: &'a str,
    /// The cluster that serves it.
    pub cluster: &'a Cluster,
    /// The database's name on the servers.
    pub dbname: &'a str,
    /// The pool of its server connections.
    pub pool: &'a Pool,
    /// Which node serves what.
    pub routing: &'a Routing,
    /// How old the answer to a read may be.
    pub consistency: &'a Consistency,
}

/// Lists a section that others override in parts: of those parts only what differs.
fn list_overriding<S: Section>(path: &str, section: &S, usual: &S, out: &mut Vec<Listed>) {
    let mut listed = Vec::new();
    section.list_keys(path, usual, &mut listed);
    let parts = S::TABLE.keys.iter().filter(|key| key.facts.overrides.is_some());
    let parts: Vec<String> = parts.map(|key| format!("{path}.{}.", key.name)).collect();
    let differs = |listed: &Listed| {
        listed.value != listed.default || !parts.iter().any(|part| listed.key.starts_with(part))
    };
    out.extend(listed.into_iter().filter(differs));
}

impl Config {
    /// What holds for clients that ask for this database; `None` when no such name is served.
    #[must_use]
    pub fn effective<'a>(&'a self, database: &'a str) -> Option<Effective<'a>> {
        let Some(entry) = self.databases.get(database) else {
            return self.effective_for_all(database).filter(|_| self.databases.is_empty());
        };
        let (cluster_name, cluster) = match &entry.cluster {
            Some(name) => self.clusters.get_key_value(name).map(|(k, v)| (k.as_str(), v))?,
            None => self.only_cluster()?,
        };
        Some(Effective {
            cluster_name,
            cluster,
            dbname: entry.dbname.as_deref().unwrap_or(database),
            pool: &entry.pool,
            routing: &entry.routing,
            consistency: &entry.consistency,
        })
    }

    /// What holds for connections to the only cluster as such, whatever databases are served:
    /// physical replication names none. `None` when there are several clusters.
    #[must_use]
    pub fn effective_for_all<'a>(&'a self, database: &'a str) -> Option<Effective<'a>> {
        let (cluster_name, cluster) = self.only_cluster()?;
        Some(Effective {
            cluster_name,
            cluster,
            dbname: database,
            pool: &cluster.pool,
            routing: &self.routing,
            consistency: &self.consistency,
        })
    }

    /// Every key with its value and its default. What a cluster or a database has not set differently
    /// is listed where it comes from alone.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let (mut out, usual) = (Vec::new(), Self::default());
        self.listen.list_keys("listen", &usual.listen, &mut out);
        self.runtime.list_keys("runtime", &usual.runtime, &mut out);
        self.http.list_keys("http", &usual.http, &mut out);
        self.auth.list_keys("auth", &usual.auth, &mut out);
        for (name, cluster) in &self.clusters {
            let path = format!("clusters.{}", scope::key_text(name));
            let usual = Cluster { pool: self.pool.clone(), ..Cluster::default() };
            list_overriding(&path, cluster, &usual, &mut out);
        }
        for (name, database) in &self.databases {
            let path = format!("databases.{}", scope::key_text(name));
            let cluster = self.effective(name).map(|effective| effective.cluster.pool.clone());
            let usual = Database {
                pool: cluster.unwrap_or_default(),
                routing: self.routing.clone(),
                consistency: self.consistency.clone(),
                ..Database::default()
            };
            list_overriding(&path, database, &usual, &mut out);
        }
        self.pool.list_keys("pool", &usual.pool, &mut out);
        self.routing.list_keys("routing", &usual.routing, &mut out);
        self.consistency.list_keys("consistency", &usual.consistency, &mut out);
        self.failover.list_keys("failover", &usual.failover, &mut out);
        self.limits.list_keys("limits", &usual.limits, &mut out);
        self.log.list_keys("log", &usual.log, &mut out);
        self.firewall.list_keys("firewall", &usual.firewall, &mut out);
        out
    }

    /// The first of the names by which clients reach what this one leads to.
    #[must_use]
    pub fn first_name(&self, database: &str) -> String {
        self.effective(database).map_or_else(
            || database.to_owned(),
            |effective| self.first_name_of(effective.cluster_name, effective.dbname),
        )
    }

    /// The first of the names by which clients reach a database of a cluster.
    #[must_use]
    pub fn first_name_of(&self, cluster: &str, dbname: &str) -> String {
        let leads_there = |name: &&String| {
            let effective = self.effective(name);
            effective.is_some_and(|found| (found.cluster_name, found.dbname) == (cluster, dbname))
        };
        self.databases.keys().find(leads_there).map_or(dbname, String::as_str).to_owned()
    }

    /// What no server is to run.
    #[must_use]
    pub(crate) fn firewall(&self) -> pgweir_classifier::Firewall {
        let blocked = self.firewall.block.iter();
        pgweir_classifier::Firewall::new(blocked.map(|one| (one.fingerprint, one.text.as_str())))
    }

    /// The cluster, if there is just one.
    fn only_cluster(&self) -> Option<(&str, &Cluster)> {
        let (name, cluster) = self.clusters.first_key_value()?;
        (self.clusters.len() == 1).then_some((name.as_str(), cluster))
    }

    /// What an operator should know of a valid configuration: clusters that no database uses.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let is_used = |name: &String| {
            self.databases.is_empty()
                || self.clusters.len() == 1
                || self.databases.values().any(|database| database.cluster.as_ref() == Some(name))
        };
        for name in self.clusters.keys().filter(|name| !is_used(name)) {
            notes.push(format!("clusters.{}: no database uses it", scope::key_text(name)));
        }
        if self.auth.method == AuthMethod::Cert && self.listen.unix_socket_dir.is_some() {
            let why =
                "there are no certificates over it, and method \"cert\" lets nobody in without";
            notes.push(format!("listen.unix_socket_dir: {why}"));
        }
        notes
    }
}
