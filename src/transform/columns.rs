//! Growable column buffers that can be cut back to an earlier row. Pages keep them until their window is proved; only the rows that
//! land are gathered into Arrow arrays, a batch at a time.
//!
//! Arrow's own builders cannot be cut back, and a requisition that does not fit must leave no trace in any column.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, PrimitiveArray, StringArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::contract::{ColumnType, DECIMAL_PRECISION, DECIMAL_SCALE};
use super::scalar::{Scalar, unescape};
use super::value::{self, Misfit};

/// Values of a fixed width, some of them null.
#[derive(Debug)]
pub(super) struct Fixed<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Fixed<T> {
    fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
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

    fn repeat(&mut self, from: &Self, row: usize, times: usize) {
        let value = from.values.get(row).copied().filter(|_| from.nulls.is_valid(row));
        (0..times).for_each(|_| self.push(value));
    }

    fn extend(&mut self, from: &Self, rows: Range<usize>) {
        if let Some(values) = from.values.get(rows.clone()) {
            self.values.extend_from_slice(values);
            extend_nulls(&mut self.nulls, &from.nulls, rows);
        }
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.nulls.allocated_size()
    }

    fn into_array(self) -> Result<PrimitiveArray<T>, ArrowError> {
        PrimitiveArray::try_new(ScalarBuffer::from(self.values), self.nulls.build())
    }
}

fn extend_nulls(to: &mut NullBufferBuilder, from: &NullBufferBuilder, rows: Range<usize>) {
    if from.as_slice().is_none() {
        to.append_n_non_nulls(rows.len());
    } else {
        rows.for_each(|row| to.append(from.is_valid(row)));
    }
}

/// What an offset counts. A page is far smaller than 2 GiB, see `decode::MAX_PAGE_BYTES`; rows of several pages that are not are
/// refused when they become an array.
fn offset(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Texts one after the other, some of them null.
#[derive(Debug)]
pub(super) struct Texts {
    text: String,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Texts {
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { text: String::with_capacity(bytes), offsets, nulls: NullBufferBuilder::new(rows) }
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
    pub(super) fn push_scalar(&mut self, scalar: Scalar<'_>) -> Result<(), Misfit> {
        match scalar {
            Scalar::Null => self.push(None),
            Scalar::Escaped(text) => {
                unescape(text, &mut self.text)?;
                self.close();
            }
            Scalar::Text(text) | Scalar::Bare(text) => self.push(Some(text)),
        }
        Ok(())
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        self.nulls.is_valid(row).then(|| self.text.get(self.span(row..row + 1)).unwrap_or_default())
    }

    /// Where the text of `rows` stands.
    fn span(&self, rows: Range<usize>) -> Range<usize> {
        let place = |row: usize| self.offsets.get(row).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        place(rows.start)..place(rows.end)
    }

    fn extend(&mut self, from: &Self, rows: Range<usize>) {
        let span = from.span(rows.clone());
        let (Some(text), Some(ends)) = (from.text.get(span.clone()), from.offsets.get(rows.start + 1..=rows.end))
        else {
            return;
        };
        let moved = offset(self.text.len()).wrapping_sub(offset(span.start));
        self.text.push_str(text);
        self.offsets.extend(ends.iter().map(|end| end.wrapping_add(moved)));
        extend_nulls(&mut self.nulls, &from.nulls, rows);
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.offsets.capacity() * size_of::<i32>() + self.nulls.allocated_size()
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        // A value that broke off half-way may have left text without an offset.
        self.text.truncate(self.offsets.last().map_or(0, |offset| usize::try_from(*offset).unwrap_or(0)));
    }

    fn into_array(self) -> Result<StringArray, ArrowError> {
        if i32::try_from(self.text.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(self.text.len()));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.text.into_bytes()), self.nulls.build())
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
    /// A column with room for `rows`, and for `bytes` of text.
    pub(super) fn new(kind: ColumnType, rows: usize, bytes: usize) -> Self {
        match kind {
            ColumnType::Int16 => Self::Int16(Fixed::with_capacity(rows)),
            ColumnType::Int32 => Self::Int32(Fixed::with_capacity(rows)),
            ColumnType::Int64 => Self::Int64(Fixed::with_capacity(rows)),
            ColumnType::Decimal => Self::Decimal(Fixed::with_capacity(rows)),
            ColumnType::Timestamp => Self::Timestamp(Fixed::with_capacity(rows)),
            ColumnType::Utf8 => Self::Utf8(Texts::with_capacity(rows, bytes)),
        }
    }

    /// Appends one row of another column of the same type, so many times.
    pub(super) fn repeat(&mut self, from: &Self, row: usize, times: usize) {
        match (self, from) {
            (Self::Int16(to), Self::Int16(from)) => to.repeat(from, row, times),
            (Self::Int32(to), Self::Int32(from)) => to.repeat(from, row, times),
            (Self::Int64(to), Self::Int64(from)) => to.repeat(from, row, times),
            (Self::Decimal(to), Self::Decimal(from)) => to.repeat(from, row, times),
            (Self::Timestamp(to), Self::Timestamp(from)) => to.repeat(from, row, times),
            (Self::Utf8(to), Self::Utf8(from)) => (0..times).for_each(|_| to.push(from.get(row))),
            _ => debug_assert!(false, "columns of different types"),
        }
    }

    /// Appends `rows` of another column of the same type.
    pub(super) fn extend(&mut self, from: &Self, rows: Range<usize>) {
        match (self, from) {
            (Self::Int16(to), Self::Int16(from)) => to.extend(from, rows),
            (Self::Int32(to), Self::Int32(from)) => to.extend(from, rows),
            (Self::Int64(to), Self::Int64(from)) => to.extend(from, rows),
            (Self::Decimal(to), Self::Decimal(from)) => to.extend(from, rows),
            (Self::Timestamp(to), Self::Timestamp(from)) => to.extend(from, rows),
            (Self::Utf8(to), Self::Utf8(from)) => to.extend(from, rows),
            // Columns at one place have one type. Were it not so, the batch would be refused for its missing rows.
            _ => debug_assert!(false, "columns of different types"),
        }
    }

    /// The bytes of text in `rows`; 0 for other types.
    pub(super) fn text_bytes(&self, rows: Range<usize>) -> usize {
        if let Self::Utf8(column) = self { column.span(rows).len() } else { 0 }
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
    pub(super) fn push(&mut self, scalar: Scalar<'_>, scratch: &mut String) -> Result<(), Misfit> {
        match self {
            Self::Utf8(column) => return column.push_scalar(scalar),
            Self::Int16(column) => column.push(integer(scalar, scratch)?),
            Self::Int32(column) => column.push(integer(scalar, scratch)?),
            Self::Int64(column) => column.push(integer(scalar, scratch)?),
            Self::Decimal(column) => {
                column.push(read(scalar, scratch, |text| value::decimal(text).map(Some))?);
            }
            Self::Timestamp(column) => {
                if let Scalar::Bare(_) = scalar {
                    return Err(Misfit::NotATime);
                }
                column.push(read(scalar, scratch, |text| Ok(value::instant(text)?.map(|time| time.micros())))?);
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

    /// The last row as microseconds.
    pub(super) fn last_micros(&self) -> Option<i64> {
        if let Self::Timestamp(column) = self { column.last() } else { None }
    }

    /// The last row as text.
    pub(super) fn last_text(&self) -> Option<&str> {
        if let Self::Utf8(column) = self { column.get(column.len().checked_sub(1)?) } else { None }
    }

    pub(super) fn into_array(self, kind: ColumnType) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Int16(column) => Arc::new(column.into_array()?),
            Self::Int32(column) => Arc::new(column.into_array()?),
            Self::Int64(column) => Arc::new(column.into_array()?),
            Self::Decimal(column) => {
                Arc::new(column.into_array()?.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE)?)
            }
            Self::Timestamp(column) => Arc::new(column.into_array()?.with_data_type(kind.arrow())),
            Self::Utf8(column) => Arc::new(column.into_array()?),
        })
    }
}

/// Reads a scalar that is not text: null and `""` mean no value.
fn read<T>(
    scalar: Scalar<'_>,
    scratch: &mut String,
    meaning: impl Fn(&str) -> Result<Option<T>, Misfit>,
) -> Result<Option<T>, Misfit> {
    match scalar {
        Scalar::Null | Scalar::Text("") => Ok(None),
        // Escapes within numbers and times are legal and never seen.
        Scalar::Escaped(_) => scalar.text(scratch)?.map_or(Ok(None), meaning),
        Scalar::Text(text) | Scalar::Bare(text) => meaning(text),
    }
}

fn integer<T: TryFrom<i64>>(scalar: Scalar<'_>, scratch: &mut String) -> Result<Option<T>, Misfit> {
    read(scalar, scratch, |text| T::try_from(value::integer(text)?).map(Some).map_err(|_| Misfit::OutOfRange))
}
