//! Spans of time and sizes as people write them: a number and its unit, one directly behind the other. A bare number is
//! neither, because nobody can tell whether its author meant seconds, minutes or days. And counts as people read them.

use std::time::Duration;

use crate::text::Text;

/// A unit, and how many of the smallest it is.
type Unit = (&'static str, u64);

const SPANS: [Unit; 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
const SPAN_EXAMPLES: &str = "90s, 5m, 2h or 30d";
const SIZES: [Unit; 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
const SIZE_EXAMPLES: &str = "64MiB, 100MB or 1.5GB";
/// More decimal places than this no unit has room for.
const MOST_PLACES: usize = 12;

/// Reads `90s`, `5m`, `1.5h` or `30d`: whole seconds, none included.
///
/// # Errors
/// What is wrong, and the right form.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    number_and_unit(text, &SPANS, SPAN_EXAMPLES, "whole seconds", |unit, known| unit == known).map(Duration::from_secs)
}

/// The same where no time at all makes no sense.
///
/// # Errors
/// As [`span`].
pub(crate) fn some_span(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err(format!("zero makes no sense here: write {SPAN_EXAMPLES}")),
        some => Ok(some),
    }
}

/// Reads `64MiB`, `100MB` or `1.5GB`, in any case: `MB` is 1,000,000 bytes and `MiB` 1,048,576.
///
/// # Errors
/// What is wrong, and the right form.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    number_and_unit(text, &SIZES, SIZE_EXAMPLES, "whole bytes", str::eq_ignore_ascii_case)
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun, for example `1 file`, `2 files`.
pub(crate) fn plural(number: u64, noun: &'static str) -> Text {
    let count = thousands(number);
    Text::of_count(noun, format!("{count} {noun}{}", if number == 1 { "" } else { "s" }), &count)
}

/// A span of at least so many seconds as people write it: in the largest unit of which it has two or more, rounded
/// down.
pub(crate) fn at_least(seconds: u64) -> String {
    let (unit, factor) = readable_unit(seconds);
    format!("{}{unit}", seconds / factor)
}

/// A span of at most so many seconds: the same, rounded up.
pub(crate) fn at_most(seconds: u64) -> String {
    let (unit, factor) = readable_unit(seconds);
    format!("{}{unit}", seconds.div_ceil(factor))
}

fn readable_unit(seconds: u64) -> Unit {
    SPANS.into_iter().rev().find(|(_, factor)| seconds >= 2 * factor).unwrap_or(SPANS[0])
}

fn number_and_unit(
    text: &str,
    units: &[Unit],
    examples: &str,
    whole: &str,
    is_same: impl Fn(&str, &str) -> bool,
) -> Result<u64, String> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let (digits, places) = number.split_once('.').unwrap_or((number, ""));
    let is_number = !digits.is_empty()
        && places.bytes().all(|byte| byte.is_ascii_digit())
        && number.ends_with(|last: char| last.is_ascii_digit());
    if !is_number {
        return Err(format!("write a number and its unit: {examples}"));
    }
    if unit.is_empty() {
        return Err(format!("a number alone has no unit: write {examples}"));
    }
    let factor = units.iter().find(|(known, _)| is_same(unit, known)).map(|(_, factor)| u128::from(*factor));
    let factor = factor.ok_or_else(|| {
        let known: Vec<_> = units.iter().map(|(known, _)| *known).collect();
        format!("the unit is one of {}, directly behind the number: write {examples}", known.join(", "))
    })?;
    let too_large = || "that is too large".to_owned();
    let not_whole = || format!("that is not in {whole}: write {examples}");
    let places = places.trim_end_matches('0');
    if places.len() > MOST_PLACES {
        return Err(not_whole());
    }
    let scale = 10_u128.pow(u32::try_from(places.len()).unwrap_or(u32::MAX));
    let scaled: u128 = format!("{digits}{places}").parse().map_err(|_| too_large())?;
    let scaled = scaled.checked_mul(factor).ok_or_else(too_large)?;
    if scaled % scale != 0 {
        return Err(not_whole());
    }
    u64::try_from(scaled / scale).map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_rounded_so_that_they_stay_true() {
        for (seconds, low, high) in
            [(0, "0s", "0s"), (119, "119s", "119s"), (7_199, "119m", "120m"), (200_000, "2d", "3d")]
        {
            assert_eq!((&*at_least(seconds), &*at_most(seconds)), (low, high));
        }
    }

    #[test]
    fn counts_are_grouped_and_have_their_noun() {
        let shown = [0, 999, 1_000, 12_345_678].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "12,345,678"]);
        assert_eq!((&*plural(1, "file").to_string(), &*plural(1_200, "file").to_string()), ("1 file", "1,200 files"));
    }

    #[test]
    fn spans_as_people_write_them() {
        for (text, seconds) in [
            ("5m", 300),
            ("90s", 90),
            ("0s", 0),
            ("1d", 86_400),
            ("30d", 2_592_000),
            ("1.5h", 5_400),
            ("0.50m", 30),
            ("007s", 7),
        ] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, word) in [
            ("90", "a number alone has no unit"),
            ("30", "30d"),
            ("", "a number and its unit"),
            ("m", "a number and its unit"),
            ("-5m", "a number and its unit"),
            (".5h", "a number and its unit"),
            ("5.h", "a number and its unit"),
            ("1.2.3h", "a number and its unit"),
            ("5 m", "directly behind"),
            ("1w", "one of s, m, h, d"),
            ("5M", "one of s, m, h, d"),
            ("5min", "one of s, m, h, d"),
            ("1h30m", "one of s, m, h, d"),
            ("1.5s", "whole seconds"),
            ("0.0000000000001d", "whole seconds"),
            ("99999999999999999999h", "too large"),
            ("9999999999999999999999999999999999999999d", "too large"),
        ] {
            let told = span(text).expect_err(text);
            assert!(told.contains(word), "{text}: {told}");
        }
        assert!(some_span("0s").is_err() && some_span("0.0d").is_err());
        assert_eq!(some_span("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("100MB", 100_000_000),
            ("100mb", 100_000_000),
            ("1.5GB", 1_500_000_000),
            ("1.5GiB", 3 << 29),
            ("512KiB", 512 << 10),
            ("1kB", 1_000),
            ("1000B", 1_000),
            ("0.001kB", 1),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, word) in [
            ("1048576", "a number alone has no unit"),
            ("", "a number and its unit"),
            ("MiB", "a number and its unit"),
            ("64 MiB", "directly behind"),
            ("64M", "one of B, kB, MB"),
            ("64Mb/s", "one of B, kB, MB"),
            ("1.5B", "whole bytes"),
            ("99999999999GiB", "too large"),
        ] {
            let told = size(text).expect_err(text);
            assert!(told.contains(word), "{text}: {told}");
        }
    }

    proptest! {
        /// Against plain integers, in thousandths.
        #[test]
        fn a_number_times_its_unit(number in 0_u64..10_000, places in 0_u64..1_000, of in 0_usize..9) {
            let (name, factor) = SIZES[of];
            let thousandths = (number * 1_000 + places) * factor;
            let told = size(&format!("{number}.{places:03}{name}"));
            if thousandths % 1_000 == 0 {
                prop_assert_eq!(told, Ok(thousandths / 1_000));
            } else {
                prop_assert!(told.is_err());
            }
            prop_assert_eq!(size(&format!("{number}{}", name.to_uppercase())), Ok(number * factor));
        }

        #[test]
        fn any_text_is_survived_and_no_bare_number_is_taken(text in ".{0,12}", digits in "[0-9.]{0,30}") {
            let _ = (span(&text), size(&text));
            prop_assert!(span(&digits).is_err() && size(&digits).is_err());
        }
    }
}
