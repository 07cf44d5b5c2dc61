//! Why a window is known to be complete.

/// Which rule proved a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// One answer held the whole window.
    Snapshot,
    /// As many distinct rows came in later answers as an earlier answer said there were.
    Count,
    /// A backward pass over a list ordered by modified time.
    Boundary,
}

/// Why a window is known to be complete, and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The rule that proved it.
    pub rule: Rule,
    /// The totals that the server said, in order, for the window that was asked for.
    pub totals: Vec<u64>,
    /// Distinct identities seen in the proved window.
    pub distinct_rows: u64,
    /// Passes over the pages of the window that was asked for.
    pub passes: u32,
    /// Answers read.
    pub calls: u32,
    /// Tries that failed before an answer came.
    pub retries: u32,
    /// How far the total fell while the window was walked: rows that were edited meanwhile.
    pub rows_left: u64,
    /// How often an identity that was known already came again.
    pub duplicates: u64,
}

impl Proof {
    /// One proof of windows that were proved one by one: the weakest rule, and all that was spent.
    pub fn of_pieces(pieces: Vec<Self>) -> Self {
        let weakness =
            |rule: &Rule| [Rule::Snapshot, Rule::Count, Rule::Boundary].iter().position(|other| other == rule);
        pieces.into_iter().fold(
            Self {
                rule: Rule::Snapshot,
                totals: Vec::new(),
                distinct_rows: 0,
                passes: 0,
                calls: 0,
                retries: 0,
                rows_left: 0,
                duplicates: 0,
            },
            |mut all, piece| {
                if weakness(&piece.rule) > weakness(&all.rule) {
                    all.rule = piece.rule;
                }
                all.totals.extend(piece.totals);
                all.distinct_rows += piece.distinct_rows;
                all.passes += piece.passes;
                all.calls += piece.calls;
                all.retries += piece.retries;
                all.rows_left += piece.rows_left;
                all.duplicates += piece.duplicates;
                all
            },
        )
    }
}
