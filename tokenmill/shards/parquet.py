"""Parquet, for `datasets.load_dataset("parquet", …)` and everything else that reads it, writer beside reader.

Layout (Apache Parquet 2.6): one column, `input_ids`, of lists of uint16 or int32, in row groups of about a million ids, as
dictionaries and without compression: 2 bytes an id, where PLAIN takes 4 of any width and zstd twice the time. The bytes
depend on pyarrow's version, which the file states: all workers of a job have the same one.
"""

from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tokenmill import parquet, storage
from tokenmill.errors import BatchError
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import damaged, head_of
from tokenmill.shards.ids import offsets_of
from tokenmill.shards.lists import COLUMN, BatchSink, ListReader, Lists, ListWriter, dtype_of, unpacked

MAGIC = b"PAR1"
#: A dictionary of all ids of a vocabulary of a million.
DICTIONARY_BYTES = 4 << 20
#: Row groups that a reader keeps decoded.
KEPT = 4


class ParquetWriter(ListWriter):
    """Writes `shards/000042.parquet` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.parquet", dtype)

    def _open(self, file: pa.NativeFile) -> BatchSink:
        return pq.ParquetWriter(
            file, self._schema, compression="none", dictionary_pagesize_limit=DICTIONARY_BYTES, write_statistics=False
        )


class ParquetReader(ListReader):
    """Reads a row group at a time; `lengths` decodes them all once. Raises JobError if the file is cut off or none of ours."""

    def __init__(self, output: str, index: int) -> None:
        self._output, self._path = output, f"shards/{index:06d}.parquet"
        self._url = storage.join(output, self._path)
        if head_of(output, self._path, len(MAGIC)) != MAGIC:
            raise damaged(output, self._path, "is no Parquet file")
        try:
            with storage.open_input(self._url) as file:
                found = parquet.opened(file)
                self._metadata, columns = found.metadata, found.schema_arrow
        except (pa.ArrowException, OSError, BatchError) as error:
            raise damaged(output, self._path, f"is no whole Parquet file ({error})") from error
        if dtype_of(columns) is None:
            raise damaged(output, self._path, f"has other columns than {COLUMN}")
        self._batch_of = lru_cache(KEPT)(self._decoded)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        groups = range(self._metadata.num_row_groups)
        return offsets_of(np.array([self._metadata.row_group(group).num_rows for group in groups], np.int64))

    def _batch(self, place: int) -> Lists:
        return self._batch_of(place)

    def _decoded(self, group: int) -> Lists:
        try:
            with storage.open_input(self._url) as file:
                table = parquet.opened(file, self._metadata).read_row_group(group, use_threads=False)
        except (pa.ArrowException, OSError, BatchError) as error:
            raise damaged(self._output, self._path, f"cannot be decoded ({error})") from error
        return unpacked(table.column(0).combine_chunks())


FORMAT = Format(writer=ParquetWriter, reader=ParquetReader, suffixes=(".parquet",), wide="int32")
