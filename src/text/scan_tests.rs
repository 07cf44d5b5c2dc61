//! The table of texts is complete and has no dead entry, and nothing reaches people that is not in it.

use std::collections::BTreeSet;

use super::scan::{Scan, placeholders};
use super::table::TextTable;

/// Lines to read, where there are any.
fn none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_text_has_its_chinese() {
    let (scan, table) = (Scan::of_sources(), TextTable::chinese());
    let lacks = |key: &&String| !table.texts.contains_key(*key);
    let missing = scan.texts.keys().filter(lacks).map(|key| format!("{}: {key:?}", scan.texts[key].file));
    none(&missing.collect::<Vec<_>>(), "no entry in zh.toml");
    let nouns = scan.nouns.iter().filter(|noun| !table.counts.contains_key(*noun)).cloned();
    none(&nouns.collect::<Vec<_>>(), "nouns that are counted without an entry in [counts]");
    let places = scan.places.iter().filter(|place| !table.places.contains_key(*place)).cloned();
    none(&places.collect::<Vec<_>>(), "places of errors without an entry in [places]");
}

#[test]
fn no_entry_is_dead() {
    let (scan, table) = (Scan::of_sources(), TextTable::chinese());
    let dead = table.texts.keys().filter(|key| !scan.texts.contains_key(*key)).cloned();
    none(&dead.collect::<Vec<_>>(), "entries that nothing says");
    let nouns = table.counts.keys().filter(|noun| !scan.nouns.contains(*noun)).cloned();
    none(&nouns.collect::<Vec<_>>(), "nouns that nothing counts");
    let places = table.places.keys().filter(|place| !scan.places.contains(*place)).cloned();
    none(&places.collect::<Vec<_>>(), "places that no error names");
}

#[test]
fn both_languages_have_the_same_placeholders() {
    let (scan, table) = (Scan::of_sources(), TextTable::chinese());
    let differ = scan.texts.iter().filter_map(|(key, found)| {
        let chinese = table.texts.get(key)?;
        if !found.is_template {
            return None;
        }
        let (ours, theirs) = (placeholders(key), placeholders(chinese));
        (ours.is_none() || ours != theirs).then(|| format!("{key:?}: {chinese:?}"))
    });
    none(&differ.collect::<Vec<_>>(), "other placeholders");
    for chinese in table.counts.values() {
        assert_eq!(placeholders(chinese), Some(BTreeSet::from(["n".to_owned()])), "{chinese}");
    }
}

#[test]
fn nothing_reaches_people_untold() {
    none(&Scan::of_sources().untold, "said in English alone: make it a text!, or say! what is printed at once");
}

/// As in the Chinese pages: a space between Chinese and Latin letters, and Chinese punctuation beside Chinese.
#[test]
fn the_chinese_is_set_as_in_the_pages() {
    let table = TextTable::chinese();
    let is_han = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    let slips = table.texts.values().chain(table.counts.values()).filter(|text| {
        let letters: Vec<char> = text.chars().collect();
        letters.windows(2).any(|pair| {
            let (one, other) = (pair[0], pair[1]);
            (is_han(one) && (other.is_ascii_alphanumeric() || ",;:!?(".contains(other)))
                || (is_han(other) && (one.is_ascii_alphanumeric() || ",;:!?)".contains(one)))
                || ("，。：；、！？（）".contains(one) && other == ' ')
                || ("，。：；、！？（）".contains(other) && one == ' ')
        })
    });
    none(&slips.cloned().collect::<Vec<_>>(), "not set as Chinese");
}

/// The scan itself sees what it should.
#[test]
fn the_scan_finds_and_refuses() {
    let mut scan = Scan::default();
    scan.read(
        r#"
        fn f() {
            Err(Error::new(ErrorClass::Forked, "one").with("place", 1).hint("two"));
            let lines = vec![text!("{a} three", a = plural(1, "noun"))];
            Error::usage(format!("four {x}")).hint(&format!("five"));
            say!("six");
            let c = key!("seven"); let d = Text::from("nine");
            write!(f, "{error:#}");
        }
        #[cfg(test)]
        mod other;
        "#,
    );
    let texts: Vec<&str> = scan.texts.keys().map(String::as_str).collect();
    assert_eq!(texts, ["nine", "one", "seven", "six", "two", "{a} three"]);
    assert!(scan.nouns.contains("noun") && scan.places.contains("place") && scan.classes.contains("Forked"));
    assert_eq!(scan.untold.len(), 4, "{:?}", scan.untold);
}
