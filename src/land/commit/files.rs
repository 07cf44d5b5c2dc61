//! The files of a staged manifest: encoded or merged, then put under names that nothing else has.

use std::sync::Arc;

use super::Writer;
use crate::error::{Error, Result};
use crate::id::CommitId;
use crate::land::stage::{NewFile, NewRows, Quarantine, Raw, StagedManifest, WrittenFile};
use crate::log::object;
use crate::log::{FileEntry, QuarantineEntry, RawEntry, Sha256, Table};
use crate::parquet::{EncodedFile, FileOrigin, MergeInput, MergeLimits, SpooledFile, encode, merge};
use crate::time::Window;

/// How many files whose rows are carried are open at once. Of more, groups are put together on local disk first.
const MOST_OPEN: usize = 256;

/// A file that is encoded, and where it goes.
pub(super) struct ReadyFile {
    table: Table,
    path: String,
    file: EncodedFile,
}

impl Writer {
    /// Writes the files one after the other: a file stands before the next one begins to. The next one is encoded
    /// meanwhile.
    pub(super) async fn write_files(
        &self,
        staged: &mut StagedManifest,
        id: CommitId,
        window: Option<Window>,
        files: Vec<NewFile>,
    ) -> Result<()> {
        let mut ready = None;
        for file in files.into_iter().map(Some).chain([None]) {
            let put = async {
                match ready.take() {
                    Some(file) => Ok(Some(self.put_file(id, file).await?)),
                    None => Ok::<_, Error>(None),
                }
            };
            let encode = async {
                match file {
                    Some(file) => self.encode_file(id, window, file).await,
                    None => Ok(None),
                }
            };
            // What was put is known of even where the next file fails.
            let (put, encoded) = tokio::join!(put, encode);
            put?.into_iter().for_each(|file| staged.add(file));
            ready = encoded?;
        }
        Ok(())
    }

    /// The bytes of a file, and where it goes; none without rows.
    pub(super) async fn encode_file(
        &self,
        id: CommitId,
        window: Option<Window>,
        file: NewFile,
    ) -> Result<Option<ReadyFile>> {
        let NewFile { spec, span, part, rows: NewRows::New(rows) } = file else {
            return Err(Error::internal("carried rows are merged, not encoded"));
        };
        let table = spec.table;
        let path = self.data_path(table, span.or(window), id, part)?;
        let origin = FileOrigin {
            account: self.layout.account().clone(),
            commit: id,
            contract: self.options.contract,
            span: span.or(window),
            compression: self.options.compression,
        };
        let encoded = self.encoder.run(move || encode(&spec, rows, &origin)).await?;
        Ok(encoded.map(|file| ReadyFile { table, path, file }))
    }

    /// Merges carried rows and writes them as so many files as their size asks for; no rows, no file.
    pub(super) async fn write_carried(
        &self,
        staged: &mut StagedManifest,
        id: CommitId,
        window: Option<Window>,
        file: NewFile,
    ) -> Result<()> {
        let NewFile { spec, span, part, rows: NewRows::Carried { files, filter } } = file else {
            return Err(Error::internal("new rows are encoded, not merged"));
        };
        let (table, span) = (spec.table, span.or(window));
        let (account, contract) = (self.layout.account().clone(), self.options.contract);
        let compression = self.options.compression;
        let origin = Arc::new(FileOrigin { account, commit: id, contract, span, compression });
        // Names of outcomes of stops have no part.
        let target_bytes = if table == Table::StopReference { u64::MAX } else { self.options.merge.target_bytes };
        let limits = MergeLimits { target_bytes, ..self.options.merge };
        let merging = async |inputs, limits| {
            let (spec, origin) = (Arc::clone(&spec), Arc::clone(&origin));
            self.encoder.run(move || merge(&spec, inputs, &origin, limits)).await
        };
        let mut inputs = Vec::new();
        for group in files.chunks(MOST_OPEN) {
            let mut fetched = Vec::with_capacity(group.len());
            for file in group {
                fetched.push(MergeInput::new(object::fetch(&self.store, file.into()).await?, filter.clone()));
            }
            if files.len() > MOST_OPEN {
                let whole = merging(fetched, MergeLimits { target_bytes: u64::MAX, ..limits }).await?;
                inputs.extend(whole.into_iter().map(|merged| MergeInput::new(merged.file, None)));
            } else {
                inputs = fetched;
            }
        }
        let merged = merging(inputs, limits).await?;
        let count = merged.len();
        for (number, merged) in (part.unwrap_or(1)..).zip(merged) {
            let part = (part.is_some() || count > 1).then_some(number);
            let path = self.data_path(table, span, id, part)?;
            let SpooledFile { file, bytes, rows, sha256, min_modified, max_modified } = merged;
            self.store.put_unique_file(&path, file, &self.layout.staging(id)).await?;
            self.store.point("land.file_written").await?;
            let table_name = table.name().to_owned();
            let entry =
                FileEntry { table: table_name, path, bytes, sha256, rows, min_modified, max_modified, carried: true };
            staged.add(WrittenFile { table, commit: id, entry, sum: None });
        }
        Ok(())
    }

    fn data_path(&self, table: Table, span: Option<Window>, id: CommitId, part: Option<u32>) -> Result<String> {
        let path = match (table, span) {
            (Table::StopReference, _) => Some(self.layout.stop_reference(id)),
            (_, Some(span)) => self.layout.data(table, span, id, part),
            (_, None) => None,
        };
        path.ok_or_else(|| Error::internal("a file's span is not within one month").with("table", table))
    }

    pub(super) async fn put_file(&self, id: CommitId, ready: ReadyFile) -> Result<WrittenFile> {
        let ReadyFile { table, path, file } = ready;
        let EncodedFile { bytes, rows, sha256, min_modified, max_modified, sum } = file;
        let size = bytes.len() as u64;
        self.store.put_unique(&path, bytes, &self.layout.staging(id)).await?;
        self.store.point("land.file_written").await?;
        let name = table.name().to_owned();
        let carried = false;
        let entry = FileEntry { table: name, path, bytes: size, sha256, rows, min_modified, max_modified, carried };
        Ok(WrittenFile { table, commit: id, entry, sum })
    }

    pub(in crate::land) async fn write_quarantine(
        &self,
        id: CommitId,
        quarantine: Quarantine,
    ) -> Result<Option<QuarantineEntry>> {
        let Quarantine { lines, rows } = quarantine;
        if rows == 0 {
            return Ok(None);
        }
        let path = self.layout.quarantine(id);
        let entry = QuarantineEntry { path, bytes: lines.len() as u64, sha256: Sha256::of(&lines), rows };
        self.store.put_unique(&entry.path, lines, &self.layout.staging(id)).await?;
        self.store.point("land.file_written").await?;
        Ok(Some(entry))
    }

    pub(in crate::land) async fn write_raw(
        &self,
        id: CommitId,
        Raw { packed, responses, window }: Raw,
    ) -> Result<RawEntry> {
        let path = self.layout.raw(id);
        let entry = RawEntry { path, bytes: packed.len() as u64, sha256: Sha256::of(&packed), responses, window };
        self.store.put_unique(&entry.path, packed, &self.layout.staging(id)).await?;
        self.store.point("land.file_written").await?;
        Ok(entry)
    }

    /// Puts an already encoded file of the only commit of a staged manifest: the model test needs no Parquet.
    #[cfg(test)]
    pub(crate) async fn write_encoded(
        &self,
        staged: &mut StagedManifest,
        table: Table,
        file: EncodedFile,
    ) -> Result<()> {
        let (id, window) = (staged.commits[0].id, staged.commits[0].window);
        let path = self.data_path(table, window, id, None)?;
        let file = self.put_file(id, ReadyFile { table, path, file }).await?;
        staged.add(file);
        Ok(())
    }

    /// Puts an already encoded file of a commit of a staged manifest, new or carried.
    #[cfg(test)]
    pub(crate) async fn write_encoded_part(
        &self,
        staged: &mut StagedManifest,
        (commit, table, part): (CommitId, Table, u32),
        (span, carried): (Option<Window>, bool),
        file: EncodedFile,
    ) -> Result<()> {
        let path = self.data_path(table, span, commit, Some(part))?;
        let mut written = self.put_file(commit, ReadyFile { table, path, file }).await?;
        written.entry.carried = carried;
        staged.add(written);
        Ok(())
    }
}
