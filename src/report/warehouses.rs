//! What is open by warehouse: exact sums, however many warehouses there are.
//!
//! So many are in memory. When there are more, the sums so far wait in a temporary file by the digest of what tells the
//! warehouse, and those of one part of the digests are brought together at the end. Named are those with the largest
//! open quantity; all others are one remainder.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::clip::clipped;
use crate::error::{Error, Result};
use crate::pipeline::Partitions;
use crate::transform::StandingHeader;

/// How many are in memory at a time, and into how many parts they are put beyond that.
const IN_MEMORY: usize = 4_096;
const PARTS: u64 = 64;

/// What tells a warehouse from others: the digest of its account and its code, or its name where it has no code.
type Key = [u8; 32];

/// What is open of one warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WarehouseSum {
    /// The account, by its place in the report.
    pub(super) account: u32,
    /// Its code; empty where it has none.
    pub(super) no: String,
    /// Its name, as the requisition that was modified last says it; empty where it has none.
    pub(super) name: String,
    /// When that was modified, in microseconds since 1970-01-01 00:00:00 UTC.
    named_at: i64,
    /// How many requisitions are open.
    pub(super) open: u64,
    /// How much of them is open, in ten-thousandths.
    pub(super) quantity: i128,
}

impl WarehouseSum {
    fn add(&mut self, other: Self) {
        self.open += other.open;
        self.quantity += other.quantity;
        if (self.named_at, &self.name) < (other.named_at, &other.name) {
            (self.named_at, self.name) = (other.named_at, other.name);
        }
    }

    fn encode(&self, key: &Key) -> Vec<u8> {
        let mut bytes = key.to_vec();
        bytes.extend_from_slice(&self.account.to_le_bytes());
        bytes.extend_from_slice(&self.named_at.to_le_bytes());
        bytes.extend_from_slice(&self.open.to_le_bytes());
        bytes.extend_from_slice(&self.quantity.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.no.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(self.no.as_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(Key, Self)> {
        let (key, bytes) = bytes.split_first_chunk()?;
        let (account, bytes) = bytes.split_first_chunk()?;
        let (named_at, bytes) = bytes.split_first_chunk()?;
        let (open, bytes) = bytes.split_first_chunk()?;
        let (quantity, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (no, name) = bytes.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let sum = Self {
            account: u32::from_le_bytes(*account),
            no: std::str::from_utf8(no).ok()?.to_owned(),
            name: std::str::from_utf8(name).ok()?.to_owned(),
            named_at: i64::from_le_bytes(*named_at),
            open: u64::from_le_bytes(*open),
            quantity: i128::from_le_bytes(*quantity),
        };
        Some((*key, sum))
    }
}

/// The largest warehouses, and what the others have together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WarehouseRanking {
    /// The largest open quantity first.
    pub(super) named: Vec<WarehouseSum>,
    /// How many others there are.
    pub(super) others: u64,
    /// How many requisitions are open there.
    pub(super) others_open: u64,
    /// How much of them is open, in ten-thousandths.
    pub(super) others_quantity: i128,
}

/// Sums on their way.
#[derive(Default)]
pub(super) struct Warehouses {
    held: HashMap<Key, WarehouseSum>,
    waiting: Option<Partitions>,
}

impl Warehouses {
    /// Adds an open requisition, of which so much is open.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when no temporary file can be written.
    pub(super) fn add(&mut self, account: u32, header: &StandingHeader<'_>, open: Option<i128>) -> Result<()> {
        let (no, name) = (header.warehouse_no.unwrap_or(""), header.warehouse_name.unwrap_or(""));
        let mut digest = Sha256::new();
        digest.update(account.to_le_bytes());
        digest.update([u8::from(no.is_empty())]);
        digest.update(if no.is_empty() { name } else { no });
        let sum = WarehouseSum {
            account,
            no: clipped(no),
            name: clipped(name),
            named_at: header.modified,
            open: 1,
            quantity: open.unwrap_or(0),
        };
        add(&mut self.held, digest.finalize().into(), sum);
        if self.held.len() > IN_MEMORY { self.put_away() } else { Ok(()) }
    }

    fn put_away(&mut self) -> Result<()> {
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            none => none.insert(Partitions::new(PARTS)?),
        };
        for (key, sum) in self.held.drain() {
            waiting.add(part(&key), &sum.encode(&key))?;
        }
        Ok(())
    }

    /// The `most` largest, and the others together.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(super) fn ranked(mut self, most: usize) -> Result<WarehouseRanking> {
        let mut ranking = WarehouseRanking::default();
        if self.waiting.is_some() {
            self.put_away()?;
        }
        ranking.take(self.held.into_values(), most);
        let Some(mut waiting) = self.waiting else { return Ok(ranking) };
        for part in 0..waiting.len() {
            let mut held = HashMap::new();
            for record in waiting.read(part)?.records()? {
                let (key, sum) = WarehouseSum::decode(record)
                    .ok_or_else(|| Error::internal("a temporary file does not give back what was written to it"))?;
                add(&mut held, key, sum);
            }
            ranking.take(held.into_values(), most);
        }
        Ok(ranking)
    }
}

impl WarehouseRanking {
    fn take(&mut self, sums: impl Iterator<Item = WarehouseSum>, most: usize) {
        self.named.extend(sums);
        self.named.sort_unstable_by(|one, other| {
            let rest = |sum: &WarehouseSum| (sum.account, sum.no.clone(), sum.name.clone());
            other.quantity.cmp(&one.quantity).then_with(|| rest(one).cmp(&rest(other)))
        });
        for other in self.named.drain(most.min(self.named.len())..) {
            self.others += 1;
            self.others_open += other.open;
            self.others_quantity += other.quantity;
        }
    }
}

fn add(held: &mut HashMap<Key, WarehouseSum>, key: Key, sum: WarehouseSum) {
    if let Some(before) = held.get_mut(&key) {
        before.add(sum);
    } else {
        held.insert(key, sum);
    }
}

fn part(key: &Key) -> u64 {
    key.first_chunk().map_or(0, |head| u64::from_le_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(no: Option<&'a str>, name: Option<&'a str>, modified: i64) -> StandingHeader<'a> {
        StandingHeader {
            number: "CG1",
            apply_id: None,
            status: 25,
            status_name: Some("partly_referenced"),
            warehouse_no: no,
            warehouse_name: name,
            modified,
            created: None,
            real: None,
            referenced: None,
            open: None,
        }
    }

    #[test]
    fn the_sums_are_exact_however_many_warehouses_there_are() {
        for count in [3_u64, 20_000] {
            let mut warehouses = Warehouses::default();
            for round in 0..3 {
                for nth in 0..count {
                    let (no, name) = (format!("W{nth}"), format!("仓 {round}"));
                    let open = (nth != 1).then(|| i128::from(nth) * 10 - 5);
                    warehouses.add(0, &header(Some(&no), Some(&name), round), open).expect("added");
                }
            }
            assert_eq!(warehouses.waiting.is_some(), count > IN_MEMORY as u64);
            let ranking = warehouses.ranked(2).expect("ranked");
            let named: Vec<_> =
                ranking.named.iter().map(|sum| (&*sum.no, &*sum.name, sum.open, sum.quantity)).collect();
            let expected = |nth: u64| (format!("W{nth}"), i128::from(nth) * 30 - 15);
            let (first, second) = (expected(count - 1), expected(count - 2));
            let second = if count == 3 { ("W1".to_owned(), 0) } else { second };
            assert_eq!(named, [(&*first.0, "仓 2", 3, first.1), (&*second.0, "仓 2", 3, second.1)]);
            assert_eq!(
                (ranking.others, ranking.others_open),
                (count - 2, 3 * (count - 2)),
                "warehouses and requisitions"
            );
            let all: i128 = (0..count).filter(|nth| *nth != 1).map(|nth| i128::from(nth) * 30 - 15).sum();
            assert_eq!(ranking.others_quantity + first.1 + second.1, all);
        }
    }

    #[test]
    fn a_warehouse_is_told_by_account_and_code_or_by_its_name() {
        let mut warehouses = Warehouses::default();
        for (account, no, name) in [
            (0, Some("1"), Some("a")),
            (0, Some("1"), Some("b")),
            (1, Some("1"), Some("a")),
            (0, None, Some("1")),
            (0, Some(""), Some("1")),
            (0, None, None),
        ] {
            warehouses.add(account, &header(no, name, 7), Some(1)).expect("added");
        }
        let ranking = warehouses.ranked(9).expect("ranked");
        let named: Vec<_> = ranking.named.iter().map(|sum| (sum.account, &*sum.no, &*sum.name, sum.open)).collect();
        assert_eq!(named, [(0, "", "1", 2), (0, "1", "b", 2), (0, "", "", 1), (1, "1", "a", 1)]);
    }
}
