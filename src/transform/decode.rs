//! A page, bytes to columns: the envelope around the list of requisitions, and what becomes of each of them.
//!
//! A page is parsed once, straight into the column buffers, as long as everything fits. When anything does not, it is
//! parsed again requisition by requisition, so that only the broken ones go to quarantine, each with its exact source
//! text.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use super::context::PageContext;
use super::page::{Page, PageError, Slot};
use super::plan::Plan;
use super::quarantine::{Quarantined, RecordPlace};
use super::record::{RecordFailure, RecordReader, Scratch};
use super::scalar::{is_escaped, unescape};
use super::scan::{Scanner, Stop};
use super::value::{self, SchemaViolation};
use crate::edition::Edition;
use crate::error::Result;
use crate::id::RunId;
use crate::requisition::{Identity, RowKey};
use crate::success;
use crate::time::{BeijingTime, Window};

/// A page of 100 requisitions takes some 250 kB. Below this bound no column can outgrow what its offsets count.
const MAX_PAGE_BYTES: usize = 128 << 20;

/// Buffers that one page out of the ordinary has blown up are let go.
const LARGEST_SCRATCH_BYTES: usize = 2 << 20;

/// Decodes the pages of one account in one run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PageDecoder {
    plan: Arc<Plan>,
    run: RunId,
    /// The buffers of the last page, for the next.
    scratch: Arc<Mutex<Option<Scratch>>>,
}

impl PageDecoder {
    /// A decoder of what `edition` answers.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate
    /// rules out.
    pub fn new(edition: Edition, run: RunId) -> Result<Self> {
        Ok(Self { plan: Arc::new(Plan::new(edition)?), run, scratch: Arc::default() })
    }

    /// How many seconds behind a window are asked for as well: 1 where the interval is not documented as closed.
    pub fn extra_seconds(&self) -> i64 {
        i64::from(self.plan.edition == Edition::Flagship)
    }

    /// Decodes one answer.
    ///
    /// A requisition that does not fit is quarantined whole. A row outside the window does not fit either; only of
    /// flagship, which is asked for one second more than the window because its interval is not documented as
    /// closed, rows in that second are skipped.
    ///
    /// # Errors
    /// `PageError` when the response is not a page: not UTF-8, not JSON, broken off, not a success, or without its list
    /// where one must be. An answer without rows proves something, so it must be one of the method (see
    /// `check_nothing`): the list may be missing only with a total that has no row for this page, and on a page
    /// behind the first in a success that says nothing at all.
    pub fn decode(&self, body: &[u8], context: &PageContext) -> std::result::Result<Page, PageError> {
        if body.len() > MAX_PAGE_BYTES {
            return Err(PageError::new(format!("the response of {} bytes is too large for a page", body.len())));
        }
        let text = simdutf8::basic::from_utf8(body).map_err(|_| PageError {
            offset: std::str::from_utf8(body).err().map(|error| error.valid_up_to()),
            ..PageError::new("the response is not UTF-8")
        })?;
        // Each PHP file of a server may have added a byte order mark, or a line break behind its last mark.
        let is_around = |letter: char| letter == '\u{feff}' || letter.is_ascii_whitespace();
        let before = text.len() - text.trim_start_matches(is_around).len();
        let text = text.trim_matches(is_around);
        let answer = match self.parse(text, context, Pass::Whole) {
            Ok(answer) => answer,
            Err(_) => self
                .parse(text, context, Pass::OneByOne)
                .map_err(|error| PageError { offset: error.offset.map(|offset| offset + before), ..error })?,
        };
        let (page, scratch) = answer.into_page()?;
        if let Ok(mut kept) = self.scratch.lock() {
            *kept = Some(scratch).filter(|scratch| scratch.bytes() <= LARGEST_SCRATCH_BYTES);
        }
        Ok(page)
    }

    /// The page that stands for a response that cannot be read, which has `size` bytes, and `why`: one invalid record.
    /// `body` may be empty where the response was too large to be kept.
    pub fn unreadable_page(&self, context: &PageContext, body: &[u8], size: u64, why: &str) -> Page {
        Page::unreadable(self.plan.edition, self.run, context, body, size, why)
    }

    fn scratch(&self) -> Scratch {
        let kept = self.scratch.lock().ok().and_then(|mut kept| kept.take());
        kept.unwrap_or_else(|| Scratch::new(&self.plan))
    }

    fn parse<'a>(&'a self, text: &'a str, context: &PageContext, pass: Pass) -> Result<Answer<'a>, PageError> {
        let mut answer = Answer {
            plan: &self.plan,
            pass,
            reader: RecordReader::new(&self.plan, self.scratch()),
            place: RecordPlace {
                window: context.window,
                page_no: context.page_no,
                page_size: context.page_size,
                received_at_micros: context.received_at_micros,
                run: self.run,
            },
            rows: Vec::new(),
            slots: Vec::new(),
            detail_offsets: vec![0],
            unreadable_times: Vec::new(),
            quarantined: Vec::new(),
            total: None,
            is_success: false,
            listed: false,
            beside: Beside::default(),
            refusal: None,
        };
        let mut scanner = Scanner::new(text);
        let parsed = answer.read_object(&mut scanner, "").and_then(|()| scanner.end());
        match (parsed, answer.refusal.take()) {
            (_, Some(refusal)) => Err(refusal),
            (Ok(()), None) => Ok(answer),
            (Err(stop), None) => Err(unreadable(text, stop)),
        }
    }
}

/// How a page is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// In one go; the first violation ends it.
    Whole,
    /// Each requisition for itself; invalid are quarantined.
    OneByOne,
}

/// What the scanner says, without any text of the answer.
fn unreadable(text: &str, stop: Stop) -> PageError {
    match stop {
        Stop::Unwanted => PageError::new("the response is JSON, but not an object with a list of requisitions"),
        Stop::BrokenOff => PageError { offset: Some(text.len()), ..PageError::new("the response is broken off") },
        Stop::Malformed(why, offset) => {
            PageError { offset: Some(offset), ..PageError::new(format!("the response is not JSON ({why})")) }
        }
    }
}

/// An answer while it is read.
struct Answer<'a> {
    plan: &'a Plan,
    pass: Pass,
    reader: RecordReader<'a, 'a>,
    place: RecordPlace,
    rows: Vec<RowKey>,
    slots: Vec<Slot>,
    detail_offsets: Vec<usize>,
    unreadable_times: Vec<(usize, u32)>,
    quarantined: Vec<Quarantined>,
    total: Option<u64>,
    /// Whether a code says so.
    is_success: bool,
    listed: bool,
    beside: Beside,
    /// Why the envelope is not that of a page.
    refusal: Option<PageError>,
}

impl<'a> Answer<'a> {
    fn refuse(&mut self, what: impl Into<String>) -> Stop {
        self.refusal = Some(PageError::new(what));
        Stop::Unwanted
    }

    /// Takes the requisition that was just read, or puts it back where it does not belong.
    fn accept(&mut self, mark: super::record::Mark) -> std::result::Result<(), RecordFailure> {
        let modified = self.reader.modified_micros().and_then(|micros| BeijingTime::from_unix(micros / 1_000_000));
        let (Some(number), Some(modified)) = (self.reader.number(), modified) else {
            return Err(RecordFailure { violation: SchemaViolation::Missing, field: None, detail_index: None });
        };
        let slot = match Belongs::of(self.plan.edition, self.place.window, modified) {
            Belongs::Here => Slot::Landed(self.reader.headers.rows - 1),
            Belongs::ToTheNext => Slot::Skipped,
            Belongs::Nowhere => {
                let field = Some("modified".to_owned());
                return Err(RecordFailure { violation: SchemaViolation::OutsideWindow, field, detail_index: None });
            }
        };
        let identity = Identity::Version { number: number.into(), modified, apply_id: self.reader.apply_id() };
        self.rows.push(RowKey { identity, modified: Some(modified) });
        self.slots.push(slot);
        if slot == Slot::Skipped {
            self.reader.roll_back(mark);
        } else {
            self.detail_offsets.push(self.reader.details.rows);
            let unreadable_times = self.reader.unreadable_times();
            if unreadable_times > 0 {
                self.unreadable_times.push((self.reader.headers.rows - 1, unreadable_times));
            }
        }
        Ok(())
    }

    /// Reads one requisition by itself, into the columns or into quarantine.
    fn read_one(&mut self, raw: &'a str) {
        let mark = self.reader.mark();
        let read = self.reader.requisition(&mut Scanner::new(raw));
        let outcome = read.map_err(|_| self.reader.take_failure()).and_then(|()| self.accept(mark));
        if let Err(failure) = outcome {
            self.reader.roll_back(mark);
            let record = Quarantined::new(self.plan, failure, raw, self.place);
            self.rows.push(record.key());
            // Sound or broken, a row of the next window is the next window's to judge.
            let belongs = record.modified.map(|modified| Belongs::of(self.plan.edition, self.place.window, modified));
            if belongs == Some(Belongs::ToTheNext) {
                self.slots.push(Slot::Skipped);
            } else {
                self.slots.push(Slot::Quarantined(self.quarantined.len()));
                self.quarantined.push(record);
            }
        }
    }

    fn set_total(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        let mut scratch = String::new();
        let total = match scanner.scalar()?.text(&mut scratch) {
            Ok(None | Some("")) => return Ok(()),
            Ok(Some(text)) => value::integer(text.trim()),
            Err(violation) => Err(violation),
        };
        match total.map(u64::try_from) {
            Ok(Ok(total)) if self.total.is_some_and(|before| before != total) => {
                Err(self.refuse("the response gives two different totals"))
            }
            Ok(Ok(total)) => {
                self.total = Some(total);
                Ok(())
            }
            // A server that did not count may say -1. What is no number is no total either, and no fault of the
            // records.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    fn check_code(&mut self, name: &str, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        let mut scratch = String::new();
        match scanner.scalar()?.text(&mut scratch) {
            Ok(None | Some("")) => Ok(()),
            Ok(Some(text)) => match value::integer(text) {
                Ok(0) => {
                    self.is_success = true;
                    Ok(())
                }
                Ok(code) => Err(self.refuse(format!("the response is not a success ({name} {code})"))),
                Err(_) => Err(self.refuse(format!("the response's {name} is not a number"))),
            },
            Err(_) => Err(self.refuse(format!("the response's {name} is not a number"))),
        }
    }

    /// Reads the object around the list, or the one at `inside` of it.
    fn read_object(&mut self, scanner: &mut Scanner<'a>, inside: &str) -> Result<(), Stop> {
        if !scanner.enter(b'{')? {
            // An inner object may be `[]` or null when the server has nothing to put there; the outer one may not.
            let raw = scanner.raw()?;
            let is_empty = |list: &str| {
                list.strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'))
                    .is_some_and(|rest| rest.trim().is_empty())
            };
            self.beside.is_empty_object |= is_empty(raw);
            let is_nothing = !inside.is_empty() && (raw == "null" || is_empty(raw));
            return if is_nothing { Ok(()) } else { Err(Stop::Unwanted) };
        }
        // Each edition has a field of the other's name that says nothing of success.
        let code = if self.plan.edition == Edition::Flagship { "status" } else { "code" };
        let mut fresh = true;
        while let Some(key) = scanner.key(&mut fresh)? {
            let mut unescaped = String::new();
            let name = match unescape(key, &mut unescaped) {
                Ok(()) if is_escaped(key) => unescaped.as_str(),
                _ => key,
            };
            let name = name.trim_matches('"');
            let here = |path: &String| match path.rsplit_once('.') {
                Some((parent, last)) => parent == inside && last == name,
                None => inside.is_empty() && path == name,
            };
            let around = |path: &String| path.split_once('.').is_some_and(|(parent, _)| parent == name);
            if self.plan.lists.iter().any(here) {
                if self.listed {
                    return Err(self.refuse(format!("the response has {name} twice")));
                }
                self.read_list(scanner)?;
            } else if name == "total_count" {
                self.set_total(scanner)?;
            } else if inside.is_empty() && name == code {
                self.check_code(name, scanner)?;
            } else if inside.is_empty() && self.plan.lists.iter().any(around) {
                self.read_object(scanner, name)?;
            } else {
                self.beside.note(name, scanner.raw()?);
            }
        }
        self.beside.is_empty_object |= fresh && !inside.is_empty();
        Ok(())
    }

    /// Reads the list of requisitions. Null and `""` are no list.
    fn read_list(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        let Some(mut list) = scanner.enter_list()? else {
            return match scanner.raw()? {
                "null" | "\"\"" => Ok(()),
                raw if raw.starts_with('"') => Err(self.refuse("the response's list of requisitions is not a list")),
                _ => Err(Stop::Unwanted),
            };
        };
        self.listed = true;
        while scanner.next_of(&mut list)? {
            match self.pass {
                Pass::Whole => {
                    let mark = self.reader.mark();
                    self.reader.requisition(scanner)?;
                    self.accept(mark).map_err(|_| Stop::Unwanted)?;
                }
                Pass::OneByOne => self.read_one(scanner.raw()?),
            }
        }
        Ok(())
    }

    /// Why an answer without rows is no answer of the method, if it is none. Whatever a server says in place of an
    /// answer with the code of a success would prove a window empty.
    ///
    /// Without a total only a list that is there proves that nothing is; of flagship `data` as `[]` or `{}`, PHP's
    /// empty array, is one. Words beside an empty list are the gateway module's to judge.
    fn check_nothing(&self) -> std::result::Result<(), PageError> {
        let Beside { words, says_failure, holds_requisitions, holds_payload, is_empty_object } = &self.beside;
        let error = |what: String, is_refusal| PageError { words: words.clone(), is_refusal, ..PageError::new(what) };
        let lists = self.plan.lists.join(" and no ");
        let no_list = || error(format!("the response has no {lists}"), false);
        let (page_no, page_size) = (u64::from(self.place.page_no), u64::from(self.place.page_size));
        let says_nothing = || success::is_success(words) || success::is_nothing(words);
        // On page 0 a missing list would be all that is known of the window.
        let may_be_missing = || *is_empty_object || (page_no > 0 && page_size > 0 && !holds_payload);
        match self.total {
            _ if *says_failure => Err(error("the response says that it is a failure".to_owned(), true)),
            _ if *holds_requisitions => Err(error(format!("the response has requisitions, but not in {lists}"), false)),
            _ if self.listed => Ok(()),
            Some(total) if total <= page_no * page_size => Ok(()),
            None if self.is_success && may_be_missing() && says_nothing() => Ok(()),
            None if self.is_success && !holds_payload => Err(PageError { is_refusal: true, ..no_list() }),
            _ => Err(no_list()),
        }
    }

    fn into_page(self) -> std::result::Result<(Page, Scratch), PageError> {
        if self.rows.is_empty() {
            self.check_nothing()?;
        }
        let lacks_list = !self.listed && !self.beside.is_empty_object;
        let (headers, details, scratch) = self.reader.into_columns();
        let page = Page {
            edition: self.plan.edition,
            run: self.place.run,
            received_at_micros: self.place.received_at_micros,
            // Only page 0 counts. What else a server writes there, such as a 0 for "not counted", is no total.
            total: self.total.filter(|_| self.place.page_no == 0),
            rows: self.rows,
            slots: self.slots,
            headers,
            details,
            detail_offsets: self.detail_offsets,
            unreadable_times: self.unreadable_times,
            quarantined: self.quarantined,
            is_unreadable: false,
            lacks_list,
            words: self.beside.words,
        };
        Ok((page, scratch))
    }
}

/// What stands beside the list of an answer. It counts only where nothing is listed.
#[derive(Debug, Default)]
struct Beside {
    /// What fields say that are there for words, joined.
    words: String,
    /// Whether a flag says that the response is a failure.
    says_failure: bool,
    /// Whether a field that is not known holds what looks like requisitions.
    holds_requisitions: bool,
    /// Whether one holds so much that requisitions may be in it, in whatever form.
    holds_payload: bool,
    /// Whether the object around the list is an empty one.
    is_empty_object: bool,
}

impl Beside {
    /// A longer text may be anything: JSON, base64.
    const LONGEST_TEXT: usize = 100;
    /// No more of the words is kept.
    const MOST_WORDS: usize = 1_000;

    fn note(&mut self, name: &str, raw: &str) {
        let text: Cow<'_, str> = match serde_json::from_str::<String>(raw) {
            Ok(text) => Cow::Owned(text),
            // Raw control characters within a string are no JSON.
            _ => Cow::Borrowed(raw.trim_matches('"')),
        };
        self.says_failure |= success::is_failure(name, &text);
        // Names, because a page may be JSON within a string; a request that is repeated has not both.
        self.holds_requisitions |= raw.contains("purchase_apply_no") && raw.contains("modified");
        let is_nested = text.trim_start().starts_with(['[', '{']);
        let is_empty = is_nested && text.chars().all(|letter| letter.is_whitespace() || "[]{}".contains(letter));
        if success::is_of_words(name) {
            if !is_empty && !success::is_success(&text) {
                self.add_words(&text);
            }
        } else {
            self.holds_payload |= (is_nested && !is_empty) || text.len() > Self::LONGEST_TEXT;
        }
    }

    fn add_words(&mut self, text: &str) {
        let room = Self::MOST_WORDS.saturating_sub(self.words.len());
        if !self.words.is_empty() {
            self.words.push_str("; ");
        }
        self.words.push_str(&text[..text.floor_char_boundary(room)]);
    }
}

/// Which window a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belongs {
    Here,
    ToTheNext,
    Nowhere,
}

impl Belongs {
    fn of(edition: Edition, window: Option<Window>, modified: BeijingTime) -> Self {
        match window {
            None => Self::Here,
            Some(window) if window.contains(modified) => Self::Here,
            Some(window) if edition == Edition::Flagship && modified == window.end().plus_seconds(1) => Self::ToTheNext,
            Some(_) => Self::Nowhere,
        }
    }
}
