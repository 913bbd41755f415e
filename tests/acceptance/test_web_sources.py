"""Jobs whose corpus lies on a web server: the same bytes as from a folder, and nothing beyond what roots allow."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import JOB, Run, contents
from tests.webserver import WebServer

OPTIONS = [*JOB, "--engine", "reference", "--workers", 1, "--batch-bytes", 200_000]


@pytest.fixture
def server(corpus: Path) -> Iterator[WebServer]:
    with WebServer() as running:
        for path in sorted(corpus.iterdir()):
            running.put(f"/corpus/{path.name}", path.read_bytes()[:600_000].rpartition(b"\n")[0] + b"\n")
        yield running


def test_a_job_over_the_web_is_the_same_as_from_a_folder(server: WebServer, tokenmill: Run, tmp_path: Path) -> None:
    urls = [f"{server.url}{path}" for path in server.files]
    for file in server.files.values():
        file.cuts, file.after = 3, 100_000
    done = tokenmill("run", *urls, *OPTIONS, "--output", "web")
    assert done.returncode == 0, done.stderr
    (tmp_path / "corpus").mkdir()
    for path, file in server.files.items():
        (tmp_path / path[1:]).write_bytes(file.data)
    assert tokenmill("run", "corpus", *OPTIONS, "--output", "folder").returncode == 0
    web, folder = contents(tmp_path / "web"), contents(tmp_path / "folder")
    shards = {name for name in folder if name.startswith("shards/")}
    assert len(shards) >= 12
    assert {name: web[name] for name in shards} == {name: folder[name] for name in shards}
    assert tokenmill("verify", "web", "--full").returncode == 0


def test_a_file_replaced_since_the_plan_parks_its_batches(server: WebServer, tokenmill: Run, tmp_path: Path) -> None:
    path, file = next(iter(server.files.items()))
    data = file.data

    def replaced(file: object) -> None:
        if len(server.asked) > 6:
            server.files[path].data = data[::-1]

    file.watch = replaced
    done = tokenmill("run", f"{server.url}{path}", *OPTIONS, "--output", "out")
    assert done.returncode == 3, done.stderr
    assert "was written again after the job was planned" in done.stderr or "has changed while it was read" in done.stderr


def test_roots_hold_on_the_web_too(server: WebServer, tokenmill: Run, tmp_path: Path) -> None:
    url = f"{server.url}{next(iter(server.files))}"
    refused = tokenmill("run", url, *OPTIONS, "--output", "out", TOKENMILL_ROOTS=str(tmp_path))
    assert (refused.returncode, "lies below none of TOKENMILL_ROOTS" in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "out").exists()
    admitted = tokenmill("run", url, *OPTIONS, "--output", "out", TOKENMILL_ROOTS=f"{tmp_path},{server.url}/corpus")
    assert admitted.returncode == 0, admitted.stderr
    assert json.loads((tmp_path / "out/manifest.json").read_text())["tokens"] > 0


def test_what_the_web_is_not_for(server: WebServer, tokenmill: Run) -> None:
    out = tokenmill("run", f"{server.url}/corpus/none.jsonl", *OPTIONS, "--output", "https://host/out")
    assert (out.returncode, "https://host/out: nothing can be written there" in out.stderr) == (2, True), out.stderr
    missing = tokenmill("run", f"{server.url}/corpus/none.jsonl", *OPTIONS, "--output", "out")
    assert (missing.returncode, "there is no such file" in missing.stderr) == (2, True), missing.stderr
    secret = tokenmill("run", "https://me:hunter2@host/a.jsonl", *OPTIONS, "--output", "out")
    assert (secret.returncode, "hunter2" in secret.stderr + secret.stdout) == (2, False)
