"""`facts/000042.minhash.parquet`: a signature of each document, from which near-duplicates are found without comparing texts.

Comes in: documents. Goes out: (`document`, `signature`) for each, in the order of the shard; a signature is `size` numbers of
32 bits. Always holds: of two documents each place of the signatures is equal with probability J (or by chance, one in 2^32),
where J is what their shingles have in common (Jaccard: shingles of both ÷ shingles of either). So the share of equal places
estimates J.

A shingle is `WIDTH` consecutive ids of the text (BOS and EOS are none of it), or all of a text that has fewer; its number is
that of `facts.shingles`. A text without ids has a signature of 0xFFFFFFFF. Round r = 0, 1, 2 … deals all shingles of a document
to the places of its signature:

    h     = splitmix64's mix of (number + r 0x9E3779B97F4A7C15)
    place = ((h >> 32) size) >> 32  in the first `size` rounds;  r - size  in those after them, of which there are as many
    value = the low 32 bits of h

A place keeps the least value of the first round that deals it any; rounds go on until no place is left. This is the fast
similarity sketch of Dahlgaard, Knudsen and Thorup (2017): as good an estimate as `size` permutations of all shingles give, for
one round over a document with many shingles (more than size ln size, about) and a few over a shorter one.
"""

from itertools import count
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.facts.shingles import BLOCK, numbers_of, shingles
from tokenmill.facts.sidecar import Sidecar
from tokenmill.facts.texts import Texts
from tokenmill.record import FileDigest
from tokenmill.splitmix import GOLDEN, mixed

#: Ids of a shingle.
WIDTH = 5
#: Documents of a row group.
GROUP = 1 << 13
#: Greater than a round and a value in it can be, the round in the high bits.
NOTHING = np.uint64((1 << 64) - 1)
LOW = np.uint64(0xFFFFFFFF)
#: The round before which shingles that a document has more than once are thrown out: few documents come so far, and a long one
#: that does has many alike. No signature depends on it.
DISTINCT = 8


class Minhash:
    """Signatures of the documents of one shard."""

    def __init__(self, output: str, index: int, size: int) -> None:
        """
        Args:
            size: numbers of a signature.
        """
        self._size, self._documents = size, 0
        kinds = {"document": pa.int64(), "signature": pa.list_(pa.uint32(), size)}
        schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
        self._file = Sidecar(output, index, "minhash", schema, GROUP)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.__exit__(kind, error, trace)

    def add(self, texts: Texts) -> None:
        """Take documents."""
        numbers = pa.array(np.arange(self._documents, self._documents + len(texts)))
        values = pa.array(signatures(texts, self._size).reshape(-1))
        self._file.add(numbers, pa.FixedSizeListArray.from_arrays(values, self._size))
        self._documents += len(texts)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name."""
        return (self._file.publish(),)


def signatures(texts: Texts, size: int) -> NDArray[np.uint32]:
    """The signatures of some documents, a row for each."""
    kept = np.full((len(texts), size), NOTHING)
    short, of_short = _short(texts)
    _deal(kept, short, of_short, 0)
    for found in shingles(texts, WIDTH):
        _deal(kept, found.numbers, found.documents, 0)
    numbers, documents = _of_those_left(texts, kept, short, of_short)
    for turn in count(1):
        if not len(numbers):
            return (kept & LOW).astype(np.uint32)
        if turn == DISTINCT:
            numbers, documents = _distinct(numbers, documents)
        for start in range(0, len(numbers), BLOCK):
            _deal(kept, numbers[start : start + BLOCK], documents[start : start + BLOCK], turn)
        left = (kept == NOTHING).any(axis=1)[documents]
        numbers, documents = numbers[left], documents[left]
    raise AssertionError("count ends never")


def _deal(kept: NDArray[np.uint64], numbers: NDArray[np.uint64], documents: NDArray[np.int64], turn: int) -> None:
    """Deal shingles to the places of their documents' signatures, for one round."""
    size = kept.shape[1]
    values = mixed(numbers + np.uint64(turn * GOLDEN & 0xFFFFFFFFFFFFFFFF))
    places = documents * size
    if turn < size:
        places += ((values >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)).view(np.int64)
    else:
        places += turn - size
    values &= LOW
    values |= np.uint64(turn << 32)
    np.minimum.at(kept.reshape(-1), places, values)


def _short(texts: Texts) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The shingles of documents that have fewer ids than one has, and whose they are."""
    lengths = texts.stops - texts.starts
    numbers, documents = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for width in range(1, WIDTH):
        own = np.flatnonzero(lengths == width)
        ids = texts.ids[texts.starts[own][:, None] + np.arange(width)]
        numbers.append(numbers_of(ids.reshape(-1), width)[::width])
        documents.append(own)
    return np.concatenate(numbers), np.concatenate(documents)


def _of_those_left(
    texts: Texts, kept: NDArray[np.uint64], short: NDArray[np.uint64], of_short: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """All shingles of the documents whose signatures have places left after the first round."""
    left = (kept == NOTHING).any(axis=1)
    numbers, documents = [short[left[of_short]]], [of_short[left[of_short]]]
    for found in shingles(texts, WIDTH):
        own = left[found.documents]
        numbers.append(found.numbers[own])
        documents.append(found.documents[own])
    return np.concatenate(numbers), np.concatenate(documents)


def _distinct(numbers: NDArray[np.uint64], documents: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Each shingle of a document once."""
    order = np.lexsort((numbers, documents))
    numbers, documents = numbers[order], documents[order]
    fresh = np.ones(len(numbers), np.bool_)
    fresh[1:] = (numbers[1:] != numbers[:-1]) | (documents[1:] != documents[:-1])
    return numbers[fresh], documents[fresh]
