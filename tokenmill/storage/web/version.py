"""One version of a file on a web server: its size, its mark, and ranges of it.

Comes in: a URL. Goes out: what `tokenmill.storage.ranged` reads. Always holds: every answer carries the mark of the one before,
a strong ETag or else the date of last modification (RFC 9110, 8.8), or there is an error; ranges are asked for with `If-Range`
and believed only if the answer says that it is this very range. Where a server does not serve them, the file is read from its
start, and what was read before a cut is read again and dropped.
"""

import re
from collections.abc import Mapping
from typing import Self

from urllib3 import BaseHTTPResponse

from tokenmill.errors import BatchError, TokenmillError
from tokenmill.storage.ranged import PIECE, Body
from tokenmill.storage.web.connection import CUT, ask, let_go, sort

CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
#: Encodings of a body that are no encoding but the file itself, by its suffix: some servers take .gz for one.
STORED_SO = {"gzip": ".gz", "x-gzip": ".gz", "zstd": ".zst", "x-bzip2": ".bz2", "x-xz": ".xz"}


class WebVersion:
    """The version of a file that was there when it was asked for."""

    cuts = CUT

    def __init__(
        self, url: str, size: int, mark: str, *, ranged: bool, secret: Mapping[str, str] | None = None, shown: str = ""
    ) -> None:
        """Args:
        mark: what every answer has to carry; "" where the URL itself names one version.
        secret: headers for this host alone.
        shown: the URL as messages name it, if it is another.
        """
        self._address, self.url, self.size, self.mark, self.ranged, self._secret = url, shown or url, size, mark, ranged, secret

    @classmethod
    def at(cls, url: str) -> Self | None:
        """What is there now, and whether ranges of it are served; None if nothing is. Raises whatever is wrong with it."""
        answer = ask(url, {"Range": "bytes=0-0"})
        try:
            if answer.status in (404, 410):
                return None
            if answer.status == 200:
                size, ranged = answer.headers.get("Content-Length", ""), False
            elif answer.status in (206, 416):
                size, ranged = _range_of(url, answer, 0, 1)[1], True
            else:
                raise _refused(url, answer)
            if not size.isdecimal():
                raise BatchError(f"{url}: the server does not say how long it is. Copy it to a folder or a bucket.")
            _check_unpacked(url, answer)
            return cls(url, int(size), _mark(url, answer), ranged=ranged)
        finally:
            let_go(answer)

    def request(self, start: int, stop: int) -> tuple[Body, int]:
        """The bytes from `start` on, and where they end: at `stop`, before, or where there are no ranges at the file's end."""
        if self.ranged:
            condition = {"If-Range": self.mark} if self.mark else {}
            answer = ask(self._address, {"Range": f"bytes={start}-{stop - 1}", **condition}, secret=self._secret)
        else:
            answer = ask(self._address, {}, secret=self._secret)
        try:
            if answer.status in (404, 410, 416):
                raise self._changed()
            if answer.status not in (200, 206):
                raise _refused(self.url, answer)
            _check_unpacked(self.url, answer)
            if self.mark and _mark(self.url, answer) != self.mark:
                raise self._changed()
            if answer.status == 206:
                end, size = _range_of(self.url, answer, start, stop)
            else:
                size, end = answer.headers.get("Content-Length", str(self.size)), self.size
            if size != str(self.size):
                raise self._changed()
            if answer.status == 200:
                self._pass_over(answer, start)
        except BaseException:
            answer.close()
            raise
        return answer, end

    def _pass_over(self, answer: BaseHTTPResponse, start: int) -> None:
        """Read up to where the reader is: this server begins at the start whatever it is asked."""
        while start:
            start -= (passed := len(answer.read(min(PIECE, start))))
            if not passed:
                raise BatchError(f"{self.url} is shorter than the server says. Fetch it again or leave it out.")

    def sort(self, error: Exception) -> TokenmillError:
        return sort(error, f"reading {self.url}")

    def _changed(self) -> BatchError:
        return BatchError(f"{self.url} has changed while it was read, or is gone. Restore it, or start a new job elsewhere.")


def _check_unpacked(url: str, answer: BaseHTTPResponse) -> None:
    """Raise BatchError if an answer is not the file as it is stored."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity" and not url.endswith(STORED_SO.get(encoding, "\0")):
        raise BatchError(
            f"{url}: the server packs what it sends ({encoding}) though asked not to. Copy the file to a folder or a bucket."
        )


def _mark(url: str, answer: BaseHTTPResponse) -> str:
    """What tells this version from others. Raises BatchError if nothing does."""
    tag = answer.headers.get("ETag", "")
    mark = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
    if not mark:
        raise BatchError(
            f"{url}: the server gives neither a strong ETag nor a Last-Modified, so nobody could tell one version from "
            f"another. Copy the file to a folder or a bucket."
        )
    return mark


def _range_of(url: str, answer: BaseHTTPResponse, start: int, stop: int) -> tuple[int, str]:
    """Where a range that was answered ends, and the size of the file. Raises BatchError if it is not the one asked for."""
    said = answer.headers.get("Content-Range", "")
    found = CONTENT_RANGE.fullmatch(said)
    if found and found[1] is None and found[3] == "0":  # a range of nothing
        return 0, "0"
    if answer.status == 206 and found and found[1] == str(start) and start <= int(found[2]) < stop:
        end = int(found[2]) + 1
        if answer.headers.get("Content-Length", str(end - start)) == str(end - start):
            return end, found[3]
    raise BatchError(
        f"{url}: asked for bytes {start}-{stop - 1}, the server answers {answer.status} with {said or 'no range'}. It cannot "
        f"be read by ranges; copy the file to a folder or a bucket."
    )


def _refused(url: str, answer: BaseHTTPResponse) -> BatchError:
    return BatchError(
        f"reading {url}: the server answers {answer.status} {answer.reason or ''}".rstrip()
        + ". Allow it to be read by this host, or leave it out, then run the same command again."
    )
