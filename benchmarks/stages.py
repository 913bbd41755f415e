"""Where the CPU time of a batch goes, stage by stage, beside the engine's bare loop in the same process.

    python benchmarks/stages.py --source DIR --tokenizer FILE [--rounds K]

Comes in: JSON Lines. Goes out: `results/stages.json`, thread CPU seconds of every round. Always holds: one thread does one
thing at a time, on the very functions that the pipeline composes; the first round, in which the engine meets its words, is not
kept; the bare loop takes the columns of the same round, so that both meet the same text equally warm; the live check goes on
from round to round, so that each checks other documents.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# one thread, as a worker has
os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

import pyarrow as pa
from corpus import text_size
from results import FOLDER, keep, setting
from tokenizer import as_file

from tokenmill import documents
from tokenmill.engines import Encoder, SpotCheck, certificates
from tokenmill.job import Cut, Span
from tokenmill.settings import Settings
from tokenmill.shards import FORMATS
from tokenmill.spec import JobSpec
from tokenmill.tokenizers import Model


class Clock:
    """Thread CPU seconds by stage."""

    def __init__(self) -> None:
        self.spent = Counter[str]()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.spent[stage] += time.thread_time() - began


def one_round(span: Span, spec: JobSpec, encoder: Encoder, check: SpotCheck, output: str, clock: Clock) -> int:
    """Do one file as the pipeline does; returns the bytes of its text."""
    size, bare = 0, list[pa.LargeStringArray]()
    with FORMATS[spec.format].writer(output, 0, spec.dtype) as writer:
        read = documents.read(span, spec)
        while True:
            with clock("reading: file, JSON, Arrow"):
                found = next(read, None)
            if found is None:
                break
            text = found.text
            with clock("searching: special tokens, guard"):
                special = encoder.holds_special(text)
                encoder._guarded.holds(text)
            with clock("engine"):
                bodies = encoder._engine.encode(text)
            with clock("BOS and EOS"):
                tokens = encoder._with_ends(bodies)
            with clock("live check: 1 document in 1,000"):
                check(text, special, tokens)
            with clock("writing: narrowing, sha256, file"):
                writer.append(tokens.ids, tokens.lengths)
            size += text_size(text)
            bare.append(text)
        with clock("writing: narrowing, sha256, file"):
            writer.publish()
    for text in bare:
        with clock("bare loop"):
            encoder._engine.encode(text)
    return size


def main() -> None:
    """Measure, and keep every round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json, or its folder")
    parser.add_argument("--engine", default="gigatoken")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=FOLDER / "stages.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-") as folder:
        name, file = as_file(asked.tokenizer, Path(folder))
        model = Model(file.read_bytes(), str(file))
        granted = certificates.certificate(model, asked.engine, Settings.from_environment().cache)
        end = model.special_tokens[0]["content"]
        limits = {"batch_bytes": 1 << 28, "max_document_bytes": 8 << 20}
        spec = JobSpec(sources=(), tokenizer=name, eos_token=end, bos_token=None, dtype="int32", **limits)
        encoder = Encoder(model, spec, asked.engine, granted.guard)
        encoder.load()
        encoder.reference.load()
        rounds, check = [], SpotCheck(encoder, 1000)
        for number in range(asked.rounds + 1):
            clock, size = Clock(), 0
            for source in sorted(asked.source.glob("*.jsonl")):
                length = source.stat().st_size
                span = Span(url=str(source), cut=Cut.WHOLE, start=0, stop=0, bytes=length, size=length, mark="")
                size += one_round(span, spec, encoder, check, folder, clock)
            if number:
                rounds.append({"text_bytes": size, "cpu_s": dict(clock.spent)})
        keep(asked.results, name, {**setting(), "engine": asked.engine, "rounds": rounds})


if __name__ == "__main__":
    main()
