"""The shuffle: the same for ever by its seed, all documents once, a plan that covers all, and no batch in memory."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.plan import Plannable, plan
from tests.unit.test_plan import FILES, spec
from tokenmill.job import Cut
from tokenmill.shards import FORMATS
from tokenmill.shuffle import ShuffledWriter, order

MASK = (1 << 64) - 1


def keys(seed: int, stream: int, count: int) -> Iterator[int]:
    """The keys of `order`, in Python's own integers."""

    def mixed(n: int) -> int:
        n = (n + 0x9E3779B97F4A7C15) & MASK
        n = ((n ^ (n >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        n = ((n ^ (n >> 27)) * 0x94D049BB133111EB) & MASK
        return n ^ (n >> 31)

    start = mixed(seed ^ mixed(stream))
    return (mixed((start + i) & MASK) for i in range(count))


@given(seed=st.integers(0, MASK), stream=st.integers(0, MASK), count=st.integers(0, 300))
def test_the_order_is_plain_arithmetic(seed: int, stream: int, count: int) -> None:
    expected = sorted(range(count), key=list(keys(seed, stream, count)).__getitem__)
    assert order(seed, stream, count).tolist() == expected


def test_the_order_never_changes() -> None:
    """Jobs that were begun by one version are ended by another: these numbers may never be others."""
    assert order(7, 3, 10).tolist() == [5, 6, 4, 1, 2, 3, 7, 9, 0, 8]


def test_every_place_is_as_likely_for_every_document() -> None:
    """chi² over 2,000 seeds of 10 documents: 81 degrees of freedom, 126 is passed once in a thousand times."""
    seen = np.zeros((10, 10))
    for seed in range(2000):
        seen[np.arange(10), order(seed, 0, 10)] += 1
    assert ((seen - 200) ** 2 / 200).sum() < 126


@settings(deadline=None)  # thousands of pieces take a busy machine longer than a fifth of a second
@given(files=FILES, batch_bytes=st.integers(20, 2000), seed=st.integers(0, MASK))
def test_a_shuffled_plan_covers_every_byte_once(files: list[Plannable], batch_bytes: int, seed: int) -> None:
    asked = spec(batch_bytes).model_copy(update={"shuffle": seed})
    batches = list(plan(files, asked))
    assert batches == list(plan(files, asked))
    spans = [span for batch in batches for span in batch.spans]
    for file in files:
        own = sorted((span for span in spans if span.url == file.url), key=lambda span: span.start)
        assert sum(span.bytes for span in own) == file.size
        if own[0].cut is not Cut.WHOLE:
            assert own[0].start == 0
            assert own[-1].stop == (len(file.pieces) if file.pieces else file.size)
            assert all(left.stop == right.start for left, right in pairwise(own))
    for batch in batches:
        assert list(batch.spans) == sorted(batch.spans, key=lambda span: (span.url, span.start))


def test_a_batch_is_dealt_pieces_from_everywhere() -> None:
    """One file of 1 GiB in batches of 64 MiB: every batch has pieces of most of its sixteenths."""
    size = 1 << 30
    file = Plannable("/c/a.jsonl", size, "m")
    batches = list(plan([file], spec(1 << 26).model_copy(update={"shuffle": 5})))
    assert len(batches) in (13, 14, 15, 16)
    reach = [len({span.start * 16 // size for span in batch.spans}) for batch in batches]
    assert np.mean(reach) > 8
    assert [b.spans for b in plan([file], spec(1 << 26).model_copy(update={"shuffle": 6}))] != [b.spans for b in batches]


@settings(deadline=None)  # it waits for the disk
@given(documents=st.lists(st.lists(st.integers(0, 999), max_size=6), max_size=30), seed=st.integers(0, MASK))
def test_the_writer_puts_every_document_where_the_order_says(
    documents: list[list[int]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    output = str(tmp_path_factory.mktemp("out"))
    with ShuffledWriter(FORMATS["megatron"].writer(output, 4, "int32"), output, seed, 4) as writer:
        for part in (documents[:7], documents[7:]):
            ids = np.array([token for document in part for token in document], np.uint32)
            writer.append(ids, np.array([len(document) for document in part], np.int64))
        files = writer.publish()
    assert [file.path for file in files] == ["shards/000004.bin", "shards/000004.idx"]
    reader = FORMATS["megatron"].reader(output, 4)
    assert [reader[i].tolist() for i in range(len(reader))] == [documents[i] for i in order(seed, 4, len(documents))]
    assert [path.name for path in Path(output).iterdir()] == ["shards"]


def test_a_batch_of_any_size_takes_the_memory_of_a_column(tmp_path: Path) -> None:
    """640 MB of ids are shuffled by a process that may grow by 100 MB from where it begins."""
    program = f"""
import resource, numpy as np
from tokenmill.shards import FORMATS
from tokenmill.shuffle import ShuffledWriter
ids, lengths = np.arange(1_000_000, dtype=np.uint32), np.full(1000, 1000)
began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ShuffledWriter(FORMATS["megatron"].writer({str(tmp_path)!r}, 0, "int32"), {str(tmp_path)!r}, 1, 0) as writer:
    for _ in range(160):
        writer.append(ids, lengths)
    writer.publish()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100
