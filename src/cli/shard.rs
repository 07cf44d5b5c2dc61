//! `--shard I/N`: which accounts of a file a process is for, when several processes share them.
//!
//! An account belongs to the shard that its name decides, and accounts that share a limit to the one that the name of
//! the limit decides: no limit is ever split among processes. The first eight bytes of the SHA-256 of the name, as a
//! number whose most significant byte comes first, are divided by N; the rest is I. So every process knows its accounts
//! without asking the others, and an account stays where it is as long as N does.

use std::fmt;
use std::str::FromStr;

use crate::config::AccountDefaults;
use crate::digest::Sha256;
use crate::id::AccountName;

/// The I-th of N shards, I from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// Whether an account belongs to it.
    pub(super) fn has(self, account: &AccountName, terms: &AccountDefaults) -> bool {
        let name = terms.limit.as_deref().unwrap_or(account.as_str());
        Sha256::of(name.as_bytes()).first_u64() % self.of == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| is_plain).map(u64::from)
        };
        let parts = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
        let (index, of) = parts.ok_or("write I/N, for example 0/4: the first of four shards")?;
        match index < of {
            true => Ok(Self { index, of }),
            false => Err("I is less than N, and the first shard is 0: of four shards the last is 3/4".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str) -> Shard {
        text.parse().expect("a shard")
    }

    /// The numbers are those of `printf NAME | sha256sum`.
    #[test]
    fn the_name_of_the_limit_or_else_of_the_account_decides() {
        let of = |account: &str, limit: Option<&str>, n: u64| {
            let terms = AccountDefaults { limit: limit.map(str::to_owned), ..AccountDefaults::default() };
            let name: AccountName = account.parse().expect("a name");
            let has: Vec<u64> = (0..n).filter(|index| Shard { index: *index, of: n }.has(&name, &terms)).collect();
            assert_eq!(has.len(), 1, "{account} belongs to one");
            has[0]
        };
        let first_eight = 0x822b_33ad_87c1_48a0_u64;
        assert_eq!((of("acme", None, 3), of("acme", None, 7)), (first_eight % 3, first_eight % 7));
        for n in 1..9 {
            assert_eq!(of("acme", Some("appkey-1"), n), of("beta", Some("appkey-1"), n));
            assert_eq!(of("appkey-1", None, n), of("beta", Some("appkey-1"), n));
        }
    }

    #[test]
    fn what_is_no_shard_is_refused_with_what_to_write() {
        assert_eq!(shard("3/4").to_string(), "3/4");
        assert_eq!(shard("0/1"), Shard { index: 0, of: 1 });
        for text in ["", "1", "1/", "/4", "a/4", "1/b", "+1/4", "-1/4", "1 /4", "4/4", "0/0", "1/4/2", "0/9999999999"] {
            let told = text.parse::<Shard>().expect_err(text);
            assert!(told.contains("/4"), "{text}: {told}");
        }
    }
}
