//! What a stop would do, shown without doing it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::render;
use super::super::talk::error_json;
use crate::config::{AccountSettings, StopTerms};
use crate::pipeline::Known;
use crate::stop::{EarlierStops, Numbers, Planned, StopPlan};
use crate::text::{Text, say};
use crate::time::{Clock as _, SystemClock};
use crate::units::plural;

const DAY_SECONDS: i64 = 86_400;

/// What would be stopped.
pub(super) struct Preview<'a> {
    pub(super) account: &'a AccountSettings,
    pub(super) numbers: &'a Numbers,
    pub(super) known: &'a BTreeMap<String, Vec<Known>>,
    pub(super) earlier: &'a EarlierStops,
    pub(super) plan: &'a StopPlan,
    pub(super) terms: StopTerms,
    /// Whether what the lake does not know as partly referenced is refused beforehand.
    pub(super) is_lake_heard: bool,
}

/// What is shown where the lake knows of nothing to stop.
pub(super) fn of_none(account: &AccountSettings, as_json: bool) -> String {
    let none = json!({
        "command": "stop", "account": account.name, "called": false, "would_call": 0, "not_called": {}, "requisitions": [],
    });
    if as_json { none.to_string() } else { say!("no requisition is that stale") }
}

impl Preview<'_> {
    fn age_days(known: &Known) -> i64 {
        (SystemClock.now().unix() - known.header.modified.unix()) / DAY_SECONDS
    }

    pub(super) fn to_json(&self) -> Value {
        let requisitions: Vec<Value> =
            self.plan.all().iter().map(|(number, planned)| self.one(number, *planned)).collect();
        let refusal = self.plan.check(self.terms).err();
        json!({
            "command": "stop", "account": self.account.name, "called": false,
            "would_call": self.plan.calls(), "not_called": self.plan.not_called(), "lake_knows_present": self.is_lake_heard,
            "refusal": refusal.as_ref().map(error_json),
            "merged": self.numbers.merged().collect::<Vec<_>>(), "requisitions": requisitions,
        })
    }

    fn one(&self, number: &str, planned: Planned) -> Value {
        let quantity = |scaled: Option<i128>| scaled.map(render::decimal);
        let known = |known: &Known| {
            json!({
                "status": known.header.status, "status_name": known.header.status_name, "modified": known.header.modified,
                "age_days": Self::age_days(known), "warehouse_no": known.header.warehouse_no,
                "real_num": quantity(known.header.real_scaled), "ref_num": quantity(known.header.ref_scaled),
                "open_num": quantity(known.header.open_scaled),
            })
        };
        let mut known = self.known.get(number).into_iter().flatten().map(known);
        let in_lake = known.next();
        json!({
            "purchase_apply_no": number, "planned": planned.name(), "in_lake": in_lake, "share_its_number": known.collect::<Vec<_>>(),
            "pending_since": self.earlier.pending.get(number).map(|held| held.requested_at),
            "stopped_at": self.earlier.stopped.get(number).map(|held| held.requested_at),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let count = plural(self.plan.calls() as u64, "requisition");
        let mut lines = vec![say!(
            "would stop {count} of {name}; nothing was called, `--yes` does it",
            count,
            name = self.account.name
        )];
        let not_called: Vec<String> = self
            .plan
            .not_called()
            .into_iter()
            .map(|(why, count)| say!("{count} {what}", count, what = Text::from(why)))
            .collect();
        if !not_called.is_empty() {
            lines.push(say!("would not call {not_called}", not_called = not_called.join(&say!(", "))));
        }
        if let Err(error) = self.plan.check(self.terms) {
            lines.push(say!("`--yes` would be refused: {error}", error));
        }
        if !self.is_lake_heard {
            lines.push(say!(
                "the ERP decides what can be stopped: the lake was not asked, or does not know the present"
            ));
        }
        for (number, planned) in self.plan.all() {
            self.push_lines(number, *planned, &mut lines);
        }
        lines.join("\n")
    }

    fn push_lines(&self, number: &str, planned: Planned, lines: &mut Vec<String>) {
        let known = self.known.get(number).map_or(&[][..], Vec::as_slice);
        if known.is_empty() && planned == Planned::UnknownToLake {
            lines.push(format!("  {number}  {:#}", planned.in_words()));
            return;
        }
        if known.is_empty() {
            lines.push(say!("  {number}  not in the lake", number));
        }
        for known in known {
            lines.push(say!("  {number}  {status} ({code})  real {real} ref {referenced} open {open}  modified {modified}, {days} ago  warehouse {warehouse}", number, status = known.header.status_name.clone().unwrap_or_else(|| say!("unknown status")), code = known.header.status, real = quantity(known.header.real_scaled), referenced = quantity(known.header.ref_scaled), open = quantity(known.header.open_scaled), modified = known.header.modified, days = plural(u64::try_from(Self::age_days(known)).unwrap_or(0), "day"), warehouse = known.header.warehouse_no.as_deref().unwrap_or("-")));
        }
        if planned != Planned::Call {
            lines.push(format!("    {:#}", planned.in_words()));
        }
    }
}

fn quantity(scaled: Option<i128>) -> String {
    scaled.map_or_else(|| "-".to_owned(), render::decimal)
}
