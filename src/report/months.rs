//! Something by Beijing month: the last months one by one, those before and after them together, and what has none.

use crate::time::{BeijingTime, Month};

/// How many months are told apart.
pub(super) const MONTHS: usize = 24;

/// What falls into each of the last months up to one of them, before and after these, and into none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MonthAxis<T> {
    /// The months, the earliest first.
    pub(super) months: Vec<(Month, T)>,
    /// What lies before them.
    pub(super) earlier: T,
    /// What lies after them.
    pub(super) later: T,
    /// What has no time.
    pub(super) undated: T,
}

impl<T: Default> MonthAxis<T> {
    /// The last months up to that of a time.
    pub(super) fn until(last: BeijingTime) -> Self {
        let mut months = vec![(last.month(), T::default())];
        while months.len() < MONTHS {
            let before = months.last().map(|(month, _)| month.start().plus_seconds(-1));
            let Some(before) = before.filter(|before| *before > BeijingTime::FIRST) else { break };
            months.push((before.month(), T::default()));
        }
        months.reverse();
        Self { months, earlier: T::default(), later: T::default(), undated: T::default() }
    }

    /// Where a time falls, in microseconds since 1970-01-01 00:00:00 UTC.
    pub(super) fn of(&mut self, micros: Option<i64>) -> &mut T {
        let Some(micros) = micros else { return &mut self.undated };
        let month = BeijingTime::from_micros(micros).month();
        // There is always one month at least.
        if self.months.first().is_some_and(|(first, _)| month < *first) {
            return &mut self.earlier;
        }
        match self.months.iter_mut().find(|(held, _)| *held == month) {
            Some((_, held)) => held,
            None => &mut self.later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_somewhere() {
        let at = |text: &str| BeijingTime::parse(text).expect("a time");
        let mut axis: MonthAxis<u64> = MonthAxis::until(at("2026-06-30 23:59:59"));
        assert_eq!((axis.months.len(), axis.months[0].0.to_string()), (MONTHS, "2024-07".to_owned()));
        for (time, place) in [
            ("2026-06-30 23:59:59", Some(23)),
            ("2026-06-01 00:00:00", Some(23)),
            ("2026-05-31 23:59:59", Some(22)),
            ("2024-07-01 00:00:00", Some(0)),
            ("2024-06-30 23:59:59", None),
            ("2026-07-01 00:00:00", None),
        ] {
            let before = axis.clone();
            *axis.of(Some(at(time).micros())) += 1;
            let moved = (0..MONTHS).find(|nth| axis.months[*nth] != before.months[*nth]);
            assert_eq!(moved, place, "{time}");
        }
        *axis.of(None) += 1;
        assert_eq!((axis.earlier, axis.later, axis.undated), (1, 1, 1));
    }
}
