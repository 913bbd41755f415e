"""A stream of blocks cut into records at a separator.

Comes in: blocks and the byte range that is ours. Goes out: the records that *start* in [start, stop), as stretches of whole
records that lie together; of a span of frames those behind a separator that starts in it, so that no frame before it has to be
unpacked to know whether a record starts with it. Always holds: ranges that tile a file yield every record exactly once, at
their place in the unpacked file, however it is cut; a record longer than the limit is passed over without being held in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tokenmill.documents.compression import Blocks
from tokenmill.documents.contract import EXCERPT
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span

#: The signature some editors put before UTF-8 text; it is no part of the text.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class RawRecord:
    """The bytes between two separators."""

    position: int
    data: bytes
    #: True when the record is over the limit; `data` then holds its beginning only.
    too_long: bool = False


@dataclass(slots=True)
class Stretch:
    """Whole records one after the other, each but the last of a file with its separator; or one that is too long."""

    #: Where the first record begins.
    position: int
    data: bytes
    #: Source bytes read so far.
    consumed: int
    too_long: bool = False

    def records(self, separator: bytes, limit: int) -> Iterator[RawRecord]:
        """The records, one by one."""
        if self.too_long:
            yield RawRecord(self.position, self.data, too_long=True)
            return
        position, parts = self.position, self.data.split(separator)
        if not parts[-1]:
            parts.pop()
        for part in parts:
            long = len(part) > limit
            data = part[: 4 * EXCERPT] if long else part if position else part.removeprefix(BYTE_ORDER_MARK)
            yield RawRecord(position, data, too_long=long)
            position += len(part) + len(separator)


def overlaps_itself(separator: bytes) -> bool:
    """Whether two occurrences of a separator can share bytes, such as two newlines in three.

    Where one begins can then be told only from the start of the file, so the file cannot be cut into ranges.
    """
    return any(separator.startswith(separator[shift:]) for shift in range(1, len(separator)))


def stretches(span: Span, separator: bytes, limit: int) -> Iterator[Stretch]:
    """Yield the records of a span.

    A range begins one separator early: the bytes up to the first separator belong to a record of the range before.
    Raises BatchError if the file ends before the range does.
    """
    ranged, width, begin, stop = span.cut is Cut.BYTES, len(separator), 0, None
    if ranged:
        begin, stop = max(0, span.start - width), span.stop
    elif span.cut is Cut.FRAMES:
        begin, stop = span.plain_start, span.plain_stop + width
    blocks = Blocks(span, begin)
    position, carry = begin, b""
    # what comes before the first separator began in the range before
    skipping = span.cut is not Cut.WHOLE and span.start > 0
    # beginning and place of a record that has outgrown the limit
    head, head_position = b"", 0
    for block in blocks:
        consumed = min(blocks.consumed, span.bytes)
        inside = stop is None or position + len(carry) + len(block) < stop
        cut = block.rfind(separator) + width
        if inside and cut >= width and not skipping and not head:  # nearly always; every copy of the data counts here
            yield Stretch(position, b"".join((carry, memoryview(block)[:cut])), consumed)
            position, carry = position + len(carry) + cut, block[cut:]
            continue
        data = carry + block if carry else block
        if skipping or head:
            end = data.find(separator)
            if end < 0:
                carry = data[max(0, len(data) - width + 1) :]  # the separator may straddle two blocks
                position += len(data) - len(carry)
                continue
            if head:
                yield Stretch(head_position, head, consumed, too_long=True)
                head = b""
            skipping, position, data = False, position + end + width, data[end + width :]
        if stop is not None and position >= stop:
            return
        # the last of our records ends with the first separator that ends at or after `stop`
        last = data.find(separator, max(0, stop - position - width)) if stop is not None else -1
        end = (last if last >= 0 else data.rfind(separator)) + width
        if end >= width:
            yield Stretch(position, data[:end], consumed)
            if last >= 0:
                return
            position, data = position + end, data[end:]
        if len(data) - width + 1 > limit:
            head, head_position = data[: 4 * EXCERPT], position
            position, data = position + len(data) - width + 1, data[len(data) - width + 1 :]
        carry = data
    size = begin + blocks.consumed
    if ranged and size < span.stop:
        raise BatchError(
            f"{span.url} is {size} bytes long, planned were {span.stop}: it has changed. Restore it or start a new job."
        )
    if head:
        yield Stretch(head_position, head, span.bytes, too_long=True)
    elif carry and not skipping and not (position == 0 and carry == BYTE_ORDER_MARK):
        yield Stretch(position, carry, span.bytes)
