"""One big archive is work for all workers, and gives what its plain file gives."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from tests.acceptance.conftest import JOB, Run
from tests.acceptance.independent_check import shard_documents
from tests.unit.test_frames import bgzf, gzi, seek_table
from tokenmill import storage


@pytest.fixture
def content(real_texts: list[str]) -> bytes:
    """Half a megabyte of real text, with a broken line here and there."""
    lines = [json.dumps({"text": text}).encode() if i % 50 else b"broken" for i, text in enumerate(real_texts)]
    return b"".join(line + b"\n" for line in lines)[: 1 << 19]


def rejected(output: Path) -> list[tuple[int, str]]:
    found = [json.loads(line) for path in sorted((output / "rejected").iterdir()) for line in path.read_text().splitlines()]
    return [(row["position"], row["reason"]) for row in found]


def test_archives_cut_at_frames_are_their_plain_files(content: bytes, tokenmill: Run, tmp_path: Path, prefix: str) -> None:
    """Of frames in S3 only the table is read: the one in a .zst, or the .gzi beside a .gz."""
    options = [*JOB, "--engine", "reference", "--batch-bytes", 60_000, "--max-rejected", "1", "--workers", "2"]
    (tmp_path / "plain").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "plain" / name).write_bytes(content)
    assert tokenmill("run", "plain", *options, "--output", "one").returncode == 0
    parts = [content[i : i + 20_000] for i in range(0, len(content), 20_000)]
    frames, members = list(map(zstandard.ZstdCompressor().compress, parts)), list(map(bgzf, parts))
    storage.put(f"{prefix}/a.jsonl.zst", b"".join(frames) + seek_table(frames, parts))
    storage.put(f"{prefix}/b.jsonl.gz", b"".join(members))
    storage.put(f"{prefix}/b.jsonl.gz.gzi", gzi(members, parts))
    done = tokenmill("run", prefix, *options, "--output", "two")
    assert done.returncode == 0, done.stderr
    plan = pq.read_table(tmp_path / "two/plan.parquet")["spans"].to_pylist()
    assert {span["cut"] for spans in plan for span in spans} == {"frames"}
    assert len(plan) > 3
    plain, cut = (list(shard_documents(tmp_path / name)) for name in ("one", "two"))
    assert [ids.tolist() for ids in plain] == [ids.tolist() for ids in cut]
    assert rejected(tmp_path / "one") == rejected(tmp_path / "two") != []
    assert tokenmill("verify", "two", "--full").returncode == 0
