"""Sources change, the disk is full, the tokenizer is gone: said, waited for or parked, and the same bytes in the end."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.trial import Trial


def test_the_disk_is_full_and_freed_again(trial: Trial) -> None:
    """The worker says what it waits for, and goes on by itself when there is room."""
    trial.output.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", trial.output]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        alpha = trial.cluster.worker("alpha")
        trial.submit()
        trial.begun()
        with (trial.output / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)

        def waits() -> bool:
            return any("No space left on device" in one["waiting_for"] for one in trial.cluster.running().values())

        trial.wait_until(waits, "the worker's word")
        struck = set(trial.cluster.running())
        (trial.output / "ballast").unlink()
        trial.recovered(struck, 45, time.monotonic())
        trial.sealed("disk full, and freed again")
        assert alpha.poll() is None
    finally:
        subprocess.run(["umount", "--lazy", trial.output], check=True)


def test_a_worker_without_a_tokenizer_waits_for_it(trial: Trial) -> None:
    trial.submit()
    trial.wait_until((trial.output / "plan.parquet").exists, "the job on record")
    away = trial.cluster.folder / "away"
    (trial.output / "tokenizer").rename(away)
    trial.cluster.worker("alpha", TOKENMILL_CACHE=str(trial.cluster.folder / "empty"))

    def waits() -> bool:
        return any("tokenizer.json is not there" in one["waiting_for"] for one in trial.cluster.running().values())

    trial.wait_until(waits, "the worker's word")
    struck = set(trial.cluster.running())
    away.rename(trial.output / "tokenizer")
    trial.recovered(struck, 45, time.monotonic())
    trial.sealed("no tokenizer, and put back")


def _appended(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write('{"text": "one more"}\n')


def _rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes().swapcase())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param(_appended, "bytes long, planned were", marks=pytest.mark.slow),
        (_rewritten, "was written again after the job was planned"),
        pytest.param(lambda path: os.truncate(path, 1000), "bytes long, planned were", marks=pytest.mark.slow),
        pytest.param(Path.unlink, "is gone", marks=pytest.mark.slow),
    ],
    ids=["grew", "rewritten", "truncated", "deleted"],
)
def test_a_source_changes_in_mid_job(
    trial: Trial, tokenmill: Run, tmp_path: Path, fault: Callable[[Path], None], says: str, request: pytest.FixtureRequest
) -> None:
    """Its batches are parked with the reason; put back as it was, the job ends as if nothing had happened."""
    source = trial.corpus / "part-2.jsonl"
    kept = tmp_path / "kept.jsonl"
    shutil.copy2(source, kept)
    try:
        trial.cluster.worker("alpha")
        producer = trial.submit()
        trial.begun()
        fault(source)
        assert producer.wait(60) == 3, trial.cluster.log("follow")
        assert says in trial.cluster.log("follow")
        assert "tokenmill retry" in trial.cluster.log("follow")
    finally:
        shutil.copy2(kept, source)
    trial.cluster.start("tokenmill", "dispatch", name="dispatch")
    assert tokenmill("retry", "out", TOKENMILL_BROKER=trial.cluster.broker).returncode == 0
    trial.sealed(f"a source {request.node.callspec.id}, put back, retry")
