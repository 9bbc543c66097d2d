//! What standbys show before their primary does.
//!
//! A commit's record is flushed, and on its way to the standbys, *before* the primary lets others see the
//! commit (`CommitTransaction`: `RecordTransactionCommit`, then `ProcArrayEndTransaction`), and in between it
//! waits for synchronous standbys, for as long as that takes (manual: 27.2.8 "Synchronous Replication"). A
//! standby may have replayed it by then. So who goes from a standby to the primary may be shown less there,
//! unless the primary is known to have *announced* whatever the standby had shown.
//!
//! That is a question of two sets. The primary says which transactions it shows ([`Shown`]); a standby that is
//! asked after a read says which of those that it shows are not among them: its [`Lead`]. Once the primary
//! shows all of a lead, it shows whatever the standby had shown when it was asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// A transaction's number, with its epoch.
pub(crate) type Txid = i64;

/// Leads of one standby that are remembered, at most.
const MAX_LEADS: usize = 8;

/// The transactions that a primary shows (manual: 9.27.8 "Transaction ID and Snapshot Information
/// Functions"). Subtransactions are shown with the transactions that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// None from here on.
    pub(crate) xmax: Txid,
    /// Nor these.
    pub(crate) in_progress: Vec<Txid>,
}

impl Shown {
    /// Reads a `txid_snapshot`: `xmin:xmax:` and the numbers of those in progress.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').skip(1);
        let xmax = parts.next()?.parse().ok()?;
        let listed = parts.next()?;
        let listed = listed.split(',').filter(|txid| !txid.is_empty()).map(str::parse);
        Some(Self { xmax, in_progress: listed.collect::<Result<_, _>>().ok()? })
    }

    pub(crate) fn shows(&self, txid: Txid) -> bool {
        txid < self.xmax && !self.in_progress.contains(&txid)
    }
}

/// What the primary of one timeline shows. Another timeline may give the same numbers to other transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Baseline {
    pub(crate) timeline: u32,
    pub(crate) shown: Shown,
}

/// What a standby showed that the primary had not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The timeline of the primary that it was held against.
    pub(crate) timeline: u32,
    /// The standby's (`Node::incarnation`), read before it was asked.
    pub(crate) incarnation: u32,
    /// Read before the standby was asked.
    pub(crate) asked_at: Instant,
    /// Whatever it showed then that the baseline did not.
    pub(crate) txids: Vec<Txid>,
}

/// What a server says of the transactions that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Shown(Shown),
    Lead(Lead),
}

/// What a primary has announced since it reigns.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    baseline: Option<Arc<Baseline>>,
    /// It shows whatever it had flushed by then, and so whatever any standby can have shown.
    pub(crate) as_of: Option<Instant>,
}

/// How a standby compares.
#[derive(Debug, Default)]
pub(crate) struct Standby {
    /// What it showed and the primary is not known to show, with the time as of which the standby was fresh;
    /// the oldest first.
    leads: VecDeque<(Lead, Option<Instant>)>,
    /// That of all these: after a restart a standby may show less.
    incarnation: u32,
    /// The primary shows whatever this standby had shown by then.
    pub(crate) as_of: Option<Instant>,
}

impl Announced {
    /// What the primary showed last.
    pub(crate) fn baseline(&self) -> Option<&Arc<Baseline>> {
        self.baseline.as_ref()
    }

    /// Takes what the primary shows now, and settles what its standbys showed before. Tells whether that has
    /// made up for any of it.
    pub(crate) fn show<'s>(
        &mut self,
        baseline: Baseline,
        standbys: impl Iterator<Item = &'s mut Standby>,
    ) -> bool {
        let mut has_helped = false;
        for standby in standbys {
            has_helped |= standby.settle(&baseline, &mut self.as_of);
        }
        self.baseline = Some(Arc::new(baseline));
        has_helped
    }

    /// Takes the lead of a standby that was known to be fresh as of some time when it was asked. Tells
    /// whether the primary has made up for it already.
    pub(crate) fn lead(
        &mut self,
        standby: &mut Standby,
        lead: Lead,
        fresh_as_of: Option<Instant>,
    ) -> bool {
        let baseline = self.baseline.as_ref();
        let Some(baseline) = baseline.filter(|baseline| baseline.timeline == lead.timeline) else {
            return false;
        };
        if standby.incarnation != lead.incarnation {
            standby.leads.clear();
            standby.incarnation = lead.incarnation;
        }
        if standby.leads.len() == MAX_LEADS {
            standby.leads.pop_back();
        }
        standby.leads.push_back((lead, fresh_as_of));
        standby.settle(baseline, &mut self.as_of)
    }
}

impl Standby {
    /// Whether it is known to have shown what the primary does not show (yet).
    pub(crate) fn is_ahead(&self) -> bool {
        !self.leads.is_empty()
    }

    /// Forgets the leads that the primary has made up for. A later one includes those before it.
    fn settle(&mut self, baseline: &Baseline, announced_as_of: &mut Option<Instant>) -> bool {
        for (lead, _) in &mut self.leads {
            lead.txids.retain(|txid| !baseline.shown.shows(*txid));
        }
        let Some(last) = self.leads.iter().rposition(|(lead, _)| lead.txids.is_empty()) else {
            return false;
        };
        for (lead, fresh_as_of) in self.leads.drain(..=last) {
            self.as_of = self.as_of.max(Some(lead.asked_at));
            *announced_as_of = (*announced_as_of).max(fresh_as_of);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn baseline(xmax: Txid, in_progress: &[Txid]) -> Baseline {
        Baseline { timeline: 1, shown: Shown { xmax, in_progress: in_progress.to_vec() } }
    }

    #[test]
    fn a_snapshot_is_read_as_postgres_writes_it() {
        let shown =
            |xmax, in_progress: &[Txid]| Some(Shown { xmax, in_progress: in_progress.to_vec() });
        for (text, expected) in [
            ("731:731:", shown(731, &[])),
            ("731:740:731,735", shown(740, &[731, 735])),
            ("4294968027:4294968030:4294968028", shown(4_294_968_030, &[4_294_968_028])),
            ("731:740", None),
            ("", None),
            ("731:740:x", None),
            ("731::", None),
        ] {
            assert_eq!(Shown::parse(text), expected, "{text}");
        }
    }

    /// What is known of a standby behind such events.
    struct Scene {
        announced: Announced,
        standby: Standby,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let (announced, standby) = Default::default();
            Self { announced, standby, start: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn shows(&mut self, xmax: Txid, in_progress: &[Txid]) {
            let standbys = std::iter::once(&mut self.standby);
            self.announced.show(baseline(xmax, in_progress), standbys);
        }

        /// The standby is asked at a time and fresh as of the second before, and leads by these.
        fn leads(&mut self, at: u64, txids: &[Txid]) {
            self.leads_as(0, at, txids);
        }

        fn leads_as(&mut self, incarnation: u32, at: u64, txids: &[Txid]) {
            let (asked_at, txids) = (self.at(at), txids.to_vec());
            let fresh_as_of = Some(self.at(at - 1));
            let lead = Lead { timeline: 1, incarnation, asked_at, txids };
            self.announced.lead(&mut self.standby, lead, fresh_as_of);
        }

        #[track_caller]
        fn expect(&self, as_of: Option<u64>, is_ahead: bool) {
            assert_eq!(self.standby.as_of, as_of.map(|at| self.at(at)));
            assert_eq!(self.announced.as_of, as_of.map(|at| self.at(at - 1)));
            assert_eq!(self.standby.is_ahead(), is_ahead);
        }
    }

    #[test]
    fn who_shows_nothing_more_than_the_primary_has_been_made_up_for() {
        let mut scene = Scene::new();
        // Nothing is known of the primary.
        scene.leads(1, &[]);
        scene.expect(None, false);
        scene.shows(100, &[90]);
        scene.leads(2, &[]);
        scene.expect(Some(2), false);
    }

    #[test]
    fn a_lead_is_made_up_for_when_the_primary_shows_all_of_it() {
        let mut scene = Scene::new();
        scene.shows(100, &[90, 91]);
        scene.leads(1, &[90, 100, 101]);
        scene.expect(None, true);
        // Beyond the newest that has ended is not shown either, though it is in no list.
        scene.shows(101, &[90]);
        scene.expect(None, true);
        scene.shows(102, &[90]);
        scene.expect(None, true);
        scene.shows(103, &[102]);
        scene.expect(Some(1), false);
    }

    #[test]
    fn a_later_lead_includes_the_earlier_ones_and_not_the_other_way_round() {
        let mut scene = Scene::new();
        scene.shows(100, &[]);
        scene.leads(1, &[100]);
        scene.leads(2, &[100, 101]);
        scene.shows(102, &[101]);
        scene.expect(Some(1), true);
        scene.leads(3, &[101]);
        scene.shows(102, &[]);
        scene.expect(Some(3), false);
    }

    #[test]
    fn leads_that_are_never_made_up_for_are_bounded_and_the_oldest_is_kept() {
        let mut scene = Scene::new();
        scene.shows(100, &[]);
        for second in 1..100 {
            scene.leads(second, &(100..100 + Txid::try_from(second).unwrap()).collect::<Vec<_>>());
        }
        assert_eq!(scene.standby.leads.len(), MAX_LEADS);
        scene.shows(101, &[]);
        scene.expect(Some(1), true);
        scene.shows(200, &[]);
        scene.expect(Some(99), false);
    }

    #[test]
    fn what_a_standby_shows_after_a_restart_says_nothing_of_what_it_showed_before() {
        let mut scene = Scene::new();
        scene.shows(100, &[]);
        scene.leads(1, &[100]);
        scene.leads_as(1, 2, &[101]);
        scene.shows(102, &[100]);
        assert_eq!(scene.standby.as_of, Some(scene.at(2)), "this incarnation's");
        assert_eq!(scene.announced.as_of, Some(scene.at(1)), "its own freshness, not the former's");
    }

    #[test]
    fn numbers_of_another_timeline_mean_nothing() {
        let mut scene = Scene::new();
        scene.announced.show(Baseline { timeline: 2, ..baseline(100, &[]) }, std::iter::empty());
        scene.leads(1, &[]);
        scene.expect(None, false);
    }
}
