//! A run over a world, and what is promised of everything that it proves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::tests::now;
use super::super::*;
use super::model::{World, WorldPage, whole};
use crate::extract::cuts::Cuts;

/// What a run over one world came to.
#[derive(Default, Debug)]
pub(super) struct Came {
    pub(super) lost: Vec<(Window, Vec<usize>, Proof)>,
    pub(super) twice: usize,
    /// Rows that landed and stand in quarantine as unreadable too.
    pub(super) both: usize,
    pub(super) gaps: usize,
    pub(super) landed: usize,
    pub(super) quarantined: usize,
    pub(super) calls: u32,
}

/// Walks the whole of a world as a run does.
pub(super) fn sync(world: &World, page_size: u32) -> Came {
    sync_window(world, whole(), page_size, LIMITS)
}

pub(super) const LIMITS: Limits = Limits {
    max_pages: 50,
    max_passes: 25,
    max_calls_per_page: 25,
    narrowing_calls: 1_000,
    concurrency: 2,
    least_list_cap: 4,
    pause: std::time::Duration::ZERO,
    min_ordered_steps: 10,
};

pub(super) fn sync_window(world: &World, window: Window, page_size: u32, limits: Limits) -> Came {
    let walker = Walker::new(world, page_size, limits, Quit::default());
    let (mut came, mut cuts) = (Came::default(), Cuts::default());
    let mut todo = VecDeque::from([(window, Budget::default())]);
    let mut given_up: Vec<Window> = Vec::new();
    let mut walks = 0;
    while let Some((window, budget)) = todo.pop_front() {
        walks += 1;
        assert!(walks < 5_000, "a run ends");
        let before = world.uids(window);
        let outcome = now(walker.walk(window, &budget));
        if let Some(contradicted) = outcome.first_total.and_then(|total| cuts.note(window, total)) {
            came.gaps += 1;
            given_up.push(contradicted);
        }
        match outcome.walked {
            Err(_) => came.gaps += 1,
            Ok(Walked::Interrupted(_)) => panic!("nobody told it to quit"),
            Ok(Walked::TooLarge { pieces, total }) => {
                cuts.cut(window, total);
                todo.extend(window.pieces(pieces).into_iter().map(|piece| (piece, Budget::default())));
            }
            Ok(Walked::Unproved { windows, total }) => {
                total.into_iter().for_each(|total| cuts.cut(window, total));
                todo.extend(windows.into_iter().map(|piece| (piece, budget.clone())));
            }
            Ok(Walked::Proved(proved)) => {
                check(world, &before, &proved, &mut came);
                todo.extend(proved.again.into_iter().map(|second| (second, budget.clone())));
            }
        }
        todo.retain(|(window, _)| !given_up.iter().any(|gap| gap.overlaps(*window)));
    }
    came.calls = world.state().calls;
    came
}

/// What is promised of every part that is proved: what stayed is there, and once.
pub(super) fn check(world: &World, before: &BTreeSet<usize>, proved: &Proved<WorldPage>, came: &mut Came) {
    for part in &proved.parts {
        assert!(part.proof.rule.accepts(&part.proof.grounds), "{:?}", part.proof);
        let (mut landed, mut unreadable) = (BTreeMap::<usize, usize>::new(), BTreeSet::new());
        for (page, row) in &part.selected {
            let page = &proved.pages[*page];
            if page.is_unreadable {
                unreadable.extend(page.uids.iter().copied());
            } else {
                *landed.entry(page.uids[*row]).or_default() += 1;
            }
        }
        let after = world.uids(part.window);
        let missing = before.intersection(&after).filter(|uid| !landed.contains_key(uid) && !unreadable.contains(uid));
        let missing: Vec<usize> = missing.copied().collect();
        if !missing.is_empty() {
            came.lost.push((part.window, missing, part.proof.clone()));
        }
        came.twice += landed.values().filter(|times| **times > 1).count();
        came.both += unreadable.iter().filter(|uid| landed.contains_key(uid)).count();
        came.landed += landed.len();
        came.quarantined += unreadable.len();
    }
}
