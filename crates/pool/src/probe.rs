//! The questions that a probe asks a server, and what its answers mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use deadpool_postgres::tokio_postgres::error::SqlState;
use deadpool_postgres::tokio_postgres::types::PgLsn;
use deadpool_postgres::tokio_postgres::{self as pg, Row};

use tokio::time::timeout;

use crate::announced::{Baseline, Lead, Shown, Txid, Word};
use crate::citus::Said;
use crate::control::{ControlError, ProbeConnection, connect, discard};
use crate::freshness::{DEFAULT_WAL_WRITER_DELAY, PrimaryPosition};
use crate::lsn::{Lsn, WalLayout};
use crate::node::Node;
use crate::survey::Survey;
use crate::tracker::{Answer, Failure, Observation, ServerInfo};

/// The transactions that a standby shows and its primary did not: of those that the primary had in progress
/// (`$1`), and of those from its snapshot's end on (`$2`), which no list has. Unknown where these are too many.
/// A standby does not list what is in progress; so each is asked for, below its own snapshot's end: the numbers
/// beyond are in the future there, and an error.
macro_rules! lead {
    () => {
        "(SELECT CASE WHEN xmax - $2::int8 <= 4096 THEN ARRAY(
            SELECT txid
              FROM (SELECT unnest($1::int8[]) UNION ALL SELECT generate_series($2, xmax - 1)) AS more (txid)
             WHERE CASE WHEN txid < xmax THEN txid_status(txid) = 'committed' END) END
       FROM (SELECT txid_snapshot_xmax(txid_current_snapshot()) AS xmax OFFSET 0) AS own)"
    };
}

/// What a primary shows, between two probes; nothing of one that is a primary no longer.
const SHOWN: &str =
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN txid_current_snapshot()::text END";

/// A standby's lead, between two probes.
const LEAD: &str = concat!("SELECT CASE WHEN pg_is_in_recovery() THEN ", lead!(), " END");

/// How a server is, in one question that a primary and a standby answer alike.
///
/// The insert position is read before the flush position. A primary's timeline is in the name of the
/// file that it writes (manual: 9.27.3); a standby's is that of what it receives or, while it
/// receives nothing, of what it has replayed.
const STATE: &str = concat!(
    "
SELECT recovery,
       CASE WHEN NOT recovery THEN pg_current_wal_insert_lsn() END,
       CASE WHEN NOT recovery THEN pg_current_wal_flush_lsn() END,
       CASE WHEN NOT recovery THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END,
       CASE WHEN recovery THEN pg_last_wal_replay_lsn() END,
       CASE WHEN recovery THEN (SELECT received_tli FROM pg_stat_wal_receiver) END,
       current_setting('wal_writer_delay'),
       CASE WHEN NOT recovery THEN txid_current_snapshot()::text END,
       CASE WHEN recovery THEN ",
    lead!(),
    " END
  FROM (SELECT pg_is_in_recovery() AS recovery) AS server"
);

/// The timeline of a standby that receives nothing (manual: 9.27.11 \"Control Data Functions\").
const REPLAYED_TIMELINE: &str = "
SELECT greatest(checkpoint.timeline_id, recovery.min_recovery_end_timeline)
  FROM pg_control_checkpoint() AS checkpoint, pg_control_recovery() AS recovery";

/// What identifies the cluster that a server belongs to.
const SYSTEM: &str = "SELECT system_identifier FROM pg_control_system()";

/// What seldom changes.
const SETTINGS: &str = "
SELECT name, setting, unit FROM pg_settings
 WHERE name IN ('server_version_num', 'max_connections', 'superuser_reserved_connections',
                'reserved_connections', 'wal_block_size', 'wal_segment_size')";

/// How long the answer to [`SETTINGS`] is believed.
const SETTINGS_AGE: Duration = Duration::from_secs(10);
/// How long a connection is kept without looking whether the node's name leads elsewhere by now.
const NAME_AGE: Duration = Duration::from_secs(5);
/// Connections that the monitor itself has and may have to a server, set aside from what the server
/// allows: one for probes, some for questions.
const MONITOR_CONNECTIONS: u32 = 3;
/// A timer that rings later than that part of its time shows that this process did not run.
const LATE_PART: u32 = 2;

/// The monitor's eyes on one server.
pub(crate) struct Prober {
    node: Arc<Node>,
    pool: Pool,
    timeout: Duration,
    /// Whether the server is one of a Citus cluster.
    is_of_citus: bool,
    session: Option<Session>,
    /// When the node's name was looked up last to see whether it leads elsewhere.
    looked_up_at: Option<Instant>,
}

/// A question between two probes.
#[derive(Debug, Clone)]
pub(crate) enum Inquiry {
    /// Which transactions the primary shows.
    Shown,
    /// Which ones a standby shows besides.
    Lead(Arc<Baseline>),
}

/// A connection, and what was learned over it.
struct Session {
    node: Arc<Node>,
    connection: ProbeConnection,
    server: ServerInfo,
    learned_at: Instant,
    /// [`Node::moves`] before it was opened.
    moves: u32,
    survey: Option<Survey>,
    said: Option<Said>,
}

impl Prober {
    pub(crate) const fn new(node: Arc<Node>, pool: Pool, timeout: Duration) -> Self {
        Self { node, pool, timeout, is_of_citus: false, session: None, looked_up_at: None }
    }

    /// The server is one of a Citus cluster: it is asked what it says of itself there, too.
    pub(crate) const fn of_citus(mut self, is_of_citus: bool) -> Self {
        self.is_of_citus = is_of_citus;
        self
    }

    /// What the server has said of itself to Citus at the last probe.
    pub(crate) fn take_said(&mut self) -> Option<Said> {
        self.session.as_mut()?.said.take()
    }

    /// Asks the server how it is.
    ///
    /// A connection that broke says nothing yet (somebody may have terminated it): only what a new
    /// one finds counts.
    ///
    /// A standby's lead is told over the baseline, if there is one.
    pub(crate) async fn probe(
        &mut self,
        baseline: Option<&Baseline>,
    ) -> Result<Observation, Failure> {
        self.look_up();
        let suspicions = self.node.suspicions();
        let is_troubled = self.node.is_suspected();
        match self.observe_in_time(baseline).await {
            Ok(observation) => {
                self.node.settle_suspicions(suspicions);
                Ok(Observation { is_troubled, ..observation })
            }
            Err(error) => {
                self.hang_up();
                Err(failure(error))
            }
        }
    }

    /// Observes, and gives up in time. Time in which this very process did not run (it was stopped, or
    /// its machine was) is not held against the server, whose answer may be there, unread.
    async fn observe_in_time(
        &mut self,
        baseline: Option<&Baseline>,
    ) -> Result<Observation, ControlError> {
        let limit = self.timeout;
        let begun = Instant::now();
        let observing = self.observe(baseline);
        tokio::pin!(observing);
        let mut outcome = timeout(limit, &mut observing).await;
        if outcome.is_err() && begun.elapsed() > limit + limit / LATE_PART {
            outcome = timeout(limit, &mut observing).await;
        }
        outcome.unwrap_or(Err(ControlError::Timeout(limit)))
    }

    async fn observe(&mut self, baseline: Option<&Baseline>) -> Result<Observation, ControlError> {
        let moves = self.node.moves();
        if self.session.as_ref().is_some_and(|session| session.moves != moves) {
            self.hang_up();
        }
        if let Some(session) = &mut self.session {
            match session.observe(baseline).await {
                Ok(observation) => return Ok(observation),
                Err(_) => self.lose(),
            }
        }
        let connection = connect(&self.pool).await?;
        let server = ServerInfo::learn(&connection).await?;
        let survey = self.is_of_citus.then(Survey::default);
        let learned_at = Instant::now();
        let node = Arc::clone(&self.node);
        let session = Session { node, connection, server, learned_at, moves, survey, said: None };
        self.session.insert(session).observe(baseline).await
    }

    /// Asks the server for a word between two probes; `None` where it has none, or its connection is lost,
    /// which the next probe tells more about.
    pub(crate) async fn ask_for(&mut self, inquiry: &Inquiry) -> Result<Option<Word>, Failure> {
        let Some(session) = &mut self.session else { return Ok(None) };
        match timeout(self.timeout, session.ask_for(inquiry)).await {
            Ok(Ok(word)) => Ok(word),
            Ok(Err(_)) => {
                self.lose();
                Ok(None)
            }
            Err(_) => {
                self.hang_up();
                Err(failure(ControlError::Timeout(self.timeout)))
            }
        }
    }

    /// The connection broke: the server may have been restarted, and what it shows next may be older.
    fn lose(&mut self) {
        self.hang_up();
        self.node.reincarnate();
    }

    fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            discard(session.connection);
        }
    }

    /// Lets somebody look up the node's name, from time to time. Nobody waits for that: a name server that
    /// does not answer says nothing about the node.
    fn look_up(&mut self) {
        if self.looked_up_at.is_none_or(|at| at.elapsed() > NAME_AGE) {
            self.looked_up_at = Some(Instant::now());
            let node = Arc::clone(&self.node);
            tokio::spawn(async move { node.look_up().await });
        }
    }
}

/// What a probe that failed says about its server.
fn failure(error: ControlError) -> Failure {
    let why = error.to_string();
    match error {
        ControlError::Timeout(_) | ControlError::NoWay(_) => Failure::Silent(why),
        ControlError::Refused { code, .. } if code == SqlState::TOO_MANY_CONNECTIONS.code() => {
            Failure::Crowded(why)
        }
        _ => Failure::Gone(why),
    }
}

impl Session {
    async fn ask_for(&mut self, inquiry: &Inquiry) -> Result<Option<Word>, ControlError> {
        match inquiry {
            Inquiry::Shown => {
                let statement = self.connection.prepare_cached(SHOWN).await?;
                let row = self.connection.query_one(&statement, &[]).await?;
                Ok(read_shown(&row, 0)?.map(Word::Shown))
            }
            Inquiry::Lead(baseline) => {
                let statement = self.connection.prepare_cached(LEAD).await?;
                let lead = self.lead_over(baseline);
                let Shown { xmax, in_progress } = &baseline.shown;
                let row = self.connection.query_one(&statement, &[in_progress, xmax]).await?;
                Ok(read_lead(&row, 0, &lead)?.map(Word::Lead))
            }
        }
    }

    /// A lead that is about to be asked for.
    fn lead_over(&self, baseline: &Baseline) -> Lead {
        Lead {
            timeline: baseline.timeline,
            incarnation: self.node.incarnation(),
            asked_at: Instant::now(),
            txids: Vec::new(),
        }
    }

    async fn observe(&mut self, baseline: Option<&Baseline>) -> Result<Observation, ControlError> {
        if self.learned_at.elapsed() > SETTINGS_AGE {
            self.server = ServerInfo::learn(&self.connection).await?;
            self.learned_at = Instant::now();
        }
        let statement = self.connection.prepare_cached(STATE).await?;
        let lead = baseline.map(|baseline| self.lead_over(baseline));
        let asked_at = Instant::now();
        let in_progress = baseline.map(|baseline| &baseline.shown.in_progress);
        let xmax = baseline.map(|baseline| baseline.shown.xmax);
        let row = self.connection.query_one(&statement, &[&in_progress, &xmax]).await?;
        let latency = asked_at.elapsed();
        let mut answer = read_state(&row, asked_at, asked_at + latency)?;
        // It decides when a mark may be lowered, and can change at any time.
        self.server.wal_writer_delay = read_duration(row.try_get(6)?)?;
        if let Answer::Replica { timeline: timeline @ None, .. } = &mut answer {
            *timeline = replayed_timeline(&self.connection).await?;
        }
        if let Some(survey) = &mut self.survey {
            self.said = Some(survey.ask(&self.connection).await?);
        }
        let word = match (&answer, &lead) {
            (Answer::Primary { .. }, _) => read_shown(&row, 7)?.map(Word::Shown),
            (Answer::Replica { .. }, Some(lead)) => read_lead(&row, 8, lead)?.map(Word::Lead),
            (Answer::Replica { .. }, None) => None,
        };
        let server = self.server.clone();
        Ok(Observation { answer, latency, server, is_troubled: false, word })
    }
}

fn read_state(row: &Row, asked_at: Instant, answered_at: Instant) -> Result<Answer, ControlError> {
    let lsn = |cell| -> Result<Option<Lsn>, pg::Error> {
        Ok(row.try_get::<_, Option<PgLsn>>(cell)?.map(|lsn| Lsn(lsn.into())))
    };
    if row.try_get(0)? {
        let timeline: Option<i32> = row.try_get(5)?;
        let timeline = timeline.and_then(|timeline| u32::try_from(timeline).ok());
        return Ok(Answer::Replica { timeline, replay: lsn(4)? });
    }
    let file: Option<&str> = row.try_get(3)?;
    let timeline = file.and_then(|file| u32::from_str_radix(file, 16).ok());
    let (Some(timeline), Some(insert), Some(flush)) = (timeline, lsn(1)?, lsn(2)?) else {
        let reason = "the server did not say where its write-ahead log is".to_owned();
        return Err(ControlError::Unusable(reason));
    };
    let position = PrimaryPosition { asked_at, answered_at, insert, flush };
    Ok(Answer::Primary { timeline, position })
}

fn read_shown(row: &Row, cell: usize) -> Result<Option<Shown>, ControlError> {
    Ok(row.try_get::<_, Option<&str>>(cell)?.and_then(Shown::parse))
}

fn read_lead(row: &Row, cell: usize, lead: &Lead) -> Result<Option<Lead>, ControlError> {
    let txids: Option<Vec<Txid>> = row.try_get(cell)?;
    Ok(txids.map(|txids| Lead { txids, ..*lead }))
}

/// A duration as `current_setting` shows it: a number and the largest unit that divides it (manual:
/// 20.1.1 "Parameter Names and Values").
fn read_duration(shown: &str) -> Result<Duration, ControlError> {
    let digits = shown.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let millis = match shown.trim_start_matches(|digit: char| digit.is_ascii_digit()) {
        "ms" | "" => Some(1),
        "s" => Some(1000),
        "min" => Some(60_000),
        _ => None,
    };
    match (digits.parse::<u64>(), millis) {
        (Ok(number), Some(millis)) => Ok(Duration::from_millis(number.saturating_mul(millis))),
        _ => Err(ControlError::Unusable(format!("\"{shown}\" is not a duration"))),
    }
}

/// The answer to a question that not every role may ask; `None` where this one may not.
async fn if_allowed(connection: &ProbeConnection, sql: &str) -> Result<Option<Row>, ControlError> {
    let answer = async {
        let statement = connection.prepare_cached(sql).await?;
        connection.query_one(&statement, &[]).await
    };
    match answer.await.map_err(ControlError::from) {
        Ok(row) => Ok(Some(row)),
        Err(error) if error.is_insufficient_privilege() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn replayed_timeline(connection: &ProbeConnection) -> Result<Option<u32>, ControlError> {
    let Some(row) = if_allowed(connection, REPLAYED_TIMELINE).await? else {
        return Ok(None);
    };
    let timeline: Option<i32> = row.try_get(0)?;
    Ok(timeline.and_then(|timeline| u32::try_from(timeline).ok()))
}

impl ServerInfo {
    async fn learn(connection: &ProbeConnection) -> Result<Self, ControlError> {
        let system = match if_allowed(connection, SYSTEM).await? {
            Some(row) => Some(row.try_get(0)?),
            None => None,
        };
        let statement = connection.prepare_cached(SETTINGS).await?;
        let rows = connection.query(&statement, &[]).await?;
        let mut settings = Settings::default();
        for row in &rows {
            settings.note(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        }
        Ok(settings.into_info(system))
    }
}

/// The answer to [`SETTINGS`], in base units.
#[derive(Debug, Default)]
struct Settings {
    version: i32,
    max_connections: u32,
    reserved: u32,
    layout: WalLayout,
}

impl Settings {
    /// Takes one setting. Sizes come in bytes or (the segment size before PostgreSQL 11) pages.
    fn note(&mut self, name: &str, value: &str, unit: Option<&str>) {
        let number: u64 = value.parse().unwrap_or_default();
        let small = u32::try_from(number).unwrap_or(u32::MAX);
        match name {
            "server_version_num" => self.version = value.parse().unwrap_or_default(),
            "max_connections" => self.max_connections = small,
            "superuser_reserved_connections" | "reserved_connections" => {
                self.reserved = self.reserved.saturating_add(small);
            }
            "wal_block_size" => self.layout.page = number,
            "wal_segment_size" => {
                let bytes = if unit == Some("8kB") { 8192 } else { 1 };
                self.layout.segment = number.saturating_mul(bytes);
            }
            _ => {}
        }
    }

    fn into_info(self, system: Option<i64>) -> ServerInfo {
        let free = self.max_connections.saturating_sub(self.reserved);
        ServerInfo {
            version: self.version,
            system,
            layout: self.layout,
            wal_writer_delay: DEFAULT_WAL_WRITER_DELAY,
            connection_limit: free.saturating_sub(MONITOR_CONNECTIONS).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_base_units() {
        let mut settings = Settings::default();
        for (name, value, unit) in [
            ("server_version_num", "150018", None),
            ("max_connections", "100", None),
            ("superuser_reserved_connections", "3", None),
            ("reserved_connections", "2", None),
            ("wal_block_size", "8192", None),
            ("wal_segment_size", "16777216", Some("B")),
        ] {
            settings.note(name, value, unit);
        }
        let expected = ServerInfo {
            version: 150_018,
            system: Some(7),
            layout: WalLayout::default(),
            wal_writer_delay: Duration::from_millis(200),
            connection_limit: 92,
        };
        assert_eq!(settings.into_info(Some(7)), expected);
    }

    #[test]
    fn durations_are_read_as_they_are_shown() {
        for (shown, expected) in
            [("200ms", Some(200)), ("10s", Some(10_000)), ("1min", Some(60_000)), ("1", Some(1))]
        {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(read_duration(shown).ok(), expected, "{shown}");
        }
        for shown in ["", "s", "-1s", "1h30", "1.5s", "1 s"] {
            assert!(read_duration(shown).is_err(), "{shown}");
        }
    }
}
