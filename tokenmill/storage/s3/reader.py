"""One version of an object, asked for by ranged GETs that insist on it.

Comes in: a URL. Goes out: what `tokenmill.storage.ranged` reads. Always holds: every byte is of the version that was there when
it was opened (`If-Match` with its ETag), or there is an error.
"""

from typing import cast

from botocore.exceptions import ClientError

from tokenmill.errors import BatchError, TokenmillError
from tokenmill.storage.ranged import Body
from tokenmill.storage.s3.connection import CUT, client, code_of, place, sort, sorted_errors

#: What the service says when the object is not the one that was opened.
CHANGED = frozenset({"PreconditionFailed", "412", "InvalidRange", "416", "NoSuchKey", "404"})


class ObjectVersion:
    """The version of an object that is there now."""

    cuts = CUT

    def __init__(self, url: str) -> None:
        self.url = url
        self._bucket, self._key = place(url)
        with sorted_errors(f"reading {url}"):
            found = client().head_object(Bucket=self._bucket, Key=self._key)
        self.size, self._etag = found["ContentLength"], found["ETag"]

    def request(self, start: int, stop: int) -> tuple[Body, int]:
        """The bytes [start, stop), and `stop`."""
        with sorted_errors(f"reading {self.url}"):
            try:
                asked = f"bytes={start}-{stop - 1}"
                found = client().get_object(Bucket=self._bucket, Key=self._key, Range=asked, IfMatch=self._etag)
            except ClientError as error:
                if code_of(error) in CHANGED:
                    raise self._changed() from error
                raise
        if found["ETag"] != self._etag:  # a service that does not know If-Match
            found["Body"].close()
            raise self._changed()
        return cast("Body", found["Body"]), stop  # its stub gives `readinto` a type of its own

    def sort(self, error: Exception) -> TokenmillError:
        return sort(error, f"reading {self.url}")

    def _changed(self) -> BatchError:
        return BatchError(f"{self.url} has changed while it was read, or is gone. Restore it, or start a new job elsewhere.")
