//! What the walks of the last year cost: the calls of their proofs, as manifests tell them. Calls for what was not
//! proved are nowhere on record.

use futures::TryStreamExt as _;

use crate::error::Result;
use crate::log::{Lake, Manifest};
use crate::time::BeijingTime;

/// How many days are told one by one.
pub(super) const DAYS: usize = 30;
const SECONDS_OF_A_DAY: i64 = 86_400;
/// How many days count in all.
const ALL_DAYS: i64 = 366;
/// How many manifests are read at a time.
const CHUNK: u64 = 64;

/// What was spent up to a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spending {
    /// The first second after its last day.
    end: BeijingTime,
    /// The calls of the last days, the earliest first.
    pub(super) days: [u64; DAYS],
    /// The calls of the last year.
    pub(super) calls: u64,
    /// The retries of the last year.
    pub(super) retries: u64,
    /// The headers that the walks of the last year landed.
    pub(super) landed: u64,
    /// The calls of the last days, account by account.
    pub(super) by_account: Vec<u64>,
}

impl Spending {
    /// Nothing yet, up to the day of a time.
    pub(super) fn until(last: BeijingTime) -> Self {
        let next = BeijingTime::parse_date(&last.to_string()[..10]).map(|day| day.plus_seconds(SECONDS_OF_A_DAY));
        Self { end: next.unwrap_or(last), days: [0; DAYS], calls: 0, retries: 0, landed: 0, by_account: Vec::new() }
    }

    /// Adds the manifests of an account, the newest first, no more than count.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a manifest is missing or no manifest.
    pub(super) async fn add_account(&mut self, lake: &Lake) -> Result<()> {
        self.by_account.push(0);
        let mut last = lake.state().newest().map_or(0, |newest| newest.number);
        let first_second = self.end.plus_seconds(-ALL_DAYS * SECONDS_OF_A_DAY);
        while last > 0 {
            let first = last.saturating_sub(CHUNK - 1).max(1);
            let manifests: Vec<_> = Box::pin(lake.manifests(first..=last).await?).try_collect().await?;
            manifests.iter().for_each(|(manifest, _)| self.add(manifest));
            if manifests.iter().all(|(manifest, _)| manifest.created_at < first_second) {
                break;
            }
            last = first - 1;
        }
        Ok(())
    }

    fn add(&mut self, manifest: &Manifest) {
        let days_ago = (self.end.unix() - 1 - manifest.created_at.unix()).div_euclid(SECONDS_OF_A_DAY);
        let Some(walk) = manifest.walk.as_ref().filter(|_| (0..ALL_DAYS).contains(&days_ago)) else { return };
        self.calls += walk.proof.calls;
        self.retries += walk.proof.retries;
        self.landed += walk.proof.rows_landed;
        let place = usize::try_from(days_ago).ok().and_then(|ago| DAYS.checked_sub(ago + 1));
        if let Some(day) = place.and_then(|place| self.days.get_mut(place)) {
            *day += walk.proof.calls;
            if let Some(of_account) = self.by_account.last_mut() {
                *of_account += walk.proof.calls;
            }
        }
    }

    /// The days that are told, each by its first second, with their calls.
    pub(super) fn by_day(&self) -> impl Iterator<Item = (BeijingTime, u64)> {
        let first = -(i64::try_from(DAYS).unwrap_or(0));
        (first..0).zip(self.days).map(|(day, calls)| (self.end.plus_seconds(day * SECONDS_OF_A_DAY), calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::sample_manifest;

    #[test]
    fn calls_count_on_their_day_and_in_their_year() {
        let at = |text: &str| BeijingTime::parse(text).expect("a time");
        let mut spending = Spending::until(at("2026-06-30 09:00:00"));
        spending.by_account.push(0);
        let mut manifest = sample_manifest();
        let calls = manifest.walk.as_ref().expect("a walk").proof.calls;
        assert!(calls > 0);
        for created in [
            "2026-06-30 23:59:59",
            "2026-06-30 00:00:00",
            "2026-06-01 00:00:00",
            "2026-05-31 23:59:59",
            "2025-06-30 00:00:00",
            "2025-06-29 23:59:59",
            "2026-07-01 00:00:00",
        ] {
            manifest.created_at = at(created);
            spending.add(&manifest);
        }
        assert_eq!((spending.days[29], spending.days[0]), (2 * calls, calls));
        assert_eq!((spending.calls, &spending.by_account[..]), (5 * calls, &[3 * calls][..]));
        let days: Vec<_> = spending.by_day().map(|(day, _)| day).collect();
        assert_eq!((days[0], days[29]), (at("2026-06-01 00:00:00"), at("2026-06-30 00:00:00")));
    }
}
