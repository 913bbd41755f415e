"""A file of ids end to end, with or without a header: what most formats are, but for where they keep the boundaries.

Comes in: documents. Goes out: one file of ids, and the documents' lengths. Always holds: ids go to storage as they come; where
a header has to say first how many there are, they wait on this machine's disk, never in memory; a file is as long as its index
says, or it is refused.
"""

from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import JobError
from tokenmill.record import FileDigest
from tokenmill.shards.ids import offsets_of, stored

BLOCK = 1 << 20


class FlatWriter:
    """Sends ids to storage as they come."""

    def __init__(self, output: str, path: str, dtype: str) -> None:
        self._dtype: np.dtype[np.integer] = np.dtype(dtype).newbyteorder("<")
        self._output, self._path = output, path
        self._lengths: list[NDArray[np.int64]] = []
        self._files = ExitStack()
        self._file = storage.writer(storage.join(output, path))
        self._files.callback(self._file.discard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.__exit__(kind, error, trace)

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents. Raises JobError if an id does not fit, BatchError if a document has 2^31 tokens or more."""
        self._write(stored(ids, lengths, self._dtype).data.cast("B"))
        self._lengths.append(lengths.copy())

    def _write(self, ids: memoryview) -> None:
        self._file.write(ids)

    @property
    def _all_lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.concatenate([np.empty(0, np.int64), *self._lengths])

    def _put(self, path: str, data: bytes) -> FileDigest:
        """Write a small file beside that of the ids."""
        return storage.put(storage.join(self._output, path), data, path)


class HeadedWriter(FlatWriter):
    """Keeps ids in a nameless file on this machine's disk, until the header that stands before them is known."""

    def __init__(self, output: str, path: str, dtype: str) -> None:
        super().__init__(output, path, dtype)
        self._kept = self._files.enter_context(storage.scratch(output))

    def _write(self, ids: memoryview) -> None:
        self._kept.write(ids)

    def _publish_behind(self, header: bytes) -> FileDigest:
        """Give the file its final name: the header, then all that was kept."""
        self._file.write(header)
        self._kept.seek(0)
        while block := self._kept.read(BLOCK):
            self._file.write(block)
        return self._file.publish(self._path)


class FlatReader:
    """Reads ids by memory map; the documents stand end to end behind a header of `start` bytes."""

    def __init__(self, output: str, path: str, dtype: str, lengths: NDArray[np.integer], start: int = 0) -> None:
        """Raises JobError if the file is not exactly as long as `lengths` ask for."""
        self._dtype: np.dtype[np.integer] = np.dtype(dtype).newbyteorder("<")
        self.lengths: NDArray[np.int32] = lengths.astype(np.int32, copy=False)
        self._offsets, self._start = offsets_of(lengths), start
        self._url = storage.join(output, path)
        check_size(output, path, start + int(self._offsets[-1]) * self._dtype.itemsize)

    @cached_property
    def ids(self) -> NDArray[np.integer]:
        """All ids; where they have to be copied from afar, whoever asks for lengths alone does without."""
        if not self._offsets[-1]:
            return np.empty(0, self._dtype)
        return storage.mapped(self._url, self._dtype)[self._start // self._dtype.itemsize :]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        start = int(self._offsets[document])
        return self.ids[start : start + int(self.lengths[document])]

    def span(self, start: int, stop: int) -> NDArray[np.integer]:
        """The ids of the documents [start, stop), end to end."""
        return self.ids[self._offsets[start] : self._offsets[stop]]


def damaged(output: str, path: str, what: str) -> JobError:
    """What a reader raises over a file that is not what it should be."""
    return JobError(f"{storage.join(output, path)} {what}. Run: tokenmill verify {output}")


def check_size(output: str, path: str, expected: int) -> None:
    """Raise JobError unless a file is there and as long as it should be."""
    found = size_of(output, path)
    if found != expected:
        raise damaged(output, path, f"is {found} bytes long, its index asks for {expected}")


def size_of(output: str, path: str) -> int:
    """Bytes of a shard file. Raises JobError if it is missing."""
    status = storage.status(storage.join(output, path))
    if status is None:
        raise damaged(output, path, "is missing")
    return status.size


def index_of(output: str, path: str) -> bytes:
    """All of a small file. Raises JobError if it is missing."""
    found = storage.find(storage.join(output, path))
    if found is None:
        raise damaged(output, path, "is missing")
    return found


def dtype_there(output: str, paths: dict[str, str]) -> str:
    """Which of the files, by type, is there: how wide ids are is said by the name where nothing in the file does.

    Raises JobError unless it is one of them.
    """
    there = [dtype for dtype, path in paths.items() if storage.exists(storage.join(output, path))]
    if len(there) != 1:
        raise damaged(output, " or ".join(paths.values()), "is missing" if not there else "is there twice")
    return there[0]


def head_of(output: str, path: str, size: int) -> bytes:
    """The first bytes of a shard file, fewer if it is shorter. Raises JobError if it is missing."""
    size_of(output, path)
    with storage.open_input(storage.join(output, path)) as file:
        return file.read(size)
