//! What headers as they stand now add up to: by status and month, by age and by warehouse, and the oldest that are
//! partly referenced. Pure, but for the warehouses that wait on disk; memory does not grow with the rows.

use std::collections::{BTreeMap, BTreeSet};

use super::clip::clipped;
use super::months::MonthAxis;
use super::warehouses::Warehouses;
use crate::edition::OPEN_STATUSES;
use crate::error::Result;
use crate::time::BeijingTime;
use crate::transform::{DetailSums, StandingHeader, StandingHeaders};

/// The statuses that the vendor documents, in the order of a requisition's life.
pub(super) const STATUSES: [&str; 6] =
    ["editing", "to_confirm", "to_reference", "partly_referenced", "referenced", "cancelled"];
/// How many kinds of statuses are told apart by month: those, and all others together.
pub(super) const STATUS_KINDS: usize = STATUSES.len() + 1;
/// The status that can be stopped.
const PARTLY_REFERENCED: &str = "partly_referenced";
/// How many of the oldest are named, of those that can be stopped and of the others.
const OLDEST: usize = 20;
/// The ages by which open requisitions are told apart, in full days; the last one is open.
pub(super) const AGE_DAYS: [i64; 4] = [7, 30, 90, 180];
const MICROS_OF_A_DAY: i64 = 86_400 * 1_000_000;

/// Open requisitions and how much of them is open, in ten-thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenSum {
    /// How many.
    pub(super) requisitions: u64,
    /// How much.
    pub(super) quantity: i128,
    /// Of how many the quantity is not known.
    pub(super) unknown: u64,
}

/// Whether the requisitions of an account can be stopped: the vendor has such a call for one edition only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stoppable {
    /// They can.
    Yes,
    /// They cannot.
    #[default]
    No,
}

/// Requisitions that are partly referenced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartlyReferenced {
    /// All of them.
    pub(super) sum: OpenSum,
    /// The oldest of them, the oldest first.
    pub(super) oldest: BTreeSet<OldRequisition>,
}

impl OpenSum {
    fn add(&mut self, open: Option<i128>) {
        self.requisitions += 1;
        self.quantity += open.unwrap_or(0);
        self.unknown += u64::from(open.is_none());
    }
}

/// A requisition that has been partly referenced for long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OldRequisition {
    /// When it was last modified, in microseconds since 1970-01-01 00:00:00 UTC.
    pub(super) modified: i64,
    /// The account, by its place in the report.
    pub(super) account: u32,
    /// Its number.
    pub(super) number: String,
    /// Its id, as the row has it.
    pub(super) apply_id: Option<i64>,
    /// Its warehouse: name, or else code.
    pub(super) warehouse: String,
    /// What is open of it, in ten-thousandths.
    pub(super) open: Option<i128>,
}

/// What one account adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AccountSum {
    /// Its requisitions.
    pub(super) requisitions: u64,
    /// Those that are open.
    pub(super) open: OpenSum,
}

/// See the module documentation.
pub(super) struct HeaderTally {
    /// How far the lake knows, in microseconds since 1970-01-01 00:00:00 UTC: ages end there.
    as_of: i64,
    /// Whose headers come, and whether they can be stopped.
    account: u32,
    stoppable: Stoppable,
    /// The months of creation that are told apart.
    pub(super) months: MonthAxis<[u64; STATUS_KINDS]>,
    /// Requisitions by status, in the order of [`STATUSES`].
    pub(super) by_status: [u64; STATUSES.len()],
    /// Requisitions by a code that the vendor does not document. There are no more than a code has values.
    pub(super) by_code: BTreeMap<i16, u64>,
    /// What is open, by age.
    pub(super) by_age: [OpenSum; AGE_DAYS.len() + 1],
    /// What is open in all.
    pub(super) open: OpenSum,
    /// Those that are partly referenced and can be stopped.
    pub(super) to_stop: PartlyReferenced,
    /// Those that are partly referenced and cannot be stopped.
    pub(super) to_wait: PartlyReferenced,
    /// What is open, by warehouse.
    pub(super) warehouses: Warehouses,
    /// Requisitions of which a quantity is not the sum over the details.
    pub(super) mismatched: u64,
    /// What each account adds.
    pub(super) by_account: Vec<AccountSum>,
}

impl HeaderTally {
    /// Nothing yet, of a lake that knows so far.
    pub(super) fn new(as_of: BeijingTime) -> Self {
        Self {
            as_of: as_of.micros(),
            account: 0,
            stoppable: Stoppable::default(),
            months: MonthAxis::until(as_of),
            by_status: [0; STATUSES.len()],
            by_code: BTreeMap::new(),
            by_age: [OpenSum::default(); AGE_DAYS.len() + 1],
            open: OpenSum::default(),
            to_stop: PartlyReferenced::default(),
            to_wait: PartlyReferenced::default(),
            warehouses: Warehouses::default(),
            mismatched: 0,
            by_account: Vec::new(),
        }
    }

    /// The headers to come are those of the next account.
    pub(super) fn begin_account(&mut self, stoppable: Stoppable) {
        self.stoppable = stoppable;
        self.account = u32::try_from(self.by_account.len()).unwrap_or(u32::MAX);
        self.by_account.push(AccountSum::default());
    }

    /// Adds headers, with what the details of each sum to.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract,
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when no temporary file can be written.
    pub(super) fn add_batch(&mut self, batch: &arrow_array::RecordBatch, sums: &[DetailSums]) -> Result<()> {
        let headers = StandingHeaders::of(batch)?;
        for (row, sums) in (0..headers.rows()).zip(sums) {
            self.add(&headers.row(row), sums)?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn add_for_tests(&mut self, header: &StandingHeader<'_>, sums: &DetailSums) -> Result<()> {
        self.add(header, sums)
    }

    fn add(&mut self, header: &StandingHeader<'_>, sums: &DetailSums) -> Result<()> {
        let known = header.status_name.and_then(|name| STATUSES.iter().position(|status| *status == name));
        match known.and_then(|kind| self.by_status.get_mut(kind)) {
            Some(count) => *count += 1,
            None => *self.by_code.entry(header.status).or_default() += 1,
        }
        if let Some(count) = self.months.of(header.created).get_mut(known.unwrap_or(STATUSES.len())) {
            *count += 1;
        }
        let differs = |said: Option<i128>, sum: i128| said.is_some_and(|said| said != sum);
        self.mismatched += u64::from(differs(header.real, sums.real) || differs(header.referenced, sums.referenced));
        let account = self.by_account.last_mut();
        if let Some(account) = account {
            account.requisitions += 1;
        }
        if header.status_name.is_some_and(|name| OPEN_STATUSES.contains(&name)) {
            self.add_open(header, header.open.or(sums.open))?;
        }
        Ok(())
    }

    fn add_open(&mut self, header: &StandingHeader<'_>, open: Option<i128>) -> Result<()> {
        self.open.add(open);
        if let Some(account) = self.by_account.last_mut() {
            account.open.add(open);
        }
        if let Some(age) = self.by_age.get_mut(age(self.as_of, header.modified)) {
            age.add(open);
        }
        if header.status_name == Some(PARTLY_REFERENCED) {
            let account = self.account;
            match self.stoppable {
                Stoppable::Yes => self.to_stop.add(account, header, open),
                Stoppable::No => self.to_wait.add(account, header, open),
            }
        }
        self.warehouses.add(self.account, header, open)
    }
}

impl PartlyReferenced {
    fn add(&mut self, account: u32, header: &StandingHeader<'_>, open: Option<i128>) {
        self.sum.add(open);
        let is_full = self.oldest.len() >= OLDEST;
        if is_full && self.oldest.last().is_some_and(|youngest| youngest.modified < header.modified) {
            return;
        }
        let warehouse = header.warehouse_name.filter(|name| !name.is_empty()).or(header.warehouse_no).unwrap_or("");
        self.oldest.insert(OldRequisition {
            modified: header.modified,
            account,
            number: header.number.to_owned(),
            apply_id: header.apply_id,
            warehouse: clipped(warehouse),
            open,
        });
        if self.oldest.len() > OLDEST {
            self.oldest.pop_last();
        }
    }
}

/// The place of an age in [`AGE_DAYS`].
fn age(as_of: i64, modified: i64) -> usize {
    let days = as_of.saturating_sub(modified) / MICROS_OF_A_DAY;
    AGE_DAYS.iter().position(|most| days < *most).unwrap_or(AGE_DAYS.len())
}

/// How many full days old something is.
pub(super) fn days_old(as_of: BeijingTime, modified: i64) -> i64 {
    (as_of.micros().saturating_sub(modified) / MICROS_OF_A_DAY).max(0)
}
