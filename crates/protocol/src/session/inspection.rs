//! Asking a server what state the session on it is in.
//!
//! What a statement does to its session can nearly always be read off its text. Where it cannot
//! (a function that SETs, a lock given back that may have been taken twice, the last of several
//! temporary tables), PostgreSQL knows: once the transaction has ended, and before anybody else
//! may have the connection, a query of pgweir's own asks for exactly what is in doubt. So nothing
//! leaks, nothing is lost, and what binds the client to its server is let go as soon as it is gone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::cursor::Cursor;
use crate::outgoing::Outgoing;
use crate::pipeline::Errand;
use crate::settings::{Observed, SettingsMap, quote_literal};
use crate::verdict::{Inspection, Pins, Router};

use super::link::{Link, Stage};
use super::{PoolMode, Session, TransactionStatus};

/// The most custom settings that are asked for at a time.
const MAX_ASKED: usize = 1024;

/// The parameter that reports the session's user, and the setting that makes it.
/// The setting that decides how the question's own transaction begins.
const ISOLATION: &str = "default_transaction_isolation";

const SESSION_USER: &str = "session_authorization";

/// What is in doubt, and what the server has said of it so far.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    of: Pins,
    released: Pins,
    settings: BTreeSet<Box<str>>,
    found: Found,
}

/// The rows of an inspection.
#[derive(Debug, Default)]
struct Found {
    pins: Pins,
    settings: Vec<(Box<str>, Option<Box<str>>)>,
    statements: BTreeSet<Box<str>>,
    /// A row could not be read.
    is_torn: bool,
}

impl Doubt {
    pub(super) fn is_none(&self) -> bool {
        self.of.is_empty() && self.settings.is_empty()
    }

    /// A statement is on its way whose effects its text does not tell.
    pub(super) fn add(&mut self, inspection: &Inspection) {
        self.of = self.of.with(inspection.of);
        self.released = self.released.with(inspection.released);
        for name in inspection.settings.iter().filter(|name| outlives_transactions(name)) {
            if self.settings.len() < MAX_ASKED {
                self.settings.insert(name.clone());
            } else {
                self.found.is_torn = true;
            }
        }
    }

    /// What has bound the client so far may do so no more.
    pub(super) fn release(&mut self, pins: Pins) {
        self.released = self.released.with(pins);
    }

    /// A row of the answer: what kind of thing, its name, its value.
    pub(super) fn note_row(&mut self, body: &[u8]) {
        if self.found.take(body).is_none() {
            self.found.is_torn = true;
        }
    }

    /// A row too large to be read.
    pub(super) fn note_torn(&mut self) {
        self.found.is_torn = true;
    }

    /// The question, as one SELECT that no search path can mislead.
    fn question(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (pin, part) in QUESTIONS {
            if self.of.has(pin) {
                parts.push(part.to_owned());
            }
        }
        let (plain, special): (Vec<&str>, Vec<&str>) =
            self.settings.iter().map(|name| &**name).partition(|name| is_listed(name));
        for name in special.into_iter().map(quote_literal) {
            parts.push(format!("SELECT 's',{name},pg_catalog.current_setting({name},true)"));
        }
        if !plain.is_empty() || self.of.has(Pins::SETTINGS) {
            parts.push(NOT_ITS_OWN.to_owned());
        }
        if !plain.is_empty() {
            let names: Vec<String> = plain.into_iter().map(quote_literal).collect();
            parts.push(format!(
                "SELECT 's',asked,setting FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) AS asked \
                 LEFT JOIN pg_catalog.pg_settings ON pg_catalog.lower(name) OPERATOR(pg_catalog.=) asked \
                 AND source OPERATOR(pg_catalog.=) 'session'",
                names.join(",")
            ));
        }
        // A standby refuses SERIALIZABLE, which may have been set as the default.
        let may_be_refused = self.of.has(Pins::SETTINGS) || self.settings.contains(ISOLATION);
        let mut sql = String::new();
        if may_be_refused {
            sql.push_str("SET TRANSACTION ISOLATION LEVEL READ COMMITTED;");
        }
        for (index, part) in parts.iter().enumerate() {
            let separator = if index == 0 { "" } else { " UNION ALL " };
            let _ = write!(sql, "{separator}{part}");
        }
        sql
    }
}

impl Found {
    fn take(&mut self, body: &[u8]) -> Option<()> {
        let mut row = Cursor::new("DataRow", body);
        if row.i16().ok()? != 3 {
            return None;
        }
        let kind = column(&mut row)??;
        let name = column(&mut row)?;
        let value = column(&mut row)?;
        match &*kind {
            "s" => self.settings.push((name?, value)),
            "p" => {
                self.statements.insert(name?);
            }
            pin => self.pins = self.pins.with(Pins::named(pin)?),
        }
        Some(())
    }
}

/// One column in text format; `None` inside is NULL.
#[expect(clippy::option_option, reason = "unreadable, NULL, or a value")]
pub(super) fn column(row: &mut Cursor<'_>) -> Option<Option<Box<str>>> {
    let length = row.i32().ok()?;
    if length < 0 {
        return Some(None);
    }
    let bytes = row.bytes(usize::try_from(length).ok()?).ok()?;
    Some(Some(std::str::from_utf8(bytes).ok()?.into()))
}

/// Not what PostgreSQL makes anew for each transaction, nor what cannot be read.
fn outlives_transactions(name: &str) -> bool {
    !name.starts_with("transaction_") && name != "seed"
}

/// Whether `pg_settings` tells if a session has SET it. What nobody has SET must not be taken for a
/// setting of the session's: the next client of the server would have to RESET it, and might not be
/// allowed to.
fn is_listed(name: &str) -> bool {
    !name.contains('.') && name != "role"
}

/// Whether the session has something SET that its role could not set on another server, and the next
/// client's could not reset here: a function with more rights has done it.
const NOT_ITS_OWN: &str = "SELECT 'untrackable_setting',NULL,NULL \
     WHERE pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'off' \
     AND EXISTS(SELECT FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session' \
     AND context OPERATOR(pg_catalog.=) 'superuser')";

/// What can be asked for, each with the SELECT that answers: one row where there is such a thing.
///
/// What a session has SET has the source `session` in `pg_settings`; the role is not shown there.
/// Everything in the temporary schema depends on it (manual, 53.18 `pg_depend`).
const QUESTIONS: [(Pins, &str); 6] = [
    (
        Pins::SETTINGS,
        "SELECT 's',pg_catalog.lower(name),setting FROM pg_catalog.pg_settings \
         WHERE source OPERATOR(pg_catalog.=) 'session' \
         AND NOT pg_catalog.starts_with(name,'transaction_') \
         AND name OPERATOR(pg_catalog.<>) 'seed' \
         UNION ALL SELECT 's','role',pg_catalog.current_setting('role')",
    ),
    (
        Pins::SQL_PREPARE,
        "SELECT 'p',name,NULL FROM pg_catalog.pg_prepared_statements WHERE from_sql",
    ),
    (
        Pins::TEMPORARY,
        "SELECT 'temporary_table',NULL,NULL WHERE EXISTS(SELECT FROM pg_catalog.pg_depend \
         WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
         AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())",
    ),
    (
        Pins::LISTEN,
        "SELECT 'listen',NULL,NULL WHERE EXISTS(SELECT FROM pg_catalog.pg_listening_channels())",
    ),
    (
        Pins::HOLD_CURSOR,
        "SELECT 'hold_cursor',NULL,NULL WHERE EXISTS(SELECT FROM pg_catalog.pg_cursors \
         WHERE is_holdable)",
    ),
    (
        Pins::ADVISORY_LOCK,
        "SELECT 'advisory_lock',NULL,NULL WHERE EXISTS(SELECT FROM pg_catalog.pg_locks \
         WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
    ),
];

impl<R: Router> Session<R> {
    /// Starts what has to be done on the server once the client's work on it is over, and before
    /// the server can be anybody else's.
    pub fn follow_up(&mut self, to_server: &mut Outgoing) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        if self.replay.is_again() && attached.leaves_transaction() {
            attached.run(Errand::Leave, b"ROLLBACK", to_server);
            return;
        }
        let is_over = attached.pipeline.is_empty()
            && !attached.pipeline.is_skipping()
            && attached.status == TransactionStatus::Idle
            && attached.stage == Stage::Serving
            && attached.errand.is_none()
            && !self.in_pipeline;
        if !is_over || self.mode == PoolMode::Session {
            return;
        }
        let released = std::mem::take(&mut self.doubt.released);
        self.doubt.of = self.doubt.of.with(released.common(self.track.now().pins));
        if attached.has_lent_names() {
            attached.take_names_back(to_server);
        } else if !self.doubt.is_none() {
            if self.doubt.of.has(Pins::SETTINGS) {
                self.ask_for_custom_settings();
            }
            self.ask(to_server);
        } else if self.whereabouts.is_wanted() {
            self.whereabouts.ask(attached, to_server);
        }
    }

    /// Custom settings are asked for by their names: those that the client has made, and those that
    /// the database's functions are known to make.
    fn ask_for_custom_settings(&mut self) {
        let made = self.track.now().client.iter();
        let made = made.map(|(name, _)| name).filter(|name| name.contains('.')).map(Into::into);
        let settings = made.chain(self.router.custom_settings().iter().cloned()).collect();
        self.doubt.add(&Inspection { settings, ..Inspection::default() });
    }

    fn ask(&mut self, to_server: &mut Outgoing) {
        let question = self.doubt.question();
        if let Link::Attached(attached) = &mut self.link {
            attached.run(Errand::Inspect, question.as_bytes(), to_server);
        }
    }

    /// The server has answered, or could not: then nobody but the client may have it any more.
    pub(super) fn inspected(&mut self, failed: bool) {
        let mut doubt = std::mem::take(&mut self.doubt);
        if failed || doubt.found.is_torn {
            self.track.pin(Pins::SETTINGS);
            self.track.settle();
            return;
        }
        let is_whole = doubt.of.has(Pins::SETTINGS);
        if is_whole {
            doubt.found.settings.extend(self.session_user());
        }
        if is_whole
            && self.router.has_unlisted_settings()
            && let Link::Attached(attached) = &mut self.link
        {
            attached.facts.unlisted = Some(self.id);
        }
        self.track.observe(&Observed { is_whole, settings: &doubt.found.settings });
        let asked = doubt.of.without(Pins::SETTINGS.with(Pins::SQL_PREPARE));
        self.track.unpin(asked.without(doubt.found.pins));
        self.track.pin(doubt.found.pins);
        if doubt.of.has(Pins::SQL_PREPARE) {
            self.found_statements(&doubt.found.statements);
        }
        self.track.settle();
    }

    /// The session's user, none where that is who has logged in. It is no setting that a server lists;
    /// instead it reports each change of it.
    fn session_user(&self) -> Option<(Box<str>, Option<Box<str>>)> {
        let Link::Attached(attached) = &self.link else {
            return None;
        };
        let user = attached.facts.reported.get(SESSION_USER)?;
        let set = (*user != *attached.facts.user).then(|| user.into());
        Some((SESSION_USER.into(), set))
    }

    /// The statements that SQL has prepared on this server, by their names. What one unknown so far
    /// says is nothing that could be said again elsewhere.
    fn found_statements(&mut self, names: &BTreeSet<Box<str>>) {
        let Link::Attached(attached) = &mut self.link else {
            return;
        };
        // One that the server has refused stays the client's, here as elsewhere.
        let unmade = &attached.unmade;
        let is_unmade = |name: &str| unmade.iter().any(|unmade| **unmade == *name);
        self.statements.sql.retain(|name| names.contains(name) || is_unmade(name));
        let texts = self.statements.sql.texts().iter();
        let held = texts.filter(|(name, _)| names.contains(*name));
        let held = held.map(|(name, text)| (name.into(), text.clone())).collect();
        attached.facts.sql = SettingsMap::new(held);
        if attached.facts.sql.len() == names.len() {
            self.track.unpin(Pins::SQL_PREPARE);
        } else {
            self.track.pin(Pins::SQL_PREPARE);
        }
    }
}
