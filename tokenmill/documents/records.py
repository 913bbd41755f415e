"""A stream of blocks cut into records at a separator.

Comes in: blocks and the byte range that is ours. Goes out: the records that *start* in [start, stop), each with its
position, a list per block. Always holds: ranges that tile a file yield every record exactly once; a record longer than the
limit is passed over without being held in memory.
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


def overlaps_itself(separator: bytes) -> bool:
    """Whether two occurrences of a separator can share bytes, such as two newlines in three.

    Where one begins can then be told only from the start of the file, so the file cannot be cut into ranges.
    """
    return any(separator.startswith(separator[shift:]) for shift in range(1, len(separator)))


def records(span: Span, separator: bytes, limit: int) -> Iterator[tuple[list[RawRecord], int]]:
    """Yield, per block, the records of a span and the source bytes read so far.

    A range begins one separator early: the bytes up to the first separator belong to a record of the range before.
    Raises BatchError if the file ends before the range does.
    """
    ranged = span.cut is Cut.BYTES
    begin = max(0, span.start - len(separator)) if ranged else 0
    stop = span.stop if ranged else None
    blocks = Blocks(span, begin)
    fragment = begin > 0  # what comes before the first separator began in the range before
    position, dropped, carry = begin, 0, b""
    head: bytes | None = None  # beginning of a record that has outgrown the limit
    for block in blocks:
        parts = (carry + block).split(separator)
        carry = parts.pop()
        found: list[RawRecord] = []
        for part in parts:
            if stop is not None and position >= stop:
                break
            if fragment or position < span.start:
                fragment = False
            elif head is not None or len(part) > limit:
                found.append(RawRecord(position, head or part[: 4 * EXCERPT], too_long=True))
            else:
                found.append(RawRecord(position, part if position else part.removeprefix(BYTE_ORDER_MARK)))
            position += dropped + len(part) + len(separator)
            dropped, head = 0, None
        yield found, min(blocks.consumed, span.bytes)
        if stop is not None and position >= stop:
            return
        if len(carry) > limit:
            head = head or carry[: 4 * EXCERPT]
            keep = len(separator) - 1  # the separator may straddle two blocks
            cut = len(carry) - keep
            dropped, carry = dropped + cut, carry[cut:]
    if stop is not None and begin + blocks.consumed < stop:
        size = begin + blocks.consumed
        raise BatchError(
            f"{span.url} is {size} bytes long, planned were {stop}: it has changed. Restore it or start a new job."
        )
    if position == 0:
        carry = carry.removeprefix(BYTE_ORDER_MARK)
    if (carry or head) and not fragment and position >= span.start and (stop is None or position < stop):
        yield [RawRecord(position, head or carry, too_long=head is not None)], span.bytes
