//! An upload in parts, for objects that are too big for one request.
//!
//! It is completed, or it is aborted: parts that are neither cost money and are seen by nobody. The upload runs as a
//! task of its own, so that a caller which goes away does not leave it half way. Only the death of the process does; so
//! before the first part a **note** is written where local disk has its half-written files, `{"object": ..., "upload":
//! ...}`, and who sweeps there [aborts](abort_noted) the upload. Nothing stands under the object's name before the
//! upload is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

use super::Bucket;
use crate::store::body::ObjectBody;
use crate::store::failpoint::FailPoints;

/// From this size on an object is put in parts.
pub(crate) const THRESHOLD_BYTES: usize = 32 << 20;
/// The size of a part; all stores take 5 MiB and more.
pub(crate) const PART_BYTES: usize = 8 << 20;

/// Tells the notes of one process apart.
static NOTED: AtomicU64 = AtomicU64::new(0);

/// The size of the parts in which an object of `bytes` is put; `None` for one that is put whole.
pub(crate) fn part_bytes(bytes: u64, fail_points: &FailPoints) -> Option<usize> {
    let (threshold, part) = fail_points.part_bytes().map_or((THRESHOLD_BYTES, PART_BYTES), |part| (part, part));
    (bytes >= threshold as u64).then_some(part)
}

/// What a note says: names are relative to the root of the lake.
#[derive(Serialize, Deserialize)]
struct Note {
    object: String,
    upload: String,
}

/// An upload that was begun.
struct Upload {
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    object: Path,
    id: String,
    note: Path,
    fail_points: FailPoints,
}

/// Puts `body` as `object` in parts of `part_bytes`; `staging` is what the name of the note begins with.
pub(crate) async fn put_in_parts(
    bucket: &Bucket,
    object: &str,
    body: ObjectBody,
    part_bytes: usize,
    staging: &str,
    fail_points: FailPoints,
) -> object_store::Result<()> {
    let (objects, uploads) = (Arc::clone(&bucket.objects), Arc::clone(&bucket.uploads));
    let object = Path::from(object);
    let note = Path::from(format!("{staging}-{}", NOTED.fetch_add(1, Ordering::Relaxed)));
    let task = async move {
        let id = uploads.create_multipart(&object).await?;
        let upload = Upload { objects, uploads, object, id, note, fail_points };
        let mut ended = upload.send(&body, part_bytes).await;
        // The answer to a completion may be lost, and the repeated request finds no upload: then the object is there,
        // whole.
        if ended.is_err() && upload.is_there(body.size()).await {
            ended = Ok(());
        }
        if ended.is_err() && upload.uploads.abort_multipart(&upload.object, &upload.id).await.is_err() {
            // The note stays, for the next sweep.
            return ended;
        }
        // A note that stays is no harm: a sweep finds that its upload has ended.
        let _ = upload.objects.delete(&upload.note).await;
        ended
    };
    let task = tokio::spawn(task.in_current_span());
    task.await.map_err(|error| object_store::Error::JoinError { source: error })?
}

impl Upload {
    async fn send(&self, body: &ObjectBody, part_bytes: usize) -> object_store::Result<()> {
        let note = Note { object: self.object.to_string(), upload: self.id.clone() };
        let note = serde_json::to_vec(&note).map_err(|error| failed(error.into()))?;
        self.objects.put(&self.note, note.into()).await?;
        self.pass("upload.begun").await?;
        let mut parts = Vec::new();
        for start in (0..body.size()).step_by(part_bytes) {
            let end = body.size().min(start + part_bytes as u64);
            let part = body.part(start..end).await.map_err(|error| failed(error.into()))?;
            parts.push(self.uploads.put_part(&self.object, &self.id, parts.len(), PutPayload::from(part)).await?);
            self.pass("upload.part_sent").await?;
        }
        self.pass("upload.parts_sent").await?;
        self.uploads.complete_multipart(&self.object, &self.id, parts).await.map(|_| ())
    }

    async fn is_there(&self, bytes: u64) -> bool {
        self.objects.head(&self.object).await.is_ok_and(|held| held.size == bytes)
    }

    async fn pass(&self, point: &'static str) -> object_store::Result<()> {
        self.fail_points.point(point).await.map_err(|error| failed(error.into()))
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source }
}

/// Aborts the upload that a note speaks of. One that has ended is fine, and so is a note that somebody else wrote.
pub(crate) async fn abort_noted(bucket: &Bucket, note: &[u8]) -> object_store::Result<()> {
    let Ok(Note { object, upload }) = serde_json::from_slice(note) else { return Ok(()) };
    match bucket.uploads.abort_multipart(&Path::from(object), &upload).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Begins an upload, sends one part and aborts it: whether the store can forget an upload.
pub(crate) async fn begin_and_abort(bucket: &Bucket, object: &str) -> object_store::Result<()> {
    let (uploads, object) = (&bucket.uploads, Path::from(object));
    let id = uploads.create_multipart(&object).await?;
    let sent = uploads.put_part(&object, &id, 0, PutPayload::from_static(b"never seen")).await;
    uploads.abort_multipart(&object, &id).await?;
    sent.map(|_| ())
}
