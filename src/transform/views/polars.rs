//! The views as a Python script for Polars.
//!
//! It says with lazy frames what `sql` says: a version is its lineage, counts only with all its details, and of each
//! number the newest one is shown, of one id the one that was read last. Nothing is read before a frame is collected.

use serde_json::Value;

use super::super::contract::{ColumnType, Contract, TableContract};
use super::super::dialect::{below, literal_by_class};
use super::{ABOUT_DETAILS, ABOUT_LATEST, ABOUT_OPEN, ABOUT_STOPS, Engine, Extent, View, Views, note};
use crate::edition::OPEN_STATUSES;
use crate::error::Result;
use crate::id::AccountName;

const READ: &str = r#"def read(files, columns, partitions):
    if files:
        rows = pl.scan_parquet(files, schema=columns, hive_partitioning=True, hive_schema=partitions,
                               missing_columns="insert", extra_columns="ignore")
    else:
        rows = pl.LazyFrame(schema={**columns, **partitions})
    if ACCOUNT is not None:
        rows = rows.filter(pl.col("account") == ACCOUNT)
    return rows.with_columns(pl.col(INSTANT).dt.convert_time_zone("Asia/Shanghai"))"#;

const CHOSEN: &str = r#"HEADER = ["account", "purchase_apply_no", "apply_id", "modified", "_run_id", "_extracted_at"]
DETAIL = ["account", "purchase_apply_no", "apply_id", "apply_modified", "_run_id", "_extracted_at"]
ID = pl.max_horizontal(pl.col("apply_id").fill_null(0), 0)


def chosen():
    positions = details.group_by(DETAIL).agg(pl.col("detail_index").n_unique().alias("positions"))
    versions = headers.group_by(HEADER).agg(pl.col("detail_count").max())
    versions = versions.join(positions, left_on=HEADER, right_on=DETAIL, how="left", nulls_equal=True)
    whole = versions.filter(pl.col("positions").fill_null(0) >= pl.col("detail_count").fill_null(0))
    newest = whole.filter(pl.col("modified") == pl.col("modified").max().over("account", "purchase_apply_no"))
    newest = newest.with_columns(ID.alias("id")).sort("_extracted_at", "_run_id", "apply_id", descending=[True, True, False])
    return newest.unique(["account", "purchase_apply_no", "id"], keep="first", maintain_order=True).select(HEADER)"#;

const LATEST: &str = r#"purchase_apply_latest = headers.join(chosen(), on=HEADER, how="semi", nulls_equal=True).unique(HEADER)
sql.register("purchase_apply_latest", purchase_apply_latest)"#;

const DETAILS: &str = r#"purchase_apply_detail_latest = details.join(
    chosen(), left_on=DETAIL, right_on=HEADER, how="semi", nulls_equal=True
).unique([*DETAIL, "detail_index"])
sql.register("purchase_apply_detail_latest", purchase_apply_detail_latest)"#;

const OPEN: &str = r#"QUANTITY = pl.Decimal(38, 4)
left = pl.col("real_num").cast(QUANTITY) - pl.col("ref_num").cast(QUANTITY).fill_null(pl.lit(0).cast(QUANTITY))
sums = purchase_apply_detail_latest.group_by(DETAIL).agg(pl.when(left.count() > 0).then(left.sum()).alias("open_num"))
purchase_apply_open = (
    purchase_apply_latest.filter(pl.col("status_name").is_in(OPEN))
    .join(sums, left_on=HEADER, right_on=DETAIL, how="left", nulls_equal=True)
    .with_columns(pl.coalesce(pl.col("unref_num").cast(QUANTITY), pl.col("open_num")).alias("open_num"))
)
sql.register("purchase_apply_open", purchase_apply_open)"#;

const STOPS: &str = r#"stop_reference_latest = (
    stops.sort("requested_at", pl.col("outcome") == "unknown", "_run_id", descending=[True, False, True])
    .unique(["account", "purchase_apply_no"], keep="first", maintain_order=True)
)
sql.register("stop_reference_latest", stop_reference_latest)"#;

const EXAMPLE: &str = r#"(
    headers.filter(pl.col("modified_month") == "2026-10")
    .with_columns(ID.alias("id")).sort("_extracted_at", "_run_id", descending=True)
    .unique(["account", "purchase_apply_no", "modified", "id"], keep="first", maintain_order=True)
    .group_by("status_name")
    .agg(pl.len().alias("versions"), pl.col("real_num").cast(pl.Decimal(38, 4)).sum())
    .collect()
)"#;

/// The script over the lake at `lake`, of all its accounts or one.
pub(super) fn render(lake: &str, contract: &Contract, account: Option<&AccountName>, extent: Extent) -> Result<Views> {
    let account = account.map_or_else(|| "None".to_owned(), |name| text(&name.to_string()));
    let open = OPEN_STATUSES.map(text).join(", ");
    let mut setup = vec![
        (
            "",
            format!(
                "import polars as pl\n\nACCOUNT = {account}\nINSTANT = pl.Datetime(\"us\", \"UTC\")\nOPEN = [{open}]\nsql = pl.SQLContext()"
            ),
        ),
        ("Times are instants, shown as Beijing time. A column that some files lack is null there.", READ.to_owned()),
        ("Every version of the requisitions and of their details.", frames(lake, contract, extent)),
        ("The versions to show, by what header and details of one version share.", CHOSEN.to_owned()),
    ];
    let mut views = vec![
        View { name: "purchase_apply_latest", about: ABOUT_LATEST, sql: LATEST.to_owned() },
        View { name: "purchase_apply_detail_latest", about: ABOUT_DETAILS, sql: DETAILS.to_owned() },
        View { name: "purchase_apply_open", about: ABOUT_OPEN, sql: OPEN.to_owned() },
    ];
    if extent.stops {
        setup.push(("Every outcome of a stop.", frame("stops", lake, contract.stops(), true)));
        views.push(View { name: "stop_reference_latest", about: ABOUT_STOPS, sql: STOPS.to_owned() });
    }
    Ok(Views { engine: Engine::Polars, setup, views, example: EXAMPLE.to_owned(), note: note(extent) })
}

fn frames(lake: &str, contract: &Contract, extent: Extent) -> String {
    let headers = frame("headers", lake, contract.headers(), extent.headers);
    format!("{headers}\n{}", frame("details", lake, contract.details(), extent.details))
}

/// A lazy frame over the files of a table.
fn frame(name: &str, lake: &str, table: &TableContract, has_files: bool) -> String {
    let folder = literal_by_class(&format!("{}/{}", lake.trim_end_matches('/'), table.name()));
    let files = if has_files { text(&format!("{folder}/{}", below(table))) } else { "None".to_owned() };
    let columns = table.columns().iter().map(|column| format!("{}: {}", text(column.name()), type_name(column.kind())));
    let columns: Vec<String> = columns.collect();
    let columns: Vec<String> = columns.chunks(4).map(|columns| columns.join(", ")).collect();
    let partitions = table.partition_columns().iter().map(|column| format!("{}: pl.String", text(column.name())));
    format!(
        "{name} = read({files}, {{\n    {}\n}}, {{{}}})",
        columns.join(",\n    "),
        partitions.collect::<Vec<_>>().join(", ")
    )
}

/// A text as Python reads it.
fn text(text: &str) -> String {
    Value::from(text).to_string()
}

fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Int16 => "pl.Int16",
        ColumnType::Int32 => "pl.Int32",
        ColumnType::Int64 => "pl.Int64",
        ColumnType::Utf8 => "pl.String",
        ColumnType::Decimal => "pl.Decimal(19, 4)",
        ColumnType::Timestamp => "INSTANT",
    }
}
