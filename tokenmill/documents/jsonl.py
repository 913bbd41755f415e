"""JSON Lines: one object per line, the text in one of its fields. Blank lines are no records.

Whole blocks of lines go through msgspec in one call (1.1 to 1.5 GB/s on English, half of that on Chinese; pyarrow's own reader
0.4 to 0.6). A block with anything unusual in it is read again line by line, so that one bad line costs its block's speed and
nothing else. Only the text field (and the id field) has to be sound: where msgspec refuses a line, Python's own parser, which
also takes NaN and lone surrogates in other fields, has the last word and gives the reason.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.documents.contract import Documents, Reason, Rejection, excerpt
from tokenmill.documents.records import RawRecord, Stretch, stretches
from tokenmill.job import JobSpec, Span

NEWLINE, RETURN, OPENING, CLOSING = b"\n\r{}"


class JsonLinesReader:
    """Reads .jsonl, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        decoder = _decoder(spec)
        for stretch in stretches(span, b"\n", spec.max_document_bytes):
            yield _at_once(stretch, span, spec, decoder) or _line_by_line(stretch, span, spec, decoder)


def _at_once(stretch: Stretch, span: Span, spec: JobSpec, decoder: msgspec.json.Decoder[Any]) -> Documents | None:
    """All lines of a stretch in one call; None if any of them needs a closer look."""
    starts = _object_per_line(stretch.data, spec.max_document_bytes)
    if stretch.too_long or starts is None:
        return None
    try:
        rows = decoder.decode_lines(stretch.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(rows) != len(starts):
        return None
    return Documents(
        file=span.url,
        text=pa.array([row.text for row in rows], pa.large_string()),
        positions=starts + stretch.position,
        unit="byte",
        ids=[_name(row.id) for row in rows] if spec.id_field else None,
        rejected=[],
        consumed=stretch.consumed,
    )


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


def _line_by_line(stretch: Stretch, span: Span, spec: JobSpec, decoder: msgspec.json.Decoder[Any]) -> Documents:
    """The same with a verdict on every line."""
    texts: list[str] = []
    positions: list[int] = []
    ids: list[str | None] = []
    rejected: list[Rejection] = []
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
            rejected.append(_rejection(span.url, record, refused))
            continue
        texts.append(text)
        positions.append(record.position)
        ids.append(_name(name))
    return Documents(
        file=span.url,
        text=pa.array(texts, pa.large_string()),
        positions=np.array(positions, np.int64),
        unit="byte",
        ids=ids if spec.id_field else None,
        rejected=rejected,
        consumed=stretch.consumed,
    )


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
