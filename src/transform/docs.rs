//! The contract for people and programs: what `wdt-lake schema` prints when no engine is asked for.
//!
//! - `table`: a block a column, at most 100 columns wide.
//! - `json`: the contract files themselves, in one object.

use std::fmt::Write as _;

use super::contract::{Column, Contract, DETAILS_JSON, HEADERS_JSON, STOPS_JSON, TableContract};
use crate::edition::Edition;
use crate::error::Result;

/// How wide text for people may be. A wide letter takes two columns.
const COLUMNS: usize = 100;

/// The contract of the tables that are `wanted`, for people.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate rules
/// out.
pub(crate) fn render_text(wanted: impl Fn(&str) -> bool) -> Result<String> {
    let tables = Contract::get()?.tables().into_iter().filter(|table| wanted(table.name()));
    Ok(tables.map(people).collect::<Vec<_>>().join("\n"))
}

/// The contract files of the tables that are `wanted`, in one object: `{"contract": ..., "tables": [...]}`.
///
/// # Errors
/// As [`render_text`].
pub(crate) fn render_json(wanted: impl Fn(&str) -> bool) -> Result<String> {
    let contract = Contract::get()?;
    let indented =
        |text: &str| text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
    let tables = contract.tables().into_iter().zip([HEADERS_JSON, DETAILS_JSON, STOPS_JSON]);
    let tables = tables.filter(|(table, _)| wanted(table.name())).map(|(_, text)| indented(text));
    Ok(format!(
        "{{\n  \"contract\": \"{}\",\n  \"tables\": [\n{}\n  ]\n}}\n",
        contract.version(),
        tables.collect::<Vec<_>>().join(",\n")
    ))
}

/// The source of a column in an edition: its field, its aliases, or what it is derived from.
pub(super) fn source(column: &Column, edition: Edition) -> String {
    match (column.sources(edition), column.derived()) {
        ([], Some(derived)) => format!("({derived})"),
        ([], None) => "-".to_owned(),
        (names, _) => names.join(", "),
    }
}

fn people(table: &TableContract) -> String {
    let mut out = format!("{}\n", table.name());
    indented(&mut out, 2, table.en());
    indented(&mut out, 2, table.zh());
    for column in table.columns() {
        let required = if column.required() { ", never null" } else { "" };
        let _ = writeln!(out, "\n  {}  {}{required}", column.name(), column.kind().name());
        indented(&mut out, 6, column.en());
        indented(&mut out, 6, column.zh());
        indented(&mut out, 6, &origin(column));
    }
    let _ = writeln!(out, "\n  In the path only, as text:");
    for column in table.partition_columns() {
        let _ = writeln!(out, "\n  {}", column.name());
        indented(&mut out, 6, column.en());
        indented(&mut out, 6, column.zh());
    }
    let _ = writeln!(out, "\n  Sorted by: {}", table.sort_order().join(", "));
    out
}

/// Where the values of a column come from.
fn origin(column: &Column) -> String {
    let [enterprise, flagship] = [Edition::Enterprise, Edition::Flagship].map(|edition| source(column, edition));
    if enterprise == flagship {
        return format!("from: {enterprise}");
    }
    format!("from: {enterprise} (enterprise, y); {flagship} (flagship)")
}

/// Adds a text, indented, in lines of at most [`COLUMNS`].
fn indented(out: &mut String, indent: usize, text: &str) {
    let (mut line, mut taken) = (String::new(), indent);
    for piece in pieces(text) {
        let width = width(piece.trim_end());
        if taken > indent && taken + width > COLUMNS {
            let _ = writeln!(out, "{:indent$}{}", "", line.trim_end());
            (line, taken) = (String::new(), indent);
        }
        line.push_str(piece);
        taken += self::width(piece);
    }
    let _ = writeln!(out, "{:indent$}{}", "", line.trim_end());
}

/// Where a text may be cut: behind a blank, and before a wide letter that is no closing mark.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut before) = (0, None);
    for (at, letter) in text.char_indices() {
        let is_mark = "，。；：、）」！？".contains(letter);
        let may_cut = before == Some(' ') || (is_wide(letter) && !is_mark);
        if at > start && may_cut {
            pieces.push(&text[start..at]);
            start = at;
        }
        before = Some(letter);
    }
    pieces.push(&text[start..]);
    pieces
}

fn width(text: &str) -> usize {
    text.chars().map(|letter| if is_wide(letter) { 2 } else { 1 }).sum()
}

/// Whether a letter takes two columns: those of Chinese and their marks.
fn is_wide(letter: char) -> bool {
    matches!(letter, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff60}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rendering_names_every_column() {
        let contract = Contract::get().expect("a contract");
        for text in [render_text(|_| true), render_json(|_| true)].map(|text| text.expect("a rendering")) {
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
            for table in contract.tables() {
                assert!(text.contains(table.name()));
                let partitions = table.partition_columns().iter().map(|column| column.name());
                for name in table.columns().iter().map(Column::name).chain(partitions) {
                    assert!(text.contains(name), "{name}");
                }
            }
        }
        let one = render_text(|name| name == "stop_reference").expect("a rendering");
        assert!(one.starts_with("stop_reference\n") && !one.contains("detail_index"));
    }

    #[test]
    fn text_for_people_is_narrow_and_whole() {
        let text = render_text(|_| true).expect("a rendering");
        for line in text.lines() {
            assert!(width(line) <= COLUMNS && line.trim_end() == line, "{} columns: {line}", width(line));
        }
        let whole = |text: &str| text.split_whitespace().collect::<String>();
        let all = whole(&text);
        for table in Contract::get().expect("a contract").tables() {
            for column in table.columns() {
                assert!(all.contains(&whole(column.en())) && all.contains(&whole(column.zh())), "{}", column.name());
            }
        }
    }

    #[test]
    fn the_json_rendering_is_the_contract() {
        let whole: serde_json::Value = serde_json::from_str(&render_json(|_| true).expect("json")).expect("json");
        for (table, text) in [HEADERS_JSON, DETAILS_JSON, STOPS_JSON].into_iter().enumerate() {
            assert_eq!(whole["tables"][table], serde_json::from_str::<serde_json::Value>(text).expect("json"));
        }
        assert_eq!(whole["contract"], "1.0");
        let one = render_json(|name| name == "purchase_apply_detail").expect("json");
        let one: serde_json::Value = serde_json::from_str(&one).expect("json");
        assert_eq!(
            (one["tables"].as_array().map(Vec::len), &one["tables"][0]["table"]),
            (Some(1), &"purchase_apply_detail".into())
        );
    }
}
