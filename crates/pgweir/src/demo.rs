//! `pgweir demo`: a primary and two streaming replicas of its own, or a Citus coordinator and two
//! workers, with pgweir in front.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_sandbox::{CitusCluster, Sandbox};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{ClusterKind, Config, LogLevel, Reading};
use crate::gateway::Gateway;
use crate::http::staleness;
use crate::reload::Source;
use crate::run::{RunError, Server, raise_file_limit, runtime};
use crate::telemetry::log::{self, LevelHandle, LogFormat};

/// Streaming replicas beside the primary.
const REPLICAS: usize = 2;

/// Workers beside the coordinator.
const WORKERS: usize = 2;

/// How often the table of nodes is drawn anew.
const REFRESH: Duration = Duration::from_secs(1);

/// The servers of a demo.
enum Servers {
    Streaming(Sandbox),
    Citus(CitusCluster),
}

impl Servers {
    /// Starts them.
    fn start(citus: bool, dir: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        // What people put into a demo should not fill the machine's memory.
        if citus {
            if !Sandbox::citus_available() {
                return Err("the Citus extension is not installed beside PostgreSQL".into());
            }
            let builder = CitusCluster::builder().workers(WORKERS);
            let builder = match dir {
                Some(dir) => builder.dir(dir),
                None => builder.on_disk(),
            };
            return Ok(Self::Citus(builder.start()?));
        }
        // With an identity of its own it leaves no template behind for other sandboxes.
        let builder = Sandbox::builder().replicas(REPLICAS).own_identity();
        let builder = match dir {
            Some(dir) => builder.dir(dir),
            None => builder.on_disk(),
        };
        Ok(Self::Streaming(builder.start()?))
    }

    /// The servers that pgweir is told of. Workers it finds.
    fn told(&self) -> &Sandbox {
        match self {
            Self::Streaming(sandbox) => sandbox,
            Self::Citus(cluster) => cluster.coordinator(),
        }
    }

    fn kind(&self) -> ClusterKind {
        match self {
            Self::Streaming(_) => ClusterKind::Streaming,
            Self::Citus(_) => ClusterKind::Citus,
        }
    }
}

/// Starts the cluster, serves it, and stops everything on Ctrl-C.
///
/// # Errors
/// No PostgreSQL on the machine, or none with Citus where that is wanted; ports that are taken.
pub fn run(
    citus: bool,
    dir: Option<PathBuf>,
    port: u16,
    format: LogFormat,
) -> Result<ExitCode, Box<dyn Error>> {
    let log = log::install(format, LogLevel::Info).ok();
    raise_file_limit();
    let mut out = io::stdout();
    match citus {
        true => writeln!(out, "starting a Citus coordinator and {WORKERS} workers ...")?,
        false => writeln!(out, "starting a primary and {REPLICAS} replicas ...")?,
    }
    let servers = Servers::start(citus, dir)?;
    let sandbox = servers.told();
    let (config, source) = configuration(sandbox, servers.kind(), port)?;
    runtime(config.runtime.workers)?.block_on(serve(config, source, log, sandbox, port))?;
    writeln!(out, "\nstopping ...")?;
    drop(servers);
    Ok(ExitCode::SUCCESS)
}

/// What a file would say: RELOAD and SET work on that as on any.
fn configuration(
    sandbox: &Sandbox,
    kind: ClusterKind,
    port: u16,
) -> Result<(Config, Source), Box<dyn Error>> {
    let nodes: Vec<String> =
        sandbox.nodes().iter().map(|node| format!("{:?}", node.address())).collect();
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n[http]\naddress = \"127.0.0.1:{}\"\n\
         [log]\nconnections = false\n[clusters.main]\nkind = \"{kind}\"\nnodes = [{}]\n\
         [clusters.main.monitor]\nuser = {:?}\n",
        port.saturating_add(1),
        nodes.join(", "),
        sandbox.superuser()
    );
    let file = PathBuf::from("demo");
    let Reading { result, text, .. } = Reading::of_text(text, &[], &file);
    let config = result.map_err(RunError::Config)?;
    Ok((config, Source { file, is_file: false, text, files: BTreeSet::new() }))
}

async fn serve(
    config: Config,
    source: Source,
    log: Option<LevelHandle>,
    sandbox: &Sandbox,
    port: u16,
) -> Result<(), Box<dyn Error>> {
    let server = Server::start(config, source, log).await?;
    let mut out = io::stdout();
    writeln!(
        out,
        "\n  psql -h 127.0.0.1 -p {port} -U {} postgres\n  http://127.0.0.1:{}/\n\nCtrl-C stops \
         everything.\n",
        sandbox.superuser(),
        port.saturating_add(1)
    )?;
    out.flush()?;
    let gateway = server.gateway().clone();
    let watcher = tokio::spawn(async move {
        if io::stdout().is_terminal() {
            watch(&gateway).await;
        }
    });
    server.until_signalled().await?;
    watcher.abort();
    Ok(())
}

/// Draws the nodes in place, again and again.
async fn watch(gateway: &Arc<Gateway>) {
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<(Instant, Vec<[u64; 2]>)> = None;
    let mut drawn = 0;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let counts = counts(gateway);
        let table = table(gateway, &counts, last.as_ref(), now);
        let mut screen = String::new();
        if drawn > 0 {
            let _ = write!(screen, "\x1b[{drawn}A\x1b[J");
        }
        screen.push_str(&table);
        drawn = table.lines().count();
        let mut out = io::stdout();
        let _ = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
        last = Some((now, counts));
    }
}

fn counts(gateway: &Gateway) -> Vec<[u64; 2]> {
    let now = gateway.now();
    now.clusters().flat_map(|(_, cluster)| cluster.nodes()).map(|node| node.counts()).collect()
}

fn table(
    gateway: &Gateway,
    counts: &[[u64; 2]],
    last: Option<&(Instant, Vec<[u64; 2]>)>,
    now: Instant,
) -> String {
    let mut table = format!(
        "{:22}{:10}{:>12}{:>12}{:>12}\n",
        "node", "role", "staleness", "reads/s", "writes/s"
    );
    let snapshot = gateway.now();
    let views = snapshot.clusters().flat_map(|(_, cluster)| cluster.snapshot().nodes.clone());
    for (at, view) in views.enumerate() {
        let rate = |class: usize| {
            let count =
                |counts: &[[u64; 2]]| counts.get(at).and_then(|both| both.get(class)).copied();
            let (before, since) = match last {
                Some((since, before)) => (count(before), now.saturating_duration_since(*since)),
                None => (None, Duration::ZERO),
            };
            match (count(counts), before) {
                (Some(now), Some(before)) if !since.is_zero() => {
                    u128::from(now.saturating_sub(before)) * 1000 / since.as_millis().max(1)
                }
                _ => 0,
            }
        };
        let _ = writeln!(
            table,
            "{:22}{:10}{:>12}{:>12}{:>12}",
            view.node.name(),
            format!("{:?}", view.role).to_lowercase(),
            staleness(&view),
            rate(0),
            rate(1),
        );
    }
    table
}
