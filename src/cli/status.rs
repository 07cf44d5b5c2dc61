//! `wdt-lake status`: what a lake covers and holds, account by account.

use serde_json::{Value, json};

use super::render;
use crate::error::{Error, Result, exit};
use crate::id::AccountName;
use crate::land::{Access, Lake, Leftovers, Store, Table, Unsettled};
use crate::time::Window;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the lake is: a folder or `s3://bucket/prefix`.
    #[arg(long, value_name = "URI")]
    lake: String,
    /// Only this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print one line with one JSON object.
    #[arg(long)]
    json: bool,
}

/// The accounts of a lake, or the one that is wanted.
pub(super) async fn accounts(store: &Store, wanted: Option<AccountName>) -> Result<Vec<AccountName>> {
    pick(crate::land::accounts(store).await?, wanted)
}

/// All of `present`, or the one that is wanted.
pub(super) fn pick(present: Vec<AccountName>, wanted: Option<AccountName>) -> Result<Vec<AccountName>> {
    match wanted {
        None => Ok(present),
        Some(account) if present.contains(&account) => Ok(vec![account]),
        Some(account) => Err(Error::usage("the lake has no such account").with("account", account).hint(format!(
            "it has {}",
            if present.is_empty() {
                "none".to_owned()
            } else {
                present.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            }
        ))),
    }
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let wanted = args.account.as_deref().map(str::parse).transpose()?;
    let store = Store::open(&args.lake, Access::Read)?;
    let mut shown = Vec::new();
    for account in accounts(&store, wanted).await? {
        let lake = Lake::open(store.clone(), account).await?;
        let leftovers = lake.leftovers().await?;
        shown.push((lake, leftovers));
    }
    if args.json {
        let accounts: Vec<Value> = shown.iter().map(|(lake, leftovers)| to_json(lake, leftovers)).collect();
        super::print(&json!({"command": "status", "lake": store.root(), "accounts": accounts}).to_string());
    } else if shown.is_empty() {
        super::print("the lake is empty");
    } else {
        super::print(&shown.iter().map(|(lake, leftovers)| to_text(lake, leftovers)).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(exit::DONE)
}

/// The seconds that are missing between the first one that was ever asked for and the last covered one.
fn gaps(lake: &Lake) -> Vec<Window> {
    let wanted =
        lake.fold().start().zip(lake.coverage().span()).and_then(|(start, span)| Window::new(start, span.end()));
    wanted.map(|wanted| lake.coverage().gaps(wanted)).unwrap_or_default()
}

fn to_json(lake: &Lake, leftovers: &Leftovers) -> Value {
    let window = |window: &Window| json!({"start": window.start(), "end": window.end()});
    json!({
        "account": lake.account(),
        "edition": lake.fold().binding().map(|binding| binding.edition),
        "sid": lake.fold().binding().map(|binding| &binding.sid),
        "host": lake.fold().binding().map(|binding| &binding.host),
        "coverage": lake.coverage().windows().iter().map(window).collect::<Vec<_>>(),
        "gaps": gaps(lake).iter().map(window).collect::<Vec<_>>(),
        "rows": {
            "purchase_apply": lake.rows(Table::PurchaseApply),
            "purchase_apply_detail": lake.rows(Table::PurchaseApplyDetail),
            "stop_reference": lake.rows(Table::StopReference),
            "quarantined": lake.quarantined(),
        },
        "unsettled_stops": lake.fold().stops().unsettled().iter().map(|(number, held)| json!({
            "purchase_apply_no": number, "requested_at": held.requested_at, "state": state(held),
        })).collect::<Vec<_>>(),
        "commits": lake.fold().live().len(),
        "last_commit": lake.fold().last().map(|last| json!({
            "number": last.number, "run": last.run, "kind": last.kind.name(), "at": last.created_at,
        })),
        "unfinished_commits": leftovers.unfinished.len(),
        "files_to_delete": leftovers.deletable.len(),
        "foreign": leftovers.foreign,
    })
}

/// Whether a stop that is not settled has a result at all.
fn state(held: &Unsettled) -> &'static str {
    if held.is_unknown { "unknown" } else { "open" }
}

fn to_text(lake: &Lake, leftovers: &Leftovers) -> String {
    let mut lines = vec![match lake.fold().binding() {
        Some(binding) => {
            format!("{} ({} edition, sid {}, {})", lake.account(), binding.edition, binding.sid, binding.host)
        }
        None => lake.account().to_string(),
    }];
    let listed =
        |windows: &[Window]| windows.iter().map(Window::to_string).collect::<Vec<_>>().join("\n              ");
    match lake.coverage().windows() {
        [] => lines.push("  covers      nothing yet".to_owned()),
        windows => lines.push(format!("  covers      {}", listed(windows))),
    }
    let gaps = gaps(lake);
    if !gaps.is_empty() {
        lines.push(format!("  gaps        {}", listed(&gaps)));
    }
    lines.push(format!(
        "  rows        {} purchase_apply, {} purchase_apply_detail",
        render::thousands(lake.rows(Table::PurchaseApply)),
        render::thousands(lake.rows(Table::PurchaseApplyDetail))
    ));
    if lake.quarantined() > 0 {
        lines.push(format!("  quarantine  {}", render::count(lake.quarantined(), "record")));
        for (_, live) in lake.with_quarantine() {
            lines.extend(
                live.quarantine
                    .iter()
                    .map(|held| format!("              {} in {}", held.rows, lake.store().uri(&held.path))),
            );
        }
    }
    let unsettled = lake.fold().stops().unsettled();
    if !unsettled.is_empty() {
        lines.push(format!(
            "  stops       {} not settled; the next `wdt-lake stop` settles what can be told",
            render::count(unsettled.len() as u64, "requisition")
        ));
        let held = unsettled.iter();
        lines.extend(
            held.map(|(number, held)| format!("              {number} of {}: {}", held.requested_at, state(held))),
        );
    }
    if let Some(last) = lake.fold().last() {
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
            render::count(leftovers.unfinished.len() as u64, "commit")
        ));
    }
    for name in &leftovers.foreign {
        lines.push(format!("  not ours    {name}"));
    }
    lines.join("\n")
}
