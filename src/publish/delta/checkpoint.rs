//! A checkpoint of a Delta table: its state as one Parquet file, a row an action, so that a reader need not read every
//! version. Files that are active no longer are not part of it.
//!
//! What is read may have more columns than what we write: other programs write checkpoints too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, Field, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::action::{AddFile, DeltaAction, FileFormat, Protocol, TableMetadata, Txn};
use super::state::DeltaState;
use crate::error::{Error, Result};

/// The rows of a column of structs, of which most are none.
struct Rows<'a, T> {
    rows: Vec<Option<&'a T>>,
}

/// The bytes of the checkpoint of a state, and how many actions it has.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when it cannot be encoded.
pub(crate) fn to_bytes(state: &DeltaState) -> Result<(Bytes, usize)> {
    let head = [state.protocol.is_some(), state.metadata.is_some()].into_iter().filter(|is_there| *is_there).count();
    let count = head + state.txns.len() + state.files.len();
    let encode = || {
        let batch = batch(state, count)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    let bytes = encode().map_err(|error| Error::internal("cannot encode a Delta checkpoint").because(error))?;
    Ok((Bytes::from(bytes), count))
}

fn batch(state: &DeltaState, count: usize) -> std::result::Result<RecordBatch, ArrowError> {
    let files: Vec<&AddFile> = state.files.values().collect();
    let mut at = 0;
    let mut place = |length: usize| {
        at += length;
        at - length
    };
    let protocol = Rows::of(count, place(usize::from(state.protocol.is_some())), state.protocol.iter());
    let metadata = Rows::of(count, place(usize::from(state.metadata.is_some())), state.metadata.iter());
    let txns = Rows::of(count, place(state.txns.len()), state.txns.values());
    let files = Rows::of(count, place(files.len()), files.into_iter());
    let columns = [
        ("protocol", protocols(&protocol)?),
        ("metaData", metadatas(&metadata)?),
        ("txn", transactions(&txns)?),
        ("add", adds(&files)?),
        ("remove", no_removes(count)?),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

impl<'a, T> Rows<'a, T> {
    /// `count` rows, of which those from `first` on are these.
    fn of(count: usize, first: usize, given: impl Iterator<Item = &'a T>) -> Self {
        let mut rows = vec![None; count];
        for (row, value) in rows.iter_mut().skip(first).zip(given) {
            *row = Some(value);
        }
        Self { rows }
    }

    fn text(&self, value: impl Fn(&T) -> Option<&str>) -> ArrayRef {
        let column: StringArray = self.rows.iter().map(|row| row.and_then(&value)).collect();
        Arc::new(column)
    }

    fn long(&self, value: impl Fn(&T) -> Option<i64>) -> ArrayRef {
        let column: Int64Array = self.rows.iter().map(|row| row.and_then(&value)).collect();
        Arc::new(column)
    }

    fn int(&self, value: impl Fn(&T) -> Option<i32>) -> ArrayRef {
        let column: Int32Array = self.rows.iter().map(|row| row.and_then(&value)).collect();
        Arc::new(column)
    }

    fn flag(&self, value: impl Fn(&T) -> bool) -> ArrayRef {
        let column: BooleanArray = self.rows.iter().map(|row| row.map(&value)).collect();
        Arc::new(column)
    }

    fn list(&self, value: impl Fn(&T) -> Option<&[String]>) -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for row in &self.rows {
            match row.and_then(&value) {
                Some(values) => builder.append_value(values.iter().map(Some)),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }

    fn map(&self, value: impl Fn(&T) -> Vec<(&str, Option<&str>)>) -> std::result::Result<ArrayRef, ArrowError> {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for row in &self.rows {
            for (key, value) in row.map(&value).into_iter().flatten() {
                builder.keys().append_value(key);
                builder.values().append_option(value);
            }
            builder.append(row.is_some())?;
        }
        Ok(Arc::new(builder.finish()))
    }

    /// The column of these fields, null where there is no value.
    fn column(&self, fields: Vec<(&str, ArrayRef)>) -> std::result::Result<ArrayRef, ArrowError> {
        let nulls = NullBuffer::from(self.rows.iter().map(Option::is_some).collect::<Vec<_>>());
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
            fields.into_iter().map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array)).unzip();
        Ok(Arc::new(StructArray::try_new(Fields::from(fields), arrays, Some(nulls))?))
    }
}

fn protocols(rows: &Rows<'_, Protocol>) -> std::result::Result<ArrayRef, ArrowError> {
    rows.column(vec![
        ("minReaderVersion", rows.int(|protocol| Some(protocol.min_reader_version))),
        ("minWriterVersion", rows.int(|protocol| Some(protocol.min_writer_version))),
        ("readerFeatures", rows.list(|_| None)),
        ("writerFeatures", rows.list(|protocol| protocol.writer_features.as_deref())),
    ])
}

fn metadatas(rows: &Rows<'_, TableMetadata>) -> std::result::Result<ArrayRef, ArrowError> {
    fn pairs(map: &BTreeMap<String, String>) -> Vec<(&str, Option<&str>)> {
        map.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect()
    }
    let format = rows.column(vec![
        ("provider", rows.text(|metadata| Some(&metadata.format.provider))),
        ("options", rows.map(|metadata| pairs(&metadata.format.options))?),
    ])?;
    rows.column(vec![
        ("id", rows.text(|metadata| Some(&metadata.id))),
        ("name", rows.text(|metadata| metadata.name.as_deref())),
        ("description", rows.text(|metadata| metadata.description.as_deref())),
        ("format", format),
        ("schemaString", rows.text(|metadata| Some(&metadata.schema_string))),
        ("partitionColumns", rows.list(|metadata| Some(&metadata.partition_columns))),
        ("configuration", rows.map(|metadata| pairs(&metadata.configuration))?),
        ("createdTime", rows.long(|metadata| metadata.created_time)),
    ])
}

fn transactions(rows: &Rows<'_, Txn>) -> std::result::Result<ArrayRef, ArrowError> {
    rows.column(vec![
        ("appId", rows.text(|txn| Some(&txn.app_id))),
        ("version", rows.long(|txn| Some(txn.version))),
        ("lastUpdated", rows.long(|txn| txn.last_updated)),
    ])
}

fn adds(rows: &Rows<'_, AddFile>) -> std::result::Result<ArrayRef, ArrowError> {
    fn partition(file: &AddFile) -> Vec<(&str, Option<&str>)> {
        file.partition_values.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect()
    }
    rows.column(vec![
        ("path", rows.text(|file| Some(&file.path))),
        ("partitionValues", rows.map(partition)?),
        ("size", rows.long(|file| Some(file.size))),
        ("modificationTime", rows.long(|file| Some(file.modification_time))),
        // A checkpoint changes nothing.
        ("dataChange", rows.flag(|_| false)),
        ("stats", rows.text(|file| file.stats.as_deref())),
    ])
}

/// The column is there for readers that ask for it.
fn no_removes(count: usize) -> std::result::Result<ArrayRef, ArrowError> {
    let none: Rows<'_, AddFile> = Rows { rows: vec![None; count] };
    none.column(vec![
        ("path", none.text(|_| None)),
        ("deletionTimestamp", none.long(|_| None)),
        ("dataChange", none.flag(|_| false)),
    ])
}

/// Reads the bytes of a checkpoint of this version, or tells what is wrong with them.
pub(crate) fn from_bytes(bytes: Bytes, version: u64) -> std::result::Result<DeltaState, String> {
    let told = |error: &dyn std::fmt::Display| format!("it is no Delta checkpoint: {error}");
    // Text in the plain type, whatever its writer had in memory.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|error| told(&error))?;
    let mut state = DeltaState::default();
    for batch in reader.build().map_err(|error| told(&error))? {
        let batch = batch.map_err(|error| told(&error))?;
        let actions = actions(&batch).ok_or_else(|| told(&"a column is missing or of another type"))?;
        state.apply(version, actions);
    }
    match (&state.protocol, &state.metadata) {
        (Some(_), Some(_)) => Ok(state),
        _ => Err(told(&"it has no protocol or no metadata")),
    }
}

/// The actions of the rows that we know.
fn actions(batch: &RecordBatch) -> Option<Vec<DeltaAction>> {
    let mut found = Vec::new();
    let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_struct_opt());
    let (protocol, metadata, txn, add) = (column("protocol")?, column("metaData")?, column("txn"), column("add")?);
    for row in 0..batch.num_rows() {
        let mut action = DeltaAction::default();
        if protocol.is_valid(row) {
            action.protocol = Some(Protocol {
                min_reader_version: int(protocol, "minReaderVersion", row)?,
                min_writer_version: int(protocol, "minWriterVersion", row)?,
                writer_features: list(protocol, "writerFeatures", row),
            });
        }
        if metadata.is_valid(row) {
            action.meta_data = Some(read_metadata(metadata, row)?);
        }
        if let Some(txn) = txn.filter(|txn| txn.is_valid(row)) {
            let (app_id, version) = (text(txn, "appId", row)?, long(txn, "version", row)?);
            action.txn = Some(Txn { app_id, version, last_updated: long(txn, "lastUpdated", row) });
        }
        if add.is_valid(row) {
            action.add = Some(AddFile {
                path: text(add, "path", row)?,
                partition_values: map(add, "partitionValues", row)?,
                size: long(add, "size", row)?,
                modification_time: long(add, "modificationTime", row)?,
                data_change: false,
                stats: text(add, "stats", row),
            });
        }
        found.push(action);
    }
    Some(found)
}

fn read_metadata(column: &StructArray, row: usize) -> Option<TableMetadata> {
    let pairs = |column: &StructArray, name: &str| -> Option<BTreeMap<String, String>> {
        let pairs = map(column, name, row)?.into_iter();
        Some(pairs.filter_map(|(key, value)| Some((key, value?))).collect())
    };
    let format = column.column_by_name("format")?.as_struct_opt()?;
    Some(TableMetadata {
        id: text(column, "id", row)?,
        name: text(column, "name", row),
        description: text(column, "description", row),
        format: FileFormat {
            provider: text(format, "provider", row)?,
            options: pairs(format, "options").unwrap_or_default(),
        },
        schema_string: text(column, "schemaString", row)?,
        partition_columns: list(column, "partitionColumns", row)?,
        configuration: pairs(column, "configuration").unwrap_or_default(),
        created_time: long(column, "createdTime", row),
    })
}

fn text(column: &StructArray, name: &str, row: usize) -> Option<String> {
    let values = column.column_by_name(name)?.as_string_opt::<i32>()?;
    values.is_valid(row).then(|| values.value(row).to_owned())
}

fn long(column: &StructArray, name: &str, row: usize) -> Option<i64> {
    let values = column.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
    values.is_valid(row).then(|| values.value(row))
}

fn int(column: &StructArray, name: &str, row: usize) -> Option<i32> {
    let values = column.column_by_name(name)?.as_primitive_opt::<Int32Type>()?;
    values.is_valid(row).then(|| values.value(row))
}

fn list(column: &StructArray, name: &str, row: usize) -> Option<Vec<String>> {
    let lists = column.column_by_name(name)?.as_list_opt::<i32>()?;
    let values = lists.is_valid(row).then(|| lists.value(row))?;
    Some(values.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
}

fn map(column: &StructArray, name: &str, row: usize) -> Option<BTreeMap<String, Option<String>>> {
    let maps = column.column_by_name(name)?.as_map_opt()?;
    let entries = maps.is_valid(row).then(|| maps.value(row))?;
    let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
    Some(keys.iter().zip(values).filter_map(|(key, value)| Some((key?.to_owned(), value.map(str::to_owned)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let mut state = DeltaState {
            version: 40,
            protocol: Some(Protocol {
                min_reader_version: 1,
                min_writer_version: 7,
                writer_features: Some(vec!["x".to_owned()]),
            }),
            metadata: Some(TableMetadata {
                id: "1".to_owned(),
                name: Some("t".to_owned()),
                description: None,
                format: FileFormat { provider: "parquet".to_owned(), options: BTreeMap::new() },
                schema_string: "{}".to_owned(),
                partition_columns: vec!["a".to_owned(), "b".to_owned()],
                configuration: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
                created_time: Some(5),
            }),
            ..DeltaState::default()
        };
        for (app_id, last_updated) in [("wdt-lake:acme", Some(9_000)), ("wdt-lake:beta", None)] {
            let txn = Txn { app_id: app_id.to_owned(), version: 7, last_updated };
            state.txns.insert(app_id.to_owned(), txn);
        }
        for number in 0..3_i64 {
            let file = AddFile {
                path: format!("account=acme/modified_month=2026-10/{number}.parquet"),
                partition_values: BTreeMap::from([("account".to_owned(), Some("acme".to_owned()))]),
                size: number,
                modification_time: 3,
                data_change: false,
                stats: (number > 0).then(|| "{}".to_owned()),
            };
            state.files.insert(file.path.clone(), file);
        }
        let (bytes, count) = to_bytes(&state).expect("encoded");
        assert_eq!(count, 7);
        assert_eq!(from_bytes(bytes.clone(), 40), Ok(state));
        let cut = from_bytes(bytes.slice(..bytes.len() - 9), 40);
        assert!(cut.expect_err("cut short").contains("no Delta checkpoint"));
    }
}
