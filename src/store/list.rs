//! Listings, the same on every store.
//!
//! Whatever anybody else has put under the root is listed by its name, and a name that no lake could have made stops
//! nothing.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore as _;
use object_store::path::Path;

use super::failpoint::{Effect, Op};
use super::s3::{Bucket, ListQuery, Shown, Unlisted};
use super::{Object, Store};
use crate::error::{Error, ErrorClass, Result};
use crate::store::local;
use crate::text::key;

/// What to do about a store whose listings contradict themselves.
const UNBELIEVABLE: &str = key!(
    "check that AWS_ENDPOINT_URL is the address of an S3 store and not of its web page; `wdt-lake doctor` tries how it lists"
);

impl Store {
    /// Every object under a folder, in the order of names.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer, or answers what cannot be true.
    pub async fn list(&self, folder: &str) -> Result<Vec<Object>> {
        let effect = Effect { op: Op::List, path: folder, body: None };
        self.fail_points.before(effect).await?;
        let found = match (&self.folder, self.bucket()) {
            (Some(root), _) => {
                let (root, wanted) = (Arc::clone(root), folder.to_owned());
                let found = self.blocking("list", folder, move || local::objects(&root, &wanted)).await?;
                found.into_iter().map(|(path, bytes)| Object { path, bytes }).collect()
            }
            (None, Some(bucket)) => {
                self.listed(bucket, ListQuery { prefix: &below(folder), ..ListQuery::default() }).await?
            }
            (None, None) => self.of_memory(folder).await?,
        };
        self.fail_points.after(effect).await?;
        Ok(ordered(found))
    }

    /// The names of all objects under a folder, in their order: [`Store::list`] without the sizes, which on local disk
    /// cost a look at every file.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let Some(root) = &self.folder else {
            return Ok(self.list(folder).await?.into_iter().map(|object| object.path).collect());
        };
        let effect = Effect { op: Op::List, path: folder, body: None };
        self.fail_points.before(effect).await?;
        let (root, wanted) = (Arc::clone(root), folder.to_owned());
        let mut found = self.blocking("list", folder, move || local::names(&root, &wanted)).await?;
        self.fail_points.after(effect).await?;
        found.sort_unstable();
        Ok(found)
    }

    /// The objects under a folder whose names come after `offset`, in the order of names.
    pub(crate) async fn list_after(&self, folder: &str, offset: &str) -> Result<Vec<Object>> {
        let Some(bucket) = self.bucket() else {
            return Ok(self.list(folder).await?.into_iter().filter(|object| *object.path > *offset).collect());
        };
        let effect = Effect { op: Op::List, path: folder, body: None };
        self.fail_points.before(effect).await?;
        let query = ListQuery { prefix: &below(folder), after: Some(offset), ..ListQuery::default() };
        let found = self.listed(bucket, query).await?;
        self.fail_points.after(effect).await?;
        Ok(ordered(found))
    }

    /// The names under a folder that come after `offset`, in their order. Where the objects lie in sub-folders, those
    /// before that of `offset` are not looked at.
    pub(crate) async fn names_after(&self, folder: &str, offset: &str) -> Result<Vec<String>> {
        if self.bucket().is_some() {
            return Ok(self.list_after(folder, offset).await?.into_iter().map(|object| object.path).collect());
        }
        let first = offset.rsplit_once('/').map_or("", |(first, _)| first);
        let mut found = Vec::new();
        for folder in self.list_folders(folder).await?.iter().filter(|folder| folder.as_str() >= first) {
            found.extend(self.names(folder).await?.into_iter().filter(|name| name.as_str() > offset));
        }
        Ok(found)
    }

    /// The names of all objects that begin with `prefix`, which may end within a name.
    pub(crate) async fn names_from(&self, prefix: &str) -> Result<Vec<String>> {
        let Some(bucket) = self.bucket() else {
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            return Ok(self.names(folder).await?.into_iter().filter(|name| name.starts_with(prefix)).collect());
        };
        let effect = Effect { op: Op::List, path: prefix, body: None };
        self.fail_points.before(effect).await?;
        let found = self.listed(bucket, ListQuery { prefix, ..ListQuery::default() }).await?;
        self.fail_points.after(effect).await?;
        Ok(ordered(found).into_iter().map(|object| object.path).collect())
    }

    /// The folders directly under a folder, in the order of names.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_folders(&self, folder: &str) -> Result<Vec<String>> {
        let effect = Effect { op: Op::List, path: folder, body: None };
        self.fail_points.before(effect).await?;
        let mut folders = match (&self.folder, self.bucket()) {
            (Some(root), _) => {
                let (root, wanted) = (Arc::clone(root), folder.to_owned());
                self.blocking("list", folder, move || local::folders(&root, &wanted)).await?
            }
            (None, Some(bucket)) => {
                let query = ListQuery { prefix: &below(folder), folders_only: true, ..ListQuery::default() };
                let folders = self.shown(bucket, query).await?.folders;
                self.check_spelling(bucket, &folders).await?;
                folders
            }
            (None, None) => {
                let listed = self.objects.list_with_delimiter(Some(&Path::from(folder))).await;
                let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
                listed.common_prefixes.iter().map(ToString::to_string).collect()
            }
        };
        self.fail_points.after(effect).await?;
        folders.sort_unstable();
        Ok(folders)
    }

    /// Fails for a store that encodes names without being asked to: under what it calls a folder, it has nothing.
    async fn check_spelling(&self, bucket: &Bucket, folders: &[String]) -> Result<()> {
        for folder in folders.iter().filter(|folder| folder.contains('%')) {
            let query = ListQuery { prefix: &below(folder), ..ListQuery::default() };
            if self.shown(bucket, query).await?.objects.is_empty() {
                return Err(self.unbelievable(
                    bucket,
                    folder,
                    "it shows a folder, and then nothing in it: it encodes names".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// What a bucket shows, checked.
    pub(crate) async fn shown(&self, bucket: &Bucket, query: ListQuery<'_>) -> Result<Shown> {
        let at = query.prefix.trim_end_matches('/').to_owned();
        bucket.list(query).await.map_err(|error| match error {
            Unlisted::Failed(error) => self.failed("list", &at, &error),
            Unlisted::Unbelievable(why) => self.unbelievable(bucket, &at, why),
        })
    }

    fn unbelievable(&self, bucket: &Bucket, at: &str, why: String) -> Error {
        Error::new(ErrorClass::ListingWrong, "the store's listing cannot be believed")
            .with("endpoint", &bucket.endpoint)
            .with("object", self.uri(at))
            .hint(UNBELIEVABLE)
            .because(why)
    }

    async fn listed(&self, bucket: &Bucket, query: ListQuery<'_>) -> Result<Vec<Object>> {
        let Shown { objects, .. } = self.shown(bucket, query).await?;
        Ok(objects.into_iter().map(|(path, bytes)| Object { path, bytes }).collect())
    }

    async fn of_memory(&self, folder: &str) -> Result<Vec<Object>> {
        let listed = self.objects.list(Some(&Path::from(folder)));
        let found = listed.map_ok(|object| Object { path: object.location.to_string(), bytes: object.size });
        found.try_collect().await.map_err(|error| self.failed("list", folder, &error))
    }
}

/// What everything below a folder begins with.
fn below(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

fn ordered(mut found: Vec<Object>) -> Vec<Object> {
    found.sort_unstable();
    found
}
