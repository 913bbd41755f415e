"""The plan comes back as it was written, and takes the memory of a row group."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenmill import plan
from tokenmill.job import Batch, Cut, Span
from tokenmill.plan import PlanFile

SPAN = Span(url="/c/a.jsonl", cut=Cut.BYTES, start=0, stop=5, bytes=5, size=9, mark="1700000000")


def test_the_plan_comes_back_as_written_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "GROUP", 3)
    batches = [Batch(index=i, spans=(SPAN,) * (i % 3 + 1)) for i in range(10)]
    (tmp_path / "plan.parquet").write_bytes(plan.written(iter(batches)))
    file = PlanFile(str(tmp_path / "plan.parquet"))
    assert list(file) == batches
    assert [file[i] for i in (9, 0, 4)] == [batches[9], batches[0], batches[4]]
    assert plan.written(iter(batches)) == (tmp_path / "plan.parquet").read_bytes()


def test_a_plan_takes_the_memory_of_one_row_group(tmp_path: Path) -> None:
    def some(count: int) -> Iterator[Batch]:
        return (Batch(index=i, spans=(SPAN,)) for i in range(count))

    peaks = []
    for batches in (plan.GROUP, 10 * plan.GROUP):
        tracemalloc.start()
        (tmp_path / "plan.parquet").write_bytes(plan.written(some(batches)))
        assert sum(1 for _ in PlanFile(str(tmp_path / "plan.parquet"))) == batches
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
