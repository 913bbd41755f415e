"""Ranges that tile a file yield every record exactly once, wherever they are cut."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmill.documents import compression
from tokenmill.documents.records import BYTE_ORDER_MARK, overlaps_itself, stretches
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span

CONTENT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n", b"<>", b"<", b">", b"\xc3\xa9", b"long" * 9])).map(b"".join)


def read(path: Path, start: int, stop: int, separator: bytes, limit: int = 1 << 20) -> list[tuple[int, bytes, bool]]:
    span = Span(url=str(path), cut=Cut.BYTES, start=start, stop=stop, bytes=stop - start, size=0, mark="")
    found = (r for stretch in stretches(span, separator, limit) for r in stretch.records(separator, limit))
    return [(r.position, r.data, r.too_long) for r in found]


@pytest.fixture(params=[1, 3, 7, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks so small that records and separators straddle them."""
    monkeypatch.setattr(compression, "BLOCK", request.param)
    return request.param


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data(), mark=st.booleans(), separator=st.sampled_from([b"\n", b"<>"]))
def test_tiling_ranges_yield_each_record_once(
    data: st.DataObject, mark: bool, separator: bytes, block: int, tmp_path: Path
) -> None:
    content = data.draw(CONTENT)
    stored = BYTE_ORDER_MARK + content if mark else content
    path = tmp_path / "a.jsonl"
    path.write_bytes(stored)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stored)), max_size=4)))
    edges = [0, *cuts, len(stored)]
    found = [record for start, stop in pairwise(edges) for record in read(path, start, stop, separator)]
    expected = content.split(separator)
    if expected[-1] == b"":
        expected.pop()
    assert [record for _, record, _ in found] == expected
    positions = [position for position, _, _ in found]
    assert positions == sorted(set(positions))


def test_a_record_over_the_limit_is_passed_over_and_its_neighbours_kept(block: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n" + b"x" * 5000 + b"\nthree\n" + b"y" * 5000)
    found = read(path, 0, path.stat().st_size, b"\n", limit=100)
    assert [(position, too_long) for position, _, too_long in found] == [(0, False), (4, True), (5005, False), (5011, True)]
    assert all(len(data) <= 800 for _, data, _ in found)


def test_a_file_that_shrank_since_the_plan_is_an_error_and_no_smaller_corpus(block: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\ntwo\nthree\n")
    with pytest.raises(BatchError, match="14 bytes long, planned were 20: it has changed"):
        read(path, 4, 20, b"\n")


def test_which_separators_overlap_themselves() -> None:
    assert not overlaps_itself(b"\n")
    assert overlaps_itself(b"\n\n")
    assert overlaps_itself(b"aba")
    assert not overlaps_itself(b"<|doc|>")
