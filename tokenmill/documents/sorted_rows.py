"""Rows that wait on this machine's disk until they can be had in the order of their keys.

Comes in: tables, and a key for each row, spread evenly over 64 bits. Goes out: the rows by their keys. Always holds:
memory is that of one table or of 1/256 of all rows, whichever is more; nothing is left on the disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: What is sorted at a time, by the first eight bits of the keys.
BUCKETS = 256


@dataclass(slots=True)
class Bucket:
    """Some of the rows, in the order in which they came."""

    #: Where each of their stretches lies in the file, and its bytes.
    places: list[tuple[int, int]] = field(default_factory=list)
    keys: list[NDArray[np.uint64]] = field(default_factory=list)


class SortedRows:
    """Rows by their keys."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file, self._schema = file, schema
        self._buckets = [Bucket() for _ in range(BUCKETS)]

    def add(self, rows: pa.Table, keys: NDArray[np.uint64]) -> None:
        """Put rows aside."""
        rank = np.argsort(keys)
        keys = keys[rank]
        edges = np.searchsorted(keys >> np.uint64(56), np.arange(BUCKETS + 1)).tolist()
        (batch,) = rows.take(rank).combine_chunks().to_batches()
        for bucket, start, stop in zip(self._buckets, edges[:-1], edges[1:], strict=True):
            if start < stop:
                data = batch.slice(start, stop - start).serialize()
                bucket.places.append((self._file.tell(), self._file.write(data)))
                bucket.keys.append(keys[start:stop])

    def __iter__(self) -> Iterator[pa.Table]:
        for bucket in self._buckets:
            if bucket.places:
                found = pa.Table.from_batches([self._batch(*place) for place in bucket.places])
                yield found.take(np.argsort(np.concatenate(bucket.keys)))

    def _batch(self, place: int, size: int) -> pa.RecordBatch:
        self._file.seek(place)
        return pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schema)
