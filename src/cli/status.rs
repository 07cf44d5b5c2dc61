//! `wdt-lake status`: what a lake covers and holds, account by account.

use serde_json::{Value, json};

use super::lake::LakeArgs;
use super::render;
use crate::error::{Result, exit};
use crate::land::{Leftovers, leftovers};
use crate::log::{Lake, PendingStop, Table};
use crate::time::{Clock as _, SystemClock, Window};
use crate::units::{plural, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let lake = args.lake.open()?;
    let mut shown = Vec::new();
    for account in lake.accounts().await? {
        let part = Lake::open(lake.store.clone(), account).await?;
        let leftovers = leftovers(&part, SystemClock.now()).await?;
        shown.push((part, leftovers));
    }
    let to_json = || {
        let accounts: Vec<Value> = shown.iter().map(|(part, leftovers)| to_json(part, leftovers)).collect();
        json!({"command": "status", "lake": lake.store.root(), "accounts": accounts})
    };
    let to_text = || match &*shown {
        [] => "the lake is empty".to_owned(),
        shown => shown.iter().map(|(part, leftovers)| to_text(part, leftovers)).collect::<Vec<_>>().join("\n\n"),
    };
    args.lake.output.print(to_json, to_text);
    Ok(exit::DONE)
}

/// The seconds that are missing between the first one that was ever asked for and the last covered one.
fn gaps(lake: &Lake) -> Vec<Window> {
    let wanted =
        lake.state().start().zip(lake.coverage().span()).and_then(|(start, span)| Window::new(start, span.end()));
    wanted.map(|wanted| lake.coverage().gaps(wanted)).unwrap_or_default()
}

fn to_json(lake: &Lake, leftovers: &Leftovers) -> Value {
    let window = |window: &Window| json!({"start": window.start(), "end": window.end()});
    json!({
        "account": lake.account(),
        "edition": lake.state().binding().map(|binding| binding.edition),
        "sid": lake.state().binding().map(|binding| &binding.sid),
        "host": lake.state().binding().map(|binding| &binding.host),
        "coverage": lake.coverage().windows().iter().map(window).collect::<Vec<_>>(),
        "gaps": gaps(lake).iter().map(window).collect::<Vec<_>>(),
        "rows": {
            "purchase_apply": lake.rows(Table::PurchaseApply),
            "purchase_apply_detail": lake.rows(Table::PurchaseApplyDetail),
            "stop_reference": lake.rows(Table::StopReference),
            "quarantined": lake.quarantined(),
        },
        "pending_stops": lake.state().stops().pending().iter().map(|(number, held)| json!({
            "purchase_apply_no": number, "requested_at": held.requested_at, "state": state(held),
        })).collect::<Vec<_>>(),
        "commits": lake.state().live().len(),
        "last_commit": lake.state().last().map(|last| json!({
            "number": last.number, "run": last.run, "kind": last.kind.name(), "at": last.created_at,
        })),
        "unfinished_commits": leftovers.unfinished.len(),
        "files_to_delete": leftovers.deletable.len(),
        "untracked": leftovers.untracked,
    })
}

/// Whether a pending stop has a result at all.
fn state(held: &PendingStop) -> &'static str {
    if held.is_unknown { "unknown" } else { "open" }
}

fn to_text(lake: &Lake, leftovers: &Leftovers) -> String {
    let mut lines = vec![match lake.state().binding() {
        Some(binding) => {
            format!("{} ({} edition, sid {}, {})", lake.account(), binding.edition, binding.sid, binding.host)
        }
        None => lake.account().to_string(),
    }];
    lines.extend(covered(lake));
    lines.extend(held(lake));
    lines.extend(pending(lake));
    if let Some(last) = lake.state().last() {
        lines.push(format!(
            "  last commit {} at {} (number {}, run {})",
            last.kind.name(),
            last.created_at,
            last.number,
            last.run
        ));
    }
    if !leftovers.unfinished.is_empty() {
        lines.push(format!(
            "  unfinished  {}: a run is at work, or one died; the next writing command clears it",
            plural(leftovers.unfinished.len() as u64, "commit")
        ));
    }
    lines.extend(leftovers.untracked.iter().map(|name| format!("  untracked   {}", render::name(name))));
    lines.join("\n")
}

fn covered(lake: &Lake) -> Vec<String> {
    let listed =
        |windows: &[Window]| windows.iter().map(Window::to_string).collect::<Vec<_>>().join("\n              ");
    let mut lines = match lake.coverage().windows() {
        [] => vec!["  covers      nothing yet".to_owned()],
        windows => vec![format!("  covers      {}", listed(windows))],
    };
    let gaps = gaps(lake);
    if !gaps.is_empty() {
        lines.push(format!("  gaps        {}", listed(&gaps)));
    }
    lines
}

fn held(lake: &Lake) -> Vec<String> {
    let rows = |table| thousands(lake.rows(table));
    let mut lines = vec![format!(
        "  rows        {} purchase_apply, {} purchase_apply_detail",
        rows(Table::PurchaseApply),
        rows(Table::PurchaseApplyDetail)
    )];
    if lake.rows(Table::StopReference) > 0 {
        lines.push(format!("              {} stop_reference", rows(Table::StopReference)));
    }
    if lake.quarantined() > 0 {
        lines.push(format!("  quarantine  {}", plural(lake.quarantined(), "record")));
        let files = lake.with_quarantine().flat_map(|(_, live)| &live.quarantine);
        lines.extend(files.map(|file| format!("              {} in {}", file.rows, lake.store().uri(&file.path))));
    }
    lines
}

fn pending(lake: &Lake) -> Vec<String> {
    let stops = lake.state().stops().pending();
    if stops.is_empty() {
        return Vec::new();
    }
    let count = plural(stops.len() as u64, "requisition");
    let mut lines = vec![format!("  stops       {count} pending; the next `wdt-lake stop` settles what can be told")];
    lines.extend(
        stops.iter().map(|(number, stop)| format!("              {number} of {}: {}", stop.requested_at, state(stop))),
    );
    lines
}
