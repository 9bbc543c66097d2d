//! What is known about one server connection: it travels with the connection from lease to lease.

use std::sync::Arc;

use crate::parameters::Parameters;
use crate::prepared::{ServerStatements, UnnamedId};
use crate::settings::SettingsMap;

/// Facts about one server connection.
#[derive(Debug)]
pub struct ServerFacts {
    /// The backend's process id.
    pub pid: i32,
    /// The secret that a cancel request must show (4 bytes; up to 256 since protocol 3.2).
    pub key: Arc<[u8]>,
    /// Parameters as last reported.
    pub reported: Parameters,
    /// The protocol-level statements prepared on it.
    pub statements: ServerStatements,
    /// Which text its unnamed statement holds.
    pub unnamed: Option<UnnamedId>,
    /// The settings in force beyond its own defaults.
    pub in_force: SettingsMap,
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
        Self {
            pid,
            key: key.into(),
            reported: parameters.into_iter().collect(),
            statements: ServerStatements::new(prepared_capacity),
            unnamed: None,
            in_force: SettingsMap::default(),
        }
    }

    /// Tells which settings are in force, so that a pool can prefer a connection that fits.
    #[must_use]
    pub fn settings_mark(&self) -> u64 {
        self.in_force.mark()
    }
}
