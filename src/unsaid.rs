//! What must not be said: secrets and signatures, struck out of texts that somebody else wrote, in every spelling that
//! they take on their way.
//!
//! A server may repeat an address or a body in its answer: percent-encoded once or twice, in upper or lower hex, with
//! `+` for a blank, escaped as JSON or HTML. So a text is decoded layer by layer, by each of these ways, each layer is
//! searched, and what is found is struck out of the text as it stands. Letters of another case count as the same. A
//! short secret is struck out only where it stands alone: `a` does not make `invalid` unreadable.
//!
//! What is *kept* of an answer is data as well: there a secret that is short, or digits alone, is struck out only
//! behind its name, and everything else stays byte for byte. Signatures of other requests are struck out too.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// Secrets of fewer bytes than this are words of other texts too: they count as whole tokens only.
const SHORTEST_ANYWHERE: usize = 6;
/// How often something is encoded on its way at most: by a form, an address in it, JSON and HTML around it.
const LAYERS: usize = 4;
/// The most of a text that is shown, in bytes.
const SHOWN: usize = 2_000;
/// The most of a text that is looked at, so that a secret across the end of what is shown is found as well.
const SEARCHED: usize = 32 << 10;
/// What is kept is searched in pieces of this length, each of which begins with the end of the one before: so long can
/// a secret be on its way.
const PIECE: usize = 64 << 10;
const OVERLAP: usize = 16 << 10;
/// How the names end under which secrets and signatures are sent.
const NAMES: [&[u8]; 3] = [b"salt", b"secret", b"sign"];
/// What stands between a name and its value, in an address, in JSON and in PHP.
const BETWEEN: &[u8] = b" =:\"'\\>";
/// A signature is so many hexadecimal digits.
const SIGNATURE: usize = 32;

/// Texts that must not be said. It cannot be printed itself.
#[derive(Clone, Default)]
pub(crate) struct Unsaid(Vec<Vec<u8>>);

impl fmt::Debug for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsaid({})", self.0.len())
    }
}

impl<T: AsRef<str>> FromIterator<T> for Unsaid {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut words: Vec<Vec<u8>> = texts
            .into_iter()
            .map(|text| text.as_ref().bytes().map(folded).collect())
            .filter(|word: &Vec<u8>| !word.is_empty())
            .collect();
        words.sort();
        words.dedup();
        Self(words)
    }
}

impl Unsaid {
    /// `text` without what must not be said, on one line, and not without end.
    pub(crate) fn hide(&self, text: &str) -> String {
        let text = &text[..text.floor_char_boundary(SEARCHED)];
        let mut found = Vec::new();
        search_layers(&units(text.as_bytes(), 0), LAYERS, &|layer| self.search(layer), &mut found);
        let told = without(text, found);
        told.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }

    /// A part of an answer as it may be kept. JSON stays JSON.
    pub(crate) fn strike_out<'a>(&self, kept: &'a [u8]) -> Cow<'a, [u8]> {
        let (mut found, mut from) = (Vec::new(), 0);
        loop {
            let end = kept.len().min(from + PIECE);
            search_layers(&units(&kept[from..end], from), LAYERS, &|layer| self.search_kept(layer), &mut found);
            if end == kept.len() {
                break;
            }
            from = end - OVERLAP;
        }
        if found.is_empty() { Cow::Borrowed(kept) } else { Cow::Owned(struck(kept, found)) }
    }

    /// Where each word stands that must not be said.
    fn search(&self, layer: &[u8]) -> Vec<Range<usize>> {
        let is_hidden =
            |word: &[u8], place: &Range<usize>| word.len() >= SHORTEST_ANYWHERE || stands_alone(layer, place);
        self.places(layer).filter(|(word, place)| is_hidden(word, place)).map(|(_, place)| place).collect()
    }

    /// The same for what is kept, and signatures, whosever.
    fn search_kept(&self, layer: &[u8]) -> Vec<Range<usize>> {
        let is_its_own = |word: &[u8]| word.len() >= SHORTEST_ANYWHERE && !word.iter().all(u8::is_ascii_digit);
        let is_struck = |word: &[u8], place: &Range<usize>| {
            is_its_own(word) || (stands_alone(layer, place) && is_behind_name(&layer[..place.start]))
        };
        let words = self.places(layer).filter(|(word, place)| is_struck(word, place)).map(|(_, place)| place);
        words.chain(signatures(layer)).collect()
    }

    fn places<'a>(&'a self, layer: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Range<usize>)> {
        self.0.iter().flat_map(|word| {
            let next = |from: usize| memchr::memmem::find(layer.get(from..)?, word).map(|at| from + at);
            // One may begin within another.
            let places = std::iter::successors(next(0), move |at| next(at + 1));
            places.map(move |at| (&word[..], at..at + word.len()))
        })
    }
}

/// Searches a layer, and what it stands for, by each way to escape.
fn search_layers(
    layer: &[Unit],
    left: usize,
    search: &impl Fn(&[u8]) -> Vec<Range<usize>>,
    found: &mut Vec<Range<usize>>,
) {
    let bytes: Vec<u8> = layer.iter().map(|unit| folded(unit.byte)).collect();
    found.extend(search(&bytes).into_iter().map(|place| layer[place.start].at.start..layer[place.end - 1].at.end));
    let ways = WAYS.iter().filter(|way| left > 0 && memchr::memchr(**way, &bytes).is_some());
    for next in ways.filter_map(|way| decoded(layer, *way)) {
        search_layers(&next, left - 1, search, found);
    }
}

/// Whether what stands there is no part of a longer word.
fn stands_alone(layer: &[u8], place: &Range<usize>) -> bool {
    let is_of_word = |at: usize| layer.get(at).is_some_and(|byte| is_of_a_token(*byte));
    !place.start.checked_sub(1).is_some_and(is_of_word) && !is_of_word(place.end)
}

/// Whether a secret's name stands before its value.
fn is_behind_name(before: &[u8]) -> bool {
    let name = before.iter().rposition(|byte| !BETWEEN.contains(byte)).map_or(0, |last| last + 1);
    before[name..].iter().any(|byte| matches!(byte, b'=' | b':'))
        && NAMES.iter().any(|known| before[..name].ends_with(known))
}

/// Hexadecimal digits behind the name of a signature.
fn signatures(layer: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memchr::memmem::find_iter(layer, b"sign").filter_map(|at| {
        let behind = at + b"sign".len();
        let start = behind + layer[behind..].iter().position(|byte| !BETWEEN.contains(byte))?;
        let place = start..start + SIGNATURE;
        let is_one = layer.get(place.clone())?.iter().all(u8::is_ascii_hexdigit) && is_behind_name(&layer[..start]);
        (is_one && stands_alone(layer, &place)).then_some(place)
    })
}

/// The bytes of a text, of which the first stands at `from`.
fn units(text: &[u8], from: usize) -> Vec<Unit> {
    text.iter().enumerate().map(|(at, byte)| Unit { byte: *byte, at: from + at..from + at + 1 }).collect()
}

/// A byte of a layer, and where it stands in the text.
#[derive(Clone, Debug)]
struct Unit {
    byte: u8,
    at: Range<usize>,
}

/// A letter of any case is the same, and so are a blank and the `+` of a form.
fn folded(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }
}

fn is_of_a_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// A way to escape, by the byte that begins it: of addresses, of JSON, of HTML.
const WAYS: [u8; 3] = [b'%', b'\\', b'&'];

/// The next layer, by one way; nothing when it has nothing to decode.
fn decoded(layer: &[Unit], way: u8) -> Option<Vec<Unit>> {
    let (mut next, mut at, mut is_changed) = (Vec::with_capacity(layer.len()), 0, false);
    while let Some(unit) = layer.get(at) {
        let Some((bytes, length)) = (unit.byte == way).then(|| escape(&layer[at..])).flatten() else {
            next.push(unit.clone());
            at += 1;
            continue;
        };
        let place = unit.at.start..layer[at + length - 1].at.end;
        next.extend(bytes.into_iter().map(|byte| Unit { byte, at: place.clone() }));
        (at, is_changed) = (at + length, true);
    }
    is_changed.then_some(next)
}

/// What the escape at the beginning stands for, and how long it is.
fn escape(units: &[Unit]) -> Option<(Vec<u8>, usize)> {
    /// The longest escape that is looked at: `&#x0010FFFF;`.
    const LONGEST: usize = 12;
    let text: Vec<u8> = units.iter().take(LONGEST).map(|unit| unit.byte).collect();
    let number = |digits: &[u8], radix| u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok();
    let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit).then(|| number(digits, 16)).flatten();
    let letter = |code: u32| char::from_u32(code).map(|letter| letter.to_string().into_bytes());
    match *text.as_slice() {
        [b'%', b'u' | b'U', ..] if text.len() >= 6 => Some((letter(hex(&text[2..6])?)?, 6)),
        [b'%', high, low, ..] => Some((vec![u8::try_from(hex(&[high, low])?).ok()?], 3)),
        [b'\\', b'u' | b'U', ..] if text.len() >= 6 => Some((letter(hex(&text[2..6])?)?, 6)),
        [b'\\', b'x' | b'X', high, low, ..] => Some((letter(hex(&[high, low])?)?, 4)),
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Some((vec![b'\n'], 2)),
        [b'\\', plain @ (b'\\' | b'/' | b'"' | b'\''), ..] => Some((vec![plain], 2)),
        [b'&', ..] => {
            let length = text.iter().position(|byte| *byte == b';')? + 1;
            let code = match &text[1..length - 1] {
                b"amp" => u32::from(b'&'),
                b"lt" => u32::from(b'<'),
                b"gt" => u32::from(b'>'),
                b"quot" => u32::from(b'"'),
                b"apos" => u32::from(b'\''),
                [b'#', b'x' | b'X', digits @ ..] => hex(digits)?,
                [b'#', digits @ ..] => number(digits, 10)?,
                _ => return None,
            };
            Some((letter(code)?, length))
        }
        _ => None,
    }
}

/// `kept` with each of `found` struck out. A value of a JSON object becomes a string.
fn struck(kept: &[u8], mut found: Vec<Range<usize>>) -> Vec<u8> {
    found.sort_by_key(|place| place.start);
    let (mut told, mut done) = (Vec::with_capacity(kept.len()), 0);
    for place in found {
        if place.start >= done {
            told.extend_from_slice(&kept[done..place.start]);
            let quote: &[u8] = if is_bare_value(&kept[..place.start]) { b"\"" } else { b"" };
            told.extend([quote, HIDDEN.as_bytes(), quote].concat());
        }
        done = done.max(place.end);
    }
    told.extend_from_slice(&kept[done..]);
    told
}

/// Whether a number that is a member of a JSON object follows.
fn is_bare_value(before: &[u8]) -> bool {
    let before = before.trim_ascii_end().strip_suffix(b":").map(<[u8]>::trim_ascii_end);
    before.and_then(|before| before.strip_suffix(b"\"")).is_some_and(|key| !key.ends_with(b"\\"))
}

/// `text` with each of `found` struck out, cut behind what is shown; places that overlap are struck out once.
fn without(text: &str, mut found: Vec<Range<usize>>) -> String {
    found.sort_by_key(|place| place.start);
    let (mut told, mut done) = (String::with_capacity(text.len()), 0);
    let shown = text.floor_char_boundary(SHOWN);
    for place in found.into_iter().filter(|place| place.start < shown) {
        if place.start >= done {
            told.push_str(text.get(done..place.start).unwrap_or_default());
            told.push_str(HIDDEN);
        }
        done = done.max(place.end);
    }
    told.push_str(text.get(done..shown).unwrap_or_default());
    if shown < text.len() {
        told.push_str("...");
    }
    told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hide(secret: &str, text: &str) -> String {
        [secret].into_iter().collect::<Unsaid>().hide(text)
    }

    #[test]
    fn what_the_server_repeats_is_taken_out_on_one_line() {
        let sign = "6d081499e6dbaa7d761191bb6b06a052";
        let unsaid: Unsaid = [sign, "s4lt", ""].into_iter().collect();
        let told = unsaid.hide(&format!("sign error: {sign}\r\n({}), salt s4lt", sign.to_uppercase()));
        assert_eq!(told, "sign error: (hidden)  ((hidden)), salt (hidden)");
        assert!(!format!("{unsaid:?}").contains("s4lt"));
    }

    #[test]
    fn every_spelling_in_an_address_is_found() {
        let salt = "p/q+r &=%盐s";
        for text in [
            "/openapi?sid=x&salt=p%2Fq%2Br+%26%3D%25%E7%9B%90s&v=1.0",
            "/openapi?sid=x&salt=p%2fq%2br+%26%3d%25%e7%9b%90s&v=1.0",
            "/openapi?sid=x&salt=p%2Fq%2Br%20%26%3D%25%E7%9b%90s&v=1.0",
            "/openapi?sid=x&salt=%70%2F%71%2B%72%20%26%3D%25%E7%9B%90%73&v=1.0",
            "url=%2Fopenapi%3Fsalt%3Dp%252Fq%252Br%2B%2526%253D%2525%25E7%259B%2590s%26v",
            r#"{"salt":"p\/q+r \u0026=%\u76d0s"}"#,
            "<b>p/q+r &amp;=%盐s</b>",
            "<b>p&#47;q&#x2b;r &#38;&#61;%&#30416;s</b>",
            "salt=p/q+r &=%盐s.",
            "P/Q+R &=%盐S",
            "no bounds: xp/q+r &=%盐sx",
        ] {
            let told = hide(salt, text);
            assert!(told.contains("(hidden)"), "{text}: {told}");
            for part in ["p/q", "%2Fq", "%2fq", "E7", "e7", "盐", "u76d0", "%26%3", "30416", "259B", "%71"] {
                assert!(!told.contains(part), "{part} of {text}: {told}");
            }
        }
    }

    #[test]
    fn a_short_secret_does_not_mangle_a_message() {
        assert_eq!(hide("a", "invalid appkey, a bad salt"), "invalid appkey, (hidden) bad salt");
        assert_eq!(
            hide("s4lt", "salt=s4lt&v=1 s4lts xs4lt s4lt-1 盐s4lt错"),
            "salt=(hidden)&v=1 s4lts xs4lt s4lt-1 盐(hidden)错"
        );
        assert_eq!(hide("s4lt", "u=x%3Fsalt%3Ds4lt%26v, \\\"s4lt\\\""), "u=x%3Fsalt%3D(hidden)%26v, \\\"(hidden)\\\"");
        assert_eq!(hide("s", "%73"), "(hidden)");
        assert_eq!(hide("1", "HTTP 111, code 1: 100%1"), "HTTP 111, code (hidden): 100%(hidden)");
    }

    #[test]
    fn a_long_text_is_cut_and_no_secret_with_it() {
        let text = format!("{}s3cret-part{}", "x".repeat(SHOWN - 3), "y".repeat(1 << 20));
        assert_eq!(hide("s3cret-part", &text), format!("{}(hidden)...", "x".repeat(SHOWN - 3)));
        assert_eq!(hide("absent", &"盐".repeat(SHOWN)).len(), SHOWN / 3 * 3 + 3);
    }

    #[test]
    fn odd_escapes_are_left_as_they_are() {
        for text in
            ["100%", "%", "%z1", "\\", "\\u12", "&;", "&#xffffffff;", "&#99999999999;", "&nothing;", "%u", "盐%e7"]
        {
            assert_eq!(hide("absent", text), text);
        }
    }

    fn kept(secrets: &[&str], text: &str) -> String {
        let unsaid: Unsaid = secrets.iter().collect();
        String::from_utf8(unsaid.strike_out(text.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn what_is_kept_is_struck_out_however_far_in_it_stands_and_stays_json() {
        let (salt, sign) = ("p/q+r &=%盐s", "6d081499e6dbaa7d761191bb6b06a052");
        let echoes = [
            r#""request":"\/openapi?sid=x&salt=p%2Fq%2Br+%26%3D%25%E7%9B%90s&sign=6D081499E6DBAA7D761191BB6B06A052""#,
            r#""request":{"salt":"p\/q+r \u0026=%\u76d0s","sign":"6d081499e6dbaa7d761191bb6b06a052"}"#,
            r#""request":"{\"salt\":\"p\/q+r &=%\u76d0s\",\"sign\":\"6d081499e6dbaa7d761191bb6b06a052\"}""#,
            r#""request":"url=%2Fopenapi%3Fsalt%3Dp%252Fq%252Br%2B%2526%253D%2525%25E7%259B%2590s%26sign%3D6d081499e6dbaa7d761191bb6b06a052""#,
        ];
        for echo in echoes {
            // At the beginning, across the ends of pieces, and at the end.
            for before in [0, PIECE - 60, PIECE, 2 * PIECE - OVERLAP - 40, 300_000] {
                let rest = format!(r#""remark":"{}盐%41&amp;","n":12345"#, "a\\u4e2d\\n".repeat(before / 10));
                let text = format!("{{{rest},{echo},{}}}", r#""x":[1]"#);
                let told = kept(&[salt, "s3cret-part", sign], &text);
                let start = format!("{{{rest},\"request\":");
                assert!(told.starts_with(&start) && told.ends_with(r#","x":[1]}"#), "{echo}");
                let end = &told[start.len()..];
                for part in ["p%2", "p\\/", "p/q", "E7", "76d0", "2590", "6d08", "6D08", "a052"] {
                    assert!(!end.contains(part), "{part}: {end}");
                }
                serde_json::from_str::<serde_json::Value>(&told).expect("JSON");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_kept_byte_for_byte() {
        let text = r#"{"sign":"yes","status":"25","remark":"s4lt 123456 design=6d08 a&b%20c \u4e2d","n":123456,"salt":true,"id":"6d081499e6dbaa7d761191bb6b06a052"}"#;
        // Short secrets, and such as look like numbers, stand only behind their names.
        for secrets in [&["s4lt", "25", "yes!"][..], &["123456", "1"], &[], &["absent-secret"]] {
            assert_eq!(kept(secrets, text), text, "{secrets:?}");
        }
        assert!(matches!(Unsaid::default().strike_out(b"plain"), Cow::Borrowed(b"plain")));
        for (secrets, text, told) in [
            (&["s4lt"][..], "a?salt=s4lt&b s4lt", "a?salt=(hidden)&b s4lt"),
            (&["25"], r#"{"salt":"25","status":"25"}"#, r#"{"salt":"(hidden)","status":"25"}"#),
            (&["25"], r#"{"salt": 25,"status":25}"#, r#"{"salt": "(hidden)","status":25}"#),
            (&["25"], r#"{"e":"salt: 25, \"salt\":25"}"#, r#"{"e":"salt: (hidden), \"salt\":(hidden)"}"#),
            (&["123456"], "appsecret%3D123456%26n=123456", "appsecret%3D(hidden)%26n=123456"),
            // The signature of another request.
            (&[], "?sign=00112233445566778899aabbccddeeff&v", "?sign=(hidden)&v"),
            (&[], "?sign=00112233445566778899aabbccddeeff0&v", "?sign=00112233445566778899aabbccddeeff0&v"),
            (&["abcdef1"], "xABCDEF1x", "x(hidden)x"),
        ] {
            assert_eq!(kept(secrets, text), told, "{text}");
        }
        let no_text = [b"\xff\xfe".as_slice(), b"abcdef1", b"\xff"].concat();
        let unsaid: Unsaid = ["abcdef1"].into_iter().collect();
        assert_eq!(*unsaid.strike_out(&no_text), [b"\xff\xfe".as_slice(), b"(hidden)", b"\xff"].concat());
    }

    /// Encodes each byte for an address by the way that its dice says.
    fn encoded(secret: &str, dice: &[u8]) -> String {
        let ways = secret.bytes().zip(dice.iter().cycle());
        ways.map(|(byte, way)| match way % 3 {
            0 if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            1 => format!("%{byte:02x}"),
            _ if byte == b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
    }

    proptest! {
        #[test]
        fn a_secret_is_hidden_however_it_is_encoded(
            secret in "[ -~é盐]{1,24}",
            dice in prop::collection::vec(any::<u8>(), 1..24),
            times in 1..=3,
            around in ("[a-z ]{0,6}", "[a-z ]{0,6}"),
        ) {
            let sent = (0..times).fold(secret.clone(), |sent, _| encoded(&sent, &dice));
            let text = format!("{}={sent}&{}", around.0, around.1);
            let told = hide(&secret, &text);
            prop_assert!(told.contains(HIDDEN), "{} of {}", told, text);
            // Nothing is left of what was sent: what is not struck out stood around it.
            let rest = told.replace(HIDDEN, "");
            prop_assert!(rest.len() <= around.0.len() + around.1.len() + 2, "{} of {}", told, text);
            // Of what is kept as well, behind its name at least.
            let told = kept(&[&secret], &format!("salt={sent}&{}", around.1));
            prop_assert!(told.contains(HIDDEN), "{} of {}", told, text);
        }

        #[test]
        fn any_text_is_survived(secret in ".{0,8}", text in ".{0,200}") {
            let told = hide(&secret, &text);
            prop_assert!(!told.chars().any(char::is_control));
        }
    }
}
