"""`metadata/000042.parquet`: what is known of each document of a shard, one row per document, in the shard's order.

Comes in: documents, and which of them went into the shard. Goes out: the file, if metadata was asked for. Columns: `document`
(index in the shard), `file`, `position`, `unit`, `id`, then the fields of `--metadata`. Always holds: a field is a string in
every batch, whatever its rows hold: text as it is, anything else as its JSON, null where a record has no such field.
"""

from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.documents.contract import COLUMN_BYTES, Documents
from tokenmill.documents.fields import GIVEN
from tokenmill.job import FileDigest, JobSpec

KINDS = (pa.int64(), pa.string(), pa.int64(), pa.string(), pa.string())
GIVEN_COLUMNS = tuple(pa.field(name, kind) for name, kind in zip(GIVEN, KINDS, strict=True))


class MetadataFile:
    """The metadata of one batch, below an output folder."""

    def __init__(self, output: str, index: int, spec: JobSpec) -> None:
        self._path, self._documents = f"metadata/{index:06d}.parquet", 0
        self._rows: list[pa.RecordBatch] = []
        self._names = list(spec.metadata)
        self._file: storage.Writer | None = None
        if spec.metadata:
            self._schema = pa.schema([*GIVEN_COLUMNS, *(pa.field(name, pa.string()) for name in spec.metadata)])
            self._file = storage.writer(storage.join(output, self._path))
            self._writer = pq.ParquetWriter(cast("IO[bytes]", self._file), self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.discard()

    def append(self, found: Documents, kept: NDArray[np.int64]) -> None:
        """Add documents: those of `found` whose ids went into the shard."""
        if self._file is None or not len(kept):
            return
        assert found.metadata is not None
        chosen = pa.array(kept, pa.int64())
        ids = pa.nulls(len(kept), pa.string()) if found.ids is None else pa.array(found.ids, pa.string()).take(chosen)
        given: list[pa.Array[Any]] = [
            pa.array(np.arange(self._documents, self._documents + len(kept))),
            pa.repeat(found.file, len(kept)),
            pa.array(found.positions[kept]),
            pa.repeat(found.unit, len(kept)),
            ids,
        ]
        columns = [*given, *found.metadata.select(self._names).take(chosen).columns]
        self._rows.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._documents += len(kept)
        if sum(rows.nbytes for rows in self._rows) >= COLUMN_BYTES:
            self._write()

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name; no digest if no metadata was asked for."""
        if self._file is None:
            return ()
        self._write()
        self._writer.close()
        return (self._file.publish(self._path),)

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._rows))
            self._rows = []
