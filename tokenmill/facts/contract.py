"""The border between what is told of a shard and the arithmetic that it takes: a job's wishes, and what documents come to.

Comes in: `Asked`, once a job; documents, as `Texts`. Goes out: `Told` of these documents. Always holds: integers, the same
whoever computes them: the processor, or a device (`arithmetic`, `device`). Files, names and order of documents are the business
of those who tell (`histograms`, `minhash`, `contamination`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenmill.facts.testsets import Known
from tokenmill.facts.texts import Texts

NO_SETS = Known((), ())


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job wants to know of its documents."""

    #: Every id is below it; 0 if ids are not to be counted.
    vocab_size: int = 0
    #: Numbers of a signature; 0 for no signatures.
    size: int = 0
    #: The test sets to look for.
    known: Known = NO_SETS


@dataclass(frozen=True, slots=True)
class Matches:
    """A row for each document and test set that have runs in common, by document, then by test set: int64, of one length."""

    documents: NDArray[np.int64]
    #: Numbers of test sets, in the order of `Known`.
    sets: NDArray[np.int64]
    #: How many of the document's runs are the test set's ...
    grams: NDArray[np.int64]
    #: ... and how many of its ids stand in such runs.
    covered: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Told:
    """What some documents come to."""

    #: How often each id occurs, int64; BOS and EOS are counted.
    counts: NDArray[np.int64]
    #: uint32, a row for each document.
    signatures: NDArray[np.uint32]
    matches: Matches

    def first_difference(self, other: "Told") -> str | None:
        """What is not the same in both; None if all is."""
        ours, theirs = _columns(self), _columns(other)
        return next((name for name in ours if not np.array_equal(ours[name], theirs[name])), None)


class Arithmetic(Protocol):
    """Whoever computes what a job asks for."""

    @property
    def asked(self) -> Asked:
        """What that is."""
        ...

    def tell(self, texts: Texts) -> Told:
        """What these documents come to."""
        ...


def together(asked: Asked, parts: Sequence[Told]) -> Told:
    """What documents come to, from what parts of them do, in order."""
    counts = np.sum([np.zeros(asked.vocab_size, np.int64), *(part.counts for part in parts)], axis=0)
    signatures = np.concatenate([np.empty((0, asked.size), np.uint32), *(part.signatures for part in parts)])
    before = np.cumsum([0, *(len(part.signatures) for part in parts)])
    none = np.empty(0, np.int64)
    documents = [part.matches.documents + first for part, first in zip(parts, before[:-1], strict=True)]
    matches = Matches(
        np.concatenate([none, *documents]),
        np.concatenate([none, *(part.matches.sets for part in parts)]),
        np.concatenate([none, *(part.matches.grams for part in parts)]),
        np.concatenate([none, *(part.matches.covered for part in parts)]),
    )
    return Told(counts, signatures, matches)


def _columns(told: Told) -> dict[str, NDArray[np.generic]]:
    found = told.matches
    matches = np.stack((found.documents, found.sets, found.grams, found.covered))
    return {"counts of ids": told.counts, "signatures": told.signatures, "runs of test sets": matches}
