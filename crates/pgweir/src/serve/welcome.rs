//! What a client is told at its start: the parameter values its server would report.
//!
//! A server is asked once per way of starting (database, user, startup parameters), by bringing a
//! leased connection to the client's startup settings; the answer serves the next clients that
//! start the same way. A startup parameter that the server refuses ends the login with the
//! server's own error, as it would there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_pool::{Access, Checkout, Lease, PoolSet};
use pgweir_protocol::frame::{HEADER_LENGTH, Header};
use pgweir_protocol::message;
use pgweir_protocol::parameters::Parameters;
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::settings::{Settings, SettingsMap, assignment, transition};
use pgweir_protocol::sqlstate::SqlState;
use pgweir_protocol::startup::Startup;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::gateway::{Gateway, Welcome, WelcomeKey};
use crate::route::own_setting;
use crate::snapshot::Policy;

use super::login::{Denied, refused};

/// How long an answer is good: a role's or the server's defaults may change.
const WELCOME_LIFETIME: Duration = Duration::from_secs(30);

/// The one setting that decides where statements can run and that no server reports.
const ISOLATION: &str = "default_transaction_isolation";

/// The largest reply to the settings of a startup packet, in bytes.
const MAX_REPLY: usize = 1 << 20;

/// The client's startup parameters as settings: `options` first, so that parameters win.
pub(super) fn startup_settings(startup: &Startup) -> SettingsMap {
    let given = startup.options.iter().chain(&startup.parameters);
    let settings: Settings =
        given.map(|(name, value)| (name.to_lowercase().into(), assignment(name, value))).collect();
    SettingsMap::new(settings)
}

/// The parameter values to tell a client that starts with these settings.
pub(super) async fn reported(
    gateway: &Gateway,
    policy: &Policy,
    pools: &Arc<PoolSet>,
    asked: SettingsMap,
) -> Result<Arc<Welcome>, Denied> {
    let key = WelcomeKey {
        cluster: policy.cluster.name().to_owned(),
        database: pools.database().to_owned(),
        user: pools.user().to_owned(),
        startup: asked.mark(),
    };
    let is_stale = |known: &Arc<Welcome>| known.since.elapsed() >= WELCOME_LIFETIME;
    gateway.welcomes.remove_if(&key, is_stale);
    // Clients that arrive together ask once.
    let asking = inquire(policy, pools, &asked);
    let welcome = gateway.welcomes.get_or_insert_async(&key, asking).await?;
    // The mark says almost surely that the settings are the same.
    if welcome.asked == asked { Ok(welcome) } else { inquire(policy, pools, &asked).await }
}

/// Brings a connection to these settings, and looks what the server reports then.
async fn inquire(
    policy: &Policy,
    pools: &Arc<PoolSet>,
    asked: &SettingsMap,
) -> Result<Arc<Welcome>, Denied> {
    let mut lease = lease(policy, pools).await?;
    let mut facts = lease.take_facts().ok_or(Denied::Silently)?;
    let sql = transition(&facts.in_force, asked);
    let isolation = apply(&mut lease, &sql, &mut facts.reported).await?;
    facts.in_force = asked.clone();
    let mut reported = facts.reported.clone();
    // Whichever node was asked, a client is told what the primary would tell it; or, if it is to have
    // replicas, what they would: drivers look for the one or the other (`target_session_attrs`).
    if reported.get("in_hot_standby").is_some() {
        let is_standby = own_setting(asked, "pgweir.route") == Some("replica");
        reported.note("in_hot_standby", if is_standby { "on" } else { "off" });
    }
    lease.give_back(facts);
    let settings = with_isolation(asked, &isolation);
    let since = Instant::now();
    Ok(Arc::new(Welcome { asked: asked.clone(), settings, reported, since }))
}

/// A connection to the primary; to a replica while there is no primary.
async fn lease(policy: &Policy, pools: &Arc<PoolSet>) -> Result<Lease, Denied> {
    let has_primary = policy.cluster.topology().primary.is_some();
    let access = if has_primary { Access::Primary } else { Access::Replica };
    match pools.checkout(&policy.reads, &policy.want(access), Instant::now()) {
        Checkout::Ready(lease) => Ok(lease),
        Checkout::Wait(waiting) => waiting.await.map_err(|error| refused(&error)),
        Checkout::Refused(error) => Err(refused(&error)),
    }
}

/// SERIALIZABLE by default, of a role or a database, as a setting of the client's own: the server
/// does not report it, but a standby refuses whatever runs under it.
fn with_isolation(asked: &SettingsMap, isolation: &str) -> SettingsMap {
    if isolation != "serializable" || asked.get(ISOLATION).is_some() {
        return asked.clone();
    }
    let own = (ISOLATION.into(), assignment(ISOLATION, isolation));
    let asked = asked.iter().map(|(name, statement)| (name.into(), statement.clone()));
    SettingsMap::new(asked.chain([own]).collect())
}

/// Makes the settings, noting what the server reports; returns the default isolation level.
async fn apply(lease: &mut Lease, sql: &str, reported: &mut Parameters) -> Result<String, Denied> {
    let mut out = Vec::new();
    message::query(format!("{sql};SHOW {ISOLATION}").as_bytes(), &mut out);
    lease.stream.write_all(&out).await?;
    lease.stream.flush().await?;
    let (mut error, mut isolation) = (None, String::new());
    loop {
        let mut frame = vec![0; HEADER_LENGTH];
        lease.stream.read_exact(&mut frame).await.map_err(|_| lost())?;
        let header = Header::read(&frame)?.ok_or(Denied::Silently)?;
        if header.length > MAX_REPLY {
            return Err(lost().into());
        }
        frame.resize(header.length, 0);
        let body = frame.get_mut(HEADER_LENGTH..).unwrap_or_default();
        lease.stream.read_exact(body).await.map_err(|_| lost())?;
        match header.tag {
            b'S' => note(body, reported),
            b'D' => isolation = only_cell(body),
            b'E' => error = Some(frame),
            b'Z' => break,
            _ => {}
        }
    }
    match error {
        Some(frame) => Err(Denied::Verbatim(super::refusal::as_fatal(&frame))),
        None => Ok(isolation),
    }
}

/// The value in a DataRow of one column: behind the number of columns and the value's length
/// (manual, 55.7).
fn only_cell(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned()
}

fn note(body: &[u8], reported: &mut Parameters) {
    let mut strings = body.split(|&byte| byte == 0).map(std::str::from_utf8);
    if let (Some(Ok(name)), Some(Ok(value))) = (strings.next(), strings.next()) {
        reported.note(name, value);
    }
}

fn lost() -> Report {
    Report::new(
        Severity::Fatal,
        SqlState::CONNECTION_FAILURE,
        "pgweir: the server connection was lost during the login",
    )
}
