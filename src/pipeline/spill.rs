//! Where the pages of a walk wait until their window is proved.
//!
//! Pages are kept decoded as long as all of them together, those of other accounts included, stay within the run's
//! memory. What comes after that is kept as the answer was, compressed, in a temporary file that has no name, so that a
//! run that dies leaves nothing; its columns are read again when it lands. So neither the rows of a window nor the
//! windows of a run decide how much memory a run takes, and no window waits for another's memory. What does grow with a
//! window, by some 200 bytes a requisition, is the identities by which the walk knows that it has them all.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::memory::{Fits, PageMemory, Walking};
use crate::error::{Error, Result};
use crate::extract::pages::PageRows;
use crate::requisition::RowKey;
use crate::transform::{Page, PageContext, PageDecoder};

/// JSON of many like rows: the quickest level makes it some twenty times smaller.
const ZSTD_LEVEL: i32 = 1;

/// What a row takes besides its columns: its key on the page, and its place among those that the walk has seen. Of a
/// page that is put on disk or forgotten it stays, and does not count: it is what grows with a window.
const KEY_BYTES: usize = 200;

/// The pages of one run that wait.
#[derive(Debug)]
pub(super) struct SpillBuffer {
    memory: Arc<PageMemory>,
    #[expect(dead_code, reason = "counts as long as it lives")]
    walking: Walking,
    /// Rows and bytes of every page that was kept so far: what those to come are expected to take.
    seen_rows: AtomicUsize,
    seen_bytes: AtomicUsize,
    spill: Mutex<SpillFile>,
}

/// The temporary file, and how many answers in it are still needed.
#[derive(Debug, Default)]
struct SpillFile {
    file: Option<File>,
    needed: usize,
}

/// A page that waits.
#[derive(Debug)]
pub(super) struct BufferedPage {
    /// Without its columns when they were put on disk, or are not needed any more.
    page: Page,
    columns: Residency,
}

#[derive(Debug)]
enum Residency {
    InMemory(#[expect(dead_code, reason = "counts as long as it lives")] Share),
    Spilled(Spilled),
    Gone,
}

/// A part of the memory, given back when dropped.
#[derive(Debug)]
struct Share {
    buffer: Arc<SpillBuffer>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.buffer.memory.give_back(self.bytes);
    }
}

/// An answer in the temporary file.
#[derive(Debug)]
struct Spilled {
    buffer: Arc<SpillBuffer>,
    span: Range<u64>,
    context: PageContext,
    decoded_bytes: usize,
}

impl Drop for Spilled {
    /// The file begins anew when nothing in it is needed any more: it must not grow with the windows of a run.
    fn drop(&mut self) {
        let Ok(mut spill) = self.buffer.spill() else { return };
        spill.needed -= 1;
        if spill.needed == 0
            && let Some(file) = &spill.file
            && let Err(error) = file.set_len(0)
        {
            tracing::debug!(%error, "the temporary file keeps what is not needed any more");
        }
    }
}

impl SpillBuffer {
    /// A buffer that keeps about so many bytes of decoded pages in memory, at most a quarter more.
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Self::within(&PageMemory::new(limit_bytes))
    }

    /// One that shares this memory with others.
    pub(super) fn within(memory: &Arc<PageMemory>) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::clone(memory),
            walking: memory.walk(),
            seen_rows: AtomicUsize::new(0),
            seen_bytes: AtomicUsize::new(0),
            spill: Mutex::default(),
        })
    }

    /// Keeps a page, with the answer that it was decoded from. Takes its time: call it off the async threads.
    pub(super) fn keep(self: &Arc<Self>, mut page: Page, body: &[u8], context: PageContext) -> BufferedPage {
        let decoded_bytes = page.memory_bytes();
        let bytes = decoded_bytes + page.rows().len() * KEY_BYTES;
        self.seen_rows.fetch_add(page.rows().len(), Ordering::Relaxed);
        self.seen_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Its response is in memory as well, and others as large may be.
        let fits = self.memory.take(bytes, body.len());
        let share = Share { buffer: Arc::clone(self), bytes };
        if fits == Fits::Yes {
            return BufferedPage { page, columns: Residency::InMemory(share) };
        }
        match self.spill_out(body) {
            Ok(span) => {
                page.drop_columns();
                let spilled = Spilled { buffer: Arc::clone(self), span, context, decoded_bytes };
                BufferedPage { page, columns: Residency::Spilled(spilled) }
            }
            Err(error) => {
                tracing::warn!(%error, "a page stays in memory above the limit: no temporary file can be written; set TMPDIR");
                BufferedPage { page, columns: Residency::InMemory(share) }
            }
        }
    }

    /// Keeps a page that stands for a response of `size` bytes that nobody can read, and `why`. Its `body` is kept
    /// where it is that of one record; a response of several is asked for in smaller pages, and many large ones
    /// must not wait for that in memory.
    pub(super) fn keep_unreadable(
        self: &Arc<Self>,
        decoder: &PageDecoder,
        context: &PageContext,
        body: &[u8],
        size: u64,
        why: &str,
    ) -> BufferedPage {
        let kept = if context.page_size > 1 { &[] } else { body };
        let page = decoder.unreadable_page(context, kept, size, why);
        let bytes = page.memory_bytes();
        self.memory.take(bytes, 0);
        BufferedPage { page, columns: Residency::InMemory(Share { buffer: Arc::clone(self), bytes }) }
    }

    /// What the windows under way may be expected to take together, in bytes.
    pub(super) fn limit_bytes(&self) -> usize {
        self.memory.share_bytes()
    }

    /// How many rows are expected to fit in so many bytes, going by those that were kept so far; as many as you like
    /// before the first.
    pub(super) fn rows_in(&self, bytes: usize) -> u64 {
        match self.seen_bytes.load(Ordering::Relaxed) {
            0 => u64::MAX,
            seen_bytes => {
                let rows = bytes as u128 * self.seen_rows.load(Ordering::Relaxed) as u128 / seen_bytes as u128;
                u64::try_from(rows).unwrap_or(u64::MAX)
            }
        }
    }

    /// What so many rows are expected to take, going by those that were kept so far; 0 before the first.
    pub(super) fn expected_bytes(&self, rows: u64) -> usize {
        let seen = self.seen_rows.load(Ordering::Relaxed).max(1) as u128;
        let bytes = self.seen_bytes.load(Ordering::Relaxed) as u128 * u128::from(rows) / seen;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn spill(&self) -> io::Result<MutexGuard<'_, SpillFile>> {
        self.spill.lock().map_err(|_| io::Error::other("another thread failed while it wrote"))
    }

    fn spill_out(&self, body: &[u8]) -> io::Result<Range<u64>> {
        let packed = zstd::bulk::compress(body, ZSTD_LEVEL)?;
        let mut spill = self.spill()?;
        let file = match &mut spill.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let start = file.seek(SeekFrom::End(0))?;
        file.write_all(&packed)?;
        spill.needed += 1;
        Ok(start..start + packed.len() as u64)
    }

    fn load(&self, span: &Range<u64>) -> io::Result<Vec<u8>> {
        let length = usize::try_from(span.end - span.start).map_err(io::Error::other)?;
        let mut packed = vec![0; length];
        {
            let mut spill = self.spill()?;
            let file = spill.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(span.start))?;
            file.read_exact(&mut packed)?;
        }
        zstd::stream::decode_all(&packed[..])
    }
}

impl BufferedPage {
    /// What its columns take in memory once they are read again; 0 when they are there.
    pub(super) fn spilled_bytes(&self) -> usize {
        if let Residency::Spilled(spilled) = &self.columns { spilled.decoded_bytes } else { 0 }
    }

    /// Reads its columns again if they are on disk. Takes its time: call it off the async threads.
    ///
    /// # Errors
    /// As [`BufferedPage::read_again`].
    pub(super) fn restore(&mut self, decoder: &PageDecoder) -> Result<()> {
        if let Residency::Spilled(spilled) = &self.columns {
            self.page = self.read_again(decoder)?;
            spilled.buffer.memory.take(spilled.decoded_bytes, 0);
            self.columns =
                Residency::InMemory(Share { buffer: Arc::clone(&spilled.buffer), bytes: spilled.decoded_bytes });
        }
        Ok(())
    }

    /// The page with its columns, read again. Takes its time: call it off the async threads.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the temporary file does not give back what was written
    /// to it.
    pub(super) fn read_again(&self, decoder: &PageDecoder) -> Result<Page> {
        let Residency::Spilled(Spilled { buffer, span, context, .. }) = &self.columns else {
            return Err(Error::internal("a page that is in memory was read again"));
        };
        let failed = |why: String| Error::internal("cannot read a spilled page again").because(why);
        let body = buffer.load(span).map_err(|error| failed(error.to_string()))?;
        let page = decoder.decode(&body, context).map_err(|error| failed(error.to_string()))?;
        // The answer lies there as it came; what is kept of its invalid records does not say everything.
        Ok(page.with_records_of(&self.page))
    }
}

impl AsRef<Page> for BufferedPage {
    fn as_ref(&self) -> &Page {
        &self.page
    }
}

impl PageRows for BufferedPage {
    fn total(&self) -> Option<u64> {
        self.page.total()
    }

    fn rows(&self) -> &[RowKey] {
        self.page.rows()
    }

    fn is_extra(&self, row: usize) -> bool {
        self.page.is_skipped(row)
    }

    fn is_unreadable(&self) -> bool {
        self.page.is_unreadable()
    }

    fn lacks_list(&self) -> bool {
        self.page.lacks_list()
    }

    fn forget_rows(&mut self) {
        self.page.forget();
        self.columns = Residency::Gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edition::Edition;
    use crate::id::RunId;

    const BODY: &str = r#"{"code":0,"total_count":1,"purchase_list":[{"purchase_apply_no":"A","status":"30",
        "modified":"2026-06-01 10:00:00","details_list":[{"rec_id":"1"},{"rec_id":"2"}]}]}"#;

    fn keep(buffer: &Arc<SpillBuffer>, decoder: &PageDecoder) -> BufferedPage {
        let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 7 };
        let page = decoder.decode(BODY.as_bytes(), &context).expect("a page");
        buffer.keep(page, BODY.as_bytes(), context)
    }

    fn length(buffer: &SpillBuffer) -> u64 {
        let spill = buffer.spill().expect("nobody failed");
        spill.file.as_ref().map_or(0, |file| file.metadata().expect("a file").len())
    }

    #[test]
    fn a_page_above_the_limit_waits_on_disk_and_comes_back_whole() {
        let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("a decoder");
        let buffer = SpillBuffer::new(0);
        let (mut first, second) = (keep(&buffer, &decoder), keep(&buffer, &decoder));
        assert!(first.spilled_bytes() > 0 && first.as_ref().memory_bytes() == 0);
        assert_eq!((first.total(), first.rows().len(), first.as_ref().detail_rows()), (Some(1), 1, 2));
        let again = second.read_again(&decoder).expect("read again");
        assert_eq!((again.rows(), again.detail_rows()), (second.rows(), 2));

        let both = length(&buffer);
        drop(second);
        assert_eq!(length(&buffer), both, "the first is still needed");
        first.restore(&decoder).expect("read again");
        assert_eq!((first.spilled_bytes(), length(&buffer)), (0, 0), "nothing in the file is needed");
        assert!(buffer.memory.held_bytes() > 0);
        first.forget_rows();
        assert_eq!(buffer.memory.held_bytes(), 0);
        assert_eq!(first.rows().len(), 1, "the walk still knows its rows");

        // The file is used again.
        let third = keep(&buffer, &decoder);
        assert_eq!(third.read_again(&decoder).expect("read again").detail_rows(), 2);
    }

    #[test]
    fn pages_within_the_limit_stay_in_memory() {
        let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("a decoder");
        let buffer = SpillBuffer::new(1 << 20);
        assert_eq!((buffer.rows_in(1), buffer.expected_bytes(1)), (u64::MAX, 0), "nothing is known");
        let page = keep(&buffer, &decoder);
        assert!(page.spilled_bytes() == 0 && page.as_ref().memory_bytes() > 0 && length(&buffer) == 0);
        assert!(page.read_again(&decoder).is_err(), "it was never put aside");
        assert_eq!(buffer.expected_bytes(10), 10 * (page.as_ref().memory_bytes() + KEY_BYTES));
        assert_eq!(buffer.rows_in(buffer.expected_bytes(10)), 10);
    }
}
