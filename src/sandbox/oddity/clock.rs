//! Clocks that are wrong: the one that writes `Date`, and the one by which timestamps are checked.

use crate::time::BeijingTime;

use super::{Oddities, OddityKind, Takes, Unit};

const EIGHT_HOURS: Takes = Takes::Amount(Unit::Seconds, 8 * 3600);
const DAY: i64 = 86_400;

const DATE_AHEAD: OddityKind =
    OddityKind::new("date-ahead", EIGHT_HOURS, "`Date` is so far ahead of the server's clock");
const DATE_BEHIND: OddityKind =
    OddityKind::new("date-behind", EIGHT_HOURS, "`Date` is so far behind the server's clock");
const DATE_1970: OddityKind = OddityKind::new("date-1970", Takes::Nothing, "`Date` is the first second of 1970");
const DATE_9999: OddityKind =
    OddityKind::new("date-9999", Takes::Every(1), "every N-th `Date` is the last second of 9999");
const NO_DATE: OddityKind = OddityKind::new("no-date", Takes::Nothing, "there is no `Date`");
const NODE_DATE_AHEAD: OddityKind = OddityKind::new(
    "node-date-ahead",
    Takes::Every(3),
    "one node of a balancer answers every N-th call with a `Date` a day ahead",
);
const NODE_AHEAD: OddityKind = OddityKind::new(
    "node-ahead",
    Takes::Every(3),
    "the whole clock of that node is a day ahead: it refuses the timestamps of every N-th call",
);
const CHECK_AHEAD: OddityKind = OddityKind::new(
    "timestamps-ahead",
    Takes::Amount(Unit::Seconds, 200),
    "timestamps are checked by a clock that is so far ahead of the one in `Date`",
);
const CHECK_BEHIND: OddityKind = OddityKind::new(
    "timestamps-behind",
    Takes::Amount(Unit::Seconds, 200),
    "timestamps are checked by a clock that is so far behind the one in `Date`",
);
const UNCHECKED: OddityKind = OddityKind::new("timestamps-unchecked", Takes::Nothing, "every timestamp is accepted");

pub(super) const KINDS: &[OddityKind] = &[
    DATE_AHEAD,
    DATE_BEHIND,
    DATE_1970,
    DATE_9999,
    NO_DATE,
    NODE_DATE_AHEAD,
    NODE_AHEAD,
    CHECK_AHEAD,
    CHECK_BEHIND,
    UNCHECKED,
];

/// 9999-12-31 23:59:59 UTC, the last second that a `Date` can say.
const LAST_SECOND: i64 = 253_402_300_799;

impl Oddities {
    /// The `Date` of the answer to the call `nth` in seconds since 1970, where the server's clock says `now`; none when
    /// it has none.
    pub(in crate::sandbox) fn date(&self, now: BeijingTime, nth: u64) -> Option<i64> {
        let mut date = Some(now.unix());
        for oddity in &self.0 {
            let struck = nth.is_multiple_of(oddity.every);
            date = match *oddity.kind {
                DATE_AHEAD => date.map(|date| date.saturating_add_unsigned(oddity.amount)),
                DATE_BEHIND => date.map(|date| date.saturating_sub_unsigned(oddity.amount)),
                DATE_1970 => Some(0),
                DATE_9999 if struck => Some(LAST_SECOND),
                NO_DATE => None,
                NODE_DATE_AHEAD | NODE_AHEAD if struck => date.map(|date| date.saturating_add(DAY)),
                _ => date,
            };
        }
        date.map(|date| date.clamp(0, LAST_SECOND))
    }

    /// The time by which the timestamp of the call `nth` is checked; none when any will do.
    pub(in crate::sandbox) fn check_time(&self, now: BeijingTime, nth: u64) -> Option<BeijingTime> {
        if self.has(&UNCHECKED) {
            return None;
        }
        let off = self.0.iter().fold(0_i64, |off, oddity| match *oddity.kind {
            CHECK_AHEAD => off.saturating_add_unsigned(oddity.amount),
            CHECK_BEHIND => off.saturating_sub_unsigned(oddity.amount),
            NODE_AHEAD if nth.is_multiple_of(oddity.every) => off.saturating_add(DAY),
            _ => off,
        });
        Some(now.plus_seconds(off))
    }
}
