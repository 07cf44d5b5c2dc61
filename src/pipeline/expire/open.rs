//! Requisitions that are open: found by narrow columns, and carried into the files of the next expire commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::{Error, Result};
use crate::land::{NewFile, NewRows};
use crate::log::{FileEntry, Lake, Table};
use crate::parquet::{RowFilter, TableSpec, decode_columns};
use crate::time::{Month, Window};
use crate::transform::{OpenVersions, table_specs};
use crate::worker::blocking;

/// How many files are fetched at once.
const READ_AHEAD: usize = 4;

/// Shows every batch of some columns of `files`, each of a place, to `visit`, in the order of the files.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a file is missing or was changed; what `visit` fails with.
pub(in crate::pipeline) async fn read_narrow<T: Send + 'static>(
    lake: &Lake,
    files: Vec<(usize, FileEntry)>,
    columns: &'static [&'static str],
    mut into: T,
    visit: impl Fn(&mut T, &RecordBatch, usize) -> Result<()> + Copy + Send + 'static,
) -> Result<T> {
    let fetch = |(place, entry): (usize, FileEntry)| async move {
        let file = lake.fetch(&entry).await?;
        Ok::<_, Error>((place, lake.store().uri(&entry.path), file))
    };
    let mut fetched = stream::iter(files).map(fetch).buffered(READ_AHEAD);
    while let Some((place, uri, file)) = fetched.try_next().await? {
        into = blocking(move || {
            for batch in decode_columns(file, columns)? {
                visit(&mut into, &batch?, place)?;
            }
            Ok(into)
        })
        .await
        .map_err(|error| error.with("object", uri))?;
    }
    Ok(into)
}

/// The files in which open versions are carried on: of each table one a Beijing month, or more where that is large.
/// `carried` are files of which each lies in one month.
pub(super) fn files(carried: Vec<FileEntry>, open: &Arc<OpenVersions>) -> Result<Vec<NewFile>> {
    let specs = table_specs()?;
    let filter = |spec: &TableSpec| {
        let filter: Arc<dyn RowFilter> = Arc::new(KeptOpen {
            open: Arc::clone(open),
            modified: spec.modified.clone(),
            columns: spec.sorted_by.clone(),
        });
        Some(filter)
    };
    Ok(by_month(&specs, carried, filter))
}

/// Files of rows that are carried on, of each table and Beijing month one, from files that each lie in one month.
/// `filter` says which rows stay.
pub(in crate::pipeline) fn by_month(
    specs: &[Arc<TableSpec>; 2],
    carried: Vec<FileEntry>,
    filter: impl Fn(&TableSpec) -> Option<Arc<dyn RowFilter>>,
) -> Vec<NewFile> {
    let mut groups: BTreeMap<(Table, Month), Vec<FileEntry>> = BTreeMap::new();
    for file in carried {
        if let Some(table) = Table::from_name(&file.table) {
            groups.entry((table, file.min_modified.month())).or_default().push(file);
        }
    }
    let file = |((table, _), mut files): ((Table, Month), Vec<FileEntry>)| {
        let spec = specs.iter().find(|spec| spec.table == table)?;
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        let spans = files.iter().filter_map(|file| Window::new(file.min_modified, file.max_modified));
        let span = spans.reduce(Window::hull)?;
        let rows = NewRows::Carried { files, filter: filter(spec) };
        Some(NewFile { spec: Arc::clone(spec), span: Some(span), part: None, rows })
    };
    groups.into_iter().filter_map(file).collect()
}

/// The rows of versions that are open.
struct KeptOpen {
    open: Arc<OpenVersions>,
    modified: String,
    /// The columns by which a version is told: those by which its table is sorted.
    columns: Vec<String>,
}

impl RowFilter for KeptOpen {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        self.open.keep(rows, &self.modified)
    }
}
