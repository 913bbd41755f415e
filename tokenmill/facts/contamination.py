"""`facts/000042.contamination.parquet`: which documents hold what stands in a test set, and how much of them does.

Comes in: documents, and the test sets of the job. Goes out: (`document`, `test_set`, `grams`, `covered`, `tokens`) for each
document and test set that share a run of `GRAM` ids, by document: how many of the document's runs are the test set's, how many
of its tokens stand in such runs, and how many tokens it has (BOS and EOS are none). Always holds: nothing is dropped.

A run is looked for as its number (`facts.shingles`), 64 bits: beside ten million runs of test sets one run in 10^12 is found by
mistake. Thirteen in a row is the measure of GPT-3, which counts words; ids are what Llama 2 compares. Ids are exact and cheap
on any hardware: a copy is found wherever it stands, to the letter; white space, case or a digit that differs ends it.
"""

from collections import Counter
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.facts.contract import Matches, Told
from tokenmill.facts.shingles import shingles
from tokenmill.facts.sidecar import Sidecar
from tokenmill.facts.testsets import GRAM, Known
from tokenmill.facts.texts import Texts
from tokenmill.record import FileDigest

#: Rows of a row group.
GROUP = 1 << 17


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

    def add(self, texts: Texts, told: Told) -> None:
        """Take documents."""
        found = told.matches
        if len(found.documents):
            self._file.add(
                pa.array(found.documents + self._documents),
                pa.array(self._known.names, pa.string()).take(pa.array(found.sets, pa.int64())),
                pa.array(found.grams),
                pa.array(found.covered),
                pa.array((texts.stops - texts.starts)[found.documents]),
            )
            for number, count in enumerate(np.bincount(found.sets).tolist()):
                self._counted[self._known.names[number]] += count
        self._documents += len(texts)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name."""
        return (self._file.publish(),)


def matches(texts: Texts, known: Known) -> Matches:
    """Which documents have runs of which test sets."""
    hits: list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = [[] for _ in known.runs]
    for found in shingles(texts, GRAM) if hits else ():
        some = known.may_hold(found.numbers)
        numbers, documents, places = found.numbers[some], found.documents[some], found.places[some]
        for runs, own in zip(known.runs, hits, strict=True):
            where = np.searchsorted(runs, numbers)
            same = where < len(runs)
            same[same] = runs[where[same]] == numbers[same]
            if same.any():
                own.append((documents[same], places[same]))
    columns = [np.empty((4, 0), np.int64), *(_rows(number, own) for number, own in enumerate(hits) if own)]
    documents, sets, grams, covered = np.concatenate(columns, axis=1)
    order = np.lexsort((sets, documents))
    return Matches(documents[order], sets[order], grams[order], covered[order])


def _rows(number: int, hits: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> NDArray[np.int64]:
    """Columns for the documents in which a test set was found: document, number of the test set, its runs, ids in them."""
    documents, places = (np.concatenate(column) for column in zip(*hits, strict=True))
    covered = np.full(len(places), GRAM)
    same = documents[1:] == documents[:-1]
    covered[:-1][same] = np.minimum(np.diff(places), GRAM)[same]
    first = np.flatnonzero(np.concatenate(([True], ~same)))
    grams = np.diff(np.append(first, len(places)))
    return np.stack((documents[first], np.full(len(first), number), grams, np.add.reduceat(covered, first)))
