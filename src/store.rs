//! The few things that a lake asks of an object store, the same on every store.
//!
//! - [`put_unique`](Store::put_unique): bytes under a name that never had and never gets other bytes; whole or not at
//!   all; its size is asked back afterwards, because stores exist that answer "done" and keep nothing.
//! - [`create`](Store::create): bytes under a name only where nothing stands. That the name was taken is an outcome,
//!   not an error, and it may be our own first attempt that took it: a store's client repeats what it got no answer to.
//! - reading, listing, and deleting, where what is already gone is fine.
//!
//! An error of any of these means "unknown": the effect may have happened, may still happen, or not. Callers are
//! written for that. Errors name the object and never a credential.

mod body;
pub(crate) mod capability;
pub(crate) mod failpoint;
mod file;
mod list;
mod local;
mod open;
pub(crate) mod s3;

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

pub(crate) use self::file::FetchedFile;
use crate::error::{Error, ErrorClass, Result};
use crate::store::body::ObjectBody;
use crate::store::failpoint::{Effect, FailPoints, Op};
use crate::store::s3::{Bucket, Contact, Explained, is_taken, misses_bucket};
use crate::text::{Text, key, text};

/// What to do about a folder in which no name can be taken in one step.
const NO_LINKS: &str = key!(
    "several runs are kept apart by hard links: put the lake's folder on one file system that knows them (ext4, XFS, APFS, \
NTFS), or give `--single-writer` and schedule one run at a time"
);

/// What a lake is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only to read: it must exist, and nothing in it is changed.
    Read,
    /// To write: a folder that does not exist is made.
    Write,
}

/// How many may write a log at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writers {
    /// Any number: the store creates an object only where nothing stands.
    #[default]
    Many,
    /// One, which its user vouches for: the store knows no such condition. Manifests carry their commit in their names,
    /// so that a second writer is seen afterwards.
    Single,
}

/// What came of [`Store::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The name was free and now holds our bytes.
    New,
    /// Something stands there; perhaps our own first attempt.
    Taken,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its name, relative to the root of the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// The root of a lake on some object store.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The folder, for local disk: there the store writes for itself, see [`local`].
    folder: Option<Arc<PathBuf>>,
    /// The bucket, for S3.
    bucket: Option<Arc<Bucket>>,
    writers: Writers,
    /// What people call the root: a folder, or a URI.
    name: Arc<str>,
    fail_points: FailPoints,
}

impl Store {
    /// The same lake, written by so many.
    #[must_use]
    pub fn written_by(self, writers: Writers) -> Self {
        Self { writers, ..self }
    }

    /// The same lake, of which an object store is asked again for so long when it is busy.
    #[must_use]
    pub fn retrying_for(self, time: Duration) -> Self {
        self.bucket.iter().for_each(|bucket| bucket.retry_for(time));
        self
    }

    /// How many may write its logs at the same time.
    pub fn writers(&self) -> Writers {
        self.writers
    }

    /// The root: the absolute path of a local folder, or a URI.
    pub fn root(&self) -> &str {
        &self.name
    }

    /// The absolute path or URI of an object, as readers take it.
    pub fn uri(&self, path: &str) -> String {
        match &self.folder {
            Some(folder) => folder.join(path).display().to_string(),
            None => format!("{}/{path}", self.name.trim_end_matches('/')),
        }
    }

    /// Puts `bytes` under a unique name. `staging` is the name under which local disk holds them until they are whole.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake); what stands under the name afterwards is unknown, but never a part
    /// of the bytes.
    pub async fn put_unique(&self, path: &str, bytes: Bytes, staging: &str) -> Result<()> {
        self.put_unique_body(path, ObjectBody::Memory(bytes), staging).await
    }

    async fn put_unique_body(&self, path: &str, body: ObjectBody, staging: &str) -> Result<()> {
        let size = body.size();
        self.put_body(path, body, staging).await?;
        let held = self.objects.head(&Path::from(path)).await.map_err(|error| self.failed("check", path, &error))?.size;
        if held == size {
            return Ok(());
        }
        Err(Error::new(
            ErrorClass::StoreUnsound,
            text!("the store holds {held} bytes of {size} that it acknowledged", held, size),
        )
        .with("object", self.uri(path))
        .hint("the store loses data: run `wdt-lake doctor`"))
    }

    /// Puts `bytes` under a name, over whatever stands there, in one step.
    pub(crate) async fn put(&self, path: &str, bytes: Bytes, staging: &str) -> Result<()> {
        self.put_body(path, ObjectBody::Memory(bytes), staging).await
    }

    async fn put_body(&self, path: &str, body: ObjectBody, staging: &str) -> Result<()> {
        let cannot_read = |error| self.failure(ErrorClass::ObjectFailed, "write", path).because(error);
        let shown = match &body {
            ObjectBody::Memory(bytes) => Some(bytes.clone()),
            // A test that interferes wants to see the bytes.
            file if self.fail_points.are_watched() => Some(file.whole().await.map_err(cannot_read)?),
            ObjectBody::File(..) => None,
        };
        let effect = Effect { op: Op::Put, path, body: shown.as_ref() };
        self.fail_points.before(effect).await?;
        match &self.folder {
            Some(folder) => {
                let staged = self.stage(folder, path, body, staging).await?;
                self.fail_points.point("put.staged").await?;
                let target = folder.join(path);
                self.blocking("write", path, move || local::publish(&staged, &target)).await?;
                self.fail_points.point("put.published").await?;
            }
            None => {
                self.fail_points.point("put.sending").await?;
                let in_parts = self.bucket.as_ref().zip(s3::upload::part_bytes(body.size(), &self.fail_points));
                let put = match in_parts {
                    Some((bucket, part_bytes)) => {
                        s3::upload::put_in_parts(bucket, path, body, part_bytes, staging, self.fail_points.clone())
                            .await
                    }
                    None => {
                        let bytes = body.whole().await.map_err(cannot_read)?;
                        self.objects.put(&Path::from(path), PutPayload::from(bytes)).await.map(|_| ())
                    }
                };
                put.map_err(|error| self.failed("write", path, &error))?;
                self.fail_points.point("put.sent").await?;
            }
        }
        self.fail_points.after(effect).await
    }

    /// Puts `bytes` under a name where nothing stands.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake); whether the bytes stand there, or come to stand there, is then
    /// unknown.
    pub async fn create(&self, path: &str, bytes: Bytes, staging: &str) -> Result<Created> {
        let effect = Effect { op: Op::Create, path, body: Some(&bytes) };
        self.fail_points.before(effect).await?;
        let created = match &self.folder {
            Some(folder) => {
                let staged = self.stage(folder, path, ObjectBody::Memory(bytes.clone()), staging).await?;
                self.fail_points.point("create.staged").await?;
                let (from, target) = (staged.clone(), folder.join(path));
                let new = self.blocking("create", path, move || local::publish_new(&from, &target)).await;
                self.fail_points.point("create.published").await?;
                self.blocking("create", path, move || {
                    local::unstage(&staged);
                    Ok(())
                })
                .await?;
                if new? { Created::New } else { Created::Taken }
            }
            None => {
                let target = Path::from(path);
                self.fail_points.point("create.sending").await?;
                let put = match &self.bucket {
                    Some(bucket) => bucket.create(&target, bytes.clone().into()).await,
                    None => {
                        let put = self.objects.put_opts(&target, bytes.clone().into(), PutMode::Create.into());
                        put.await.map(|_| ())
                    }
                };
                self.fail_points.point("create.sent").await?;
                match put {
                    Ok(()) => Created::New,
                    Err(error) if is_taken(&error) => Created::Taken,
                    Err(error) => return Err(self.failed("create", path, &error)),
                }
            }
        };
        self.fail_points.after(effect).await?;
        Ok(created)
    }

    /// The bytes of an object; `None` when nothing stands there.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let effect = Effect { op: Op::Get, path, body: None };
        self.fail_points.before(effect).await?;
        let got = match self.objects.get(&Path::from(path)).await {
            Ok(answer) => Some(answer.bytes().await.map_err(|error| self.failed("read", path, &error))?),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(self.failed("read", path, &error)),
        };
        self.fail_points.after(effect).await?;
        Ok(got)
    }

    /// Removes an object; one that is already gone is fine.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let effect = Effect { op: Op::Delete, path, body: None };
        self.fail_points.before(effect).await?;
        match self.objects.delete(&Path::from(path)).await {
            Ok(()) => self.fail_points.after(effect).await,
            Err(error) if is_absent(&error) => self.fail_points.after(effect).await,
            Err(error) => Err(self.failed("delete", path, &error)),
        }
    }

    /// Removes what a dead process has half written: a staged file, or in a bucket the upload of which there is a note.
    pub(crate) async fn delete_staged(&self, path: &str) -> Result<()> {
        if let Some(bucket) = self.bucket()
            && let Some(note) = self.get(path).await?
        {
            let aborted = s3::upload::abort_noted(bucket, &note).await;
            aborted.map_err(|error| self.failed("abort the upload of", path, &error))?;
        }
        self.delete(path).await
    }

    /// A named point at which tests may end the process.
    pub(crate) async fn point(&self, name: &'static str) -> Result<()> {
        self.fail_points.point(name).await
    }

    #[cfg(test)]
    pub(crate) fn with_fail_points(&self, fail_points: FailPoints) -> Self {
        Self { fail_points, ..self.clone() }
    }

    async fn stage(&self, folder: &Arc<PathBuf>, path: &str, body: ObjectBody, staging: &str) -> Result<PathBuf> {
        let (folder, staging) = (Arc::clone(folder), staging.to_owned());
        let stage = move || match &body {
            ObjectBody::Memory(bytes) => local::stage(&folder, &staging, bytes),
            ObjectBody::File(file, _) => local::stage_file(&folder, &staging, file),
        };
        self.blocking("write", path, stage).await
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &str,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        blocking(work).await?.map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    key!("free some space and run again")
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    key!("let this user write the lake's folder")
                }
                std::io::ErrorKind::Unsupported | std::io::ErrorKind::CrossesDevices => NO_LINKS,
                _ => key!("nothing half written counts: it is safe to run again"),
            };
            let class = match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorClass::StoreFull,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorClass::FolderUnusable
                }
                std::io::ErrorKind::Unsupported | std::io::ErrorKind::CrossesDevices => ErrorClass::NoConditionalCreate,
                _ => ErrorClass::ObjectFailed,
            };
            self.failure(class, action, path).hint(hint).because(error)
        })
    }

    pub(crate) fn failed(&self, action: &'static str, path: &str, error: &object_store::Error) -> Error {
        let Some(bucket) = &self.bucket else {
            // Its text holds its causes already.
            let hint =
                key!("check that the folder can be reached; nothing half written counts, so it is safe to run again");
            return self.failure(ErrorClass::ObjectFailed, action, path).hint(hint).because(error.to_string());
        };
        let Explained { contact, class, text, hint } = bucket.explain(error);
        let failed = match contact {
            Contact::Made => self.failure(class, action, path),
            Contact::Refused => self.unreached("the store of the lake cannot be reached", bucket),
            Contact::Silent => self.unreached("the store of the lake does not answer", bucket),
        };
        failed.hint(hint).because(text)
    }

    fn unreached(&self, message: &'static str, bucket: &Bucket) -> Error {
        Error::new(ErrorClass::StoreUnreached, message).with("lake", self.root()).with("endpoint", &bucket.endpoint)
    }

    /// The bucket, for S3.
    pub(crate) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }

    /// The folder, for local disk.
    pub(crate) fn folder(&self) -> Option<&FsPath> {
        self.folder.as_ref().map(|folder| folder.as_path())
    }

    fn failure(&self, class: ErrorClass, action: &'static str, path: &str) -> Error {
        Error::new(class, text!("cannot {action} an object of the lake", action = Text::from(action)))
            .with("object", self.uri(path))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.name).finish()
    }
}

/// Does work on local disk off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<std::io::Result<T>> {
    // Where a test polls by hand there are no other threads, so that a turn of its scheduler is whole.
    #[cfg(test)]
    if tokio::runtime::Handle::try_current().is_err() {
        return Ok(work());
    }
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(|error| Error::internal("cannot finish a job on disk: its thread ended").because(error))
}

/// Whether nothing stands there. Where there is no bucket, nobody knows.
fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !misses_bucket(error)
}
