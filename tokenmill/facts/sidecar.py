"""`facts/000042.NAME.parquet`: rows that are gathered column by column, and written in groups of one size.

Always holds: the bytes are a function of the rows, however these are spread over calls; memory holds a group and what came
last.
"""

from types import TracebackType
from typing import IO, Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tokenmill import storage
from tokenmill.record import FileDigest


def path_of(index: int, name: str) -> str:
    """Where a fact about a shard stands, relative to the output."""
    return f"facts/{index:06d}.{name}.parquet"


class Sidecar:
    """Writes the rows of one fact about one shard."""

    def __init__(self, output: str, index: int, name: str, kinds: dict[str, "pa.DataType"], group: int) -> None:
        """
        Args:
            kinds: name -> type of each column; none holds nulls.
            group: rows that are written together.
        """
        self._path, self._group = path_of(index, name), group
        self._schema = pa.schema([pa.field(column, kind, nullable=False) for column, kind in kinds.items()])
        self._waiting: list[pa.Table] = []
        self._held = 0
        self._file = storage.writer(storage.join(output, self._path))
        self._table = pq.ParquetWriter(cast("IO[bytes]", self._file), self._schema, compression="zstd", use_dictionary=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._table.is_open = False  # it would write its footer when it is collected, into a file that is closed
        self._file.discard()

    def add(self, *columns: "pa.Array[Any]") -> None:
        """Add rows, a column for each kind."""
        self._waiting.append(pa.Table.from_arrays(list(columns), schema=self._schema))
        self._held += len(columns[0])
        if self._held >= self._group:
            self._write(self._held // self._group * self._group)

    def publish(self) -> FileDigest:
        """Give the file its final name."""
        self._write(self._held)
        self._table.close()
        return self._file.publish(self._path)

    def _write(self, stop: int) -> None:
        """Write so many of the rows that wait, group by group."""
        if not self._held:
            return
        rows = pa.concat_tables(self._waiting).combine_chunks()
        for start in range(0, stop, self._group):
            self._table.write_table(rows[start : min(start + self._group, stop)])
        self._waiting, self._held = [rows[stop:]], self._held - stop
