"""Conversations as columns: of rows of an Arrow table, and of anything whose records were rendered one by one.

Comes in: rendered conversations, or record batches with the columns of a job's chat. Goes out: documents that carry what is
learned from them, and what their records themselves said. Always holds: as of `rows`, nothing in a column is taken for sound
because a file says so.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tokenmill.documents.contract import Documents, Reason, Rejection, excerpt
from tokenmill.documents.fields import Fields, Refused
from tokenmill.errors import BatchError

if TYPE_CHECKING:
    from tokenmill.chat import Conversation

#: Of each document: its spans to learn from, flat, in characters; and all strings of its record.
SCHEMA = pa.schema([("learned", pa.large_list(pa.int64())), ("said", pa.large_string())])


def columns(conversations: "Sequence[Conversation]") -> pa.RecordBatch:
    """What is to be known of rendered conversations beside their texts."""
    learned = [conversation.learned for conversation in conversations]
    said = [conversation.said for conversation in conversations]
    return pa.RecordBatch.from_arrays([pa.array(learned, SCHEMA.types[0]), pa.array(said, SCHEMA.types[1])], schema=SCHEMA)


def is_conversation(kind: pa.DataType) -> bool:
    """Whether a column's type is that of messages: a list of structs."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and pa.types.is_struct(kind.field(0).type)


def of_rows(
    read: "dict[str, pa.Array[Any]]",
    metadata: pa.RecordBatch | None,
    count: int,
    url: str,
    first_row: int,
    fields: Fields,
    consumed: int,
) -> Documents:
    """The documents of some rows.

    Args:
        read: all columns of the job that the file has, by the names the job has for them.
        metadata: those that are carried along, as text.
        count: how many rows.
    """
    for name, column in read.items():
        _check(column, url, name)
    texts: list[str] = []
    kept: list[int] = []
    ids: list[str | None] = []
    rendered: list[Conversation] = []
    rejected: list[Rejection] = []
    for row in range(count):
        try:
            try:
                record = {name: column[row].as_py() for name, column in read.items()}
            except UnicodeDecodeError:
                raise Refused(Reason.INVALID_UTF8) from None
            found = fields.document(record)
        except Refused as refused:
            shown = "" if refused.reason is Reason.INVALID_UTF8 else excerpt(str(record.get(fields.text[0])))
            rejected.append(
                Rejection(file=url, unit="row", position=first_row + row, reason=refused.reason, id=refused.name, excerpt=shown)
            )
            continue
        assert found.conversation is not None
        texts.append(found.text)
        kept.append(row)
        ids.append(found.id)
        rendered.append(found.conversation)
    return Documents(
        file=url,
        text=pa.array(texts, pa.large_string()),
        positions=np.array(kept, np.int64) + first_row,
        unit="row",
        ids=ids if fields.id is not None and fields.id in read else None,
        rejected=rejected,
        consumed=consumed,
        metadata=None if metadata is None else metadata.take(pa.array(kept, pa.int64())),
        conversations=columns(rendered),
    )


def _check(column: "pa.Array[Any]", url: str, name: str) -> None:
    """Raise BatchError if a column's offsets are not what they should be; its text is looked at row by row."""
    try:
        column.cast(_as_bytes(column.type)).validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BatchError(f"{url}: column {name!r} is damaged: {error}. Fetch the file again or leave it out.") from error


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """A type with bytes in place of text."""
    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_as_bytes(kind.value_type)))
    return kind
