//! `[consistency]`

use std::time::Duration;

use crate::config::spec::{available, nested, section, words};

section! {
    /// How old the answer to a read may be. May be overridden in `[databases.NAME.consistency]`.
    pub struct Consistency {
        /// Whose writes a read is sure to see.
        level: ConsistencyLevel = ConsistencyLevel::Session => available();
        /// A replica further behind serves nobody.
        max_staleness: Duration = Duration::from_secs(10) => available().within(1, 31_536_000_000);
    }
}

nested!(Consistency);

words! {
    /// Whose writes a read is sure to see.
    pub enum ConsistencyLevel {
        /// Nobody's, sooner than max_staleness.
        Eventual = "eventual" => available();
        /// The client's own; and what it has read it goes on seeing.
        Session = "session" => available();
        /// Everybody's through this pgweir.
        Global = "global" => available();
    }
}
