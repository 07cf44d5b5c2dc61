//! What became of a stop: pure decisions on what was said and seen.

use crate::log::{StopEvidence, StopOutcome};
use crate::time::BeijingTime;

use super::Reply;
use super::answer::StopFailure;

/// How far a timestamp may be from the server's clock; the vendor's page says so.
pub(super) const TOLERANCE_SECONDS: i64 = 120;

/// The meaning of the only status that can be stopped.
const PARTLY_REFERENCED: &str = "partly_referenced";
/// The meaning of a status that, with quantity still open, only a stop leaves.
const REFERENCED: &str = "referenced";

/// A requisition as a query shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Its status code.
    pub status: i16,
    /// What the code means; nothing for one that the vendor does not document.
    pub status_name: Option<&'static str>,
    /// The quantity that is not referenced yet, in ten-thousandths.
    pub open_scaled: i128,
}

impl Observation {
    /// Whether it has the status that a stop leaves.
    pub(super) fn is_referenced(&self) -> bool {
        self.status_name == Some(REFERENCED)
    }
}

/// What was found out about one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopFinding {
    /// What became of it.
    pub outcome: StopOutcome,
    /// How that is known.
    pub evidence: Option<StopEvidence>,
    /// The vendor's reason, or what went wrong.
    pub error: Option<String>,
    /// The vendor's code.
    pub error_code: Option<i64>,
    /// The requisition's key in the ERP.
    pub order_id: Option<i64>,
    /// The status that a query showed.
    pub observed_status: Option<i16>,
}

impl StopFinding {
    fn new(outcome: StopOutcome, evidence: Option<StopEvidence>) -> Self {
        Self { outcome, evidence, error: None, error_code: None, order_id: None, observed_status: None }
    }

    /// Nothing is known, and this is why.
    pub(super) fn unknown(error: Option<String>) -> Self {
        Self { error, ..Self::new(StopOutcome::Unknown, None) }
    }

    /// An earlier call has stopped it, and it still is.
    pub(super) fn stopped_before(evidence: Option<StopEvidence>, seen: Option<Observation>) -> Self {
        let observed_status = seen.map(|seen| seen.status);
        Self { observed_status, ..Self::new(StopOutcome::Stopped, evidence) }
    }

    fn refused(failure: &StopFailure) -> Self {
        Self {
            error: failure.error.clone(),
            error_code: failure.error_code,
            order_id: failure.order_id,
            ..Self::new(StopOutcome::Refused, Some(StopEvidence::Answer))
        }
    }
}

/// What the reply to a call tells of each of its numbers.
pub(super) fn by_reply(numbers: &[String], reply: &Reply) -> Vec<StopFinding> {
    let all = |finding: StopFinding| vec![finding; numbers.len()];
    match reply {
        Reply::Answered(answer) => match answer.failures(numbers) {
            Ok(failures) => {
                let told = |number: &String| match failures.iter().find(|failure| failure.order_no == *number) {
                    Some(failure) => StopFinding::refused(failure),
                    None => match answer.remark() {
                        Some(remark) => StopFinding::unknown(Some(remark.to_owned())),
                        None => StopFinding::new(StopOutcome::Stopped, Some(StopEvidence::Answer)),
                    },
                };
                numbers.iter().map(told).collect()
            }
            Err(why) => all(StopFinding::unknown(Some(why))),
        },
        Reply::Refused { code, message, .. } => {
            let refused = StopFinding::new(StopOutcome::Refused, Some(StopEvidence::Answer));
            all(StopFinding { error: Some(message.clone()), error_code: Some(*code), ..refused })
        }
        Reply::Unknown(error) => all(StopFinding::unknown(Some(error.to_string()))),
    }
}

/// Whether a call of that timestamp can have no effect any more: the server refuses what is older than the tolerance,
/// and the margin is for what it let in before and had not done yet.
pub(super) fn is_spent(requested_at: BeijingTime, margin_seconds: i64, server_now: BeijingTime) -> bool {
    server_now > spent_at(requested_at, margin_seconds)
}

/// From when on that is so.
pub(super) fn spent_at(requested_at: BeijingTime, margin_seconds: i64) -> BeijingTime {
    requested_at.plus_seconds(TOLERANCE_SECONDS.saturating_add(margin_seconds))
}

/// What a query tells that was sent after the call; `is_spent` says whether the call could have no effect any more
/// before the query was sent.
///
/// A stopped requisition is not partly referenced any more and has quantity open. So has one that was never referenced,
/// or cancelled, one whose purchase order was taken back and that is again to be referenced, and one of a status that
/// the vendor does not document and that it may have had before. So these prove nothing; referenced with quantity open
/// does.
pub(super) fn by_observation(before: StopFinding, observation: Option<Observation>, is_spent: bool) -> StopFinding {
    let Some(seen) = observation else { return before };
    let before = StopFinding { observed_status: Some(seen.status), ..before };
    let known = |outcome| StopFinding { outcome, evidence: Some(StopEvidence::Query), ..before.clone() };
    match seen.status_name {
        Some(PARTLY_REFERENCED) if is_spent => known(StopOutcome::NotStopped),
        Some(PARTLY_REFERENCED) => before,
        Some(REFERENCED) if seen.open_scaled > 0 => {
            StopFinding { error: None, error_code: None, ..known(StopOutcome::Stopped) }
        }
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::stop::StopAnswer;

    fn numbers() -> Vec<String> {
        ["A", "B"].map(str::to_owned).to_vec()
    }

    fn outcomes(reply: &Reply) -> Vec<StopOutcome> {
        by_reply(&numbers(), reply).into_iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn silence_means_stopped_only_in_an_answer_that_adds_up() {
        use StopOutcome::{Refused, Stopped, Unknown};
        let failure = |order_no: &str| StopFailure {
            order_no: order_no.to_owned(),
            error: Some("采购申请单状态不是部分引用".to_owned()),
            error_code: Some(0),
            order_id: Some(1),
        };
        assert_eq!(outcomes(&Reply::Answered(StopAnswer::of(vec![]))), [Stopped, Stopped]);
        assert_eq!(outcomes(&Reply::Answered(StopAnswer::of(vec![failure("B")]))), [Stopped, Refused]);
        assert_eq!(outcomes(&Reply::Answered(StopAnswer::of(vec![failure("C")]))), [Unknown, Unknown]);
        let read = |text: &str| Reply::Answered(StopAnswer::read(text.as_bytes()).expect("readable"));
        assert_eq!(outcomes(&read(r#"{"status":0,"data":[],"message":"ok"}"#)), [Stopped, Stopped]);
        let busy = r#"{"status":0,"data":[{"order_no":"B"}],"total":1,"message":"系统繁忙"}"#;
        assert_eq!(outcomes(&read(busy)), [Unknown, Refused]);
        let error = || Error::new(ErrorKind::GatewayUnavailable, "the gateway did not answer");
        assert_eq!(outcomes(&Reply::Unknown(error())), [Unknown, Unknown]);
        let refused = Reply::Refused { code: 1, message: "验证失败".into(), error: error() };
        assert_eq!(outcomes(&refused), [Refused, Refused]);
        assert_eq!(by_reply(&numbers(), &refused)[0].error_code, Some(1));
    }

    #[test]
    fn a_query_proves_a_stop_at_once_and_its_absence_only_when_the_call_is_spent() {
        use StopOutcome::{NotStopped, Stopped, Unknown};
        let see = |status, status_name, open_scaled, is_spent| {
            let finding = by_observation(
                StopFinding::unknown(Some("lost".into())),
                Some(Observation { status, status_name, open_scaled }),
                is_spent,
            );
            assert_eq!(finding.observed_status, Some(status));
            finding.outcome
        };
        assert_eq!(see(30, Some("referenced"), 1, false), Stopped);
        assert_eq!(see(30, Some("referenced"), 0, true), Unknown, "referenced to the end by somebody, before or after");
        assert_eq!(see(25, Some("partly_referenced"), 1, false), Unknown);
        assert_eq!(see(25, Some("partly_referenced"), 1, true), NotStopped);
        for name in ["cancelled", "editing", "to_confirm", "to_reference"].map(Some).into_iter().chain([None]) {
            assert_eq!(see(1, name, 1, true), Unknown, "{name:?} may have quantity open without a stop");
        }
        assert_eq!(by_observation(StopFinding::unknown(None), None, true), StopFinding::unknown(None));
    }

    #[test]
    fn a_call_is_spent_after_tolerance_and_margin() {
        let at = |seconds| BeijingTime::from_unix(seconds).expect("a time");
        assert!(!is_spent(at(1_000), 180, at(1_300)));
        assert!(is_spent(at(1_000), 180, at(1_301)));
    }
}
