"""`packing/000042.parquet`: which piece of which document lies where in a shard of packed rows, one row of it per piece.

Comes in: pieces in the order of their tokens. Goes out: the file, and its columns read back, checked. Columns: `sequence` (the
row of the shard that holds the piece), `length` (its tokens), `document` (in the order in which documents came to the shard's
writer, which is that of `metadata/`), `start` (how many tokens of its document lie before it; more than 0 makes it a
continuation). Always holds: the pieces of a sequence stand end to end from its beginning, what follows them is padding; a
document without tokens has no piece; the bytes are a function of the pieces, however these are spread over calls.
"""

from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import JobError
from tokenmill.record import FileDigest

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = NDArray[np.int64]
#: Column -> its type in the file.
COLUMNS = {"sequence": "int64", "length": "int32", "document": "int64", "start": "int64"}
#: Pieces in a row group.
GROUP = 1 << 17


def path_of(index: int) -> str:
    """Where the pieces of a shard stand, relative to the output."""
    return f"packing/{index:06d}.parquet"


class PiecesFile:
    """Writes the pieces of one shard."""

    def __init__(self, output: str, index: int) -> None:
        import pyarrow.parquet as pq

        self._path = path_of(index)
        self._waiting: list[tuple[NDArray[np.integer], ...]] = []
        self._held = 0
        self._file = storage.writer(storage.join(output, self._path))
        self._table = pq.ParquetWriter(cast("IO[bytes]", self._file), _schema(), compression="zstd", use_dictionary=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.discard()

    def append(self, *columns: NDArray[np.integer]) -> None:
        """Add pieces: arrays of one length, as `COLUMNS` has them."""
        self._waiting.append(columns)
        self._held += len(columns[0])
        if self._held >= GROUP:
            self._write(self._held // GROUP * GROUP)

    def publish(self) -> FileDigest:
        """Give the file its final name."""
        self._write(self._held)
        self._table.close()
        return self._file.publish(self._path)

    def _write(self, stop: int) -> None:
        """Write so many of the pieces that wait, group by group."""
        import pyarrow as pa

        if not self._waiting:
            return
        columns = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*self._waiting, strict=True)]
        for start in range(0, stop, GROUP):
            group = [column[start : min(start + GROUP, stop)] for column in columns]
            arrays = [pa.array(values.astype(kind)) for values, kind in zip(group, COLUMNS.values(), strict=True)]
            self._table.write_table(pa.Table.from_arrays(arrays, schema=_schema()))
        self._waiting, self._held = [tuple(column[stop:].copy() for column in columns)], self._held - stop


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.from_numpy_dtype(np.dtype(kind)), nullable=False) for name, kind in COLUMNS.items()])


@dataclass(frozen=True)
class Pieces:
    """The pieces of one shard, in the order of their tokens."""

    sequence: Numbers
    length: Numbers
    document: Numbers
    start: Numbers

    @classmethod
    def read(cls, output: str, index: int) -> Self:
        """Read a shard's sidecar. Raises JobError if it is missing or no such file."""
        import pyarrow as pa

        from tokenmill import parquet

        url = storage.join(output, path_of(index))
        if not storage.exists(url):
            raise JobError(f"{url} is missing: without it nobody knows the documents of packed rows. {_advice(output)}")
        try:
            with storage.open_input(url) as file:
                table = parquet.opened(file).read(use_threads=False)
            if not table.schema.equals(_schema()):
                raise JobError(f"{url} does not hold {', '.join(COLUMNS)}. {_advice(output)}")
            return cls(*(column.to_numpy().astype(np.int64, copy=False) for column in table.columns))
        except (pa.ArrowException, ValueError) as error:
            raise JobError(f"{url} cannot be read: {error}. {_advice(output)}") from error

    @cached_property
    def before(self) -> Numbers:
        """How many tokens of its sequence lie before each piece."""
        passed = np.cumsum(self.length) - self.length
        return passed - passed[np.searchsorted(self.sequence, self.sequence, "left")]

    def used(self, sequences: int) -> Numbers:
        """Tokens of each of so many sequences that are no padding."""
        used = np.zeros(sequences, np.int64)
        np.add.at(used, self.sequence, self.length)
        return used

    @cached_property
    def by_document(self) -> Numbers:
        """The pieces' numbers, document by document, each document's from its beginning."""
        return np.argsort(self.document, kind="stable")

    def fault(self, sequences: int, length: int, documents: int) -> str | None:
        """What cannot be of a shard of so many sequences of `length` tokens and of so many documents; None if all can."""
        if not len(self.sequence):
            return "it has sequences, and no document in them" if sequences else None
        if self.sequence[0] < 0 or self.sequence[-1] >= sequences or (np.diff(self.sequence) < 0).any():
            return f"its sequences are not 0 to {sequences - 1} in their order"
        if int(self.length.min()) < 1 or int((self.before + self.length).max()) > length:
            return f"its pieces do not fit into sequences of {length}"
        if int(self.document.min()) < 0 or int(self.document.max()) >= documents:
            return f"its documents are not 0 to {documents - 1}"
        own = self.by_document
        lengths, document = self.length[own], self.document[own]
        passed = np.cumsum(lengths) - lengths
        if not np.array_equal(passed - passed[np.searchsorted(document, document, "left")], self.start[own]):
            return "its pieces are not all of their documents"
        return None


def _advice(output: str) -> str:
    return f"Run: tokenmill verify {output}"
