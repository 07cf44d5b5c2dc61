//! Views of the latest state of a lake: SQL for DuckDB, Spark and ClickHouse, Python for Polars. Pure: text from the
//! contract, the lake's root and an account.
//!
//! Every row of the lake is a version of a requisition, and a new version replaces all its details. The views read by
//! glob, so they may see more than the committed set: files of a commit in progress, the old and the new files of a
//! refresh, what a crash left. All of it is versions that the ERP really held, but a version may stand twice, with
//! other details if it was edited twice within its second, and the details of a header may not have been written yet.
//! Hence:
//!
//! - a header counts only when as many details of its own answer are there as it says it has. Its own are those of the
//!   same version with the same `_run_id` and `_extracted_at`: header and details of one answer share them, whatever
//!   file holds them;
//! - of these the latest `modified` wins, and of one version and id the one that was read last. Two requisitions can
//!   share number and second: rows with other ids all stay. An id that is not positive is none;
//! - the details are those of the selected row's own response, each position once. A row may stand in two files.
//!
//! How this is asked at little cost is said in [`sql`]. Polars' SQL lacks what that needs (window functions over a
//! named window, `bit_or`), so its script says the same with lazy frames and registers them for its SQL: [`polars`].
//!
//! Times are instants. They are shown as Beijing time: by the session's zone in DuckDB and Spark, by the type of the
//! columns in ClickHouse and Polars. A column of a later contract that a file lacks is null.
//!
//! No engine reads a table without any file. Then an empty relation with the table's columns stands in its place, and
//! the script says so. Outcomes of stops have a view only where there are any. A stop that was unknown and is settled
//! has two rows, and a result that a dead process could not commit may stand beside the one that another found out: the
//! one that tells most, and then the latest, counts.
//!
//! A filter on `account` reaches the files. One on `modified_month` is right over these views and reads all months,
//! because a later month may hold a newer version; the example shows how to read one month.

mod polars;
mod sql;

use self::sql::{Sql, where_all};
use super::contract::{ColumnType, Contract, TableContract};
use super::ddl::{clickhouse_table, duckdb_files};
use super::dialect::{Dialect, check_above};
use crate::error::Result;
use crate::id::AccountName;
use crate::text::{Text, text};

/// Who reads the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// DuckDB 1.0 or later.
    Duckdb,
    /// Spark 3.5 or later.
    Spark,
    /// ClickHouse 25.8 or later.
    Clickhouse,
    /// Polars 1.31 or later, as a Python script.
    Polars,
}

impl Engine {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Duckdb => "duckdb",
            Self::Spark => "spark",
            Self::Clickhouse => "clickhouse",
            Self::Polars => "polars",
        }
    }

    /// What its script is written in.
    pub(crate) fn language(self) -> &'static str {
        if self == Self::Polars { "python" } else { "sql" }
    }

    fn dialect(self) -> Dialect {
        match self {
            Self::Duckdb | Self::Polars => Dialect::Duckdb,
            Self::Spark => Dialect::Spark,
            Self::Clickhouse => Dialect::Clickhouse,
        }
    }

    /// A relation over all files of a table, or without any row where it has none.
    fn relation(self, lake: &str, table: &TableContract, has_files: bool) -> Result<String> {
        // A table of ClickHouse stands for any number of files.
        if has_files || self == Self::Clickhouse { self.files(lake, table) } else { Ok(self.nothing(table)) }
    }

    /// A relation with the columns of a table and no row.
    fn nothing(self, table: &TableContract) -> String {
        let own = table.columns().iter().map(|column| (column.name(), column.kind()));
        let partitions = table.partition_columns().iter().map(|column| (column.name(), ColumnType::Utf8));
        let null = |(name, kind)| format!("CAST(NULL AS {}) AS {name}", self.dialect().nullable_type_name(kind));
        format!("(SELECT {} WHERE 1 = 0)", lines(&own.chain(partitions).map(null).collect::<Vec<_>>(), 4))
    }

    fn files(self, lake: &str, table: &TableContract) -> Result<String> {
        Ok(match self {
            Self::Duckdb | Self::Polars => duckdb_files(lake, table)?,
            // Spark lists the folder anew with each query, and finds the partitions below it. The path is a pattern.
            Self::Spark => {
                let folder = Dialect::Spark.folder(lake, table)?;
                let is_pattern = |letter: &char| "*?[]{}\\".contains(*letter);
                let literal = |letter: char| is_pattern(&letter).then_some('\\').into_iter().chain([letter]);
                let path: String = folder.chars().flat_map(literal).collect();
                format!("parquet.`{}`", path.replace('`', "``"))
            }
            // The table that the script makes first.
            Self::Clickhouse => table.name().to_owned(),
        })
    }

    fn create(self) -> &'static str {
        match self {
            Self::Duckdb | Self::Clickhouse | Self::Polars => "CREATE OR REPLACE VIEW",
            Self::Spark => "CREATE OR REPLACE TEMPORARY VIEW",
        }
    }

    /// The statements before the views: each with what it is for.
    fn setup(self, lake: &str, contract: &Contract, extent: Extent) -> Result<Vec<(&'static str, String)>> {
        const ZONE: &str = "Times are instants. The session shows them as Beijing time.";
        Ok(match self {
            Self::Duckdb => vec![(ZONE, "SET TimeZone = 'Asia/Shanghai'".to_owned())],
            Self::Spark => vec![
                (ZONE, "SET TIME ZONE 'Asia/Shanghai'".to_owned()),
                ("A column that some files lack is null there.", "SET spark.sql.parquet.mergeSchema = true".to_owned()),
            ],
            Self::Clickhouse => {
                let about = "A table over the files, which keeps no rows. Times are instants, shown as Beijing time.";
                let stops = extent.stops.then(|| contract.stops());
                let tables = [contract.headers(), contract.details()].into_iter().chain(stops);
                tables.map(|table| Ok((about, clickhouse_table(lake, table)?))).collect::<Result<_>>()?
            }
            Self::Polars => Vec::new(),
        })
    }
}

/// Which tables of a lake have files. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Whether there are requisitions.
    pub headers: bool,
    /// Whether there are details.
    pub details: bool,
    /// Whether there are outcomes of stops.
    pub stops: bool,
}

impl Extent {
    /// Every table has files.
    pub(crate) const ALL: Self = Self { headers: true, details: true, stops: true };

    /// Whether the table of that name has files.
    pub(crate) fn has(self, table: &str) -> bool {
        match table {
            "purchase_apply" => self.headers,
            "purchase_apply_detail" => self.details,
            _ => self.stops,
        }
    }

    /// Which of the two tables of requisitions have no file yet, joined to a text; none where both have some.
    pub(crate) fn missing(self) -> Option<String> {
        let names = ["purchase_apply", "purchase_apply_detail"].into_iter().filter(|name| !self.has(name));
        let missing = names.collect::<Vec<_>>().join(" and of ");
        (!missing.is_empty()).then_some(missing)
    }
}

/// One view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Its name.
    pub name: &'static str,
    /// What a row of it is, in lines of a comment.
    pub about: &'static str,
    /// The statement that makes it, without a semicolon, or lines of Python.
    pub sql: String,
}

/// The views of a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Views {
    /// For whom.
    engine: Engine,
    /// What comes before the views, each statement with what it is for.
    pub setup: Vec<(&'static str, String)>,
    /// In the order in which they are to be made.
    pub views: Vec<View>,
    /// A query that reads one Beijing month and only its files, without a semicolon.
    pub example: String,
    /// What is missing and what to do about it, in one line, when a table has no file.
    pub note: Option<Text>,
}

impl Views {
    /// All of it as one script: the note, comments, statements, and the example commented out.
    pub(crate) fn script(&self) -> String {
        let (mark, end) = if self.engine == Engine::Polars { ("#", "") } else { ("--", ";") };
        let mut script = self.note.as_ref().map_or_else(String::new, |note| format!("{mark} Note: {note}.\n\n"));
        let setup = self.setup.iter().map(|(about, sql)| (*about, sql));
        for (about, sql) in setup.chain(self.views.iter().map(|view| (view.about, &view.sql))) {
            about.lines().for_each(|line| script.push_str(&format!("{mark} {line}\n")));
            script.push_str(&format!("{sql}{end}\n\n"));
        }
        script.push_str(&format!(
            "{mark} Example: every version of one Beijing month, once. Only the files of that month are read.\n"
        ));
        for line in self.example.lines() {
            script.push_str(format!("{mark} {line}").trim_end());
            script.push('\n');
        }
        script
    }
}

const ABOUT_LATEST: &str = "\
The latest version of each requisition of each account. Read by glob: what a commit in progress or a crash
leaves there does no harm, a version counts once and only together with all its details. Requisitions that
share their number and the second of their latest modification are told apart by apply_id: each has its row.";
const ABOUT_DETAILS: &str = "The details of exactly these versions. A detail that an edit removed is not among them.";
const ABOUT_OPEN: &str = "\
Requisitions that wait for purchase orders: to confirm, to reference or partly referenced. open_num is the quantity
not referenced yet, from the header, or from its details where the edition has none in the header (flagship).
A status that the vendor does not document has no name and is not open.";
const ABOUT_STOPS: &str = "The last that is known of the latest stop of each requisition that was to be stopped.";

/// The views over the lake at `lake` (the absolute path of a folder, or a URI), of all its accounts or one.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate rules
/// out.
pub(crate) fn render(engine: Engine, lake: &str, account: Option<&AccountName>, extent: Extent) -> Result<Views> {
    let contract = Contract::get()?;
    if engine == Engine::Polars {
        check_above(lake)?;
        return polars::render(lake, contract, account, extent);
    }
    let sql = Sql::new(engine, lake, contract, account, extent)?;
    let setup = engine.setup(lake, contract, extent)?;
    let view = |name, about, sql| View { name, about, sql };
    let mut views = vec![
        view("purchase_apply_latest", ABOUT_LATEST, sql.latest()),
        view("purchase_apply_detail_latest", ABOUT_DETAILS, sql.detail_latest()),
        view("purchase_apply_open", ABOUT_OPEN, sql.open()),
    ];
    if extent.stops {
        views.push(stops(engine, lake, contract.stops(), &where_all(&[sql.of_account("s")]))?);
    }
    Ok(Views { engine, setup, views, example: sql.example(), note: note(extent) })
}

/// What the script says when tables have no file.
fn note(extent: Extent) -> Option<Text> {
    extent.missing().map(|missing| {
        text!(
            "the lake has no file of {missing} yet, so an empty relation stands there; make this script again after the first rows",
            missing
        )
    })
}

/// The last that is known of the latest stop of each requisition.
fn stops(engine: Engine, lake: &str, table: &TableContract, of_account: &str) -> Result<View> {
    let (create, files, columns) = (engine.create(), engine.files(lake, table)?, columns(table, "s"));
    let sql = format!(
        "\
{create} stop_reference_latest AS
WITH ranked AS (
    SELECT {columns},
           row_number() OVER (PARTITION BY s.account, s.purchase_apply_no
                              ORDER BY s.requested_at DESC, CASE WHEN s.outcome = 'unknown' THEN 1 ELSE 0 END,
                                       s._run_id DESC) AS place
    FROM {files} s{of_account}
)
SELECT {columns}
FROM ranked s
WHERE s.place = 1"
    );
    Ok(View { name: "stop_reference_latest", about: ABOUT_STOPS, sql })
}

/// Every column of a table with the partition columns, each of the relation `alias`.
fn columns(table: &TableContract, alias: &str) -> String {
    let own = table.columns().iter().map(|column| column.name());
    let partitions = table.partition_columns().iter().map(|column| column.name());
    let named: Vec<String> = own.chain(partitions).map(|name| format!("{alias}.{name}")).collect();
    lines(&named, 6)
}

/// A list with so many items to a line, so that a person can read the script.
fn lines(items: &[String], on_a_line: usize) -> String {
    items.chunks(on_a_line).map(|items| items.join(", ")).collect::<Vec<_>>().join(",\n       ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Extent = Extent::ALL;
    const SQL: [Engine; 3] = [Engine::Duckdb, Engine::Spark, Engine::Clickhouse];

    #[test]
    fn a_table_without_a_file_is_an_empty_relation() {
        for engine in [Engine::Duckdb, Engine::Spark] {
            let script = |headers, details| {
                let extent = Extent { headers, details, stops: false };
                render(engine, "/lake", None, extent).expect("sql").script()
            };
            let whole = script(true, true);
            assert!(whole.contains("-- The latest version") && !whole.contains("WHERE 1 = 0"));
            for (headers, details, named) in [
                (true, false, "of purchase_apply_detail yet"),
                (false, true, "of purchase_apply yet"),
                (false, false, "of purchase_apply and of purchase_apply_detail yet"),
            ] {
                let script = script(headers, details);
                let first = script.lines().next().expect("a line");
                assert!(
                    first.starts_with("-- ") && first.contains(named) && first.contains("make this script again"),
                    "{first}"
                );
                assert_eq!(
                    script.contains("/lake/purchase_apply/") || script.contains("/lake/purchase_apply`"),
                    headers
                );
                assert_eq!(script.contains("/lake/purchase_apply_detail"), details);
                let statements = script.lines().filter(|line| line.ends_with(';')).count();
                let before = if engine == Engine::Duckdb { 1 } else { 2 };
                assert_eq!(statements, 3 + before, "the note has no end of a statement: {script}");
            }
        }
        let duckdb = Engine::Duckdb.nothing(Contract::get().expect("a contract").details());
        assert!(duckdb.contains("CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS apply_modified"), "{duckdb}");
        let spark = Engine::Spark.nothing(Contract::get().expect("a contract").details());
        assert!(spark.contains("CAST(NULL AS STRING) AS modified_month WHERE 1 = 0"), "{spark}");
    }

    #[test]
    fn paths_are_quoted_for_each_engine() {
        let lake = "/lake's [1]/`x` {a}*/";
        let text = |engine| render(engine, lake, None, ALL).expect("sql").views[0].sql.clone();
        let duckdb = text(Engine::Duckdb);
        assert!(
            duckdb.contains(
                "read_parquet('/lake''s [[]1]/`x` {a}[*]/purchase_apply/account=*/modified_month=*/*.parquet'"
            ),
            "{duckdb}"
        );
        let spark = text(Engine::Spark);
        assert!(spark.contains("parquet.`/lake's \\[1\\]/``x`` \\{a\\}\\*/purchase_apply`"), "{spark}");
        for lake in ["s3://bucket/lake", "s3a://bucket/lake"] {
            let spark = render(Engine::Spark, lake, None, ALL).expect("sql").script();
            assert!(
                spark.contains("parquet.`s3a://bucket/lake/purchase_apply`") && !spark.contains("s3://"),
                "{spark}"
            );
        }
    }

    #[test]
    fn an_account_is_asked_for_in_every_read() {
        let account: AccountName = "acme".parse().expect("a name");
        for engine in SQL {
            let (one, all) = (render(engine, "/lake", Some(&account), ALL), render(engine, "/lake", None, ALL));
            let script = one.expect("sql").script();
            let count = |script: &str, word: &str| script.matches(word).count();
            let relation = match engine {
                Engine::Duckdb => "read_parquet('/lake/",
                Engine::Spark => "parquet.`/lake/",
                Engine::Clickhouse | Engine::Polars => "FROM purchase_apply",
            };
            let reads = count(&script, relation) + count(&script, "FROM stop_reference ");
            assert!(reads > 10, "{script}");
            assert_eq!(count(&script, "account = 'acme'"), reads, "{script}");
            assert!(!all.expect("sql").script().contains("acme"));
        }
    }

    #[test]
    fn a_script_is_statements_and_comments_only() {
        let script = render(Engine::Duckdb, "/lake", None, ALL).expect("sql").script();
        assert_eq!(script.matches(';').count(), 5, "no semicolon in comments, where simple splitters would cut");
        let (_, example) = script.split_once("-- Example").expect("an example");
        assert!(example.lines().skip(1).all(|line| line.starts_with("-- ")), "{example}");
        let contract = Contract::get().expect("a contract");
        for column in contract.details().columns() {
            assert!(script.contains(&format!("d.{}", column.name())), "{}", column.name());
        }
    }
}
