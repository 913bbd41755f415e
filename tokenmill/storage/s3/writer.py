"""An object as it is written: one PUT if it is small, a multipart upload if not.

Comes in: bytes. Goes out: an object. Always holds: nobody sees it before `publish`, which is one request; a part is sent while
the next one is filled, so at most two are held; what is never published is an unfinished upload, which no listing shows and
`sweep` takes away.
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from tokenmill.record import FileDigest
from tokenmill.storage.s3.connection import TROUBLE, client, place, sorted_errors

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

#: Bytes of a part. S3 takes none below 5 MiB but the last, and 10,000 of them; an object has 5 TiB at most.
PART = 8 << 20
#: After so many parts the next ones are twice as large: ten thousand then hold 8 TiB, and a shard of a gigabyte has equal ones.
DOUBLES_AFTER = 1000


def part_size(number: int) -> int:
    """Bytes of a part, counted from 1."""
    return PART << (number - 1) // DOUBLES_AFTER


class ObjectWriter:
    """An object that nobody sees until `publish`; it counts and hashes what it is given."""

    def __init__(self, url: str) -> None:
        self._doing = f"writing {url}"
        self._bucket, self._key = place(url)
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._filling, self._number = bytearray(), 1
        self._upload: str | None = None
        self._sender = ThreadPoolExecutor(1, "upload")
        self._under_way: Future[CompletedPartTypeDef] | None = None
        self._parts: list[CompletedPartTypeDef] = []
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written; pyarrow asks."""
        return self._closed

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises what went wrong with a part that is under way, too."""
        self._sha256.update(data)
        self._bytes += len(data)
        rest = memoryview(data)
        while len(rest):
            room = part_size(self._number) - len(self._filling)
            self._filling += rest[:room]
            rest = rest[room:]
            if len(self._filling) == part_size(self._number):
                self._send()

    def publish(self, path: str) -> FileDigest:
        """Give the object its name in one request, and return its digest under the output-relative name `path`."""
        with sorted_errors(self._doing, writing=True):
            if self._upload is None:
                client().put_object(Bucket=self._bucket, Key=self._key, Body=bytes(self._filling))
            else:
                if self._filling:
                    self._send()
                self._settle()
                client().complete_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
                )
                self._upload = None
        self.discard()
        return FileDigest(path=path, bytes=self._bytes, sha256=self._sha256.hexdigest())

    def discard(self) -> None:
        """Forget what was written; nothing happens after `publish`."""
        self._closed = True
        self._sender.shutdown()
        if self._upload is not None:
            try:
                client().abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)
            except TROUBLE:
                pass  # what stays behind is swept away when the job is sealed
            self._upload = None

    def _send(self) -> None:
        """Send the part that is full, once the one before has arrived."""
        self._settle()
        if self._upload is None:
            with sorted_errors(self._doing, writing=True):
                self._upload = client().create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]
        self._under_way = self._sender.submit(self._put, self._upload, self._number, bytes(self._filling))
        self._filling, self._number = bytearray(), self._number + 1

    def _put(self, upload: str, number: int, data: bytes) -> "CompletedPartTypeDef":
        with sorted_errors(self._doing, writing=True):
            sent = client().upload_part(Bucket=self._bucket, Key=self._key, UploadId=upload, PartNumber=number, Body=data)
        return {"ETag": sent["ETag"], "PartNumber": number}

    def _settle(self) -> None:
        """Wait for the part that is under way."""
        if self._under_way is not None:
            self._parts.append(self._under_way.result())
            self._under_way = None
