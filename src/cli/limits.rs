//! Limits of calls that accounts of a file share by their name.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::config::AccountDefaults;
use crate::gateway::CallPolicy;

/// What the accounts of each limit may do together: of what is set for them, or usual, the least.
#[derive(Debug, Default)]
pub(super) struct SharedLimits(BTreeMap<String, (u32, u32)>);

impl SharedLimits {
    /// Of all accounts of a file, chosen or not.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a AccountDefaults>) -> Self {
        let usual = CallPolicy::default();
        let mut limits = BTreeMap::new();
        for terms in all {
            let Some(limit) = &terms.limit else { continue };
            let calls_per_minute = terms.calls_per_minute.unwrap_or(usual.calls_per_minute);
            let concurrency = terms.concurrency.map_or(usual.concurrency, NonZeroU32::get);
            let (known_calls, known_concurrency) =
                limits.entry(limit.clone()).or_insert((calls_per_minute, concurrency));
            // 0 is no limit.
            let limited = [*known_calls, calls_per_minute].into_iter().filter(|calls| *calls > 0);
            *known_calls = limited.min().unwrap_or(0);
            *known_concurrency = concurrency.min(*known_concurrency);
        }
        Self(limits)
    }

    /// The terms of an account, with those of the limit that it shares.
    pub(super) fn terms(&self, own: &AccountDefaults) -> AccountDefaults {
        let mut terms = own.clone();
        if let Some((calls_per_minute, concurrency)) = own.limit.as_ref().and_then(|limit| self.0.get(limit)) {
            terms.calls_per_minute = Some(*calls_per_minute);
            terms.concurrency = NonZeroU32::new(*concurrency);
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_counts_for_all_together() {
        let terms = |limit: Option<&str>, calls_per_minute, concurrency: Option<u32>| AccountDefaults {
            limit: limit.map(str::to_owned),
            calls_per_minute,
            concurrency: concurrency.and_then(NonZeroU32::new),
            ..AccountDefaults::default()
        };
        let all = [
            terms(Some("a"), Some(0), Some(8)),
            terms(Some("a"), Some(30), Some(2)),
            terms(Some("a"), None, None),
            terms(Some("b"), Some(0), Some(9)),
            terms(Some("c"), Some(90), None),
            terms(Some("c"), None, Some(9)),
            terms(None, Some(7), Some(3)),
            terms(None, None, None),
        ];
        let limits = SharedLimits::of(all.iter());
        let counted = all.iter().map(|own| limits.terms(own));
        let counted: Vec<_> = counted.map(|one| (one.calls_per_minute, one.concurrency.map(NonZeroU32::get))).collect();
        let (a, b, c) = ((Some(30), Some(2)), (Some(0), Some(9)), (Some(60), Some(4)));
        assert_eq!(counted, [a, a, a, b, c, c, (Some(7), Some(3)), (None, None)]);
    }
}
