"""An output that is split by a field: each part is a sealed output that holds just the documents with its value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from producer.prepare import Prepared
from producer.request import Request
from tests.inprocess import run_to_seal
from tokenmill import storage
from tokenmill.errors import JobError, UsageError
from tokenmill.reader import TokenDataset

VALUES = ["en", "de", None, "zh/Hans", "..", "fr=FR %", "", "日本語", 7, "en"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, real_texts: list[str]) -> Path:
    """Documents with values of every kind, an empty one, a broken one, and one without the field."""
    records: list[dict[str, Any]] = [
        {"id": str(number), "text": text[:800], "meta": {"lang": VALUES[number % len(VALUES)]}}
        for number, text in enumerate(real_texts[:97])
    ]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    lines[20:20] = ['{"text": "", "meta": {"lang": "it"}}', '{"text": 3}', '{"text": "none", "id": "x"}']
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def run(corpus: Path, tokenizer_path: Callable[[str], Path]) -> Callable[..., Prepared]:
    """Runs a job in this process."""

    def made(output: str, **options: Any) -> Prepared:
        request = Request(
            sources=(str(corpus),),
            tokenizer=str(tokenizer_path("gpt2")),
            output=output,
            eos_token="<|endoftext|>",
            bos_token=False,
            engine="reference",
            batch_bytes=20_000,
            max_rejected=0.5,
            check_every=0,
            id_field="id",
            metadata=("meta.lang",),
            **options,
        )
        return run_to_seal(request)

    return made


def by_value(corpus: Path) -> dict[str | None, list[str]]:
    """Ids of the documents of each value, in source order."""
    found: dict[str | None, list[str]] = {}
    for line in corpus.read_text().splitlines():
        record = json.loads(line)
        if not isinstance(record["text"], str) or not record["text"]:
            continue
        value = record.get("meta", {}).get("lang")
        found.setdefault(str(value) if value not in (None, "") else None, []).append(record["id"])
    return found


@pytest.mark.parametrize("where", ["a path", "S3"])
def test_each_part_holds_the_documents_of_its_value(
    where: str, run: Callable[..., Prepared], corpus: Path, tmp_path: Path, prefix: str
) -> None:
    base = str(tmp_path) if where == "a path" else prefix
    whole = TokenDataset(run(f"{base}/whole").ledger.output)
    documents = dict(zip(_ids(whole), [ids.tolist() for ids in whole], strict=True))
    split = run(f"{base}/split", partition_by="meta.lang").ledger
    totals = split.totals()
    assert totals is not None
    expected = by_value(corpus)
    assert {part.value for part in totals.parts} == expected.keys()
    for part in totals.parts:
        dataset = TokenDataset(split.url(part.path), hashes=True, tokenizer=totals.tokenizer.sha256)
        assert _ids(dataset) == expected[part.value]
        assert [ids.tolist() for ids in dataset] == [documents[name] for name in expected[part.value]]
        assert (dataset.manifest.partition, len(dataset), dataset.manifest.tokens) == (part.value, part.documents, part.tokens)
        assert dataset.tokenizer().decode(dataset[0].tolist())
    assert (totals.documents, totals.tokens) == (whole.manifest.documents, whole.manifest.tokens)
    assert totals.rejected_by_reason == whole.manifest.rejected_by_reason
    assert totals.document_lengths == whole.manifest.document_lengths
    with pytest.raises(UsageError, match=r"split by meta\.lang\. Open a part, such as"):
        TokenDataset(split.output)


def _ids(dataset: TokenDataset) -> list[str]:
    """The ids of the documents, as metadata/ has them."""
    found = []
    for shard in dataset.manifest.shards:
        with storage.open_input(storage.join(dataset.output, f"metadata/{shard.index:06d}.parquet")) as file:
            found += pq.read_table(file).column("id").to_pylist()
    return found


def test_lengths_and_order_are_each_parts_own(run: Callable[..., Prepared], tmp_path: Path) -> None:
    """Too long documents of all parts are counted and named once; a part's order is a function of the seed."""
    options: dict[str, Any] = {"max_tokens": 120, "over_length": "drop", "partition_by": "meta.lang"}
    dropped = run(str(tmp_path / "drop"), **options).ledger
    totals = dropped.totals()
    assert totals is not None
    assert totals.rejected_by_reason["too_many_tokens"] > 0
    named = [
        json.loads(line) for file in sorted((tmp_path / "drop/rejected").iterdir()) for line in file.read_text().splitlines()
    ]
    assert [r["position"] for r in named] == sorted(r["position"] for r in named)
    assert len(named) == totals.rejected


def test_the_same_job_makes_the_same_bytes(run: Callable[..., Prepared], tmp_path: Path) -> None:
    """Also where a batch is done again over what another attempt left behind."""
    first, second = (run(str(tmp_path / name), partition_by="meta.lang").ledger for name in ("first", "second"))
    assert _bytes(tmp_path / "first") == _bytes(tmp_path / "second")
    (tmp_path / "second/manifest.json").unlink()
    second.revoke(1)
    again = run(str(tmp_path / "second"), partition_by="meta.lang")
    assert _bytes(tmp_path / "first") == _bytes(tmp_path / "second")
    # a part that lost an entry does not add up any more
    (tmp_path / "second/manifest.json").unlink()
    next((tmp_path / "second/partitions/meta.lang=en/entries").iterdir()).unlink()
    with pytest.raises(JobError, match="do not add up"):
        again.ledger.seal(again.job)
    assert first.is_sealed()


def test_parts_with_other_bytes_are_taken_back_at_once(run: Callable[..., Prepared], tmp_path: Path) -> None:
    """Such as of an engine that was found wrong: one attempt takes all of them back, the next commits."""
    ledger = run(str(tmp_path / "out"), partition_by="meta.lang").ledger
    before = _bytes(tmp_path / "out")
    wrong = sorted((tmp_path / "out/partitions").glob("*/entries/000001.json"))
    assert len(wrong) > 2
    for entry in wrong:
        found = json.loads(entry.read_text())
        found["files"][0]["sha256"] = "0" * 64
        entry.write_text(json.dumps(found))
    (tmp_path / "out/manifest.json").unlink()
    ledger.revoke(1)
    with pytest.raises(JobError, match="cannot be sealed"):
        run(ledger.output, partition_by="meta.lang")
    assert not any(entry.exists() for entry in wrong)
    run(ledger.output, partition_by="meta.lang")
    assert _bytes(tmp_path / "out") == before


def _bytes(output: Path) -> dict[str, bytes]:
    kept = (path for path in sorted(output.rglob("*")) if path.is_file() and "entries" not in path.parts)
    return {str(path.relative_to(output)): path.read_bytes() for path in kept if path.name not in ("job.json", "report.html")}


@pytest.mark.parametrize(
    ("field", "said"), [("text", "too long for a folder's name"), ("id", "more than 4 values in one batch")]
)
def test_a_field_that_is_none_to_split_by(
    field: str, said: str, run: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenmill.partitions.MOST", 4)
    with pytest.raises(JobError, match=said):
        run(str(tmp_path / "out"), partition_by=field)
