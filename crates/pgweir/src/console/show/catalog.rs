//! SHOW CATALOG: what is known of what is in the databases.

use std::sync::Arc;

use crate::catalogs::Condition;
use crate::console::table::{Row, int8, text};
use crate::route::Router;

use super::Show;

pub(super) const CATALOG: Show = Show {
    name: "catalog",
    about: "what is known of the objects in each database that has clients",
    columns: &[
        text("database"),
        text("dbname"),
        text("state"),
        int8("objects"),
        int8("age_seconds"),
        int8("clients"),
        int8("failures"),
        text("error"),
    ],
    rows: |view| view.gateway.routers().iter().map(|(name, router)| row(name, router)).collect(),
};

fn row(name: &str, router: &Arc<Router>) -> Row {
    let catalog = router.catalog();
    let condition = match catalog.condition() {
        Condition::Known => "known",
        Condition::Changing => "changing",
        Condition::Unread => "unread",
    };
    let known = catalog.known();
    vec![
        name.to_owned().into(),
        catalog.dbname().to_owned().into(),
        condition.into(),
        known.catalog.len().into(),
        known.read_at.map(|read_at| read_at.elapsed().as_secs()).into(),
        catalog.clients().into(),
        catalog.failures().into(),
        catalog.error().into(),
    ]
}
