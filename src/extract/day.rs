//! How requisitions are spread over the hours of a day: an hour before noon holds many times what an hour at night
//! holds, so a window of half a day cannot be planned by the half day before it.

use crate::time::{BeijingTime, Window};

/// The weight of a second when nothing is known of its hour.
const USUAL: u128 = 1024;
/// No hour weighs less: what never had rows may have some tomorrow.
const LEAST: u128 = USUAL / 64;
/// How many seconds of an hour of the day are remembered in full; of older ones ever less.
const REMEMBERED_SECONDS: u64 = 30 * 3_600;

/// Rows of each hour of a day in Beijing.
pub(crate) type Hours = [u64; 24];

/// What was seen of the hours of a day.
#[derive(Clone, Debug, Default)]
pub(super) struct Day {
    rows: Hours,
    seconds: Hours,
}

impl Day {
    /// Notes how the rows of a window were spread.
    pub(super) fn learn(&mut self, window: Window, rows: &Hours) {
        for (hour, seconds) in hours(window) {
            self.seconds[hour] += seconds;
        }
        for (hour, rows) in rows.iter().enumerate() {
            self.rows[hour] += rows;
            while self.seconds[hour] > REMEMBERED_SECONDS {
                self.rows[hour] /= 2;
                self.seconds[hour] /= 2;
            }
        }
    }

    /// What `window` weighs: its seconds, each by its hour.
    pub(super) fn weight(&self, window: Window) -> u128 {
        hours(window).map(|(hour, seconds)| u128::from(seconds) * self.weight_of(hour)).sum()
    }

    /// What so many seconds weigh on the average of a day.
    pub(super) fn usual_weight(seconds: u64) -> u128 {
        u128::from(seconds) * USUAL
    }

    /// How many seconds from the start of `window` on weigh no more than `weight`; all of them when the window weighs
    /// less.
    pub(super) fn seconds(&self, window: Window, weight: u128) -> u64 {
        let (mut left, mut taken) = (weight, 0);
        for (hour, seconds) in hours(window) {
            let (all, one) = (u128::from(seconds) * self.weight_of(hour), self.weight_of(hour));
            if all > left {
                return taken + u64::try_from(left / one).unwrap_or(seconds);
            }
            left -= all;
            taken += seconds;
        }
        taken
    }

    /// How much more than a usual second one of that hour holds.
    fn weight_of(&self, hour: usize) -> u128 {
        let (all_rows, all_seconds) = (sum(&self.rows), sum(&self.seconds));
        match self.seconds[hour] {
            0 => USUAL,
            _ if all_rows == 0 => USUAL,
            seconds => {
                let usual = USUAL * u128::from(self.rows[hour]) * all_seconds / u128::from(seconds) / all_rows;
                usual.max(LEAST)
            }
        }
    }
}

fn sum(hours: &Hours) -> u128 {
    hours.iter().copied().map(u128::from).sum()
}

/// The hours of the day that a window touches, one after the other, and the seconds of it in each.
fn hours(window: Window) -> impl Iterator<Item = (usize, u64)> {
    let mut rest = Some(window);
    std::iter::from_fn(move || {
        let window = rest?;
        let (piece, after) = window.split_at(3_600 - second_of_hour(window.start()));
        rest = after;
        Some((window.start().hour(), piece.seconds()))
    })
}

fn second_of_hour(time: BeijingTime) -> u64 {
    // The offset of Beijing is whole hours.
    time.unix().rem_euclid(3_600).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, end: &str) -> Window {
        let at = |text| BeijingTime::parse(text).expect("a time");
        Window::new(at(start), at(end)).expect("a window")
    }

    #[test]
    fn a_window_is_cut_into_its_hours() {
        let of = |start, end| hours(window(start, end)).collect::<Vec<_>>();
        assert_eq!(of("2026-01-01 09:59:59", "2026-01-01 11:00:00"), [(9, 1), (10, 3_600), (11, 1)]);
        assert_eq!(of("2026-01-01 23:30:00", "2026-01-02 00:29:59"), [(23, 1_800), (0, 1_800)]);
        assert_eq!(of("2026-01-01 07:00:00", "2026-01-01 07:00:00"), [(7, 1)]);
    }

    #[test]
    fn busy_hours_weigh_more() {
        let mut day = Day::default();
        let (night, morning) = (
            window("2026-01-01 03:00:00", "2026-01-01 03:59:59"),
            window("2026-01-01 10:00:00", "2026-01-01 10:59:59"),
        );
        let whole = window("2026-01-01 00:00:00", "2026-01-01 23:59:59");
        assert_eq!(day.weight(whole), Day::usual_weight(86_400));
        let mut rows = [0; 24];
        (rows[10], rows[15]) = (300, 100);
        day.learn(whole, &rows);
        assert_eq!(day.weight(morning), 18 * Day::usual_weight(3_600), "300 of 400 rows");
        assert_eq!(day.weight(night), LEAST * 3_600, "but not nothing");
        // A budget for half of the busy hour takes the night along.
        let from_midnight = day.seconds(whole, day.weight(window("2026-01-01 00:00:00", "2026-01-01 10:29:59")));
        assert_eq!(from_midnight, 10 * 3_600 + 1_800);
        assert_eq!(day.seconds(whole, u128::MAX), 86_400);
        (0..100).for_each(|_| day.learn(whole, &rows));
        assert_eq!(day.weight(morning), 18 * Day::usual_weight(3_600), "what is forgotten takes its seconds along");
    }
}
