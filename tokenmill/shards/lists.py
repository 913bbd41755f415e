"""A column of lists, `input_ids`, as Hugging Face `datasets` and everything on Arrow has tokenized text.

Comes in: documents. Goes out: record batches, cut by the documents alone, and documents again. Always holds: a batch has fewer
than 2^31 ids, so that its lists have the 32-bit offsets which every version of `datasets` reads.
"""

from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cached_property
from io import IOBase
from types import TracebackType
from typing import Any, Protocol, Self, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import TokenmillError
from tokenmill.record import FileDigest
from tokenmill.shards.ids import Groups, offsets_of, stored

COLUMN = "input_ids"
DTYPES = ("uint16", "int32")


def schema(dtype: str) -> pa.Schema:
    """The one column."""
    return pa.schema([pa.field(COLUMN, pa.list_(pa.field("item", pa.from_numpy_dtype(np.dtype(dtype)))))])


def dtype_of(found: pa.Schema) -> str | None:
    """The type of the ids; None if the file is none of ours."""
    return next((dtype for dtype in DTYPES if found.equals(schema(dtype))), None)


class BatchSink(Protocol):
    """What pyarrow writes record batches with."""

    def write_batch(self, batch: pa.RecordBatch) -> None: ...
    def close(self) -> None: ...


class ListWriter(ABC):
    """Writes documents as record batches; what kind of file these make is the subclass's."""

    def __init__(self, output: str, path: str, dtype: str) -> None:
        self._schema, self._dtype, self._path = schema(dtype), np.dtype(dtype), path
        self._groups = Groups()
        self._file = storage.writer(storage.join(output, path))
        self._sink = self._open(pa.PythonFile(cast("IOBase", self._file), mode="w"))

    @abstractmethod
    def _open(self, file: pa.NativeFile) -> BatchSink:
        """What turns record batches into bytes of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._file.closed:  # pyarrow would end the file later by itself, when there is nowhere to write to
            with suppress(TokenmillError, pa.ArrowException):
                self._sink.close()
        self._file.discard()

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents. Raises JobError if an id does not fit, BatchError if a document has 2^31 tokens or more."""
        for group in self._groups.add(stored(ids, lengths, self._dtype), lengths):
            self._write(*group)

    def _write(self, ids: NDArray[np.integer], lengths: NDArray[np.int64]) -> None:
        offsets = cast("pa.Int32Array", pa.array(offsets_of(lengths).astype(np.int32)))
        lists = pa.ListArray.from_arrays(offsets, pa.array(ids), type=self._schema.field(0).type)
        self._sink.write_batch(pa.record_batch([lists], schema=self._schema))

    def publish(self) -> tuple[FileDigest, ...]:
        for group in self._groups.rest():
            self._write(*group)
        self._sink.close()
        return (self._file.publish(self._path),)


#: Offsets and ids of the documents of one record batch.
Lists = tuple[NDArray[np.int64], NDArray[np.integer]]


def unpacked(lists: Any) -> Lists:
    """The buffers of a column of lists; pyarrow's types know them for no array that was read."""
    return lists.offsets.to_numpy().astype(np.int64), lists.values.to_numpy()


class ListReader(ABC):
    """Documents out of record batches; how one is come by is the subclass's."""

    @property
    @abstractmethod
    def _firsts(self) -> NDArray[np.int64]:
        """The first document of each record batch, and after them the number of all."""

    @abstractmethod
    def _batch(self, place: int) -> Lists:
        """One record batch."""

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens per document."""
        found = (np.diff(self._batch(place)[0]).astype(np.int32) for place in range(len(self._firsts) - 1))
        return np.concatenate([np.empty(0, np.int32), *found])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        return self.span(document, document + 1)

    def span(self, start: int, stop: int) -> NDArray[np.integer]:
        """The ids of the documents [start, stop), end to end; a view where they are of one record batch."""
        parts = []
        while start < stop:
            place = int(np.searchsorted(self._firsts, start, side="right")) - 1
            (offsets, ids), first = self._batch(place), int(self._firsts[place])
            end = min(stop, int(self._firsts[place + 1]))
            parts.append(ids[offsets[start - first] : offsets[end - first]])
            start = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.int32)])
