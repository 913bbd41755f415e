"""Room 1, documents: a span of a source file in, Arrow columns of documents out.

A new source format is one file here with a `Reader`, and one line in `FORMATS`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tokenmill.documents.arrow import ArrowReader, record_batches
from tokenmill.documents.compression import SUFFIXES as COMPRESSIONS
from tokenmill.documents.contract import COLUMN_BYTES, GIVEN_UP, Documents, Reader, Reason, Rejection, excerpt
from tokenmill.documents.delimited import DelimitedReader
from tokenmill.documents.fields import Fields
from tokenmill.documents.frames import FRAMED, Frames, frames
from tokenmill.documents.huggingface import left_out
from tokenmill.documents.json_values import JsonReader
from tokenmill.documents.jsonl import JsonLinesReader
from tokenmill.documents.metadata import MetadataFile
from tokenmill.documents.parquet import ParquetReader, row_groups
from tokenmill.documents.records import overlaps_itself
from tokenmill.documents.rejected import RejectedFile, rejections
from tokenmill.documents.source import check_unchanged
from tokenmill.documents.text import TextReader
from tokenmill.documents.warc import WarcReader
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Batch, Cut, Span
from tokenmill.spec import JobSpec

__all__ = [
    "COLUMN_BYTES",
    "GIVEN_UP",
    "Documents",
    "Fields",
    "Format",
    "Frames",
    "MetadataFile",
    "Reader",
    "Reason",
    "RejectedFile",
    "Rejection",
    "check_unchanged",
    "cut_of",
    "excerpt",
    "format_of",
    "frames",
    "has_records",
    "is_source",
    "left_out",
    "pieces",
    "read",
    "rejections",
    "sample",
]


#: Bytes of a sample.
SAMPLE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Format:
    """A source format."""

    suffix: str
    reader: Reader
    #: Whether it is also read from .gz, .zst and the like.
    compressible: bool = True
    #: What a plain file can be cut at.
    cut: Cut = Cut.WHOLE
    #: The bytes of each piece a file can be cut into, as the file says; None if it says nothing.
    pieces: Callable[[str, JobSpec], list[int] | None] | None = None
    #: Raises BatchError if a file lacks a column, where `pieces` does not see to that.
    check: Callable[[str, JobSpec], None] | None = None


CSV, TSV = DelimitedReader(","), DelimitedReader("\t")
FORMATS = (
    Format(".jsonl", JsonLinesReader(), cut=Cut.BYTES),
    Format(".json", JsonReader()),
    Format(".csv", CSV, check=CSV.check),
    Format(".tsv", TSV, check=TSV.check),
    Format(".txt", TextReader(), cut=Cut.BYTES),
    Format(".wet", WarcReader()),
    Format(".warc", WarcReader()),
    Format(".parquet", ParquetReader(), compressible=False, cut=Cut.ROW_GROUPS, pieces=row_groups),
    *(
        Format(suffix, ArrowReader(), compressible=False, cut=Cut.RECORD_BATCHES, pieces=record_batches)
        for suffix in (".arrow", ".feather", ".ipc")
    ),
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
        streams = ", ".join(f.suffix for f in FORMATS if f.compressible)
        others = ", ".join(f.suffix for f in FORMATS if not f.compressible)
        also = ", ".join(COMPRESSIONS)
        raise UsageError(
            f"{url}: the suffix names no source format. Known are {streams} (each also with {also}), and {others}."
        )
    return found


def has_records(url: str) -> bool:
    """Whether a file's records have fields that may hold more than text, as conversations need them."""
    return format_of(url).suffix in (".jsonl", ".json", ".parquet", ".arrow", ".feather", ".ipc")


def cut_of(url: str, spec: JobSpec) -> Cut:
    """What a file may be cut at to be shared between batches, as far as its name tells."""
    cut = format_of(url).cut
    if format_of(url).suffix == ".txt" and (spec.separator is None or overlaps_itself(spec.separator.encode())):
        return Cut.WHOLE
    if url.endswith(COMPRESSIONS):
        return Cut.FRAMES if cut is Cut.BYTES and url.endswith(FRAMED) else Cut.WHOLE
    return cut


def pieces(url: str, spec: JobSpec) -> list[int] | None:
    """The bytes of each row group or record batch; None for a file that has none. Raises BatchError if it lacks a column."""
    found = format_of(url)
    if found.check is not None:
        found.check(url, spec)
    return None if found.pieces is None else found.pieces(url, spec)


def read(span: Span, spec: JobSpec) -> Iterator[Documents]:
    """The documents of a span, in source order."""
    return format_of(span.url).reader.read(span, spec)


def sample(batches: Sequence[Batch], spec: JobSpec) -> pa.LargeStringArray:
    """Some of a job's own text: the first documents of some batches, about SAMPLE_BYTES together."""
    taken: list[pa.LargeStringArray] = []
    for batch in batches:
        try:
            found = next(read(batch.spans[0], spec), None)
        except BatchError:
            continue  # the worker that gets this file reports it
        if found is not None:
            share = SAMPLE_BYTES // len(batches)
            # a document that is longer than the whole sample would take the reference seconds and gigabytes
            sizes = pc.binary_length(found.text).to_numpy(zero_copy_only=False)
            short = sizes < SAMPLE_BYTES
            taken.append(found.text.filter(pa.array(short))[: int(np.searchsorted(np.cumsum(sizes[short]), share)) + 1])
    return pa.concat_arrays(taken) if taken else pa.array([], pa.large_string())
