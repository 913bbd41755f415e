"""A tokenizer by hub id, from a hub of our own on loopback that speaks the real one's protocol."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Run
from tests.hubserver import COMMIT, Hub


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
