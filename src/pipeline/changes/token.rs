//! The token of a reader who follows a table: how far it has come in the log of each account.
//!
//! `purchase_apply,acme:120:9f86d081884c7d65,beta:7:60303ae22b998861`: the table, and of each account the number of the
//! last manifest that was taken into account and the first 16 digits of the digest of its bytes. By the digest a token
//! of another lake, or of a log that was put back to an earlier state, is told from one of this log. ASCII without
//! blanks or anything that a shell takes for its own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorClass, Result};
use crate::id::AccountName;
use crate::log::manifest::Previous;
use crate::log::{Lake, Table};

/// How many digits of a digest a token carries: enough to tell logs apart that nobody made alike on purpose.
const DIGITS: usize = 16;

/// How far the reader of a table has come. Another table has a token of its own: one that were used for two would lose
/// the rows of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangesToken {
    table: Table,
    positions: BTreeMap<AccountName, LogPosition>,
}

/// A place in the log of an account: behind a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogPosition {
    /// The number of the manifest, 1 or more.
    pub(super) number: u64,
    /// The first digits of its digest.
    digits: String,
}

impl LogPosition {
    /// Behind this manifest.
    pub(super) fn behind(manifest: Previous) -> Self {
        let digits = manifest.sha256.to_string().chars().take(DIGITS).collect();
        Self { number: manifest.number, digits }
    }
}

impl ChangesToken {
    /// The token of a reader who has seen nothing of a table.
    pub(super) fn of_nothing(table: Table) -> Self {
        Self { table, positions: BTreeMap::new() }
    }

    /// The table that it is of.
    pub(crate) fn table(&self) -> Table {
        self.table
    }

    /// The accounts whose logs it names, in the order of names.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &AccountName> {
        self.positions.keys()
    }

    /// How far the reader has come in the log of an account; none: it has seen nothing of it.
    pub(super) fn position(&self, account: &AccountName) -> Option<&LogPosition> {
        self.positions.get(account)
    }

    /// Moves on to the newest manifest of a log; an empty log has no place.
    pub(super) fn advance(&mut self, lake: &Lake) {
        if let Some(newest) = lake.state().newest() {
            self.positions.insert(lake.account().clone(), LogPosition::behind(newest));
        }
    }
}

impl fmt::Display for ChangesToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table.name())?;
        self.positions.iter().try_for_each(|(account, at)| write!(f, ",{account}:{}:{}", at.number, at.digits))
    }
}

impl FromStr for ChangesToken {
    type Err = Error;

    /// Reads a token exactly as it was printed; blanks around it do not count.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        read(text).filter(|token| token.to_string() == text).ok_or_else(|| {
            Error::new(ErrorClass::TokenWrong, "this is no token of `wdt-lake changes`")
                .with("token", format!("{text:?}"))
                .hint("give the token as the last run printed it, or leave `--since` out to begin with all rows")
        })
    }
}

fn read(text: &str) -> Option<ChangesToken> {
    let mut parts = text.split(',');
    let mut token = ChangesToken::of_nothing(Table::from_name(parts.next()?)?);
    for part in parts {
        let (account, place) = part.split_once(':')?;
        let (number, digits) = place.split_once(':')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        let is_digest = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let position = LogPosition { number, digits: digits.to_owned() };
        token.positions.insert(account.parse().ok().filter(|_| is_digest)?, position);
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::log::Sha256;

    #[test]
    fn a_token_is_read_as_it_was_printed_and_nothing_else_is_one() {
        let mut token = ChangesToken::of_nothing(Table::PurchaseApply);
        for (name, number) in [("beta_2-x", 7), ("acme", 120)] {
            let manifest = Previous { number, sha256: Sha256::of(name.as_bytes()) };
            token.positions.insert(name.parse().expect("a name"), LogPosition::behind(manifest));
        }
        let text = token.to_string();
        assert!(text.starts_with("purchase_apply,acme:120:") && text.contains(",beta_2-x:7:"), "{text}");
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ",:_-".contains(letter);
        assert!(text.chars().all(is_plain), "a shell takes it as one word: {text}");
        assert_eq!(text.parse::<ChangesToken>().expect("a token"), token);
        assert_eq!(format!(" {text}\n").parse::<ChangesToken>().expect("a token"), token);
        assert!("stop_reference".parse::<ChangesToken>().is_ok(), "of an empty lake");

        let digest = "0123456789abcdef";
        for wrong in [
            "",
            "acme:120:0123456789abcdef",
            "purchase",
            "purchase_apply,",
            "purchase_apply,acme",
            "purchase_apply,acme:1",
            "purchase_apply,acme:1:",
            &text[..text.len() - 1],
            &format!("purchase_apply,acme:0:{digest}"),
            &format!("purchase_apply,acme:01:{digest}"),
            &format!("purchase_apply,acme:+1:{digest}"),
            &format!("purchase_apply,acme:99999999999999999999:{digest}"),
            &format!("purchase_apply,2acme:1:{digest}"),
            &format!("purchase_apply,acme:1:{digest},acme:1:{digest}"),
            &format!("purchase_apply,beta:1:{digest},acme:1:{digest}"),
            &format!("purchase_apply,acme:1:{digest}:2"),
            "purchase_apply,acme:1:0123456789abcdeg",
        ] {
            let error = wrong.parse::<ChangesToken>().expect_err(wrong);
            assert_eq!(error.kind(), ErrorKind::Usage, "{wrong}");
        }
    }
}
