//! What must happen before files are deleted that somebody else may still count on.

use futures::future::BoxFuture;

use super::commit::Writer;
use crate::error::Result;
use crate::log::Table;

/// Something that must be done before the objects of removed or fenced commits are deleted: the committed set may be
/// published in other formats, whose newest version must not name what is gone.
pub(crate) trait BeforeDeletion: Send + Sync {
    /// Files of these tables are about to be deleted by the log state of `writer`.
    ///
    /// # Errors
    /// Whatever went wrong: then nothing may be deleted.
    fn prepare<'a>(&'a self, writer: &'a Writer, tables: &'a [Table]) -> BoxFuture<'a, Result<()>>;
}

impl Writer {
    /// Whether these objects may be deleted now, as far as others are concerned. If not, they are left to a later
    /// sweep.
    pub(super) async fn may_delete<'a>(&self, paths: impl Iterator<Item = &'a str>) -> bool {
        let mut tables: Vec<Table> = paths.filter_map(table_of).collect();
        tables.sort_unstable();
        tables.dedup();
        if tables.is_empty() {
            return true;
        }
        match self.before_deletion().prepare(self, &tables).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "files that no longer count are not deleted: what is published still names them");
                self.note_left();
                false
            }
        }
    }
}

fn table_of(path: &str) -> Option<Table> {
    path.split('/').next().and_then(Table::from_name)
}

/// Nothing is published.
#[cfg(test)]
pub(crate) struct NothingBefore;

#[cfg(test)]
impl BeforeDeletion for NothingBefore {
    fn prepare<'a>(&'a self, _: &'a Writer, _: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
