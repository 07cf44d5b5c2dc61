//! What a `sync` or a `demo` did, for people and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::render;
use super::talk::error_json;
use crate::config::AccountSettings;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass};
use crate::id::AccountName;
use crate::pipeline::{Compacted, Damage, HiddenStops, Remaining, SyncReport, Tried};
use crate::publish::PublishedTable;
use crate::publish_format::PublishFormat;
use crate::text::say;
use crate::time::Window;
use crate::transform::Remarks;
use crate::units::{at_most, plural, thousands};

/// How many gaps the summary names; `--json` has them all.
const GAPS_NAMED: usize = 10;

/// Prints what a run did: data to standard output, warnings, gaps and errors to standard error.
pub(super) fn print_report(account: &AccountSettings, report: &SyncReport, as_json: bool) {
    report.warnings.iter().for_each(super::print_warning);
    super::print(&if as_json {
        to_json(&account.name, report).to_string()
    } else {
        to_text(&account.name, account.edition, report)
    });
    for gap in report.gaps.iter().filter(|gap| gap.tried == Tried::Yes) {
        super::print_error(&gap.error);
    }
    for error in report.stopped.iter().chain(&report.unpublished) {
        super::print_error(error);
    }
    if report.interrupted {
        print_interrupted();
    }
}

pub(super) fn print_interrupted() {
    super::print_error(&Error::new(ErrorClass::Interrupted, "interrupted").hint("run again: what is committed stays"));
}

fn to_json(account: &AccountName, report: &SyncReport) -> Value {
    let mut summary = account_json(account, report);
    summary["command"] = "sync".into();
    summary
}

/// What a run did for an account.
pub(super) fn account_json(account: &AccountName, report: &SyncReport) -> Value {
    let window = |window: Window| json!({"start": window.start(), "end": window.end()});
    json!({
        "account": account,
        "run": report.run,
        "range": report.range.map(window),
        "windows": report.windows,
        "refreshed": report.refreshed,
        "rewalked": report.rewalked,
        "damaged": report.damage.iter().map(|damage| json!({
            "objects": damage.objects,
            "window": window(damage.window),
            "rows": by_table(damage.rows),
            "rows_read_again": by_table(damage.read),
        })).collect::<Vec<_>>(),
        "rows": {"purchase_apply": report.tally.headers, "purchase_apply_detail": report.tally.details, "quarantined": report.tally.quarantined},
        "unreadable_times": report.remarks.unreadable_times,
        "landed_with_and_without_id": report.remarks.with_and_without_id,
        "real_num": render::decimal(report.tally.real_num_scaled),
        "calls": report.calls,
        "files": report.tally.files,
        "parquet_bytes": report.tally.bytes,
        "compacted": compacted_json(&report.compacted),
        "published": published_json(&report.published),
        "hidden_stops": report.hidden_stops.map(|hidden| json!({
            "requisitions": hidden.requisitions, "visible_after": hidden.visible_after,
        })),
        "warnings": report.warnings,
        "gaps": report.gaps.iter().map(|gap| json!({"window": window(gap.window), "error": error_json(&gap.error)})).collect::<Vec<_>>(),
        "error": report.stopped.as_ref().or(report.unpublished.as_ref()).map(error_json),
        "interrupted": report.interrupted,
        "remaining": report.remaining.as_ref().map(remaining_json),
        "wall_s": seconds(report.elapsed),
        "exit_code": report.exit_code(),
    })
}

/// What was put together.
pub(super) fn compacted_json(compacted: &Compacted) -> Value {
    let Compacted { commits, into, files_removed, files_written, bytes_written, left } = compacted;
    json!({
        "commits": commits,
        "into": into,
        "files_removed": files_removed,
        "files_written": files_written,
        "bytes_written": bytes_written,
        "steps_left": left,
    })
}

/// The same in words, where something was.
pub(super) fn compacted_text(compacted: &Compacted) -> Option<String> {
    let Compacted { commits, into, files_removed, files_written, left, .. } = *compacted;
    let rest = if left > 0 { say!(", more is left for the next run") } else { String::new() };
    (into > 0).then(|| {
        say!(
            "  {commits} put together in {into}, {files} in {files_written}{rest}",
            commits = plural(commits, "commit"),
            into = thousands(into),
            files = plural(files_removed, "file"),
            files_written = thousands(files_written),
            rest
        )
    })
}

/// How far an account is published.
pub(super) fn published_json(published: &[PublishedTable]) -> Value {
    let tables = published.iter().map(|PublishedTable { table, format, version, number, created }| {
        json!({"table": table.name(), "format": format.name(), "version": version, "manifest": number, "versions_created": created})
    });
    tables.collect()
}

/// The same in words, one line a format in which something was published now.
pub(super) fn published_text(published: &[PublishedTable]) -> Vec<String> {
    let line = |format: PublishFormat| {
        let of_format = published.iter().filter(|table| table.format == format);
        let is_new = of_format.clone().any(|table| table.created > 0);
        let tables: Vec<String> = of_format
            .map(|PublishedTable { table, version, .. }| say!("{table} version {version}", table, version))
            .collect();
        is_new.then(|| {
            say!("  published as {format}: {tables}", format = format.title(), tables = tables.join(&say!(", ")))
        })
    };
    PublishFormat::ALL.into_iter().filter_map(line).collect()
}

/// What a run left to the next one because its time was over.
fn remaining_json(remaining: &Remaining) -> Value {
    match remaining {
        Remaining::All => json!({"begun": false, "windows": null, "seconds": null, "walked_again_later": null}),
        Remaining::Some { missing, again } => json!({
            "begun": true,
            "windows": missing.iter().map(|window| json!({"start": window.start(), "end": window.end()})).collect::<Vec<_>>(),
            "seconds": missing.iter().copied().map(Window::seconds).sum::<u64>(),
            "walked_again_later": again,
        }),
    }
}

/// The same in words.
fn remaining_text(remaining: &Remaining) -> Option<String> {
    let Remaining::Some { missing, again } = remaining else { return None };
    let seconds = missing.iter().copied().map(Window::seconds).sum();
    let ranges = plural(*again, "range");
    match (seconds, again) {
        (0, 0) => None,
        (0, _) => Some(say!("  its time was over: the next run walks {ranges} again", ranges)),
        _ => Some(say!("  its time was over: {left} of its range are left to the next run", left = at_most(seconds))),
    }
}

fn by_table([headers, details]: [u64; 2]) -> Value {
    json!({"purchase_apply": headers, "purchase_apply_detail": details})
}

/// Seconds to the millisecond.
pub(super) fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

pub(super) fn to_text(account: &AccountName, edition: Edition, report: &SyncReport) -> String {
    if report.range.is_none() && (report.stopped.is_some() || report.is_cut_short()) {
        return say!("{account}: not begun", account);
    }
    let Some(range) = report.range else {
        return say!("{account}: nothing to do yet: the range ends before it starts, less the lag", account);
    };
    let is_idle = report.calls == 0 && report.stopped.is_none() && report.gaps.is_empty() && report.remaining.is_none();
    if is_idle {
        let covered = say!("{account}: {range} (Beijing time) is covered already: no call was made", account, range);
        let more = compacted_text(&report.compacted).into_iter().chain(published_text(&report.published));
        let more = more.chain(report.hidden_stops.map(hidden_text));
        return std::iter::once(covered).chain(more).collect::<Vec<_>>().join("\n");
    }
    let sum = say!(", real_num sums to {sum}", sum = render::decimal(report.tally.real_num_scaled));
    let (of_headers, of_details) = match edition {
        Edition::Enterprise | Edition::Y => (&*sum, ""),
        // Its headers carry no quantities.
        Edition::Flagship => ("", &*sum),
    };
    let mut lines = vec![
        say!("{account}: {range} (Beijing time)", account, range),
        say!(
            "  purchase_apply         {headers} rows{of_headers}",
            headers = format!("{:>14}", thousands(report.tally.headers)),
            of_headers
        ),
        say!(
            "  purchase_apply_detail  {details} rows{of_details}",
            details = format!("{:>14}", thousands(report.tally.details)),
            of_details
        ),
        say!(
            "  {windows} in {calls}, {files}, {bytes}, {seconds} s",
            windows = plural(report.windows, "window"),
            calls = plural(report.calls, "call"),
            files = plural(report.tally.files, "file"),
            bytes = render::bytes(report.tally.bytes),
            seconds = format!("{:.2}", report.elapsed.as_secs_f64())
        ),
    ];
    lines.extend(remarks(report));
    lines.join("\n")
}

/// That stopped requisitions are not seen yet.
fn hidden_text(hidden: HiddenStops) -> String {
    let count = plural(hidden.requisitions, "stopped requisition");
    say!(
        "  {count} not seen yet, because a run stays its lag behind the present: sync again after {time}",
        count,
        time = hidden.visible_after
    )
}

/// What was damaged, and what came back.
fn damaged(damage: &Damage) -> String {
    let Damage { objects, window, rows: [headers, details], read: [headers_read, details_read] } = damage;
    let shown: Vec<String> = objects.iter().map(|name| format!("`{name}`")).collect();
    let told = if damage.has_lost() { say!("NOT ALL CAME BACK") } else { say!("replaced") };
    say!(
        "  damaged: {shown}, {told}: {window} held {headers} and {details} rows, {headers_read} and {details_read} were read again",
        shown = shown.join(&say!(", ")),
        told,
        window,
        headers,
        details,
        headers_read,
        details_read
    )
}

/// What of a run is worth a line.
fn remarks(report: &SyncReport) -> Vec<String> {
    let mut lines: Vec<String> = compacted_text(&report.compacted).into_iter().collect();
    lines.extend(published_text(&report.published));
    lines.extend(report.hidden_stops.map(hidden_text));
    lines.extend(report.remaining.as_ref().and_then(remaining_text));
    if report.refreshed > 0 {
        lines.push(say!(
            "  {windows} walked again, rows that left the ERP's windows carried over",
            windows = plural(report.refreshed, "window")
        ));
    }
    if report.rewalked > 0 {
        lines.push(say!("  {windows} read anew and replaced", windows = plural(report.rewalked, "window")));
    }
    lines.extend(report.damage.iter().map(damaged));
    if report.tally.quarantined > 0 {
        lines.push(say!(
            "  {records} quarantined: see _quarantine/ in the lake",
            records = plural(report.tally.quarantined, "record")
        ));
    }
    let Remarks { unreadable_times, with_and_without_id } = report.remarks;
    lines.extend(render::unreadable_times(unreadable_times));
    if with_and_without_id > 0 {
        lines.push(say!(
            "  {versions} landed once with an apply_id and once without: perhaps the same requisition twice",
            versions = plural(with_and_without_id, "version")
        ));
    }
    if !report.gaps.is_empty() {
        lines.push(say!(
            "  {windows} not committed; they are walked again by the next run",
            windows = plural(report.gaps.len() as u64, "window")
        ));
        lines.extend(report.gaps.iter().take(GAPS_NAMED).map(|gap| format!("    {}", gap.window)));
        if report.gaps.len() > GAPS_NAMED {
            lines.push(say!("    and {more} more: see --json", more = report.gaps.len() - GAPS_NAMED));
        }
    }
    lines
}
