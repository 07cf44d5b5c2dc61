//! The table formats in which a lake is published.

use crate::error::{Error, ErrorClass, Result};

/// A table format in which the committed set is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishFormat {
    /// Delta Lake: one table for all accounts.
    Delta,
    /// Apache Iceberg: a table for each account.
    Iceberg,
}

impl PublishFormat {
    /// Every format, in the order in which documents list them.
    pub const ALL: [Self; 2] = [Self::Delta, Self::Iceberg];

    /// As settings write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Iceberg => "iceberg",
        }
    }

    /// As its people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Delta => "Delta",
            Self::Iceberg => "Iceberg",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a name that is none; it is not repeated.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            Error::new(ErrorClass::SettingWrong, "no table format has this name")
                .hint("the formats are `delta` and `iceberg`")
        })
    }
}

impl std::str::FromStr for PublishFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}
