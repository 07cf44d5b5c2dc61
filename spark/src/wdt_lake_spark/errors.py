"""What can go wrong, in words."""

from __future__ import annotations

from typing import TypeVar

Made = TypeVar("Made", bound="WdtLakeError")


class WdtLakeError(Exception):
    """Something that went wrong: what, and what to do next.

    It is made of one text, so that it survives the way from an executor to the driver.
    """

    @classmethod
    def of(cls: type[Made], what: str, hint: str) -> Made:
        """Make an error that says what happened, and what to do next."""
        return cls(f"{what}\nhint: {hint}")


class UsageError(WdtLakeError):
    """An option, a table, an account or an offset that cannot be."""


class StoreError(WdtLakeError):
    """The folder or the object store does not answer, or there is no lake."""


class DefectError(WdtLakeError):
    """A manifest or a committed file is missing, damaged, or breaks the rules of the format."""


class FormatError(WdtLakeError):
    """A lake of a version that this package does not read."""


class DataLossError(WdtLakeError):
    """Rows expired in the lake before the stream was given them."""


class ReplacedError(WdtLakeError):
    """Files were replaced again and again while they were read."""


class ExtractError(WdtLakeError):
    """A run of `wdt-lake` ended without saying how, or was interrupted."""
