//! A process that outlives its owner, to end the servers when the owner is killed.
//!
//! Nothing in a process runs after SIGKILL, so the last word belongs to another process: a small shell
//! script that waits for the end of a pipe. The kernel closes the pipe whichever way the owner dies.
//! (The parent-death signal of prctl(2) would not do: it comes when the *thread* that started the
//! server ends, is forgotten when a program changes its user, and leaves the files behind.)

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::error::SandboxError;
use crate::place::Place;

/// What the watchdog does.
const SCRIPT: &str = include_str!("watchdog.sh");

/// The running watchdog of one sandbox. Dropping it lets it look after the rest, and waits for that.
#[derive(Debug)]
pub(crate) struct Watchdog {
    process: Child,
}

impl Watchdog {
    /// Starts one, before any server. `shell` is a command for `sh` with the rights of the servers' user.
    pub(crate) fn start(mut shell: Command, place: &Place) -> Result<Self, SandboxError> {
        let process = shell
            .args(["-c", SCRIPT, "pgweir-sandbox-watchdog"])
            // Not an argument, for that is how it tells what belongs to the sandbox.
            .env("runtime", place.runtime())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of a Ctrl-C meant for the owner.
            .process_group(0)
            .spawn()
            .map_err(|error| SandboxError::Program {
                program: "sh".to_owned(),
                outcome: format!("cannot be started: {error}"),
                stderr: String::new(),
            })?;
        Ok(Self { process })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
