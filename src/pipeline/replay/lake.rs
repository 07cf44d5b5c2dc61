//! A lake rebuilt from the answers that another one has kept: the same windows walked again, with the same proofs.

use std::sync::Arc;
use std::time::Instant;

use super::super::accounts::page_memory;
use super::super::shelf::{BufferedPage, SpillBuffer};
use super::super::task::{drop_extra_rows, recorded, sharing};
use super::super::{Gap, Tried, parts};
use super::kept::Kept;
use super::{ReplayOptions, ReplayReport, under_lease};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::{Budget, Limits};
use crate::extract::walk::{Walked, Walker};
use crate::id::{CommitId, RunId};
use crate::land::{CommitOutcome, Landing, Quarantine, Raw, Writer, WriterOptions};
use crate::log::{CommitKind, Lake, LiveCommit, RawEntry};
use crate::parquet::TableSpec;
use crate::proof::Proof;
use crate::store::Store;
use crate::time::{Clock, Coverage, Window};
use crate::transform::{Assembly, PageDecoder, contract_version, table_specs};
use crate::worker::blocking;

/// What to do about a window that cannot be rebuilt.
const SYNC: &str = "`wdt-lake sync` into the new lake walks the window again";

/// Lands in `store` every window of `from` whose answers were kept, with the same coverage and proofs. A window that `store` covers already is
/// left as it is, so that a replay which was cut short can be run again.
///
/// # Errors
/// [`ErrorKind::Usage`] when `from` was never synced; whatever stops the run. Windows that cannot be rebuilt are part of the report.
pub(crate) async fn replay_lake(
    from: &Lake,
    store: Store,
    options: &ReplayOptions,
    clock: Arc<dyn Clock>,
) -> Result<ReplayReport> {
    let began = Instant::now();
    let memory_bytes = page_memory(options.max_memory)?;
    let binding = from.state().binding().cloned().ok_or_else(|| {
        Error::usage("the lake to replay from has nothing of this account").with("account", from.account())
    })?;
    let mut report = ReplayReport::new(RunId::generate());
    let (run, edition) = (report.run, binding.edition);
    let (contract, wanted_from) = (contract_version()?, from.state().start());
    let writer_options = WriterOptions { binding, run, wanted_from, contract, clock: Arc::clone(&clock) };
    let writer = Writer::open(store.clone(), writer_options).await?;
    let rebuild = Rebuild {
        from,
        writer: &writer,
        decoder: PageDecoder::new(edition, run)?,
        shelf: SpillBuffer::new(memory_bytes),
        specs: table_specs()?,
    };
    let work = rebuild.all_windows(&mut report);
    Box::pin(under_lease(&writer, store, run, clock, options.wait, work)).await?;
    Ok(report.after(began))
}

/// One lake while it is rebuilt.
struct Rebuild<'a> {
    from: &'a Lake,
    writer: &'a Writer,
    decoder: PageDecoder,
    shelf: Arc<SpillBuffer>,
    specs: [Arc<TableSpec>; 2],
}

/// A window that was walked again.
struct Rewalked {
    pages: Vec<BufferedPage>,
    selected: Vec<(usize, usize)>,
    proof: Proof,
    /// Whether its rows were joined from several walks, or as if they were: a version that came with two of them counts once.
    is_joined: bool,
}

impl Rebuild<'_> {
    async fn all_windows(&self, report: &mut ReplayReport) -> Result<()> {
        let mut commits: Vec<(Window, CommitId, &LiveCommit)> =
            self.from.state().live().iter().filter_map(|(id, live)| Some((live.window?, *id, live))).collect();
        commits.sort_unstable_by_key(|(window, ..)| *window);
        let bare =
            self.from.state().live().values().filter(|live| live.window.is_none() && live.kind == CommitKind::Replay);
        if bare.count() > 0 {
            report
                .warnings
                .push("the lake holds page files, which are replayed by `--pages`: they were passed over".to_owned());
        }
        for (window, commit, live) in commits {
            let missing = self.writer.view().await.coverage().gaps(window);
            if missing.is_empty() {
                continue;
            }
            if missing != [window] {
                let error = Error::new(ErrorKind::Incomplete, "the new lake covers a part of the window already");
                report.gaps.push(Gap {
                    window,
                    tried: Tried::Yes,
                    error: error.with("commit", commit).with("window", window).hint(SYNC),
                });
                continue;
            }
            match self.one(window, live, report).await {
                Ok(()) => {}
                // Of the other windows nothing is wrong.
                Err(error) if matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::Defect) => {
                    tracing::error!(%window, %commit, %error, "the window stays a gap");
                    let error = error.with("commit", commit).with("window", window).hint(SYNC);
                    report.gaps.push(Gap { window, error, tried: Tried::Yes });
                }
                Err(error) => return Err(error.with("commit", commit).with("window", window)),
            }
        }
        Ok(())
    }

    async fn one(&self, window: Window, live: &LiveCommit, report: &mut ReplayReport) -> Result<()> {
        let Some(entry) = &live.raw else {
            return Err(Error::new(ErrorKind::Incomplete, "no answers of the window were kept"));
        };
        self.check_nothing_was_carried(live).await?;
        let raw = self.load(entry).await?;
        let (packed, decoder, shelf) = (raw.packed.clone(), self.decoder.clone(), Arc::clone(&self.shelf));
        let kept = blocking(move || Kept::read(&packed, &decoder, &shelf)).await?;
        report.pages += raw.answers;
        report.json_bytes += kept.json_bytes();
        let mut rewalked = walk(&kept, window).await?;
        rewalked.is_joined |= live.kind == CommitKind::Refresh;
        drop(kept);
        self.land(window, rewalked, raw, report).await
    }

    async fn load(&self, entry: &RawEntry) -> Result<Raw> {
        Ok(Raw { packed: self.from.read(entry).await?, answers: entry.answers })
    }

    /// Rows that a refresh carried over came with answers that went with the commits which it removed.
    async fn check_nothing_was_carried(&self, live: &LiveCommit) -> Result<()> {
        let proof = self.from.proof(live.number).await?;
        let carried = proof.map_or(0, |proof| proof.rows_carried + proof.quarantined_carried);
        if carried > 0 {
            return Err(Error::new(
                ErrorKind::Incomplete,
                format!("{carried} rows were carried over from earlier commits, whose answers are gone"),
            ));
        }
        Ok(())
    }

    async fn land(&self, window: Window, rewalked: Rewalked, raw: Raw, report: &mut ReplayReport) -> Result<()> {
        let Rewalked { pages, mut selected, mut proof, is_joined } = rewalked;
        let (decoder, memory_bytes) = (self.decoder.clone(), self.shelf.limit_bytes());
        let (assembly, parts, extra) = blocking(move || {
            let extra = drop_extra_rows(&pages, &mut selected);
            let pages: Arc<[BufferedPage]> = pages.into();
            let assembly = Assembly::new(Arc::clone(&pages), &selected)?;
            let parts = parts::cut(&assembly, &pages, &selected, &decoder, memory_bytes)?;
            Ok((assembly, parts, extra))
        })
        .await?;
        let quarantined = assembly.quarantined();
        let lines: String = quarantined.iter().map(|record| record.to_json_line() + "\n").collect();
        let rows = quarantined.len() as u64;
        if is_joined {
            proof.distinct_rows = assembly.header_rows() as u64 + rows + extra;
        }
        let landing = Landing {
            kind: CommitKind::Replay,
            window: Some(window),
            removes: Vec::new(),
            parts: parts::files(parts, &self.specs),
            quarantine: (rows > 0).then(|| Quarantine { lines: lines.into(), rows }),
            raw: Some(raw),
            proof: Some(recorded(proof, assembly.header_rows(), quarantined.len())),
        };
        match self.writer.land(landing).await? {
            CommitOutcome::Committed(committed) => {
                report.count(&committed);
                report.unreadable_times += assembly.remarks().unreadable_times;
            }
            CommitOutcome::Dropped(refusal) => {
                return Err(Error::new(ErrorKind::Conflict, format!("the commit was dropped: {refusal}"))
                    .hint("run again: what the lake holds by then is left as it is"));
            }
        }
        Ok(())
    }
}

/// Walks what the commit of `window` was made of. It may have been a part of a larger window, whose answers are all there; or several walks, one
/// after the other, when a refresh had to cut it.
async fn walk(kept: &Kept, window: Window) -> Result<Rewalked> {
    // All pages of a pass are asked for at once: they are given in the order in which they came then.
    let limits = Limits { concurrency: u32::MAX, ..Limits::default() };
    let walker = Walker::new(kept, kept.page_size(), limits, kept.ended().clone());
    let mut todo = vec![(kept.window(), Budget::default())];
    let (mut pages, mut selected, mut proofs) = (Vec::new(), Vec::new(), Vec::new());
    let mut proved_windows = Coverage::default();
    let belongs = |piece: &Window| window.intersect(*piece) == Some(*piece);
    while let Some((piece, budget)) = todo.pop() {
        let pieces: Vec<(Window, Budget)> = match walker.walk(piece, &budget).await.walked? {
            Walked::TooLarge { pieces, .. } => {
                piece.pieces(pieces).into_iter().map(|window| (window, Budget::default())).collect()
            }
            Walked::Unproved { windows, .. } => sharing(windows, &budget),
            Walked::Interrupted(None) => Vec::new(),
            Walked::Proved(proved) | Walked::Interrupted(Some(proved)) => {
                let first_page = pages.len();
                for part in proved.parts.into_iter().filter(|part| belongs(&part.window)) {
                    selected.extend(part.selected.iter().map(|(page, row)| (first_page + page, *row)));
                    proved_windows.insert(part.window);
                    proofs.push(part.proof);
                }
                pages.extend(proved.pages);
                sharing(proved.again, &budget)
            }
        };
        todo.extend(pieces.into_iter().filter(|(piece, _)| belongs(piece)));
    }
    if !proved_windows.gaps(window).is_empty() {
        return Err(Error::new(ErrorKind::Incomplete, "the kept answers do not prove the window any more"));
    }
    let is_joined = proofs.len() > 1;
    Ok(Rewalked { pages, selected, proof: Proof::of_pieces(proofs), is_joined })
}
