"""Seeded shuffle: the order of a job's documents as a function of its seed, and of nothing else.

Comes in: a seed, a stream (the plan, or one batch), a count. Goes out: a permutation; and a shard writer that takes documents
in source order and writes them in the permuted one. Always holds: the permutation is arithmetic on 64-bit integers, no
library's generator, so it stays the same whatever the machine or the version of NumPy (law 2); a batch waits as a nameless
file on this machine's disk, and memory holds 12 bytes a document and a column or two (law 7).

The shuffle has two steps. The plan cuts the sources into pieces smaller than a batch, permutes them and deals them into
batches; each batch then permutes its documents. Documents of one piece stay in one shard, in no order.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenmill.record import FileDigest
from tokenmill.shards import ShardWriter
from tokenmill.splitmix import mixed
from tokenmill.staged import COLUMN_TOKENS, Staged

#: The stream that permutes the pieces of the plan; a batch's is its index.
PLAN = (1 << 64) - 1


def order(seed: int, stream: int, count: int) -> NDArray[np.int64]:
    """The permutation: place i takes what came as number order[i]."""
    return np.argsort(keys(seed, stream, 0, count))


def keys(seed: int, stream: int, start: int, count: int) -> NDArray[np.uint64]:
    """What the numbers start … start + count - 1 are sorted by.

    splitmix64 (Steele, Lea and Flood, 2014) of the number, from a place that seed and stream decide. It is a bijection, so no
    two keys of a stream are equal.
    """
    with np.errstate(over="ignore"):  # modulo 2^64 is what is meant
        begin = mixed(np.array([seed], np.uint64) ^ mixed(np.array([stream], np.uint64)))
        numbers = np.arange(start, start + count, dtype=np.uint64)
        return mixed(np.add(begin, numbers, dtype=np.uint64))


class ShuffledWriter:
    """A shard writer that writes a batch's documents in the order of its seed."""

    def __init__(self, writer: ShardWriter, output: str, seed: int, batch: int) -> None:
        self._writer, self._seed, self._batch = writer, seed, batch
        self._open = ExitStack()
        self._staged = self._open.enter_context(Staged(output))

    def __enter__(self) -> Self:
        self._open.enter_context(self._writer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents, in source order."""
        self._staged.add(ids, lengths, keys(self._seed, self._batch, self._staged.documents, len(lengths)))

    def publish(self) -> tuple[FileDigest, ...]:
        """Write the documents in their new order, and give the files their final names."""
        columns = self._staged.tokens // COLUMN_TOKENS + 1
        bounds = np.array([(number << 64) // columns for number in range(1, columns)], np.uint64)
        for ids, lengths in self._staged.columns(bounds):
            self._writer.append(ids, lengths)
        return self._writer.publish()
