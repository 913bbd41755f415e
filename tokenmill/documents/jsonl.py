"""JSON Lines: one object per line, the text in one of its fields. Blank lines are no records.

Only the text field (and the id field) has to be sound: msgspec reads the line; where it refuses, Python's own parser, which
also takes NaN and lone surrogates in other fields, has the last word and gives the reason.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from tokenmill.documents.contract import Documents, Reason, Rejection, excerpt
from tokenmill.documents.records import RawRecord, records
from tokenmill.job import JobSpec, Span


class JsonLinesReader:
    """Reads .jsonl, plain or compressed.

    Line by line, although msgspec can decode many lines in one call: that call takes two objects on one line, or one object
    across two, for sound (msgspec 0.22), and then positions and counts no longer mean lines.
    """

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        decoder = _decoder(spec)
        for found, consumed in records(span, b"\n", spec.max_document_bytes):
            texts: list[str] = []
            positions: list[int] = []
            ids: list[str | None] = []
            rejected: list[Rejection] = []
            for record in found:
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
                ids.append(None if name is None else str(name))
            yield Documents(
                file=span.url,
                text=pa.array(texts, pa.large_string()),
                positions=positions,
                unit="byte",
                ids=ids,
                rejected=rejected,
                consumed=consumed,
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
        id=None if refused.name is None else str(refused.name),
        excerpt=excerpt(record.data),
    )
