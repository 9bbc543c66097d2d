//! Statements replayed in order, on a primary and on its hot standby: the standby is the judge.
//!
//! Outside of transaction blocks every statement goes to the standby first, in a session that has been
//! told the same settings, and then to the primary. What the standby answers as the primary does could
//! have run there. What is labelled as a read has to.

use std::collections::HashMap;
use std::fmt::Write;

use pgweir_classifier::catalog::facts::{QUESTIONS, Row};
use pgweir_classifier::{
    Access, Catalog, Control, Definition, Discard, Effect, Label, Options, Reason, classify,
};
use pgweir_sandbox::{Node, Sandbox};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::script::Statement;

/// How many missed statements of a reason the report shows.
const SHOWN: usize = 4;

/// What was found out about a number of statements.
#[derive(Debug, Default)]
pub(crate) struct Score {
    /// Statements that were sent.
    pub(crate) statements: usize,
    /// Those that the standby answered as the primary did.
    pub(crate) possible: usize,
    /// Those of them that are labelled as reads.
    pub(crate) taken: usize,
    /// Labelled as reads, with another answer from the standby.
    pub(crate) wrong: Vec<String>,
    /// Possible, and not taken: by reason.
    pub(crate) missed: std::collections::BTreeMap<String, Vec<String>>,
}

impl Score {
    pub(crate) fn share(&self) -> f64 {
        self.taken as f64 * 100.0 / self.possible.max(1) as f64
    }

    pub(crate) fn report(&self) -> String {
        let mut text = format!(
            "{} statements, {} the standby could answer, {} of them labelled as reads ({:.2} %), {} wrong\n",
            self.statements,
            self.possible,
            self.taken,
            self.share(),
            self.wrong.len()
        );
        let mut missed: Vec<_> = self.missed.iter().collect();
        missed.sort_by_key(|(_, statements)| std::cmp::Reverse(statements.len()));
        for (reason, statements) in missed {
            let _ = writeln!(text, "  {:5} missed: {reason}, as", statements.len());
            for sql in statements.iter().take(SHOWN) {
                let _ = writeln!(text, "          {:?}", sql.chars().take(160).collect::<String>());
            }
        }
        for wrong in &self.wrong {
            let _ = writeln!(text, "wrong: {wrong}");
        }
        text
    }
}

/// A database on both servers, and what is known of it.
pub(crate) struct Replay {
    primary: Client,
    standby: Client,
    /// Reads the catalog, as the program does.
    reader: Client,
    /// None when something has been defined since.
    catalog: Option<Catalog>,
    in_block: bool,
    /// State that cannot leave its connection ties the session to the primary.
    is_pinned: bool,
    standard_strings: bool,
    /// What was prepared in SQL, and what executing it needs.
    prepared: HashMap<String, Access>,
}

async fn connect(sandbox: &Sandbox, node: &Node, database: &str, options: &str) -> Client {
    let config = format!(
        "host={} port={} user={} dbname={database} application_name=oracle options='{options}'",
        node.host(),
        node.port(),
        sandbox.superuser()
    );
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Replay {
    pub(crate) async fn start(sandbox: &Sandbox, database: &str, options: &str) -> Self {
        Self {
            primary: connect(sandbox, sandbox.primary(), database, options).await,
            standby: connect(sandbox, sandbox.replica(0), database, options).await,
            reader: connect(sandbox, sandbox.primary(), database, "-c search_path=pg_catalog")
                .await,
            catalog: None,
            in_block: false,
            is_pinned: false,
            standard_strings: true,
            prepared: HashMap::new(),
        }
    }

    async fn read_catalog(&mut self) {
        if self.catalog.is_none() {
            let rows: Vec<Row> = rows(&self.reader.simple_query(QUESTIONS).await.unwrap());
            self.catalog = Some(Catalog::builtin().with_database(rows).unwrap());
        }
    }

    fn label(&self, sql: &str) -> Label {
        let options =
            Options { standard_conforming_strings: self.standard_strings, ..Options::default() };
        classify(sql.as_bytes(), options, self.catalog.as_ref().unwrap())
    }

    /// Sends one statement where it belongs and scores it.
    pub(crate) async fn send(&mut self, statement: &Statement, score: &mut Score) {
        // Without it a commit would be acknowledged before the standby shows it.
        if statement.sql.contains("synchronous_commit") {
            return;
        }
        self.read_catalog().await;
        let mut label = self.label(&statement.sql);
        self.execute(&mut label);
        score.statements += 1;
        let is_copy_in = label.reason == Reason::CopyFrom
            && statement.sql.to_ascii_lowercase().contains("from stdin");
        if is_copy_in && statement.data.is_none() {
            return;
        }
        if let Some(data) = &statement.data {
            copy_in(&self.primary, &statement.sql, data).await;
            return;
        }
        let controls = label.statements.iter().any(|one| one.control != Control::None);
        if self.in_block || self.is_pinned || controls {
            answer(&self.primary, &statement.sql).await;
        } else if label.access == Access::Neutral {
            answer(&self.standby, &statement.sql).await;
            answer(&self.primary, &statement.sql).await;
        } else {
            self.compare(&statement.sql, &label, score).await;
        }
        self.follow(&label, &statement.sql).await;
    }

    /// EXECUTE is what it executes.
    fn execute(&mut self, label: &mut Label) {
        let is_up_to_it = label.reason == Reason::SqlExecute && label.access == Access::Primary;
        for effect in label.statements.iter().flat_map(|one| &one.effects) {
            match effect {
                Effect::Prepare { name, body, .. } => {
                    self.prepared.insert(name.clone(), body.access);
                }
                Effect::Execute(name) | Effect::Plan(name) if is_up_to_it => {
                    label.access = self.prepared.get(name).copied().unwrap_or(label.access);
                }
                _ => {}
            }
        }
    }

    async fn compare(&mut self, sql: &str, label: &Label, score: &mut Score) {
        // What a standby would do to itself, and what only shows who was asked.
        let acts = [
            "pg_reload",
            "alter system",
            "checkpoint",
            "pg_terminate",
            "pg_cancel",
            "pg_stat_reset",
        ];
        let lower = sql.to_ascii_lowercase();
        let is_read = label.access == Access::Read;
        let standby = if is_read || !acts.iter().any(|word| lower.contains(word)) {
            answer(&self.standby, sql).await
        } else {
            "not sent".to_owned()
        };
        let primary = answer(&self.primary, sql).await;
        let same = standby == primary || varies(&lower) && failed(&standby) == failed(&primary);
        let could = same && !failed(&primary);
        score.possible += usize::from(could);
        match (is_read, same) {
            (true, true) => score.taken += usize::from(could),
            (true, false) => {
                score.wrong.push(format!("{sql}\n  primary: {primary}\n  standby: {standby}"))
            }
            (false, _) if could => {
                let reason = label.reason.to_string();
                score.missed.entry(reason).or_default().push(sql.to_owned());
            }
            _ => {}
        }
    }

    /// The standby's session gets what the primary's has set.
    async fn carry_settings(&self) {
        if let Ok(messages) = self.primary.simple_query(SETTINGS).await
            && let Some(Some(statements)) = rows(&messages).first().and_then(|row| row.first())
        {
            answer(&self.standby, statements).await;
        }
    }

    /// What the statement has changed for those behind it.
    async fn follow(&mut self, label: &Label, sql: &str) {
        for one in &label.statements {
            match one.control {
                Control::Begin(_) => self.in_block = true,
                Control::Commit { chain } | Control::Rollback { chain } => self.in_block = chain,
                Control::PrepareTransaction => self.in_block = false,
                _ => {}
            }
            for effect in &one.effects {
                match effect {
                    Effect::Pin(_) => self.is_pinned = true,
                    Effect::Discard(Discard::All) => self.is_pinned = false,
                    _ => {}
                }
            }
            if one.definition != Definition::Nothing {
                self.catalog = None;
            }
        }
        if label.unparsed {
            self.catalog = None;
        }
        let ended = label
            .statements
            .iter()
            .any(|one| matches!(one.control, Control::Commit { .. } | Control::Rollback { .. }));
        let hides = label.effects().any(|effect| *effect == Effect::RanHiddenCode);
        if !self.in_block && (ended || hides) {
            self.carry_settings().await;
        }
        let sets = label.effects().any(|effect| matches!(effect, Effect::RanHiddenCode));
        if sets || sql.to_ascii_lowercase().contains("standard_conforming_strings") {
            let shown = answer(&self.primary, "SHOW standard_conforming_strings").await;
            self.standard_strings = shown.contains("on");
        }
    }
}

/// Says again what a session has set.
const SETTINGS: &str = "
    SELECT string_agg(statement, '; ' ORDER BY place, statement) FROM (
        SELECT 0 AS place, 'RESET SESSION AUTHORIZATION; RESET ALL' AS statement
        UNION ALL SELECT 2, format('SET %I TO %s', name, CASE WHEN name ~ 'search_path|DateStyle|local_preload' THEN setting
                                   ELSE quote_literal(setting) END)
          FROM pg_settings WHERE source = 'session' AND name NOT IN ('session_authorization', 'role', 'transaction_isolation',
               'transaction_read_only', 'transaction_deferrable') AND setting <> ''
        UNION ALL SELECT 3, format('SET SESSION AUTHORIZATION %I', session_user)
        UNION ALL SELECT 4, format('SET ROLE %I', current_user) WHERE current_user <> session_user) s";

fn rows(messages: &[SimpleQueryMessage]) -> Vec<Row> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
}

/// Rows or error, as text.
async fn answer(client: &Client, sql: &str) -> String {
    if sql.to_ascii_lowercase().contains("to stdout") {
        return copy_out(client, sql).await;
    }
    match client.simple_query(sql).await {
        Ok(messages) => format!("{:?}", rows(&messages)),
        Err(error) => match error.as_db_error() {
            Some(report) => format!("ERROR {}: {}", report.code().code(), report.message()),
            None => format!("ERROR {error}"),
        },
    }
}

async fn copy_out(client: &Client, sql: &str) -> String {
    use futures_util::TryStreamExt as _;
    let copied = async { client.copy_out(sql).await?.try_collect::<Vec<bytes::Bytes>>().await };
    match copied.await {
        Ok(data) => format!("{data:?}"),
        Err(error) => format!("ERROR {error}"),
    }
}

fn failed(answer: &str) -> bool {
    answer.starts_with("ERROR") || answer == "not sent"
}

async fn copy_in(client: &Client, sql: &str, data: &str) {
    use futures_util::SinkExt as _;
    if let Ok(sink) = client.copy_in::<_, bytes::Bytes>(sql).await {
        let mut sink = std::pin::pin!(sink);
        let _ = sink.send(bytes::Bytes::copy_from_slice(data.as_bytes())).await;
        let _ = sink.as_mut().finish().await;
    }
}

/// Answers that are different each time: time, chance, plans with costs and addresses of rows.
fn varies(sql: &str) -> bool {
    [
        "random",
        "now()",
        "now'",
        "clock_timestamp",
        "timeofday",
        "current_time",
        "current_date",
        "localtime",
        "gen_random_uuid",
        "explain",
        "today",
        "tomorrow",
        "yesterday",
        "statement_timestamp",
        "transaction_timestamp",
        "tablesample",
        "age(",
    ]
    .iter()
    .any(|word| sql.contains(word))
}
