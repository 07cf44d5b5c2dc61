//! `--until 06:00`: a time of the day in Beijing at which a run ends.

use std::str::FromStr;

use crate::time::BeijingTime;

const DAY_SECONDS: i64 = 86_400;

/// A time of the day in Beijing, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOfDay(i64);

impl TimeOfDay {
    /// The next moment after `now` at which it is that time.
    pub(super) fn next_after(self, now: BeijingTime) -> BeijingTime {
        let midnight = BeijingTime::parse_date(&now.to_string()[..10]).unwrap_or(now);
        let today = midnight.plus_seconds(self.0);
        if today > now { today } else { today.plus_seconds(DAY_SECONDS) }
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |part: &str, most: i64| {
            let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<i64>().ok().filter(|number| is_plain && *number <= most)
        };
        let seconds = match parts[..] {
            [hour, minute] => number(hour, 23).zip(number(minute, 59)).map(|(hour, minute)| hour * 3_600 + minute * 60),
            [hour, minute, second] => number(hour, 23)
                .zip(number(minute, 59))
                .zip(number(second, 59))
                .map(|((hour, minute), second)| hour * 3_600 + minute * 60 + second),
            _ => None,
        };
        seconds.map(Self).ok_or_else(|| "write a time of the day in Beijing, for example 06:00 or 23:30:00".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_such_time_comes_after_the_present() {
        let next = |text: &str, now: &str| {
            let now = BeijingTime::parse(now).expect("a time");
            text.parse::<TimeOfDay>().expect("a time of the day").next_after(now).to_string()
        };
        assert_eq!(next("06:00", "2026-07-01 05:59:59"), "2026-07-01 06:00:00");
        assert_eq!(next("06:00", "2026-07-01 06:00:00"), "2026-07-02 06:00:00");
        assert_eq!(next("06:00", "2026-12-31 22:00:00"), "2027-01-01 06:00:00");
        assert_eq!(next("00:00", "2026-07-01 00:00:00"), "2026-07-02 00:00:00");
        assert_eq!(next("23:59:59", "2026-07-01 00:00:00"), "2026-07-01 23:59:59");
    }

    #[test]
    fn what_is_no_time_of_the_day_is_refused() {
        for text in
            ["", "6", "6:00", "24:00", "06:60", "06:00:60", "06:00:00:00", "06.00", "+6:00", "0600", "2026-07-01 06:00"]
        {
            assert!(text.parse::<TimeOfDay>().is_err_and(|told| told.contains("06:00")), "{text}");
        }
    }
}
