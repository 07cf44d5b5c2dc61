//! The stop of references as the simulated ERP does it: at once or late, one requisition after the other; the journal
//! has a record of each.
//!
//! Only a partly referenced requisition can be stopped. The vendor's page does not say which status it has afterwards;
//! here it becomes referenced, a new version with its open quantity unchanged, because nothing of it waits for a
//! reference any more.

use crate::time::BeijingTime;

use super::record::{Status, Text};

/// The vendor's text of a requisition that is in another state.
const NOT_PARTLY_REFERENCED: &str = "采购申请单状态不是部分引用";
/// Invented: the vendor's page has no example of it.
const UNKNOWN_NUMBER: &str = "采购申请单不存在";

/// A number that was not stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotStopped {
    /// The requisition's apply_id, which the answer calls `order_id`; none for an unknown number.
    pub(super) apply_id: Option<i64>,
    pub(super) number: Text,
    pub(super) why: &'static str,
}

/// What a stop came to for one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopEffect {
    /// It is stopped: a new version came to be.
    Stopped,
    /// Nothing changed, for this reason.
    Refused(&'static str),
}

/// A stop whose effect comes late.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) call: u64,
    pub(super) numbers: Vec<Text>,
    pub(super) due: BeijingTime,
}

/// Why a requisition that was found so, or not at all, is not stopped; `None`: it is.
pub(super) fn refusal(found: Option<Status>) -> Option<&'static str> {
    match found {
        Some(Status::PartlyReferenced) => None,
        Some(_) => Some(NOT_PARTLY_REFERENCED),
        None => Some(UNKNOWN_NUMBER),
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::SandboxClock;
    use super::super::record::Requisition;
    use super::super::world::World;
    use super::*;

    fn world() -> World {
        let noon = BeijingTime::parse("2026-05-19 12:00:00").expect("a time");
        let mut all: Vec<_> = (1..=3).map(|id| Requisition::plain(id, &format!("POA{id}"), noon)).collect();
        all[0].status = Status::PartlyReferenced;
        World::new(SandboxClock::held(noon.plus_seconds(600)), all)
    }

    #[test]
    fn a_stop_takes_effect_once_and_tells_what_it_refused() {
        let mut world = world();
        let numbers = ["POA1", "POA2", "POA9", "POA1"].map(Text::from);
        let now = world.now();
        let failures = world.stop(7, &numbers);
        let told: Vec<_> = failures.iter().map(|failure| (failure.apply_id, &*failure.number, failure.why)).collect();
        assert_eq!(
            told,
            [
                (Some(2), "POA2", NOT_PARTLY_REFERENCED),
                (None, "POA9", UNKNOWN_NUMBER),
                (Some(1), "POA1", NOT_PARTLY_REFERENCED)
            ]
        );
        let stopped = world.find("POA1").expect("it is there");
        assert_eq!((stopped.status, stopped.modified), (Status::Referenced, now));
        assert_eq!(stopped.unref_num, stopped.real_num, "what was open stays open");
        let effects: Vec<_> = world.journal().stops().iter().map(|stop| (stop.call, stop.effect.clone())).collect();
        let refused = |why| (7, StopEffect::Refused(why));
        assert_eq!(
            effects,
            [
                (7, StopEffect::Stopped),
                refused(NOT_PARTLY_REFERENCED),
                refused(UNKNOWN_NUMBER),
                refused(NOT_PARTLY_REFERENCED)
            ]
        );
    }

    #[test]
    fn a_late_effect_waits_for_the_clock() {
        let mut world = world();
        let due = world.now().plus_seconds(60);
        world.stop_later(Pending { call: 1, numbers: vec!["POA1".into()], due });
        world.clock().advance(59);
        world.catch_up();
        assert_eq!(world.find("POA1").map(|found| found.status), Some(Status::PartlyReferenced));
        world.clock().advance(600);
        world.catch_up();
        let stopped = world.find("POA1").expect("it is there");
        assert_eq!((stopped.status, stopped.modified), (Status::Referenced, due), "it happened when it was due");
        assert_eq!(world.journal().stops().iter().map(|stop| stop.moment.time).collect::<Vec<_>>(), [due]);
    }
}
