"""Files on paths that every worker sees.

Comes in: a path or `file://` URL. Goes out: what `tokenmill.storage` promises. Always holds: every write goes to a temporary
file beside its target, is synced, and is renamed, so what stands under a final name is complete (law 6). Left-over temporary
files carry `TEMPORARY` in their names.
"""

import glob
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import TransientError, UsageError, from_os_error
from tokenmill.record import FileDigest
from tokenmill.storage.contract import FileStatus

#: Marks a file that is still being written.
TEMPORARY = ".part-"
#: A file of this many bytes leaves the page cache when it is safe on disk: nobody reads a shard soon, the corpus wants the
#: memory, and writing 4 GB of shards took a third of the system time so (0.4 s per GB for 1.3, one virtual machine, ext4).
LARGE = 1 << 20


def absolute(url: str) -> str:
    return os.path.abspath(os.path.expanduser(url.removeprefix("file://")))


def pinned(url: str) -> str:
    return url  # nothing here has versions to choose from


def status(url: str) -> FileStatus | None:
    try:
        found = os.stat(absolute(url))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error, f"looking at {url}") from error
    return FileStatus(found.st_size, str(found.st_mtime_ns))


def is_folder(url: str) -> bool:
    return os.path.isdir(absolute(url))


def each_name(url: str) -> Iterator[str]:
    try:
        with os.scandir(absolute(url)) as found:
            yield from (file.name for file in found if TEMPORARY not in file.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise from_os_error(error, f"listing {url}") from error


def walk(url: str) -> Iterator[tuple[str, FileStatus]]:
    for folder, folders, names in os.walk(absolute(url), onerror=_unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from _found(os.path.join(folder, name) for name in names if not name.startswith("."))


def matching(pattern: str) -> Iterator[tuple[str, FileStatus]]:
    yield from _found(path for path in glob.iglob(absolute(pattern), recursive=True) if os.path.isfile(path))


def _found(paths: Iterable[str]) -> Iterator[tuple[str, FileStatus]]:
    for path in paths:
        found = status(path)
        if found is None:
            raise UsageError(f"{path}: there is no such file, only a link that leads nowhere. Remove it or name other sources.")
        yield path, found


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # what is not there holds no files
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}. Make it readable or name other sources.") from error


@contextmanager
def open_input(url: str, start: int = 0) -> Iterator[BinaryIO]:
    try:
        with open(absolute(url), "rb") as file:
            file.seek(start)
            yield file
    except OSError as error:
        raise from_os_error(error, f"reading {url}") from error


def read(url: str) -> bytes:
    with open_input(url) as file:
        return file.read()


def find(url: str) -> bytes | None:
    try:
        with open(absolute(url), "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error, f"reading {url}") from error


def find_each(urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    return ((url, find(url)) for url in urls)


def mapped(url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.memmap(absolute(url), dtype=dtype, mode="r")


class AtomicFile:
    """A file that nobody sees until `publish`; it counts and hashes what it is given."""

    def __init__(self, url: str) -> None:
        self._target = Path(absolute(url))
        self._temporary = self._target.with_name(f"{self._target.name}{TEMPORARY}{secrets.token_hex(6)}")
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "wb")
        except OSError as error:
            raise _writing(error, self._target) from error

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written; pyarrow asks."""
        return self._file.closed

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _writing(error, self._target) from error
        self._sha256.update(data)
        self._bytes += len(data)

    def publish(self, path: str) -> FileDigest:
        """Sync, rename to the final name, and return its digest under the output-relative name `path`."""
        try:
            self._sync()
            os.replace(self._temporary, self._target)
            _sync_folder(self._target.parent)
        except OSError as error:
            raise _writing(error, self._target) from error
        return FileDigest(path=path, bytes=self._bytes, sha256=self._sha256.hexdigest())

    def publish_first(self) -> bool:
        """Sync and take the final name, unless another has it already: then False, and nothing has changed."""
        try:
            self._sync()
            os.link(self._temporary, self._target)  # unlike a rename, it never replaces
            _sync_folder(self._target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise _writing(error, self._target) from error
        return True

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._bytes >= LARGE and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._file.close()

    def discard(self) -> None:
        """Forget what was written; nothing happens after `publish`."""
        try:
            self._file.close()
        except OSError:
            pass  # a full disk fails the last flush too; the file is thrown away anyway
        self._temporary.unlink(missing_ok=True)


def writer(url: str) -> AtomicFile:
    return AtomicFile(url)


def claim(url: str, data: bytes) -> bool:
    file = AtomicFile(url)
    try:
        file.write(data)
        return file.publish_first()
    finally:
        file.discard()


def delete(url: str) -> None:
    try:
        Path(absolute(url)).unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, f"removing {url}") from error


def sweep(url: str) -> None:
    try:
        with os.scandir(absolute(url)) as found:  # one by one: `Path.glob` holds them all, 230 MB for a million
            left = [file.path for file in found if TEMPORARY in file.name]
    except FileNotFoundError:
        return
    for path in left:
        Path(path).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writing(error: OSError, target: Path) -> Exception:
    sorted_error = from_os_error(error, f"writing {target}")
    if isinstance(sorted_error, TransientError):
        return sorted_error
    return UsageError(f"writing {target}: {error.strerror}. Choose an output folder that the workers may write to.")
