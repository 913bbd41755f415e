"""Sources and outputs in Google Cloud Storage, as a user has them: the shards of a disk, whatever is killed meanwhile."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from producer.corpus import collect
from producer.prepare import prepare
from producer.request import Request
from tests.acceptance.cluster import children, kill
from tests.acceptance.conftest import BIN, JOB, Run
from tokenmill import storage
from tokenmill.errors import UsageError
from tokenmill.ledger import Ledger
from tokenmill.manifest import Shard
from tokenmill.reader import TokenDataset
from tokenmill.storage.gs import connection

OPTIONS = [*JOB, "--engine", "reference", "--batch-bytes", "40000"]


@pytest.fixture
def corpus_url(corpus: Path, google_prefix: str) -> str:
    """A part of the corpus, as a folder in Google Cloud Storage."""
    for path in sorted(corpus.glob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        storage.put(f"{google_prefix}/corpus/{path.name}", b"".join(lines[: len(lines) // 10]))
    return f"{google_prefix}/corpus"


def shards(output: str) -> tuple[Shard, ...]:
    manifest = Ledger(output).manifest()
    assert manifest is not None
    return manifest.shards


def test_from_google_to_google_with_a_worker_and_then_all_of_it_killed(
    tokenmill: Run, corpus_url: str, google_prefix: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """What is committed is not done again, and the shards are those of a disk."""
    output, entries = f"{google_prefix}/out", f"{google_prefix}/out/entries"
    command = [BIN / "tokenmill", "run", corpus_url, *OPTIONS, "--output", output, "--workers", "1"]
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    wait_until(lambda: len(storage.names(entries)) >= 2, "two committed batches")
    workers = [pid for pid in children(first.pid) if children(pid) == [pid] and f"run{first.pid}" in command_line(pid)]
    assert workers, [command_line(pid) for pid in children(first.pid)]
    kill(workers, signal.SIGKILL)
    before = len(storage.names(entries))
    wait_until(lambda: len(storage.names(entries)) > before, "work of the worker's successor")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = {url: found.mark for url, found in storage.walk(entries)}
    again = tokenmill("run", f"{corpus_url}/", *OPTIONS, "--output", output)
    assert again.returncode == 0, again.stderr
    # what was under way to the server when its sender was killed may still arrive
    resumed = re.search(r"resuming   (\d+) of ", again.stderr)
    assert resumed is not None, again.stderr
    assert len(kept) <= int(resumed[1]) <= len(kept) + 1
    assert kept.items() <= {url: found.mark for url, found in storage.walk(entries)}.items()

    for url, _ in storage.walk(corpus_url):
        (tmp_path / "disk").mkdir(exist_ok=True)
        (tmp_path / "disk" / url.rpartition("/")[2]).write_bytes(storage.read(url))
    assert tokenmill("run", "disk", *OPTIONS, "--output", "out").returncode == 0
    assert shards(output) == shards(str(tmp_path / "out"))

    verified = json.loads(tokenmill("verify", output, "--json").stdout)
    dataset = TokenDataset(output)
    assert verified["findings"] == []
    assert verified["compared"] > 0
    assert np.array_equal(dataset[len(dataset) - 1], TokenDataset(str(tmp_path / "out"))[len(dataset) - 1])
    globbed, whole = collect([f"{corpus_url}/**/part-*.jsonl"]), collect([corpus_url])
    assert whole.fingerprint() == globbed.fingerprint()
    storage.put(f"{corpus_url}/part-0.jsonl", b'{"text": "another"}\n')
    assert collect([corpus_url]).fingerprint() != whole.fingerprint()


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [
        ("gs://no-such-bucket/corpus", "out", "Create the bucket, or name another"),
        ("{corpus}", "gs://no-such-bucket/out", "Create the bucket, or name another"),
        ("{corpus}/nothing", "out", "corpus/nothing: there is no such file or folder, and it is no glob."),
        ("{corpus}/*.csv", "out", "holds no file that can be read"),
        ("gs://", "out", "gs:// names no bucket"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(corpus_url: str, source: str, output: str, said: str) -> None:
    asked = Request(sources=(source.format(corpus=corpus_url),), tokenizer=JOB[1], output=output, eos_token=False)
    with pytest.raises(UsageError, match=re.escape(said)):
        prepare(asked)


def test_a_key_that_is_not_there_is_said(corpus_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", os.environ["STORAGE_EMULATOR_HOST"])
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")  # with it the library asks for no key
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    connection._client_of.cache_clear()
    asked = Request(sources=(corpus_url,), tokenizer=JOB[1], output="out", eos_token=False)
    with pytest.raises(UsageError, match=r"/nowhere/key\.json was not found\. Set GOOGLE_APPLICATION_CREDENTIALS"):
        prepare(asked)
