"""The GPU's ids beside those of the CPU's exact engine, over as much text as there is.

    python benchmarks/exactness.py --source DIR --tokenizers FILE... [--processes P] [--on-processor]

Comes in: JSON Lines, tokenizers of the GPU's families. Goes out: `results/exactness.json`: for each tokenizer how much text,
how many documents the kernels did not vouch for, how many of the others have other ids. Always holds: the two engines share no
code; a document in which they differ is given to the reference, and counts against whom the reference contradicts. With
`--on-processor` the kernels run where there is no GPU, at some 15 MB/s.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from corpus import text_size, texts
from device import on_processor
from results import FOLDER, keep, setting
from tokenizer import as_file

from tokenmill.engines.cuda import CudaEngine, describe, why_not_here
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.engines.registry import candidates, engine_type
from tokenmill.tokenizers import Model

#: Bytes of text in a column, and of a batch on the device.
COLUMN = 8 << 20


def columns(path: Path) -> Iterator[pa.LargeStringArray]:
    """A file's documents, column by column."""
    held: list[str] = []
    size = 0
    for text in texts(path):
        held.append(text)
        size += len(text)
        if size >= COLUMN // 4:  # characters, of up to four bytes
            yield pa.array(held, pa.large_string())
            held, size = [], 0
    if held:
        yield pa.array(held, pa.large_string())


def compared(tokenizer: Path, path: Path, processor: bool) -> Counter[str]:
    """What came of one file."""
    model = Model(tokenizer.read_bytes(), str(tokenizer))
    gpu = CudaEngine(model, device=on_processor if processor else None, batch_bytes=COLUMN)
    cpu, reference = engine_type(next(iter(candidates(model))))(model), ReferenceEngine(model)
    counts: Counter[str] = Counter()
    for column in columns(path):
        found, right = gpu.encode(column), cpu.encode(column)
        assert found.unsure is not None
        sure = ~found.unsure
        if right.unsure is not None:
            sure &= ~right.unsure
        counts += Counter(text_bytes=text_size(column), documents=len(column), unsure=int((~sure).sum()))
        if found.only(sure).first_difference(right.only(sure)) is None:
            continue
        for row in differing(column.filter(pa.array(sure)), gpu, cpu):
            told = reference.encode(row)
            for name, engine in (("gpu_differs", gpu), ("cpu_differs", cpu)):
                if engine.encode(row).first_difference(told) is not None:
                    counts[name] += 1
                    print(f"{tokenizer.parent.name} {path.name}: {name}: {row[0].as_py()[:200]!r}", file=sys.stderr)
    return counts


def differing(column: pa.LargeStringArray, gpu: Any, cpu: Any) -> Iterator[pa.LargeStringArray]:
    """Each document of which the engines give different ids, alone."""
    while len(column):
        place = gpu.encode(column).first_difference(cpu.encode(column))
        if place is None:
            return
        yield column[place : place + 1]
        column = column[place + 1 :]


def main() -> None:
    """Compare every tokenizer over every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    parser.add_argument("--tokenizers", type=Path, nargs="+", required=True, help="tokenizer.json files, or folders")
    parser.add_argument("--processes", type=int, default=1, help="files that are compared at once")
    parser.add_argument("--results", type=Path, default=FOLDER / "exactness.json")
    parser.add_argument("--on-processor", action="store_true", help="the kernels on the processor")
    arguments = parser.parse_args()
    reason = None if arguments.on_processor else why_not_here()
    if reason is not None:
        raise SystemExit(f"{reason}; --on-processor runs the kernels without")
    files = sorted(arguments.source.glob("*.jsonl"), key=lambda path: -path.stat().st_size)
    with (
        tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-") as scratch,
        ProcessPoolExecutor(arguments.processes) as pool,
    ):
        for given in arguments.tokenizers:
            name, tokenizer = as_file(given, Path(scratch))
            model, began = Model(tokenizer.read_bytes(), str(tokenizer)), time.monotonic()
            counts: Counter[str] = Counter(dict.fromkeys(("gpu_differs", "cpu_differs"), 0))
            for each in [pool.submit(compared, tokenizer, path, arguments.on_processor) for path in files]:
                counts.update(each.result())
            found = {
                "files": len(files),
                **counts,
                "cpu_engine": next(iter(candidates(model))),
                "seconds": time.monotonic() - began,
            }
            print(f"{name} {found}", file=sys.stderr)
            device = "the processor" if arguments.on_processor else describe()
            keep(arguments.results, name, {**setting(), "device": device, **found})


if __name__ == "__main__":
    main()
