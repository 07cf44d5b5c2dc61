//! Which accounts a command is for, and which lake: from a configuration file, else from the environment.
//!
//! The file is the one that `--config` names, else `WDT_CONFIG`, else `wdt-lake.toml` in the working folder if there is
//! one. What is typed with a command goes before what the file says.

use std::path::Path;
use std::time::Duration;

use super::limits::SharedLimits;
use super::secret_command;
use super::shard::Shard;
use super::talk::read;
use crate::config::{
    AccountDefaults, AccountSettings, ConfigFile, DEFAULT_PATH, FileAccount, env, is_exposed, keep_removed_of,
    keep_removed_when, publish_of,
};
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::home;
use crate::id::AccountName;
use crate::publish_format::PublishFormat;
use crate::text::text;
use crate::user_file;

/// Room for tens of thousands of accounts.
const LARGEST_CONFIG: u64 = 16 << 20;
/// No secret comes near this: a larger file is another one.
const LARGEST_SECRET: u64 = 8 << 10;

/// Where the settings are.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The file of accounts [default: WDT_CONFIG, else wdt-lake.toml if there is one].
    #[arg(long, value_name = "PATH")]
    config: Option<String>,
}

/// Which account.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AccountArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Only this account of the file.
    #[arg(long, value_name = "NAME", value_parser = read::<AccountName>)]
    account: Option<AccountName>,
}

/// Where the lake is.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LakeUri {
    /// Where the lake is: a folder or `s3://bucket/prefix` [default: what the file of accounts says].
    #[arg(long, value_name = "URI")]
    lake: Option<String>,
}

/// An account and its terms. Its secret may be missing, which is its own failure and not that of others.
pub(super) struct Chosen {
    pub(super) name: AccountName,
    pub(super) edition: Edition,
    pub(super) settings: Result<AccountSettings>,
    pub(super) terms: AccountDefaults,
}

/// Where accounts were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountSource {
    Environment,
    File,
}

impl ConfigArgs {
    /// The file, if there is one.
    pub(super) fn read(&self) -> Result<Option<ConfigFile>> {
        let named = self.config.clone().or_else(|| variable(env::CONFIG).filter(|path| !path.trim().is_empty()));
        let path = match &named {
            Some(path) => home::expand(path.trim())?,
            None if Path::new(DEFAULT_PATH).exists() => Path::new(DEFAULT_PATH).into(),
            None => return Ok(None),
        };
        let text = user_file::read_text(&path, LARGEST_CONFIG).map_err(|error| {
            let unread = Error::new(ErrorClass::ConfigUnreadable, "the configuration file cannot be read")
                .hint("check --config and WDT_CONFIG");
            // Of the environment it may be a secret that was set in its place.
            let is_named_so = path.extension().is_some_and(|extension| extension == "toml");
            if self.config.is_some() || is_named_so {
                unread.with("path", path.display()).because(error)
            } else {
                unread.with("named by", env::CONFIG).because(error.kind().to_string())
            }
        })?;
        ConfigFile::parse(&text, &path).map(Some)
    }
}

impl ConfigArgs {
    /// The names of the accounts that are set, as far as they can be read.
    pub(super) fn account_names(&self) -> Vec<AccountName> {
        match self.read() {
            Ok(Some(file)) if !file.accounts().is_empty() => {
                file.accounts().iter().map(|account| account.name().clone()).collect()
            }
            _ => {
                let named =
                    [env::ACCOUNT, env::SID].into_iter().filter_map(variable).map(|text| text.trim().to_owned());
                named.filter(|text| !text.is_empty()).take(1).filter_map(|text| text.parse().ok()).collect()
            }
        }
    }
}

impl ConfigArgs {
    /// How long the files of removed commits of an account are kept unless something else is typed.
    pub(super) fn keep_removed(&self, account: &AccountName) -> Result<Duration> {
        match self.read()?.filter(|file| !file.accounts().is_empty()) {
            Some(file) => {
                let own = file.accounts().iter().find(|one| one.name() == account);
                Ok(keep_removed_when(own.and_then(|own| own.terms().keep_removed), file.publish()))
            }
            None => {
                let kept = keep_removed_of(variable(env::KEEP_REMOVED))?;
                Ok(keep_removed_when(kept, &publish_of(variable(env::PUBLISH))?))
            }
        }
    }
}

impl ConfigArgs {
    /// The formats in which the lake is published unless something else is typed.
    pub(super) fn publish(&self) -> Result<Vec<PublishFormat>> {
        match self.read()?.filter(|file| !file.accounts().is_empty()) {
            Some(file) => Ok(file.publish().to_vec()),
            None => publish_of(variable(env::PUBLISH)),
        }
    }
}

impl LakeUri {
    /// Whether it was typed with the command.
    pub(super) fn is_typed(&self) -> bool {
        self.lake.is_some()
    }

    /// The lake that was typed, else the file's.
    pub(super) fn find(&self, config: &ConfigArgs) -> Result<String> {
        if let Some(lake) = &self.lake {
            return Ok(lake.clone());
        }
        let lake = config.read()?.and_then(|file| file.lake().map(str::to_owned));
        lake.ok_or_else(|| {
            Error::new(ErrorClass::LakeNotGiven, "no lake was given")
                .hint("say where it is by --lake, or by `lake = \"...\"` in wdt-lake.toml")
        })
    }
}

impl AccountArgs {
    /// All accounts of a file.
    pub(super) fn of_file(path: String) -> Self {
        Self { config: ConfigArgs { config: Some(path) }, account: None }
    }

    /// Every account that is set, or the one that is wanted; at least one.
    pub(super) fn all(&self) -> Result<(AccountSource, Vec<Chosen>)> {
        self.all_of(None)
    }

    /// The same, but of a shard its accounts only, perhaps none; no secret of another one is read.
    pub(super) fn all_of(&self, shard: Option<Shard>) -> Result<(AccountSource, Vec<Chosen>)> {
        let file = self.config.read()?.filter(|file| !file.accounts().is_empty());
        let mut is_known = false;
        let mut is_wanted = |name: &AccountName, terms: &AccountDefaults| {
            let is_named = self.is_wanted(name);
            is_known |= is_named;
            is_named && shard.is_none_or(|shard| shard.has(name, terms))
        };
        let (origin, chosen) = match &file {
            Some(file) => {
                file.check_environment(variable)?;
                let limits = SharedLimits::of(file.accounts().iter().map(FileAccount::terms));
                let of_file = file.accounts().iter().filter(|account| is_wanted(account.name(), account.terms()));
                let chosen = of_file.map(|account| Chosen {
                    name: account.name().clone(),
                    edition: account.edition(),
                    settings: account.settings(variable, read_secret, run_secret_command),
                    terms: limits.terms(account.terms()),
                });
                (AccountSource::File, chosen.collect::<Vec<_>>())
            }
            None => {
                let settings = AccountSettings::from_env(variable, read_secret)?;
                let (name, edition, terms) =
                    (settings.name.clone(), settings.edition, AccountDefaults::from_env(variable)?);
                let chosen = Chosen { name, edition, settings: Ok(settings), terms };
                (
                    AccountSource::Environment,
                    Some(chosen).filter(|chosen| is_wanted(&chosen.name, &chosen.terms)).into_iter().collect(),
                )
            }
        };
        if let (false, Some(wanted)) = (is_known, &self.account) {
            let error = Error::new(ErrorClass::AccountUnknown, "no such account is set").with("account", wanted);
            return Err(match &file {
                Some(file) => error
                    .with("file", file.path())
                    .hint(text!("it has {accounts}", accounts = listed(file.accounts().iter().map(FileAccount::name)))),
                None => {
                    error.hint("the environment sets one account only: leave --account out, or name it by WDT_ACCOUNT")
                }
            });
        }
        chosen.iter().filter_map(|chosen| chosen.settings.as_ref().ok()).for_each(warn_of_exposure);
        Ok((origin, chosen))
    }

    /// The same for a command that needs none: none where nothing is set.
    pub(super) fn all_or_none(&self) -> Result<Vec<Chosen>> {
        let is_set = self.is_one()
            || self.config.read()?.is_some_and(|file| !file.accounts().is_empty())
            || variable(env::SID).is_some_and(|sid| !sid.trim().is_empty());
        if is_set { self.all().map(|(_, chosen)| chosen) } else { Ok(Vec::new()) }
    }

    /// The one account that a command can be for.
    pub(super) fn one(&self) -> Result<(AccountSettings, AccountDefaults)> {
        let (_, mut chosen) = self.all()?;
        match (chosen.pop(), &chosen[..]) {
            (Some(Chosen { name, settings, terms, .. }), []) => {
                Ok((settings.map_err(|error| error.with("account", name))?, terms))
            }
            (last, others) => {
                let names = others.iter().chain(&last).map(|chosen| &chosen.name);
                Err(Error::new(ErrorClass::AccountUnknown, "several accounts are set, and this command is for one")
                    .hint(text!("choose by --account: {names}", names = listed(names))))
            }
        }
    }

    /// Whether one account was named, of all that are set.
    pub(super) fn is_one(&self) -> bool {
        self.account.is_some()
    }

    pub(super) fn is_wanted(&self, name: &AccountName) -> bool {
        self.account.as_ref().is_none_or(|wanted| wanted == name)
    }
}

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the file of a secret; a leading `~/` is the home folder.
fn read_secret(path: &str) -> std::io::Result<String> {
    user_file::read_text(&home::expand(path).map_err(std::io::Error::other)?, LARGEST_SECRET)
}

/// Runs the program that prints a secret.
fn run_secret_command(command: &[&str]) -> Result<String> {
    secret_command::output_of(command, LARGEST_SECRET)
}

fn listed<'a>(names: impl Iterator<Item = &'a AccountName>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn warn_of_exposure(account: &AccountSettings) {
    if is_exposed(&account.base_url) {
        super::print_warning(&text!(
            "{name}: the gateway's address is plain http: sid, signature and rows can be read on their way",
            name = account.name
        ));
    }
}
