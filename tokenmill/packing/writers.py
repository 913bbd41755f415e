"""Shard writers that pack: documents come, rows of one length go to the format's own writer, and pieces to the sidecar.

Always holds: every token stands in exactly one row; ids pass through as they are, all 32 bits of them; rows and pieces are a
function of the documents, however these are spread over the calls of `append`; what is no document's is `pad_id`, and counted.

Concatenated, rows go on as documents come, and memory holds a column. For best-fit the whole batch has to be known: its ids
wait on this machine's disk, and memory holds about 30 bytes a document.
"""

from collections import Counter
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenmill.packing.bestfit import best_fit
from tokenmill.packing.pieces import PiecesFile
from tokenmill.record import FileDigest
from tokenmill.shards import ShardWriter
from tokenmill.spec import Packing
from tokenmill.staged import COLUMN_TOKENS, Staged

#: Told what was made, by the names that `tokenmill.job.Counts` has for it.
Tally = Counter[str]


def packed(
    writer: ShardWriter, output: str, index: int, packing: Packing | None, pad_id: int | None, tally: Tally
) -> ShardWriter:
    """The same writer for a job that does not pack, else one that packs what goes to it."""
    if packing is None or pad_id is None:
        return writer
    kind = Concatenated if packing.method == "concatenate" else BestFit
    return kind(writer, output, index, packing.length, pad_id, tally)


class _Packed:
    """What both methods do alike."""

    def __init__(self, writer: ShardWriter, output: str, index: int, length: int, pad_id: int, tally: Tally) -> None:
        self._writer, self._length, self._pad, self._tally = writer, length, pad_id, tally
        self._open = ExitStack()
        self._pieces = self._open.enter_context(PiecesFile(output, index))

    def __enter__(self) -> Self:
        self._open.enter_context(self._writer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def _write(self, ids: NDArray[np.uint32]) -> None:
        """Write rows that are full."""
        rows = len(ids) // self._length
        self._writer.append(ids, np.full(rows, self._length, np.int64))
        self._tally["sequences"] += rows

    def _publish(self) -> tuple[FileDigest, ...]:
        return (*self._writer.publish(), self._pieces.publish())


class Concatenated(_Packed):
    """Documents end to end, cut every `length` tokens; the last row of the shard is padded."""

    def __init__(self, writer: ShardWriter, output: str, index: int, length: int, pad_id: int, tally: Tally) -> None:
        super().__init__(writer, output, index, length, pad_id, tally)
        self._documents = self._tokens = 0
        #: What has no full row yet.
        self._rest = np.empty(0, np.uint32)

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents."""
        began = self._tokens + np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        cuts = np.arange(-(-self._tokens // self._length) * self._length, began[-1], self._length, dtype=np.int64)
        starts = np.union1d(began[:-1], cuts)
        starts = starts[starts < began[-1]]
        document = np.searchsorted(began, starts, "right") - 1  # the last to begin there: those before it have no tokens
        stops = np.append(starts[1:], began[-1:])
        self._pieces.append(
            starts // self._length, stops[: len(starts)] - starts, document + self._documents, starts - began[document]
        )
        self._documents += len(lengths)
        self._tokens = int(began[-1])
        ids = np.concatenate((self._rest, ids))
        full = len(ids) // self._length * self._length
        self._write(ids[:full])
        self._rest = ids[full:].copy()

    def publish(self) -> tuple[FileDigest, ...]:
        """Pad the last row, and give the files their final names."""
        if len(self._rest):
            padding = self._length - len(self._rest)
            self._write(np.concatenate((self._rest, np.full(padding, self._pad, np.uint32))))
            self._tally["tokens_padding"] += padding
        return self._publish()


class BestFit(_Packed):
    """Documents whole, in as few rows as best-fit decreasing makes of them, each padded."""

    def __init__(self, writer: ShardWriter, output: str, index: int, length: int, pad_id: int, tally: Tally) -> None:
        super().__init__(writer, output, index, length, pad_id, tally)
        self._staged = self._open.enter_context(Staged(output))

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents, none of which is longer than a row: a job's length policy sees to that."""
        assert int(lengths.max(initial=0)) <= self._length
        self._staged.add(ids, lengths)

    def publish(self) -> tuple[FileDigest, ...]:
        """Find each document its row, write the rows, and give the files their final names."""
        lengths = self._staged.lengths
        row, rows = best_fit(lengths, self._length)
        used = np.bincount(row, lengths, minlength=rows).astype(np.int64)[:rows]
        order = np.argsort(row, kind="stable")
        order = order[lengths[order] > 0]
        self._pieces.append(row[order], lengths[order], order, np.broadcast_to(np.int64(0), len(order)))
        del order, lengths
        together = max(1, COLUMN_TOKENS // self._length)
        padding = self._length - used
        for first in range(0, rows, together):  # it comes behind all documents, as more of them, and so behind those of its row
            some = padding[first : first + together]
            self._staged.add(np.full(int(some.sum()), self._pad, np.uint32), some)
        self._staged.sort(np.concatenate((row, np.arange(rows, dtype=np.int32))))
        for ids, _ in self._staged.columns(np.arange(together, rows, together)):
            self._write(ids)
        self._tally["tokens_padding"] += int(padding.sum())
        return self._publish()
