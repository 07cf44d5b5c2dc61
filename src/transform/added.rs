//! Columns that a later minor version of the contract has added, for rows that were landed before it.
//!
//! The column `extra` has kept the field of such a column as it was written, under its own name. So its value is read
//! from there, as the decoder would have read it from the response, by the row's edition. What became a column leaves
//! `extra`; what does not fit the column stays there, and the column is null.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::SchemaRef;

use super::columns::ColumnBuffer;
use super::compact::{CompactColumn, Pick};
use super::contract::{Column, ColumnType, TableContract};
use super::scan::Scanner;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::parquet::{Upgrade, upgraded};

/// Where fields are kept that the contract does not name, and the edition that sent them.
const EXTRA: &str = "extra";
const EDITION: &str = "_edition";

/// The columns of a table, with what is needed to read them from `extra`.
#[derive(Clone, Debug)]
pub(super) struct AddedColumns {
    schema: SchemaRef,
    columns: Vec<Column>,
}

impl AddedColumns {
    pub(super) fn of(table: &TableContract) -> Self {
        Self { schema: table.schema(), columns: table.columns().to_vec() }
    }

    /// Rows with all columns of the contract, where they lack some that were added since they were landed.
    pub(super) fn complete(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let upgrade: Arc<dyn Upgrade> = Arc::new(self.clone());
        upgraded(&upgrade, rows)
    }

    /// The column at `place` out of what `extra` holds.
    fn filled(&self, place: usize, kept: &Kept<'_>) -> Result<ArrayRef> {
        let column = &self.columns[place];
        let mut values = Values::new(column.kind());
        for row in 0..kept.rows {
            let field = kept.members(row).into_iter().find(|field| field.is_of(column, kept.edition(row)));
            match field {
                Some(field) => _ = values.push(field.value),
                None => values.push_null(),
            }
        }
        values.finish(column.kind())
    }

    /// `extra` without what became columns; null where nothing is left.
    fn rest(&self, missing: &[usize], kept: &Kept<'_>) -> ArrayRef {
        let mut rest = StringBuilder::new();
        for row in 0..kept.rows {
            let edition = kept.edition(row);
            let members = kept.members(row);
            let moved = |field: &Field<'_>| {
                let column =
                    missing.iter().map(|place| &self.columns[*place]).find(|column| field.is_of(column, edition));
                column.is_some_and(|column| Values::new(column.kind()).fits(field.value))
            };
            let left: Vec<String> = members
                .iter()
                .filter(|field| !moved(field))
                .map(|field| format!("{}:{}", field.key, field.value))
                .collect();
            match kept.text(row) {
                Some(text) if left.len() == members.len() => rest.append_value(text),
                Some(_) if !left.is_empty() => rest.append_value(format!("{{{}}}", left.join(","))),
                _ => rest.append_null(),
            }
        }
        Arc::new(rest.finish())
    }
}

impl Upgrade for AddedColumns {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn kept_in(&self) -> &[&'static str] {
        &[EXTRA, EDITION]
    }

    fn column(&self, place: usize, missing: &[usize], rows: &RecordBatch) -> Result<ArrayRef> {
        let field = self.schema.field(place);
        let is_missing = missing.contains(&place);
        if !is_missing && field.name() != EXTRA {
            let lacks = || Error::internal("a column was not read").with("column", field.name());
            return rows.column_by_name(field.name()).map(Arc::clone).ok_or_else(lacks);
        }
        let Some(kept) = Kept::of(rows)? else { return Ok(new_null_array(field.data_type(), rows.num_rows())) };
        if is_missing { self.filled(place, &kept) } else { Ok(self.rest(missing, &kept)) }
    }
}

/// What rows hold in `extra`.
struct Kept<'a> {
    rows: usize,
    extra: &'a StringArray,
    edition: Option<&'a StringArray>,
}

/// A member of `extra`, as written: its key with quotes, and its value.
struct Field<'a> {
    key: &'a str,
    value: &'a str,
}

impl Field<'_> {
    /// Whether the column is read from this field in that edition.
    fn is_of(&self, column: &Column, edition: Option<Edition>) -> bool {
        let name: Option<String> = serde_json::from_str(self.key).ok();
        let sources = edition.map_or(&[][..], |edition| column.sources(edition));
        name.is_some_and(|name| sources.contains(&name))
    }
}

impl<'a> Kept<'a> {
    /// What these rows hold; none where their table has no such column.
    fn of(rows: &'a RecordBatch) -> Result<Option<Self>> {
        let text = |name: &str| {
            let column = rows.column_by_name(name);
            let of_type = |column: &'a ArrayRef| {
                let column = column.as_string_opt::<i32>();
                column.ok_or_else(|| {
                    Error::new(ErrorClass::FileDamaged, "a committed file has other columns").with("column", name)
                })
            };
            column.map(of_type).transpose()
        };
        let (extra, edition) = (text(EXTRA)?, text(EDITION)?);
        Ok(extra.map(|extra| Self { rows: rows.num_rows(), extra, edition }))
    }

    fn text(&self, row: usize) -> Option<&'a str> {
        self.extra.is_valid(row).then(|| self.extra.value(row))
    }

    fn edition(&self, row: usize) -> Option<Edition> {
        self.edition.filter(|edition| edition.is_valid(row))?.value(row).parse().ok()
    }

    /// The members of a row; none where it is no object.
    fn members(&self, row: usize) -> Vec<Field<'a>> {
        let read = |text: &'a str| {
            let mut scanner = Scanner::new(text);
            let mut fresh = scanner.enter(b'{').ok().filter(|is_object| *is_object)?;
            let mut members = Vec::new();
            while let Some(key) = scanner.key(&mut fresh).ok()? {
                members.push(Field { key, value: scanner.raw().ok()? });
            }
            Some(members)
        };
        self.text(row).and_then(read).unwrap_or_default()
    }
}

/// The values of a column that is put together row by row.
struct Values {
    buffer: ColumnBuffer,
    scratch: String,
}

impl Values {
    fn new(kind: ColumnType) -> Self {
        Self { buffer: ColumnBuffer::new(kind), scratch: String::new() }
    }

    /// Adds what a JSON value means in this column, or null where it does not fit. Says whether it fits.
    fn push(&mut self, value: &str) -> bool {
        let rows = self.buffer.len();
        let scalar = Scanner::new(value).scalar().ok();
        let fits = scalar.is_some_and(|scalar| self.buffer.push(scalar, &mut self.scratch).is_ok());
        if !fits {
            self.buffer.truncate(rows);
            self.buffer.push_null();
        }
        fits
    }

    fn push_null(&mut self) {
        self.buffer.push_null();
    }

    fn fits(mut self, value: &str) -> bool {
        self.push(value)
    }

    fn finish(mut self, kind: ColumnType) -> Result<ArrayRef> {
        let rows = self.buffer.len();
        let failed = |error| Error::internal("cannot add a column of a later contract").because(error);
        let values = self.buffer.take();
        let pick = Pick { from: &values, rows: 0..rows, times: 1 };
        let array = CompactColumn::gather(kind, rows, std::iter::once(pick)).map_err(failed)?;
        // Texts are gathered as bytes.
        match array.as_binary_opt::<i32>() {
            Some(bytes) => Ok(Arc::new(StringArray::try_from_binary(bytes.clone()).map_err(failed)?)),
            None => Ok(array),
        }
    }
}

#[cfg(test)]
mod tests;
