"""What every engine takes and gives: a text column in, one flat token array and its offsets out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.tokenizers import Model

#: Set in the id of a token that is learned from, on its way to the shard (`tokenmill.masks`): ids themselves are below it.
LEARNED = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids of some documents: document i is ids[offsets[i]:offsets[i + 1]]."""

    #: uint32, all documents end to end.
    ids: NDArray[np.uint32]
    #: int64, one more than documents; begins with 0.
    offsets: NDArray[np.int64]
    #: Documents whose ids the engine does not vouch for, which go to the reference; None for none.
    unsure: NDArray[np.bool_] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per document."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> NDArray[np.uint32]:
        """The ids of one document."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def only(self, kept: NDArray[np.bool_]) -> "Tokens":
        """Some of the documents, in their order."""
        return from_lengths(self.ids[np.repeat(kept, self.lengths)], self.lengths[kept])

    def first_difference(self, other: "Tokens") -> int | None:
        """The first document whose ids differ from those in `other`; None if none does."""
        if np.array_equal(self.offsets, other.offsets):
            unequal = np.flatnonzero(self.ids != other.ids)
            return int(np.searchsorted(self.offsets, unequal[0], side="right")) - 1 if len(unequal) else None
        return next(i for i in range(len(self)) if not np.array_equal(self.document(i), other.document(i)))


class Unavailable(Exception):
    """An engine cannot run on this host, or no longer; says why, and nothing of the tokenizer or the text."""


class Engine(Protocol):
    """One way to encode. Whichever is used, the ids are those of Hugging Face `tokenizers` (law 1)."""

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        """The ids of each document, without BOS or EOS; a special token's string in it is text like any other."""
        ...


class EngineType(Protocol):
    """How an engine is asked about a tokenizer and made for it; its constructor may take seconds."""

    def __call__(self, model: Model) -> Engine: ...

    def supports(self, model: Model) -> str | None:
        """Why this engine does not take the tokenizer; None if it may. Cheap: loads nothing."""
        ...


def strings(text: pa.LargeStringArray) -> list[str]:
    """The documents as Python strings, for engines that take nothing else; a text column holds no nulls."""
    return cast("list[str]", text.to_pylist())


def from_lengths(ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> Tokens:
    """Tokens from ids end to end and tokens per document."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Tokens(ids, offsets)


def with_ends(tokens: Tokens, bos: int | None, eos: int | None) -> Tokens:
    """The documents with a token before and after each; None for none.

    What comes after a token that is learned from is so too; what comes before a document never is.
    """
    before, after = int(bos is not None), int(eos is not None)
    if not before and not after:
        return tokens
    lengths = tokens.lengths + before + after
    result = from_lengths(np.empty(int(lengths.sum()), np.uint32), lengths)
    body = np.ones(len(result.ids), dtype=np.bool_)
    if bos is not None:
        result.ids[result.offsets[:-1]] = bos
        body[result.offsets[:-1]] = False
    if eos is not None:
        some = tokens.lengths > 0
        last = np.zeros(len(tokens), np.uint32)
        last[some] = tokens.ids[tokens.offsets[1:][some] - 1]
        result.ids[result.offsets[1:] - 1] = np.uint32(eos) | (last & LEARNED)
        body[result.offsets[1:] - 1] = False
    result.ids[body] = tokens.ids
    return result


def joined(parts: Sequence[Tokens]) -> Tokens:
    """Several documents' or columns' tokens end to end."""
    ids = np.concatenate([np.empty(0, np.uint32), *(part.ids for part in parts)])
    return from_lengths(ids, np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)]))
