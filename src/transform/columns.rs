//! Growable column buffers that can be cut back to an earlier row. The columns of one page after the other grow in
//! them, and are then [held](super::compact) in as little memory as they need.
//!
//! Arrow's own builders cannot be cut back, and a requisition that does not fit must leave no trace in any column.

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_buffer::NullBufferBuilder;

use super::compact::{CompactColumn, Values};
use super::contract::ColumnType;
use super::scalar::{Scalar, ScalarKind, unescape};
use super::value::{self, SchemaViolation};

/// Values of a fixed width, some of them null.
#[derive(Debug)]
pub(super) struct Fixed<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Fixed<T> {
    fn new() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    pub(super) fn push(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.nulls.append(value.is_some());
    }

    fn last(&self) -> Option<T::Native> {
        let at = self.values.len().checked_sub(1)?;
        self.nulls.is_valid(at).then(|| self.values[at])
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.nulls.allocated_size()
    }

    /// What it holds; then it is empty.
    fn take(&mut self, values: impl FnOnce(&[T::Native]) -> Values) -> CompactColumn {
        let held = CompactColumn::new(values(&self.values), self.nulls.finish());
        self.values.clear();
        held
    }
}

/// What an offset counts. A page is far smaller than 4 GiB, see `decode::MAX_PAGE_BYTES`.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Texts one after the other, some of them null.
#[derive(Debug)]
pub(super) struct Texts {
    text: String,
    offsets: Vec<u32>,
    nulls: NullBufferBuilder,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self { text: String::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Closes the value that `self.text` was extended with.
    #[inline]
    fn close(&mut self) {
        self.offsets.push(offset(self.text.len()));
        self.nulls.append_non_null();
    }

    #[inline]
    pub(super) fn push(&mut self, value: Option<&str>) {
        match value {
            Some(text) => {
                self.text.push_str(text);
                self.close();
            }
            None => {
                self.offsets.push(offset(self.text.len()));
                self.nulls.append_null();
            }
        }
    }

    /// Appends the pieces of one value.
    pub(super) fn push_pieces<'p>(&mut self, pieces: impl IntoIterator<Item = &'p str>) {
        pieces.into_iter().for_each(|piece| self.text.push_str(piece));
        self.close();
    }

    #[inline]
    pub(super) fn push_scalar(&mut self, scalar: Scalar<'_>) -> Result<(), SchemaViolation> {
        match scalar.kind {
            ScalarKind::Null => self.push(None),
            ScalarKind::Escaped => {
                unescape(scalar.text, &mut self.text)?;
                self.close();
            }
            ScalarKind::Text | ScalarKind::Bare => self.push(Some(scalar.text)),
            ScalarKind::Nested => return Err(SchemaViolation::NotAScalar),
        }
        Ok(())
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let span = || Some(*self.offsets.get(row)? as usize..*self.offsets.get(row + 1)? as usize);
        self.nulls.is_valid(row).then(|| span().and_then(|span| self.text.get(span)).unwrap_or_default())
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.offsets.capacity() * size_of::<u32>() + self.nulls.allocated_size()
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        // A value that broke off half-way may have left text without an offset.
        self.text.truncate(self.offsets.last().map_or(0, |offset| *offset as usize));
    }

    /// What it holds; then it is empty.
    fn take(&mut self) -> CompactColumn {
        let held = CompactColumn::new(Values::text(&self.text, &self.offsets), self.nulls.finish());
        self.text.clear();
        self.offsets.truncate(1);
        held
    }
}

/// A column of any type of the contract.
#[derive(Debug)]
pub(super) enum ColumnBuffer {
    Int16(Fixed<Int16Type>),
    Int32(Fixed<Int32Type>),
    Int64(Fixed<Int64Type>),
    Decimal(Fixed<Decimal128Type>),
    Timestamp(Fixed<TimestampMicrosecondType>),
    Utf8(Texts),
}

impl ColumnBuffer {
    /// An empty column.
    pub(super) fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Int16 => Self::Int16(Fixed::new()),
            ColumnType::Int32 => Self::Int32(Fixed::new()),
            ColumnType::Int64 => Self::Int64(Fixed::new()),
            ColumnType::Decimal => Self::Decimal(Fixed::new()),
            ColumnType::Timestamp => Self::Timestamp(Fixed::new()),
            ColumnType::Utf8 => Self::Utf8(Texts::new()),
        }
    }

    /// What it holds, in no more memory than that takes; then it is empty, and has its room still.
    pub(super) fn take(&mut self) -> CompactColumn {
        match self {
            Self::Int16(column) => column.take(|values| Values::Int16(values.into())),
            Self::Int32(column) => column.take(|values| Values::Int32(values.into())),
            Self::Int64(column) => column.take(|values| Values::Int64(values.into())),
            Self::Decimal(column) => column.take(Values::decimals),
            Self::Timestamp(column) => column.take(|values| Values::Timestamp(values.into())),
            Self::Utf8(column) => column.take(),
        }
    }

    /// The memory that it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Int16(column) => column.bytes(),
            Self::Int32(column) => column.bytes(),
            Self::Int64(column) => column.bytes(),
            Self::Decimal(column) => column.bytes(),
            Self::Timestamp(column) => column.bytes(),
            Self::Utf8(column) => column.bytes(),
        }
    }

    /// Appends what `scalar` means in this column. On an error the column may hold a part of it until it is cut back.
    #[inline]
    pub(super) fn push(&mut self, scalar: Scalar<'_>, scratch: &mut String) -> Result<(), SchemaViolation> {
        match self {
            Self::Utf8(column) => return column.push_scalar(scalar),
            Self::Int16(column) => column.push(integer(scalar, scratch)?),
            Self::Int32(column) => column.push(integer(scalar, scratch)?),
            Self::Int64(column) => column.push(integer(scalar, scratch)?),
            Self::Decimal(column) => {
                column.push(read(scalar, scratch, |text| value::decimal(text).map(Some))?);
            }
            Self::Timestamp(column) => {
                if scalar.kind == ScalarKind::Bare {
                    return Err(SchemaViolation::NotATime);
                }
                column.push(read(scalar, scratch, value::timestamp)?);
            }
        }
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Int16(column) => column.push(None),
            Self::Int32(column) => column.push(None),
            Self::Int64(column) => column.push(None),
            Self::Decimal(column) => column.push(None),
            Self::Timestamp(column) => column.push(None),
            Self::Utf8(column) => column.push(None),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int16(column) => column.values.len(),
            Self::Int32(column) => column.values.len(),
            Self::Int64(column) => column.values.len(),
            Self::Decimal(column) => column.values.len(),
            Self::Timestamp(column) => column.values.len(),
            Self::Utf8(column) => column.len(),
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Int16(column) => column.truncate(rows),
            Self::Int32(column) => column.truncate(rows),
            Self::Int64(column) => column.truncate(rows),
            Self::Decimal(column) => column.truncate(rows),
            Self::Timestamp(column) => column.truncate(rows),
            Self::Utf8(column) => column.truncate(rows),
        }
    }

    /// Whether the last two rows hold the same value; a column with fewer rows never does.
    pub(super) fn last_two_agree(&self) -> bool {
        fn agree<T: PartialEq>(values: &[T], nulls: &NullBufferBuilder) -> bool {
            let [.., before, last] = values else { return false };
            before == last && nulls.is_valid(values.len() - 2) == nulls.is_valid(values.len() - 1)
        }
        match self {
            Self::Int16(column) => agree(&column.values, &column.nulls),
            Self::Int32(column) => agree(&column.values, &column.nulls),
            Self::Int64(column) => agree(&column.values, &column.nulls),
            Self::Decimal(column) => agree(&column.values, &column.nulls),
            Self::Timestamp(column) => agree(&column.values, &column.nulls),
            Self::Utf8(column) => column.len() > 1 && column.get(column.len() - 2) == column.get(column.len() - 1),
        }
    }

    /// Whether the last row is null, or an empty text.
    pub(super) fn last_is_empty(&self) -> bool {
        match self {
            Self::Int16(column) => column.last().is_none(),
            Self::Int32(column) => column.last().is_none(),
            Self::Int64(column) => column.last().is_none(),
            Self::Decimal(column) => column.last().is_none(),
            Self::Timestamp(column) => column.last().is_none(),
            Self::Utf8(_) => self.last_text().is_none_or(str::is_empty),
        }
    }

    /// The last row as 16-bit integer.
    pub(super) fn last_int16(&self) -> Option<i16> {
        if let Self::Int16(column) = self { column.last() } else { None }
    }

    /// The last row as 64-bit integer.
    pub(super) fn last_int64(&self) -> Option<i64> {
        if let Self::Int64(column) = self { column.last() } else { None }
    }

    /// The last row as microseconds.
    pub(super) fn last_micros(&self) -> Option<i64> {
        if let Self::Timestamp(column) = self { column.last() } else { None }
    }

    /// The last row as text.
    pub(super) fn last_text(&self) -> Option<&str> {
        if let Self::Utf8(column) = self { column.get(column.len().checked_sub(1)?) } else { None }
    }
}

/// Reads a scalar that is not text: null and `""` mean no value.
fn read<T>(
    scalar: Scalar<'_>,
    scratch: &mut String,
    meaning: impl Fn(&str) -> Result<Option<T>, SchemaViolation>,
) -> Result<Option<T>, SchemaViolation> {
    match scalar.kind {
        ScalarKind::Text if scalar.text.is_empty() => Ok(None),
        ScalarKind::Text | ScalarKind::Bare => meaning(scalar.text),
        // Escapes within numbers and times are legal and never seen.
        ScalarKind::Null | ScalarKind::Escaped | ScalarKind::Nested => scalar.text(scratch)?.map_or(Ok(None), meaning),
    }
}

fn integer<T: TryFrom<i64>>(scalar: Scalar<'_>, scratch: &mut String) -> Result<Option<T>, SchemaViolation> {
    read(scalar, scratch, |text| T::try_from(value::integer(text)?).map(Some).map_err(|_| SchemaViolation::OutOfRange))
}
