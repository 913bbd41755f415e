"""Rows of several jobs in given proportions, always in the same order.

Comes in: rows and weights. Goes out: which rows stand at which position of an endless course. Always holds: every `CYCLE`
positions hold each source as often as its weight says, rounded to one in `CYCLE`; a source's own rows come in its own
order, each once before one comes twice; any position is found at once.

Exhaustion: with `exhausted="stop"` an epoch ends with the last whole cycle for which no source has to begin again, and rows
of the others are left over (`left_over`); a second epoch goes on with these. With "repeat" it ends with the cycle in which the
last source has been seen whole, and the smaller ones have begun again, each time in a new order.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import JobError, UsageError
from tokenmill.reader.order import Order, Permutation, Positions, Shuffle
from tokenmill.reader.rows import Arrays, Rows

#: Positions over which proportions are exact.
CYCLE = 1000


class Mixture:
    """A course through the rows of one or more sources."""

    def __init__(
        self,
        sources: Sequence[tuple[Rows, float]],
        *,
        exhausted: Literal["stop", "repeat"] = "stop",
        seed: int = 0,
    ) -> None:
        """
        Args:
            sources: rows of one width and the same fields, and a weight for each: its share of all rows.
            exhausted: when an epoch ends.
            seed: decides in which order the sources take turns.

        Raises JobError if two jobs were made with different tokenizers.
        """
        if not sources or min(weight for _, weight in sources) <= 0:
            raise UsageError("a mixture needs sources, each with a weight above 0.")
        if exhausted not in ("stop", "repeat"):
            raise UsageError(f"exhausted is {exhausted!r}; give stop or repeat.")
        self.rows = [rows for rows, _ in sources]
        for rows in self.rows[1:]:
            _agree(self.rows[0], rows)
        self._shares = np.array(shares([weight for _, weight in sources]), np.int64)
        self._ends = np.cumsum(self._shares)
        self._cycle = int(self._ends[-1])
        self._turns = Permutation(self._cycle, seed, self._cycle)(np.arange(self._cycle))
        self._seed, self._exhausted = seed, exhausted
        sizes = np.array([len(rows) for rows in self.rows], np.int64)
        cycles = sizes // self._shares if exhausted == "stop" else -(-sizes // self._shares)
        self._cycles = int(cycles.min() if exhausted == "stop" else cycles.max())
        if len(self) == 0:
            raise UsageError(f"sources of {sizes.tolist()} rows are too small for one cycle of {self._shares.tolist()}.")
        #: Rows of each source that the first epoch does not reach.
        self.left_over = np.maximum(sizes - self._cycles * self._shares, 0).tolist()

    def __len__(self) -> int:
        """Positions in an epoch."""
        return self._cycles * self._cycle

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the course."""
        return {
            "sources": [rows.identity for rows in self.rows],
            "shares": self._shares.tolist(),
            "exhausted": self._exhausted,
            "seed": self._seed,
        }

    def orders(self, shuffle: Shuffle | None) -> list[Order]:
        """Each source's own order, with a seed of its own."""
        return [Order(len(rows), shuffle) for rows in self.rows]

    def located(self, positions: Positions) -> tuple[NDArray[np.int64], Positions]:
        """Of each position its source, and how many of that source's rows come before it in all."""
        cycles, turns = np.divmod(positions, self._cycle)
        slots = self._turns[turns]
        sources = np.searchsorted(self._ends, slots, "right")
        before = (self._ends - self._shares)[sources]
        return sources, cycles * self._shares[sources] + slots - before

    def gather(self, positions: Positions, orders: Sequence[Order]) -> Arrays:
        """The rows at some positions, as one array for each field."""
        if len(self.rows) == 1:
            return self.rows[0].gather(orders[0](positions))
        sources, numbers = self.located(positions)
        batch: Arrays = {}
        for source, (rows, order) in enumerate(zip(self.rows, orders, strict=True)):
            chosen = np.flatnonzero(sources == source)
            if len(chosen):
                for field, values in rows.gather(order(numbers[chosen])).items():
                    whole = batch.setdefault(field, np.empty((len(positions), *values.shape[1:]), values.dtype))
                    whole[chosen] = values
        batch["sources"] = sources
        return batch


def shares(weights: Sequence[float]) -> list[int]:
    """Positions of a cycle that each weight is worth, by largest remainder and at least one; a single source needs no cycle."""
    if len(weights) == 1:
        return [1]
    exact = [weight / sum(weights) * CYCLE for weight in weights]
    found = [max(1, int(share)) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda number: exact[number] - found[number], reverse=True)
    for number in by_remainder[: max(0, CYCLE - sum(found))]:
        found[number] += 1
    return found


def _agree(first: Rows, other: Rows) -> None:
    ours, theirs = first.dataset.manifest.tokenizer, other.dataset.manifest.tokenizer
    if ours.sha256 != theirs.sha256:
        raise JobError(
            f"{first.dataset.output} was made with the tokenizer {ours.name} of sha256 {ours.sha256}, {other.dataset.output} "
            f"with {theirs.name} of {theirs.sha256}. Their ids mean different things."
        )
    widths = {rows.width(np.array([length])) for rows in (first, other) for length in (1, 2)}
    if first.fields != other.fields or len(widths) > 1:
        raise UsageError("the sources of a mixture are windows of one length, with the same fields.")
