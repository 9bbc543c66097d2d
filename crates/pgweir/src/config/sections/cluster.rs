//! `[clusters.NAME]`

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::Pool;
use crate::config::address::{Address, AddressError};
use crate::config::fields::Fields;
use crate::config::rewrite::Rewrite;
use crate::config::schema;
use crate::config::scope::{Scope, kind};
use crate::config::secret::Secret;
use crate::config::spec::{Section, available, nested, section, words};
use crate::config::value::{Complaint, Element, read_string};

/// PostgreSQL's own port: that of a node that names none.
const POSTGRESQL_PORT: u16 = 5432;

section! {
    /// A PostgreSQL cluster: one primary and its replicas, or a Citus coordinator and its workers.
    pub struct Cluster checked by check {
        /// How the nodes belong together.
        kind: ClusterKind = ClusterKind::Streaming => available();
        /// "host:port", or { host = "b", port = 5432, weight = 2, role = "auto" }; role: auto | primary | replica.
        nodes: Vec<Node> = vec![Node::default()] => available().required();
        /// Where Citus gives nodes by names of its own: { "name:port" = "the address to use instead" }.
        rewrite: Rewrite = Rewrite::default() => available();
        /// Server connections per node over all pools; 0 = what the node allows, less its reserve.
        max_connections: Option<u32> = None => available().within(1, 262_143);
        /// Encryption towards the nodes.
        tls: ServerTls = ServerTls::default() => available();
        /// The connection that asks each node for its role and how far it has replayed.
        monitor: Monitor = Monitor::default() => available();
        /// What differs from `[pool]` for this cluster.
        pool: Pool = Pool::default() => available().overriding("pool");
    }
}

words! {
    /// How the nodes belong together.
    pub enum ClusterKind {
        /// Streaming replication.
        Streaming = "streaming" => available();
        /// A Citus coordinator and its workers, which are found by asking it: nodes names the coordinator.
        Citus = "citus" => available();
    }
}

section! {
    /// One PostgreSQL server.
    pub struct Node checked by check_node {
        /// Name or address.
        host: String = "127.0.0.1".into() => available().required().example("\"127.0.0.1\"");
        /// TCP port.
        port: u16 = POSTGRESQL_PORT => available().within(1, 65_535);
        /// Its share of the reads beside the other nodes.
        weight: u32 = 1 => available().within(1, 1000);
        /// What it may be taken for; auto asks the node.
        role: NodeRole = NodeRole::Auto => available();
    }
}

words! {
    /// What a node may be taken for.
    pub enum NodeRole {
        /// Whatever it says it is.
        Auto = "auto" => available();
        /// The primary only.
        Primary = "primary" => available();
        /// A replica only: it is never written to.
        Replica = "replica" => available();
    }
}

section! {
    /// Encryption towards the nodes, in the words of libpq's sslmode.
    pub struct ServerTls checked by check_tls {
        /// Whether TLS is used, and what of the server's certificate is verified.
        mode: ServerTlsMode = ServerTlsMode::Prefer => available();
        /// Authorities that the server's certificate must come from, PEM.
        ca_file: Option<PathBuf> = None => available().example("\"ca.crt\"");
    }
}

words! {
    /// libpq's sslmode (PostgreSQL manual, "SSL Support").
    pub enum ServerTlsMode {
        /// Never.
        Disable = "disable" => available();
        /// Only when the server refuses a connection without.
        Allow = "allow" => available();
        /// When the server offers it.
        Prefer = "prefer" => available();
        /// Always; the certificate is not verified.
        Require = "require" => available();
        /// Always; the certificate comes from ca_file.
        VerifyCa = "verify-ca" => available();
        /// Always; the certificate comes from ca_file and names the host.
        VerifyFull = "verify-full" => available();
    }
}

section! {
    /// The connection that asks each node for its role and how far it has replayed.
    pub struct Monitor checked by check_monitor {
        /// The role it logs in as.
        user: String = "postgres".into() => available();
        /// The role's password.
        password: Option<Secret> = None => available().example("\"${PGWEIR_MONITOR_PASSWORD}\"");
        /// A file that holds the password.
        password_file: Option<PathBuf> = None => available().example("\"/run/secrets/monitor\"");
        /// The database it connects to.
        database: String = "postgres".into() => available();
        /// How often each node is asked.
        interval: Duration = Duration::from_millis(100) => available().within(1, 3_600_000);
        /// A node that has not answered for so long is down.
        timeout: Duration = Duration::from_secs(1) => available().within(1, 3_600_000);
    }
}

nested!(ServerTls, Monitor);

/// A node is a string or a table.
impl Element for Node {
    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        match value {
            DeValue::String(_) => {
                let text = read_string("a node", value, scope)?;
                let read = Self::from_text(&text);
                read.map_err(|complaint| complaint.report(value, false, scope)).ok()
            }
            DeValue::Table(_) => {
                let mut node = Self::default();
                let is_read = scope
                    .table(value, Self::TABLE, |fields, scope| node.overlay_table(fields, scope));
                is_read.then_some(node)
            }
            other => {
                let message = format!("expected a node, got {}", kind(other));
                let suggestion = "write \"host:port\" or { host = \"a\", port = 5432 }";
                scope.report(message, Some(suggestion.into()));
                None
            }
        }
    }

    fn toml(&self) -> String {
        format!("\"{}\"", self.address())
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": "string" }, schema::of_table(Self::TABLE)] })
    }
}

impl Node {
    /// Where the node listens.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { host: self.host.clone(), port: self.port }
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        if text.starts_with('/') {
            let suggestion = "nodes are reached over TCP: write \"host:port\"";
            return Err(Complaint::new("is a Unix socket", suggestion));
        }
        let usual = Some(POSTGRESQL_PORT);
        match Address::parse(text, usual).map_err(AddressError::into_complaint)? {
            Address { port: 0, .. } => Err(AddressError::Port.into_complaint()),
            Address { host, port } => Ok(Self { host, port, ..Self::default() }),
        }
    }
}

fn check_node(node: &mut Node, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if !scope.is_sure("host") {
        return;
    }
    match Address::parse_host(&node.host) {
        Ok(host) => node.host = host,
        Err(AddressError::Port) => {
            let suggestion = "the port is a key of its own: port = 5432";
            fields.report("host", scope, "the host holds a port", suggestion);
        }
        Err(_) => fields.report("host", scope, "not a host", "write a name or an address"),
    }
}

fn check(cluster: &mut Cluster, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if !scope.is_sure("nodes") {
        return;
    }
    if cluster.nodes.is_empty() {
        let suggestion = "for example nodes = [\"127.0.0.1:5432\"]";
        fields.report("nodes", scope, "a cluster has at least one node", suggestion);
    }
    if cluster.kind == ClusterKind::Streaming && cluster.rewrite != Rewrite::default() {
        let message = "only nodes that a cluster of kind \"citus\" gives are found by name";
        fields.report("rewrite", scope, message, "leave it out, or set kind = \"citus\"");
    }
    for (at, node) in cluster.nodes.iter().enumerate() {
        let mut earlier = cluster.nodes.iter().take(at);
        let is_twin =
            |other: &Node| other.host.eq_ignore_ascii_case(&node.host) && other.port == node.port;
        if earlier.clone().any(is_twin) {
            let message = format!("\"{}\" is there twice", node.address());
            fields.report_element("nodes", at, scope, message, "leave one out");
        }
        let is_primary = |node: &Node| node.role == NodeRole::Primary;
        if is_primary(node) && earlier.any(is_primary) {
            let suggestion = "role = \"auto\" asks the node";
            fields.report_element("nodes", at, scope, "a second primary", suggestion);
        }
    }
}

fn check_tls(tls: &mut ServerTls, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if !(scope.is_sure("mode") && scope.is_sure("ca_file")) {
        return;
    }
    let is_verifying = matches!(tls.mode, ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull);
    match &tls.ca_file {
        Some(file) if is_verifying => {
            fields.require_readable("ca_file", file, scope);
            if scope.is_sure("ca_file")
                && let Err(error) = pgweir_pool::read_ca_file(file)
            {
                let suggestion = "certificates of authorities, PEM";
                fields.report("ca_file", scope, error.to_string(), suggestion);
            }
        }
        Some(_) => {
            let message = format!("mode \"{}\" verifies no certificate", tls.mode);
            let suggestion = "use mode = \"verify-full\" or \"verify-ca\", or leave ca_file out";
            fields.report("ca_file", scope, message, suggestion);
        }
        None if is_verifying => {
            let message = format!("mode \"{}\" needs ca_file", tls.mode);
            fields.report("mode", scope, message, "for example ca_file = \"ca.crt\"");
        }
        None => {}
    }
}

fn check_monitor(monitor: &mut Monitor, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    for (name, value) in [("user", &monitor.user), ("database", &monitor.database)] {
        if value.is_empty() {
            fields.report(name, scope, "it is empty", "leave it out for \"postgres\"");
        }
    }
    monitor.password =
        fields.password(monitor.password.take(), monitor.password_file.as_deref(), scope);
}
