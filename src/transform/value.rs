//! What a scalar of the ERP means: exact decimals, integers, instants. Pure functions from text to value.
//!
//! Numbers come as JSON numbers or as JSON strings; both are read from their text and never pass through a float.
//!
//! - **Decimal**: an optional sign, digits, optionally a point with digits on both sides of it, optionally an exponent.
//!   Leading zeros, trailing zeros and exponents are fine as long as the value is exactly a decimal(19,4); surplus
//!   non-zero digits and overflow are not. Blanks, `1.`, `.5`, separators of thousands, `NaN` and hexadecimal are not
//!   numbers.
//! - **Integer**: the same texts, when the value is whole and in range.
//! - **Instant**: `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD` (midnight) on the wall clock of Beijing; the zero dates mean
//!   "no time". Anything finer than a second, any impossible time and any other spelling does not fit. Not every reader
//!   holds times before 1900-01-01 in UTC or after 9999: such a time has no value in a column, see [`timestamp`].

use std::fmt;

use crate::text::text;
use crate::time::BeijingTime;

use super::contract::{ColumnType, DECIMAL_PRECISION, DECIMAL_SCALE};

/// Why a value, or the requisition that holds it, does not fit the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchemaViolation {
    /// Not a number where one belongs.
    NotANumber,
    /// More than 4 decimals, or decimals where a whole number belongs.
    SurplusDigits,
    /// Too large for the column.
    OutOfRange,
    /// Not a time, an impossible one, or one finer than a second.
    NotATime,
    /// An object or a list where a scalar belongs.
    NotAScalar,
    /// Half of a surrogate pair: not text.
    LoneSurrogate,
    /// Required, but missing, null or empty.
    Missing,
    /// Longer than a requisition number can be.
    TooLong,
    /// Given twice, under one name or two aliases, with different values.
    GivenTwice,
    /// The modified time lies outside the window that was asked for.
    OutsideWindow,
    /// A detail that carries another number than its requisition.
    OtherNumber,
    /// Not a list where the list of details belongs.
    NotAList,
    /// Not an object where a requisition or a detail belongs.
    NotAnObject,
    /// Not a page of an answer, where page files are read.
    NotAPage,
    /// A response of which nothing can be read, however often it is asked for.
    Unreadable,
}

impl SchemaViolation {
    /// A short stable name for machines.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::SurplusDigits => "surplus_digits",
            Self::OutOfRange => "out_of_range",
            Self::NotATime => "not_a_time",
            Self::NotAScalar => "not_a_scalar",
            Self::LoneSurrogate => "lone_surrogate",
            Self::Missing => "missing",
            Self::TooLong => "too_long",
            Self::GivenTwice => "given_twice",
            Self::OutsideWindow => "outside_window",
            Self::OtherNumber => "other_number",
            Self::NotAList => "not_a_list",
            Self::NotAnObject => "not_an_object",
            Self::NotAPage => "not_a_page",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for SchemaViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "is not a number",
            Self::SurplusDigits => "has more decimals than the column holds",
            Self::OutOfRange => "is out of the column's range",
            Self::NotATime => "is not a time of whole seconds",
            Self::NotAScalar => "is an object or a list instead of a value",
            Self::LoneSurrogate => "holds half of a surrogate pair",
            Self::Missing => "is required but missing, null or empty",
            Self::TooLong => "is too long for a requisition number",
            Self::GivenTwice => "is given twice with different values",
            Self::OutsideWindow => "lies outside the window that was asked for",
            Self::OtherNumber => "differs from the number of the requisition",
            Self::NotAList => "is not a list",
            Self::NotAnObject => "is not an object",
            Self::NotAPage => "is not a page of an answer",
            Self::Unreadable => "cannot be read",
        })
    }
}

impl ColumnType {
    /// Reads the text of a decimal(19,4) as an integer of ten-thousandths.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it is no number, has surplus digits or overflows.
    pub fn read_decimal(text: &str) -> crate::Result<i128> {
        decimal(text).map_err(|violation| {
            crate::Error::new(
                crate::error::ErrorClass::ArgumentWrong,
                text!("not a decimal(19,4): {violation}", violation),
            )
            .hint("write up to 15 digits before the point and up to 4 behind it, for example 12.5")
        })
    }
}

/// Reads a decimal(19,4) as an integer of ten-thousandths.
///
/// # Errors
/// The text is not a number, has surplus digits or overflows; see the module's documentation.
pub(super) fn decimal(text: &str) -> Result<i128, SchemaViolation> {
    match plain_decimal(text.as_bytes()) {
        Some(units) => Ok(units),
        None => exact(text.as_bytes(), DECIMAL_SCALE.into(), DECIMAL_PRECISION.into()),
    }
}

/// Reads a whole number of 64 bits.
///
/// # Errors
/// The text is not a number, has decimals other than zeros, or overflows.
pub(super) fn integer(text: &str) -> Result<i64, SchemaViolation> {
    let bytes = text.as_bytes();
    if (1..=18).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit) {
        return Ok(bytes.iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0')));
    }
    exact(bytes, 0, 19).and_then(|value| i64::try_from(value).map_err(|_| SchemaViolation::OutOfRange))
}

/// Reads an instant of the wall clock in Beijing; `None` for the zero dates.
///
/// # Errors
/// The text is not a time of whole seconds.
pub(super) fn instant(text: &str) -> Result<Option<BeijingTime>, SchemaViolation> {
    match text {
        "0000-00-00 00:00:00" | "0000-00-00" => Ok(None),
        _ if text.len() == 10 => BeijingTime::parse_date(text).map(Some).ok_or(SchemaViolation::NotATime),
        _ => BeijingTime::parse(text).map(Some).ok_or(SchemaViolation::NotATime),
    }
}

/// The first second that every reader holds: 1900-01-01T00:00:00Z.
const FIRST_READABLE_UNIX: i64 = -2_208_988_800;

/// Reads an instant as microseconds; `None` for the zero dates.
///
/// # Errors
/// As [`instant`]; [`SchemaViolation::OutOfRange`] when it is a time, but one that not every reader of Parquet holds.
pub(super) fn timestamp(text: &str) -> Result<Option<i64>, SchemaViolation> {
    match instant(text) {
        // No time of the years up to 9999 in Beijing is later than 9999 in UTC.
        Ok(Some(time)) if time.unix() < FIRST_READABLE_UNIX => Err(SchemaViolation::OutOfRange),
        Ok(time) => Ok(time.map(BeijingTime::micros)),
        Err(SchemaViolation::NotATime) if is_of_another_era(text) => Err(SchemaViolation::OutOfRange),
        Err(violation) => Err(violation),
    }
}

/// Whether it is a time of the year 0, or of a year after 9999.
fn is_of_another_era(text: &str) -> bool {
    let Some((year, rest)) = text.split_once('-') else { return false };
    let is_year = year == "0000" || (year.len() > 4 && !year.starts_with('0'));
    let Some(last) = year.len().checked_sub(4).and_then(|at| year.get(at..)) else { return false };
    // The calendar repeats itself every 400 years, and 10,000 is a multiple of it.
    let years = last.parse::<u32>().map(|last| last % 400 + 2000);
    is_year
        && year.bytes().all(|byte| byte.is_ascii_digit())
        && years.is_ok_and(|year| matches!(instant(&format!("{year}-{rest}")), Ok(Some(_))))
}

/// The everyday shape, `-?digits[.d{1,4}]` of at most 18 digits, which cannot overflow; `None` sends the text to
/// [`exact`].
fn plain_decimal(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut value, mut point) = (0_i64, None);
    for (place, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() && place > 0 => point = Some(place),
            _ => return None,
        }
    }
    let units = match point.map_or(0, |place| digits.len() - place - 1) {
        0 if point.is_some() => return None,
        0 => i128::from(value) * 10_000,
        1 => i128::from(value) * 1_000,
        2 => i128::from(value) * 100,
        3 => i128::from(value) * 10,
        4 => i128::from(value),
        _ => return None,
    };
    // 18 digits without a point would be 22 digits of ten-thousandths.
    (units < 10_i128.pow(DECIMAL_PRECISION.into())).then_some(if negative { -units } else { units })
}

/// Reads any number text as an integer of 10^-`scale`, when it is exactly one of at most `precision` digits.
fn exact(text: &[u8], scale: i64, precision: i64) -> Result<i128, SchemaViolation> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mantissa_end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(mantissa_end);
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(point) => (&mantissa[..point], Some(&mantissa[point + 1..])),
        None => (mantissa, None),
    };
    let is_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !is_digits(whole) || !fraction.is_none_or(is_digits) {
        return Err(SchemaViolation::NotANumber);
    }
    let exponent = if exponent.is_empty() { 0 } else { exponent_value(&exponent[1..])? };

    // The value is 0.d1 d2 d3 ... times 10^magnitude. Only the digits between the first and the last that are not zero
    // count.
    let digits: Vec<u8> = whole.iter().chain(fraction.unwrap_or_default()).map(|byte| byte - b'0').collect();
    let Some(first) = digits.iter().position(|digit| *digit != 0) else { return Ok(0) };
    let last = digits.iter().rposition(|digit| *digit != 0).unwrap_or(first);
    let place = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    let magnitude = place(whole.len()).saturating_add(exponent);
    let lowest = magnitude.saturating_sub(place(last) + 1);
    let highest = magnitude.saturating_sub(place(first) + 1);
    if highest >= precision - scale {
        return Err(SchemaViolation::OutOfRange);
    }
    if lowest < -scale {
        return Err(SchemaViolation::SurplusDigits);
    }
    // Both bounds hold, so there are at most `precision` digits and the power is within them.
    let value = digits[first..=last].iter().fold(0_i128, |value, digit| value * 10 + i128::from(*digit));
    let power = u32::try_from(lowest + scale).map_err(|_| SchemaViolation::OutOfRange)?;
    let units = value * 10_i128.pow(power);
    Ok(if negative { -units } else { units })
}

/// An exponent held within bounds that decide the same way as the exact one would.
fn exponent_value(text: &[u8]) -> Result<i64, SchemaViolation> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(SchemaViolation::NotANumber);
    }
    let size = digits.iter().fold(0_i64, |value, byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    Ok(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everyday_decimals_are_exact() {
        for (text, units) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0000", 0),
            ("200.0000", 2_000_000),
            ("+7.5", 75_000),
            ("007.50", 75_000),
            ("1.23400", 12_340),
            ("1.2340000000000000000000000000000000", 12_340),
            ("0000000000000000000000000000000000001", 10_000),
            ("123456789012345.6789", 1_234_567_890_123_456_789),
            ("-999999999999999.9999", -9_999_999_999_999_999_999),
            ("1e2", 1_000_000),
            ("12.5E-1", 12_500),
            ("1e-4", 1),
            ("0.00001e1", 1),
            ("0e999999999999999999999", 0),
            ("0.00000000000000000000000000000012e32", 120_000),
            ("100000000000000000000000e-20", 10_000_000),
        ] {
            assert_eq!(decimal(text), Ok(units), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_decimal_of_19_4_is_refused() {
        use SchemaViolation::{NotANumber, OutOfRange, SurplusDigits};
        for (text, why) in [
            ("1.23456", SurplusDigits),
            ("0.00001", SurplusDigits),
            ("1e-5", SurplusDigits),
            ("1e-99999999999999999999999999", SurplusDigits),
            ("1234567890123456.7890", OutOfRange),
            ("1000000000000000", OutOfRange),
            ("999999999999999999", OutOfRange),
            ("1e15", OutOfRange),
            ("1e99999999999999999999999999", OutOfRange),
            ("", NotANumber),
            (" ", NotANumber),
            (" 1", NotANumber),
            ("1 ", NotANumber),
            ("1.", NotANumber),
            (".5", NotANumber),
            (".", NotANumber),
            ("-", NotANumber),
            ("--1", NotANumber),
            ("1.2.3", NotANumber),
            ("1,000", NotANumber),
            ("0x1F", NotANumber),
            ("NaN", NotANumber),
            ("Infinity", NotANumber),
            ("1e", NotANumber),
            ("1e+", NotANumber),
            ("e5", NotANumber),
            ("1e1.5", NotANumber),
            ("１", NotANumber),
            ("1_000", NotANumber),
        ] {
            assert_eq!(decimal(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn integers_are_whole_and_in_range() {
        for (text, value) in [("118", 118), ("-5", -5), ("+5", 5), ("007", 7), ("118.0000", 118), ("1.18e2", 118)] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        assert_eq!(integer("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer("9223372036854775808"), Err(SchemaViolation::OutOfRange));
        assert_eq!(integer("99999999999999999999"), Err(SchemaViolation::OutOfRange));
        assert_eq!(integer("1.5"), Err(SchemaViolation::SurplusDigits));
        assert_eq!(integer("12a"), Err(SchemaViolation::NotANumber));
        assert_eq!(integer(""), Err(SchemaViolation::NotANumber));
    }

    #[test]
    fn instants_are_beijing_wall_clock() {
        let unix = |text| instant(text).map(|time| time.map(BeijingTime::unix));
        assert_eq!(unix("1970-01-01 08:00:00"), Ok(Some(0)));
        assert_eq!(unix("2020-05-19"), Ok(Some(1_589_817_600)), "a date alone is midnight in Beijing");
        assert_eq!(unix("0000-00-00 00:00:00"), Ok(None));
        assert_eq!(unix("0000-00-00"), Ok(None));
        for text in [
            "2023-02-29",
            "2023-02-29 00:00:00",
            "2023-01-01 24:00:00",
            "2023-01-01 00:00:00.5",
            "2023-01-01 00:00:00.0",
            "2023-01-01T00:00:00",
            "0000-00-00 12:00:00",
            "1589860624",
            "today",
        ] {
            assert_eq!(instant(text), Err(SchemaViolation::NotATime), "{text}");
        }
    }

    #[test]
    fn times_that_not_every_reader_holds_are_told_from_what_is_no_time() {
        let first = FIRST_READABLE_UNIX * 1_000_000;
        assert_eq!(timestamp("1900-01-01 08:00:00"), Ok(Some(first)), "midnight in UTC");
        assert_eq!(timestamp("9999-12-31 23:59:59"), Ok(Some(253_402_271_999_000_000)));
        assert_eq!(timestamp("0000-00-00 00:00:00"), Ok(None));
        for text in [
            "1900-01-01 07:59:59",
            "1900-01-01",
            "1899-12-31",
            "1000-01-01 00:00:00",
            "0001-01-01 00:00:00",
            "0000-02-29",
            "0000-12-31 23:59:59",
            "10000-01-01 00:00:00",
            "12000-02-29 12:00:00",
            "99999999999999999999-12-31",
        ] {
            assert_eq!(timestamp(text), Err(SchemaViolation::OutOfRange), "{text}");
        }
        for text in [
            "0000-00-00 12:00:00",
            "0000-13-01",
            "010000-01-01",
            "10001-02-29",
            "10000-01-01 24:00:00",
            "-1-01-01",
            "a9999-01-01",
        ] {
            assert_eq!(timestamp(text), Err(SchemaViolation::NotATime), "{text}");
        }
    }

    /// `digits` times 10^`power` written out in full, so that the expected outcome can be read off its characters.
    fn written_out(digits: &str, power: i32) -> (String, String) {
        let zeros = "0".repeat(power.unsigned_abs() as usize);
        if power >= 0 {
            return (format!("{digits}{zeros}"), String::new());
        }
        let padded = format!("{zeros}{digits}");
        let (whole, fraction) = padded.split_at(padded.len() - zeros.len());
        (whole.to_owned(), fraction.to_owned())
    }

    proptest! {
        /// The oracle works on characters alone: it writes the number out in full and counts.
        #[test]
        fn a_decimal_is_what_its_digits_say(
            sign in prop::sample::select(vec!["", "-", "+"]),
            digits in "[0-9]{1,24}",
            point in 0_usize..24,
            exponent in prop::option::of(-30_i32..30),
            capital in any::<bool>(),
        ) {
            let point = point.min(digits.len() - 1);
            let (whole, fraction) = digits.split_at(digits.len() - point);
            let mut text = format!("{sign}{whole}");
            if point > 0 {
                text = format!("{text}.{fraction}");
            }
            if let Some(exponent) = exponent {
                text = format!("{text}{}{exponent}", if capital { 'E' } else { 'e' });
            }
            let power = exponent.unwrap_or(0) - i32::try_from(point).expect("small");
            let (whole, fraction) = written_out(&digits, power);
            let whole = whole.trim_start_matches('0');
            let fraction = fraction.trim_end_matches('0');
            let wanted = if whole.len() > 15 {
                Err(SchemaViolation::OutOfRange)
            } else if fraction.len() > 4 {
                Err(SchemaViolation::SurplusDigits)
            } else {
                let units: i128 = format!("0{whole}{fraction:0<4}").parse().expect("digits");
                Ok(if sign == "-" { -units } else { units })
            };
            prop_assert_eq!(decimal(&text), wanted, "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eE ]{0,40}") {
            let _ = (decimal(&text), integer(&text), timestamp(&text));
        }
    }
}
