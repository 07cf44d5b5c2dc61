//! Committing: files under unique names first, then one manifest that makes them count.
//!
//! **The commit.** Before every try at a number the staged commit is checked against the state; a staged commit that
//! may not follow is dropped whole. Then its manifest is created under the next number, only where nothing stands. That
//! somebody else's manifest stands there means: read it, add it to the state, check again, try the next number. That
//! our own stands there means that we won, whoever answered what. No answer, or an error, means that the create may
//! still be on its way: the same bytes are tried under the same number again, and when that does not settle it, the
//! commit fails with its outcome unknown and its files stay for the next sweep.
//!
//! **Why a dropped staged commit may delete its files.** It only ever tried numbers that are now known to be taken by
//! others, so no try of it that is still on its way can succeed, and it never tries again. Nothing else in this module
//! deletes the files of a staged commit.
//!
//! Now and then a commit is followed by a [checkpoint](crate::log::checkpoint), on which nothing depends.
//!
//! One process commits one staged commit at a time (a lock around the state); any number of processes may write one
//! account.

mod deletion;
mod files;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;

use self::deletion::unneeded;
use super::stage::{CommitOutcome, Committed, NewCommit, NewFile, NewManifest, NewRows, Quarantine, StagedManifest};
use super::watcher::LogWatcher;
use crate::error::{Error, ErrorClass, Result};
use crate::format::FormatVersion;
use crate::id::{CommitId, RunId};
use crate::log::append::{AppendOutcome, LogEnd, Patience};
use crate::log::checkpoint::CheckpointPolicy;
use crate::log::layout;
use crate::log::manifest::commit_of;
use crate::log::read::{self, ManifestNames};
use crate::log::state::Standing;
use crate::log::{Binding, Commit, CommitKind, Conflict, Lake, Layout, LiveCommit, LogState, Manifest};
use crate::parquet::{FileCompression, MergeLimits};
use crate::store::{Store, Writers, capability};
use crate::time::{BeijingTime, Clock, Window};
use crate::worker::Worker;

/// Who writes, as it stands in every manifest.
#[derive(Clone)]
pub(crate) struct WriterOptions {
    /// The account, and what its name is bound to.
    pub binding: Binding,
    /// The run.
    pub run: RunId,
    /// The first second of modified time that the run was asked for, if it was told one.
    pub wanted_from: Option<BeijingTime>,
    /// The version of the data contract.
    pub contract: FormatVersion,
    /// How the files of rows are compressed.
    pub compression: FileCompression,
    /// How long the objects of removed and fenced commits are kept.
    pub keep_removed: Duration,
    /// The memory that merging carried rows may take, and how large their files are to be.
    pub merge: MergeLimits,
    /// What must happen before files of removed or fenced commits are deleted.
    pub watcher: Arc<dyn LogWatcher>,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
}

/// Writes the lake of one account. Shared by all tasks of a run.
pub(crate) struct Writer {
    store: Store,
    layout: Layout,
    options: WriterOptions,
    log: Mutex<LogState>,
    names: ManifestNames,
    checkpoints: CheckpointPolicy,
    /// Whether this run has added to the log.
    has_added: AtomicBool,
    /// Whether this run has tried if the store keeps writers apart.
    is_probed: AtomicBool,
    /// When this run has swept.
    swept_at: OnceLock<BeijingTime>,
    /// Whether something that this run should have deleted is still there.
    has_left: AtomicBool,
    /// Whether a manifest of this run may still arrive, where nothing keeps another one from its number.
    has_lost_sight: AtomicBool,
    patience: Patience,
    encoder: Worker,
}

impl Writer {
    /// Opens the log of an account to write. It changes nothing yet; call [`Writer::sweep`] before the first commit.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the account's name is bound to another account of the ERP,
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer, cannot create conditionally
    /// although several may write, or a newer program has written the lake,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when two single writers have written at once,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the log breaks its rules.
    pub(crate) async fn open(store: Store, options: WriterOptions) -> Result<Self> {
        Self::encoding_on(Worker::start("encoder")?, store, options).await
    }

    /// The same, with a thread for its files that others may share.
    pub(crate) async fn encoding_on(encoder: Worker, store: Store, options: WriterOptions) -> Result<Self> {
        let layout = Layout::new(options.binding.name.clone());
        let read::OpenedLog { state, names: read, checkpoint, read: behind } = read::open(&store, &layout).await?;
        state.writable()?;
        let names = match (store.writers(), read) {
            (Writers::Single, _) => ManifestNames::WithCommit,
            (Writers::Many, ManifestNames::Plain) => ManifestNames::Plain,
            (Writers::Many, ManifestNames::WithCommit) => return Err(single_only(&store, &layout)),
        };
        if let Some(bound) = state.binding().filter(|bound| **bound != options.binding) {
            return Err(bound_elsewhere(bound, &options.binding));
        }
        let is_new = state.last().is_none();
        let writer = Self {
            store,
            layout,
            options,
            log: Mutex::new(state),
            is_probed: AtomicBool::new(false),
            swept_at: OnceLock::new(),
            has_left: AtomicBool::new(false),
            has_lost_sight: AtomicBool::new(false),
            names,
            checkpoints: CheckpointPolicy::since(checkpoint, behind),
            has_added: AtomicBool::new(false),
            patience: Patience::DEFAULT,
            encoder,
        };
        // Before there is anything that could be lost; later, before the first write.
        if is_new {
            writer.probe().await?;
        }
        Ok(writer)
    }

    /// Tries once in a run whether the store keeps writers apart.
    pub(crate) async fn probe(&self) -> Result<()> {
        if !self.is_probed.load(Ordering::Relaxed) {
            let lease = self.layout.lease();
            capability::check(&self.store, &lease, &|what| layout::probe(self.options.run, what)).await?;
            self.is_probed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    #[cfg(test)]
    pub(crate) fn with_checkpoints_every(self, commits: u64) -> Self {
        Self { checkpoints: self.checkpoints.every(commits), ..self }
    }

    /// The committed set as this writer knows it.
    pub(crate) async fn view(&self) -> Lake {
        Lake::of(self.store.clone(), self.layout.clone(), self.log.lock().await.clone(), self.names)
    }

    /// Encodes and writes everything of a manifest, then commits it. When this is cancelled or fails, nothing counts or
    /// all of it does, and what does not is left to the next sweep.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the rows do not fit their table.
    pub(crate) async fn land(&self, new: NewManifest) -> Result<CommitOutcome> {
        let NewManifest { walk, commits, removes, raw } = new;
        let mut staged = self.stage(removes).await.proved_by(walk);
        let written = async {
            for new in commits {
                self.write_commit(&mut staged, new).await?;
            }
            if let Some(raw) = raw {
                let entry = self.write_raw(staged.id, raw).await?;
                // What is left of expired months was not walked.
                let walked = staged.commits.iter_mut().filter(|commit| commit.window.is_some());
                walked.for_each(|commit| commit.raw.push(entry.clone()));
            }
            Ok(())
        };
        match written.await {
            Ok(()) => self.commit(staged).await,
            Err(error) => self.dropped_meanwhile(&staged, error).await,
        }
    }

    /// Writes everything of one more commit of a staged manifest.
    async fn write_commit(&self, staged: &mut StagedManifest, mut new: NewCommit) -> Result<()> {
        // The details of a part before its headers: whoever sees a header by a glob sees its details too.
        new.files.sort_by_key(|file| (file.part, Reverse(file.spec.table)));
        let id = self.add_commit(staged, new.kind, new.window).await;
        let is_carried = |file: &NewFile| matches!(file.rows, NewRows::Carried { .. });
        let (carried, files): (Vec<_>, Vec<_>) = new.files.into_iter().partition(is_carried);
        for file in carried {
            self.write_carried(staged, id, new.window, file).await?;
        }
        self.write_files(staged, id, new.window, files).await?;
        let mut quarantine = new.kept_quarantine;
        if let Some(new) = new.quarantine {
            quarantine.extend(self.write_quarantine(id, new).await?);
        }
        if let Some(commit) = staged.commits.iter_mut().find(|commit| commit.id == id) {
            (commit.compacted, commit.carried, commit.expired) = (new.compacted, new.carried, new.expired);
            (commit.quarantine, commit.raw) = (quarantine, new.kept_raw);
        }
        Ok(())
    }

    /// What became of a manifest whose files could not be written. A sweep that took this run for dead deletes what it
    /// half wrote, and whoever removes the same commits first deletes what they hold: that is not a broken disk, and
    /// planning again helps.
    pub(super) async fn dropped_meanwhile(&self, staged: &StagedManifest, error: Error) -> Result<CommitOutcome> {
        let conflict = async || {
            let state = self.log.lock().await;
            let is_fenced = |commit: &Commit| state.standing(commit.id) == Some(Standing::Fenced);
            if staged.commits.iter().any(is_fenced) {
                return Some(Conflict::Fenced);
            }
            let gone = staged.removes.iter().find(|id| !state.live().contains_key(id));
            gone.map(|commit| Conflict::NotLive { commit: *commit })
        };
        if self.follow().await.is_err() {
            return Err(error);
        }
        let Some(conflict) = conflict().await else { return Err(error) };
        // What could not be written may still arrive: the ids stay pinned, and the run has left something.
        let own: Vec<String> = staged.own_paths(|path| commit_of(&self.layout, path)).map(str::to_owned).collect();
        self.delete_quietly(own).await;
        tracing::debug!(id = %staged.id, %error, %conflict, "the files of a commit could not be written");
        Ok(CommitOutcome::Dropped(conflict))
    }

    /// Begins a manifest without commits, under a new id.
    pub(crate) async fn stage(&self, removes: Vec<CommitId>) -> StagedManifest {
        StagedManifest {
            id: self.new_id().await,
            created_at: self.options.clock.now(),
            walk: None,
            commits: Vec::new(),
            removes,
            fences: Vec::new(),
            intent: None,
            sums: BTreeMap::new(),
        }
    }

    /// Begins a manifest of one commit.
    pub(crate) async fn begin(
        &self,
        kind: CommitKind,
        window: Option<Window>,
        removes: Vec<CommitId>,
    ) -> StagedManifest {
        let mut staged = self.stage(removes).await;
        self.add_commit(&mut staged, kind, window).await;
        staged
    }

    /// Adds a commit to a staged manifest; gives its id.
    pub(super) async fn add_commit(
        &self,
        staged: &mut StagedManifest,
        kind: CommitKind,
        window: Option<Window>,
    ) -> CommitId {
        let id = if staged.commits.is_empty() { staged.id } else { self.new_id().await };
        staged.commits.push(Commit {
            id,
            kind,
            window,
            compacted: 0,
            carried: Vec::new(),
            expired: Vec::new(),
            files: Vec::new(),
            quarantine: Vec::new(),
            raw: Vec::new(),
            results: Vec::new(),
        });
        id
    }

    /// An id that this process does not lose sight of, whatever the log forgets.
    async fn new_id(&self) -> CommitId {
        let id = CommitId::generate();
        self.log.lock().await.pin(id);
        id
    }

    /// Whether the log does not know that somebody asked for the start that this run was told.
    pub(crate) async fn lacks_start(&self) -> bool {
        let Some(wanted_from) = self.options.wanted_from else { return false };
        self.log.lock().await.start().is_none_or(|start| wanted_from < start)
    }

    /// Puts the start that this run was told into the log, where it does not stand there yet: when no window was
    /// proved, no other commit has it.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub(crate) async fn remember_start(&self) -> Result<()> {
        while self.lacks_start().await {
            match self.commit(self.stage(Vec::new()).await).await? {
                // A sweep that took this run for dead; there is no file that it could have seen, so this does not go on
                // for long.
                CommitOutcome::Committed(_) | CommitOutcome::Dropped(Conflict::Fenced) => {}
                CommitOutcome::Dropped(conflict) => {
                    return Err(Error::new(ErrorClass::WroteAtOnce, "cannot commit the start of the wanted range")
                        .because(conflict.text()));
                }
            }
        }
        Ok(())
    }

    /// Encodes rows and writes them as one file of the only commit of a staged manifest; no rows, no file.
    ///
    /// # Errors
    /// As [`Writer::land`].
    pub(crate) async fn write(&self, staged: &mut StagedManifest, file: NewFile) -> Result<()> {
        let Some((id, window)) = staged.commits.first().map(|commit| (commit.id, commit.window)) else {
            return Err(Error::internal("a file of a manifest without commits"));
        };
        if let Some(file) = self.encode_file(id, window, file).await? {
            staged.add(self.put_file(id, file).await?);
        }
        Ok(())
    }

    /// Writes the quarantined records of the only commit of a staged manifest, all of them at once.
    ///
    /// # Errors
    /// As [`Writer::land`].
    pub(crate) async fn quarantine(&self, staged: &mut StagedManifest, quarantine: Quarantine) -> Result<()> {
        let id = staged.id;
        let entry = self.write_quarantine(id, quarantine).await?;
        if let Some(commit) = staged.commits.first_mut() {
            commit.quarantine.extend(entry);
        }
        Ok(())
    }

    /// Makes a staged manifest count, or drops it. See the module documentation.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer: whether the staged manifest counts
    /// is then unknown, and the next run finds out. [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the
    /// account's name was bound to another account of the ERP in the meantime.
    pub(crate) async fn commit(&self, staged: StagedManifest) -> Result<CommitOutcome> {
        self.store.point("commit.files_written").await?;
        let appended = {
            let mut state = self.log.lock().await;
            let appended = self.append(&mut state, &staged).await?;
            // The manifest stands, or is given up for ever: it is never tried again.
            staged.commits.iter().map(|commit| commit.id).chain([staged.id]).for_each(|id| state.unpin(id));
            appended.map(|(manifest, removed)| {
                let unneeded = unneeded(&state, &manifest, &removed);
                (manifest, unneeded)
            })
        };
        match appended {
            Ok((manifest, unneeded)) => {
                self.has_added.store(true, Ordering::Relaxed);
                self.store.point("commit.created").await?;
                let may_delete = self.may_delete(unneeded.iter().map(String::as_str)).await;
                let undeleted = if may_delete { self.delete_in_order(unneeded).await } else { unneeded };
                self.has_left.fetch_or(!undeleted.is_empty(), Ordering::Relaxed);
                self.store.point("commit.done").await?;
                let (number, id, kind) = (manifest.number, manifest.id, manifest.kind());
                let StagedManifest { sums, removes: removed, .. } = staged;
                let quarantined = match &manifest.walk {
                    Some(walk) => walk.proof.rows_quarantined,
                    None => manifest.commits.iter().flat_map(|commit| &commit.quarantine).map(|held| held.rows).sum(),
                };
                let committed =
                    Committed { number, id, kind, quarantined, commits: manifest.commits, removed, sums, undeleted };
                Ok(CommitOutcome::Committed(committed))
            }
            Err(conflict) => {
                let own: Vec<String> =
                    staged.own_paths(|path| commit_of(&self.layout, path)).map(str::to_owned).collect();
                let left = self.delete_quietly(own).await;
                self.has_left.fetch_or(!left.is_empty(), Ordering::Relaxed);
                tracing::debug!(id = %staged.id, %conflict, left = left.len(), "a commit was dropped");
                match conflict {
                    Conflict::OtherAccount { bound } => Err(bound_elsewhere(&bound, &self.options.binding)),
                    conflict => Ok(CommitOutcome::Dropped(conflict)),
                }
            }
        }
    }

    /// Appends the staged manifest to the log; gives what stands there and the commits that it removed, or why it may
    /// not follow.
    async fn append(
        &self,
        state: &mut LogState,
        staged: &StagedManifest,
    ) -> Result<std::result::Result<(Manifest, Vec<(CommitId, LiveCommit)>), Conflict>> {
        self.probe().await?;
        loop {
            state.writable()?;
            let manifest = self.manifest(state, staged);
            if let Err(conflict) = state.check(&manifest) {
                return Ok(Err(conflict));
            }
            match self.try_append(manifest).await? {
                AppendOutcome::Ours(manifest, sha256) => {
                    let removed = state.apply(&manifest, sha256)?;
                    self.options.watcher.saw(&manifest, sha256);
                    return Ok(Ok((manifest, removed)));
                }
                AppendOutcome::Other(manifest, sha256) => {
                    state.apply(&manifest, sha256)?;
                    self.options.watcher.saw(&manifest, sha256);
                }
            }
        }
    }

    /// Tries to put a manifest under its number. A single writer who does not know what became of an earlier one puts
    /// no other: nothing on its store would keep the two from standing under one number.
    async fn try_append(&self, manifest: Manifest) -> Result<AppendOutcome> {
        if self.has_lost_sight.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorClass::OutcomeUnknown,
                "the outcome of an earlier commit of this run is unknown",
            )
            .with("log", self.store.uri(&self.layout.manifest_root()))
            .hint("run the same command again: it finds out, and lands only what is missing"));
        }
        let appended = self.end().append(manifest).await;
        let is_lost = appended.is_err() && self.store.writers() == Writers::Single;
        self.has_lost_sight.fetch_or(is_lost, Ordering::Relaxed);
        appended
    }

    /// Leaves a checkpoint at the end of a run, when one is due. What goes wrong costs the next reader some manifests,
    /// and nothing else.
    pub(crate) async fn leave_checkpoint(&self) {
        let has_added = self.has_added.load(Ordering::Relaxed);
        let pending = self.checkpoints.pending(&*self.log.lock().await, has_added);
        if let Some(checkpoint) = pending {
            checkpoint.write(&self.store, &self.layout).await;
        }
    }

    fn manifest(&self, state: &LogState, staged: &StagedManifest) -> Manifest {
        let makes_dead = !staged.removes.is_empty() || !staged.fences.is_empty();
        let keeps = makes_dead && !self.options.keep_removed.is_zero();
        let kept_seconds = i64::try_from(self.options.keep_removed.as_secs()).unwrap_or(i64::MAX);
        Manifest {
            format: FormatVersion::LAKE,
            contract: self.options.contract,
            number: state.next_number(),
            id: staged.id,
            run: self.options.run,
            account: self.options.binding.clone(),
            writer: concat!("wdt-lake ", env!("CARGO_PKG_VERSION")).to_owned(),
            created_at: staged.created_at,
            previous: state.newest(),
            wanted_from: self.options.wanted_from,
            walk: staged.walk.clone(),
            commits: staged.commits.clone(),
            removes: staged.removes.clone(),
            keep_until: keeps.then(|| staged.created_at.plus_seconds(kept_seconds)),
            fences: staged.fences.clone(),
            intent: staged.intent.clone(),
        }
    }

    pub(crate) async fn with_state<T>(&self, look: impl FnOnce(&LogState) -> T) -> T {
        look(&*self.log.lock().await)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn log(&self) -> &Mutex<LogState> {
        &self.log
    }

    pub(crate) fn names(&self) -> ManifestNames {
        self.names
    }

    fn end(&self) -> LogEnd<'_> {
        LogEnd { store: &self.store, layout: &self.layout, names: self.names, patience: self.patience }
    }

    pub(crate) fn now(&self) -> BeijingTime {
        self.options.clock.now()
    }

    /// Until when the objects of what a manifest of this run has removed are kept.
    pub(crate) async fn kept_until(&self, committed: &Committed) -> Option<BeijingTime> {
        let log = self.log.lock().await;
        committed.removed.iter().filter_map(|id| log.keep_until(*id)).max()
    }

    /// When this run has swept, if it has.
    pub(crate) fn swept_at(&self) -> Option<BeijingTime> {
        self.swept_at.get().copied()
    }

    /// Notes that this run has swept at `now`.
    pub(super) fn note_swept(&self, now: BeijingTime) {
        let _ = self.swept_at.set(now);
    }

    /// Whether something of this run may lie there that no longer counts, or does not yet.
    pub(crate) async fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed) || self.log.lock().await.has_pins()
    }

    pub(crate) fn run(&self) -> RunId {
        self.options.run
    }
}

fn single_only(store: &Store, layout: &Layout) -> Error {
    Error::new(ErrorClass::SingleWriterLog, "this log is written by a single writer")
        .with("log", store.uri(&layout.manifest_root()))
        .hint("go on with `--single-writer`, one run at a time; a log that several may write is begun in a new lake")
}

fn bound_elsewhere(bound: &Binding, wanted: &Binding) -> Error {
    Error::new(ErrorClass::AccountOfOthers, "this lake holds another account under the same name")
        .with("wanted", format!("{} ({}) at {}", wanted.sid, wanted.edition, wanted.host))
        .with("bound", format!("{} ({}) at {}", bound.sid, bound.edition, bound.host))
        .with("account", &bound.name)
        .hint("give this account a name of its own (WDT_ACCOUNT, or `name` in wdt-lake.toml), or use another lake")
}
