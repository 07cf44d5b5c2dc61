//! Objects that are too large for memory: fetched to a file of local disk, and put from one.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _};

use super::body::ObjectBody;
use super::failpoint::{Effect, Op};
use super::s3::upload::PART_BYTES;
use super::{Store, is_absent};
use crate::digest::{Sha256, Sha256Stream};
use crate::error::{Error, ErrorClass, Result};

/// An object on local disk.
#[derive(Debug)]
pub(crate) struct FetchedFile {
    /// Its bytes, to be read only. The file has no name, or is the object itself; who reads it begins by seeking.
    pub(crate) file: File,
    /// How many they are.
    pub(crate) bytes: u64,
    /// Their digest.
    pub(crate) sha256: Sha256,
}

impl Store {
    /// An object as a file of local disk; `None` when nothing stands there. It is digested as it comes, a part at a
    /// time, and never in memory as a whole. Of a lake on local disk the object itself is opened: an object whose name
    /// is unique never changes, and an open file can be read when its name is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer, or no temporary file can be written.
    pub(crate) async fn get_to_file(&self, path: &str) -> Result<Option<FetchedFile>> {
        let effect = Effect { op: Op::Get, path, body: None };
        self.fail_points.before(effect).await?;
        let fetched = match self.folder() {
            Some(folder) => {
                let target = folder.join(path);
                let read = super::blocking(move || read_in_place(&target)).await?;
                read.map_err(|error| self.cannot_read(path, error.into()))?
            }
            None => self.download(path).await?,
        };
        self.fail_points.after(effect).await?;
        Ok(fetched)
    }

    /// Puts the bytes of a file under a unique name, as [`put_unique`](Store::put_unique) puts those of memory. Of a
    /// large file a part is in memory at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake); what stands under the name afterwards is unknown, but never a part
    /// of the bytes.
    pub(crate) async fn put_unique_file(&self, path: &str, file: File, staging: &str) -> Result<()> {
        let size = file.metadata().map_err(temporary)?.len();
        self.put_unique_body(path, ObjectBody::File(Arc::new(file), size), staging).await
    }

    async fn download(&self, path: &str) -> Result<Option<FetchedFile>> {
        let Some((first, size)) = self.first_part(path).await? else { return Ok(None) };
        let mut held = Download::default().add(first).await?;
        while held.bytes < size {
            let span = held.bytes..size.min(held.bytes + PART_BYTES as u64);
            let wanted = span.end - span.start;
            let part = self.objects.get_range(&Path::from(path), span).await;
            let part = part.map_err(|error| self.failed("read", path, &error))?;
            if part.len() as u64 != wanted {
                return Err(self
                    .failure(ErrorClass::ObjectFailed, "read", path)
                    .because("the store gave another part than was asked for"));
            }
            held = held.add(part).await?;
        }
        let Download { file, bytes, digest } = held;
        let file = match file {
            Some(file) => file,
            None => tempfile::tempfile().map_err(temporary)?,
        };
        Ok(Some(FetchedFile { file, bytes, sha256: digest.finish() }))
    }

    /// The first part of an object, and the size of the whole.
    async fn first_part(&self, path: &str) -> Result<Option<(Bytes, u64)>> {
        let target = Path::from(path);
        let first = GetOptions::new().with_range(Some(0..PART_BYTES as u64));
        let failed = |error| self.failed("read", path, &error);
        match self.objects.get_opts(&target, first).await {
            Ok(answer) => {
                let size = answer.meta.size;
                Ok(Some((answer.bytes().await.map_err(failed)?, size)))
            }
            Err(error) if is_absent(&error) => Ok(None),
            // An object without bytes has no first part.
            Err(error) => match self.objects.head(&target).await {
                Ok(held) if held.size == 0 => Ok(Some((Bytes::new(), 0))),
                _ => Err(failed(error)),
            },
        }
    }

    fn cannot_read(&self, path: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        self.failed("read", path, &object_store::Error::Generic { store: "local disk", source })
    }
}

/// Opens and digests an object of local disk; none when nothing stands there.
fn read_in_place(target: &std::path::Path) -> io::Result<Option<FetchedFile>> {
    let mut file = match File::open(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut digest = Sha256Stream::default();
    let bytes = io::copy(&mut file, &mut digest)?;
    Ok(Some(FetchedFile { file, bytes, sha256: digest.finish() }))
}

/// What has come of an object so far.
#[derive(Default)]
struct Download {
    file: Option<File>,
    bytes: u64,
    digest: Sha256Stream,
}

impl Download {
    async fn add(self, part: Bytes) -> Result<Self> {
        let Self { file, bytes, mut digest } = self;
        let write = move || {
            let mut file = match file {
                Some(file) => file,
                None => tempfile::tempfile()?,
            };
            file.write_all(&part)?;
            digest.update(&part);
            Ok(Self { file: Some(file), bytes: bytes + part.len() as u64, digest })
        };
        super::blocking(write).await?.map_err(temporary)
    }
}

fn temporary(error: io::Error) -> Error {
    Error::new(ErrorClass::TemporaryFailed, "cannot use a temporary file")
        .because(error)
        .hint("make room in the folder for temporary files, or set TMPDIR to another")
}
