//! Statements that make the tables of a lake known to an engine: what `wdt-lake schema --format ENGINE` prints.
//!
//! Columns, types and descriptions come from the data contract. The partition columns account and modified_month stand
//! in the path alone; how they come to be columns differs:
//!
//! - Spark, Hive and MaxCompute keep a list of partitions, which the last statement fills from the folders. It is run
//!   again when a new account or a new month has begun.
//! - DuckDB, ClickHouse and StarRocks read by pattern, and take the values from the path with each query.

use super::contract::{ColumnType, Contract, TableContract};
use super::dialect::{Dialect, OSS_ENDPOINT};
use crate::error::{Error, ErrorClass, Result};

/// The statements for these tables of the lake at `lake` (the absolute path of a folder, or a URI), each ending with a
/// semicolon and a line break. Without a lake they are the shape of a table for rows of one's own, which DuckDB and
/// Spark know.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an engine that needs a lake or cannot reach this one;
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate rules
/// out.
pub(crate) fn render(dialect: Dialect, lake: Option<&str>, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let tables = Contract::get()?.tables().into_iter().filter(|table| wanted(table.name()));
    let statements: Vec<String> = tables.map(|table| statements(dialect, lake, table)).collect::<Result<_>>()?;
    Ok(format!("{}{}", preamble(dialect, lake), statements.join("\n")))
}

/// What a session needs before the statements.
fn preamble(dialect: Dialect, lake: Option<&str>) -> String {
    match dialect {
        Dialect::Starrocks => {
            "-- DATETIME columns show the session's zone. A bucket needs its credentials in each FILES(): \
                               \"aws.s3.access_key\" and others.\nSET time_zone = 'Asia/Shanghai';\n\n"
                .to_owned()
        }
        Dialect::Maxcompute => format!(
            "-- Put the endpoint of your region in the place of {OSS_ENDPOINT}. Queries need these settings too: decimals are \
             read in native mode only.\nSET odps.sql.type.system.odps2 = true;\nSET odps.sql.decimal.odps2 = true;\n\
             SET odps.ext.parquet.native = true;\n\n"
        ),
        Dialect::Clickhouse if lake.is_some_and(|lake| !lake.contains("://")) => {
            "-- A server reads files below its `user_files_path` only; clickhouse-local and chdb read any path.\n\n"
                .to_owned()
        }
        _ => String::new(),
    }
}

fn statements(dialect: Dialect, lake: Option<&str>, table: &TableContract) -> Result<String> {
    let name = dialect.name(table.name());
    let about = dialect.comment(table.en(), table.zh());
    let Some(lake) = lake else { return shape(dialect, table) };
    Ok(match dialect {
        Dialect::Duckdb => {
            let files = duckdb_files(lake, table)?;
            let view = format!("CREATE OR REPLACE VIEW {name} AS\nSELECT * FROM {files};\n");
            view + &duckdb_comments("VIEW", table)
        }
        Dialect::Spark => format!(
            "CREATE TABLE IF NOT EXISTS {name} (\n{}\n)\nUSING PARQUET\nPARTITIONED BY ({})\nLOCATION {}\nCOMMENT {about};\n\
             MSCK REPAIR TABLE {name};\n",
            lines(&[own(dialect, table), partitions(dialect, table)].concat()),
            partition_names(dialect, table),
            dialect.text(&dialect.folder(lake, table)?)
        ),
        Dialect::Hive => format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{}\n)\nCOMMENT {about}\nPARTITIONED BY (\n{}\n)\nSTORED AS PARQUET\n\
             LOCATION {};\nMSCK REPAIR TABLE {name};\n",
            lines(&own(dialect, table)),
            lines(&partitions(dialect, table)),
            dialect.text(&dialect.folder(lake, table)?)
        ),
        Dialect::Maxcompute => format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{}\n)\nCOMMENT {about}\nPARTITIONED BY (\n{}\n)\nSTORED AS PARQUET\n\
             LOCATION {};\nMSCK REPAIR TABLE {name} ADD PARTITIONS;\n",
            lines(&own(dialect, table)),
            lines(&partitions(dialect, table)),
            dialect.text(&format!("{}/", dialect.folder(lake, table)?))
        ),
        Dialect::Clickhouse => clickhouse_table(lake, table)? + ";\n",
        Dialect::Starrocks => starrocks_view(lake, table)?,
    })
}

/// A table of the same shape, without a lake.
fn shape(dialect: Dialect, table: &TableContract) -> Result<String> {
    let (name, about) = (dialect.name(table.name()), dialect.comment(table.en(), table.zh()));
    match dialect {
        Dialect::Duckdb => {
            let column = |(column, kind): (&str, String)| format!("    {} {kind}", dialect.name(column));
            let own = table.columns().iter().map(|column| {
                let required = if column.required() { " NOT NULL" } else { "" };
                (column.name(), format!("{}{required}", dialect.type_name(column.kind())))
            });
            let partitions =
                table.partition_columns().iter().map(|column| (column.name(), "VARCHAR NOT NULL".to_owned()));
            let columns: Vec<String> = own.chain(partitions).map(column).collect();
            Ok(format!("CREATE TABLE {name} (\n{}\n);\n{}", lines(&columns), duckdb_comments("TABLE", table)))
        }
        Dialect::Spark => Ok(format!(
            "CREATE TABLE {name} (\n{}\n)\nUSING PARQUET\nPARTITIONED BY ({})\nCOMMENT {about};\n",
            lines(&[own(dialect, table), partitions(dialect, table)].concat()),
            partition_names(dialect, table)
        )),
        Dialect::Hive | Dialect::Clickhouse | Dialect::Starrocks | Dialect::Maxcompute => {
            Err(Error::new(ErrorClass::ArgumentWrong, "the statements say where the files are")
                .hint("give the lake with --lake"))
        }
    }
}

/// The files of a table as a relation of DuckDB. A column that some files lack is null there, and accounts are text
/// even when they look like numbers.
///
/// # Errors
/// As [`Dialect::pattern`].
pub(super) fn duckdb_files(lake: &str, table: &TableContract) -> Result<String> {
    let files = Dialect::Duckdb.text(&Dialect::Duckdb.pattern(lake, table)?);
    let types = table.partition_columns().iter().map(|column| format!("'{}': VARCHAR", column.name()));
    let types = types.collect::<Vec<_>>().join(", ");
    Ok(format!("read_parquet({files}, hive_partitioning = true, union_by_name = true, hive_types = {{{types}}})"))
}

fn duckdb_comments(kind: &str, table: &TableContract) -> String {
    let dialect = Dialect::Duckdb;
    let name = dialect.name(table.name());
    let mut out = format!("COMMENT ON {kind} {name} IS {};\n", dialect.comment(table.en(), table.zh()));
    let own = table.columns().iter().map(|column| (column.name(), dialect.comment(column.en(), column.zh())));
    let partitions =
        table.partition_columns().iter().map(|column| (column.name(), dialect.comment(column.en(), column.zh())));
    for (column, about) in own.chain(partitions) {
        out.push_str(&format!("COMMENT ON COLUMN {name}.{} IS {about};\n", dialect.name(column)));
    }
    out
}

/// A table of ClickHouse over the files, without a semicolon. It keeps no rows; values of the partition columns come
/// from the path, and a column that a file lacks is null.
///
/// # Errors
/// As [`Dialect::pattern`].
pub(super) fn clickhouse_table(lake: &str, table: &TableContract) -> Result<String> {
    let dialect = Dialect::Clickhouse;
    let files = dialect.text(&dialect.pattern(lake, table)?);
    let engine =
        if lake.contains("://") { format!("S3({files}, 'Parquet')") } else { format!("File(Parquet, {files})") };
    Ok(format!(
        "CREATE OR REPLACE TABLE {} (\n{}\n)\nENGINE = {engine}\nCOMMENT {}",
        dialect.name(table.name()),
        lines(&[own(dialect, table), partitions(dialect, table)].concat()),
        dialect.comment(table.en(), table.zh())
    ))
}

/// A view of StarRocks: its tables over files have no partition columns, its function FILES has.
fn starrocks_view(lake: &str, table: &TableContract) -> Result<String> {
    let dialect = Dialect::Starrocks;
    let own = table.columns().iter().map(|column| (column.name(), column.kind(), column.en(), column.zh()));
    let partitions =
        table.partition_columns().iter().map(|column| (column.name(), ColumnType::Utf8, column.en(), column.zh()));
    let columns: Vec<_> = own.chain(partitions).collect();
    let named = columns
        .iter()
        .map(|(name, _, en, zh)| format!("    {} COMMENT {}", dialect.name(name), dialect.comment(en, zh)));
    let read = columns.iter().map(|(name, kind, ..)| {
        let name = dialect.name(name);
        format!("    CAST({name} AS {}) AS {name}", dialect.type_name(*kind))
    });
    let of_path: Vec<&str> = table.partition_columns().iter().map(|column| column.name()).collect();
    Ok(format!(
        "CREATE OR REPLACE VIEW {} (\n{}\n)\nCOMMENT {}\nAS SELECT\n{}\nFROM FILES(\n    \"path\" = {},\n    \
         \"format\" = \"parquet\",\n    \"columns_from_path\" = \"{}\",\n    \"fill_mismatch_column_with\" = \"null\"\n);\n",
        dialect.name(table.name()),
        lines(&named.collect::<Vec<_>>()),
        dialect.comment(table.en(), table.zh()),
        lines(&read.collect::<Vec<_>>()),
        dialect.text(&dialect.pattern(lake, table)?),
        of_path.join(", ")
    ))
}

fn lines(items: &[String]) -> String {
    items.join(",\n")
}

/// The columns that stand in the files.
fn own(dialect: Dialect, table: &TableContract) -> Vec<String> {
    let column = |column: &super::contract::Column| {
        let kind = match (dialect, column.required()) {
            (Dialect::Spark, true) => format!("{} NOT NULL", dialect.type_name(column.kind())),
            (_, true) => dialect.type_name(column.kind()).to_owned(),
            (_, false) => dialect.nullable_type_name(column.kind()),
        };
        format!("    {} {kind} COMMENT {}", dialect.name(column.name()), dialect.comment(column.en(), column.zh()))
    };
    table.columns().iter().map(column).collect()
}

/// The columns that stand in the path.
fn partitions(dialect: Dialect, table: &TableContract) -> Vec<String> {
    let kind = match dialect {
        Dialect::Spark => "STRING NOT NULL",
        _ => dialect.type_name(ColumnType::Utf8),
    };
    let columns = table.partition_columns().iter();
    columns
        .map(|column| {
            format!("    {} {kind} COMMENT {}", dialect.name(column.name()), dialect.comment(column.en(), column.zh()))
        })
        .collect()
}

fn partition_names(dialect: Dialect, table: &TableContract) -> String {
    table.partition_columns().iter().map(|column| dialect.name(column.name())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const ALL: [Dialect; 6] =
        [Dialect::Duckdb, Dialect::Spark, Dialect::Hive, Dialect::Clickhouse, Dialect::Starrocks, Dialect::Maxcompute];

    #[test]
    fn every_dialect_names_every_column_and_cuts_at_semicolons_only() {
        let contract = Contract::get().expect("a contract");
        for dialect in ALL {
            for table in contract.tables() {
                let text = render(dialect, Some("s3://bucket/lake"), |name| name == table.name()).expect("statements");
                let partitions = table.partition_columns().iter().map(|column| column.name());
                for name in table.columns().iter().map(super::super::contract::Column::name).chain(partitions) {
                    assert!(text.contains(&dialect.name(name)) || text.contains(name), "{dialect:?} has {name}");
                }
                assert!(text.lines().all(|line| !line.contains(';') || line.ends_with(';')), "{dialect:?}: {text}");
                assert!(text.ends_with(";\n"), "{text}");
            }
        }
    }

    #[test]
    fn without_a_lake_it_is_a_shape_where_an_engine_has_one() {
        let duckdb = render(Dialect::Duckdb, None, |_| true).expect("sql");
        assert!(duckdb.contains("    \"purchase_apply_no\" VARCHAR NOT NULL,\n    \"status\" SMALLINT NOT NULL,"));
        assert!(duckdb.contains("    \"real_num\" DECIMAL(19,4),"));
        assert!(duckdb.contains("    \"modified\" TIMESTAMP WITH TIME ZONE NOT NULL,"));
        assert!(duckdb.contains("the vendor''s table spells"));
        let spark = render(Dialect::Spark, None, |_| true).expect("sql");
        assert!(spark.contains("    `real_num` DECIMAL(19,4) COMMENT 'Quantity applied for"));
        assert!(spark.contains("USING PARQUET\nPARTITIONED BY (`account`, `modified_month`)\nCOMMENT"));
        assert!(spark.contains("the vendor\\'s table spells"));
        for dialect in [Dialect::Hive, Dialect::Clickhouse, Dialect::Starrocks, Dialect::Maxcompute] {
            let error = render(dialect, None, |_| true).expect_err("refused");
            assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Usage, Some("give the lake with --lake")));
        }
    }

    #[test]
    fn each_engine_finds_the_lake_by_its_own_name() {
        let text = |dialect, lake| render(dialect, Some(lake), |name| name == "stop_reference").expect("statements");
        let bucket = "s3://bucket/lake/";
        for (dialect, wanted) in [
            (Dialect::Duckdb, "read_parquet('s3://bucket/lake/stop_reference/account=*/*.parquet', hive_part"),
            (Dialect::Spark, "LOCATION 's3a://bucket/lake/stop_reference'\n"),
            (Dialect::Hive, "LOCATION 's3a://bucket/lake/stop_reference';\nMSCK REPAIR TABLE `stop_reference`;\n"),
            (Dialect::Clickhouse, "ENGINE = S3('s3://bucket/lake/stop_reference/account=*/*.parquet', 'Parquet')\n"),
            (Dialect::Starrocks, "\"path\" = \"s3://bucket/lake/stop_reference/account=*/*.parquet\",\n"),
            (Dialect::Maxcompute, "LOCATION 'oss://OSS_ENDPOINT/bucket/lake/stop_reference/';\n"),
        ] {
            let text = text(dialect, bucket);
            assert!(text.contains(wanted), "{dialect:?}: {text}");
        }
        assert!(text(Dialect::Duckdb, "/it's [1]").contains("'/it''s [[]1]/stop_reference/account=*/*.parquet'"));
        assert!(text(Dialect::Hive, "/it's [1]").contains("LOCATION '/it\\'s [1]/stop_reference'"));
        assert!(text(Dialect::Starrocks, "/lake").contains("\"file:///lake/stop_reference/account=*/*.parquet\""));
        for (dialect, lake) in
            [(Dialect::Maxcompute, "/lake"), (Dialect::Clickhouse, "/a*"), (Dialect::Starrocks, "/{a}")]
        {
            let error = render(dialect, Some(lake), |_| true).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Usage, "{dialect:?}");
        }
    }
}
