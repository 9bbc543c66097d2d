//! Programs that are run to their end, and what a process takes of the machine.

use std::fs;
use std::io::{Read, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::until;

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What it printed, if it ended well.
    #[track_caller]
    pub(crate) fn expect_success(self) -> String {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a program with this input to its end; kills it and fails when that takes too long.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &str, deadline: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let input = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let (stdout, stderr) = (thread::spawn(|| drain(stdout)), thread::spawn(|| drain(stderr)));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(&format!("{command:?} to end"), deadline, || {
            child.try_wait().unwrap().ok_or("it runs")
        })
    }));
    let _ = child.kill();
    // A program may end without reading all its input.
    let _ = writer.join();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let status = result.unwrap_or_else(|_| panic!("{command:?} did not end: {stdout}\n{stderr}"));
    Finished { status, stdout, stderr }
}

fn drain(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The memory of a process that is in RAM, in bytes: now, and the most it ever was (proc(5)).
pub(crate) fn resident(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kibibytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    (kibibytes("VmRSS:") * 1024, kibibytes("VmHWM:") * 1024)
}

/// Lets this process, and those it starts from now on, open so many files; false if the machine
/// does not allow that.
pub(crate) fn raise_descriptor_limit(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= count);
    if enough(limit.current) {
        return true;
    }
    let raised = Rlimit { current: Some(count), maximum: limit.maximum };
    enough(limit.maximum) && setrlimit(Resource::Nofile, raised).is_ok()
}
