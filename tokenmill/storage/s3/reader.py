"""An object as a file that can be sought, read by ranged GETs.

Comes in: a URL. Goes out: its bytes. Always holds: all of them are of one and the same version of the object, or there is an
error; a connection that ends in mid-body is opened again where it was; memory does not grow with the object.
"""

import io
import random
import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, IncompleteReadError

from tokenmill.errors import BatchError
from tokenmill.storage.s3.connection import CUT, client, code_of, place, sort, sorted_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody

#: Bytes asked for after a jump: enough for a Parquet footer, little to throw away. Twice as many with each request that goes on
#: where the last one ended, so that a long read is one stream, which is faster than many blocks with a pause before each.
SHORTEST, LONGEST = 1 << 20, 64 << 20
#: Bytes taken from the connection at a time: what one read took before it was cut is asked for again.
PIECE = 256 << 10
#: Tries, each bringing less than a piece, before a read is given up; and the pause before the second, in seconds; it doubles.
TRIES, PAUSE = 6, 0.2
#: What the service says when the object is not the one that was opened.
CHANGED = frozenset({"PreconditionFailed", "412", "InvalidRange", "416", "NoSuchKey", "404"})


class ObjectReader(io.RawIOBase):
    """The raw file; wrap it in `io.BufferedReader`."""

    def __init__(self, url: str, start: int = 0) -> None:
        self._url, self._position = url, start
        self._bucket, self._key = place(url)
        with sorted_errors(f"reading {url}"):
            found = client().head_object(Bucket=self._bucket, Key=self._key)
        self._size, self._etag = found["ContentLength"], found["ETag"]
        self._body: StreamingBody | None = None
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
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position != self._position:
            self._drop()
            self._position, self._stride = position, SHORTEST
        return position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what the connection has, at most the buffer; 0 at the end of the object. Raises TransientError, BatchError."""
        wanted = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        while len(wanted):
            try:
                body = self._body or self._request(len(wanted))
                taken = body.readinto(wanted[: min(PIECE, self._until - self._position)])  # type: ignore[arg-type]  # a wrong stub
                if not taken:
                    raise IncompleteReadError(actual_bytes=0, expected_bytes=self._until - self._position)
                self._position += taken
                self._came += taken
                if self._came >= PIECE:
                    self._cuts = 0
                if self._position == self._until:
                    self._drop()
                return taken
            except CUT as error:
                self._drop()
                self._cuts, self._came = self._cuts + 1, 0
                if self._cuts == TRIES:
                    raise sort(error, f"reading {self._url}") from error
                time.sleep(random.uniform(0.5, 1) * PAUSE * 2**self._cuts)
        return 0

    def _request(self, wanted: int) -> "StreamingBody":
        """Ask for the bytes from here on."""
        self._until = min(self._size, self._position + max(wanted, self._stride))
        self._stride = min(2 * self._stride, LONGEST)
        asked = f"bytes={self._position}-{self._until - 1}"
        with sorted_errors(f"reading {self._url}"):
            try:
                found = client().get_object(Bucket=self._bucket, Key=self._key, Range=asked, IfMatch=self._etag)
            except ClientError as error:
                if code_of(error) in CHANGED:
                    raise self._changed() from error
                raise
        if found["ETag"] != self._etag:  # a service that does not know If-Match
            found["Body"].close()
            raise self._changed()
        self._body = found["Body"]
        return self._body

    def _changed(self) -> BatchError:
        return BatchError(f"{self._url} has changed while it was read, or is gone. Restore it, or start a new job elsewhere.")

    def _drop(self) -> None:
        """Let go of the connection; one that was read to its end is used again."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()
