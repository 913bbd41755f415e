"""A tokenizer by hub id, from a hub of our own on loopback that speaks the real one's protocol."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.conftest import Run

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one repository, acme/tiny, at one commit; notes what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        file = path.removeprefix(f"/acme/tiny/resolve/{COMMIT}/")
        if path in ("/api/models/acme/tiny", "/api/models/acme/tiny/revision/v1"):
            data = json.dumps({"id": "acme/tiny", "modelId": "acme/tiny", "sha": COMMIT, "siblings": []}).encode()
        elif file in self.server.files:
            data = self.server.files[file]
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if "resolve" in path else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tokenizer_path: Callable[[str], Path]) -> Iterator[Hub]:
    model = tokenizer_path("deepseek")
    config = model.with_name("tokenizer_config.json")
    files = {"tokenizer.json": model.read_bytes(), "tokenizer_config.json": config.read_bytes(), "evil.py": b"raise SystemExit"}
    with Hub(files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_hub_id_is_fetched_once_at_a_pinned_commit(hub: Hub, tokenmill: Run, tmp_path: Path) -> None:
    """Data files only; and after the job is on record nobody asks the hub again, however often it is taken up."""
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "hf")}
    (tmp_path / "a.jsonl").write_text('{"text": "Hello, world!"}\n')
    options = ["a.jsonl", "--tokenizer", "acme/tiny@v1", "--no-eos-token", "--engine", "reference", "--workers", 1]
    done = tokenmill("run", *options, "--output", "out", **environment)
    assert done.returncode == 0, done.stderr
    tokenizer = json.loads((tmp_path / "out/manifest.json").read_text())["tokenizer"]
    assert (tokenizer["name"], tokenizer["revision"]) == ("acme/tiny@v1", COMMIT)
    assert tokenizer["sha256"] == hashlib.sha256(hub.files["tokenizer.json"]).hexdigest()
    assert (tmp_path / "out/tokenizer/tokenizer.json").read_bytes() == hub.files["tokenizer.json"]
    assert not [path for path in hub.asked if path.endswith(".py")]
    hub.asked.clear()
    assert tokenmill("run", *options, "--output", "out", **environment).returncode == 0
    assert tokenmill("verify", "out", "--full", **environment).returncode == 0
    assert tokenmill("inspect", "out", "--document", 0, **environment).returncode == 0
    assert hub.asked == []


def test_what_the_hub_has_not_is_said(hub: Hub, tokenmill: Run, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "hf")}
    del hub.files["tokenizer.json"]
    without = tokenmill("encode", "--model", "acme/tiny", "--text", "x", **environment)
    assert (without.returncode, "has no tokenizer.json on the hub" in without.stderr) == (2, True)
    nobody = tokenmill("encode", "--model", "acme/nothing", "--text", "x", **environment)
    assert (nobody.returncode, "nor a repository on the hub" in nobody.stderr) == (2, True), nobody.stderr
    environment["HF_ENDPOINT"] = "http://127.0.0.1:1"
    away = tokenmill("encode", "--model", "acme/tiny", "--text", "x", **environment)
    assert (away.returncode, "the hub cannot be reached" in away.stderr) == (1, True), away.stderr
