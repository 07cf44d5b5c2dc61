//! What a stop of some numbers would do, before anything is called: which numbers it would call, and which it would
//! not, and why.
//!
//! Two sources speak. The log knows what this program has stopped, and of which stops nobody knows yet what became of
//! them; both get no second call. A lake that knows the present tells what the ERP would refuse anyway: numbers that it
//! does not have, or has in another status than partly referenced. A lake that is out of date says nothing: the ERP
//! decides.

use std::collections::BTreeMap;

use super::before::EarlierStops;
use crate::config::{StopPermission, StopTerms};
use crate::error::{Error, ErrorClass, Result};
use crate::text::{Text, key, text};
use crate::time::BeijingTime;

/// What a lake that knows the present says of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InLake {
    /// It is partly referenced there.
    PartlyReferenced,
    /// It has another status there.
    OtherStatus,
    /// It is not there.
    Unknown,
}

/// What would be done about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// It would be called.
    Call,
    /// An earlier call has stopped it: no other one is made, unless the ERP shows that it was opened again.
    AlreadyStopped(BeijingTime),
    /// What became of its call of that time is not known yet. That is found out first.
    Open(BeijingTime),
    /// It is refused beforehand: the lake knows it in a status that cannot be stopped.
    NotPartlyReferenced,
    /// It is refused beforehand: the lake, which knows the present, does not have it.
    UnknownToLake,
}

impl Planned {
    /// Its word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => key!("call"),
            Self::AlreadyStopped(_) => key!("already_stopped"),
            Self::Open(_) => key!("open"),
            Self::NotPartlyReferenced => key!("not_partly_referenced"),
            Self::UnknownToLake => key!("unknown_to_lake"),
        }
    }

    /// The same for people.
    pub fn in_words(self) -> Text {
        match self {
            Self::Call => text!("would be called"),
            Self::AlreadyStopped(at) => text!("already stopped by the call of {at}", at),
            Self::Open(at) => text!("what became of its stop of {at} is not known yet: that is found out first", at),
            Self::NotPartlyReferenced => text!("not partly referenced in the lake"),
            Self::UnknownToLake => text!("unknown to the lake"),
        }
    }

    /// Whether it is the lake's word that keeps it from being called.
    pub fn is_refused_by_lake(self) -> bool {
        matches!(self, Self::NotPartlyReferenced | Self::UnknownToLake)
    }
}

/// What would be done about each of some numbers, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopPlan(Vec<(String, Planned)>);

impl StopPlan {
    /// What the log and the lake say of `numbers`; `in_lake` says nothing of a number where the lake does not know the
    /// present.
    pub(crate) fn of(numbers: &[String], earlier: &EarlierStops, in_lake: impl Fn(&str) -> Option<InLake>) -> Self {
        let one = |number: &String| {
            let planned = match (earlier.pending.get(number), earlier.stopped.get(number)) {
                (Some(held), _) => Planned::Open(held.requested_at),
                (None, Some(before)) => Planned::AlreadyStopped(before.requested_at),
                (None, None) => match in_lake(number) {
                    None | Some(InLake::PartlyReferenced) => Planned::Call,
                    Some(InLake::OtherStatus) => Planned::NotPartlyReferenced,
                    Some(InLake::Unknown) => Planned::UnknownToLake,
                },
            };
            (number.clone(), planned)
        };
        Self(numbers.iter().map(one).collect())
    }

    /// Each number with what would be done about it.
    pub(crate) fn all(&self) -> &[(String, Planned)] {
        &self.0
    }

    /// How many would be called.
    pub(crate) fn calls(&self) -> usize {
        self.0.iter().filter(|(_, planned)| *planned == Planned::Call).count()
    }

    /// How many would not, by the word of why.
    pub(crate) fn not_called(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for (_, planned) in self.0.iter().filter(|(_, planned)| *planned != Planned::Call) {
            *counts.entry(planned.name()).or_default() += 1;
        }
        counts
    }

    /// The numbers that the lake does not keep from being tried: those to call, and those of which the ERP is asked
    /// what became of them.
    pub(crate) fn to_try(&self) -> Vec<String> {
        self.0.iter().filter(|(_, planned)| !planned.is_refused_by_lake()).map(|(number, _)| number.clone()).collect()
    }

    /// Those that the lake keeps from it.
    pub(crate) fn refused_by_lake(&self) -> Vec<(String, Planned)> {
        self.0.iter().filter(|(_, planned)| planned.is_refused_by_lake()).cloned().collect()
    }

    /// Whether the account's terms let all of it be called.
    ///
    /// # Errors
    /// As [`check_terms`].
    pub(crate) fn check(&self, terms: StopTerms) -> Result<()> {
        check_terms(terms, self.calls())
    }
}

/// Whether an account's terms let so many numbers be called by one command.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when they do not.
pub(super) fn check_terms(terms: StopTerms, calls: usize) -> Result<()> {
    if terms.permission == StopPermission::Forbidden {
        return Err(Error::new(
            ErrorClass::StopForbidden,
            "this account must not stop requisitions: allow_stop is false",
        )
        .hint("nothing was called; `allow_stop` of the account in wdt-lake.toml, or WDT_ALLOW_STOP, lets it"));
    }
    match terms.most {
        Some(most) if usize::try_from(most).is_ok_and(|most| calls > most) => {
            Err(Error::new(ErrorClass::StopsTooMany, text!("{calls} numbers would be called, and max_stops is {most}", calls, most)).hint(
                "no stop was called; give fewer numbers at once, or raise `max_stops` of the account in wdt-lake.toml, or WDT_MAX_STOPS",
            ))
        }
        _ => Ok(()),
    }
}

/// The most characters of a reason: it stands in the log once for each call.
const LONGEST_REASON: usize = 200;

/// Reads why somebody wants a stop, for the record.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a reason has words; leave it out to give none".to_owned());
    }
    let letters = text.chars().count();
    if letters > LONGEST_REASON {
        return Err(format!("a reason has at most {LONGEST_REASON} characters, and this one {letters}"));
    }
    if text.chars().any(is_unfit) {
        return Err("a reason is one line, without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// What a terminal would act on, or what turns or breaks the line around it.
fn is_unfit(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::super::before::EarlierStop;
    use super::*;
    use crate::id::CommitId;
    use crate::log::PendingStop;

    fn at() -> BeijingTime {
        BeijingTime::from_unix(1_790_000_000).expect("a time")
    }

    /// A was stopped, B was stopped and intended again, and C has lost its answer.
    fn earlier() -> EarlierStops {
        let (requested_at, intent) = (at(), CommitId::generate());
        let pending = |number: &str, is_unknown| (number.to_owned(), PendingStop { intent, requested_at, is_unknown });
        let stopped = |number: &str| (number.to_owned(), EarlierStop { requested_at, evidence: None });
        EarlierStops {
            pending: [pending("B", false), pending("C", true)].into(),
            stopped: [stopped("A"), stopped("B")].into(),
        }
    }

    fn planned(in_lake: impl Fn(&str) -> Option<InLake>) -> StopPlan {
        let numbers = ["A", "B", "C", "D", "E", "F"].map(str::to_owned);
        StopPlan::of(&numbers, &earlier(), in_lake)
    }

    #[test]
    fn the_log_goes_before_the_lake_and_a_lake_of_yesterday_says_nothing() {
        let of_today = planned(|number| {
            Some(match number {
                "D" => InLake::PartlyReferenced,
                "E" | "A" => InLake::OtherStatus,
                _ => InLake::Unknown,
            })
        });
        let words: Vec<&str> = of_today.all().iter().map(|(_, planned)| planned.name()).collect();
        assert_eq!(words, ["already_stopped", "open", "open", "call", "not_partly_referenced", "unknown_to_lake"]);
        assert_eq!(of_today.calls(), 1);
        let counts = [("already_stopped", 1), ("not_partly_referenced", 1), ("open", 2), ("unknown_to_lake", 1)];
        assert_eq!(of_today.not_called(), BTreeMap::from(counts));
        assert_eq!(of_today.to_try(), ["A", "B", "C", "D"], "open ones are settled, and the stopped looked at");
        assert_eq!(of_today.refused_by_lake().len(), 2);

        let of_old = planned(|_| None);
        assert_eq!((of_old.calls(), of_old.to_try().len()), (3, 6));
    }

    #[test]
    fn the_terms_of_an_account_are_kept_to() {
        let plan = planned(|_| None);
        let terms = |permission, most| StopTerms { permission, most };
        let (allowed, forbidden) = (StopPermission::Allowed, StopPermission::Forbidden);
        for (terms, is_kept) in [
            (terms(allowed, None), true),
            (terms(allowed, Some(3)), true),
            (terms(allowed, Some(2)), false),
            (terms(allowed, Some(0)), false),
            (terms(forbidden, None), false),
            (terms(forbidden, Some(9)), false),
        ] {
            let told = plan.check(terms);
            assert_eq!(told.is_ok(), is_kept, "{terms:?}");
            assert!(told.err().is_none_or(|error| error.kind().exit_code() == 2 && error.hint_text().is_some()));
        }
    }

    #[test]
    fn a_reason_is_a_short_line() {
        assert_eq!(reason(" 供应商停业, order 7 "), Ok("供应商停业, order 7".to_owned()));
        assert!(reason(&"停".repeat(200)).is_ok());
        for (odd, word) in [
            ("", "has words"),
            (" \t", "has words"),
            (&"停".repeat(201), "and this one 201"),
            ("a\nb", "one line"),
            ("a\u{1b}[31mb", "one line"),
            ("a\u{202e}b", "one line"),
            ("a\u{2028}b", "one line"),
        ] {
            assert!(reason(odd).expect_err(odd).contains(word), "{odd:?}");
        }
    }
}
