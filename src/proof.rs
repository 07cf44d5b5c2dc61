//! Why a window is known to be complete: what a walk claims, what a manifest records, and the one function that judges
//! both.
//!
//! The walk accepts a window by [`Rule::accepts`], and `verify` audits the manifest by the same function, so that
//! nothing lands that an audit would refuse. Pure.

use serde::{Deserialize, Serialize};

/// Which rule proved a window, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One response held the whole window: as many distinct rows as its total, and fewer than a page.
    Snapshot,
    /// As many distinct rows came in later responses as an earlier one stated, and the list itself had room for no
    /// more.
    Count,
    /// The server stated no total: two equal list bounds, and every row between them.
    ListBounds,
    /// A backward pass over a list ordered by modified time.
    Boundary,
    /// A rule of a newer minor version.
    #[serde(other)]
    Other,
}

/// The numbers that a proof stands on. Rows are distinct ones, counted so that two readings of one record never count
/// as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grounds {
    /// The total that the gateway stated; none where it stated none.
    pub total: Option<u64>,
    /// Distinct rows of responses that were asked for after the total had arrived.
    pub rows_after_total: u64,
    /// How many rows the list had room for when a page came short: page number times page size, and the rows of the
    /// page.
    pub list_bound: Option<u64>,
    /// Distinct rows of that page, and of responses that were asked for after it had arrived.
    pub rows_after_bound: u64,
    /// Records that nobody could read and that count as rows. A walk takes no more than one; a window of several
    /// pieces sums them.
    pub unreadable: u64,
}

impl Grounds {
    /// The sum of both, for a window that was proved in pieces.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        Self {
            total: sum(self.total, other.total),
            rows_after_total: self.rows_after_total.saturating_add(other.rows_after_total),
            list_bound: sum(self.list_bound, other.list_bound),
            rows_after_bound: self.rows_after_bound.saturating_add(other.rows_after_bound),
            unreadable: self.unreadable.saturating_add(other.unreadable),
        }
    }
}

impl Rule {
    /// Whether `grounds` prove a window by this rule.
    ///
    /// A total and the list are two witnesses, and each must be met: the total may be one too low or of another moment,
    /// the list may be capped. More rows than the total, asked for after it, contradict it.
    pub fn accepts(self, grounds: &Grounds) -> bool {
        let met = |claim: Option<u64>, rows: u64| claim.is_some_and(|claim| rows >= claim);
        let (by_total, by_list) = (
            met(grounds.total, grounds.rows_after_total.saturating_add(grounds.unreadable)),
            met(grounds.list_bound, grounds.rows_after_bound.saturating_add(grounds.unreadable)),
        );
        let is_contradicted = grounds.total.is_some_and(|total| grounds.rows_after_total > total);
        match self {
            Self::Snapshot => by_total && by_list && !is_contradicted && grounds.unreadable == 0,
            Self::Count => by_total && by_list && !is_contradicted,
            Self::ListBounds => by_list,
            // Its argument is the order of the pages, and a list whose end was seen.
            Self::Boundary => grounds.list_bound.is_some(),
            Self::Other => false,
        }
    }
}

/// Why a window is known to be complete, and what it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The rule that was met.
    pub rule: Rule,
    /// What it was met by.
    pub grounds: Grounds,
    /// The totals that the gateway stated, in order, for the window that was asked for.
    pub totals: Vec<u64>,
    /// Distinct rows seen in the proved window, told apart as they are kept.
    pub distinct_rows: u64,
    /// Of these, landed as new rows of `purchase_apply`.
    pub rows_landed: u64,
    /// Of these, quarantined.
    pub rows_quarantined: u64,
    /// Of these, found as they stand in the lake already: its rows and quarantined records stay what they are.
    pub rows_unchanged: u64,
    /// Rows of `purchase_apply` that stood in the commits which the manifest removes, and stand in its own.
    pub rows_carried: u64,
    /// Quarantined records that stood in them, and stand in its own.
    pub quarantined_carried: u64,
    /// Passes over the pages of the window that was asked for.
    pub passes: u64,
    /// Responses read, retries not counted.
    pub calls: u64,
    /// Calls that were repeated.
    pub retries: u64,
    /// How far the total fell while the window was walked: rows that were edited meanwhile.
    pub rows_left: u64,
    /// How often a row that was known already came again.
    pub duplicates: u64,
}

impl Proof {
    /// One proof of windows that were proved one by one: the weakest rule, and all that was spent.
    pub fn of_pieces(pieces: Vec<Self>) -> Self {
        let nothing = Self {
            rule: Rule::Snapshot,
            grounds: Grounds::default(),
            totals: Vec::new(),
            distinct_rows: 0,
            rows_landed: 0,
            rows_quarantined: 0,
            rows_unchanged: 0,
            rows_carried: 0,
            quarantined_carried: 0,
            passes: 0,
            calls: 0,
            retries: 0,
            rows_left: 0,
            duplicates: 0,
        };
        pieces.into_iter().fold(nothing, |mut all, piece| {
            all.rule = all.rule.max(piece.rule);
            all.grounds = all.grounds.plus(piece.grounds);
            all.totals.extend(piece.totals);
            all.distinct_rows += piece.distinct_rows;
            all.rows_landed += piece.rows_landed;
            all.rows_quarantined += piece.rows_quarantined;
            all.rows_unchanged += piece.rows_unchanged;
            all.rows_carried += piece.rows_carried;
            all.quarantined_carried += piece.quarantined_carried;
            all.passes += piece.passes;
            all.calls += piece.calls;
            all.retries += piece.retries;
            all.rows_left += piece.rows_left;
            all.duplicates += piece.duplicates;
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MET: Grounds =
        Grounds { total: Some(3), rows_after_total: 3, list_bound: Some(3), rows_after_bound: 3, unreadable: 0 };

    #[test]
    fn both_witnesses_must_be_met_and_neither_contradicted() {
        assert!(Rule::Snapshot.accepts(&MET) && Rule::Count.accepts(&MET));
        for (bad, why) in [
            (Grounds { rows_after_total: 2, ..MET }, "A A B for a total of 3"),
            (Grounds { rows_after_total: 4, ..MET }, "more rows than the total"),
            (Grounds { rows_after_bound: 2, ..MET }, "room for one more in the list"),
            (Grounds { list_bound: None, ..MET }, "no end of the list was seen"),
            (Grounds { total: None, ..MET }, "no total"),
        ] {
            assert!(!Rule::Snapshot.accepts(&bad) && !Rule::Count.accepts(&bad), "{why}");
        }
        let without_total = Grounds { total: None, rows_after_total: 0, ..MET };
        assert!(Rule::ListBounds.accepts(&without_total));
        assert!(!Rule::ListBounds.accepts(&Grounds { rows_after_bound: 2, ..without_total }));
        assert!(Rule::Boundary.accepts(&Grounds { total: Some(900), rows_after_total: 1, ..MET }));
        assert!(!Rule::Boundary.accepts(&Grounds { list_bound: None, ..MET }));
    }

    #[test]
    fn an_unreadable_record_counts_as_one_row_but_not_in_a_snapshot() {
        let short = Grounds { rows_after_total: 2, rows_after_bound: 2, ..MET };
        assert!(!Rule::Count.accepts(&short));
        assert!(Rule::Count.accepts(&Grounds { unreadable: 1, ..short }));
        assert!(!Rule::Snapshot.accepts(&Grounds { unreadable: 1, ..short }));
    }

    #[test]
    fn pieces_that_are_met_add_up_to_a_whole_that_is_met() {
        let empty = Grounds { total: Some(0), list_bound: Some(0), ..Grounds::default() };
        let free = Grounds { total: None, rows_after_total: 0, ..MET };
        assert!(Rule::Count.accepts(&MET.plus(empty)));
        assert!(Rule::ListBounds.accepts(&MET.plus(free)));
        assert_eq!(MET.plus(empty), MET);
    }
}
