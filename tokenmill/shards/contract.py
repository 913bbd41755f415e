"""What every shard format takes and gives back."""

from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tokenmill.job import FileDigest


class ShardWriter(Protocol):
    """Takes documents in order; nothing is visible under a final name before `publish`."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents: their ids end to end, and tokens per document."""
        ...

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the files their final names and return their digests."""
        ...


class ShardReader(Protocol):
    """Random access to the documents of one shard."""

    #: Tokens per document.
    lengths: NDArray[np.int32]

    def __len__(self) -> int: ...

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        """The ids of one document."""
        ...
