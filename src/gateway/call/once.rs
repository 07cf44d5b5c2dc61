//! A call that changes the ERP: signed once, and sent again only when it is certain that nothing was done.
//!
//! Certain are two things: that there was no connection to send it on, and the gateway's own refusals for its limits,
//! in words that public clients have met (never in words that a user's rule or a guess takes for that). Then the same
//! bytes are sent again, as long as their timestamp is fresh and the retry time lasts. Everything else that is no
//! answer, HTTP errors and timeouts among it, leaves open what was done.

use tokio::time::Instant;

use super::{Answer, BeijingTime, CallKind, CallPolicy, Caller, NotRead, Outgoing, Sent, envelope, refusal_error};
use crate::error::{Error, ErrorClass};
use crate::gateway::rate_limiter::Limit;
use crate::gateway::refusal::{self, Provenance, Verdict};

/// What a call that must not be made twice came to.
#[derive(Debug)]
pub enum Once<T> {
    /// It was done, and this was read from the answer.
    Answered(T),
    /// The gateway refused it and did nothing.
    Refused {
        /// Its code.
        code: i64,
        /// Its words.
        message: String,
        /// The same as an error, which says what to do.
        error: Error,
    },
    /// Whether it was done is not known.
    Unknown(Error),
}

impl Caller {
    /// Makes one call that changes the ERP. It is not sent after `until` by the server's clock. `refused_undone` are
    /// the codes that say that nothing was done.
    pub(in crate::gateway) async fn once<T, R>(
        &self,
        method: &'static str,
        names: envelope::EnvelopeNames,
        refused_undone: &[i64],
        outgoing: Outgoing,
        until: BeijingTime,
        read: R,
    ) -> Once<T>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, NotRead> + Clone + Send + 'static,
    {
        let mut delays = self.policy.delays();
        let mut last =
            Once::Unknown(Error::new(ErrorClass::GatewayBusy, "the rate limit left no time to send the call"));
        let give_up_at = Instant::now() + self.policy.max_retry_time;
        loop {
            let permit = self.limiters.changes.permit().await;
            if self.server_clock.present() > until {
                return last.at(method);
            }
            let delay;
            // Its timestamp is not noted as accepted: it was signed a while ago, and would make the clock look that
            // much later.
            let asked = self.server_clock.moment();
            (last, delay) = match self.send(CallKind::Change, names, outgoing.clone(), asked, read.clone()).await {
                Sent::Answered(value) => {
                    permit.answered();
                    return Once::Answered(value);
                }
                Sent::Unsent(error) => {
                    drop(permit);
                    (Once::Unknown(error), delays.next().unwrap_or(CallPolicy::LONGEST_DELAY))
                }
                Sent::Refused { code, message, .. } => {
                    let (verdict, provenance) =
                        refusal::judge(CallKind::Change, names.code, code, &message, &self.policy.refusals);
                    let error = refusal_error(verdict, names.code, code, &message);
                    match limit(verdict, provenance) {
                        Some(limit) => (Once::Refused { code, message, error }, permit.refused(limit)),
                        None if refused_undone.contains(&code) => {
                            return Once::Refused { code, message, error }.at(method);
                        }
                        None => return Once::Unknown(error).at(method),
                    }
                }
                Sent::Unreadable(response) => return Once::Unknown(response.into_error()).at(method),
                Sent::Throttled(error, _) | Sent::Unclear(error, _) | Sent::Wrong(error) => {
                    return Once::Unknown(error).at(method);
                }
            };
            let too_late = self.server_clock.present().plus_seconds(whole_seconds(delay)) > until;
            if too_late || Instant::now() + delay > give_up_at {
                return last.at(method);
            }
            tracing::warn!(method, delay_s = delay.as_secs_f64(), "nothing was done yet, sending the same call again");
            tokio::time::sleep(delay).await;
        }
    }
}

impl<T> Once<T> {
    fn at(self, method: &'static str) -> Self {
        match self {
            Self::Refused { code, message, error } => {
                Self::Refused { code, message, error: error.with("method", method) }
            }
            Self::Unknown(error) => Self::Unknown(error.with("method", method)),
            answered => answered,
        }
    }
}

/// The limit that a refusal speaks of in words that are known for it.
fn limit(verdict: Verdict, provenance: Option<Provenance>) -> Option<Limit> {
    let is_known = matches!(provenance, Some(Provenance::VendorPage | Provenance::PublicClients));
    match verdict {
        Verdict::Slower if is_known => Some(Limit::PerMinute),
        Verdict::FewerAtOnce if is_known => Some(Limit::InFlight),
        _ => None,
    }
}

fn whole_seconds(delay: std::time::Duration) -> i64 {
    i64::try_from(delay.as_secs()).unwrap_or(i64::MAX).saturating_add(1)
}
