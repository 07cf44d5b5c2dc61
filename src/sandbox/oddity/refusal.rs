//! Refusals that pass: busy, out of order, unknown, come again later; and one of pages that lie too deep in their list.

use crate::edition::Edition;

use super::super::fault::{Fault, RetryAfter};
use super::{Oddities, Oddity, OddityKind, Takes, Unit};

const SOME: Takes = Takes::Every(5);

const BUSY: OddityKind = OddityKind::new(
    "busy",
    SOME,
    "every N-th call is refused with a text for too often or too busy, one after the other",
);
const SYSTEM_ERROR: OddityKind = OddityKind::new(
    "system-error",
    SOME,
    "every N-th call is refused with a text for a failure of database or system or for a time-out",
);
const UNKNOWN_CODE: OddityKind =
    OddityKind::new("unknown-code", SOME, "every N-th call is refused with a code and a text that nobody knows");
const BUSY_SUCCESS: OddityKind = OddityKind::new(
    "busy-success",
    SOME,
    "every N-th call gets the code of a success and no list, with a text for trouble or with none",
);
const DEEP_PAGES: OddityKind = OddityKind::new(
    "deep-pages",
    Takes::Amount(Unit::Rows, 100),
    "pages that begin behind so many rows of their list are refused",
);
const UNAVAILABLE: OddityKind = OddityKind::new("unavailable", SOME, "every N-th call gets HTTP status 503");
const RETRY_AFTER: OddityKind = OddityKind::new(
    "retry-after",
    Takes::AmountEvery(Unit::Seconds, 1, 5),
    "every N-th call gets HTTP status 503 and a `Retry-After` in seconds",
);
const RETRY_AFTER_DATE: OddityKind = OddityKind::new(
    "retry-after-date",
    Takes::AmountEvery(Unit::Seconds, 2, 5),
    "every N-th call gets HTTP status 503 and a `Retry-After` that is a date so far ahead",
);

pub(super) const KINDS: &[OddityKind] =
    &[BUSY, SYSTEM_ERROR, UNKNOWN_CODE, BUSY_SUCCESS, DEEP_PAGES, UNAVAILABLE, RETRY_AFTER, RETRY_AFTER_DATE];

/// How Chinese open platforms say "too often, come again later".
const BUSY_TEXTS: &[&str] = &[
    "系统繁忙",
    "调用太频繁，请稍后再试!",
    "请求过于频繁",
    "系统异常，请稍后再试",
    "接口调用已被限流",
    "Too many requests",
    "请求超时",
    "系统维护中",
    "QPS超过上限",
];
const SYSTEM_TEXTS: &[&str] =
    &["数据库错误", "系统错误", "系统异常", "服务器内部错误", "数据库连接超时", "read timed out"];
/// What stands beside the code of a success that is none.
const BUSY_SUCCESS_TEXTS: &[&str] = &["系统繁忙，请稍后再试", "数据库错误", "", "服务异常"];
/// Codes that neither gateway documents, and texts without a word that tells anything.
const UNKNOWN: &[(i64, &str)] = &[(4711, "未知错误"), (-1, "error"), (90_001, "E90001"), (7777, "")];

impl Oddities {
    /// The fault that the call `nth` meets before the gateway does anything. Several take their turns at different
    /// calls.
    pub(in crate::sandbox) fn fault(&self, nth: u64, edition: Edition) -> Option<Fault> {
        if self.is_html(nth) {
            return Some(Fault::Html);
        }
        let refusals = self.0.iter().filter(|oddity| KINDS.contains(oddity.kind) && !oddity.is(&DEEP_PAGES));
        let struck = refusals.zip(0_u64..).find(|(oddity, place)| (nth + place).is_multiple_of(oddity.every));
        struck.and_then(|(oddity, place)| fault_of(oddity, (nth + place) / oddity.every, edition))
    }

    /// Code and text by which a page is refused that lies too deep in its list.
    pub(in crate::sandbox) fn refused_page(
        &self,
        page_no: u64,
        page_size: usize,
        edition: Edition,
    ) -> Option<(i64, &'static str)> {
        let begin = page_no.saturating_mul(page_size as u64);
        let is_too_deep = self.amount(&DEEP_PAGES).is_some_and(|rows| begin >= rows.max(1));
        is_too_deep.then(|| (code_of(edition), "分页过深，请缩小查询范围"))
    }
}

/// What `oddity` does to the call that it strikes as its `turn`-th.
fn fault_of(oddity: &Oddity, turn: u64, edition: Edition) -> Option<Fault> {
    let seconds = u32::try_from(oddity.amount).unwrap_or(u32::MAX);
    let refused = |texts: &[&str]| {
        let code = if oddity.is(&BUSY_SUCCESS) { 0 } else { code_of(edition) };
        in_turn(texts, turn).map(|message| Fault::Business { code, message: (*message).to_owned() })
    };
    match *oddity.kind {
        BUSY => refused(BUSY_TEXTS),
        SYSTEM_ERROR => refused(SYSTEM_TEXTS),
        BUSY_SUCCESS => refused(BUSY_SUCCESS_TEXTS),
        UNKNOWN_CODE => in_turn(UNKNOWN, turn)
            .map(|(code, message)| Fault::Business { code: *code, message: (*message).to_owned() }),
        UNAVAILABLE => Some(Fault::Status(503)),
        RETRY_AFTER => Some(Fault::ComeAgain(RetryAfter::Seconds(seconds))),
        RETRY_AFTER_DATE => Some(Fault::ComeAgain(RetryAfter::Date { seconds })),
        _ => None,
    }
}

/// Flagship says 100 to everything that the application meets; the code of the others is invented.
fn code_of(edition: Edition) -> i64 {
    if edition == Edition::Flagship { 100 } else { 9 }
}

fn in_turn<T>(entries: &[T], turn: u64) -> Option<&T> {
    let count = u64::try_from(entries.len()).ok().filter(|count| *count > 0)?;
    entries.get(usize::try_from(turn.wrapping_sub(1) % count).ok()?)
}
