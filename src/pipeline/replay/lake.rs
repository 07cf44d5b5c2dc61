//! A lake rebuilt from the answers that another one has kept: the same windows walked again, with the same proofs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::Instrument as _;

use super::super::accounts::page_memory;
use super::super::lease_session::LeaseSession;
use super::super::publish::Publication;
use super::super::replace::drop_extra_rows;
use super::super::spill::{BufferedPage, SpillBuffer};
use super::super::window_task::recorded;
use super::super::{Gap, Tried, no_merge, parts};
use super::kept::Kept;
use super::{ReplayOptions, ReplayReport, under_lease};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::extract::budget::Limits;
use crate::extract::pages::{PageRows as _, Pages as _};
use crate::extract::walk::Walker;
use crate::extract::whole::{AtInterrupt, Whole, walk_whole};
use crate::id::{CommitId, RunId};
use crate::land::{CommitOutcome, NewCommit, NewManifest, Quarantine, Raw, Writer, WriterOptions};
use crate::log::{CommitKind, Lake, LiveCommit, RawEntry, Walk};
use crate::parquet::TableSpec;
use crate::proof::Proof;
use crate::requisition::Identity;
use crate::store::Store;
use crate::text::{key, text};
use crate::time::{Clock, Coverage, Window};
use crate::transform::{Assembly, PageDecoder, contract_version, table_specs};
use crate::worker::blocking;

/// What to do about a window that cannot be rebuilt.
const SYNC: &str = key!("`wdt-lake sync` into the new lake walks the window again");

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
        Error::new(ErrorClass::AccountNotInLake, "the lake to replay from has nothing of this account")
            .with("account", from.account())
    })?;
    let mut report = ReplayReport::new(run);
    let edition = binding.edition;
    let (contract, wanted_from) = (contract_version()?, from.state().start());
    let keep_removed = Duration::ZERO;
    let writer_options = WriterOptions {
        binding,
        run,
        wanted_from,
        contract,
        compression: options.compression,
        keep_removed,
        merge: no_merge(),
        watcher: Publication::of(run, Arc::clone(&clock))?,
        clock: Arc::clone(&clock),
    };
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
                .push(text!("the lake holds page files, which are replayed by `--pages`: they were passed over"));
        }
        if self.from.state().expired().is_some() {
            report.warnings.push(
                text!("months of the lake have expired: what is left of them was passed over, and the new lake does not cover them"),
            );
        }
        for (window, commit, live) in commits {
            let parts = parts_of(window, &live.raw);
            let kept: Coverage = parts.iter().map(|part| part.window).collect();
            for window in kept.gaps(window) {
                if !self.writer.view().await.coverage().gaps(window).is_empty() {
                    let error = Error::new(ErrorClass::RawMissing, "no raw responses of the window were kept");
                    self.give_up(window, commit, error, report);
                }
            }
            for part in parts {
                let window = part.window;
                let missing = self.writer.view().await.coverage().gaps(window);
                if missing.is_empty() {
                    continue;
                }
                if missing != [window] {
                    let error = Error::new(ErrorClass::RawMissing, "the new lake covers a part of the window already");
                    self.give_up(window, commit, error, report);
                    continue;
                }
                let span = tracing::error_span!("window", %window);
                match self.one(part, live.kind, report).instrument(span).await {
                    Ok(()) => {}
                    // Of the other windows nothing is wrong.
                    Err(error) if matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::Defect) => {
                        self.give_up(window, commit, error, report);
                    }
                    Err(error) => return Err(error.with("commit", commit).with("window", window)),
                }
            }
        }
        Ok(())
    }

    /// A window that cannot be rebuilt stays a gap.
    fn give_up(&self, window: Window, commit: CommitId, error: Error, report: &mut ReplayReport) {
        // The command says it at its end, with all the others.
        tracing::debug!(%window, %commit, %error, "the window stays a gap");
        let error = error.with("commit", commit).with("window", window).hint(SYNC);
        report.gaps.push(Gap { window, error, tried: Tried::Yes });
    }

    async fn one(&self, part: RawPart<'_>, kind: CommitKind, report: &mut ReplayReport) -> Result<()> {
        let RawPart { window, entries } = part;
        let (mut wholes, mut packed) = (Vec::new(), Vec::new());
        for entry in &entries {
            let bytes = self.from.read(*entry).await?;
            let (of, decoder, spill) = (bytes.clone(), self.decoder.clone(), Arc::clone(&self.spill));
            let kept = blocking(move || Kept::read(&of, &decoder, &spill)).await?;
            report.pages += entry.responses;
            report.json_bytes += kept.json_bytes();
            wholes.push(walk(&kept, entry.window).await?);
            packed.extend_from_slice(&bytes);
        }
        // A version that came with two walks counts once.
        let is_joined =
            entries.len() > 1 || wholes.iter().any(|whole| whole.proofs.len() > 1) || kind == CommitKind::Refresh;
        let responses = entries.iter().map(|entry| entry.responses).sum();
        let raw = Raw { packed: Bytes::from(packed), responses, window };
        self.land(window, joined(wholes, window), is_joined, raw, report).await
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
        let proof = recorded(proof, assembly.header_rows(), quarantined.len());
        let commit = NewCommit {
            files,
            quarantine: Quarantine::of_lines(quarantined.iter().map(|record| record.to_json_line())),
            ..NewCommit::of(CommitKind::Replay, Some(window))
        };
        let walk = Some(Walk { window, proof });
        let new = NewManifest { walk, commits: vec![commit], removes: Vec::new(), raw: Some(raw) };
        match self.writer.land(new).await? {
            CommitOutcome::Committed(committed) => {
                report.count(&committed);
                report.unreadable_times += assembly.remarks().unreadable_times;
            }
            CommitOutcome::Dropped(conflict) => {
                return Err(Error::new(ErrorClass::WroteAtOnce, "cannot commit the window")
                    .because(conflict.text())
                    .hint("run again: what the lake holds by then is left as it is"));
            }
        }
        Ok(())
    }
}

/// Seconds of a commit that its raw responses prove together.
struct RawPart<'a> {
    window: Window,
    /// The responses, in the order in which they came.
    entries: Vec<&'a RawEntry>,
}

/// The parts of a commit's window that can be rebuilt one by one: responses of walks that shared seconds belong
/// together, because the later ones may have brought newer readings of what the earlier ones brought.
fn parts_of(window: Window, raw: &[RawEntry]) -> Vec<RawPart<'_>> {
    let mut parts: Vec<RawPart<'_>> = Vec::new();
    for entry in raw {
        let Some(own) = entry.window.intersect(window) else { continue };
        let (joined, mut apart): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| part.window.intersect(own).is_some());
        let hull = joined.iter().fold(own, |hull, part| hull.hull(part.window));
        let entries = joined.into_iter().flat_map(|part| part.entries).chain([entry]).collect();
        apart.push(RawPart { window: hull, entries });
        parts = apart;
    }
    parts.sort_unstable_by_key(|part| part.window);
    parts
}

/// What several walks have given, one after the other, as far as it lies in `window`: of a version the last reading.
fn joined(wholes: Vec<Whole<BufferedPage>>, window: Window) -> Whole<BufferedPage> {
    let mut all = Whole {
        pages: Vec::new(),
        selected: Vec::new(),
        proofs: Vec::new(),
        proved: Coverage::default(),
        is_interrupted: false,
    };
    let is_alone = wholes.len() == 1;
    let mut readings: HashMap<Identity, (usize, usize)> = HashMap::new();
    for whole in wholes {
        let first = all.pages.len();
        all.pages.extend(whole.pages);
        all.proofs.extend(whole.proofs);
        let own = whole.selected.into_iter().map(|(page, row)| (first + page, row));
        if is_alone {
            all.selected.extend(own);
            break;
        }
        for (page, row) in own {
            let key = &all.pages[page].rows()[row];
            if key.modified.is_none_or(|modified| window.contains(modified)) {
                readings.insert(key.identity.clone(), (page, row));
            }
        }
    }
    all.selected.extend(readings.into_values());
    all.selected.sort_unstable();
    all
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
        return Err(Error::new(ErrorClass::RawMissing, "the raw responses do not prove the window any more"));
    }
    Ok(whole)
}
