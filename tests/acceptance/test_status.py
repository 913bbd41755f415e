"""`tokenmill status --watch`, as people see it in a terminal of 80 columns and as programs read it."""

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.cluster import Cluster, committed
from tests.acceptance.conftest import BIN, JOB, Run
from tests.acceptance.trial import SLOW

CUT = ["--batch-bytes", "75000", "--engine", "reference", "--name", "night"]


class Terminal:
    """A real terminal, 80 by 24."""

    def __init__(self, socket: Path, command: str, environment: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(socket)]
        subprocess.run(
            [*self._tmux, "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", f"{command}; echo status $?; cat"],
            env=environment, check=True,
        )  # fmt: skip

    def shows(self) -> str:
        return subprocess.run([*self._tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout

    def colours(self) -> str:
        return subprocess.run([*self._tmux, "capture-pane", "-pe"], capture_output=True, text=True, check=True).stdout

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            subprocess.run([*self._tmux, "kill-server"], check=True, capture_output=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts a command in a terminal."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is missing")
        pytest.skip("tmux is missing")
    opened: list[Terminal] = []

    def begin(*command: object, **environment: str) -> Terminal:
        words = " ".join([str(BIN / "tokenmill"), *map(str, command)])
        inherited = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")}
        opened.append(Terminal(tmp_path / f"tmux{len(opened)}", words, {**inherited, "LC_ALL": "C.UTF-8", **environment}))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def test_a_job_is_watched_to_its_seal(
    cluster: Cluster,
    tokenmill: Run,
    terminal: Callable[..., Terminal],
    corpus: Path,
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    """Who works at what, and no guess while it is too early; programs get one object a change, and both end with the job."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLOW)
    cluster.start("tokenmill", "dispatch", name="dispatch")
    submitted = tokenmill("submit", corpus / "part-0.jsonl", *JOB, *CUT, "--output", "out", TOKENMILL_BROKER=cluster.broker)
    assert submitted.returncode == 0, submitted.stderr
    output = tmp_path / "out"
    seen = terminal("status", output, "--watch", TOKENMILL_BROKER=cluster.broker)
    plain = terminal("status", output, "--watch", TOKENMILL_BROKER=cluster.broker, NO_COLOR="1")
    wait_until(lambda: "no worker serves the queue encode" in seen.shows(), "the remark that there is no worker")
    assert "not running" in seen.shows()

    cluster.start("tokenmill", "status", output, "--watch", "--json", name="changes")
    cluster.worker("alpha", PYTHONPATH=str(site))
    wait_until(lambda: "alpha@" in seen.shows() and "running" in seen.shows(), "the worker's row")
    if len(committed(output)) < 3:
        assert "too early to tell" in seen.shows()
    wait_until(lambda: re.search(r"(\d–|about |at most )\d+ s left", seen.shows()), "a range of time left")
    assert max(map(len, seen.shows().splitlines())) <= 80
    assert "\x1b[" in seen.colours()
    assert not re.search(r"\x1b\[[\d;]*\b(3[0-8]|9[0-7])[;m]", plain.colours())

    wait_until((output / "manifest.json").exists, "the seal", seconds=90)
    wait_until(lambda: "status 0" in seen.shows(), "the end of watching")
    assert "night" in seen.shows()
    assert "sealed" in seen.shows()
    assert "report.html" in seen.shows().replace("\n", "")
    wait_until(lambda: '"sealed": true' in cluster.log("changes"), "the end of the changes")
    changes = [json.loads(line) for line in cluster.log("changes").splitlines()]
    counts = [change["committed"] for change in changes]
    assert counts == sorted(counts)
    assert counts[-1] == changes[-1]["batches"]
    assert not any(change["sealed"] for change in changes[:-1])
    steady = [change | {"bytes_per_second": None, "seconds_left": None} for change in changes]
    assert all(one != other for one, other in pairwise(steady))


def test_a_parked_batch_is_shown_with_its_remedy(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    """Watching ends where nothing is left but what is parked, and is quiet where there is no terminal."""
    sources = tmp_path / "corpus"
    sources.mkdir()
    (sources / "cut.jsonl.gz").write_bytes(gzip.compress((corpus / "part-0.jsonl").read_bytes()[:500_000])[:-2000])
    done = tokenmill("run", sources, *JOB, *CUT, "--output", "out")
    assert done.returncode == 3, done.stderr
    watched = tokenmill("status", "out", "--watch")
    assert watched.returncode == 0
    said = " ".join(watched.stdout.split())
    assert "parked 0000" in said
    assert f"tokenmill retry {tmp_path / 'out'}" in said
    assert "\x1b" not in watched.stdout
    assert max(map(len, watched.stdout.splitlines())) <= 80
