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

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::stage::{CommitOutcome, Committed, NewCommit, NewFile, Quarantine, Raw, StagedCommit, WrittenFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::FormatVersion;
use crate::id::{CommitId, RunId};
use crate::log::append::{AppendOutcome, LogEnd, Patience};
use crate::log::checkpoint::CheckpointPolicy;
use crate::log::layout;
use crate::log::read::{self, ManifestNames};
use crate::log::state::CommitRequest;
use crate::log::{
    Binding, CommitKind, Conflict, FileEntry, Lake, Layout, LiveCommit, LogState, Manifest, QuarantineEntry, RawEntry,
    Sha256, Table,
};
use crate::parquet::{EncodedFile, FileOrigin, encode};
use crate::proof::Proof;
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
    patience: Patience,
    encoder: Worker,
}

impl Writer {
    /// Opens the log of an account to write. It changes nothing yet; call [`Writer::sweep`] before the first commit.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the account's name is bound to another account of the ERP, [`ErrorKind::Lake`] when
    /// the store does not answer, cannot create conditionally although several may write, or a newer program has
    /// written the lake, [`ErrorKind::Conflict`] when two single writers have written at once,
    /// [`ErrorKind::Defect`] when the log breaks its rules.
    pub(crate) async fn open(store: Store, options: WriterOptions) -> Result<Self> {
        Self::encoding_on(Worker::start("encoder")?, store, options).await
    }

    /// The same, with a thread for its files that others may share.
    pub(crate) async fn encoding_on(encoder: Worker, store: Store, options: WriterOptions) -> Result<Self> {
        let layout = Layout::new(options.binding.name.clone());
        let read::OpenedLog { state, names: read, checkpoint } = read::open(&store, &layout).await?;
        state.writable()?;
        let names = match (store.writers(), read) {
            (Writers::Single, _) => ManifestNames::WithCommit,
            (Writers::Many, ManifestNames::Plain) => ManifestNames::Plain,
            (Writers::Many, ManifestNames::WithCommit) => return Err(single_only(&store, &layout)),
        };
        if let Some(bound) = state.binding().filter(|bound| **bound != options.binding) {
            return Err(bound_elsewhere(bound, &options.binding));
        }
        capability::check(&store, &|what| layout::probe(options.run, what)).await?;
        Ok(Self {
            store,
            layout,
            options,
            log: Mutex::new(state),
            names,
            checkpoints: CheckpointPolicy::since(checkpoint),
            patience: Patience::DEFAULT,
            encoder,
        })
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

    /// Encodes and writes everything of a commit, then commits it. When this is cancelled or fails, nothing counts or
    /// all of it does, and what does not is left to the next sweep.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] when the store does not answer, [`ErrorKind::Internal`] when the rows do not fit their
    /// table.
    pub(crate) async fn land(&self, mut new: NewCommit) -> Result<CommitOutcome> {
        // The details of a part before its headers: whoever sees a header by a glob sees its details too.
        new.files.sort_by_key(|file| (file.part, Reverse(file.spec.table)));
        let mut staged = self.begin(new.kind, new.window, new.removes);
        let written = async {
            let files = self.write_files(&staged, new.files).await?;
            let quarantine = match new.quarantine {
                Some(quarantine) => self.write_quarantine(&staged, quarantine).await?,
                None => None,
            };
            let raw = match new.raw {
                Some(raw) => Some(self.write_raw(&staged, raw).await?),
                None => None,
            };
            Ok::<_, Error>((files, quarantine, raw))
        };
        match written.await {
            Ok((files, quarantine, raw)) => {
                files.into_iter().for_each(|(table, file)| staged.add(table, file));
                staged.quarantine = quarantine;
                staged.raw = raw;
                self.commit(staged, new.proof).await
            }
            Err(error) => self.dropped_by_a_sweep(staged.commit, error).await,
        }
    }

    /// Writes the files one after the other: a file stands before the next one begins to. The next one is encoded
    /// meanwhile.
    async fn write_files(&self, staged: &StagedCommit, files: Vec<NewFile>) -> Result<Vec<(Table, WrittenFile)>> {
        let mut written = Vec::new();
        let mut files = files.into_iter();
        let mut next = match files.next() {
            Some(file) => self.encode_file(staged, file).await?,
            None => return Ok(written),
        };
        loop {
            let put = async {
                match next.take() {
                    Some((table, path, file)) => {
                        Ok::<_, Error>(Some((table, self.put_file(staged.commit, table, path, file).await?)))
                    }
                    None => Ok(None),
                }
            };
            let Some(file) = files.next() else {
                written.extend(put.await?);
                return Ok(written);
            };
            let (put, encoded) = tokio::try_join!(put, self.encode_file(staged, file))?;
            written.extend(put);
            next = encoded;
        }
    }

    /// What became of a commit whose files could not be written. A sweep that took this run for dead deletes what it
    /// half wrote: that is not a broken disk, and committing again helps.
    pub(crate) async fn dropped_by_a_sweep(&self, commit: CommitId, error: Error) -> Result<CommitOutcome> {
        let is_fenced = async || self.log.lock().await.standing(commit) == Some(crate::log::state::Standing::Fenced);
        if self.follow().await.is_err() || !is_fenced().await {
            return Err(error);
        }
        tracing::debug!(%commit, %error, "a fenced commit lost its files");
        Ok(CommitOutcome::Dropped(Conflict::Fenced))
    }

    /// Begins a commit under a new id.
    pub(crate) fn begin(&self, kind: CommitKind, window: Option<Window>, removes: Vec<CommitId>) -> StagedCommit {
        StagedCommit {
            commit: CommitId::generate(),
            kind,
            created_at: self.options.clock.now(),
            window,
            removes,
            fences: Vec::new(),
            files: Vec::new(),
            sums: BTreeMap::new(),
            quarantine: None,
            raw: None,
            intent: None,
            results: Vec::new(),
        }
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
            match self.commit(self.begin(CommitKind::Start, None, Vec::new()), None).await? {
                // A sweep that took this run for dead; there is no file that it could have seen, so this does not go on
                // for long.
                CommitOutcome::Committed(_) | CommitOutcome::Dropped(Conflict::Fenced) => {}
                CommitOutcome::Dropped(conflict) => {
                    return Err(Error::new(ErrorKind::Conflict, "cannot commit the start of the wanted range")
                        .because(conflict));
                }
            }
        }
        Ok(())
    }

    /// Encodes rows and writes them as one file of the staged commit; no rows, no file.
    ///
    /// # Errors
    /// As [`Writer::land`].
    pub(crate) async fn write(&self, staged: &mut StagedCommit, file: NewFile) -> Result<()> {
        if let Some((table, path, file)) = self.encode_file(staged, file).await? {
            let file = self.put_file(staged.commit, table, path, file).await?;
            staged.add(table, file);
        }
        Ok(())
    }

    /// Writes the quarantined records of the staged commit, all of them at once; no records, no file.
    ///
    /// # Errors
    /// As [`Writer::land`].
    pub(crate) async fn quarantine(&self, staged: &mut StagedCommit, quarantine: Quarantine) -> Result<()> {
        staged.quarantine = self.write_quarantine(staged, quarantine).await?;
        Ok(())
    }

    /// Makes a staged commit count, or drops it. See the module documentation.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] when the store does not answer: whether the staged commit counts is then unknown, and the
    /// next run finds out. [`ErrorKind::Usage`] when the account's name was bound to another account of the ERP in
    /// the meantime.
    pub(crate) async fn commit(&self, staged: StagedCommit, proof: Option<Proof>) -> Result<CommitOutcome> {
        self.store.point("commit.files_written").await?;
        let (appended, checkpoint) = {
            let mut state = self.log.lock().await;
            let appended = self.append(&mut state, &staged, proof).await?;
            let checkpoint = appended.is_ok().then(|| self.checkpoints.pending(&state)).flatten();
            (appended, checkpoint)
        };
        match appended {
            Ok((number, removed)) => {
                self.store.point("commit.created").await?;
                let undeleted = self.delete_removed(&removed).await;
                self.store.point("commit.done").await?;
                if let Some(checkpoint) = checkpoint {
                    checkpoint.write(&self.store, &self.layout).await;
                }
                let StagedCommit { commit, kind, window, files, sums, quarantine, .. } = staged;
                let committed = Committed { number, commit, kind, window, files, sums, quarantine, undeleted };
                Ok(CommitOutcome::Committed(committed))
            }
            Err(conflict) => {
                let dropped = self.delete_quietly(staged.paths()).await;
                tracing::debug!(commit = %staged.commit, %conflict, left = dropped.len(), "a commit was dropped");
                match conflict {
                    Conflict::OtherAccount { bound } => Err(bound_elsewhere(&bound, &self.options.binding)),
                    conflict => Ok(CommitOutcome::Dropped(conflict)),
                }
            }
        }
    }

    /// Appends the staged commit's manifest to the log; gives its number and the commits that it removed, or why it may
    /// not follow.
    async fn append(
        &self,
        state: &mut LogState,
        staged: &StagedCommit,
        proof: Option<Proof>,
    ) -> Result<std::result::Result<(u64, Vec<LiveCommit>), Conflict>> {
        let request = CommitRequest {
            commit: staged.commit,
            account: &self.options.binding,
            window: staged.window,
            removes: &staged.removes,
            fences: &staged.fences,
            intent: staged.intent.as_ref(),
            results: &staged.results,
        };
        loop {
            state.writable()?;
            if let Err(conflict) = state.check(request) {
                return Ok(Err(conflict));
            }
            let manifest = self.manifest(state, staged, proof.clone());
            match self.end().append(manifest).await? {
                AppendOutcome::Ours(manifest, sha256) => {
                    let removed = state.apply(&manifest, sha256)?;
                    return Ok(Ok((manifest.number, removed)));
                }
                AppendOutcome::Other(manifest, sha256) => {
                    state.apply(&manifest, sha256)?;
                }
            }
        }
    }

    fn manifest(&self, state: &LogState, staged: &StagedCommit, proof: Option<Proof>) -> Manifest {
        Manifest {
            format: FormatVersion::LAKE,
            contract: self.options.contract,
            number: state.next_number(),
            commit: staged.commit,
            run: self.options.run,
            kind: staged.kind,
            account: self.options.binding.clone(),
            writer: concat!("wdt-lake ", env!("CARGO_PKG_VERSION")).to_owned(),
            created_at: staged.created_at,
            previous: state.newest(),
            wanted_from: self.options.wanted_from,
            window: staged.window,
            proof,
            removes: staged.removes.clone(),
            fences: staged.fences.clone(),
            files: staged.files.clone(),
            quarantine: staged.quarantine.clone(),
            raw: staged.raw.clone(),
            intent: staged.intent.clone(),
            results: staged.results.clone(),
        }
    }

    /// The bytes of a file, and where it goes; none without rows.
    async fn encode_file(&self, staged: &StagedCommit, file: NewFile) -> Result<Option<(Table, String, EncodedFile)>> {
        let NewFile { spec, span, part, rows } = file;
        let table = spec.table;
        let path = match (table, span.or(staged.window)) {
            (Table::StopReference, _) => Some(self.layout.stop_reference(staged.commit)),
            (_, Some(span)) => self.layout.data(table, span, staged.commit, part),
            (_, None) => None,
        };
        let path = path.ok_or_else(|| Error::internal("a file's span is not within one month").with("table", table))?;
        let origin = FileOrigin {
            account: self.layout.account().clone(),
            commit: staged.commit,
            contract: self.options.contract,
            span: span.or(staged.window),
        };
        let encoded = self.encoder.run(move || encode(&spec, rows, &origin)).await?;
        Ok(encoded.map(|file| (table, path, file)))
    }

    async fn put_file(&self, commit: CommitId, table: Table, path: String, file: EncodedFile) -> Result<WrittenFile> {
        let EncodedFile { bytes, rows, sha256, min_modified, max_modified, sum } = file;
        let size = bytes.len() as u64;
        self.store.put_unique(&path, bytes, &self.layout.staging(commit)).await?;
        self.store.point("land.file_written").await?;
        let table = table.name().to_owned();
        let entry = FileEntry { table, path, bytes: size, sha256, rows, min_modified, max_modified };
        Ok(WrittenFile { entry, sum })
    }

    async fn write_quarantine(&self, staged: &StagedCommit, quarantine: Quarantine) -> Result<Option<QuarantineEntry>> {
        let Quarantine { lines, rows } = quarantine;
        if rows == 0 {
            return Ok(None);
        }
        let path = self.layout.quarantine(staged.commit);
        let entry = QuarantineEntry { path, bytes: lines.len() as u64, sha256: Sha256::of(&lines), rows };
        self.store.put_unique(&entry.path, lines, &self.layout.staging(staged.commit)).await?;
        self.store.point("land.file_written").await?;
        Ok(Some(entry))
    }

    async fn write_raw(&self, staged: &StagedCommit, Raw { packed, answers }: Raw) -> Result<RawEntry> {
        let path = self.layout.raw(staged.commit);
        let entry = RawEntry { path, bytes: packed.len() as u64, sha256: Sha256::of(&packed), answers };
        self.store.put_unique(&entry.path, packed, &self.layout.staging(staged.commit)).await?;
        self.store.point("land.file_written").await?;
        Ok(entry)
    }

    /// Puts an already encoded file and adds it to the staged commit: the model test needs no Parquet.
    #[cfg(test)]
    pub(crate) async fn write_encoded(&self, staged: &mut StagedCommit, table: Table, file: EncodedFile) -> Result<()> {
        let path = match table {
            Table::StopReference => Some(self.layout.stop_reference(staged.commit)),
            _ => staged.window.and_then(|window| self.layout.data(table, window, staged.commit, None)),
        };
        let path = path.ok_or_else(|| Error::internal("no window"))?;
        let file = self.put_file(staged.commit, table, path, file).await?;
        staged.add(table, file);
        Ok(())
    }

    async fn delete_removed(&self, removed: &[LiveCommit]) -> Vec<String> {
        self.delete_quietly(removed.iter().flat_map(LiveCommit::paths)).await
    }

    /// Deletes what no longer counts. What cannot be deleted now is harmless and is left to the next sweep.
    async fn delete_quietly<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut left = Vec::new();
        for path in paths {
            let deleted = async {
                self.store.delete(path).await?;
                self.store.point("commit.removed_one").await
            };
            if let Err(error) = deleted.await {
                tracing::warn!(object = path, %error, "an object that no longer counts could not be deleted yet");
                left.push(path.to_owned());
            }
        }
        left
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

    pub(crate) fn run(&self) -> RunId {
        self.options.run
    }
}

fn single_only(store: &Store, layout: &Layout) -> Error {
    Error::new(ErrorKind::Lake, "this log is written by a single writer")
        .with("log", store.uri(&layout.manifest_root()))
        .hint("go on with `--single-writer`, one run at a time; a log that several may write is begun in a new lake")
}

fn bound_elsewhere(bound: &Binding, wanted: &Binding) -> Error {
    Error::usage("this lake holds another account under the same name")
        .with("wanted", format!("{} ({}) at {}", wanted.sid, wanted.edition, wanted.host))
        .with("bound", format!("{} ({}) at {}", bound.sid, bound.edition, bound.host))
        .with("account", &bound.name)
        .hint("give this account a name of its own (WDT_ACCOUNT, or `name` in wdt-lake.toml), or use another lake")
}
