"""The columns of the tables: those of the data contract, and what a later one has added."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .manifest import TABLES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

ACCOUNT_COLUMN = "account"
MONTH_COLUMN = "modified_month"
COMMIT_ID = "_commit_id"
# The column whose least and greatest value a manifest states of each file.
TIME_COLUMNS = {
    "purchase_apply": "modified",
    "purchase_apply_detail": "apply_modified",
    "stop_reference": "requested_at",
}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


@dataclass(frozen=True)
class Column:
    """A column: its type in the words of the contract."""

    name: str
    type: str
    is_required: bool
    about: str = ""


@cache
def _contract() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(resources.files(__package__).joinpath("contract.json").read_text("utf-8"))
    return said


def contract_version() -> tuple[int, int]:
    """Tell the version of the data contract that this package knows."""
    major, minor = _contract()["contract"].split(".")
    return int(major), int(minor)


def check_table(table: str | None) -> str:
    """Tell whether there is such a table."""
    if table not in TABLES:
        said = f"there is no table {table!r}" if table else "no table was named"
        raise UsageError.of(said, f'say `.option("table", ...)` with one of {", ".join(TABLES)}')
    return table


def columns_of(table: str) -> list[Column]:
    """Give the columns of a table's files."""
    return [Column(one["name"], one["type"], one["required"], one["en"]) for one in _contract()["tables"][table]]


def path_columns(table: str) -> list[Column]:
    """Give the columns that stand in the path only."""
    account = Column(ACCOUNT_COLUMN, "utf8", is_required=True, about="Name of the account")
    month = Column(MONTH_COLUMN, "utf8", is_required=True, about=f"Beijing month of {TIME_COLUMNS[table]}, YYYY-MM")
    return [account] if table == "stop_reference" else [account, month]


def with_later(columns: list[Column], schema: pa.Schema) -> list[Column]:
    """Add what the schema of a file of a later contract has more; such columns come before the last."""
    known = {column.name for column in columns}
    later = [Column(field.name, _named(field.type), is_required=False) for field in schema if field.name not in known]
    return [*columns[:-1], *later, columns[-1]]


def _named(arrow_type: pa.DataType) -> str:
    said = str(arrow_type)
    names = {"string": "utf8", "large_string": "utf8", "timestamp[us, tz=UTC]": "timestamp(us,UTC)"}
    return names.get(said, said.replace("decimal128", "decimal"))


def spark_schema(columns: list[Column]) -> StructType:
    """Write columns as Spark does."""
    from pyspark.sql import types as t

    simple: dict[str, t.DataType] = {
        "utf8": t.StringType(),
        "int16": t.ShortType(),
        "int32": t.IntegerType(),
        "int64": t.LongType(),
        "bool": t.BooleanType(),
        "double": t.DoubleType(),
        "date32[day]": t.DateType(),
        "timestamp(us,UTC)": t.TimestampType(),
    }
    schema = t.StructType()
    for column in columns:
        decimal = _DECIMAL.fullmatch(column.type)
        if not decimal and column.type not in simple:
            raise UsageError.of(
                f"the column {column.name} has the type {column.type}, which this package does not know",
                "install a newer wdt-lake-spark, or name the columns that are wanted by `.schema(...)`",
            )
        kind = t.DecimalType(int(decimal[1]), int(decimal[2])) if decimal else simple[column.type]
        schema.add(column.name, kind, not column.is_required, {"comment": column.about} if column.about else None)
    return schema


def arrow_schema(schema: StructType) -> pa.Schema:
    """Write a schema of Spark as the batches that it takes."""
    import pyarrow as pa
    from pyspark.sql import types as t

    simple: list[tuple[type[t.DataType], pa.DataType]] = [
        (t.StringType, pa.string()),
        (t.ShortType, pa.int16()),
        (t.IntegerType, pa.int32()),
        (t.LongType, pa.int64()),
        (t.BooleanType, pa.bool_()),
        (t.DoubleType, pa.float64()),
        (t.DateType, pa.date32()),
        (t.TimestampType, pa.timestamp("us", tz="UTC")),
    ]
    fields = []
    for column in schema.fields:
        if isinstance(column.dataType, t.DecimalType):
            kind = pa.decimal128(column.dataType.precision, column.dataType.scale)
        else:
            kind = next((arrow for spark, arrow in simple if type(column.dataType) is spark), None)
        if kind is None:
            raise UsageError.of(
                f"the column {column.name} cannot be read as {column.dataType.simpleString()}",
                "leave `.schema(...)` out, or give columns the types that the table has",
            )
        fields.append(pa.field(column.name, kind, column.nullable))
    return pa.schema(fields)
