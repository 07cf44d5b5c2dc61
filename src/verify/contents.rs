//! What the bytes of one object hold, compared with what its manifest and its contract say. Pure; takes its time.

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use serde::de::IgnoredAny;

use super::{Depth, TableShape};
use crate::log::FileEntry;
use crate::parquet::{bounds, check_order};
use crate::time::{BeijingTime, Window};

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8_192;

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) rows: u64,
    /// Whether every row was seen.
    pub(super) is_read: bool,
    pub(super) wrong: Vec<String>,
}

/// Examines a Parquet file and shows its rows to `visit`. Without a `shape` only the footer is read. `window` is where
/// the rows must lie; `counted` is one more column that `visit` needs, where the table has it.
pub(super) fn examine(
    bytes: Bytes,
    entry: &FileEntry,
    shape: Option<&TableShape>,
    window: Option<Window>,
    depth: Depth,
    counted: &str,
    visit: impl FnMut(&RecordBatch),
) -> Examined {
    let mut examined = Examined::default();
    let read = match shape {
        None => read_footer(bytes, &mut examined),
        Some(shape) => read_rows(bytes, entry, shape, window, depth, counted, visit, &mut examined),
    };
    match read {
        Ok(()) if examined.is_read && examined.rows != entry.rows => {
            examined.wrong.push(format!("has {} rows, its manifest says {}", examined.rows, entry.rows));
        }
        Ok(()) => {}
        Err(error) => {
            examined.is_read = false;
            examined.wrong.push(format!("is no Parquet file that can be read: {error}"));
        }
    }
    examined
}

fn read_footer(bytes: Bytes, examined: &mut Examined) -> Result<(), ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    examined.rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    examined.is_read = true;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the other half of `examine`")]
fn read_rows(
    bytes: Bytes,
    entry: &FileEntry,
    shape: &TableShape,
    window: Option<Window>,
    depth: Depth,
    counted: &str,
    mut visit: impl FnMut(&RecordBatch),
    examined: &mut Examined,
) -> Result<(), ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    if let Some(what) = compare_columns(&builder, shape) {
        examined.wrong.push(what);
        return Ok(());
    }
    examined.wrong.extend(compare_claims(builder.metadata(), shape));
    let names = shape.spec.sorted_by.iter().map(String::as_str).chain([shape.spec.modified.as_str(), counted]);
    let names = names.chain(shape.spec.commit_id.iter().map(|field| field.name().as_str()));
    let mask = match depth {
        Depth::Shallow => ProjectionMask::columns(builder.parquet_schema(), names),
        Depth::Deep => ProjectionMask::all(),
    };
    let mut order = SyncRequest::default();
    let mut range: Option<(BeijingTime, BeijingTime)> = None;
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        examined.rows += batch.num_rows() as u64;
        examined.wrong.extend(order.follow(shape, &batch));
        match bounds(&shape.spec, &batch) {
            Ok((low, high)) => {
                range = Some(range.map_or((low, high), |(least, most)| (least.min(low), most.max(high))));
            }
            Err(why) => examined.wrong.push(why),
        }
        visit(&batch);
    }
    examined.is_read = true;
    if let Some((least, most)) = range {
        examined.wrong.extend(compare_range((least, most), entry, window));
    }
    Ok(())
}

fn compare_range((least, most): (BeijingTime, BeijingTime), entry: &FileEntry, window: Option<Window>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (what, held, said) in [("earliest", least, entry.min_modified), ("latest", most, entry.max_modified)] {
        if held != said {
            wrong.push(format!("has {held} as its {what} modified time, its manifest says {said}"));
        }
    }
    if let Some(window) = window.filter(|window| !window.contains(least) || !window.contains(most)) {
        wrong.push(format!("has rows modified from {least} to {most}, outside its window {window}"));
    }
    wrong
}

/// How the columns differ from the contract's, if they do.
fn compare_columns(builder: &ParquetRecordBatchReaderBuilder<Bytes>, shape: &TableShape) -> Option<String> {
    let (held, wanted) = (builder.schema().fields(), shape.schema.fields());
    if held.len() == wanted.len() && held.iter().zip(wanted).all(|(held, wanted)| same(held, wanted)) {
        return None;
    }
    let mut differences = Vec::new();
    for wanted in wanted {
        match held.find(wanted.name()) {
            None => differences.push(format!("`{}` is missing", wanted.name())),
            Some((_, held)) if !same(held, wanted) => differences.push(format!(
                "`{}` is {}{}, not {}{}",
                wanted.name(),
                held.data_type(),
                if held.is_nullable() { "" } else { " not null" },
                wanted.data_type(),
                if wanted.is_nullable() { "" } else { " not null" }
            )),
            Some(_) => {}
        }
    }
    let more = held.iter().filter(|held| wanted.find(held.name()).is_none());
    differences.extend(more.map(|held| format!("`{}` is too much", held.name())));
    if differences.is_empty() {
        differences.push("they stand in another order".to_owned());
    }
    Some(format!("has other columns than its contract: {}", differences.join(", ")))
}

fn same(held: &arrow_schema::Field, wanted: &arrow_schema::Field) -> bool {
    held.name() == wanted.name() && held.data_type() == wanted.data_type() && held.is_nullable() == wanted.is_nullable()
}

/// Readers skip rows by the order that a file claims, so it must request the one that is checked.
fn compare_claims(metadata: &ParquetMetaData, shape: &TableShape) -> Option<String> {
    let place = |name: &String| shape.schema.index_of(name).ok().and_then(|place| i32::try_from(place).ok());
    let wanted: Option<Vec<SortingColumn>> = shape
        .spec
        .sorted_by
        .iter()
        .map(|name| Some(SortingColumn { column_idx: place(name)?, descending: false, nulls_first: true }))
        .collect();
    let claims_it = |claimed: Option<&Vec<SortingColumn>>| match claimed {
        None => shape.spec.sorted_by.is_empty(),
        Some(claimed) => wanted.as_ref() == Some(claimed),
    };
    let all_claim_it = metadata.row_groups().iter().all(|group| claims_it(group.sorting_columns()));
    (!all_claim_it).then(|| format!("does not request to be sorted by {}", shape.spec.sorted_by.join(", ")))
}

/// The order of rows, followed over the borders of batches.
#[derive(Default)]
struct SyncRequest {
    last: Option<RecordBatch>,
    broken: bool,
}

impl SyncRequest {
    /// What is wrong, told once.
    fn follow(&mut self, shape: &TableShape, batch: &RecordBatch) -> Option<String> {
        if self.broken {
            return None;
        }
        let before = self.last.replace(batch.slice(batch.num_rows() - 1, 1));
        let wrong = check_order(&shape.spec, before.as_ref(), batch).err();
        self.broken = wrong.is_some();
        wrong
    }
}

/// The records of a quarantine file, and what is wrong with it.
pub(super) fn examine_quarantine(bytes: &[u8], said: u64) -> (u64, Vec<String>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return (0, vec!["is not UTF-8".to_owned()]) };
    let mut wrong = Vec::new();
    let records = text.lines().count() as u64;
    if !text.ends_with('\n') {
        wrong.push("does not end with a line break".to_owned());
    }
    if records != said {
        wrong.push(format!("has {records} records, its manifest says {said}"));
    }
    let is_object = |line: &str| line.starts_with('{') && serde_json::from_str::<IgnoredAny>(line).is_ok();
    if let Some((place, _)) = text.lines().enumerate().find(|(_, line)| !is_object(line)) {
        wrong.push(format!("has no JSON object on line {}", place + 1));
    }
    (records, wrong)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::FormatVersion;
    use crate::id::CommitId;
    use crate::land::testing::{header_batch, header_spec, window};
    use crate::parquet::{EncodedFile, FileCompression, FileOrigin, encode};

    fn shape() -> TableShape {
        TableShape { spec: Arc::new(header_spec()), schema: header_batch(&[]).schema() }
    }

    fn file(batches: &[RecordBatch], spec: &crate::parquet::TableSpec) -> (EncodedFile, FileEntry) {
        let origin = FileOrigin {
            account: "acme".parse().expect("a name"),
            commit: CommitId::generate(),
            contract: FormatVersion::LAKE,
            span: None,
            compression: FileCompression::default(),
        };
        let file = encode(spec, batches.to_vec().into(), &origin).expect("encoded").expect("rows");
        let entry = FileEntry {
            table: "purchase_apply".to_owned(),
            path: "x".to_owned(),
            bytes: file.bytes.len() as u64,
            sha256: file.sha256,
            rows: file.rows,
            min_modified: file.min_modified,
            max_modified: file.max_modified,
            carried: false,
        };
        (file, entry)
    }

    fn wrong(bytes: Bytes, entry: &FileEntry, shape: &TableShape, span: (i64, i64)) -> String {
        let mut seen = 0;
        let examined =
            examine(bytes, entry, Some(shape), Some(window(span.0, span.1)), Depth::Shallow, "none", |batch| {
                seen += batch.num_rows() as u64;
            });
        assert_eq!(seen, examined.rows);
        examined.wrong.join("; ")
    }

    #[test]
    fn a_file_is_what_its_manifest_says() {
        let rows = header_batch(&[("A", 5, 1), ("B", 3, 2), ("C", 9, 3)]);
        let (file, entry) = file(std::slice::from_ref(&rows), &header_spec());
        assert_eq!(wrong(file.bytes.clone(), &entry, &shape(), (0, 9)), "");
        let other = FileEntry { rows: 4, min_modified: entry.max_modified, ..entry.clone() };
        let told = wrong(file.bytes.clone(), &other, &shape(), (0, 8));
        for word in ["has 3 rows, its manifest says 4", "as its earliest modified time", "outside its window"] {
            assert!(told.contains(word), "{told}");
        }
        assert!(wrong(file.bytes.slice(..20), &entry, &shape(), (0, 9)).contains("no Parquet file"));
    }

    #[test]
    fn columns_and_order_are_those_of_the_contract() {
        let rows = header_batch(&[("B", 5, 1), ("A", 3, 2)]);
        let unsorted = crate::parquet::TableSpec { sorted_by: vec![], ..header_spec() };
        let (file, entry) = file(std::slice::from_ref(&rows), &unsorted);
        let told = wrong(file.bytes.clone(), &entry, &shape(), (0, 9));
        assert!(told.contains("does not request to be sorted by") && told.contains("not sorted as claimed"), "{told}");
        let fields: Vec<_> = rows.schema().fields().iter().rev().cloned().collect();
        let reversed = TableShape { schema: Arc::new(arrow_schema::Schema::new(fields)), ..shape() };
        assert!(wrong(file.bytes.clone(), &entry, &reversed, (0, 9)).contains("in another order"));
        let fields: Vec<_> = rows.schema().fields().iter().take(2).cloned().collect();
        let fewer = TableShape { schema: Arc::new(arrow_schema::Schema::new(fields)), ..shape() };
        assert!(wrong(file.bytes, &entry, &fewer, (0, 9)).contains("`real_num` is too much"));
    }

    #[test]
    fn a_quarantine_file_is_lines_of_json() {
        assert_eq!(examine_quarantine(b"{\"a\":1}\n{}\n", 2), (2, vec![]));
        assert_eq!(examine_quarantine(b"{\"a\":1}\n{}\n", 3).1.len(), 1);
        assert_eq!(examine_quarantine(b"{\"a\":1}\n{", 2).1.len(), 2);
        assert_eq!(examine_quarantine(b"\xff", 1).1.len(), 1);
    }
}
