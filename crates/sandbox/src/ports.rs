//! Loopback ports that nobody else takes while they are leased.
//!
//! Two tests that both ask the kernel for "any free port" can get the same one between the question
//! and the use, and a server that is down does not hold its port at all. A lease is therefore a lock:
//! an exclusive `flock` on a file named after the port, in one directory for all users of the machine.
//! The kernel drops the lock with the process that held it, so no lease outlives its owner. Ports come
//! from below 32768, where Linux does not pick local ports for outgoing connections.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;
use crate::files;

/// The address that leased ports are on, and that all sandbox servers listen on.
pub const HOST: &str = "127.0.0.1";

/// First port that is leased.
const FIRST_PORT: u16 = 20_000;
/// Last port that is leased.
const LAST_PORT: u16 = 31_999;

/// Where lock files are. Not `TMPDIR`: users with different ones share the same ports.
const LOCK_DIR: &str = "/tmp/pgweir-sandbox-ports";

/// A TCP port of [`HOST`] that no other lease on this machine holds, until dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    lock: PathBuf,
    _held: File,
}

impl PortLease {
    /// Leases any port on which nothing listens.
    ///
    /// # Errors
    /// [`SandboxError::NoFreePort`] when all are taken; [`SandboxError::File`] when the directory of
    /// locks cannot be used.
    pub fn any() -> Result<Self, SandboxError> {
        let count = u64::from(LAST_PORT - FIRST_PORT) + 1;
        // Starting anywhere keeps processes that start together from queueing for the same ports.
        let start = random() % count;
        let ports = (0..count).filter_map(|step| u16::try_from((start + step) % count).ok());
        for port in ports.map(|offset| FIRST_PORT + offset) {
            if let Some(lease) = Self::try_take(port)? {
                return Ok(lease);
            }
        }
        Err(SandboxError::NoFreePort { host: HOST, first: FIRST_PORT, last: LAST_PORT })
    }

    /// Leases this very port.
    ///
    /// # Errors
    /// [`SandboxError::PortTaken`] when it is leased or something listens on it.
    pub fn exactly(port: u16) -> Result<Self, SandboxError> {
        Self::try_take(port)?.ok_or(SandboxError::PortTaken { host: HOST, port })
    }

    /// The port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn try_take(port: u16) -> Result<Option<Self>, SandboxError> {
        make_lock_dir()?;
        let lock = Path::new(LOCK_DIR).join(port.to_string());
        let Some(held) = lock_file(&lock)? else {
            return Ok(None);
        };
        let lease = Self { port, lock, _held: held };
        Ok(is_free(port).then_some(lease))
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        // Still under the lock: whoever opened the file before now finds it replaced or gone. Files
        // of other users stay, which is harmless.
        let _ = fs::remove_file(&self.lock);
    }
}

/// Whether nothing listens on `port`.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((HOST, port)).is_ok()
}

/// An unpredictable number; the standard library seeds its hashers from the kernel.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Makes [`LOCK_DIR`], writable like /tmp: everyone makes files, only their owners remove them.
fn make_lock_dir() -> Result<(), SandboxError> {
    files::publish_dir(Path::new(LOCK_DIR), |dir| files::set_mode(dir, 0o1777))
}

/// Opens and locks `path`; `None` when another process has it.
fn lock_file(path: &Path) -> Result<Option<File>, SandboxError> {
    let file = match files::open_lock(path) {
        Ok(file) => file,
        // Just being made, or just removed, by another process: it has this port.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(SandboxError::file("open", path)(error)),
    };
    if file.try_lock().is_err() {
        return Ok(None);
    }
    // The lock counts only if the file is still the one that others would open.
    let same = |one: &fs::Metadata, other: &fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    match (file.metadata(), fs::metadata(path)) {
        (Ok(mine), Ok(named)) if same(&mine, &named) => Ok(Some(file)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leased_port_is_nobody_elses_until_it_is_dropped() {
        let lease = PortLease::any().unwrap();
        let port = lease.port();
        assert!((FIRST_PORT..=LAST_PORT).contains(&port));
        assert!(matches!(PortLease::exactly(port), Err(SandboxError::PortTaken { .. })));
        drop(lease);
        assert_eq!(PortLease::exactly(port).unwrap().port(), port);
    }

    #[test]
    fn a_port_on_which_someone_listens_is_not_leased() {
        let lease = PortLease::any().unwrap();
        let port = lease.port();
        let listener = TcpListener::bind((HOST, port)).unwrap();
        drop(lease);
        assert!(matches!(PortLease::exactly(port), Err(SandboxError::PortTaken { .. })));
        drop(listener);
        assert!(PortLease::exactly(port).is_ok());
    }

    #[test]
    fn leases_taken_at_the_same_time_are_all_different() {
        let leases: Vec<PortLease> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..32).map(|_| scope.spawn(PortLease::any)).collect();
            takers.into_iter().map(|taker| taker.join().unwrap().unwrap()).collect()
        });
        let mut ports: Vec<u16> = leases.iter().map(PortLease::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), leases.len());
    }
}
