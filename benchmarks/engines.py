"""tokenmill's engines beside each other: cold and warm speed, load time and memory, on the same real text.

    python benchmarks/engines.py run --source DIR --tokenizers FILE... [--megabytes M] [--rounds K]

Comes in: JSON Lines and tokenizers. Goes out: `results/engines.json`, every round of each engine that takes a tokenizer, under
the tokenizer's name. Always holds: each measurement is a fresh process that holds the same Arrow columns before its clock
starts; engines take turns; cold is the first pass over text that the engine has not seen, warm the second over the same.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from contenders import SINGLE
from corpus import columns, text_size
from measure import measure
from results import FOLDER, keep, setting
from tokenizer import as_file

from tokenmill.engines.contract import Engine
from tokenmill.engines.registry import ENGINES, engine_type
from tokenmill.tokenizers import Model

COLUMN_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """What one engine did in one process."""

    text_bytes: int
    #: CPU seconds of importing and making the engine, of the first pass, of the second.
    load: float
    cold: float
    warm: float
    #: sha256 of all ids and offsets: equal for engines that agree.
    ids: str
    #: Bytes of memory that the process had at most, and that it had before the engine was loaded.
    peak_rss: int
    rss_before: int


def one(engine_name: str, tokenizer: str, source: str, megabytes: int) -> Passes:
    """Load an engine in this process and encode the text twice."""
    text = columns(Path(source), COLUMN_BYTES, most=megabytes * 10**6)
    model = Model(Path(tokenizer).read_bytes(), tokenizer)
    before = _status("VmRSS")
    began = time.process_time()
    engine = engine_type(engine_name)(model)
    loaded = time.process_time()
    cold, digest = _pass(engine, text)
    warm, again = _pass(engine, text)
    assert digest == again, f"{engine_name} gives other ids the second time"
    return Passes(
        text_bytes=sum(map(text_size, text)),
        load=loaded - began,
        cold=cold,
        warm=warm,
        ids=digest,
        peak_rss=_status("VmHWM"),
        rss_before=before,
    )


def _pass(engine: Engine, text: list[pa.LargeStringArray]) -> tuple[float, str]:
    """CPU seconds of the calls, and a digest that is made outside of them."""
    spent, digest = 0.0, hashlib.sha256()
    for column in text:
        began = time.process_time()
        tokens = engine.encode(column)
        spent += time.process_time() - began
        digest.update(tokens.ids.tobytes())
        digest.update(tokens.offsets.tobytes())
    return spent, digest.hexdigest()


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def run(arguments: argparse.Namespace) -> None:
    """Measure every engine with every tokenizer; the results file is written after each tokenizer."""
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-") as folder:
        for given in arguments.tokenizers:
            name, file = as_file(given, Path(folder))
            model = Model(file.read_bytes(), str(file))
            reasons = {engine: engine_type(engine).supports(model) for engine in ENGINES}
            rounds: dict[str, list[dict[str, Any]]] = {engine: [] for engine, reason in reasons.items() if reason is None}
            refused = {engine: reason for engine, reason in reasons.items() if reason is not None}
            for _ in range(arguments.rounds):
                for engine in [engine for engine in rounds if engine not in refused]:
                    command = [sys.executable, __file__, "one", engine, str(file), str(arguments.source.resolve())]
                    try:
                        said = measure([*command, str(arguments.megabytes)], environment=SINGLE).said
                    except RuntimeError as error:  # an engine may refuse a file only when it loads it
                        refused[engine] = str(error).strip().splitlines()[-1][:200]
                        print(f"{name:12} {engine:12} refused: {refused[engine]}", file=sys.stderr)
                        continue
                    rounds[engine].append(said)
                    rates = " ".join(f"{kind} {said['text_bytes'] / 1e6 / said[kind]:7.2f}" for kind in ("cold", "warm"))
                    print(f"{name:12} {engine:12} {rates} MB/CPU-s, load {said['load']:.2f} s", file=sys.stderr)
            keep(arguments.results, name, {**setting(), "rounds": {k: v for k, v in rounds.items() if v}, "refused": refused})


def main() -> None:
    """Parse the command line."""
    if sys.argv[1:2] == ["one"]:
        # libraries may end a process with threads still in the way; what is measured is out by then
        print(json.dumps(asdict(one(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))), flush=True)
        os._exit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command = parser.add_subparsers(required=True).add_parser("run")
    command.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    command.add_argument("--tokenizers", type=Path, nargs="+", required=True, help="tokenizer.json files, or folders")
    command.add_argument("--megabytes", type=int, default=20, help="text to encode, the same share of each file")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--results", type=Path, default=FOLDER / "engines.json")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
