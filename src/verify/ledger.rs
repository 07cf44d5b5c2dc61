//! Headers and details of one commit, set against each other; and the versions of the whole committed set, each of
//! which stands once.

use std::collections::{BTreeMap, HashMap};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, Decimal128Array};
use sha2::{Digest as _, Sha256};

use super::{Depth, Expected, TotalMismatch};
use crate::time::BeijingTime;
use crate::units::plural;

/// Number, modified time in microseconds, and id.
type Version = (Box<str>, i64, Option<i64>);

/// One header and what was found of its details.
#[derive(Debug, Default)]
struct Held {
    detail_count: Option<i32>,
    details: i64,
    sums: Vec<Option<i128>>,
    detail_sums: Vec<i128>,
}

/// Something that several rows of a file share.
#[derive(Debug, Default)]
struct Told {
    rows: u64,
    first: String,
}

impl Told {
    fn add(&mut self, first: impl FnOnce() -> String) {
        if self.rows == 0 {
            self.first = first();
        }
        self.rows += 1;
    }

    fn take(&mut self) -> Option<Self> {
        (self.rows > 0).then(|| std::mem::take(self))
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    depth: Depth,
    /// The headers of the commit at hand.
    headers: BTreeMap<Version, Held>,
    /// Whether a file of the commit at hand could not be read: then nothing is set against anything.
    has_holes: bool,
    /// The files whose headers were read, and by the digest of each version the file that holds it. Only when reading
    /// deep: windows never overlap, so two files that hold one version are found by their windows too.
    files: Vec<String>,
    versions: HashMap<[u8; 16], usize>,
    doubled: Told,
    orphans: Told,
}

/// What the rows of one commit come to.
#[derive(Debug, Default)]
pub(super) struct Balance {
    pub(super) wrong: Vec<String>,
    pub(super) total_mismatches: Vec<TotalMismatch>,
}

impl Ledger {
    pub(super) fn new(depth: Depth) -> Self {
        Self {
            depth,
            headers: BTreeMap::new(),
            has_holes: false,
            files: Vec::new(),
            versions: HashMap::new(),
            doubled: Told::default(),
            orphans: Told::default(),
        }
    }

    /// A file of the commit at hand is missing or cannot be read.
    pub(super) fn leave_hole(&mut self) {
        self.has_holes = true;
    }

    /// The rows to come are those of `file`.
    pub(super) fn begin_file(&mut self, file: String) {
        self.files.push(file);
    }

    /// What is wrong with the rows of the file at hand.
    pub(super) fn end_file(&mut self) -> Vec<String> {
        let doubled = self.doubled.take().map(|told| {
            format!(
                "holds {} that stand in the committed set twice, the first: {}",
                plural(told.rows, "version"),
                told.first
            )
        });
        let orphans = self.orphans.take().filter(|_| !self.has_holes).map(|told| {
            format!("holds {} details without a header in their commit, the first of {}", told.rows, told.first)
        });
        doubled.into_iter().chain(orphans).collect()
    }

    /// Takes in rows. Their columns were compared with the contract before, so rows that lack one are not expected, and
    /// passed over.
    pub(super) fn take_in(&mut self, expected: &Expected, table: &str, batch: &RecordBatch) {
        let is_header = table == expected.headers.spec.table.name();
        if !is_header && table != expected.details.spec.table.name() {
            return;
        }
        let spec = if is_header { &expected.headers.spec } else { &expected.details.spec };
        let numbers = batch.column_by_name(&expected.number).and_then(|column| column.as_string_opt::<i32>());
        let times = batch
            .column_by_name(&spec.modified)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let (Some(numbers), Some(times)) = (numbers, times) else { return };
        let ids = batch.column_by_name(&expected.id).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let decimals = |name: &String| batch.column_by_name(name)?.as_primitive_opt::<Decimal128Type>();
        let sums: Vec<Option<&Decimal128Array>> = match self.depth {
            Depth::Shallow => Vec::new(),
            Depth::Deep => expected.sums.iter().map(decimals).collect(),
        };
        let value = |row: usize, column: &Option<&Decimal128Array>| {
            column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
        };
        let counts = batch
            .column_by_name(&expected.detail_count)
            .and_then(|column| column.as_primitive_opt::<Int32Type>())
            .filter(|_| is_header);
        for row in 0..batch.num_rows() {
            let id = ids.filter(|ids| ids.is_valid(row)).map(|ids| ids.value(row));
            let version: Version = (numbers.value(row).into(), times.value(row), id);
            let quantities = sums.iter().map(|column| value(row, column));
            if is_header {
                let detail_count = counts.filter(|counts| counts.is_valid(row)).map(|counts| counts.value(row));
                let sums: Vec<Option<i128>> = quantities.collect();
                let detail_sums = vec![0; sums.len()];
                self.header(version, Held { detail_count, details: 0, sums, detail_sums });
            } else if let Some(held) = self.headers.get_mut(&version) {
                held.details += 1;
                held.detail_sums.iter_mut().zip(quantities).for_each(|(sum, value)| *sum += value.unwrap_or(0));
            } else {
                self.orphans.add(|| shown(&version));
            }
        }
    }

    fn header(&mut self, version: Version, held: Held) {
        let file = self.files.len().saturating_sub(1);
        if self.depth == Depth::Deep {
            let mut digest = Sha256::new();
            digest.update(version.1.to_be_bytes());
            // What is not positive is no id.
            digest.update(version.2.unwrap_or_default().max(0).to_be_bytes());
            digest.update(version.0.as_bytes());
            let digest: [u8; 32] = digest.finalize().into();
            let mut key = [0; 16];
            key.copy_from_slice(&digest[..16]);
            if let Some(other) = self.versions.insert(key, file) {
                let other = self.files.get(other).map_or("", String::as_str);
                self.doubled.add(|| format!("{}, also in `{other}`", shown(&version)));
            }
        } else if self.headers.contains_key(&version) {
            self.doubled.add(|| shown(&version));
        }
        self.headers.insert(version, held);
    }

    /// Ends the commit at hand: what its rows come to.
    pub(super) fn close(&mut self, expected: &Expected) -> Balance {
        let headers = std::mem::take(&mut self.headers);
        if std::mem::take(&mut self.has_holes) {
            return Balance::default();
        }
        let mut balance = Balance::default();
        let mut miscounted = Told::default();
        for (version, held) in headers {
            if let Some(said) = held.detail_count.map(i64::from).filter(|said| *said != held.details) {
                miscounted.add(|| format!("{} has {} of {said}", shown(&version), held.details));
            }
            let Some(modified) = instant(version.1) else { continue };
            let columns = expected.sums.iter().zip(held.sums.iter().zip(&held.detail_sums));
            balance.total_mismatches.extend(columns.filter_map(|(column, (header, details))| {
                header.filter(|header| header != details).map(|header_scaled| TotalMismatch {
                    number: version.0.to_string(),
                    modified,
                    column: column.clone(),
                    header_scaled,
                    details_scaled: *details,
                })
            }));
        }
        balance.wrong.extend(miscounted.take().map(|told| {
            format!(
                "holds {} with another number of details than their headers say, the first: {}",
                plural(told.rows, "version"),
                told.first
            )
        }));
        balance
    }
}

fn shown((number, micros, id): &Version) -> String {
    let id = id.map_or_else(String::new, |id| format!(" (apply_id {id})"));
    match instant(*micros) {
        Some(modified) => format!("{number}{id} modified {modified}"),
        None => format!("{number}{id} modified at no possible time"),
    }
}

fn instant(micros: i64) -> Option<BeijingTime> {
    BeijingTime::from_unix(micros.div_euclid(1_000_000))
}
