//! The boundary rule: what a sequential pass from the last page to page 0 proves when the server orders rows by
//! modified time.
//!
//! Why reading backwards is safe: rows only leave, so a row that stays can only move to lower positions. A pass that
//! reads page k and then page k-1 meets it at most twice and never passes it by, as long as rows keep their order.
//!
//! Only rows of one second may change places among themselves. Say the rows of second s stand at positions [c, c+g)
//! when a page is answered; c and c+g never grow. A pass can miss one of them only if their range crosses the boundary
//! between page k and page k-1 both when page k is answered and when page k-1 is. Then page k begins with second s and
//! page k-1 ends with it, and both show it. So every second that no such boundary shows is complete, and the others are
//! named, to be walked on their own.
//!
//! The rule checks what it rests on by what came over the wire: every answer of the walk ordered in one direction, with
//! enough steps that it is not chance; every row that is new on an earlier page no later than the rows that stood
//! behind it; no page shorter than the final total allows. The direction does not matter: leaving moves rows to lower
//! positions in a descending list just as well.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use super::count;
use crate::requisition::{Identity, RowKey};
use crate::time::BeijingTime;

/// In which direction a server orders a window by modified time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    /// The direction that every one of `answers` follows; `None` when there is none, or when fewer than `min_steps`
    /// neighbouring rows differ in time, so that the order could be chance.
    pub(super) fn of<'a>(answers: impl Iterator<Item = &'a [RowKey]>, min_steps: u64) -> Option<Self> {
        let (mut up, mut down) = (0, 0);
        for pair in answers.flat_map(|rows| rows.windows(2)) {
            match pair[0].modified?.cmp(&pair[1].modified?) {
                Ordering::Less => up += 1,
                Ordering::Greater => down += 1,
                Ordering::Equal => {}
            }
        }
        match (up, down) {
            (steps, 0) if steps >= min_steps => Some(Self::Ascending),
            (0, steps) if steps >= min_steps => Some(Self::Descending),
            _ => None,
        }
    }

    /// A number that grows along the list.
    fn key(self, time: BeijingTime) -> i64 {
        match self {
            Self::Ascending => time.unix(),
            Self::Descending => -time.unix(),
        }
    }
}

/// What a backward pass proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Every second is complete but the named ones.
    CompleteBut(BTreeSet<BeijingTime>),
    /// The pass proves nothing, and why.
    Nothing(&'static str),
}

/// Judges a backward pass over a list that is ordered in `direction`. `pages` are in the order in which they were read,
/// the last page first and page 0 last; `final_total` is the total that came with page 0.
pub(super) fn judge(pages: &[&[RowKey]], direction: Direction, page_size: u32, final_total: u64) -> Judgement {
    let size = u64::from(page_size);
    // The total alone does not tell where the list ends.
    if pages.first().is_none_or(|rows| rows.len() as u64 >= size) {
        return Judgement::Nothing("the end of the list was not seen");
    }
    let long_enough = pages.iter().rev().enumerate().all(|(page_no, rows)| {
        let expected = size.min(final_total.saturating_sub(page_no as u64 * size));
        rows.len() as u64 >= expected
    });
    if !long_enough {
        return Judgement::Nothing("a page was shorter than the total allows");
    }
    let both_sides = match both_sides(pages, direction) {
        Ok(both_sides) => both_sides,
        Err(why) => return Judgement::Nothing(why),
    };
    if both_sides.is_empty() && count::distinct(pages.iter().copied()) < final_total {
        return Judgement::Nothing("fewer distinct rows than the final total");
    }
    Judgement::CompleteBut(both_sides)
}

/// The seconds that stand on both sides of a boundary between two of `pages`, which were read one after the other from
/// the end of a list that is ordered in `direction`. Every other second between their first and last rows is complete.
///
/// # Errors
/// Why the pages are not of such a list.
pub(super) fn both_sides(pages: &[&[RowKey]], direction: Direction) -> Result<BTreeSet<BeijingTime>, &'static str> {
    let mut seen: HashSet<&Identity> = HashSet::new();
    let mut both_sides = BTreeSet::new();
    // No row that was not yet seen can stand behind the first row of a page already read.
    let mut ceiling = i64::MAX;
    let mut behind: Option<BeijingTime> = None;
    for rows in pages {
        for row in *rows {
            let Some(modified) = row.modified else {
                return Err("a row has no readable modified time");
            };
            if seen.insert(&row.identity) && direction.key(modified) > ceiling {
                return Err("the server does not order by modified time across pages");
            }
        }
        let (first, last) = (rows.first().and_then(|row| row.modified), rows.last().and_then(|row| row.modified));
        both_sides.extend(last.filter(|last| Some(*last) == behind));
        if let Some(first) = first {
            ceiling = ceiling.min(direction.key(first));
        }
        behind = first;
    }
    Ok(both_sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[(&str, i64)]) -> Vec<RowKey> {
        list.iter()
            .map(|(number, second)| {
                let modified = BeijingTime::from_unix(*second).expect("in range");
                let identity = Identity::Version { number: (*number).into(), modified, apply_id: None };
                RowKey { identity, modified: Some(modified) }
            })
            .collect()
    }

    fn judge_all(pages: &[&[(&str, i64)]], total: u64) -> Judgement {
        let pages: Vec<Vec<RowKey>> = pages.iter().map(|page| rows(page)).collect();
        let pages: Vec<&[RowKey]> = pages.iter().map(Vec::as_slice).collect();
        match Direction::of(pages.iter().copied(), 0) {
            Some(direction) => judge(&pages, direction, 2, total),
            None => Judgement::Nothing("no direction"),
        }
    }

    fn but(seconds: &[i64]) -> Judgement {
        Judgement::CompleteBut(seconds.iter().filter_map(|second| BeijingTime::from_unix(*second)).collect())
    }

    #[test]
    fn what_a_pass_proves() {
        assert_eq!(judge_all(&[&[("c", 3)], &[("a", 1), ("b", 2)]], 3), but(&[]));
        assert_eq!(
            judge_all(&[&[("c", 2)], &[("a", 3), ("b", 2)]], 3),
            Judgement::CompleteBut([BeijingTime::from_unix(2).expect("in range")].into()),
            "descending, one second on both sides"
        );
        assert_eq!(judge_all(&[&[("c", 2)], &[("a", 1), ("b", 2)]], 3), but(&[2]));
        // "a" left between the answers: "c" moved forward and is seen twice.
        assert_eq!(judge_all(&[&[("c", 3)], &[("b", 2), ("c", 3)]], 2), but(&[3]));
        assert_eq!(judge_all(&[&[], &[("c", 3), ("d", 4)], &[("b", 2), ("d", 4)]], 2), but(&[]), "moved by two");
        assert!(
            matches!(judge_all(&[&[("c", 3), ("d", 4)], &[("a", 1), ("b", 2)]], 4), Judgement::Nothing(_)),
            "a full page shows no end of the list"
        );
        let nothing = |pages: &[&[(&str, i64)]], total| matches!(judge_all(pages, total), Judgement::Nothing(_));
        assert!(nothing(&[&[("c", 3)], &[("b", 2), ("a", 1), ("z", 2)]], 3), "unordered within a page");
        assert!(nothing(&[&[("c", 2)], &[("a", 1), ("b", 5)]], 3), "a new row that belongs behind");
        assert!(nothing(&[&[("c", 3)], &[("a", 1)]], 3), "a short page");
        assert!(nothing(&[&[], &[("a", 1), ("b", 2)]], 3), "the last page was short");
        assert_eq!(judge_all(&[&[("b", 2)], &[("a", 1), ("b", 2)]], 3), but(&[2]), "the third may have changed places");
        assert!(nothing(&[&[("d", 4)], &[("a", 1), ("b", 2)]], 4), "three distinct rows of four");
    }
}
