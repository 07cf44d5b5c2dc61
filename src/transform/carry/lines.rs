//! Quarantined records read back from their lines, and which of them a new walk has taken the place of.

use std::collections::{HashMap, HashSet};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::versions::{Key, keys, mismatched};
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::requisition::{ApplyId, Identity};
use crate::time::{BeijingTime, Window};
use crate::transform::assemble::WindowRows;
use crate::transform::contract::{Contract, TableContract};
use crate::transform::value::SchemaViolation;

/// What makes two readings of an invalid record the same: number, id, second, reason and text.
pub(super) type Reading<'a> = (&'a Identity, Option<&'a str>, &'a str, &'a str);

/// An id and a number, at least one of which is known.
pub(super) type IdAndNumber<'a> = (Option<ApplyId>, Option<&'a str>);

/// A quarantined record, read back from its line.
#[derive(Debug)]
pub(in crate::transform) struct RecordLine {
    pub(in crate::transform) identity: Identity,
    modified: Option<BeijingTime>,
    number: Option<String>,
    reason: String,
    edition: Edition,
    /// The window that was requested when it was read.
    window: Option<Window>,
    pub(in crate::transform) raw: String,
}

impl RecordLine {
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it is no line of a quarantine file.
    pub(in crate::transform) fn read(line: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Fields {
            edition: Edition,
            purchase_apply_no: Option<String>,
            apply_id: Option<i64>,
            modified: Option<BeijingTime>,
            reason: String,
            window: Option<Window>,
            raw: String,
        }
        let Fields { edition, purchase_apply_no: number, apply_id, modified, reason, window, raw } =
            serde_json::from_str(line).map_err(|error| {
                Error::new(ErrorClass::KeptDamaged, "a quarantined record cannot be read back").because(error)
            })?;
        let apply_id = apply_id.and_then(ApplyId::new);
        let identity = match (&number, modified) {
            (Some(number), Some(modified)) => Identity::Version { number: number.as_str().into(), modified, apply_id },
            _ => Identity::Record { apply_id, sha256: Sha256::digest(&raw).into() },
        };
        Ok(Self { identity, modified, number, reason, edition, window, raw })
    }

    /// The second that its record was modified in; none where that is unknown.
    pub(super) fn second(&self) -> Option<BeijingTime> {
        self.modified
    }

    /// The window in which its record stands: its second, or where that is unknown what was requested when it was read,
    /// as far as that lies in `window`, the window of its commit.
    pub(super) fn refresh_range(&self, window: Window) -> Window {
        match self.second().filter(|second| window.contains(*second)) {
            Some(second) => Window::second(second),
            None => self.window.and_then(|requested| requested.intersect(window)).unwrap_or(window),
        }
    }

    pub(super) fn reading(&self) -> Reading<'_> {
        (&self.identity, self.number.as_deref(), &self.reason, &self.raw)
    }

    /// Its id and its number, where it has either.
    pub(super) fn name(&self) -> Option<IdAndNumber<'_>> {
        Some((self.identity.apply_id(), self.number.as_deref())).filter(|name| *name != (None, None))
    }

    fn is_unreadable(&self) -> bool {
        self.reason == SchemaViolation::Unreadable.code()
    }

    /// The ids of its details, as far as they can be read.
    fn rec_ids(&self, details: &TableContract) -> Vec<i64> {
        let Ok(Value::Object(record)) = serde_json::from_str(&self.raw) else { return Vec::new() };
        let lists = details.rows(self.edition).iter().filter_map(|name| record.get(name));
        let names = details.column("rec_id").map(|(_, column)| column.sources(self.edition)).unwrap_or_default();
        let id = |line: &Value| names.iter().find_map(|name| integer(line.get(name)?));
        let elements = lists.flat_map(|list| match list {
            Value::Array(elements) => elements.iter().collect::<Vec<_>>(),
            Value::Object(elements) => elements.values().collect(),
            _ => Vec::new(),
        });
        elements.filter_map(id).collect()
    }
}

/// What a walk has read that may take the place of lines.
pub(super) struct ReadAgain<'a> {
    set_aside: &'a HashSet<&'a Identity>,
    /// The ids that landed of each number and second.
    landed: HashMap<(&'a str, i64), Vec<Option<ApplyId>>>,
    /// The rows that were there before.
    old_keys: &'a HashSet<Key<'a>>,
    mended: HashSet<ApplyId>,
    mended_details: HashSet<i64>,
    /// Invalid records that are new and have no known second, by id and number. Several may share both, so that they
    /// are counted.
    again: HashMap<IdAndNumber<'a>, usize>,
    contract: &'static Contract,
}

impl<'a> ReadAgain<'a> {
    /// `lines` are all old ones, of which some may be among the records of `fresh`.
    pub(super) fn new(
        fresh: &'a WindowRows,
        lines: impl IntoIterator<Item = &'a RecordLine>,
        old_keys: &'a HashSet<Key<'a>>,
        set_aside: &'a HashSet<&'a Identity>,
    ) -> Result<Self> {
        let mut landed: HashMap<(&str, i64), Vec<Option<ApplyId>>> = HashMap::new();
        for (number, micros, apply_id) in keys(&fresh.headers, "modified")? {
            landed.entry((number, micros)).or_default().push(apply_id);
        }
        let known: HashSet<&Identity> = lines.into_iter().map(|line| &line.identity).collect();
        let mut again: HashMap<IdAndNumber<'_>, usize> = HashMap::new();
        for record in fresh.quarantined.iter().filter(|record| !known.contains(&record.identity)) {
            if let Identity::Record { apply_id, .. } = record.identity {
                *again.entry((apply_id, record.purchase_apply_no.as_deref())).or_default() += 1;
            }
        }
        let mended = integers(&fresh.headers, "apply_id")?.into_iter().filter_map(ApplyId::new).collect();
        let mended_details = integers(&fresh.details, "rec_id")?;
        Ok(Self { set_aside, landed, old_keys, mended, mended_details, again, contract: Contract::get()? })
    }

    /// Whether something that was read takes the place of a line whose seconds were all walked.
    pub(super) fn replaces(&mut self, line: &'a RecordLine) -> bool {
        if self.set_aside.contains(&line.identity) {
            return true;
        }
        match &line.identity {
            Identity::Version { number, modified, apply_id } => {
                let landed = self.landed.get(&(&**number, modified.micros())).map_or(&[][..], Vec::as_slice);
                // With another id it is another row. But an id that was or is not readable may be what did not fit;
                // then the row that landed in its place is a new one.
                landed.iter().any(|id| {
                    let is_new = || !self.old_keys.contains(&(&**number, modified.micros(), *id));
                    id == apply_id || ((id.is_none() || apply_id.is_none()) && is_new())
                })
            }
            // What the response holds was read now, or it is unreadable still and among the fresh ones.
            Identity::Record { .. } if line.is_unreadable() => true,
            // Its number or time could not be read then; now the requisition can.
            // Of flagship, which sends no apply_id, the details tell which requisition it is.
            Identity::Record { apply_id, .. } => {
                apply_id.is_some_and(|apply_id| self.mended.contains(&apply_id))
                    || line.rec_ids(self.contract.details()).iter().any(|id| self.mended_details.contains(id))
                    || self.takes_one(line)
            }
        }
    }

    /// Takes one of the fresh records of the line's id and number for it, where it has either and one is left.
    fn takes_one(&mut self, line: &'a RecordLine) -> bool {
        let left = line.name().and_then(|name| self.again.get_mut(&name)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

fn integers(rows: &RecordBatch, name: &str) -> Result<HashSet<i64>> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(|| mismatched(&format!("no column `{name}` of integers")))?.iter().flatten().collect())
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
