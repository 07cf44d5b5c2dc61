//! What an audit found, for people.

use crate::id::AccountName;
use crate::pipeline::{AuditReport, OpenAudit, OpenDifference, OpenFinding, SampleAudit};
use crate::transform::{Change, Comparison, LandedHeader, Version};
use crate::units::{at_least, at_most, plural, thousands};

/// How many findings of a kind are named; `--json` has them all.
const NAMED: usize = 20;

/// What was found for an account.
pub(super) fn account(account: &AccountName, report: &AuditReport) -> String {
    let said = match (report.has_findings(), &report.stopped) {
        (true, _) => "the ERP and the lake differ",
        (false, None) => "nothing was found",
        (false, Some(_)) => "the audit was not finished",
    };
    let mut lines = vec![format!("{account}: {said}")];
    lines.extend(report.sample.iter().flat_map(sample));
    lines.extend(report.open.iter().flat_map(open));
    lines.push(format!("  calls       {}", thousands(report.calls)));
    lines.join("\n")
}

fn sample(sample: &SampleAudit) -> Vec<String> {
    let sum = |count: fn(&Comparison) -> u64| sample.compared().map(|(_, found)| count(found)).sum();
    let (rows, gone, unidentified): (u64, u64, u64) =
        (sum(|found| found.given), sum(|found| found.gone), sum(|found| found.unidentified));
    let windows = plural(sample.windows.len() as u64, "window");
    let mut lines =
        vec![format!("  sample      {windows} with {} walked again, seed {}", plural(rows, "row"), sample.seed)];
    if gone > 0 {
        lines.push(format!("              {} of the lake edited since, as is normal", plural(gone, "row")));
    }
    if unidentified > 0 {
        let records = plural(unidentified, "invalid record");
        lines.push(format!("              {records} without a readable number or time not compared"));
    }
    let late = sample.compared().flat_map(|(audited, found)| {
        found.late.iter().map(|late| {
            let (least, most) = audited.lateness(found, late.modified);
            format!("{}: came {} to {} later", version(late), at_least(least), at_most(most))
        })
    });
    lines.extend(listed("late", late));
    let changed = sample.compared().flat_map(|(_, found)| &found.changed);
    lines.extend(listed("changed", changed.map(|(changed, how)| format!("{}: {}", version(changed), change(how)))));
    let errors = sample.windows.iter().filter(|audited| audited.outcome.is_err());
    lines.extend(listed("not proved", errors.map(|audited| audited.window.to_string())));
    if let Some((least, most)) = sample.lateness() {
        lines.push(format!(
            "  choose      --lag and --lookback that are more than {} together; {} would have found all of these",
            at_least(least),
            at_most(most)
        ));
    }
    lines
}

fn version(version: &Version) -> String {
    format!("{} modified {}", version.number, version.modified)
}

fn change(change: &Change) -> String {
    match change {
        Change::Values(columns) => columns.join(", "),
        Change::BecameValid => "was quarantined and is valid now".to_owned(),
        Change::BecameInvalid => "landed and is invalid now".to_owned(),
        Change::InvalidText => "is invalid as before, with another text".to_owned(),
    }
}

fn open(open: &OpenAudit) -> Vec<String> {
    let mut lines = vec![format!(
        "  open        {} queried, {} as in the lake, {} modified after it",
        plural(open.asked, "requisition"),
        thousands(open.same),
        thousands(open.newer)
    )];
    let of = |is_missing: bool| {
        let wanted = move |finding: &&OpenFinding| (finding.difference == OpenDifference::Missing) == is_missing;
        open.findings.iter().filter(wanted)
    };
    let known = |lake: &OpenFinding| format!("{} modified {}", lake.lake.number, lake.lake.header.modified);
    lines.extend(listed("missing", of(true).map(known)));
    let differs = of(false).map(|finding| format!("{}: {}", known(finding), difference(finding)));
    lines.extend(listed("differs", differs));
    lines
}

fn difference(finding: &OpenFinding) -> String {
    let status = |header: &LandedHeader| {
        let name = header.status_name.as_deref().unwrap_or("unknown");
        format!("{name} ({})", header.status)
    };
    match &finding.difference {
        OpenDifference::Missing => "the ERP does not have it".to_owned(),
        OpenDifference::NotShown => "the ERP gave others, or fewer than it has".to_owned(),
        OpenDifference::OtherStatus(erp) => {
            format!("the ERP says {}, the lake {}", status(erp), status(&finding.lake.header))
        }
        OpenDifference::OtherTime(erp) => format!("the ERP says modified {}, {}", erp.modified, status(erp)),
        OpenDifference::Invalid(reason) => format!("the ERP gives an invalid record: {reason}"),
    }
}

/// Lines under one label, as many as are named.
fn listed(label: &str, what: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = what.map(|what| format!("  {label:<12}{what}")).collect();
    if let Some(more) = lines.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.truncate(NAMED);
        lines.push(format!("              and {more} more: see --json"));
    }
    lines
}
