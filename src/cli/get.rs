//! `wdt-lake get NUMBER...`: ask the ERP for requisitions by number and print them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::accounts::AccountArgs;
use super::render;
use super::sync::CallArgs;
use crate::error::{Error, ErrorClass, Result, exit};
use crate::pipeline::{self, Queried};
use crate::text::{Text, say, text};
use crate::time::SystemClock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Numbers of requisitions (采购申请单号).
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<String>,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    calls: CallArgs,
    /// Print one line with one JSON object, in the columns of the contract.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    for number in &args.numbers {
        if number.trim() != number || number.is_empty() || number.chars().count() > 40 {
            return Err(Error::new(
                ErrorClass::ArgumentWrong,
                text!("`{number}` is no number of a requisition", number),
            )
            .hint("a number has 1 to 40 characters and no whitespace around it"));
        }
    }
    let (account, terms) = args.account.one()?;
    let found = pipeline::get(&account, &args.numbers, &args.calls.policy(&terms)?, Arc::new(SystemClock))
        .await
        .map_err(|error| error.with("account", &account.name))?;
    super::print(&if args.json { to_json(&found)? } else { to_text(&found)? });
    found.iter().flat_map(warnings).for_each(|warning| super::print_warning(&warning));
    // Others came in its place, or what came cannot be read.
    let lacks = |looked: &Queried| !looked.rows.quarantined.is_empty() || (looked.is_empty() && looked.others > 0);
    Ok(if found.iter().any(lacks) { exit::DONE_WITH_REMAINDER } else { exit::DONE })
}

/// What keeps an answer from being just what was asked for.
fn warnings(looked: &Queried) -> Vec<Text> {
    let Queried { number, rows, others, more } = looked;
    let invalid =
        rows.quarantined.iter().map(|record| text!("a record is invalid: {message}", message = record.message()));
    let others = (*others > 0).then(|| {
        text!(
            "{number}: the ERP gave {others} requisitions of other numbers as well, which are not shown",
            number,
            others
        )
    });
    let more = more
        .map(|total| text!("{number}: the ERP says that it has {total} requisitions, and gave fewer", number, total));
    invalid.chain(others).chain(more).collect()
}

/// A header with its details in `details`.
fn requisitions(looked: &Queried) -> Result<Vec<Map<String, Value>>> {
    let details = render::rows(&looked.rows.details)?;
    let mut headers = render::rows(&looked.rows.headers)?;
    for header in &mut headers {
        let is_own = |detail: &&Map<String, Value>| {
            detail.get("purchase_apply_no") == header.get("purchase_apply_no")
                && detail.get("apply_modified") == header.get("modified")
        };
        let own: Vec<Value> = details.iter().filter(is_own).cloned().map(Value::Object).collect();
        header.insert("details".to_owned(), own.into());
    }
    Ok(headers)
}

fn to_json(found: &[Queried]) -> Result<String> {
    let mut all = Vec::new();
    for looked in found {
        all.extend(requisitions(looked)?.into_iter().map(Value::Object));
    }
    let unknown: Vec<&str> = found.iter().filter(|looked| looked.is_empty()).map(|looked| &*looked.number).collect();
    let warnings: Vec<Text> = found.iter().flat_map(warnings).collect();
    let quarantined: Vec<Value> = found
        .iter()
        .flat_map(|looked| &looked.rows.quarantined)
        .filter_map(|record| serde_json::from_str(&record.to_json_line()).ok())
        .collect();
    let told = json!({"command": "get", "requisitions": all, "unknown": unknown, "quarantined": quarantined, "warnings": warnings});
    Ok(told.to_string())
}

fn to_text(found: &[Queried]) -> Result<String> {
    let mut lines = Vec::new();
    for looked in found {
        if looked.is_empty() {
            // A server that ignores the number does not say that it does not know it.
            lines.push(if looked.others > 0 {
                say!("{number}: the response does not have this number", number = looked.number)
            } else {
                say!("{number}: the ERP does not know this number", number = looked.number)
            });
        }
        for header in requisitions(looked)? {
            let text = |object: &Map<String, Value>, name: &str| match object.get(name) {
                None | Some(Value::Null) => "-".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            lines.push(say!(
                "{number}  {status_name} ({status})  modified {modified}",
                number = text(&header, "purchase_apply_no"),
                status_name = text(&header, "status_name"),
                status = text(&header, "status"),
                modified = text(&header, "modified")
            ));
            lines.push(say!("  warehouse {warehouse_no} {name}, by {createor_name}, real {real_num} ref {ref_num} unref {unref_num}, remark {remark}", warehouse_no = text(&header, "warehouse_no"), name = text(&header, "name"), createor_name = text(&header, "createor_name"), real_num = text(&header, "real_num"), ref_num = text(&header, "ref_num"), unref_num = text(&header, "unref_num"), remark = format!("{:?}", text(&header, "remark"))));
            let details =
                header.get("details").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
            for detail in details {
                lines.push(say!(
                    "  {index}  {spec_no}  {goods_name} {spec_name}  real {real_num} ref {ref_num}",
                    index = format!("{:>3}", text(detail, "detail_index")),
                    spec_no = text(detail, "spec_no"),
                    goods_name = text(detail, "goods_name"),
                    spec_name = text(detail, "spec_name"),
                    real_num = text(detail, "real_num"),
                    ref_num = text(detail, "ref_num")
                ));
            }
        }
    }
    Ok(lines.join("\n"))
}
