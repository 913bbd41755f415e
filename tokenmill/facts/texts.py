"""Documents as facts are told them: ids end to end, and where in them each document's own text lies.

Comes in: ids and lengths as a shard's writer gets them. Goes out: stretches of them. Always holds: BOS and EOS are the job's,
not the text's, and stand in no text; of conversations the marks are off; documents are gone through in groups of bounded size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenmill.engines import LEARNED

#: Documents and tokens that are gone through together.
GROUP_DOCUMENTS, GROUP_TOKENS = 1 << 12, 1 << 20


@dataclass(frozen=True, slots=True)
class Texts:
    """Some documents."""

    #: uint32, all documents end to end, BOS and EOS in place.
    ids: NDArray[np.uint32]
    #: Tokens per document, BOS and EOS included.
    lengths: NDArray[np.int64]
    #: Where each document's text begins and ends among the ids.
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def groups(self, tokens: int = GROUP_TOKENS, documents: int = GROUP_DOCUMENTS) -> Iterator["Texts"]:
        """The same documents, some at a time: so many tokens or documents at most, or one document that is longer."""
        ends = np.cumsum(self.lengths)
        first = before = 0
        while first < len(self):
            last = int(np.searchsorted(ends, before + tokens, "right"))
            last = min(max(last, first + 1), first + documents)
            stop = int(ends[last - 1])
            some = slice(first, last)
            yield Texts(self.ids[before:stop], self.lengths[some], self.starts[some] - before, self.stops[some] - before)
            first, before = last, stop


@dataclass(frozen=True, slots=True)
class Ends:
    """What a job puts around each document's text."""

    bos: bool
    eos: bool
    #: Whether ids carry marks of what is learned from (`tokenmill.masks`).
    marked: bool

    def texts(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> Texts:
        """Documents as they go to the shard; each begins with the job's BOS and ends with its EOS, where it has them."""
        ends = np.cumsum(lengths, dtype=np.int64)
        plain = ids & ~LEARNED if self.marked else ids
        return Texts(plain, lengths, ends - lengths + int(self.bos), ends - int(self.eos))
