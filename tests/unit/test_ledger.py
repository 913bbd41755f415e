"""The ledger says what is done, and seals only what is complete."""

from pathlib import Path

import pytest

from tokenmill.errors import JobError, UsageError
from tokenmill.job import Counts, EngineChoice, Job, ParkedBatch, Run, ShardEntry, TokenizerRef
from tokenmill.ledger import Ledger
from tokenmill.manifest import Manifest
from tokenmill.record import FileDigest
from tokenmill.spec import JobSpec


def job(batches: int, job_id: str = "0123456789abcdef") -> Job:
    spec = JobSpec(
        sources=("/c",), tokenizer="t", eos_token=None, bos_token=None, dtype="int32", batch_bytes=10, max_document_bytes=10
    )
    return Job(
        job_id=job_id,
        name="test",
        spec=spec,
        tokenizer=TokenizerRef(name="t", revision=None, sha256="0" * 64, vocab_size=10, files=()),
        bos_id=None,
        eos_id=None,
        source_fingerprint="f",
        source_files=1,
        source_bytes=100,
        batches=batches,
        plan=FileDigest(path="plan.parquet", bytes=1, sha256="0" * 64),
        max_rejected=0.01,
        engine=EngineChoice(name="reference", version="1", reason="asked for"),
        versions={},
    )


def entry(index: int, job_id: str = "0123456789abcdef") -> ShardEntry:
    counts = Counts(documents=2, tokens=10 + index, rejected={"empty": 1}, input_bytes=7, text_bytes=5, lengths=(0, 0, 1))
    digest = FileDigest(path=f"shards/{index:06d}.bin", bytes=1, sha256="0" * 64)
    run = Run(engine="reference 1", worker=f"w{index}", attempt=1, started=1.5 * index, seconds=1, stages={})
    return ShardEntry(job_id=job_id, index=index, counts=counts, files=(digest,), run=run)


def test_a_seal_sums_up_the_entries_and_holds_nothing_of_the_run(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    for index in range(3):
        ledger.commit(entry(index))
    assert not ledger.is_sealed()
    totals = ledger.seal(job(3))
    assert (totals.documents, totals.tokens, totals.rejected) == (6, 33, 3)
    assert ledger.is_sealed()
    assert ledger.totals() == totals
    text = (tmp_path / "manifest.json").read_text()
    assert "worker" not in text
    assert "seconds" not in text
    assert "reference" not in text


def test_how_it_ran_changes_no_byte_of_the_manifest(tmp_path: Path) -> None:
    """Law 2: other workers, engines, attempts and times, the same seal."""
    manifests = []
    for name, engine, attempt in (("one", "reference 1", 1), ("two", "fastokens 2", 3)):
        ledger = Ledger(str(tmp_path / name))
        for index in range(3):
            run = Run(engine=engine, worker=name, attempt=attempt, started=attempt, seconds=attempt, stages={"read": attempt})
            ledger.commit(entry(index).model_copy(update={"run": run}))
        ledger.seal(job(3))
        manifests.append((tmp_path / name / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("indexes", [[0, 2], [0, 1], []])
def test_an_incomplete_job_is_not_sealed(tmp_path: Path, indexes: list[int]) -> None:
    ledger = Ledger(str(tmp_path))
    for index in indexes:
        ledger.commit(entry(index))
    with pytest.raises(JobError, match="cannot be sealed"):
        ledger.seal(job(3))
    assert ledger.manifest() is None


def test_an_entry_of_another_job_is_not_sealed(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.commit(entry(0))
    ledger.commit(entry(1, job_id="another"))
    with pytest.raises(JobError, match="1 of them of another job"):
        ledger.seal(job(2))


def test_parked_batches_are_kept_until_asked_for_again(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.park(ParkedBatch(job_id="j", index=4, stops_job=False, reason="why", attempts=1, worker="w"))
    assert [parked.index for parked in ledger.parked()] == [4]
    ledger.take_up()
    assert ledger.parked() == []


def test_records_of_another_version_or_shape_are_refused() -> None:
    manifest_like = job(1).to_json()
    with pytest.raises(JobError, match="is not a Manifest that this tokenmill can read"):
        Manifest.from_json(manifest_like, "x/manifest.json")
    with pytest.raises(JobError, match="version"):
        Job.from_json(manifest_like.replace(b'"version": 1', b'"version": 2', 1), "x/job.json")


def test_a_folder_without_a_job_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no job\.json"):
        Ledger(str(tmp_path)).job()


def test_counts_add_up() -> None:
    total = Counts(documents=1, rejected={"empty": 2}, lengths=(1,)) + Counts(
        documents=2, rejected={"null_text": 1}, lengths=(0, 3)
    )
    assert total == Counts(documents=3, rejected={"empty": 2, "null_text": 1}, lengths=(1, 3))
    assert (total.rejected_total, total.damaged) == (3, 1)
