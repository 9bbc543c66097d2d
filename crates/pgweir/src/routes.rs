//! What became of each kind of statement: where it was sent, why, how often.
//!
//! A kind is what differs in literals alone, as it was judged once: the same text may be judged anew when
//! more is known of the database, and is another kind then. A [`Route`] is made where a text is judged
//! (which is rare) and travels with its verdict, so that counting is one atomic addition and never a
//! look-up. The table holds the [`MAX_ROUTES`] that were in use last; one that has left it and is used
//! again comes back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use pgweir_protocol::verdict::{Target, Verdict};

/// Kinds of statements that are shown; those used least recently leave for others.
pub(crate) const MAX_ROUTES: usize = 1000;

/// The longest form of a statement that is kept to be shown, in bytes.
pub(crate) const MAX_SHOWN_BYTES: usize = 1000;

/// Nodes that are counted for in one piece of memory.
const PLACES: usize = 4;

/// Such pieces, at most: statements sent to more nodes than that are not counted by node.
const MAX_TALLIES: usize = 64;

/// How well it is known when a statement was last seen.
const TICK: Duration = Duration::from_secs(1);

/// A kind of statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// As clients name it.
    pub(crate) database: Box<str>,
    /// The normalised form without literals.
    pub(crate) statement: Box<str>,
    pub(crate) class: &'static str,
    pub(crate) reason: Box<str>,
    /// Where it runs unless something else is said.
    pub(crate) target: &'static str,
}

/// What became of the statements of one kind.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) kind: Kind,
    sent: Tally,
    healed: AtomicU64,
    refused: AtomicU64,
    /// The tick in which it was last seen.
    seen: AtomicU64,
    is_listed: AtomicBool,
}

/// The kinds of statements that were in use last.
#[derive(Debug)]
pub(crate) struct Routes {
    since: Instant,
    /// Ticks since then.
    tick: AtomicU64,
    listed: Mutex<HashMap<Kind, Arc<Route>>>,
}

impl Route {
    fn new(kind: Kind, tick: u64) -> Self {
        Self {
            kind,
            sent: Tally::default(),
            healed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            seen: AtomicU64::new(tick),
            is_listed: AtomicBool::new(false),
        }
    }

    /// How many were sent to servers that were replicas then.
    pub(crate) fn to_replicas(&self) -> u64 {
        self.sent.counts().map(|(_, [replica, _])| replica).sum()
    }

    /// How many were sent to servers that were the primary then.
    pub(crate) fn to_primary(&self) -> u64 {
        self.sent.counts().map(|(_, [_, primary])| primary).sum()
    }

    /// How many the primary ran because a replica had refused them.
    pub(crate) fn healed(&self) -> u64 {
        self.healed.load(Ordering::Relaxed)
    }

    /// A replica has refused one, and the primary is to run it.
    pub(crate) fn heal(&self) {
        self.healed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many the firewall has refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Each node that got any, with how many.
    pub(crate) fn by_node(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sent.counts().map(|(name, [replica, primary])| (name, replica + primary))
    }
}

/// Counts by node. Nodes come and go while a kind of statement is in use, and a cluster has few at a
/// time: each gets the next free place when it is counted for first, and is found by its name's address.
#[derive(Debug, Default)]
struct Tally {
    places: [OnceLock<Place>; PLACES],
    /// When these are taken: as many again.
    more: OnceLock<Box<Tally>>,
}

/// One node's counts.
#[derive(Debug)]
struct Place {
    node: Arc<str>,
    /// As a replica, as the primary.
    sent: [AtomicU64; 2],
}

impl Tally {
    fn count(&self, node: &Arc<str>, on: Target) {
        let mut tally = self;
        for _ in 0..MAX_TALLIES {
            for place in &tally.places {
                let new = || Place { node: node.clone(), sent: Default::default() };
                let place = place.get_or_init(new);
                // A node that was taken out of its cluster and is back has the same name again.
                if Arc::ptr_eq(&place.node, node) || place.node == *node {
                    let [replica, primary] = &place.sent;
                    let count = if on == Target::Primary { primary } else { replica };
                    count.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            tally = tally.more.get_or_init(Box::default);
        }
    }

    fn counts(&self) -> impl Iterator<Item = (&str, [u64; 2])> {
        std::iter::successors(Some(self), |tally| tally.more.get().map(Box::as_ref))
            .flat_map(|tally| tally.places.iter().filter_map(OnceLock::get))
            .map(|place| {
                (&*place.node, place.sent.each_ref().map(|count| count.load(Ordering::Relaxed)))
            })
    }
}

impl Routes {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, tick: AtomicU64::new(0), listed: Mutex::default() }
    }

    /// The route of this kind of statement, for a verdict to carry.
    pub(crate) fn enter(&self, kind: Kind) -> Arc<Route> {
        let mut listed = self.lock();
        if let Some(route) = listed.get(&kind) {
            return route.clone();
        }
        let route = Arc::new(Route::new(kind, self.tick.load(Ordering::Relaxed)));
        list(&mut listed, &route);
        route
    }

    /// A statement with this verdict is on its way to a node, by its name, of this role.
    pub(crate) fn sent(&self, verdict: &Verdict, node: &Arc<str>, on: Target) {
        let Some(route) = verdict.enclosed.get::<Route>() else { return };
        route.sent.count(node, on);
        self.seen(route, verdict);
    }

    /// A statement with this verdict was refused.
    pub(crate) fn refused(&self, verdict: &Verdict) {
        let Some(route) = verdict.enclosed.get::<Route>() else { return };
        route.refused.fetch_add(1, Ordering::Relaxed);
        self.seen(route, verdict);
    }

    fn seen(&self, route: &Route, verdict: &Verdict) {
        route.seen.store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        if !route.is_listed.load(Ordering::Relaxed)
            && let Some(route) = verdict.enclosed.share()
        {
            list(&mut self.lock(), &route);
        }
    }

    /// Every route that is listed, the one used last first.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by(|one, other| {
            let key = |route: &Route| {
                let kind = &route.kind;
                (kind.database.clone(), kind.statement.clone(), kind.reason.clone())
            };
            let seen = |route: &Route| route.seen.load(Ordering::Relaxed);
            seen(other).cmp(&seen(one)).then_with(|| key(one).cmp(&key(other)))
        });
        all
    }

    /// When a statement of this kind was last seen, to within a tick.
    pub(crate) fn last_seen(&self, route: &Route) -> Instant {
        let ticks = u32::try_from(route.seen.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        self.since + TICK * ticks
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Arc<Route>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a route on the list; the one used least recently makes room for it. Where another of its kind is
/// on the list, that one goes: its verdict is not the one in use.
fn list(listed: &mut HashMap<Kind, Arc<Route>>, route: &Arc<Route>) {
    while listed.len() >= MAX_ROUTES {
        let oldest =
            listed.values().min_by_key(|route| route.seen.load(Ordering::Relaxed)).cloned();
        let Some(oldest) = oldest else { break };
        listed.remove(&oldest.kind);
        oldest.is_listed.store(false, Ordering::Relaxed);
    }
    route.is_listed.store(true, Ordering::Relaxed);
    if let Some(other) = listed.insert(route.kind.clone(), route.clone())
        && !Arc::ptr_eq(&other, route)
    {
        other.is_listed.store(false, Ordering::Relaxed);
    }
}

/// Tells the time for as long as anybody counts.
pub(crate) async fn keep_time(routes: Weak<Routes>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(routes) = routes.upgrade() else { return };
        let ticks = routes.since.elapsed().as_secs() / TICK.as_secs();
        routes.tick.store(ticks, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use pgweir_protocol::verdict::Enclosure;

    use super::*;

    fn kind(statement: &str) -> Kind {
        Kind {
            database: "app".into(),
            statement: statement.into(),
            class: "read",
            reason: "harmless".into(),
            target: "replica",
        }
    }

    fn node() -> Arc<str> {
        "a:1".into()
    }

    fn verdict(routes: &Routes, statement: &str) -> Verdict {
        let route = routes.enter(kind(statement));
        Verdict { enclosed: Enclosure::new(route), ..Verdict::unknown("") }
    }

    fn statements(routes: &Routes) -> Vec<String> {
        routes.all().iter().map(|route| route.kind.statement.to_string()).collect()
    }

    #[test]
    fn statements_of_one_kind_are_counted_together_by_node_and_role() {
        let routes = Routes::new(Instant::now());
        let (first, second) = (verdict(&routes, "select 0"), verdict(&routes, "select 0"));
        let (a, b): (Arc<str>, Arc<str>) = ("a:1".into(), "b:2".into());
        routes.sent(&first, &a, Target::Primary);
        routes.sent(&second, &b, Target::Replica);
        routes.sent(&second, &b, Target::Primary);
        routes.refused(&second);
        let [route] = &routes.all()[..] else { panic!("one kind") };
        assert_eq!((route.to_replicas(), route.to_primary(), route.refused()), (1, 2, 1));
        assert_eq!(route.by_node().collect::<Vec<_>>(), [("a:1", 1), ("b:2", 2)]);
    }

    #[test]
    fn nodes_come_and_go_and_one_that_is_back_goes_on_where_it_was() {
        let routes = Routes::new(Instant::now());
        let sent = verdict(&routes, "select 0");
        for number in 0..PLACES * 2 {
            routes.sent(&sent, &format!("n:{number}").into(), Target::Replica);
        }
        routes.sent(&sent, &"n:0".into(), Target::Primary);
        let [route] = &routes.all()[..] else { panic!("one kind") };
        assert_eq!(route.by_node().count(), PLACES * 2);
        assert_eq!(route.by_node().next(), Some(("n:0", 2)));
    }

    #[test]
    fn the_least_recently_used_leaves_and_comes_back_when_it_is_used() {
        let routes = Routes::new(Instant::now());
        let first = verdict(&routes, "first");
        routes.sent(&first, &node(), Target::Primary);
        for number in 1..MAX_ROUTES {
            routes.tick.store(number as u64, Ordering::Relaxed);
            verdict(&routes, &format!("select {number}"));
        }
        assert!(statements(&routes).contains(&"first".to_owned()));
        verdict(&routes, "one more");
        assert!(!statements(&routes).contains(&"first".to_owned()));
        assert_eq!(routes.all().len(), MAX_ROUTES);

        routes.sent(&first, &node(), Target::Primary);
        let all = routes.all();
        assert_eq!(
            (all.len(), &*all[0].kind.statement, all[0].to_primary()),
            (MAX_ROUTES, "first", 2)
        );
    }
}
