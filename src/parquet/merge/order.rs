//! In which order the rows of several sorted sources follow each other: one pass over the columns that decide it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::{BufWriter, Write as _};
use std::rc::Rc;

use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_select::filter::filter_record_batch;
use tempfile::SpooledTempFile;

use super::super::check::SortKeys;
use super::super::disk::disk_failed;
use super::super::spec::TableSpec;
use super::super::writer::mismatched;
use super::source::{Batches, MergeSource};
use crate::error::{Error, Result};

/// The bytes of a pick: the number of a source.
pub(super) const PICK_BYTES: usize = size_of::<u16>();

/// The merged order. Sources are known by their numbers.
pub(super) struct MergeOrder {
    /// How many rows there are, without those that were filtered away.
    pub(super) rows: usize,
    /// For each row the source whose next row it is, as [`PICK_BYTES`] in little-endian order.
    pub(super) picks: SpooledTempFile,
    /// Where each source stands at the beginning of each row group.
    pub(super) starts: Vec<Vec<SourcePosition>>,
    /// Of each source that is filtered which of its rows stay.
    pub(super) kept: Vec<Option<BooleanBuffer>>,
}

/// A place among the rows of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourcePosition {
    /// A row of the source, filtered or not.
    pub(super) row: usize,
    /// How many rows that stay lie between that one and this place.
    pub(super) kept_after: usize,
}

impl MergeOrder {
    /// Finds the order, reading `batch_rows` rows of each source at a time. Where rows are equal, the order of the
    /// sources counts. Up to `memory_bytes` of it are held in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the rows of a source are not sorted as their table
    /// claims; what reading and filtering say.
    pub(super) fn find(
        spec: &TableSpec,
        sources: &[MergeSource],
        batch_rows: usize,
        group_rows: usize,
        memory_bytes: usize,
    ) -> Result<Self> {
        let streams = sources.iter().map(|source| KeyStream::open(spec, source, batch_rows));
        let mut streams = streams.collect::<Result<Vec<_>>>()?;
        let mut heads = BinaryHeap::with_capacity(streams.len());
        for (source, stream) in streams.iter_mut().enumerate() {
            if stream.reach()? {
                heads.push(Reverse(Head { keys: Rc::clone(&stream.keys), row: stream.at, source }));
            }
        }
        let mut picks = BufWriter::new(tempfile::spooled_tempfile(memory_bytes));
        let (mut rows, mut starts) = (0, Vec::new());
        let mut last: Option<(Rc<SortKeys>, usize)> = None;
        while let Some(mut top) = heads.peek_mut() {
            if rows % group_rows == 0 {
                starts.push(streams.iter().map(KeyStream::position).collect());
            }
            let head = &mut top.0;
            if let Some((keys, row)) = &last {
                keys.check_pair(*row, &head.keys, head.row).map_err(|why| mismatched(spec, &why))?;
            }
            let pick = u16::try_from(head.source)
                .map_err(|error| Error::internal("cannot merge so many files at a time").because(error))?;
            picks.write_all(&pick.to_le_bytes()).map_err(disk_failed)?;
            rows += 1;
            last = Some((Rc::clone(&head.keys), head.row));
            let stream = &mut streams[head.source];
            stream.at += 1;
            if stream.reach()? {
                (head.keys, head.row) = (Rc::clone(&stream.keys), stream.at);
            } else {
                PeekMut::pop(top);
            }
        }
        let picks = picks.into_inner().map_err(|error| disk_failed(error.into_error()))?;
        let kept = streams.into_iter().map(KeyStream::finish).collect();
        Ok(Self { rows, picks, starts, kept })
    }
}

/// The next row of a source.
struct Head {
    keys: Rc<SortKeys>,
    row: usize,
    source: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.keys.compare(self.row, &other.keys, other.row).then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// The sort keys of one source, row by row, without the rows that its filter drops.
struct KeyStream<'a> {
    spec: &'a TableSpec,
    source: &'a MergeSource,
    batches: Batches,
    kept: Option<BooleanBufferBuilder>,
    keys: Rc<SortKeys>,
    /// The rows of the batch that stay, and the next one of them.
    rows: usize,
    at: usize,
    /// Where in the source the batch begins and ends.
    begin: usize,
    end: usize,
}

impl<'a> KeyStream<'a> {
    fn open(spec: &'a TableSpec, source: &'a MergeSource, batch_rows: usize) -> Result<Self> {
        let places = key_places(spec, source)?;
        let batches = source.batches(&places, 0, batch_rows)?;
        let kept = source.filter.is_some().then(|| BooleanBufferBuilder::new(source.rows));
        let none = SortKeys::none().into();
        Ok(Self { spec, source, batches, kept, keys: none, rows: 0, at: 0, begin: 0, end: 0 })
    }

    /// Reads on until there is a next row that stays; false at the end.
    fn reach(&mut self) -> Result<bool> {
        while self.at == self.rows {
            let Some(batch) = self.batches.next()? else { return Ok(false) };
            (self.begin, self.end) = (self.end, self.end + batch.num_rows());
            let batch = self.filter(batch)?;
            (self.rows, self.at) = (batch.num_rows(), 0);
            self.keys = SortKeys::of(self.spec, &batch).map_err(|why| mismatched(self.spec, &why))?.into();
        }
        Ok(true)
    }

    fn filter(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some((filter, kept)) = self.source.filter.as_ref().zip(self.kept.as_mut()) else { return Ok(batch) };
        let mask: BooleanArray = filter.keep(&batch)?;
        if mask.len() != batch.num_rows() || mask.null_count() > 0 {
            return Err(Error::internal("a filter does not say of every row whether it stays"));
        }
        kept.append_buffer(mask.values());
        filter_record_batch(&batch, &mask).map_err(|error| Error::internal("cannot filter rows").because(error))
    }

    fn position(&self) -> SourcePosition {
        SourcePosition { row: self.begin, kept_after: self.at }
    }

    fn finish(self) -> Option<BooleanBuffer> {
        self.kept.map(|mut kept| kept.finish())
    }
}

/// The places of the columns that decide which row comes next, and whether it comes at all.
pub(super) fn key_places(spec: &TableSpec, source: &MergeSource) -> Result<Vec<usize>> {
    let place = |name: &String| source.schema().index_of(name);
    let places = spec.sorted_by.iter().map(place).collect::<Result<Vec<_>, _>>();
    let mut places = places.map_err(|error| mismatched(spec, &error.to_string()))?;
    places.extend(&source.filter_places);
    places.sort_unstable();
    places.dedup();
    Ok(places)
}
