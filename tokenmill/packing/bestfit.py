"""Best-fit decreasing: documents into rows of a fixed length, none of them cut.

Comes in: lengths. Goes out: the row of each document. Always holds: documents are placed from the longest to the shortest,
those of one length in the order in which they came, each in the row with the least room that it fits into, or in a new one; at
most 11/9 of the rows that would do, and two thirds of one (Johnson 1973; Dósa 2007). The rows stand in the order in which the
longest document of each came, so that what was shuffled before stays shuffled.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


def best_fit(lengths: NDArray[np.integer], length: int) -> tuple[Rows, int]:
    """The row of each document, and how many rows there are; a document without tokens is said to be in row 0.

    The work is by length and by room, not by document: all documents of one length that find rows with one room are placed at
    once, so that a million of them take about a tenth of a second.

    Args:
        lengths: tokens of each document, none more than `length`.
        length: tokens of a row.
    """
    waiting = np.argsort(-lengths, kind="stable")
    sizes, counts = np.unique(lengths, return_counts=True)
    rows = np.zeros(len(lengths), np.int32)
    shelf, openers, opened, first = _Shelf(), [np.empty(0, np.int64)], 0, 0
    for size, count in zip(sizes[::-1].tolist(), counts[::-1].tolist(), strict=True):
        if not size:
            break
        documents, first = waiting[first : first + count], first + count
        while len(documents):
            room = shelf.least(size)
            if room:
                found, each = shelf.taken(room), room // size
            else:
                room, each = length, length // size
                openers.append(documents[::each])
                found = np.arange(opened, opened + len(openers[-1]), dtype=np.int32)
                opened += len(found)
            # a row that took one document has less room than all others that the next one fits into: it takes that, too
            full, rest = divmod(len(documents), each)
            full, rest = (len(found), 0) if full >= len(found) else (full, rest)
            placed = np.repeat(found[:full], each)
            if rest:
                placed = np.concatenate((placed, np.repeat(found[full : full + 1], rest)))
            rows[documents[: len(placed)]] = placed
            documents = documents[len(placed) :]
            shelf.put(room - each * size, found[:full])
            if rest:
                shelf.put(room - rest * size, found[full : full + 1])
            shelf.put(room, found[full + (rest > 0) :])
    came = np.concatenate(openers)
    stands = np.empty(opened, np.int32)
    stands[np.argsort(came)] = np.arange(opened, dtype=np.int32)
    return (stands[rows] if opened else rows), opened


class _Shelf:
    """Rows by the room that is left in them."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Rows]] = {}
        #: The rooms there are, ascending.
        self._rooms: list[int] = []

    def least(self, size: int) -> int:
        """The least room of this size or more; 0 if there is none."""
        place = bisect_left(self._rooms, size)
        return self._rooms[place] if place < len(self._rooms) else 0

    def taken(self, room: int) -> Rows:
        """All rows with that room; they are on the shelf no more."""
        self._rooms.pop(bisect_left(self._rooms, room))
        return np.concatenate(self._rows.pop(room))

    def put(self, room: int, rows: Rows) -> None:
        if room and len(rows):
            if room not in self._rows:
                insort(self._rooms, room)
            self._rows.setdefault(room, []).append(rows)
