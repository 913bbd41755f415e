"""A shard writer that tells facts about the documents it passes on: each fact is asked for by itself, and has files of its own.

Comes in: documents in the order of the shard, before they are packed. Goes out: the same documents to the next writer, and
sidecars. Always holds: a fact says nothing of how documents were spread over calls, and changes no byte of the shard.
"""

from collections import Counter
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tokenmill.facts.contamination import Contamination, Known
from tokenmill.facts.histograms import Histograms
from tokenmill.facts.minhash import Minhash
from tokenmill.facts.texts import Ends, Texts
from tokenmill.job import Job
from tokenmill.record import FileDigest
from tokenmill.shards import ShardWriter


class Fact(Protocol):
    """Something to be known of a shard's documents."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def add(self, texts: Texts) -> None:
        """Take the next documents of the shard."""
        ...

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the files their final names and return their digests."""
        ...


def with_facts(
    writer: ShardWriter, job: Job, output: str, index: int, sets: Known | None, contaminated: Counter[str]
) -> ShardWriter:
    """The same writer for a job that asks for no facts, else one that tells them.

    Args:
        output: where the shard lies: the job's output, or a part of it.
        sets: the test sets to look for, if there are any.
        contaminated: gets documents added in which one was found, by its name.
    """
    asked = job.spec.facts
    if asked is None:
        return writer
    facts: list[Fact] = []
    if asked.histograms:
        facts.append(Histograms(output, index, job.tokenizer.vocab_size))
    if asked.minhash is not None:
        facts.append(Minhash(output, index, asked.minhash))
    if sets is not None:
        facts.append(Contamination(output, index, sets, contaminated))
    ends = Ends(job.bos_id is not None, job.eos_id is not None, job.spec.chat is not None)
    return FactsWriter(writer, ends, facts)


class FactsWriter:
    """Passes documents on to a shard's writer, and tells each fact of them."""

    def __init__(self, writer: ShardWriter, ends: Ends, facts: list[Fact]) -> None:
        self._writer, self._ends, self._facts = writer, ends, facts
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for fact in self._facts:
            self._open.enter_context(fact)
        self._open.enter_context(self._writer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents, in the order of the shard."""
        for texts in self._ends.texts(ids, lengths).groups():
            for fact in self._facts:
                fact.add(texts)
        self._writer.append(ids, lengths)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give all files their final names."""
        return (*self._writer.publish(), *(file for fact in self._facts for file in fact.publish()))
