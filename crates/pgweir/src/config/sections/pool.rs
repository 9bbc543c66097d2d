//! `[pool]`

use std::time::Duration;

use crate::config::fields::Fields;
use crate::config::scope::Scope;
use crate::config::spec::{available, nested, section, words};

section! {
    /// Server connections and how clients share them.
    /// May be overridden in `[clusters.NAME.pool]` and `[databases.NAME.pool]`.
    pub struct Pool checked by check {
        /// When a client gives its server connection back.
        mode: PoolMode = PoolMode::Transaction => available();
        /// Server connections per (database, user, node).
        size: u32 = 20 => available().within(1, 100_000);
        /// Idle ones that are kept ready.
        min_idle: u32 = 0 => available();
        /// How long a client waits for a free one before it gets 53300.
        checkout_timeout: Duration = Duration::from_secs(5) => available().within(1, 86_400_000);
        /// How long connecting and logging in to a node may take.
        connect_timeout: Duration = Duration::from_secs(5) => available().within(1, 86_400_000);
        /// One that nobody has used for so long is closed; "0s" = never.
        idle_timeout: Option<Duration> = Some(Duration::from_secs(600)) => available();
        /// One as old as this is closed when it comes back; "0s" = never.
        max_lifetime: Option<Duration> = Some(Duration::from_secs(3600)) => available();
        /// Prepared statements kept per server connection; the least recently used goes first.
        prepared_statements: u32 = 1000 => available().within(1, 1_000_000);
    }
}

nested!(Pool);

words! {
    /// When a client gives its server connection back.
    pub enum PoolMode {
        /// At the end of each transaction.
        Transaction = "transaction" => available();
        /// When it leaves.
        Session = "session" => available();
        /// After each statement; transactions of several are refused.
        Statement = "statement" => available();
    }
}

fn check(pool: &mut Pool, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    let Pool { size, min_idle, .. } = *pool;
    if min_idle > size && scope.is_sure("min_idle") && scope.is_sure("size") {
        let name = if fields.has("min_idle") { "min_idle" } else { "size" };
        let message = format!("min_idle {min_idle} is more than size {size}");
        fields.report(name, scope, message, format!("at most min_idle = {size}"));
    }
}
