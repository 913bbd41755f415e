"""Runs of consecutive ids as one number each: what MinHash and the search for test sets are made of.

The number of the `width` ids t[0] … t[width - 1] is the polynomial

    (t[0] + 1) M^(width - 1) + (t[1] + 1) M^(width - 2) + … + (t[width - 1] + 1)    modulo 2^64,  M = 0xD1342543DE82EF95

M is a multiplier of good spectral quality (Steele and Vigna, "Computationally easy, spectrally good multipliers", 2021): no sum
of few of its powers with small factors is 0, and such a sum is what two runs of equal number differ by. The high bits depend on
all ids, the low ones on fewer: whoever needs all to be good mixes the number (`tokenmill.splitmix`).

Always holds: no run reaches beyond its document's text; runs come in the order of their places, in blocks of bounded size.
`engines/cuda/kernels/facts.h` has the same arithmetic.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenmill.facts.texts import Texts
from tokenmill.lengths import ranges

MULTIPLIER = 0xD1342543DE82EF95
#: Places that are gone through together: what is made of them stays in a processor's own cache.
BLOCK = 1 << 15


@dataclass(frozen=True, slots=True)
class Shingles:
    """Some runs, each with the document it stands in and the place among the ids where it begins."""

    numbers: NDArray[np.uint64]
    documents: NDArray[np.int64]
    places: NDArray[np.int64]


def shingles(texts: Texts, width: int) -> Iterator[Shingles]:
    """All runs of `width` ids, some at a time."""
    for start in range(0, len(texts.ids), BLOCK):
        stop = min(start + BLOCK, len(texts.ids))
        # documents stand in order, one behind the other
        first = int(np.searchsorted(texts.stops, start, "right"))
        last = int(np.searchsorted(texts.starts, stop, "left"))
        begin = np.maximum(texts.starts[first:last], start)
        counts = np.maximum(np.minimum(texts.stops[first:last] - width + 1, stop) - begin, 0)
        places = ranges(begin, counts)
        if len(places):
            numbers = numbers_of(texts.ids[start : stop + width - 1], width)[places - start]
            yield Shingles(numbers, np.repeat(np.arange(first, last), counts), places)


def numbers_of(ids: NDArray[np.uint32], width: int) -> NDArray[np.uint64]:
    """The number of the run that begins at each id; none at the last `width` - 1.

    Runs of 1, 2, 4 … ids are put together, as the bits of `width` say: a dozen operations for 13 ids.
    """
    run = ids.astype(np.uint64)
    run += np.uint64(1)
    long, found, length = 1, run, 0
    while True:
        if width & long:
            found = run if not length else _joined(found, run, length, long)
            length += long
        if length == width:
            return found
        run, long = _joined(run, run, long, long), 2 * long


def _joined(left: NDArray[np.uint64], right: NDArray[np.uint64], first: int, second: int) -> NDArray[np.uint64]:
    """The numbers of runs of `first` + `second` ids, from those of both lengths."""
    count = max(0, min(len(left), len(right) - first))
    joined = left[:count] * np.uint64(pow(MULTIPLIER, second, 1 << 64))
    joined += right[first : first + count]
    return joined
