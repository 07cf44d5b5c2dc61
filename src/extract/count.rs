//! How many records the rows of some responses are at least.
//!
//! Rows are kept finely, by [`Identity`](crate::requisition::Identity), and counted coarsely: a count that is too high
//! proves a window that is not complete. One record can be read in several ways: with its id and without, as a valid
//! row and as an invalid record, with other bytes each time. So
//!
//! - a row without an id matches any row of its number and second;
//! - an invalid record of which only the id can be read matches any row of that id, and also one without an id;
//! - an invalid record of which nothing can be read counts within one response only.
//!
//! What is told apart within one response stands at two places of one list: there every row counts that is kept as one
//! of its own, and the most that a single response shows counts too.

use std::collections::{HashMap, HashSet};

use crate::requisition::{ApplyId, Identity, RowKey};
use crate::time::BeijingTime;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;
type Set<K> = HashSet<K, ahash::RandomState>;

/// The least number of records that `responses` show.
pub(super) fn distinct<'a>(responses: impl Iterator<Item = &'a [RowKey]>) -> u64 {
    let (mut all, mut most_in_one) = (Tally::default(), 0);
    for rows in responses {
        rows.iter().for_each(|row| all.add(&row.identity));
        all.end_response();
        let in_one: Set<&Identity> = rows.iter().map(|row| &row.identity).collect();
        most_in_one = most_in_one.max(in_one.len());
    }
    all.count().max(most_in_one) as u64
}

/// The records seen so far.
#[derive(Default)]
struct Tally<'a> {
    /// The ids of each number and second, and how many there are at least.
    versions: Map<(&'a str, BeijingTime), Set<ApplyId>>,
    /// Of records of which only the id can be read: the most texts in one response.
    by_id: Map<ApplyId, usize>,
    /// The texts in the response that is read, by id.
    texts: Map<ApplyId, Set<&'a [u8; 32]>>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, identity: &'a Identity) {
        match identity {
            Identity::Version { number, modified, apply_id } => {
                self.versions.entry((number, *modified)).or_default().extend(*apply_id);
            }
            Identity::Record { apply_id: Some(apply_id), sha256 } => {
                self.texts.entry(*apply_id).or_default().insert(sha256);
            }
            // It may be a reading of any other.
            Identity::Record { apply_id: None, .. } => {}
        }
    }

    fn end_response(&mut self) {
        for (apply_id, texts) in self.texts.drain() {
            let most = self.by_id.entry(apply_id).or_default();
            *most = texts.len().max(*most);
        }
    }

    fn count(&self) -> usize {
        let known: Set<ApplyId> = self.versions.values().flatten().copied().collect();
        let anonymous = self.versions.values().filter(|ids| ids.is_empty()).count();
        let by_id: usize = self.by_id.iter().filter(|(id, _)| !known.contains(id)).map(|(_, most)| most).sum();
        let versions: usize = self.versions.values().map(|ids| ids.len().max(1)).sum();
        versions + by_id.saturating_sub(anonymous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: &str, id: i64) -> RowKey {
        let modified = BeijingTime::from_unix(7).expect("in range");
        let identity = Identity::Version { number: number.into(), modified, apply_id: ApplyId::new(id) };
        RowKey { identity, modified: Some(modified) }
    }

    fn record(id: i64, text: u8) -> RowKey {
        RowKey { identity: Identity::Record { apply_id: ApplyId::new(id), sha256: [text; 32] }, modified: None }
    }

    fn count(responses: &[&[RowKey]]) -> u64 {
        distinct(responses.iter().copied())
    }

    #[test]
    fn two_readings_of_one_record_count_once() {
        let (with, without) = ([version("A", 1)], [version("A", 0)]);
        assert_eq!(count(&[&with, &without]), 1, "the id flickers");
        assert_eq!(count(&[&with, &[version("A", 9)]]), 2, "two ids are two requisitions");
        assert_eq!(count(&[&with, &[record(1, 1)], &[record(1, 2)]]), 1, "valid and invalid, by id");
        assert_eq!(count(&[&without, &[record(5, 1)]]), 1, "it may be the one without an id");
        assert_eq!(count(&[&without, &[record(5, 1)], &[record(6, 1)]]), 2, "but not both");
        assert_eq!(count(&[&[record(0, 1)], &[record(0, 2)]]), 1, "nothing to know them by");
        assert_eq!(count(&[&with, &[record(0, 2)]]), 1);
    }

    #[test]
    fn what_one_response_tells_apart_is_apart() {
        let broken: Vec<RowKey> = (0..6).map(|text| record(0, text)).collect();
        assert_eq!(count(&[&broken]), 6, "six broken records without an id");
        let masked: Vec<RowKey> = (0..6).map(|text| record(7, text)).collect();
        assert_eq!(count(&[&masked]), 6, "six broken records behind one masked id");
        assert_eq!(count(&[&[version("A", 1), record(0, 1)], &[record(0, 1)]]), 2);
        assert_eq!(count(&[&[version("A", 4), version("A", 0)]]), 2, "with an id and without, side by side");
        assert_eq!(count(&[&[version("A", 7), record(7, 1), record(7, 2)]]), 3, "a masked id, one of them sound");
        assert_eq!(count(&[&[record(0, 1), record(0, 1)]]), 1, "a JOIN gives a row twice");
        assert_eq!(count(&[]), 0);
    }
}
