"""Rows of a job: every token in exactly one, boundaries where documents end, masks as written."""

import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sealed import counting, seal
from tokenmill import TokenDataset
from tokenmill.errors import JobError, UsageError
from tokenmill.reader import FIELDS, IGNORED, boundaries
from tokenmill.reader.rows import Rows
from tokenmill.shards import FORMATS

SHARDS = st.lists(st.lists(st.integers(0, 12), max_size=6), min_size=1, max_size=4)


def opened(lengths: list[list[int]], **options: Any) -> TokenDataset:
    """A job whose ids are their own places in the stream; its files are mapped, so the folder may go."""
    folder = tempfile.mkdtemp()
    seal(folder, counting(*lengths), **options)
    return TokenDataset(folder)


def expected(lengths: list[list[int]], spans: list[tuple[int, int, int]], width: int, masked: bool) -> dict[str, Any]:
    """What rows of these spans hold, token by token."""
    flat = [length for shard in lengths for length in shard]
    document = [number for number, length in enumerate(flat) for _ in range(length)]
    rows: dict[str, list[Any]] = {field: [] for field in FIELDS}
    for start, stop, limit in spans:
        pad = width - (stop - start)
        targets = [t + 1 if t + 1 < limit and not (masked and (t + 1) % 2 == 0) else IGNORED for t in range(start, stop)]
        targets += [IGNORED] * pad
        positions: list[int] = []
        for token in range(start, stop):
            same = token > start and document[token] == document[token - 1]
            positions.append(positions[-1] + 1 if same else 0)
        rows["input_ids"].append([*range(start, stop), *[0] * pad])
        rows["targets"].append(targets)
        rows["document_ids"].append([*document[start:stop], *[-1] * pad])
        rows["position_ids"].append([*positions, *[0] * pad])
        rows["attention_mask"].append([1] * (stop - start) + [0] * pad)
        rows["loss_mask"].append([int(target != IGNORED) for target in targets])
    return rows


def check(rows: Rows, wanted: dict[str, Any]) -> None:
    batch = rows.gather(np.arange(len(rows)))
    assert {field: values.tolist() for field, values in batch.items()} == wanted
    for number in range(len(rows)):
        one = rows[number]
        for field, values in one.items():
            assert values.tolist() == wanted[field][number][: len(values)]


@settings(deadline=None)
@given(lengths=SHARDS, length=st.integers(1, 9), tail=st.sampled_from(["pad", "drop"]), masked=st.booleans())
def test_windows_of_the_stream(lengths: list[list[int]], length: int, tail: str, masked: bool) -> None:
    total = sum(map(sum, lengths))
    windows = opened(lengths, mask=masked).windows(length, tail=tail, fields=FIELDS)
    spans = [(start, min(start + length, total), total) for start in range(0, total, length)]
    if tail == "drop":
        spans = [span for span in spans if span[1] - span[0] == length]
    assert windows.dropped_tokens == total - sum(stop - start for start, stop, _ in spans)
    assert windows.padding == sum(length - (stop - start) for start, stop, _ in spans)
    check(windows, expected(lengths, spans, length, masked))


@settings(deadline=None)
@given(lengths=SHARDS, length=st.integers(1, 9), tail=st.sampled_from(["pad", "drop"]), masked=st.booleans())
def test_windows_that_cross_no_document(lengths: list[list[int]], length: int, tail: str, masked: bool) -> None:
    total, spans, start = sum(map(sum, lengths)), [], 0
    for document in (one for shard in lengths for one in shard):
        end = start + document
        spans += [(place, min(place + length, end), end) for place in range(start, end, length)]
        start = end
    if tail == "drop":
        spans = [span for span in spans if span[1] - span[0] == length]
    windows = opened(lengths, mask=masked).windows(length, cross_documents=False, tail=tail, fields=FIELDS)
    assert windows.dropped_tokens == total - sum(stop - start for start, stop, _ in spans)
    assert windows.padding == sum(length - (stop - start) for start, stop, _ in spans)
    check(windows, expected(lengths, spans, length, masked))


@settings(deadline=None)
@given(lengths=SHARDS, masked=st.booleans())
def test_whole_documents(lengths: list[list[int]], masked: bool) -> None:
    flat, spans, start = [length for shard in lengths for length in shard], [], 0
    for document in flat:
        spans.append((start, start + document, start + document))
        start += document
    rows = opened(lengths, mask=masked).documents(fields=FIELDS)
    check(rows, expected(lengths, spans, max(flat, default=0), masked))
    assert [len(rows[number]["input_ids"]) for number in range(len(rows))] == flat


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_gives_the_same_rows(format: str) -> None:  # noqa: A002
    """Documents as a job has them: none is empty."""
    lengths = [[3, 1, 40, 7], [1, 1, 12]]
    wanted, found = opened(lengths).windows(5, fields=FIELDS), opened(lengths, format=format).windows(5, fields=FIELDS)
    every = np.arange(len(wanted))
    rows = found.gather(every)
    for field, values in wanted.gather(every).items():
        assert np.array_equal(values, rows[field]), field


@settings(deadline=None)
@given(lengths=SHARDS, length=st.integers(1, 9))
def test_a_format_without_flat_ids_gives_the_same_rows(lengths: list[list[int]], length: int) -> None:
    """A reader needs no more than the contract: lengths and documents."""

    class Plain:
        def __init__(self, reader: Any) -> None:
            self.lengths, self._reader = reader.lengths, reader

        def __len__(self) -> int:
            return len(self._reader)

        def __getitem__(self, document: int) -> Any:
            return self._reader[document]

    windows, plain = (opened(lengths).windows(length) for _ in range(2))
    for position in range(len(lengths)):
        shard = plain.dataset.opened(position)
        shard.reader = Plain(shard.reader)
    every = np.arange(len(windows))
    for field, values in windows.gather(every).items():
        assert np.array_equal(values, plain.gather(every)[field])


def test_boundaries_are_those_of_packed_attention() -> None:
    windows = opened([[3, 4], [2]]).windows(5, fields=("position_ids", "attention_mask"))
    batch = windows.gather(np.arange(2))
    assert boundaries(batch["position_ids"], batch["attention_mask"]).tolist() == [0, 3, 5, 7, 9]
    assert boundaries(batch["position_ids"]).tolist() == [0, 3, 5, 7, 9, 10]


def test_a_mask_that_is_no_byte_for_each_token_is_an_error(tmp_path: Any) -> None:
    seal(str(tmp_path), counting([3, 4]), mask=True)
    windows = TokenDataset(str(tmp_path)).windows(4)
    (tmp_path / "shards/000000.mask").write_bytes(b"\1\1\1")
    with pytest.raises(JobError, match="is 3 bytes long, its shard has 7 tokens"):
        windows[0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"length": 0}, "length is 0"),
        ({"length": 4, "tail": "keep"}, "one of pad, drop"),
        ({"length": 4, "fields": ("labels",)}, "labels is none of input_ids"),
        ({"length": 4, "dtype": "int16"}, "cannot hold ids up to 64999"),
    ],
)
def test_a_wrong_request_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        opened([[5]]).windows(**options)
