//! Temporary files without a name: what is written to them is bounded by the disk and not by memory, and a process that
//! dies leaves nothing of it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::ParquetError;
use tempfile::SpooledTempFile;

use super::disk::disk_failed;
use super::writer::RowFacts;
use crate::digest::{Sha256, Sha256Stream};
use crate::error::Result;
use crate::time::BeijingTime;

/// A Parquet file on local disk, under no name.
#[derive(Debug)]
pub(crate) struct SpooledFile {
    /// The file; who reads it begins by seeking.
    pub(crate) file: File,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its rows.
    pub(crate) rows: u64,
    /// The digest of its bytes.
    pub(crate) sha256: Sha256,
    /// The earliest modified time of its rows.
    pub(crate) min_modified: BeijingTime,
    /// The latest.
    pub(crate) max_modified: BeijingTime,
}

/// A temporary file whose bytes are digested as they are written.
pub(super) struct DigestedFile {
    file: File,
    digest: Sha256Stream,
    bytes: u64,
}

impl DigestedFile {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { file: tempfile::tempfile().map_err(disk_failed)?, digest: Sha256Stream::default(), bytes: 0 })
    }

    /// The file, with what is known of its rows.
    pub(super) fn finish(self, facts: RowFacts) -> SpooledFile {
        let RowFacts { rows, min_modified, max_modified, sum: _ } = facts;
        let (bytes, sha256) = (self.bytes, self.digest.finish());
        SpooledFile { file: self.file, bytes, rows, sha256, min_modified, max_modified }
    }
}

impl Write for DigestedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Keeps the pages of the column that is being encoded: in memory up to a size, on disk above it.
#[derive(Debug)]
pub(super) struct PageSpool(Arc<Mutex<SpooledPages>>);

#[derive(Debug)]
struct SpooledPages {
    file: SpooledTempFile,
    end: u64,
    /// How many pages are still wanted. The file begins anew when there are none.
    held: usize,
}

impl PageSpool {
    pub(super) fn new(memory_bytes: usize) -> Self {
        let file = tempfile::spooled_tempfile(memory_bytes);
        Self(Arc::new(Mutex::new(SpooledPages { file, end: 0, held: 0 })))
    }
}

impl PageStoreFactory for PageSpool {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        Ok(Box::new(ColumnPages { pages: Arc::clone(&self.0), spans: Vec::new() }))
    }
}

/// The pages of one column.
struct ColumnPages {
    pages: Arc<Mutex<SpooledPages>>,
    /// Where each page lies in the file.
    spans: Vec<Range<u64>>,
}

impl ColumnPages {
    fn lock(&self) -> Result<MutexGuard<'_, SpooledPages>, ParquetError> {
        self.pages.lock().map_err(|_| ParquetError::General("a thread has failed with the pages".to_owned()))
    }
}

impl PageStore for ColumnPages {
    fn put(&mut self, page: Bytes) -> Result<PageKey, ParquetError> {
        let mut pages = self.lock()?;
        if pages.held == 0 {
            pages.end = 0;
        }
        let span = pages.end..pages.end + page.len() as u64;
        pages.file.seek(SeekFrom::Start(span.start))?;
        pages.file.write_all(&page)?;
        pages.end = span.end;
        pages.held += 1;
        drop(pages);
        self.spans.push(span);
        Ok(PageKey::new(self.spans.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes, ParquetError> {
        let span = usize::try_from(key.get()).ok().and_then(|key| self.spans.get(key)).cloned();
        let span = span.ok_or_else(|| ParquetError::General(format!("no page {}", key.get())))?;
        let mut pages = self.lock()?;
        pages.file.seek(SeekFrom::Start(span.start))?;
        let mut page = vec![0; usize::try_from(span.end - span.start)?];
        pages.file.read_exact(&mut page)?;
        pages.held = pages.held.saturating_sub(1);
        Ok(page.into())
    }
}
