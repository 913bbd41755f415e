"""The manifest is written as a stream, and nobody can tell: same bytes, bounded memory, totals that can be read alone."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_ledger import entry, job
from tokenmill.errors import JobError
from tokenmill.ledger import Ledger
from tokenmill.manifest import Manifest, Shard, Totals, stream, totals_of
from tokenmill.record import FileDigest

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["\n", ',\n  "shards": [', "}\n", "é\u2028"])
NUMBER = st.integers(0, 2**62)
PATH = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\"), max_size=8).map(
    "shards/x{}".format
)
FILES = st.lists(st.builds(FileDigest, path=PATH, bytes=NUMBER, sha256=TEXT), max_size=2).map(tuple)
SHARDS = st.lists(st.builds(Shard, index=NUMBER, files=FILES, tokens=NUMBER, documents=NUMBER, rejected=NUMBER), max_size=4)


@given(shards=SHARDS, eos=st.none() | TEXT, reason=TEXT)
def test_the_stream_is_the_record_byte_for_byte(shards: list[Shard], eos: str | None, reason: str) -> None:
    totals = totals_of(job(len(shards)), entry(0).counts)
    totals = totals.model_copy(update={"eos_token": eos, "rejected_by_reason": {reason: 1}})
    manifest = Manifest(**dict(totals), shards=tuple(shards))
    assert b"".join(stream(totals, shards)) == manifest.to_json()


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_sealed_job_reads_back_whole_and_in_part(tmp_path: Path, batches: int) -> None:
    ledger = Ledger(str(tmp_path))
    for index in range(batches):
        ledger.commit(entry(index))
    totals, manifest = ledger.seal(job(batches)), ledger.manifest()
    assert manifest == Manifest(**dict(totals), shards=tuple(Shard.of(entry(index), job(batches)) for index in range(batches)))
    assert (tmp_path / "manifest.json").read_bytes() == manifest.to_json()
    assert ledger.totals() == totals


@pytest.mark.parametrize("length", [0, 10, 400])
def test_the_totals_of_a_damaged_manifest_are_refused(tmp_path: Path, length: int) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.seal(job(0))
    (tmp_path / "manifest.json").write_bytes((tmp_path / "manifest.json").read_bytes()[:length])
    with pytest.raises(JobError, match=r"manifest\.json is not a Totals that this tokenmill can read"):
        ledger.totals()


def test_sealing_takes_the_same_memory_however_many_shards_there_are(tmp_path: Path) -> None:
    """A list of entries took 6 KB for each, gigabytes for a million; what still grows is the list of their numbers."""
    peaks = []
    for batches in (1000, 1000, 4000):  # the first fills what does not grow: pydantic keeps strings, pathlib names
        ledger = Ledger(str(tmp_path / str(len(peaks))))
        for index in range(batches):  # not committed one by one, since each commit waits for the disk
            path = Path(ledger.url(f"entries/{index:06d}.json"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry(index % 1000).model_copy(update={"index": index}).to_json())
        tracemalloc.start()
        ledger.seal(job(batches))
        assert isinstance(ledger.totals(), Totals)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[2] - peaks[1]) / 3000 < 100
