//! What clients had done a while ago, so that there can be averages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::account::Totals;
use crate::gateway::Gateway;

/// How often the past is noted. Averages are those of the last one to two of these.
pub(crate) const STATS_PERIOD: Duration = Duration::from_secs(60);

/// What clients had done, by database.
type Sums = BTreeMap<String, Totals>;

/// The last two moments that were noted.
#[derive(Debug)]
pub(crate) struct History {
    marks: Mutex<[(Instant, Arc<Sums>); 2]>,
}

impl History {
    /// Nothing has been done before this moment.
    pub(crate) fn new(now: Instant) -> Self {
        let nothing = (now, Arc::<Sums>::default());
        Self { marks: Mutex::new([nothing.clone(), nothing]) }
    }

    /// Notes what has been done up to this moment.
    pub(crate) fn note(&self, now: Instant, sums: Sums) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, newer] = &*marks;
        *marks = [newer.clone(), (now, Arc::new(sums))];
    }

    /// The older moment, and what had been done by then.
    pub(crate) fn base(&self) -> (Instant, Arc<Sums>) {
        let [older, _] = &*self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        older.clone()
    }
}

/// Notes the past for as long as the gateway is there.
pub(crate) async fn keep(gateway: Weak<Gateway>) {
    loop {
        tokio::time::sleep(STATS_PERIOD).await;
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        gateway.history.note(Instant::now(), gateway.clients.totals());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_at_least_a_period_old_once_there_were_two() {
        let start = Instant::now();
        let at = |periods: u32| start + STATS_PERIOD * periods;
        let history = History::new(start);
        let sums = |queries| {
            let totals = Totals { queries, ..Totals::default() };
            BTreeMap::from([("app".to_owned(), totals)])
        };
        let base = || {
            let (then, sums) = history.base();
            (then, sums.get("app").map(|totals| totals.queries))
        };
        assert_eq!(base(), (start, None));
        history.note(at(1), sums(10));
        assert_eq!(base(), (start, None));
        history.note(at(2), sums(30));
        assert_eq!(base(), (at(1), Some(10)));
    }
}
