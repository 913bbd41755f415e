"""Which fields of a record make a document: its text, its id, its metadata.

Comes in: a spec. Goes out: names of fields, and the text, id and metadata of one JSON object. Always holds: a field of that
very name wins over the path that a name with dots also is (`data.text`); metadata is text whatever the source holds, so that
every batch's has the same type: a string as it is, anything else as its JSON.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, NamedTuple, Self

import pyarrow as pa

from tokenmill.chat import Conversation, Conversations, Unfit
from tokenmill.documents.contract import Reason
from tokenmill.errors import UsageError
from tokenmill.spec import JobSpec, OverLength

#: What a conversation may have beside its messages.
BESIDE = ("tools", "documents")
MISSING = object()


def given(spec: JobSpec) -> tuple[str, ...]:
    """What `metadata/` says of every document, whatever was asked for."""
    return ("document", "file", "position", "unit", "id", *["piece"] * (spec.over_length is OverLength.SPLIT))


class Refused(Exception):
    """A record is no document; leaves the reading of that record, never this room."""

    def __init__(self, reason: Reason, name: str | None = None) -> None:
        self.reason, self.name = reason, name


class Document(NamedTuple):
    """What a record says."""

    text: str
    id: str | None
    metadata: list[str | None]
    #: What the text was rendered from, in a job with chat.
    conversation: Conversation | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields that a job reads."""

    #: Fields whose texts make the document.
    text: tuple[str, ...]
    #: What stands before the first, between them, and after the last.
    between: tuple[str, ...]
    id: str | None
    metadata: tuple[str, ...]
    #: Bytes that a document may have.
    limit: int
    #: Renders records whose text is no text yet, but a conversation.
    chat: Conversations | None = None

    @classmethod
    def of(cls, spec: JobSpec) -> Self:
        """The fields of a spec. Raises UsageError if it names them in a way that means nothing."""
        text, between = ((spec.text_field,), ("", "")) if spec.text_template is None else _parsed(spec.text_template)
        for name in spec.metadata:
            if name in given(spec):
                raise UsageError(f"--metadata {name}: metadata/ has a column of that name already. See --id-field for ids.")
            if spec.metadata.count(name) > 1:
                raise UsageError(f"--metadata {name} is given twice. Give it once.")
        split = () if spec.partition_by is None or spec.partition_by in spec.metadata else (spec.partition_by,)
        carried = (*spec.metadata, *split)
        if spec.chat is not None:
            chat = Conversations(spec.chat)
            return cls(spec.chat.fields, ("", ""), spec.id_field, carried, spec.max_document_bytes, chat)
        return cls(text, between, spec.id_field, carried, spec.max_document_bytes)

    @property
    def plain(self) -> bool:
        """Whether all that is wanted is the text of one field, and an id at most, both by their own names."""
        names = (*self.text, self.id or "")
        return (
            self.chat is None
            and len(self.text) == 1
            and self.between == ("", "")
            and not self.metadata
            and not any("." in n for n in names)
        )

    def option(self, name: str) -> str:
        """The option that names a field."""
        if name not in self.text:
            return "--metadata"
        if self.chat is not None:
            return "--messages-field" if len(self.text) == 1 else "--prompt-field and --response-field"
        return "--text-field" if self.between == ("", "") else "--text-template"

    def joined(self, texts: Sequence[str]) -> str:
        """A document's text. Raises Refused if it is too long, as only one of several fields can be."""
        if self.between == ("", ""):
            return texts[0]
        text = "".join(piece for pair in zip(self.between, texts, strict=False) for piece in pair) + self.between[-1]
        if len(text) > self.limit or len(text.encode("utf-8", "replace")) > self.limit:
            raise Refused(Reason.TOO_LONG)
        return text

    def document(self, record: Mapping[str, Any]) -> Document:
        """Text, id and metadata of a JSON object. Raises Refused if it has no text."""
        name = None if self.id is None else as_name(look_up(record, self.id))
        if self.chat is not None:
            conversation = self._conversation(self.chat, record, name)
            return Document(conversation.text, name, self._metadata(record), conversation)
        texts = []
        for field in self.text:
            text = look_up(record, field)
            if not isinstance(text, str):
                reasons = {id(MISSING): Reason.MISSING_FIELD, id(None): Reason.NULL_TEXT}
                raise Refused(reasons.get(id(text), Reason.NOT_TEXT), name)
            texts.append(text)
        try:
            text = self.joined(texts)
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Refused(Reason.LONE_SURROGATE, name) from None
        except Refused as refused:
            raise Refused(refused.reason, name) from None
        return Document(text, name, self._metadata(record))

    def _metadata(self, record: Mapping[str, Any]) -> list[str | None]:
        return [as_text(look_up(record, field)) for field in self.metadata]

    def _conversation(self, chat: Conversations, record: Mapping[str, Any], name: str | None) -> Conversation:
        """A record's conversation, rendered. Raises Refused."""
        found = [look_up(record, field) for field in self.text]
        reasons = {id(MISSING): Reason.MISSING_FIELD, id(None): Reason.NULL_TEXT}
        for value in found:
            if id(value) in reasons:
                raise Refused(reasons[id(value)], name)
        if len(found) == 2:
            if not all(isinstance(text, str) for text in found):
                raise Refused(Reason.NOT_TEXT, name)
            messages: Any = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), found, strict=True)]
        else:
            messages = found[0]
        try:
            conversation = chat.of(messages, *(record.get(beside) for beside in BESIDE))
            size = len(conversation.text.encode())
            conversation.said.encode()
        except Unfit as unfit:
            raise Refused(Reason(unfit.why), name) from None
        except UnicodeEncodeError:
            raise Refused(Reason.LONE_SURROGATE, name) from None
        if size > self.limit:
            raise Refused(Reason.TOO_LONG, name)
        return conversation

    def columns(self, rows: Iterable[Sequence[str | None]]) -> pa.RecordBatch | None:
        """The metadata of some documents; None where none is wanted."""
        if not self.metadata:
            return None
        columns = list(zip(*rows, strict=True)) or [()] * len(self.metadata)
        return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], list(self.metadata))


def _parsed(template: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields of a template and what stands around them."""
    fields, between = [], [""]
    try:
        for literal, field, form, conversion in Formatter().parse(template):
            between[-1] += literal
            if field is None:
                continue
            if not field or form or conversion:
                raise ValueError("a field is its name in braces, and nothing else")
            fields.append(field)
            between.append("")
    except ValueError as error:
        raise UsageError(f"--text-template {template!r}: {error}. Write a brace that is text twice: {{{{ or }}}}.") from None
    if not fields:
        raise UsageError(f"--text-template {template!r} names no field. Put the name of one in braces, such as {{text}}.")
    return tuple(fields), tuple(between)


def look_up(record: Mapping[str, Any], name: str) -> Any:
    """A field's value; null where something on the way to it is null, MISSING where there is no way."""
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        if value is None:
            return None
        value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
    return value


def as_name(value: Any) -> str | None:
    """An id as text."""
    return None if value is None or value is MISSING else str(value)


def as_text(value: Any) -> str | None:
    """A metadata value as text."""
    if value is None or value is MISSING:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | int | float | list | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return str(value).encode("utf-8", "replace").decode()
