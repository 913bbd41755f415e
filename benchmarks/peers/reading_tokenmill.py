"""tokenmill's TokenDataset over a sealed job, in batches of windows.

    python reading_tokenmill.py read FOLDER MODE

Nothing is prepared: the job is what is read.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from reading import BATCH, LENGTH, run
from torch.utils.data import DataLoader

from tokenmill import TokenDataset
from tokenmill.reader import Batches, Rows, Shuffle


def rows(folder: str) -> Rows:
    """Ids alone in their stored type, as the others give them."""
    return TokenDataset(f"{folder}/job").windows(LENGTH, fields=("input_ids",), dtype="int32")


def loader(folder: str, shuffled: bool) -> Iterable[Any]:
    """The default shuffle."""
    batches = Batches(rows(folder), BATCH, shuffle=Shuffle(seed=1) if shuffled else None)
    return (batch["input_ids"] for batch in DataLoader(batches.stream(), batch_size=None))


def items(folder: str) -> tuple[int, Callable[[int], Any]]:
    """One window."""
    windows = rows(folder)
    return len(windows), lambda row: windows[row]["input_ids"]


if __name__ == "__main__" and sys.argv[1] == "read":
    run(sys.argv[3], lambda shuffled: loader(sys.argv[2], shuffled), lambda: items(sys.argv[2]))
