"""In which order rows are read: a permutation that is computed, never stored.

Comes in: positions in the order, as many epochs long as anybody likes. Goes out: row numbers. Always holds: each epoch is a
permutation of all rows, another for each epoch and seed; any position is found at once, so the state of an order is a number
and its memory does not grow with the rows.

The permutation is a Feistel network over the next power of four, walked until it lands inside (format-preserving encryption,
Black and Rogaway 2002). The shuffle has two steps, so that reading stays local: blocks of neighbouring rows are permuted,
then the rows of so many successive blocks among themselves.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import UsageError

Positions = NDArray[np.int64]
#: Of the network. Four make a pseudo-random permutation of a random function (Luby and Rackoff 1988); ours only mixes.
ROUNDS = 6
#: Positions that are computed together, and how many such stretches are kept: 32 KB each.
STRETCH = 4096
KEPT = 8
#: The round function: splitmix64's finalizer (Steele, Lea and Flood 2014).
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
WIDTH = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle:
    """A seeded shuffle. Rows of one block are neighbours in the corpus; a buffer is what is mixed row by row."""

    seed: int
    #: Rows in a block: 64 windows of 2,048 two-byte tokens are one read of 256 KB. With a cache smaller than the job, make it
    #: about a shard, or every buffer fetches as many shards as it has blocks.
    block: int = 64
    #: Blocks in a buffer. A job of no more rows than a buffer holds is permuted without any structure.
    buffer: int = 1024

    def __post_init__(self) -> None:
        if self.block < 1 or self.buffer < 1:
            raise UsageError(f"a shuffle's block and buffer are {self.block} and {self.buffer}; give 1 or more.")


class Permutation:
    """A bijection of 0 … count - 1, chosen by a key."""

    def __init__(self, count: int, *key: int) -> None:
        self._count = count
        self._half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        state = 0
        for part in key:
            state = mixed(state ^ mixed(part & WIDTH))
        self._keys = [np.uint64(mixed(state + number * GOLDEN)) for number in range(1, ROUNDS + 1)]

    def __call__(self, positions: Positions) -> Positions:
        """Where each position leads."""
        return self._walk(positions, self._forward)

    def inverse(self, places: Positions) -> Positions:
        """Which position leads to each place."""
        return self._walk(places, self._backward)

    def _walk(self, positions: Positions, step: Callable[[NDArray[np.uint64]], NDArray[np.uint64]]) -> Positions:
        found = step(positions.astype(np.uint64))
        count = np.uint64(self._count)
        while len(outside := np.flatnonzero(found >= count)):
            found[outside] = step(found[outside])
        return found.astype(np.int64)

    def _forward(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return left << self._half | right

    def _backward(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in reversed(self._keys):
            left, right = right ^ (_mixed(left ^ key) & self._mask), left
        return left << self._half | right


class Order:
    """Epoch after epoch of the same rows."""

    def __init__(self, rows: int, shuffle: Shuffle | None) -> None:
        self._rows, self._shuffle = rows, shuffle
        self._stretches: OrderedDict[tuple[int, int], Positions] = OrderedDict()

    def __call__(self, positions: Positions) -> Positions:
        """The row at each position; position `rows` begins the second epoch."""
        epochs: Positions = positions // self._rows
        within: Positions = positions - epochs * self._rows
        if self._shuffle is None or not len(positions):
            return within
        low, high = divmod(int(positions.min()), self._rows), divmod(int(positions.max()), self._rows)
        if (low[0], low[1] // STRETCH) == (high[0], high[1] // STRETCH):
            stretch = self._stretch(self._shuffle, low[0], low[1] // STRETCH)
            return stretch[within - low[1] // STRETCH * STRETCH]
        found, stretches = np.empty_like(within), within // STRETCH
        for key in dict.fromkeys(zip(epochs.tolist(), stretches.tolist(), strict=True)):
            chosen = (epochs == key[0]) & (stretches == key[1])
            found[chosen] = self._stretch(self._shuffle, *key)[within[chosen] % STRETCH]
        return found

    def _stretch(self, shuffle: Shuffle, epoch: int, number: int) -> Positions:
        """So many successive positions at once: a call of NumPy costs as much for one as for a hundred."""
        found = self._stretches.get((epoch, number))
        if found is None:
            positions = np.arange(number * STRETCH, min((number + 1) * STRETCH, self._rows))
            found = self._stretches[epoch, number] = self._shuffled(positions, epoch, shuffle)
            if len(self._stretches) > KEPT:
                self._stretches.popitem(last=False)
        return found

    def _shuffled(self, positions: Positions, epoch: int, shuffle: Shuffle) -> Positions:
        size = shuffle.block * shuffle.buffer
        buffers, within = np.divmod(positions, size)
        among_buffers = np.empty_like(positions)
        for buffer in np.unique(buffers).tolist():
            chosen, start = buffers == buffer, buffer * size
            among = Permutation(min(size, self._rows - start), shuffle.seed, epoch, 1 + buffer)
            among_buffers[chosen] = start + among(within[chosen])
        blocks = Permutation(-(-self._rows // shuffle.block), shuffle.seed, epoch, 0)
        return self._in_blocks(among_buffers, blocks, shuffle.block)

    def _in_blocks(self, positions: Positions, blocks: Permutation, block: int) -> Positions:
        """The row at each position of the blocks laid end to end in their new order, one of which may be short."""
        last = -(-self._rows // block) - 1
        short = self._rows - last * block
        shorts_end = int(blocks.inverse(np.array([last]))[0]) * block + short
        slots, offsets = np.divmod(np.where(positions < shorts_end, positions, positions + block - short), block)
        return blocks(slots) * block + offsets


def mixed(value: int) -> int:
    """The round function on one number."""
    value = (value + GOLDEN) & WIDTH
    value = (value ^ value >> 30) * FIRST & WIDTH
    value = (value ^ value >> 27) * SECOND & WIDTH
    return value ^ value >> 31


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(GOLDEN)
    values = (values ^ values >> np.uint64(30)) * np.uint64(FIRST)
    values = (values ^ values >> np.uint64(27)) * np.uint64(SECOND)
    return values ^ values >> np.uint64(31)
