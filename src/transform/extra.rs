//! The fields of one object that go to the column `extra`: those that the contract does not name, and times that no
//! reader can hold.
//!
//! An object may have any number of them. Up to some dozens are compared one by one, which needs nothing; beyond that a
//! key is looked up by what it says, however its letters are escaped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::scalar::{escape_controls, is_escaped, unescape};
use super::value::SchemaViolation;

/// How many fields are compared one by one.
const FEW: usize = 32;

/// Fields of one object, as written, but for raw control characters, which are escaped: together they are one JSON
/// object.
#[derive(Debug, Default)]
pub(super) struct Extra<'de> {
    /// Key, with its quotes, and value.
    fields: Vec<(Cow<'de, str>, Cow<'de, str>)>,
    /// Where a key stands in `fields`; empty while these are few.
    places: HashMap<Name<'de>, usize, ahash::RandomState>,
}

/// What a key says. One with half of a surrogate pair says nothing: then it is the text between the quotes, which is no
/// other name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Name<'de> {
    is_text: bool,
    name: Cow<'de, str>,
}

impl<'de> Extra<'de> {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Begins another object.
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        if !self.places.is_empty() {
            self.places = HashMap::default();
        }
    }

    /// Adds a field, unless it is there already with the same value.
    ///
    /// # Errors
    /// [`SchemaViolation::GivenTwice`] when it is there with another value.
    pub(super) fn set(&mut self, key: &'de str, value: &'de str) -> Result<(), SchemaViolation> {
        let (key, value) = (escape_controls(key), escape_controls(value));
        match self.add(key.clone()) {
            Some(place) if self.fields.get(place).is_some_and(|(_, before)| *before != value) => {
                Err(SchemaViolation::GivenTwice)
            }
            Some(_) => Ok(()),
            None => {
                self.fields.push((key, value));
                Ok(())
            }
        }
    }

    /// Where the key stands; `None` when it is new, and then its place is the next one.
    fn add(&mut self, key: Cow<'de, str>) -> Option<usize> {
        if self.fields.len() < FEW {
            return self.fields.iter().position(|(known, _)| is_same(known, &key));
        }
        if self.places.is_empty() {
            self.places =
                self.fields.iter().enumerate().map(|(place, (key, _))| (Name::of(key.clone()), place)).collect();
        }
        match self.places.entry(Name::of(key)) {
            Entry::Occupied(place) => Some(*place.get()),
            Entry::Vacant(free) => {
                free.insert(self.fields.len());
                None
            }
        }
    }

    /// The pieces of the JSON object that holds them all.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        let members = self.fields.iter().enumerate();
        let members = members
            .flat_map(|(place, (key, value))| [if place == 0 { "{" } else { "," }, key.as_ref(), ":", value.as_ref()]);
        members.chain(["}"])
    }
}

impl<'de> Name<'de> {
    /// The name that a key in quotes says.
    fn of(key: Cow<'de, str>) -> Self {
        if !is_escaped(&key) {
            return Self { is_text: true, name: key };
        }
        let mut name = String::new();
        match unescape(&key, &mut name) {
            Ok(()) => Self { is_text: true, name: Cow::Owned(name) },
            Err(_) => Self { is_text: false, name: key },
        }
    }
}

/// Whether two keys, with their quotes, name the same field.
fn is_same(one: &str, other: &str) -> bool {
    #[cfg(test)]
    tests::COMPARED.set(tests::COMPARED.get() + 1);
    one == other || ((is_escaped(one) || is_escaped(other)) && Name::of(one.into()) == Name::of(other.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// How many keys were compared one by one.
        pub(super) static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// What took 26 seconds for 40,000 keys compared each with all before it.
    #[test]
    fn many_keys_are_not_compared_one_by_one() {
        let keys: Vec<String> = (0..60_000).map(|at| format!(r#""\u006b{at}""#)).collect();
        let mut extra = Extra::default();
        let before = COMPARED.get();
        keys.iter().chain(&keys).try_for_each(|key| extra.set(key, "0")).expect("the same values");
        assert_eq!(COMPARED.get() - before, FEW * (FEW - 1) / 2, "the first ones only");
        assert_eq!(extra.fields.len(), 60_000);
    }

    fn object(extra: &Extra<'_>) -> String {
        extra.pieces().collect()
    }

    #[test]
    fn a_key_is_the_same_key_however_it_is_written() {
        // Among few fields and among many.
        for before in [0, FEW - 1, FEW, 3 * FEW] {
            let keys: Vec<String> = (0..before).map(|at| format!("\"k{at}\"")).collect();
            let mut extra = Extra::default();
            keys.iter().try_for_each(|key| extra.set(key, "0")).expect("new keys");
            extra.set("\"new\"", "1").expect("new");
            assert_eq!(extra.set(r#""n\u0065w""#, "1"), Ok(()));
            assert_eq!(extra.set(r#""\u006Eew""#, "2"), Err(SchemaViolation::GivenTwice));
            extra.set("\"a\tb\"", "\"\u{1}\"").expect("new");
            assert_eq!(extra.set(r#""a\u0009b""#, "\"\\u0001\""), Ok(()), "an escaped control character is the same");
            // What says nothing is not what spells it.
            extra.set(r#""\ud800""#, "3").expect("new");
            extra.set(r#""\\ud800""#, "4").expect("another key");
            assert_eq!(extra.set(r#""\ud800""#, "5"), Err(SchemaViolation::GivenTwice));
            assert_eq!(extra.set("\"k0\"", "9").is_err(), before > 0);
            let wanted = r#""new":1,"a\tb":"\u0001","\ud800":3,"\\ud800":4"#;
            assert!(object(&extra).contains(wanted), "{}", object(&extra));
            extra.clear();
            assert!(extra.is_empty() && extra.set("\"k0\"", "9").is_ok());
            assert_eq!(object(&extra), r#"{"k0":9}"#);
        }
    }

    proptest! {
        /// Few or many, the fields are those of a map.
        #[test]
        fn fields_are_a_map(fields in prop::collection::vec((0_u32..60, 0_u32..2, any::<bool>()), 0..120)) {
            let written: Vec<_> = fields
                .iter()
                .map(|(key, value, is_escaped)| {
                    let key = if *is_escaped { format!("\"\\u00{:02x}\"", key + 0x20) } else {
                        serde_json::Value::from(char::from_u32(key + 0x20).expect("ASCII").to_string()).to_string()
                    };
                    (key, value.to_string())
                })
                .collect();
            let (mut extra, mut model) = (Extra::default(), std::collections::BTreeMap::new());
            for ((key, value, _), (written_key, written)) in fields.iter().zip(&written) {
                let is_new_or_same = model.entry(*key).or_insert(*value) == value;
                prop_assert_eq!(extra.set(written_key, written).is_ok(), is_new_or_same);
            }
            if !extra.is_empty() {
                let read: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(&object(&extra)).expect("an object");
                let read: std::collections::BTreeMap<u32, u32> = read
                    .iter()
                    .map(|(key, value)| (u32::from(key.chars().next().expect("a letter")) - 0x20, value.as_u64().expect("small") as u32))
                    .collect();
                prop_assert_eq!(read, model);
            }
        }
    }
}
