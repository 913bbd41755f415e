"""The places below which this host may read sources and write outputs.

Comes in: what TOKENMILL_ROOTS names, and the URLs that a message, a job or a plan brought along. Goes out: nothing, or a
UsageError that says which URL lies where. Always holds: what is judged is what would be opened, with `..` folded and every
symbolic link followed, so nothing leads out of a root by its spelling. Without roots every absolute URL is admitted.

Judged is what stands on disk at that moment: whoever may swap a folder below a root for a link while a batch runs is not held
back by this. Rights of the file system are.
"""

import os
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from tokenmill.errors import UsageError

VARIABLE = "TOKENMILL_ROOTS"
#: Not the system's path separator, which stands in every `s3://`.
SEPARATOR = ","
#: No file system of Linux takes a longer path.
LONGEST = 4096
#: Control characters and halves of surrogate pairs: a line break forges log lines, a NUL ends a path early.
UNSPEAKABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Schemes whose URLs write a character as %2e too.
ENCODED = ("https", "http")
#: A dataset of the hub, up to its revision.
REVISION = re.compile(r"^(hf://datasets/[^/@]+/[^/@]+)@[^/]+")
#: An empty part, `.` or `..`, or a backslash, which some take for a slash.
NOT_PLAIN = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\\")


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders and URLs; none of them means no limit."""

    places: tuple[str, ...] = ()

    @classmethod
    def named(cls, given: str) -> Self:
        """The roots of a comma-separated list. Raises UsageError if one is no absolute path or URL."""
        names = [name.strip() for name in given.split(SEPARATOR)]
        try:
            return cls(tuple(_resolved(_spelled(name)) for name in names if name))
        except UsageError as error:
            raise UsageError(f"{VARIABLE}: {error} Give absolute folders and URLs with commas between them.") from None

    def admit(self, url: str) -> None:
        """Raise UsageError unless a file or folder lies below one of the roots."""
        spelled = _spelled(url)
        if not self.places or _below(found := _resolved(spelled), self.places):
            return
        leads = f" (that is {shown(found)})" if found != url else ""
        raise UsageError(
            f"{shown(url)}{leads} lies below none of {VARIABLE}={SEPARATOR.join(self.places)}. "
            f"Move it there, or add its folder to {VARIABLE} of the workers and of whoever submits."
        )


def _below(url: str, places: tuple[str, ...]) -> bool:
    named = (url, REVISION.sub(r"\1", url))  # a root without a revision admits all of a dataset's
    return any(f"{name}/".startswith(f"{place.rstrip('/')}/") for name in named for place in places)


def leads_out(path: str) -> bool:
    """Whether a path may lead out of the folder it is joined to; one that only might, does."""
    return bool(UNSPEAKABLE.search(path) or NOT_PLAIN.search(path))


def shown(text: object) -> str:
    """What a stranger wrote, fit for one line of a log."""
    written = ascii(text) if UNSPEAKABLE.search(str(text)) else repr(text)
    return written if len(written) <= 200 else f"{written[:200]}… ({len(written):,} characters)"


def _spelled(url: str) -> str:
    """A URL without needless parts; a local one is a path. Raises UsageError if it is not absolute, or not plain."""
    if len(url) > LONGEST or UNSPEAKABLE.search(url):
        raise UsageError(f"{shown(url)} is no path: it is too long, or holds control characters.")
    scheme, found, path = url.partition("://")
    if found and scheme != "file":
        # an object store has no links and folds nothing, but a client on the way to it might; a web server reads %2e as a dot
        if NOT_PLAIN.search(path.rstrip("/")) or (scheme in ENCODED and NOT_PLAIN.search(unquote(path).rstrip("/"))):
            raise UsageError(f"{shown(url)} is no plain URL: it holds an empty part, `.`, `..` or a backslash.")
        return url.rstrip("/")
    if not found:
        path = url
    if not path.startswith("/"):
        raise UsageError(f"{shown(url)} is no absolute path.")
    return os.path.abspath(path)


def _resolved(spelled: str) -> str:
    """Where it really lies."""
    return os.path.realpath(spelled) if spelled.startswith("/") else spelled
