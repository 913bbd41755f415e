"""`plan.parquet`: which batch reads what, one row per batch.

Comes in: batches, in order. Goes out: the file's bytes, and batches read back, all or one. Always holds: the same batches give
the same bytes; they are written and read a row group at a time, so that a plan of any length takes the memory of its compressed
bytes (8 MB for a million batches).
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice
from operator import attrgetter

import pyarrow as pa
import pyarrow.parquet as pq

from tokenmill import parquet, storage
from tokenmill.job import Batch, Cut, Span

NAME = "plan.parquet"
#: Batches per row group: what one look-up reads.
GROUP = 1024

SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        (
            "spans",
            pa.list_(
                pa.struct(
                    [
                        ("url", pa.string()),
                        ("cut", pa.string()),
                        ("start", pa.int64()),
                        ("stop", pa.int64()),
                        ("bytes", pa.int64()),
                        ("size", pa.int64()),
                        ("mark", pa.string()),
                        ("plain_start", pa.int64()),
                        ("plain_stop", pa.int64()),
                    ]
                )
            ),
        ),
    ]
)

#: `dataclasses.asdict` copies deeply: a plan of a million batches took 38 s with it.
FIELDS = tuple(field.name for field in fields(Span))
values = attrgetter(*FIELDS)


def written(batches: Iterable[Batch]) -> bytes:
    """The content of the file."""
    file, remaining = io.BytesIO(), iter(batches)
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        while group := list(islice(remaining, GROUP)):
            rows = [{"index": b.index, "spans": [dict(zip(FIELDS, values(s), strict=True)) for s in b.spans]} for b in group]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    return file.getvalue()


class PlanFile:
    """The plan of one output folder."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._group: tuple[int, list[Batch]] | None = None

    def __getitem__(self, index: int) -> Batch:
        """One batch; neighbours are kept, since a worker asks for one after the other."""
        group, row = divmod(index, GROUP)
        if self._group is None or self._group[0] != group:
            with storage.open_input(self._url) as file:
                self._group = (group, _batches(parquet.opened(file).read_row_group(group, use_threads=False)))
        return self._group[1][row]

    def __iter__(self) -> Iterator[Batch]:
        with storage.open_input(self._url) as file:
            plan = parquet.opened(file)
            for group in range(plan.num_row_groups):
                yield from _batches(plan.read_row_group(group, use_threads=False))


def _batches(table: pa.Table) -> list[Batch]:
    return [
        Batch(index=row["index"], spans=tuple(Span(**{**span, "cut": Cut(span["cut"])}) for span in row["spans"]))
        for row in table.to_pylist()
    ]
