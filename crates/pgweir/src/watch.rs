//! Looking whether files have changed.
//!
//! A thread of its own looks at each file every [`LOOK_INTERVAL`]: a stat(2) that follows links finds a
//! file that was written, one that an editor has put in its place, and Kubernetes' exchange of the
//! `..data` link alike, on every kind of file system, where inotify(7) misses what happens on the other
//! side of a network, or behind a link. A file that was written a moment ago may be written again
//! without showing it (times of files are coarse): its contents are compared, too. What has changed is
//! reported when it has stayed the same from one look to the next, so that a file that is being written
//! is not read half.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(150);

/// For so long after it was written, a file may have changed without its times showing it.
const COARSE: Duration = Duration::from_secs(3);

/// How much of a file is compared, in bytes: more than any that is read may have.
const MAX_COMPARED: u64 = 8 << 20;

/// Looks after files for as long as it is there.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Arc<Mutex<BTreeSet<PathBuf>>>,
    news: mpsc::Receiver<()>,
}

/// What a file looks like from outside; none for one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Its contents, if it was written a moment ago.
    contents: Option<u64>,
}

impl Look {
    fn at(file: &Path) -> Option<Self> {
        let about = fs::metadata(file).ok()?;
        let is_young = is_young(&about);
        Some(Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
            contents: is_young.then(|| digest(file).ok()).flatten(),
        })
    }

    /// Whether another look shows the same file unchanged: one that was young has become older.
    fn is_as(&self, other: &Self) -> bool {
        let outside = |look: &Self| Self { contents: None, ..look.clone() };
        let differs = match (self.contents, other.contents) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        };
        outside(self) == outside(other) && !differs
    }
}

fn is_young(about: &Metadata) -> bool {
    let written_at = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // One from the future is no more to be trusted.
    !SystemTime::now().duration_since(written_at).is_ok_and(|age| age >= COARSE)
}

fn digest(file: &Path) -> io::Result<u64> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(MAX_COMPARED).read_to_end(&mut bytes)?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Ok(hasher.finish())
}

type Looks = BTreeMap<PathBuf, Option<Look>>;

fn look_at(files: &BTreeSet<PathBuf>) -> Looks {
    files.iter().map(|file| (file.clone(), Look::at(file))).collect()
}

/// Whether the files that both have looked at are the same.
fn are_alike(one: &Looks, other: &Looks) -> bool {
    one.iter().all(|(file, look)| match (look, other.get(file)) {
        (_, None) | (None, Some(None)) => true,
        (Some(look), Some(Some(other))) => look.is_as(other),
        _ => false,
    })
}

impl Watch {
    /// Begins to look after files, from how they are now.
    pub(crate) fn start(files: BTreeSet<PathBuf>) -> Self {
        let (reports, news) = mpsc::channel(1);
        let known = look_at(&files);
        let files = Arc::new(Mutex::new(files));
        let looked_after = files.clone();
        let look = move || watch(&looked_after, known, &reports);
        let thread = thread::Builder::new().name("config-watch".to_owned()).spawn(look);
        if let Err(error) = thread {
            tracing::warn!(%error, "the configuration's files are not watched");
        }
        Self { files, news }
    }

    /// Looks after these files from now on.
    pub(crate) fn look_after(&self, files: BTreeSet<PathBuf>) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Returns when a file has changed; `None` if that is not looked after any more.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        self.news.recv().await
    }
}

fn watch(files: &Mutex<BTreeSet<PathBuf>>, mut known: Looks, reports: &mpsc::Sender<()>) {
    let mut seen = known.clone();
    while !reports.is_closed() {
        thread::sleep(LOOK_INTERVAL);
        let files = files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let looks = look_at(&files);
        let is_settled = are_alike(&looks, &seen);
        if is_settled && !are_alike(&looks, &known) {
            // One that waits unread will see this change as well.
            let _ = reports.try_send(());
            known = looks.clone();
        } else if is_settled {
            // Files that have come to be looked after, and those that have grown older.
            known = looks.clone();
        }
        seen = looks;
    }
}

/// What files contain, by a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents(BTreeMap<PathBuf, Option<u64>>);

impl Contents {
    pub(crate) fn of(files: &BTreeSet<PathBuf>) -> Self {
        Self(files.iter().map(|file| (file.clone(), digest(file).ok())).collect())
    }

    /// The files of which both know that contain something else by now.
    pub(crate) fn renewed_since(&self, before: &Self) -> BTreeSet<PathBuf> {
        let is_renewed = |(file, digest): &(&PathBuf, &Option<u64>)| {
            before.0.get(*file).is_some_and(|before| before != *digest)
        };
        self.0.iter().filter(is_renewed).map(|(file, _)| file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory of its own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("pgweir-watch-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_way_to_change_a_file_shows() {
        let directory = Directory::new("ways");
        let file = directory.file("a.toml");
        fs::write(&file, "one").unwrap();
        let files = BTreeSet::from([file.clone()]);
        let steps: [(&str, &dyn Fn()); 6] = [
            ("written", &|| fs::write(&file, "two").unwrap()),
            ("written in the same moment with the same length", &|| {
                fs::write(&file, "six").unwrap();
            }),
            ("replaced", &|| {
                let other = directory.file("b.toml");
                fs::write(&other, "six").unwrap();
                fs::rename(&other, &file).unwrap();
            }),
            ("removed", &|| fs::remove_file(&file).unwrap()),
            ("a link", &|| {
                fs::create_dir(directory.file("v1")).unwrap();
                fs::create_dir(directory.file("v2")).unwrap();
                fs::write(directory.file("v1/a.toml"), "v").unwrap();
                fs::write(directory.file("v2/a.toml"), "v").unwrap();
                symlink("v1", directory.file("..data")).unwrap();
                symlink("..data/a.toml", &file).unwrap();
            }),
            ("the link behind it exchanged", &|| {
                symlink("v2", directory.file("..new")).unwrap();
                fs::rename(directory.file("..new"), directory.file("..data")).unwrap();
            }),
        ];
        for (what, change) in steps {
            let before = look_at(&files);
            assert!(are_alike(&look_at(&files), &before), "before {what}");
            change();
            assert!(!are_alike(&look_at(&files), &before), "{what}");
        }
    }

    #[test]
    fn a_file_that_nobody_looked_after_before_is_no_change() {
        let directory = Directory::new("more");
        let (one, two) = (directory.file("one"), directory.file("two"));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        let before = look_at(&BTreeSet::from([one.clone()]));
        assert!(are_alike(&look_at(&BTreeSet::from([one, two])), &before));
    }

    #[test]
    fn contents_tell_which_files_are_others_by_now() {
        let directory = Directory::new("contents");
        let (one, two) = (directory.file("one"), directory.file("two"));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        let files = BTreeSet::from([one.clone(), two]);
        let before = Contents::of(&files);
        fs::write(&one, "3").unwrap();
        assert_eq!(Contents::of(&files).renewed_since(&before), BTreeSet::from([one]));
    }
}
