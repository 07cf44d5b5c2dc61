//! The table of texts in Chinese, `zh.toml`: by their English templates, by the nouns that are counted, and by the keys
//! of places in errors.

use std::collections::HashMap;
use std::sync::OnceLock;

use toml::de::{DeTable, DeValue};

use crate::language::Language;

const CHINESE: &str = include_str!("zh.toml");

/// What one language says.
#[derive(Debug, Default)]
pub(super) struct TextTable {
    pub(super) texts: HashMap<String, String>,
    pub(super) counts: HashMap<String, String>,
    pub(super) places: HashMap<String, String>,
}

impl TextTable {
    /// Reads a file of texts; a file that cannot be read has none, and a test finds it.
    fn read(file: &str) -> Option<Self> {
        let file = DeTable::parse(file).ok()?;
        let section = |name: &str| match file.get_ref().get(name).map(|section| section.get_ref()) {
            Some(DeValue::Table(entries)) => entries
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), value.get_ref().as_str()?.to_owned())))
                .collect(),
            _ => None,
        };
        Some(Self { texts: section("texts")?, counts: section("counts")?, places: section("places")? })
    }

    pub(super) fn chinese() -> &'static Self {
        static TABLE: OnceLock<TextTable> = OnceLock::new();
        TABLE.get_or_init(|| Self::read(CHINESE).unwrap_or_default())
    }
}

/// The Chinese template of an English one.
pub(super) fn template(english: &str) -> Option<&'static str> {
    TextTable::chinese().texts.get(english).map(String::as_str)
}

/// How things of this noun are counted in Chinese: a template of `{n}`.
pub(super) fn count(noun: &str) -> Option<&'static str> {
    TextTable::chinese().counts.get(noun).map(String::as_str)
}

/// The name of a place in an error, in the language of the process.
pub(crate) fn place(key: &'static str) -> &'static str {
    match super::language() {
        Language::English => key,
        Language::Chinese => TextTable::chinese().places.get(key).map_or(key, String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read() {
        let table = TextTable::read(CHINESE).expect("zh.toml is TOML with its three sections");
        assert!(!table.texts.is_empty() && !table.counts.is_empty() && !table.places.is_empty());
    }
}
