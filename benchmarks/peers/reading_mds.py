"""MosaicML streaming: StreamingDataset over MDS shards whose samples are rows already, as llm-foundry concatenates them.

    python reading_mds.py prepare|read FOLDER MODE

In its favour: its rows were cut when they were written, and hold no documents.
"""

import sys
import types
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
from reading import BATCH, LENGTH, run


class _Absent(types.ModuleType):
    """A module that has every name."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _without_torchvision() -> None:
    """streaming imports torchvision for its images; its build does not go with the CPU build of torch that is here."""
    for name in ("", ".datasets", ".datasets.folder", ".transforms", ".transforms.functional", ".io"):
        module = sys.modules["torchvision" + name] = _Absent("torchvision" + name)
        module.__spec__ = ModuleSpec(module.__name__, None)


_without_torchvision()
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader


def dataset(folder: str, shuffled: bool) -> StreamingDataset:
    """Its shards lie on this disk; its default shuffle."""
    return StreamingDataset(local=f"{folder}/mds", shuffle=shuffled, batch_size=BATCH)


def loader(folder: str, shuffled: bool) -> Iterable[Any]:
    """Batches collated by torch."""
    return (batch["ids"] for batch in DataLoader(dataset(folder, shuffled), batch_size=BATCH))


def items(folder: str) -> tuple[int, Callable[[int], Any]]:
    """One sample."""
    samples = dataset(folder, False)
    return len(samples), lambda row: samples[row]["ids"]


def prepare(folder: str) -> None:
    """Write all whole rows."""
    ids = np.load(f"{folder}/ids.npy", mmap_mode="r")
    with MDSWriter(out=f"{folder}/mds", columns={"ids": f"ndarray:int32:{LENGTH}"}) as writer:
        for row in ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH):
            writer.write({"ids": np.array(row)})


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(sys.argv[2])
    else:
        run(sys.argv[3], lambda shuffled: loader(sys.argv[2], shuffled), lambda: items(sys.argv[2]))
