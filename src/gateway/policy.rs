//! How calls are limited and tried again, in numbers. `docs/gateway.md` says the same numbers; a test keeps it true.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::refusal::RefusalRule;

/// How calls of one account and method are limited and how long they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPolicy {
    /// Calls within any sixty seconds; 0 for no limit.
    pub calls_per_minute: u32,
    /// Requests in flight.
    pub concurrency: u32,
    /// The name of the limit that the account shares with others of the process: both numbers are for all of them
    /// together.
    pub limit: Option<String>,
    /// The longest that one try may take, its body included.
    pub timeout: Duration,
    /// How long a call is tried again after its first failure.
    pub max_retry_time: Duration,
    /// What the user knows better of refusals than the table does.
    pub refusals: Vec<RefusalRule>,
    /// The longest delay before the first retry; it doubles up to [`CallPolicy::LONGEST_DELAY`].
    pub first_delay: Duration,
    /// The largest response that is read, decompressed.
    pub max_response_bytes: u64,
    /// Whether the proxies that the environment names are used.
    pub proxy: ProxyUse,
}

/// Whether calls go through the proxies that the environment names. Loopback addresses are always called directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProxyUse {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` decide.
    #[default]
    Environment,
    /// No proxy is used.
    Never,
}

impl CallPolicy {
    /// No delay between two tries is longer, unless the server asks for it or a rate limit has to be waited out.
    pub const LONGEST_DELAY: Duration = Duration::from_secs(30);
    /// A longer `Retry-After` counts as this.
    pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
    /// How often a response that cannot be read is asked for before it is taken for unreadable.
    pub const UNREADABLE_TRIES: u32 = 3;
    /// How often a query is sent that is refused in words that nobody knows, before it stops its window.
    pub const UNKNOWN_REFUSAL_TRIES: u32 = 5;

    /// The delays before one retry after the other, without end. Each lies between half of its length and the whole, at
    /// random.
    pub(super) fn delays(&self) -> impl Iterator<Item = Duration> {
        // The jitter of this builder adds up to as much again.
        ExponentialBuilder::default()
            .with_min_delay(self.first_delay / 2)
            .with_max_delay(Self::LONGEST_DELAY / 2)
            .with_jitter()
            .without_max_times()
            .build()
    }

    /// The delay after the `nth` refusal of one query, from 1, that names no limit.
    pub(super) fn refusal_delay(&self, nth: u32) -> Duration {
        self.first_delay.saturating_mul(1 << nth.clamp(1, 16)).min(Self::LONGEST_DELAY)
    }
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            calls_per_minute: 60,
            concurrency: 4,
            limit: None,
            timeout: Duration::from_secs(60),
            max_retry_time: Duration::from_secs(600),
            refusals: Vec::new(),
            first_delay: Duration::from_millis(500),
            max_response_bytes: 128 << 20,
            proxy: ProxyUse::Environment,
        }
    }
}

/// How long the server asks to wait: in seconds, or until a date by its own clock, else by ours.
pub(super) fn retry_after(headers: &HeaderMap, our_now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    let wait = if !asked.is_empty() && asked.bytes().all(|digit| digit.is_ascii_digit()) {
        // More digits than fit are a long time too.
        asked.parse().map_or(CallPolicy::LONGEST_RETRY_AFTER, Duration::from_secs)
    } else {
        let until = httpdate::parse_http_date(asked).ok()?;
        let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(our_now);
        until.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(CallPolicy::LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const DOCUMENTED: &str = include_str!("../../docs/gateway.md");

    #[test]
    fn delays_are_the_documented_ones() {
        let policy = CallPolicy::default();
        for _ in 0..50 {
            let mut longest = Duration::from_millis(500);
            for (nth, delay) in policy.delays().take(12).enumerate() {
                assert!(delay >= longest / 2 && delay <= longest, "retry {nth}: {delay:?}, at most {longest:?}");
                longest = (longest * 2).min(Duration::from_secs(30));
            }
        }
        let of_refusals: Vec<u64> = (1..=7).map(|nth| policy.refusal_delay(nth).as_secs()).collect();
        assert_eq!(of_refusals, [1, 2, 4, 8, 16, 30, 30]);
        for sentence in [
            format!(
                "Delays double from {} s to {} s",
                policy.first_delay.as_secs_f32(),
                CallPolicy::LONGEST_DELAY.as_secs()
            ),
            format!("`--max-retry-time` ({} minutes)", policy.max_retry_time.as_secs() / 60),
            format!("`Retry-After` counts up to {} minutes", CallPolicy::LONGEST_RETRY_AFTER.as_secs() / 60),
            format!("requested {} times in all", CallPolicy::UNREADABLE_TRIES),
            format!("sent {} times in all", CallPolicy::UNKNOWN_REFUSAL_TRIES),
            "1 s, 2 s, 4 s and so on up to 30 s".to_owned(),
            format!("(`--concurrency`, default {})", policy.concurrency),
            format!("(`--calls-per-minute`, default {})", policy.calls_per_minute),
        ] {
            assert!(DOCUMENTED.contains(&sentence), "docs/gateway.md should say: {sentence}");
        }
    }

    fn asked(retry_after_value: &str, date: Option<&str>, our_now: u64) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after_value.parse().expect("a header"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a header"));
        }
        retry_after(&headers, UNIX_EPOCH + Duration::from_secs(our_now)).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_understood_in_both_forms() {
        let (one, seven) = ("Fri, 01 May 2026 10:00:01 GMT", "Fri, 01 May 2026 10:00:07 GMT");
        let seconds_of_one = 1_777_629_601;
        for (text, date, our_now, expected) in [
            ("7", None, 0, Some(7)),
            (" 7 ", Some(one), 0, Some(7)),
            ("0", None, 0, Some(0)),
            ("86400", None, 0, Some(600)),
            ("99999999999999999999999999", None, 0, Some(600)),
            // The server's own clock counts, however wrong ours is.
            (seven, Some(one), 0, Some(6)),
            (seven, Some(one), seconds_of_one + 9_999, Some(6)),
            (seven, None, seconds_of_one, Some(6)),
            (seven, Some("soon"), seconds_of_one, Some(6)),
            (one, Some(seven), 0, Some(0)),
            ("Friday, 01-May-26 10:00:07 GMT", Some(one), 0, Some(6)),
            ("Fri May  1 10:00:07 2026", Some(one), 0, Some(6)),
            ("Sat, 01 May 2027 10:00:01 GMT", Some(one), 0, Some(600)),
            ("soon", None, 0, None),
            ("", None, 0, None),
            ("-7", None, 0, None),
            ("1.5", None, 0, None),
        ] {
            assert_eq!(asked(text, date, our_now), expected, "{text}, {date:?}, {our_now}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), UNIX_EPOCH), None);
    }

    proptest! {
        /// What is asked for in seconds and as the date that is so far away is the same.
        #[test]
        fn both_forms_say_the_same(now in 0_u64..4_000_000_000, wait in 0_u64..2_000) {
            let date = |seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(asked(&date(now + wait), Some(&date(now)), 0), asked(&wait.to_string(), None, 0));
        }
    }
}
