"""Token ids on their way to a file: as narrow as the file has them, and cut where its row groups end.

Always holds: no id changes its value; what does not fit is an error, never a wrong id.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import BatchError, JobError

#: A group of documents ends with the one that brings it to so many tokens, or is the last of so many: row groups and record
#: batches of 2 to 4 MB, whatever columns the documents came in.
GROUP_TOKENS, GROUP_DOCUMENTS = 1 << 20, 1 << 16


def stored(ids: NDArray[np.uint32], lengths: NDArray[np.int64], dtype: np.dtype[np.integer]) -> NDArray[np.integer]:
    """The ids in the type of the file, not copied where the bits are the same.

    Raises JobError if an id does not fit, BatchError if a document has 2^31 tokens or more.
    """
    if len(ids) and int(ids.max()) > np.iinfo(dtype).max:
        raise JobError(f"token id {int(ids.max())} does not fit into {dtype}. Give --dtype auto.")
    if len(lengths) and int(lengths.max()) > np.iinfo(np.int32).max:
        raise BatchError("a document has more tokens than 32-bit lengths can say. Lower --max-document-bytes.")
    return np.ascontiguousarray(ids.view(dtype) if ids.dtype.itemsize == dtype.itemsize else ids.astype(dtype))


def offsets_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each document begins, in tokens, and after them where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def offsets_32(offsets: NDArray[np.int64]) -> bytes:
    """Byte offsets in 32 bits each. Raises JobError if these cannot say them."""
    if int(offsets[-1]) >= 1 << 32:
        raise JobError(f"a shard of {int(offsets[-1]):,} bytes is too long for 32-bit offsets. Give a smaller --batch-bytes.")
    return offsets.astype("<u4").tobytes()


def group_ends(lengths: NDArray[np.integer]) -> Iterator[int]:
    """The documents after which a group is complete, in order; those after the last one wait for more."""
    ends, start, before = np.cumsum(lengths, dtype=np.int64), 0, 0
    while True:
        full = int(np.searchsorted(ends, before + GROUP_TOKENS)) + 1
        stop = min(full, start + GROUP_DOCUMENTS)
        if stop > len(ends):
            return
        yield stop
        start, before = stop, int(ends[stop - 1])


class Groups:
    """Documents come as they come, and go in groups that depend on the documents alone."""

    def __init__(self) -> None:
        self._ids: list[NDArray[np.integer]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(
        self, ids: NDArray[np.integer], lengths: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.integer], NDArray[np.int64]]]:
        """Take documents; give those groups that are complete now."""
        self._ids.append(ids)
        self._lengths.append(lengths)
        if sum(map(len, self._ids)) < GROUP_TOKENS and sum(map(len, self._lengths)) < GROUP_DOCUMENTS:
            return
        ids, lengths = np.concatenate(self._ids), np.concatenate(self._lengths)
        offsets, start = offsets_of(lengths), 0
        for stop in group_ends(lengths):
            yield ids[offsets[start] : offsets[stop]], lengths[start:stop]
            start = stop
        self._ids, self._lengths = [ids[offsets[start] :].copy()], [lengths[start:].copy()]

    def rest(self) -> Iterator[tuple[NDArray[np.integer], NDArray[np.int64]]]:
        """What is left, if anything is."""
        lengths = np.concatenate([np.empty(0, np.int64), *self._lengths])
        if len(lengths):
            yield np.concatenate(self._ids), lengths
        self._ids, self._lengths = [], []
