//! What a reader of headers and of outcomes of stops looks at to add up how things stand now, by narrow columns.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int16Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array as _, ArrowPrimitiveType, Decimal128Array, Int16Array, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};

use super::carry::mismatched;
use crate::error::Result;

/// One header as it stands now. Quantities in ten-thousandths, times in microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StandingHeader<'a> {
    /// The number of the requisition.
    pub number: &'a str,
    /// Its id, as the row has it.
    pub apply_id: Option<i64>,
    /// The code of its status.
    pub status: i16,
    /// What the code means, where the vendor says so.
    pub status_name: Option<&'a str>,
    /// The code of its warehouse.
    pub warehouse_no: Option<&'a str>,
    /// The name of its warehouse.
    pub warehouse_name: Option<&'a str>,
    /// When it was last modified.
    pub modified: i64,
    /// When it was created.
    pub created: Option<i64>,
    /// The quantity applied for.
    pub real: Option<i128>,
    /// The quantity that purchase orders reference.
    pub referenced: Option<i128>,
    /// The quantity that none references yet.
    pub open: Option<i128>,
}

/// The headers of a batch.
pub(crate) struct StandingHeaders<'a> {
    numbers: &'a StringArray,
    ids: &'a Int64Array,
    statuses: &'a Int16Array,
    status_names: &'a StringArray,
    warehouse_nos: &'a StringArray,
    warehouse_names: &'a StringArray,
    modified: &'a TimestampMicrosecondArray,
    created: &'a TimestampMicrosecondArray,
    real: &'a Decimal128Array,
    referenced: &'a Decimal128Array,
    open: &'a Decimal128Array,
}

impl<'a> StandingHeaders<'a> {
    /// The columns that are looked at, and those that tell versions apart.
    pub(crate) const COLUMNS: [&'static str; 13] = [
        "purchase_apply_no",
        "modified",
        "apply_id",
        "_extracted_at",
        "_run_id",
        "status_name",
        "status",
        "warehouse_no",
        "name",
        "created",
        "real_num",
        "ref_num",
        "unref_num",
    ];

    /// Those of a batch that has these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            numbers: text(batch, "purchase_apply_no")?,
            ids: primitive::<Int64Type>(batch, "apply_id")?,
            statuses: primitive::<Int16Type>(batch, "status")?,
            status_names: text(batch, "status_name")?,
            warehouse_nos: text(batch, "warehouse_no")?,
            warehouse_names: text(batch, "name")?,
            modified: primitive::<TimestampMicrosecondType>(batch, "modified")?,
            created: primitive::<TimestampMicrosecondType>(batch, "created")?,
            real: primitive::<Decimal128Type>(batch, "real_num")?,
            referenced: primitive::<Decimal128Type>(batch, "ref_num")?,
            open: primitive::<Decimal128Type>(batch, "unref_num")?,
        })
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// One of them.
    pub(crate) fn row(&self, row: usize) -> StandingHeader<'a> {
        StandingHeader {
            number: self.numbers.value(row),
            apply_id: value(self.ids, row),
            status: self.statuses.value(row),
            status_name: text_value(self.status_names, row),
            warehouse_no: text_value(self.warehouse_nos, row),
            warehouse_name: text_value(self.warehouse_names, row),
            modified: self.modified.value(row),
            created: value(self.created, row),
            real: value(self.real, row),
            referenced: value(self.referenced, row),
            open: value(self.open, row),
        }
    }
}

/// The last that is known of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StandingStop<'a> {
    /// The number of the requisition.
    pub number: &'a str,
    /// The timestamp of the call, in microseconds since 1970-01-01 00:00:00 UTC.
    pub requested_at: i64,
    /// What became of it.
    pub outcome: &'a str,
    /// The vendor's reason, or what went wrong.
    pub error: Option<&'a str>,
}

/// The outcomes of stops of a batch.
pub(crate) struct StandingStops<'a> {
    numbers: &'a StringArray,
    requested: &'a TimestampMicrosecondArray,
    outcomes: &'a StringArray,
    errors: &'a StringArray,
}

impl<'a> StandingStops<'a> {
    /// The columns that are looked at.
    pub(crate) const COLUMNS: [&'static str; 4] = ["purchase_apply_no", "requested_at", "outcome", "error"];

    /// Those of a batch that has these columns.
    ///
    /// # Errors
    /// As [`StandingHeaders::of`].
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            numbers: text(batch, "purchase_apply_no")?,
            requested: primitive::<TimestampMicrosecondType>(batch, "requested_at")?,
            outcomes: text(batch, "outcome")?,
            errors: text(batch, "error")?,
        })
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// One of them.
    pub(crate) fn row(&self, row: usize) -> StandingStop<'a> {
        StandingStop {
            number: self.numbers.value(row),
            requested_at: self.requested.value(row),
            outcome: self.outcomes.value(row),
            error: text_value(self.errors, row),
        }
    }
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| mismatched(&format!("`{name}` is no column of text")))
}

fn primitive<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| mismatched(&format!("`{name}` is not of the type of its column")))
}

fn text_value(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}
