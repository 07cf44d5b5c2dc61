//! The columns of a page that waits for the proof of its window: only read, and as small as their values allow.
//!
//! How many windows can be under way in the memory of a run depends on this, so no column has room to spare, and
//! decimals and offsets are kept in half the bytes where they fit. The rows that land are gathered from here into Arrow
//! arrays, a part of a column at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array as _, ArrayRef, BinaryArray, PrimitiveArray};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::contract::{ColumnType, DECIMAL_PRECISION, DECIMAL_SCALE};

/// One column of a page.
#[derive(Debug, Default)]
pub(super) struct CompactColumn {
    values: Values,
    nulls: Option<NullBuffer>,
}

/// The values of a column, whatever stands where there is none.
#[derive(Debug, Default)]
pub(super) enum Values {
    #[default]
    None,
    Int16(Box<[i16]>),
    Int32(Box<[i32]>),
    Int64(Box<[i64]>),
    Decimal(Box<[i128]>),
    /// Decimals that all fit in 64 bits, as nearly all do.
    SmallDecimal(Box<[i64]>),
    Timestamp(Box<[i64]>),
    Text(Box<[u8]>, Offsets),
}

/// Where each text begins, and where the last one ends.
#[derive(Debug)]
pub(super) enum Offsets {
    Short(Box<[u16]>),
    Long(Box<[u32]>),
}

/// Neighbouring rows of a column that are wanted, so many times.
#[derive(Clone, Debug)]
pub(super) struct Pick<'a> {
    pub(super) from: &'a CompactColumn,
    pub(super) rows: Range<usize>,
    pub(super) times: usize,
}

impl Values {
    pub(super) fn decimals(values: &[i128]) -> Self {
        if values.iter().all(|value| i64::try_from(*value).is_ok()) {
            return Self::SmallDecimal(values.iter().map(|value| *value as i64).collect());
        }
        Self::Decimal(values.into())
    }

    /// Texts one after the other. A page is far smaller than 4 GiB, see `decode::MAX_PAGE_BYTES`.
    pub(super) fn text(text: &str, offsets: &[u32]) -> Self {
        // None is larger than the last one.
        let offsets = match u16::try_from(text.len()) {
            Ok(_) => Offsets::Short(offsets.iter().map(|offset| *offset as u16).collect()),
            Err(_) => Offsets::Long(offsets.into()),
        };
        Self::Text(text.as_bytes().into(), offsets)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Int16(values) => size_of_val(&**values),
            Self::Int32(values) => size_of_val(&**values),
            Self::Int64(values) | Self::SmallDecimal(values) | Self::Timestamp(values) => size_of_val(&**values),
            Self::Decimal(values) => size_of_val(&**values),
            Self::Text(text, Offsets::Short(offsets)) => text.len() + size_of_val(&**offsets),
            Self::Text(text, Offsets::Long(offsets)) => text.len() + size_of_val(&**offsets),
        }
    }
}

impl CompactColumn {
    pub(super) fn new(values: Values, nulls: Option<NullBuffer>) -> Self {
        Self { values, nulls }
    }

    /// The memory that it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes() + self.nulls.as_ref().map_or(0, |nulls| nulls.len().div_ceil(8))
    }

    /// An array of some `rows` that are picked out of columns of type `kind`, text as
    /// [`DataType::Binary`](arrow_schema::DataType::Binary).
    ///
    /// # Errors
    /// More text than an array can hold; columns that are of another type or gone.
    pub(super) fn gather<'a>(
        kind: ColumnType,
        rows: usize,
        picks: impl Iterator<Item = Pick<'a>>,
    ) -> Result<ArrayRef, ArrowError> {
        // Columns at one place have one type. Were it not so, values would be missing, which is seen below.
        macro_rules! fixed {
            ($kind:ident, $arrow:ty) => {
                fixed::<$arrow>(rows, picks, |values, rows, to| {
                    if let Values::$kind(values) = values {
                        to.extend_from_slice(values.get(rows).unwrap_or_default());
                    }
                })?
            };
        }
        let array: ArrayRef = match kind {
            ColumnType::Int16 => Arc::new(fixed!(Int16, Int16Type)),
            ColumnType::Int32 => Arc::new(fixed!(Int32, Int32Type)),
            ColumnType::Int64 => Arc::new(fixed!(Int64, Int64Type)),
            ColumnType::Timestamp => Arc::new(fixed!(Timestamp, TimestampMicrosecondType).with_data_type(kind.arrow())),
            ColumnType::Decimal => {
                let decimals = fixed::<Decimal128Type>(rows, picks, |values, rows, to| match values {
                    Values::SmallDecimal(values) => {
                        to.extend(values.get(rows).unwrap_or_default().iter().map(|value| i128::from(*value)));
                    }
                    Values::Decimal(values) => to.extend_from_slice(values.get(rows).unwrap_or_default()),
                    _ => {}
                })?;
                Arc::new(decimals.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE)?)
            }
            ColumnType::Utf8 => Arc::new(texts(rows, picks)?),
        };
        if array.len() != rows {
            return Err(ArrowError::InvalidArgumentError(format!("{} values for {rows} rows", array.len())));
        }
        Ok(array)
    }
}

fn fixed<'a, T: ArrowPrimitiveType>(
    rows: usize,
    picks: impl Iterator<Item = Pick<'a>>,
    copy: impl Fn(&Values, Range<usize>, &mut Vec<T::Native>),
) -> Result<PrimitiveArray<T>, ArrowError> {
    let (mut values, mut nulls) = (Vec::with_capacity(rows), NullBufferBuilder::new(rows));
    for Pick { from, rows, times } in picks {
        for _ in 0..times {
            copy(&from.values, rows.clone(), &mut values);
        }
        extend_nulls(&mut nulls, from.nulls.as_ref(), rows, times);
    }
    PrimitiveArray::try_new(ScalarBuffer::from(values), nulls.build())
}

/// The picked texts as bytes: an array of text would look again whether every letter is UTF-8.
fn texts<'a>(rows: usize, picks: impl Iterator<Item = Pick<'a>>) -> Result<BinaryArray, ArrowError> {
    let (mut text, mut nulls) = (Vec::with_capacity(rows * 16), NullBufferBuilder::new(rows));
    let mut offsets: Vec<i32> = Vec::with_capacity(rows + 1);
    offsets.push(0);
    for Pick { from, rows, times } in picks {
        let Values::Text(source, places) = &from.values else { continue };
        for _ in 0..times {
            match places {
                Offsets::Short(places) => copy_texts(source, places, rows.clone(), &mut text, &mut offsets),
                Offsets::Long(places) => copy_texts(source, places, rows.clone(), &mut text, &mut offsets),
            }
        }
        extend_nulls(&mut nulls, from.nulls.as_ref(), rows, times);
    }
    if i32::try_from(text.len()).is_err() {
        return Err(ArrowError::OffsetOverflowError(text.len()));
    }
    BinaryArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(text), nulls.build())
}

#[inline]
fn copy_texts<O: Copy + Into<u32>>(
    source: &[u8],
    places: &[O],
    rows: Range<usize>,
    text: &mut Vec<u8>,
    offsets: &mut Vec<i32>,
) {
    let Some(([first, ends @ ..], last)) = places.get(rows.start..rows.end + 1).and_then(|of| Some((of, *of.last()?)))
    else {
        return;
    };
    let first: u32 = (*first).into();
    // What outgrows 32 bits is refused when everything is there.
    let moved = (text.len() as u32).wrapping_sub(first);
    text.extend_from_slice(source.get(first as usize..last.into() as usize).unwrap_or_default());
    offsets.extend(ends.iter().map(|end| (*end).into().wrapping_add(moved) as i32));
}

#[inline]
fn extend_nulls(to: &mut NullBufferBuilder, from: Option<&NullBuffer>, rows: Range<usize>, times: usize) {
    match from {
        None => to.append_n_non_nulls(rows.len() * times),
        Some(nulls) if nulls.null_count() == nulls.len() => to.append_n_nulls(rows.len() * times),
        Some(nulls) => {
            for _ in 0..times {
                rows.clone().for_each(|row| to.append(nulls.is_valid(row)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;

    use super::*;

    fn texts(texts: &[Option<&str>]) -> CompactColumn {
        let all: String = texts.iter().flatten().copied().collect();
        let mut offsets = vec![0];
        for text in texts {
            offsets.push(offsets[offsets.len() - 1] + text.map_or(0, |text| text.len() as u32));
        }
        let nulls = NullBuffer::from_iter(texts.iter().map(Option::is_some));
        CompactColumn::new(Values::text(&all, &offsets), (nulls.null_count() > 0).then_some(nulls))
    }

    fn pick(from: &CompactColumn, rows: Range<usize>, times: usize) -> Pick<'_> {
        Pick { from, rows, times }
    }

    #[test]
    fn texts_are_picked_from_short_and_long_columns() {
        let long = "长".repeat(30_000);
        let (one, other) = (texts(&[Some("a"), None, Some("bc"), Some("")]), texts(&[Some(&long), Some("z")]));
        assert!(matches!(one.values, Values::Text(_, Offsets::Short(_))));
        assert!(matches!(other.values, Values::Text(_, Offsets::Long(_))));
        let picks = [
            pick(&other, 1..2, 1),
            pick(&one, 0..4, 1),
            pick(&one, 2..3, 2),
            pick(&one, 1..2, 2),
            pick(&other, 0..2, 1),
        ];
        let gathered = CompactColumn::gather(ColumnType::Utf8, 11, picks.into_iter()).expect("an array");
        let gathered = gathered.as_binary::<i32>();
        let read: Vec<_> = gathered.iter().map(|text| text.map(|text| str::from_utf8(text).expect("text"))).collect();
        let wanted = [
            Some("z"),
            Some("a"),
            None,
            Some("bc"),
            Some(""),
            Some("bc"),
            Some("bc"),
            None,
            None,
            Some(&long),
            Some("z"),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn decimals_take_half_the_room_where_they_fit() {
        let largest = 10_i128.pow(19) - 1;
        let small = CompactColumn::new(Values::decimals(&[1, -2, i64::MIN.into(), i64::MAX.into()]), None);
        let large = CompactColumn::new(
            Values::decimals(&[largest, -largest, 3]),
            Some(NullBuffer::from(vec![true, true, false])),
        );
        assert!(matches!(small.values, Values::SmallDecimal(_)) && matches!(large.values, Values::Decimal(_)));
        assert_eq!((small.bytes(), large.bytes()), (32, 49));
        let picks = [pick(&large, 1..3, 1), pick(&small, 0..4, 1), pick(&large, 0..1, 3)];
        let gathered = CompactColumn::gather(ColumnType::Decimal, 9, picks.into_iter()).expect("an array");
        let read: Vec<_> = gathered.as_primitive::<Decimal128Type>().iter().collect();
        let (low, high) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let all = [-largest, 0, 1, -2, low, high, largest, largest, largest].map(Some);
        assert_eq!((read[0], read[1], &read[2..]), (all[0], None, &all[2..]));
        assert_eq!(gathered.data_type(), &ColumnType::Decimal.arrow());
    }

    #[test]
    fn nothing_can_be_picked_from_a_column_that_is_gone() {
        let gone = CompactColumn::default();
        assert!(CompactColumn::gather(ColumnType::Int64, 2, [pick(&gone, 0..2, 1)].into_iter()).is_err());
        assert!(CompactColumn::gather(ColumnType::Int64, 0, [].into_iter()).is_ok());
    }
}
