//! The records that did not fit the contract: what, where, why, and their exact source text.
//!
//! One record is one line of JSON, format 1.0:
//!
//! ```text
//! {"format":"1.0","purchase_apply_no":"...","apply_id":1,"modified":"2026-10-01T00:00:00+08:00","reason":"surplus_digits",
//!  "message":"real_num has more decimals than the column holds","field":"real_num","detail_index":0,
//!  "window":{"start":"...","end":"..."},"page_no":3,"page_size":100,"edition":"enterprise","received_at":"2026-10-01T00:00:00.000000Z",
//!  "run_id":"...","raw":"{...}"}
//! ```
//!
//! `purchase_apply_no`, `apply_id`, `modified`, `field`, `detail_index`, `window` and `page_size` are null where
//! unknown. `raw` is the source text of the requisition, byte for byte, as a JSON string; but raw control characters
//! within its own strings are escaped, so that it is JSON, and where the gateway repeats a secret, a salt or a
//! signature, `(hidden)` stands in its place. Of an `unreadable` response it is all of the text, or empty where that
//! was too large. A newer minor version may add fields.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::context::PageContext;
use super::plan::{FieldTarget, Plan};
use super::record::RecordFailure;
use super::scalar::escape_controls;
use super::scan::{Scanner, Stop};
use super::value::{self, SchemaViolation};
use crate::edition::Edition;
use crate::id::RunId;
use crate::requisition::{ApplyId, Identity, RowKey};
use crate::time::{BeijingTime, Window, rfc3339_micros};

/// `major.minor` of the lines.
pub(crate) const FORMAT: &str = "1.0";

/// A page of a hundred requisitions is some 250 kB; what is none shows what it is sooner.
const MOST_OF_A_FILE: usize = 16 << 10;

/// A requisition that did not fit, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its identity, as the walk counts it.
    pub identity: Identity,
    /// Its number, if it can be read.
    pub purchase_apply_no: Option<String>,
    /// Its primary key in the ERP, if it can be read.
    pub apply_id: Option<i64>,
    /// Its last modification, if it can be read.
    pub modified: Option<BeijingTime>,
    /// Why it did not fit.
    pub reason: SchemaViolation,
    /// The source field that is to blame, if one is; of a file that is no page, its name.
    pub field: Option<String>,
    /// The detail that holds the field, counted from 0; `None` when the header does.
    pub detail_index: Option<i32>,
    /// The window that was asked for.
    pub window: Option<Window>,
    /// The page it stood on, counted from 0.
    pub page_no: u32,
    /// How many rows that page was asked to hold; 0 where it is not known. The page begins at row `page_no *
    /// page_size` of the list.
    pub page_size: u32,
    /// Why its response cannot be read, where nothing of it can.
    pub cause: Option<String>,
    /// Edition of the account.
    pub edition: Edition,
    /// When the answer arrived, in microseconds since 1970-01-01 00:00:00 UTC.
    pub received_at_micros: i64,
    /// The run that read it.
    pub run: RunId,
    /// Its source text, byte for byte, but for raw control characters within strings, which are escaped.
    pub raw: String,
}

impl Quarantined {
    /// What did not fit and why, in a sentence for people.
    pub fn message(&self) -> String {
        if let Some(cause) = &self.cause {
            let what = self.field.as_deref().unwrap_or("the response");
            return format!("{what} {}: {cause}", self.reason);
        }
        let field = self.field.as_deref().unwrap_or("the requisition");
        match self.detail_index {
            Some(index) => format!("{field} of detail {index} {}", self.reason),
            None => format!("{field} {}", self.reason),
        }
    }

    /// One line of JSON, without the line break.
    pub fn to_json_line(&self) -> String {
        let line = Line {
            format: FORMAT,
            purchase_apply_no: self.purchase_apply_no.as_deref(),
            apply_id: self.apply_id,
            modified: self.modified,
            reason: self.reason.code(),
            message: self.message(),
            field: self.field.as_deref(),
            detail_index: self.detail_index,
            window: self.window,
            page_no: self.page_no,
            page_size: Some(self.page_size).filter(|size| *size > 0),
            edition: self.edition,
            received_at: rfc3339_micros(self.received_at_micros),
            run_id: self.run,
            raw: &self.raw,
        };
        // Texts, numbers and nulls always serialise.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// A file that is no page: `raw` is the beginning of its text, with U+FFFD for what is not UTF-8, and `field` its
    /// name. The file stays where it is, so that no more than `MOST_OF_A_FILE` bytes of it are kept.
    pub fn page(name: &str, body: &[u8], edition: Edition, run: RunId, context: &PageContext) -> Self {
        let kept = &body[..body.len().min(MOST_OF_A_FILE)];
        let is_cut = kept.len() < body.len();
        Self {
            identity: Identity::Record { apply_id: None, sha256: Sha256::digest(body).into() },
            purchase_apply_no: None,
            apply_id: None,
            modified: None,
            reason: SchemaViolation::NotAPage,
            field: Some(name.to_owned()),
            detail_index: None,
            window: context.window,
            page_no: context.page_no,
            page_size: context.page_size,
            cause: is_cut.then(|| format!("the first {} of its {} bytes are kept", kept.len(), body.len())),
            edition,
            received_at_micros: context.received_at_micros,
            run,
            raw: String::from_utf8_lossy(kept).into_owned(),
        }
    }

    /// A response of `size` bytes that cannot be read, whole, and `why`. `raw` is its text, with U+FFFD for what is not
    /// UTF-8, or empty where it was too large to be kept.
    pub(super) fn unreadable(
        body: &[u8],
        size: u64,
        why: &str,
        edition: Edition,
        run: RunId,
        context: &PageContext,
    ) -> Self {
        let sha256 = if body.is_empty() { Sha256::digest(size.to_string()) } else { Sha256::digest(body) };
        Self {
            identity: Identity::Record { apply_id: None, sha256: sha256.into() },
            purchase_apply_no: None,
            apply_id: None,
            modified: None,
            reason: SchemaViolation::Unreadable,
            field: None,
            detail_index: None,
            window: context.window,
            page_no: context.page_no,
            page_size: context.page_size,
            cause: Some(format!("{why} ({size} bytes)")),
            edition,
            received_at_micros: context.received_at_micros,
            run,
            raw: String::from_utf8_lossy(body).into_owned(),
        }
    }

    /// The record that failed at `failure`, with as much of its identity as can be read from it.
    pub(super) fn new(plan: &Plan, failure: RecordFailure, raw: &str, place: RecordPlace) -> Self {
        let read = Salvage::read(plan, raw);
        let raw = escape_controls(raw);
        let apply_id = read.apply_id.and_then(ApplyId::new);
        let identity = match (&read.number, read.modified) {
            (Some(number), Some(modified)) => Identity::Version { number: number.as_str().into(), modified, apply_id },
            _ => Identity::Record { apply_id, sha256: Sha256::digest(raw.as_bytes()).into() },
        };
        Self {
            identity,
            purchase_apply_no: read.number,
            apply_id: read.apply_id,
            modified: read.modified,
            reason: failure.violation,
            field: failure.field,
            detail_index: failure.detail_index,
            window: place.window,
            page_no: place.page_no,
            page_size: place.page_size,
            cause: None,
            edition: plan.edition,
            received_at_micros: place.received_at_micros,
            run: place.run,
            raw: raw.into_owned(),
        }
    }

    /// What the walk needs to know of it.
    pub(super) fn key(&self) -> RowKey {
        RowKey { identity: self.identity.clone(), modified: self.modified }
    }
}

/// Where a record was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordPlace {
    pub(super) window: Option<Window>,
    pub(super) page_no: u32,
    pub(super) page_size: u32,
    pub(super) received_at_micros: i64,
    pub(super) run: RunId,
}

#[derive(Serialize)]
struct Line<'a> {
    format: &'static str,
    purchase_apply_no: Option<&'a str>,
    apply_id: Option<i64>,
    modified: Option<BeijingTime>,
    reason: &'static str,
    message: String,
    field: Option<&'a str>,
    detail_index: Option<i32>,
    window: Option<Window>,
    page_no: u32,
    page_size: Option<u32>,
    edition: Edition,
    received_at: String,
    run_id: RunId,
    raw: &'a str,
}

/// What can be read of a broken record. A field that contradicts itself is not read.
#[derive(Debug, Default)]
struct Salvage {
    number: Option<String>,
    apply_id: Option<i64>,
    modified: Option<BeijingTime>,
}

impl Salvage {
    fn read(plan: &Plan, raw: &str) -> Self {
        Self::scan(plan, raw).unwrap_or_default()
    }

    fn scan(plan: &Plan, raw: &str) -> Result<Self, Stop> {
        let places = &plan.header_places;
        let (mut number, mut apply_id, mut modified) = (Once::Never, Once::Never, Once::Never);
        let mut scanner = Scanner::new(raw);
        let mut fresh = true;
        if !scanner.enter(b'{')? {
            return Err(Stop::Unwanted);
        }
        while let Some(key) = scanner.key(&mut fresh)? {
            let value = scanner.scalar()?;
            let Some(FieldTarget::Column(column)) = plan.headers.names.target(key) else { continue };
            let mut scratch = String::new();
            let Ok(Some(text)) = value.text(&mut scratch) else { continue };
            if column == places.number && !text.is_empty() {
                number.set(text.to_owned());
            } else if column == places.apply_id
                && let Ok(value) = value::integer(text)
            {
                apply_id.set(value);
            } else if column == places.modified
                && let Ok(Some(value)) = value::instant(text)
            {
                modified.set(value);
            }
        }
        Ok(Self { number: number.value(), apply_id: apply_id.value(), modified: modified.value() })
    }
}

/// A value that counts only when it was given once, or the same each time.
enum Once<T> {
    Never,
    One(T),
    Contradicted,
}

impl<T: PartialEq> Once<T> {
    fn set(&mut self, value: T) {
        match self {
            Self::Never => *self = Self::One(value),
            Self::One(before) if *before == value => {}
            _ => *self = Self::Contradicted,
        }
    }

    fn value(self) -> Option<T> {
        if let Self::One(value) = self { Some(value) } else { None }
    }
}
