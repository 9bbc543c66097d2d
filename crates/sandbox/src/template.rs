//! Fresh data directories, by copying instead of running initdb each time.
//!
//! initdb takes a second or two; a copy of its result a tenth. The first sandbox of a machine and user
//! runs initdb into a directory next to the sandboxes'; the others copy that. Readers hold a shared
//! lock while they copy, and whoever makes it an exclusive one. Copies share one system identifier,
//! which is what makes a copy of the same template a standby of another: a cluster that was shut down
//! cleanly and is then started with `standby.signal` streams from where it was shut down
//! (manual, 27.2.2 "Setting Up a Standby Server": a file system backup of a stopped server).

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::environment::Environment;
use crate::error::SandboxError;
use crate::files;
use crate::run;
use crate::wait::{self, Look};

/// A template is made anew after this time: programs that clean temporary directories remove single
/// files that nobody has touched for days, and a template must be whole.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory as initdb left it, locked against change.
#[derive(Debug)]
pub(crate) struct Template {
    dir: PathBuf,
    /// `None` for a template that nobody else knows of.
    _lock: Option<File>,
}

/// Whether a sandbox's cluster can be told from another's by its system identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// That of the template: quick.
    Shared,
    /// One of its own: initdb is run.
    Own,
}

impl Template {
    /// The template for this version and superuser; made first if there is none.
    pub(crate) fn open(env: &Environment, identity: Identity) -> Result<Self, SandboxError> {
        if identity == Identity::Own {
            return Ok(Self { dir: initdb(env)?, _lock: None });
        }
        let dir = templates_dir(env)?.join(key(env));
        let lock = dir.with_extension("lock");
        loop {
            let held = lock_within(env.deadline, &lock, File::try_lock_shared)?;
            if is_fresh(&dir) {
                return Ok(Self { dir, _lock: Some(held) });
            }
            drop(held);
            let held = lock_within(env.deadline, &lock, File::try_lock)?;
            if !is_fresh(&dir) {
                replace(&dir, &initdb(env)?)?;
            }
            drop(held);
        }
    }

    /// Makes data directory `target`, which appears under its name only when it is whole.
    pub(crate) fn copy_to(&self, env: &Environment, target: &Path) -> Result<(), SandboxError> {
        let partial = target.with_extension("partial");
        remove_if_there(&partial)?;
        run::run_well(env.command("cp").arg("-R").args([&self.dir, &partial]), env.deadline)?;
        fs::rename(&partial, target).map_err(SandboxError::file("make", target))
    }
}

/// Removes a directory that an interrupted run may have left.
pub(crate) fn remove_if_there(dir: &Path) -> Result<(), SandboxError> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(SandboxError::file("remove", dir))?;
    }
    Ok(())
}

/// Runs initdb in the runtime directory, where an interrupted result is cleared away.
fn initdb(env: &Environment) -> Result<PathBuf, SandboxError> {
    let dir = env.place.runtime().join("initdb");
    let mut initdb = env.program("initdb");
    initdb
        .arg("-D")
        .arg(&dir)
        .args(["-U", &env.superuser, "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"])
        // Segments of 1 MB instead of 16: half the bytes of a fresh cluster are its first segment.
        .args(["--wal-segsize=1", "--no-sync", "--no-instructions"]);
    run::run_well(&mut initdb, env.deadline)?;
    Ok(dir)
}

fn replace(dir: &Path, new: &Path) -> Result<(), SandboxError> {
    remove_if_there(dir)?;
    fs::rename(new, dir).map_err(SandboxError::file("make", dir))
}

/// The directory of templates: of the servers' user, and only writable to that user.
fn templates_dir(env: &Environment) -> Result<PathBuf, SandboxError> {
    use std::os::unix::fs::MetadataExt;

    let name = format!("pgweir-sandbox-templates-{}", env.account.uid());
    let dir = env.place.runtime().with_file_name(name);
    files::publish_dir(&dir, |new| {
        files::set_mode(new, 0o700)?;
        env.account.own(new)
    })?;
    let about = fs::symlink_metadata(&dir).map_err(SandboxError::file("inspect", &dir))?;
    if about.is_dir() && about.uid() == env.account.uid() && about.mode() & 0o022 == 0 {
        return Ok(dir);
    }
    let problem = "it belongs to, or can be changed by, another user".to_owned();
    Err(SandboxError::ForeignDirectory { dir, problem })
}

/// A file name for everything that a template depends on.
fn key(env: &Environment) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let facts = format!("{} {}", env.installation.version(), env.superuser);
    facts.chars().map(safe).collect()
}

fn is_fresh(dir: &Path) -> bool {
    let made = fs::metadata(dir.join("PG_VERSION")).and_then(|about| about.modified());
    // A time in the future is a clock set back: no age can be told.
    made.is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age < MAX_AGE))
}

fn lock_within(
    deadline: Duration,
    path: &Path,
    take: fn(&File) -> Result<(), TryLockError>,
) -> Result<File, SandboxError> {
    let file = files::open_lock(path).map_err(SandboxError::file("open", path))?;
    let taken = wait::until(deadline, |_| match take(&file) {
        Ok(()) => Ok(Look::Done(())),
        Err(TryLockError::WouldBlock) => Ok(Look::NotYet(String::new())),
        Err(TryLockError::Error(error)) => Err(SandboxError::file("lock", path)(error)),
    })?;
    match taken {
        Ok(()) => Ok(file),
        Err(_) => Err(SandboxError::InUse { dir: path.to_owned() }),
    }
}
