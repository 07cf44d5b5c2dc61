//! An upload in parts, for objects that are too big for one request.
//!
//! It is completed, or it is aborted: parts that are neither cost money and are seen by nobody. The upload runs as a task of its own, so
//! that a caller which goes away does not leave it half way. Only the death of the process does; a lifecycle rule of the bucket clears
//! that. Nothing stands under the name before the upload is complete.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};

use crate::land::seam::Seam;

/// From this size on an object is put in parts.
pub(in crate::land) const THRESHOLD_BYTES: usize = 32 << 20;
/// The size of a part; all stores take 5 MiB and more.
const PART_BYTES: usize = 8 << 20;

/// The size of the parts in which an object of `bytes` is put; `None` for one that is put whole.
pub(in crate::land) fn part_bytes(bytes: usize, seam: &Seam) -> Option<usize> {
    let (threshold, part) = seam.part_bytes().map_or((THRESHOLD_BYTES, PART_BYTES), |part| (part, part));
    (bytes >= threshold).then_some(part)
}

/// Puts `bytes` in parts of `part_bytes`.
pub(in crate::land) async fn put_in_parts(
    objects: Arc<dyn ObjectStore>,
    path: Path,
    bytes: Bytes,
    part_bytes: usize,
    seam: Seam,
) -> object_store::Result<()> {
    let task = tokio::spawn(async move {
        let mut upload = objects.put_multipart(&path).await?;
        let done = send(&mut *upload, &bytes, part_bytes, &seam).await;
        let Err(error) = done else { return Ok(()) };
        // The answer to a completion may be lost, and the repeated request finds no upload: then the object is there, whole.
        if objects.head(&path).await.is_ok_and(|held| held.size == bytes.len() as u64) {
            return Ok(());
        }
        if let Err(abort) = upload.abort().await {
            tracing::warn!(object = %path, error = kind(&abort), "an upload in parts could not be aborted; a lifecycle rule of the bucket clears it");
        }
        Err(error)
    });
    task.await.map_err(|error| object_store::Error::JoinError { source: error })?
}

/// Begins an upload, sends one part and aborts it: whether the store can forget an upload.
pub(in crate::land) async fn begin_and_abort(objects: &dyn ObjectStore, path: &Path) -> object_store::Result<()> {
    let mut upload = objects.put_multipart(path).await?;
    let sent = upload.put_part(PutPayload::from_static(b"never seen")).await;
    upload.abort().await?;
    sent
}

async fn send(
    upload: &mut dyn MultipartUpload,
    bytes: &Bytes,
    part_bytes: usize,
    seam: &Seam,
) -> object_store::Result<()> {
    pass(seam, "upload.begun").await?;
    for start in (0..bytes.len()).step_by(part_bytes) {
        let part = bytes.slice(start..bytes.len().min(start + part_bytes));
        upload.put_part(PutPayload::from(part)).await?;
        pass(seam, "upload.part_sent").await?;
    }
    pass(seam, "upload.parts_sent").await?;
    upload.complete().await.map(|_| ())
}

async fn pass(seam: &Seam, point: &'static str) -> object_store::Result<()> {
    let passed = seam.point(point).await;
    passed.map_err(|error| object_store::Error::Generic { store: "S3", source: error.into() })
}

/// Logs get the kind of an error only: its text may hold an address.
fn kind(error: &object_store::Error) -> &'static str {
    match error {
        object_store::Error::NotFound { .. } => "not found",
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => "not allowed",
        _ => "no usable answer",
    }
}
