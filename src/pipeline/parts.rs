//! The rows of a proved window, as the parts in which they land.
//!
//! Pages that are in memory land as one part, which in nearly every window is all of it. Pages that were put aside on
//! disk are read again in groups that fit in memory, each group a part of its own, sorted in itself. A group is read
//! when its first row is wanted and let go when its last file is written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;

use super::spill::BufferedPage;
use crate::error::{Error, Result};
use crate::land::{NewFile, NewRows};
use crate::parquet::{Columns, RowSource, TableSpec};
use crate::transform::{Assembly, Gathered, Page, PageDecoder};

/// How many groups share the memory of the spill buffer.
const GROUPS_IN_MEMORY: usize = 4;

/// What the pages of a group take that come back from disk together, but for the last of them.
pub(super) fn group_bytes(memory_bytes: usize) -> usize {
    memory_bytes / GROUPS_IN_MEMORY
}

/// The files of the rows of `assembly`, which are `selected` on `pages`: of each part one in each table.
pub(super) fn cut(
    assembly: &Assembly<BufferedPage>,
    pages: &Arc<[BufferedPage]>,
    selected: &[(usize, usize)],
    decoder: &PageDecoder,
    memory_bytes: usize,
    specs: &[Arc<TableSpec>; 2],
) -> Result<Vec<NewFile>> {
    let is_stored = |page: usize| pages.get(page).is_some_and(|page| page.spilled_bytes() > 0);
    let (stored, held): (Vec<_>, Vec<_>) = selected.iter().copied().partition(|(page, _)| is_stored(*page));
    if stored.is_empty() {
        return Ok(files(specs, None, of_pages(assembly)).into());
    }
    let mut parts = vec![of_pages(&Assembly::new(Arc::clone(pages), &held)?)];
    let mut by_page: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (page, row) in stored {
        by_page.entry(page).or_default().push(row);
    }
    let (mut group, mut bytes) = (Group::new(pages, decoder), 0);
    for (page, rows) in by_page {
        let page_bytes = pages.get(page).map_or(0, BufferedPage::spilled_bytes);
        if bytes > 0 && bytes + page_bytes > group_bytes(memory_bytes) {
            parts.push(std::mem::replace(&mut group, Group::new(pages, decoder)).into_part());
            bytes = 0;
        }
        group.pages.push((page, rows));
        bytes += page_bytes;
    }
    parts.push(group.into_part());
    Ok((1..).zip(parts).flat_map(|(number, part)| files(specs, Some(number), part)).collect())
}

impl<P: AsRef<Page> + Send + Sync + 'static> Columns for Gathered<P> {
    fn schema(&self) -> SchemaRef {
        self.schema()
    }

    fn rows(&self) -> usize {
        self.rows()
    }

    fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
        self.column(place, rows)
    }
}

/// A part's files, headers first.
fn files(specs: &[Arc<TableSpec>; 2], part: Option<u32>, [headers, details]: [RowSource; 2]) -> [NewFile; 2] {
    let [of_headers, of_details] = specs;
    let file =
        |spec: &Arc<TableSpec>, rows| NewFile { spec: Arc::clone(spec), span: None, part, rows: NewRows::New(rows) };
    [file(of_headers, headers), file(of_details, details)]
}

fn of_pages<P: AsRef<Page> + Send + Sync + 'static>(assembly: &Assembly<P>) -> [RowSource; 2] {
    [RowSource::new(assembly.headers()), RowSource::new(assembly.details())]
}

/// Pages on disk that land together.
struct Group {
    all: Arc<[BufferedPage]>,
    decoder: PageDecoder,
    /// Each with its rows that land.
    pages: Vec<(usize, Vec<usize>)>,
}

impl Group {
    fn new(all: &Arc<[BufferedPage]>, decoder: &PageDecoder) -> Self {
        Self { all: Arc::clone(all), decoder: decoder.clone(), pages: Vec::new() }
    }

    fn selected(&self) -> Vec<(usize, usize)> {
        let rows = self.pages.iter().enumerate();
        rows.flat_map(|(place, (_, rows))| rows.iter().map(move |row| (place, *row))).collect()
    }

    fn read(&self) -> Result<Assembly<Page>> {
        let pages = self.pages.iter().map(|(page, _)| self.all[*page].read_again(&self.decoder));
        let pages: Vec<Page> = pages.collect::<Result<_>>()?;
        Assembly::new(pages.into(), &self.selected())
    }

    fn into_part(self) -> [RowSource; 2] {
        let shared = Arc::new(Mutex::new(Loading { group: self, assembly: None }));
        let source = |table: fn(&Assembly<Page>) -> Gathered<Page>| {
            let shared = Arc::clone(&shared);
            RowSource::later(move || {
                let mut loading =
                    shared.lock().map_err(|_| Error::internal("cannot read a part: another thread failed"))?;
                Ok(Box::new(table(loading.assembly()?)))
            })
        };
        [source(Assembly::headers), source(Assembly::details)]
    }
}

/// A group that both tables take their rows from.
struct Loading {
    group: Group,
    assembly: Option<Assembly<Page>>,
}

impl Loading {
    fn assembly(&mut self) -> Result<&Assembly<Page>> {
        if self.assembly.is_none() {
            self.assembly = Some(self.group.read()?);
        }
        self.assembly.as_ref().ok_or_else(|| Error::internal("cannot read a part of the window"))
    }
}
