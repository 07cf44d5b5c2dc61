//! Lines of quarantine after a refresh of some seconds.
//!
//! A record that is read again as it was keeps its line. A line of a second that was not walked stands; one of unknown
//! second stands until every second in which its record can lie was walked.

use std::collections::{HashMap, HashSet};

use super::lines::{IdAndNumber, ReadAgain, Reading, RecordLine};
use super::versions::Key;
use super::{OldRows, window_of};
use crate::error::Result;
use crate::requisition::Identity;
use crate::time::{BeijingTime, Window};
use crate::transform::assemble::WindowRows;
use crate::transform::quarantine::Quarantined;

/// A commit of which seconds were walked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched<'a> {
    /// The window of the commit.
    pub window: Window,
    /// Its lines of quarantine.
    pub lines: &'a [String],
}

/// The lines that stand, and how many of which kind.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) texts: Vec<String>,
    pub(super) new: u64,
    pub(super) unchanged: u64,
    pub(super) standing: u64,
    pub(super) gone: u64,
}

/// The lines that stand after a walk that returned `fresh`. `old_keys` are the versions that were there in the walked
/// seconds, `set_aside` the identities of the invalid records of `fresh`.
pub(super) fn standing(
    fresh: &WindowRows,
    old: &OldRows,
    texts: &[String],
    old_keys: &HashSet<Key<'_>>,
    set_aside: &HashSet<&Identity>,
) -> Result<Lines> {
    let lines: Vec<RecordLine> = texts.iter().map(|line| RecordLine::read(line)).collect::<Result<_>>()?;
    let fresh_texts: Vec<String> = fresh.quarantined.iter().map(Quarantined::to_json_line).collect();
    let records: Vec<RecordLine> = fresh_texts.iter().map(|line| RecordLine::read(line)).collect::<Result<_>>()?;

    let mut readings: HashMap<Reading<'_>, Vec<usize>> = HashMap::new();
    let unwalked = |line: &RecordLine| old.walked.gaps(line.refresh_range(old.window));
    // The last one first, since they are taken from the end.
    for (place, line) in lines.iter().enumerate().rev() {
        let range = line.refresh_range(old.window);
        if unwalked(line) != [range] {
            readings.entry(line.reading()).or_default().push(place);
        }
    }
    let mut is_read_again = vec![false; lines.len()];
    let mut new = Vec::new();
    for (record, text) in records.iter().zip(&fresh_texts) {
        let held =
            readings.get_mut(&record.reading()).and_then(Vec::pop).and_then(|place| is_read_again.get_mut(place));
        match held {
            Some(is_read_again) => *is_read_again = true,
            None => new.push(text.clone()),
        }
    }

    let mut found = Lines::default();
    let mut again = ReadAgain::new(fresh, &lines, old_keys, set_aside)?;
    for ((line, text), is_read_again) in lines.iter().zip(texts).zip(is_read_again) {
        if is_read_again {
            found.unchanged += 1;
        } else if !unwalked(line).is_empty() || !again.replaces(line) {
            found.standing += 1;
        } else {
            found.gone += 1;
            continue;
        }
        found.texts.push(text.clone());
    }
    found.new = new.len() as u64;
    found.texts.append(&mut new);
    Ok(found)
}

/// To which of the commits each invalid record belongs: that of its second. Where that is unknown, or lies outside of
/// what was requested, it is the one that has a line of the same reading, or else of the same id and number, or else
/// the first one of which seconds were requested with it, or else the first.
pub(super) fn place_of_each(records: &[Quarantined], touched: &[Touched<'_>]) -> Result<Vec<Option<usize>>> {
    let mut lines = Vec::new();
    for (place, touched) in touched.iter().enumerate() {
        for line in touched.lines {
            lines.push((place, RecordLine::read(line)?));
        }
    }
    let mut readings: HashMap<Reading<'_>, usize> = HashMap::new();
    let mut names: HashMap<IdAndNumber<'_>, usize> = HashMap::new();
    for (place, line) in &lines {
        readings.entry(line.reading()).or_insert(*place);
        if let Some(name) = line.name().filter(|_| line.second().is_none()) {
            names.entry(name).or_insert(*place);
        }
    }
    let place = |record: &Quarantined| {
        let line = RecordLine::read(&record.to_json_line())?;
        let requested = || {
            let requested = record.window?;
            touched.iter().position(|touched| touched.window.overlaps(requested))
        };
        let of_second = line.second().and_then(|second| window_of(touched, second));
        let is_uncovered = of_second.is_none() && line.second().is_some_and(|second| was_requested(record, second));
        if is_uncovered {
            return Ok(None);
        }
        Ok(of_second
            .or_else(|| readings.get(&line.reading()).copied())
            .or_else(|| names.get(&line.name()?).copied())
            .or_else(requested)
            .or_else(|| touched.first().map(|_| 0)))
    };
    records.iter().map(place).collect()
}

fn was_requested(record: &Quarantined, second: BeijingTime) -> bool {
    record.window.is_none_or(|window| window.contains(second))
}
