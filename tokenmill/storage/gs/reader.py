"""One version of an object, asked for by its generation.

Comes in: a URL. Goes out: what `tokenmill.storage.ranged` reads. Always holds: every byte is of the generation that was there
when it was opened, or there is an error; an object stored as gzip is read as it is stored.
"""

import io

from google.api_core.exceptions import NotFound

from tokenmill.errors import BatchError, TokenmillError
from tokenmill.storage.gs.connection import blob, patience, sort, sorted_errors
from tokenmill.storage.ranged import Body, EndedEarly

#: Bytes asked for at most: the library hands over an answer whole.
LONGEST = 8 << 20


class ObjectVersion:
    """The version of an object that is there now."""

    cuts: tuple[type[Exception], ...] = ()  # the library has tried again itself, from where it was

    def __init__(self, url: str, size: int, generation: int) -> None:
        self.url, self.size, self._generation = url, size, generation

    def request(self, start: int, stop: int) -> tuple[Body, int]:
        """The bytes from `start` on, and where they end: at `stop`, or before."""
        stop, body = min(stop, start + LONGEST), io.BytesIO()
        with sorted_errors(f"reading {self.url}"):
            try:
                blob(self.url, self._generation).download_to_file(
                    body, start=start, end=stop - 1, raw_download=True, checksum=None, **patience()
                )
            except NotFound as error:
                raise BatchError(
                    f"{self.url} has changed while it was read, or is gone. Restore it, or start a new job elsewhere."
                ) from error
        if body.tell() != stop - start:
            raise EndedEarly
        body.seek(0)
        return body, stop

    def sort(self, error: Exception) -> TokenmillError:
        return sort(error, f"reading {self.url}")
