"""URLs in, bytes out: the one door to files, for sources and outputs alike.

Comes in: a path, a `file://` URL, `s3://bucket/key`, `gs://bucket/key`, and for reading `https://host/path` and
`hf://datasets/ORG/NAME/path` (other schemes are refused by name). Goes out: bytes, open files, listings, errors
sorted by `tokenmill.errors`. Always holds: a name either does not exist or holds complete content (law 6). A library for far
storage is loaded when the first URL of its kind is met.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import UsageError, from_os_error
from tokenmill.record import FileDigest
from tokenmill.storage import local, read_only
from tokenmill.storage.contract import FileStatus, Store, Writer

__all__ = [
    "FileStatus",
    "Writer",
    "absolute",
    "check_writable",
    "claim",
    "delete",
    "digest",
    "each_name",
    "exists",
    "find",
    "find_each",
    "is_folder",
    "is_local",
    "is_writable",
    "join",
    "mapped",
    "matching",
    "names",
    "open_input",
    "pinned",
    "put",
    "read",
    "scratch",
    "status",
    "sweep",
    "walk",
    "writer",
]

#: Schemes of storage that is only read.
READ_ONLY = ("https", "http", "hf")


def _store(url: str) -> Store:
    """Where a URL lies. Raises UsageError for a scheme that is not served."""
    scheme, found, _ = url.partition("://")
    if not found or scheme == "file":
        return local
    if scheme == "s3":
        from tokenmill.storage import s3

        return s3
    if scheme == "gs":
        try:
            from tokenmill.storage import gs
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("google", "requests"):
                raise
            raise UsageError(f"{url}: gs:// needs Google's client. Run: pip install 'tokenmill[gs]', on every host.") from None

        return gs
    if scheme == "hf":
        from tokenmill.storage import hub

        return hub
    if scheme in READ_ONLY:
        from tokenmill.storage import web

        return web
    raise UsageError(
        f"{url}: {scheme}:// is not served. Give a path that every worker sees, or a URL: s3://, gs://, https://, hf://."
    )


def is_local(url: str) -> bool:
    """Whether a URL names a path of this machine."""
    return _store(url) is local


def is_writable(url: str) -> bool:
    """Whether something can be written where a URL lies, by its kind alone; nobody is asked."""
    return url.partition("://")[0] not in READ_ONLY


def check_writable(url: str) -> None:
    """Raise UsageError if nothing can be written where a URL lies."""
    if not is_writable(url):
        read_only.refuse(absolute(url))


def absolute(url: str) -> str:
    """The one form of a URL: a path from the root, or a URL without a slash at its end."""
    return _store(url).absolute(url)


def pinned(url: str) -> str:
    """The URL of what a URL names now: in a dataset of the hub at its commit, elsewhere itself."""
    return _store(url).pinned(url)


def join(base: str, *parts: str) -> str:
    """A URL below another."""
    return "/".join((base.rstrip("/"), *parts))


def status(url: str) -> FileStatus | None:
    """Size and modification mark of a file; None if there is no such file."""
    return _store(url).status(url)


def exists(url: str) -> bool:
    return status(url) is not None


def is_folder(url: str) -> bool:
    """Whether a URL names a folder; in an object store, whether anything lies below it."""
    return _store(url).is_folder(url)


def names(url: str) -> list[str]:
    """What stands in a folder under its final name, sorted; nothing if the folder does not exist."""
    return sorted(each_name(url))


def each_name(url: str) -> Iterator[str]:
    """The same in no order, one by one: a million names at once are 80 MB."""
    return _store(url).each_name(url)


def walk(url: str) -> Iterator[tuple[str, FileStatus]]:
    """All files below a folder, however deep, in no order; names and folders that begin with a dot are passed over."""
    return _store(url).walk(url)


def matching(pattern: str) -> Iterator[tuple[str, FileStatus]]:
    """The files that a glob matches, in no order; `**` stands for any number of folders, and no wildcard for a leading dot."""
    return _store(pattern).matching(pattern)


def open_input(url: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading from byte `start`; it can be sought, and what goes wrong while it is open is sorted too."""
    return _store(url).open_input(url, start)


def read(url: str) -> bytes:
    """A whole (small) file."""
    return _store(url).read(url)


def find(url: str) -> bytes | None:
    """A whole (small) file; None if there is none. In an object store this is one request, asking first would be two."""
    return _store(url).find(url)


def find_each(urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    """Many small files, in order, several on their way at once where the storage is far away."""
    first = next(iterator := iter(urls), None)
    if first is None:
        return iter(())
    return _store(first).find_each(_chained(first, iterator))


def _chained(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


def mapped(url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A file that is not empty as an array that the system pages in; one from an object store is copied to this disk first."""
    return _store(url).mapped(url, dtype)


def writer(url: str) -> Writer:
    """A new file that appears under its name when it is published, and not before."""
    return _store(url).writer(url)


def put(url: str, data: bytes | Iterable[bytes], path: str = "") -> FileDigest:
    """Write a file in one atomic step: a small one from its bytes, a large one piece by piece."""
    file = writer(url)
    try:
        for piece in (data,) if isinstance(data, bytes) else data:
            file.write(piece)
        return file.publish(path or url)
    finally:
        file.discard()


def claim(url: str, data: bytes) -> bool:
    """Write a small file unless there is one of that name; of many that try at once one succeeds. False if it was there."""
    return _store(url).claim(url, data)


@contextmanager
def scratch(folder: str) -> Iterator[BinaryIO]:
    """A nameless file on this machine's disk, in `folder` if that is here; gone with the `with` block, or with the process."""
    place = local.absolute(folder) if is_local(folder) else tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            yield file
    except OSError as error:
        raise from_os_error(error, f"keeping intermediate results in {place}") from error


def delete(url: str) -> None:
    """Remove a file if it is there."""
    _store(url).delete(url)


def digest(url: str, path: str) -> FileDigest:
    """Size and sha256 of a stored file, read in blocks."""
    sha256, size = hashlib.sha256(), 0
    with open_input(url) as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            size += len(block)
    return FileDigest(path=path, bytes=size, sha256=sha256.hexdigest())


def sweep(url: str) -> None:
    """Remove what killed writers left in a folder; only for when nobody writes there any more."""
    _store(url).sweep(url)
