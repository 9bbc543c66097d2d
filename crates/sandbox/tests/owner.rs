//! What happens to a cluster when the process that owns it ends without a word, and when that process
//! has no rights: this test program runs itself again as the owner.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pgweir_sandbox::{Sandbox, StopMode};

/// Set for the owner: the directory to keep, or nothing for a temporary one.
const OWNER: &str = "SANDBOX_TEST_OWNER";

/// Long enough for the watchdog.
const SOON: Duration = Duration::from_secs(30);

/// Not a test by itself: the owner's life, which ends by SIGKILL or by leaving without goodbye.
#[test]
fn owner() {
    let Ok(dir) = std::env::var(OWNER) else {
        return;
    };
    let builder = Sandbox::builder().replicas(1);
    let builder = if dir.is_empty() { builder } else { builder.dir(dir) };
    let sandbox = builder.start().unwrap();
    sandbox.primary().psql("CREATE TABLE IF NOT EXISTS t AS SELECT 42 AS a").unwrap();
    // One frozen, one with a busy backend: neither may hold up its end.
    sandbox.replica(0).freeze().unwrap();
    println!("\nowner: {}", sandbox.socket_dir().display());
    for node in sandbox.nodes() {
        println!("\nowner: {}", node.pid().unwrap());
    }
    println!("\nowner: done");
    let _ = sandbox.primary().psql("DO 'BEGIN LOOP END LOOP; END'");
    std::process::exit(0);
}

struct Owned {
    process: Child,
    runtime: PathBuf,
    pids: Vec<u32>,
}

fn start_owner(dir: &str) -> Owned {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env(OWNER, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told: Vec<String> = lines
        .filter_map(|line| line.strip_prefix("owner: ").map(str::to_owned))
        .take_while(|line| line != "done")
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    let pids = told[1..].iter().map(|pid| pid.parse().unwrap()).collect();
    Owned { process, runtime: PathBuf::from(&told[0]), pids }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "not so in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Processes, servers or their children, that name this directory or were started for it.
fn processes_naming(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    let name = dir.to_string_lossy().into_owned();
    let names = |entry: fs::DirEntry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&name)
    };
    entries
        .flatten()
        .filter(|entry| entry.path().join("stat").exists())
        .map(names)
        .filter(|n| *n)
        .count()
}

#[test]
fn servers_and_files_end_with_an_owner_that_is_killed() {
    let mut owned = start_owner("");
    assert!(processes_naming(&owned.runtime) >= 2);
    owned.process.kill().unwrap();
    owned.process.wait().unwrap();
    wait_until("directory removed", || !owned.runtime.exists());
    wait_until("no process left", || processes_naming(&owned.runtime) == 0);
    wait_until("servers ended", || {
        owned.pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists())
    });
}

#[test]
fn a_kept_directory_can_be_taken_over_from_an_owner_that_was_killed() {
    let dir = std::env::temp_dir().join(format!("sandbox-test-{}-taken", std::process::id()));
    let mut owned = start_owner(dir.to_str().unwrap());
    owned.process.kill().unwrap();
    owned.process.wait().unwrap();
    // At once: the former servers are still ending.
    let sandbox = Sandbox::builder().dir(&dir).replicas(1).start().unwrap();
    assert_eq!(sandbox.replica(0).psql("SELECT a FROM t").unwrap(), "42");
    // The watchdog of the former ones leaves these alone.
    wait_until("runtime directory removed", || !owned.runtime.exists());
    assert_eq!(sandbox.replica(0).psql("SELECT a FROM t").unwrap(), "42");
    sandbox.primary().stop(StopMode::Fast).unwrap();
    drop(sandbox);
    fs::remove_dir_all(&dir).unwrap();
}

/// Root's tests cover the dropping of rights; this one repeats a part of them as an ordinary user.
#[test]
fn the_same_works_without_roots_rights() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("sandbox-test-{}-user", std::process::id()));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(&copy)
        .args(["--test-threads=1", "servers_and_files", "a_kept_directory"])
        .current_dir(&dir)
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("2 passed"), "{output:?}");
}
