"""Lakes of wdt-lake in Spark: a data source `wdt_lake`, batch and streaming, and the extraction as a Spark job."""

from .errors import (
    DataLossError,
    DefectError,
    ExtractError,
    FormatError,
    ReplacedError,
    StoreError,
    UsageError,
    WdtLakeError,
)
from .extract import extract
from .source import WdtLakeDataSource

__all__ = [
    "DataLossError",
    "DefectError",
    "ExtractError",
    "FormatError",
    "ReplacedError",
    "StoreError",
    "UsageError",
    "WdtLakeDataSource",
    "WdtLakeError",
    "extract",
]
__version__ = "0.1.0"
