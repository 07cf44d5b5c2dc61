//! How bytes reach a local disk: staged whole and synced, then moved under their name in one step.
//!
//! object_store's own local put leaves `name#1` beside its target when the process dies, and such a file makes Spark,
//! Polars and pyarrow refuse the whole table. So half-written bytes live under `_staging/` of the same file system,
//! under a name that says whose they are, and appear under a table's folder only whole. Files and the folders that name
//! them are synced before a call returns: what a manifest names survives a power cut. All functions here block; the
//! store calls them off the async threads.

use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells staged files of one process apart.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Writes `bytes` to a new file `{prefix}-{n}` under `root` and syncs it.
pub(crate) fn stage(root: &Path, prefix: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    stage_by(root, prefix, |staged| staged.write_all(bytes))
}

/// The same with all bytes of `file`, which are never in memory together.
pub(crate) fn stage_file(root: &Path, prefix: &str, mut file: &File) -> io::Result<PathBuf> {
    stage_by(root, prefix, |staged| {
        file.rewind()?;
        io::copy(&mut file, staged).map(drop)
    })
}

fn stage_by(root: &Path, prefix: &str, mut write: impl FnMut(&mut File) -> io::Result<()>) -> io::Result<PathBuf> {
    loop {
        let path = root.join(format!("{prefix}-{}", STAGED.fetch_add(1, Ordering::Relaxed)));
        if let Some(folder) = path.parent() {
            make_folders(folder)?;
        }
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            // Left by a process that died; its owner or a sweep takes care of it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        return match write(&mut file).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(path),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        };
    }
}

/// Moves a staged file under its name, over whatever stands there.
pub(crate) fn publish(staged: &Path, target: &Path) -> io::Result<()> {
    let folder = folder_of(target)?;
    let moved = make_folders(folder).and_then(|()| fs::rename(staged, target));
    if moved.is_err() {
        let _ = fs::remove_file(staged);
    }
    moved?;
    sync_folder(folder)
}

/// Gives a staged file its name if the name is free, and says whether it was. The staged name goes away in either case.
pub(crate) fn publish_new(staged: &Path, target: &Path) -> io::Result<bool> {
    let folder = folder_of(target)?;
    let linked = make_folders(folder).and_then(|()| link(staged, target));
    let created = match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    // Synced in either case: who finds the name taken relies on it as much as who took it.
    if created.is_ok() {
        sync_folder(folder)?;
    }
    created
}

/// Tries whether files can be linked, by two names that it removes again. Nothing of it needs to survive, so nothing is
/// synced.
pub(crate) fn try_link(from: &Path, to: &Path) -> io::Result<()> {
    make_folders(folder_of(from)?)?;
    drop(File::create_new(from)?);
    let linked = link(from, to);
    let _ = fs::remove_file(to);
    fs::remove_file(from)?;
    linked
}

/// A hard link: the one step of local disk that takes a name only when it is free.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).map_err(|error| match error.kind() {
        // What file systems say that know no links: vfat, exFAT, shares, FUSE.
        ErrorKind::PermissionDenied
        | ErrorKind::Unsupported
        | ErrorKind::InvalidInput
        | ErrorKind::TooManyLinks
        | ErrorKind::CrossesDevices => {
            io::Error::new(ErrorKind::Unsupported, format!("the file system makes no hard link: {error}"))
        }
        _ => error,
    })
}

/// Removes a staged file that has served.
pub(crate) fn unstage(staged: &Path) {
    // What stays is found by the next sweep.
    let _ = fs::remove_file(staged);
}

fn folder_of(target: &Path) -> io::Result<&Path> {
    target.parent().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))
}

/// Makes a folder and its missing parents, each synced into the folder that names it.
pub(crate) fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) => return Err(error),
    }
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// The names of all files under `folder` of `root`, relative to the root, in no order. No file is looked at: a lake has
/// many.
pub(crate) fn names(root: &Path, folder: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    walk(root, folder, |name, _| {
        found.push(name);
        Ok(())
    })?;
    Ok(found)
}

/// The same with their sizes. A file that goes away meanwhile is not there.
pub(crate) fn objects(root: &Path, folder: &str) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    walk(root, folder, |name, entry| {
        match fs::metadata(entry.path()) {
            Ok(held) => found.push((name, held.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    Ok(found)
}

/// The folders directly under a folder, by their names relative to the root, in no order.
pub(crate) fn folders(root: &Path, folder: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in entries(root, folder)? {
        let entry = entry?;
        if fs::metadata(entry.path()).is_ok_and(|held| held.is_dir()) {
            found.push(below(folder, &entry));
        }
    }
    Ok(found)
}

fn walk(root: &Path, folder: &str, mut visit: impl FnMut(String, &DirEntry) -> io::Result<()>) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in entries(root, &folder)? {
            let entry = entry?;
            let name = below(&folder, &entry);
            if entry.file_type()?.is_dir() {
                folders.push(name);
            } else {
                visit(name, &entry)?;
            }
        }
    }
    Ok(())
}

/// What stands in a folder; nothing where it was not made yet, or removed meanwhile.
fn entries(root: &Path, folder: &str) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    let entries = match fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    Ok(entries.into_iter().flatten())
}

/// A name that is not UTF-8 is untracked, whatever it is shown as.
fn below(folder: &str, entry: &DirEntry) -> String {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") }
}

/// Syncs a folder, so that the names in it survive a power cut. Some file systems of other machines and other systems
/// cannot; that is said once.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|opened| opened.sync_all()) {
        Err(error) if cannot_sync(&error) => {
            if !IS_UNSYNCED_SAID.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    folder = %folder.display(), %error,
                    "the file system of the lake cannot sync folders: after a power cut the newest commits may be missing, and are fetched again"
                );
            }
            Ok(())
        }
        synced => synced,
    }
}

/// Whether it was said that folders cannot be synced.
#[cfg(unix)]
static IS_UNSYNCED_SAID: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether an error says that this cannot be done at all, and not that it went wrong.
#[cfg(unix)]
fn cannot_sync(error: &io::Error) -> bool {
    /// A file that is not open for what was asked, the same on all systems.
    const BAD_DESCRIPTOR: i32 = 9;
    matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::IsADirectory
    ) || error.raw_os_error() == Some(BAD_DESCRIPTOR)
}

/// Elsewhere folders cannot be opened to be synced; the file system orders these changes itself.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix, where it can fail")]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_and_nothing_stays_staged() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("a/b/one");
        for (bytes, created) in [(b"first", true), (b"other", false)] {
            let staged = stage(root.path(), "_staging/x", bytes).expect("staged");
            assert_eq!(publish_new(&staged, &target).expect("linked"), created);
            unstage(&staged);
        }
        assert_eq!(fs::read(&target).expect("the file"), b"first");
        assert_eq!(fs::read_dir(root.path().join("_staging")).expect("the folder").count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_cannot_be_synced_is_no_error_and_a_failing_disk_is_one() {
        sync_folder(Path::new("/proc/self")).expect("its file system cannot");
        assert!(IS_UNSYNCED_SAID.load(Ordering::Relaxed));
        assert!(sync_folder(Path::new("/proc/self/no-such-folder")).is_err());
        for (errno, cannot) in
            [(22, true), (95, true), (38, true), (9, true), (13, true), (5, false), (28, false), (2, false)]
        {
            assert_eq!(cannot_sync(&io::Error::from_raw_os_error(errno)), cannot, "{errno}");
        }
    }

    #[test]
    fn a_try_to_link_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let [from, to] = ["_lease/from", "_lease/to"].map(|name| root.path().join(name));
        try_link(&from, &to).expect("this file system knows links");
        assert_eq!(names(root.path(), "").expect("listed"), Vec::<String>::new());
        assert!(try_link(&from, &root.path().join("no/such/folder")).is_err());
        assert_eq!(names(root.path(), "").expect("listed"), Vec::<String>::new(), "also when it fails");
    }

    #[test]
    fn sizes_and_folders_are_those_of_the_disk() {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in [("a/x=1/one", "1"), ("a/x=2/two", "22"), ("a/three", "333")] {
            make_folders(folder_of(&root.path().join(path)).expect("a folder")).expect("made");
            fs::write(root.path().join(path), text).expect("written");
        }
        let mut found = objects(root.path(), "a").expect("listed");
        found.sort();
        assert_eq!(found, [("a/three".to_owned(), 3), ("a/x=1/one".to_owned(), 1), ("a/x=2/two".to_owned(), 2)]);
        let mut found = folders(root.path(), "a").expect("listed");
        found.sort();
        assert_eq!(found, ["a/x=1", "a/x=2"]);
        assert_eq!(folders(root.path(), "").expect("listed"), ["a"]);
        assert_eq!(folders(root.path(), "none").expect("listed"), Vec::<String>::new());
    }

    #[test]
    fn all_files_below_a_folder_are_named() {
        let root = tempfile::tempdir().expect("a folder");
        for path in ["a/one", "a/b=1/two#1", "a/b=1/c/三 3", "other/four"] {
            make_folders(folder_of(&root.path().join(path)).expect("a folder")).expect("made");
            fs::write(root.path().join(path), "").expect("written");
        }
        fs::create_dir(root.path().join("a/empty")).expect("made");
        let mut found = names(root.path(), "a").expect("listed");
        found.sort();
        assert_eq!(found, ["a/b=1/c/三 3", "a/b=1/two#1", "a/one"]);
        assert_eq!(names(root.path(), "none").expect("listed"), Vec::<String>::new());
        assert!(names(root.path(), "a/one").is_err(), "no folder");
    }

    #[test]
    fn a_leftover_of_the_same_name_is_passed_by() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("_staging")).expect("the folder");
        let next = STAGED.load(Ordering::Relaxed);
        for n in next..next + 20 {
            fs::write(root.path().join(format!("_staging/x-{n}")), "left").expect("written");
        }
        let staged = stage(root.path(), "_staging/x", b"new").expect("staged");
        assert_eq!(fs::read(staged).expect("the file"), b"new");
    }

    #[test]
    fn a_file_is_staged_from_its_beginning() {
        let root = tempfile::tempdir().expect("a folder");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"from the beginning").expect("written");
        let staged = stage_file(root.path(), "_staging/x", &file).expect("staged");
        assert_eq!(fs::read(staged).expect("the file"), b"from the beginning");
    }
}
