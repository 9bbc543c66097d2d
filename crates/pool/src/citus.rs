//! What Citus says of a cluster's nodes: `pg_dist_node` on the coordinator, and each node of itself.
//!
//! Nodes belong to groups: group 0 is the coordinator's, each worker has one of its own, and standbys
//! are in the group of the server that they follow, whether Citus lists them (`noderole = 'secondary'`)
//! or not. A worker answers queries like the coordinator once it has Citus's metadata (`hasmetadata`,
//! `metadatasynced`; Citus documentation, "Metadata tables"). Everything here is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::control::{ControlError, Rows};
use crate::spec::{Address, NodeSpec, RoleHint};

/// The coordinator's group.
pub(crate) const COORDINATOR: u32 = 0;

/// What Citus says of its nodes. Where a node is asked that is no coordinator, it gives what it was
/// told last.
pub(crate) const LISTED: &str = "
SELECT groupid, nodename, nodeport, noderole::text = 'primary', nodecluster, isactive, hasmetadata, metadatasynced
  FROM pg_catalog.pg_dist_node ORDER BY groupid, noderole, nodeid";

/// A row of `pg_dist_node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) group: u32,
    /// Under which pgweir reaches it.
    pub(crate) address: Address,
    pub(crate) is_primary: bool,
    /// The secondary cluster that it belongs to; "default" for primaries.
    pub(crate) cluster: String,
    /// Why it cannot answer queries on distributed tables, if it cannot.
    pub(crate) objection: Option<&'static str>,
}

/// `pg_dist_node` as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) nodes: Vec<Listed>,
}

impl Listing {
    /// Reads the answer to [`LISTED`]. Some addresses are to be replaced by others.
    ///
    /// # Errors
    /// [`ControlError::Unusable`].
    pub(crate) fn read(
        rows: &Rows,
        rewrite: &BTreeMap<Address, Address>,
    ) -> Result<Self, ControlError> {
        let nodes = rows.iter().map(|row| {
            read_row(row, rewrite)
                .ok_or_else(|| ControlError::Unusable(format!("pg_dist_node holds {row:?}")))
        });
        Ok(Self { nodes: nodes.collect::<Result<_, _>>()? })
    }

    /// The servers that the cluster has besides those of its configuration. The coordinator is among
    /// those by definition if it is the one that was asked, whatever Citus calls it.
    pub(crate) fn found(&self, configured: &[NodeSpec], asked: Asked) -> Vec<NodeSpec> {
        let is_configured = |listed: &&Listed| configured.iter().any(|node| listed.is(node));
        let is_asked = |listed: &&Listed| {
            asked == Asked::Coordinator && listed.group == COORDINATOR && listed.is_primary
        };
        self.nodes
            .iter()
            .filter(|listed| !is_configured(listed) && !is_asked(listed))
            .map(|listed| NodeSpec {
                host: listed.address.host.clone(),
                port: listed.address.port,
                weight: 1,
                role: RoleHint::Auto,
            })
            .collect()
    }

    /// What is said of the server at this address.
    pub(crate) fn of(&self, host: &str, port: u16) -> Option<&Listed> {
        let is_it = |listed: &&Listed| (&*listed.address.host, listed.address.port) == (host, port);
        self.nodes.iter().find(is_it)
    }

    /// What is said of the primary of a group.
    pub(crate) fn primary_of(&self, group: u32) -> Option<&Listed> {
        self.nodes.iter().find(|listed| listed.group == group && listed.is_primary)
    }
}

/// Whose answer a listing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Coordinator,
    /// There is no coordinator now.
    AnotherNode,
}

impl Listed {
    fn is(&self, node: &NodeSpec) -> bool {
        self.address.port == node.port && self.address.host.eq_ignore_ascii_case(&node.host)
    }
}

fn read_row(row: &[Option<String>], rewrite: &BTreeMap<Address, Address>) -> Option<Listed> {
    let [group, host, port, is_primary, cluster, is_active, has_metadata, is_synced] = row else {
        return None;
    };
    let truth = |cell: &Option<String>| cell.as_deref().map(|text| text == "t" || text == "true");
    let advertised = Address { host: host.clone()?, port: port.as_deref()?.parse().ok()? };
    let is_primary = truth(is_primary)?;
    // A secondary's own marks are not kept: its primary's are replayed there.
    let objection = match (truth(is_active)?, truth(has_metadata)?, truth(is_synced)?) {
        (false, ..) if is_primary => Some("Citus has it as not active"),
        (_, false, _) if is_primary => Some("it has no metadata of Citus"),
        (.., false) if is_primary => Some("its metadata of Citus is not up to date"),
        _ => None,
    };
    Some(Listed {
        group: group.as_deref()?.parse().ok()?,
        address: rewrite.get(&advertised).cloned().unwrap_or(advertised),
        is_primary,
        cluster: cluster.clone()?,
        objection,
    })
}

/// What a server says of itself as a node of Citus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// When its postmaster started, in microseconds: with the system identifier, no two have the same.
    pub(crate) started: i64,
    /// Absent where the database has no Citus.
    pub(crate) citus: Option<SaidByCitus>,
}

/// The same where it has Citus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaidByCitus {
    pub(crate) group: u32,
    /// Whether it has been told of any node: a server that no coordinator knows says group 0, too.
    pub(crate) knows_nodes: bool,
    /// The secondary cluster whose standbys it reads shards from; `None` if it reads from primaries.
    pub(crate) reads_secondaries_of: Option<String>,
    /// Transactions of Citus's that are prepared here.
    pub(crate) prepared: Vec<String>,
}

/// Transactions that have been prepared for some time.
///
/// A commit on the coordinator is acknowledged when every worker has committed its part, unless a
/// worker could not be told: then Citus commits it there later (`citus.recover_2pc_interval`), and what
/// was acknowledged is missing there until then. Such a part is still prepared at the second look.
#[derive(Debug, Default)]
pub(crate) struct InDoubt {
    /// By name: when it was not there for certain.
    absent_at: BTreeMap<String, Instant>,
    lasting: BTreeSet<String>,
    /// When was asked last.
    asked_at: Option<Instant>,
}

impl InDoubt {
    /// Takes what is prepared as of a time.
    pub(crate) fn note(&mut self, asked_at: Instant, prepared: &[String]) {
        let absent_at = self.asked_at.unwrap_or(asked_at);
        self.absent_at.retain(|name, _| prepared.contains(name));
        self.lasting.retain(|name| prepared.contains(name));
        for name in prepared {
            if self.absent_at.contains_key(name) {
                self.lasting.insert(name.clone());
            } else {
                self.absent_at.insert(name.clone(), absent_at);
            }
        }
        self.asked_at = Some(asked_at);
    }

    /// Every commit acknowledged before this is visible, and nothing can be said of later ones; `None`
    /// if every acknowledged commit is.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.lasting.iter().filter_map(|name| self.absent_at.get(name)).min().copied()
    }

    /// When was asked last.
    pub(crate) const fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    fn rows(rows: &[&str]) -> Rows {
        let cell = |cell: &str| Some(cell.to_owned());
        rows.iter().map(|row| row.split(' ').map(cell).collect()).collect()
    }

    fn configured(nodes: &[(&str, u16)]) -> Vec<NodeSpec> {
        let node = |&(host, port): &(&str, u16)| NodeSpec {
            host: host.to_owned(),
            port,
            weight: 3,
            role: RoleHint::Auto,
        };
        nodes.iter().map(node).collect()
    }

    fn names(found: &[NodeSpec]) -> Vec<String> {
        found.iter().map(|node| format!("{}:{}", node.host, node.port)).collect()
    }

    const NODES: &[&str] = &[
        "0 coord 5432 t default t t t",
        "1 w1 5432 t default t t t",
        "1 w1-standby 5432 f second t f f",
        "2 w2 5433 t default f t t",
        "3 w3 5432 t default t f f",
        "4 w4 5432 t default t t f",
    ];

    fn listing() -> Listing {
        let rewrite = [(address("w2", 5433), address("127.0.0.1", 9702))].into();
        Listing::read(&rows(NODES), &rewrite).unwrap()
    }

    #[test]
    fn nodes_are_found_once_and_under_the_address_that_is_to_be_used() {
        let found =
            |nodes: &[(&str, u16)], asked| names(&listing().found(&configured(nodes), asked));
        let workers = ["w1:5432", "w1-standby:5432", "127.0.0.1:9702", "w3:5432", "w4:5432"];
        let by_another_name = [("10.0.0.1", 5432)];
        assert_eq!(found(&by_another_name, Asked::Coordinator), workers);
        let with_coordinator = found(&by_another_name, Asked::AnotherNode);
        assert_eq!(with_coordinator.first().map(String::as_str), Some("coord:5432"));
        let all = [("COORD", 5432), ("w1", 5432), ("w3", 5432), ("w4", 5432), ("127.0.0.1", 9702)];
        assert_eq!(found(&all, Asked::Coordinator), ["w1-standby:5432"]);
    }

    #[test]
    fn a_worker_answers_when_it_is_active_and_its_metadata_is_up_to_date() {
        let listing = listing();
        let objection = |host: &str, port| listing.of(host, port).map(|listed| listed.objection);
        assert_eq!(objection("w1", 5432), Some(None));
        assert_eq!(objection("w1-standby", 5432), Some(None), "it replays its primary's");
        assert!(objection("127.0.0.1", 9702).unwrap().unwrap().contains("not active"));
        assert!(objection("w3", 5432).unwrap().unwrap().contains("no metadata"));
        assert!(objection("w4", 5432).unwrap().unwrap().contains("not up to date"));
        assert_eq!(objection("w2", 5433), None, "that is not where it is reached");
        assert_eq!(listing.primary_of(1).map(|listed| &*listed.address.host), Some("w1"));
        assert_eq!(listing.of("w1-standby", 5432).unwrap().cluster, "second");
    }

    #[test]
    fn what_is_no_list_of_nodes_is_refused() {
        for row in ["0 coord 5432", "x coord 5432 t default t t t", "0 coord 70000 t default t t t"]
        {
            assert!(Listing::read(&rows(&[row]), &BTreeMap::new()).is_err(), "{row}");
        }
    }

    #[test]
    fn a_transaction_that_stays_prepared_dates_its_node_to_before_it_was_there() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut in_doubt = InDoubt::default();
        in_doubt.note(at(1), &[]);
        assert_eq!(in_doubt.since(), None);
        in_doubt.note(at(2), &names(&["a"]));
        assert_eq!(in_doubt.since(), None, "it may be on its way");
        in_doubt.note(at(3), &names(&["b"]));
        assert_eq!(in_doubt.since(), None, "others come and go");
        in_doubt.note(at(4), &names(&["b", "c"]));
        assert_eq!(in_doubt.since(), Some(at(2)));
        in_doubt.note(at(5), &names(&["b", "c"]));
        assert_eq!(in_doubt.since(), Some(at(2)));
        in_doubt.note(at(6), &names(&["c"]));
        assert_eq!(in_doubt.since(), Some(at(3)));
        in_doubt.note(at(7), &[]);
        assert_eq!(in_doubt.since(), None);
        assert_eq!(in_doubt.asked_at(), Some(at(7)));
    }
}
