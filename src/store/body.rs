//! What an object is made of: bytes in memory, or a file of local disk that is read part by part.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// The bytes of an object to be. A clone is the same bytes.
#[derive(Clone, Debug)]
pub(crate) enum ObjectBody {
    /// Held in memory.
    Memory(Bytes),
    /// All bytes of a file, and how many they are. Nobody else reads or writes the file meanwhile.
    File(Arc<File>, u64),
}

impl ObjectBody {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// A part of the bytes. One of a file is read off the async threads.
    pub(crate) async fn part(&self, span: Range<u64>) -> io::Result<Bytes> {
        let file = match self {
            Self::Memory(bytes) => return Ok(bytes.slice(place(span.start)?..place(span.end)?)),
            Self::File(file, _) => Arc::clone(file),
        };
        let read = move || {
            let mut file = &*file;
            file.seek(SeekFrom::Start(span.start))?;
            let mut part = vec![0; place(span.end.saturating_sub(span.start))?];
            file.read_exact(&mut part)?;
            Ok(part.into())
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// All of the bytes.
    pub(crate) async fn whole(&self) -> io::Result<Bytes> {
        self.part(0..self.size()).await
    }
}

impl From<Bytes> for ObjectBody {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

fn place(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}
