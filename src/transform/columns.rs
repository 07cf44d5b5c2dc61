//! Growable column buffers that can be cut back to an earlier row. Pages keep them until their window is proved; only the rows that
//! land are gathered into Arrow arrays, a batch at a time.
//!
//! Arrow's own builders cannot be cut back, and a requisition that does not fit must leave no trace in any column.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, PrimitiveArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::contract::{ColumnType, DECIMAL_PRECISION, DECIMAL_SCALE};
use super::scalar::{Kind, Scalar, unescape};
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

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.nulls.allocated_size()
    }

    fn gather<'a>(rows: usize, picks: impl Iterator<Item = (&'a Self, Pick)>) -> Result<PrimitiveArray<T>, ArrowError> {
        let Self { mut values, mut nulls } = Self::with_capacity(rows);
        for (from, pick) in picks {
            match pick {
                Pick::Rows(rows) => {
                    values.extend_from_slice(from.values.get(rows.clone()).unwrap_or_default());
                    extend_nulls(&mut nulls, &from.nulls, rows);
                }
                Pick::Repeated(row, times) => {
                    values.extend(std::iter::repeat_n(from.values.get(row).copied().unwrap_or_default(), times));
                    repeat_null(&mut nulls, &from.nulls, row, times);
                }
            }
        }
        PrimitiveArray::try_new(ScalarBuffer::from(values), nulls.build())
    }
}

/// Rows of a page that are wanted.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    /// Neighbours, each once.
    Rows(Range<usize>),
    /// One row, so many times.
    Repeated(usize, usize),
}

fn extend_nulls(to: &mut NullBufferBuilder, from: &NullBufferBuilder, rows: Range<usize>) {
    if from.as_slice().is_none() {
        to.append_n_non_nulls(rows.len());
    } else {
        rows.for_each(|row| to.append(from.is_valid(row)));
    }
}

fn repeat_null(to: &mut NullBufferBuilder, from: &NullBufferBuilder, row: usize, times: usize) {
    if from.is_valid(row) {
        to.append_n_non_nulls(times);
    } else {
        to.append_n_nulls(times);
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
        match scalar.kind {
            Kind::Null => self.push(None),
            Kind::Escaped => {
                unescape(scalar.text, &mut self.text)?;
                self.close();
            }
            Kind::Text | Kind::Bare => self.push(Some(scalar.text)),
            Kind::Nested => return Err(Misfit::NotAScalar),
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

    fn bytes(&self) -> usize {
        self.text.capacity() + self.offsets.capacity() * size_of::<i32>() + self.nulls.allocated_size()
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        // A value that broke off half-way may have left text without an offset.
        self.text.truncate(self.offsets.last().map_or(0, |offset| usize::try_from(*offset).unwrap_or(0)));
    }

    /// The picked texts as bytes: an array of text would look again whether every letter is UTF-8.
    fn gather<'a>(rows: usize, picks: impl Iterator<Item = (&'a Self, Pick)>) -> Result<BinaryArray, ArrowError> {
        let (mut text, mut nulls) = (Vec::with_capacity(rows * 16), NullBufferBuilder::new(rows));
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        for (from, pick) in picks {
            let (span, times) = match &pick {
                Pick::Rows(rows) => (from.span(rows.clone()), 1),
                Pick::Repeated(row, times) => (from.span(*row..row + 1), *times),
            };
            let piece = from.text.as_bytes().get(span.clone()).unwrap_or_default();
            let moved = offset(text.len()).wrapping_sub(offset(span.start));
            (0..times).for_each(|_| text.extend_from_slice(piece));
            match pick {
                Pick::Rows(rows) => {
                    let ends = from.offsets.get(rows.start + 1..=rows.end).unwrap_or_default();
                    offsets.extend(ends.iter().map(|end| end.wrapping_add(moved)));
                    extend_nulls(&mut nulls, &from.nulls, rows);
                }
                Pick::Repeated(row, times) => {
                    let ends = (0..times).rev().map(|left| offset(text.len() - left * piece.len()));
                    offsets.extend(ends);
                    repeat_null(&mut nulls, &from.nulls, row, times);
                }
            }
        }
        if i32::try_from(text.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(text.len()));
        }
        BinaryArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(text), nulls.build())
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

    /// An array of some `rows` that are picked out of columns of type `kind`, text as [`DataType::Binary`](arrow_schema::DataType::Binary).
    ///
    /// # Errors
    /// More text than an array can hold.
    pub(super) fn gather<'a>(
        kind: ColumnType,
        rows: usize,
        picks: impl Iterator<Item = (&'a Self, Pick)>,
    ) -> Result<ArrayRef, ArrowError> {
        // Columns at one place have one type. Were it not so, the batch would be refused for its missing rows.
        macro_rules! of {
            ($kind:ident) => {
                picks.filter_map(|(from, pick)| if let Self::$kind(from) = from { Some((from, pick)) } else { None })
            };
        }
        Ok(match kind {
            ColumnType::Int16 => Arc::new(Fixed::gather(rows, of!(Int16))?),
            ColumnType::Int32 => Arc::new(Fixed::gather(rows, of!(Int32))?),
            ColumnType::Int64 => Arc::new(Fixed::gather(rows, of!(Int64))?),
            ColumnType::Decimal => {
                let decimals = Fixed::gather(rows, of!(Decimal))?;
                Arc::new(decimals.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE)?)
            }
            ColumnType::Timestamp => Arc::new(Fixed::gather(rows, of!(Timestamp))?.with_data_type(kind.arrow())),
            ColumnType::Utf8 => Arc::new(Texts::gather(rows, of!(Utf8))?),
        })
    }

    /// The bytes of text in the first `rows`; 0 for other types.
    pub(super) fn text_bytes(&self, rows: usize) -> usize {
        if let Self::Utf8(column) = self { column.span(0..rows).len() } else { 0 }
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
                if scalar.kind == Kind::Bare {
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
}

/// Reads a scalar that is not text: null and `""` mean no value.
fn read<T>(
    scalar: Scalar<'_>,
    scratch: &mut String,
    meaning: impl Fn(&str) -> Result<Option<T>, Misfit>,
) -> Result<Option<T>, Misfit> {
    match scalar.kind {
        Kind::Text if scalar.text.is_empty() => Ok(None),
        Kind::Text | Kind::Bare => meaning(scalar.text),
        // Escapes within numbers and times are legal and never seen.
        Kind::Null | Kind::Escaped | Kind::Nested => scalar.text(scratch)?.map_or(Ok(None), meaning),
    }
}

fn integer<T: TryFrom<i64>>(scalar: Scalar<'_>, scratch: &mut String) -> Result<Option<T>, Misfit> {
    read(scalar, scratch, |text| T::try_from(value::integer(text)?).map(Some).map_err(|_| Misfit::OutOfRange))
}
