//! The column that says which commit first landed a row.
//!
//! A commit that is dropped is encoded anew under another id, so that rows cannot know the id before they are encoded.
//! A row without one, because the whole column is missing or because it is null, is landed by the commit that the file
//! belongs to. A row that has one came out of another file, and keeps it.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, StringArray};
use arrow_schema::{FieldRef, Fields, Schema, SchemaRef};

use super::rows::Columns;
use crate::error::{Error, Result};
use crate::id::CommitId;

/// `rows` with the column `field` at their end, in which every row without an id has that of `commit`.
pub(super) fn complete(rows: Box<dyn Columns>, field: &FieldRef, commit: CommitId) -> Result<Box<dyn Columns>> {
    let held = rows.schema();
    let place = held.index_of(field.name()).ok();
    if place.is_some_and(|place| place + 1 < held.fields().len()) {
        return Err(Error::internal("the commit's id is not the last column").with("column", field.name()));
    }
    let others = held.fields().iter().take(place.unwrap_or(held.fields().len()));
    let fields = others.chain([field]).map(Arc::clone).collect::<Fields>();
    let schema = Arc::new(Schema::new_with_metadata(fields, held.metadata().clone()));
    Ok(Box::new(WithCommit { rows, place, schema, id: commit.to_string() }))
}

/// Rows that have the ids of their commits.
struct WithCommit {
    rows: Box<dyn Columns>,
    /// Where `rows` have the column, if they have it.
    place: Option<usize>,
    schema: SchemaRef,
    id: String,
}

impl WithCommit {
    fn filled(&self, held: ArrayRef) -> Result<ArrayRef> {
        if held.null_count() == 0 {
            return Ok(held);
        }
        let ids = held.as_string_opt::<i32>().ok_or_else(|| Error::internal("ids of commits are not text"))?;
        Ok(Arc::new(ids.iter().map(|id| Some(id.unwrap_or(&self.id))).collect::<StringArray>()))
    }
}

impl Columns for WithCommit {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
        if place + 1 < self.schema.fields().len() {
            return self.rows.column(place, rows);
        }
        match self.place {
            Some(place) => self.filled(self.rows.column(place, rows)?),
            None => Ok(Arc::new(StringArray::new_repeated(&self.id, rows.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::RecordBatch;
    use arrow_schema::{DataType, Field};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Encoding;

    use super::*;
    use crate::format::FormatVersion;
    use crate::land::testing::{header_batch, header_spec, window};
    use crate::parquet::{FileCompression, FileOrigin, TableSpec, decode, encode};

    fn spec() -> TableSpec {
        TableSpec { commit_id: Some(Arc::new(Field::new("_commit_id", DataType::Utf8, false))), ..header_spec() }
    }

    fn file(rows: RecordBatch, commit: CommitId) -> Result<bytes::Bytes> {
        let origin = FileOrigin {
            account: "acme".parse().expect("a name"),
            commit,
            contract: FormatVersion::LAKE,
            span: Some(window(0, 9)),
            compression: FileCompression::default(),
        };
        Ok(encode(&spec(), vec![rows].into(), &origin)?.expect("rows").bytes)
    }

    fn ids(file: bytes::Bytes) -> Vec<String> {
        let read = decode(file).expect("readable");
        let ids = read.iter().flat_map(|batch| batch.column_by_name("_commit_id").expect("ids").as_string::<i32>());
        ids.map(|id| id.expect("no null").to_owned()).collect()
    }

    #[test]
    fn rows_without_an_id_have_that_of_the_commit_and_others_keep_theirs() {
        let rows = header_batch(&[("A", 1, 5), ("B", 2, 6), ("C", 3, 7)]);
        let [first, second, third] = [(); 3].map(|()| CommitId::generate());
        let landed = file(rows.clone(), first).expect("a file");
        assert_eq!(ids(landed.clone()), vec![first.to_string(); 3]);
        // Read back and moved to the file of a later commit.
        let read = decode(landed).expect("readable").remove(0);
        assert_eq!(ids(file(read, second).expect("a file")), vec![first.to_string(); 3]);
        // Carried and new ones in one file.
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(StringArray::from(vec![None, Some(second.to_string()), None])));
        let fields =
            [&rows.schema().fields()[..], &[Arc::new(Field::new("_commit_id", DataType::Utf8, true))]].concat();
        let mixed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows");
        let mixed = file(mixed, third).expect("a file");
        assert_eq!(ids(mixed.clone()), [third, second, third].map(|id| id.to_string()));

        // The column is required, and costs a dictionary.
        let reader = ParquetRecordBatchReaderBuilder::try_new(mixed).expect("parquet");
        assert!(!reader.schema().field_with_name("_commit_id").expect("the column").is_nullable());
        let column = reader.metadata().row_group(0).columns().last().expect("columns").clone();
        assert!(column.encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY));
    }

    #[test]
    fn the_id_is_the_last_column() {
        let rows = header_batch(&[("A", 1, 5)]);
        let fields =
            [&[Arc::new(Field::new("_commit_id", DataType::Utf8, false))], &rows.schema().fields()[..]].concat();
        let columns = [&[Arc::new(StringArray::from(vec!["x"])) as ArrayRef], rows.columns()].concat();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows");
        assert!(file(rows, CommitId::generate()).is_err());
    }
}
