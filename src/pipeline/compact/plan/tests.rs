use std::collections::BTreeSet;

use super::*;
use crate::log::FileEntry;
use crate::log::Sha256;

const RUN_SECONDS: i64 = 600;
const ROWS: u64 = 7;

fn time(text: &str) -> BeijingTime {
    BeijingTime::parse(text).expect("a time")
}

fn policy(now: BeijingTime) -> CompactionPolicy {
    CompactionPolicy { now, quiet_seconds: 7_200, large_bytes: 64 << 20 }
}

fn live(
    number: u64,
    kind: CommitKind,
    window: Option<Window>,
    tables: &[Table],
    at: BeijingTime,
    rows: u64,
) -> LiveCommit {
    let file = |table: &Table| FileEntry {
        table: table.name().to_owned(),
        path: String::new(),
        bytes: 6_000 + 30 * rows,
        sha256: Sha256::of(b""),
        rows,
        min_modified: at,
        max_modified: at,
        carried: false,
    };
    LiveCommit {
        number,
        kind,
        window,
        compacted: 0,
        carried: vec![],
        expired: vec![],
        files: tables.iter().map(file).collect(),
        quarantine: vec![],
        raw: vec![],
    }
}

fn of_window(number: u64, window: Window, rows: u64) -> LiveCommit {
    let tables = [Table::PurchaseApply, Table::PurchaseApplyDetail];
    live(number, CommitKind::Sync, Some(window), &tables, window.start(), rows)
}

/// A log of commits, as the steps change it.
#[derive(Default)]
struct Fed {
    live: BTreeMap<CommitId, LiveCommit>,
    number: u64,
    /// Rows that were written, first and again.
    rows_written: u64,
    rows: u64,
    most_files: usize,
    most_inputs: usize,
}

impl Fed {
    fn add(&mut self, window: Window, rows: u64) {
        self.number += 1;
        self.live.insert(CommitId::generate(), of_window(self.number, window, rows));
        self.rows += rows;
        self.rows_written += rows;
    }

    /// Does all steps; what they replace must be live, adjacent, and of one month.
    fn compact(&mut self, policy: CompactionPolicy) -> usize {
        let mut made = Vec::new();
        let steps = plan(&self.live, policy);
        for step in &steps {
            let id = |input: &StepInput| match input {
                StepInput::Live(id) => *id,
                StepInput::Made(place) => made[*place],
            };
            let gone: Vec<LiveCommit> =
                step.inputs.iter().map(|input| self.live.remove(&id(input)).expect("live")).collect();
            assert!(gone.len() > 1);
            let windows: Vec<Window> = gone.iter().map(|gone| gone.window.expect("a window")).collect();
            assert!(windows.windows(2).all(|pair| pair[0].end().plus_seconds(1) == pair[1].start()), "{windows:?}");
            let window = windows.into_iter().reduce(Window::hull).expect("some");
            assert_eq!((Some(window), window.start().month()), (step.window, window.end().month()));
            let rows = gone.iter().map(|gone| gone.rows(Table::PurchaseApply)).sum();
            self.rows_written += rows;
            self.most_inputs = self.most_inputs.max(gone.len());
            self.number += 1;
            let weight = gone.iter().map(LiveCommit::weight).sum();
            let id = CommitId::generate();
            self.live.insert(id, LiveCommit { compacted: weight, ..of_window(self.number, window, rows) });
            made.push(id);
        }
        self.most_files = self.most_files.max(self.live.len());
        steps.len()
    }
}

fn run(start: BeijingTime, nth: i64) -> Window {
    let start = start.plus_seconds(nth * RUN_SECONDS);
    Window::new(start, start.plus_seconds(RUN_SECONDS - 1)).expect("a window")
}

#[test]
fn a_year_of_small_runs_leaves_few_files_and_writes_no_row_often() {
    let start = time("2025-01-01 00:00:00");
    let mut fed = Fed::default();
    for nth in 0..365 * 144 {
        let window = run(start, nth);
        // By day more than by night, and now and then nothing.
        fed.add(window, if nth % 9 == 0 { 0 } else { u64::try_from(nth % 144).expect("small") / 10 });
        if nth % 4 == 0 {
            fed.compact(policy(window.end()));
        }
    }
    assert!(fed.most_files <= 150, "{} files", fed.most_files);
    assert!(fed.rows_written <= 5 * fed.rows, "{} of {}", fed.rows_written, fed.rows);
    assert!(fed.live.len() <= 60, "{} in the end", fed.live.len());
    assert!(fed.most_inputs <= MOST_FILES);
}

#[test]
fn a_log_that_was_never_compacted_is_compacted_with_few_files_open() {
    let start = time("2025-01-01 00:00:00");
    let mut fed = Fed::default();
    (0..59 * 144).for_each(|nth| fed.add(run(start, nth), ROWS));
    fed.compact(policy(time("2025-06-01 00:00:00")));
    assert_eq!(fed.live.len(), 2, "a commit for each month");
    assert!(fed.most_inputs <= MOST_FILES && fed.rows_written <= 5 * fed.rows);
    assert_eq!(fed.compact(policy(time("2025-07-01 00:00:00"))), 0, "once");
}

/// Changes what the run of this place lands.
type Change = dyn Fn(i64, &mut Vec<(Window, u64)>);

#[test]
fn what_is_recent_large_or_apart_is_left_alone() {
    let start = time("2025-03-01 00:00:00");
    let with = |count: i64, now: BeijingTime, change: &Change| {
        let mut fed = Fed::default();
        for nth in 0..count {
            let mut adding = vec![(run(start, nth), ROWS)];
            change(nth, &mut adding);
            adding.into_iter().for_each(|(window, rows)| fed.add(window, rows));
        }
        let steps = plan(&fed.live, policy(now));
        steps.into_iter().map(|step| step.inputs.len()).collect::<Vec<_>>()
    };
    let at = |nth: i64| run(start, nth).end();
    assert_eq!(with(32, at(43), &|_, _| ()), [32], "two hours after its end");
    assert_eq!(with(32, at(43).plus_seconds(-1), &|_, _| ()), [] as [usize; 0]);
    assert_eq!(with(31, at(100), &|_, _| ()), [] as [usize; 0]);
    let with_a_gap = |nth, adding: &mut Vec<_>| {
        if nth == 16 {
            adding.clear()
        }
    };
    assert_eq!(with(60, at(100), &with_a_gap), [32], "those after the gap");
    let with_a_large_one = |nth, adding: &mut Vec<(Window, u64)>| {
        if nth == 31 {
            adding[0].1 = 2 << 20
        }
    };
    assert_eq!(with(60, at(100), &with_a_large_one), [] as [usize; 0]);
    let over = time("2025-04-02 00:00:00");
    assert_eq!(with(4, over, &|_, _| ()), [] as [usize; 0], "few are left");
    assert_eq!(with(5, over, &|_, _| ()), [5]);
    assert_eq!(with(5, over.plus_seconds(-1), &|_, _| ()), [] as [usize; 0], "a day after the end of the month");
    assert_eq!(with(60, over, &with_a_gap), [16, 43]);
}

#[test]
fn heavy_commits_are_not_written_again_with_every_light_one() {
    // One of a tier among lighter ones: it waits until 32 of its own are there.
    let start = time("2025-03-01 00:00:00");
    let mut fed = Fed::default();
    for nth in 0..20 * 144 {
        fed.add(run(start, nth), ROWS);
        fed.compact(policy(run(start, nth).end()));
    }
    assert!(fed.rows_written <= 4 * fed.rows, "{} of {}", fed.rows_written, fed.rows);
}

#[test]
fn stops_are_put_together_by_month() {
    let at = time("2025-03-01 12:00:00");
    let mut held = BTreeMap::new();
    let mut expire = live(99, CommitKind::Expire, None, &[Table::PurchaseApply], at, 5);
    expire.expired = vec![run(at, 0)];
    held.insert(CommitId::generate(), expire);
    held.insert(CommitId::generate(), live(98, CommitKind::Replay, None, &[Table::PurchaseApply], at, 5));
    for number in 0..40 {
        let at = at.plus_seconds(i64::try_from(number).expect("small") * 60);
        held.insert(CommitId::generate(), live(number, CommitKind::StopResult, None, &[Table::StopReference], at, 1));
    }
    let steps = |now| plan(&held, policy(time(now)));
    assert_eq!(steps("2025-03-01 13:00:00"), []);
    let [step] = &*steps("2025-03-02 13:00:00") else { panic!("one step") };
    assert_eq!((step.inputs.len(), step.window), (32, None));
    let [step] = &*steps("2025-05-01 13:00:00") else { panic!("one step") };
    let ids: BTreeSet<_> = step.inputs.iter().collect();
    assert_eq!((step.inputs.len(), ids.len()), (40, 40));
}
