//! Landed rows read back: the few columns by which a run goes. A file of another contract that lacks them has no such
//! rows.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Int16Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray};

use crate::edition::OPEN_STATUSES;
use crate::requisition::ApplyId;
use crate::time::BeijingTime;

/// A header row. Quantities in ten-thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandedHeader {
    /// Its id, where it has one.
    pub apply_id: Option<ApplyId>,
    /// Its status code.
    pub status: i16,
    /// What the code means, where the vendor documents it.
    pub status_name: Option<String>,
    /// When it was modified last.
    pub modified: BeijingTime,
    /// Where it is for.
    pub warehouse_no: Option<String>,
    /// The quantity applied for.
    pub real_scaled: Option<i128>,
    /// The quantity referenced.
    pub ref_scaled: Option<i128>,
    /// The quantity not referenced yet.
    pub open_scaled: Option<i128>,
}

impl LandedHeader {
    /// Whether it waits for purchase orders, as the view of open requisitions has it.
    pub(crate) fn is_open(&self) -> bool {
        self.status_name.as_deref().is_some_and(|name| OPEN_STATUSES.contains(&name))
    }
}

/// Rows of `purchase_apply`.
pub(crate) struct LandedHeaders<'a> {
    batch: &'a RecordBatch,
    numbers: &'a StringArray,
    modified: &'a TimestampMicrosecondArray,
}

impl<'a> LandedHeaders<'a> {
    /// The columns that are looked at.
    pub(crate) const COLUMNS: [&'static str; 9] = [
        "purchase_apply_no",
        "modified",
        "apply_id",
        "status",
        "status_name",
        "warehouse_no",
        "real_num",
        "ref_num",
        "unref_num",
    ];

    pub(crate) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let numbers = batch.column_by_name("purchase_apply_no")?.as_string_opt::<i32>()?;
        Some(Self { batch, numbers, modified: primitive::<TimestampMicrosecondType>(batch, "modified")? })
    }

    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn number(&self, row: usize) -> &'a str {
        self.numbers.value(row)
    }

    /// In microseconds since 1970-01-01 00:00:00 UTC.
    pub(crate) fn modified_micros(&self, row: usize) -> i64 {
        self.modified.value(row)
    }

    pub(crate) fn header(&self, row: usize) -> Option<LandedHeader> {
        let text = |name| {
            let texts = self.batch.column_by_name(name)?.as_string_opt::<i32>()?;
            texts.is_valid(row).then(|| texts.value(row).to_owned())
        };
        let quantity = |name| value::<Decimal128Type>(self.batch, name, row);
        Some(LandedHeader {
            apply_id: value::<Int64Type>(self.batch, "apply_id", row).and_then(ApplyId::new),
            status: value::<Int16Type>(self.batch, "status", row)?,
            status_name: text("status_name"),
            modified: BeijingTime::from_unix(self.modified.value(row).div_euclid(1_000_000))?,
            warehouse_no: text("warehouse_no"),
            real_scaled: quantity("real_num"),
            ref_scaled: quantity("ref_num"),
            open_scaled: quantity("unref_num"),
        })
    }
}

/// Rows of `purchase_apply_detail`.
pub(crate) struct LandedDetails<'a> {
    batch: &'a RecordBatch,
    numbers: &'a StringArray,
    modified: &'a TimestampMicrosecondArray,
}

impl<'a> LandedDetails<'a> {
    /// The columns that are looked at.
    pub(crate) const COLUMNS: [&'static str; 5] =
        ["purchase_apply_no", "apply_modified", "apply_id", "real_num", "ref_num"];

    pub(crate) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let numbers = batch.column_by_name("purchase_apply_no")?.as_string_opt::<i32>()?;
        Some(Self { batch, numbers, modified: primitive::<TimestampMicrosecondType>(batch, "apply_modified")? })
    }

    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The number of its requisition.
    pub(crate) fn number(&self, row: usize) -> &'a str {
        self.numbers.value(row)
    }

    /// The id of its requisition.
    pub(crate) fn apply_id(&self, row: usize) -> Option<ApplyId> {
        value::<Int64Type>(self.batch, "apply_id", row).and_then(ApplyId::new)
    }

    /// The modified time of its requisition, in microseconds since 1970-01-01 00:00:00 UTC.
    pub(crate) fn modified_micros(&self, row: usize) -> i64 {
        self.modified.value(row)
    }

    /// The quantities applied for and referenced, in ten-thousandths; 0 where it says none.
    pub(crate) fn quantities(&self, row: usize) -> (i128, i128) {
        let quantity = |name| value::<Decimal128Type>(self.batch, name, row).unwrap_or(0);
        (quantity("real_num"), quantity("ref_num"))
    }
}

fn primitive<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Option<&'a PrimitiveArray<T>> {
    batch.column_by_name(name)?.as_primitive_opt::<T>()
}

fn value<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str, row: usize) -> Option<T::Native> {
    primitive::<T>(batch, name).filter(|column| column.is_valid(row)).map(|column| column.value(row))
}
