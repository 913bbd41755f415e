"""Every way in which torch, torchdata and accelerate may read a job, in one process: same rows, same order.

python loaders.py OUTPUT
"""

import json
import sys
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader, DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from tokenmill import TokenDataset
from tokenmill.reader import Batches, Shuffle

FIELDS = ("input_ids", "targets", "document_ids", "position_ids", "attention_mask", "loss_mask")


def same(found: list[Any], expected: list[Any], what: str) -> None:
    """Both are the same batches, field by field."""
    assert len(found) == len(expected), (what, len(found), len(expected))
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other), what
        for field in one:
            assert torch.equal(torch.as_tensor(one[field]), torch.as_tensor(other[field])), (what, field)
    print(what)


def main(output: str) -> None:
    """Compare all with `Batches` itself."""
    dataset = TokenDataset(output)
    rows = dataset.windows(64, fields=FIELDS)

    def batches(epochs: int | None = 2) -> Batches:
        return Batches(rows, 7, shuffle=Shuffle(seed=1, block=4, buffer=8), epochs=epochs)

    whole = list(batches())
    for workers in (0, 1, 3):
        same(list(DataLoader(batches(), batch_size=None, num_workers=workers)), whole, f"map-style, {workers} workers")
        loader = DataLoader(batches().stream(), batch_size=None, num_workers=workers)
        same(list(loader), whole, f"iterable, {workers} workers")
        same(list(loader), whole, f"iterable a second time, {workers} workers")
        stateful = StatefulDataLoader(batches().stream(), batch_size=None, num_workers=workers)
        stateful_run = iter(stateful)
        begun = [next(stateful_run) for _ in range(20)]
        state = json.loads(json.dumps(stateful.state_dict())) if workers == 0 else stateful.state_dict()
        again = StatefulDataLoader(batches().stream(), batch_size=None, num_workers=workers)
        again.load_state_dict(state)
        same(begun + list(again), whole, f"StatefulDataLoader, resumed after 20, {workers} workers")
        resumed = batches()
        resumed.load_state_dict(batches().state_dict(begun[-1]["position"]))
        rest = DataLoader(resumed.stream(), batch_size=None, num_workers=workers)
        same(begun + list(rest), whole, f"DataLoader, resumed after 20, {workers} workers")
    endless = iter(DataLoader(batches(None).stream(), batch_size=None, num_workers=2))
    same([next(endless) for _ in whole], [batches(None)[step] for step in range(len(whole))], "without an end")
    del endless
    spawned = DataLoader(batches().stream(), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    same(list(spawned), whole, "spawned worker")

    # as any map-style dataset: torch's own sampler, batches and collation
    every = [rows.gather(torch.arange(start, min(start + 7, len(rows))).numpy()) for start in range(0, len(rows), 7)]
    same(list(DataLoader(rows, batch_size=7, num_workers=2)), every, "rows, collated by torch")
    shares = [list(DataLoader(rows, 1, sampler=DistributedSampler(rows, 2, rank, shuffle=False))) for rank in range(2)]
    assert abs(len(shares[0]) - len(rows) / 2) < 1
    # its dispatching cuts one process's batches up for all ranks; ours are each rank's own
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=False))
    same(list(accelerator.prepare(DataLoader(rows, batch_size=7))), every, "rows, prepared by accelerate")
    prepared = accelerator.prepare(DataLoader(batches().stream(), batch_size=None))
    same(list(prepared), whole, "iterable, prepared by accelerate")
    print("all the same")


if __name__ == "__main__":
    main(sys.argv[1])
