//! `docs/schema.md`, made from the contract: field by field for both lists, the status codes, and what values mean.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::contract::{Contract, TableContract};
use super::docs::source;
use crate::edition::Edition;
use crate::error::Result;

const INTRODUCTION: &str = "\
# The data contract

<!-- Made from schemas/*.json. Do not edit: change the contract and run `UPDATE_DOCS=1 cargo test --lib schema_page`. -->

Two tables of requisitions, one row for each version that was read: a requisition that was edited has a row for each state in which it was seen.
Details have no modified time of their own; a new version of a requisition replaces all of them, so the current details are those of
the latest header by (purchase_apply_no, apply_id, apply_modified). Two requisitions can share their number and the second of their modification:
apply_id tells them apart, and null = null counts as equal in joins (`IS NOT DISTINCT FROM`). A third table has the outcomes of stop references.
`wdt-lake schema` prints the same contract as text, as JSON, and as statements for engines: [readers.md](readers.md#tables-in-an-engine).

采购申请单及其明细各一张表，每读到一个版本一行：被修改过的采购申请单，每个读到的状态各占一行。明细没有自己的修改时间，单据的新版本会替换全部明细，因此当前明细是
(purchase_apply_no, apply_id, apply_modified) 最新版本的明细；单号和修改时间都相同的两张单据用 apply_id 区分（关联时空值视为相等）。第三张表记录停止引用的结果。
";

const VALUES: &str = "\
## Values

- **Quantities** are decimal(19,4), read from the text of a JSON string or number and never as a float. Leading zeros, trailing zeros and
  exponents are fine when the value is exact; surplus digits and overflow are invalid. `\"\"` and null are null.
- **Times** are instants in microseconds UTC, read as wall clock in Beijing (UTC+8). `0000-00-00 00:00:00`, `0000-00-00`, `\"\"` and null
  are null; a date alone is midnight in Beijing; sub-second, impossible and differently written times are invalid. A time before
  1900-01-01T00:00:00Z or after the year 9999, which Spark, pyarrow, pandas or Polars cannot represent, is null in its column and stands in `extra`
  under the field's name, as received; `sync` counts such times. In `modified` it is invalid. pandas before version 2.0 uses nanoseconds, which end
  in 2262: read later times as microseconds there.
- **Integers** come as JSON numbers or strings; `\"\"` and null are null.
- **Text** is kept byte for byte, JSON escapes resolved, control characters that the server did not escape included. `\"\"` stays `\"\"`, null and a
  missing field are null. A JSON number, `true` or `false` in a text field keeps its text; an object or a list is invalid.
- **Lists** may be JSON lists, or objects with the ascending keys `\"0\"`, `\"1\"`, ..., as PHP writes them; `{}` is empty. A list of details that is
  missing, null or `\"\"` is empty too. A detail's own purchase_apply_no, when it carries one, must be that of its header; its own apply_id, where
  it differs from the header's, goes to `extra`.
- **Fields given twice**, under one name or two aliases, must agree. Fields that no column names go to `extra`, as written, but for raw
  control characters, which are escaped there.
- **Invalid records** go to quarantine whole, each a line with its reason and its source text: an unreadable value, a required
  column that is missing, null or empty, a requisition number of more than 200 bytes, a row outside the window that was requested. Records
  that share their apply_id, have none, or have 0 are each kept. A response that cannot be read at all is one line with the reason `unreadable`, its
  page_no and page_size.

Files have plain Parquet types: `int16 int32 int64` are signed integers, `utf8` is a string, `decimal(19,4)` is a decimal of 19 digits,
`timestamp(us,UTC)` is an instant in microseconds. Not required means that the column may be null. Partition columns stand in the
path only.
";

/// The whole page.
pub(super) fn render() -> Result<String> {
    let contract = Contract::get()?;
    let mut out = format!("{INTRODUCTION}\nContract version {}.\n", contract.version());
    for table in contract.tables() {
        out.push('\n');
        table_section(&mut out, table);
    }
    let _ = write!(out, "\n## Status codes\n\n{}\n{VALUES}", statuses());
    Ok(out)
}

fn table_section(out: &mut String, table: &TableContract) {
    let paths = |edition| match table.rows(edition) {
        [] => "none".to_owned(),
        paths => paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" or "),
    };
    let _ = writeln!(out, "## {}\n\n{} / {}\n", table.name(), table.en(), table.zh());
    let _ = writeln!(
        out,
        "Rows: {} of enterprise and Y, {} of flagship. Sorted by {}.\n",
        paths(Edition::Enterprise),
        paths(Edition::Flagship),
        table.sort_order().join(", ")
    );
    out.push_str(
        "| column | type | required | enterprise and Y field | vendor's type | flagship field | description | 说明 |\n",
    );
    out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for column in table.columns() {
        let field = |edition| {
            let names: Vec<String> = column.sources(edition).iter().map(|name| format!("`{name}`")).collect();
            if names.is_empty() { source(column, edition) } else { names.join(", ") }
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
            column.name(),
            column.kind().name(),
            if column.required() { "yes" } else { "no" },
            field(Edition::Enterprise),
            column.vendor_type().unwrap_or("-"),
            field(Edition::Flagship),
            column.en(),
            column.zh()
        );
    }
    for column in table.partition_columns() {
        let _ = writeln!(out, "| `{}` | path | yes | - | - | - | {} | {} |", column.name(), column.en(), column.zh());
    }
}

/// The codes of each meaning, in the order of enterprise's codes.
fn statuses() -> String {
    let mut meanings: BTreeMap<i16, &str> = BTreeMap::new();
    for code in i16::MIN..=i16::MAX {
        if let Some(name) = Edition::Enterprise.status_name(code) {
            meanings.insert(code, name);
        }
    }
    let mut out = "| status_name | enterprise | y | flagship |\n| --- | --- | --- | --- |\n".to_owned();
    for name in meanings.values() {
        let code = |edition: Edition| {
            let code = (i16::MIN..=i16::MAX).find(|code| edition.status_name(*code) == Some(name));
            code.map_or("-".to_owned(), |code| code.to_string())
        };
        let codes = Edition::ALL.map(code);
        let _ = writeln!(out, "| {name} | {} |", codes.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1` writes the page anew instead of comparing it.
    #[test]
    fn the_committed_page_is_the_rendered_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema.md");
        let page = render().expect("a page");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).expect("write the page");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page,
            "docs/schema.md differs from the contract: run UPDATE_DOCS=1 cargo test --lib schema_page"
        );
    }

    #[test]
    fn every_documented_field_stands_on_the_page() {
        let page = render().expect("a page");
        let contract = Contract::get().expect("a contract");
        for table in contract.tables() {
            for column in table.columns() {
                for name in Edition::ALL.into_iter().flat_map(|edition| column.sources(edition)) {
                    assert!(page.contains(&format!("`{name}`")), "{name}");
                }
            }
        }
        assert!(page.contains("| partly_referenced | 25 | 30 | 25 |"));
    }
}
