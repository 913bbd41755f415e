"""Train a tiny transformer on a sealed job, be killed at any time, and go on as if nothing had been.

    python examples/train_tiny.py OUTPUT --run FOLDER [--steps N]

Comes in: the output of a job. Goes out: in FOLDER, `checkpoint.pt`, `losses.jsonl` and `loss.png`. Always holds: a run that was
killed and started again writes the same losses, bit for bit, as one that was not: the checkpoint holds the model, the
optimizer, and the position of the last batch that was trained on.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from tokenmill import TokenDataset
from tokenmill.reader import IGNORED, Batches, Rows, Shuffle

CONTEXT, BATCH, WIDTH, HEADS, LAYERS = 128, 8, 128, 4, 2
#: A tiny model knows the most frequent ids; all others are one, the last.
VOCABULARY = 4096


class Block(nn.Module):
    """Attention within each document, then a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        split = self.mix(self.norm(x)).reshape(*x.shape[:2], 3, HEADS, WIDTH // HEADS)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.project(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.feed(x)


class Tiny(nn.Module):
    """A decoder with a table of known ids in front."""

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known)
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The mean loss of a batch."""
        documents, targets = batch["document_ids"], batch["targets"]
        same = documents[:, :, None] == documents[:, None, :]
        mask = (same & torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).tril())[:, None]
        x = self.tokens(self.known[batch["input_ids"]]) + self.places(batch["position_ids"])
        for block in self.blocks:
            x = block(x, mask)
        learned = torch.where(targets == IGNORED, IGNORED, self.known[targets.clamp(min=0)])
        return functional.cross_entropy(self.out(self.norm(x)).flatten(0, 1), learned.flatten(), ignore_index=IGNORED)


def frequent(rows: Rows, vocabulary: int) -> Tensor:
    """For each id of the tokenizer its number among the most frequent ones of up to a million tokens."""
    sample = np.linspace(0, len(rows) - 1, min(len(rows), 1_000_000 // CONTEXT)).astype(np.int64)
    counts = np.bincount(rows.gather(sample)["input_ids"].reshape(-1), minlength=vocabulary)
    chosen = np.argsort(-counts, kind="stable")[: VOCABULARY - 1]
    known = np.full(vocabulary, VOCABULARY - 1)
    known[chosen] = np.arange(len(chosen))
    return torch.from_numpy(known)


def train(output: str, run: Path, steps: int, save_every: int) -> None:
    """Go on from the run's checkpoint, or begin."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)  # sums depend on how many threads share them
    rows = TokenDataset(output).windows(CONTEXT)
    batches = Batches(rows, BATCH, shuffle=Shuffle(seed=1), epochs=None)
    model = Tiny(frequent(rows, rows.dataset.manifest.tokenizer.vocab_size))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    done, losses = 0, run / "losses.jsonl"
    run.mkdir(parents=True, exist_ok=True)
    if (run / "checkpoint.pt").exists():
        saved = torch.load(run / "checkpoint.pt")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        batches.load_state_dict(saved["reader"])
        done = saved["step"]
    kept = losses.read_text().splitlines(keepends=True)[:done] if losses.exists() else []
    losses.write_text("".join(kept))  # what came after the checkpoint is done again
    with losses.open("a", buffering=1) as log:
        for step, batch in enumerate(DataLoader(batches.stream(), batch_size=None, num_workers=1), done + 1):
            if step > steps:
                break
            loss = model(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.write(json.dumps({"step": step, "position": int(batch["position"]), "loss": loss.item()}) + "\n")
            if step % save_every == 0 or step == steps:
                # the loader has fetched further; the state is that of the batch that was trained on
                save(run, {"step": step, "reader": batches.state_dict(batch["position"])}, model, optimizer)
    plot([json.loads(line)["loss"] for line in losses.read_text().splitlines()], run / "loss.png")


def save(run: Path, state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One file, whole or not at all."""
    unfinished = run / "checkpoint.unfinished"
    torch.save({**state, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, unfinished)
    os.replace(unfinished, run / "checkpoint.pt")


def plot(losses: list[float], file: Path) -> None:
    """The loss over the steps, and its mean over a fiftieth of them."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    axes.plot(range(1, len(losses) + 1), losses, linewidth=0.5, alpha=0.5)
    near = max(1, len(losses) // 50)
    axes.plot(range(near, len(losses) + 1), np.convolve(losses, np.ones(near) / near, "valid"))
    axes.set(xlabel="step", ylabel="loss, nats per token")
    figure.savefig(file, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="of a sealed job; `tokenmill demo` makes one in tokenmill-demo/")
    parser.add_argument("--run", type=Path, required=True, help="folder of this run; give the same one to go on")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--save-every", type=int, default=50)
    arguments = parser.parse_args()
    train(arguments.output, arguments.run, arguments.steps, arguments.save_every)
