"""`facts/000042.tokens.parquet` and `.lengths.parquet`: how often each id stands in a shard, and how long its documents are.

Comes in: documents. Goes out: (`id`, `count`) for each id that occurs, by id; (`length`, `count`) for each length in tokens
that occurs, by length. Always holds: BOS and EOS are counted, padding is not, so that the counts of ids add up to the shard's
tokens, those of lengths to its documents.
"""

from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.facts.contract import Told
from tokenmill.facts.sidecar import Sidecar
from tokenmill.facts.texts import Texts
from tokenmill.record import FileDigest

#: Rows of a row group.
GROUP = 1 << 17


class Histograms:
    """Counts the ids and the lengths of one shard."""

    def __init__(self, output: str, index: int, vocab_size: int) -> None:
        """
        Args:
            vocab_size: above every id.
        """
        self._place = output, index
        self._tokens = np.zeros(vocab_size, np.int64)
        self._lengths = self._counts = np.empty(0, np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def add(self, texts: Texts, told: Told) -> None:
        """Count documents."""
        self._tokens += told.counts
        lengths, counts = np.unique(texts.lengths, return_counts=True)
        both, where = np.unique(np.concatenate((self._lengths, lengths)), return_inverse=True)
        self._counts = np.bincount(where, np.concatenate((self._counts, counts)), len(both)).astype(np.int64)
        self._lengths = both

    def publish(self) -> tuple[FileDigest, ...]:
        """Write what was counted."""
        ids = np.flatnonzero(self._tokens)
        tokens = self._write("tokens", "id", pa.array(ids.astype(np.uint32)), self._tokens[ids])
        return tokens, self._write("lengths", "length", pa.array(self._lengths), self._counts)

    def _write(self, name: str, column: str, values: "pa.Array[Any]", counts: NDArray[np.int64]) -> FileDigest:
        with Sidecar(*self._place, name, {column: values.type, "count": pa.int64()}, GROUP) as file:
            file.add(values, pa.array(counts))
            return file.publish()


def counts(texts: Texts, vocab_size: int) -> NDArray[np.int64]:
    """How often each id occurs, of which all are below `vocab_size`; nothing is counted if that is 0."""
    return np.bincount(texts.ids, minlength=vocab_size) if vocab_size else np.empty(0, np.int64)
