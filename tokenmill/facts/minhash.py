"""`facts/000042.minhash.parquet`: a signature of each document, from which near-duplicates are found without comparing texts.

Comes in: documents. Goes out: (`document`, `signature`) for each, in the order of the shard; a signature is `size` numbers of
32 bits. Always holds: of two documents each place of the signatures is equal with probability J (or by chance, one in 2^32),
where J is what their shingles have in common (Jaccard: shingles of both ÷ shingles of either). So the share of equal places
estimates J.

A shingle is `WIDTH` consecutive ids of the text (BOS and EOS are none of it), or all of a text that has fewer; its number is
that of `facts.shingles`. A text without ids has a signature of 0xFFFFFFFF. All shingles of a document are dealt to the places
of its signature, in rounds r = 0, 1, 2, 3, of which the later ones are for places that are dealt none before:

    h     = splitmix64's mix of (number + r 0x9E3779B97F4A7C15)
    place = ((h >> 32) size) >> 32
    value = the low 32 bits of h

A place keeps the least value of the first round that deals it any. Place p that is dealt none at all, as happens where a
document has few shingles, takes the least of all of them under a permutation of its own: the high 32 bits of h a + b modulo
2^64, where h is that of round 0, a the mix of 2 p with its lowest bit set, b that of 2 p + 1. That is as good an estimate as
`size` permutations of all shingles, the usual MinHash, for the time of one over a long document: the fast similarity sketch
(Dahlgaard, Knudsen and Thorup, 2017), with the usual one for what it would take many rounds for.
"""

from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.facts.contract import Told
from tokenmill.facts.shingles import BLOCK, numbers_of, shingles
from tokenmill.facts.sidecar import Sidecar
from tokenmill.facts.texts import Texts
from tokenmill.record import FileDigest
from tokenmill.splitmix import GOLDEN, mixed

Numbers = NDArray[np.uint64]
#: Ids of a shingle.
WIDTH = 5
#: Documents of a row group.
GROUP = 1 << 13
#: Rounds in which shingles are dealt.
DEALS = 4
#: What a place holds that is dealt no shingle: greater than a round and a value can be, the round in the high bits.
NOTHING = np.uint64(DEALS << 32)
LOW, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)
#: Shingles whose permutations are gone through together, or those of one document.
TOGETHER = 1 << 17


class Minhash:
    """Signatures of the documents of one shard."""

    def __init__(self, output: str, index: int, size: int) -> None:
        """
        Args:
            size: numbers of a signature.
        """
        self._size, self._documents = size, 0
        kinds = {"document": pa.int64(), "signature": pa.list_(pa.uint32(), size)}
        self._file = Sidecar(output, index, "minhash", kinds, GROUP)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.__exit__(kind, error, trace)

    def add(self, texts: Texts, told: Told) -> None:
        """Take documents."""
        numbers = pa.array(np.arange(self._documents, self._documents + len(texts)))
        values = pa.array(told.signatures.reshape(-1))
        self._file.add(numbers, pa.FixedSizeListArray.from_arrays(values, self._size))
        self._documents += len(texts)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name."""
        return (self._file.publish(),)


def signatures(texts: Texts, size: int) -> NDArray[np.uint32]:
    """The signatures of some documents, a row for each; of `size` 0, where none are asked for, nothing is computed."""
    if not size:
        return np.empty((len(texts), 0), np.uint32)
    kept = np.full((len(texts), size), NOTHING)
    short, of_short = _short(texts)
    _deal(kept, short, of_short, 0)
    for found in shingles(texts, WIDTH):
        _deal(kept, found.numbers, found.documents, 0)
    numbers, documents = _of_those_left(texts, kept, short, of_short)
    for turn in range(1, DEALS):
        for start in range(0, len(numbers), BLOCK):
            _deal(kept, numbers[start : start + BLOCK], documents[start : start + BLOCK], turn)
        left = (kept == NOTHING).any(axis=1)[documents]
        numbers, documents = numbers[left], documents[left]
    _permute(kept, numbers, documents)
    return np.where(kept == NOTHING, LOW, kept & LOW).astype(np.uint32)


def _deal(kept: Numbers, numbers: Numbers, documents: NDArray[np.int64], turn: int) -> None:
    """Deal shingles to the places of their documents' signatures, for one round."""
    size = kept.shape[1]
    values = mixed(numbers + np.uint64(turn * GOLDEN & 0xFFFFFFFFFFFFFFFF))
    places = documents * size + ((values >> HIGH) * np.uint64(size) >> HIGH).view(np.int64)
    values &= LOW
    values |= np.uint64(turn << 32)
    np.minimum.at(kept.reshape(-1), places, values)


def _permute(kept: Numbers, numbers: Numbers, documents: NDArray[np.int64]) -> None:
    """Give each place that is left the least shingle under a permutation of its own; those of a document lie together."""
    values, first = mixed(numbers), np.flatnonzero(np.diff(documents, prepend=-1))
    cuts = np.searchsorted(first, np.arange(0, len(values), TOGETHER))
    for start, stop in pairwise(np.unique(np.append(cuts, len(first))).tolist()):
        last = int(first[stop]) if stop < len(first) else len(values)
        _permute_some(kept, values[first[start] : last], documents[first[start:stop]], first[start:stop] - first[start])


def _permute_some(kept: Numbers, values: Numbers, documents: NDArray[np.int64], first: NDArray[np.int64]) -> None:
    """The same for documents whose shingles, mixed, begin at `first`."""
    places, lengths = np.arange(kept.shape[1], dtype=np.uint64), np.diff(first, append=len(values))
    factors, terms = mixed(2 * places) | np.uint64(1), mixed(2 * places + 1)
    for place, factor, term in zip(places.astype(np.int64).tolist(), factors, terms, strict=True):
        left = kept[documents, place] == NOTHING
        if 2 * int(lengths[left].sum()) > len(values):  # it is not worth while to gather them
            least = np.minimum.reduceat(values * factor + term, first)[left]
        elif left.any():
            own = lengths[left]
            least = np.minimum.reduceat(values[np.repeat(left, lengths)] * factor + term, np.cumsum(own) - own)
        else:
            continue
        kept[documents[left], place] = least >> HIGH


def _short(texts: Texts) -> tuple[Numbers, NDArray[np.int64]]:
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
    texts: Texts, kept: Numbers, short: Numbers, of_short: NDArray[np.int64]
) -> tuple[Numbers, NDArray[np.int64]]:
    """All shingles of the documents whose signatures have places left after the first round."""
    left = (kept == NOTHING).any(axis=1)
    numbers, documents = [short[left[of_short]]], [of_short[left[of_short]]]
    for found in shingles(texts, WIDTH):
        own = left[found.documents]
        numbers.append(found.numbers[own])
        documents.append(found.documents[own])
    return np.concatenate(numbers), np.concatenate(documents)
