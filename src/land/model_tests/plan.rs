//! What a process would land: small manifests of every kind, made as the commands make them.

use std::collections::{BTreeMap, BTreeSet};

use super::account::WalkedPart;
use super::process::Run;
use super::rows::{EVER, MONTH, Row, Span, Version, minus, overlap, span_of, window_of};
use crate::id::CommitId;
use crate::log::{CarriedRange, CommitKind, FileEntry, Lake, LiveCommit, QuarantineEntry, RawEntry, Table};
use crate::time::Window;

/// One commit to be.
#[derive(Clone, Debug)]
pub(super) struct PlannedCommit {
    pub(super) kind: CommitKind,
    pub(super) window: Option<Span>,
    pub(super) carried: Vec<CarriedRange>,
    pub(super) expired: Vec<Window>,
    pub(super) new: Vec<Version>,
    pub(super) kept: Vec<Row>,
    /// The files in which the kept rows stand.
    pub(super) kept_files: Vec<FileEntry>,
    /// The lines of its own quarantine.
    pub(super) lines: Vec<String>,
    pub(super) kept_quarantine: Vec<QuarantineEntry>,
    pub(super) kept_raw: Vec<RawEntry>,
}

impl PlannedCommit {
    pub(super) fn of(kind: CommitKind, window: Option<Span>) -> Self {
        Self {
            kind,
            window,
            carried: vec![],
            expired: vec![],
            new: vec![],
            kept: vec![],
            kept_files: vec![],
            lines: vec![],
            kept_quarantine: vec![],
            kept_raw: vec![],
        }
    }
}

/// A manifest to be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The walk that it lands: its number, its slots, and the parts that land.
    pub(super) walk: Option<(u64, Span, Vec<WalkedPart>)>,
    pub(super) commits: Vec<PlannedCommit>,
    pub(super) removes: Vec<CommitId>,
    pub(super) has_raw: bool,
}

/// A live commit, and what it holds.
struct Old {
    span: Span,
    live: LiveCommit,
    rows: Vec<Row>,
    lines: Vec<String>,
}

fn slot_of_line(line: &str) -> i64 {
    line.split(' ').next().and_then(|slot| slot.parse().ok()).expect("a slot")
}

fn is_in(span: Span, slot: i64) -> bool {
    (span.0..=span.1).contains(&slot)
}

/// What of a walk is new, and what of the old rows stays: what was read again unchanged, was not returned, or lies
/// elsewhere.
fn merge(held: &[Row], walked: &[Version], span: Span) -> (Vec<Version>, Vec<Row>) {
    let by: BTreeMap<(u8, i64), Row> = held.iter().map(|row| (row.version.key(), *row)).collect();
    let is_new = |version: &Version| by.get(&version.key()).is_none_or(|row| row.version.content != version.content);
    let new: Vec<Version> =
        walked.iter().filter(|version| is_in(span, version.slot) && is_new(version)).copied().collect();
    let keys: BTreeSet<(u8, i64)> = new.iter().map(|version| version.key()).collect();
    (new, held.iter().filter(|row| !keys.contains(&row.version.key())).copied().collect())
}

/// The parts of a commit's window that were not walked.
fn carried(old: &Old, walked: Span) -> Vec<CarriedRange> {
    let rest = minus(&[old.span], walked);
    rest.into_iter().map(|span| CarriedRange { window: window_of(span), manifest: old.live.number }).collect()
}

fn files_of(live: &LiveCommit) -> Vec<FileEntry> {
    live.files.iter().filter(|file| file.table != Table::StopReference.name()).cloned().collect()
}

/// Of a lake, the commits with windows in the order of time.
fn windowed(lake: &Lake) -> Vec<(CommitId, Span)> {
    let live = lake.state().live().iter();
    let mut all: Vec<(CommitId, Span)> = live.filter_map(|(id, live)| Some((*id, span_of(live.window?)))).collect();
    all.sort_unstable_by_key(|(_, span)| *span);
    all
}

/// The slots that a lake's expire has let go.
fn expired(lake: &Lake) -> Vec<Span> {
    lake.state()
        .expired()
        .map(|(_, live)| live.expired.iter().map(|range| span_of(*range)).collect())
        .unwrap_or_default()
}

fn claims(lake: &Lake) -> Vec<Span> {
    windowed(lake).into_iter().map(|(_, span)| span).chain(expired(lake)).collect()
}

impl Run {
    /// The slots of an expired range are written as they are read: from the beginning of time.
    fn expired_windows(ranges: &[Span]) -> Vec<Window> {
        ranges.iter().map(|range| window_of(*range)).collect()
    }

    async fn old(&self, lake: &Lake, id: CommitId, span: Span) -> Option<Old> {
        let live = lake.state().live().get(&id)?.clone();
        let (rows, lines) = (self.rows_of(lake, &live).await?, self.lines_of(lake, &live).await?);
        Some(Old { span, live, rows, lines })
    }

    /// Missing slots to walk, mostly from the first on, each range in one month.
    pub(super) fn gaps(&self, lake: &Lake, from: i64) -> Vec<Span> {
        let now = self.world.with(|inner| inner.now);
        let claims = claims(lake);
        let mut missing: Vec<i64> =
            (from..now).filter(|slot| !claims.iter().any(|claim| is_in(*claim, *slot))).collect();
        let mut spans = Vec::new();
        for _ in 0..=self.world.below(3) {
            if missing.is_empty() {
                break;
            }
            let at = if self.world.chance(66) { 0 } else { self.world.below(missing.len() as i64) };
            let first = missing[usize::try_from(at).expect("small")];
            let mut last = first;
            while missing.contains(&(last + 1)) && (last + 1) % MONTH != 0 && self.world.chance(60) {
                last += 1;
            }
            missing.retain(|slot| !is_in((first, last), *slot));
            spans.push((first, last));
        }
        spans
    }

    /// A window that is walked for the first time.
    pub(super) fn plan_sync(&self, span: Span) -> Plan {
        let (walk, versions) = self.world.walk(self.place, span);
        let lines = if self.world.chance(40) { vec![self.line(span, walk)] } else { vec![] };
        let commit = PlannedCommit {
            new: versions.clone(),
            lines: lines.clone(),
            ..PlannedCommit::of(CommitKind::Sync, Some(span))
        };
        let part = WalkedPart { span, versions, lines, is_all: false };
        Plan {
            walk: Some((walk, span, vec![part])),
            commits: vec![commit],
            removes: vec![],
            has_raw: self.world.chance(40),
        }
    }

    /// A record of one of these slots that does not fit.
    fn line(&self, span: Span, walk: u64) -> String {
        format!("{} {walk}", span.0 + self.world.below(span.1 - span.0 + 1))
    }

    /// Each commit of which something changed gives its place to one of the same window.
    pub(super) async fn plan_refresh(&self, lake: &Lake) -> Option<Plan> {
        let now = self.world.with(|inner| inner.now);
        let first = (now - 8).max(0) + self.world.below(now.clamp(1, 8));
        let walked = (first, (first + self.world.below(6)).clamp(first, now - 1));
        self.point().await;
        let (walk, versions) = self.world.walk(self.place, walked);
        let (mut commits, mut removes, mut parts) = (vec![], vec![], vec![]);
        for (id, span) in windowed(lake).into_iter().filter(|(_, span)| overlap(*span, walked)) {
            let old = self.old(lake, id, span).await?;
            let within = (walked.0.max(span.0), walked.1.min(span.1));
            let (new, kept) = merge(&old.rows, &versions, within);
            if new.is_empty() {
                continue;
            }
            let (commit, part) = self.replaced(&old, within, (new, kept), &versions, (walk, CommitKind::Refresh));
            commits.push(commit);
            parts.push(part);
            removes.push(id);
        }
        (!commits.is_empty()).then(|| Plan {
            walk: Some((walk, walked, parts)),
            commits,
            removes,
            has_raw: self.world.chance(40),
        })
    }

    /// A commit in the place of an old one, of which `within` was walked again.
    fn replaced(
        &self,
        old: &Old,
        within: Span,
        (new, kept): (Vec<Version>, Vec<Row>),
        versions: &[Version],
        (walk, kind): (u64, CommitKind),
    ) -> (PlannedCommit, WalkedPart) {
        let fresh = if self.world.chance(30) { vec![self.line(within, walk)] } else { vec![] };
        let mut lines: Vec<String> =
            old.lines.iter().filter(|line| !is_in(within, slot_of_line(line))).cloned().collect();
        lines.extend(fresh.clone());
        let commit = PlannedCommit {
            carried: carried(old, within),
            new,
            kept,
            kept_files: files_of(&old.live),
            lines,
            kept_raw: old.live.raw.clone(),
            ..PlannedCommit::of(kind, Some(old.span))
        };
        let versions = versions.iter().filter(|version| is_in(within, version.slot)).copied().collect();
        (commit, WalkedPart { span: within, versions, lines: fresh, is_all: false })
    }

    /// Neighbours of one month in one commit.
    pub(super) async fn plan_compaction(&self, lake: &Lake) -> Option<Plan> {
        let all = windowed(lake);
        let from = usize::try_from(self.world.below((all.len() as i64 - 1).max(1))).expect("small");
        let mut run: Vec<(CommitId, Span)> = all.get(from).copied().into_iter().collect();
        for (id, span) in all.iter().skip(from + 1).take(3) {
            let last = run.last()?.1;
            if span.0 != last.1 + 1 || span.0 / MONTH != last.0 / MONTH {
                break;
            }
            run.push((*id, *span));
        }
        if run.len() < 2 {
            return None;
        }
        let window = (run.first()?.1.0, run.last()?.1.1);
        let mut commit = PlannedCommit::of(CommitKind::Compaction, Some(window));
        for (id, span) in &run {
            let old = self.old(lake, *id, *span).await?;
            commit.kept.extend(old.rows);
            commit.kept_files.extend(files_of(&old.live));
            commit.kept_quarantine.extend(old.live.quarantine);
            for raw in old.live.raw {
                if !commit.kept_raw.iter().any(|other| other.path == raw.path) {
                    commit.kept_raw.push(raw);
                }
            }
        }
        let removes = run.into_iter().map(|(id, _)| id).collect();
        Some(Plan { walk: None, commits: vec![commit], removes, has_raw: false })
    }

    /// Everything before a month goes, but the latest versions of what is open.
    pub(super) async fn plan_expire(&self, lake: &Lake) -> Option<Plan> {
        let now = self.world.with(|inner| inner.now);
        let months = now / MONTH;
        let cut = if months > 0 { (1 + self.world.below(months)) * MONTH } else { 0 };
        let before = lake.state().expired().map(|(id, live)| (id, live.clone()));
        let cut = expired(lake).into_iter().map(|range| range.1 + 1).fold(cut, i64::max);
        let victims: Vec<CommitId> =
            windowed(lake).into_iter().filter(|(_, span)| span.1 < cut).map(|(id, _)| id).collect();
        if victims.is_empty() {
            return None;
        }
        let removes: Vec<CommitId> = victims.into_iter().chain(before.map(|(id, _)| id)).collect();
        let (mut latest, mut held, mut kept_files) = (BTreeMap::<u8, Row>::new(), BTreeSet::new(), vec![]);
        for (id, live) in lake.state().live() {
            let rows = self.rows_of(lake, live).await?;
            if removes.contains(id) {
                held.extend(rows.iter().copied());
                kept_files.extend(files_of(live));
            }
            for row in rows {
                let newest = latest.entry(row.version.num).or_insert(row);
                if newest.version.slot < row.version.slot {
                    *newest = row;
                }
            }
        }
        let is_open = |row: &Row| {
            let closed = |account: &mut super::account::Account| {
                account.source.closed.contains(&(row.version.num, row.version.content))
            };
            !self.world.account(self.place, closed)
        };
        let commit = PlannedCommit {
            expired: Self::expired_windows(&[(EVER, cut - 1)]),
            kept: latest.into_values().filter(|row| held.contains(row) && is_open(row)).collect(),
            kept_files,
            ..PlannedCommit::of(CommitKind::Expire, None)
        };
        Some(Plan { walk: None, commits: vec![commit], removes, has_raw: false })
    }

    /// A part of what was expired is walked again: the expire gives it up.
    pub(super) async fn plan_rewalk(&self, lake: &Lake) -> Option<Plan> {
        let now = self.world.with(|inner| inner.now);
        let (id, live) = lake.state().expired().map(|(id, live)| (id, live.clone()))?;
        let ranges = expired(lake);
        let slots: Vec<i64> = (0..now).filter(|slot| ranges.iter().any(|range| is_in(*range, *slot))).collect();
        if slots.is_empty() {
            return None;
        }
        let first = slots[usize::try_from(self.world.below(slots.len() as i64)).expect("small")];
        let mut last = first;
        while slots.contains(&(last + 1)) && (last + 1) % MONTH != 0 && self.world.chance(70) {
            last += 1;
        }
        let span = (first, last);
        self.point().await;
        let (walk, versions) = self.world.walk(self.place, span);
        let held = self.rows_of(lake, &live).await?;
        let (inside, outside): (Vec<Row>, Vec<Row>) = held.into_iter().partition(|row| is_in(span, row.version.slot));
        let (new, kept) = merge(&inside, &versions, span);
        let lines = if self.world.chance(30) { vec![self.line(span, walk)] } else { vec![] };
        let walked = PlannedCommit {
            new,
            kept,
            kept_files: files_of(&live),
            lines: lines.clone(),
            ..PlannedCommit::of(CommitKind::Rewalk, Some(span))
        };
        let left = minus(&ranges, span);
        let rest = (!left.is_empty()).then(|| PlannedCommit {
            expired: Self::expired_windows(&left),
            kept: outside,
            kept_files: files_of(&live),
            ..PlannedCommit::of(CommitKind::Expire, None)
        });
        let part = WalkedPart { span, versions, lines, is_all: false };
        Some(Plan {
            walk: Some((walk, span, vec![part])),
            commits: std::iter::once(walked).chain(rest).collect(),
            removes: vec![id],
            has_raw: self.world.chance(40),
        })
    }

    /// Some neighbouring commits are walked again whole, and what lies between them. What is damaged is read anew.
    pub(super) async fn plan_rewalk_live(&self, lake: &Lake) -> Option<Plan> {
        let all = windowed(lake);
        let damaged = self.world.account(self.place, |account| {
            let is_damaged = |id: &CommitId| {
                let paths = account.live.get(id).map(|commit| commit.paths.clone()).unwrap_or_default();
                paths.iter().any(|path| account.damaged.contains(path))
            };
            all.iter().position(|(id, _)| is_damaged(id))
        });
        let from = damaged.map_or_else(|| self.world.below(all.len().max(1) as i64), |at| at as i64);
        let from = usize::try_from(from).expect("small");
        let chosen: Vec<(CommitId, Span)> = all.get(from..(from + 2).min(all.len()))?.to_vec();
        let span = (chosen.first()?.1.0, chosen.last()?.1.1);
        self.point().await;
        let (walk, versions) = self.world.walk(self.place, span);
        let (mut commits, mut parts, mut gaps) = (vec![], vec![], vec![span]);
        for (id, window) in &chosen {
            gaps = minus(&gaps, *window);
            let (commit, part) = if let Some(old) = self.old(lake, *id, *window).await {
                let merged = merge(&old.rows, &versions, *window);
                self.replaced(&old, *window, merged, &versions, (walk, CommitKind::Rewalk))
            } else if self.world.setup.has_damage {
                let new: Vec<Version> =
                    versions.iter().filter(|version| is_in(*window, version.slot)).copied().collect();
                let part = WalkedPart { span: *window, versions: new.clone(), lines: vec![], is_all: true };
                (PlannedCommit { new, ..PlannedCommit::of(CommitKind::Rewalk, Some(*window)) }, part)
            } else {
                return None;
            };
            commits.push(commit);
            parts.push(part);
        }
        // What lies between two of them is missing, in one month or in the next.
        for gap in gaps.iter().flat_map(|gap| months(*gap)) {
            let new: Vec<Version> = versions.iter().filter(|version| is_in(gap, version.slot)).copied().collect();
            parts.push(WalkedPart { span: gap, versions: new.clone(), lines: vec![], is_all: false });
            commits.push(PlannedCommit { new, ..PlannedCommit::of(CommitKind::Rewalk, Some(gap)) });
        }
        let removes = chosen.into_iter().map(|(id, _)| id).collect();
        Some(Plan { walk: Some((walk, span, parts)), commits, removes, has_raw: self.world.chance(40) })
    }

    /// The rows of a commit are made anew from its responses.
    pub(super) async fn plan_replay(&self, lake: &Lake) -> Option<Plan> {
        let all = windowed(lake);
        let at = usize::try_from(self.world.below(all.len().max(1) as i64)).expect("small");
        let (id, span) = *all.get(at)?;
        let old = self.old(lake, id, span).await?;
        let commit = PlannedCommit {
            new: old.rows.iter().map(|row| row.version).collect(),
            lines: old.lines.clone(),
            ..PlannedCommit::of(CommitKind::Replay, Some(span))
        };
        // Its rows are those of the walks that it replays: nothing new is due.
        Some(Plan { walk: Some((0, span, vec![])), commits: vec![commit], removes: vec![id], has_raw: false })
    }
}

/// A range of slots, cut where months end.
fn months((first, last): Span) -> Vec<Span> {
    let of = |month: i64| (first.max(month * MONTH), last.min(month * MONTH + MONTH - 1));
    (first / MONTH..=last / MONTH).map(of).collect()
}
