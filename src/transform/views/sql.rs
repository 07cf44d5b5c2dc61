//! The statements of the views of requisitions and their details.
//!
//! All three select versions in the same way, in four steps over the narrow columns only:
//!
//! 1. `part`: headers and details in one relation, each row with the lineage of its version. A detail says its position
//!    as one bit of an integer. Positions that have no bit there follow once more, each once;
//! 2. `version`: one row a version. The bits set are the positions that are there, however often a row was copied.
//!    (`count(DISTINCT detail_index)` says the same for twice the time and four times the memory.);
//! 3. `aged`: the versions that have all their details, each with the newest modified time of its number;
//! 4. `chosen`: of each number and id the one row to show.
//!
//! The wide columns are joined last. A version that was not copied needs no second look there; rows that stand in
//! several files are told apart in a branch of their own, for which an engine reads nothing when there are none.
//!
//! `purchase_apply_open` does all of it for the numbers alone that have a version with an open status: whatever version
//! is the latest of the others, it is not open.

use super::super::contract::Contract;
use super::{Engine, Extent, columns};
use crate::edition::OPEN_STATUSES;
use crate::error::Result;
use crate::id::AccountName;

/// So many positions have a bit of their own in an integer of 64 bits that is never negative.
const BITS: u32 = 62;

/// What the statements are made of.
pub(super) struct Sql<'a> {
    create: &'static str,
    headers: String,
    details: String,
    of_headers: String,
    of_details: String,
    account: Option<&'a AccountName>,
    words: &'static Words,
}

/// What engines say in different words.
struct Words {
    /// A column of integers of 64 and 32 bits that may hold null, and the type of sums of quantities.
    bigint: &'static str,
    int: &'static str,
    quantity: &'static str,
    /// The function that counts the bits of an integer.
    bit_count: &'static str,
    /// What makes a value one that may be null: before and after it.
    may_be_null: (&'static str, &'static str),
}

const STANDARD: Words =
    Words { bigint: "BIGINT", int: "INT", quantity: "DECIMAL(38,4)", bit_count: "bit_count", may_be_null: ("", "") };

/// In ClickHouse null needs a type of its own: a window function gives the zero of the type otherwise.
const CLICKHOUSE: Words = Words {
    bigint: "Nullable(Int64)",
    int: "Nullable(Int32)",
    quantity: "Nullable(Decimal(38, 4))",
    bit_count: "bitCount",
    may_be_null: ("toNullable(", ")"),
};

impl<'a> Sql<'a> {
    /// The statements over the lake at `lake`, of all its accounts or one.
    pub(super) fn new(
        engine: Engine,
        lake: &str,
        contract: &Contract,
        account: Option<&'a AccountName>,
        extent: Extent,
    ) -> Result<Self> {
        Ok(Self {
            create: engine.create(),
            headers: engine.relation(lake, contract.headers(), extent.headers)?,
            details: engine.relation(lake, contract.details(), extent.details)?,
            of_headers: columns(contract.headers(), "h"),
            of_details: columns(contract.details(), "d"),
            account,
            words: if engine == Engine::Clickhouse { &CLICKHOUSE } else { &STANDARD },
        })
    }

    /// The condition for the account, or nothing where all are wanted.
    pub(super) fn of_account(&self, of: &str) -> String {
        self.account.map_or_else(String::new, |name| format!("{of}.account = '{name}'"))
    }

    /// The view of the latest version of each requisition.
    pub(super) fn latest(&self) -> String {
        let Self { create, headers, of_headers, .. } = self;
        let (chosen, lineage) = (self.chosen(""), lineage("h", "modified"));
        let same = same_version(("v", "modified"), ("h", "modified"));
        let read = |condition: &str| {
            let condition = where_all(&[condition.to_owned(), self.of_account("h")]);
            format!("FROM {headers} h\n    JOIN chosen v ON {same}{condition}")
        };
        let (copied, single) = (read("v.headers > 1"), read("v.headers = 1"));
        format!(
            "\
{create} purchase_apply_latest AS
WITH {chosen}, copied AS (
    SELECT {of_headers},
           row_number() OVER (PARTITION BY {lineage}
                              ORDER BY h.status) AS place
    {copied}
)
SELECT {of_headers}
    {single}
UNION ALL
SELECT {of_headers}
FROM copied h
WHERE h.place = 1"
        )
    }

    /// The view of the details of these versions.
    pub(super) fn detail_latest(&self) -> String {
        let Self { create, details, of_details, .. } = self;
        let (chosen, lineage) = (self.chosen(""), lineage("d", "apply_modified"));
        let same = same_version(("v", "modified"), ("d", "apply_modified"));
        let read = |condition: &str| {
            let condition = where_all(&[condition.to_owned(), self.of_account("d")]);
            format!("FROM {details} d\n    JOIN chosen v ON {same}{condition}")
        };
        let (copied, single) = (read("v.details > v.positions"), read("v.details = v.positions"));
        format!(
            "\
{create} purchase_apply_detail_latest AS
WITH {chosen}, copied AS (
    SELECT {of_details},
           row_number() OVER (PARTITION BY {lineage}, d.detail_index
                              ORDER BY d.rec_id) AS place
    {copied}
)
SELECT {of_details}
    {single}
UNION ALL
SELECT {of_details}
FROM copied d
WHERE d.place = 1"
        )
    }

    /// The view of the requisitions that wait for purchase orders.
    pub(super) fn open(&self) -> String {
        let Self { create, headers, details, of_headers, words, .. } = self;
        let quantity = words.quantity;
        let is_open = format!("h.status_name IN ('{}')", OPEN_STATUSES.join("', '"));
        let candidates = where_all(&[is_open.clone(), self.of_account("h")]);
        let chosen = self.chosen("candidate");
        let (of_header, of_detail) = (lineage("h", "modified"), lineage("d", "apply_modified"));
        let to_header = same_version(("v", "modified"), ("h", "modified"));
        let to_detail = same_version(("h", "modified"), ("d", "apply_modified"));
        let to_sum = same_version(("own", "apply_modified"), ("h", "modified"));
        let shown = where_all(&[is_open, self.of_account("h")]);
        let summed = where_all(&["h.unref_num IS NULL".to_owned(), self.of_account("d")]);
        format!(
            "\
{create} purchase_apply_open AS
WITH candidate AS (
    SELECT DISTINCT h.account, h.purchase_apply_no
    FROM {headers} h{candidates}
), {chosen}, shown AS (
    SELECT {of_headers},
           row_number() OVER (PARTITION BY {of_header}
                              ORDER BY h.status) AS place
    FROM {headers} h
    JOIN chosen v ON {to_header}{shown}
), line AS (
    SELECT {of_detail}, d.real_num, d.ref_num,
           row_number() OVER (PARTITION BY {of_detail}, d.detail_index
                              ORDER BY d.rec_id) AS place
    FROM {details} d
    JOIN shown h ON h.place = 1 AND {to_detail}{summed}
), own AS (
    SELECT {of_detail}, sum(d.real_num - coalesce(d.ref_num, 0)) AS open_num
    FROM line d
    WHERE d.place = 1
    GROUP BY {of_detail}
)
SELECT {of_headers},
       CAST(coalesce(h.unref_num, own.open_num) AS {quantity}) AS open_num
FROM shown h
LEFT JOIN own ON {to_sum}
WHERE h.place = 1"
        )
    }

    /// The relations up to `chosen`: the versions to show, of all numbers, or of those of the relation `candidates` if
    /// it is not empty. Beside its lineage a version has the rows of its header (`headers`) and of its details
    /// (`details`), copies counted, and how many positions of details are there (`positions`).
    fn chosen(&self, candidates: &str) -> String {
        let Self { headers, details, words, .. } = self;
        let Words { bigint, int, bit_count, may_be_null: (before, after), .. } = words;
        let (of_header, of_detail) = (lineage("h", "modified"), lineage("d", "apply_modified"));
        let (version, id) = (lineage("v", "modified"), id("v"));
        let wanted = |of: &str, condition: &str| {
            let candidate = match candidates {
                "" => String::new(),
                relation => format!(
                    "({of}.account, {of}.purchase_apply_no) IN (SELECT c.account, c.purchase_apply_no FROM {relation} c)"
                ),
            };
            where_all(&[condition.to_owned(), candidate, self.of_account(of)])
        };
        let (all_headers, all_details) = (wanted("h", ""), wanted("d", ""));
        let beyond = wanted("d", &format!("d.detail_index >= {BITS}"));
        format!(
            "\
part AS (
    SELECT {of_header}, 1 AS header, h.detail_count,
           CAST(NULL AS {bigint}) AS bit, CAST(NULL AS {int}) AS beyond
    FROM {headers} h{all_headers}
    UNION ALL
    SELECT {of_detail}, NULL, NULL,
           CASE WHEN d.detail_index < {BITS} THEN CAST(power(2, d.detail_index) AS {bigint}) ELSE 0 END, NULL
    FROM {details} d{all_details}
    UNION ALL
    SELECT DISTINCT {of_detail}, NULL, NULL, NULL, d.detail_index
    FROM {details} d{beyond}
), version AS (
    SELECT {version},
           count(v.header) AS headers, max(v.detail_count) AS detail_count, count(v.bit) AS details,
           coalesce({bit_count}(bit_or(v.bit)), 0) + count(v.beyond) AS positions
    FROM part v
    GROUP BY {version}
), aged AS (
    SELECT v.*, first_value(v.modified) OVER number AS newest, lag({before}{id}{after}) OVER number AS id_before
    FROM version v
    WHERE v.headers > 0 AND v.positions >= coalesce(v.detail_count, 0)
    WINDOW number AS (PARTITION BY v.account, v.purchase_apply_no
                      ORDER BY v.modified DESC, {id}, v._extracted_at DESC, v._run_id DESC, v.apply_id)
), chosen AS (
    SELECT v.*
    FROM aged v
    WHERE v.modified = v.newest AND v.id_before IS DISTINCT FROM {id}
)"
        )
    }

    /// A query that reads one month and its files alone.
    pub(super) fn example(&self) -> String {
        let Self { headers, .. } = self;
        let (id, wanted) = (id("h"), where_all(&["h.modified_month = '2026-10'".to_owned(), self.of_account("h")]));
        format!(
            "\
SELECT v.status_name, count(*) AS versions, sum(v.real_num) AS real_num
FROM (
    SELECT h.status_name, h.real_num,
           row_number() OVER (PARTITION BY h.account, h.purchase_apply_no, h.modified, {id}
                              ORDER BY h._extracted_at DESC, h._run_id DESC) AS place
    FROM {headers} h{wanted}
) v
WHERE v.place = 1
GROUP BY v.status_name"
        )
    }
}

/// The columns by which header and details of one version in one response are known.
fn lineage(of: &str, modified: &str) -> String {
    format!("{of}.account, {of}.purchase_apply_no, {of}.apply_id, {of}.{modified}, {of}._run_id, {of}._extracted_at")
}

/// Whether two rows have one lineage; each relation comes with the name of its column of modified times.
fn same_version((a, a_modified): (&str, &str), (b, b_modified): (&str, &str)) -> String {
    format!(
        "{a}.account = {b}.account AND {a}.purchase_apply_no = {b}.purchase_apply_no
                     AND {a}.apply_id IS NOT DISTINCT FROM {b}.apply_id AND {a}.{a_modified} = {b}.{b_modified}
                     AND {a}._run_id = {b}._run_id AND {a}._extracted_at = {b}._extracted_at"
    )
}

/// The id of a row as it tells requisitions apart: what is not positive is no id.
fn id(of: &str) -> String {
    format!("greatest(coalesce({of}.apply_id, 0), 0)")
}

/// The clause for those of the conditions that are not empty.
pub(super) fn where_all(conditions: &[String]) -> String {
    let stated: Vec<&str> = conditions.iter().map(String::as_str).filter(|condition| !condition.is_empty()).collect();
    if stated.is_empty() { String::new() } else { format!("\n    WHERE {}", stated.join("\n      AND ")) }
}
