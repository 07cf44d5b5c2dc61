//! A second reader of answers: `serde_json` behind the lenient rules, one level at a time. It knows nothing of the
//! decoder's code.

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value, as its text.
#[derive(Clone, Debug)]
pub(super) struct Node(String);

impl Node {
    /// The value of an answer; `None` when it is none, even by the lenient rules: marks and blank lines around it do
    /// not count, and control characters may stand in strings as they are.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let text = text.trim_matches(|letter: char| letter == '\u{feff}' || letter.is_ascii_whitespace());
        let (mut strict, mut in_string, mut is_escape) = (String::with_capacity(text.len()), false, false);
        for letter in text.chars() {
            if in_string && letter < ' ' && !is_escape {
                strict.push_str(&format!("\\u{:04x}", u32::from(letter)));
                continue;
            }
            strict.push(letter);
            is_escape = in_string && letter == '\\' && !is_escape;
            if letter == '"' && !strict_ends_in_escape(&strict) {
                in_string = !in_string;
            }
        }
        serde_json::from_str::<Box<RawValue>>(&strict).ok().map(|raw| Self(raw.get().to_owned()))
    }

    /// Its members, doubles among them; `None` when it is no object.
    pub(super) fn members(&self) -> Option<Vec<(String, Node)>> {
        // A name with half a surrogate pair is no name of ours.
        let told = |name: String| serde_json::from_str(&name).unwrap_or(name);
        Some(self.written_members()?.into_iter().map(|(name, value)| (told(name), value)).collect())
    }

    /// The same with their names as they are written, quotes included.
    fn written_members(&self) -> Option<Vec<(String, Node)>> {
        self.0.starts_with('{').then(|| self.read(Members))
    }

    /// Its items; `None` when it is no list, nor an object with ascending whole numbers for keys.
    pub(super) fn items(&self) -> Option<Vec<Node>> {
        if self.0.starts_with('[') {
            return Some(self.read(Items));
        }
        let members = self.written_members()?;
        // The last of all numbers has none behind it.
        let key =
            |name: &str| name.parse::<u64>().ok().filter(|number| number.to_string() == name && *number < u64::MAX);
        let key = |written: &str| written.strip_prefix('"')?.strip_suffix('"').and_then(key);
        let keys: Option<Vec<u64>> = members.iter().map(|(name, _)| key(name)).collect();
        let is_ascending = keys?.windows(2).all(|pair| pair[0] < pair[1]);
        is_ascending.then(|| members.into_iter().map(|(_, item)| item).collect())
    }

    /// The text of a scalar: of a string what it says, else what is written. `None` for null; an error for what is no
    /// text.
    pub(super) fn scalar(&self) -> Result<Option<String>, ()> {
        match self.0.as_bytes().first() {
            Some(b'"') => serde_json::from_str(&self.0).map(Some).map_err(drop),
            Some(b'{' | b'[') | None => Err(()),
            Some(_) => Ok((self.0 != "null").then(|| self.0.clone())),
        }
    }

    pub(super) fn raw(&self) -> &str {
        &self.0
    }

    fn read<'de, S: DeserializeSeed<'de>>(&'de self, seed: S) -> S::Value {
        seed.deserialize(&mut serde_json::Deserializer::from_str(&self.0)).expect("the whole was read before")
    }
}

/// Whether the quote that was just added stands behind an odd number of backslashes.
fn strict_ends_in_escape(strict: &str) -> bool {
    let before = &strict.as_bytes()[..strict.len() - 1];
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Vec<(String, Node)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Node)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<Box<RawValue>, Box<RawValue>>()? {
            members.push((name.get().to_owned(), Node(value.get().to_owned())));
        }
        Ok(members)
    }
}

struct Items;

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<Node>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<Node>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Box<RawValue>>()? {
            items.push(Node(item.get().to_owned()));
        }
        Ok(items)
    }
}
