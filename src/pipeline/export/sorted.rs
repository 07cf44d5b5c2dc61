//! The wanted rows of some files as one sorted file.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{BooleanArray, RecordBatch};

use super::Picked;
use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::log::Lake;
use crate::parquet::{FileCompression, FileOrigin, MergeInput, MergeLimits, RowFilter, TableSpec, merge};
use crate::transform::contract_version;
use crate::worker::Worker;

/// The most committed files that are open at a time.
const MOST_FILES: usize = 64;
/// What a merge may take; its result is one file.
const LIMITS: MergeLimits = MergeLimits { memory_bytes: 16 << 20, target_bytes: u64::MAX };

/// A file of local disk in the order of its table, and which of its rows are wanted; all of them without marks.
pub(super) struct Sorted {
    pub(super) file: File,
    pub(super) marks: Option<BooleanArray>,
    /// What it is called, if it is a committed file.
    pub(super) uri: Option<String>,
}

/// The wanted rows of these files: the one file as it is, or several merged. None when there is no row.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or no temporary file can be written,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a file is missing or damaged.
pub(super) async fn sorted(
    worker: &Worker,
    lake: &Lake,
    spec: &Arc<TableSpec>,
    mut picked: Vec<Picked>,
) -> Result<Option<Sorted>> {
    if picked.len() <= 1 {
        let Some(Picked { file, marks }) = picked.pop() else { return Ok(None) };
        return Ok(Some(Sorted { file: lake.fetch(&file.entry).await?, marks, uri: Some(file.uri) }));
    }
    let origin = FileOrigin {
        account: lake.account().clone(),
        commit: CommitId::generate(),
        contract: contract_version()?,
        span: None,
        compression: FileCompression::default(),
    };
    let mut merged = Vec::new();
    for group in picked.chunks(MOST_FILES) {
        let mut inputs = Vec::new();
        for Picked { file, marks } in group {
            let marks = marks.clone().map(|marks| Arc::new(Marked::new(spec, marks)) as Arc<dyn RowFilter>);
            inputs.push(MergeInput::new(lake.fetch(&file.entry).await?, marks));
        }
        merged.extend(merge_to_one(worker, spec, &origin, inputs).await?);
    }
    if merged.len() > 1 {
        let inputs = merged.into_iter().map(|file| MergeInput::new(file, None)).collect();
        merged = merge_to_one(worker, spec, &origin, inputs).await?.into_iter().collect();
    }
    Ok(merged.pop().map(|file| Sorted { file, marks: None, uri: None }))
}

async fn merge_to_one(
    worker: &Worker,
    spec: &Arc<TableSpec>,
    origin: &FileOrigin,
    inputs: Vec<MergeInput>,
) -> Result<Option<File>> {
    let (spec, origin) = (Arc::clone(spec), origin.clone());
    worker.run(move || Ok(merge(&spec, inputs, &origin, LIMITS)?.pop().map(|merged| merged.file))).await
}

/// Keeps the rows that are marked.
struct Marked {
    marks: BooleanArray,
    next: AtomicUsize,
    columns: Vec<String>,
}

impl Marked {
    fn new(spec: &TableSpec, marks: BooleanArray) -> Self {
        Self { marks, next: AtomicUsize::new(0), columns: vec![spec.modified.clone()] }
    }
}

impl RowFilter for Marked {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let first = self.next.fetch_add(rows.num_rows(), Ordering::Relaxed);
        if first + rows.num_rows() > self.marks.len() {
            return Err(Error::new(ErrorClass::FileDamaged, "a committed file has other rows than its manifest says"));
        }
        Ok(self.marks.slice(first, rows.num_rows()))
    }
}
