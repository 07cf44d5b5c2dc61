//! Which commits are worth to be put together. Pure.
//!
//! A log that is fed every few minutes holds many small commits. They are put together by tiers: a commit that was
//! landed weighs one, one that others were put together in weighs as many as they. Of adjacent commits in one tier, 32
//! become one of the next. So each row is written once a tier, and few files lie in each. What ends within the newest
//! hours is left alone, because lookbacks change it still. A month that is over for a day is put together as a whole.

use std::collections::BTreeMap;

use crate::id::CommitId;
use crate::log::{CommitKind, LiveCommit, Table};
use crate::time::{BeijingTime, Month, Window};

/// How many commits of a tier become one of the next.
const FAN_IN: u64 = 32;
/// A month that is over is put together when it holds more commits than this.
const LEFT_IN_A_MONTH: usize = 4;
/// How many files of a table are merged at most: each of them is open meanwhile.
const MOST_FILES: usize = 256;
/// How long a month is over before nothing more is expected of it.
const OVER_SECONDS: i64 = 86_400;

/// What is compacted now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactionPolicy {
    /// The time of the machine.
    pub now: BeijingTime,
    /// What ends within so many seconds before is left alone.
    pub quiet_seconds: i64,
    /// A commit with so many bytes of files is large enough.
    pub large_bytes: u64,
}

/// A commit that is there, or one that an earlier step makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StepInput {
    /// It is live.
    Live(CommitId),
    /// It is made by the step of this place.
    Made(usize),
}

/// Commits that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompactionStep {
    /// They, in the order of time.
    pub inputs: Vec<StepInput>,
    /// The seconds that they cover together; none where they hold stops.
    pub window: Option<Window>,
    /// Their files.
    pub files: u64,
    /// The bytes of these.
    pub bytes: u64,
}

/// What may be put together with its neighbours.
#[derive(Clone, Debug)]
struct Candidate {
    input: StepInput,
    window: Option<Window>,
    weight: u64,
    files: BTreeMap<Table, usize>,
    bytes: u64,
}

impl Candidate {
    fn of(id: CommitId, live: &LiveCommit) -> Self {
        let mut files = BTreeMap::new();
        for table in live.files.iter().filter_map(|file| Table::from_name(&file.table)) {
            *files.entry(table).or_default() += 1;
        }
        let bytes = live.files.iter().map(|file| file.bytes).sum();
        Self { input: StepInput::Live(id), window: live.window, weight: live.weight(), files, bytes }
    }

    fn tier(&self) -> u32 {
        self.weight.max(1).ilog(FAN_IN)
    }

    /// The most files that it has of a table.
    fn files(&self) -> usize {
        self.files.values().copied().max().unwrap_or_default()
    }
}

/// What is to be done, one step after the other.
pub(crate) fn plan(live: &BTreeMap<CommitId, LiveCommit>, policy: CompactionPolicy) -> Vec<CompactionStep> {
    let mut steps = Vec::new();
    for (month, runs) in adjacent(live, policy) {
        runs.into_iter().for_each(|run| plan_run(run, is_over(month, policy.now), policy.large_bytes, &mut steps));
    }
    for (month, run) in stops(live, policy) {
        plan_run(run, is_over(month, policy.now), policy.large_bytes, &mut steps);
    }
    steps
}

fn is_over(month: Month, now: BeijingTime) -> bool {
    month.next_start().unix() + OVER_SECONDS <= now.unix()
}

/// The small commits that are left alone by now, by month, in runs without a gap between them.
fn adjacent(live: &BTreeMap<CommitId, LiveCommit>, policy: CompactionPolicy) -> BTreeMap<Month, Vec<Vec<Candidate>>> {
    let mut held: Vec<(Window, Candidate)> =
        live.iter().filter_map(|(id, live)| Some((live.window?, Candidate::of(*id, live)))).collect();
    held.sort_unstable_by_key(|(window, _)| *window);
    let mut months: BTreeMap<Month, Vec<Vec<Candidate>>> = BTreeMap::new();
    let mut before: Option<BeijingTime> = None;
    for (window, candidate) in held {
        let is_settled = window.end().unix() + policy.quiet_seconds <= policy.now.unix();
        if !is_settled || candidate.bytes >= policy.large_bytes {
            before = None;
            continue;
        }
        let runs = months.entry(window.start().month()).or_default();
        match runs.last_mut().filter(|_| before == Some(window.start())) {
            Some(run) => run.push(candidate),
            None => runs.push(vec![candidate]),
        }
        before = Some(window.end().plus_seconds(1));
    }
    months
}

/// The commits with stops, by the month of their first, in the order of the log.
fn stops(live: &BTreeMap<CommitId, LiveCommit>, policy: CompactionPolicy) -> BTreeMap<Month, Vec<Candidate>> {
    let mut months: BTreeMap<Month, Vec<(u64, Candidate)>> = BTreeMap::new();
    let is_of_stops = |live: &LiveCommit| {
        live.kind == CommitKind::StopResult || (live.kind == CommitKind::Compaction && live.window.is_none())
    };
    for (id, live) in live.iter().filter(|(_, live)| is_of_stops(live)) {
        let first = live.files.iter().map(|file| file.min_modified).min();
        let last = live.files.iter().map(|file| file.max_modified).max();
        let candidate = Candidate::of(*id, live);
        let (Some(first), Some(last)) = (first, last) else { continue };
        if last.unix() + policy.quiet_seconds <= policy.now.unix() && candidate.bytes < policy.large_bytes {
            months.entry(first.month()).or_default().push((live.number, candidate));
        }
    }
    months
        .into_iter()
        .map(|(month, mut run)| {
            run.sort_unstable_by_key(|(number, candidate)| (*number, candidate.input));
            (month, run.into_iter().map(|(_, candidate)| candidate).collect())
        })
        .collect()
}

/// Plans a run of adjacent commits of one month.
fn plan_run(mut run: Vec<Candidate>, is_over: bool, large_bytes: u64, steps: &mut Vec<CompactionStep>) {
    let files = |run: &[Candidate]| run.iter().map(Candidate::files).sum::<usize>();
    if !is_over || files(&run) > MOST_FILES {
        plan_tiers(&mut run, large_bytes, steps);
    }
    if !is_over || run.len() <= LEFT_IN_A_MONTH {
        return;
    }
    for small in run.split(|candidate| candidate.bytes >= large_bytes) {
        let mut rest = small;
        while !rest.is_empty() {
            let mut count = 1;
            while count < rest.len() && files(&rest[..=count]) <= MOST_FILES {
                count += 1;
            }
            let (group, next) = rest.split_at(count);
            if group.len() > 1 {
                merge(group.to_vec(), steps);
            }
            rest = next;
        }
    }
}

/// Puts 32 of a tier together as long as so many are adjacent; lighter ones between them go with them.
fn plan_tiers(run: &mut Vec<Candidate>, large_bytes: u64, steps: &mut Vec<CompactionStep>) {
    let mut tier = 0;
    while run.iter().any(|candidate| candidate.tier() >= tier) {
        let mut at = 0;
        while at < run.len() {
            let mut of_tier = 0;
            let group = run[at..].iter().take_while(|candidate| {
                let goes = candidate.tier() <= tier && of_tier < FAN_IN && candidate.bytes < large_bytes;
                of_tier += u64::from(goes && candidate.tier() == tier);
                goes
            });
            let count = group.count();
            if of_tier == FAN_IN {
                let made = merge(run.drain(at..at + count).collect(), steps);
                run.insert(at, made);
                at += 1;
            } else {
                at += count.max(1);
            }
        }
        tier += 1;
    }
}

/// A step that puts these together; gives what it makes.
fn merge(inputs: Vec<Candidate>, steps: &mut Vec<CompactionStep>) -> Candidate {
    let tables = inputs.iter().flat_map(|input| input.files.keys().map(|table| (*table, 1)));
    let made = Candidate {
        input: StepInput::Made(steps.len()),
        window: inputs.iter().filter_map(|input| input.window).reduce(Window::hull),
        weight: inputs.iter().map(|input| input.weight).sum(),
        files: tables.collect(),
        bytes: inputs.iter().map(|input| input.bytes).sum(),
    };
    steps.push(CompactionStep {
        window: made.window,
        files: inputs.iter().flat_map(|input| input.files.values()).map(|count| *count as u64).sum(),
        bytes: made.bytes,
        inputs: inputs.into_iter().map(|input| input.input).collect(),
    });
    made
}

#[cfg(test)]
mod tests;
