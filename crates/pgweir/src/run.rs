//! `pgweir run`: from a configuration to a served cluster, up to a graceful end.

use std::future::Future;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::{Config, Problem, Reading};
use crate::gateway::{Gateway, Shutdown};
use crate::reload::{Reloader, Source, Trigger, Wish};
use crate::serve::{ListenError, Listeners};
use crate::snapshot::Unusable;
use crate::systemd;
use crate::telemetry::log::{self, LevelHandle, LogFormat};

/// How often it is looked whether the last client has gone.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// How often it is looked whether clients have left by themselves.
const DESERTED_CHECK: Duration = Duration::from_millis(100);

/// Why pgweir does not serve.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Certificates.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The runtime or its signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Serves until a signal ends it.
///
/// # Errors
/// Whatever keeps it from serving.
pub fn run(file: &Path, format: LogFormat) -> Result<ExitCode, RunError> {
    let (config, source) = read(file)?;
    let log = log::install(format, config.log.level).ok();
    if log.is_none() {
        tracing::debug!("the process logs already");
    }
    for note in config.notes() {
        tracing::info!("{note}");
    }
    raise_file_limit();
    runtime(config.runtime.workers)?.block_on(serve(config, source, log))
}

/// Reads a configuration that is to be served.
///
/// # Errors
/// What is wrong in it.
pub(crate) fn read(file: &Path) -> Result<(Config, Source), RunError> {
    let Reading { result, text, files } = Reading::of_file(file);
    let config = result.map_err(RunError::Config)?;
    Ok((config, Source { file: file.to_owned(), text, files }))
}

/// Lets the process open as many files as the system allows it: a socket per client and per server
/// connection. The usual soft limit of 1024 is there for programs that use select(2).
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// A runtime with as many threads as configured; one thread needs no coordination at all.
///
/// # Errors
/// The system's.
pub fn runtime(workers: Option<u32>) -> io::Result<Runtime> {
    let granted = || available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = workers.map_or_else(granted, |count| usize::try_from(count).unwrap_or(1));
    if workers <= 1 {
        return tokio::runtime::Builder::new_current_thread().enable_all().build();
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

/// Has the configuration read again, and tells the service manager of it: it waits for the second word.
async fn reload(gateway: Arc<Gateway>, manager: systemd::Manager) {
    manager.reloading();
    let _ = gateway.reloads.ask(Wish::Reload, Trigger::Signal).await;
    manager.ready(&systemd::status(&gateway));
}

async fn serve(
    config: Config,
    source: Source,
    log: Option<LevelHandle>,
) -> Result<ExitCode, RunError> {
    let server = Server::start(config, source, log).await?;
    server.until_signalled().await?;
    Ok(ExitCode::SUCCESS)
}

/// A running pgweir.
#[derive(Debug)]
pub struct Server {
    gateway: Arc<Gateway>,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// Whatever keeps it from serving.
    pub async fn start(
        config: Config,
        source: Source,
        log: Option<LevelHandle>,
    ) -> Result<Self, RunError> {
        let mut listeners = Listeners::bind(&config).await?;
        let gateway = Gateway::start(config)?;
        listeners.serve(&gateway);
        Reloader::new(source, gateway.clone(), listeners, log).start();
        Ok(Self { gateway })
    }

    /// What its clients share.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Serves until TERM or INT, then drains; a second signal ends it at once.
    ///
    /// # Errors
    /// The system does not let signals be waited for.
    pub async fn until_signalled(self) -> io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hup = signal(SignalKind::hangup())?;
        let mut wish = self.gateway.shutdown_wish();
        let manager = systemd::Manager::from_environment();
        manager.ready("Serving");
        tokio::spawn(manager.clone().keep_told(self.gateway.clone()));
        loop {
            tokio::select! {
                () = self.granted(&mut wish) => {
                    manager.stopping();
                    self.end().await;
                    return Ok(());
                }
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => {
                    // The log says what comes of it.
                    tokio::spawn(reload(self.gateway.clone(), manager.clone()));
                }
            }
        }
        manager.stopping();
        let again = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        self.drain(again).await;
        Ok(())
    }

    /// Lets clients finish, within the bound or until `hurry` is done; then ends them.
    pub async fn drain(self, hurry: impl Future<Output = ()>) {
        let limit = self.gateway.now().config().listen.drain_timeout;
        tracing::info!(clients = self.gateway.client_count(), ?limit, "draining");
        self.gateway.drain();
        tokio::select! {
            () = self.gone() => {}
            () = sleep_until(Instant::now() + limit) => {
                tracing::warn!(clients = self.gateway.client_count(), "drain_timeout is over");
            }
            () = hurry => tracing::warn!("a second signal: ending at once"),
        }
        self.end().await;
    }

    async fn end(self) {
        self.gateway.stop();
        self.gateway.shutdown().await;
        tracing::info!("ended");
    }

    /// Returns when an administrator wants the program to end, and it may.
    async fn granted(&self, wish: &mut watch::Receiver<Option<Shutdown>>) {
        let Ok(wish) = wish.wait_for(Option::is_some).await.map(|wish| *wish) else {
            return std::future::pending().await;
        };
        tracing::info!(?wish, "an administrator shuts pgweir down");
        if wish == Some(Shutdown::WhenClientsHaveLeft) {
            self.gateway.close_doors();
            while !self.gateway.is_deserted() {
                tokio::time::sleep(DESERTED_CHECK).await;
            }
        }
    }

    async fn gone(&self) {
        while self.gateway.client_count() > 0 {
            tokio::time::sleep(DRAIN_CHECK).await;
        }
    }
}
