//! A terminal of a program's own, as script(1) of util-linux provides one.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{SOON, run, until};

/// A program on a terminal, killed on drop.
pub(crate) struct Terminal {
    child: Child,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs a shell command on a terminal of its own; none on a machine that has no script(1).
    pub(crate) fn open(command: &str) -> Option<Self> {
        let mut look = Command::new("sh");
        if !run(look.args(["-c", "command -v script"]), "", SOON).status.success() {
            eprintln!("SKIPPED: this machine has no script(1)");
            return None;
        }
        let mut script = Command::new("script");
        script
            // A shell that stays in between dies of the Ctrl-C meant for the program, and dash does stay.
            .args(["-q", "-f", "-e", "-c", &format!("exec {command}"), "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "dumb")
            .env("PSQL_HISTORY", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let kept = seen.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        Some(Self { child, seen })
    }

    /// Types; what was shown before does not count from now on.
    pub(crate) fn types(&mut self, keys: &str) {
        self.seen.lock().unwrap().clear();
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown.
    #[track_caller]
    pub(crate) fn shows(&self, what: &str) {
        until(&format!("{what:?} on the terminal"), SOON, || {
            let seen = self.seen.lock().unwrap();
            if seen.contains(what) { Ok(()) } else { Err(seen.clone()) }
        });
    }

    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        let (child, seen) = (&mut self.child, &self.seen);
        until("the program on the terminal to end", deadline, || {
            child.try_wait().unwrap().ok_or_else(|| seen.lock().unwrap().clone())
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
