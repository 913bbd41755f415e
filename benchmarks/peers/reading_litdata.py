"""litdata: StreamingDataset with TokensLoader, in litdata's own StreamingDataLoader.

python reading_litdata.py prepare|read FOLDER MODE
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"

import numpy as np
import torch
from litdata import StreamingDataLoader, StreamingDataset, TokensLoader, optimize
from reading import BATCH, LENGTH, run


def documents(folder: str) -> Iterator[torch.Tensor]:
    """All documents, from one worker."""
    ids, start = np.load(f"{folder}/ids.npy", mmap_mode="r"), 0
    for length in np.load(f"{folder}/lengths.npy").tolist():
        yield torch.from_numpy(np.array(ids[start : start + length]))
        start += length


def dataset(folder: str, shuffled: bool) -> StreamingDataset:
    """Its chunks lie on this disk."""
    return StreamingDataset(f"{folder}/litdata", item_loader=TokensLoader(block_size=LENGTH), shuffle=shuffled, drop_last=False)


def loader(folder: str, shuffled: bool) -> Iterable[Any]:
    """Batches of stacked rows."""
    return StreamingDataLoader(dataset(folder, shuffled), batch_size=BATCH, num_workers=0)


def items(folder: str) -> tuple[int, Callable[[int], Any]]:
    """One block."""
    blocks = dataset(folder, False)
    return len(blocks), blocks.__getitem__


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        optimize(
            fn=documents,
            inputs=[sys.argv[2]],
            output_dir=f"{sys.argv[2]}/litdata",
            num_workers=1,
            chunk_bytes="64MB",
            item_loader=TokensLoader(),
            verbose=False,
        )
    else:
        run(sys.argv[3], lambda shuffled: loader(sys.argv[2], shuffled), lambda: items(sys.argv[2]))
