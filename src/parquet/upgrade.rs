//! Files of an earlier minor version of the data contract, seen with the columns of today's.
//!
//! A minor version may add columns that can be null. A file from before lacks them: whoever reads its rows anew, to put
//! them into another file, gets these columns from an [`Upgrade`], because what they hold was kept elsewhere.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};

use crate::error::{Error, Result};

/// How rows of a file of an earlier contract come to have the columns of today's.
pub trait Upgrade: Debug + Send + Sync {
    /// The columns of a file of today's contract.
    fn schema(&self) -> &SchemaRef;

    /// The columns of an older file that hold what was to become columns of their own, and what is needed to read it.
    fn kept_in(&self) -> &[&'static str];

    /// The column at `place` of [`schema`](Self::schema), of a file that lacks those at `missing`. `rows` have that
    /// column, if the file has it, and those of [`kept_in`](Self::kept_in) that the file has.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the rows have columns of another type.
    fn column(&self, place: usize, missing: &[usize], rows: &RecordBatch) -> Result<ArrayRef>;
}

/// A file that lacks columns of today's contract.
#[derive(Clone, Debug)]
pub(super) struct OlderFile {
    upgrade: Arc<dyn Upgrade>,
    held: SchemaRef,
    /// The places, among today's columns, of those that it lacks.
    missing: Vec<usize>,
}

impl OlderFile {
    /// A file with the columns `held`, if it lacks some that were added since and knows no others.
    pub(super) fn of(upgrade: &Arc<dyn Upgrade>, held: &SchemaRef) -> Option<Self> {
        let wanted = upgrade.schema();
        if held.fields().iter().any(|field| wanted.index_of(field.name()).is_err()) {
            return None;
        }
        let is_missing = |place: &usize| held.index_of(wanted.field(*place).name()).is_err();
        let missing: Vec<usize> = (0..wanted.fields().len()).filter(is_missing).collect();
        let may_be_added = missing.iter().all(|place| wanted.field(*place).is_nullable());
        (!missing.is_empty() && may_be_added).then(|| Self {
            upgrade: Arc::clone(upgrade),
            held: Arc::clone(held),
            missing,
        })
    }

    /// The columns that it is seen with.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.upgrade.schema()
    }

    /// The places of the file's own columns that are read for one of today's.
    pub(super) fn read_for(&self, place: usize) -> Vec<usize> {
        let name = self.schema().field(place).name().as_str();
        let kept_in = self.upgrade.kept_in();
        let is_kept_elsewhere = self.missing.contains(&place) || kept_in.contains(&name);
        let names = [name].into_iter().chain(kept_in.iter().copied().filter(|_| is_kept_elsewhere));
        let mut places: Vec<usize> = names.filter_map(|name| self.held.index_of(name).ok()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Rows with today's columns at `places`, out of rows with what is read for them.
    pub(super) fn see(&self, places: &[usize], rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = places.iter().map(|place| self.upgrade.column(*place, &self.missing, rows));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        let fields: Vec<_> = places.iter().map(|place| Arc::clone(&self.schema().fields()[*place])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|error| Error::internal("cannot add the columns of a later contract").because(error))
    }
}

/// Rows with the columns of today's contract, where they lack some; other rows as they are.
///
/// # Errors
/// As [`Upgrade::column`].
pub(crate) fn upgraded(upgrade: &Arc<dyn Upgrade>, rows: &RecordBatch) -> Result<RecordBatch> {
    match OlderFile::of(upgrade, &rows.schema()) {
        Some(older) => older.see(&(0..upgrade.schema().fields().len()).collect::<Vec<_>>(), rows),
        None => Ok(rows.clone()),
    }
}
