//! Names of runs, commits and accounts. Each has its own type, so that one cannot stand for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

macro_rules! uuid_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new unique id (UUIDv7: ids of later moments sort after those of earlier ones).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// When it was generated, by the clock of the machine that did, in Unix seconds; `None` for an id of another kind.
            pub fn generated_at_unix(self) -> Option<u64> {
                self.0.get_timestamp().map(|timestamp| timestamp.to_unix().0)
            }

            /// Reads the hyphenated lower-case form.
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self).filter(|id| id.to_string() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

uuid_name! {
    /// One run of a writing command; on every row as `_run_id`.
    RunId
}
uuid_name! {
    /// One commit: in the names of the files that it adds and in its manifest.
    CommitId
}

/// The name of an account: `[A-Za-z][A-Za-z0-9_-]{0,63}`, so that no reader infers a number from the partition path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut letters = text.bytes();
        let fits = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            && text.len() <= 64;
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            Error::new(ErrorClass::SettingWrong, text!("the account name `{text}` does not fit", text)).hint(
                "a name starts with a letter and has up to 64 letters, digits, `_` and `-`; set WDT_ACCOUNT, or `name` in wdt-lake.toml, to one",
            )
        })
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AccountName {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_never_look_like_numbers_or_paths() {
        for good in ["acme", "A", "acme_2-test"] {
            assert!(good.parse::<AccountName>().is_ok(), "{good}");
        }
        for bad in ["", "2acme", "_a", "a/b", "a=b", "账号", "a b", &"a".repeat(65)] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<CommitId> = (0..100).map(|_| CommitId::generate()).collect();
        assert!(ids.is_sorted());
        assert_eq!(CommitId::parse(&ids[0].to_string()), Some(ids[0]));
        assert_eq!(CommitId::parse(&ids[0].to_string().to_uppercase()), None);
    }
}
