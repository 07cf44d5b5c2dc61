//! A file that stands under its name only when it is complete.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, ErrorClass, Result};
use crate::store::Store;

/// A file in the making, beside the one that it will be. Dropped, it is gone.
pub(in crate::cli) struct NewFileAt {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl NewFileAt {
    /// Begins a file that will stand at `path`, in the place of one that may stand there.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when something else than a file stands there, or the path lies
    /// within the folder of the lake; [`ErrorKind::Output`](crate::ErrorKind::Output) when none can be made.
    pub(in crate::cli) fn create<'a>(path: &Path, lake: impl Into<Option<&'a Store>>) -> Result<Self> {
        if path.metadata().is_ok_and(|held| !held.is_file()) {
            return Err(Error::new(ErrorClass::OutputPlaceWrong, "what stands there is no file")
                .with("path", path.display())
                .hint("name a file, or `-` for standard output"));
        }
        let name = path.file_name().ok_or_else(|| {
            Error::new(ErrorClass::OutputPlaceWrong, "this is no name of a file").with("path", path.display())
        })?;
        if let Some(lake) = lake.into().filter(|lake| is_within(folder(path), lake)) {
            return Err(Error::new(ErrorClass::OutputPlaceWrong, "the path lies within the folder of the lake")
                .with("path", path.display())
                .with("lake", lake.root())
                .hint("name a path elsewhere: what reads the lake by a glob would take the file for a part of it"));
        }
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{}.", name.to_string_lossy());
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // The umask takes away what others may not do.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder(path)).map_err(|error| cannot_write(path).because(error))?;
        Ok(Self { temporary, path: path.to_owned() })
    }

    /// The file, emptied, to be written from its beginning.
    pub(in crate::cli) fn begin(&self) -> Result<File> {
        emptied(self.temporary.as_file()).map_err(|error| cannot_write(&self.path).because(error))
    }

    /// Gives the file its name, once its bytes are on disk; their number.
    pub(in crate::cli) fn publish(self) -> Result<u64> {
        let Self { temporary, path } = self;
        let published = || -> io::Result<u64> {
            temporary.as_file().sync_all()?;
            let file = temporary.persist(&path).map_err(|error| error.error)?;
            // Else a crash of the machine may take the name back, while the token stays.
            if cfg!(unix) {
                File::open(folder(&path))?.sync_all()?;
            }
            Ok(file.metadata()?.len())
        };
        published().map_err(|error| cannot_write(&path).because(error))
    }
}

/// A handle on the file, which holds nothing any more.
pub(super) fn emptied(file: &File) -> io::Result<File> {
    let mut file = file.try_clone()?;
    file.set_len(0)?;
    file.rewind()?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a folder is that of the lake or lies in it, whatever links lead there. One that is not there is not.
fn is_within(folder: &Path, lake: &Store) -> bool {
    let lake = lake.folder().map(Path::canonicalize);
    lake.is_some_and(|lake| lake.is_ok_and(|lake| folder.canonicalize().is_ok_and(|folder| folder.starts_with(lake))))
}

/// That a file cannot be written.
pub(in crate::cli) fn cannot_write(path: &Path) -> Error {
    Error::new(ErrorClass::OutputLost, "cannot write the file")
        .with("path", path.display())
        .hint("see that its folder is there and can be written, and that there is space left; then run the same command again")
}
