//! What the commands share that ask for one account or for all of a file: each account has its own answer or its own
//! error, and no error hides the answer of another account.

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::accounts::{AccountArgs, AccountSource, Chosen};
use super::lake::Output;
use super::talk::error_json;
use crate::config::{AccountDefaults, AccountSettings};
use crate::error::{Result, exit};
use crate::id::AccountName;

/// As many accounts are asked for at once.
const MOST_AT_ONCE: usize = 64;

/// What came of asking for each account, in the order of the file.
pub(super) struct EachAccount<T> {
    answers: Vec<(AccountName, Result<T>)>,
    /// Whether one was meant: that of the environment, or one that was named.
    is_one: bool,
}

impl<T> EachAccount<T> {
    /// Asks for each account that is set, or for the one that is named, some of them side by side.
    ///
    /// # Errors
    /// Those of [`AccountArgs::all`].
    pub(super) async fn of(
        args: &AccountArgs,
        one: impl AsyncFn(&AccountSettings, &AccountDefaults) -> Result<T>,
    ) -> Result<Self> {
        let (origin, chosen) = args.all()?;
        let is_one = origin == AccountSource::Environment || args.is_one();
        let ask = async |Chosen { name, settings, terms, .. }: Chosen| {
            let answer = match settings {
                Ok(settings) => Box::pin(one(&settings, &terms)).await,
                Err(error) => Err(error),
            };
            let answer = answer.map_err(|error| error.with("account", &name));
            (name, answer)
        };
        let asking = stream::iter(chosen.into_iter().map(|chosen| Box::pin(ask(chosen))));
        let answers = asking.buffered(MOST_AT_ONCE).collect().await;
        Ok(Self { answers, is_one })
    }

    /// What was answered.
    pub(super) fn found(&self) -> impl Iterator<Item = (&AccountName, &T)> {
        self.answers.iter().filter_map(|(name, answer)| Some((name, answer.as_ref().ok()?)))
    }

    /// Prints the answers, says what failed, and gives the exit code. One account that was meant has an object of its
    /// own; all of a file are a list.
    ///
    /// # Errors
    /// That of the one account that was meant.
    pub(super) fn print(
        self,
        command: &str,
        output: &Output,
        to_json: impl Fn(&AccountName, &T) -> Value,
        to_text: impl Fn(&AccountName, &T) -> String,
    ) -> Result<u8> {
        let code = exit::combine(
            self.answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).map(|error| error.kind().exit_code()),
        );
        let all_json = || {
            let accounts = self.answers.iter().map(|(name, answer)| match answer {
                Ok(answer) => {
                    let mut account = to_json(name, answer);
                    account["error"] = Value::Null;
                    account
                }
                Err(error) => json!({"account": name, "error": error_json(error)}),
            });
            json!({"command": command, "accounts": accounts.collect::<Vec<_>>(), "exit_code": code})
        };
        let all_text = || self.found().map(|(name, answer)| to_text(name, answer)).collect::<Vec<_>>().join("\n");
        if !self.is_one {
            output.print(all_json, all_text);
        } else if let Some((name, answer)) = self.found().next() {
            let one_json = || {
                let mut account = to_json(name, answer);
                account["command"] = command.into();
                account
            };
            output.print(one_json, || to_text(name, answer));
        }
        for (_, answer) in self.answers {
            if let Err(error) = answer {
                if self.is_one {
                    return Err(error);
                }
                super::print_error(&error);
            }
        }
        Ok(code)
    }
}
