"""Documents of a batch that wait on this machine's disk to be written in another order: an external sort by their keys.

Comes in: documents, column by column, and a key for each. Goes out: the same documents in the order of their keys, in columns
whose bounds the caller names; those of one key in the order in which they came. Always holds: ids wait in a nameless file,
memory holds the keys, 4 bytes more for each document, and a column or two (law 7).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill import storage

if TYPE_CHECKING:
    from io import BufferedRandom

#: Tokens that are gathered before they are written, about.
COLUMN_TOKENS = 1 << 20
Keys = NDArray[Any]


@dataclass(slots=True)
class _Run:
    """Documents that came together, on disk."""

    #: Where its tokens begin in the file, in tokens.
    start: int
    lengths: NDArray[np.int32]
    keys: Keys


class Staged:
    """The documents of one batch, in runs that are sorted by their keys."""

    def __init__(self, output: str) -> None:
        self.documents = self.tokens = 0
        self._runs: list[_Run] = []
        self._open = ExitStack()
        self._file = cast("BufferedRandom", self._open.enter_context(storage.scratch(output)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each document, those of a run in the order of their keys."""
        return np.concatenate([np.empty(0, np.int32), *(run.lengths for run in self._runs)])

    def add(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64], keys: Keys | None = None) -> None:
        """Add a run. Without keys it waits as it came, and `sort` has to be told them."""
        if keys is None:
            keys = np.empty(0, np.int32)
        else:
            ids, lengths, keys = _sorted(ids, lengths, keys)
        self._file.write(np.ascontiguousarray(ids).data.cast("B"))
        self._runs.append(_Run(self.tokens, lengths.astype(np.int32), keys))
        self.documents += len(lengths)
        self.tokens += len(ids)

    def sort(self, keys: Keys) -> None:
        """Give all documents their keys, in the order in which they came: each run is sorted where it lies."""
        first = 0
        for run in self._runs:
            own, first = keys[first : first + len(run.lengths)], first + len(run.lengths)
            ids = np.empty(int(run.lengths.sum(dtype=np.int64)), np.uint32)
            self._read(run.start, ids)
            ids, lengths, run.keys = _sorted(ids, run.lengths.astype(np.int64), own)
            run.lengths = lengths.astype(np.int32)
            self._file.seek(4 * run.start)
            self._file.write(ids.data.cast("B"))

    def columns(self, bounds: Keys) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
        """The documents below the first bound, those from it on and below the second …, at last those from the last one on."""
        cuts = [np.concatenate(([0], np.searchsorted(run.keys, bounds), [len(run.keys)])) for run in self._runs]
        # where each run's next document begins: a run is read from its beginning to its end, a bit for each column
        places = [run.start for run in self._runs]
        for column in range(len(bounds) + 1):
            own = [slice(int(cut[column]), int(cut[column + 1])) for cut in cuts]
            lengths = [run.lengths[some].astype(np.int64) for run, some in zip(self._runs, own, strict=True)]
            keys = [run.keys[some] for run, some in zip(self._runs, own, strict=True)]
            sizes = [int(some.sum()) for some in lengths]
            ids, filled = np.empty(sum(sizes), np.uint32), 0
            for number, size in enumerate(sizes):
                self._read(places[number], ids[filled : filled + size])
                places[number], filled = places[number] + size, filled + size
            if any(map(len, keys)):
                yield _sorted(ids, np.concatenate(lengths), np.concatenate(keys))[:2]

    def _read(self, start: int, ids: NDArray[np.uint32]) -> None:
        """Fill an array from a place of the file, in tokens."""
        if len(ids):
            self._file.seek(4 * start)
            read = self._file.readinto(ids.data.cast("B"))
            assert read == ids.nbytes


def _sorted(
    ids: NDArray[np.uint32], lengths: NDArray[np.int64], keys: Keys
) -> tuple[NDArray[np.uint32], NDArray[np.int64], Keys]:
    """Documents by their keys; a stable sort, since keys may be equal.

    Arrow copies each as a string of bytes: four times as fast as NumPy does it with the index of every token.
    """
    rank, contiguous = np.argsort(keys, kind="stable"), np.ascontiguousarray(ids)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(4 * lengths, out=offsets[1:])
    buffers: list[Any] = [None, pa.py_buffer(cast("memoryview", offsets)), pa.py_buffer(cast("memoryview", contiguous))]
    copied = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), buffers).take(pa.array(rank, pa.int64()))
    data = copied.buffers()[2]
    assert data is not None
    return np.frombuffer(memoryview(data), np.uint32, len(ids)), lengths[rank], keys[rank]
