//! The status page: nodes, pools and what binds clients as they are now, for people.

use std::fmt::Write as _;
use std::time::Instant;

use pgweir_pool::NodeView;
use serde_json::Value as Json;

use crate::console::json::Listing;
use crate::gateway::Gateway;

/// Rows of a table that the page shows, at most.
const MAX_ROWS: usize = 100;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>pgweir</title>\
<meta name=viewport content=\"width=device-width\"><meta http-equiv=refresh content=5><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#123}\
table{border-collapse:collapse;width:100%;margin-bottom:1.5rem}th,td{text-align:left;\
padding:.3rem .6rem;border-bottom:1px solid #ccd;font-variant-numeric:tabular-nums}\
td{overflow-wrap:anywhere}caption{text-align:left;font-weight:600;padding:.5rem 0}</style>";

/// A table of the page: the console's, with the columns that people look at first.
struct Section {
    title: &'static str,
    table: &'static str,
    columns: &'static [&'static str],
}

const SECTIONS: [Section; 4] = [
    Section {
        title: "Nodes",
        table: "nodes",
        columns: &[
            "cluster",
            "node",
            "role",
            "group",
            "health",
            "reads",
            "writes",
            "staleness_us",
            "in_flight",
            "connections",
            "why_not",
        ],
    },
    Section {
        title: "Pools",
        table: "pools",
        columns: &[
            "database",
            "user",
            "cl_active",
            "cl_waiting",
            "cl_pinned",
            "sv_active",
            "sv_idle",
            "maxwait_us",
            "pool_mode",
            "trouble",
        ],
    },
    Section {
        title: "Pins",
        table: "pins",
        columns: &["id", "user", "database", "reason", "seconds", "node", "application_name"],
    },
    Section {
        title: "Routes",
        table: "routes",
        columns: &[
            "database",
            "class",
            "reason",
            "to_replicas",
            "to_primary",
            "self_heals",
            "statement",
        ],
    },
];

/// The whole page.
pub(super) fn render(gateway: &Gateway) -> String {
    let mut page = String::from(HEAD);
    let _ = write!(
        page,
        "<h1>pgweir {}</h1><p>{} clients</p>",
        env!("CARGO_PKG_VERSION"),
        gateway.client_count()
    );
    for section in &SECTIONS {
        if let Some(listing) = Listing::find(section.table) {
            put(&mut page, section, &listing.rows(gateway));
        }
    }
    page.push_str(
        "<p><a href=/metrics>metrics</a> · <a href=/readyz>readiness</a> · \
         <a href=/api/v1/openapi.json>API</a></p></html>\n",
    );
    page
}

fn put(page: &mut String, section: &Section, rows: &[Json]) {
    let _ = write!(page, "<table><caption>{}</caption><tr>", section.title);
    for column in section.columns {
        let _ = write!(page, "<th>{}", column.replace('_', " "));
    }
    page.push_str("</tr>");
    for row in rows.iter().take(MAX_ROWS) {
        page.push_str("<tr>");
        for column in section.columns {
            let cell = row.get(*column).map(text).unwrap_or_default();
            let _ = write!(page, "<td>{}", escape(&cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
    if rows.len() > MAX_ROWS {
        let (more, table) = (rows.len() - MAX_ROWS, section.table);
        let _ = write!(page, "<p><a href=/api/v1/{table}>{more} more</a></p>");
    }
}

/// A value as people read it.
fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
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
