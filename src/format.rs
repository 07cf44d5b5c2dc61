//! The version of what lies in a lake.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorClass};
use crate::text::{Text, text};

/// A version of something on disk, written `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersion {
    /// Readers of an older major version cannot read it.
    pub major: u32,
    /// Readers of an older minor version can read it, and must not write.
    pub minor: u32,
}

impl FormatVersion {
    /// The version of everything that this program keeps in a lake: manifests, checkpoints, raw responses, and the data
    /// contract.
    pub const LAKE: Self = Self { major: 1, minor: 0 };

    /// Whether a program of this version reads what has the version `held`. Before 1.0 any two versions may differ in
    /// anything.
    pub fn reads(self, held: Self) -> bool {
        if self.major == 0 { self == held } else { self.major == held.major }
    }

    /// That `what` has a version which a program of this one does not read.
    pub(crate) fn refuse(self, what: &'static str, held: Self) -> Error {
        self.unread(text!("{what} {held}, which this program does not read", what = Text::from(what), held))
    }

    /// That `what` was written before the format was fixed, whatever version it names: the first builds called theirs
    /// 1.0 as well.
    pub(crate) fn refuse_early(self, what: &'static str, held: Self) -> Error {
        self.unread(text!(
            "{what} {held} of a program from before the format was fixed, which this program does not read",
            what = Text::from(what),
            held
        ))
    }

    fn unread(self, message: Text) -> Error {
        Error::new(ErrorClass::FormatOther, message).hint(text!(
            "this program reads the formats {major}.x: use the wdt-lake that wrote the lake, or fill a new one by `wdt-lake sync`, or of page \
             files by `wdt-lake replay`",
            major = self.major
        ))
    }

    /// Reads `major.minor`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let version = Self { major: major.parse().ok()?, minor: minor.parse().ok()? };
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a version major.minor")))
    }
}
