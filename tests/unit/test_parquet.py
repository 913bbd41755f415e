"""Parquet is read in the reader's own thread: a command that ends while another one holds its file is aborted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.corpora import TEXTS, write
from tokenmill import plan, storage
from tokenmill.job import Batch
from tokenmill.packing.pieces import PiecesFile
from tokenmill.shards.parquet import ParquetWriter

#: Says how many threads came of a reading.
COUNT = """
import os, sys
from tests.corpora import read, spec
from tokenmill import documents
from tokenmill.packing.pieces import Pieces
from tokenmill.plan import PlanFile
from tokenmill.shards.parquet import ParquetReader
from pathlib import Path
folder, reading = sys.argv[1:]
before = len(os.listdir("/proc/self/task"))
match reading:
    case "plan":
        assert len(list(PlanFile(f"{folder}/plan.parquet"))) == 1
    case "shard":
        assert ParquetReader(folder, 0)[0].tolist() == [1, 2]
    case "pieces":
        assert Pieces.read(folder, 0).length.tolist() == [2]
    case "source":
        assert len(read(Path(folder, "corpus.parquet"), spec())[0]) > 1
    case ".arrow" | ".feather" | "-stream.arrow":
        assert len(read(Path(folder, f"corpus{reading}"), spec())[0]) > 1
    case "footer":
        documents.pieces(f"{folder}/corpus.parquet", spec())
    case "footer of Arrow":
        documents.pieces(f"{folder}/corpus.arrow", spec())
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each file."""
    made = tmp_path_factory.mktemp("parquet")
    storage.put(f"{made}/plan.parquet", plan.written([Batch(index=0, spans=())]))
    with ParquetWriter(str(made), 0, "uint16") as shard:
        shard.append(np.array([1, 2], np.uint32), np.array([2], np.int64))
        shard.publish()
    with PiecesFile(str(made), 0) as pieces:
        pieces.append(*(np.array([number], np.int64) for number in (0, 2, 0, 0)))
        pieces.publish()
    write(made / "corpus.parquet", TEXTS)
    for kind in (".arrow", ".feather", "-stream.arrow"):
        write(made / f"corpus{kind}", TEXTS)
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(
    "reading", ["plan", "shard", "pieces", "source", ".arrow", ".feather", "-stream.arrow", "footer", "footer of Arrow"]
)
def test_no_thread_comes_of_a_reading(reading: str, folder: Path) -> None:
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", COUNT, folder, reading], cwd=root, capture_output=True, text=True, check=True)
    assert said.stdout == "0\n"
