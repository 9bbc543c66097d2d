//! What a client has SET, and what a server connection has in force.
//!
//! A shared server connection serves many clients, so every setting a client makes has to follow
//! it from server to server. A setting is kept as the statement that makes it, to be replayed
//! verbatim: PostgreSQL, not pgweir, knows what its text means. [`SettingsMap`] is an immutable
//! snapshot, shared by reference between a client and the servers that already have it in force,
//! so that "nothing to do" is one pointer comparison. [`SettingsTrack`] follows the client through
//! COMMIT, ROLLBACK and savepoints, as the manual's page on SET describes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::verdict::{Pins, SettingChange};

/// The most settings a client carries with it; PostgreSQL itself has some 350.
pub const MAX_SETTINGS: usize = 512;

/// The longest statement, in bytes, that is replayed to make a setting.
pub const MAX_SETTING_LENGTH: usize = 64 << 10;

/// The most savepoints of one transaction that settings are followed through.
pub const MAX_SAVEPOINTS: usize = 4096;

/// Settings by name (lower case), each with the statement that makes it.
pub type Settings = BTreeMap<Box<str>, Arc<str>>;

/// An immutable snapshot of settings and a mark to recognise it by.
#[derive(Debug, Clone, Default)]
pub struct SettingsMap {
    entries: Option<Arc<Settings>>,
    mark: u64,
}

impl SettingsMap {
    /// A snapshot of these settings; the empty map needs no allocation.
    #[must_use]
    pub fn new(entries: Settings) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        let mut hasher = DefaultHasher::new();
        entries.hash(&mut hasher);
        Self { mark: hasher.finish() | 1, entries: Some(Arc::new(entries)) }
    }

    /// Zero for no settings; equal for equal settings; otherwise almost surely different.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// The statement that makes a setting, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.entries.as_ref()?.get(name)
    }

    /// How many settings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |map| map.len())
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_none()
    }

    /// All settings in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<str>)> {
        self.entries.iter().flat_map(|map| map.iter()).map(|(name, sql)| (&**name, sql))
    }

    /// These, and one more or in another's place.
    #[must_use]
    pub(crate) fn with(&self, name: &str, sql: Arc<str>) -> Self {
        let mut entries = self.entries.as_deref().cloned().unwrap_or_default();
        entries.insert(name.into(), sql);
        Self::new(entries)
    }

    /// The names of the custom settings, each reset.
    fn customs_reset(&self) -> Self {
        let customs = self.iter().filter(|(name, _)| is_custom(name));
        Self::new(customs.map(|(name, _)| (name.into(), reset_statement(name))).collect())
    }

    /// These settings and those; where both have one, those win.
    pub(crate) fn joined(&self, others: &Self) -> Self {
        let all = self.iter().chain(others.iter());
        Self::new(all.map(|(name, statement)| (name.into(), statement.clone())).collect())
    }

    /// These less one.
    #[must_use]
    pub(crate) fn without(&self, name: &str) -> Self {
        let Some(entries) = self.entries.as_deref().filter(|map| map.contains_key(name)) else {
            return self.clone();
        };
        let mut entries = entries.clone();
        entries.remove(name);
        Self::new(entries)
    }
}

impl PartialEq for SettingsMap {
    fn eq(&self, other: &Self) -> bool {
        match (&self.entries, &other.entries) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || (self.mark == other.mark && a == b),
            _ => false,
        }
    }
}

impl Eq for SettingsMap {}

/// Settings whose change alters who may set the others: they are undone first and made last.
pub(crate) const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// The SQL that takes a server connection from the settings it has to those a client wants.
///
/// One string, run as one implicit transaction: all of it takes effect or none.
#[must_use]
pub fn transition(from: &SettingsMap, to: &SettingsMap) -> String {
    let mut sql = String::new();
    if from != to && from.get("default_transaction_isolation").is_some() {
        // A standby refuses SERIALIZABLE, and this very transaction begins with the default in force.
        sql.push_str("SET TRANSACTION ISOLATION LEVEL READ COMMITTED;");
    }
    let identity_changes = IDENTITY.iter().any(|name| from.get(name) != to.get(name));
    let has_identity = |map: &SettingsMap| IDENTITY.iter().any(|name| map.get(name).is_some());
    if identity_changes || (has_identity(from) && from != to) {
        sql.push_str("RESET SESSION AUTHORIZATION;RESET ROLE;");
    }
    for (name, _) in from.iter().filter(|(name, _)| !IDENTITY.contains(name)) {
        if to.get(name).is_none() {
            let _ = write!(sql, "RESET {};", quote_setting_name(name));
        }
    }
    for (name, statement) in to.iter().filter(|(name, _)| !IDENTITY.contains(name)) {
        if from.get(name) != Some(statement) {
            push_statement(&mut sql, statement);
        }
    }
    if !sql.is_empty() {
        for statement in IDENTITY.iter().filter_map(|name| to.get(name)) {
            push_statement(&mut sql, statement);
        }
    }
    sql
}

/// The same from settings that nobody knows: custom ones whose names are not to be had.
#[must_use]
pub fn transition_from_anything(to: &SettingsMap) -> String {
    let clean = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;RESET SESSION AUTHORIZATION;\
                 RESET ROLE;RESET ALL;";
    let nothing = SettingsMap::default();
    let made = transition(&nothing, to);
    let repeated = "RESET SESSION AUTHORIZATION;RESET ROLE;";
    format!("{clean}{}", made.strip_prefix(repeated).unwrap_or(&made))
}

fn push_statement(sql: &mut String, statement: &str) {
    sql.push_str(statement);
    // A statement kept verbatim may end in a line comment; a newline ends it for certain.
    sql.push_str("\n;");
}

/// The statement that makes a setting from a plain value, as a startup parameter carries it.
///
/// `set_config` takes the value as the server's own startup would: lists unquoted, units included
/// (manual, 9.28.1).
#[must_use]
pub fn assignment(name: &str, value: &str) -> Arc<str> {
    format!("SELECT pg_catalog.set_config({},{},false)", quote_literal(name), quote_literal(value))
        .into()
}

/// Quotes a string constant so that it reads the same whatever `standard_conforming_strings` says.
#[must_use]
pub fn quote_literal(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 3);
    quoted.push_str(if value.contains('\\') { "E'" } else { "'" });
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

/// Quotes each part of a setting's name: `my.var` is two identifiers with a dot between.
fn quote_setting_name(name: &str) -> String {
    let parts: Vec<String> =
        name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    parts.join(".")
}

/// What a server has said of its session's settings.
#[derive(Debug)]
pub struct Observed<'a> {
    /// It has listed all that the session has changed, its user excepted.
    pub is_whole: bool,
    /// Names in lower case, with their values; none for one that does not exist.
    pub settings: &'a [(Box<str>, Option<Box<str>>)],
}

/// What one moment of a session holds: what the client wants, what its server has, what pins it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    /// The settings the client believes to be in force.
    pub client: SettingsMap,
    /// The settings in force on the server connection it runs on.
    pub server: SettingsMap,
    /// What binds the client to that connection.
    pub pins: Pins,
}

#[derive(Debug)]
struct Savepoint {
    name: Box<str>,
    moment: Moment,
}

/// Follows a client's settings and pins through transactions and savepoints.
#[derive(Debug, Default)]
pub struct SettingsTrack {
    /// What RESET returns to: the client's startup parameters.
    startup: SettingsMap,
    now: Moment,
    /// The state to return to when the running transaction, explicit or implicit, fails.
    at_begin: Moment,
    savepoints: Vec<Savepoint>,
    /// A server has refused the client's settings: until it changes them, nothing else runs.
    is_refused: bool,
}

impl SettingsTrack {
    /// The track of a client that starts with these parameters.
    #[must_use]
    pub fn new(startup: SettingsMap) -> Self {
        let now =
            Moment { client: startup.clone(), server: SettingsMap::default(), pins: Pins::NONE };
        Self { startup, at_begin: now.clone(), now, savepoints: Vec::new(), is_refused: false }
    }

    /// The client's settings, its server's, and its pins as of now.
    #[must_use]
    pub fn now(&self) -> &Moment {
        &self.now
    }

    /// The client runs on another server connection, which has these settings in force.
    pub fn attach(&mut self, in_force: &SettingsMap) {
        if self.now.server != *in_force {
            self.now.server = in_force.clone();
        }
        self.settle();
    }

    /// The server has been brought to the client's settings.
    pub fn synchronised(&mut self) {
        self.now.server = self.now.client.clone();
        self.is_refused = false;
    }

    /// The server has refused the client's settings.
    pub fn refused(&mut self) {
        self.is_refused = true;
    }

    /// Whether the last server that was to be brought to the client's settings refused them.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether the server has to be brought to the client's settings before the next statement.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.now.server != self.now.client
    }

    /// Whether RESET means the same to the client and to any server.
    #[must_use]
    pub fn has_no_startup(&self) -> bool {
        self.startup.mark() == 0
    }

    /// A statement that changes settings has succeeded.
    pub fn change(&mut self, change: &SettingChange) {
        match change {
            SettingChange::Set { name, statement } if !self.has_room(name, statement) => {
                self.now.pins = self.now.pins.with(Pins::SETTINGS);
            }
            SettingChange::Set { name, statement } => {
                self.now.client = self.now.client.with(name, statement.clone());
                self.now.server = self.now.server.with(name, statement.clone());
            }
            SettingChange::Reset { name } => self.reset(name),
            SettingChange::ResetAll => {
                // RESET ALL leaves the session's identity alone (manual, RESET).
                let customs = self.now.client.customs_reset();
                self.now.client = keep_identity(&customs.joined(&self.startup), &self.now.client);
                self.now.server = keep_identity(&customs, &self.now.server);
            }
            SettingChange::DiscardAll => {
                // Custom settings stay known here, too.
                let customs = self.now.client.customs_reset();
                self.now.client = customs.joined(&self.startup);
                self.now.server = customs;
                self.now.pins = self.now.pins.surviving_discard();
            }
        }
        // Setting the session's user also gives up a role assumed before (manual, SET SESSION
        // AUTHORIZATION).
        if let SettingChange::Set { name, .. } | SettingChange::Reset { name } = change
            && &**name == "session_authorization"
        {
            self.now.client = self.now.client.without("role");
            self.now.server = self.now.server.without("role");
        }
    }

    /// Whether a setting can be kept; one that cannot binds the client to its server.
    fn has_room(&self, name: &str, statement: &str) -> bool {
        let client = &self.now.client;
        statement.len() <= MAX_SETTING_LENGTH
            && (client.len() < MAX_SETTINGS || client.get(name).is_some())
    }

    fn reset(&mut self, name: &str) {
        let reset = is_custom(name).then(|| reset_statement(name));
        let changed = |map: &SettingsMap, to: Option<Arc<str>>| match to {
            Some(statement) => map.with(name, statement),
            None => map.without(name),
        };
        let startup = self.startup.get(name).cloned();
        self.now.client = changed(&self.now.client, startup.or_else(|| reset.clone()));
        self.now.server = changed(&self.now.server, reset);
    }

    /// The session's value of a setting is known as a whole: what was said last may have been only
    /// a part of it.
    pub fn restate(&mut self, name: &str, value: &str) {
        let statement = assignment(name, value);
        if self.now.client.get(name).is_some_and(|said| *said != statement) {
            self.now.client = self.now.client.with(name, statement.clone());
            self.now.server = self.now.server.with(name, statement);
        }
    }

    /// Whether the client is back at what it started with, and its server not yet.
    #[must_use]
    pub fn awaits_startup(&self, name: &str) -> bool {
        let startup = self.startup.get(name);
        startup.is_some()
            && self.now.client.get(name) == startup
            && self.now.server.get(name) != startup
    }

    /// A server has been asked what is in force on it, after something that changed it out of sight.
    pub fn observe(&mut self, observed: &Observed<'_>) {
        let known = self.now.server.clone();
        let awaited = self.awaited(observed);
        let stays = |name: &str| !observed.is_whole || name == "session_authorization";
        let kept = known.iter().filter(|(name, _)| stays(name));
        let mut entries: Settings =
            kept.map(|(name, statement)| (name.into(), statement.clone())).collect();
        for (name, value) in observed.settings {
            let value = value.as_deref().filter(|value| match &**name {
                "role" => *value != "none",
                // What a former client has reset reads empty; so it does where nobody has set it.
                name => !is_custom(name) || !value.is_empty() || known.get(name).is_some(),
            });
            match value {
                Some(value) => entries.insert(name.clone(), assignment(name, value)),
                None => entries.remove(name),
            };
        }
        self.now.server = SettingsMap::new(entries);
        self.now.client = self.now.server.joined(&awaited);
    }

    /// Of what the client is back at and its server not yet, what nothing has set since.
    fn awaited(&self, observed: &Observed<'_>) -> SettingsMap {
        let is_set = |name: &str| {
            let mut settings = observed.settings.iter().filter(|(known, _)| **known == *name);
            settings.any(|(_, value)| value.as_deref().is_some_and(|value| !value.is_empty()))
        };
        let awaited = self.startup.iter();
        let awaited = awaited.filter(|(name, _)| self.awaits_startup(name) && !is_set(name));
        SettingsMap::new(awaited.map(|(name, sql)| (name.into(), sql.clone())).collect())
    }

    /// A setting that servers do not take any more: the library it names does not know it.
    pub fn forget(&mut self, name: &str) {
        self.now.client = self.now.client.without(name);
        self.at_begin.client = self.at_begin.client.without(name);
    }

    /// A statement that binds the client to its server has been sent or has succeeded.
    pub fn pin(&mut self, pins: Pins) {
        self.now.pins = self.now.pins.with(pins);
    }

    /// What bound the client is provably gone.
    pub fn unpin(&mut self, pins: Pins) {
        self.now.pins = self.now.pins.without(pins);
    }

    /// SAVEPOINT has succeeded.
    pub fn savepoint(&mut self, name: &str) {
        if self.savepoints.len() >= MAX_SAVEPOINTS {
            self.now.pins = self.now.pins.with(Pins::SETTINGS);
            return;
        }
        self.savepoints.push(Savepoint { name: name.into(), moment: self.now.clone() });
    }

    /// ROLLBACK TO SAVEPOINT has succeeded: the savepoint itself stays.
    pub fn rollback_to(&mut self, name: &str) {
        let Some(at) = self.savepoints.iter().rposition(|point| &*point.name == name) else {
            return;
        };
        self.savepoints.truncate(at + 1);
        if let Some(point) = self.savepoints.last() {
            self.now = returned(&point.moment, self.now.pins);
        }
    }

    /// RELEASE SAVEPOINT has succeeded: later changes become part of the outer level.
    pub fn release(&mut self, name: &str) {
        if let Some(at) = self.savepoints.iter().rposition(|point| &*point.name == name) {
            self.savepoints.truncate(at);
        }
    }

    /// The transaction, explicit or implicit, has committed: nothing before is undone any more.
    pub fn settle(&mut self) {
        self.savepoints.clear();
        if self.at_begin != self.now {
            self.at_begin = self.now.clone();
        }
    }

    /// The transaction, explicit or implicit, was rolled back.
    pub fn rollback(&mut self) {
        self.savepoints.clear();
        if self.now != self.at_begin {
            self.now = returned(&self.at_begin, self.now.pins);
            self.at_begin = self.now.clone();
        }
    }
}

/// A moment returned to: pins that no rollback undoes stay.
fn returned(to: &Moment, pins: Pins) -> Moment {
    Moment { pins: to.pins.with(pins.surviving_rollback()), ..to.clone() }
}

/// Settings with a dot in their names belong to libraries, or to nobody: PostgreSQL makes them up
/// when they are first set, and they stay, empty, when they are reset (manual, 20.16 Customized
/// Options).
fn is_custom(name: &str) -> bool {
    name.contains('.')
}

/// Makes a custom setting known to a server and gives it the value it has when nobody has set it.
fn reset_statement(name: &str) -> Arc<str> {
    format!("RESET {}", quote_setting_name(name)).into()
}

fn keep_identity(base: &SettingsMap, current: &SettingsMap) -> SettingsMap {
    let mut map = base.clone();
    for name in IDENTITY {
        map = match current.get(name) {
            Some(statement) => map.with(name, statement.clone()),
            None => map.without(name),
        };
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, sql: &str) -> SettingChange {
        SettingChange::Set { name: name.into(), statement: sql.into() }
    }

    fn reset(name: &str) -> SettingChange {
        SettingChange::Reset { name: name.into() }
    }

    fn map(entries: &[(&str, &str)]) -> SettingsMap {
        SettingsMap::new(entries.iter().map(|(n, s)| ((*n).into(), (*s).into())).collect())
    }

    #[test]
    fn a_rolled_back_set_is_undone_and_a_committed_one_stays() {
        let mut track = SettingsTrack::default();
        track.change(&set("a", "SET a=1"));
        track.settle();
        track.change(&set("a", "SET a=2"));
        track.change(&set("b", "SET b=1"));
        track.rollback();
        assert_eq!(track.now().client, map(&[("a", "SET a=1")]));
        assert_eq!(track.now().server, track.now().client);
    }

    #[test]
    fn rollback_to_a_savepoint_undoes_what_came_after_it_and_keeps_it() {
        let mut track = SettingsTrack::default();
        track.change(&set("a", "SET a=1"));
        track.savepoint("s");
        track.change(&set("a", "SET a=2"));
        track.rollback_to("s");
        assert_eq!(track.now().client, map(&[("a", "SET a=1")]));
        track.change(&set("a", "SET a=3"));
        track.rollback_to("s");
        assert_eq!(track.now().client, map(&[("a", "SET a=1")]));
        track.change(&set("a", "SET a=4"));
        track.release("s");
        track.settle();
        assert_eq!(track.now().client, map(&[("a", "SET a=4")]));
    }

    #[test]
    fn reset_returns_to_the_startup_parameter_which_the_server_then_lacks() {
        let startup = map(&[("search_path", "SET search_path TO app")]);
        let mut track = SettingsTrack::new(startup.clone());
        track.attach(&startup);
        track.change(&set("search_path", "SET search_path TO b"));
        track.change(&reset("search_path"));
        assert_eq!(track.now().client, startup);
        assert!(track.differs(), "the server fell back to its own default");
    }

    #[test]
    fn a_setting_said_in_parts_is_kept_as_a_whole() {
        let mut track = SettingsTrack::default();
        track.restate("datestyle", "ISO, MDY");
        assert_eq!(track.now().client, SettingsMap::default(), "nothing was said");
        track.change(&set("datestyle", "SET datestyle TO ymd"));
        track.restate("datestyle", "ISO, YMD");
        let whole = "SELECT pg_catalog.set_config('datestyle','ISO, YMD',false)";
        assert_eq!(track.now().client, map(&[("datestyle", whole)]));
        assert!(!track.differs());
    }

    #[test]
    fn what_a_server_says_of_its_settings_is_what_the_client_has() {
        let mut track = SettingsTrack::default();
        for (name, statement) in [
            ("a", "SET a=1"),
            ("app.x", "SET app.x=1"),
            ("role", "SET ROLE r"),
            ("session_authorization", "SET SESSION AUTHORIZATION u"),
        ] {
            track.change(&set(name, statement));
        }
        let some = |name: &str, value: &str| (name.into(), Some(value.into()));
        let settings = [some("app.x", "2"), some("app.y", ""), ("app.z".into(), None)];
        track.observe(&Observed { is_whole: false, settings: &settings });
        assert_eq!(track.now().client.get("a").map(|statement| &**statement), Some("SET a=1"));
        assert_eq!(track.now().client.get("app.x"), Some(&assignment("app.x", "2")));
        assert_eq!(track.now().client.len(), 3, "a new user has no role yet");
        let settings = [some("b", "3"), some("role", "none"), some("app.x", "")];
        track.observe(&Observed { is_whole: true, settings: &settings });
        let left = track.now().client.iter().map(|(name, _)| name);
        assert!(left.eq(["app.x", "b", "session_authorization"]), "{:?}", track.now());
        assert!(!track.differs());
    }

    #[test]
    fn what_a_client_has_started_with_is_not_lost_by_asking_a_server_that_has_yet_to_be_told() {
        let started = [("a", "SET a=1"), ("b", "SET b=1"), ("app.x", "SET app.x=1")];
        let mut track = SettingsTrack::new(map(&started));
        track.synchronised();
        for name in ["a", "b", "app.x"] {
            track.change(&reset(name));
        }
        let settings = [("b".into(), Some("2".into())), ("app.x".into(), Some("".into()))];
        track.observe(&Observed { is_whole: true, settings: &settings });
        let client = &track.now().client;
        assert_eq!(client.get("a").map(|statement| &**statement), Some("SET a=1"));
        assert_eq!(client.get("b"), Some(&assignment("b", "2")));
        assert_eq!(client.get("app.x").map(|statement| &**statement), Some("SET app.x=1"));
        assert!(track.differs());
    }

    #[test]
    fn a_custom_setting_stays_known_when_it_is_reset() {
        let mut track = SettingsTrack::default();
        track.change(&set("my.v", "SET my.v=1"));
        track.change(&reset("my.v"));
        assert_eq!(track.now().client, map(&[("my.v", "RESET \"my\".\"v\"")]));
        track.change(&set("my.w", "SET my.w=1"));
        track.change(&set("a", "SET a=1"));
        track.change(&SettingChange::ResetAll);
        let known = map(&[("my.v", "RESET \"my\".\"v\""), ("my.w", "RESET \"my\".\"w\"")]);
        assert_eq!(track.now().client, known);
        assert_eq!(track.now().server, known);
        track.forget("my.v");
        assert!(track.now().client.get("my.v").is_none());
    }

    #[test]
    fn the_way_between_two_sets_of_settings_is_one_string() {
        /// Settings in force, settings wanted, and the SQL between them.
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a str);
        let rows: [Row<'_>; 7] = [
            (&[], &[], ""),
            (&[], &[("a", "SET a=1")], "SET a=1\n;"),
            (&[("a", "SET a=1")], &[], "RESET \"a\";"),
            (&[("my.v", "SET my.v=1")], &[], "RESET \"my\".\"v\";"),
            (&[("a", "SET a=1")], &[("a", "SET a=1")], ""),
            (
                &[("default_transaction_isolation", "SET x")],
                &[],
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;\
                 RESET \"default_transaction_isolation\";",
            ),
            (
                &[("role", "SET ROLE x")],
                &[("a", "SET a=1"), ("role", "SET ROLE x")],
                "RESET SESSION AUTHORIZATION;RESET ROLE;SET a=1\n;SET ROLE x\n;",
            ),
        ];
        for (from, to, expected) in rows {
            assert_eq!(transition(&map(from), &map(to)), expected, "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn from_unknown_settings_all_are_undone_first() {
        let to = map(&[("a", "SET a=1"), ("role", "SET ROLE x")]);
        let sql = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;RESET SESSION AUTHORIZATION;\
                   RESET ROLE;RESET ALL;SET a=1\n;SET ROLE x\n;";
        assert_eq!(transition_from_anything(&to), sql);
    }

    #[test]
    fn a_value_is_quoted_whatever_standard_conforming_strings_says() {
        for (value, expected) in [("a", "'a'"), ("it's", "'it''s'"), ("a\\b'", "E'a\\\\b'''")] {
            assert_eq!(quote_literal(value), expected);
        }
    }
}
