"""Batches as an iterable dataset of torch. The only file here that imports torch.

Comes in: batches of one rank. Goes out: the same, in the same order, from any number of DataLoader workers. Always holds:
worker w of k yields steps w, w + k, w + 2k …, and a DataLoader with `batch_size=None` takes one from each in turn: so the
order is that without workers, whatever k is.

`StatefulDataLoader` of torchdata asks each worker for the state of what it has delivered, so its own `state_dict` is exact.
With torch's own DataLoader the state of the run is `batches.state_dict(batch["position"])`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from tokenmill.reader.batches import Batch, Batches


class BatchStream(IterableDataset):
    """`DataLoader(batches.stream(), batch_size=None, num_workers=n)`."""

    def __init__(self, batches: "Batches") -> None:
        self.batches = batches
        self._next: int | None = None

    def __iter__(self) -> Iterator["Batch"]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        step = number if self._next is None else self._next
        try:
            steps: int | None = len(self.batches)
        except TypeError:
            steps = None
        while steps is None or step < steps:
            batch = self.batches[step]
            step += workers
            self._next = step
            yield batch
        self._next = None

    def state_dict(self) -> dict[str, Any]:
        """What this process has yielded; in a worker, that worker's own share."""
        return {"next": self._next, "start": self.batches.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after what had been yielded. Raises JobError if those were other rows."""
        self.batches.load_state_dict(state["start"])
        self._next = state["next"]
