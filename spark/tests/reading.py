"""The reader of the package without Spark around it, for tests of many small reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdt_lake_spark.contract import arrow_schema, columns_of, path_columns, spark_schema
from wdt_lake_spark.log import open_logs
from wdt_lake_spark.read import read_unit
from wdt_lake_spark.scan import Span, units_of
from wdt_lake_spark.store import store_at

if TYPE_CHECKING:
    from wdt_lake_spark.log import Log


def rows_of(lake: object, table: str, accounts: list[str] | None = None) -> list[dict]:
    """Read the committed set of a table."""
    store = store_at(str(lake))
    logs = open_logs(store, accounts)
    return [row for log in logs.values() for row in rows_of_span(lake, log, table, Span())]


def rows_of_span(lake: object, log: Log, table: str, span: Span) -> list[dict]:
    """Read the rows that a part of a log has landed."""
    schema = arrow_schema(spark_schema(columns_of(table) + path_columns(table)))
    units = units_of(log, table, span, lambda *_: True)
    batches = [batch for unit in units for batch in read_unit(store_at(str(lake)), table, unit, schema, None)]
    return [row for batch in batches for row in batch.to_pylist()]
