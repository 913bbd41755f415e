"""examples/train_tiny.py, killed in the middle and started again: the losses of a run that nobody touched, to the last bit."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.sealed import seal
from tests.training import environment

TRAIN = environment.ROOT / "examples" / "train_tiny.py"


def losses(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]


def test_killed_and_resumed_it_learns_the_same(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    environment.require()
    job, calm, killed = str(tmp_path / "job"), tmp_path / "calm", tmp_path / "killed"
    seal(
        job,
        [
            [list(paragraph) for paragraph in (environment.ROOT / name).read_bytes().split(b"\n\n")]
            for name in ("README.md", "LICENSE")
        ],
    )
    options = ("--steps", 10, "--save-every", 4)
    struck = environment.start(TRAIN, job, "--run", killed, *options, start_new_session=True)
    wait_until(lambda: (killed / "losses.jsonl").exists() and len(losses(killed)) >= 6, "six steps")
    os.killpg(struck.pid, signal.SIGKILL)
    struck.communicate()
    before = len(losses(killed))
    assert before < 10, "killed too late"
    environment.output(TRAIN, job, "--run", killed, *options)
    environment.output(TRAIN, job, "--run", calm, *options)
    assert losses(killed) == losses(calm)
    assert [one["step"] for one in losses(calm)] == list(range(1, 11))
    assert losses(calm)[-1]["loss"] < losses(calm)[0]["loss"] - 0.5, losses(calm)
    assert (killed / "loss.png").read_bytes().startswith(b"\x89PNG")
