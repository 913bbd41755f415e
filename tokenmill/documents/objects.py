"""JSON objects, one document each, whichever way they stand in their file.

Whole blocks of them go through msgspec in one call (1.1 to 1.5 GB/s on English, half of that on Chinese; pyarrow's own reader
0.4 to 0.6). A block with anything unusual in it is read again object by object, so that a bad one costs its block's speed and
nothing else. Only the fields that are wanted have to be sound: where msgspec refuses an object, Python's own parser, which
also takes NaN and lone surrogates in other fields, has the last word and gives the reason.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.chat import Conversation
from tokenmill.documents import conversations
from tokenmill.documents.contract import Documents, Reason, Rejection, excerpt
from tokenmill.documents.fields import Document, Fields, Refused, as_name
from tokenmill.documents.records import RawRecord
from tokenmill.spec import JobSpec


@dataclass(slots=True)
class Rows:
    """What came of some objects."""

    #: One array a block: its Python strings are gone before the next block is read (25 MB less than with a column's at once).
    texts: list[pa.LargeStringArray] = field(default_factory=list)
    positions: list[NDArray[np.int64]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    metadata: list[list[str | None]] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    #: Bytes of the objects.
    size: int = 0

    def add(self, rows: "Rows", size: int) -> None:
        """Add the rows of the next objects."""
        self.texts += rows.texts
        self.positions += rows.positions
        self.ids += rows.ids
        self.metadata += rows.metadata
        self.conversations += rows.conversations
        self.rejected += rows.rejected
        self.size += size

    def documents(self, url: str, consumed: int, fields: Fields) -> Documents:
        """All of it as a column."""
        return Documents(
            file=url,
            text=self.texts[0] if len(self.texts) == 1 else pa.concat_arrays(self.texts),
            positions=np.concatenate(self.positions),
            unit="byte",
            ids=self.ids if fields.id else None,
            rejected=self.rejected,
            consumed=consumed,
            metadata=fields.columns(self.metadata),
            conversations=None if fields.chat is None else conversations.columns(self.conversations),
        )


class Objects:
    """Turns JSON objects into documents, as a spec wants them."""

    def __init__(self, spec: JobSpec) -> None:
        self.fields = Fields.of(spec)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(dict)
        if self.fields.plain:
            self._decoder = msgspec.json.Decoder(_row(self.fields))

    def at_once(self, data: bytes, positions: NDArray[np.int64]) -> Rows | None:
        """Objects with white space between them, one for each position, in one call; None if any needs a closer look."""
        if self.fields.chat is not None:  # rendering takes many times what parsing does: it is not to be done twice
            return None
        try:
            rows = self._decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if len(rows) != len(positions):
            return None
        if self.fields.plain:
            ids = [as_name(row.id) for row in rows] if self.fields.id else []
            return Rows([_array([row.text for row in rows])], [positions], ids)
        try:
            found = [self.fields.document(row) for row in rows]
        except Refused:
            return None
        texts, names, metadata, _ = map(list, zip(*found, strict=True))
        return Rows([_array(texts)], [positions], names if self.fields.id else [], metadata if self.fields.metadata else [])

    def one_by_one(self, records: Iterable[RawRecord], url: str) -> Rows:
        """The same with a verdict on every object."""
        rows = Rows()
        texts: list[str] = []
        positions: list[int] = []
        for record in records:
            if not record.data.strip() and not record.too_long:
                continue
            try:
                document = self._document(record)
            except Refused as refused:
                rows.rejected.append(_rejection(url, record, refused))
                continue
            texts.append(document.text)
            positions.append(record.position)
            rows.ids.append(document.id)
            rows.metadata.append(document.metadata)
            if document.conversation is not None:
                rows.conversations.append(document.conversation)
        rows.texts.append(_array(texts))
        rows.positions.append(np.array(positions, np.int64))
        return rows

    def _document(self, record: RawRecord) -> Document:
        """Text, id and metadata of one object. Raises Refused with the reason if it has no text."""
        if record.too_long:
            raise Refused(Reason.TOO_LONG)
        try:
            row = self._decoder.decode(record.data)
            return Document(row.text, as_name(row.id), []) if self.fields.plain else self.fields.document(row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            value = json.loads(record.data.decode("utf-8"))
        except UnicodeDecodeError:
            raise Refused(Reason.INVALID_UTF8) from None
        except (ValueError, RecursionError):
            raise Refused(Reason.BROKEN_JSON) from None
        if not isinstance(value, dict):
            raise Refused(Reason.NOT_AN_OBJECT)
        return self.fields.document(value)


def _array(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def _row(fields: Fields) -> type[msgspec.Struct]:
    """What msgspec builds of an object: the text and the id; it skips every other field without building it."""
    built: list[Any] = [("text", str)]
    rename = {"text": fields.text[0]}
    if fields.id:
        built.append(("id", Any, None))
        rename["id"] = fields.id
    return msgspec.defstruct("Row", built, rename=rename, namespace={} if fields.id else {"id": None}, gc=False)


def _rejection(url: str, record: RawRecord, refused: Refused) -> Rejection:
    return Rejection(
        file=url,
        unit="byte",
        position=record.position,
        reason=refused.reason,
        id=refused.name,
        excerpt=excerpt(record.data),
    )
