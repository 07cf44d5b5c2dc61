//! Deleting what does not count any more, and what never did.

use std::sync::atomic::Ordering;

use super::Writer;
use crate::error::Result;
use crate::id::CommitId;
use crate::land::watcher::tables_of;
use crate::log::{CommitKind, LiveCommit, LogState, Manifest, Table};
use crate::time::Window;

impl Writer {
    /// Whether these objects may be deleted now, as far as others are concerned. If not, they are left to a later
    /// sweep.
    pub(in crate::land) async fn may_delete<'a>(&self, paths: impl Iterator<Item = &'a str>) -> bool {
        let tables = tables_of(paths);
        let prepared = async {
            let watcher = &self.options.watcher;
            let concerned = if tables.is_empty() {
                Vec::new()
            } else {
                watcher.concerns(&self.store, &self.layout, &tables).await?
            };
            if concerned.is_empty() {
                return Ok(());
            }
            self.probe().await?;
            watcher.prepare(self.view().await, &concerned).await
        };
        let prepared: Result<()> = prepared.await;
        if let Err(error) = &prepared {
            tracing::warn!(%error, "files that no longer count are not deleted: what is published may still name them");
            self.has_left.store(true, Ordering::Relaxed);
        }
        prepared.is_ok()
    }

    /// Deletes headers, in their order, before all else: whoever sees one by a glob sees its details too, and no older
    /// version of a requisition outlives a newer one. The first failure ends it, and the next sweep does the rest.
    pub(super) async fn delete_in_order(&self, paths: Vec<String>) -> Vec<String> {
        let mut paths = paths.into_iter();
        while let Some(path) = paths.next() {
            if let Err(error) = self.delete(&path).await {
                tracing::warn!(object = path, %error, "an object that no longer counts could not be deleted yet");
                return std::iter::once(path).chain(paths).collect();
            }
        }
        Vec::new()
    }

    /// Deletes what never counted. What cannot be deleted now is harmless and is left to the next sweep.
    pub(super) async fn delete_quietly(&self, paths: Vec<String>) -> Vec<String> {
        let mut left = Vec::new();
        for path in paths {
            if let Err(error) = self.delete(&path).await {
                tracing::warn!(object = path, %error, "an object that does not count could not be deleted yet");
                left.push(path);
            }
        }
        left
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.store.delete(path).await?;
        self.store.point("commit.removed_one").await
    }
}

/// The objects that nobody needs any more after a manifest, in the order in which they may go: those of the commits
/// that it removed which no live commit names. None while they are kept for readers.
pub(super) fn unneeded(state: &LogState, manifest: &Manifest, removed: &[(CommitId, LiveCommit)]) -> Vec<String> {
    // After an expire older versions may become the latest that a glob shows. It is followed by a sweep, which deletes
    // what earlier removals have left, too, and all of it in the order of time.
    if removed.is_empty() || manifest.keep_until.is_some() || manifest.kind() == CommitKind::Expire {
        return Vec::new();
    }
    let named = state.named();
    let mut removed: Vec<&LiveCommit> = removed.iter().map(|(_, live)| live).collect();
    removed.sort_by_key(|live| live.window.map(Window::start));
    let is_header = |path: &&str| path.split('/').next() == Some(Table::PurchaseApply.name());
    let unneeded = || removed.iter().flat_map(|live| live.paths()).filter(|path| !named.contains(path));
    let headers = unneeded().filter(is_header);
    headers.chain(unneeded().filter(|path| !is_header(path))).map(str::to_owned).collect()
}
