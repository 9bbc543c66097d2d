//! Taking another configuration over while pgweir runs.
//!
//! One task, the [`Reloader`], does it, for whoever asks: a signal, the console, a file that has changed.
//! It reads, validates and prepares everything that can fail; only then it changes anything, and from
//! there on nothing fails. What came of it stands in the [`Ledger`], for the console and the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use crate::config::{Changed, Config, Problem, Reading, problem_at, read_file};
use crate::gateway::{Gateway, Phase};
use crate::serve::{Listeners, Rebuilding};
use crate::snapshot::Prepared;
use crate::telemetry::log::LevelHandle;
use crate::watch::{Contents, Watch};

/// Wishes that may wait while another is being done; more of the same would change nothing.
const MAX_WISHES: usize = 64;

/// The key that takes effect at the start alone: a runtime cannot be given other threads.
pub(crate) const FIXED_KEY: &str = "runtime.workers";

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The file is to be in force, whatever was set besides.
    Reload,
    /// A key is to have this value, written in one of these ways (as TOML), until the next reload.
    Set { key: String, values: Vec<String> },
}

/// Who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    Signal,
    Console,
    File,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Console => "console",
            Self::File => "file",
        }
    }
}

/// What came of it: what has changed, or why nothing has.
pub(crate) type Outcome = Result<Vec<Changed>, Vec<Problem>>;

struct Request {
    wish: Wish,
    trigger: Trigger,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// Where reloads are asked for, and what has come of them.
pub(crate) struct Reloads {
    requests: mpsc::Sender<Request>,
    taken: Mutex<Option<mpsc::Receiver<Request>>>,
    ledger: Mutex<Ledger>,
}

/// What came of the reloads so far.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// Configurations taken over, and refused.
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// When the one in force was taken over.
    pub(crate) last_success: SystemTime,
    /// What is wrong with the file as it is now, if it is not in force for that.
    pub(crate) problems: Vec<Problem>,
    /// By key, the value before the last change of it, and when that was.
    pub(crate) history: BTreeMap<String, (String, SystemTime)>,
    /// A value of [`FIXED_KEY`] that waits for the next start.
    pub(crate) pending: Option<String>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").field("ledger", &self.ledger()).finish_non_exhaustive()
    }
}

impl Default for Reloads {
    fn default() -> Self {
        let (requests, taken) = mpsc::channel(MAX_WISHES);
        let ledger = Ledger {
            accepted: 0,
            refused: 0,
            last_success: SystemTime::now(),
            problems: Vec::new(),
            history: BTreeMap::new(),
            pending: None,
        };
        Self { requests, taken: Mutex::new(Some(taken)), ledger: Mutex::new(ledger) }
    }
}

impl Reloads {
    /// Asks for something and waits for what comes of it; none when nobody does such things here.
    pub(crate) async fn ask(&self, wish: Wish, trigger: Trigger) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        let request = Request { wish, trigger, answer: Some(answer) };
        self.requests.send(request).await.ok()?;
        outcome.await.ok()
    }

    /// What has come of them so far.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<mpsc::Receiver<Request>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The text in force.
    pub text: String,
    /// Every file that was looked at.
    pub files: BTreeSet<PathBuf>,
}

/// Does what is wished, one wish after the other.
pub(crate) struct Reloader {
    source: Source,
    /// Keys set on the console since the last reload.
    set: Vec<(String, String)>,
    contents: Contents,
    gateway: Arc<Gateway>,
    listeners: Listeners,
    log: Option<LevelHandle>,
}

/// A configuration that has only to be taken over.
struct Ready {
    prepared: Prepared,
    rebuilding: Rebuilding,
    contents: Contents,
}

/// What was read, and made of it, away from those who serve clients.
struct Read {
    text: String,
    files: BTreeSet<PathBuf>,
    contents: Contents,
    /// The value of [`FIXED_KEY`] that is not in force.
    pending: Option<String>,
    result: Result<Prepared, Vec<Problem>>,
}

impl Reloader {
    pub(crate) fn new(
        source: Source,
        gateway: Arc<Gateway>,
        listeners: Listeners,
        log: Option<LevelHandle>,
    ) -> Self {
        let contents = Contents::of(&source.files);
        Self { source, set: Vec::new(), contents, gateway, listeners, log }
    }

    /// Begins to heed wishes, and to look after the files.
    pub(crate) fn start(mut self) {
        let Some(mut requests) = self.gateway.reloads.take() else { return };
        let mut watch = Watch::start(self.source.files.clone());
        tokio::spawn(async move {
            if self.is_outdated() {
                let (wish, trigger) = (Wish::Reload, Trigger::File);
                let _ = self.heed(&Request { wish, trigger, answer: None }).await;
            }
            loop {
                let request = tokio::select! {
                    request = requests.recv() => request,
                    Some(()) = watch.changed() => {
                        Some(Request { wish: Wish::Reload, trigger: Trigger::File, answer: None })
                    }
                };
                let Some(request) = request else { return };
                let outcome = self.heed(&request).await;
                watch.look_after(self.source.files.clone());
                if let Some(answer) = request.answer {
                    // Whoever asked may have left.
                    let _ = answer.send(outcome);
                }
            }
        });
    }

    /// Whether the file was written since it was read and before it was looked after.
    fn is_outdated(&self) -> bool {
        read_file(&self.source.file).is_ok_and(|now| now != self.source.text)
    }

    async fn heed(&mut self, request: &Request) -> Outcome {
        let trigger = request.trigger.as_str();
        let outcome = if *self.gateway.phase().borrow() == Phase::Serving {
            match &request.wish {
                Wish::Reload => self.reload().await,
                Wish::Set { key, values } => self.set(key, values).await,
            }
        } else {
            Err(vec![Problem::at((0, 0), &self.source.file, "pgweir is being shut down")])
        };
        match &outcome {
            Ok(changes) => {
                for changed in changes {
                    tracing::info!(trigger, "configuration: {changed}");
                }
                let changes = changes.len();
                tracing::info!(trigger, changes, "configuration reloaded");
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(trigger, "configuration: {problem}");
                }
                tracing::error!(trigger, "configuration refused: everything stays as it is");
            }
        }
        outcome
    }

    /// Takes the file over as it is now.
    async fn reload(&mut self) -> Outcome {
        let before = self.source.clone();
        let read = self.read(before.text, Vec::new()).await;
        // One that is refused may be mended by a change of any file that it names.
        self.source.files.extend(read.files.iter().cloned());
        match self.take_over(read, Vec::new()).await {
            Ok(changes) => {
                self.gateway.reloads.ledger().problems.clear();
                Ok(changes)
            }
            Err(problems) => {
                let mut ledger = self.gateway.reloads.ledger();
                ledger.refused += 1;
                ledger.problems.clone_from(&problems);
                drop(ledger);
                Err(problems)
            }
        }
    }

    /// Sets a key besides what the text in force says.
    async fn set(&mut self, key: &str, values: &[String]) -> Outcome {
        let mut first = None;
        for value in values {
            let mut set = self.set.clone();
            set.retain(|(known, _)| known != key);
            set.push((key.to_owned(), value.clone()));
            let read = self.read(self.source.text.clone(), set.clone()).await;
            match self.take_over(read, set).await {
                Ok(changes) => return Ok(changes),
                Err(problems) => first = first.or(Some(problems)),
            }
        }
        self.gateway.reloads.ledger().refused += 1;
        Err(first.unwrap_or_default())
    }

    /// Reads, with some keys set to other values or as the file is now, and prepares what was read.
    async fn read(&self, text: String, set: Vec<(String, String)>) -> Read {
        let file = self.source.file.clone();
        let is_from_file = set.is_empty();
        let running = self.gateway.now().config().runtime.clone();
        let read = tokio::task::spawn_blocking(move || {
            let reading = if is_from_file {
                Reading::of_file(&file)
            } else {
                Reading::of_text(text, &set, &file)
            };
            let Reading { text, files, result } = reading;
            let contents = Contents::of(&files);
            let mut pending = None;
            let result = result.and_then(|mut config| {
                if config.runtime != running {
                    pending = value_of(FIXED_KEY, &config);
                    config.runtime = running;
                }
                Prepared::new(config).map_err(|error| {
                    vec![problem_at(&text, &file, error.key().as_str(), error.to_string())]
                })
            });
            Read { text, files, contents, pending, result }
        });
        read.await.unwrap_or_else(|error| {
            let problem = Problem::at((0, 0), &self.source.file, error.to_string());
            Read {
                text: String::new(),
                files: BTreeSet::new(),
                contents: Contents::default(),
                pending: None,
                result: Err(vec![problem]),
            }
        })
    }

    /// Takes over what was read, if nothing is wrong with it.
    async fn take_over(&mut self, read: Read, set: Vec<(String, String)>) -> Outcome {
        let Read { text, files, contents, pending, result } = read;
        let prepared = result?;
        let rebuilding = self.listeners.prepare(&prepared.config).await.map_err(|error| {
            vec![problem_at(&text, &self.source.file, error.place.key(), error.to_string())]
        })?;
        let changes = self.apply(Ready { prepared, rebuilding, contents }).await;
        if let Some(value) = &pending {
            tracing::warn!("{FIXED_KEY} = {value} takes effect when pgweir is started again");
        }
        self.gateway.reloads.ledger().pending = pending;
        (self.source.text, self.source.files, self.set) = (text, files, set);
        Ok(changes)
    }

    /// Nothing fails from here on.
    async fn apply(&mut self, ready: Ready) -> Vec<Changed> {
        let Ready { prepared, rebuilding, contents } = ready;
        let before = self.gateway.now();
        let config = prepared.config.clone();
        let mut changes = before.config().changes_to(&config);
        let renewed = contents.renewed_since(&self.contents);
        changes.extend(new_contents(&config, &renewed, &changes));
        self.contents = contents;
        if !changes.is_empty() {
            self.gateway.take_over(prepared).await;
            self.listeners.rebuild(rebuilding, &self.gateway).await;
            if let Some(log) = &self.log {
                log.set(config.log.level);
            }
        }
        for note in config.notes() {
            tracing::info!("{note}");
        }
        self.enter(&changes);
        changes
    }

    /// Enters a success into the ledger.
    fn enter(&self, changes: &[Changed]) {
        let now = SystemTime::now();
        let mut ledger = self.gateway.reloads.ledger();
        ledger.accepted += 1;
        ledger.last_success = now;
        for Changed { key, was, is } in changes {
            if is.is_some() {
                let was = was.clone().unwrap_or_default();
                ledger.history.insert(key.clone(), (was, now));
            } else {
                ledger.history.remove(key);
            }
        }
    }
}

fn value_of(key: &str, config: &Config) -> Option<String> {
    config.list().into_iter().find(|listed| listed.key == key).map(|listed| listed.value)
}

/// Keys that name files whose contents are others by now, though their names are the same.
fn new_contents(config: &Config, renewed: &BTreeSet<PathBuf>, changes: &[Changed]) -> Vec<Changed> {
    let names_renewed = |value: &str| {
        renewed.iter().any(|file| value.trim_matches('"') == file.display().to_string())
    };
    // What users and passwords have become is told by themselves.
    let is_told = |key: &str| {
        key.ends_with("users_file")
            || key.ends_with("password_file")
            || changes.iter().any(|changed| changed.key == key)
    };
    config
        .list()
        .into_iter()
        .filter(|listed| names_renewed(&listed.value) && !is_told(&listed.key))
        .map(|listed| Changed {
            key: listed.key,
            was: Some(listed.value.clone()),
            is: Some(format!("{} (new contents)", listed.value)),
        })
        .collect()
}
