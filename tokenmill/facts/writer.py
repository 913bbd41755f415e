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

from tokenmill.facts.contamination import Contamination
from tokenmill.facts.contract import Arithmetic, Asked, Told
from tokenmill.facts.histograms import Histograms
from tokenmill.facts.minhash import Minhash
from tokenmill.facts.testsets import known
from tokenmill.facts.texts import Ends, Texts
from tokenmill.job import Job
from tokenmill.record import FileDigest
from tokenmill.shards import ShardWriter


class Fact(Protocol):
    """Something to be known of a shard's documents."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def add(self, texts: Texts, told: Told) -> None:
        """Take the next documents of the shard, and what they come to."""
        ...

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the files their final names and return their digests."""
        ...


def asked_of(job: Job, output: str) -> Asked | None:
    """What a job asks for; None for nothing. Raises JobError if a test set in its output is not what it was."""
    facts = job.spec.facts
    if facts is None:
        return None
    vocab_size = job.tokenizer.vocab_size if facts.histograms else 0
    return Asked(vocab_size, facts.minhash or 0, known(output, facts.held_out))


def with_facts(
    writer: ShardWriter, job: Job, output: str, index: int, arithmetic: Arithmetic | None, contaminated: Counter[str]
) -> ShardWriter:
    """The same writer, telling what was asked for.

    Args:
        output: where the shard lies: the job's output, or a part of it.
        arithmetic: computes what is told; None if nothing is.
        contaminated: gets documents added in which a test set was found, by its name.
    """
    if arithmetic is None:
        return writer
    asked, facts = arithmetic.asked, list[Fact]()
    if asked.vocab_size:
        facts.append(Histograms(output, index, asked.vocab_size))
    if asked.size:
        facts.append(Minhash(output, index, asked.size))
    if asked.known.names:
        facts.append(Contamination(output, index, asked.known, contaminated))
    ends = Ends(job.bos_id is not None, job.eos_id is not None, job.spec.chat is not None)
    return FactsWriter(writer, ends, facts, arithmetic)


class FactsWriter:
    """Passes documents on to a shard's writer, and tells each fact of them."""

    def __init__(self, writer: ShardWriter, ends: Ends, facts: list[Fact], arithmetic: Arithmetic) -> None:
        self._writer, self._ends, self._facts, self._arithmetic = writer, ends, facts, arithmetic
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
            told = self._arithmetic.tell(texts)
            for fact in self._facts:
                fact.add(texts, told)
        self._writer.append(ids, lengths)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give all files their final names."""
        return (*self._writer.publish(), *(file for fact in self._facts for file in fact.publish()))
