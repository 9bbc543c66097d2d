//! Running a program to its end, with its input, both outputs and a deadline.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::SandboxError;

/// The two outputs of a program, both read to their ends.
const OUTPUTS: usize = 2;

/// What a finished program left behind.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command`, feeding it `input`; kills it and everything it started when `deadline` passes.
pub(crate) fn run(
    command: &mut Command,
    input: &str,
    deadline: Duration,
) -> Result<Finished, SandboxError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |outcome: String| SandboxError::Program {
        program: program.clone(),
        outcome,
        stderr: String::new(),
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that the helpers it forks can be ended with it.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;

    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let (read_to_end, ends) = sync_channel(OUTPUTS);
        // A program that ends without reading all its input says why by other means.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
        let other_end = read_to_end.clone();
        let stdout = scope.spawn(move || drain(stdout, &read_to_end));
        let stderr = scope.spawn(move || drain(stderr, &other_end));
        let end = Instant::now() + deadline;
        let in_time = (0..OUTPUTS).all(|_| {
            let left = end.saturating_duration_since(Instant::now());
            ends.recv_timeout(left) != Err(RecvTimeoutError::Timeout)
        });
        if !in_time {
            kill_group(&child);
        }
        let status = child.wait().map_err(|error| failed(format!("was lost: {error}")))?;
        let stdout = stdout.join().unwrap_or_default();
        let stderr = stderr.join().unwrap_or_default();
        if in_time {
            return Ok(Finished { status, stdout, stderr });
        }
        let outcome = format!("did not finish within {deadline:?} and was killed");
        Err(SandboxError::Program { program: program.clone(), outcome, stderr })
    })
}

/// Like [`run`], and an exit status other than 0 is an error too.
pub(crate) fn run_well(command: &mut Command, deadline: Duration) -> Result<String, SandboxError> {
    let finished = run(command, "", deadline)?;
    if finished.status.success() {
        return Ok(finished.stdout);
    }
    Err(SandboxError::Program {
        program: command.get_program().to_string_lossy().into_owned(),
        outcome: format!("failed ({})", finished.status),
        stderr: finished.stderr,
    })
}

fn drain(pipe: Option<impl Read>, done: &SyncSender<()>) -> String {
    let mut bytes = Vec::new();
    // What could be read before a broken pipe is all there is to know.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    let _ = done.try_send(());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn kill_group(leader: &Child) {
    if let Some(group) = i32::try_from(leader.id()).ok().and_then(Pid::from_raw) {
        // Gone already is as good as killed.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn input_larger_than_a_pipe_comes_back_whole() {
        let input = "0123456789abcdef".repeat(64 * 1024);
        let finished = run(&mut shell("cat"), &input, Duration::from_secs(30)).unwrap();
        assert!(finished.status.success());
        assert_eq!(finished.stdout.len(), input.len());
    }

    #[test]
    fn a_program_that_never_ends_is_killed_with_its_helpers() {
        let started = Instant::now();
        let error = run(&mut shell("sleep 100 & sleep 100"), "", Duration::from_millis(100));
        let Err(SandboxError::Program { outcome, .. }) = error else { panic!("must fail") };
        assert!(outcome.contains("did not finish within 100ms"), "{outcome}");
        assert!(started.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn a_failure_carries_status_and_standard_error() {
        let error = run_well(&mut shell("echo why >&2; exit 3"), Duration::from_secs(30));
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "sh failed (exit status: 3):\nwhy");
    }
}
