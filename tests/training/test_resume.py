"""Two ranks with two DataLoader workers each, killed in mid-epoch and started again: every token once, in the same order."""

import json
import os
import signal
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.sealed import counting, seal
from tests.training import environment
from tokenmill import TokenDataset
from tokenmill.reader import Batches, Shuffle

RANK = Path(__file__).with_name("rank.py")
TOKENS = 40_003
LOADERS = Path(__file__).with_name("loaders.py")
LIGHTNING = Path(__file__).with_name("lightning_run.py")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three shards of documents of 1 to 60 tokens; the stream's last row is short."""
    environment.require()
    folder, lengths, total = tmp_path_factory.mktemp("job"), [[], [], []], 0
    while total < TOKENS:
        length = min(1 + total * 7 % 60, TOKENS - total)
        lengths[3 * total // TOKENS].append(length)
        total += length
    seal(str(folder), counting(*lengths))
    return str(folder)


def ids(log: Path) -> list[list[list[int]]]:
    return [json.loads(line)["ids"] for line in log.read_bytes().splitlines()]


def undisturbed(job: str, rank: int, world: int = 2) -> list[list[list[int]]]:
    """What rank.py reads if nobody strikes it and it has no workers; that torch's loaders do the same is loaders.py's."""
    rows, shuffle = TokenDataset(job).windows(8), Shuffle(seed=11, block=2, buffer=16)
    batches = Batches(rows, 3, shuffle=shuffle, rank=rank, world=world, ragged="keep")
    return [batch["input_ids"].tolist() for batch in batches]


def together(logs: list[Path]) -> list[int]:
    """The tokens of all ranks, step by step, without the padding of the last row."""
    steps = zip_longest(*map(ids, logs), fillvalue=[])
    return [token for step in steps for part in step for row in part for token in row]


@pytest.mark.parametrize("kind", ["iterable", "stateful"])
def test_killed_in_mid_epoch_and_started_again(job: str, tmp_path: Path, kind: str, wait_until: Callable[..., None]) -> None:
    """Each rank at another place, so that nothing is owed to a step that both have ended."""
    logs, stops = [tmp_path / f"rank-{rank}" for rank in range(2)], [101, 230]
    struck = [
        environment.start(RANK, job, log, rank, 2, 2, kind, 1, stops[rank], start_new_session=True)
        for rank, log in enumerate(logs)
    ]
    for process, log, stop in zip(struck, logs, stops, strict=True):
        wait_until(lambda log=log, stop=stop: log.exists() and len(ids(log)) == stop, f"{stop} batches")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    again = [environment.start(RANK, job, log, rank, 2, 2, kind, 1) for rank, log in enumerate(logs)]
    for process in again:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    assert [ids(log) for log in logs] == [undisturbed(job, rank) for rank in range(2)]
    padding = [0] * (-TOKENS % 8)
    assert sorted(together(logs)) == [*padding, *range(TOKENS)]


def test_every_loader_reads_in_the_same_order(job: str) -> None:
    assert environment.output(LOADERS, job).endswith("all the same\n")


def test_a_lightning_run_killed_in_mid_epoch_goes_on_where_it_was(
    job: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Killed five steps after its last checkpoint: these five are trained on again, nothing else is, nothing is left out."""
    log = tmp_path / "log"
    struck = environment.start(LIGHTNING, job, tmp_path, 40, start_new_session=True)
    wait_until(lambda: log.exists() and len(ids(log)) == 40, "40 steps")
    os.killpg(struck.pid, signal.SIGKILL)
    struck.communicate()
    environment.output(LIGHTNING, job, tmp_path)
    assert ids(log) == undisturbed(job, 0, 1)
