//! Who may use the console, and how administrators are let in.
//!
//! Only the users file makes an administrator. A secret there is asked for whatever `auth.method`
//! says, so that neither a server's pg_hba.conf nor `trust` opens the console to whoever knows a
//! name. A user without one proves itself as `auth.method` has it: `trust` lets it in, `passthrough`
//! asks the cluster as for a connection to the monitor's database, `query` asks the only cluster, `cert`
//! looks at the certificate.

use std::sync::Arc;

use pgweir_pool::Stream;
use pgweir_protocol::message::{self, TransactionStatus};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::startup::Startup;
use tokio::io::AsyncWriteExt as _;

use crate::account::{Identity, Kind};
use crate::config::{Admin, AuthMethod, CONSOLE_DATABASE, Config, UserSecret};
use crate::gateway::{Clients, Gateway, Place};
use crate::snapshot::Snapshot;

use super::login::{Denied, cancel_key, own_method, too_many_clients};
use super::passthrough;
use super::proof::{by_certificate, by_users_file};

/// PgBouncer's name for it, which its tools have built in.
const PGBOUNCER: &str = "pgbouncer";

/// Places for administrators beyond `listen.max_clients`: when it is full is when they are needed.
const RESERVED_PLACES: u32 = 3;

/// What the server is called towards drivers that ask for its version. Drivers and psql take it for
/// one that is older than anything they know, and use none of what PostgreSQL would offer.
const SERVER_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/pgweir");

/// What a console client is told at its start.
const PARAMETERS: [(&str, &str); 8] = [
    ("server_version", SERVER_VERSION),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// Whether a client asks for the console. By PgBouncer's name an administrator does, unless the
/// configuration has a database of that name.
pub(super) fn is_meant(startup: &Startup, config: &Config) -> bool {
    match startup.database.as_str() {
        _ if startup.replication.is_some() => false,
        CONSOLE_DATABASE => true,
        PGBOUNCER => {
            !config.databases.contains_key(PGBOUNCER) && rights(startup, config) != Admin::No
        }
        _ => false,
    }
}

fn rights(startup: &Startup, config: &Config) -> Admin {
    config.users.get(&startup.user).map_or(Admin::No, |user| user.admin)
}

/// Lets an administrator in.
pub(super) async fn let_in(
    stream: &mut Stream,
    startup: &Startup,
    now: &Snapshot,
    gateway: &Arc<Gateway>,
) -> Result<Place, Denied> {
    let config = now.config();
    if rights(startup, config) == Admin::No {
        return Err(not_for(&startup.user).into());
    }
    let most = config.listen.max_clients;
    let key = cancel_key(startup);
    let mut identity = Identity::new(stream, startup, Kind::Console);
    identity.database = CONSOLE_DATABASE.to_owned();
    let places = most.saturating_add(RESERVED_PLACES);
    let Some(place) = Clients::enter(gateway, places, key.clone(), identity) else {
        return Err(too_many_clients(most).into());
    };
    authenticate(stream, &startup.user, now, gateway).await?;
    let mut out = Vec::new();
    message::authentication_ok(&mut out);
    for (name, value) in PARAMETERS {
        message::parameter_status(name, value, &mut out);
    }
    let application_name = &place.handle.account.identity.application_name;
    message::parameter_status("application_name", application_name, &mut out);
    message::backend_key_data(place.handle.pid, &key, &mut out);
    message::ready_for_query(TransactionStatus::Idle, &mut out);
    stream.write_all(&out).await?;
    stream.flush().await?;
    place.handle.account.admit();
    place.handle.span().in_scope(|| tracing::info!("console client connected"));
    Ok(place)
}

async fn authenticate(
    stream: &mut Stream,
    user: &str,
    now: &Snapshot,
    gateway: &Arc<Gateway>,
) -> Result<(), Denied> {
    let config = now.config();
    let secret = config.users.get(user).map(|entry| &entry.secret);
    let has_secret = secret.is_some_and(|secret| *secret != UserSecret::None);
    let only_policy = || {
        let mut policies = now.policies();
        let (policy, others) = (policies.next(), policies.next());
        policy.filter(|_| others.is_none()).ok_or_else(|| needs_secret(user))
    };
    match config.auth.method {
        _ if has_secret => by_users_file(stream, user, now, gateway).await.map(drop),
        AuthMethod::Trust => Ok(()),
        AuthMethod::Passthrough => {
            let policy = only_policy()?;
            let cluster = config.clusters.get(policy.cluster.name()).ok_or(Denied::Silently)?;
            let dbname = &cluster.monitor.database;
            passthrough::authenticate(stream, user, dbname, &policy, gateway).await.map(drop)
        }
        AuthMethod::Query => {
            let policy = only_policy()?;
            own_method(stream, user, now, &policy.cluster, gateway).await.map(drop)
        }
        AuthMethod::Cert => by_certificate(stream, user, config),
        AuthMethod::ScramSha256 => Err(needs_secret(user).into()),
    }
}

fn not_for(user: &str) -> Report {
    let message = format!("pgweir: user \"{user}\" may not use the console");
    Report::new(Severity::Fatal, SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
        .with_hint("In auth.users_file, admin = true or \"read-only\" lets a user in.")
}

fn needs_secret(user: &str) -> Report {
    let message = format!("pgweir: user \"{user}\" has nothing to prove itself with");
    Report::new(Severity::Fatal, SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
        .with_hint("Give the user a password, scram or md5 in auth.users_file.")
}
