//! Whether a store really creates only where nothing stands, tried before a log is written by more than one.
//!
//! Some stores that speak S3 refuse the condition, and some ignore it and say "done", as Alibaba OSS does with its own
//! header in a bucket with versions. Behind the latter two runs would overwrite each other's commits, so the same name
//! is created twice, and the second must find it taken. A passing probe is no proof of what a store does under load; a
//! failing one is reason enough. A store that refuses everything, or keeps nothing, knows no condition either, but a
//! single writer is no help against that: so before one is advised, the same name is put without the condition.
//!
//! On local disk a name is created by a hard link, which not every file system knows.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::s3::{Bucket, CreateHeader, is_taken, refuses_condition};
use crate::error::{Error, ErrorClass, Result};
use crate::store::{Created, Store, Writers, local};
use crate::text::key;

/// What to do about a store without conditional puts.
const NO_CONDITION: &str = key!(
    "give `--single-writer` and schedule one run at a time on this lake, or use a store that knows \
`If-None-Match: *` (AWS S3, MinIO, Cloudflare R2); for Alibaba OSS set AWS_CONDITIONAL_PUT=oss"
);
/// What to do about one that does not know the header of OSS.
const NOT_OSS: &str = key!(
    "unset AWS_CONDITIONAL_PUT: `oss` is for Alibaba OSS; or give `--single-writer` and schedule one run at a \
time on this lake"
);
/// What to do about one that does not look at it.
const VERSIONED: &str = key!(
    "Alibaba OSS ignores it in a bucket whose versioning is enabled or suspended: use a bucket that never had \
versions, or give `--single-writer` and schedule one run at a time on this lake; for any other store unset AWS_CONDITIONAL_PUT"
);

/// Names the objects that a store is tried with: callers know where in a lake they may lie.
pub(crate) type ProbeName<'a> = &'a (dyn Fn(&str) -> String + Send + Sync);

/// What came of trying to create the same name twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The second try found the name taken.
    Kept,
    /// The store refused to try, for this reason.
    Refused(String),
    /// The store did it again.
    Ignored,
}

impl Condition {
    /// What to do about a store that does not keep the condition which this header makes.
    pub(crate) fn hint(&self, header: CreateHeader) -> &'static str {
        match (header, self) {
            (CreateHeader::IfNoneMatch, _) => NO_CONDITION,
            (CreateHeader::ForbidOverwrite, Self::Refused(_)) => NOT_OSS,
            (CreateHeader::ForbidOverwrite, _) => VERSIONED,
        }
    }
}

/// Fails when several may write and the store cannot keep them apart. Memory is known to.
///
/// `standing` is an object that stands already, mostly: then one create, which must find it taken, tells enough.
pub(crate) async fn check(store: &Store, standing: &str, name: ProbeName<'_>) -> Result<()> {
    if store.writers() == Writers::Single {
        return Ok(());
    }
    let Some(bucket) = store.bucket() else { return try_link(store, name).await };
    if finds_taken(store, standing).await? {
        return Ok(());
    }
    let condition = create_twice(store, bucket, name).await?;
    let hint = condition.hint(bucket.create_header);
    let refused = match condition {
        Condition::Kept => return Ok(()),
        Condition::Refused(why) => Error::new(
            ErrorClass::NoConditionalCreate,
            "the store refuses to create an object only where nothing stands",
        )
        .because(why),
        Condition::Ignored => Error::new(
            ErrorClass::NoConditionalCreate,
            "the store writes over an object that it was asked to create only where nothing stands",
        ),
    };
    Err(refused.with("lake", store.root()).with("asked by", bucket.create_header.text()).hint(hint))
}

/// Whether a create of what stands finds it taken. What goes wrong tells nothing: whoever asks tries more.
async fn finds_taken(store: &Store, standing: &str) -> Result<bool> {
    // Somebody may have deleted it in between, once.
    for _ in 0..2 {
        let Some(bytes) = store.get(standing).await? else { return Ok(false) };
        match store.create(standing, bytes, standing).await {
            Ok(Created::Taken) => return Ok(true),
            Ok(Created::New) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(false)
}

/// Whether the file system of a local lake knows hard links.
async fn try_link(store: &Store, name: ProbeName<'_>) -> Result<()> {
    let Some(folder) = store.folder() else { return Ok(()) };
    let [from, to] = ["link-from", "link-to"].map(|what| folder.join(name(what)));
    store.blocking("create", &name("link-to"), move || local::try_link(&from, &to)).await
}

/// Creates the same name twice, and deletes it.
pub(crate) async fn create_twice(store: &Store, bucket: &Bucket, name: ProbeName<'_>) -> Result<Condition> {
    let name = name("create");
    let target = Path::from(name.as_str());
    let tried = Probe { store, bucket, name: &name, target: &target }.run().await;
    // Whatever came of it: what stands there goes.
    let deleted = bucket.objects.delete(&target).await;
    let condition = tried?;
    match deleted {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(condition),
        Err(error) => Err(store.failed("delete", &name, &error)),
    }
}

struct Probe<'a> {
    store: &'a Store,
    bucket: &'a Bucket,
    name: &'a str,
    target: &'a Path,
}

impl Probe<'_> {
    async fn run(&self) -> Result<Condition> {
        let first = match self.create("first").await {
            Ok(is_new) => is_new,
            Err(error) if refuses_condition(&error) => return self.refused(&error).await,
            Err(error) => return Err(self.failed("create", &error)),
        };
        // The last answer counts: a first try that finds the name taken was its own lost request, which must have left
        // its bytes.
        if !first {
            self.expect(&["first"]).await?;
        }
        match self.create("second").await {
            Ok(false) => Ok(Condition::Kept),
            Ok(true) => {
                self.expect(&["first", "second"]).await?;
                Ok(Condition::Ignored)
            }
            Err(error) if refuses_condition(&error) => self.refused(&error).await,
            Err(error) => Err(self.failed("create", &error)),
        }
    }

    /// Whether the name was free.
    async fn create(&self, text: &'static str) -> object_store::Result<bool> {
        let body = PutPayload::from(Bytes::from_static(text.as_bytes()));
        match self.bucket.create(self.target, body).await {
            Ok(()) => Ok(true),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The condition is refused, when the same put works without it.
    async fn refused(&self, error: &object_store::Error) -> Result<Condition> {
        let body = PutPayload::from(Bytes::from_static(b"plain"));
        match self.bucket.objects.put(self.target, body).await {
            Ok(_) => {
                self.expect(&["plain"]).await?;
                Ok(Condition::Refused(self.bucket.explain(error).text))
            }
            Err(error) => Err(self.failed("write", &error)),
        }
    }

    /// Fails unless one of `texts` stands there.
    async fn expect(&self, texts: &[&str]) -> Result<()> {
        let held = self.store.get(self.name).await?;
        if held.is_some_and(|held| texts.iter().any(|text| held == text.as_bytes())) {
            return Ok(());
        }
        Err(Error::new(ErrorClass::StoreUnsound, "the store says that it wrote an object, and does not hold it")
            .with("object", self.store.uri(self.name))
            .hint("check that AWS_ENDPOINT_URL is the address of an S3 store and not of its web page"))
    }

    fn failed(&self, action: &'static str, error: &object_store::Error) -> Error {
        self.store.failed(action, self.name, error)
    }
}
