"""A Lightning training run that writes down what it trains on, and can be killed at any step.

    python lightning_run.py OUTPUT FOLDER [STOP]

Goes out: `FOLDER/log`, the ids of each trained batch, and Lightning's own checkpoint every seven steps. What stands in the log
past the checkpoint is taken away at the start, as a training run forgets it. After STOP steps it waits for its death.
"""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from tokenmill import TokenDataset
from tokenmill.reader import Batches, Shuffle

SAVE_EVERY = 7


class Tokens(LightningDataModule):
    """The job as Lightning reads it: its checkpoint holds where the trained run stands.

    A StatefulDataLoader would not do: Lightning 2.6.6 fetches a batch ahead before it saves the loader's state, and a run that
    goes on from there never sees that batch.
    """

    def __init__(self, output: str) -> None:
        super().__init__()
        self.batches = Batches(TokenDataset(output).windows(8), 3, shuffle=Shuffle(seed=11, block=2, buffer=16))
        self.position = 0

    def train_dataloader(self) -> Any:
        return DataLoader(self.batches.stream(), batch_size=None, num_workers=2)

    def state_dict(self) -> dict[str, Any]:
        return self.batches.state_dict(self.position)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches.load_state_dict(state)


class Model(LightningModule):
    """One weight; what counts is the log."""

    def __init__(self, log: Path, tokens: Tokens, stop: int) -> None:
        super().__init__()
        self.weight, self.tokens, self.stop = torch.nn.Parameter(torch.zeros(())), tokens, stop
        self.file = log.open("ab", buffering=0)

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.tokens.position = int(batch["position"])
        self.file.write(json.dumps({"ids": batch["input_ids"].tolist()}).encode() + b"\n")
        if self.global_step + 1 == self.stop:
            signal.pause()
        return self.weight * batch["input_ids"].float().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def main(output: str, folder: Path, stop: int = -1) -> None:
    """Train to the end of the epoch, from the checkpoint on if there is one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    log, checkpoint = folder / "log", folder / "last.ckpt"
    found = checkpoint.exists()
    trained = torch.load(checkpoint, weights_only=False)["global_step"] if found else 0
    if log.exists():
        kept = log.read_bytes().splitlines(keepends=True)[:trained]
        log.write_bytes(b"".join(kept))
    tokens = Tokens(output)
    saved = ModelCheckpoint(folder, save_last=True, every_n_train_steps=SAVE_EVERY, save_top_k=0, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[saved],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Model(log, tokens, stop), datamodule=tokens, ckpt_path=str(checkpoint) if found else None)


if __name__ == "__main__":
    os.environ["LT_DISABLE_TIPS"] = "1"
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
