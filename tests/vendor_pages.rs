//! `docs/vendor-pages.md` keeps its word: it has every name of the vendor's pages, and every file and test that it
//! names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

const PAGE: &str = include_str!("../docs/vendor-pages.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of every row of the tables below the heading that begins so, head and rule left out.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    rows.into_iter().filter(|row| !row[0].starts_with("---") && !row[3].starts_with("shown by")).collect()
}

fn all_rows() -> Vec<Vec<&'static str>> {
    ["purchase_apply_query.php", "purchase.PurchaseApply.stopForApi", "purchase.PurchaseApply.search"]
        .into_iter()
        .flat_map(rows)
        .collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names in the first cells of a section.
fn names(heading: &str) -> BTreeSet<&'static str> {
    rows(heading).into_iter().flat_map(|row| quoted(row[0])).collect()
}

fn sources(folder: PathBuf, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The names of all functions that a test attribute stands above.
fn tests() -> BTreeSet<String> {
    let mut texts = Vec::new();
    sources(root().join("src"), &mut texts);
    sources(root().join("tests"), &mut texts);
    let name = |line: &str| {
        let (_, rest) =
            line.trim().trim_start_matches("async ").split_once("fn ").filter(|(before, _)| before.is_empty())?;
        rest.split(['(', '<']).next().map(str::to_owned)
    };
    let mut found = BTreeSet::new();
    for text in &texts {
        let mut is_marked = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                is_marked = true;
            } else if is_marked && !line.starts_with("#[") && !line.starts_with("//") {
                found.extend(name(line));
                is_marked = false;
            }
        }
    }
    found
}

#[test]
fn every_row_names_a_test_that_is_there() {
    let tests = tests();
    assert!(tests.contains("every_row_names_a_test_that_is_there") && !tests.contains("tests"));
    let mut wrong = Vec::new();
    for row in all_rows() {
        assert_eq!(row.len(), 4, "{row:?}");
        let named = quoted(row[3]);
        if named.is_empty() {
            wrong.push(format!("{}: no test", row[0]));
        }
        wrong.extend(named.iter().filter(|name| !tests.contains(**name)).map(|name| format!("{}: {name}", row[0])));
    }
    // Tests that the text between the tables names.
    let text = PAGE.lines().filter(|line| !line.starts_with('|')).flat_map(quoted);
    wrong.extend(text.filter(|word| word.matches('_').count() > 3 && !tests.contains(*word)).map(str::to_owned));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_row_names_a_place_that_is_there() {
    for row in all_rows() {
        for place in quoted(row[2]).into_iter().filter(|place| place.contains('/')) {
            assert!(root().join(place).exists(), "{}: {place}", row[0]);
        }
    }
}

/// The names of the two pages, copied from there section by section.
#[test]
fn every_name_of_the_pages_has_a_row() {
    let query = names("purchase_apply_query.php");
    let of_query = "sid appkey timestamp sign purchase_apply_no start_time end_time page_size page_no code message total_count purchase_list \
                    apply_id real_num createor_name createtor_name name warehouse_no status ref_num unref_num expected_time remark modified \
                    created details_list rec_id spec_no spec_name brand_name brand_no class_name provider_no provider_name goods_no goods_name \
                    short_name";
    let types: Vec<&str> = rows("purchase_apply_query.php").into_iter().flat_map(|row| quoted(row[1])).collect();
    for name in of_query.split_whitespace() {
        assert!(query.contains(name) || types.contains(&name), "{name}");
    }
    let stop = names("purchase.PurchaseApply.stopForApi");
    for name in
        "sid key salt method v timestamp sign applyList status total data order_no error error_code order_id".split(' ')
    {
        assert!(stop.contains(name), "{name}");
    }
    // Whatever the vendor's own examples send.
    fn keys(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                keys(value, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    for (example, heading) in [
        (include_str!("fixtures/enterprise_example.json"), "purchase_apply_query.php"),
        (include_str!("fixtures/enterprise_error_2180.json"), "purchase_apply_query.php"),
        (include_str!("fixtures/flagship_example.json"), "purchase.PurchaseApply.search"),
        (include_str!("fixtures/flagship_error_100.json"), "purchase.PurchaseApply.search"),
        (include_str!("fixtures/flagship_stop_done.json"), "purchase.PurchaseApply.stopForApi"),
        (include_str!("fixtures/flagship_stop_failed.json"), "purchase.PurchaseApply.stopForApi"),
    ] {
        let mut sent = BTreeSet::new();
        keys(&serde_json::from_str(example).unwrap(), &mut sent);
        for name in sent {
            assert!(rows(heading).iter().any(|row| row.iter().any(|cell| quoted(cell).contains(&&*name))), "{name}");
        }
    }
}

/// Every field that the data contract reads of any edition.
#[test]
fn every_field_of_the_contract_has_a_row() {
    let of_edition =
        [("enterprise", names("purchase_apply_query.php")), ("flagship", names("purchase.PurchaseApply.search"))];
    for contract in ["schemas/purchase_apply.json", "schemas/purchase_apply_detail.json"] {
        let contract: Value = serde_json::from_slice(&std::fs::read(root().join(contract)).unwrap()).unwrap();
        for column in contract["columns"].as_array().unwrap() {
            for (edition, names) in &of_edition {
                // Aliases come after the name that the vendor's table has.
                let documented = column["sources"][edition].as_array().and_then(|names| names.first());
                if let Some(name) = documented.and_then(Value::as_str) {
                    assert!(names.contains(name), "{edition}: {name}");
                }
            }
        }
    }
}
