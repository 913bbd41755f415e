"""Room 1, documents: a span of a source file in, Arrow columns of documents out.

A new source format is one file here with a `Reader`, and one line in `FORMATS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tokenmill.documents.compression import SUFFIXES as COMPRESSIONS
from tokenmill.documents.contract import COLUMN_BYTES, GIVEN_UP, Documents, Reader, Reason, Rejection, excerpt
from tokenmill.documents.jsonl import JsonLinesReader
from tokenmill.documents.parquet import ParquetReader
from tokenmill.documents.parquet import row_groups as parquet_row_groups
from tokenmill.documents.records import overlaps_itself
from tokenmill.documents.rejected import RejectedFile, rejections
from tokenmill.documents.source import check_unchanged
from tokenmill.documents.text import TextReader
from tokenmill.errors import UsageError
from tokenmill.job import Cut, JobSpec, Span

__all__ = [
    "COLUMN_BYTES",
    "GIVEN_UP",
    "Documents",
    "Format",
    "Reader",
    "Reason",
    "RejectedFile",
    "Rejection",
    "check_unchanged",
    "cut_of",
    "excerpt",
    "format_of",
    "is_source",
    "parquet_row_groups",
    "read",
    "rejections",
]


@dataclass(frozen=True, slots=True)
class Format:
    """A source format."""

    suffix: str
    reader: Reader
    compressible: bool


FORMATS = (
    Format(".jsonl", JsonLinesReader(), compressible=True),
    Format(".txt", TextReader(), compressible=True),
    Format(".parquet", ParquetReader(), compressible=False),
)


def _find(url: str) -> Format | None:
    compression = next((suffix for suffix in COMPRESSIONS if url.endswith(suffix)), "")
    stem = url.removesuffix(compression)
    return next((f for f in FORMATS if stem.endswith(f.suffix) and (f.compressible or not compression)), None)


def is_source(url: str) -> bool:
    """Whether a file found in a folder is one that can be read."""
    return _find(url) is not None


def format_of(url: str) -> Format:
    """The format of a file by its suffix. Raises UsageError for one that is not known."""
    found = _find(url)
    if found is None:
        known = ", ".join(f.suffix + (" (also .gz, .zst)" if f.compressible else "") for f in FORMATS)
        raise UsageError(f"{url}: the suffix names no source format. Known are {known}.")
    return found


def cut_of(url: str, spec: JobSpec) -> Cut:
    """How one file may be shared between batches."""
    suffix = format_of(url).suffix
    if url.endswith(COMPRESSIONS):
        return Cut.WHOLE
    if suffix == ".parquet":
        return Cut.ROW_GROUPS
    if suffix == ".txt" and (spec.separator is None or overlaps_itself(spec.separator.encode())):
        return Cut.WHOLE
    return Cut.BYTES


def read(span: Span, spec: JobSpec) -> Iterator[Documents]:
    """The documents of a span, in source order."""
    return format_of(span.url).reader.read(span, spec)
