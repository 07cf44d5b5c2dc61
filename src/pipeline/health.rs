//! How an account of a lake stands, for whoever watches it: up to which second it is complete, what is left over, and
//! what of that is worth a person's look.
//!
//! An account is *complete* up to the later of the end of its coverage and the second up to which the ERP was asked,
//! for an empty end is asked for and not committed; and never past a gap.

use std::time::Duration;

use crate::error::Result;
use crate::id::AccountName;
use crate::land::last_run;
use crate::log::Lake;
use crate::store::Store;
use crate::time::{BeijingTime, Coverage, Window};

/// A stop without an outcome for so long is at work nowhere any more: the gateway's 120 seconds, the margin and some
/// tries are over.
const OPEN_STOP_SECONDS: i64 = 600;

/// How an account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountHealth {
    /// The account.
    pub(crate) account: AccountName,
    /// The last covered second, gaps before it or not.
    pub(crate) covered_until: Option<BeijingTime>,
    /// The last second up to which the ERP is known to have been asked.
    pub(crate) checked_until: Option<BeijingTime>,
    /// The last second before which nothing is missing.
    pub(crate) complete_until: Option<BeijingTime>,
    /// The seconds that are missing between the first one that was ever asked for and the last covered one.
    pub(crate) gaps: Vec<Window>,
    /// When a sync last ended that left no gap in its range and no error.
    pub(crate) last_success_at: Option<BeijingTime>,
    /// Records in quarantine.
    pub(crate) quarantined: u64,
    /// When the stops were requested that have no result yet.
    pub(crate) open_stops: Vec<BeijingTime>,
    /// Stops whose result is that nobody knows.
    pub(crate) unknown_stops: u64,
}

/// Reads how an account of a lake stands at `now`.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when its log contradicts itself.
pub(crate) async fn health(store: &Store, account: &AccountName, now: BeijingTime) -> Result<AccountHealth> {
    // The lease first: what the log says is then no older.
    let last_end = last_run(store, account.clone(), now).await?.last_end;
    let lake = Lake::open(store.clone(), account.clone()).await?;
    let covered_until = lake.coverage().span().map(Window::end);
    let asked = last_end.as_ref().and_then(|end| end.checked_until);
    let checked_until = covered_until.max(asked);
    let gaps = gaps_of(&lake);
    let stops = lake.state().stops().pending();
    Ok(AccountHealth {
        account: account.clone(),
        covered_until,
        checked_until,
        complete_until: complete_until(lake.state().start(), &gaps, checked_until),
        gaps,
        last_success_at: last_end.and_then(|end| end.succeeded_at),
        quarantined: lake.quarantined(),
        open_stops: stops.values().filter(|held| !held.is_unknown).map(|held| held.requested_at).collect(),
        unknown_stops: stops.values().filter(|held| held.is_unknown).count() as u64,
    })
}

/// The seconds that are missing between the first one that was ever asked for and the last covered one.
pub(crate) fn gaps_of(lake: &Lake) -> Vec<Window> {
    missing(lake.state().start(), lake.coverage())
}

fn missing(start: Option<BeijingTime>, coverage: &Coverage) -> Vec<Window> {
    let wanted = start.zip(coverage.span()).and_then(|(start, span)| Window::new(start, span.end()));
    wanted.map(|wanted| coverage.gaps(wanted)).unwrap_or_default()
}

/// The last second before which nothing is missing; none when the first one is.
fn complete_until(
    start: Option<BeijingTime>,
    gaps: &[Window],
    checked_until: Option<BeijingTime>,
) -> Option<BeijingTime> {
    match gaps.first() {
        None => checked_until,
        Some(gap) if Some(gap.start()) == start => None,
        Some(gap) => Some(gap.start().plus_seconds(-1)),
    }
}

/// How grave it is. The order is that in which one hides another: what is not known is not hidden by a warning, and
/// hides nothing that is critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HealthLevel {
    Ok,
    Warning,
    Unknown,
    Critical,
}

impl HealthLevel {
    /// All of them, in the order of the documented table.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Critical, Self::Unknown];

    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The exit code by which monitors tell it: that of Nagios plugins.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

/// What is asked of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HealthChecks {
    /// How long ago the second may be up to which it is complete.
    pub(crate) max_age: Option<Duration>,
    /// The second up to which it must be complete.
    pub(crate) covered_until: Option<BeijingTime>,
    /// What may be left over, where that is judged.
    pub(crate) leftovers: Option<LeftoverLimits>,
}

/// What may be left over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftoverLimits {
    /// Records in quarantine that somebody has looked at.
    pub(crate) quarantined: u64,
}

/// Something of an account that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthFinding {
    /// The lake has nothing of it, though it is set.
    Absent,
    /// It is not complete up to the second that is wanted.
    NotCovered { wanted: BeijingTime, until: Option<BeijingTime> },
    /// It is complete up to a second that is too long ago.
    TooOld { until: Option<BeijingTime>, seconds: u64, max_age: Duration },
    /// Seconds before the last covered one are missing.
    Gaps { count: u64, first: Window },
    /// Records are in quarantine.
    Quarantined { records: u64, limit: u64 },
    /// Stops have no result, and are at work nowhere any more.
    OpenStops { count: u64 },
    /// Nobody knows whether these stops had their effect.
    UnknownStops { count: u64 },
}

impl HealthFinding {
    /// How grave it is. What is missing or too old is wrong for every reader. What is left over is for office hours; a
    /// gap becomes critical by its age, because nothing is complete past it.
    pub(crate) fn level(&self) -> HealthLevel {
        match self {
            Self::Absent | Self::NotCovered { .. } | Self::TooOld { .. } => HealthLevel::Critical,
            Self::Gaps { .. } | Self::Quarantined { .. } | Self::OpenStops { .. } | Self::UnknownStops { .. } => {
                HealthLevel::Warning
            }
        }
    }

    /// Its name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NotCovered { .. } => "not_covered",
            Self::TooOld { .. } => "too_old",
            Self::Gaps { .. } => "gaps",
            Self::Quarantined { .. } => "quarantined",
            Self::OpenStops { .. } => "open_stops",
            Self::UnknownStops { .. } => "unknown_stops",
        }
    }
}

impl AccountHealth {
    /// How many seconds before `now` the account is complete; none where it is nowhere.
    pub(crate) fn age_seconds(&self, now: BeijingTime) -> Option<u64> {
        self.complete_until.map(|until| u64::try_from(now.unix() - until.unix()).unwrap_or(0))
    }

    /// What of it is not as `checks` want it at `now`, the gravest first.
    pub(crate) fn findings(&self, checks: &HealthChecks, now: BeijingTime) -> Vec<HealthFinding> {
        let until = self.complete_until;
        let is_missing = |wanted: &BeijingTime| until.is_none_or(|until| until < *wanted);
        let not_covered = checks.covered_until.filter(is_missing);
        let seconds = self.age_seconds(now);
        let too_old = checks.max_age.filter(|max_age| seconds.is_none_or(|seconds| seconds > max_age.as_secs()));
        let mut found: Vec<HealthFinding> =
            not_covered.map(|wanted| HealthFinding::NotCovered { wanted, until }).into_iter().collect();
        found.extend(too_old.map(|max_age| HealthFinding::TooOld {
            until,
            seconds: seconds.unwrap_or_default(),
            max_age,
        }));
        let Some(limits) = checks.leftovers else { return found };
        if let Some(first) = self.gaps.first() {
            found.push(HealthFinding::Gaps { count: self.gaps.len() as u64, first: *first });
        }
        if self.quarantined > limits.quarantined {
            found.push(HealthFinding::Quarantined { records: self.quarantined, limit: limits.quarantined });
        }
        if self.unknown_stops > 0 {
            found.push(HealthFinding::UnknownStops { count: self.unknown_stops });
        }
        let is_left = |asked: &&BeijingTime| now.unix() - asked.unix() > OPEN_STOP_SECONDS;
        let left = self.open_stops.iter().filter(is_left).count() as u64;
        if left > 0 {
            found.push(HealthFinding::OpenStops { count: left });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> BeijingTime {
        BeijingTime::from_unix(1_780_000_000 + second).expect("a time")
    }

    fn window(start: i64, end: i64) -> Window {
        Window::new(at(start), at(end)).expect("a window")
    }

    fn sound() -> AccountHealth {
        AccountHealth {
            account: "acme".parse().expect("a name"),
            covered_until: Some(at(100)),
            checked_until: Some(at(200)),
            complete_until: Some(at(200)),
            gaps: Vec::new(),
            last_success_at: Some(at(210)),
            quarantined: 0,
            open_stops: Vec::new(),
            unknown_stops: 0,
        }
    }

    fn names(health: &AccountHealth, checks: &HealthChecks, now: i64) -> Vec<(&'static str, HealthLevel)> {
        health.findings(checks, at(now)).iter().map(|found| (found.name(), found.level())).collect()
    }

    #[test]
    fn an_account_is_complete_up_to_what_was_asked_and_never_past_a_gap() {
        let coverage =
            |windows: &[(i64, i64)]| windows.iter().map(|(from, to)| window(*from, *to)).collect::<Coverage>();
        let until = |start: Option<i64>, windows: &[(i64, i64)], asked: Option<i64>| {
            let (start, coverage) = (start.map(at), coverage(windows));
            let checked = coverage.span().map(Window::end).max(asked.map(at));
            complete_until(start, &missing(start, &coverage), checked)
        };
        assert_eq!(until(None, &[], None), None);
        assert_eq!(until(Some(0), &[], None), None, "nothing was asked yet");
        assert_eq!(until(Some(0), &[], Some(50)), Some(at(50)), "all of it was empty");
        assert_eq!(until(Some(0), &[(0, 99)], None), Some(at(99)));
        assert_eq!(until(Some(0), &[(0, 99)], Some(150)), Some(at(150)), "an empty end");
        assert_eq!(until(Some(0), &[(0, 99)], Some(50)), Some(at(99)));
        assert_eq!(until(Some(0), &[(0, 99), (120, 149)], Some(200)), Some(at(99)), "never past a gap");
        assert_eq!(until(Some(-50), &[(0, 99)], Some(200)), None, "the first second is missing");
    }

    #[test]
    fn what_is_too_old_or_missing_is_critical() {
        let health = sound();
        let old = HealthChecks { max_age: Some(Duration::from_secs(60)), ..HealthChecks::default() };
        assert_eq!(names(&health, &old, 260), [], "exactly as old as it may be");
        assert_eq!(names(&health, &old, 261), [("too_old", HealthLevel::Critical)]);
        assert_eq!(names(&health, &old, 0), [], "a clock that is behind");
        let wanted = |second| HealthChecks { covered_until: Some(at(second)), ..HealthChecks::default() };
        assert_eq!(names(&health, &wanted(200), 9_999), []);
        assert_eq!(names(&health, &wanted(201), 9_999), [("not_covered", HealthLevel::Critical)]);
        let nothing = AccountHealth { complete_until: None, ..health };
        for checks in [old, wanted(1)] {
            assert_eq!(nothing.findings(&checks, at(300)).len(), 1, "{checks:?}");
        }
    }

    #[test]
    fn what_is_left_over_is_a_warning_where_it_is_asked_for() {
        let left = AccountHealth {
            gaps: vec![window(10, 20)],
            quarantined: 3,
            unknown_stops: 1,
            open_stops: vec![at(0), at(500)],
            ..sound()
        };
        assert_eq!(names(&left, &HealthChecks::default(), 700), [], "nobody asked");
        let all =
            |quarantined| HealthChecks { leftovers: Some(LeftoverLimits { quarantined }), ..HealthChecks::default() };
        let warnings =
            |names: &[&'static str]| names.iter().map(|name| (*name, HealthLevel::Warning)).collect::<Vec<_>>();
        assert_eq!(names(&left, &all(2), 700), warnings(&["gaps", "quarantined", "unknown_stops", "open_stops"]));
        assert_eq!(left.findings(&all(3), at(700)).pop(), Some(HealthFinding::OpenStops { count: 1 }));
        assert_eq!(names(&left, &all(3), 600), warnings(&["gaps", "unknown_stops"]), "a stop that is under way");
    }

    #[test]
    fn the_gravest_level_hides_the_others() {
        let mut sorted = HealthLevel::ALL;
        sorted.sort();
        let names: Vec<&str> = sorted.iter().map(|level| level.name()).collect();
        assert_eq!(names, ["ok", "warning", "unknown", "critical"]);
        assert_eq!(HealthLevel::ALL.map(HealthLevel::exit_code), [0, 1, 2, 3]);
    }
}
