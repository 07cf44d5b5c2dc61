//! Records that wait on disk by a hash, so that those of one partition can be brought together in memory.
//!
//! One temporary file without a name holds the blocks of all partitions as they filled up.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;

use crate::error::{Error, ErrorClass, Result};

/// What the blocks of all partitions may take in memory together.
const BUFFER_BYTES: u64 = 8 << 20;
/// The least and the most bytes that are written at a time.
const LEAST_BLOCK_BYTES: u64 = 4 << 10;
const MOST_BLOCK_BYTES: u64 = 64 << 10;

/// The partitions.
pub(crate) struct Partitions {
    file: File,
    end: u64,
    block_bytes: usize,
    parts: Vec<Part>,
}

#[derive(Clone, Default)]
struct Part {
    buffer: Vec<u8>,
    blocks: Vec<Range<u64>>,
}

impl Partitions {
    /// So many partitions, at least one, without a record.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when no temporary file can be made.
    pub(crate) fn new(parts: u64) -> Result<Self> {
        let parts = parts.max(1);
        let block = (BUFFER_BYTES / parts).clamp(LEAST_BLOCK_BYTES, MOST_BLOCK_BYTES);
        let parts = usize::try_from(parts).map_err(|error| disk_failed(io::Error::other(error)))?;
        let file = tempfile::tempfile().map_err(disk_failed)?;
        let block_bytes = usize::try_from(block).unwrap_or(usize::MAX);
        Ok(Self { file, end: 0, block_bytes, parts: vec![Part::default(); parts] })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Adds a record to the partition of its hash.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the temporary file cannot be written.
    pub(crate) fn add(&mut self, hash: u64, record: &[u8]) -> Result<()> {
        let part = usize::try_from(hash % self.parts.len() as u64).unwrap_or(0);
        let length = u32::try_from(record.len()).map_err(|error| disk_failed(io::Error::other(error)))?;
        let Some(part) = self.parts.get_mut(part) else { return Ok(()) };
        part.buffer.extend_from_slice(&length.to_le_bytes());
        part.buffer.extend_from_slice(record);
        if part.buffer.len() >= self.block_bytes {
            let span = self.end..self.end + part.buffer.len() as u64;
            self.file.seek(SeekFrom::Start(span.start)).map_err(disk_failed)?;
            self.file.write_all(&part.buffer).map_err(disk_failed)?;
            self.end = span.end;
            part.blocks.push(span);
            part.buffer.clear();
        }
        Ok(())
    }

    /// The records of one partition, which has none afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the temporary file cannot be read.
    pub(crate) fn read(&mut self, part: usize) -> Result<PartitionRecords> {
        let Part { buffer, blocks } = self.parts.get_mut(part).map(std::mem::take).unwrap_or_default();
        let bytes: u64 = blocks.iter().map(|span| span.end - span.start).sum();
        let mut held = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + buffer.len());
        for span in blocks {
            self.file.seek(SeekFrom::Start(span.start)).map_err(disk_failed)?;
            (&self.file).take(span.end - span.start).read_to_end(&mut held).map_err(disk_failed)?;
        }
        held.extend_from_slice(&buffer);
        Ok(PartitionRecords(held))
    }
}

/// The records of a partition, one after the other.
pub(crate) struct PartitionRecords(Vec<u8>);

impl PartitionRecords {
    /// Each of them.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the bytes are not what was written.
    pub(crate) fn records(&self) -> Result<Vec<&[u8]>> {
        let (mut records, mut rest) = (Vec::new(), &self.0[..]);
        while !rest.is_empty() {
            let next = rest
                .split_first_chunk()
                .and_then(|(length, rest)| rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?));
            let (record, after) =
                next.ok_or_else(|| Error::internal("a temporary file does not give back what was written to it"))?;
            records.push(record);
            rest = after;
        }
        Ok(records)
    }
}

fn disk_failed(error: io::Error) -> Error {
    Error::new(ErrorClass::TemporaryFailed, "cannot use a temporary file")
        .because(error)
        .hint("make room in the folder for temporary files, or set TMPDIR to another")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back_in_its_partition() {
        let mut partitions = Partitions::new(5_000).expect("partitions");
        assert_eq!(partitions.block_bytes as u64, LEAST_BLOCK_BYTES);
        let record = |nth: u64| vec![b'x'; usize::try_from(nth % 700).expect("small")];
        for nth in 0..40_000 {
            partitions.add(nth % 7, &record(nth)).expect("added");
        }
        assert!(partitions.end > 0, "some are on disk");
        for part in 0..7 {
            let held = partitions.read(part).expect("read");
            let expected: Vec<_> = (0..40_000).filter(|nth| nth % 7 == part as u64).map(record).collect();
            assert_eq!(held.records().expect("records"), expected);
        }
        assert!(partitions.read(8).expect("read").records().expect("none").is_empty());
        assert_eq!(Partitions::new(0).expect("partitions").len(), 1);
    }
}
