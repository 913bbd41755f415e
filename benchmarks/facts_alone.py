"""What each fact costs by itself: the CPU time of its own code over ids that lie in memory, in one process.

    python benchmarks/facts_alone.py --source DIR --tokenizer FILE [--rounds K]

Comes in: a folder of JSON Lines. Goes out: `results/facts_alone.json`, thread CPU seconds of every round. Always holds:
documents come in columns of about a million ids, as a shard's writer gets them; the same ids once as the corpus has them, once
cut into documents of 20; the test set is the first 1,000 ids of every sixth column. `128 permutations` is MinHash as most tools
define it, in NumPy, over the same shingles, for comparison; it writes nothing.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from corpus import text_size
from results import FOLDER, keep, setting
from tokenizer import as_file

from tokenmill.engines import ENGINES, Tokens, from_lengths
from tokenmill.facts.arithmetic import Processor
from tokenmill.facts.contamination import Contamination
from tokenmill.facts.contract import Asked, Told
from tokenmill.facts.histograms import Histograms
from tokenmill.facts.minhash import WIDTH, Minhash
from tokenmill.facts.shingles import shingles
from tokenmill.facts.testsets import Known, runs_of
from tokenmill.facts.texts import Ends, Texts
from tokenmill.splitmix import mixed
from tokenmill.tokenizers import Model

ENDS = Ends(bos=False, eos=False, marked=False)
SIZE, SHORT, COLUMN = 128, 20, 4 << 20


def columns(folder: Path, model: Model) -> tuple[list[Tokens], int]:
    """The corpus as ids, in columns, and the bytes of its text."""
    engine, found, texts, size, read = ENGINES["fastokens"]()(model), list[Tokens](), list[str](), 0, 0
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.open(encoding="utf-8"):
            texts.append(json.loads(line)["text"])
            size += len(texts[-1])
            if size >= COLUMN:
                column = pa.array(texts, pa.large_string())
                found.append(engine.encode(column))
                read, texts, size = read + text_size(column), [], 0
    return found, read


def cut(tokens: Tokens) -> Tokens:
    """The same ids in short documents."""
    whole = len(tokens.ids) // SHORT
    return from_lengths(tokens.ids[: whole * SHORT], np.full(whole, SHORT))


class Permutations:
    """MinHash by independent permutations, each a multiplication and an addition."""

    def __init__(self) -> None:
        numbers = mixed(np.arange(2 * SIZE, dtype=np.uint64))
        self._factors, self._terms = numbers[:SIZE] | np.uint64(1), numbers[SIZE:]

    def __enter__(self) -> "Permutations":
        return self

    def __exit__(self, *_: object) -> None: ...

    def add(self, texts: Texts, told: Told) -> None:  # noqa: ARG002  # it computes its own
        """Sign documents."""
        for found in shingles(texts, WIDTH):
            starts = np.flatnonzero(np.diff(found.documents, prepend=-1))
            numbers, room = mixed(found.numbers), np.empty_like(found.numbers)
            for factor, term in zip(self._factors, self._terms, strict=True):
                np.multiply(numbers, factor, out=room)
                room += term
                np.minimum.reduceat(room, starts)

    def publish(self) -> tuple[()]:
        return ()


def main() -> None:
    """Measure, and keep every round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json, or its folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=FOLDER / "facts_alone.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-") as folder:
        name, file = as_file(arguments.tokenizer, Path(folder))
        model = Model(file.read_bytes(), str(file))
        whole, size = columns(arguments.source.resolve(), model)
        quiz = from_lengths(np.concatenate([tokens.ids[:1000] for tokens in whole[::6]]), np.full(len(whole[::6]), 1000))
        sets = Known(("quiz",), (runs_of(quiz),))
        makers: dict[str, tuple[Asked, Callable[[], Any]]] = {
            "--histograms": (Asked(vocab_size=model.vocab_size), lambda: Histograms(folder, 0, model.vocab_size)),
            f"--minhash {SIZE}": (Asked(size=SIZE), lambda: Minhash(folder, 0, SIZE)),
            f"{SIZE} permutations": (Asked(), Permutations),
            "--contamination": (Asked(known=sets), lambda: Contamination(folder, 0, sets, Counter())),
        }
        kinds = {"documents": whole, f"documents of {SHORT} ids": [cut(tokens) for tokens in whole]}
        rounds: dict[str, dict[str, list[float]]] = {kind: {fact: [] for fact in makers} for kind in kinds}
        for _ in range(arguments.rounds):
            for kind, some in kinds.items():
                for fact, (asked, made) in makers.items():
                    began, processor = time.thread_time(), Processor(asked)
                    with made() as one:
                        for tokens in some:
                            for texts in ENDS.texts(tokens.ids, tokens.lengths).groups():
                                one.add(texts, processor.tell(texts))
                        one.publish()
                    rounds[kind][fact].append(time.thread_time() - began)
                    print(f"{kind:22} {fact:18} {rounds[kind][fact][-1] / size * 1e9:7.1f} CPU s a GB", flush=True)
        tokens = sum(len(one.ids) for one in whole)
        documents = sum(len(one) for one in whole)
        kept = {"text_bytes": size, "tokens": tokens, "documents": documents, "runs": len(sets.runs[0])}
        keep(arguments.results, name, {**setting(), **kept, "rounds": rounds})


if __name__ == "__main__":
    main()
