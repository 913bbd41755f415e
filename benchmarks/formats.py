"""What the shard formats cost beside each other: writing a shard and reading it again, in one process, on real ids.

    python benchmarks/formats.py run --tokens OUTPUT [--megatokens M] [--rounds K]

Comes in: a sealed output. Goes out: `results/formats.json`, every round of each format, under the output's name. Always holds:
each measurement is a fresh process that holds the same documents before its clock starts; formats take turns; writing ends
with the file synced and hashed under its final name.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import FOLDER, keep, setting

from tokenmill.reader import TokenDataset
from tokenmill.shards import FORMATS

#: Tokens of a column, as the pipeline has them.
COLUMN = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one format did in one process."""

    tokens: int
    documents: int
    dtype: str
    #: Bytes of the shard's files.
    bytes: int
    #: CPU seconds of writing, of opening with all lengths, of reading every id once in order.
    write: float
    open: float
    read: float
    #: Bytes of memory added at most by writing.
    added: int


def columns(output: str, tokens: int) -> list[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
    """The documents of an output, over and over, until there are so many tokens."""
    made, found, dataset = 0, [], TokenDataset(output)
    while made < tokens:
        some: list[NDArray[Any]] = []
        for ids in dataset:
            some.append(ids)
            if sum(map(len, some)) >= COLUMN or len(some) == 4096:
                found.append((np.concatenate(some).astype(np.uint32), np.array([*map(len, some)], np.int64)))
                made, some = made + len(found[-1][0]), []
            if made >= tokens:
                break
    return found


def one(name: str, output: str, tokens: int) -> Cost:
    """Write a shard and read it again, in this process."""
    documents, vocabulary = columns(output, tokens), TokenDataset(output).manifest.tokenizer.vocab_size
    dtype = FORMATS[name].dtype_for(vocabulary)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _memory("VmRSS")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        began = time.process_time()
        with FORMATS[name].writer(folder, 0, dtype) as writer:
            for ids, lengths in documents:
                writer.append(ids, lengths)
            files = writer.publish()
        written = time.process_time()
        added = _memory("VmHWM") - before
        reader = FORMATS[name].reader(folder, 0)
        count = len(reader.lengths)
        opened = time.process_time()
        total = sum(int(reader.span(start, min(start + 512, count)).sum(dtype=np.int64)) for start in range(0, count, 512))
        ended = time.process_time()
    assert total == sum(int(ids.sum(dtype=np.int64)) for ids, _ in documents)
    return Cost(
        tokens=sum(len(ids) for ids, _ in documents),
        documents=count,
        dtype=dtype,
        bytes=sum(file.bytes for file in files),
        write=written - began,
        open=opened - written,
        read=ended - opened,
        added=added,
    )


def _memory(field: str) -> int:
    """A line of /proc/self/status, in bytes."""
    return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0]) << 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "one"))
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--megatokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", choices=list(FORMATS))
    parser.add_argument("--results", type=Path, default=FOLDER / "formats.json")
    asked = parser.parse_args(arguments)
    if asked.what == "one":
        print(json.dumps(asdict(one(asked.format, asked.tokens, asked.megatokens * 10**6))))
        return
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in FORMATS}
    for _ in range(asked.rounds):
        for name in FORMATS:
            command = [sys.executable, __file__, "one", "--format", name, "--tokens", asked.tokens]
            done = subprocess.run([*command, "--megatokens", str(asked.megatokens)], check=True, capture_output=True, text=True)
            rounds[name].append(json.loads(done.stdout))
    keep(asked.results, Path(asked.tokens).name, {**setting(), "rounds": rounds})


if __name__ == "__main__":
    main()
