//! A file that stands under its name only when it is complete.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};

/// A file in the making, beside the one that it will be. Dropped, it is gone.
pub(super) struct NewFileAt {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl NewFileAt {
    /// Begins a file that will stand at `path`, in the place of one that may stand there.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when something else than a file stands there, [`ErrorKind::Output`] when none can be made.
    pub(super) fn create(path: &Path) -> Result<Self> {
        if path.metadata().is_ok_and(|held| !held.is_file()) {
            return Err(Error::usage("what stands there is no file")
                .with("path", path.display())
                .hint("name a file, or `-` for standard output"));
        }
        let name =
            path.file_name().ok_or_else(|| Error::usage("this is no name of a file").with("path", path.display()))?;
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
    pub(super) fn begin(&self) -> Result<File> {
        emptied(self.temporary.as_file()).map_err(|error| cannot_write(&self.path).because(error))
    }

    /// Gives the file its name, once its bytes are on disk.
    pub(super) fn publish(self) -> Result<()> {
        let Self { temporary, path } = self;
        let published = || -> io::Result<()> {
            temporary.as_file().sync_all()?;
            temporary.persist(&path).map_err(|error| error.error)?;
            // Else a crash of the machine may take the name back, while the token stays.
            if cfg!(unix) { File::open(folder(&path))?.sync_all() } else { Ok(()) }
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

/// That a file cannot be written.
pub(super) fn cannot_write(path: &Path) -> Error {
    Error::new(ErrorKind::Output, "cannot write the file")
        .with("path", path.display())
        .hint("see that its folder is there and can be written, and that there is space left; then run again with the same `--since`")
}
