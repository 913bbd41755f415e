"""Several outputs from one read of the corpus, as a job file asks for them."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import BIN, JOB, Run, contents

FILE = """
sources = ["{corpus}"]
tokenizer = "{tokenizer}"
eos_token = "<｜end▁of▁sentence｜>"
bos_token = false
batch_bytes = 30_000

[[output]]
output = "plain"

[[output]]
output = "cut-{{period:%d.%m.}}"
format = "numpy"
max_tokens = 300
over_length = "split"

[[output]]
output = "other"
tokenizer = "{other}"
eos_token = "[SEP]"
format = "parquet"
"""
OUTPUTS = ("plain", "cut-24.11.", "other")
ALONE = (
    JOB,
    [*JOB, "--format", "numpy", "--max-tokens", "300", "--over-length", "split"],
    [
        *("--tokenizer", "{other}", "--eos-token", "[SEP]", "--no-bos-token"),
        *("--format", "parquet"),
    ],
)


@pytest.fixture(scope="module")
def some(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of a megabyte of the corpus."""
    path = tmp_path_factory.mktemp("some") / "some.jsonl"
    text = (corpus / "part-0.jsonl").read_text()
    path.write_text(text[: text.index("\n", 350_000) + 1])
    return path


@pytest.fixture(scope="module")
def other(tokenizer_path: Callable[[str], Path]) -> str:
    """A tokenizer of another kind than the first outputs'."""
    return str(tokenizer_path("bert"))


@pytest.fixture
def job(tmp_path: Path, some: Path, other: str) -> Path:
    path = tmp_path / "jobs/job.toml"
    path.parent.mkdir()
    path.write_text(FILE.format(tokenizer=JOB[1], corpus=some, other=other))
    return path


@pytest.fixture(scope="module")
def alone(some: Path, other: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """Each output as a run of its own makes it."""
    folder = tmp_path_factory.mktemp("alone")
    for output, options in zip(OUTPUTS, ALONE, strict=True):
        asked = [option.format(other=other) for option in options]
        command = [BIN / "tokenmill", "run", some, *asked, "--batch-bytes", "30000"]
        subprocess.run([*command, "--output", folder / output], check=True, capture_output=True)
    return [contents(folder / output) for output in OUTPUTS]


def test_each_output_is_what_a_job_of_its_own_makes(
    tokenmill: Run, job: Path, alone: list[dict[str, bytes]], tmp_path: Path
) -> None:
    """Byte for byte, manifest included; the sources are read once, which their access times cannot tell, but the entries do."""
    done = tokenmill("run", "--job", job, "--period", "2026-11-24", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert [contents(job.parent / output) for output in OUTPUTS] == alone
    assert all(f"sealed {job.parent / output}" in done.stdout.replace("\n", "") for output in OUTPUTS), done.stdout
    assert tokenmill("verify", job.parent / "other").returncode == 0
    read = [
        json.loads(entry.read_text())["run"]["stages"]["read"]
        for output in OUTPUTS
        for entry in sorted((job.parent / output / "entries").iterdir())
    ]
    batches = len(read) // 3
    assert min(read[:batches]) > 0
    assert not any(read[batches:])
    # each output stays a job like any other
    shutil.rmtree(job.parent / "plain")
    again = tokenmill("run", "--job", job, "--period", "2026-11-24")
    assert again.returncode == 0, again.stderr
    assert [contents(job.parent / output) for output in OUTPUTS] == alone


def test_whatever_is_killed_in_between(
    job: Path, alone: list[dict[str, bytes]], tmp_path: Path, tokenmill: Run, wait_until: Callable[..., None]
) -> None:
    """The producer dies with its workers; one output was begun alone, another loses an entry: the same command mends it all."""
    begun = subprocess.Popen(
        [BIN / "tokenmill", "run", "--job", job, "--period", "2026-11-24", "--workers", "1", "--engine", "reference"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    entries = [job.parent / output / "entries" for output in OUTPUTS]
    wait_until(lambda: entries[0].is_dir() and len(list(entries[0].glob("*.json"))) >= 2, "two batches")
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    assert not (job.parent / "plain/manifest.json").exists()
    # the first output's entry is the last to be written: whatever is done there is done everywhere
    done = [{entry.name for entry in folder.glob("*.json")} for folder in entries]
    assert done[0] <= done[1]
    assert done[0] <= done[2]
    assert done[0]
    (entries[2] / min(done[0])).unlink()
    ended = tokenmill("run", "--job", job, "--period", "2026-11-24", "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    assert [contents(job.parent / output) for output in OUTPUTS] == alone


def test_what_belongs_to_another_output_is_led_there(tokenmill: Run, job: Path, cluster: object) -> None:
    """Cancelling one of several outputs would leave the others without an end."""
    done = tokenmill("submit", "--job", job, "--period", "2026-11-24", TOKENMILL_BROKER=cluster.broker)  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stderr
    for command in ("cancel", "retry"):
        refused = tokenmill(command, job.parent / "other")
        assert refused.returncode == 2
        assert f"{command.title()} that one." in refused.stderr
        assert str(job.parent / "plain") in refused.stderr
    assert tokenmill("cancel", job.parent / "plain").returncode == 0
