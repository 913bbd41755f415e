"""JSON in one piece: an array of objects, or objects one after the other, on however many lines.

The file is cut into its values by counting brackets and quotes, so memory is bounded by the longest allowed value; each value
is then read as a line of JSON Lines is. A value that is broken inside is rejected and its neighbours are kept. What is
wrong between values, or an end in the middle of one, is an error: nobody knows how many documents are gone.
"""

import re
from collections.abc import Iterator

import numpy as np

from tokenmill.documents.compression import Blocks
from tokenmill.documents.contract import COLUMN_BYTES, EXCERPT, Documents
from tokenmill.documents.objects import Objects, Rows
from tokenmill.documents.records import BYTE_ORDER_MARK, RawRecord
from tokenmill.errors import BatchError
from tokenmill.job import Span
from tokenmill.spec import JobSpec

SOMETHING = re.compile(rb"[^ \t\r\n]")
STRUCTURE = re.compile(rb'["{}\[\]]')
SCALAR_END = re.compile(rb'[ \t\r\n,\[\]{}"]')
QUOTE, BACKSLASH, COMMA, OPEN_LIST, CLOSE_LIST = b'"\\,[]'


class JsonReader:
    """Reads .json, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        objects, gathered = Objects(spec), Rows()
        blocks, values = Blocks(span), Values(span.url, spec.max_document_bytes)
        for block in blocks:
            self._add(gathered, values.of(block), objects, span.url)
            if gathered.size >= COLUMN_BYTES:
                yield gathered.documents(span.url, min(blocks.consumed, span.bytes), objects.fields)
                gathered = Rows()
        self._add(gathered, values.end(), objects, span.url)
        if gathered.positions:
            yield gathered.documents(span.url, span.bytes, objects.fields)

    def _add(self, gathered: Rows, records: list[RawRecord], objects: Objects, url: str) -> None:
        if not records:
            return
        rows, data = None, b"\n".join(record.data for record in records)
        if not any(record.too_long for record in records):
            # a value ends where its brackets are closed, so none can be taken for part of the next
            rows = objects.at_once(data, np.array([record.position for record in records], np.int64))
        gathered.add(rows or objects.one_by_one(records, url), len(data))


class Values:
    """Cuts a stream of blocks into the values of an array, or those that stand one after the other."""

    def __init__(self, url: str, limit: int) -> None:
        self._url, self._limit = url, limit
        #: What was not given out yet, where it begins in the stream, and how far into it we have come.
        self._data, self._base, self._at = b"", 0, 0
        #: Where the value under way begins in `_data`, if there is one; and the head of one that has outgrown the limit.
        self._begin: int | None = None
        self._head: RawRecord | None = None
        self._depth, self._quoted = 0, False
        #: Whether this is an array (not known before its first byte), and what may come between values.
        self._array: bool | None = None
        self._value, self._comma, self._close = True, False, False

    def of(self, block: bytes) -> list[RawRecord]:
        """The values that end in the next block."""
        self._data += block
        found: list[RawRecord] = []
        if self._array is None and len(self._data) < len(BYTE_ORDER_MARK):
            return found
        if self._array is None and self._base == 0 and self._data.startswith(BYTE_ORDER_MARK):
            self._at = max(self._at, len(BYTE_ORDER_MARK))
        while self._next() and (end := self._end_of_value()):
            found.append(self._record(end))
        self._forget()
        return found

    def end(self) -> list[RawRecord]:
        """The last value, if it is one that only the end of the file ends."""
        found = self.of(b" " * len(BYTE_ORDER_MARK))
        if self._begin is not None or (self._array and (self._value or self._comma)):
            raise BatchError(
                f"{self._url} is cut off: it ends in the middle of {'an array' if self._begin is None else 'a value'}. "
                f"Fetch it again or leave it out, then run the same command again."
            )
        return found

    def _next(self) -> bool:
        """Go to where a value begins, or go on in one; False if there is none so far."""
        while self._begin is None:
            something = SOMETHING.search(self._data, self._at)
            if something is None:
                self._at = len(self._data)
                return False
            self._at = something.start()
            octet = self._data[self._at]
            if self._array is None:
                self._array = octet == OPEN_LIST
                if self._array:
                    self._close, self._at = True, self._at + 1
                    continue
            if self._comma and octet == COMMA:
                self._value, self._comma, self._close = True, False, False
            elif self._close and octet == CLOSE_LIST:
                self._value, self._comma, self._close = False, False, False
            elif self._value and octet not in b",]}:":
                self._begin = self._at
                return True
            else:
                position, what = self._base + self._at, chr(octet)
                raise BatchError(f"{self._url} is no JSON: {what!r} at byte {position} is out of place. Mend or leave it.")
            self._at += 1
        return True

    def _end_of_value(self) -> int:
        """Where the value under way ends; 0 if that is not to be seen yet."""
        data = self._data
        assert self._begin is not None
        if not self._depth and not self._quoted and data[self._begin] not in b'"{[':
            last = SCALAR_END.search(data, self._at)
            self._at = last.start() if last else len(data)
            return self._at if last else 0
        while True:
            if self._quoted:
                at = data.find(b'"', self._at)
                self._at = at + 1 if at >= 0 else len(data)
                if at < 0:
                    return 0
                before = at
                while before and data[before - 1] == BACKSLASH:
                    before -= 1
                self._quoted = bool((at - before) % 2)
            else:
                mark = STRUCTURE.search(data, self._at)
                self._at = mark.end() if mark else len(data)
                if mark is None:
                    return 0
                octet = data[self._at - 1]
                if octet == QUOTE:
                    self._quoted = True
                    continue
                self._depth += 1 if octet in b"{[" else -1
            if not self._depth and not self._quoted:
                return self._at

    def _record(self, end: int) -> RawRecord:
        """The value that ends here."""
        assert self._begin is not None
        record = self._head or RawRecord(self._base + self._begin, self._data[self._begin : end])
        if len(record.data) > self._limit:
            record = RawRecord(record.position, record.data[: 4 * EXCERPT], too_long=True)
        self._begin = self._head = None
        if self._array:
            self._value, self._comma, self._close = False, True, True
        return record

    def _forget(self) -> None:
        """Let go of what was given out, and of all but the head of a value that is too long."""
        keep = self._at if self._begin is None else self._begin
        if self._begin is not None and len(self._data) - self._begin > self._limit:
            if self._head is None:
                head = self._data[self._begin :][: 4 * EXCERPT]
                self._head = RawRecord(self._base + self._begin, head, too_long=True)
            # what the next quote means depends on the backslashes before it; what kind of value this is, on its first byte
            escapes = len(self._data) - len(self._data.rstrip(b"\\")) if self._quoted else 0
            first = self._data[self._begin : self._begin + 1]
            self._base += len(self._data) - 1 - escapes % 2
            self._data, self._begin = first + b"\\" * (escapes % 2), 0
            self._at = len(self._data)
            return
        self._data, self._base, self._at = self._data[keep:], self._base + keep, self._at - keep
        if self._begin is not None:
            self._begin = 0
