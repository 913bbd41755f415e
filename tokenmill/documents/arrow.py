"""Arrow IPC: files, which are cut at record batches, and streams, which are read as a whole.

`.arrow`, `.feather` (version 2) and `.ipc` may be either; the first bytes tell. A stream has to end with its end mark: one that
was cut off between two record batches would else look whole.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from tokenmill import storage
from tokenmill.documents import ipc
from tokenmill.documents.contract import COLUMN_BYTES, Documents
from tokenmill.documents.fields import Fields
from tokenmill.documents.rows import check_columns, documents, paths
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span
from tokenmill.spec import JobSpec

if TYPE_CHECKING:
    from io import IOBase

#: What ends a stream; four bytes of zeros alone before Arrow 0.15.
END_MARK = b"\xff\xff\xff\xff\0\0\0\0"


def record_batches(url: str, spec: JobSpec) -> list[int] | None:
    """The stored bytes of each record batch, from the footer alone; None for a stream, which says nothing of them beforehand.

    Raises BatchError if a column is missing or no text.
    """
    with storage.open_input(url) as file:
        is_file = _is_file(file, url)
        found = [block.size for block in ipc.blocks(file, url)] if is_file else None
        check_columns(_schema(file, url, is_file), url, Fields.of(spec))
        return found


class ArrowReader:
    """Reads .arrow, .feather and .ipc."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        fields = Fields.of(spec)
        with storage.open_input(span.url) as file:
            is_file = _is_file(file, span.url)
            batches = _of_file(file, span, fields) if is_file else _of_stream(file, span, fields)
            for batch, row, before, after in batches:
                try:
                    batch.validate()
                except pa.ArrowInvalid as error:
                    raise _unreadable(span.url, error) from error
                step = max(1, min(batch.num_rows, COLUMN_BYTES * batch.num_rows // max(1, batch.nbytes)))
                for start in range(0, batch.num_rows, step):
                    piece = batch.slice(start, step)
                    consumed = before + (after - before) * (start + piece.num_rows) // batch.num_rows
                    yield documents(piece, span.url, row + start, fields, consumed)


def _of_file(file: BinaryIO, span: Span, fields: Fields) -> Iterator[tuple[pa.RecordBatch, int, int, int]]:
    """The record batches of a file, each with its first row, and the source bytes of the span before and behind it."""
    blocks = ipc.blocks(file, span.url)
    start, stop = (span.start, span.stop) if span.cut is Cut.RECORD_BATCHES else (0, len(blocks))
    if stop > len(blocks):
        raise BatchError(f"{span.url} has {len(blocks)} record batches, planned were {stop}: it has changed.")
    row = sum(ipc.rows(file, block, span.url) for block in blocks[:start])
    parts = [ipc.schema(file, span.url), *ipc.dictionaries(file, span.url), *blocks[start:stop]]
    schema, consumed = _schema(file, span.url, is_file=True), 0
    source = _wanted(cast("BinaryIO", ipc.Parts(file, parts)), schema, span.url, fields)
    for number in range(start, stop):
        after = consumed + blocks[number].size
        try:
            batch = source.read_next_batch()
        except (pa.ArrowInvalid, OSError, StopIteration) as error:
            raise _unreadable(span.url, error) from error
        yield batch, row, consumed, after
        row, consumed = row + batch.num_rows, after


def _of_stream(file: BinaryIO, span: Span, fields: Fields) -> Iterator[tuple[pa.RecordBatch, int, int, int]]:
    schema = _schema(file, span.url, is_file=False)
    file.seek(0)
    source = _wanted(file, schema, span.url, fields)
    row = consumed = 0
    while True:
        try:
            batch = source.read_next_batch()
        except StopIteration:
            break
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(span.url, error) from error
        after = min(file.tell(), span.bytes)
        yield batch, row, consumed, after
        row, consumed = row + batch.num_rows, after
    end = file.tell()
    file.seek(max(0, end - len(END_MARK)))
    if file.read(len(END_MARK)) != END_MARK:
        raise BatchError(f"{span.url} is cut off: it ends without an end mark at byte {end}. Fetch it again or leave it out.")


def _wanted(stream: BinaryIO, schema: pa.Schema, url: str, fields: Fields) -> pa.RecordBatchStreamReader:
    """A stream opened so that no other column than the wanted ones is unpacked."""
    check_columns(schema, url, fields)
    chosen = sorted({schema.get_field_index(path[0]) for path in paths(schema, fields)})
    # a file is shown as a stream of its parts: Arrow opens one in threads of its own (pyarrow 26), as it does Parquet's
    options = pa.ipc.IpcReadOptions(included_fields=chosen, use_threads=False)
    try:
        return pa.ipc.open_stream(cast("IOBase", stream), options=options)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(url, error) from error


def _schema(file: BinaryIO, url: str, is_file: bool) -> pa.Schema:
    """The columns, as the head has them: a file is a stream behind its magic, and streams are read without Arrow's threads."""
    file.seek(ipc.HEAD if is_file else 0)
    try:
        return pa.ipc.open_stream(cast("IOBase", file)).schema
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(url, error) from error


def _is_file(file: BinaryIO, url: str) -> bool:
    """Whether this is an IPC file; if not, it is a stream, or nothing that can be read."""
    file.seek(0)
    head = file.read(len(ipc.MAGIC))
    if head.startswith(ipc.FEATHER_1):
        raise BatchError(f"{url} is Feather of version 1. Write it again with pyarrow.feather.write_feather.")
    return head == ipc.MAGIC


def _unreadable(url: str, error: Exception) -> BatchError:
    return BatchError(f"{url} is no readable Arrow file or stream: {error}. Fetch it again or leave it out.")
