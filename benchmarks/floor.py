"""The floor: an engine's bare loop over text that is already in memory, and nothing else timed.

    python benchmarks/floor.py ENGINE SOURCE_DIR TOKENIZER_JSON REPEATS PROCESSES

Comes in: JSON Lines. Goes out: one JSON line with the bytes of text that were encoded, the CPU seconds of the encode calls of
all processes, the tokens. Always holds: reading, parsing, loading the engine and building the Arrow columns of 4 MB are over
before the clock starts; what is timed is one library call per column. No ids are checked, written or even kept.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

# one thread per process, as tokenmill's workers run
os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

from corpus import columns, text_size

COLUMN_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What one bare loop did."""

    text_bytes: int
    cpu: float
    tokens: int


def _fastokens(file: str, text: list[pa.LargeStringArray]) -> tuple[list[Any], Callable[[Any], int]]:
    import fastokens

    tokenizer = fastokens.Tokenizer.from_json_str(Path(file).read_text(encoding="utf-8"))

    def encode(documents: list[str]) -> int:
        ids, _ = tokenizer.encode_batch_flat(documents, add_special_tokens=False)
        return memoryview(ids).nbytes // 4

    return [column.to_pylist() for column in text], encode


def _gigatoken(file: str, text: list[pa.LargeStringArray]) -> tuple[list[Any], Callable[[Any], int]]:
    import awkward
    import gigatoken

    tokenizer = gigatoken.Tokenizer.from_json(Path(file).read_text(encoding="utf-8"))

    def encode(column: pa.LargeStringArray) -> int:
        rows = tokenizer.encode_batch(awkward.from_arrow(column), parallel=False)
        return int(rows.layout.offsets[-1] - rows.layout.offsets[0])

    return list(text), encode


ENGINES = {"fastokens": _fastokens, "gigatoken": _gigatoken}


def loop(engine: str, source: str, tokenizer: str, repeats: int) -> Loop:
    """Encode a folder's text `repeats` times in this process."""
    text = columns(Path(source), COLUMN_BYTES)
    size = sum(map(text_size, text))
    inputs, encode = ENGINES[engine](tokenizer, text)
    del text
    tokens, began = 0, time.process_time()
    for _ in range(repeats):
        for column in inputs:
            tokens += encode(column)
    return Loop(text_bytes=size * repeats, cpu=time.process_time() - began, tokens=tokens)


def main(engine: str, source: str, tokenizer: str, repeats: int, processes: int) -> None:
    """Run the loop in so many processes at once and print the sum."""
    # spawn: a fork would copy the pages of whatever this process has loaded
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        loops = pool.starmap(loop, [(engine, source, tokenizer, repeats)] * processes, chunksize=1)
    summed = Loop(
        text_bytes=sum(one.text_bytes for one in loops),
        cpu=sum(one.cpu for one in loops),
        tokens=sum(one.tokens for one in loops),
    )
    print(json.dumps(asdict(summed)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
