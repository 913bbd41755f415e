"""Facts beside the shards are a function of the job: of no worker, engine or crash."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import BIN, JOB, Run, contents
from tests.acceptance.test_gpu_workers import PLAYING
from tests.gpus import STAND_IN, Host, gpu


def test_facts_are_a_function_of_the_job(tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """One worker and a fast engine; three with the reference, killed in mid-job and taken up again: the same bytes."""
    source = corpus / "part-0.jsonl"
    texts = [json.loads(line)["text"] for line in source.open(encoding="utf-8")]
    (tmp_path / "quiz.txt").write_text(texts[2][:3000].replace("\r", "") + "\n")
    asked = ["--histograms", "--minhash", "64", "--contamination", "quiz.txt", "--shuffle", "1", "--batch-bytes", "150000"]
    one = tokenmill("run", source, *JOB, *asked, "--workers", 1, "--output", "one")
    assert one.returncode == 0, one.stderr
    assert "test set   quiz: " in one.stderr

    command = [BIN / "tokenmill", "run", source, *JOB, *asked, "--engine", "reference", "--output", "many"]
    killed = subprocess.Popen([*command, "--workers", "1"], cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(list((tmp_path / "many/entries").glob("*.json"))) >= 2, "two committed batches")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "many/manifest.json").exists()
    again = subprocess.run([*command, "--workers", "3"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "one") == contents(tmp_path / "many")

    manifest = json.loads((tmp_path / "one/manifest.json").read_text())
    documents, tokens = manifest["documents"], manifest["tokens"]
    assert sum(rows(tmp_path, "minhash")) == documents
    assert sum(column(tmp_path, "tokens", "count")) == tokens
    assert sum(column(tmp_path, "lengths", "count")) == documents
    found = manifest["contaminated"]["quiz"]
    assert 0 < found == sum(rows(tmp_path, "contamination"))
    assert f"quiz in {found:,} documents" in one.stdout
    assert f"quiz in {found:,} documents" in (tmp_path / "one/report.html").read_text()
    assert json.loads(tokenmill("report", "one", "--json").stdout)["contaminated"] == {"quiz": found}
    verified = tokenmill("verify", "one", "--json")
    assert verified.returncode == 0, verified.stdout


def sidecars(folder: Path, name: str) -> list[Path]:
    found = sorted((folder / "one/facts").glob(f"*.{name}.parquet"))
    assert len(found) > 5
    return found


def rows(folder: Path, name: str) -> list[int]:
    return [pq.read_metadata(path).num_rows for path in sidecars(folder, name)]


def column(folder: Path, name: str, wanted: str) -> list[int]:
    return [value for path in sidecars(folder, name) for value in pq.read_table(path)[wanted].to_pylist()]


#: A GPU that writes down how often it was asked for facts, fails at one of these times, and never runs one of its kernels.
COUNTED = """
import os
from tokenmill.engines.contract import Unavailable

class Counted(HostDevice):
    told = 0

    def run(self, kernel, threads, arguments):
        if kernel == "empty_places":
            Counted.told += 1
            with open(os.environ["SEEN"], "a") as seen:
                print(Counted.told, file=seen)
        if Counted.told == int(os.environ["FAILS"]) and kernel == "tally_runs":
            raise Unavailable("the GPU has fallen off the bus")
        if kernel != os.environ["SKIPS"]:
            super().run(kernel, threads, arguments)

engine.open_device = lambda: Counted(lazy=False)
"""


@pytest.mark.parametrize(
    ("fails", "skips"),
    [(0, ""), (4, ""), (0, "deal_shingles")],
    ids=["a GPU", "one that fails in mid-job", "one that is wrong"],
)
def test_a_gpu_computes_the_same(tokenmill: Run, corpus: Path, tmp_path: Path, fails: int, skips: str) -> None:
    """Byte for byte, whether it does all of it, some or none; its own kernels, on the processor."""
    source = corpus / "part-0.jsonl"
    texts = [json.loads(line)["text"] for line in source.open(encoding="utf-8")]
    (tmp_path / "quiz.txt").write_text(texts[2][:3000].replace("\r", "") + "\n")
    (tmp_path / "other.txt").write_text(texts[20][:3000].replace("\n", " ") + "\n")
    asked = ["--histograms", "--minhash", "64", "--contamination", "quiz.txt", "--contamination", "other.txt"]
    asked += ["--shuffle", "1", "--max-tokens", "2000", "--over-length", "split", "--batch-bytes", "150000"]
    cpu = tokenmill("run", source, *JOB, *asked, "--engine", "reference", "--output", "cpu")
    assert cpu.returncode == 0, cpu.stderr

    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(PLAYING + COUNTED)
    here = {**Host(tmp_path).has(gpu("a")), "PYTHONPATH": f"{STAND_IN}:{tmp_path / 'site'}", "SEEN": str(tmp_path / "seen")}
    here |= {"FAILS": str(fails), "SKIPS": skips}
    done = tokenmill("run", source, *JOB, *asked, "--engine", "cuda", "--device", "cuda", "--output", "gpu", **here)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "gpu") == contents(tmp_path / "cpu")
    entries = [json.loads(path.read_text()) for path in (tmp_path / "gpu/entries").glob("*.json")]
    assert len(entries) > 5
    assert all(entry["run"]["engine"].startswith("cuda ") for entry in entries)
    times = len((tmp_path / "seen").read_text().split())
    assert times == (fails or 1) if fails or skips else times >= len(entries)
