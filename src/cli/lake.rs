//! What the commands that read a lake share: which lake, whose part of it, and in what form they answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::{ConfigArgs, LakeUri};
use super::talk::error_json;
use crate::error::{Error, ErrorClass, Result, exit};
use crate::id::AccountName;
use crate::land::LeaseWait;
use crate::log::{Lake, Table};
use crate::publish_format::PublishFormat;
use crate::store::{Access, Store};
use crate::text::{Text, text};
use crate::transform::Extent;
use crate::units::span;

/// How many accounts that are not listed are asked for, beside others that are.
const ASKED_FOR: usize = 16;

/// Whether another run of the account is waited for.
#[derive(Debug, clap::Args)]
pub(super) struct Wait {
    /// Wait for another run on the same account, at most so long, instead of stopping with exit code 6 at once.
    #[arg(long, value_name = "DURATION", value_parser = span, num_args = 0..=1, default_missing_value = "1h")]
    wait: Option<Duration>,
}

impl Wait {
    pub(super) fn get(&self) -> LeaseWait {
        self.wait.map_or(LeaseWait::No, LeaseWait::UpTo)
    }
}

/// In what form a command answers.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Print one line with one JSON object.
    #[arg(long)]
    json: bool,
}

impl Output {
    /// In words.
    pub(super) fn text() -> Self {
        Self { json: false }
    }

    /// Whether the answer is to be JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer in the wanted form. An empty text is no line.
    pub(super) fn print(&self, to_json: impl FnOnce() -> Value, to_text: impl FnOnce() -> String) {
        let answer = if self.json { to_json().to_string() } else { to_text() };
        if !answer.is_empty() {
            super::print(&answer);
        }
    }
}

/// Which table is read.
#[derive(Debug, clap::Args)]
pub(super) struct TableName {
    /// `purchase_apply`, `purchase_apply_detail` or `stop_reference`.
    #[arg(value_name = "TABLE")]
    table: String,
}

impl TableName {
    /// The table of this name.
    pub(super) fn get(&self) -> Result<Table> {
        table_of_name(&self.table)
    }
}

/// The table of this name.
pub(super) fn table_of_name(name: &str) -> Result<Table> {
    Table::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Table::ALL.iter().map(|table| format!("`{table}`")).collect();
        Error::new(ErrorClass::ArgumentWrong, text!("there is no table `{name}`", name))
            .hint(text!("the tables are {names}", names = names.join(", ")))
    })
}

/// Which tables of a lake have rows of one of these accounts.
pub(super) async fn extent_of(store: &Store, accounts: Vec<AccountName>) -> Result<Extent> {
    let mut extent = Extent::default();
    for account in accounts {
        let lake = Lake::open(store.clone(), account).await?;
        extent.headers |= lake.rows(Table::PurchaseApply) > 0;
        extent.details |= lake.rows(Table::PurchaseApplyDetail) > 0;
        extent.stops |= lake.rows(Table::StopReference) > 0;
    }
    Ok(extent)
}

/// Which lake is read.
#[derive(Debug, clap::Args)]
pub(super) struct LakeArgs {
    #[command(flatten)]
    lake: LakeUri,
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

impl LakeArgs {
    /// Opens the lake.
    pub(super) fn open(&self) -> Result<OpenedLake> {
        self.open_for(Access::Read)
    }

    /// Opens the lake to read it, or to write it as well.
    pub(super) fn open_for(&self, access: Access) -> Result<OpenedLake> {
        let wanted = self.account.as_deref().map(str::parse).transpose()?;
        let known = wanted.clone().map_or_else(|| self.config.account_names(), |wanted| vec![wanted]);
        Ok(OpenedLake { store: Store::open(&self.lake.find(&self.config)?, access)?, wanted, known })
    }
}

impl LakeArgs {
    /// The accounts that the lake must have: those that are set beside it, unless another lake was typed.
    pub(super) fn expected_accounts(&self) -> Vec<AccountName> {
        if self.lake.is_typed() {
            return Vec::new();
        }
        let is_wanted = |name: &AccountName| self.account.as_deref().is_none_or(|wanted| wanted == name.as_str());
        self.config.account_names().into_iter().filter(is_wanted).collect()
    }
}

impl LakeArgs {
    /// Opens a lake that is there to read and to write it. Nothing is made of a name that was mistyped.
    pub(super) fn open_to_change(&self) -> Result<OpenedLake> {
        self.open()?;
        self.open_for(Access::Write)
    }

    /// Opens the lake to write it.
    pub(super) fn open_to_write(&self) -> Result<Store> {
        Store::open(&self.lake.find(&self.config)?, Access::Write)
    }

    /// The formats in which the lake is published unless something else is typed.
    pub(super) fn publish(&self) -> Result<Vec<PublishFormat>> {
        self.config.publish()
    }

    /// How long the files of removed commits of an account are kept unless something else is typed.
    pub(super) fn keep_removed(&self, account: &AccountName) -> Result<Duration> {
        self.config.keep_removed(account)
    }
}

/// A lake, and the account that is wanted of it.
pub(super) struct OpenedLake {
    pub(super) store: Store,
    pub(super) wanted: Option<AccountName>,
    /// The accounts that somebody has named: by the command, the file or the environment.
    known: Vec<AccountName>,
}

impl OpenedLake {
    /// The accounts that have a log, or the one that is wanted.
    pub(super) async fn accounts(&self) -> Result<Vec<AccountName>> {
        self.pick(Lake::accounts(&self.store).await?).await
    }

    /// All of `present`, or the one that is wanted. A listing may leave an account out: those that are known by name
    /// are asked for.
    pub(super) async fn pick(&self, mut present: Vec<AccountName>) -> Result<Vec<AccountName>> {
        let hidden: Vec<&AccountName> = self.known.iter().filter(|name| !present.contains(name)).collect();
        let asked = if present.is_empty() || hidden.len() <= ASKED_FOR { hidden.as_slice() } else { &[] };
        let mut found = Vec::new();
        for name in asked {
            if Lake::open(self.store.clone(), (*name).clone()).await?.state().last().is_some() {
                found.push((*name).clone());
            }
        }
        present.extend(found);
        present.sort_unstable();
        match &self.wanted {
            None => Ok(present),
            Some(account) if present.contains(account) => Ok(vec![account.clone()]),
            Some(account) => {
                let named: Vec<_> = present.iter().map(|name| format!("`{name}`")).collect();
                let has = if named.is_empty() { text!("none") } else { Text::verbatim(named.join(", ")) };
                Err(Error::new(ErrorClass::AccountNotInLake, "the lake has no such account")
                    .with("account", account)
                    .hint(text!("it has {has}", has)))
            }
        }
    }
}

/// What a command found of each account, in the order in which they were asked for. What cannot be read of one account
/// hides nothing of the others.
pub(super) struct ByAccount<T> {
    pub(super) found: Vec<(AccountName, T)>,
    pub(super) failed: Vec<(AccountName, Error)>,
}

impl<T> ByAccount<T> {
    /// Asks for each account, one after the other.
    pub(super) async fn of(accounts: Vec<AccountName>, one: impl AsyncFn(&AccountName) -> Result<T>) -> Self {
        let mut all = Self { found: Vec::new(), failed: Vec::new() };
        for account in accounts {
            match Box::pin(one(&account)).await {
                Ok(found) => all.found.push((account, found)),
                Err(error) => {
                    let error = error.with("account", &account);
                    all.failed.push((account, error));
                }
            }
        }
        all
    }

    /// Whether there was no account.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.failed.is_empty()
    }

    /// The exit code of what failed, and of other reasons.
    pub(super) fn exit_code(&self, others: impl IntoIterator<Item = u8>) -> u8 {
        exit::combine(self.failed.iter().map(|(_, error)| error.kind().exit_code()).chain(others))
    }

    /// The accounts that failed, each with its error.
    pub(super) fn failed_json(&self) -> impl Iterator<Item = Value> {
        self.failed.iter().map(|(account, error)| json!({"account": account, "error": error_json(error)}))
    }

    /// Says what failed.
    pub(super) fn print_failed(&self) {
        self.failed.iter().for_each(|(_, error)| super::print_error(error));
    }
}
