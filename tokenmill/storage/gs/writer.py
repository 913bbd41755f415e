"""An object of Google Cloud Storage on its way: one request if it is small, a resumable upload if not.

Comes in: its parts. Goes out: an object. Always holds: what is never finished is an upload that no listing shows,
and that Google forgets after a week.
"""

from google.cloud.storage.fileio import BlobWriter

from tokenmill.storage.gs.connection import TROUBLE, blob, patience, sorted_errors
from tokenmill.storage.parts import PART


class ResumableUpload:
    """What `tokenmill.storage.parts` sends an object with."""

    def __init__(self, url: str) -> None:
        self._doing = f"writing {url}"
        self._blob = blob(url)
        self._session: Session | None = None

    def size_of(self, number: int) -> int:  # noqa: ARG002  # of as many as one likes
        return PART

    def send(self, data: bytes) -> None:
        with sorted_errors(self._doing, writing=True):
            self._session = self._session or Session(self._blob, chunk_size=PART, **patience())
            self._session.write(data)

    def finish(self, data: bytes) -> None:
        with sorted_errors(self._doing, writing=True):
            if self._session is None:
                self._blob.upload_from_string(data, content_type="application/octet-stream", **patience())
            else:
                self._session.write(data)
                self._session.close()
                self._session = None

    def abandon(self) -> None:
        if self._session is not None:
            try:
                self._session.terminate()
            except TROUBLE:
                pass  # it is forgotten by itself
            self._session = None


class Session(BlobWriter):
    """The library's own, but for its end: left alone, it would be closed, and with that give half an object its name."""

    def __del__(self) -> None:
        pass
