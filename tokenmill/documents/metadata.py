"""`metadata/000042.parquet`: what is known of each document of a shard, one row per document, in the shard's order.

Comes in: documents, and which of them went into the shard. Goes out: the file, if metadata was asked for. Columns: `document`
(index in the shard), `file`, `position`, `unit`, `id`, where documents may be split `piece` (which of its document's, from 0),
then the fields of `--metadata`. Always holds: a field is a string in every batch, whatever its rows hold: text as it is,
anything else as its JSON, null where a record has no such field; the rows of a shuffled shard wait on disk, not in memory.
"""

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.documents.contract import COLUMN_BYTES, Documents
from tokenmill.documents.fields import given
from tokenmill.documents.sorted_rows import SortedRows
from tokenmill.record import FileDigest
from tokenmill.spec import JobSpec

KINDS = {"document": pa.int64(), "position": pa.int64(), "piece": pa.int64()}
#: What a shuffle sorts the documents start … start + count - 1 of a shard by: keys(start, count).
Keys = Callable[[int, int], NDArray[np.uint64]]


class MetadataFile:
    """The metadata of one batch, below an output folder."""

    def __init__(self, output: str, index: int, spec: JobSpec, keys: Keys | None = None) -> None:
        """
        Args:
            keys: the order of the shard's documents; None for that in which they come.
        """
        self._path, self._keys = f"metadata/{index:06d}.parquet", keys
        #: Documents that came, and that were written.
        self._documents = self._written = 0
        self._gathered: list[pa.RecordBatch] = []
        self._ready: list[pa.Table] = []
        self._names = list(spec.metadata)
        self._open = ExitStack()
        self._file: storage.Writer | None = None
        if spec.metadata:
            names = given(spec)
            self._pieces = "piece" in names
            kinds = [*(pa.field(name, KINDS.get(name, pa.string())) for name in names)]
            self._schema = pa.schema([*kinds, *(pa.field(name, pa.string()) for name in spec.metadata)])
            self._file = storage.writer(storage.join(output, self._path))
            self._writer = pq.ParquetWriter(cast("IO[bytes]", self._file), self._schema, compression="zstd")
            if keys is not None:
                self._waiting = SortedRows(self._open.enter_context(storage.scratch(output)), self._schema.remove(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()
        if self._file is not None:
            self._writer.is_open = False  # it would write its footer when it is collected, into a file that is closed
            self._file.discard()

    def append(self, found: Documents, kept: NDArray[np.int64], pieces: NDArray[np.int64]) -> None:
        """Add documents: those of `found` whose ids went into the shard, and how many documents each became there."""
        if self._file is None or not len(kept):
            return
        assert found.metadata is not None
        rows = np.repeat(kept, pieces)
        chosen = pa.array(rows, pa.int64())
        columns: list[pa.Array[Any]] = [
            pa.repeat(found.file, len(rows)),
            pa.array(found.positions[rows]),
            pa.repeat(found.unit, len(rows)),
            pa.nulls(len(rows), pa.string()) if found.ids is None else pa.array(found.ids, pa.string()).take(chosen),
        ]
        if self._pieces:
            columns.append(pa.array(np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)))
        columns += found.metadata.select(self._names).take(chosen).columns
        self._gathered.append(pa.RecordBatch.from_arrays(columns, schema=self._schema.remove(0)))
        if sum(batch.nbytes for batch in self._gathered) >= COLUMN_BYTES:
            self._pass_on()

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name; no digest if no metadata was asked for."""
        if self._file is None:
            return ()
        self._pass_on()
        if self._keys is not None:
            for rows in self._waiting:
                self._write(rows)
        self._flush()
        self._writer.close()
        return (self._file.publish(self._path),)

    def _pass_on(self) -> None:
        """Write what was gathered, or put it aside."""
        if not self._gathered:
            return
        rows, self._gathered = pa.Table.from_batches(self._gathered), []
        if self._keys is None:
            self._write(rows)
        else:
            self._waiting.add(rows, self._keys(self._documents, len(rows)))
            self._documents += len(rows)

    def _write(self, rows: pa.Table) -> None:
        self._ready.append(rows)
        if sum(table.nbytes for table in self._ready) >= COLUMN_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Write the next documents of the shard."""
        if self._ready:
            rows, self._ready = pa.concat_tables(self._ready), []
            numbers = pa.array(np.arange(self._written, self._written + len(rows)))
            self._writer.write_table(rows.add_column(0, self._schema.field(0), numbers))
            self._written += len(rows)
