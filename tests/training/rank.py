"""One rank of a training run that only writes down what it reads: a process of its own, with DataLoader workers of its own.

    python rank.py OUTPUT LOG RANK WORLD WORKERS LOADER EPOCHS [STOP]

Goes out: a line of the log for each batch, `{"ids": …, "state": …}`, written before the next batch is asked for. A log that is
there is gone on with: what it says last is what was trained on. After STOP batches it waits for its death; its workers have
fetched ahead by then.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from tokenmill import TokenDataset
from tokenmill.reader import Batches, Shuffle


def main(output: str, log: str, rank: int, world: int, workers: int, kind: str, epochs: int, stop: int = -1) -> None:
    """Read to the end."""
    rows = TokenDataset(output).windows(8)
    shuffle = Shuffle(seed=11, block=2, buffer=16)
    batches = Batches(rows, 3, shuffle=shuffle, epochs=epochs, rank=rank, world=world, ragged="keep")
    lines = Path(log).read_bytes().splitlines() if os.path.exists(log) else []
    state = json.loads(lines[-1])["state"] if lines else None
    if kind == "stateful":
        loader: Any = StatefulDataLoader(batches.stream(), batch_size=None, num_workers=workers)
        if state is not None:
            loader.load_state_dict(state)
    else:
        if state is not None:
            batches.load_state_dict(state)
        loader = DataLoader(batches if kind == "map" else batches.stream(), batch_size=None, num_workers=workers)
    with open(log, "ab", buffering=0) as file:
        for number, batch in enumerate(loader, 1):
            now = loader.state_dict() if kind == "stateful" else batches.state_dict(batch["position"])
            file.write(json.dumps({"ids": batch["input_ids"].tolist(), "state": now}).encode() + b"\n")
            if number == stop:
                signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6], *map(int, sys.argv[7:]))
