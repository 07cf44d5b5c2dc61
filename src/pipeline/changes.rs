//! The rows of a table that are new since its reader came last.
//!
//! Every row carries the id of the commit that first landed it, and keeps it wherever it moves. The log is never
//! truncated, so it tells which commits came after any manifest. **New since a manifest** are the rows of the committed
//! set whose id is that of a commit of a later manifest: compaction, carrying over and deletion show no row again and
//! lose none. A row version that came and went between two reads is in no committed set that was read, and is not
//! shown.
//!
//! Of the committed files only those of commits after the manifest can hold new rows. One that is not marked as carried
//! holds nothing else; of a carried one the ids are read first, and of rows that are not new nothing more.

mod token;

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt as _;

pub(crate) use self::token::ChangesToken;
use self::token::LogPosition;
use super::table_rows::{ReaderTable, RowSink, until_steady};
use crate::error::{Error, ErrorClass, Result};
use crate::id::{AccountName, CommitId};
use crate::log::manifest::Previous;
use crate::log::{Lake, LakeFile};
use crate::parquet::decode_landed_by;
use crate::worker::blocking;

/// What was new in one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountChanges {
    /// The account.
    pub(crate) account: AccountName,
    /// The number of the manifest behind which its rows are new; none: all of its rows were given.
    pub(crate) after: Option<u64>,
    /// The number of the newest manifest.
    pub(crate) newest: u64,
    /// The rows that were given.
    pub(crate) rows: u64,
}

/// What was new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadChanges {
    /// Account by account, in the order in which they were given.
    pub(crate) accounts: Vec<AccountChanges>,
    /// The token to go on with.
    pub(crate) next: ChangesToken,
}

impl ReadChanges {
    /// The rows of all accounts.
    pub(crate) fn rows(&self) -> u64 {
        self.accounts.iter().map(|account| account.rows).sum()
    }
}

/// Gives all rows of a table that are new since a token to a sink, or without one all rows. `begin` makes a sink that
/// holds nothing; it is asked again when files that are read were replaced meanwhile, and the sink before is dropped.
///
/// An account that the token does not name gives all its rows. One that it names beside `lakes` keeps its place.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a token of another table, lake or log;
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer;
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when files were replaced again and again while they were read;
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a file is missing or damaged, or the log breaks its rules; what
/// the sink says.
pub(crate) async fn changes<S: RowSink>(
    mut lakes: Vec<Lake>,
    table: &ReaderTable,
    since: Option<&ChangesToken>,
    begin: impl Fn() -> Result<S>,
) -> Result<(S, ReadChanges)> {
    if let Some(token) = since.filter(|token| token.table() != table.table()) {
        return Err(Error::new(ErrorClass::TokenWrong, "the token is of another table")
            .with("wanted", table.table())
            .with("token", token.table())
            .hint("keep a token for each table"));
    }
    until_steady(&mut lakes, async |lakes| Box::pin(read_new(lakes, table, since, begin()?)).await).await
}

async fn read_new<S: RowSink>(
    lakes: &[Lake],
    table: &ReaderTable,
    since: Option<&ChangesToken>,
    mut sink: S,
) -> Result<(S, ReadChanges)> {
    let mut next = since.cloned().unwrap_or_else(|| ChangesToken::of_nothing(table.table()));
    let mut accounts = Vec::new();
    for lake in lakes {
        let position = since.and_then(|token| token.position(lake.account()));
        if let Some(position) = position {
            check_position(lake, position).await?;
        }
        let after = position.map(|position| position.number);
        let rows;
        (sink, rows) = read_account(lake, table, after, sink).await?;
        next.advance(lake);
        let newest = lake.state().newest().map_or(0, |newest| newest.number);
        accounts.push(AccountChanges { account: lake.account().clone(), after, newest, rows });
    }
    Ok((sink, ReadChanges { accounts, next }))
}

/// Whether the manifest of a position is one of this log.
async fn check_position(lake: &Lake, position: &LogPosition) -> Result<()> {
    let held = match lake.state().newest() {
        Some(newest) if newest.number > position.number => {
            // The one that follows it vouches for it.
            let next = position.number + 1;
            let mut manifests = Box::pin(lake.manifests(next..=next).await?);
            manifests.try_next().await?.and_then(|(manifest, _)| manifest.previous)
        }
        newest => newest,
    };
    if held.is_some_and(|held| LogPosition::behind(held) == *position) {
        return Ok(());
    }
    Err(Error::new(ErrorClass::TokenWrong, "the token is of another lake, or of a log that is not what it was")
        .with("manifest", position.number)
        .with("account", lake.account())
        .hint("see that `--lake` is the lake that the token came from; leave `--since` out to begin with all rows"))
}

/// Gives the rows of one account that are new after a manifest; their number.
async fn read_account<S: RowSink>(
    lake: &Lake,
    table: &ReaderTable,
    after: Option<u64>,
    mut sink: S,
) -> Result<(S, u64)> {
    let is_after = |file: &LakeFile| {
        lake.state().live().get(&file.commit).is_some_and(|live| after.is_none_or(|after| live.number > after))
    };
    let files: Vec<LakeFile> = lake.files(table.table()).into_iter().filter(is_after).collect();
    let commits = match after {
        Some(after) if files.iter().any(|file| file.entry.carried) => Some(Arc::new(commits_after(lake, after).await?)),
        _ => None,
    };
    let mut rows = 0;
    for file in files {
        let told = |error: Error| error.with("object", &file.uri);
        let bytes = lake.fetch(&file.entry).await?;
        let commits = commits.clone().filter(|_| file.entry.carried);
        let (table, account) = (table.clone(), lake.account().clone());
        let read = blocking(move || {
            let mut rows = 0;
            for batch in decode_landed_by(bytes, table.commit_id(), commits)? {
                let batch = table.fit(&batch?, &account)?;
                rows += batch.num_rows() as u64;
                sink.take(&batch)?;
            }
            Ok((sink, rows))
        });
        let read_rows;
        (sink, read_rows) = read.await.map_err(told)?;
        rows += read_rows;
    }
    Ok((sink, rows))
}

/// The ids of all commits of the manifests after one, up to the newest that is known.
async fn commits_after(lake: &Lake, after: u64) -> Result<HashSet<CommitId>> {
    let newest = lake.state().newest();
    let numbers = after + 1..=newest.map_or(after, |newest| newest.number);
    let (mut last, mut commits) = (None, HashSet::new());
    let mut manifests = Box::pin(lake.manifests(numbers).await?);
    while let Some((manifest, sha256)) = manifests.try_next().await? {
        if last.is_some() && manifest.previous != last {
            return Err(broken(lake, manifest.number));
        }
        commits.extend(manifest.commits.iter().map(|commit| commit.id));
        last = Some(Previous { number: manifest.number, sha256 });
    }
    if last != newest { Err(broken(lake, after)) } else { Ok(commits) }
}

fn broken(lake: &Lake, manifest: u64) -> Error {
    Error::new(ErrorClass::ManifestDamaged, "a manifest that does not follow the one before it")
        .with("manifest", manifest)
        .with("account", lake.account())
        .hint("the commit log was changed by hand or by another program: run `wdt-lake verify`")
}

#[cfg(test)]
mod tests;
