"""Loss masks: which tokens of a shard are learned from, beside it in `shards/000042.mask`.

Comes in: ids with `LEARNED` set in those of tokens to learn from, as an encoder gives them for conversations. Goes out: plain
ids for the shard's format, and a file of uint8, one for each token of the shard in its order: 1 to learn from, 0 not to. Always
holds: a token and its mark are one number from the encoder to here, so whatever is done to documents on the way (cut, sorted,
joined) is done to both; a document is learned from in part, never as a whole or not at all.
"""

from collections import Counter
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.documents import Reason
from tokenmill.engines import LEARNED, Tokens
from tokenmill.record import FileDigest
from tokenmill.shards import ShardWriter


def unlearnable(tokens: Tokens, bos: int | None) -> dict[Reason, NDArray[np.bool_]]:
    """Which conversations have nothing to learn from, and which have nothing else; masks over the documents.

    Args:
        bos: what stands before each document, and is never learned from; None for nothing. (EOS is as what it ends.)
    """
    counted = np.concatenate(([0], np.cumsum(tokens.ids >= LEARNED)))
    learned = counted[tokens.offsets[1:]] - counted[tokens.offsets[:-1]]
    return {
        Reason.NOTHING_LEARNED: learned == 0,
        Reason.ALL_LEARNED: (learned > 0) & (learned == tokens.lengths - int(bos is not None)),
    }


class MaskedWriter:
    """A shard writer that takes the marks off the ids and writes them beside the shard; the innermost one.

    Args:
        counted: gets the marks added, as `tokens_learned`.
    """

    def __init__(self, writer: ShardWriter, output: str, batch: int, counted: Counter[str]) -> None:
        self._writer, self._path, self._counted = writer, f"shards/{batch:06d}.mask", counted
        self._files = ExitStack()
        self._file = storage.writer(storage.join(output, self._path))
        self._files.callback(self._file.discard)

    def __enter__(self) -> Self:
        self._files.enter_context(self._writer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.__exit__(kind, error, trace)

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents."""
        learned = ids >= LEARNED
        self._file.write(learned.view(np.uint8).data)
        self._counted["tokens_learned"] += int(np.count_nonzero(learned))
        self._writer.append(ids & ~LEARNED, lengths)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give all files their final names."""
        return (*self._writer.publish(), self._file.publish(self._path))
