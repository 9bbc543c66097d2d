//! `[auth]`

use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::fields::Fields;
use crate::config::scope::Scope;
use crate::config::spec::{available, planned, section, words};

section! {
    /// Who may connect.
    pub struct Auth checked by check {
        /// How a client proves who it is.
        method: AuthMethod = AuthMethod::Passthrough => available();
        /// pgweir's own users: `[[user]]` with name, password | scram | md5, admin = true | "read-only".
        users_file: Option<PathBuf> = None => available().example("\"users.toml\"");
        /// The query that reads a user's secret; $1 is the user's name.
        query: Option<String> = None
            => planned().example("\"SELECT usename, passwd FROM pg_shadow WHERE usename = $1\"");
        /// The role that runs the query.
        query_user: Option<String> = None => planned().example("\"pgweir_auth\"");
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
        Query = "query" => planned();
        /// By a client certificate.
        Cert = "cert" => planned();
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
}
