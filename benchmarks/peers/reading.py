"""What every reader has to do, and the clock: a part of the scripts `reading_*.py`, which run in environments of their own.

Comes in: a reader's `open` and `item`. Goes out: seconds to open and to the first batch, tokens a second over an epoch, and
microseconds for a row at random, as JSON on the last line. Always holds: a batch is 32 rows of 2,048 int32 ids as one torch
tensor, made by a DataLoader without workers; the ids of an epoch are counted, and those of its first batch summed (`check`).
"""

import json
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

LENGTH, BATCH, RANDOM = 2048, 32, 5_000


def run(
    mode: str, open_loader: Callable[[bool], Iterable[Any]], open_rows: Callable[[], tuple[int, Callable[[int], Any]]]
) -> None:
    """Measure one mode: sequential, shuffled or random.

    Args:
        open_loader: opens the data and a loader of batches, shuffled or not; each batch is a tensor of ids.
        open_rows: opens the data; how many rows there are, and what reads one.
    """
    torch.set_num_threads(1)
    start = time.perf_counter()
    if mode == "random":
        count, item = open_rows()
        item(0)
        opened = time.perf_counter() - start
        chosen = random.Random(1).choices(range(count), k=RANDOM)
        start, tokens = time.perf_counter(), 0
        for row in chosen:
            tokens += len(item(row))
        seconds = time.perf_counter() - start
        said = {"open": opened, "microseconds": seconds / RANDOM * 1e6, "tokens": tokens, "seconds": seconds, "check": 0}
    else:
        batches = iter(open_loader(mode == "shuffled"))
        first = next(batches)
        opened, check = time.perf_counter() - start, int(first.to(torch.int64).sum())
        start, tokens = time.perf_counter(), 0
        for batch in batches:
            tokens += batch.numel()
        seconds = time.perf_counter() - start
        said = {"open": opened, "tokens": tokens, "seconds": seconds, "rate": tokens / seconds, "check": check}
    print(json.dumps(said))
