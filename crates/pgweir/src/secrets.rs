//! Secrets of users, read from the clusters when somebody logs in.
//!
//! Nothing is kept: a login is answered by what was read after it had come, so that a password that was
//! changed counts at once, and one that was taken away no more. (A cache could not even be mended by
//! asking again where a proof fails: the proof is made with the salt that the client was told.) What
//! bounds the questions instead is that logins share them. At most [`AT_A_TIME`] are under way; logins
//! of one user that come while theirs waits for its turn are answered by it together. So a storm of
//! logins is as few questions as two connections can carry, and does not get into the servers' way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgweir_pool::{Cluster, ControlError, Inquiry};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::config::{Auth, AuthMethod, Config, UserSecret};

/// Questions to a cluster under way: as many connections may a node have for them.
const AT_A_TIME: usize = 2;

/// Questions that wait for their turn, at most: as many users can be told apart in a storm of logins.
const MAX_WAITING: usize = 10_000;

/// How long a login waits for an answer: less than it may take (`limits.client_login_timeout`), so that
/// the client hears why it is not let in.
const PATIENCE: Duration = Duration::from_secs(10);

/// How secrets are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// As the monitor's role, of the system catalogs.
    Catalog,
    /// By an operator's query.
    Query(Box<Query>),
}

/// An operator's query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Query {
    sql: String,
    role: String,
    password: Option<String>,
    database: Option<String>,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("sql", &self.sql).finish_non_exhaustive()
    }
}

impl Source {
    /// What a configuration says; none where no secrets are read from clusters.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let Auth { method, query, query_user, query_database, .. } = &config.auth;
        match method {
            AuthMethod::Passthrough => Some(Self::Catalog),
            AuthMethod::Query => {
                let role = query_user.clone()?;
                let password = match config.users.get(&role).map(|user| &user.secret) {
                    Some(UserSecret::Password(password)) => Some(password.expose().to_owned()),
                    _ => None,
                };
                let (sql, database) = (query.clone()?, query_database.clone());
                Some(Self::Query(Box::new(Query { sql, role, password, database })))
            }
            AuthMethod::Trust | AuthMethod::ScramSha256 | AuthMethod::Cert => None,
        }
    }
}

/// Why a secret could not be read. The words hold no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// The servers.
    #[error("{}", in_words(.0))]
    Control(#[from] ControlError),
    /// The answer of an operator's query.
    #[error("auth.query {0}")]
    Answer(&'static str),
    /// Too many logins of too many users.
    #[error("{MAX_WAITING} users' secrets are waited for already")]
    Crowded,
    /// Its turn, or the answer, does not come.
    #[error("no answer within {PATIENCE:?}")]
    Late,
    /// It was not asked to the end: pgweir ends.
    #[error("pgweir is shutting down")]
    Abandoned,
}

/// An error in the server's words, but for those that may repeat a value: of data, of constraints, of
/// functions that raise what they like (manual: appendix A, classes 22, 23 and P0).
fn in_words(error: &ControlError) -> String {
    match error {
        ControlError::Refused { code, .. }
            if ["22", "23", "P0"].iter().any(|class| code.starts_with(class)) =>
        {
            format!("{code} (the server's log says more)")
        }
        error => error.to_string(),
    }
}

/// Whom a question is about, and where and how it is asked.
type Key = (String, Source, String);

/// What came of a question: the secret as the server has it, if there is any.
type Outcome = Result<Option<Arc<str>>, Arc<Unread>>;

/// Reads secrets.
#[derive(Default)]
pub(crate) struct Secrets {
    /// By cluster: one that hangs is in nobody else's way.
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Questions that have not been asked yet.
    waiting: Arc<Mutex<Waiting>>,
}

/// By what is asked, who is to be told.
type Waiting = HashMap<Key, watch::Sender<Option<Outcome>>>;

impl Secrets {
    /// The secret of a user; none where there is no such user, or it has none.
    ///
    /// # Errors
    /// [`Unread`].
    pub(crate) async fn read(
        &self,
        cluster: &Arc<Cluster>,
        source: &Source,
        user: &str,
    ) -> Outcome {
        let mut answer = self.question(cluster, source, user).ok_or(Arc::new(Unread::Crowded))?;
        let answered = timeout(PATIENCE, answer.wait_for(Option::is_some)).await;
        let answered = answered.map_err(|_| Arc::new(Unread::Late))?;
        let outcome = answered.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or(Err(Arc::new(Unread::Abandoned)))
    }

    /// The question that is yet to be asked about this user: one that waits, or a new one if there is
    /// room.
    fn question(
        &self,
        cluster: &Arc<Cluster>,
        source: &Source,
        user: &str,
    ) -> Option<watch::Receiver<Option<Outcome>>> {
        let key = (cluster.name().to_owned(), source.clone(), user.to_owned());
        let mut waiting = lock(&self.waiting);
        if let Some(question) = waiting.get(&key) {
            return Some(question.subscribe());
        }
        if waiting.len() >= MAX_WAITING {
            // Whoever has given up leaves its place.
            waiting.retain(|_, tell| !tell.is_closed());
        }
        if waiting.len() >= MAX_WAITING {
            return None;
        }
        let (tell, answer) = watch::channel(None);
        waiting.insert(key.clone(), tell.clone());
        let (turns, waiting) = (self.turns(cluster.name()), self.waiting.clone());
        let cluster = cluster.clone();
        // A task of its own: whoever has asked first may leave, and others wait for the answer.
        tokio::spawn(async move {
            let turn = turns.acquire_owned().await;
            // Who comes from now on may know of a change that this question may not see.
            lock(&waiting).remove(&key);
            if tell.is_closed() {
                return;
            }
            let (_, source, user) = key;
            let outcome = ask(&cluster, &source, &user).await.map_err(Arc::new);
            drop(turn);
            tell.send_replace(Some(outcome.map(|secret| secret.map(Arc::from))));
        });
        Some(answer)
    }

    fn turns(&self, cluster: &str) -> Arc<Semaphore> {
        let mut turns = lock(&self.turns);
        let new = || Arc::new(Semaphore::new(AT_A_TIME));
        turns.entry(cluster.to_owned()).or_insert_with(new).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(cluster: &Cluster, source: &Source, user: &str) -> Result<Option<String>, Unread> {
    let query = match source {
        Source::Catalog => return Ok(cluster.role_secret(user).await?),
        Source::Query(query) => query,
    };
    let inquiry = Inquiry {
        sql: &query.sql,
        role: &query.role,
        password: query.password.as_deref(),
        database: query.database.as_deref(),
    };
    secret_of(cluster.ask_about(&inquiry, user).await?, user).map_err(Unread::Answer)
}

/// The secret in the answer of an operator's query: of no row, none; of one row, the only column or
/// the one behind the user's name. PostgreSQL's function results have a row for nobody, too: of NULLs.
fn secret_of(rows: pgweir_pool::Rows, user: &str) -> Result<Option<String>, &'static str> {
    let mut rows = rows.into_iter();
    let Some(row) = rows.next() else { return Ok(None) };
    if rows.next().is_some() {
        return Err("gives more than one row for a user");
    }
    let mut cells = row.into_iter();
    match (cells.next(), cells.next(), cells.next()) {
        (Some(secret), None, _) => Ok(secret),
        // What a function with two OUT parameters gives of nobody.
        (Some(None), Some(_), None) => Ok(None),
        (Some(Some(name)), Some(secret), None) if name == user => Ok(secret),
        (Some(_), Some(_), None) => Err("gives the row of another user"),
        _ => Err("gives neither a secret nor a name and a secret"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rows_of_a_query_say() {
        let row = |cells: &[&str]| -> Vec<Option<String>> {
            cells.iter().map(|cell| (*cell != "NULL").then(|| (*cell).to_owned())).collect()
        };
        let rows: [(&[&[&str]], Result<Option<&str>, &str>); 11] = [
            (&[], Ok(None)),
            (&[&["secret"]], Ok(Some("secret"))),
            (&[&["NULL"]], Ok(None)),
            (&[&["app", "secret"]], Ok(Some("secret"))),
            (&[&["app", "NULL"]], Ok(None)),
            (&[&["other", "secret"]], Err("gives the row of another user")),
            (&[&["NULL", "NULL"]], Ok(None)),
            (&[&["NULL", "secret"]], Ok(None)),
            (&[&["app", "secret"], &["app", "secret"]], Err("gives more than one row for a user")),
            (&[&[]], Err("gives neither a secret nor a name and a secret")),
            (&[&["app", "s", "x"]], Err("gives neither a secret nor a name and a secret")),
        ];
        for (answer, expected) in rows {
            let given = answer.iter().map(|cells| row(cells)).collect();
            let expected = expected.map(|secret| secret.map(str::to_owned));
            assert_eq!(secret_of(given, "app"), expected, "{answer:?}");
        }
    }

    #[test]
    fn an_error_that_may_repeat_a_value_is_told_by_its_code() {
        let rows = [
            (
                "22P02",
                "invalid input syntax for type integer: \"md5abc\"",
                "22P02 (the server's log says more)",
            ),
            ("P0001", "the secret is x", "P0001 (the server's log says more)"),
            (
                "42501",
                "permission denied for table pg_authid",
                "42501: permission denied for table pg_authid",
            ),
        ];
        for (code, message, told) in rows {
            let error = ControlError::Refused { code: code.into(), message: message.into() };
            assert_eq!(Unread::from(error).to_string(), told);
        }
    }
}
