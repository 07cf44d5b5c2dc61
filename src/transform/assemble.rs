//! The rows of a window, picked out of its pages: sorted, complete with lineage, in the contract's full schemas, a batch at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::ArrowError;

use super::columns::ColumnBuffer;
use super::contract::{Contract, Table};
use super::page::{Page, Slot};
use super::plan::{INHERITED, LINEAGE};
use super::quarantine::Quarantined;
use crate::error::{Error, Result};

/// The rows of a batch: few enough that batches cost little memory, enough that their making costs little time.
const BATCH_ROWS: usize = 2_048;

/// What a window lands: both tables and what did not fit.
#[derive(Clone, Debug)]
pub struct WindowRows {
    /// Rows of `purchase_apply`, sorted by (purchase_apply_no, modified).
    pub headers: RecordBatch,
    /// Rows of `purchase_apply_detail`, sorted by (purchase_apply_no, apply_modified, detail_index).
    pub details: RecordBatch,
    /// Requisitions that did not fit, in the order of the winners.
    pub quarantined: Vec<Quarantined>,
}

/// Picks `winners`, as (page, row of [`Page::rows`]), out of `pages`, each table in one batch. With no winners both tables are empty and
/// have their schemas all the same.
///
/// # Errors
/// As [`Assembly::new`] and [`Batches`].
pub fn assemble<P: AsRef<Page>>(pages: impl Into<Arc<[P]>>, winners: &[(usize, usize)]) -> Result<WindowRows> {
    let assembly = Assembly::new(pages.into(), winners)?;
    let rows = &assembly.rows;
    let all = |of: Of, rows: &Rows<P>| {
        let mut batches = Batches::new(Arc::clone(&assembly.rows), of, usize::MAX);
        batches.next().unwrap_or_else(|| Ok(RecordBatch::new_empty(of.table(rows.contract).schema())))
    };
    Ok(WindowRows {
        headers: all(Of::Headers, rows)?,
        details: all(Of::Details, rows)?,
        quarantined: assembly.quarantined,
    })
}

/// The rows that land, picked and sorted but not yet gathered.
#[derive(Debug)]
pub struct Assembly<P> {
    rows: Arc<Rows<P>>,
    quarantined: Vec<Quarantined>,
}

/// The pages, and which of their requisitions land.
#[derive(Debug)]
struct Rows<P> {
    contract: &'static Contract,
    pages: Arc<[P]>,
    /// (page, header), in the order in which both tables are sorted.
    headers: Vec<(usize, usize)>,
    details: usize,
    /// The columns that details have of their headers: place among theirs, place among the headers'.
    inherited: Vec<(usize, usize)>,
}

impl<P: AsRef<Page>> Assembly<P> {
    /// Picks `winners`, as (page, row of [`Page::rows`]), out of `pages`, which one [`PageDecoder`](super::PageDecoder) has read.
    /// Quarantined winners go to quarantine, skipped ones nowhere.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when a winner stands on no page.
    pub fn new(pages: Arc<[P]>, winners: &[(usize, usize)]) -> Result<Self> {
        let contract = Contract::get()?;
        let mut headers = Vec::with_capacity(winners.len());
        let (mut quarantined, mut details) = (Vec::new(), 0);
        for &(page, row) in winners {
            let found = pages.get(page).map(AsRef::as_ref);
            let found = found.and_then(|page| Some((page, page.slots.get(row)?, page.rows.get(row)?)));
            let Some((from, slot, key)) = found else {
                return Err(Error::internal("a row to land stands on no page").with("row", row).with("page", page));
            };
            match slot {
                Slot::Landed(header) => {
                    headers.push((&key.identity, page, *header));
                    details += from.details_of(*header).len();
                }
                Slot::Quarantined(place) => quarantined.extend(from.quarantined.get(*place).cloned()),
                Slot::Skipped => {}
            }
        }
        // Every landed row has an identity of number and modified time, which is the sort order of both tables.
        headers.sort_unstable_by_key(|(identity, ..)| *identity);
        let headers = headers.into_iter().map(|(_, page, header)| (page, header)).collect();
        let place = |table: &Table, name: &str| table.column(name).map(|(place, _)| place);
        let inherited = INHERITED.iter().filter_map(|(detail, header)| {
            Some((place(contract.details(), detail)?, place(contract.headers(), header)?))
        });
        let inherited = inherited.collect();
        Ok(Self { rows: Arc::new(Rows { contract, pages, headers, details, inherited }), quarantined })
    }

    /// How many rows of `purchase_apply` there are.
    pub fn header_rows(&self) -> usize {
        self.rows.headers.len()
    }

    /// How many rows of `purchase_apply_detail` there are.
    pub fn detail_rows(&self) -> usize {
        self.rows.details
    }

    /// Rows of `purchase_apply`, sorted by (purchase_apply_no, modified).
    pub fn headers(&self) -> Batches<P> {
        Batches::new(Arc::clone(&self.rows), Of::Headers, BATCH_ROWS)
    }

    /// Rows of `purchase_apply_detail`, sorted by (purchase_apply_no, apply_modified, detail_index).
    pub fn details(&self) -> Batches<P> {
        Batches::new(Arc::clone(&self.rows), Of::Details, BATCH_ROWS)
    }

    /// Requisitions that did not fit, in the order of the winners.
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Headers,
    Details,
}

impl Of {
    fn table(self, contract: &Contract) -> &Table {
        match self {
            Self::Headers => contract.headers(),
            Self::Details => contract.details(),
        }
    }

    fn columns(self, page: &Page) -> &[ColumnBuffer] {
        match self {
            Self::Headers => &page.headers,
            Self::Details => &page.details,
        }
    }
}

/// Neighbouring rows of one header.
#[derive(Clone, Debug)]
struct Run {
    page: usize,
    header: usize,
    rows: Range<usize>,
}

/// The rows of one table, gathered a batch at a time, in order. Gives nothing when there are no rows, and an error of
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the columns outgrow Arrow.
#[derive(Debug)]
pub struct Batches<P> {
    rows: Arc<Rows<P>>,
    of: Of,
    batch_rows: usize,
    /// The next header to take from, and how many of its details are taken.
    next: (usize, usize),
}

impl<P: AsRef<Page>> Batches<P> {
    fn new(rows: Arc<Rows<P>>, of: Of, batch_rows: usize) -> Self {
        Self { rows, of, batch_rows, next: (0, 0) }
    }

    fn page(&self, at: usize) -> &Page {
        self.rows.pages[at].as_ref()
    }

    /// The runs of the next batch.
    fn runs(&mut self) -> Vec<Run> {
        let (mut runs, mut left) = (Vec::new(), self.batch_rows);
        while let Some(&(page, header)) = self.rows.headers.get(self.next.0).filter(|_| left > 0) {
            let all = match self.of {
                Of::Headers => header..header + 1,
                Of::Details => self.page(page).details_of(header),
            };
            let begin = all.start + self.next.1;
            let rows = begin..all.end.min(begin.saturating_add(left));
            self.next = if rows.end == all.end { (self.next.0 + 1, 0) } else { (self.next.0, rows.end - all.start) };
            left -= rows.len();
            if !rows.is_empty() {
                runs.push(Run { page, header, rows });
            }
        }
        runs
    }

    fn gather(&self, runs: &[Run]) -> std::result::Result<RecordBatch, ArrowError> {
        let table = self.of.table(self.rows.contract);
        let rows = runs.iter().map(|run| run.rows.len()).sum();
        let mut columns = Vec::with_capacity(table.columns().len());
        for (place, column) in table.columns()[..table.columns().len() - LINEAGE.len()].iter().enumerate() {
            let parts = || runs.iter().map(|run| (&self.of.columns(self.page(run.page))[place], run.rows.clone()));
            let bytes = parts().map(|(part, rows)| part.text_bytes(rows)).sum();
            let mut gathered = ColumnBuffer::new(column.kind(), rows, bytes);
            match self.rows.inherited.iter().find(|(detail, _)| *detail == place) {
                Some((_, from)) if matches!(self.of, Of::Details) => runs.iter().for_each(|run| {
                    let header = &self.page(run.page).headers[*from];
                    gathered.repeat(header, run.header, run.rows.len());
                }),
                _ => parts().for_each(|(part, rows)| gathered.extend(part, rows)),
            }
            columns.push(gathered.into_array(column.kind())?);
        }
        let (edition, run) = self
            .rows
            .pages
            .first()
            .map(AsRef::as_ref)
            .map(|page| (page.edition.name(), page.run.to_string()))
            .unwrap_or_default();
        let received =
            runs.iter().flat_map(|run| std::iter::repeat_n(self.page(run.page).received_at_micros, run.rows.len()));
        columns.push(Arc::new(StringArray::new_repeated(edition, rows)) as ArrayRef);
        columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(received).with_timezone("UTC")));
        columns.push(Arc::new(StringArray::new_repeated(run, rows)));
        RecordBatch::try_new(table.schema(), columns)
    }
}

impl<P: AsRef<Page>> Iterator for Batches<P> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let runs = self.runs();
        (!runs.is_empty()).then(|| {
            self.gather(&runs).map_err(|error| {
                let table = self.of.table(self.rows.contract).name();
                Error::internal("put the rows of a window together").with("table", table).because(error)
            })
        })
    }
}
