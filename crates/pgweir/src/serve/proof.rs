//! How a client proves who it is: by the secret that its cluster or the users file has of it, or by a
//! certificate.

use std::sync::Arc;

use pgweir_pool::{Cluster, Stream};
use pgweir_protocol::auth::certificate::common_name;
use pgweir_protocol::auth::scram::ScramVerifier;
use pgweir_protocol::auth::{ClientLogin, Credentials, ScramSecret, md5};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;

use crate::config::{Config, UserSecret};
use crate::gateway::Gateway;
use crate::random;
use crate::secrets::{Source, Unread};
use crate::snapshot::Snapshot;

use super::login::{Denied, converse};

/// A user whose secret a cluster has.
#[derive(Clone, Copy)]
pub(super) struct StoredSecret<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) source: &'a Source,
    pub(super) user: &'a str,
}

impl StoredSecret<'_> {
    /// Verifies the client by it, and gives what opens servers that have the same secret.
    pub(super) async fn verify(
        self,
        stream: &mut Stream,
        gateway: &Gateway,
    ) -> Result<Credentials, Denied> {
        let Self { cluster, source, user } = self;
        let secret = gateway.secrets.read(cluster, source, user).await;
        let secret = secret.map_err(|error| self.unread(&error))?;
        let (login, hash) = match secret.as_deref() {
            Some(hash) if md5::is_md5_hash(hash) => {
                let credentials = Credentials::Md5(hash.to_owned());
                (ClientLogin::md5(hash.to_owned(), random::bytes()), credentials)
            }
            text => {
                let secret = text.and_then(|text| ScramSecret::parse(text).ok());
                if text.is_some() && secret.is_none() {
                    tracing::warn!(
                        cluster = cluster.name(),
                        user,
                        "the user's secret is neither SCRAM-SHA-256's nor an md5 hash: nobody has it"
                    );
                }
                (scram_login(secret, user, gateway), Credentials::None)
            }
        };
        let proven = converse(stream, login, user).await?;
        Ok(proven.unwrap_or(hash))
    }

    /// A stranger is not told what an operator's query has met: the log is.
    fn unread(self, error: &Unread) -> Report {
        let Self { cluster, source, user } = self;
        tracing::warn!(cluster = cluster.name(), user, %error, "a user's secret could not be read");
        let report = Report::new(
            Severity::Fatal,
            SqlState::CANNOT_CONNECT_NOW,
            "pgweir: the role's secret could not be read",
        );
        match source {
            Source::Catalog => report.with_detail(error.to_string()).with_hint(
                "The monitor role must be able to read pg_authid; or list users in \
                 auth.users_file with auth.method = \"scram-sha-256\".",
            ),
            Source::Query(_) => report.with_hint("pgweir's log says what auth.query has met."),
        }
    }
}

/// What the users file has that opens server connections.
pub(super) fn configured_credentials(config: &Config, user: &str) -> Option<Credentials> {
    match &config.users.get(user)?.secret {
        UserSecret::Password(password) => Some(Credentials::Password(password.expose().to_owned())),
        UserSecret::Md5(hash) => Some(Credentials::Md5(hash.expose().to_owned())),
        UserSecret::Scram(_) | UserSecret::None => None,
    }
}

/// Verifies the client by what the users file has of it.
pub(super) async fn by_users_file(
    stream: &mut Stream,
    user: &str,
    now: &Snapshot,
    gateway: &Gateway,
) -> Result<Credentials, Denied> {
    let login = match now.config().users.get(user).map(|user| &user.secret) {
        Some(UserSecret::Md5(hash)) => ClientLogin::md5(hash.expose().to_owned(), random::bytes()),
        _ => scram_login(now.scram_secret(user), user, gateway),
    };
    let proven = converse(stream, login, user).await?;
    Ok(configured_credentials(now.config(), user).or(proven).unwrap_or(Credentials::None))
}

/// A SCRAM exchange; for a user without a secret, one that nobody can pass.
fn scram_login(secret: Option<ScramSecret>, user: &str, gateway: &Gateway) -> ClientLogin {
    let secret = secret.unwrap_or_else(|| ScramSecret::mock(&gateway.process_secret, user));
    ClientLogin::scram(ScramVerifier::new(secret, random::bytes(), None))
}

// ---- certificates ----

/// Whether the client has shown the certificate that whoever uses TLS must show. That it is good the
/// handshake has found out.
pub(super) fn check_certificate(stream: &Stream, config: &Config) -> Result<(), Denied> {
    let is_asked = config.listen.tls.client_ca_file.is_some() && stream.is_encrypted();
    if is_asked && stream.peer_certificate().is_none() {
        return Err(no_certificate());
    }
    Ok(())
}

/// Lets the client in as the user that its certificate stands for.
pub(super) fn by_certificate(stream: &Stream, user: &str, config: &Config) -> Result<(), Denied> {
    let certificate = stream.peer_certificate().ok_or_else(no_certificate)?;
    let why = match common_name(certificate) {
        Ok(name) if config.auth.name_map.allows(&name, user) => return Ok(()),
        Ok(name) => format!("{name:?} does not stand for this user"),
        Err(error) => error.to_string(),
    };
    tracing::info!(user, why, "certificate refused");
    let message = format!("certificate authentication failed for user \"{user}\"");
    let code = SqlState::INVALID_AUTHORIZATION_SPECIFICATION;
    Err(Report::new(Severity::Fatal, code, message).into())
}

fn no_certificate() -> Denied {
    let message = "connection requires a valid client certificate";
    let code = SqlState::INVALID_AUTHORIZATION_SPECIFICATION;
    Report::new(Severity::Fatal, code, message).into()
}
