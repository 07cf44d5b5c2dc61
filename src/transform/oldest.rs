//! The oldest open requisitions of a lake, found in two passes over the headers of all its files.
//!
//! The first pass finds the latest version of each number, of which it keeps a hash, a time and whether it is open:
//! some 40 bytes a number. The second picks the oldest of them. Two numbers of one hash are one to this search; then
//! one of them may be missed, once in ten million lakes of two million numbers.

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;
use arrow_array::RecordBatch;

use super::landed::{LandedHeader, LandedHeaders};
use crate::time::BeijingTime;

/// What the lake says last of an open requisition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenRequisition {
    /// Its number.
    pub number: String,
    /// Its row, without quantities.
    pub header: LandedHeader,
}

/// The search for the oldest open requisitions.
#[derive(Debug)]
pub(crate) struct OldestOpen {
    hasher: RandomState,
    latest: HashMap<u64, Latest, RandomState>,
    wanted: usize,
    /// By modified time in microseconds and number; several where requisitions share their number and that second.
    oldest: BTreeMap<(i64, String), Vec<OpenRequisition>>,
}

/// The greatest modified time of a number, and whether a row of that time is open.
#[derive(Clone, Copy, Debug)]
struct Latest {
    modified_micros: i64,
    is_open: bool,
}

impl OldestOpen {
    /// The columns that both passes read.
    pub(crate) const COLUMNS: [&str; 5] = ["purchase_apply_no", "apply_id", "status", "status_name", "modified"];

    /// A search for so many numbers.
    pub(crate) fn wanting(wanted: usize) -> Self {
        let hasher = RandomState::new();
        Self { latest: HashMap::with_hasher(hasher.clone()), hasher, wanted, oldest: BTreeMap::new() }
    }

    /// The first pass: shows it rows of `purchase_apply`.
    pub(crate) fn note(&mut self, batch: &RecordBatch) {
        let Some(headers) = LandedHeaders::of(batch) else { return };
        for row in 0..headers.rows() {
            let modified_micros = headers.modified_micros(row);
            let is_open = headers.header(row).is_some_and(|header| header.is_open());
            let seen = Latest { modified_micros, is_open };
            let latest = self.latest.entry(self.hasher.hash_one(headers.number(row))).or_insert(seen);
            if latest.modified_micros < modified_micros {
                *latest = seen;
            } else if latest.modified_micros == modified_micros {
                latest.is_open |= is_open;
            }
        }
    }

    /// The latest modified time that one of the wanted has: later rows need no second pass. `None` when nothing is
    /// open.
    pub(crate) fn last_wanted(&self) -> Option<BeijingTime> {
        let open = self.latest.values().filter(|latest| latest.is_open);
        let mut times: Vec<i64> = open.map(|latest| latest.modified_micros).collect();
        let place = self.wanted.min(times.len()).checked_sub(1)?;
        let (_, last, _) = times.select_nth_unstable(place);
        BeijingTime::from_unix(last.div_euclid(1_000_000))
    }

    /// The second pass: shows it the same rows again.
    pub(crate) fn pick(&mut self, batch: &RecordBatch) {
        let Some(headers) = LandedHeaders::of(batch) else { return };
        for row in 0..headers.rows() {
            let (number, modified_micros) = (headers.number(row), headers.modified_micros(row));
            let latest = self.latest.get(&self.hasher.hash_one(number));
            let is_latest = latest.is_some_and(|latest| latest.is_open && latest.modified_micros == modified_micros);
            let newest = self.oldest.last_key_value().map(|((micros, number), _)| (*micros, number.as_str()));
            let is_old =
                self.oldest.len() < self.wanted || newest.is_some_and(|newest| (modified_micros, number) <= newest);
            if is_latest
                && is_old
                && let Some(header) = headers.header(row).filter(LandedHeader::is_open)
            {
                let version = OpenRequisition { number: number.to_owned(), header };
                self.oldest.entry((modified_micros, number.to_owned())).or_default().push(version);
                if self.oldest.len() > self.wanted {
                    self.oldest.pop_last();
                }
            }
        }
    }

    /// What was picked, the oldest first, by number.
    pub(crate) fn picked(self) -> Vec<Vec<OpenRequisition>> {
        self.oldest.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int16Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    /// Rows of (number, second, status name).
    fn rows(rows: &[(&str, i64, &str)]) -> RecordBatch {
        let numbers = StringArray::from_iter_values(rows.iter().map(|row| row.0));
        let names = StringArray::from_iter_values(rows.iter().map(|row| row.2));
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1 * 1_000_000));
        let ids = Int64Array::from_iter_values(1..=rows.len() as i64);
        let codes = Int16Array::from_iter_values(rows.iter().map(|_| 20));
        RecordBatch::try_from_iter([
            ("purchase_apply_no", Arc::new(numbers) as _),
            ("apply_id", Arc::new(ids) as _),
            ("status", Arc::new(codes) as _),
            ("status_name", Arc::new(names) as _),
            ("modified", Arc::new(times.with_timezone("UTC")) as _),
        ])
        .expect("a batch")
    }

    fn oldest(wanted: usize, batches: &[RecordBatch]) -> Vec<(String, usize)> {
        let mut search = OldestOpen::wanting(wanted);
        batches.iter().for_each(|batch| search.note(batch));
        batches.iter().for_each(|batch| search.pick(batch));
        search.picked().into_iter().map(|found| (found[0].number.clone(), found.len())).collect()
    }

    #[test]
    fn the_oldest_are_found_whose_latest_version_is_open() {
        let batches = [
            rows(&[("A", 10, "to_confirm"), ("B", 20, "to_reference"), ("C", 30, "referenced")]),
            rows(&[("A", 40, "cancelled"), ("C", 5, "partly_referenced"), ("D", 15, "partly_referenced")]),
            rows(&[("E", 25, "to_confirm"), ("E", 25, "to_confirm"), ("F", 26, "editing")]),
        ];
        let named =
            |all: &[(&str, usize)]| all.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect::<Vec<_>>();
        assert_eq!(oldest(10, &batches), named(&[("D", 1), ("B", 1), ("E", 2)]));
        assert_eq!(oldest(2, &batches), named(&[("D", 1), ("B", 1)]));
        let backwards: Vec<RecordBatch> = batches.iter().rev().cloned().collect();
        assert_eq!(oldest(3, &backwards), oldest(3, &batches), "the order of files does not count");
        let mut search = OldestOpen::wanting(2);
        assert_eq!(search.last_wanted(), None);
        batches.iter().for_each(|batch| search.note(batch));
        assert_eq!(search.last_wanted().map(BeijingTime::unix), Some(20));
    }
}
