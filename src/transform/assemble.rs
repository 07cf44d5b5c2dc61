//! The rows of a window, picked out of its pages: sorted, with their lineage, in the contract's columns, a column at a
//! time. Only `_commit_id` is missing: a file's encoder adds it.

use std::ops::{AddAssign, Range};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, DataType, Fields, Schema, SchemaRef};

use super::compact::{CompactColumn, Pick};
use super::contract::{Contract, TableContract};
use super::page::{Page, Slot};
use super::plan::{INHERITED, LINEAGE};
use super::quarantine::Quarantined;
use crate::error::{Error, Result};
use crate::requisition::Identity;

/// What a window lands: both tables, in [the schema of fresh rows](TableContract::fresh_schema), and what did not fit.
#[derive(Clone, Debug)]
pub struct WindowRows {
    /// Rows of `purchase_apply`, in the contract's order: by number, modified time and id, none first.
    pub headers: RecordBatch,
    /// Rows of `purchase_apply_detail`, in the same order, and then by position.
    pub details: RecordBatch,
    /// Invalid records, in the order of the selected rows.
    pub quarantined: Vec<Quarantined>,
    /// What is to be said of these rows.
    pub remarks: Remarks,
}

/// What a summary says of rows that landed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Times of headers that are null because readers cannot hold them; their text stands in `extra`.
    pub unreadable_times: u64,
    /// Versions, by number and second, that landed once with an id and once without: perhaps two readings of one
    /// record.
    pub with_and_without_id: u64,
}

impl AddAssign for Remarks {
    fn add_assign(&mut self, other: Self) {
        self.unreadable_times += other.unreadable_times;
        self.with_and_without_id += other.with_and_without_id;
    }
}

/// Picks `selected`, as (page, row of [`Page::rows`]), out of `pages`, each table in one batch. With no selected rows
/// both tables are empty and have their schemas all the same.
///
/// # Errors
/// As [`Assembly::new`] and `Gathered::column`.
pub fn assemble<P: AsRef<Page>>(pages: impl Into<Arc<[P]>>, selected: &[(usize, usize)]) -> Result<WindowRows> {
    let assembly = Assembly::new(pages.into(), selected)?;
    let all = |rows: &Gathered<P>| {
        let table = rows.of.table(assembly.picked.contract);
        let columns = (0..rows.schema.fields().len()).map(|place| as_text(rows.gather(place, 0..rows.rows())?));
        let columns = columns.collect::<std::result::Result<_, ArrowError>>();
        columns
            .and_then(|columns| RecordBatch::try_new(table.fresh_schema(), columns))
            .map_err(|error| mismatched(table, error))
    };
    let (headers, details) = (all(&assembly.headers())?, all(&assembly.details())?);
    Ok(WindowRows { headers, details, quarantined: assembly.quarantined, remarks: assembly.remarks })
}

/// A column with text as text.
fn as_text(column: ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    Ok(match column.as_binary_opt::<i32>() {
        Some(bytes) => Arc::new(StringArray::try_from_binary(bytes.clone())?),
        None => column,
    })
}

/// The schema of a table with text as bytes.
fn as_bytes(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Binary)),
        _ => Arc::clone(field),
    });
    Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone())
}

fn mismatched(table: &TableContract, error: ArrowError) -> Error {
    Error::internal("cannot assemble the rows of the window").with("table", table.name()).because(error)
}

/// The rows that land, picked and sorted but not yet gathered.
#[derive(Debug)]
pub struct Assembly<P> {
    picked: Arc<Picked<P>>,
    quarantined: Vec<Quarantined>,
    remarks: Remarks,
}

/// The pages, and which of their requisitions land.
#[derive(Debug)]
struct Picked<P> {
    contract: &'static Contract,
    pages: Arc<[P]>,
    /// (page, header), in the order in which both tables are sorted.
    headers: Vec<(usize, usize)>,
    /// The columns that details have of their headers: place among theirs, place among the headers'.
    inherited: Vec<(usize, usize)>,
}

impl<P: AsRef<Page>> Assembly<P> {
    /// Picks `selected`, as (page, row of [`Page::rows`]), out of `pages`, which one
    /// [`PageDecoder`](super::PageDecoder) has read. Quarantined rows go to quarantine, skipped ones nowhere.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when a selected row stands on no page.
    pub fn new(pages: Arc<[P]>, selected: &[(usize, usize)]) -> Result<Self> {
        let contract = Contract::get()?;
        let mut headers = Vec::with_capacity(selected.len());
        let (mut quarantined, mut unreadable_times) = (Vec::new(), 0);
        for &(page, row) in selected {
            let found = pages.get(page).map(AsRef::as_ref);
            let found = found.and_then(|page| Some((page, page.slots.get(row)?, page.rows.get(row)?)));
            let Some((from, slot, key)) = found else {
                return Err(Error::internal("a row to land stands on no page").with("row", row).with("page", page));
            };
            match slot {
                Slot::Landed(header) => {
                    headers.push((&key.identity, page, *header));
                    unreadable_times += from.unreadable_times_of(*header);
                }
                Slot::Quarantined(place) => quarantined.extend(from.quarantined.get(*place).cloned()),
                Slot::Skipped => {}
            }
        }
        // Every landed row has an identity of number, modified time and id, which is the sort order of both tables.
        headers.sort_unstable_by_key(|(identity, ..)| *identity);
        let with_and_without_id =
            headers.windows(2).filter(|pair| is_with_and_without_id(pair[0].0, pair[1].0)).count();
        let headers = headers.into_iter().map(|(_, page, header)| (page, header)).collect();
        let place = |table: &TableContract, name: &str| table.column(name).map(|(place, _)| place);
        let inherited = INHERITED.iter().filter_map(|(detail, header)| {
            Some((place(contract.details(), detail)?, place(contract.headers(), header)?))
        });
        let inherited = inherited.collect();
        let picked = Arc::new(Picked { contract, pages, headers, inherited });
        let remarks = Remarks { unreadable_times, with_and_without_id: with_and_without_id as u64 };
        Ok(Self { picked, quarantined, remarks })
    }

    /// How many rows of `purchase_apply` there are.
    pub fn header_rows(&self) -> usize {
        self.picked.headers.len()
    }

    /// What is to be said of the rows.
    pub fn remarks(&self) -> Remarks {
        self.remarks
    }

    /// Rows of `purchase_apply`, in the contract's order.
    pub fn headers(&self) -> Gathered<P> {
        Gathered::new(Arc::clone(&self.picked), Of::Headers)
    }

    /// Rows of `purchase_apply_detail`, in the contract's order.
    pub fn details(&self) -> Gathered<P> {
        Gathered::new(Arc::clone(&self.picked), Of::Details)
    }

    /// Invalid records, in the order of the selected rows.
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }
}

/// Whether two neighbours in the order of identities are one version without an id and with one. One version has one
/// row without an id.
fn is_with_and_without_id(one: &Identity, next: &Identity) -> bool {
    match (one, next) {
        (
            Identity::Version { number, modified, apply_id: None },
            Identity::Version { number: next, modified: then, apply_id: Some(_) },
        ) => (number, modified) == (next, then),
        _ => false,
    }
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Headers,
    Details,
}

impl Of {
    fn table(self, contract: &Contract) -> &TableContract {
        match self {
            Self::Headers => contract.headers(),
            Self::Details => contract.details(),
        }
    }

    fn columns(self, page: &Page) -> &[CompactColumn] {
        match self {
            Self::Headers => &page.headers,
            Self::Details => &page.details,
        }
    }
}

/// Neighbouring rows of one header.
#[derive(Clone, Debug)]
struct Run {
    /// How many rows come before.
    at: usize,
    page: usize,
    header: usize,
    rows: Range<usize>,
}

/// The rows of one table in order, gathered from their pages a part of a column at a time. Text comes as
/// [`DataType::Binary`]: it was read as UTF-8, and an array of text would look at every letter again.
#[derive(Debug)]
pub struct Gathered<P> {
    picked: Arc<Picked<P>>,
    of: Of,
    schema: SchemaRef,
    runs: Vec<Run>,
    rows: usize,
}

impl<P: AsRef<Page>> Gathered<P> {
    fn new(picked: Arc<Picked<P>>, of: Of) -> Self {
        let (mut runs, mut at) = (Vec::with_capacity(picked.headers.len()), 0);
        for &(page, header) in &picked.headers {
            let rows = match of {
                Of::Headers => header..header + 1,
                Of::Details => picked.pages[page].as_ref().details_of(header),
            };
            if !rows.is_empty() {
                runs.push(Run { at, page, header, rows: rows.clone() });
                at += rows.len();
            }
        }
        let schema = Arc::new(as_bytes(&of.table(picked.contract).fresh_schema()));
        Self { picked, of, schema, runs, rows: at }
    }

    /// The contract's columns without `_commit_id`, text as bytes.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of the column at `place` in `rows`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when they outgrow an array.
    pub fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
        self.gather(place, rows).map_err(|error| mismatched(self.of.table(self.picked.contract), error))
    }

    /// The runs that `rows` are made of.
    fn runs(&self, rows: Range<usize>) -> impl Iterator<Item = Run> {
        let begin = self.runs.partition_point(|run| run.at + run.rows.len() <= rows.start);
        let end = self.runs.partition_point(|run| run.at < rows.end);
        self.runs.get(begin..end).unwrap_or_default().iter().map(move |run| {
            let first = run.rows.start + rows.start.saturating_sub(run.at);
            let last = run.rows.end.min(run.rows.start + (rows.end - run.at));
            Run { rows: first..last, ..*run }
        })
    }

    fn gather(&self, place: usize, rows: Range<usize>) -> std::result::Result<ArrayRef, ArrowError> {
        let columns = self.of.table(self.picked.contract).columns();
        let pages: Vec<&Page> = self.picked.pages.iter().map(AsRef::as_ref).collect();
        let (count, runs) = (rows.len(), self.runs(rows));
        if let Some(lineage) = (place + LINEAGE.len()).checked_sub(columns.len()) {
            let first = pages.first();
            return Ok(match lineage {
                0 => Arc::new(BinaryArray::new_repeated(first.map_or("", |page| page.edition.name()), count)),
                1 => {
                    let received =
                        runs.flat_map(|run| std::iter::repeat_n(pages[run.page].received_at_micros, run.rows.len()));
                    Arc::new(TimestampMicrosecondArray::from_iter_values(received).with_timezone("UTC"))
                }
                2 => Arc::new(BinaryArray::new_repeated(
                    first.map_or_else(String::new, |page| page.run.to_string()),
                    count,
                )),
                _ => return Err(ArrowError::InvalidArgumentError(format!("no column {place}"))),
            });
        }
        let kind = columns[place].kind();
        let inherited = self.picked.inherited.iter().find(|(detail, _)| *detail == place);
        // Nothing is picked from a page whose columns are gone.
        let none = CompactColumn::default();
        if let (Of::Details, Some((_, place))) = (self.of, inherited) {
            let sources: Vec<_> = pages.iter().map(|page| page.headers.get(*place).unwrap_or(&none)).collect();
            let pick =
                |run: Run| Pick { from: sources[run.page], rows: run.header..run.header + 1, times: run.rows.len() };
            return CompactColumn::gather(kind, count, runs.map(pick));
        }
        let sources: Vec<_> = pages.iter().map(|page| self.of.columns(page).get(place).unwrap_or(&none)).collect();
        CompactColumn::gather(kind, count, runs.map(|run| Pick { from: sources[run.page], rows: run.rows, times: 1 }))
    }
}
