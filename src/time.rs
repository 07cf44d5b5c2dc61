//! Beijing wall clock, closed windows of modified times, and the coverage that windows add up to.
//!
//! The ERP writes every time as `YYYY-MM-DD HH:MM:SS` on a wall clock in Beijing, which has been UTC+8 without daylight
//! saving for as long as the ERP has existed. A [`BeijingTime`] is such a time as an instant; a [`Window`] is a closed
//! interval of them, both seconds included; a [`Coverage`] is a set of seconds kept as disjoint windows. All arithmetic
//! is in whole seconds.

mod coverage;
mod window;

use std::fmt;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::coverage::Coverage;
pub use self::window::Window;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// Beijing is this many seconds ahead of UTC, all year.
const OFFSET_SECONDS: i64 = 8 * 3600;
/// The last second of the year 9999 in UTC, as seconds since 1970-01-01 00:00:00 UTC.
const LAST_SECOND: i64 = 253_402_300_799;

/// An instant of whole seconds, read and shown as wall clock in Beijing (UTC+8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeijingTime(i64);

impl BeijingTime {
    /// The earliest time that can be written.
    pub const FIRST: Self = Self(-62_135_596_800 - OFFSET_SECONDS);

    /// From Unix seconds. `None` outside the years 1 to 9999, which neither the ERP nor a partition path can write.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        let (first, last) = (Self::FIRST.0, 253_402_300_799 - OFFSET_SECONDS);
        (first..=last).contains(&seconds).then_some(Self(seconds))
    }

    /// Reads exactly `YYYY-MM-DD HH:MM:SS` as Beijing wall clock. Anything else, an impossible date included, is
    /// `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: &[u8; 19] = text.as_bytes().try_into().ok()?;
        if (bytes[10], bytes[13], bytes[16]) != (b' ', b':', b':') {
            return None;
        }
        let midnight = Self::parse_date(&text[..10])?;
        let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
        (hour < 24 && minute < 60 && second < 60)
            .then(|| Self(midnight.0 + i64::from(hour * 3600 + minute * 60 + second)))
    }

    /// Reads exactly `YYYY-MM-DD` as midnight in Beijing.
    pub fn parse_date(text: &str) -> Option<Self> {
        let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
        if (bytes[4], bytes[7]) != (b'-', b'-') {
            return None;
        }
        let year = i32::try_from(digits(&bytes[..4])?).ok().filter(|year| *year > 0)?;
        let date = NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)?;
        Some(Self(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp() - OFFSET_SECONDS))
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970-01-01 00:00:00 UTC, as table formats hold them.
    pub(crate) fn millis(self) -> i64 {
        self.0.saturating_mul(1_000)
    }

    /// Microseconds since 1970-01-01 00:00:00 UTC, as Arrow timestamps hold them.
    pub fn micros(self) -> i64 {
        self.0 * 1_000_000
    }

    /// From microseconds since 1970-01-01 00:00:00 UTC, cut to whole seconds and held within the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        Self(0).plus_seconds(micros.div_euclid(1_000_000))
    }

    /// This time moved by `seconds`, held within the years 1 to 9999.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds)).unwrap_or(if seconds < 0 {
            Self::FIRST
        } else {
            Self(253_402_300_799 - OFFSET_SECONDS)
        })
    }

    /// The hour of the day on the wall clock of Beijing, 0 to 23.
    pub fn hour(self) -> usize {
        usize::try_from((self.0 + OFFSET_SECONDS).rem_euclid(86_400) / 3_600).unwrap_or(0)
    }

    /// The Beijing month that holds this time.
    pub fn month(self) -> Month {
        let wall = self.wall();
        Month { year: wall.year(), month: wall.month() }
    }

    /// `20261001T000000`: Beijing wall clock for file names, without a colon.
    pub fn compact(self) -> String {
        let wall = self.wall();
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}",
            wall.year(),
            wall.month(),
            wall.day(),
            wall.hour(),
            wall.minute(),
            wall.second()
        )
    }

    /// `2026-10-01T00:00:00+08:00`: RFC 3339 with offset, for machines.
    pub fn rfc3339(self) -> String {
        self.to_string().replacen(' ', "T", 1) + "+08:00"
    }

    /// Reads RFC 3339 with any offset, to the second.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        Self::from_unix(DateTime::parse_from_rfc3339(text).ok()?.timestamp())
    }

    fn wall(self) -> NaiveDateTime {
        // Within the years 1 to 9999 the conversion cannot fail.
        DateTime::from_timestamp(self.0 + OFFSET_SECONDS, 0).unwrap_or_default().naive_utc()
    }
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

impl fmt::Display for BeijingTime {
    /// `YYYY-MM-DD HH:MM:SS`, as the ERP writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = self.wall();
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            wall.year(),
            wall.month(),
            wall.day(),
            wall.hour(),
            wall.minute(),
            wall.second()
        )
    }
}

impl Serialize for BeijingTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for BeijingTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

/// `2026-10-01T00:00:00.000000Z`: RFC 3339 in UTC with six decimals, of microseconds since 1970-01-01 00:00:00 UTC.
pub(crate) fn rfc3339_micros(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `2026-10-01T08:00:00.000000+08:00`: RFC 3339 in Beijing with six decimals, of microseconds since 1970-01-01 00:00:00
/// UTC.
pub(crate) fn rfc3339_beijing(micros: i64) -> String {
    let beijing = DateTime::from_timestamp_micros(beijing_wall_micros(micros)).unwrap_or_default();
    beijing.format("%Y-%m-%dT%H:%M:%S%.6f+08:00").to_string()
}

/// Microseconds since 1970-01-01 00:00:00 UTC as microseconds since 1970-01-01 00:00:00 in Beijing: the wall clock
/// there as columns without a time zone hold it.
pub(crate) fn beijing_wall_micros(micros: i64) -> i64 {
    micros.saturating_add(OFFSET_SECONDS * 1_000_000)
}

/// `2026-10-01 08:00:00` of such microseconds of a wall clock, with six decimals where they are no whole seconds.
pub(crate) fn wall_clock(micros: i64) -> String {
    let format = if micros.rem_euclid(1_000_000) == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.6f" };
    DateTime::from_timestamp_micros(micros).unwrap_or_default().format(format).to_string()
}

/// The microseconds since 1970-01-01 00:00:00 UTC that RFC 3339 says. A leap second is the next one, unless that is in
/// no year that can be written.
pub(crate) fn parse_rfc3339_micros(text: &str) -> Option<i64> {
    // A leap second is in the microseconds only.
    let micros = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
    (micros.div_euclid(1_000_000) <= LAST_SECOND).then_some(micros)
}

/// A calendar month in Beijing: the partition key `modified_month=YYYY-MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: u32,
}

impl Month {
    /// Reads exactly `YYYY-MM`.
    pub fn parse(text: &str) -> Option<Self> {
        BeijingTime::parse_date(&format!("{text}-01")).map(BeijingTime::month)
    }

    /// The first second.
    pub fn start(self) -> BeijingTime {
        // A month is that of a time, so its first day can be written.
        BeijingTime::parse_date(&format!("{self}-01")).unwrap_or(BeijingTime::FIRST)
    }

    /// The first second of the next month.
    pub fn next_start(self) -> BeijingTime {
        let (year, month) = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        BeijingTime::parse_date(&format!("{year:04}-{month:02}-01"))
            .unwrap_or(BeijingTime(LAST_SECOND - OFFSET_SECONDS))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Which end of a day a date alone stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateMeans {
    /// Its first second, as for `--from`.
    FirstSecond,
    /// Its last second, as for `--to`.
    LastSecond,
}

/// Reads a time as a user writes it: `YYYY-MM-DD HH:MM:SS` (Beijing, also with `T`), RFC 3339 with offset, both also
/// without seconds, which are 0 then, or a date alone.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it is none of these.
pub(crate) fn parse_user_time(text: &str, date_means: DateMeans) -> Result<BeijingTime> {
    let text = text.trim();
    let of_day = |midnight: BeijingTime| match date_means {
        DateMeans::FirstSecond => midnight,
        DateMeans::LastSecond => midnight.plus_seconds(86_399),
    };
    let read = |text: &str| {
        BeijingTime::parse(text)
            .or_else(|| BeijingTime::parse_rfc3339(text))
            .or_else(|| BeijingTime::parse(&text.replacen('T', " ", 1)))
    };
    // Up to its minutes a time has 16 characters; only an offset may follow.
    let to_the_minute = |text: &str| {
        let (minutes, offset) = text.split_at_checked(16).filter(|(_, offset)| !offset.starts_with(':'))?;
        read(&format!("{minutes}:00{offset}"))
    };
    BeijingTime::parse_date(text)
        .map(of_day)
        .or_else(|| read(text))
        .or_else(|| to_the_minute(text))
        .ok_or_else(|| {
            Error::new(ErrorClass::ArgumentWrong, text!("`{text}` is not a time", text))
                .hint("write `2026-10-01`, `2026-10-01 08:30` or `2026-10-01 08:30:00` (Beijing time), or `2026-10-01T08:30:00+08:00`")
        })
}

/// Where the present comes from: the machine, or a test that holds time.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01 00:00:00 UTC.
    fn now_micros(&self) -> i64;

    /// The present, cut to whole seconds.
    fn now(&self) -> BeijingTime {
        BeijingTime::from_micros(self.now_micros())
    }

    /// Microseconds since some fixed moment, by a clock that nobody sets. The time of a clock that a test holds is
    /// never set wrong, so it serves as both.
    fn monotonic_micros(&self) -> i64 {
        self.now_micros()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic_micros(&self) -> i64 {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        i64::try_from(FIRST.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> BeijingTime {
        BeijingTime::parse(text).expect("a time")
    }

    #[test]
    fn hours_are_those_of_the_wall_clock() {
        for (text, hour) in [
            ("2026-10-01 00:00:00", 0),
            ("2026-10-01 23:59:59", 23),
            ("1969-12-31 07:30:00", 7),
            ("0001-01-01 00:00:00", 0),
        ] {
            assert_eq!(at(text).hour(), hour, "{text}");
        }
    }

    #[test]
    fn wall_clock_is_eight_hours_ahead_of_utc() {
        assert_eq!(at("1970-01-01 08:00:00").unix(), 0);
        assert_eq!(at("2012-01-01 00:00:00").unix(), 1_325_347_200, "the flagship epoch of the vendor's page");
        assert_eq!(at("2020-05-19 11:57:04").rfc3339(), "2020-05-19T11:57:04+08:00");
        assert_eq!(at("2026-10-01 00:00:00").compact(), "20261001T000000");
        assert_eq!(BeijingTime::parse_rfc3339("2020-05-19T03:57:04Z"), Some(at("2020-05-19 11:57:04")));
    }

    #[test]
    fn impossible_and_loose_times_are_refused() {
        for text in [
            "2023-02-29 00:00:00",
            "0000-00-00 00:00:00",
            "2023-01-01 24:00:00",
            "2023-01-01 00:00:60",
            "2023-01-01 00:00:00.5",
            "2023-1-01 00:00:00",
            "2023-01-01T00:00:00",
            "２０２３-01-01 00:00",
            "",
        ] {
            assert_eq!(BeijingTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_users_type_is_understood() {
        let parse = |text| parse_user_time(text, DateMeans::LastSecond).map(|time| time.to_string());
        assert_eq!(parse("2026-10-01").expect("a date"), "2026-10-01 23:59:59");
        assert_eq!(parse("2026-10-01T08:00:00Z").expect("utc"), "2026-10-01 16:00:00");
        assert_eq!(parse("2026-10-01T08:00:00").expect("no offset"), "2026-10-01 08:00:00");
        for (text, read) in [
            ("2026-10-01T00:00", "2026-10-01 00:00:00"),
            ("2026-10-01 00:00", "2026-10-01 00:00:00"),
            ("2026-10-01 23:59", "2026-10-01 23:59:00"),
            (" 2026-10-01T00:00:00 ", "2026-10-01 00:00:00"),
            ("2026-10-01T08:00Z", "2026-10-01 16:00:00"),
            ("2026-10-01T08:00+08:00", "2026-10-01 08:00:00"),
        ] {
            assert_eq!(parse(text).expect(text), read);
        }
        for odd in [
            "yesterday",
            "",
            "2026-10-01T",
            "2026-10-01T08",
            "2026-10-01T08:0",
            "2026-10-01T24:00",
            "2026-10-01T08:60",
            "2026-10-01T08:00:",
            "2026-10-01T08:00:0",
            "2026-10-01T08:00:00:00",
            "2026-02-30T08:00",
            "2026-10-01x08:00",
            "二〇二六年十月一日八点",
        ] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_time_survives_every_spelling(seconds in -62_135_625_600_i64..=253_402_271_999) {
            let time = BeijingTime::from_unix(seconds).expect("in range");
            prop_assert_eq!(BeijingTime::parse(&time.to_string()), Some(time));
            prop_assert_eq!(BeijingTime::parse_rfc3339(&time.rfc3339()), Some(time));
            prop_assert_eq!(time.to_string()[..7].to_owned(), time.month().to_string());
            let minute = time.plus_seconds(-time.unix().rem_euclid(60));
            for text in [time.to_string()[..16].to_owned(), time.to_string()[..16].replace(' ', "T")] {
                prop_assert_eq!(parse_user_time(&text, DateMeans::LastSecond).ok(), Some(minute));
            }
        }
    }
}
