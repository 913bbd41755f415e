"""The file that belongs to a whole folder of shards: JSON with a row for each of them, made a row at a time."""

import json
from collections.abc import Iterable, Iterator


def rows_between(head: bytes, rows: Iterable[dict[str, object]], tail: bytes) -> Iterator[bytes]:
    """The pieces of such a file; `head` ends with the bracket that opens the list, `tail` begins with that which closes it."""
    between = head + b"\n"
    for row in rows:
        yield between + json.dumps(row).encode()
        between = b",\n"
    yield (b"\n" if between == b",\n" else between) + tail
