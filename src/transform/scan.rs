//! A pull scanner over the text of an answer: keys, values and the marks between them, each byte looked at once.
//!
//! It accepts what JSON is (RFC 8259; any nesting, any number, a lone surrogate escape is a form that JSON allows), and
//! raw control characters within strings, which some servers do not escape. It hands out slices of the text: no tree,
//! no string, no copy. Its reader asks for what it expects next. A string is searched sixteen bytes at a time for
//! what can end it; a key is first compared with the one that came at this place in the object before.
//!
//! The text is a `&str`, so UTF-8 was checked before, once and for the whole answer.

use super::scalar::{Scalar, ScalarKind};

/// Why scanning ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text ends within a value.
    BrokenOff,
    /// It is not JSON: what is wrong, and at which byte.
    Malformed(&'static str, usize),
    /// It is JSON so far, but not what its reader takes. The reader knows why.
    Unwanted,
}

/// A key that is expected, quotes and colon included, laid out to be compared eight bytes at a time.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Each word of the text that counts, and which of its bits do.
    words: [(u64, u64); Self::WORDS],
    /// 0 for a key that is too long, which is never found this way.
    length: usize,
}

impl Pattern {
    const WORDS: usize = 3;

    /// The pattern of a key in quotes.
    pub(super) fn new(key: &str) -> Self {
        let source = format!("{key}:");
        let bytes = source.as_bytes();
        let word = |place: usize| {
            let byte = |at: usize| bytes.get(place * 8 + at).map_or(0, |byte| u64::from(*byte) << (8 * at));
            let mask = |at: usize| bytes.get(place * 8 + at).map_or(0, |_| 0xFF << (8 * at));
            ((0..8).map(byte).sum(), (0..8).map(mask).sum())
        };
        let length = if bytes.len() <= Self::WORDS * 8 { bytes.len() } else { 0 };
        Self { words: [word(0), word(1), word(2)], length }
    }

    #[inline]
    fn is_at(&self, bytes: &[u8]) -> bool {
        let Some(text) = bytes.first_chunk::<{ Self::WORDS * 8 }>() else { return false };
        let (text, _) = text.as_chunks::<8>();
        let differs = |(text, (word, mask)): (&[u8; 8], &(u64, u64))| (u64::from_le_bytes(*text) & mask) ^ word;
        self.length > 0 && text.iter().zip(&self.words).map(differs).fold(0, |any, bits| any | bits) == 0
    }
}

/// A list that was entered, in either of the forms in which PHP writes one: `[...]`, or an object with the keys `"0"`,
/// `"1"` and so on, which ascend and may leave places out; `{}` is the empty one.
#[derive(Debug)]
pub(super) struct List {
    fresh: bool,
    /// The least key that may come next; `None` for `[...]`.
    next_key: Option<u64>,
}

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Scanner<'de> {
    text: &'de str,
    at: usize,
    /// The closing marks of what [`Scanner::raw`] is in.
    nesting: Vec<u8>,
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, at: 0, nesting: Vec::new() }
    }

    /// The next byte that is not blank; it stays.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<u8, Stop> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Stop::BrokenOff),
            }
        }
    }

    /// Nothing but blanks may be left.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(Stop::Malformed("trailing characters", self.at)),
        }
    }

    /// Enters an object (`{`) or a list (`[`); `false`, and nothing is read, when something else stands there.
    #[inline]
    pub(super) fn enter(&mut self, bracket: u8) -> Result<bool, Stop> {
        let enters = self.peek()? == bracket;
        self.at += usize::from(enters);
        Ok(enters)
    }

    /// Skips the next key of the object that was entered, comma and colon too, if it is `pattern` without any blanks;
    /// else nothing is read.
    #[inline]
    pub(super) fn skip_key(&mut self, fresh: &mut bool, pattern: &Pattern) -> bool {
        let bytes = self.text.as_bytes();
        let begin = self.at + usize::from(!*fresh);
        let is_next =
            (*fresh || bytes.get(self.at) == Some(&b',')) && bytes.get(begin..).is_some_and(|rest| pattern.is_at(rest));
        if is_next {
            self.at = begin + pattern.length;
            *fresh = false;
        }
        is_next
    }

    /// The next key of the object that was entered, with its quotes, its colon read too; `None` behind the last member.
    /// `fresh` is true before the first.
    pub(super) fn key(&mut self, fresh: &mut bool) -> Result<Option<&'de str>, Stop> {
        if !self.next(fresh, b'}')? {
            return Ok(None);
        }
        let begin = self.at;
        self.quoted_key()?;
        let key = self.since(begin);
        self.colon()?;
        Ok(Some(key))
    }

    /// Whether the list that was entered has another element, which then comes next. `fresh` is true before the first.
    #[inline]
    pub(super) fn element(&mut self, fresh: &mut bool) -> Result<bool, Stop> {
        self.next(fresh, b']')
    }

    /// Enters a list; `None`, and nothing is read, when something else stands there.
    #[inline]
    pub(super) fn enter_list(&mut self) -> Result<Option<List>, Stop> {
        let next_key = match self.peek()? {
            b'[' => None,
            b'{' => Some(0),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(List { fresh: true, next_key }))
    }

    /// Whether `list` has another element, which then comes next.
    ///
    /// # Errors
    /// [`Stop::Unwanted`] when it is an object of another kind.
    #[inline]
    pub(super) fn next_of(&mut self, list: &mut List) -> Result<bool, Stop> {
        match list.next_key {
            None => self.element(&mut list.fresh),
            Some(least) => {
                let Some(key) = self.key(&mut list.fresh)? else { return Ok(false) };
                let place = list_place(key).filter(|place| *place >= least).ok_or(Stop::Unwanted)?;
                list.next_key = Some(place.checked_add(1).ok_or(Stop::Unwanted)?);
                Ok(true)
            }
        }
    }

    /// The string that was just read, of which `text` is the inner text, with its quotes.
    pub(super) fn quoted(&self, text: &str) -> &'de str {
        let begin = self.at.saturating_sub(text.len() + 2);
        self.text.get(begin..self.at).unwrap_or_default()
    }

    /// The next value if it is a string without escapes, as nearly all are, right here; else nothing is read.
    #[inline(always)]
    pub(super) fn plain_text(&mut self) -> Option<&'de str> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let begin = self.at + 1;
        let end = next_special(bytes, begin);
        let text = if bytes.get(end) == Some(&b'"') { self.text.get(begin..end) } else { None };
        if text.is_some() {
            self.at = end + 1;
        }
        text
    }

    /// Reads a value that should be a scalar.
    pub(super) fn scalar(&mut self) -> Result<Scalar<'de>, Stop> {
        match self.peek()? {
            b'"' => match self.plain_text() {
                Some(text) => Ok(Scalar { kind: ScalarKind::Text, text }),
                None => self.special_string(),
            },
            b'{' | b'[' => self.raw().map(|text| Scalar { kind: ScalarKind::Nested, text }),
            _ => self.bare(),
        }
    }

    /// Reads any value and returns it as written.
    pub(super) fn raw(&mut self) -> Result<&'de str, Stop> {
        let mut next = self.peek()?;
        let begin = self.at;
        self.nesting.clear();
        loop {
            // A value begins here; behind the match one has ended.
            match next {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    let close = next + 2;
                    self.at += 1;
                    next = self.peek()?;
                    if next == close {
                        self.at += 1;
                    } else {
                        self.nesting.push(close);
                        next = self.member(close, next)?;
                        continue;
                    }
                }
                _ => {
                    self.bare()?;
                }
            }
            loop {
                let Some(close) = self.nesting.last().copied() else { return Ok(self.since(begin)) };
                let mark = self.peek()?;
                if mark == close {
                    self.at += 1;
                    self.nesting.pop();
                } else if mark == b',' {
                    self.at += 1;
                    next = self.peek()?;
                    next = self.member(close, next)?;
                    break;
                } else {
                    return Err(self.no_mark(close));
                }
            }
        }
    }

    /// Reads the key and colon before a value in an object; the first byte of the value comes back.
    fn member(&mut self, close: u8, next: u8) -> Result<u8, Stop> {
        if close != b'}' {
            return Ok(next);
        }
        self.quoted_key()?;
        self.colon()?;
        self.peek()
    }

    /// Moves behind the comma to the next member or element; `false` behind the closing mark.
    #[inline]
    fn next(&mut self, fresh: &mut bool, close: u8) -> Result<bool, Stop> {
        let mark = self.peek()?;
        if mark == close {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(fresh) {
            if mark != b',' {
                return Err(self.no_mark(close));
            }
            self.at += 1;
            self.peek()?;
        }
        Ok(true)
    }

    #[inline]
    fn quoted_key(&mut self) -> Result<(), Stop> {
        if self.text.as_bytes().get(self.at) != Some(&b'"') {
            return Err(Stop::Malformed("key must be a string", self.at));
        }
        self.skip_string()
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Stop> {
        if self.peek()? != b':' {
            return Err(Stop::Malformed("expected `:`", self.at));
        }
        self.at += 1;
        Ok(())
    }

    #[cold]
    fn no_mark(&self, close: u8) -> Stop {
        Stop::Malformed(if close == b'}' { "expected `,` or `}`" } else { "expected `,` or `]`" }, self.at)
    }

    /// Reads over a string, whose opening quote comes next.
    fn skip_string(&mut self) -> Result<(), Stop> {
        match self.plain_text() {
            Some(_) => Ok(()),
            None => self.special_string().map(drop),
        }
    }

    /// Reads a string with escapes in it, whose opening quote comes next.
    #[inline(never)]
    fn special_string(&mut self) -> Result<Scalar<'de>, Stop> {
        let bytes = self.text.as_bytes();
        let begin = self.at + 1;
        let mut at = next_special(bytes, begin);
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Scalar {
                        kind: ScalarKind::Escaped,
                        text: self.text.get(begin..at).unwrap_or_default(),
                    });
                }
                Some(b'\\') => at += escape_length(bytes, at)?,
                _ => return Err(Stop::BrokenOff),
            }
            // Escapes of Chinese text follow each other.
            if bytes.get(at) != Some(&b'\\') {
                at = next_special(bytes, at);
            }
        }
    }

    /// Reads a number, `true`, `false` or `null`.
    #[inline(never)]
    fn bare(&mut self) -> Result<Scalar<'de>, Stop> {
        let begin = self.at;
        let kind = match self.text.as_bytes().get(begin) {
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                ScalarKind::Bare
            }
            Some(b't') => {
                self.word("true")?;
                ScalarKind::Bare
            }
            Some(b'f') => {
                self.word("false")?;
                ScalarKind::Bare
            }
            Some(b'n') => {
                self.word("null")?;
                ScalarKind::Null
            }
            _ => return Err(Stop::Malformed("expected value", begin)),
        };
        Ok(Scalar { kind, text: self.since(begin) })
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(if word.as_bytes().starts_with(rest) {
            Stop::BrokenOff
        } else {
            Stop::Malformed("expected value", self.at)
        })
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<(), Stop> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied();
        self.at += usize::from(byte(self.at) == Some(b'-'));
        if byte(self.at) == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if byte(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(byte(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(byte(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Stop> {
        let bytes = self.text.as_bytes();
        let begin = self.at;
        while bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match bytes.get(self.at) {
            _ if self.at > begin => Ok(()),
            Some(_) => Err(Stop::Malformed("invalid number", self.at)),
            None => Err(Stop::BrokenOff),
        }
    }

    /// The text from `begin` to here. Both stand beside ASCII marks, so it always is text.
    #[inline]
    fn since(&self, begin: usize) -> &'de str {
        self.text.get(begin..self.at).unwrap_or_default()
    }
}

/// The bytes of the escape that starts at `at`.
fn escape_length(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(6),
            Some(_) => Err(Stop::Malformed("invalid escape", at)),
            None => Err(Stop::BrokenOff),
        },
        Some(_) => Err(Stop::Malformed("invalid escape", at)),
        None => Err(Stop::BrokenOff),
    }
}

/// The place that a key in quotes gives an element of a list: digits, and no zero before others.
fn list_place(key: &str) -> Option<u64> {
    let digits = key.trim_matches('"');
    let is_canonical = digits == "0" || !digits.starts_with('0');
    (is_canonical && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Where the first quote or backslash at or after `at` stands, else the end.
#[inline(always)]
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(sixteen) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        // Written so that the compiler compares all sixteen at once.
        let special = sixteen.map(|byte| if is_special(byte) { 0xFF } else { 0 });
        let found = u128::from_le_bytes(special);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 16;
    }
    while bytes.get(at).is_some_and(|byte| !is_special(*byte)) {
        at += 1;
    }
    at
}

/// Whether a byte ends a string or begins an escape.
#[inline(always)]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests;
