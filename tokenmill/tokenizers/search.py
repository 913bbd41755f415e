"""Finds the documents that hold one of some strings: a special token such as `<|endoftext|>`, or a delicate code point.

Comes in: a text column. Goes out: a truth value per document. Always holds: exact; and the work is array operations over the
column's bytes, so that a search costs little beside encoding. Arrow's own `match_substring` passes over the column once per
string at 0.4 GB/s, which made three strings dearer than the engine; this is 4 GB/s for all that begin alike.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Bytes of a string that are compared at once.
WORD = 4
#: Bytes that are passed over at a time: with what the passes make of them they stay in a core's cache (twice as fast as 4 MB).
SLICE = 128 << 10


class TextSearch:
    """A search for a fixed set of strings."""

    def __init__(self, strings: Iterable[str]) -> None:
        self._whole = tuple(sorted({string.encode() for string in strings if string}))
        self._longest = max(map(len, self._whole), default=0)
        words = {string[:WORD] for string in self._whole}
        #: Length -> the beginnings of that length, as numbers.
        self._beginnings = {
            length: np.array(sorted(int.from_bytes(word, "little") for word in words if len(word) == length), np.uint32)
            for length in sorted({len(word) for word in words})
        }
        self._first = np.zeros(256, dtype=np.bool_)
        self._first[[word[0] for word in words]] = True

    def holds(self, text: pa.LargeStringArray) -> NDArray[np.bool_]:
        """For each document, whether it holds one of the strings. The column has no nulls."""
        found = np.zeros(len(text), dtype=np.bool_)
        if not self._whole or not len(text):
            return found
        _, offsets_buffer, data_buffer = text.buffers()
        assert offsets_buffer is not None
        assert data_buffer is not None
        offsets = np.frombuffer(memoryview(offsets_buffer), np.int64)[text.offset : text.offset + len(text) + 1]
        data = np.frombuffer(memoryview(data_buffer), np.uint8)[offsets[0] : offsets[-1]]
        places = self._begun(data)
        # a beginning may run across the end of its document; the whole string must not
        for place, document in zip(places.tolist(), _documents(places, offsets), strict=True):
            if not found[document]:
                end = min(place + self._longest, int(offsets[document + 1] - offsets[0]))
                found[document] = data[place:end].tobytes().startswith(self._whole)
        return found

    def _begun(self, data: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The places where one of the strings may stand."""
        places = self._first_bytes(data)
        if not len(places):
            return places
        words = np.zeros(len(places), np.uint32)
        begun = np.zeros(len(places), dtype=np.bool_)
        for length in range(1, max(self._beginnings) + 1):
            following = data[np.minimum(places + (length - 1), len(data) - 1)].astype(np.uint32)
            words |= following << np.uint32(8 * (length - 1))
            if length in self._beginnings:
                begun |= np.isin(words, self._beginnings[length])
        return places[begun]

    def _first_bytes(self, data: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The places of all first bytes: one pass for each that is ASCII, one for all others, which most text has few of."""
        firsts = np.flatnonzero(self._first)
        beyond = firsts[firsts > 0x7F]
        found: list[NDArray[np.int64]] = []
        for start in range(0, len(data), SLICE):
            part = data[start : start + SLICE]
            passes = [np.flatnonzero(part == first) for first in firsts[firsts <= 0x7F]]
            if len(beyond):
                leading = np.flatnonzero(part >= beyond[0])
                passes.append(leading[self._first[part[leading]]])
            found += [places + start for places in passes if len(places)]
        return np.concatenate(found) if found else np.empty(0, np.int64)


def _documents(places: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[int]:
    """The document in which each place lies."""
    return (np.searchsorted(offsets - offsets[0], places, side="right") - 1).tolist()  # type: ignore[no-any-return]
