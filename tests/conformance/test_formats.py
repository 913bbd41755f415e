"""Every shard format is read by its own peer's reader, id for id, and where the peer has a writer our bytes are its bytes."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tokenmill.shards import READERS, WRITERS

ROOT = Path(__file__).parents[2]
#: An environment with megatron-core and torch; `.ci/run` makes it.
MEGATRON = ROOT / ".venv-megatron" / "bin" / "python"

#: What has broken writers: no tokens, one token, more than 65,535 tokens, the largest ids.
GOLDEN = {
    "uint16": [[], [7], [65_499, 0], list(range(1, 65_000)) * 2, [], [42]],
    "int32": [[1, 2**31 - 1], [], [65_535, 65_536, 151_668], list(range(70_000)), [0]],
}

PEER = """
import json, sys
import numpy, torch
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
prefix, golden, dtype, own = sys.argv[1:]
documents = json.load(open(golden))
dataset = IndexedDataset(prefix)
assert len(dataset) == len(documents)
for i, ids in enumerate(documents):
    assert numpy.array_equal(dataset[i], ids), i
    assert dataset.get(i, offset=0).dtype == numpy.dtype(dtype)
builder = IndexedDatasetBuilder(own + ".bin", dtype=numpy.dtype(dtype).type)
for ids in documents:
    builder.add_document(torch.tensor(ids, dtype=torch.int64), [len(ids)])
builder.finalize(own + ".idx")
"""


@pytest.mark.parametrize("dtype", list(GOLDEN))
@pytest.mark.parametrize("name", list(WRITERS))
def test_written_is_read(name: str, dtype: str, tmp_path: Path) -> None:
    write(name, dtype, tmp_path)
    reader = READERS[name](str(tmp_path), 3)
    assert [reader[i].tolist() for i in range(len(reader))] == GOLDEN[dtype]
    assert reader.lengths.tolist() == [len(document) for document in GOLDEN[dtype]]


@pytest.mark.parametrize("dtype", list(GOLDEN))
def test_megatrons_own_reader_and_writer(dtype: str, tmp_path: Path) -> None:
    if not MEGATRON.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{MEGATRON} is missing; .ci/run makes it")
        pytest.skip(f"no megatron-core here: make {MEGATRON.parent.parent} as .ci/run does")
    write("megatron", dtype, tmp_path)
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN[dtype]))
    arguments = [tmp_path / "shards/000003", tmp_path / "golden.json", dtype, tmp_path / "peer"]
    done = subprocess.run([MEGATRON, "-c", PEER, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"shards/000003{suffix}").read_bytes() == (tmp_path / f"peer{suffix}").read_bytes()


def write(name: str, dtype: str, output: Path) -> None:
    with WRITERS[name](str(output), 3, dtype) as writer:
        for document in GOLDEN[dtype]:
            writer.append(np.array(document, np.uint32), np.array([len(document)], np.int64))
        writer.publish()
