"""An engine that goes wrong in mid-job: the live check finds it, and not one of its ids is shipped."""

import json
from pathlib import Path

import pytest

from tests.acceptance.cluster import Cluster, WaitUntil
from tests.acceptance.conftest import JOB, Run, contents
from tests.acceptance.endpoint import port_of, scraped, value

#: Loaded by every Python process with this folder on its path: fastokens is wrong about every document with this word.
LIE = """
from tokenmill.engines import Tokens
from tokenmill.engines.fastokens import FastokensEngine

honest = FastokensEngine.encode

def encode(self, text):
    tokens = honest(self, text)
    ids = tokens.ids.copy()
    for i, document in enumerate(text.to_pylist()):
        if "zyzzyva" in document:
            ids[tokens.offsets[i]] += 1
    return Tokens(ids, tokens.offsets)

FastokensEngine.encode = encode
"""


@pytest.fixture
def delicate(corpus: Path, tmp_path: Path) -> Path:
    """The corpus twice; the word stands late in the second of four batches, where the sample of 2 MB does not come."""
    lines, size = [], 0
    for part in sorted(corpus.glob("*.jsonl")) * 2:
        for line in part.open(encoding="utf-8"):
            if size < 2_900_000 <= size + len(line.encode()):
                lines.append(json.dumps({"id": "delicate", "text": "about the zyzzyva, a weevil"}) + "\n")
            lines.append(line)
            size += len(line.encode())
    path = tmp_path / "delicate.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_a_lying_engine_is_disabled_and_all_it_did_is_done_again(tokenmill: Run, delicate: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(LIE)
    options = [delicate, *JOB, "--batch-bytes", 1_550_000, "--workers", 1, "--engine", "fastokens"]
    done = tokenmill("run", *options, "--output", "lied", "--check-every", 1, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "fastokens 0.3.5: same ids" in done.stderr, "it was chosen: nothing was wrong with it on the sample"
    said = " ".join(done.stdout.split())
    assert "fastokens 0.3.5 gave other ids than the reference in batch 000001 ('about the zyzzyva" in said

    honest = tokenmill("run", *options, "--output", "honest", "--engine", "reference")
    assert honest.returncode == 0, honest.stderr
    assert contents(tmp_path / "lied") == contents(tmp_path / "honest")

    disabled = json.loads((tmp_path / "lied/disabled/fastokens.json").read_text())
    assert (disabled["engine"], disabled["batch"]) == ("fastokens", 1)
    assert disabled["found"] != disabled["expected"]
    entries = [json.loads(path.read_text())["run"] for path in sorted((tmp_path / "lied/entries").glob("*.json"))]
    assert {run["engine"].split()[0] for run in entries} == {"reference"}, "batch 0, done before, was done again too"
    status = json.loads(tokenmill("status", "lied", "--json").stdout)
    assert "zyzzyva" in status["disabled_engines"]["fastokens"]
    assert "reference" in (tmp_path / "lied/report.html").read_text()


def test_entries_say_how_many_documents_were_checked(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    done = tokenmill("run", corpus, *JOB, "--output", "out", "--batch-bytes", 1_000_000, "--check-every", 100)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out/entries").glob("*.json"):
        entry = json.loads(path.read_text())
        assert entry["run"]["checked"] == -(-entry["counts"]["documents"] // 100)


def test_a_lying_engine_is_seen_by_who_watches(
    cluster: Cluster, tokenmill: Run, delicate: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Counted once, where it was found; from there on the worker does without the engine."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(LIE)
    cluster.start("tokenmill-worker", "--cpus", 1, "--metrics-port", 0, name="alpha", PYTHONPATH=str(site))
    port = port_of(cluster, "alpha", wait_until)
    options = [
        delicate,
        *JOB,
        "--batch-bytes",
        1_550_000,
        "--engine",
        "fastokens",
        "--check-every",
        1,
        "--follow",
        "--output",
        "lied",
    ]
    done = tokenmill("submit", *options, TOKENMILL_BROKER=cluster.broker, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert value(scraped(port), "tokenmill_live_check_differences_total") == 1
    assert value(scraped(port), "tokenmill_disabled_engines") == 1
