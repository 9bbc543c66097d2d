//! `pgweir demo`: a primary and two streaming replicas of its own, or a Citus coordinator and two
//! workers, with pgweir in front.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgweir_sandbox::{CitusCluster, Sandbox};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{ClusterKind, Config, LogLevel};
use crate::gateway::Gateway;
use crate::http::staleness;
use crate::reload::Source;
use crate::run::{self, Server, raise_file_limit, runtime};
use crate::telemetry::log::{self, LevelHandle, LogFormat};

/// Streaming replicas beside the primary.
const REPLICAS: usize = 2;

/// Workers beside the coordinator.
const WORKERS: usize = 2;

const CONFIG_FILE: &str = "pgweir.toml";
const USERS_FILE: &str = "users.toml";

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
    let (config, source) = run::read(&configure(sandbox, servers.kind(), port)?)?;
    runtime(config.runtime.workers)?.block_on(serve(config, source, log, sandbox, port))?;
    writeln!(out, "\nstopping ...")?;
    drop(servers);
    Ok(ExitCode::SUCCESS)
}

/// Writes a configuration for the cluster, beside its sockets, where it goes when the cluster goes. The
/// superuser is an administrator: whoever reaches the demo may do anything with it in any case.
fn configure(sandbox: &Sandbox, kind: ClusterKind, port: u16) -> io::Result<PathBuf> {
    let nodes: Vec<String> =
        sandbox.nodes().iter().map(|node| format!("{:?}", node.address())).collect();
    let user = sandbox.superuser();
    let text = format!(
        "# What is changed here takes effect at once.\n\n\
         [listen]\naddress = \"127.0.0.1:{port}\"\n\n\
         [http]\naddress = \"127.0.0.1:{}\"\n\n\
         [auth]\nusers_file = \"{USERS_FILE}\"\n\n\
         [log]\nconnections = false\n\n\
         [clusters.main]\nkind = \"{kind}\"\nnodes = [{}]\nmonitor = {{ user = {user:?} }}\n",
        port.saturating_add(1),
        nodes.join(", "),
    );
    let users = format!("[[user]]\nname = {user:?}\nadmin = true\n");
    write_new(&sandbox.socket_dir().join(USERS_FILE), &users)?;
    let file = sandbox.socket_dir().join(CONFIG_FILE);
    write_new(&file, &text)?;
    Ok(file)
}

/// Not through a link that somebody has put there.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(file)?.write_all(text.as_bytes())
}

async fn serve(
    config: Config,
    source: Source,
    log: Option<LevelHandle>,
    sandbox: &Sandbox,
    port: u16,
) -> Result<(), Box<dyn Error>> {
    let file = source.file.display().to_string();
    let server = Server::start(config, source, log).await?;
    let mut out = io::stdout();
    let psql = format!("psql -h 127.0.0.1 -p {port} -U {}", sandbox.superuser());
    writeln!(
        out,
        "\n  {psql} postgres\n  {psql} pgweir    (the console)\n  http://127.0.0.1:{}/\n  {file}    \
         (changes take effect at once)\n\nCtrl-C stops everything.\n",
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
