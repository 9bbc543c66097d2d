//! What is known about one server connection: it travels with the connection from lease to lease.

use std::sync::Arc;

use crate::parameters::Parameters;
use crate::prepared::{ServerStatements, UnnamedId};
use crate::settings::SettingsMap;
use crate::verdict::Isolation;

/// Facts about one server connection.
#[derive(Debug)]
pub struct ServerFacts {
    /// The backend's process id.
    pub pid: i32,
    /// The secret that a cancel request must show (4 bytes; up to 256 since protocol 3.2).
    pub key: Arc<[u8]>,
    /// Who has logged in on it, as it reported.
    pub user: Box<str>,
    /// Parameters as last reported.
    pub reported: Parameters,
    /// The protocol-level statements prepared on it.
    pub statements: ServerStatements,
    /// Which text its unnamed statement holds.
    pub unnamed: Option<UnnamedId>,
    /// The settings in force beyond its own defaults.
    pub in_force: SettingsMap,
    /// The session that had it last.
    pub last_session: Option<u32>,
    /// Whose code may have made settings on it that no server lists and nobody knows the names of.
    pub unlisted: Option<u32>,
    /// The statements that SQL has prepared on it: by their names, each with its PREPARE.
    pub sql: SettingsMap,
    /// Whose work its memory of sequences is.
    pub sequences: SequenceMemory,
    /// The isolation level of transactions that name none, as far as no client has set it.
    pub isolation: Option<Isolation>,
}

/// Who has drawn from sequences, and when: a session, and how often it has moved on since, to another
/// server connection or to a fresh start (DISCARD). What it drew before it does not ask for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawer {
    session: u32,
    moves: u32,
}

impl Drawer {
    /// A session that has drawn nothing yet.
    #[must_use]
    pub fn new(session: u32) -> Self {
        Self { session, moves: 0 }
    }

    /// The same session, which goes on without what it has drawn.
    #[must_use]
    pub fn moved(self) -> Self {
        Self { moves: self.moves.wrapping_add(1), ..self }
    }
}

/// Whose work a server session's memory of sequences may be: what `currval` and `lastval` answer
/// from. Any write may have drawn from a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SequenceMemory {
    /// Nobody's: it has none.
    #[default]
    Empty,
    /// One client's.
    Of(Drawer),
    /// Several clients'.
    Mixed,
}

impl SequenceMemory {
    /// The memory after a client has written.
    #[must_use]
    pub fn after_write_by(self, client: Drawer) -> Self {
        if self == Self::Empty || self == Self::Of(client) { Self::Of(client) } else { Self::Mixed }
    }

    /// Whether it holds nothing but this client's own work.
    #[must_use]
    pub fn suits(self, client: Drawer) -> bool {
        self == Self::Empty || self == Self::Of(client)
    }
}

/// Zero for nothing carried; equal for equal state; otherwise almost surely different.
#[must_use]
pub(crate) fn carried_mark(settings: &SettingsMap, statements: &SettingsMap) -> u64 {
    settings.mark() ^ statements.mark().rotate_left(1)
}

impl ServerFacts {
    /// The facts of a fresh connection that keeps at most `prepared_capacity` statements.
    #[must_use]
    pub fn new(
        pid: i32,
        key: Vec<u8>,
        parameters: Vec<(String, String)>,
        prepared_capacity: usize,
    ) -> Self {
        let reported: Parameters = parameters.into_iter().collect();
        Self {
            pid,
            key: key.into(),
            user: reported.get("session_authorization").unwrap_or_default().into(),
            reported,
            statements: ServerStatements::new(prepared_capacity),
            unnamed: None,
            in_force: SettingsMap::default(),
            last_session: None,
            unlisted: None,
            sql: SettingsMap::default(),
            sequences: SequenceMemory::default(),
            isolation: None,
        }
    }

    /// Tells which settings are in force and which statements SQL has prepared, so that a pool can
    /// prefer a connection that fits.
    #[must_use]
    pub fn settings_mark(&self) -> u64 {
        carried_mark(&self.in_force, &self.sql)
    }
}
