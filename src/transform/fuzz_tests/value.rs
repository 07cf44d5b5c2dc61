//! Decimals, whole numbers and times: each text is what its characters say, told by counting them.

use crate::fuzzing::Target;
use crate::time::{BeijingTime, parse_rfc3339_micros, rfc3339_micros};
use crate::transform::value::{SchemaViolation, decimal, instant, integer, timestamp};

const WORDS: [&str; 32] = [
    "0",
    "-",
    "+",
    ".",
    "e",
    "E",
    "e-",
    "e+",
    ".0000",
    "00000000000000000000",
    "999999999999999.9999",
    "1000000000000000",
    "0.0001",
    "0.00001",
    "1e15",
    "e-4",
    "e-5",
    "9223372036854775807",
    "9223372036854775808",
    "0000-00-00",
    " 00:00:00",
    "23:59:59",
    "24:00:00",
    "-02-29",
    "2000",
    "1900",
    "9999",
    "10000",
    "T",
    "+08:00",
    "Z",
    ".000001",
];

/// The sign, the digits without zeros at their front, and the power of ten of the last of them, of a text that is a
/// number.
fn number(text: &str) -> Option<(bool, String, Exponent)> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let digits = |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit());
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if digits(fraction) => (whole, fraction),
        None => (mantissa, ""),
        _ => return None,
    };
    if !digits(whole) {
        return None;
    }
    let exponent = match exponent {
        None => Exponent::Is(0),
        Some(text) => {
            let (is_negative, size) = match text.strip_prefix('-') {
                Some(size) => (true, size),
                None => (false, text.strip_prefix('+').unwrap_or(text)),
            };
            if !digits(size) {
                return None;
            }
            match size.trim_start_matches('0') {
                "" => Exponent::Is(0),
                // No input has as many digits as that would take to make up for it.
                size if size.len() > 7 => {
                    if is_negative {
                        Exponent::TooSmall
                    } else {
                        Exponent::TooLarge
                    }
                }
                size => Exponent::Is(size.parse::<i64>().expect("seven digits") * if is_negative { -1 } else { 1 }),
            }
        }
    };
    let exponent = match exponent {
        Exponent::Is(power) => Exponent::Is(power - i64::try_from(fraction.len()).expect("short")),
        other => other,
    };
    Some((is_negative, format!("{whole}{fraction}").trim_start_matches('0').to_owned(), exponent))
}

#[derive(Clone, Copy, Debug)]
enum Exponent {
    Is(i64),
    TooLarge,
    TooSmall,
}

/// What the text comes to as a whole number of 10^-`scale` with at most `places` digits before the point.
pub(super) fn expected(text: &str, scale: i64, places: i64) -> Result<i128, SchemaViolation> {
    let (is_negative, digits, exponent) = number(text).ok_or(SchemaViolation::NotANumber)?;
    if digits.is_empty() {
        return Ok(0);
    }
    let power = match exponent {
        Exponent::TooLarge => return Err(SchemaViolation::OutOfRange),
        Exponent::TooSmall => return Err(SchemaViolation::SurplusDigits),
        Exponent::Is(power) => power,
    };
    let kept = digits.trim_end_matches('0');
    let power = power + i64::try_from(digits.len() - kept.len()).expect("short");
    if i64::try_from(kept.len()).expect("short") + power > places {
        return Err(SchemaViolation::OutOfRange);
    }
    if power < -scale {
        return Err(SchemaViolation::SurplusDigits);
    }
    let zeros = "0".repeat(usize::try_from(power + scale).expect("not negative"));
    let units: i128 = format!("{kept}{zeros}").parse().expect("few digits");
    Ok(if is_negative { -units } else { units })
}

/// The seconds since 1970 of a wall clock in Beijing, counted day by day from one year to the next.
pub(super) fn expected_instant(text: &str) -> Result<Option<i64>, SchemaViolation> {
    if ["0000-00-00", "0000-00-00 00:00:00"].contains(&text) {
        return Ok(None);
    }
    let shape: String = text.chars().map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
    let clock = match shape.as_str() {
        "9999-99-99" => "00:00:00",
        "9999-99-99 99:99:99" => &text[11..],
        _ => return Err(SchemaViolation::NotATime),
    };
    let part = |text: &str| text.parse::<i64>().expect("digits");
    let (year, month, day) = (part(&text[..4]), part(&text[5..7]), part(&text[8..10]));
    let (hour, minute, second) = (part(&clock[..2]), part(&clock[3..5]), part(&clock[6..8]));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |month: i64| match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year == 0
        || !(1..=12).contains(&month)
        || !(1..=length(month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return Err(SchemaViolation::NotATime);
    }
    // Days before the year, by the rule of leap years, less those before 1970.
    let before = |year: i64| 365 * (year - 1) + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let days = before(year) - before(1970) + (1..month).map(length).sum::<i64>() + day - 1;
    Ok(Some(days * 86_400 + hour * 3_600 + minute * 60 + second - 8 * 3_600))
}

fn check(text: &str) -> String {
    let units = decimal(text);
    assert_eq!(units, expected(text, 4, 15), "the decimal {text:?}");
    let whole = expected(text, 0, 19).and_then(|value| i64::try_from(value).map_err(|_| SchemaViolation::OutOfRange));
    assert_eq!(integer(text), whole, "the whole number {text:?}");

    let seconds = expected_instant(text);
    let read = instant(text);
    assert_eq!(read.map(|time| time.map(BeijingTime::unix)), seconds, "the time {text:?}");
    match (timestamp(text), seconds) {
        (Ok(micros), Ok(seconds)) => assert_eq!(micros, seconds.map(|seconds| seconds * 1_000_000), "{text:?}"),
        (Err(SchemaViolation::OutOfRange), Ok(Some(seconds))) => assert!(seconds < -2_208_988_800, "{text:?}"),
        (Err(SchemaViolation::OutOfRange), Err(_)) => assert!(text.len() >= 10 && text.contains('-'), "{text:?}"),
        (Err(SchemaViolation::NotATime), Err(SchemaViolation::NotATime)) => {}
        (held, other) => panic!("{text:?}: {held:?} {other:?}"),
    }
    let from_text = BeijingTime::parse_rfc3339(text);
    if let Some(time) = from_text {
        assert_eq!(BeijingTime::parse_rfc3339(&time.rfc3339()), Some(time), "{text:?}");
    }
    if let Ok(Some(time)) = read {
        assert_eq!(BeijingTime::parse_rfc3339(&time.rfc3339()), Some(time));
    }
    let micros = parse_rfc3339_micros(text);
    if let Some(micros) = micros {
        assert_eq!(parse_rfc3339_micros(&rfc3339_micros(micros)), Some(micros), "{text:?}");
    }
    format!(
        "{:?} {:?} {:?} {} {}",
        units.map(|_| ()),
        whole.map(|_| ()),
        seconds.map(|time| time.is_some()),
        from_text.is_some(),
        micros.is_some()
    )
}

#[test]
fn decimals_and_times() {
    let target = Target { name: "value", words: &WORDS, inputs: 50_000 };
    target.fuzz(|input| check(&String::from_utf8_lossy(input)));
}
