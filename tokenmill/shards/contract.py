"""What every shard format takes and gives back, and what a format says of itself."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tokenmill.choices import Dtype
from tokenmill.errors import UsageError
from tokenmill.manifest import Shard, Totals
from tokenmill.record import FileDigest


class ShardWriter(Protocol):
    """Takes documents in order; nothing is visible under a final name before `publish`.

    The files are a function of the documents alone, however they are spread over the calls of `append`.
    """

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents: their ids end to end, and tokens per document."""
        ...

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the files their final names and return their digests."""
        ...


class ShardReader(Protocol):
    """Random access to the documents of one shard."""

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens per document."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        """The ids of one document."""
        ...

    def span(self, start: int, stop: int) -> NDArray[np.integer]:
        """The ids of the documents [start, stop), end to end."""
        ...


#: Makes the files that belong to the whole folder, piece by piece, by output-relative path. It is given the totals, and the
#: table of shards as often as it asks for it.
Seal = Callable[[Totals, Callable[[], Iterable[Shard]]], Iterator[tuple[str, Iterator[bytes]]]]


def no_index(totals: Totals, shards: Callable[[], Iterable[Shard]]) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG001
    """The seal of a format whose folders need no file of their own."""
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One shard format: how it is written and read, and what it cannot say."""

    #: (output, batch index, dtype) -> writer
    writer: Callable[[str, int, str], ShardWriter]
    #: (output, batch index) -> reader
    reader: Callable[[str, int], ShardReader]
    #: How the names of a shard's files end.
    suffixes: tuple[str, ...]
    #: What ids are stored as where 16 bits do not suffice.
    wide: Dtype
    #: The largest vocabulary whose ids the format's own tools keep in 16 bits.
    narrow_ids: int = 1 << 16
    seal: Seal = no_index
    #: Whether only BOS or EOS tell one document from the next for the format's readers.
    needs_ends: bool = False

    def dtype_for(self, vocab_size: int) -> Dtype:
        """The type that the format's own tools give ids of such a vocabulary."""
        return "uint16" if vocab_size <= self.narrow_ids else self.wide

    def owns(self, path: str) -> bool:
        """Whether an output-relative path names a shard file of this format."""
        return path.startswith("shards/") and path.endswith(self.suffixes)

    def settle(self, name: str, dtype: str, vocab_size: int, *, has_ends: bool) -> Dtype:
        """The type for a job's ids. Raises UsageError for what the format, called `name`, cannot say.

        Args:
            dtype: what was asked for; auto for the format's own rule.
            has_ends: whether documents begin with BOS or end with EOS.
        """
        if self.needs_ends and not has_ends:
            raise UsageError(
                f"--format {name} has no document boundaries, and without BOS and EOS its readers would take all documents "
                f"for one. Give --eos-token or --bos-token, or another format."
            )
        fitting = self.dtype_for(vocab_size)
        if dtype in ("auto", fitting):
            return fitting
        if dtype == self.wide:
            return self.wide
        if dtype == "uint16":
            raise UsageError(
                f"--dtype uint16: the tokenizer has {vocab_size:,} ids, too many for 16 bits in {name}. "
                f"Give auto or {self.wide}."
            )
        raise UsageError(f"--dtype {dtype}: {name} holds uint16 or {self.wide}. Give auto or one of these.")
