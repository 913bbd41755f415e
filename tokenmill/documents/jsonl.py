"""JSON Lines: one object per line. Blank lines are no records."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tokenmill.documents.contract import COLUMN_BYTES, Documents
from tokenmill.documents.objects import Objects, Rows
from tokenmill.documents.records import Stretch, stretches
from tokenmill.job import Span
from tokenmill.spec import JobSpec

NEWLINE, RETURN, OPENING, CLOSING = b"\n\r{}"


class JsonLinesReader:
    """Reads .jsonl, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        objects, gathered, limit = Objects(spec), Rows(), spec.max_document_bytes
        for stretch in stretches(span, b"\n", limit):
            rows = _at_once(stretch, objects, limit) or objects.one_by_one(stretch.records(b"\n", limit), span.url)
            gathered.add(rows, len(stretch.data))
            if gathered.size >= COLUMN_BYTES:
                yield gathered.documents(span.url, stretch.consumed, objects.fields)
                gathered = Rows()
        if gathered.positions:
            yield gathered.documents(span.url, span.bytes, objects.fields)


def _at_once(stretch: Stretch, objects: Objects, limit: int) -> Rows | None:
    """All lines of a stretch in one call; None if any of them needs a closer look."""
    starts = None if stretch.too_long else _object_per_line(stretch.data, limit)
    return None if starts is None else objects.at_once(stretch.data, starts + stretch.position)


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
