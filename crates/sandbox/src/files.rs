//! Small operations on files that others may be making at the same time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::SandboxError;
use crate::ports::random;

/// Makes directory `dir` unless it is there, visible under its name only once `prepare` is done.
pub(crate) fn publish_dir(
    dir: &Path,
    prepare: impl FnOnce(&Path) -> Result<(), SandboxError>,
) -> Result<(), SandboxError> {
    if dir.is_dir() {
        return Ok(());
    }
    let new = PathBuf::from(format!("{}.{:016x}", dir.display(), random()));
    let rename = |()| fs::rename(&new, dir).map_err(SandboxError::file("make", dir));
    let made = fs::create_dir(&new)
        .map_err(SandboxError::file("make directory", &new))
        .and_then(|()| prepare(&new))
        .and_then(rename);
    if made.is_err() && dir.is_dir() {
        // Another process was quicker.
        let _ = fs::remove_dir(&new);
        return Ok(());
    }
    made
}

/// Sets permission bits, whatever the umask.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), SandboxError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(SandboxError::file("set the mode of", path))
}

/// Writes a file that only `owner` can read.
pub(crate) fn write_private(
    path: &Path,
    contents: &[u8],
    owner: &Account,
) -> Result<(), SandboxError> {
    fs::write(path, contents).map_err(SandboxError::file("write", path))?;
    set_mode(path, 0o600)?;
    owner.own(path)
}

/// Opens a lock file for reading, which is enough to lock and possible for every user; makes it if
/// absent.
///
/// Never both in one call: Linux refuses `O_CREAT` on other users' files in a sticky directory
/// (`fs.protected_regular`), even to root.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
            match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::open(path),
                Err(error) => Err(error),
                Ok(file) => {
                    file.set_permissions(Permissions::from_mode(0o644))?;
                    Ok(file)
                }
            }
        }
        opened => opened,
    }
}
