//! Which of the versions in files are of requisitions that are open, and are the latest of their numbers.
//!
//! Candidates are taken in first, then every other version is shown, and who is older than one that is shown goes. So
//! memory grows with the numbers that have an open version among the candidates, and with nothing else. Of a number the
//! versions with the greatest modified time count, as in the views: several where requisitions share number and second.

use std::collections::HashMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, BooleanArray, RecordBatch};

use super::carry::{Key, keys, mismatched};
use crate::edition::OPEN_STATUSES;
use crate::error::Result;
use crate::requisition::ApplyId;

/// Open versions, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct OpenVersions(HashMap<String, Held>);

/// The open versions of one number: all of the same modified time.
#[derive(Debug)]
struct Held {
    micros: i64,
    versions: Vec<OpenVersion>,
}

/// An open version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenVersion {
    apply_id: Option<ApplyId>,
    /// When it was modified, in microseconds since 1970-01-01 00:00:00 UTC.
    pub micros: i64,
    /// How many details it has.
    pub details: u64,
    /// Where it stands, as the caller counts places.
    pub place: usize,
}

impl OpenVersions {
    /// The columns of a header that [`take_in`](Self::take_in) looks at.
    pub(crate) const CANDIDATE_COLUMNS: [&str; 5] =
        ["purchase_apply_no", "modified", "apply_id", "status_name", "detail_count"];
    /// The columns of a header that [`outdate`](Self::outdate) looks at.
    pub(crate) const AGE_COLUMNS: [&str; 3] = ["purchase_apply_no", "modified", "apply_id"];

    /// Takes in those headers of a batch that are open and not older than what is held of their number. `place` is
    /// where they stand.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(crate) fn take_in(&mut self, headers: &RecordBatch, place: usize) -> Result<()> {
        let names = headers.column_by_name("status_name").and_then(|column| column.as_string_opt::<i32>());
        let names = names.ok_or_else(|| mismatched("status names are not text"))?;
        let counts = headers.column_by_name("detail_count").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let counts = counts.ok_or_else(|| mismatched("numbers of details are not integers"))?;
        let is_open = |row: usize| names.is_valid(row) && OPEN_STATUSES.contains(&names.value(row));
        for (row, (number, micros, apply_id)) in keys(headers, "modified")?.enumerate().filter(|(row, _)| is_open(*row))
        {
            let details = if counts.is_valid(row) { u64::try_from(counts.value(row)).unwrap_or(0) } else { 0 };
            let version = OpenVersion { apply_id, micros, details, place };
            match self.0.get_mut(number) {
                Some(held) if held.micros > micros => {}
                Some(held) if held.micros == micros => held.versions.push(version),
                Some(held) => *held = Held { micros, versions: vec![version] },
                None => {
                    self.0.insert(number.to_owned(), Held { micros, versions: vec![version] });
                }
            }
        }
        Ok(())
    }

    /// Drops what is older than a header of this batch.
    ///
    /// # Errors
    /// As [`take_in`](Self::take_in).
    pub(crate) fn outdate(&mut self, headers: &RecordBatch) -> Result<()> {
        for (number, micros, _) in keys(headers, "modified")? {
            if self.0.get(number).is_some_and(|held| held.micros < micros) {
                self.0.remove(number);
            }
        }
        Ok(())
    }

    /// The earliest modified time of those that are held, in microseconds since 1970-01-01 00:00:00 UTC.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.0.values().map(|held| held.micros).min()
    }

    /// Those that are held, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = OpenVersion> {
        self.0.values().flat_map(|held| held.versions.iter().copied())
    }

    /// Which rows of a batch are theirs. `modified` is the column of modified times: `modified` of headers,
    /// `apply_modified` of details.
    ///
    /// # Errors
    /// As [`take_in`](Self::take_in).
    pub(crate) fn keep(&self, batch: &RecordBatch, modified: &str) -> Result<BooleanArray> {
        Ok(keys(batch, modified)?.map(|key| Some(self.has(key))).collect())
    }

    fn has(&self, (number, micros, apply_id): Key<'_>) -> bool {
        let held = self.0.get(number).filter(|held| held.micros == micros);
        held.is_some_and(|held| held.versions.iter().any(|version| version.apply_id == apply_id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    /// Headers by number, second, id and status.
    fn headers(rows: &[(&str, i64, i64, &str)]) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
        let statuses: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.3)));
        let times: ArrayRef =
            Arc::new(rows.iter().map(|row| Some(row.1 * 1_000_000)).collect::<TimestampMicrosecondArray>());
        let ids: ArrayRef = Arc::new(rows.iter().map(|row| (row.2 > 0).then_some(row.2)).collect::<Int64Array>());
        let counts: ArrayRef = Arc::new(rows.iter().map(|_| Some(2)).collect::<Int32Array>());
        let columns = [
            ("purchase_apply_no", numbers),
            ("modified", times),
            ("apply_id", ids),
            ("status_name", statuses),
            ("detail_count", counts),
        ];
        RecordBatch::try_from_iter(columns).expect("a batch")
    }

    fn kept(open: &OpenVersions, rows: &RecordBatch) -> Vec<bool> {
        open.keep(rows, "modified").expect("a mask").iter().flatten().collect()
    }

    #[test]
    fn the_latest_version_counts_when_it_is_open() {
        let candidates = headers(&[
            ("A", 1, 1, "to_confirm"),
            ("A", 5, 1, "partly_referenced"),
            ("B", 3, 2, "to_reference"),
            ("C", 3, 3, "referenced"),
            ("D", 2, 4, "to_confirm"),
            ("E", 4, 5, "to_confirm"),
            ("E", 4, 6, "to_confirm"),
            ("E", 4, 7, "cancelled"),
            ("F", 9, 0, "editing"),
        ]);
        let mut open = OpenVersions::default();
        open.take_in(&candidates, 3).expect("taken in");
        open.outdate(&candidates).expect("its own versions too");
        open.outdate(&headers(&[("B", 4, 2, "referenced"), ("A", 5, 9, "referenced"), ("D", 1, 4, "cancelled")]))
            .expect("later versions");
        assert_eq!(kept(&open, &candidates), [false, true, false, false, true, true, true, false, false]);
        assert_eq!(open.oldest(), Some(2_000_000));
        let mut found: Vec<(i64, u64, usize)> =
            open.iter().map(|version| (version.micros / 1_000_000, version.details, version.place)).collect();
        found.sort_unstable();
        assert_eq!(found, [(2, 2, 3), (4, 2, 3), (4, 2, 3), (5, 2, 3)]);
    }

    #[test]
    fn a_later_version_that_is_closed_ends_an_older_open_one_whatever_came_first() {
        let (old, new) = (headers(&[("A", 1, 1, "to_confirm")]), headers(&[("A", 2, 1, "referenced")]));
        let mut open = OpenVersions::default();
        open.take_in(&old, 0).expect("taken in");
        open.take_in(&new, 1).expect("it is not open");
        assert_eq!(open.iter().count(), 1);
        open.outdate(&old).expect("itself");
        assert_eq!(open.iter().count(), 1);
        open.outdate(&new).expect("its successor");
        assert_eq!((open.iter().count(), open.oldest()), (0, None));
    }
}
