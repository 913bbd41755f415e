"""Parquet: one document per row, the text in one column or more, work cut at row groups."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tokenmill import parquet, storage
from tokenmill.documents.contract import COLUMN_BYTES, Documents
from tokenmill.documents.fields import Fields
from tokenmill.documents.rows import check_columns, documents, paths
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span
from tokenmill.spec import JobSpec


def row_groups(url: str, spec: JobSpec) -> list[int]:
    """The stored bytes of each row group, from the footer alone. Raises BatchError if a column is missing or no text."""
    with storage.open_input(url) as file:
        footer = _open(file, url)
        check_columns(footer.schema_arrow, url, Fields.of(spec))
        return [_bytes(footer.metadata, group) for group in range(footer.metadata.num_row_groups)]


class ParquetReader:
    """Reads .parquet."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        fields = Fields.of(spec)
        with storage.open_input(span.url) as file:
            source = _open(file, span.url)
            check_columns(source.schema_arrow, span.url, fields)
            metadata = source.metadata
            stop = span.stop if span.cut is Cut.ROW_GROUPS else metadata.num_row_groups
            first_rows = [0]
            for group in range(metadata.num_row_groups):
                first_rows.append(first_rows[-1] + metadata.row_group(group).num_rows)
            if stop > metadata.num_row_groups:
                raise BatchError(f"{span.url} has {metadata.num_row_groups} row groups, planned were {stop}: it has changed.")
            columns = [".".join(path) for path in paths(source.schema_arrow, fields)]
            consumed = 0
            for group in range(span.start, stop):
                row, size = first_rows[group], _bytes(metadata, group)
                rows = max(1, metadata.row_group(group).num_rows)
                per_batch = max(1, min(rows, COLUMN_BYTES * rows // max(1, metadata.row_group(group).total_byte_size)))
                for batch in _batches(source, group, per_batch, columns, span.url):
                    share = (row + batch.num_rows - first_rows[group]) / rows
                    yield documents(batch, span.url, row, fields, consumed + int(size * share))
                    row += batch.num_rows
                consumed += size


def _open(file: BinaryIO, url: str) -> pq.ParquetFile:
    try:
        return parquet.opened(file)
    except pa.ArrowInvalid as error:
        raise BatchError(f"{url} is no readable Parquet file: {error}. Fetch it again or leave it out.") from error


def _bytes(metadata: pq.FileMetaData, group: int) -> int:
    row_group = metadata.row_group(group)
    return sum(row_group.column(column).total_compressed_size for column in range(row_group.num_columns))


def _batches(source: pq.ParquetFile, group: int, rows: int, columns: list[str], url: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from source.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise BatchError(f"{url}: row group {group} cannot be read: {error}. Fetch the file again or leave it out.") from error
