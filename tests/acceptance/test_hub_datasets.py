"""Jobs whose corpus is a dataset of a hub: listed at one commit, read by ranges; the hub is a stand-in."""

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import JOB, Run, contents
from tests.hubserver import Dataset, Hub, Reply
from tests.webserver import WebServer

OLD, NEW = "a" * 40, "b" * 40
OPTIONS = [*JOB, "--engine", "reference", "--workers", 1, "--batch-bytes", 100_000]


def parquet(texts: list[str]) -> bytes:
    """A Parquet file of which text is the smaller part: a column that nobody wants, and small row groups."""
    sink = io.BytesIO()
    unwanted = [hashlib.sha512(text.encode()).hexdigest() * 40 for text in texts]
    table = pa.table({"embedding": unwanted, "text": texts})
    pq.write_table(table, sink, row_group_size=100, compression="none", use_dictionary=False)
    return sink.getvalue()


@pytest.fixture
def hub() -> Iterator[Hub]:
    texts = [f"document {number}: the quick brown fox" for number in range(1000)]
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    files = {
        ".gitattributes": b"*",
        "README.md": b"# a card",
        "data/train/part 0%.parquet": parquet(texts),
        "data/train/part-1.jsonl": lines,
        "data/test/part-2.jsonl": lines[:1000].rpartition(b"\n")[0] + b"\n",
        "notes.txt": b"in git itself",
    }
    with Hub({}) as server, WebServer() as cdn:
        server.cdn = cdn
        server.datasets["acme/corpus"] = Dataset(
            {OLD: {**files, "old.jsonl": lines}, NEW: files}, {"main": NEW, "v1": OLD, "refs/convert/parquet": NEW}
        )
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def at(hub: Hub, tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "", **more}


def shards(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if name.startswith("shards/")}


def plan_of(output: Path) -> list[dict[str, Any]]:
    return [span for row in pq.read_table(output / "plan.parquet").to_pylist() for span in row["spans"]]


def test_a_bare_dataset_is_all_its_data_files_at_one_commit(hub: Hub, tokenmill: Run, tmp_path: Path) -> None:
    dataset = hub.datasets["acme/corpus"]
    done = tokenmill("run", "hf://datasets/acme/corpus", *OPTIONS, "--output", "hub", **at(hub, tmp_path))
    assert done.returncode == 0, done.stderr
    for name, data in dataset.commits[NEW].items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    assert tokenmill("run", "copy", *OPTIONS, "--output", "folder").returncode == 0
    web, folder = contents(tmp_path / "hub"), contents(tmp_path / "folder")
    assert shards(web) == shards(folder)
    spans = plan_of(tmp_path / "hub")
    assert {span["url"].partition("@")[2].partition("/")[0] for span in spans} == {NEW}
    name = "data/train/part-1.jsonl"
    (mark,) = {span["mark"] for span in spans if span["url"].endswith(name)}
    assert mark == hashlib.sha256(dataset.commits[NEW][name]).hexdigest()
    # nothing of a signed address is written down
    assert not [path for path in (tmp_path / "hub").rglob("*.json*") if "Signature=secret" in path.read_text()]
    # the branch moves on: the job as it was planned is not taken for one over the new commit
    dataset.revisions["main"] = OLD
    again = tokenmill("run", "hf://datasets/acme/corpus", *OPTIONS, "--output", "hub", **at(hub, tmp_path))
    assert (again.returncode, "source files were added, removed or changed since" in again.stderr) == (2, True)
    pinned = tokenmill("run", f"hf://datasets/acme/corpus@{NEW}", *OPTIONS, "--output", "hub", **at(hub, tmp_path))
    assert "sources was" in pinned.stderr


def test_storage_over_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: globs, folders, revisions, ranges alone, and what goes wrong."""
    from huggingface_hub import HfApi

    from tokenmill import storage
    from tokenmill.errors import BatchError, TransientError, UsageError
    from tokenmill.storage import hub as store

    monkeypatch.setattr(store, "HfApi", lambda: HfApi(endpoint=hub.url))
    monkeypatch.setenv("HF_TOKEN", "")
    assert hub.cdn is not None
    whole = "hf://datasets/acme/corpus"
    assert storage.pinned(whole) == f"{whole}@{NEW}"
    assert storage.pinned(f"{whole}@v1/data") == f"{whole}@{OLD}/data"
    assert storage.pinned(f"{whole}@refs/convert/parquet/data") == f"{whole}@{NEW}/data"
    assert storage.absolute(f"{whole}@refs/convert/parquet/data/") == f"{whole}@refs%2Fconvert%2Fparquet/data"
    names = [url.partition(NEW)[2] for url, _ in storage.walk(whole)]
    assert sorted(names) == [f"/{name}" for name in sorted(hub.datasets["acme/corpus"].commits[NEW]) if name[0] != "."]
    assert [url for url, _ in storage.matching(f"{whole}/data/*/*.parquet")] == [f"{whole}@{NEW}/data/train/part 0%.parquet"]
    assert [url.rpartition("/")[2] for url, _ in storage.matching(f"{whole}@v1/**/*.jsonl")] == [
        "part-2.jsonl",
        "part-1.jsonl",
        "old.jsonl",
    ]
    assert storage.names(f"{whole}/data") == ["test", "train"]
    assert storage.is_folder(f"{whole}@{NEW}/data")
    assert not storage.is_folder(f"{whole}@{NEW}/notes.txt")
    assert storage.read(f"{whole}/notes.txt") == b"in git itself"
    assert storage.find(f"{whole}/none.txt") is None
    with pytest.raises(BatchError, match="there is no such file"):
        storage.read(f"{whole}/none.txt")
    # two columns lie side by side; the one that is wanted is a hundredth of the file
    url, data = (
        f"{whole}@{NEW}/data/train/part 0%.parquet",
        hub.datasets["acme/corpus"].commits[NEW]["data/train/part 0%.parquet"],
    )
    monkeypatch.setattr("tokenmill.storage.ranged.SHORTEST", 16 << 10)
    hub.cdn.asked.clear()
    with storage.open_input(url) as file:
        texts = pq.ParquetFile(file, pre_buffer=False).read_row_group(9, columns=["text"]).column("text")
    assert texts[99].as_py().startswith("document 999")
    ranges = [headers["Range"].removeprefix("bytes=").split("-") for _, headers in hub.cdn.asked]
    assert sum(int(stop) + 1 - int(start) for start, stop in ranges) < len(data) / 10
    hub.troubles = [Reply(429)]
    with pytest.raises(TransientError, match="the hub answers 429"):
        storage.pinned(whole)
    hub.troubles = [Reply(418)]
    with pytest.raises(UsageError, match="the hub answers 418"):
        storage.pinned(whole)
    for url in ("hf://acme/corpus", "hf://datasets/corpus", "hf://models/acme/tiny", "hf://datasets/acme/corpus@/x"):
        with pytest.raises(UsageError, match="names no dataset"):
            storage.absolute(url)


@pytest.mark.parametrize(
    ("source", "how", "status", "said"),
    [
        ("acme/nothing", {}, 2, "the hub has no such dataset or revision"),
        ("acme/corpus@v9", {}, 2, "the hub has no such dataset or revision"),
        ("acme/corpus/none/*.jsonl", {}, 2, "holds no file that can be read"),
        ("acme/gated", {}, 2, "the dataset is gated. Accept its conditions"),
        ("acme/corpus", {"HF_HUB_OFFLINE": "1"}, 2, "HF_HUB_OFFLINE is set"),
        ("acme/corpus", {"HF_ENDPOINT": "http://127.0.0.1:1"}, 1, "the hub cannot be reached"),
        ("acme/corpus", {"TOKENMILL_ROOTS": "/nowhere"}, 2, "lies below none of TOKENMILL_ROOTS"),
    ],
)
def test_what_a_hub_has_not_or_shows_not(
    hub: Hub, tokenmill: Run, tmp_path: Path, source: str, how: dict[str, str], status: int, said: str
) -> None:
    hub.datasets["acme/gated"] = Dataset({NEW: {}}, {"main": NEW}, gated=True)
    done = tokenmill("plan", f"hf://datasets/{source}", *OPTIONS[:-4], "--output", "out", **at(hub, tmp_path, **how))
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_a_private_dataset_with_a_token_below_a_root_of_its_own(hub: Hub, tokenmill: Run, tmp_path: Path) -> None:
    private = hub.datasets["acme/corpus"]
    private.token = "hf_secret"
    environment = at(hub, tmp_path, HF_TOKEN="hf_secret", TOKENMILL_ROOTS=f"{tmp_path},hf://datasets/acme/corpus")
    done = tokenmill("run", "hf://datasets/acme/corpus/data/train/*.jsonl", *OPTIONS, "--output", "out", **environment)
    assert done.returncode == 0, done.stderr
    assert hub.cdn is not None
    assert hub.cdn.asked
    assert not [headers for _, headers in hub.cdn.asked if "Authorization" in headers]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and b"hf_secret" in path.read_bytes()]
