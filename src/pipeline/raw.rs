//! Raw responses, kept as they came, so that a lake can be rebuilt without the ERP.
//!
//! While a window is walked, every answer that the walk takes in is appended to a temporary file without a name, in the
//! order in which it was taken in: with the same answers in the same order, a walk comes to the same end. When a window
//! lands, the file becomes the commit's `_raw` object, zstd with one JSON object a line, format 1.0:
//!
//! ```text
//! {"format":"1.0","method":"...","parameters":{...},"window":{"start":"...","end":"..."},"page_no":3,"page_size":100,
//!  "asked_at":"2026-10-01T00:00:00.000000Z","received_at":"2026-10-01T00:00:00.250000Z","retries":0,"body":"{...}"}
//! ```
//!
//! `parameters` are those of the business alone: nobody who may read the lake learns an account's key or a signature.
//! `body` is the answer byte for byte, as a JSON string; but where the gateway repeats a secret, a salt or a signature,
//! `(hidden)` stands in its place. Answers that were not understood, and asked for again, are only counted, as
//! `retries`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorClass, Result};
use crate::format::FormatVersion;
use crate::land::Raw;
use crate::text::key;
use crate::time::{Window, parse_rfc3339_micros, rfc3339_micros};

/// The version of the lines.
const FORMAT: FormatVersion = FormatVersion::LAKE;
/// Answers are much alike inside: the quickest level makes them some twenty times smaller.
const ZSTD_LEVEL: i32 = 1;

/// Whether the answers of landed windows are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepRaw {
    /// They are not.
    #[default]
    No,
    /// They are, under `_raw/`.
    Yes,
}

/// What was asked, and what the walk was told of the answer.
#[derive(Clone, Debug)]
pub(super) struct RawRequest {
    pub(super) method: &'static str,
    /// Of the business, in the edition's form.
    pub(super) parameters: Value,
    pub(super) window: Window,
    pub(super) page_no: u32,
    pub(super) page_size: u32,
    pub(super) asked_at_micros: i64,
    pub(super) received_at_micros: i64,
    pub(super) retries: u32,
}

/// An answer that was kept.
#[derive(Debug)]
pub(super) struct RawResponse {
    pub(super) window: Window,
    pub(super) page_no: u32,
    pub(super) page_size: u32,
    pub(super) received_at_micros: i64,
    pub(super) retries: u32,
    pub(super) body: String,
}

/// All of a line but the body, which comes last.
#[derive(Serialize)]
struct Head<'a> {
    format: FormatVersion,
    method: &'a str,
    parameters: &'a Value,
    window: Window,
    page_no: u32,
    page_size: u32,
    asked_at: String,
    received_at: String,
    retries: u32,
}

#[derive(Deserialize)]
struct Line {
    format: FormatVersion,
    window: Window,
    page_no: u32,
    page_size: u32,
    received_at: String,
    retries: u32,
    body: String,
}

/// What every version of a line says.
#[derive(Deserialize)]
struct Version {
    format: FormatVersion,
}

/// Keeps the answers of the walks that are under way.
#[derive(Debug)]
pub(super) struct Recorder {
    keep: KeepRaw,
    records: Mutex<HashMap<Window, Record>>,
}

/// The answers of one walk so far.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
    answers: u64,
}

impl Recorder {
    pub(super) fn new(keep: KeepRaw) -> Self {
        Self { keep, records: Mutex::default() }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keep == KeepRaw::Yes
    }

    /// Begins to keep the answers of a walk; no two walks that are under way have the same window.
    pub(super) fn begin(&self, window: Window) -> Result<()> {
        if self.keeps() {
            let file = tempfile::tempfile().map_err(|error| failed(&error))?;
            self.records().insert(window, Record { file, answers: 0 });
        }
        Ok(())
    }

    /// Adds an answer that the walk of its window takes in next. `body` is what [`pack_body`] made of it.
    pub(super) fn add(&self, asked: &RawRequest, body: &[u8]) -> Result<()> {
        let mut records = self.records();
        let Some(record) = records.get_mut(&asked.window) else { return Ok(()) };
        let added = pack_head(asked).and_then(|head| {
            record.file.write_all(&head)?;
            record.file.write_all(body)
        });
        record.answers += 1;
        added.map_err(|error| failed(&error))
    }

    /// What was kept of a walk that has ended.
    pub(super) fn end(&self, window: Window) -> Option<Record> {
        self.records().remove(&window)
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Window, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `_raw` object of all `records`, one after the other; none when nothing was kept. Takes its time: call it off the
/// async threads.
pub(super) fn join(records: Vec<Record>, window: Window) -> Result<Option<Raw>> {
    let (mut packed, mut responses) = (Vec::new(), 0);
    for mut record in records {
        record.file.rewind().and_then(|()| record.file.read_to_end(&mut packed)).map_err(|error| failed(&error))?;
        responses += record.answers;
    }
    Ok((responses > 0).then(|| Raw { packed: Bytes::from(packed), responses, window }))
}

fn failed(error: &io::Error) -> Error {
    Error::new(ErrorClass::TemporaryFailed, "cannot keep the raw responses of the window")
        .because(error.to_string())
        .hint("make room in the folder for temporary files, or set TMPDIR to another")
}

/// The end of a line, from its body on. Takes its time: call it off the async threads.
///
/// It is a frame of its own, as the beginning of the line is; frames that follow each other are one zstd stream.
pub(super) fn pack_body(body: &[u8]) -> io::Result<Vec<u8>> {
    let text = std::str::from_utf8(body).map_err(io::Error::other)?;
    let mut end = serde_json::to_vec(text)?;
    end.extend_from_slice(b"}\n");
    zstd::bulk::compress(&end, ZSTD_LEVEL)
}

fn pack_head(asked: &RawRequest) -> io::Result<Vec<u8>> {
    let mut head = serde_json::to_vec(&Head {
        format: FORMAT,
        method: asked.method,
        parameters: &asked.parameters,
        window: asked.window,
        page_no: asked.page_no,
        page_size: asked.page_size,
        asked_at: rfc3339_micros(asked.asked_at_micros),
        received_at: rfc3339_micros(asked.received_at_micros),
        retries: asked.retries,
    })?;
    head.pop();
    head.extend_from_slice(br#","body":"#);
    zstd::bulk::compress(&head, ZSTD_LEVEL)
}

/// Reads a `_raw` object, answer by answer, in the order in which they were taken in. Takes its time: call it off the
/// async threads.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when another version of the program has written it,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it is not what this module writes.
pub(super) fn read(packed: &[u8], mut each: impl FnMut(RawResponse) -> Result<()>) -> Result<()> {
    let broken = |why: String| Error::new(ErrorClass::KeptDamaged, "cannot read the raw responses").because(why);
    let decoder = zstd::stream::read::Decoder::new(packed).map_err(|error| broken(error.to_string()))?;
    let mut lines = BufReader::new(decoder);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).map_err(|error| broken(error.to_string()))? > 0 {
        let read: std::result::Result<Line, _> = serde_json::from_slice(&line);
        // What another version writes may not look like a line of ours at all.
        let format = match &read {
            Ok(read) => Some(read.format),
            Err(_) => serde_json::from_slice(&line).ok().map(|Version { format }| format),
        };
        if let Some(format) = format.filter(|format| !FORMAT.reads(*format)) {
            return Err(FORMAT.refuse(key!("the raw responses have format"), format));
        }
        let read = read.map_err(|error| broken(error.to_string()))?;
        let received = parse_rfc3339_micros(&read.received_at);
        let received_at_micros = received.ok_or_else(|| broken(format!("`{}` is no time", read.received_at)))?;
        let Line { window, page_no, page_size, retries, body, .. } = read;
        each(RawResponse { window, page_no, page_size, received_at_micros, retries, body })?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::time::BeijingTime;

    #[test]
    fn answers_come_back_byte_for_byte_and_in_order() {
        let at = |text| BeijingTime::parse(text).expect("a time");
        let window = Window::new(at("2026-06-01 00:00:00"), at("2026-06-30 23:59:59")).expect("a window");
        let recorder = Recorder::new(KeepRaw::Yes);
        recorder.begin(window).expect("a temporary file");
        let bodies = ["{\"a\":\"\\u4e2d\\/\"}", "{\n\t\"b\": \"中\"}", "[]"];
        for (page_no, body) in (0..).zip(bodies) {
            let asked = RawRequest {
                method: "query",
                parameters: serde_json::json!({"page_no": page_no}),
                window,
                page_no,
                page_size: 100,
                asked_at_micros: 1,
                received_at_micros: 1_780_000_000_123_456 + i64::from(page_no),
                retries: 2,
            };
            recorder.add(&asked, &pack_body(body.as_bytes()).expect("packed")).expect("written");
        }
        let record = recorder.end(window).expect("a record");
        let raw = join(vec![record], window).expect("read").expect("answers");
        assert_eq!((raw.responses, raw.window), (3, window));
        let mut found = Vec::new();
        read(&raw.packed, |answer| {
            found.push(answer);
            Ok(())
        })
        .expect("read");
        let told: Vec<_> = found.iter().map(|answer| (answer.page_no, &*answer.body)).collect();
        assert_eq!(told, [(0, bodies[0]), (1, bodies[1]), (2, bodies[2])]);
        assert_eq!((found[1].received_at_micros, found[1].retries), (1_780_000_000_123_457, 2));
        assert_eq!(found[2].window, window);
        assert!(read(&raw.packed[..raw.packed.len() - 3], |_| Ok(())).is_err(), "a torn file");
    }

    #[test]
    fn answers_of_another_version_are_refused() {
        for line in [r#"{"format":"0.10","window":{"start":"2026-06-01T00:00:00+08:00"}}"#, r#"{"format":"0.9"}"#] {
            let packed = zstd::bulk::compress(line.as_bytes(), ZSTD_LEVEL).expect("packed");
            let error = read(&packed, |_| Ok(())).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Lake, "{line}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("1.x")), "{error:?}");
        }
        let packed = zstd::bulk::compress(br#"{"format":"1.0"}"#, ZSTD_LEVEL).expect("packed");
        assert_eq!(read(&packed, |_| Ok(())).expect_err("no line").kind(), ErrorKind::Defect);
    }

    #[test]
    fn an_answer_whose_window_ends_before_it_starts_is_refused() {
        let line = serde_json::json!({
            "format": "1.0", "window": {"start": "2026-06-30T00:00:00+08:00", "end": "2026-06-01T00:00:00+08:00"},
            "page_no": 0, "page_size": 100, "received_at": "2026-07-01T00:00:00.000000Z", "retries": 0, "body": "{}",
        });
        let packed = zstd::bulk::compress(line.to_string().as_bytes(), ZSTD_LEVEL).expect("packed");
        let error = read(&packed, |_| Ok(())).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Defect);
        assert!(error.to_string().contains("ends before it starts"), "{error}");
    }
}
