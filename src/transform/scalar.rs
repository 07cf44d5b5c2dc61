//! One JSON scalar as the answer writes it, before it gets a meaning.
//!
//! The scanner hands over the exact source text of a value. Strings are unescaped only when they hold a backslash,
//! straight into the buffer where they belong.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::value::SchemaViolation;

/// A JSON value that should be a scalar, borrowed from the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar<'a> {
    pub(super) kind: ScalarKind,
    pub(super) text: &'a str,
}

/// What the text of a scalar is.
///
/// As wide as a word, so that a scalar has no padding: copied as whole words, a tag that was just written as a byte has
/// to reach memory first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum ScalarKind {
    /// `null`.
    Null,
    /// A string without escapes and without its quotes.
    Text,
    /// A string with escapes in it, as written, without its quotes.
    Escaped,
    /// A number, `true` or `false`, as written.
    Bare,
    /// An object or a list, as written, where a scalar belongs.
    Nested,
}

impl<'a> Scalar<'a> {
    /// The scalar as text with its escapes resolved, borrowed unless there are any; `None` for null.
    ///
    /// # Errors
    /// [`SchemaViolation::LoneSurrogate`] and [`SchemaViolation::NotAScalar`].
    pub(super) fn text(self, scratch: &'a mut String) -> Result<Option<&'a str>, SchemaViolation> {
        match self.kind {
            ScalarKind::Null => Ok(None),
            ScalarKind::Bare | ScalarKind::Text => Ok(Some(self.text)),
            ScalarKind::Escaped => {
                scratch.clear();
                unescape(self.text, scratch)?;
                Ok(Some(scratch))
            }
            ScalarKind::Nested => Err(SchemaViolation::NotAScalar),
        }
    }
}

/// Whether a string's inner text holds an escape.
pub(super) fn is_escaped(text: &str) -> bool {
    text.as_bytes().contains(&b'\\')
}

/// A JSON text with the raw control characters within its strings escaped, so that every reader takes it; the same text
/// when there are none.
pub(super) fn escape_controls(raw: &str) -> Cow<'_, str> {
    // All of it is looked at, so that the compiler compares many at once.
    if !raw.as_bytes().iter().fold(false, |any, byte| any | (*byte < 0x20)) {
        return Cow::Borrowed(raw);
    }
    let mut escaped = String::with_capacity(raw.len() + 8);
    let (mut is_string, mut is_escape) = (false, false);
    for letter in raw.chars() {
        match letter {
            '\u{8}' if is_string => escaped.push_str("\\b"),
            '\t' if is_string => escaped.push_str("\\t"),
            '\n' if is_string => escaped.push_str("\\n"),
            '\u{c}' if is_string => escaped.push_str("\\f"),
            '\r' if is_string => escaped.push_str("\\r"),
            '\0'..' ' if is_string => {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
            }
            _ => escaped.push(letter),
        }
        is_string ^= letter == '"' && !is_escape;
        is_escape = is_string && letter == '\\' && !is_escape;
    }
    Cow::Owned(escaped)
}

/// Appends the inner text of a JSON string with its escapes resolved. The parser has already checked their form.
///
/// # Errors
/// [`SchemaViolation::LoneSurrogate`] when a `\u` escape is half of a pair; `out` then holds the part before it.
pub(super) fn unescape(text: &str, out: &mut String) -> Result<(), SchemaViolation> {
    let mut rest = text;
    loop {
        // Escapes of Chinese text follow each other without plain text between them.
        let at = match rest.as_bytes() {
            [b'\\', ..] => 0,
            bytes => match bytes.iter().position(|byte| *byte == b'\\') {
                Some(at) => at,
                None => break,
            },
        };
        out.push_str(&rest[..at]);
        let escape = &rest.as_bytes()[at + 1..];
        let (letter, length) = match escape.first() {
            Some(b'u') => {
                let (letter, length) = unicode_escape(&escape[1..])?;
                (letter, length + 1)
            }
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            // Only `"`, `\` and `/` are left in JSON that was parsed.
            Some(byte) => (char::from(*byte), 1),
            None => break,
        };
        out.push(letter);
        rest = &rest[at + 1 + length..];
    }
    out.push_str(rest);
    Ok(())
}

/// The letter of the four hexadecimal digits after `\u`, of a whole surrogate pair where they start one, and the bytes
/// it took.
fn unicode_escape(digits: &[u8]) -> Result<(char, usize), SchemaViolation> {
    let first = hex4(digits)?;
    if let Some(letter) = char::from_u32(first) {
        return Ok((letter, 4));
    }
    if !(0xD800..0xDC00).contains(&first) || digits.get(4..6) != Some(b"\\u") {
        return Err(SchemaViolation::LoneSurrogate);
    }
    let second = hex4(&digits[6..])?;
    if !(0xDC00..0xE000).contains(&second) {
        return Err(SchemaViolation::LoneSurrogate);
    }
    let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    char::from_u32(code).map(|letter| (letter, 10)).ok_or(SchemaViolation::LoneSurrogate)
}

/// The value of each hexadecimal digit, and a value above 15 for every other byte.
const HEX: [u8; 256] = {
    let mut table = [0xFF; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

fn hex4(digits: &[u8]) -> Result<u32, SchemaViolation> {
    let [first, second, third, fourth, ..] = digits else { return Err(SchemaViolation::LoneSurrogate) };
    let value = |digit: &u8| u32::from(HEX[usize::from(*digit)]);
    let [first, second, third, fourth] = [value(first), value(second), value(third), value(fourth)];
    if first | second | third | fourth > 15 {
        return Err(SchemaViolation::LoneSurrogate);
    }
    Ok(first << 12 | second << 8 | third << 4 | fourth)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unescaped(text: &str) -> Result<String, SchemaViolation> {
        let mut out = String::new();
        unescape(text, &mut out).map(|()| out)
    }

    #[test]
    fn every_escape_is_resolved() {
        assert_eq!(unescaped(r#"a\"b\\c\/d\b\f\n\r\te"#).expect("text"), "a\"b\\c/d\u{8}\u{c}\n\r\te");
        assert_eq!(unescaped(r"\u9ed8\u8BA4 \ud83d\ude00\u0000").expect("text"), "默认 😀\0");
    }

    #[test]
    fn half_a_surrogate_pair_is_not_text() {
        for text in [r"\ud83d", r"\ude00", r"\ud83d\n", r"\ud83dx\ude00", r"\ud83d\ud83d", r"\ud83d\u0041"] {
            assert_eq!(unescaped(text), Err(SchemaViolation::LoneSurrogate), "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped_within_strings_only() {
        assert!(matches!(escape_controls("{\"a\": [1, \"\u{7f}\u{80}\"]}"), Cow::Borrowed(_)));
        assert_eq!(
            escape_controls("{\n\"a\tb\":\t\"\\\"\u{1}\u{1f}\\\\\"\r\n}"),
            "{\n\"a\\tb\":\t\"\\\"\\u0001\\u001f\\\\\"\r\n}"
        );
        assert_eq!(escape_controls("\"\0\u{8}\t\n\u{b}\u{c}\r\""), r#""\u0000\b\t\n\u000b\f\r""#);
    }

    proptest! {
        #[test]
        fn escaped_control_characters_mean_what_they_were(text in "[\0-\u{20}\"\\\\a好]{0,12}", blank in "[ \n\t\r]{0,3}") {
            let inner = text.replace('\\', "\\\\").replace('"', "\\\"");
            let raw = format!("{blank}[{blank}\"{inner}\"{blank}]");
            let read: Vec<String> = serde_json::from_str(&escape_controls(&raw)).expect("JSON");
            prop_assert_eq!(read, [text]);
        }

        #[test]
        fn any_text_survives_escaping_as_php_does(text in any::<String>()) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(unescaped(&escaped).expect("text"), text);
        }
    }
}
