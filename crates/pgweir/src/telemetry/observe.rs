//! The part of the metrics that is read off running parts when somebody asks.

use std::time::{Instant, UNIX_EPOCH};

use metrics::Label;
use pgweir_pool::{Cluster, Health, Role};

use crate::gateway::Gateway;
use crate::telemetry::metrics::Observed;

/// Brings the metrics up to date and renders them.
pub(crate) fn observe(gateway: &Gateway) -> String {
    let observed = Observed::default();
    let clients = observed.gauge("pgweir_clients", "Clients connected.", Vec::new());
    clients.set(count(gateway.client_count()));
    for (name, cluster) in gateway.now().clusters() {
        observe_nodes(&observed, name, cluster);
        observe_pools(&observed, name, cluster);
    }
    observe_cache(&observed, gateway);
    observe_reloads(&observed, gateway);
    observe_catalogs(&observed, gateway);
    gateway.metrics.render(&observed)
}

fn observe_nodes(observed: &Observed, name: &str, cluster: &Cluster) {
    let now = Instant::now();
    for view in &cluster.topology().nodes {
        let labels = |more: Option<Label>| {
            let mut labels = vec![
                Label::new("cluster", name.to_owned()),
                Label::new("node", view.node.name().to_owned()),
            ];
            labels.extend(more);
            labels
        };
        for (role, word) in [(Role::Primary, "primary"), (Role::Replica, "replica")] {
            let help = "Whether the node has this role.";
            let labels = labels(Some(Label::new("role", word)));
            observed.gauge("pgweir_node_role", help, labels).set(truth(view.role == role));
        }
        if let Some(shard) = &view.shard {
            let help = "Whether the node has this role.";
            let labels_of_worker = labels(Some(Label::new("role", "worker")));
            let is_worker = truth(view.role == Role::Worker);
            observed.gauge("pgweir_node_role", help, labels_of_worker).set(is_worker);
            let help = "The node's group in its Citus cluster; 0 is the coordinator's.";
            let gauge = observed.gauge("pgweir_node_group", help, labels(None));
            gauge.set(f64::from(shard.group));
        }
        let help = "Whether the node answers its probes.";
        observed
            .gauge("pgweir_node_up", help, labels(None))
            .set(truth(!matches!(view.health, Health::Unknown | Health::Down)));
        for health in Health::ALL {
            let help = "Whether the node is in this state of health.";
            let labels = labels(Some(Label::new("health", health.as_str())));
            observed.gauge("pgweir_node_health", help, labels).set(truth(view.health == health));
        }
        let help = "Seconds since the moment whose commits are all visible on the replica.";
        if let Some(fresh) = view.fresh_as_of.filter(|_| view.role == Role::Replica) {
            observed
                .gauge("pgweir_node_staleness_seconds", help, labels(None))
                .set(now.saturating_duration_since(fresh).as_secs_f64());
        }
        let help = "Statements sent to servers, by node and class.";
        for (class, count) in ["read", "write"].into_iter().zip(view.node.counts()) {
            let node = Label::new("node", view.node.name().to_owned());
            let labels = vec![node, Label::new("class", class)];
            // A server of two clusters has the statements of both.
            observed.counter("pgweir_queries_total", help, labels).increment(count);
        }
        let help = "Server connections at work for clients.";
        observed
            .gauge("pgweir_node_in_flight", help, labels(None))
            .set(f64::from(view.node.in_flight()));
        let help = "Server connections that belong to one client each, for replication or LISTEN.";
        observed
            .gauge("pgweir_node_connections_apart", help, labels(None))
            .set(f64::from(view.node.connections_apart()));
    }
}

fn observe_pools(observed: &Observed, name: &str, cluster: &Cluster) {
    for pools in cluster.pool_sets() {
        for stats in pools.stats() {
            let labels = |state: Option<&'static str>| {
                let mut labels = vec![
                    Label::new("cluster", name.to_owned()),
                    Label::new("database", pools.database().to_owned()),
                    Label::new("user", pools.user().to_owned()),
                    Label::new("node", stats.node.name().to_owned()),
                ];
                labels.extend(state.map(|state| Label::new("state", state)));
                labels
            };
            let help = "Server connections by state.";
            let states = [("in_use", stats.in_use), ("idle", stats.idle), ("apart", stats.apart)];
            for (state, value) in states {
                observed
                    .gauge("pgweir_pool_connections", help, labels(Some(state)))
                    .set(f64::from(value));
            }
            let help = "Clients waiting for a server connection.";
            observed.gauge("pgweir_pool_waiting", help, labels(None)).set(f64::from(stats.waiting));
            let help = "Server connections opened.";
            observed
                .counter("pgweir_pool_connects_total", help, labels(None))
                .absolute(stats.connects);
            let help = "Attempts to open a server connection that failed.";
            observed
                .counter("pgweir_pool_connect_failures_total", help, labels(None))
                .absolute(stats.connect_failures);
            let help = "Server connections leased to clients.";
            observed
                .counter("pgweir_pool_checkouts_total", help, labels(None))
                .absolute(stats.checkouts);
        }
    }
}

fn observe_reloads(observed: &Observed, gateway: &Gateway) {
    let ledger = gateway.reloads.ledger().clone();
    let help = "Configurations taken over, or refused as a whole.";
    for (result, value) in [("accepted", ledger.accepted), ("refused", ledger.refused)] {
        let labels = vec![Label::new("result", result)];
        observed.counter("pgweir_config_reloads_total", help, labels).absolute(value);
    }
    let help = "When the configuration in force was taken over, in seconds since 1970.";
    let since = ledger.last_success.duration_since(UNIX_EPOCH).unwrap_or_default();
    observed
        .gauge("pgweir_config_last_success_timestamp_seconds", help, Vec::new())
        .set(since.as_secs_f64());
    let help = "Whether the file on disk is refused, and an earlier configuration is in force.";
    let is_refused = !ledger.problems.is_empty();
    observed.gauge("pgweir_config_file_refused", help, Vec::new()).set(truth(is_refused));
}

fn observe_cache(observed: &Observed, gateway: &Gateway) {
    let counters = gateway.cache_counters();
    let help = "Look-ups of verdicts on SQL texts.";
    let rows = [
        ("exact_hit", counters.exact_hits),
        ("normalised_hit", counters.normalised_hits),
        ("miss", counters.misses),
    ];
    for (result, value) in rows {
        let labels = vec![Label::new("result", result)];
        observed.counter("pgweir_classifier_cache_lookups_total", help, labels).absolute(value);
    }
}

fn observe_catalogs(observed: &Observed, gateway: &Gateway) {
    for (database, router) in gateway.routers() {
        let labels = || vec![Label::new("database", database.clone())];
        let known = router.catalog().known();
        let help =
            "Whether what is in the database is known; until it is, doubt goes to the primary.";
        observed.gauge("pgweir_catalog_known", help, labels()).set(truth(known.catalog.is_read()));
        let help = "Objects of the database that are known.";
        observed.gauge("pgweir_catalog_objects", help, labels()).set(count(known.catalog.len()));
        let help = "Attempts to read the database's catalog that failed.";
        observed
            .counter("pgweir_catalog_failures_total", help, labels())
            .absolute(router.catalog().failures());
    }
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
