//! The rows of a window, picked out of its pages: sorted, complete with lineage, in the contract's full schemas.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::interleave::interleave;

use super::contract::{Contract, Table};
use super::page::{Page, Slot};
use super::plan::LINEAGE;
use super::quarantine::Quarantined;
use crate::error::{Error, Result};

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

/// Picks `winners`, as (page, row of [`Page::rows`]), out of `pages`. Quarantined winners go to quarantine, skipped ones nowhere. With
/// no winners both tables are empty and have their schemas all the same.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when a winner stands on no page or the columns outgrow Arrow.
pub fn assemble(pages: &[Page], winners: &[(usize, usize)]) -> Result<WindowRows> {
    let contract = Contract::get()?;
    let mut headers = Vec::with_capacity(winners.len());
    let mut quarantined = Vec::new();
    for &(page, row) in winners {
        let found = pages.get(page).and_then(|page| Some((page, page.slots.get(row)?, page.rows.get(row)?)));
        let Some((from, slot, key)) = found else {
            return Err(Error::internal("a row to land stands on no page").with("row", row).with("page", page));
        };
        match slot {
            Slot::Landed(header) => headers.push((&key.identity, page, *header)),
            Slot::Quarantined(place) => quarantined.extend(from.quarantined.get(*place).cloned()),
            Slot::Skipped => {}
        }
    }
    // Every landed row has an identity of number and modified time, which is the sort order of both tables.
    headers.sort_by_key(|(identity, ..)| *identity);

    let header_rows: Vec<(usize, usize)> = headers.iter().map(|&(_, page, header)| (page, header)).collect();
    let mut detail_rows = Vec::with_capacity(pages.iter().map(|page| page.details.num_rows()).sum());
    for &(page, header) in &header_rows {
        let bounds = pages[page].detail_offsets.get(header..header + 2).unwrap_or(&[0, 0]);
        detail_rows.extend((bounds[0]..bounds[1]).map(|detail| (page, detail)));
    }
    let gather = |table: &Table, rows, batch| {
        gather(table.schema(), pages, rows, batch).map_err(|error| {
            Error::internal("put the rows of a window together").with("table", table.name()).because(error)
        })
    };
    Ok(WindowRows {
        headers: gather(contract.headers(), &header_rows, |page: &Page| &page.headers)?,
        details: gather(contract.details(), &detail_rows, |page: &Page| &page.details)?,
        quarantined,
    })
}

fn gather(
    schema: SchemaRef,
    pages: &[Page],
    rows: &[(usize, usize)],
    batch: fn(&Page) -> &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let own = schema.fields().len() - LINEAGE.len();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for place in 0..own {
        let parts: Vec<_> = pages.iter().map(|page| batch(page).column(place).as_ref()).collect();
        columns.push(interleave(&parts, rows)?);
    }
    let of = |rows: &[(usize, usize)]| rows.iter().map(|(page, _)| &pages[*page]).collect::<Vec<_>>();
    let from = of(rows);
    let runs: Vec<String> = pages.iter().map(|page| page.run.to_string()).collect();
    let editions = StringArray::from_iter_values(from.iter().map(|page| page.edition.name()));
    let received: Vec<i64> = from.iter().map(|page| page.received_at_micros).collect();
    columns.push(Arc::new(editions) as ArrayRef);
    columns.push(Arc::new(TimestampMicrosecondArray::from(received).with_timezone("UTC")));
    columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|(page, _)| runs[*page].as_str()))));
    RecordBatch::try_new(schema, columns)
}
