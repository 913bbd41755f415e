"""Datasets of the Hugging Face hub, read only: listed at one commit, read by ranges, never downloaded as a whole.

Comes in: `hf://datasets/ORG/NAME[@REVISION][/path]`. Goes out: what `tokenmill.storage` promises of reading. Always holds: a
URL that names a commit names its content for ever, and `pinned` makes every other into such a one; the token (HF_TOKEN, or the
one that `hf auth login` left) goes to the hub and to no host that it sends us on to. HF_ENDPOINT names another hub. An answer
about a commit is remembered, since a worker asks twice for each of its spans.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Self
from urllib.parse import quote, unquote

import numpy as np
from huggingface_hub import HfApi, errors, get_token, hf_hub_url
from huggingface_hub.hf_api import RepoFile, RepoFolder
from numpy.typing import NDArray

from tokenmill.errors import BatchError, TransientError, UsageError
from tokenmill.storage import remote
from tokenmill.storage.contract import FileStatus
from tokenmill.storage.ranged import opened
from tokenmill.storage.read_only import claim, delete, sweep, writer
from tokenmill.storage.web.connection import PASSING
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

DATASET = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@(refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(.*))?", re.DOTALL)
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder of a dataset; "" is the whole of it."""

    repository: str
    revision: str | None
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises UsageError if a URL names no dataset."""
        found = DATASET.fullmatch(url)
        if found is None:
            raise UsageError(f"{url} names no dataset. Write hf://datasets/ORG/NAME[@REVISION][/path].")
        repository, revision, path = found.groups()
        return cls(repository, unquote(revision) if revision else None, (path or "").strip("/"))

    @property
    def url(self) -> str:
        at = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"hf://datasets/{self.repository}{at}" + (f"/{self.path}" if self.path else "")

    @property
    def is_pinned(self) -> bool:
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def below(self, path: str) -> Self:
        """Another place of the same dataset at the same revision."""
        return type(self)(self.repository, self.revision, path)


def absolute(url: str) -> str:
    return Place.of(url).url


def pinned(url: str) -> str:
    place = Place.of(url)
    if place.is_pinned:
        return place.url
    with _sorted(f"looking for {url}"):
        commit = HfApi().dataset_info(place.repository, revision=place.revision).sha
    return Place(place.repository, commit, place.path).url


def status(url: str) -> FileStatus | None:
    found = _look(Place.of(url))
    return _status(found) if isinstance(found, RepoFile) else None


def is_folder(url: str) -> bool:
    place = Place.of(url)
    return not place.path or isinstance(_look(place), RepoFolder)


def _look(place: Place) -> RepoFile | RepoFolder | None:
    return _seen(place) if place.is_pinned else _ask(place)


@lru_cache(maxsize=4096)
def _seen(place: Place) -> RepoFile | RepoFolder | None:
    return _ask(place)


def _ask(place: Place) -> RepoFile | RepoFolder | None:
    if not place.path:
        return None
    with _sorted(f"looking at {place.url}"):
        found = HfApi().get_paths_info(place.repository, [place.path], revision=place.revision, repo_type="dataset")
    return next((one for one in found if one.path == place.path), None)


def _status(file: RepoFile) -> FileStatus:
    """Its mark is the hash of its content."""
    return FileStatus(file.size, file.lfs.sha256 if file.lfs else file.blob_id)


def each_name(url: str) -> Iterator[str]:
    place = Place.of(url)
    for found in _listing(place, recursive=False):
        yield found.path.rpartition("/")[2]


def walk(url: str) -> Iterator[tuple[str, FileStatus]]:
    place = Place.of(pinned(url))
    for found in _files(place):
        if not remote.hidden(found.path.removeprefix(place.path).lstrip("/")):
            yield place.below(found.path).url, _status(found)


def matching(pattern: str) -> Iterator[tuple[str, FileStatus]]:
    wanted = Place.of(pinned(pattern))
    folder = remote.fixed_part(wanted.path).rpartition("/")[0]
    for found in _files(wanted.below(folder)):
        if remote.matches(found.path, wanted.path):
            yield wanted.below(found.path).url, _status(found)


def _files(place: Place) -> Iterator[RepoFile]:
    return (found for found in _listing(place, recursive=True) if isinstance(found, RepoFile))


def _listing(place: Place, *, recursive: bool) -> Iterator[RepoFile | RepoFolder]:
    with _sorted(f"listing {place.url}"):
        try:
            yield from HfApi().list_repo_tree(
                place.repository, place.path or None, recursive=recursive, revision=place.revision, repo_type="dataset"
            )
        except errors.EntryNotFoundError:
            return


@contextmanager
def open_input(url: str, start: int = 0) -> Iterator[BinaryIO]:
    place = Place.of(pinned(url))
    found = _look(place)
    if not isinstance(found, RepoFile):
        raise BatchError(f"reading {url}: there is no such file. Name another revision or leave it out, then run it again.")
    with opened(_version(place, found), start) as file:
        yield file


def _version(place: Place, file: RepoFile) -> WebVersion:
    """The file by HTTP. No mark is asked for: the commit in its address is one."""
    where = {"revision": place.revision, "endpoint": HfApi().endpoint}
    address = hf_hub_url(place.repository, file.path, repo_type="dataset", **where)
    token = get_token()
    secret = {"Authorization": f"Bearer {token}"} if token else {}
    return WebVersion(address, file.size, "", ranged=True, secret=secret, shown=place.url)


def read(url: str) -> bytes:
    with open_input(url) as file:
        return file.read()


def find(url: str) -> bytes | None:
    return None if status(url) is None else read(url)


def find_each(urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    return remote.find_each(find, urls)


def mapped(url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    return remote.mapped(open_input(url), url, dtype)


@contextmanager
def _sorted(doing: str) -> Iterator[None]:
    """Translate what the hub and the way to it say while `doing` something."""
    try:
        yield
    except errors.GatedRepoError as error:
        raise UsageError(
            f"{doing}: the dataset is gated. Accept its conditions on its page, and set HF_TOKEN, here and for workers."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UsageError(
            f"{doing}: the hub has no such dataset or revision, or shows it only to whoever has an HF_TOKEN for it. "
            f"Write hf://datasets/ORG/NAME[@REVISION][/path]."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise UsageError(f"{doing}: HF_HUB_OFFLINE is set. Unset it, or name a copy of the dataset in a folder.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status not in PASSING:
            raise UsageError(f"{doing}: the hub answers {status}. Look at HF_TOKEN and HF_ENDPOINT.") from error
        raise TransientError(f"{doing}: the hub answers {status}. Try again later.") from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # httpx's, whichever httpx it is
        raise TransientError(
            f"{doing}: the hub cannot be reached: {type(error).__name__}. Try again later, or name a copy in a folder."
        ) from error
