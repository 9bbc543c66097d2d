//! The operating-system user that servers run as.
//!
//! PostgreSQL refuses to run as root (manual, 19.1 "The PostgreSQL User Account"), while containers
//! and CI run everything as root. A sandbox started by root therefore hands every server program to
//! an unprivileged user, without supplementary groups and with a home directory of its own, and gives
//! that user its files. A sandbox started by anyone else runs its servers as that user.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::SandboxError;

/// Users that may stand in for root, in order of preference.
const STAND_INS: [&str; 2] = ["postgres", "nobody"];

/// The user database (passwd(5)).
const PASSWD: &str = "/etc/passwd";

/// Whose rights the servers have.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    name: String,
    uid: u32,
    gid: u32,
    takes_over_from: Caller,
}

/// Who started the sandbox, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Root,
    TheSameUser,
}

impl Account {
    /// The current user, or root's stand-in.
    pub(crate) fn for_servers() -> Result<Self, SandboxError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Ok(Self {
                name: format!("with id {}", uid.as_raw()),
                uid: uid.as_raw(),
                gid: rustix::process::getegid().as_raw(),
                takes_over_from: Caller::TheSameUser,
            });
        }
        let passwd =
            fs::read_to_string(PASSWD).map_err(SandboxError::file("read", Path::new(PASSWD)))?;
        STAND_INS
            .iter()
            .find_map(|name| find_user(&passwd, name))
            .ok_or_else(|| SandboxError::NoServerUser { candidates: STAND_INS.join(" nor ") })
    }

    /// Numeric user id.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// Makes `command` run as this user.
    ///
    /// Supplementary groups are cleared: the standard library does so whenever root sets a user id.
    pub(crate) fn lend_to(&self, command: &mut Command) {
        if self.takes_over_from == Caller::Root {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives `path` (not what it contains) to this user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), SandboxError> {
        if self.takes_over_from == Caller::TheSameUser {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(SandboxError::file("change the owner of", path))
    }

    /// Checks that this user can reach `dir`, an existing absolute path without symbolic links.
    pub(crate) fn must_reach(&self, dir: &Path) -> Result<(), SandboxError> {
        match self.first_closed(dir) {
            None => Ok(()),
            Some(at) => {
                Err(SandboxError::Unreachable { user: self.name.clone(), dir: dir.to_owned(), at })
            }
        }
    }

    /// The first directory on the way from `/` to `dir` that this user may not enter.
    ///
    /// Looks at mode bits only; access lists may open or close more, and then the server says so.
    pub(crate) fn first_closed(&self, dir: &Path) -> Option<PathBuf> {
        let mut way: Vec<&Path> = dir.ancestors().collect();
        way.reverse();
        way.into_iter().find(|step| !self.may_enter(step)).map(Path::to_owned)
    }

    fn may_enter(&self, dir: &Path) -> bool {
        let Ok(about) = fs::metadata(dir) else {
            return false;
        };
        let class = match (about.uid() == self.uid, about.gid() == self.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        about.mode() & class != 0
    }
}

/// Reads one user's line of a passwd file: `name:password:uid:gid:…`.
fn find_user(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let takes_over_from = Caller::Root;
        Some(Account { name: name.to_owned(), uid, gid, takes_over_from })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_whole_name_with_both_ids() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                      postgresql:x:7:8::/:/bin/sh\n\
                      postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n\
                      broken:x\n";
        let rows = [
            ("postgres", Some((101, 104))),
            ("postgresql", Some((7, 8))),
            ("postgre", None),
            ("broken", None),
        ];
        for (name, want) in rows {
            let got = find_user(passwd, name).map(|account| (account.uid, account.gid));
            assert_eq!(got, want, "{name}");
        }
    }
}
