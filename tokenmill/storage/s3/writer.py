"""An object of S3 on its way: one PUT if it is small, a multipart upload if not.

Comes in: its parts. Goes out: an object. Always holds: what is never finished is an unfinished upload, which no listing
shows and `sweep` takes away.
"""

from typing import TYPE_CHECKING

from tokenmill.storage.parts import PART
from tokenmill.storage.s3.connection import TROUBLE, client, place, sorted_errors

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

#: After so many parts the next ones are twice as large: S3 takes 10,000 of them, and 5 TiB at most; ten thousand then hold
#: 8 TiB, and a shard of a gigabyte has equal ones.
DOUBLES_AFTER = 1000


def part_size(number: int) -> int:
    """Bytes of a part, counted from 1."""
    return PART << (number - 1) // DOUBLES_AFTER


class MultipartUpload:
    """What `tokenmill.storage.parts` sends an object with."""

    def __init__(self, url: str) -> None:
        self._doing = f"writing {url}"
        self._bucket, self._key = place(url)
        self._upload: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def size_of(self, number: int) -> int:
        return part_size(number)

    def send(self, data: bytes) -> None:
        with sorted_errors(self._doing, writing=True):
            if self._upload is None:
                self._upload = client().create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]
            number = len(self._parts) + 1
            sent = client().upload_part(Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=data)
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})

    def finish(self, data: bytes) -> None:
        if self._upload is not None and data:
            self.send(data)
        with sorted_errors(self._doing, writing=True):
            if self._upload is None:
                client().put_object(Bucket=self._bucket, Key=self._key, Body=data)
            else:
                client().complete_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
                )
                self._upload = None

    def abandon(self) -> None:
        if self._upload is not None:
            try:
                client().abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)
            except TROUBLE:
                pass  # what stays behind is swept away when the job is sealed
            self._upload = None
