//! Page files: which they are, and what is in them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::{Error, Result};

/// What the names of page files in a folder end with.
const ENDINGS: [&str; 3] = [".json", ".json.gz", ".json.zst"];
/// The decoder takes no page that is larger.
const MAX_BYTES: u64 = 128 << 20;
const GZIP: &[u8] = b"\x1F\x8B";
const ZSTD: &[u8] = b"\x28\xB5\x2F\xFD";

/// One answer that was kept as a file.
pub(super) struct PageFile {
    /// Its JSON, decompressed.
    pub(super) body: Vec<u8>,
    /// When the file was last written, in microseconds since 1970-01-01 00:00:00 UTC: the best that is known of when the answer came.
    pub(super) written_at_micros: i64,
}

/// The page files that `place` means, in the order of their names: a folder's `*.json`, `*.json.gz` and `*.json.zst`, the files whose names match a
/// pattern with `*` and `?`, or one file.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when there are none.
pub(crate) fn find(place: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(place);
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let found = if path.is_dir() {
        list(path, |name| ENDINGS.iter().any(|ending| name.ends_with(ending)))?
    } else {
        let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().as_bytes();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        list(folder, |name| matches(pattern, name.as_bytes()))?
    };
    if found.is_empty() {
        return Err(Error::usage("there are no page files").with("pages", place).hint(
            "name a folder of *.json files (also .json.gz, .json.zst), or a pattern such as 'pages/page_*.json'",
        ));
    }
    Ok(found)
}

fn list(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let failed = |error: io::Error| {
        Error::usage("the folder of the page files cannot be read").with("folder", folder.display()).because(error)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&is_wanted) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `name` is one that `pattern` means: `*` stands for any text, `?` for one byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        ([b'?', pattern @ ..], [_, name @ ..]) => matches(pattern, name),
        ([wanted, pattern @ ..], [given, name @ ..]) if wanted == given => matches(pattern, name),
        _ => false,
    }
}

/// Reads a page file into `into`, whose buffer is used again. gzip and zstd are known by their first bytes, whatever the file is called.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the file cannot be read or decompressed.
pub(super) fn read(path: &Path, into: PageFile) -> Result<PageFile> {
    read_bytes(path, into).map_err(|error| {
        Error::usage("a page file cannot be read")
            .with("file", path.display())
            .because(error)
            .hint("nothing was committed; repair the file, or move it away and run again")
    })
}

fn read_bytes(path: &Path, PageFile { mut body, .. }: PageFile) -> io::Result<PageFile> {
    let mut file = fs::File::open(path)?;
    let written_at = file.metadata()?.modified()?;
    let micros = match written_at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    body.clear();
    // One byte more than a page may have, so that the decoder says that it is too large.
    file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut body)?;
    if body.starts_with(GZIP) {
        body = unpack(flate2::read::MultiGzDecoder::new(&body[..]))?;
    } else if body.starts_with(ZSTD) {
        body = unpack(zstd::stream::read::Decoder::new(&body[..])?)?;
    }
    Ok(PageFile { body, written_at_micros: micros })
}

fn unpack(packed: impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    packed.take(MAX_BYTES + 1).read_to_end(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_whole_names() {
        for (pattern, name, expected) in [
            ("page_*.json", "page_00001.json", true),
            ("page_*.json", "page_.json", true),
            ("page_*.json", "truth.json", false),
            ("page_*.json", "page_1.json.gz", false),
            ("page_?.json", "page_12.json", false),
            ("*1*2*", "x1y2", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
