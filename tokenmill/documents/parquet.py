"""Parquet: one document per row, the text in one column, work cut at row groups."""

from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenmill import storage
from tokenmill.documents.contract import COLUMN_BYTES, Documents, Reason, Rejection, excerpt
from tokenmill.errors import BatchError
from tokenmill.job import Cut, JobSpec, Span


def row_groups(url: str, text_field: str) -> list[int]:
    """The stored bytes of each row group, from the footer alone. Raises BatchError if the column is missing or no text."""
    with storage.open_input(url) as file:
        footer = _open(file, url)
        _check_column(footer.schema_arrow, url, text_field)
        return [_bytes(footer.metadata, group) for group in range(footer.metadata.num_row_groups)]


class ParquetReader:
    """Reads .parquet."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        with storage.open_input(span.url) as file:
            source = _open(file, span.url)
            _check_column(source.schema_arrow, span.url, spec.text_field)
            metadata = source.metadata
            stop = span.stop if span.cut is Cut.ROW_GROUPS else metadata.num_row_groups
            first_rows = [0]
            for group in range(metadata.num_row_groups):
                first_rows.append(first_rows[-1] + metadata.row_group(group).num_rows)
            if stop > metadata.num_row_groups:
                raise BatchError(f"{span.url} has {metadata.num_row_groups} row groups, planned were {stop}: it has changed.")
            columns = [spec.text_field, *([spec.id_field] if spec.id_field in source.schema_arrow.names else [])]
            consumed = 0
            for group in range(span.start, stop):
                row, size = first_rows[group], _bytes(metadata, group)
                rows = max(1, metadata.row_group(group).num_rows)
                per_batch = max(1, min(rows, COLUMN_BYTES * rows // max(1, metadata.row_group(group).total_byte_size)))
                for batch in _batches(source, group, per_batch, columns, span.url):
                    share = (row + batch.num_rows - first_rows[group]) / rows
                    yield _documents(batch, span.url, row, spec, consumed + int(size * share))
                    row += batch.num_rows
                consumed += size


def _open(file: BinaryIO, url: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise BatchError(f"{url} is no readable Parquet file: {error}. Fetch it again or leave it out.") from error


def _check_column(schema: pa.Schema, url: str, text_field: str) -> None:
    if text_field not in schema.names:
        raise BatchError(f"{url} has no column {text_field!r}; it has {', '.join(schema.names)}. Name one with --text-field.")
    kind = schema.field(text_field).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise BatchError(f"{url}: column {text_field!r} holds {kind}, not text. Name another with --text-field.")


def _bytes(metadata: pq.FileMetaData, group: int) -> int:
    row_group = metadata.row_group(group)
    return sum(row_group.column(column).total_compressed_size for column in range(row_group.num_columns))


def _batches(source: pq.ParquetFile, group: int, rows: int, columns: list[str], url: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from source.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise BatchError(f"{url}: row group {group} cannot be read: {error}. Fetch the file again or leave it out.") from error


def _documents(batch: pa.RecordBatch, url: str, first_row: int, spec: JobSpec, consumed: int) -> Documents:
    # by name: columns come in the file's order, not in the order asked for
    column = cast("pa.LargeStringArray", batch.column(spec.text_field).cast(pa.large_string()))
    positions = np.arange(first_row, first_row + batch.num_rows)
    ids: list[str | None] | None = None
    if spec.id_field in batch.schema.names:
        ids = [None if value is None else str(value) for value in batch.column(spec.id_field).to_pylist()]
    reasons: dict[int, tuple[Reason, str]] = {}
    for index in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
        reasons[index] = (Reason.NULL_TEXT, "")
    sizes = pc.binary_length(column).to_numpy(zero_copy_only=False)  # NaN for null
    for index in np.flatnonzero(sizes > spec.max_document_bytes).tolist():
        reasons[index] = (Reason.TOO_LONG, excerpt(_raw(column, index)))
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:  # Parquet does not promise UTF-8; find the rows that are not
        for index in range(batch.num_rows):
            raw = _raw(column, index)
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                reasons[index] = (Reason.INVALID_UTF8, excerpt(raw))
    rejected = [
        Rejection(
            file=url, unit="row", position=first_row + i, reason=reason, id=None if ids is None else ids[i], excerpt=shown
        )
        for i, (reason, shown) in sorted(reasons.items())
    ]
    if reasons:
        good = np.setdiff1d(np.arange(batch.num_rows), list(reasons))
        column, positions = column.take(pa.array(good)), positions[good]
        ids = None if ids is None else [ids[index] for index in good.tolist()]
    return Documents(file=url, text=column, positions=positions, unit="row", ids=ids, rejected=rejected, consumed=consumed)


def _raw(column: pa.LargeStringArray, index: int) -> bytes:
    """The bytes of one value, whether or not they are UTF-8."""
    value: bytes | None = column.cast(pa.large_binary())[index].as_py()
    return value or b""
