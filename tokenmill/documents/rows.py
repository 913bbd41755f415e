"""Rows of an Arrow table, one document each; what Parquet and Arrow files have in common.

Comes in: record batches, whatever their columns. Goes out: documents, and a rejection for every row that is none. Always holds:
nothing in a column is taken for sound because a file says so: offsets and UTF-8 are checked.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tokenmill.documents.contract import Documents, Reason, Rejection, excerpt
from tokenmill.documents.conversations import is_conversation, of_rows
from tokenmill.documents.fields import BESIDE, Fields, as_name, as_text
from tokenmill.errors import BatchError


def check_columns(schema: pa.Schema, url: str, fields: Fields) -> None:
    """Raise BatchError if a column that is wanted is missing, or holds no text where it should."""
    for name in (*fields.text, *fields.metadata):
        path = path_of(schema, name)
        option = fields.option(name)
        if path is None:
            raise BatchError(f"{url} has no column {name!r}; it has {', '.join(schema.names)}. Name one with {option}.")
        kind = _type(schema, path)
        if fields.chat is not None and fields.text == (name,):
            if not is_conversation(kind):
                raise BatchError(f"{url}: column {name!r} holds {kind}, not lists of messages. Name another with {option}.")
        elif name in fields.text and not _is_text(kind):
            raise BatchError(f"{url}: column {name!r} holds {kind}, not text. Name another with {option}.")


def path_of(schema: pa.Schema, name: str) -> tuple[str, ...] | None:
    """Where a column lies: at the top under that very name, or in a struct; None if there is none, or more than one."""
    if name in schema.names:
        return (name,) if schema.names.count(name) == 1 else None
    first, *rest = name.split(".")
    if not rest or schema.names.count(first) != 1:
        return None
    kind = schema.field(first).type
    for part in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return (first, *rest)


def paths(schema: pa.Schema, fields: Fields) -> list[tuple[str, ...]]:
    """Where all columns lie that are to be read."""
    return [path for name in _names(fields) if (path := path_of(schema, name)) is not None]


def _names(fields: Fields) -> list[str]:
    """All columns that are wanted, whether they are there or not."""
    beside = BESIDE if fields.chat is not None else ()
    return list(dict.fromkeys((*fields.text, *beside, *fields.metadata, *([fields.id] if fields.id else []))))


def documents(batch: pa.RecordBatch, url: str, first_row: int, fields: Fields, consumed: int) -> Documents:
    """The documents of a record batch whose columns were checked."""
    metadata = None
    if fields.metadata:
        columns = [_texts(_column(batch, name)) for name in fields.metadata]
        metadata = pa.RecordBatch.from_arrays(columns, list(fields.metadata))
    if fields.chat is not None:
        read = {name: _column(batch, name) for name in _names(fields) if path_of(batch.schema, name) is not None}
        return of_rows(read, metadata, batch.num_rows, url, first_row, fields, consumed)
    parts = [_bytes(_column(batch, name), url, name) for name in fields.text]
    positions = np.arange(first_row, first_row + batch.num_rows)
    ids: list[str | None] | None = None
    if fields.id is not None and path_of(batch.schema, fields.id) is not None:
        ids = [as_name(value) for value in _column(batch, fields.id).to_pylist()]
    column = _joined(parts, fields.between)
    reasons = _reasons(parts, column, fields.limit)
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
        metadata = None if metadata is None else metadata.take(pa.array(good))
    return Documents(
        file=url,
        text=cast("pa.LargeStringArray", column.view(pa.large_string())),
        positions=positions,
        unit="row",
        ids=ids,
        rejected=rejected,
        consumed=consumed,
        metadata=metadata,
    )


def _type(schema: pa.Schema, path: Sequence[str]) -> pa.DataType:
    kind: pa.DataType = schema.field(path[0]).type
    for part in path[1:]:
        kind = cast("pa.StructType", kind).field(part).type
    return kind


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _column(batch: pa.RecordBatch, name: str) -> "pa.Array[Any]":
    # by name: columns come in the file's order, not in the order asked for
    path = path_of(batch.schema, name)
    assert path is not None
    column = batch.column(path[0])
    for part in path[1:]:
        column = pc.struct_field(column, part)  # null where the struct is
    return column


def _bytes(column: "pa.Array[Any]", url: str, name: str) -> pa.LargeBinaryArray:
    """A text column as bytes: whether they are UTF-8 is looked at later, row by row."""
    try:
        if pa.types.is_string(column.type):
            column = column.view(pa.binary())
        elif pa.types.is_large_string(column.type):
            column = column.view(pa.large_binary())
        column.validate(full=True)
        return cast("pa.LargeBinaryArray", column.cast(pa.large_binary()))
    except pa.ArrowInvalid as error:
        raise BatchError(f"{url}: column {name!r} is damaged: {error}. Fetch the file again or leave it out.") from error


def _joined(parts: list[pa.LargeBinaryArray], between: tuple[str, ...]) -> pa.LargeBinaryArray:
    """One text out of several, null where one of them is."""
    if between == ("", ""):
        return parts[0]
    pieces: list[Any] = [piece for pair in zip(_literals(between), parts, strict=False) for piece in pair]
    text = pc.binary_join_element_wise(*pieces, *_literals((between[-1], "")))  # the last one stands between all
    return cast("pa.LargeBinaryArray", text)


def _literals(between: tuple[str, ...]) -> list[Any]:
    return [pa.scalar(text.encode(), pa.large_binary()) for text in between]


def _reasons(parts: list[pa.LargeBinaryArray], column: pa.LargeBinaryArray, limit: int) -> dict[int, tuple[Reason, str]]:
    """The rows that are no documents, why, and what to show of them."""
    reasons: dict[int, tuple[Reason, str]] = {}
    for index in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
        reasons[index] = (Reason.NULL_TEXT, "")
    sizes = pc.binary_length(column).to_numpy(zero_copy_only=False)  # NaN for null
    for index in np.flatnonzero(sizes > limit).tolist():
        reasons[index] = (Reason.TOO_LONG, excerpt(column[index].as_py()))
    for part in parts:
        try:
            part.view(pa.large_string()).validate(full=True)
        except pa.ArrowInvalid:  # neither format promises UTF-8; find the rows that are not
            for index, value in enumerate(part):
                try:
                    (value.as_py() or b"").decode("utf-8")
                except UnicodeDecodeError:
                    reasons[index] = (Reason.INVALID_UTF8, excerpt(column[index].as_py() or b""))
    return reasons


def _texts(column: "pa.Array[Any]") -> pa.StringArray:
    """A metadata column as text, see `fields`."""
    if pa.types.is_temporal(column.type):  # as Python objects they would lose their nanoseconds
        return cast("pa.StringArray", column.cast(pa.string()))
    if _is_text(column.type):
        column = column.cast(pa.large_string()).view(pa.large_binary())
    return pa.array([as_text(value) for value in column.to_pylist()], pa.string())
