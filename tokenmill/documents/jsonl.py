"""JSON Lines: one object per line, the text in one of its fields. Blank lines are no records.

Whole blocks of lines go through msgspec in one call (1.1 to 1.5 GB/s on English, half of that on Chinese; pyarrow's own reader
0.4 to 0.6). A block with anything unusual in it is read again line by line, so that one bad line costs its block's speed and
nothing else. Only the text field (and the id field) has to be sound: where msgspec refuses a line, Python's own parser, which
also takes NaN and lone surrogates in other fields, has the last word and gives the reason.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.documents.contract import COLUMN_BYTES, Documents, Reason, Rejection, excerpt
from tokenmill.documents.records import RawRecord, Stretch, stretches
from tokenmill.job import JobSpec, Span

NEWLINE, RETURN, OPENING, CLOSING = b"\n\r{}"


class JsonLinesReader:
    """Reads .jsonl, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        decoder, gathered = _decoder(spec), _Rows()
        for stretch in stretches(span, b"\n", spec.max_document_bytes):
            rows = _at_once(stretch, spec, decoder) or _line_by_line(stretch, span.url, spec, decoder)
            gathered.add(rows, len(stretch.data))
            if gathered.size >= COLUMN_BYTES:
                yield gathered.documents(span.url, stretch.consumed, spec)
                gathered = _Rows()
        if gathered.positions:
            yield gathered.documents(span.url, span.bytes, spec)


@dataclass(slots=True)
class _Rows:
    """What came of some lines."""

    #: One array a block: its Python strings are gone before the next block is read (25 MB less than with a column's at once).
    texts: list[pa.LargeStringArray] = field(default_factory=list)
    positions: list[NDArray[np.int64]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    #: Bytes of the lines.
    size: int = 0

    def add(self, rows: "_Rows", size: int) -> None:
        """Add the rows of the next lines."""
        self.texts += rows.texts
        self.positions += rows.positions
        self.ids += rows.ids
        self.rejected += rows.rejected
        self.size += size

    def documents(self, url: str, consumed: int, spec: JobSpec) -> Documents:
        """All of it as a column."""
        return Documents(
            file=url,
            text=self.texts[0] if len(self.texts) == 1 else pa.concat_arrays(self.texts),
            positions=np.concatenate(self.positions),
            unit="byte",
            ids=self.ids if spec.id_field else None,
            rejected=self.rejected,
            consumed=consumed,
        )


def _at_once(stretch: Stretch, spec: JobSpec, decoder: msgspec.json.Decoder[Any]) -> _Rows | None:
    """All lines of a stretch in one call; None if any of them needs a closer look."""
    starts = None if stretch.too_long else _object_per_line(stretch.data, spec.max_document_bytes)
    if starts is None:
        return None
    try:
        rows = decoder.decode_lines(stretch.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(rows) != len(starts):
        return None
    ids = [_name(row.id) for row in rows] if spec.id_field else []
    return _Rows([_array([row.text for row in rows])], [starts + stretch.position], ids)


def _object_per_line(data: bytes, limit: int) -> NDArray[np.int64] | None:
    """Where each line begins, if every line may be an object and is short enough; None otherwise.

    `decode_lines` takes two objects on one line, and one object across two, for sound (msgspec 0.22). Where every newline
    stands between `}` and `{` none is inside an object; with as many objects as lines there is then exactly one on each.
    """
    if not data.endswith(b"\n"):
        data += b"\n"
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets == NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if int((ends - starts).max()) > limit:
        return None
    last = octets[np.maximum(ends - 1, 0)]
    last = np.where(last == RETURN, octets[np.maximum(ends - 2, 0)], last)
    return starts if (octets[starts] == OPENING).all() and (last == CLOSING).all() else None


def _line_by_line(stretch: Stretch, url: str, spec: JobSpec, decoder: msgspec.json.Decoder[Any]) -> _Rows:
    """The same with a verdict on every line."""
    rows = _Rows()
    texts: list[str] = []
    positions: list[int] = []
    for record in stretch.records(b"\n", spec.max_document_bytes):
        try:
            if record.too_long:
                raise _Refused(Reason.TOO_LONG)
            try:
                row = decoder.decode(record.data)
                text, name = row.text, row.id
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if not record.data.strip():
                    continue
                text, name = _second_look(record.data, spec)
        except _Refused as refused:
            rows.rejected.append(_rejection(url, record, refused))
            continue
        texts.append(text)
        positions.append(record.position)
        rows.ids.append(_name(name))
    rows.texts.append(_array(texts))
    rows.positions.append(np.array(positions, np.int64))
    return rows


def _array(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


class _Refused(Exception):
    """Leaves the decoding of one line; never leaves this file."""

    def __init__(self, reason: Reason, name: object = None) -> None:
        self.reason, self.name = reason, name


def _decoder(spec: JobSpec) -> msgspec.json.Decoder[Any]:
    """A decoder that builds the text and the id, and skips every other field without building it."""
    fields: list[Any] = [("text", str)]
    rename = {"text": spec.text_field}
    if spec.id_field:
        fields.append(("id", Any, None))
        rename["id"] = spec.id_field
    row = msgspec.defstruct("Row", fields, rename=rename, namespace={} if spec.id_field else {"id": None}, gc=False)
    return msgspec.json.Decoder(row)


def _second_look(data: bytes, spec: JobSpec) -> tuple[str, object]:
    """The text and id of a line that msgspec refused. Raises _Refused with the reason if it has no text."""
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _Refused(Reason.INVALID_UTF8) from None
    except (ValueError, RecursionError):
        raise _Refused(Reason.BROKEN_JSON) from None
    if not isinstance(value, dict):
        raise _Refused(Reason.NOT_AN_OBJECT)
    name = value.get(spec.id_field) if spec.id_field else None
    if spec.text_field not in value:
        raise _Refused(Reason.MISSING_FIELD, name)
    text = value[spec.text_field]
    if text is None:
        raise _Refused(Reason.NULL_TEXT, name)
    if not isinstance(text, str):
        raise _Refused(Reason.NOT_TEXT, name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _Refused(Reason.LONE_SURROGATE, name) from None
    return text, name


def _rejection(url: str, record: RawRecord, refused: _Refused) -> Rejection:
    return Rejection(
        file=url,
        unit="byte",
        position=record.position,
        reason=refused.reason,
        id=_name(refused.name),
        excerpt=excerpt(record.data),
    )


def _name(value: object) -> str | None:
    return None if value is None else str(value)
