"""Objects in Google Cloud Storage.

Comes in: `gs://bucket/key`. Goes out: what `tokenmill.storage` promises. Always holds: an object appears whole, by one request
(law 6), and nothing is renamed; what is read is one generation of it; a folder is a prefix that ends with a slash; credentials
are those that Google's library finds, and without any, public buckets are read.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage import Blob
from numpy.typing import NDArray

from tokenmill.errors import BatchError
from tokenmill.storage import remote
from tokenmill.storage.contract import FileStatus
from tokenmill.storage.gs.connection import blob, bucket, patience, place, sorted_errors
from tokenmill.storage.gs.reader import ObjectVersion
from tokenmill.storage.gs.writer import ResumableUpload
from tokenmill.storage.parts import ObjectWriter
from tokenmill.storage.ranged import opened

#: What a listing says of each object.
FIELDS = "items(name,size,generation),prefixes,nextPageToken"
#: Names, in an object's metadata, the one who claimed it.
CLAIMANT = "tokenmill-claimant"


def absolute(url: str) -> str:
    place(url)
    return url.rstrip("/")


def pinned(url: str) -> str:
    return url  # a generation is pinned while it is read; between times another one is a changed source


def status(url: str) -> FileStatus | None:
    found = _look(url)
    return None if found is None else _status(found)


def _look(url: str) -> Blob | None:
    name, key = place(url)
    if not key:
        return None
    with sorted_errors(f"looking at {url}"):
        return bucket(name).get_blob(key, **patience())


def _status(found: Blob) -> FileStatus:
    return FileStatus(found.size, str(found.generation))


def is_folder(url: str) -> bool:
    name, prefix = _folder(url)
    with sorted_errors(f"listing {url}"):
        found = any(True for _ in bucket(name).list_blobs(prefix=prefix, max_results=1, fields=FIELDS, **patience()))
    return found or not prefix


def each_name(url: str) -> Iterator[str]:
    name, prefix = _folder(url)
    with sorted_errors(f"listing {url}"):
        listing = bucket(name).list_blobs(prefix=prefix, delimiter="/", fields=FIELDS, **patience())
        yield from (found.name[len(prefix) :] for found in listing if found.name != prefix)
        yield from (folder[len(prefix) : -1] for folder in listing.prefixes)


def walk(url: str) -> Iterator[tuple[str, FileStatus]]:
    name, prefix = _folder(url)
    return remote.visible(_below(name, prefix), f"gs://{name}", prefix)


def matching(pattern: str) -> Iterator[tuple[str, FileStatus]]:
    name, wanted = place(pattern)
    return remote.matching(_below(name, remote.fixed_part(wanted)), f"gs://{name}", wanted)


def _below(name: str, prefix: str) -> Iterator[tuple[str, FileStatus]]:
    """All objects whose keys begin so, but for those that stand for folders."""
    with sorted_errors(f"listing gs://{name}/{prefix}"):
        for found in bucket(name).list_blobs(prefix=prefix, fields=FIELDS, **patience()):
            if not found.name.endswith("/"):
                yield found.name, _status(found)


def _folder(url: str) -> tuple[str, str]:
    """Bucket and prefix of all that lies in a folder."""
    name, key = place(absolute(url))
    return name, f"{key}/" if key else ""


@contextmanager
def open_input(url: str, start: int = 0) -> Iterator[BinaryIO]:
    found = _look(url)
    if found is None:
        raise _missing(url)
    with opened(ObjectVersion(url, found.size, found.generation), start) as file:
        yield file


def read(url: str) -> bytes:
    found = find(url)
    if found is None:
        raise _missing(url)
    return found


def _missing(url: str) -> BatchError:
    """Raises UsageError if it is the bucket that is missing."""
    is_folder(url)
    return BatchError(f"reading {url}: there is no such object. Restore it or leave it out, then run the command again.")


def find(url: str) -> bytes | None:
    with sorted_errors(f"reading {url}"):
        try:
            return bytes(blob(url).download_as_bytes(raw_download=True, **patience()))
        except NotFound:
            return None


def find_each(urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    return remote.find_each(find, urls)


def mapped(url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    return remote.mapped(open_input(url), url, dtype)


def writer(url: str) -> ObjectWriter:
    return ObjectWriter(ResumableUpload(url))


def claim(url: str, data: bytes) -> bool:
    claimant, new = secrets.token_hex(8), blob(url)
    new.metadata = {CLAIMANT: claimant}
    with sorted_errors(f"writing {url}", writing=True):
        try:
            new.upload_from_string(data, content_type="application/octet-stream", if_generation_match=0, **patience())
            return True
        except PreconditionFailed:
            pass
    # An answer that was lost makes the library ask again, and find what it has written itself.
    found = _look(url)
    return found is not None and (found.metadata or {}).get(CLAIMANT) == claimant


def delete(url: str) -> None:
    with sorted_errors(f"removing {url}", writing=True):
        try:
            blob(url).delete(**patience())
        except NotFound:
            pass


def sweep(url: str) -> None:
    place(url)  # unfinished uploads are listed nowhere, cost nothing, and are forgotten after a week
