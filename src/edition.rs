//! The editions of the ERP: who speaks which protocol and what its status codes mean.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// What the status codes of requisitions mean that wait for purchase orders.
pub(crate) const OPEN_STATUSES: [&str; 3] = ["to_confirm", "to_reference", "partly_referenced"];

/// An edition of the Wangdian ERP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Edition {
    /// 企业版: the `openapi2` protocol.
    Enterprise,
    /// 新版: the enterprise protocol with its own addresses and status codes.
    Y,
    /// 旗舰版: the `qjb` protocol.
    Flagship,
}

impl Edition {
    /// Every edition, in the order in which documents list them.
    pub const ALL: [Edition; 3] = [Edition::Enterprise, Edition::Y, Edition::Flagship];

    /// The name used in configuration, manifests and the `_edition` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enterprise => "enterprise",
            Self::Y => "y",
            Self::Flagship => "flagship",
        }
    }

    /// How many seconds a signed timestamp may be from the server's clock.
    ///
    /// Source: the vendor's pages.
    pub fn clock_tolerance_seconds(self) -> i64 {
        match self {
            Self::Enterprise | Self::Y => 300,
            Self::Flagship => 120,
        }
    }

    /// What a status code means, the same word in every edition; `None` for a code that the vendor does not document.
    ///
    /// Source: the vendor's field tables for enterprise and flagship; public clients for Y.
    pub fn status_name(self, status: i16) -> Option<&'static str> {
        match (self, status) {
            (Self::Enterprise | Self::Flagship, 5) | (Self::Y, 99) => Some("cancelled"),
            (Self::Enterprise | Self::Flagship, 10) => Some("editing"),
            (Self::Enterprise | Self::Flagship, 20) | (Self::Y, 10) => Some("to_confirm"),
            (Self::Enterprise | Self::Flagship, 23) | (Self::Y, 20) => Some("to_reference"),
            (Self::Enterprise | Self::Flagship, 25) | (Self::Y, 30) => Some("partly_referenced"),
            (Self::Enterprise | Self::Flagship, 30) | (Self::Y, 40) => Some("referenced"),
            _ => None,
        }
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Edition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|edition| edition.name() == text.trim().to_ascii_lowercase()).ok_or_else(|| {
            Error::new(ErrorClass::SettingWrong, text!("unknown edition `{text}`", text))
                .hint("the editions are `enterprise`, `y` and `flagship`")
        })
    }
}
