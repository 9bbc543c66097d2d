//! The questions that a probe asks a node of Citus besides those that it asks every server.

use std::time::{Duration, Instant};

use crate::citus::{Said, SaidByCitus};
use crate::control::{ControlError, ProbeConnection};

/// Whether the database has Citus, and when the postmaster was started. Neither changes often.
const CITUS: &str = "
SELECT to_regclass('pg_catalog.pg_dist_local_group') IS NOT NULL,
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";

/// How long the answer to [`CITUS`] is believed.
const CITUS_AGE: Duration = Duration::from_secs(10);

/// What a node of Citus says of itself. The names of its prepared transactions begin with `citus_`.
const SAID: &str = "
SELECT (SELECT groupid FROM pg_dist_local_group LIMIT 1),
       EXISTS (SELECT FROM pg_dist_node),
       CASE WHEN current_setting('citus.use_secondary_nodes', true) = 'always'
            THEN current_setting('citus.cluster_name', true) END,
       ARRAY(SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'citus\\_%')";

/// What is known of one connection's server.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    known: Option<(bool, i64, Instant)>,
}

impl Survey {
    /// Asks.
    ///
    /// # Errors
    /// [`ControlError`].
    pub(crate) async fn ask(&mut self, connection: &ProbeConnection) -> Result<Said, ControlError> {
        let (has_citus, started) = match self.known {
            Some((has_citus, started, at)) if at.elapsed() < CITUS_AGE => (has_citus, started),
            _ => {
                let statement = connection.prepare_cached(CITUS).await?;
                let row = connection.query_one(&statement, &[]).await?;
                let known = (row.try_get(0)?, row.try_get(1)?);
                self.known = Some((known.0, known.1, Instant::now()));
                known
            }
        };
        let citus = if has_citus { Some(said(connection).await?) } else { None };
        Ok(Said { started, citus })
    }
}

async fn said(connection: &ProbeConnection) -> Result<SaidByCitus, ControlError> {
    let statement = connection.prepare_cached(SAID).await?;
    let row = connection.query_one(&statement, &[]).await?;
    let group: Option<i32> = row.try_get(0)?;
    Ok(SaidByCitus {
        group: group.and_then(|group| u32::try_from(group).ok()).unwrap_or_default(),
        knows_nodes: row.try_get(1)?,
        reads_secondaries_of: row.try_get(2)?,
        prepared: row.try_get(3)?,
    })
}
