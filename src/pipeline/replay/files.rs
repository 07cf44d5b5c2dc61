//! Page files: which they are, and what is in them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use globset::{Glob, GlobMatcher};

use crate::error::{Error, ErrorClass, Result};

/// The names of the page files in a folder.
const PAGE_NAMES: &str = "*.{json,json.gz,json.zst}";
/// The decoder takes no page that is larger.
const MAX_BYTES: u64 = 128 << 20;
const GZIP: &[u8] = b"\x1F\x8B";
const ZSTD: &[u8] = b"\x28\xB5\x2F\xFD";

/// One answer that was kept as a file.
pub(super) struct PageFile {
    /// Its JSON, decompressed.
    pub(super) body: Vec<u8>,
    /// When the file was last written, in microseconds since 1970-01-01 00:00:00 UTC: the best that is known of when
    /// the answer came.
    pub(super) written_at_micros: i64,
}

/// The page files that `place` means, in the order of their names: one file, a folder's `*.json`, `*.json.gz` and
/// `*.json.zst`, or the files of a folder whose names match a pattern (`*`, `?`, `[...]`, `{...,...}`). Only the last
/// part of `place` is a pattern, and only where nothing has that very name: names may hold `[` themselves.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when there are none, or the pattern is none.
pub(crate) fn find(place: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(place);
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let found = if path.is_dir() {
        list(path, &names(PAGE_NAMES)?)?
    } else {
        let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        list(folder, &names(pattern)?)?
    };
    if found.is_empty() {
        return Err(Error::new(ErrorClass::InputUnreadable, "there are no page files").with("pages", place).hint(
            "name a folder of *.json files (also .json.gz, .json.zst), or a pattern such as 'pages/page_*.json'",
        ));
    }
    Ok(found)
}

fn names(pattern: &str) -> Result<GlobMatcher> {
    let glob = Glob::new(pattern).map_err(|error| {
        Error::new(ErrorClass::InputUnreadable, "the pattern of the page files cannot be read")
            .because(error)
            .hint("`[` and `{` begin a set of letters and a choice; write `[[]` and `[{]` for these letters themselves")
    })?;
    Ok(glob.compile_matcher())
}

fn list(folder: &Path, names: &GlobMatcher) -> Result<Vec<PathBuf>> {
    let failed = |error: io::Error| {
        Error::new(ErrorClass::InputUnreadable, "the folder of the page files cannot be read")
            .with("folder", folder.display())
            .because(error)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if names.is_match(entry.file_name()) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a page file into `into`, whose buffer is used again. gzip and zstd are known by their first bytes, whatever
/// the file is called.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the file cannot be read or decompressed.
pub(super) fn read(path: &Path, into: PageFile) -> Result<PageFile> {
    read_bytes(path, into).map_err(|error| {
        Error::new(ErrorClass::InputUnreadable, "a page file cannot be read")
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

    /// The names of the files that `pattern` means in a folder of these files.
    fn found(pattern: &str, files: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            fs::write(folder.path().join(file), "{}").expect("a file");
        }
        names_of(find(folder.path().join(pattern).to_str().expect("UTF-8")))
    }

    fn names_of(found: Result<Vec<PathBuf>>) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        found.map(|found| found.into_iter().map(name).collect()).unwrap_or_default()
    }

    #[test]
    fn patterns_mean_whole_names() {
        for (pattern, name, expected) in [
            ("page_*.json", "page_00001.json", true),
            ("page_*.json", "page_.json", true),
            ("page_*.json", "truth.json", false),
            ("page_*.json", "page_1.json.gz", false),
            ("page_*.json", "PAGE_1.json", false),
            ("page_?.json", "page_1.json", true),
            ("page_?.json", "page_12.json", false),
            ("*1*2*", "x1y2", true),
            ("**1", "x1", true),
            ("*", "x", true),
            ("page_[0-4].json", "page_4.json", true),
            ("page_[0-4].json", "page_5.json", false),
            ("page_*.{json,json.gz}", "page_1.json.gz", true),
        ] {
            assert_eq!(found(pattern, &[name]) == [name], expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_folder_means_its_page_files_in_the_order_of_their_names() {
        let files = ["b.json", "a.json.zst", "c.json.gz", ".hidden.json", "a b.json", "notes.txt", "x.JSON", "json"];
        assert_eq!(found("", &files), [".hidden.json", "a b.json", "a.json.zst", "b.json", "c.json.gz"]);
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("folder.json")).expect("a folder");
        assert!(find(folder.path().to_str().expect("UTF-8")).is_err(), "a folder is no page");
    }

    #[test]
    fn odd_names_are_found() {
        let files = ["page 1.json", ".page.json", "page_[1].json", "page_1.json", "页一.json", "-n.json"];
        assert_eq!(found("*", &files).len(), files.len());
        for (pattern, expected) in [
            ("page *.json", &files[..1]),
            (".p*", &files[1..2]),
            // A name goes before the pattern that it could be.
            ("page_[1].json", &files[2..3]),
            ("page_[[]*", &files[2..3]),
            ("page_[1].jso?", &files[3..4]),
            ("页*", &files[4..5]),
            ("-*", &files[5..]),
        ] {
            assert_eq!(found(pattern, &files), expected, "{pattern}");
        }
    }

    #[test]
    fn only_the_last_part_is_a_pattern() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["may [1]", "may 1"] {
            let inner = folder.path().join(name);
            fs::create_dir(&inner).expect("a folder");
            fs::write(inner.join(format!("{name}.json")), "{}").expect("a file");
        }
        let find_in = |place: &str| find(folder.path().join(place).to_str().expect("UTF-8"));
        assert_eq!(names_of(find_in("may [1]/*.json")), ["may [1].json"]);
        assert_eq!(names_of(find_in("may [1]")), ["may [1].json"]);
        let error = find_in("may*/*.json").expect_err("no folder has this name").to_string();
        assert!(error.contains("the folder of the page files cannot be read"), "{error}");
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for pattern in ["page_[1.json", "page_{1.json", "page_[9-1].json"] {
            let error = find(pattern).expect_err("no pattern");
            assert!(error.to_string().contains("the pattern of the page files cannot be read"), "{error}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("[[]")), "{error:?}");
        }
    }

    /// Their rows would be missed by a listing that knows only names that are text.
    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_no_text_are_found() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join(OsStr::from_bytes(b"page_\xD2\xB3.json"));
        fs::write(&page, "{}").expect("a file");
        let place = folder.path().to_str().expect("UTF-8");
        for place in [place.to_owned(), format!("{place}/page_*.json"), format!("{place}/page_??.json")] {
            assert_eq!(find(&place).expect("a page"), std::slice::from_ref(&page), "{place}");
        }
    }
}
