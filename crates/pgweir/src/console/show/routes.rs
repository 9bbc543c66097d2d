//! SHOW ROUTES: what became of each kind of statement, and why.

use crate::console::table::{Row, int8, text};
use crate::routes::Route;

use super::{Show, View};

pub(super) const ROUTES: Show = Show {
    name: "routes",
    about: "statements by their form without literals: class, reason, and where they went",
    columns: &[
        text("database"),
        text("class"),
        text("reason"),
        text("target"),
        int8("to_replicas"),
        int8("to_primary"),
        int8("self_heals"),
        int8("blocked"),
        text("nodes"),
        text("last_seen"),
        text("statement"),
    ],
    rows: |view| view.gateway.routes.all().iter().map(|route| row(view, route)).collect(),
};

fn row(view: &View<'_>, route: &Route) -> Row {
    let nodes: Vec<String> =
        route.by_node().map(|(node, count)| format!("{node}={count}")).collect();
    let kind = &route.kind;
    vec![
        kind.database.to_string().into(),
        kind.class.into(),
        kind.reason.to_string().into(),
        kind.target.into(),
        route.to_replicas().into(),
        route.to_primary().into(),
        route.healed().into(),
        route.refused().into(),
        nodes.join(", ").into(),
        view.clock.second(view.gateway.routes.last_seen(route)).into(),
        kind.statement.to_string().into(),
    ]
}
