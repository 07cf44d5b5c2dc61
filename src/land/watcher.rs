//! Who watches a log as a run writes it, and must do something before files are deleted that somebody else may still
//! count on.

use futures::future::BoxFuture;

use crate::error::Result;
use crate::log::{Lake, Layout, Manifest, Sha256, Table};
use crate::store::Store;

/// Somebody who watches a log: the committed set may be published in other formats, whose newest version must not name
/// what is gone.
pub(crate) trait LogWatcher: Send + Sync {
    /// Sees a manifest that the run has appended, or met where it wanted to append one. Not every manifest of the log
    /// is seen, and nothing may depend on it: it saves reading what is known.
    fn saw(&self, _manifest: &Manifest, _sha256: Sha256) {}

    /// Of which tables something must be done before files of `tables` of an account are deleted. It is asked after the
    /// manifest stands by which is deleted, before each deletion anew.
    ///
    /// # Errors
    /// Whatever went wrong: then nothing may be deleted.
    fn concerns<'a>(
        &'a self,
        store: &'a Store,
        layout: &'a Layout,
        tables: &'a [Table],
    ) -> BoxFuture<'a, Result<Vec<Table>>>;

    /// Does it for these tables, by the log state of `lake`, by which is deleted, or a later one.
    ///
    /// # Errors
    /// Whatever went wrong: then nothing may be deleted.
    fn prepare<'a>(&'a self, lake: Lake, tables: &'a [Table]) -> BoxFuture<'a, Result<()>>;
}

/// The tables whose files these are.
pub(super) fn tables_of<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<Table> {
    let mut tables: Vec<Table> = paths.filter_map(|path| Table::from_name(path.split('/').next()?)).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// Nothing is published.
#[cfg(test)]
pub(crate) struct NobodyWatches;

#[cfg(test)]
impl LogWatcher for NobodyWatches {
    fn concerns<'a>(&'a self, _: &'a Store, _: &'a Layout, _: &'a [Table]) -> BoxFuture<'a, Result<Vec<Table>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn prepare<'a>(&'a self, _: Lake, _: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
