"""The GPU's engine: on the device, from pinned memory to pinned memory, over columns, beside all cores, and in a whole job; and
facts about its ids, one at a time, beside one core.

    python benchmarks/gpu.py --source DIR --tokenizers FILE... [--megabytes M] [--rounds K] [--dry-run]

Comes in: a folder with a .jsonl file for each kind of text (English, code, Chinese ...), tokenizers. Goes out:
`results/gpu.json`: bytes of text per second, each round, for each tokenizer and kind. Always holds: ids are compared with the
reference's before a clock starts; the table of words is foreign in the first round (filled by the kind before), cold in the
others; the CPU's engine runs in as many processes as there are cores, on the same text, warm. With `--dry-run` the kernels run
on the processor, over a megabyte: that shows that the benchmark works, its figures mean nothing, and none is kept.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from corpus import columns, text_size
from device import on_processor
from measure import measure
from results import FOLDER, keep, setting
from tokenizer import as_file

from tokenmill.engines import from_lengths
from tokenmill.engines.cuda import CudaEngine, describe, why_not_here
from tokenmill.engines.cuda.engine import Passage, batches, buffers
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.engines.registry import candidates, engine_type
from tokenmill.facts import Asked, Known, Processor
from tokenmill.facts.device import OnDevice
from tokenmill.facts.testsets import runs_of
from tokenmill.facts.texts import Ends
from tokenmill.tokenizers import Model

TOKENMILL = str(Path(sys.executable).with_name("tokenmill"))
#: Sizes of batches, in bytes of text: small ones are where the CPU wins.
SIZES = (1 << 20, 4 << 20, 32 << 20, 128 << 20)

#: Whole jobs: by every core alone, by one process with the GPU, and by a process for each core, which all share the GPU.
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "cpu": (["--device", "cpu"], {}),
    "gpu_alone": (["--engine", "cuda", "--device", "cuda"], {}),
    "gpu_shared": (["--engine", "cuda", "--device", "cuda"], {"TOKENMILL_GPU_PROCESSES": str(len(os.sched_getaffinity(0)))}),
}


def rate(size: int, seconds: float) -> float:
    """Bytes per second."""
    return size / seconds


def filled(engine: CudaEngine, text: pa.LargeStringArray) -> list[Passage]:
    """The engine's ring, filled with the first batches of a text, again and again where it is short."""
    data, offsets = buffers(text)
    found = [*batches(offsets, engine.extent)]
    for number, passage in enumerate(engine.ring):
        passage.fill(data, offsets, *found[number % len(found)])
    return list(engine.ring)


def on_device(engine: CudaEngine, text: pa.LargeStringArray, times: int) -> float:
    """From bytes in device memory to ids in device memory."""
    passage = filled(engine, text)[0]
    passage.send()
    passage.wait()
    began = time.perf_counter()
    for _ in range(times):
        passage.run()
    passage.wait()
    return rate(passage.size * times, time.perf_counter() - began)


def pinned(engine: CudaEngine, text: pa.LargeStringArray, times: int) -> float:
    """From pinned host memory to pinned host memory, three batches under way at once."""
    ring = filled(engine, text)
    began, size = time.perf_counter(), 0
    for number in range(times):
        passage = ring[number % len(ring)]
        if number >= len(ring):
            passage.wait()
        passage.send()
        size += passage.size
        if number:
            ring[(number - 1) % len(ring)].fetch()
    ring[(times - 1) % len(ring)].fetch()
    for passage in ring[:times]:
        passage.wait()
    return rate(size, time.perf_counter() - began)


def columnwise(engine: Any, text: list[pa.LargeStringArray]) -> float:
    """Over Arrow columns, to ids in NumPy arrays: what a worker gets."""
    began = time.perf_counter()
    for column in text:
        engine.encode(column)
    return rate(sum(map(text_size, text)), time.perf_counter() - began)


def facts(engine: CudaEngine, model: Model, text: pa.LargeStringArray, times: int) -> dict[str, float]:
    """Each fact about a column's ids, from NumPy arrays to NumPy arrays, by the device and by one core of the processor."""
    tokens, found = engine.encode(text), dict[str, float]()
    groups = [*Ends(bos=False, eos=False, marked=False).texts(tokens.ids, tokens.lengths).groups()]
    part = tokens.ids[: len(tokens.ids) // 20]
    sets = Known(("part",), (runs_of(from_lengths(part, np.array([len(part)]))),))
    wanted = {"histograms": Asked(vocab_size=model.vocab_size), "minhash": Asked(size=128), "contamination": Asked(known=sets)}
    for name, asked in wanted.items():
        device, core = OnDevice(engine.device, asked), Processor(asked)
        differs = {device.tell(some).first_difference(core.tell(some)) for some in groups} - {None}
        if differs:
            raise SystemExit(f"on the device {differs} are not the processor's")
        for way, one, rounds in (("device", device, times), ("core", core, 1)):
            began = time.perf_counter()
            for some in groups * rounds:
                one.tell(some)
            found[f"{name}_{way}"] = rate(text_size(text) * rounds, time.perf_counter() - began)
    return found


def differing(engine: CudaEngine, model: Model, text: list[pa.LargeStringArray]) -> dict[str, int]:
    """Documents, those that are not vouched for, and ids that differ from the reference's in the others."""
    reference, documents, unsure, ids = ReferenceEngine(model), 0, 0, 0
    for column in text:
        found, right = engine.encode(column), reference.encode(column)
        assert found.unsure is not None
        sure = ~found.unsure
        documents, unsure = documents + len(column), unsure + int(found.unsure.sum())
        ours, theirs = found.only(sure).ids, right.only(sure).ids
        ids += int((ours != theirs).sum()) if len(ours) == len(theirs) else max(len(ours), len(theirs))
    return {"documents": documents, "unsure": unsure, "differing_ids": ids}


def _one_core(name: str, tokenizer: str, source: str, megabytes: int, barrier: Any) -> tuple[float, float]:
    """When one process of many began and ended its warm pass."""
    text = columns(Path(source), 4 << 20, most=megabytes * 10**6)
    engine = engine_type(name)(Model(Path(tokenizer).read_bytes(), tokenizer))
    columnwise(engine, text)
    barrier.wait()
    began = time.monotonic()
    columnwise(engine, text)
    return began, time.monotonic()


def all_cores(name: str, tokenizer: Path, source: Path, megabytes: int, size: int) -> float:
    """The CPU's engine in a process for each core, each over the same text, warm."""
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        barrier = manager.Barrier(cores)
        done = [pool.submit(_one_core, name, str(tokenizer), str(source), megabytes, barrier) for _ in range(cores)]
        times = [one.result() for one in done]
    return rate(size * cores, max(end for _, end in times) - min(begin for begin, _ in times))


def whole_job(source: Path, tokenizer: Path, scratch: Path, options: list[str], environment: dict[str, str]) -> float:
    """Seconds of a job from the page cache to sealed shards."""
    output = scratch / "tokens"
    command = [TOKENMILL, "run", str(source), "--tokenizer", str(tokenizer), "--no-bos-token", "--no-eos-token"]
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        found = measure([*command, "--output", str(output), *options], output, {"TOKENMILL_HOME": home, **environment})
    shutil.rmtree(output)
    return found.wall


def kinds(source: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Each file of the corpus as a folder of its own."""
    for file in sorted(source.glob("*.jsonl")):
        folder = scratch / file.stem
        folder.mkdir()
        (folder / file.name).symlink_to(file.resolve())
        yield file.stem, folder


def run(arguments: argparse.Namespace, scratch: Path, device: Any) -> None:
    """Measure every tokenizer on every kind of text."""
    for given in arguments.tokenizers:
        name, file = as_file(given, scratch)
        model = Model(file.read_bytes(), str(file))
        reason = CudaEngine.supports(model)
        if reason is not None:
            print(f"{name}: {reason}", file=sys.stderr)
            continue
        engine, rounds = CudaEngine(model, device=device, batch_bytes=arguments.batch_bytes), []
        cpu = next(iter(candidates(model)))
        for kind, folder in kinds(arguments.source, Path(tempfile.mkdtemp(dir=scratch))):
            text = columns(folder, arguments.batch_bytes, most=arguments.megabytes * 10**6)
            size = sum(map(text_size, text))
            exact = differing(engine, model, text[: arguments.checked])
            for number in range(arguments.rounds):
                fresh = CudaEngine(model, device=device, batch_bytes=arguments.batch_bytes) if number else engine
                found = {"kind": kind, "round": number, "text_bytes": size, **exact, "cpu_engine": cpu}
                found["columns_cold" if number else "columns_foreign"] = columnwise(fresh, text)
                found["columns_warm"] = columnwise(fresh, text)
                found["device"] = on_device(fresh, text[0], arguments.times)
                found["pinned"] = pinned(fresh, text[0], arguments.times)
                found |= facts(fresh, model, text[0], arguments.times)
                found["cpu_all_cores"] = all_cores(cpu, file, folder, arguments.megabytes, size)
                for small in SIZES if not arguments.dry_run else SIZES[:1]:
                    cut = columns(folder, small, most=min(arguments.megabytes * 10**6, 4 * small))
                    found[f"columns_of_{small}"] = columnwise(fresh, cut)
                rounds.append(found)
                print(f"{name} {kind} {found}", file=sys.stderr)
        if not arguments.dry_run:
            jobs = [
                {way: whole_job(arguments.source, file, scratch, *how) for way, how in WAYS.items()}
                for _ in range(arguments.rounds)
            ]
            keep(arguments.results, name, {**setting(), "gpu": describe(), "rounds": rounds, "jobs": jobs})


def main() -> None:
    """Parse the command line, find the device, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field, one per kind")
    parser.add_argument("--tokenizers", type=Path, nargs="+", required=True, help="tokenizer.json files, or folders")
    parser.add_argument("--megabytes", type=int, default=1000, help="text of each kind")
    parser.add_argument("--batch-bytes", type=int, default=64 << 20, help="text of a batch")
    parser.add_argument("--times", type=int, default=50, help="batches that are measured on the device")
    parser.add_argument("--checked", type=int, default=2, help="columns whose ids are compared with the reference's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=FOLDER / "gpu.json")
    parser.add_argument("--dry-run", action="store_true", help="the kernels on the processor, little text, nothing kept")
    arguments = parser.parse_args()
    device: Any = None
    if arguments.dry_run:
        arguments.megabytes, arguments.batch_bytes, arguments.times, arguments.rounds = 1, 1 << 18, 4, 2
        device = on_processor
    elif (reason := why_not_here()) is not None:
        raise SystemExit(f"{reason}; --dry-run shows that the benchmark works")
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-") as scratch:
        run(arguments, Path(scratch), device)


if __name__ == "__main__":
    main()
