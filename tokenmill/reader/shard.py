"""One shard held open: its documents' places, its tokens by range, its loss mask.

Comes in: a shard's row of the manifest, and its files on a disk or in an object store. Goes out: token ids by range. Always
holds: documents and tokens are as many as the manifest says. A packed shard's tokens are those of its rows, padding included;
its pieces say where which document lies in them.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import JobError
from tokenmill.manifest import Manifest
from tokenmill.packing import Pieces, Unpacked
from tokenmill.shards import FORMATS, ShardReader


class OpenShard:
    """A shard's tokens, numbered from 0."""

    def __init__(self, output: str, manifest: Manifest, position: int) -> None:
        row = manifest.shards[position]
        #: What the format stores as documents: packed rows, or documents.
        self.stored = FORMATS[manifest.format].reader(output, row.index)
        self._packing = manifest.pack
        self._row, self._output, self._checked = row, output, False
        mask = next((file for file in row.files if file.path.endswith(".mask")), None)
        self._mask = None if mask is None else storage.join(output, mask.path)
        self._tokens = row.stored_tokens
        self._cuts: dict[tuple[int, str], NDArray[np.int64]] = {}

    @cached_property
    def reader(self) -> ShardReader:
        """The documents, unpacked if they are packed. Raises JobError if rows and pieces do not belong together."""
        if self._packing is None:
            return self.stored
        where = f"shard {self._row.index:06d} of {self._output}"
        return Unpacked(self.stored, self.pieces, self._packing.length, self._row.documents, where)

    @cached_property
    def pieces(self) -> Pieces:
        """The pieces of documents in packed rows. Raises JobError if they cannot be read."""
        return Pieces.read(self._output, self._row.index)

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """Tokens of each packed row that are no padding."""
        return self.pieces.used(len(self.stored))

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where each document, or piece of one in packed rows, begins, and where the last one ends."""
        if self._packing is None:
            return self.starts
        begin = self.pieces.sequence * self._packing.length + self.pieces.before
        return np.append(begin, begin[-1:] + self.pieces.length[-1:])

    def documents_at(self, first: int, last: int) -> NDArray[np.int64]:
        """Which documents the places [first, last) are of."""
        return np.arange(first, last) if self._packing is None else self.pieces.document[first:last]

    def check(self) -> None:
        """Raise JobError if the shard holds other numbers of documents or tokens than the manifest says; counted once."""
        if self._checked:
            return
        row, found = self._row, (len(self.reader), int(self.reader.lengths.sum(dtype=np.int64)))
        if self._packing is not None and len(self.stored) != row.sequences:
            raise JobError(
                f"shard {row.index:06d} of {self._output} holds {len(self.stored)} sequences, the manifest says "
                f"{row.sequences}. Run: tokenmill verify {self._output}"
            )
        if found != (row.documents, row.tokens):
            raise JobError(
                f"shard {row.index:06d} of {self._output} holds {found[0]} documents and {found[1]} tokens, the manifest says "
                f"{row.documents} and {row.tokens}. Run: tokenmill verify {self._output}"
            )
        self._checked = True

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each stored document begins, and where the last one ends."""
        starts = np.zeros(len(self.stored) + 1, np.int64)
        np.cumsum(self.stored.lengths, dtype=np.int64, out=starts[1:])
        return starts

    def cuts(self, length: int, tail: str) -> NDArray[np.int64]:
        """How many rows lie before each document, and before the end, if each is cut into rows of `length`."""
        if (length, tail) not in self._cuts:
            short = length - 1 if tail == "pad" else 0
            cuts = np.zeros(len(self.reader) + 1, np.int64)
            np.cumsum((self.reader.lengths.astype(np.int64) + short) // length, out=cuts[1:])
            self._cuts[length, tail] = cuts
        return self._cuts[length, tail]

    @cached_property
    def flat(self) -> NDArray[Any] | None:
        """All ids end to end, where the format stores them so; a plain array, since slices of a memmap cost twice as much."""
        ids = getattr(self.stored, "ids", None)
        return None if ids is None else np.asarray(ids)

    def map(self) -> None:
        """Open the files themselves, so that they may be unlinked."""
        if self._tokens and self.flat is None:
            self.stored[0]
        _ = self.mask, self.reader

    def copy(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Put the ids of tokens `start` to `stop` into an array of just that length."""
        if self.flat is not None:
            out[:] = self.flat[start:stop]
            return
        document = int(np.searchsorted(self.starts, start, "right")) - 1
        while start < stop:
            first, end = self.starts[document : document + 2].tolist()
            taken = min(end, stop)
            ids = self.stored[document]
            out[: taken - start] = ids[start - first : taken - first]
            out, start, document = out[taken - start :], taken, document + 1

    @cached_property
    def mask(self) -> NDArray[np.uint8] | None:
        """1 for each token to learn from; None if the job has no masks. Raises JobError if it is not a byte for each token."""
        if self._mask is None:
            return None
        status = storage.status(self._mask)
        if status is None or status.size != self._tokens:
            found = "missing" if status is None else f"{status.size} bytes long"
            raise JobError(f"{self._mask} is {found}, its shard has {self._tokens} tokens.")
        return np.asarray(storage.mapped(self._mask, np.dtype(np.uint8))) if status.size else np.empty(0, np.uint8)

    def mask_of(self, document: int) -> NDArray[np.uint8]:
        """1 for each token of a document to learn from; empty if the job has no masks."""
        if self.mask is None:
            return np.empty(0, np.uint8)
        if not isinstance(self.reader, Unpacked):
            return self.mask[self.starts[document] : self.starts[document + 1]]
        begin = ((self.starts[row] + before, length) for row, before, length in self.reader.places(document, document + 1))
        return np.concatenate([np.empty(0, np.uint8), *(self.mask[start : start + length] for start, length in begin)])
