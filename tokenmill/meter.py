"""What a batch has come to so far: counted by the pipeline, looked at from other threads.

Comes in: counts and times as the work goes on. Goes out: the sums of an entry, and live figures for status and Flower.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenmill.job import Counts

#: What a batch goes through: the live check is `check`, publishing files and entry `commit`.
STAGES = ("read", "encode", "check", "write", "commit")


@dataclass(slots=True)
class Meter:
    """What a batch has come to so far; another thread may look at it."""

    documents: int = 0
    tokens: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    with_special_tokens: int = 0
    #: Documents in which a test set was found, by its name.
    contaminated: Counter[str] = field(default_factory=Counter)
    #: What the length policy, packing and masks did, by the names of `Counts`.
    cuts: Counter[str] = field(default_factory=Counter)
    #: Source bytes passed.
    input_bytes: int = 0
    text_bytes: int = 0
    #: Documents that the live check compared.
    checked: int = 0
    #: Documents that the reference encoded one by one.
    one_by_one: int = 0
    #: Whether the live check has found the job's engine wrong in this batch.
    found_wrong: bool = False
    #: Whether the job's engine is disabled, by this batch or by another.
    disabled: bool = False
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65, np.int64))
    #: Seconds by stage; reading goes on while the others work.
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] += time.perf_counter() - begin

    def count(self, lengths: NDArray[np.int64]) -> None:
        """Add encoded documents by their lengths in tokens."""
        self.documents += len(lengths)
        self.tokens += int(lengths.sum())
        # frexp gives k with 2^(k-1) <= n < 2^k, and 0 for 0
        self.lengths += np.bincount(np.frexp(lengths.astype(np.float64))[1], minlength=65)

    def sum_up(self, parts: Iterable["Meter"]) -> None:
        """Take what was written from those who wrote it."""
        fresh = Meter()
        for part in parts:
            fresh.documents += part.documents
            fresh.tokens += part.tokens
            fresh.with_special_tokens += part.with_special_tokens
            fresh.text_bytes += part.text_bytes
            fresh.contaminated.update(part.contaminated)
            fresh.cuts.update(part.cuts)
            fresh.lengths += part.lengths
        for name in ("documents", "tokens", "with_special_tokens", "text_bytes", "contaminated", "cuts", "lengths"):
            setattr(self, name, getattr(fresh, name))

    def counts(self) -> Counts:
        """The sums, as the entry states them."""
        used = int(np.flatnonzero(self.lengths)[-1]) + 1 if self.lengths.any() else 0
        return Counts(
            documents=self.documents,
            tokens=self.tokens,
            **self.cuts,
            rejected=dict(sorted(self.rejected.items())),
            with_special_tokens=self.with_special_tokens,
            contaminated=dict(sorted(self.contaminated.items())),
            input_bytes=self.input_bytes,
            text_bytes=self.text_bytes,
            lengths=tuple(map(int, self.lengths[:used])),
        )

    def clear(self) -> None:
        """Begin anew."""
        fresh = Meter()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
