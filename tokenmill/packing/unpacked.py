"""The documents of a packed shard, as if they had never been packed.

Comes in: the reader of its rows, and its pieces. Goes out: documents by number, in the order in which they came to the writer,
whole. Always holds: a `ShardReader`, so whoever reads documents need not know that these are packed.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import JobError
from tokenmill.packing.pieces import Pieces
from tokenmill.shards import ShardReader


class Unpacked:
    """Reads documents out of rows."""

    def __init__(self, rows: ShardReader, pieces: Pieces, length: int, documents: int, where: str) -> None:
        """
        Args:
            length: tokens of each row.
            documents: how many there are; those without tokens have no piece.
            where: names the shard in an error.

        Raises JobError if rows or pieces are not those of such a shard.
        """
        if not len(rows) or bool((rows.lengths == length).all()):
            fault = pieces.fault(len(rows), length, documents)
        else:
            fault = f"its rows are not all of {length} tokens"
        if fault is not None:
            raise JobError(f"{where} is damaged: {fault}.")
        self.rows, self.pieces, self._documents = rows, pieces, documents

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens per document."""
        lengths = np.zeros(self._documents, np.int64)
        np.add.at(lengths, self.pieces.document, self.pieces.length)
        return lengths.astype(np.int32)

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """Where the pieces of each document begin in `by_document`, and where the last one's end."""
        held = np.bincount(self.pieces.document, minlength=self._documents)
        return np.concatenate(([0], np.cumsum(held)))

    def __len__(self) -> int:
        return self._documents

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        return self.span(document, document + 1)

    def span(self, start: int, stop: int) -> NDArray[np.integer]:
        """The ids of the documents [start, stop), end to end."""
        parts = [self.rows[row][before : before + length] for row, before, length in self.places(start, stop)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def places(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Row, place in it and length of each piece of the documents [start, stop), in their order."""
        pieces = self.pieces
        for piece in pieces.by_document[self._bounds[start] : self._bounds[stop]].tolist():
            yield int(pieces.sequence[piece]), int(pieces.before[piece]), int(pieces.length[piece])
