"""URLs in, bytes out: the one door to files, for sources and outputs alike.

Comes in: a path or `file://` URL (other schemes are refused by name). Goes out: bytes, open files, listings, errors sorted
by `tokenmill.errors`. Always holds: a name either does not exist or holds complete content (law 6) — every write goes to a
temporary file beside its target, is synced, and is renamed. Left-over temporary files carry `TEMPORARY` in their names.
"""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tokenmill.errors import TransientError, UsageError, from_os_error
from tokenmill.job import FileDigest

#: Marks a file that is still being written.
TEMPORARY = ".part-"
#: A file of this many bytes leaves the page cache when it is safe on disk: nobody reads a shard soon, the corpus wants the
#: memory, and writing 4 GB of shards took a third of the system time so (0.4 s per GB for 1.3, one virtual machine, ext4).
LARGE = 1 << 20


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a listing says of a file."""

    size: int
    #: Changes when the content may have changed: modification time in nanoseconds (an etag on object stores).
    mark: str


def local_path(url: str) -> Path:
    """The local path of a URL, absolute. Raises UsageError for a scheme that is not served."""
    scheme, found, rest = url.partition("://")
    if found and scheme != "file":
        raise UsageError(f"{url}: {scheme}:// is not served yet; copy the files to a path that every worker sees.")
    return Path(os.path.abspath(os.path.expanduser(rest if found else url)))


def join(base: str, *parts: str) -> str:
    """A URL below another."""
    return "/".join((base.rstrip("/"), *parts))


def status(url: str) -> FileStatus | None:
    """Size and modification mark of a file; None if there is no such file."""
    try:
        found = local_path(url).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error, f"looking at {url}") from error
    return FileStatus(found.st_size, str(found.st_mtime_ns))


def exists(url: str) -> bool:
    return status(url) is not None


def names(url: str) -> list[str]:
    """The finished files in a folder, sorted; none if the folder does not exist."""
    return sorted(each_name(url))


def each_name(url: str) -> Iterator[str]:
    """The same in no order, one by one: a million names at once are 80 MB."""
    try:
        with os.scandir(local_path(url)) as found:
            yield from (file.name for file in found if TEMPORARY not in file.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise from_os_error(error, f"listing {url}") from error


@contextmanager
def open_input(url: str, start: int = 0) -> Iterator[BinaryIO]:
    """Open a file for reading from byte `start`; operating-system errors while it is open are sorted too."""
    try:
        with open(local_path(url), "rb") as file:
            file.seek(start)
            yield file
    except OSError as error:
        raise from_os_error(error, f"reading {url}") from error


def read(url: str) -> bytes:
    """A whole (small) file."""
    with open_input(url) as file:
        return file.read()


class AtomicFile:
    """A file that nobody sees until `publish`; it counts and hashes what it is given."""

    def __init__(self, url: str) -> None:
        self._target = local_path(url)
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


def put(url: str, data: bytes | Iterable[bytes], path: str = "") -> FileDigest:
    """Write a file in one atomic step: a small one from its bytes, a large one piece by piece."""
    file = AtomicFile(url)
    try:
        for piece in (data,) if isinstance(data, bytes) else data:
            file.write(piece)
        return file.publish(path or url)
    finally:
        file.discard()


def claim(url: str, data: bytes) -> bool:
    """Write a small file unless there is one of that name; of many that try at once one succeeds. False if it was there."""
    file = AtomicFile(url)
    try:
        file.write(data)
        return file.publish_first()
    finally:
        file.discard()


@contextmanager
def scratch(folder: str) -> Iterator[BinaryIO]:
    """A nameless file for what memory should not hold; gone with the `with` block, or with the process."""
    try:
        with tempfile.TemporaryFile(dir=local_path(folder)) as file:
            yield file
    except OSError as error:
        raise _writing(error, local_path(folder)) from error


def delete(url: str) -> None:
    """Remove a file if it is there."""
    try:
        local_path(url).unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, f"removing {url}") from error


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
    try:
        with os.scandir(local_path(url)) as found:  # one by one: `Path.glob` holds them all, 230 MB for a million
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
