"""Batches for one rank of a training run: which rows at which step, and where the run stands.

Comes in: rows or a mixture, and how they are to be read. Goes out: dictionaries of arrays, one a step. Always holds: step s
of all ranks together is the same set of rows whatever the number of workers; over an epoch every row comes exactly once, but
for what `ragged="drop"` leaves out (`dropped_rows`) or `"repeat"` shows twice; a state is the number of rows that all ranks
have seen, so that it may be taken up with another batch size or number of ranks.

Every batch carries its `position`, the state after it: loaders fetch ahead, and only who trains knows what was trained on.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tokenmill.errors import JobError, UsageError
from tokenmill.reader.mixture import Mixture
from tokenmill.reader.order import Positions, Shuffle
from tokenmill.reader.rows import Arrays, Rows

if TYPE_CHECKING:
    from tokenmill.reader.stream import BatchStream

Batch = Arrays
RAGGED = ("keep", "drop", "repeat")


class Batches:
    """A map-style dataset of whole batches: `DataLoader(batches, batch_size=None, num_workers=n)` reads them in order."""

    def __init__(
        self,
        rows: Rows | Mixture,
        batch_size: int,
        *,
        shuffle: Shuffle | None = None,
        epochs: int | None = 1,
        rank: int | None = None,
        world: int | None = None,
        ragged: Literal["keep", "drop", "repeat"] | None = None,
    ) -> None:
        """
        Args:
            batch_size: rows of one rank at one step.
            shuffle: None reads in source order.
            epochs: how often every row comes; None for no end.
            rank: of `world` processes; both are asked of torch.distributed where that is set up, and are else 0 of 1.
            ragged: what the last step is where rows do not come out even: some ranks have fewer rows or none ("keep"), nobody
                has any ("drop"), or the first rows come again ("repeat"). To be said where there are several ranks: unequal
                steps make a collective wait for ever.
        """
        self.course = rows if isinstance(rows, Mixture) else Mixture([(rows, 1)])
        if (rank is None) != (world is None):
            raise UsageError("rank and world are given together.")
        self.rank, self.world = _ranks() if rank is None or world is None else (rank, world)
        if batch_size < 1 or not 0 <= self.rank < self.world or (epochs is not None and epochs < 1):
            raise UsageError(
                f"batch_size={batch_size}, epochs={epochs}, rank {self.rank} of {self.world}: one of them is out of range."
            )
        self.batch_size, self.shuffle, self.epochs = batch_size, shuffle, epochs
        self._orders = self.course.orders(shuffle)
        self._total = None if epochs is None else epochs * len(self.course)
        self._step_rows = batch_size * self.world
        self._start = 0
        rest = 0 if self._total is None else self._total % self._step_rows
        if rest and self.world > 1 and ragged not in RAGGED:
            raise UsageError(
                f"{self._total} rows are no multiple of {self.world} ranks times {batch_size}: {rest} are left for the last "
                f"step. Give ragged= one of {', '.join(RAGGED)}, or epochs=None."
            )
        self.ragged = ragged or "keep"
        #: Rows of the last step that nobody sees.
        self.dropped_rows = rest if self.ragged == "drop" else 0

    # -- steps ---------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Steps from where the run stands. Raises TypeError if there is no end, as torch expects of such a dataset."""
        if self._total is None:
            raise TypeError("batches without an end have no length; use stream(), or give epochs=")
        rows = max(0, self._total - self._start)
        return rows // self._step_rows if self.ragged == "drop" else -(-rows // self._step_rows)

    def __getitem__(self, step: int) -> Batch:
        """The batch of this rank at a step, counted from where the run stands."""
        if step < 0 or (self._total is not None and step >= len(self)):
            raise IndexError(f"step {step}")
        start = self._start + step * self._step_rows
        batch = self.course.gather(self._positions(start), self._orders)
        batch["position"] = np.array(self._after(start))
        return batch

    def __iter__(self) -> Iterator[Batch]:
        step = 0
        while self._total is None or step < len(self):
            yield self[step]
            step += 1

    def _after(self, start: int) -> int:
        stop = start + self._step_rows
        return stop if self._total is None else min(stop, self._total)

    def _positions(self, start: int) -> Positions:
        """This rank's share of a step: neighbours, so that a rank stays in few shards."""
        size = self.batch_size
        held = self._after(start) - start
        if held < self._step_rows and self.ragged == "keep":
            size = -(-held // self.world)
        first = self.rank * size
        if self.ragged == "keep":
            return np.arange(start + first, start + min(first + size, max(held, first)))
        positions = np.arange(start + first, start + first + size)
        return positions if self._total is None else np.where(positions < self._total, positions, positions - self._total)

    # -- where the run stands ------------------------------------------------------------------------------------------

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Where a run stands: JSON values.

        Args:
            position: of the last batch that was trained on, its `position`; None for where this object begins.
        """
        return {"position": self._start if position is None else int(position), "identity": self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin where a run stood. Raises JobError if it read other rows, or in another order."""
        ours = self._identity()
        if state["identity"] != ours:
            theirs = state["identity"]
            names = [name for name in ours if theirs.get(name) != ours[name]]
            differing = "; ".join(f"{name} was {theirs.get(name)}, is {ours[name]}" for name in names)
            raise JobError(f"this state is of a run over other rows: {differing}. Read them as that run did, or begin anew.")
        self._start = int(state["position"])

    def _identity(self) -> dict[str, Any]:
        shuffle = self.shuffle
        return {
            "course": self.course.identity,
            "shuffle": None if shuffle is None else [shuffle.seed, shuffle.block, shuffle.buffer],
        }

    def stream(self) -> "BatchStream":
        """The same as an iterable dataset of torch, which may be endless, and which torchdata's StatefulDataLoader can save."""
        from tokenmill.reader.stream import BatchStream

        return BatchStream(self)


def _ranks() -> tuple[int, int]:
    """What torch.distributed says, without importing torch."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
