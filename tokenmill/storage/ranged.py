"""A far file that can be sought, read by ranged requests.

Comes in: one version of a file, which knows how to ask for a range of itself. Goes out: its bytes. Always holds: all of them
are of one and the same version, or there is an error; a connection that ends in mid-body is opened again where it was; memory
does not grow with the file.
"""

import io
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tokenmill.errors import TokenmillError, TransientError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes asked for after a jump: enough for a Parquet footer, little to throw away. Twice as many with each request that goes on
#: where the last one ended, so that a long read is one stream, which is faster than many blocks with a pause before each.
SHORTEST, LONGEST = 1 << 20, 64 << 20
#: Bytes taken from the connection at a time: what one read took before it was cut is asked for again.
PIECE = 256 << 10
#: Tries, each bringing less than a piece, before a read is given up; and the pause before the second, in seconds; it doubles.
TRIES, PAUSE = 6, 0.2


class Body(Protocol):
    """The bytes of one answer, as they come."""

    def readinto(self, buffer: memoryview, /) -> int: ...
    def close(self) -> None: ...


class Version(Protocol):
    """One version of a file. Whoever opens another in its place gets an error from it, never its bytes."""

    @property
    def url(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def cuts(self) -> tuple[type[Exception], ...]:
        """What says that a body ended before its end."""
        ...

    def request(self, start: int, stop: int) -> tuple[Body, int]:
        """The bytes from `start` on, at least one, and where they end. Raises BatchError where they are another version's."""
        ...

    def sort(self, error: Exception) -> TokenmillError:
        """A cut as an error of ours."""
        ...


class EndedEarly(Exception):
    """A body without an error in it that was shorter than announced."""


class RangedFile(io.RawIOBase):
    """The raw file; `opened` gives it buffered."""

    def __init__(self, version: Version, start: int = 0) -> None:
        self._version, self._position = version, start
        #: What says that a body ended before its end.
        self._ends: tuple[type[Exception], ...] = (EndedEarly, *version.cuts)
        self._body: Body | None = None
        #: Where the body ends, and how much is asked for next.
        self._until, self._stride = 0, SHORTEST
        #: Cuts since a whole piece came through, and what came through since the last.
        self._cuts, self._came = 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._version.size}[whence]
        if position != self._position:
            self._drop()
            self._position, self._stride = position, SHORTEST
        return position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what the connection has, at most the buffer; 0 at the end of the file. Raises TransientError, BatchError."""
        wanted = memoryview(buffer).cast("B")[: max(0, self._version.size - self._position)]
        while len(wanted):
            try:
                body = self._body or self._request(len(wanted))
                taken = body.readinto(wanted[: min(PIECE, self._until - self._position)])
                if not taken:
                    raise EndedEarly
                self._position += taken
                self._came += taken
                if self._came >= PIECE:
                    self._cuts = 0
                if self._position == self._until:
                    self._drop()
                return taken
            except self._ends as error:
                self._drop()
                self._cuts, self._came = self._cuts + 1, 0
                if self._cuts == TRIES:
                    raise self._sorted(error) from error
                time.sleep(random.uniform(0.5, 1) * PAUSE * 2**self._cuts)
        return 0

    def _request(self, wanted: int) -> Body:
        """Ask for the bytes from here on."""
        until = min(self._version.size, self._position + max(wanted, self._stride))
        self._stride = min(2 * self._stride, LONGEST)
        self._body, self._until = self._version.request(self._position, until)
        return self._body

    def _sorted(self, error: Exception) -> TokenmillError:
        if isinstance(error, EndedEarly):
            return TransientError(f"reading {self._version.url}: the connection ends early, at byte {self._position:,}.")
        return self._version.sort(error)

    def _drop(self) -> None:
        """Let go of the connection; one that was read to its end is used again."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


@contextmanager
def opened(version: Version, start: int = 0) -> Iterator[BinaryIO]:
    """A version of a file from byte `start` on."""
    with io.BufferedReader(RangedFile(version, start), PIECE) as file:
        yield file
