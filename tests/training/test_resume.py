"""Two ranks with two DataLoader workers each, killed in mid-epoch and started again: every token once, in the undisturbed order."""

import json
import os
import signal
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.sealed import counting, seal
from tests.training import environment

RANK = Path(__file__).with_name("rank.py")
TOKENS = 40_003
KINDS = ["map", "iterable", "stateful"]


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


def together(logs: list[Path]) -> list[int]:
    """The tokens of all ranks, step by step, without the padding of the last row."""
    steps = zip_longest(*map(ids, logs), fillvalue=[])
    flat = [token for step in steps for part in step for row in part for token in row]
    return flat


@pytest.mark.parametrize("kind", KINDS)
def test_killed_in_mid_epoch_and_started_again(job: str, tmp_path: Path, kind: str, wait_until: Callable[..., None]) -> None:
    calm = [tmp_path / f"calm-{rank}" for rank in range(2)]
    runs = [environment.start(RANK, job, log, rank, 2, 0, "map", 1) for rank, log in enumerate(calm)]
    killed = [tmp_path / f"killed-{rank}" for rank in range(2)]
    struck = [environment.start(RANK, job, log, rank, 2, 2, kind, 1, start_new_session=True) for rank, log in enumerate(killed)]
    for rank, (process, log) in enumerate(zip(struck, killed, strict=True)):
        wait_until(lambda log=log, lines=40 + 7 * rank: log.exists() and log.read_bytes().count(b"\n") >= lines, "some batches")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        whole = log.read_bytes().rpartition(b"\n")[0] + b"\n"  # a line may have been cut off, as its batch was
        log.write_bytes(whole)
    for process in runs:
        assert process.wait(120) == 0, process.communicate()
    assert all(0 < len(ids(log)) < len(ids(whole)) for log, whole in zip(killed, calm, strict=True)), "killed too late"
    for process in [environment.start(RANK, job, log, rank, 2, 2, kind, 1) for rank, log in enumerate(killed)]:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    assert [ids(log) for log in killed] == [ids(log) for log in calm]
    seen = together(killed)
    assert sorted(seen)[-TOKENS:] == sorted(range(TOKENS))[-TOKENS:] or sorted(set(seen)) == list(range(TOKENS))
    assert len(seen) == TOKENS + -TOKENS % 8


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_order_does_not_depend_on_workers(job: str, tmp_path: Path, kind: str, workers: int) -> None:
    environment.output(RANK, job, tmp_path / "some", 0, 1, workers, kind, 2)
    environment.output(RANK, job, tmp_path / "none", 0, 1, 0, "map", 2)
    assert ids(tmp_path / "some") == ids(tmp_path / "none")
