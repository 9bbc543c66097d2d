//! Process trees, as `/proc` shows them (proc(5)), and signals to all of one.
//!
//! PostgreSQL's processes leave their parent's process group (each calls `setsid`), so a group signal
//! reaches the postmaster only: the tree has to be walked. A process is named by its id and its start
//! time, because ids are used again.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// How often a tree is listed again to catch processes forked meanwhile.
const WALKS: usize = 10;

/// One process, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    /// In clock ticks since boot.
    started: u64,
}

/// The facts of `/proc/<pid>/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

impl Process {
    /// The process that now has this id.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// Whether it runs no more. A zombie, dead but not yet reaped by its parent, counts as gone.
    pub(crate) fn is_gone(self) -> bool {
        stat(self.pid).is_none_or(|stat| stat.started != self.started || stat.state == 'Z')
    }

    /// Sends a signal; a process that is gone needs none.
    pub(crate) fn signal(self, signal: Signal) {
        if !self.is_gone() {
            signal_pid(self.pid, signal);
        }
    }

    /// Stops the process and everything below it, and returns them, parents first.
    pub(crate) fn freeze_tree(self) -> Vec<Self> {
        // A parent that is stopped before its children are listed forks no more.
        self.walk(|process| process.signal(Signal::STOP))
    }

    /// The process and everything below it, parents first.
    pub(crate) fn tree(self) -> Vec<Self> {
        self.walk(|_| ())
    }

    /// Visits the process, then its children, then theirs, until a walk finds nothing new.
    fn walk(self, visit: impl Fn(&Self)) -> Vec<Self> {
        visit(&self);
        let mut found = vec![self];
        for _ in 0..WALKS {
            let new = children_of(&found);
            if new.is_empty() {
                break;
            }
            new.iter().for_each(&visit);
            found.extend(new);
        }
        found
    }
}

/// Sends a signal to a process id that is known to be in use, such as that of an unreaped child.
pub(crate) fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The only failure left is a process that has just gone.
        let _ = kill_process(pid, signal);
    }
}

/// Living children of `parents` that are not among `parents` themselves.
fn children_of(parents: &[Process]) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parents.iter().all(|known| known.pid != *pid))
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .filter(|(_, stat)| stat.state != 'Z')
        .filter(|(_, stat)| parents.iter().any(|known| known.pid == stat.parent))
        .map(|(pid, stat)| Process { pid, started: stat.started })
        .collect()
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields are counted from the last `)`: the program's name before it may hold anything.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // starttime is field 22 of the line, where the state is field 3 and the parent field 4.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_any_program_name() {
        let rest = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 99 1";
        let want = Some(Stat { state: 'S', parent: 7, started: 123_456 });
        for name in ["(postgres)", "(a ) b)", "((sd-pam))"] {
            assert_eq!(parse_stat(&format!("42 {name} {rest}")), want, "{name}");
        }
        for broken in ["", "42 (postgres", "42 (postgres) S", "42 (postgres) S x"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_tree_is_frozen_and_found_gone_after_its_death() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 100 & sleep 100 & wait"])
            .spawn()
            .unwrap();
        let top = Process::find(child.id()).unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while top.tree().len() < 3 && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        let tree = top.freeze_tree();
        assert_eq!(tree.len(), 3, "{tree:?}");
        tree.iter().for_each(|process| process.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(top.is_gone());
    }
}
