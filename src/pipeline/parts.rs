//! The rows of a proved window, as the parts in which they land.
//!
//! Pages that are in memory land as one part, which in nearly every window is all of it. Pages that were put aside on disk are read
//! again in groups that fit in memory, each group a part of its own, sorted in itself. A group is read when its first row is
//! wanted and let go when its last file is written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;

use super::shelf::BufferedPage;
use crate::error::{Error, Result};
use crate::land::TablePart;
use crate::parquet::{Columns, RowSource, TableSpec};
use crate::transform::{Assembly, Gathered, Page, PageDecoder};

/// How many groups share the memory of the shelf.
const GROUPS_IN_MEMORY: usize = 4;

/// The rows of one part in both tables.
#[derive(Debug)]
pub(super) struct PartRows {
    pub(super) headers: RowSource,
    pub(super) details: RowSource,
}

/// Cuts the rows of `assembly`, which are `selected` on `pages`, into parts.
pub(super) fn cut(
    assembly: &Assembly<BufferedPage>,
    pages: &Arc<[BufferedPage]>,
    selected: &[(usize, usize)],
    decoder: &PageDecoder,
    memory_bytes: usize,
) -> Result<Vec<PartRows>> {
    let is_stored = |page: usize| pages.get(page).is_some_and(|page| page.stored_bytes() > 0);
    let (stored, held): (Vec<_>, Vec<_>) = selected.iter().copied().partition(|(page, _)| is_stored(*page));
    if stored.is_empty() {
        return Ok(vec![of_pages(assembly)]);
    }
    let mut parts = vec![of_pages(&Assembly::new(Arc::clone(pages), &held)?)];
    let mut by_page: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (page, row) in stored {
        by_page.entry(page).or_default().push(row);
    }
    let (mut group, mut bytes) = (Group::new(pages, decoder), 0);
    for (page, rows) in by_page {
        let page_bytes = pages.get(page).map_or(0, BufferedPage::stored_bytes);
        if bytes > 0 && bytes + page_bytes > memory_bytes / GROUPS_IN_MEMORY {
            parts.push(std::mem::replace(&mut group, Group::new(pages, decoder)).into_part());
            bytes = 0;
        }
        group.pages.push((page, rows));
        bytes += page_bytes;
    }
    parts.push(group.into_part());
    Ok(parts)
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

/// The files of `parts`, numbered when there are several.
pub(super) fn files(parts: Vec<PartRows>, [of_headers, of_details]: &[Arc<TableSpec>; 2]) -> Vec<TablePart> {
    let is_only = parts.len() == 1;
    let files = parts.into_iter().zip(1..).flat_map(|(PartRows { headers, details }, number)| {
        let part = (!is_only).then_some(number);
        let file = |spec: &Arc<TableSpec>, rows| TablePart { spec: Arc::clone(spec), span: None, part, rows };
        [file(of_headers, headers), file(of_details, details)]
    });
    files.collect()
}

fn of_pages<P: AsRef<Page> + Send + Sync + 'static>(assembly: &Assembly<P>) -> PartRows {
    PartRows { headers: RowSource::new(assembly.headers()), details: RowSource::new(assembly.details()) }
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

    fn into_part(self) -> PartRows {
        let shared = Arc::new(Mutex::new(Loading { group: self, assembly: None }));
        let source = |table: fn(&Assembly<Page>) -> Gathered<Page>| {
            let shared = Arc::clone(&shared);
            RowSource::later(move || {
                let mut loading = shared.lock().map_err(|_| Error::internal("another thread failed to read a part"))?;
                Ok(Box::new(table(loading.assembly()?)))
            })
        };
        PartRows { headers: source(Assembly::headers), details: source(Assembly::details) }
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
        self.assembly.as_ref().ok_or_else(|| Error::internal("a part was not read"))
    }
}
