//! Rows, and the seconds that they lie in: a small calendar of sixteen slots, four to a month.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::id::CommitId;
use crate::log::Sha256;
use crate::parquet::EncodedFile;
use crate::time::{BeijingTime, Window};

/// The slots of a month.
pub(super) const MONTH: i64 = 4;
/// How many slots there are.
pub(super) const SLOTS: i64 = 16;
/// Before every slot.
pub(super) const EVER: i64 = -1_000;

/// The first second of every slot, and the second after the last one.
static STARTS: LazyLock<Vec<i64>> = LazyLock::new(|| {
    let start = |slot: i64| {
        let day = ["01", "08", "15", "22"][usize::try_from(slot % MONTH).expect("small")];
        let text = format!("2026-{:02}-{day} 00:00:00", 1 + slot / MONTH);
        BeijingTime::parse(&text).expect("a time").unix()
    };
    (0..=SLOTS).map(start).collect()
});

/// Slots, both ends included.
pub(super) type Span = (i64, i64);

/// The first second of a slot; of what comes before all of them, a second long before.
pub(super) fn start_of(slot: i64) -> BeijingTime {
    let unix = usize::try_from(slot).map_or(0, |slot| STARTS[slot]);
    BeijingTime::from_unix(unix).expect("a time")
}

/// The seconds of `span`.
pub(super) fn window_of(span: Span) -> Window {
    Window::new(start_of(span.0), start_of(span.1 + 1).plus_seconds(-1)).expect("a window")
}

/// The slot of a second; -1 just before the first of them.
pub(super) fn slot_of(unix: i64) -> i64 {
    if unix == 0 {
        return EVER;
    }
    i64::try_from(STARTS.partition_point(|start| *start <= unix)).expect("small") - 1
}

/// The slots of a window.
pub(super) fn span_of(window: Window) -> Span {
    (slot_of(window.start().unix()), slot_of(window.end().unix()))
}

pub(super) fn overlap(a: Span, b: Span) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// `ranges` without `taken`.
pub(super) fn minus(ranges: &[Span], taken: Span) -> Vec<Span> {
    let mut rest = Vec::new();
    for range in ranges {
        if overlap(*range, taken) {
            let parts = [(range.0, taken.0 - 1), (taken.1 + 1, range.1)];
            rest.extend(parts.into_iter().filter(|part| part.0 <= part.1));
        } else {
            rest.push(*range);
        }
    }
    rest
}

/// A version of a requisition as the ERP gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version {
    pub(super) num: u8,
    /// When it was modified.
    pub(super) slot: i64,
    /// Its content.
    pub(super) content: u32,
    /// The walk that read it: a later one reads a later state of the ERP.
    pub(super) read: u64,
}

impl Version {
    pub(super) fn key(self) -> (u8, i64) {
        (self.num, self.slot)
    }

    /// What decides which version is the latest.
    pub(super) fn age(self) -> (i64, u64) {
        (self.slot, self.read)
    }
}

/// A row of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Row {
    pub(super) version: Version,
    /// The commit that landed it first.
    pub(super) commit: CommitId,
}

/// A file of these rows; none without rows. The model needs no Parquet, but for the worlds of `parquet`.
pub(super) fn encode(rows: &[Row]) -> Option<EncodedFile> {
    let mut text = String::new();
    for Row { version: Version { num, slot, content, read }, commit } in rows {
        text.push_str(&format!("{num} {slot} {content} {read} {commit}\n"));
    }
    let slots = || rows.iter().map(|row| row.version.slot);
    let (min, max) = (slots().min()?, slots().max()?);
    Some(file_of(text, rows.len(), (start_of(min), start_of(max))))
}

/// A file of `rows` lines.
pub(super) fn file_of(text: String, rows: usize, (min, max): (BeijingTime, BeijingTime)) -> EncodedFile {
    let bytes = Bytes::from(text);
    let sha256 = Sha256::of(&bytes);
    EncodedFile { bytes, rows: rows as u64, sha256, min_modified: min, max_modified: max, sum: None }
}

/// The rows of a file.
pub(super) fn decode(bytes: &Bytes) -> Vec<Row> {
    if bytes.starts_with(b"PAR1") {
        return super::parquet::decode(bytes.clone());
    }
    let text = std::str::from_utf8(bytes).expect("text");
    text.lines().map(line).collect()
}

fn line(line: &str) -> Row {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("a word");
    let version = Version {
        num: word().parse().expect("a number"),
        slot: word().parse().expect("a slot"),
        content: word().parse().expect("a content"),
        read: word().parse().expect("a walk"),
    };
    Row { version, commit: CommitId::parse(word()).expect("an id") }
}
