//! `wdt-lake verify`: is what lies in a lake what its commit log says?

use serde_json::{Value, json};

use super::lake::{ByAccount, LakeArgs};
use super::render;
use crate::error::{Result, exit};
use crate::id::AccountName;
use crate::log::Table;
use crate::text::say;
use crate::units::{plural, thousands};
use crate::verify::{Defect, Depth, TotalMismatch, Verified, accounts_with_objects, strays};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// Read every value of every row, and report headers whose quantities are not the sums of their details.
    #[arg(long)]
    deep: bool,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let depth = if args.deep { Depth::Deep } else { Depth::Shallow };
    let lake = args.lake.open()?;
    let accounts = lake.pick(accounts_with_objects(&lake.store).await?).await?;
    let one = async |account: &AccountName| crate::verify::verify(&lake.store, account.clone(), depth).await;
    let verified = ByAccount::of(accounts, one).await;
    // Whoever asks for one account asks for what lies in its folders.
    let strays = if lake.wanted.is_none() { strays(&lake.store).await? } else { Vec::new() };
    // What is nobody's concerns the whole lake, whichever account was asked for.
    let mut untracked = crate::verify::untracked(&lake.store).await?;
    untracked.retain(|name| !strays.iter().any(|stray| stray.object.ends_with(name.as_str())));
    let is_sound = strays.is_empty() && verified.found.iter().all(|(_, account)| account.defects.is_empty());
    let code = verified.exit_code((!is_sound).then_some(exit::DEFECT));
    let to_json = || {
        let accounts = verified.found.iter().map(|(_, account)| to_json(account, depth)).chain(verified.failed_json());
        let accounts: Vec<Value> = accounts.collect();
        json!({
            "command": "verify", "lake": lake.store.root(), "deep": args.deep, "accounts": accounts,
            "defects": strays.iter().map(defect_json).collect::<Vec<_>>(), "untracked": untracked, "exit_code": code,
        })
    };
    let to_text = || {
        let mut parts: Vec<String> = verified.found.iter().map(|(_, account)| to_text(account, depth)).collect();
        if !strays.is_empty() {
            let told = strays.iter().map(defect_text).collect::<Vec<_>>().join("\n");
            parts.push(say!(
                "outside of any account: {defects}\n{told}",
                defects = plural(strays.len() as u64, "defect"),
                told
            ));
        }
        if parts.is_empty() && verified.is_empty() {
            parts.push(say!("the lake is empty"));
        }
        if !untracked.is_empty() {
            let names = untracked.iter().map(|name| say!("  untracked   {name}", name = render::name(name)));
            parts.push(names.collect::<Vec<_>>().join("\n"));
        }
        parts.join("\n\n")
    };
    args.lake.output.print(to_json, to_text);
    verified.print_failed();
    Ok(code)
}

fn defect_json(defect: &Defect) -> Value {
    json!({"object": defect.object, "what": defect.what, "remedy": defect.remedy})
}

fn defect_text(defect: &Defect) -> String {
    say!("  {object} {what}; {remedy}", object = defect.object, what = defect.what, remedy = defect.remedy)
}

fn rows(verified: &Verified, table: Table) -> u64 {
    verified.rows.get(&table).copied().unwrap_or(0)
}

fn to_json(verified: &Verified, depth: Depth) -> Value {
    let mismatch = |mismatch: &TotalMismatch| {
        json!({
            "purchase_apply_no": mismatch.number, "modified": mismatch.modified, "column": mismatch.column,
            "header": render::decimal(mismatch.header_scaled), "details": render::decimal(mismatch.details_scaled),
        })
    };
    json!({
        "account": verified.account,
        "manifests": verified.manifests,
        "commits": verified.commits,
        "objects": verified.objects,
        "bytes": verified.bytes,
        "rows": {
            "purchase_apply": rows(verified, Table::PurchaseApply),
            "purchase_apply_detail": rows(verified, Table::PurchaseApplyDetail),
            "quarantined": verified.quarantined,
        },
        "defects": verified.defects.iter().map(defect_json).collect::<Vec<_>>(),
        "notes": verified.notes,
        "total_mismatches": match depth {
            Depth::Shallow => Value::Null,
            Depth::Deep => json!({
                "count": verified.total_mismatches,
                "first": verified.mismatches.iter().map(mismatch).collect::<Vec<_>>(),
            }),
        },
    })
}

fn to_text(verified: &Verified, depth: Depth) -> String {
    let mut lines = vec![match verified.defects.len() as u64 {
        0 => say!("{account}: no defect", account = verified.account),
        defects => say!("{account}: {defects}", account = verified.account, defects = plural(defects, "defect")),
    }];
    lines.extend(verified.defects.iter().map(defect_text));
    lines.push(say!(
        "  read        {manifests}, {commits} live, {objects} of {bytes}",
        manifests = plural(verified.manifests, "manifest"),
        commits = plural(verified.commits, "commit"),
        objects = plural(verified.objects, "object"),
        bytes = render::bytes(verified.bytes)
    ));
    lines.push(say!(
        "  rows        {headers} purchase_apply, {details} purchase_apply_detail, {quarantined} quarantined",
        headers = thousands(rows(verified, Table::PurchaseApply)),
        details = thousands(rows(verified, Table::PurchaseApplyDetail)),
        quarantined = thousands(verified.quarantined)
    ));
    if depth == Depth::Deep {
        lines.push(say!(
            "  mismatches  {sums} whose header and details disagree: the ERP gave them so",
            sums = plural(verified.total_mismatches, "sum")
        ));
        lines.extend(verified.mismatches.iter().map(|mismatch| {
            say!(
                "              {number} modified {modified}: {column} {of_header}, details {of_details}",
                number = mismatch.number,
                modified = mismatch.modified,
                column = mismatch.column,
                of_header = render::decimal(mismatch.header_scaled),
                of_details = render::decimal(mismatch.details_scaled)
            )
        }));
    }
    lines.extend(verified.notes.iter().map(|note| say!("  note        {note}", note)));
    lines.join("\n")
}
