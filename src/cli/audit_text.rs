//! What an audit found, for people.

use crate::id::AccountName;
use crate::pipeline::{AuditReport, OpenAudit, OpenDifference, OpenFinding, SampleAudit};
use crate::text::{pad, say};
use crate::transform::{Change, Comparison, LandedHeader, Version};
use crate::units::{at_least, at_most, plural, thousands};

/// How many findings of a kind are named; `--json` has them all.
const NAMED: usize = 20;

/// What was found for an account.
pub(super) fn account(account: &AccountName, report: &AuditReport) -> String {
    let said = match (report.has_findings(), &report.stopped) {
        (true, _) => say!("the ERP and the lake differ"),
        (false, None) => say!("nothing was found"),
        (false, Some(_)) => say!("the audit was not finished"),
    };
    let mut lines = vec![say!("{account}: {said}", account, said)];
    lines.extend(report.sample.iter().flat_map(sample));
    lines.extend(report.open.iter().flat_map(open));
    lines.push(say!("  calls       {calls}", calls = thousands(report.calls)));
    lines.join("\n")
}

fn sample(sample: &SampleAudit) -> Vec<String> {
    let sum = |count: fn(&Comparison) -> u64| sample.compared().map(|(_, found)| count(found)).sum();
    let (rows, gone, unidentified): (u64, u64, u64) =
        (sum(|found| found.given), sum(|found| found.gone), sum(|found| found.unidentified));
    let windows = plural(sample.windows.len() as u64, "window");
    let mut lines = vec![say!(
        "  sample      {windows} with {rows} walked again, seed {seed}",
        windows,
        rows = plural(rows, "row"),
        seed = sample.seed
    )];
    if gone > 0 {
        lines.push(say!("              {rows} of the lake edited since, as is normal", rows = plural(gone, "row")));
    }
    if unidentified > 0 {
        let records = plural(unidentified, "invalid record");
        lines.push(say!("              {records} without a readable number or time not compared", records));
    }
    let late = sample.compared().flat_map(|(audited, found)| {
        found.late.iter().map(|late| {
            let (least, most) = audited.lateness(found, late.modified);
            say!(
                "{late}: came {least} to {most} later",
                late = version(late),
                least = at_least(least),
                most = at_most(most)
            )
        })
    });
    lines.extend(listed(&say!("late"), late));
    let changed = sample.compared().flat_map(|(_, found)| &found.changed);
    lines.extend(listed(
        &say!("changed"),
        changed.map(|(changed, how)| say!("{version}: {change}", version = version(changed), change = change(how))),
    ));
    let errors = sample.windows.iter().filter(|audited| audited.outcome.is_err());
    lines.extend(listed(&say!("not proved"), errors.map(|audited| audited.window.to_string())));
    if let Some((least, most)) = sample.lateness() {
        lines.push(say!("  choose      --lag and --lookback that are more than {least} together; {most} would have found all of these", least = at_least(least), most = at_most(most)));
    }
    lines
}

fn version(version: &Version) -> String {
    say!("{number} modified {modified}", number = version.number, modified = version.modified)
}

fn change(change: &Change) -> String {
    match change {
        Change::Values(columns) => columns.join(", "),
        Change::BecameValid => say!("was quarantined and is valid now"),
        Change::BecameInvalid => say!("landed and is invalid now"),
        Change::InvalidText => say!("is invalid as before, with another text"),
    }
}

fn open(open: &OpenAudit) -> Vec<String> {
    let mut lines = vec![say!(
        "  open        {requisitions} queried, {same} as in the lake, {newer} modified after it",
        requisitions = plural(open.asked, "requisition"),
        same = thousands(open.same),
        newer = thousands(open.newer)
    )];
    let of = |is_missing: bool| {
        let wanted = move |finding: &&OpenFinding| (finding.difference == OpenDifference::Missing) == is_missing;
        open.findings.iter().filter(wanted)
    };
    let known = |lake: &OpenFinding| {
        say!("{number} modified {modified}", number = lake.lake.number, modified = lake.lake.header.modified)
    };
    lines.extend(listed(&say!("missing"), of(true).map(known)));
    let differs =
        of(false).map(|finding| say!("{version}: {change}", version = known(finding), change = difference(finding)));
    lines.extend(listed(&say!("differs"), differs));
    lines
}

fn difference(finding: &OpenFinding) -> String {
    let status = |header: &LandedHeader| {
        let name = header.status_name.as_deref().map_or_else(|| say!("unknown"), str::to_owned);
        say!("{name} ({status})", name, status = header.status)
    };
    match &finding.difference {
        OpenDifference::Missing => say!("the ERP does not have it"),
        OpenDifference::NotShown => say!("the ERP gave others, or fewer than it has"),
        OpenDifference::OtherStatus(erp) => {
            say!("the ERP says {erp}, the lake {lake}", erp = status(erp), lake = status(&finding.lake.header))
        }
        OpenDifference::OtherTime(erp) => {
            say!("the ERP says modified {modified}, {erp}", modified = erp.modified, erp = status(erp))
        }
        OpenDifference::Invalid(reason) => say!("the ERP gives an invalid record: {reason}", reason),
    }
}

/// Lines under one label, as many as are named.
fn listed(label: &str, what: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = what.map(|what| format!("  {}{what}", pad(label, 12))).collect();
    if let Some(more) = lines.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.truncate(NAMED);
        lines.push(say!("              and {more} more: see --json", more));
    }
    lines
}
