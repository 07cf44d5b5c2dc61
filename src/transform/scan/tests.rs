//! The scanner against serde_json: the same texts are JSON, and every value is the same.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

/// The text with the control characters escaped that stand behind an odd number of quotes: what the scanner is more
/// lenient in than JSON.
fn strict(text: &str) -> String {
    let mut letters = text.chars();
    let (mut strict, mut quotes) = (String::new(), 0);
    while let Some(letter) = letters.next() {
        if quotes % 2 == 0 {
            strict.push(letter);
        } else if letter == '\\' {
            strict.push(letter);
            strict.extend(letters.next());
        } else if letter.is_ascii_control() && letter != '\u{7f}' {
            strict += &format!("\\u{:04X}", u32::from(letter));
        } else {
            strict.push(letter);
        }
        quotes += u32::from(letter == '"');
    }
    strict
}

/// What serde_json says, which skips values without giving numbers or surrogates a meaning, as the scanner does.
fn serde_accepts(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(&strict(text)).is_ok()
}

fn skipped(text: &str) -> Result<&str, Stop> {
    let mut scanner = Scanner::new(text);
    let raw = scanner.raw()?;
    scanner.end().map(|()| raw)
}

/// The value, read through keys, elements and scalars; `None` where serde_json's tree has no place for it.
fn tree(scanner: &mut Scanner<'_>) -> Result<Option<Value>, Stop> {
    let mut fresh = true;
    let mut whole = true;
    if scanner.enter(b'{')? {
        let mut members = serde_json::Map::new();
        // Every other key is expected wrongly, and every other rightly where the object repeats itself.
        let mut expected: Option<(String, Pattern)> = None;
        loop {
            let guessed = expected.as_ref().filter(|(_, pattern)| scanner.skip_key(&mut fresh, pattern));
            let key = match guessed {
                Some((key, _)) => key.clone(),
                None => match scanner.key(&mut fresh)? {
                    Some(key) => key.to_owned(),
                    None => break,
                },
            };
            let name = serde_json::from_str::<String>(&strict(&key)).ok();
            expected = Some((key.clone(), Pattern::new(&key)));
            match (name, tree(scanner)?) {
                (Some(name), Some(value)) => drop(members.insert(name, value)),
                _ => whole = false,
            }
        }
        return Ok(whole.then_some(Value::Object(members)));
    }
    if scanner.enter(b'[')? {
        let mut elements = Vec::new();
        while scanner.element(&mut fresh)? {
            match tree(scanner)? {
                Some(value) => elements.push(value),
                None => whole = false,
            }
        }
        return Ok(whole.then_some(Value::Array(elements)));
    }
    let mut scratch = String::new();
    let scalar = scanner.scalar()?;
    Ok(match scalar.kind {
        ScalarKind::Null => Some(Value::Null),
        ScalarKind::Bare => serde_json::from_str(scalar.text).ok(),
        ScalarKind::Text | ScalarKind::Escaped => scalar.text(&mut scratch).ok().flatten().map(Value::from),
        ScalarKind::Nested => panic!("a list or object was entered"),
    })
}

fn agree(text: &str) {
    let accepted = serde_accepts(text);
    let raw = skipped(text);
    assert_eq!(raw.is_ok(), accepted, "{text:?}: {raw:?}");
    let mut scanner = Scanner::new(text);
    let read = tree(&mut scanner).and_then(|value| scanner.end().map(|()| value));
    assert_eq!(read.is_ok(), accepted, "{text:?}: {read:?}");
    if let (Ok(raw), Ok(value)) = (raw, read) {
        assert_eq!(raw, text.trim_matches([' ', '\n', '\t', '\r']), "the text comes back as written");
        if let (Some(value), Ok(wanted)) = (value, serde_json::from_str::<Value>(&strict(text))) {
            assert_eq!(value, wanted, "{text:?}");
        }
    }
}

#[test]
fn what_is_json_and_what_is_not() {
    for text in [
        "",
        " ",
        "0",
        "-0",
        "-",
        "01",
        "1.",
        "1.5",
        ".5",
        "1e",
        "1e+",
        "1E-7",
        "1e999",
        "-1.0e+0",
        "0x1",
        "+1",
        "NaN",
        "true",
        "tru",
        "trux",
        "false",
        "fals",
        "null",
        "nul",
        "nulll",
        "True",
        "[]",
        "[ ]",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,]",
        "[1 2]",
        "[1,2]",
        "{}",
        "{ }",
        "{",
        "}",
        "{]",
        "[}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1,"b":[{}]}"#,
        r#"{a:1}"#,
        r#"{1:1}"#,
        r#"{,}"#,
        r#""""#,
        r#"""#,
        r#""a"#,
        r#""\"#,
        r#""\""#,
        r#""\\""#,
        r#""\/\b\f\n\r\t""#,
        r#""\a""#,
        r#""\u00e9""#,
        r#""\u00g9""#,
        r#""\u00"#,
        r#""\u12""#,
        r#""\ud83d""#,
        r#""\ud83d\ude00""#,
        r#""\u""#,
        "\"\u{1f}\"",
        "\"a\tb\"",
        "\"\0\n\r\\\"\t\"",
        "\"\\\t\"",
        "\"\\u00\t9\"",
        "{\"a\tb\":\"\u{1}\"}",
        "\"a\n",
        "\u{1}",
        "[1,\u{b}2]",
        "\"\u{7f}\u{80}é\"",
        "1 1",
        "[]]",
        "{}{}",
        "\u{feff}1",
        "1\u{a0}",
        "\u{c}1",
        r#"{"a":1,"a":2}"#,
        r#"["12345678","1234567\""]"#,
    ] {
        agree(text);
    }
    for depth in [1, 127, 128, 129, 5000] {
        let text = format!("{}{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        assert!(skipped(&text).is_err());
        let text = format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        assert_eq!(skipped(&text), Ok(text.as_str()), "nesting has no limit and no stack");
    }
}

#[test]
fn special_bytes_are_found_at_every_place() {
    for special in [b'"', b'\\'] {
        for length in 0..40 {
            for at in 0..length {
                for filler in [0, b'\n', 0x1f, b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![filler; length];
                    bytes[at] = special;
                    assert_eq!(next_special(&bytes, 0), at);
                    bytes.push(b'"');
                    assert_eq!(next_special(&bytes, at + 1), length);
                }
            }
        }
    }
}

#[test]
fn a_list_comes_in_two_forms() {
    let read = |text: &str| {
        let mut scanner = Scanner::new(text);
        let Some(mut list) = scanner.enter_list()? else { return Ok(None) };
        let mut elements = Vec::new();
        while scanner.next_of(&mut list)? {
            elements.push(scanner.raw()?.to_owned());
        }
        scanner.end().map(|()| Some(elements.join(" ")))
    };
    for (text, wanted) in [
        ("[]", ""),
        ("{}", ""),
        ("{ }", ""),
        ("[1, 2]", "1 2"),
        (r#"{"0":1}"#, "1"),
        (r#" { "0" : 1 , "1" : {"0":[]} } "#, r#"1 {"0":[]}"#),
        (r#"{"1":1,"5":2,"18446744073709551614":3}"#, "1 2 3"),
    ] {
        assert_eq!(read(text), Ok(Some(wanted.to_owned())), "{text}");
    }
    for text in [
        r#"{"a":1}"#,
        r#"{"":1}"#,
        r#"{"-1":1}"#,
        r#"{"+1":1}"#,
        r#"{"00":1}"#,
        r#"{"01":1}"#,
        r#"{"0.0":1}"#,
        r#"{"1":1,"0":2}"#,
        r#"{"0":1,"0":1}"#,
        r#"{"0":1,"x":1}"#,
        r#"{"18446744073709551615":1}"#,
        r#"{"99999999999999999999":1}"#,
    ] {
        assert_eq!(read(text), Err(Stop::Unwanted), "{text}");
    }
    for text in ["1", "null", "\"\""] {
        assert_eq!(read(text), Ok(None), "{text}");
    }
    for text in ["{", r#"{"0""#, r#"{"0":1"#, r#"{"0":1,"#, "["] {
        assert_eq!(read(text), Err(Stop::BrokenOff), "{text}");
    }
    assert!(matches!(read(r#"{"0":1 "1":2}"#), Err(Stop::Malformed(..))));
}

/// Texts that are JSON or nearly so.
fn json_like() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        any::<String>().prop_map(|text| {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{units}\"")
        }),
        "[ -~]{0,12}",
        "\"[\0-\u{1f}a]{0,20}\"",
    ];
    let blank = "[ \n\t\r]{0,2}";
    scalar.prop_recursive(4, 32, 5, move |inner| {
        let element = (blank, inner.clone(), blank).prop_map(|(before, value, after)| before + &value + &after);
        let member = (blank, "[a-z\u{4e00}-\u{4e05}]{0,9}", blank, inner)
            .prop_map(|(before, key, after, value)| format!("{before}\"{key}\"{after}:{value}"));
        prop_oneof![
            prop::collection::vec(element, 0..5).prop_map(|elements| format!("[{}]", elements.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A text with some of its letters taken out, doubled or replaced.
fn mutated(text: &str, edits: &[(prop::sample::Index, u8, char)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (place, kind, letter) in edits {
        if letters.is_empty() {
            break;
        }
        let at = place.index(letters.len());
        match kind % 4 {
            0 => drop(letters.remove(at)),
            1 => letters[at] = *letter,
            2 => letters.insert(at, *letter),
            _ => letters.truncate(at),
        }
    }
    letters.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, char)>> {
    let marks = prop::sample::select(
        r#"{}[]":,\/ubtn0123eE+-. "#.chars().chain(['\n', '\u{1}', '你', '😀']).collect::<Vec<_>>(),
    );
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), marks), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_texts_are_judged_and_read_as_serde_does(text in json_like(), edits in edits()) {
        agree(&text);
        agree(&mutated(&text, &edits));
    }

    #[test]
    fn mutated_answers_are_judged_as_serde_does(edits in edits()) {
        agree(&mutated(include_str!("../../../tests/fixtures/enterprise_example.json"), &edits));
    }
}
