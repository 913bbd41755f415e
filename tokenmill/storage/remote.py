"""What all far kinds of storage do alike: many small files at once, a copy on this disk, globs over a listing.

Comes in: the functions that read one file, or the names of a listing. Goes out: what `tokenmill.storage` promises. Always
holds: a glob means what Python's `glob` makes of it on a path.
"""

import glob
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import from_os_error
from tokenmill.storage.contract import FileStatus
from tokenmill.storage.ranged import PIECE

#: Small files fetched at the same time: one request after the other would spend nearly all its time waiting.
AT_ONCE = 16


def find_each(find: Callable[[str], bytes | None], urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    """Many small files, in order, several on their way at once."""
    pool = ThreadPoolExecutor(AT_ONCE, "find")
    under_way: deque[tuple[str, Future[bytes | None]]] = deque()
    try:
        for url in urls:
            under_way.append((url, pool.submit(find, url)))
            if len(under_way) > 2 * AT_ONCE:
                first, found = under_way.popleft()
                yield first, found.result()
        for url, found in under_way:
            yield url, found.result()
    finally:
        pool.shutdown(cancel_futures=True)


def mapped(opened: AbstractContextManager[BinaryIO], url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An open file as an array, copied to this disk."""
    with opened as source:
        try:
            with tempfile.TemporaryFile() as copy:  # nameless: the last reference to the array frees the space
                shutil.copyfileobj(source, copy, PIECE)
                copy.flush()
                return np.memmap(copy, dtype=dtype, mode="r")
        except OSError as error:
            raise from_os_error(error, f"copying {url} to {tempfile.gettempdir()}") from error


def fixed_part(pattern: str) -> str:
    """What every path that a glob matches begins with."""
    magic = re.search(r"[*?[]", pattern)
    return pattern[: magic.start()] if magic else pattern


def visible(objects: Iterable[tuple[str, FileStatus]], bucket: str, folder: str) -> Iterator[tuple[str, FileStatus]]:
    """URL and status of those objects of a folder that no dot hides.

    Args:
        objects: key and status.
        bucket: its URL.
        folder: what all keys begin with.
    """
    return ((f"{bucket}/{key}", found) for key, found in objects if not hidden(key[len(folder) :]))


def matching(objects: Iterable[tuple[str, FileStatus]], bucket: str, pattern: str) -> Iterator[tuple[str, FileStatus]]:
    """URL and status of those objects whose keys fit a glob; arguments as those of `visible`."""
    return ((f"{bucket}/{key}", found) for key, found in objects if matches(key, pattern))


def hidden(path: str) -> bool:
    """Whether a path leads through a name with a leading dot."""
    return any(name.startswith(".") for name in path.split("/"))


def matches(path: str, pattern: str) -> bool:
    """Whether a path fits a glob, name by name, as Python's `glob` has it."""
    return _matches(path.split("/"), pattern.split("/"))


def _matches(names: list[str], patterns: list[str]) -> bool:
    if not patterns or not names:
        return not names and all(pattern == "**" for pattern in patterns)
    pattern, name = patterns[0], names[0]
    unseen = name.startswith(".") and not pattern.startswith(".") and glob.has_magic(pattern)
    if pattern == "**":
        return _matches(names, patterns[1:]) or (not unseen and _matches(names[1:], patterns))
    return not unseen and fnmatchcase(name, pattern) and _matches(names[1:], patterns[1:])
