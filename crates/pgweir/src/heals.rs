//! What replicas have refused, though it looked like a read: from then on it goes to the primary at once.
//!
//! A text is known by its shape, so that one refusal speaks for all that differ in literals. What is
//! known is bounded, and rests on the database's objects as they were: once those have changed, the
//! replicas are asked again. What a replica refuses counts as a write: a client sees its effects.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgweir_classifier::Options;
use pgweir_protocol::verdict::{Target, Verdict};
use quick_cache::sync::Cache;

/// Shapes remembered for a database, at most.
const MAX_REMEMBERED: usize = 1024;

/// Bytes of a text that the log shows.
const SHOWN: usize = 500;

/// Why a text goes to the primary that a replica has refused.
pub(crate) const REASON: &str = "self_heal";

/// What the replicas of a database have refused.
#[derive(Debug)]
pub(crate) struct Heals {
    is_on: bool,
    /// By shape, what has to be thought of it instead.
    refused: Cache<u64, Arc<Verdict>>,
    has_any: AtomicBool,
}

impl Heals {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, refused: Cache::new(MAX_REMEMBERED), has_any: AtomicBool::new(false) }
    }

    /// The verdict on a text that a replica has refused before, in the place of this one.
    pub(crate) fn revised(&self, verdict: &Verdict) -> Option<Arc<Verdict>> {
        if !self.has_any.load(Ordering::Relaxed) || verdict.is_write {
            return None;
        }
        let revised = self.refused.get(&verdict.fingerprint)?;
        (revised.generation == verdict.generation).then_some(revised)
    }

    /// A replica has refused a text: true if the primary is to run it.
    pub(crate) fn heals(&self, verdict: Option<&Verdict>, text: Option<&[u8]>, node: &str) -> bool {
        if let Some(verdict) = verdict.filter(|verdict| self.is_on && verdict.fingerprint != 0) {
            if self.refused.get(&verdict.fingerprint).is_none() {
                let statement = shown(text.unwrap_or_default());
                tracing::warn!(
                    node,
                    reason = verdict.reason,
                    statement,
                    "a replica refuses a statement that was taken for a read; the primary runs it \
                     from now on"
                );
            }
            self.refused.insert(verdict.fingerprint, Arc::new(revised(verdict)));
            self.has_any.store(true, Ordering::Relaxed);
        }
        self.is_on
    }
}

fn revised(verdict: &Verdict) -> Verdict {
    Verdict { target: Target::Primary, is_write: true, suits_replica: false, ..verdict.clone() }
}

/// Tells the shape of a text from others; never 0.
pub(crate) fn mark(sql: &[u8], options: Options) -> u64 {
    let mut hasher = DefaultHasher::new();
    pgweir_classifier::fingerprint(sql, options.standard_conforming_strings).hash(&mut hasher);
    hasher.finish() | 1
}

/// A text without its literals, as far as the log has room for it.
fn shown(text: &[u8]) -> String {
    pgweir_classifier::shown(text, Options::default(), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(sql: &str, generation: u64) -> Verdict {
        let fingerprint = mark(sql.as_bytes(), Options::default());
        let read = Verdict { target: Target::Replica, is_write: false, ..Verdict::unknown("") };
        Verdict { fingerprint, generation, ..read }
    }

    fn is_refused(heals: &Heals, sql: &str, generation: u64) -> bool {
        let revised = heals.revised(&verdict(sql, generation));
        revised.is_some_and(|revised| revised.target == Target::Primary && revised.is_write)
    }

    #[test]
    fn one_refusal_speaks_for_all_that_differ_in_literals() {
        let heals = Heals::new(true);
        assert!(!is_refused(&heals, "SELECT f(1)", 3));
        assert!(heals.heals(Some(&verdict("SELECT f(1)", 3)), Some(b"SELECT f(1)"), "a:1"));
        assert!(is_refused(&heals, "select  f(22)", 3));
        assert!(!is_refused(&heals, "SELECT g(1)", 3));
        // The function may be another one by now.
        assert!(!is_refused(&heals, "SELECT f(1)", 4));
    }

    #[test]
    fn what_is_off_heals_and_remembers_nothing() {
        let heals = Heals::new(false);
        assert!(!heals.heals(Some(&verdict("SELECT f(1)", 3)), None, "a:1"));
        assert!(!is_refused(&heals, "SELECT f(1)", 3));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let heals = Heals::new(true);
        for name in 0..3 * MAX_REMEMBERED {
            heals.heals(Some(&verdict(&format!("SELECT f{name}()"), 1)), None, "a:1");
        }
        assert!(heals.refused.len() <= MAX_REMEMBERED);
    }

    #[test]
    fn the_log_shows_no_literals_and_not_everything() {
        assert!(!shown(b"SELECT f('secret'), E'\\x41secret'").contains("secret"));
        let long = format!("SELECT {}", vec!["column_name + 1"; 100].join(" + "));
        assert_eq!(shown(long.as_bytes()).chars().count(), SHOWN + 1);
    }
}
