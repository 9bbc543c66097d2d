//! What administrators have closed: databases that are paused or disabled, and when which server
//! connections were called old.
//!
//! Databases are known here by the first name that leads to them ([`Config::first_name`]), for names
//! that lead to the same one share its server connections.
//!
//! [`Config::first_name`]: crate::config::Config::first_name

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Databases that are closed in one way or another.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_all_paused: bool,
    paused: BTreeSet<String>,
    disabled: BTreeSet<String>,
    all_renewed_at: Option<Instant>,
    renewed_at: BTreeMap<String, Instant>,
}

impl Gates {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes a database, or all, to work. False if it is closed already.
    pub(crate) fn pause(&self, database: Option<&str>) -> bool {
        let mut state = self.state();
        match database {
            Some(name) => state.paused.insert(name.to_owned()),
            None => !std::mem::replace(&mut state.is_all_paused, true),
        }
    }

    /// Opens a database, or all, to work again. False if it was not closed.
    pub(crate) fn resume(&self, database: Option<&str>) -> bool {
        let mut state = self.state();
        match database {
            Some(name) => state.paused.remove(name),
            None => {
                let was_paused = state.is_all_paused || !state.paused.is_empty();
                state.is_all_paused = false;
                state.paused.clear();
                was_paused
            }
        }
    }

    /// Whether work on a database has to wait.
    pub(crate) fn is_paused(&self, database: &str) -> bool {
        let state = self.state();
        state.is_all_paused || state.paused.contains(database)
    }

    /// Whether work has to wait whatever the database.
    pub(crate) fn is_all_paused(&self) -> bool {
        self.state().is_all_paused
    }

    /// Closes a database to new clients.
    pub(crate) fn disable(&self, database: &str) {
        self.state().disabled.insert(database.to_owned());
    }

    /// Opens a database to new clients.
    pub(crate) fn enable(&self, database: &str) {
        self.state().disabled.remove(database);
    }

    /// Whether a database takes no new clients.
    pub(crate) fn is_disabled(&self, database: &str) -> bool {
        self.state().disabled.contains(database)
    }

    /// Server connections of a database, or of all, that are open at this moment are old.
    pub(crate) fn renew(&self, database: Option<&str>, now: Instant) {
        let mut state = self.state();
        match database {
            Some(name) => {
                state.renewed_at.insert(name.to_owned(), now);
            }
            None => state.all_renewed_at = Some(now),
        }
    }

    /// Whether a server connection of this database and age is old.
    pub(crate) fn is_old(&self, database: &str, opened_at: Instant) -> bool {
        let state = self.state();
        let renewed_at = state.renewed_at.get(database).copied().max(state.all_renewed_at);
        renewed_at.is_some_and(|renewed_at| opened_at <= renewed_at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_database_or_all_are_paused_and_resumed() {
        let gates = Gates::default();
        let paused = || ["a", "b"].map(|name| gates.is_paused(name));
        assert!(gates.pause(Some("a")) && !gates.pause(Some("a")));
        assert_eq!((paused(), gates.is_all_paused()), ([true, false], false));
        assert!(!gates.resume(Some("b")));
        assert!(gates.resume(Some("a")));
        assert!(gates.pause(None) && !gates.pause(None) && gates.pause(Some("b")));
        assert_eq!((paused(), gates.is_all_paused()), ([true, true], true));
        assert!(gates.resume(None) && !gates.resume(None));
        assert_eq!(paused(), [false, false]);
    }

    #[test]
    fn connections_from_before_a_renewal_are_old() {
        let (gates, start) = (Gates::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        assert!(!gates.is_old("a", start));
        gates.renew(Some("a"), at(2));
        assert_eq!([at(1), at(3)].map(|then| gates.is_old("a", then)), [true, false]);
        assert!(!gates.is_old("b", at(1)));
        gates.renew(None, at(4));
        assert_eq!(["a", "b"].map(|name| gates.is_old(name, at(3))), [true, true]);
        assert!(!gates.is_old("a", at(5)));
    }
}
