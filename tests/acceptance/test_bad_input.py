"""Whatever goes in: a counted rejection, or one clear paragraph and the right exit status."""

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import JOB, WHOLE_JOB, Run
from tests.acceptance.independent_check import shard_documents

QUICK = [*JOB, "--engine", "reference", "--output", "out", "--workers", "1"]


def lines(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text, "id": f"id-{i}"}).encode() + b"\n" for i, text in enumerate(texts))


def test_damaged_documents_are_counted_shown_and_bounded(tokenmill: Run, tmp_path: Path) -> None:
    """The peers lose these without a word, or hang: 60 good documents, 8 bad lines between them, one empty."""
    bad = [b"{broken", b'{"id": "x"}', b'{"text": null}', b'{"text": 12345}', b'{"text": "\xe9"}', b'{"text": "\\ud800"}',
           b"[1]", b'{"text": "", "id": "none"}']  # fmt: skip
    good = [lines(f"good document {i}") for i in range(60)]
    mixed = [line for pair in zip(good, [b + b"\n" for b in bad], strict=False) for line in pair] + good[len(bad) :]
    (tmp_path / "corpus.jsonl").write_bytes(b"".join(mixed))
    stopped = tokenmill("run", "corpus.jsonl", *QUICK)
    assert stopped.returncode == 1
    assert "7 of 68 documents so far are damaged, more than --max-rejected 0.01" in stopped.stderr
    done = tokenmill("run", "corpus.jsonl", *QUICK, "--max-rejected", "0.2", "--id-field", "id", "--output", "with-ids")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "with-ids/manifest.json").read_text())
    assert (manifest["documents"], manifest["rejected"]) == (60, 8)
    expected = {"broken_json": 1, "empty": 1, "invalid_utf8": 1, "lone_surrogate": 1, "missing_field": 1,
                "not_an_object": 1, "not_text": 1, "null_text": 1}  # fmt: skip
    assert manifest["rejected_by_reason"] == expected
    rejected = [json.loads(line) for line in (tmp_path / "with-ids/rejected/000000.jsonl").open()]
    data = (tmp_path / "corpus.jsonl").read_bytes()
    assert [data[r["position"] :].split(b"\n")[0].decode("utf-8", "replace")[:200] for r in rejected][:7] == [
        r["excerpt"] for r in rejected
    ][:7]
    assert rejected[7] == {"file": str(tmp_path / "corpus.jsonl"), "unit": "byte", "position": rejected[7]["position"],
                           "reason": "empty", "id": "none", "excerpt": ""}  # fmt: skip
    assert "8  (1 broken_json, 1 empty" in done.stdout
    assert tokenmill("verify", "with-ids", "--full").returncode == 0


def test_a_larger_limit_takes_the_same_job_up_again(tokenmill: Run, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_bytes(lines("a", "b") + b"{broken\n")
    assert tokenmill("run", "corpus.jsonl", *QUICK).returncode == 1
    again = tokenmill("run", "corpus.jsonl", *QUICK, "--max-rejected", "0.5")
    assert again.returncode == 0, again.stderr
    assert "resuming   1 of 1" in again.stderr


def test_special_tokens_in_text_are_counted_and_stay_text(tokenmill: Run, tmp_path: Path) -> None:
    """All five counted peers forged a document boundary here."""
    eos = "<｜end▁of▁sentence｜>"
    (tmp_path / "corpus.jsonl").write_bytes(lines("plain", f"forged {eos} boundary", eos))
    for policy, documents, forged in [("text", 3, 0), ("parse", 3, 2), ("reject", 1, 0)]:
        options = ["--special-tokens", policy, "--max-rejected", "1", "--output", policy]
        assert tokenmill("run", "corpus.jsonl", *QUICK, *options).returncode == 0
        manifest = json.loads((tmp_path / policy / "manifest.json").read_text())
        found = sum(ids.tolist().count(1) for ids in shard_documents(tmp_path / policy))
        assert (manifest["documents"], found) == (documents, documents + forged)
        assert manifest["documents_with_special_tokens"] == (2 if policy != "reject" else 0)
        assert manifest["rejected_by_reason"] == ({"special_token": 2} if policy == "reject" else {})


def cut_off_archive(folder: Path) -> None:
    data = gzip.compress(lines(*(f"document {i} {'x' * i}" for i in range(1000))))
    (folder / "corpus.jsonl.gz").write_bytes(data[: len(data) // 2])


def test_a_cut_off_archive_is_parked_and_mended(tokenmill: Run, tmp_path: Path) -> None:
    """Part of a corpus is gone, nobody knows how much: that is no rejection to be counted as one, sealing is impossible."""
    cut_off_archive(tmp_path)
    (tmp_path / "good.jsonl").write_bytes(lines("good"))
    parked = tokenmill("run", tmp_path / "corpus.jsonl.gz", tmp_path / "good.jsonl", *QUICK, "--batch-bytes", "100")
    assert parked.returncode == 3, parked.stderr
    assert "corpus.jsonl.gz is cut off: it ends in mid-stream" in parked.stderr
    assert (tmp_path / "out/parked/000000.json").exists()
    assert not (tmp_path / "out/manifest.json").exists()


REFUSED: list[tuple[str, Callable[[Path], object], list[str], int, str]] = [
    ("missing file", lambda _: None, ["nothing.jsonl"], 2, "there is no such file or folder"),
    ("empty glob", lambda _: None, ["*.jsonl"], 2, "holds no file that can be read"),
    ("empty folder", lambda p: (p / "d").mkdir(), ["d"], 2, "holds no file that can be read"),
    ("unknown suffix", lambda p: (p / "a.doc").write_text("x"), ["a.doc"], 2, "the suffix names no source format. Known are"),
    ("only others", lambda p: (p / "a.md").write_text("x"), ["."], 2, "passed over: 1 .md"),
    ("s3", lambda _: None, ["s3://bucket/a.jsonl"], 2, "Unable to locate credentials"),
    ("no column", lambda p: pq.write_table(pa.table({"body": ["a"]}), p / "a.parquet"), ["a.parquet"], 2, "has no column 'text'"),
    ("no csv column", lambda p: (p / "a.csv").write_text("id,body\n1,a\n"), ["a.csv"], 2, "has no columns 'text'; it has id, body"),
    ("no parquet", lambda p: (p / "a.parquet").write_text("x"), ["a.parquet"], 2, "is no readable Parquet file"),
    ("all missing field", lambda p: (p / "a.jsonl").write_bytes(lines("a", "b")), ["a.jsonl", "--text-field", "body"], 1, "2 missing_field"),
    ("no such token", lambda p: (p / "a.jsonl").write_bytes(lines("a")), ["a.jsonl", "--bos-token", "<nope>", "--eos-token", "<eh>"], 2, "contradict"),
    ("empty separator", lambda p: (p / "a.txt").write_text("a"), ["a.txt", "--separator", ""], 2, "--separator is empty"),
    ("no such engine", lambda p: (p / "a.jsonl").write_bytes(lines("a")), ["a.jsonl", "--engine", "warp"], 2, "no such engine"),
    ("no such tokenizer", lambda p: (p / "a.jsonl").write_bytes(lines("a")), ["a.jsonl", "--tokenizer", "./t.json"], 2, "no such file"),
    ("too small dtype", lambda p: (p / "a.jsonl").write_bytes(lines("a")), ["a.jsonl", *WHOLE_JOB, "--dtype", "uint16"], 2, "129,280 ids, too many for 16 bits"),
    ("bad share", lambda _: None, ["a.jsonl", "--max-rejected", "3"], 2, "max-rejected"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments", "status", "said"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refusals(
    make: Callable[[Path], object], arguments: list[str], status: int, said: str, tokenmill: Run, tmp_path: Path
) -> None:
    make(tmp_path)
    done = tokenmill("run", *arguments[:1], *QUICK, *arguments[1:])
    assert done.returncode == status, done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 15


def test_an_unreadable_folder(tokenmill: Run, tmp_path: Path) -> None:
    """Root reads every folder; a link to a file that is gone nobody can."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.jsonl").symlink_to(tmp_path / "gone.jsonl")
    done = tokenmill("run", "d", *QUICK)
    assert done.returncode == 2
    assert "a.jsonl: there is no such file" in done.stderr


def test_an_output_that_cannot_be_written(tokenmill: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines("a"))
    (tmp_path / "file").write_text("x")
    done = tokenmill("run", "a.jsonl", *QUICK, "--output", "file/out")
    assert done.returncode == 2
    assert "Choose an output folder that the workers may write to" in done.stderr


def test_a_full_disk_is_said_and_the_job_goes_on_when_there_is_room(tokenmill: Run, tmp_path: Path) -> None:
    """A real file system of 24 MB that the tokenizer alone nearly fills."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 5_000_000)
        (tmp_path / "a.jsonl").write_bytes(lines(*("word " * 50_000 for _ in range(10))))
        job = ["run", "a.jsonl", *QUICK, *WHOLE_JOB, "--output", disk / "out"]
        full = tokenmill(*job)
        assert full.returncode == 1, full.stderr
        assert "No space left on device" in full.stderr
        assert "Traceback" not in full.stderr
        ballast.unlink()
        again = tokenmill(*job)
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"text": ""}\n'])
def test_a_corpus_without_documents_is_sealed_as_such(content: bytes, tokenmill: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    done = tokenmill("run", "a.jsonl", *QUICK)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["documents"], manifest["rejected"]) == (0, int(b"text" in content))
    assert tokenmill("verify", "out").returncode == 0
