"""`metadata/` has a row for each document of a shard, at the index that it has there: shuffled, split, or both."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpora import spec
from tokenmill.documents import Documents, MetadataFile, metadata
from tokenmill.shuffle import keys, order
from tokenmill.spec import OverLength


def documents(texts: list[str], first: int) -> Documents:
    return Documents(
        file="a.jsonl", text=pa.array(texts, pa.large_string()), positions=np.arange(first, first + len(texts)), unit="byte",
        ids=None, rejected=[], consumed=0, metadata=pa.RecordBatch.from_pydict({"name": [f"name of {text}" for text in texts]}),
    )  # fmt: skip


@settings(deadline=None)  # it waits for the disk
@given(
    batches=st.lists(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=9), max_size=9),
    seed=st.none() | st.integers(0, 99),
    column=st.sampled_from([1, 300, 4 << 20]),
)
def test_a_row_stands_where_its_document_stands(
    batches: list[list[tuple[bool, int]]], seed: int | None, column: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of each document it is drawn whether it is kept, and into how many pieces it is cut."""
    output, expected, number = tmp_path_factory.mktemp("out"), [], 0
    job = spec(metadata=("name",), over_length=OverLength.SPLIT, max_tokens=9, shuffle=seed)
    by = None if seed is None else lambda start, count: keys(seed, 3, start, count)
    with pytest.MonkeyPatch.context() as patch, MetadataFile(str(output), 3, job, by) as file:
        patch.setattr(metadata, "COLUMN_BYTES", column)
        for drawn in batches:
            texts = [str(number + i) for i in range(len(drawn))]
            kept = [i for i, (keep, _) in enumerate(drawn) if keep]
            pieces = [drawn[i][1] for i in kept]
            file.append(documents(texts, number), np.array(kept, np.int64), np.array(pieces, np.int64))
            expected += [
                (f"name of {texts[i]}", number + i, p) for i, count in zip(kept, pieces, strict=True) for p in range(count)
            ]
            number += len(drawn)
        file.publish()
    found = pq.read_table(output / "metadata/000003.parquet")
    assert found["document"].to_pylist() == list(range(len(expected)))
    places = range(len(expected)) if seed is None else order(seed, 3, len(expected))
    rows = zip(found["name"].to_pylist(), found["position"].to_pylist(), found["piece"].to_pylist(), strict=True)
    assert list(rows) == [expected[place] for place in places]
    assert [path.name for path in output.iterdir()] == ["metadata"]


MANY = """
import resource, sys
import numpy as np, pyarrow as pa
from functools import partial
from tests.unit.test_metadata import documents
from tests.corpora import spec
from tokenmill.documents import MetadataFile
from tokenmill.shuffle import keys
found = documents([f"{i:01000}" for i in range(4000)], 0)
ones = np.ones(4000, np.int64)
with MetadataFile(sys.argv[1], 0, spec(metadata=("name",), shuffle=1), partial(keys, 1, 0)) as file:
    file.append(found, np.arange(4000), ones)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(80):
        file.append(found, np.arange(4000), ones)
    file.publish()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_metadata_of_any_size_takes_the_memory_of_a_column(tmp_path: Path) -> None:
    """320 MB of it, shuffled, in a process that may grow by 60 MB."""
    done = subprocess.run([sys.executable, "-c", MANY, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60
