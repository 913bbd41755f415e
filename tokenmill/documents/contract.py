"""What every reader yields, whatever the source format.

Always holds: documents come in source order; each carries its position; a record that is no document comes as a `Rejection`
at its place instead of an exception; memory is bounded by one block and the longest allowed record.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.job import Span
from tokenmill.spec import JobSpec

#: Bytes of text that make a good column: an engine's call has a price, and a bigger column only takes memory.
COLUMN_BYTES = 4 << 20
#: Characters of a rejected record that are kept for people.
EXCERPT = 200


class Reason(StrEnum):
    """Why a record did not become token ids."""

    #: No JSON.
    BROKEN_JSON = "broken_json"
    #: A row whose quotes are wrong, or that has more or fewer fields than the first row names.
    BROKEN_ROW = "broken_row"
    #: JSON, but no object.
    NOT_AN_OBJECT = "not_an_object"
    #: The field with the text is not there.
    MISSING_FIELD = "missing_field"
    #: The text is null.
    NULL_TEXT = "null_text"
    #: The text is a number, a list or an object.
    NOT_TEXT = "not_text"
    #: Bytes that are not UTF-8.
    INVALID_UTF8 = "invalid_utf8"
    #: Half of a surrogate pair (`\ud800`), which no UTF-8 can say.
    LONE_SURROGATE = "lone_surrogate"
    #: An empty text.
    EMPTY = "empty"
    #: A record longer than `--max-document-bytes`.
    TOO_LONG = "too_long"
    #: A special token's string in the text, with `--special-tokens reject`.
    SPECIAL_TOKEN = "special_token"
    #: No list of objects where the messages of a conversation should be.
    NOT_MESSAGES = "not_messages"
    #: The chat template gave an error over it.
    TEMPLATE_ERROR = "template_error"
    #: What one turn becomes depends on a later one, so that it cannot be said which text is whose.
    TURNS_UNCLEAR = "turns_unclear"
    #: No token of it would be learned from, see `tokenmill.masks`.
    NOTHING_LEARNED = "nothing_learned"
    #: Every token of it would be learned from.
    ALL_LEARNED = "all_learned"
    #: Dropped by the job's own length policy, see `tokenmill.lengths`.
    TOO_MANY_TOKENS = "too_many_tokens"
    #: Given up: workers died over it (`tokenmill.poison`).
    KILLED_WORKER = "killed_worker"
    #: Given up: it took all the memory that a worker may have.
    OUT_OF_MEMORY = "out_of_memory"
    #: Given up: it never came to its end.
    NEVER_ENDED = "never_ended"
    #: Given up: the reference itself gives an error.
    NOT_ENCODABLE = "not_encodable"


#: Reasons that reading a source again does not show.
GIVEN_UP = frozenset({Reason.KILLED_WORKER, Reason.OUT_OF_MEMORY, Reason.NEVER_ENDED, Reason.NOT_ENCODABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One record that did not become token ids, for `rejected/`."""

    file: str
    #: What `position` counts: bytes from the start of the (decompressed) file, or rows.
    unit: Literal["byte", "row"]
    position: int
    reason: Reason
    #: Value of the id field where the record could be read.
    id: str | None
    #: First characters of the record.
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Some documents in source order, and the damage met between them."""

    file: str
    #: One text per document.
    text: pa.LargeStringArray
    #: Where each document stands in its file, in `unit`s; as long as `text`.
    positions: NDArray[np.int64]
    unit: Literal["byte", "row"]
    #: Value of the id field of each document, as long as `text`; None where no such field was asked for.
    ids: list[str | None] | None
    rejected: list[Rejection]
    #: Source bytes of the span read so far, for progress.
    consumed: int
    #: A column of strings for each metadata field, as long as `text`; None where there is none.
    metadata: pa.RecordBatch | None = None
    #: What `documents.conversations` says of each document, as long as `text`; None where documents are no conversations.
    conversations: pa.RecordBatch | None = None

    def refuse(self, index: int, reason: Reason) -> Rejection:
        """The rejection of a document that was read but is not to be encoded."""
        return Rejection(
            file=self.file,
            unit=self.unit,
            position=int(self.positions[index]),
            reason=reason,
            id=self.ids[index] if self.ids is not None else None,
            excerpt=excerpt(self.text[index].as_py()),
        )


class Reader(Protocol):
    """One file per source format."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        """Yield the documents of a span. Raises BatchError when the file is not what the plan saw."""
        ...


def excerpt(record: bytes | str) -> str:
    """The first characters of a record, readable whatever it holds."""
    if isinstance(record, str):
        return record[:EXCERPT].encode("utf-8", "replace").decode()
    return record[: 4 * EXCERPT].decode("utf-8", "replace")[:EXCERPT]
