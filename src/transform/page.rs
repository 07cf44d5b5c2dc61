//! A page of an answer, decoded: what the walk counts and what assembly lands.

use std::fmt;
use std::ops::Range;

use super::compact::CompactColumn;
use super::context::PageContext;
use super::quarantine::Quarantined;
use crate::edition::Edition;
use crate::id::RunId;
use crate::requisition::RowKey;

/// Why an answer is not a page at all: not JSON, broken off, an error answer, or without its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageError {
    pub(super) what: String,
    pub(super) offset: Option<usize>,
    pub(super) words: String,
    pub(super) is_refusal: bool,
}

impl PageError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), offset: None, words: String::new(), is_refusal: false }
    }

    /// What an answer that is a success by its code says in place of its list, in words.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Whether that is all it says: it is a refusal by another name.
    pub fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// The byte of the answer, counted from 0, where reading ended, if it ended at one.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for PageError {
    /// What is wrong and where, never the answer itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
    }
}

impl std::error::Error for PageError {}

/// One page, decoded.
#[derive(Debug)]
pub struct Page {
    pub(super) edition: Edition,
    pub(super) run: RunId,
    pub(super) received_at_micros: i64,
    pub(super) total: Option<u64>,
    pub(super) rows: Vec<RowKey>,
    pub(super) slots: Vec<Slot>,
    /// Columns of requisitions without lineage, in the order of arrival.
    pub(super) headers: Vec<CompactColumn>,
    /// Columns of details without lineage, in the order of arrival.
    pub(super) details: Vec<CompactColumn>,
    /// Where the details of each header begin, and where the last ones end.
    pub(super) detail_offsets: Vec<usize>,
    /// The headers with times that readers cannot hold, and how many each has.
    pub(super) unreadable_times: Vec<(usize, u32)>,
    pub(super) quarantined: Vec<Quarantined>,
    /// Whether it stands for a response that cannot be read.
    pub(super) is_unreadable: bool,
    /// Whether it has no list, empty or not: it stands behind the end, or beside a total that has no row for it.
    pub(super) lacks_list: bool,
    /// What the answer says in words beside its list.
    pub(super) words: String,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The header at that place, with its details.
    Landed(usize),
    /// The quarantined record at that place.
    Quarantined(usize),
    /// Nothing: it belongs to another window.
    Skipped,
}

impl Page {
    /// The page that stands for a response of `size` bytes that cannot be read, and `why`: one invalid record, without
    /// a total. `body` may be empty where the response was too large to be kept.
    pub(super) fn unreadable(
        edition: Edition,
        run: RunId,
        context: &PageContext,
        body: &[u8],
        size: u64,
        why: &str,
    ) -> Self {
        let record = Quarantined::unreadable(body, size, why, edition, run, context);
        Self {
            edition,
            run,
            received_at_micros: context.received_at_micros,
            total: None,
            rows: vec![record.key()],
            slots: vec![Slot::Quarantined(0)],
            headers: Vec::new(),
            details: Vec::new(),
            detail_offsets: vec![0],
            unreadable_times: Vec::new(),
            quarantined: vec![record],
            is_unreadable: true,
            lacks_list: true,
            words: String::new(),
        }
    }

    /// Whether the page stands for a response that cannot be read: its one row is all of it, whatever records it held.
    pub fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Whether the answer had no list, not even an empty one.
    pub fn lacks_list(&self) -> bool {
        self.lacks_list
    }

    /// What an answer without rows says in words; nothing where it has rows, which say enough.
    pub fn words(&self) -> &str {
        if self.rows.is_empty() { &self.words } else { "" }
    }

    /// Keeps the source texts of its quarantined records as `kept` gives them.
    pub fn keep_records_as(&mut self, kept: impl Fn(&str) -> Option<String>) {
        for record in &mut self.quarantined {
            let texts = [Some(&mut record.raw), record.field.as_mut()].into_iter().flatten();
            for text in texts {
                if let Some(kept) = kept(text) {
                    *text = kept;
                }
            }
        }
    }

    /// The page with the quarantined records of `other`, which was read from the same answer.
    pub fn with_records_of(self, other: &Page) -> Self {
        Self { quarantined: other.quarantined.clone(), ..self }
    }

    /// How many rows the server counts in the whole window, when the answer says so.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Every row that came over the wire, in order, quarantined and skipped ones too.
    pub fn rows(&self) -> &[RowKey] {
        &self.rows
    }

    /// The places, in [`rows`](Self::rows), of requisitions that did not fit.
    pub fn quarantined_rows(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| matches!(slot, Slot::Quarantined(_))).map(|(place, _)| place)
    }

    /// Whether the row at that place in [`rows`](Self::rows) is a flagship row of the second after the window, which
    /// was asked for only because the interval is not documented as closed. It lands with its own window.
    pub fn is_skipped(&self, row: usize) -> bool {
        self.slots.get(row) == Some(&Slot::Skipped)
    }

    /// The requisitions that did not fit, in order.
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }

    /// How many details the fitting requisitions hold.
    pub fn detail_rows(&self) -> usize {
        self.detail_offsets.last().copied().unwrap_or(0)
    }

    /// The memory that its columns hold, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let raw: usize = self.quarantined.iter().map(|record| record.raw.len()).sum();
        self.headers.iter().chain(&self.details).map(CompactColumn::bytes).sum::<usize>() + raw
    }

    /// Drops what fills the columns of both tables, and keeps what tells its rows apart. Such a page cannot land.
    pub fn drop_columns(&mut self) {
        (self.headers, self.details) = (Vec::new(), Vec::new());
    }

    /// Drops everything but what tells its rows apart: every row of it is to be taken from another page.
    pub fn forget(&mut self) {
        self.drop_columns();
        self.quarantined.clear();
    }

    /// How many times of a header are null because readers cannot hold them.
    pub(super) fn unreadable_times_of(&self, header: usize) -> u64 {
        let found = self.unreadable_times.binary_search_by_key(&header, |(header, _)| *header);
        found.ok().and_then(|place| self.unreadable_times.get(place)).map_or(0, |(_, count)| u64::from(*count))
    }

    /// The rows of the details of a header.
    pub(super) fn details_of(&self, header: usize) -> Range<usize> {
        self.detail_offsets.get(header..header + 2).map_or(0..0, |bounds| bounds[0]..bounds[1])
    }
}

impl AsRef<Page> for Page {
    fn as_ref(&self) -> &Page {
        self
    }
}
