"""Where the record batches of an Arrow IPC file lie, and how many rows each has: what pyarrow does not say.

Comes in: an open file. Goes out: blocks, from the footer; rows, from the head of a block; a stream of some blocks. Format:
Arrow columnar format, "IPC File Format" (`File.fbs`, `Message.fbs`): a FlatBuffers footer before its length and `ARROW1`.
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from tokenmill.errors import BatchError

MAGIC, FEATHER_1 = b"ARROW1", b"FEA1"
#: Bytes of the magic and its padding.
HEAD = 8
#: A footer is a schema and 24 bytes for each record batch; a file that claims more is none.
LARGEST_FOOTER = 256 << 20
#: In `File.fbs`: offset in the file, bytes of the head, bytes of the columns.
BLOCK = struct.Struct("<qi4xq")
#: Fields of the tables Footer, Message and RecordBatch, by their place in the schema.
DICTIONARIES, RECORD_BATCHES, HEADER, LENGTH = 2, 3, 2, 0
#: What a message begins with since Arrow 0.15, before its length.
ONES = b"\xff" * 4


@dataclass(frozen=True, slots=True)
class Block:
    """A message as it lies in its file: a record batch, a dictionary, the schema."""

    offset: int
    head: int
    body: int

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return self.head + self.body


class Parts(io.RawIOBase):
    """Some messages of a file, one after the other: a stream, if the schema is the first."""

    def __init__(self, file: BinaryIO, blocks: list[Block]) -> None:
        self._file, self._left = file, [(block.offset, block.offset + block.size) for block in reversed(blocks)]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As much of one message as is wanted; nothing reads two at once."""
        if not self._left:
            return b""
        begin, end = self._left.pop()
        self._file.seek(begin)
        found = self._file.read(min(size, end - begin) if size >= 0 else end - begin)
        if found and begin + len(found) < end:
            self._left.append((begin + len(found), end))
        return found


def schema(file: BinaryIO, url: str) -> Block:
    """Where the columns are told, at the head of an IPC file. Raises BatchError if there is nothing."""
    file.seek(HEAD)
    head = file.read(8)
    if len(head) < 8:
        raise BatchError(f"{url} is no readable Arrow file: it ends behind its first bytes. Fetch it again or leave it out.")
    since = head[:4] == ONES
    return Block(HEAD, struct.unpack("<i", head[4:] if since else head[:4])[0] + (8 if since else 4), 0)


def dictionaries(file: BinaryIO, url: str) -> list[Block]:
    """The dictionaries of an IPC file, in order. Raises BatchError if its footer is none."""
    return _listed(file, url, DICTIONARIES)


def blocks(file: BinaryIO, url: str) -> list[Block]:
    """The record batches of an IPC file, in order. Raises BatchError if its footer is none."""
    return _listed(file, url, RECORD_BATCHES)


def _listed(file: BinaryIO, url: str, kind: int) -> list[Block]:
    size = file.seek(0, os.SEEK_END)
    try:
        file.seek(max(0, size - 10))
        (length,) = struct.unpack_from("<i", tail := file.read(10))
        if tail[4:] != MAGIC or not 0 < length <= min(size, LARGEST_FOOTER):
            raise ValueError("its end mark is missing")
        file.seek(size - 10 - length)
        footer = _Table.root(file.read(length))
        found = [Block(*BLOCK.unpack_from(footer.data, at)) for at in footer.vector(kind, BLOCK.size)]
        if any(b.offset < 8 or b.head <= 0 or b.body < 0 or b.offset + b.head + b.body > size for b in found):
            raise ValueError("its footer points outside of it")
        return found
    except (struct.error, ValueError) as error:
        raise BatchError(f"{url} is no readable Arrow file: {error}. Fetch it again or leave it out.") from error


def rows(file: BinaryIO, block: Block, url: str) -> int:
    """How many rows a record batch has. Raises BatchError if it is none."""
    file.seek(block.offset)
    head = file.read(block.head)
    try:
        # since Arrow 0.15 a head begins with four bytes of ones, then its length
        message = _Table.root(head[8:] if head[:4] == ONES else head[4:])
        return message.table(HEADER).number(LENGTH)
    except (struct.error, ValueError) as error:
        raise BatchError(f"{url}: a record batch cannot be read: {error}. Fetch the file again or leave it out.") from error


@dataclass(frozen=True, slots=True)
class _Table:
    """A FlatBuffers table: what little of it is needed here."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        return cls(data, _unpack("<I", data, 0))

    def _field(self, number: int) -> int:
        """Where a field's value lies; 0 if it has its default."""
        table = self.at - _unpack("<i", self.data, self.at)
        place = 4 + 2 * number
        offset = _unpack("<H", self.data, table + place) if place < _unpack("<H", self.data, table) else 0
        return self.at + offset if offset else 0

    def number(self, number: int) -> int:
        at = self._field(number)
        return _unpack("<q", self.data, at) if at else 0

    def table(self, number: int) -> "_Table":
        at = self._field(number)
        if not at:
            raise ValueError("its head is empty")
        return _Table(self.data, at + _unpack("<I", self.data, at))

    def vector(self, number: int, width: int) -> range:
        """Where the elements of a vector lie."""
        at = self._field(number)
        if not at:
            return range(0)
        at += _unpack("<I", self.data, at)
        first, count = at + 4, _unpack("<I", self.data, at)
        if first + count * width > len(self.data):
            raise ValueError("a list in it is longer than it is")
        return range(first, first + count * width, width)


def _unpack(form: str, data: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("a pointer in it leads out of it")
    value: int = struct.unpack_from(form, data, at)[0]
    return value
