//! What JSON texts hold, compared exactly: numbers as they are written, never as floats.

use std::collections::BTreeSet;

use super::scalar::unescape;
use super::scan::Scanner;

/// How deeply objects and lists are compared; what lies deeper must be written the same.
const DEPTH: u8 = 64;

/// Whether two JSON texts hold the same value, in whatever order the members of objects stand, however letters are
/// escaped, and with any whitespace. Numbers are the same when they are written the same. What is no JSON is the same
/// as the same text only.
pub(super) fn is_same_json(one: &str, other: &str) -> bool {
    is_same(one, other, DEPTH)
}

/// The names of an object's members; none for what is no object.
pub(crate) fn names(object: &str) -> BTreeSet<String> {
    members(object).into_iter().flatten().map(|(name, _)| name).collect()
}

fn is_same(one: &str, other: &str, depth: u8) -> bool {
    let (one, other) = (one.trim(), other.trim());
    if one == other {
        return true;
    }
    let Some(deeper) = depth.checked_sub(1) else { return false };
    match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => match (members(one), members(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len()
                    && one.iter().zip(&other).all(|(one, other)| one.0 == other.0 && is_same(one.1, other.1, deeper))
            }
            _ => false,
        },
        (Some(b'['), Some(b'[')) => match (elements(one), elements(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| is_same(one, other, deeper))
            }
            _ => false,
        },
        (Some(b'"'), Some(b'"')) => text(one).is_some_and(|one| text(other).is_some_and(|other| one == other)),
        _ => false,
    }
}

/// The members of an object in the order of their names, those of one name as they stand.
fn members(object: &str) -> Option<Vec<(String, &str)>> {
    let mut scanner = Scanner::new(object);
    let mut fresh = scanner.enter(b'{').ok().filter(|is_object| *is_object)?;
    let mut members = Vec::new();
    while let Some(key) = scanner.key(&mut fresh).ok()? {
        members.push((text(key)?, scanner.raw().ok()?));
    }
    members.sort_by(|one, other| one.0.cmp(&other.0));
    Some(members)
}

fn elements(list: &str) -> Option<Vec<&str>> {
    let mut scanner = Scanner::new(list);
    let mut fresh = scanner.enter(b'[').ok().filter(|is_list| *is_list)?;
    let mut elements = Vec::new();
    while scanner.element(&mut fresh).ok()? {
        elements.push(scanner.raw().ok()?);
    }
    Some(elements)
}

/// A string with its escapes resolved; none for half of a surrogate pair.
fn text(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::new();
    unescape(inner, &mut plain).ok().map(|()| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_blanks_and_escapes_do_not_count() {
        for (one, other) in [
            (r#"{"a":1,"b":[1,{"c":"x","d":null}]}"#, r#"{ "b" : [ 1 , {"d":null,"c":"x"} ], "a":1 }"#),
            (r#"{"单":"\u8d27"}"#, r#"{"\u5355":"货"}"#),
            (r#"{"a":1,"a":2}"#, r#"{"\u0061":1,"a":2}"#),
            (r#"{}"#, r#"{ }"#),
        ] {
            assert!(is_same_json(one, other) && is_same_json(other, one), "{one} {other}");
        }
    }

    #[test]
    fn every_other_difference_counts() {
        for (one, other) in [
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (r#"{"a":0.12345678901234567891}"#, r#"{"a":0.12345678901234567892}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":[]}"#, r#"{"a":{}}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":"x"}"#, r#"{"a":"X"}"#),
            (r#"{"a":true}"#, r#"{"a":false}"#),
            (r#"{"a":"\ud800"}"#, r#"{"a":"\udBFF"}"#),
            ("{", "[}"),
        ] {
            assert!(!is_same_json(one, other) && !is_same_json(other, one), "{one} {other}");
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(is_same_json(&deep("1"), &deep("1")) && !is_same_json(&deep("1"), &deep("2")));
    }
}
