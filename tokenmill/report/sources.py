"""Tokens by source: which files, or which folders where there are too many files, the tokens came from.

Comes in: batches, and what became of each. Goes out: a table of at most SHOWN rows. Always holds: the sums are those of the
batches; however many files there are, at most MOST names are kept, since files then give way to their folders.
"""

import posixpath
from collections.abc import Iterable

from tokenmill.job import Batch, Counts
from tokenmill.report.statistics import Source

#: Names that are kept at a time.
MOST = 2000
#: Rows of the table, the one for all others included.
SHOWN = 16


class Sources:
    """Sums by file or folder."""

    def __init__(self) -> None:
        #: Name -> tokens, documents, source bytes.
        self._sums: dict[str, tuple[float, float, int]] = {}
        #: How often names have given way to their folders.
        self._levels = 0
        #: Tokens of batches that held several sources.
        self.shared_out = 0

    def add(self, batch: Batch, counts: Counts) -> None:
        """Lay a batch's tokens to its sources, by the bytes that it has of each."""
        taken: dict[str, int] = {}
        for span in batch.spans:
            name = self._name(span.url)
            taken[name] = taken.get(name, 0) + span.bytes
        self.shared_out += counts.tokens if len(taken) > 1 else 0
        whole = sum(taken.values())
        for name, size in taken.items():
            share = size / whole if whole else 1 / len(taken)
            tokens, documents, before = self._sums.get(name, (0.0, 0.0, 0))
            self._sums[name] = (tokens + share * counts.tokens, documents + share * counts.documents, before + size)
        while len(self._sums) > MOST and self._coarsen():
            pass

    def _name(self, url: str) -> str:
        for _ in range(self._levels):
            url = _folder(url)
        return url

    def _coarsen(self) -> bool:
        """Let names give way to their folders; False if they have none."""
        sums: dict[str, tuple[float, float, int]] = {}
        for name, (tokens, documents, size) in self._sums.items():
            folder = _folder(name)
            before = sums.get(folder, (0.0, 0.0, 0))
            sums[folder] = (before[0] + tokens, before[1] + documents, before[2] + size)
        moved = sums.keys() != self._sums.keys()
        self._sums, self._levels = sums, self._levels + 1
        return moved

    def table(self) -> tuple[Source, ...]:
        """The rows, the largest first: files if there are few, else what their folders come to."""
        while len(self._sums) > SHOWN and len({_folder(name) for name in self._sums}) > 1 and self._coarsen():
            pass
        common = _common(self._sums)
        rows = sorted(
            (
                Source(name=name[common:] or name, tokens=round(tokens), documents=round(documents), bytes=size)
                for name, (tokens, documents, size) in self._sums.items()
            ),
            key=lambda row: (-row.tokens, row.name),
        )
        if len(rows) <= SHOWN:
            return tuple(rows)
        shown, others = rows[: SHOWN - 1], rows[SHOWN - 1 :]
        rest = Source(
            name=f"{len(others):,} others",
            tokens=sum(row.tokens for row in others),
            documents=sum(row.documents for row in others),
            bytes=sum(row.bytes for row in others),
        )
        return (*shown, rest)


def _folder(name: str) -> str:
    """What a file or folder lies in, with a slash at its end; what lies in none stays itself."""
    folder = posixpath.dirname(name.rstrip("/"))
    return f"{folder}/" if folder not in ("", "/") and not folder.endswith(":/") else name


def _common(names: Iterable[str]) -> int:
    """The length of the folders that all names begin with."""
    folders = [_folder(name) for name in names]
    return posixpath.commonprefix(folders).rfind("/") + 1 if folders else 0
