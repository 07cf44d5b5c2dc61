//! A lake rebuilt from the answers that another one has kept: the same windows walked again, with the same proofs.

use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument as _;

use super::super::accounts::page_memory;
use super::super::lease_session::LeaseSession;
use super::super::replace::drop_extra_rows;
use super::super::spill::{BufferedPage, SpillBuffer};
use super::super::window_task::recorded;
use super::super::{Gap, Tried, parts};
use super::kept::Kept;
use super::{ReplayOptions, ReplayReport, under_lease};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::Limits;
use crate::extract::pages::Pages as _;
use crate::extract::walk::Walker;
use crate::extract::whole::{AtInterrupt, Whole, walk_whole};
use crate::id::{CommitId, RunId};
use crate::land::{CommitOutcome, NewCommit, Quarantine, Raw, Writer, WriterOptions};
use crate::log::{CommitKind, Lake, LiveCommit, RawEntry};
use crate::parquet::TableSpec;
use crate::proof::Proof;
use crate::store::Store;
use crate::time::{Clock, Window};
use crate::transform::{Assembly, PageDecoder, contract_version, table_specs};
use crate::worker::blocking;

/// What to do about a window that cannot be rebuilt.
const SYNC: &str = "`wdt-lake sync` into the new lake walks the window again";

/// Lands in `store` every window of `from` whose answers were kept, with the same coverage and proofs. A window that
/// `store` covers already is left as it is, so that a replay which was cut short can be run again.
///
/// # Errors
/// [`ErrorKind::Usage`] when `from` was never synced; whatever stops the run. Windows that cannot be rebuilt are part
/// of the report.
pub(crate) async fn replay_lake(
    from: &Lake,
    store: Store,
    options: &ReplayOptions,
    clock: Arc<dyn Clock>,
) -> Result<ReplayReport> {
    let run = RunId::generate();
    let span = tracing::error_span!("run", account = %from.account(), %run);
    Box::pin(replay_lake_as(run, from, store, options, clock)).instrument(span).await
}

async fn replay_lake_as(
    run: RunId,
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
    let mut report = ReplayReport::new(run);
    let edition = binding.edition;
    let (contract, wanted_from) = (contract_version()?, from.state().start());
    let writer_options = WriterOptions { binding, run, wanted_from, contract, clock: Arc::clone(&clock) };
    let writer = Writer::open(store.clone(), writer_options).await?;
    let rebuild = Rebuild {
        from,
        writer: &writer,
        decoder: PageDecoder::new(edition, run)?,
        spill: SpillBuffer::new(memory_bytes),
        specs: table_specs()?,
    };
    let work = rebuild.all_windows(&mut report);
    let session = LeaseSession { store, account: from.account().clone(), run, clock };
    Box::pin(under_lease(&writer, session, options.wait, work)).await?;
    Ok(report.after(began))
}

/// One lake while it is rebuilt.
struct Rebuild<'a> {
    from: &'a Lake,
    writer: &'a Writer,
    decoder: PageDecoder,
    spill: Arc<SpillBuffer>,
    specs: [Arc<TableSpec>; 2],
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
            let span = tracing::error_span!("window", %window);
            match self.one(window, live, report).instrument(span).await {
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
            return Err(Error::new(ErrorKind::Incomplete, "no raw responses of the window were kept"));
        };
        self.check_nothing_was_carried(live).await?;
        let raw = self.load(entry).await?;
        let (packed, decoder, spill) = (raw.packed.clone(), self.decoder.clone(), Arc::clone(&self.spill));
        let kept = blocking(move || Kept::read(&packed, &decoder, &spill)).await?;
        report.pages += raw.answers;
        report.json_bytes += kept.json_bytes();
        let whole = walk(&kept, window).await?;
        drop(kept);
        // A version that came with two walks counts once.
        let is_joined = whole.proofs.len() > 1 || live.kind == CommitKind::Refresh;
        self.land(window, whole, is_joined, raw, report).await
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
                format!("{carried} rows were carried over from earlier commits, whose raw responses are gone"),
            ));
        }
        Ok(())
    }

    async fn land(
        &self,
        window: Window,
        whole: Whole<BufferedPage>,
        is_joined: bool,
        raw: Raw,
        report: &mut ReplayReport,
    ) -> Result<()> {
        let Whole { pages, mut selected, proofs, .. } = whole;
        let (decoder, memory_bytes, specs) = (self.decoder.clone(), self.spill.limit_bytes(), self.specs.clone());
        let (assembly, files, extra) = blocking(move || {
            let extra = drop_extra_rows(&pages, &mut selected);
            let pages: Arc<[BufferedPage]> = pages.into();
            let assembly = Assembly::new(Arc::clone(&pages), &selected)?;
            let files = parts::cut(&assembly, &pages, &selected, &decoder, memory_bytes, &specs)?;
            Ok((assembly, files, extra))
        })
        .await?;
        let quarantined = assembly.quarantined();
        let mut proof = Proof::of_pieces(proofs);
        if is_joined {
            proof.distinct_rows = (assembly.header_rows() + quarantined.len()) as u64 + extra;
        }
        let new = NewCommit {
            kind: CommitKind::Replay,
            window: Some(window),
            removes: Vec::new(),
            files,
            quarantine: Quarantine::of_lines(quarantined.iter().map(|record| record.to_json_line())),
            raw: Some(raw),
            proof: Some(recorded(proof, assembly.header_rows(), quarantined.len())),
        };
        match self.writer.land(new).await? {
            CommitOutcome::Committed(committed) => {
                report.count(&committed);
                report.unreadable_times += assembly.remarks().unreadable_times;
            }
            CommitOutcome::Dropped(conflict) => {
                return Err(Error::new(ErrorKind::Conflict, "cannot commit the window")
                    .because(conflict)
                    .hint("run again: what the lake holds by then is left as it is"));
            }
        }
        Ok(())
    }
}

/// Walks what the commit of `window` was made of. It may have been a part of a larger window, whose responses are all
/// there; or several walks, one after the other, when a refresh had to cut it.
async fn walk(kept: &Kept, window: Window) -> Result<Whole<BufferedPage>> {
    // All pages of a pass are asked for at once: they are given in the order in which they came then.
    let limits = Limits { concurrency: u32::MAX, ..Limits::default() };
    let walker = Walker::new(kept, kept.page_size(), limits, kept.ended().clone());
    let walk = async |piece, budget: &_| Ok(walker.walk(piece, budget).await);
    let whole = walk_whole(kept.window(), window, kept.extra_seconds(), AtInterrupt::GoOn, walk).await?;
    if !whole.proved.gaps(window).is_empty() {
        return Err(Error::new(ErrorKind::Incomplete, "the raw responses do not prove the window any more"));
    }
    Ok(whole)
}
