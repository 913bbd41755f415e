"""Rows of fields between commas (.csv) or tabs (.tsv), one document each; the first row names the fields.

What a row is, Python's `csv` says (RFC 4180: fields with separators, quotes or line breaks in them stand in quotes), in its
strict form: a quote out of place or a row with too many or too few fields is rejected, its neighbours are kept. A line break
may stand in quotes, so a file cannot be cut at bytes. An end inside of quotes is an error: nobody knows how many
documents are gone.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import Enum, auto

from tokenmill.documents.compression import Blocks
from tokenmill.documents.contract import COLUMN_BYTES, EXCERPT, Documents, Reason
from tokenmill.documents.fields import Fields, Refused
from tokenmill.documents.gathered import Gathered
from tokenmill.documents.records import BYTE_ORDER_MARK
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span
from tokenmill.spec import JobSpec


class DelimitedReader:
    """Reads .csv or .tsv, plain or compressed."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        csv.field_size_limit(sys.maxsize)  # the limit of a record is ours
        blocks, fields = Blocks(span), Fields.of(spec)
        lines = Lines(iter(blocks), self._delimiter, spec.max_document_bytes)
        rows = csv.reader(lines, delimiter=self._delimiter, strict=True)
        header = _header(rows, span.url)
        if header is None:
            return
        columns = Columns(header, span.url, fields)
        named = fields.id in header
        gathered = Gathered(span.url, fields, named=named)
        while True:
            lines.begin()
            try:
                document = columns.document(next(rows))
                if document is not None:
                    gathered.add(lines.position, lines.taken, *document)
            except StopIteration:
                break
            except Refused as refused:
                gathered.refuse(lines.position, refused.reason, refused.name, lines.head)
            except (csv.Error, LineTooLong) as error:
                lines.skip(span.url)
                reason = Reason.TOO_LONG if isinstance(error, LineTooLong) else Reason.BROKEN_ROW
                gathered.refuse(lines.position, reason, None, lines.head)
            if gathered.size >= COLUMN_BYTES:
                yield gathered.documents(min(blocks.consumed, span.bytes))
                gathered = Gathered(span.url, fields, named=named)
        yield gathered.documents(span.bytes)

    def check(self, url: str, spec: JobSpec) -> None:
        """Raise BatchError if the first row, which alone is read, lacks a column; of damage the worker tells."""
        csv.field_size_limit(sys.maxsize)
        span = Span(url=url, cut=Cut.WHOLE, start=0, stop=0, bytes=0, size=0, mark="")
        with closing(iter(Blocks(span))) as blocks:
            lines = Lines(blocks, self._delimiter, spec.max_document_bytes)
            try:
                header = _header(csv.reader(lines, delimiter=self._delimiter, strict=True), url)
            except BatchError:
                return
        if header is not None:
            Columns(header, url, Fields.of(spec))


def _header(rows: Iterator[list[str]], url: str) -> list[str] | None:
    """The names of the fields; None if the file is empty."""
    try:
        return next(rows, None)
    except (csv.Error, LineTooLong) as error:
        said = "it is too long" if isinstance(error, LineTooLong) else str(error)
        raise BatchError(f"{url}: the first row, which names the fields, cannot be read: {said}.") from None


class LineTooLong(Exception):
    """The record under way has outgrown the limit; leaves `Lines`, never this file."""


class State(Enum):
    """Where in a row a byte stands."""

    BEGIN = auto()
    PLAIN = auto()
    QUOTED = auto()
    #: After a quote in quotes, which ends them unless another follows.
    QUOTE = auto()


class Lines:
    """The lines of a file as `csv` takes them, with an eye on the record they belong to."""

    def __init__(self, blocks: Iterator[bytes], delimiter: str, limit: int) -> None:
        self._blocks, self._limit, self._delimiter = blocks, limit, ord(delimiter)
        self._ends = re.compile(b"[\n" + re.escape(delimiter.encode()) + b"]")
        self._data, self._at, self._base = b"", 0, 0
        self._record: list[bytes] = []
        #: Where the record under way begins, and its bytes so far.
        self.position, self.taken = 0, 0

    def begin(self) -> None:
        """A new record begins with the next line."""
        self.position, self.taken, self._record = self._base + self._at, 0, []

    @property
    def head(self) -> bytes:
        """The first bytes of the record under way."""
        return b"".join(self._record)[: 4 * EXCERPT].rstrip(b"\r\n")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while (end := self._data.find(b"\n", self._at) + 1) == 0:
            if self.taken + len(self._data) - self._at > self._limit:
                self._take(len(self._data))
                raise LineTooLong
            if not self._more():
                end = len(self._data)
                break
        line = self._take(end)
        if not line:
            raise StopIteration
        if self.taken > self._limit:
            raise LineTooLong
        # what is no UTF-8 comes back as lone surrogates, to be found again
        return line.decode("utf-8", "surrogateescape")

    def skip(self, url: str) -> None:
        """Go to the end of the record under way, which cannot be read. Raises BatchError if the file ends before it does."""
        state, at = self._passed(b"".join(self._record), 0, State.BEGIN)
        while not at:
            state, at = self._passed(self._data, self._at, state)
            self._at = at or len(self._data)
            if not at and not self._more():
                break
        if state is State.QUOTED:
            raise BatchError(
                f"{url} is cut off: it ends in the quotes of the row at byte {self.position}, or that row lacks a quote. "
                f"Mend it or leave it out, then run the same command again."
            )

    def _take(self, end: int) -> bytes:
        line = self._data[self._at : end]
        self._at, self.taken = end, self.taken + len(line)
        if not self.position and not self._record:
            line = line.removeprefix(BYTE_ORDER_MARK)
        self._record.append(line)
        return line

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        block = next(self._blocks, b"")
        self._base += self._at
        self._data, self._at = self._data[self._at :] + block, 0
        return bool(block)

    def _passed(self, data: bytes, at: int, state: State) -> tuple[State, int]:
        """The state after some bytes of a record, and where the record ends; 0 if it does not end in them."""
        while at < len(data):
            octet = data[at]
            if state is State.QUOTED:
                at = data.find(b'"', at) + 1
                if not at:
                    return state, 0
                state = State.QUOTE
            elif octet == ord('"') and state is not State.PLAIN:
                state, at = State.QUOTED, at + 1
            else:
                end = self._ends.search(data, at)
                if end is None:
                    return State.PLAIN, 0
                at = end.end()
                if data[at - 1] != self._delimiter:
                    return State.BEGIN, at
                state = State.BEGIN
        return state, 0


class Columns:
    """Where in a row the wanted fields stand."""

    def __init__(self, header: list[str], url: str, fields: Fields) -> None:
        self._fields, self._width = fields, len(header)
        for name in (*fields.text, *fields.metadata):
            if header.count(name) != 1:
                found = f"has {header.count(name) or 'no'} columns {name!r}; it has {', '.join(header)}"
                raise BatchError(f"{url} {found}. Name one with {fields.option(name)}.")
        self._text = [header.index(name) for name in fields.text]
        self._metadata = [header.index(name) for name in fields.metadata]
        self._id = header.index(fields.id) if fields.id in header else None

    def document(self, row: Sequence[str]) -> tuple[str, str | None, list[str | None]] | None:
        """Text, id and metadata of a row; None for a blank line. Raises Refused if it has no text."""
        if not row:
            return None
        if len(row) != self._width:
            raise Refused(Reason.BROKEN_ROW)
        name = None if self._id is None else _sound(row[self._id])
        try:
            text = self._fields.joined([row[index] for index in self._text])
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Refused(Reason.INVALID_UTF8, name) from None
        except Refused as refused:
            raise Refused(refused.reason, name) from None
        return text, name, [_sound(row[index]) for index in self._metadata]


def _sound(value: str) -> str:
    """A value without the lone surrogates that stand for what is no UTF-8."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
