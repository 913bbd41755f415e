"""Single files of a web server, read only.

Comes in: `https://host/path`, or `http://` where that is safe (`tokenmill.storage.web.address`). Goes out: what
`tokenmill.storage` promises of reading. Always holds: a file is one version of it from the first byte to the last; a server
that does not serve ranges is read from the start, and its files are not cut; nothing is listed, and nothing written.
"""

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import BatchError, UsageError
from tokenmill.storage import remote
from tokenmill.storage.contract import FileStatus
from tokenmill.storage.ranged import opened
from tokenmill.storage.read_only import claim, delete, sweep, writer
from tokenmill.storage.web.address import absolute
from tokenmill.storage.web.version import WebVersion

__all__ = [
    "absolute",
    "claim",
    "delete",
    "each_name",
    "find",
    "find_each",
    "is_folder",
    "mapped",
    "matching",
    "open_input",
    "pinned",
    "read",
    "status",
    "sweep",
    "walk",
    "writer",
]


def pinned(url: str) -> str:
    return url  # nothing here has versions to choose from


def status(url: str) -> FileStatus | None:
    found = WebVersion.at(url)
    return None if found is None else FileStatus(found.size, found.mark, ranged=found.ranged)


def is_folder(url: str) -> bool:
    absolute(url)
    return False


def each_name(url: str) -> Iterator[str]:
    raise _unlisted(url)


def walk(url: str) -> Iterator[tuple[str, FileStatus]]:
    raise _unlisted(url)


def matching(pattern: str) -> Iterator[tuple[str, FileStatus]]:
    raise _unlisted(pattern)


def _unlisted(url: str) -> UsageError:
    what = "is no file there, and globs are not known" if glob.has_magic(url) else "is no folder that can be listed"
    return UsageError(f"{url} {what}: a web server lists nothing. Name each file, or a list of them as @FILE.")


@contextmanager
def open_input(url: str, start: int = 0) -> Iterator[BinaryIO]:
    version = WebVersion.at(url)
    if version is None:
        raise BatchError(f"reading {url}: there is no such file. Restore it or leave it out, then run the same command again.")
    with opened(version, start) as file:
        yield file


def read(url: str) -> bytes:
    with open_input(url) as file:
        return file.read()


def find(url: str) -> bytes | None:
    version = WebVersion.at(url)
    if version is None:
        return None
    with opened(version) as file:
        return file.read()


def find_each(urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    return remote.find_each(find, urls)


def mapped(url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    return remote.mapped(open_input(url), url, dtype)
