//! The seconds that windows cover together.

use super::Window;

/// A set of seconds, kept as disjoint windows in ascending order; windows that touch are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(Vec<Window>);

impl Coverage {
    /// Adds the seconds of `window`.
    pub fn insert(&mut self, window: Window) {
        let from = self.0.partition_point(|held| held.end().plus_seconds(1) < window.start());
        let to = self.0.partition_point(|held| held.start() <= window.end().plus_seconds(1));
        let joined = self.0[from..to].iter().fold(window, |all, held| all.hull(*held));
        self.0.splice(from..to, [joined]);
    }

    /// Takes the seconds of `window` out.
    pub fn remove(&mut self, window: Window) {
        let from = self.0.partition_point(|held| held.end() < window.start());
        let to = self.0.partition_point(|held| held.start() <= window.end());
        let mut left = Vec::new();
        for held in &self.0[from..to] {
            // The first second that can be written has none before it, nor the last one any after it.
            let before = window.start().plus_seconds(-1);
            left.extend(Window::new(held.start(), held.end().min(before)).filter(|_| before < window.start()));
            let after = window.end().plus_seconds(1);
            left.extend(Window::new(held.start().max(after), held.end()).filter(|_| window.end() < after));
        }
        self.0.splice(from..to, left);
    }

    /// The parts of `window` that are not covered, in ascending order.
    pub fn gaps(&self, window: Window) -> Vec<Window> {
        let mut wanted = Coverage(vec![window]);
        let from = self.0.partition_point(|held| held.end() < window.start());
        for held in self.0[from..].iter().take_while(|held| held.start() <= window.end()) {
            wanted.remove(*held);
        }
        wanted.0
    }

    /// The disjoint windows, in ascending order.
    pub fn windows(&self) -> &[Window] {
        &self.0
    }

    /// From the first covered second to the last, gaps included; `None` when nothing is covered.
    pub fn span(&self) -> Option<Window> {
        Some(self.0.first()?.hull(*self.0.last()?))
    }
}

impl FromIterator<Window> for Coverage {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        let mut coverage = Self::default();
        windows.into_iter().for_each(|window| coverage.insert(window));
        coverage
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::time::BeijingTime;

    fn window(start: i64, end: i64) -> Window {
        Window::new(BeijingTime(start), BeijingTime(end)).expect("a window")
    }

    #[test]
    fn the_ends_of_time_can_be_covered() {
        let (first, last) = (BeijingTime(0).plus_seconds(i64::MIN), BeijingTime(0).plus_seconds(i64::MAX));
        let all = Window::new(first, last).expect("a window");
        for covered in [Window::new(first, BeijingTime(0)), Window::new(BeijingTime(0), last), Some(all)] {
            let covered = covered.expect("a window");
            let mut coverage = Coverage::from_iter([covered]);
            assert_eq!(coverage.gaps(covered), []);
            coverage.remove(covered);
            assert_eq!(coverage, Coverage::default());
        }
        assert_eq!(Coverage::from_iter([all]).gaps(window(0, 9)), []);
    }

    proptest! {
        #[test]
        fn coverage_is_a_set_of_seconds(
            steps in prop::collection::vec((any::<bool>(), 0_i64..60, 0_i64..12), 0..30),
            wanted in (0_i64..60, 0_i64..30),
        ) {
            let (mut coverage, mut oracle) = (Coverage::default(), BTreeSet::new());
            for (add, start, more) in steps {
                if add {
                    coverage.insert(window(start, start + more));
                    oracle.extend(start..=start + more);
                } else {
                    coverage.remove(window(start, start + more));
                    oracle.retain(|second| !(start..=start + more).contains(second));
                }
                let held: Vec<i64> = coverage.windows().iter().flat_map(|w| w.start().0..=w.end().0).collect();
                prop_assert_eq!(&held, &oracle.iter().copied().collect::<Vec<_>>());
                let are_apart = coverage.windows().windows(2).all(|pair| pair[0].end().0 + 1 < pair[1].start().0);
                prop_assert!(are_apart, "touching windows are joined");
            }
            let wanted = window(wanted.0, wanted.0 + wanted.1);
            let gaps: Vec<i64> = coverage.gaps(wanted).iter().flat_map(|w| w.start().0..=w.end().0).collect();
            let missing = (wanted.start().0..=wanted.end().0).filter(|second| !oracle.contains(second));
            prop_assert_eq!(gaps, missing.collect::<Vec<_>>());
        }
    }
}
