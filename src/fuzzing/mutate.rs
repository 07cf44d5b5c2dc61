//! Random changes: of bytes, of numbers, and of the tokens that JSON, TOML and Rust's debug output share.

use std::ops::Range;

use rand::RngExt;
use rand::rngs::StdRng;

use super::below;

/// Numbers at which something ends.
const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "10",
    "127",
    "128",
    "255",
    "256",
    "32767",
    "32768",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
];

/// One to some changes of one of `pool`.
pub(super) fn mutated(pool: &[Vec<u8>], words: &[&str], max_bytes: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut input = pool[below(pool.len(), rng)].clone();
    let changes = 1 << below(4, rng);
    for _ in 0..=below(changes, rng) {
        change(&mut input, pool, words, rng);
    }
    input.truncate(max_bytes);
    input
}

fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str], rng: &mut StdRng) {
    if input.is_empty() {
        input.extend_from_slice(&pool[below(pool.len(), rng)]);
    }
    match rng.random_range(0..14) {
        0 => flip(input, rng),
        1 => _ = input.splice(some_range(input, rng), []),
        2 => {
            let copied = input[some_range(input, rng)].to_vec();
            insert(input, &copied, rng);
        }
        3 => {
            let other = &pool[below(pool.len(), rng)];
            let (part, place) = (other[some_range(other, rng)].to_vec(), some_range(input, rng));
            input.splice(place, part);
        }
        4 if !words.is_empty() => {
            let word = words[below(words.len(), rng)].as_bytes().to_vec();
            insert(input, &word, rng);
        }
        5 if !words.is_empty() => {
            let (word, place) = (words[below(words.len(), rng)], a_token(input, rng));
            input.splice(place, word.bytes());
        }
        6 | 7 => edit_number(input, rng),
        8 => nest(input, rng),
        9 | 10 => {
            // One token in the place of another, of this input or of another one.
            let other = &pool[below(pool.len(), rng)];
            let source = if rng.random_bool(0.5) { &*input } else { other };
            let token = a_token(source, rng);
            let token = source.get(token).unwrap_or_default().to_vec();
            input.splice(a_token(input, rng), token);
        }
        11 => {
            let letter = [0_u8, b'\n', b'\t', b' ', b'"', b'\\', b'/', 0x7f, 0xff, 0xc3, 0xef][below(11, rng)];
            insert(input, &[letter], rng);
        }
        12 => input.truncate(below(input.len(), rng)),
        _ => {
            let token = a_token(input, rng);
            let times = 1 << below(7, rng);
            let copied = input[token].repeat(times);
            insert(input, &copied, rng);
        }
    }
}

fn flip(input: &mut [u8], rng: &mut StdRng) {
    let at = below(input.len(), rng);
    input[at] ^= 1 << below(8, rng);
}

fn insert(input: &mut Vec<u8>, part: &[u8], rng: &mut StdRng) {
    let at = below(input.len() + 1, rng);
    input.splice(at..at, part.iter().copied());
}

/// Short ones more often than long ones.
fn some_range(input: &[u8], rng: &mut StdRng) -> Range<usize> {
    if input.is_empty() {
        return 0..0;
    }
    let start = below(input.len(), rng);
    let most = (input.len() - start).min(1 << below(12, rng));
    start..start + below(most + 1, rng)
}

/// A word, a number, a string with its quotes, or a bracket, near a random place.
fn a_token(input: &[u8], rng: &mut StdRng) -> Range<usize> {
    if input.is_empty() {
        return 0..0;
    }
    let at = below(input.len(), rng);
    let is_word =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_') || *byte >= 0x80;
    if let Some(quote) = input[..at].iter().rposition(|byte| *byte == b'"').filter(|_| rng.random_bool(0.5)) {
        let after = quote + 1;
        if let Some(length) = input[after..].iter().position(|byte| *byte == b'"') {
            return quote..after + length + 1;
        }
    }
    let start = input[..at].iter().rposition(|byte| !is_word(byte)).map_or(0, |before| before + 1);
    let end = input[at..].iter().position(|byte| !is_word(byte)).map_or(input.len(), |length| at + length);
    if start < end { start..end } else { at..at + 1 }
}

fn edit_number(input: &mut Vec<u8>, rng: &mut StdRng) {
    let from = below(input.len(), rng);
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |at| start + at);
    match below(6, rng) {
        0 => _ = input.splice(start..end, NUMBERS[below(NUMBERS.len(), rng)].bytes()),
        1 => input[start + below(end - start, rng)] = b'0' + below(10, rng) as u8,
        2 => _ = input.splice(start..start, [b'0' + below(10, rng) as u8]),
        3 => {
            let at = start + below(end - start + 1, rng);
            let part = [".", "e", "E-", "-", "+", ".0", "e1", "00000000000000000000", "_", ","][below(10, rng)];
            input.splice(at..at, part.bytes());
        }
        4 => _ = input.splice(start..end, []),
        _ => {
            // One more or one less.
            let number = std::str::from_utf8(&input[start..end]).ok().and_then(|text| text.parse::<u64>().ok());
            let Some(number) = number else { return };
            let near = if rng.random_bool(0.5) { number.wrapping_add(1) } else { number.wrapping_sub(1) };
            let width = end - start;
            input.splice(start..end, format!("{near:0width$}").bytes());
        }
    }
}

/// Puts brackets around something, once or very often.
fn nest(input: &mut Vec<u8>, rng: &mut StdRng) {
    let range = if rng.random_bool(0.5) { a_token(input, rng) } else { some_range(input, rng) };
    let (open, close) = [("[", "]"), ("{\"k\":", "}"), ("{\"0\":", "}"), ("\"", "\""), ("[[", "]]")][below(5, rng)];
    let times = if rng.random_bool(0.1) { below(400, rng) } else { 1 };
    let held = input[range.clone()].to_vec();
    let nested = [open.repeat(times).into_bytes(), held, close.repeat(times).into_bytes()].concat();
    input.splice(range, nested);
}
