//! `[auth]`

use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::fields::Fields;
use crate::config::name_map::NameMap;
use crate::config::scope::Scope;
use crate::config::spec::{available, section, words};

section! {
    /// Who may connect.
    pub struct Auth checked by check {
        /// How a client proves who it is.
        method: AuthMethod = AuthMethod::Passthrough => available();
        /// pgweir's own users: `[[user]]` with name, password | scram | md5, admin = true | "read-only".
        users_file: Option<PathBuf> = None => available().example("\"users.toml\"");
        /// The query that reads a user's secret; $1 is the user's name. One row of the name and the secret, as
        /// pg_authid.rolpassword has it, or of the secret alone; no row, or NULL, for nobody.
        query: Option<String> = None
            => available().example("\"SELECT usename, passwd FROM pg_shadow WHERE usename = $1\"");
        /// The role that runs the query; its password is what users_file has for it.
        query_user: Option<String> = None => available().example("\"pgweir_auth\"");
        /// The database that the query runs in; without it that of the cluster's monitor.
        query_database: Option<String> = None => available().example("\"postgres\"");
        /// Whom a certificate's common name stands for, where that is not the user's name itself: a user, or a
        /// list of them; * stands for the same on both sides. With any, only these count.
        name_map: NameMap = NameMap::default()
            => available().example("{ \"Alice Smith\" = \"alice\", \"*.example.com\" = \"*\" }");
        /// Addresses that may connect, as CIDR ranges; empty = any.
        allow: Vec<IpNet> = Vec::new() => available();
    }
}

words! {
    /// How a client proves who it is.
    pub enum AuthMethod {
        /// By the server's own roles and passwords.
        Passthrough = "passthrough" => available();
        /// Not at all.
        Trust = "trust" => available();
        /// By SCRAM-SHA-256 against users_file.
        ScramSha256 = "scram-sha-256" => available();
        /// By a secret that a query of yours reads from the cluster.
        Query = "query" => available();
        /// By a client certificate, whose common name is the user's; see name_map, listen.tls.client_ca_file.
        Cert = "cert" => available();
    }
}

fn check(auth: &mut Auth, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if let Some(file) = &auth.users_file {
        fields.require_readable("users_file", file, scope);
    }
    let needs_users = auth.method == AuthMethod::ScramSha256;
    if needs_users && auth.users_file.is_none() && scope.is_sure("users_file") {
        let message = "\"scram-sha-256\" needs users_file";
        fields.report("method", scope, message, "for example users_file = \"users.toml\"");
    }
    check_query(auth, fields, scope);
}

/// Where the user's name goes in a query.
const PARAMETER: &str = "$1";

fn check_query(auth: &Auth, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    let is_used = auth.method == AuthMethod::Query;
    let needed = [
        ("query", &auth.query, "SELECT usename, passwd FROM pg_shadow WHERE usename = $1"),
        ("query_user", &auth.query_user, "pgweir_auth"),
    ];
    for (name, value, example) in needed {
        if is_used && value.is_none() && scope.is_sure(name) {
            let message = format!("method \"query\" needs {name}");
            let suggestion = format!("for example {name} = \"{example}\"");
            fields.report("method", scope, message, suggestion);
        }
    }
    let is_about_nobody = |query: &String| !query.contains(PARAMETER);
    if auth.query.as_ref().is_some_and(is_about_nobody) && scope.is_sure("query") {
        let suggestion = "for example … WHERE usename = $1";
        fields.report("query", scope, "it does not ask about $1, the user's name", suggestion);
    }
}
