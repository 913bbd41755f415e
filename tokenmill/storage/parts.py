"""A far object as it is written: in one request if it is small, part by part if not.

Comes in: bytes, and an `Upload` that speaks to one kind of storage. Goes out: an object. Always holds: nobody sees it before
`publish`, whose last request gives it its name; a part is sent while the next one is filled, so at most two are held.
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from tokenmill.record import FileDigest

#: Bytes of a part: S3 takes none below 5 MiB but the last, Google none but the last that is no multiple of 256 KiB.
PART = 8 << 20


class Upload(Protocol):
    """One object on its way. What goes wrong comes as an error of `tokenmill.errors`."""

    def size_of(self, number: int) -> int:
        """Bytes of a part, counted from 1."""
        ...

    def send(self, data: bytes) -> None:
        """Send the next part, which is a full one."""
        ...

    def finish(self, data: bytes) -> None:
        """Send what is left, which is all of it if no part was sent, and give the object its name."""
        ...

    def abandon(self) -> None:
        """Forget what was sent, without an error; nothing happens after `finish`."""
        ...


class ObjectWriter:
    """An object that nobody sees until `publish`; it counts and hashes what it is given."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._filling, self._number = bytearray(), 1
        self._sender = ThreadPoolExecutor(1, "upload")
        self._under_way: Future[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written; pyarrow asks."""
        return self._closed

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises what went wrong with a part that is under way, too."""
        self._sha256.update(data)
        self._bytes += len(data)
        rest, size = memoryview(data), self._upload.size_of(self._number)
        while len(rest):
            room = size - len(self._filling)
            self._filling += rest[:room]
            rest = rest[room:]
            if len(self._filling) == size:
                self._send()
                size = self._upload.size_of(self._number)

    def publish(self, path: str) -> FileDigest:
        """Give the object its name in one request, and return its digest under the output-relative name `path`."""
        self._settle()
        self._upload.finish(bytes(self._filling))
        self.discard()
        return FileDigest(path=path, bytes=self._bytes, sha256=self._sha256.hexdigest())

    def discard(self) -> None:
        """Forget what was written; nothing happens after `publish`."""
        self._closed = True
        self._sender.shutdown()
        self._upload.abandon()

    def _send(self) -> None:
        """Send the part that is full, once the one before has arrived."""
        self._settle()
        self._under_way = self._sender.submit(self._upload.send, bytes(self._filling))
        self._filling, self._number = bytearray(), self._number + 1

    def _settle(self) -> None:
        """Wait for the part that is under way."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()
