"""A job.json, entry, manifest or tokenizer from a stranger names no file outside its own folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producer.prepare import prepare
from producer.request import Request
from tests.unit.test_ledger import entry, job
from tokenmill import tokenizers
from tokenmill.errors import JobError, UsageError
from tokenmill.job import Job
from tokenmill.ledger import Ledger
from tokenmill.reader import TokenDataset
from tokenmill.record import FileDigest

OUTSIDE = [
    "/etc/passwd",
    "../secret",
    "shards/../../secret",
    "tokenizer/..",
    "..\\secret",
    "shards\\..\\secret",
    "shards/a\0b",
    "",
    ".",
]


def changed(record: dict[str, Any], place: str, value: str) -> bytes:
    """A record with one value changed; the place is written with dots."""
    *parents, last = place.split(".")
    inner: Any = record
    for parent in parents:
        inner = inner[int(parent)] if parent.isdecimal() else inner[parent]
    inner[last] = value
    return json.dumps(record).encode()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A sealed job of one batch with one tokenizer file."""
    ledger = Ledger(str(tmp_path / "out"))
    digest = FileDigest(path="tokenizer/tokenizer.json", bytes=1, sha256="0" * 64)
    standing = job(1)
    tokenizer = standing.tokenizer.model_copy(update={"files": (digest,)})
    assert ledger.claim_for(standing.model_copy(update={"tokenizer": tokenizer}))
    ledger.commit(entry(0))
    ledger.seal(standing)
    return ledger


PLACES: list[tuple[str, str, Callable[[Ledger], object]]] = [
    ("job.json", "plan.path", Ledger.job),
    ("job.json", "tokenizer.files.0.path", Ledger.job),
    ("job.json", "tokenizer.sha256", Ledger.job),
    ("job.json", "engine.name", Ledger.job),
    ("job.json", "job_id", Ledger.job),
    ("entries/000000.json", "files.0.path", lambda ledger: ledger.entry(0)),
    ("manifest.json", "shards.0.files.0.path", Ledger.manifest),
    ("manifest.json", "shards.0.files.0.path", lambda ledger: TokenDataset(ledger.output)),
    ("manifest.json", "tokenizer.sha256", Ledger.manifest),
]


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize(("file", "place", "read"), PLACES, ids=[f"{file}:{place}" for file, place, _ in PLACES])
def test_a_record_cannot_name_what_lies_outside(
    ledger: Ledger, tmp_path: Path, file: str, place: str, read: Callable[[Ledger], object], outside: str
) -> None:
    read_before = (tmp_path / "out" / file).read_bytes()
    (tmp_path / "out" / file).write_bytes(changed(json.loads(read_before), place, outside))
    with pytest.raises(JobError, match=f"{file} is not a .* that this tokenmill can read: {place.split('.')[0]}") as refusal:
        read(ledger)
    assert "passwd" not in str(refusal.value)


def test_a_taken_up_job_reads_and_writes_nothing_outside(ledger: Ledger) -> None:
    """`furnish` puts what a job.json names below the output; a name that the tokenizer does not have is no KeyError."""
    standing = ledger.job()
    digest = FileDigest(path="entries/000001.json", bytes=1, sha256="0" * 64)
    forged = standing.model_copy(update={"tokenizer": standing.tokenizer.model_copy(update={"files": (digest,)})})
    with pytest.raises(JobError, match=r"job\.json was changed: no tokenizer or test set has a file entries/000001\.json"):
        ledger.furnish(forged, {"tokenizer.json": b"{}"}, lambda: b"")
    assert not Path(ledger.url("entries/000001.json")).exists()


def test_a_tokenizer_folder_of_links_gives_content_and_keeps_its_names(
    tokenizer_path: Callable[[str], Path], tmp_path: Path
) -> None:
    """A link that leads out is read; the output gets a file of the plain name, not a link."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/tokenizer.json").symlink_to(tokenizer_path("deepseek"))
    (tmp_path / "a.jsonl").write_text('{"text": "hello"}\n')
    request = Request(sources=(str(tmp_path / "a.jsonl"),), tokenizer=str(tmp_path / "t"), output=str(tmp_path / "out"),
                      eos_token=False, bos_token=False, engine="reference")  # fmt: skip
    made = prepare(request).job
    assert [file.path for file in made.tokenizer.files] == ["tokenizer/tokenizer.json"]
    kept = tmp_path / "out/tokenizer/tokenizer.json"
    assert not kept.is_symlink()
    assert kept.read_bytes() == tokenizer_path("deepseek").read_bytes()


@pytest.mark.parametrize("name", ["..\\x.model", "a\nb.model"])
def test_a_vocabulary_of_a_strange_name_is_refused(tokenizer_path: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    files = tokenizers.TokenizerFiles(
        name=str(tmp_path), revision=None, files={name: b"x", "tokenizer.json": tokenizer_path("deepseek").read_bytes()}
    )
    with pytest.raises(UsageError, match=r"needs a plain name\. Rename it"):
        _ = files.ref


def test_an_honest_record_is_read(ledger: Ledger) -> None:
    """The refusals above are refusals of what was changed."""
    assert Job.from_json(ledger.job().to_json(), "job.json") == ledger.job()
    assert ledger.entry(0) == entry(0)
