//! Whether a store really creates only where nothing stands, tried before a log is written by more than one.
//!
//! Some stores that speak S3 refuse the condition, and some ignore it and say "done". Behind the latter two runs would overwrite each
//! other's commits, so the same name is created twice, and the second must find it taken. A passing probe is no proof of what a store does
//! under load; a failing one is reason enough.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutPayload};

use super::layout;
use super::s3::{Bucket, refuses_condition};
use super::store::{Store, Writers};
use crate::error::{Error, ErrorKind, Result};
use crate::id::RunId;

/// What to do about a store without conditional puts.
pub(super) const SINGLE_WRITER: &str = "give `--single-writer` and schedule one run at a time on this lake, or use a store that \
knows `If-None-Match: *` (AWS S3, MinIO, Cloudflare R2)";

/// What came of trying to create the same name twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The second try found the name taken.
    Kept,
    /// The store refused to try, for this reason.
    Refused(String),
    /// The store did it again.
    Ignored,
}

/// Fails when several may write and the bucket cannot keep them apart. Local disk and memory are known to.
pub(super) async fn check(store: &Store, run: RunId) -> Result<()> {
    let Some(bucket) = store.bucket().filter(|_| store.writers() == Writers::Many) else { return Ok(()) };
    let refused = match create_twice(store, bucket, run).await? {
        Condition::Kept => return Ok(()),
        Condition::Refused(why) => {
            Error::new(ErrorKind::Lake, "the store refuses to create an object only where nothing stands").because(why)
        }
        Condition::Ignored => Error::new(
            ErrorKind::Lake,
            "the store writes over an object that it was asked to create only where nothing stands",
        ),
    };
    Err(refused.with("lake", store.root()).hint(SINGLE_WRITER))
}

/// Creates the same name twice, and deletes it.
pub(super) async fn create_twice(store: &Store, bucket: &Bucket, run: RunId) -> Result<Condition> {
    let name = layout::probe(run, "create");
    let target = Path::from(name.as_str());
    let mut condition = Condition::Ignored;
    for attempt in ["first", "second"] {
        let body = PutPayload::from(Bytes::from_static(attempt.as_bytes()));
        match bucket.hasty.put_opts(&target, body, PutMode::Create.into()).await {
            // The last answer counts: a first try that finds the name taken was its own lost request.
            Ok(_) => condition = Condition::Ignored,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                condition = Condition::Kept;
            }
            Err(error) if refuses_condition(&error) => {
                condition = Condition::Refused(bucket.explain(&error).text);
                break;
            }
            Err(error) => return Err(store.failed("create", &name, &error)),
        }
    }
    match bucket.hasty.delete(&target).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(condition),
        Err(error) => Err(store.failed("delete", &name, &error)),
    }
}
