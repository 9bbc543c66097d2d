//! All nodes of a cluster, group by group.
//!
//! A streaming cluster is one group, and its [`Tracker`] is all there is. A Citus cluster has a group
//! for the coordinator and one for each worker; each has a primary and perhaps standbys, and so a
//! tracker of its own: who leads a group, and how fresh its standbys are, is a question of that
//! group's write-ahead log. The primary of the coordinator's group is the cluster's primary. Those of
//! the others are workers: primaries to PostgreSQL, to us servers that may read. Because freshness is a
//! time of one clock, standbys of all groups can be compared with what a client has written or seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::announced::{Baseline, Word};
use crate::citus::{COORDINATOR, InDoubt, Listed, Listing, Said};
use crate::node::{Node, NodeId};
use crate::spec::ClusterKind;
use crate::topology::{Health, NodeView, Role, Shard, Standing, Topology};
use crate::tracker::{Failure, Observation, Tracker};

/// The group of a server that belongs to none.
const STRAY: u32 = u32::MAX;

/// All nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Fleet {
    nodes: Vec<Arc<Node>>,
    /// By group. That of the coordinator, or of a streaming cluster's only group, is always there.
    groups: BTreeMap<u32, Tracker>,
    citus: Option<Citus>,
    generation: u64,
    drawn: Vec<Drawn>,
}

/// What a generation stands for beyond what those of the groups do.
type Drawn = (NodeId, Role, Health, Standing, bool, Option<Arc<Shard>>);

/// What is known of the nodes besides.
#[derive(Debug, Default)]
struct Citus {
    /// `None` until the coordinator has been asked.
    listing: Option<Arc<Listing>>,
    pages: HashMap<NodeId, Page>,
}

/// What one node has said.
#[derive(Debug, Default)]
struct Page {
    said: Option<Said>,
    system: Option<i64>,
    in_doubt: InDoubt,
    group: u32,
}

impl Fleet {
    pub(crate) fn new(kind: &ClusterKind, nodes: &[Arc<Node>]) -> Self {
        let citus = match kind {
            ClusterKind::Streaming => None,
            ClusterKind::Citus { .. } => Some(Citus::default()),
        };
        let groups = BTreeMap::from([(COORDINATOR, Tracker::new(nodes))]);
        let mut fleet =
            Self { nodes: nodes.to_vec(), groups, citus, generation: 0, drawn: Vec::new() };
        // What everybody begins with: the first answer is news then.
        fleet.draw();
        fleet
    }

    /// Takes over a new list of nodes: those that stay keep what is known of them.
    pub(crate) fn adopt(&mut self, nodes: &[Arc<Node>]) {
        self.nodes = nodes.to_vec();
        if let Some(citus) = &mut self.citus {
            citus.pages.retain(|id, _| nodes.iter().any(|node| node.id() == *id));
        }
        self.regroup();
    }

    /// Takes over what Citus says of the nodes now.
    pub(crate) fn heed(&mut self, listing: Arc<Listing>) {
        if let Some(citus) = &mut self.citus {
            citus.listing = Some(listing);
            self.regroup();
        }
    }

    /// A node's place.
    pub(crate) fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|known| known.id() == node)
    }

    /// Takes what came of a probe of one node, and what the node has said of itself to Citus.
    pub(crate) fn record(
        &mut self,
        index: usize,
        outcome: Result<Observation, Failure>,
        said: Option<Said>,
        now: Instant,
    ) {
        let Some(node) = self.nodes.get(index).map(|node| node.id()) else { return };
        if let (Some(citus), Ok(observation)) = (&mut self.citus, &outcome) {
            let page = citus.pages.entry(node).or_default();
            page.note(observation, said);
            // Before it says anything in a group that is not its own.
            self.regroup();
        }
        let group = self.group_of(node);
        let Some(tracker) = self.groups.get_mut(&group) else { return };
        if let Some(place) = tracker.place(node) {
            tracker.record(place, outcome, now);
        }
    }

    /// Takes what a node says of the transactions that it shows: [`Tracker::hear`].
    pub(crate) fn hear(&mut self, node: NodeId, word: Word) -> bool {
        let group = self.group_of(node);
        let Some(tracker) = self.groups.get_mut(&group) else { return false };
        tracker.place(node).is_some_and(|place| tracker.hear(place, word))
    }

    /// What the primary showed last, for its standbys to be held against. In a Citus cluster no such
    /// comparison is made: a transaction has many primaries there.
    pub(crate) fn baseline(&self) -> Option<Arc<Baseline>> {
        let home = self.groups.get(&COORDINATOR).filter(|_| self.citus.is_none());
        home.and_then(Tracker::baseline)
    }

    /// The nodes that need not be asked in a round that begins now.
    pub(crate) fn spared(&self, now: Instant) -> Vec<NodeId> {
        self.groups.values().flat_map(|tracker| tracker.spared(now)).collect()
    }

    /// Whether every replica that answers is fresh as of `at`, or there is nothing to wait for.
    pub(crate) fn all_fresh_as_of(&self, at: Instant) -> bool {
        self.groups.values().all(|tracker| tracker.all_fresh_as_of(at))
    }

    /// Whether a node is being watched more closely.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.groups.values().any(Tracker::is_uncertain)
    }

    /// Draws the snapshot.
    pub(crate) fn draw(&mut self) -> Topology {
        let Some(citus) = &self.citus else {
            return self.groups.get_mut(&COORDINATOR).map(Tracker::draw).unwrap_or_default();
        };
        let mut drawn: BTreeMap<u32, Topology> =
            self.groups.iter_mut().map(|(group, tracker)| (*group, tracker.draw())).collect();
        let home = drawn.get(&COORDINATOR).cloned().unwrap_or_default();
        let leader = home.primary().map(|view| view.node.id());
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let group = citus.group_of(node.id());
            let Some(topology) = drawn.get_mut(&group) else { continue };
            let Some(place) = topology.place(node.id()) else { continue };
            let is_primary = topology.primary == Some(place);
            let Some(view) = topology.nodes.get(place) else { continue };
            nodes.push(citus.view(view.clone(), group, is_primary));
        }
        citus.finish(&mut nodes);
        let primary = leader.and_then(|id| nodes.iter().position(|view| view.node.id() == id));
        let stamps: Vec<Drawn> = nodes.iter().map(stamp).collect();
        if stamps != self.drawn {
            self.generation += 1;
            self.drawn = stamps;
        }
        // Whoever else reads, workers go on doing so.
        Topology { nodes, primary, generation: self.generation, primary_share: 0, ..home }
    }

    fn group_of(&self, node: NodeId) -> u32 {
        self.citus.as_ref().map_or(COORDINATOR, |citus| citus.group_of(node))
    }

    /// Finds the group of each node anew. A node that changes its group begins anew there.
    fn regroup(&mut self) {
        let Some(citus) = &mut self.citus else {
            if let Some(only) = self.groups.get_mut(&COORDINATOR) {
                only.adopt(&self.nodes);
            }
            return;
        };
        let mut members: BTreeMap<u32, Vec<Arc<Node>>> =
            BTreeMap::from([(COORDINATOR, Vec::new())]);
        for node in &self.nodes {
            let group = citus.find_group(node);
            citus.pages.entry(node.id()).or_default().group = group;
            members.entry(group).or_default().push(Arc::clone(node));
        }
        self.groups.retain(|group, _| members.contains_key(group));
        for (group, nodes) in members {
            match self.groups.get_mut(&group) {
                Some(tracker) if tracker.is_of(&nodes) => {}
                Some(tracker) => tracker.adopt(&nodes),
                None => {
                    self.groups.insert(group, Tracker::new(&nodes));
                }
            }
        }
    }
}

fn stamp(view: &NodeView) -> Drawn {
    let draining = view.node.is_draining();
    (view.node.id(), view.role, view.health, view.standing, draining, view.shard.clone())
}

impl Page {
    fn note(&mut self, observation: &Observation, said: Option<Said>) {
        self.system = observation.server.system;
        let Some(said) = said else { return };
        if let Some(citus) = &said.citus
            && let Some(asked_at) = observation.asked_at()
        {
            self.in_doubt.note(asked_at, &citus.prepared);
        }
        self.said = Some(said);
    }

    fn has_citus(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.citus.is_some())
    }

    /// What tells a server from all others.
    fn identity(&self) -> Option<(i64, i64)> {
        Some((self.system?, self.said.as_ref()?.started))
    }
}

impl Citus {
    fn group_of(&self, node: NodeId) -> u32 {
        self.pages.get(&node).map_or(COORDINATOR, |page| page.group)
    }

    fn listed(&self, node: &Node) -> Option<&Listed> {
        self.listing.as_ref()?.of(node.host(), node.port())
    }

    /// The group of a node: as Citus lists it, else as it says itself. One that has not said anything
    /// is taken for the coordinator's: that is what the configuration names.
    fn find_group(&self, node: &Node) -> u32 {
        if let Some(listed) = self.listed(node) {
            return listed.group;
        }
        let page = self.pages.get(&node.id());
        let Some(said) = page.and_then(|page| page.said.as_ref()) else { return COORDINATOR };
        match &said.citus {
            // It knows of no node, as one that was never added or has been removed. Another does.
            Some(citus) if citus.group == COORDINATOR && !citus.knows_nodes => {
                let others = self.pages.iter().filter(|(id, _)| **id != node.id());
                let mut others = others.filter_map(|(_, page)| page.said.as_ref()?.citus.as_ref());
                let is_other = others.any(|other| other.group == COORDINATOR && other.knows_nodes);
                if is_other { STRAY } else { COORDINATOR }
            }
            Some(citus) => citus.group,
            None => COORDINATOR,
        }
    }

    /// A node as its group sees it, and as the cluster does.
    fn view(&self, mut view: NodeView, group: u32, is_primary: bool) -> NodeView {
        let mut shard = Shard { group, barred: None, is_in_doubt: false };
        let page = self.pages.get(&view.node.id());
        if group != COORDINATOR && view.role == Role::Primary {
            view.role = Role::Worker;
            view.fresh_as_of = page.and_then(|page| page.in_doubt.asked_at());
            if !is_primary {
                shard.barred = Some("it does not lead its group now".into());
            }
        }
        if view.role == Role::Worker
            && let Some(since) = page.and_then(|page| page.in_doubt.since())
        {
            view.fresh_as_of = Some(since);
            shard.is_in_doubt = true;
        }
        shard.barred = shard.barred.or_else(|| self.objection(&view, group).map(Into::into));
        view.shard = Some(Arc::new(shard));
        view
    }

    /// Why a node that is not of the coordinator's group must not be read from.
    fn objection(&self, view: &NodeView, group: u32) -> Option<String> {
        let page = self.pages.get(&view.node.id())?;
        if group == COORDINATOR || page.said.is_none() {
            return None;
        }
        let Some(listing) = &self.listing else {
            return Some("the coordinator has not said yet which nodes there are".to_owned());
        };
        if !page.has_citus() {
            return Some("the monitor's database has no Citus here".to_owned());
        }
        let said = page.said.as_ref().and_then(|said| said.citus.as_ref()).map(|said| said.group);
        if said != Some(group) && group != STRAY {
            return Some(format!("Citus lists it in group {group}, and it says another"));
        }
        match listing.primary_of(group) {
            None => Some("Citus does not list it".to_owned()),
            Some(primary)
                if view.role == Role::Worker && self.listed(&view.node) != Some(primary) =>
            {
                Some("Citus lists another server in its place".to_owned())
            }
            Some(primary) => primary.objection.map(str::to_owned),
        }
    }

    /// What takes all nodes together: a server that is reached in two ways serves once; what a standby
    /// reads from other standbys is as old as they are; a transaction in doubt is so on standbys, too.
    fn finish(&self, nodes: &mut [NodeView]) {
        let ages = self.ages(nodes);
        let in_doubt = self.in_doubt(nodes);
        let mut seen: HashMap<(i64, i64), Arc<Node>> = HashMap::new();
        for view in nodes {
            let Some(page) = self.pages.get(&view.node.id()) else { continue };
            let Some(mut shard) = view.shard.as_deref().cloned() else { continue };
            if view.role == Role::Replica {
                let doubt = in_doubt.get(&shard.group).copied();
                view.fresh_as_of =
                    view.fresh_as_of.map(|fresh| doubt.map_or(fresh, |at| fresh.min(at)));
                if let Some(cluster) = page.reads_from() {
                    let age = ages.get(cluster).copied().flatten();
                    view.fresh_as_of = age.and_then(|age| view.fresh_as_of.map(|own| own.min(age)));
                }
            }
            let twin = page
                .identity()
                .map(|who| Arc::clone(seen.entry(who).or_insert_with(|| Arc::clone(&view.node))));
            if let Some(twin) = twin.filter(|twin| !Arc::ptr_eq(twin, &view.node)) {
                view.role = Role::Fenced;
                shard.barred = Some(format!("is the same server as {}", twin.name()).into());
            }
            view.why = view.why.clone().or_else(|| shard.barred.as_deref().map(Arc::from));
            view.shard = Some(Arc::new(shard));
        }
    }

    /// By secondary cluster, as of when its standbys show everything; `None` while that is not known.
    fn ages(&self, nodes: &[NodeView]) -> HashMap<String, Option<Instant>> {
        let mut ages: HashMap<String, Option<Instant>> = HashMap::new();
        for view in nodes {
            let Some(listed) = self.listed(&view.node).filter(|listed| !listed.is_primary) else {
                continue;
            };
            let age = ages.entry(listed.cluster.clone()).or_insert(view.fresh_as_of);
            *age = (*age).min(view.fresh_as_of);
        }
        ages
    }

    /// By group, since when something acknowledged may be missing.
    fn in_doubt(&self, nodes: &[NodeView]) -> HashMap<u32, Instant> {
        let of = |view: &NodeView| {
            let shard = view.shard.as_ref().filter(|shard| shard.is_in_doubt)?;
            Some((shard.group, view.fresh_as_of?))
        };
        nodes.iter().filter_map(of).collect()
    }
}

impl Page {
    /// The secondary cluster whose standbys it reads shards from.
    fn reads_from(&self) -> Option<&str> {
        self.said.as_ref()?.citus.as_ref()?.reads_secondaries_of.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;
    use crate::citus::SaidByCitus;
    use crate::freshness::{DEFAULT_WAL_WRITER_DELAY, PrimaryPosition};
    use crate::lsn::{Lsn, WalLayout};
    use crate::spec::{Address, NodeSpec, RoleHint};
    use crate::tracker::{Answer, ServerInfo};

    struct Scene {
        fleet: Fleet,
        nodes: Vec<Arc<Node>>,
        now: Instant,
    }

    fn node(name: &str, id: usize) -> Arc<Node> {
        let spec = NodeSpec { host: name.to_owned(), port: 5432, weight: 1, role: RoleHint::Auto };
        let id = NodeId(u32::try_from(id).unwrap());
        Arc::new(Node::new(id, &spec, Arc::new(Notify::new())))
    }

    fn listed(group: u32, host: &str, is_primary: bool) -> Listed {
        let address = Address { host: host.to_owned(), port: 5432 };
        let cluster = if is_primary { "default" } else { "second" }.to_owned();
        Listed { group, address, is_primary, cluster, objection: None }
    }

    fn by_citus(group: u32) -> SaidByCitus {
        SaidByCitus { group, knows_nodes: true, reads_secondaries_of: None, prepared: Vec::new() }
    }

    impl Scene {
        fn new(names: &[&str]) -> Self {
            let nodes: Vec<_> = names.iter().enumerate().map(|(id, name)| node(name, id)).collect();
            let kind = ClusterKind::Citus { rewrite: BTreeMap::new() };
            Self { fleet: Fleet::new(&kind, &nodes), nodes, now: Instant::now() }
        }

        fn list(&mut self, nodes: &[(u32, &str, bool)]) {
            let nodes = nodes.iter().map(|&(group, host, primary)| listed(group, host, primary));
            self.fleet.heed(Arc::new(Listing { nodes: nodes.collect() }));
        }

        fn observe(
            &mut self,
            index: usize,
            answer: Answer,
            system: i64,
            citus: Option<SaidByCitus>,
        ) {
            let server = ServerInfo {
                version: 150_018,
                system: Some(system),
                layout: WalLayout::default(),
                wal_writer_delay: DEFAULT_WAL_WRITER_DELAY,
                connection_limit: 97,
            };
            let latency = Duration::from_millis(1);
            let observation =
                Observation { answer, latency, server, is_troubled: false, word: None };
            let said = Said { started: i64::try_from(index).unwrap(), citus };
            self.fleet.record(index, Ok(observation), Some(said), self.now);
        }

        fn primary(&mut self, index: usize, end: u64, citus: SaidByCitus) -> Instant {
            self.now += Duration::from_millis(100);
            let asked_at = self.now;
            let position = PrimaryPosition {
                asked_at,
                answered_at: asked_at,
                insert: Lsn(end),
                flush: Lsn(end),
            };
            let system = i64::from(citus.group);
            self.observe(index, Answer::Primary { timeline: 1, position }, system, Some(citus));
            asked_at
        }

        fn replica(&mut self, index: usize, replay: u64, citus: SaidByCitus) {
            let answer = Answer::Replica { timeline: Some(1), replay: Some(Lsn(replay)) };
            let system = i64::from(citus.group);
            self.observe(index, answer, system, Some(citus));
        }

        fn roles(&mut self) -> Vec<&'static str> {
            self.fleet.draw().nodes.iter().map(|view| view.role.as_str()).collect()
        }

        fn barred(&mut self, index: usize) -> Option<String> {
            let shard = self.fleet.draw().nodes[index].shard.clone().unwrap();
            shard.barred.as_deref().map(str::to_owned)
        }

        fn fresh(&mut self, index: usize) -> Option<Instant> {
            self.fleet.draw().nodes[index].fresh_as_of
        }
    }

    #[test]
    fn every_group_has_its_own_primary_and_the_coordinators_is_the_clusters() {
        let mut scene = Scene::new(&["c", "w1", "w2"]);
        scene.list(&[(0, "coordinator", true), (1, "w1", true), (2, "w2", true)]);
        scene.primary(1, 900, by_citus(1));
        scene.primary(2, 950, by_citus(2));
        scene.primary(0, 100, by_citus(0));
        assert_eq!(scene.roles(), ["primary", "worker", "worker"]);
        assert_eq!(scene.fleet.draw().primary, Some(0));
        assert_eq!(scene.barred(1), None);
        // Of a worker that is away the coordinator takes no notice.
        let now = scene.now;
        scene.fleet.record(1, Err(Failure::Gone("refused".to_owned())), None, now);
        assert_eq!(scene.fleet.draw().primary, Some(0));
    }

    #[test]
    fn standbys_follow_the_log_of_their_own_group() {
        let mut scene = Scene::new(&["c", "c-standby", "w1", "w1-standby"]);
        scene.list(&[(0, "c", true), (1, "w1", true)]);
        scene.replica(3, 6999, by_citus(1));
        let coordinator = scene.primary(0, 100, by_citus(0));
        let worker = scene.primary(2, 7000, by_citus(1));
        scene.replica(1, 100, by_citus(0));
        assert_eq!(scene.roles(), ["primary", "replica", "worker", "replica"]);
        assert_eq!((scene.fresh(1), scene.fresh(3)), (Some(coordinator), None));
        scene.replica(3, 7000, by_citus(1));
        assert_eq!(scene.fresh(3), Some(worker));
        let (c_standby, w_standby) = (scene.barred(1), scene.barred(3));
        assert_eq!((c_standby, w_standby), (None, None));
    }

    #[test]
    fn a_node_that_citus_does_not_list_serves_nobody() {
        let mut scene = Scene::new(&["c", "w1", "w1-standby", "fresh"]);
        scene.primary(0, 100, by_citus(0));
        scene.primary(1, 100, by_citus(1));
        scene.replica(2, 100, by_citus(1));
        assert!(scene.barred(1).unwrap().contains("has not said yet"));
        scene.list(&[(0, "c", true), (1, "w1", true)]);
        assert_eq!(scene.barred(1), None);
        // One that was never added takes itself for a coordinator, and does not become it.
        scene.primary(3, 999, SaidByCitus { knows_nodes: false, ..by_citus(0) });
        assert_eq!(scene.fleet.draw().primary, Some(0));
        assert!(scene.barred(3).unwrap().contains("does not list it"));
        // One that is removed goes, and so do its standbys.
        assert_eq!(scene.barred(2), None);
        scene.list(&[(0, "c", true)]);
        assert!(scene.barred(1).unwrap().contains("does not list it"));
        assert!(scene.barred(2).unwrap().contains("does not list it"));
        // Another takes its place.
        scene.list(&[(0, "c", true), (1, "elsewhere", true)]);
        assert!(scene.barred(1).unwrap().contains("another server in its place"));
    }

    #[test]
    fn a_server_that_is_reached_in_two_ways_serves_once() {
        let mut scene = Scene::new(&["c", "w1", "w1-by-another-name"]);
        scene.list(&[(0, "c", true), (1, "w1", true), (1, "w1-by-another-name", false)]);
        scene.primary(0, 100, by_citus(0));
        scene.primary(1, 100, by_citus(1));
        let position = PrimaryPosition {
            asked_at: scene.now,
            answered_at: scene.now,
            insert: Lsn(100),
            flush: Lsn(100),
        };
        let answer = Answer::Primary { timeline: 1, position };
        scene.observe(2, answer, 1, Some(by_citus(1)));
        if let Some(citus) = &mut scene.fleet.citus {
            let said = citus.pages[&NodeId(1)].said.clone();
            citus.pages.get_mut(&NodeId(2)).unwrap().said = said;
        }
        assert_eq!(scene.roles()[2], "fenced");
        assert!(scene.barred(2).unwrap().contains("the same server as w1:5432"));
    }

    #[test]
    fn a_transaction_in_doubt_dates_a_worker_and_its_standbys() {
        let prepared = || SaidByCitus { prepared: vec!["citus_0_1".into()], ..by_citus(1) };
        let mut scene = Scene::new(&["c", "w1", "w1-standby"]);
        scene.list(&[(0, "c", true), (1, "w1", true)]);
        scene.primary(0, 100, by_citus(0));
        let before = scene.primary(1, 100, by_citus(1));
        let seen = scene.primary(1, 200, prepared());
        scene.replica(2, 200, by_citus(1));
        assert_eq!((scene.fresh(1), scene.fresh(2)), (Some(seen), Some(seen)));
        let lasts = scene.primary(1, 200, prepared());
        scene.replica(2, 200, by_citus(1));
        assert!(scene.fleet.draw().nodes[1].shard.as_ref().unwrap().is_in_doubt);
        assert_eq!((scene.fresh(1), scene.fresh(2)), (Some(before), Some(before)));
        let gone = scene.primary(1, 300, by_citus(1));
        assert!(gone > lasts);
        assert_eq!(scene.fresh(1), Some(gone));
        assert!(!scene.fleet.draw().nodes[1].shard.as_ref().unwrap().is_in_doubt);
    }

    #[test]
    fn a_standby_that_reads_from_standbys_is_as_old_as_they_are() {
        let reads = || SaidByCitus { reads_secondaries_of: Some("second".into()), ..by_citus(0) };
        let mut scene = Scene::new(&["c", "c2", "w1", "w2"]);
        scene.list(&[(0, "c", true), (0, "c2", false), (1, "w1", true), (1, "w2", false)]);
        scene.primary(0, 100, by_citus(0));
        let worker = scene.primary(2, 100, by_citus(1));
        let later = scene.primary(0, 100, by_citus(0));
        scene.replica(1, 100, reads());
        assert_eq!(scene.fresh(1), None, "the other has not been heard");
        scene.replica(3, 100, by_citus(1));
        assert!(later > worker);
        assert_eq!((scene.fresh(1), scene.fresh(3)), (Some(worker), Some(worker)));
    }

    #[test]
    fn nodes_come_and_go_and_the_others_are_not_forgotten() {
        let mut scene = Scene::new(&["c", "w1"]);
        scene.list(&[(0, "c", true), (1, "w1", true)]);
        scene.primary(0, 100, by_citus(0));
        scene.primary(1, 100, by_citus(1));
        let generation = scene.fleet.draw().generation;
        scene.primary(1, 200, by_citus(1));
        assert_eq!(scene.fleet.draw().generation, generation, "freshness is no news");
        scene.list(&[(0, "c", true), (1, "w1", true), (2, "w2", true)]);
        scene.nodes.push(node("w2", 2));
        let nodes = scene.nodes.clone();
        scene.fleet.adopt(&nodes);
        assert_eq!(scene.roles(), ["primary", "worker", "unknown"]);
        scene.primary(2, 100, by_citus(2));
        assert_eq!(scene.roles(), ["primary", "worker", "worker"]);
        assert!(scene.fleet.draw().generation > generation);
        scene.fleet.adopt(&[Arc::clone(&nodes[0]), Arc::clone(&nodes[2])]);
        assert_eq!(scene.roles(), ["primary", "worker"]);
        assert_eq!(scene.fleet.draw().primary, Some(0));
    }
}
