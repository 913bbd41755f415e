"""`facts/000042.contamination.parquet`: which documents hold what stands in a test set, and how much of them does.

Comes in: documents, and the test sets of the job. Goes out: (`document`, `test_set`, `grams`, `covered`, `tokens`) for each
document and test set that share a run of `GRAM` ids, by document: how many of the document's runs are the test set's, how many
of its tokens stand in such runs, and how many tokens it has (BOS and EOS are none). Always holds: nothing is dropped.

A run is looked for as its number (`facts.shingles`), 64 bits: beside ten million runs of test sets one run in 10^12 is found by
mistake. Thirteen in a row is the measure of GPT-3, which counts words; ids are what Llama 2 compares. Ids are exact and cheap
on any hardware: a copy is found wherever it stands, to the letter; white space, case or a digit that differs ends it.

`contamination/NAME.npy`, below the output, holds the runs of a test set, sorted: its file is read once, when the job is asked
for.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.engines import Tokens
from tokenmill.errors import JobError
from tokenmill.facts.shingles import shingles
from tokenmill.facts.sidecar import Sidecar
from tokenmill.facts.texts import Ends, Texts
from tokenmill.record import FileDigest
from tokenmill.spec import HeldOut

#: Ids of a run.
GRAM = 13
#: Rows of a row group.
GROUP = 1 << 17
Numbers = NDArray[np.uint64]


def runs_of(tokens: Tokens) -> Numbers:
    """All runs in some texts, sorted, each once; the texts have neither BOS nor EOS."""
    texts = Ends(bos=False, eos=False, marked=False).texts(tokens.ids, tokens.lengths)
    parts = [found.numbers for group in texts.groups() for found in shingles(group, GRAM)]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def pinned(runs: Numbers) -> bytes:
    """The content of the file that holds a test set's runs."""
    file = io.BytesIO()
    np.lib.format.write_array(file, runs.astype("<u8"), version=(1, 0), allow_pickle=False)
    return file.getvalue()


@dataclass(frozen=True)
class Known:
    """The runs of all test sets of a job."""

    names: tuple[str, ...]
    #: Sorted, each once.
    runs: tuple[Numbers, ...]

    @cached_property
    def bits(self) -> int:
        """The sieve has 2^bits bits: a sixteenth of them are set, or fewer, up to 32 MiB."""
        return min(max(sum(map(len, self.runs)) * 16, 1 << 10).bit_length(), 28)

    @cached_property
    def sieve(self) -> NDArray[np.uint8]:
        """A bit for each value of a number's high bits, set where one is known; bit 0 of a byte is the first."""
        sieve = np.zeros(1 << self.bits >> 3, np.uint8)
        for runs in self.runs:
            high = runs >> np.uint64(64 - self.bits)
            np.bitwise_or.at(sieve, high >> np.uint64(3), np.uint8(1) << (high & np.uint64(7)).astype(np.uint8))
        return sieve

    def may_hold(self, numbers: Numbers) -> NDArray[np.int64]:
        """Which of some numbers may be known; most are told from the sieve alone."""
        high = numbers >> np.uint64(64 - self.bits)
        bits = self.sieve.take((high >> np.uint64(3)).view(np.int64))
        bits >>= (high & np.uint64(7)).astype(np.uint8)
        return np.flatnonzero(bits & np.uint8(1))


@lru_cache(maxsize=4)
def known(output: str, sets: tuple[HeldOut, ...]) -> Known:
    """The test sets that a job has in its output. Raises JobError if one is not what it was."""
    return Known(tuple(one.name for one in sets), tuple(_read(output, one.file) for one in sets))


def _read(output: str, file: FileDigest) -> Numbers:
    url = storage.join(output, file.path)
    data = storage.find(url)
    if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
        what = "is missing" if data is None else "is not what the job was made with"
        raise JobError(f"{url} {what}. Ask for the same job again, into an empty folder if it has changed.")
    runs: Numbers = np.load(io.BytesIO(data), allow_pickle=False)
    return runs


class Contamination:
    """Looks for test sets in the documents of one shard."""

    def __init__(self, output: str, index: int, sets: Known, counted: Counter[str]) -> None:
        """
        Args:
            counted: gets the documents added in which a test set was found, by its name.
        """
        self._known, self._counted, self._documents = sets, counted, 0
        kinds: dict[str, pa.DataType] = {"document": pa.int64(), "test_set": pa.string()}
        kinds |= dict.fromkeys(("grams", "covered", "tokens"), pa.int64())
        self._file = Sidecar(output, index, "contamination", kinds, GROUP)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.__exit__(kind, error, trace)

    def add(self, texts: Texts) -> None:
        """Take documents."""
        found = [_rows(number, own) for number, own in enumerate(self._hits(texts)) if own]
        if found:
            document, test_set, grams, covered = (np.concatenate(column) for column in zip(*found, strict=True))
            order = np.lexsort((test_set, document))
            document, test_set = document[order], test_set[order]
            self._file.add(
                pa.array(document + self._documents),
                pa.array(self._known.names, pa.string()).take(pa.array(test_set)),
                pa.array(grams[order]),
                pa.array(covered[order]),
                pa.array((texts.stops - texts.starts)[document]),
            )
            for number, count in enumerate(np.bincount(test_set).tolist()):
                self._counted[self._known.names[number]] += count
        self._documents += len(texts)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name."""
        return (self._file.publish(),)

    def _hits(self, texts: Texts) -> Iterable[list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
        """For each test set, where its runs stand: documents and places, in order."""
        hits: list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = [[] for _ in self._known.runs]
        for found in shingles(texts, GRAM):
            some = self._known.may_hold(found.numbers)
            numbers, documents, places = found.numbers[some], found.documents[some], found.places[some]
            for runs, own in zip(self._known.runs, hits, strict=True):
                where = np.searchsorted(runs, numbers)
                same = where < len(runs)
                same[same] = runs[where[same]] == numbers[same]
                if same.any():
                    own.append((documents[same], places[same]))
        return hits


def _rows(number: int, hits: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[NDArray[np.int64], ...]:
    """Rows for the documents in which a test set was found: document, number of the test set, its runs, ids in them."""
    documents, places = (np.concatenate(column) for column in zip(*hits, strict=True))
    covered = np.full(len(places), GRAM)
    same = documents[1:] == documents[:-1]
    covered[:-1][same] = np.minimum(np.diff(places), GRAM)[same]
    first = np.flatnonzero(np.concatenate(([True], ~same)))
    grams = np.diff(np.append(first, len(places)))
    return documents[first], np.full(len(first), number), grams, np.add.reduceat(covered, first)
