"""Megatron-LM's IndexedDataset, in rows that are put together of documents' parts as its GPTDataset does.

    python reading_megatron.py prepare|read FOLDER MODE

In its favour: the sample index is one searchsorted, not a file that is built first, and a row is a row without its extra token.
"""

import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np
import torch
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
from reading import BATCH, LENGTH, run
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    """Rows of the token stream."""

    def __init__(self, prefix: str) -> None:
        self.documents = IndexedDataset(prefix)
        self._starts = np.concatenate(([0], np.cumsum(self.documents.sequence_lengths, dtype=np.int64)))
        self._count = int(self._starts[-1]) // LENGTH
        #: First document of each row, as GPTDataset's sample index has it.
        self._first = np.searchsorted(self._starts, np.arange(self._count) * LENGTH, "right") - 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> np.ndarray:
        document = int(self._first[row])
        offset, parts, missing = row * LENGTH - int(self._starts[document]), [], LENGTH
        while missing:
            length = min(missing, int(self.documents.sequence_lengths[document]) - offset)
            parts.append(self.documents.get(document, offset, length))
            document, offset, missing = document + 1, 0, missing - length
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def loader(folder: str, shuffled: bool) -> Iterable[Any]:
    """A permutation of all rows where it is shuffled, as GPTDataset's shuffle index is."""
    rows = Rows(f"{folder}/megatron")
    order = np.random.default_rng(1).permutation(len(rows)).tolist() if shuffled else None
    return DataLoader(rows, batch_size=BATCH, sampler=order)


def items(folder: str) -> tuple[int, Callable[[int], Any]]:
    """One row."""
    rows = Rows(f"{folder}/megatron")
    return len(rows), rows.__getitem__


def prepare(folder: str) -> None:
    """One pair of files."""
    ids, start = np.load(f"{folder}/ids.npy", mmap_mode="r"), 0
    builder = IndexedDatasetBuilder(str(Path(folder, "megatron.bin")), dtype=np.int32)
    for length in np.load(f"{folder}/lengths.npy").tolist():
        builder.add_document(torch.from_numpy(np.array(ids[start : start + length])), [length])
        start += length
    builder.finalize(str(Path(folder, "megatron.idx")))


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(sys.argv[2])
    else:
        run(sys.argv[3], lambda shuffled: loader(sys.argv[2], shuffled), lambda: items(sys.argv[2]))
