"""What becomes of documents with more tokens than `--max-tokens`: cut off, cut up, or dropped; array operations on `Tokens`.

Comes in: a column's ids with BOS and EOS in place. Goes out: ids again, which documents are dropped, and counts of what was
done. Always holds: the limit counts BOS and EOS; whatever is in a shard begins with the job's BOS and ends with its EOS, so a
reader that finds documents by EOS finds the same ones as a reader that has their lengths; a truncated document and each piece
of a split one therefore keep both, and text gives way to them. That is what `tokenizers` does (`enable_truncation` before a
template that adds them), piece by piece, overlap included. Documents within the limit are not touched. Nothing vanishes
uncounted: tokens encoded = tokens in shards + tokens dropped - tokens added.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenmill.engines import Tokens, from_lengths, with_ends
from tokenmill.spec import JobSpec, OverLength


@dataclass(frozen=True, slots=True)
class Fitted:
    """Documents under a length policy."""

    tokens: Tokens
    #: Which of the documents that came in are to be dropped, as long as those; None for none.
    dropped: NDArray[np.bool_] | None
    #: How many documents each of the others became.
    pieces: NDArray[np.int64]
    #: What was done, by the names that `tokenmill.job.Counts` has for it.
    counts: dict[str, int]


class LengthPolicy:
    """The rule of one job for documents that are too long."""

    def __init__(self, spec: JobSpec, bos: int | None, eos: int | None) -> None:
        """
        Args:
            bos, eos: ids of the ends that every document has; None for none.
        """
        self._limit, self._rule, self._stride = spec.max_tokens, spec.over_length, spec.stride
        self._bos, self._eos = bos, eos

    def __call__(self, tokens: Tokens) -> Fitted:
        """Apply it to a column."""
        if self._limit is None or self._rule is OverLength.KEEP:
            return Fitted(tokens, None, np.ones(len(tokens), np.int64), {})
        over = tokens.lengths > self._limit
        if not over.any():
            return Fitted(tokens, None, np.ones(len(tokens), np.int64), {})
        if self._rule is OverLength.DROP:
            kept = tokens.only(~over)
            return Fitted(kept, over, np.ones(len(kept), np.int64), {"tokens_dropped": int(tokens.lengths[over].sum())})
        return self._cut(tokens, over, self._limit)

    def _cut(self, tokens: Tokens, over: NDArray[np.bool_], limit: int) -> Fitted:
        before, after = int(self._bos is not None), int(self._eos is not None)
        room = limit - before - after
        starts, stops = tokens.offsets[:-1] + before, tokens.offsets[1:] - after
        pieces = np.ones(len(tokens), np.int64)
        step = room - self._stride
        if self._rule is OverLength.SPLIT:
            pieces[over] += -(-(stops[over] - starts[over] - room) // step)
        number = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        begin = np.repeat(starts, pieces) + number * step
        lengths = np.minimum(np.repeat(stops, pieces) - begin, np.where(np.repeat(over, pieces), room, np.iinfo(np.int64).max))
        fitted = with_ends(from_lengths(tokens.ids[ranges(begin, lengths)], lengths), self._bos, self._eos)
        gone = len(tokens.ids) - len(fitted.ids)
        if self._rule is OverLength.SPLIT:
            cut = {"documents_split": int(over.sum()), "pieces": int(pieces[over].sum()), "tokens_added": -gone}
        else:
            cut = {"documents_truncated": int(over.sum()), "tokens_dropped": gone}
        return Fitted(fitted, None, pieces, cut)


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indexes starts[i] … starts[i] + lengths[i] - 1 of all ranges, end to end."""
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    steps = np.ones(int(lengths.sum()), np.int64)  # one array as long as the result, and no second one beside it
    if len(starts):
        steps[0] = starts[0]
        steps[np.cumsum(lengths)[:-1]] = starts[1:] - (starts + lengths)[:-1] + 1
    return np.cumsum(steps, out=steps)
