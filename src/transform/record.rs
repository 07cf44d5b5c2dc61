//! One requisition, header and details, straight from the scanner into the column buffers of both tables.
//!
//! Fields may come in any order, the details before the header's number and modified time; what details have of their
//! header is not repeated here. An id that a detail carries itself and that is not its header's goes to the detail's
//! `extra`. Anything that does not fit stops the requisition with a [`RecordFailure`]; whoever called cuts the
//! buffers back to the [`Mark`] before it, so that no part of it stays.

use super::columns::{ColumnBuffer, Texts};
use super::compact::CompactColumn;
use super::contract::ColumnType;
use super::extra::Extra;
use super::plan::{Field, FieldTarget, Guesser, Plan, TablePlan};
use super::scalar::{Scalar, ScalarKind, escape_controls};
use super::scan::{Scanner, Stop};
use super::value::{self, SchemaViolation};
use crate::requisition::ApplyId;

/// The vendor documents 20 to 40 characters. The bound keeps a number that every detail repeats from growing without
/// measure.
const MAX_NUMBER_BYTES: usize = 200;

/// What did not fit, and where in the requisition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordFailure {
    pub(super) violation: SchemaViolation,
    /// The source field, when one is to blame.
    pub(super) field: Option<String>,
    /// The detail that holds the field, counted from 0.
    pub(super) detail_index: Option<i32>,
}

/// The part of a requisition that is being read. It says what is wrong when a value of another shape stands there.
#[derive(Clone, Copy, Debug)]
enum Part {
    Requisition,
    DetailList,
    Detail(i32),
}

/// How full both tables were before a requisition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    headers: usize,
    details: usize,
}

/// Column buffers of both tables, lineage left out, for one page after the other.
#[derive(Debug)]
pub(super) struct Scratch {
    headers: Vec<ColumnBuffer>,
    details: Vec<ColumnBuffer>,
}

impl Scratch {
    pub(super) fn new(plan: &Plan) -> Self {
        let table = |plan: &TablePlan| plan.kinds.iter().map(|kind| ColumnBuffer::new(*kind)).collect();
        Self { headers: table(&plan.headers), details: table(&plan.details) }
    }

    /// The memory that it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.headers.iter().chain(&self.details).map(ColumnBuffer::bytes).sum()
    }
}

/// The growing rows of one table.
#[derive(Debug)]
pub(super) struct TableRows<'p, 'de> {
    plan: &'p TablePlan,
    pub(super) columns: Vec<ColumnBuffer>,
    pub(super) rows: usize,
    guesser: Guesser,
    /// Columns that the current object has filled, one bit each.
    filled: u64,
    /// Of these, times that readers cannot hold: null here, and their text in `extra`.
    unreadable_times: u64,
    /// Fields of the current object that have no column, as written.
    extra: Extra<'de>,
}

impl<'p, 'de> TableRows<'p, 'de> {
    /// No rows yet, in columns that are empty.
    fn new(plan: &'p TablePlan, columns: Vec<ColumnBuffer>) -> Self {
        Self {
            plan,
            columns,
            rows: 0,
            guesser: plan.names.guesser(),
            filled: 0,
            unreadable_times: 0,
            extra: Extra::default(),
        }
    }

    fn begin(&mut self) {
        self.guesser.restart();
        self.filled = 0;
        self.unreadable_times = 0;
        self.extra.clear();
    }

    fn set(
        &mut self,
        column: usize,
        kind: ScalarKind,
        text: &str,
        scratch: &mut String,
    ) -> Result<(), SchemaViolation> {
        let buffer = &mut self.columns[column];
        buffer.push(Scalar { kind, text }, scratch)?;
        let bit = 1 << column;
        if self.filled & bit != 0 {
            if !buffer.last_two_agree() || self.unreadable_times & bit != 0 {
                return Err(SchemaViolation::GivenTwice);
            }
            buffer.truncate(buffer.len() - 1);
        }
        self.filled |= bit;
        Ok(())
    }

    /// Keeps a time that is out of its column's range in `extra`, as written, where the column may be null; anything
    /// else stays out of range.
    #[cold]
    fn keep_time(&mut self, column: usize, key: &'de str, raw: &'de str) -> Result<(), SchemaViolation> {
        let is_required = self.plan.required.iter().any(|(place, _)| *place == column);
        if self.plan.kinds[column] != ColumnType::Timestamp || is_required {
            return Err(SchemaViolation::OutOfRange);
        }
        let bit = 1 << column;
        if self.filled & bit == 0 {
            self.columns[column].push_null();
        } else if self.unreadable_times & bit == 0 {
            return Err(SchemaViolation::GivenTwice);
        }
        self.filled |= bit;
        self.unreadable_times |= bit;
        self.extra.set(key, raw)
    }

    /// Ends a row: unknown fields go to `extra`, columns that nothing filled become null, except those in `unused`.
    fn end(&mut self, unused: u64) {
        let extra = self.plan.extra;
        if let ColumnBuffer::Utf8(column) = &mut self.columns[extra]
            && !self.extra.is_empty()
        {
            column.push_pieces(self.extra.pieces());
            self.filled |= 1 << extra;
        }
        let mut empty = self.plan.all() & !(self.filled | unused);
        while empty != 0 {
            self.columns[empty.trailing_zeros() as usize].push_null();
            empty &= empty - 1;
        }
        self.rows += 1;
    }

    /// The name of the first required column that the last row leaves null or empty.
    fn missing(&self, unused: u64) -> Option<&'p str> {
        let required = self.plan.required.iter().filter(|(place, _)| unused & (1 << place) == 0);
        required.into_iter().find(|(place, _)| self.columns[*place].last_is_empty()).map(|(_, name)| name.as_str())
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        self.rows = rows;
    }
}

/// The `apply_id` that a detail carries itself, as written.
#[derive(Clone, Copy, Debug)]
struct OwnId<'de> {
    detail: i32,
    value: Option<i64>,
    written: Scalar<'de>,
}

/// Reads requisitions into the buffers of both tables.
#[derive(Debug)]
pub(super) struct RecordReader<'p, 'de> {
    plan: &'p Plan,
    pub(super) headers: TableRows<'p, 'de>,
    pub(super) details: TableRows<'p, 'de>,
    /// The numbers that the details of the current requisition carry themselves.
    own_numbers: Texts,
    /// The ids that they carry themselves.
    own_ids: Vec<OwnId<'de>>,
    own_count: i32,
    details_seen: bool,
    part: Part,
    failure: Option<RecordFailure>,
    scratch: String,
}

impl<'p, 'de> RecordReader<'p, 'de> {
    /// A reader into buffers that are empty.
    pub(super) fn new(plan: &'p Plan, scratch: Scratch) -> Self {
        Self {
            plan,
            headers: TableRows::new(&plan.headers, scratch.headers),
            details: TableRows::new(&plan.details, scratch.details),
            own_numbers: Texts::new(),
            own_ids: Vec::new(),
            own_count: 0,
            details_seen: false,
            part: Part::Requisition,
            failure: None,
            scratch: String::new(),
        }
    }

    /// The columns of the rows that were read, headers first, and the buffers for the next page.
    pub(super) fn into_columns(self) -> (Vec<CompactColumn>, Vec<CompactColumn>, Scratch) {
        let mut scratch = Scratch { headers: self.headers.columns, details: self.details.columns };
        let take = |columns: &mut Vec<ColumnBuffer>| columns.iter_mut().map(ColumnBuffer::take).collect();
        (take(&mut scratch.headers), take(&mut scratch.details), scratch)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { headers: self.headers.rows, details: self.details.rows }
    }

    /// Forgets every row after `mark`, half-written ones included.
    pub(super) fn roll_back(&mut self, mark: Mark) {
        self.headers.truncate(mark.headers);
        self.details.truncate(mark.details);
    }

    /// What stopped the last requisition.
    pub(super) fn take_failure(&mut self) -> RecordFailure {
        self.failure.take().unwrap_or_else(|| {
            // Something else stood where an object or a list belongs.
            let list = || self.plan.headers.names.name_of(FieldTarget::Details).to_owned();
            match self.part {
                Part::Requisition => {
                    RecordFailure { violation: SchemaViolation::NotAnObject, field: None, detail_index: None }
                }
                Part::DetailList => {
                    RecordFailure { violation: SchemaViolation::NotAList, field: Some(list()), detail_index: None }
                }
                Part::Detail(index) => RecordFailure {
                    violation: SchemaViolation::NotAnObject,
                    field: Some(list()),
                    detail_index: Some(index),
                },
            }
        })
    }

    /// The number of the requisition that was read last.
    pub(super) fn number(&self) -> Option<&str> {
        self.headers.columns[self.plan.header_places.number].last_text()
    }

    /// The id of the requisition that was read last.
    pub(super) fn apply_id(&self) -> Option<ApplyId> {
        self.headers.columns[self.plan.header_places.apply_id].last_int64().and_then(ApplyId::new)
    }

    /// How many times of the requisition that was read last are null because readers cannot hold them.
    pub(super) fn unreadable_times(&self) -> u32 {
        self.headers.unreadable_times.count_ones()
    }

    /// The modified time of the requisition that was read last, in microseconds.
    pub(super) fn modified_micros(&self) -> Option<i64> {
        self.headers.columns[self.plan.header_places.modified].last_micros()
    }

    #[cold]
    fn fail(&mut self, violation: SchemaViolation, key: &str) -> Stop {
        let name = escape_controls(key).trim_matches('"').to_owned();
        let detail_index = if let Part::Detail(index) = self.part { Some(index) } else { None };
        self.failure = Some(RecordFailure { violation, field: Some(name), detail_index });
        Stop::Unwanted
    }

    fn end_header(&mut self) -> Result<(), (SchemaViolation, String)> {
        let places = &self.plan.header_places;
        let headers = &mut self.headers;
        let count = self.own_count;
        if let ColumnBuffer::Int32(column) = &mut headers.columns[places.detail_count] {
            column.push(Some(count));
        }
        headers.filled |= 1 << places.detail_count | 1 << places.status_name;
        headers.end(0);
        let meaning = headers.columns[places.status].last_int16().and_then(|code| self.plan.edition.status_name(code));
        if let ColumnBuffer::Utf8(column) = &mut headers.columns[places.status_name] {
            column.push(meaning);
        }
        if let Some(name) = headers.missing(0) {
            return Err((SchemaViolation::Missing, name.to_owned()));
        }
        let number = headers.columns[places.number].last_text().unwrap_or_default();
        if number.len() > MAX_NUMBER_BYTES {
            return Err((SchemaViolation::TooLong, "purchase_apply_no".to_owned()));
        }

        for (row, index) in (0..count).enumerate() {
            // A detail without a number of its own, or with an empty one, says nothing against its header.
            if self.own_numbers.get(row).is_some_and(|own| !own.is_empty() && own != number) {
                self.part = Part::Detail(index);
                return Err((SchemaViolation::OtherNumber, "purchase_apply_no".to_owned()));
            }
        }
        let header_id = headers.columns[places.apply_id].last_int64();
        self.own_ids.retain(|own| own.value.is_some() && own.value != header_id);
        if !self.own_ids.is_empty() {
            self.keep_own_ids();
        }
        Ok(())
    }

    /// Adds the ids that details carry themselves, and that are not their header's, to what they have in `extra`.
    #[cold]
    fn keep_own_ids(&mut self) {
        let first = self.details.rows - usize::try_from(self.own_count).unwrap_or(0);
        let name = self.plan.details.names.name_of(FieldTarget::Column(self.plan.detail_places.apply_id));
        let ColumnBuffer::Utf8(column) = &mut self.details.columns[self.plan.details.extra] else { return };
        let held: Vec<Option<String>> =
            (first..self.details.rows).map(|row| column.get(row).map(str::to_owned)).collect();
        column.truncate(first);
        let mut own_ids = self.own_ids.iter().peekable();
        for (index, held) in (0..).zip(held) {
            let Some(OwnId { written, .. }) = own_ids.next_if(|own| own.detail == index) else {
                column.push(held.as_deref());
                continue;
            };
            let quote = if written.kind == ScalarKind::Bare { "" } else { "\"" };
            let before = held.as_deref().and_then(|held| held.strip_suffix('}')).map(|fields| [fields, ","]);
            let [fields, comma] = before.unwrap_or(["{", ""]);
            column.push_pieces([fields, comma, "\"", name, "\":", quote, written.text, quote, "}"]);
        }
    }

    #[inline]
    fn set_detail(&mut self, column: usize, kind: ScalarKind, text: &'de str) -> Result<(), SchemaViolation> {
        let places = &self.plan.detail_places;
        if column == places.apply_id {
            return self.set_own_id(column, Scalar { kind, text });
        }
        if column != places.number {
            return self.details.set(column, kind, text, &mut self.scratch);
        }
        let bit = 1 << column;
        self.own_numbers.push_scalar(Scalar { kind, text })?;
        if self.details.filled & bit != 0 {
            let last = self.own_numbers.len() - 1;
            if self.own_numbers.get(last - 1) != self.own_numbers.get(last) {
                return Err(SchemaViolation::GivenTwice);
            }
            self.own_numbers.truncate(last);
        }
        self.details.filled |= bit;
        Ok(())
    }

    fn set_own_id(&mut self, column: usize, written: Scalar<'de>) -> Result<(), SchemaViolation> {
        let text = written.text(&mut self.scratch)?.filter(|text| !text.is_empty());
        let own = OwnId { detail: self.own_count, value: text.map(value::integer).transpose()?, written };
        let bit = 1 << column;
        if self.details.filled & bit == 0 {
            self.details.filled |= bit;
            self.own_ids.push(own);
        } else if self.own_ids.last().is_none_or(|before| before.value != own.value) {
            return Err(SchemaViolation::GivenTwice);
        }
        Ok(())
    }

    fn end_detail(&mut self, index: i32) -> Result<(), (SchemaViolation, String)> {
        if self.details.filled & (1 << self.plan.detail_places.number) == 0 {
            self.own_numbers.push(None);
        }
        if let ColumnBuffer::Int32(column) = &mut self.details.columns[self.plan.detail_places.index] {
            column.push(Some(index));
        }
        self.details.filled |= 1 << self.plan.detail_places.index;
        let inherited = self.plan.detail_places.inherited();
        self.details.end(inherited);
        match self.details.missing(inherited) {
            Some(name) => Err((SchemaViolation::Missing, name.to_owned())),
            None => Ok(()),
        }
    }
}

impl<'p: 'de, 'de> RecordReader<'p, 'de> {
    /// Reads the next requisition into the buffers. After [`Stop::Unwanted`], [`RecordReader::take_failure`] says why.
    pub(super) fn requisition(&mut self, scanner: &mut Scanner<'de>) -> Result<(), Stop> {
        self.part = Part::Requisition;
        self.failure = None;
        self.enter_object(scanner)?;
        self.headers.begin();
        self.own_numbers.truncate(0);
        self.own_ids.clear();
        self.own_count = 0;
        self.details_seen = false;
        let names = &self.plan.headers.names;
        let mut fresh = true;
        while let Some(field) = self.headers.guesser.next(names, scanner, &mut fresh)? {
            let set = match field {
                Field::Known(key, FieldTarget::Column(column)) => {
                    let (set, text) = match scanner.plain_text() {
                        Some(text) => (self.headers.set(column, ScalarKind::Text, text, &mut self.scratch), text),
                        None => {
                            let Scalar { kind, text } = scanner.scalar()?;
                            (self.headers.set(column, kind, text, &mut self.scratch), text)
                        }
                    };
                    match set {
                        Err(SchemaViolation::OutOfRange) => self.headers.keep_time(column, key, scanner.quoted(text)),
                        set => set,
                    }
                }
                Field::Known(_, FieldTarget::Details) if self.details_seen => Err(SchemaViolation::GivenTwice),
                Field::Known(_, FieldTarget::Details) => {
                    self.details_seen = true;
                    self.read_details(scanner)?;
                    Ok(())
                }
                Field::Unknown(key) => self.headers.extra.set(key, scanner.raw()?),
            };
            set.map_err(|violation| self.fail(violation, field.key()))?;
        }
        self.end_header().map_err(|(violation, field)| self.fail(violation, &field))
    }

    /// Reads the list of details; null and `""` are lists without any.
    fn read_details(&mut self, scanner: &mut Scanner<'de>) -> Result<(), Stop> {
        self.part = Part::DetailList;
        if let Some(mut list) = scanner.enter_list()? {
            while scanner.next_of(&mut list)? {
                self.part = Part::Detail(self.own_count);
                self.read_detail(scanner)?;
                self.own_count += 1;
                self.part = Part::DetailList;
            }
        } else if !matches!(scanner.raw()?, "null" | "\"\"") {
            return Err(Stop::Unwanted);
        }
        self.part = Part::Requisition;
        Ok(())
    }

    fn read_detail(&mut self, scanner: &mut Scanner<'de>) -> Result<(), Stop> {
        self.enter_object(scanner)?;
        self.details.begin();
        let names = &self.plan.details.names;
        let mut fresh = true;
        while let Some(field) = self.details.guesser.next(names, scanner, &mut fresh)? {
            let set = match field {
                Field::Known(_, FieldTarget::Column(column)) => match scanner.plain_text() {
                    Some(text) => self.set_detail(column, ScalarKind::Text, text),
                    None => {
                        let Scalar { kind, text } = scanner.scalar()?;
                        self.set_detail(column, kind, text)
                    }
                },
                // No field of a detail is a list of details.
                Field::Known(_, FieldTarget::Details) => Err(SchemaViolation::NotAScalar),
                Field::Unknown(key) => self.details.extra.set(key, scanner.raw()?),
            };
            set.map_err(|violation| self.fail(violation, field.key()))?;
        }
        let index = self.own_count;
        self.end_detail(index).map_err(|(violation, field)| self.fail(violation, &field))
    }

    /// Enters the object that belongs here; anything else is read over and unwanted.
    fn enter_object(&self, scanner: &mut Scanner<'de>) -> Result<(), Stop> {
        if scanner.enter(b'{')? {
            return Ok(());
        }
        scanner.raw()?;
        Err(Stop::Unwanted)
    }
}
