"""What every kind of storage promises: the same functions, the same meaning.

Always holds: a name either does not exist or holds complete content (law 6); what goes wrong comes as an error of
`tokenmill.errors`, sorted into wait, park and stop. A kind of storage is a module with the functions of `Store`, and a line in
`tokenmill.storage`.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenmill.record import FileDigest


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a listing says of a file."""

    size: int
    #: Changes when the content may have changed: modification time in nanoseconds, in an object store the ETag or generation.
    mark: str
    #: Whether any stretch of it can be had; where not, it is read from its start.
    ranged: bool = True


class Writer(Protocol):
    """A file that nobody sees until `publish`; it counts and hashes what it is given."""

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written; pyarrow asks."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        ...

    def publish(self, path: str) -> FileDigest:
        """Give the file its final name, and return its digest under the output-relative name `path`."""
        ...

    def discard(self) -> None:
        """Forget what was written; nothing happens after `publish`."""
        ...


class Store(Protocol):
    """One kind of storage. What each function means stands in `tokenmill.storage`."""

    def absolute(self, url: str) -> str: ...
    def pinned(self, url: str) -> str: ...
    def status(self, url: str) -> FileStatus | None: ...
    def is_folder(self, url: str) -> bool: ...
    def each_name(self, url: str) -> Iterator[str]: ...
    def walk(self, url: str) -> Iterator[tuple[str, FileStatus]]: ...
    def matching(self, pattern: str) -> Iterator[tuple[str, FileStatus]]: ...
    def open_input(self, url: str, start: int) -> AbstractContextManager[BinaryIO]: ...
    def read(self, url: str) -> bytes: ...
    def find(self, url: str) -> bytes | None: ...
    def find_each(self, urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]: ...
    def mapped(self, url: str, dtype: np.dtype[Any]) -> NDArray[Any]: ...
    def writer(self, url: str) -> Writer: ...
    def claim(self, url: str, data: bytes) -> bool: ...
    def delete(self, url: str) -> None: ...
    def sweep(self, url: str) -> None: ...
