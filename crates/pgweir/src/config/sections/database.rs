//! `[databases.NAME]`

use super::{Consistency, Pool, Routing};
use crate::config::spec::{available, section};

section! {
    /// A database name that clients may ask for. Without any, every name is served by the only cluster.
    pub struct Database {
        /// The cluster that serves it; may be left out when there is only one.
        cluster: Option<String> = None => available().example("\"main\"");
        /// Its name on the servers; left out, the same.
        dbname: Option<String> = None => available().example("\"app\"");
        /// What differs from `[pool]`, and from its cluster's, for this database.
        pool: Pool = Pool::default() => available().overriding("pool");
        /// What differs from `[routing]` for this database.
        routing: Routing = Routing::default() => available().overriding("routing");
        /// What differs from `[consistency]` for this database.
        consistency: Consistency = Consistency::default() => available().overriding("consistency");
    }
}
