"""`tokenmill plan --dry-run` before a job, and a sampled job after it: what was foretold is what is done."""

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import JOB, Run, contents

OPTIONS = [*JOB, "--engine", "reference", "--batch-bytes", 150_000, "--output", "out"]


@pytest.fixture
def mixed(corpus: Path, tmp_path: Path) -> Path:
    """The corpus, some of it compressed, some of it no source."""
    folder = tmp_path / "mixed"
    (folder / "deep").mkdir(parents=True)
    for path in sorted(corpus.iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "deep/packed.jsonl.gz").write_bytes(gzip.compress((corpus / "part-0.jsonl").read_bytes(), mtime=0))
    (folder / "deep/notes.md").write_text("x")
    return folder


def test_the_plan_as_a_table_and_as_json(mixed: Path, tokenmill: Run, tmp_path: Path) -> None:
    done = tokenmill("plan", mixed, *OPTIONS, "--dry-run", "--workers", 4, "--json", "--exclude", "part-2.*", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    packed = (mixed / "deep/packed.jsonl.gz").stat().st_size
    plain = sum((mixed / f"part-{i}.jsonl").stat().st_size for i in (0, 1))
    assert found["kinds"] == {
        ".jsonl": {"files": 2, "bytes": plain, "uncut": 0},
        ".jsonl.gz": {"files": 1, "bytes": packed, "uncut": 1},
    }
    assert (found["files"], found["uncut_files"], found["left_out"], found["passed_over"]) == (3, 1, 1, {".md": 1})
    assert found["bytes"] == found["corpus_bytes"] == plain + packed
    assert found["largest_batch"] == {
        "index": 0, "bytes": packed, "why": f"all of a file that cannot be cut: {mixed}/deep/packed.jsonl.gz"
    }  # fmt: skip
    assert found["skew"] == pytest.approx(packed / (found["bytes"] / found["batches"]), abs=0.001)
    expected = found["estimate"]
    assert expected["pilot_bytes"] > 100_000
    rate = expected["pilot_bytes"] / expected["pilot_seconds"]
    assert expected["bytes_per_second_and_worker"] == pytest.approx(rate, rel=0.02)
    assert expected["seconds"] == pytest.approx(max(found["bytes"] / 4, packed) / rate, abs=0.1)
    table = tokenmill("plan", mixed, *OPTIONS, "--no-estimate", "--exclude", "part-2.*")
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "  .jsonl.gz          1, " in table.stdout
    assert "cannot be cut" in table.stdout
    assert "time  " not in table.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed"]


def test_a_sample_is_a_job_of_its_own_that_reads_no_more(mixed: Path, tokenmill: Run, tmp_path: Path) -> None:
    sampled = ["--limit", "2MiB", "--sample-seed", 3, "--include", "*.jsonl"]
    foretold = tokenmill("plan", mixed, *OPTIONS, *sampled, "--no-estimate", "--json")
    found = json.loads(foretold.stdout)
    assert 500_000 <= found["bytes"] <= 2 << 20
    for workers, output in ((1, "one"), (2, "two")):
        done = tokenmill("run", mixed, *OPTIONS[:-1], output, *sampled, "--workers", workers)
        assert done.returncode == 0, done.stderr
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == two
    manifest = json.loads(one["manifest.json"])
    assert manifest["sample"] == {"share": 1.0, "limit": 2 << 20, "seed": 3}
    assert manifest["input_bytes"] == found["bytes"]
    assert manifest["corpus_bytes"] == found["corpus_bytes"] == sum(p.stat().st_size for p in mixed.glob("*.jsonl"))
    spans = [span for row in pq.read_table(tmp_path / "one/plan.parquet").to_pylist() for span in row["spans"]]
    assert sum(span["bytes"] for span in spans) == found["bytes"]
    assert f"{found['bytes']:,} of {found['corpus_bytes']:,} bytes" in (tmp_path / "one/report.html").read_text()
    other = tokenmill("run", mixed, *OPTIONS[:-1], "one", *sampled[:3], 4, *sampled[4:])
    assert (other.returncode, "sample was" in other.stderr) == (2, True), other.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["mixed", "--sample", "0"], "--sample 0.0 is no share"),
        (["mixed", "--sample", "1.5"], "--sample 1.5 is no share"),
        (["mixed", "--limit", "10 bananas"], "--limit '10 bananas' is no size"),
        (["mixed", "--limit", "1B"], "takes none of 4 files"),
        (["mixed", "--include", "*.parquet"], "of 4 files, --include '*.parquet' leaves none"),
        ([], "no source is named"),
        (["@none.txt"], "No such file"),
        (["--sources-from", "mixed/deep/notes.md"], "there is no such file or folder"),
    ],
)
def test_what_cannot_be_planned(mixed: Path, tokenmill: Run, options: list[str], said: str) -> None:
    done = tokenmill("plan", *options, *OPTIONS)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
