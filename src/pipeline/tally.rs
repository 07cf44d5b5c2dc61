//! What commits add up to.

use crate::land::Committed;
use crate::log::Table;

/// New rows of commits, with their files and bytes; what was carried over does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows of `purchase_apply`.
    pub headers: u64,
    /// Rows of `purchase_apply_detail`.
    pub details: u64,
    /// Invalid records that were found, those included that stood in the lake already.
    pub quarantined: u64,
    /// Parquet files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The exact sum of `real_num` over the headers, or over the details where the headers have none (flagship), times
    /// 10,000.
    pub real_num_scaled: i128,
}

impl Tally {
    /// Adds a commit.
    pub(super) fn add(&mut self, committed: &Committed) {
        for file in committed.files().filter(|file| !file.carried) {
            self.files += 1;
            self.bytes += file.bytes;
            match Table::from_name(&file.table) {
                Some(Table::PurchaseApply) => self.headers += file.rows,
                Some(Table::PurchaseApplyDetail) => self.details += file.rows,
                _ => {}
            }
        }
        self.quarantined += committed.quarantined;
        let sum = |table| committed.sums.get(&table).copied();
        self.real_num_scaled += sum(Table::PurchaseApply).or_else(|| sum(Table::PurchaseApplyDetail)).unwrap_or(0);
    }
}
