//! What the decoder needs of the contract for one edition, looked up once: which source field fills which column, and
//! where the columns stand that the decoder fills itself.

use super::contract::{COMMIT_ID, ColumnType, Contract, TableContract};
use super::scalar::{is_escaped, unescape};
use super::scan::{Pattern, Scanner, Stop};
use crate::edition::Edition;
use crate::error::{Error, Result};

/// The columns at the end of both tables that say where a row came from. All but the last are filled when rows are
/// assembled; the last is filled when a file is encoded.
pub(super) const LINEAGE: [&str; 4] = ["_edition", "_extracted_at", "_run_id", COMMIT_ID];

/// What a detail has of its header: the column of details, and that of requisitions. Pages do not repeat it; assembly
/// does.
pub(super) const INHERITED: [(&str, &str); 3] =
    [("apply_id", "apply_id"), ("purchase_apply_no", "purchase_apply_no"), ("apply_modified", "modified")];

/// How both tables of one edition are read.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) edition: Edition,
    /// Dotted paths of the list of requisitions.
    pub(super) lists: &'static [String],
    pub(super) headers: TablePlan,
    pub(super) details: TablePlan,
    pub(super) header_places: HeaderPlaces,
    pub(super) detail_places: DetailPlaces,
}

/// Columns of requisitions that the decoder looks at or fills itself.
#[derive(Debug)]
pub(super) struct HeaderPlaces {
    pub(super) apply_id: usize,
    pub(super) number: usize,
    pub(super) status: usize,
    pub(super) status_name: usize,
    pub(super) modified: usize,
    pub(super) detail_count: usize,
}

/// Columns of details that the decoder fills itself.
#[derive(Debug)]
pub(super) struct DetailPlaces {
    pub(super) apply_id: usize,
    pub(super) number: usize,
    pub(super) modified: usize,
    pub(super) index: usize,
}

impl DetailPlaces {
    /// The columns that a detail has of its header, one bit each.
    pub(super) fn inherited(&self) -> u64 {
        1 << self.apply_id | 1 << self.number | 1 << self.modified
    }
}

/// How one table of one edition is read.
#[derive(Debug)]
pub(super) struct TablePlan {
    /// Types of the columns, lineage left out.
    pub(super) kinds: Vec<ColumnType>,
    pub(super) names: SourceNames,
    /// Columns that must not be null, with the name that the edition documents for them.
    pub(super) required: Vec<(usize, String)>,
    /// The column of unknown fields.
    pub(super) extra: usize,
}

impl Plan {
    pub(super) fn new(edition: Edition) -> Result<Self> {
        let contract = Contract::get()?;
        let (headers, details) = (contract.headers(), contract.details());
        let place = |table: &TableContract, name: &str| {
            table.column(name).map(|(place, _)| place).ok_or_else(|| {
                Error::internal("the contract lacks a column that the decoder fills").with("column", name)
            })
        };
        // The list of details is a field of the requisition that fills no column.
        let details_fields = details.rows(edition).iter().map(|name| (name.as_str(), FieldTarget::Details));
        Ok(Self {
            edition,
            lists: headers.rows(edition),
            headers: TablePlan::new(headers, edition, details_fields)?,
            details: TablePlan::new(details, edition, std::iter::empty())?,
            header_places: HeaderPlaces {
                apply_id: place(headers, "apply_id")?,
                number: place(headers, "purchase_apply_no")?,
                status: place(headers, "status")?,
                status_name: place(headers, "status_name")?,
                modified: place(headers, "modified")?,
                detail_count: place(headers, "detail_count")?,
            },
            detail_places: DetailPlaces {
                apply_id: place(details, "apply_id")?,
                number: place(details, "purchase_apply_no")?,
                modified: place(details, "apply_modified")?,
                index: place(details, "detail_index")?,
            },
        })
    }
}

impl TablePlan {
    /// Every column, one bit each.
    pub(super) fn all(&self) -> u64 {
        u64::MAX.checked_shr(64 - u32::try_from(self.kinds.len()).unwrap_or(64)).unwrap_or(0)
    }

    fn new<'t>(
        table: &'t TableContract,
        edition: Edition,
        more: impl Iterator<Item = (&'t str, FieldTarget)>,
    ) -> Result<Self> {
        let own = table.columns().len().saturating_sub(LINEAGE.len());
        let lineage = table.columns()[own..].iter().map(|column| column.name());
        if !lineage.eq(LINEAGE) || own > 64 {
            return Err(
                Error::internal("the contract does not end with the lineage columns").with("table", table.name())
            );
        }
        let columns = &table.columns()[..own];
        let sources = columns.iter().enumerate().flat_map(|(place, column)| {
            column.sources(edition).iter().map(move |name| (name.as_str(), FieldTarget::Column(place)))
        });
        let required = columns.iter().enumerate().filter(|(_, column)| column.required());
        Ok(Self {
            kinds: columns.iter().map(|column| column.kind()).collect(),
            names: SourceNames::new(sources.chain(more)),
            required: required
                .map(|(place, column)| {
                    (place, column.sources(edition).first().map_or(column.name(), String::as_str).to_owned())
                })
                .collect(),
            extra: columns.iter().position(|column| column.name() == "extra").ok_or_else(|| {
                Error::internal("the contract lacks a column that the decoder fills").with("column", "extra")
            })?,
        })
    }
}

/// What a source field fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldTarget {
    /// The column at that place.
    Column(usize),
    /// The rows of the details table.
    Details,
}

/// The field names of one object, as they stand in the JSON source.
#[derive(Debug)]
pub(super) struct SourceNames(Vec<SourceName>);

#[derive(Debug)]
struct SourceName {
    /// With its quotes.
    key: Box<str>,
    pattern: Pattern,
    target: FieldTarget,
}

/// A field of an object whose key was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'n, 'de> {
    /// One that the contract has, by its key in quotes.
    Known(&'n str, FieldTarget),
    /// Any other.
    Unknown(&'de str),
}

impl<'n> Field<'n, 'n> {
    /// The key in quotes.
    pub(super) fn key(self) -> &'n str {
        match self {
            Self::Known(key, _) | Self::Unknown(key) => key,
        }
    }
}

impl SourceNames {
    fn new<'t>(names: impl Iterator<Item = (&'t str, FieldTarget)>) -> Self {
        let name = |(name, target)| {
            let key = format!("\"{name}\"").into_boxed_str();
            SourceName { pattern: Pattern::new(&key), key, target }
        };
        Self(names.map(name).collect())
    }

    /// Where the key, with its quotes, stands in the list.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        if is_escaped(key) {
            let mut plain = String::new();
            return unescape(key, &mut plain).ok().and_then(|()| self.find_plain(&plain));
        }
        self.find_plain(key)
    }

    fn find_plain(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|name| *name.key == *key)
    }

    /// What the field of that name fills.
    pub(super) fn target(&self, key: &str) -> Option<FieldTarget> {
        self.find(key).map(|at| self.0[at].target)
    }

    /// The name of the field that fills `target`, documented name first; empty when none does.
    pub(super) fn name_of(&self, target: FieldTarget) -> &str {
        self.0.iter().find(|name| name.target == target).map_or("", |name| name.key.trim_matches('"'))
    }

    /// A guesser of the next key, to start each object with.
    pub(super) fn guesser(&self) -> Guesser {
        Guesser { follower: vec![0; self.0.len() + 1], last: 0 }
    }
}

/// Guesses the next key of an object: the one that followed the same key in the object before. Answers are written by
/// one program, so that the guess is nearly always right, fields that are left out at times included.
#[derive(Debug)]
pub(super) struct Guesser {
    /// For each name, counted from 1, and for the start of an object at 0: the name that followed.
    follower: Vec<usize>,
    last: usize,
}

impl Guesser {
    /// An object begins.
    pub(super) fn restart(&mut self) {
        self.last = 0;
    }

    /// Reads the next key of an object; `None` behind the last member.
    #[inline(always)]
    pub(super) fn next<'n, 'de>(
        &mut self,
        names: &'n SourceNames,
        scanner: &mut Scanner<'de>,
        fresh: &mut bool,
    ) -> Result<Option<Field<'n, 'de>>, Stop> {
        let at = self.follower[self.last];
        if let Some(guess) = names.0.get(at).filter(|guess| scanner.skip_key(fresh, &guess.pattern)) {
            self.last = at + 1;
            return Ok(Some(Field::Known(&guess.key, guess.target)));
        }
        self.look_up(at, names, scanner, fresh)
    }

    /// Reads a key that was not guessed, or the end of the object.
    #[inline(never)]
    fn look_up<'n, 'de>(
        &mut self,
        at: usize,
        names: &'n SourceNames,
        scanner: &mut Scanner<'de>,
        fresh: &mut bool,
    ) -> Result<Option<Field<'n, 'de>>, Stop> {
        let Some(key) = scanner.key(fresh)? else { return Ok(None) };
        // With blanks around it the guessed key is the same key.
        let guessed = names.0.get(at).filter(|guess| *guess.key == *key).map(|_| at);
        Ok(Some(match guessed.or_else(|| names.find(key)) {
            Some(found) => {
                self.follower[self.last] = found;
                self.last = found + 1;
                Field::Known(&names.0[found].key, names.0[found].target)
            }
            None => Field::Unknown(key),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edition_has_a_plan() {
        for edition in Edition::ALL {
            let plan = Plan::new(edition).expect("a plan");
            assert!(!plan.details.kinds.is_empty());
            assert_eq!(
                plan.headers.names.target("\"modified\""),
                Some(FieldTarget::Column(plan.header_places.modified))
            );
        }
    }

    #[test]
    fn a_wrong_guess_is_put_right() {
        let names = SourceNames::new(["a", "b", "c"].into_iter().enumerate().map(|(i, n)| (n, FieldTarget::Column(i))));
        let mut guesser = names.guesser();
        for order in [["a", "b", "c"], ["c", "a", "b"], ["c", "a", "b"], ["b", "c", "a"]] {
            guesser.restart();
            let text = format!("{{{},\"d\":0, \"\\u0061\" :0}}", order.map(|key| format!("\"{key}\":0")).join(","));
            let mut scanner = Scanner::new(&text);
            let mut fresh = scanner.enter(b'{').expect("an object");
            let mut read = Vec::new();
            while let Some(field) = guesser.next(&names, &mut scanner, &mut fresh).expect("a key") {
                scanner.raw().expect("a value");
                read.push(match field {
                    Field::Known(key, target) => (key.to_owned(), Some(target)),
                    Field::Unknown(key) => (key.to_owned(), None),
                });
            }
            let mut wanted: Vec<_> =
                order.iter().map(|key| (format!("\"{key}\""), "abc".find(key).map(FieldTarget::Column))).collect();
            wanted.push(("\"d\"".to_owned(), None));
            wanted.push((r#""a""#.to_owned(), Some(FieldTarget::Column(0))));
            assert_eq!(read, wanted, "an escaped name is the same name");
        }
    }
}
