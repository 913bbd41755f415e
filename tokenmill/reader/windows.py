"""Three ways to make rows of a dataset: its token stream in windows, each document in windows, each document whole.

Always holds: with `tail="pad"` every token of the dataset is an input in exactly one row, and each token that follows another
is a target in exactly one; what `tail="drop"` leaves out is counted in `dropped_tokens`, what `"pad"` adds in `padding`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from tokenmill.errors import UsageError
from tokenmill.reader.rows import Numbers, Rows

if TYPE_CHECKING:
    from tokenmill.reader.dataset import TokenDataset

TAILS = ("pad", "drop")


class Windows(Rows):
    """The token stream of the whole job in rows of `length`, documents end to end; a row's last token has its target too."""

    def __init__(self, dataset: "TokenDataset", length: int, *, tail: str = "pad", **options: Any) -> None:
        """
        Args:
            length: tokens in a row.
            tail: what becomes of the job's last row, if it is short: "pad", or "drop".
            options: those of `Rows`.
        """
        super().__init__(dataset, **options)
        _check(length, tail)
        self.length, self.tail = length, tail
        self._tokens = dataset.manifest.tokens
        rest = self._tokens % length
        self._rows = self._tokens // length + (tail == "pad" and rest > 0)
        self.padding = length - rest if tail == "pad" and rest else 0
        self.dropped_tokens = rest if tail == "drop" else 0

    def __len__(self) -> int:
        return self._rows

    @property
    def identity(self) -> dict[str, Any]:
        return {"job": self.dataset.manifest.job_id, "rows": "windows", "length": self.length, "tail": self.tail}

    def spans(self, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        starts = rows * self.length
        return starts, np.minimum(starts + self.length, self._tokens), np.full(len(rows), self._tokens)

    def width(self, lengths: Numbers) -> int:  # noqa: ARG002 - rows are as wide as they were asked to be
        return self.length


class _Numbered(Rows):
    """Rows that are numbered shard by shard: finds the shard of each."""

    _row_ends: Numbers

    def __len__(self) -> int:
        return int(self._row_ends[-1]) if len(self._row_ends) else 0

    def _located(self, rows: Numbers) -> list[tuple[int, int]]:
        """Of each row, its shard and its number in it."""
        shards = np.searchsorted(self._row_ends, rows, "right")
        before = np.concatenate(([0], self._row_ends))[shards]
        return list(zip(shards.tolist(), (rows - before).tolist(), strict=True))


class PieceWindows(_Numbered):
    """Each document in rows of at most `length`: no row holds two documents, and no target is another document's token.

    Opening reads the documents' lengths of every shard; 16 bytes a shard are kept.
    """

    def __init__(self, dataset: "TokenDataset", length: int, *, tail: str = "pad", **options: Any) -> None:
        """
        Args:
            length: tokens in a row.
            tail: what becomes of each document's last row, if it is short: "pad", or "drop".
            options: those of `Rows`.
        """
        super().__init__(dataset, **options)
        _check(length, tail)
        self.length, self.tail = length, tail
        counts = np.zeros(len(dataset.manifest.shards), np.int64)
        self.padding = self.dropped_tokens = 0
        for position in range(len(counts)):
            shard = dataset.opened(position)
            counts[position] = shard.cuts(length, tail)[-1]
            short = int(dataset.manifest.shards[position].tokens - counts[position] * length)
            self.padding, self.dropped_tokens = self.padding - min(short, 0), self.dropped_tokens + max(short, 0)
        self._row_ends = np.cumsum(counts)

    @property
    def identity(self) -> dict[str, Any]:
        return {"job": self.dataset.manifest.job_id, "rows": "pieces", "length": self.length, "tail": self.tail}

    def spans(self, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        found = np.empty((3, len(rows)), np.int64)
        for number, (position, row) in enumerate(self._located(rows)):
            shard, before = self.dataset.opened(position), self.dataset.tokens_before(position)
            cuts = shard.cuts(self.length, self.tail)
            document = int(np.searchsorted(cuts, row, "right")) - 1
            first, end = shard.starts[document : document + 2].tolist()
            start = first + (row - int(cuts[document])) * self.length
            found[:, number] = before + start, before + min(start + self.length, end), before + end
        return found[0], found[1], found[2]

    def width(self, lengths: Numbers) -> int:  # noqa: ARG002 - rows are as wide as they were asked to be
        return self.length


class Documents(_Numbered):
    """One document a row, whole, padded to the longest of its batch; `__getitem__` alone pads nothing."""

    def __init__(self, dataset: "TokenDataset", **options: Any) -> None:
        """
        Args:
            options: those of `Rows`; the fields are by default `input_ids`, `targets` and `attention_mask`.
        """
        super().__init__(dataset, **{"fields": ("input_ids", "targets", "attention_mask"), **options})
        self._row_ends = np.cumsum([shard.documents for shard in dataset.manifest.shards], dtype=np.int64)

    @property
    def identity(self) -> dict[str, Any]:
        return {"job": self.dataset.manifest.job_id, "rows": "documents"}

    def spans(self, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        found = np.empty((2, len(rows)), np.int64)
        for number, (position, row) in enumerate(self._located(rows)):
            found[:, number] = self.dataset.opened(position).starts[row : row + 2] + self.dataset.tokens_before(position)
        return found[0], found[1], found[1]

    def width(self, lengths: Numbers) -> int:
        return int(lengths.max(initial=0))


def _check(length: int, tail: str) -> None:
    if length < 1:
        raise UsageError(f"length is {length}; give the tokens of a row, 1 or more.")
    if tail not in TAILS:
        raise UsageError(f"tail is {tail!r}; give one of {', '.join(TAILS)}.")
