//! The status page: the nodes as they are now, for people.

use std::fmt::Write as _;
use std::time::Instant;

use pgweir_pool::{Cluster, NodeView};

use crate::gateway::Gateway;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>pgweir</title>\
<meta name=viewport content=\"width=device-width\"><meta http-equiv=refresh content=2><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#123}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem;\
border-bottom:1px solid #ccd}caption{text-align:left;font-weight:600;padding:.5rem 0}\
td:nth-child(n+4){font-variant-numeric:tabular-nums}</style>";

/// The whole page.
pub(super) fn render(gateway: &Gateway) -> String {
    let mut page = String::from(HEAD);
    let _ = write!(
        page,
        "<h1>pgweir {}</h1><p>{} clients</p>",
        env!("CARGO_PKG_VERSION"),
        gateway.client_count()
    );
    for (name, cluster) in gateway.now().clusters() {
        table(&mut page, name, cluster);
    }
    page.push_str("<p><a href=/metrics>metrics</a> · <a href=/readyz>readiness</a></p></html>\n");
    page
}

fn table(page: &mut String, name: &str, cluster: &Cluster) {
    let _ = write!(
        page,
        "<table><caption>Cluster {}</caption><tr><th>Node<th>Role<th>Health<th>Staleness\
         <th>At work<th>Why not</tr>",
        escape(name)
    );
    for view in &cluster.topology().nodes {
        let _ = write!(
            page,
            "<tr><td>{}<td>{:?}<td>{:?}<td>{}<td>{}<td>{}</tr>",
            escape(view.node.name()),
            view.role,
            view.health,
            staleness(view),
            view.node.in_flight(),
            escape(view.why.as_deref().unwrap_or_default()),
        );
    }
    page.push_str("</table>");
}

/// How far a replica may be behind, as text; nothing for others.
pub(crate) fn staleness(view: &NodeView) -> String {
    match view.fresh_as_of {
        Some(fresh) if view.role == pgweir_pool::Role::Replica => {
            format!("{} ms", Instant::now().saturating_duration_since(fresh).as_millis())
        }
        _ => String::new(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
