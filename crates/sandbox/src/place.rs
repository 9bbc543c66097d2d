//! Where a sandbox lives.
//!
//! Two directories: *data* holds the nodes' data directories and logs; *runtime* holds what a run
//! needs and nobody keeps: sockets (whose paths must be short, so it is always near the root) and a
//! home directory. A temporary sandbox has one fresh directory for both, and removes it; a sandbox in
//! a given directory keeps its data there.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::SandboxError;
use crate::files;
use crate::ports::random;

/// Where temporary directories go at last.
const SYSTEM_TEMP: &str = "/tmp";

/// A file system in memory (shm_overview(7)). A cluster is thousands of small files that come and go,
/// of which disk file systems make heavy weather: starting is several times faster here.
const MEMORY: &str = "/dev/shm";

/// Bytes that must be free in [`MEMORY`] for it to be used; containers have 64 MiB by default.
const PLENTY_OF_MEMORY: u64 = 2 << 30;

/// Longest directory for temporary directories, in bytes: `sun_path` of unix(7) has 108 on Linux, of
/// which `/pgweir-sandbox-<process id>-<16 digits>` needs 42, and `/.s.PGSQL.<port>` and its end 17.
const LONGEST_TEMP_ROOT: usize = 48;

/// Marks a directory as a sandbox's, and is locked by the process that runs it.
const LOCK_FILE: &str = "sandbox.lock";

/// Whether the data outlives the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// In a directory of the caller's: stays, to be started again.
    Data,
    /// In a temporary directory: goes.
    Nothing,
}

/// Where temporary files go if nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In memory, if there is plenty.
    Memory,
    /// On disk.
    Disk,
}

/// The directories of a sandbox. Dropping removes what is not kept.
#[derive(Debug)]
pub(crate) struct Place {
    data: PathBuf,
    runtime: PathBuf,
    keep: Keep,
    _lock: Option<File>,
}

impl Place {
    /// A fresh temporary directory.
    pub(crate) fn temporary(account: &Account, storage: Storage) -> Result<Self, SandboxError> {
        let runtime = make_runtime(account, storage)?;
        Ok(Self { data: runtime.clone(), runtime, keep: Keep::Nothing, _lock: None })
    }

    /// A directory that is kept: new, empty, or a sandbox's from an earlier run.
    pub(crate) fn at(dir: &Path, account: &Account) -> Result<Self, SandboxError> {
        must_reach_parent(dir, account)?;
        let existed = dir.is_dir();
        fs::create_dir_all(dir).map_err(SandboxError::file("make directory", dir))?;
        let data = dir.canonicalize().map_err(SandboxError::file("find", dir))?;
        let lock_path = data.join(LOCK_FILE);
        if existed && !lock_path.exists() {
            must_be_empty(&data)?;
        }
        let lock = files::open_lock(&lock_path).map_err(SandboxError::file("open", &lock_path))?;
        if lock.try_lock().is_err() {
            return Err(SandboxError::InUse { dir: data });
        }
        account.own(&data)?;
        account.must_reach(&data)?;
        let runtime = make_runtime(account, Storage::Memory)?;
        Ok(Self { data, runtime, keep: Keep::Data, _lock: Some(lock) })
    }

    /// Absolute, without symbolic links.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Absolute, without symbolic links, and short.
    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Whether the data stays.
    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory that cannot be removed now is left to whoever cleans the temporary files.
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

/// The directory for temporary directories: the first that is short enough, and that the servers' user
/// can reach, of `TMPDIR` if it is set, memory if that is wanted, and the system's.
fn temp_root(account: &Account, storage: Storage) -> PathBuf {
    let told = env::var_os("TMPDIR").map(PathBuf::from);
    let memory = (storage == Storage::Memory && told.is_none() && has_room(Path::new(MEMORY)))
        .then(|| PathBuf::from(MEMORY));
    told.into_iter()
        .chain(memory)
        .filter_map(|dir| dir.canonicalize().ok())
        .filter(|dir| dir.as_os_str().len() <= LONGEST_TEMP_ROOT)
        .find(|dir| account.first_closed(dir).is_none())
        .unwrap_or_else(|| PathBuf::from(SYSTEM_TEMP))
}

fn has_room(dir: &Path) -> bool {
    rustix::fs::statvfs(dir)
        .is_ok_and(|about| about.f_bavail.saturating_mul(about.f_frsize) >= PLENTY_OF_MEMORY)
}

/// A directory of the servers' user that others may pass through, with a home of its own: libpq looks
/// for certificates and passwords in `HOME`, and must find none.
fn make_runtime(account: &Account, storage: Storage) -> Result<PathBuf, SandboxError> {
    let name = format!("pgweir-sandbox-{}-{:016x}", std::process::id(), random());
    let runtime = temp_root(account, storage).join(name);
    for dir in [runtime.clone(), home_in(&runtime)] {
        fs::create_dir(&dir).map_err(SandboxError::file("make directory", &dir))?;
        files::set_mode(&dir, 0o711)?;
        account.own(&dir)?;
    }
    Ok(runtime)
}

/// The home directory of all programs of a sandbox.
pub(crate) fn home_in(runtime: &Path) -> PathBuf {
    runtime.join("home")
}

/// Checks, before anything is made, that the servers' user could reach a new directory here.
fn must_reach_parent(dir: &Path, account: &Account) -> Result<(), SandboxError> {
    let dir = std::path::absolute(dir).map_err(SandboxError::file("find", dir))?;
    let parent = dir.ancestors().skip(1).find_map(|parent| parent.canonicalize().ok());
    parent.map_or(Ok(()), |parent| account.must_reach(&parent))
}

fn must_be_empty(dir: &Path) -> Result<(), SandboxError> {
    let mut entries = fs::read_dir(dir).map_err(SandboxError::file("list", dir))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(SandboxError::ForeignDirectory {
            dir: dir.to_owned(),
            problem: format!("it is not empty and has no {LOCK_FILE} from an earlier run"),
        }),
    }
}
